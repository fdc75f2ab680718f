//! Where a turn begins, goes on and ends, and what a person's word grants it.

use super::loops::Loops;
use super::{Phase, Stage, Task};

impl Task {
    /// New words of the person's: what rests begins its next turn, and what is about to end does not.
    pub(super) fn turn_goes_on(&mut self) {
        self.leave_edit();
        if matches!(self.phase, Phase::Ready | Phase::Accepted) {
            self.turn += 1;
            self.begin_turn();
        } else if matches!(self.stage, Stage::Check | Stage::Present)
            || self.stage == Stage::Review && !self.reviewing.asked
            || self.stage == Stage::Seal && self.pressing().next().is_some()
        {
            self.stage = Stage::Ask;
        }
    }

    /// Whether the sandbox is to end: with the turn, or while the person is waited for.
    pub(super) fn may_seal(&self) -> bool {
        match self.stage {
            Stage::Seal => !self.keeps_nothing(),
            Stage::Ask => self.rests_unsealed(),
            _ => false,
        }
    }

    /// Returns whether the task rests for an answer with a sandbox that may have been written in. An answer that comes while
    /// that is sealed changes nothing: no request may leave, whose calls would need another.
    pub(crate) fn rests_unsealed(&self) -> bool {
        self.rests && self.layer_used
    }

    pub(super) fn begin_turn(&mut self) {
        self.phase = Phase::Working;
        self.stage = Stage::Ask;
        self.return_to_named_model();
        self.check_rounds_used = 0;
        self.forget_review();
        self.looks.clear();
        self.grant();
    }

    /// A person's word grants the charter's limits anew.
    pub(super) fn grant(&mut self) {
        self.steps_granted = self.step.saturating_add(self.charter.limits.steps);
        self.time_granted_ms = self.worked_ms.saturating_add(self.charter.limits.time_ms);
        self.tokens_granted =
            self.charter.limits.tokens.map(|most| self.spending.tokens.saturating_add(most));
        self.silences = 0;
        self.grant_hooks();
        self.loops = Loops::default();
    }
}
