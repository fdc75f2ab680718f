//! What changed from one version to another: of one task, or of two that began with the same folders.

use crate::git;
use crate::quire::{COMPARED_BYTES_MAX, Content, EngineError, Quire};
use crate::rewind::Point;
use crate::snapshot::{self, SnapshotError};
use crate::work::load_snapshot;
use quire_core::task::Version;
use quire_core::{Entry, Hash, Node, RelPath, Task, diff};
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

/// What is no text is whole in a patch up to so many bytes.
const PATCHED_BYTES_MAX: usize = 64 << 20;

/// A file that is not the same on both sides, and what it holds on each.
pub(crate) type Changed = (Entry, Content, Content);

/// Returns what stands before a path of a folder's in a diff: where there are several, the folder's name.
pub(crate) fn prefix(task: &Task, folder: u32) -> String {
    let name = task.charter.folders.get(folder as usize).and_then(|folder| folder.file_name());
    match name.filter(|_| task.charter.folders.len() > 1) {
        Some(name) => format!("{}/", name.to_string_lossy()),
        None => String::new(),
    }
}

impl Quire {
    pub(crate) fn changes_since(&self, task: &Task, since: u32) -> Result<Vec<Changed>, EngineError> {
        let (from, to) = (self.version_of(task, since)?, self.reviewable(task)?);
        self.between(task, &from.snapshot, &to.snapshot, COMPARED_BYTES_MAX)
    }

    pub(crate) fn diff_since(&self, task: &Task, since: u32) -> Result<Vec<u8>, EngineError> {
        let (from, to) = (self.version_of(task, since)?, self.reviewable(task)?);
        self.diff_between(task, &from.snapshot, &to.snapshot)
    }

    /// Returns the changes from one snapshot of the task's folders to another as one unified diff.
    pub(crate) fn diff_between(&self, task: &Task, from: &Hash, to: &Hash) -> Result<Vec<u8>, EngineError> {
        let mut whole = vec![];
        for (entry, was, now) in self.between(task, from, to, u64::MAX)? {
            let prefix = prefix(task, entry.folder);
            whole.extend(diff::unified(&prefix, &entry, &was.unwrap_or_default(), &now.unwrap_or_default()));
        }
        Ok(whole)
    }

    /// Returns the last version's changes as [`Quire::diff`] does, with the whole of what is no text, so that `git apply` makes all
    /// of it elsewhere; but for files that are so large that nobody carries them over in a patch.
    pub fn patch(&self, id: u64, since: Option<u32>) -> Result<Vec<u8>, EngineError> {
        let task = self.task(id)?;
        let version = self.reviewable(&task)?;
        let changed = match since {
            Some(since) => {
                self.between(&task, &self.version_of(&task, since)?.snapshot, &version.snapshot, u64::MAX)?
            }
            None => {
                let frozen = self.frozen(&task)?;
                let whole = |entry: Entry| {
                    let (was, now) = self.contents(&frozen, &entry, u64::MAX)?;
                    Ok::<_, EngineError>((entry, was, now))
                };
                let entries = load_snapshot(self.store(), &version.snapshot)?.entries;
                entries.into_iter().map(whole).collect::<Result<_, _>>()?
            }
        };
        let mut whole = vec![];
        for (entry, was, now) in changed {
            let (prefix, was, now) =
                (prefix(&task, entry.folder), was.unwrap_or_default(), now.unwrap_or_default());
            whole.extend(match was.len().max(now.len()) {
                0..=PATCHED_BYTES_MAX => diff::patch(&prefix, &entry, &was, &now, &git::name),
                _ => diff::unified(&prefix, &entry, &was, &now),
            });
        }
        Ok(whole)
    }

    fn version_of(&self, task: &Task, number: u32) -> Result<Arc<Version>, EngineError> {
        let found = task.versions.iter().find(|version| version.number == number).cloned();
        found.ok_or(EngineError::NoSuchPoint { task: task.id, point: Point::Version(number) })
    }

    /// Returns what differs between two snapshots of the task's folders, both over the same base. Contents longer than `most`
    /// are left out.
    pub(crate) fn between(
        &self,
        task: &Task,
        from: &Hash,
        to: &Hash,
        most: u64,
    ) -> Result<Vec<Changed>, EngineError> {
        let frozen = self.frozen(task)?;
        let sides = [from, to].map(|id| Ok::<_, EngineError>(load_snapshot(self.store(), id)?.entries));
        let [from, to] = sides;
        let mut paths: BTreeMap<(u32, RelPath), (Option<Entry>, Option<Entry>)> = BTreeMap::new();
        for entry in from? {
            let key = (entry.folder, entry.path.clone());
            paths.entry(key).or_default().0 = Some(entry);
        }
        for entry in to? {
            let key = (entry.folder, entry.path.clone());
            paths.entry(key).or_default().1 = Some(entry);
        }
        let base = |folder: u32, path: &RelPath| -> Result<Content, EngineError> {
            let Some(base) = frozen.get(folder as usize) else { return Ok(None) };
            let mut content = vec![];
            if let Some(mut file) = snapshot::old_content(base, path).map_err(SnapshotError::Layer)? {
                file.read_to_end(&mut content).map_err(SnapshotError::Layer)?;
            }
            Ok(Some(content))
        };
        let mut changed = vec![];
        for ((folder, path), (from, to)) in paths {
            // What a side does not name is as in the base, which the other one names.
            let known = from.as_ref().or(to.as_ref()).and_then(|entry| entry.was.clone());
            let node = |side: &Option<Entry>| side.as_ref().map_or(known.clone(), |entry| entry.now.clone());
            let (was, now) = (node(&from), node(&to));
            if was == now {
                continue;
            }
            let content = |node: &Option<Node>| match node {
                Some(node @ Node::File { bytes, .. }) if *bytes <= most && Some(node) == known.as_ref() => {
                    base(folder, &path)
                }
                Some(Node::File { blob, bytes, .. }) if *bytes <= most => match &known {
                    // Of another mode alone, its content is the base's and not stored again.
                    Some(Node::File { blob: old, .. }) if old == blob => base(folder, &path),
                    _ => Ok(Some(self.store().blobs().get(blob)?)),
                },
                _ => Ok(None),
            };
            let (before, after) = (content(&was)?, content(&now)?);
            changed.push((Entry { folder, path, was, now }, before, after));
        }
        Ok(changed)
    }
}
