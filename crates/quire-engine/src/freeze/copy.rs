//! Copying out of a folder that somebody may be working in: each file is looked at before and after, and copied again
//! where it changed meanwhile.

use crate::rooted::{Kind, Print, Rooted, gone};
use quire_core::RelPath;
use rustix::fs::{AtFlags, Mode, OFlags, SeekFrom, Timespec, Timestamps};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Files larger than this are shared with the folder where the file system can, in bytes.
pub const SHARE_ABOVE: u64 = 8 << 20;

/// How often a file that keeps changing is copied before it is taken as it is.
const TRIES: u32 = 5;

/// What is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Folder,
    /// A git directory: nothing in it is ignored.
    Git,
}

pub enum Copied {
    /// As it was when copied.
    Whole(Print),
    /// The same inode as in the folder: an edit in place there would show here.
    Linked(Print),
    Vanished,
    LeftOut(String),
}

/// Makes the directory `path` of a copy. It is given its mode by [`finish_dir`], when everything is in it.
pub fn make_dir(to: &Rooted, path: &RelPath) -> io::Result<()> {
    Ok(rustix::fs::mkdirat(to, os(path), Mode::RWXU)?)
}

/// Gives a directory of a copy the mode and time of its original.
pub fn finish_dir(to: &Rooted, path: Option<&RelPath>, print: &Print) -> io::Result<()> {
    let dir = to.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
    rustix::fs::futimens(&dir, &times(print))?;
    Ok(rustix::fs::fchmod(&dir, Mode::from_raw_mode(print.mode & 0o1777))?)
}

/// Copies all `nodes` that are files or links, on as many threads as the machine has cores, at least two. Directories stand
/// already. Outcomes are in the order of `nodes`.
pub fn copy_all(
    what: What,
    from: &Rooted,
    to: &Rooted,
    nodes: &[(RelPath, Print)],
    progress: &(dyn Fn(u64, u64) + Sync),
) -> io::Result<Vec<Copied>> {
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get()).clamp(2, 8);
    let next = AtomicUsize::new(0);
    let done = AtomicU64::new(0);
    let mut parts = vec![];
    std::thread::scope(|scope| {
        let work = || -> io::Result<Vec<(usize, Copied)>> {
            let mut out = vec![];
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some((path, print)) = nodes.get(at) else {
                    return Ok(out);
                };
                let copied = match print.kind {
                    Kind::Link => copy_link(from, to, path, print),
                    _ => copy_file(what, from, to, path),
                };
                if copied.is_err() {
                    next.store(nodes.len(), Ordering::Relaxed); // the others need not go on
                }
                out.push((at, copied?));
                progress(done.fetch_add(1, Ordering::Relaxed) + 1, nodes.len() as u64);
            }
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for thread in running {
            parts.push(
                thread.join().unwrap_or_else(|_| Err(io::Error::other("a copying thread ended badly"))),
            );
        }
    });
    let mut all = vec![];
    for part in parts {
        all.extend(part?);
    }
    all.sort_by_key(|(at, _)| *at);
    Ok(all.into_iter().map(|(_, copied)| copied).collect())
}

