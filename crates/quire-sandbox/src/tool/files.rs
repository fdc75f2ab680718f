//! Files as tools take them: whatever a path leads to (a pipe, a device, an endless or a huge file), reading it neither
//! hangs nor fills memory, and a change of several files is made whole or not at all.

use rustix::fs::{AtFlags, CWD, RenameFlags, renameat_with};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Most bytes that a file may have to be changed by `edit` or `apply_patch`.
pub(super) const EDIT_MAX: u64 = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("There is no {path}.{hint}")]
    Missing { path: String, hint: String },
    #[error("{path} is a folder, not a file.")]
    Folder { path: String },
    #[error("{path} is {kind}, not a file; it was not opened.")]
    Special { path: String, kind: &'static str },
    #[error("{path} has {bytes} bytes, more than the {max} that can be changed this way; use shell.")]
    Large { path: String, bytes: u64, max: u64 },
    #[error("{path}: {error}.")]
    Io { path: String, error: io::Error },
}

impl FileError {
    pub(super) fn io(path: &Path, error: io::Error) -> FileError {
        match error.kind() {
            io::ErrorKind::NotFound => FileError::Missing { path: shown(path), hint: nearest_place(path) },
            _ => FileError::Io { path: shown(path), error },
        }
    }
}

/// Returns a path as text for a model.
pub(super) fn shown(path: &Path) -> String {
    quire_core::bytes::escape(path.as_os_str().as_encoded_bytes())
}

/// Returns what a file that is neither text nor folder is, in words.
pub(super) fn special_kind(meta: &Metadata) -> Option<&'static str> {
    let kind = meta.file_type();
    if kind.is_fifo() {
        Some("a named pipe")
    } else if kind.is_socket() {
        Some("a socket")
    } else if kind.is_char_device() || kind.is_block_device() {
        Some("a device")
    } else {
        None
    }
}

/// Opens a regular file for reading. The kind is checked before opening, because opening a device can act on it, and
/// again after, because the name may lead elsewhere by then; a pipe never blocks.
pub(super) fn open_regular(path: &Path) -> Result<(File, Metadata), FileError> {
    check_regular(path, &fs::metadata(path).map_err(|e| FileError::io(path, e))?)?;
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file =
        OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|e| FileError::io(path, e))?;
    let meta = file.metadata().map_err(|e| FileError::io(path, e))?;
    check_regular(path, &meta)?;
    Ok((file, meta))
}

fn check_regular(path: &Path, meta: &Metadata) -> Result<(), FileError> {
    if meta.is_dir() {
        return Err(FileError::Folder { path: shown(path) });
    }
    match special_kind(meta) {
        Some(kind) => Err(FileError::Special { path: shown(path), kind }),
        None => Ok(()),
    }
}

/// Reads a whole regular file of at most [`EDIT_MAX`] bytes.
pub(super) fn read_whole(path: &Path) -> Result<Vec<u8>, FileError> {
    let (file, meta) = open_regular(path)?;
    let large = |bytes| FileError::Large { path: shown(path), bytes, max: EDIT_MAX };
    if meta.len() > EDIT_MAX {
        return Err(large(meta.len()));
    }
    let mut content = Vec::with_capacity(meta.len() as usize);
    file.take(EDIT_MAX + 1).read_to_end(&mut content).map_err(|e| FileError::io(path, e))?;
    if content.len() as u64 > EDIT_MAX {
        return Err(large(content.len() as u64));
    }
    Ok(content)
}

/// Returns where writing to `path` lands: symlinks followed, also dangling ones, and of missing folders no `..` left.
pub(super) fn landing(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    // As many links as the kernel follows.
    for _ in 0..40 {
        match fs::canonicalize(&path) {
            Ok(real) => return Ok(real),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) => {}
        }
        let Some(parent) = path.parent() else { return Ok(path) };
        match fs::read_link(&path) {
            Ok(target) => path = parent.join(target),
            Err(_) => {
                let parent = landing(parent)?;
                return Ok(match path.file_name() {
                    Some(name) => parent.join(name),
                    None => parent.parent().unwrap_or(&parent).to_path_buf(),
                });
            }
        }
    }
    Err(io::Error::from_raw_os_error(libc::ELOOP))
}

