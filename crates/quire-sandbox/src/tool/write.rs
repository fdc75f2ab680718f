//! `write`: a whole file.

use super::files::{Change, FileError, commit, landing, shown};
use super::{Here, Tool, refused, said};
use crate::protocol::HandOutcome;
use quire_core::charter::Edits;
use schemars::JsonSchema;
use serde::Deserialize;

/// Write a whole file, new or in place of the one there; missing folders are made, the mode is kept.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Write {
    /// From the task's folder, or absolute.
    path: String,
    content: String,
}

impl Tool for Write {
    const NAME: &'static str = "write";
    const FOR: Option<Edits> = Some(Edits::EditAndWrite);

    fn run(self, here: &Here<'_>) -> HandOutcome {
        let path = here.inside.at(&self.path);
        let (bytes, lines) = (self.content.len(), self.content.lines().count());
        let write = || -> Result<bool, FileError> {
            let place = landing(&path).map_err(|e| FileError::io(&path, e))?;
            if place.is_dir() {
                return Err(FileError::Folder { path: shown(&path) });
            }
            let there = place.exists();
            commit(&[Change { path: place, content: Some(self.content.into_bytes()), like: None }])?;
            Ok(there)
        };
        match write() {
            Ok(there) => {
                let how = if there { "Replaced" } else { "Wrote the new file" };
                said(format!("{how} {}: {lines} lines, {bytes} bytes.", self.path))
            }
            Err(error) => refused(format!("{error} Nothing was written.")),
        }
    }
}
