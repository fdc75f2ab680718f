//! The probe: this program once more, inside. It tries something and prints, a line each, what it tried and the name of the
//! error that it met, or what it got. The first line says that it ran, and where.

#[path = "probe_files.rs"]
mod files;
#[path = "probe_net.rs"]
pub mod net;

use crate::ground;
use files::{capability, chroot, connect, flags, handles, mark, nameless, pages, watch};
use std::ffi::{OsString, c_long};
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The private first argument.
pub const NAME: &str = "escape-probe";

/// Runs the probe of `args`: a word to be said, the probe's name, what it takes.
pub fn main(args: &[OsString]) -> ExitCode {
    let args: Vec<&str> = args.iter().filter_map(|arg| arg.to_str()).collect();
    let [word, name, rest @ ..] = &args[..] else { return ExitCode::FAILURE };
    println!("{word} {}", ground::here());
    let Some((_, probe)) = PROBES.iter().find(|(known, _)| known == name) else {
        eprintln!("no probe {name}");
        return ExitCode::FAILURE;
    };
    probe(rest);
    ExitCode::SUCCESS
}

type Probe = fn(&[&str]);

/// A probe is a function and a line here.
const PROBES: &[(&str, Probe)] = &[
    ("another-user", another_user),
    ("calls", calls),
    ("capability", capability),
    ("chroot", chroot),
    ("connect", connect),
    ("enter", enter),
    ("filters", filters),
    ("first", first),
    ("flags", flags),
    ("hand", hand),
    ("handles", handles),
    ("image", image),
    ("landlock", landlock),
    ("later-calls", later_calls),
    ("limits-of", limits_of),
    ("mark", mark),
    ("memory-program", memory_program),
    ("nameless", nameless),
    ("namespaces", namespaces),
    ("network", network),
    ("numbers", numbers),
    ("oom", oom),
    ("open", open),
    ("ping", net::ping),
    ("pages", pages),
    ("proxy", proxy),
    ("read", read),
    ("shared", shared),
    ("signal", signal),
    ("sockets", sockets),
    ("talk", net::talk),
    ("tcp", net::tcp),
    ("terminal", terminal),
    ("trace", trace),
    ("udp", net::udp),
    ("watch", watch),
    ("writable", writable),
];

/// Prints one answer.
pub fn say(what: &str, answer: impl std::fmt::Display) {
    println!("{what} {answer}");
}

/// Returns the name of the error, or `ok`.
pub fn told<T>(done: io::Result<T>) -> String {
    match done {
        Ok(_) => "ok".into(),
        Err(error) => error.raw_os_error().map_or_else(|| format!("{:?}", error.kind()), errno),
    }
}

/// Returns what a system call answered.
pub fn asked(answer: c_long) -> io::Result<c_long> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

pub fn errno(number: i32) -> String {
    let names = [
        (libc::EPERM, "EPERM"),
        (libc::ENOENT, "ENOENT"),
        (libc::ESRCH, "ESRCH"),
        (libc::EIO, "EIO"),
        (libc::ENXIO, "ENXIO"),
        (libc::E2BIG, "E2BIG"),
        (libc::ENOEXEC, "ENOEXEC"),
        (libc::EBADF, "EBADF"),
        (libc::ECHILD, "ECHILD"),
        (libc::EAGAIN, "EAGAIN"),
        (libc::ENOMEM, "ENOMEM"),
        (libc::EACCES, "EACCES"),
        (libc::EFAULT, "EFAULT"),
        (libc::EBUSY, "EBUSY"),
        (libc::EEXIST, "EEXIST"),
        (libc::EXDEV, "EXDEV"),
        (libc::ENODEV, "ENODEV"),
        (libc::ENOTDIR, "ENOTDIR"),
        (libc::EISDIR, "EISDIR"),
        (libc::EINVAL, "EINVAL"),
        (libc::EMFILE, "EMFILE"),
        (libc::ENOTTY, "ENOTTY"),
        (libc::ETXTBSY, "ETXTBSY"),
        (libc::EFBIG, "EFBIG"),
        (libc::ENOSPC, "ENOSPC"),
        (libc::EROFS, "EROFS"),
        (libc::EMLINK, "EMLINK"),
        (libc::EPIPE, "EPIPE"),
        (libc::ENAMETOOLONG, "ENAMETOOLONG"),
        (libc::ENOSYS, "ENOSYS"),
        (libc::ENOTEMPTY, "ENOTEMPTY"),
        (libc::ELOOP, "ELOOP"),
        (libc::ENODATA, "ENODATA"),
        (libc::EOVERFLOW, "EOVERFLOW"),
        (libc::ENOTSOCK, "ENOTSOCK"),
        (libc::EPROTOTYPE, "EPROTOTYPE"),
        (libc::ENOPROTOOPT, "ENOPROTOOPT"),
        (libc::EPROTONOSUPPORT, "EPROTONOSUPPORT"),
        (libc::ESOCKTNOSUPPORT, "ESOCKTNOSUPPORT"),
        (libc::EOPNOTSUPP, "EOPNOTSUPP"),
        (libc::EAFNOSUPPORT, "EAFNOSUPPORT"),
        (libc::ENETUNREACH, "ENETUNREACH"),
        (libc::ECONNREFUSED, "ECONNREFUSED"),
    ];
    names
        .iter()
        .find(|(known, _)| *known == number)
        .map_or_else(|| number.to_string(), |(_, name)| (*name).into())
}

