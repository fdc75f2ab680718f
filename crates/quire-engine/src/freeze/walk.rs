//! What a folder holds, by one stat of each name: the list that is copied, and later compared with.
//!
//! A large folder is walked by two threads. Each opens a directory, lists it and asks for its names there, so that the kernel
//! resolves no path for a file. A directory that is as the manifest has it is known by the same bytes, and nothing of its
//! files is kept.

use super::copy::What;
use super::manifest::{Manifest, Stamp, push_entry};
use crate::ignores::{Ignores, RULES_MAX};
use crate::rooted::{Kind, PATH_MAX, Print, Rooted, below};
use quire_core::RelPath;
use rustix::fs::{AtFlags, OFlags, RawDir};
use serde::{Deserialize, Serialize};
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

pub struct Walk {
    pub top: Print,
    /// Every directory that belongs to the copy, in the order of their paths, the folder itself first.
    pub dirs: Vec<Listed>,
    /// Ignored directories, in order; their parents name them, but they are not among `dirs`.
    pub ignored: Vec<RelPath>,
    pub left_out: Vec<LeftOut>,
}

/// A directory with what in it belongs to the copy.
pub struct Listed {
    pub path: Option<RelPath>,
    /// Whether all is as the manifest says.
    pub same: bool,
    /// In the order of their names. Absent where all is the same and there is no directory in it.
    pub entries: Vec<Entry>,
}

pub struct Entry {
    pub name: Box<[u8]>,
    pub print: Print,
}

/// Something that the copy does not have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LeftOut {
    pub path: RelPath,
    /// In words for a person.
    pub why: String,
}

/// What a walk goes by.
pub struct Given<'a> {
    pub what: What,
    pub root: &'a Rooted,
    /// Where the data directory lies in it, whose files are never even opened. A process that closes a database's file loses
    /// its locks on it (POSIX), and another would then take the log away from under it.
    pub own: Option<&'a RelPath>,
    /// What the folder was.
    pub was: Option<&'a Manifest>,
    /// Files that changed later than this, in nanoseconds since 1970, are given 0 as their ctime, and are not the same.
    pub trusted_ns: i64,
}

/// Reads a small regular file, as the rules about ignored directories want it.
pub fn read_small(root: &Rooted, path: &RelPath) -> Option<Vec<u8>> {
    let file = root.file(path).ok()?;
    let mut content = vec![];
    io::Read::read_to_end(&mut io::Read::take(file, RULES_MAX), &mut content).ok()?;
    Some(content)
}

impl Walk {
    /// Returns what stands at a path that is a directory of the copy.
    pub fn dir(&self, path: &RelPath) -> Option<Print> {
        let parent = path.parent();
        let at = self.dirs.binary_search_by(|listed| listed.path.cmp(&parent)).ok()?;
        let entries = &self.dirs[at].entries;
        let at = entries.binary_search_by(|entry| (*entry.name).cmp(path.name())).ok()?;
        Some(entries[at].print).filter(|print| print.kind == Kind::Dir)
    }
}

/// More would wait for the disk's, or for a lock of the kernel's.
const THREADS: usize = 2;

/// Looks at a whole folder.
pub fn walk(given: &Given<'_>) -> io::Result<Walk> {
    let top = given.root.print(None)?.ok_or(io::ErrorKind::NotFound)?;
    let queue = Queue::default();
    let mut part = Part::new(given);
    // Not even the folder itself can be read.
    let inner = part.list(None, &Ignores::default())?;
    queue.put(inner);
    let mut others = vec![];
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let mut part = Part::new(given);
                    part.work(&queue);
                    part.found
                })
            })
            .collect();
        part.work(&queue);
        for thread in threads {
            others.push(thread.join().map_err(|_| io::Error::other("a thread that looks ended badly"))?);
        }
        io::Result::Ok(())
    })?;
    let mut found = part.found;
    for other in others {
        found.dirs.extend(other.dirs);
        found.ignored.extend(other.ignored);
        found.left_out.extend(other.left_out);
        found.closed.extend(other.closed);
    }
    let Found { mut dirs, mut ignored, left_out, closed } = found;
    dirs.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    ignored.sort_unstable();
    for path in closed {
        let parent = path.parent();
        if let Ok(at) = dirs.binary_search_by(|listed| listed.path.cmp(&parent)) {
            dirs[at].same = false;
            dirs[at].entries.retain(|entry| *entry.name != *path.name());
        }
    }
    Ok(Walk { top, dirs, ignored, left_out })
}

/// Directories that nobody has looked at yet.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Default)]
struct Waiting {
    dirs: Vec<Pending>,
    /// Threads that look at one, and may find more.
    busy: usize,
}

/// A directory with the rules of the one that holds it.
struct Pending {
    path: RelPath,
    above: Ignores,
}

/// Says, when it is dropped, that a directory has been looked at.
struct Busy<'a>(&'a Queue);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.lock().busy -= 1;
        self.0.more.notify_all();
    }
}

impl Queue {
    fn put(&self, dirs: Vec<Pending>) {
        self.lock().dirs.extend(dirs);
        self.more.notify_all();
    }

