"""A FUSE disk that shows another directory: disk.py DIRECTORY MOUNTPOINT [fold] [no-links] [no-modes] [numbers]

It can what most of them can, and so neither exchange two files nor rename to a free name only; each name has an inode number of
its own. `fold`: names that differ in large and small letters alone are one, as on the disks of macOS and Windows. `no-links`: no
file has two names. `no-modes`: everything has mode 755, and none can be given. `numbers`: a file has another inode number after
it was renamed, and each time the disk is mounted. It says `up` once it is mounted.
"""

import errno
import os
import stat
import sys
import zlib

import fusepy

SHOWN = (
    "st_atime_ns st_ctime_ns st_mtime_ns st_gid st_mode st_nlink st_size st_uid st_blocks"
).split()


class Disk(fusepy.Operations):
    use_ns = True

    def __init__(self, top, options):
        self.top = top
        self.fold = "fold" in options
        self.links = "no-links" not in options
        self.modes = "no-modes" not in options
        self.numbers = "numbers" in options

    def __call__(self, operation, path, *rest):
        try:
            return getattr(self, operation)(path, *rest)
        except OSError as error:
            raise fusepy.FuseOSError(error.errno)

    def real(self, path):
        """Returns where it is: under the name that it was given first, where letters are folded."""
        at = self.top
        for name in path.strip("/").split("/"):
            if self.fold and not os.path.lexists(os.path.join(at, name)) and os.path.isdir(at):
                alike = [other for other in os.listdir(at) if other.lower() == name.lower()]
                name = alike[0] if alike else name
            at = os.path.join(at, name) if name else at
        return at

    def init(self, path):
        print("up", flush=True)

    def getattr(self, path, handle=None):
        found = os.lstat(self.real(path))
        shown = {key.removesuffix("_ns"): getattr(found, key) for key in SHOWN}
        if not self.modes and not stat.S_ISLNK(found.st_mode):
            shown["st_mode"] = stat.S_IFMT(found.st_mode) | 0o755
        return {**shown, "st_ino": zlib.crc32(f"{os.getpid()} {path}".encode())} if self.numbers else shown

    def readdir(self, path, handle):
        return [".", "..", *os.listdir(self.real(path))]

    def readlink(self, path):
        return os.readlink(self.real(path))

    def statfs(self, path):
        found = os.statvfs(self.top)
        return {key: getattr(found, key) for key in ("f_bavail", "f_bfree", "f_blocks", "f_bsize", "f_frsize")}

    def mkdir(self, path, mode):
        os.mkdir(self.real(path), mode)

    def rmdir(self, path):
        os.rmdir(self.real(path))

    def unlink(self, path):
        os.unlink(self.real(path))

    def symlink(self, path, target):
        os.symlink(target, self.real(path))

    def link(self, path, old):
        if not self.links:
            raise OSError(errno.EPERM, "no links")
        os.link(self.real(old), self.real(path), follow_symlinks=False)

    def rename(self, old, new):
        source, target = self.real(old), self.real(new)
        if source == target:  # the same name in other letters
            target = os.path.join(os.path.dirname(target), os.path.basename(new))
        os.rename(source, target)

    def chmod(self, path, mode):
        if not self.modes:
            raise OSError(errno.EPERM, "no modes")
        os.chmod(self.real(path), mode)

    def chown(self, path, uid, gid):
        os.chown(self.real(path), *(-1 if id == 0xFFFFFFFF else id for id in (uid, gid)), follow_symlinks=False)

    def utimens(self, path, times=None):
        os.utime(self.real(path), ns=times, follow_symlinks=False)

    def create(self, path, mode, info=None):
        return os.open(self.real(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

    def open(self, path, flags):
        return os.open(self.real(path), flags & ~(os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW))

    def read(self, path, size, offset, handle):
        return os.pread(handle, size, offset)

    def write(self, path, content, offset, handle):
        return os.pwrite(handle, content, offset)

    def truncate(self, path, length, handle=None):
        os.truncate(self.real(path) if handle is None else handle, length)

    def fsync(self, path, only_data, handle):
        os.fsync(handle)

    def release(self, path, handle):
        os.close(handle)


directory, mountpoint, *options = sys.argv[1:]
disk = Disk(directory, options)
fusepy.FUSE(disk, mountpoint, foreground=True, attr_timeout=0, entry_timeout=0, use_ino=disk.numbers)
