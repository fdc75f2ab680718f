//! Two names in one directory: the one that a person knows, and the one aside that nobody else takes. What stands at one comes
//! to stand at the other, and nothing is ever replaced that somebody put there meanwhile.
//!
//! Linux does each of these in one step, where the disk can. Some disks cannot (NFS, 9p, FAT, most FUSE disks). There the same
//! is done in several, with a name for each thing that is on its way, so that whoever comes after a crash sees from the names
//! alone what was going on, and [`Pair::settle`] makes one of both ends of it. From one end of an exchange to the other, and in
//! the same way back:
//!
//! ```text
//!  name   aside   was
//!  old    new
//!         new     old    the name is missing for a moment; who takes it now is not replaced, and the old stays where it is
//!  new            old
//!  new    old
//! ```
//!
//! To a name that was free a file comes by a second link, which replaces nothing, and the loss of its first. Where there are no
//! links either, it is written there anew from what is then called `coming`; what was there before, and cannot be written anew
//! (a full disk), is renamed, so that nothing of a person's stays without its name. A directory is simply renamed: it replaces
//! nothing but an empty one.
//!
//! Whether two names are one thing is told by inode, or by everything else about them: FUSE disks may give each name a number
//! of its own, and new ones after they were mounted anew.

use super::attributes;
use super::journal::How;
use crate::holes::{self, Sparse};
use crate::rooted::{Kind, Print, link_in, print_in, rename_to_free, rename_with};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

/// Compared at a time, in bytes.
const PART: usize = 64 << 10;

/// What comes to the name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comes {
    New,
    /// What had the name before.
    Back,
}

pub struct Pair {
    dir: OwnedFd,
    name: Vec<u8>,
    aside: Vec<u8>,
    /// Where the old is while the new takes its name.
    was: Vec<u8>,
}

impl Pair {
    pub fn new(dir: OwnedFd, name: &[u8], aside: &str) -> Pair {
        let was = format!("{aside}-was").into_bytes();
        Pair { dir, name: name.to_vec(), aside: aside.into(), was }
    }

    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Returns what a person sees there.
    pub fn at_name(&self) -> io::Result<Option<Print>> {
        print_in(self.dir(), &self.name)
    }

    pub fn at_aside(&self) -> io::Result<Option<Print>> {
        print_in(self.dir(), &self.aside)
    }

    /// Moves what is aside to the name; `AlreadyExists` where something is there.
    pub fn put(&self) -> io::Result<()> {
        self.put_from(&self.aside, Comes::New)
    }

    /// The same with what was at the name before.
    pub fn put_back(&self) -> io::Result<()> {
        self.put_from(&self.aside, Comes::Back)
    }

    /// Moves what has the name aside; `NotFound` where nothing is there.
    pub fn take(&self) -> io::Result<()> {
        rename_to_free(self.at(&self.name), self.at(&self.aside))
    }

    /// Lets the old, at the name, and the new, aside, change places. `NotFound`: nothing had the name. `AlreadyExists`: somebody
    /// took it in the midst.
    pub fn swap_in(&self) -> io::Result<()> {
        if rename_with(self.at(&self.aside), self.at(&self.name), RenameFlags::EXCHANGE)? {
            return Ok(());
        }
        rename_to_free(self.at(&self.name), self.at(&self.was))?;
        self.put()?;
        rename_to_free(self.at(&self.was), self.at(&self.aside))
    }

    /// The same back, when the new has the name.
    pub fn swap_back(&self) -> io::Result<()> {
        if rename_with(self.at(&self.aside), self.at(&self.name), RenameFlags::EXCHANGE)? {
            return Ok(());
        }
        rename_to_free(self.at(&self.aside), self.at(&self.was))?;
        self.take()?;
        self.put_from(&self.was, Comes::Back)
    }

