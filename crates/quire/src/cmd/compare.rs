//! `quire compare N [N...]`: attempts side by side; `--diff A B` what is otherwise in one of them. `quire mix N "WORDS"`: a further one
//! that begins with the files of one.

use crate::cli::{CompareArgs, MixArgs};
use crate::cmd::follow::{self, Past};
use crate::cmd::{Face, open, print_json, wait, words};
use crate::error::{Exit, Failure};
use crate::layout::{columns, cut, framed, one_line, pad};
use crate::pager;
use crate::terminal::{Look, took};
use quire_core::task::Suggestion;
use quire_core::view::{AttemptRow, count};
use quire_engine::Comparison;
use quire_engine::keys::Keys;
use serde_json::json;
use std::io::Write;

/// Files that are listed; --json has them all.
const FILES_MAX: usize = 60;

pub fn compare(args: &CompareArgs, face: &Face) -> Result<Exit, Failure> {
    let (quire, here) = open()?;
    if let [from, to] = args.diff[..] {
        let diff = quire.diff_of(from, to)?;
        std::io::stdout().write_all(&diff)?;
        return Ok(Exit::Done);
    }
    let suggestion = match args.suggest {
        true => {
            let keys = Keys::read(&here)?;
            let came = wait(quire.suggest(&args.tasks, &keys, &here))??;
            Some(came.map_err(|fault| {
                let next = format!("Compare them without it: quire compare {}", args.tasks[0]);
                Failure::new(
                    Exit::NoModel,
                    format!("No suggestion came: {}", fault.message),
                    "Nothing was changed.",
                    next,
                )
            })?)
        }
        false => None,
    };
    let compared = quire.compare(&args.tasks)?;
    if face.json {
        let suggestion = suggestion.map(|one| json!({"task": one.task, "text": told(&one)}));
        print_json(json!({"compare": compared, "suggestion": suggestion}))?;
        return Ok(Exit::Done);
    }
    let mut out = text(&compared, &face.out);
    if let Some(suggestion) = suggestion {
        let takes = match suggestion.task {
            Some(task) => format!("would take task {task}"),
            None if suggestion.takes_none() => "would take none of them".to_owned(),
            None => "did not say which it would take".to_owned(),
        };
        out.push_str(&format!("\nA model that was not told which model made what {takes}. "));
        match told(&suggestion).trim() {
            "" => out.push_str("It gave no reasons.\n"),
            told => out.push_str(&format!(
                "Its own words, which nobody checked:\n{}",
                framed(told, face.out.width.clamp(40, 120), "  ")
            )),
        }
    }
    pager::show(&out, &face.out)?;
    Ok(Exit::Done)
}

pub fn mix(args: &MixArgs, face: &Face) -> Result<Exit, Failure> {
    let (quire, here) = open()?;
    let keys = Keys::read(&here)?;
    let words = words(&args.words)?;
    let task = wait(quire.mix(args.task.task, &words, &keys, &here))??;
    follow::follow(&quire, &task, &keys, &here, Past::Shown, &follow::end, face)
}

/// Returns the reasons of a suggestion, with the numbers of the tasks.
fn told(suggestion: &Suggestion) -> String {
    suggestion.told(|task| format!("task {task}"))
}

/// Returns the attempts as a table, and below it the files in which they differ.
pub fn text(compared: &Comparison, look: &Look) -> String {
    let rows = &compared.attempts;
    let heads = ["task", "model", "state", "checks", "files", "lines", "cost", "time"];
    let cells = |row: &AttemptRow| {
        [
            row.task.to_string(),
            one_line(row.model.as_deref().unwrap_or("none")),
            one_line(row.state.strip_prefix("needs you: ").unwrap_or(&row.state)),
            row.checks_text(),
            row.files.to_string(),
            row.lines_text(),
            row.cost.with_tokens(row.tokens),
            took(row.worked_ms),
        ]
    };
    let table: Vec<[String; 8]> = rows.iter().map(cells).collect();
    let widths: Vec<usize> = (0..heads.len())
        .map(|n| table.iter().map(|row| columns(&row[n])).chain([heads[n].len()]).max().unwrap_or(0))
        .collect();
    let line = |cells: &[&str]| {
        let cells: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| pad(cell, *width)).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    let mut out = look.paint(1, line(&heads).trim_end());
    out.push('\n');
    for row in &table {
        let cells: Vec<&str> = row.iter().map(String::as_str).collect();
        out.push_str(&line(&cells));
    }
    if !compared.files.is_empty() {
        let numbers: Vec<String> = rows.iter().map(|row| row.task.to_string()).collect();
        let shown = compared.files.iter().take(FILES_MAX);
        let widest =
            shown.clone().map(|file| columns(&one_line(&file.path.to_string()))).max().unwrap_or(0).min(60);
        out.push_str(&format!("\n{}  {}\n", pad("", widest), numbers.join("  ")));
        for file in shown {
            let fates: Vec<String> = file
                .fates
                .iter()
                .zip(&numbers)
                .map(|(fate, number)| pad(&fate.to_string(), number.len()))
                .collect();
            let path = cut(&one_line(&file.path.to_string()), widest);
            out.push_str(&format!("{}  {}\n", pad(&path, widest), fates.join("  ").trim_end()));
        }
        if compared.files.len() > FILES_MAX {
            out.push_str(&format!("and {} more\n", compared.files.len() - FILES_MAX));
        }
        out.push_str("The same letter: the same file. - deleted, . as it was.\n");
    }
    if compared.same > 0 {
        out.push_str(&format!("{} changed in the same way by all.\n", count(compared.same as u64, "file")));
    }
    if compared.bases_differ {
        out.push_str("They did not all begin with the same state of the folder.\n");
    }
    if let [one, other, ..] = rows.as_slice() {
        let (a, b) = (one.task, other.task);
        out.push_str(&format!(
            "\nquire compare {a} --diff {a} {b}   what {b} has otherwise\nquire accept N   take one\nquire mix {a} \"...\"   a further one that begins with \
             one of them and is told of the others\n"
        ));
    }
    out
}
