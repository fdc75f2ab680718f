//! What a skeleton holds: directories to be the person's, and the files that are changed in place.

use crate::machine::{self, Mount};
use crate::{BIN_INSIDE, own};
use quire_core::Hash;
use quire_core::bytes::escape;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One thing to be made; its directory comes before it.
pub struct Entry {
    /// Relative to the root.
    pub path: PathBuf,
    pub kind: Kind,
}

pub enum Kind {
    Directory {
        mode: u32,
    },
    /// A directory that the person cannot read. A merged directory of which one side cannot be read cannot be used at all,
    /// so it is empty.
    Closed,
    /// The file of that path, by all that tells one content from another; empty where it cannot be read and is `needed`.
    Copy {
        mtime: i64,
        mtime_nsec: i64,
        ctime: i64,
        ctime_nsec: i64,
        ino: u64,
        size: u64,
        needed: bool,
    },
    Text(String),
}

impl Entry {
    /// Returns what is the same only for the same entry, of the same content.
    pub fn stamp(&self) -> String {
        let path = escape(self.path.as_os_str().as_bytes());
        match &self.kind {
            Kind::Directory { mode } => format!("{path} {mode:o}\n"),
            Kind::Closed => format!("{path} closed\n"),
            Kind::Copy { mtime, mtime_nsec, ctime, ctime_nsec, ino, size, .. } => {
                format!("{path} {mtime}.{mtime_nsec} {ctime}.{ctime_nsec} {ino} {size}\n")
            }
            Kind::Text(text) => format!("{path} {text:?}\n"),
        }
    }
}

/// The parts of `/` that packages are installed into, and how many levels of directories below each are made: in `/usr` all,
/// so that what is installed can be upgraded; in the others as deep as packages put their own into them, because people
/// keep whole sites there.
const PARTS: [(&str, u32); 4] = [("usr", 32), ("var", 4), ("opt", 4), ("srv", 4)];

/// Levels below `/etc`.
const ETC_DEPTH: u32 = 8;

/// Directories outside of `/etc` whose files are changed in place.
const CHANGED: [&str; 10] = [
    "usr/share/info",
    "var/cache/apt",
    "var/cache/apt/archives",
    "var/cache/debconf",
    "var/lib/apt",
    "var/lib/dpkg",
    "var/lib/dpkg/alternatives",
    "var/lib/dpkg/triggers",
    "var/lib/ucf",
    "var/log/apt",
];

/// Logs that package tools add to. Other logs of the machine change all the time, and are seen as they are.
const LOGS: [&str; 3] = ["alternatives.log", "dpkg.log", "fontconfig.log"];

/// The longest file that is copied, in bytes. What is longer is written anew by who changes it.
const FILE_MAX: u64 = 4 << 20;

/// Kept by package managers, and changed with every package.
const PACKAGES: [&str; 6] = [
    "/var/lib/dpkg/status",
    "/var/lib/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/Packages.db",
    "/var/lib/pacman/local",
    "/lib/apk/db/installed",
];

/// Where people and other installers make directories, and how deep they are looked for.
const BY_HAND: [(&str, u32); 7] =
    [("usr/local", 4), ("opt", 2), ("srv", 2), ("usr/lib", 0), ("usr/share", 0), ("var", 0), ("var/lib", 0)];

/// To be changed when other things are made from the same system.
const FORM: &str = "2";

/// Returns every directory of the system, and every lock.
pub fn outline() -> Vec<Entry> {
    let mut list = List::new();
    for (part, depth) in PARTS {
        list.directory(Path::new(part), depth, &mut |list, path, name| {
            if is_lock(name) {
                list.push(path, Kind::Text(String::new()));
            }
        });
    }
    list.entries
}

