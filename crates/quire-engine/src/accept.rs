//! Accept and undo: the only code of quire's that writes into a person's folder.
//!
//! Everything is looked at before anything is written: where a path is not what the task started from and both sides' changes
//! cannot be merged (`accept/fit.rs`), nothing is done. What
//! is to be done is then on disk in a journal (`accept/journal.rs`); all new content is written beside its place and made
//! durable; renames move it in and the old aside; all is read back; and only then the old is removed. So each moment can be
//! rolled back or forward by whoever comes next. Undo is the same with the two sides changed.
//!
//! ```text
//! Accepting -> plan (nothing written) -> carry_out -> Accepted, or everything as before and AcceptFailed
//! ```
//!
//! The lock on the folder is held from the plan to the end. Nothing follows a symlink, and no path is resolved twice.

mod attributes;
mod back;
mod carry;
mod fit;
mod given;
mod journal;
mod pair;
pub mod part;
mod plan;

use crate::blob::{BlobError, Blobs};
use crate::database::DiskKind;
use crate::rooted::{Rooted, lock_file};
use carry::{Carry, identity};
use journal::{How, Journal, Place, Stage};
use plan::{Move, plan as plan_moves};
use quire_core::merge::Overlap;
use quire_core::{Entry, RelPath};
use rustix::fs::FlockOperation;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub use back::{Back, Paths};
pub use carry::Watch;
pub use fit::{Gave, Sides};
pub use given::Given;

/// A path that is not what the task started from, or what the accept left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    pub folder: u32,
    pub path: RelPath,
    pub what: Drifted,
    /// A folder of the person's stands there.
    pub is_folder: bool,
    /// Lines of which the person made something else than the task; empty where it is no text on both sides.
    pub overlaps: Vec<Overlap>,
}

impl Drift {
    fn of(folder: u32, path: RelPath, what: Drifted) -> Drift {
        Drift { folder, path, what, is_folder: false, overlaps: vec![] }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drifted {
    Changed,
    Gone,
    /// Something is there that was not.
    Appeared,
    /// The directory that held it is gone, or is now a link or file.
    ParentGone,
}

#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    #[error("{} not what the task started from; nothing was written", paths(.0))]
    Drift(Vec<Drift>),
    #[error("{} not what was accepted; nothing was written", paths(.0))]
    Edited(Vec<Drift>),
    #[error("This version does not change `{0}`.")]
    NotChanged(RelPath),
    #[error("Your last accept of this task did not write `{0}`, or it was taken back already.")]
    NotWritten(RelPath),
    #[error("This version has no hunk `{0}`.")]
    NoHunk(String),
    #[error("This version has several hunks whose names begin with `{0}`.")]
    ManyHunks(String),
    #[error("the disk is full; everything is as it was before")]
    Disk,
    #[error("{path} cannot be written: {why}. Everything is as it was before")]
    Folder { path: RelPath, why: io::Error },
    #[error("{} left as somebody saved it while quire was writing; what was there before that lies beside it as \
             .quire-*. All else is as it was before", paths(.0))]
    Touched(Vec<Drift>),
    #[error("the task has no folder {0}")]
    NoFolder(u32),
    #[error("the folder {} cannot be opened: {why}. Nothing was written", folder.display())]
    Open { folder: PathBuf, why: io::Error },
    #[error("the journal {} cannot be read: {why}. The folder was left as it is", path.display())]
    Journal { path: PathBuf, why: io::Error },
    #[error("nothing was accepted under this number, or it was rolled back")]
    NotAccepted,
    /// Neither done nor rolled back. The journal stays, and the log says that it is being written.
    #[error("what was begun could not be ended ({0}); the next command of quire's goes on with it")]
    Unended(String),
    #[error(transparent)]
    Blob(BlobError),
    #[error("{0}")]
    Io(io::Error),
}

impl From<io::Error> for AcceptError {
    fn from(e: io::Error) -> AcceptError {
        match e.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => AcceptError::Disk,
            _ => AcceptError::Io(e),
        }
    }
}

impl From<BlobError> for AcceptError {
    fn from(e: BlobError) -> AcceptError {
        match e {
            BlobError::Disk(e) if e.kind == DiskKind::Full => AcceptError::Disk,
            e => AcceptError::Blob(e),
        }
    }
}