/// A descriptor of nothing, a bad address, and all flags.
const NONE: c_long = -1;
const BAD: c_long = 1;
const ALL: c_long = -1;

/// System calls with arguments that no kernel grants: outside they are answered by what is wrong with those.
const CALLS: &[(&str, c_long, [c_long; 6])] = &[
    ("acct", libc::SYS_acct, [BAD, 0, 0, 0, 0, 0]),
    ("add_key", libc::SYS_add_key, [BAD, BAD, 0, 0, 0, 0]),
    ("adjtimex", libc::SYS_adjtimex, [BAD, 0, 0, 0, 0, 0]),
    ("bpf", libc::SYS_bpf, [ALL, 0, 0, 0, 0, 0]),
    ("clock_adjtime", libc::SYS_clock_adjtime, [0, BAD, 0, 0, 0, 0]),
    ("clock_settime", libc::SYS_clock_settime, [0, BAD, 0, 0, 0, 0]),
    ("clone3", libc::SYS_clone3, [BAD, 88, 0, 0, 0, 0]),
    ("delete_module", libc::SYS_delete_module, [BAD, 0, 0, 0, 0, 0]),
    ("fanotify_init", libc::SYS_fanotify_init, [ALL, 0, 0, 0, 0, 0]),
    ("file_getattr", 468, [NONE, BAD, BAD, 24, ALL, 0]),
    ("file_setattr", 469, [NONE, BAD, BAD, 24, ALL, 0]),
    ("inotify_init1", libc::SYS_inotify_init1, [ALL, 0, 0, 0, 0, 0]),
    ("finit_module", libc::SYS_finit_module, [NONE, BAD, 0, 0, 0, 0]),
    ("fsconfig", libc::SYS_fsconfig, [NONE, ALL, 0, 0, 0, 0]),
    ("fsmount", libc::SYS_fsmount, [NONE, 0, 0, 0, 0, 0]),
    ("fsopen", libc::SYS_fsopen, [BAD, 0, 0, 0, 0, 0]),
    ("fspick", libc::SYS_fspick, [NONE, BAD, 0, 0, 0, 0]),
    ("init_module", libc::SYS_init_module, [BAD, 0, BAD, 0, 0, 0]),
    ("io_uring_enter", libc::SYS_io_uring_enter, [NONE, 0, 0, 0, 0, 0]),
    ("io_uring_register", libc::SYS_io_uring_register, [NONE, 0, 0, 0, 0, 0]),
    ("io_uring_setup", libc::SYS_io_uring_setup, [1, BAD, 0, 0, 0, 0]),
    ("kexec_file_load", libc::SYS_kexec_file_load, [NONE, NONE, 0, BAD, 0, 0]),
    ("kexec_load", libc::SYS_kexec_load, [0, 1 << 20, BAD, 0, 0, 0]),
    ("keyctl", libc::SYS_keyctl, [ALL, 0, 0, 0, 0, 0]),
    ("listmount", 458, [BAD, 0, 0, 0, 0, 0]),
    ("mbind", libc::SYS_mbind, [BAD, 0, ALL, 0, 0, 0]),
    ("migrate_pages", libc::SYS_migrate_pages, [0, 0, 0, 0, 0, 0]),
    ("mount", libc::SYS_mount, [BAD, BAD, BAD, 0, 0, 0]),
    ("mount_setattr", libc::SYS_mount_setattr, [NONE, BAD, 0, BAD, 32, 0]),
    ("move_mount", libc::SYS_move_mount, [NONE, BAD, NONE, BAD, ALL, 0]),
    ("move_pages", libc::SYS_move_pages, [0, 0, 0, 0, 0, ALL]),
    ("open_by_handle_at", libc::SYS_open_by_handle_at, [NONE, BAD, 0, 0, 0, 0]),
    ("open_tree", libc::SYS_open_tree, [NONE, BAD, ALL, 0, 0, 0]),
    ("open_tree_attr", 467, [NONE, BAD, ALL, BAD, 32, 0]),
    ("perf_event_open", libc::SYS_perf_event_open, [BAD, 0, 0, 0, 0, 0]),
    ("pivot_root", libc::SYS_pivot_root, [BAD, BAD, 0, 0, 0, 0]),
    ("quotactl", libc::SYS_quotactl, [ALL, BAD, 0, 0, 0, 0]),
    ("quotactl_fd", libc::SYS_quotactl_fd, [NONE, ALL, 0, 0, 0, 0]),
    ("reboot", libc::SYS_reboot, [0, 0, 0, 0, 0, 0]),
    ("request_key", libc::SYS_request_key, [BAD, BAD, 0, 0, 0, 0]),
    ("set_mempolicy", libc::SYS_set_mempolicy, [0xfff, 0, 0, 0, 0, 0]),
    ("set_mempolicy_home_node", 450, [0, 0, 0, ALL, 0, 0]),
    ("setdomainname", libc::SYS_setdomainname, [BAD, ALL, 0, 0, 0, 0]),
    ("sethostname", libc::SYS_sethostname, [BAD, ALL, 0, 0, 0, 0]),
    ("setns", libc::SYS_setns, [NONE, 0, 0, 0, 0, 0]),
    ("settimeofday", libc::SYS_settimeofday, [BAD, 0, 0, 0, 0, 0]),
    ("statmount", 457, [BAD, 0, 0, 0, 0, 0]),
    ("swapoff", libc::SYS_swapoff, [BAD, 0, 0, 0, 0, 0]),
    ("swapon", libc::SYS_swapon, [BAD, 0, 0, 0, 0, 0]),
    ("syslog", libc::SYS_syslog, [0xfff, 0, 0, 0, 0, 0]),
    ("umount2", libc::SYS_umount2, [BAD, 0, 0, 0, 0, 0]),
    ("userfaultfd", libc::SYS_userfaultfd, [ALL, 0, 0, 0, 0, 0]),
    #[cfg(target_arch = "x86_64")]
    ("ioperm", libc::SYS_ioperm, [1 << 20, 1, 1, 0, 0, 0]),
    #[cfg(target_arch = "x86_64")]
    ("iopl", libc::SYS_iopl, [9, 0, 0, 0, 0, 0]),
    #[cfg(target_arch = "x86_64")]
    ("modify_ldt", libc::SYS_modify_ldt, [0xfff, 0, 0, 0, 0, 0]),
    // A number that no kernel has.
    ("a_call_of_tomorrow", 999, [0; 6]),
];

