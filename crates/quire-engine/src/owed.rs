//! What an accept, or its undo, still owes git. Its files come first and its commit last, and a process may die between the two; so what is to be
//! committed lies on the disk from before anything is written until the log says that it is done. Whoever opens the home next makes it,
//! where HEAD stands as it stood, and else says that it is missing. What stands in the way only for now is told, and tried again by the
//! next. An undo owes it that the commit is taken back.
//!
//! `owed/TASK-ACCEPT`, and `owed/TASK-ACCEPT-back` for what its undo owes; whoever is at it holds its lock.

use crate::accept::{is_at, locked};
use crate::decide::Proposal;
use crate::git::{Commit, Committed, GitError, Repo, To, Wanted};
use crate::quire::{CLEARED, EngineError, Quire};
use quire_core::event::Part;
use quire_core::task::{Accept, AcceptState};
use quire_core::view::GitRow;
use quire_core::{Entry, Snapshot, Task};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub(crate) const DIR: &str = "owed";

/// At the end of the name of what an undo owes.
const BACK: &str = "-back";

#[derive(Debug, Serialize, Deserialize)]
struct Debt {
    /// To be committed; empty: only what the agent committed is to come over.
    built: Snapshot,
    /// Where HEAD stood in the repository of each of the task's folders: branch and commit.
    heads: Vec<(u32, (String, Option<String>))>,
}

/// A debt of this process's.
pub(crate) struct Owed {
    path: PathBuf,
    /// Locked.
    file: File,
}

impl Drop for Owed {
    fn drop(&mut self) {
        // Closing is not enough where another thread has just forked: its child holds the same lock until it execs.
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

/// A commit that a process left to be made when it died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paid {
    pub task: u64,
    /// What was made, or why not.
    pub rows: Vec<GitRow>,
}

impl Quire {
    /// Writes down what accept `number` will owe git. Durable when this returns.
    pub(crate) fn owe(
        &self,
        proposal: &Proposal,
        number: u32,
        to_commit: Option<&Snapshot>,
    ) -> Result<Option<Owed>, EngineError> {
        let Proposal { task, version, .. } = proposal;
        let path = self.debt(task.id, number);
        let failed = |why| EngineError::Home { path: path.clone(), why };
        if to_commit.is_none() && version.apart.git.total == 0 {
            // One of a process that died before it had begun.
            return match fs::remove_file(&path) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => Err(failed(why)),
                _ => Ok(None),
            };
        }
        let built = to_commit.cloned().unwrap_or(Snapshot { entries: vec![] });
        let mut heads = vec![];
        for folder in crate::in_git::folders_of(&built) {
            heads.push((folder, Repo::around(&task.charter.folders[folder as usize])?.head()));
        }
        let debt = serde_json::to_vec(&Debt { built, heads }).map_err(|why| failed(why.into()))?;
        let file = self.write_debt(&path, &debt).map_err(failed)?;
        Ok(Some(Owed { file, path: path.clone() }))
    }

    /// Writes down that an undo of accept `number` owes it to git to take back what was committed. Durable when this returns.
    pub(crate) fn owe_back(&self, task: &Task, number: u32) -> Result<Option<Owed>, EngineError> {
        if task.accepts[number as usize].git.is_empty() {
            return Ok(None);
        }
        // Beside what the accept itself may still owe, which it does until the undo has begun.
        let path = self.home().join(DIR).join(format!("{}-{number}{BACK}", task.id));
        let file = self.write_debt(&path, b"");
        let file = file.map_err(|why| EngineError::Home { path: path.clone(), why })?;
        Ok(Some(Owed { file, path }))
    }

    /// Waits until who makes the commit that accept `number` owes has ended. Returns what it owes all the same, which nobody else is at
    /// then.
    pub(crate) fn await_debt(&self, id: u64, number: u32) -> Result<Option<Owed>, EngineError> {
        let path = self.debt(id, number);
        let failed = |why| EngineError::Home { path: path.clone(), why };
        loop {
            let file = match File::open(&path) {
                Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
                file => file.map_err(failed)?,
            };
            rustix::fs::flock(&file, FlockOperation::LockExclusive).map_err(|why| failed(why.into()))?;
            if is_at(&file, &path).map_err(failed)? {
                return Ok(Some(Owed { path: path.clone(), file }));
            }
        }
    }

