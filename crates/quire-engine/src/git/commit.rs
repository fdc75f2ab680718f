//! Committing what was accepted, path by path, beside whatever the person has in their index, and taking that back.

use super::{GitError, Repo, git_in, large};
use quire_core::RelPath;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::path::Path;

/// What a path is to be in the commit; `None`: it is not to be there.
pub type File = Option<(Mode, Vec<u8>)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Plain,
    Program,
    Link,
}

impl Mode {
    fn text(self) -> &'static str {
        match self {
            Mode::Plain => "100644",
            Mode::Program => "100755",
            Mode::Link => "120000",
        }
    }
}

/// A commit that quire made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    pub commit: String,
    /// The branch that it is on, or `HEAD` where there is none.
    pub branch: String,
}

/// Why a path that was accepted is in no commit of quire's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outside {
    /// git ignores it.
    Ignored,
    /// It goes through this filter of the repository, which is a program.
    Filter(String),
    /// It lies in this submodule, a repository of its own.
    Submodule(String),
}

/// What became of files that were to be committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// Absent: HEAD has all of it.
    pub made: Option<Committed>,
    pub outside: Vec<(RelPath, Outside)>,
}

/// Mode and object, as git has them.
pub(super) type Noted = (String, String);

/// What is at a path, or that nothing is.
pub(super) type Changed = BTreeMap<Vec<u8>, Option<Noted>>;

/// A file to be committed; whether it is kept as a pointer, by Git LFS.
type Kept<'f> = (&'f RelPath, &'f File, bool);

struct Sorted<'f> {
    kept: Vec<Kept<'f>>,
    outside: Vec<(RelPath, Outside)>,
}

fn some(changed: &Changed) -> HashMap<Vec<u8>, Noted> {
    changed.iter().filter_map(|(path, noted)| Some((path.clone(), noted.clone()?))).collect()
}

/// Returns whether the settings of these names have a program for a filter.
pub(super) fn has_filter(settings: &[String], filter: &str) -> bool {
    let names = [format!("filter.{filter}.clean"), format!("filter.{filter}.process")];
    settings.iter().any(|setting| names.contains(setting))
}

/// What may be under way in a repository, by the file that says so.
const UNDER_WAY: &[(&str, &str)] = &[
    ("MERGE_HEAD", "merge"),
    ("CHERRY_PICK_HEAD", "cherry-pick"),
    ("REVERT_HEAD", "revert"),
    ("rebase-merge", "rebase"),
    ("rebase-apply", "rebase"),
    ("BISECT_LOG", "bisection"),
];

impl Repo {
    /// Says why nothing can be committed, before anything is written.
    pub fn may_commit(&self, branch: Option<&str>) -> Result<(), GitError> {
        if let Some(name) = branch {
            let reference = format!("refs/heads/{name}");
            if name.starts_with('-') || self.git(&["check-ref-format", &reference], &[], b"").is_err() {
                return Err(GitError::BranchName(name.to_owned()));
            }
            if self.commit_of(&reference).is_some() {
                return Err(GitError::BranchIsThere(name.to_owned()));
            }
        } else if let Some((_, what)) = UNDER_WAY.iter().find(|(file, _)| self.dir.join(file).exists()) {
            return Err(GitError::UnderWay(what));
        }
        self.git(&["var", "GIT_COMMITTER_IDENT"], &[], b"").map_err(|error| match error {
            GitError::Failed { .. } => GitError::Nobody,
            other => other,
        })?;
        Ok(())
    }

