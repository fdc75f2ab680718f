//! The working copies of the rung [`crate::Rung::Copy`]: plain directories in which an agent works where there can be no
//! overlay, made from the same layers and, whenever files hold still, written back as one ([`crate::layer`]). So snapshots,
//! checks and everything after them are the same on every rung.
//!
//! ```text
//! LAYER/copy/I/NAME   the copy of the I-th folder, under the folder's own name; its ignored directories lie in it
//! LAYER/copy/I.json   what it was made of, without which it is worthless
//! STATE/home, STATE/tmp, STATE/bin
//! ```
//!
//! A copy lies in the layer, because like an overlay's upper directory it must outlive a killed host. What was made is
//! remembered by inode and time of change, which an agent cannot set; what differs from that was changed.
//! Ignored directories are copied as well where they are small, and shown read-only where they are not. Secrets are left
//! out: a closed empty file stands in their place, and what becomes of that is nobody's change.

mod settle;

use crate::hide::{self, FolderSecrets};
use crate::rooted::{Kind, Print, Rooted, below};
use crate::stack::{Found, Stack};
use crate::tool;
use crate::{FolderView, Spec, layer, tidy};
use quire_core::RelPath;
use quire_core::bytes::{escape, unescape};
use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

/// An ignored directory of more is shown, not copied: files and directories, and bytes.
const COPIED_MAX: (u64, u64) = (20_000, 1 << 30);

/// Where things are in a sandbox of this kind.
pub struct Places {
    /// The folders' copies, in the order of the spec.
    pub folders: Vec<PathBuf>,
    pub home: PathBuf,
    pub tmp: PathBuf,
    pub bin: PathBuf,
    pub out: PathBuf,
    /// Ignored directories of the machine that are shown as they are.
    pub linked: Vec<PathBuf>,
}

impl Places {
    pub fn of(spec: &Spec) -> Places {
        let mut folders: Vec<PathBuf> = Vec::new();
        for (index, folder) in spec.folders.iter().enumerate() {
            // A folder within another lies in that one's copy.
            let outer = spec.folders.iter().zip(&folders).filter_map(|(outer, copy)| {
                let within = folder.at.strip_prefix(&outer.at).ok()?;
                Some((outer.at.components().count(), copy.join(within)))
            });
            let name = folder.at.file_name().unwrap_or(OsStr::new("folder"));
            let alone = || spec.layer.join("copy").join(index.to_string()).join(name);
            folders.push(outer.max().map_or_else(alone, |(_, copy)| copy));
        }
        let linked = spec.folders.iter().zip(&folders).flat_map(|(folder, copy)| {
            let links = |ignored: &&PathBuf| copy.join(ignored).is_symlink();
            folder.ignored.iter().filter(links).map(|ignored| folder.at.join(ignored))
        });
        Places {
            linked: linked.collect(),
            home: spec.state.join("home"),
            tmp: spec.state.join("tmp"),
            bin: spec.state.join("bin"),
            out: spec.out.clone(),
            folders,
        }
    }

    /// Returns the directories that are the sandbox's own to write in.
    pub fn own(&self) -> impl Iterator<Item = &Path> {
        self.folders.iter().chain([&self.home, &self.tmp, &self.out]).map(PathBuf::as_path)
    }
}

/// All working copies of a sandbox.
pub struct Copies {
    trees: Vec<Tree>,
    dir: PathBuf,
}

/// One directory that is copied, and where its changes go.
struct Tree {
    /// The copy.
    at: PathBuf,
    /// The layer's part for it.
    upper: PathBuf,
    /// What lies in the copy and is not this tree's: secrets, ignored directories, other folders.
    apart: BTreeSet<RelPath>,
    made: Made,
    /// What the layer's part holds from this sandbox, by what the copy had.
    written: HashMap<RelPath, Print>,
}

