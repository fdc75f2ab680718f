//! Freezing a folder: an immutable copy that a sandbox can stand on while the person goes on working.
//!
//! A folder under a live overlay would be undefined by the kernel's word, and wrong in practice: saved files show old
//! content, a branch switch empties directories. So the first task of a folder copies it once (`base/0`), and each later one
//! adds what the person changed since (`delta/N`), found by one stat of each file. Layers are never touched again.
//!
//! ```text
//! folders/ID/folder       the path it is a copy of
//! folders/ID/base/N/      everything, as it was the first time, and again after many deltas (`squash.rs`)
//! folders/ID/delta/N/     what changed, as an overlayfs layer
//! folders/ID/state-N.json what the copy at N is made of; small
//! folders/ID/part/NAME/   of a git directory: what narrows the copy at N to some folders (`beside/narrow.rs`)
//! folders/ID/manifest     the stat of every path as last copied (`manifest.rs`); names its N
//! folders/ID/new/         a layer being made; worthless after a crash
//! folders/ID/missing/     empty; what a folder that is not there yet is copied from
//! ```
//!
//! A layer is made durable before the manifest that names it is renamed into place, so a crash leaves the old copy or the
//! new one. Nothing is ever written into the person's folder; sharing a large file by hard link moves its ctime.

mod compare;
pub mod copies;
mod copy;
mod manifest;
mod moved;
mod remove;
mod squash;
mod walk;

pub use remove::remove_tree;
pub(crate) use remove::{each, remove_below};
pub use walk::{LeftOut, read_small};

use crate::beside::Beside;
use crate::rooted::{Kind, Print, Rooted, below, replace_file, sync_dir};
use crate::stack::Stack;
use compare::{Changes, compare};
use copy::{Copied, What, copied_bytes, copy_all, finish_dir, make_dir};
use manifest::{Manifest, entries};
use quire_core::RelPath;
use quire_core::bytes::{escape, unescape};
use quire_sandbox::{FolderView, layer, may_be_secret};
use rustix::fs::{FlockOperation, Mode};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use walk::{Entry, Given, Listed, Walk, walk};

/// An immutable copy of a folder.
#[derive(Clone, Debug)]
pub struct Frozen {
    pub id: u64,
    pub delta: u64,
    pub files: u64,
    /// Content of all files, in bytes.
    pub bytes: u64,
    /// The layers it is made of, newest first.
    pub lowers: Vec<PathBuf>,
    /// Ignored directories, relative; empty in the copy.
    pub ignored: Vec<PathBuf>,
    /// What the folder has and the copy has not.
    pub left_out: Vec<LeftOut>,
    /// As in [`FolderView`].
    suspects: Option<Vec<RelPath>>,
    /// Files that are one inode with the person's, with their size and mtime: an edit in place shows by these. Those that git
    /// never changes are not among them.
    linked: HashMap<RelPath, (u64, i64)>,
    /// The folder's git repository, where that lies outside of it and is shown.
    pub beside: Option<Box<Beside>>,
}

#[derive(Debug, thiserror::Error)]
pub enum FreezeError {
    #[error("{} cannot be copied: {why}. Nothing was changed.", path.display())]
    Folder { path: PathBuf, why: io::Error },
    #[error("to copy the folder would take {bytes} bytes; nothing was copied")]
    Large { bytes: u64 },
    #[error("the disk that holds quire's data is full, so {} could not be copied. Nothing was changed; make room and \
             resume.", path.display())]
    Disk { path: PathBuf },
    #[error("quire's copy of a folder under {} cannot be used: {why}", home.display())]
    Home { home: PathBuf, why: io::Error },
}

#[derive(Serialize, Deserialize)]
struct State {
    base: u64,
    /// Oldest first.
    deltas: Vec<u64>,
    files: u64,
    bytes: u64,
    ignored: Vec<RelPath>,
    left_out: Vec<LeftOut>,
    linked: Vec<(RelPath, u64, i64)>,
    #[serde(default)]
    suspects: Option<Vec<RelPath>>,
}

/// Where the paths of files that may be secrets are longer than this together, in bytes, they are not noted but looked for
/// each time: they must go into what a sandbox is told.
const SUSPECTS_MAX: usize = 64 << 10;

