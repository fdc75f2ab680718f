//! From what is to become of single paths to the few renames that do it, having looked whether each path still is what it
//! was. Reads the folders and writes nothing into them; what is there now is stored, for undo.

use super::journal::{How, Item, Journal, Operation, Sighting, What};
use super::{AcceptError, Drift, Drifted};
use crate::blob::{BlobError, PackWriter};
use crate::freeze::read_small;
use crate::holes::Sparse;
use crate::ignores::Ignores;
use crate::rooted::{Kind, Print, Rooted, below, gone};
use crate::snapshot::TRAVELS;
use quire_core::change::LinkTarget;
use quire_core::{Entry, Node, RelPath};
use std::collections::{BTreeMap, HashMap, HashSet, hash_map};
use std::io;
use std::path::PathBuf;

/// What is to become of a path.
#[derive(Clone, Debug)]
pub struct Move {
    pub folder: u32,
    pub path: RelPath,
    pub from: Option<Target>,
    pub to: Option<Target>,
}

/// What a path is to be, or must have been.
#[derive(Clone, Debug)]
pub struct Target {
    pub what: What,
    pub mode: u32,
    /// Owner and group, where they are known: then the mode counts in all its bits. Else it counts in those that travel.
    pub owner: Option<(u32, u32)>,
}

impl Move {
    pub fn of(entry: &Entry) -> Move {
        let target = |node: &Node| {
            let (what, mode) = match node {
                Node::File { blob, mode, .. } => (What::File { blob: *blob }, *mode),
                Node::Link { target } => (What::Link { target: target.clone() }, 0o777),
                Node::Dir { mode } => (What::Dir, *mode),
            };
            Target { what, mode, owner: None }
        };
        Move {
            folder: entry.folder,
            path: entry.path.clone(),
            from: entry.was.as_ref().map(target),
            to: entry.now.as_ref().map(target),
        }
    }

    /// Returns the moves that take an operation back.
    pub fn back(operation: &Operation) -> Vec<Move> {
        let target = |item: &Item| Target {
            what: item.what.clone(),
            mode: item.mode,
            owner: Some((item.uid, item.gid)),
        };
        let mut moves: BTreeMap<RelPath, (Option<Target>, Option<Target>)> = BTreeMap::new();
        for item in &operation.new {
            moves.entry(item.path.clone()).or_default().0 = Some(target(item));
        }
        for item in &operation.old {
            moves.entry(item.path.clone()).or_default().1 = Some(target(item));
        }
        let to_move = |(path, (from, to))| Move { folder: operation.folder, path, from, to };
        moves.into_iter().map(to_move).collect()
    }
}

impl Target {
    fn is(&self, item: &Item) -> bool {
        let mask = if self.owner.is_some() { 0o7777 } else { TRAVELS };
        let mode = matches!(item.what, What::Link { .. }) || (self.mode ^ item.mode) & mask == 0;
        self.what == item.what && mode
    }
}

