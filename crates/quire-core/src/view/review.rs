//! A version as a person reviews it, and what became of it in the real folder.

use crate::bytes::RelPath;
use crate::bytes::{Hash, escape};
use crate::change::unseen::{Unseen, unseen};
use crate::change::{Entry, Node, generated, interfaces, programs};
use crate::charter::CheckSpec;
use crate::diff::{self, Hunk};
use crate::event::{Apart, Before, Connection, Conventions, Proof, Shot, Why};
use crate::secret;
use crate::task::{AcceptState, Needed, Phase, Reviewed, Serving, StandIn, Task, Version};
use crate::view::in_git::{ONLY_COMMITTED, has_committed};
use crate::view::looked::{LookRow, not_looked};
use crate::view::{self, AgentQuestion, Brief, Cost, DriftRow, Fit, GitRow, Mark, NoteRow, WithoutGit};
use serde::Serialize;
use std::path::PathBuf;

/// The last version of a task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Review {
    pub task: u64,
    pub title: String,
    pub mark: Mark,
    pub state: String,
    pub version: u32,
    /// The earlier version that it is again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub again: Option<u32>,
    /// What the person changed themself to make it of the version before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub edited: Vec<String>,
    /// The task was taken back to where it stood after this step, of which no version was shown; accept takes this one still.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stands_after: Option<u32>,
    /// The changes are those since this version, and not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<u32>,
    pub worked_ms: u64,
    pub tokens: u64,
    #[serde(flatten)]
    pub cost: Cost,
    /// What the model says of it, and what quire saw of that.
    #[serde(flatten)]
    pub brief: Brief,
    /// Models that were asked because another did not answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stand_ins: Vec<StandIn>,
    /// What a reviewer says of it; absent: none was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reviewer: Option<Reviewed>,
    /// What the agent looked at as a person would.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub looked: Vec<LookRow>,
    /// What there is to look at, where it looked at nothing as it is now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_looked: Vec<String>,
    /// What quire ran itself; empty: nothing was checked.
    pub checks: Vec<CheckRow>,
    pub files: Vec<FileChange>,
    pub apart: Apart,
    /// What is less than usual about the sandbox that it was made in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weak: Option<String>,
    /// What of person and folder the model was told.
    #[serde(skip_serializing_if = "Conventions::is_empty")]
    pub conventions: Conventions,
    /// What the private copy did not have, so that the task never saw it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// What was hidden, and could be read all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub in_git: Vec<InGit>,
    /// Folders in which git did not work for the agent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without_git: Vec<WithoutGit>,
    /// Git directories that only the agent has, each with its folder's number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only_agents: Vec<(u32, String)>,
    /// What the task saw live and is not as it was when the task began.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub moved: Vec<Moved>,
    /// A record of another place's task, which can only be read.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub imported: bool,
    /// What was accepted, and is not in the person's folder any more, though nothing was undone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<RelPath>,
    /// Where the person changed what the version changes, in their folder as it is now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<DriftRow>,
    /// How it can be tried in a browser, as the model says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serving: Option<Serving>,
    /// What its agent assumed, because nobody answered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assumed: Vec<AgentQuestion>,
    /// What its person remarked, and what became of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<NoteRow>,
    /// How often it needed its person.
    pub needed_you: Needed,
    /// What the task reached or tried to, all its turns together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reached: Vec<Connection>,
    /// The task's own, for where there are several.
    #[serde(skip)]
    pub folders: Vec<PathBuf>,
    /// Names exactly these files, for `accept --seen`.
    pub seen: Hash,
    pub taken: Taken,
}

/// A path of a folder that could not be copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Index into the task's folders.
    pub folder: u32,
    pub path: RelPath,
    pub why: String,
}

/// A hidden file of a folder whose content git keeps as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InGit {
    /// Index into the task's folders.
    pub folder: u32,
    pub path: RelPath,
    /// How many directories above the folder the path begins: of the rest of a working tree only git shows something.
    #[serde(skip_serializing_if = "is_zero")]
    pub up: u32,
}

fn is_zero(up: &u32) -> bool {
    *up == 0
}