impl State {
    fn of(
        base: u64,
        deltas: Vec<u64>,
        manifest: &Manifest,
        ignored: Vec<RelPath>,
        mut left_out: Vec<LeftOut>,
        linked: Vec<(RelPath, u64, i64)>,
    ) -> State {
        left_out.sort();
        let (mut files, mut bytes) = (0, 0);
        let mut suspects: Vec<RelPath> = vec![];
        for (dir, raw) in manifest.dirs() {
            let of_git = dir.as_ref().is_some_and(copy::is_of_git);
            for (name, stamp) in entries(raw).filter(|(_, stamp)| stamp.kind != Kind::Dir) {
                if stamp.kind == Kind::File {
                    files += 1;
                    bytes += stamp.bytes;
                }
                if !of_git && may_be_secret(name) {
                    suspects.extend(below(dir.as_ref(), name));
                }
            }
        }
        let length: usize = suspects.iter().map(|path| path.as_bytes().len()).sum();
        let suspects = (length <= SUSPECTS_MAX).then_some(suspects);
        State { base, deltas, files, bytes, ignored, left_out, linked, suspects }
    }
}

/// Changes so close to the look at them are not trusted to show by their time, in nanoseconds: kernels stamp files with a
/// clock that moves every few milliseconds.
const RACY_NS: i64 = 100_000_000;

/// Copies `folder`, an absolute and canonical path, or what changed in it since the last time. `progress` is told files
/// copied and files to copy. Two at once on one folder wait for each other.
pub fn freeze(
    home: &Path,
    folder: &Path,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Frozen, FreezeError> {
    freeze_at_most(home, folder, u64::MAX, progress)
}

/// As [`freeze`], but where more than `most` bytes would have to be copied nothing is.
pub fn freeze_at_most(
    home: &Path,
    folder: &Path,
    most: u64,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Frozen, FreezeError> {
    freeze_with(home, What::Folder, folder, most, progress, &|_| Rooted::open(folder))
}

/// As [`freeze_at_most`], of a git directory.
pub fn freeze_git(
    home: &Path,
    dir: &Path,
    most: u64,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Frozen, FreezeError> {
    freeze_with(home, What::Git, dir, most, progress, &|_| Rooted::open(dir))
}

/// Returns the copy of a folder that is not there, which is empty.
pub fn freeze_missing(home: &Path, folder: &Path) -> Result<Frozen, FreezeError> {
    let empty = |dir: &Path| {
        let empty = dir.join("missing");
        match std::fs::DirBuilder::new().mode(0o755).create(&empty) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Rooted::open(&empty),
        }
    };
    freeze_with(home, What::Folder, folder, u64::MAX, &|_, _| {}, &empty)
}

/// As [`freeze_at_most`], of what `open` opens; it is given the directory of the folder's copies.
fn freeze_with(
    home: &Path,
    what: What,
    folder: &Path,
    most: u64,
    progress: &(dyn Fn(u64, u64) + Sync),
    open_root: &dyn Fn(&Path) -> io::Result<Rooted>,
) -> Result<Frozen, FreezeError> {
    let home_error = |why| FreezeError::Home { home: home.to_owned(), why };
    let (id, dir, _lock) = loop {
        let (id, dir) = place_for(home, folder).map_err(home_error)?;
        if let Some(lock) = copies::wait(&dir).map_err(home_error)? {
            break (id, dir, lock);
        }
    };

    let folder_error = |why: io::Error| match why.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            FreezeError::Disk { path: folder.to_owned() }
        }
        _ => FreezeError::Folder { path: folder.to_owned(), why },
    };
    let root = open_root(&dir).map_err(folder_error)?;
    let own = own(home, folder);
    let job = Job { what, dir: &dir, root: &root, most, progress };
    let mut tries = 0;
    let delta = loop {
        let newest = Newest::read(&dir).map_err(home_error)?;
        let newest = newest.map(|newest| squash::squash(&dir, newest, squash::DELTAS_MAX)).transpose();
        let newest = newest.map_err(folder_error)?;
        let given = Given {
            what,
            root: &root,
            own: own.as_ref(),
            was: newest.as_ref().map(|newest| &newest.manifest),
            trusted_ns: now_ns() - RACY_NS,
        };
        let mut walk = walk(&given).map_err(folder_error)?;
        let delta = match newest {
            None => job.first(&mut walk),
            Some(newest) => job.later(&mut walk, newest),
        };
        let delta = match delta {
            Ok(delta) => delta,
            Err(Stop::Large(bytes)) => return Err(FreezeError::Large { bytes }),
            Err(Stop::Io(why)) => {
                // What was copied so far would go on filling the disk; where it cannot be removed the next copy does it.
                let _ = remove_tree(&dir.join("new"));
                return Err(folder_error(why));
            }
        };
        let moved = moved::moved(what, &root, &walk).map_err(folder_error)?;
        if moved.is_some() && tries < moved::AGAIN {
            // What is copied already stays: only what git changed meanwhile is copied upon it.
            std::thread::sleep(moved::pause(tries));
            tries += 1;
            continue;
        }
        moved::note(&dir, delta, moved).map_err(home_error)?;
        break delta;
    };
    // No task says yet that it stands on it; its time does.
    let state = File::options().write(true).open(dir.join(format!("state-{delta}.json")));
    state.and_then(|state| state.set_modified(SystemTime::now())).map_err(home_error)?;
    open(home, id, delta)
}

