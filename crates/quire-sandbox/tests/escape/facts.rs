//! What holds still on a machine, in a form that can be compared: settings of the kernel, and files with all that would show that
//! somebody touched them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Below `/proc/sys`: what moves by itself.
const MOVES: &[(&str, &str)] = &[
    ("fs/aio-nr", "requests in flight now"),
    ("fs/dentry-state", "names in memory now"),
    ("fs/file-nr", "open files now"),
    ("fs/inode-nr", "inodes in memory now"),
    ("fs/inode-state", "inodes in memory now"),
    ("fs/quota", "counts of what was written"),
    ("kernel/ns_last_pid", "the last process"),
    ("kernel/perf_event_max_sample_rate", "lowered by the kernel where interrupts are slow"),
    ("kernel/pty/nr", "terminals now"),
    ("kernel/random/entropy_avail", "collected all the time"),
    ("kernel/random/uuid", "new at each reading"),
    ("kernel/sched_domain", "made anew with the processors"),
    ("net/netfilter/nf_conntrack_count", "connections now"),
];

/// Reads every setting of the kernel. Those that are only written stay out.
pub fn settings(directory: &Path, facts: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = path.strip_prefix("/proc/sys").unwrap_or(&path);
        if MOVES.iter().any(|(moves, _)| name.starts_with(moves)) {
            continue;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            settings(&path, facts);
        } else if let Ok(value) = fs::read(&path) {
            facts.insert(path.display().to_string(), String::from_utf8_lossy(&value).into_owned());
        }
    }
}

/// Returns everything about every file below a directory that could show that somebody touched it.
pub fn fingerprint(directory: &Path) -> String {
    use std::fmt::Write;
    use std::os::unix::fs::MetadataExt;
    let mut entries: Vec<PathBuf> =
        fs::read_dir(directory).expect("a directory").map(|e| e.expect("an entry").path()).collect();
    entries.sort();
    let mut print = String::new();
    for path in std::iter::once(directory.to_path_buf()).chain(entries) {
        let stat = fs::symlink_metadata(&path).expect("a file");
        let kind = stat.file_type();
        let content = match () {
            () if kind.is_file() => format!("{:?}", fs::read(&path)),
            () if kind.is_symlink() => format!("{:?}", fs::read_link(&path)),
            () => String::new(),
        };
        writeln!(
            print,
            "{path:?} {} {:o} {}:{} {}.{} {}.{} {content}",
            stat.ino(),
            stat.mode(),
            stat.uid(),
            stat.gid(),
            stat.mtime(),
            stat.mtime_nsec(),
            stat.ctime(),
            stat.ctime_nsec()
        )
        .expect("memory");
        if kind.is_dir() && path != directory {
            print.push_str(&fingerprint(&path));
        }
    }
    print
}