impl AcceptError {
    /// Says that what was begun is neither done nor rolled back, and why.
    pub fn unended(self) -> AcceptError {
        AcceptError::Unended(match self {
            AcceptError::Disk => "the disk is full".into(),
            AcceptError::Folder { path, why } => format!("{path}: {why}"),
            AcceptError::Open { folder, why } => format!("{}: {why}", folder.display()),
            other => other.to_string(),
        })
    }

    /// Says which path an input or output error was about.
    fn at(self, path: &RelPath) -> AcceptError {
        match self {
            AcceptError::Io(why) => AcceptError::Folder { path: path.clone(), why },
            other => other,
        }
    }
}

fn paths(drift: &[Drift]) -> String {
    let shown: Vec<String> = drift.iter().take(5).map(|d| d.path.to_string()).collect();
    let more = if drift.len() > 5 { format!(" and {} more", drift.len() - 5) } else { String::new() };
    let verb = if drift.len() == 1 { "is" } else { "are" };
    format!("{}{more} {verb}", shown.join(", "))
}

/// Where a task keeps its journals, and where locks are.
#[derive(Clone, Debug)]
pub struct Desk {
    pub home: PathBuf,
    /// The task's own directory, `home/tasks/N`.
    pub dir: PathBuf,
}

/// What will be done, with the folders open and locked. Dropping it leaves everything as it is.
pub struct Plan {
    journal: Journal,
    place: Place,
    folders: Held,
    merged: Vec<Entry>,
    over: Vec<Gave>,
}

/// One writing into a task's folders, which has a journal of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    Accept(u32),
    /// The undo of an accept after `turn` others that took parts of it back.
    Undo {
        accept: u32,
        turn: u32,
    },
}

impl Writing {
    fn name(self) -> String {
        match self {
            Writing::Accept(accept) => format!("accept-{accept}"),
            Writing::Undo { accept, turn: 0 } => format!("undo-{accept}"),
            Writing::Undo { accept, turn } => format!("undo-{accept}-{turn}"),
        }
    }

    /// Returns (accept, whether it is its undo) of a journal's name.
    fn of(name: &str) -> Option<(u32, bool)> {
        let (kind, number) = name.split_once('-')?;
        let undo = kind == "undo";
        let number = number.split_once('-').filter(|_| undo).map_or(number, |(accept, _)| accept);
        Some((number.parse().ok()?, undo))
    }
}

/// What was done to a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub folder: u32,
    pub path: RelPath,
    pub did: Did,
    /// A folder is there now, or was before it was deleted.
    pub is_folder: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    Created,
    Replaced,
    Deleted,
    /// Only the permissions.
    Mode,
}

/// What an accept or undo did; each path was read back and is what it was to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub written: Vec<Written>,
    /// Directories that were to be deleted and stay, because there are ignored ones in them.
    pub kept: Vec<(u32, RelPath)>,
}

/// Returns the entries with what earlier accepts of the same task left taken into account: the folder is expected as they
/// left it, and what this version no longer changes is put back. `earlier` holds the entries accepted and not undone, oldest
/// first; those from before the last accept of a whole version do not belong to it.
pub fn following(chosen: Vec<Entry>, whole: bool, earlier: &[Entry]) -> Vec<Entry> {
    let mut left: std::collections::BTreeMap<(u32, RelPath), Entry> = Default::default();
    for entry in earlier {
        let key = (entry.folder, entry.path.clone());
        let was = left.get(&key).map_or(entry.was.clone(), |first| first.was.clone());
        left.insert(key, Entry { was, ..entry.clone() });
    }
    let mut entries = vec![];
    for entry in chosen {
        match left.remove(&(entry.folder, entry.path.clone())) {
            Some(earlier) if earlier.now == entry.now => {}
            Some(earlier) => entries.push(Entry { was: earlier.now, ..entry }),
            None => entries.push(entry),
        }
    }
    if whole {
        let back = |e: Entry| Entry { was: e.now, now: e.was, ..e };
        entries.extend(left.into_values().filter(|e| e.was != e.now).map(back));
    }
    entries.sort_by(|a, b| (a.folder, &a.path).cmp(&(b.folder, &b.path)));
    entries
}

