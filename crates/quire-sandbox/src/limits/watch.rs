//! The spawner's look at its sandbox: what the kernel does not bound is looked at several times a second, from a call's
//! beginning until nothing but the hand runs. A sandbox in which nothing happens costs nothing.
//!
//! Where too much is used, that is told first and then what used it is killed: what writes, what is largest, or the
//! session with the most processes; everything but the hand where that did not help. The next call finds the
//! sandbox standing. A sandbox that is over its limit on the disk may still do what takes no more room, so that there is a
//! way back.

use super::cgroup::Limits;
use super::disk::{self, Room, Size, Walk, Walked};
use super::ledger::{BEGUN, Counter};
use super::processes::{Memory, Process, Processes};
use super::{Breach, Means};
use crate::mounts::During;
use crate::process::Child;
use crate::steward::Steward;
use crate::tree::Broken;
use crate::{Rung, Spec, frame};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Between two looks; longer where a look takes long, so that looking never costs more than a fiftieth of a core.
const LOOK: Duration = Duration::from_millis(125);
const LOOK_SHARE: u32 = 50;
/// Where all processes are taken, since until that is over nothing else can be done inside: a fifth of a core.
const LOOK_SHARE_FULL: u32 = 4;

/// Looks in a row that find all processes taken before something is done about it; at once where there are twice as many
/// as allowed, since then nothing else bounds them.
const LOOKS_FULL: u32 = 4;

/// Looks from one at what is held open to the next.
const LOOKS_OPEN: u32 = 8;

/// Looks after something was killed in which the next finding means that it did not help.
const LOOKS_SECOND: u32 = 8;

/// A file for each so many bytes of the limit: small files are the more expensive ones to walk and to remove.
const BYTES_A_FILE: u64 = 10 << 10;

/// Most room that is left for the person: this, or a twentieth of the disk where that is less.
const RESERVE: u64 = 1 << 30;

/// Less than this, written between two looks, is never what fills a disk.
const NOTHING_MUCH: u64 = 1 << 20;

/// Least time from one walk to the next where nothing is known to have grown much; more where walks take long.
const WALK_AGAIN: Duration = Duration::from_secs(5);
const WALK_SHARE: u32 = 20;

/// What is watched, and whom it is told to.
pub struct Watched<'a> {
    pub spec: &'a Spec,
    pub limits: &'a Limits,
    /// The first process inside.
    pub first: &'a Child,
    /// The number of the guard ([`crate::unshared::guard`]), where there is one.
    pub guard: Option<i32>,
    pub socket: &'a UnixStream,
    pub channel: &'a UnixStream,
    /// Who does for processes what they may not do themselves, on the rung [`crate::Rung::Copy`].
    pub steward: Option<&'a Steward>,
}

/// Waits until the host closes its end, or the sandbox ends, and looks meanwhile.
pub fn watch(watched: &Watched<'_>) -> Result<(), Broken> {
    // Nobody must hear of a breach so urgently that a full channel could hold this process up.
    watched.channel.set_nonblocking(true).during("watching the sandbox")?;
    let mut watch = Watch::new(watched);
    let ended = watch.on();
    if let Some(walk) = watch.disk.walk.take() {
        walk.give_up();
    }
    // The hand itself may have been what was killed; who asks why it is gone learns it.
    if watch.killed.as_mut().is_some_and(Counter::grew) {
        watch.tell(&Breach::Killed { limit: watched.spec.memory_bytes });
    }
    ended
}

struct Watch<'a> {
    watched: &'a Watched<'a>,
    processes: Option<Processes>,
    disk: Disk,
    /// What each process had written when it was last looked at.
    written: BTreeMap<i32, u64>,
    /// Calls that were begun and did not come back.
    calls: usize,
    /// Bytes free on the disk at the last look.
    free: u64,
    nameless: u64,
    looks: u32,
    /// Looks in a row that found all processes taken.
    full: u32,
    /// Looks since something was killed.
    since_kill: u32,
    killed: Option<Counter>,
}

struct Disk {
    /// Where the sandbox writes, and what was sealed before.
    roots: Vec<PathBuf>,
    limit: Size,
    /// What was there for it before it wrote anything; within the limit, and not what it used.
    copied: Size,
    /// At the last walk, or at the beginning.
    room: Option<Room>,
    /// At the walk before that.
    before: Option<Room>,
    /// As the last walk found it.
    used: Option<Size>,
    walked: Instant,
    took: Duration,
    walk: Option<Walk>,
    /// Over the limit: the least that it was since.
    mark: Option<Size>,
    /// What was written from the walk that found too much to the end of who wrote it is in no mark yet.
    settles: bool,
}

