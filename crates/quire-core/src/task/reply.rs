//! What a reply of the model's means: calls to be judged, the end of its turn, or nothing that could be gone on with.

use super::{CallState, OpenReply, Stage, Task};
use crate::event::Why;
use crate::message::{PromptItem, Reply, Stop};
use std::sync::Arc;

/// Empty replies in a row after which a person is asked.
const SILENCES_MAX: u32 = 3;

impl Task {
    pub(super) fn hear(&mut self, reply: &Reply) {
        self.asked = false;
        self.renew_hooks();
        self.step += 1;
        self.usage.add(reply.usage);
        self.spending.settle(reply.usage);
        self.count_input(reply.usage, self.transcript.len());
        self.fits();
        let reply = Arc::new(reply.clone());
        // A recorded reply has no items of any wire's, and is part of the conversation all the same.
        if !reply.items.is_empty() || !reply.is_empty() {
            self.transcript.push(Arc::new(PromptItem::Model(reply.clone())));
        }
        if !reply.text.trim().is_empty() {
            self.last_text = reply.text.as_str().into();
        }
        self.cut = if reply.stop == Stop::Length { self.cut + 1 } else { 0 };
        self.silences = if reply.is_empty() || reply.stop == Stop::Length { self.silences + 1 } else { 0 };
        if !reply.calls.is_empty() {
            let calls = vec![CallState::Owed; reply.calls.len()];
            self.reply = Some(OpenReply { reply, judged: false, calls });
            self.stage = Stage::Calls;
            return;
        }
        self.stage = match &reply.stop {
            Stop::Refused(why) => Stage::Stuck(Why::Refused(why.clone())),
            _ if self.silences >= SILENCES_MAX => Stage::Stuck(Why::Silence),
            Stop::Length => {
                self.notice("Your reply was cut at the output limit. Go on from there, in smaller parts.");
                Stage::Ask
            }
            Stop::Done if reply.is_empty() => {
                self.notice("Your reply was empty. Go on with the task, or say in words how it ended.");
                Stage::Ask
            }
            Stop::Done if !self.unheard.is_empty() => Stage::Ask,
            Stop::Done if self.reminds_of_notes(&reply.text) => Stage::Ask,
            Stop::Done => Stage::Seal,
        };
    }
}
