//! Making processes in new namespaces. Only for a process of a single thread: the child goes on where the parent stood.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// A child that has not been waited for. `pidfd` becomes readable at its end.
pub struct Child {
    pub pid: i32,
    pub pidfd: OwnedFd,
}

/// Forks with these `CLONE_` flags. Returns the child to the parent, and `None` to the child.
pub fn fork(flags: libc::c_int) -> io::Result<Option<Child>> {
    let mut pidfd: libc::c_int = -1;
    let flags = libc::c_long::from(flags | libc::CLONE_PIDFD | libc::SIGCHLD);
    // SAFETY: without a new stack this is fork(2); there is one thread, so no lock is held by another. The third
    // argument is where CLONE_PIDFD writes, on every architecture.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, &raw mut pidfd, 0, 0) };
    match pid {
        0 => Ok(None),
        1.. => {
            // SAFETY: the kernel made this descriptor for us.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Some(Child { pid: pid as i32, pidfd }))
        }
        // clone(2); the same number says of a disk that it is full.
        _ => Err(match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ENOSPC) => {
                io::Error::other("no more namespaces may be made (user.max_user_namespaces and its like)")
            }
            error => error,
        }),
    }
}

impl Child {
    /// Waits for the end, which also means: of every process in a pid namespace that it was the first of.
    pub fn wait(self) {
        let pid = rustix::process::Pid::from_raw(self.pid);
        while matches!(
            rustix::process::waitpid(pid, rustix::process::WaitOptions::empty()),
            Err(rustix::io::Errno::INTR)
        ) {}
    }

    /// Waits for the end, and returns the exit code; `None` where it was killed.
    pub fn exit(self) -> Option<i32> {
        use rustix::process::{Pid, WaitOptions, waitpid};
        loop {
            match waitpid(Pid::from_raw(self.pid), WaitOptions::empty()) {
                Err(rustix::io::Errno::INTR) => {}
                ended => return ended.ok().flatten().and_then(|(_, status)| status.exit_status()),
            }
        }
    }

    pub fn kill(&self) {
        // Fails only where it has ended, which is what is wanted.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, rustix::process::Signal::KILL);
    }
}

/// Ends this process without running anything that belongs to the one it was forked from.
pub fn leave(code: i32) -> ! {
    // SAFETY: does not return and touches no memory.
    unsafe { libc::_exit(code) }
}

/// Returns the size of a page of memory, in bytes. rustix looks it up in `/proc/self/auxv` before Linux 6.4, and panics in
/// a process that has changed its user, which may not read that.
pub fn page_size() -> u64 {
    // SAFETY: takes a number and returns one, which the C library was told when the program started.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(size).unwrap_or(4096)
}

/// Asks to be killed when the thread that started this process ends.
pub fn die_with_parent() -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?)
}
