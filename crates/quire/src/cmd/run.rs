//! `quire run "TASK"`: opens a task, hands it to the host, and follows it.

use crate::cli::RunArgs;
use crate::cmd::follow::{self, Finish, Past};
use crate::cmd::{Face, home, open, print_json, print_state, resolve, say_unset, to_host, wait, words};
use crate::error::{Exit, Failure};
use crate::layout::one_line;
use crate::terminal::{clean, print};
use quire_core::Phase;
use quire_core::view::{AttemptRow, Mark, Written};
use quire_engine::keys::Keys;
use quire_engine::settings::{Options, Surroundings};
use quire_engine::{EngineError, Quire};
use serde_json::json;
use std::path::PathBuf;

pub fn run(args: &RunArgs, face: &Face) -> Result<Exit, Failure> {
    let attempts = args.attempts();
    if attempts.len() > 1 {
        return side_by_side(args, &attempts, face);
    }
    let finish: Finish = if args.accept_if_checks_pass { &accepted_if_proved } else { &follow::end };
    begin(&words(&args.task)?, &args.file, &args.options(), args.background, finish, face)
}

/// Opens a task with files handed over, and follows it, or in the background does not.
pub fn begin(
    words: &str,
    files: &[PathBuf],
    options: &Options,
    background: bool,
    finish: Finish<'_>,
    face: &Face,
) -> Result<Exit, Failure> {
    // Before anything is opened: a wrong setting or folder leaves nothing behind.
    let resolved = resolve(options, &Surroundings::capture(), face)?;
    let (quire, here) = open()?;
    let keys = Keys::read(&here)?;
    say_unset(&resolved.settings.secrets, &keys, &here, face);
    let files = quire_engine::attached::read(files, &here.cwd, quire.store().blobs());
    let files = files.map_err(EngineError::from)?;
    let task = wait(quire.begin(&resolved, words, files, &keys, &here))??;
    let id = task.id;
    if background {
        wait(to_host(&quire, &task, &keys, &here))??;
        print_state(&task, &format!("Task {id} is at work. Follow it: quire watch {id}"), face)?;
        return Ok(Exit::Done);
    }
    follow::follow(&quire, &task, &keys, &here, Past::Shown, finish, face)
}

/// Opens several attempts, follows them one after the other while all of them work, and shows them side by side.
fn side_by_side(args: &RunArgs, attempts: &[Option<String>], face: &Face) -> Result<Exit, Failure> {
    if args.accept_if_checks_pass {
        return Err(Failure::new(
            Exit::WrongUse,
            "Which of several attempts is accepted is for you to say.",
            "Nothing was started or changed.",
            "Leave out --accept-if-checks-pass",
        ));
    }
    let words = words(&args.task)?;
    let here = Surroundings::capture();
    let resolved = resolve(&args.options(), &here, face)?;
    let (quire, here) = open()?;
    let keys = Keys::read(&here)?;
    say_unset(&resolved.settings.secrets, &keys, &here, face);
    let files = quire_engine::attached::read(&args.file, &here.cwd, quire.store().blobs());
    let files = files.map_err(EngineError::from)?;
    let models = wait(quire_engine::find_models(&resolved, &args.options(), attempts, &keys, &here))??;
    let ids = quire.open_attempts(&resolved, &models, &words, &files)?;
    for id in &ids {
        let task = quire.task(*id)?;
        wait(to_host(&quire, &task, &keys, &here))??;
    }
    if args.background {
        let numbers: Vec<String> = ids.iter().map(u64::to_string).collect();
        if face.json {
            print_json(json!({"attempts": ids}))?;
        } else {
            let all = numbers.join(", ");
            print(&format!("Tasks {all} are at work. Compare them: quire compare {}\n", ids[0]))?;
        }
        return Ok(Exit::Done);
    }
    for (n, id) in ids.iter().enumerate() {
        if face.is_talkative() {
            follow::say(&format!("Attempt {} of {}, task {id}:", n + 1, ids.len()));
        }
        if !follow::attend(&quire, *id, &keys, &here, face)? {
            return Ok(Exit::Interrupted);
        }
    }
    let compared = quire.compare(&[ids[0]])?;
    if face.json {
        print_json(json!({"attempts": ids, "compare": compared}))?;
    } else {
        print(&crate::cmd::compare::text(&compared, &face.out))?;
    }
    let passes =
        |row: &AttemptRow| row.checks.iter().all(|check| check.passed != Some(false) || check.as_before);
    let waits = compared.attempts.iter().any(|row| matches!(row.mark, Mark::NeedsYou | Mark::Paused));
    Ok(match compared.attempts.iter().any(|row| row.mark == Mark::Ready && passes(row)) {
        true => Exit::Done,
        false if waits => Exit::NeedsYou,
        false => Exit::Failed,
    })
}

/// Shows what came of a task, and accepts it unless something in it needs a person. Scripts read both in one object.
fn accepted_if_proved(quire: &Quire, id: u64, face: &Face) -> Result<Exit, Failure> {
    let is_ready = |exit: Exit| Ok::<_, Failure>(exit == Exit::Done && quire.task(id)?.phase == Phase::Ready);
    if face.json {
        let (mut object, mut exit) = follow::end_json(quire, id)?;
        if is_ready(exit)? {
            match accept_if_proved(quire, id) {
                Ok(Accepted::Nothing) => {}
                Ok(Accepted::Written(written)) => object["accepted"] = json!(written),
                Ok(Accepted::Left(why)) => {
                    object["not_accepted"] = json!(why);
                    exit = Exit::NeedsYou;
                }
                // What came of the task is told all the same.
                Err(failure) => {
                    object["not_accepted"] = json!(failure.what);
                    print_json(object)?;
                    return Err(failure);
                }
            }
        }
        print_json(object)?;
        return Ok(exit);
    }
    let done = follow::end(quire, id, face)?;
    if !is_ready(done)? {
        return Ok(done);
    }
    match accept_if_proved(quire, id)? {
        Accepted::Nothing => {}
        Accepted::Written(written) => {
            print(&clean(&format!("{} Undo: quire undo {id}\n", written.text(home().as_deref()))))?;
        }
        Accepted::Left(why) => {
            return Err(Failure::new(
                Exit::NeedsYou,
                format!("Task {id} was not accepted: {}.", one_line(&why)),
                "Your folder has not changed.",
                format!("Look at it, then accept it yourself: quire review {id}, quire accept {id}"),
            ));
        }
    }
    Ok(Exit::Done)
}

enum Accepted {
    /// Nothing changed.
    Nothing,
    Written(Written),
    /// Something in it needs a person.
    Left(String),
}

fn accept_if_proved(quire: &Quire, id: u64) -> Result<Accepted, Failure> {
    let review = quire.review(id)?;
    if review.is_answer() {
        return Ok(Accepted::Nothing);
    }
    if let Some(why) = review.needs_a_look() {
        return Ok(Accepted::Left(why));
    }
    // Files that can run programs need a yes that nobody gave: then it waits.
    let all = quire_engine::Choice { seen: Some(review.seen.to_string()), ..quire_engine::Choice::default() };
    Ok(Accepted::Written(quire.accept(id, &all)?))
}
