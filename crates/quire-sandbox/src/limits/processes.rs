//! The processes of a sandbox, as the spawner sees them: through the sandbox's own `/proc`, in which there are no others.
//! Where it has the machine's, they are those that the spawner may signal, which its Landlock domain sees to
//! ([`crate::unshared`]).

use crate::{Rung, unshared};
use rustix::fs::{AtFlags, Dir, Mode, OFlags, fstat, fstatfs, openat, readlinkat, statat};
use rustix::process::{Pid, Signal, pidfd_send_signal};
use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// A process. The first inside, the hand, is never ended from here.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    pub pid: i32,
    pub session: i32,
    life: Life,
    pub threads: u64,
    /// What of it is in memory, shared parts included, in bytes.
    pub resident: u64,
    /// From the program's name, in letters that do no harm.
    pub name: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Life {
    Runs,
    /// It was stopped: nothing can come of it.
    Still,
    /// It has let go of everything, and only waits to be buried.
    Over,
}

/// Most often that processes are asked to stop before they are killed as they are.
const ROUNDS: u32 = 250;

/// Places in which memory can be filled without a process that holds it.
const MEMORY: [&str; 2] = ["dev/shm", "run"];

/// Of one process, in bytes: its own, and what it has mapped of files in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Memory {
    pub own: u64,
    pub files: u64,
}

/// What processes hold open that has no name any more, in bytes. What lies in the sandbox's own places in memory is not
/// in it: [`Processes::files_in_memory`] has that.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Nameless {
    pub disk: u64,
    pub memory: u64,
}

pub struct Processes {
    proc: OwnedFd,
    memory: Vec<OwnedFd>,
    page: u64,
    hand: i32,
    /// Whether the machine's own processes are in the same view.
    shared: bool,
    /// One of quire's own that the spawner may signal as well.
    guard: Option<i32>,
}

impl Processes {
    /// Opens the view of the sandbox whose first process this is, for its spawner. `None` where its processes cannot be told
    /// from the machine's: those must not be ended.
    pub fn of(first: i32, guard: Option<i32>, rung: Rung) -> Option<Processes> {
        let page = crate::process::page_size();
        if rung.has_processes() {
            let (proc, memory) = (own_proc(first)?, places_in_memory(first));
            return Some(Processes { proc, memory, page, hand: 1, shared: false, guard: None });
        }
        unshared::is_apart().ok()?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = rustix::fs::open("/proc", flags, Mode::empty()).ok()?;
        let memory = if rung.has_tree() { places_in_memory(first) } else { Vec::new() };
        Some(Processes { proc, memory, page, hand: first, shared: true, guard })
    }

    pub fn is_hand(&self, pid: i32) -> bool {
        pid == self.hand
    }

