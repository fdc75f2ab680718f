//! `quire answer N [ANSWER...]`: answers what a task's agent asks. A task that works is told with its next request, one that
//! waited goes on, and one that has a version makes the next, unless the answer is what it assumed. Without an answer, at a
//! terminal, each question is asked there.

use crate::cli::AnswersArgs;
use crate::cmd::converse::{self, Said};
use crate::cmd::{Face, open, print_state, wait};
use crate::error::{Exit, Failure};
use quire_core::event::Why;
use quire_core::task::Phase;
use quire_core::{Task, view};
use quire_engine::keys::Keys;

pub fn answer(args: &AnswersArgs, face: &Face) -> Result<Exit, Failure> {
    let (quire, here) = open()?;
    let id = args.task.task;
    let before = quire.task(id)?;
    if before.phase == Phase::Discarded {
        return Err(nothing(format!("Task {id} was discarded."), "See all tasks: quire ls".to_owned()));
    }
    let answers =
        if args.answers.is_empty() { asked_here(&before, face)? } else { read(&args.answers, &before)? };
    let task = wait(quire.settle_agent(id, &answers, &Keys::read(&here)?, &here))??;
    print_state(&task, &came_of(&before, &task), face)?;
    Ok(Exit::Done)
}

/// Returns what the answers brought about.
fn came_of(before: &Task, after: &Task) -> String {
    let id = after.id;
    let watch = format!("Follow it: quire watch {id}");
    match (&before.phase, &after.phase) {
        (Phase::Working, _) => format!("Task {id} is told with its next request."),
        (Phase::Waiting(Why::Question), Phase::Waiting(Why::Question)) => {
            let more = view::count(after.awaited().count() as u64, "answer");
            format!("Task {id} waits for {more} more: quire answer {id}")
        }
        (Phase::Waiting(_), Phase::Working) => format!("Task {id} goes on. {watch}"),
        (_, Phase::Working) => format!("Task {id} makes it anew with that. {watch}"),
        (Phase::Waiting(_), _) => format!("Task {id} is told when it goes on: quire resume {id}"),
        _ => format!("Task {id} had assumed that; nothing is to be done."),
    }
}

/// Returns the answers that are typed at the terminal.
fn asked_here(task: &Task, face: &Face) -> Result<Vec<Said>, Failure> {
    let (id, open) = (task.id, view::agent_questions(task));
    if open.is_empty() {
        return Err(nothing(format!("Task {id} asks nothing."), "See all tasks: quire ls".to_owned()));
    }
    if !face.can_ask() {
        let commands: Vec<String> = open.iter().map(|question| question.answer.clone()).collect();
        return Err(Failure::new(
            Exit::NeedsYou,
            format!("Task {id} asks {}.", view::count(open.len() as u64, "question")),
            "Nothing was changed.",
            format!("Read: quire ls. Answer: {}", commands.join(" · ")),
        ));
    }
    converse::answers(&open, face)
}

/// Returns what each argument answers: `2=blue` question 2, `2=` what was assumed there, and words alone the only question.
fn read(arguments: &[String], task: &Task) -> Result<Vec<Said>, Failure> {
    let id = task.id;
    let open = view::agent_questions(task);
    let which = || match open.as_slice() {
        [] => "See all tasks: quire ls".to_owned(),
        open => {
            let numbers: Vec<String> = open.iter().map(|q| format!("{}=\"...\"", q.question)).collect();
            format!("It asks: quire answer {id} {}", numbers.join(" "))
        }
    };
    let one = |argument: &String| {
        let numbered = argument.split_once('=').and_then(|(n, words)| Some((n.parse::<u32>().ok()?, words)));
        match (numbered, open.as_slice()) {
            (Some((number, words)), _) if task.asking(number).is_some() => {
                Ok((number, Some(words.trim().to_owned()).filter(|words| !words.is_empty())))
            }
            // To the only question an answer may well look so.
            (Some(_), [only]) if arguments.len() == 1 => {
                Ok((only.question, Some(argument.trim().to_owned())))
            }
            (Some((number, _)), _) => {
                Err(nothing(format!("Task {id} did not ask question {number}."), which()))
            }
            (None, [only]) if arguments.len() == 1 => Ok((only.question, Some(argument.trim().to_owned()))),
            (None, []) => Err(nothing(format!("Task {id} asks nothing now."), which())),
            (None, _) => {
                Err(nothing(format!("`{argument}` does not say which question it answers."), which()))
            }
        }
    };
    arguments.iter().map(one).collect()
}

fn nothing(what: String, next: String) -> Failure {
    Failure::new(Exit::WrongUse, what, "Nothing was changed.", next)
}