/// Plans writing `entries` into `folders`, as accept `number` of the task. Writes nothing there. The old contents are stored
/// when this returns; their rows become durable with the next events written (`Accepting`).
pub fn plan(
    desk: &Desk,
    number: u32,
    folders: &[PathBuf],
    entries: &[Entry],
    sides: &Sides<'_>,
    blobs: &Blobs,
) -> Result<Plan, AcceptError> {
    let place = Place { dir: desk.dir.clone(), name: Writing::Accept(number).name() };
    make(desk, place, folders, entries.iter().map(Move::of).collect(), sides, blobs)
}

/// Plans taking all of accept `number` back. What the person changed since stays; only what the accept brought goes.
pub fn plan_undo(desk: &Desk, number: u32, blobs: &Blobs) -> Result<Plan, AcceptError> {
    let back = Back::of(desk, number, &[])?;
    back.plan(desk, &back.all(), blobs)
}

fn make(
    desk: &Desk,
    place: Place,
    folders: &[PathBuf],
    moves: Vec<Move>,
    sides: &Sides<'_>,
    blobs: &Blobs,
) -> Result<Plan, AcceptError> {
    let held = Held::wait(&desk.home, folders)?;
    let mut pack = blobs.pack();
    let (mut merged, mut over) = (vec![], vec![]);
    let journal = match plan_moves(folders, &held.roots, moves.clone(), &mut pack) {
        Err(AcceptError::Drift(drift)) => {
            let fitted = fit::fit(&held.roots, moves, &drift, sides, blobs, &mut pack)?;
            (merged, over) = (fitted.merged, fitted.over);
            let overlaps = |d: Drift| {
                let overlaps = fitted.overlaps.get(&(d.folder, d.path.clone())).cloned().unwrap_or_default();
                Drift { overlaps, ..d }
            };
            plan_moves(folders, &held.roots, fitted.moves, &mut pack).map_err(|error| match error {
                AcceptError::Drift(drift) => AcceptError::Drift(drift.into_iter().map(overlaps).collect()),
                other => other,
            })?
        }
        journal => journal?,
    };
    pack.finish()?;
    Ok(Plan { journal, place, folders: held, merged, over })
}

impl Plan {
    /// Returns the files in which both the person's changes and the task's will be: what they are, and what they will be.
    pub fn merged(&self) -> &[Entry] {
        &self.merged
    }

    /// Returns what of the person's gives way.
    pub fn over(&self) -> &[Gave] {
        &self.over
    }

    /// Returns whether it is something else than what was to be written, because of what the person did.
    pub fn is_fitted(&self) -> bool {
        !self.merged.is_empty() || !self.over.is_empty()
    }

    /// Returns what will be done.
    pub fn report(&self) -> Report {
        report(&self.journal)
    }
}

/// Returns whether somebody else has these folders' locks just now.
pub fn is_busy(home: &Path, folders: &[PathBuf]) -> bool {
    matches!(Held::try_now(home, folders), Ok(None))
}

/// Does what was planned. On any error everything is as before, but for paths that the error names.
pub fn carry_out(plan: Plan, blobs: &Blobs, watch: Watch<'_>) -> Result<Report, AcceptError> {
    let Plan { journal, place, folders, .. } = plan;
    watch("begin");
    place.begin(&journal)?;
    let done = Carry { journal: &journal, roots: &folders.roots, place: &place, watch }.whole(blobs)?;
    Ok(report(&done))
}

/// Returns those of the entries of which the folders have just what they are to be, with the modes that disks gave.
pub fn standing(
    folders: &[PathBuf],
    entries: &[Entry],
    given: &Given,
    blobs: &Blobs,
) -> Result<Vec<Entry>, AcceptError> {
    let open = |folder: &PathBuf| {
        Rooted::open(folder).map_err(|why| AcceptError::Open { folder: folder.clone(), why })
    };
    let roots = folders.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let mut hashes = blobs.hashes();
    let mut standing = vec![];
    for entry in entries {
        let root = roots.get(entry.folder as usize).ok_or(AcceptError::NoFolder(entry.folder))?;
        if plan::stands(root, &Move::of(&given.now(entry)), &mut hashes)? {
            standing.push(entry.clone());
        }
    }
    Ok(standing)
}

/// How something that was interrupted ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The folders are exactly as before, but for paths that somebody changed meanwhile.
    Before {
        left: Vec<Drift>,
    },
    After(Report),
}

