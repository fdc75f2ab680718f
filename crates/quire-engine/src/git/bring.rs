//! What an agent committed comes over by fetch, never as files of `.git`: of those only new objects are looked at, and git itself proves
//! each before it takes it.
//!
//! `refs/quire/N` is where the HEAD of task N's agent was, and `refs/quire/branches/N/NAME` where its branch was, in the person's repository
//! that the agent's began as.

use super::bundle::listed;
use super::inside::{Inside, Moved};
use super::{GitError, Repo, git_in, line};
use quire_core::RelPath;
use quire_core::beside::Shown;
use quire_core::bytes::escape;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Most objects and packs that are taken, and their bytes.
const OBJECTS_MAX: usize = 200_000;
const BYTES_MAX: u64 = 4 << 30;
/// Most branches that are looked at.
const BRANCHES_MAX: usize = 100;
/// Most places where commits of the agent's begin that are compared with their end.
const BEGINNINGS_MAX: usize = 64;

/// Extensions of the format with which its objects and references are still found where they are looked for.
const EXTENSIONS: &[&str] =
    &["noop", "preciousobjects", "partialclone", "worktreeconfig", "relativeworktrees"];

/// Commits that came over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brought {
    pub commit: String,
    /// How many of them are the agent's own.
    pub commits: u64,
}

/// A branch of the agent's, or with no name what its HEAD was, and what became of it.
#[derive(Debug)]
pub struct Tip {
    pub name: Option<String>,
    pub brought: Result<Brought, GitError>,
}

/// What the log says of a branch of the agent's, or with no name of what HEAD was.
pub struct Known<'k> {
    /// This accept brought it before its process died.
    pub is_done: &'k dyn Fn(Option<&str>) -> bool,
    /// An accept of the task brought this commit of it.
    pub is_ours: &'k dyn Fn(Option<&str>, &str) -> bool,
}

/// Returns where a branch of the agent's comes to, or what its HEAD was.
pub fn reference(task: u64, name: Option<&str>) -> String {
    match name {
        None => format!("refs/quire/{task}"),
        Some(name) => format!("refs/quire/branches/{task}/{name}"),
    }
}

impl Repo {
    /// Opens the person's repository that lies where one of the agent's does, in `dir` of `root`: a task's folder, or the repository
    /// beside it. Returns it with where its files are in the folder, `None` for the folder itself; nothing where there is none in just
    /// that place.
    pub fn beside(
        folder: &Path,
        root: &Path,
        dir: &RelPath,
    ) -> Result<Option<(Option<RelPath>, Repo)>, GitError> {
        let (Ok(folder), Ok(root)) = (fs::canonicalize(folder), fs::canonicalize(root)) else {
            return Ok(None);
        };
        let at = root.join(OsStr::from_bytes(dir.as_bytes()));
        let files = match dir.name() {
            b".git" => dir.parent(),
            // That of a submodule says where its files are.
            _ => {
                let config = at.join("config");
                let config = config.to_string_lossy();
                let asked = ["config", "--file", &config, "--no-includes", "--get", "core.worktree"];
                let said = match git_in(&folder, &asked, &[], b"") {
                    Err(GitError::Failed { .. }) => return Ok(None),
                    said => said?,
                };
                let files = led_to(&at, Path::new(OsStr::from_bytes(&line(said))));
                let files =
                    files.strip_prefix(&folder).map(|files| RelPath::new(files.as_os_str().as_bytes()));
                let Ok(Some(files)) = files else { return Ok(None) };
                Some(files)
            }
        };
        let Some(repo) = Repo::at(&folder, files.as_ref())? else { return Ok(None) };
        Ok((fs::canonicalize(&repo.dir).ok() == Some(at)).then_some((files, repo)))
    }

    /// Opens the repository of a folder that lies outside of it, if it still is the one that a task was shown.
    pub fn beside_folder(folder: &Path, shown: &Shown) -> Result<Option<Repo>, GitError> {
        let repo = match Repo::around(folder) {
            Err(GitError::NoRepository(_)) => return Ok(None),
            repo => repo?,
        };
        let own = shown
            .dir
            .as_ref()
            .map_or(shown.at.clone(), |dir| shown.at.join(OsStr::from_bytes(dir.as_bytes())));
        Ok((fs::canonicalize(&repo.dir).ok() == Some(own)).then_some(repo))
    }

