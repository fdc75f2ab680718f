//! Bringing a layer onto the disk. One call to sync the whole file system is the cheapest way for many files, but it also
//! waits for whatever every other program has written; a turn that changed a few files need not.

use rustix::fs::{FileType, Mode, OFlags, openat};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// Most files and directories that are synced one by one.
const FEW: usize = 24;

/// Makes everything in `layer` durable. No process may write to it any more.
pub fn sync(layer: &Path) -> io::Result<()> {
    let mut left = FEW;
    match one_by_one(layer, &mut left) {
        Ok(true) => Ok(()),
        // Too many, or one that its owner may not read.
        Ok(false) | Err(_) => Ok(rustix::fs::syncfs(fs::File::open(layer)?)?),
    }
}

/// Returns false, with only a part done, where there are more than `left`.
fn one_by_one(directory: &Path, left: &mut usize) -> io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let here = rustix::fs::open(directory, flags | OFlags::DIRECTORY, Mode::empty())?;
    for entry in fs::read_dir(directory)? {
        let Some(rest) = left.checked_sub(1) else { return Ok(false) };
        *left = rest;
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if !one_by_one(&entry.path(), left)? {
                return Ok(false);
            }
        } else if !kind.is_symlink() && !kind.is_char_device() && !kind.is_fifo() && !kind.is_socket() {
            let file = openat(here.as_fd(), entry.file_name(), flags, Mode::empty())?;
            if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) == FileType::RegularFile {
                rustix::fs::fsync(&file)?;
            }
        }
    }
    // Names, links and deletions are the directory's.
    rustix::fs::fsync(&here)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_synced_one_by_one_and_many_at_once() {
        for (files, all) in [(0, true), (FEW - 2, true), (FEW, false)] {
            let layer = tempfile::tempdir().unwrap();
            fs::create_dir(layer.path().join("d")).unwrap();
            std::os::unix::fs::symlink("/nowhere", layer.path().join("link")).unwrap();
            for n in 0..files {
                fs::write(layer.path().join("d").join(n.to_string()), "x").unwrap();
            }
            assert_eq!(one_by_one(layer.path(), &mut { FEW }).unwrap(), all, "{files}");
            sync(layer.path()).unwrap();
        }
        assert!(sync(Path::new("/no/such/layer")).is_err());
    }
}