/// Makes system calls by name.
fn calls(names: &[&str]) {
    for name in names {
        // Another architecture's kernel lacks a few of them.
        let Some((_, number, arguments)) = CALLS.iter().find(|(known, ..)| known == name) else { continue };
        let [a, b, c, d, e, f] = *arguments;
        // SAFETY: no argument is a valid address, so the kernel touches no memory of ours.
        say(name, told(asked(unsafe { libc::syscall(*number, a, b, c, d, e, f) })));
    }
}

/// Opens and closes, as the first argument says: `r`, `w`, or `rw`.
fn open(args: &[&str]) {
    let [how, paths @ ..] = args else { return };
    let mut options = fs::OpenOptions::new();
    options.read(how.contains('r')).write(how.contains('w'));
    for path in paths {
        say(path, told(options.open(path)));
    }
}

/// Reads a byte of each file, or the first name of each directory.
fn read(paths: &[&str]) {
    for path in paths {
        let first = || {
            if fs::metadata(path)?.is_dir() {
                return fs::read_dir(path)?.next().transpose().map(drop);
            }
            fs::File::open(path)?.read(&mut [0]).map(drop)
        };
        say(path, told(first()));
    }
}

/// Asks for each kind of new namespace in every way that there is.
fn namespaces(_: &[&str]) {
    let kinds = [
        ("user", libc::CLONE_NEWUSER),
        ("mount", libc::CLONE_NEWNS),
        ("pid", libc::CLONE_NEWPID),
        ("net", libc::CLONE_NEWNET),
        ("ipc", libc::CLONE_NEWIPC),
        ("uts", libc::CLONE_NEWUTS),
        ("cgroup", libc::CLONE_NEWCGROUP),
    ];
    for (name, flag) in kinds {
        say(&format!("unshare-{name}"), in_child(|| told(asked(unsafe { libc::unshare(flag) }.into()))));
        say(&format!("clone-{name}"), clone(flag | libc::SIGCHLD));
        say(&format!("user-and-{name}"), clone(flag | libc::CLONE_NEWUSER | libc::SIGCHLD));
    }
    const NEWTIME: i32 = 0x80;
    say("unshare-time", in_child(|| told(asked(unsafe { libc::unshare(NEWTIME) }.into()))));
    say("vfork-user", clone(libc::CLONE_NEWUSER | libc::CLONE_VFORK | libc::SIGCHLD));
}

/// Clones with these flags; a child that comes to be ends at once.
fn clone(flags: i32) -> String {
    // SAFETY: without a new stack this is fork(2), and the child touches nothing.
    let child = unsafe { libc::syscall(libc::SYS_clone, c_long::from(flags), 0, 0, 0, 0) };
    match child {
        0 => unsafe { libc::_exit(0) },
        1.. => {
            // SAFETY: no status is asked for.
            unsafe { libc::waitpid(child as i32, std::ptr::null_mut(), 0) };
            "ok".into()
        }
        _ => told(asked(child)),
    }
}