/// A journal that was found open and ended.
#[derive(Debug)]
pub struct Recovered {
    /// `N` of `tasks/N`.
    pub task: u64,
    pub number: u32,
    pub undo: bool,
    pub outcome: Result<Outcome, AcceptError>,
}

/// Ends everything that a process left undone when it died, in all tasks. What another process is doing right now is left
/// to it.
pub fn recover(home: &Path) -> io::Result<Vec<Recovered>> {
    recover_watched(home, &mut |_| {})
}

fn recover_watched(home: &Path, watch: Watch<'_>) -> io::Result<Vec<Recovered>> {
    let mut all = vec![];
    let tasks = match fs::read_dir(home.join("tasks")) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(all),
        tasks => tasks?,
    };
    for task in tasks {
        let task = task?;
        let Some(number) = task.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if !task.file_type()?.is_dir() {
            continue;
        }
        for place in Place::open_in(&task.path())? {
            let Some((k, undo)) = Writing::of(&place.name) else {
                continue;
            };
            if let Some(outcome) = finish(home, &place, &mut *watch).transpose() {
                all.push(Recovered { task: number, number: k, undo, outcome });
            }
        }
    }
    Ok(all)
}

/// Returns the journals that are kept in a task's directory, at whatever stage.
pub fn journals(dir: &Path) -> io::Result<Vec<PathBuf>> {
    Place::all_in(dir)
}

/// Returns how an accept or undo of a task on `folders`, which its log says was begun, ended; `None` while another process is at
/// it. What never came to its journal is `Before`.
pub fn outcome(desk: &Desk, folders: &[PathBuf], writing: Writing) -> Result<Option<Outcome>, AcceptError> {
    let place = Place { dir: desk.dir.clone(), name: writing.name() };
    if matches!(place.stage(), None | Some(Stage::Before)) {
        // Whoever wrote the beginning into the log had the folders locked before, and has until it ends. A folder that cannot
        // be opened is written by nobody.
        match Held::try_now(&desk.home, folders) {
            Ok(None) => return Ok(None),
            Ok(Some(_)) | Err(AcceptError::Open { .. }) => {}
            Err(e) => return Err(e),
        }
    }
    finish(&desk.home, &place, &mut |_| {})
}

/// Ends a journal. `None`: another process is at it.
fn finish(home: &Path, place: &Place, watch: Watch<'_>) -> Result<Option<Outcome>, AcceptError> {
    let Some(stage) = place.stage() else {
        return Ok(Some(Outcome::Before { left: vec![] }));
    };
    let journal = match place.read(stage) {
        Err(AcceptError::Journal { why, .. }) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        journal => journal?,
    };
    let held = match stage {
        Stage::After => return Ok(Some(Outcome::After(report(&journal)))),
        Stage::Before => return Ok(Some(Outcome::Before { left: vec![] })),
        _ => match Held::try_now(home, &journal.folders)? {
            Some(held) => held,
            None => return Ok(None),
        },
    };
    // Another process may have ended it before the lock was ours.
    let Some(stage) = place.stage() else {
        return Ok(Some(Outcome::Before { left: vec![] }));
    };
    let mut carry = Carry { journal: &journal, roots: &held.roots, place, watch };
    Ok(Some(match stage {
        Stage::Prepare => {
            carry.give_up()?;
            Outcome::Before { left: vec![] }
        }
        Stage::Commit => match carry.forward() {
            Ok(()) => Outcome::After(report(&journal)),
            Err(AcceptError::Drift(_)) => Outcome::Before { left: vec![] },
            Err(AcceptError::Touched(left)) => Outcome::Before { left },
            // A full disk and the like: it was rolled back in place of being finished.
            Err(_) if place.stage() == Some(Stage::Before) => Outcome::Before { left: vec![] },
            Err(e) => return Err(e),
        },
        Stage::Back => Outcome::Before { left: carry.back()? },
        Stage::Clean => {
            carry.clean()?;
            Outcome::After(report(&journal))
        }
        Stage::After => Outcome::After(report(&journal)),
        Stage::Before => Outcome::Before { left: vec![] },
    }))
}

