//! Commands that are promised and not yet here. They are named, so that nobody takes them for a mistake of
//! their own, and each says what helps meanwhile.

use crate::error::{Exit, Failure};

const COMMANDS: &[(&str, &str)] = &[("exec", "Start a task and wait for its end: quire run --json \"TASK\"")];

/// Returns what to say to a command of a later version, or `None` where there will be none of that name.
pub fn command(word: &str) -> Option<Failure> {
    let (_, instead) = COMMANDS.iter().find(|(name, _)| *name == word)?;
    Some(not_here(&format!("quire {word}"), instead))
}

fn not_here(name: &str, instead: &str) -> Failure {
    Failure::new(
        Exit::WrongUse,
        format!("`{name}` is not in this version."),
        "Nothing was started or changed.",
        instead.to_owned(),
    )
}
