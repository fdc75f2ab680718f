//! What an accept and an undo mean for git, where a folder is in a repository and its person wants it, or the agent committed.

use crate::beside;
use crate::decide::{Aside, Choice, Proposal, Proved, merged_in};
use crate::freeze::Frozen;
use crate::git::bring::{Brought, Known, Tip, reference};
use crate::git::inside::{Inside, View};
use crate::git::{self, GitError, Left, Mode, Outside, Repo, To, Wanted};
use crate::place::Scratch;
use crate::quire::{EngineError, Quire};
use crate::snapshot::{SnapshotError, old_content};
use crate::store::Writer;
use crate::work::load_snapshot;
use quire_core::beside::{Beside, NoGit, Shown};
use quire_core::bytes::unescape;
use quire_core::event::{Apart, Base};
use quire_core::task::{AcceptState, InRepository, Version};
use quire_core::view::{self, CheckRow, GitRow, WithoutGit};
use quire_core::{Entry, Event, Node, RelPath, Snapshot, Task};
use quire_sandbox::Rung;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What is done with a repository of the person's; see [`Quire::in_each`].
type Act<'a> =
    dyn FnMut(u32, Option<RelPath>, Repo, Inside<'_>, &mut Vec<GitRow>) -> Result<(), EngineError> + 'a;

/// What was committed on a branch of its own, or in a file.
#[derive(Debug)]
pub struct SetAside {
    pub git: Vec<GitRow>,
    /// Files in which the person's own edits went into it.
    pub merged: Vec<RelPath>,
    /// Checks that ran again, on what was committed; empty where it is what they had run on.
    pub checks: Vec<CheckRow>,
}

impl Quire {
    /// Commits what was chosen on top of HEAD of the folder's repository, on a new branch or in a file, where it passes as what is
    /// accepted has to; the folder stays as it is. Blocks as [`Quire::accept`] does.
    pub fn set_aside(&self, id: u64, aside: &Aside, choice: &Choice) -> Result<SetAside, EngineError> {
        let choice = &Choice { aside: Some(aside.clone()), ..choice.clone() };
        let name = format!("quire-{id}");
        let to = match aside {
            Aside::Branch(name) => To::Branch(name),
            Aside::Bundle(file) => To::Bundle { file, name: &name },
        };
        if let To::Bundle { file, .. } = to {
            Repo::may_bundle(file)?;
        }
        let proposal = self.propose(id, choice)?;
        let Proved { plan, built, proofs } = self.proved(&proposal, choice)?;
        let merged = merged_in(&plan).into_iter().map(|(_, path)| path).collect();
        drop(plan);
        let Proposal { task, version, .. } = &proposal;
        self.may_commit(task, &built, to)?;
        let mut git = vec![];
        for folder in folders_of(&built) {
            git.extend(self.commit_in(task, version, None, folder, &built, to)?);
        }
        if git.is_empty() {
            git.push(GitRow::Nothing);
        }
        let checks = proofs.iter().map(|(spec, proof)| CheckRow::of(spec, Some(proof))).collect();
        Ok(SetAside { git, merged, checks })
    }

    pub(crate) fn may_commit(&self, task: &Task, built: &Snapshot, to: To<'_>) -> Result<(), EngineError> {
        let folders = folders_of(built);
        if folders.len() > 1 && matches!(to, To::Bundle { .. }) {
            return Err(GitError::SeveralFolders.into());
        }
        for folder in folders {
            Repo::around(&task.charter.folders[folder as usize])?.may_commit(to)?;
        }
        Ok(())
    }

    /// Commits what was accepted where that is wanted, and brings what the agent committed. The files are written, so what fails here
    /// is told and no failure. Returns also whether no commit is left to be made.
    pub(crate) fn accepted_in_git(
        &self,
        proposal: &Proposal,
        accept: u32,
        to_commit: Option<&Snapshot>,
    ) -> (Vec<GitRow>, bool) {
        let Proposal { task, version, .. } = proposal;
        let (mut rows, mut is_committed) = (vec![], true);
        let told = |error: EngineError| match error {
            EngineError::Git(error) => vec![GitRow::Failed(error.to_string())],
            other => vec![GitRow::Failed(other.to_string())],
        };
        if let Some(built) = to_commit {
            for folder in folders_of(built) {
                let done = self.commit_in(task, version, Some(accept), folder, built, To::Head);
                is_committed &= done.is_ok();
                rows.extend(done.unwrap_or_else(told));
            }
            rows.extend(self.edited_since(proposal, built).unwrap_or_else(told));
            if rows.is_empty() {
                rows.push(GitRow::Nothing);
            }
        }
        rows.extend(self.bring(task, version, accept).unwrap_or_else(told));
        (rows, is_committed)
    }

    /// Says which of the chosen files are in no commit because the person changed them since they were accepted.
    fn edited_since(&self, proposal: &Proposal, built: &Snapshot) -> Result<Vec<GitRow>, EngineError> {
        let there: BTreeSet<(u32, &RelPath)> = built.entries.iter().map(|e| (e.folder, &e.path)).collect();
        let mut edited = vec![];
        for (index, folder) in (0u32..).zip(&proposal.task.charter.folders) {
            let is_left = |e: &&Entry| {
                e.folder == index
                    && matches!(e.now, Some(Node::File { .. }))
                    && !there.contains(&(e.folder, &e.path))
            };
            let one = |e: &Entry| {
                let is = std::fs::read(folder.join(OsStr::from_bytes(e.path.as_bytes()))).ok();
                let now = is.clone().map(|content| (Mode::Plain, content));
                Wanted { path: e.path.clone(), now, was: is.clone(), own: is }
            };
            let left: Vec<Wanted> = proposal.chosen.iter().filter(is_left).map(one).collect();
            if !left.is_empty() {
                edited.extend(Repo::around(folder)?.lacking(&left)?);
            }
        }
        Ok(if edited.is_empty() { vec![] } else { vec![GitRow::Edited(edited)] })
    }

    pub(crate) fn commit_in(
        &self,
        task: &Task,
        version: &Version,
        accept: Option<u32>,
        folder: u32,
        built: &Snapshot,
        to: To<'_>,
    ) -> Result<Vec<GitRow>, EngineError> {
        let files = self.wanted(task, accept, folder, built)?;
        let scratch = self.place(task.id).scratch(Scratch::Git);
        let mut repo = Repo::around(&task.charter.folders[folder as usize])?;
        if matches!(to, To::Bundle { .. }) {
            repo = repo.apart(&scratch)?;
        }
        let made = repo.commit(&files, &message(task, version), to, &scratch);
        // What it needed is of no use any more.
        let _ = std::fs::remove_dir_all(&scratch);
        match to {
            To::Bundle { file, .. } => Ok(rows_of(made?, |made| GitRow::Bundled {
                commit: made.commit,
                branch: made.branch,
                file: file.to_string_lossy().into_owned(),
            })),
            _ => self.committed(task, accept, folder, made?),
        }
    }

    /// Returns the files of a folder that are to be committed, with what was there before.
    pub(crate) fn wanted(
        &self,
        task: &Task,
        accept: Option<u32>,
        folder: u32,
        built: &Snapshot,
    ) -> Result<Vec<Wanted>, EngineError> {
        let frozen = self.frozen(task)?;
        let mut earlier: BTreeSet<(RelPath, Option<Node>)> = BTreeSet::new();
        for accept in task.accepts.iter().take(accept.map_or(usize::MAX, |accept| accept as usize)) {
            let left = load_snapshot(self.store(), accept.taken.as_ref().unwrap_or(&accept.snapshot))?;
            earlier.extend(of(&left, folder).map(|entry| (entry.path.clone(), entry.now.clone())));
        }
        let mut files = vec![];
        for entry in of(built, folder) {
            let (old, new) = self.contents(&frozen, entry, u64::MAX)?;
            let now = match &entry.now {
                Some(Node::Dir { .. }) => continue,
                Some(Node::Link { target }) => Some((Mode::Link, target.0.clone())),
                Some(Node::File { mode, .. }) => {
                    let mode = if mode & 0o111 == 0 { Mode::Plain } else { Mode::Program };
                    new.map(|content| (mode, content))
                }
                None if matches!(entry.was, Some(Node::Dir { .. })) => continue,
                None => None,
            };
            // What was there when it was accepted was stored then.
            let was = match &entry.was {
                Some(Node::File { blob, .. }) => self.store().blobs().get(blob).ok().or(old),
                _ => None,
            };
            let own = match earlier.contains(&(entry.path.clone(), entry.was.clone())) {
                true => self.begun_with(&frozen, entry)?,
                false => was.clone(),
            };
            files.push(Wanted { path: entry.path.clone(), now, was, own });
        }
        Ok(files)
    }

    /// Returns what the task began with at a path.
    fn begun_with(&self, frozen: &[Frozen], entry: &Entry) -> Result<Option<Vec<u8>>, EngineError> {
        let Some(base) = frozen.get(entry.folder as usize) else { return Ok(None) };
        let Some(mut file) = old_content(base, &entry.path).map_err(SnapshotError::Layer)? else {
            return Ok(None);
        };
        let mut content = vec![];
        file.read_to_end(&mut content).map_err(SnapshotError::Layer)?;
        Ok(Some(content))
    }

    /// Writes into the log that a commit was made, and returns what is to be told of it.
    pub(crate) fn committed(
        &self,
        task: &Task,
        accept: Option<u32>,
        folder: u32,
        done: git::Commit,
    ) -> Result<Vec<GitRow>, EngineError> {
        if let Some(git::Committed { commit, branch }) = &done.made {
            let event = Event::Committed {
                accept,
                folder,
                commit: Some(commit.clone()),
                branch: Some(branch.clone()),
                brought: None,
                name: None,
                within: None,
                with: done.with.clone(),
                staged: done.staged.clone(),
            };
            self.record(task.id, vec![event])?;
        }
        Ok(rows_of(done, |made| GitRow::Committed { commit: made.commit, branch: made.branch }))
    }

    /// Brings what the agent committed, into the folder's own repository and those within it. What fails is told; what accept `accept`
    /// brought before its process died is not brought again.
    pub(crate) fn bring(
        &self,
        task: &Task,
        version: &Version,
        accept: u32,
    ) -> Result<Vec<GitRow>, EngineError> {
        if version.apart.git.total == 0 {
            return Ok(vec![]);
        }
        let done = task.accepts.get(accept as usize).map_or(&[][..], |accept| &accept.git);
        let mut rows = vec![];
        self.in_each(task, version, &mut rows, &mut |index, within, repo, inside, rows| {
            let row = |branch: Option<String>, brought: Result<Brought, GitError>| match brought {
                Ok(Brought { commits, .. }) => {
                    let reference = reference(task.id, branch.as_deref());
                    GitRow::Brought { reference, commits, branch, within: within.clone() }
                }
                Err(why) => not_brought(task.id, branch, within.clone(), &why),
            };
            let is_of = |one: &InRepository, name: Option<&str>| {
                (one.folder, &one.within, one.name.as_deref()) == (index, &within, name)
            };
            let is_done =
                |name: Option<&str>| done.iter().any(|one| is_of(one, name) && one.brought.is_some());
            let is_ours = |name: Option<&str>, commit: &str| {
                let mut all = task.accepts.iter().flat_map(|accept| &accept.git);
                all.any(|one| is_of(one, name) && one.brought.as_deref() == Some(commit))
            };
            let known = Known { is_done: &is_done, is_ours: &is_ours };
            let scratch = self.place(task.id).scratch(Scratch::Bring);
            let tips = match repo.bring(&inside, task.id, &known, &scratch) {
                Ok(tips) => tips,
                Err(why) => {
                    rows.push(row(None, Err(why)));
                    return Ok(());
                }
            };
            let mut events = vec![];
            for Tip { name, brought } in tips {
                let commit = brought.as_ref().ok().map(|brought| brought.commit.clone());
                events.extend(commit.map(|commit| came(accept, index, &within, name.clone(), commit)));
                rows.push(row(name, brought));
            }
            self.record(task.id, events)
        })?;
        Ok(rows)
    }

    /// Writes into the log what accept `accept` brought before its process died, and did not say: what is where it would have come to,
    /// and is what would have come.
    pub(crate) fn note_brought(
        &self,
        task: &Task,
        version: &Version,
        accept: u32,
    ) -> Result<(), EngineError> {
        if version.apart.git.total == 0 {
            return Ok(());
        }
        let known = &task.accepts[accept as usize].git;
        // What cannot be looked at is told by who takes back what is known of it.
        self.in_each(task, version, &mut vec![], &mut |folder, within, repo, inside, _| {
            let there = repo.brought(&inside, task.id).unwrap_or_default();
            let is_news = |name: &Option<String>| {
                !known.iter().any(|one| {
                    (one.folder, &one.within, &one.name) == (folder, &within, name) && one.brought.is_some()
                })
            };
            let news = there.into_iter().filter(|(name, _)| is_news(name));
            let events = news.map(|(name, commit)| came(accept, folder, &within, name, commit));
            self.record(task.id, events.collect())
        })
    }

    /// Does `act` with each of the person's repositories in which the agent's changed, told by its folder and where it is within that.
    fn in_each(
        &self,
        task: &Task,
        version: &Version,
        rows: &mut Vec<GitRow>,
        act: &mut Act<'_>,
    ) -> Result<(), EngineError> {
        let layers = self.place(task.id).layers(&version.line);
        let frozen = self.frozen(task)?;
        for (index, (base, folder)) in (0u32..).zip(frozen.iter().zip(&task.charter.folders)) {
            let view = View::of(base, &layers, index as usize).map_err(SnapshotError::Layer)?;
            let found = view.repositories().map_err(SnapshotError::Layer)?;
            let mut all = repositories(task.id, folder, folder, found, rows);
            let number = beside::number(&frozen, index as usize);
            let view = base.beside.as_ref().map(|git| View::beside(git, &layers, number)).transpose();
            let view = view.map_err(SnapshotError::Layer)?;
            if let Some((git, view)) = base.beside.as_ref().zip(view.as_ref()) {
                let found = view.modules(git.shown.dir.as_ref()).map_err(SnapshotError::Layer)?;
                all.extend(repositories(task.id, folder, &git.shown.at, found, rows));
                // One that several folders lie in has all of its branches brought at once.
                let is_first = number == index as usize;
                all.extend(is_first.then(|| own(task.id, folder, &git.shown, view, rows)).flatten());
            }
            for (within, repo, inside) in all {
                act(index, within, repo, inside, rows)?;
            }
        }
        Ok(())
    }

    /// Takes back what an accept left in git; `again`: who died at it may have done so. Returns also whether nothing of it is left to
    /// be taken back later.
    pub(crate) fn undone_in_git(&self, task: &Task, accept: u32, again: bool) -> (Vec<GitRow>, bool) {
        let (mut rows, mut is_settled) = (vec![], true);
        // Two folders may lie in one repository: the last commit goes first.
        let accepts = &task.accepts;
        for left in accepts[accept as usize].git.iter().rev() {
            // The commits that an accept before it brought, which is still done, are there again.
            let earlier =
                accepts[..accept as usize].iter().rev().filter(|one| one.state == AcceptState::Done);
            let is_same = |one: &&InRepository| {
                (one.folder, &one.within, &one.name) == (left.folder, &left.within, &left.name)
            };
            let mut earlier = earlier.flat_map(|one| &one.git).filter(is_same);
            let earlier = earlier.find_map(|one| one.brought.as_deref());
            let Some(folder) = task.charter.folders.get(left.folder as usize) else { continue };
            let repo = match &left.within {
                None => Repo::around(folder),
                Some(within) => Repo::at(folder, Some(within)).and_then(|repo| {
                    let at = folder.join(OsStr::from_bytes(within.as_bytes()));
                    repo.ok_or(GitError::NoRepository(at))
                }),
            };
            let undone = repo.and_then(|repo| {
                if let Some(brought) = &left.brought {
                    repo.forget(task.id, left.name.as_deref(), brought, earlier)?;
                }
                let Some(commit) = &left.commit else { return Ok(None) };
                let commit = commit.clone();
                Ok(Some(match repo.take_back(&commit, &left.staged)? {
                    Left::Nothing => GitRow::TakenBack(commit),
                    _ if again && repo.was_taken_back(&commit, &left.staged)? => GitRow::TakenBack(commit),
                    Left::Below => GitRow::Stays { commit, with: left.with.clone() },
                    Left::On(branch) => GitRow::StaysOn { commit, branch },
                    Left::Nowhere => GitRow::OnNoBranch(commit),
                }))
            });
            rows.extend(match (undone, &left.commit) {
                (Ok(row), _) => row,
                // Nothing of it is left there.
                (Err(error), _) if matches!(error, GitError::NoRepository(_)) || !folder.is_dir() => {
                    Some(GitRow::Failed(error.to_string()))
                }
                (Err(error), commit) => {
                    is_settled = false;
                    let why = error.to_string();
                    Some(match commit {
                        Some(commit) => GitRow::StaysFor { commit: commit.clone(), why },
                        None => GitRow::Failed(why),
                    })
                }
            });
        }
        (rows, is_settled)
    }

    pub(crate) fn record(&self, id: u64, events: Vec<Event>) -> Result<(), EngineError> {
        if events.is_empty() {
            return Ok(());
        }
        let task = self.store().task(id)?;
        self.store().append(id, task.seq, Writer::Person, events).wait()?;
        Ok(())
    }
}

/// Returns the event that says what of the agent's came over: a branch, or with no name what its HEAD is.
fn came(accept: u32, folder: u32, within: &Option<RelPath>, name: Option<String>, commit: String) -> Event {
    Event::Committed {
        accept: Some(accept),
        folder,
        commit: None,
        branch: None,
        brought: Some(commit),
        name,
        within: within.clone(),
        with: vec![],
        staged: vec![],
    }
}

/// Returns what is to be told of a commit.
fn rows_of(done: git::Commit, row: impl Fn(git::Committed) -> GitRow) -> Vec<GitRow> {
    let git::Commit { made, is_there, outside, with, staged: _, stays, is_unsigned } = done;
    let mut rows = vec![];
    if let Some(made) = made {
        rows.push(row(made));
        rows.extend((!with.is_empty()).then_some(GitRow::With(with)));
        rows.extend((!stays.is_empty()).then_some(GitRow::StagedStays(stays)));
        rows.extend(is_unsigned.then_some(GitRow::Unsigned));
    } else if is_there {
        rows.push(GitRow::Nothing);
    }
    let mut why: BTreeMap<Outside, Vec<RelPath>> = BTreeMap::new();
    outside.into_iter().for_each(|(path, outside)| why.entry(outside).or_default().push(path));
    rows.extend(why.into_iter().map(|(why, paths)| match why {
        Outside::Ignored => GitRow::Ignored(paths),
        Outside::Overlooked => GitRow::Overlooked(paths),
        Outside::Unreadable => GitRow::Unreadable(paths),
        Outside::Filter(filter) => GitRow::Filtered { filter, paths },
        Outside::Submodule(submodule) => GitRow::InSubmodule { submodule, paths },
    }));
    rows
}

pub(crate) fn folders_of(built: &Snapshot) -> Vec<u32> {
    let mut folders: Vec<u32> = built.entries.iter().map(|entry| entry.folder).collect();
    folders.dedup();
    folders
}

fn of(built: &Snapshot, folder: u32) -> impl Iterator<Item = &Entry> {
    built.entries.iter().filter(move |entry| entry.folder == folder)
}

/// Returns those repositories that the person has of what was `found` in `root`, the folder or the repository beside it, each with where
/// its files are, the innermost first: what an outer one has of an inner one is looked for there. What keeps quire from one is told.
fn repositories<'v>(
    task: u64,
    folder: &Path,
    root: &Path,
    found: Vec<Inside<'v>>,
    rows: &mut Vec<GitRow>,
) -> Vec<(Option<RelPath>, Repo, Inside<'v>)> {
    let mut all = vec![];
    for inside in found {
        let Some(dir) = &inside.dir else { continue };
        match Repo::beside(folder, root, dir) {
            Ok(Some((within, repo))) => all.push((within, repo, inside)),
            none => {
                let within = if dir.name() == b".git" { dir.parent() } else { Some(dir.clone()) };
                rows.extend(left(task, within, &inside, none.err()));
            }
        }
    }
    let depth = |within: &Option<RelPath>| {
        within.as_ref().map_or(0, |within| within.as_bytes().split(|byte| *byte == b'/').count())
    };
    all.sort_by_key(|(within, _, _)| std::cmp::Reverse(depth(within)));
    all
}

