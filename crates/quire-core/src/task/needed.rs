//! How often a task needed its person.

use super::{Phase, Task};
use crate::event::{Event, Why};
use serde::Serialize;

/// How often the task could not go on, or was not right, without its person. What they asked for themselves (a plan first,
/// `stop`) and questions that it went on without do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Needed {
    /// Questions of the agent's that the task waited for.
    pub questions: u32,
    /// Destinations that it asked to reach.
    pub reaches: u32,
    /// Stops at a limit, a fault, or for want of a model.
    pub pauses: u32,
    /// Words or answers that changed a version, an answer or a plan that was presented.
    pub revisions: u32,
}

impl Needed {
    pub fn times(&self) -> u32 {
        self.questions + self.reaches + self.pauses + self.revisions
    }
}

/// What of a task tells, once an event is taken over, whether its person was needed.
pub(super) struct Before {
    worked: bool,
    planned: bool,
    turn: u32,
}

impl Task {
    pub(super) fn before(&self) -> Before {
        Before {
            worked: self.phase == Phase::Working,
            planned: self.phase == Phase::Waiting(Why::Plan),
            turn: self.turn,
        }
    }

    /// Counts what `event` brought about.
    pub(super) fn count_needed(&mut self, before: &Before, event: &Event) {
        let awaited = self.awaited().count() as u32;
        let needed = &mut self.needed;
        match &self.phase {
            Phase::Waiting(Why::Person | Why::Plan | Why::Reach | Why::Rewound { .. }) => {}
            Phase::Waiting(Why::Question) if before.worked => needed.questions += awaited,
            Phase::Waiting(_) if before.worked => needed.pauses += 1,
            _ => {}
        }
        needed.reaches += u32::from(matches!(event, Event::ReachAsked { .. }));
        let replans = match event {
            Event::Said { .. } | Event::NotesSent { .. } => before.planned,
            Event::QuestionAnswered { .. } => before.planned && self.phase == Phase::Working,
            _ => false,
        };
        needed.revisions += u32::from(self.turn > before.turn || replans);
    }
}
