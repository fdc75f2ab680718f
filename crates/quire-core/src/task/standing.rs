//! Where a task stands, for its person and within a turn.

use crate::event::Why;
use crate::message::{Outcome, Reply};
use std::sync::Arc;

/// Where a task stands, as a person sees it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Phase {
    Working,
    /// For a person; `resume` goes on.
    Waiting(Why),
    /// A version is there to be reviewed.
    Ready,
    /// A version or a part of one is in the real folder.
    Accepted,
    Discarded,
}

/// Where a turn stands.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Stage {
    Ask,
    Calls,
    Snap,
    Seal,
    Check,
    Review,
    Present,
    Stuck(Why),
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct OpenReply {
    pub reply: Arc<Reply>,
    pub judged: bool,
    pub calls: Vec<CallState>,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) enum CallState {
    Owed,
    Begun,
    Done(Arc<Outcome>),
}

impl CallState {
    pub fn went_well(&self) -> bool {
        matches!(self, CallState::Done(outcome) if outcome.ok)
    }
}
