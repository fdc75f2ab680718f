//! A thin layer over the live system, for an ordinary user, who is the only one there is inside.
//!
//! Files of anyone else's belong to nobody there, and the kernel copies none of them up: without help nothing could be
//! installed. A directory of an overlay, though, belongs to whom its newest layer says. So the system's directories are
//! made once more, empty and his, as deep as packages put their own into them; and the few files that are changed in
//! place, rather than replaced, are copied.

use rustix::fs::XattrFlags;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// The parts of `/` that packages are installed into.
const PARTS: [&str; 5] = ["/etc", "/opt", "/srv", "/usr", "/var"];

/// How many levels below a part are made. Measured on Debian 12: 3,000 directories with four, 16,000 with all, and no
/// package puts files of its own into what another one has further down.
const DEPTH: u32 = 4;

/// Directories whose files are changed in place.
const CHANGED: [&str; 12] = [
    "/etc",
    "/var/cache/apt",
    "/var/cache/apt/archives",
    "/var/cache/debconf",
    "/var/lib/apt",
    "/var/lib/dpkg",
    "/var/lib/dpkg/alternatives",
    "/var/lib/dpkg/triggers",
    "/var/lib/ucf",
    "/var/log",
    "/var/log/apt",
    "/usr/share/info",
];

/// The longest file that is copied, in bytes.
const FILE_MAX: u64 = 4 << 20;

/// Returns whether `part` is a part of the system that wants a skeleton.
pub fn wants(part: &Path) -> bool {
    PARTS.iter().any(|system| part.starts_with(system))
}

/// Fills the empty directory `made` for the lower directory `real`.
pub fn fill(real: &Path, made: &Path) -> io::Result<()> {
    let above = u32::try_from(real.components().count().saturating_sub(2)).unwrap_or(DEPTH);
    level(real, fs::read_dir(real)?, made, DEPTH.saturating_sub(above))?;
    if real == Path::new("/etc") && made.join("apt/apt.conf.d").is_dir() {
        // apt would give its downloads to a user that is not there.
        fs::write(made.join("apt/apt.conf.d/00quire"), "APT::Sandbox::User \"root\";\n")?;
    }
    Ok(())
}

fn level(real: &Path, entries: fs::ReadDir, made: &Path, depth: u32) -> io::Result<()> {
    let files_change = CHANGED.iter().any(|changed| real == Path::new(changed)) || real.starts_with("/etc");
    for entry in entries.flatten() {
        // What is gone since it was listed is not there.
        let (Ok(kind), Ok(stat)) = (entry.file_type(), entry.metadata()) else { continue };
        let made = || made.join(entry.file_name());
        if kind.is_dir() && depth > 0 {
            let (path, made) = (entry.path(), made());
            fs::create_dir(&made)?;
            // Listing and entering are two rights, and both are needed.
            let listed = fs::read_dir(&path).ok().filter(|_| fs::metadata(path.join(".")).is_ok());
            let Some(listed) = listed else {
                // A merged directory of which one side cannot be read cannot be used at all.
                rustix::fs::setxattr(&made, "user.overlay.opaque", b"y", XattrFlags::empty())?;
                continue;
            };
            let mode = stat.mode() & 0o1777;
            if mode != 0o755 {
                fs::set_permissions(&made, fs::Permissions::from_mode(mode | 0o700))?;
            }
            level(&path, listed, &made, depth - 1)?;
        } else if kind.is_file() && is_lock(&entry.file_name()) {
            fs::write(made(), "")?;
        } else if kind.is_file() && files_change && stat.len() <= FILE_MAX {
            let copied = fs::copy(entry.path(), made());
            if copied.is_err() && !real.starts_with("/etc") {
                // A log or a list of root's: an empty one serves as well.
                fs::write(made(), "")?;
            }
        }
    }
    Ok(())
}

fn is_lock(name: &std::ffi::OsStr) -> bool {
    ["lock", "Lock", "lock-frontend"].iter().any(|lock| name == *lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_outlined_to_a_depth() {
        let dir = tempfile::tempdir().unwrap();
        let (real, made) = (dir.path().join("real"), dir.path().join("made"));
        fs::create_dir_all(real.join("a/b/c")).unwrap();
        fs::set_permissions(real.join("a"), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::write(real.join("a/file"), "replaced, not changed").unwrap();
        fs::create_dir(&made).unwrap();
        level(&real, fs::read_dir(&real).unwrap(), &made, 2).unwrap();
        assert!(made.join("a/b").is_dir() && !made.join("a/b/c").exists() && !made.join("a/file").exists());
        assert_eq!(fs::metadata(made.join("a")).unwrap().mode() & 0o7777, 0o1777);
    }
}
