//! What of a version can make something run on the person's machine. Most is known by its name alone (`quire_core::change::programs`);
//! here is what depends on the folder that it comes into: what the git of its person is told to run, and what git takes for a
//! repository without being told, because any directory that has the parts of one is one, with settings and hooks of its own.

use crate::accept::part::{Read, Texts};
use crate::git::named::{Named, named};
use quire_core::change::programs::{self, HOOK};
use quire_core::{Entry, Node, RelPath};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub(crate) struct Programs<'a> {
    folders: &'a [PathBuf],
    /// For each folder.
    named: Vec<Vec<Named>>,
    /// Whether something stands there once these entries are in the folder.
    after: BTreeMap<(u32, &'a [u8]), bool>,
}

impl<'a> Programs<'a> {
    /// Gets ready to judge `entries`, which would come into `folders` together.
    pub fn of(folders: &'a [PathBuf], entries: &'a [Entry]) -> Programs<'a> {
        let after = entries.iter().map(|e| ((e.folder, e.path.as_bytes()), e.now.is_some()));
        Programs {
            folders,
            named: folders.iter().map(|folder| named(folder)).collect(),
            after: after.collect(),
        }
    }

    /// Returns in a few words what an entry can make run because of where it comes.
    pub fn here(&self, entry: &Entry) -> Option<&'static str> {
        let now = entry.now.as_ref()?;
        let is_folder = matches!(now, Node::Dir { .. });
        let named = self.named.get(entry.folder as usize)?;
        let is_named = named.iter().any(|one| {
            // A directory runs nothing; what is in it has an entry of its own.
            !is_folder && one.is_at(&entry.path, false)
        });
        (is_named || self.is_of_a_repository(entry)).then_some(HOOK)
    }

    /// Returns those of the entries that can make something run, and when.
    pub fn among<E>(&self, entries: &[Entry], read: Read<'_, E>) -> Result<Vec<(RelPath, &'static str)>, E> {
        let mut found = vec![];
        for entry in entries {
            let by_name = |contents: Option<&Texts>| {
                let contents = contents.map(|(was, now)| (was.as_slice(), now.as_slice()));
                programs::runs(&entry.path, contents)
            };
            let is_named = !matches!(entry.now, None | Some(Node::Dir { .. })) && by_name(None).is_some();
            // What it says is only read where its name alone says that it may.
            let when = if is_named { by_name(read(entry)?.as_ref()) } else { None };
            found.extend(when.or_else(|| self.here(entry)).map(|when| (entry.path.clone(), when)));
        }
        Ok(found)
    }

    /// Returns whether an entry is a part of a directory that git would take for a repository.
    fn is_of_a_repository(&self, entry: &Entry) -> bool {
        let path = entry.path.as_bytes();
        let mut ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let mut dirs: Vec<&[u8]> = vec![b""];
        dirs.extend(ends.by_ref().map(|at| &path[..at]));
        dirs.into_iter().any(|dir| {
            let inner = if dir.is_empty() { path } else { &path[dir.len() + 1..] };
            let is_part = matches!(
                inner,
                b"HEAD" | b"config" | b"config.worktree" | b"commondir" | b"objects" | b"refs"
            ) || inner.starts_with(b"hooks/");
            let has = |name: &str| self.has(entry.folder, dir, name);
            is_part && has("HEAD") && ((has("objects") && has("refs")) || has("commondir"))
        })
    }

    fn has(&self, folder: u32, dir: &[u8], name: &str) -> bool {
        let path =
            if dir.is_empty() { name.as_bytes().to_vec() } else { [dir, b"/", name.as_bytes()].concat() };
        let stands = || {
            let at: Option<&Path> = self.folders.get(folder as usize).map(PathBuf::as_path);
            at.is_some_and(|at| at.join(OsStr::from_bytes(&path)).symlink_metadata().is_ok())
        };
        self.after.get(&(folder, path.as_slice())).copied().unwrap_or_else(stands)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quire_core::Hash;
    use std::fs;

    fn file(path: &str) -> Entry {
        let now = Some(Node::File { blob: Hash::of(b""), bytes: 0, mode: 0o644 });
        Entry { folder: 0, path: RelPath::new(path).unwrap(), was: None, now }
    }

    fn dir(path: &str) -> Entry {
        Entry { now: Some(Node::Dir { mode: 0o755 }), ..file(path) }
    }

    #[test]
    fn a_directory_that_git_takes_for_a_repository_runs_things() {
        let whole = || {
            ["HEAD", "config", "hooks/pre-commit", "plain.txt"]
                .map(|name| file(&format!("docs/{name}")))
                .to_vec()
        };
        let parts = || vec![dir("docs/objects"), dir("docs/refs")];
        let known = ["docs/HEAD", "docs/config", "docs/hooks/pre-commit"];
        let with_parts = [&known[..], &["docs/objects", "docs/refs"]].concat();
        for (there, entries, expected) in [
            (&[][..], [whole(), parts()].concat(), &with_parts[..]),
            (&[], whole(), &["docs/hooks/pre-commit"][..]),
            // In two steps, in either order.
            (&["docs/objects/", "docs/refs/"], whole(), &known),
            (&["docs/HEAD", "docs/config"], parts(), &["docs/objects", "docs/refs"]),
            (
                &[],
                [whole(), vec![file("docs/commondir")]].concat(),
                &[&known[..], &["docs/commondir"]].concat(),
            ),
            // At the top of the folder.
            (&["objects/", "refs/"], vec![file("HEAD"), file("b/HEAD")], &["HEAD"]),
        ] {
            let temp = tempfile::tempdir().unwrap();
            for path in there {
                match path.strip_suffix('/') {
                    Some(dir) => fs::create_dir_all(temp.path().join(dir)).unwrap(),
                    None => {
                        fs::create_dir_all(temp.path().join(path).parent().unwrap()).unwrap();
                        fs::write(temp.path().join(path), "").unwrap();
                    }
                }
            }
            let folders = [temp.path().to_owned()];
            let found = Programs::of(&folders, &entries).among::<()>(&entries, &|_| Ok(None)).unwrap();
            let found: Vec<String> = found.into_iter().map(|(path, _)| path.to_string()).collect();
            let (mut found, mut expected) = (found, expected.to_vec());
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "{there:?}");
        }
    }
}
