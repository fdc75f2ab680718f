//! The calls of the open reply: how each ends, and what follows from the last of a step.

use super::{CallState, Stage, Task};

const INTERRUPTED: &str = "Interrupted: quire was stopped while this ran. It may have happened, wholly or in part: look before \
                           you repeat it. Commands that ran in the background have ended.";

impl Task {
    /// After the last outcome of a step.
    pub(super) fn end_calls(&mut self) {
        let Some(open) = &self.reply else { return };
        if !open.judged || open.calls.iter().any(|call| !matches!(call, CallState::Done(_))) {
            return;
        }
        if self.stage != Stage::Calls || !self.calls_are_hooked() {
            return;
        }
        let reply = open.reply.clone();
        self.note_calls();
        if reply.calls.iter().all(|call| self.reads(&call.tool)) && !self.take_hooked() {
            self.stage = Stage::Ask;
            self.note_step();
            self.note_checkpoint(self.step, None);
        } else {
            self.stage = Stage::Snap;
        }
    }

    /// What was begun and not answered may have happened: a question is asked again, a call never runs again by itself.
    pub(super) fn lose_what_was_begun(&mut self) {
        (self.asked, self.reviewing.asked) = (false, false);
        self.spending.lose();
        self.lose_compaction(false);
        self.lose_hooks();
        if let Some(open) = &self.reply {
            let begun = open.calls.iter().enumerate().filter(|(_, call)| matches!(call, CallState::Begun));
            let begun: Vec<u32> = begun.map(|(place, _)| place as u32).collect();
            begun.into_iter().for_each(|place| self.refuse_call(place, INTERRUPTED));
            if self.stage == Stage::Calls {
                self.end_calls();
            }
        }
    }

    pub(super) fn set_call(&mut self, call: u32, state: CallState) {
        if let Some(open) = &mut self.reply {
            open.calls[call as usize] = state;
        }
    }
}
