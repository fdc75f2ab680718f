//! Where things lie in a layer. Snapshots read this, so it is a promise:
//!
//! - `folder-<i>/`: what changed in the i-th folder,
//! - `git-<i>/`: what changed in the i-th folder's git directory, where that lies outside of it,
//! - `ignored-<i>/<name>/`: what changed in one ignored directory of it,
//! - `machine/<name>/`: what changed below one directory of the machine that was shown as a piece of its own. Which are, goes by
//!   what is mounted at the moment (`pieces`).
//!
//! Each is the upper directory of an overlay, or what it would be. A deleted entry is a character device 0:0, or where the
//! file system takes none an empty file with the extended attribute `user.overlay.whiteout`; a directory that hides what
//! lay under it carries `trusted.overlay.opaque` or `user.overlay.opaque`, with the value `y`. Which of the two spaces
//! holds the marks is in the layer's file `marks`: an agent could write into the other. On the rung
//! [`crate::Rung::Idmapped`] owners are shifted: uid 0 inside is [`crate::INSIDE_BASE`] here.
//!
//! On the rung [`crate::Rung::Copy`] `copy/` holds the working copies while the sandbox lives.

use crate::FolderView;
use rustix::fs::{FileType, Mode, OFlags, XattrFlags};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Returns the directory of changes in the folder with this index in [`crate::Spec::folders`].
pub fn folder(layer: &Path, index: usize) -> PathBuf {
    layer.join(format!("folder-{index}"))
}

/// Returns the directory of changes in the git directory of the folder with this index, where it is shown beside it.
pub fn git(layer: &Path, index: usize) -> PathBuf {
    layer.join(format!("git-{index}"))
}

/// Returns the directory of changes in what is shown with this index in [`crate::Spec::folders`].
pub(crate) fn of(layer: &Path, index: usize, view: &FolderView) -> PathBuf {
    match view.git_of {
        Some(folder) => git(layer, folder),
        None => folder(layer, index),
    }
}

/// Returns the directory of changes in an ignored directory; `relative` is as in [`crate::FolderView::ignored`].
pub fn ignored(layer: &Path, index: usize, relative: &Path) -> PathBuf {
    layer.join(format!("ignored-{index}")).join(name(relative))
}

/// Returns the directory of changes in one piece of the machine, such as `/` or `/home`.
pub fn machine(layer: &Path, piece: &Path) -> PathBuf {
    machine_all(layer).join(name(piece))
}

/// Returns the directory whose entries are the pieces of [`machine`], to be read with [`path_of`].
pub fn machine_all(layer: &Path) -> PathBuf {
    layer.join("machine")
}

/// The space of extended attributes in which a layer's marks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marks {
    /// `trusted.`, which nobody inside can write.
    Trusted,
    /// `user.`, which nobody inside can write either: overlays without real privilege keep it for themselves, and what
    /// quire writes itself carries no attribute of an agent's.
    User,
}

const MARKS: &str = "marks";

/// Notes in which space the marks of a layer are.
pub fn note_marks(layer: &Path, marks: Marks) -> io::Result<()> {
    let word = match marks {
        Marks::Trusted => "trusted",
        Marks::User => "user",
    };
    std::fs::write(layer.join(MARKS), word)
}

/// Returns the space of marks of the layer that `part` (a `folder-0` and the like) belongs to. Without a note it is what
/// this user's overlays would write.
pub fn marks_of(part: &Path) -> Marks {
    let noted = part.ancestors().skip(1).take(2).find_map(|layer| std::fs::read(layer.join(MARKS)).ok());
    match noted.as_deref() {
        Some(b"trusted") => Marks::Trusted,
        Some(_) => Marks::User,
        None if rustix::process::geteuid().is_root() => Marks::Trusted,
        None => Marks::User,
    }
}

/// Returns whether a directory of a layer hides what older layers have in it.
pub fn is_opaque(dir: BorrowedFd<'_>, marks: Marks) -> bool {
    let mut value = [0u8; 2];
    rustix::fs::fgetxattr(dir, opaque(marks), &mut value) == Ok(1) && value[0] == b'y'
}

/// Returns the name of the attribute that says so.
pub fn opaque(marks: Marks) -> &'static str {
    match marks {
        Marks::Trusted => "trusted.overlay.opaque",
        Marks::User => "user.overlay.opaque",
    }
}

/// Writes `name` in `dir` as deleted.
pub fn delete(dir: impl AsFd, name: &OsStr) -> io::Result<()> {
    let dir = dir.as_fd();
    match rustix::fs::mknodat(dir, name, FileType::CharacterDevice, Mode::empty(), 0) {
        // An overlay, as the root of a container is one, takes no whiteout.
        Err(rustix::io::Errno::PERM) => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            let made = rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR)?;
            Ok(rustix::fs::fsetxattr(&made, WHITEOUT, b"y", XattrFlags::empty())?)
        }
        made => Ok(made?),
    }
}

/// On an empty file: deleted.
pub const WHITEOUT: &str = "user.overlay.whiteout";

/// Returns a path as one file name: `%` is `%25` and `/` is `%2f`.
pub fn name(path: &Path) -> OsString {
    let mut raw = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'%' => raw.extend_from_slice(b"%25"),
            b'/' => raw.extend_from_slice(b"%2f"),
            other => raw.push(*other),
        }
    }
    OsString::from_vec(raw)
}

/// Returns the path that [`name`] was given.
pub fn path_of(name: &OsStr) -> PathBuf {
    let mut raw = Vec::new();
    let mut rest = name.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let (byte, used) = match rest {
            [b'%', b'2', b'5', ..] => (b'%', 2),
            [b'%', b'2', b'f', ..] => (b'/', 2),
            _ => (*first, 0),
        };
        raw.push(byte);
        rest = &tail[used..];
    }
    PathBuf::from(OsString::from_vec(raw))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_component_and_come_back() {
        for path in ["/", "/home", "node_modules", "a/b", "/100%/%2f", "web/node_modules"] {
            let name = name(Path::new(path));
            assert!(!name.as_bytes().contains(&b'/'), "{path}");
            assert_eq!(path_of(&name), Path::new(path));
        }
    }
}
