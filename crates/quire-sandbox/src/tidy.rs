//! Removing what a sandbox left behind. An overlay's work directory and an agent's files may forbid their owner to look,
//! which an ordinary user must lift first, and directories may lie deeper in each other than files can be open or calls
//! be nested.

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat, unlinkat};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

const OPEN: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes everything in a directory, which is made where it is missing. No process may work in it any more.
pub fn empty(directory: &Path) -> io::Result<()> {
    match rustix::fs::open(directory, OPEN, Mode::empty()) {
        Err(Errno::NOENT) => {}
        Err(Errno::ACCESS) => {
            rustix::fs::chmod(directory, Mode::RWXU)?;
            clear(rustix::fs::open(directory, OPEN, Mode::empty())?)?;
        }
        opened => clear(opened?)?,
    }
    // It may be an agent's, and have an owner and a mode of its choice.
    match fs::remove_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::DirBuilder::new().mode(0o700).create(directory)
}

/// Removes everything below an open directory. One directory is open at a time; nobody moves them, so `..` leads back.
fn clear(top: OwnedFd) -> io::Result<()> {
    let mut here = top;
    // For each directory on the way, those in it that are still there.
    let mut way: Vec<Vec<CString>> = vec![files_gone(&here)?];
    while let Some(left) = way.last() {
        if let Some(name) = left.last() {
            here = enter(&here, name)?;
            way.push(files_gone(&here)?);
            continue;
        }
        way.pop();
        if let Some(above) = way.last_mut() {
            here = openat(&here, "..", OPEN, Mode::empty())?;
            if let Some(name) = above.pop() {
                unlinkat(&here, &name, AtFlags::REMOVEDIR)?;
            }
        }
    }
    Ok(())
}

/// Opens a directory; its owner lets himself in.
fn enter(parent: &OwnedFd, name: &CStr) -> io::Result<OwnedFd> {
    // What is to be removed must be readable, and what is in it removable.
    let closed = |stat: &rustix::fs::Stat| stat.st_mode & 0o700 != 0o700;
    if statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| closed(&stat)) {
        rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
    }
    Ok(openat(parent, name, OPEN, Mode::empty())?)
}

/// Removes all but the directories in a directory, and returns these.
fn files_gone(directory: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut inner = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                FileType::from_raw_mode(statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode)
            }
            known => known,
        };
        if kind.is_dir() {
            inner.push(name.to_owned());
        } else {
            unlinkat(directory.as_fd(), name, AtFlags::empty())?;
        }
    }
    Ok(inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn whatever_is_in_it_a_directory_becomes_empty() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), "").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let of = dir.path().join("of");
        empty(&of).unwrap();
        fs::create_dir_all(of.join("a/b")).unwrap();
        fs::write(of.join("a/b/f"), "").unwrap();
        symlink(outside.path(), of.join("a/link")).unwrap();
        symlink("nowhere", of.join("gone")).unwrap();
        for closed in ["a/b", "a"] {
            fs::set_permissions(of.join(closed), fs::Permissions::from_mode(0o0)).unwrap();
        }
        let mut here = openat(rustix::fs::CWD, &of, OPEN, Mode::empty()).unwrap();
        for _ in 0..6_000 {
            rustix::fs::mkdirat(&here, "deep", Mode::RWXU).unwrap();
            here = openat(&here, "deep", OPEN, Mode::empty()).unwrap();
        }
        drop(here);
        fs::set_permissions(&of, fs::Permissions::from_mode(0o0)).unwrap();
        empty(&of).unwrap();
        assert_eq!(fs::read_dir(&of).unwrap().count(), 0);
        assert_eq!(fs::metadata(&of).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(outside.path().join("kept").exists());
    }
}
