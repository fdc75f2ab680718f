//! Which files git keeps, read from its index (gitformat-index(5)) without running git.
//!
//! A hidden file that git keeps is hidden in name alone: whoever has the repository reads what was committed. Nothing can be done about that
//! without a rewrite of its history, so the person is told.

use quire_core::RelPath;
use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// An index that is longer is not read, in bytes: a million files have about a hundred MiB.
const INDEX_MAX: u64 = 256 << 20;
/// A `.git` that is a file holds one line.
const LINK_MAX: u64 = 64 << 10;

/// Returns those of `paths`, relative to `folder`, that the repository around it keeps; none where there is none that can be read.
pub fn among(folder: &Path, paths: &[PathBuf]) -> Vec<RelPath> {
    if paths.is_empty() {
        return Vec::new();
    }
    let Some((top, git)) = folder.ancestors().find_map(|dir| Some((dir, git_of(dir)?))) else {
        return Vec::new();
    };
    let within = folder.strip_prefix(top).unwrap_or(Path::new(""));
    let wanted = |path: &Path| within.join(path).into_os_string().into_vec();
    let mut missing: HashSet<Vec<u8>> = paths.iter().map(|path| wanted(path)).collect();
    for index in indexes(&git) {
        let Some(bytes) = read(&index, INDEX_MAX) else { continue };
        // What follows an entry that makes no sense makes none either; what came before it does.
        each(&bytes, &mut |name| {
            missing.remove(name);
        });
    }
    let kept = paths.iter().filter(|path| !missing.contains(&wanted(path)));
    kept.filter_map(|path| RelPath::new(path.as_os_str().as_bytes())).collect()
}

/// Returns what the repository around `folder` keeps that lies outside of it, from the top of the working tree, which is returned too.
pub fn around(folder: &Path) -> Option<(PathBuf, Vec<RelPath>)> {
    let (top, git) = folder.ancestors().find_map(|dir| Some((dir, git_of(dir)?)))?;
    let within = RelPath::new(folder.strip_prefix(top).ok()?.as_os_str().as_bytes())?;
    let mut kept = BTreeSet::new();
    for index in indexes(&git) {
        let Some(bytes) = read(&index, INDEX_MAX) else { continue };
        each(&bytes, &mut |name| kept.extend(RelPath::new(name).filter(|path| !path.is_within(&within))));
    }
    Some((top.to_owned(), kept.into_iter().collect()))
}

/// Returns the directory of the repository whose working tree begins at `dir`.
fn git_of(dir: &Path) -> Option<PathBuf> {
    let git = dir.join(".git");
    if fs::metadata(&git).ok()?.is_dir() {
        return Some(git);
    }
    let link = read(&git, LINK_MAX)?;
    let to = link.strip_prefix(b"gitdir: ")?;
    let to = to.strip_suffix(b"\n").unwrap_or(to);
    Some(dir.join(std::ffi::OsStr::from_bytes(to)))
}

/// Returns the index, and those that it may share the most of its entries with.
fn indexes(git: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(git).into_iter().flatten().flatten();
    let shared = entries.filter(|entry| entry.file_name().as_bytes().starts_with(b"sharedindex."));
    shared.map(|entry| entry.path()).chain([git.join("index")]).collect()
}

fn read(path: &Path, most: u64) -> Option<Vec<u8>> {
    let stat = fs::metadata(path).ok()?;
    if !stat.is_file() || stat.len() > most {
        return None;
    }
    fs::read(path).ok()
}

/// Calls `found` with the name of each entry, up to the end or to what cannot be one.
fn each(index: &[u8], found: &mut dyn FnMut(&[u8])) {
    let entries = || -> Option<(u32, u32)> {
        let head = index.get(..12)?.strip_prefix(b"DIRC")?;
        Some((number(&head[..4])?, number(&head[4..])?))
    };
    let Some((version @ 2..=4, count)) = entries() else { return };
    // Names of contents are of SHA-1 or of SHA-256, which only the repository's settings say. The wrong length soon makes no sense.
    let hash = [32, 20]
        .into_iter()
        .max_by_key(|hash| Entries::new(index, version, *hash).take(count.min(64) as usize).count());
    let entries = Entries::new(index, version, hash.unwrap_or(20));
    entries.take(count as usize).flatten().for_each(|name| found(&name));
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// The entries of an index: for each its name, or `None` for one that has no content yet (`git add --intent-to-add`).
struct Entries<'i> {
    index: &'i [u8],
    at: usize,
    version: u32,
    /// Length of the name of a content, in bytes.
    hash: usize,
    /// The name before, which version 4 builds upon.
    last: Vec<u8>,
}

impl<'i> Entries<'i> {
    fn new(index: &'i [u8], version: u32, hash: usize) -> Entries<'i> {
        Entries { index, at: 12, version, hash, last: Vec::new() }
    }

    fn take_bytes(&mut self, count: usize) -> Option<&'i [u8]> {
        let taken = self.index.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    /// Takes a number of as many bytes as it needs (gitformat-pack(5), "offset encoding").
    fn take_number(&mut self) -> Option<usize> {
        let mut value = 0usize;
        for length in 0..5 {
            let byte = usize::from(*self.take_bytes(1)?.first()?);
            value = if length == 0 { byte & 127 } else { (value.checked_add(1)? << 7) | (byte & 127) };
            if byte & 128 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn entry(&mut self) -> Option<Option<Vec<u8>>> {
        const EXTENDED: u16 = 0x4000;
        const TO_BE_ADDED: u16 = 0x2000;
        let start = self.at;
        // Two times, device, inode, mode, owners, size.
        let mode = number(&self.take_bytes(40)?[24..28])?;
        // A file, a link, a submodule, or a directory of a sparse index.
        if !matches!(mode >> 12, 0o10 | 0o12 | 0o16 | 0o4) {
            return None;
        }
        self.take_bytes(self.hash)?;
        let flags = u16::from_be_bytes(self.take_bytes(2)?.try_into().ok()?);
        let mut more = 0;
        if flags & EXTENDED != 0 {
            more = u16::from_be_bytes(self.take_bytes(2)?.try_into().ok()?);
        }
        let kept = match self.version {
            4 => self.last.len().checked_sub(self.take_number()?)?,
            _ => 0,
        };
        let rest = self.index.get(self.at..)?;
        let length = rest.iter().position(|byte| *byte == 0)?;
        self.last.truncate(kept);
        self.last.extend_from_slice(&rest[..length]);
        // Longer ones do not fit in.
        let said = usize::from(flags & 0xfff);
        if said != self.last.len().min(0xfff) {
            return None;
        }
        self.at += length + 1;
        if self.version != 4 {
            // One to eight zeros, so that entries are multiples of eight long.
            self.at = start + (self.at - start).div_ceil(8) * 8;
        }
        Some((more & TO_BE_ADDED == 0).then(|| self.last.clone()))
    }
}

impl Iterator for Entries<'_> {
    type Item = Option<Vec<u8>>;

    fn next(&mut self) -> Option<Option<Vec<u8>>> {
        self.entry()
    }
}

#[cfg(test)]
mod tests;
