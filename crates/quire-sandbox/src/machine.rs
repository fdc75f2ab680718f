//! What the real machine looks like: where its file systems are mounted and where its people live.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// A mount that can be seen: where, of what kind, and its device as `major:minor`.
#[derive(Debug, PartialEq)]
pub struct Mount {
    pub point: PathBuf,
    pub kind: String,
    pub device: String,
}

/// Returns the version of the running kernel: major and minor.
pub fn kernel() -> (u32, u32) {
    let release = rustix::system::uname();
    version(&release.release().to_string_lossy())
}

fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Reads `/proc/self/mountinfo` (proc_pid_mountinfo(5)). Of several mounts on one point the last is the visible one.
pub fn mounts(mountinfo: &[u8]) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for line in mountinfo.split(|byte| *byte == b'\n') {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let Some(dash) = fields.iter().position(|field| *field == b"-") else { continue };
        let (Some(point), Some(device), Some(kind)) = (fields.get(4), fields.get(2), fields.get(dash + 1))
        else {
            continue;
        };
        let point = path(point);
        mounts.retain(|mount| mount.point != point);
        let text = |raw: &[u8]| String::from_utf8_lossy(raw).into_owned();
        mounts.push(Mount { point, kind: text(kind), device: text(device) });
    }
    mounts
}

/// Returns the path that stands in a field of mountinfo.
pub fn path(field: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(unoctal(field)))
}

/// Returns the kind of file system that an absolute path without links lies on, by the text of `/proc/self/mountinfo`.
pub fn kind_at(mountinfo: &[u8], path: &Path) -> Option<String> {
    let holds = mounts(mountinfo).into_iter().filter(|mount| path.starts_with(&mount.point));
    holds.max_by_key(|mount| mount.point.components().count()).map(|mount| mount.kind)
}

/// Undoes `\040` and its like.
fn unoctal(field: &[u8]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal =
            rest.get(1..4).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                raw.push(byte);
                rest = &rest[4..];
            }
            None => {
                raw.push(*first);
                rest = tail;
            }
        }
    }
    raw
}

impl Mount {
    /// Returns whether this is a disk of the machine's own: no network, no removable medium, nothing that the kernel
    /// makes up.
    pub fn is_own_disk(&self) -> bool {
        const DISKS: [&str; 12] = [
            "ext4", "ext3", "ext2", "xfs", "btrfs", "f2fs", "zfs", "bcachefs", "overlay", "erofs",
            "squashfs", "virtiofs",
        ];
        let removable = ["/media", "/run", "/mnt"].iter().any(|outside| self.point.starts_with(outside));
        DISKS.contains(&self.kind.as_str()) && !removable && !self.is_removable_device()
    }

    fn is_removable_device(&self) -> bool {
        let device = Path::new("/sys/dev/block").join(&self.device);
        ["removable", "../removable"]
            .iter()
            .any(|name| std::fs::read(device.join(name)).is_ok_and(|value| value.starts_with(b"1")))
    }
}

/// Returns the home folders of people that passwd(5) names, apart from those below `/home` and `/root`.
pub fn homes(passwd: &str) -> Vec<PathBuf> {
    const SYSTEM: [&str; 9] = ["/bin", "/dev", "/etc", "/proc", "/run", "/sbin", "/sys", "/usr", "/tmp"];
    let of_person = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let id: u32 = fields.get(2)?.parse().ok()?;
        let home = PathBuf::from(fields.get(5)?);
        let person = (1000..65534).contains(&id);
        let apart = home.components().count() > 2
            && !SYSTEM.iter().any(|system| home.starts_with(system))
            && !["/home", "/root"].iter().any(|known| home.starts_with(known));
        (person && apart).then_some(home)
    };
    passwd.lines().filter_map(of_person).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_known_by_its_first_two_numbers() {
        for (release, expected) in [
            ("6.18.44-fc", (6, 18)),
            ("6.1.0-56-cloud-amd64", (6, 1)),
            ("6.8-rc1", (6, 8)),
            ("5.15.167.4-microsoft-standard-WSL2", (5, 15)),
            ("7", (7, 0)),
            ("", (0, 0)),
        ] {
            assert_eq!(version(release), expected, "{release}");
        }
    }

    #[test]
    fn the_last_mount_on_a_point_is_the_one() {
        let info = b"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n\
            2 1 0:5 / /a\\040b rw shared:1 - tmpfs t rw\n\
            3 1 8:2 / /a\\040b rw,noatime master:2 propagate_from:1 - xfs /dev/sdb rw\n";
        let found: Vec<_> = mounts(info).into_iter().map(|m| (m.point, m.kind, m.device)).collect();
        let expected = [("/", "ext4", "8:1"), ("/a b", "xfs", "8:2")];
        assert_eq!(found, expected.map(|(p, k, d)| (PathBuf::from(p), k.to_owned(), d.to_owned())));
    }

    #[test]
    fn people_have_homes_and_services_do_not() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/sh\n\
            bob:x:1001:1001::/data/people/bob:/bin/sh\nnobody:x:65534:65534::/nonexistent:/bin/false\n\
            odd:x:1002:1002::/:/bin/sh\nsvc:x:101:104::/var/lib/svc:/bin/false\nbad line\n";
        assert_eq!(homes(passwd), [PathBuf::from("/data/people/bob")]);
    }
}
