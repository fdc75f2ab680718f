//! `quire completions SHELL`: what a shell needs to complete quire's commands and options.

use crate::cli::{Cli, CompletionsArgs};
use crate::error::{Exit, Failure};
use crate::terminal::print;
use clap::CommandFactory;

pub fn completions(args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "quire", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