/// Returns what `work` says in a process of its own, so that what it changes of itself goes with it. A process that is
/// ended by a signal says `signal N`.
pub fn in_child(work: impl FnOnce() -> String) -> String {
    let (mut from, mut to) = io::pipe().expect("a pipe");
    // SAFETY: there is one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        drop(from);
        let _ = to.write_all(work().as_bytes());
        // SAFETY: does not return.
        unsafe { libc::_exit(0) };
    }
    drop(to);
    let mut said = String::new();
    from.read_to_string(&mut said).expect("a child's words");
    let mut status = 0;
    // SAFETY: the status outlives the call.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    if libc::WIFSIGNALED(status) { format!("signal {}", libc::WTERMSIG(status)) } else { said }
}

/// `SOCK_PACKET`, the raw socket of old (packet(7)).
const OLD_PACKET: i32 = 10;

/// Makes sockets of every family, and of kinds that are more than data.
fn sockets(_: &[&str]) {
    let rows = [
        ("unix", libc::AF_UNIX, libc::SOCK_STREAM, 0),
        ("tcp", libc::AF_INET, libc::SOCK_STREAM, 0),
        ("udp6", libc::AF_INET6, libc::SOCK_DGRAM, 0),
        ("route", libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE),
        ("raw", libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
        ("raw6", libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_ICMPV6),
        ("packet", libc::AF_PACKET, libc::SOCK_RAW, 0),
        ("old-packet", libc::AF_INET, OLD_PACKET, 0),
        ("netfilter", libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_NETFILTER),
        ("audit", libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_AUDIT),
        ("uevent", libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_KOBJECT_UEVENT),
        ("xfrm", libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_XFRM),
        ("generic", libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_GENERIC),
        ("alg", libc::AF_ALG, libc::SOCK_SEQPACKET, 0),
        ("vsock", libc::AF_VSOCK, libc::SOCK_STREAM, 0),
        ("bluetooth", libc::AF_BLUETOOTH, libc::SOCK_RAW, 0),
        ("can", libc::AF_CAN, libc::SOCK_RAW, 0),
        ("xdp", libc::AF_XDP, libc::SOCK_RAW, 0),
        ("tipc", libc::AF_TIPC, libc::SOCK_SEQPACKET, 0),
        ("rds", libc::AF_RDS, libc::SOCK_SEQPACKET, 0),
        ("key", libc::AF_KEY, libc::SOCK_RAW, 2),
        ("ax25", libc::AF_AX25, libc::SOCK_DGRAM, 0),
        ("ppp", libc::AF_PPPOX, libc::SOCK_STREAM, 0),
        ("sctp", libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_SCTP),
        ("dccp", libc::AF_INET, libc::SOCK_DCCP, libc::IPPROTO_DCCP),
        ("mptcp", libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP),
        ("udplite", libc::AF_INET6, libc::SOCK_DGRAM, libc::IPPROTO_UDPLITE),
        ("l2tp", libc::AF_INET, libc::SOCK_DGRAM, 115),
    ];
    let close = |fd: i32| unsafe { libc::close(fd) };
    for (name, family, kind, protocol) in rows {
        // SAFETY: these take plain numbers, and the pair outlives its call.
        let one = asked(unsafe { libc::socket(family, kind, protocol) }.into());
        say(name, told(one.map(|fd| close(fd as i32))));
        let mut pair = [0; 2];
        let two = asked(unsafe { libc::socketpair(family, kind, protocol, pair.as_mut_ptr()) }.into());
        say(&format!("pair-{name}"), told(two.map(|_| pair.map(close))));
    }
}

/// Reaches for process 1, in each way that one process can reach for another.
fn hand(_: &[&str]) {
    let mut buffer = [0_u8; 8];
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: 8 };
    let remote = libc::iovec { iov_base: 0x1000 as *mut _, iov_len: 8 };
    // SAFETY: the vectors outlive the calls, and only our own buffer is written to.
    unsafe {
        say("attach", told(asked(libc::ptrace(libc::PTRACE_ATTACH, 1, 0, 0))));
        say("seize", told(asked(libc::ptrace(libc::PTRACE_SEIZE, 1, 0, 0))));
        say(
            "read-memory",
            told(asked(libc::process_vm_readv(1, &raw const local, 1, &raw const remote, 1, 0) as c_long)),
        );
        let written = libc::process_vm_writev(1, &raw const local, 1, &raw const remote, 1, 0);
        say("write-memory", told(asked(written as c_long)));
        say("compare", told(asked(libc::syscall(libc::SYS_kcmp, libc::getpid(), 1, 1, 0, 0))));
        let pidfd = libc::syscall(libc::SYS_pidfd_open, 1, 0);
        say("open", told(asked(pidfd)));
        say("take-descriptor", told(asked(libc::syscall(libc::SYS_pidfd_getfd, pidfd, 0, 0))));
    }
}

