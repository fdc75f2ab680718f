//! Where the person went on working in what a version changes: what an accept would meet now.

use crate::bytes::RelPath;
use crate::merge::Overlap;
use serde::Serialize;

/// A path that a version changes, and that is not any more what the task started from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DriftRow {
    /// Index into the task's folders.
    pub folder: u32,
    pub path: RelPath,
    pub fit: Fit,
    /// Lines of which both made something else, `mine` being the person's; empty where it is no text on both sides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overlaps: Vec<Overlap>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Both sides' changes would be in it.
    Merges,
    /// Both changed it, and it cannot be merged.
    Changed,
    Gone,
    Appeared,
    ParentGone,
}

impl DriftRow {
    /// Returns what is to be said of it, in a few words.
    pub fn text(&self) -> &'static str {
        match self.fit {
            Fit::Merges => "you changed it too; both fit",
            Fit::Changed if self.overlaps.is_empty() => "you changed it too, and it cannot be merged",
            Fit::Changed => "you changed the same lines",
            Fit::Gone => "you deleted it",
            Fit::Appeared => "you made it too, and otherwise",
            Fit::ParentGone => "you took away the folder that it is in",
        }
    }
}
