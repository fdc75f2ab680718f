//! The way in: from a process in fresh namespaces, whose directory is the root of the built tree, to the hand.

use crate::confine::Bounds;
use crate::copy::Places;
use crate::limits::Limits;
use crate::mounts::{self, During};
use crate::network::WayOut;
use crate::spawner::Outset;
use crate::tree::Broken;
use crate::{
    BIN_INSIDE, HAND, QUIRE_INSIDE, Rung, Spec, confine, frame, nameless, network, others, process, unshared,
};
use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::mount::{MountAttrFlags, UnmountFlags};
use std::ffi::CString;
use std::io::Seek;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Most terminals at one time.
const TERMINALS: &str = "64";

/// Makes the network of what runs inside, and hands over the way out of it through the host's socket. Before `/sys` is
/// mounted, which shows the network in which that is done.
pub fn network(spec: &Spec, socket: &UnixStream) -> Result<(), Broken> {
    if let Some(WayOut { sockets, shared }) = network::make(spec.gate.is_some())? {
        frame::write_with(socket, &Outset::Gate { shared }, &sockets).during("handing over the way out")?;
    }
    Ok(())
}

/// Becomes the hand, which goes on by [`arrive`]. Returns only what stopped it.
///
/// The hand is started while the machine's root is still this process's, so that its loader and libraries are the machine's. In
/// the new root they are the task's, and whoever had changed them there would speak with the hand's voice.
pub fn enter(spec: &Spec, limits: &Limits) -> Result<std::convert::Infallible, Broken> {
    // The tree came from outside with its mounts locked together; a copy of it may become the root.
    let here = mounts::place(Path::new(".")).during("opening the new root")?;
    let root = mounts::copy_all(&here).during("copying the new root")?;
    mounts::attach(&root, &here).during("mounting the new root")?;
    rustix::process::fchdir(&root).during("entering the new root")?;
    if !spec.rung.has_processes() {
        // What a command says of itself elsewhere (`tool::command`), while it still can be said.
        let _ = std::fs::write("/proc/self/oom_score_adj", "800");
    }
    let bounded = kernel_files(root.as_fd(), spec)?;
    rustix::system::sethostname(nameless::HOST_NAME.as_bytes()).during("naming the sandbox")?;
    rustix::process::setsid().during("leaving the terminal")?;
    process::die_with_parent().during("tying the sandbox to its spawner")?;
    if !spec.rung.has_processes() {
        unshared::adopt().during("adopting orphans")?;
    }
    limits.join().during("limiting the sandbox")?;
    // As the tree shows it, where it may be run whoever its owner is outside.
    let binary = mounts::within(&root, &Path::new(BIN_INSIDE).join("quire")).during("opening the hand")?;
    become_hand(binary, Some(&Bounds::of(spec, &limits.held, bounded)))
}

/// Ends the way in, in the hand itself: changes the root and gives up what is to be given up. There is one thread, and nothing of
/// the new root was used yet.
pub fn arrive() -> Result<(), Broken> {
    // SAFETY: whoever starts the hand leaves a file at this number, and nothing else knows of it.
    let left = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(LEFT) });
    let left: Option<Bounds> = serde_json::from_reader(left).during("hearing what is left to be done")?;
    // The name under which it was started was that of a descriptor.
    let _ = rustix::thread::set_name(c"quire");
    let Some(bounds) = left else { return Ok(()) };
    rustix::process::pivot_root(".", ".").during("changing the root")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).during("leaving the old root")?;
    rustix::process::chdir("/").during("entering the new root")?;
    let alone = others::is_alone();
    if alone {
        others::make()?;
    }
    confine::confine(&bounds, alone)
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
    let listener = confine::confine_copy(spec, &places, &Bounds::of(spec, &limits.held, true))?;
    frame::write_with(caller, &(), &[listener]).during("handing over system calls")?;
    let binary = mounts::place(&spec.binary).during("opening the hand")?;
    become_hand(binary, None)
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

