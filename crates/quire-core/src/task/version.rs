//! What a turn leaves behind it: the files as they stood, what was proved of them, and how they can be tried.

use crate::bytes::Hash;
use crate::charter::CheckSpec;
use crate::event::{Apart, Proof};
use crate::task::{Look, Reviewed};
use std::sync::Arc;

/// What the end of a sandbox left: what checks run on.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Sealed {
    pub layer: u32,
    pub snapshot: Hash,
    pub apart: Arc<Apart>,
    /// The charter's checks, then those that quire found.
    pub checks: Arc<[CheckSpec]>,
    /// One for each of them, as far as run.
    pub proofs: Vec<Arc<Proof>>,
}

/// The files as they stood when a turn ended: what is reviewed.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Version {
    pub number: u32,
    pub snapshot: Hash,
    /// The model's own words at the end of the turn.
    pub summary: Arc<str>,
    pub apart: Arc<Apart>,
    /// The charter's, then those that quire found.
    pub checks: Arc<[CheckSpec]>,
    /// In the order of the checks, as far as run.
    pub proofs: Vec<Arc<Proof>>,
    /// What a reviewer says of it, where one was asked.
    pub reviewed: Option<Arc<Reviewed>>,
    /// Sealed layers up to this one hold the version.
    pub layer: u32,
    pub serving: Option<Arc<Serving>>,
    /// What the agent looked at while it was made.
    pub looks: Vec<Arc<Look>>,
    pub at_ms: u64,
}

/// A line of the model's plan.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub struct PlanStep {
    pub step: String,
    /// `pending`, `doing` or `done`.
    pub status: String,
}

/// How a version can be tried in a browser, as the model says it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Serving {
    /// A command line for the first folder.
    pub command: String,
    /// What it then listens on.
    pub port: u16,
    /// The page to open first.
    #[serde(default)]
    pub path: String,
}
