//! `quire revise N "..."`: says what should be different, which begins the next turn, or is heard in the one at work. Notes that
//! were not sent go with it; `quire send N` sends them alone. With `--fit` the agent brings its version and what the person did in
//! their folder meanwhile together.

use crate::cli::{ReviseArgs, TaskArgs};
use crate::cmd::follow::{self, Past};
use crate::cmd::{Face, open, wait, words};
use crate::error::{Exit, Failure};
use quire_engine::keys::Keys;
use quire_engine::{EngineError, attached};
use std::path::PathBuf;

pub fn revise(args: &ReviseArgs, face: &Face) -> Result<Exit, Failure> {
    let words = args.words.as_deref().map(words).transpose()?;
    say(args.task.task, words.as_deref(), &args.file, args.fit, face)
}

pub fn send(args: &TaskArgs, face: &Face) -> Result<Exit, Failure> {
    say(args.task, None, &[], false, face)
}

fn say(id: u64, words: Option<&str>, files: &[PathBuf], fit: bool, face: &Face) -> Result<Exit, Failure> {
    let (quire, here) = open()?;
    let keys = Keys::read(&here)?;
    let files = attached::read(files, &here.cwd, quire.store().blobs()).map_err(EngineError::from)?;
    let task = match fit {
        true => wait(quire.fit_around(id, words, &keys, &here))??,
        false => wait(quire.revise(id, words, files, &keys, &here))??,
    };
    follow::follow(&quire, &task, &keys, &here, Past::Shown, &follow::end, face)
}
