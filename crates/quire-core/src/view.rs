//! What every face shows: rows and sentences made of a task, so that wording is written once. Nothing here knows a terminal
//! or a page; what came from a model, a file or a name is passed on as it is, and each face makes it harmless in its way.

mod ask;
mod claims;
mod compare;
mod cost;
mod deserves;
mod drift;
mod in_git;
mod later;
mod looked;
mod made;
pub mod marks;
mod notes;
mod progress;
mod reach;
mod review;
mod steps;
mod summary;

pub use ask::{AgentQuestion, agent_questions, assumed, assumed_text, needed_text};
pub use claims::{Brief, ClaimRow};
pub use compare::{AttemptRow, FileRow, differing, letter, together};
pub use cost::{Cost, budget_to_add, unpriced_text};
pub use drift::{DriftRow, Fit};
pub use in_git::{GitRow, WithoutGit, git_dir, has_committed, inner_repositories};
pub use later::LaterEdits;
pub use looked::LookRow;
pub use notes::{Contents, LedTo, NoteRow, Standing};
pub(crate) use progress::patched;
pub use progress::{Line, LineMark, Progress};
pub use reach::{Question, WHILE_THIS_RAN, question, questions, reached_text, refused_text};
pub use review::{
    CheckRow, Fate, FileChange, InGit, LeftOut, Moved, Over, Review, Shape, Taken, Written, WrittenFile,
    reviewed_text,
};
pub use steps::{StepRow, edited_text, steps};
pub use summary::{Summary, Uses};

use crate::bytes::{escape, unescape};
use crate::event::{HookRun, Trouble, Why};
use crate::message::FaultKind;
use crate::task::{Checkpoint, Needed, Phase, Task, Version};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// Where a task stands, as a shape: never one "waiting" for all of them. In the order in which tasks are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// It cannot go on without a person.
    NeedsYou,
    /// A version is there to be reviewed.
    Ready,
    /// It stopped where it was told to: by a person or by a limit.
    Paused,
    Working,
    Accepted,
    /// A question was answered: there is nothing to be accepted.
    Answered,
    Discarded,
}

impl Mark {
    pub fn symbol(self) -> char {
        match self {
            Mark::NeedsYou => '?',
            Mark::Ready => '◆',
            Mark::Paused => '‖',
            Mark::Working => '◐',
            Mark::Accepted | Mark::Answered => '✓',
            Mark::Discarded => '–',
        }
    }

    pub fn group(self) -> Group {
        match self {
            Mark::NeedsYou | Mark::Ready | Mark::Paused => Group::NeedsYou,
            Mark::Working => Group::Working,
            Mark::Accepted | Mark::Answered | Mark::Discarded => Group::Done,
        }
    }
}

/// What a list of tasks is divided into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    NeedsYou,
    Working,
    Done,
}

impl Group {
    pub fn heading(self) -> &'static str {
        match self {
            Group::NeedsYou => "NEEDS YOU",
            Group::Working => "WORKING",
            Group::Done => "DONE",
        }
    }
}

/// A task in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskRow {
    pub task: u64,
    pub mark: Mark,
    /// `working`, `ready`, `needs you: no model`, `needs you: asks, and works on`, `paused`, `part accepted`, `accepted`,
    /// `answered`, `discarded`.
    pub state: String,
    pub title: String,
    /// The first folder, escaped as [`crate::RelPath`] is.
    pub folder: String,
    /// Since its last event.
    pub age_ms: u64,
    /// At work, not waiting for a person.
    pub worked_ms: u64,
    /// Model calls.
    pub steps: u32,
    /// Read and written by the model.
    pub tokens: u64,
    #[serde(flatten)]
    pub cost: Cost,
    /// What the person is asked; the task may be at work all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<Question>,
    /// What its agent asks the person.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub agent_questions: Vec<AgentQuestion>,
    /// The plan that waits for its person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// How often it needed its person.
    pub needed_you: Needed,
    /// Of its last version, how many files changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u32>,
    /// Whether its agent committed in git what accept brings.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub committed: bool,
    /// What that made and what of it was not checked, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made: Option<String>,
}

