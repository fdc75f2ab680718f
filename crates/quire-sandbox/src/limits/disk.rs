//! How much of the disk a sandbox has: counted by a walk over its layers, which is only done when the room that is left on
//! the disk says that it may have become too much.
//!
//! The walk is a process of its own, so that looking goes on meanwhile. It runs in the sandbox's user namespace, because
//! an agent can forbid the person to look into a directory, and not root inside.

use super::processes::{Nameless, Processes};
use crate::process::{self, Child};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Bytes, and files with directories.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Size {
    pub bytes: u64,
    pub files: u64,
}

impl Size {
    pub fn plus(self, other: Size) -> Size {
        Size { bytes: self.bytes + other.bytes, files: self.files + other.files }
    }

    /// Returns what is missing from this to `other`.
    pub fn up_to(self, other: Size) -> Size {
        Size { bytes: other.bytes.saturating_sub(self.bytes), files: other.files.saturating_sub(self.files) }
    }

    pub fn over(self, n: u64) -> Size {
        Size { bytes: self.bytes / n, files: self.files / n }
    }

    /// Returns whether either is more.
    pub fn exceeds(self, other: Size) -> bool {
        self.bytes > other.bytes || self.files > other.files
    }

    pub fn max(self, other: Size) -> Size {
        Size { bytes: self.bytes.max(other.bytes), files: self.files.max(other.files) }
    }
}

/// Of the disk that a path lies on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Room {
    /// Free for who is not root. Where a file system counts no files, that number never changes.
    pub free: Size,
    pub whole: Size,
}

pub fn room(path: &Path) -> io::Result<Room> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(Room {
        free: Size { bytes: stat.f_bavail * stat.f_frsize, files: stat.f_favail },
        whole: Size { bytes: stat.f_blocks * stat.f_frsize, files: stat.f_files },
    })
}

/// A walk that goes on.
pub struct Walk {
    child: Child,
    pipe: OwnedFd,
    begun: Instant,
}

/// What a walk found.
pub struct Walked {
    pub size: Size,
    /// Directories were moved under it, or closed to it, so that it is not all.
    pub disturbed: bool,
    pub took: Duration,
}

impl Walk {
    /// Begins to count what lies below `roots` and what is held open without a name. `first` is the sandbox's first process.
    pub fn begin(roots: &[PathBuf], processes: Option<&Processes>, first: &Child) -> io::Result<Walk> {
        let (pipe, answer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let begun = Instant::now();
        match process::fork(0)? {
            Some(child) => Ok(Walk { child, pipe, begun }),
            None => {
                let _ = process::die_with_parent();
                if !rustix::process::geteuid().is_root() {
                    // SAFETY: there is one thread, and nothing follows but reading. Where it fails, less is seen.
                    unsafe { libc::setns(first.pidfd.as_raw_fd(), libc::CLONE_NEWUSER) };
                }
                let nameless = processes.map_or(Nameless::default(), Processes::nameless);
                let mut count = Count::default();
                roots.iter().for_each(|root| count.below(root));
                let numbers = [count.size.bytes + nameless.disk, count.size.files, count.disturbed.into()];
                let told: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
                let _ = rustix::io::write(&answer, &told);
                process::leave(0)
            }
        }
    }

    /// Is readable when it has ended.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Waits for its end. `None` where it did not come to one.
    pub fn end(self) -> Option<Walked> {
        let mut told = [0; 24];
        let whole = std::fs::File::from(self.pipe).read_exact(&mut told);
        self.child.wait();
        whole.ok()?;
        let mut numbers = told
            .chunks_exact(8)
            .map(|eight| eight.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte)));
        let (bytes, files, disturbed) = (numbers.next()?, numbers.next()?, numbers.next()?);
        Some(Walked { size: Size { bytes, files }, disturbed: disturbed > 0, took: self.begun.elapsed() })
    }

    /// Ends it early.
    pub fn give_up(self) {
        self.child.kill();
        self.child.wait();
    }
}