/// Returns what changes when the outline does, or soon after.
pub fn outline_key() -> String {
    let mut text = FORM.to_owned();
    for path in PACKAGES {
        if let Ok(stat) = fs::metadata(path) {
            text.push_str(&format!("{path} {} {} {}\n", stat.mtime(), stat.mtime_nsec(), stat.ino()));
        }
    }
    let mut list = List::new();
    for (part, depth) in BY_HAND {
        list.directory(Path::new(part), depth + 1, &mut |_, _, _| ());
    }
    for entry in list.entries {
        text.push_str(&entry.stamp());
    }
    Hash::of(text.as_bytes()).short()
}

/// Returns `/etc`, and the files of package managers that are changed in place.
pub fn files() -> Vec<Entry> {
    let mut list = List::new();
    list.directory(Path::new("etc"), ETC_DEPTH, &mut |list, path, name| {
        if is_lock(name) {
            list.push(path, Kind::Text(String::new()));
        } else if !ACCOUNTS.iter().any(|(made, _)| path == Path::new(made)) {
            list.copy(path, false);
        }
    });
    for (path, names) in ACCOUNTS {
        // Packages add users, and ask for a file that knows those there are; its passwords are nobody's business.
        if let Ok(names) = fs::read_to_string(names) {
            list.push(path.into(), Kind::Text(locked(&names)));
        }
    }
    if list.has("etc/apt/apt.conf.d") {
        // apt would give its downloads to a user that is not there.
        list.push("etc/apt/apt.conf.d/00quire".into(), Kind::Text("APT::Sandbox::User \"root\";\n".into()));
    }
    if list.has("etc/dpkg/dpkg.cfg.d") {
        let hook = format!("pre-invoke={BIN_INSIDE}/quire {}\n", own::NAME);
        list.push("etc/dpkg/dpkg.cfg.d/00quire".into(), Kind::Text(hook));
    }
    for directory in CHANGED {
        list.with_files(Path::new(directory), &|_| true);
    }
    // apt gives what it keeps the owner and mode it wants, whether that is new or not.
    list.with_files(Path::new("var/lib/apt/lists"), &|name| name.as_bytes().ends_with(b"Release"));
    list.directory(Path::new("var/cache/man"), 3, &mut |list, path, _| list.copy(path, false));
    list.with_files(Path::new("var/log"), &|name| LOGS.iter().any(|log| name == *log));
    list.entries
}

/// Files with passwords, and the readable files that name the same accounts.
const ACCOUNTS: [(&str, &str); 4] = [
    ("etc/gshadow", "/etc/group"),
    ("etc/gshadow-", "/etc/group"),
    ("etc/shadow", "/etc/passwd"),
    ("etc/shadow-", "/etc/passwd"),
];

/// Returns shadow(5) or gshadow(5) for the accounts of passwd(5) or group(5), all locked.
fn locked(accounts: &str) -> String {
    let names = accounts.lines().filter_map(|line| line.split_once(':'));
    let is_people = accounts.lines().any(|line| line.matches(':').count() == 6);
    let rest = if is_people { "!:::::::" } else { "!::" };
    names.map(|(name, _)| format!("{name}:{rest}\n")).collect()
}

fn is_lock(name: &OsStr) -> bool {
    [".pwd.lock", "lock", "Lock", "lock-frontend"].iter().any(|lock| name == *lock)
}

struct List {
    entries: Vec<Entry>,
    listed: HashSet<PathBuf>,
    /// Mount points of what is no disk of the machine's own: no skeleton goes over those.
    foreign: HashSet<PathBuf>,
}

impl List {
    fn new() -> List {
        let mounts = machine::mounts(&fs::read("/proc/self/mountinfo").unwrap_or_default());
        let foreign =
            mounts.into_iter().filter(|mount| !mount.is_own_disk()).map(|Mount { point, .. }| point);
        List { entries: Vec::new(), listed: HashSet::new(), foreign: foreign.collect() }
    }

    fn has(&self, path: &str) -> bool {
        self.listed.contains(Path::new(path))
    }

