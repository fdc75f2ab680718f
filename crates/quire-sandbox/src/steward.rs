//! The steward: what a sandbox without namespaces may do to files beyond their content is done for it, by the spawner.
//!
//! Landlock says which files can be opened, made and removed. It does not see a change of mode or times, and so a process
//! could close the person's own files to him, who has the same uid. Such calls are handed to the spawner
//! (seccomp_unotify(2)): it resolves the path itself, looks where the file that it now holds really lies, and makes the
//! change where that is the sandbox's own. Nothing that the process says is looked at twice, so there is no race to win.
//! Owners and extended attributes, which no snapshot carries, are answered without doing anything.

use crate::mounts::During;
use crate::seccomp::{Filter, NO, NOT_THERE};
use crate::tree::Broken;
use libc::*;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

const SYS_FCHMODAT2: c_long = 452;
const SYS_SETXATTRAT: c_long = 463;
const SYS_REMOVEXATTRAT: c_long = 466;

/// The calls that are handed over.
const HANDED: &[c_long] = &[
    SYS_fchmod,
    SYS_fchmodat,
    SYS_FCHMODAT2,
    SYS_utimensat,
    #[cfg(target_arch = "x86_64")]
    SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    SYS_utime,
    #[cfg(target_arch = "x86_64")]
    SYS_utimes,
    #[cfg(target_arch = "x86_64")]
    SYS_futimesat,
];

/// Changes of owner, which seem to work: archives are unpacked and files installed by programs that ask for one.
const SEEM_DONE: &[c_long] = &[
    SYS_fchown,
    SYS_fchownat,
    #[cfg(target_arch = "x86_64")]
    SYS_chown,
    #[cfg(target_arch = "x86_64")]
    SYS_lchown,
];

const NOT_SUPPORTED: &[c_long] = &[
    SYS_setxattr,
    SYS_lsetxattr,
    SYS_fsetxattr,
    SYS_SETXATTRAT,
    SYS_removexattr,
    SYS_lremovexattr,
    SYS_fremovexattr,
    SYS_REMOVEXATTRAT,
];

/// What reaches other processes of the same user by a name, past every file: sockets, memory and queues of System V and
/// POSIX. And watches, which tell of names that cannot be read.
const ABSENT: &[c_long] = &[
    SYS_shmget,
    SYS_shmat,
    SYS_shmctl,
    SYS_semget,
    SYS_semop,
    SYS_semtimedop,
    SYS_semctl,
    SYS_msgget,
    SYS_msgsnd,
    SYS_msgrcv,
    SYS_msgctl,
    SYS_mq_open,
    SYS_mq_unlink,
    SYS_inotify_init1,
    #[cfg(target_arch = "x86_64")]
    SYS_inotify_init,
];

/// Adds what is closed on the rung [`crate::Rung::Copy`].
pub fn closed(filter: &mut Filter) {
    for call in HANDED {
        filter.when(BPF_JEQ, *call as u32, SECCOMP_RET_USER_NOTIF);
    }
    for call in SEEM_DONE {
        filter.when(BPF_JEQ, *call as u32, SECCOMP_RET_ERRNO);
    }
    for call in NOT_SUPPORTED {
        filter.when(BPF_JEQ, *call as u32, SECCOMP_RET_ERRNO | EOPNOTSUPP as u32);
    }
    for call in ABSENT {
        filter.when(BPF_JEQ, *call as u32, NOT_THERE);
    }
    // A socket with a name in the file system is reached whatever Landlock says (before Linux 7.1): of a container's
    // manager, of the session's services. Pairs have no names.
    filter.when(BPF_JEQ, SYS_socket as u32, SECCOMP_RET_ERRNO | EAFNOSUPPORT as u32);
    // A lease on a file of the person's makes whoever opens it wait, and the oldest kind of watch tells what goes on in a
    // directory; for both it is enough that it can be read.
    filter.call(SYS_fcntl, |rules| {
        rules.load(crate::seccomp::argument(1));
        for command in [F_SETLEASE, F_NOTIFY] {
            rules.when(BPF_JEQ, command as u32, SECCOMP_RET_ERRNO | EINVAL as u32);
        }
        rules.answer(SECCOMP_RET_ALLOW);
    });
    // Flags of files, such as "immutable", are changed through a descriptor that need not be writable.
    filter.call(SYS_ioctl, |rules| {
        rules.load(crate::seccomp::argument(1));
        for request in [0x4008_6602, 0x401c_5820, 0x4004_6602] {
            // FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR, FS_IOC32_SETFLAGS (linux/fs.h)
            rules.when(BPF_JEQ, request, NO);
        }
        rules.answer(SECCOMP_RET_ALLOW);
    });
}

