//! The person went on working: what is to become of a path is laid over what they made of it meanwhile.
//!
//! Three sides: what the path was taken to be, what it is, and what it is to become. A file of which both sides changed other
//! lines is merged; what one side alone changed, content or mode, is that side's. All else stays drift, with the lines that
//! do not fit: nothing is guessed, and nothing is written until all of it fits.

use super::journal::What;
use super::plan::{Move, Target, look};
use super::{AcceptError, Drift};
use crate::blob::{BlobError, Blobs, PackWriter};
use crate::rooted::Rooted;
use crate::snapshot::TRAVELS;
use quire_core::merge::{Merge, Overlap, merge};
use quire_core::{Entry, Hash, Node, RelPath};
use std::collections::HashMap;
use std::io::{self, Read};

/// Longest file of which lines are merged.
const MERGED_BYTES_MAX: u64 = 8 << 20;

/// Finds what a frozen folder has at a path, where a content is not among the blobs.
pub type Base<'a> = &'a dyn Fn(u32, &RelPath) -> io::Result<Option<Vec<u8>>>;

/// What became of the moves that did not fit as they were.
#[derive(Default)]
pub struct Fitted {
    pub moves: Vec<Move>,
    /// Files in which both sides' changes are now: what they were just now, and what they are to be.
    pub merged: Vec<Entry>,
    pub overlaps: HashMap<(u32, RelPath), Vec<Overlap>>,
}

/// Fits those of `moves` that `drift` names, as far as they can be.
pub fn fit(
    roots: &[Rooted],
    moves: Vec<Move>,
    drift: &[Drift],
    base: Base<'_>,
    blobs: &Blobs,
    pack: &mut PackWriter,
) -> Result<Fitted, AcceptError> {
    let drifted: HashMap<_, ()> = drift.iter().map(|d| ((d.folder, d.path.clone()), ())).collect();
    let mut fitted = Fitted::default();
    for step in moves {
        let key = (step.folder, step.path.clone());
        let root = roots.get(step.folder as usize).filter(|_| drifted.contains_key(&key));
        match root.map(|root| three(root, &step, base, blobs, pack)).transpose()?.flatten() {
            None => fitted.moves.push(step),
            Some(Three::Overlaps(overlaps)) => {
                fitted.overlaps.insert(key, overlaps);
                fitted.moves.push(step);
            }
            // The person has it so already, and more.
            Some(Three::Done) => {}
            Some(Three::Fits { is, to, merged }) => {
                if let Some([was, now]) = merged {
                    let entry = Entry {
                        folder: step.folder,
                        path: step.path.clone(),
                        was: Some(was),
                        now: Some(now),
                    };
                    fitted.merged.push(entry);
                }
                fitted.moves.push(Move { from: Some(is), to: Some(to), ..step });
            }
        }
    }
    Ok(fitted)
}

enum Three {
    Fits {
        is: Target,
        to: Target,
        /// Before and after, where both sides' changes are in it.
        merged: Option<[Node; 2]>,
    },
    Done,
    Overlaps(Vec<Overlap>),
}

/// Lays the three sides of a file over each other; `None` where one of them is no file, or they cannot be compared.
fn three(
    root: &Rooted,
    step: &Move,
    base: Base<'_>,
    blobs: &Blobs,
    pack: &mut PackWriter,
) -> Result<Option<Three>, AcceptError> {
    let (Some(from), Some(to)) = (&step.from, &step.to) else { return Ok(None) };
    let (What::File { blob: was }, What::File { blob: wanted }) = (&from.what, &to.what) else {
        return Ok(None);
    };
    let Some(item) = look(root, &step.path, pack)?.item() else { return Ok(None) };
    let What::File { blob: is } = &item.what else { return Ok(None) };
    let all = if from.owner.is_some() { 0o7777 } else { TRAVELS };
    let Some(mode) = one_of(from.mode & all, item.mode & all, to.mode & all) else { return Ok(None) };
    let bytes = item.seen.map_or(0, |seen| seen.bytes);
    let (blob, length) = match one_of(was, is, wanted) {
        Some(blob) => (*blob, None),
        None if bytes > MERGED_BYTES_MAX => return Ok(None),
        None => {
            let content = |blob: &Hash| content_of(blob, step, base, blobs);
            let (Some(old), Some(new)) = (content(was)?, content(wanted)?) else { return Ok(None) };
            let mut mine = vec![];
            root.file(&step.path)?.take(MERGED_BYTES_MAX + 1).read_to_end(&mut mine)?;
            if Hash::of(&mine) != *is {
                return Ok(None); // just now somebody writes it
            }
            match merge(&old, &mine, &new) {
                Merge::Clean(merged) => (pack.add(merged.as_slice())?.0, Some(merged.len() as u64)),
                Merge::Overlaps(overlaps) => return Ok(Some(Three::Overlaps(overlaps))),
                Merge::Binary => return Ok(None),
            }
        }
    };
    if (blob, mode) == (*is, item.mode & all) {
        return Ok(Some(Three::Done));
    }
    let node = |blob, bytes, mode| Node::File { blob, bytes, mode: mode & TRAVELS };
    let is_merged = (blob, mode) != (*wanted, to.mode & all);
    let merged = [node(*is, bytes, item.mode), node(blob, length.unwrap_or(bytes), mode)];
    Ok(Some(Three::Fits {
        is: Target { what: item.what.clone(), mode: item.mode, owner: Some((item.uid, item.gid)) },
        to: Target { what: What::File { blob }, mode, owner: to.owner },
        merged: is_merged.then_some(merged),
    }))
}

/// Returns what a thing is to be of which one side at most made something else, or both the same.
fn one_of<T: PartialEq>(was: T, mine: T, theirs: T) -> Option<T> {
    match (was == mine, was == theirs) {
        (true, _) => Some(theirs),
        (_, true) => Some(mine),
        _ if mine == theirs => Some(mine),
        _ => None,
    }
}

fn content_of(
    blob: &Hash,
    step: &Move,
    base: Base<'_>,
    blobs: &Blobs,
) -> Result<Option<Vec<u8>>, AcceptError> {
    match blobs.get(blob) {
        Err(BlobError::Missing(_)) => {
            let frozen = base(step.folder, &step.path)?;
            Ok(frozen
                .filter(|content| content.len() as u64 <= MERGED_BYTES_MAX && Hash::of(content) == *blob))
        }
        content => Ok(Some(content?).filter(|content| content.len() as u64 <= MERGED_BYTES_MAX)),
    }
}