    fn write_debt(&self, path: &Path, debt: &[u8]) -> io::Result<File> {
        let dir = self.home().join(DIR);
        {
            match fs::create_dir(&dir) {
                Ok(()) => crate::rooted::sync_dir(self.home())?,
                Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {}
                Err(why) => return Err(why),
            }
            // Another process may be at one of a process that died before it had begun.
            let locked = locked(path, FlockOperation::LockExclusive)?;
            let mut file = locked.ok_or(io::ErrorKind::WouldBlock)?;
            file.set_len(0)?;
            file.write_all(debt)?;
            file.sync_all()?;
            crate::rooted::sync_dir(&dir)?;
            Ok(file)
        }
    }

    fn debt(&self, id: u64, number: u32) -> PathBuf {
        self.home().join(DIR).join(format!("{id}-{number}"))
    }

    /// Writes into the log what was made in git for accept `number` by a process that died before it said so, so that its undo takes
    /// that back. What cannot be looked at now is left as it is.
    pub(crate) fn note_left(&self, id: u64, number: u32, owed: &Owed) -> Result<(), EngineError> {
        let task = self.task(id)?;
        let accept = &task.accepts[number as usize];
        let version = task.versions.iter().find(|version| version.snapshot == accept.snapshot);
        let debt = fs::read(&owed.path).ok().and_then(|debt| serde_json::from_slice::<Debt>(&debt).ok());
        let (Some(version), Some(debt)) = (version, debt) else { return Ok(()) };
        for (folder, head) in debt.heads {
            let is_known = accept.git.iter().any(|one| one.folder == folder && one.commit.is_some());
            let made = || -> Result<Option<Commit>, EngineError> {
                let repo = Repo::around(&task.charter.folders[folder as usize])?;
                let files = self.wanted(&task, Some(number), folder, &debt.built)?;
                unknown(&task, &repo, &files, &crate::in_git::message(&task, version), head.1.as_deref())
            };
            if let Some(made) = (!is_known).then(|| made().ok().flatten()).flatten() {
                self.committed(&task, Some(number), folder, made)?;
            }
        }
        self.note_brought(&task, version, number)
    }

