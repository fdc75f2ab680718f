//! Writing what a copy has changed into its layer, in the form that an overlay would have left.

use super::{Made, Tree, write};
use crate::layer;
use crate::rooted::{Kind, PATH_MAX, Print, Rooted, below};
use crate::stack::chmod;
use quire_core::RelPath;
use quire_core::bytes::{escape, unescape};
use rustix::fs::{AtFlags, Mode, OFlags, XattrFlags};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// What the layer is to have at a path.
enum Want {
    /// With this mode; opaque: nothing of the layers below shows in it.
    Dir {
        mode: u32,
        opaque: bool,
    },
    /// As the copy has it.
    Same(Print),
    Deleted,
}

/// What the copy is now.
struct Now {
    nodes: BTreeMap<RelPath, Print>,
    /// Directories that an agent closed to their owner, with the modes that they get back.
    lent: Vec<(OwnedFd, u32)>,
}

impl Drop for Now {
    fn drop(&mut self) {
        for (dir, mode) in self.lent.drain(..).rev() {
            // There is nobody to tell; the directory stays open to its owner.
            let _ = chmod(dir.as_fd(), mode);
        }
    }
}

impl Tree {
    pub(super) fn settle(&mut self) -> io::Result<()> {
        let copy = match Rooted::open(&self.at) {
            // The agent removed even the top: everything is deleted.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&self.at)?;
                Rooted::open(&self.at)?
            }
            opened => opened?,
        };
        let now = self.look(&copy)?;
        let wanted = self.wanted(&now);
        fs::create_dir_all(&self.upper)?;
        let upper = Rooted::open(&self.upper)?;
        let kept = clear(&upper, &wanted, &mut self.written)?;
        // Names of one file stay that: as many copies as names could fill the disk.
        let mut files: HashMap<u64, &RelPath> = HashMap::new();
        for (path, want) in &wanted {
            match want {
                Want::Dir { opaque, .. } => {
                    if !kept.contains(path) {
                        rustix::fs::mkdirat(&upper, os(path), Mode::RWXU)?;
                    }
                    if *opaque {
                        let dir = upper.open_at(Some(path), OFlags::RDONLY | OFlags::DIRECTORY)?;
                        rustix::fs::fsetxattr(&dir, "user.overlay.opaque", b"y", XattrFlags::empty())?;
                    }
                }
                Want::Deleted if kept.contains(path) => {}
                Want::Deleted => layer::delete(upper.parent(path)?, OsStr::from_bytes(path.name()))?,
                Want::Same(print) if kept.contains(path) && self.written.get(path) == Some(print) => {
                    files.insert(print.ino, path);
                }
                Want::Same(print) => {
                    if kept.contains(path) {
                        rustix::fs::unlinkat(&upper, os(path), AtFlags::empty())?;
                    }
                    match files.get(&print.ino).filter(|_| print.kind == Kind::File) {
                        Some(other) => {
                            rustix::fs::linkat(&upper, os(other), &upper, os(path), AtFlags::empty())?;
                        }
                        None => carry(&copy, &upper, path, print)?,
                    }
                    files.insert(print.ino, path);
                    self.written.insert(path.clone(), *print);
                }
            }
        }
        // Innermost first: a mode may close a directory.
        for (path, want) in wanted.iter().rev() {
            if let Want::Dir { mode, .. } = want {
                let dir = upper.open_at(Some(path), OFlags::RDONLY | OFlags::DIRECTORY)?;
                rustix::fs::fchmod(&dir, Mode::from_raw_mode(mode & 0o1777))?;
            }
        }
        let top = copy.print(None)?.ok_or(io::ErrorKind::NotFound)?;
        Ok(rustix::fs::fchmod(&upper, Mode::from_raw_mode(top.mode & 0o1777))?)
    }

    /// Walks the copy. What is deeper than a path can name is not seen, as in snapshots.
    fn look(&self, copy: &Rooted) -> io::Result<Now> {
        let mut now = Now { nodes: BTreeMap::new(), lent: Vec::new() };
        let mut open = vec![None::<RelPath>];
        while let Some(dir) = open.pop() {
            for name in copy.names(dir.as_ref())? {
                let path = below(dir.as_ref(), &name)?;
                if path.as_bytes().len() > PATH_MAX || self.apart.contains(&path) {
                    continue;
                }
                let Some(print) = copy.print(Some(&path))? else { continue };
                match print.kind {
                    Kind::Whiteout | Kind::Other => continue,
                    Kind::Dir => {
                        if print.mode & 0o700 != 0o700 && !rustix::process::geteuid().is_root() {
                            let node = copy.open_at(Some(&path), OFlags::PATH)?;
                            chmod(node.as_fd(), print.mode | 0o700)?;
                            now.lent.push((node, print.mode));
                        }
                        open.push(Some(path.clone()));
                    }
                    Kind::File | Kind::Link => {}
                }
                now.nodes.insert(path, print);
            }
        }
        Ok(now)
    }

    fn wanted(&self, now: &Now) -> BTreeMap<RelPath, Want> {
        let mut wanted: BTreeMap<RelPath, Want> = BTreeMap::new();
        let was_gone = |path: &RelPath| self.made.gone.contains(&escape(path.as_bytes()));
        for (path, print) in &now.nodes {
            let made = self.made.nodes.get(&escape(path.as_bytes()));
            let same = made.is_some_and(|made| !made.own && is_same(&made.print, print));
            if same {
                continue;
            }
            let want = match print.kind {
                Kind::Dir => Want::Dir { mode: print.mode, opaque: was_gone(path) },
                _ => Want::Same(*print),
            };
            wanted.insert(path.clone(), want);
        }
        let is_dir = |path: Option<RelPath>| {
            path.is_none_or(|path| now.nodes.get(&path).is_some_and(|print| print.kind == Kind::Dir))
        };
        // Parents come before what is in them.
        let mut kept_for_secrets = BTreeSet::new();
        for (path, below) in self.made.all() {
            let parent_stands = is_dir(path.parent())
                || path.parent().is_some_and(|parent| kept_for_secrets.contains(&parent));
            if now.nodes.contains_key(&path) || !parent_stands || !below {
                continue;
            }
            let made = self.made.nodes.get(&escape(path.as_bytes()));
            let holds_secret = self.apart.iter().any(|apart| apart != &path && apart.is_within(&path));
            match made {
                // A secret in it was never seen, and so cannot have been meant.
                Some(made) if made.print.kind == Kind::Dir && holds_secret => {
                    wanted.insert(path.clone(), Want::Dir { mode: made.print.mode, opaque: false });
                    kept_for_secrets.insert(path);
                }
                _ => {
                    wanted.insert(path, Want::Deleted);
                }
            }
        }
        // The ways to all that.
        let ways: Vec<RelPath> = wanted.keys().cloned().collect();
        for path in ways {
            let mut up = path.parent();
            while let Some(dir) = up {
                up = dir.parent();
                if let Some(print) = now.nodes.get(&dir) {
                    wanted.entry(dir).or_insert(Want::Dir { mode: print.mode, opaque: false });
                }
            }
        }
        wanted
    }
}

