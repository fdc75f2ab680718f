//! The host's side of limits: what was met since it was last asked.

use super::{Breach, Held};
use crate::frame;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::mem::discriminant;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// What the watcher is told: of each call its beginning and its end.
pub const BEGUN: u8 = b'(';
const DONE: u8 = b')';

/// Hears the spawner's watcher, and reads the kernel's counters.
pub struct Ledger {
    channel: UnixStream,
    killed: Option<Counter>,
    refused: Option<Counter>,
    memory: u64,
    processes: u32,
}

impl Ledger {
    /// `channel` leads to the spawner; the limits are what a breach names.
    pub fn new(channel: UnixStream, memory: u64, processes: u32) -> Ledger {
        Ledger { channel, killed: None, refused: None, memory, processes }
    }

    /// Waits for the spawner's first words, which say what holds the bounds.
    pub fn hear_what_holds(&mut self) -> std::io::Result<()> {
        let held: Held = frame::read(&self.channel)?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
        let counter = |at: Option<(PathBuf, String)>| at.and_then(|(file, word)| Counter::of(&file, word));
        (self.killed, self.refused) = (counter(held.killed), counter(held.refused));
        Ok(())
    }

    /// Tells the watcher that a call begins.
    pub fn begun(&self) {
        // Where the spawner is gone the sandbox is, and the call finds out.
        let _ = rustix::io::write(&self.channel, &[BEGUN]);
    }

    /// Tells the watcher that a call came back.
    pub fn done(&self) {
        let _ = rustix::io::write(&self.channel, &[DONE]);
    }

    /// Returns what was met since the last time.
    pub fn news(&mut self) -> Vec<Breach> {
        let mut news = Vec::new();
        while self.is_spoken_to()
            && let Ok(Some(breach)) = frame::read::<Breach>(&self.channel)
        {
            // One that was met again and again until it held is one; that something was ended for it must be known.
            match news.iter_mut().find(|told| discriminant(*told) == discriminant(&breach)) {
                Some(told) if breach.ended() && !told.ended() => *told = breach,
                Some(_) => {}
                None => news.push(breach),
            }
        }
        if self.killed.as_mut().is_some_and(Counter::grew) {
            news.push(Breach::Killed { limit: self.memory });
        }
        let told = news.iter().any(|breach| matches!(breach, Breach::Processes { .. }));
        if self.refused.as_mut().is_some_and(Counter::grew) && !told {
            news.push(Breach::Processes { limit: self.processes, ended: false });
        }
        news
    }

    fn is_spoken_to(&self) -> bool {
        let mut watched = [PollFd::new(&self.channel, PollFlags::IN)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut watched, Some(&at_once)).is_ok_and(|ready| ready > 0)
    }
}

/// A number that the kernel only ever raises, in a file of words and numbers.
pub struct Counter {
    file: File,
    word: String,
    last: u64,
}

impl Counter {
    pub fn of(file: &Path, word: String) -> Option<Counter> {
        let mut counter = Counter { file: File::open(file).ok()?, word, last: 0 };
        counter.last = counter.now()?;
        Some(counter)
    }

    fn now(&self) -> Option<u64> {
        let mut text = [0; 1024];
        let length = self.file.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(&text[..length]).ok()?;
        let found = text.lines().find_map(|line| line.strip_prefix(&self.word)?.strip_prefix(' '));
        found?.trim().parse().ok()
    }

    /// Returns whether it is higher than the last time.
    pub fn grew(&mut self) -> bool {
        let now = self.now().unwrap_or(self.last);
        std::mem::replace(&mut self.last, now) < now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_met_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| -> PathBuf {
            std::fs::write(dir.path().join(name), text).unwrap();
            dir.path().join(name)
        };
        let held = Held {
            killed: Some((file("memory.events", "oom 0\noom_kill 0\n"), "oom_kill".into())),
            refused: Some((file("pids.events", "max 3\n"), "max".into())),
            ..Held::default()
        };
        let (ours, theirs) = UnixStream::pair().unwrap();
        frame::write(&theirs, &held).unwrap();
        let mut ledger = Ledger::new(ours, 64 << 20, 40);
        ledger.hear_what_holds().unwrap();
        assert_eq!(ledger.news(), []);
        file("memory.events", "oom 1\noom_kill 2\n");
        file("pids.events", "max 4\n");
        let disk = Breach::Disk { used: 2, limit: 1, ended: true };
        frame::write(&theirs, &disk).unwrap();
        frame::write(&theirs, &Breach::Disk { used: 3, limit: 1, ended: true }).unwrap();
        let killed = Breach::Killed { limit: 64 << 20 };
        let refused = Breach::Processes { limit: 40, ended: false };
        assert_eq!(ledger.news(), [disk, killed, refused]);
        assert_eq!(ledger.news(), []);
        // What was told by the watcher is not told again by the counter.
        let ended = Breach::Processes { limit: 40, ended: true };
        frame::write(&theirs, &ended).unwrap();
        file("pids.events", "max 9\n");
        assert_eq!(ledger.news(), [ended]);
        // What the call before left over does not hide that this one's processes were ended.
        let [left, ended] = [false, true].map(|ended| Breach::Disk { used: 3, limit: 1, ended });
        for breach in [&left, &ended, &left] {
            frame::write(&theirs, breach).unwrap();
        }
        assert_eq!(ledger.news(), [ended]);
        drop(theirs);
        assert_eq!(ledger.news(), []);
    }
}
