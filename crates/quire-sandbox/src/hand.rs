//! The hand: the first process of a sandbox, and the only one that talks through the wall.
//!
//! The main thread reads the socket and buries orphans; each call has a thread of its own. Nothing it needs is secret: it
//! was started with an empty environment, and other processes inside can neither read nor trace it. When its socket
//! closes it ends, and with it every process inside, because it is process 1.

use crate::ports;
use crate::protocol::{FromHand, HandOutcome, Port, ToHand};
use crate::spawner::{self, Outset};
use crate::still::Still;
use crate::tool::{self, Inside};
use crate::tree::Broken;
use crate::{enter, frame, slim, unshared};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{DumpableBehavior, Pid, Signal, kill_process, set_dumpable_behavior};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the hand is told before its first call; the second frame on the socket.
#[derive(Serialize, Deserialize)]
pub struct Brief {
    /// As [`quire_core::bytes::escape`] writes it.
    pub folder: String,
    /// Where whole outputs are left; likewise.
    pub out: String,
    pub env: Vec<(String, String)>,
    /// Whether there are no processes but the sandbox's to be seen.
    pub alone: bool,
    /// Whether there is a network of the sandbox's own, so that what listens there is its.
    pub network: bool,
}

/// Longest time that processes have to stop; what runs on is killed, so that a snapshot is of files that hold still.
const FREEZE_TIME: Duration = Duration::from_secs(5);

/// How often ports are looked at, at most.
const LOOK: Duration = Duration::from_millis(500);

/// Runs to the end of the sandbox and returns the exit code.
pub fn main() -> i32 {
    let arrived = enter::arrive();
    let Ok(socket) = spawner::take_socket() else { return 1 };
    if let Err(Broken(what)) = arrived {
        // Where the host is gone there is nobody to tell.
        let _ = frame::write(&socket, &Outset::Broken(what));
        return 1;
    }
    i32::from(serve(socket).is_err())
}

fn serve(socket: UnixStream) -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    slim::keep_little();
    // A file that may grow no more is an error to it, not its end: only the first process of a namespace is spared that.
    // SAFETY: nothing is called; the signal is ignored.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let ended = child_ended()?;
    let Some(brief) = frame::read::<Brief>(&socket)? else { return Ok(()) };
    let path = |text: &str| {
        let raw = quire_core::bytes::unescape(text).ok_or(io::ErrorKind::InvalidData)?;
        Ok::<_, io::Error>(PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(
            raw,
        )))
    };
    if !brief.alone {
        // It stops processes by signalling all that it can reach.
        unshared::is_apart().map_err(io::Error::other)?;
    }
    let hand = Arc::new(Hand {
        inside: Inside::new(path(&brief.folder)?, path(&brief.out)?, brief.env),
        voice: Mutex::new(socket.try_clone()?),
        still: Still::default(),
    });
    hand.say(&FromHand::Ready);
    slim::give_back();
    let mut listening = brief.network.then(|| Listening { told: Vec::new(), looked: Instant::now() });
    // Orphans are looked for now and then as well: a child that ended unheard must not lie about for ever. So are ports,
    // of which nothing tells.
    let now_and_then = Timespec { tv_sec: 1, tv_nsec: 0 };
    loop {
        let mut watched = [PollFd::new(&socket, PollFlags::IN), PollFd::new(&ended, PollFlags::IN)];
        match poll(&mut watched, Some(&now_and_then)) {
            Err(rustix::io::Errno::INTR) => continue,
            polled => polled?,
        };
        let (spoken_to, bereaved) = (!watched[0].revents().is_empty(), !watched[1].revents().is_empty());
        if bereaved {
            let _ = rustix::io::read(&ended, &mut [0; 128]);
        }
        if !spoken_to || bereaved {
            hand.inside.reap();
            if let Some(listening) = &mut listening {
                hand.look_at_ports(listening);
            }
        }
        if spoken_to {
            match frame::read::<ToHand>(&socket)? {
                None => return Ok(()),
                Some(order) => hand.clone().take(order),
            }
        }
    }
}

