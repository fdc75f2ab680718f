//! The folder of a task that was given none. It is there from the first accept until the last undo: before, a task stands on
//! the copy of an empty one, so nothing of the person's changes and nothing is left of a task that came to nothing.

use crate::freeze::{self, FreezeError, Frozen};
use crate::rooted::sync_dir;
use quire_core::Charter;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Copies folder `number` of a charter, as [`freeze::freeze_at_most`]; one that may be missing, and is, as an empty one.
pub(crate) fn freeze(
    home: &Path,
    charter: &Charter,
    number: usize,
    most: u64,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Frozen, FreezeError> {
    let folder = &charter.folders[number];
    match charter.may_lack(number) && is_missing(folder) {
        true => freeze::freeze_missing(home, folder),
        false => freeze::freeze_at_most(home, folder, most, progress),
    }
}

/// Holds a task's new folder, where it has one, while something is written into it or taken back. Once that is over, it is
/// removed where it is empty.
pub(crate) struct NewFolder(Option<PathBuf>);

impl NewFolder {
    pub fn of(charter: &Charter) -> NewFolder {
        NewFolder(charter.new_folder.then(|| charter.folders[0].clone()))
    }

    /// Makes it where it is missing.
    pub fn made(charter: &Charter) -> io::Result<NewFolder> {
        let new = NewFolder::of(charter);
        if let Some(folder) = new.0.as_deref().filter(|folder| is_missing(folder)) {
            fs::create_dir_all(folder)?;
            // It has to be there as long as what will be in it.
            folder.ancestors().skip(1).take(2).try_for_each(sync_dir)?;
        }
        Ok(new)
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        let Some(folder) = &self.0 else { return };
        // One that holds anything is not removed. The folder around it may be the person's by now.
        let _ = fs::remove_dir(folder);
    }
}

fn is_missing(folder: &Path) -> bool {
    folder.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_new_folder_is_there_while_something_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("Quire/page");
        let charter = Charter { new_folder: true, folders: vec![folder.clone()], ..testing::charter() };
        drop(NewFolder::made(&charter).unwrap());
        assert!(!folder.exists(), "nothing was written");

        let held = NewFolder::made(&charter).unwrap();
        fs::write(folder.join("index.html"), "").unwrap();
        drop(held);
        assert!(folder.join("index.html").exists());

        fs::remove_file(folder.join("index.html")).unwrap();
        drop(NewFolder::of(&charter));
        assert!(!folder.exists() && dir.path().join("Quire").exists(), "what is around it stays");

        // One that the task was given is the person's, whatever is in it.
        let given = Charter { new_folder: false, folders: vec![dir.path().join("empty")], ..charter };
        fs::create_dir(dir.path().join("empty")).unwrap();
        drop(NewFolder::made(&given).unwrap());
        assert!(dir.path().join("empty").exists());
    }

    #[test]
    fn a_missing_folder_is_frozen_empty_and_later_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (home, folder) = (dir.path().join("home"), dir.path().join("Quire/page"));
        fs::create_dir(&home).unwrap();
        let new = Charter { new_folder: true, folders: vec![folder.clone()], ..testing::charter() };
        let copy =
            |charter: &Charter| freeze(&home, charter, 0, u64::MAX, &|_, _| {}).map(|f| (f.delta, f.files));
        assert_eq!(copy(&new).unwrap(), (0, 0));
        assert_eq!(copy(&new).unwrap(), (0, 0));
        let given = Charter { new_folder: false, ..new.clone() };
        assert!(matches!(copy(&given), Err(FreezeError::Folder { .. })));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("index.html"), "<h1>").unwrap();
        assert_eq!(copy(&new).unwrap(), (1, 1));
    }
}
