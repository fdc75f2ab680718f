//! One command in a fresh sandbox, and what it would change: `quire sandbox`, and the proof that `quire doctor` asks for.

use crate::beside::{self, Whose};
use crate::freeze;
use crate::hands::Hands;
use crate::keys::Secret;
use crate::ladder;
use crate::quire::{EngineError, Quire};
use crate::reach::{Reach, Way};
use crate::settings::Resolved;
use crate::snapshot::{self, Seen};
use crate::work::{COPIED_BYTES_MAX, hidden};
use quire_core::Snapshot;
use quire_core::event::{Apart, Connection, Event};
use quire_sandbox::{Proof, Spec};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
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
    /// What it reached, and what was refused.
    pub reached: Vec<Connection>,
    pub folders: Vec<PathBuf>,
}

/// Makes a directory for one command, which no other has, after it removed those of killed ones. It is locked until the file
/// that this returns is dropped.
pub(crate) fn begin(home: &Path) -> Result<(PathBuf, File), EngineError> {
    static BEGUN: AtomicU32 = AtomicU32::new(0);
    let all = home.join("once");
    let failed = |why| EngineError::Home { path: all.clone(), why };
    sweep(home).and_then(|()| std::fs::create_dir_all(&all)).map_err(failed)?;
    loop {
        // The page's host has several at once.
        let number = BEGUN.fetch_add(1, Ordering::Relaxed);
        let scratch = all.join(format!("{}-{number}", std::process::id()));
        match make(&scratch) {
            Ok(Some(held)) => return Ok((scratch, held)),
            Ok(None) => {}
            Err(why) => return Err(failed(why)),
        }
    }
}

/// Makes a directory and locks it; `None` where it is another's, or was taken away for one of a killed command.
fn make(scratch: &Path) -> io::Result<Option<File>> {
    match std::fs::create_dir(scratch) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        made => made?,
    }
    let held = match File::open(scratch) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        held => held?,
    };
    flock(&held, FlockOperation::LockShared)?;
    // Another command's sweep may have come in between.
    let there = std::fs::metadata(scratch).map(|meta| (meta.dev(), meta.ino())).ok();
    let here = held.metadata()?;
    Ok((there == Some((here.dev(), here.ino()))).then_some(held))
}

/// Ends and removes what killed commands left. What cannot be removed holds nobody up.
pub(crate) fn sweep(home: &Path) -> io::Result<()> {
    each(home, &mut |scratch, alive| {
        if alive {
            return Ok(());
        }
        let removed = quire_sandbox::bury(&scratch.join("run")).and_then(|()| freeze::remove_tree(scratch));
        if let Err(error) = removed {
            tracing::warn!(left = %scratch.display(), %error, "what a killed command left cannot be removed");
        }
        Ok(())
    })
}

/// Returns whether a command runs in a sandbox of its own.
pub(crate) fn any(home: &Path) -> io::Result<bool> {
    let mut any = false;
    each(home, &mut |_, alive| {
        any |= alive;
        Ok(())
    })?;
    Ok(any)
}

/// Returns the state directories of all commands' sandboxes.
pub(crate) fn states(home: &Path) -> io::Result<Vec<PathBuf>> {
    let mut states = vec![];
    each(home, &mut |scratch, _| {
        states.push(scratch.join("run"));
        Ok(())
    })?;
    Ok(states)
}

/// Visits the directory of every command, with whether its process lives.
fn each(home: &Path, visit: &mut dyn FnMut(&Path, bool) -> io::Result<()>) -> io::Result<()> {
    let all = match std::fs::read_dir(home.join("once")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        all => all?,
    };
    for scratch in all {
        let scratch = scratch?.path();
        let held = match File::open(&scratch) {
            Ok(held) => held,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(left = %scratch.display(), %error, "what a killed command left cannot be opened");
                }
                continue;
            }
        };
        let alive = flock(&held, FlockOperation::NonBlockingLockExclusive).is_err();
        visit(&scratch, alive)?;
    }
    Ok(())
}

