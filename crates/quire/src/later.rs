//! Commands and options that are promised and not yet here. They are named, so that nobody takes them for a mistake of
//! their own, and each says what helps meanwhile.

use crate::error::{Exit, Failure};
use clap::error::ErrorKind;

const COMMANDS: &[(&str, &str)] = &[
    ("rewind", "Say what should be different: quire revise N \"...\""),
    ("fork", "Start a second task on the folder: quire \"TASK\""),
    ("compare", "Read each of them: quire review N"),
    ("exec", "Start a task and wait for its end: quire run --json \"TASK\""),
];

const ATTEMPTS: &str = "Start the task once for each attempt: quire run -b \"TASK\"";

/// Command, option, what helps.
const OPTIONS: &[(&str, &str, &str)] = &[
    ("run", "-n", ATTEMPTS),
    ("accept", "--commit", "Accept, then commit with git"),
    ("accept", "--branch", "Accept, then commit with git"),
];

/// Returns what to say to a command of a later version, or `None` where there will be none of that name.
pub fn command(word: &str) -> Option<Failure> {
    let (_, instead) = COMMANDS.iter().find(|(name, _)| *name == word)?;
    Some(not_here(&format!("quire {word}"), instead))
}

/// Returns what to say to an option of a later version. `argument` is the one that the grammar refused.
pub fn option(command: &str, argument: &str, kind: ErrorKind) -> Option<Failure> {
    let argument = argument.split([' ', '=']).next().unwrap_or(argument);
    if kind == ErrorKind::ArgumentConflict && command == "run" && argument == "-m" {
        return Some(not_here("several -m", ATTEMPTS));
    }
    let (_, name, instead) = OPTIONS.iter().find(|(c, o, _)| *c == command && *o == argument)?;
    Some(not_here(name, instead))
}

fn not_here(name: &str, instead: &str) -> Failure {
    Failure::new(
        Exit::WrongUse,
        format!("`{name}` is not in this version."),
        "Nothing was started or changed.",
        instead.to_owned(),
    )
}
