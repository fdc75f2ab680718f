//! The steps that a task can be taken back to, as a person chooses among them.

use super::first_line;
use super::progress::call_text;
use crate::task::{Checkpoint, Task};
use serde::Serialize;

/// A step, or the version that it ended with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepRow {
    pub step: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    pub at_ms: u64,
    /// What the agent did in it, or its words at the end.
    pub did: String,
    /// The files are other ones than after the step before.
    pub changed: bool,
}

/// Most characters of what a step did.
const DID_MAX: usize = 90;

/// Returns the steps that a task can be taken back to, in order, each as it was last.
pub fn steps(task: &Task) -> Vec<StepRow> {
    let mut rows: Vec<StepRow> = vec![];
    let mut before = None;
    for point in task.checkpoints() {
        let changed = point.snapshot != before && point.snapshot.is_some();
        before = point.snapshot;
        let row = StepRow {
            step: point.step,
            version: point.version,
            at_ms: point.at_ms,
            did: did(task, point),
            changed,
        };
        rows.retain(|known| known.step != row.step || known.version != row.version);
        rows.push(row);
    }
    rows.sort_by_key(|row| row.step);
    rows
}

fn did(task: &Task, point: &Checkpoint) -> String {
    if let Some(number) = point.version {
        let version = task.versions.iter().find(|version| version.number == number);
        return first_line(version.map_or("", |version| &*version.summary), DID_MAX);
    }
    let Some(reply) = task.reply_at(point).filter(|reply| !reply.calls.is_empty()) else {
        return "Was told that a check failed".to_owned();
    };
    let calls = reply.calls.iter().map(|call| call_text(call, &task.charter.folders, true));
    first_line(&calls.collect::<Vec<_>>().join(", "), DID_MAX)
}
