//! Doing what a journal says, or taking it back. Every step can be done by another process than the one before, and again:
//! what was done already is seen from what is there, by inode, or where a disk gives its files new ones, by what they are.

use super::journal::{How, Item, Journal, Operation, Place, Stage, What};
use super::pair::Pair;
use super::plan::sighting;
use super::{AcceptError, Drift, Drifted, attributes};
use crate::blob::Blobs;
use crate::freeze::{each, remove_below};
use crate::holes::{self, Sparse};
use crate::rooted::{Kind, Print, Rooted, gone, link_in, print_in};
use crate::snapshot::hash_of;
use crate::stack::chmod;
use quire_core::RelPath;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Most paths that are made durable one by one.
const FEW_MAX: usize = 64;

/// Told before each effect, with a word for it.
pub type Watch<'a> = &'a mut dyn FnMut(&'static str);

/// One journal being carried out, in folders that are held open and locked.
pub struct Carry<'a> {
    pub journal: &'a Journal,
    pub roots: &'a [Rooted],
    pub place: &'a Place,
    pub watch: Watch<'a>,
}

/// Why moving in had to stop.
enum Stop {
    Drift(Vec<Drift>),
    Failed(AcceptError),
}

impl<E: Into<AcceptError>> From<E> for Stop {
    fn from(e: E) -> Stop {
        Stop::Failed(e.into())
    }
}

