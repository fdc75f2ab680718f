//! Bounds on all processes of a sandbox together: cgroups, where this machine lets us make them.
//!
//! Version 2 is tried first. Below a group that holds processes no limits can be given, so a group for a sandbox is made
//! beside the one that the host stands in where that was handed to quire ([`crate::delegate`]), below our own where it is
//! empty or the root, and, by root, at the top. Version 1, which only root may use, has a tree for each kind of limit.
//! Which of them there are differs from machine to machine, so each is written and what was refused does not count.

use super::{Held, Means};
use crate::machine::{self, Mount};
use crate::process;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What the name of each of our cgroups starts with; its spawner's pid follows.
const NAME: &str = "quire-";

/// Where the host stands in a cgroup that was handed to quire.
pub const HOST: &str = "host";

/// A third of what a process of the person's has: quire works when he does not.
const CPU_WEIGHT: u64 = 33;
const CPU_SHARES: u64 = 341;

/// The cgroups of one sandbox, removed when dropped; every process in them must have ended.
pub struct Limits {
    groups: Vec<Group>,
    pub held: Held,
}

struct Group {
    directory: PathBuf,
    /// Of version 1: where a process of one thread writes that it comes in itself, for which nobody has to wait.
    door: Option<fs::File>,
}

impl Limits {
    /// Makes what can be made, for the sandbox of this process: this much memory, in bytes, and so many processes.
    pub fn make(memory: u64, processes: u32) -> Limits {
        let mut limits = Limits { groups: Vec::new(), held: Held::default() };
        let (Ok(own), Ok(mountinfo)) =
            (fs::read_to_string("/proc/self/cgroup"), fs::read("/proc/self/mountinfo"))
        else {
            return limits;
        };
        let is_root = rustix::process::geteuid().is_root();
        let places = places(&own, &machine::mounts(&mountinfo), is_root);
        for place in places {
            if limits.has(&place) {
                continue;
            }
            sweep(&place.parent);
            let directory = place.parent.join(format!("{NAME}{}", std::process::id()));
            if place.kind == Kind::V2 {
                if !may_have_limits_below(&place.parent) {
                    continue;
                }
                hand_down(&place.parent);
            }
            // One tree may stand for several kinds of limit.
            let is_new = limits.groups.iter().all(|group| group.directory != directory);
            if is_new && fs::create_dir(&directory).is_err() {
                continue;
            }
            let holds = set(&directory, place.kind, memory, processes, &mut limits.held);
            match (holds, is_new) {
                (true, true) => limits.groups.push(Group::of(directory, place.kind)),
                (false, true) => drop(fs::remove_dir(&directory)),
                (_, false) => {}
            }
        }
        limits
    }

    /// Returns whether what a place could hold is held already.
    fn has(&self, place: &Place) -> bool {
        let none = |means| means == Means::Watched;
        match place.kind {
            Kind::V2 => !none(self.held.memory) && !none(self.held.processes),
            Kind::Memory => !none(self.held.memory),
            Kind::Pids => !none(self.held.processes),
            Kind::Cpu => !none(self.held.cpu),
            Kind::Blkio => false,
        }
    }

    /// Begins to put a process, and all that it will start, under those limits that it cannot come under by
    /// [`Limits::join`]. A further process does that: the kernel waits, for a hundredth of a second at best, until all its
    /// processors know that somebody is moved. Only for a process of a single thread.
    pub fn take(&self, pid: i32) -> io::Result<Taking> {
        let mut closed = self.groups.iter().filter(|group| group.door.is_none()).peekable();
        if closed.peek().is_none() {
            return Ok(Taking(None));
        }
        let Some(child) = process::fork(0)? else {
            let taken = closed
                .try_for_each(|group| existing(&group.directory.join("cgroup.procs"), &pid.to_string()));
            process::leave(taken.map_or_else(|error| error.raw_os_error().unwrap_or(libc::EIO), |()| 0));
        };
        Ok(Taking(Some(child)))
    }

    /// Puts this process, of a single thread, and all that it will start, under the other limits. Whose the process is by
    /// now does not matter: it counts who made them.
    pub fn join(&self) -> io::Result<()> {
        self.groups
            .iter()
            .filter_map(|group| group.door.as_ref())
            .try_for_each(|mut door| io::Write::write_all(&mut door, b"0"))
    }
}

