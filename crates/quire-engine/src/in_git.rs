//! What an accept and an undo mean for git, where a folder is in a repository and its person wants it, or the agent committed.

use crate::decide::{Choice, Proposal, Proved, merged_in};
use crate::git::{self, GitError, Mode, Outside, Repo};
use crate::quire::{EngineError, Quire};
use crate::store::Writer;
use quire_core::task::Version;
use quire_core::view::{CheckRow, GitRow, first_line};
use quire_core::{Entry, Event, Node, RelPath, Snapshot, Task};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What was committed on a branch.
#[derive(Debug)]
pub struct Branched {
    pub git: Vec<GitRow>,
    /// Files in which the person's own edits went into it.
    pub merged: Vec<RelPath>,
    /// Checks that ran again, on what was committed; empty where it is what they had run on.
    pub checks: Vec<CheckRow>,
}

impl Quire {
    /// Commits what was chosen on a new branch of the folder's repository, on top of HEAD, where it passes as what is accepted has to;
    /// the folder stays as it is. Blocks as [`Quire::accept`] does.
    pub fn branch(&self, id: u64, name: &str, choice: &Choice) -> Result<Branched, EngineError> {
        let proposal = self.propose(id, choice)?;
        let Proved { plan, built, proofs } = self.proved(&proposal, choice)?;
        let merged = merged_in(&plan).into_iter().map(|(_, path)| path).collect();
        drop(plan);
        let Proposal { task, version, .. } = &proposal;
        self.may_commit(task, &built, Some(name))?;
        let mut git = vec![];
        for folder in folders_of(&built) {
            git.extend(self.commit_in(task, version, None, folder, &built, Some(name))?);
        }
        let checks = proofs.iter().map(|(spec, proof)| CheckRow::of(spec, Some(proof))).collect();
        Ok(Branched { git, merged, checks })
    }

