//! What keeps a sandbox apart whose processes are the machine's own, because no namespace could be had for them: the rungs
//! [`Rung::NoNewProc`] and [`Rung::Copy`].
//!
//! Two Landlock domains do it, one in the other. The spawner enters the outer one, which scopes signals: from then on
//! `kill(-1)` reaches every process of the sandbox, at once and for certain, and no other of the machine. The hand and its
//! commands enter the inner one, from which the spawner cannot be reached. Landlock also keeps a process from tracing, and
//! so from reading the memory and environment of, whatever is not in its own domain or within it.
//! What the kernel lets one process do to another of the same user beside that is refused by a filter.

use crate::Rung;
use crate::mounts::During;
use crate::seccomp::{Filter, NO};
use crate::tree::Broken;
use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, Scope,
};
use libc::*;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, wait};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// The first that can keep signals in (Linux 6.12).
pub const NEEDED: ABI = ABI::V6;

/// Returns the version of the kernel's Landlock interface; 0 where there is none.
pub fn landlock_version() -> u32 {
    const VERSION: c_uint = 1; // LANDLOCK_CREATE_RULESET_VERSION, linux/landlock.h
    // SAFETY: with this flag the kernel reads nothing and returns a number.
    let version = unsafe { syscall(SYS_landlock_create_ruleset, std::ptr::null::<c_void>(), 0, VERSION) };
    u32::try_from(version).unwrap_or(0)
}

/// Scopes the signals of this process and all that it will start to themselves. Needs no_new_privs.
pub fn scope() -> Result<(), Broken> {
    rules()?
        .create()
        .and_then(RulesetCreated::restrict_self)
        .map(drop)
        .map_err(|error| Broken(format!("parting from the machine's processes: {error}")))
}

/// As [`scope`], where the kernel can, for a sandbox that namespaces keep apart already. In silence where it cannot.
///
/// A ruleset that says nothing of moving files between directories would forbid that to every program inside that fences
/// itself in by Landlock (landlock(7), `LANDLOCK_ACCESS_FS_REFER`); so this one says that they may, everywhere.
pub fn scope_too() -> Result<(), Broken> {
    if landlock_version() < NEEDED as u32 {
        return Ok(());
    }
    let everywhere = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let everywhere = everywhere.during("opening the root")?;
    rules()?
        .handle_access(AccessFs::Refer)
        .and_then(|rules| rules.create())
        .and_then(|rules| rules.add_rule(PathBeneath::new(everywhere, AccessFs::Refer)))
        .and_then(RulesetCreated::restrict_self)
        .map(drop)
        .map_err(|error| Broken(format!("scoping signals and sockets: {error}")))
}

/// Returns the beginning of a ruleset that scopes signals and abstract sockets.
pub fn rules() -> Result<Ruleset, Broken> {
    Ruleset::default().set_compatibility(CompatLevel::HardRequirement).scope(Scope::from_all(NEEDED)).map_err(
        |error| {
            let what = "parting from the machine's processes (Landlock of Linux 6.12 or newer is needed)";
            Broken(format!("{what}: {error}"))
        },
    )
}

/// The spawner as the keeper of all that it will start: the parent of every orphan, and able to end them all.
pub struct Keeper(());

impl Keeper {
    /// Makes this process the keeper. It gives up the power to signal any other.
    pub fn become_one() -> Result<Keeper, Broken> {
        rustix::thread::set_no_new_privs(true).during("giving up new privileges")?;
        adopt().during("adopting orphans")?;
        scope()?;
        is_apart()?;
        Ok(Keeper(()))
    }

