//! What a task's layers have of one directory of the machine, however the machine was cut when they were written.
//!
//! The machine is shown in pieces, each an overlay whose changes lie by themselves in a layer ([`crate::layer`]). Where it is
//! cut goes by what is mounted at the moment, and mounts come and go between two turns. So the changes of a directory can
//! be in a layer's piece of that name, or further down in the piece of a directory above; and a name of a piece that is none
//! any more must be one again, or what is in it would not be seen.

use crate::layer::{self, Marks};
use crate::rooted::{Kind, Rooted, below};
use rustix::fs::OFlags;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The pieces that some layers were cut into.
pub struct Pieces {
    layers: Vec<Layer>,
}

struct Layer {
    path: PathBuf,
    marks: Marks,
    /// The directories of the machine that were pieces of their own.
    cut: BTreeSet<PathBuf>,
}

/// What layers have of one directory.
pub struct Changes {
    /// The directories to be merged, newest first, with where the marks of each are.
    pub dirs: Vec<(Rooted, Marks)>,
    /// Whether nothing below them shows: it was deleted or replaced.
    pub hides: bool,
}

impl Pieces {
    /// Reads how these layers are cut, newest first. One that is absent has no pieces.
    pub fn of<'a>(layers: impl IntoIterator<Item = &'a PathBuf>) -> io::Result<Pieces> {
        let read = |path: &PathBuf| -> io::Result<Layer> {
            let all = layer::machine_all(path);
            let mut cut = BTreeSet::new();
            match std::fs::read_dir(&all) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                entries => {
                    for entry in entries? {
                        cut.insert(layer::path_of(&entry?.file_name()));
                    }
                }
            }
            Ok(Layer { path: path.clone(), marks: layer::marks_of(&all), cut })
        };
        Ok(Pieces { layers: layers.into_iter().map(read).collect::<io::Result<_>>()? })
    }

    /// Returns every directory that is a piece of any of the layers.
    pub fn all(&self) -> BTreeSet<PathBuf> {
        self.layers.iter().flat_map(|layer| layer.cut.iter().cloned()).collect()
    }

    /// Returns what the layers have of `at`, apart from upper directories that are to be left out. Where one layer has it in
    /// several pieces the inmost is the newest, because it covered the others.
    pub fn changes(&self, at: &Path, left_out: &dyn Fn(&Path) -> bool) -> io::Result<Changes> {
        let mut changes = Changes { dirs: Vec::new(), hides: false };
        for layer in &self.layers {
            for piece in at.ancestors().filter(|above| layer.cut.contains(*above)) {
                let upper = layer::machine(&layer.path, piece);
                if left_out(&upper) {
                    continue;
                }
                let below = at.strip_prefix(piece).unwrap_or(Path::new(""));
                let (dir, hides) = walk(Rooted::open(&upper)?, below, layer.marks)?;
                changes.dirs.extend(dir.map(|dir| (dir, layer.marks)));
                if hides {
                    changes.hides = true;
                    return Ok(changes);
                }
            }
        }
        Ok(changes)
    }
}

/// Walks from a piece down to a directory in it. Returns that, if it is there, and whether anything on the way hides what
/// older layers have at the end of it.
fn walk(piece: Rooted, path: &Path, marks: Marks) -> io::Result<(Option<Rooted>, bool)> {
    let (mut here, mut hides) = (piece, false);
    for name in path {
        let next = below(None, name.as_bytes())?;
        match here.print(Some(&next))?.map(|print| print.kind) {
            None => return Ok((None, hides)),
            Some(Kind::Dir) => {}
            Some(_) => return Ok((None, true)),
        }
        here = Rooted::from(here.open_at(Some(&next), OFlags::RDONLY | OFlags::DIRECTORY)?);
        hides |= layer::is_opaque(here.as_fd(), marks);
    }
    Ok((Some(here), hides))
}