impl Carry<'_> {
    /// Does the whole of a journal that is at `prepare`, and returns it as it was done. On any error everything is as before.
    pub fn whole(&mut self, blobs: &Blobs) -> Result<Journal, AcceptError> {
        let as_made = match self.prepare(blobs) {
            Ok(true) => Ok(self.journal.clone()),
            Ok(false) => self.as_made(),
            Err(e) => Err(e),
        };
        match as_made {
            Ok(journal) => {
                Carry { journal: &journal, watch: &mut *self.watch, ..*self }.commit()?;
                Ok(journal)
            }
            Err(e) => {
                self.give_up()?;
                Err(e)
            }
        }
    }

    fn commit(&mut self) -> Result<(), AcceptError> {
        (self.watch)("commit");
        self.place.advance(Stage::Prepare, Stage::Commit)?;
        let moved = self.move_in();
        self.decide(moved)
    }

    /// Goes on from `commit`. On any error everything is as before.
    pub fn forward(&mut self) -> Result<(), AcceptError> {
        let settled = match self.settle() {
            Ok(left) if left.is_empty() => Ok(()),
            Ok(left) => Err(Stop::Drift(left)),
            Err(e) => Err(Stop::Failed(e)),
        };
        let moved = settled.and_then(|()| self.move_in());
        self.decide(moved)
    }

    fn decide(&mut self, moved: Result<(), Stop>) -> Result<(), AcceptError> {
        if let Err(stop) = moved {
            (self.watch)("turn back");
            self.place.advance(Stage::Commit, Stage::Back)?;
            let left = self.back()?;
            return Err(match stop {
                Stop::Failed(e) if left.is_empty() => e,
                Stop::Drift(drift) if left.is_empty() => AcceptError::Drift(drift),
                _ => AcceptError::Touched(left),
            });
        }
        (self.watch)("done");
        self.place.advance(Stage::Commit, Stage::Clean)?;
        self.clean()
    }

    /// Goes on from `clean`.
    pub fn clean(&mut self) -> Result<(), AcceptError> {
        let (journal, roots) = (self.journal, self.roots);
        for some in journal.operations.chunks(self.at_once()) {
            let old = some.iter().filter_map(|o| Some((o, o.old.first()?)));
            let old: Vec<(&Operation, &Item)> =
                old.filter(|(o, _)| matches!(o.how, How::Swap | How::Take)).collect();
            old.iter().for_each(|_| (self.watch)("remove the old"));
            each(&old, |(operation, old)| {
                let Ok(dir) = dir_of(roots, operation) else {
                    return Ok(());
                };
                // Nothing else is ever removed than what was moved there.
                match known(dir.as_fd(), operation.aside.as_bytes(), old)? {
                    true => remove_below(dir.as_fd(), operation.aside.as_bytes()),
                    false => Ok(()),
                }
            })?;
        }
        (self.watch)("close");
        Ok(self.place.advance(Stage::Clean, Stage::After)?)
    }

    /// Goes on from `prepare`, by giving up.
    pub fn give_up(&mut self) -> Result<(), AcceptError> {
        self.drop_new(false)?;
        (self.watch)("give up");
        Ok(self.place.advance(Stage::Prepare, Stage::Before)?)
    }

    /// Goes on from `back`. Returns the paths that somebody changed after the accept had written them; they are left so.
    pub fn back(&mut self) -> Result<Vec<Drift>, AcceptError> {
        let mut left = self.settle()?;
        for operation in self.journal.operations.iter().rev() {
            (self.watch)("move back");
            if !self.take_back(operation)? {
                left.push(drift(operation, Drifted::Changed));
            }
        }
        self.sync()?;
        self.drop_new(true)?;
        (self.watch)("close");
        self.place.advance(Stage::Back, Stage::Before)?;
        Ok(left)
    }

    /// Ends the single moves in whose midst a process died or failed. Returns where somebody had taken the name meanwhile: what was
    /// there before lies beside it.
    fn settle(&mut self) -> Result<Vec<Drift>, AcceptError> {
        let mut left = vec![];
        for operation in self.journal.operations.iter().filter(|o| o.how != How::Mode) {
            (self.watch)("settle");
            let pair = match self.pair(operation)? {
                Err(e) if gone(&e) => continue,
                pair => pair?,
            };
            if !pair.settle(operation.how)? {
                left.push(drift(operation, Drifted::Changed));
            }
        }
        Ok(left)
    }

    /// Opens the directory in which the operation's two names are; what fails of that may be that it is gone.
    fn pair(&self, operation: &Operation) -> Result<io::Result<Pair>, AcceptError> {
        let dir = self.root(operation)?.parent(&operation.path);
        Ok(dir.map(|dir| Pair::new(dir, operation.path.name(), &operation.aside)))
    }

    fn root(&self, operation: &Operation) -> Result<&Rooted, AcceptError> {
        root_of(self.roots, operation)
    }

    fn dir(&self, operation: &Operation) -> Result<OwnedFd, AcceptError> {
        dir_of(self.roots, operation)
    }

    /// Writes everything new beside its place, durable when this returns. Returns false where something has not the mode that it
    /// was to have, because the disk keeps none.
    fn prepare(&mut self, blobs: &Blobs) -> Result<bool, AcceptError> {
        let mut has_modes = true;
        for operation in &self.journal.operations {
            if !matches!(operation.how, How::Put | How::Swap) {
                continue;
            }
            let dir = self.dir(operation)?;
            for item in &operation.new {
                (self.watch)("write beside");
                has_modes &= self.make(operation, item, dir.as_fd(), blobs).map_err(|e| match e {
                    // In a directory of our own: two names of the version are one on this disk.
                    AcceptError::Io(why) if why.kind() == io::ErrorKind::AlreadyExists => {
                        let path = item.path.clone();
                        AcceptError::Drift(vec![Drift::of(operation.folder, path, Drifted::Appeared)])
                    }
                    e => e.at(&item.path),
                })?;
            }
            // Modes last, and the inner ones first: a directory may come to forbid writing in it.
            for item in operation.new.iter().rev().filter(|item| item.what == What::Dir) {
                let node = open_beside(dir.as_fd(), operation, &item.path, OFlags::PATH)?;
                has_modes &= is_kept(chmod(node.as_fd(), item.mode))?;
            }
        }
        let mut tried = BTreeSet::new();
        for operation in self.journal.operations.iter().filter(|o| o.how == How::Mode) {
            has_modes &= !tried.insert(operation.folder) || self.keeps(operation)?;
        }
        (self.watch)("sync");
        self.sync()?;
        Ok(has_modes)
    }

    /// Returns whether the disk keeps the mode that the operation gives, which something of our own is given first: what is a
    /// person's is changed only when all is ready.
    fn keeps(&self, operation: &Operation) -> Result<bool, AcceptError> {
        let (dir, name) = (self.dir(operation)?, OsStr::from_bytes(operation.aside.as_bytes()));
        let wanted = operation.new.first().map_or(0, |item| item.mode & 0o777);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(made) = rustix::fs::openat(&dir, name, flags, Mode::RUSR | Mode::WUSR) else {
            // In a directory that forbids writing modes can be changed all the same.
            return Ok(true);
        };
        let given = rustix::fs::fchmod(&made, Mode::from_raw_mode(wanted)).map_err(io::Error::from);
        let is = rustix::fs::fstat(&made).map(|stat| Print::of(&stat).mode).map_err(io::Error::from);
        rustix::fs::unlinkat(&dir, name, AtFlags::empty()).map_err(io::Error::from)?;
        Ok(is_kept(given)? && is? == wanted)
    }

    /// Writes the journal once more, with the modes that the disk gave to what was made, and has where it takes no other: they are
    /// what is read back, and what an undo finds.
    fn as_made(&self) -> Result<Journal, AcceptError> {
        let mut journal = self.journal.clone();
        for operation in &mut journal.operations {
            match operation.how {
                How::Put | How::Swap => self.has_made(operation)?,
                How::Mode if !self.keeps(operation)? => {
                    if let (Some(new), Some(old)) = (operation.new.first_mut(), operation.old.first()) {
                        (new.mode, new.is_given) = (old.mode, true);
                    }
                }
                How::Mode | How::Take => {}
            }
        }
        self.place.begin(&journal)?;
        Ok(journal)
    }

    /// Notes in the operation which modes the disk gave to what was made for it.
    fn has_made(&self, operation: &mut Operation) -> Result<(), AcceptError> {
        let dir = self.dir(operation)?;
        let mut modes = vec![];
        for item in &operation.new {
            modes.push(match item.what {
                What::Link { .. } => item.mode,
                _ => {
                    let node = open_beside(dir.as_fd(), operation, &item.path, OFlags::PATH)?;
                    Print::of(&rustix::fs::fstat(&node).map_err(io::Error::from)?).mode
                }
            });
        }
        for (item, mode) in operation.new.iter_mut().zip(modes) {
            item.is_given = item.mode != mode;
            item.mode = mode;
        }
        Ok(())
    }

    /// Makes one new thing. Returns false where the disk keeps no modes.
    fn make(
        &self,
        operation: &Operation,
        item: &Item,
        dir: BorrowedFd<'_>,
        blobs: &Blobs,
    ) -> Result<bool, AcceptError> {
        let inner;
        let (dir, name) = match below(operation, &item.path) {
            None => (dir, operation.aside.as_bytes()),
            Some(rest) => {
                let up = RelPath::new(rest).and_then(|rest| rest.parent());
                let path =
                    up.and_then(|up| operation.path.join(up.as_bytes())).unwrap_or(operation.path.clone());
                inner = open_beside(dir, operation, &path, OFlags::PATH | OFlags::DIRECTORY)?;
                (inner.as_fd(), item.path.name())
            }
        };
        let name = OsStr::from_bytes(name);
        let io = |e: rustix::io::Errno| io::Error::from(e);
        match &item.what {
            What::Dir => {
                rustix::fs::mkdirat(dir, name, Mode::RWXU).map_err(io)?;
                Ok(own(dir, name, item)?.mode & 0o077 == 0)
            }
            What::Link { target } => {
                rustix::fs::symlinkat(OsStr::from_bytes(&target.0), dir, name).map_err(io)?;
                own(dir, name, item)?;
                Ok(true)
            }
            What::File { blob } => {
                let content = blobs.open(blob)?;
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let made = rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR).map_err(io)?;
                let mut made = File::from(made);
                holes::copy(content, &mut made)?;
                let has_modes = own(dir, name, item)?.mode & 0o177 == 0;
                let replaces = operation.old.first().is_some_and(|old| matches!(old.what, What::File { .. }));
                if item.path == operation.path && replaces {
                    let old = OsStr::from_bytes(operation.path.name());
                    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    let old = rustix::fs::openat(dir, old, flags, Mode::empty()).map_err(io)?;
                    attributes::carry_over(old.as_fd(), made.as_fd())?;
                }
                let given = rustix::fs::fchmod(&made, Mode::from_raw_mode(item.mode)).map_err(io);
                let has_modes = is_kept(given)? && has_modes;
                if self.is_few() {
                    made.sync_all()?;
                }
                Ok(has_modes)
            }
        }
    }

    /// Moves everything new in and everything old aside, and looks whether it was as planned.
    fn move_in(&mut self) -> Result<(), Stop> {
        // Modes last: a directory may come to forbid writing in it.
        let modes_last = |o: &&Operation| o.how == How::Mode;
        let journal = self.journal;
        let (modes, others): (Vec<_>, Vec<_>) = journal.operations.iter().partition(modes_last);
        for operation in others.iter().chain(&modes) {
            (self.watch)("move in");
            self.one_in(operation).map_err(|stop| match stop {
                Stop::Failed(e) => Stop::Failed(e.at(&operation.path)),
                drift => drift,
            })?;
        }
        (self.watch)("sync");
        self.sync()?;
        for operation in &journal.operations {
            (self.watch)("read back");
            self.read_back(operation)?;
        }
        // Somebody who had a file open may have written into it until now.
        for operation in &journal.operations {
            if let (How::Swap | How::Take, Some(_)) = (operation.how, operation.old.first()) {
                let dir = self.dir(operation)?;
                self.all_known(operation, dir.as_fd())?;
            }
        }
        Ok(())
    }

    fn one_in(&self, operation: &Operation) -> Result<(), Stop> {
        let changed = |what| Stop::Drift(vec![drift(operation, what)]);
        let pair = match self.pair(operation)? {
            Err(e) if gone(&e) => return Err(changed(Drifted::ParentGone)),
            pair => pair?,
        };
        let dir = pair.dir();
        match (operation.how, operation.old.first()) {
            (How::Put, _) => {
                if pair.at_aside()?.is_none() {
                    return Ok(());
                }
                match pair.put() {
                    Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(changed(Drifted::Appeared)),
                    done => Ok(done?),
                }
            }
            (How::Swap, Some(old)) => {
                if known(dir, operation.aside.as_bytes(), old)? {
                    return Ok(());
                }
                match pair.swap_in() {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(changed(Drifted::Gone)),
                    Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                        return Err(changed(Drifted::Changed));
                    }
                    done => done?,
                }
                if let Err(stop) = self.all_known(operation, dir) {
                    // Somebody else's: it goes back at once.
                    pair.swap_back()?;
                    return Err(stop);
                }
                Ok(())
            }
            (How::Take, Some(old)) => {
                if known(dir, operation.aside.as_bytes(), old)? {
                    return Ok(());
                }
                match pair.take() {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(changed(Drifted::Gone)),
                    done => done?,
                }
                if let Err(stop) = self.all_known(operation, dir) {
                    pair.put_back()?;
                    return Err(stop);
                }
                Ok(())
            }
            (How::Mode, Some(old)) => {
                let Some(new) = operation.new.first() else {
                    return Ok(());
                };
                let Some(print) = pair.at_name()? else {
                    return Err(changed(Drifted::Gone));
                };
                if print.mode == new.mode {
                    return Ok(());
                }
                if print.mode != old.mode || !known(dir, operation.path.name(), old)? {
                    return Err(changed(Drifted::Changed));
                }
                Ok(set_mode(&pair, operation, new.mode)?)
            }
            (_, None) => Ok(()),
        }
    }

    /// Looks whether what was moved aside is what the plan saw, all of it and nothing more.
    fn all_known(&self, operation: &Operation, dir: BorrowedFd<'_>) -> Result<(), Stop> {
        let changed =
            |path: &RelPath, what| Err(Stop::Drift(vec![Drift::of(operation.folder, path.clone(), what)]));
        let mut expected: BTreeSet<Vec<u8>> = BTreeSet::new();
        for item in &operation.old {
            let Some(rest) = below(operation, &item.path) else {
                if !known(dir, operation.aside.as_bytes(), item)? {
                    return changed(&item.path, Drifted::Changed);
                }
                continue;
            };
            expected.insert(rest.to_vec());
            let Ok(parent) = open_beside(dir, operation, &parent_of(&item.path), OFlags::PATH) else {
                return changed(&item.path, Drifted::Gone);
            };
            if !known(parent.as_fd(), item.path.name(), item)? {
                return changed(&item.path, Drifted::Changed);
            }
        }
        for item in operation.old.iter().filter(|item| item.what == What::Dir) {
            let listed = open_beside(dir, operation, &item.path, OFlags::RDONLY | OFlags::DIRECTORY)?;
            for name in crate::rooted::names_of(listed.as_fd())? {
                let path = crate::rooted::below(Some(&item.path), &name)?;
                if below(operation, &path).is_none_or(|rest| !expected.contains(rest)) {
                    return changed(&path, Drifted::Appeared);
                }
            }
        }
        Ok(())
    }

    /// Reads what is there now and compares it with what was to be.
    fn read_back(&self, operation: &Operation) -> Result<(), Stop> {
        let root = self.root(operation)?;
        if operation.new.is_empty() {
            return match root.print(Some(&operation.path))? {
                None => Ok(()),
                Some(_) => Err(Stop::Drift(vec![drift(operation, Drifted::Appeared)])),
            };
        }
        for item in &operation.new {
            let same = match (&item.what, root.print(Some(&item.path))?) {
                (What::Dir, Some(print)) => print.kind == Kind::Dir && print.mode == item.mode,
                (What::Link { target }, Some(print)) => {
                    print.kind == Kind::Link && root.link(&item.path)? == target.0
                }
                (What::File { blob }, Some(print)) => {
                    print.kind == Kind::File && print.mode == item.mode && {
                        match root.file(&item.path) {
                            Ok(file) => hash_of(Sparse::new(&file))? == *blob,
                            // A mode may forbid its owner to read; then the bytes were read when they were written.
                            Err(e) => e.kind() == io::ErrorKind::PermissionDenied,
                        }
                    }
                }
                (_, None) => false,
            };
            if !same {
                let what = Drifted::Changed;
                return Err(Stop::Drift(vec![Drift::of(operation.folder, item.path.clone(), what)]));
            }
        }
        Ok(())
    }

    /// Takes one operation back, if it was done. Returns false where somebody changed what it had written: that is left.
    fn take_back(&self, operation: &Operation) -> Result<bool, AcceptError> {
        let pair = match self.pair(operation)? {
            Err(e) if gone(&e) => return Ok(operation.how == How::Put),
            pair => pair?,
        };
        let aside = operation.aside.as_bytes();
        // Whether it came back; not where somebody took the name just now.
        let is_free = |done: io::Result<()>| match done {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            done => Ok(done.map(|()| true)?),
        };
        match (operation.how, operation.old.first()) {
            (How::Put, _) => {
                if pair.at_aside()?.is_some() || pair.at_name()?.is_none() {
                    return Ok(true);
                }
                if self.read_back(operation).is_err() {
                    return Ok(false);
                }
                pair.take()?;
                if is_strange(operation, pair.dir())? {
                    is_free(pair.put_back())?;
                    return Ok(false);
                }
            }
            (How::Swap, Some(old)) => {
                if !known(pair.dir(), aside, old)? {
                    if !is_strange(operation, pair.dir())? {
                        return Ok(true);
                    }
                    // Somebody's, that changed places with the new and was not put back: it goes back, and the new is dropped.
                    return Ok(self.read_back(operation).is_ok() && is_free(pair.swap_back())?);
                }
                if pair.at_name()?.is_none() || self.read_back(operation).is_err() {
                    return Ok(false);
                }
                if !is_free(pair.swap_back())? {
                    return Ok(false);
                }
                if is_strange(operation, pair.dir())? {
                    is_free(pair.swap_in())?;
                    return Ok(false);
                }
            }
            // Also what is somebody's, and was not put back.
            (How::Take, Some(_)) if pair.at_aside()?.is_some() => return is_free(pair.put_back()),
            (How::Take, _) => {}
            (How::Mode, Some(old)) => match pair.at_name()? {
                Some(print) if print.mode == old.mode => {}
                Some(print) if operation.new.first().is_some_and(|new| new.mode == print.mode) => {
                    set_mode(&pair, operation, old.mode)?;
                }
                _ => return Ok(false),
            },
            (_, None) => {}
        }
        Ok(true)
    }

    /// Removes what was written beside its place; once something was moved, only what is whole, and so surely was written by this.
    /// What is old and aside is never touched.
    fn drop_new(&mut self, moved: bool) -> Result<(), AcceptError> {
        let (journal, roots) = (self.journal, self.roots);
        for some in journal.operations.chunks(self.at_once()) {
            let new: Vec<&Operation> = some.iter().filter(|o| o.how != How::Take).collect();
            new.iter().for_each(|_| (self.watch)("remove the new"));
            each(&new, |operation| {
                let Ok(dir) = dir_of(roots, operation) else {
                    return Ok(());
                };
                let aside = operation.aside.as_bytes();
                match operation.old.first() {
                    Some(old) if known(dir.as_fd(), aside, old)? => Ok(()),
                    _ if moved && is_strange(operation, dir.as_fd())? => Ok(()),
                    _ => remove_below(dir.as_fd(), aside),
                }
            })?;
        }
        Ok(())
    }

    /// How many operations are looked at together where the order does not matter.
    fn at_once(&self) -> usize {
        if self.journal.operations.len() <= FEW_MAX { 1 } else { 1024 }
    }

    /// Whether single files were made and moved, and few of them: each was made durable when it was written, so that only their
    /// directories are left.
    fn is_few(&self) -> bool {
        let single = |o: &Operation| o.how != How::Mode && o.new.iter().all(|item| item.what != What::Dir);
        self.journal.operations.len() <= FEW_MAX && self.journal.operations.iter().all(single)
    }

    /// Makes everything that was done durable. Where it is much, the touched folders' file systems are synced as a whole, which is
    /// one wait whatever the number of files, but also for whatever else is being written there.
    fn sync(&self) -> Result<(), AcceptError> {
        if self.is_few() && self.sync_directories().is_ok() {
            return Ok(());
        }
        let touched: BTreeSet<u32> = self.journal.operations.iter().map(|o| o.folder).collect();
        for folder in touched {
            if let Some(root) = self.roots.get(folder as usize) {
                rustix::fs::syncfs(root).map_err(io::Error::from)?;
            }
        }
        Ok(())
    }
}

