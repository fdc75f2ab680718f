//! The lock on a repository's index, which is that of git itself: `index.lock`, made by who holds it. HEAD and index move together under
//! it: the new index is made beside the old one, HEAD is moved, and the new one takes the old one's name.
//!
//! What a dead quire left of it is known by what stands in it, and by the lock of the system's that nobody has on it.

use super::commit::{Changed, Noted};
use super::{GitError, Repo};
use crate::accept::is_at;
use rustix::fs::{FlockOperation, flock};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What stands in it.
pub(super) const HELD: &[u8] =
    b"Held by quire, which takes it away when it comes again, should it have died.\n";

pub(super) struct IndexLock {
    path: PathBuf,
    file: File,
    /// A dead process had left one.
    pub was_left: bool,
}

impl IndexLock {
    /// Takes the lock of the repository in `dir`, where no other program has it.
    pub fn take(dir: &Path) -> Result<IndexLock, GitError> {
        let path = dir.join("index.lock");
        // Until it is gone nobody else finds it left.
        let left = left(&path)?;
        if left.is_some() {
            fs::remove_file(&path)?;
        }
        let mut file = match File::create_new(&path) {
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {
                return Err(GitError::IndexLocked(path));
            }
            file => file?,
        };
        let held = flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(io::Error::from)
            .and_then(|()| file.write_all(HELD));
        if let Err(why) = held {
            let _ = fs::remove_file(&path);
            return Err(why.into());
        }
        Ok(IndexLock { path, file, was_left: left.is_some() })
    }

    /// Copies the index to where the new one is made. Its time goes with it, by which git knows which files it must look into.
    pub fn copied(&self) -> Result<PathBuf, GitError> {
        let (old, new) = (self.path.with_extension(""), self.path.with_extension("quire"));
        match fs::copy(&old, &new) {
            // There is none; git begins with an empty one.
            Err(why) if why.kind() == io::ErrorKind::NotFound => {
                let _ = fs::remove_file(&new);
            }
            copied => {
                copied?;
                let time = fs::metadata(&old)?.modified()?;
                File::options().write(true).open(&new)?.set_modified(time)?;
            }
        }
        Ok(new)
    }
}

impl Drop for IndexLock {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.path.with_extension("quire"));
        let _ = fs::remove_file(&self.path);
        // Closing is not enough where another thread has just forked: its child holds the same lock until it execs.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// Returns the lock that a quire left when it died, if one did, so that nobody else has it.
fn left(path: &Path) -> Result<Option<File>, GitError> {
    let file = match File::open(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let is_ours = fs::read(path).is_ok_and(|held| held == HELD);
    let is_dead = is_ours && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
    Ok((is_dead && is_at(&file, path)?).then_some(file))
}

impl Repo {
    /// Brings the person's index from `before` to `after`, where it is as `before` says; what they staged themselves stays. With it
    /// HEAD is moved, by a command of git's: both, or neither.
    pub(super) fn follow(
        &self,
        lock: &IndexLock,
        before: &HashMap<Vec<u8>, Noted>,
        after: &Changed,
        head: Option<&[&str]>,
    ) -> Result<(), GitError> {
        let new = lock.copied()?;
        let env = [("GIT_INDEX_FILE", new.as_os_str())];
        let index = self.noted(&env)?;
        let is_same = |path: &Vec<u8>| index.get(path) == before.get(path);
        let rows: Changed = after
            .iter()
            .filter(|(path, _)| is_same(path))
            .map(|(path, noted)| (path.clone(), noted.clone()))
            .collect();
        self.note(&rows, &env)?;
        if let Some(head) = head {
            self.git(head, &[], b"")?;
        }
        if !rows.is_empty() {
            fs::rename(&new, lock.path.with_extension(""))?;
        }
        Ok(())
    }

    pub(super) fn lock_index(&self) -> Result<IndexLock, GitError> {
        IndexLock::take(&self.dir)
    }

    /// Returns whether a quire died while it moved HEAD and the index.
    pub(super) fn is_left_moving(&self) -> Result<bool, GitError> {
        Ok(left(&self.dir.join("index.lock"))?.is_some())
    }
}
