//! One home of quire's, as one process sees it: what the faces do with tasks. Everything here is a reading of the store or a
//! short append to it; long work is the host's. What a person decides about a version is in `decide.rs`.

use crate::accept::{self, AcceptError, Outcome};
use crate::attached::{self, AttachError};
use crate::beside;
use crate::blob::BlobError;
use crate::database::{Damaged, DiskError, DiskKind, OpenError};
use crate::decide::Choice;
use crate::freeze::{FreezeError, Frozen};
use crate::host::OpenPage;
use crate::link::{Link, LinkError};
use crate::models::NoModel;
use crate::new_folder::NewFolder;
use crate::owed::Paid;
use crate::place::Place;
use crate::programs::Programs;
use crate::rewind::Point;
use crate::settings::{Resolved, SettingsError, Surroundings};
use crate::snapshot::SnapshotError;
use crate::store::{AppendError, ReadError, Store, Writer};
use crate::versions::Changed;
use crate::work::{hidden, load_snapshot};
use crate::{host, live, snapshot, tracked, versions};
use quire_core::bytes::escape;
use quire_core::change::renames::renames;
use quire_core::charter::{Model, Purpose};
use quire_core::event::Seq;
use quire_core::message::Attachment;
use quire_core::money::Budget;
use quire_core::task::AcceptState;
use quire_core::view::{CheckRow, FileChange, InGit, LaterEdits, LeftOut, Moved, Review, Summary};
use quire_core::{Entry, Event, Hash, Logged, Node, Phase, RelPath, Task, Usd, diff};
use quire_sandbox::{StartError, folder_secrets};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// See the module.
pub struct Quire {
    store: Store,
    home: PathBuf,
    log: PathBuf,
    recovered: Vec<Recovered>,
    unended: Vec<Unended>,
    paid: Vec<Paid>,
}

/// An accept or undo that a process left half done when it died, and that was ended when the home was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    pub task: u64,
    pub accept: u32,
    pub undo: bool,
    /// Whether the folders are as after it; else they are as before.
    pub after: bool,
}