/// Returns a descriptor that is readable when a child has ended. Blocks the signal in this thread and those it starts;
/// commands get a clean mask from the standard library.
fn child_ended() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised by sigemptyset before it is read.
    let fd = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    match fd {
        // SAFETY: the kernel made this descriptor for us.
        0.. => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What the host was told of the ports inside, and when they were looked at.
struct Listening {
    told: Vec<Port>,
    looked: Instant,
}

struct Hand {
    inside: Inside,
    voice: Mutex<UnixStream>,
    still: Still,
}

impl Hand {
    fn take(self: Arc<Self>, order: ToHand) {
        match order {
            ToHand::Call { id, tool, input } => {
                let hand = self.clone();
                let started = std::thread::Builder::new().spawn(move || hand.call(id, &tool, &input));
                if let Err(error) = started {
                    let text = format!("The call could not be started: {error}. Too many may be running.");
                    let outcome = HandOutcome {
                        text,
                        ok: false,
                        exit: None,
                        millis: 0,
                        whole: None,
                        images: Vec::new(),
                    };
                    self.say(&FromHand::Done { id, outcome });
                }
            }
            ToHand::Cancel { id } => self.inside.cancel(id),
            ToHand::Connect { id, port } => {
                let hand = self.clone();
                let started = std::thread::Builder::new().spawn(move || hand.connect(id, port));
                if let Err(error) = started {
                    self.say(&FromHand::Connected { id, why: error.to_string(), socket: None });
                }
            }
            ToHand::Freeze => {
                // One that cannot say so is let go of.
                if self.still.hold(FREEZE_TIME) {
                    freeze();
                    self.say(&FromHand::Still);
                }
            }
            ToHand::Thaw => {
                signal_all(Signal::CONT);
                self.still.release();
            }
        }
    }

    fn call(&self, id: u32, tool: &str, input: &str) {
        let _writing = self.still.begin(tool::writes(tool));
        let live = |text: &str| self.say(&FromHand::Live { id, text: text.to_owned() });
        let outcome = tool::run(&self.inside, id, tool, input, &live);
        self.say(&FromHand::Done { id, outcome });
    }

    fn connect(&self, id: u32, port: u16) {
        let connected = |why| FromHand::Connected { id, why, socket: None };
        match ports::connect(port) {
            Ok(socket) => {
                let voice = self.voice.lock().unwrap_or_else(PoisonError::into_inner);
                let _ = frame::write_with(&voice, &connected(String::new()), &[socket]);
            }
            Err(error) => self.say(&connected(error.to_string())),
        }
    }

    /// Tells of the ports inside where they have changed; looks at most once in [`LOOK`].
    fn look_at_ports(&self, listening: &mut Listening) {
        if listening.looked.elapsed() < LOOK {
            return;
        }
        listening.looked = Instant::now();
        let ports = ports::listening();
        if ports != listening.told {
            self.say(&FromHand::Listening { ports: ports.clone() });
            listening.told = ports;
        }
    }

    fn say(&self, words: &FromHand) {
        let voice = self.voice.lock().unwrap_or_else(PoisonError::into_inner);
        // Where the host is gone the main thread finds out, and everything ends.
        let said = frame::write(&*voice, words);
        // What no frame holds must not leave its call without an end.
        if let (Err(error), FromHand::Done { id, .. }) = (said, words)
            && error.kind() == io::ErrorKind::InvalidInput
        {
            let text = "It ran, but its outcome is too long to be told. Ask for less of it.".into();
            let outcome =
                HandOutcome { text, ok: false, exit: None, millis: 0, whole: None, images: Vec::new() };
            let _ = frame::write(&*voice, &FromHand::Done { id: *id, outcome });
        }
    }
}

/// Stops every process but this one, and returns when they have stopped.
fn freeze() {
    let deadline = Instant::now() + FREEZE_TIME;
    loop {
        signal_all(Signal::STOP);
        let running = running();
        if running.is_empty() {
            return;
        }
        if Instant::now() > deadline {
            for pid in running {
                let _ = kill_process(pid, Signal::KILL);
            }
            return;
        }
        // A signal is taken at the next return from the kernel; nothing tells of that.
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Signals every process inside but this one.
fn signal_all(signal: Signal) {
    // SAFETY: kill takes plain numbers. Fails only where there is no other process.
    unsafe { libc::kill(-1, signal.as_raw()) };
}

/// Returns the processes inside, apart from this one, that could still do something.
fn running() -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let me = std::process::id() as i32;
    let all: Vec<(i32, u8, i32)> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != me && Pid::from_raw(*pid).is_some_and(unshared::reaches))
        .filter_map(|pid| {
            state(&fs::read(format!("/proc/{pid}/stat")).ok()?).map(|(state, parent)| (pid, state, parent))
        })
        .collect();
    let stopped = |state: u8| matches!(state, b'T' | b't' | b'Z' | b'X');
    all.iter()
        .filter(|(pid, state, _)| {
            // A parent in vfork(2) cannot stop before its child goes on, which has itself stopped.
            let waits =
                *state == b'D' && all.iter().any(|(_, state, parent)| parent == pid && stopped(*state));
            !stopped(*state) && !waits
        })
        .filter_map(|(pid, ..)| Pid::from_raw(*pid))
        .collect()
}

/// Returns the state and the parent of proc_pid_stat(5). The name before them may hold anything, so they are looked for
/// after its last bracket.
fn state(stat: &[u8]) -> Option<(u8, i32)> {
    let after = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = stat.get(after + 2..)?.split(|byte| *byte == b' ');
    let state = *fields.next()?.first()?;
    Some((state, std::str::from_utf8(fields.next()?).ok()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::state;

    #[test]
    fn a_name_cannot_lie_about_the_state() {
        let rows = [
            ("12 (sh) S 1 12 12", Some((b'S', 1))),
            ("12 (a) T 9 (b) R 7 12", Some((b'R', 7))),
            ("12 (sh)", None),
            ("", None),
        ];
        for (stat, expected) in rows {
            assert_eq!(state(stat.as_bytes()), expected, "{stat}");
        }
    }
}
