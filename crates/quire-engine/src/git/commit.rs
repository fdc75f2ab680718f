//! Committing what was accepted, path by path, beside whatever the person has in their index, and taking that back.

use super::index::{Before, Followed};
use super::outside::{Kept, Outside, Sorted};
use super::{GitError, Repo, git_in};
use quire_core::RelPath;
use quire_core::event::Staged;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::path::Path;

/// What a path is to be in the commit; `None`: it is not to be there.
pub type File = Option<(Mode, Vec<u8>)>;

/// A file that is to be committed.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub path: RelPath,
    pub now: File,
    /// What the folder had there before it was accepted; `None`: no file.
    pub was: Option<Vec<u8>>,
    /// The same without what an earlier accept of the task left.
    pub own: Option<Vec<u8>>,
}

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

/// Where a commit goes.
#[derive(Clone, Copy, Debug)]
pub enum To<'a> {
    /// On HEAD's branch.
    Head,
    /// On a new branch.
    Branch(&'a str),
    /// Into a new file, as a branch of this name; for a repository that is [`Repo::apart`].
    Bundle { file: &'a Path, name: &'a str },
}

/// A commit that quire made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    pub commit: String,
    /// The branch that it is on, or `HEAD` where there is none.
    pub branch: String,
}

/// What became of files that were to be committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// Absent: HEAD has all of it, or all of it was left out.
    pub made: Option<Committed>,
    /// HEAD had it already.
    pub is_there: bool,
    pub outside: Vec<(RelPath, Outside)>,
    /// Files in which edits of the person's went with it that were not committed.
    pub with: Vec<RelPath>,
    /// What the person had staged of its files, of which their index has more now.
    pub staged: Vec<Staged>,
    /// Files of which what they staged lacks what was committed.
    pub stays: Vec<RelPath>,
    /// The person's git signs its commits, and this one is not signed.
    pub is_unsigned: bool,
}

/// What became of a commit that was to be taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    Nothing,
    /// Others came after it on HEAD's branch.
    Below,
    /// It is on this branch, and HEAD is on another.
    On(String),
    /// It is on no branch any more.
    Nowhere,
}

/// Mode and object, as git has them.
pub(super) type Noted = (String, String);

/// What is at a path, or that nothing is.
pub(super) type Changed = BTreeMap<Vec<u8>, Option<Noted>>;

