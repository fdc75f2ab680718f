//! Loops: the same calls with the same outcomes, step after step. The model is told first, and then its person.

use super::{CallState, Stage, Task};
use crate::bytes::Hash;
use crate::event::Why;

/// How often in a row the same calls had the same outcomes.
#[derive(Clone, Debug, Default)]
pub(super) struct Repeats {
    last: Option<Hash>,
    count: u32,
}

/// Repeats after which the model, and then the person, is told.
const REPEATS_TOLD: u32 = 3;
const REPEATS_MAX: u32 = 7;

impl Task {
    /// Tells the model, and later stops, when the same calls have the same outcomes step after step.
    pub(super) fn notice_loop(&mut self) {
        let Some(open) = &self.reply else { return };
        let mut seen = Vec::new();
        for (state, call) in open.calls.iter().zip(&open.reply.calls) {
            let CallState::Done(outcome) = state else { return };
            seen.extend_from_slice(call.tool.as_bytes());
            seen.extend_from_slice(call.input.as_bytes());
            // Without digits, because an outcome states times.
            seen.extend(outcome.text.bytes().filter(|b| !b.is_ascii_digit()));
        }
        // Waiting for a background command repeats itself rightly; the step limit bounds it.
        let waits = open.reply.calls.iter().any(|call| call.tool == "job");
        let this = Hash::of(&seen);
        self.repeats.count =
            if self.repeats.last == Some(this) && !waits { self.repeats.count + 1 } else { 0 };
        self.repeats.last = Some(this);
        if self.repeats.count == REPEATS_TOLD {
            self.notice("You have made the same calls with the same outcomes several times. Try something else, or end.");
        } else if self.repeats.count >= REPEATS_MAX {
            self.stage = Stage::Stuck(Why::Loop);
        }
    }
}
