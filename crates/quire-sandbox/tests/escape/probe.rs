//! The probe: this program once more, inside. It tries something and prints, a line each, what it tried and the name of the
//! error that it met, or what it got. The first line says that it ran, and where.

use crate::ground;
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
    ("calls", calls),
    ("enter", enter),
    ("hand", hand),
    ("namespaces", namespaces),
    ("oom", oom),
    ("open", open),
    ("read", read),
    ("sockets", sockets),
    ("terminal", terminal),
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
fn oom(_: &[&str]) {
    let file = "/proc/self/oom_score_adj";
    let now: i32 = fs::read_to_string(file).expect("a score").trim().parse().expect("a number");
    say("lower", told(fs::write(file, (now - 1).to_string())));
    say("same", told(fs::write(file, now.to_string())));
}

/// Asks for what is another's on a terminal of its own, and for what it reads and writes itself.
fn terminal(_: &[&str]) {
    const MORE_BITS: u64 = 1 << 32;
    let own = fs::OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open("/dev/ptmx");
    let own = own.expect("a terminal");
    let mut buffer = [0_u8; 64];
    let mut ask = |what: &str, fd: i32, request: u64| {
        // SAFETY: none of these reads or writes more than the buffer holds.
        let asked_for = unsafe { libc::syscall(libc::SYS_ioctl, fd, request, buffer.as_mut_ptr()) };
        say(what, told(asked(asked_for)));
    };
    ask("size", own.as_raw_fd(), libc::TIOCGWINSZ);
    ask("TIOCSTI", own.as_raw_fd(), libc::TIOCSTI);
    ask("TIOCSTI-wide", own.as_raw_fd(), libc::TIOCSTI | MORE_BITS);
    ask("TIOCLINUX", own.as_raw_fd(), libc::TIOCLINUX);
    ask("TIOCSETD", own.as_raw_fd(), libc::TIOCSETD);
    ask("own-group", 0, libc::TIOCGPGRP);
    ask("own-output", 1, libc::TIOCGPGRP);
}