    /// Opens the repository whose files are at `files` in a folder, if there is one, and no link leads there.
    pub fn at(folder: &Path, files: Option<&RelPath>) -> Result<Option<Repo>, GitError> {
        let Some(folder) = fs::canonicalize(folder).ok() else { return Ok(None) };
        let at = files.map_or(folder.clone(), |files| folder.join(OsStr::from_bytes(files.as_bytes())));
        if fs::canonicalize(&at).ok().as_ref() != Some(&at) {
            return Ok(None);
        }
        match Repo::around(&at) {
            Err(GitError::NoRepository(_)) => Ok(None),
            repo => Ok(Some(repo?).filter(|repo| repo.prefix.is_empty())),
        }
    }

    /// Fetches what the agent committed where this repository is the person's: what HEAD is, if that is another commit than it was, and
    /// each branch that is new or has moved, with commits that neither the person nor HEAD has. What is done is not brought again, and a
    /// reference that is not of the task's stays.
    pub fn bring(
        &self,
        inside: &Inside<'_>,
        task: u64,
        known: &Known<'_>,
        scratch: &Path,
    ) -> Result<Vec<Tip>, GitError> {
        let tips = self.bring_through(inside, task, known, scratch);
        // What it needed is of no use any more, also where it failed.
        let _ = fs::remove_dir_all(scratch);
        tips
    }

    fn bring_through(
        &self,
        inside: &Inside<'_>,
        task: u64,
        Known { is_done, is_ours }: &Known<'_>,
        scratch: &Path,
    ) -> Result<Vec<Tip>, GitError> {
        if !inside.has_moved() {
            return Ok(vec![]);
        }
        self.is_readable(inside)?;
        let (was, now) = inside.heads()?;
        let head = now.filter(|now| was.as_ref() != Some(now));
        let mut branches = inside.branches()?;
        // Told of as what HEAD is.
        branches.retain(|branch| head.as_ref() != Some(&branch.now));
        if head.is_none() && branches.is_empty() {
            return Ok(vec![]);
        }
        self.copy(inside, scratch)?;
        let mut known: Vec<String> = was.into_iter().collect();
        let mut tips = vec![];
        if let Some(commit) = head {
            let brought = (!is_done(None)).then(|| {
                let own = self.own(&commit, &known, scratch)?;
                self.fetch(&reference(task, None), &commit, own, &|at| is_ours(None, at), scratch)
            });
            if brought.as_ref().is_none_or(Result::is_ok) {
                known.push(commit);
            }
            tips.extend(brought.map(|brought| Tip { name: None, brought }));
        }
        let more = branches.split_off(branches.len().min(BRANCHES_MAX)).len();
        for Moved { name, was, now } in branches {
            let text = String::from_utf8(name);
            if let Ok(name) = &text {
                // git takes it for no branch: what a process that died left there.
                let is_none =
                    || self.git(&["check-ref-format", &reference(task, Some(name))], &[], b"").is_err();
                if is_done(Some(name)) || is_none() {
                    continue;
                }
            }
            let known: Vec<String> = known.iter().cloned().chain(was).collect();
            let own = match self.own(&now, &known, scratch) {
                Ok(own) if own.commits == 0 => continue,
                own => own,
            };
            tips.push(match text {
                Ok(name) => {
                    let (to, ours) = (reference(task, Some(&name)), |at: &str| is_ours(Some(&name), at));
                    let brought = own.and_then(|own| self.fetch(&to, &now, own, &ours, scratch));
                    Tip { name: Some(name), brought }
                }
                Err(name) => Tip { name: Some(escape(name.as_bytes())), brought: Err(GitError::NoText) },
            });
        }
        tips.extend((more > 0).then_some(Tip { name: None, brought: Err(GitError::Branches(more)) }));
        Ok(tips)
    }

    /// Returns what [`Repo::bring`] would bring and is here in its place already, by the branch's name.
    pub fn brought(&self, inside: &Inside<'_>, task: u64) -> Result<Vec<(Option<String>, String)>, GitError> {
        let (was, now) = inside.heads()?;
        let head = now.filter(|now| was.as_ref() != Some(now)).map(|now| (None, now));
        let branches = inside.branches()?.into_iter();
        let branches = branches.filter_map(|b| Some((Some(String::from_utf8(b.name).ok()?), b.now)));
        let is_here = |(name, commit): &(Option<String>, String)| {
            self.commit_of(&reference(task, name.as_deref())).as_ref() == Some(commit)
        };
        Ok(head.into_iter().chain(branches).filter(is_here).collect())
    }

