//! Folds of long logs, kept beside them, so that who comes anew folds only what came since. The log alone is the truth: what is
//! kept here is believed only where it is whole, of this task, by the code that reads it, and where the log still has the very
//! event that it ends with, and as many before it. In any doubt it is as if there were none, and nothing that is written here has to last.
//!
//! `tasks/N/fold`: a head of fixed size, then the fold. It goes with all else that a task left.

use crate::place::Place;
use quire_core::{Phase, Task};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Shorter logs are folded as fast as a kept fold is read, and logs that grew by less since it was kept.
const EVENTS_MIN: u64 = 4_096;
/// While a task works, its fold is kept anew once this part of its log came since: what a long task writes stays in proportion
/// to it.
const GROWN_BY: u64 = 4;

/// What folded it. Another quire may make something else of the same events.
pub(super) const FOLD: &[u8; 16] = match env!("QUIRE_FOLD").as_bytes().first_chunk() {
    Some(fold) => fold,
    None => panic!("build.rs gives sixteen letters"),
};
const MAGIC: &[u8; 16] = b"quire fold, v1\r\n";
/// The magic, the hash of all that follows it, what folded it, the task, the last event's place and its sum.
const HEAD: usize = 16 + 32 + 16 + 8 + 8 + 16;

/// The kept folds of one home.
pub(super) struct Kept(PathBuf);

/// A fold and the proof in the log of its last event.
pub(super) struct Fold {
    pub task: Arc<Task>,
    pub sum: [u8; 16],
}

/// Returns whether a fold is worth keeping, where one of the first `kept` events is kept already.
pub(super) fn is_due(task: &Task, kept: u64) -> bool {
    let grown = task.seq.saturating_sub(kept);
    let goes_on = task.phase == Phase::Working && grown < task.seq / GROWN_BY;
    grown >= EVENTS_MIN && !goes_on && task.phase != Phase::Discarded && !task.cleared
}

impl Kept {
    pub fn of(home: &Path) -> Kept {
        Kept(home.to_owned())
    }

    /// Returns the fold that is kept of a task, if it is whole. Whether the log still has its last event is for the caller
    /// to see.
    pub fn read(&self, task: i64) -> Option<Fold> {
        let bytes = Arc::new(fs::read(Place::of(&self.0, task as u64).dir().join("fold")).ok()?);
        let rest = bytes.get(..HEAD)?.strip_prefix(MAGIC)?;
        let (hash, about) = rest.split_at(32);
        let (fold, at) = about.split_at(16);
        let (id, at) = at.split_at(8);
        let (seq, sum) = at.split_at(8);
        if fold != FOLD || id != task.to_le_bytes() || hash != blake3::hash(&bytes[16 + 32..]).as_bytes() {
            return None;
        }
        let folded = Task::of_kept(&bytes, HEAD)?;
        let is_it = folded.id == task as u64 && folded.seq.to_le_bytes() == seq;
        is_it.then_some(Fold { task: Arc::new(folded), sum: sum.try_into().ok()? })
    }

    /// Keeps a fold in the place of the one before. It is not synced: what a power cut leaves of it is not believed.
    pub fn write(&self, fold: &Fold) -> io::Result<()> {
        let mut bytes = Vec::from(MAGIC);
        bytes.extend([0; 32]);
        bytes.extend(FOLD);
        bytes.extend((fold.task.id as i64).to_le_bytes());
        bytes.extend(fold.task.seq.to_le_bytes());
        bytes.extend(fold.sum);
        fold.task.keep(&mut bytes);
        let hash = blake3::hash(&bytes[16 + 32..]);
        bytes[16..16 + 32].copy_from_slice(hash.as_bytes());

        let place = Place::of(&self.0, fold.task.id);
        let dir = place.dir();
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let new = dir.join("fold.new");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new);
        let written = file.and_then(|mut file| file.write_all(&bytes));
        if let Err(full) = written {
            // What the disk has left is for what must not be lost.
            let _ = fs::remove_file(&new);
            return Err(full);
        }
        fs::rename(&new, dir.join("fold"))
    }
}