/// What a copy was when it was made.
#[derive(Default, Serialize, Deserialize)]
struct Made {
    /// By path, as [`escape`] writes it.
    nodes: BTreeMap<String, Node>,
    /// What the layers below have and the copy did not: deleted in this layer before.
    gone: BTreeSet<String>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Node {
    print: Print,
    /// Whether it is this layer's own, from an earlier sandbox.
    own: bool,
    /// Whether the layers below have something at this path.
    below: bool,
}

impl Copies {
    /// Makes the copies, or takes over those that a killed host left in the layer.
    pub fn make(spec: &Spec) -> io::Result<Copies> {
        let dir = spec.layer.join("copy");
        fs::create_dir_all(&dir)?;
        layer::note_marks(&spec.layer, layer::Marks::User)?;
        let places = Places::of(spec);
        for made in [&places.home, &places.tmp, &places.bin, &places.out] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(made)?;
        }
        for name in tool::COMMANDS {
            link(&spec.binary, &places.bin.join(name))?;
        }
        furnish(spec, &places.home)?;
        let (_, patterns) = hide::patterns(&spec.hide);
        let secrets = FolderSecrets::new(&patterns).map_err(io::Error::other)?;

        let mut trees = Vec::new();
        let mut order: Vec<usize> = (0..spec.folders.len()).collect();
        order.sort_by_key(|index| spec.folders[*index].at.components().count());
        for index in order {
            let (folder, at) = (&spec.folders[index], &places.folders[index]);
            let note = dir.join(format!("{index}.json"));
            let nested = spec.folders.iter().filter_map(|other| other.at.strip_prefix(&folder.at).ok());
            let mut apart: BTreeSet<RelPath> =
                folder.ignored.iter().map(PathBuf::as_path).chain(nested).filter_map(relative).collect();
            let hidden: BTreeSet<RelPath> =
                secrets.frozen(folder).iter().filter_map(|path| relative(path)).collect();
            let rest = hidden.iter().filter(|path| !apart.iter().any(|apart| path.is_within(apart))).cloned();
            let rest: Vec<RelPath> = rest.collect();
            apart.extend(rest);
            trees.push(Tree::make(
                at.clone(),
                layer::folder(&spec.layer, index),
                spec.layers.iter().map(|sealed| layer::folder(sealed, index)).collect(),
                folder.frozen.clone(),
                apart,
                &note,
            )?);
            for (number, ignored) in folder.ignored.iter().enumerate() {
                let note = dir.join(format!("{index}-{number}.json"));
                trees.extend(Tree::ignored(spec, index, folder, at, ignored, &secrets, &note)?);
            }
        }
        Ok(Copies { trees, dir })
    }

    /// Writes what differs into the layer. Nothing may move in the copies meanwhile.
    pub fn settle(&mut self) -> io::Result<()> {
        self.trees.iter_mut().try_for_each(Tree::settle)
    }

    /// Writes all that differs into the layer, and removes the copies. Everything inside must have ended.
    pub fn end(mut self) -> io::Result<()> {
        for tree in &mut self.trees {
            // A store into a mapped page need not show in a file's times.
            tree.written.clear();
            tree.settle()?;
        }
        self.discard()
    }

    /// Removes the copies.
    pub fn discard(self) -> io::Result<()> {
        // First what vouches for them.
        for entry in fs::read_dir(&self.dir)?.flatten() {
            if entry.path().extension() == Some(OsStr::new("json")) {
                fs::remove_file(entry.path())?;
            }
        }
        tidy::empty(&self.dir)?;
        fs::remove_dir(&self.dir)
    }
}

impl Tree {
    fn make(
        at: PathBuf,
        upper: PathBuf,
        sealed: Vec<PathBuf>,
        base: Vec<PathBuf>,
        apart: BTreeSet<RelPath>,
        note: &Path,
    ) -> io::Result<Tree> {
        let known = fs::read(note).ok().and_then(|raw| serde_json::from_slice(&raw).ok());
        if let Some(made) = known {
            return Ok(Tree { at, upper, apart, made, written: HashMap::new() });
        }
        fs::create_dir_all(&upper)?;
        let lower = |with: &[PathBuf]| -> io::Result<Stack> {
            Ok(Stack::open(&[with, &sealed].concat())?.upon(Stack::open(&base)?))
        };
        let (whole, under) = (lower(std::slice::from_ref(&upper))?, lower(&[])?);
        fs::create_dir_all(&at)?;
        tidy::empty(&at)?;
        let mut making = Making { whole: &whole, under: &under, apart: &apart, made: Made::default() };
        let to = Rooted::open(&at)?;
        making.fill(&to)?;
        let made = making.made;
        // Until the clock has moved on, a change could carry the time that was noted.
        let newest = made.nodes.values().map(|node| node.print.ctime_ns).max().unwrap_or(0);
        while coarse_now() <= newest {
            std::thread::yield_now();
        }
        fs::write(note, serde_json::to_vec(&made)?)?;
        Ok(Tree { at, upper, apart, made, written: HashMap::new() })
    }

