//! What a person put on a file beside its content and mode: access lists, attributes of their own, a security module's label. A
//! replaced file is a new one, which takes these over from the one that it replaces. Capabilities it does not: the kernel takes
//! them from a file when somebody writes into it, for whoever writes could run with them.

use rustix::fs::XattrFlags;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

/// The most that the kernel gives of names, and of one value, in bytes.
const MAX: usize = 64 << 10;

/// Gives `new` what is on `old`, which may be open as a path alone; what this process may not give, or the file system has no place for, stays behind.
pub fn carry_over(old: BorrowedFd<'_>, new: BorrowedFd<'_>) -> io::Result<()> {
    // Also where the person may not read their own file; a link is none that has any.
    let old = format!("/proc/self/fd/{}", old.as_raw_fd());
    let mut names = vec![0; MAX];
    let length = match rustix::fs::listxattr(&old, &mut names) {
        Err(Errno::OPNOTSUPP) => return Ok(()),
        length => length?,
    };
    let travels = |name: &&[u8]| {
        name.starts_with(b"user.") || *name == b"system.posix_acl_access" || *name == b"security.selinux"
    };
    for name in names[..length].split(|byte| *byte == 0).filter(travels) {
        let name = OsStr::from_bytes(name);
        let mut value = vec![0; MAX];
        let given = rustix::fs::getxattr(&old, name, &mut value)
            .and_then(|length| rustix::fs::fsetxattr(new, name, &value[..length], XattrFlags::empty()));
        match given {
            Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::INVAL | Errno::NODATA) | Ok(()) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