/// Copying one folder.
struct Job<'a> {
    what: What,
    dir: &'a Path,
    root: &'a Rooted,
    /// Bytes to copy at most.
    most: u64,
    progress: &'a (dyn Fn(u64, u64) + Sync),
}

enum Stop {
    Large(u64),
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Io(error)
    }
}

impl Job<'_> {
    /// Stops where copying `nodes` would take more than it may.
    fn bound<'n>(&self, nodes: impl IntoIterator<Item = (&'n RelPath, &'n Print)>) -> Result<(), Stop> {
        if self.most == u64::MAX {
            return Ok(());
        }
        let here = std::fs::metadata(self.dir)?.dev();
        let taken = nodes.into_iter().filter(|(_, print)| print.kind == Kind::File);
        let bytes = taken.map(|(path, print)| copied_bytes(self.what, self.root, path, print, here)).sum();
        if bytes > self.most { Err(Stop::Large(bytes)) } else { Ok(()) }
    }

    /// Copies everything into a base.
    fn first(&self, walk: &mut Walk) -> Result<u64, Stop> {
        let &Job { what, dir, root, progress, .. } = self;
        let mut nodes = vec![];
        for Listed { path: within, entries, .. } in &walk.dirs {
            for Entry { name, print } in entries {
                nodes.push((below(within.as_ref(), name)?, *print));
            }
        }
        self.bound(nodes.iter().map(|(path, print)| (path, print)))?;
        // A manifest that cannot be read leaves copies behind, on which tasks may stand.
        let base = states(dir)?.into_iter().max().map_or(0, |last| last + 1);
        let (new, to) = begin_layer(dir)?;
        let filled = fill(what, (root, &walk.top), &to, nodes, &[], &|_| false, progress)?;
        end_layer(&new, &to, &dir.join("base").join(base.to_string()))?;
        let manifest = Changes::default().manifest(base, walk, None, &filled.nodes);
        let mut left_out = std::mem::take(&mut walk.left_out);
        left_out.extend(filled.left_out);
        let state =
            State::of(base, vec![], &manifest, std::mem::take(&mut walk.ignored), left_out, filled.linked);
        Ok(name(dir, &state, &manifest)?)
    }

    /// Copies what is not as in the newest copy into a delta.
    fn later(&self, walk: &mut Walk, newest: Newest) -> Result<u64, Stop> {
        let &Job { what, dir, root, progress, .. } = self;
        let Newest { manifest: old, mut state } = newest;
        let frozen = lowers(dir, &state)?;
        let mut changes = compare(root, &frozen, walk, &old, &state.left_out)?;
        if changes.none() && walk.top.mode == old.mode && walk.ignored == state.ignored {
            let delta = old.delta;
            if changes.restamped {
                changes.manifest(delta, walk, Some(&old), &[]).write(dir)?;
            }
            return Ok(delta);
        }

        // Directories on the way to a change are part of the layer, with their own modes.
        let mut layer = std::mem::take(&mut changes.layer);
        self.bound(&layer)?;
        let mut on_the_way: BTreeMap<RelPath, Print> = BTreeMap::new();
        for path in layer.keys().chain(&changes.deleted) {
            let mut dir = path.parent();
            while let Some(parent) = dir.filter(|parent| !on_the_way.contains_key(parent)) {
                dir = parent.parent();
                if let Some(print) = walk.dir(&parent) {
                    on_the_way.insert(parent, print);
                }
            }
        }
        layer.extend(on_the_way);
        let fresh: HashSet<RelPath> = layer.keys().cloned().collect();
        let (new, to) = begin_layer(dir)?;
        let shows = |path: &RelPath| old.find(path).is_some();
        let nodes = layer.into_iter().collect();
        let filled = fill(what, (root, &walk.top), &to, nodes, &changes.deleted, &shows, progress)?;

        let delta = old.delta + 1;
        end_layer(&new, &to, &dir.join("delta").join(delta.to_string()))?;
        let mut left_out = std::mem::take(&mut walk.left_out);
        left_out.append(&mut changes.unread);
        left_out.extend(filled.left_out);
        let manifest = changes.manifest(delta, walk, Some(&old), &filled.nodes);
        state.linked.retain(|(path, _, _)| !fresh.contains(path) && manifest.find(path).is_some());
        state.linked.extend(filled.linked);
        state.deltas.push(delta);
        let ignored = std::mem::take(&mut walk.ignored);
        let state = State::of(state.base, state.deltas, &manifest, ignored, left_out, state.linked);
        Ok(name(dir, &state, &manifest)?)
    }
}

