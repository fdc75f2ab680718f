//! What the machine is like, before and after a run. Nothing of a run may show in it: a difference is a failed test.
//!
//! Much on a machine moves by itself, or by others' work at the same time. So what is compared either does not move, or can
//! be told to be of the run: a process that outlives it would be a child of this one, which takes in orphans.

use crate::facts::{fingerprint, settings};
use libtest_mimic::Failed;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub const NAME: &str = "fingerprint";
pub const MUST: &str = "sysctls, mounts, canaries, accounts, sockets and processes are as before the run";

/// What a run must not change.
pub struct Machine {
    facts: BTreeMap<String, String>,
    canaries: Vec<Child>,
    canary_tree: PathBuf,
}

impl Machine {
    /// Notes the machine, and sets canaries: files in `base` and processes that live until something ends them.
    pub fn before(base: &Path) -> Machine {
        // SAFETY: takes plain numbers.
        unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
        let canary_tree = base.join("canaries");
        fs::create_dir_all(canary_tree.join("deep")).expect("a directory");
        for name in ["one", "deep/two"] {
            fs::write(canary_tree.join(name), name).expect("a canary");
        }
        std::os::unix::fs::symlink("one", canary_tree.join("link")).expect("a canary");
        let sleep = |uid: u32| {
            let mut command = Command::new("sleep");
            std::os::unix::process::CommandExt::uid(&mut command, uid);
            command.arg("86398.75").stdin(Stdio::null()).spawn().expect("a canary")
        };
        Machine { facts: facts(&canary_tree), canaries: vec![sleep(0), sleep(54_321)], canary_tree }
    }

    /// Says what has changed.
    pub fn compare(mut self) -> Result<(), Failed> {
        let mut changes = Vec::new();
        for canary in &mut self.canaries {
            match canary.try_wait() {
                Ok(None) => {}
                ended => changes.push(format!("process {} ended: {ended:?}", canary.id())),
            }
            let _ = canary.kill();
            let _ = canary.wait();
        }
        for (pid, line) in left_over() {
            changes.push(format!("a process of the run is left: {line}"));
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let after = facts(&self.canary_tree);
        let keys: BTreeSet<&String> = self.facts.keys().chain(after.keys()).collect();
        for key in keys {
            let (was, is) = (self.facts.get(key), after.get(key));
            if was != is {
                changes.push(format!("{key}: was {was:?}, is {is:?}"));
            }
        }
        if changes.is_empty() { Ok(()) } else { Err(changes.join("\n").into()) }
    }
}

fn facts(canary_tree: &Path) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    settings(Path::new("/proc/sys"), &mut facts);
    for file in ["mounts", "swaps", "cmdline", "net/route", "sys/kernel/random/boot_id"] {
        // Mounts of the process that looks are those of the machine.
        let path = Path::new("/proc").join(if file == "mounts" { "self/mountinfo" } else { file });
        for line in fs::read_to_string(&path).unwrap_or_default().lines() {
            facts.insert(format!("{file}: {line}"), String::new());
        }
    }
    for link in fs::read_dir("/sys/class/net").into_iter().flatten().flatten() {
        facts.insert(format!("device {:?}", link.file_name()), String::new());
    }
    facts.insert("canaries".into(), fingerprint(canary_tree));
    tree(Path::new("/etc"), &mut facts);
    for home in
        fs::read_dir("/home").into_iter().flatten().flatten().map(|home| home.path()).chain(["/root".into()])
    {
        for entry in fs::read_dir(home).into_iter().flatten().flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(b".")
                && entry.file_type().is_ok_and(|kind| kind.is_file())
            {
                stat(&entry.path(), &mut facts);
            }
        }
    }
    for directory in
        ["/", "/boot", "/dev", "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/local/bin", "/var/spool/cron"]
    {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            // Terminals come and go with those who use them, and so does what stands in busy directories' times.
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) && !entry.path().starts_with("/dev/pts") {
                owner(&entry.path(), &mut facts);
            }
        }
    }
    facts
}

fn tree(directory: &Path, facts: &mut BTreeMap<String, String>) {
    stat(directory, facts);
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            tree(&entry.path(), facts);
        } else {
            stat(&entry.path(), facts);
        }
    }
}

fn stat(path: &Path, facts: &mut BTreeMap<String, String>) {
    if let Ok(stat) = fs::symlink_metadata(path) {
        let told = format!(
            "{} {:o} {} {}.{}",
            stat.ino(),
            stat.mode(),
            stat.size(),
            stat.ctime(),
            stat.ctime_nsec()
        );
        facts.insert(path.display().to_string(), told);
    }
}

fn owner(path: &Path, facts: &mut BTreeMap<String, String>) {
    if let Ok(stat) = fs::symlink_metadata(path) {
        facts.insert(path.display().to_string(), format!("{:o} {}:{}", stat.mode(), stat.uid(), stat.gid()));
    }
}

/// Returns the processes that the run left behind, which this process has taken in.
fn left_over() -> Vec<(rustix::process::Pid, String)> {
    let me = std::process::id().to_string();
    let mut left = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((_, after)) = stat.rsplit_once(") ") else { continue };
        let mut fields = after.split(' ');
        if let (Some(state), Some(parent)) = (fields.next(), fields.next())
            && parent == me
            && state != "Z"
        {
            left.extend(pid_of(&stat).map(|pid| (pid, stat.clone())));
        }
    }
    left
}

fn pid_of(stat: &str) -> Option<rustix::process::Pid> {
    rustix::process::Pid::from_raw(stat.split(' ').next()?.parse().ok()?)
}
