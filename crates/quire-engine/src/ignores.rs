//! Which directories are ignored: live in the sandbox, never copied, never taken by default.
//!
//! `.gitignore` says so, with or without git, by git's own rules; where none speaks, a short list of directories that
//! tools fill by themselves does. The list is careful: a wrongly ignored directory would hide a person's work from the
//! copy, a wrongly copied one only costs time.

use crate::rooted::below;
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use quire_core::RelPath;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest `.gitignore` that is read, in bytes.
pub const RULES_MAX: u64 = 1 << 20;

/// Ignored by name alone: no person keeps work in these.
const BY_NAME: &[&[u8]] = &[
    b"node_modules",
    b"bower_components",
    b"__pycache__",
    b".venv",
    b".tox",
    b".nox",
    b".gradle",
    b".next",
    b".nuxt",
    b".svelte-kit",
    b".parcel-cache",
    b".turbo",
    b".cache",
    b".mypy_cache",
    b".pytest_cache",
    b".ruff_cache",
    b".eggs",
];

/// Ignored where this file lies beside or inside them.
const BY_SIGN: &[(&[u8], &str)] = &[
    (b"target", "../Cargo.toml"),
    (b"target", "../pom.xml"),
    (b"venv", "pyvenv.cfg"),
    (b"env", "pyvenv.cfg"),
];

/// The first bytes of a `CACHEDIR.TAG`, by bford.info/cachedir.
const CACHE_TAG: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Returns a small regular file's content, or `None` where there is none: the tree that rules are read from.
pub type Reader<'a> = &'a dyn Fn(&RelPath) -> Option<Vec<u8>>;

/// The rules that hold in one directory; by default none.
#[derive(Clone, Default)]
pub struct Ignores {
    /// Nearest first.
    rules: Option<Arc<Rules>>,
}

struct Rules {
    here: Gitignore,
    above: Option<Arc<Rules>>,
}

impl Ignores {
    /// Returns the rules that hold in the folder itself.
    pub fn at_top(read: Reader<'_>) -> Ignores {
        Ignores::default().within(None, read)
    }

    /// Returns the rules that hold in `dir`, given those of the directory that holds it.
    pub fn within(&self, dir: Option<&RelPath>, read: Reader<'_>) -> Ignores {
        let mut rules = self.rules.clone();
        for file in [".git/info/exclude", ".gitignore"] {
            let Some(content) = below(dir, file.as_bytes()).ok().and_then(|path| read(&path)) else {
                continue;
            };
            let mut builder = GitignoreBuilder::new(absolute(dir));
            for line in String::from_utf8_lossy(&content).lines() {
                // A line that is no pattern is passed over, as git does.
                let _ = builder.add_line(None, line);
            }
            if let Ok(here) = builder.build() {
                rules = Some(Arc::new(Rules { here, above: rules }));
            }
        }
        Ignores { rules }
    }

    /// Returns whether the directory `dir`, which lies directly where these rules hold, is ignored.
    pub fn ignores(&self, dir: &RelPath, read: Reader<'_>) -> bool {
        let path = absolute(Some(dir));
        let mut rules = self.rules.as_deref();
        if rules.is_none() {
            return by_list(dir, read);
        }
        while let Some(Rules { here, above }) = rules {
            match here.matched(&path, true) {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None => rules = above.as_deref(),
            }
        }
        false
    }
}

fn by_list(dir: &RelPath, read: Reader<'_>) -> bool {
    let signed = |sign: &str| match sign.strip_prefix("../") {
        Some(beside) => below(dir.parent().as_ref(), beside.as_bytes()).ok().and_then(|path| read(&path)),
        None => dir.join(sign.as_bytes()).and_then(|path| read(&path)),
    };
    BY_NAME.contains(&dir.name())
        || BY_SIGN.iter().any(|(name, sign)| *name == dir.name() && signed(sign).is_some())
        || signed("CACHEDIR.TAG").is_some_and(|tag| tag.starts_with(CACHE_TAG))
}

/// The matcher wants paths with one root; which one does not matter.
fn absolute(path: Option<&RelPath>) -> PathBuf {
    Path::new("/").join(OsStr::from_bytes(path.map_or(b"", RelPath::as_bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn ignored(files: &[(&str, &str)], dir: &str) -> bool {
        let files: HashMap<RelPath, Vec<u8>> =
            files.iter().map(|(p, c)| (RelPath::new(*p).unwrap(), c.as_bytes().to_vec())).collect();
        let read = |path: &RelPath| files.get(path).cloned();
        let dir = RelPath::new(dir).unwrap();
        let mut rules = Ignores::at_top(&read);
        let parts: Vec<&[u8]> = dir.as_bytes().split(|b| *b == b'/').collect();
        for depth in 1..parts.len() {
            rules = rules.within(RelPath::new(parts[..depth].join(&b'/')).as_ref(), &read);
        }
        rules.ignores(&dir, &read)
    }

    #[test]
    fn directories_are_ignored_as_git_would_else_by_list() {
        let tag = "Signature: 8a477f597d28d172789f06886806bc55\n";
        for (files, dir, expect) in [
            (&[][..], "node_modules", true),
            (&[][..], "a/b/node_modules", true),
            (&[][..], "target", false),
            (&[("Cargo.toml", "")][..], "target", true),
            (&[("a/Cargo.toml", "")][..], "a/target", true),
            (&[("a/Cargo.toml", "")][..], "target", false),
            (&[][..], "dist", false),
            (&[][..], "venv", false),
            (&[("venv/pyvenv.cfg", "")][..], "venv", true),
            (&[("out/CACHEDIR.TAG", tag)][..], "out", true),
            (&[(".gitignore", "")][..], "node_modules", false),
            (&[(".gitignore", "/out\n")][..], "out", true),
            (&[(".gitignore", "/out\n")][..], "a/out", false),
            (&[(".gitignore", "out\n!keep/out\n")][..], "keep/out", false),
            (&[(".gitignore", "out\n"), ("a/.gitignore", "!out\n")][..], "a/out", false),
            (&[(".gitignore", "*.log\n")][..], "logs", false),
            (&[(".git/info/exclude", "mine\n")][..], "mine", true),
            (&[("a/.gitignore", "x\n")][..], "node_modules", true),
        ] {
            assert_eq!(ignored(files, dir), expect, "{files:?} {dir}");
        }
    }
}
