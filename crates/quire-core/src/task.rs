//! A task is the fold of its log. [`Task::apply`] refuses an event that cannot follow, in writing and in replay alike, so
//! an impossible state can neither be reached nor be stored; what is owed next is derived by [`crate::want()`].

mod accepts;
mod attached;
mod calls;
mod checkpoints;
mod compact;
mod conversation;
mod edited;
mod hooks;
mod imported;
mod instruct;
mod kept;
mod loops;
mod needed;
mod noted;
mod notes;
mod planning;
mod proving;
mod questions;
mod reaches;
mod refit;
mod reply;
mod reviewer;
mod spend;
mod standing;
mod suggest;
mod transcript;
mod turns;
mod version;

pub use accepts::{Accept, AcceptState, InRepository};
pub use checkpoints::{Checkpoint, Line, Span};
pub use instruct::{INSTRUCTIONS_BYTES_MAX, paths_of};
pub use needed::Needed;
pub use noted::{Note, NoteState};
pub use notes::{LOOK, Look};
pub(crate) use questions::questions_of;
pub use questions::{ASK, Asking, ask_spec};
pub use reaches::{REACHES_OPEN_MAX, Reach};
pub(crate) use reaches::{command_line, one_command};
pub use reviewer::{FEW_LINES, Reviewed};
pub use spend::Spending;
pub use standing::Phase;
pub(crate) use standing::{CallState, OpenReply, Stage};
pub use suggest::{SHOWN_MAX, Shown, Suggestion, mixed, own_words, suggested};
pub use version::{Attempt, PlanStep, Sealed, Serving, Version};

use crate::bytes::Hash;
use crate::change::Snapshot;
use crate::charter::{Charter, Purpose};
use crate::event::{Base, Connection, Conventions, Event, Logged, Part, Seq, Verdict, Why};
use crate::message::{FaultKind, Outcome, ToolSpec, Usage};
use crate::net;
use attached::Attached;
use checkpoints::Checkpoints;
use compact::Compaction;
use conversation::Conversation;
use hooks::Hooks;
use loops::Loops;
use planning::Planning;
use reviewer::Reviewing;
use std::collections::BTreeSet;
use std::sync::Arc;

mod fallback;

use fallback::Fallbacks;
pub use fallback::StandIn;