/// Returns the repository of a folder that lies outside of it, as [`repositories`] those within.
fn own<'v>(
    task: u64,
    folder: &Path,
    shown: &Shown,
    view: &'v View,
    rows: &mut Vec<GitRow>,
) -> Option<(Option<RelPath>, Repo, Inside<'v>)> {
    let inside = match Inside::beside(view, shown.dir.as_ref()) {
        Ok(inside) => inside,
        Err(why) => {
            rows.push(not_brought(task, None, None, &why.into()));
            return None;
        }
    };
    match Repo::beside_folder(folder, shown) {
        Ok(Some(repo)) => Some((None, repo, inside)),
        none => {
            rows.extend(left(task, None, &inside, none.err()));
            None
        }
    }
}

/// Returns what is to be told of a repository that the person has not any more where it was, or that cannot be opened there: nothing
/// where the agent committed nothing in its own.
fn left(task: u64, within: Option<RelPath>, inside: &Inside<'_>, why: Option<GitError>) -> Option<GitRow> {
    let why = why.unwrap_or(GitError::Elsewhere);
    match inside.has_committed() {
        Ok(false) => None,
        Ok(true) => Some(not_brought(task, None, within, &why)),
        Err(why) => Some(not_brought(task, None, within, &why)),
    }
}

fn not_brought(task: u64, branch: Option<String>, within: Option<RelPath>, why: &GitError) -> GitRow {
    let in_the_way = why.in_the_way().to_vec();
    let again = why.may_pass().then_some(task);
    GitRow::NotBrought { branch, within, why: why.to_string(), in_the_way, again }
}

