//! git in a person's repository: what an accept commits, and what an agent committed. Everything goes through [`Repo::git`],
//! which runs git so that nothing the repository or its settings name is started: no hook, no filter, no monitor, no signer,
//! no transport but that of files. git's own refusal of other people's repositories stands.

pub mod bring;
mod bundle;
mod commit;
mod index;
pub mod inside;
mod large;
pub mod named;
mod object;
mod outside;
mod staged;

pub use commit::{Commit, Committed, Left, Mode, To, Wanted};
pub use outside::Outside;

use quire_core::RelPath;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[derive(Debug, thiserror::Error)]
pub enum GitError {
    #[error("git is not installed")]
    NoGit,
    #[error("{} is in no git repository", .0.display())]
    NoRepository(PathBuf),
    #[error("a {0} is under way in the repository")]
    UnderWay(&'static str),
    #[error("another program has the repository's index locked ({} is there)", .0.display())]
    IndexLocked(PathBuf),
    #[error("somebody removed the lock on the repository's index while quire had it ({})", .0.display())]
    LockLost(PathBuf),
    #[error("there is a branch `{0}` already")]
    BranchIsThere(String),
    #[error("there is a branch `{1}` already, beside which there can be no `{0}`")]
    BranchBeside(String, String),
    #[error("they name a commit of the submodule {0} that is nowhere else")]
    NotWhole(String),
    #[error("quire does not read repositories in this format ({0})")]
    Format(String),
    #[error("its name is no text in UTF-8")]
    NoText,
    #[error("{0} is larger than quire reads")]
    TooLarge(String),
    #[error("your repository is not in its place any more")]
    Elsewhere,
    #[error("{0} is there already, and it is not from this task")]
    Taken(String),
    #[error("{} is there, and git has no {reference} beside it", others.join(", "))]
    Beside { reference: String, others: Vec<String> },
    #[error("there are {0} more branches than quire looks at")]
    Branches(usize),
    #[error("{} is there already", .0.display())]
    FileIsThere(PathBuf),
    #[error("{} cannot be written: {why}", file.display())]
    Unwritten { file: PathBuf, why: std::io::Error },
    #[error("a bundle is of one repository, and what is taken lies in several folders")]
    SeveralFolders,
    #[error("`{0}` cannot be a branch's name")]
    BranchName(String),
    #[error("git does not know who you are: user.name and user.email are not set")]
    Nobody,
    #[error("git {command} failed: {said}")]
    Failed { command: String, said: String, code: Option<i32> },
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl GitError {
    /// Returns the references that have to go before what failed can be done.
    pub fn in_the_way(&self) -> &[String] {
        match self {
            GitError::Taken(reference) => std::slice::from_ref(reference),
            GitError::Beside { others, .. } => others,
            _ => &[],
        }
    }

    /// Returns whether the same can be done once something has changed at the person's.
    pub fn may_pass(&self) -> bool {
        let is_git = matches!(self, GitError::NoGit | GitError::Failed { .. } | GitError::Io(_));
        is_git || !self.in_the_way().is_empty()
    }
}

/// Given to git with each command, so that it starts no program but its own.
const NOTHING_ELSE: &[&str] = &[
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.sshCommand=false",
    "core.askPass=false",
    "core.editor=false",
    "core.pager=cat",
    "core.alternateRefsCommand=true",
    "credential.helper=",
    "commit.gpgSign=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "fetch.fsckObjects=true",
    "fetch.writeCommitGraph=false",
    "fetch.bundleURI=",
    "protocol.allow=never",
    "protocol.file.allow=always",
];

/// The repository around a folder.
pub struct Repo {
    folder: PathBuf,
    top: PathBuf,
    /// Where the folder lies in it, with a slash at the end; empty at its top.
    prefix: Vec<u8>,
    dir: PathBuf,
    /// As many zeros as the name of an object has signs.
    zeros: String,
    /// Where new objects go, and where the others are, if that is not the repository itself.
    apart: Option<(OsString, OsString)>,
}

impl Repo {
    /// Opens the repository that a folder lies in.
    pub fn around(folder: &Path) -> Result<Repo, GitError> {
        let (top, dir) = (PathBuf::new(), PathBuf::new());
        let zeros = "0".repeat(40);
        let mut repo = Repo { folder: folder.to_owned(), top, prefix: vec![], dir, zeros, apart: None };
        let none = |error| match error {
            GitError::Failed { said, .. } if said.contains("not a git repository") => {
                GitError::NoRepository(folder.to_owned())
            }
            other => other,
        };
        repo.prefix = line(repo.git(&["rev-parse", "--show-prefix"], &[], b"").map_err(none)?);
        let path = |said: Vec<u8>| PathBuf::from(OsStr::from_bytes(&line(said)));
        if repo.say(&["rev-parse", "--show-object-format"], &[], b"")? == "sha256" {
            repo.zeros = "0".repeat(64);
        }
        repo.top = path(repo.git(&["rev-parse", "--show-toplevel"], &[], b"")?);
        repo.dir = path(repo.git(&["rev-parse", "--absolute-git-dir"], &[], b"")?);
        Ok(repo)
    }

    /// Runs git and returns its stdout.
    fn git(&self, arguments: &[&str], env: &[(&str, &OsStr)], input: &[u8]) -> Result<Vec<u8>, GitError> {
        let Some((new, others)) = &self.apart else { return git_in(&self.folder, arguments, env, input) };
        let mut env = env.to_vec();
        env.push(("GIT_OBJECT_DIRECTORY", new));
        env.push(("GIT_ALTERNATE_OBJECT_DIRECTORIES", others));
        git_in(&self.folder, arguments, &env, input)
    }

    /// Returns the one line that git says, as text.
    fn say(&self, arguments: &[&str], env: &[(&str, &OsStr)], input: &[u8]) -> Result<String, GitError> {
        Ok(String::from_utf8_lossy(&line(self.git(arguments, env, input)?)).into_owned())
    }

    /// As [`Repo::git`], for commands that say with their exit code that there is nothing.
    fn list(&self, arguments: &[&str], env: &[(&str, &OsStr)], input: &[u8]) -> Result<Vec<u8>, GitError> {
        match self.git(arguments, env, input) {
            Err(GitError::Failed { code: Some(1), .. }) => Ok(vec![]),
            listed => listed,
        }
    }

    /// Returns the name that this repository has for a content.
    fn name_of(&self, content: &[u8]) -> String {
        match self.zeros.len() {
            40 => name(content),
            _ => {
                let mut sha = ring::digest::Context::new(&ring::digest::SHA256);
                sha.update(format!("blob {}\0", content.len()).as_bytes());
                sha.update(content);
                hex(sha.finish().as_ref())
            }
        }
    }

    /// Returns the commit that `name` is, where it is one.
    fn commit_of(&self, name: &str) -> Option<String> {
        let name = format!("{name}^{{commit}}");
        self.say(&["rev-parse", "--verify", "--quiet", "--end-of-options", &name], &[], b"").ok()
    }

    /// Returns a path as git names it, from the top.
    fn named(&self, path: &RelPath) -> Vec<u8> {
        [self.prefix.as_slice(), path.as_bytes()].concat()
    }
}

/// Returns the name that git gives a content, in repositories that name by SHA-1.
pub fn name(content: &[u8]) -> String {
    let mut sha = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    sha.update(format!("blob {}\0", content.len()).as_bytes());
    sha.update(content);
    hex(sha.finish().as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs git in a directory and returns its stdout.
pub(crate) fn git_in(
    dir: &Path,
    arguments: &[&str],
    env: &[(&str, &OsStr)],
    input: &[u8],
) -> Result<Vec<u8>, GitError> {
    let mut command = Command::new("git");
    for (name, _) in std::env::vars_os() {
        if name.as_bytes().starts_with(b"GIT_") {
            command.env_remove(name);
        }
    }
    for setting in NOTHING_ELSE {
        command.args(["-c", setting]);
    }
    command
        .arg("--no-pager")
        .args(arguments)
        .current_dir(dir)
        .env("LC_ALL", "C")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => GitError::NoGit,
        _ => error.into(),
    })?;
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_owned();
    // It may answer before it has read everything.
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let ended = child.wait_with_output()?;
    // What was not read is told by how it ended.
    let _ = writer.join();
    if ended.status.success() {
        return Ok(ended.stdout);
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    // What it only advises says nothing of why.
    let is_why = |line: &&str| {
        !line.trim().is_empty() && !["hint:", "warning:"].iter().any(|begin| line.starts_with(begin))
    };
    let said = said.lines().find(is_why).unwrap_or("it says nothing").trim();
    let command = arguments.first().copied().unwrap_or_default().to_owned();
    Err(GitError::Failed { command, said: said.to_owned(), code: ended.status.code() })
}

fn line(mut output: Vec<u8>) -> Vec<u8> {
    while output.last() == Some(&b'\n') {
        output.pop();
    }
    output
}

#[cfg(test)]
pub(crate) const HELD: &[u8] = index::HELD;

#[cfg(test)]
mod tests;
