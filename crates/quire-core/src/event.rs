//! The facts a task's log is made of. An event is never changed and never removed; every kind has a golden file, so that a
//! log written today can be read by every later quire.

use crate::beside::Beside;
use crate::bytes::{Hash, RelPath};
use crate::charter::{Charter, CheckSpec, Model};
use crate::message::{Attachment, Fault, Image, Outcome, Reply, ToolSpec, Usage};
use crate::money::{Usd, Worst};
use crate::note::About;
use serde::{Deserialize, Serialize};

/// Place of an event in its task's log, from 1.
pub type Seq = u64;

/// An event as the store has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Logged {
    pub seq: Seq,
    /// Milliseconds since 1970, by the writer's clock; only for showing and for the time limit.
    pub at_ms: u64,
    pub event: Event,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// The first event of every task: what was asked for, and under which rules.
    Opened {
        charter: Box<Charter>,
        words: String,
    },
    /// What the person handed over with these words. `told`: what the agent is told of it, where it was told what was handed over
    /// before, already.
    Attached {
        files: Vec<Attachment>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        told: Option<String>,
    },
    /// A driver took the task over. Whatever was begun and not answered is lost by this.
    Taken {
        epoch: u64,
    },
    /// What the model is told once: the system prompt with the folder's instructions, and the tools it really has.
    Equipped {
        system: String,
        tools: Vec<ToolSpec>,
        /// The kind of sandbox.
        rung: String,
        /// What a person is told of that, where it is less than usual.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weak: Option<String>,
        /// What of person and folder is in `system`.
        #[serde(default, skip_serializing_if = "Conventions::is_empty")]
        conventions: Conventions,
        /// Of what was handed over, how many files it tells of; old logs do not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attached: Option<usize>,
    },
    /// Instructions of directories within the folder, where calls worked for the first time, or for the first time since the
    /// conversation was cut short; the model is told `text`.
    Instructed {
        /// The files, as in [`Conventions::instructions`].
        paths: Vec<String>,
        text: String,
    },
    /// The hooks of a point were begun.
    Hooking {
        point: Point,
    },
    /// They ended. What they said takes effect as it stands here.
    Hooked {
        point: Point,
        runs: Vec<HookRun>,
    },
    /// The folders were copied; calls may run.
    Frozen {
        bases: Vec<Base>,
    },
    /// A request was begun; it tells the model all that was said up to `heard`.
    Asked {
        heard: Seq,
        /// What is reserved for it; absent in old logs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        worst: Option<Worst>,
    },
    /// The try before broke off where it may have cost all that was reserved; another is begun, with as much reserved anew.
    AskedAgain {
        worst: Worst,
    },
    /// The request ended without a reply, after all retries.
    AskFailed {
        fault: Fault,
        /// It may have cost all that was reserved.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        spent: bool,
    },
    /// A model was asked to write the ledger of a conversation that grows too long.
    Compacting {
        worst: Worst,
    },
    /// From here on the model is told `text` in the place of all that it was told before, but for the last `tail` items.
    Compacted {
        text: String,
        tail: u32,
        /// What writing it took; absent where quire wrote it itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
    },
    /// The model did not write it; quire will.
    CompactFailed {
        fault: Fault,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        spent: bool,
    },
    /// The person wants the conversation to be made short before the model is asked again.
    CompactWanted {},
    /// The person takes the task back to where it stood after a step: files and conversation. What they said since is told again.
    Rewound {
        step: u32,
    },
    /// A model that is not told which model made what is asked which of several attempts it would take.
    Suggesting {
        worst: Worst,
    },
    Suggested {
        /// The attempts, in the order in which they were shown.
        shown: Vec<u64>,
        text: String,
        usage: Usage,
    },
    SuggestFailed {
        fault: Fault,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        spent: bool,
    },
    /// One of several tasks that try the same side by side; `first` is the first of them, `number` counts from 1.
    Attempt {
        first: u64,
        number: u32,
        of: u32,
        /// What one may cost is what all may cost together, and those that begin in them.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        shared: bool,
    },
    /// All before this is the log of the task `from`, up to the end of a step; from here on this is a task of its own.
    Forked {
        from: u64,
        step: u32,
    },
    /// The model was told that its last steps are the same `steps` steps, `times` times in a row.
    Looped {
        steps: u32,
        times: u32,
    },
    /// The person's limits in money from here on; one that is absent stays as it was.
    Budgeted {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task_usd: Option<Usd>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        day_usd: Option<Usd>,
        /// The task has no limit of its own any more; `task_usd` is then absent.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unlimited: bool,
    },
    /// The model did not answer: from here to the person's next word the charter's fallback of that number is asked.
    FellBack {
        fallback: u32,
    },
    Replied {
        reply: Reply,
    },
    /// One verdict for each call of the reply, in their order.
    Judged {
        verdicts: Vec<Verdict>,
    },
    /// A call was begun; `call` is its place in the reply.
    Called {
        call: u32,
    },
    Returned {
        call: u32,
        outcome: Outcome,
    },
    /// The folders after a step's calls.
    Snapped {
        snapshot: Hash,
    },
    /// The sandbox was ended, every process in it dead, and its layer made durable. `snapshot` is what checks run on:
    /// the charter's, then `checks`.
    Sealed {
        layer: u32,
        snapshot: Hash,
        apart: Apart,
        /// Checks that the project has and that concern what changed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        checks: Vec<CheckSpec>,
        /// See [`crate::change::Snapshot::files`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        files: Option<u32>,
    },
    /// After a power cut the unsealed layer could not be trusted: the machine is as at the last seal, the folders as in
    /// the last snapshot.
    Restored {
        layer: u32,
    },
    /// The machine gives another kind of sandbox than before: the folders are as they were, in the layer `layer`, and all
    /// that the task had changed besides them is not there any more.
    Moved {
        layer: u32,
        rung: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weak: Option<String>,
    },
    /// What the task sees of the real machine as it is now was changed there since the task began. Told once for each path.
    Shifted {
        /// Ignored directories and the system's lists of what is installed, escaped.
        paths: Vec<String>,
    },
    /// quire ran a check on the sealed snapshot.
    Checked {
        check: u32,
        proof: Proof,
    },
    /// What a reviewer is told of the sealed version; empty where so little changed that none is asked.
    ReviewerTold {
        text: String,
    },
    /// A request to the reviewer was begun.
    ReviewerAsked {
        worst: Worst,
    },
    ReviewerReplied {
        reply: Reply,
    },
    /// What came of the calls of its last reply, in their order. They only read, in a sandbox that is dropped.
    ReviewerLooked {
        outcomes: Vec<Outcome>,
    },
    /// There is no review of these files.
    ReviewFailed {
        why: String,
        /// The open request may have cost all that was reserved.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        spent: bool,
    },
    /// The version a person reviews.
    Presented {
        version: u32,
        snapshot: Hash,
    },
    /// Words of the person's, after the first.
    Said {
        words: String,
    },
    /// A remark of the person's, kept until it is sent; the model is not told of it yet.
    Noted {
        /// Absent: the whole version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        about: Option<About>,
        words: String,
    },
    /// The person took back a note that was not sent; notes are numbered from 1.
    NoteDropped {
        note: u32,
    },
    /// Those notes were sent, as `words`, which hold each of them.
    NotesSent {
        notes: Vec<u32>,
        words: String,
    },
    /// The task is to stand on its folders as they are when they are copied again, because the person went on working in what
    /// its version changes; `words` tell the agent what they did.
    Refit {
        words: String,
    },
    /// The person changed files of the version `version` themself: the folders are to be as in `snapshot`, which becomes the next
    /// version. `told` tells the agent what they did, when it works next.
    Edited {
        version: u32,
        snapshot: Hash,
        files: Vec<Part>,
        told: String,
    },
    /// What was reached, or refused, since the last such event; it is told with whatever is told next.
    Reached {
        connections: Vec<Connection>,
    },
    /// A destination was refused that nobody had said anything of, and the person is asked; `reach` counts from 0. One that was
    /// allowed for a turn that is over keeps its number.
    ReachAsked {
        reach: u32,
        host: String,
        port: u16,
    },
    /// The person's answer; it may be given again, and then the later one holds.
    ReachAnswered {
        reach: u32,
        allow: bool,
        /// What is allowed is so until the turn ends.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        once: bool,
    },
    /// The agent asks its person; this is what came of the call.
    QuestionsAsked {
        call: u32,
        questions: Vec<Question>,
    },
    /// The person's answer to the question of that number, from 1; it may be given again, and then the later one holds.
    QuestionAnswered {
        question: u32,
        answer: String,
    },
    /// A turn that was to make a plan ended: its last words are the plan, and what it left is dropped.
    Planned {},
    /// The person agrees to the plan, as it stands or as they edited it.
    PlanAgreed {
        plan: String,
    },
    /// A turn that was to answer a question ended: its last words are the answer, and what it left is dropped.
    Answered {},
    Paused {
        why: Why,
    },
    /// A person lets it go on; with `model`, on another model, or on the first one. The model is the person's again where a
    /// fallback had taken its place.
    Resumed {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<Model>,
    },
    /// Writing a version into the real folders was begun; its journal has the same number.
    Accepting {
        accept: u32,
        snapshot: Hash,
        only: Vec<Part>,
        /// A snapshot of the named paths in ignored directories that the task itself made: a version does not have them,
        /// and a later accept must know what this one left.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ignored: Option<Hash>,
        /// A snapshot of what was taken, where that is not just what `only` names: single hunks, or what belongs to it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        taken: Option<Hash>,
        /// A snapshot of what the folders were to be, where the person's own edits were merged: those files from as they
        /// were just then, and not from the base.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        merged: Option<Hash>,
        /// Of the charter's checks, which ran again because it was not what they had run on.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        proofs: Vec<Proof>,
        /// The person said yes to files that can run programs on their machine.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        programs: bool,
    },
    Accepted {
        accept: u32,
    },
    /// What an accept meant for git, in the repository of one folder; without an accept only a branch was made.
    Committed {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        accept: Option<u32>,
        folder: u32,
        /// The commit of what was accepted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        branch: Option<String>,
        /// The agent's own last commit, at `refs/quire/TASK`, or of a branch of its, at `refs/quire/branches/TASK/NAME`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        brought: Option<String>,
        /// The branch that was brought; absent: what HEAD was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Where in the folder the repository's files are; absent: at its top.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        within: Option<RelPath>,
        /// Files in which edits of the person's went with it that were in no commit.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        with: Vec<RelPath>,
        /// What the person had staged of its files, of which the index has more now.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        staged: Vec<Staged>,
    },
    /// Rolled back; the folders are as before.
    AcceptFailed {
        accept: u32,
        why: String,
    },
    Undoing {
        accept: u32,
        /// Exactly these paths of what it wrote; empty: all that is left of it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        only: Vec<Part>,
    },
    Undone {
        accept: u32,
    },
    /// Rolled back; the folders are as before the undo.
    UndoFailed {
        accept: u32,
        why: String,
    },
    Discarded {},
    /// The log up to here is another place's, where the task had that number: from here on it is a record.
    Imported {
        task: u64,
    },
    /// Long after it was accepted, what the task left in quire's data was cleared away: it can no longer be undone or gone on
    /// with.
    Cleared {},
}