/// Opens and closes every file below these directories for writing, apart from those of single processes.
fn writable(roots: &[&str]) {
    let mut pending: Vec<PathBuf> = roots.iter().map(PathBuf::from).collect();
    let (mut tried, mut opened) = (0, Vec::new());
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
            let of_process = directory == Path::new("/proc")
                && entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok());
            if kind.is_dir() && !of_process {
                pending.push(path);
            } else if kind.is_file() {
                tried += 1;
                if fs::OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&path).is_ok() {
                    opened.push(path.display().to_string());
                }
            }
        }
    }
    say("tried", tried);
    say("writable", if opened.is_empty() { "none".into() } else { opened.join(",") });
}

/// Enters every namespace of these directories.
fn enter(directories: &[&str]) {
    for entry in directories.iter().flat_map(|dir| fs::read_dir(dir).into_iter().flatten()).flatten() {
        let entered = in_child(|| {
            // SAFETY: takes plain numbers.
            told(
                fs::File::open(entry.path())
                    .and_then(|file| asked(unsafe { libc::setns(file.as_raw_fd(), 0) }.into())),
            )
        });
        say(&entry.path().display().to_string(), entered);
    }
}

/// Makes itself less likely to be ended where memory is short.
fn oom(args: &[&str]) {
    let file = "/proc/self/oom_score_adj";
    let now = fs::read_to_string(file).expect("a score");
    say("lower", told(fs::write(file, args[0])));
    say("same", told(fs::write(file, now)));
}

/// Asks for what is another's on a terminal of its own, which is its controlling one: on that the kernel itself may grant
/// it. Also asks what it reads and writes itself.
fn terminal(_: &[&str]) {
    const MORE_BITS: u64 = 1 << 32;
    let said = in_child(|| {
        let open = |path: &str, flags: i32| {
            let terminal = fs::OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
            terminal.expect("a terminal")
        };
        // Where there are no terminals, it is what was given for input that is asked.
        let (mut outer, mut own) = (None, None);
        if fs::OpenOptions::new().read(true).write(true).open("/dev/ptmx").is_ok() {
            let master = open("/dev/ptmx", libc::O_NOCTTY);
            let mut number = 0;
            // SAFETY: both read or write one number, and the new session is of this child.
            unsafe {
                libc::setsid();
                libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const number);
                libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number);
            }
            own = Some(open(&format!("/dev/pts/{number}"), 0));
            outer = Some(master);
        }
        let own = own.as_ref().map_or(0, AsRawFd::as_raw_fd);
        let mut buffer = [0_u8; 64];
        let mut lines = String::new();
        for (what, fd, request) in [
            ("size", own, libc::TIOCGWINSZ),
            ("TIOCSTI", own, libc::TIOCSTI),
            ("TIOCSTI-wide", own, libc::TIOCSTI | MORE_BITS),
            ("TIOCLINUX", own, libc::TIOCLINUX),
            ("TIOCSETD", own, libc::TIOCSETD),
            ("own-group", 0, libc::TIOCGPGRP),
            ("own-output", 1, libc::TIOCGPGRP),
        ] {
            // SAFETY: none of these reads or writes more than the buffer holds.
            let answer = unsafe { libc::syscall(libc::SYS_ioctl, fd, request, buffer.as_mut_ptr()) };
            lines.push_str(&format!("{what} {}\n", told(asked(answer))));
        }
        // Closing it would end this child, whose terminal it is, before it has told.
        std::mem::forget(outer);
        lines
    });
    print!("{said}");
}

/// Signals a process with nothing, in each way to name one.
fn signal(args: &[&str]) {
    let pid: i32 = args[0].parse().expect("a process");
    // SAFETY: these take plain numbers; the information is not read for signal 0.
    unsafe {
        say("kill", told(asked(libc::kill(pid, 0).into())));
        say("group", told(asked(libc::kill(-pid, 0).into())));
        say("thread", told(asked(libc::syscall(libc::SYS_tkill, pid, 0))));
        say("thread-of", told(asked(libc::syscall(libc::SYS_tgkill, pid, pid, 0))));
        let mut info: libc::siginfo_t = std::mem::zeroed();
        info.si_code = libc::SI_QUEUE;
        say("queue", told(asked(libc::syscall(libc::SYS_rt_sigqueueinfo, pid, 0, &raw const info))));
        let pidfd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        say("pidfd", told(asked(pidfd)));
        let sent =
            libc::syscall(libc::SYS_pidfd_send_signal, pidfd, 0, std::ptr::null::<libc::siginfo_t>(), 0);
        say("by-pidfd", told(asked(sent)));
    }
}

