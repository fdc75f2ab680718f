//! A repository as an agent left it: read from layers, where its files are whatever the agent made them, and never by git in place.

use super::GitError;
use crate::beside::Beside;
use crate::freeze::Frozen;
use crate::rooted::{Kind, below};
use crate::snapshot::{beside_changes, git_changes};
use crate::stack::{Found, Stack};
use quire_core::RelPath;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Longest reference, list of references or settings that is read, in bytes.
const READ_MAX: u64 = 16 << 20;

/// What lies in a directory, and what of it changed.
pub struct View {
    /// With the task's layers.
    pub whole: Stack,
    /// As the task began.
    pub base: Stack,
    /// Files that may differ.
    pub changes: Vec<Found>,
    /// The directories of the base, newest first.
    copies: Vec<PathBuf>,
}

/// A repository whose git directory lies in a view.
pub struct Inside<'v> {
    pub view: &'v View,
    /// Where its git directory lies; `None`: the view is that directory.
    pub dir: Option<RelPath>,
    /// The file that says where its HEAD is.
    pub head: RelPath,
}

/// A branch that is not where it was, by its name without `refs/heads/`, which may be no text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    pub name: Vec<u8>,
    /// `None`: it is new.
    pub was: Option<String>,
    pub now: String,
}

impl View {
    /// Returns the view of a task's folder; what changed in it is what lies below a `.git`.
    pub fn of(base: &Frozen, layers: &[PathBuf], index: usize) -> io::Result<View> {
        let (whole, changes) = git_changes(base, layers, index)?;
        Ok(View { whole, base: base.stack()?, changes, copies: base.lowers.clone() })
    }

    /// Returns the view of a repository beside a folder, whose changes have that number.
    pub fn beside(git: &Beside, layers: &[PathBuf], number: usize) -> io::Result<View> {
        let (whole, changes) = beside_changes(git, layers, number)?;
        Ok(View { whole, base: git.frozen.stack()?, changes, copies: git.frozen.lowers.clone() })
    }

    /// Returns the repositories that changed, and that the task began with, the innermost first: the folder's own, those of
    /// submodules, which lie in another's git directory, and others within the folder.
    pub fn repositories(&self) -> io::Result<Vec<Inside<'_>>> {
        self.those(&|at| {
            let inner = own_end(at.as_bytes()).map(|end| &at.as_bytes()[end..]);
            inner.is_some_and(|inner| inner.is_empty() || inner.starts_with(b"/modules/"))
        })
    }

    /// The same of the submodules of a repository beside a folder; `tree`: what is the working tree's own there.
    pub fn modules(&self, tree: Option<&RelPath>) -> io::Result<Vec<Inside<'_>>> {
        let modules = tree.map_or(vec![], |tree| [tree.as_bytes(), b"/"].concat());
        let modules = [&modules, b"modules/".as_slice()].concat();
        self.those(&|at| at.as_bytes().starts_with(&modules))
    }

    fn those(&self, may_be: &dyn Fn(&RelPath) -> bool) -> io::Result<Vec<Inside<'_>>> {
        let (mut known, mut dirs) = (BTreeMap::new(), BTreeSet::new());
        for found in &self.changes {
            let mut dir = found.path.parent();
            // The deepest that is one; what lies between is none.
            while let Some(at) = dir {
                let is_one = match known.get(&at) {
                    Some(is_one) => *is_one,
                    None => {
                        let is_one = may_be(&at) && is_git_dir(&self.base, &at)?;
                        known.insert(at.clone(), is_one);
                        is_one
                    }
                };
                if is_one {
                    dirs.insert(at);
                    break;
                }
                dir = at.parent();
            }
        }
        let one = |dir: RelPath| Ok(Inside { view: self, head: below(Some(&dir), b"HEAD")?, dir: Some(dir) });
        // A submodule's lies below that of the repository which it is a part of.
        dirs.into_iter().rev().map(one).collect()
    }
}

/// Returns where the outermost `.git` of a path ends.
fn own_end(path: &[u8]) -> Option<usize> {
    let mut end = 0;
    for name in path.split(|byte| *byte == b'/') {
        end += name.len();
        if name == b".git" {
            return Some(end);
        }
        end += 1;
    }
    None
}

