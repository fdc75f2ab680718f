//! quire: hand over a task in plain words; it is done in a private copy; you alone decide what goes live.

mod cli;
mod cmd;
mod error;
mod interrupt;
mod later;
mod layout;
mod pager;
mod terminal;
mod web;

use cli::{Cli, Command, Parsed};
use cmd::Face;
use error::{Exit, Failure};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use terminal::Look;

fn main() -> ExitCode {
    let private: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = quire_engine::private_main(&private) {
        return ExitCode::from(code as u8);
    }
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let done = match cli::parse(&arguments) {
        Ok(Parsed::Command(cli)) => run(*cli),
        Ok(Parsed::Text(text)) => {
            terminal::unless_gone(text.print()).map(|()| Exit::Done).map_err(Failure::from)
        }
        Err(failure) => Err(failure),
    };
    done.unwrap_or_else(|failure| {
        // Where nobody reads what went wrong, the exit code still says it.
        let _ = writeln!(std::io::stderr(), "{}", failure.text(cli::asks_for_json(&arguments)));
        failure.exit
    })
    .into()
}

fn run(cli: Cli) -> Result<Exit, Failure> {
    let no_color = cli.face.no_color;
    let face = Face {
        json: cli.face.json,
        quiet: cli.face.quiet,
        out: Look::of_stdout(no_color),
        err: Look::of_stderr(no_color),
    };
    match cli.command.unwrap_or_else(|| Command::Ls(Default::default())) {
        Command::Completions(args) => cmd::completions::completions(&args),
        Command::Host(args) => cmd::host::host(&args, &face),
        Command::Sandbox(args) => cmd::sandbox::sandbox(&args, &face),
        Command::Serve(args) => cmd::serve::serve(&args, &face),
        Command::Doctor(args) => cmd::doctor::doctor(&face, args.fix),
        Command::Models(args) => cmd::models::models(&args, &face),
        Command::Run(args) => cmd::run::run(&args, &face),
        Command::Ask(args) => cmd::ask::ask(&args, &face),
        Command::Answer(args) => cmd::answer::answer(&args, &face),
        Command::Ls(args) => cmd::ls::ls(&args, &face),
        Command::Compact(args) => cmd::compact::compact(&args, &face),
        Command::Compare(args) => cmd::compare::compare(&args, &face),
        Command::Mix(args) => cmd::compare::mix(&args, &face),
        Command::Watch(args) => cmd::watch::watch(&args, &face),
        Command::Log(args) => cmd::log::log(&args, &face),
        Command::Review(args) => cmd::review::review(&args, &face),
        Command::Revise(args) => cmd::revise::revise(&args, &face),
        Command::Note(args) => cmd::note::note(&args, &face),
        Command::Send(args) => cmd::revise::send(&args, &face),
        Command::Edit(args) => cmd::edit::edit(&args, &face),
        Command::Rewind(args) => cmd::rewind::rewind(&args, &face),
        Command::Fork(args) => cmd::rewind::fork(&args, &face),
        Command::Accept(args) => cmd::accept::accept(&args, &face),
        Command::Allow(args) => cmd::allow::answer(&args.answer, (true, args.once), &face),
        Command::Deny(args) => cmd::allow::answer(&args, (false, false), &face),
        Command::Trust(args) => cmd::trust::trust(&args, &face),
        Command::Undo(args) => cmd::undo::undo(&args, &face),
        Command::Discard(args) => cmd::discard::discard(&args, &face),
        Command::Stop(args) => cmd::stop::stop(&args, &face),
        Command::Resume(args) => cmd::resume::resume(&args, &face),
        Command::Gc(args) => cmd::gc::gc(&args, &face),
        Command::Du => cmd::du::du(&face),
        Command::Export(args) => cmd::export::export(&args, &face),
        Command::Import(args) => cmd::export::import(&args, &face),
        Command::Uninstall(args) => cmd::uninstall::uninstall(&args, &face),
        Command::Web(args) => cmd::web::web(&args, &face),
        Command::Demo(args) => cmd::demo::demo(&args, &face),
    }
}