impl<'a> Watch<'a> {
    fn new(watched: &'a Watched<'a>) -> Watch<'a> {
        let spec = watched.spec;
        let mut roots =
            vec![spec.layer.clone(), spec.state.join("tmp"), spec.state.join("work"), spec.out.clone()];
        roots.extend(spec.layers.iter().cloned());
        let files = (spec.disk_bytes / BYTES_A_FILE).max(1_000);
        let (mut limit, mut copied) = (Size { bytes: spec.disk_bytes, files }, Size::default());
        if spec.rung == Rung::Copy {
            let (files, bytes) = crate::copy::size(spec);
            copied = Size { bytes, files };
            limit = limit.plus(copied);
            roots.push(spec.state.join("home"));
        }
        let disk = Disk {
            roots,
            limit,
            copied,
            room: disk::room(&spec.layer).ok(),
            before: None,
            used: None,
            walked: Instant::now(),
            took: Duration::ZERO,
            walk: None,
            mark: None,
            settles: false,
        };
        let killed = watched.limits.held.killed.clone();
        let killed = killed.and_then(|(file, word)| Counter::of(&file, word));
        Watch {
            watched,
            processes: None,
            calls: 0,
            free: disk.room.map_or(0, |room| room.free.bytes),
            disk,
            written: BTreeMap::new(),
            nameless: 0,
            looks: 0,
            full: 0,
            since_kill: LOOKS_SECOND,
            killed,
        }
    }

    /// Looks until the sandbox ends.
    fn on(&mut self) -> Result<(), Broken> {
        let mut next: Option<Instant> = None;
        loop {
            let wait = next.map(|next| next.saturating_duration_since(Instant::now()));
            let wait = wait
                .map(|wait| Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() });
            // Reading the hand's socket is the hand's; a closed one reports itself unasked.
            let mut watched = vec![
                PollFd::new(self.watched.socket, PollFlags::empty()),
                PollFd::new(&self.watched.first.pidfd, PollFlags::IN),
                PollFd::new(self.watched.channel, PollFlags::IN),
            ];
            if let Some(walk) = &self.disk.walk {
                watched.push(PollFd::from_borrowed_fd(walk.fd(), PollFlags::IN));
            }
            let served = self.watched.steward.map(|steward| {
                watched.push(PollFd::new(steward, PollFlags::IN));
                watched.len() - 1
            });
            match poll(&mut watched, wait.as_ref()) {
                Err(rustix::io::Errno::INTR) => continue,
                polled => polled.during("watching the sandbox")?,
            };
            let came: Vec<bool> = watched.iter().map(|fd| !fd.revents().is_empty()).collect();
            if came[0] || came[1] {
                return Ok(());
            }
            if let (Some(steward), Some(at)) = (self.watched.steward, served)
                && watched[at].revents().contains(PollFlags::IN)
            {
                steward.serve();
            }
            if came[2] {
                let mut heard = [0; 256];
                let heard = match rustix::io::read(self.watched.channel, &mut heard) {
                    Ok(0) => return Ok(()),
                    Ok(length) => &heard[..length],
                    Err(_) => &[],
                };
                let begun = heard.iter().filter(|byte| **byte == BEGUN).count();
                // It may be long from a call's beginning to its first process.
                self.calls = (self.calls + begun).saturating_sub(heard.len() - begun);
                if self.processes.is_none() {
                    self.processes =
                        Processes::of(self.watched.first.pid, self.watched.guard, self.watched.spec.rung);
                }
                next.get_or_insert_with(|| Instant::now() + LOOK);
            }
            let walked = self.disk.walk.is_some() && came.get(3).is_some_and(|came| *came);
            if walked && let Some(found) = self.disk.walk.take().and_then(Walk::end) {
                self.judge(&found);
            }
            if next.is_some_and(|next| next <= Instant::now()) {
                let begun = Instant::now();
                let goes_on = self.look() || self.disk.walk.is_some();
                next = goes_on.then(|| Instant::now() + pause(begun.elapsed(), self.full > 0));
            }
        }
    }

    /// Returns whether there is something to be looked at again.
    fn look(&mut self) -> bool {
        self.since_kill = self.since_kill.saturating_add(1);
        self.looks = self.looks.wrapping_add(1);
        let all = self.processes.as_ref().map(Processes::all).unwrap_or_default();
        let growth = self.growth(&all);
        self.look_at_number(&all);
        if self.watched.limits.held.memory == Means::Watched {
            self.look_at_memory(&all);
        }
        self.look_at_disk(&growth);
        // Where nobody can be seen, there may be somebody.
        self.calls > 0 || self.processes.is_none() || all.len() > 1
    }

    /// Returns what each process has written since the last look.
    fn growth(&mut self, all: &[Process]) -> BTreeMap<i32, u64> {
        let Some(processes) = &self.processes else { return BTreeMap::new() };
        let now: BTreeMap<i32, u64> =
            all.iter().filter_map(|process| Some((process.pid, processes.written(process.pid)?))).collect();
        let before = std::mem::replace(&mut self.written, now);
        let grown =
            self.written.iter().map(|(pid, now)| (*pid, now.saturating_sub(*before.get(pid).unwrap_or(&0))));
        grown.filter(|(_, grown)| *grown > 0).collect()
    }

    /// Where all processes are taken and stay so, nothing can be done in the sandbox any more.
    fn look_at_number(&mut self, all: &[Process]) {
        let limit = self.watched.spec.processes;
        let threads: u64 = all.iter().map(|process| process.threads).sum();
        self.full = if threads + 2 >= u64::from(limit) { self.full + 1 } else { 0 };
        if self.full < LOOKS_FULL && threads < 2 * u64::from(limit) {
            return;
        }
        self.full = 0;
        let mut sessions = BTreeMap::<i32, u64>::new();
        all.iter().filter(|process| !self.is_hand(process.pid)).for_each(|process| {
            *sessions.entry(process.session).or_default() += process.threads;
        });
        let largest = sessions.into_iter().max_by_key(|(_, threads)| *threads).map(|(session, _)| session);
        let of_it = |process: &Process| Some(process.session) == largest;
        self.end(of_it, &Breach::Processes { limit, ended: true });
    }

    fn look_at_memory(&mut self, all: &[Process]) {
        let Some(processes) = &self.processes else { return };
        let limit = self.watched.spec.memory_bytes;
        if self.looks.is_multiple_of(LOOKS_OPEN) {
            self.nameless = processes.nameless().memory;
        }
        let named = processes.files_in_memory();
        // At most this: what processes share is in it for each of them. Only near the limit is it worth to know better.
        let most: u64 = all.iter().map(|process| process.resident).sum::<u64>() + named + self.nameless;
        if most < limit / 4 * 3 {
            return;
        }
        // Whoever held it may have ended since.
        self.nameless = processes.nameless().memory;
        let files = named + self.nameless;
        let each: Vec<(Memory, &Process)> =
            all.iter().map(|process| (processes.memory_of(process), process)).collect();
        let own = each.iter().map(|(memory, _)| memory.own).sum::<u64>();
        // What is mapped is also a file, most of the time.
        let mapped = each.iter().map(|(memory, _)| memory.files).sum::<u64>();
        let used = own + mapped.max(files);
        if used <= limit {
            return;
        }
        let largest = each.iter().filter(|(_, process)| !processes.is_hand(process.pid));
        let largest = largest.max_by_key(|(memory, _)| memory.own + memory.files);
        let Some((_, largest)) = largest else { return };
        let (pid, ended) = (largest.pid, largest.name.clone());
        self.end(|process| process.pid == pid, &Breach::Memory { used, limit, ended });
    }

    fn look_at_disk(&mut self, growth: &BTreeMap<i32, u64>) {
        let Ok(room) = disk::room(&self.watched.spec.layer) else { return };
        let reserve = RESERVE.min(room.whole.bytes / 20);
        let fell = self.free.saturating_sub(room.free.bytes);
        self.free = room.free.bytes;
        // Others may be what fills it, and the hand is also told for what its children wrote long ago.
        let wrote = growth.values().sum::<u64>();
        if room.free.bytes < reserve && wrote.min(fell) >= NOTHING_MUCH {
            let writers = self.writers(growth);
            self.end(
                |process| writers.contains(&process.pid),
                &Breach::Reserve { free: room.free.bytes, reserve },
            );
        }
        if self.disk.wants_walk(&room) {
            self.walk(room);
        }
    }

    fn walk(&mut self, room: Room) {
        self.disk.before = self.disk.room.replace(room);
        // What those that were just ended held without a name goes with them, and would hide as much of what comes next.
        let (processes, first) = (self.processes.as_ref().filter(|_| !self.disk.settles), self.watched.first);
        // Where no process can be made, the next look tries again.
        self.disk.walk = Walk::begin(&self.disk.roots, processes, first).ok();
    }

    /// Does what a walk over the layers calls for.
    fn judge(&mut self, found: &Walked) {
        let Ok(room) = disk::room(&self.watched.spec.layer) else { return };
        let all = self.processes.as_ref().map(Processes::all).unwrap_or_default();
        let growth = self.growth(&all);
        let used = self.disk.learn(found, &room);
        let Some(grew) = self.disk.mark(used) else { return };
        let bytes = used.bytes > self.disk.limit.bytes;
        let [used, limit] = [used, self.disk.limit].map(|size| self.disk.copied.up_to(size));
        let ended = grew && all.len() > 1;
        let breach = match bytes {
            true => Breach::Disk { used: used.bytes, limit: limit.bytes, ended },
            false => Breach::Files { used: used.files, limit: limit.files, ended },
        };
        if ended {
            // Small files are hardly anything to write, so that who makes them is not known by it.
            let writers = if bytes { self.writers(&growth) } else { Vec::new() };
            self.end(|process| writers.contains(&process.pid), &breach);
            // At once: what the next call writes is to count.
            self.disk.settles = true;
            self.walk(room);
        } else if grew {
            self.tell(&breach);
        }
    }

    /// Tells a breach and kills these processes; all of them, where there is none of these or killing did not help.
    fn end(&mut self, doomed: impl Fn(&Process) -> bool, breach: &Breach) {
        self.tell(breach);
        // On some rungs it would be among those that are ended.
        if let Some(walk) = self.disk.walk.take() {
            walk.give_up();
            // What went since the one before has yet to be counted.
            self.disk.room = self.disk.before.take();
        }
        let again = std::mem::replace(&mut self.since_kill, 0) < LOOKS_SECOND;
        match &self.processes {
            Some(processes) if again || !processes.all().iter().any(&doomed) => processes.kill_all(|_| true),
            Some(processes) => processes.kill_all(doomed),
            // Nobody can be told from others, so the sandbox goes.
            None => self.watched.first.kill(),
        }
    }

    fn is_hand(&self, pid: i32) -> bool {
        self.processes.as_ref().is_some_and(|processes| processes.is_hand(pid))
    }

    /// Returns who wrote much of all that was written. What the hand wrote is others' output.
    fn writers(&self, growth: &BTreeMap<i32, u64>) -> Vec<i32> {
        writers(growth.iter().filter(|(pid, _)| !self.is_hand(**pid)).map(|(pid, grown)| (*pid, *grown)))
    }

    fn tell(&self, breach: &Breach) {
        // Where nobody listens any more, nobody needs to know.
        let _ = frame::write(self.watched.channel, breach);
    }
}

