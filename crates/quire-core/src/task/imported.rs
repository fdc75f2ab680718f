//! A task that was read back from a file: a record of one of another place. It is looked at as any other, and nothing follows it but
//! that it is dropped.

use super::{AcceptState, Phase, Task};
use crate::event::{Event, Trouble, Why};

impl Task {
    /// Returns the number that the task had where it was done; `None` for one of this place.
    pub fn imported_from(&self) -> Option<u64> {
        self.imported
    }

    /// Whether `event` may follow where the task is a record.
    pub(super) fn may_follow_record(&self, event: &Event) -> Result<(), &'static str> {
        match event {
            _ if self.imported.is_none() => Ok(()),
            Event::Discarded {} | Event::Cleared {} => Ok(()),
            _ => Err("a task of another place is only a record"),
        }
    }

    pub(super) fn become_record(&mut self, number: u64) {
        self.lose_what_was_begun();
        self.imported = Some(number);
        // By the numbers of that place it would stand beside a task of this one.
        self.attempt = None;
        self.begins_nowhere();
        if self.phase == Phase::Working {
            self.phase = Phase::Waiting(Why::Trouble(Trouble::Other, "It went on elsewhere.".to_owned()));
        }
        for accept in &mut self.accepts {
            accept.undoing.clear();
            accept.state = match accept.state {
                AcceptState::Begun => AcceptState::Failed,
                AcceptState::Undoing => AcceptState::Done,
                state => state,
            };
        }
    }
}