fn copy_link(from: &Rooted, to: &Rooted, path: &RelPath, print: &Print) -> io::Result<Copied> {
    let target = match from.link(path) {
        Ok(target) => target,
        Err(e) if gone(&e) || e.raw_os_error() == Some(libc::EINVAL) => return Ok(Copied::Vanished),
        Err(e) => return Ok(Copied::LeftOut(e.to_string())),
    };
    rustix::fs::symlinkat(OsStr::from_bytes(&target), to, os(path))?;
    rustix::fs::utimensat(to, os(path), &times(print), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(Copied::Whole(*print))
}

fn copy_file(what: What, from: &Rooted, to: &Rooted, path: &RelPath) -> io::Result<Copied> {
    for last in (0..TRIES).map(|n| n + 1 == TRIES) {
        let source = match from.file(path) {
            Ok(source) => source,
            Err(e) if gone(&e) || e.kind() == io::ErrorKind::Other => return Ok(Copied::Vanished),
            Err(e) => return Ok(Copied::LeftOut(format!("cannot be read: {e}"))),
        };
        let before = print_of(&source)?;
        if shared_by_link(what, &before, path) && link(from, to, path, &before)? {
            return Ok(Copied::Linked(print_of(&source)?));
        }
        let made = rustix::fs::openat(
            to,
            os(path),
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::RUSR | Mode::WUSR,
        )?;
        let copied = contents(&source, &made, before.bytes);
        let after = print_of(&source)?;
        let same =
            (before.bytes, before.mtime_ns, before.ctime_ns) == (after.bytes, after.mtime_ns, after.ctime_ns);
        match copied {
            // EIO, ESTALE and the like of the source would come again; a full disk is the copy's and ends everything.
            Err(e) if e.raw_os_error() == Some(libc::EIO) => {
                rustix::fs::unlinkat(to, os(path), AtFlags::empty())?;
                return Ok(Copied::LeftOut(format!("cannot be read: {e}")));
            }
            Err(e) => return Err(e),
            Ok(()) if same || last => {
                rustix::fs::futimens(&made, &times(&before))?;
                rustix::fs::fchmod(&made, Mode::from_raw_mode(before.mode & 0o1777))?;
                return Ok(Copied::Whole(before));
            }
            Ok(()) => rustix::fs::unlinkat(to, os(path), AtFlags::empty())?,
        }
    }
    Ok(Copied::Vanished)
}

/// Git never changes an object once it has its name; other files are worth a link only where a copy would take long.
fn shared_by_link(what: What, print: &Print, path: &RelPath) -> bool {
    (is_object(what, path) || print.bytes > SHARE_ABOVE) && print.mode & 0o7000 == 0
}

/// Returns whether a file is an object of git's.
pub fn is_object(what: What, path: &RelPath) -> bool {
    let path = path.as_bytes();
    match what {
        What::Folder => path.windows(13).any(|part| part == b".git/objects/"),
        // A submodule, whose git directory lies below this one, may have any name.
        What::Git => {
            let mut parts = path.rsplit(|byte| *byte == b'/');
            let (name, dir, objects) = (parts.next(), parts.next(), parts.next());
            let (Some(name), Some(dir), Some(b"objects")) = (name, dir, objects) else { return false };
            let is_hex = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_hexdigit);
            let is_loose = dir.len() == 2 && is_hex(dir) && matches!(name.len(), 38 | 62) && is_hex(name);
            is_loose || dir == b"pack" && name.starts_with(b"pack-")
        }
    }
}

/// Returns whether a directory is git's own, or lies in it.
pub fn is_of_git(dir: &RelPath) -> bool {
    dir.as_bytes().split(|b| *b == b'/').any(|part| part == b".git")
}

/// Returns how much of the disk with number `here` a copy of a file takes, in bytes.
pub fn copied_bytes(what: What, from: &Rooted, path: &RelPath, print: &Print, here: u64) -> u64 {
    match print.dev == here && shared_by_link(what, print, path) {
        true => 0,
        // What a sparse file does not have is not copied.
        false if print.bytes > SHARE_ABOVE => {
            let held = from.file(path).and_then(|file| file.metadata()).map(|meta| meta.blocks() * 512);
            held.map_or(print.bytes, |held| held.min(print.bytes))
        }
        false => print.bytes,
    }
}

/// Links `path` into the copy. Returns whether it could: the file systems may differ, or the kernel forbid it.
fn link(from: &Rooted, to: &Rooted, path: &RelPath, before: &Print) -> io::Result<bool> {
    if before.bytes > SHARE_ABOVE && reflinks(from, to, path)? {
        return Ok(false);
    }
    let Ok(parent) = from.parent(path) else {
        return Ok(false);
    };
    if rustix::fs::linkat(&parent, OsStr::from_bytes(path.name()), to, os(path), AtFlags::empty()).is_err() {
        return Ok(false);
    }
    match to.print(Some(path))? {
        Some(made) if (made.dev, made.ino) == (before.dev, before.ino) => Ok(true),
        _ => {
            rustix::fs::unlinkat(to, os(path), AtFlags::empty())?;
            Ok(false)
        }
    }
}

