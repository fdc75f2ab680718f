//! What an accept still owes git. Its files come first and its commit last, and a process may die between the two; so what is to be
//! committed lies on the disk from before anything is written until the log says that it is done. Whoever opens the home next makes it,
//! where HEAD stands as it stood, and else says that it is missing.
//!
//! `owed/TASK-ACCEPT`; whoever is at it holds its lock.

use crate::decide::Proposal;
use crate::git::Repo;
use crate::quire::{EngineError, Quire};
use quire_core::task::AcceptState;
use quire_core::view::GitRow;
use quire_core::{Snapshot, Task};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

pub(crate) const DIR: &str = "owed";

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
        let path = self.debt(task, number);
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
        let dir = self.home().join(DIR);
        let write = || -> io::Result<File> {
            fs::create_dir_all(&dir)?;
            let mut file = File::create(&path)?;
            rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            file.write_all(&serde_json::to_vec(&Debt { built, heads })?)?;
            file.sync_all()?;
            crate::rooted::sync_dir(&dir)?;
            Ok(file)
        };
        Ok(Some(Owed { file: write().map_err(failed)?, path: path.clone() }))
    }

    fn debt(&self, task: &Task, number: u32) -> PathBuf {
        self.home().join(DIR).join(format!("{}-{number}", task.id))
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
            let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once('-'));
            let Some((Ok(id), Ok(number))) = name.map(|(id, n)| (id.parse::<u64>(), n.parse::<u32>())) else {
                continue;
            };
            let Ok(file) = File::open(&path) else { continue };
            // Whoever has it removes it before letting go.
            if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() || !path.exists() {
                continue;
            }
            // Where its files are half written, that is ended first.
            let task = match self.task_as_it_is(id) {
                Err(EngineError::NoSuchTask(_)) => continue,
                task => task?,
            };
            match task.accepts.get(number as usize).map(|accept| accept.state) {
                // It cannot be ended now.
                Some(AcceptState::Begun | AcceptState::Undoing) => continue,
                Some(AcceptState::Done) => {
                    let rows = self.pay_one(&task, number, &fs::read(&path).map_err(failed)?);
                    let rows = rows.unwrap_or_else(|error| vec![missing(&task, error.to_string())]);
                    paid.push(Paid { task: id, rows });
                }
                _ => {}
            }
            fs::remove_file(&path).map_err(failed)?;
        }
        Ok(paid)
    }

    fn pay_one(&self, task: &Task, number: u32, debt: &[u8]) -> Result<Vec<GitRow>, EngineError> {
        let accept = &task.accepts[number as usize];
        let version = task.versions.iter().find(|version| version.snapshot == accept.snapshot);
        let (Some(version), Ok(debt)) = (version, serde_json::from_slice::<Debt>(debt)) else {
            return Ok(vec![missing(task, "what was to be committed cannot be read".to_owned())]);
        };
        let mut rows = vec![];
        for (folder, head) in debt.heads {
            let has = |one: &&quire_core::task::InRepository| one.folder == folder && one.commit.is_some();
            if accept.git.iter().any(|one| has(&one)) {
                continue;
            }
            rows.extend(
                self.pay_in(task, version, number, folder, &debt.built, &head)
                    .unwrap_or_else(|error| vec![missing(task, error.to_string())]),
            );
        }
        if accept.git.iter().all(|one| one.brought.is_none()) {
            let brought = self.bring(task, version, number);
            rows.extend(brought.unwrap_or_else(|error| vec![GitRow::Failed(error.to_string())]));
        }
        Ok(rows)
    }

    fn pay_in(
        &self,
        task: &Task,
        version: &quire_core::task::Version,
        number: u32,
        folder: u32,
        built: &Snapshot,
        head: &(String, Option<String>),
    ) -> Result<Vec<GitRow>, EngineError> {
        let repo = Repo::around(&task.charter.folders[folder as usize])?;
        let known: Vec<&String> =
            task.accepts.iter().flat_map(|a| &a.git).filter_map(|g| g.commit.as_ref()).collect();
        if let Some(made) = repo.made_last(&crate::in_git::message(task, version))?
            && !known.contains(&&made.commit)
        {
            return Ok(vec![self.committed(task, Some(number), folder, made)?]);
        }
        if repo.head() != *head {
            return Ok(vec![missing(task, "HEAD has moved since".to_owned())]);
        }
        repo.may_commit(None)?;
        self.commit_in(task, version, Some(number), folder, built, None)
    }
}

impl Owed {
    /// It is in the log.
    pub fn pay_off(self) {
        // Where it stays, the next process sees that nothing is owed.
        let _ = fs::remove_file(&self.path);
    }
}

fn missing(task: &Task, why: String) -> GitRow {
    GitRow::Missing { task: task.id, why }
}

#[cfg(test)]
mod tests;