/// Has the kernel signal a process.
fn proxy(args: &[&str]) {
    let pid: i32 = args[0].parse().expect("a process");
    let (from, to) = rustix::pipe::pipe().expect("a pipe");
    // SAFETY: the structs outlive the calls; no timer is started.
    unsafe {
        say("owner", told(asked(libc::fcntl(from.as_raw_fd(), libc::F_SETOWN, pid).into())));
        // To name an owner is nothing yet: here what he would be told of happens.
        const F_SETSIG: i32 = 10; // asm-generic/fcntl.h
        libc::fcntl(from.as_raw_fd(), F_SETSIG, libc::SIGUSR1);
        libc::fcntl(from.as_raw_fd(), libc::F_SETFL, libc::O_ASYNC);
        libc::write(to.as_raw_fd(), c"x".as_ptr().cast(), 1);
        let owner = [0, pid];
        const F_SETOWN_EX: i32 = 15; // asm-generic/fcntl.h
        say("owner-thread", told(asked(libc::fcntl(from.as_raw_fd(), F_SETOWN_EX, owner.as_ptr()).into())));
        let mut event: libc::sigevent = std::mem::zeroed();
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = libc::SIGCONT;
        event.sigev_notify_thread_id = pid;
        let mut timer: i32 = 0;
        let made =
            libc::syscall(libc::SYS_timer_create, libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer);
        say("timer", told(asked(made)));
        say(
            "group-of-own",
            told(asked(libc::setpgid(0, pid).into()).map_err(|error| {
                // To join another's group is refused as a matter of sessions.
                if error.raw_os_error() == Some(libc::EPERM) {
                    io::Error::from_raw_os_error(libc::ESRCH)
                } else {
                    error
                }
            })),
        );
    }
}

/// Looks for a segment and a queue by key.
fn shared(args: &[&str]) {
    let key: i32 = args[0].parse().expect("a key");
    // SAFETY: these take plain numbers.
    unsafe {
        say("segment", told(asked(libc::shmget(key, 0, 0).into())));
        say("queue", told(asked(libc::msgget(key, 0).into())));
    }
}

/// Traces a child from its first stop and another that runs.
fn trace(_: &[&str]) {
    // SAFETY: there is one thread; the children do nothing but stop and wait.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
            libc::raise(libc::SIGSTOP);
            libc::_exit(0);
        }
        let mut status = 0;
        libc::waitpid(child, &raw mut status, 0);
        say("stopped", libc::WIFSTOPPED(status));
        let word = 7_i64;
        say("read", told(asked(libc::ptrace(libc::PTRACE_PEEKDATA, child, &raw const word, 0))));
        let mut registers = [0_u8; 1024];
        let mut into = libc::iovec { iov_base: registers.as_mut_ptr().cast(), iov_len: registers.len() };
        const NT_PRSTATUS: usize = 1; // linux/elf.h
        say(
            "registers",
            told(asked(libc::ptrace(libc::PTRACE_GETREGSET, child, NT_PRSTATUS, &raw mut into))),
        );
        const SUSPEND_SECCOMP: usize = 1 << 21; // linux/ptrace.h
        say("suspend-filter", told(asked(libc::ptrace(libc::PTRACE_SETOPTIONS, child, 0, SUSPEND_SECCOMP))));
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, &raw mut status, 0);
        let sleeper = libc::fork();
        if sleeper == 0 {
            libc::pause();
            libc::_exit(0);
        }
        say("attach", told(asked(libc::ptrace(libc::PTRACE_SEIZE, sleeper, 0, 0))));
        libc::kill(sleeper, libc::SIGKILL);
        libc::waitpid(sleeper, &raw mut status, 0);
    }
}

/// Asks to run before others.
fn first(_: &[&str]) {
    // SAFETY: the structs outlive the calls.
    unsafe {
        let priority = libc::sched_param { sched_priority: 1 };
        say("fifo", told(asked(libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority).into())));
        // struct sched_attr, linux/sched/types.h: size, policy (deadline), flags, nice, priority, runtime, deadline, period.
        #[repr(C)]
        struct Attributes(u32, u32, u64, i32, u32, u64, u64, u64);
        let deadline = Attributes(48, 6, 0, 0, 0, 1_000_000, 10_000_000, 10_000_000);
        say("deadline", told(asked(libc::syscall(libc::SYS_sched_setattr, 0, &raw const deadline, 0))));
        let now = libc::getpriority(libc::PRIO_PROCESS, 0);
        say("nice", told(asked(libc::setpriority(libc::PRIO_PROCESS, 0, now - 1).into())));
        const REAL_TIME: libc::c_long = 1 << 13; // linux/ioprio.h
        say("io-real-time", told(asked(libc::syscall(libc::SYS_ioprio_set, 1, 0, REAL_TIME))));
        let raise = |what: &str, resource| {
            let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::getrlimit(resource, &raw mut now);
            let more = libc::rlimit { rlim_cur: now.rlim_cur, rlim_max: now.rlim_max.saturating_add(1) };
            say(what, told(asked(libc::setrlimit(resource, &raw const more).into())));
        };
        raise("more-descriptors", libc::RLIMIT_NOFILE);
        raise("more-core", libc::RLIMIT_CORE);
        raise("real-time-limit", libc::RLIMIT_RTPRIO);
    }
}