/// Plans the moves in folders that are held open. Everything that stands in a path that is touched is added to `pack`.
pub fn plan(
    folders: &[PathBuf],
    roots: &[Rooted],
    mut moves: Vec<Move>,
    pack: &mut PackWriter,
) -> Result<Journal, AcceptError> {
    // By component, so that what lies below a path follows it at once.
    let order = |m: &Move| {
        (m.folder, m.path.as_bytes().split(|b| *b == b'/').map(<[u8]>::to_vec).collect::<Vec<_>>())
    };
    moves.sort_by_cached_key(order);
    let mut drift: Vec<Drift> = vec![];
    let mut todo: Vec<(Move, Option<Item>)> = vec![];
    let mut listed = Listed::default();
    for step in moves {
        let Some(root) = roots.get(step.folder as usize) else {
            return Err(AcceptError::NoFolder(step.folder));
        };
        let is = look(root, &step.path, pack)?;
        if is.fits(&step.from) {
            todo.push((step, is.item()));
        } else if !is.fits(&step.to) || step.from.is_none() && !has_name(root, &step, &mut listed)? {
            let is_folder = matches!(&is, Seen::Item(item) if item.what == What::Dir);
            let what = match (&step.from, is) {
                (_, Seen::Nothing) => Drifted::Gone,
                (None, _) => Drifted::Appeared,
                _ => Drifted::Changed,
            };
            drift.push(Drift { is_folder, ..Drift::of(step.folder, step.path, what) });
        }
    }

    let mut journal = Journal { folders: folders.to_owned(), operations: vec![], kept: vec![] };
    let mut left = todo.as_slice();
    while let Some((step, _)) = left.first() {
        let root = &roots[step.folder as usize];
        let (how, covered) = match how(step) {
            How::Mode => (Some(How::Mode), 1),
            _ if !parent_stands(root, &step.path) => {
                drift.push(Drift::of(step.folder, step.path.clone(), Drifted::ParentGone));
                (None, subtree(left))
            }
            how if !is_dir(&step.from) => (Some(how), subtree(left)),
            how => {
                let group = &left[..subtree(left)];
                let planned: HashSet<&RelPath> = group.iter().map(|(m, _)| &m.path).collect();
                let strays = strays(root, &step.path, &|path| planned.contains(path))?;
                match strays.iter().all(|stray| stray.ignored) {
                    true if strays.is_empty() => (Some(how), group.len()),
                    // The directory stays for what is ignored in it; what is below goes one by one.
                    true if how == How::Take => {
                        journal.kept.push((step.folder, step.path.clone()));
                        (None, 1)
                    }
                    _ => {
                        let here = drift.iter().filter(|d| d.folder == step.folder);
                        let told: HashSet<RelPath> = here.map(|d| d.path.clone()).collect();
                        for Stray { path, .. } in strays {
                            if !told.contains(&path) {
                                drift.push(Drift::of(step.folder, path, Drifted::Appeared));
                            }
                        }
                        (None, group.len())
                    }
                }
            }
        };
        let (group, rest) = left.split_at(covered);
        if let Some(how) = how {
            let top = root.print(None)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            let made =
                |(m, is): &(Move, Option<Item>)| m.to.as_ref().map(|to| item(m, to, is.as_ref(), &top));
            journal.operations.push(Operation {
                folder: step.folder,
                path: step.path.clone(),
                how,
                aside: aside()?,
                old: group.iter().filter_map(|(_, is)| is.clone()).collect(),
                new: group.iter().filter_map(made).collect(),
            });
        }
        left = rest;
    }
    if drift.is_empty() { Ok(journal) } else { Err(AcceptError::Drift(drift)) }
}

/// The names in directories that were asked for.
type Listed = HashMap<(u32, Option<RelPath>), HashSet<Vec<u8>>>;

/// Returns whether what is at the path has just that name. A disk that makes no difference between large and small letters shows
/// it under others as well: taken for what is to be there, it would go when its own name goes.
fn has_name(root: &Rooted, step: &Move, listed: &mut Listed) -> io::Result<bool> {
    let parent = step.path.parent();
    let names = match listed.entry((step.folder, parent.clone())) {
        hash_map::Entry::Occupied(names) => names.into_mut(),
        hash_map::Entry::Vacant(names) => names.insert(root.names(parent.as_ref())?.into_iter().collect()),
    };
    Ok(names.contains(step.path.name()))
}

fn is_dir(target: &Option<Target>) -> bool {
    target.as_ref().is_some_and(|target| target.what == What::Dir)
}

fn how(step: &Move) -> How {
    match (&step.from, &step.to) {
        (Some(from), Some(to)) if from.what == to.what => How::Mode,
        (None, _) => How::Put,
        (_, Some(_)) => How::Swap,
        (_, None) => How::Take,
    }
}

/// Returns how many of `left` are the first's path or lie below it.
fn subtree(left: &[(Move, Option<Item>)]) -> usize {
    let Some((first, _)) = left.first() else {
        return 0;
    };
    left.iter().take_while(|(m, _)| m.folder == first.folder && m.path.is_within(&first.path)).count()
}

/// Returns what `to` will be, with everything that the entry left open settled.
fn item(step: &Move, to: &Target, is: Option<&Item>, top: &Print) -> Item {
    let (mode, (uid, gid)) = match (to.owner, is) {
        (Some(owner), _) => (to.mode, owner),
        // New files are the folder's owner's.
        (None, None) => (to.mode, new_owner(top)),
        (None, Some(is)) => {
            let same = (is.mode & TRAVELS) == to.mode && matches!(is.what, What::File { .. });
            let mode = match to.what {
                // A directory keeps what its owner set besides: setgid, sticky.
                What::Dir if is.what == What::Dir => to.mode | is.mode & 0o7000,
                What::File { .. } if same => is.mode & 0o777,
                _ => to.mode,
            };
            (mode, (is.uid, is.gid))
        }
    };
    Item { path: step.path.clone(), what: to.what.clone(), mode, uid, gid, is_given: false, seen: None }
}