    /// Commits `files` on top of HEAD: on its branch, or on a new one. Of the index only what the person had as in HEAD follows.
    /// `scratch` is a directory of quire's own.
    pub fn commit(
        &self,
        files: &[(RelPath, File)],
        message: &str,
        branch: Option<&str>,
        scratch: &Path,
    ) -> Result<Commit, GitError> {
        std::fs::create_dir_all(scratch)?;
        let index = scratch.join("index");
        let env = [("GIT_INDEX_FILE", index.as_os_str())];
        let head = self.commit_of("HEAD");
        match &head {
            Some(head) => self.git(&["read-tree", head], &env, b"")?,
            None => self.git(&["read-tree", "--empty"], &env, b"")?,
        };
        let before = self.noted(&env)?;
        let Sorted { kept, outside } = self.sorted(files, &before, &env)?;
        let objects = self.objects(&kept, scratch)?;
        let mut after = Changed::new();
        for ((path, file, _), object) in kept.iter().zip(objects) {
            let noted = file.as_ref().zip(object).map(|((mode, _), object)| (mode.text().to_owned(), object));
            after.insert(self.named(path), noted);
        }
        self.note(&after, &env)?;
        let tree = self.say(&["write-tree"], &env, b"")?;
        let old = head
            .as_ref()
            .and_then(|head| self.say(&["rev-parse", &format!("{head}^{{tree}}")], &[], b"").ok());
        if old.as_ref() == Some(&tree) {
            return Ok(Commit { made: None, outside });
        }
        let mut arguments = vec!["commit-tree", "--no-gpg-sign", &tree, "-F", "-"];
        arguments.extend(head.iter().flat_map(|head| ["-p", head.as_str()]));
        let commit = self.say(&arguments, &[], message.as_bytes())?;
        let (reference, expected) = match branch {
            Some(name) => (format!("refs/heads/{name}"), self.zeros.as_str()),
            None => ("HEAD".to_owned(), head.as_deref().unwrap_or(&self.zeros)),
        };
        let update = ["update-ref", "-m", "quire accept", &reference, &commit, expected];
        match branch {
            Some(_) => drop(self.git(&update, &[], b"")?),
            None => self.follow(&self.lock_index()?, &before, &after, Some(&update))?,
        }
        let on = branch.map_or_else(|| self.branch(), str::to_owned);
        Ok(Commit { made: Some(Committed { commit, branch: on }), outside })
    }

    /// Takes a commit back that is still the last one on HEAD's branch. Returns false where others came after it, or HEAD is
    /// elsewhere: then it stays. Where a process died at it, what is left to do is done.
    pub fn take_back(&self, commit: &str) -> Result<bool, GitError> {
        let is_last = || self.commit_of("HEAD").as_deref() == Some(commit);
        if !is_last() && !self.is_left_moving()? {
            return Ok(false);
        }
        let lock = self.lock_index()?;
        let parent = self.commit_of(&format!("{commit}^"));
        let (before, after) = self.changes(commit)?;
        let update = match &parent {
            Some(parent) => vec!["update-ref", "-m", "quire undo", "HEAD", parent, commit],
            None => vec!["update-ref", "-m", "quire undo", "-d", "HEAD", commit],
        };
        let head = match is_last() {
            true => Some(&update[..]),
            false if lock.was_left && self.commit_of("HEAD") == parent => None,
            false => return Ok(false),
        };
        self.follow(&lock, &some(&after), &before, head)?;
        Ok(true)
    }

    /// Returns whether HEAD stands where a commit began. What was left to do by whoever took the commit back is done: somebody may
    /// have removed the lock that a dead process had left.
    pub fn was_taken_back(&self, commit: &str) -> Result<bool, GitError> {
        if self.commit_of("HEAD") != self.commit_of(&format!("{commit}^")) {
            return Ok(false);
        }
        if self.commit_of(commit).is_some() {
            let (before, after) = self.changes(commit)?;
            self.follow(&self.lock_index()?, &some(&after), &before, None)?;
        }
        Ok(true)
    }

    /// Returns the last commit on HEAD's branch, where it has this very message and this parent, or none: one whose maker died
    /// before it was told. What was left to do then is done.
    pub fn made_last(&self, message: &str, parent: Option<&str>) -> Result<Option<Committed>, GitError> {
        let Some(commit) = self.commit_of("HEAD") else { return Ok(None) };
        let raw = self.git(&["cat-file", "commit", &commit], &[], b"")?;
        let Some(at) = raw.windows(2).position(|two| two == b"\n\n") else { return Ok(None) };
        let parents = raw[..at].split(|byte| *byte == b'\n').filter_map(|row| row.strip_prefix(b"parent "));
        if &raw[at + 2..] != message.as_bytes() || !parents.eq(parent.map(str::as_bytes)) {
            return Ok(None);
        }
        let (before, after) = self.changes(&commit)?;
        self.follow(&self.lock_index()?, &some(&before), &after, None)?;
        Ok(Some(Committed { commit, branch: self.branch() }))
    }

    /// Returns where HEAD stands: its branch, and the commit.
    pub fn head(&self) -> (String, Option<String>) {
        (self.branch(), self.commit_of("HEAD"))
    }

    fn branch(&self) -> String {
        self.say(&["symbolic-ref", "--quiet", "--short", "HEAD"], &[], b"").unwrap_or("HEAD".into())
    }

