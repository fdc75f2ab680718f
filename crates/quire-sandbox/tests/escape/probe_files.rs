//! Probes of files: by handles, marks, descriptors, mapped pages and sockets.

use super::{asked, say, told};
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
/// Makes a handle of a file and opens that.
pub fn handles(_: &[&str]) {
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: i32,
        handle: [u8; 128],
    }
    let mut handle = Handle { bytes: 128, kind: 0, handle: [0; 128] };
    let mut mount = 0;
    // SAFETY: the handle has the room that it says, and outlives both calls.
    unsafe {
        let path = c"/etc/hostname".as_ptr();
        let root = libc::open(c"/etc".as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC);
        let made = libc::syscall(
            libc::SYS_name_to_handle_at,
            libc::AT_FDCWD,
            path,
            &raw mut handle,
            &raw mut mount,
            0,
        );
        // A file system need not have handles; then there is nothing to open.
        say(
            "made",
            told(asked(made).or_else(|error| {
                if error.raw_os_error() == Some(libc::EOPNOTSUPP) { Ok(0) } else { Err(error) }
            })),
        );
        say(
            "opened",
            told(asked(libc::syscall(libc::SYS_open_by_handle_at, root, &raw mut handle, libc::O_RDONLY))),
        );
    }
}

/// Leaves a root by the way of old, and says where that led.
pub fn chroot(_: &[&str]) {
    let id = |path: &str| {
        fs::metadata(path).map(|stat| format!("{}:{}", stat.dev(), stat.ino())).unwrap_or_default()
    };
    say("root", id("/"));
    let above = fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open("/").expect("the root");
    let jail = std::env::temp_dir().join("jail");
    fs::create_dir_all(&jail).expect("a directory");
    let done = std::os::unix::fs::chroot(&jail);
    let failed = done.is_err();
    say("chroot", told(done));
    if failed {
        return;
    }
    // SAFETY: takes a descriptor.
    unsafe { libc::fchdir(above.as_raw_fd()) };
    for _ in 0..32 {
        std::env::set_current_dir("..").expect("a parent");
    }
    say("reached", id("."));
}

/// Gives a file a capability, as of a kernel that knew no namespaces.
pub fn capability(args: &[&str]) {
    // struct vfs_cap_data, linux/capability.h: revision 2, effective, CAP_NET_RAW.
    let words = [0x0200_0001_u32, 1 << 13, 0, 0, 0];
    let value: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    say(
        "set",
        told(
            rustix::fs::setxattr(args[0], "security.capability", &value, rustix::fs::XattrFlags::empty())
                .map_err(Into::into),
        ),
    );
}

/// Sets attributes to a value.
pub fn mark(args: &[&str]) {
    let [at, value, names @ ..] = args else { return };
    for name in names {
        let set = rustix::fs::setxattr(*at, *name, value.as_bytes(), rustix::fs::XattrFlags::empty());
        say(name, told(set.map_err(Into::into)));
    }
}

/// Makes a file without a name in a directory, and names it.
pub fn nameless(args: &[&str]) {
    let directory = Path::new(args[0]);
    let made = fs::OpenOptions::new().write(true).custom_flags(libc::O_TMPFILE).open(directory);
    let linked = made
        .as_ref()
        .map_err(|e| io::Error::from_raw_os_error(e.raw_os_error().unwrap_or(0)))
        .and_then(|file| {
            let name = format!("/proc/self/fd/{}", file.as_raw_fd());
            let flags = rustix::fs::AtFlags::SYMLINK_FOLLOW;
            let cwd = rustix::fs::CWD;
            rustix::fs::linkat(cwd, name, cwd, directory.join("linked"), flags).map_err(Into::into)
        });
    say("made", told(made));
    say("linked", told(linked));
}