    /// Returns all of them, the hand included.
    pub fn all(&self) -> Vec<Process> {
        let Ok(entries) = Dir::read_from(&self.proc) else { return Vec::new() };
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str().ok()?.parse().ok());
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let is_of_it = |pid: i32| {
            let is_ours = pid == own || Some(pid) == self.guard;
            !self.shared || (!is_ours && Pid::from_raw(pid).is_some_and(unshared::reaches))
        };
        pids.filter(|pid| is_of_it(*pid))
            .filter_map(|pid| parse(&self.read(pid, "stat")?, self.page))
            .collect()
    }

    /// Returns how many bytes a process has had written to disks, by it and by its children that were waited for.
    pub fn written(&self, pid: i32) -> Option<u64> {
        number_after(&self.read(pid, "io")?, "\nwrite_bytes:")
    }

    /// Returns the memory that a process holds, of what it has in common with others its fair share; less exactly where the
    /// kernel does not say it.
    pub fn memory_of(&self, process: &Process) -> Memory {
        let exact = || {
            let rollup = self.read(process.pid, "smaps_rollup")?;
            let bytes = |part| number_after(&rollup, part).map(|kib| kib << 10);
            let own = bytes("\nPss_Anon:")? + bytes("\nSwapPss:")?;
            Some(Memory { own, files: bytes("\nPss_Shmem:")? })
        };
        exact().unwrap_or(Memory { own: process.resident, files: 0 })
    }

    /// Returns the bytes of files in the sandbox's own places in memory.
    pub fn files_in_memory(&self) -> u64 {
        let used = |place: &OwnedFd| {
            fstatfs(place).map_or(0, |stat| (stat.f_blocks - stat.f_bfree) * stat.f_bsize.unsigned_abs())
        };
        self.memory.iter().map(used).sum()
    }

    /// Returns what they hold open that no directory shows.
    pub fn nameless(&self) -> Nameless {
        let mut found = Nameless::default();
        let counted: Vec<u64> = self.memory.iter().filter_map(|at| Some(fstat(at).ok()?.st_dev)).collect();
        let mut seen = HashSet::new();
        for process in self.all() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let Ok(open) = openat(&self.proc, format!("{}/fd", process.pid), flags, Mode::empty()) else {
                continue;
            };
            for entry in Dir::read_from(&open).into_iter().flatten().flatten() {
                let Ok(stat) = statat(&open, entry.file_name(), AtFlags::empty()) else { continue };
                let is_file = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file();
                let counts =
                    is_file && stat.st_nlink == 0 && stat.st_blocks > 0 && !counted.contains(&stat.st_dev);
                if !counts || !seen.insert((stat.st_dev, stat.st_ino)) {
                    continue;
                }
                let bytes = stat.st_blocks.unsigned_abs() * 512;
                match openat(&open, entry.file_name(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
                    Ok(file) if is_in_memory(&file) => found.memory += bytes,
                    _ => found.disk += bytes,
                }
            }
        }
        found
    }

    /// Kills all of these but the hand. They are stopped first: so none of them forks meanwhile, and no call can end and the
    /// next one begin, whose processes would then be taken for theirs.
    pub fn kill_all(&self, which: impl Fn(&Process) -> bool) {
        if self.shared {
            return self.kill_all_of_domain(which);
        }
        let mut doomed = self.all();
        for _ in 0..ROUNDS {
            doomed.retain(|process| !self.is_hand(process.pid) && which(process));
            let running = doomed.iter().filter(|process| process.life == Life::Runs);
            if running.map(|process| self.signal(process.pid, Signal::STOP)).count() == 0 {
                break;
            }
            // It is taken at the next return from the kernel; nothing tells of that.
            std::thread::sleep(std::time::Duration::from_micros(200));
            doomed = self.all();
        }
        doomed.retain(|process| !self.is_hand(process.pid) && which(process));
        self.kill(&doomed);
    }

    /// Kills these, and waits a moment for their end: what they hold open without a name is on the disk until then, and
    /// would count against who writes next.
    fn kill(&self, doomed: &[Process]) {
        doomed.iter().for_each(|process| self.signal(process.pid, Signal::KILL));
        let is_over = |process: &Process| {
            let stat = self.read(process.pid, "stat").and_then(|stat| parse(&stat, self.page));
            stat.is_none_or(|now| now.life == Life::Over)
        };
        for _ in 0..ROUNDS {
            if doomed.iter().all(is_over) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_micros(200));
        }
    }

    /// The same where one signal reaches all, those that are being started as well: what forks faster than it can be looked
    /// for is held too. The number of root's processes has no other bound there.
    fn kill_all_of_domain(&self, which: impl Fn(&Process) -> bool) {
        if unshared::signal_all(libc::SIGSTOP).is_err() {
            return;
        }
        let mut doomed = self.all();
        doomed.retain(|process| !self.is_hand(process.pid) && which(process));
        self.kill(&doomed);
        // What stays goes on. It goes to the same ones as the first did.
        let _ = unshared::signal_all(libc::SIGCONT);
    }

    /// Signals one. Fails in silence where it has ended.
    fn signal(&self, pid: i32, signal: Signal) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // A directory of /proc is a handle on its process: another of the same number cannot be hit.
        if let Ok(process) = openat(&self.proc, pid.to_string(), flags, Mode::empty()) {
            let _ = pidfd_send_signal(&process, signal);
        }
    }

    fn read(&self, pid: i32, name: &str) -> Option<String> {
        let path = Path::new(&pid.to_string()).join(name);
        let file = openat(&self.proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let mut text = vec![0; 4096];
        let length = rustix::io::read(&file, &mut *text).ok()?;
        text.truncate(length);
        Some(String::from_utf8_lossy(&text).into_owned())
    }
}