/// Returns who owns what is made new: as root, whoever owns the folder; else the person who accepts, since nobody can give
/// files away.
fn new_owner(top: &Print) -> (u32, u32) {
    let me = rustix::process::geteuid();
    if me.is_root() { (top.uid, top.gid) } else { (me.as_raw(), top.gid) }
}

/// What stands at a path.
pub enum Seen {
    Nothing,
    Item(Item),
    /// A device, socket or pipe, or a file that may not be read.
    Foreign,
}

impl Seen {
    fn fits(&self, target: &Option<Target>) -> bool {
        match (target, self) {
            (Some(target), Seen::Item(item)) => target.is(item),
            (None, Seen::Nothing) => true,
            _ => false,
        }
    }

    pub fn item(self) -> Option<Item> {
        match self {
            Seen::Item(item) => Some(item),
            _ => None,
        }
    }
}

/// Returns whether a path is what the move is to make of it.
pub fn stands(root: &Rooted, step: &Move, pack: &mut PackWriter) -> Result<bool, AcceptError> {
    Ok(look(root, &step.path, pack)?.fits(&step.to))
}

/// Looks at a path, and stores the content of a file.
pub fn look(root: &Rooted, path: &RelPath, pack: &mut PackWriter) -> Result<Seen, AcceptError> {
    let Some(print) = root.print(Some(path))? else {
        return Ok(Seen::Nothing);
    };
    let (what, print) = match print.kind {
        Kind::Dir => (What::Dir, print),
        Kind::Link => match root.link(path) {
            Ok(target) => (What::Link { target: LinkTarget(target) }, print),
            Err(e) if gone(&e) || e.raw_os_error() == Some(libc::EINVAL) => return Ok(Seen::Foreign),
            Err(e) => return Err(e.into()),
        },
        Kind::File => match root.file(path) {
            Ok(file) => {
                let before = Print::of(&rustix::fs::fstat(&file).map_err(io::Error::from)?);
                let (blob, _) = match pack.add(Sparse::new(&file)) {
                    Err(BlobError::Source(why)) => {
                        return Err(AcceptError::Folder { path: path.clone(), why });
                    }
                    put => put?,
                };
                (What::File { blob }, before)
            }
            Err(e) if gone(&e) => return Ok(Seen::Nothing),
            Err(_) => return Ok(Seen::Foreign),
        },
        Kind::Whiteout | Kind::Other => return Ok(Seen::Foreign),
    };
    let seen = Some(sighting(&print));
    let Print { mode, uid, gid, .. } = print;
    Ok(Seen::Item(Item { path: path.clone(), what, mode, uid, gid, is_given: false, seen }))
}

pub fn sighting(print: &Print) -> Sighting {
    Sighting { dev: print.dev, ino: print.ino, bytes: print.bytes, mtime_ns: print.mtime_ns }
}

fn parent_stands(root: &Rooted, path: &RelPath) -> bool {
    root.parent(path).is_ok()
}

/// Something in a directory that is to go, which is not to go.
struct Stray {
    path: RelPath,
    /// It is an ignored directory or a repository's own: quire never had it.
    ignored: bool,
}

fn strays(root: &Rooted, dir: &RelPath, known: &dyn Fn(&RelPath) -> bool) -> io::Result<Vec<Stray>> {
    let read = |path: &RelPath| read_small(root, path);
    let mut rules = Ignores::at_top(&read);
    let mut above = vec![];
    let mut up = dir.parent();
    while let Some(parent) = up {
        up = parent.parent();
        above.push(parent);
    }
    for parent in above.iter().rev() {
        rules = rules.within(Some(parent), &read);
    }
    let mut strays = vec![];
    let mut open = vec![(dir.clone(), rules.within(Some(dir), &read))];
    while let Some((dir, rules)) = open.pop() {
        for name in root.names(Some(&dir))? {
            let path = below(Some(&dir), &name)?;
            let is_dir = root.print(Some(&path))?.is_some_and(|print| print.kind == Kind::Dir);
            if name == b".git" || is_dir && rules.ignores(&path, &read) {
                strays.push(Stray { path, ignored: true });
            } else if !known(&path) {
                strays.push(Stray { path, ignored: false });
            } else if is_dir {
                let inner = rules.within(Some(&path), &read);
                open.push((path, inner));
            }
        }
    }
    Ok(strays)
}

/// Returns a name that nothing else has.
fn aside() -> Result<String, AcceptError> {
    let random = getrandom::u64().map_err(|e| io::Error::other(e.to_string()))?;
    Ok(format!(".quire-{random:016x}"))
}