/// Something of the machine that a task sees as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// Relative to its folder where it lies in one; escaped as [`RelPath`] is.
    pub path: String,
    /// Installed packages; else an ignored directory.
    pub system: bool,
}

/// Whether the version is in the real folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Taken {
    No,
    Part,
    Whole,
    /// An earlier version is, or a part of one.
    Earlier,
}

impl Review {
    pub fn of(task: &Task, version: &Version, files: Vec<FileChange>) -> Review {
        let checks = version.checks.iter().enumerate();
        let checks = checks.map(|(n, spec)| CheckRow::of(spec, version.proofs.get(n).map(AsRef::as_ref)));
        let checks: Vec<CheckRow> = checks.collect();
        let looked = LookRow::of(version);
        let accept = task.last_accept().map(|n| &task.accepts[n]);
        Review {
            task: task.id,
            title: task.title(),
            mark: view::mark(task),
            state: view::state(task),
            version: version.number,
            again: version.again,
            edited: version.edited.iter().map(|part| part.path.to_string()).collect(),
            stands_after: match task.phase {
                Phase::Waiting(Why::Rewound { step }) => Some(step),
                _ => None,
            },
            since: None,
            worked_ms: task.worked_ms,
            stand_ins: task.stand_ins().to_vec(),
            tokens: task.spending().tokens,
            cost: Cost::of(task),
            brief: Brief::of(&task.without_notes(version), &checks),
            reviewer: version.reviewed.as_deref().cloned(),
            not_looked: not_looked(&files, &looked),
            looked,
            checks,
            files,
            apart: (*version.apart).clone(),
            weak: task.weak.clone(),
            conventions: (*task.conventions).clone(),
            left_out: vec![],
            in_git: vec![],
            without_git: vec![],
            only_agents: vec![],
            moved: vec![],
            imported: task.imported_from().is_some(),
            gone: vec![],
            drift: vec![],
            serving: version.serving.as_deref().cloned(),
            assumed: view::assumed(task),
            notes: vec![],
            needed_you: task.needed,
            reached: task.reached.to_vec(),
            folders: task.charter.folders.clone(),
            seen: version.snapshot,
            taken: match accept {
                None => Taken::No,
                Some(accept) if accept.snapshot != version.snapshot => Taken::Earlier,
                Some(accept) if accept.is_whole() => Taken::Whole,
                Some(accept) => {
                    debug_assert_eq!(accept.state, AcceptState::Done);
                    Taken::Part
                }
            },
        }
    }

    /// Returns (lines added, lines removed) in all files.
    pub fn lines(&self) -> (usize, usize) {
        self.files.iter().fold((0, 0), |(a, r), file| (a + file.added, r + file.removed))
    }

    /// Returns whether there is something to be tried in a browser, as far as can be seen from what changed.
    pub fn is_for_a_browser(&self) -> bool {
        let page = |file: &FileChange| file.path.to_string().ends_with(".html");
        self.serving.is_some() || self.files.iter().any(page)
    }

    /// Returns where it stands, to follow its name: `is ready`, `says done, but 1 of 6 checks failed`.
    pub fn standing(&self) -> String {
        if self.state.starts_with("says ") { self.state.clone() } else { format!("is {}", self.state) }
    }

    /// Returns whether a check was run and failed.
    pub fn fails(&self) -> bool {
        self.checks.iter().any(|check| check.passed == Some(false) && !check.as_before)
    }

    /// Returns what is to be known first of a task that was taken back to where there is no version.
    pub fn stands_text(&self) -> Option<String> {
        let step = self.stands_after?;
        Some(format!(
            "The task was taken back to after step {step}, which you have not been shown: this is version {0}, the last one that you were, \
             and accept takes version {0}. To have a version of where it stands: quire resume {1}",
            self.version, self.task
        ))
    }

    /// Returns what is to be known of a version that its person made themself.
    pub fn edited_text(&self) -> Option<String> {
        let (first, more) = self.edited.split_first()?;
        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        let version = self.again.unwrap_or(self.version);
        Some(format!(
            "You changed {first}{more} yourself, which made version {version}. What is told of it is the agent's word of the version \
             before; the checks ran on yours."
        ))
    }