    /// Returns what a commit changed, by path from the top: what was there before, and after.
    fn changes(&self, commit: &str) -> Result<(Changed, Changed), GitError> {
        let arguments =
            ["diff-tree", "-r", "-z", "--root", "--no-commit-id", "--no-renames", "--no-ext-diff", commit];
        let raw = self.git(&arguments, &[], b"")?;
        let fields: Vec<&[u8]> = raw.split(|byte| *byte == 0).collect();
        let (mut before, mut after) = (Changed::new(), Changed::new());
        for pair in fields.chunks_exact(2) {
            let head = String::from_utf8_lossy(pair[0]).into_owned();
            let words: Vec<&str> = head.trim_start_matches(':').split(' ').collect();
            let [old_mode, new_mode, old, new, _] = words[..] else { continue };
            let noted =
                |mode: &str, object: &str| (mode != "000000").then(|| (mode.to_owned(), object.to_owned()));
            before.insert(pair[1].to_vec(), noted(old_mode, old));
            after.insert(pair[1].to_vec(), noted(new_mode, new));
        }
        Ok((before, after))
    }

    /// Returns what an index has, by path from the top; what is in conflict is left out.
    pub(super) fn noted(&self, env: &[(&str, &OsStr)]) -> Result<HashMap<Vec<u8>, Noted>, GitError> {
        let listed = git_in(&self.top, &["ls-files", "-s", "-z"], env, b"")?;
        let one = |row: &[u8]| -> Option<(Vec<u8>, Noted)> {
            let tab = row.iter().position(|byte| *byte == b'\t')?;
            let head = std::str::from_utf8(&row[..tab]).ok()?;
            let words: Vec<&str> = head.split(' ').collect();
            let [mode, object, "0"] = words[..] else { return None };
            Some((row[tab + 1..].to_vec(), (mode.to_owned(), object.to_owned())))
        };
        Ok(listed.split(|byte| *byte == 0).filter_map(one).collect())
    }

    /// Writes entries into an index, those that go first.
    pub(super) fn note(&self, entries: &Changed, env: &[(&str, &OsStr)]) -> Result<(), GitError> {
        let mut rows = vec![];
        let gone = entries.iter().filter(|(_, noted)| noted.is_none());
        let here = entries.iter().filter(|(_, noted)| noted.is_some());
        for (path, noted) in gone.chain(here) {
            let (mode, object) = match noted {
                Some((mode, object)) => (mode.as_str(), object.as_str()),
                None => ("0", self.zeros.as_str()),
            };
            rows.extend_from_slice(format!("{mode} {object}\t").as_bytes());
            rows.extend_from_slice(path);
            rows.push(0);
        }
        if !rows.is_empty() {
            self.git(&["update-index", "--add", "--remove", "--replace", "-z", "--index-info"], env, &rows)?;
        }
        Ok(())
    }

