//! What a turn leaves behind it: the files as they stood, what was proved of them, and how they can be tried.

use super::Line;
use crate::bytes::Hash;
use crate::charter::CheckSpec;
use crate::event::{Apart, Part, Proof};
use crate::message::Call;
use crate::task::{Look, Reviewed};
use std::sync::Arc;

/// What the end of a sandbox left: what checks run on.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Sealed {
    /// The sealed layers that hold it.
    pub line: Line,
    pub snapshot: Hash,
    pub apart: Arc<Apart>,
    /// The charter's checks, then those that quire found.
    pub checks: Arc<[CheckSpec]>,
    /// See [`crate::change::Snapshot::files`].
    pub files: Option<u32>,
    /// One for each of them, as far as run.
    pub proofs: Vec<Arc<Proof>>,
}

/// The files as they stood when a turn ended: what is reviewed.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Version {
    pub number: u32,
    /// The earlier one that it is again, because its person went back to that.
    pub again: Option<u32>,
    pub snapshot: Hash,
    /// The model's own words at the end of the turn.
    pub summary: Arc<str>,
    pub apart: Arc<Apart>,
    /// The charter's, then those that quire found.
    pub checks: Arc<[CheckSpec]>,
    /// Files that it changes; absent where that was not counted, or nothing but folders changed.
    pub files: Option<u32>,
    /// In the order of the checks, as far as run.
    pub proofs: Vec<Arc<Proof>>,
    /// What the person themself changed to make it of the version before.
    pub edited: Arc<[Part]>,
    /// What a reviewer says of it, where one was asked.
    pub reviewed: Option<Arc<Reviewed>>,
    /// The sealed layers that hold it.
    pub line: Line,
    pub serving: Option<Arc<Serving>>,
    /// What the agent looked at while it was made.
    pub looks: Vec<Arc<Look>>,
    pub at_ms: u64,
}

/// A task's place among those that try the same side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Attempt {
    pub first: u64,
    pub number: u32,
    pub of: u32,
    /// Whether the budget in money is one for all.
    pub shared: bool,
}

impl Attempt {
    /// Returns the first of the attempts that share one budget with this one.
    pub fn shares_budget(&self) -> Option<u64> {
        self.shared.then_some(self.first)
    }
}

/// A line of the model's plan.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub struct PlanStep {
    pub step: String,
    /// `pending`, `doing` or `done`.
    pub status: String,
}

impl PlanStep {
    /// Returns the plan that a call writes down, if it is one.
    pub(super) fn of_call(call: &Call) -> Option<Vec<PlanStep>> {
        #[derive(serde::Deserialize)]
        struct Plan {
            steps: Vec<PlanStep>,
        }
        let plan = (call.tool == "plan").then(|| serde_json::from_str::<Plan>(&call.input).ok());
        Some(plan??.steps)
    }
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
