//! What would tell this machine from all others: whatever is reached from inside would know it again by that. Programs need
//! such names to be there, so they are, and say the same on every machine.
//!
//! Like what is said of the way out ([`crate::door`]) the files lie in a thin layer below the task's own, and so are never
//! a change of an agent's.

use crate::door;
use rustix::fs::{Mode, OFlags};
use std::fs;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::path::Path;

/// What a sandbox is called.
pub const HOST_NAME: &str = "quire";

/// machine-id(5): of the form of a random one, since programs look.
const MACHINE_ID: &str = "71756972650040008000000000000000\n";

/// Files that are given other content, and the content.
const FILES: [(&str, &str); 3] =
    [("/etc/machine-id", MACHINE_ID), ("/var/lib/dbus/machine-id", MACHINE_ID), ("/etc/hostname", "quire\n")];

/// What names the boot, and what covers that, below [`crate::QUIRE_INSIDE`].
pub const BOOT_ID: &str = "proc/sys/kernel/random/boot_id";
pub const BOOT_COVER: &str = "empty/boot";

/// Returns the files that tell, for where there is no layer to lay others in.
pub fn files() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(file, _)| *file)
}

/// Lays the files in `door`, those alone that the machine has; a link leads to another of them.
pub fn fill(door: &Path, shift: u32) -> io::Result<()> {
    for (file, content) in FILES {
        if fs::symlink_metadata(file).is_ok_and(|real| real.is_file()) {
            door::lay(door, Path::new(file), content, shift)?;
        }
    }
    Ok(())
}

/// Writes the cover of the boot's name in quire's corner: another name for each sandbox, since what ran in the last one has
/// ended, as after a boot.
pub fn boot(corner: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let made = rustix::fs::openat(corner, BOOT_COVER, flags, Mode::from_raw_mode(0o444))?;
    fs::File::from(made).write_all(&fs::read("/proc/sys/kernel/random/uuid")?)
}

/// Returns hosts(5) without the names of the machine `host`.
pub fn without(host: &str, hosts: &str) -> String {
    let host = host.split('.').next().unwrap_or(host);
    let is_its = |name: &&str| name.split('.').next().is_some_and(|first| first.eq_ignore_ascii_case(host));
    let mut kept = String::new();
    for line in hosts.lines() {
        let (said, remark) = line.split_once('#').map_or((line, None), |(said, remark)| (said, Some(remark)));
        let mut words = said.split_whitespace();
        let (address, names): (_, Vec<&str>) = (words.next(), words.collect());
        if host.is_empty() || host == "localhost" || !names.iter().any(is_its) {
            kept.push_str(line);
        } else {
            let others: Vec<&str> = names.into_iter().filter(|name| !is_its(name)).collect();
            if others.is_empty() {
                continue;
            }
            kept.push_str(&format!("{} {}", address.unwrap_or_default(), others.join(" ")));
            kept.push_str(&remark.map_or(String::new(), |remark| format!(" #{remark}")));
        }
        kept.push('\n');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_name_goes_and_others_stay() {
        let hosts = "127.0.0.1 localhost\n127.0.1.1 Box.lan box\n127.0.1.1 box my.test # mine\n# box\n127.0.0.2 boxes\n";
        assert_eq!(
            without("box.lan", hosts),
            "127.0.0.1 localhost\n127.0.1.1 my.test # mine\n# box\n127.0.0.2 boxes\n"
        );
        assert_eq!(without("localhost", hosts), hosts);
        assert_eq!(without("", hosts), hosts);
    }

    #[test]
    fn the_machine_id_is_one_to_programs() {
        let id = MACHINE_ID.trim_end();
        assert!(id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit()));
        // The places of a version 4 UUID's own digits (RFC 9562, 5.4).
        assert_eq!((&id[12..13], &id[16..17]), ("4", "8"));
    }
}
