//! Where layers differ from the base they stand on, without a look at anything they do not touch.

use crate::freeze::Frozen;
use crate::ignores::{Ignores, RULES_MAX, Reader};
use crate::rooted::{Kind, below};
use crate::stack::{Found, Place, Stack};
use quire_core::RelPath;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A person's file: reviewed and accepted.
    Folder,
    /// Below `.git`, at any depth.
    Git,
    /// In an ignored directory, or one itself.
    Ignored,
}

impl Class {
    pub const ALL: [Class; 3] = [Class::Folder, Class::Git, Class::Ignored];
}

/// A path that a layer has, or hides. What it was and is may turn out to be the same.
pub struct Difference {
    pub path: RelPath,
    pub class: Class,
    pub was: Option<Found>,
    pub now: Option<Found>,
    /// A pipe, a socket or a device is there now, which is not taken for anything.
    pub is_special: bool,
}

pub struct Differ<'a> {
    /// The task's layers over the base.
    whole: &'a Stack,
    /// How many of them are the task's.
    uppers: usize,
    base: &'a Stack,
    ignored: HashSet<&'a [u8]>,
    rules: RefCell<HashMap<Option<RelPath>, Ignores>>,
    places: RefCell<HashMap<Option<RelPath>, Option<Place>>>,
}

/// Two directories, one of the whole and one of the base, to be compared; either may be absent.
struct Pair {
    path: Option<RelPath>,
    class: Class,
    whole: Option<Place>,
    base: Option<Place>,
}

impl<'a> Differ<'a> {
    pub fn new(frozen: &'a Frozen, whole: &'a Stack, uppers: usize, base: &'a Stack) -> Differ<'a> {
        let ignored = frozen.ignored.iter().map(|path| path.as_os_str().as_bytes()).collect();
        Differ { whole, uppers, base, ignored, rules: RefCell::default(), places: RefCell::default() }
    }

    /// Compares where nothing is ignored by name beforehand.
    pub fn plain(whole: &'a Stack, uppers: usize, base: &'a Stack) -> Differ<'a> {
        Differ {
            whole,
            uppers,
            base,
            ignored: HashSet::new(),
            rules: RefCell::default(),
            places: RefCell::default(),
        }
    }

    /// Visits every path of the wanted classes that differs, or may.
    pub fn run(&self, wanted: &[Class], visit: &mut dyn FnMut(Difference)) -> io::Result<()> {
        if self.uppers == 0 {
            return Ok(());
        }
        let top = Pair {
            path: None,
            class: Class::Folder,
            whole: Some(self.whole.top()?),
            base: Some(self.base.top()?),
        };
        let mut open = vec![top];
        while let Some(pair) = open.pop() {
            for name in self.names(&pair)? {
                let path = below(pair.path.as_ref(), &name)?;
                let enter = |stack: &Stack, place: &Option<Place>| match place {
                    Some(place) => stack.enter(place, &name),
                    None => Ok(None),
                };
                let now = enter(self.whole, &pair.whole)?;
                let was = enter(self.base, &pair.base)?;
                let dir = |found: &Option<Found>| {
                    found.as_ref().filter(|found| found.print.kind == Kind::Dir).map(Found::place)
                };
                let (now_dir, was_dir) = (dir(&now), dir(&was));
                let class = match pair.class {
                    Class::Folder if name == b".git" => Class::Git,
                    Class::Folder if self.ignored.contains(path.as_bytes()) => Class::Ignored,
                    // A version's own rules count only for what it made: they cannot hide what a person had.
                    Class::Folder if now_dir.is_some() && was.is_none() && self.ignores(&path)? => {
                        Class::Ignored
                    }
                    class => class,
                };
                let is_wanted = wanted.contains(&class);
                if (now_dir.is_some() || was_dir.is_some()) && (is_wanted || class == Class::Folder) {
                    open.push(Pair { path: Some(path.clone()), class, whole: now_dir, base: was_dir });
                }
                if is_wanted {
                    let hides = pair.whole.as_ref().filter(|_| now.is_none());
                    let is_special = match hides {
                        Some(place) => self.whole.is_special(place, &name)?,
                        None => false,
                    };
                    visit(Difference { path, class, was, now, is_special });
                }
            }
        }
        Ok(())
    }

    /// Returns the names in which the pair can differ: those in the task's layers, and all of the base's where it is hidden.
    fn names(&self, pair: &Pair) -> io::Result<BTreeSet<Vec<u8>>> {
        let mut names = match &pair.whole {
            Some(place) => self.whole.names(place, self.uppers)?,
            None => Default::default(),
        };
        let shows = pair.whole.as_ref().is_some_and(|place| place.layers.iter().any(|l| *l >= self.uppers));
        if let (Some(base), false) = (&pair.base, shows) {
            names.extend(self.base.names(base, self.base.height())?);
        }
        Ok(names)
    }

    fn ignores(&self, dir: &RelPath) -> io::Result<bool> {
        let whole = self.whole;
        let places = &self.places;
        let read = |path: &RelPath| -> Option<Vec<u8>> {
            let found = whole.enter(&place(whole, places, path.parent())?, path.name()).ok()??;
            if found.print.kind != Kind::File {
                return None;
            }
            let mut content = vec![];
            whole.content(&found).ok()?.take(RULES_MAX).read_to_end(&mut content).ok()?;
            Some(content)
        };
        Ok(rules(&self.rules, dir.parent(), &read).ignores(dir, &read))
    }
}

/// Returns the rules that hold in `dir`. They are asked for from the top down, so that each is made from its parent's.
fn rules(
    known: &RefCell<HashMap<Option<RelPath>, Ignores>>,
    dir: Option<RelPath>,
    read: Reader<'_>,
) -> Ignores {
    if let Some(rules) = known.borrow().get(&dir) {
        return rules.clone();
    }
    let made = match &dir {
        None => Ignores::at_top(read),
        Some(path) => rules(known, path.parent(), read).within(Some(path), read),
    };
    known.borrow_mut().insert(dir, made.clone());
    made
}

/// Returns the merged directory `dir`; `None` where there is none. Remembered, because an agent's directories may be so deep
/// that finding each from the top would take minutes.
fn place(
    whole: &Stack,
    known: &RefCell<HashMap<Option<RelPath>, Option<Place>>>,
    dir: Option<RelPath>,
) -> Option<Place> {
    if let Some(place) = known.borrow().get(&dir) {
        return place.clone();
    }
    let found = match &dir {
        None => whole.top().ok(),
        Some(path) => place(whole, known, path.parent())
            .and_then(|above| whole.enter(&above, path.name()).ok()?)
            .filter(|found| found.print.kind == Kind::Dir)
            .map(|found| found.place()),
    };
    known.borrow_mut().insert(dir, found.clone());
    found
}
