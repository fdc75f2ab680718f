//! The person went on working in what a version changes, so that it cannot be accepted as it is. The agent is sent on: its copy
//! then stands on the folders as they are when they are copied again, its own work on top, and it is told what of theirs that
//! hides.

use super::{Phase, Task};
use crate::charter::Purpose;

impl Task {
    /// Returns whether the folders are copied as the task is to see them.
    pub fn is_frozen(&self) -> bool {
        self.bases.is_some() && !self.copies_anew
    }

    pub(super) fn may_refit(&self, words: &str) -> Result<(), &'static str> {
        let rests = matches!(self.phase, Phase::Ready | Phase::Accepted) && !self.is_being_written();
        if rests && self.charter.purpose != Purpose::Answer && !words.trim().is_empty() {
            Ok(())
        } else {
            Err("only a version that nobody is writing is fitted around what its person did")
        }
    }

    pub(super) fn refit(&mut self, words: &str) {
        self.copies_anew = true;
        self.accepts_in_base = self.accepts.len();
        self.hear_person(words);
    }
}
