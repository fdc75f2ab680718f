//! Layers made one layer that shows, upon whatever they stood on, what they show: deletions and hidden directories are kept.
//!
//! Files become second names of the files that show, so that it costs a directory's space for each directory and no more.
//! The layers stay as they are.

use super::{Found, Place, Stack};
use crate::layer::{self, Marks};
use crate::rooted::{Kind, PATH_MAX, Print, Rooted, below};
use quire_core::RelPath;
use rustix::fs::{Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// A directory that was made and gets its marks, owner, mode and times when all in it is.
struct Made {
    path: Option<RelPath>,
    /// The layer whose directory shows.
    layer: usize,
    print: Print,
    /// Whether it must hide what will lie below it.
    hides: bool,
}

impl Stack {
    /// Fills the empty directory `to`, whose layer will stand on `under`, as these do. The marks of all layers must be in one
    /// space, which is `to`'s as well.
    pub fn merge(&self, to: &Rooted, under: &Stack) -> io::Result<()> {
        let Some(marks) = self.marks.first().copied() else { return Ok(()) };
        let top = self.top()?;
        let closed = top.layers.iter().any(|layer| self.is_opaque(*layer, self.layers[*layer].as_fd()));
        let mut made = vec![Made { path: None, layer: 0, print: self.top_print()?, hides: closed }];
        let mut open = vec![(top, if closed { None } else { Some(under.top()?) })];
        while let Some((place, below_it)) = open.pop() {
            for name in self.names(&place, self.height())? {
                if below(place.path.as_ref(), &name)?.as_bytes().len() > PATH_MAX {
                    return Err(io::Error::other("a path in a layer is too long to be moved"));
                }
                let Some((found, closed)) = self.see(&place, &name)? else { continue };
                match found.print.kind {
                    // In a directory with nothing below it overlayfs would show the mark as a file of that name.
                    Kind::Whiteout if below_it.is_none() => {}
                    Kind::Whiteout => layer::delete(to, OsStr::from_bytes(found.path.as_bytes()))?,
                    Kind::Dir => {
                        rustix::fs::mkdirat(to, OsStr::from_bytes(found.path.as_bytes()), Mode::RWXU)?;
                        let deeper = match &below_it {
                            Some(place) if !closed => under.directory(place, &name)?,
                            _ => None,
                        };
                        open.push((found.place(), deeper));
                        let Found { path, layer, print, .. } = found;
                        made.push(Made {
                            path: Some(path),
                            layer,
                            print,
                            hides: closed && below_it.is_some(),
                        });
                    }
                    Kind::File | Kind::Link | Kind::Other => self.hard_link(&found, to)?,
                }
            }
        }
        made.iter().rev().try_for_each(|made| self.finish(made, to, marks))
    }

    /// Returns the merged directory of this name; one that may not be entered, or is another file system's, is none.
    fn directory(&self, place: &Place, name: &[u8]) -> io::Result<Option<Place>> {
        use io::ErrorKind::{CrossesDevices, PermissionDenied};
        match self.enter(place, name) {
            Err(error) if matches!(error.kind(), PermissionDenied | CrossesDevices) => Ok(None),
            found => Ok(found?.filter(|found| found.print.kind == Kind::Dir).map(|found| found.place())),
        }
    }

    fn finish(&self, made: &Made, to: &Rooted, marks: Marks) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let dir = to.open_at(made.path.as_ref(), flags)?;
        let Print { uid, gid, mode, .. } = made.print;
        let is = Print::of(&rustix::fs::fstat(&dir)?);
        if (is.uid, is.gid) != (uid, gid) {
            rustix::fs::fchown(&dir, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        self.copy_attributes(&self.layers[made.layer].open_at(made.path.as_ref(), flags)?, &dir, marks)?;
        if made.hides {
            rustix::fs::fsetxattr(&dir, layer::opaque(marks), b"y", XattrFlags::empty())?;
        }
        let time = Timespec {
            tv_sec: made.print.mtime_ns.div_euclid(1_000_000_000),
            tv_nsec: made.print.mtime_ns.rem_euclid(1_000_000_000) as _,
        };
        rustix::fs::futimens(&dir, &Timestamps { last_access: time, last_modification: time })?;
        Ok(rustix::fs::fchmod(&dir, Mode::from_raw_mode(mode))?)
    }

    /// Copies what an agent may have put on a directory; the overlay's own marks are made anew.
    fn copy_attributes(&self, from: &OwnedFd, to: &OwnedFd, marks: Marks) -> io::Result<()> {
        let mut names = vec![0; 64 << 10];
        let length = match rustix::fs::flistxattr(from, &mut names) {
            Err(rustix::io::Errno::OPNOTSUPP) => return Ok(()),
            length => length?,
        };
        for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let own = marks == Marks::User && name.starts_with(b"user.overlay.");
            if own || !(name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_")) {
                continue;
            }
            let name = OsStr::from_bytes(name);
            let mut value = vec![0; 64 << 10];
            let length = rustix::fs::fgetxattr(from, name, &mut value)?;
            rustix::fs::fsetxattr(to, name, &value[..length], XattrFlags::empty())?;
        }
        Ok(())
    }
}