/// Returns whether the file system can share blocks between files; then the ordinary copy does so.
fn reflinks(from: &Rooted, to: &Rooted, path: &RelPath) -> io::Result<bool> {
    let source = from.file(path)?;
    let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
    let Ok(probe) = rustix::fs::openat(to, ".", flags, Mode::RUSR | Mode::WUSR) else {
        return Ok(false);
    };
    Ok(rustix::fs::ioctl_ficlone(&probe, &source).is_ok())
}

/// Copies the first `bytes` of a file: blocks are shared, else copied by the kernel, else by hand.
pub fn contents(from: &File, to: &OwnedFd, bytes: u64) -> io::Result<()> {
    if bytes <= SHARE_ABOVE {
        return part(from, to, 0, bytes);
    }
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    // Of a sparse file only what it has.
    rustix::fs::ftruncate(to, bytes)?;
    let mut at = 0;
    while at < bytes {
        at = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(rustix::io::Errno::NXIO) => break,
            Err(e) => return Err(e.into()),
        };
        let end = rustix::fs::seek(from, SeekFrom::Hole(at))?.min(bytes);
        part(from, to, at, end.saturating_sub(at))?;
        at = end.max(at + 1);
    }
    Ok(())
}

/// Copies `bytes` from `at` on to the same place.
fn part(from: &File, to: &OwnedFd, at: u64, bytes: u64) -> io::Result<()> {
    let (mut read, mut write, end) = (at, at, at + bytes);
    while read < end {
        let most = (end - read).min(1 << 30) as usize;
        match rustix::fs::copy_file_range(from, Some(&mut read), to, Some(&mut write), most) {
            Ok(0) => return Ok(()), // it became shorter meanwhile; the second look sees that
            Ok(_) => {}
            Err(rustix::io::Errno::XDEV | rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP) => {
                let (mut from, mut to) = (from, File::from(to.try_clone()?));
                io::Seek::seek(&mut from, io::SeekFrom::Start(read))?;
                io::Seek::seek(&mut to, io::SeekFrom::Start(write))?;
                io::copy(&mut io::Read::take(from, end - read), &mut to)?;
                return Ok(());
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

fn print_of(file: &File) -> io::Result<Print> {
    Ok(Print::of(&rustix::fs::fstat(file)?))
}

pub fn times(print: &Print) -> Timestamps {
    let time = Timespec {
        tv_sec: print.mtime_ns.div_euclid(1_000_000_000),
        tv_nsec: print.mtime_ns.rem_euclid(1_000_000_000) as _,
    };
    Timestamps { last_access: time, last_modification: time }
}

fn os(path: &RelPath) -> &OsStr {
    OsStr::from_bytes(path.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_git_never_changes_is_an_object() {
        let (loose, pack) = ("0123456789abcdef0123456789abcdef012345", "objects/pack/pack-1.pack");
        let rows = [
            (format!("objects/ab/{loose}"), true),
            (pack.into(), true),
            (format!("modules/objects/objects/ab/{loose}"), true),
            (format!("modules/a/modules/b/{pack}"), true),
            (format!("worktrees/w/modules/b/{pack}"), true),
            ("modules/objects/config".into(), false),
            ("modules/objects/logs/HEAD".into(), false),
            ("modules/objects/pack/HEAD".into(), false),
            ("objects/info/alternates".into(), false),
            ("objects".into(), false),
        ];
        for (path, expected) in rows {
            let path = RelPath::new(path.as_bytes()).unwrap();
            assert_eq!(is_object(What::Git, &path), expected, "{path}");
        }
        let path = RelPath::new(format!("deps/x/.git/objects/ab/{loose}").as_bytes()).unwrap();
        assert!(is_object(What::Folder, &path));
    }
}
