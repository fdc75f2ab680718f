//! `quire resume N`: lets a task that waits go on, and returns at once.

use crate::cli::ResumeArgs;
use crate::cmd::{Face, no_model, open, print_state, settings_of, to_host, wait};
use crate::error::{Exit, Failure};
use quire_core::event::Why;
use quire_core::task::Phase;
use quire_core::{Task, Usd, view};
use quire_engine::keys::Keys;
use quire_engine::models::find_model;

pub fn resume(args: &ResumeArgs, face: &Face) -> Result<Exit, Failure> {
    let (quire, here) = open(face)?;
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
        Phase::Waiting(why) => {
            let day = match why {
                // What the settings say now counts: there the limit was set.
                Why::Day { .. } => settings_of(&task, None, &here)?.limits.day_usd,
                _ => None,
            };
            if budget.is_some() || day.is_some_and(|day| Some(day) != task.charter.limits.day_usd) {
                quire.budget(id, budget, day)?;
            }
            let mut model = None;
            if args.model.is_some() || task.charter.model.is_none() {
                let settings = settings_of(&task, args.model.as_deref(), &here)?;
                let found = wait(find_model(&settings, &keys, &here))?;
                model = Some(found.map_err(|none| no_model(id, &none))?);
            }
            quire.resume(id, model)?;
        }
        Phase::Working => {
            if budget.is_some() {
                quire.budget(id, budget, None)?;
            }
        }
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

/// Returns what the task may cost altogether, from an amount that is added or one that takes the old one's place.
fn more(text: &str, task: &Task) -> Result<Usd, Failure> {
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
