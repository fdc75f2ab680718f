//! The spawner: this binary started anew with an empty environment and a single thread, between the host and a sandbox.
//!
//! It exists because the host has secrets in memory and many threads: what is forked from it could be read from inside,
//! or hang on a lock. It makes the namespaces, waits until the host's socket closes or the sandbox ends, and takes
//! everything with it. Meanwhile it watches what the sandbox uses ([`crate::limits`]). Its socket, which becomes the hand's,
//! is descriptor 0, and the first frame on it is the [`Spec`]; on the channel, descriptor 1, it tells the host of limits.

use crate::bury::Last;
use crate::copy::Places;
use crate::idmap;
use crate::limits::{self, Limits, Watched};
use crate::mounts::During;
use crate::process::{self, Child};
use crate::steward::Steward;
use crate::tree::{self, Broken};
use crate::unshared::Keeper;
use crate::{Rung, Spec, bury, enter, frame, slim, unshared};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// The first frames that come back. `Gate` carries the sockets of the way out, where there is one, and why they share the
/// programs' network, where they do. `Ready` is what the hand itself says, so the two must agree in JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outset {
    Gate { shared: Option<String> },
    Ready,
    Broken(String),
}

/// What the spawner is told.
#[derive(Serialize, Deserialize)]
pub struct Order {
    pub spec: Spec,
    /// The process that started it, which it must not outlive.
    pub host: u32,
}

/// Runs to the end of the sandbox and returns the exit code.
pub fn main() -> i32 {
    // SAFETY: there is one thread, and nothing above the standard three is ours.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    slim::keep_little();
    // What is made here is for those inside, whatever the person's own umask keeps to himself.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let Ok(socket) = std::io::stdin().as_fd().try_clone_to_owned() else { return 1 };
    let socket = UnixStream::from(socket);
    let Ok(Some(order)) = frame::read::<Order>(&socket) else { return 1 };
    let Ok(channel) = take_channel() else { return 1 };
    match spawn(&order, &socket, &channel) {
        Ok(()) => 0,
        Err(Broken(what)) => {
            // Where the host is gone there is nobody to tell.
            let _ = frame::write(&socket, &Outset::Broken(what));
            1
        }
    }
}

fn spawn(order: &Order, socket: &UnixStream, channel: &UnixStream) -> Result<(), Broken> {
    let (spec, rung) = (&order.spec, order.spec.rung);
    if rung.has_processes() {
        process::die_with_parent().during("tying the spawner to its host")?;
    }
    if rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get() as u32) != Some(order.host) {
        return Err(Broken("the host is gone".into()));
    }
    let real_root = rung.shifts_owners();
    let limits = Limits::make(spec.memory_bytes, spec.processes);
    frame::write(channel, &limits.held).during("telling what holds the limits")?;
    // Without a first process whose end is that of all, it is the spawner who ends them, and so must not die unasked.
    let keeper = if rung.has_processes() { None } else { Some(Keeper::become_one()?) };
    let guard = keeper.as_ref().map(unshared::guard).transpose()?;
    if real_root {
        unshare_mounts()?;
    }
    let own_mounts = if real_root { 0 } else { libc::CLONE_NEWNS };
    let all = libc::CLONE_NEWUSER
        | own_mounts
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    let namespaces = match rung {
        Rung::Idmapped | Rung::OneUid => all,
        Rung::NoNewProc => all & !libc::CLONE_NEWPID,
        Rung::Copy => 0,
    };
    let (ours, theirs) = UnixStream::pair().during("making a socket")?;
    let Some(child) =
        process::fork(namespaces).during("making namespaces (user namespaces must be allowed)")?
    else {
        drop(ours);
        let Err(Broken(what)) = inside(spec, socket, &theirs, &limits);
        let _ = frame::write(socket, &Outset::Broken(what));
        std::mem::forget(limits); // the parent's, who removes them
        process::leave(1)
    };
    let last = match guard {
        Some(guard) => Last::Keepers { spawner: std::process::id() as i32, guard },
        None => Last::First(child.pid),
    };
    let guarded = Guarded { child: Some(child), keeper };
    drop(theirs);
    bury::note(&spec.state, last).during("noting the sandbox's first process")?;
    guarded.start(&limits, spec, &ours)?;
    let steward = match rung {
        Rung::Copy => guarded.steward(spec, &ours)?,
        _ => None,
    };
    let (first, steward) = (guarded.child()?, steward.as_ref());
    slim::give_back();
    limits::watch(&Watched { spec, limits: &limits, first, guard, socket, channel, steward })
}