    fn push(&mut self, path: PathBuf, kind: Kind) {
        if let Kind::Directory { .. } | Kind::Closed = kind {
            self.listed.insert(path.clone());
        }
        self.entries.push(Entry { path, kind });
    }

    /// Lists a directory, those below it to a depth, and what `file` lists of the other entries in them.
    fn directory(&mut self, path: &Path, depth: u32, file: &mut dyn FnMut(&mut List, PathBuf, &OsStr)) {
        let real = Path::new("/").join(path);
        let Ok(stat) = fs::symlink_metadata(&real) else { return };
        if !stat.is_dir() || self.foreign.contains(&real) {
            return;
        }
        // Listing and entering are two rights, and both are needed.
        let listed = fs::read_dir(&real).ok().filter(|_| fs::metadata(real.join(".")).is_ok());
        let Some(listed) = listed else { return self.push(path.into(), Kind::Closed) };
        self.push(path.into(), Kind::Directory { mode: stat.mode() & 0o1777 });
        // What lies there is not the system's, and comes and goes.
        if path == Path::new("var/tmp") {
            return;
        }
        // A key is made of what is listed, and the order in which a directory is read says nothing.
        let mut listed: Vec<_> = listed.flatten().collect();
        listed.sort_by_key(fs::DirEntry::file_name);
        // One that changes meanwhile may give a name twice.
        listed.dedup_by_key(|entry| entry.file_name());
        for entry in listed {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && depth > 0 {
                self.directory(&path.join(entry.file_name()), depth - 1, file);
            } else if kind.is_file() {
                file(self, path.join(entry.file_name()), &entry.file_name());
            }
        }
    }

    /// Lists a directory, the way to it, and those of its files that are `meant`.
    fn with_files(&mut self, directory: &Path, meant: &dyn Fn(&OsStr) -> bool) {
        let mut way: Vec<&Path> = directory.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
        way.reverse();
        for part in way {
            if !self.listed.contains(part) {
                self.directory(part, 0, &mut |_, _, _| ());
            }
        }
        // Absent, closed, or of another file system: nothing in it is changed in place.
        let is_open = |entry: &Entry| entry.path == directory && matches!(entry.kind, Kind::Directory { .. });
        if !self.entries.iter().any(is_open) {
            return;
        }
        let files = fs::read_dir(Path::new("/").join(directory)).into_iter().flatten().flatten();
        let mut files: Vec<_> =
            files.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file())).collect();
        files.sort_by_key(fs::DirEntry::file_name);
        for entry in files {
            let (name, path) = (entry.file_name(), directory.join(entry.file_name()));
            match is_lock(&name) {
                true => self.push(path, Kind::Text(String::new())),
                // A log or a list of root's that cannot be read: an empty one serves as well.
                false if meant(&name) => self.copy(path, true),
                false => {}
            }
        }
    }

    fn copy(&mut self, path: PathBuf, needed: bool) {
        let Ok(stat) = fs::symlink_metadata(Path::new("/").join(&path)) else { return };
        if !stat.is_file() || stat.len() > FILE_MAX {
            return;
        }
        let kind = Kind::Copy {
            mtime: stat.mtime(),
            mtime_nsec: stat.mtime_nsec(),
            ctime: stat.ctime(),
            ctime_nsec: stat.ctime_nsec(),
            ino: stat.ino(),
            size: stat.len(),
            needed,
        };
        self.push(path, kind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_stay_and_passwords_are_not_asked_for() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(locked(passwd), "root:!:::::::\nann:!:::::::\n");
        assert_eq!(locked("adm:x:4:ann\n"), "adm:!::\n");
    }

    #[test]
    fn directories_come_before_what_is_in_them_and_no_entry_twice() {
        for list in [outline(), files()] {
            let mut seen = HashSet::from([PathBuf::new()]);
            for Entry { path, .. } in list {
                assert!(seen.contains(path.parent().unwrap()), "{path:?} before its directory");
                assert!(seen.insert(path.clone()), "{path:?} twice");
            }
        }
    }
}