/// Returns how long not to look after a look that took so long; `full` where it found all processes taken.
fn pause(took: Duration, full: bool) -> Duration {
    LOOK.max(took * if full { LOOK_SHARE_FULL } else { LOOK_SHARE })
}

/// Returns who wrote an eighth or more of all that was written.
fn writers(growth: impl Iterator<Item = (i32, u64)> + Clone) -> Vec<i32> {
    let all = growth.clone().map(|(_, grown)| grown).sum::<u64>();
    growth.filter(|(_, grown)| *grown >= all / 8).map(|(pid, _)| pid).collect()
}

impl Disk {
    /// Returns how much more may be there before another walk is due.
    fn slack(&self) -> Size {
        let left = self.used.map_or(self.limit.over(8), |used| used.up_to(self.limit).over(2));
        left.max(self.limit.over(64))
    }

    fn wants_walk(&self, room: &Room) -> bool {
        let Some(before) = &self.room else { return true };
        let since = self.walked.elapsed();
        let gone = room.free.up_to(before.free);
        self.walk.is_none()
            && since >= self.took * 2
            && (gone.exceeds(self.slack())
                || (room.free != before.free && since >= WALK_AGAIN.max(self.took * WALK_SHARE)))
    }

    /// Takes over what a walk found, and returns what is used.
    fn learn(&mut self, found: &Walked, room: &Room) -> Size {
        let mut used = found.size;
        if let (true, Some(before)) = (found.disturbed, &self.before) {
            // Whoever moves directories about or closes them, all that went meanwhile counts as his.
            used = used.max(self.used.unwrap_or_default().plus(room.free.up_to(before.free)));
        }
        self.used = Some(used);
        self.walked = Instant::now();
        self.took = found.took;
        used
    }

