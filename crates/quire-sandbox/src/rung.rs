//! What kind of sandbox this machine allows, found by making one.

use crate::sandbox::{StartError, start};
use crate::{FolderView, Spec};
use std::fmt;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The kinds of sandbox, best first. There is no lesser kind to fall to: where none can be made, nothing is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// Started by root: root inside is nobody outside, and every package manager works.
    Idmapped,
    /// Started by an ordinary user, who is root inside and the only one there is.
    OneUid,
}

impl Rung {
    /// Returns the rung that a sandbox started by this process would stand on; [`rung`] proves it.
    pub fn expected() -> Rung {
        if rustix::process::geteuid().is_root() { Rung::Idmapped } else { Rung::OneUid }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rung::Idmapped => "whole machine, idmapped (root)",
            Rung::OneUid => "whole machine, one uid (ordinary user)",
        })
    }
}

/// Makes a sandbox, ends it, and returns of which kind it was. `scratch` is a directory that does not exist yet, on a
/// disk where layers could lie, and `folder` one where a task's folder could; both are removed again. `binary` is as in
/// [`Spec::binary`].
pub fn rung(scratch: &Path, folder: &Path, binary: PathBuf) -> Result<Rung, StartError> {
    for made in [scratch, folder] {
        fs::DirBuilder::new().mode(0o700).create(made).map_err(StartError::Directories)?;
    }
    let found = probe(scratch, folder, binary);
    // Why there is no sandbox says more than what is left of one.
    let removed = [scratch, folder].map(|made| {
        let removed = crate::tidy::empty(made).and_then(|()| fs::remove_dir(made));
        removed.map_err(StartError::Directories)
    });
    found.and_then(|rung| removed.into_iter().collect::<Result<(), _>>().map(|()| rung))
}

fn probe(scratch: &Path, folder: &Path, binary: PathBuf) -> Result<Rung, StartError> {
    let scratch = fs::canonicalize(scratch).map_err(StartError::Directories)?;
    let folder = fs::canonicalize(folder).map_err(StartError::Directories)?;
    let frozen = scratch.join("frozen");
    fs::create_dir(&frozen).map_err(StartError::Directories)?;
    let spec = Spec {
        state: scratch.join("state"),
        layer: scratch.join("layer"),
        layers: Vec::new(),
        skeleton: Vec::new(),
        out: scratch.join("out"),
        binary,
        folders: vec![FolderView { at: folder, frozen: vec![frozen], ignored: Vec::new() }],
        hide: Vec::new(),
        show: Vec::new(),
        env: Vec::new(),
        memory_bytes: 64 << 20,
        processes: 16,
        disk_bytes: 1 << 20,
        gate: None,
    };
    start(&spec, drop)?.end().map_err(StartError::Directories)?;
    crate::tidy::empty(&scratch).map_err(StartError::Directories)?;
    Ok(if rustix::process::geteuid().is_root() { Rung::Idmapped } else { Rung::OneUid })
}