impl TaskRow {
    pub fn of(task: &Task, now_ms: u64) -> TaskRow {
        Summary::of(task).row(now_ms)
    }

    /// Returns where it stands and what it made, as sentences below its heading: `Ready. 5 files, works on phones.`
    pub fn told(&self) -> String {
        let state = capital(self.state.strip_prefix("needs you: ").unwrap_or(&self.state));
        match &self.made {
            Some(made) => format!("{state}. {}.", capital(made)),
            None => state,
        }
    }

    /// Returns whether there is something to be read, and nothing to be accepted.
    pub fn is_answer(&self) -> bool {
        self.mark == Mark::Ready && self.files == Some(0) && !self.committed
    }

    /// Returns its folder as a person calls it; see [`short_folder`].
    pub fn short_folder(&self, home: Option<&Path>) -> String {
        let raw = unescape(&self.folder).unwrap_or_else(|| self.folder.clone().into_bytes());
        short_folder(Path::new(OsStr::from_bytes(&raw)), home)
    }
}

/// Returns the rows of a list: what waits for a person first, what cannot go on without one before all; then by age, the
/// newest first.
pub fn rows(tasks: &[Summary], now_ms: u64) -> Vec<TaskRow> {
    let mut rows: Vec<TaskRow> = tasks.iter().map(|task| task.row(now_ms)).collect();
    rows.sort_by_key(|row| {
        let within = if row.mark.group() == Group::Done { Mark::Accepted } else { row.mark };
        (within, row.age_ms, std::cmp::Reverse(row.task))
    });
    rows
}

pub fn mark(task: &Task) -> Mark {
    match &task.phase {
        phase if task.imported_from().is_some() && *phase != Phase::Discarded => Mark::Answered,
        Phase::Working if asks(task) => Mark::NeedsYou,
        Phase::Working => Mark::Working,
        Phase::Waiting(
            Why::Person
            | Why::Rewound { .. }
            | Why::Steps
            | Why::Time
            | Why::Money
            | Why::Tokens
            | Why::Day { .. }
            | Why::Shared { .. },
        ) => Mark::Paused,
        Phase::Waiting(_) => Mark::NeedsYou,
        Phase::Ready if task.answer().is_some() => Mark::Answered,
        Phase::Ready => Mark::Ready,
        Phase::Accepted if task.is_part() => Mark::Ready,
        Phase::Accepted => Mark::Accepted,
        Phase::Discarded => Mark::Discarded,
    }
}

/// Returns whether the person is asked something while the task works.
fn asks(task: &Task) -> bool {
    task.pressing().next().is_some() || task.assumed().any(|(_, asking)| asking.is_open())
}

/// Returns where a task stands, in a few words.
pub fn state(task: &Task) -> String {
    if task.is_being_written() {
        return "being written".to_owned();
    }
    if let (Some(number), false) = (task.imported_from(), task.phase == Phase::Discarded) {
        return format!("a record of task {number} elsewhere");
    }
    match &task.phase {
        Phase::Working if asks(task) => "needs you: asks, and works on".to_owned(),
        Phase::Working => "working".to_owned(),
        Phase::Waiting(Why::Person) => "paused".to_owned(),
        Phase::Waiting(Why::Rewound { step }) => format!("stands after step {step}"),
        Phase::Waiting(why) => format!("needs you: {}", needs(why, task)),
        Phase::Ready if task.answer().is_some() => "answered".to_owned(),
        Phase::Ready => ready(task.version()),
        Phase::Accepted if task.cleared => "accepted, cleared away".to_owned(),
        Phase::Accepted if task.is_part() => "part accepted".to_owned(),
        Phase::Accepted => "accepted".to_owned(),
        Phase::Discarded => "discarded".to_owned(),
    }
}

fn ready(version: Option<&Arc<Version>>) -> String {
    let proofs = version.map_or(&[][..], |version| &version.proofs);
    match (proofs.iter().filter(|proof| proof.fails()).count(), proofs.len()) {
        (0, _) => "ready".to_owned(),
        (_, 1) => "says done, but its check failed".to_owned(),
        (failed, all) => format!("says done, but {failed} of {all} checks failed"),
    }
}

