//! The lock on a repository's index, which is that of git itself: `index.lock`, made by who holds it. HEAD and index move together under
//! it: the new index is made beside the old one, HEAD is moved, and the new one takes the old one's name.
//!
//! What a dead quire left of it is known by what stands in it, and by the lock of the system's that nobody has on it. So it comes to
//! its name written and locked; where no nameless file can be given a name, in three steps.

use super::commit::{Changed, Noted, some};
use super::outside::Mark;
use super::staged::{Around, Row};
use super::{GitError, Repo};
use crate::accept::is_at;
use quire_core::RelPath;
use quire_core::event::Staged;
use rustix::fs::{AtFlags, CWD, FlockOperation, OFlags, flock};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// What stands in it.
pub(super) const HELD: &[u8] =
    b"Held by quire, which takes it away when it comes again, should it have died.\n";

/// What was there before a commit: in HEAD, and in the folder, where git has that as it stands there.
pub(super) struct Before<'a> {
    pub noted: &'a HashMap<Vec<u8>, Noted>,
    pub was: HashMap<Vec<u8>, &'a Vec<u8>>,
}

/// What became of what the person had staged of a commit's files.
#[derive(Debug, Default)]
pub(super) struct Followed {
    pub staged: Vec<Staged>,
    pub stays: Vec<RelPath>,
}

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
        let was_left = take_away_left(&path)?;
        match made_whole(dir, &path).or_else(|_| made_in_steps(&path)) {
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => Err(GitError::IndexLocked(path)),
            file => Ok(IndexLock { path, file: file?, was_left }),
        }
    }

    /// Fails where somebody has removed the lock, and perhaps taken it.
    fn is_held(&self) -> Result<(), GitError> {
        match is_at(&self.file, &self.path)? {
            true => Ok(()),
            false => Err(GitError::LockLost(self.path.clone())),
        }
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
        if self.is_held().is_ok() {
            let _ = fs::remove_file(self.path.with_extension("quire"));
            let _ = fs::remove_file(&self.path);
        }
        // Closing is not enough where another thread has just forked: its child holds the same lock until it execs.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// Makes the lock as a file without a name, which it is given when it is written and locked.
fn made_whole(dir: &Path, path: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(dir, flags, rustix::fs::Mode::from_raw_mode(0o666))?);
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    file.write_all(HELD)?;
    let nameless = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(CWD, nameless, CWD, path, AtFlags::SYMLINK_FOLLOW)?;
    Ok(file)
}

fn made_in_steps(path: &Path) -> io::Result<File> {
    let mut file = File::create_new(path)?;
    let held = flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(io::Error::from);
    if let Err(why) = held.and_then(|()| file.write_all(HELD)) {
        let _ = fs::remove_file(path);
        return Err(why);
    }
    Ok(file)
}