    /// Returns the next; `None` when all is done.
    fn take(&self) -> Option<(Pending, Busy<'_>)> {
        let mut waiting = self.lock();
        loop {
            if let Some(next) = waiting.dirs.pop() {
                waiting.busy += 1;
                return Some((next, Busy(self)));
            }
            if waiting.busy == 0 {
                return None;
            }
            waiting = self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Found {
    dirs: Vec<Listed>,
    ignored: Vec<RelPath>,
    left_out: Vec<LeftOut>,
    /// Directories that were named by their parents and could not be listed. Those are not copied either, so that they never
    /// look empty.
    closed: Vec<RelPath>,
}

/// One thread's part of a walk. What it needs for each directory is made once.
struct Part<'a> {
    given: &'a Given<'a>,
    found: Found,
    buffer: Vec<u8>,
    /// Names of the directory at hand, each with a NUL.
    names: Vec<u8>,
    /// Where in `names` each is, and its inode.
    places: Vec<(u64, usize, usize)>,
    prints: Vec<((usize, usize), Print)>,
    encoded: Vec<u8>,
}

impl<'a> Part<'a> {
    fn new(given: &'a Given<'a>) -> Part<'a> {
        Part {
            given,
            found: Found::default(),
            buffer: Vec::with_capacity(64 << 10),
            names: vec![],
            places: vec![],
            prints: vec![],
            encoded: vec![],
        }
    }

    fn work(&mut self, queue: &Queue) {
        while let Some((Pending { path, above }, _busy)) = queue.take() {
            match self.list(Some(&path), &above) {
                Ok(inner) => queue.put(inner),
                Err(e) => {
                    let why = match e.raw_os_error() {
                        Some(libc::ENOENT | libc::ENOTDIR) => None,
                        Some(libc::EXDEV) => Some("another file system is mounted there".into()),
                        _ => Some(format!("cannot be listed: {e}")),
                    };
                    self.found.left_out.extend(why.map(|why| LeftOut { path: path.clone(), why }));
                    self.found.closed.push(path);
                }
            }
        }
    }

    /// Lists a directory, in which the rules of the one that holds it are `above`. Returns the directories in it that are to
    /// be listed too.
    fn list(&mut self, dir: Option<&RelPath>, above: &Ignores) -> io::Result<Vec<Pending>> {
        let given = self.given;
        self.look(dir)?;
        let Part { names, prints, encoded, found, .. } = self;
        let name_at = |(from, to): (usize, usize)| &names[from..to];
        let has = |name: &[u8]| prints.binary_search_by(|(at, _)| name_at(*at).cmp(name)).is_ok();
        // Most directories have none of the files that are asked for.
        let read = |path: &RelPath| {
            let rest = match dir {
                Some(dir) => path.as_bytes().strip_prefix(dir.as_bytes())?.strip_prefix(b"/")?,
                None => path.as_bytes(),
            };
            let first = rest.split(|b| *b == b'/').next()?;
            if has(first) { read_small(given.root, path) } else { None }
        };
        let rules = above.within(dir, &read);
        let prefix = dir.map_or(0, |dir| dir.as_bytes().len() + 1);
        let own = given.own.filter(|own| own.parent().as_ref() == dir).map(RelPath::name);
        let (mut inner, mut kept) = (vec![], Vec::with_capacity(prints.len()));
        let was = given.was.and_then(|was| was.entries(dir));
        let mut same = was.is_some();
        encoded.clear();
        for (at, print) in prints.iter() {
            let name = name_at(*at);
            let left = if prefix + name.len() > PATH_MAX {
                Some("its path is too long")
            } else if own == Some(name) {
                Some("quire's own data")
            } else if matches!(print.kind, Kind::Other | Kind::Whiteout) {
                Some("a device, socket or pipe")
            } else {
                None
            };
            if let Some(why) = left {
                found.left_out.push(LeftOut { path: below(dir, name)?, why: why.into() });
                continue;
            }
            let mut print = *print;
            if print.kind == Kind::Dir {
                let path = below(dir, name)?;
                if given.what == What::Folder && name != b".git" && rules.ignores(&path, &read) {
                    found.ignored.push(path);
                } else {
                    inner.push(Pending { path, above: rules.clone() });
                }
            } else if print.ctime_ns > given.trusted_ns {
                print.ctime_ns = 0;
            }
            same &= print.kind == Kind::Dir || print.ctime_ns != 0;
            if was.is_some() {
                push_entry(encoded, name, &Stamp::of(&print));
            }
            kept.push((*at, print));
        }
        same &= was == Some(encoded.as_slice());
        if same && kept.iter().all(|(_, print)| print.kind != Kind::Dir) {
            kept.clear();
        }
        let entry = |(at, print): ((usize, usize), Print)| Entry { name: name_at(at).into(), print };
        let entries = kept.into_iter().map(entry).collect();
        found.dirs.push(Listed { path: dir.cloned(), same, entries });
        Ok(inner)
    }

    /// Fills `names` and `prints` with what is in a directory, in the order of the names.
    fn look(&mut self, dir: Option<&RelPath>) -> io::Result<()> {
        let Part { buffer, names, places, prints, .. } = self;
        names.clear();
        places.clear();
        prints.clear();
        let held = self.given.root.open_at(dir, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let spare: &mut [MaybeUninit<u8>] = buffer.spare_capacity_mut();
        let mut listing = RawDir::new(&held, spare);
        while let Some(entry) = listing.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes_with_nul();
            if name != b".\0" && name != b"..\0" {
                places.push((entry.ino(), names.len(), names.len() + name.len()));
                names.extend(name);
            }
        }
        // A disk reads inodes best in their order.
        places.sort_unstable();
        for &(_, from, to) in places.iter() {
            let name = CStr::from_bytes_with_nul(&names[from..to]).map_err(io::Error::other)?;
            let at = (from, to - 1);
            match rustix::fs::statat(&held, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => prints.push((at, Print::of(&stat))),
                Err(rustix::io::Errno::NOENT) => {}
                Err(e) => {
                    let why = format!("cannot be looked at: {}", io::Error::from(e));
                    self.found.left_out.push(LeftOut { path: below(dir, &names[at.0..at.1])?, why });
                }
            }
        }
        prints.sort_unstable_by(|(a, _), (b, _)| names[a.0..a.1].cmp(&names[b.0..b.1]));
        Ok(())
    }
}
