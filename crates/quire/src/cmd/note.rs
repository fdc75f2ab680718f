//! `quire note N [FILE[:LINE]] "..."`: leaves a note on a version, which `quire send N` sends with the others. Alone it lists
//! the notes and what became of each.

use crate::cli::NoteArgs;
use crate::cmd::{Face, open, print_json, words};
use crate::error::{Exit, Failure};
use crate::layout::{columns, one_line, wrap};
use crate::terminal::print;
use quire_core::view::{NoteRow, Standing, count};
use quire_engine::{EngineError, On};
use serde_json::json;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

pub fn note(args: &NoteArgs, face: &Face) -> Result<Exit, Failure> {
    let id = args.task.task;
    if args.note.is_empty() && args.hunk.is_none() && args.element.is_none() {
        let (quire, _) = open()?;
        if let Some(note) = args.drop {
            quire.drop_note(id, note).map_err(|error| match error {
                EngineError::Not { .. } => {
                    let next = format!("See its notes: quire note {id}");
                    Failure::new(Exit::WrongUse, error.to_string(), "Nothing was started or changed.", next)
                }
                error => error.into(),
            })?;
        }
        return list(id, &quire.notes(id)?, face);
    }
    let (on, said) = place(args)?;
    let said = words(&said)?;
    let (quire, _) = open()?;
    let number = quire.note(id, &on, &said)?;
    let Some(row) = quire.notes(id)?.into_iter().find(|row| row.note == number) else {
        return Ok(Exit::Done);
    };
    if face.json {
        print_json(json!({"task": id, "note": row}))?;
    } else {
        print(&format!("Note {number}, on {}. Send it: quire send {id}\n", one_line(&row.place())))?;
    }
    Ok(Exit::Done)
}

fn list(id: u64, rows: &[NoteRow], face: &Face) -> Result<Exit, Failure> {
    if face.json {
        print_json(json!({"task": id, "notes": rows}))?;
        return Ok(Exit::Done);
    }
    let mut text = match rows {
        [] => format!("Task {id} has no notes. Leave one: quire note {id} FILE:LINE \"...\"\n"),
        rows => table(rows, true, face.out.width.clamp(40, 120)),
    };
    let drafts = rows.iter().filter(|row| row.state == Standing::Draft).count() as u64;
    if drafts > 0 {
        text.push_str(&format!("\nquire send {id}   send {}\n", count(drafts, "note")));
    }
    print(&text)?;
    Ok(Exit::Done)
}

/// Returns notes as rows, each with its words where they are wanted.
pub fn table(rows: &[NoteRow], with_words: bool, width: usize) -> String {
    let mut out = String::new();
    for row in rows {
        let head = format!("{}  {}  ", row.note, one_line(&row.place()));
        let room = width.saturating_sub(columns(&head)).max(24);
        let outcome = wrap(&one_line(&row.outcome()), room, "");
        out.push_str(&format!("{head}{}\n", outcome.trim_end().replace('\n', "\n     ")));
        if with_words {
            out.push_str(&wrap(&one_line(&row.words), width, "     "));
        }
    }
    out
}

/// Returns where the note is to be put, and its words.
fn place(args: &NoteArgs) -> Result<(On, String), Failure> {
    let wrong = |what: &str| {
        let next = "Read: quire help note";
        Failure::new(Exit::WrongUse, what, "Nothing was started or changed.", next)
    };
    let (file, said) = match args.note.as_slice() {
        // Where it is put, and no word of what is meant.
        [said] if args.hunk.is_none() && args.element.is_none() && is_a_place(said) => {
            return Err(wrong("The note has no words."));
        }
        [said] => (None, said),
        [file, said] => (Some(file), said),
        _ => return Err(wrong("The note has no words.")),
    };
    let said = said.to_str().filter(|said| !said.trim().is_empty());
    let said = said.ok_or_else(|| wrong("The note has no words."))?.to_owned();
    let on = match (file, &args.hunk, &args.element) {
        (None, None, None) => On::Whole,
        (Some(file), None, None) => line_of(file),
        (None, Some(hunk), _) => On::Hunk(hunk.clone()),
        (Some(page), None, Some(selector)) => On::Element {
            page: page.clone(),
            selector: selector.clone(),
            quote: args.quote.clone().unwrap_or_default(),
        },
        (Some(_), Some(_), _) => return Err(wrong("A note is on a change or on a file, not on both.")),
        (None, None, Some(_)) => return Err(wrong("A note on an element names the page that shows it.")),
    };
    Ok((on, said))
}

/// Returns whether words are a file's line and nothing else.
fn is_a_place(said: &OsString) -> bool {
    matches!(line_of(said), On::Line(path, _) if !path.as_bytes().iter().any(u8::is_ascii_whitespace) && !path.is_empty())
}

/// Reads `FILE` or `FILE:LINE`.
fn line_of(text: &OsString) -> On {
    let raw = text.as_bytes();
    let split = raw.iter().rposition(|byte| *byte == b':');
    let line = split.and_then(|at| std::str::from_utf8(&raw[at + 1..]).ok()?.parse().ok());
    match (split, line) {
        (Some(at), Some(line)) => On::Line(OsStr::from_bytes(&raw[..at]).to_owned(), line),
        _ => On::File(text.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_be_followed_by_a_line() {
        let line = |path: &str, line| On::Line(path.into(), line);
        let rows = [
            ("src/tax.rs", On::File("src/tax.rs".into())),
            ("src/tax.rs:88", line("src/tax.rs", 88)),
            ("a:b", On::File("a:b".into())),
            ("a:1:2", line("a:1", 2)),
            ("a:", On::File("a:".into())),
            ("a:-1", On::File("a:-1".into())),
        ];
        for (typed, expected) in rows {
            assert_eq!(line_of(&typed.into()), expected, "{typed}");
        }
    }
}