/// Raises the limits of a process.
fn limits_of(args: &[&str]) {
    let pid: i32 = args[0].parse().expect("a process");
    let limits =
        [("core", libc::RLIMIT_CORE), ("processes", libc::RLIMIT_NPROC), ("files", libc::RLIMIT_FSIZE)];
    for (name, limit) in limits {
        // SAFETY: the structs outlive the calls.
        unsafe {
            let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::prlimit(pid, limit, std::ptr::null(), &raw mut now);
            now.rlim_max = now.rlim_max.saturating_add(1);
            say(name, told(asked(libc::prlimit(pid, limit, &raw const now, std::ptr::null_mut()).into())));
        }
    }
}

/// Asks what only who runs a network may.
fn network(_: &[&str]) {
    // SAFETY: each buffer is as long as is said, and outlives its call.
    unsafe {
        let filter = |what: &str, family, level| {
            let socket = libc::socket(family, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
            if socket < 0 {
                return say(what, told(asked(socket.into())));
            }
            // IPT_SO_GET_INFO, linux/netfilter_ipv4/ip_tables.h: it tells, and changes nothing.
            let (mut info, mut length) = ([0_u8; 84], 84);
            info[..6].copy_from_slice(b"filter");
            let got = libc::getsockopt(socket, level, 64, info.as_mut_ptr().cast(), &raw mut length);
            say(what, told(asked(got.into())));
        };
        filter("iptables", libc::AF_INET, libc::IPPROTO_IP);
        filter("ip6tables", libc::AF_INET6, libc::IPPROTO_IPV6);
        let ask = |what: &str, kind: u16, flags: u16, body: &[u8]| {
            let socket =
                libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE);
            if socket < 0 {
                return say(what, told(asked(socket.into())));
            }
            // struct nlmsghdr: length, kind, flags, sequence, port.
            let mut message = (16 + body.len() as u32).to_ne_bytes().to_vec();
            message.extend(kind.to_ne_bytes().into_iter().chain(flags.to_ne_bytes()));
            message.extend([0; 8]);
            message.extend(body);
            libc::send(socket, message.as_ptr().cast(), message.len(), 0);
            let mut reply = [0_u8; 8192];
            let length = libc::recv(socket, reply.as_mut_ptr().cast(), reply.len(), 0);
            let kind = u16::from_ne_bytes([reply[4], reply[5]]);
            // struct nlmsgerr begins with the error's number.
            let error = i32::from_ne_bytes([reply[16], reply[17], reply[18], reply[19]]);
            let failed = length >= 20 && i32::from(kind) == libc::NLMSG_ERROR && error != 0;
            say(what, if failed { errno(-error) } else { "ok".into() });
            libc::close(socket);
        };
        let link = |index: u32| [[0; 4], index.to_ne_bytes(), [0; 4], [0; 4]].concat();
        const REQUEST: u16 = 1;
        const ACKNOWLEDGE: u16 = 4;
        const DUMP: u16 = 0x300;
        ask("list-links", libc::RTM_GETLINK, REQUEST | DUMP, &link(0));
        // None of them names a kind that exists.
        ask("add-link", libc::RTM_NEWLINK, REQUEST | ACKNOWLEDGE | 0x400, &link(0));
        ask("add-queue", libc::RTM_NEWQDISC, REQUEST | ACKNOWLEDGE, &[link(1), vec![0; 4]].concat());
        ask("rename-lo", libc::RTM_SETLINK, REQUEST | ACKNOWLEDGE, &link(1));
    }
}

/// Makes calls by the numbers of other architectures. Each asks for its own process's number.
fn numbers(_: &[&str]) {
    #[cfg(target_arch = "x86_64")]
    {
        let i386 = in_child(|| {
            let mut answer: i32 = 20; // getpid of i386
            // SAFETY: the call takes no arguments and changes nothing but its answer.
            unsafe { std::arch::asm!("int 0x80", inout("eax") answer, options(nostack)) };
            answer.to_string()
        });
        say("i386", i386);
        const X32: c_long = 0x4000_0000;
        // SAFETY: as above; a mount of nothing.
        unsafe {
            say("x32", in_child(|| told(asked(libc::syscall(X32 | libc::SYS_getpid)))));
            say(
                "x32-mount",
                in_child(|| told(asked(libc::syscall(X32 | libc::SYS_mount, BAD, BAD, BAD, 0, 0)))),
            );
        }
    }
}

/// Asks which Landlock there is.
fn landlock(_: &[&str]) {
    const VERSION: c_long = 1; // LANDLOCK_CREATE_RULESET_VERSION, linux/landlock.h
    // SAFETY: without a ruleset nothing is read.
    say("version", told(asked(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0, 0, VERSION) })));
}