    /// Fails where the agent's is in a format in which its objects and references lie elsewhere.
    fn is_readable(&self, inside: &Inside<'_>) -> Result<(), GitError> {
        if inside.has_tables()? {
            return Err(GitError::Format("reftable".to_owned()));
        }
        let ours = if self.zeros.len() == 64 { "sha256" } else { "sha1" };
        let command = ["config", "--file", "-", "--no-includes", "--get-regexp", "^extensions\\."];
        let (mut theirs, said) = ("sha1".to_owned(), self.list(&command, &[], &inside.settings()?)?);
        for row in String::from_utf8_lossy(&said).lines() {
            match row.strip_prefix("extensions.").unwrap_or(row).split_once(' ') {
                Some(("objectformat", value)) => theirs = value.to_lowercase(),
                Some(("refstorage", "files")) => {}
                Some((name, _)) if EXTENSIONS.contains(&name) => {}
                _ => return Err(GitError::Format(row.to_owned())),
            }
        }
        if theirs == ours { Ok(()) } else { Err(GitError::Format(theirs)) }
    }

    /// Makes a repository of quire's own that has the agent's new objects on top of the person's, and of those that the agent's began
    /// with: the person may have cleared some of them away since.
    fn copy(&self, inside: &Inside<'_>, scratch: &Path) -> Result<(), GitError> {
        self.bare(scratch)?;
        let mut others = fs::OpenOptions::new().append(true).open(scratch.join("objects/info/alternates"))?;
        for dir in inside.begun_objects()? {
            others.write_all(&[listed(&dir).as_bytes(), b"\n"].concat())?;
        }
        let mut bytes = 0;
        for (found, inner) in inside.objects().take(OBJECTS_MAX) {
            if inside.has_begun_with(inner)? {
                continue;
            }
            let at = scratch.join(OsStr::from_bytes(inner));
            if let Some(dir) = at.parent() {
                fs::create_dir_all(dir)?;
            }
            bytes += found.print.bytes;
            if bytes > BYTES_MAX {
                return Err(io::Error::other("the agent's commits are larger than 4 GiB").into());
            }
            let content = inside.view.whole.content(found)?;
            io::copy(&mut content.take(found.print.bytes), &mut fs::File::create(at)?)?;
        }
        Ok(())
    }

    /// Returns what of a commit's history is the agent's: nothing that the person has at any reference of theirs, nor what is `known`.
    fn own(&self, commit: &str, known: &[String], scratch: &Path) -> Result<Own, GitError> {
        // A commit that is not whole is none; git says which part is missing.
        git_in(
            scratch,
            &["cat-file", "-e", &format!("{commit}^{{commit}}")],
            &[("GIT_DIR", scratch.as_os_str())],
            b"",
        )?;
        let objects = listed(&scratch.join("objects"));
        let env = [("GIT_ALTERNATE_OBJECT_DIRECTORIES", objects.as_os_str())];
        let mut asked = vec!["rev-list", "--boundary", commit, "--not", "--exclude=refs/quire/*", "--all"];
        let is_there =
            |known: &&str| self.git(&["cat-file", "-e", &format!("{known}^{{commit}}")], &env, b"").is_ok();
        asked.extend(known.iter().map(String::as_str).filter(is_there));
        let said = String::from_utf8_lossy(&self.git(&asked, &env, b"")?).into_owned();
        let (begun, own): (Vec<&str>, Vec<&str>) = said.lines().partition(|row| row.starts_with('-'));
        let begun = begun.into_iter().filter_map(|row| row.strip_prefix('-')).map(str::to_owned).collect();
        Ok(Own { begun, commits: own.len() as u64 })
    }

    /// Fetches a commit, which is all there then, and puts the reference at it, where that is free or at what is `ours`.
    fn fetch(
        &self,
        reference: &str,
        commit: &str,
        own: Own,
        is_ours: &dyn Fn(&str) -> bool,
        scratch: &Path,
    ) -> Result<Brought, GitError> {
        self.is_whole(&own, commit, scratch)?;
        let at = self.may_be_at(reference, commit, is_ours)?;
        fs::write(scratch.join("refs/heads/agent"), format!("{commit}\n"))?;
        let from = scratch.to_string_lossy().into_owned();
        let how =
            ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-gc", "--end-of-options"];
        self.git(&[&how[..], &[&from, "refs/heads/agent"]].concat(), &[], b"")?;
        // Only if it still is what was looked at.
        let was = at.as_ref().unwrap_or(&self.zeros);
        self.git(&["update-ref", "--no-deref", reference, commit, was], &[], b"")?;
        Ok(Brought { commit: commit.to_owned(), commits: own.commits })
    }

