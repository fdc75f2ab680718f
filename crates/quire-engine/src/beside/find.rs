//! Finding the repository that a folder belongs to, where it lies elsewhere. git says where, and refuses what is another person's; what
//! it says is believed only where the repository names the folder in turn.

use super::Whose;
use crate::git::{GitError, git_in};
use quire_core::RelPath;
use quire_core::beside::{NoGit, Shown};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The repository of a folder; the fields are as in [`Shown`].
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    pub at: PathBuf,
    pub dir: Option<RelPath>,
    pub prefix: Option<RelPath>,
}

impl Found {
    pub fn is(&self, shown: &Shown) -> bool {
        (&self.at, &self.dir, &self.prefix) == (&shown.at, &shown.dir, &shown.prefix)
    }
}

/// Longest line that leads from one place to another, in bytes.
const LINE_MAX: u64 = 4096;

/// Returns the repository of `folder`, or why it is not shown; `None` where the folder has it in itself or has none.
pub fn find(whose: &Whose<'_>, folder: &Path) -> Option<Result<Found, NoGit>> {
    let leads_of = |dir: &Path| dir.join(".git").symlink_metadata().ok();
    let (top, leads) = folder.ancestors().find_map(|dir| Some((dir, leads_of(dir)?)))?;
    if top == folder && leads.is_dir() {
        return borrows(whose, &folder.join(".git")).then_some(Err(NoGit::Borrows));
    }
    if leads_within(&top.join(".git"), whose.folders) == Some(true) {
        return None;
    }
    // Of a repository around the folder that is not its own nothing is told.
    let told = |why| (top == folder).then_some(Err(why));
    let Places { dir, common, tree } = match places(folder) {
        Ok(Some(places)) => places,
        // As where it is another person's. What only is called so is none to git either.
        Err(_) if top.join(".git/HEAD").is_file() => return Some(Err(NoGit::Closed)),
        Ok(None) | Err(_) => return told(NoGit::Closed),
    };
    // It is there with a folder already.
    if whose.folders.iter().any(|shown| common.starts_with(shown)) {
        return None;
    }
    let is_own = match leads.is_dir() {
        true => dir == top.join(".git") && common == dir,
        false => leads.is_file() && names(folder, top, &dir, &common),
    };
    if tree != top || !is_own || folder.starts_with(&common) {
        return told(NoGit::Foreign);
    }
    let prefix = RelPath::new(folder.strip_prefix(top).ok()?.as_os_str().as_bytes());
    if prefix.is_some() && git_in(folder, &["ls-files", "-z"], &[], b"").is_ok_and(|kept| kept.is_empty()) {
        return None;
    }
    if quire_sandbox::hides_directory(&common, &whose.hide, whose.person.as_deref()) {
        return Some(Err(NoGit::Hidden));
    }
    if borrows(whose, &common) {
        return Some(Err(NoGit::Borrows));
    }
    let is_in_home = whose.person.as_ref().is_some_and(|home| top.starts_with(home));
    let is_gone = prefix.is_some() && !leads.is_dir() && quire_sandbox::is_fresh(top) && !is_in_home;
    // A log is text.
    if is_gone || common.to_str().is_none() {
        return Some(Err(NoGit::Place));
    }
    let own = RelPath::new(dir.strip_prefix(&common).ok()?.as_os_str().as_bytes());
    Some(Ok(Found { at: common, dir: own, prefix }))
}

/// Returns whether a repository has objects in another one that a task is not shown.
fn borrows(whose: &Whose<'_>, git: &Path) -> bool {
    let objects = git.join("objects");
    let Ok(content) = fs::read(objects.join("info/alternates")) else { return false };
    let of = content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    let is_gone = |line: &[u8]| {
        let Ok(at) = fs::canonicalize(objects.join(OsStr::from_bytes(line))) else { return false };
        let is_shown = whose.folders.iter().any(|folder| at.starts_with(folder)) || at.starts_with(git);
        let is_in_home = whose.person.as_ref().is_some_and(|home| at.starts_with(home));
        let is_hidden = || quire_sandbox::hides_directory(&at, &whose.hide, whose.person.as_deref());
        !is_shown && (is_in_home || quire_sandbox::is_fresh(&at) || is_hidden())
    };
    of.into_iter().any(is_gone)
}

/// What git says of a folder, with links resolved.
struct Places {
    /// The working tree's own directory in the repository.
    dir: PathBuf,
    /// The one that all working trees share.
    common: PathBuf,
    /// The top of the working tree.
    tree: PathBuf,
}

fn places(folder: &Path) -> Result<Option<Places>, GitError> {
    let ask = ["rev-parse", "--path-format=absolute", "--git-dir", "--git-common-dir", "--show-toplevel"];
    let said = git_in(folder, &ask, &[], b"")?;
    let paths = said.strip_suffix(b"\n").unwrap_or(&said).split(|byte| *byte == b'\n');
    let paths: Vec<PathBuf> =
        paths.filter_map(|path| fs::canonicalize(OsStr::from_bytes(path)).ok()).collect();
    // A name with a line's end in it makes more of them.
    Ok(match <[PathBuf; 3]>::try_from(paths) {
        Ok([dir, common, tree]) => Some(Places { dir, common, tree }),
        Err(_) => None,
    })
}

/// Returns whether a repository names the working tree at `top`, whose `.git` is a file, as its own.
fn names(folder: &Path, top: &Path, dir: &Path, common: &Path) -> bool {
    let leads_to = |from: &Path, line: &[u8]| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        fs::canonicalize(from.join(OsStr::from_bytes(line))).ok()
    };
    if dir != common {
        let is_worktree = dir.parent() == Some(&common.join("worktrees"));
        let back = is_worktree.then(|| line_of(&dir.join("gitdir"))).flatten();
        return back.and_then(|back| leads_to(dir, &back)) == Some(top.join(".git"));
    }
    // Settings of a repository's own alone: another file of settings could name any folder.
    let said = ["--worktree", "--local"].into_iter().find_map(|whose| {
        git_in(folder, &["config", "--no-includes", whose, "--get", "core.worktree"], &[], b"").ok()
    });
    said.and_then(|said| leads_to(dir, &said)) == Some(top.to_owned())
}

/// Returns whether what a `.git` leads to lies in one of these folders; `None` where it is no file that leads anywhere.
pub fn leads_within(leads: &Path, folders: &[PathBuf]) -> Option<bool> {
    let to = line_of(leads)?;
    let to = leads.parent()?.join(OsStr::from_bytes(to.strip_prefix(b"gitdir:")?.trim_ascii()));
    Some(fs::canonicalize(to).is_ok_and(|to| folders.iter().any(|folder| to.starts_with(folder))))
}

fn line_of(path: &Path) -> Option<Vec<u8>> {
    let is_short = |there: &fs::Metadata| there.is_file() && there.len() <= LINE_MAX;
    fs::symlink_metadata(path).ok().filter(is_short)?;
    fs::read(path).ok()
}