/// Returns what [`mark`] and [`state`] say of a task that just began where `task` stood.
pub fn begins(task: &Task, at: &Checkpoint) -> (Mark, String) {
    if at.is_ready {
        let version = task.versions.iter().find(|version| Some(version.number) == at.version);
        (Mark::Ready, ready(version))
    } else {
        (Mark::Paused, format!("stands after step {}", at.step))
    }
}

fn needs(why: &Why, task: &Task) -> String {
    let limits = task.charter.limits;
    let words = match why {
        Why::NoModel => "no model",
        Why::Person => "paused",
        Why::Reach | Why::Question => "asks, and waits",
        Why::Plan => "a plan to look at",
        Why::Rewound { step } => return format!("stands after step {step}"),
        Why::Steps => return format!("{} used up", count(limits.steps.into(), "step")),
        Why::Time => return format!("{} used up", minutes(limits.time_ms)),
        Why::Money | Why::Shared { .. } => {
            return format!("{} used up", limits.task_usd.unwrap_or_default());
        }
        Why::Tokens => return format!("{} tokens used up", thousands(limits.tokens.unwrap_or(0))),
        Why::Day { .. } => return format!("{} a day used up", limits.day_usd.unwrap_or_default()),
        Why::Loop => "the model repeats itself",
        Why::Silence if task.is_cut() => "the model's replies are too long",
        Why::Hook(_) => "a hook stopped it",
        Why::Silence => "the model says nothing",
        Why::Copy { bytes } => return format!("{} to copy", size(*bytes)),
        Why::Refused(_) => "the model declined",
        Why::Model(fault) => match fault.kind {
            FaultKind::NoKey => "the model's key is missing",
            FaultKind::Key => "the model's key was refused",
            FaultKind::Credit => "no credit is left",
            FaultKind::NoModel => "there is no such model",
            FaultKind::Request => "the model's server refused the request",
            FaultKind::TooLong => "too long for the model",
            FaultKind::Unreachable => "the model does not answer",
            FaultKind::Busy => "the model is busy",
            FaultKind::Broken => "the model's answer broke off",
            FaultKind::Tape => "the recording does not fit",
        },
        Why::Trouble(Trouble::Sandbox, _) => "no sandbox",
        Why::Trouble(Trouble::Disk, _) => "no space on the disk",
        Why::Trouble(Trouble::Folder, _) => "trouble with the folder",
        Why::Trouble(Trouble::Other, _) => "quire had trouble",
    };
    words.to_owned()
}

/// Returns which calls a task that goes round repeats, and how often; nothing where that is no more known.
fn round(task: &Task) -> String {
    let Some((round, calls)) = task.round() else { return String::new() };
    let named: Vec<String> =
        calls.iter().take(3).map(|call| progress::call_text(call, &task.charter.folders, true)).collect();
    let more = if calls.len() > named.len() { ", and more" } else { "" };
    format!(", {} times: {}{more}", round.times, named.join(", "))
}

/// What is to be told where something does not go on: what happened, what is safe, what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    pub what: String,
    pub safe: String,
    pub next: String,
}