/// Opens the sandbox's own `/proc`.
fn own_proc(first: i32) -> Option<OwnedFd> {
    const PROC: rustix::fs::FsWord = 0x9fa0; // linux/magic.h
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = rustix::fs::open(format!("/proc/{first}/root/proc"), flags, Mode::empty()).ok()?;
    let is_proc = fstatfs(&proc).is_ok_and(|stat| stat.f_type == PROC);
    // In the view of another pid namespace there is no entry for whoever asks from outside of it.
    (is_proc && readlinkat(&proc, "self", []).is_err()).then_some(proc)
}

/// Opens the sandbox's own places in memory.
fn places_in_memory(first: i32) -> Vec<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open =
        |place: &&str| rustix::fs::open(format!("/proc/{first}/root/{place}"), flags, Mode::empty()).ok();
    MEMORY.iter().filter_map(open).filter(|place| is_in_memory(place)).collect()
}

fn is_in_memory(place: impl AsFd) -> bool {
    const TMPFS: rustix::fs::FsWord = 0x0102_1994; // linux/magic.h
    fstatfs(place).is_ok_and(|stat| stat.f_type == TMPFS)
}

/// Reads proc_pid_stat(5).
fn parse(stat: &str, page: u64) -> Option<Process> {
    let pid = stat.split(' ').next()?.parse().ok()?;
    // The name in parentheses may hold anything.
    let (before, after) = stat.rsplit_once(") ")?;
    let name = before.split_once('(')?.1.chars();
    let name = name.map(|c| if c.is_ascii_alphanumeric() || "-_.:+".contains(c) { c } else { '?' }).collect();
    let fields: Vec<&str> = after.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let session = fields.get(3)?.parse().ok()?;
    let life = match *fields.first()? {
        "T" | "t" => Life::Still,
        "Z" | "X" => Life::Over,
        _ => Life::Runs,
    };
    Some(Process { pid, session, life, threads: number(17)?.max(1), resident: number(21)? * page, name })
}

fn number_after(text: &str, word: &str) -> Option<u64> {
    text.split_once(word)?.1.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_lie_about_what_a_process_uses() {
        let tail = "1 7 3 0 -1 4194560 9 0 0 0 1 2 0 0 20 5 6 0 99 1000 250 184467";
        let rows = [
            (format!("12 (sh) S {tail}"), Some(("sh", 6, 250))),
            (format!("12 (a) S 9 9 (b) R {tail}"), Some(("a??S?9?9??b", 6, 250))),
            (format!("12 (sh) S 9 9) Z {tail}"), Some(("sh??S?9?9", 6, 250))),
            ("12 (sh) S 1 2".to_owned(), None),
            (String::new(), None),
        ];
        for (stat, expected) in rows {
            let found = parse(&stat, 1);
            assert_eq!(found.as_ref().map(|p| (p.name.as_str(), p.threads, p.resident)), expected, "{stat}");
            assert!(found.is_none_or(|p| p.pid == 12
                && p.session == 3
                && (p.life == Life::Over) == stat.contains(") Z")));
        }
    }

    #[test]
    fn the_machines_own_processes_are_no_sandbox() {
        let own = std::process::id() as i32;
        assert!(Processes::of(own, None, Rung::OneUid).is_none());
        // Root here reaches the machine's first process.
        if rustix::process::geteuid().is_root() {
            assert!(Processes::of(own, None, Rung::NoNewProc).is_none());
            assert!(Processes::of(own, None, Rung::Copy).is_none());
        }
    }
}
