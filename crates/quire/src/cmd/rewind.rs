//! `quire rewind N --to STEP` takes a task back to where it stood after a step; `quire fork N --at STEP` begins another one there.
//! Without a step both list those that there are.

use crate::cli::{ForkArgs, RewindArgs};
use crate::cmd::{Face, nudge_host, open, print_json, print_standing, print_state};
use crate::error::{Exit, Failure};
use crate::layout::one_line;
use crate::pager;
use quire_core::Task;
use quire_core::task::Phase;
use quire_core::view::{Mark, StepRow, steps};
use quire_engine::Begun;
use serde_json::json;
use std::time::Instant;

pub fn rewind(args: &RewindArgs, face: &Face) -> Result<Exit, Failure> {
    let (quire, _) = open()?;
    let id = args.task.task;
    let Some(to) = args.to else { return list(&quire.task(id)?, "rewind", "--to", face) };
    quire.rewind(id, to)?;
    nudge_host(&quire, id)?;
    let task = quire.task(id)?;
    let text = match task.version().filter(|_| matches!(task.phase, Phase::Ready | Phase::Accepted)) {
        Some(version) => format!(
            "Task {id} stands where it was at version {}; it is version {} now. Look at it: quire review {id}. \
             Ask for changes: quire revise {id} \"...\"",
            version.again.unwrap_or(version.number),
            version.number
        ),
        None => format!(
            "Task {id} {}. Say what should be different: quire revise {id} \"...\". Or let it go on from there: quire resume {id}",
            quire_core::view::state(&task)
        ),
    };
    print_state(&task, &text, face)?;
    Ok(Exit::Done)
}

pub fn fork(args: &ForkArgs, face: &Face) -> Result<Exit, Failure> {
    let (quire, _) = open()?;
    let from = args.task.task;
    let Some(at) = args.at else { return list(&quire.task(from)?, "fork", "--at", face) };
    let begun = Instant::now();
    let Begun { task: id, mark, state } = quire.fork(from, at)?;
    tracing::debug!(micros = begun.elapsed().as_micros() as u64, "forked");
    let next = match mark {
        Mark::Ready => format!("Look at it: quire review {id}. Ask for changes: quire revise {id} \"...\""),
        _ => format!(
            "Say what it should do: quire revise {id} \"...\". Or let it go on from there: quire resume {id}"
        ),
    };
    print_standing(id, mark, &state, &format!("Task {id} begins where task {from} stood. {next}"), face)?;
    Ok(Exit::Done)
}

fn list(task: &Task, command: &str, option: &str, face: &Face) -> Result<Exit, Failure> {
    let rows = steps(task);
    if face.json {
        print_json(json!({"task": task.id, "steps": rows}))?;
        return Ok(Exit::Done);
    }
    let line = |row: &StepRow| {
        let name = row.version.map_or_else(|| row.step.to_string(), |version| format!("v{version}"));
        let mark = if row.changed && row.version.is_none() { "+" } else { " " };
        format!("{name:>5} {mark} {}\n", one_line(&row.did))
    };
    let mut text: String = rows.iter().map(line).collect();
    text.push_str(&match rows.last() {
        None => format!("Task {} has no step yet that it could be taken back to.\n", task.id),
        Some(last) => {
            format!("\n+ changed files. Choose one: quire {command} {} {option} {}\n", task.id, last.step)
        }
    });
    pager::show(&text, &face.out)?;
    Ok(Exit::Done)
}