impl Event {
    /// Reads an event as the store has it. Here and not where it is called, so that it is built as fast as this crate is.
    pub fn parse(json: &str) -> Result<Event, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// Returns what this event reserves for a request that it begins.
    pub fn reserves(&self) -> Option<Usd> {
        match self {
            Event::Asked { worst, .. } => worst.as_ref()?.cost,
            Event::AskedAgain { worst }
            | Event::Compacting { worst }
            | Event::ReviewerAsked { worst }
            | Event::Suggesting { worst } => worst.cost,
            _ => None,
        }
    }
}

/// What a person and a folder tell every agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conventions {
    /// The AGENTS.md files, or what stands in their place, in the order in which they are told: absolute paths, escaped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instructions: Vec<String>,
    /// Bytes of those that are the folder's own.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub folder_bytes: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<Skill>,
    /// What is there and is not, or not wholly, told: what it is, and why, in words for a person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

impl Conventions {
    pub fn is_empty(&self) -> bool {
        *self == Conventions::default()
    }

    /// Returns what the model was told, by name; `None` where there was nothing.
    pub fn told(&self) -> Option<String> {
        let skills: Vec<&str> = self.skills.iter().map(|skill| skill.name.as_str()).collect();
        let parts = [("instructions of", self.instructions.join(", ")), ("skills", skills.join(", "))];
        let parts = parts.into_iter().filter(|(_, names)| !names.is_empty());
        let told: Vec<String> = parts.map(|(what, names)| format!("{what} {names}")).collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// When hooks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// Before the model is asked for the first time.
    Start,
    /// Before it is told the person's words of that number, from 0.
    Words(u32),
    /// Around the call at that place of the open reply.
    Before(u32),
    After(u32),
    /// When the model ended its turn.
    End,
}

/// One hook's run, and what it means.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRun {
    /// Its place in the charter.
    pub hook: u32,
    /// Absent where it did not end by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
    pub millis: u64,
    /// It refuses what it was asked about, for this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<String>,
    /// The model is told this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// The input that the call is to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// The task is to wait for its person, for this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halt: Option<String>,
    /// For the person alone: why it failed, or what it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl HookRun {
    /// Returns whether it did or said anything that a person would want to know.
    pub fn says_something(&self) -> bool {
        [&self.block, &self.input, &self.halt, &self.note].iter().any(|text| text.is_some())
    }
}