impl Carry<'_> {
    fn sync_directories(&self) -> Result<(), AcceptError> {
        let mut synced = BTreeSet::new();
        for operation in &self.journal.operations {
            if synced.insert((operation.folder, operation.path.parent())) {
                let dir = match self.root(operation)?.parent(&operation.path) {
                    Err(e) if gone(&e) => continue, // with all that was in it
                    dir => dir?,
                };
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let dir = rustix::fs::openat(&dir, ".", flags, Mode::empty()).map_err(io::Error::from)?;
                rustix::fs::fsync(&dir).map_err(io::Error::from)?;
            }
        }
        Ok(())
    }
}

/// Returns whether what is aside is not what was written there, all of which was written before anything moved.
fn is_strange(operation: &Operation, dir: BorrowedFd<'_>) -> io::Result<bool> {
    let aside = operation.aside.as_bytes();
    let (Some(print), Some(new)) = (print_in(dir, aside)?, operation.new.first()) else {
        return Ok(false);
    };
    Ok(match &new.what {
        What::Dir => print.kind != Kind::Dir,
        What::Link { target } => print.kind != Kind::Link || link_in(dir, aside)? != target.0,
        What::File { .. } if print.kind != Kind::File => true,
        What::File { blob } => match open_beside(dir, operation, &operation.path, OFlags::RDONLY) {
            Ok(file) => hash_of(Sparse::new(&File::from(file)))? != *blob,
            // A mode may forbid its owner to read.
            Err(_) => false,
        },
    })
}

