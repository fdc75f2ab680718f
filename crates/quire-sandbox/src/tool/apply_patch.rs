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
/// hunks of ` `, `-` and `+` lines in file order, each headed by `@@` or `@@ a line above it`; then `*** End Patch`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ApplyPatch {
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
