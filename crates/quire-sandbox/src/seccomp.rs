//! Which system calls exist inside. Four answers, for four reasons:
//!
//! - `EPERM` for what would reach round the wall, or widen the kernel that can be attacked: nothing needs it, and a
//!   program that asks hears a plain no.
//! - `ENOSYS` for what has an older sibling that programs fall back to (`clone3`, whose flags lie in memory where a
//!   filter cannot see them, and `io_uring`), and for every number that this list was not written for.
//! - success, and nothing done, for what would make every disk of the machine write down all it has: what is written
//!   inside need not outlive a power cut, and quire syncs what is kept.
//! - the end of the process for a call in another architecture's numbers, which would mean something else.

use libc::*;

/// The newest call that this list was written for: `removexattrat`, of Linux 6.13, on every architecture alike.
const NEWEST: u32 = 466;

const FORBIDDEN: &[c_long] = &[
    SYS_acct,
    SYS_add_key,
    SYS_adjtimex,
    SYS_bpf,
    SYS_clock_adjtime,
    SYS_clock_settime,
    SYS_delete_module,
    SYS_fanotify_init,
    SYS_finit_module,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fsopen,
    SYS_fspick,
    SYS_init_module,
    SYS_kexec_file_load,
    SYS_kexec_load,
    SYS_keyctl,
    SYS_lookup_dcookie,
    SYS_mbind,
    SYS_migrate_pages,
    SYS_mount,
    SYS_mount_setattr,
    SYS_move_mount,
    SYS_move_pages,
    SYS_nfsservctl,
    SYS_open_by_handle_at,
    SYS_open_tree,
    SYS_perf_event_open,
    SYS_pivot_root,
    SYS_quotactl,
    SYS_quotactl_fd,
    SYS_reboot,
    SYS_request_key,
    SYS_set_mempolicy,
    SYS_set_mempolicy_home_node,
    SYS_setdomainname,
    SYS_sethostname,
    SYS_setns,
    SYS_settimeofday,
    SYS_swapoff,
    SYS_swapon,
    SYS_syslog,
    SYS_umount2,
    SYS_userfaultfd,
    SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")]
    SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    SYS__sysctl,
];

/// `clone3`, `io_uring_*`, `statmount` and `listmount`.
const ABSENT: &[c_long] =
    &[SYS_clone3, SYS_io_uring_enter, SYS_io_uring_register, SYS_io_uring_setup, 457, 458];

/// For the whole machine, or a whole file system; a single file may be synced.
const NEEDLESS: &[c_long] = &[SYS_sync, SYS_syncfs];

/// Every flag that makes a namespace (clone(2)), apart from time, whose bit `clone` has no room for.
const NEW_NAMESPACE: u32 = (CLONE_NEWNS
    | CLONE_NEWCGROUP
    | CLONE_NEWUTS
    | CLONE_NEWIPC
    | CLONE_NEWUSER
    | CLONE_NEWPID
    | CLONE_NEWNET) as u32;
const CLONE_NEWTIME: u32 = 0x80;

/// Calls that change whose a file or a process is, and which of their arguments say whose, from the first to before the
/// last.
const OWNERS: &[(c_long, u32, u32)] = &[
    #[cfg(target_arch = "x86_64")]
    (SYS_chown, 1, 3),
    #[cfg(target_arch = "x86_64")]
    (SYS_lchown, 1, 3),
    (SYS_fchown, 1, 3),
    (SYS_fchownat, 2, 4),
    (SYS_setfsgid, 0, 1),
    (SYS_setfsuid, 0, 1),
    (SYS_setgid, 0, 1),
    (SYS_setregid, 0, 2),
    (SYS_setresgid, 0, 3),
    (SYS_setresuid, 0, 3),
    (SYS_setreuid, 0, 2),
    (SYS_setuid, 0, 1),
];

/// What may be asked of a file system by ioctl(2) among the kinds of [`OF_FILE_SYSTEMS`]: flags, versions and where a file lies
/// (`FS_IOC_GETFLAGS`, `_SETFLAGS`, both also for 32 bits, `_GETVERSION`, `_FIEMAP`, `_FSGETXATTR`, `_FSSETXATTR`), and copies that
/// share their blocks (`FICLONE`, `FICLONERANGE`, `FIDEDUPERANGE`); all of linux/fs.h.
const OF_FILES: [u32; 11] = [
    0x8008_6601,
    0x4008_6602,
    0x8004_6601,
    0x4004_6602,
    0x8008_7601,
    0xc020_660b,
    0x801c_581f,
    0x401c_5820,
    0x4004_9409,
    0x4020_940d,
    0xc018_9436,
];

