//! What a person and a folder tell every agent, gathered for one task: instructions and skills.

use crate::instructions::{self, Reader, shown};
use crate::settings::{Settings, Surroundings};
use crate::{attached, freeze, skills};
use quire_core::event::Conventions;
use quire_sandbox::{GIVEN_INSIDE, Rung};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The most lines on what is left out.
const LEFT_OUT_MAX: usize = 20;

/// Returns the text of the instructions, and what all there is. Skills outside the folder are copied into `given`.
pub(crate) fn gather(reader: Reader<'_>, given: &Path, rung: Rung) -> (String, Conventions) {
    // Of an earlier try. What is just now being handed over is not.
    for entry in fs::read_dir(given).into_iter().flatten().flatten() {
        if entry.file_name() != attached::DIR
            && let Err(error) = freeze::remove_tree(&entry.path())
        {
            tracing::warn!(%error, "what was given to a task could not be removed");
        }
    }
    // There from the beginning, so that what is handed over later is seen by sandboxes that are there.
    if let Err(error) = DirBuilder::new().recursive(true).mode(0o755).create(given) {
        tracing::warn!(%error, "what is given to a task cannot be shown");
    }
    let (text, mut conventions, found) = look(reader);
    let (skills, left_out) = skills::give(found, reader, given, given_inside(given, rung));
    conventions.skills = skills;
    conventions.left_out.extend(left_out);
    let more = conventions.left_out.len().saturating_sub(LEFT_OUT_MAX);
    if more > 0 {
        conventions.left_out.truncate(LEFT_OUT_MAX);
        conventions.left_out.push(format!("and {more} more; see them all: quire doctor"));
    }
    (text, conventions)
}

/// Returns where sandboxes show what is in `given`.
pub(crate) fn given_inside(given: &Path, rung: Rung) -> &Path {
    if rung == Rung::Copy { given } else { Path::new(GIVEN_INSIDE) }
}

fn look(reader: Reader<'_>) -> (String, Conventions, Vec<skills::Found>) {
    let told = instructions::read(reader);
    let (found, refused) = skills::find(reader);
    let refused = refused.into_iter().map(|(path, why)| format!("The skill {}: {why}", shown(&path)));
    let left_out = told.left_out.iter().map(|(path, why)| format!("{}: {why}", shown(path)));
    let conventions = Conventions {
        instructions: told.paths.iter().map(|path| shown(path)).collect(),
        folder_bytes: told.folder_bytes,
        skills: vec![],
        left_out: left_out.chain(refused).collect(),
    };
    (told.text, conventions, found)
}

/// What a task on a folder would be told.
pub struct Told {
    pub instructions: Vec<String>,
    /// Name and directory.
    pub skills: Vec<(String, PathBuf)>,
    pub left_out: Vec<String>,
}

/// Returns what a task on `folder` would be told at its start.
pub fn told(folder: &Path, settings: &Settings, surroundings: &Surroundings) -> Told {
    let (home, config_dir) = (surroundings.home(), surroundings.config_dir());
    let reader = Reader {
        folder,
        config_dir: config_dir.as_deref(),
        home: home.as_deref(),
        hide: &settings.sandbox.hide,
    };
    let (_, conventions, found) = look(reader);
    Told {
        instructions: conventions.instructions,
        skills: found.into_iter().map(|skill| (skill.name, skill.dir)).collect(),
        left_out: conventions.left_out,
    }
}
