//! Snapshots: what a task changed in its folders, read from its sandbox's layers.
//!
//! Overlayfs has already sorted the changed from the rest, so a snapshot walks the layers alone and its cost is that of the
//! changes, whatever the folder's size. Each path that a layer has is compared with the frozen base; what differs becomes
//! an entry, and its content a blob, all of them in one pack. The sandbox stands still meanwhile, or is dead.
//!
//! Three things are in the layers that a snapshot leaves out: what lies below `.git`, in ignored directories, and outside
//! the folders. [`apart`] lists them.

mod differ;
mod installed;
mod restore;

pub use restore::{lay, restore, upon};

use crate::beside::{self, Beside};
use crate::blob::{BlobError, Blobs, PackWriter};
use crate::freeze::Frozen;
use crate::git::inside::{Inside, View};
use crate::holes::Sparse;
use crate::rooted::{Kind, Print, below};
use crate::stack::{Found, Stack};
use differ::{Class, Differ, Difference};
use installed::Installed;
use quire_core::bytes::escape;
use quire_core::change::LinkTarget;
use quire_core::event::{Apart, Listing, Part, Repository};
use quire_core::view::git_dir;
use quire_core::{Entry, Hash, Node, RelPath, Snapshot};
use quire_sandbox::layer;
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Of the twelve permission bits, those that travel: rwx, without write for others.
pub const TRAVELS: u32 = 0o775;

/// Stands for the content of a file of the base that is not what was copied any more. No content has it.
pub const UNKNOWN: Hash = Hash([0; 32]);

/// Hashes that need not be computed again, by inode, ctime and size. An agent cannot set a ctime. Losing this costs time
/// and nothing else.
#[derive(Debug, Default)]
pub struct Seen {
    hashes: HashMap<(u64, u64, i64, u64), Known>,
}