impl Quire {
    /// Runs a shell command on a copy of the folders and drops what it did. Where more than a few gigabytes would have to be
    /// copied first it is an error, unless `copies_all`. `live` is given output as it comes.
    pub async fn once(
        &self,
        (resolved, copies_all): (&Resolved, bool),
        command: &str,
        secret: impl Fn(&str) -> Option<Secret>,
        live: impl Fn(String) + Send + Clone + 'static,
    ) -> Result<Once, EngineError> {
        let (scratch, _held) = begin(self.home())?;
        let failed = |why| EngineError::Home { path: scratch.clone(), why };
        std::fs::create_dir_all(scratch.join("out")).map_err(failed)?;
        let most = if copies_all { u64::MAX } else { COPIED_BYTES_MAX };
        let done = self.once_in(&scratch, (resolved, most), command, secret, live).await;
        freeze::remove_tree(&scratch).map_err(failed)?;
        done
    }

    async fn once_in(
        &self,
        scratch: &Path,
        (resolved, most): (&Resolved, u64),
        command: &str,
        secret: impl Fn(&str) -> Option<Secret>,
        live: impl Fn(String) + Send + Clone + 'static,
    ) -> Result<Once, EngineError> {
        let failed = |why| EngineError::Home { path: scratch.to_owned(), why };
        let mut frozen = vec![];
        for folder in &resolved.folders {
            frozen.push(freeze::freeze_at_most(self.home(), folder, most, &|_, _| {})?);
        }
        let limits = &resolved.settings.sandbox;
        let whose = Whose::new(self.home(), &resolved.folders, &limits.hide, &resolved.env);
        whose.freeze(&mut frozen, None, most, &|_, _| {})?;
        let layer = scratch.join("layer");
        let binary = std::env::current_exe().map_err(failed)?;
        let reach = Reach::default();
        let way = reach.way(&resolved.charter(None), &std::process::id().to_string(), secret)?;
        let rung = ladder::standing(self.home(), &binary)?.rung;
        let shown = beside::Given::of(rung, &resolved.folders, &frozen);
        let env = shown.env_upon(resolved.env.iter().chain(way.iter().flat_map(|way| &way.env)));
        let spec = Spec {
            rung,
            state: scratch.join("run"),
            layer: layer.clone(),
            layers: vec![],
            skeleton: vec![],
            out: scratch.join("out"),
            given: None,
            binary,
            folders: shown.folders,
            hide: hidden(&limits.hide, self.home()),
            show: limits.show.iter().cloned().chain(shown.leads).collect(),
            env,
            memory_bytes: limits.memory_bytes,
            processes: limits.processes,
            disk_bytes: limits.disk_bytes,
            gate: way.as_ref().map(Way::door),
        };
        let mut hands = Hands::start(spec, self.home(), &|_, _| ())?;
        if let Some(way) = way {
            hands.open(way.egress)?;
        }
        let said = hands.command(command, Duration::MAX, live).await;
        hands.discard().map_err(failed)?;
        let layers = [layer];
        let (_, changes) = snapshot::snapshot(&frozen, &layers, &mut Seen::default(), self.store().blobs())?;
        let apart = snapshot::apart(&frozen, &layers)?;
        let (exit, output) = match said {
            Ok(outcome) => (outcome.exit, outcome.text),
            Err(gone) => (None, gone.to_string()),
        };
        let reached = match reach.event() {
            Some(Event::Reached { connections }) => connections,
            _ => vec![],
        };
        Ok(Once { exit, output, changes, apart, reached, folders: resolved.folders.clone() })
    }

    /// Makes sandboxes until one stands, ends it, and returns its kind and why it was no better one.
    pub fn prove_sandbox(&self) -> Result<Proof, EngineError> {
        let binary =
            std::env::current_exe().map_err(|why| EngineError::Home { path: self.home().to_owned(), why })?;
        Ok(ladder::prove(self.home(), &binary)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two accepts of parts on the page had one directory, and each removed the other's sandbox.
    #[test]
    fn two_commands_of_one_process_have_a_directory_each() {
        let home = tempfile::tempdir().unwrap();
        let (one, held) = begin(home.path()).unwrap();
        std::fs::write(one.join("mine"), "").unwrap();
        let (other, _held) = begin(home.path()).unwrap();
        assert!(one != other && one.join("mine").exists());
        drop(held);
        sweep(home.path()).unwrap();
        assert!(!one.exists() && other.exists());
    }

    /// One left-over kept every sandbox from starting.
    #[test]
    fn what_cannot_be_removed_holds_nobody_up() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("once")).unwrap();
        std::os::unix::fs::symlink("left", home.path().join("once/left")).unwrap();
        let (scratch, _held) = begin(home.path()).unwrap();
        assert!(scratch.is_dir());
    }
}
