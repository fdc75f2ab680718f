//! What an agent committed comes over by fetch, never as files of `.git`: of those only new objects are looked at, and git itself proves
//! each before it takes it.

use super::{GitError, Repo, git_in};
use crate::freeze::Frozen;
use crate::snapshot::git_changes;
use crate::stack::Stack;
use quire_core::RelPath;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Longest reference or list of references that is read, in bytes.
const REFERENCE_MAX: u64 = 16 << 20;
/// Most objects and packs that are taken, and their bytes.
const OBJECTS_MAX: usize = 200_000;
const BYTES_MAX: u64 = 4 << 30;

impl Repo {
    /// Fetches what the layers have committed in the folder's own repository into `refs/quire/TASK`, if that is another commit than
    /// the base's. Returns the commit, and how many of them are the agent's own.
    pub fn bring(
        &self,
        base: &Frozen,
        layers: &[PathBuf],
        index: usize,
        task: u64,
        scratch: &Path,
    ) -> Result<Option<(String, u64)>, GitError> {
        // Of a repository around the folder the agent has nothing.
        if !self.prefix.is_empty() {
            return Ok(None);
        }
        let (whole, changes) = git_changes(base, layers, index)?;
        let was = head(&base.stack()?)?;
        let Some(commit) = head(&whole)?.filter(|now| was.as_ref() != Some(now)) else {
            return Ok(None);
        };
        let _ = fs::remove_dir_all(scratch);
        fs::create_dir_all(scratch.join("objects/info"))?;
        fs::create_dir_all(scratch.join("objects/pack"))?;
        fs::create_dir_all(scratch.join("refs/heads"))?;
        let format = self.say(&["rev-parse", "--show-object-format"], &[], b"")?;
        let extension = match format.as_str() {
            "sha1" => "repositoryformatversion = 0\n\tbare = true\n".to_owned(),
            other => format!(
                "repositoryformatversion = 1\n\tbare = true\n[extensions]\n\tobjectFormat = {other}\n"
            ),
        };
        fs::write(scratch.join("config"), format!("[core]\n\t{extension}"))?;
        fs::write(scratch.join("HEAD"), "ref: refs/heads/agent\n")?;
        fs::write(scratch.join("refs/heads/agent"), format!("{commit}\n"))?;
        let objects = self.say(&["rev-parse", "--git-path", "objects"], &[], b"")?;
        let objects = fs::canonicalize(self.folder.join(objects))?;
        fs::write(scratch.join("objects/info/alternates"), [objects.as_os_str().as_bytes(), b"\n"].concat())?;
        let mut bytes = 0;
        for found in changes.iter().filter(|found| is_object(&found.path)).take(OBJECTS_MAX) {
            let inner = &found.path.as_bytes()[b".git/".len()..];
            let at = scratch.join(std::ffi::OsStr::from_bytes(inner));
            if let Some(dir) = at.parent() {
                fs::create_dir_all(dir)?;
            }
            bytes += found.print.bytes;
            if bytes > BYTES_MAX {
                return Err(io::Error::other("the agent's commits are larger than 4 GiB").into());
            }
            io::copy(&mut whole.content(found)?.take(found.print.bytes), &mut fs::File::create(at)?)?;
        }
        // A commit that is not whole is none; git says which part is missing.
        git_in(scratch, &["cat-file", "-e", &commit], &[("GIT_DIR", scratch.as_os_str())], b"")?;
        self.is_whole(was.as_deref(), &commit, scratch)?;
        let from = scratch.to_string_lossy().into_owned();
        let to = format!("+refs/heads/agent:refs/quire/{task}");
        self.git(
            &[
                "fetch",
                "--quiet",
                "--no-tags",
                "--no-write-fetch-head",
                "--no-auto-gc",
                "--end-of-options",
                &from,
                &to,
            ],
            &[],
            b"",
        )?;
        let _ = fs::remove_dir_all(scratch);
        // What the person has on any branch is none of the agent's, nor what it began with.
        let mut count = vec!["rev-list", "--count", &commit, "--not", "--exclude=refs/quire/*", "--all"];
        count.extend(was.as_deref().filter(|was| self.commit_of(was).is_some()));
        let count = self.say(&count, &[], b"")?;
        Ok(Some((commit, count.parse().unwrap_or(0))))
    }

