//! Whether git was at work in a repository while it was copied. Each file is copied whole, but a repository is whole only as its parts
//! fit each other: `git gc` moves references and objects from many files into one, which a walk may have missed in both places.
//!
//! Nothing is asked of git for that: what it writes shows by the times of a few files and directories.

use super::copy::{What, is_of_git};
use super::walk::{LeftOut, Listed, Walk};
use super::{State, state};
use crate::rooted::{Kind, Print, Rooted, below, replace_file};
use quire_core::RelPath;
use std::io;
use std::path::Path;
use std::time::Duration;

/// How often a repository is copied again before it is taken as it is.
pub const AGAIN: u32 = 6;

/// What is told of one that was.
const WHY: &str = "git was at work in it all the time while it was copied, so commits may be missing";

/// Returns how long git is left alone before a copy is made again.
pub fn pause(tries: u32) -> Duration {
    Duration::from_millis(25 << tries)
}

/// Returns what git changed since the walk, where that says which commits there are; the first of it.
pub fn moved(what: What, root: &Rooted, walk: &Walk) -> io::Result<Option<RelPath>> {
    for Listed { path: dir, entries, .. } in &walk.dirs {
        if what == What::Folder && !dir.as_ref().is_some_and(is_of_git) {
            continue;
        }
        let is_repository = entries.iter().any(|entry| *entry.name == *b"objects");
        for entry in entries {
            let path = below(dir.as_ref(), &entry.name)?;
            let tells = match entry.print.kind {
                Kind::Dir => path.as_bytes().split(|byte| *byte == b'/').any(tells),
                _ => matches!(&*entry.name, b"HEAD" | b"packed-refs"),
            };
            if tells && root.print(Some(&path))?.is_none_or(|now| is_other(&entry.print, &now)) {
                return Ok(Some(path));
            }
        }
        let packed = below(dir.as_ref(), b"packed-refs")?;
        let had = entries.iter().any(|entry| *entry.name == *b"packed-refs");
        if is_repository && !had && root.print(Some(&packed))?.is_some() {
            return Ok(Some(packed));
        }
    }
    Ok(None)
}

/// Whether a directory of this name holds references or objects.
fn tells(name: &[u8]) -> bool {
    matches!(name, b"refs" | b"objects" | b"reftable")
}

/// The walk gives no ctime to what changed just before it.
fn is_other(was: &Print, now: &Print) -> bool {
    let seen = |print: &Print| {
        // The size of a directory is the file system's business.
        let bytes = if print.kind == Kind::Dir { 0 } else { print.bytes };
        (print.kind, print.ino, print.mtime_ns, bytes)
    };
    seen(was) != seen(now)
}

/// Notes what moved all the time in what the copy `delta` has not, or that nothing does.
pub fn note(dir: &Path, delta: u64, moved: Option<RelPath>) -> io::Result<()> {
    let mut state: State = state(dir, delta)?;
    let before = state.left_out.clone();
    state.left_out.retain(|left| left.why != WHY);
    state.left_out.extend(moved.map(|path| LeftOut { path, why: WHY.into() }));
    if state.left_out == before {
        return Ok(());
    }
    state.left_out.sort();
    replace_file(dir, &format!("state-{delta}.json"), &serde_json::to_vec(&state)?)
}
