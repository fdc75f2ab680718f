//! Many deltas made one base again: overlayfs refuses 500 layers, and each makes every first look-up slower. The new base
//! is made of hard links to what the layers show, so that it costs no space and a hundredth of a copy's time; it is safe
//! because frozen files never change. Tasks that stand on the old layers keep them.

use super::copy::{contents, finish_dir, make_dir, times};
use super::{Newest, State, begin_layer, end_layer, lowers, name};
use crate::rooted::{Kind, Print, Rooted};
use crate::stack::{Found, Stack};
use quire_core::RelPath;
use rustix::fs::{AtFlags, Mode, OFlags};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Deltas upon one base at most.
pub(super) const DELTAS_MAX: usize = 16;

/// Returns the newest copy in `dir` made a base of its own where it has at least `deltas` deltas. The caller holds the lock.
pub(super) fn squash(dir: &Path, newest: Newest, deltas: usize) -> io::Result<Newest> {
    if newest.state.deltas.len() < deltas.max(1) {
        return Ok(newest);
    }
    let stack = lowers(dir, &newest.state)?;
    let (new, to) = begin_layer(dir)?;
    link_all(&stack, &to)?;
    let base = newest.manifest.delta + 1;
    end_layer(&new, &to, &dir.join("base").join(base.to_string()))?;
    let state = State { base, deltas: vec![], ..newest.state };
    let manifest = newest.manifest.renamed(base);
    name(dir, &state, &manifest)?;
    Ok(Newest { manifest, state })
}

fn link_all(stack: &Stack, to: &Rooted) -> io::Result<()> {
    let mut dirs: Vec<(RelPath, Print)> = vec![];
    let mut open = vec![stack.top()?];
    while let Some(place) = open.pop() {
        for name in stack.names(&place, stack.height())? {
            let Some(found) = stack.enter(&place, &name)? else { continue };
            if found.print.kind == Kind::Dir {
                make_dir(to, &found.path)?;
                open.push(found.place());
                dirs.push((found.path, found.print));
            } else if stack.hard_link(&found, to).is_err() {
                // As often linked as the file system allows, or on another one.
                copy(stack, &found, to)?;
            }
        }
    }
    for (path, print) in dirs.iter().rev() {
        finish_dir(to, Some(path), print)?;
    }
    finish_dir(to, None, &stack.top_print()?)
}

fn copy(stack: &Stack, found: &Found, to: &Rooted) -> io::Result<()> {
    let path = OsStr::from_bytes(found.path.as_bytes());
    if found.print.kind == Kind::Link {
        rustix::fs::symlinkat(OsStr::from_bytes(&stack.link(found)?), to, path)?;
        return Ok(rustix::fs::utimensat(to, path, &times(&found.print), AtFlags::SYMLINK_NOFOLLOW)?);
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(to, path, flags, Mode::RUSR | Mode::WUSR)?;
    contents(&stack.content(found)?, &made, found.print.bytes)?;
    rustix::fs::futimens(&made, &times(&found.print))?;
    Ok(rustix::fs::fchmod(&made, Mode::from_raw_mode(found.print.mode & 0o1777))?)
}
