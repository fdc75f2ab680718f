//! What tasks left: of discarded ones everything, of accepted ones everything when it is past its age.

use super::mark::Live;
use super::{Clearing, KEPT};
use crate::place::Place;
use crate::quire::EngineError;
use crate::store::{AppendError, Writer};
use quire_core::view::Summary;
use quire_core::{Event, Phase, Task};
use std::fs;
use std::io;
use std::time::{Duration, UNIX_EPOCH};

/// What a sandbox ran in and left behind is looked at only when nobody can be ending it just now.
const LEFT: Duration = Duration::from_secs(3600);

impl Clearing<'_> {
    /// Clears tasks away and returns what the others need.
    pub fn tasks(&mut self) -> Result<Live, EngineError> {
        let mut live = Live::default();
        for Summary { task: id, phase, cleared, .. } in self.quire.summaries()? {
            let place = self.quire.place(id);
            let failed = |why| EngineError::Home { path: place.dir().to_owned(), why };
            if cleared || phase == Phase::Discarded {
                self.drop_task(id, &place)?;
                continue;
            }
            let task = self.quire.task_as_it_is(id)?;
            let aged = task.is_whole() && self.is_past(task.last_ms);
            if aged && !self.forget(&task)? {
                live.add(self.quire.store(), &task, place.dir())?;
                continue;
            }
            if aged {
                self.drop_task(id, &place)?;
            } else {
                live.add(self.quire.store(), &task, place.dir())?;
                self.bury(&task, &place).map_err(failed)?;
            }
        }
        Ok(live)
    }

    fn is_past(&self, last_ms: u64) -> bool {
        let last = UNIX_EPOCH + Duration::from_millis(last_ms);
        self.now.duration_since(last).is_ok_and(|since| since > KEPT)
    }

    /// Writes down that a task is cleared away. Returns false where its person came in between.
    fn forget(&mut self, task: &Task) -> Result<bool, EngineError> {
        if self.only_look {
            return Ok(true);
        }
        (self.watch)("forget a task");
        let cleared = vec![Event::Cleared {}];
        match self.quire.store().append(task.id, task.seq, Writer::Person, cleared).wait() {
            Ok(_) => Ok(true),
            Err(AppendError::Conflict { .. } | AppendError::Illegal(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes what a task left that no other can begin in any more. Where others stand on its layers, it can go once they do no
    /// more: that is looked at only now, since one may have begun until its log said that it is cleared.
    fn drop_task(&mut self, id: u64, place: &Place) -> Result<(), EngineError> {
        if fs::symlink_metadata(place.dir()).is_err() || self.quire.lent()?.contains(&id) {
            return Ok(());
        }
        let failed = |why| EngineError::Home { path: place.dir().to_owned(), why };
        if !self.only_look {
            place.bury().map_err(failed)?;
        }
        self.cleared.tasks.push(id);
        self.remove(place.dir()).map_err(failed)
    }

    /// Removes what a killed sandbox of a task that rests ran in, and what a process that was killed at git's work left.
    fn bury(&mut self, task: &Task, place: &Place) -> io::Result<()> {
        if !self.only_look {
            place.clear_scratch()?;
        }
        let runs = place.dir().join("run");
        let rests = task.phase != Phase::Working && self.is_older(&runs, LEFT);
        if rests && !self.only_look && fs::read_dir(&runs).is_ok_and(|mut runs| runs.next().is_some()) {
            (self.watch)("bury");
            place.bury()?;
        }
        Ok(())
    }
}