    /// Returns whether there is something to be read, and nothing to be accepted.
    pub fn is_answer(&self) -> bool {
        self.files.is_empty() && !self.has_only_committed()
    }

    /// Returns whether its agent changed no file, and committed in git what accept brings.
    pub fn has_only_committed(&self) -> bool {
        self.files.is_empty() && self.since.is_none() && !self.imported && has_committed(&self.apart)
    }

    /// Returns how much changed: `2 files, +9 -4`, or `Nothing changed`.
    pub fn extent(&self) -> String {
        if self.has_only_committed() {
            return ONLY_COMMITTED.to_owned();
        }
        if self.files.is_empty() {
            return "Nothing changed".to_owned();
        }
        let folders = self.files.iter().filter(|file| file.shape == Shape::Folder).count();
        let files = counted(self.files.len() - folders, folders);
        match self.lines() {
            (0, 0) => files,
            (added, removed) => format!("{files}, {}", plus_minus(added, removed)),
        }
    }

    /// Returns whether the real folder changed, as a sentence.
    pub fn folder_text(&self) -> &'static str {
        self.folder_text_with(&self.drift)
    }

    /// The same where `drift` is newer than what the review was made with.
    pub fn folder_text_with(&self, drift: &[DriftRow]) -> &'static str {
        match self.taken {
            _ if self.imported => {
                "It is a record of another place's task: it can be read, and nothing of it is in a folder here."
            }
            _ if !self.gone.is_empty() => "Of what you accepted, something is not in your folder any more.",
            Taken::No if drift.iter().any(|row| row.fit != Fit::Merges) => {
                "You changed your folder, and not all of this fits any more."
            }
            Taken::No if !drift.is_empty() => "You changed your folder; all of this fits.",
            Taken::No => "Your folder has not changed.",
            Taken::Part => "Part of it is in your folder.",
            Taken::Whole => "It is in your folder.",
            Taken::Earlier => "An earlier version is in your folder.",
        }
    }

    /// Returns a path of the version's as the person names it, and `accept` takes it: below its folder's name where there are several.
    pub fn named(&self, folder: u32, path: &RelPath) -> String {
        format!("{}{path}", self.before_path(folder))
    }

    /// Returns a path that is kept with its folder's number before it, as the person names it.
    pub fn named_apart(&self, path: &str) -> String {
        let parts = path.split_once('/').and_then(|(folder, rest)| Some((folder.parse().ok()?, rest)));
        parts.map_or_else(|| path.to_owned(), |(folder, rest)| format!("{}{rest}", self.before_path(folder)))
    }

    /// Returns what stands before a path of a folder's: nothing where there is but one.
    pub(super) fn before_path(&self, folder: u32) -> String {
        match self.folders.get(folder as usize).and_then(|folder| folder.file_name()) {
            Some(name) if self.folders.len() > 1 => format!("{}/", name.to_string_lossy()),
            _ => String::new(),
        }
    }
}

/// Returns what became of a review, in a line: `lab/b found 2 things, 1 still open`.
pub fn reviewed_text(reviewed: &Reviewed) -> String {
    let Reviewed { by, not_reviewed, open, mended } = reviewed;
    let found = view::count((open.len() + mended) as u64, "thing");
    match (not_reviewed, open.len(), mended) {
        (Some(why), 0, _) => format!("not reviewed by {by}: {why}"),
        (Some(why), ..) => format!("{by} found {found} before, and did not look again: {why}"),
        (None, 0, 0) => format!("{by} found nothing"),
        (None, _, 0) => format!("{by} found {found}"),
        (None, 0, _) => format!("{by} found {found}, and finds them mended"),
        (None, open, _) => format!("{by} found {found}, {open} still open"),
    }
}

/// Returns `2 files`, `1 folder`, `2 files and 1 folder`.
fn counted(files: usize, folders: usize) -> String {
    match (view::count(files as u64, "file"), view::count(folders as u64, "folder")) {
        (counted, _) if folders == 0 => counted,
        (_, counted) if files == 0 => counted,
        (files, folders) => format!("{files} and {folders}"),
    }
}

