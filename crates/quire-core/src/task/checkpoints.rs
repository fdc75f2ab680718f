//! Checkpoints: where a task stood after each of its steps, files and conversation together, so that it can go back there, or
//! another task can begin there.
//!
//! Going back removes nothing: it is one more event. The conversation that it leaves is kept beside the one that goes on, and the
//! layers are never written again, so that going back can itself be taken back. What a person said is never among what is
//! left: the model is told it again. A checkpoint says where in the conversation it is and holds no part of it, since a long
//! task has thousands.

use super::conversation::Conversation;
use super::{Attempt, Phase, PlanStep, Sealed, Serving, Stage, Task, Version};
use crate::bytes::Hash;
use crate::event::{Base, Part, Seq, Why};
use crate::message::{PromptItem, Reply};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Sealed layers of one task, `from` up to but not with `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub task: u64,
    pub from: u32,
    pub to: u32,
}

/// The sealed layers that a sandbox stands on, oldest first: those of a task that went back, or began in another one, are
/// not simply all that its directory has.
pub type Line = Arc<[Span]>;

/// Where a task stood after a step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    pub step: u32,
    /// The version that the step ended with.
    pub version: Option<u32>,
    /// What the person themself changed in the step.
    pub edited: Arc<[Part]>,
    /// The event that it follows from.
    pub seq: Seq,
    pub at_ms: u64,
    pub snapshot: Option<Hash>,
    /// The frozen folders that the task worked on.
    pub bases: Option<Arc<[Base]>>,
    /// Where the task was one of several by then.
    pub attempt: Option<Attempt>,
    /// Its last version was there to be reviewed.
    pub is_ready: bool,
    /// Calls of the turn had written above the line when this was made: what they left besides the folders is not kept.
    is_unsealed: bool,
    line: Line,
    /// Which conversation, and how many items of it.
    conversation: usize,
    items: usize,
    unheard: Vec<String>,
    asides: Vec<String>,
    /// Of the person's words, how many had been said, and how many of them the model was told.
    words: usize,
    told: usize,
    /// Of what the person said besides their words, how much.
    answers: usize,
    /// Of the agent's questions, how many.
    asked: usize,
    /// Of what the person handed over, how much the model was shown.
    shown: usize,
    serving: Option<Arc<Serving>>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Checkpoints {
    all: Arc<Vec<Arc<Checkpoint>>>,
    /// Conversations that were left: cut short, or gone back from.
    #[serde(skip)]
    pub left: Arc<Vec<Conversation>>,
    /// What the person said besides their words, as the model was told it.
    answers: Arc<Vec<String>>,
    /// The sealed layers below the open one.
    pub line: Line,
    /// The open layer, where it is to begin with the folders as in the task's snapshot.
    laid: Option<u32>,
    /// The task that this one began in, the step, and the task in which the first of them began.
    origin: Option<(u64, u32, u64)>,
}

impl Checkpoints {
    /// A layer is sealed.
    pub fn seal(&mut self, task: u64, layer: u32) {
        let mut line = self.line.to_vec();
        match line.last_mut() {
            Some(last) if last.task == task && last.to == layer => last.to += 1,
            _ => line.push(Span { task, from: layer, to: layer + 1 }),
        }
        self.line = line.into();
    }

    /// The person answered something, or handed something over.
    pub fn answered(&mut self, told: String) {
        Arc::make_mut(&mut self.answers).push(told);
    }
}

impl Task {
    /// Returns the checkpoints, in the order in which they were made.
    pub fn checkpoints(&self) -> impl DoubleEndedIterator<Item = &Arc<Checkpoint>> {
        self.checkpoints.all.iter()
    }

    /// Returns where the task stood after a step.
    pub fn checkpoint(&self, step: u32) -> Option<&Arc<Checkpoint>> {
        self.checkpoints().rfind(|checkpoint| checkpoint.step == step)
    }

    /// Returns the reply of a checkpoint's step.
    pub fn reply_at(&self, checkpoint: &Checkpoint) -> Option<&Arc<Reply>> {
        let items = self.checkpoints.left.get(checkpoint.conversation).unwrap_or(&self.transcript);
        match &**items.get(checkpoint.items.checked_sub(1)?)? {
            PromptItem::Model(reply) => Some(reply),
            _ => None,
        }
    }

    /// Returns the sealed layers that the next sandbox stands on.
    pub fn line(&self) -> &Line {
        &self.checkpoints.line
    }

    /// Returns the other tasks of which this one needs what they left.
    pub fn borrows(&self) -> BTreeSet<u64> {
        let made = self.checkpoints().map(|checkpoint| &checkpoint.line);
        let lines = self.versions.iter().map(|version| &version.line).chain(made).chain([self.line()]);
        let tasks = lines.flat_map(|line| line.iter()).map(|span| span.task).chain([self.first()]);
        tasks.filter(|task| *task != self.id).collect()
    }

    /// Returns whether the open layer is to begin with the folders as in the task's snapshot.
    pub fn begins_laid(&self) -> bool {
        self.checkpoints.laid == Some(self.layer)
    }

    /// Returns the task and the step in which this one began, where it began in another.
    pub fn origin(&self) -> Option<(u64, u32)> {
        self.checkpoints.origin.map(|(from, step, _)| (from, step))
    }

    /// What it began in is no task of this place.
    pub(super) fn begins_nowhere(&mut self) {
        self.checkpoints.origin = None;
    }

    /// Returns the task whose conversation this one's begins as: the first that it began in, or itself.
    pub fn first(&self) -> u64 {
        self.checkpoints.origin.map_or(self.id, |(_, _, first)| first)
    }

    /// The step `step` ended, or a turn with `version`.
    pub(super) fn note_checkpoint(&mut self, step: u32, version: Option<u32>) {
        // Their files are dropped with the turn.
        if self.keeps_nothing() {
            return;
        }
        let checkpoint = Checkpoint {
            step,
            version,
            edited: self.edited.clone(),
            seq: self.seq,
            at_ms: self.last_ms,
            snapshot: self.snapshot,
            bases: self.bases.clone(),
            attempt: self.attempt,
            is_ready: self.phase == Phase::Ready,
            is_unsealed: self.layer_used,
            line: self.checkpoints.line.clone(),
            conversation: self.checkpoints.left.len(),
            items: self.transcript.len(),
            unheard: self.unheard.clone(),
            asides: self.asides.clone(),
            words: self.words.len(),
            told: self.compaction.told,
            answers: self.checkpoints.answers.len(),
            asked: self.asked_of_person.len(),
            shown: self.attached.shown,
            serving: self.serving.clone(),
        };
        Arc::make_mut(&mut self.checkpoints.all).push(Arc::new(checkpoint));
    }

    /// Keeps the conversation that is about to be left, with the outcomes that were not told yet.
    pub(super) fn leave_conversation(&mut self) {
        let results = self.open_results();
        let open = (!results.is_empty()).then(|| Arc::new(PromptItem::Results(results)));
        let mut left = self.transcript.clone();
        left.extend(open);
        Arc::make_mut(&mut self.checkpoints.left).push(left);
    }

    pub(super) fn may_go_back(&self, step: u32) -> Result<(), &'static str> {
        if self.is_being_written() {
            return Err("the folder is being written");
        }
        if self.keeps_nothing() || self.checkpoint(step).is_none() {
            return Err("a task goes back to where it stood after a step");
        }
        Ok(())
    }

    /// Everything is as it was after a step; the log, the person's words and what was spent stay.
    pub(super) fn go_back(&mut self, step: u32) {
        let Some(to) = self.checkpoint(step).cloned() else { return };
        self.lose_what_was_begun();
        self.leave_conversation();
        self.reply = None;
        let whole = self.checkpoints.left[to.conversation].clone();
        // The outcomes of its calls, which the model was told after it.
        let told = whole.get(to.items).filter(|item| matches!(***item, PromptItem::Results(_)));
        self.transcript = whole.up_to(to.items);
        self.transcript.extend(told.cloned());
        (self.unheard, self.asides) = (to.unheard.clone(), to.asides.clone());
        // What was told of directories is told again where calls work there.
        self.instructed = Arc::default();
        self.compaction_back(to.told);
        let replies = || {
            self.transcript.iter().rev().filter_map(|item| match &**item {
                PromptItem::Model(reply) => Some(reply),
                _ => None,
            })
        };
        let text = replies().find(|reply| !reply.text.trim().is_empty());
        let plan = replies().flat_map(|reply| reply.calls.iter().rev()).find_map(PlanStep::of_call);
        let (text, plan) =
            (text.map_or("".into(), |reply| reply.text.as_str().into()), plan.unwrap_or_default());
        (self.last_text, self.plan) = (text, plan);
        self.serving = to.serving.clone();
        self.spending.forget_count();
        self.cut = 0;
        self.bases = to.bases.clone();
        self.snapshot = to.snapshot;
        self.checkpoints.line = to.line.clone();
        self.begin_laid();
        self.turn_back(&to);
        self.tell_of_going_back(&to);
    }

    /// The next layer begins with the folders as in the task's snapshot.
    pub(super) fn begin_laid(&mut self) {
        // Never one that was written in, so that what is left stays as it is.
        self.layer += 1;
        (self.layer_used, self.rests) = (false, false);
        self.checkpoints.laid = Some(self.layer);
    }

    fn turn_back(&mut self, to: &Checkpoint) {
        self.leave_edit();
        self.grant();
        self.return_to_named_model();
        self.check_rounds_used = 0;
        self.forget_review();
        self.looks.clear();
        self.close_reaches();
        let version = to.version.and_then(|number| self.versions.iter().find(|one| one.number == number));
        let Some(version) = version else {
            self.sealed = None;
            self.stage = Stage::Ask;
            self.phase = Phase::Waiting(Why::Rewound { step: to.step });
            return;
        };
        let again = Some(version.again.unwrap_or(version.number));
        let number = self.versions.len() as u32 + 1;
        let version = Version { number, again, at_ms: self.last_ms, ..Version::clone(version) };
        self.sealed = Some(Sealed {
            line: version.line.clone(),
            snapshot: version.snapshot,
            apart: version.apart.clone(),
            checks: version.checks.clone(),
            files: version.files,
            proofs: version.proofs.clone(),
        });
        self.versions.push(Arc::new(version));
        self.stage = Stage::Present;
        // What is in the folder stays there until the person says otherwise.
        self.phase = if self.last_accept().is_some() { Phase::Accepted } else { Phase::Ready };
        self.note_checkpoint(to.step, Some(number));
    }

    /// Tells the model that it was taken back, and what its person had said since.
    fn tell_of_going_back(&mut self, to: &Checkpoint) {
        let mut told = match to.version {
            Some(version) => format!("The person took your work back to version {version}."),
            None => format!("The person took your work back to here, after step {}.", to.step),
        };
        told.push_str(
            " The files in the folder are as they were then; nothing that you did later is there any more.",
        );
        if to.is_unsealed {
            told.push_str(
                " What was installed or changed outside the folder, in ignored directories or in .git since that turn began is \
                 gone too: do again what you need.",
            );
        }
        self.take_back_questions(to.asked);
        self.attached.shown = to.shown;
        let words = self.words[to.words..].iter().map(|words| format!("The person said:\n{words}"));
        let said: Vec<String> = words.chain(self.checkpoints.answers[to.answers..].iter().cloned()).collect();
        if !said.is_empty() {
            told.push_str(&format!(
                " What the person said since then is below, all of it; what they say after this note comes after it and counts \
                 more.\n\n{}",
                said.join("\n\n")
            ));
        }
        self.notice(&told);
    }

    pub(super) fn may_begin_in(&self, from: u64, step: u32) -> Result<(), &'static str> {
        let ends_here = self.checkpoint(step).is_some_and(|checkpoint| checkpoint.seq == self.seq);
        if from != self.id && ends_here {
            Ok(())
        } else {
            Err("a task begins in another after a step of that")
        }
    }

    /// The log so far is another task's, up to the end of a step: what is its own business and not this one's ends here.
    pub(super) fn begin_in(&mut self, from: u64, step: u32) {
        self.lose_what_was_begun();
        let id = self.id;
        self.each_line(&|line| {
            let lend = |span: &Span| Span { task: if span.task == id { from } else { span.task }, ..*span };
            line.iter().map(lend).collect()
        });
        let first = self.checkpoints.origin.map_or(from, |(_, _, first)| first);
        self.checkpoints.origin = Some((from, step, first));
        self.layer += 1;
        self.checkpoints.laid = Some(self.layer);
        let is_unsealed = std::mem::take(&mut self.layer_used);
        self.rests = false;
        self.leave_edit();
        self.accepts.clear();
        (self.usage, self.worked_ms, self.needed) = Default::default();
        self.spending = Default::default();
        self.grant();
        self.close_reaches();
        self.stage = if self.phase == Phase::Ready { Stage::Present } else { Stage::Ask };
        if self.phase != Phase::Ready {
            self.phase = Phase::Waiting(Why::Rewound { step });
        }
        if is_unsealed {
            self.notice(
                "What was installed or changed outside the folder, in ignored directories or in .git since this turn began is \
                 gone: do again what you need. The files in the folder are as after your last step.",
            );
        }
    }

    /// Every layer was replaced by one that shows the folders.
    pub(super) fn line_moved(&mut self) {
        // Where none was sealed it is the open one.
        let one = (self.layer > 0).then_some(Span { task: self.id, from: 0, to: self.layer });
        let moved: Line = one.into_iter().collect();
        self.each_line(&|_| moved.clone());
    }

    fn each_line(&mut self, change: &dyn Fn(&Line) -> Line) {
        let version = |version: &Arc<Version>| {
            Arc::new(Version { line: change(&version.line), ..Version::clone(version) })
        };
        self.versions = self.versions.iter().map(version).collect();
        if let Some(sealed) = &mut self.sealed {
            sealed.line = change(&sealed.line);
        }
        let checkpoint = |one: &Arc<Checkpoint>| {
            Arc::new(Checkpoint { line: change(&one.line), ..Checkpoint::clone(one) })
        };
        self.checkpoints.all = Arc::new(self.checkpoints.all.iter().map(checkpoint).collect());
        self.checkpoints.line = change(&self.checkpoints.line);
    }
}

#[cfg(test)]
pub(super) mod tests;
