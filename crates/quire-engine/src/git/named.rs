//! What of a person's folder the next git command of theirs would run, or read as its settings, because their own settings say so:
//! the directory of hooks, files that are included, the commands of aliases, filters and drivers.
//!
//! Read by git itself, with all that it includes. Each row of [`RUN`] is documented in git-config(1) as something that is run.

use super::git_in;
use quire_core::RelPath;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// A path of the folder that git is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    path: RelPath,
    /// With all below it.
    below: bool,
}

impl Named {
    /// Returns whether what stands at `path` is what git would use, or on the way to it.
    pub fn is_at(&self, path: &RelPath, is_folder: bool) -> bool {
        let is_on_the_way = !is_folder && self.path.is_within(path);
        self.path == *path || is_on_the_way || (self.below && path.is_within(&self.path))
    }
}

/// Where more settings are read.
const INCLUDE: &[&str] = &["include.path", "includeif.*.path"];
/// Directories whose programs are run.
const DIRECTORIES: &[&str] = &["core.hookspath", "init.templatedir"];
/// Commands, as a shell reads them.
#[rustfmt::skip]
const RUN: &[&str] = &[
    "core.fsmonitor", "core.sshcommand", "core.askpass", "core.editor", "core.pager", "core.gitproxy", "core.alternaterefscommand",
    "sequence.editor", "credential.helper", "credential.*.helper", "diff.external", "diff.*.command", "diff.*.textconv",
    "filter.*.clean", "filter.*.smudge", "filter.*.process", "merge.*.driver", "mergetool.*.cmd", "mergetool.*.path",
    "difftool.*.cmd", "difftool.*.path", "gpg.program", "gpg.*.program", "gpg.ssh.defaultkeycommand", "pager.*", "interactive.difffilter",
    "alias.*", "remote.*.uploadpack", "remote.*.receivepack", "uploadpack.packobjectshook", "trailer.*.command", "trailer.*.cmd",
    "submodule.*.update", "hook.*.command", "man.*.cmd", "man.*.path", "browser.*.cmd", "browser.*.path", "guitool.*.cmd",
    "sendemail.sendmailcmd", "sendemail.tocmd", "sendemail.cccmd", "sendemail.headercmd",
];

/// Returns what of `folder` the git of its person is told to run or to read. Nothing where there is no repository, or none that git opens.
pub fn named(folder: &Path) -> Vec<Named> {
    if !folder.ancestors().any(|dir| dir.join(".git").symlink_metadata().is_ok()) {
        return vec![];
    }
    let ask = |arguments: &[&str]| git_in(folder, arguments, &[], b"").ok();
    let path = |said: Vec<u8>| PathBuf::from(OsStr::from_bytes(said.strip_suffix(b"\n").unwrap_or(&said)));
    let top = ask(&["rev-parse", "--show-toplevel"]).map(path);
    let dir = ask(&["rev-parse", "--absolute-git-dir"]).map(path);
    let (Some(top), Some(dir)) = (top, dir) else { return vec![] };
    let mut found = Found { folder, named: vec![] };
    found.links_of(&dir.join("hooks"));
    let listed = ask(&["config", "--list", "-z", "--show-origin"]).unwrap_or_default();
    let mut parts = listed.split(|byte| *byte == 0);
    while let (Some(origin), Some(setting)) = (parts.next(), parts.next()) {
        // The others are what quire itself tells git.
        let Some(file) = origin.strip_prefix(b"file:") else { continue };
        let file = top.join(OsStr::from_bytes(file));
        found.add(&file, false);
        let setting = String::from_utf8_lossy(setting);
        let Some((key, value)) = setting.split_once('\n') else { continue };
        let is = |keys: &[&str]| keys.iter().any(|wanted| is_key(wanted, key));
        if is(INCLUDE) {
            found.add(&at(file.parent().unwrap_or(&top), value), false);
        } else if is(DIRECTORIES) {
            let dir = at(&top, value);
            found.links_of(&dir);
            found.add(&dir, true);
        } else if is(RUN) && (!key.starts_with("alias.") || value.starts_with('!')) {
            found.add_words(&top, value);
        }
    }
    found.named
}

struct Found<'a> {
    folder: &'a Path,
    named: Vec<Named>,
}