/// An accept or undo that was left half done and cannot be ended now: its folder is away, or cannot be written. It is tried
/// again with each command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unended {
    pub task: u64,
    pub undo: bool,
    pub why: String,
}

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("There is no place for quire's data: neither QUIRE_HOME, XDG_DATA_HOME nor HOME is set.")]
    NoPlace,
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("There is no task {0}.")]
    NoSuchTask(u64),
    #[error(transparent)]
    Read(ReadError),
    #[error(transparent)]
    Append(AppendError),
    #[error("Task {task} {why}.")]
    Not { task: u64, why: &'static str },
    #[error("Task {task} has no {}.", match point { Point::Step(step) => format!("step {step} to go back to"), Point::Version(version) => format!("version {version}") })]
    NoSuchPoint { task: u64, point: Point },
    /// The version is another one than the person saw.
    #[error("Task {task} has changed since you saw it; its version is now {now}.")]
    Seen { task: u64, now: Hash },
    /// The person's edits would be merged, and that is not what they saw.
    #[error("{} What would be written is now {now}.", merges_text(paths, over))]
    Merges { task: u64, paths: Vec<RelPath>, over: Vec<RelPath>, now: Hash, choice: Box<Choice> },
    /// The person edited what an undo takes back, and is asked first.
    #[error("{}.", .0.heading())]
    LaterEdits(Box<LaterEdits>),
    /// Somebody wrote into the folder while checks ran on what would be written.
    #[error("The folder of task {task} changed again while the checks ran.")]
    Moving { task: u64 },
    /// It went on between the look at what would be written and the writing.
    #[error("Task {task} went on meanwhile.")]
    Overtaken { task: u64 },
    #[error("Files that can run programs on your machine are among what would be accepted.")]
    Programs { task: u64, paths: Vec<(RelPath, &'static str)> },
    /// Checks that passed on the whole version, or were not run on it.
    #[error("{}", fails_text(fails))]
    Fails { task: u64, fails: Vec<CheckRow> },
    #[error("The checks could not be run on what would be written: {why}")]
    Unchecked { task: u64, why: String },
    #[error("`{}` is not in a folder of this task.", path.display())]
    Outside { path: PathBuf },
    /// What a note was to be put on, or to be edited.
    #[error("{what}.")]
    NoPlaceFor { task: u64, what: String },
    /// The task is kept, and waits for one.
    #[error("{none}")]
    NoModel { task: u64, none: NoModel },
    #[error("It cannot be committed: {0}.")]
    Git(#[from] crate::git::GitError),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("{error}")]
    Accept { task: u64, error: AcceptError },
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Freeze(#[from] FreezeError),
    #[error(transparent)]
    Attach(#[from] AttachError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Host(#[from] host::HostError),
    #[error("The data directory {} cannot be used: {why}.", path.display())]
    Home { path: PathBuf, why: io::Error },
    #[error(transparent)]
    Sandbox(#[from] StartError),
    #[error(transparent)]
    Egress(#[from] quire_sandbox::egress::EgressError),
}

impl EngineError {
    /// Says whose accept or undo it was that could not be.
    pub(crate) fn accept(task: u64) -> impl Fn(AcceptError) -> EngineError {
        move |error| EngineError::Accept { task, error }
    }

    /// Returns whether the reason is that a newer quire wrote what was to be read.
    pub fn is_of_a_newer_quire(&self) -> bool {
        let newer = |damaged: &Damaged| matches!(damaged, Damaged::Newer { .. });
        match self {
            EngineError::Open(OpenError::Damaged(damaged))
            | EngineError::Read(ReadError::Damaged(damaged))
            | EngineError::Append(AppendError::Damaged(damaged)) => newer(damaged),
            EngineError::Open(OpenError::Newer { .. }) => true,
            _ => false,
        }
    }

    /// Returns whether the reason is that the disk which holds quire's data is full.
    pub fn disk_is_full(&self) -> bool {
        let full = |error: &DiskError| error.kind == DiskKind::Full;
        let io = |error: &io::Error| DiskError::says_full(error);
        match self {
            EngineError::Sandbox(error) => matches!(error, StartError::Full),
            EngineError::Freeze(error) => matches!(error, FreezeError::Disk { .. }),
            EngineError::Home { why, .. } => io(why),
            EngineError::Open(OpenError::Disk(error))
            | EngineError::Append(AppendError::Disk(error))
            | EngineError::Blob(BlobError::Disk(error))
            | EngineError::Attach(AttachError::Blob(BlobError::Disk(error)))
            | EngineError::Snapshot(SnapshotError::Blob(BlobError::Disk(error))) => full(error),
            EngineError::Snapshot(SnapshotError::Layer(error)) => io(error),
            _ => false,
        }
    }
}

impl From<ReadError> for EngineError {
    fn from(error: ReadError) -> EngineError {
        match error {
            ReadError::NoSuchTask(task) => EngineError::NoSuchTask(task),
            other => EngineError::Read(other),
        }
    }
}

impl From<AppendError> for EngineError {
    fn from(error: AppendError) -> EngineError {
        match error {
            AppendError::NoSuchTask(task) => EngineError::NoSuchTask(task),
            other => EngineError::Append(other),
        }
    }
}

fn listed(paths: &[RelPath]) -> String {
    let shown: Vec<String> = paths.iter().take(5).map(RelPath::to_string).collect();
    let more = if paths.len() > 5 { format!(" and {} more", paths.len() - 5) } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

fn merges_text(paths: &[RelPath], over: &[RelPath]) -> String {
    let mut told = vec![];
    if !paths.is_empty() {
        told.push(format!("Your edits would be merged with the task's in {}.", listed(paths)));
    }
    if !over.is_empty() {
        told.push(format!(
            "In {} the task's side would be written, and yours kept aside for an undo.",
            listed(over)
        ));
    }
    told.join(" ")
}

fn fails_text(fails: &[CheckRow]) -> String {
    let commands: Vec<String> = fails.iter().map(|check| format!("`{}`", check.command)).collect();
    let fail = if fails.len() == 1 { "fails" } else { "fail" };
    format!("{} {fail} on what would be written, and not on the whole version.", commands.join("; "))
}

/// What a file holds; absent where there is no file, or it is too large to be held.
pub(crate) type Content = Option<Vec<u8>>;

pub(crate) const CLEARED: &str =
    "ended more than 30 days ago, and what it left beside your folder is cleared away";
pub(crate) const WRITTEN: &str = "is being written by another process";
/// How long a sandbox may take to leave a task that is discarded.
const LEAVING_MAX: Duration = Duration::from_secs(5);
/// Files beyond this are not compared line by line for a review.
pub(crate) const COMPARED_BYTES_MAX: u64 = 2 << 20;
/// Once so much of a version was compared, further files are not.
pub(crate) const REVIEWED_BYTES_MAX: u64 = 64 << 20;

/// Returns the data directory.
pub fn home(surroundings: &Surroundings) -> Result<PathBuf, EngineError> {
    let absolute = |name: &str| surroundings.env.get(name).map(PathBuf::from).filter(|p| p.is_absolute());
    absolute("QUIRE_HOME")
        .or_else(|| Some(absolute("XDG_DATA_HOME")?.join("quire")))
        .or_else(|| Some(surroundings.home()?.join(".local/share/quire")))
        .ok_or(EngineError::NoPlace)
}

/// Returns where the host's log lies.
pub(crate) fn log(surroundings: &Surroundings, home: &Path) -> PathBuf {
    let absolute = |name: &str| surroundings.env.get(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(surroundings.home()?.join(".local/state")));
    match (absolute("QUIRE_HOME"), state) {
        (None, Some(state)) => state.join("quire/host.log"),
        _ => home.join("host.log"),
    }
}

impl Quire {
    /// Opens the home, and ends whatever accept or undo a dead process left half done.
    pub fn open(surroundings: &Surroundings) -> Result<Quire, EngineError> {
        let home = home(surroundings)?;
        let store = Store::open(&home)?;
        let home = home.canonicalize().map_err(|why| EngineError::Home { path: home.clone(), why })?;
        // Sandboxes are told in text what to hide, and this before all.
        if home.to_str().is_none() {
            let why = io::Error::new(io::ErrorKind::InvalidInput, "its path is not UTF-8");
            return Err(EngineError::Home { path: home, why });
        }
        let mut quire = Quire {
            store,
            log: log(surroundings, &home),
            home,
            recovered: vec![],
            unended: vec![],
            paid: vec![],
        };
        let ended = accept::recover(&quire.home)
            .map_err(|why| EngineError::Home { path: quire.home.clone(), why })?;
        for one in ended {
            match one.outcome {
                Ok(outcome) => quire.conclude(one.task, one.number, one.undo, outcome),
                // One folder that is away must not keep all other tasks from their person.
                Err(error) => quire.leave(one.task, one.undo, error.unended().to_string()),
            }
        }
        quire.paid = quire.pay()?;
        Ok(quire)
    }

    /// What was found half done when the home was opened.
    pub fn recovered(&self) -> &[Recovered] {
        &self.recovered
    }

    /// Commits that were still to be made when the home was opened.
    pub fn paid(&self) -> &[Paid] {
        &self.paid
    }

    /// What was found half done when the home was opened, and still is.
    pub fn unended(&self) -> &[Unended] {
        &self.unended
    }

    /// Returns the home as a host sees it that has its store open.
    pub(crate) fn of_host(store: Store, home: &Path, log: &Path) -> Quire {
        Quire {
            store,
            home: home.to_owned(),
            log: log.to_owned(),
            recovered: vec![],
            unended: vec![],
            paid: vec![],
        }
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Opens a task. Its words are on the disk when this returns. Without a model it waits for one.
    pub fn open_task(
        &self,
        resolved: &Resolved,
        model: Option<Model>,
        words: &str,
        files: Vec<Attachment>,
    ) -> Result<u64, EngineError> {
        self.open_with(resolved, model, words, files, None)
    }

    pub(crate) fn open_with(
        &self,
        resolved: &Resolved,
        model: Option<Model>,
        words: &str,
        files: Vec<Attachment>,
        attempt: Option<Event>,
    ) -> Result<u64, EngineError> {
        let attached = (!files.is_empty()).then_some(Event::Attached { files, told: None });
        let waits = model.is_none().then_some(Event::Paused { why: quire_core::event::Why::NoModel });
        let opened = Event::Opened { charter: Box::new(resolved.charter(model)), words: words.to_owned() };
        Ok(self
            .store
            .create([opened].into_iter().chain(attached).chain(attempt).chain(waits).collect())
            .wait()?
            .task)
    }

    /// Returns a summary of each task, oldest first; see [`Quire::task`].
    pub fn summaries(&self) -> Result<Vec<Summary>, EngineError> {
        let as_it_is = |summary: Summary| match summary.is_being_written {
            true => Ok(Summary::of(&self.task_as_it_is(summary.task)?)),
            false => Ok(summary),
        };
        self.store.summaries()?.into_iter().map(as_it_is).collect()
    }

    /// Returns a task, also where its accept or undo cannot be ended: that is told of when the home is opened.
    pub(crate) fn task_as_it_is(&self, id: u64) -> Result<Task, EngineError> {
        match self.task(id) {
            Err(EngineError::Accept { .. } | EngineError::Append(_)) => Ok(self.store.task(id)?),
            task => task,
        }
    }

    /// Returns a task. Where the log says that it is being written and no process is at it, that is ended first.
    pub fn task(&self, id: u64) -> Result<Task, EngineError> {
        let task = self.store.task(id)?;
        let open =
            task.accepts.iter().position(|a| matches!(a.state, AcceptState::Begun | AcceptState::Undoing));
        let Some(number) = open else { return Ok(task) };
        let undo = task.accepts[number].state == AcceptState::Undoing;
        let writing = crate::decide::writing(&task, number as u32, undo);
        match accept::outcome(&self.desk(id), &task.charter.folders, writing)
            .map_err(EngineError::accept(id))?
        {
            Some(outcome) => {
                drop(NewFolder::of(&task.charter));
                self.log_end(id, number as u32, undo, conclusion(number as u32, undo, &outcome))?;
                Ok(self.store.task(id)?)
            }
            None => Ok(task),
        }
    }

    /// Appends how an accept or undo ended, unless another process saw it too and already has.
    pub(crate) fn log_end(&self, id: u64, accept: u32, undo: bool, event: Event) -> Result<(), EngineError> {
        let open = if undo { AcceptState::Undoing } else { AcceptState::Begun };
        self.append(id, |task| {
            let is_open = task.accepts.get(accept as usize).is_some_and(|a| a.state == open);
            Ok(if is_open { vec![event.clone()] } else { vec![] })
        })
    }

    pub fn events(&self, id: u64, after: Seq) -> Result<Vec<Logged>, EngineError> {
        self.store.task(id)?;
        Ok(self.store.events(id, after)?)
    }

    /// Says something to a task: the next turn of one that rests, more words for one that works. Notes that were not sent go
    /// with it; without words there has to be one. So do `files`, which are laid beside those that were handed over before.
    pub fn say(&self, id: u64, words: Option<&str>, files: Vec<Attachment>) -> Result<(), EngineError> {
        let attached = self.attach(id, words, files)?;
        self.append(id, |task| {
            let said = said(task, words)?;
            let mut events: Vec<Event> = attached.iter().cloned().chain([said]).collect();
            match &task.phase {
                _ if matches!(&events[0], Event::Attached { told, .. } if told.is_some() != task.is_equipped()) => {
                    return Err("began to work just now; say it again");
                }
                _ if matches!(&events[0], Event::Attached { files, .. } if has_one_of(task, files)) => {
                    return Err("was handed the same just now");
                }
                Phase::Waiting(_) if task.charter.model.is_some() => {
                    events.push(Event::Resumed { model: None })
                }
                _ => {}
            }
            Ok(events)
        })
    }

    /// Lays out what a person hands over with later words, and returns that as an event; nothing where it is nothing.
    fn attach(
        &self,
        id: u64,
        words: Option<&str>,
        files: Vec<Attachment>,
    ) -> Result<Option<Event>, EngineError> {
        if files.is_empty() {
            return Ok(None);
        }
        let task = self.task(id)?;
        // Nothing is laid out for words that cannot be said.
        said(&task, words).map_err(|why| EngineError::Not { task: id, why })?;
        is_own(&task)?;
        let given = Place::of(&self.home, task.first()).given();
        let (files, told) = attached::add(files, task.attached(), self.store.blobs(), &given, &task.rung)?;
        // Who is yet to begin is told of all of it then.
        Ok(Some(Event::Attached { files, told: task.is_equipped().then_some(told) }))
    }

    /// Sets what a task may cost, and what it was told that all tasks may cost in 24 hours; an absent one stays.
    pub fn budget(&self, id: u64, task: Option<Budget>, day_usd: Option<Usd>) -> Result<(), EngineError> {
        let (task_usd, unlimited) = match task {
            Some(Budget::UpTo(usd)) => (Some(usd), false),
            Some(Budget::Unlimited) => (None, true),
            None => (None, false),
        };
        self.append(id, |task| match &task.phase {
            Phase::Discarded => Err("was discarded"),
            _ if task.cleared => Err(CLEARED),
            _ => Ok(vec![Event::Budgeted { task_usd, day_usd, unlimited }]),
        })
    }

    /// Has the conversation with the model cut short before the next request.
    pub fn compact(&self, id: u64) -> Result<(), EngineError> {
        self.append(id, |task| match &task.phase {
            Phase::Discarded => Err("was discarded"),
            _ if task.cleared => Err(CLEARED),
            _ if task.step == 0 => Err("has no conversation yet"),
            _ => Ok(vec![Event::CompactWanted {}]),
        })
    }

    /// Returns what all tasks together spent in the last 24 hours.
    pub fn spent(&self) -> Result<Usd, EngineError> {
        Ok(self.store.spent()?.spent)
    }

    pub fn pause(&self, id: u64) -> Result<(), EngineError> {
        self.append(id, |task| match &task.phase {
            Phase::Working => Ok(vec![Event::Paused { why: quire_core::event::Why::Person }]),
            Phase::Waiting(_) => Ok(vec![]),
            _ => Err("is not at work"),
        })
    }

    /// Answers the question of that number; `once`: a yes that holds until the turn ends. The same answer again changes nothing.
    pub fn answer(&self, id: u64, reach: u32, allow: bool, once: bool) -> Result<(), EngineError> {
        self.append(id, |task| match task.reaches.get(reach as usize) {
            _ if task.phase == Phase::Discarded => Err("was discarded"),
            None => Err("did not ask that"),
            Some(asked) if (asked.allow, asked.once) == (Some(allow), once) => Ok(vec![]),
            Some(_) => Ok(vec![Event::ReachAnswered { reach, allow, once }]),
        })
    }

    /// Answers questions of the agent's by their numbers; `None` takes what it assumes. All are answered or none, and the same
    /// answer again changes nothing.
    pub fn answer_agent(&self, id: u64, answers: &[(u32, Option<String>)]) -> Result<(), EngineError> {
        self.append(id, |task| {
            let mut events = vec![];
            for (question, answer) in answers {
                let asking = match task.asking(*question) {
                    _ if task.phase == Phase::Discarded => return Err("was discarded"),
                    _ if task.cleared => return Err(CLEARED),
                    _ if task.is_being_written() => return Err(WRITTEN),
                    None => return Err("did not ask that"),
                    Some(asking) => asking,
                };
                let assumed = asking.question.default.as_deref();
                let Some(answer) = answer.as_deref().or(assumed).filter(|answer| !answer.trim().is_empty())
                else {
                    return Err("assumes nothing there, so only you can say it");
                };
                if asking.answer.as_deref() != Some(answer) {
                    events.push(Event::QuestionAnswered { question: *question, answer: answer.to_owned() });
                }
            }
            Ok(events)
        })
    }

    /// Lets a waiting task go on, on `model` where one is given. A plan that waits is agreed to as it stands.
    pub fn resume(&self, id: u64, model: Option<Model>) -> Result<(), EngineError> {
        self.go_on(id, model, None)
    }

    /// Agrees to a plan that waits, as its person edited it.
    pub fn agree(&self, id: u64, plan: &str, model: Option<Model>) -> Result<(), EngineError> {
        self.go_on(id, model, Some(plan))
    }

    fn go_on(&self, id: u64, model: Option<Model>, plan: Option<&str>) -> Result<(), EngineError> {
        self.append(id, |task| {
            let agreed = match (task.plan_to_review(), plan) {
                (Some(draft), edited) => {
                    let plan = edited.unwrap_or(draft);
                    if task.may_agree(plan).is_err() {
                        return Err("has no plan that can be agreed to: it is empty, or longer than 32 kB");
                    }
                    Some(Event::PlanAgreed { plan: plan.to_owned() })
                }
                (None, Some(_)) => return Err("has no plan that waits"),
                (None, None) => None,
            };
            match &task.phase {
                Phase::Working => Ok(vec![]),
                _ if task.is_being_written() => Err(WRITTEN),
                Phase::Waiting(_) => match (&task.charter.model, &model) {
                    (None, None) => Err("has no model yet; name one with -m"),
                    _ => Ok(agreed.into_iter().chain([Event::Resumed { model: model.clone() }]).collect()),
                },
                Phase::Ready | Phase::Accepted => Err("is done; `quire revise` begins its next turn"),
                Phase::Discarded => Err("was discarded"),
            }
        })
    }

    /// Drops a task. Its log stays; its sandbox's layers go. What was accepted of it before stays in the folders.
    pub fn discard(&self, id: u64) -> Result<(), EngineError> {
        let mut working = false;
        self.append(id, |task| {
            working = task.phase == Phase::Working;
            if task.phase == Phase::Discarded {
                return Ok(vec![]);
            }
            if task.cleared {
                return Err(CLEARED);
            }
            if task.is_being_written() {
                return Err(WRITTEN);
            }
            if task.phase == Phase::Accepted && !task.is_part() {
                return Err("is in your folder; undo it first, then discard it");
            }
            Ok(vec![Event::Discarded {}])
        })?;
        if !working {
            let begun = Instant::now();
            // The sandbox of a turn that ended just now may still be leaving, or its driver be clearing up as well.
            let lends = self.lent()?.contains(&id);
            let mut cleared = self.place(id).clear(lends);
            while cleared.is_err() && begun.elapsed() < LEAVING_MAX {
                std::thread::sleep(Duration::from_millis(20));
                cleared = self.place(id).clear(lends);
            }
            cleared.map_err(|why| EngineError::Home { path: self.home.clone(), why })?;
        }
        Ok(())
    }

    /// Returns the last version as a person reviews it.
    pub fn review(&self, id: u64) -> Result<Review, EngineError> {
        let task = self.task(id)?;
        let version = self.reviewable(&task)?;
        let frozen = self.frozen(&task)?;
        let entries = load_snapshot(&self.store, &version.snapshot)?.entries;
        let mut renames = renames(&entries);
        let gone: HashSet<(u32, RelPath)> =
            renames.iter().map(|((folder, _), from)| (*folder, from.clone())).collect();
        let (mut files, mut left) = (vec![], REVIEWED_BYTES_MAX);
        let programs = Programs::of(&task.charter.folders, &entries);
        for entry in entries.iter().filter(|e| !gone.contains(&(e.folder, e.path.clone()))) {
            let (was, now) = self.contents(&frozen, entry, COMPARED_BYTES_MAX.min(left))?;
            let held = |content: &Content| content.as_ref().map_or(0, Vec::len) as u64;
            left = left.saturating_sub(held(&was) + held(&now));
            let mut file = FileChange::of(entry, was.as_deref(), now.as_deref());
            file.linked = is_linked(&task, entry);
            file.runs = file.runs.or_else(|| programs.here(entry));
            if let Some(from) = renames.remove(&(entry.folder, entry.path.clone())) {
                file.rename(from);
            }
            files.push(file);
        }
        let left_out = (0u32..).zip(&frozen).flat_map(|(folder, frozen)| {
            let left = frozen.left_out.iter();
            left.map(move |left| LeftOut { folder, path: left.path.clone(), why: left.why.clone() })
        });
        let left_out = left_out.chain(beside::left_out(&frozen));
        let left_out = left_out.collect();
        let hide = hidden(&task.charter.sandbox.hide, &self.home);
        let in_git =
            (0u32..).zip(task.charter.folders.iter().zip(&frozen)).flat_map(|(folder, (at, frozen))| {
                let kept = tracked::among(at, &folder_secrets(&frozen.view(at), &hide));
                kept.into_iter().map(move |path| InGit { folder, path, up: 0 })
            });
        let around = beside::around(&task.charter.folders, &frozen, &hide).into_iter().flat_map(|around| {
            let (folder, up) = (around.folder as u32, around.up);
            around.secrets.into_iter().map(move |path| InGit { folder, path, up })
        });
        let in_git = in_git.chain(around).collect();
        let without_git = crate::in_git::without_git(&task);
        let only_agents = crate::in_git::only_agents(&task, &version.apart);
        let moved = live::moved(self.place(id).dir()).map_err(SnapshotError::Layer)?;
        let shown = |path: &PathBuf| {
            let mut folders = (0u32..).zip(&task.charter.folders);
            match folders.find_map(|(n, folder)| Some((n, path.strip_prefix(folder).ok()?))) {
                Some((n, inner)) => versions::prefix(&task, n) + &escape(inner.as_os_str().as_bytes()),
                None => escape(path.as_os_str().as_bytes()),
            }
        };
        let moved = moved.iter().map(|path| Moved { path: shown(path), system: live::is_system(path) });
        let moved = moved.collect();
        let drift = self.drift(&task)?;
        let notes = self.notes(id)?;
        let gone = self.gone(&task, &version, &entries);
        Ok(Review {
            left_out,
            in_git,
            without_git,
            only_agents,
            moved,
            drift,
            notes,
            gone,
            ..Review::of(&task, &version, files)
        })
    }

    /// Returns the last version's changes as one unified diff; those since an earlier one where that is named.
    pub fn diff(&self, id: u64, since: Option<u32>) -> Result<Vec<u8>, EngineError> {
        let task = self.task(id)?;
        if let Some(since) = since {
            return self.diff_since(&task, since);
        }
        let version = self.reviewable(&task)?;
        let frozen = self.frozen(&task)?;
        let mut whole = vec![];
        for entry in load_snapshot(&self.store, &version.snapshot)?.entries {
            let (was, now) = self.contents_to_diff(&frozen, &entry)?;
            let prefix = versions::prefix(&task, entry.folder);
            let (was, now) = (was.unwrap_or_default(), now.unwrap_or_default());
            whole.extend(diff::unified(&prefix, &entry, &was, &now));
        }
        Ok(whole)
    }

    /// Returns the last version as a person reviews it who has seen version `since`: only what changed from there.
    pub fn review_since(&self, id: u64, since: u32) -> Result<Review, EngineError> {
        let mut review = self.review(id)?;
        review.notes.retain(|note| note.is_news(since));
        Ok(Review { files: self.files_since(id, since)?, since: Some(since), ..review })
    }

    /// Returns what changed from version `since` to the last one.
    pub fn files_since(&self, id: u64, since: u32) -> Result<Vec<FileChange>, EngineError> {
        let task = self.task(id)?;
        let changed = self.changes_since(&task, since)?;
        let entries: Vec<Entry> = changed.iter().map(|(entry, ..)| entry.clone()).collect();
        let programs = Programs::of(&task.charter.folders, &entries);
        let file = |(entry, was, now): &Changed| {
            let file = FileChange::of(entry, was.as_deref(), now.as_deref());
            FileChange { runs: file.runs.or_else(|| programs.here(entry)), ..file }
        };
        Ok(changed.iter().map(file).collect())
    }

    fn conclude(&mut self, id: u64, number: u32, undo: bool, outcome: Outcome) {
        // Where the disk is full, what needs no writing has to be there: to see what could be cleared away.
        if let Err(error) = self.log_end(id, number, undo, conclusion(number, undo, &outcome)) {
            return self.leave(id, undo, format!("how it ended cannot be written down: {error}"));
        }
        if let Ok(task) = self.store.task(id) {
            drop(NewFolder::of(&task.charter));
        }
        let after = matches!(outcome, Outcome::After(_));
        self.recovered.push(Recovered { task: id, accept: number, undo, after });
    }

    fn leave(&mut self, task: u64, undo: bool, why: String) {
        self.unended.push(Unended { task, undo, why });
    }

    /// Connects to the host, which is started where none runs.
    pub async fn link(&self) -> Result<Link, EngineError> {
        Ok(Link::to_host(&self.home, &self.log).await?)
    }

    /// Connects to the host if one runs.
    pub async fn running_host(&self) -> Option<Link> {
        Some(Link::connect(&self.home, &self.log).await?.0)
    }

    /// Is the host, until told to stop; see [`host::run`].
    pub async fn host(&self, leaves: bool, page: Option<OpenPage>) -> Result<(), EngineError> {
        Ok(host::run(self.store.clone(), &self.home, &self.log, leaves, page).await?)
    }

    /// Appends what `events` makes of the task as it stands; a task that moved on meanwhile is looked at again.
    pub(crate) fn append(
        &self,
        id: u64,
        mut events: impl FnMut(&Task) -> Result<Vec<Event>, &'static str>,
    ) -> Result<(), EngineError> {
        loop {
            let task = self.store.task(id)?;
            let events = events(&task).map_err(|why| EngineError::Not { task: id, why })?;
            if events != [Event::Discarded {}] {
                is_own(&task)?;
            }
            if events.is_empty() {
                return Ok(());
            }
            match self.store.append(id, task.seq, Writer::Person, events).wait() {
                Ok(_) => return Ok(()),
                Err(AppendError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(crate) fn reviewable(
        &self,
        task: &Task,
    ) -> Result<std::sync::Arc<quire_core::task::Version>, EngineError> {
        match (task.version(), &task.phase) {
            (_, Phase::Discarded) => Err(EngineError::Not { task: task.id, why: "was discarded" }),
            _ if task.cleared => Err(EngineError::Not { task: task.id, why: CLEARED }),
            (Some(version), _) => Ok(version.clone()),
            (None, _) if task.charter.purpose == Purpose::Answer => {
                Err(EngineError::Not { task: task.id, why: "answers a question; it has no version" })
            }
            (None, _) => Err(EngineError::Not { task: task.id, why: "has no version to review yet" }),
        }
    }

    pub(crate) fn frozen(&self, task: &Task) -> Result<Vec<Frozen>, EngineError> {
        // What another place's task stood on did not come with it.
        let own = task.bases.as_deref().filter(|_| task.imported_from().is_none());
        Ok(beside::open(&self.home, own.unwrap_or_default())?)
    }

    /// Returns what a file held and holds; `None` where that is no file, or longer than `most`.
    pub(crate) fn contents(
        &self,
        frozen: &[Frozen],
        entry: &Entry,
        most: u64,
    ) -> Result<(Content, Content), EngineError> {
        let was = match &entry.was {
            Some(Node::File { blob, bytes, .. }) if *bytes <= most && frozen.is_empty() => {
                self.store.blobs().get(blob).ok()
            }
            Some(Node::File { bytes, .. }) if *bytes <= most => {
                let base = frozen.get(entry.folder as usize);
                let file = base.map(|base| snapshot::old_content(base, &entry.path)).transpose();
                let mut content = vec![];
                if let Some(mut file) = file.map_err(SnapshotError::Layer)?.flatten() {
                    file.read_to_end(&mut content).map_err(SnapshotError::Layer)?;
                }
                Some(content)
            }
            _ => None,
        };
        let now = match &entry.now {
            // Where the mode alone changed, the content is the base's, and a snapshot does not store it again.
            Some(Node::File { blob, .. }) if matches!(&entry.was, Some(Node::File { blob: b, .. }) if b == blob) => {
                was.clone()
            }
            Some(Node::File { blob, bytes, .. }) if *bytes <= most => Some(self.store.blobs().get(blob)?),
            _ => None,
        };
        Ok((was, now))
    }

    /// Returns the whole of a file's contents, but for those of which a diff says no more than that they differ.
    fn contents_to_diff(&self, frozen: &[Frozen], entry: &Entry) -> Result<(Content, Content), EngineError> {
        let bytes = |node: &Option<Node>| match node {
            Some(Node::File { bytes, .. }) => *bytes,
            _ => 0,
        };
        if bytes(&entry.was).max(bytes(&entry.now)) <= COMPARED_BYTES_MAX {
            return self.contents(frozen, entry, u64::MAX);
        }
        let start = |from: &mut dyn Read| {
            let mut start = vec![];
            from.take(diff::BINARY_LOOK_BYTES as u64)
                .read_to_end(&mut start)
                .map_err(SnapshotError::Layer)?;
            Ok::<_, EngineError>(diff::is_binary(&start))
        };
        let mut binary = false;
        if let (Some(Node::File { .. }), Some(base)) = (&entry.was, frozen.get(entry.folder as usize)) {
            let file = snapshot::old_content(base, &entry.path).map_err(SnapshotError::Layer)?;
            binary |= file.map(|mut file| start(&mut file)).transpose()?.unwrap_or(false);
        }
        let same = matches!((&entry.was, &entry.now),
            (Some(Node::File { blob: was, .. }), Some(Node::File { blob: now, .. })) if was == now);
        if let (Some(Node::File { blob, .. }), false) = (&entry.now, same) {
            binary |= start(&mut self.store.blobs().open(blob)?)?;
        }
        match (binary, same) {
            (false, _) => self.contents(frozen, entry, u64::MAX),
            (true, true) => Ok((None, None)),
            // Any two that are no text and not the same.
            (true, false) => Ok((Some(vec![0]), Some(vec![0, 0]))),
        }
    }

    pub(crate) fn place(&self, id: u64) -> Place {
        Place::of(&self.home, id)
    }
}

/// Returns whether the file that a version changes has other names on the person's machine.
fn is_linked(task: &Task, entry: &Entry) -> bool {
    let folder = task.charter.folders.get(entry.folder as usize);
    let at = folder.map(|folder| folder.join(OsStr::from_bytes(entry.path.as_bytes())));
    let is_file = matches!((&entry.was, &entry.now), (Some(Node::File { .. }), Some(Node::File { .. })));
    let found = at.filter(|_| is_file).and_then(|at| std::fs::symlink_metadata(at).ok());
    found.is_some_and(|meta| meta.is_file() && meta.nlink() > 1)
}

/// Returns the event of words that are said to a task, or why it takes none.
fn said(task: &Task, words: Option<&str>) -> Result<Event, &'static str> {
    match (task.notes_told(words), words) {
        _ if task.phase == Phase::Discarded => Err("was discarded"),
        _ if task.cleared => Err(CLEARED),
        _ if task.is_being_written() => Err(WRITTEN),
        (Some((notes, words)), _) => Ok(Event::NotesSent { notes, words }),
        (None, Some(words)) => Ok(Event::Said { words: words.to_owned() }),
        (None, None) => Err("has no note that is not sent"),
    }
}

fn has_one_of(task: &Task, files: &[Attachment]) -> bool {
    files.iter().any(|file| task.attached().iter().any(|known| known.name == file.name))
}

/// Refuses what would go on with a task of another place. Dropping one needs no more than what [`Quire::discard`] does.
pub(crate) fn is_own(task: &Task) -> Result<(), EngineError> {
    match task.imported_from() {
        None => Ok(()),
        Some(_) => Err(EngineError::Not {
            task: task.id,
            why: "is a record of another place's task; it can be read",
        }),
    }
}

fn conclusion(accept: u32, undo: bool, outcome: &Outcome) -> Event {
    let why = "quire was ended while it wrote; everything is as it was before".to_owned();
    match (outcome, undo) {
        (Outcome::After(_), false) => Event::Accepted { accept },
        (Outcome::After(_), true) => Event::Undone { accept },
        (Outcome::Before { .. }, false) => Event::AcceptFailed { accept, why },
        (Outcome::Before { .. }, true) => Event::UndoFailed { accept, why },
    }
}