    /// Kills everything that the keeper started, and waits until all of it is gone.
    pub fn end(&self) {
        // What was being started while the signal went round is reached the next time: the kernel starts nothing in a
        // process that has a signal to take.
        loop {
            let _ = signal_all(SIGKILL);
            match wait(WaitOptions::empty()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}

/// How long the guard goes on killing what does not end.
const GUARD_TIME: Duration = Duration::from_secs(20);

/// Starts the guard, and returns its number: a process that does what [`Keeper::end`] does when the keeper, this process of one
/// thread, has been killed and cannot. Nothing inside can reach it, and the keeper's own end takes it along.
pub fn guard(_: &Keeper) -> Result<i32, Broken> {
    let keeper = pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).during("starting the guard")?;
    let Some(child) = crate::process::fork(0).during("starting the guard")? else {
        // Held here, the host's socket would not close with its other end. One that is not let go of by number cannot be.
        // SAFETY: closes plain numbers; what they belonged to is not used here any more.
        unsafe {
            let keeper = keeper.as_raw_fd() as c_uint;
            syscall(SYS_close_range, 0, keeper - 1, 0);
            syscall(SYS_close_range, keeper + 1, c_uint::MAX, 0);
        }
        let _ = rustix::process::setsid();
        while poll(&mut [PollFd::new(&keeper, PollFlags::IN)], None).is_err() {}
        let begun = Instant::now();
        while is_apart().is_ok() && anybody() && begun.elapsed() < GUARD_TIME {
            // SAFETY: kill takes plain numbers.
            unsafe { kill(-1, SIGKILL) };
            // They are others' children, of whose end nothing tells.
            std::thread::sleep(Duration::from_millis(1));
        }
        crate::process::leave(0)
    };
    Ok(child.pid)
}

/// Returns whether there is another process in this one's domain that has not ended.
fn anybody() -> bool {
    let me = rustix::process::getpid();
    let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids = pids.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    pids.any(|pid| pid != me && reaches(pid) && !has_ended(pid))
}

fn has_ended(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    // The name before it may hold anything.
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// Makes this process the parent of every orphan below it.
pub fn adopt() -> rustix::io::Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
}

/// Sends a signal to every process of the keeper's sandbox, for the keeper; to none where the machine's could be reached.
pub fn signal_all(signal: c_int) -> Result<(), Broken> {
    is_apart()?;
    // SAFETY: kill takes plain numbers.
    unsafe { kill(-1, signal) };
    Ok(())
}

/// Makes sure that the machine's first process is out of reach, before a signal goes to everybody.
pub fn is_apart() -> Result<(), Broken> {
    match reaches(Pid::INIT) {
        false => Ok(()),
        true => Err(Broken("signals of the sandbox would reach the machine".into())),
    }
}

/// Returns whether this process may signal another, which here means that it belongs to the same sandbox.
pub fn reaches(pid: Pid) -> bool {
    rustix::process::test_kill_process(pid).is_ok()
}

/// Returns how many processes and threads this user has on the machine.
pub fn threads_of_user() -> u64 {
    use std::os::unix::fs::MetadataExt;
    let me = rustix::process::geteuid().as_raw();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let threads = processes.filter_map(|process| {
        let name = process.file_name();
        let is_process = name.as_encoded_bytes().first().is_some_and(u8::is_ascii_digit);
        let mine = is_process && process.metadata().is_ok_and(|stat| stat.uid() == me);
        mine.then(|| std::fs::read_dir(process.path().join("task")).map_or(1, Iterator::count) as u64)
    });
    threads.sum()
}

/// Everything of a user (linux/ioprio.h).
const IOPRIO_WHO_USER: u32 = 3;

/// Adds what no process may do to one that it did not start, by its number.
fn strangers(filter: &mut Filter) {
    // The number 0, this process itself, is the one that is allowed.
    // And of all that is a user's, most is the person's.
    for (call, argument, everybody) in [
        (SYS_setpriority, 1, Some(PRIO_USER)),
        (SYS_ioprio_set, 1, Some(IOPRIO_WHO_USER)),
        (SYS_sched_setscheduler, 0, None),
        (SYS_sched_setparam, 0, None),
        (SYS_sched_setattr, 0, None),
        (SYS_sched_setaffinity, 0, None),
    ] {
        filter.call(call, |rules| {
            if let Some(everybody) = everybody {
                rules.load(crate::seccomp::argument(0));
                rules.when(BPF_JEQ, everybody, NO);
            }
            rules.load(crate::seccomp::argument(argument));
            rules.when(BPF_JEQ, 0, SECCOMP_RET_ALLOW);
            rules.answer(NO);
        });
    }
    // Asking is allowed, as where no new limit is given.
    filter.call(SYS_prlimit64, |rules| {
        rules.load(crate::seccomp::argument(0));
        rules.when(BPF_JEQ, 0, SECCOMP_RET_ALLOW);
        rules.load(crate::seccomp::argument(2));
        rules.step(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3);
        rules.load(crate::seccomp::argument(2) + 4);
        rules.when(BPF_JEQ, 0, SECCOMP_RET_ALLOW);
        rules.answer(NO);
    });
}

/// Returns the filter that a sandbox on this rung needs beside the one that all have.
pub fn filter(rung: Rung) -> Vec<sock_filter> {
    let mut filter = Filter::new();
    strangers(&mut filter);
    if rung == Rung::Copy {
        crate::steward::closed(&mut filter);
    }
    filter.answer(SECCOMP_RET_ALLOW);
    filter.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
    use std::process::Command;

    /// As a program does that fences itself in, and lets files be moved.
    fn fence() {
        let everywhere = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let rules = Ruleset::default().handle_access(AccessFs::Refer).unwrap().create().unwrap();
        let rules = rules.add_rule(PathBeneath::new(everywhere, AccessFs::Refer)).unwrap();
        rules.restrict_self().unwrap();
    }

    #[test]
    fn what_is_scoped_reaches_its_own_and_may_fence_itself_in() {
        if landlock_version() < NEEDED as u32 {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("other")).unwrap();
        let name = SocketAddr::from_abstract_name(format!("quire-scope-{}", std::process::id())).unwrap();
        let _outside = UnixListener::bind_addr(&name).unwrap();
        UnixStream::connect_addr(&name).unwrap();
        let mut outside = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_child(&outside);
        assert!(reaches(pid));
        // Landlock is entered by a thread.
        let scoped = std::thread::spawn(move || {
            rustix::thread::set_no_new_privs(true).unwrap();
            scope_too().unwrap();
            assert!(!reaches(pid));
            assert_eq!(
                UnixStream::connect_addr(&name).unwrap_err().kind(),
                std::io::ErrorKind::PermissionDenied
            );
            let mut own = Command::new("sleep").arg("1000").spawn().unwrap();
            assert!(reaches(Pid::from_child(&own)));
            own.kill().unwrap();
            own.wait().unwrap();
            let (here, there) = (dir.path().join("file"), dir.path().join("other/file"));
            std::fs::write(&here, "x").unwrap();
            std::fs::rename(&here, &there).unwrap();
            fence();
            std::fs::rename(&there, &here).unwrap();
        });
        let ended = scoped.join();
        outside.kill().unwrap();
        outside.wait().unwrap();
        ended.unwrap();
    }
}
