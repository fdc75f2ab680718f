//! What a task needs: the contents that its log and its journals name.

use crate::accept::journals;
use crate::blob::BlobError;
use crate::quire::EngineError;
use crate::store::Store;
use crate::work::load_snapshot;
use quire_core::event::Base;
use quire_core::{Event, Hash, Node, Task};
use serde_json::Value;
use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;

/// What tasks that can still be gone on with, reviewed or undone need.
#[derive(Debug, Default)]
pub struct Live {
    pub blobs: HashSet<Hash>,
    /// Copies of folders, by number and delta.
    pub bases: HashSet<(u64, u64)>,
}

impl Live {
    /// Adds all that a task needs. `dir` is its own directory.
    pub fn add(&mut self, store: &Store, task: &Task, dir: &Path) -> Result<(), EngineError> {
        // The numbers of another place's copies mean nothing here.
        let own = task.imported_from().is_none();
        let before = task.checkpoints().filter_map(|checkpoint| checkpoint.bases.as_ref());
        let bases = task.bases.iter().chain(before).filter(|_| own).flat_map(|bases| bases.iter());
        self.bases.extend(bases.flat_map(Base::copies));
        for logged in store.events(task.id, 0)? {
            let snapshots: Vec<Hash> = match &logged.event {
                Event::Snapped { snapshot }
                | Event::Sealed { snapshot, .. }
                | Event::Edited { snapshot, .. } => vec![*snapshot],
                Event::Accepting { snapshot, ignored, taken, merged, .. } => {
                    [Some(*snapshot), *ignored, *taken, *merged].into_iter().flatten().collect()
                }
                _ => vec![],
            };
            for snapshot in snapshots {
                if self.blobs.insert(snapshot) {
                    self.contents(store, &snapshot)?;
                }
            }
            // Whatever an event may come to name, it names it so.
            let event = serde_json::to_value(&logged.event).map_err(io::Error::from);
            self.named(&event.map_err(|why| EngineError::Home { path: dir.to_owned(), why })?);
        }
        let failed = |why| EngineError::Home { path: dir.to_owned(), why };
        for journal in journals(dir).map_err(failed)? {
            let content = fs::read(&journal).and_then(|json| Ok(serde_json::from_slice(&json)?));
            match content {
                // It went on to its next stage meanwhile, which names the same.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                content => self.named(&content.map_err(failed)?),
            }
        }
        Ok(())
    }

    fn contents(&mut self, store: &Store, snapshot: &Hash) -> Result<(), EngineError> {
        let entries = match load_snapshot(store, snapshot) {
            // A list that is lost or spoilt leads nobody to what was on it.
            Err(BlobError::Missing(_) | BlobError::Spoilt { .. } | BlobError::Source(_)) => return Ok(()),
            snapshot => snapshot?.entries,
        };
        for node in entries.iter().flat_map(|entry| [&entry.was, &entry.now]).flatten() {
            if let Node::File { blob, .. } = node {
                self.blobs.insert(*blob);
            }
        }
        Ok(())
    }

    /// Adds every text in `value` that is a hash.
    fn named(&mut self, value: &Value) {
        match value {
            Value::String(text) if text.len() == 64 => self.blobs.extend(Hash::parse(text)),
            Value::Array(values) => values.iter().for_each(|value| self.named(value)),
            Value::Object(fields) => fields.values().for_each(|value| self.named(value)),
            _ => {}
        }
    }
}
