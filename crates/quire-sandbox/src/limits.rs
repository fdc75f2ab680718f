//! Bounds on all processes of a sandbox together: a cgroup where this machine lets us make one. Where it does not, limits
//! on each process stand in ([`crate::confine`]).

use crate::Spec;
use crate::machine;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What the name of each of our cgroups starts with; its spawner's pid follows.
const NAME: &str = "quire-";

/// The cgroups of one sandbox, removed when dropped; every process in them must have ended.
pub struct Limits {
    directories: Vec<PathBuf>,
    pub memory_is_bounded: bool,
}

impl Limits {
    /// Makes what can be made, for the sandbox of this process.
    pub fn make(spec: &Spec) -> Limits {
        let name = format!("{NAME}{}", std::process::id());
        let mut limits = Limits { directories: Vec::new(), memory_is_bounded: false };
        let (Ok(own), Ok(mountinfo)) =
            (fs::read_to_string("/proc/self/cgroup"), fs::read("/proc/self/mountinfo"))
        else {
            return limits;
        };
        let mounts = machine::mounts(&mountinfo);
        let find = |kind: &str, end: &str| {
            mounts
                .iter()
                .find(|mount| mount.kind == kind && mount.point.ends_with(end))
                .map(|mount| &mount.point)
        };
        for line in own.lines() {
            // hierarchy:controllers:path, as cgroups(7) has it; a path that leads out of our view starts with /..
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
            let place = match controllers {
                "" => mounts.iter().find(|mount| mount.kind == "cgroup2").map(|mount| &mount.point),
                "pids" | "memory" => find("cgroup", controllers),
                _ => None,
            };
            let Some(place) = place.filter(|_| !path.contains("..")) else { continue };
            let parent = place.join(path.trim_start_matches('/'));
            let set: Vec<(&str, u64)> = match controllers {
                "pids" => vec![("pids.max", u64::from(spec.processes))],
                "memory" => vec![("memory.limit_in_bytes", spec.memory_bytes)],
                _ => {
                    // Fails where a controller is not ours to give on; then the files below are missing.
                    let _ = fs::write(parent.join("cgroup.subtree_control"), "+pids +memory");
                    vec![("pids.max", u64::from(spec.processes)), ("memory.max", spec.memory_bytes)]
                }
            };
            sweep(&parent);
            let directory = parent.join(&name);
            if fs::create_dir(&directory).is_err() {
                continue;
            }
            let written: io::Result<()> =
                set.iter().try_for_each(|(file, value)| existing(&directory.join(file), &value.to_string()));
            if written.is_ok() {
                limits.memory_is_bounded |= set.iter().any(|(file, _)| file.starts_with("memory"));
                limits.directories.push(directory);
            } else {
                let _ = fs::remove_dir(&directory);
            }
        }
        limits
    }

    /// Puts a process, and all that it will start, under these limits.
    pub fn take(&self, pid: i32) -> io::Result<()> {
        self.directories
            .iter()
            .try_for_each(|directory| existing(&directory.join("cgroup.procs"), &pid.to_string()))
    }
}

/// Removes what spawners left that were killed. One in use refuses to be removed.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(NAME)?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

fn existing(file: &Path, text: &str) -> io::Result<()> {
    io::Write::write_all(&mut fs::OpenOptions::new().write(true).open(file)?, text.as_bytes())
}

impl Drop for Limits {
    fn drop(&mut self) {
        for directory in &self.directories {
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
