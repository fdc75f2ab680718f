//! `quire resume N`: lets a task that waits go on, and returns at once.

use crate::cli::ResumeArgs;
use crate::cmd::converse::{Edited, edit_plan};
use crate::cmd::{Face, open, print_state, to_host, wait};
use crate::error::{Exit, Failure};
use quire_core::event::Why;
use quire_core::task::Phase;
use quire_core::{Task, Usd, view};
use quire_engine::Quire;
use quire_engine::keys::Keys;

pub fn resume(args: &ResumeArgs, face: &Face) -> Result<Exit, Failure> {
    let (quire, here) = open()?;
    let id = args.task.task;
    let task = quire.task(id)?;
    let keys = Keys::read(&here)?;
    let budget = match &args.budget {
        Some(text) => Some(more(text, &task)?),
        None => None,
    };
    match &task.phase {
        Phase::Waiting(Why::Money) if budget.is_none() => {
            let told = view::why_text(&Why::Money, &task);
            return Err(Failure::new(Exit::NeedsYou, told.what, told.safe, told.next));
        }
        Phase::Waiting(_) | Phase::Working => {}
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
    let edited = edited_plan(args, &task, &quire)?;
    let (model, plan) = (args.model.as_deref(), edited.as_ref().map(|edited| edited.text.as_str()));
    let went_on = wait(quire.carry_on(id, budget, model, plan, &keys, &here))?.map_err(Failure::from);
    let task = match &edited {
        Some(edited) => edited.after(went_on),
        None => went_on,
    }?;
    wait(to_host(&quire, &task, &keys, &here))??;
    print_state(&task, &format!("Task {id} goes on. Follow it: quire watch {id}"), face)?;
    Ok(Exit::Done)
}

/// Returns the plan as its person edited it, where they want to.
fn edited_plan(args: &ResumeArgs, task: &Task, quire: &Quire) -> Result<Option<Edited>, Failure> {
    if !args.edit {
        return Ok(None);
    }
    let id = task.id;
    let wrong = |what: String, next: String| Failure::new(Exit::WrongUse, what, "Nothing was changed.", next);
    let Some(plan) = task.plan_to_review() else {
        return Err(wrong(
            format!("Task {id} has no plan that waits to be edited."),
            format!("To let it go on as it is: quire resume {id}"),
        ));
    };
    let edited = edit_plan(quire, id, plan)?;
    let next = format!("Try again, or say what should be different: quire revise {id} \"...\"");
    match edited {
        None => Err(wrong("The editor did not end well, so the plan stays as it was.".to_owned(), next)),
        Some(edited) if edited.text.is_empty() => {
            edited.after(Ok(()))?;
            Err(wrong("The plan was emptied, so nothing begins.".to_owned(), next))
        }
        plan => Ok(plan),
    }
}

/// Returns what the task may cost altogether, from an amount that is added or one that takes the old one's place.
pub fn more(text: &str, task: &Task) -> Result<Usd, Failure> {
    let text = text.trim();
    let (added, amount) = match text.strip_prefix('+') {
        Some(amount) => (true, Usd::parse(amount)),
        None => (false, Usd::parse(text)),
    };
    let wrong = || {
        Failure::new(
            Exit::WrongUse,
            format!("`{text}` is no amount in USD."),
            "Nothing was changed.",
            "Write so much more as +0.50, or so much altogether as 3",
        )
    };
    let amount = amount.filter(|amount| *amount > Usd::ZERO).ok_or_else(wrong)?;
    let before = task.charter.limits.task_usd.unwrap_or_else(|| task.spending().spent());
    Ok(if added { before.plus(amount) } else { amount })
}
