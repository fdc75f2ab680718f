//! `quire completions SHELL`: what a shell needs to complete quire's commands and options, and the man page, which is made of
//! the same.

use crate::cli::{Cli, CompletionsArgs, Reader};
use crate::error::{Exit, Failure};
use crate::terminal::print;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use std::io;

pub fn completions(args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut text = Vec::new();
    let shell = match args.reader {
        Reader::Bash => Shell::Bash,
        Reader::Elvish => Shell::Elvish,
        Reader::Fish => Shell::Fish,
        Reader::Powershell => Shell::PowerShell,
        Reader::Zsh => Shell::Zsh,
        Reader::Man => {
            // Into memory, where writing does not fail.
            let _ = man(&mut text);
            print(&String::from_utf8_lossy(&text))?;
            return Ok(Exit::Done);
        }
    };
    clap_complete::generate(shell, &mut Cli::command(), "quire", &mut text);
    print(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Done)
}

/// Writes the man page: what quire is, its commands, and the options of each.
fn man(to: &mut Vec<u8>) -> io::Result<()> {
    let mut quire = Cli::command().disable_help_subcommand(true);
    quire.build();
    let commands: Vec<Command> = quire.get_subcommands().filter(|c| !c.is_hide_set()).cloned().collect();
    clap_mangen::Man::new(quire).render(to)?;
    for command in commands {
        let name = command.get_name().to_uppercase();
        let page = clap_mangen::Man::new(command);
        to.extend(format!(".SH \"QUIRE {name}\"\n").bytes());
        let mut section = Vec::new();
        page.render_synopsis_section(&mut section)?;
        page.render_description_section(&mut section)?;
        page.render_options_section(&mut section)?;
        // Within the command's own section.
        to.extend(String::from_utf8_lossy(&section).replace("\n.SH ", "\n.SS ").bytes());
    }
    Ok(())
}
