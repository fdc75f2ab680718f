//! Many sandboxes, made and dropped: nothing of them stays in this process or on the machine.

use crate::stage::{Live, Stage};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a sandbox could leave of itself, as far as it can be counted from here.
#[derive(Debug)]
struct Left {
    descriptors: usize,
    threads: usize,
    children: usize,
    mounts: usize,
    files: usize,
    cgroups: usize,
}

impl Left {
    /// What went may have been of the first ones: an old view of the system is cleared away beside them.
    fn is_more_than(&self, before: &Left) -> bool {
        let numbers = |left: &Left| {
            [left.descriptors, left.threads, left.children, left.mounts, left.files, left.cgroups]
        };
        numbers(self).iter().zip(numbers(before)).any(|(now, then)| *now > then)
    }
}

/// Memory that one more sandbox may cost this process for ever, in kB: none, but allocators round.
const MEMORY_EACH: u64 = 4;
/// What the first ones may cost once.
const MEMORY_ONCE: u64 = 4_000;

/// Thirty, or a thousand for `./test --all`; each ended in one of the three ways.
pub fn many_sandboxes_leave_nothing(stage: &Stage) {
    // By threes, so that the last one ends as the last one before them did.
    let many = if std::env::var_os("QUIRE_TEST_ALL").is_some() { 1002 } else { 30 };
    let mut spawners = BTreeSet::new();
    (0..3).for_each(|n| one(stage, n, &mut spawners));
    let (before, memory) = (left(stage, &spawners), memory());
    (0..many).for_each(|n| one(stage, n, &mut spawners));
    assert_eq!(spawners.len() as u64, many + 3, "each has a spawner of its own");
    // What ended may be seen for a moment more.
    let begun = Instant::now();
    while left(stage, &spawners).is_more_than(&before) && begun.elapsed() < Duration::from_secs(20) {
        std::thread::yield_now();
    }
    let after = left(stage, &spawners);
    assert!(!after.is_more_than(&before), "{after:?}, and before {before:?}");
    let grown = self::memory().saturating_sub(memory);
    assert!(grown < MEMORY_ONCE + many * MEMORY_EACH, "{grown} kB for {many} sandboxes");
}

fn one(stage: &Stage, n: u64, spawners: &mut BTreeSet<u32>) {
    let live = Live::start(&stage.spec).expect("a sandbox");
    spawners.extend(children());
    if n.is_multiple_of(10) {
        live.yes("echo x > made; sleep 86399 & true");
    }
    match n % 3 {
        0 => live.sandbox.end().expect("an end"),
        1 => live.sandbox.discard().expect("an end"),
        _ => drop(live),
    }
}

/// Returns the processes that this one started.
fn children() -> Vec<u32> {
    let own = std::process::id();
    let pids = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_child = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        parent == Some(own)
    };
    pids.filter(is_child).collect()
}

fn left(stage: &Stage, spawners: &BTreeSet<u32>) -> Left {
    let count = |dir: &str| fs::read_dir(dir).expect("a directory").count();
    Left {
        descriptors: count("/proc/self/fd"),
        threads: count("/proc/self/task"),
        children: children().len(),
        mounts: fs::read_to_string("/proc/self/mountinfo").expect("mounts").lines().count(),
        files: files_below(&stage.spec.state),
        cgroups: cgroups_of(spawners),
    }
}

fn files_below(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    // The directory itself is the spec's; a dropped sandbox leaves its work directories to the next one.
    entries.filter(|entry| entry.file_name() != "work" && entry.file_name() != "pid").count()
}

/// Returns how many cgroups there are that these spawners made.
fn cgroups_of(spawners: &BTreeSet<u32>) -> usize {
    let mut found = 0;
    let mut open = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let name = entry.file_name();
            let pid = name.to_str().and_then(|name| name.strip_prefix("quire-")?.parse::<u32>().ok());
            found += usize::from(pid.is_some_and(|pid| spawners.contains(&pid)));
            open.push(entry.path());
        }
    }
    found
}

/// Returns this process's memory, in kB.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).expect("a number")
}