impl Group {
    fn of(directory: PathBuf, kind: Kind) -> Group {
        let door = fs::OpenOptions::new().write(true).open(directory.join("tasks"));
        Group { door: door.ok().filter(|_| kind != Kind::V2), directory }
    }
}

/// A process that is being put under limits.
#[must_use]
pub struct Taking(Option<process::Child>);

impl Taking {
    /// Waits until the limits hold.
    pub fn end(self) -> io::Result<()> {
        match self.0.map(process::Child::exit) {
            None | Some(Some(0)) => Ok(()),
            Some(Some(error)) => Err(io::Error::from_raw_os_error(error)),
            Some(None) => Err(io::Error::other("who should do it was killed")),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    V2,
    Memory,
    Pids,
    Cpu,
    Blkio,
}

/// A cgroup below which one of ours may be made.
#[derive(Debug, PartialEq)]
struct Place {
    kind: Kind,
    parent: PathBuf,
}

/// Returns where cgroups may be made, best first. `own` is a cgroups(7) `/proc/PID/cgroup`.
fn places(own: &str, mounts: &[Mount], is_root: bool) -> Vec<Place> {
    let mut places = Vec::new();
    let mut add = |kind, parent: PathBuf| {
        let place = Place { kind, parent };
        if !places.contains(&place) {
            places.push(place);
        }
    };
    let mut lines: Vec<(&str, &str)> = own
        .lines()
        .filter_map(|line| {
            // hierarchy:controllers:path; a path that leads out of our view starts with /..
            let mut fields = line.splitn(3, ':').skip(1);
            Some((fields.next()?, fields.next()?)).filter(|(_, path)| !path.contains(".."))
        })
        .collect();
    lines.sort_by_key(|(controllers, _)| !controllers.is_empty());
    for (controllers, path) in lines {
        let below = |mount: &Mount| mount.point.join(path.trim_start_matches('/'));
        if controllers.is_empty() {
            let Some(mount) = mounts.iter().find(|mount| mount.kind == "cgroup2") else { continue };
            let own = below(mount);
            if let Some(delegated) = delegated(&own) {
                add(Kind::V2, delegated.to_path_buf());
            }
            add(Kind::V2, own);
            if is_root {
                add(Kind::V2, mount.point.clone());
            }
            continue;
        }
        let Some(mount) =
            mounts.iter().find(|mount| mount.kind == "cgroup" && mount.point.ends_with(controllers))
        else {
            continue;
        };
        for controller in controllers.split(',') {
            let kind = match controller {
                "memory" => Kind::Memory,
                "pids" => Kind::Pids,
                "cpu" => Kind::Cpu,
                "blkio" => Kind::Blkio,
                _ => continue,
            };
            add(kind, below(mount));
        }
    }
    places
}

/// Returns the cgroup that was handed to quire, where `own` is its host's place in it.
fn delegated(own: &Path) -> Option<&Path> {
    let group = own.parent().filter(|_| own.ends_with(HOST))?;
    let name = group.file_name()?.to_str()?;
    (name.starts_with(NAME) && name.ends_with(".scope")).then_some(group)
}

/// Returns whether groups below this one of version 2 can have limits and processes: not where it holds processes itself,
/// unless it is the root of all. The kernel would take limits on processes and of time even there, and then let nothing
/// into the groups below (cgroups(7), "domain invalid").
fn may_have_limits_below(group: &Path) -> bool {
    !group.join("cgroup.type").exists()
        || fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|inside| inside.trim().is_empty())
}

/// Lets groups below this one have limits, each kind by itself: one that is not ours to give refuses all written with it.
pub fn hand_down(parent: &Path) {
    for controller in ["+memory", "+pids", "+cpu", "+io"] {
        let _ = existing(&parent.join("cgroup.subtree_control"), controller);
    }
}

/// Writes the limits of a new cgroup, notes what holds, and returns whether any does.
fn set(directory: &Path, kind: Kind, memory: u64, processes: u32, held: &mut Held) -> bool {
    let write = |file: &str, value: u64| existing(&directory.join(file), &value.to_string()).is_ok();
    let counter = |file: &str, word: &str| {
        let file = directory.join(file);
        file.exists().then(|| (file, word.to_owned()))
    };
    let before = held.clone();
    if matches!(kind, Kind::V2 | Kind::Pids)
        && held.processes == Means::Watched
        && write("pids.max", processes.into())
    {
        held.processes = if kind == Kind::V2 { Means::CgroupV2 } else { Means::CgroupV1 };
        held.refused = counter("pids.events", "max");
    }
    match kind {
        Kind::V2 => {
            if write("memory.max", memory) {
                // What is asked for is the whole of it, not that and all of the swap.
                write("memory.swap.max", 0);
                held.memory = Means::CgroupV2;
                held.killed = counter("memory.events", "oom_kill");
            }
            if write("cpu.weight", CPU_WEIGHT) {
                held.cpu = Means::CgroupV2;
            }
            write("io.weight", CPU_WEIGHT);
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let name = entry.file_name();
                if name.to_str().is_some_and(|name| name.starts_with("hugetlb.") && name.ends_with(".max")) {
                    let _ = existing(&entry.path(), "0");
                }
            }
        }
        Kind::Memory => {
            if write("memory.limit_in_bytes", memory) {
                write("memory.memsw.limit_in_bytes", memory);
                held.memory = Means::CgroupV1;
                held.killed = counter("memory.oom_control", "oom_kill");
            }
        }
        Kind::Cpu => {
            if write("cpu.shares", CPU_SHARES) {
                held.cpu = Means::CgroupV1;
            }
        }
        Kind::Blkio => return write("blkio.weight", 100) || write("blkio.bfq.weight", 100),
        Kind::Pids => {}
    }
    *held != before
}