/// What is known of a file's content.
#[derive(Clone, Copy, Debug)]
struct Known {
    hash: Hash,
    /// Whether it was stored; what is as in the base need not be.
    stored: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("the sandbox's layers cannot be read: {0}")]
    Layer(#[from] io::Error),
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// Takes a snapshot of `layers`, newest first, over the frozen folders. The snapshot and every content it names are stored
/// when this returns. `seen` is the task's, from snapshot to snapshot.
pub fn snapshot(
    frozen: &[Frozen],
    layers: &[PathBuf],
    seen: &mut Seen,
    blobs: &Blobs,
) -> Result<(Hash, Snapshot), SnapshotError> {
    let mut pack = blobs.pack();
    let snapshot = Snapshot { entries: entries(frozen, layers, seen, &mut pack)? };
    let (id, _) = pack.add(snapshot.to_blob().as_slice())?;
    pack.finish()?;
    Ok((id, snapshot))
}

/// As [`snapshot`], for who asks only what changed: nothing is stored.
pub fn changes(frozen: &[Frozen], layers: &[PathBuf], blobs: &Blobs) -> Result<Snapshot, SnapshotError> {
    Ok(Snapshot { entries: entries(frozen, layers, &mut Seen::default(), &mut blobs.hashes())? })
}

fn entries(
    frozen: &[Frozen],
    layers: &[PathBuf],
    seen: &mut Seen,
    pack: &mut PackWriter,
) -> Result<Vec<Entry>, SnapshotError> {
    let mut entries = vec![];
    for (index, base) in frozen.iter().enumerate() {
        let lower = base.stack()?;
        let (whole, uppers) = folder_stack(base, layers, index)?;
        let mut differences = vec![];
        Differ::new(base, &whole, uppers, &lower).run(&[Class::Folder], &mut |d| differences.push(d))?;
        let mut reading =
            Reading { base: Some(base), whole: &whole, lower: &lower, seen: &mut *seen, pack: &mut *pack };
        for difference in differences {
            entries.extend(reading.entry(index, None, difference)?);
        }
    }
    entries.sort_by(|a, b| (a.folder, &a.path).cmp(&(b.folder, &b.path)));
    Ok(entries)
}

/// Returns the layers' view of one folder over its base, and how many of the stack's layers are the task's own.
fn folder_stack(base: &Frozen, layers: &[PathBuf], index: usize) -> io::Result<(Stack, usize)> {
    let uppers: Vec<PathBuf> = layers.iter().map(|l| layer::folder(l, index)).collect();
    let uppers = Stack::open(&uppers)?;
    let count = uppers.height();
    Ok((uppers.upon(base.stack()?), count))
}

/// Returns the layers' view of a repository beside a folder, as [`folder_stack`]; `number` is that of its changes.
fn beside_stack(beside: &Beside, layers: &[PathBuf], number: usize) -> io::Result<(Stack, usize)> {
    let uppers: Vec<PathBuf> = layers.iter().map(|l| layer::git(l, number)).collect();
    let uppers = Stack::open(&uppers)?;
    let count = uppers.height();
    Ok((uppers.upon(beside.frozen.stack()?), count))
}

/// Returns the layers' view of a folder, and the files below its `.git` that they have otherwise than the base.
pub fn git_changes(base: &Frozen, layers: &[PathBuf], index: usize) -> io::Result<(Stack, Vec<Found>)> {
    let (whole, uppers) = folder_stack(base, layers, index)?;
    let lower = base.stack()?;
    let mut changes = vec![];
    Differ::new(base, &whole, uppers, &lower).run(&[Class::Git], &mut |difference| {
        changes.extend(difference.now.filter(|now| now.print.kind == Kind::File));
    })?;
    Ok((whole, changes))
}

/// The same of a repository beside a folder; `number` is that of its changes.
pub fn beside_changes(beside: &Beside, layers: &[PathBuf], number: usize) -> io::Result<(Stack, Vec<Found>)> {
    let (whole, uppers) = beside_stack(beside, layers, number)?;
    let lower = beside.frozen.stack()?;
    let mut changes = vec![];
    Differ::plain(&whole, uppers, &lower).run(&Class::ALL, &mut |difference| {
        changes.extend(difference.now.filter(|now| now.print.kind == Kind::File));
    })?;
    Ok((whole, changes))
}

/// Changes in ignored directories.
#[derive(Debug, Default)]
pub struct Ignored {
    /// In directories that the task made: relative to the base, like a version's own.
    pub made: Vec<Entry>,
    /// In the folder's own: relative to the folder as it is now, because they are live.
    pub live: Vec<Entry>,
}

/// Returns the changes that the layers hold in ignored directories, of the parts that a person named. Contents are stored
/// when this returns.
pub fn ignored(
    frozen: &[Frozen],
    folders: &[PathBuf],
    layers: &[PathBuf],
    only: &[Part],
    blobs: &Blobs,
) -> Result<Ignored, SnapshotError> {
    let mut pack = blobs.pack();
    let seen = &mut Seen::default();
    let mut found = Ignored::default();
    for (index, (base, folder)) in frozen.iter().zip(folders).enumerate() {
        // A directory on the way to what is named may be new as well.
        let named = |path: &RelPath| {
            let is = |p: &Part| path.is_within(&p.path) || p.path.is_within(path);
            only.iter().any(|p| p.folder as usize == index && is(p))
        };
        // Ignored directories that the task made lie among the folder's own changes.
        let lower = base.stack()?;
        let (whole, uppers) = folder_stack(base, layers, index)?;
        let mut differences = vec![];
        Differ::new(base, &whole, uppers, &lower).run(&[Class::Ignored], &mut |d| differences.push(d))?;
        let mut reading = Reading { base: Some(base), whole: &whole, lower: &lower, seen, pack: &mut pack };
        for difference in differences.into_iter().filter(|d| named(&d.path)) {
            found.made.extend(reading.entry(index, None, difference)?);
        }
        for dir in &base.ignored {
            let Some(within) = RelPath::new(dir.as_os_str().as_bytes()) else {
                continue;
            };
            if !only.iter().any(|p| p.path.is_within(&within) || within.is_within(&p.path)) {
                continue;
            }
            let uppers: Vec<PathBuf> = layers.iter().map(|l| layer::ignored(l, index, dir)).collect();
            let live = || Stack::open(&[folder.join(dir)]);
            let uppers = Stack::open(&uppers)?;
            let count = uppers.height();
            let (lower, whole) = (live()?, uppers.upon(live()?));
            let mut differences = vec![];
            Differ::plain(&whole, count, &lower).run(&Class::ALL, &mut |d| differences.push(d))?;
            let mut reading = Reading { base: None, whole: &whole, lower: &lower, seen, pack: &mut pack };
            for difference in differences {
                if named(&below(Some(&within), difference.path.as_bytes())?) {
                    found.live.extend(reading.entry(index, Some(&within), difference)?);
                }
            }
        }
    }
    pack.finish()?;
    for entries in [&mut found.made, &mut found.live] {
        entries.sort_by(|a, b| (a.folder, &a.path).cmp(&(b.folder, &b.path)));
    }
    Ok(found)
}

/// Opens what the base has at a path, to show it beside what became of it. `None`: no file.
pub fn old_content(base: &Frozen, path: &RelPath) -> io::Result<Option<File>> {
    let stack = base.stack()?;
    match stack.find(path)? {
        Some(found) if found.print.kind == Kind::File => stack.content(&found).map(Some),
        _ => Ok(None),
    }
}

/// Returns the text that the base has at a path, where it is text of at most 1 MiB.
pub fn old_text(base: &Frozen, path: &RelPath) -> Option<String> {
    const BYTES_MAX: u64 = 1 << 20;
    let mut text = String::new();
    old_content(base, path).ok()??.take(BYTES_MAX + 1).read_to_string(&mut text).ok()?;
    (text.len() as u64 <= BYTES_MAX).then_some(text)
}

/// Turning what stands in layers into nodes.
struct Reading<'a> {
    /// Absent where the lower tree is the folder itself.
    base: Option<&'a Frozen>,
    whole: &'a Stack,
    lower: &'a Stack,
    seen: &'a mut Seen,
    pack: &'a mut PackWriter,
}

