//! A version by the person's own hand: they change files of what is reviewed, and the checks run on that as on any other. No model
//! is asked for it. It is a step of its own, so that it can be gone back to and begun in; the agent is told when it works next.

use super::{Phase, Stage, Task};
use crate::bytes::Hash;
use crate::event::Part;

impl Task {
    /// Returns whether the version that is being made is the person's own.
    pub(crate) fn is_by_hand(&self) -> bool {
        !self.edited.is_empty()
    }

    /// Returns how many replies there were: the steps that were not the person's own.
    pub(super) fn replies_so_far(&self) -> u32 {
        self.step - self.own_steps
    }

    pub(super) fn may_edit(
        &self,
        version: u32,
        snapshot: &Hash,
        files: &[Part],
        told: &str,
    ) -> Result<(), &'static str> {
        let rests = matches!(self.phase, Phase::Ready | Phase::Accepted) && !self.is_being_written();
        if !rests || self.keeps_nothing() || !self.is_frozen() {
            return Err("only a version that rests, and that nobody is writing, is edited");
        }
        let last = self.version().filter(|last| last.number == version && last.snapshot != *snapshot);
        let known = files.iter().all(|file| (file.folder as usize) < self.charter.folders.len());
        match last {
            Some(_) if known && !files.is_empty() && !told.trim().is_empty() => Ok(()),
            _ => Err("what is edited are files of the last version, and they become others"),
        }
    }

    /// The files are as the person made them: the next layer begins so, is sealed and checked.
    pub(super) fn edit(&mut self, snapshot: Hash, files: &[Part], told: &str) {
        self.begin_turn();
        (self.step, self.own_steps) = (self.step + 1, self.own_steps + 1);
        self.edited = files.into();
        self.snapshot = Some(snapshot);
        self.begin_laid();
        self.asides.push(format!("[quire] {told}"));
        self.note_checkpoint(self.step, None);
        self.stage = Stage::Seal;
    }

    /// The person has words for the agent: with these it goes on from what they made, which is no version of its own any more.
    pub(super) fn leave_edit(&mut self) {
        self.edited = [].into();
    }

    /// Hosts were allowed or denied on which checks of the person's own version had failed.
    pub(super) fn check_anew(&mut self) {
        if let (Stage::Check | Stage::Present, Some(sealed)) = (&self.stage, &mut self.sealed) {
            sealed.proofs.clear();
            self.stage = Stage::Check;
        }
    }
}

#[cfg(test)]
mod tests;
