//! What a walk found, beside what the newest copy has.

use super::manifest::{Making, Manifest, Stamp, entries, push_entry};
use super::walk::{Entry, LeftOut, Listed, Walk};
use crate::rooted::{Kind, Print, Rooted, below};
use crate::stack::Stack;
use quire_core::RelPath;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::iter::Peekable;

/// The names of one directory, with what they are.
type Names = BTreeMap<Box<[u8]>, Stamp>;

/// What the next layer must hold, and what stays.
#[derive(Default)]
pub struct Changes {
    /// What is new or changed.
    pub layer: BTreeMap<RelPath, Print>,
    /// What is gone, without what was in it.
    pub deleted: Vec<RelPath>,
    /// Files that could not be copied before and still cannot be read.
    pub unread: Vec<LeftOut>,
    /// What shows as it should, in the directories that are not just as they were.
    kept: HashMap<Option<RelPath>, Names>,
    /// Whether something that stays has another stamp: it would be read again each time.
    pub restamped: bool,
}

impl Changes {
    pub fn none(&self) -> bool {
        self.layer.is_empty() && self.deleted.is_empty()
    }

    /// Returns the manifest of the copy `delta`: what stays, and what was `copied`.
    pub fn manifest(
        self,
        delta: u64,
        walk: &Walk,
        old: Option<&Manifest>,
        copied: &[(RelPath, Print)],
    ) -> Manifest {
        let mut names = self.kept;
        for (path, print) in copied {
            names.entry(path.parent()).or_default().insert(path.name().into(), Stamp::of(print));
        }
        let mut making = Making::new(delta, walk.top.mode);
        let mut raw = vec![];
        for Listed { path, same, .. } in &walk.dirs {
            let was = old.filter(|_| *same).and_then(|old| old.entries(path.as_ref()));
            making.dir(
                path.as_ref(),
                was.unwrap_or_else(|| {
                    raw.clear();
                    let names = names.get(path).into_iter().flatten();
                    names.for_each(|(name, stamp)| push_entry(&mut raw, name, stamp));
                    &raw
                }),
            );
        }
        making.done()
    }
}

/// Compares a folder with its newest copy, which shows `frozen` and has the manifest `old`. `unread` is what it could not copy.
pub fn compare(
    root: &Rooted,
    frozen: &Stack,
    walk: &Walk,
    old: &Manifest,
    unread: &[LeftOut],
) -> io::Result<Changes> {
    let unread: HashMap<&RelPath, &LeftOut> = unread.iter().map(|left| (&left.path, left)).collect();
    let mut changes = Changes::default();
    for Listed { path: dir, entries: has, .. } in walk.dirs.iter().filter(|listed| !listed.same) {
        let dir = dir.as_ref();
        let mut kept = Names::new();
        for (name, was, is) in pairs(entries(old.entries(dir).unwrap_or_default()), has.iter()) {
            let path = below(dir, name)?;
            match (was, is) {
                (Some(was), Some(is)) if same(root, frozen, &path, &was, is)? => {
                    let stamp = Stamp::of(is);
                    changes.restamped |= stamp != was;
                    kept.insert(name.into(), stamp);
                }
                (None, Some(is))
                    if is.kind == Kind::File && unread.contains_key(&path) && root.file(&path).is_err() =>
                {
                    changes.unread.push(unread[&path].clone());
                }
                (_, Some(is)) => drop(changes.layer.insert(path, *is)),
                (_, None) => changes.deleted.push(path),
            }
        }
        changes.kept.insert(dir.cloned(), kept);
    }
    // What a directory held that is ignored by now. Below what is gone or no directory any more nothing shows anyway.
    for (dir, raw) in old.dirs() {
        if dir.as_ref().is_some_and(|dir| walk.ignored.binary_search(dir).is_ok()) {
            for (name, _) in entries(raw) {
                changes.deleted.push(below(dir.as_ref(), name)?);
            }
        }
    }
    Ok(changes)
}

/// Returns each name that either has, with what it was and what it is; both come in the order of their names.
fn pairs<'a>(
    was: impl Iterator<Item = (&'a [u8], Stamp)>,
    is: impl Iterator<Item = &'a Entry>,
) -> impl Iterator<Item = (&'a [u8], Option<Stamp>, Option<&'a Print>)> {
    let (mut was, mut is) = (was.peekable(), is.peekable());
    std::iter::from_fn(move || {
        let first = match (was.peek(), is.peek()) {
            (Some((was, _)), Some(is)) => (*was).min(&is.name),
            (Some((was, _)), None) => was,
            (None, Some(is)) => &is.name,
            (None, None) => return None,
        };
        let was = was.next_if(|(name, _)| *name == first).map(|(_, stamp)| stamp);
        let is = Peekable::next_if(&mut is, |entry| *entry.name == *first).map(|entry| &entry.print);
        Some((first, was, is))
    })
}

/// Returns whether the copy still shows what the folder has. Where only times differ, contents are compared: a checkout
/// back and forth, or an undone accept, makes no new layer.
fn same(root: &Rooted, frozen: &Stack, path: &RelPath, was: &Stamp, is: &Print) -> io::Result<bool> {
    if (was.kind, was.mode) != (is.kind, is.mode) {
        return Ok(false);
    }
    if is.kind == Kind::Dir || (is.ctime_ns != 0 && *was == Stamp::of(is)) {
        return Ok(true);
    }
    let Some(copy) = frozen.find(path)? else {
        return Ok(false);
    };
    if is.kind == Kind::Link {
        return Ok(root.link(path).ok() == Some(frozen.link(&copy)?));
    }
    if was.bytes != is.bytes {
        return Ok(false);
    }
    // An inode shared with the folder says nothing about what it held; its time must.
    if (copy.print.dev, copy.print.ino) == (is.dev, is.ino) {
        return Ok(was.mtime_ns == is.mtime_ns);
    }
    let Ok(file) = root.file(path) else {
        return Ok(false);
    };
    same_content(file, frozen.content(&copy)?)
}

fn same_content(a: File, b: File) -> io::Result<bool> {
    let (mut a, mut b) = (io::BufReader::with_capacity(1 << 16, a), io::BufReader::with_capacity(1 << 16, b));
    let (mut left, mut right) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let n = read_full(&mut a, &mut left)?;
        let m = read_full(&mut b, &mut right)?;
        if left[..n] != right[..m] {
            return Ok(false);
        }
        if n == 0 {
            return Ok(true);
        }
    }
}

fn read_full(from: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match from.read(&mut into[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}