/// Returns why `task` waits for a person, in whole sentences.
pub fn why_text(why: &Why, task: &Task) -> Told {
    let id = task.id;
    let resume = format!("quire resume {id}");
    let limits = task.charter.limits;
    let models = "quire models";
    let (what, next) = match why {
        Why::NoModel => (
            "No model is named, and none was found.".to_owned(),
            format!("Name one (see: {models}): {resume} -m PROVIDER/MODEL. Without one: quire demo"),
        ),
        Why::Person => ("It was paused.".to_owned(), format!("Go on: {resume}")),
        Why::Rewound { step } => (
            format!("It stands after step {step}, files and conversation."),
            format!(
                "Say what should be different: quire revise {id} \"...\". Or let it go on from there: {resume}"
            ),
        ),
        Why::Reach => {
            let asked = questions(task);
            let texts: Vec<&str> = asked.iter().map(|question| question.text.as_str()).collect();
            let commands = match asked.as_slice() {
                [one] => one.commands(),
                all => format!("quire allow {id} HOST · quire deny {id} HOST, for each of {}", all.len()),
            };
            (texts.join(" "), format!("Answer: {commands}. Without an answer: {resume}"))
        }
        Why::Question => {
            let asked = count(task.awaited().count() as u64, "question");
            (
                format!("Its agent asks {asked} that it cannot go on without."),
                format!("Answer: quire answer {id}. Without an answer: {resume}"),
            )
        }
        Why::Plan => (
            "Its plan is there.".to_owned(),
            format!(
                "Look at it: quire review {id}. Begin: {resume}. Change it first: quire revise {id} \"...\", or {resume} --edit"
            ),
        ),
        Why::Steps => (
            format!("The limit of {} is reached.", count(limits.steps.into(), "step")),
            format!("Allow as many again: {resume}. To say something first: quire revise {id} \"...\""),
        ),
        Why::Time => (
            format!("The limit of {} is reached.", minutes(limits.time_ms)),
            format!("Allow as much again: {resume}. To say something first: quire revise {id} \"...\""),
        ),
        Why::Money | Why::Shared { .. } | Why::Tokens | Why::Day { .. } => cost::used_up(why, task),
        Why::Hook(reason) => (
            format!("A hook stopped it: {}", sentence(reason)),
            format!("Go on all the same: {resume}. To say something first: quire revise {id} \"...\""),
        ),
        Why::Loop => (
            format!("The model made the same calls with the same outcomes again and again{}.", round(task)),
            format!("Say what it should try instead: quire revise {id} \"...\". Or let it go on: {resume}"),
        ),
        Why::Silence if task.is_cut() => (
            "The model's replies were cut at the limit of output several times.".to_owned(),
            format!(
                "Ask for smaller steps: quire revise {id} \"...\". Or raise the model's output_tokens in the settings, then: {resume}"
            ),
        ),
        Why::Silence => (
            "The model answered with nothing several times.".to_owned(),
            format!("Try again: {resume}. If it stays silent, name another model ({models})."),
        ),
        Why::Refused(reason) => (
            if reason.trim().is_empty() {
                "The model declined to go on.".to_owned()
            } else {
                format!("The model declined to go on: {}", sentence(reason))
            },
            format!("Say it in another way: quire revise {id} \"...\""),
        ),
        Why::Copy { bytes } => (
            format!("To copy the folder takes {} on the disk, once.", size(*bytes)),
            format!(
                "Copy it: {resume}. Or name what need not be copied in .gitignore, and: quire discard {id}"
            ),
        ),
        Why::Model(fault) => {
            let next = match fault.kind {
                FaultKind::NoKey | FaultKind::Key => {
                    let provider = task.charter.model.as_ref().map_or("PROVIDER", |m| m.provider.as_str());
                    format!("Give its key: quire models add {provider}. Then: {resume}")
                }
                FaultKind::Credit => format!("Add credit with the provider, then: {resume}"),
                FaultKind::NoModel => format!("See which models answer: {models}. Then: {resume}"),
                FaultKind::TooLong => {
                    format!("Start a new task with less in it, or name a model with more room ({models}).")
                }
                FaultKind::Unreachable => {
                    format!("Start its server or look at the address ({models}), then: {resume}")
                }
                FaultKind::Request if fault.status == Some(407) => format!(
                    "Put them into the proxy's address, HTTPS_PROXY=http://NAME:PASSWORD@HOST:PORT. Then, in that shell: quire host \
                     --stop && {resume}"
                ),
                FaultKind::Request | FaultKind::Busy | FaultKind::Broken => format!("Try again: {resume}"),
                FaultKind::Tape => {
                    format!(
                        "A recording plays only its own task. Name a real model ({models}), then: {resume}"
                    )
                }
            };
            (sentence(&fault.message), next)
        }
        Why::Trouble(trouble, words) => {
            let next = match trouble {
                Trouble::Sandbox => format!("See what this machine lacks: quire doctor. Then: {resume}"),
                Trouble::Disk => format!("Make room on the disk, then: {resume}"),
                Trouble::Folder => format!("Put the folder right, then: {resume}"),
                Trouble::Other => format!("Try again: {resume}"),
            };
            (sentence(&capital(words.trim())), next)
        }
    };
    Told { what, safe: kept(task), next }
}