#[derive(Default)]
struct Count {
    size: Size,
    /// Files of several names are counted once.
    seen: HashSet<(u64, u64)>,
    disturbed: bool,
}

/// A directory on the way from a root to where the walk is.
struct Level {
    inode: u64,
    /// Directories in it that were not walked yet.
    left: Vec<CString>,
    /// What it was closed by, until the walk opened it.
    closed: Option<Mode>,
}

/// A directory that the walk may look into.
struct Opened {
    directory: OwnedFd,
    stat: Stat,
    closed: Option<Mode>,
}

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What who walks needs of a directory that is his own.
const LOOK: Mode = Mode::RUSR.union(Mode::XUSR);

/// Opens a directory. One that is closed to its owner, where that is who walks, is opened for as long as the walk is in it: else
/// an agent could write as much as it likes behind a mode. What is held is the directory itself, so no name leads elsewhere.
fn open(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<Opened> {
    let me = rustix::process::geteuid();
    let closed = |stat: &Stat| {
        let mode = Mode::from_raw_mode(stat.st_mode);
        (!me.is_root() && stat.st_uid == me.as_raw() && !mode.contains(LOOK)).then_some(mode)
    };
    match openat(parent, name, DIRECTORY, Mode::empty()) {
        Ok(directory) => {
            let stat = fstat(&directory)?;
            if closed(&stat).is_none() {
                return Ok(Opened { directory, stat, closed: None });
            }
        }
        Err(rustix::io::Errno::ACCESS) => {}
        Err(error) => return Err(error),
    }
    let place = openat(parent, name, DIRECTORY | OFlags::PATH, Mode::empty())?;
    let stat = fstat(&place)?;
    let closed = closed(&stat);
    if let Some(mode) = closed {
        rustix::fs::chmod(itself(&place), mode | LOOK)?;
    }
    let directory = rustix::fs::open(itself(&place), OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(Opened { directory, stat, closed })
}

/// Returns the name of a file that is held, whatever became of its own.
fn itself(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Closes a directory again that the walk opened, unless its owner gave it another mode meanwhile.
fn close(directory: &OwnedFd, closed: Option<Mode>) {
    let is_as_left =
        |mode| fstat(directory).is_ok_and(|stat| Mode::from_raw_mode(stat.st_mode) == mode | LOOK);
    if let Some(mode) = closed.filter(|mode| is_as_left(*mode)) {
        // Where that fails, it stays open to who made it.
        let _ = rustix::fs::fchmod(directory, mode);
    }
}

impl Count {
    /// Counts what lies below `root`, on its own file system. However deep that is, one directory is open at a time.
    fn below(&mut self, root: &Path) {
        let Ok(root) = CString::new(root.as_os_str().as_bytes()) else { return };
        let Ok(Opened { directory: mut here, stat: top, closed }) = open(rustix::fs::CWD, &root) else {
            return;
        };
        let mut way = vec![Level { inode: top.st_ino, left: self.list(&here, top.st_dev), closed }];
        while let Some(level) = way.last_mut() {
            if let Some(name) = level.left.pop() {
                let inner = match open(here.as_fd(), &name) {
                    Ok(inner) => inner,
                    Err(error) => {
                        // One that is gone has nothing to be counted. One may have been closed again.
                        self.disturbed |= error == rustix::io::Errno::ACCESS;
                        continue;
                    }
                };
                let left = self.list(&inner.directory, top.st_dev);
                way.push(Level { inode: inner.stat.st_ino, left, closed: inner.closed });
                here = inner.directory;
                continue;
            }
            let closed = way.pop().and_then(|level| level.closed);
            let parent = openat(&here, "..", DIRECTORY, Mode::empty());
            close(&here, closed);
            let Some(above) = way.last() else { return };
            match parent {
                Ok(parent) if fstat(&parent).is_ok_and(|stat| stat.st_ino == above.inode) => here = parent,
                // It was moved meanwhile, so this leads elsewhere.
                _ => {
                    self.disturbed = true;
                    return;
                }
            }
        }
    }

    /// Counts what is in a directory, and returns the directories in it.
    fn list(&mut self, directory: &OwnedFd, device: u64) -> Vec<CString> {
        let mut inner = Vec::new();
        for entry in Dir::read_from(directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(error) => {
                    self.disturbed |= error == rustix::io::Errno::ACCESS;
                    continue;
                }
            };
            let is_directory = FileType::from_raw_mode(stat.st_mode).is_dir();
            if stat.st_dev != device
                || (!is_directory && stat.st_nlink > 1 && !self.seen.insert((stat.st_dev, stat.st_ino)))
            {
                continue;
            }
            self.size.files += 1;
            self.size.bytes += stat.st_blocks.unsigned_abs() * 512;
            if is_directory {
                inner.push(name.to_owned());
            }
        }
        inner
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn count(root: &Path) -> Count {
        let mut count = Count::default();
        count.below(root);
        count
    }

    #[test]
    fn all_is_counted_once_however_deep() {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let root = dir.path();
        fs::write(root.join("a"), vec![1; 100_000]).unwrap();
        fs::hard_link(root.join("a"), root.join("b")).unwrap();
        std::os::unix::fs::symlink("/usr", root.join("link")).unwrap();
        fs::File::create(root.join("sparse")).unwrap().set_len(1 << 40).unwrap();
        let mut here = rustix::fs::open(root, OFlags::RDONLY, Mode::empty()).unwrap();
        for _ in 0..3_000 {
            rustix::fs::mkdirat(&here, "d", Mode::from_raw_mode(0o700)).unwrap();
            here = openat(&here, "d", OFlags::RDONLY, Mode::empty()).unwrap();
        }
        let deep = openat(&here, "f", OFlags::CREATE | OFlags::WRONLY, Mode::from_raw_mode(0o600)).unwrap();
        rustix::io::write(&deep, &[1; 50_000]).unwrap();
        let counted = count(root);
        assert!(!counted.disturbed);
        assert_eq!(counted.size.files, 3_000 + 4);
        assert!(counted.size.bytes >= 150_000 && counted.size.bytes < 16 << 20, "{:?}", counted.size);
        crate::tidy::empty(root).unwrap();
        assert_eq!(count(root).size, Size::default());
    }

    /// An agent has the person's number on a plain copy, and may close its directories to him.
    #[test]
    fn h04_what_is_closed_to_its_owner_is_counted_and_closed_again() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("not root: an owner that is not root cannot be played");
            return;
        }
        const OWNER: u32 = 54_331;
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let root = dir.path().join("root");
        let rows = ["open", "unreadable", "unreadable/unsearchable", "unreadable/unsearchable/shut", "last"];
        fs::create_dir(&root).unwrap();
        for name in rows {
            fs::create_dir(root.join(name)).unwrap();
            fs::write(root.join(name).join("f"), vec![1; 100_000]).unwrap();
        }
        let modes = [0o755, 0o300, 0o600, 0o000, 0o000];
        for (name, mode) in rows.iter().zip(modes).rev() {
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        for path in
            rows.iter().flat_map(|name| [root.join(name), root.join(name).join("f")]).chain([root.clone()])
        {
            std::os::unix::fs::chown(path, Some(OWNER), Some(OWNER)).unwrap();
        }
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let at = root.clone();
        let counted = std::thread::spawn(move || {
            // A thread's own identity, which is what looks at files.
            // SAFETY: takes plain numbers.
            assert_eq!(unsafe { libc::syscall(libc::SYS_setresuid, OWNER, OWNER, OWNER) }, 0);
            count(&at)
        });
        let counted = counted.join().unwrap();
        assert!(!counted.disturbed);
        assert_eq!(counted.size.files, 10);
        assert!(counted.size.bytes >= 500_000, "{:?}", counted.size);
        for (name, mode) in rows.iter().zip(modes) {
            assert_eq!(fs::metadata(root.join(name)).unwrap().permissions().mode() & 0o7777, mode, "{name}");
        }
    }

    #[test]
    fn what_is_not_there_is_nothing() {
        assert_eq!(count(Path::new("/no/such/place")).size, Size::default());
    }
}
