//! Layers seen as one tree, by overlayfs's rules: a layer's file hides what lies below it, directories merge down to the
//! first that is no directory, a whiteout deletes, an opaque directory hides what older layers have in it.
//!
//! Done here without a mount, so that a dead sandbox's layers can be read by anyone who may read their files.

mod merge;

use crate::layer::{self, Marks};
use crate::rooted::{Kind, PATH_MAX, Print, Rooted, below};
use quire_core::RelPath;
use rustix::fs::{AtFlags, Mode, OFlags};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

pub struct Stack {
    /// Newest first.
    layers: Vec<Rooted>,
    /// Where the marks of each are.
    marks: Vec<Marks>,
    /// Directories that an agent had closed to their owner, which is quire; their modes come back when the stack is done
    /// with.
    lent: RefCell<Vec<(OwnedFd, u32)>>,
}

impl Drop for Stack {
    fn drop(&mut self) {
        for (dir, mode) in self.lent.borrow_mut().drain(..).rev() {
            // There is nobody to tell; the directory stays open to its owner.
            let _ = chmod(dir.as_fd(), mode);
        }
    }
}

/// A merged directory.
#[derive(Clone, Debug)]
pub struct Place {
    pub path: Option<RelPath>,
    /// The layers that have a part in it, newest first.
    pub layers: Vec<usize>,
}

/// What the merged tree has at a path.
#[derive(Clone, Debug)]
pub struct Found {
    pub path: RelPath,
    /// The newest layer that has it: the one whose content and mode show.
    pub layer: usize,
    pub print: Print,
    /// Where it is a directory: the layers merged in it.
    pub layers: Vec<usize>,
}

impl Found {
    pub fn place(&self) -> Place {
        Place { path: Some(self.path.clone()), layers: self.layers.clone() }
    }
}