/// A skill, of which the model is told no more than this until it reads the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skill {
    pub name: String,
    pub description: String,
    /// Where its SKILL.md is inside, relative to the folder or absolute.
    pub path: String,
}

/// A path that a person named when accepting; everything below it is meant. None named: everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub folder: u32,
    pub path: RelPath,
}

/// The immutable copy of a folder that a task works on: `folders/ID`, frozen base plus deltas up to `delta`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    pub id: u64,
    pub delta: u64,
    pub files: u64,
    pub bytes: u64,
    /// Its git repository, where that lies outside of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<Beside>,
}

impl Base {
    /// Returns the copies that it is made of, by number and delta.
    pub fn copies(&self) -> impl Iterator<Item = (u64, u64)> {
        let git = match &self.git {
            Some(Beside::Shown(shown)) => Some((shown.id, shown.delta)),
            _ => None,
        };
        [(self.id, self.delta)].into_iter().chain(git)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Run,
    /// Not run; the model is told this instead.
    Refuse(String),
}

/// What a version changed besides the folder's files; shown, and not taken by default. Lists are bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Apart {
    /// Paths of the machine outside the folders, absolute, escaped.
    pub outside: Listing,
    /// Paths in ignored directories, `FOLDER-INDEX/path`, escaped.
    pub ignored: Listing,
    /// Paths below `.git`, likewise.
    pub git: Listing,
    /// Git directories that those are in; not there in logs from before they were kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<Repository>,
    /// Pipes, sockets and devices in the folders, likewise.
    #[serde(default, skip_serializing_if = "Listing::is_empty")]
    pub special: Listing,
    /// Commands that would install on the machine what was installed inside; read from what the package managers keep.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub installed: Vec<String>,
}