fn report(journal: &Journal) -> Report {
    let mut written = vec![];
    // A mode that the disk does not keep was not written.
    let is_done = |o: &&journal::Operation| o.how != How::Mode || o.new.iter().all(|new| !new.is_given);
    for operation in journal.operations.iter().filter(is_done) {
        let old: std::collections::BTreeSet<&RelPath> = operation.old.iter().map(|item| &item.path).collect();
        let new: std::collections::BTreeSet<&RelPath> = operation.new.iter().map(|item| &item.path).collect();
        for path in old.union(&new) {
            let did = match (operation.how, old.contains(path), new.contains(path)) {
                (How::Mode, ..) => Did::Mode,
                (_, true, true) => Did::Replaced,
                (_, true, false) => Did::Deleted,
                (_, false, _) => Did::Created,
            };
            let mut items = operation.new.iter().chain(&operation.old);
            let is_folder =
                items.find(|item| item.path == **path).is_some_and(|item| item.what == journal::What::Dir);
            written.push(Written { folder: operation.folder, path: (*path).clone(), did, is_folder });
        }
    }
    written.sort_by(|a, b| (a.folder, &a.path).cmp(&(b.folder, &b.path)));
    Report { written, kept: journal.kept.clone() }
}

/// Folders held open, and locked against every other accept and undo.
struct Held {
    roots: Vec<Rooted>,
    locks: Vec<(PathBuf, File)>,
}

impl Drop for Held {
    fn drop(&mut self) {
        for (path, lock) in &self.locks {
            let_go(path, lock);
        }
    }
}

/// Removes a lock's file, and then lets others have the lock: who waited for this one sees that it is no longer the one of that name.
fn let_go(path: &Path, lock: &File) {
    let _ = fs::remove_file(path);
    // Closing is not enough where another thread has just forked: its child holds the same lock until it execs.
    let _ = rustix::fs::flock(lock, FlockOperation::Unlock);
}

/// Returns the lock of that name, or `None` where another has it and `how` does not wait.
pub(crate) fn locked(path: &Path, how: FlockOperation) -> io::Result<Option<File>> {
    loop {
        let file = lock_file(path)?;
        match rustix::fs::flock(&file, how) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            locked => locked?,
        }
        if is_at(&file, path)? {
            return Ok(Some(file));
        }
    }
}

/// Returns whether a file that was opened is still the one of that name.
pub(crate) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let (ours, named) = (file.metadata()?, fs::symlink_metadata(path));
    Ok(named.is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino())))
}

/// Removes the locks that dead processes left.
pub(crate) fn clear_locks(home: &Path) -> io::Result<()> {
    let locks = match fs::read_dir(home.join("locks")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        locks => locks?,
    };
    for lock in locks {
        let path = lock?.path();
        if let Some(lock) = locked(&path, FlockOperation::NonBlockingLockExclusive)? {
            let_go(&path, &lock);
        }
    }
    Ok(())
}

impl Held {
    fn wait(home: &Path, folders: &[PathBuf]) -> Result<Held, AcceptError> {
        let held = Held::lock(home, folders, FlockOperation::LockExclusive)?;
        held.ok_or_else(|| AcceptError::Io(io::ErrorKind::WouldBlock.into()))
    }

    fn try_now(home: &Path, folders: &[PathBuf]) -> Result<Option<Held>, AcceptError> {
        Held::lock(home, folders, FlockOperation::NonBlockingLockExclusive)
    }

    fn lock(home: &Path, folders: &[PathBuf], how: FlockOperation) -> Result<Option<Held>, AcceptError> {
        let dir = home.join("locks");
        fs::create_dir_all(&dir)?;
        let open = |folder: &PathBuf| {
            Rooted::open(folder).map_err(|why| AcceptError::Open { folder: folder.clone(), why })
        };
        let roots = folders.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        // In one order for all, so that two with the same folders cannot wait for each other.
        let mut names = std::collections::BTreeSet::new();
        for (root, folder) in roots.iter().zip(folders) {
            names.insert(identity(root, folder)?);
        }
        let mut held = Held { roots, locks: vec![] };
        for (dev, ino) in names {
            let path = dir.join(format!("{dev:x}-{ino:x}"));
            let Some(lock) = locked(&path, how)? else { return Ok(None) };
            held.locks.push((path, lock));
        }
        Ok(Some(held))
    }
}

#[cfg(test)]
mod tests;