/// Mounts what belongs to the new namespaces: processes, devices' and drivers' state, terminals. Returns whether the kernel bounds
/// memory that no process need have mapped.
fn kernel_files(root: std::os::fd::BorrowedFd<'_>, spec: &Spec) -> Result<bool, Broken> {
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
    let bounded;
    if spec.rung == Rung::NoNewProc {
        // With whatever covers parts of it, for which alone the kernel allows this.
        let machines = mounts::place(Path::new("/proc")).during("opening /proc")?;
        // What is written there is set of the writer's namespaces.
        bounded = bound_namespaces(machines.as_fd(), spec.memory_bytes);
        let machines = mounts::copy_all(&machines).during("showing /proc")?;
        // The processes of the person are in it, and what can be set of them belongs to the same user.
        mounts::restrict_all(&machines, read_only).during("showing /proc")?;
        let target = mounts::directory_within(root, Path::new("proc"), 0).during("finding /proc")?;
        mounts::attach(&machines, &target).during("showing /proc")?;
        // Covered in the same way, it stays empty.
        let _ = mount("sysfs", &[], "sys", read_only);
    } else {
        mount("proc", &[], "proc", quiet)?;
        mount("sysfs", &[], "sys", read_only)?;
        let own = mounts::within(root, Path::new("proc")).during("finding /proc")?;
        bounded = bound_namespaces(own.as_fd(), spec.memory_bytes);
    }
    let terminals = [("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"), ("max", TERMINALS)];
    let no_exec = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    mount("devpts", &terminals, "dev/pts", no_exec)?;

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
    Ok(bounded)
}

/// Bounds what the kernel counts for each namespace rather than for each process. A kernel may know a name not at all, or
/// keep it to real root; what the sandbox may have is less then by what it has of processes and memory only. Returns whether
/// memory of System V, which no process need have mapped, is bounded.
fn bound_namespaces(proc: std::os::fd::BorrowedFd<'_>, memory: u64) -> bool {
    let sysctl = |name: &str| Path::new("sys").join(name);
    let read = |name: &str| -> Option<u64> {
        let file =
            rustix::fs::openat(proc, sysctl(name), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let mut text = [0; 32];
        let length = rustix::io::read(&file, &mut text).ok()?;
        std::str::from_utf8(&text[..length]).ok()?.trim().parse().ok()
    };
    let write = |name: &str, value: u64| {
        let file = rustix::fs::openat(proc, sysctl(name), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        file.and_then(|file| rustix::io::write(&file, value.to_string().as_bytes())).is_ok()
    };
    // The kernel counts these for a person, and his editor needs them too.
    for what in ["watches", "instances"] {
        if let Some(all) = read(&format!("fs/inotify/max_user_{what}")) {
            write(&format!("user/max_inotify_{what}"), (all / 4).max(1));
        }
    }
    write("kernel/shmmax", memory / 2);
    write("kernel/msgmni", 256);
    write("fs/mqueue/queues_max", 64);
    write("kernel/shmall", memory / 2 / process::page_size())
}

/// Where the hand finds what is `left` for it to do.
const LEFT: RawFd = 3;

/// Starts the hand in this process, with no environment; descriptor 0 is its socket, and no other stays open but [`LEFT`].
fn become_hand(binary: OwnedFd, left: Option<&Bounds>) -> Result<std::convert::Infallible, Broken> {
    let file =
        rustix::fs::memfd_create("left", MemfdFlags::CLOEXEC).during("telling the hand what is left")?;
    let mut file = std::fs::File::from(file);
    serde_json::to_writer(&file, &left).during("telling the hand what is left")?;
    file.rewind().during("telling the hand what is left")?;
    // Neither may be what the other is to become.
    let above = |fd: OwnedFd| rustix::io::fcntl_dupfd_cloexec(&fd, LEFT + 1).during("starting the hand");
    let (binary, file) = (above(binary)?, above(file.into())?);
    let name = CString::new(HAND).during("naming the hand")?;
    let arguments = [c"quire".as_ptr(), name.as_ptr(), std::ptr::null()];
    let environment = [std::ptr::null::<libc::c_char>()];
    // SAFETY: both lists end in null and outlive the call; closing on exec touches no memory.
    unsafe {
        libc::syscall(libc::SYS_close_range, LEFT, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
        libc::dup2(file.as_raw_fd(), LEFT);
        libc::syscall(
            libc::SYS_execveat,
            binary.as_raw_fd(),
            c"".as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    Err(std::io::Error::last_os_error()).during("starting the hand")
}
