//! `edit`: replaces an exact text in a file.

use super::files::{Change, FileError, commit, landing, read_whole};
use super::nearest::nearest;
use super::{Here, Tool, refused, said};
use crate::protocol::HandOutcome;
use memchr::{memchr_iter, memmem};
use quire_core::charter::Edits;
use schemars::JsonSchema;
use serde::Deserialize;

/// Places of a text that is there more than once whose lines are named.
const PLACES_MAX: usize = 10;

/// Replace an exact text in a file. It must be there once, so take as many lines as make it the only one, or set `all`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Edit {
    /// From the task's folder, or absolute.
    path: String,
    /// The text as it stands, with its blanks, without line numbers.
    old: String,
    new: String,
    /// Replace every occurrence.
    #[serde(default)]
    all: bool,
}

impl Tool for Edit {
    const NAME: &'static str = "edit";
    const FOR: Option<Edits> = Some(Edits::EditAndWrite);

    fn run(self, here: &Here<'_>) -> HandOutcome {
        let path = here.inside.at(&self.path);
        let change = || -> Result<String, EditError> {
            let content = read_whole(&path)?;
            let (content, lines) = replace(&content, &self.old, &self.new, self.all)?;
            let place = landing(&path).map_err(|e| FileError::io(&path, e))?;
            commit(&[Change { path: place, content: Some(content), like: None }])?;
            Ok(lines)
        };
        match change() {
            Ok(lines) => said(format!("Changed {}, {lines}.", self.path)),
            Err(error) => refused(format!("{error} Nothing was changed.")),
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum EditError {
    #[error("{0}")]
    File(#[from] FileError),
    #[error("`old` is empty; to make a file, use write.")]
    NothingOld,
    #[error("`old` and `new` are the same.")]
    Same,
    #[error("`old` is not in the file. {near}\n")]
    Missing { near: String },
    #[error("`old` is in the file {count} times, {lines}: add lines around it, or set `all`.")]
    Many { count: usize, lines: String },
}

/// Returns the content with `old` replaced, and on which lines that was. In a file whose lines end with CRLF, `old` and
/// `new` may have plain newlines, and take the file's.
fn replace(content: &[u8], old: &str, new: &str, all: bool) -> Result<(Vec<u8>, String), EditError> {
    match () {
        () if old.is_empty() => return Err(EditError::NothingOld),
        () if old == new => return Err(EditError::Same),
        () => {}
    }
    let newlines = |text: &[u8]| memchr_iter(b'\n', text).count();
    let find_all = |needle: &[u8]| -> Vec<usize> { memmem::find_iter(content, needle).collect() };
    let crlfs = find_all(b"\r\n").len();
    let crlf = |text: &str| text.replace("\r\n", "\n").replace('\n', "\r\n");
    let all_crlf = crlfs > 0 && crlfs == newlines(content);
    let (mut old_bytes, mut new_bytes) = (old.as_bytes().to_vec(), new.as_bytes().to_vec());
    if all_crlf {
        new_bytes = crlf(new).into_bytes();
    }
    let mut places = find_all(&old_bytes);
    if places.is_empty() && crlfs > 0 {
        old_bytes = crlf(old).into_bytes();
        new_bytes = crlf(new).into_bytes();
        places = find_all(&old_bytes);
    }
    let lines = || {
        let mut numbers: Vec<_> =
            places.iter().take(PLACES_MAX).map(|at| (newlines(&content[..*at]) + 1).to_string()).collect();
        if places.len() > PLACES_MAX {
            numbers.push("\u{2026}".to_owned());
        }
        format!("{} {}", if places.len() == 1 { "line" } else { "lines" }, numbers.join(", "))
    };
    match places.len() {
        0 => {
            let wanted: Vec<_> = old.lines().collect();
            return Err(EditError::Missing { near: nearest(content, &wanted) });
        }
        1 => {}
        count if !all => return Err(EditError::Many { count, lines: lines() }),
        _ => {}
    }
    let mut out = Vec::with_capacity(content.len());
    let mut taken = 0;
    for at in &places {
        out.extend_from_slice(&content[taken..*at]);
        out.extend_from_slice(&new_bytes);
        taken = at + old_bytes.len();
    }
    out.extend_from_slice(&content[taken..]);
    Ok((out, lines()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::Place;
    use serde_json::json;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn edits() {
        // The file before, the input, the file after, the answer.
        let rows: &[(&[u8], serde_json::Value, &[u8], &str)] = &[
            (b"a\nb\nc\n", json!({"old": "b", "new": "B"}), b"a\nB\nc\n", "Changed f, line 2."),
            (b"a\nb\nc\n", json!({"old": "a\nb\n", "new": ""}), b"c\n", "Changed f, line 1."),
            (
                b"x x\nx",
                json!({"old": "x", "new": "yy", "all": true}),
                b"yy yy\nyy",
                "Changed f, lines 1, 1, 2.",
            ),
            (b"aaa", json!({"old": "aa", "new": "b", "all": true}), b"ba", "Changed f, line 1."),
            (b"a\r\nb\r\n", json!({"old": "a\nb\n", "new": "x\ny\n"}), b"x\r\ny\r\n", "Changed f, line 1."),
            (b"a\r\nb\r\n", json!({"old": "b", "new": "x\ny"}), b"a\r\nx\r\ny\r\n", "Changed f, line 2."),
            (b"a\r\nb\r\n", json!({"old": "a\r\nb", "new": "x\r\ny"}), b"x\r\ny\r\n", "Changed f, line 1."),
            (b"a\r\nb\nc\n", json!({"old": "b\nc", "new": "x\ny"}), b"a\r\nx\ny\n", "Changed f, line 2."),
            (b"\xff a\n", json!({"old": "a", "new": "b"}), b"\xff b\n", "Changed f, line 1."),
        ];
        for (before, input, after, answer) in rows.iter().cloned() {
            let place = Place::new();
            place.put("f", before);
            let mut input = input.clone();
            input["path"] = json!("f");
            let outcome = place.call("edit", input.clone());
            assert_eq!((outcome.text.as_str(), outcome.ok), (answer, true), "{input}");
            assert_eq!(place.get("f"), after, "{input}");
        }
    }

    #[test]
    fn what_does_not_fit_is_told_and_changes_nothing() {
        let before = "fn one() {\n    first()\n}\n\nfn two() {\n    first()\n}\n";
        let rows = [
            (json!({"old": "first", "new": "x"}), "in the file 2 times, lines 2, 6: add lines around it"),
            (
                json!({"old": "fn two () {\n  first()", "new": "x"}),
                "The nearest lines are:\n5\tfn two() {\n6\t    first()\n",
            ),
            (json!({"old": "zebra", "new": "x"}), "No lines of the file are like it."),
            (json!({"old": "", "new": "x"}), "`old` is empty; to make a file, use write."),
            (json!({"old": "first", "new": "first"}), "are the same"),
            (json!({"old": "a", "new": "b", "path": "g"}), "There is no "),
            (json!({"old": "a", "new": "b", "path": ""}), "is a folder"),
            (json!({"old": "a", "new": "b", "path": "/dev/zero"}), "is a device"),
        ];
        for (mut input, expect) in rows {
            let place = Place::new();
            place.put("f", before);
            if input.get("path").is_none() {
                input["path"] = json!("f");
            }
            let outcome = place.call("edit", input.clone());
            assert!(!outcome.ok && outcome.text.contains(expect), "{input}: {}", outcome.text);
            assert!(outcome.text.ends_with("Nothing was changed."), "{}", outcome.text);
            assert_eq!(place.get("f"), before.as_bytes());
            assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 1, "nothing is left beside");
        }
    }

    #[test]
    fn modes_and_symlinks_stay() {
        let place = Place::new();
        place.put("real/f", "a\n");
        fs::set_permissions(place.path("real/f"), fs::Permissions::from_mode(0o750)).unwrap();
        symlink("real/f", place.path("link")).unwrap();
        assert!(place.call("edit", json!({"path": "link", "old": "a", "new": "b"})).ok);
        assert!(fs::symlink_metadata(place.path("link")).unwrap().is_symlink());
        assert_eq!(place.get("real/f"), b"b\n");
        assert_eq!(fs::metadata(place.path("real/f")).unwrap().permissions().mode() & 0o7777, 0o750);
    }
}
