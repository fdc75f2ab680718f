//! `quire run "TASK"`: opens a task, hands it to the host, and follows it.

use crate::cli::RunArgs;
use crate::cmd::follow::{self, Past};
use crate::cmd::{Face, open, print_state, resolve, say_unset, to_host, wait, words};
use crate::error::{Exit, Failure};
use quire_engine::keys::Keys;
use quire_engine::settings::{Options, Surroundings};

pub fn run(args: &RunArgs, face: &Face) -> Result<Exit, Failure> {
    begin(&words(&args.task)?, &args.options(), args.background, face)
}

/// Opens a task and follows it, or in the background does not.
pub fn begin(words: &str, options: &Options, background: bool, face: &Face) -> Result<Exit, Failure> {
    // Before anything is opened: a wrong setting or folder leaves nothing behind.
    let resolved = resolve(options, &Surroundings::capture(), face)?;
    let (quire, here) = open(face)?;
    let keys = Keys::read(&here)?;
    say_unset(&resolved.settings.secrets, &keys, &here, face);
    let task = wait(quire.begin(&resolved, words, &keys, &here))??;
    let id = task.id;
    if background {
        wait(to_host(&quire, &task, &keys, &here))??;
        print_state(&task, &format!("Task {id} is at work. Follow it: quire watch {id}"), face)?;
        return Ok(Exit::Done);
    }
    follow::follow(&quire, &task, &keys, &here, Past::Shown, face)
}
