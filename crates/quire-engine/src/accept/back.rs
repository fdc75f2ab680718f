//! What of an accept is taken back: all that is left of it, or some of its paths with what these need.

use super::journal::{Place, Stage, What};
use super::plan::{Move, Target};
use super::{AcceptError, Desk, Plan, Writing, make};
use crate::blob::Blobs;
use quire_core::change::renames::renames;
use quire_core::event::Part;
use quire_core::{Entry, Hash, Node, RelPath};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Paths of an accept, each with the index of its folder.
pub type Paths = BTreeSet<(u32, RelPath)>;

/// What is left of an accept.
pub struct Back {
    accept: u32,
    turn: u32,
    folders: Vec<PathBuf>,
    moves: BTreeMap<(u32, RelPath), Move>,
    /// A renamed file's two paths, each with the other.
    renamed: BTreeMap<(u32, RelPath), (u32, RelPath)>,
}

impl Back {
    /// Reads what is left of an accept, of which each undo `before` took a part back.
    pub fn of(desk: &Desk, accept: u32, before: &[Vec<Part>]) -> Result<Back, AcceptError> {
        let accepted = Place { dir: desk.dir.clone(), name: Writing::Accept(accept).name() };
        if accepted.stage() != Some(Stage::After) {
            return Err(AcceptError::NotAccepted);
        }
        let journal = accepted.read(Stage::After)?;
        let moves = journal.operations.iter().flat_map(Move::back);
        let mut moves: BTreeMap<_, _> = moves.map(|step| ((step.folder, step.path.clone()), step)).collect();
        for part in before.iter().flatten() {
            moves.remove(&(part.folder, part.path.clone()));
        }
        let entries: Vec<Entry> = moves.values().map(accepted_as).collect();
        let mut renamed = BTreeMap::new();
        for ((folder, to), from) in renames(&entries) {
            renamed.insert((folder, to.clone()), (folder, from.clone()));
            renamed.insert((folder, from), (folder, to));
        }
        Ok(Back { accept, turn: before.len() as u32, folders: journal.folders, moves, renamed })
    }

    /// Returns all that is left.
    pub fn all(&self) -> Paths {
        self.moves.keys().cloned().collect()
    }

    /// Returns how many of the paths are files.
    pub fn files(&self, paths: &Paths) -> usize {
        let is_dir = |step: &Move| step.from.iter().chain(&step.to).all(|target| target.what == What::Dir);
        paths.iter().filter(|path| self.moves.get(path).is_some_and(|step| !is_dir(step))).count()
    }

    /// Returns what is at or below the parts that a person names, with what belongs to it: a renamed file goes back from both its
    /// paths, and what was in a folder needs that folder.
    pub fn named(&self, parts: &[Part]) -> Result<Paths, AcceptError> {
        let mut paths = Paths::new();
        for part in parts {
            let held =
                |(folder, path): &&(u32, RelPath)| *folder == part.folder && path.is_within(&part.path);
            let found: Vec<_> = self.moves.keys().filter(held).cloned().collect();
            if found.is_empty() {
                return Err(AcceptError::NotWritten(part.path.clone()));
            }
            paths.extend(found);
        }
        let others: Vec<_> = paths.iter().filter_map(|path| self.renamed.get(path)).cloned().collect();
        paths.extend(others);
        let needed: Vec<_> = paths.iter().flat_map(|path| self.needed(path)).collect();
        paths.extend(needed);
        Ok(self.without(&paths, &Paths::new()))
    }

    /// Returns those of the paths that can go back where others stay: `stay` among them, or beside them.
    pub fn without(&self, paths: &Paths, stay: &Paths) -> Paths {
        let mut left: Paths = paths.difference(stay).cloned().collect();
        loop {
            let holds: Paths = stay
                .iter()
                .chain(self.moves.keys())
                .filter(|path| {
                    // What is there now, and is not taken.
                    !left.contains(path) && self.moves.get(path).is_none_or(|step| step.from.is_some())
                })
                .flat_map(above)
                .collect();
            let can = |path: &&(u32, RelPath)| {
                let Some(step) = self.moves.get(path) else { return false };
                let is_emptied = !goes(step) || !holds.contains(path);
                is_emptied
                    && self.renamed.get(path).is_none_or(|other| left.contains(other))
                    && self.needed(path).iter().all(|folder| left.contains(folder))
            };
            let next: Paths = left.iter().filter(can).cloned().collect();
            if next.len() == left.len() {
                return next;
            }
            left = next;
        }
    }

    /// Returns the folders that have to come back before a path can.
    fn needed(&self, path: &(u32, RelPath)) -> Vec<(u32, RelPath)> {
        if self.moves.get(path).is_none_or(|step| step.to.is_none()) {
            return vec![];
        }
        let comes = |path: &(u32, RelPath)| {
            self.moves.get(path).is_some_and(|step| is_dir(&step.to) && !is_dir(&step.from))
        };
        above(path).into_iter().filter(comes).collect()
    }

    /// Plans taking the paths back. What the person changed since stays; only what the accept brought goes.
    pub fn plan(&self, desk: &Desk, paths: &Paths, blobs: &Blobs) -> Result<Plan, AcceptError> {
        let writing = Writing::Undo { accept: self.accept, turn: self.turn };
        let place = Place { dir: desk.dir.clone(), name: writing.name() };
        let moves = paths.iter().filter_map(|path| self.moves.get(path)).cloned().collect();
        let none = super::Sides { base: &|_, _| Ok(None), over: &|_, _| false, where_gone: true };
        make(desk, place, &self.folders, moves, &none, blobs)
    }
}

fn is_dir(target: &Option<Target>) -> bool {
    target.as_ref().is_some_and(|target| target.what == What::Dir)
}

/// Returns whether a folder goes away, or something else takes its place.
fn goes(step: &Move) -> bool {
    is_dir(&step.from) && !is_dir(&step.to)
}

/// Returns the folders that a path is in.
fn above((folder, path): &(u32, RelPath)) -> Vec<(u32, RelPath)> {
    std::iter::successors(path.parent(), RelPath::parent).map(|path| (*folder, path)).collect()
}

/// Returns what an accept did, from what takes it back, as far as renames are seen from it.
fn accepted_as(step: &Move) -> Entry {
    let node = |target: &Target| match &target.what {
        What::File { blob } => {
            Some(Node::File { blob: *blob, bytes: u64::from(*blob != Hash::of(b"")), mode: target.mode })
        }
        What::Link { .. } => None,
        What::Dir => Some(Node::Dir { mode: target.mode }),
    };
    Entry {
        folder: step.folder,
        path: step.path.clone(),
        was: step.to.as_ref().and_then(node),
        now: step.from.as_ref().and_then(node),
    }
}