impl Reading<'_> {
    /// Returns what differs at a path, which lies below `within`; nothing where it was only touched.
    fn entry(
        &mut self,
        folder: usize,
        within: Option<&RelPath>,
        difference: Difference,
    ) -> Result<Option<Entry>, SnapshotError> {
        let Difference { path, was, now, .. } = difference;
        let was = was.as_ref().map(|found| self.node_before(found)).transpose()?;
        let now = now.as_ref().map(|found| self.node_now(found, was.as_ref())).transpose()?;
        let path = below(within, path.as_bytes())?;
        Ok((was != now).then_some(Entry { folder: folder as u32, path, was, now }))
    }

    fn node_before(&mut self, found: &Found) -> Result<Node, SnapshotError> {
        let mode = found.print.mode & TRAVELS;
        Ok(match found.print.kind {
            Kind::Dir => Node::Dir { mode },
            Kind::Link => Node::Link { target: LinkTarget(self.lower.link(found)?) },
            _ if self.base.is_some_and(|base| !base.holds(&found.path, &found.print)) => {
                Node::File { blob: UNKNOWN, bytes: found.print.bytes, mode }
            }
            _ => {
                let lower = self.lower;
                let compute = |file: &File| Ok(Known { hash: hash_of(Sparse::new(file))?, stored: false });
                let blob = self.seen.hash(lower, found, |_| true, compute)?;
                Node::File { blob, bytes: found.print.bytes, mode }
            }
        })
    }

    fn node_now(&mut self, found: &Found, was: Option<&Node>) -> Result<Node, SnapshotError> {
        let mode = found.print.mode & TRAVELS;
        let bytes = found.print.bytes;
        // Touched and not changed: nothing to store. With another mode it is in the snapshot, and so must its content be.
        let untouched = match was {
            Some(Node::File { blob, bytes: old, mode: before }) if (*old, *before) == (bytes, mode) => {
                Some(*blob)
            }
            _ => None,
        };
        Ok(match found.print.kind {
            Kind::Dir => Node::Dir { mode },
            Kind::Link => Node::Link { target: LinkTarget(self.whole.link(found)?) },
            _ => {
                let (whole, pack) = (self.whole, &mut *self.pack);
                let enough = |known: &Known| known.stored || untouched == Some(known.hash);
                let blob = self.seen.hash(whole, found, enough, |file| {
                    if let Some(hash) = untouched
                        && hash_of(Sparse::new(file))? == hash
                    {
                        return Ok(Known { hash, stored: false });
                    }
                    Ok(Known { hash: pack.add(Sparse::new(file))?.0, stored: true })
                })?;
                Node::File { blob, bytes, mode }
            }
        })
    }
}

