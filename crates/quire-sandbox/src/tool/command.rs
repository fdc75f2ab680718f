//! A command and everything it started, from its beginning until nothing of it is left.
//!
//! Each command leads a session of its own and prints into one pipe. One thread watches pipe and process together; it
//! calls the command ended when the *shell* has ended and the pipe is quiet, not when the pipe closes: a daemon that was
//! left behind may hold it for ever. The thread reads on all the same, so that such a daemon is not killed by a pipe that
//! nobody reads.

use super::output::{Output, Shown};
use super::start::{Start, Started};
use super::{Inside, lock};
use crate::protocol::KILLED;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process, kill_process_group, waitid, waitpid,
};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// After the shell's end: how long the pipe must be quiet, and how long that is waited for at most.
const DRAIN_QUIET: Duration = Duration::from_millis(50);
const DRAIN_MAX: Duration = Duration::from_millis(500);
/// Between two looks at live output.
const LIVE_EVERY: Duration = Duration::from_millis(100);
/// Ended commands that can still be asked about.
const ENDED_KEPT: usize = 32;

pub(super) struct Running {
    pub(super) id: u32,
    call: u32,
    /// The beginning of its text, to remind the model of it.
    brief: String,
    pid: Pid,
    /// Waited for, so that the process id may be another's by now.
    buried: AtomicBool,
    begun: Instant,
    state: Mutex<State>,
    changed: Condvar,
    stdin: Mutex<Option<PipeWriter>>,
}

struct State {
    output: Output,
    ended: Option<Ended>,
    /// Goes on without a call that waits for it; its end is news.
    background: bool,
    told: bool,
    cancelled: bool,
    /// Something holds the pipe still.
    open: bool,
}

#[derive(Clone, Copy)]
pub(super) struct Ended {
    /// The exit code, 128 + n where signal n ended it; `None` where it cannot be known.
    pub(super) exit: Option<i32>,
    pub(super) after: Duration,
}

/// How a wait for a command ended.
#[derive(Clone, Copy)]
pub(super) enum Waited {
    Ended(Ended),
    /// It goes on.
    Goes,
    /// The call was cancelled.
    Cancelled,
}

impl Running {
    /// Starts `command` by a shell in the folder. With `background`, its input is a pipe that can be written to, else it
    /// is empty.
    pub(super) fn start(
        inside: &Inside,
        call: u32,
        command: &str,
        background: bool,
    ) -> io::Result<Arc<Running>> {
        let (pipe, out) = io::pipe()?;
        let (input, stdin) = if background {
            let (read, write) = io::pipe()?;
            (OwnedFd::from(read), Some(write))
        } else {
            let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
            (null, None)
        };
        let program = CString::new(shell_path(&inside.env).into_os_string().into_vec())?;
        let environment: Vec<CString> = inside
            .env
            .iter()
            .map(|(name, value)| CString::new(format!("{name}={value}")))
            .collect::<Result<_, _>>()?;
        let start = Start {
            program: &program,
            arguments: &[&program, c"-c", &CString::new(command)?],
            environment: &environment,
            folder: &CString::new(inside.folder.as_os_str().as_bytes())?,
            input: input.as_fd(),
            output: out.as_fd(),
        };
        let id = inside.next_id();
        let mut commands = lock(&inside.commands);
        let Started { pid, ended } = start.start()?;
        // Open here, the pipe would never end.
        drop((input, out));
        let running = Arc::new(Running {
            id,
            call,
            brief: brief(command),
            pid,
            buried: AtomicBool::new(false),
            begun: Instant::now(),
            state: Mutex::new(State {
                output: Output::new(&inside.out, format!("output-{id}.txt")),
                ended: None,
                background,
                told: false,
                cancelled: false,
                open: true,
            }),
            changed: Condvar::new(),
            stdin: Mutex::new(stdin),
        });
        let over: Vec<u32> = commands.iter().filter(|(_, c)| c.is_past()).map(|(id, _)| *id).collect();
        for id in &over[..over.len().saturating_sub(ENDED_KEPT)] {
            commands.remove(id);
        }
        commands.insert(id, running.clone());
        drop(commands);
        let pump = running.clone();
        let thread = std::thread::Builder::new().name(format!("command-{id}"));
        if let Err(error) = thread.spawn(move || pump.pump(pipe, &ended)) {
            // Nobody would see it end. It was begun a moment ago, and what it did may stay.
            running.kill();
            let _ = waitpid(Some(pid), WaitOptions::empty());
            running.buried.store(true, Ordering::Release);
            lock(&inside.commands).remove(&id);
            return Err(error);
        }
        Ok(running)
    }

