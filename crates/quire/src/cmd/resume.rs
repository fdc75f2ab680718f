//! `quire resume N`: lets a task that waits go on, and returns at once.

use crate::cli::ResumeArgs;
use crate::cmd::{Face, no_model, open, print_state, settings_of, to_host, wait};
use crate::error::{Exit, Failure};
use quire_core::task::Phase;
use quire_core::view;
use quire_engine::keys::Keys;
use quire_engine::models::find_model;

pub fn resume(args: &ResumeArgs, face: &Face) -> Result<Exit, Failure> {
    let (quire, here) = open(face)?;
    let id = args.task.task;
    let task = quire.task(id)?;
    let keys = Keys::read(&here)?;
    match &task.phase {
        Phase::Waiting(_) => {
            let mut model = None;
            if args.model.is_some() || task.charter.model.is_none() {
                let settings = settings_of(&task, args.model.as_deref(), &here)?;
                let found = wait(find_model(&settings, &keys, &here))?;
                model = Some(found.map_err(|none| no_model(id, &none))?);
            }
            quire.resume(id, model)?;
        }
        // After a restart of the machine no host may have come to it yet.
        Phase::Working => {}
        Phase::Ready | Phase::Accepted | Phase::Discarded => {
            return Err(Failure::new(
                Exit::WrongUse,
                format!("Task {id} does not wait to go on: it is {}.", view::state(&task)),
                "Nothing was changed.",
                if task.phase == Phase::Discarded {
                    "Start a new one: quire \"TASK\"".to_owned()
                } else {
                    format!("To ask for changes: quire revise {id} \"...\"")
                },
            ));
        }
    }
    let task = quire.task(id)?;
    wait(to_host(&quire, &task, &keys, &here))??;
    print_state(&task, &format!("Task {id} goes on. Follow it: quire watch {id}"), face)?;
    Ok(Exit::Done)
}
