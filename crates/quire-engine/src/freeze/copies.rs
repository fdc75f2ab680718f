//! The copies of folders as who clears up sees them: which layers there are, and which a copy is made of.

use super::{Newest, State, squash, state, states};
use crate::rooted::{lock_file, print_in};
use quire_core::bytes::unescape;
use rustix::fs::{FlockOperation, flock};
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// A copy of this many deltas is squashed while nobody waits for it.
const DELTAS: usize = 8;

/// One folder's copies; while it lives nobody makes one of that folder.
pub struct Held {
    dir: PathBuf,
    _lock: File,
}

/// What is not needed: states first, then the layers that only they were made of.
#[derive(Debug, Default)]
pub struct Unused {
    pub states: Vec<PathBuf>,
    pub layers: Vec<PathBuf>,
}

/// Returns the numbers of all copies of a home.
pub fn numbers(home: &Path) -> io::Result<Vec<u64>> {
    let all = match names(&home.join("folders")) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => vec![],
        all => all?,
    };
    Ok(all.iter().filter_map(|name| name.parse().ok()).collect())
}

impl Held {
    /// Returns the copies of one folder, unless somebody is at them.
    pub fn of(home: &Path, id: u64) -> io::Result<Option<Held>> {
        let dir = home.join("folders").join(id.to_string());
        let lock = lock_file(&dir.join("lock"))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            locked => {
                locked?;
                Ok(Some(Held { dir, _lock: lock }))
            }
        }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the file whose time says when a copy was last asked for.
    pub fn used(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// Returns whether the folder it is a copy of is there; where that cannot be told, it is.
    pub fn has_folder(&self) -> bool {
        let written = fs::read_to_string(self.dir.join("folder"));
        let Ok(Some(folder)) = written.map(|written| unescape(&written)) else { return true };
        Path::new(&OsString::from_vec(folder)).exists()
    }

    pub fn squash(&self) -> io::Result<()> {
        let newest = Newest::read(&self.dir)?;
        newest.map_or(Ok(()), |newest| squash::squash(&self.dir, newest, DELTAS).map(drop))
    }

    /// Returns what neither the copies in `needed`, nor the newest, nor any of which `recent` says that it was just asked for
    /// are made of.
    pub fn unused(&self, needed: &HashSet<u64>, recent: &dyn Fn(&Path) -> bool) -> io::Result<Unused> {
        let newest = Newest::read(&self.dir)?.map(|newest| newest.manifest.delta);
        let (mut unused, mut used) = (Unused::default(), HashSet::new());
        let mut kept = HashSet::new();
        for number in states(&self.dir)? {
            let path = self.dir.join(format!("state-{number}.json"));
            if newest == Some(number) || needed.contains(&number) || recent(&path) {
                let State { base, deltas, .. } = state(&self.dir, number)?;
                kept.insert(number);
                used.insert(("base", base));
                used.extend(deltas.into_iter().map(|delta| ("delta", delta)));
            } else {
                unused.states.push(path);
            }
        }
        for kind in ["base", "delta"] {
            for name in names(&self.dir.join(kind))? {
                let number = name.parse::<u64>();
                if number.is_ok_and(|number| !used.contains(&(kind, number))) {
                    unused.layers.push(self.dir.join(kind).join(name));
                }
            }
        }
        for name in names(&self.dir.join("part")).unwrap_or_default() {
            let number = name.split('-').next().and_then(|number| number.parse().ok());
            if number.is_none_or(|number| !kept.contains(&number)) {
                unused.layers.push(self.dir.join("part").join(name));
            }
        }
        if self.dir.join("new").exists() {
            unused.layers.push(self.dir.join("new"));
        }
        Ok(unused)
    }
}

/// Locks the copies in `dir`, waiting for whoever is at them. `None` where they were cleared away meanwhile.
pub(super) fn wait(dir: &Path) -> io::Result<Option<File>> {
    let lock = match lock_file(&dir.join("lock")) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        lock => lock?,
    };
    flock(&lock, FlockOperation::LockExclusive)?;
    // Its time says when a copy was last asked for.
    lock.set_modified(std::time::SystemTime::now())?;
    let here = crate::rooted::Print::of(&rustix::fs::fstat(&lock)?);
    let there = match File::open(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        dir => print_in(dir?.as_fd(), b"lock")?,
    };
    Ok(there.is_some_and(|there| (there.dev, there.ino) == (here.dev, here.ino)).then_some(lock))
}

fn names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = vec![];
    for entry in fs::read_dir(dir)? {
        names.extend(entry?.file_name().into_string().ok());
    }
    Ok(names)
}