/// A git directory in which something changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Repository {
    /// `FOLDER-INDEX/path`, escaped.
    pub path: String,
    /// Whether what accept brings of it is another commit than it was.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub committed: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The first of them, sorted, at most 200.
    pub paths: Vec<String>,
    pub total: u64,
}

impl Listing {
    fn is_empty(&self) -> bool {
        self.total == 0
    }
}

/// What a person had staged of a file, as git has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    pub path: RelPath,
    /// Mode and object, before; absent: that it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<(String, String)>,
    /// The same, since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<(String, String)>,
}

/// The outcome of a check that quire ran itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    pub snapshot: Hash,
    pub passed: bool,
    /// Absent where the command did not end by itself.
    pub exit: Option<i32>,
    pub millis: u64,
    /// Bounded, head and tail.
    pub output: String,
    /// The whole output where `output` holds only part of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<Hash>,
    /// Each turns "passes" into "passes, but: ...".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buts: Vec<String>,
    /// Why a check that quire found itself says nothing, neither way: what it runs is not installed, it has no tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unable: Option<String>,
    /// How it went before the task; asked where a check that quire found itself fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
    /// Tests are new or changed: whether the old code fails them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_code_fails: Option<bool>,
    /// How the page looks that it opened, where it is a check of pages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shots: Vec<Shot>,
}

/// A page in a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shot {
    /// The window's, in pixels.
    pub width: u32,
    /// How many pixels wider the page is, so that it scrolls sideways.
    #[serde(default, skip_serializing_if = "is_none")]
    pub wider: u32,
    pub image: Image,
}

fn is_none(count: &u32) -> bool {
    *count == 0
}

/// How a check went on the folder as it was before the task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    pub passed: bool,
    /// All that fails now failed then, as far as its output tells.
    pub same: bool,
    /// How many tests failed then, where its output tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<u32>,
}