impl Made {
    /// Returns every path that was there or below, parents first, and whether the layers below have it.
    fn all(&self) -> BTreeMap<RelPath, bool> {
        let nodes = self.nodes.iter().map(|(path, node)| (path, node.below));
        let gone = self.gone.iter().map(|path| (path, true));
        let read = |(path, below): (&String, bool)| Some((RelPath::new(unescape(path)?)?, below));
        nodes.chain(gone).filter_map(read).collect()
    }
}

/// Whether nobody touched it. A directory's times are those of what is in it.
fn is_same(made: &Print, now: &Print) -> bool {
    match (made.kind, now.kind) {
        (Kind::Dir, Kind::Dir) => made.mode == now.mode,
        _ => made == now,
    }
}

/// Removes from a layer's part what is not wanted there as it is; returns the paths that stay.
fn clear(
    upper: &Rooted,
    wanted: &BTreeMap<RelPath, Want>,
    written: &mut HashMap<RelPath, Print>,
) -> io::Result<BTreeSet<RelPath>> {
    let mut kept = BTreeSet::new();
    let mut open = vec![None::<RelPath>];
    while let Some(dir) = open.pop() {
        for name in upper.names(dir.as_ref())? {
            let path = below(dir.as_ref(), &name)?;
            let Some(print) = upper.print(Some(&path))? else { continue };
            if print.kind == Kind::Dir {
                let node = upper.open_at(Some(&path), OFlags::PATH)?;
                chmod(node.as_fd(), 0o700)?;
            }
            let deleted = is_deleted(upper, &path, &print)?;
            let fits = match wanted.get(&path) {
                Some(Want::Dir { .. }) => print.kind == Kind::Dir,
                Some(Want::Deleted) => deleted,
                Some(Want::Same(_)) => print.kind != Kind::Dir && !deleted,
                None => false,
            };
            if fits {
                if print.kind == Kind::Dir {
                    open.push(Some(path.clone()));
                }
                kept.insert(path);
            } else {
                written.retain(|known, _| !known.is_within(&path));
                remove(upper, &path, &print)?;
            }
        }
    }
    Ok(kept)
}

fn is_deleted(upper: &Rooted, path: &RelPath, print: &Print) -> io::Result<bool> {
    if print.kind != Kind::File || print.bytes > 0 {
        return Ok(print.kind == Kind::Whiteout);
    }
    let file = upper.open_at(Some(path), OFlags::PATH)?;
    let name = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    Ok(rustix::fs::getxattr(name.as_str(), layer::WHITEOUT, &mut [0u8; 2]).is_ok())
}

fn remove(upper: &Rooted, path: &RelPath, print: &Print) -> io::Result<()> {
    if print.kind != Kind::Dir {
        return Ok(rustix::fs::unlinkat(upper, os(path), AtFlags::empty())?);
    }
    for name in upper.names(Some(path))? {
        let inner = below(Some(path), &name)?;
        if let Some(print) = upper.print(Some(&inner))? {
            if print.kind == Kind::Dir {
                chmod(upper.open_at(Some(&inner), OFlags::PATH)?.as_fd(), 0o700)?;
            }
            remove(upper, &inner, &print)?;
        }
    }
    Ok(rustix::fs::unlinkat(upper, os(path), AtFlags::REMOVEDIR)?)
}

/// Copies one file or link from the copy into the layer's part.
fn carry(copy: &Rooted, upper: &Rooted, path: &RelPath, print: &Print) -> io::Result<()> {
    if print.kind == Kind::Link {
        return Ok(rustix::fs::symlinkat(OsStr::from_bytes(&copy.link(path)?), upper, os(path))?);
    }
    let mut from = match copy.file(path) {
        // Its mode forbids reading; the owner is lent the right for the moment.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let node = copy.open_at(Some(path), OFlags::PATH)?;
            chmod(node.as_fd(), print.mode | 0o400)?;
            let opened: io::Result<File> = copy.file(path);
            chmod(node.as_fd(), print.mode)?;
            opened?
        }
        opened => opened?,
    };
    write(&mut from, upper, os(path), print)
}

fn os(path: &RelPath) -> &OsStr {
    OsStr::from_bytes(path.as_bytes())
}
