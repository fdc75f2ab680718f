//! Turns that are not to change anything: a plan that is looked at before the work begins, and the answer to a question. Their
//! agent has the same hands as any other and may run whatever helps; what it leaves is dropped when the turn ends, so that
//! nothing of it can be in a version.

use super::{Phase, Stage, Task};
use crate::charter::Purpose;
use crate::event::{Event, Why};
use std::sync::Arc;

/// A plan that a person looks at before it is carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Planning {
    /// The last one that the model made.
    draft: Option<Arc<str>>,
    /// The one that the person agreed to, word for word.
    agreed: Option<Arc<str>>,
}

/// What the model is told with the words of a task that begins with a plan.
const PLAN_FIRST: &str = "[quire] First a plan, no work: look around as you need; whatever you change now is dropped. End with \
the plan as your whole reply, at most 15 short lines: what you will do, in which order, and what you leave as it is. The person \
agrees to it, changes it or turns it down before you begin.";

/// The longest plan, in bytes: it is told in every request.
const PLAN_BYTES_MAX: usize = 32_000;

impl Task {
    /// Returns what the model is told beside the first words.
    pub(super) fn first_told(&self) -> Option<String> {
        (self.charter.purpose == Purpose::Plan).then(|| PLAN_FIRST.to_owned())
    }

    /// Returns whether the turn that goes on is not to change anything.
    pub fn keeps_nothing(&self) -> bool {
        match self.charter.purpose {
            Purpose::Change => false,
            Purpose::Plan => self.planning.agreed.is_none(),
            Purpose::Answer => true,
        }
    }

    /// Returns the plan that waits for its person.
    pub fn plan_to_review(&self) -> Option<&str> {
        self.planning.draft.as_deref().filter(|_| self.phase == Phase::Waiting(Why::Plan))
    }

    /// Returns the plan that the person agreed to.
    pub fn agreed_plan(&self) -> Option<&str> {
        self.planning.agreed.as_deref()
    }

    /// Returns the answer to the question that the task is, once there is one.
    pub fn answer(&self) -> Option<&str> {
        (self.charter.purpose == Purpose::Answer && self.phase == Phase::Ready).then_some(&*self.last_text)
    }

    /// Returns the event that ends a turn which was not to change anything, once what it left is dropped.
    pub fn dropped(&self) -> Event {
        match self.charter.purpose {
            Purpose::Answer => Event::Answered {},
            Purpose::Plan | Purpose::Change => Event::Planned {},
        }
    }

    pub(super) fn may_be_dropped(&self, purpose: Purpose) -> Result<(), &'static str> {
        let fits = self.charter.purpose == purpose && self.keeps_nothing();
        if fits && self.phase == Phase::Working && self.stage == Stage::Seal && self.bases.is_some() {
            Ok(())
        } else {
            Err("only a turn that was not to change anything ends without a version")
        }
    }

    /// Everything is as it was frozen. Words that came meanwhile go to the model before the person is shown anything.
    pub(super) fn drop_layers(&mut self) {
        // Another number, so that no sandbox made late for this turn can serve the next.
        self.layer += 1;
        self.checkpoints.line = [].into();
        (self.snapshot, self.sealed) = (None, None);
        (self.layer_used, self.rests) = (false, false);
        self.stage = Stage::Ask;
        if !self.unheard.is_empty() {
            return;
        }
        self.phase = match self.charter.purpose {
            Purpose::Answer => Phase::Ready,
            Purpose::Plan | Purpose::Change => {
                self.planning.draft = Some(self.last_text.clone());
                Phase::Waiting(Why::Plan)
            }
        };
        self.close_reaches();
    }

    /// Returns why `plan` cannot be agreed to now, where it cannot.
    pub fn may_agree(&self, plan: &str) -> Result<(), &'static str> {
        let fits = !plan.trim().is_empty() && plan.len() <= PLAN_BYTES_MAX;
        if fits && self.plan_to_review().is_some() {
            Ok(())
        } else {
            Err("a plan is agreed to when it was shown, and says something")
        }
    }

    pub(super) fn agree(&mut self, plan: &str) {
        self.planning.agreed = Some(plan.into());
        self.notice(&format!(
            "The person agreed to the plan below, as it stands here. Carry it out. The folder is as it was before you looked.\n\n{plan}"
        ));
    }
}