/// Runs a program that was never a file.
fn memory_program(_: &[&str]) {
    let made = rustix::fs::memfd_create("nameless", rustix::fs::MemfdFlags::CLOEXEC);
    let mut to = fs::File::from(made.expect("memory"));
    let copied = fs::File::open("/bin/sh").and_then(|mut shell| io::copy(&mut shell, &mut to));
    say("made", told(copied));
    let path = format!("/proc/self/fd/{}", to.as_raw_fd());
    let read_only = fs::File::open(&path).expect("the same, to be run");
    drop(to);
    // Kept open across the start of a program, which is what the name of it is.
    rustix::io::fcntl_setfd(&read_only, rustix::io::FdFlags::empty()).expect("a flag");
    let path = format!("/proc/self/fd/{}", read_only.as_raw_fd());
    let run = |script: &str| {
        let out = std::process::Command::new(&path).arg("-c").arg(script).output();
        out.map_or_else(
            |error| error.to_string(),
            |out| String::from_utf8_lossy(&out.stdout).trim().to_owned(),
        )
    };
    say("ran", run("echo $((5 + 5))"));
    say("filter", run("while read -r k v; do test $k = Seccomp: && echo $v; done < /proc/self/status"));
}

/// Changes of its own process what needs privilege.
fn image(_: &[&str]) {
    // SAFETY: these take plain numbers and structs that outlive them.
    unsafe {
        let map = libc::prctl(libc::PR_SET_MM, libc::PR_SET_MM_ARG_START, 1, 0, 0);
        say("memory-map", told(asked(map.into())));
        say("secure-bits", told(asked(libc::prctl(libc::PR_SET_SECUREBITS, 1, 0, 0, 0).into())));
        // struct __user_cap_header and _data, revision 3: all of them.
        let header = [0x2008_0522_u32, 0];
        let data = [u32::MAX; 6];
        say("add-capability", told(asked(libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()))));
        const SYS_ADMIN: i32 = 21;
        let ambient = libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, SYS_ADMIN, 0, 0);
        say("ambient", told(asked(ambient.into())));
    }
}

/// Makes every call that is newer than the filter, as far as a kernel could number them.
fn later_calls(_: &[&str]) {
    for number in 467..1024 {
        // SAFETY: no argument is a valid address.
        say(&number.to_string(), told(asked(unsafe { libc::syscall(number, ALL, BAD, ALL, BAD, ALL, BAD) })));
    }
}

/// Stacks a filter that allows all onto the one that is there, and asks again for what was refused.
fn filters(_: &[&str]) {
    for (name, answer) in [
        ("allow", libc::SECCOMP_RET_ALLOW),
        ("trace", libc::SECCOMP_RET_TRACE),
        ("log", libc::SECCOMP_RET_LOG),
        ("notify", libc::SECCOMP_RET_USER_NOTIF),
    ] {
        let said = in_child(|| {
            // On another call than those that end this process the answer would stop it.
            let mut program = [
                libc::sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 },
                libc::sock_filter { code: 0x15, jt: 0, jf: 1, k: libc::SYS_mount as u32 },
                libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: answer },
                libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
            ];
            let program = libc::sock_fprog { len: 4, filter: program.as_mut_ptr() };
            let flags = if name == "notify" { libc::SECCOMP_FILTER_FLAG_NEW_LISTENER } else { 0 };
            // SAFETY: the program outlives the call; no argument of mount is valid.
            unsafe {
                let set = libc::syscall(
                    libc::SYS_seccomp,
                    libc::SECCOMP_SET_MODE_FILTER,
                    flags,
                    &raw const program,
                );
                if let Err(error) = asked(set) {
                    return format!("not-set-{}", told::<()>(Err(error)));
                }
                told(asked(libc::syscall(libc::SYS_mount, BAD, BAD, BAD, 0, 0)))
            }
        });
        say(name, said);
    }
    // SAFETY: takes plain numbers.
    say("mode", told(asked(unsafe { libc::prctl(libc::PR_SET_SECCOMP, 0, 0, 0, 0) }.into())));
}

/// Enters a user namespace that is kept for another user, and asks there for what its root may not.
fn another_user(_: &[&str]) {
    let enter = |path: &str, kind: i32| -> io::Result<c_long> {
        let namespace = fs::File::open(path)?;
        // SAFETY: takes plain numbers.
        asked(unsafe { libc::setns(namespace.as_raw_fd(), kind) }.into())
    };
    say("entered", told(enter("/run/quire/users/0", libc::CLONE_NEWUSER)));
    // SAFETY: no argument is a valid address.
    unsafe {
        say("mount", told(asked(libc::syscall(libc::SYS_mount, BAD, BAD, BAD, 0, 0))));
        say("unshare", told(asked(libc::unshare(libc::CLONE_NEWNS).into())));
        say("raw", told(asked(libc::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP).into())));
        say("hostname", told(asked(libc::syscall(libc::SYS_sethostname, BAD, ALL))));
        say("attach", told(asked(libc::ptrace(libc::PTRACE_SEIZE, 1, 0, 0))));
    }
    say("memory", told(fs::File::open("/proc/1/mem")));
    say("enter-1", told(enter("/proc/1/ns/user", libc::CLONE_NEWUSER)));
    say("own-pid-namespace", told(enter("/proc/self/ns/pid", libc::CLONE_NEWUSER)));
    say("settings", told(fs::OpenOptions::new().write(true).open("/proc/sys/kernel/core_pattern")));
}
