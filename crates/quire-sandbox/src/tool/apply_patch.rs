//! `apply_patch`: changes files by a patch, all of them or none. Also a command of that name, for models that call it from
//! the shell.

use super::files::{Change, FileError, commit, landing, read_whole, shown};
use super::patch::{FilePatch, Misfit, PatchError, apply, parse};
use super::{Here, Tool, refused, said};
use crate::protocol::HandOutcome;
use quire_core::charter::Edits;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Most bytes of a patch that the command reads.
const PATCH_MAX: u64 = 64 << 20;

/// Add, update, move and delete files by one patch; if any part does not fit, nothing is changed. `*** Begin Patch`, then
/// `*** Add File: p` (each line with +), `*** Delete File: p`, or `*** Update File: p` (`*** Move to: q` may follow) with
/// hunks of ` `, `-` and `+` lines in file order, each headed by `@@` or `@@ a line above it` (one of + lines alone goes to the file's end); then `*** End Patch`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ApplyPatch {
    // Models that were trained on this format call it so.
    #[serde(alias = "input")]
    patch: String,
}

impl Tool for ApplyPatch {
    const NAME: &'static str = "apply_patch";
    const FOR: Option<Edits> = Some(Edits::ApplyPatch);

    fn run(self, here: &Here<'_>) -> HandOutcome {
        match apply_to(&here.inside.folder, &self.patch) {
            Ok(done) => said(done),
            Err(error) => refused(format!("{error}\nNo file was changed.")),
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ApplyError {
    #[error("The patch cannot be read: {0}.")]
    Patch(#[from] PatchError),
    #[error("{path}: {misfit}")]
    Misfit { path: String, misfit: Misfit },
    #[error("{0}")]
    File(#[from] FileError),
}

/// Applies a patch to files below `folder` or at absolute paths, and returns a line for each.
fn apply_to(folder: &Path, patch: &str) -> Result<String, ApplyError> {
    let mut files = Files::default();
    let mut lines = vec![];
    for file in parse(patch)? {
        match file {
            FilePatch::Add { path, content } => {
                files.write(&folder.join(&path), content.into_bytes(), None)?;
                lines.push(format!("A {path}"));
            }
            FilePatch::Delete { path } => {
                files.remove(&folder.join(&path))?;
                lines.push(format!("D {path}"));
            }
            FilePatch::Update { path, to, hunks } => {
                let from = folder.join(&path);
                let content = apply(&files.read(&from)?, &hunks)
                    .map_err(|misfit| ApplyError::Misfit { path: path.clone(), misfit })?;
                match to {
                    Some(to) if spot(&folder.join(&to))? != spot(&from)? => {
                        files.write(&folder.join(&to), content, Some(&from))?;
                        files.remove(&from)?;
                        lines.push(format!("M {path} -> {to}"));
                    }
                    _ => {
                        files.write(&from, content, None)?;
                        lines.push(format!("M {path}"));
                    }
                }
            }
        }
    }
    files.commit()?;
    Ok(format!("Done:\n{}", lines.join("\n")))
}

/// Files as the patch leaves them, in memory until all of it has fitted. Keyed by where a name stands, its folder real.
#[derive(Default)]
struct Files(BTreeMap<PathBuf, Change>);

impl Files {
    fn read(&self, path: &Path) -> Result<Vec<u8>, FileError> {
        match self.0.get(&land(path)?) {
            Some(Change { content: Some(content), .. }) => Ok(content.clone()),
            Some(_) => Err(FileError::io(path, io::ErrorKind::NotFound.into())),
            None => read_whole(path),
        }
    }

    fn write(&mut self, path: &Path, content: Vec<u8>, like: Option<&Path>) -> Result<(), FileError> {
        let place = land(path)?;
        if place.is_dir() {
            return Err(FileError::Folder { path: shown(path) });
        }
        let like = like.map(Path::to_path_buf);
        let change = self.0.entry(place.clone()).or_insert(Change { path: place, content: None, like: None });
        change.content = Some(content);
        change.like = like.or(change.like.take());
        Ok(())
    }

    /// Removes the name itself, also where it is a symlink.
    fn remove(&mut self, path: &Path) -> Result<(), FileError> {
        let place = spot(path)?;
        if let Some(change) = self.0.get_mut(&place) {
            if change.content.take().is_none() {
                return Err(FileError::io(path, io::ErrorKind::NotFound.into()));
            }
            return Ok(());
        }
        let meta = fs::symlink_metadata(&place).map_err(|e| FileError::io(path, e))?;
        if meta.is_dir() {
            return Err(FileError::Folder { path: shown(path) });
        }
        self.0.insert(place.clone(), Change { path: place, content: None, like: None });
        Ok(())
    }

    fn commit(self) -> Result<(), FileError> {
        // A file that the patch itself added and removed never was.
        let real = |c: &Change| c.content.is_some() || fs::symlink_metadata(&c.path).is_ok();
        commit(&self.0.into_values().filter(real).collect::<Vec<_>>())
    }
}

fn land(path: &Path) -> Result<PathBuf, FileError> {
    landing(path).map_err(|e| FileError::io(path, e))
}

/// Returns where the name itself stands: the real folder and the name, which may be a symlink's.
fn spot(path: &Path) -> Result<PathBuf, FileError> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok(land(parent)?.join(name)),
        _ => land(path),
    }
}

/// The command: the patch is the one argument, or comes by stdin. Exits 0 when applied, 1 when nothing was changed, 2 when
/// called wrongly.
pub(super) fn main(args: &[OsString]) -> i32 {
    let patch = match args {
        [] => read_stdin(),
        [patch] => patch.to_str().map(str::to_owned).ok_or("the patch is not UTF-8".to_owned()),
        _ => Err("give the patch as one argument or on stdin".to_owned()),
    };
    let patch = match patch {
        Ok(patch) => patch,
        Err(wrong) => return answer(io::stderr(), &format!("apply_patch: {wrong}"), 2),
    };
    let folder = std::env::current_dir().unwrap_or_else(|_| OsStr::new(".").into());
    match apply_to(&folder, &patch) {
        Ok(done) => answer(io::stdout(), &done, 0),
        Err(error) => answer(io::stderr(), &format!("apply_patch: {error}\nNo file was changed."), 1),
    }
}

fn read_stdin() -> Result<String, String> {
    let mut patch = String::new();
    let read = io::stdin().lock().take(PATCH_MAX).read_to_string(&mut patch);
    read.map(|_| patch).map_err(|e| format!("the patch cannot be read from stdin: {e}"))
}

/// Writes the answer where somebody still listens; the exit code tells in any case.
fn answer(mut to: impl Write, text: &str, code: i32) -> i32 {
    let _ = writeln!(to, "{text}");
    code
}

#[cfg(test)]
mod tests {
    use super::super::tests::Place;
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use std::collections::BTreeMap;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    /// Every file, folder and link below `dir` with its mode and content.
    fn tree(dir: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
        let mut all = BTreeMap::new();
        let mut dirs = vec![dir.to_path_buf()];
        while let Some(next) = dirs.pop() {
            for entry in fs::read_dir(&next).unwrap() {
                let path = entry.unwrap().path();
                let meta = fs::symlink_metadata(&path).unwrap();
                let content = match () {
                    () if meta.is_dir() => vec![],
                    () if meta.is_symlink() => {
                        fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
                    }
                    () => fs::read(&path).unwrap(),
                };
                if meta.is_dir() {
                    dirs.push(path.clone());
                }
                all.insert(path.strip_prefix(dir).unwrap().display().to_string(), (meta.mode(), content));
            }
        }
        all
    }

    fn patch(body: &str) -> serde_json::Value {
        json!({"patch": format!("*** Begin Patch\n{body}\n*** End Patch")})
    }

    /// Files by name with their content; all start with these.
    const BEFORE: [(&str, &str); 3] = [("a", "one\ntwo\n"), ("b", "bee\n"), ("dir/c", "sea\n")];

    fn place() -> Place {
        let place = Place::new();
        BEFORE.iter().for_each(|(name, content)| place.put(name, content));
        place
    }

    #[test]
    fn patches_change_files() {
        type After = &'static [(&'static str, &'static str)];
        let rows: &[(&str, &str, After)] = &[
            (
                "*** Add File: n/e/w\n+x",
                "A n/e/w",
                &[("a", "one\ntwo\n"), ("b", "bee\n"), ("dir/c", "sea\n"), ("n/e/w", "x\n")],
            ),
            ("*** Add File: a", "A a", &[("a", ""), ("b", "bee\n"), ("dir/c", "sea\n")]),
            ("*** Delete File: a", "D a", &[("b", "bee\n"), ("dir/c", "sea\n")]),
            (
                "*** Update File: ./dir/../a\n-two\n+2",
                "M ./dir/../a",
                &[("a", "one\n2\n"), ("b", "bee\n"), ("dir/c", "sea\n")],
            ),
            (
                "*** Update File: a\n*** Move to: x/y\n-two\n+2",
                "M a -> x/y",
                &[("b", "bee\n"), ("dir/c", "sea\n"), ("x/y", "one\n2\n")],
            ),
            (
                "*** Update File: a\n*** Move to: b\n-two\n+2",
                "M a -> b",
                &[("b", "one\n2\n"), ("dir/c", "sea\n")],
            ),
            // A move to where the file is, by whatever name, loses nothing.
            (
                "*** Update File: a\n*** Move to: a\n-two\n+2",
                "M a",
                &[("a", "one\n2\n"), ("b", "bee\n"), ("dir/c", "sea\n")],
            ),
            (
                "*** Update File: a\n*** Move to: dir/../a\n-two\n+2",
                "M a",
                &[("a", "one\n2\n"), ("b", "bee\n"), ("dir/c", "sea\n")],
            ),
            // Parts see what earlier parts did.
            (
                "*** Update File: a\n-one\n+1\n*** Update File: a\n-1\n+I",
                "M a\nM a",
                &[("a", "I\ntwo\n"), ("b", "bee\n"), ("dir/c", "sea\n")],
            ),
            (
                "*** Add File: z\n+1\n*** Update File: z\n-1\n+2\n*** Delete File: z\n*** Delete File: b",
                "A z\nM z\nD z\nD b",
                &[("a", "one\ntwo\n"), ("dir/c", "sea\n")],
            ),
            (
                "*** Delete File: a\n*** Add File: a\n+new",
                "D a\nA a",
                &[("a", "new\n"), ("b", "bee\n"), ("dir/c", "sea\n")],
            ),
            (
                "*** Update File: a\n*** Move to: t\n-two\n+2\n*** Update File: b\n*** Move to: a\n-bee\n+B\n*** Update File: t\n*** Move to: b\n-one\n+1",
                "M a -> t\nM b -> a\nM t -> b",
                &[("a", "B\n"), ("b", "1\n2\n"), ("dir/c", "sea\n")],
            ),
        ];
        for (body, told, after) in rows {
            let place = place();
            let outcome = place.call("apply_patch", patch(body));
            assert_eq!((outcome.text, outcome.ok), (format!("Done:\n{told}"), true), "{body}");
            let files =
                tree(&place.path("")).into_iter().filter(|(_, (mode, _))| mode & 0o170000 == 0o100000);
            let files: Vec<_> =
                files.map(|(name, (_, content))| (name, String::from_utf8(content).unwrap())).collect();
            let expect: Vec<_> = after.iter().map(|(n, c)| ((*n).to_owned(), (*c).to_owned())).collect();
            assert_eq!(files, expect, "{body}");
        }
    }

    #[test]
    fn a_patch_that_does_not_fit_changes_nothing() {
        let rows = [
            (
                "*** Add File: n/e/w\n+x\n*** Update File: a\n-three\n+3",
                "a: hunk 1: these lines are not in the file:\nthree\n",
            ),
            ("*** Delete File: b\n*** Delete File: gone", "There is no "),
            ("*** Delete File: b\n*** Update File: b\n-bee\n+B", "There is no "),
            ("*** Delete File: b\n*** Delete File: b", "There is no "),
            ("*** Delete File: b\n*** Delete File: dir", "/dir is a folder"),
            ("*** Update File: b\n-bee\n+B\n*** Add File: dir\n+x", "/dir is a folder"),
            ("*** Update File: b\n-bee\n+B\n*** Add File: a/below\n+x", "Not a directory"),
            ("*** Update File: b\n-bee\n+B\n*** Add File: x\n+1\n*** Add File: x/y\n+2", "x"),
            ("*** Update File: b\n-bee\n+B\n*** Update File: /dev/zero\n-x", "is a device"),
            ("*** Update File: b\n-bee\n+B\n*** Add File: /dev/null\n+x", "is a device"),
            ("*** Update File: b\n-bee\n+B\n*** Add File: /proc/none/x\n+x", "/proc/none/x"),
            ("*** Update File: b\n*** Move to: c", "has no hunk"),
            ("", "changes no file"),
        ];
        for (body, expect) in rows {
            let place = place();
            let before = tree(&place.path(""));
            let outcome = place.call("apply_patch", patch(body));
            assert!(!outcome.ok && outcome.text.contains(expect), "{body}: {}", outcome.text);
            assert!(outcome.text.ends_with("\nNo file was changed."), "{}", outcome.text);
            assert_eq!(tree(&place.path("")), before, "{body}");
        }
    }

    #[test]
    fn modes_and_symlinks_stay() {
        let place = place();
        fs::set_permissions(place.path("a"), fs::Permissions::from_mode(0o751)).unwrap();
        symlink("a", place.path("link")).unwrap();
        assert!(place.call("apply_patch", patch("*** Update File: link\n-two\n+2")).ok);
        assert!(fs::symlink_metadata(place.path("link")).unwrap().is_symlink());
        assert_eq!(place.get("a"), b"one\n2\n");
        assert!(place.call("apply_patch", patch("*** Update File: a\n*** Move to: moved\n-one\n+1")).ok);
        assert_eq!(fs::metadata(place.path("moved")).unwrap().mode() & 0o7777, 0o751);
        assert!(place.call("apply_patch", patch("*** Delete File: link")).ok);
        assert!(fs::symlink_metadata(place.path("link")).is_err());
        assert_eq!(place.get("moved"), b"1\n2\n");
    }

    /// Lines that patches are made of, right and wrong ones.
    const PIECES: [&str; 22] = [
        "*** Begin Patch",
        "*** End Patch",
        "*** Add File: a",
        "*** Add File: new/x",
        "*** Add File: dir",
        "*** Delete File: b",
        "*** Delete File: gone",
        "*** Update File: a",
        "*** Update File: dir/c",
        "*** Move to: b",
        "*** Move to: n/m",
        "*** End of File",
        "@@",
        "@@ one",
        " one",
        "-two",
        "-sea",
        "-bee",
        "+plus",
        "",
        "nonsense",
        "+",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn whatever_the_patch_all_or_nothing(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..14)) {
            let place = place();
            let before = tree(&place.path(""));
            let outcome = place.call("apply_patch", patch(&pieces.join("\n")));
            let after = tree(&place.path(""));
            prop_assert!(outcome.ok || after == before, "{}", outcome.text);
            prop_assert!(!after.keys().any(|name| name.contains(".quire")), "{after:?}");
        }
    }
}