/// What a file becomes. `path` is where it lands, see [`landing`]; `content: None` removes it.
pub(super) struct Change {
    pub(super) path: PathBuf,
    pub(super) content: Option<Vec<u8>>,
    /// The file whose mode and owner it takes, where it is not the file that stands there itself.
    pub(super) like: Option<PathBuf>,
}

/// Makes all changes or none: everything is written beside first, then put in place, and what was put in place is taken
/// back where a later step fails. Modes and owners of files that exist are kept.
pub(super) fn commit(changes: &[Change]) -> Result<(), FileError> {
    let mut done = Undo::default();
    let staged: Vec<Option<PathBuf>> =
        changes.iter().map(|c| stage(c, &mut done)).collect::<Result<_, _>>()?;
    for (change, beside) in changes.iter().zip(staged) {
        let path = &change.path;
        match beside {
            Some(beside) => put(&beside, path, &mut done),
            None => {
                let aside = beside_name(path);
                fs::rename(path, &aside).map(|()| done.0.push(Step::Moved { from: path.clone(), to: aside }))
            }
        }
        .map_err(|e| FileError::io(path, e))?;
    }
    done.keep();
    Ok(())
}

/// Writes a change's content to a file beside its place, with missing folders made.
fn stage(change: &Change, done: &mut Undo) -> Result<Option<PathBuf>, FileError> {
    let path = &change.path;
    let at = |e| FileError::io(path, e);
    let Some(content) = &change.content else { return Ok(None) };
    let old = fs::symlink_metadata(path).ok();
    if let Some(old) = &old {
        check_regular(path, old)?;
    }
    let mut missing = vec![];
    let mut dir = path.parent();
    while let Some(d) = dir.filter(|d| fs::symlink_metadata(d).is_err()) {
        missing.push(d.to_path_buf());
        dir = d.parent();
    }
    for d in missing.into_iter().rev() {
        fs::create_dir(&d).map_err(at)?;
        done.0.push(Step::MadeFolder(d));
    }
    let beside = beside_name(path);
    let mut file = OpenOptions::new().write(true).create_new(true).open(&beside).map_err(at)?;
    done.0.push(Step::MadeFile(beside.clone()));
    file.write_all(content).map_err(at)?;
    let like = match &change.like {
        Some(like) => fs::metadata(like).ok(),
        None => old,
    };
    if let Some(like) = like {
        let now = file.metadata().map_err(at)?;
        if (now.uid(), now.gid()) != (like.uid(), like.gid()) {
            // Only root may give files away, and without that the file is still right for who works here.
            let _ = std::os::unix::fs::fchown(&file, Some(like.uid()), Some(like.gid()));
        }
        file.set_permissions(fs::Permissions::from_mode(like.mode() & 0o7777)).map_err(at)?;
    }
    Ok(Some(beside))
}

/// Puts `beside` in the place of `path`. Where a file stands there, the two change places in one step, so that there is
/// always a whole file and the old one is at hand for taking it back.
fn put(beside: &Path, path: &Path, done: &mut Undo) -> io::Result<()> {
    match renameat_with(CWD, beside, CWD, path, RenameFlags::EXCHANGE) {
        Ok(()) => done.0.push(Step::Exchanged { beside: beside.to_path_buf(), path: path.to_path_buf() }),
        Err(rustix::io::Errno::NOENT) => {
            fs::rename(beside, path)?;
            done.0.push(Step::MadeFile(path.to_path_buf()));
        }
        // A file system that cannot exchange: the old file is kept by a second name instead.
        Err(_) => {
            let aside = beside_name(path);
            rustix::fs::linkat(CWD, path, CWD, &aside, AtFlags::empty())?;
            done.0.push(Step::Kept { aside, path: path.to_path_buf() });
            fs::rename(beside, path)?;
        }
    }
    Ok(())
}

fn beside_name(path: &Path) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!(".quire-{}-{count}", std::process::id()))
}

/// Steps that were taken; dropped without [`Undo::keep`], they are taken back, last first.
#[derive(Default)]
struct Undo(Vec<Step>);

