//! `quire accept N [PATH...]`: writes the version, or a part of it, into the real folder.

use crate::cli::AcceptArgs;
use crate::cmd::{Face, home, open, print_json};
use crate::error::{Exit, Failure};
use crate::terminal::{clean, print};
use serde_json::json;
use std::ffi::OsString;

pub fn accept(args: &AcceptArgs, face: &Face) -> Result<Exit, Failure> {
    let (quire, _) = open(face)?;
    let id = args.task.task;
    let paths: Vec<OsString> = args.paths.iter().map(|path| path.as_os_str().to_owned()).collect();
    let written = quire.accept(id, &paths, args.seen.as_deref())?;
    if face.json {
        print_json(json!({"task": id, "accepted": written}))?;
    } else {
        print(&clean(&format!("{} Undo: quire undo {id}\n", written.text(home().as_deref()))))?;
    }
    Ok(Exit::Done)
}
