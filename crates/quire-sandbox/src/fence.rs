//! Which files can be reached on the rung [`crate::Rung::Copy`]: a list of what may be, held by Landlock. What is not in it
//! cannot be opened, made or removed, whoever owns it.
//!
//! Landlock gives rights to a directory with all that is in it and takes none back further down. So a directory that holds
//! a secret is given entry by entry, without the right to list it, and the secret is left out.

use crate::copy::Places;
use crate::tree::{Broken, Home, secrets_of_machine};
use crate::unshared::{self, NEEDED};
use crate::{Spec, hide, links, nameless};
use landlock::{
    Access, AccessFs, BitFlags, PathBeneath, RulesetAttr, RulesetCreated, RulesetCreatedAttr, make_bitflags,
};
use rustix::fs::{Mode, OFlags};
use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Parts of the machine that programs are made of. Logs, mail, spools and databases are none.
const SYSTEM: &[&str] = &[
    "/bin",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix",
    "/opt",
    "/sbin",
    "/snap",
    "/usr",
    "/var/cache/fontconfig",
    "/var/lib/alternatives",
    "/var/lib/dpkg",
    "/var/lib/flatpak/exports",
    "/var/lib/ghc",
    "/var/lib/rpm",
    "/var/lib/texmf",
];

/// What the kernel tells. `/proc` shows every process; of those outside Landlock lets nothing be read that takes more than
/// their number.
const KERNEL: &[&str] = &["/proc", "/sys/devices/system", "/sys/fs/cgroup", "/sys/kernel/mm"];

const DEVICES: &[&str] = &["/dev/full", "/dev/null", "/dev/random", "/dev/urandom", "/dev/zero"];

const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{Execute | ReadFile | ReadDir});
const READ_FILE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{Execute | ReadFile});
const USE_DEVICE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | WriteFile | Truncate | IoctlDev});

/// What may be done in the sandbox's own directories: everything but making devices.
fn own() -> BitFlags<AccessFs> {
    AccessFs::from_all(NEEDED) & !make_bitflags!(AccessFs::{MakeChar | MakeBlock | IoctlDev})
}

/// Confines this process, and all that it will start, to what the list names.
pub fn enter(spec: &Spec, places: &Places) -> Result<(), Broken> {
    let rules = unshared::rules()?
        .handle_access(AccessFs::from_all(NEEDED))
        .and_then(|rules| rules.create())
        .during_landlock()?;
    let mut fence = Fence { rules, hidden: hidden(spec) };
    for part in SYSTEM.iter().chain(KERNEL) {
        fence.read(Path::new(part))?;
    }
    let home = Home::of(spec);
    let asked = spec.show.iter().map(|path| home.mine.join(path.strip_prefix("~").unwrap_or(path)));
    for tool in hide::TOOLS.iter().map(|tool| home.mine.join(tool)).chain(asked) {
        fence.read(&tool)?;
    }
    for linked in &places.linked {
        fence.give(linked, READ)?;
    }
    fence.give(&spec.binary, READ_FILE)?;
    if let Some(given) = &spec.given {
        fence.give(given, READ)?;
    }
    for device in DEVICES {
        fence.give(Path::new(device), USE_DEVICE)?;
    }
    for place in places.own() {
        fence.give(place, own())?;
    }
    fence.rules.restrict_self().map(drop).during_landlock()
}

/// Returns what must not be reached, with links resolved: secrets, and where quire keeps its own.
fn hidden(spec: &Spec) -> BTreeSet<PathBuf> {
    let mut names = secrets_of_machine(spec, &Home::of(spec));
    names.extend(["/etc/shadow", "/etc/gshadow", "/etc/shadow-", "/etc/gshadow-"].map(PathBuf::from));
    names.extend(nameless::files().map(PathBuf::from));
    if rustix::process::geteuid().is_root() {
        // Root may read what services keep from others. It is not needed to build anything.
        closed_to_others(Path::new("/etc"), &mut names);
    }
    // The folders themselves, which the copies stand for, and quire's own directories may lie in a part of the system.
    names.extend(spec.folders.iter().flat_map(|folder| folder.frozen.iter().chain([&folder.at])).cloned());
    names.extend([&spec.state, &spec.layer, &spec.out].into_iter().chain(&spec.layers).cloned());
    names.retain(|name| fs::symlink_metadata(name).is_ok());
    names.extend(links::to(&names, &spec.folders));
    names.iter().filter_map(|name| fs::canonicalize(name).ok()).collect()
}

fn closed_to_others(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(stat) = entry.metadata() else { continue };
        if stat.is_symlink() {
            continue;
        }
        let needed = if stat.is_dir() { 0o5 } else { 0o4 };
        if stat.mode() & needed != needed {
            found.push(entry.path());
        } else if stat.is_dir() {
            closed_to_others(&entry.path(), found);
        }
    }
}

struct Fence {
    rules: RulesetCreated,
    hidden: BTreeSet<PathBuf>,
}

impl Fence {
    /// Lets `path` be read and run, apart from what is hidden at or below it.
    fn read(&mut self, path: &Path) -> Result<(), Broken> {
        // What is not there, or not his, is not given.
        let Ok(real) = fs::canonicalize(path) else { return Ok(()) };
        if self.hidden.iter().any(|hidden| real.starts_with(hidden)) {
            return Ok(());
        }
        if !self.hidden.iter().any(|hidden| hidden.starts_with(&real)) {
            let rights = if real.is_dir() { READ } else { READ_FILE };
            return self.give(&real, rights);
        }
        let Ok(entries) = fs::read_dir(&real) else { return Ok(()) };
        for entry in entries.flatten() {
            // A link gives nothing: where it leads is given by itself, or it is not.
            if !entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                self.read(&entry.path())?;
            }
        }
        Ok(())
    }

    fn give(&mut self, path: &Path, rights: BitFlags<AccessFs>) -> Result<(), Broken> {
        let Ok(place) = open(path) else { return Ok(()) };
        let rule = PathBeneath::new(place, rights);
        (&mut self.rules).add_rule(rule).map(drop).during_landlock()
    }
}

fn open(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// Says what was being done when Landlock refused.
trait DuringLandlock<T> {
    fn during_landlock(self) -> Result<T, Broken>;
}

impl<T, E: std::error::Error> DuringLandlock<T> for Result<T, E> {
    fn during_landlock(self) -> Result<T, Broken> {
        self.map_err(|error| Broken(format!("fencing off the machine: {error}")))
    }
}
