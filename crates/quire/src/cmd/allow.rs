//! `quire allow N [HOST[:PORT]]` and `quire deny N [HOST[:PORT]]`: answer what a task asks. A task that works hears of it at
//! once, one that waited for nothing else goes on.

use crate::cli::AnswerArgs;
use crate::cmd::{Face, open, print_state, wait};
use crate::error::{Exit, Failure};
use quire_core::Task;
use quire_core::net::address;
use quire_core::task::{Phase, Reach};
use quire_core::view;
use quire_engine::keys::Keys;

pub fn answer(args: &AnswerArgs, (allow, once): (bool, bool), face: &Face) -> Result<Exit, Failure> {
    let (quire, here) = open()?;
    let id = args.task.task;
    let task = quire.task(id)?;
    if task.phase == Phase::Discarded {
        return Err(nothing(format!("Task {id} was discarded."), "See all tasks: quire ls".to_owned()));
    }
    let (number, asked) = chosen(&task, args.host.as_deref(), allow)?;
    let to = address(&asked.host, asked.port);
    let waited = task.phase != Phase::Working;
    let task = wait(quire.settle(id, number, (allow, once), &Keys::read(&here)?, &here))??;
    let is_between = matches!(task.phase, Phase::Ready | Phase::Accepted);
    let what = match (allow, once) {
        (true, true) if is_between => format!("Task {id} may reach {to} in its next turn alone."),
        (true, true) => format!("Task {id} may reach {to} until this turn ends."),
        (true, false) => format!("Task {id} may reach {to}."),
        (false, _) => format!("Task {id} may not reach {to}."),
    };
    let next = match (&task.phase, task.pressing().count()) {
        (Phase::Working, 0) if waited => format!(" It goes on. Follow it: quire watch {id}"),
        (Phase::Ready | Phase::Accepted, _) => {
            format!(" It is told with its next turn: quire revise {id} \"...\"")
        }
        (_, 0) => String::new(),
        (_, more) => format!(" It asks {} more: quire ls", view::count(more as u64, "thing")),
    };
    print_state(&task, &format!("{what}{next}"), face)?;
    Ok(Exit::Done)
}

/// Returns the question that is meant: the one that is named, or the only one that is open.
fn chosen<'t>(task: &'t Task, named: Option<&str>, allow: bool) -> Result<(u32, &'t Reach), Failure> {
    let id = task.id;
    let verb = if allow { "allow" } else { "deny" };
    let all = || (0u32..).zip(task.reaches.iter());
    let open: Vec<_> = all().filter(|(_, reach)| reach.is_open()).collect();
    let list = |of: &[(u32, &Reach)]| {
        let names = of.iter().map(|(_, reach)| address(&reach.host, reach.port));
        names.collect::<Vec<_>>().join(", ")
    };
    let name_one = format!("Name one: quire {verb} {id} HOST:PORT");
    let Some(named) = named else {
        return match open.as_slice() {
            [one] => Ok(*one),
            [] => Err(nothing(format!("Task {id} asks nothing."), "See all tasks: quire ls".to_owned())),
            several => {
                Err(nothing(format!("Task {id} asks for several hosts: {}.", list(several)), name_one))
            }
        };
    };
    let meant: Vec<_> = all().filter(|(_, reach)| is_named(reach, named)).collect();
    // An answer may be changed; but a name without a port means first what is still open.
    let mut still_open: Vec<_> = meant.iter().copied().filter(|(_, reach)| reach.is_open()).collect();
    if let Some(usual) = still_open.iter().copied().find(|(_, reach)| reach.port == 443) {
        still_open = vec![usual];
    }
    match (still_open.as_slice(), meant.as_slice()) {
        ([one], _) | ([], [one]) => Ok(*one),
        ([], []) => {
            let next = match all().next() {
                None => "See all tasks: quire ls".to_owned(),
                Some(_) => format!("It asked for: {}.", list(&all().collect::<Vec<_>>())),
            };
            Err(nothing(format!("Task {id} did not ask for `{named}`."), next))
        }
        ([], several) | (several, _) => {
            Err(nothing(format!("Task {id} asks for several ports of it: {}.", list(several)), name_one))
        }
    }
}

fn is_named(reach: &Reach, named: &str) -> bool {
    let named = named.to_ascii_lowercase();
    named == reach.host || named == address(&reach.host, reach.port) || named == format!("[{}]", reach.host)
}

fn nothing(what: String, next: String) -> Failure {
    Failure::new(Exit::WrongUse, what, "Nothing was changed.", next)
}
