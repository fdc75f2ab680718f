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
        let lent = self.quire.lent()?;
        for Summary { task: id, phase, cleared, .. } in self.quire.summaries()? {
            let place = self.quire.place(id);
            let failed = |why| EngineError::Home { path: place.dir().to_owned(), why };
            if cleared || phase == Phase::Discarded {
                // Where others stand on its layers, the rest can go once they do no more.
                if !lent.contains(&id) {
                    self.drop_task(id, &place).map_err(failed)?;
                }
                continue;
            }
            let task = self.quire.task_as_it_is(id)?;
            let aged = task.is_whole() && self.is_past(task.last_ms);
            if aged && !self.forget(&task)? {
                live.add(self.quire.store(), &task, place.dir())?;
                continue;
            }
            if aged && !lent.contains(&id) {
                self.drop_task(id, &place).map_err(failed)?;
            } else if !aged {
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

    fn drop_task(&mut self, id: u64, place: &Place) -> io::Result<()> {
        if fs::symlink_metadata(place.dir()).is_err() {
            return Ok(());
        }
        if !self.only_look {
            place.bury()?;
        }
        self.cleared.tasks.push(id);
        self.remove(place.dir())
    }

    /// Removes what a killed sandbox of a task that rests ran in.
    fn bury(&mut self, task: &Task, place: &Place) -> io::Result<()> {
        let runs = place.dir().join("run");
        let rests = task.phase != Phase::Working && self.is_older(&runs, LEFT);
        if rests && !self.only_look && fs::read_dir(&runs).is_ok_and(|mut runs| runs.next().is_some()) {
            (self.watch)("bury");
            place.bury()?;
        }
        Ok(())
    }
}
