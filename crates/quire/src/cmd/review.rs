//! `quire review N`: what a task did, what was proved of it, and every change. `--diff`: the plain unified diff.

use crate::cli::ReviewArgs;
use crate::cmd::{Face, open, print_json};
use crate::error::{Exit, Failure};
use crate::layout::{columns, cut, ends, one_line, pad, thousands, wrap};
use crate::pager;
use crate::terminal::{Look, clean, size, took, unless_gone};
use quire_core::diff::{Hunk, Kind};
use quire_core::event::Listing;
use quire_core::view::{CheckRow, FileChange, Review, Shape, Taken};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;

/// The 16 colours and attributes of a terminal's theme.
const BOLD: u8 = 1;
const DIM: u8 = 2;
const RED: u8 = 31;
const GREEN: u8 = 32;
const YELLOW: u8 = 33;

pub fn review(args: &ReviewArgs, face: &Face) -> Result<Exit, Failure> {
    let (quire, _) = open(face)?;
    let id = args.task.task;
    if args.diff {
        let diff = quire.diff(id)?;
        if face.json {
            print_json(json!({"task": id, "diff": String::from_utf8_lossy(&diff)}))?;
        } else if face.out.terminal {
            pager::show(&painted_diff(&clean(&String::from_utf8_lossy(&diff)), &face.out), &face.out)?;
        } else {
            unless_gone(std::io::stdout().write_all(&diff))?;
        }
        return Ok(Exit::Done);
    }
    let review = quire.review(id)?;
    if face.json {
        print_json(json!({"task": id, "review": review}))?;
    } else {
        pager::show(&text(&review, &quire.task(id)?.charter.folders, &face.out), &face.out)?;
    }
    Ok(Exit::Done)
}

/// Returns the whole review as text for a person.
pub fn text(review: &Review, folders: &[PathBuf], look: &Look) -> String {
    let width = look.width.clamp(40, 120);
    let right = format!(
        "{}, version {}, {}, {} tokens",
        review.state,
        review.version,
        took(review.worked_ms),
        thousands(review.tokens)
    );
    let left = format!("{}  {}", review.task, one_line(&review.title));
    let mut out = look.paint(BOLD, &ends(&left, &right, width));
    out.push('\n');
    let summary = clean(&review.summary);
    out.push_str(&wrap(
        if summary.is_empty() { "The model ended without a word." } else { &summary },
        width,
        "",
    ));
    out.push('\n');
    out.push_str(&checks(&review.checks, look, width));
    for (n, (path, why)) in review.look().iter().enumerate() {
        let head = if n == 0 { "LOOK    " } else { "        " };
        let line = cut(&format!("{}  {}", one_line(path), one_line(why)), width - 8);
        out.push_str(&format!("{head}{}\n", look.paint(YELLOW, &line)));
    }
    let apart =
        [("outside the folder", &review.apart.outside), ("in ignored folders", &review.apart.ignored)];
    for (n, (place, listing)) in apart.iter().filter(|(_, listing)| listing.total > 0).enumerate() {
        let head = if n == 0 { "APART   " } else { "        " };
        out.push_str(&format!("{head}{}\n", cut(&apart_text(place, listing), width - 8)));
    }
    for file in &review.files {
        out.push('\n');
        out.push_str(&change(file, folders, look));
    }
    if review.files.is_empty() {
        out.push_str("\nNothing in the folder changed.\n");
    }
    out.push('\n');
    out.push_str(&look.paint(DIM, &foot(review)));
    out
}

/// Returns the rows of what quire checked itself; where it checked nothing, that.
pub fn checks(checks: &[CheckRow], look: &Look, width: usize) -> String {
    if checks.is_empty() {
        return "CHECKS  ○ not checked: there is no check (--check, or [checks] in quire.toml)\n".to_owned();
    }
    let mut out = String::new();
    for (n, check) in checks.iter().enumerate() {
        let head = if n == 0 { "CHECKS  " } else { "        " };
        let line = check_line(check, width - 8);
        let code = if check.passed == Some(false) { RED } else { GREEN };
        let line = if check.passed.is_some() { look.paint(code, &line) } else { line };
        out.push_str(&format!("{head}{line}\n"));
        if check.passed == Some(false) {
            // The end of what a failing command says is where it says why.
            let said = clean(check.output.trim_end());
            let tail: Vec<&str> = said.lines().rev().take(5).collect();
            for line in tail.iter().rev() {
                out.push_str(&format!(
                    "          {}\n",
                    look.paint(DIM, &cut(&line.replace('\t', "    "), width - 10))
                ));
            }
        }
    }
    out
}

