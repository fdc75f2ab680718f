//! The way in: from a process in fresh namespaces, whose directory is the root of the built tree, to the hand.

use crate::copy::Places;
use crate::mounts::{self, During};
use crate::spawner::Outset;
use crate::tree::Broken;
use crate::{BIN_INSIDE, HAND, QUIRE_INSIDE, Rung, Spec, confine, frame, gate, process, unshared};
use rustix::mount::{MountAttrFlags, UnmountFlags};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Becomes the hand. Returns only what stopped it.
pub fn enter(
    spec: &Spec,
    socket: &UnixStream,
    memory_is_bounded: bool,
) -> Result<std::convert::Infallible, Broken> {
    // The tree came from outside with its mounts locked together; a copy of it may become the root.
    let here = mounts::place(Path::new(".")).during("opening the new root")?;
    let root = mounts::copy_all(&here).during("copying the new root")?;
    mounts::attach(&root, &here).during("mounting the new root")?;
    rustix::process::fchdir(&root).during("entering the new root")?;
    kernel_files(root.as_fd(), spec.rung)?;
    rustix::process::pivot_root(".", ".").during("changing the root")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).during("leaving the old root")?;
    rustix::process::chdir("/").during("entering the new root")?;

    loopback_up().during("starting the loopback device")?;
    if spec.gate.is_some() {
        let sockets = gate::open().during("opening the way out")?;
        frame::write_with(socket, &Outset::Gate, &sockets).during("handing over the way out")?;
    }
    rustix::system::sethostname(b"quire").during("naming the sandbox")?;
    rustix::process::setsid().during("leaving the terminal")?;
    process::die_with_parent().during("tying the sandbox to its spawner")?;
    if !spec.rung.has_processes() {
        unshared::adopt().during("adopting orphans")?;
    }
    confine::confine(spec, memory_is_bounded)?;
    become_hand(&Path::new(BIN_INSIDE).join("quire"))
}

/// Becomes the hand on the rung [`Rung::Copy`], where nothing is changed but what this process may do. The calls that it may
/// not do itself go to whoever gets the descriptor that is sent through `caller`.
pub fn enter_copy(
    spec: &Spec,
    caller: &UnixStream,
    memory_is_bounded: bool,
) -> Result<std::convert::Infallible, Broken> {
    let places = Places::of(spec);
    rustix::process::setsid().during("leaving the terminal")?;
    process::die_with_parent().during("tying the sandbox to its spawner")?;
    unshared::adopt().during("adopting orphans")?;
    rustix::process::chdir(&places.folders[0]).during("entering the copy")?;
    let listener = confine::confine_copy(spec, &places, memory_is_bounded)?;
    frame::write_with(caller, &(), &[listener]).during("handing over system calls")?;
    become_hand(&spec.binary)
}

/// Mounts what belongs to the new namespaces: processes, devices' and drivers' state, terminals.
fn kernel_files(root: std::os::fd::BorrowedFd<'_>, rung: Rung) -> Result<(), Broken> {
    let quiet = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let read_only = quiet | MountAttrFlags::MOUNT_ATTR_RDONLY;
    let mount = |kind: &str, options: &[(&str, &str)], at: &str, attributes| {
        let made = mounts::fresh(kind, options, attributes);
        let made =
            made.during(format_args!("mounting a new /{at} (in a container this may be forbidden)"))?;
        let target =
            mounts::directory_within(root, Path::new(at), 0).during(format_args!("finding /{at}"))?;
        mounts::attach(&made, &target).during(format_args!("mounting /{at}"))
    };
    if rung == Rung::NoNewProc {
        // With whatever covers parts of it, for which alone the kernel allows this.
        let machines = mounts::place(Path::new("/proc")).during("opening /proc")?;
        let machines = mounts::copy_all(&machines).during("showing /proc")?;
        let target = mounts::directory_within(root, Path::new("proc"), 0).during("finding /proc")?;
        mounts::attach(&machines, &target).during("showing /proc")?;
        // Covered in the same way, it stays empty.
        let _ = mount("sysfs", &[], "sys", read_only);
    } else {
        mount("proc", &[], "proc", quiet)?;
        mount("sysfs", &[], "sys", read_only)?;
    }
    let terminals = [("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620")];
    let no_exec = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    mount("devpts", &terminals, "dev/pts", no_exec)?;

    // Some of these ask only for the owner, not for a privilege: whoever root inside may be, they are closed.
    for name in ["sys", "sysrq-trigger", "irq", "bus", "fs"] {
        let Ok(place) = mounts::within(root, &Path::new("proc").join(name)) else { continue };
        let closed = mounts::copy(&place).during(format_args!("closing /proc/{name}"))?;
        mounts::restrict(&closed, read_only, None).during(format_args!("closing /proc/{name}"))?;
        mounts::attach(&closed, &place).during(format_args!("closing /proc/{name}"))?;
    }
    let empty = Path::new(QUIRE_INSIDE).join("empty");
    let told =
        ["kcore", "keys", "key-users", "timer_list", "kmsg", "sched_debug", "latency_stats", "kpagecount"];
    for (name, nothing) in
        told.map(|name| (name, "file")).into_iter().chain([("acpi", "directory"), ("scsi", "directory")])
    {
        let Ok(place) = mounts::within(root, &Path::new("proc").join(name)) else { continue };
        let nothing = mounts::within(root, &empty.join(nothing)).during("opening an empty file")?;
        let nothing = mounts::copy(&nothing).during("copying an empty file")?;
        mounts::attach(&nothing, &place).during(format_args!("hiding /proc/{name}"))?;
    }
    Ok(())
}

/// Sets the flags of `lo`, the only device of a new network namespace (netdevice(7)).
fn loopback_up() -> std::io::Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: all zeros is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one ifreq.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Starts the hand in this process, with no environment; descriptor 0 is its socket, and no other stays open.
fn become_hand(path: &Path) -> Result<std::convert::Infallible, Broken> {
    let path = CString::new(path.as_os_str().as_bytes()).during("naming the hand")?;
    let name = CString::new(HAND).during("naming the hand")?;
    let arguments = [c"quire".as_ptr(), name.as_ptr(), std::ptr::null()];
    let environment = [std::ptr::null()];
    // SAFETY: both lists end in null and outlive the call; closing on exec touches no memory.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
        libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr());
    }
    Err(std::io::Error::last_os_error()).during("starting the hand")
}
