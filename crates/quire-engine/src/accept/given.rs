//! The modes of what accepts made on a disk that keeps none: those that the disk gave. A version that comes after expects them, and not
//! those that the one before was to have.

use super::Desk;
use super::journal::{Place, Stage, What};
use quire_core::{Entry, Node, RelPath};
use std::collections::{HashMap, HashSet};

/// By folder and path, where the mode is another than the one wanted.
#[derive(Clone, Debug, Default)]
pub struct Given(HashMap<(u32, RelPath), u32>);

impl Given {
    /// Adds what accept `number` made, which is done. One whose journal is gone or cannot be read adds nothing: then what it made
    /// may be told as changed, and is not written.
    pub fn add(&mut self, desk: &Desk, number: u32) {
        let place = Place { dir: desk.dir.clone(), name: format!("accept-{number}") };
        let Ok(journal) = place.read(Stage::After) else { return };
        for operation in journal.operations {
            for old in operation.old {
                self.0.remove(&(operation.folder, old.path));
            }
            for new in
                operation.new.into_iter().filter(|new| new.is_given && !matches!(new.what, What::Link { .. }))
            {
                self.0.insert((operation.folder, new.path), new.mode);
            }
        }
    }

    /// Puts back what it was `before` an accept, for the paths that were taken back of that.
    pub fn take_back(&mut self, before: &Given, back: &HashSet<(u32, &RelPath)>) {
        for (folder, path) in back {
            let at = (*folder, (*path).clone());
            match before.0.get(&at) {
                Some(mode) => drop(self.0.insert(at, *mode)),
                None => drop(self.0.remove(&at)),
            }
        }
    }

    /// Returns the entry with what its path was as it stands there.
    pub fn was(&self, entry: Entry) -> Entry {
        Entry { was: self.of(&entry, &entry.was), ..entry }
    }

    /// Returns the entry with what its path is to be as the disk has it, if it has it.
    pub fn now(&self, entry: &Entry) -> Entry {
        Entry { now: self.of(entry, &entry.now), ..entry.clone() }
    }

    fn of(&self, entry: &Entry, node: &Option<Node>) -> Option<Node> {
        let mut node = node.clone()?;
        if let (Node::File { mode, .. } | Node::Dir { mode }, Some(given)) =
            (&mut node, self.0.get(&(entry.folder, entry.path.clone())))
        {
            *mode = given & crate::snapshot::TRAVELS;
        }
        Some(node)
    }
}