    pub(crate) fn may_commit(
        &self,
        task: &Task,
        built: &Snapshot,
        branch: Option<&str>,
    ) -> Result<(), EngineError> {
        for folder in folders_of(built) {
            Repo::around(&task.charter.folders[folder as usize])?.may_commit(branch)?;
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
                let done = self.commit_in(task, version, Some(accept), folder, built, None);
                is_committed &= done.is_ok();
                rows.extend(done.unwrap_or_else(told));
            }
            if built.entries.is_empty() {
                rows.push(GitRow::Nothing);
            }
        }
        rows.extend(self.bring(task, version, accept).unwrap_or_else(told));
        (rows, is_committed)
    }

    pub(crate) fn commit_in(
        &self,
        task: &Task,
        version: &Version,
        accept: Option<u32>,
        folder: u32,
        built: &Snapshot,
        branch: Option<&str>,
    ) -> Result<Vec<GitRow>, EngineError> {
        let frozen = self.frozen(task)?;
        let mut files = vec![];
        for entry in of(built, folder) {
            let file = match &entry.now {
                Some(Node::Dir { .. }) => continue,
                Some(Node::Link { target }) => Some((Mode::Link, target.0.clone())),
                Some(Node::File { mode, .. }) => {
                    let mode = if mode & 0o111 == 0 { Mode::Plain } else { Mode::Program };
                    let (_, content) = self.contents(&frozen, entry, u64::MAX)?;
                    content.map(|content| (mode, content))
                }
                None if matches!(entry.was, Some(Node::Dir { .. })) => continue,
                None => None,
            };
            files.push((entry.path.clone(), file));
        }
        let repo = Repo::around(&task.charter.folders[folder as usize])?;
        let made = repo.commit(&files, &message(task, version), branch, &self.scratch(task, "git"));
        // What it needed is of no use any more.
        let _ = std::fs::remove_dir_all(self.scratch(task, "git"));
        let git::Commit { made, outside } = made?;
        let mut rows = vec![match made {
            Some(made) => self.committed(task, accept, folder, made)?,
            None => GitRow::Nothing,
        }];
        let mut why: BTreeMap<Outside, Vec<RelPath>> = BTreeMap::new();
        outside.into_iter().for_each(|(path, outside)| why.entry(outside).or_default().push(path));
        rows.extend(why.into_iter().map(|(why, paths)| match why {
            Outside::Ignored => GitRow::Ignored(paths),
            Outside::Filter(filter) => GitRow::Filtered { filter, paths },
            Outside::Submodule(submodule) => GitRow::InSubmodule { submodule, paths },
        }));
        Ok(rows)
    }

    /// Writes into the log that a commit was made.
    pub(crate) fn committed(
        &self,
        task: &Task,
        accept: Option<u32>,
        folder: u32,
        made: git::Committed,
    ) -> Result<GitRow, EngineError> {
        let git::Committed { commit, branch } = made;
        let event = Event::Committed {
            accept,
            folder,
            commit: Some(commit.clone()),
            branch: Some(branch.clone()),
            brought: None,
        };
        self.record(task.id, event)?;
        Ok(GitRow::Committed { commit, branch })
    }

    pub(crate) fn bring(
        &self,
        task: &Task,
        version: &Version,
        accept: u32,
    ) -> Result<Vec<GitRow>, EngineError> {
        if version.apart.git.total == 0 {
            return Ok(vec![]);
        }
        let layers = self.place(task.id).layers(&version.line);
        let mut rows = vec![];
        for (index, base) in self.frozen(task)?.iter().enumerate() {
            let repo = match Repo::around(&task.charter.folders[index]) {
                // It made one of its own, which is no business of the person's repository.
                Err(GitError::NoRepository(_) | GitError::NoGit) => continue,
                repo => repo?,
            };
            let Some((commit, commits)) =
                repo.bring(base, &layers, index, task.id, &self.scratch(task, "bring"))?
            else {
                continue;
            };
            let event = Event::Committed {
                accept: Some(accept),
                folder: index as u32,
                commit: None,
                branch: None,
                brought: Some(commit),
            };
            self.record(task.id, event)?;
            rows.push(GitRow::Brought { reference: format!("refs/quire/{}", task.id), commits });
        }
        Ok(rows)
    }

    /// Takes back what an accept left in git; `again`: who died at it may have done so. Returns also whether nothing of it is left to
    /// be taken back later.
    pub(crate) fn undone_in_git(&self, task: &Task, accept: u32, again: bool) -> (Vec<GitRow>, bool) {
        let (mut rows, mut is_settled) = (vec![], true);
        // Two folders may lie in one repository: the last commit goes first.
        for left in task.accepts[accept as usize].git.iter().rev() {
            let Some(folder) = task.charter.folders.get(left.folder as usize) else { continue };
            let undone = Repo::around(folder).and_then(|repo| {
                if let Some(brought) = &left.brought {
                    repo.forget(task.id, brought)?;
                }
                let Some(commit) = &left.commit else { return Ok(None) };
                Ok(Some(match repo.take_back(commit)? {
                    true => GitRow::TakenBack(commit.clone()),
                    false if again && repo.was_taken_back(commit)? => GitRow::TakenBack(commit.clone()),
                    false => GitRow::Stays(commit.clone()),
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

    fn record(&self, id: u64, event: Event) -> Result<(), EngineError> {
        let task = self.store().task(id)?;
        self.store().append(id, task.seq, Writer::Person, vec![event]).wait()?;
        Ok(())
    }

    fn scratch(&self, task: &Task, name: &str) -> PathBuf {
        self.place(task.id).dir().join(format!("{name}-{}", std::process::id()))
    }
}

pub(crate) fn folders_of(built: &Snapshot) -> Vec<u32> {
    let mut folders: Vec<u32> = built.entries.iter().map(|entry| entry.folder).collect();
    folders.dedup();
    folders
}

fn of(built: &Snapshot, folder: u32) -> impl Iterator<Item = &Entry> {
    built.entries.iter().filter(move |entry| entry.folder == folder)
}

/// Returns the agent's summary as a commit's message, with a line that says where it is from.
pub(crate) fn message(task: &Task, version: &Version) -> String {
    let summary = version.summary.trim();
    let title = first_line(if summary.is_empty() { &task.words[0] } else { summary }, 72);
    let body = if summary == title || summary.is_empty() { String::new() } else { format!("{summary}\n\n") };
    let seen = version.snapshot.short();
    format!("{title}\n\n{body}Quire-Task: {}, version {}, {seen}\n", task.id, version.number)
}