pub(super) fn plus_minus(added: usize, removed: usize) -> String {
    match (added, removed) {
        (added, 0) => format!("+{added}"),
        (0, removed) => format!("-{removed}"),
        (added, removed) => format!("+{added} -{removed}"),
    }
}

/// A check and its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckRow {
    pub name: String,
    pub command: String,
    /// Absent: it was not run, or says nothing.
    pub passed: Option<bool>,
    /// `passes`, `passes, but: ...`, `fails (exit 1)`, `not checked`.
    pub outcome: String,
    /// It passes with reservations, which are in the outcome.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub doubted: bool,
    /// It fails, and failed in the same way before the task.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub as_before: bool,
    pub millis: u64,
    /// What the command said, bounded.
    pub output: String,
    /// How the page looks that it opened.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shots: Vec<Shot>,
}

impl CheckRow {
    pub fn of(spec: &CheckSpec, proof: Option<&Proof>) -> CheckRow {
        CheckRow {
            name: spec.name.clone(),
            command: spec.command.clone(),
            passed: proof.filter(|p| p.unable.is_none()).map(|p| p.passed),
            outcome: proof.map_or_else(|| "not checked: nothing changed".to_owned(), outcome),
            doubted: proof.is_some_and(|p| !p.buts.is_empty()),
            as_before: proof.is_some_and(Proof::fails_as_before),
            millis: proof.map_or(0, |p| p.millis),
            output: proof.map_or_else(String::new, |p| p.output.clone()),
            shots: proof.map_or_else(Vec::new, |p| p.shots.clone()),
        }
    }

    pub fn symbol(&self) -> char {
        symbol(self.passed, self.doubted)
    }
}

/// Returns the shape of what passed, passed in doubt, failed, or was not checked.
pub(super) fn symbol(passed: Option<bool>, doubted: bool) -> char {
    match passed {
        Some(true) if doubted => '⚑',
        Some(true) => '✓',
        Some(false) => '✗',
        None => '○',
    }
}

pub(super) fn outcome(proof: &Proof) -> String {
    let plain = match (proof.passed, proof.exit) {
        (true, _) => "passes".to_owned(),
        (false, Some(exit)) => format!("fails (exit {exit})"),
        (false, None) => "fails (it did not end)".to_owned(),
    };
    if let Some(why) = &proof.unable {
        return format!("not checked: {why}");
    }
    let further = match (&proof.before, proof.old_code_fails) {
        (Some(Before { passed: true, .. }), _) => "; it passed before",
        (Some(Before { same: true, failed: Some(1), .. }), _) => ", as before (1 failed)",
        (Some(Before { same: true, failed: Some(failed), .. }), _) if *failed > 0 => {
            return format!("{plain}, as before ({failed} failed)");
        }
        (Some(Before { same: true, .. }), _) => ", as before",
        (Some(Before { failed: Some(failed), .. }), _) if *failed > 0 => {
            return format!("{plain}; {failed} failed before too");
        }
        (Some(_), _) => "; it failed before too",
        (None, Some(true)) => "; the old code fails the new tests",
        (None, Some(false)) => "; the old code passes the new tests too",
        (None, None) => "",
    };
    if proof.buts.is_empty() {
        format!("{plain}{further}")
    } else {
        format!("{plain}, but: {}", proof.buts.join("; "))
    }
}

/// A path that a version changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// Index into the task's folders.
    pub folder: u32,
    pub path: RelPath,
    pub fate: Fate,
    pub shape: Shape,
    pub added: usize,
    pub removed: usize,
    /// No text, before or after: there are no hunks.
    pub binary: bool,
    /// Too large to be compared line by line here: there are no hunks. `review --diff` has it all.
    pub large: bool,
    /// Present where it changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executable: Option<bool>,
    /// The permissions before and now, in octal, where they are otherwise in more than that the file can be run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modes: Option<[String; 2]>,
    /// Of a link, as it is now; escaped as [`RelPath`] is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The file's size now, or before it was deleted.
    pub bytes: u64,
    /// Added lines that hold what looks like a secret. Only in text that is compared line by line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretLine>,
    /// Where it was before, with the same content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<RelPath>,
    /// A lock file, or marked as written by a program.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub generated: bool,
    /// Present where it can make something run on the person's machine: when. Accept asks for these apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs: Option<&'static str>,
    /// Names that it offers to the outside, and that are gone or have another form.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<String>,
    /// Characters in its name or its added lines that are not seen, or taken for others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<Unseen>,
    /// The file in the person's folder has other names, which accept leaves with the content that they have.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub linked: bool,
    /// Names what stands at the path now, whatever stood there before: with any other content, mode or target it is another.
    #[serde(skip)]
    pub identity: Hash,
    /// Lines of the file now, where it is compared.
    #[serde(skip)]
    pub now_lines: usize,
    pub hunks: Vec<Hunk>,
}

