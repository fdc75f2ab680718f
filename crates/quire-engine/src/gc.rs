//! Clearing away what nobody needs any more: what finished tasks left when it is past its age, copies of folders that no
//! task stands on, contents that no log names, and what killed processes left behind.
//!
//! It runs beside everything else, and may be killed at any moment. Each step first makes the thing unreachable (an event in
//! the log, a rename aside, a row that is gone) and then removes it, so what is left of a clearing that died is found by the
//! next one. What is not surely unneeded stays: work that was not accepted never ages.

mod folders;
mod mark;
mod tasks;

use crate::blob::{GRACE, Swept};
use crate::quire::{EngineError, Quire};
use crate::rooted::lock_file;
use crate::{accept, freeze, once, usage};
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How long an accepted task can be undone and gone on with, and a copy of a folder waits for its next task.
pub const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// What was cleared away, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cleared {
    /// Tasks of which only the log is left.
    pub tasks: Vec<u64>,
    /// Copies of folders, and layers of such.
    pub copies: u64,
    /// Contents of files that no task has any more.
    pub contents: u64,
    /// Space on the disk, as far as it can be told.
    pub bytes: u64,
}

/// Told before each effect, with a word for it.
pub(crate) type Watch<'a> = &'a mut dyn FnMut(&'static str);

/// One clearing.
struct Clearing<'a> {
    quire: &'a Quire,
    now: SystemTime,
    only_look: bool,
    watch: Watch<'a>,
    cleared: Cleared,
}

impl Quire {
    /// Clears away what is past its age; with `only_look` it only says what that would be. Two at once wait for each other.
    pub fn clear(&self, only_look: bool) -> Result<Cleared, EngineError> {
        self.clear_at(SystemTime::now(), only_look, &mut |_| {})
    }

    fn clear_at(&self, now: SystemTime, only_look: bool, watch: Watch<'_>) -> Result<Cleared, EngineError> {
        let at_home = |why| EngineError::Home { path: self.home().to_owned(), why };
        let lock = lock_file(&self.home().join("gc.lock")).map_err(at_home)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|e| at_home(e.into()))?;
        if !only_look {
            // Its time says when this was done last; one that fails is not tried again at once.
            lock.set_modified(now).map_err(at_home)?;
        }
        let mut clearing = Clearing { quire: self, now, only_look, watch, cleared: Cleared::default() };
        clearing.leftovers().map_err(at_home)?;
        let live = clearing.tasks()?;
        clearing.folders(&live.bases).map_err(at_home)?;
        let before = now.checked_sub(GRACE).unwrap_or(SystemTime::UNIX_EPOCH);
        let Swept { blobs, bytes } =
            self.store().blobs().sweep(&live.blobs, before, only_look, &mut *clearing.watch)?;
        clearing.cleared.contents = blobs;
        clearing.cleared.bytes += bytes;
        Ok(clearing.cleared)
    }
}

/// Returns whether the last clearing is longer ago than `age`. Where there was none, age begins now.
pub fn is_due(home: &Path, age: Duration) -> bool {
    let last = lock_file(&home.join("gc.lock")).and_then(|lock| lock.metadata()?.modified());
    last.is_ok_and(|last| last.elapsed().is_ok_and(|since| since > age))
}

impl Clearing<'_> {
    /// Removes what killed processes left: of single commands, of proofs, and of earlier clearings.
    fn leftovers(&mut self) -> io::Result<()> {
        let home = self.quire.home().to_owned();
        if self.only_look {
            return Ok(());
        }
        once::sweep(&home)?;
        accept::clear_locks(&home)?;
        freeze::remove_tree(&home.join("trash"))?;
        for entry in fs::read_dir(&home)? {
            let name = entry?.file_name();
            let pid = name.to_str().and_then(|name| name.strip_prefix("quire-proof-"));
            if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                quire_sandbox::bury(&home.join(&name))?;
                freeze::remove_tree(&home.join(&name))?;
            }
        }
        Ok(())
    }

    /// Removes a tree that nothing leads to any more, or is not to from here on.
    fn remove(&mut self, tree: &Path) -> io::Result<()> {
        self.cleared.bytes += usage::freed(tree);
        if self.only_look || fs::symlink_metadata(tree).is_err() {
            return Ok(());
        }
        (self.watch)("take aside");
        let trash = self.quire.home().join("trash");
        match fs::create_dir_all(&trash) {
            // Where there is no room for a directory it goes where it stands, and a second clearing takes what a first
            // that died left of it.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                return freeze::remove_tree(tree);
            }
            made => made?,
        }
        let random = getrandom::u64().map_err(|e| io::Error::other(e.to_string()))?;
        let aside: PathBuf = trash.join(format!("{random:016x}"));
        match fs::rename(tree, &aside) {
            // A directory that forbids writing cannot be moved by an ordinary user; it goes where it stands.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => freeze::remove_tree(tree),
            renamed => {
                renamed?;
                (self.watch)("remove");
                freeze::remove_tree(&aside)
            }
        }
    }

    /// Returns whether something was last touched longer than `age` ago; what cannot be looked at was not.
    fn is_older(&self, path: &Path, age: Duration) -> bool {
        let touched = fs::symlink_metadata(path).and_then(|meta| meta.modified());
        touched.is_ok_and(|touched| self.now.duration_since(touched).is_ok_and(|since| since > age))
    }
}

#[cfg(test)]
mod tests;
