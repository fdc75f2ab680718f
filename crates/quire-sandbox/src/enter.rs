//! The way in: from a process in fresh namespaces, whose directory is the root of the built tree, to the hand.

use crate::copy::Places;
use crate::limits::Limits;
use crate::mounts::{self, During};
use crate::spawner::Outset;
use crate::tree::Broken;
use crate::{
    BIN_INSIDE, HAND, QUIRE_INSIDE, Rung, Spec, confine, frame, gate, nameless, others, process, unshared,
};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountAttrFlags, UnmountFlags};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Most terminals at one time.
const TERMINALS: &str = "64";

/// Prepares this process's own network, and hands over the way out of it through the host's socket.
pub fn network(spec: &Spec, socket: &UnixStream) -> Result<(), Broken> {
    loopback(spec.gate.is_some()).during("starting the loopback device")?;
    if spec.gate.is_some() {
        let sockets = gate::open().during("opening the way out")?;
        frame::write_with(socket, &Outset::Gate, &sockets).during("handing over the way out")?;
    }
    Ok(())
}

/// Becomes the hand. Returns only what stopped it.
pub fn enter(spec: &Spec, limits: &Limits) -> Result<std::convert::Infallible, Broken> {
    // The tree came from outside with its mounts locked together; a copy of it may become the root.
    let here = mounts::place(Path::new(".")).during("opening the new root")?;
    let root = mounts::copy_all(&here).during("copying the new root")?;
    mounts::attach(&root, &here).during("mounting the new root")?;
    rustix::process::fchdir(&root).during("entering the new root")?;
    kernel_files(root.as_fd(), spec)?;
    rustix::process::pivot_root(".", ".").during("changing the root")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).during("leaving the old root")?;
    rustix::process::chdir("/").during("entering the new root")?;

    rustix::system::sethostname(nameless::HOST_NAME.as_bytes()).during("naming the sandbox")?;
    rustix::process::setsid().during("leaving the terminal")?;
    process::die_with_parent().during("tying the sandbox to its spawner")?;
    if !spec.rung.has_processes() {
        unshared::adopt().during("adopting orphans")?;
    }
    let alone = others::is_alone();
    if alone {
        others::make()?;
    }
    limits.join().during("limiting the sandbox")?;
    confine::confine(spec, limits.memory_is_bounded(), alone)?;
    become_hand(&Path::new(BIN_INSIDE).join("quire"))
}

/// Becomes the hand on the rung [`Rung::Copy`], where nothing is changed but what this process may do. The calls that it may
/// not do itself go to whoever gets the descriptor that is sent through `caller`.
pub fn enter_copy(
    spec: &Spec,
    caller: &UnixStream,
    limits: &Limits,
) -> Result<std::convert::Infallible, Broken> {
    let places = Places::of(spec);
    rustix::process::setsid().during("leaving the terminal")?;
    process::die_with_parent().during("tying the sandbox to its spawner")?;
    unshared::adopt().during("adopting orphans")?;
    rustix::process::chdir(&places.folders[0]).during("entering the copy")?;
    limits.join().during("limiting the sandbox")?;
    let listener = confine::confine_copy(spec, &places, limits.memory_is_bounded())?;
    frame::write_with(caller, &(), &[listener]).during("handing over system calls")?;
    become_hand(&spec.binary)
}

/// What the kernel tells of the whole machine and of the people at it, and what is put in its place: its memory, keys and
/// log, interrupts (which time each stroke of a key), firmware, the power that others' work takes, and the boot.
const TOLD: [(&str, &str); 16] = [
    ("proc/kcore", "empty/file"),
    ("proc/keys", "empty/file"),
    ("proc/key-users", "empty/file"),
    ("proc/timer_list", "empty/file"),
    ("proc/kmsg", "empty/file"),
    ("proc/sched_debug", "empty/file"),
    ("proc/latency_stats", "empty/file"),
    ("proc/kpagecount", "empty/file"),
    ("proc/interrupts", "empty/file"),
    ("proc/acpi", "empty/directory"),
    ("proc/asound", "empty/directory"),
    ("proc/scsi", "empty/directory"),
    ("sys/firmware", "empty/directory"),
    ("sys/devices/virtual/powercap", "empty/directory"),
    ("sys/devices/virtual/dmi", "empty/directory"),
    (nameless::BOOT_ID, nameless::BOOT_COVER),
];

