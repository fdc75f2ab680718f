//! Removing what a sandbox left behind. An overlay's work directory and an agent's files may forbid their owner to look,
//! which an ordinary user must lift first.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

/// Removes everything in a directory. No process may work in it any more.
pub fn empty(directory: &Path) -> io::Result<()> {
    if let Err(error) = fs::remove_dir_all(directory) {
        match error.kind() {
            io::ErrorKind::NotFound => {}
            io::ErrorKind::PermissionDenied => {
                open_up(directory)?;
                fs::remove_dir_all(directory)?;
            }
            _ => return Err(error),
        }
    }
    fs::DirBuilder::new().mode(0o700).create(directory)
}

/// Lets the owner into every directory, without following links.
fn open_up(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}