/// Removes the lock that a dead quire left; returns whether there was one.
fn take_away_left(path: &Path) -> Result<bool, GitError> {
    // Until it is gone nobody else finds it left.
    let Some(_left) = left(path)? else { return Ok(false) };
    fs::remove_file(path)?;
    Ok(true)
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
    /// Brings the person's index from `before` to `after`; what they staged themselves stays, with what comes. With it HEAD is moved, by
    /// a command of git's: both, or neither.
    pub(super) fn follow(
        &self,
        lock: &IndexLock,
        before: &Before<'_>,
        after: &Changed,
        head: Option<&[&str]>,
    ) -> Result<Followed, GitError> {
        self.move_index(lock, head, |index, marks| {
            let (mut rows, mut followed) = (Changed::new(), Followed::default());
            for (path, now) in after {
                let around = Around {
                    before: before.noted.get(path),
                    after: now.as_ref(),
                    was: before.was.get(path).copied(),
                };
                let was = index.get(path);
                match self.row(was, marks.get(path).copied().unwrap_or_default(), &around)? {
                    Row::Follows => drop(rows.insert(path.clone(), now.clone())),
                    Row::Both(both) => {
                        let named = self.within(path);
                        let staged = |path| Staged { path, was: was.cloned(), now: both.clone() };
                        // Of a commit that was made before, this may be all that it came to.
                        let is_staged = both.as_ref() != was || both.is_none() && head.is_some();
                        followed.staged.extend(named.map(staged).filter(|_| is_staged));
                        rows.insert(path.clone(), both);
                    }
                    Row::Stays => followed.stays.extend(self.within(path)),
                }
            }
            Ok((rows, followed))
        })
    }

    /// Brings the person's index back from a commit, with what they had staged before it, and HEAD as [`Repo::follow`] does.
    pub(super) fn back(
        &self,
        lock: &IndexLock,
        commit: &str,
        staged: &[Staged],
        head: Option<&[&str]>,
    ) -> Result<(), GitError> {
        let (before, after) = self.changes(commit)?;
        let (after, had) = (some(&after), staged.iter().map(|one| (self.named(&one.path), one)));
        let had: HashMap<Vec<u8>, &Staged> = had.collect();
        self.move_index(lock, head, |index, marks| {
            let mut rows = Changed::new();
            for (path, back) in &before {
                let is = index.get(path);
                let mark = marks.get(path).copied().unwrap_or_default();
                if let Some(one) = had.get(path).filter(|one| one.now.as_ref() == is && !mark.conflict)
                    && one.was.as_ref().is_none_or(|(_, object)| self.has(object))
                {
                    rows.insert(path.clone(), one.was.clone());
                    continue;
                }
                let around = Around { before: after.get(path), after: back.as_ref(), was: None };
                match self.row(is, mark, &around)? {
                    Row::Follows => drop(rows.insert(path.clone(), back.clone())),
                    Row::Both(both) => drop(rows.insert(path.clone(), both)),
                    Row::Stays => {}
                }
            }
            Ok((rows, ()))
        })
    }

    /// Moves HEAD, and the index to the rows that `rows` makes of it.
    fn move_index<T>(
        &self,
        lock: &IndexLock,
        head: Option<&[&str]>,
        rows: impl FnOnce(&HashMap<Vec<u8>, Noted>, &HashMap<Vec<u8>, Mark>) -> Result<(Changed, T), GitError>,
    ) -> Result<T, GitError> {
        let new = lock.copied()?;
        let env = [("GIT_INDEX_FILE", new.as_os_str())];
        let (index, marks) = (self.noted(&env)?, self.marks(&env)?);
        let (mut rows, made) = rows(&index, &marks)?;
        rows.retain(|path, row| index.get(path) != row.as_ref());
        self.note(&rows, &env)?;
        let there: Vec<&Vec<u8>> =
            rows.iter().filter(|(_, row)| row.is_some()).map(|(path, _)| path).collect();
        let sparse = self.beyond_sparse(&there)?;
        let marked = there.into_iter().filter_map(|path| {
            let mark = marks.get(path).copied().unwrap_or_default();
            let mark = Mark { skip: mark.skip || sparse.contains(path), ..mark };
            (mark != Mark::default()).then_some((path, mark))
        });
        self.mark(&marked.collect::<Vec<_>>(), &env)?;
        lock.is_held()?;
        if let Some(head) = head {
            self.git(head, &[], b"")?;
        }
        if !rows.is_empty() {
            lock.is_held()?;
            fs::rename(&new, lock.path.with_extension(""))?;
        }
        Ok(made)
    }

    /// Returns a path from the top as one of the folder.
    fn within(&self, path: &[u8]) -> Option<RelPath> {
        RelPath::new(path.strip_prefix(self.prefix.as_slice())?)
    }

    fn has(&self, object: &str) -> bool {
        self.git(&["cat-file", "-e", object], &[], b"").is_ok()
    }

    pub(super) fn lock_index(&self) -> Result<IndexLock, GitError> {
        IndexLock::take(&self.dir)
    }

    /// Removes what a dead quire left of its lock on the index, where nothing is to be moved any more.
    pub fn free_index(&self) -> Result<(), GitError> {
        take_away_left(&self.dir.join("index.lock")).map(|_| ())
    }

    /// Returns whether a quire died while it moved HEAD and the index.
    pub(super) fn is_left_moving(&self) -> Result<bool, GitError> {
        Ok(left(&self.dir.join("index.lock"))?.is_some())
    }
}