/// Mounts what belongs to the new namespaces: processes, devices' and drivers' state, terminals.
fn kernel_files(root: std::os::fd::BorrowedFd<'_>, spec: &Spec) -> Result<(), Broken> {
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
    if spec.rung == Rung::NoNewProc {
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
    let terminals = [("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"), ("max", TERMINALS)];
    let no_exec = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    mount("devpts", &terminals, "dev/pts", no_exec)?;

    // Nothing is written into a /proc that is the machine's.
    if spec.rung.has_processes() {
        bound_namespaces(root, spec.memory_bytes);
    }

    // Some of these ask only for the owner, not for a privilege: whoever root inside may be, they are closed.
    for name in ["sys", "sysrq-trigger", "irq", "bus", "fs", "pressure"] {
        let Ok(place) = mounts::within(root, &Path::new("proc").join(name)) else { continue };
        let closed = mounts::copy(&place).during(format_args!("closing /proc/{name}"))?;
        mounts::restrict(&closed, read_only, None).during(format_args!("closing /proc/{name}"))?;
        mounts::attach(&closed, &place).during(format_args!("closing /proc/{name}"))?;
    }
    let corner = Path::new(QUIRE_INSIDE);
    for (name, nothing) in TOLD {
        let Ok(place) = mounts::within(root, Path::new(name)) else { continue };
        let nothing = mounts::within(root, &corner.join(nothing)).during("opening an empty file")?;
        let nothing = mounts::copy(&nothing).during("copying an empty file")?;
        mounts::attach(&nothing, &place).during(format_args!("hiding /{name}"))?;
    }
    Ok(())
}

/// Bounds what the kernel counts for each namespace rather than for each process. A kernel may know a name not at all, or
/// keep it to real root; what the sandbox may have is less then by what it has of processes and memory only.
fn bound_namespaces(root: std::os::fd::BorrowedFd<'_>, memory: u64) {
    let sysctl = |name: &str| Path::new("proc/sys").join(name);
    let read = |name: &str| -> Option<u64> {
        let file =
            rustix::fs::openat(root, sysctl(name), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let mut text = [0; 32];
        let length = rustix::io::read(&file, &mut text).ok()?;
        std::str::from_utf8(&text[..length]).ok()?.trim().parse().ok()
    };
    let write = |name: &str, value: u64| {
        let file = rustix::fs::openat(root, sysctl(name), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        let _ = file.and_then(|file| rustix::io::write(&file, value.to_string().as_bytes()));
    };
    // The kernel counts these for a person, and his editor needs them too.
    for what in ["watches", "instances"] {
        if let Some(all) = read(&format!("fs/inotify/max_user_{what}")) {
            write(&format!("user/max_inotify_{what}"), (all / 4).max(1));
        }
    }
    // Memory that no process need have mapped.
    write("kernel/shmall", memory / 2 / process::page_size());
    write("kernel/shmmax", memory / 2);
    write("kernel/msgmni", 256);
    write("fs/mqueue/queues_max", 64);
}

/// Starts `lo`, the only device of a new network namespace (netdevice(7)). Where there is a way out it gets the address
/// of that as well: the C library takes a machine that has nothing but 127.0.0.1 for one without a network, and tells
/// programs of no other address (`AI_ADDRCONFIG`).
fn loopback(with_way_out: bool) -> std::io::Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let set = |name: &CStr, what, value: libc::__c_anonymous_ifr_ifru| {
        let mut request = libc::ifreq { ifr_name: [0; libc::IFNAMSIZ], ifr_ifru: value };
        for (to, from) in request.ifr_name.iter_mut().zip(name.to_bytes()) {
            *to = *from as libc::c_char;
        }
        // SAFETY: both requests read one ifreq.
        match unsafe { libc::ioctl(socket.as_raw_fd(), what, &raw const request) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    let flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    set(c"lo", libc::SIOCSIFFLAGS, libc::__c_anonymous_ifr_ifru { ifru_flags: flags })?;
    if with_way_out {
        // SAFETY: all zeros is a valid sockaddr, and a sockaddr_in is one.
        let address = unsafe {
            let mut address: libc::sockaddr_in = std::mem::zeroed();
            address.sin_family = libc::AF_INET as libc::sa_family_t;
            address.sin_addr.s_addr = u32::from_ne_bytes(gate::TRANSPARENT.octets());
            std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(address)
        };
        set(c"lo:0", libc::SIOCSIFADDR, libc::__c_anonymous_ifr_ifru { ifru_addr: address })?;
    }
    Ok(())
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