impl Stack {
    /// Opens the layers, newest first. A layer that is absent has nothing in it.
    pub fn open(layers: &[PathBuf]) -> io::Result<Stack> {
        let (mut opened, mut marks) = (vec![], vec![]);
        for layer in layers {
            match Rooted::open(layer) {
                Ok(rooted) => {
                    opened.push(rooted);
                    marks.push(layer::marks_of(layer));
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(Stack { layers: opened, marks, lent: RefCell::default() })
    }

    /// Returns the stack of these directories, newest first, each with where its marks are.
    pub fn of(dirs: Vec<(Rooted, Marks)>) -> Stack {
        let (layers, marks) = dirs.into_iter().unzip();
        Stack { layers, marks, lent: RefCell::default() }
    }

    /// Returns this stack upon another.
    pub fn upon(mut self, mut lower: Stack) -> Stack {
        self.layers.extend(std::mem::take(&mut lower.layers));
        self.marks.extend(std::mem::take(&mut lower.marks));
        self.lent.get_mut().extend(lower.lent.take());
        self
    }

    /// Returns how many layers it has.
    pub fn height(&self) -> usize {
        self.layers.len()
    }

    pub fn top(&self) -> io::Result<Place> {
        let mut layers = vec![];
        for (i, layer) in self.layers.iter().enumerate() {
            layers.push(i);
            if self.is_opaque(i, layer.as_fd()) {
                break;
            }
        }
        Ok(Place { path: None, layers })
    }

    /// Returns what the merged tree's own directory is: the newest layer's.
    pub fn top_print(&self) -> io::Result<Print> {
        let layer = self.layers.first().ok_or(io::ErrorKind::NotFound)?;
        Ok(layer.print(None)?.ok_or(io::ErrorKind::NotFound)?)
    }

    /// Returns the names that the first `count` layers have in `place`, deleted ones too.
    pub fn names(&self, place: &Place, count: usize) -> io::Result<BTreeSet<Vec<u8>>> {
        let mut names = BTreeSet::new();
        for layer in place.layers.iter().filter(|layer| **layer < count) {
            names.extend(self.layers[*layer].names(place.path.as_ref())?);
        }
        Ok(names)
    }

    /// Returns what shows as `name` in `place`.
    pub fn enter(&self, place: &Place, name: &[u8]) -> io::Result<Option<Found>> {
        let seen = self.see(place, name)?;
        let shows = |found: &Found| !matches!(found.print.kind, Kind::Whiteout | Kind::Other);
        Ok(seen.map(|(found, _)| found).filter(shows))
    }

    /// Returns whether it is a pipe, a socket or a device that has the name `name` in `place`, and so does not show.
    pub fn is_special(&self, place: &Place, name: &[u8]) -> io::Result<bool> {
        Ok(self.see(place, name)?.is_some_and(|(found, _)| found.print.kind == Kind::Other))
    }

    /// Returns what the layers have as `name` in `place`, a deletion or a device too, and whether it hides what lies below
    /// the last of them.
    fn see(&self, place: &Place, name: &[u8]) -> io::Result<Option<(Found, bool)>> {
        let path = below(place.path.as_ref(), name)?;
        if path.as_bytes().len() > PATH_MAX {
            return Ok(None);
        }
        let mut found: Option<Found> = None;
        for &layer in &place.layers {
            let Some(mut print) = self.layers[layer].print(Some(&path))? else {
                continue;
            };
            if print.kind == Kind::Dir && print.mode & 0o500 != 0o500 && !rustix::process::geteuid().is_root()
            {
                let dir = self.layers[layer].open_at(Some(&path), OFlags::PATH)?;
                chmod(dir.as_fd(), print.mode | 0o500)?;
                self.lent.borrow_mut().push((dir, print.mode));
            }
            if self.is_marked_deleted(layer, &path, &print)? {
                print.kind = Kind::Whiteout;
            }
            match (&mut found, print.kind) {
                (None, Kind::Dir) => {
                    found = Some(Found { path: path.clone(), layer, print, layers: vec![layer] });
                }
                (None, _) => return Ok(Some((Found { path, layer, print, layers: vec![] }, true))),
                (Some(found), Kind::Dir) => found.layers.push(layer),
                (Some(_), _) => return Ok(found.map(|found| (found, true))),
            }
            let dir = self.layers[layer].open_at(Some(&path), OFlags::RDONLY | OFlags::DIRECTORY)?;
            if self.is_opaque(layer, dir.as_fd()) {
                return Ok(found.map(|found| (found, true)));
            }
        }
        Ok(found.map(|found| (found, false)))
    }

    /// Returns what shows at `path`.
    pub fn find(&self, path: &RelPath) -> io::Result<Option<Found>> {
        let mut place = self.top()?;
        let mut found = None;
        for name in path.as_bytes().split(|b| *b == b'/') {
            found = self.enter(&place, name)?;
            match &found {
                Some(here) => place = here.place(),
                None => return Ok(None),
            }
        }
        Ok(found)
    }

    /// Opens the content of a file that was found. Where its mode forbids that, its owner is lent the right for the moment:
    /// layers are quire's, but an agent may have put any mode on what is in them.
    pub fn content(&self, found: &Found) -> io::Result<File> {
        let layer = &self.layers[found.layer];
        let first = layer.file(&found.path);
        if !matches!(&first, Err(e) if e.kind() == io::ErrorKind::PermissionDenied) {
            return first;
        }
        let node = layer.open_at(Some(&found.path), OFlags::PATH)?;
        chmod(node.as_fd(), found.print.mode | 0o400)?;
        let second = layer.file(&found.path);
        chmod(node.as_fd(), found.print.mode)?;
        second
    }

    /// Returns whether overlayfs shows nothing of older layers in this directory of a layer.
    fn is_opaque(&self, layer: usize, dir: BorrowedFd<'_>) -> bool {
        layer::is_opaque(dir, self.marks[layer])
    }

    /// Returns whether a file of a layer stands for a deletion. Where an agent could set the mark, it stands for itself.
    fn is_marked_deleted(&self, layer: usize, path: &RelPath, print: &Print) -> io::Result<bool> {
        if print.kind != Kind::File || print.bytes > 0 || self.marks[layer] == Marks::Trusted {
            return Ok(false);
        }
        let file = self.layers[layer].open_at(Some(path), OFlags::PATH)?;
        let name = format!("/proc/self/fd/{}", file.as_raw_fd());
        Ok(rustix::fs::getxattr(name.as_str(), layer::WHITEOUT, &mut [0u8; 2]).is_ok())
    }

    /// Makes what was found, which is no directory, the same file at its path in `to`.
    pub fn hard_link(&self, found: &Found, to: &Rooted) -> io::Result<()> {
        let from = self.layers[found.layer].parent(&found.path)?;
        let (name, path) = (OsStr::from_bytes(found.path.name()), OsStr::from_bytes(found.path.as_bytes()));
        Ok(rustix::fs::linkat(from, name, to, path, AtFlags::empty())?)
    }

    pub fn link(&self, found: &Found) -> io::Result<Vec<u8>> {
        self.layers[found.layer].link(&found.path)
    }

    /// Returns what `found` is in its layer now.
    pub fn print(&self, found: &Found) -> io::Result<Option<Print>> {
        self.layers[found.layer].print(Some(&found.path))
    }
}

/// Changes the mode of what an O_PATH descriptor holds. Only /proc leads from one to the file (fchmodat2 is newer than
/// the kernels quire runs on).
pub fn chmod(node: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
    let path = format!("/proc/self/fd/{}", node.as_raw_fd());
    Ok(rustix::fs::chmod(path.as_str(), Mode::from_raw_mode(mode))?)
}
