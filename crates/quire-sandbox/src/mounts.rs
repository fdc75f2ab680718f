//! Mounting by file descriptor. No path of the agent's making is ever followed here: a target is walked to from the new
//! root one name at a time without symlinks, and a source is opened before anything of the agent's is mounted.

use crate::machine;
use crate::tree::Broken;
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
use std::ffi::{CString, OsStr};
use std::fmt::Display;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

/// Says what was being done when the kernel refused.
pub trait During<T> {
    fn during(self, what: impl Display) -> Result<T, Broken>;
}

impl<T, E: Into<std::io::Error>> During<T> for Result<T, E> {
    fn during(self, what: impl Display) -> Result<T, Broken> {
        self.map_err(|error| Broken(format!("{what}: {}", error.into())))
    }
}

/// Opens a path of the real machine as a place, following symlinks.
pub fn place(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// Opens `path` below `root` as a place. A symlink anywhere in it, last name included, is `ELOOP`.
pub fn within(root: impl AsFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let below = path.strip_prefix("/").unwrap_or(path);
    let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(
        root,
        below,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        resolve,
    )
}

/// Opens the directory `path` below `root`, making what is missing with this owner. Fails where a name on the way is
/// anything but a directory.
pub fn directory_within(root: BorrowedFd<'_>, path: &Path, owner: u32) -> rustix::io::Result<OwnedFd> {
    let mut here = within(root, Path::new("."))?;
    for part in path.components() {
        let name = match part {
            Component::RootDir | Component::CurDir => continue,
            Component::Normal(name) => name,
            Component::ParentDir | Component::Prefix(_) => return Err(Errno::INVAL),
        };
        here = match within(&here, Path::new(name)) {
            Err(Errno::NOENT) => {
                make_directory(here.as_fd(), name, owner)?;
                within(&here, Path::new(name))?
            }
            found => found?,
        };
        if !rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&here)?.st_mode).is_dir() {
            return Err(Errno::NOTDIR);
        }
    }
    Ok(here)
}

fn make_directory(at: BorrowedFd<'_>, name: &OsStr, owner: u32) -> rustix::io::Result<()> {
    rustix::fs::mkdirat(at, name, Mode::from_raw_mode(0o755))?;
    let ids = (Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)));
    rustix::fs::chownat(at, name, ids.0, ids.1, AtFlags::SYMLINK_NOFOLLOW)
}

/// Puts a detached mount onto the place `target`.
pub fn attach(mount: impl AsFd, target: impl AsFd) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount.as_fd(), "", target.as_fd(), "", flags)
}

/// Returns a detached mount of what lies at `place`, without the mounts below it.
pub fn copy(place: impl AsFd) -> rustix::io::Result<OwnedFd> {
    const EMPTY_PATH: OpenTreeFlags = OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(
        place.as_fd(),
        "",
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | EMPTY_PATH,
    )
}

/// Returns a detached mount of `place` and all mounts below it.
pub fn copy_all(place: impl AsFd) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    open_tree(place.as_fd(), "", flags)
}

/// Adds attributes to a mount; with `map`, files show the owners that this user namespace gives them.
pub fn restrict(mount: impl AsFd, set: MountAttrFlags, map: Option<BorrowedFd<'_>>) -> std::io::Result<()> {
    set_attributes(mount, set, map, 0)
}

/// Adds attributes to a mount and to all below it.
pub fn restrict_all(mount: impl AsFd, set: MountAttrFlags) -> std::io::Result<()> {
    set_attributes(mount, set, None, libc::AT_RECURSIVE)
}

