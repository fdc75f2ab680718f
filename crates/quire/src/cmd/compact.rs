//! `quire compact N`: before its next request, a task's conversation with the model is cut short: its person's words stay, and a
//! ledger takes the place of the rest.

use crate::cli::TaskArgs;
use crate::cmd::{Face, nudge_host, open, print_state};
use crate::error::{Exit, Failure};
use quire_core::task::Phase;

pub fn compact(args: &TaskArgs, face: &Face) -> Result<Exit, Failure> {
    let (quire, _) = open()?;
    let id = args.task;
    quire.compact(id)?;
    nudge_host(&quire, id)?;
    let task = quire.task(id)?;
    let when = if task.phase == Phase::Working { "before its next request" } else { "when it goes on" };
    print_state(
        &task,
        &format!("The conversation of task {id} is cut short {when}. Its log keeps all of it."),
        face,
    )?;
    Ok(Exit::Done)
}
