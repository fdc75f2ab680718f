//! The person went on working: what is to become of a path is laid over what they made of it meanwhile.
//!
//! Three sides: what the path was taken to be, what it is, and what it is to become. A file of which both sides changed other
//! lines is merged; what one side alone changed, content or mode, is that side's. All else stays drift, with the lines that
//! do not fit: nothing is guessed, and nothing is written until all of it fits. Only where the person says so, what is to become of a
//! path stands over what they made of it; that is then what an undo brings back.

use super::journal::What;
use super::plan::{Move, Seen, Target, look};
use super::{AcceptError, Drift};
use crate::blob::{BlobError, Blobs, PackWriter};
use crate::rooted::Rooted;
use crate::snapshot::TRAVELS;
use quire_core::merge::{Merge, Overlap, merge, merge_over};
use quire_core::view::Over;
use quire_core::{Entry, Hash, Node, RelPath};
use std::collections::HashMap;
use std::io::{self, Read};

/// Longest file of which lines are merged.
const MERGED_BYTES_MAX: u64 = 8 << 20;

/// Of a folder that comes back because something in it does.
const MADE_MODE: u32 = 0o755;

/// Finds what a frozen folder has at a path, where a content is not among the blobs.
pub type Base<'a> = &'a dyn Fn(u32, &RelPath) -> io::Result<Option<Vec<u8>>>;

/// What there is to fit moves by.
pub struct Sides<'a> {
    pub base: Base<'a>,
    /// Whether the moves' side is to be written where both did not fit.
    pub over: &'a dyn Fn(u32, &RelPath) -> bool,
    /// Whether it is to be written also where nothing is any more, so that nothing of the person's gives way.
    pub where_gone: bool,
}

/// What of the person's gives way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gave {
    pub folder: u32,
    pub path: RelPath,
    /// What they had there.
    pub was: Option<Node>,
    pub what: Over,
}

/// What became of the moves that did not fit as they were.
#[derive(Default)]
pub struct Fitted {
    pub moves: Vec<Move>,
    /// Files in which both sides' changes are now: what they were just now, and what they are to be.
    pub merged: Vec<Entry>,
    pub over: Vec<Gave>,
    pub overlaps: HashMap<(u32, RelPath), Vec<Overlap>>,
}

