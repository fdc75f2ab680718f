//! Reading a small file that somebody else may have put there: a pipe must not hang quire, a device must not answer, and
//! a file of any size must not fill the memory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The beginning of a file.
pub(crate) struct Start {
    pub file: File,
    pub bytes: Vec<u8>,
    /// Whether `bytes` is all of it.
    pub whole: bool,
}

/// Returns at most the first `bytes_max` bytes of the regular file at `path` (symlinks are followed), or `None` where
/// nothing is there. Anything but a regular file is an error of kind `InvalidInput`.
pub(crate) fn read_start(path: &Path, bytes_max: usize) -> io::Result<Option<Start>> {
    // Looked at before it is opened, since opening a device can already do something.
    let there = match fs::metadata(path) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        there => there?,
    };
    regular(&there)?;
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    regular(&file.metadata()?)?;
    let mut bytes = Vec::new();
    (&file).take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    let whole = bytes.len() <= bytes_max;
    bytes.truncate(bytes_max);
    Ok(Some(Start { file, bytes, whole }))
}

fn regular(metadata: &fs::Metadata) -> io::Result<()> {
    if metadata.is_file() {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}
