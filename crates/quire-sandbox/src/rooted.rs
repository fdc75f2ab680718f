//! A directory held open, and everything below it reached without ever leaving it.
//!
//! Paths come from agents and lie in folders that other processes change meanwhile. So each is resolved by the kernel in
//! one call (openat2) that follows no symlink, leaves neither the directory nor its mount, and what is then done is done to
//! one name in a directory that is held open. A path string is never trusted twice.

use quire_core::RelPath;
use rustix::fs::{
    AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, ResolveFlags, Stat, openat2,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest path, in bytes, that is reached below a directory: what one system call takes.
pub const PATH_MAX: usize = 4000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    File,
    Dir,
    Link,
    /// A character device 0:0: overlayfs's word for "deleted".
    Whiteout,
    /// Devices, sockets, pipes.
    Other,
}

/// What `stat` says of a path: enough to see that a file was touched, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Print {
    pub kind: Kind,
    /// The twelve permission bits.
    pub mode: u32,
    pub bytes: u64,
    /// Nanoseconds since 1970.
    pub mtime_ns: i64,
    pub ctime_ns: i64,
    pub dev: u64,
    pub ino: u64,
    pub uid: u32,
    pub gid: u32,
}

impl Print {
    pub fn of(stat: &Stat) -> Print {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Dir,
            FileType::Symlink => Kind::Link,
            FileType::CharacterDevice if stat.st_rdev == 0 => Kind::Whiteout,
            _ => Kind::Other,
        };
        let nanos = |s: i64, ns: i64| s.saturating_mul(1_000_000_000).saturating_add(ns);
        Print {
            kind,
            mode: stat.st_mode & 0o7777,
            bytes: stat.st_size as u64,
            mtime_ns: nanos(stat.st_mtime, stat.st_mtime_nsec as i64),
            ctime_ns: nanos(stat.st_ctime, stat.st_ctime_nsec as i64),
            dev: stat.st_dev,
            ino: stat.st_ino,
            uid: stat.st_uid,
            gid: stat.st_gid,
        }
    }
}

/// A directory held open.
pub struct Rooted {
    fd: OwnedFd,
}

impl AsFd for Rooted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<OwnedFd> for Rooted {
    fn from(fd: OwnedFd) -> Rooted {
        Rooted { fd }
    }
}

impl From<Rooted> for OwnedFd {
    fn from(rooted: Rooted) -> OwnedFd {
        rooted.fd
    }
}

impl Rooted {
    /// Opens the directory `path`, which must not itself be a symlink.
    pub fn open(path: &Path) -> io::Result<Rooted> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Rooted { fd: rustix::fs::open(path, flags, Mode::empty())? })
    }

    /// Opens `path` below, or the directory itself where there is none.
    pub fn open_at(&self, path: Option<&RelPath>, flags: OFlags) -> io::Result<OwnedFd> {
        let path = path.map_or(b".".as_slice(), RelPath::as_bytes);
        let resolve = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat2(&self.fd, OsStr::from_bytes(path), flags, Mode::empty(), resolve)?)
    }

    /// Opens the directory that holds `path`, to act on its last component there.
    pub fn parent(&self, path: &RelPath) -> io::Result<OwnedFd> {
        self.open_at(path.parent().as_ref(), OFlags::PATH | OFlags::DIRECTORY)
    }

    /// Opens a regular file for reading. A pipe put in its place does not block.
    pub fn file(&self, path: &RelPath) -> io::Result<File> {
        let file = File::from(self.open_at(Some(path), OFlags::RDONLY | OFlags::NONBLOCK)?);
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(io::Error::other("not a regular file any more"))
        }
    }

    /// Returns what stands at `path`, or `None` where nothing does, or where a parent is no directory.
    pub fn print(&self, path: Option<&RelPath>) -> io::Result<Option<Print>> {
        let Some(path) = path else {
            return Ok(Some(Print::of(&rustix::fs::fstat(&self.fd)?)));
        };
        match self.parent(path).and_then(|dir| print_in(dir.as_fd(), path.name())) {
            Err(e) if gone(&e) => Ok(None),
            found => found,
        }
    }

    pub fn link(&self, path: &RelPath) -> io::Result<Vec<u8>> {
        link_in(self.parent(path)?.as_fd(), path.name())
    }

    /// Returns the names in a directory, unsorted.
    pub fn names(&self, path: Option<&RelPath>) -> io::Result<Vec<Vec<u8>>> {
        names_of(self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY)?.as_fd())
    }
}

/// Returns whether the error says that there is nothing at the path: it is absent, or a parent is a file or a symlink.
pub fn gone(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP))
}