/// Returns what names a path with what stands there now.
fn identity(entry: &Entry) -> Hash {
    let named = serde_json::to_vec(&(entry.folder, &entry.path, &entry.now));
    Hash::of(&named.expect("a change is plain data"))
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecretLine {
    /// In the file as it is now, from 1.
    pub line: usize,
    /// In words, such as `GitHub token`.
    pub kind: &'static str,
}

/// Returns what looks like a secret in added lines.
fn secrets(hunks: &[Hunk]) -> Vec<SecretLine> {
    let mut found = vec![];
    for hunk in hunks {
        let now = hunk.lines.iter().filter(|line| line.kind != diff::Kind::Removed);
        for (line, number) in now.zip(hunk.now_start..) {
            if line.kind == diff::Kind::Added
                && let Some(kind) = secret::first_by_form(&line.text)
            {
                found.push(SecretLine { line: number, kind });
            }
        }
    }
    found
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    New,
    Changed,
    Renamed,
    Deleted,
}

/// What stands at the path now, or stood there before it was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    File,
    Link,
    Folder,
}

impl FileChange {
    /// Returns the row of `entry`, whose contents were `was` and are `now`. The contents of anything but a file count as
    /// empty; those of a file that is `None` are too large to be compared here.
    pub fn of(entry: &Entry, was: Option<&[u8]>, now: Option<&[u8]>) -> FileChange {
        let content = |node: &Option<Node>, given: Option<&[u8]>| match node {
            Some(Node::File { .. }) => given.map(<[u8]>::to_vec),
            _ => Some(vec![]),
        };
        let (was, now) = (content(&entry.was, was), content(&entry.now, now));
        let large = was.is_none() || now.is_none();
        let (was, now) = (was.unwrap_or_default(), now.unwrap_or_default());
        let binary = !large && (diff::is_binary(&was) || diff::is_binary(&now));
        let hunks = if large || binary { vec![] } else { diff::hunks(entry.folder, &entry.path, &was, &now) };
        let (added, removed) = diff::counts(&hunks);
        let runs = |node: &Option<Node>| match node {
            Some(Node::File { mode, .. }) => Some(mode & 0o111 != 0),
            _ => None,
        };
        let executable = match (runs(&entry.was), runs(&entry.now)) {
            (was, Some(now)) if was.unwrap_or(false) != now => Some(now),
            _ => None,
        };
        let shown = entry.now.as_ref().or(entry.was.as_ref());
        let modes = match (&entry.was, &entry.now) {
            (Some(Node::File { mode: was, .. }), Some(Node::File { mode: now, .. }))
                if executable.is_none() =>
            {
                Some((was, now))
            }
            (Some(Node::Dir { mode: was }), Some(Node::Dir { mode: now })) => Some((was, now)),
            _ => None,
        };
        let modes = modes.filter(|(was, now)| was != now);
        FileChange {
            folder: entry.folder,
            path: entry.path.clone(),
            fate: match (&entry.was, &entry.now) {
                (None, _) => Fate::New,
                (_, None) => Fate::Deleted,
                _ => Fate::Changed,
            },
            shape: match shown {
                Some(Node::Link { .. }) => Shape::Link,
                Some(Node::Dir { .. }) => Shape::Folder,
                _ => Shape::File,
            },
            added,
            removed,
            binary,
            large,
            executable,
            modes: modes.map(|(was, now)| [format!("{was:03o}"), format!("{now:03o}")]),
            target: match &entry.now {
                Some(Node::Link { target }) => Some(escape(&target.0)),
                _ => None,
            },
            bytes: match shown {
                Some(Node::File { bytes, .. }) => *bytes,
                _ => 0,
            },
            secrets: secrets(&hunks),
            renamed_from: None,
            generated: generated::is_generated(&entry.path, &now),
            runs: entry.now.as_ref().and_then(|_| {
                programs::runs(&entry.path, (!large).then_some((was.as_slice(), now.as_slice())))
            }),
            interfaces: interfaces::changed(&entry.path, &hunks),
            unseen: unseen(&entry.path, &hunks),
            linked: false,
            identity: identity(entry),
            now_lines: if hunks.is_empty() { 0 } else { diff::lines(&now).len() },
            hunks,
        }
    }