    /// Fails where a commit names one of a submodule that the person's does not have.
    fn is_whole(&self, was: Option<&str>, commit: &str, scratch: &Path) -> Result<(), GitError> {
        let env = [("GIT_DIR", scratch.as_os_str())];
        let is_here = |was: &&str| git_in(scratch, &["cat-file", "-e", was], &env, b"").is_ok();
        let Some(was) = was.filter(is_here) else { return Ok(()) };
        let command = ["diff-tree", "-r", "-z", "--no-renames", "--no-ext-diff", was, commit];
        let raw = git_in(scratch, &command, &env, b"")?;
        let fields: Vec<&[u8]> = raw.split(|byte| *byte == 0).collect();
        for pair in fields.chunks_exact(2) {
            let row = String::from_utf8_lossy(pair[0]).into_owned();
            let words: Vec<&str> = row.split(' ').collect();
            let [_, "160000", _, object, _] = words[..] else { continue };
            let at = self.folder.join(std::ffi::OsStr::from_bytes(pair[1]));
            if !at.is_dir() || git_in(&at, &["cat-file", "-e", object], &[], b"").is_err() {
                return Err(GitError::NotWhole(String::from_utf8_lossy(pair[1]).into_owned()));
            }
        }
        Ok(())
    }

    /// Takes the reference to an agent's commits away, if it is still the one that was brought; where an earlier accept brought
    /// some, it is at those again.
    pub fn forget(&self, task: u64, commit: &str, earlier: Option<&str>) -> Result<(), GitError> {
        let reference = format!("refs/quire/{task}");
        if self.commit_of(&reference).as_deref() != Some(commit) {
            return Ok(());
        }
        match earlier.filter(|earlier| self.commit_of(earlier).is_some()) {
            Some(earlier) => self.git(&["update-ref", &reference, earlier, commit], &[], b"")?,
            None => self.git(&["update-ref", "-d", &reference, commit], &[], b"")?,
        };
        Ok(())
    }
}

/// Returns the commit that HEAD is in a folder's `.git`.
fn head(whole: &Stack) -> io::Result<Option<String>> {
    let Some(text) = text(whole, b".git/HEAD")? else { return Ok(None) };
    let Some(reference) = text.trim().strip_prefix("ref: ") else { return Ok(hash(text.trim())) };
    if let Some(text) = self::text(whole, format!(".git/{reference}").as_bytes())? {
        return Ok(hash(text.trim()));
    }
    let packed = self::text(whole, b".git/packed-refs")?.unwrap_or_default();
    let one = |line: &str| {
        let (commit, name) = line.split_once(' ')?;
        (name == reference).then(|| hash(commit)).flatten()
    };
    Ok(packed.lines().find_map(one))
}

fn hash(text: &str) -> Option<String> {
    let is_hash = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| text.to_owned())
}

fn text(whole: &Stack, path: &[u8]) -> io::Result<Option<String>> {
    let Some(path) = RelPath::new(path) else { return Ok(None) };
    let Some(found) = whole.find(&path)? else { return Ok(None) };
    if found.print.kind != crate::rooted::Kind::File {
        return Ok(None);
    }
    let mut content = vec![];
    whole.content(&found)?.take(REFERENCE_MAX).read_to_end(&mut content)?;
    Ok(String::from_utf8(content).ok())
}

/// Whether a path is that of a loose object, or of a pack or its index.
fn is_object(path: &RelPath) -> bool {
    let Some(inner) = path.as_bytes().strip_prefix(b".git/objects/") else { return false };
    let hex = |bytes: &[u8]| bytes.iter().all(|byte| byte.is_ascii_hexdigit());
    match inner.iter().position(|byte| *byte == b'/') {
        Some(2) => hex(&inner[..2]) && matches!(inner.len(), 41 | 65) && hex(&inner[3..]),
        Some(4) if inner.starts_with(b"pack/pack-") => {
            let name = &inner[b"pack/pack-".len()..];
            let stem = name.strip_suffix(b".pack").or(name.strip_suffix(b".idx"));
            stem.is_some_and(|stem| matches!(stem.len(), 40 | 64) && hex(stem))
        }
        _ => false,
    }
}
