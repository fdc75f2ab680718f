//! Starting a shell without a copy of the hand.
//!
//! The standard library starts a program by vfork(2) only where nothing is to be done between that and exec; a session
//! of its own and its weight are such things. Its fork(2) instead copies the hand's page tables, and every page that the
//! hand touches afterwards faults: a third of what a call cost. So the new process borrows the hand's memory until exec,
//! on a stack of its own, and makes nothing but system calls there.

use rustix::process::Pid;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

/// A process that was started and not waited for. `ended` is readable at its end.
pub(super) struct Started {
    pub(super) pid: Pid,
    pub(super) ended: OwnedFd,
}

/// What to start: every string as execve(2) takes it.
pub(super) struct Start<'a> {
    pub(super) program: &'a CStr,
    pub(super) arguments: &'a [&'a CStr],
    /// `NAME=value`.
    pub(super) environment: &'a [CString],
    pub(super) folder: &'a CStr,
    pub(super) input: BorrowedFd<'a>,
    /// Where both outputs go.
    pub(super) output: BorrowedFd<'a>,
}

/// What the new process works with, and where it leaves why it failed.
struct Child {
    program: *const libc::c_char,
    arguments: *const *const libc::c_char,
    environment: *const *const libc::c_char,
    folder: *const libc::c_char,
    input: RawFd,
    output: RawFd,
    failed: libc::c_int,
}

/// 64 KiB, aligned as a stack must be: much more than a few calls of the C library need, each of which is a system call and
/// little else.
type Stack = [u128; 4 << 10];

impl Start<'_> {
    /// Starts it as the leader of a session of its own, with no signal blocked or ignored. What exec refuses is an error
    /// here.
    pub(super) fn start(&self) -> io::Result<Started> {
        let pointers = |strings: &mut dyn Iterator<Item = &CStr>| -> Vec<*const libc::c_char> {
            strings.map(CStr::as_ptr).chain([ptr::null()]).collect()
        };
        let arguments = pointers(&mut self.arguments.iter().copied());
        let environment = pointers(&mut self.environment.iter().map(CString::as_c_str));
        let mut child = Child {
            program: self.program.as_ptr(),
            arguments: arguments.as_ptr(),
            environment: environment.as_ptr(),
            folder: self.folder.as_ptr(),
            input: self.input.as_raw_fd(),
            output: self.output.as_raw_fd(),
            failed: 0,
        };
        let mut stack = Box::<Stack>::new_uninit();
        let mut pidfd: libc::c_int = -1;
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
        // SAFETY: this thread waits until the child has its own memory or is gone, so everything that it is shown lives,
        // and nothing of it is read meanwhile. The stack grows down from its end, which is aligned. No signal is
        // delivered to the child while it has our memory: all are blocked, and stay so until it has cleared their handlers
        // by exec.
        let (pid, error) = unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
            let top = stack.as_mut_ptr().add(1).cast();
            let pid = libc::clone(run, top, flags, (&raw mut child).cast(), &raw mut pidfd);
            let error = io::Error::last_os_error();
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut());
            (pid, error)
        };
        let Some(pid) = Pid::from_raw(pid).filter(|_| pid > 0) else { return Err(error) };
        // SAFETY: the kernel made this descriptor for us.
        let ended = unsafe { OwnedFd::from_raw_fd(pidfd) };
        // SAFETY: the child is done with it; it wrote there behind the compiler's back.
        match unsafe { ptr::read_volatile(&raw const child.failed) } {
            0 => Ok(Started { pid, ended }),
            errno => {
                let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
                Err(io::Error::from_raw_os_error(errno))
            }
        }
    }
}

/// The child's side: until exec it has the hand's memory, in which it may change nothing but its own stack and word.
extern "C" fn run(child: *mut libc::c_void) -> libc::c_int {
    let child: *mut Child = child.cast();
    // SAFETY: the parent keeps it alive and does not look at it. Each call is a system call on plain numbers and on
    // strings that end in NUL.
    unsafe {
        let failed = || {
            ptr::write_volatile(&raw mut (*child).failed, *libc::__errno_location());
            libc::_exit(127)
        };
        if libc::dup2((*child).input, 0) < 0
            || libc::dup2((*child).output, 1) < 0
            || libc::dup2((*child).output, 2) < 0
            || libc::chdir((*child).folder) < 0
            || libc::setsid() < 0
        {
            failed();
        }
        // Where memory runs out, it is not the hand that goes, nor the person's programs before these. Each session has a
        // share of the processor of its own, which goes by this and not by what processes say.
        tell_kernel(c"/proc/self/oom_score_adj", b"800");
        tell_kernel(c"/proc/self/autogroup", b"5");
        // The ones that this program ignores: Rust's runtime the first, the hand the second.
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::signal(libc::SIGXFSZ, libc::SIG_DFL);
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        libc::execve((*child).program, (*child).arguments, (*child).environment);
        failed()
    }
}

/// Writes to a file of the kernel's that need not be there.
///
/// # Safety
/// Makes nothing but system calls, and is safe wherever these are.
unsafe fn tell_kernel(file: &CStr, word: &[u8]) {
    // SAFETY: a string that ends in NUL, and as many bytes as there are.
    unsafe {
        let fd = libc::open(file.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if fd >= 0 {
            libc::write(fd, word.as_ptr().cast(), word.len());
            libc::close(fd);
        }
    }
}