    /// Makes the row of a file that came with the content of one that went from `from`, and of which nothing else is to be said.
    pub fn rename(&mut self, from: RelPath) {
        self.fate = Fate::Renamed;
        self.renamed_from = Some(from);
        (self.added, self.removed) = (0, 0);
        (self.secrets, self.hunks) = (vec![], vec![]);
        self.unseen.retain(|unseen| unseen.line.is_none());
    }

    /// Returns which permissions it has now and had before; empty where they are the same.
    pub fn modes_text(&self) -> String {
        self.modes.as_ref().map(|[was, now]| format!("mode {now}, was {was}")).unwrap_or_default()
    }

    /// Returns how much of it changed: `+6 -4`, `new, +12`, `deleted`, `new folder`, `changed, binary`.
    pub fn extent(&self) -> String {
        let fate = match self.fate {
            Fate::New => "new",
            Fate::Changed => "changed",
            Fate::Renamed => "renamed",
            Fate::Deleted => "deleted",
        };
        if let Some(from) = &self.renamed_from {
            return format!("renamed, was {from}");
        }
        let shape = match self.shape {
            Shape::File if self.binary => ", binary",
            Shape::File if self.large => ", large",
            Shape::File if self.executable == Some(true) => ", can be run",
            Shape::File if self.executable == Some(false) => ", can no longer be run",
            Shape::File => "",
            Shape::Link => " link",
            Shape::Folder => " folder",
        };
        let modes = self.modes.as_ref().map(|_| self.modes_text());
        match (self.fate, self.added, self.removed) {
            (Fate::Changed, ..) if self.shape == Shape::Folder && modes.is_some() => {
                format!("folder, {}", modes.unwrap_or_default())
            }
            (Fate::Changed, ..) if self.shape != Shape::File => format!("now a{shape}"),
            (Fate::Changed, 0, 0) if !self.binary && !self.large && modes.is_some() => {
                modes.unwrap_or_default()
            }
            (_, 0, 0) | (Fate::Deleted, ..) => format!("{fate}{shape}"),
            (Fate::New, added, removed) => format!("new{shape}, {}", plus_minus(added, removed)),
            (Fate::Changed | Fate::Renamed, added, removed) => {
                let modes = modes.map(|modes| format!(", {modes}")).unwrap_or_default();
                format!("{}{shape}{modes}", plus_minus(added, removed))
            }
        }
    }
}

/// What an accept or an undo did in the real folders, each file read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Written {
    pub task: u64,
    pub accept: u32,
    pub undo: bool,
    pub files: Vec<WrittenFile>,
    /// What was accepted before, and is not there any more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<RelPath>,
    /// Checks that ran again, on what was written; empty where it is what they had run on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckRow>,
    /// What was done in git beside it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub git: Vec<GitRow>,
    #[serde(skip)]
    pub folders: Vec<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WrittenFile {
    /// Index into the task's folders.
    pub folder: u32,
    pub path: RelPath,
    /// What the path underwent now: an undo deletes what its accept made new.
    pub fate: Fate,
    /// A folder, not a file, was made or deleted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_folder: bool,
    /// The person's own edits are in it beside the task's; after an undo, without the task's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub merged: bool,
    /// What of the person's gave way to the task's, and comes back by an undo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over: Option<Over>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// The lines that both had changed; their other edits are in it.
    Lines,
    /// All that stood at the path.
    Whole,
    /// Nothing: they had deleted what was there, or the folder that held it.
    Gone,
}