/// Sets the mode of what has the operation's name.
fn set_mode(pair: &Pair, operation: &Operation, mode: u32) -> io::Result<()> {
    let name = OsStr::from_bytes(operation.path.name());
    let node = rustix::fs::openat(pair.dir(), name, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
    chmod(node.as_fd(), mode)
}

fn root_of<'r>(roots: &'r [Rooted], operation: &Operation) -> Result<&'r Rooted, AcceptError> {
    roots.get(operation.folder as usize).ok_or(AcceptError::NoFolder(operation.folder))
}

/// Opens the directory in which the operation's two names are.
fn dir_of(roots: &[Rooted], operation: &Operation) -> Result<OwnedFd, AcceptError> {
    let open = root_of(roots, operation)?.parent(&operation.path);
    open.map_err(|why| AcceptError::Folder { path: operation.path.clone(), why })
}

fn drift(operation: &Operation, what: Drifted) -> Drift {
    Drift::of(operation.folder, operation.path.clone(), what)
}

/// Returns what `path` is below the operation's own path; `None` for that path itself.
fn below<'p>(operation: &Operation, path: &'p RelPath) -> Option<&'p [u8]> {
    path.as_bytes().strip_prefix(operation.path.as_bytes())?.strip_prefix(b"/")
}

fn parent_of(path: &RelPath) -> RelPath {
    path.parent().unwrap_or_else(|| path.clone())
}