/// Removes what spawners left that were killed. One in use refuses to be removed.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(NAME)?.parse::<u32>().ok());
        if pid.is_some_and(has_ended) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Returns whether a process is gone, or would be if whoever inherited it looked: in many containers nobody does.
fn has_ended(pid: u32) -> bool {
    let stat = fs::read(format!("/proc/{pid}/stat"));
    // The state stands after the name, which may hold anything.
    let state = |stat: Vec<u8>| Some(stat[stat.iter().rposition(|byte| *byte == b')')?..].get(2).copied());
    stat.map_or(true, |stat| matches!(state(stat), Some(Some(b'Z' | b'X'))))
}

pub fn existing(file: &Path, text: &str) -> io::Result<()> {
    io::Write::write_all(&mut fs::OpenOptions::new().write(true).open(file)?, text.as_bytes())
}

impl Drop for Limits {
    fn drop(&mut self) {
        for Group { directory, .. } in &self.groups {
            // The kernel lets go of ended processes a moment after they were waited for.
            let _ = (0..50).find(|_| {
                let removed = fs::remove_dir(directory).is_ok();
                if !removed {
                    std::thread::sleep(std::time::Duration::from_millis(2));
                }
                removed
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounted(points: &[(&str, &str)]) -> Vec<Mount> {
        let mount = |(point, kind): &(&str, &str)| Mount {
            point: PathBuf::from(point),
            kind: (*kind).to_owned(),
            device: "0:1".to_owned(),
        };
        points.iter().map(mount).collect()
    }

    #[test]
    fn a_place_is_found_on_every_kind_of_machine() {
        const V2: &[(&str, &str)] = &[("/sys/fs/cgroup", "cgroup2")];
        const HYBRID: &[(&str, &str)] = &[
            ("/sys/fs/cgroup/unified", "cgroup2"),
            ("/sys/fs/cgroup/cpu,cpuacct", "cgroup"),
            ("/sys/fs/cgroup/pids", "cgroup"),
            ("/sys/fs/cgroup/memory", "cgroup"),
        ];
        let scope = "0::/user.slice/user-1.slice/user@1.service/app.slice/quire-host-7.scope/host\n";
        type Row = (&'static str, &'static [(&'static str, &'static str)], bool, &'static [&'static str]);
        let rows: &[Row] = &[
            (
                scope,
                V2,
                false,
                &[
                    "V2 /sys/fs/cgroup/user.slice/user-1.slice/user@1.service/app.slice/quire-host-7.scope",
                    "V2 /sys/fs/cgroup/user.slice/user-1.slice/user@1.service/app.slice/quire-host-7.scope/host",
                ],
            ),
            (
                "0::/app.slice/other-7.scope/host\n",
                V2,
                false,
                &["V2 /sys/fs/cgroup/app.slice/other-7.scope/host"],
            ),
            ("0::/s.scope\n", V2, true, &["V2 /sys/fs/cgroup/s.scope", "V2 /sys/fs/cgroup"]),
            ("0::/\n", V2, true, &["V2 /sys/fs/cgroup"]),
            ("0::/../../init.scope\n", V2, false, &[]),
            ("0::/\n", &[], true, &[]),
            (
                "5:memory:/a\n3:cpu,cpuacct:/\n2:pids:/b:c\n1:name=systemd:/\n0::/\n",
                HYBRID,
                false,
                &[
                    "V2 /sys/fs/cgroup/unified",
                    "Memory /sys/fs/cgroup/memory/a",
                    "Cpu /sys/fs/cgroup/cpu,cpuacct",
                    "Pids /sys/fs/cgroup/pids/b:c",
                ],
            ),
        ];
        for (own, mounts, is_root, expected) in rows {
            let found = places(own, &mounted(mounts), *is_root);
            let found: Vec<String> = found
                .iter()
                .map(|place| {
                    format!("{:?} {}", place.kind, place.parent.display()).trim_end_matches('/').to_owned()
                })
                .collect();
            assert_eq!(found, *expected, "{own}");
        }
    }

    #[test]
    fn no_limits_are_given_below_a_group_that_holds_processes() {
        type Row = (&'static [(&'static str, &'static str)], bool);
        let rows: &[Row] = &[
            (&[("cgroup.procs", "1\n2\n")], true), // the root of all has no type
            (&[("cgroup.type", "domain\n"), ("cgroup.procs", "")], true),
            (&[("cgroup.type", "domain\n"), ("cgroup.procs", "7\n")], false),
            (&[("cgroup.type", "domain threaded\n")], false),
        ];
        for (files, expected) in rows {
            let dir = tempfile::tempdir().unwrap();
            for (file, content) in *files {
                fs::write(dir.path().join(file), content).unwrap();
            }
            assert_eq!(may_have_limits_below(dir.path()), *expected, "{files:?}");
        }
    }

    #[test]
    fn what_can_be_written_is_held_and_nothing_else() {
        // The files that a new cgroup has, and then what holds.
        let rows: &[(Kind, &[&str], &str)] = &[
            (
                Kind::V2,
                &[
                    "pids.max",
                    "pids.events",
                    "memory.max",
                    "memory.swap.max",
                    "memory.events",
                    "cpu.weight",
                    "io.weight",
                ],
                "CgroupV2 CgroupV2 CgroupV2",
            ),
            (Kind::V2, &["pids.max", "pids.events"], "Watched CgroupV2 Watched"),
            (Kind::V2, &["hugetlb.2MB.max"], "Watched Watched Watched"),
            (Kind::V2, &[], "Watched Watched Watched"),
            (Kind::Memory, &["memory.limit_in_bytes", "memory.oom_control"], "CgroupV1 Watched Watched"),
            (Kind::Pids, &["pids.max"], "Watched CgroupV1 Watched"),
            (Kind::Cpu, &["cpu.shares"], "Watched Watched CgroupV1"),
        ];
        for (kind, files, expected) in rows {
            let dir = tempfile::tempdir().unwrap();
            for file in *files {
                fs::write(dir.path().join(file), "").unwrap();
            }
            let mut held = Held::default();
            let any = set(dir.path(), *kind, 64 << 20, 40, &mut held);
            assert_eq!(
                format!("{:?} {:?} {:?}", held.memory, held.processes, held.cpu),
                *expected,
                "{files:?}"
            );
            assert_eq!(any, *expected != "Watched Watched Watched");
            for (file, content) in [
                ("pids.max", "40"),
                ("memory.max", "67108864"),
                ("memory.swap.max", "0"),
                ("memory.limit_in_bytes", "67108864"),
                ("hugetlb.2MB.max", "0"),
                ("cpu.weight", "33"),
            ] {
                if files.contains(&file) {
                    assert_eq!(fs::read_to_string(dir.path().join(file)).unwrap(), content, "{file}");
                }
            }
            assert_eq!(
                held.killed.is_some(),
                files.iter().any(|file| file.starts_with("memory.events") || *file == "memory.oom_control")
            );
            assert_eq!(held.refused.is_some(), files.contains(&"pids.events"));
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), files.len(), "a file was made");
        }
    }
}
