//! Removing what may be much, several files at a time. On a file system that tells its disk of each freed extent at once (ext4 without
//! a journal, mounted with `discard`), removing a file waits for the disk, a millisecond or two; waits of many files overlap.

use crate::rooted::{Kind, Rooted, names_of, print_in, rename_to_free};
use crate::stack::chmod;
use rustix::fs::{AtFlags, Mode, OFlags};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Most files that are removed at the same time. They wait for the disk, not for a processor.
const AT_ONCE: usize = 16;

/// Fewer are removed one by one: a thread costs about what a removal does elsewhere.
const MANY: usize = 32;

/// Removes a tree of quire's own, whatever modes are in it.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    match Rooted::open(parent) {
        Ok(parent) => remove_below(parent.as_fd(), name.as_bytes()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

/// Removes `name` in `dir` and all below it, through directories held open and without following links. Absent is removed.
/// However deep it is, few directories are open at once: deeper ones are first moved up.
pub fn remove_below(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    if !is_dir(dir, name)? {
        return unlink(dir, name, AtFlags::empty());
    }
    let top = open_own(dir, name)?;
    let moved = AtomicU64::new(0);
    loop {
        let deeper = AtomicBool::new(false);
        each(&names_of(top.as_fd())?, |inner| remove_inner(top.as_fd(), inner, &moved, &deeper))?;
        if !deeper.into_inner() {
            return unlink(dir, name, AtFlags::REMOVEDIR);
        }
    }
}

/// Removes one name in `top`; directories in it come to stand beside it, under names of their own.
fn remove_inner(top: BorrowedFd<'_>, inner: &[u8], moved: &AtomicU64, deeper: &AtomicBool) -> io::Result<()> {
    if !is_dir(top, inner)? {
        return unlink(top, inner, AtFlags::empty());
    }
    let node = open_own(top, inner)?;
    // One by one: what is around it is already removed several at a time.
    names_of(node.as_fd())?.iter().try_for_each(|deep| {
        if !is_dir(node.as_fd(), deep)? {
            return unlink(node.as_fd(), deep, AtFlags::empty());
        }
        deeper.store(true, Ordering::Relaxed);
        open_own(node.as_fd(), deep)?; // moving a directory writes in it
        loop {
            let up = format!(".quire-{:x}", moved.fetch_add(1, Ordering::Relaxed));
            match rename_to_free((node.as_fd(), deep), (top, up.as_bytes())) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                done => return done,
            }
        }
    })?;
    unlink(top, inner, AtFlags::REMOVEDIR)
}

/// Does `work` for each of `items`, several at once where they are many. On an error some are done and some are not.
pub fn each<T: Sync>(items: &[T], work: impl Fn(&T) -> io::Result<()> + Sync) -> io::Result<()> {
    if items.len() < MANY {
        return items.iter().try_for_each(work);
    }
    let next = AtomicUsize::new(0);
    let some = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(item)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let begin = |_| std::thread::Builder::new().spawn_scoped(scope, some);
        // Where there is no thread to be had, the others do its part.
        let others: Vec<_> = (1..AT_ONCE).map_while(|n| begin(n).ok()).collect();
        let mine = some();
        let join = |other: std::thread::ScopedJoinHandle<'_, io::Result<()>>| {
            other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        others.into_iter().map(join).fold(mine, io::Result::and)
    })
}

fn is_dir(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<bool> {
    print_in(dir, name).map(|print| print.is_some_and(|print| print.kind == Kind::Dir))
}

fn unlink(dir: BorrowedFd<'_>, name: &[u8], flags: AtFlags) -> io::Result<()> {
    match rustix::fs::unlinkat(dir, OsStr::from_bytes(name), flags) {
        Err(rustix::io::Errno::NOENT) => Ok(()),
        done => Ok(done?),
    }
}

/// Opens a directory of quire's own after taking every right in it.
fn open_own(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let node = rustix::fs::openat(dir, OsStr::from_bytes(name), flags | OFlags::PATH, Mode::empty())?;
    // A disk that keeps no modes refuses this, and shuts nobody out. Where it is refused otherwise, so is what follows.
    let _ = chmod(node.as_fd(), 0o700);
    Ok(rustix::fs::openat(dir, OsStr::from_bytes(name), flags, Mode::empty())?)
}