impl Seen {
    fn hash(
        &mut self,
        stack: &Stack,
        found: &Found,
        enough: impl FnOnce(&Known) -> bool,
        compute: impl FnOnce(&File) -> Result<Known, SnapshotError>,
    ) -> Result<Hash, SnapshotError> {
        if let Some(known) = self.hashes.get(&key(&found.print))
            && enough(known)
        {
            return Ok(known.hash);
        }
        let known = compute(&stack.content(found)?)?;
        // A mode that was lent for reading has moved the ctime. What changed just now may change again unseen, because
        // the kernel's stamps are milliseconds apart.
        if let Some(print) = stack.print(found)?
            && print.bytes == found.print.bytes
            && settled(&print)
        {
            self.hashes.insert(key(&print), known);
        }
        Ok(known.hash)
    }
}

fn key(print: &Print) -> (u64, u64, i64, u64) {
    (print.dev, print.ino, print.ctime_ns, print.bytes)
}

fn settled(print: &Print) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i64);
    print.ctime_ns < now - 20_000_000
}

/// Returns the hash of what is left to read.
pub fn hash_of(mut from: impl Read) -> io::Result<Hash> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(Hash(*hasher.finalize().as_bytes())),
            Ok(n) => drop(hasher.update(&buffer[..n])),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Returns the git directories in which the agent committed something, as [`Apart`] names them.
fn committed(frozen: &[Frozen], layers: &[PathBuf]) -> io::Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for (index, base) in frozen.iter().enumerate() {
        let view = View::of(base, layers, index)?;
        let mut add = |within: &str, found: Vec<Inside<'_>>| {
            for inside in found {
                // What cannot be read now may be read at accept, which tells why else.
                if inside.has_committed().unwrap_or(true) {
                    let dir = inside.dir.map_or(String::new(), |dir| format!("/{dir}"));
                    all.insert(format!("{index}{within}{dir}"));
                }
            }
        };
        add("", view.repositories()?);
        if let Some(git) = base.beside.as_ref().filter(|_| beside::number(frozen, index) == index) {
            let (view, dir) = (View::beside(git, layers, index)?, git.shown.dir.as_ref());
            add("/.git", view.modules(dir)?);
            add("/.git", vec![Inside::beside(&view, dir)?]);
        }
    }
    Ok(all)
}

/// Longest list that is shown of what is apart.
const LISTED_MAX: usize = 200;

/// Directories of the machine in which every command leaves traces that mean nothing to a person.
const NOISE: &[&str] =
    &["/tmp", "/run", "/var/tmp", "/var/run", "/var/log", "/var/cache", "/dev", "/proc", "/sys"];

