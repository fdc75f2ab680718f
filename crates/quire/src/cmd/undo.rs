//! `quire undo N [PATH...]`: takes an accept back, or part of it, and says file by file what went back, each read again to be sure.

use crate::cli::UndoArgs;
use crate::cmd::{Face, accept, home, open, print_json, review};
use crate::error::{Exit, Failure};
use crate::layout::{columns, one_line, pad};
use crate::terminal::{clean, print};
use quire_engine::Undo;
use serde_json::json;

pub fn undo(args: &UndoArgs, face: &Face) -> Result<Exit, Failure> {
    let (quire, _) = open()?;
    let id = args.task.task;
    let undo = Undo {
        paths: args.paths.iter().map(|path| path.as_os_str().to_owned()).collect(),
        ..Undo::default()
    };
    let written = quire.undo(id, &undo)?;
    if face.json {
        print_json(json!({"task": id, "undone": written}))?;
        return Ok(Exit::Done);
    }
    let mut text = clean(&format!("{}\n", written.text(home().as_deref())));
    let names: Vec<String> = written
        .files
        .iter()
        .map(|file| one_line(&review::named(file.folder, &file.path, &written.folders)))
        .collect();
    let widest = names.iter().map(|name| columns(name)).max().unwrap_or(0).min(60);
    for (name, file) in names.iter().zip(&written.files) {
        text.push_str(&format!("  {}  {}\n", pad(name, widest), file.what(true)));
    }
    text.push_str(&accept::git_text(&written.git));
    let task = quire.task(id)?;
    if let Some(last) = task.last_accept() {
        let what = if last == written.accept as usize {
            "The rest of what you accepted"
        } else {
            "What you accepted before that"
        };
        text.push_str(&format!("{what} stays. Take that back too: quire undo {id}\n"));
    }
    text.push_str(&format!("Accept it again: quire accept {id}\n"));
    print(&text)?;
    Ok(Exit::Done)
}
