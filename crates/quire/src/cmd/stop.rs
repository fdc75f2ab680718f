//! `quire stop N`: pauses a task. Nothing that it did is lost.

use crate::cli::TaskArgs;
use crate::cmd::{Face, nudge_host, open, print_state};
use crate::error::{Exit, Failure};
use crate::terminal::clean;
use quire_core::event::Why;
use quire_core::task::Phase;
use quire_core::view;

pub fn stop(args: &TaskArgs, face: &Face) -> Result<Exit, Failure> {
    let (quire, _) = open()?;
    let id = args.task;
    let task = quire.task(id)?;
    match task.phase {
        Phase::Working => {
            quire.pause(id)?;
            nudge_host(&quire, id)?;
        }
        Phase::Waiting(_) => {}
        Phase::Ready | Phase::Accepted | Phase::Discarded => {
            let what = format!("Task {id} is not at work: it is {}.", view::state(&task));
            return Err(Failure::new(
                Exit::WrongUse,
                what,
                "Nothing was changed.",
                "See all tasks: quire ls",
            ));
        }
    }
    let task = quire.task(id)?;
    let text = match &task.phase {
        Phase::Waiting(why) if *why != Why::Person => {
            format!("Task {id} was not at work: {}. {}", view::state(&task), view::why_text(why, &task).next)
        }
        _ => format!("Task {id} is paused. Go on: quire resume {id}"),
    };
    print_state(&task, &clean(&text), face)?;
    Ok(Exit::Done)
}