/// Returns where in `folder` the data directory lies, if it does.
fn own(home: &Path, folder: &Path) -> Option<RelPath> {
    RelPath::new(home.strip_prefix(folder).ok()?.as_os_str().as_bytes())
}

fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i64)
}

/// Returns a copy that was made before.
pub fn open(home: &Path, id: u64, delta: u64) -> Result<Frozen, FreezeError> {
    let dir = home.join("folders").join(id.to_string());
    let state = state(&dir, delta).map_err(|why| FreezeError::Home { home: home.to_owned(), why })?;
    let lowers = layers(&dir, &state);
    let path = |p: &RelPath| PathBuf::from(OsStr::from_bytes(p.as_bytes()));
    Ok(Frozen {
        id,
        delta,
        files: state.files,
        bytes: state.bytes,
        lowers,
        ignored: state.ignored.iter().map(path).collect(),
        left_out: state.left_out,
        suspects: state.suspects,
        linked: state.linked.into_iter().map(|(path, bytes, mtime)| (path, (bytes, mtime))).collect(),
        beside: None,
    })
}

impl Frozen {
    /// Returns it as a sandbox shows it, at the folder's own path.
    pub fn view(&self, at: &Path) -> FolderView {
        FolderView {
            at: at.to_owned(),
            frozen: self.lowers.clone(),
            ignored: self.ignored.clone(),
            suspects: self.suspects.clone(),
            git_of: None,
        }
    }

    /// Opens the layers to read what the folder held.
    pub fn stack(&self) -> io::Result<Stack> {
        Stack::open(&self.lowers)
    }

    /// Returns whether a file of the copy still is what was copied. False only for a file that is shared with the folder
    /// by hard link and was edited there in place.
    pub fn holds(&self, path: &RelPath, print: &Print) -> bool {
        self.linked.get(path).is_none_or(|seen| *seen == (print.bytes, print.mtime_ns))
    }
}

/// Returns the directory that holds the copies of `folder`, made where there was none.
fn place_for(home: &Path, folder: &Path) -> io::Result<(u64, PathBuf)> {
    let all = home.join("folders");
    std::fs::create_dir_all(&all)?;
    let lock = File::create(all.join("lock"))?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
    let name = escape(folder.as_os_str().as_bytes());
    let mut highest = 0;
    for entry in std::fs::read_dir(&all)? {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok()) else {
            continue;
        };
        highest = highest.max(id);
        match std::fs::read_to_string(entry.path().join("folder")) {
            Ok(written) if unescape(&written).as_deref() == Some(folder.as_os_str().as_bytes()) => {
                return Ok((id, entry.path()));
            }
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {} // made when a process died; its number stays unused
            Err(e) => return Err(e),
        }
    }
    let dir = all.join((highest + 1).to_string());
    std::fs::create_dir(&dir)?;
    std::fs::create_dir(dir.join("base"))?;
    std::fs::create_dir(dir.join("delta"))?;
    layer::note_marks(&dir, layer::Marks::User)?;
    replace_file(&dir, "folder", name.as_bytes())?;
    sync_dir(&all)?;
    Ok((highest + 1, dir))
}

/// The newest copy of a folder.
struct Newest {
    manifest: Manifest,
    state: State,
}

impl Newest {
    /// Reads it; `None` where there is none that is whole.
    fn read(dir: &Path) -> io::Result<Option<Newest>> {
        let Some(manifest) = Manifest::read(dir)? else { return Ok(None) };
        let Ok(state) = state(dir, manifest.delta) else { return Ok(None) };
        let whole = layers(dir, &state).iter().all(|layer| layer.is_dir());
        Ok(whole.then_some(Newest { manifest, state }))
    }
}