    /// Copies an ignored directory, or links to it where it is large; `None` then, and where it is gone on either side.
    fn ignored(
        spec: &Spec,
        index: usize,
        folder: &FolderView,
        copy: &Path,
        ignored: &Path,
        secrets: &FolderSecrets,
        note: &Path,
    ) -> io::Result<Option<Tree>> {
        let (live, at) = (folder.at.join(ignored), copy.join(ignored));
        let Some(parent) = at.parent().filter(|parent| parent.is_dir() && !parent.is_symlink()) else {
            return Ok(None);
        };
        if !fs::symlink_metadata(&live).is_ok_and(|stat| stat.is_dir()) || !is_real(parent, copy) {
            return Ok(None);
        }
        let hidden =
            if hide::is_of_packages(ignored) { Vec::new() } else { secrets.below(&folder.at, ignored) };
        if !note.exists() && is_large(&live) {
            // A secret in it could not be left out.
            if hidden.is_empty() {
                link(&live, &at)?;
            }
            return Ok(None);
        }
        let apart = hidden.iter().filter_map(|path| relative(path.strip_prefix(ignored).ok()?)).collect();
        let upper = layer::ignored(&spec.layer, index, ignored);
        let sealed = spec.layers.iter().map(|sealed| layer::ignored(sealed, index, ignored)).collect();
        Tree::make(at, upper, sealed, vec![live], apart, note).map(Some)
    }
}

/// Making one copy.
struct Making<'a> {
    whole: &'a Stack,
    /// Without this sandbox's own layer.
    under: &'a Stack,
    apart: &'a BTreeSet<RelPath>,
    made: Made,
}

impl Making<'_> {
    fn fill(&mut self, to: &Rooted) -> io::Result<()> {
        let mut open = vec![(self.whole.top()?, Some(self.under.top()?), None::<Found>)];
        let mut finished: Vec<Option<Found>> = Vec::new();
        while let Some((place, under, found)) = open.pop() {
            finished.push(found);
            let mut names = self.whole.names(&place, self.whole.height())?;
            if let Some(under) = &under {
                names.extend(self.under.names(under, self.under.height())?);
            }
            for name in names {
                let path = below(place.path.as_ref(), &name)?;
                let now = self.whole.enter(&place, &name)?;
                let was = under.as_ref().map(|under| self.under.enter(under, &name)).transpose()?.flatten();
                if self.apart.contains(&path) {
                    self.stand_in(to, &path, now.as_ref())?;
                    continue;
                }
                let Some(now) = now else {
                    if was.is_some() {
                        self.made.gone.insert(escape(path.as_bytes()));
                    }
                    continue;
                };
                self.one(to, &now, was.is_some())?;
                if now.print.kind == Kind::Dir {
                    let dir = was.filter(|was| was.print.kind == Kind::Dir).map(|was| was.place());
                    open.push((now.place(), dir, Some(now)));
                }
            }
        }
        // Innermost first: a mode may close a directory, and filling one moves its time.
        for found in finished.iter().rev() {
            let (path, print) = match found {
                Some(found) => (Some(&found.path), found.print),
                None => (None, self.whole.top_print()?),
            };
            let dir = to.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
            rustix::fs::futimens(&dir, &times(&print))?;
            rustix::fs::fchmod(&dir, Mode::from_raw_mode(print.mode & 0o1777 | 0o700))?;
        }
        for (path, node) in &mut self.made.nodes {
            let path = unescape(path).and_then(RelPath::new);
            node.print = to.print(path.as_ref())?.ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(())
    }

    fn one(&mut self, to: &Rooted, found: &Found, below: bool) -> io::Result<()> {
        let name = OsStr::from_bytes(found.path.as_bytes());
        match found.print.kind {
            Kind::Dir => rustix::fs::mkdirat(to, name, Mode::RWXU)?,
            Kind::Link => {
                rustix::fs::symlinkat(OsStr::from_bytes(&self.whole.link(found)?), to, name)?;
                rustix::fs::utimensat(to, name, &times(&found.print), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            Kind::File => write(&mut self.whole.content(found)?, to, name, &found.print)?,
            Kind::Whiteout | Kind::Other => return Ok(()),
        }
        let node = Node { print: found.print, own: found.layer == 0, below };
        self.made.nodes.insert(escape(found.path.as_bytes()), node);
        Ok(())
    }

    /// Puts nothing in the place of what is not this tree's.
    fn stand_in(&self, to: &Rooted, path: &RelPath, now: Option<&Found>) -> io::Result<()> {
        let name = OsStr::from_bytes(path.as_bytes());
        match now.map(|found| found.print.kind) {
            Some(Kind::Dir) => Ok(rustix::fs::mkdirat(to, name, Mode::RWXU)?),
            Some(_) => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                rustix::fs::openat(to, name, flags, Mode::empty()).map(drop)?;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// Writes a new file with this content, and the mode and time of `like`.
fn write(from: &mut File, to: impl AsFd, name: &OsStr, like: &Print) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = File::from(rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR)?);
    // Blocks are shared where the file system can do that.
    if rustix::fs::ioctl_ficlone(&made, &*from).is_err() {
        pour(from, &made)?;
    }
    rustix::fs::futimens(&made, &times(like))?;
    Ok(rustix::fs::fchmod(&made, Mode::from_raw_mode(like.mode & 0o1777))?)
}

/// Copies what stands in a file and leaves its holes as they are, which could be larger than the disk.
fn pour(from: &File, to: &File) -> io::Result<()> {
    use rustix::fs::SeekFrom;
    let length = from.metadata()?.len();
    to.set_len(length)?;
    let mut at = 0;
    while at < length {
        let begin = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            Err(rustix::io::Errno::NXIO) => break,
            begin => begin?,
        };
        let end = rustix::fs::seek(from, SeekFrom::Hole(begin))?;
        for file in [from, to] {
            rustix::fs::seek(file, SeekFrom::Start(begin))?;
        }
        io::copy(&mut io::Read::take(from, end - begin), &mut &*to)?;
        at = end;
    }
    Ok(())
}

fn times(print: &Print) -> Timestamps {
    let time = Timespec {
        tv_sec: print.mtime_ns.div_euclid(1_000_000_000),
        tv_nsec: print.mtime_ns.rem_euclid(1_000_000_000) as _,
    };
    Timestamps { last_access: time, last_modification: time }
}

/// Returns the time that files are stamped with, in nanoseconds since 1970.
fn coarse_now() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes one timespec, and the clock exists.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME_COARSE, &raw mut now) };
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

