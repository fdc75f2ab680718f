//! Other names of secrets: a hard link is the file itself, under a name that says nothing.
//!
//! Hardly any secret has a second link, and looking for one means looking at every file. So the files that are hidden are
//! asked first how many names they have, and folders are searched only where one has more than it should.

use crate::FolderView;
use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Files of a hidden directory that are asked, from the top. Keys lie there; caches lie deeper.
const ASKED_MAX: usize = 500;
/// A secret that is longer is not looked for by its content.
const SECRET_MAX: u64 = 1 << 20;

/// Returns every path in the folders that is a file of `hidden` under another name. In a frozen copy, which has inodes of
/// its own, that is a file with the same content.
pub fn to(hidden: &[PathBuf], folders: &[FolderView]) -> Vec<PathBuf> {
    // Where the frozen copies lie, files are one with the folders' for want of room, and no secrets.
    let frozen = || folders.iter().flat_map(|folder| &folder.frozen);
    let hidden = hidden.iter().filter(|path| !frozen().any(|frozen| frozen.starts_with(path)));
    let secrets: Vec<(PathBuf, Metadata)> = hidden.flat_map(|path| linked(path)).collect();
    if secrets.is_empty() {
        return Vec::new();
    }
    let inodes: HashSet<(u64, u64)> = secrets.iter().map(|(_, stat)| (stat.dev(), stat.ino())).collect();
    let contents: HashSet<Vec<u8>> = secrets
        .iter()
        .filter(|(_, stat)| (1..=SECRET_MAX).contains(&stat.len()))
        .filter_map(|(path, _)| fs::read(path).ok())
        .collect();
    let lengths: HashSet<u64> = contents.iter().map(|content| content.len() as u64).collect();
    let is_copy = |path: &Path, stat: &Metadata| {
        lengths.contains(&stat.len()) && fs::read(path).is_ok_and(|content| contents.contains(&content))
    };
    let mut found = Vec::new();
    for folder in folders {
        for frozen in &folder.frozen {
            walk(frozen, usize::MAX, |path, stat| {
                if is_copy(path, stat)
                    && let Ok(relative) = path.strip_prefix(frozen)
                {
                    found.push(folder.at.join(relative));
                }
            });
        }
        for ignored in &folder.ignored {
            walk(&folder.at.join(ignored), usize::MAX, |path, stat| {
                if inodes.contains(&(stat.dev(), stat.ino())) {
                    found.push(path.to_path_buf());
                }
            });
        }
    }
    found
}

/// Returns the files at or below a path that have more than one name.
fn linked(path: &Path) -> Vec<(PathBuf, Metadata)> {
    let mut found = Vec::new();
    let mut look = |path: &Path, stat: &Metadata| {
        if stat.nlink() > 1 {
            found.push((path.to_path_buf(), stat.clone()));
        }
    };
    match fs::metadata(path) {
        Ok(stat) if stat.is_file() => look(path, &stat),
        Ok(stat) if stat.is_dir() => walk(path, ASKED_MAX, look),
        _ => {}
    }
    found
}

/// Shows plain files below a directory, those nearest to it first, at most `most`. What cannot be read is left out.
fn walk(top: &Path, most: usize, mut show: impl FnMut(&Path, &Metadata)) {
    let mut pending = std::collections::VecDeque::from([top.to_path_buf()]);
    let mut shown = 0;
    while let Some(directory) = pending.pop_front() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                pending.push_back(entry.path());
            } else if kind.is_file()
                && let Ok(stat) = entry.metadata()
            {
                show(&entry.path(), &stat);
                shown += 1;
            }
            if shown == most {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_frozen_copy_shares_with_its_folder_is_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for made in ["data/folders/1/base/.git", "project/.git"] {
            fs::create_dir_all(path(made)).unwrap();
        }
        fs::write(path("project/.git/object"), "committed").unwrap();
        fs::hard_link(path("project/.git/object"), path("data/folders/1/base/.git/object")).unwrap();
        let frozen = vec![path("data/folders/1/base")];
        let folder =
            FolderView { at: path("project"), frozen, ignored: vec![], suspects: None, git_of: None };
        assert!(to(&[path("data")], &[folder]).is_empty());
    }

    #[test]
    fn a_second_name_of_a_secret_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for made in ["home/.ssh/deep", "home/project/target", "frozen/sub"] {
            fs::create_dir_all(path(made)).unwrap();
        }
        fs::write(path("home/.ssh/deep/id"), "the key").unwrap();
        fs::write(path("home/.netrc"), "alone").unwrap();
        fs::hard_link(path("home/.ssh/deep/id"), path("home/project/target/x")).unwrap();
        for (name, content) in [("sub/copied", "the key"), ("other", "the kez"), ("alone", "alone")] {
            fs::write(path("frozen").join(name), content).unwrap();
        }
        let folder = FolderView {
            at: path("home/project"),
            frozen: vec![path("frozen")],
            ignored: vec!["target".into()],
            suspects: None,
            git_of: None,
        };
        let hidden = [path("home/.ssh"), path("home/.netrc"), path("home/.missing")];
        let mut found = to(&hidden, std::slice::from_ref(&folder));
        found.sort();
        assert_eq!(found, [path("home/project/sub/copied"), path("home/project/target/x")]);
        fs::remove_file(path("home/project/target/x")).unwrap();
        assert!(to(&hidden, &[folder]).is_empty(), "with one name there is nothing to look for");
    }
}
