//! Where things lie in a layer. Snapshots read this, so it is a promise:
//!
//! - `folder-<i>/`: what changed in the i-th folder,
//! - `ignored-<i>/<name>/`: what changed in one ignored directory of it,
//! - `machine/<name>/`: what changed below one mount point of the machine.
//!
//! Each is the upper directory of an overlay. A deleted entry is a character device 0:0; a directory that hides what lay
//! under it carries the extended attribute `trusted.overlay.opaque` (started by root) or `user.overlay.opaque`
//! (by an ordinary user), with the value `y`. As root, owners are shifted: uid 0 inside is [`crate::INSIDE_BASE`] here.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Returns the directory of changes in the folder with this index in [`crate::Spec::folders`].
pub fn folder(layer: &Path, index: usize) -> PathBuf {
    layer.join(format!("folder-{index}"))
}

/// Returns the directory of changes in an ignored directory; `relative` is as in [`crate::FolderView::ignored`].
pub fn ignored(layer: &Path, index: usize, relative: &Path) -> PathBuf {
    layer.join(format!("ignored-{index}")).join(name(relative))
}

/// Returns the directory of changes below one mount point, such as `/` or `/home`.
pub fn machine(layer: &Path, mount_point: &Path) -> PathBuf {
    machine_all(layer).join(name(mount_point))
}

/// Returns the directory whose entries are the mount points of [`machine`], to be read with [`path_of`].
pub fn machine_all(layer: &Path) -> PathBuf {
    layer.join("machine")
}

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