pub fn print_in(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<Print>> {
    match rustix::fs::statat(dir, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(Print::of(&stat))),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

pub fn link_in(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Vec<u8>> {
    Ok(rustix::fs::readlinkat(dir, OsStr::from_bytes(name), Vec::new())?.into_bytes())
}

pub fn names_of(dir: BorrowedFd<'_>) -> io::Result<Vec<Vec<u8>>> {
    let mut names = vec![];
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

/// Returns `name` within `dir`, or at the top where there is none. Names come from the kernel: never empty, `.` or `..`.
pub fn below(dir: Option<&RelPath>, name: &[u8]) -> io::Result<RelPath> {
    let path = match dir {
        Some(dir) => dir.join(name),
        None => RelPath::new(name),
    };
    path.ok_or_else(|| io::Error::other("a file system gave a name that cannot be one"))
}

/// Renames with `flags`. Returns false where this disk does not know them: NFS, FAT and most FUSE disks.
pub fn rename_with(
    from: (BorrowedFd<'_>, &[u8]),
    to: (BorrowedFd<'_>, &[u8]),
    flags: RenameFlags,
) -> io::Result<bool> {
    let (old, new) = (OsStr::from_bytes(from.1), OsStr::from_bytes(to.1));
    match rustix::fs::renameat_with(from.0, old, to.0, new, flags) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(false),
        done => Ok(done.map(|()| true)?),
    }
}

/// Renames to a name that nobody else would take; fails with `AlreadyExists` where something has it. A disk that cannot do both
/// in one step is asked first.
pub fn rename_to_free(from: (BorrowedFd<'_>, &[u8]), to: (BorrowedFd<'_>, &[u8])) -> io::Result<()> {
    if rename_with(from, to, RenameFlags::NOREPLACE)? {
        return Ok(());
    }
    if print_in(to.0, to.1)?.is_some() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    match rustix::fs::renameat(from.0, OsStr::from_bytes(from.1), to.0, OsStr::from_bytes(to.1)) {
        // A directory replaces none but an empty one.
        Err(Errno::NOTEMPTY | Errno::NOTDIR) => Err(io::ErrorKind::AlreadyExists.into()),
        done => Ok(done?),
    }
}

/// Makes a rename in `dir` durable, and everything else written to its file system before.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Opens a file that is there to be locked; one that is there already keeps its time.
pub fn lock_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().create(true).truncate(false).write(true).mode(0o600).open(path)
}

/// Takes a lock that its holders keep for moments. Waits for it, but not without end: a process may be held in the midst.
pub fn lock_within(file: &File, most: Duration) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() < most => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "another process holds it locked"));
            }
            done => return Ok(done?),
        }
    }
}

/// Writes `content` as `dir/name`, for its owner alone; see [`replace`].
pub fn replace_file(dir: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    replace(&dir.join(name), content, 0o600)
}

/// Writes a file in the place of whatever is at `path`, so that after any crash, and whoever else writes it, there is the old
/// file or a new one, whole, with these permissions from the first.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let (dir, name) = path.parent().zip(path.file_name()).ok_or(io::ErrorKind::InvalidInput)?;
    // A name of its own, so that no two writers share a file: the standard library seeds each of these anew.
    let random = RandomState::new().build_hasher().finish();
    let beside = dir.join(format!(".{}.{random:016x}", name.to_string_lossy()));
    let written = (|| {
        let mut file = File::options().write(true).create_new(true).mode(mode).open(&beside)?;
        io::Write::write_all(&mut file, content)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        sync_dir(dir)
    })();
    if written.is_err() {
        // Whatever went wrong, a key must not lie about in a file that nobody knows of.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

/// Returns the name that a file was to have which [`replace`] wrote when it was killed.
pub fn replaced_name(name: &str) -> Option<&str> {
    let (name, random) = name.strip_prefix('.')?.rsplit_once('.')?;
    (random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two who wrote at once wrote into one file, under one name.
    #[test]
    fn who_writes_a_file_at_once_leaves_it_whole() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for writer in 0..4_u8 {
                let dir = dir.path();
                scope.spawn(move || {
                    for round in 1..50_usize {
                        replace_file(dir, "f", &vec![b'a' + writer; round * 1000]).unwrap();
                        let found = std::fs::read(dir.join("f")).unwrap();
                        assert!(!found.is_empty() && found.iter().all(|byte| *byte == found[0]));
                    }
                });
            }
        });
        let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["f"]);
        assert_eq!(replaced_name(".rung.json.0123456789abcdef"), Some("rung.json"));
        assert_eq!(replaced_name("rung.json"), None);
    }

    #[test]
    fn a_lock_is_not_waited_for_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (File::open(dir.path()).unwrap(), File::open(dir.path()).unwrap());
        lock_within(&one, Duration::ZERO).unwrap();
        assert_eq!(
            lock_within(&other, Duration::from_millis(20)).unwrap_err().kind(),
            io::ErrorKind::TimedOut
        );
        drop(one);
        lock_within(&other, Duration::from_millis(20)).unwrap();
    }
}