/// Everything that is known of a task. Cheap to clone.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Task {
    pub id: u64,
    /// The last event's place.
    pub seq: Seq,
    /// The driver that may append; 0 until one took the task.
    pub epoch: u64,
    pub charter: Arc<Charter>,
    /// The person's words, all of them, in order.
    pub words: Vec<Arc<str>>,
    pub phase: Phase,
    pub(crate) stage: Stage,
    /// From 1; a person's message after a version begins the next.
    pub turn: u32,
    /// Steps so far: replies, and edits of the person's.
    pub step: u32,
    own_steps: u32,
    /// What the person themself changed, of which a version is being made.
    edited: Arc<[Part]>,
    pub system: Option<Arc<str>>,
    pub tools: Arc<[ToolSpec]>,
    pub rung: String,
    /// What a person is told of the kind of sandbox, where it is less than usual.
    pub weak: Option<String>,
    /// What of person and folder the model was told.
    pub conventions: Arc<Conventions>,
    attached: Attached,
    /// Of the instructions within the folder, those that stand in the conversation as it is now.
    instructed: Arc<BTreeSet<String>>,
    pub bases: Option<Arc<[Base]>>,
    /// They are to be copied anew before anything runs on them.
    copies_anew: bool,
    /// The first so many accepts are part of what the folders were copied with.
    pub accepts_in_base: usize,
    imported: Option<u64>,
    /// The person said that the folders are to be copied, however large they are.
    pub copies_all: bool,
    /// What the model has been told and has said, up to the last request; after a compaction, what is left of it.
    #[serde(skip)]
    transcript: Conversation,
    /// What it has not been told yet.
    unheard: Vec<String>,
    /// What it is told when there is something else to tell.
    asides: Vec<String>,
    pub(crate) asked: bool,
    fallbacks: Fallbacks,
    pub(crate) reply: Option<OpenReply>,
    /// The folders after the last step that may have changed them.
    pub snapshot: Option<Hash>,
    /// The layer that the next sandbox writes; those below it are sealed.
    pub layer: u32,
    /// A call may have written in it.
    layer_used: bool,
    /// It is to be sealed in the midst of the turn, because the task rests for an answer.
    rests: bool,
    pub sealed: Option<Sealed>,
    pub versions: Vec<Arc<Version>>,
    pub accepts: Vec<Accept>,
    /// Its files and contents are gone from quire's data.
    pub cleared: bool,
    pub plan: Vec<PlanStep>,
    /// Where it is one of several.
    pub attempt: Option<Attempt>,
    pub suggestion: Option<Suggestion>,
    /// What the model was told of as changed on the real machine.
    pub shifted: Arc<BTreeSet<String>>,
    /// How the model said that its result can be tried.
    pub serving: Option<Arc<Serving>>,
    /// What the agent looked at in this turn, and how many of the last wait for the step's snapshot.
    looks: Vec<Arc<Look>>,
    unplaced: usize,
    /// What the person was asked, in order: the place is the question's number.
    pub reaches: Arc<Vec<Reach>>,
    /// What the agent asked the person, in order.
    asked_of_person: Arc<Vec<Asking>>,
    planning: Planning,
    /// What its person remarked, in order: the place is the note's number, from 1.
    pub notes: Arc<Vec<Note>>,
    /// The agent was asked once more what became of those that were sent last.
    notes_reminded: bool,
    pub needed: Needed,
    /// All connections so far, counted together; bounded.
    pub reached: Arc<Vec<Connection>>,
    pub usage: Usage,
    spending: Spending,
    compaction: Compaction,
    checkpoints: Checkpoints,
    hooks: Hooks,
    reviewing: Reviewing,
    /// The last ledger, where the conversation was made short.
    pub(crate) ledger: Option<Arc<str>>,
    pub opened_ms: u64,
    pub last_ms: u64,
    pub worked_ms: u64,
    pub(crate) steps_granted: u32,
    pub(crate) time_granted_ms: u64,
    tokens_granted: Option<u64>,
    /// Text of the last reply that had any.
    pub last_text: Arc<str>,
    check_rounds_used: u32,
    proved: Vec<proving::Proved>,
    silences: u32,
    /// Replies in a row that were cut at the limit of output.
    cut: u32,
    loops: Loops,
}

/// An event that cannot follow. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event {seq} cannot follow: {why}")]
pub struct Refusal {
    pub seq: Seq,
    pub why: &'static str,
}

/// Destinations that are counted one by one over a whole task.
const REACHED_MAX: usize = 256;

impl Task {
    /// Returns the task that `first`, the first event of its log, opens.
    pub fn open(id: u64, first: &Logged) -> Result<Task, Refusal> {
        let Event::Opened { charter, words } = &first.event else {
            return Err(Refusal { seq: first.seq, why: "a log begins with the words of a person" });
        };
        if first.seq != 1 || charter.folders.is_empty() {
            return Err(Refusal { seq: first.seq, why: "a log begins at 1, with a folder" });
        }
        let mut task = Task {
            id,
            seq: 1,
            epoch: 0,
            words: vec![words.as_str().into()],
            phase: Phase::Working,
            stage: Stage::Ask,
            turn: 1,
            step: 0,
            own_steps: 0,
            edited: Arc::from([]),
            system: None,
            tools: Arc::from([]),
            rung: String::new(),
            weak: None,
            conventions: Arc::default(),
            attached: Attached::default(),
            instructed: Arc::default(),
            bases: None,
            copies_anew: false,
            accepts_in_base: 0,
            imported: None,
            copies_all: false,
            transcript: Conversation::default(),
            unheard: vec![words.clone()],
            asides: vec![],
            asked: false,
            fallbacks: Fallbacks::of(charter.model.clone()),
            reply: None,
            snapshot: None,
            layer: 0,
            layer_used: false,
            rests: false,
            sealed: None,
            versions: vec![],
            accepts: vec![],
            cleared: false,
            plan: vec![],
            attempt: None,
            suggestion: None,
            shifted: Arc::default(),
            serving: None,
            looks: vec![],
            unplaced: 0,
            reaches: Arc::default(),
            asked_of_person: Arc::default(),
            planning: Planning::default(),
            notes: Arc::default(),
            notes_reminded: false,
            needed: Needed::default(),
            reached: Arc::default(),
            usage: Usage::default(),
            spending: Spending::default(),
            compaction: Compaction::default(),
            checkpoints: Checkpoints::default(),
            hooks: Hooks::default(),
            reviewing: Reviewing::default(),
            ledger: None,
            opened_ms: first.at_ms,
            last_ms: first.at_ms,
            worked_ms: 0,
            steps_granted: charter.limits.steps,
            time_granted_ms: charter.limits.time_ms,
            tokens_granted: charter.limits.tokens,
            charter: Arc::new(Charter::clone(charter)),
            last_text: "".into(),
            check_rounds_used: 0,
            proved: vec![],
            silences: 0,
            cut: 0,
            loops: Loops::default(),
        };
        task.unheard.extend(task.first_told());
        Ok(task)
    }

