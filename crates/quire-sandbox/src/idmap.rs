//! Who is who across the wall.
//!
//! Started by root, uid N inside is uid [`crate::INSIDE_BASE`]+N outside, so that root inside is nobody outside. Real
//! files are shown through idmapped mounts, on which the owner of a task's folder is root inside, whoever it is. Started
//! by an ordinary user, root inside is that user and there is no one else.

use crate::INSIDE_BASE;
use crate::mounts::During;
use crate::process;
use crate::tree::Broken;
use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;

/// Identities that exist inside.
const COUNT: u32 = 65536;

/// Returns the lines of a map from numbers on disk to numbers outside, in which `owner` and root change places.
pub fn lines(owner: u32) -> String {
    match owner {
        0 => format!("0 {INSIDE_BASE} {COUNT}\n"),
        owner if owner < COUNT => {
            let mut lines = format!("0 {} 1\n{owner} {INSIDE_BASE} 1\n", INSIDE_BASE + owner);
            if owner > 1 {
                lines.push_str(&format!("1 {} {}\n", INSIDE_BASE + 1, owner - 1));
            }
            if owner + 1 < COUNT {
                lines.push_str(&format!("{} {} {}\n", owner + 1, INSIDE_BASE + owner + 1, COUNT - owner - 1));
            }
            lines
        }
        owner => format!("{owner} {INSIDE_BASE} 1\n1 {} {}\n", INSIDE_BASE + 1, COUNT - 1),
    }
}

/// Gives a new user namespace its map. An ordinary user may map himself alone, and only without `setgroups`.
pub fn write(pid: i32, real_root: bool) -> Result<(), Broken> {
    let put = |file: &str, text: &str| {
        let path = format!("/proc/{pid}/{file}");
        let written = fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        written.during(format_args!("writing {file} of the sandbox"))
    };
    if real_root {
        put("uid_map", &lines(0))?;
        return put("gid_map", &lines(0));
    }
    put("setgroups", "deny")?;
    put("uid_map", &format!("0 {} 1\n", rustix::process::geteuid().as_raw()))?;
    put("gid_map", &format!("0 {} 1\n", rustix::process::getegid().as_raw()))
}

/// Returns a user namespace in which `uid` and `gid` on disk are root inside, for an idmapped mount.
pub fn namespace(uid: u32, gid: u32) -> Result<OwnedFd, Broken> {
    let (hold, release) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).during("making a pipe")?;
    let Some(child) = process::fork(libc::CLONE_NEWUSER).during("making a user namespace")? else {
        drop(release);
        let _ = rustix::io::read(&hold, &mut [0; 1]);
        process::leave(0)
    };
    let made = (|| {
        for (file, id) in [("uid_map", uid), ("gid_map", gid)] {
            fs::write(format!("/proc/{}/{file}", child.pid), lines(id))
                .during("mapping the owners of files")?;
        }
        let namespace =
            fs::File::open(format!("/proc/{}/ns/user", child.pid)).during("opening a user namespace")?;
        Ok(OwnedFd::from(namespace))
    })();
    // It ends by itself now, and is not worth waiting for: the spawner's end buries it.
    drop(release);
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outside(owner: u32, on_disk: u32) -> Option<u32> {
        lines(owner).lines().find_map(|line| {
            let numbers: Vec<u32> = line.split(' ').map(|n| n.parse().unwrap()).collect();
            (numbers[0]..numbers[0] + numbers[2])
                .contains(&on_disk)
                .then(|| on_disk - numbers[0] + numbers[1])
        })
    }

    #[test]
    fn the_owner_is_root_inside_and_no_one_is_real() {
        for owner in [0, 1, 2, 1000, 65535, 65536, 4_000_000] {
            assert_eq!(outside(owner, owner), Some(INSIDE_BASE), "{owner}");
            for on_disk in [0, 1, 2, 999, 1000, 1001, 65534, 65535] {
                assert!(outside(owner, on_disk).is_none_or(|id| id >= INSIDE_BASE), "{owner} {on_disk}");
            }
        }
    }

    #[test]
    fn no_number_is_mapped_twice() {
        for owner in [0, 1, 2, 1000, 65535, 65536] {
            let mut all: Vec<u32> = (0..65537).filter_map(|id| outside(owner, id)).collect();
            let count = all.len();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), count, "{owner}");
        }
    }
}