    /// Ends what a dead process was in the midst of. Returns false where it cannot be ended, because somebody took the name: then
    /// the new is aside, and the old beside it.
    pub fn settle(&self, how: How) -> io::Result<bool> {
        self.uncopy(&self.aside)?;
        if how != How::Swap {
            if self.is_one_thing(&self.name, &self.aside)? {
                self.remove(&self.aside)?;
            }
            return Ok(true);
        }
        self.uncopy(&self.was)?;
        if print_in(self.dir(), &self.was)?.is_none() {
            return Ok(true);
        }
        if self.is_one_thing(&self.name, &self.was)? {
            self.remove(&self.was)?;
            return Ok(true);
        }
        if self.is_one_thing(&self.name, &self.aside)? {
            self.remove(&self.aside)?;
        }
        if self.at_aside()?.is_none() {
            rename_to_free(self.at(&self.was), self.at(&self.aside))?;
            return Ok(true);
        }
        match self.put_from(&self.was, Comes::Back) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            done => done.map(|()| true),
        }
    }

    fn at<'n>(&'n self, name: &'n [u8]) -> (BorrowedFd<'n>, &'n [u8]) {
        (self.dir(), name)
    }

    /// Moves `from` to the name, which nothing has.
    fn put_from(&self, from: &[u8], comes: Comes) -> io::Result<()> {
        if rename_with(self.at(from), self.at(&self.name), RenameFlags::NOREPLACE)? {
            return Ok(());
        }
        if print_in(self.dir(), from)?.is_some_and(|print| print.kind == Kind::Dir) {
            return rename_to_free(self.at(from), self.at(&self.name));
        }
        let (old, new) = (OsStr::from_bytes(from), OsStr::from_bytes(&self.name));
        match rustix::fs::linkat(self.dir(), old, self.dir(), new, AtFlags::empty()) {
            Ok(()) => self.remove(from),
            // No links on this disk, or not to this file.
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::MLINK) => {
                self.copy_from(from, comes)
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Makes the name what `from` is, and removes that.
    fn copy_from(&self, from: &[u8], comes: Comes) -> io::Result<()> {
        let coming = coming(from);
        rename_to_free(self.at(from), self.at(&coming))?;
        match self.copy(&coming, comes) {
            Ok(()) => self.remove(&coming),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                rename_to_free(self.at(&coming), self.at(from))?;
                Err(e)
            }
            Err(e) => {
                self.uncopy(from)?;
                match comes {
                    Comes::New => Err(e),
                    // Who takes the name in this very moment is replaced; else it would be missing until the disk has room.
                    Comes::Back => rename_to_free(self.at(from), self.at(&self.name)),
                }
            }
        }
    }

    /// Writes what `from` is at the name. Of what is new, what this process or disk cannot give is left as the system gave it: a
    /// group that the person is not in, and the time.
    fn copy(&self, from: &[u8], comes: Comes) -> io::Result<()> {
        let can_do_without = |given: rustix::io::Result<()>, refusals: &[Errno]| match given {
            Err(e) if comes == Comes::New && refusals.contains(&e) => Ok(()),
            given => given,
        };
        let print = print_in(self.dir(), from)?.ok_or(io::ErrorKind::NotFound)?;
        let name = OsStr::from_bytes(&self.name);
        if print.kind == Kind::Link {
            let (uid, gid) = (Some(Uid::from_raw(print.uid)), Some(Gid::from_raw(print.gid)));
            let target = link_in(self.dir(), from)?;
            rustix::fs::symlinkat(OsStr::from_bytes(&target), self.dir(), name)?;
            let is = print_in(self.dir(), &self.name)?.ok_or(io::ErrorKind::NotFound)?;
            if (is.uid, is.gid) == (print.uid, print.gid) {
                return Ok(());
            }
            let given = rustix::fs::chownat(self.dir(), name, uid, gid, AtFlags::SYMLINK_NOFOLLOW);
            return Ok(can_do_without(given, if is.uid == print.uid { &[Errno::PERM] } else { &[] })?);
        }
        let content = self.file(from)?;
        // Of the very file that is read, whatever has its name by now.
        let print = Print::of(&rustix::fs::fstat(&content)?);
        let (uid, gid) = (Some(Uid::from_raw(print.uid)), Some(Gid::from_raw(print.gid)));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(self.dir(), name, flags, Mode::RUSR | Mode::WUSR)?;
        let mut made = File::from(made);
        // Cut off again when all of it is there.
        made.write_all_at(&mark(from), print.bytes)?;
        holes::copy(Sparse::new(&content), &mut made)?;
        let is = Print::of(&rustix::fs::fstat(&made)?);
        if (is.uid, is.gid) != (print.uid, print.gid) {
            let given = rustix::fs::fchown(&made, uid, gid);
            can_do_without(given, if is.uid == print.uid { &[Errno::PERM] } else { &[] })?;
        }
        attributes::carry_over(content.as_fd(), made.as_fd())?;
        let is = Print::of(&rustix::fs::fstat(&made)?);
        // Whoever runs it becomes its owner or group only where they are the same.
        let kept = if (is.uid, is.gid) == (print.uid, print.gid) { 0o7777 } else { 0o1777 };
        if is.mode != print.mode & kept {
            rustix::fs::fchmod(&made, Mode::from_raw_mode(print.mode & kept))?;
        }
        let now_or = |ns: i64| Timespec {
            tv_sec: ns.div_euclid(1_000_000_000),
            tv_nsec: ns.rem_euclid(1_000_000_000),
        };
        let times =
            Timestamps { last_access: now_or(print.mtime_ns), last_modification: now_or(print.mtime_ns) };
        let refusals = [Errno::PERM, Errno::ACCESS, Errno::OPNOTSUPP, Errno::NOSYS, Errno::INVAL];
        can_do_without(rustix::fs::futimens(&made, &times), &refusals)?;
        made.sync_all()
    }

    /// Takes back a copy of `from` that was begun: all of it is still there.
    fn uncopy(&self, from: &[u8]) -> io::Result<()> {
        let coming = coming(from);
        if print_in(self.dir(), &coming)?.is_none() {
            return Ok(());
        }
        if self.is_copy_of(&self.name, &coming)? {
            self.remove(&self.name)?;
        }
        rename_to_free(self.at(&coming), self.at(from))
    }

    fn remove(&self, name: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(self.dir(), OsStr::from_bytes(name), AtFlags::empty())?)
    }

    fn file(&self, name: &[u8]) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(self.dir(), OsStr::from_bytes(name), flags, Mode::empty())?.into())
    }

    /// Returns whether one thing, no directory, has both names, or two that differ in nothing.
    fn is_one_thing(&self, one: &[u8], other: &[u8]) -> io::Result<bool> {
        let (Some(a), Some(b)) = (print_in(self.dir(), one)?, print_in(self.dir(), other)?) else {
            return Ok(false);
        };
        let alike = |print: &Print| (print.kind, print.mode, print.bytes, print.mtime_ns);
        Ok(a.kind != Kind::Dir
            && ((a.dev, a.ino) == (b.dev, b.ino) || alike(&a) == alike(&b) && self.holds_what(one, other)?))
    }

    /// Returns whether `name` is a copy of `coming` that [`Pair::copy`] began, as far as it came: nothing yet, all of it, or
    /// whatever ends with the mark. What somebody else wrote there is neither.
    fn is_copy_of(&self, name: &[u8], coming: &[u8]) -> io::Result<bool> {
        let (Some(a), Some(b)) = (print_in(self.dir(), name)?, print_in(self.dir(), coming)?) else {
            return Ok(false);
        };
        if a.kind != Kind::File || b.kind != Kind::File || a.bytes == b.bytes {
            return self.holds_what(name, coming);
        }
        let mark = mark(coming);
        let Some(more) = a.bytes.checked_sub(b.bytes).filter(|more| *more <= mark.len() as u64) else {
            return Ok(a.bytes == 0);
        };
        // A full disk may have cut the mark short.
        let mut end = vec![0; more as usize];
        self.file(name)?.read_exact_at(&mut end, b.bytes)?;
        Ok(mark.starts_with(&end))
    }

    /// Returns whether two files hold the same, or two links lead to the same.
    fn holds_what(&self, one: &[u8], other: &[u8]) -> io::Result<bool> {
        let (Some(a), Some(b)) = (print_in(self.dir(), one)?, print_in(self.dir(), other)?) else {
            return Ok(false);
        };
        match (a.kind, b.kind) {
            (Kind::Link, Kind::Link) => Ok(link_in(self.dir(), one)? == link_in(self.dir(), other)?),
            (Kind::File, Kind::File) if a.bytes == b.bytes => {
                are_alike(Sparse::new(&self.file(one)?), Sparse::new(&self.file(other)?))
            }
            _ => Ok(false),
        }
    }
}

/// Returns what something is called while it is written anew.
fn coming(name: &[u8]) -> Vec<u8> {
    [name, b"-coming"].concat()
}

/// Returns what stands behind the content of a file that is written anew until all of it is there, which nobody else writes.
pub fn mark(coming: &[u8]) -> Vec<u8> {
    [b"\n[quire] Being written anew: ", coming, b"\n"].concat()
}

fn are_alike(mut one: impl Read, mut other: impl Read) -> io::Result<bool> {
    let (mut a, mut b) = (Vec::with_capacity(PART), Vec::with_capacity(PART));
    loop {
        a.clear();
        b.clear();
        one.by_ref().take(PART as u64).read_to_end(&mut a)?;
        other.by_ref().take(PART as u64).read_to_end(&mut b)?;
        if a != b || a.is_empty() {
            return Ok(a == b);
        }
    }
}