    /// Returns, where the limit is exceeded, whether more is used than when that was last found.
    fn mark(&mut self, used: Size) -> Option<bool> {
        let settles = std::mem::take(&mut self.settles);
        if !used.exceeds(self.limit) {
            self.mark = None;
            return None;
        }
        if settles {
            self.mark = Some(used);
            return Some(false);
        }
        let grew = self.mark.is_none_or(|mark| used.exceeds(mark.plus(self.limit.over(64))));
        self.mark = match self.mark {
            Some(mark) if !grew => {
                Some(Size { bytes: mark.bytes.min(used.bytes), files: mark.files.min(used.files) })
            }
            _ => Some(used),
        };
        Some(grew)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(bytes: u64) -> Size {
        Size { bytes, files: 0 }
    }

    fn disk(limit: u64) -> Disk {
        Disk {
            roots: Vec::new(),
            limit: Size { bytes: limit, files: 1_000_000 },
            copied: Size::default(),
            room: Some(Room { free: size(100_000), whole: size(200_000) }),
            before: Some(Room { free: size(100_000), whole: size(200_000) }),
            used: None,
            walked: Instant::now(),
            took: Duration::ZERO,
            walk: None,
            mark: None,
            settles: false,
        }
    }

    #[test]
    fn a_walk_is_due_when_it_may_have_become_too_much() {
        let rows = [
            // used at the last walk, free now, due
            (None, 99_000, false),
            (None, 98_700, true),
            (Some(0), 98_000, false),
            (Some(0), 94_000, true),
            (Some(9_000), 99_600, false),
            (Some(9_000), 99_400, true),
            (Some(9_990), 99_840, true),
            (Some(20_000), 99_900, false),
            (Some(20_000), 99_800, true),
            (Some(20_000), 150_000, false),
        ];
        for (used, free, due) in rows {
            let disk = Disk { used: used.map(size), ..disk(10_000) };
            let room = Room { free: size(free), whole: size(200_000) };
            assert_eq!(disk.wants_walk(&room), due, "{used:?} {free}");
        }
    }

    #[test]
    fn over_the_limit_only_growth_is_met() {
        let mut disk = disk(6_400);
        let rows = [
            (6_400, None),
            (6_500, Some(true)),
            (6_550, Some(false)),
            (6_450, Some(false)),
            (6_549, Some(false)),
            (6_551, Some(true)),
            (6_600, Some(false)),
            (6_000, None),
            (6_401, Some(true)),
        ];
        for (used, met) in rows {
            assert_eq!(disk.mark(size(used)), met, "{used}");
        }
        // What came until the writer was gone is not held against the next one.
        disk.settles = true;
        for (used, met) in [(9_000, Some(false)), (9_050, Some(false)), (9_200, Some(true))] {
            assert_eq!(disk.mark(size(used)), met, "{used}");
        }
    }

    #[test]
    fn a_walk_that_was_led_astray_counts_all_that_went() {
        let mut disk = disk(10_000);
        let room = Room { free: size(97_000), whole: size(200_000) };
        let found = |disturbed| Walked { size: size(500), disturbed, took: Duration::ZERO };
        assert_eq!(disk.learn(&found(false), &room), size(500));
        assert_eq!(disk.learn(&found(true), &room), size(3_500));
    }

    #[test]
    fn a_full_sandbox_is_looked_at_again_soon_also_where_looking_is_slow() {
        let rows = [
            // milliseconds that a look took, full, milliseconds until the next
            (1, false, 125),
            (1, true, 125),
            (10, false, 500),
            (10, true, 125),
            (500, false, 25_000),
            (500, true, 2_000),
        ];
        for (took, full, until) in rows {
            let until = Duration::from_millis(until);
            assert_eq!(pause(Duration::from_millis(took), full), until, "{took} {full}");
        }
    }

    #[test]
    fn who_writes_little_is_no_writer() {
        assert_eq!(writers([(7, 400), (8, 90), (9, 10)].into_iter()), [7, 8]);
        assert_eq!(writers(std::iter::empty()), Vec::<i32>::new());
    }
}
