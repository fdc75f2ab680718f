//! `quire run "TASK"`: opens a task, hands it to the host, and follows it.

use crate::cli::RunArgs;
use crate::cmd::follow::{self, Past};
use crate::cmd::{Face, home, open, print_json, print_state, resolve, say_unset, to_host, wait, words};
use crate::error::{Exit, Failure};
use crate::layout::one_line;
use crate::terminal::{clean, print};
use quire_core::Phase;
use quire_engine::Quire;
use quire_engine::keys::Keys;
use quire_engine::settings::{Options, Surroundings};
use serde_json::json;

pub fn run(args: &RunArgs, face: &Face) -> Result<Exit, Failure> {
    let (quire, id, done) = begin(&words(&args.task)?, &args.options(), args.background, face)?;
    if args.accept_if_checks_pass && done == Exit::Done && quire.task(id)?.phase == Phase::Ready {
        return accept_if_proved(&quire, id, face);
    }
    Ok(done)
}

/// Opens a task and follows it, or in the background does not. Returns it with what came of that.
pub fn begin(
    words: &str,
    options: &Options,
    background: bool,
    face: &Face,
) -> Result<(Quire, u64, Exit), Failure> {
    // Before anything is opened: a wrong setting or folder leaves nothing behind.
    let resolved = resolve(options, &Surroundings::capture(), face)?;
    let (quire, here) = open(face)?;
    let keys = Keys::read(&here)?;
    say_unset(&resolved.settings.secrets, &keys, &here, face);
    let task = wait(quire.begin(&resolved, words, &keys, &here))??;
    let id = task.id;
    if background {
        wait(to_host(&quire, &task, &keys, &here))??;
        print_state(&task, &format!("Task {id} is at work. Follow it: quire watch {id}"), face)?;
        return Ok((quire, id, Exit::Done));
    }
    let done = follow::follow(&quire, &task, &keys, &here, Past::Shown, face)?;
    Ok((quire, id, done))
}

/// Accepts what was followed to its end, unless something in it needs a person.
fn accept_if_proved(quire: &Quire, id: u64, face: &Face) -> Result<Exit, Failure> {
    let review = quire.review(id)?;
    if review.files.is_empty() {
        return Ok(Exit::Done);
    }
    if let Some(why) = review.needs_a_look() {
        return Err(Failure::new(
            Exit::NeedsYou,
            format!("Task {id} was not accepted: {}.", one_line(&why)),
            "Your folder has not changed.",
            format!("Look at it, then accept it yourself: quire review {id}, quire accept {id}"),
        ));
    }
    // Files that can run programs need a yes that nobody gave: then it waits.
    let all = quire_engine::Choice { seen: Some(review.seen.to_string()), ..quire_engine::Choice::default() };
    let written = quire.accept(id, &all)?;
    if face.json {
        print_json(json!({"task": id, "accepted": written}))?;
    } else {
        print(&clean(&format!("{} Undo: quire undo {id}\n", written.text(home().as_deref()))))?;
    }
    Ok(Exit::Done)
}