/// The spawner's end of the calls that are handed over.
pub struct Steward {
    listener: OwnedFd,
    /// The hand, which is quire's own and does what it does to files that it has opened itself.
    hand: i32,
    /// Where files are the sandbox's own; absolute, without links.
    own: Vec<PathBuf>,
}

impl AsFd for Steward {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Steward {
    pub fn new(listener: OwnedFd, hand: i32, own: &[&Path]) -> Result<Steward, Broken> {
        let own: Result<Vec<PathBuf>, Broken> = own
            .iter()
            .map(|path| fs::canonicalize(path).during(format_args!("finding {}", path.display())))
            .collect();
        Ok(Steward { listener, hand, own: own? })
    }

    /// Answers one call that waits.
    pub fn serve(&self) {
        // SAFETY: zeros are a valid value of these plain structures, and the kernel wants them so.
        let (mut asked, mut answer): (seccomp_notif, seccomp_notif_resp) = unsafe { std::mem::zeroed() };
        if self.ioctl(SECCOMP_IOCTL_NOTIF_RECV, (&raw mut asked).cast()).is_err() {
            return; // it ended meanwhile
        }
        answer.id = asked.id;
        if self.is_hands(asked.pid) {
            answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
        } else if let Err(error) = self.act(&asked) {
            answer.error = -error.raw_os_error();
        }
        let _ = self.ioctl(SECCOMP_IOCTL_NOTIF_SEND, (&raw mut answer).cast());
    }

    fn ioctl(&self, request: c_ulong, argument: *mut c_void) -> std::io::Result<()> {
        // SAFETY: each caller gives the structure that its request reads and writes.
        match unsafe { ioctl(self.listener.as_raw_fd(), request as _, argument) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    }

    fn is_hands(&self, thread: u32) -> bool {
        let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
        let group = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
        group.is_some_and(|group| group.trim().parse() == Ok(self.hand))
    }

    #[allow(non_upper_case_globals)] // these are the names that the C library gives them
    fn act(&self, asked: &seccomp_notif) -> Result<(), Errno> {
        let [a, b, c, d, ..] = asked.data.args;
        let who = Caller { thread: asked.pid };
        let at = |dir: u64, path: u64, flags: u64| who.file(dir as i32, path, flags as i32);
        let here = AT_FDCWD as u64;
        let still_asked =
            || self.ioctl(SECCOMP_IOCTL_NOTIF_ID_VALID, (&raw const asked.id).cast_mut().cast());
        let (file, change) = match c_long::from(asked.data.nr) {
            #[cfg(target_arch = "x86_64")]
            SYS_chmod => (at(here, a, 0)?, Change::Mode(b)),
            SYS_fchmod => (who.descriptor(a as i32)?, Change::Mode(b)),
            SYS_fchmodat => (at(a, b, 0)?, Change::Mode(c)),
            SYS_FCHMODAT2 => (at(a, b, d)?, Change::Mode(c)),
            SYS_utimensat if b == 0 => (who.descriptor(a as i32)?, who.times(c, 1)?),
            SYS_utimensat => (at(a, b, d)?, who.times(c, 1)?),
            #[cfg(target_arch = "x86_64")]
            SYS_utime => (at(here, a, 0)?, who.old_times(b)?),
            #[cfg(target_arch = "x86_64")]
            SYS_utimes => (at(here, a, 0)?, who.times(b, 1000)?),
            #[cfg(target_arch = "x86_64")]
            SYS_futimesat if b == 0 => (who.descriptor(a as i32)?, who.times(c, 1000)?),
            #[cfg(target_arch = "x86_64")]
            SYS_futimesat => (at(a, b, 0)?, who.times(c, 1000)?),
            _ => return Err(Errno::NOSYS),
        };
        // What was read may have been another's, who took the number of one that ended.
        still_asked().map_err(|_| Errno::SRCH)?;
        // The name of the file that is held, whichever way it was reached.
        let name = format!("/proc/self/fd/{}", file.as_raw_fd());
        let lies = PathBuf::from(OsString::from_vec(rustix::fs::readlink(&*name, Vec::new())?.into_bytes()));
        if !self.own.iter().any(|own| lies.starts_with(own)) {
            return Err(Errno::PERM);
        }
        match change {
            Change::Mode(mode) => rustix::fs::chmod(&*name, Mode::from_raw_mode(mode as u32 & 0o1777)),
            Change::Times(times) => rustix::fs::utimensat(&file, "", &times, AtFlags::EMPTY_PATH),
        }
    }
}

enum Change {
    Mode(u64),
    Times(Timestamps),
}

/// Whoever waits for an answer.
struct Caller {
    thread: u32,
}

impl Caller {
    fn place(&self, below: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = format!("/proc/{}/{below}", self.thread);
        rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC | flags, Mode::empty())
    }

