//! Places that can be seen by more than one name, because their file system is mounted more than once: a home that is
//! bound to `/home` from elsewhere, or a disk whose parts are mounted one by one and once more as a whole. What is hidden
//! is hidden by every name.

use crate::machine;
use std::path::{Path, PathBuf};

/// The mounts that can be seen: of which device, which directory of it, and where.
pub struct Mounts(Vec<(String, PathBuf, PathBuf)>);

impl Mounts {
    /// Reads `/proc/self/mountinfo` (proc_pid_mountinfo(5)). Of several mounts on one point the last is the visible one.
    pub fn of(mountinfo: &[u8]) -> Mounts {
        let mut mounts: Vec<(String, PathBuf, PathBuf)> = Vec::new();
        for line in mountinfo.split(|byte| *byte == b'\n') {
            let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
            let [_, _, device, root, point, ..] = fields[..] else { continue };
            let (root, point) = (machine::path(root), machine::path(point));
            mounts.retain(|(_, _, known)| *known != point);
            mounts.push((String::from_utf8_lossy(device).into_owned(), root, point));
        }
        Mounts(mounts)
    }

    /// Leaves out what is mounted in `own`, where no one else looks.
    pub fn apart_from(mut self, own: &Path) -> Mounts {
        self.0.retain(|(_, _, point)| !point.starts_with(own));
        self
    }

    /// Returns the other names of `path`, which has no links in it, and of what of it is mounted elsewhere.
    pub fn others(&self, path: &Path) -> Vec<PathBuf> {
        let holds = self.0.iter().filter(|(_, _, point)| path.starts_with(point));
        let Some((device, root, point)) = holds.max_by_key(|(_, _, point)| point.components().count()) else {
            return Vec::new();
        };
        let Ok(below) = path.strip_prefix(point) else { return Vec::new() };
        let inner = root.join(below);
        let other = |(its, root, at): &(String, PathBuf, PathBuf)| {
            if its != device || at == point {
                return None;
            }
            let name = match inner.strip_prefix(root) {
                Ok(below) => at.join(below),
                Err(_) if root.starts_with(&inner) => at.clone(),
                Err(_) => return None,
            };
            // Without what `join` adds to a name where there is nothing below.
            let name: PathBuf = name.components().collect();
            (name.components().count() > 1 && !name.starts_with(path)).then_some(name)
        };
        self.0.iter().filter_map(other).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_known_by_every_name() {
        let info = b"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n\
            2 1 8:2 / /data rw - ext4 /dev/sda2 rw\n\
            3 1 8:2 /homes /home rw - ext4 /dev/sda2 rw\n\
            4 1 8:2 /homes/ann/work /work\\040shop rw - ext4 /dev/sda2 rw\n\
            5 1 0:30 /@ /btrfs rw - btrfs /dev/sdb rw\n\
            6 5 8:2 /homes/bob /home/ann/bob rw - ext4 /dev/sda2 rw\n\
            7 1 8:2 / /state/lower rw - ext4 /dev/sda2 rw\n\
            broken\n";
        let mounts = Mounts::of(info).apart_from(Path::new("/state"));
        let rows: [(&str, &[&str]); 6] = [
            ("/home", &["/data/homes", "/work shop"]),
            ("/home/ann", &["/data/homes/ann", "/work shop"]),
            ("/home/ann/work/.env", &["/data/homes/ann/work/.env", "/work shop/.env"]),
            ("/data/homes/ann/.ssh", &["/home/ann/.ssh"]),
            ("/etc/ssl/private", &[]),
            ("/home/ann/bob/.ssh", &["/data/homes/bob/.ssh", "/home/bob/.ssh"]),
        ];
        for (path, expected) in rows {
            let expected: Vec<_> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(mounts.others(Path::new(path)), expected, "{path}");
        }
    }
}
