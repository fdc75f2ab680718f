//! What an agent looked at as a person would, with what it saw; and what there is to look at that it did not.

use super::{FileChange, Shape, count};
use crate::message::Image;
use crate::task::Version;
use serde::Serialize;

/// A look of the agent's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LookRow {
    /// A file or an address, as the agent named it.
    pub target: String,
    /// What it was told: errors, widths, pages.
    pub said: String,
    pub pictures: Vec<Image>,
    /// Something may have changed since.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
}

/// Endings of what a person looks at rather than reads.
const TO_LOOK_AT: &[&str] =
    &["html", "htm", "xhtml", "svg", "pdf", "docx", "odt", "rtf", "xlsx", "ods", "pptx", "odp"];

impl LookRow {
    pub fn of(version: &Version) -> Vec<LookRow> {
        let row = |look: &crate::task::Look| LookRow {
            target: look.target.clone(),
            said: look.said.clone(),
            pictures: look.pictures.clone(),
            stale: look.snapshot != Some(version.snapshot),
        };
        version.looks.iter().map(|look| row(look)).collect()
    }

    /// Returns `index.html, 2 pictures`.
    pub fn text(&self) -> String {
        let pictures = match self.pictures.len() {
            0 => String::new(),
            many => format!(", {}", count(many as u64, "picture")),
        };
        let stale = if self.stale { ", before its last changes" } else { "" };
        let errors = self.said.lines().filter(|line| line.starts_with("error: ")).count() as u64;
        let errors = if errors > 0 { format!(", {}", count(errors, "error")) } else { String::new() };
        format!("{}{pictures}{errors}{stale}", self.target)
    }
}

/// Returns what of the changed files is there to be looked at, where nothing was as it is now.
pub(super) fn not_looked(files: &[FileChange], looked: &[LookRow]) -> Vec<String> {
    if looked.iter().any(|look| !look.stale) {
        return vec![];
    }
    let is_seen = |file: &&FileChange| {
        let name = file.path.to_string().to_ascii_lowercase();
        let is_there = file.shape == Shape::File && file.fate != super::Fate::Deleted;
        is_there && name.rsplit_once('.').is_some_and(|(_, ending)| TO_LOOK_AT.contains(&ending))
    };
    files.iter().filter(is_seen).map(|file| file.path.to_string()).collect()
}