    /// Applies the next event of the log, or refuses it and stays as it was.
    pub fn apply(&mut self, logged: &Logged) -> Result<(), Refusal> {
        let refuse = |why| Err(Refusal { seq: logged.seq, why });
        if logged.seq != self.seq + 1 {
            return refuse("a log has no gaps");
        }
        if let Err(why) = self.may(&logged.event) {
            return refuse(why);
        }
        let taken = matches!(logged.event, Event::Taken { .. });
        if self.phase == Phase::Working && !taken {
            self.worked_ms += logged.at_ms.saturating_sub(self.last_ms);
        }
        self.last_ms = self.last_ms.max(logged.at_ms);
        self.seq = logged.seq;
        let before = self.before();
        self.follow(&logged.event);
        self.count_needed(&before, &logged.event);
        Ok(())
    }

    /// Applies `event` as the next one, happening at `at_ms`.
    pub fn push(&mut self, event: Event, at_ms: u64) -> Result<(), Refusal> {
        self.apply(&Logged { seq: self.seq + 1, at_ms, event })
    }

    /// Whether `event` can follow.
    fn may(&self, event: &Event) -> Result<(), &'static str> {
        let only_if = |fine: bool, why| if fine { Ok(()) } else { Err(why) };
        if self.phase == Phase::Discarded {
            return Err("the task was discarded");
        }
        if self.cleared {
            return Err("what the task left was cleared away");
        }
        self.may_follow_record(event)?;
        let working = self.phase == Phase::Working;
        let call =
            |call: u32| self.reply.as_ref().filter(|r| r.judged).and_then(|r| r.calls.get(call as usize));
        match event {
            Event::Opened { .. } => Err("a task is opened once"),
            Event::Attached { files, told } => self.may_attach(files, told.is_some()),
            Event::Taken { epoch } => only_if(*epoch > self.epoch, "epochs only grow"),
            Event::Equipped { attached, .. } => only_if(
                working && self.system.is_none() && attached.is_none_or(|told| told == self.attached().len()),
                "equipped once, and told of all that was handed over",
            ),
            Event::Instructed { paths, text } => self.may_instruct(paths, text),
            Event::Hooking { point } => self.may_hook(*point),
            Event::Hooked { point, runs } => self.may_have_hooked(*point, runs),
            Event::Frozen { bases } => only_if(
                working && !self.is_frozen() && bases.len() == self.charter.folders.len(),
                "frozen once, each folder",
            ),
            Event::Asked { heard, worst } => {
                only_if(
                    working
                        && self.stage == Stage::Ask
                        && !self.asked
                        && !self.compaction.begun
                        && self.system.is_some()
                        && self.awaited().next().is_none()
                        && !self.rests_unsealed()
                        && !self.waits_for_hooks()
                        && *heard == self.seq,
                    "asked in its turn, having heard everything",
                )?;
                worst.as_ref().map_or(Ok(()), |worst| self.may_spend(worst))
            }
            Event::AskedAgain { worst } => {
                let asked = self.asked || self.compaction.begun || self.reviewing.asked;
                let begun = working && asked && self.spending.is_open();
                only_if(begun, "only what was asked is asked again")?;
                self.may_spend(worst)
            }
            Event::AskFailed { .. } | Event::Replied { .. } => {
                only_if(working && self.asked, "an answer needs a question")
            }
            Event::FellBack { fallback } => only_if(
                working && self.owed_fallback() == Some(*fallback),
                "a fallback is asked in its turn, when no answer came",
            ),
            Event::Compacting { worst } => {
                let can = self.stage == Stage::Ask
                    && !self.asked
                    && !self.compaction.begun
                    && self.system.is_some();
                only_if(working && can, "a conversation is made short between two requests")?;
                self.may_spend(worst)
            }
            Event::Compacted { text, tail, usage } => {
                only_if(
                    working && self.compaction.begun == usage.is_some() && self.system.is_some(),
                    "a ledger that a model writes was asked for",
                )?;
                self.may_compact(text, *tail)
            }
            Event::CompactFailed { .. } => {
                only_if(working && self.compaction.begun, "only a ledger that was asked for can fail to come")
            }
            Event::CompactWanted {} => Ok(()),
            Event::Rewound { step } => self.may_go_back(*step),
            Event::Forked { from, step } => self.may_begin_in(*from, *step),
            Event::Suggesting { worst } => self.may_suggest(worst),
            Event::Suggested { .. } | Event::SuggestFailed { .. } => {
                only_if(!working && self.spending.is_open(), "a suggestion was asked for")
            }
            Event::Attempt { number, of, .. } => only_if(
                self.attempt.is_none() && (1..=*of).contains(number),
                "a task is one attempt among several",
            ),
            Event::Looped { steps, times } => {
                let counts = *steps > 0 && *times > 0;
                only_if(
                    working && counts && self.is_between_steps(),
                    "a model is told of a loop between two steps",
                )
            }
            Event::Budgeted { task_usd, day_usd, unlimited } => {
                let says = task_usd.is_some() || day_usd.is_some() || *unlimited;
                only_if(
                    says && !(*unlimited && task_usd.is_some()),
                    "a budget is an amount, or that there is none",
                )
            }
            Event::Judged { verdicts } => only_if(
                working
                    && self.reply.as_ref().is_some_and(|r| !r.judged && r.calls.len() == verdicts.len())
                    && self.stage == Stage::Calls,
                "one verdict for each call",
            ),
            Event::Called { call: n } => only_if(
                working
                    && self.is_frozen()
                    && !self.waits_for_hooks()
                    && matches!(call(*n), Some(CallState::Owed)),
                "a call runs once, on a frozen base",
            ),
            Event::Returned { call: n, .. } => only_if(
                working && matches!(call(*n), Some(CallState::Begun)),
                "an outcome needs a running call",
            ),
            Event::Snapped { .. } => {
                only_if(working && self.stage == Stage::Snap, "a snapshot follows calls")
            }
            Event::Sealed { layer, .. } => only_if(
                working
                    && self.may_seal()
                    && !self.waits_for_hooks()
                    && *layer == self.layer
                    && self.is_frozen(),
                "sealed in its turn",
            ),
            Event::Restored { layer } | Event::Moved { layer, .. } => {
                only_if(working && *layer == self.layer, "only the open layer can be lost")
            }
            Event::Shifted { paths } => only_if(
                working && !paths.is_empty() && !paths.iter().any(|path| self.shifted.contains(path)),
                "what shifted is told once",
            ),
            Event::Checked { check, proof } => only_if(
                working
                    && self.stage == Stage::Check
                    && self
                        .sealed
                        .as_ref()
                        .is_some_and(|s| s.snapshot == proof.snapshot && s.proofs.len() == *check as usize),
                "checks run in order on the sealed snapshot",
            ),
            Event::ReviewerTold { .. }
            | Event::ReviewerAsked { .. }
            | Event::ReviewerReplied { .. }
            | Event::ReviewerLooked { .. }
            | Event::ReviewFailed { .. } => {
                only_if(working, "only work is reviewed")?;
                self.may_review(event)
            }
            Event::Presented { version, snapshot } => only_if(
                working
                    && self.stage == Stage::Present
                    && *version as usize == self.versions.len() + 1
                    && self.sealed.as_ref().is_some_and(|s| s.snapshot == *snapshot),
                "what is presented was sealed and checked",
            ),
            Event::Said { .. } => only_if(!self.is_being_written(), "the folder is being written"),
            Event::Noted { about, words } => self.may_note(about.as_ref(), words),
            Event::NoteDropped { note } => self.may_drop_note(*note),
            Event::NotesSent { notes, words } => self.may_send_notes(notes, words),
            Event::Refit { words } => self.may_refit(words),
            Event::Edited { version, snapshot, files, told } => {
                self.may_edit(*version, snapshot, files, told)
            }
            Event::Imported { .. } => Ok(()),
            Event::Reached { .. } => Ok(()),
            Event::ReachAsked { reach, host, port } => only_if(
                working && net::is_host(host) && *port > 0 && self.may_ask_of(host, *port) == Some(*reach),
                "a destination is asked of once, while there is room for a question",
            ),
            Event::ReachAnswered { reach, allow, once } => self.may_allow(*reach, *allow, *once),
            Event::QuestionsAsked { call: n, questions } => only_if(
                working && matches!(call(*n), Some(CallState::Owed)) && !questions.is_empty(),
                "a call asks once",
            ),
            Event::QuestionAnswered { question, answer } => self.may_answer(*question, answer),
            Event::Planned {} => self.may_be_dropped(Purpose::Plan),
            Event::Answered {} => self.may_be_dropped(Purpose::Answer),
            Event::PlanAgreed { plan } => self.may_agree(plan),
            Event::Paused { why } => {
                let waits = match why {
                    Why::Reach => self.pressing().next().is_some(),
                    Why::Question => self.awaited().next().is_some(),
                    Why::Plan => false,
                    _ => true,
                };
                only_if(working && waits, "only work can be paused, and for an answer only with a question")
            }
            Event::Resumed { model } => {
                let has_model = self.charter.model.is_some() || model.is_some();
                let has_word = self.phase != Phase::Waiting(Why::Plan) || !self.unheard.is_empty();
                only_if(
                    matches!(self.phase, Phase::Waiting(_))
                        && has_model
                        && has_word
                        && !self.is_being_written(),
                    "only what waits can go on, on a model, and after a plan with a word of its person's",
                )
            }
            Event::Accepting { .. }
            | Event::Committed { .. }
            | Event::Accepted { .. }
            | Event::AcceptFailed { .. }
            | Event::Undoing { .. }
            | Event::Undone { .. }
            | Event::UndoFailed { .. }
            | Event::Discarded {}
            | Event::Cleared {} => self.may_decide(event),
        }
    }

    /// Takes over an event that may follow.
    fn follow(&mut self, event: &Event) {
        match event {
            Event::Opened { .. } => {}
            Event::Attached { files, told } => self.attach(files, told.as_deref()),
            Event::Taken { epoch } => {
                self.epoch = *epoch;
                self.lose_what_was_begun();
            }
            Event::Equipped { system, tools, rung, weak, conventions, .. } => {
                self.conventions = Arc::new(conventions.clone());
                self.system = Some(system.as_str().into());
                self.tools = tools.as_slice().into();
                self.rung = rung.clone();
                self.weak = weak.clone();
            }
            Event::Instructed { paths, text } => self.instruct(paths, text),
            Event::Hooking { point } => self.begin_hooks(*point),
            Event::Hooked { point, runs } => self.hear_hooks(*point, runs),
            Event::Frozen { bases } => {
                self.bases = Some(bases.as_slice().into());
                self.copies_anew = false;
            }
            Event::Asked { worst, .. } => {
                self.asked = true;
                self.tell();
                self.begin_spending(*worst, self.price());
            }
            Event::AskedAgain { worst } => self.spend_again(*worst),
            Event::AskFailed { fault, spent } => {
                // Requests of old logs reserved nothing, and what was too long for the model waited for a person.
                let sized = self.spending.is_open();
                self.end_spending(*spent);
                let shrinks = sized && fault.kind == FaultKind::TooLong && self.overflow();
                self.asked = false;
                if !shrinks {
                    self.hear_fault(fault);
                }
            }
            Event::FellBack { fallback } => self.fall_back(*fallback),
            Event::Compacting { worst } => {
                self.compaction.begun = true;
                self.begin_spending(Some(*worst), self.compact_price());
            }
            Event::Compacted { text, tail, usage } => {
                if let Some(usage) = usage {
                    self.usage.add(*usage);
                    self.spending.settle(*usage);
                }
                self.compact(text, *tail);
            }
            Event::CompactFailed { spent, .. } => {
                self.end_spending(*spent);
                self.lose_compaction(true);
            }
            Event::CompactWanted {} => self.want_compaction(),
            Event::Rewound { step } => self.go_back(*step),
            Event::Forked { from, step } => self.begin_in(*from, *step),
            Event::Suggesting { worst } => self.begin_spending(Some(*worst), self.suggest_price()),
            Event::Suggested { shown, text, usage } => {
                self.usage.add(*usage);
                self.spending.settle(*usage);
                let task = suggested(text, shown);
                let shown = shown.as_slice().into();
                self.suggestion = Some(Suggestion { task, text: text.as_str().into(), shown });
            }
            Event::SuggestFailed { spent, .. } => self.end_spending(*spent),
            Event::Attempt { first, number, of, shared } => {
                self.attempt = Some(Attempt { first: *first, number: *number, of: *of, shared: *shared });
            }
            Event::Budgeted { task_usd, day_usd, unlimited } => {
                self.set_budget(*task_usd, *day_usd, *unlimited);
            }
            Event::Replied { reply } => self.hear(reply),
            Event::Judged { verdicts } => {
                let open = self.reply.as_mut().expect("may() saw it");
                open.judged = true;
                for (call, verdict) in open.calls.iter_mut().zip(verdicts) {
                    if let Verdict::Refuse(why) = verdict {
                        *call = CallState::Done(Arc::new(Outcome::refused(why.as_str())));
                    }
                }
                let refused = verdicts.iter().enumerate().filter(|(_, verdict)| **verdict != Verdict::Run);
                refused.for_each(|(place, _)| self.pass_call(place as u32));
                self.end_calls();
            }
            Event::Called { call } => {
                self.layer_used = true;
                self.set_call(*call, CallState::Begun);
            }
            Event::Returned { call, outcome } => {
                self.set_call(*call, CallState::Done(Arc::new(outcome.clone())));
                self.end_calls();
            }
            Event::Snapped { snapshot } => {
                self.snapshot = Some(*snapshot);
                self.place_looks(*snapshot);
                self.stage = Stage::Ask;
                self.note_step();
                self.note_checkpoint(self.step, None);
            }
            Event::Sealed { layer, snapshot, apart, checks, files } => {
                (self.layer, self.layer_used, self.rests) = (layer + 1, false, false);
                self.checkpoints.seal(self.id, *layer);
                self.snapshot = Some(*snapshot);
                let sealed = Sealed {
                    line: self.line().clone(),
                    snapshot: *snapshot,
                    apart: Arc::new(apart.clone()),
                    checks: self.charter.checks.iter().chain(checks).cloned().collect(),
                    files: *files,
                    proofs: vec![],
                };
                if self.stage == Stage::Ask {
                    self.sealed = Some(sealed);
                    return; // it rests for an answer, in the midst of its turn
                }
                // Words that came while the sandbox was being sealed go to the model before anything is presented.
                let idle = sealed.checks.is_empty() || *snapshot == Snapshot::default().id();
                self.sealed = Some(sealed);
                match (self.unheard.is_empty() || self.is_by_hand(), idle) {
                    (false, _) => self.stage = Stage::Ask,
                    (true, true) => self.end_checks(),
                    (true, false) => self.stage = Stage::Check,
                }
            }
            Event::Looped { steps, times } => self.warn(*steps, *times),
            Event::Restored { .. } => self.notice(
                "The machine lost power. The folder is as after your last step; what was installed or changed outside it since \
                 this turn began is gone.",
            ),
            Event::Moved { rung, weak, .. } => {
                self.rung = rung.clone();
                self.weak = weak.clone();
                self.proved.clear();
                self.line_moved();
                self.notice(&format!(
                    "The machine now gives another kind of copy to work in: {rung}. The folder is as it was; what was installed \
                     or changed outside it is gone, and the folder may lie at another path."
                ));
            }
            Event::Shifted { paths } => {
                self.proved.clear();
                Arc::make_mut(&mut self.shifted).extend(paths.iter().cloned());
                self.notice(&format!(
                    "Changed on the real machine since this task began: {}. Ignored directories and installed packages are not \
                     copied: your commands now see them as they are there, under your own changes. What you built with them \
                     may have to be built again.",
                    paths.join(", ")
                ));
            }
            Event::Checked { proof, .. } => self.check(proof),
            Event::ReviewerTold { text } => self.tell_reviewer(text),
            Event::ReviewerAsked { worst } => {
                self.reviewing.asked = true;
                self.begin_spending(Some(*worst), self.reviewer_price());
            }
            Event::ReviewerReplied { reply } => self.hear_reviewer(reply),
            Event::ReviewerLooked { outcomes } => self.show_reviewer(outcomes),
            Event::ReviewFailed { why, spent } => {
                self.end_spending(*spent);
                self.pass_review(why);
            }
            Event::Presented { version, snapshot } => {
                let sealed = self.sealed.as_ref().expect("may() saw it");
                self.versions.push(Arc::new(Version {
                    number: *version,
                    again: None,
                    snapshot: *snapshot,
                    summary: self.last_text.clone(),
                    apart: sealed.apart.clone(),
                    checks: sealed.checks.clone(),
                    files: sealed.files,
                    proofs: sealed.proofs.clone(),
                    reviewed: self.reviewed(),
                    edited: std::mem::take(&mut self.edited),
                    line: sealed.line.clone(),
                    serving: self.serving.clone(),
                    looks: self.looks.clone(),
                    at_ms: self.last_ms,
                }));
                self.phase = Phase::Ready;
                self.note_checkpoint(self.step, Some(*version));
                self.close_reaches();
                self.end_notes();
            }
            Event::Said { words } => self.hear_person(words),
            Event::Noted { about, words } => self.note(about.clone(), words),
            Event::NoteDropped { note } => self.drop_note(*note),
            Event::NotesSent { notes, words } => self.send_notes(notes, words),
            Event::Refit { words } => self.refit(words),
            Event::Edited { snapshot, files, told, .. } => self.edit(*snapshot, files, told),
            Event::Imported { task } => self.become_record(*task),
            Event::QuestionsAsked { call, questions } => self.ask_person(*call, questions),
            Event::QuestionAnswered { question, answer } => self.hear_answer_to(*question, answer),
            Event::Planned {} | Event::Answered {} => self.drop_layers(),
            Event::PlanAgreed { plan } => self.agree(plan),
            Event::Reached { connections } => {
                let reached = Arc::make_mut(&mut self.reached);
                connections.iter().for_each(|one| one.clone().count_in(reached, REACHED_MAX));
            }
            Event::ReachAsked { reach, host, port } => self.ask_of(*reach, host, *port),
            Event::ReachAnswered { reach, allow, once } => self.hear_answer(*reach, *allow, *once),
            Event::Paused { why } => {
                self.lose_what_was_begun();
                self.grant_hooks();
                self.phase = Phase::Waiting(why.clone());
            }
            Event::Resumed { model } => {
                if self.phase == Phase::Waiting(Why::Reach) {
                    self.press_no_more();
                    if !self.unheard.is_empty() && !self.is_by_hand() {
                        self.stage = Stage::Ask;
                    }
                }
                if self.phase == Phase::Waiting(Why::Question) {
                    self.pass_over_questions();
                }
                if model.is_some() {
                    self.fallbacks.name(model.clone());
                }
                self.return_to_named_model();
                if matches!(self.stage, Stage::Stuck(_)) {
                    self.stage = Stage::Ask;
                }
                self.copies_all |= matches!(self.phase, Phase::Waiting(Why::Copy { .. }));
                self.phase = Phase::Working;
                self.grant();
            }
            Event::Accepting { .. }
            | Event::Committed { .. }
            | Event::Accepted { .. }
            | Event::AcceptFailed { .. }
            | Event::Undoing { .. }
            | Event::Undone { .. }
            | Event::UndoFailed { .. }
            | Event::Discarded {}
            | Event::Cleared {} => self.decide(event),
        }
    }

    /// Returns how long the task may go on working, in milliseconds.
    pub fn time_left_ms(&self, now_ms: u64) -> u64 {
        let working = self.worked_ms.saturating_add(now_ms.saturating_sub(self.last_ms));
        self.time_granted_ms.saturating_sub(working)
    }

    pub fn version(&self) -> Option<&Arc<Version>> {
        self.versions.last()
    }

    /// Returns the call at that place of the open reply.
    pub fn call(&self, call: u32) -> Option<&crate::Call> {
        self.reply.as_ref()?.reply.calls.get(call as usize)
    }

    /// Returns the first line of what was asked for, at most 72 characters.
    pub fn title(&self) -> String {
        let line = self.words[0].trim().lines().next().unwrap_or("").trim().to_owned();
        if line.chars().count() <= 72 { line } else { line.chars().take(71).chain(['…']).collect() }
    }

    pub(crate) fn reads(&self, tool: &str) -> bool {
        self.tools.iter().any(|t| t.name == tool && t.reads)
    }

    fn hear_person(&mut self, words: &str) {
        self.loops = Loops::default();
        self.words.push(words.into());
        self.unheard.push(words.to_owned());
        self.turn_goes_on();
    }
}
