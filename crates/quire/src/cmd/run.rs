//! `quire run "TASK"`: opens a task, hands it to the host, and follows it.

use crate::cli::RunArgs;
use crate::cmd::follow::{self, Finish, Past};
use crate::cmd::{Face, home, open, print_json, print_state, resolve, say_unset, to_host, wait, words};
use crate::error::{Exit, Failure};
use crate::layout::one_line;
use crate::terminal::{clean, print};
use quire_core::Phase;
use quire_core::view::Written;
use quire_engine::Quire;
use quire_engine::keys::Keys;
use quire_engine::settings::{Options, Surroundings};
use serde_json::json;
use std::path::PathBuf;

pub fn run(args: &RunArgs, face: &Face) -> Result<Exit, Failure> {
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
    let task = wait(quire.begin(&resolved, words, files, &keys, &here))??;
    let id = task.id;
    if background {
        wait(to_host(&quire, &task, &keys, &here))??;
        print_state(&task, &format!("Task {id} is at work. Follow it: quire watch {id}"), face)?;
        return Ok(Exit::Done);
    }
    follow::follow(&quire, &task, &keys, &here, Past::Shown, finish, face)
}

/// Shows what came of a task, and accepts it unless something in it needs a person. Scripts read both in one object.
fn accepted_if_proved(quire: &Quire, id: u64, face: &Face) -> Result<Exit, Failure> {
    let is_ready = |exit: Exit| Ok::<_, Failure>(exit == Exit::Done && quire.task(id)?.phase == Phase::Ready);
    if face.json {
        let (mut object, mut exit) = follow::end_json(quire, id)?;
        if is_ready(exit)? {
            match accept_if_proved(quire, id)? {
                Accepted::Nothing => {}
                Accepted::Written(written) => object["accepted"] = json!(written),
                Accepted::Left(why) => {
                    object["not_accepted"] = json!(why);
                    exit = Exit::NeedsYou;
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
    if review.files.is_empty() {
        return Ok(Accepted::Nothing);
    }
    if let Some(why) = review.needs_a_look() {
        return Ok(Accepted::Left(why));
    }
    // Files that can run programs need a yes that nobody gave: then it waits.
    let all = quire_engine::Choice { seen: Some(review.seen.to_string()), ..quire_engine::Choice::default() };
    Ok(Accepted::Written(quire.accept(id, &all)?))
}