impl Written {
    fn gone_text(&self) -> String {
        const NAMED: usize = 5;
        let mut names: Vec<String> = self.gone.iter().take(NAMED).map(RelPath::to_string).collect();
        if self.gone.len() > NAMED {
            names.push(format!("and {} more", self.gone.len() - NAMED));
        }
        match names.is_empty() {
            true => String::new(),
            false => format!(
                " Not there any more, because somebody removed it since you accepted it: {}. To have it again: quire undo {task}, then quire \
                 accept {task}.",
                names.join(", "),
                task = self.task
            ),
        }
    }

    /// Returns what happened: `2 files written to code/invoice.`
    pub fn text(&self, home: Option<&std::path::Path>) -> String {
        let folders = self.files.iter().filter(|file| file.is_folder).count();
        let files = counted(self.files.len() - folders, folders);
        let folder = match self.folders.as_slice() {
            [] => "your folder".to_owned(),
            [one] => view::short_folder(one, home),
            [first, more @ ..] => {
                let first = view::short_folder(first, home);
                format!("{first} and {}", view::count(more.len() as u64, "other folder"))
            }
        };
        let merged: Vec<String> =
            self.files.iter().filter(|file| file.merged).map(|file| file.path.to_string()).collect();
        let merged = match (self.undo, merged.is_empty()) {
            (_, true) => String::new(),
            (false, _) => format!(" Merged with your edits: {}.", merged.join(", ")),
            (true, _) => format!(" Your later edits stay: {}.", merged.join(", ")),
        };
        let told = match (self.undo, self.files.len()) {
            (false, 0) => format!("Nothing had to be written to {folder}."),
            (true, 0) => format!("Nothing had to be put back in {folder}: it was as before already."),
            (false, _) => format!("{files} written to {folder}."),
            (true, 1) => format!("{files} in {folder} is as it was."),
            (true, _) => format!("{files} in {folder} are as they were."),
        };
        told + &merged + &self.aside() + &self.gone_text()
    }

    /// Returns what of the person's gave way, and how it comes back.
    fn aside(&self) -> String {
        let of = |over| -> Vec<String> {
            let such = self.files.iter().filter(|file| file.over == Some(over));
            such.map(|file| file.path.to_string()).collect()
        };
        let mut told = String::new();
        let gone = of(Over::Gone);
        match gone.as_slice() {
            [] => {}
            _ if self.undo => {
                told.push_str(&format!(" Back where you had deleted something: {}.", gone.join(", ")));
            }
            _ => {
                let them = if gone.len() == 1 { "it" } else { "them" };
                let gone = gone.join(", ");
                told.push_str(&format!(
                    " Written where you had deleted something: {gone}. Undo takes {them} away again."
                ));
            }
        }
        let lines = of(Over::Lines);
        if !lines.is_empty() {
            told.push_str(&format!(
                " Your lines in {} are kept aside: Undo brings them back.",
                lines.join(", ")
            ));
        }
        match of(Over::Whole).as_slice() {
            [] => {}
            [one] => told.push_str(&format!(" Your {one} is kept aside: Undo brings it back.")),
            all => told.push_str(&format!(" Your {} are kept aside: Undo brings them back.", all.join(", "))),
        }
        told
    }
}

impl WrittenFile {
    /// Returns what happened to it, in a word or two.
    pub fn what(&self, undo: bool) -> &'static str {
        match (undo, self.fate) {
            (true, _) if self.merged => "as it was, with your later edits",
            (true, _) if self.over.is_some() => "is back where you had deleted something",
            (false, _) if self.over == Some(Over::Gone) => "the task's where you had deleted something",
            (false, _) if self.over == Some(Over::Lines) => "the task's where both changed the same lines",
            (false, _) if self.over.is_some() => "the task's in the place of yours",
            (false, _) if self.merged => "merged with your edits",
            (false, Fate::New) => "new",
            (false, Fate::Changed | Fate::Renamed) => "changed",
            (false, Fate::Deleted) => "deleted",
            (true, Fate::New) => "is back",
            (true, Fate::Changed | Fate::Renamed) => "as it was",
            (true, Fate::Deleted) => "is gone again",
        }
    }
}