    /// Returns what a reference is at that is to be at a commit. Fails where something is there that the task did not bring.
    fn may_be_at(
        &self,
        reference: &str,
        commit: &str,
        is_ours: &dyn Fn(&str) -> bool,
    ) -> Result<Option<String>, GitError> {
        let said =
            self.git(&["for-each-ref", "--format=%(objectname) %(refname)", "refs/quire"], &[], b"")?;
        let said = String::from_utf8_lossy(&said).into_owned();
        let mut others = vec![];
        for (at, other) in said.lines().filter_map(|row| row.split_once(' ')) {
            let is_below = |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.starts_with('/'));
            if other == reference {
                // What a process that died had brought is at the commit already.
                return match at == commit || is_ours(at) {
                    true => Ok(Some(at.to_owned())),
                    false => Err(GitError::Taken(reference.to_owned())),
                };
            }
            if is_below(other, reference) || is_below(reference, other) {
                others.push(other.to_owned());
            }
        }
        match others.is_empty() {
            true => Ok(None),
            false => Err(GitError::Beside { reference: reference.to_owned(), others }),
        }
    }

    /// Fails where a commit names one of a submodule that none of those names which it began with, and that the person's does not have.
    fn is_whole(&self, own: &Own, commit: &str, scratch: &Path) -> Result<(), GitError> {
        let env = [("GIT_DIR", scratch.as_os_str())];
        let mut named: Option<BTreeSet<(Vec<u8>, String)>> = None;
        for begun in own.begun.iter().take(BEGINNINGS_MAX).filter(|_| own.commits > 0) {
            let command = [
                "diff-tree",
                "-r",
                "-z",
                "--no-renames",
                "--no-ext-diff",
                "--ignore-submodules=none",
                begun,
                commit,
            ];
            let raw = git_in(scratch, &command, &env, b"")?;
            let fields: Vec<&[u8]> = raw.split(|byte| *byte == 0).collect();
            let new = fields.chunks_exact(2).filter_map(|pair| {
                let row = String::from_utf8_lossy(pair[0]).into_owned();
                let words: Vec<&str> = row.split(' ').collect();
                let [_, "160000", _, object, _] = words[..] else { return None };
                Some((pair[1].to_vec(), object.to_owned()))
            });
            let new: BTreeSet<_> = new.collect();
            named = Some(match named {
                Some(named) => named.intersection(&new).cloned().collect(),
                None => new,
            });
        }
        for (path, object) in named.unwrap_or_default() {
            let at = self.top.join(OsStr::from_bytes(&path));
            if !at.is_dir() || git_in(&at, &["cat-file", "-e", &object], &[], b"").is_err() {
                return Err(GitError::NotWhole(String::from_utf8_lossy(&path).into_owned()));
            }
        }
        Ok(())
    }

    /// Takes the reference to an agent's commits away, if it is still the one that was brought; where an earlier accept brought
    /// some, it is at those again.
    pub fn forget(
        &self,
        task: u64,
        name: Option<&str>,
        commit: &str,
        earlier: Option<&str>,
    ) -> Result<(), GitError> {
        let reference = reference(task, name);
        if self.commit_of(&reference).as_deref() != Some(commit) {
            return Ok(());
        }
        match earlier.filter(|earlier| self.commit_of(earlier).is_some()) {
            Some(earlier) => {
                self.git(&["update-ref", "--no-deref", &reference, earlier, commit], &[], b"")?
            }
            None => self.git(&["update-ref", "--no-deref", "-d", &reference, commit], &[], b"")?,
        };
        Ok(())
    }
}

/// What of a commit's history is the agent's.
struct Own {
    commits: u64,
    /// The commits that it began with.
    begun: Vec<String>,
}

/// Returns where a path leads from `dir`, as it is written.
fn led_to(dir: &Path, path: &Path) -> PathBuf {
    let mut led = PathBuf::new();
    for part in dir.join(path).components() {
        match part {
            Component::ParentDir => drop(led.pop()),
            part => led.push(part),
        }
    }
    led
}
