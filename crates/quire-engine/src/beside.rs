//! A folder's git repository, where that lies outside of the folder: in a linked worktree, in a submodule, and in a folder within a
//! working tree. What git needs of it is copied as a folder is, and shown at its own place, so that git works inside as anywhere else;
//! nothing of it is written but by a fetch at accept.
//!
//! A `.git` file can lead anywhere in a home, so only a repository that names the folder as its own is shown (`beside/find.rs`). Of one
//! around the folder the index is narrowed to the folder, because nothing else of its working tree is there (`beside/narrow.rs`).

mod find;
mod narrow;

use crate::freeze::{self, FreezeError, Frozen};
use crate::work::hidden;
use find::Found;
pub use find::leads_within;
use quire_core::beside::{Beside as Told, NoGit, Shown};
use quire_core::event::Base;
use quire_core::view::LeftOut;
use quire_core::{Charter, RelPath};
use quire_sandbox::{FolderView, Rung};
use std::path::{Path, PathBuf};

/// The copy of a repository.
#[derive(Clone, Debug)]
pub struct Beside {
    pub shown: Shown,
    pub frozen: Frozen,
}

/// Whose repositories are asked for.
pub struct Whose<'a> {
    /// quire's data directory.
    home: &'a Path,
    folders: &'a [PathBuf],
    hide: Vec<String>,
    /// The person's home.
    person: Option<PathBuf>,
}

