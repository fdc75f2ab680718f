//! `quire discard N`: drops a task. The real folder stays as it is.

use crate::cli::DiscardArgs;
use crate::cmd::{Face, nudge_host, open, print_state};
use crate::error::{Exit, Failure};
use crate::terminal::confirm;
use quire_core::task::Phase;

pub fn discard(args: &DiscardArgs, face: &Face) -> Result<Exit, Failure> {
    let (quire, _) = open()?;
    let id = args.task.task;
    let task = quire.task(id)?;
    let keeps = task.last_accept().is_some();
    if task.phase == Phase::Accepted && !task.is_part() {
        return Err(Failure::new(
            Exit::WrongUse,
            format!("What task {id} did is in your folder."),
            "Nothing was changed.",
            format!("Take it back first: quire undo {id}"),
        ));
    }
    // Twice is as good as once.
    if task.phase != Phase::Discarded {
        if keeps && !args.yes {
            let what = format!(
                "What you accepted of task {id} stays in your folder, and can not be undone once the rest is dropped."
            );
            if !face.can_ask() || !confirm(&format!("{what} Drop the rest?"))? {
                let next =
                    format!("If you mean it: quire discard {id} --yes; to take it back: quire undo {id}");
                return Err(Failure::new(Exit::NeedsYou, what, "Nothing was changed.", next));
            }
        }
        quire.discard(id)?;
        nudge_host(&quire, id)?;
    }
    let folder =
        if keeps { "What you accepted of it stays in your folder." } else { "Your folder has not changed." };
    print_state(&quire.task(id)?, &format!("Task {id} is discarded. {folder}"), face)?;
    Ok(Exit::Done)
}
