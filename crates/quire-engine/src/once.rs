//! One command in a fresh sandbox, and what it would change: `quire sandbox`, and the proof that `quire doctor` asks for.

use crate::freeze;
use crate::hands::Hands;
use crate::ladder;
use crate::quire::{EngineError, Quire};
use crate::settings::Resolved;
use crate::snapshot::{self, Seen};
use crate::work::hidden;
use quire_core::Snapshot;
use quire_core::event::Apart;
use quire_sandbox::{FolderView, Proof, Spec};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What came of the command.
#[derive(Debug)]
pub struct Once {
    /// The command's exit code; absent where it was ended with its sandbox.
    pub exit: Option<i32>,
    /// Its output, bounded.
    pub output: String,
    pub changes: Snapshot,
    pub apart: Apart,
    pub folders: Vec<PathBuf>,
}

impl Quire {
    /// Runs a shell command on a copy of the folders and drops what it did. `live` is given output as it comes.
    pub async fn once(
        &self,
        resolved: &Resolved,
        command: &str,
        live: impl Fn(String) + Send + Clone + 'static,
    ) -> Result<Once, EngineError> {
        let scratch = self.home().join("once").join(std::process::id().to_string());
        let failed = |why| EngineError::Home { path: scratch.clone(), why };
        freeze::remove_tree(&scratch).map_err(failed)?;
        std::fs::create_dir_all(scratch.join("out")).map_err(failed)?;
        let done = self.once_in(&scratch, resolved, command, live).await;
        freeze::remove_tree(&scratch).map_err(failed)?;
        done
    }

    async fn once_in(
        &self,
        scratch: &Path,
        resolved: &Resolved,
        command: &str,
        live: impl Fn(String) + Send + Clone + 'static,
    ) -> Result<Once, EngineError> {
        let failed = |why| EngineError::Home { path: scratch.to_owned(), why };
        let mut frozen = vec![];
        for folder in &resolved.folders {
            frozen.push(freeze::freeze(self.home(), folder, &|_, _| {})?);
        }
        let view = |(at, frozen): (&PathBuf, &freeze::Frozen)| FolderView {
            at: at.clone(),
            frozen: frozen.lowers.clone(),
            ignored: frozen.ignored.clone(),
        };
        let limits = &resolved.settings.sandbox;
        let layer = scratch.join("layer");
        let binary = std::env::current_exe().map_err(failed)?;
        let spec = Spec {
            rung: ladder::standing(self.home(), &binary)?.rung,
            state: scratch.join("run"),
            layer: layer.clone(),
            layers: vec![],
            skeleton: vec![],
            out: scratch.join("out"),
            binary,
            folders: resolved.folders.iter().zip(&frozen).map(view).collect(),
            hide: hidden(&limits.hide, self.home()),
            show: limits.show.clone(),
            env: resolved.env.clone(),
            memory_bytes: limits.memory_bytes,
            processes: limits.processes,
            disk_bytes: limits.disk_bytes,
            gate: None,
        };
        let hands = Hands::start(spec, self.home(), &|_, _| ())?;
        let said = hands.command(command, Duration::MAX, live).await;
        hands.discard().map_err(failed)?;
        let layers = [layer];
        let (_, changes) = snapshot::snapshot(&frozen, &layers, &mut Seen::default(), self.store().blobs())?;
        let apart = snapshot::apart(&frozen, &layers)?;
        let (exit, output) = match said {
            Ok(outcome) => (outcome.exit, outcome.text),
            Err(gone) => (None, gone.to_string()),
        };
        Ok(Once { exit, output, changes, apart, folders: resolved.folders.clone() })
    }

    /// Makes sandboxes until one stands, ends it, and returns its kind and why it was no better one.
    pub fn prove_sandbox(&self) -> Result<Proof, EngineError> {
        let binary =
            std::env::current_exe().map_err(|why| EngineError::Home { path: self.home().to_owned(), why })?;
        Ok(ladder::prove(self.home(), &binary)?)
    }
}