enum Step {
    MadeFolder(PathBuf),
    MadeFile(PathBuf),
    Exchanged { beside: PathBuf, path: PathBuf },
    Kept { aside: PathBuf, path: PathBuf },
    Moved { from: PathBuf, to: PathBuf },
}

impl Undo {
    /// Makes the steps final: removes what was only kept for taking them back.
    fn keep(mut self) {
        for step in std::mem::take(&mut self.0) {
            if let Step::Exchanged { beside: old, .. }
            | Step::Kept { aside: old, .. }
            | Step::Moved { to: old, .. } = step
            {
                // The change itself stands; a leftover is the lesser evil than an error that says it failed.
                let _ = fs::remove_file(old);
            }
        }
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        for step in std::mem::take(&mut self.0).into_iter().rev() {
            // Taking back goes as far as it can: each step stands for itself.
            let _ = match step {
                Step::MadeFolder(path) => fs::remove_dir(path),
                Step::MadeFile(path) => fs::remove_file(path),
                Step::Exchanged { beside, path } => {
                    renameat_with(CWD, &beside, CWD, &path, RenameFlags::EXCHANGE).map_err(io::Error::from)
                }
                Step::Kept { aside, path } => fs::rename(aside, path),
                Step::Moved { from, to } => fs::rename(to, from),
            };
        }
    }
}

/// Returns a sentence on the deepest folder of a missing path that does exist, with names in it that are alike.
fn nearest_place(path: &Path) -> String {
    let Some(parent) = path.parent() else { return String::new() };
    if !parent.is_dir() {
        let found = parent.ancestors().find(|a| a.is_dir());
        return found.map(|a| format!(" There is only {}.", shown(a))).unwrap_or_default();
    }
    let Some(wanted) = path.file_name().map(|n| n.to_string_lossy().to_lowercase()) else {
        return String::new();
    };
    let stem = wanted.split('.').next().unwrap_or_default();
    let alike = |name: &str| {
        let name = name.to_lowercase();
        name == wanted || (stem.len() > 2 && name.contains(stem))
    };
    let entries = fs::read_dir(parent).into_iter().flatten().take(10_000).flatten();
    let mut names: Vec<_> = entries
        .filter(|e| alike(&e.file_name().to_string_lossy()))
        .map(|e| quire_core::bytes::escape(e.file_name().as_encoded_bytes()))
        .collect();
    names.sort();
    names.truncate(8);
    if names.is_empty() { String::new() } else { format!(" Its folder has {}.", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(path: &Path, content: Option<&str>) -> Change {
        Change { path: path.to_path_buf(), content: content.map(|c| c.as_bytes().to_vec()), like: None }
    }

    #[test]
    fn when_the_last_change_fails_all_are_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("old"), "old").unwrap();
        fs::write(at("gone"), "gone").unwrap();
        let changes = [
            change(&at("old"), Some("new")),
            change(&at("deep/er/fresh"), Some("new")),
            change(&at("gone"), None),
            change(&at("never-was"), None),
        ];
        assert!(matches!(commit(&changes), Err(FileError::Missing { .. })));
        assert_eq!(fs::read_to_string(at("old")).unwrap(), "old");
        assert_eq!(fs::read_to_string(at("gone")).unwrap(), "gone");
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            2,
            "nothing is left beside, no folder was kept"
        );
        commit(&changes[..3]).unwrap();
        assert_eq!(fs::read_to_string(at("old")).unwrap(), "new");
        assert_eq!(fs::read_to_string(at("deep/er/fresh")).unwrap(), "new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn staging_fails_before_anything_is_put_in_place() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("old"), "old").unwrap();
        let changes =
            [change(&dir.path().join("old"), Some("new")), change(&dir.path().join("old/below"), Some("x"))];
        assert!(commit(&changes).is_err());
        assert_eq!(fs::read_to_string(dir.path().join("old")).unwrap(), "old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_at_the_limit_is_read_and_a_larger_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = File::create(&path).unwrap();
        file.set_len(EDIT_MAX).unwrap();
        assert_eq!(read_whole(&path).unwrap().len() as u64, EDIT_MAX);
        file.set_len(EDIT_MAX + 1).unwrap();
        assert!(matches!(read_whole(&path), Err(FileError::Large { .. })));
    }
}