/// Gives this process mounts of its own.
fn unshare_mounts() -> Result<(), Broken> {
    // SAFETY: there is one thread, and descriptors stay shared.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }
        .during("making a mount namespace")
}

/// The child's side, up to the moment where it is the hand. The spawner says on `spawner` when this process has its
/// identities, and again when the limits that it cannot join itself hold; then the
/// tree comes with it, where the spawner built that.
fn inside(
    spec: &Spec,
    socket: &UnixStream,
    spawner: &UnixStream,
    limits: &Limits,
) -> Result<std::convert::Infallible, Broken> {
    hear(spawner)?;
    if spec.rung == Rung::Copy {
        hear(spawner)?;
        return enter::enter_copy(spec, spawner, limits);
    }
    if spec.rung.shifts_owners() {
        // SAFETY: there is one thread; these take plain numbers.
        let done = unsafe {
            libc::setgroups(0, std::ptr::null()) == 0
                && libc::setresgid(0, 0, 0) == 0
                && libc::setresuid(0, 0, 0) == 0
        };
        if !done {
            return Err(std::io::Error::last_os_error()).during("becoming root inside");
        }
        enter::network(spec, socket)?;
        let root = hear(spawner)?.ok_or_else(|| Broken("the spawner gave no root".into()))?;
        rustix::process::fchdir(&root).during("entering the new root")?;
        // From here on they are locked together, as what was mounted from outside must be.
        unshare_mounts()?;
    } else {
        enter::network(spec, socket)?;
        let root = tree::build(spec, false)?;
        rustix::process::fchdir(&root).during("entering the new root")?;
        hear(spawner)?;
    }
    enter::enter(spec, limits)
}

/// Waits for the spawner's next word, and returns the directory that may come with it.
fn hear(spawner: &UnixStream) -> Result<Option<OwnedFd>, Broken> {
    let heard = frame::read_with::<(), 1>(spawner).during("waiting for the spawner")?;
    let ((), passed) = heard.ok_or_else(|| Broken("the spawner ended".into()))?;
    Ok(passed.into_iter().next())
}

/// The first process inside: whatever happens here, it is killed and waited for, and with it every other.
struct Guarded {
    child: Option<Child>,
    keeper: Option<Keeper>,
}

impl Guarded {
    fn child(&self) -> Result<&Child, Broken> {
        self.child.as_ref().ok_or_else(|| Broken("the sandbox has ended".into()))
    }

    /// Gives the first process its identities, its limits, and the tree where that is built out here.
    fn start(&self, limits: &Limits, spec: &Spec, spawner: &UnixStream) -> Result<(), Broken> {
        let child = self.child()?;
        let rung = spec.rung;
        if rung.has_tree() {
            idmap::write(child.pid, rung.shifts_owners())?;
        }
        frame::write(spawner, &()).during("starting the sandbox")?;
        let limited = limits.take(child.pid).during("limiting the sandbox")?;
        let root = rung.shifts_owners().then(|| tree::build(spec, true)).transpose()?;
        limited.end().during("limiting the sandbox")?;
        match root {
            Some(root) => frame::write_with(spawner, &(), &[root]),
            None => frame::write(spawner, &()),
        }
        .during("starting the sandbox")
    }

    /// Takes over the calls that the hand's processes may not do themselves; `None` where it ended before that.
    fn steward(&self, spec: &Spec, calls: &UnixStream) -> Result<Option<Steward>, Broken> {
        let Some(((), passed)) = frame::read_with::<(), 1>(calls).during("hearing of the hand's calls")?
        else {
            return Ok(None);
        };
        let places = Places::of(spec);
        let own: Vec<_> = places.own().collect();
        let hand = self.child()?.pid;
        passed.into_iter().next().map(|listener| Steward::new(listener, hand, &own)).transpose()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(keeper) = &self.keeper {
            return keeper.end();
        }
        if let Some(child) = self.child.take() {
            child.kill();
            child.wait();
        }
    }
}

/// Moves the channel from descriptor 1 to one that the hand does not get.
fn take_channel() -> std::io::Result<UnixStream> {
    let channel = UnixStream::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, rustix::fs::Mode::empty())?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(channel)
}

/// Moves the socket from descriptor 0 to one that no command inherits, and leaves `/dev/null` there.
pub fn take_socket() -> std::io::Result<UnixStream> {
    let socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, rustix::fs::Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(socket)
}
