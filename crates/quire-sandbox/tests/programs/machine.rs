//! What quire could have changed of the machine, before a run and after it.
//!
//! Others work on a machine at the same time, so everything that is compared is either nobody's to change meanwhile or can be
//! told to be of this run: by its mount namespace, its users, its children. Who installs a package meanwhile is found too.

use crate::facts::{fingerprint, settings};
use rustix::mount::MountPropagationFlags;
use rustix::thread::UnshareFlags;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Written by whoever makes a user, which others' tests do as well.
const ACCOUNTS: [&str; 6] = ["passwd", "group", "shadow", "gshadow", "subuid", "subgid"];

/// How the facts begin that tell of what was left.
const LEFT: [&str; 3] = ["left ", "process ", "cgroup "];

/// Returns whether a name begins as those of the users whom other tests make for themselves, with their process's number.
fn is_of_another_test(name: &str) -> bool {
    name.strip_prefix("quire").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

pub struct Machine {
    facts: BTreeMap<String, String>,
    canary: tempfile::TempDir,
    /// Whose files and processes are of the run: besides, those who are users inside.
    uid: u32,
}

impl Machine {
    /// Notes the machine. This process gets a mount namespace of its own, in which no mount of others' shows, and takes in
    /// the orphans of the run; it must have one thread.
    pub fn note(uid: u32) -> io::Result<Machine> {
        // SAFETY: there is one thread, and descriptors stay shared.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS)? };
        rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let canary = tempfile::Builder::new().prefix("canary-").tempdir_in("/var/tmp")?;
        fs::create_dir(canary.path().join("deep"))?;
        for name in ["one", "deep/two"] {
            fs::write(canary.path().join(name), name)?;
        }
        let facts = facts(canary.path(), uid);
        Ok(Machine { facts, canary, uid })
    }

    /// Returns what is not as it was.
    pub fn changed(&self) -> Vec<String> {
        let now = facts(self.canary.path(), self.uid);
        let keys: BTreeSet<&String> = self.facts.keys().chain(now.keys()).collect();
        let is_moved = |key: &&String| match LEFT.iter().any(|left| key.starts_with(left)) {
            // What goes was there before, and others'.
            true => !self.facts.contains_key(*key),
            // Who removes a directory takes along what is mounted there in other namespaces.
            false if is_mount_of_nothing(key) => false,
            false => self.facts.get(*key) != now.get(*key),
        };
        let moved = keys.into_iter().filter(is_moved);
        moved.map(|key| format!("{key}: was {:?}, is {:?}", self.facts.get(key), now.get(key))).collect()
    }
}

/// Returns whether a fact is of a mount whose place is no longer there.
fn is_mount_of_nothing(fact: &str) -> bool {
    let place = fact.strip_prefix("mount ").and_then(|line| line.split(' ').nth(4));
    place.is_some_and(|place| {
        fs::symlink_metadata(place).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    })
}

fn facts(canary: &Path, uid: u32) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    settings(Path::new("/proc/sys"), &mut facts);
    let lines = |path: &str| fs::read_to_string(path).unwrap_or_default();
    for mount in lines("/proc/self/mountinfo").lines() {
        facts.insert(format!("mount {mount}"), String::new());
    }
    // The names that sandboxes give theirs.
    for device in names("/sys/class/net") {
        if ["lo", "way"].contains(&&*device) || device.starts_with("eth") || device.starts_with("veth") {
            facts.insert(format!("network device {device}"), String::new());
        }
    }
    for list in ACCOUNTS {
        for account in lines(&format!("/etc/{list}")).lines().filter(|line| !is_of_another_test(line)) {
            facts.insert(format!("/etc/{list}: {account}"), String::new());
        }
    }
    for top in ["/etc", "/usr", "/opt", "/boot", "/var/lib/dpkg", "/var/lib/apt", "/var/spool/cron"] {
        tree(Path::new(top), &mut facts);
    }
    for home in ["/root", "/var/lib", "/var/cache", "/srv", "/home"] {
        for name in names(home).iter().filter(|name| !is_of_another_test(name)) {
            facts.insert(format!("{home} has {name}"), String::new());
        }
    }
    facts.insert("canary".into(), fingerprint(canary));
    let of_run = |owner: u32| owner == uid || (1_000_000..2_000_000).contains(&owner);
    for place in ["/", "/tmp", "/var/tmp", "/dev/shm", "/run", "/var/lock", "/run/user", "/dev/mqueue"] {
        for name in names(place) {
            let path = Path::new(place).join(name);
            if fs::symlink_metadata(&path).is_ok_and(|stat| of_run(stat.uid())) {
                facts.insert(format!("left {}", path.display()), String::new());
            }
        }
    }
    processes(uid, &mut facts);
    // Quire makes its own below those that this process is in.
    for line in lines("/proc/self/cgroup").lines() {
        if let [_, hierarchy, own] = *line.splitn(3, ':').collect::<Vec<_>>() {
            let hierarchy = hierarchy.strip_prefix("name=").unwrap_or(hierarchy);
            cgroups(Path::new(&format!("/sys/fs/cgroup/{hierarchy}{own}")), &mut facts);
        }
    }
    facts
}

fn names(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Notes every file below a directory. Of directories only owners and modes: their times tell nothing that their files do not.
fn tree(directory: &Path, facts: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let is_account = directory == Path::new("/etc")
            && ACCOUNTS.iter().any(|list| name.to_string_lossy().trim_start_matches('.').starts_with(list));
        // Python writes what it compiled wherever it may, whoever starts it.
        if is_account || name == "__pycache__" {
            continue;
        }
        let Ok(stat) = fs::symlink_metadata(&path) else { continue };
        let owner = format!("{:o} {}:{}", stat.mode(), stat.uid(), stat.gid());
        let told = match stat.is_dir() {
            true => owner,
            false => {
                let times =
                    [stat.mtime(), stat.mtime_nsec(), stat.ctime(), stat.ctime_nsec()].map(|n| n.to_string());
                format!("{owner} {} {} {}", stat.ino(), stat.size(), times.join(" "))
            }
        };
        facts.insert(path.display().to_string(), told);
        if stat.is_dir() {
            tree(&path, facts);
        }
    }
}

/// Notes processes of the run's users, and those that the run left to this process.
fn processes(uid: u32, facts: &mut BTreeMap<String, String>) {
    let me = std::process::id().to_string();
    for pid in names("/proc").iter().filter(|name| name.parse::<u32>().is_ok()) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|values| values.split_whitespace().next()).unwrap_or_default()
        };
        let is_of_run = field("Uid:") == uid.to_string() || field("PPid:") == me;
        // One that has ended is only waited for, by whoever runs this.
        if is_of_run && field("State:") != "Z" {
            facts.insert(format!("process {pid} {}", field("Name:")), String::new());
        }
    }
}

/// Notes the cgroups here that quire named after a process which is over.
fn cgroups(directory: &Path, facts: &mut BTreeMap<String, String>) {
    for name in names(&directory.to_string_lossy()) {
        let process = name.strip_prefix("quire-").and_then(|process| process.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            facts.insert(format!("cgroup {}", directory.join(name).display()), String::new());
        }
    }
}