    /// Sorts out what is in no commit of quire's: `index` is what HEAD has.
    fn sorted<'f>(
        &self,
        files: &'f [(RelPath, File)],
        index: &HashMap<Vec<u8>, Noted>,
        env: &[(&str, &OsStr)],
    ) -> Result<Sorted<'f>, GitError> {
        let submodules: Vec<&Vec<u8>> =
            index.iter().filter(|(_, (mode, _))| mode == "160000").map(|(at, _)| at).collect();
        let (mut inside, mut outside) = (vec![], vec![]);
        for (path, file) in files {
            let name = self.named(path);
            let holds = |at: &&&Vec<u8>| name.starts_with(at) && name.get(at.len()) == Some(&b'/');
            match submodules.iter().find(holds) {
                Some(at) => {
                    let submodule = String::from_utf8_lossy(at).into_owned();
                    outside.push((path.clone(), Outside::Submodule(submodule)));
                }
                None => inside.push((path, file)),
            }
        }
        let ignored = self.ignored(&inside, env)?;
        let settings =
            self.settings("^(filter\\..*\\.(clean|process)|lfs\\.storage|lfs\\.extension\\..*)$")?;
        let filters = self.filters(&inside, &settings)?;
        let mut kept = vec![];
        for (path, file) in inside {
            // What is gone needs no filter, and a link goes through none.
            let filter = match file {
                Some((Mode::Plain | Mode::Program, _)) => filters.get(path).map(String::as_str),
                _ => None,
            };
            match filter {
                _ if ignored.contains(path) => outside.push((path.clone(), Outside::Ignored)),
                None => kept.push((path, file, false)),
                Some("lfs") if large::is_kept(&settings) => kept.push((path, file, true)),
                Some(filter) => outside.push((path.clone(), Outside::Filter(filter.to_owned()))),
            }
        }
        Ok(Sorted { kept, outside })
    }

    /// Returns the filters that the attributes name for these paths, and that would start a program, or are Git LFS. One that the
    /// settings do not have does nothing, as with git.
    fn filters(
        &self,
        files: &[(&RelPath, &File)],
        settings: &[String],
    ) -> Result<HashMap<RelPath, String>, GitError> {
        let asked: Vec<u8> = files.iter().flat_map(|(path, _)| [path.as_bytes(), b"\0"].concat()).collect();
        let answers = self.git(&["check-attr", "-z", "--stdin", "filter"], &[], &asked)?;
        let starts = |filter: &str| filter == "lfs" || has_filter(settings, filter);
        let fields: Vec<&[u8]> = answers.split(|byte| *byte == 0).collect();
        let one = |answer: &[&[u8]]| {
            let filter = String::from_utf8_lossy(answer[2]).into_owned();
            let is_named = !["unspecified", "unset", "set"].contains(&filter.as_str()) && starts(&filter);
            Some((RelPath::new(answer[0]).filter(|_| is_named)?, filter))
        };
        Ok(fields.chunks_exact(3).filter_map(one).collect())
    }

    /// Returns the names of the settings that a pattern fits.
    fn settings(&self, pattern: &str) -> Result<Vec<String>, GitError> {
        match self.git(&["config", "-z", "--name-only", "--get-regexp", pattern], &[], b"") {
            Ok(said) => {
                let names = said.split(|byte| *byte == 0).filter(|name| !name.is_empty());
                Ok(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
            }
            // It says so with its exit code where there are none.
            Err(GitError::Failed { said, .. }) if said == "it says nothing" => Ok(vec![]),
            Err(error) => Err(error),
        }
    }

    /// Returns those of the paths that git ignores and does not keep.
    fn ignored(
        &self,
        files: &[(&RelPath, &File)],
        env: &[(&str, &OsStr)],
    ) -> Result<HashSet<RelPath>, GitError> {
        let asked: Vec<u8> = files
            .iter()
            .filter(|(_, file)| file.is_some())
            .flat_map(|(path, _)| [path.as_bytes(), b"\0"].concat())
            .collect();
        if asked.is_empty() {
            return Ok(HashSet::new());
        }
        match self.git(&["check-ignore", "-z", "--stdin"], env, &asked) {
            Ok(ignored) => Ok(ignored.split(|byte| *byte == 0).filter_map(RelPath::new).collect()),
            // It says so with its exit code where there are none.
            Err(GitError::Failed { said, .. }) if said == "it says nothing" => Ok(HashSet::new()),
            Err(error) => Err(error),
        }
    }

    /// Stores the contents and returns the names that git gives them.
    fn objects(&self, files: &[Kept<'_>], scratch: &Path) -> Result<Vec<Option<String>>, GitError> {
        let mut names = vec![];
        let mut spooled = vec![];
        for (n, (path, file, is_large)) in files.iter().enumerate() {
            let Some((mode, content)) = file else {
                names.push(None);
                continue;
            };
            let pointer = if *is_large { self.keep_large(content)? } else { None };
            let content = pointer.as_ref().unwrap_or(content);
            // Ends of lines may be other ones in the repository, as its attributes say; no program has a part in that.
            let turns = *mode != Mode::Link && !is_large && content.windows(2).any(|two| two == b"\r\n");
            if turns {
                let path = String::from_utf8_lossy(path.as_bytes()).into_owned();
                names.push(Some(self.say(
                    &["hash-object", "-w", "--stdin", "--path", &path],
                    &[],
                    content,
                )?));
                continue;
            }
            let spool = scratch.join(format!("content-{n}"));
            std::fs::write(&spool, content)?;
            spooled.push((names.len(), spool));
            names.push(None);
        }
        let list: Vec<u8> = spooled
            .iter()
            .flat_map(|(_, spool)| [spool.as_os_str().as_encoded_bytes(), b"\n"].concat())
            .collect();
        if !list.is_empty() {
            let said = self.git(&["hash-object", "-w", "--no-filters", "--stdin-paths"], &[], &list)?;
            let said = String::from_utf8_lossy(&said).into_owned();
            for ((place, _), object) in spooled.iter().zip(said.lines()) {
                names[*place] = Some(object.to_owned());
            }
        }
        Ok(names)
    }
}