/// Returns whether a directory has the parts by which git knows one of its own.
fn is_git_dir(stack: &Stack, dir: &RelPath) -> io::Result<bool> {
    for (name, kind) in [(&b"HEAD"[..], Kind::File), (b"objects", Kind::Dir), (b"refs", Kind::Dir)] {
        if stack.find(&below(Some(dir), name)?)?.is_none_or(|found| found.print.kind != kind) {
            return Ok(false);
        }
    }
    Ok(true)
}

impl<'v> Inside<'v> {
    /// Returns the repository that a view is of; `dir`: what is the working tree's own there.
    pub fn beside(view: &'v View, dir: Option<&RelPath>) -> io::Result<Inside<'v>> {
        Ok(Inside { view, dir: None, head: below(dir, b"HEAD")? })
    }
}

impl Inside<'_> {
    fn at(&self, name: impl AsRef<[u8]>) -> io::Result<RelPath> {
        below(self.dir.as_ref(), name.as_ref())
    }

    /// Returns a path as it is from the git directory on.
    fn inner<'p>(&self, path: &'p RelPath) -> Option<&'p [u8]> {
        match &self.dir {
            None => Some(path.as_bytes()),
            Some(dir) => path.as_bytes().strip_prefix(dir.as_bytes())?.strip_prefix(b"/"),
        }
    }

    /// Returns the files that changed, each with where it lies in the git directory.
    fn changed(&self) -> impl Iterator<Item = (&Found, &[u8])> {
        self.view.changes.iter().filter_map(|found| Some((found, self.inner(&found.path)?)))
    }

    /// Returns the changed files that are loose objects, or packs or their indices.
    pub fn objects(&self) -> impl Iterator<Item = (&Found, &[u8])> {
        self.changed().filter(|(_, inner)| is_object(inner))
    }

    /// Returns the directories that have the objects which it began with.
    pub fn begun_objects(&self) -> io::Result<Vec<PathBuf>> {
        let objects = self.at("objects")?;
        let all = self.view.copies.iter().map(|copy| copy.join(OsStr::from_bytes(objects.as_bytes())));
        Ok(all.filter(|dir| dir.is_dir()).collect())
    }

    /// Returns whether one of its objects, packs or indices is what it began with: of a pack git changes the time.
    pub fn has_begun_with(&self, inner: &[u8]) -> io::Result<bool> {
        let is_there = |inner: &[u8]| -> io::Result<bool> {
            let found = self.view.base.find(&self.at(inner)?)?;
            Ok(found.is_some_and(|found| found.print.kind == Kind::File))
        };
        // A pack without its index is none.
        match inner.strip_suffix(b".pack").or(inner.strip_suffix(b".idx")) {
            Some(stem) => Ok(is_there(&[stem, b".pack"].concat())? && is_there(&[stem, b".idx"].concat())?),
            None => is_there(inner),
        }
    }

    /// Returns whether commits or references changed, or may have.
    pub fn has_moved(&self) -> bool {
        self.changed().any(|(found, inner)| {
            let is_reference = [&b"refs/"[..], b"reftable/"].iter().any(|dir| inner.starts_with(dir));
            is_reference || inner == b"packed-refs" || found.path == self.head || is_object(inner)
        })
    }

    /// Returns whether HEAD is at another commit than it was, or a branch at a new one; where only git can read that, that it may be.
    pub fn has_committed(&self) -> Result<bool, GitError> {
        if !self.has_moved() || self.has_tables()? {
            return Ok(self.has_moved());
        }
        let (was, now) = self.heads()?;
        if now.is_some() && now != was {
            return Ok(true);
        }
        // A new name for what was there is no commit.
        let has_new = self.objects().next().is_some();
        Ok(has_new && self.branches()?.iter().any(|branch| was.as_ref() != Some(&branch.now)))
    }

    /// Returns whether its references lie in tables, which only git reads.
    pub fn has_tables(&self) -> io::Result<bool> {
        Ok(self.view.whole.find(&self.at("reftable")?)?.is_some())
    }

    /// Returns its settings.
    pub fn settings(&self) -> Result<Vec<u8>, GitError> {
        Ok(read(&self.view.whole, &self.at("config")?)?.unwrap_or_default())
    }

    /// Returns the commit that HEAD was, and the one that it is.
    pub fn heads(&self) -> Result<(Option<String>, Option<String>), GitError> {
        Ok((self.head_in(&self.view.base)?, self.head_in(&self.view.whole)?))
    }

    fn head_in(&self, stack: &Stack) -> Result<Option<String>, GitError> {
        let Some(head) = read(stack, &self.head)? else { return Ok(None) };
        match head.trim_ascii().strip_prefix(b"ref: ") {
            None => Ok(hash(head.trim_ascii())),
            Some(name) if name.starts_with(b"refs/") => {
                let loose = self.loose(stack, name)?;
                Ok(if loose.is_some() { loose } else { self.packed(stack)?.remove(name) })
            }
            Some(_) => Ok(None),
        }
    }

    /// Returns the branches that are new, or not where they were.
    pub fn branches(&self) -> Result<Vec<Moved>, GitError> {
        let (was, now) = (self.packed(&self.view.base)?, self.packed(&self.view.whole)?);
        let mut names: BTreeSet<Vec<u8>> =
            now.keys().filter(|name| was.get(*name) != now.get(*name)).cloned().collect();
        for (_, inner) in self.changed().filter(|(_, inner)| inner.starts_with(b"refs/heads/")) {
            names.insert(inner.to_owned());
        }
        let mut moved = vec![];
        for reference in names {
            let Some(name) = reference.strip_prefix(b"refs/heads/") else { continue };
            let at = |stack: &Stack, packed: &Packed| -> Result<Option<String>, GitError> {
                Ok(self.loose(stack, &reference)?.or_else(|| packed.get(&reference).cloned()))
            };
            let was = at(&self.view.base, &was)?;
            if let Some(now) = at(&self.view.whole, &now)?.filter(|now| was.as_ref() != Some(now)) {
                moved.push(Moved { name: name.to_owned(), was, now });
            }
        }
        Ok(moved)
    }

    /// Returns what a reference is that has a file of its own and leads to no other.
    fn loose(&self, stack: &Stack, name: &[u8]) -> Result<Option<String>, GitError> {
        let Some(path) = self.at(name).ok() else { return Ok(None) };
        match read(stack, &path) {
            // None of git's making.
            Err(GitError::TooLarge(_)) => Ok(None),
            content => Ok(content?.and_then(|content| hash(content.trim_ascii()))),
        }
    }

    fn packed(&self, stack: &Stack) -> Result<Packed, GitError> {
        let packed = read(stack, &self.at("packed-refs")?)?.unwrap_or_default();
        let one = |line: &[u8]| {
            let end = line.iter().position(|byte| *byte == b' ')?;
            Some((line[end + 1..].trim_ascii_end().to_owned(), hash(&line[..end])?))
        };
        Ok(packed.split(|byte| *byte == b'\n').filter_map(one).collect())
    }
}

