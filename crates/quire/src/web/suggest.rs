//! What could be done with a folder, from a look at the names and sizes in it: for who has no task yet and no idea of one. No model
//! is asked, and nothing is read but the beginning of a page.

use quire_core::view::{count, size};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// Suggestions that are made.
const MOST: usize = 3;
/// Names that are looked at, in the folder and in those within it.
const NAMES_MAX: usize = 2000;
/// Photos are many, and large, from here on.
const PHOTOS_MIN: usize = 3;
const PHOTOS_BYTES_MIN: u64 = 5 << 20;
/// Of a page, where it says for what screens it is.
const HEAD_BYTES: u64 = 64 << 10;

#[derive(Debug, PartialEq, Eq)]
pub struct Suggestion {
    pub words: String,
    pub why: String,
}

fn suggest(words: impl Into<String>, why: impl Into<String>) -> Suggestion {
    Suggestion { words: words.into(), why: why.into() }
}

/// A file of the folder: its directory within it, its name, its size.
type Entry = (String, String, u64);

/// Returns what could be done in a folder, or without one.
pub fn suggestions(folder: Option<&Path>) -> Vec<Suggestion> {
    let entries = folder.map(entries).unwrap_or_default();
    let Some(folder) = folder.filter(|_| !entries.is_empty()) else {
        return vec![
            suggest("Make me a homepage", "One page, in a folder of its own."),
            suggest("Make a table of my monthly expenses", "With an example in it, to be changed."),
            suggest("Write a checklist for moving house", "As a document."),
        ];
    };
    let at_top = |such: &dyn Fn(&str) -> bool| {
        entries.iter().find(|(dir, name, _)| dir.is_empty() && such(&name.to_lowercase()))
    };
    let mut found = vec![];
    if let Some((_, name, _)) = at_top(&|name| name.ends_with(".html"))
        && !head(&folder.join(name)).contains("viewport")
    {
        found.push(suggest(
            "Make the page readable on a phone",
            format!("{name} says nothing of small screens."),
        ));
    }
    if let Some((dir, photos, bytes)) = photos(&entries) {
        let place = if dir.is_empty() { "this folder".to_owned() } else { format!("{dir}/") };
        let why = format!("They add up to {}.", size(bytes));
        found.push(suggest(format!("Shrink the {} in {place}", count(photos, "photo")), why));
    }
    if let Some((_, name, _)) = at_top(&|name| PROJECTS.contains(&name)) {
        found.push(suggest("Run the tests and mend what fails", format!("It is a project, by its {name}.")));
    }
    if let Some((_, name, bytes)) = at_top(&|name| [".csv", ".xlsx"].iter().any(|end| name.ends_with(end))) {
        found
            .push(suggest(format!("Say what stands out in {name}"), format!("A table of {}.", size(*bytes))));
    }
    if let Some((_, name, _)) = at_top(&|name| name.starts_with("readme")) {
        found
            .push(suggest(format!("Check that {name} is still true"), "What it says against what is there."));
    }
    found.truncate(MOST - 1);
    found.push(suggest("Say what this folder contains", "A one-page summary. Changes nothing."));
    found
}

const PROJECTS: [&str; 8] = [
    "cargo.toml",
    "package.json",
    "pyproject.toml",
    "go.mod",
    "pom.xml",
    "build.gradle",
    "makefile",
    "cmakelists.txt",
];

/// Returns the files of a folder and of those right within it.
fn entries(folder: &Path) -> Vec<Entry> {
    let mut entries = vec![];
    let mut left = NAMES_MAX;
    let mut visit = |dir: &Path, within: &str, below: Option<&mut Vec<String>>| {
        let mut inner = vec![];
        for entry in fs::read_dir(dir).into_iter().flatten().flatten().take(left) {
            left -= 1;
            let (Ok(name), Ok(meta)) = (entry.file_name().into_string(), entry.metadata()) else { continue };
            match meta.is_dir() {
                true if !name.starts_with('.') => inner.push(name),
                false if meta.is_file() => entries.push((within.to_owned(), name, meta.len())),
                _ => {}
            }
        }
        if let Some(below) = below {
            *below = inner;
        }
    };
    let mut below = vec![];
    visit(folder, "", Some(&mut below));
    below.sort();
    for name in below {
        visit(&folder.join(&name), &name, None);
    }
    // In whatever order the disk has them, the same is suggested.
    entries.sort();
    entries
}

/// Returns the directory whose photos are the largest together, how many they are, and how large.
fn photos(entries: &[Entry]) -> Option<(&str, u64, u64)> {
    let is_photo =
        |name: &str| [".jpg", ".jpeg", ".png"].iter().any(|end| name.to_lowercase().ends_with(end));
    let by_dir = entries.chunk_by(|a, b| a.0 == b.0).map(|inside| {
        let photos: Vec<&Entry> = inside.iter().filter(|(_, name, _)| is_photo(name)).collect();
        (inside[0].0.as_str(), photos.len() as u64, photos.iter().map(|(_, _, bytes)| bytes).sum::<u64>())
    });
    let most = by_dir.max_by_key(|(_, _, bytes)| *bytes)?;
    (most.1 >= PHOTOS_MIN as u64 && most.2 >= PHOTOS_BYTES_MIN).then_some(most)
}

fn head(page: &Path) -> String {
    let mut head = vec![];
    let read = File::open(page).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head));
    read.map_or_else(|_| String::new(), |_| String::from_utf8_lossy(&head).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder's files by name and text, and what is suggested for it.
    type Row = (&'static [(&'static str, &'static str)], &'static [&'static str]);

    #[test]
    fn what_is_suggested_is_of_the_folder() {
        let rows: [Row; 5] = [
            (
                &[],
                &[
                    "Make me a homepage",
                    "Make a table of my monthly expenses",
                    "Write a checklist for moving house",
                ],
            ),
            (
                &[("index.html", "<h1>a</h1>"), ("README.md", "")],
                &[
                    "Make the page readable on a phone",
                    "Check that README.md is still true",
                    "Say what this folder contains",
                ],
            ),
            (
                &[("index.html", "<meta name=viewport>"), ("sales.csv", "a,b")],
                &["Say what stands out in sales.csv", "Say what this folder contains"],
            ),
            (
                &[("Cargo.toml", ""), (".git/index.html", "")],
                &["Run the tests and mend what fails", "Say what this folder contains"],
            ),
            (&[("notes.txt", "")], &["Say what this folder contains"]),
        ];
        for (files, expected) in rows {
            let dir = tempfile::tempdir().unwrap();
            for (path, content) in files {
                let at = dir.path().join(path);
                fs::create_dir_all(at.parent().unwrap()).unwrap();
                fs::write(at, content).unwrap();
            }
            let found: Vec<String> = suggestions(Some(dir.path())).into_iter().map(|one| one.words).collect();
            assert_eq!(found, expected, "{files:?}");
        }
        assert_eq!(suggestions(None).len(), MOST);
    }

    #[test]
    fn many_large_photos_are_counted_where_they_lie() {
        let photo = |dir: &str, n: u32, bytes: u64| (dir.to_owned(), format!("{n}.JPG"), bytes);
        let many: Vec<Entry> = (0..4).map(|n| photo("images", n, 2 << 20)).chain([photo("", 9, 1)]).collect();
        assert_eq!(
            photos(&{
                let mut all = many.clone();
                all.sort();
                all
            }),
            Some(("images", 4, 8 << 20))
        );
        assert_eq!(photos(&many[..2]), None);
        assert_eq!(photos(&[]), None);
    }
}
