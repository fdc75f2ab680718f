//! What of a task was written into the real folders, and taken back.

use super::{Phase, Task};
use crate::bytes::Hash;
use crate::event::Part;

/// One writing of a version into the real folders.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Accept {
    pub snapshot: Hash,
    /// Empty: everything.
    pub only: Vec<Part>,
    /// What was taken besides, of ignored directories that the task made: a snapshot.
    pub ignored: Option<Hash>,
    /// A snapshot of what was taken, where that is not just what `only` names.
    pub taken: Option<Hash>,
    pub state: AcceptState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum AcceptState {
    Begun,
    Done,
    Failed,
    Undoing,
    Undone,
}

impl Accept {
    /// Returns whether the whole version was taken.
    pub fn is_whole(&self) -> bool {
        self.only.is_empty() && self.taken.is_none()
    }
}

impl Task {
    /// Returns the number of the accept that an undo would take back.
    pub fn last_accept(&self) -> Option<usize> {
        self.accepts.iter().rposition(|a| a.state == AcceptState::Done)
    }

    /// Returns whether an accept or undo was begun and has not ended.
    pub fn is_being_written(&self) -> bool {
        self.accepts.iter().any(|a| matches!(a.state, AcceptState::Begun | AcceptState::Undoing))
    }

    /// Returns whether the last version is in the folder, as far as its person took it, or there will be none, and nothing
    /// goes on.
    pub fn is_whole(&self) -> bool {
        if self.answer().is_some() {
            return true;
        }
        let accepted = self.last_accept().map(|accept| self.accepts[accept].snapshot);
        self.phase == Phase::Accepted
            && !self.is_being_written()
            && accepted == self.version().map(|version| version.snapshot)
    }

    /// Returns whether something of it would be lost with quire's data: work, or a version that was not taken.
    pub fn is_open(&self) -> bool {
        self.phase != Phase::Discarded && !self.is_whole()
    }

    pub(super) fn accept_is(&self, accept: u32, state: AcceptState) -> bool {
        self.accepts.get(accept as usize).is_some_and(|a| a.state == state)
    }

    pub(super) fn set_accept(&mut self, accept: u32, state: AcceptState) {
        self.accepts[accept as usize].state = state;
        self.phase = if self.last_accept().is_some() { Phase::Accepted } else { Phase::Ready };
    }
}