fn state(dir: &Path, delta: u64) -> io::Result<State> {
    Ok(serde_json::from_slice(&std::fs::read(dir.join(format!("state-{delta}.json")))?)?)
}

/// Returns the numbers of all copies in `dir`.
fn states(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = vec![];
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("state-")?.strip_suffix(".json"));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    Ok(numbers)
}

/// Returns the layers of a copy, newest first.
fn layers(dir: &Path, state: &State) -> Vec<PathBuf> {
    let delta = |n: &u64| dir.join("delta").join(n.to_string());
    let mut layers: Vec<PathBuf> = state.deltas.iter().rev().map(delta).collect();
    layers.push(dir.join("base").join(state.base.to_string()));
    layers
}

/// Opens an empty directory to make a layer in.
fn begin_layer(dir: &Path) -> io::Result<(PathBuf, Rooted)> {
    let new = dir.join("new");
    remove_tree(&new)?;
    std::fs::create_dir(&new)?;
    let to = Rooted::open(&new)?;
    Ok((new, to))
}

/// Makes the layer durable under its name.
fn end_layer(new: &Path, to: &Rooted, name: &Path) -> io::Result<()> {
    rustix::fs::syncfs(to)?;
    remove_tree(name)?;
    // A directory that forbids writing cannot be moved by an ordinary user, whose it is.
    let mode = Print::of(&rustix::fs::fstat(to)?).mode;
    rustix::fs::fchmod(to, Mode::from_raw_mode(mode | 0o700))?;
    std::fs::rename(new, name)?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(mode))?;
    sync_dir(name.parent().unwrap_or(name))
}

/// What came of filling a layer.
#[derive(Default)]
struct Filled {
    /// What was copied, as it was then.
    nodes: Vec<(RelPath, Print)>,
    left_out: Vec<LeftOut>,
    linked: Vec<(RelPath, u64, i64)>,
}

/// Copies `nodes` into the layer `to` and deletes `deleted`. `shows` says whether older layers have a path, which must be
/// deleted too where it could not be copied. Directories get their modes at the end.
fn fill(
    what: What,
    (from, top): (&Rooted, &Print),
    to: &Rooted,
    nodes: Vec<(RelPath, Print)>,
    deleted: &[RelPath],
    shows: &dyn Fn(&RelPath) -> bool,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> io::Result<Filled> {
    let mut filled = Filled::default();
    let (dirs, files): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|(_, print)| print.kind == Kind::Dir);
    for (path, _) in &dirs {
        make_dir(to, path)?;
    }
    let whiteout = |path: &RelPath| {
        let name = OsStr::from_bytes(path.as_bytes());
        layer::delete(to, name)
    };
    deleted.iter().try_for_each(whiteout)?;
    let outcomes = copy_all(what, from, to, &files, progress)?;
    for ((path, walked), outcome) in files.into_iter().zip(outcomes) {
        match outcome {
            Copied::Whole(print) => {
                // A change so recent that its time proves nothing is compared by content the next time. So is one that came
                // after the walk.
                let ctime_ns = if walked.ctime_ns == print.ctime_ns { print.ctime_ns } else { 0 };
                filled.nodes.push((path, Print { ctime_ns, ..print }));
            }
            Copied::Linked(print) => {
                // Git's objects are as many as a folder has files, or more.
                if !copy::is_object(what, &path) {
                    filled.linked.push((path.clone(), print.bytes, print.mtime_ns));
                }
                filled.nodes.push((path, print));
            }
            Copied::Vanished | Copied::LeftOut(_) if shows(&path) => {
                whiteout(&path)?;
                if let Copied::LeftOut(why) = outcome {
                    filled.left_out.push(LeftOut { path, why });
                }
            }
            Copied::Vanished => {}
            Copied::LeftOut(why) => filled.left_out.push(LeftOut { path, why }),
        }
    }
    for (path, print) in dirs.iter().rev() {
        finish_dir(to, Some(path), print)?;
    }
    finish_dir(to, None, top)?;
    filled.nodes.extend(dirs);
    Ok(filled)
}

/// Makes the copy the folder's newest: first what it is made of, then the manifest that names it.
fn name(dir: &Path, state: &State, manifest: &Manifest) -> io::Result<u64> {
    replace_file(dir, &format!("state-{}.json", manifest.delta), &serde_json::to_vec(state)?)?;
    manifest.write(dir)?;
    Ok(manifest.delta)
}

fn lowers(dir: &Path, state: &State) -> io::Result<Stack> {
    Stack::open(&layers(dir, state))
}

#[cfg(test)]
mod tests;
