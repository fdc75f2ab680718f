//! `edit`: replaces an exact text in a file.

use super::files::{Change, FileError, commit, landing, read_whole};
use super::nearest::nearest;
use super::{Here, Tool, refused, said};
use crate::protocol::HandOutcome;
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
    let newlines = |text: &[u8]| text.iter().filter(|b| **b == b'\n').count();
    let windows = content.windows(2).filter(|w| *w == b"\r\n").count();
    let crlf = |text: &str| text.replace("\r\n", "\n").replace('\n', "\r\n");
    let all_crlf = windows > 0 && windows == newlines(content);
    let (mut old_bytes, mut new_bytes) = (old.as_bytes().to_vec(), new.as_bytes().to_vec());
    if all_crlf {
        new_bytes = crlf(new).into_bytes();
    }
    let mut places = find_all(content, &old_bytes);
    if places.is_empty() && windows > 0 {
        old_bytes = crlf(old).into_bytes();
        new_bytes = crlf(new).into_bytes();
        places = find_all(content, &old_bytes);
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

/// Returns where `needle` begins, without overlaps.
fn find_all(content: &[u8], needle: &[u8]) -> Vec<usize> {
    let mut places = vec![];
    let mut at = 0;
    while let Some(rest) = content.get(at..).filter(|rest| rest.len() >= needle.len()) {
        match rest.windows(needle.len()).position(|w| w == needle) {
            Some(found) => {
                places.push(at + found);
                at += found + needle.len();
            }
            None => break,
        }
    }
    places
}
