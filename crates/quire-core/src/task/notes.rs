//! What calls that went well say of the work besides what they do: its plan, how it can be tried, and what the agent looked at.

use super::{CallState, PlanStep, Task};
use crate::bytes::Hash;
use crate::message::{Call, Image};
use std::sync::Arc;

/// The name of the tool by which the agent sees what it made.
pub const LOOK: &str = "look";

/// Looks of a turn that are kept.
const LOOKS_MAX: usize = 24;

/// A look that the agent took at what it made.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Look {
    /// A file or an address, as the agent named it.
    pub target: String,
    /// What it was told, bounded.
    pub said: String,
    /// What it was shown.
    pub pictures: Vec<Image>,
    /// The folders as they were then; absent where that is not known.
    pub snapshot: Option<Hash>,
}

#[derive(serde::Deserialize)]
struct Plan {
    steps: Vec<PlanStep>,
}

#[derive(serde::Deserialize)]
struct Target {
    target: String,
}

impl Task {
    /// Takes over what the calls of the open reply say, when all have ended.
    pub(super) fn note_calls(&mut self) {
        let Some(open) = self.reply.clone() else { return };
        let calls = &open.reply.calls;
        if let Some(call) = calls.iter().rfind(|call| call.tool == "plan")
            && let Ok(plan) = serde_json::from_str::<Plan>(&call.input)
        {
            self.plan = plan.steps;
        }
        let went_well = |(_, (_, state)): &(usize, (&Call, &CallState))| state.went_well();
        for (place, (call, state)) in calls.iter().zip(&open.calls).enumerate().filter(went_well) {
            if call.tool == "serve"
                && let Ok(serving) = serde_json::from_str(&call.input)
            {
                self.serving = Some(Arc::new(serving));
            }
            if call.tool == LOOK {
                // What ran after it may have changed what it saw.
                let is_last = calls[place..].iter().all(|after| self.reads(&after.tool));
                self.note_look(call, state, is_last);
            }
            self.note_touched(call);
        }
    }

    fn note_look(&mut self, call: &Call, state: &CallState, is_last: bool) {
        let (CallState::Done(outcome), Ok(Target { target })) = (state, serde_json::from_str(&call.input))
        else {
            return;
        };
        let only_reads = self
            .reply
            .as_ref()
            .is_some_and(|open| open.reply.calls.iter().all(|call| self.reads(&call.tool)));
        let look = Look {
            target,
            said: outcome.text.chars().take(2_000).collect(),
            pictures: outcome.images.clone(),
            snapshot: self.snapshot.filter(|_| only_reads),
        };
        if self.looks.len() < LOOKS_MAX {
            self.looks.push(Arc::new(look));
            self.unplaced += usize::from(is_last && !only_reads);
        }
    }

    /// The folders were recorded after a step: that is what its last looks saw.
    pub(super) fn place_looks(&mut self, snapshot: Hash) {
        let unplaced = std::mem::take(&mut self.unplaced);
        for look in self.looks.iter_mut().rev().take(unplaced) {
            Arc::make_mut(look).snapshot = Some(snapshot);
        }
    }
}