/// Opens what will be, or was, `path`, below the operation's other name.
fn open_beside(
    dir: BorrowedFd<'_>,
    operation: &Operation,
    path: &RelPath,
    flags: OFlags,
) -> io::Result<OwnedFd> {
    use rustix::fs::ResolveFlags;
    let mut raw = operation.aside.as_bytes().to_vec();
    if let Some(rest) = below(operation, path) {
        raw.push(b'/');
        raw.extend_from_slice(rest);
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat2(dir, OsStr::from_bytes(&raw), flags, Mode::empty(), resolve)?)
}

/// Returns whether what stands at `name` is the very thing that was seen, untouched. A FUSE disk may have given it another
/// number since; then it is the one that is the same in all else.
fn known(dir: BorrowedFd<'_>, name: &[u8], item: &Item) -> io::Result<bool> {
    let (Some(print), Some(seen)) = (print_in(dir, name)?, item.seen) else {
        return Ok(false);
    };
    let same = (print.dev, print.ino) == (seen.dev, seen.ino);
    let alike = print.mode == item.mode && (print.bytes, print.mtime_ns) == (seen.bytes, seen.mtime_ns);
    Ok(match &item.what {
        // What is in it is looked at one by one. Its mode may be another once its removal has begun.
        What::Dir => print.kind == Kind::Dir,
        What::Link { target } => print.kind == Kind::Link && link_in(dir, name)? == target.0,
        What::File { .. } if print.kind != Kind::File => false,
        What::File { .. } if same => sighting(&print) == seen,
        What::File { blob } => alike && hash_of(Sparse::new(&file_in(dir, name)?))? == *blob,
    })
}

