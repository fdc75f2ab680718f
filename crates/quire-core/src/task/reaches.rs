//! What a person is asked of destinations that nobody allowed: the questions, and what becomes of their answers.

use super::{Phase, Stage, Task};
use crate::event::Why;
use crate::net;
use std::sync::Arc;

/// A destination of which the person was asked whether it may be reached.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Reach {
    pub host: String,
    pub port: u16,
    /// What they said last.
    pub allow: Option<bool>,
    /// Whether the end of the turn waits for the answer. It does no more once the person let the task go on without one.
    pub presses: bool,
}

/// Questions that may be open at a time; of what is refused beyond these only the model is told.
pub const REACHES_OPEN_MAX: usize = 20;

impl Task {
    /// Returns the questions without an answer that the end of the turn waits for, with their numbers.
    pub fn pressing(&self) -> impl Iterator<Item = (u32, &Reach)> {
        (0u32..).zip(self.reaches.iter()).filter(|(_, reach)| reach.allow.is_none() && reach.presses)
    }

    /// Returns whether a check failed that may have failed for want of an answer.
    pub(crate) fn failed_for_want(&self) -> bool {
        let failed =
            self.sealed.as_ref().is_some_and(|sealed| sealed.proofs.iter().any(|proof| proof.fails()));
        failed && self.pressing().next().is_some()
    }

    /// Returns whether the person can be asked of a destination: it is the first time, and they have not too many questions.
    pub fn may_ask_of(&self, host: &str, port: u16) -> bool {
        let open = self.reaches.iter().filter(|reach| reach.allow.is_none()).count();
        open < REACHES_OPEN_MAX && !self.reaches.iter().any(|reach| reach.host == host && reach.port == port)
    }

    /// The model is told. Where the turn's end waited for nothing else, it goes on with that.
    pub(super) fn hear_answer(&mut self, reach: u32, allow: bool) {
        let Some(asked) = Arc::make_mut(&mut self.reaches).get_mut(reach as usize) else { return };
        asked.allow = Some(allow);
        let to = net::address(&asked.host, asked.port);
        let told = if allow {
            format!("The person now allows {to}.")
        } else {
            format!("The person denies {to}: do without it, and do not try it again.")
        };
        self.notice(&told);
        self.checkpoints.answered(told);
        let checks = matches!(self.stage, Stage::Check | Stage::Present);
        if self.phase == Phase::Waiting(Why::Reach) {
            if self.pressing().next().is_none() {
                self.phase = Phase::Working;
                match self.is_by_hand() {
                    true => self.check_anew(),
                    false => self.stage = Stage::Ask,
                }
            }
        } else if allow && checks && !self.is_by_hand() {
            // What failed for want of it may now succeed.
            self.stage = Stage::Ask;
        }
    }

    pub(super) fn press_no_more(&mut self) {
        if self.pressing().next().is_some() {
            Arc::make_mut(&mut self.reaches).iter_mut().for_each(|reach| reach.presses = false);
        }
    }
}