    /// Reads the pipe until it closes, and notes the shell's end on the way.
    fn pump(&self, mut pipe: PipeReader, ended: &OwnedFd) {
        // A pipe that blocks would be read beyond the shell's end.
        let flags = fcntl_getfl(&pipe).unwrap_or(OFlags::empty());
        let _ = fcntl_setfl(&pipe, flags | OFlags::NONBLOCK);
        let mut buffer = vec![0; 64 << 10];
        let mut open = true;
        let mut exited: Option<(Instant, Option<i32>)> = None;
        let mut quiet_since = Instant::now();
        let mut noted = false;
        while open || !noted {
            let mut watched = vec![];
            if open {
                watched.push(PollFd::new(&pipe, PollFlags::IN));
            }
            if exited.is_none() {
                watched.push(PollFd::new(ended, PollFlags::IN));
            }
            let wait = match exited {
                Some(_) if !noted => Some(DRAIN_QUIET),
                _ => None,
            };
            let wait = wait.map(|w| rustix::event::Timespec { tv_sec: 0, tv_nsec: w.as_nanos() as _ });
            let _ = poll(&mut watched, wait.as_ref());
            let came = open && {
                let got = pipe.read(&mut buffer);
                match got {
                    Ok(0) => open = false,
                    Ok(n) => lock(&self.state).output.push(&buffer[..n]),
                    Err(ref e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                    Err(_) => open = false,
                }
                matches!(got, Ok(1..))
            };
            if came {
                quiet_since = Instant::now();
                self.changed.notify_all();
            }
            if exited.is_none()
                && let Some(status) =
                    waitid(WaitId::PidFd(ended.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
                        .map_or(Some(None), |s| s.map(Some))
            {
                self.buried.store(true, Ordering::Release);
                let exit =
                    status.and_then(|s| s.exit_status().or_else(|| s.terminating_signal().map(|n| 128 + n)));
                exited = Some((Instant::now(), exit));
                quiet_since = Instant::now();
            }
            if let Some((at, exit)) = exited
                && !noted
                && (!open || quiet_since.elapsed() >= DRAIN_QUIET || at.elapsed() >= DRAIN_MAX)
            {
                noted = true;
                let mut state = lock(&self.state);
                state.ended = Some(Ended { exit, after: at - self.begun });
                state.open = open;
                drop(state);
                lock(&self.stdin).take();
                self.changed.notify_all();
            }
        }
        lock(&self.state).open = false;
        self.changed.notify_all();
    }

    /// Waits until the command ends, `enough` says so, or `patience` is over; hands live output on meanwhile.
    pub(super) fn wait(
        &self,
        inside: &Inside,
        call: u32,
        patience: Duration,
        live: &dyn Fn(&str),
        mut enough: impl FnMut(u64) -> bool,
    ) -> Waited {
        let deadline = Instant::now() + patience;
        let mut state = lock(&self.state);
        loop {
            if state.cancelled || inside.is_cancelled(call) {
                return Waited::Cancelled;
            }
            if let Some(ended) = state.ended {
                return Waited::Ended(ended);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || enough(state.output.total()) {
                return Waited::Goes;
            }
            let step = left.min(LIVE_EVERY);
            let looked = Instant::now();
            // Output wakes; a look at it is only worth while now and then.
            while state.ended.is_none() && !state.cancelled && looked.elapsed() < step {
                let rest = step.saturating_sub(looked.elapsed());
                state = self.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
            }
            let text = state.output.take_live();
            if !text.is_empty() {
                drop(state);
                live(&text);
                state = lock(&self.state);
            }
        }
    }

    /// Returns unseen output and how things stand: as they did after the wait, or ended if that came since. The end is
    /// taken as told then.
    pub(super) fn show(&self, waited: Waited) -> (Shown, Waited) {
        let mut state = lock(&self.state);
        state.told |= state.ended.is_some();
        let waited = match (waited, state.ended) {
            (Waited::Goes, Some(ended)) => Waited::Ended(ended),
            _ => waited,
        };
        (state.output.show(), waited)
    }

    /// Lets it go on without a call that waits for it.
    pub(super) fn to_background(&self) {
        lock(&self.state).background = true;
    }

    pub(super) fn is_over(&self) -> bool {
        let state = lock(&self.state);
        state.ended.is_some() && !state.open
    }

    /// Returns whether nothing of it is left, and nothing to be told.
    fn is_past(&self) -> bool {
        let state = lock(&self.state);
        state.ended.is_some() && !state.open && (state.told || !state.background)
    }

    /// Returns whether the shell has ended but something that it started goes on and holds its output.
    pub(super) fn left_something(&self) -> bool {
        let state = lock(&self.state);
        state.ended.is_some() && state.open
    }

    pub(super) fn news(&self) -> Option<String> {
        let mut state = lock(&self.state);
        let ended = state.ended.filter(|_| state.background && !state.told)?;
        state.told = true;
        Some(format!("[job {} ({}) ended: {}]", self.id, self.brief, ended.words()))
    }

    pub(super) fn owns(&self, pid: i32) -> bool {
        self.pid.as_raw_nonzero().get() == pid && !self.buried.load(Ordering::Acquire)
    }

    pub(super) fn cancelled(&self, call: u32) {
        let mut state = lock(&self.state);
        if self.call == call && !state.background {
            state.cancelled = true;
            drop(state);
            self.kill();
        }
        self.changed.notify_all();
    }

    /// Asks it to end, and kills it with all its descendants where it does not within `grace`.
    pub(super) fn end(&self, inside: &Inside, call: u32, grace: Duration) {
        if !self.buried.load(Ordering::Acquire) {
            let _ = kill_process_group(self.pid, Signal::TERM);
            self.wait(inside, call, grace, &|_| (), |_| false);
        }
        self.kill();
    }

    /// Kills the command and everything of it: its session, its descendants, and the sessions those began. A daemon whose
    /// parents were gone before and that has a session of its own is nobody's any more, and goes on.
    pub(super) fn kill(&self) {
        let leader = self.pid.as_raw_nonzero().get();
        let me = std::process::id() as i32;
        let mut doomed = BTreeSet::from([leader]);
        // A process may fork between the look and the kill; what is found is dead after, so this comes to an end.
        for _ in 0..100 {
            let all = processes();
            if all.is_empty() {
                // Without /proc nothing else is known of it.
                let _ = kill_process_group(self.pid, Signal::KILL);
            }
            let mut found = false;
            let mut grew = true;
            while grew {
                grew = false;
                for p in &all {
                    let of_it = doomed.contains(&p.session) || doomed.contains(&p.parent);
                    if of_it && p.pid != me && p.pid != 1 {
                        grew |= doomed.insert(p.pid);
                    }
                }
            }
            for p in all.iter().filter(|p| doomed.contains(&p.pid) && !p.dead) {
                // The leader's id may be another's once it was waited for and nothing of its session is left.
                let stranger = p.pid == leader && self.buried.load(Ordering::Acquire) && p.session != leader;
                if let (false, Some(pid)) = (stranger, Pid::from_raw(p.pid)) {
                    found |= kill_process(pid, Signal::KILL).is_ok();
                }
            }
            if !found {
                break;
            }
            std::thread::yield_now();
        }
    }

    /// Writes to the command's input and returns how many bytes it took within `patience`.
    pub(super) fn write(&self, bytes: &[u8], patience: Duration) -> io::Result<usize> {
        let mut stdin = lock(&self.stdin);
        let Some(pipe) = stdin.as_mut() else {
            return Err(io::Error::new(ErrorKind::BrokenPipe, "its input is closed"));
        };
        let flags = fcntl_getfl(pipe.as_fd())?;
        fcntl_setfl(pipe.as_fd(), flags | OFlags::NONBLOCK)?;
        let deadline = Instant::now() + patience;
        let mut sent = 0;
        while sent < bytes.len() {
            match pipe.write(&bytes[sent..]) {
                Ok(n) => sent += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    let wait = rustix::event::Timespec {
                        tv_sec: left.as_secs() as _,
                        tv_nsec: left.subsec_nanos() as _,
                    };
                    poll(&mut [PollFd::new(pipe, PollFlags::OUT)], Some(&wait))?;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(sent)
    }

    pub(super) fn close_input(&self) {
        lock(&self.stdin).take();
    }

    pub(super) fn brief(&self) -> &str {
        &self.brief
    }

    pub(super) fn begun(&self) -> Instant {
        self.begun
    }
}

impl Ended {
    /// Returns how it ended, as `exit 0 after 1.2 s`.
    pub(super) fn words(&self) -> String {
        let how = match self.exit {
            None => "its exit code is not known,".to_owned(),
            Some(137) => format!("exit 137 ({KILLED})"),
            Some(code @ 129..=192) => format!("exit {code} (signal {})", code - 128),
            Some(code) => format!("exit {code}"),
        };
        format!("{how} after {}", seconds(self.after))
    }
}

/// Returns a time as a person says it: `0.02 s`, `12.3 s`, `140 s`.
pub(super) fn seconds(time: Duration) -> String {
    let s = time.as_secs_f64();
    match s {
        ..1.0 => format!("{s:.2} s"),
        ..100.0 => format!("{s:.1} s"),
        _ => format!("{s:.0} s"),
    }
}

fn brief(command: &str) -> String {
    let line = command.trim().lines().next().unwrap_or_default();
    let short: String = line.chars().take(60).collect();
    if short.len() < command.trim().len() { format!("{short}\u{2026}") } else { short }
}

/// Returns bash where the commands' PATH has it, else the shell that every system has.
fn shell_path(env: &[(String, String)]) -> std::path::PathBuf {
    let path = env.iter().find(|(name, _)| name == "PATH").map_or("/usr/bin:/bin", |(_, value)| value);
    std::env::split_paths(path).map(|dir| dir.join("bash")).find(|p| p.is_file()).unwrap_or("/bin/sh".into())
}

struct Process {
    pid: i32,
    parent: i32,
    session: i32,
    dead: bool,
}

/// Returns every process that there is, as far as it can be seen.
fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            // The name in parentheses may hold anything, also parentheses: proc_pid_stat(5).
            let stat = fs::read(entry.path().join("stat")).ok()?;
            let stat = String::from_utf8_lossy(&stat);
            let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
            let dead = matches!(fields.next()?, "Z" | "X");
            let parent = fields.next()?.parse().ok()?;
            let session = fields.nth(1)?.parse().ok()?;
            Some(Process { pid, parent, session, dead })
        })
        .collect()
}

/// Waits for every dead child that is not one of `ours`, without blocking.
pub(super) fn reap_all_but(ours: impl Fn(i32) -> bool) {
    loop {
        // SAFETY: `info` is a plain C struct for which zero is valid, and waitid writes nothing else.
        let pid = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            if libc::waitid(libc::P_ALL, 0, &mut info, options) != 0 {
                return;
            }
            info.si_pid()
        };
        // One of ours is at the head: its own thread takes it in a moment, and the next time goes on behind it.
        if pid == 0 || ours(pid) {
            return;
        }
        // SAFETY: a status pointer may be null.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) };
    }
}