impl Found<'_> {
    /// Adds what lies in the folder, by the name that was given and by where that leads.
    fn add(&mut self, path: &Path, below: bool) {
        for path in [Some(plain(path)), path.canonicalize().ok()].into_iter().flatten() {
            let inner = path.strip_prefix(self.folder).ok();
            let inner = inner.and_then(|inner| RelPath::new(inner.as_os_str().as_bytes()));
            if let Some(named) = inner.map(|path| Named { path, below }).filter(|n| !self.named.contains(n)) {
                self.named.push(named);
            }
        }
    }

    /// Adds what the links in a directory lead to.
    fn links_of(&mut self, dir: &Path) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                self.add(&entry.path(), false);
            }
        }
    }

    /// Adds each word of a command that may be a path; one that a shell puts together may be from the top.
    fn add_words(&mut self, top: &Path, command: &str) {
        for word in command.split(|c: char| c.is_whitespace() || "'\"`;&|<>(){}=!,".contains(c)) {
            if word.is_empty() || word.starts_with('-') {
                continue;
            }
            self.add(&at(top, word), false);
            if word.starts_with(['$', '/']) {
                let rest = word.split_once('/').map_or("", |(_, rest)| rest);
                self.add(&top.join(rest), false);
            }
        }
    }
}

/// Returns a path as git reads it in its settings.
fn at(dir: &Path, value: &str) -> PathBuf {
    match (value.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => dir.join(value),
    }
}

/// Returns a path without `.` and `..`, whatever is there.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// Returns whether a setting is the wanted one; `*` is whatever stands between.
fn is_key(wanted: &str, key: &str) -> bool {
    match wanted.split_once('*') {
        Some((head, tail)) => key
            .strip_prefix(head)
            .and_then(|rest| rest.strip_suffix(tail))
            .is_some_and(|name| !name.is_empty()),
        None => wanted == key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::tests::Case;

    #[test]
    fn what_a_persons_git_is_told_to_run_is_found() {
        for (script, path, expected) in [
            ("git config core.hooksPath myhooks", "myhooks/pre-commit", true),
            ("git config core.hooksPath ./x/../myhooks/", "myhooks/pre-commit", true),
            ("git config core.hooksPath \"$PWD/myhooks\"", "myhooks/deep/x", true),
            ("git config core.hooksPath myhooks", "myhooks", true),
            ("git config core.hooksPath myhooks", "myhook", false),
            ("mkdir real; ln -s real hooked; git config core.hooksPath hooked", "real/pre-push", true),
            (
                "ln -s ../../tools/check.sh .git/hooks/pre-commit; mkdir tools; echo > tools/check.sh",
                "tools/check.sh",
                true,
            ),
            ("git config include.path ../gitcfg; echo > gitcfg", "gitcfg", true),
            ("git config include.path ../not/yet", "not/yet", true),
            // What would be a link, or a file, in the place of a directory on the way.
            ("git config include.path ../not/yet", "not", true),
            ("git config includeIf.gitdir:/nowhere/.path ../gitcfg", "gitcfg", true),
            (
                "git config include.path ../a; printf '[include]\\npath = b' > a; printf '[core]\\nhooksPath=deep' > b",
                "deep/x",
                true,
            ),
            (
                "git config include.path ../a; printf '[include]\\npath = b' > a; printf '[x]\\ny=z' > b",
                "b",
                true,
            ),
            ("git config alias.x '!sh tools/x.sh'", "tools/x.sh", true),
            ("git config alias.x 'log main'", "main", false),
            ("git config filter.f.clean './clean.py %f'", "clean.py", true),
            (
                "git config diff.d.textconv '\"$(git rev-parse --show-toplevel)/tools/d.sh\"'",
                "tools/d.sh",
                true,
            ),
            ("git config core.fsmonitor ./watch", "watch", true),
            ("git config core.excludesFile ./ignore", "ignore", false),
            ("git config user.name a.txt", "a.txt", false),
            ("", "a.txt", false),
        ] {
            let case = Case::made(&format!("{BEGUN}; {script}"));
            let named = named(&case.folder.canonicalize().unwrap());
            let path = RelPath::new(path).unwrap();
            assert_eq!(
                named.iter().any(|one| one.is_at(&path, false)),
                expected,
                "{script}: {path}: {named:?}"
            );
        }
        let case = Case::made("mkdir sub; git config core.hooksPath sub/myhooks");
        let named = named(&case.folder.join("sub").canonicalize().unwrap());
        assert!(named.iter().any(|one| one.is_at(&RelPath::new("myhooks/x").unwrap(), false)), "{named:?}");
        assert!(!named.iter().any(|one| one.is_at(&RelPath::new("my").unwrap(), true)));
    }

    const BEGUN: &str = "echo a > a.txt; git add .; git commit -qm first";
}