/// Watches a directory while the host changes it, and then changes it itself.
pub fn watch(args: &[&str]) {
    use rustix::fs::inotify;
    let out = Path::new(args[1]);
    let watch =
        inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).expect("inotify");
    let changes = inotify::WatchFlags::CLOSE_WRITE;
    inotify::add_watch(&watch, args[0], changes).expect("a watch");
    let mut buffer = [0; 4096];
    let mut told_of = || rustix::io::read(&watch, &mut buffer).map_or(0, |length| usize::from(length > 0));
    fs::write(out.join("ready"), "").expect("a word to the host");
    crate::stage::until("the host changed it", || out.join("go").exists());
    say("after-theirs", told_of());
    fs::write(Path::new(args[0]).join("two"), "ours").expect("a change");
    say("after-ours", told_of());
}

/// Connects to sockets, by path or by a name that begins with `@`.
pub fn connect(names: &[&str]) {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket};
    for name in names {
        let address = match name.strip_prefix('@') {
            Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes()),
            None => SocketAddrUnix::new(*name),
        };
        let tried = || -> io::Result<()> {
            let address = address?;
            let stream = connect(&socket(AddressFamily::UNIX, SocketType::STREAM, None)?, &address);
            // Most of the known services speak in packets or datagrams.
            match stream {
                Err(rustix::io::Errno::PROTOTYPE) => {
                    Ok(connect(&socket(AddressFamily::UNIX, SocketType::DGRAM, None)?, &address)?)
                }
                stream => Ok(stream?),
            }
        };
        say(name, told(tried()));
    }
}

/// Asks a file system for what is the machine's to decide. Each would be undone at once.
pub fn flags(args: &[&str]) {
    let file = fs::OpenOptions::new().read(true).write(true).open(args[0]).expect("a file");
    let ask = |what: &str, request: u64, argument: *mut libc::c_void| {
        // SAFETY: each argument is as long as its request says.
        say(
            what,
            told(asked(unsafe { libc::syscall(libc::SYS_ioctl, file.as_raw_fd(), request, argument) })),
        );
    };
    const SETFLAGS: u64 = 0x4008_6602; // FS_IOC_SETFLAGS, linux/fs.h
    const SETXATTR: u64 = 0x401c_5820; // FS_IOC_FSSETXATTR
    const SWAP_BOOT: u64 = 0x6611; // EXT4_IOC_SWAP_BOOT
    const TRIM: u64 = 0xc018_5879; // FITRIM
    const SHUTDOWN: u64 = 0x8004_587d; // FS_IOC_SHUTDOWN
    const RESIZE: u64 = 0x4008_6610; // EXT4_IOC_RESIZE_FS
    let mut immutable: u64 = 0x10;
    // struct fsxattr: the fourth word is the project.
    let mut project = [0_u32, 0, 0, 7, 0, 0, 0];
    // Where these three were granted: a range of nothing, no known way to shut down, the size of no disk.
    let (mut range, mut way, mut size) = ([u64::MAX, 0, u64::MAX], u32::MAX, 0_u64);
    ask("immutable", SETFLAGS, (&raw mut immutable).cast());
    ask("project", SETXATTR, project.as_mut_ptr().cast());
    ask("swap-boot", SWAP_BOOT, std::ptr::null_mut());
    ask("trim", TRIM, range.as_mut_ptr().cast());
    ask("shutdown", SHUTDOWN, (&raw mut way).cast());
    ask("resize", RESIZE, (&raw mut size).cast());
}

/// Puts a page of a file into a pipe whose pages were once its own, and writes on there (CVE-2022-0847).
pub fn pages(args: &[&str]) {
    use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, pipe_with, splice};
    let (from, to) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
    let size = fcntl_getpipe_size(&to).expect("its size");
    let mut full = vec![0; size];
    rustix::io::write(&to, &full).expect("a full pipe");
    rustix::io::read(&from, &mut full).expect("an empty pipe");
    let file = fs::File::open(args[0]).expect("a file");
    let mut at = 8;
    say(
        "spliced",
        told(splice(&file, Some(&mut at), &to, None, 1, SpliceFlags::empty()).map_err(Into::into)),
    );
    say("written", told(rustix::io::write(&to, b"DIRTY").map_err(Into::into)));
    say("same", fs::read(args[0]).is_ok_and(|bytes| bytes.iter().all(|byte| *byte == b'a')));
}
