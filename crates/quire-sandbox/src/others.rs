//! Other users, for programs that refuse to be root, where a sandbox has room for one user.
//!
//! An ordinary user can map himself alone. But a further user namespace may give him another number: in it he is postgres,
//! say, and so are all his files. A few such namespaces are made before the sandbox is closed, and kept as files; the first
//! command that is to run as a user enters one and gives it that user's number ([`become`]). No namespace can be made later,
//! and one of users alone owns no mounts, no network and no processes: its root could do nothing that root inside cannot.

use crate::QUIRE_INSIDE;
use crate::mounts::{self, During};
use crate::process;
use crate::tree::Broken;
use rustix::mount::MountAttrFlags;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Names of the files that namespaces are kept as, below [`QUIRE_INSIDE`]: as many users as a sandbox can have beside root.
pub const PLACES: [&str; 4] = ["users/0", "users/1", "users/2", "users/3"];

/// Returns whether the user namespace of this process has room for one user.
pub fn is_alone() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let count = |line: &str| line.split_whitespace().nth(2)?.parse::<u64>().ok();
    map.lines().filter_map(count).sum::<u64>() == 1
}

/// Makes the namespaces. The new root is this process's, and it has one thread and all its privileges.
pub fn make() -> Result<(), Broken> {
    for place in PLACES {
        let Some(child) = process::fork(libc::CLONE_NEWUSER).during("making room for other users")? else {
            loop {
                // SAFETY: waits for a signal.
                unsafe { libc::pause() };
            }
        };
        let kept = keep(&child, &Path::new(QUIRE_INSIDE).join(place));
        child.kill();
        child.wait();
        kept?;
    }
    Ok(())
}

fn keep(child: &process::Child, at: &Path) -> Result<(), Broken> {
    let namespace = mounts::place(&PathBuf::from(format!("/proc/{}/ns/user", child.pid)));
    let namespace = namespace.during("making room for other users")?;
    let mount = mounts::copy(&namespace).during("keeping room for other users")?;
    let read_only = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV;
    mounts::restrict(&mount, read_only, None).during("keeping room for other users")?;
    let target = mounts::place(at).during("keeping room for other users")?;
    mounts::attach(&mount, &target).during("keeping room for other users")
}

/// Makes this process, of one thread, that user, who is not root. Where there is one user, what it starts next is him.
pub fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    if is_alone() {
        let place = PLACES
            .iter()
            .map(|place| Path::new(QUIRE_INSIDE).join(place))
            .find(|place| can_be(place, uid, gid));
        let place = place.ok_or_else(|| io::Error::other(no_room()))?;
        return enter(&place);
    }
    // SAFETY: these take plain numbers.
    let done = unsafe {
        libc::setgroups(0, std::ptr::null()) == 0 && libc::setgid(gid) == 0 && libc::setuid(uid) == 0
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Returns why there is no room for a user.
fn no_room() -> String {
    // Nothing is written: it says whether it could be.
    let map = fs::OpenOptions::new().write(true).open("/proc/self/uid_map");
    match map {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            "where `/proc` is the machine's own, every command runs as root".into()
        }
        _ => format!("there is room for {} users beside root, and they are others", PLACES.len()),
    }
}

fn enter(place: &Path) -> io::Result<()> {
    let namespace = fs::File::open(place)?;
    // SAFETY: takes a descriptor and a flag.
    match unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWUSER) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Returns whether this namespace is that user's, or made so now. A process that enters cannot come back, so another one does.
fn can_be(place: &Path, uid: u32, gid: u32) -> bool {
    let Ok(child) = process::fork(0) else { return false };
    let Some(child) = child else {
        let is_his = || -> io::Result<bool> {
            enter(place)?;
            if fs::read_to_string("/proc/self/uid_map")?.is_empty() {
                fs::write("/proc/self/gid_map", format!("{gid} 0 1\n"))?;
                fs::write("/proc/self/uid_map", format!("{uid} 0 1\n"))?;
            }
            // SAFETY: these take nothing.
            Ok(unsafe { (libc::getuid(), libc::getgid()) } == (uid, gid))
        };
        process::leave(i32::from(!is_his().unwrap_or(false)))
    };
    child.exit() == Some(0)
}