fn set_attributes(
    mount: impl AsFd,
    set: MountAttrFlags,
    map: Option<BorrowedFd<'_>>,
    more: libc::c_int,
) -> std::io::Result<()> {
    const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000; // linux/mount.h
    let attributes = libc::mount_attr {
        attr_set: u64::from(set.bits()) | map.map_or(0, |_| MOUNT_ATTR_IDMAP),
        attr_clr: 0,
        propagation: 0,
        userns_fd: map.map_or(0, |map| map.as_raw_fd() as u64),
    };
    // SAFETY: the path is a C string, the struct outlives the call and its size is given.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | more,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Returns a detached new file system of a kind such as `tmpfs` or `proc`; an option with an empty value is a flag.
pub fn fresh(
    kind: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> rustix::io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        if value.is_empty() {
            fsconfig_set_flag(&context, *key)?;
        } else {
            fsconfig_set_string(&context, *key, *value)?;
        }
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// The first kernel that takes an overlay's lower directories one by one.
const LAYER_BY_LAYER: (u32, u32) = (6, 7);

/// An overlay to be mounted. Directories are given by descriptor and named to the kernel as `/proc/self/fd/N`: such a
/// name is never too long, needs no escapes, cannot be swapped, and tells the inside nothing through `mountinfo`.
pub struct Overlay<'a> {
    /// Newest first.
    pub lowers: &'a [OwnedFd],
    /// The upper and the work directory; without them it is read-only and needs two lowers.
    pub writable: Option<(&'a OwnedFd, &'a OwnedFd)>,
    /// Marks are kept in `user.` attributes, as they must be without real privilege.
    pub user_marks: bool,
}

impl Overlay<'_> {
    /// Returns the overlay as a detached mount, or the kernel's own words about what it refused. `spare` is an empty
    /// directory of ours, on which older kernels have to mount it first.
    pub fn mount(&self, spare: &Path) -> Result<OwnedFd, Broken> {
        if machine::kernel() < LAYER_BY_LAYER { self.mount_at(spare) } else { self.mount_by_parts() }
    }

    fn mount_by_parts(&self) -> Result<OwnedFd, Broken> {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).during("opening an overlay")?;
        self.configure(&context).map_err(|error| {
            let mut told = vec![0; 1024];
            let length = rustix::io::read(&context, &mut *told).unwrap_or(0);
            Broken(format!("{error} {}", String::from_utf8_lossy(&told[..length]).trim()))
        })?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).during("mounting an overlay")
    }

    fn configure(&self, context: &OwnedFd) -> rustix::io::Result<()> {
        for lower in self.lowers {
            fsconfig_set_string(context, "lowerdir+", by_number(lower))?;
        }
        for (key, value) in self.options() {
            match value {
                Some(value) => fsconfig_set_string(context, key, value)?,
                None => fsconfig_set_flag(context, key)?,
            }
        }
        fsconfig_create(context)
    }

    /// By mount(2), whose one string of options bounds the number of layers: a page has room for two hundred.
    fn mount_at(&self, spare: &Path) -> Result<OwnedFd, Broken> {
        let lowers: Vec<String> = self.lowers.iter().map(by_number).collect();
        let mut options = format!("lowerdir={}", lowers.join(":"));
        for (key, value) in self.options() {
            options.push_str(&value.map_or(format!(",{key}"), |value| format!(",{key}={value}")));
        }
        let options = CString::new(options).during("naming an overlay")?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        rustix::mount::mount("overlay", spare, "overlay", flags, options.as_c_str())
            .during("mounting an overlay")?;
        let mount = place(spare).and_then(copy).during("copying an overlay");
        rustix::mount::unmount(spare, UnmountFlags::DETACH).during("clearing the place of an overlay")?;
        mount
    }

    /// Returns all options but the lower directories; one without a value is a flag.
    fn options(&self) -> Vec<(&'static str, Option<String>)> {
        let mut options = vec![];
        if let Some((upper, work)) = self.writable {
            options.push(("upperdir", Some(by_number(upper))));
            options.push(("workdir", Some(by_number(work))));
            // Synced once, at the end.
            options.push(("volatile", None));
        }
        if self.user_marks {
            options.push(("userxattr", None));
        }
        // A lower directory keeps its name and a copied-up file its content in the layer, so that a layer can be read
        // without the kernel.
        for (key, value) in [("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off")] {
            options.push((key, Some(value.to_owned())));
        }
        options
    }
}

fn by_number(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::thread::{UnshareFlags, unshare_unsafe};
    use std::fs;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    const WITHIN: &str = "QUIRE_TEST_WITHIN";

    /// Both ways to mount an overlay, in namespaces of this test's own.
    #[test]
    fn an_overlay_of_many_layers_stands_on_old_kernels_and_new_ones() {
        if std::env::var_os(WITHIN).is_some() {
            return both_ways();
        }
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let mut command = Command::new(std::env::current_exe().unwrap());
        let name = "mounts::tests::an_overlay_of_many_layers_stands_on_old_kernels_and_new_ones";
        command.args(["--exact", name, "--nocapture"]).env(WITHIN, "yes");
        // SAFETY: the forked child has one thread, and what it calls takes no lock that another one of the parent's holds
        // for long.
        unsafe {
            command.pre_exec(move || {
                unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNS)?;
                fs::write("/proc/self/setgroups", "deny")?;
                fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
                fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
            })
        };
        assert!(command.status().unwrap().success());
    }

    fn both_ways() {
        let dir = tempfile::tempdir().unwrap();
        let memory = fresh("tmpfs", &[("mode", "0755")], MountAttrFlags::empty()).unwrap();
        attach(&memory, place(dir.path()).unwrap()).unwrap();
        let made = |name: String| {
            fs::create_dir(dir.path().join(&name)).unwrap();
            dir.path().join(name)
        };
        let lowers: Vec<OwnedFd> = (0..100)
            .map(|layer| {
                let lower = made(format!("lower-{layer}"));
                fs::write(lower.join("newest"), format!("{layer}")).unwrap();
                fs::write(lower.join(format!("of-{layer}")), "").unwrap();
                place(&lower).unwrap()
            })
            .collect();
        let spare = made("spare".into());
        type Way = fn(&Overlay<'_>, &Path) -> Result<OwnedFd, Broken>;
        let ways: [Way; 2] =
            [|overlay, _| overlay.mount_by_parts(), |overlay, spare| overlay.mount_at(spare)];
        for (number, way) in ways.iter().enumerate() {
            if number == 0 && machine::kernel() < LAYER_BY_LAYER {
                continue;
            }
            let (upper, at) = (made(format!("upper-{number}")), made(format!("at-{number}")));
            let (held, work) = (place(&upper).unwrap(), place(&made(format!("work-{number}"))).unwrap());
            let overlay = Overlay { lowers: &lowers, writable: Some((&held, &work)), user_marks: true };
            attach(way(&overlay, &spare).unwrap(), place(&at).unwrap()).unwrap();
            assert_eq!(fs::read_to_string(at.join("newest")).unwrap(), "0", "way {number}");
            assert!(at.join("of-99").exists());
            fs::remove_file(at.join("of-99")).unwrap();
            fs::write(at.join("made"), "here").unwrap();
            assert_eq!(fs::read_to_string(upper.join("made")).unwrap(), "here");
            assert!(!at.join("of-99").exists() && dir.path().join("lower-99/of-99").exists());
            assert_eq!(fs::read_dir(&spare).unwrap().count(), 0, "nothing stays mounted on the spare place");
        }
    }
}