/// References by name, which may be no text, that lie in one file.
type Packed = BTreeMap<Vec<u8>, String>;

fn hash(text: &[u8]) -> Option<String> {
    let is_hash = matches!(text.len(), 40 | 64) && text.iter().all(u8::is_ascii_hexdigit);
    is_hash.then(|| String::from_utf8_lossy(text).into_owned())
}

/// Returns the content of a file, if there is one. Fails where it is longer than is read.
fn read(stack: &Stack, path: &RelPath) -> Result<Option<Vec<u8>>, GitError> {
    let found = stack.find(path)?.filter(|found| found.print.kind == Kind::File);
    let Some(found) = found else { return Ok(None) };
    if found.print.bytes > READ_MAX {
        return Err(GitError::TooLarge(path.to_string()));
    }
    let mut content = vec![];
    stack.content(&found)?.take(READ_MAX).read_to_end(&mut content)?;
    Ok(Some(content))
}

/// Whether a path in a git directory is that of a loose object, or of a pack or its index.
fn is_object(inner: &[u8]) -> bool {
    let Some(inner) = inner.strip_prefix(b"objects/") else { return false };
    let hex = |bytes: &[u8]| bytes.iter().all(|byte| byte.is_ascii_hexdigit());
    match inner.iter().position(|byte| *byte == b'/') {
        Some(2) => hex(&inner[..2]) && matches!(inner.len(), 41 | 65) && hex(&inner[3..]),
        Some(4) if inner.starts_with(b"pack/pack-") => {
            let name = &inner[b"pack/pack-".len()..];
            let stem = name.strip_suffix(b".pack").or(name.strip_suffix(b".idx"));
            stem.is_some_and(|stem| matches!(stem.len(), 40 | 64) && hex(stem))
        }
        _ => false,
    }
}
