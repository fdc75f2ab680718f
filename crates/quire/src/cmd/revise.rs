//! `quire revise N "..."`: says what should be different, which begins the next turn, or is heard in the one at work.

use crate::cli::ReviseArgs;
use crate::cmd::follow::{self, Past};
use crate::cmd::{Face, no_model, open, settings_of, wait, words};
use crate::error::{Exit, Failure};
use quire_engine::keys::Keys;
use quire_engine::models::find_model;

pub fn revise(args: &ReviseArgs, face: &Face) -> Result<Exit, Failure> {
    let words = words(&args.words)?;
    let (quire, here) = open(face)?;
    let id = args.task.task;
    let keys = Keys::read(&here)?;
    quire.say(id, &words)?;
    let mut task = quire.task(id)?;
    if task.charter.model.is_none() {
        let settings = settings_of(&task, None, &here)?;
        let model = wait(find_model(&settings, &keys, &here))?.map_err(|none| no_model(id, &none))?;
        quire.resume(id, Some(model))?;
        task = quire.task(id)?;
    }
    follow::follow(&quire, &task, &keys, &here, Past::Shown, face)
}