/// Returns the folders in which the agent had no git, though their person has.
pub(crate) fn without_git(task: &Task) -> Vec<WithoutGit> {
    let folders = &task.charter.folders;
    let shows = task.rung != Rung::Copy.to_string();
    let one = |(folder, base): (u32, &Base)| {
        let why = match &base.git {
            Some(Beside::Not(why)) => why.text(),
            Some(Beside::Shown(_)) if !shows => NoGit::Place.text(),
            Some(Beside::Shown(_)) => return None,
            // Before quire showed them it said nothing of them in the log.
            None => {
                let leads = folders.get(folder as usize)?.join(".git");
                beside::leads_within(&leads, folders).filter(|within| !within).map(|_| NoGit::Place.text())?
            }
        };
        Some(WithoutGit { folder, why })
    };
    (0u32..).zip(task.bases.as_deref().unwrap_or_default()).filter_map(one).collect()
}

/// Returns the git directories among what changed that the person does not have, so that what was committed there comes nowhere.
pub(crate) fn only_agents(task: &Task, apart: &Apart) -> Vec<(u32, String)> {
    let is_there = |(folder, dir): &(u32, String)| {
        let folder = *folder as usize;
        let git = task.bases.as_deref().and_then(|bases| bases.get(folder)?.git.as_ref());
        let at = match (git, dir.strip_prefix(".git/")) {
            (Some(Beside::Shown(shown)), Some(dir)) => Some((&shown.at, dir)),
            _ => task.charter.folders.get(folder).map(|folder| (folder, dir.as_str())),
        };
        let at = at.and_then(|(root, dir)| Some(root.join(OsStr::from_bytes(&unescape(dir)?))));
        at.is_some_and(|at| at.join("HEAD").is_file())
    };
    view::inner_repositories(apart).into_iter().filter(|one| !is_there(one)).collect()
}

