//! What the first process inside gives up before it becomes the hand: none of it can be had back.

use crate::copy::Places;
use crate::limits::{Held, Means};
use crate::mounts::During;
use crate::tree::Broken;
use crate::{Rung, Spec, fence, seccomp, steward, unshared};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;

/// The privileges that package managers need over what is theirs. None of them reaches outside of the user namespace.
const KEPT: [CapabilitySet; 10] = [
    CapabilitySet::CHOWN,
    CapabilitySet::DAC_OVERRIDE,
    CapabilitySet::FOWNER,
    CapabilitySet::FSETID,
    CapabilitySet::KILL,
    CapabilitySet::NET_BIND_SERVICE,
    CapabilitySet::SETFCAP,
    CapabilitySet::SETGID,
    CapabilitySet::SETUID,
    CapabilitySet::SYS_CHROOT,
];

/// Most open files of a process, for those that ask: enough for a database or a browser, and not all that a machine has.
const FILES: u64 = 16 << 10;

/// Processes and threads of a user above those that a cgroup allows. The kernel asks the user's limit first, and of what that refuses
/// the cgroup, which counts refusals, would know nothing.
const BEHIND_A_CGROUP: u64 = 16;

/// How much more willingly the processor is given to others.
const NICE: i32 = 5;

/// What a sandbox may use, as far as its first process sets it for itself.
#[derive(Serialize, Deserialize)]
pub struct Bounds {
    rung: Rung,
    memory_bytes: u64,
    processes: u32,
    disk_bytes: u64,
    /// Whether cgroups bound these already.
    memory: Means,
    of_processes: Means,
    /// Where the kernel does not bound all segments of System V's memory together: most bytes of one.
    segment: Option<u64>,
}

/// Most segments of System V's memory in a namespace (`SHMMNI`, linux/shm.h).
const SEGMENTS: u64 = 4096;

impl Bounds {
    /// Returns those of a sandbox; `segments` says whether the kernel bounds segments of memory together.
    pub fn of(spec: &Spec, held: &Held, segments: bool) -> Bounds {
        let Spec { rung, memory_bytes, processes, disk_bytes, .. } = *spec;
        let segment = (!segments).then_some(memory_bytes / 2 / SEGMENTS);
        Bounds {
            rung,
            memory_bytes,
            processes,
            disk_bytes,
            memory: held.memory,
            of_processes: held.processes,
            segment,
        }
    }
}

/// Confines this process; `alone` says that there is one user.
pub fn confine(bounds: &Bounds, alone: bool) -> Result<(), Broken> {
    bound_resources(bounds, 0)?;
    let kept = KEPT.into_iter().collect::<CapabilitySet>();
    for capability in CapabilitySet::all().difference(kept).iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // Unknown to this kernel, so nobody can have it.
            Err(rustix::io::Errno::INVAL) => {}
            removed => removed.during("giving up a privilege")?,
        }
    }
    rustix::thread::clear_ambient_capability_set().during("giving up privileges")?;
    rustix::thread::set_no_new_privs(true).during("giving up new privileges")?;
    if bounds.rung.has_processes() {
        unshared::scope_too()?;
    } else {
        unshared::scope()?;
        seccomp::add(unshared::filter(bounds.rung), 0).during("filtering system calls")?;
    }
    if let Some(bytes) = bounds.segment {
        seccomp::add(seccomp::segments(bytes), 0).during("filtering system calls")?;
    }
    seccomp::install(alone).during("filtering system calls")
}

/// Confines this process on the rung [`crate::Rung::Copy`]: it keeps no privilege at all. Returns the listener for a
/// [`crate::steward::Steward`].
pub fn confine_copy(spec: &Spec, places: &Places, bounds: &Bounds) -> Result<OwnedFd, Broken> {
    // The kernel counts all that the user runs. That comes and goes, so there is room for as much again: the watcher counts
    // the sandbox's own, and the kernel stops what is faster than that.
    bound_resources(bounds, unshared::threads_of_user() + u64::from(bounds.processes))?;
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::clear_ambient_capability_set().during("giving up privileges")?;
    rustix::thread::set_capabilities(None, none).during("giving up privileges")?;
    rustix::thread::set_no_new_privs(true).during("giving up new privileges")?;
    // Once fenced off it could not be said any more (`tool::command`).
    let _ = std::fs::write("/proc/self/oom_score_adj", "800");
    fence::enter(spec, places)?;
    seccomp::install(false).during("filtering system calls")?;
    steward::listen(unshared::filter(spec.rung)).during("filtering system calls")
}

/// Sets the limits of each process, and of all of its user, who runs `others` besides.
fn bound_resources(bounds: &Bounds, others: u64) -> Result<(), Broken> {
    let bound = |resource, most: u64| {
        let hard = getrlimit(resource).maximum.map_or(most, |hard| hard.min(most));
        setrlimit(resource, Rlimit { current: Some(hard), maximum: Some(hard) }).during("setting a limit")
    };
    bound(Resource::Core, 0)?;
    bound(Resource::Fsize, bounds.disk_bytes)?;
    bound(Resource::Nproc, most_of_user(bounds) + others)?;
    bound(Resource::Memlock, 64 << 20)?;
    bound(Resource::Sigpending, 4 << 10)?;
    bound(Resource::Msgqueue, 800 << 10)?;
    bound(Resource::Nice, 0)?;
    bound(Resource::Rtprio, 0)?;
    // What a process may have without asking stays as it is: some try every number up to that.
    let files = getrlimit(Resource::Nofile);
    let hard = files.maximum.map_or(FILES, |hard| hard.min(FILES));
    let limit = Rlimit { current: files.current.map(|soft| soft.min(hard)), maximum: Some(hard) };
    setrlimit(Resource::Nofile, limit).during("setting a limit")?;
    // To be nicer is never refused.
    let _ = rustix::process::nice(NICE);
    if bounds.memory == Means::Watched {
        // Not the address space: many programs reserve much more than they use.
        bound(Resource::Data, bounds.memory_bytes)?;
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    Ok(())
}

/// Returns how many processes and threads the user inside may have.
fn most_of_user(bounds: &Bounds) -> u64 {
    let behind = if bounds.of_processes == Means::Watched { 0 } else { BEHIND_A_CGROUP };
    u64::from(bounds.processes) + behind
}
