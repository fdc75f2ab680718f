//! Making a layer out of a snapshot: for going on after a power cut, for checks, and for returning to an earlier step.

use super::SnapshotError;
use crate::blob::{BlobError, Blobs};
use crate::freeze::Frozen;
use crate::holes::{self, Sparse};
use crate::rooted::{Kind, Rooted};
use quire_core::{Entry, Node, RelPath, Snapshot};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Returns the snapshot as it must be restored upon layers that show `sealed`: what those changed, and what in the snapshot
/// is as in the base again, is put back.
pub fn upon(snapshot: Snapshot, sealed: &Snapshot) -> Snapshot {
    let key = |entry: &Entry| (entry.folder, entry.path.clone());
    let mut all: BTreeMap<_, Entry> =
        sealed.entries.iter().map(|e| (key(e), Entry { now: e.was.clone(), ..e.clone() })).collect();
    all.extend(snapshot.entries.into_iter().map(|e| (key(&e), e)));
    Snapshot { entries: all.into_values().collect() }
}

/// Makes the fresh layer `layer`, whose `folder-N` directories over the frozen folders show exactly what the snapshot
/// holds. `owner` is the uid and gid of everything in it where the sandbox's owners are shifted. Durable when it returns.
pub fn restore(
    snapshot: &Snapshot,
    frozen: &[Frozen],
    layer: &Path,
    owner: Option<u32>,
    blobs: &Blobs,
) -> Result<(), SnapshotError> {
    lay(snapshot, frozen, layer, owner, blobs)?;
    rustix::fs::syncfs(File::open(layer)?).map_err(io::Error::from)?;
    Ok(())
}

/// As [`restore`], for what need not last.
pub fn lay(
    snapshot: &Snapshot,
    frozen: &[Frozen],
    layer: &Path,
    owner: Option<u32>,
    blobs: &Blobs,
) -> Result<(), SnapshotError> {
    std::fs::create_dir_all(layer)?;
    for (index, base) in frozen.iter().enumerate() {
        let dir = quire_sandbox::layer::folder(layer, index);
        std::fs::create_dir(&dir)?;
        let entries: Vec<&Entry> = snapshot.entries.iter().filter(|e| e.folder as usize == index).collect();
        one(&entries, base, &Rooted::open(&dir)?, owner, blobs)?;
    }
    Ok(())
}

fn one(
    entries: &[&Entry],
    base: &Frozen,
    to: &Rooted,
    owner: Option<u32>,
    blobs: &Blobs,
) -> Result<(), SnapshotError> {
    let lower = base.stack()?;
    let own = |path: &OsStr| match owner {
        Some(id) => {
            let (uid, gid) = (Some(Uid::from_raw(id)), Some(Gid::from_raw(id)));
            rustix::fs::chownat(to, path, uid, gid, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from)
        }
        None => Ok(()),
    };
    // The modes that directories end with; until then their owner can write in them.
    let mut dirs: BTreeMap<RelPath, u32> = BTreeMap::new();
    for entry in entries {
        let mut ancestors = vec![];
        let mut up = entry.path.parent();
        while let Some(dir) = up {
            up = dir.parent();
            ancestors.push(dir);
        }
        // A deletion below a deletion, or below a file, is one already.
        let mut hidden = false;
        for dir in ancestors.into_iter().rev() {
            if dirs.contains_key(&dir) {
                continue;
            }
            let there = to.print(Some(&dir))?;
            match (there, lower.find(&dir)?) {
                (None, Some(found)) if found.print.kind == Kind::Dir => {
                    rustix::fs::mkdirat(to, os(&dir), Mode::RWXU).map_err(io::Error::from)?;
                    own(os(&dir))?;
                    dirs.insert(dir, found.print.mode);
                }
                _ => {
                    hidden = true;
                    break;
                }
            }
        }
        if hidden {
            continue;
        }
        let path = os(&entry.path);
        match &entry.now {
            None => {
                let name = OsStr::from_bytes(entry.path.name());
                quire_sandbox::layer::delete(to.parent(&entry.path)?, name)?;
                continue;
            }
            Some(Node::Dir { mode }) => {
                rustix::fs::mkdirat(to, path, Mode::RWXU).map_err(io::Error::from)?;
                dirs.insert(entry.path.clone(), *mode);
            }
            Some(Node::Link { target }) => {
                rustix::fs::symlinkat(OsStr::from_bytes(&target.0), to, path).map_err(io::Error::from)?;
            }
            Some(Node::File { blob, mode, .. }) => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let made =
                    rustix::fs::openat(to, path, flags, Mode::RUSR | Mode::WUSR).map_err(io::Error::from)?;
                let mut made = File::from(made);
                match blobs.open(blob) {
                    Ok(content) => holes::copy(content, &mut made)?,
                    // What is as in the base is not stored again.
                    Err(BlobError::Missing(_)) if entry.was == entry.now => {
                        let found =
                            lower.find(&entry.path)?.ok_or(io::Error::from(io::ErrorKind::NotFound))?;
                        holes::copy(Sparse::new(&lower.content(&found)?), &mut made)?
                    }
                    Err(error) => return Err(error.into()),
                };
                rustix::fs::fchmod(&made, Mode::from_raw_mode(*mode)).map_err(io::Error::from)?;
            }
        }
        own(path)?;
    }
    for (path, mode) in dirs.iter().rev() {
        close(to, Some(path), *mode)?;
    }
    let top = lower.top_print()?;
    own(OsStr::new("."))?;
    close(to, None, top.mode)?;
    Ok(())
}

fn close(to: &Rooted, path: Option<&RelPath>, mode: u32) -> io::Result<()> {
    let dir = to.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
    Ok(rustix::fs::fchmod(dir, Mode::from_raw_mode(mode & 0o1777))?)
}

fn os(path: &RelPath) -> &OsStr {
    OsStr::from_bytes(path.as_bytes())
}