    /// Makes the commits that dead processes owe. What another process is at is left to it.
    pub(crate) fn pay(&self) -> Result<Vec<Paid>, EngineError> {
        let dir = self.home().join(DIR);
        let failed = |why| EngineError::Home { path: dir.clone(), why };
        let listed = match fs::read_dir(&dir) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            listed => listed.map_err(failed)?,
        };
        let mut paid = vec![];
        for entry in listed {
            let path = entry.map_err(failed)?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let (name, is_back) = name.strip_suffix(BACK).map_or((name, false), |name| (name, true));
            let parts = name.split_once('-').map(|(id, number)| (id.parse(), number.parse()));
            let Some((Ok(id), Ok(number))) = parts else { continue };
            match self.pay_off(&path, id, number, is_back) {
                Ok(Some(rows)) => paid.push(Paid { task: id, rows }),
                Ok(None) => {}
                // One that cannot be looked at must not keep its person from all else.
                Err(error) => paid.push(Paid { task: id, rows: vec![missing(id, error.to_string())] }),
            }
        }
        Ok(paid)
    }

    /// Pays one, where that is possible now, and removes it. Returns what is to be told of it.
    fn pay_off(
        &self,
        path: &Path,
        id: u64,
        number: u32,
        is_back: bool,
    ) -> Result<Option<Vec<GitRow>>, EngineError> {
        let failed = |why| EngineError::Home { path: path.to_owned(), why };
        let file = match File::open(path) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(failed)?,
        };
        // Whoever has it removes it before letting go.
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err()
            || !is_at(&file, path).map_err(failed)?
        {
            return Ok(None);
        }
        let _file = Owed { path: path.to_owned(), file };
        // Where its files are half written, that is ended first.
        let task = match self.task_as_it_is(id) {
            Err(EngineError::NoSuchTask(_)) => None,
            task => Some(task?),
        };
        let accept = task.as_ref().and_then(|task| Some((task, task.accepts.get(number as usize)?)));
        let debt = fs::read(path).map_err(failed)?;
        let (rows, is_settled) = match accept.map(|(task, accept)| (task, accept.state)) {
            // It cannot be ended now.
            Some((_, AcceptState::Begun | AcceptState::Undoing)) => return Ok(None),
            Some((task, AcceptState::Undone)) if is_back => {
                let (rows, is_settled) = self.undone_in_git(task, number, true);
                (Some(rows), is_settled)
            }
            Some((task, AcceptState::Done)) if !is_back => {
                let (rows, is_settled) = self.pay_one(task, number, &debt);
                (Some(rows), is_settled)
            }
            _ => (None, true),
        };
        if is_settled {
            fs::remove_file(path).map_err(failed)?;
        }
        Ok(rows)
    }

    /// Returns what was made of one, or why not, and whether that is all that can be made of it.
    fn pay_one(&self, task: &Task, number: u32, debt: &[u8]) -> (Vec<GitRow>, bool) {
        let accept = &task.accepts[number as usize];
        let version = task.versions.iter().find(|version| version.snapshot == accept.snapshot);
        let (Some(version), Ok(debt)) = (version, serde_json::from_slice::<Debt>(debt)) else {
            return (vec![missing(task.id, "what was to be committed cannot be read".to_owned())], true);
        };
        let (mut rows, mut is_settled) = (vec![], true);
        for (folder, head) in debt.heads {
            let has =
                |accept: &Accept| accept.git.iter().any(|one| one.folder == folder && one.commit.is_some());
            let later = &task.accepts[number as usize + 1..];
            // A later one of the whole version commits what still stands of those before it.
            if has(accept) || later.iter().any(|a| a.state == AcceptState::Done && a.was_whole() && has(a)) {
                continue;
            }
            let paid = self.pay_in(task, version, number, folder, &debt.built, &head);
            is_settled &= paid.is_ok();
            rows.extend(paid.unwrap_or_else(|error| vec![missing(task.id, error.to_string())]));
        }
        let brought = self.bring(task, version, number);
        rows.extend(brought.unwrap_or_else(|error| vec![GitRow::Failed(error.to_string())]));
        (rows, is_settled)
    }

    /// Fails where it may be made later.
    fn pay_in(
        &self,
        task: &Task,
        version: &quire_core::task::Version,
        number: u32,
        folder: u32,
        built: &Snapshot,
        head: &(String, Option<String>),
    ) -> Result<Vec<GitRow>, EngineError> {
        let at = &task.charter.folders[folder as usize];
        let around = Repo::around(at);
        if task.cleared || !at.is_dir() || matches!(around, Err(GitError::NoRepository(_))) {
            let why = if task.cleared { CLEARED.to_owned() } else { format!("{} is gone", at.display()) };
            return Ok(vec![missing(task.id, why)]);
        }
        let repo = around?;
        let files = self.wanted(task, Some(number), folder, built)?;
        let message = crate::in_git::message(task, version);
        if let Some(done) = unknown(task, &repo, &files, &message, head.1.as_deref())? {
            return self.committed(task, Some(number), folder, done);
        }
        if repo.head() != *head {
            return Ok(vec![missing(task.id, "HEAD has moved since".to_owned())]);
        }
        repo.may_commit(To::Head)?;
        // What was taken back since is not in the folder any more.
        let back: Vec<&Part> = task.accepts[number as usize].taken_back().collect();
        let is_back = |entry: &Entry| back.iter().any(|p| (p.folder, &p.path) == (entry.folder, &entry.path));
        let left = built.entries.iter().filter(|entry| !is_back(entry)).cloned().collect();
        self.commit_in(task, version, Some(number), folder, &Snapshot { entries: left }, To::Head)
    }
}

impl Owed {
    /// It is in the log.
    pub fn pay_off(self) {
        // Where it stays, the next process sees that nothing is owed.
        let _ = fs::remove_file(&self.path);
    }
}

/// Returns the last commit on HEAD, where it is one that a process made for this and that the log does not know.
fn unknown(
    task: &Task,
    repo: &Repo,
    files: &[Wanted],
    message: &str,
    parent: Option<&str>,
) -> Result<Option<Commit>, EngineError> {
    // Else nobody would take it away where there is nothing to be committed any more.
    repo.free_index()?;
    let known = |made: &Committed| {
        task.accepts
            .iter()
            .flat_map(|accept| &accept.git)
            .any(|one| one.commit.as_ref() == Some(&made.commit))
    };
    let done = repo.made_last(files, message, parent)?;
    Ok(done.filter(|done| done.made.as_ref().is_some_and(|made| !known(made))))
}

fn missing(task: u64, why: String) -> GitRow {
    GitRow::Missing { task, why }
}

#[cfg(test)]
mod tests;
