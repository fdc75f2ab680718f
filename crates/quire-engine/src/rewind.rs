//! Going back to a step, and beginning another task in one. Both are an event; what the next sandbox needs for it is laid out when
//! that is made (`work.rs`), so that neither costs more in a large folder than in a small one, and a crash leaves nothing half done.

use crate::quire::{CLEARED, EngineError, Quire};
use crate::store::{AppendError, ReadError, Store};
use quire_core::{Event, Phase, Task};
use std::collections::BTreeSet;

/// Where a person wants to be: after a step, or at a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    Step(u32),
    Version(u32),
}

impl Quire {
    /// Takes a task back to where it stood: files and conversation. What runs is stopped. Returns the step.
    pub fn rewind(&self, id: u64, to: Point) -> Result<u32, EngineError> {
        let step = self.step_of(&self.task(id)?, to)?;
        self.append(id, |task| {
            may_be_left(task)?;
            if task.is_being_written() {
                return Err("is being written by another process");
            }
            Ok(vec![Event::Rewound { step }])
        })?;
        Ok(step)
    }

    /// Begins a task of its own where another stood. Nothing is copied but the log.
    pub fn fork(&self, id: u64, at: Point) -> Result<u64, EngineError> {
        let task = self.task(id)?;
        may_be_left(&task).map_err(|why| EngineError::Not { task: id, why })?;
        let step = self.step_of(&task, at)?;
        match self.store().fork(id, step).wait() {
            Ok(created) => Ok(created.task),
            // It was discarded just now.
            Err(AppendError::Illegal(_)) => Err(EngineError::Not { task: id, why: "has gone on meanwhile" }),
            Err(error) => Err(error.into()),
        }
    }

    fn step_of(&self, task: &Task, point: Point) -> Result<u32, EngineError> {
        let found = match point {
            Point::Step(step) => task.checkpoint(step),
            Point::Version(number) => task.checkpoints().rfind(|one| one.version == Some(number)),
        };
        found.map(|one| one.step).ok_or(EngineError::NoSuchPoint { task: task.id, point })
    }

    /// Returns the tasks whose layers others stand on.
    pub(crate) fn lent(&self) -> Result<BTreeSet<u64>, EngineError> {
        Ok(lent(self.store())?)
    }
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