/// Returns what is safe while a task waits.
fn kept(task: &Task) -> String {
    if task.last_accept().is_some() {
        "What you accepted stays as it is; everything since is kept.".to_owned()
    } else if task.step == 0 {
        "The task is kept. Your folder has not changed.".to_owned()
    } else {
        "All that was done so far is kept. Your folder has not changed.".to_owned()
    }
}

/// Returns what was said at the opening: `Task 3 in code/invoice, up to $2.00, 200 steps and 60 minutes.`
pub fn opened_text(task: &Task, home: Option<&Path>) -> String {
    let limits = task.charter.limits;
    let priced = task.charter.model.as_ref().is_some_and(|model| model.price.is_some());
    let money = limits.task_usd.filter(|_| priced).map_or_else(String::new, |most| format!("{most}, "));
    format!(
        "Task {} in {}, up to {money}{} and {}.",
        task.id,
        short_folder(&task.charter.folders[0], home),
        count(limits.steps.into(), "step"),
        minutes(limits.time_ms)
    )
}

/// Returns a folder as a person calls it: from their home on, where it lies there; escaped as [`crate::RelPath`] is.
pub fn short_folder(folder: &Path, home: Option<&Path>) -> String {
    let below = home.and_then(|home| folder.strip_prefix(home).ok()).filter(|p| !p.as_os_str().is_empty());
    escape(below.unwrap_or(folder).as_os_str().as_bytes())
}

fn folder(task: &Task) -> String {
    escape(task.charter.folders[0].as_os_str().as_bytes())
}

/// Returns a count with its noun: `1 file`, `2 files`.
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Returns a number as a person reads it: `48,210`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Returns a size on a disk: `812 bytes`, `4.0 kB`, `12 GB`; in steps of a thousand, as disks are sold.
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["bytes", "kB", "MB", "GB", "TB"] {
        match value {
            _ if unit == "bytes" && bytes < 1000 => return count(bytes, "byte"),
            _ if unit == "bytes" => {}
            ..9.95 => return format!("{value:.1} {unit}"),
            ..999.5 => return format!("{value:.0} {unit}"),
            _ => {}
        }
        value /= 1000.0;
    }
    format!("{value:.0} PB")
}

fn minutes(millis: u64) -> String {
    if millis < 60_000 { count(millis / 1000, "second") } else { count(millis / 60_000, "minute") }
}

/// Returns `text` with a full stop, unless it ends as a sentence does.
pub fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with(['.', '!', '?', ':', '…']) { text.to_owned() } else { format!("{text}.") }
}

/// Returns `text` with a capital at its start, unless it starts with a path, an address or a quotation.
pub fn capital(text: &str) -> String {
    let first = text.split_whitespace().next().unwrap_or("").trim_end_matches(',');
    if !first.chars().all(|c| c.is_alphabetic() || c == '\'') {
        return text.to_owned();
    }
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |c| c.to_uppercase().chain(letters).collect())
}

/// Returns the first line with anything in it, at most `most` characters long.
pub fn first_line(text: &str, most: usize) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("");
    if line.chars().count() <= most {
        line.to_owned()
    } else {
        line.chars().take(most - 1).chain(['…']).collect()
    }
}

#[cfg(test)]
mod tests;

/// Returns what a hook did, in a few words.
pub fn hook_text(run: &HookRun) -> String {
    let exit = run.exit.map_or_else(String::new, |exit| format!(" (exit {exit})"));
    let did = [
        ("refuses", &run.block),
        ("stops the task", &run.halt),
        ("changes the input to", &run.input),
        ("tells the model", &run.context),
        ("says", &run.note),
    ];
    let did: Vec<String> =
        did.iter().filter_map(|(verb, text)| Some(format!("{verb}: {}", text.as_ref()?))).collect();
    match did.is_empty() {
        true => format!("Hook {} is done{exit}", run.hook + 1),
        false => format!("Hook {}{exit} {}", run.hook + 1, did.join("; ")),
    }
}