/// Fits those of `moves` that `drift` names, as far as they can be.
pub fn fit(
    roots: &[Rooted],
    moves: Vec<Move>,
    drift: &[Drift],
    sides: &Sides<'_>,
    blobs: &Blobs,
    pack: &mut PackWriter,
) -> Result<Fitted, AcceptError> {
    let drifted: HashMap<_, ()> = drift.iter().map(|d| ((d.folder, d.path.clone()), ())).collect();
    let mut fitted = Fitted::default();
    for step in moves {
        let key = (step.folder, step.path.clone());
        let root = roots.get(step.folder as usize).filter(|_| drifted.contains_key(&key));
        let three = root.map(|root| three(root, &step, sides, blobs, pack)).transpose()?.flatten();
        let is_over = (sides.over)(step.folder, &step.path);
        match (three, root.filter(|_| is_over || sides.where_gone)) {
            (None, None) => fitted.moves.push(step),
            (None, Some(root)) => over(root, step, is_over, &mut fitted, pack)?,
            (Some(Three::Overlaps(overlaps)), _) => {
                fitted.overlaps.insert(key, overlaps);
                fitted.moves.push(step);
            }
            // The person has it so already, and more.
            (Some(Three::Done), _) => {}
            (Some(Three::Fits { is, to, merged, gave }), _) => {
                if gave {
                    let was = merged.as_ref().map(|[was, _]| was.clone());
                    let (folder, path) = key;
                    fitted.over.push(Gave { folder, path, was, what: Over::Lines });
                }
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
        /// Lines of the person's are not in it.
        gave: bool,
    },
    Done,
    Overlaps(Vec<Overlap>),
}

/// Lays the three sides of a file over each other; `None` where one of them is no file, or they cannot be compared.
fn three(
    root: &Rooted,
    step: &Move,
    sides: &Sides<'_>,
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
    let (blob, length, gave) = match one_of(was, is, wanted) {
        Some(blob) => (*blob, None, false),
        None if bytes > MERGED_BYTES_MAX => return Ok(None),
        None => {
            let content = |blob: &Hash| content_of(blob, step, sides.base, blobs);
            let (Some(old), Some(new)) = (content(was)?, content(wanted)?) else { return Ok(None) };
            let mut mine = vec![];
            root.file(&step.path)?.take(MERGED_BYTES_MAX + 1).read_to_end(&mut mine)?;
            if Hash::of(&mine) != *is {
                return Ok(None); // just now somebody writes it
            }
            match merge(&old, &mine, &new) {
                Merge::Clean(merged) => (pack.add(merged.as_slice())?.0, Some(merged.len() as u64), false),
                Merge::Overlaps(_) if (sides.over)(step.folder, &step.path) => {
                    let Some(merged) = merge_over(&old, &mine, &new) else { return Ok(None) };
                    (pack.add(merged.as_slice())?.0, Some(merged.len() as u64), true)
                }
                Merge::Overlaps(overlaps) => return Ok(Some(Three::Overlaps(overlaps))),
                Merge::Binary => return Ok(None),
            }
        }
    };
    if (blob, mode) == (*is, item.mode & all) {
        return Ok(Some(Three::Done));
    }
    let node = |blob, bytes, mode| Node::File { blob, bytes, mode: mode & TRAVELS };
    let is_merged = gave || (blob, mode) != (*wanted, to.mode & all);
    let merged = [node(*is, bytes, item.mode), node(blob, length.unwrap_or(bytes), mode)];
    Ok(Some(Three::Fits {
        is: Target { what: item.what.clone(), mode: item.mode, owner: Some((item.uid, item.gid)) },
        to: Target { what: What::File { blob }, mode, owner: to.owner },
        merged: is_merged.then_some(merged),
        gave,
    }))
}

/// Writes a move's side over what the person made of its path, which was looked at just now. A folder of theirs, and what is no file
/// or link, is never put aside so: it stays drift. So does all that is there where their things are not to give way (`aside`).
fn over(
    root: &Rooted,
    step: Move,
    aside: bool,
    fitted: &mut Fitted,
    pack: &mut PackWriter,
) -> Result<(), AcceptError> {
    let is = match look(root, &step.path, pack)? {
        Seen::Nothing => None,
        Seen::Item(item) if aside && item.what != What::Dir => Some(item),
        _ => {
            fitted.moves.push(step);
            return Ok(());
        }
    };
    let was = is.as_ref().map(|item| match &item.what {
        What::File { blob } => Node::File {
            blob: *blob,
            bytes: item.seen.map_or(0, |seen| seen.bytes),
            mode: item.mode & TRAVELS,
        },
        What::Link { target } => Node::Link { target: target.clone() },
        What::Dir => Node::Dir { mode: item.mode & TRAVELS },
    });
    if step.to.is_some() {
        // Folders that they took away come back with what is in them.
        let mut up = step.path.parent();
        while let Some(folder) = up {
            let is_made = |made: &Move| (made.folder, &made.path) == (step.folder, &folder);
            if !matches!(look(root, &folder, pack)?, Seen::Nothing) || fitted.moves.iter().any(is_made) {
                break;
            }
            up = folder.parent();
            let to = Some(Target { what: What::Dir, mode: MADE_MODE, owner: None });
            fitted.moves.push(Move { folder: step.folder, path: folder, from: None, to });
        }
    }
    let (folder, path) = (step.folder, step.path.clone());
    let what = if was.is_some() { Over::Whole } else { Over::Gone };
    fitted.over.push(Gave { folder, path, was, what });
    let from = is.map(|item| Target { what: item.what, mode: item.mode, owner: Some((item.uid, item.gid)) });
    fitted.moves.push(Move { from, ..step });
    Ok(())
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
