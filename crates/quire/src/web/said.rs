//! What the agent itself says of single files: the sentence that names one, quoted at the file's head. No model is asked for it.

use quire_core::view::{Brief, FileChange, Review};
use std::collections::HashSet;

/// A longer sentence is no remark on a file any more, in characters.
const SENTENCE_MAX: usize = 160;

pub struct Said {
    /// Those of the summary, then the claims.
    sentences: Vec<String>,
    /// Last parts of paths that several files have: they say of none which it is.
    shared: HashSet<String>,
}

impl Said {
    pub fn of(review: &Review) -> Said {
        let sentences = sentences(&review.brief);
        let (mut known, mut shared) = (HashSet::new(), HashSet::new());
        for file in review.files.iter().filter(|_| !sentences.is_empty()) {
            let last = last(&file.path.to_string()).to_owned();
            if !known.insert(last.clone()) {
                shared.insert(last);
            }
        }
        Said { sentences, shared }
    }

    /// Returns the first sentence that names the file.
    pub fn about(&self, file: &FileChange) -> Option<&String> {
        let path = file.path.to_string();
        let last = Some(last(&path)).filter(|last| !self.shared.contains(*last));
        let names = |text: &String| is_named(text, &path) || last.is_some_and(|last| is_named(text, last));
        self.sentences.iter().find(|text| names(text))
    }
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn sentences(brief: &Brief) -> Vec<String> {
    let lines = brief.summary.lines().filter(|line| !line.contains('|'));
    let said =
        lines.flat_map(|line| line.split_inclusive(". ")).chain(brief.claims.iter().map(|one| &*one.text));
    let said = said.map(|one| one.trim_start_matches(['-', '*', '#', ' ']).trim_end().replace("**", ""));
    said.filter(|one| one.chars().count() <= SENTENCE_MAX).collect()
}

/// Returns whether `text` has `name` as a word of its own.
fn is_named(text: &str, name: &str) -> bool {
    let is_part = |char: char| char.is_alphanumeric() || matches!(char, '_' | '-' | '/');
    text.match_indices(name).any(|(at, _)| {
        let (before, after) = (text[..at].chars().next_back(), text[at + name.len()..].chars().next());
        !before.is_some_and(|char| is_part(char) || char == '.') && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_that_names_a_file_is_found() {
        let summary = "The page has **hours** now. `index.html` got a table of them, and style.css its lines.\n\
                       | site/style.css | a row |\n- old-index.html is gone.";
        let brief = Brief { summary: summary.into(), ..Brief::default() };
        let said = sentences(&brief);
        let both = "`index.html` got a table of them, and style.css its lines.";
        for (name, found) in [
            ("index.html", Some(both)),
            ("style.css", Some(both)),
            ("old-index.html", Some("old-index.html is gone.")),
            ("html", None),
            ("site/style.css", None),
        ] {
            assert_eq!(said.iter().find(|one| is_named(one, name)).map(|one| &**one), found, "{name}");
        }
        let long = Brief { summary: format!("{} a.txt", "word ".repeat(40)), ..Brief::default() };
        assert!(sentences(&long).is_empty());
    }
}
