//! The host's log: where a host in the background says what it does. It is begun anew when it has grown long, when a host
//! starts and while one runs; the one before is kept.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A log is begun anew beyond this.
const BYTES_MAX: u64 = 4 << 20;

/// Returns where the log lies that was begun before this one.
pub fn old(log: &Path) -> PathBuf {
    log.with_extension("log.old")
}

/// Opens the log to write at its end.
pub fn open(log: &Path) -> io::Result<File> {
    if let Some(dir) = log.parent() {
        fs::create_dir_all(dir)?;
    }
    if fs::metadata(log).is_ok_and(|meta| meta.len() > BYTES_MAX) {
        fs::rename(log, old(log))?;
    }
    File::options().create(true).append(true).open(log)
}

/// Where `written` is the log and has grown too long, puts a new one in its place.
pub fn rotate(log: &Path, written: impl AsFd) -> io::Result<()> {
    if let Some(fresh) = next(log, written)? {
        rustix::stdio::dup2_stderr(fresh)?;
    }
    Ok(())
}

fn next(log: &Path, written: impl AsFd) -> io::Result<Option<File>> {
    let now = rustix::fs::fstat(written)?;
    if now.st_size as u64 <= BYTES_MAX {
        return Ok(None);
    }
    // A host in view writes to a terminal, or to a file that is its person's.
    match fs::metadata(log) {
        Ok(meta) if (meta.dev(), meta.ino()) == (now.st_dev, now.st_ino) => open(log).map(Some),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_long_log_is_begun_anew_while_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("state/host.log");
        let mut first = open(&log).unwrap();
        first.write_all(b"begun\n").unwrap();
        assert!(next(&log, &first).unwrap().is_none(), "short");
        first.write_all(&vec![b'x'; BYTES_MAX as usize]).unwrap();
        let elsewhere = dir.path().join("other.log");
        assert!(next(&elsewhere, &first).unwrap().is_none(), "not the log");
        let mut second = next(&log, &first).unwrap().unwrap();
        second.write_all(b"anew\n").unwrap();
        assert_eq!(fs::read(&log).unwrap(), b"anew\n");
        assert!(fs::read(old(&log)).unwrap().starts_with(b"begun\n"));
        assert!(next(&log, &second).unwrap().is_none());
    }
}
