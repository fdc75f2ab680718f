//! `quire watch N`: follows a task that is at work, or says where it rests.

use crate::cli::TaskArgs;
use crate::cmd::converse::converse;
use crate::cmd::follow::{self, Past};
use crate::cmd::{Face, open};
use crate::error::{Exit, Failure};
use quire_core::task::Phase;
use quire_engine::keys::Keys;

pub fn watch(args: &TaskArgs, face: &Face) -> Result<Exit, Failure> {
    let (quire, here) = open()?;
    let mut task = quire.task(args.task)?;
    if task.phase != Phase::Working {
        if !converse(&quire, task.id, face)? {
            return follow::end(&quire, task.id, face);
        }
        task = quire.task(args.task)?;
    }
    let keys = Keys::read(&here)?;
    follow::follow(&quire, &task, &keys, &here, Past::ThisTurn, &follow::end, face)
}
