//! `quire review N --report FILE`: a review or an answer as one HTML file, to keep, to print and to send on.

use crate::cmd::{Face, print_json};
use crate::error::{Exit, Failure};
use crate::terminal::{clean, print};
use crate::web::report;
use quire_engine::Quire;
use serde_json::json;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

/// Writes the report to a new file, or for `-` to stdout.
pub fn write(quire: &Quire, id: u64, file: &Path, face: &Face) -> Result<Exit, Failure> {
    let report = report::of(quire, id)?;
    if file == Path::new("-") {
        match face.json {
            true => print_json(json!({"task": id, "report": report.html}))?,
            false => print(&report.html)?,
        }
        return Ok(Exit::Done);
    }
    // Nothing of the person's is written over.
    let mut kept = File::create_new(file).map_err(|error| unwritten(file, &error))?;
    if let Err(error) = kept.write_all(report.html.as_bytes()) {
        // Made here, and in the way of the next try.
        let _ = fs::remove_file(file);
        return Err(unwritten(file, &error));
    }
    match face.json {
        true => print_json(json!({"task": id, "report": file}))?,
        false => print(&clean(&format!("Task {id}'s report is in {}.\n", file.display())))?,
    }
    Ok(Exit::Done)
}

fn unwritten(file: &Path, error: &io::Error) -> Failure {
    let exit = match error.kind() {
        io::ErrorKind::AlreadyExists => Exit::WrongUse,
        _ => Exit::Trouble,
    };
    Failure::new(
        exit,
        format!("The report cannot be written to {}: {error}.", file.display()),
        "Task and folder are as they were.",
        "Name a file that is not there yet, in a place where you may write",
    )
}
