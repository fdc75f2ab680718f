//! The steps that a task can be taken back to, as a person chooses among them.

use super::first_line;
use super::progress::call_text;
use crate::event::Part;
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
        // An edit of the person's stands as its version, once that is there.
        let is_newer = |known: &StepRow| known.version.is_none() || known.version == row.version;
        rows.retain(|known| known.step != row.step || !is_newer(known));
        rows.push(row);
    }
    rows.sort_by_key(|row| row.step);
    rows
}

/// Returns the files that the person changed themself, as a list.
pub fn edited_text(files: &[Part]) -> String {
    files.iter().map(|file| file.path.to_string()).collect::<Vec<_>>().join(", ")
}

fn did(task: &Task, point: &Checkpoint) -> String {
    let version = point.version.and_then(|number| task.versions.iter().find(|one| one.number == number));
    let edited = version.map_or(&point.edited, |version| &version.edited);
    if !edited.is_empty() {
        return first_line(&format!("You changed {}", edited_text(edited)), DID_MAX);
    }
    if point.version.is_some() {
        return first_line(version.map_or("", |version| &*version.summary), DID_MAX);
    }
    let Some(reply) = task.reply_at(point).filter(|reply| !reply.calls.is_empty()) else {
        return "Was told that a check failed".to_owned();
    };
    let calls = reply.calls.iter().map(|call| call_text(call, &task.charter.folders, true));
    first_line(&calls.collect::<Vec<_>>().join(", "), DID_MAX)
}
