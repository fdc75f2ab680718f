//! What kind of sandbox this machine allows, found by making one.

use crate::sandbox::{StartError, start};
use crate::{FolderView, Spec};
use std::fmt;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// The kinds of sandbox, best first. There is no lesser kind to fall to: where none can be made, nothing is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// Started by root: root inside is nobody outside, and every package manager works.
    Idmapped,
    /// Started by an ordinary user, who is root inside and the only one there is.
    OneUid,
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
/// disk where layers could lie; it is removed again. `binary` is as in [`Spec::binary`].
pub fn rung(scratch: &std::path::Path, binary: PathBuf) -> Result<Rung, StartError> {
    fs::DirBuilder::new().mode(0o700).create(scratch).map_err(StartError::Directories)?;
    let found = probe(scratch, binary);
    let removed = fs::remove_dir_all(scratch).map_err(StartError::Directories);
    found.and_then(|rung| removed.map(|()| rung))
}

fn probe(scratch: &std::path::Path, binary: PathBuf) -> Result<Rung, StartError> {
    let scratch = fs::canonicalize(scratch).map_err(StartError::Directories)?;
    let (folder, frozen) = (scratch.join("folder"), scratch.join("frozen"));
    for made in [&folder, &frozen] {
        fs::create_dir(made).map_err(StartError::Directories)?;
    }
    let spec = Spec {
        state: scratch.join("state"),
        layer: scratch.join("layer"),
        layers: Vec::new(),
        out: scratch.join("out"),
        binary,
        folders: vec![FolderView { at: folder, frozen: vec![frozen], ignored: Vec::new() }],
        hide: Vec::new(),
        show: Vec::new(),
        env: Vec::new(),
        memory_bytes: 64 << 20,
        processes: 16,
        disk_bytes: 1 << 20,
    };
    start(&spec, drop)?.end().map_err(StartError::Directories)?;
    crate::tidy::empty(&scratch).map_err(StartError::Directories)?;
    Ok(if rustix::process::geteuid().is_root() { Rung::Idmapped } else { Rung::OneUid })
}