fn file_in(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, OsStr::from_bytes(name), flags, Mode::empty())?.into())
}

/// Returns whether something of our own took a mode; false where its disk has no place for modes.
fn is_kept(given: io::Result<()>) -> io::Result<bool> {
    match given {
        Err(e)
            if matches!(
                e.raw_os_error(),
                Some(libc::EPERM | libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL)
            ) =>
        {
            Ok(false)
        }
        given => given.map(|()| true),
    }
}

/// Gives what was made its owner, and returns what it is. Only root can give to others; not being able to is an error, because a file of somebody's
/// would change hands. A group that the person is not in is left as the system gave it.
fn own(dir: BorrowedFd<'_>, name: &OsStr, item: &Item) -> io::Result<Print> {
    let print = print_in(dir, name.as_bytes())?.ok_or(io::ErrorKind::NotFound)?;
    if (print.uid, print.gid) == (item.uid, item.gid) {
        return Ok(print);
    }
    let (uid, gid) = (Some(Uid::from_raw(item.uid)), Some(Gid::from_raw(item.gid)));
    match rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW) {
        Err(rustix::io::Errno::PERM) if print.uid == item.uid => Ok(print),
        done => Ok(done.map(|()| print)?),
    }
}

/// Returns the device and inode of a folder: what its lock is named by.
pub fn identity(root: &Rooted, folder: &Path) -> io::Result<(u64, u64)> {
    let print: Print =
        root.print(None)?.ok_or_else(|| io::Error::other(format!("{} is gone", folder.display())))?;
    Ok((print.dev, print.ino))
}
