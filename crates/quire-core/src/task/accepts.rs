//! What a person decided about a task's versions: what of them was written into the real folders, and taken back.

use super::{Phase, Task};
use crate::bytes::{Hash, RelPath};
use crate::event::{Event, Part, Staged};

/// One writing of a version into the real folders.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Accept {
    pub snapshot: Hash,
    /// Empty: everything.
    pub only: Vec<Part>,
    /// What was taken besides, of ignored directories that the task made: a snapshot.
    pub ignored: Option<Hash>,
    /// A snapshot of what was taken, where that is not just what `only` names.
    pub taken: Option<Hash>,
    /// What of it is in git.
    pub git: Vec<InRepository>,
    /// The very paths that each undo of a part took back.
    pub back: Vec<Vec<Part>>,
    /// What the undo that goes on takes back; empty: all that is left.
    pub undoing: Vec<Part>,
    pub state: AcceptState,
}

/// What an accept left in the repository of a folder.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct InRepository {
    pub folder: u32,
    pub commit: Option<String>,
    pub brought: Option<String>,
    /// The agent's branch that was brought; absent: what its HEAD was.
    pub name: Option<String>,
    /// Where in the folder the repository's files are; absent: at its top.
    pub within: Option<RelPath>,
    /// Files in which edits of the person's went with it.
    pub with: Vec<RelPath>,
    pub staged: Vec<Staged>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum AcceptState {
    Begun,
    Done,
    Failed,
    Undoing,
    Undone,
}

impl Accept {
    /// Returns whether the whole version was taken, and is still.
    pub fn is_whole(&self) -> bool {
        self.was_whole() && self.back.is_empty()
    }

    /// Returns whether the whole version was taken, whatever of it was taken back since.
    pub fn was_whole(&self) -> bool {
        self.only.is_empty() && self.taken.is_none()
    }

    /// Returns what was taken back of it, where something is left.
    pub fn taken_back(&self) -> impl Iterator<Item = &Part> {
        self.back.iter().flatten()
    }
}

impl Task {
    /// Returns the number of the accept that an undo would take back.
    pub fn last_accept(&self) -> Option<usize> {
        self.accepts.iter().rposition(|a| a.state == AcceptState::Done)
    }

    /// Returns whether an accept or undo was begun and has not ended.
    pub fn is_being_written(&self) -> bool {
        self.accepts.iter().any(|a| matches!(a.state, AcceptState::Begun | AcceptState::Undoing))
    }

    /// Returns whether nothing goes on, so that a version can be taken or taken back: also while the next turn waits for its
    /// person, because that may be for a model which they do not have.
    pub fn is_at_rest(&self) -> bool {
        matches!(self.phase, Phase::Ready | Phase::Accepted | Phase::Waiting(_))
    }

    /// Returns whether the last version is wholly in the folder, or there will be none, and nothing goes on.
    pub fn is_whole(&self) -> bool {
        let accepted = self.phase == Phase::Accepted && !self.is_being_written() && !self.is_part();
        accepted || self.answer().is_some()
    }

    /// Returns whether of what was accepted last a part was left out.
    pub fn is_part(&self) -> bool {
        self.last_accept().is_some_and(|accept| !self.accepts[accept].is_whole())
    }

    /// Returns whether something of it would be lost with quire's data: work, or a version that was not taken.
    pub fn is_open(&self) -> bool {
        self.phase != Phase::Discarded && !self.is_whole()
    }

    /// Whether a decision of the person's, or what came of it, can follow.
    pub(super) fn may_decide(&self, event: &Event) -> Result<(), &'static str> {
        let only_if = |fine: bool, why| if fine { Ok(()) } else { Err(why) };
        let is = |accept: u32, state: AcceptState| {
            self.accepts.get(accept as usize).is_some_and(|accept| accept.state == state)
        };
        let is_free = self.is_at_rest() && !self.is_being_written();
        match event {
            Event::Accepting { accept, snapshot, .. } => only_if(
                is_free
                    && *accept as usize == self.accepts.len()
                    && self.versions.iter().any(|version| version.snapshot == *snapshot),
                "only a version that was presented can be accepted",
            ),
            Event::Committed { accept, .. } => only_if(
                accept.is_none_or(|accept| is(accept, AcceptState::Done)),
                "only what was accepted is committed",
            ),
            Event::Accepted { accept } | Event::AcceptFailed { accept, .. } => {
                only_if(is(*accept, AcceptState::Begun), "no such accept was begun")
            }
            Event::Undoing { accept, .. } => only_if(
                is_free && self.last_accept() == Some(*accept as usize),
                "accepts are undone one by one, the last one first",
            ),
            Event::Undone { accept } | Event::UndoFailed { accept, .. } => {
                only_if(is(*accept, AcceptState::Undoing), "no such undo was begun")
            }
            Event::Discarded {} => only_if(
                !self.is_being_written() && (self.phase != Phase::Accepted || self.is_part()),
                "what was wholly accepted is undone first",
            ),
            Event::Cleared {} => {
                only_if(self.is_whole(), "only what is wholly in the folder can be cleared away")
            }
            _ => Ok(()),
        }
    }

    pub(super) fn decide(&mut self, event: &Event) {
        match event {
            Event::Accepting { snapshot, only, ignored, taken, .. } => self.accepts.push(Accept {
                snapshot: *snapshot,
                only: only.clone(),
                ignored: *ignored,
                taken: *taken,
                git: vec![],
                back: vec![],
                undoing: vec![],
                state: AcceptState::Begun,
            }),
            Event::Committed { accept, folder, commit, brought, name, within, with, staged, .. } => {
                if let Some(accept) = accept.and_then(|accept| self.accepts.get_mut(accept as usize)) {
                    accept.git.push(InRepository {
                        folder: *folder,
                        commit: commit.clone(),
                        brought: brought.clone(),
                        name: name.clone(),
                        within: within.clone(),
                        with: with.clone(),
                        staged: staged.clone(),
                    });
                }
            }
            Event::Accepted { accept } => self.set_accept(*accept, AcceptState::Done),
            Event::AcceptFailed { accept, .. } => self.set_accept(*accept, AcceptState::Failed),
            Event::Undoing { accept, only } => {
                self.accepts[*accept as usize].undoing = only.clone();
                self.set_accept(*accept, AcceptState::Undoing);
            }
            Event::Undone { accept } => {
                let undone = &mut self.accepts[*accept as usize];
                let part = std::mem::take(&mut undone.undoing);
                let is_part = !part.is_empty();
                undone.back.extend(is_part.then_some(part));
                self.set_accept(*accept, if is_part { AcceptState::Done } else { AcceptState::Undone });
            }
            Event::UndoFailed { accept, .. } => {
                self.accepts[*accept as usize].undoing.clear();
                self.set_accept(*accept, AcceptState::Done);
            }
            Event::Discarded {} => {
                self.spending.lose();
                self.phase = Phase::Discarded;
            }
            Event::Cleared {} => self.cleared = true,
            _ => {}
        }
    }

    fn set_accept(&mut self, accept: u32, state: AcceptState) {
        self.accepts[accept as usize].state = state;
        if !matches!(self.phase, Phase::Ready | Phase::Accepted) {
            return; // what it waits for is not changed by what is in the folder
        }
        // An earlier version in the folder leaves the last one to be reviewed.
        let last = self.last_accept().map(|accept| self.accepts[accept].snapshot);
        let is_last = last.is_some() && last == self.version().map(|version| version.snapshot);
        self.phase = if is_last { Phase::Accepted } else { Phase::Ready };
    }
}