/// Lists what the layers, newest first, changed besides the folders' own files.
pub fn apart(frozen: &[Frozen], layers: &[PathBuf]) -> Result<Apart, SnapshotError> {
    let (mut outside, mut ignored, mut git) = (First::default(), First::default(), First::default());
    let (mut special, mut dirs) = (First::default(), BTreeSet::new());
    let mut in_git = |path: String| {
        dirs.extend(git_dir(&path));
        git.add(path);
    };
    for (index, base) in frozen.iter().enumerate() {
        let (whole, uppers) = folder_stack(base, layers, index)?;
        let lower = base.stack()?;
        Differ::new(base, &whole, uppers, &lower).run(&Class::ALL, &mut |d| {
            let shown = format!("{index}/{}", d.path);
            if d.is_special && d.class == Class::Folder {
                return special.add(shown);
            }
            let both_dirs = |f: &Option<Found>| f.as_ref().is_none_or(|f| f.print.kind == Kind::Dir);
            if both_dirs(&d.was) && both_dirs(&d.now) {
                return; // what is in it is listed
            }
            match d.class {
                Class::Git => in_git(shown),
                Class::Ignored => ignored.add(shown),
                Class::Folder => {}
            }
        })?;
        if let Some(beside) = base.beside.as_ref().filter(|_| beside::number(frozen, index) == index) {
            let (whole, uppers) = beside_stack(beside, layers, index)?;
            let lower = beside.frozen.stack()?;
            Differ::plain(&whole, uppers, &lower).run(&Class::ALL, &mut |d| {
                let both_dirs = |f: &Option<Found>| f.as_ref().is_none_or(|f| f.print.kind == Kind::Dir);
                if !both_dirs(&d.was) || !both_dirs(&d.now) {
                    in_git(format!("{index}/.git/{}", d.path));
                }
            })?;
        }
        each_upper(layers, &format!("ignored-{index}"), &mut |dir, path, _| {
            ignored.add(format!("{index}/{}/{path}", escape(dir.as_os_str().as_bytes())));
        })?;
    }
    let mut installed = Installed::default();
    each_upper(layers, "machine", &mut |mount, path, read| {
        let whole = mount.join(OsStr::from_bytes(path.as_bytes()));
        installed.see(&whole, read, &mut || read_some(File::open(&whole).ok()?));
        let noise = NOISE.iter().any(|dir| whole.starts_with(dir))
            || whole.components().any(|c| matches!(c.as_os_str().as_bytes(), b".cache" | b"__pycache__"));
        if !noise {
            outside.add(escape(whole.as_os_str().as_bytes()));
        }
    })?;
    let installed = installed.commands();
    let committed = if dirs.is_empty() { Ok(BTreeSet::new()) } else { committed(frozen, layers) };
    let committed = committed.map_err(SnapshotError::Layer)?;
    dirs.extend(committed.iter().cloned());
    let repositories = dirs.into_iter().take(LISTED_MAX);
    let repositories = repositories.map(|path| Repository { committed: committed.contains(&path), path });
    Ok(Apart {
        outside: outside.list(),
        ignored: ignored.list(),
        git: git.list(),
        repositories: repositories.collect(),
        special: special.list(),
        installed,
    })
}

/// The first paths by name, and how many there are.
#[derive(Default)]
struct First {
    paths: BTreeSet<String>,
    total: u64,
}

impl First {
    fn add(&mut self, path: String) {
        self.total += 1;
        self.paths.insert(path);
        if self.paths.len() > LISTED_MAX {
            self.paths.pop_last();
        }
    }

    fn list(self) -> Listing {
        Listing { paths: self.paths.into_iter().collect(), total: self.total }
    }
}

/// Told of a path below another, with what reads it where it is a file.
type Visit<'a> = &'a mut dyn FnMut(&Path, &RelPath, &mut dyn FnMut() -> Option<Vec<u8>>);

/// Returns what a list of packages holds; nothing of one that is larger than any.
fn read_some(file: File) -> Option<Vec<u8>> {
    const BYTES_MAX: u64 = 8 << 20;
    let mut content = vec![];
    file.take(BYTES_MAX + 1).read_to_end(&mut content).ok()?;
    (content.len() as u64 <= BYTES_MAX).then_some(content)
}

/// Visits every file, link and deletion in the upper directories `LAYER/kind/NAME`, each with the path that NAME stands for.
fn each_upper(layers: &[PathBuf], kind: &str, visit: Visit<'_>) -> io::Result<()> {
    let mut names = BTreeSet::new();
    for layer in layers {
        match std::fs::read_dir(layer.join(kind)) {
            Ok(entries) => {
                for entry in entries {
                    names.insert(entry?.file_name());
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    for name in names {
        let dir = layer::path_of(&name);
        let uppers: Vec<PathBuf> = layers.iter().map(|layer| layer.join(kind).join(&name)).collect();
        let stack = Stack::open(&uppers)?;
        let mut open = vec![stack.top()?];
        while let Some(place) = open.pop() {
            for name in stack.names(&place, stack.height())? {
                match stack.enter(&place, &name)? {
                    Some(found) if found.print.kind == Kind::Dir => open.push(found.place()),
                    Some(found) => visit(&dir, &found.path, &mut || read_some(stack.content(&found).ok()?)),
                    None => visit(&dir, &below(place.path.as_ref(), &name)?, &mut || None),
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
