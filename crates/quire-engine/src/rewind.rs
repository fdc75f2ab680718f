//! Going back to a step, and beginning another task in one. Both are an event; what the next sandbox needs for it is laid out when
//! that is made (`work.rs`), so that neither costs more in a large folder than in a small one, and a crash leaves nothing half done.

use crate::quire::{CLEARED, EngineError, Quire, is_own};
use crate::store::{AppendError, ReadError, Store};
use quire_core::task::Checkpoint;
use quire_core::view::{Mark, begins};
use quire_core::{Event, Phase, Task};
use std::collections::BTreeSet;

/// Where a person wants to be: after a step, or at a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    Step(u32),
    Version(u32),
}

/// A task that began in another, and how it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    pub task: u64,
    pub mark: Mark,
    /// As in [`quire_core::view::TaskRow`].
    pub state: String,
}

impl Quire {
    /// Takes a task back to where it stood: files and conversation. What runs is stopped. Returns the step.
    pub fn rewind(&self, id: u64, to: Point) -> Result<u32, EngineError> {
        let step = step_of(&self.task(id)?, to)?.step;
        self.append(id, |task| {
            may_be_left(task)?;
            if task.is_being_written() {
                return Err("is being written by another process");
            }
            Ok(vec![Event::Rewound { step }])
        })?;
        Ok(step)
    }

    /// Begins a task of its own where another stood. Nothing is copied.
    pub fn fork(&self, id: u64, at: Point) -> Result<Begun, EngineError> {
        let task = self.task(id)?;
        is_own(&task)?;
        may_be_left(&task).map_err(|why| EngineError::Not { task: id, why })?;
        let at = step_of(&task, at)?;
        match self.store().fork(id, at.step).wait() {
            // To fold the new one would take as long as its log is.
            Ok(created) => {
                let (mark, state) = begins(&task, at);
                Ok(Begun { task: created.task, mark, state })
            }
            // It was discarded just now.
            Err(AppendError::Illegal(_)) => Err(EngineError::Not { task: id, why: "has gone on meanwhile" }),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the tasks whose layers others stand on.
    pub(crate) fn lent(&self) -> Result<BTreeSet<u64>, EngineError> {
        Ok(lent(self.store())?)
    }
}

/// Returns where the task stood after the step of a point.
fn step_of(task: &Task, point: Point) -> Result<&Checkpoint, EngineError> {
    let step = match point {
        Point::Step(step) => Some(step),
        Point::Version(number) => {
            task.checkpoints().rfind(|one| one.version == Some(number)).map(|one| one.step)
        }
    };
    let found = step.and_then(|step| task.checkpoint(step));
    found.map(|one| &**one).ok_or(EngineError::NoSuchPoint { task: task.id, point })
}

/// Returns whether a task can be taken back, or another begin in it, where it has steps for that.
pub fn can_be_left(task: &Task) -> bool {
    is_own(task).is_ok() && may_be_left(task).is_ok()
}

fn may_be_left(task: &Task) -> Result<(), &'static str> {
    match &task.phase {
        Phase::Discarded => Err("was discarded"),
        _ if task.cleared => Err(CLEARED),
        _ if task.keeps_nothing() => Err("has nothing to go back to: nothing of its turns is kept"),
        _ => Ok(()),
    }
}

/// Returns the tasks of which others that are not gone need what they left.
pub(crate) fn lent(store: &Store) -> Result<BTreeSet<u64>, ReadError> {
    Ok(store.summaries()?.into_iter().flat_map(|summary| summary.borrows).collect())
}