/// Kinds of requests to file systems, the second byte of their numbers (`Documentation/userspace-api/ioctl/ioctl-number.rst`).
const OF_FILE_SYSTEMS: [u8; 6] = [b'X', b'f', b'v', 0x15, 0x94, 0xf5];

/// `SOCK_PACKET`, the raw socket of old (packet(7)).
const OLD_PACKET: u32 = 10;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E; // AUDIT_ARCH_X86_64, linux/audit.h
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7; // AUDIT_ARCH_AARCH64

/// Where `struct seccomp_data` has the number, the architecture, and the low half of each argument.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
pub const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

const ALLOW: u32 = SECCOMP_RET_ALLOW;
pub const NO: u32 = SECCOMP_RET_ERRNO | EPERM as u32;
const NOT_BUILT: u32 = SECCOMP_RET_ERRNO | EPROTONOSUPPORT as u32;
/// The call succeeds, and was not made.
pub const DONE: u32 = SECCOMP_RET_ERRNO;
pub const NOT_THERE: u32 = SECCOMP_RET_ERRNO | ENOSYS as u32;

/// A filter that is being written. Each rule tests what was loaded last and answers or goes on.
pub struct Filter(pub Vec<sock_filter>);

impl Filter {
    /// Returns an empty filter whose calls are told apart by their numbers, in the kernel's own architecture.
    pub fn new() -> Filter {
        let mut filter = Filter(Vec::new());
        filter.load(ARCH);
        filter.step(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
        filter.answer(SECCOMP_RET_KILL_PROCESS);
        filter.load(NUMBER);
        filter
    }

    pub fn step(&mut self, code: u32, k: u32, jt: u8, jf: u8) {
        self.0.push(sock_filter { code: code as u16, jt, jf, k });
    }

    pub fn load(&mut self, at: u32) {
        self.step(BPF_LD | BPF_W | BPF_ABS, at, 0, 0);
    }

    pub fn answer(&mut self, answer: u32) {
        self.step(BPF_RET | BPF_K, answer, 0, 0);
    }

    /// Answers where `test` holds of what was loaded and `k`.
    pub fn when(&mut self, test: u32, k: u32, answer: u32) {
        self.step(BPF_JMP | test | BPF_K, k, 0, 1);
        self.answer(answer);
    }

    /// Answers that it is done where an argument names somebody but root, and not nobody (-1).
    fn when_other(&mut self, index: u32) {
        self.load(argument(index));
        self.step(BPF_JMP | BPF_JEQ | BPF_K, 0, 2, 0);
        self.step(BPF_JMP | BPF_JEQ | BPF_K, u32::MAX, 1, 0);
        self.answer(DONE);
    }

    /// Writes `rules` for one call, after which the number must be loaded again. `rules` ends in an answer.
    pub fn call(&mut self, number: c_long, rules: impl FnOnce(&mut Filter)) {
        let mut inner = Filter(Vec::new());
        rules(&mut inner);
        let length = u8::try_from(inner.0.len()).unwrap_or(u8::MAX);
        self.step(BPF_JMP | BPF_JEQ | BPF_K, number as u32, 0, length);
        self.0.extend(inner.0);
    }
}

/// Returns the filter as a program for the kernel; `alone` is as in [`install`].
fn filter(alone: bool) -> Vec<sock_filter> {
    let mut filter = Filter::new();
    // Also every number of x32, which has its highest bits set.
    filter.when(BPF_JGT, NEWEST, NOT_THERE);
    for number in ABSENT {
        filter.when(BPF_JEQ, *number as u32, NOT_THERE);
    }
    if alone {
        // Into one of the namespaces that were made for it (`others`), and none else can be reached.
        filter.call(SYS_setns, |rules| {
            rules.load(argument(1));
            rules.when(BPF_JEQ, CLONE_NEWUSER as u32, ALLOW);
            rules.answer(NO);
        });
    }
    for number in NEEDLESS {
        filter.when(BPF_JEQ, *number as u32, DONE);
    }
    for number in FORBIDDEN {
        filter.when(BPF_JEQ, *number as u32, NO);
    }
    filter.call(SYS_clone, |rules| {
        rules.load(argument(0));
        rules.when(BPF_JSET, NEW_NAMESPACE, NO);
        rules.answer(ALLOW);
    });
    filter.call(SYS_unshare, |rules| {
        rules.load(argument(0));
        rules.when(BPF_JSET, NEW_NAMESPACE | CLONE_NEWTIME, NO);
        rules.answer(ALLOW);
    });
    // Typing into a terminal that is another's; and line disciplines, old drivers that the kernel loads for whoever asks.
    // The kernel looks at 32 bits, so must the filter.
    filter.call(SYS_ioctl, |rules| {
        rules.load(argument(1));
        for request in [TIOCSTI, TIOCLINUX, TIOCSETD] {
            rules.when(BPF_JEQ, request as u32, NO);
        }
        // A descriptor for reading is enough to close a file to every change for ever, to take a key of the person's from an
        // encrypted disk, or to be told which disk it is.
        for request in OF_FILES {
            rules.when(BPF_JEQ, request, ALLOW);
        }
        rules.step(BPF_ALU | BPF_AND | BPF_K, 0xff00, 0, 0);
        for kind in OF_FILE_SYSTEMS {
            rules.when(BPF_JEQ, u32::from(kind) << 8, SECCOMP_RET_ERRNO | ENOTTY as u32);
        }
        rules.answer(ALLOW);
    });
    if alone {
        for (number, from, to) in OWNERS {
            filter.call(*number, |rules| {
                (*from..*to).for_each(|argument| rules.when_other(argument));
                rules.answer(ALLOW);
            });
        }
        filter.call(SYS_setgroups, |rules| rules.answer(DONE));
    }
    filter.call(SYS_socket, |rules| {
        rules.load(argument(0));
        rules.when(BPF_JEQ, AF_UNIX as u32, ALLOW);
        // Netlink: only to ask for routes and addresses, as name look-up does. To the rest the answer is that of a
        // kernel without it, because `useradd` goes on without an audit log only then.
        rules.step(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK as u32, 0, 4);
        rules.load(argument(2));
        rules.when(BPF_JEQ, NETLINK_ROUTE as u32, ALLOW);
        rules.answer(NOT_BUILT);
        rules.step(BPF_JMP | BPF_JEQ | BPF_K, AF_INET as u32, 2, 0);
        rules.step(BPF_JMP | BPF_JEQ | BPF_K, AF_INET6 as u32, 1, 0);
        rules.answer(NO);
        rules.load(argument(1));
        rules.step(BPF_ALU | BPF_AND | BPF_K, 0xf, 0, 0);
        for kind in [SOCK_RAW as u32, OLD_PACKET] {
            rules.when(BPF_JEQ, kind, NO);
        }
        rules.load(argument(2));
        for protocol in [IPPROTO_IP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6] {
            rules.when(BPF_JEQ, protocol as u32, ALLOW);
        }
        rules.answer(NOT_BUILT);
    });
    // It makes two sockets of any family before it finds that most have no pairs.
    filter.call(SYS_socketpair, |rules| {
        rules.load(argument(0));
        rules.when(BPF_JEQ, AF_UNIX as u32, ALLOW);
        rules.answer(NO);
    });
    filter.answer(ALLOW);
    filter.0
}

/// Returns a filter that refuses segments of System V's memory of more than so many bytes, as a kernel does that has no room.
pub fn segments(most: u64) -> Vec<sock_filter> {
    let full = SECCOMP_RET_ERRNO | ENOSPC as u32;
    let mut filter = Filter::new();
    filter.call(SYS_shmget, |rules| {
        rules.load(argument(1) + 4);
        rules.when(BPF_JGT, 0, full);
        rules.load(argument(1));
        rules.when(BPF_JGT, u32::try_from(most).unwrap_or(u32::MAX), full);
        rules.answer(ALLOW);
    });
    filter.answer(ALLOW);
    filter.0
}

/// Filters the calls of this process and all that it will start. Needs no_new_privs. With `alone`, calls that give a file
/// to somebody else, or become somebody else, do nothing and succeed: there is nobody else, and programs that are installed
/// or started as services want no more than that it worked.
pub fn install(alone: bool) -> std::io::Result<()> {
    add(filter(alone), 0).map(drop)
}

/// Adds a filter to those that this process has, of whose answers the strictest counts. Returns what the kernel does, which
/// depends on the flags (seccomp(2)).
pub fn add(mut filter: Vec<sock_filter>, flags: c_ulong) -> std::io::Result<c_long> {
    let program = sock_fprog { len: filter.len() as c_ushort, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its instructions outlive the call.
    match unsafe { syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &raw const program) } {
        done @ 0.. => Ok(done),
        _ => Err(std::io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the filter as the kernel would.
    fn answer(architecture: u32, number: u32, arguments: [u64; 3]) -> u32 {
        answer_of(&filter(false), architecture, number, &arguments)
    }

    fn answer_of(program: &[sock_filter], architecture: u32, number: u32, arguments: &[u64]) -> u32 {
        let mut data = [number, architecture].map(u32::to_ne_bytes).concat();
        data.extend([0; 8]);
        data.extend(arguments.iter().flat_map(|argument| argument.to_ne_bytes()));
        let (mut at, mut loaded) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let jump = |holds: bool| usize::from(if holds { jt } else { jf });
            match u32::from(code) {
                c if c == BPF_LD | BPF_W | BPF_ABS => {
                    let k = k as usize;
                    loaded = u32::from_ne_bytes(data[k..k + 4].try_into().unwrap());
                }
                c if c == BPF_ALU | BPF_AND | BPF_K => loaded &= k,
                c if c == BPF_JMP | BPF_JEQ | BPF_K => at += jump(loaded == k),
                c if c == BPF_JMP | BPF_JGT | BPF_K => at += jump(loaded > k),
                c if c == BPF_JMP | BPF_JSET | BPF_K => at += jump(loaded & k != 0),
                c if c == BPF_RET | BPF_K => return k,
                other => panic!("unknown instruction {other}"),
            }
        }
    }

    #[test]
    fn whoever_is_alone_gives_away_nothing_and_hears_that_it_is_done() {
        let (me, kept) = (0, u64::from(u32::MAX));
        let rows = [
            (SYS_fchown, [3, me, me, 0], ALLOW),
            (SYS_fchown, [3, kept, me, 0], ALLOW),
            (SYS_fchown, [3, 104, 110, 0], DONE),
            (SYS_fchown, [3, me, 42, 0], DONE),
            (SYS_fchownat, [3, 0, me, me], ALLOW),
            (SYS_fchownat, [3, 0, kept, 42], DONE),
            (SYS_setuid, [me, 9, 9, 9], ALLOW),
            (SYS_setuid, [33, 0, 0, 0], DONE),
            (SYS_setresuid, [kept, 33, kept, 0], DONE),
            (SYS_setgroups, [0, 0, 0, 0], DONE),
        ];
        for (kind, expected) in
            [(CLONE_NEWUSER, ALLOW), (0, NO), (CLONE_NEWNS, NO), (CLONE_NEWUSER | CLONE_NEWNET, NO)]
        {
            let entered = [3, kind as u64];
            assert_eq!(
                answer_of(&filter(true), ARCHITECTURE, SYS_setns as u32, &entered),
                expected,
                "{kind:x}"
            );
            assert_eq!(answer_of(&filter(false), ARCHITECTURE, SYS_setns as u32, &entered), NO, "{kind:x}");
        }
        for (number, arguments, expected) in rows {
            let alone = answer_of(&filter(true), ARCHITECTURE, number as u32, &arguments);
            assert_eq!(alone, expected, "{number} {arguments:?}");
            assert_eq!(answer_of(&filter(false), ARCHITECTURE, number as u32, &arguments), ALLOW, "{number}");
        }
    }

    #[test]
    fn large_segments_are_refused() {
        let refused = SECCOMP_RET_ERRNO | ENOSPC as u32;
        for (size, expected) in [(1, ALLOW), (4096, ALLOW), (4097, refused), (1 << 32, refused)] {
            assert_eq!(
                answer_of(&segments(4096), ARCHITECTURE, SYS_shmget as u32, &[0, size, 0]),
                expected,
                "{size}"
            );
        }
        assert_eq!(answer_of(&segments(4096), ARCHITECTURE, SYS_read as u32, &[0, 4097, 0]), ALLOW);
    }

    #[test]
    fn calls_and_their_answers() {
        const NO_IOCTL: u32 = SECCOMP_RET_ERRNO | ENOTTY as u32;
        let high = 1 << 40;
        let rows = [
            (SYS_read, [0, 0, 0], ALLOW),
            (SYS_ptrace, [0, 0, 0], ALLOW),
            (SYS_fsync, [0, 0, 0], ALLOW),
            (SYS_sync, [0, 0, 0], DONE),
            (SYS_syncfs, [0, 0, 0], DONE),
            (SYS_mount, [0, 0, 0], NO),
            (SYS_bpf, [0, 0, 0], NO),
            (SYS_clone3, [0, 0, 0], NOT_THERE),
            (SYS_io_uring_setup, [0, 0, 0], NOT_THERE),
            (467, [0, 0, 0], NOT_THERE),
            (100_000, [0, 0, 0], NOT_THERE),
            (SYS_read | 0x4000_0000, [0, 0, 0], NOT_THERE),
            (SYS_clone, [SIGCHLD as u64, 0, 0], ALLOW),
            (SYS_clone, [CLONE_NEWUSER as u64 | high, 0, 0], NO),
            (SYS_unshare, [CLONE_FILES as u64, 0, 0], ALLOW),
            (SYS_unshare, [CLONE_NEWNS as u64, 0, 0], NO),
            (SYS_ioctl, [0, TIOCGWINSZ, 0], ALLOW),
            (SYS_ioctl, [0, TIOCSTI | high, 0], NO),
            (SYS_ioctl, [0, TIOCLINUX, 0], NO),
            (SYS_ioctl, [0, TIOCSETD, 0], NO),
            (SYS_ioctl, [0, 0x8008_6601, 0], ALLOW),
            (SYS_ioctl, [0, FIONREAD, 0], ALLOW),
            (SYS_ioctl, [0, FIOCLEX, 0], ALLOW),
            (SYS_ioctl, [0, 0x4004_9409, 0], ALLOW),
            (SYS_ioctl, [0, 0x4080_6685 | high, 0], NO_IOCTL),
            (SYS_ioctl, [0, 0xc040_6618, 0], NO_IOCTL),
            (SYS_ioctl, [0, 0x8011_1500, 0], NO_IOCTL),
            (SYS_ioctl, [0, 0x5000_9401, 0], NO_IOCTL),
            (SYS_socket, [AF_UNIX as u64, SOCK_STREAM as u64, 0], ALLOW),
            (SYS_socket, [AF_INET as u64, (SOCK_STREAM | SOCK_CLOEXEC) as u64, 0], ALLOW),
            (SYS_socket, [AF_INET6 as u64, SOCK_DGRAM as u64, 0], ALLOW),
            (SYS_socket, [AF_INET as u64, (SOCK_RAW | SOCK_NONBLOCK) as u64, 1], NO),
            (SYS_socket, [AF_PACKET as u64, SOCK_DGRAM as u64, 0], NO),
            (SYS_socket, [AF_NETLINK as u64, SOCK_RAW as u64, NETLINK_ROUTE as u64], ALLOW),
            (SYS_socket, [AF_NETLINK as u64, SOCK_RAW as u64, NETLINK_NETFILTER as u64], NOT_BUILT),
            (SYS_socket, [AF_ALG as u64, SOCK_SEQPACKET as u64, 0], NO),
            (SYS_socket, [AF_VSOCK as u64, SOCK_STREAM as u64, 0], NO),
            (SYS_socket, [AF_INET6 as u64, SOCK_STREAM as u64, IPPROTO_TCP as u64], ALLOW),
            (SYS_socket, [AF_INET as u64, SOCK_DGRAM as u64, IPPROTO_ICMP as u64], ALLOW),
            (SYS_socket, [AF_INET as u64, SOCK_STREAM as u64, IPPROTO_MPTCP as u64], NOT_BUILT),
            (SYS_socket, [AF_INET as u64, SOCK_STREAM as u64, IPPROTO_SCTP as u64], NOT_BUILT),
            (SYS_socketpair, [AF_UNIX as u64, SOCK_STREAM as u64, 0], ALLOW),
            (SYS_socketpair, [AF_TIPC as u64, SOCK_SEQPACKET as u64, 0], NO),
        ];
        for (number, arguments, expected) in rows {
            assert_eq!(answer(ARCHITECTURE, number as u32, arguments), expected, "{number} {arguments:?}");
        }
        assert_eq!(answer(0x4000_0003, SYS_read as u32, [0; 3]), SECCOMP_RET_KILL_PROCESS, "i386");
    }
}