impl<'a> Whose<'a> {
    pub fn of(home: &'a Path, charter: &'a Charter) -> Whose<'a> {
        Whose::new(home, &charter.folders, &charter.sandbox.hide, &charter.env)
    }

    pub fn new(
        home: &'a Path,
        folders: &'a [PathBuf],
        hide: &[String],
        env: &'a [(String, String)],
    ) -> Whose<'a> {
        let person = env.iter().find(|(name, _)| name == "HOME").map(|(_, home)| PathBuf::from(home));
        let person = person.map(|home| home.canonicalize().unwrap_or(home));
        Whose { home, folders, hide: hidden(hide, home), person }
    }

    /// Copies the repositories of the folders that `frozen` are the copies of, and gives them to those. Of a task that was copied before,
    /// `only` the same ones. Returns what of each is told in the log.
    pub fn freeze(
        &self,
        frozen: &mut [Frozen],
        only: Option<&[Base]>,
        most: u64,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Vec<Option<Told>>, FreezeError> {
        let mut all: Vec<Option<Told>> = vec![];
        let was = |index: usize| only.and_then(|only| only.get(index)).map(|base| &base.git);
        for (index, folder) in self.folders.iter().enumerate() {
            let told = match was(index) {
                None => match find::find(self, folder) {
                    Some(Ok(found)) => Some(self.copy(found, &all, most, progress)?),
                    Some(Err(why)) => Some(Told::Not(why)),
                    None => None,
                },
                Some(Some(Told::Shown(was))) => {
                    let found = find::find(self, folder).and_then(Result::ok).filter(|found| found.is(was));
                    let told = found.map(|found| self.copy(found, &all, most, progress)).transpose()?;
                    // The agent's commits stand on the copy that there is, whatever is wrong at the moment.
                    Some(told.filter(|told| shown(Some(told)).is_some()).unwrap_or_else(|| kept(was, &all)))
                }
                Some(not) => not.clone(),
            };
            all.push(told);
        }
        let narrowed: Vec<Option<Shown>> = all.iter().map(|told| shown(told.as_ref()).cloned()).collect();
        let without = attach(self.home, frozen, &narrowed)?;
        for index in &without {
            all[*index] = match was(*index) {
                Some(Some(was)) => Some(was.clone()),
                _ => Some(Told::Not(NoGit::Index)),
            };
        }
        if !without.is_empty() && only.is_some() {
            let narrowed: Vec<Option<Shown>> = all.iter().map(|told| shown(told.as_ref()).cloned()).collect();
            for index in attach(self.home, frozen, &narrowed)? {
                all[index] = Some(Told::Not(NoGit::Index));
            }
        }
        Ok(all)
    }

    fn copy(
        &self,
        found: Found,
        earlier: &[Option<Told>],
        most: u64,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Told, FreezeError> {
        let Found { at, dir, prefix } = found;
        let known = earlier.iter().filter_map(|told| shown(told.as_ref())).find(|known| known.at == at);
        let (id, delta) = match known {
            Some(known) => (known.id, known.delta),
            None => match freeze::freeze_git(self.home, &at, most, progress) {
                Ok(copy) => (copy.id, copy.delta),
                Err(FreezeError::Large { .. }) => return Ok(Told::Not(NoGit::Large)),
                Err(FreezeError::Folder { .. }) => return Ok(Told::Not(NoGit::Closed)),
                Err(error) => return Err(error),
            },
        };
        Ok(Told::Shown(Shown { at, id, delta, dir, prefix }))
    }
}

/// Returns the copy that was shown before; a repository is shown once, and as new as another folder has it.
fn kept(was: &Shown, earlier: &[Option<Told>]) -> Told {
    let mut kept = was.clone();
    if let Some(known) =
        earlier.iter().filter_map(|told| shown(told.as_ref())).find(|known| known.at == was.at)
    {
        (kept.id, kept.delta) = (known.id, known.delta);
    }
    Told::Shown(kept)
}

fn shown(told: Option<&Told>) -> Option<&Shown> {
    match told {
        Some(Told::Shown(shown)) => Some(shown),
        _ => None,
    }
}

/// Opens the copies that a task stands on.
pub fn open(home: &Path, bases: &[Base]) -> Result<Vec<Frozen>, FreezeError> {
    let frozen = bases.iter().map(|base| freeze::open(home, base.id, base.delta));
    let mut frozen = frozen.collect::<Result<Vec<_>, _>>()?;
    let all: Vec<Option<Shown>> = bases.iter().map(|base| shown(base.git.as_ref()).cloned()).collect();
    attach(home, &mut frozen, &all)?;
    Ok(frozen)
}

/// Gives each copy that of its repository. Returns those whose repository could not be narrowed, which have none.
fn attach(home: &Path, frozen: &mut [Frozen], all: &[Option<Shown>]) -> Result<Vec<usize>, FreezeError> {
    let mut without = vec![];
    for (index, (copy, one)) in frozen.iter_mut().zip(all).enumerate() {
        let Some(shown) = one else { continue };
        let mut git = freeze::open(home, shown.id, shown.delta)?;
        // Several folders may lie in one repository, which is shown once.
        let parts: Vec<narrow::Part> = all
            .iter()
            .flatten()
            .filter(|other| other.at == shown.at)
            .map(|other| (other.dir.clone(), other.prefix.clone()))
            .collect();
        if parts.iter().any(|part| *part != (None, None)) {
            match narrow::narrow(home, &git, &parts) {
                Ok(layer) => git.lowers.insert(0, layer),
                Err(error) => {
                    tracing::warn!(at = %shown.at.display(), %error, "a repository cannot be narrowed to its folder");
                    without.push(index);
                    continue;
                }
            }
        }
        copy.beside = Some(Box::new(Beside { shown: shown.clone(), frozen: git }));
    }
    Ok(without)
}

/// Returns the first folder of which the repository of folder `index` is one, by whose number its changes are found in layers.
pub fn number(frozen: &[Frozen], index: usize) -> usize {
    let at = |copy: &Frozen| copy.beside.as_ref().map(|beside| beside.shown.at.clone());
    let wanted = frozen.get(index).and_then(at);
    frozen.iter().position(|copy| wanted.is_some() && at(copy) == wanted).unwrap_or(index)
}

/// What is hidden by name in the rest of a working tree, of which git shows what was committed.
pub struct Around {
    /// Index into the task's folders.
    pub folder: usize,
    pub top: PathBuf,
    /// Relative to `top`.
    pub secrets: Vec<RelPath>,
    /// How many directories `top` lies above the folder.
    pub up: u32,
}

/// Returns the secrets around the folders whose repository is shown; `hide` is as in [`quire_sandbox::Spec::hide`].
pub fn around(folders: &[PathBuf], frozen: &[Frozen], hide: &[String]) -> Vec<Around> {
    let one = |(index, (folder, copy)): (usize, (&PathBuf, &Frozen))| {
        let prefix = copy.beside.as_ref()?.shown.prefix.as_ref()?;
        let (top, kept) = crate::tracked::around(folder)?;
        let secrets = quire_sandbox::secrets_among(&top, kept, hide);
        let up = prefix.as_bytes().split(|byte| *byte == b'/').count() as u32;
        Some(Around { folder: index, top, secrets, up })
    };
    folders.iter().zip(frozen).enumerate().filter_map(one).collect()
}

/// Returns what the copies of the repositories lack, each as below the `.git` of the first folder whose it is.
pub fn left_out(frozen: &[Frozen]) -> Vec<LeftOut> {
    let mut all = vec![];
    for (folder, copy) in (0u32..).zip(frozen) {
        let beside = copy.beside.as_ref().filter(|_| number(frozen, folder as usize) == folder as usize);
        for left in beside.iter().flat_map(|beside| &beside.frozen.left_out) {
            let path = RelPath::new([b".git/", left.path.as_bytes()].concat());
            all.extend(path.map(|path| LeftOut { folder, path, why: left.why.clone() }));
        }
    }
    all
}

/// What a sandbox is given of folders with their repositories.
#[derive(Default)]
pub struct Given {
    pub folders: Vec<FolderView>,
    /// Files that lead to repositories, to be shown.
    pub leads: Vec<PathBuf>,
    env: Vec<(String, String)>,
}

impl Given {
    /// Returns the whole environment inside: what a task has anyway, and what git needs to find the repositories.
    pub fn env_upon<'a>(&self, own: impl Iterator<Item = &'a (String, String)>) -> Vec<(String, String)> {
        own.cloned().chain(self.env.iter().cloned()).collect()
    }

    pub fn of(rung: Rung, folders: &[PathBuf], frozen: &[Frozen]) -> Given {
        let mut given = Given::default();
        given.folders.extend(folders.iter().zip(frozen).map(|(at, copy)| copy.view(at)));
        // Without a tree of its own a sandbox shows folders elsewhere than where they are.
        for (index, copy) in frozen.iter().enumerate().filter(|_| rung.has_tree()) {
            let Some(beside) = &copy.beside else { continue };
            if number(frozen, index) == index {
                given
                    .folders
                    .push(FolderView { git_of: Some(index), ..beside.frozen.view(&beside.shown.at) });
            }
            given.leads.extend(folders.get(index).and_then(|folder| beside.shown.leads(folder)));
            // A folder is mounted, and git does not look for a repository above a mount.
            if beside.shown.prefix.is_some() && given.env.is_empty() {
                given.env.push(("GIT_DISCOVERY_ACROSS_FILESYSTEM".into(), "1".into()));
            }
        }
        given
    }
}

#[cfg(test)]
mod tests;
