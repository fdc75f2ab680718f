//! Making sure that a sandbox whose host was killed is over, before its layer is mounted again. Its processes are being
//! killed by then, but a process that is being killed can still write.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Longest time that killed processes may take to go; one that sleeps in the kernel can take its time.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which processes' end is that of the sandbox.
#[derive(Clone, Copy)]
pub(crate) enum Last {
    /// The first inside: whoever kills it ends all.
    First(i32),
    /// The spawner, which ends all when its host is gone, and the guard, which does when the spawner is; both must be left the
    /// time for it.
    Keepers { spawner: i32, guard: i32 },
}

/// Notes in `state` which processes end the sandbox when they end: for each a line of its number, when it began, and a word
/// where it is to be waited for.
pub(crate) fn note(state: &Path, last: Last) -> io::Result<()> {
    let line = |pid, word| format!("{pid} {}{word}\n", begun(pid).unwrap_or_default());
    let lines = match last {
        Last::First(pid) => line(pid, ""),
        Last::Keepers { spawner, guard } => line(spawner, KEEPER) + &line(guard, KEEPER),
    };
    fs::write(state.join("pid"), lines)
}

const KEEPER: &str = " keeper";

/// Kills the sandbox of `state`, a [`crate::Spec::state`], if it still lives, and waits until every process of it is gone.
pub fn bury(state: &Path) -> io::Result<()> {
    let Ok(note) = fs::read_to_string(state.join("pid")) else { return Ok(()) };
    note.lines().try_for_each(end)
}

/// Ends the process of a line.
fn end(line: &str) -> io::Result<()> {
    let mut words = line.split(' ');
    let pid = words.next().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
    let (Some(pid), Some(noted)) = (pid, words.next()) else { return Ok(()) };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        opened => opened?,
    };
    // The number may have gone to another process since.
    if begun(pid.as_raw_nonzero().get()).is_none_or(|begun| begun != noted) {
        return Ok(());
    }
    let patience = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    let ends = || poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&patience)).map(|ended| ended > 0);
    if words.next().is_some() && ends()? {
        return Ok(());
    }
    match pidfd_send_signal(&pidfd, Signal::KILL) {
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        sent => sent?,
    }
    if !ends()? {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "a killed sandbox does not end"));
    }
    Ok(())
}

/// Returns when a process began, in clock ticks since boot, as the kernel writes it.
fn begun(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the start time is the 20th field after it (proc(5), field 22).
    Some(stat.rsplit_once(") ")?.1.split(' ').nth(19)?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn what_still_lives_is_ended_and_what_took_its_number_is_not() {
        let state = tempfile::tempdir().unwrap();
        bury(state.path()).unwrap();
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        fs::write(state.path().join("pid"), format!("{} 1", child.id())).unwrap();
        bury(state.path()).unwrap();
        assert!(child.try_wait().unwrap().is_none(), "another process's number");
        note(state.path(), Last::First(child.id() as i32)).unwrap();
        bury(state.path()).unwrap();
        assert!(!child.wait().unwrap().success());
        bury(state.path()).unwrap();
    }
}
