//! `quire revise N "..."`: says what should be different, which begins the next turn, or is heard in the one at work.

use crate::cli::ReviseArgs;
use crate::cmd::follow::{self, Past};
use crate::cmd::{Face, open, wait, words};
use crate::error::{Exit, Failure};
use quire_engine::keys::Keys;

pub fn revise(args: &ReviseArgs, face: &Face) -> Result<Exit, Failure> {
    let words = words(&args.words)?;
    let (quire, here) = open()?;
    let id = args.task.task;
    let keys = Keys::read(&here)?;
    let task = wait(quire.revise(id, &words, &keys, &here))??;
    follow::follow(&quire, &task, &keys, &here, Past::Shown, &follow::end, face)
}