/// Returns `✓ cargo test  passes`.
pub fn check_line(check: &CheckRow, width: usize) -> String {
    let outcome = one_line(&check.outcome);
    let room = width.saturating_sub(columns(&outcome).min(width / 2) + 4).max(8);
    cut(&format!("{} {}  {outcome}", check.symbol(), cut(&one_line(&check.command), room)), width)
}

fn apart_text(place: &str, listing: &Listing) -> String {
    let paths: Vec<String> = listing.paths.iter().take(3).map(|path| one_line(path)).collect();
    let more = listing.total.saturating_sub(paths.len() as u64);
    let more = if more > 0 { format!(" and {} more", thousands(more)) } else { String::new() };
    format!("{place}, not taken: {}{more}", paths.join(", "))
}

fn foot(review: &Review) -> String {
    let id = review.task;
    let seen = review.seen.short();
    let mut rows = vec![];
    match review.taken {
        Taken::Whole => rows.push((format!("quire undo {id}"), "take it back".to_owned())),
        _ if review.files.is_empty() => {}
        _ => {
            rows.push((format!("quire accept {id}"), "take all".to_owned()));
            rows.push((format!("quire accept {id} PATH"), "take a part".to_owned()));
            rows.push((format!("quire accept {id} --seen {seen}"), "take exactly this".to_owned()));
        }
    }
    if review.taken == Taken::Part || review.taken == Taken::Earlier {
        rows.push((format!("quire undo {id}"), "take back what is in your folder".to_owned()));
    }
    rows.push((format!("quire revise {id} \"...\""), "ask for changes".to_owned()));
    if review.taken == Taken::No {
        rows.push((format!("quire discard {id}"), "drop it".to_owned()));
    }
    let widest = rows.iter().map(|(command, _)| columns(command)).max().unwrap_or(0);
    let rows = rows.iter().map(|(command, does)| format!("{}   {does}\n", pad(command, widest)));
    format!("{}\n{}", review.folder_text(), rows.collect::<String>())
}

/// Returns a file's name, how much of it changed, and its hunks.
pub fn change(file: &FileChange, folders: &[PathBuf], look: &Look) -> String {
    let name = match folders.get(file.folder as usize) {
        Some(folder) if folders.len() > 1 => {
            let folder = folder.file_name().unwrap_or(folder.as_os_str());
            format!("{}/{}", folder.to_string_lossy(), file.path)
        }
        _ => file.path.to_string(),
    };
    let size = match file.shape {
        Shape::File if file.binary || file.large => format!(", {}", size(file.bytes)),
        _ => String::new(),
    };
    let mut out = format!("{}  {}{size}\n", look.paint(BOLD, &one_line(&name)), file.extent());
    for (n, hunk) in file.hunks.iter().enumerate() {
        if n > 0 {
            out.push_str(&look.paint(DIM, "   ⋮\n"));
        }
        hunk_text(hunk, look, &mut out);
    }
    if file.large {
        out.push_str(&look.paint(DIM, "      too large to be compared here; --diff has it all\n"));
    }
    out
}

fn hunk_text(hunk: &Hunk, look: &Look, out: &mut String) {
    let (mut was, mut now) = (hunk.was_start, hunk.now_start);
    for line in &hunk.lines {
        let text = String::from_utf8_lossy(&line.text);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        // Where only the line end changed, it is the change.
        let (text, end) = match text.strip_suffix('\r') {
            Some(text) if line.kind != Kind::Same => (text, "␍"),
            _ => (text, ""),
        };
        let text = clean(text).replace('\t', "    ");
        let shown = match line.kind {
            Kind::Same => format!("{now:>5}   {text}{end}"),
            Kind::Added => look.paint(GREEN, &format!("{now:>5} + {text}{end}")),
            Kind::Removed => look.paint(RED, &format!("{was:>5} - {text}{end}")),
        };
        out.push_str(shown.trim_end());
        out.push('\n');
        was += usize::from(line.kind != Kind::Added);
        now += usize::from(line.kind != Kind::Removed);
    }
}

fn painted_diff(diff: &str, look: &Look) -> String {
    let paint = |line: &str| {
        let code = match line.as_bytes().first() {
            _ if line.starts_with("+++") || line.starts_with("---") || line.starts_with("diff ") => BOLD,
            Some(b'+') => GREEN,
            Some(b'-') => RED,
            Some(b'@') => DIM,
            _ => return format!("{line}\n"),
        };
        format!("{}\n", look.paint(code, line))
    };
    diff.lines().map(paint).collect()
}
