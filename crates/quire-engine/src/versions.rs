//! What changed from one version to another: of one task, or of two that began with the same folders.

use crate::quire::{COMPARED_BYTES_MAX, Content, EngineError, Quire};
use crate::rewind::Point;
use crate::snapshot::{self, SnapshotError};
use crate::work::load_snapshot;
use quire_core::task::Version;
use quire_core::{Entry, Hash, Node, RelPath, Task, diff};
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

/// A file that is not the same on both sides, and what it holds on each.
pub(crate) type Changed = (Entry, Content, Content);

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
            let prefix = match task.charter.folders.len() {
                1 => String::new(),
                _ => format!("{}/", entry.folder),
            };
            whole.extend(diff::unified(&prefix, &entry, &was.unwrap_or_default(), &now.unwrap_or_default()));
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
