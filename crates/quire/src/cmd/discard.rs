//! `quire discard N`: drops a task. The real folder stays as it is.

use crate::cli::TaskArgs;
use crate::cmd::{Face, nudge_host, open, print_state};
use crate::error::{Exit, Failure};
use quire_core::task::Phase;

pub fn discard(args: &TaskArgs, face: &Face) -> Result<Exit, Failure> {
    let (quire, _) = open(face)?;
    let id = args.task;
    let task = quire.task(id)?;
    if task.last_accept().is_some() {
        return Err(Failure::new(
            Exit::WrongUse,
            format!("What task {id} did is in your folder."),
            "Nothing was changed.",
            format!("Take it back first: quire undo {id}"),
        ));
    }
    // Twice is as good as once.
    if task.phase != Phase::Discarded {
        quire.discard(id)?;
        nudge_host(&quire, id)?;
    }
    print_state(&quire.task(id)?, &format!("Task {id} is discarded. Your folder has not changed."), face)?;
    Ok(Exit::Done)
}
