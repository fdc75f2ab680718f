//! What an accept or undo is about to do, on disk before it does any of it. Any process can finish or roll back what
//! another began, from this alone.
//!
//! The state is the file's suffix, so that moving on is one rename:
//!
//! ```text
//! prepare --> commit --> clean --> after     the folders are exactly as after
//!    |          |
//!    |          +-> back --+
//!    +---------------------+--> before        the folders are exactly as before
//! ```
//!
//! `prepare`: new files are written beside their places under names of their own. `commit`: they are moved in, and what was
//! there is moved aside. `clean`: what is aside is removed. `back`: all is moved back.

use super::AcceptError;
use crate::rooted::sync_dir;
use quire_core::change::LinkTarget;
use quire_core::{Hash, RelPath};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// The task's folders, by the index that each operation names.
    pub folders: Vec<PathBuf>,
    pub operations: Vec<Operation>,
    /// Directories that were to be deleted and stay, because there are ignored ones in them.
    pub kept: Vec<(u32, RelPath)>,
}

/// One atomic change of one name. What lies below it comes and goes with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    pub folder: u32,
    pub path: RelPath,
    pub how: How,
    /// A name in the same directory, that nothing else has: for the new before, for the old after.
    pub aside: String,
    /// What is there before: the path itself, then all below it. Empty: nothing.
    pub old: Vec<Item>,
    pub new: Vec<Item>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Nothing was there.
    Put,
    /// What was there changes places with the new.
    Swap,
    /// Moved aside, and nothing comes.
    Take,
    /// Only the mode changes.
    Mode,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    pub path: RelPath,
    pub what: What,
    /// All twelve bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// The mode is the one that the disk gave, and not the one that it was to have.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_given: bool,
    /// By which the very thing is known again. Absent for what is yet to be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Sighting>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    File { blob: Hash },
    Link { target: LinkTarget },
    Dir,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    pub dev: u64,
    pub ino: u64,
    pub bytes: u64,
    pub mtime_ns: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Prepare,
    Commit,
    Back,
    Clean,
    After,
    Before,
}

const STAGES: [(Stage, &str); 6] = [
    (Stage::Prepare, "prepare"),
    (Stage::Commit, "commit"),
    (Stage::Back, "back"),
    (Stage::Clean, "clean"),
    (Stage::After, "after"),
    (Stage::Before, "before"),
];

/// A journal's place on disk: `DIR/NAME.STAGE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub dir: PathBuf,
    /// Such as `accept-K` or `undo-K`.
    pub name: String,
}

impl Place {
    pub fn at(&self, stage: Stage) -> PathBuf {
        let suffix = STAGES.iter().find(|(s, _)| *s == stage).map_or("", |(_, suffix)| suffix);
        self.dir.join(format!("{}.{suffix}", self.name))
    }

    /// Returns where the journal stands, or `None` where it was never begun.
    pub fn stage(&self) -> Option<Stage> {
        STAGES.iter().map(|(stage, _)| *stage).find(|stage| self.at(*stage).exists())
    }

    /// Returns the files of all journals in a task's directory; none where there is no directory.
    pub fn all_in(dir: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            entries => entries?,
        };
        let mut all = vec![];
        for entry in entries {
            let path = entry?.path();
            let suffix = path.extension().and_then(|suffix| suffix.to_str());
            if suffix.is_some_and(|suffix| STAGES.iter().any(|(_, name)| *name == suffix)) {
                all.push(path);
            }
        }
        Ok(all)
    }

    /// Returns the journals of a task's directory that were begun and not ended.
    pub fn open_in(dir: &Path) -> io::Result<Vec<Place>> {
        let mut open = vec![];
        for entry in fs::read_dir(dir)? {
            let name = entry?.file_name();
            let Some((name, suffix)) = name.to_str().and_then(|n| n.rsplit_once('.')) else {
                continue;
            };
            if ["prepare", "commit", "back", "clean"].contains(&suffix) {
                open.push(Place { dir: dir.to_owned(), name: name.to_owned() });
            }
        }
        open.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(open)
    }

    /// Writes the journal, durable when this returns.
    pub fn begin(&self, journal: &Journal) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let new = self.dir.join(format!("{}.new", self.name));
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(journal)?)?;
        file.sync_all()?;
        // An earlier try that was rolled back is superseded.
        match fs::remove_file(self.at(Stage::Before)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => fs::rename(&new, self.at(Stage::Prepare))?,
        }
        sync_dir(&self.dir)
    }

    pub fn advance(&self, from: Stage, to: Stage) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))?;
        sync_dir(&self.dir)
    }

    pub fn read(&self, stage: Stage) -> Result<Journal, AcceptError> {
        let path = self.at(stage);
        let broken = |why: io::Error| AcceptError::Journal { path: path.clone(), why };
        let json = fs::read(&path).map_err(broken)?;
        serde_json::from_slice(&json).map_err(|e| broken(e.into()))
    }
}
