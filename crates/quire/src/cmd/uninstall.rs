//! `quire uninstall`: takes away all that quire made, and says what is left.

use crate::cli::UninstallArgs;
use crate::cmd::{Face, print_json, wait};
use crate::error::{Exit, Failure};
use crate::layout::one_line;
use crate::terminal::{clean, confirm, print};
use quire_core::view::{self, Summary};
use quire_engine::settings::Surroundings;
use quire_engine::uninstall::{Uninstalled, uninstall as remove};
use quire_engine::{EngineError, Quire, quire};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Open tasks that are named; `quire ls` has them all.
const TASKS_MAX: usize = 5;

pub fn uninstall(args: &UninstallArgs, face: &Face) -> Result<Exit, Failure> {
    let here = Surroundings::capture();
    let home = quire::home(&here)?;
    let open = open_tasks(&home, &here, args.purge)?;
    if !open.is_empty() && !args.purge {
        return Err(would_lose(&open));
    }
    // Where nothing is, there is nothing to be asked.
    let is_there = home.exists() || here.config_dir().is_some_and(|dir| dir.exists());
    if is_there && !args.yes {
        let question = question(&home, &open, args.purge);
        if !face.can_ask() || !confirm(&clean(&format!("{question}?")))? {
            let again = if args.purge { "quire uninstall --purge --yes" } else { "quire uninstall --yes" };
            let next = format!("To see what there is: quire du. If you mean it: {again}");
            return Err(Failure::new(Exit::NeedsYou, format!("{question}."), "Nothing was removed.", next));
        }
    }
    let done = wait(remove(&here, args.purge))??;
    let binary = std::env::current_exe().ok();
    if face.json {
        print_json(json!({"uninstalled": done, "binary": binary}))?;
    } else {
        print(&clean(&text(&done, binary.as_deref())))?;
    }
    Ok(Exit::Done)
}

/// Returns the tasks of which something would be lost. Data that cannot be read stops only who wants to keep it.
fn open_tasks(home: &Path, here: &Surroundings, purge: bool) -> Result<Vec<Summary>, EngineError> {
    if !home.join("quire.db").exists() {
        return Ok(vec![]);
    }
    match Quire::open(here).and_then(|quire| quire.open_tasks()) {
        Err(_) if purge => Ok(vec![]),
        open => open,
    }
}

fn would_lose(open: &[Summary]) -> Failure {
    let shown = open
        .iter()
        .take(TASKS_MAX)
        .map(|task| format!("{} ({}: {})", task.task, task.state, one_line(&task.title)));
    let shown: Vec<String> = shown.collect();
    let more =
        if open.len() > TASKS_MAX { format!(", and {} more", open.len() - TASKS_MAX) } else { String::new() };
    let what = match open.len() {
        1 => "A task is not finished or not accepted",
        _ => "Tasks are not finished or not accepted",
    };
    Failure::new(
        Exit::NeedsYou,
        format!("{what}: {}{more}.", shown.join(", ")),
        "Nothing was removed.",
        "Accept or discard them (quire ls), or remove all of it, settings and keys included: quire uninstall --purge",
    )
}

fn question(home: &Path, open: &[Summary], purge: bool) -> String {
    let what = match (purge, open.len()) {
        (false, _) => "Remove all that quire keeps; accepts can then not be undone".to_owned(),
        (true, 0) => "Remove all that quire keeps, settings and keys included".to_owned(),
        (true, n) => format!(
            "Remove all that quire keeps, settings and keys included, and with it the work of {} that you did not accept",
            view::count(n as u64, "task")
        ),
    };
    format!("{what} ({})", home.display())
}

fn text(done: &Uninstalled, binary: Option<&Path>) -> String {
    let list =
        |paths: &[PathBuf]| paths.iter().map(|path| format!("  {}\n", path.display())).collect::<String>();
    let mut out = match done.removed.is_empty() {
        true => "There was nothing of quire's here.\n".to_owned(),
        false => "All that quire kept is removed. Your folders are as they were.\n".to_owned(),
    };
    if !done.kept.is_empty() {
        out.push_str(&format!(
            "Your settings and keys are still there (--purge takes them too):\n{}",
            list(&done.kept)
        ));
    }
    if !done.left.is_empty() {
        out.push_str(&format!("Files that are not quire's were left in:\n{}", list(&done.left)));
    }
    if let Some(binary) = binary {
        let word = binary.display().to_string().replace('\'', "'\\''");
        out.push_str(&format!("The program itself is left: rm '{word}'\n"));
    }
    out
}