fn relative(path: &Path) -> Option<RelPath> {
    RelPath::new(path.as_os_str().as_bytes())
}

fn link(target: &Path, at: &Path) -> io::Result<()> {
    match symlink(target, at) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Links the tools of the person's home into the one inside.
fn furnish(spec: &Spec, home: &Path) -> io::Result<()> {
    let mine = crate::tree::Home::of(spec).mine;
    let asked = spec.show.iter().map(|path| path.strip_prefix("~").unwrap_or(path));
    for tool in hide::TOOLS.iter().map(Path::new).chain(asked.filter(|path| path.is_relative())) {
        if !mine.join(tool).exists() {
            continue;
        }
        let at = home.join(tool);
        if let Some(parent) = at.parent() {
            fs::create_dir_all(parent)?;
        }
        link(&mine.join(tool), &at)?;
    }
    Ok(())
}

/// Returns whether no part of `path` below `top` is a link.
fn is_real(path: &Path, top: &Path) -> bool {
    path.ancestors().take_while(|part| *part != top).all(|part| !part.is_symlink())
}

/// Returns how many files and directories there are in the copies of a sandbox, and how many bytes in the files.
pub fn size(spec: &Spec) -> (u64, u64) {
    count(&spec.layer.join("copy"), &|_, _| false)
}

/// Returns whether a directory holds more than is worth copying.
fn is_large(dir: &Path) -> bool {
    let too_much = |count, bytes| count > COPIED_MAX.0 || bytes > COPIED_MAX.1;
    let (files, bytes) = count(dir, &too_much);
    too_much(files, bytes)
}

/// Counts files and directories, and the bytes of files, until it is `enough`.
fn count(dir: &Path, enough: &dyn Fn(u64, u64) -> bool) -> (u64, u64) {
    let (mut count, mut bytes) = (0, 0);
    let mut open = vec![dir.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(stat) = entry.metadata() else { continue };
            count += 1;
            bytes += if stat.is_file() { stat.len() } else { 0 };
            if enough(count, bytes) {
                return (count, bytes);
            }
            if stat.is_dir() {
                open.push(entry.path());
            }
        }
    }
    (count, bytes)
}
