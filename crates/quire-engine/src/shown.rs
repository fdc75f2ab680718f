//! A version's files, one at a time, for whoever shows its result. Nothing is followed out of the version: what it lists comes
//! from blobs, all else from the frozen copy of the folder, neither of which has links that lead elsewhere.

use crate::quire::{EngineError, Quire};
use crate::snapshot::{self, SnapshotError};
use crate::work::{hidden, load_snapshot};
use quire_core::{Node, RelPath, Task};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

impl Quire {
    /// Returns a file of one of the task's folders as the version of that number has it; without a number, as it was when the
    /// task began. `None` where there is no such file, it is hidden from tasks, or it is longer than `most` bytes.
    pub fn file_of(
        &self,
        id: u64,
        version: Option<u32>,
        folder: u32,
        path: &RelPath,
        most: u64,
    ) -> Result<Option<Vec<u8>>, EngineError> {
        let task = self.task(id)?;
        if task.cleared || self.hides(&task, folder, path) {
            return Ok(None);
        }
        if let Some(number) = version {
            let Some(version) = task.versions.iter().find(|version| version.number == number) else {
                return Ok(None);
            };
            for entry in load_snapshot(self.store(), &version.snapshot)?.entries {
                if entry.folder != folder || !path.is_within(&entry.path) {
                    continue;
                }
                match &entry.now {
                    // Where the mode alone changed, a snapshot does not store the content again.
                    Some(Node::File { blob, .. }) if matches!(&entry.was, Some(Node::File { blob: was, .. }) if was == blob) =>
                        {}
                    Some(Node::File { blob, bytes, .. }) if entry.path == *path && *bytes <= most => {
                        return Ok(Some(self.store().blobs().get(blob)?));
                    }
                    Some(Node::Dir { .. }) if entry.path != *path => {}
                    _ => return Ok(None),
                }
            }
        }
        let Some(frozen) = self.frozen(&task)?.into_iter().nth(folder as usize) else { return Ok(None) };
        let Some(file) = snapshot::old_content(&frozen, path).map_err(SnapshotError::Layer)? else {
            return Ok(None);
        };
        let mut content = vec![];
        file.take(most + 1).read_to_end(&mut content).map_err(SnapshotError::Layer)?;
        Ok((content.len() as u64 <= most).then_some(content))
    }

    /// Returns whether a path of one of the task's folders is hidden from it: nothing shows it either.
    pub(crate) fn hides(&self, task: &Task, folder: u32, path: &RelPath) -> bool {
        let Some(folder) = task.charter.folders.get(folder as usize) else { return true };
        let hide = hidden(&task.charter.sandbox.hide, self.home());
        let home = task.charter.env.iter().find(|(name, _)| name == "HOME").map(|(_, home)| Path::new(home));
        let at = folder.join(OsStr::from_bytes(path.as_bytes()));
        quire_sandbox::hides(&at, folder, &hide, home)
    }
}