impl Proof {
    /// Returns the proof of a check that says nothing of `snapshot`, because of `why`; it was not run.
    pub fn unable(snapshot: Hash, why: String) -> Proof {
        Proof {
            snapshot,
            passed: false,
            exit: None,
            millis: 0,
            output: String::new(),
            whole: None,
            buts: vec![],
            unable: Some(why),
            before: None,
            old_code_fails: None,
            shots: vec![],
        }
    }

    /// Whether the check says that the task's work is wrong. What failed in the same way before says nothing of it.
    pub fn fails(&self) -> bool {
        !self.passed && self.unable.is_none() && !self.fails_as_before()
    }

    pub fn fails_as_before(&self) -> bool {
        !self.passed && self.before.as_ref().is_some_and(|before| before.same)
    }
}

/// Connections to one destination, or refusals of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// A name or an address; [`OTHERS`] where a list had no more room.
    pub host: String,
    pub port: u16,
    pub count: u64,
    /// Bytes out of the sandbox, and into it.
    pub up: u64,
    pub down: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
}

/// Why a destination was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refused {
    /// Neither the charter nor the person allows it.
    NotListed,
    /// The person said no.
    Denied,
    /// An address of this machine, its network or its cloud, which nobody named.
    Private,
    /// Allowed on other ports only.
    Port,
    /// The connection says another name than it goes to, or none.
    Name,
    /// Not the name of a host.
    Malformed,
    /// Asked for in a way that the proxy does not serve.
    Unserved,
    /// Too many connections, too fast, or too much sent.
    Limit,
}

/// The host of the row that a bounded list ends in.
pub const OTHERS: &str = "others";

impl Connection {
    /// Counts this in among `rows`, of which there are never more than `most` and one for all others.
    pub fn count_in(self, rows: &mut Vec<Connection>, most: usize) {
        let is_same = |row: &&mut Connection, host: &str, port| {
            row.host == host && row.port == port && row.refused == self.refused
        };
        let known = rows
            .iter()
            .any(|row| (&row.host, row.port, row.refused) == (&self.host, self.port, self.refused));
        let full = !known && rows.iter().filter(|row| row.host != OTHERS).count() >= most;
        let (host, port) = if full { (OTHERS, 0) } else { (self.host.as_str(), self.port) };
        match rows.iter_mut().find(|row| is_same(row, host, port)) {
            Some(row) => {
                row.count = row.count.saturating_add(self.count);
                row.up = row.up.saturating_add(self.up);
                row.down = row.down.saturating_add(self.down);
            }
            None => rows.push(Connection { host: host.to_owned(), port, ..self }),
        }
    }
}

/// A question of the agent's. The texts are the model's: on one line each, bounded, and nobody's word but its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    pub text: String,
    /// What the agent goes on with until there is an answer. Only what must be answered may have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Answers that it thinks of; the person may give another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// The task waits for the answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub must: bool,
}

/// Why a task waits for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// No model was named and none was found.
    NoModel,
    /// `quire stop`.
    Person,
    /// The turn ended while the person had not said whether something may be reached.
    Reach,
    /// The agent cannot go on without an answer to a question of its.
    Question,
    /// A plan is there to be agreed to.
    Plan,
    /// The person took it back to a step, or began it there.
    Rewound {
        step: u32,
    },
    Steps,
    Time,
    /// The next request might cost more than is left for the task.
    Money,
    /// The next request might take more tokens than are left for the task.
    Tokens,
    /// The next request might cost more than is left for all tasks of the last 24 hours together, which had cost so much.
    Day {
        spent: Usd,
    },
    /// The next request might cost more than is left for all attempts together, which had cost so much.
    Shared {
        spent: Usd,
    },
    /// The same calls with the same outcomes, again and again.
    Loop,
    /// The model said nothing, several times in a row.
    Silence,
    /// A hook said that the person is to look first, for this reason.
    Hook(String),
    /// The model or its provider declined.
    Refused(String),
    /// The model did not answer.
    Model(Fault),
    /// The folders are so large that a person is asked before they are copied; `resume` is the yes.
    Copy {
        bytes: u64,
    },
    /// quire could not go on: no sandbox, full disk, folder gone. In words for a person.
    Trouble(Trouble, String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    Sandbox,
    Disk,
    Folder,
    Other,
}
