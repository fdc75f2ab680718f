//! The ground that a test's process stands on: a machine that gives less than this one. The abilities are really taken
//! from the process, for itself and all that it starts, as a container or a distribution takes them; quire is told
//! nothing of it and has to find out.
//!
//! Made for `Command::pre_exec`: call [`Ground::take`] as root in the new process, before it becomes another user, and
//! leave the change of user to it.

use std::io;

/// What the machine gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// All that this machine has.
    Whole,
    /// A container whose user namespaces work and whose `/proc` has covered places, so that the kernel lets nobody in it
    /// mount another.
    CoveredProc,
    /// A container as Docker makes it by default: no namespaces, no mounts, few privileges (its default seccomp profile
    /// and set of capabilities).
    Container,
}

/// Docker's default capabilities, by number (linux/capability.h).
const DOCKER: [u32; 14] = [
    0,  // CHOWN
    1,  // DAC_OVERRIDE
    3,  // FOWNER
    4,  // FSETID
    5,  // KILL
    6,  // SETGID
    7,  // SETUID
    8,  // SETPCAP
    10, // NET_BIND_SERVICE
    13, // NET_RAW
    18, // SYS_CHROOT
    27, // MKNOD
    29, // AUDIT_WRITE
    31, // SETFCAP
];

/// What Docker's default profile refuses of what a sandbox could be made with.
const REFUSED: [libc::c_long; 15] = [
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_bpf,
    libc::SYS_keyctl,
    libc::SYS_perf_event_open,
];

impl Ground {
    /// Takes from this process, which must be root's, what this ground does not give, and makes it `uid`'s.
    pub fn take(self, uid: u32) -> io::Result<()> {
        match self {
            Ground::Whole => become_user(uid),
            Ground::CoveredProc => {
                cover_proc()?;
                become_user(uid)
            }
            Ground::Container => {
                drop_capabilities()?;
                become_user(uid)?;
                refuse()
            }
        }
    }
}

/// Makes a process of root's `uid`'s, until something is done [`as_root`]. Not before an exec, which makes it so for ever.
#[allow(dead_code, reason = "one of the test programs that hold this file has no use for it")]
pub fn become_for_now(uid: u32) -> io::Result<()> {
    // SAFETY: these take plain numbers, and an empty list.
    unsafe {
        done(libc::setgroups(0, std::ptr::null()).into())?;
        done(libc::setresgid(uid, uid, 0).into())?;
        done(libc::setresuid(uid, uid, 0).into())?;
        // Or the process's own files in /proc would be root's.
        done(libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0).into())
    }
}

/// Does something as root after [`become_for_now`]. What is started meanwhile is root's as well.
#[allow(dead_code, reason = "one of the test programs that hold this file has no use for it")]
pub fn as_root<T>(doing: impl FnOnce() -> T) -> T {
    const SAME: libc::uid_t = libc::uid_t::MAX;
    // SAFETY: these take plain numbers.
    let become_one = |uid| unsafe {
        done(libc::setresuid(SAME, uid, SAME).into()).expect("another user");
        // Or the process's own files in /proc would be root's.
        done(libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0).into()).expect("a process to be seen");
    };
    // SAFETY: returns a plain number.
    let uid = unsafe { libc::getuid() };
    become_one(0);
    let result = doing();
    become_one(uid);
    result
}

fn done(result: libc::c_long) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn become_user(uid: u32) -> io::Result<()> {
    // SAFETY: these take plain numbers, and an empty list.
    unsafe {
        done(libc::setgroups(0, std::ptr::null()).into())?;
        done(libc::setresgid(uid, uid, uid).into())?;
        done(libc::setresuid(uid, uid, uid).into())
    }
}

/// Gives this process mounts of its own.
pub fn own_mounts() -> io::Result<()> {
    let none = std::ptr::null();
    // SAFETY: every string is a constant, and absent data is null.
    unsafe {
        done(libc::unshare(libc::CLONE_NEWNS).into())?;
        done(libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()).into())
    }
}

/// Covers a directory of `/proc` in a mount namespace of its own.
fn cover_proc() -> io::Result<()> {
    own_mounts()?;
    let none = std::ptr::null::<libc::c_void>();
    // SAFETY: every string is a constant, and absent data is null.
    unsafe {
        let (memory, at) = (c"tmpfs".as_ptr(), c"/proc/fs".as_ptr());
        done(libc::mount(memory, at, memory, libc::MS_RDONLY, none).into())
    }
}

fn drop_capabilities() -> io::Result<()> {
    // SAFETY: prctl and capset take plain numbers and structures that outlive the call.
    unsafe {
        for capability in 0..=40 {
            if !DOCKER.contains(&capability) {
                done(libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0).into())?;
            }
        }
        let kept = DOCKER.iter().fold(0u32, |kept, capability| kept | (1 << capability));
        let header = [0x2008_0522_u32, 0]; // _LINUX_CAPABILITY_VERSION_3, this process
        let sets = [kept, kept, 0, 0, 0, 0]; // effective, permitted, inheritable; then those above 31
        done(libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()))
    }
}

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

fn answer(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno as u32
}

fn step(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

/// Loads a word of what the kernel tells of a call (`seccomp_data`).
fn load(at: u32) -> libc::sock_filter {
    step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at, 0, 0)
}

fn is(k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, k, jt, jf)
}

fn has(bits: u32, jt: u8, jf: u8) -> libc::sock_filter {
    step(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, bits, jt, jf)
}

fn ret(k: u32) -> libc::sock_filter {
    step(libc::BPF_RET | libc::BPF_K, k, 0, 0)
}

/// Refuses networks beside the one that a new process may begin with, as a limit on their number does: to this thread and
/// all that it starts.
#[allow(dead_code, reason = "one of the test programs that hold this file has no use for it")]
pub fn refuse_second_network() -> io::Result<()> {
    filter(&mut [
        load(0),
        is(libc::SYS_unshare as u32, 0, 3),
        load(16),
        has(libc::CLONE_NEWNET as u32, 0, 1),
        ret(answer(libc::ENOSPC)),
        ret(ALLOW),
    ])
}

/// Refuses namespaces and mounts by a filter of system calls.
fn refuse() -> io::Result<()> {
    let namespaces = (libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET) as u32;
    let mut steps = vec![load(0)];
    for call in REFUSED {
        steps.extend([is(call as u32, 0, 1), ret(answer(libc::EPERM))]);
    }
    steps.extend([is(libc::SYS_clone3 as u32, 0, 1), ret(answer(libc::ENOSYS))]);
    steps.extend([
        is(libc::SYS_clone as u32, 0, 3),
        load(16),
        has(namespaces, 0, 1),
        ret(answer(libc::EPERM)),
        ret(ALLOW),
    ]);
    filter(&mut steps)
}

fn filter(steps: &mut [libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: the program and its instructions outlive the call.
    unsafe {
        done(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).into())?;
        done(libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program))
    }
}
