//! Which files of its versions a task's person has looked at. That is a note of the person's to themselves, and no fact of the task:
//! in its log each tick would be news to every face, and make the task another one. So it lies beside the log, `tasks/N/seen/HASH`,
//! one empty file each, which nobody has to lock or to sync, and which goes with all else that the task left. The hash names the file
//! as it stands in the version, so that one with another content is unseen.

use crate::quire::{EngineError, Quire};
use quire_core::Hash;
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

impl Quire {
    /// Returns what the person has seen of a task, by [`quire_core::view::FileChange::identity`].
    pub fn seen(&self, id: u64) -> Result<BTreeSet<Hash>, EngineError> {
        let path = self.place(id).dir().join("seen");
        match fs::read_dir(&path) {
            Ok(names) => {
                let names = names.filter_map(|name| name.ok()?.file_name().into_string().ok());
                Ok(names.filter_map(|name| Hash::parse(&name)).collect())
            }
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(why) => Err(EngineError::Home { path, why }),
        }
    }

    /// Marks a file of a task as seen, or as not seen.
    pub fn see(&self, id: u64, file: Hash, is_seen: bool) -> Result<(), EngineError> {
        let dir = self.place(id).dir().join("seen");
        let mark = dir.join(file.to_string());
        let done = match is_seen {
            true => DirBuilder::new().recursive(true).mode(0o700).create(&dir).and_then(|()| {
                OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&mark).map(drop)
            }),
            false => match fs::remove_file(&mark) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
                _ => Ok(()),
            },
        };
        done.map_err(|why| EngineError::Home { path: mark, why })
    }
}