    fn descriptor(&self, number: i32) -> Result<OwnedFd, Errno> {
        self.place(&format!("fd/{number}"), OFlags::empty()).map_err(|_| Errno::BADF)
    }

    /// Opens what the caller means, as a place.
    fn file(&self, dir: i32, path: u64, flags: i32) -> Result<OwnedFd, Errno> {
        let path = self.path(path)?;
        if path.is_empty() {
            return if flags & AT_EMPTY_PATH == 0 { Err(Errno::NOENT) } else { self.descriptor(dir) };
        }
        // Its own directory in /proc is not the spawner's.
        for own in [&b"/proc/self/"[..], b"/proc/thread-self/", b"/dev/fd/"] {
            if let Some(rest) = path.strip_prefix(own) {
                let rest = std::str::from_utf8(rest).map_err(|_| Errno::NOENT)?;
                return match own {
                    b"/dev/fd/" => self.place(&format!("fd/{rest}"), OFlags::empty()),
                    _ => self.place(rest, OFlags::empty()),
                };
            }
        }
        let from = match dir {
            _ if path.starts_with(b"/") => None,
            AT_FDCWD => Some(self.place("cwd", OFlags::empty())?),
            dir => Some(self.descriptor(dir)?),
        };
        let links = if flags & AT_SYMLINK_NOFOLLOW == 0 { OFlags::empty() } else { OFlags::NOFOLLOW };
        let from = from.as_ref().map_or(CWD, AsFd::as_fd);
        rustix::fs::openat(
            from,
            OsStr::from_bytes(&path),
            OFlags::PATH | OFlags::CLOEXEC | links,
            Mode::empty(),
        )
    }

    fn path(&self, at: u64) -> Result<Vec<u8>, Errno> {
        // A string may end just before a page that is not there, so pages are read one by one.
        let mut path = Vec::new();
        while path.len() < PATH_MAX as usize {
            let from = at + path.len() as u64;
            let page = 4096 - (from % 4096) as usize;
            let part = self.memory(from, page)?;
            match part.iter().position(|byte| *byte == 0) {
                Some(end) => {
                    path.extend_from_slice(&part[..end]);
                    return Ok(path);
                }
                None => path.extend(part),
            }
        }
        Err(Errno::NAMETOOLONG)
    }

    fn memory(&self, at: u64, length: usize) -> Result<Vec<u8>, Errno> {
        let mut read = vec![0u8; length];
        let ours = iovec { iov_base: read.as_mut_ptr().cast(), iov_len: length };
        let theirs = iovec { iov_base: at as *mut c_void, iov_len: length };
        // SAFETY: ours is the buffer; theirs is not touched in this process.
        let got =
            unsafe { process_vm_readv(self.thread as i32, &raw const ours, 1, &raw const theirs, 1, 0) };
        if got != length as isize {
            return Err(Errno::FAULT);
        }
        Ok(read)
    }

    /// Reads two times of seconds and parts of a second, which are `part` nanoseconds each.
    fn times(&self, at: u64, part: i64) -> Result<Change, Errno> {
        if at == 0 {
            return Ok(now());
        }
        let raw = self.memory(at, 32)?;
        let number = |index: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&raw[index * 8..index * 8 + 8]);
            i64::from_ne_bytes(bytes)
        };
        let time = |index: usize| Timespec {
            tv_sec: number(index),
            tv_nsec: number(index + 1).saturating_mul(part) as _,
        };
        Ok(Change::Times(Timestamps { last_access: time(0), last_modification: time(2) }))
    }

    /// Reads two times in seconds (utime(2)).
    #[cfg(target_arch = "x86_64")]
    fn old_times(&self, at: u64) -> Result<Change, Errno> {
        if at == 0 {
            return Ok(now());
        }
        let raw = self.memory(at, 16)?;
        let time = |index: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&raw[index..index + 8]);
            Timespec { tv_sec: i64::from_ne_bytes(bytes), tv_nsec: 0 }
        };
        Ok(Change::Times(Timestamps { last_access: time(0), last_modification: time(8) }))
    }
}

fn now() -> Change {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW as _ };
    Change::Times(Timestamps { last_access: now, last_modification: now })
}

/// Filters this process's calls; returns the listener for a [`Steward`].
pub fn listen(filter: Vec<sock_filter>) -> std::io::Result<OwnedFd> {
    let listener = crate::seccomp::add(filter, SECCOMP_FILTER_FLAG_NEW_LISTENER)?;
    // SAFETY: the kernel made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(listener as i32) })
}