/// Returns the agent's summary as a commit's message, with a line that says where it is from.
pub(crate) fn message(task: &Task, version: &Version) -> String {
    let summary = version.summary.trim();
    let (first, rest) = match summary {
        "" => (task.words[0].trim().lines().next().unwrap_or_default(), ""),
        _ => summary.split_once('\n').unwrap_or((summary, "")),
    };
    let (title, more) = title(first.trim());
    let body = [more.as_str(), rest.trim()].into_iter().filter(|part| !part.is_empty());
    let body: String = body.map(|part| format!("{part}\n\n")).collect();
    let seen = version.snapshot.short();
    format!("{title}\n\n{body}Quire-Task: {}, version {}, {seen}\n", task.id, version.number)
}

/// Returns a line as a commit's title, and what of it goes on below.
fn title(line: &str) -> (String, String) {
    const MOST: usize = 72;
    let Some((end, _)) = line.char_indices().nth(MOST - 1).filter(|_| line.chars().count() > MOST) else {
        return (line.to_owned(), String::new());
    };
    let end = line[..end].rfind(' ').unwrap_or(end);
    (format!("{}…", &line[..end]), format!("…{}", line[end..].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_that_is_too_long_goes_on_below_and_stands_there_once() {
        assert_eq!(title("Short."), ("Short.".to_owned(), String::new()));
        let (long, more) = title(&"word ".repeat(20));
        assert!(
            long.chars().count() <= 72 && long.ends_with("word…") && more.starts_with("…word"),
            "{long} {more}"
        );
        let words = |text: &str| text.matches("word").count();
        assert_eq!(words(&long) + words(&more), 20);
        let (long, more) = title(&"é".repeat(100));
        assert_eq!((long.chars().count(), more.chars().count()), (72, 30));
    }
}
