//! `quire resume N`: lets a task that waits go on, and returns at once.

use crate::cli::ResumeArgs;
use crate::cmd::converse::{Edited, edit_plan};
use crate::cmd::{Face, open, print_state, to_host, wait};
use crate::error::{Exit, Failure};
use quire_core::event::Why;
use quire_core::money::Budget;
use quire_core::task::Phase;
use quire_core::{Task, Usd, view};
use quire_engine::Quire;
use quire_engine::keys::Keys;
use quire_engine::settings::budget_of;

pub fn resume(args: &ResumeArgs, face: &Face) -> Result<Exit, Failure> {
    let (quire, here) = open()?;
    let id = args.task.task;
    let task = quire.task(id)?;
    let keys = Keys::read(&here)?;
    let budget = match &args.budget {
        Some(text) => Some(budget(text, task.charter.limits.task_usd)?),
        None => None,
    };
    match &task.phase {
        Phase::Waiting(why @ (Why::Money | Why::Shared { .. })) if budget.is_none() => {
            let told = view::why_text(why, &task);
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

/// Returns what the task may cost altogether: what is written as for a new task takes the old limit's place, and an amount with a plus
/// is added to that.
pub fn budget(text: &str, limit: Option<Usd>) -> Result<Budget, Failure> {
    let text = text.trim();
    let wrong = |what: String| {
        let next = "Write so much more as +0.50, so much altogether as 3, or none for no limit";
        Failure::new(Exit::WrongUse, what, "Nothing was changed.", next)
    };
    let no_amount = || wrong(format!("`{text}` is no amount in USD above 0."));
    let Some(more) = text.strip_prefix('+') else { return budget_of(text).map_err(|_| no_amount()) };
    let Ok(Budget::UpTo(more)) = budget_of(more) else { return Err(no_amount()) };
    match limit {
        Some(limit) => Ok(Budget::UpTo(limit.plus(more))),
        None => Err(wrong("There is no limit in money that could be raised.".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quire_engine::settings::{self, Options, Surroundings};

    /// Each row: what is written, what a task with a limit of 2 USD may then cost, and one that has none, in cents; `None` is no limit,
    /// and what is refused is missing. What a new task takes is the same but for the plus.
    #[test]
    fn a_budget_is_written_for_a_task_that_goes_on_as_for_a_new_one() {
        type Cents = Option<Option<u64>>;
        let rows: [(&str, Cents, Cents); 17] = [
            ("3", Some(Some(300)), Some(Some(300))),
            ("0.50", Some(Some(50)), Some(Some(50))),
            (" 1.5 ", Some(Some(150)), Some(Some(150))),
            ("2e0", Some(Some(200)), Some(Some(200))),
            ("none", Some(None), Some(None)),
            ("+0.50", Some(Some(250)), None),
            ("+3", Some(Some(500)), None),
            ("+none", None, None),
            ("++1", None, None),
            ("+-1", None, None),
            ("+0", None, None),
            ("+", None, None),
            ("0", None, None),
            ("-1", None, None),
            ("much", None, None),
            ("None", None, None),
            ("", None, None),
        ];
        let cents = |usd: u64| Usd(usd * 10_000_000_000);
        let here = Surroundings { env: Default::default(), cwd: "/".into() };
        for (text, limited, unlimited) in rows {
            for (limit, expected) in [(Some(cents(200)), limited), (None, unlimited)] {
                let said = budget(text, limit).ok().map(|budget| match budget {
                    Budget::UpTo(usd) => Some(usd),
                    Budget::Unlimited => None,
                });
                assert_eq!(said, expected.map(|usd| usd.map(cents)), "{text:?} {limit:?}");
            }
            let options = Options { budget: Some(text.trim().to_owned()), ..Options::default() };
            let begun = settings::read(&options, None, &here).ok().map(|settings| settings.limits.task_usd);
            let plain = limited.filter(|_| !text.starts_with('+')).map(|usd| usd.map(cents));
            assert_eq!(begun, plain, "{text:?}, a new task");
        }
    }
}