pub(super) fn some(changed: &Changed) -> HashMap<Vec<u8>, Noted> {
    changed.iter().filter_map(|(path, noted)| Some((path.clone(), noted.clone()?))).collect()
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
    pub fn may_commit(&self, to: To<'_>) -> Result<(), GitError> {
        let under_way = || UNDER_WAY.iter().find(|(file, _)| self.dir.join(file).exists());
        match to {
            To::Branch(name) => self.may_be_branch(name)?,
            To::Bundle { file, .. } => Repo::may_bundle(file)?,
            To::Head => {
                if let Some((_, what)) = under_way() {
                    return Err(GitError::UnderWay(what));
                }
            }
        }
        self.git(&["var", "GIT_COMMITTER_IDENT"], &[], b"").map_err(|error| match error {
            GitError::Failed { .. } => GitError::Nobody,
            other => other,
        })?;
        Ok(())
    }

    fn may_be_branch(&self, name: &str) -> Result<(), GitError> {
        let reference = format!("refs/heads/{name}");
        let is_fine = !name.starts_with('-')
            // Other names of the commit that one is on.
            && !["HEAD", "@"].contains(&name)
            && self.git(&["check-ref-format", &reference], &[], b"").is_ok();
        if !is_fine {
            return Err(GitError::BranchName(name.to_owned()));
        }
        let named =
            |reference: &str| self.git(&["show-ref", "--verify", "--quiet", reference], &[], b"").is_ok();
        if named(&reference) {
            return Err(GitError::BranchIsThere(name.to_owned()));
        }
        // A branch is a file, or a directory of branches.
        let above = name.match_indices('/').map(|(at, _)| &name[..at]);
        let above = above.into_iter().find(|above| named(&format!("refs/heads/{above}")));
        let below = self.say(
            &["for-each-ref", "--count=1", "--format=%(refname:lstrip=2)", &format!("{reference}/")],
            &[],
            b"",
        )?;
        match above.or(Some(below.as_str()).filter(|below| !below.is_empty())) {
            Some(other) => Err(GitError::BranchBeside(name.to_owned(), other.to_owned())),
            None => Ok(()),
        }
    }

    /// Returns those of `files` that HEAD does not have as they are.
    pub fn lacking(&self, files: &[Wanted]) -> Result<Vec<RelPath>, GitError> {
        let mut head = HashMap::new();
        for file in files {
            let name = self.named(&file.path);
            let path = String::from_utf8_lossy(&name).into_owned();
            let listed =
                self.say(&["ls-tree", "--full-tree", "HEAD", "--", &path], &[], b"").unwrap_or_default();
            if let [mode, _, object] = listed.split_whitespace().take(3).collect::<Vec<_>>()[..] {
                head.insert(name, (mode.to_owned(), object.to_owned()));
            }
        }
        let Sorted { kept, .. } = self.sorted(files, &head, &[])?;
        let lacks = |one: &&Kept<'_>| match head.get(&self.named(&one.file.path)) {
            Some(_) if one.file.now.is_none() => true,
            head => self.is_edited(one, head),
        };
        Ok(kept.iter().filter(lacks).map(|one| one.file.path.clone()).collect())
    }

    /// Commits `files` on top of HEAD. Where it goes on HEAD's branch, the index follows where it can: what the person staged stays staged.
    /// `scratch` is a directory of quire's own.
    pub fn commit(
        &self,
        files: &[Wanted],
        message: &str,
        to: To<'_>,
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
        let mut sorted = self.sorted(files, &before, &env)?;
        let kept = self.objects(&mut sorted, scratch)?;
        let Sorted { outside, .. } = sorted;
        let mut after = Changed::new();
        for (one, object) in &kept {
            let now = one.file.now.as_ref().zip(object.clone());
            let noted = now.map(|((mode, _), object)| (mode.text().to_owned(), object));
            after.insert(self.named(&one.file.path), noted);
        }
        self.note(&after, &env)?;
        let tree = self.say(&["write-tree"], &env, b"")?;
        let old = head
            .as_ref()
            .and_then(|head| self.say(&["rev-parse", &format!("{head}^{{tree}}")], &[], b"").ok());
        if old.as_ref() == Some(&tree) {
            return Ok(Commit { is_there: !kept.is_empty(), outside, ..Commit::default() });
        }
        let mut arguments = vec!["commit-tree", "--no-gpg-sign", &tree, "-F", "-"];
        arguments.extend(head.iter().flat_map(|head| ["-p", head.as_str()]));
        let commit = self.say(&arguments, &[], message.as_bytes())?;
        let update = |reference, expected| ["update-ref", "-m", "quire accept", reference, &commit, expected];
        let (on, followed) = match to {
            To::Bundle { file, name } => {
                self.bundle(&commit, head.as_deref(), file, name, scratch)?;
                (name.to_owned(), Followed::default())
            }
            To::Branch(name) => {
                self.git(&update(&format!("refs/heads/{name}"), &self.zeros), &[], b"")?;
                (name.to_owned(), Followed::default())
            }
            To::Head => {
                let update = update("HEAD", head.as_deref().unwrap_or(&self.zeros));
                let was = self.was(kept.iter().map(|(one, _)| one));
                let before = Before { noted: &before, was };
                (self.branch(), self.follow(&self.lock_index()?, &before, &after, Some(&update))?)
            }
        };
        let with = self.with(kept.iter().map(|(one, _)| one), &before, &after);
        Ok(self.done(Committed { commit, branch: on }, outside, with, followed))
    }

    fn done(
        &self,
        made: Committed,
        outside: Vec<(RelPath, Outside)>,
        with: Vec<RelPath>,
        followed: Followed,
    ) -> Commit {
        let Followed { staged, stays } = followed;
        Commit { made: Some(made), is_there: false, outside, with, staged, stays, is_unsigned: self.signs() }
    }

    /// Returns what the folder had before, of what stands in the repository as it does there.
    fn was<'f>(&self, kept: impl Iterator<Item = &'f Kept<'f>>) -> HashMap<Vec<u8>, &'f Vec<u8>> {
        let one = |kept: &'f Kept<'f>| {
            let was = kept.file.was.as_ref().filter(|was| !kept.is_large && !kept.turns(was))?;
            Some((self.named(&kept.file.path), was))
        };
        kept.filter_map(one).collect()
    }

    /// Returns the files in which edits of the person's went with a commit that were in none.
    fn with<'f>(
        &self,
        kept: impl Iterator<Item = &'f Kept<'f>>,
        before: &HashMap<Vec<u8>, Noted>,
        after: &Changed,
    ) -> Vec<RelPath> {
        let is_with = |kept: &&Kept<'_>| {
            let name = self.named(&kept.file.path);
            let (before, after) = (before.get(&name), after.get(&name).and_then(Option::as_ref));
            after.is_some() && after != before && self.is_edited(kept, before)
        };
        kept.filter(is_with).map(|kept| kept.file.path.clone()).collect()
    }

    /// Returns whether the person's git signs commits.
    fn signs(&self) -> bool {
        // The last one is that of the command, which turns it off.
        let said = self.list(&["config", "--show-scope", "--get-all", "commit.gpgSign"], &[], b"");
        let said = String::from_utf8_lossy(&said.unwrap_or_default()).into_owned();
        let mut last =
            said.lines().filter_map(|row| row.split_once('\t')).filter(|(scope, _)| *scope != "command");
        let is_on = |(_, value): (&str, &str)| {
            !["false", "no", "off", "0"].contains(&value.trim().to_lowercase().as_str())
        };
        last.next_back().is_some_and(is_on)
    }

    /// Takes a commit back that is still the last one on HEAD's branch, with what the person had staged then. Where others came after
    /// it, or HEAD is elsewhere, it stays. Where a process died at it, what is left to do is done.
    pub fn take_back(&self, commit: &str, staged: &[Staged]) -> Result<Left, GitError> {
        let is_last = || self.commit_of("HEAD").as_deref() == Some(commit);
        if !is_last() && !self.is_left_moving()? {
            return self.left(commit);
        }
        let lock = self.lock_index()?;
        let parent = self.commit_of(&format!("{commit}^"));
        let update = match &parent {
            Some(parent) => vec!["update-ref", "-m", "quire undo", "HEAD", parent, commit],
            None => vec!["update-ref", "-m", "quire undo", "-d", "HEAD", commit],
        };
        let head = match is_last() {
            true => Some(&update[..]),
            false if lock.was_left && self.commit_of("HEAD") == parent => None,
            false => return self.left(commit),
        };
        self.back(&lock, commit, staged, head)?;
        Ok(Left::Nothing)
    }

    /// Returns whether HEAD stands where a commit began. What was left to do by whoever took the commit back is done: somebody may
    /// have removed the lock that a dead process had left.
    pub fn was_taken_back(&self, commit: &str, staged: &[Staged]) -> Result<bool, GitError> {
        if self.commit_of("HEAD") != self.commit_of(&format!("{commit}^")) {
            return Ok(false);
        }
        if self.commit_of(commit).is_some() {
            self.back(&self.lock_index()?, commit, staged, None)?;
        }
        Ok(true)
    }

    /// Returns where a commit is that is not the last one.
    fn left(&self, commit: &str) -> Result<Left, GitError> {
        if self.git(&["merge-base", "--is-ancestor", commit, "HEAD"], &[], b"").is_ok() {
            return Ok(Left::Below);
        }
        let on = self.list(
            &[
                "for-each-ref",
                "--count=1",
                "--format=%(refname:lstrip=2)",
                "--contains",
                commit,
                "refs/heads",
            ],
            &[],
            b"",
        );
        // One that was cleared away is on none.
        let on = String::from_utf8_lossy(&on.unwrap_or_default()).trim().to_owned();
        Ok(if on.is_empty() { Left::Nowhere } else { Left::On(on) })
    }

    /// Returns the last commit on HEAD's branch, where it has this very message and this parent, or none: one of `files` whose maker
    /// died before it was told. What was left to do then is done.
    pub fn made_last(
        &self,
        files: &[Wanted],
        message: &str,
        parent: Option<&str>,
    ) -> Result<Option<Commit>, GitError> {
        let Some(commit) = self.commit_of("HEAD") else { return Ok(None) };
        let raw = self.git(&["cat-file", "commit", &commit], &[], b"")?;
        let Some(at) = raw.windows(2).position(|two| two == b"\n\n") else { return Ok(None) };
        let parents = raw[..at].split(|byte| *byte == b'\n').filter_map(|row| row.strip_prefix(b"parent "));
        if &raw[at + 2..] != message.as_bytes() || !parents.eq(parent.map(str::as_bytes)) {
            return Ok(None);
        }
        let (before, after) = self.changes(&commit)?;
        let before = some(&before);
        let Sorted { kept, outside } = self.sorted(files, &before, &[])?;
        let was = self.was(kept.iter());
        let followed = self.follow(&self.lock_index()?, &Before { noted: &before, was }, &after, None)?;
        let with = self.with(kept.iter(), &before, &after);
        let branch = self.branch();
        Ok(Some(self.done(Committed { commit, branch }, outside, with, followed)))
    }

    /// Returns where HEAD stands: its branch, and the commit.
    pub fn head(&self) -> (String, Option<String>) {
        (self.branch(), self.commit_of("HEAD"))
    }

    fn branch(&self) -> String {
        self.say(&["symbolic-ref", "--quiet", "--short", "HEAD"], &[], b"").unwrap_or("HEAD".into())
    }

    /// Returns what a commit changed, by path from the top: what was there before, and after.
    pub(super) fn changes(&self, commit: &str) -> Result<(Changed, Changed), GitError> {
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
}
