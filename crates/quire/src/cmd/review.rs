//! `quire review N`: what a task did, what was proved of it, and every change. `--diff`: the plain unified diff; `--report`: a
//! file to keep.

use crate::cli::ReviewArgs;
use crate::cmd::{Face, evidence, follow, listening, listening_text, note, open, print_json, report};
use crate::error::{Exit, Failure};
use crate::layout::{columns, cut, ends, framed, one_line, pad, quoted, thousands, wrap};
use crate::pager;
use crate::terminal::{Look, clean, took, unless_gone};
use quire_core::diff::{Hunk, Kind};
use quire_core::event::Listing;
use quire_core::merge::Overlap;
use quire_core::task::StandIn;
use quire_core::view::{
    Brief, CheckRow, ClaimRow, Fate, FileChange, Fit, LookRow, Review, Shape, Standing, Taken, assumed_text,
    count, needed_text, reached_text, reviewed_text, sentence, size,
};
use quire_core::{Phase, RelPath};
use serde_json::json;
use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;

/// The 16 colours and attributes of a terminal's theme.
const BOLD: u8 = 1;
const DIM: u8 = 2;
const RED: u8 = 31;
const GREEN: u8 = 32;
const YELLOW: u8 = 33;

/// Lines of a generated file that are shown; of more only that there are.
const GENERATED_LINES_MAX: usize = 20;

/// Digits of a hunk's name that are shown; `accept --only` takes the beginning of one.
const ID_SHOWN: usize = 8;

/// Places that do not fit of which both sides are shown, and lines of a side.
const OVERLAPS_MAX: usize = 3;
const SIDE_LINES_MAX: usize = 6;

/// Most paths under LOOK: more than these nobody looks at one by one.
const LOOK_MAX: usize = 20;

pub fn review(args: &ReviewArgs, face: &Face) -> Result<Exit, Failure> {
    let (quire, _) = open()?;
    let id = args.task.task;
    if args.diff {
        // What is no text is for programs, not for eyes.
        let diff = match face.out.terminal || face.json {
            true => quire.diff(id, args.since)?,
            false => quire.patch(id, args.since)?,
        };
        if face.json {
            let text = String::from_utf8_lossy(&diff);
            let lossy = matches!(text, std::borrow::Cow::Owned(_));
            print_json(json!({"task": id, "diff": text, "lossy": lossy}))?;
        } else if face.out.terminal {
            pager::show(&painted_diff(&clean(&String::from_utf8_lossy(&diff)), &face.out), &face.out)?;
        } else {
            unless_gone(std::io::stdout().write_all(&diff))?;
        }
        return Ok(Exit::Done);
    }
    if let Some(dir) = &args.evidence {
        return evidence::write(&quire, id, dir, face);
    }
    if let Some(file) = &args.report {
        return report::write(&quire, id, file, face);
    }
    let task = quire.task(id)?;
    if task.plan_to_review().is_some() || task.answer().is_some() {
        // There is no version; what there is, is shown where a task that rests is looked at.
        return follow::end(&quire, id, face);
    }
    let review = match args.since {
        Some(version) => quire.review_since(id, version)?,
        None => quire.review(id)?,
    };
    let ports = match task.phase {
        Phase::Working => listening(&quire)?.remove(&id),
        _ => None,
    };
    if face.json {
        let mut json = json!({"task": id, "review": review});
        if let Some(ports) = ports {
            json["listening"] = json!(ports);
        }
        print_json(json)?;
    } else {
        let mut text = text(&review, &task.charter.folders, &face.out);
        if let Some(ports) = ports {
            text.push_str(&format!("\nIts next version is being made, {}.\n", listening_text(&ports)));
        }
        pager::show(&text, &face.out)?;
    }
    Ok(Exit::Done)
}

/// Returns the whole review as text for a person.
pub fn text(review: &Review, folders: &[PathBuf], look: &Look) -> String {
    let width = look.width.clamp(40, 120);
    let left = format!("{}  {}", review.task, one_line(&review.title));
    let again = review.again.map(|again| format!(" (version {again} again)")).unwrap_or_default();
    let short = format!("{}, version {}{again}, {}", review.state, review.version, took(review.worked_ms));
    let long = format!("{short}, {}", review.cost.with_tokens(review.tokens));
    // The title is worth more than the tokens, and a line of its own.
    let fits = |right: &&String| columns(&left) + 2 + columns(right) <= width;
    let mut out = match [&long, &short].into_iter().find(fits) {
        Some(right) => look.paint(BOLD, &ends(&left, right, width)),
        None => format!("{}\n   {long}", look.paint(BOLD, &cut(&left, width))),
    };
    out.push('\n');
    if let Some(stands) = review.stands_text() {
        let told = wrap(&stands, width - 8, "");
        for (n, line) in told.lines().enumerate() {
            let head = if n == 0 { "STANDS  " } else { "        " };
            out.push_str(&format!("{head}{}\n", look.paint(YELLOW, line)));
        }
        out.push('\n');
    }
    if let Some(edited) = review.edited_text() {
        out.push_str(&look.paint(YELLOW, &wrap(&clean(&edited), width, "")));
        out.push('\n');
    }
    let summary = clean(&review.brief.summary);
    let is_mute = summary.is_empty() && review.brief.claims.is_empty();
    out.push_str(&wrap(if is_mute { "The model ended without a word." } else { &summary }, width, ""));
    out.push('\n');
    for (n, claim) in review.brief.claims.iter().enumerate() {
        let head = if n == 0 { "CLAIMS  " } else { "        " };
        out.push_str(&format!("{head}{}\n", self::claim(claim, look, width - 8, "          ")));
    }
    let assumed = review.assumed.iter().map(|one| format!("{}. {}", one.question, assumed_text(one)));
    let assumed: String = assumed.map(|told| framed(&told, width - 8, "")).collect();
    for (n, line) in assumed.lines().enumerate() {
        let head = if n == 0 { "ASSUMED " } else { "        " };
        out.push_str(&format!("{head}{line}\n"));
    }
    if !review.notes.is_empty() {
        let rows = note::table(&review.notes, false, width - 8);
        for (n, line) in rows.lines().enumerate() {
            let head = if n == 0 { "NOTES   " } else { "        " };
            out.push_str(&format!("{head}{line}\n"));
        }
    }
    let heading = if review.assumed.is_empty() { "ASSUMED" } else { "       " };
    for (heading, lines) in [(heading, &review.brief.assumed), ("OPEN   ", &review.brief.not_done)] {
        for (n, line) in lines.iter().enumerate() {
            let head = if n == 0 { heading } else { "       " };
            out.push_str(&format!("{head} {}\n", wrap(&one_line(line), width, "        ").trim()));
        }
    }
    for (n, command) in next_commands(review.task, &review.brief.next).enumerate() {
        let head = if n == 0 { "NEXT    " } else { "        " };
        out.push_str(&format!("{head}{command}\n"));
    }
    out.push_str(&looked(review, width));
    out.push_str(&reviewer(review, look, width));
    let deserve = review.look();
    for (n, (path, why)) in deserve.iter().take(LOOK_MAX).enumerate() {
        let head = if n == 0 { "LOOK    " } else { "        " };
        let line = cut(&format!("{}  {}", one_line(path), one_line(why)), width - 8);
        out.push_str(&format!("{head}{}\n", look.paint(YELLOW, &line)));
    }
    if deserve.len() > LOOK_MAX {
        out.push_str(&format!(
            "        and {} more; --json has them all\n",
            thousands((deserve.len() - LOOK_MAX) as u64)
        ));
    }
    out.push_str(&checks(&review.checks, look, width));
    for (n, row) in review.drift.iter().take(LOOK_MAX).enumerate() {
        let head = if n == 0 { "YOURS   " } else { "        " };
        let line =
            cut(&format!("{}  {}", one_line(&review.named(row.folder, &row.path)), row.text()), width - 8);
        out.push_str(&format!("{head}{}\n", look.paint(YELLOW, &line)));
        for overlap in row.overlaps.iter().take(OVERLAPS_MAX) {
            sides(overlap, look, width, &mut out);
        }
        if row.overlaps.len() > OVERLAPS_MAX {
            out.push_str(&format!("          and {} more places\n", row.overlaps.len() - OVERLAPS_MAX));
        }
    }
    let apart = [
        ("outside the folder", &review.apart.outside),
        ("in ignored folders", &review.apart.ignored),
        ("pipes, sockets and devices", &review.apart.special),
    ];
    for (n, (place, listing)) in apart.iter().filter(|(_, listing)| listing.total > 0).enumerate() {
        let head = if n == 0 { "APART   " } else { "        " };
        out.push_str(&format!("{head}{}\n", cut(&apart_text(review, place, listing), width - 8)));
    }
    for (n, command) in review.apart.installed.iter().enumerate() {
        let head = if n == 0 { "INSTALL " } else { "        " };
        let line = format!("not taken; the same on your machine: {}", one_line(command));
        out.push_str(&format!("{head}{}\n", wrap(&line, width, "        ").trim()));
    }
    for StandIn { model, instead_of, why } in &review.stand_ins {
        let told = format!("{model} stood in for {instead_of}: {}", sentence(why));
        out.push_str(&format!("MODEL   {}\n", wrap(&one_line(&told), width, "        ").trim()));
    }
    if let Some(weak) = &review.weak {
        out.push_str(&format!("SANDBOX {}\n", wrap(&one_line(weak), width, "        ").trim()));
    }
    if let Some(told) = review.conventions.told() {
        out.push_str(&format!("TOLD    {}\n", wrap(&one_line(&told), width, "        ").trim()));
    }
    if let Some(reached) = reached_text(&review.reached) {
        out.push_str(&format!("REACHED {}\n", wrap(&one_line(&reached), width, "        ").trim()));
    }
    if let Some(needed) = needed_text(&review.needed_you) {
        out.push_str(&format!("NEEDED  you {needed}\n"));
    }
    if let Some(since) = review.since {
        out.push_str(&format!("\nWhat changed since version {since}:\n"));
    }
    let mut close = false;
    for file in &review.files {
        // Files of which there are no lines to show stand close together.
        if !(close && file.hunks.is_empty()) {
            out.push('\n');
        }
        close = file.hunks.is_empty();
        out.push_str(&change(file, folders, look));
    }
    if review.files.is_empty() {
        out.push_str(match review.since {
            Some(_) => "\nNothing.\n",
            None if review.has_only_committed() => "\nNo file changed; it committed in git.\n",
            None => "\nNothing in the folder changed.\n",
        });
    }
    out.push('\n');
    out.push_str(&look.paint(DIM, &foot(review)));
    out
}

/// Appends both sides of lines of which the person made something else than the task.
fn sides(overlap: &Overlap, look: &Look, width: usize, out: &mut String) {
    let place = format!("line {}, yours:", overlap.line);
    for (head, side) in [(place.as_str(), &overlap.mine), ("the task's:", &overlap.theirs)] {
        let text = String::from_utf8_lossy(side);
        let mut lines: Vec<String> = text.lines().map(|line| clean(line).replace('\t', "    ")).collect();
        let more = lines.len().saturating_sub(SIDE_LINES_MAX);
        lines.truncate(SIDE_LINES_MAX);
        if more > 0 {
            lines.push(format!("and {}", quire_core::view::count(more as u64, "more line")));
        }
        if lines.is_empty() {
            lines.push("(nothing)".to_owned());
        }
        for (n, line) in lines.iter().enumerate() {
            let head = if n == 0 { head } else { "" };
            out.push_str(&look.paint(DIM, &cut(&format!("          {}  {line}", pad(head, 18)), width)));
            out.push('\n');
        }
    }
}

/// Returns the rows of what quire checked itself; where it checked nothing, that.
pub fn checks(checks: &[CheckRow], look: &Look, width: usize) -> String {
    if checks.is_empty() {
        return "CHECKS  ○ not checked: there is no check (--check, or [checks] in quire.toml)\n".to_owned();
    }
    let mut out = String::new();
    for (n, check) in checks.iter().enumerate() {
        let head = if n == 0 { "CHECKS  " } else { "        " };
        let line = painted(check.passed, check.doubted, &check_line(check, width - 8), look);
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

/// Returns the command for each thing that the model proposes to be asked next.
pub fn next_commands(task: u64, next: &[String]) -> impl Iterator<Item = String> {
    next.iter().map(move |words| format!("quire revise {task} {}", quoted(&one_line(words))))
}

/// Returns what the agent looked at, or that it did not look at what there is to see.
fn looked(review: &Review, width: usize) -> String {
    let mut lines: Vec<String> = review.looked.iter().map(LookRow::text).collect();
    if !review.not_looked.is_empty() {
        lines.push(format!("\u{25cb} not looked at: {}", short_list(&review.not_looked)));
    }
    let shown = lines.iter().take(LOOK_MAX).enumerate().map(|(n, line)| {
        let head = if n == 0 { "LOOKED  " } else { "        " };
        format!("{head}{}\n", cut(&one_line(line), width - 8))
    });
    shown.collect()
}

fn short_list(names: &[String]) -> String {
    let more = names.len().saturating_sub(3);
    let more = if more > 0 { format!(" and {} more", thousands(more as u64)) } else { String::new() };
    format!("{}{more}", names[..names.len().min(3)].join(", "))
}

/// Returns what a reviewer says of it, where one was asked: its word alone, so without a sign of what quire saw.
fn reviewer(review: &Review, look: &Look, width: usize) -> String {
    let Some(reviewed) = &review.reviewer else { return String::new() };
    let head = wrap(&one_line(&reviewed_text(reviewed)), width, "        ");
    let mut out = format!("REVIEW  {}\n", head.trim());
    for finding in &reviewed.open {
        let text = wrap(&one_line(&finding.sentence()), width, "          ");
        out.push_str(&look.paint(YELLOW, &format!("        \u{25cb} {}", text.trim())));
        out.push('\n');
    }
    out
}

/// Returns what the model says of a version, as a block that stands in from the margin.
pub fn brief(brief: &Brief, look: &Look, width: usize) -> String {
    let mut out = wrap(&clean(&brief.summary), width, "  ");
    for claim in &brief.claims {
        out.push_str(&format!("  {}\n", self::claim(claim, look, width - 2, "    ")));
    }
    for (heading, lines) in [("Assumed", &brief.assumed), ("Not done", &brief.not_done)] {
        for line in lines {
            out.push_str(&wrap(&format!("{heading}: {}", one_line(line)), width, "  "));
        }
    }
    out
}

/// Returns `✓ The total is right: cargo test passes`, on as many lines as it takes; those after the first begin with `below`.
fn claim(claim: &ClaimRow, look: &Look, width: usize, below: &str) -> String {
    let text = one_line(&claim.text);
    let text = text.trim_end_matches(['.', '!', ':']);
    let whole = wrap(&format!("{} {text}: {}", claim.symbol(), one_line(&claim.outcome)), width - 2, "");
    let lines: Vec<String> =
        whole.trim_end().lines().map(|line| painted(claim.passed, claim.doubted, line, look)).collect();
    lines.join(&format!("\n{below}"))
}

fn painted(passed: Option<bool>, doubted: bool, line: &str, look: &Look) -> String {
    match passed {
        Some(true) if doubted => line.to_owned(),
        Some(true) => look.paint(GREEN, line),
        Some(false) => look.paint(RED, line),
        None => line.to_owned(),
    }
}

/// Returns `✓ cargo test  passes`.
pub fn check_line(check: &CheckRow, width: usize) -> String {
    let outcome = one_line(&check.outcome);
    let room = width.saturating_sub(columns(&outcome).min(width / 2) + 4).max(8);
    cut(&format!("{} {}  {outcome}", check.symbol(), cut(&one_line(&check.command), room)), width)
}

fn apart_text(review: &Review, place: &str, listing: &Listing) -> String {
    let named = |path: &String| one_line(&review.named_apart(path));
    let paths: Vec<String> = listing.paths.iter().take(3).map(named).collect();
    let more = listing.total.saturating_sub(paths.len() as u64);
    let more = if more > 0 { format!(" and {} more", thousands(more)) } else { String::new() };
    format!("{place}, not taken: {}{more}", paths.join(", "))
}

fn foot(review: &Review) -> String {
    let id = review.task;
    let seen = review.seen.short();
    let mut rows = vec![];
    if review.imported {
        rows.push((format!("quire log {id}"), "read how it was made".to_owned()));
        rows.push((format!("quire discard {id}"), "drop the record".to_owned()));
        return told(review, &rows);
    }
    if review.is_for_a_browser() {
        rows.push((format!("quire serve {id}"), "try it in a browser".to_owned()));
    }
    match review.taken {
        Taken::Whole => rows.push((format!("quire undo {id}"), "take it back".to_owned())),
        _ if review.has_only_committed() => {
            rows.push((format!("quire accept {id}"), "bring the commits".to_owned()));
        }
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
    if let Some(assumed) = review.assumed.first() {
        rows.push((assumed.answer.clone(), "confirm or change what it assumed".to_owned()));
    }
    if review.drift.iter().any(|row| row.fit != Fit::Merges) {
        rows.push((format!("quire revise {id} --fit"), "let it fit around yours".to_owned()));
        rows.push((
            format!("quire accept {id} --over PATH"),
            "take the task's side, yours kept aside".to_owned(),
        ));
    }
    match review.notes.iter().filter(|note| note.state == Standing::Draft).count() as u64 {
        0 => rows.push((format!("quire revise {id} \"...\""), "ask for changes".to_owned())),
        drafts => rows.push((format!("quire send {id}"), format!("send {}", count(drafts, "note")))),
    }
    match review.taken {
        Taken::No => rows.push((format!("quire discard {id}"), "drop it".to_owned())),
        Taken::Part => rows.push((format!("quire discard {id}"), "leave the rest".to_owned())),
        Taken::Whole | Taken::Earlier => {}
    }
    told(review, &rows)
}

/// Returns where the folder stands, and what can be done.
fn told(review: &Review, rows: &[(String, String)]) -> String {
    let widest = rows.iter().map(|(command, _)| columns(command)).max().unwrap_or(0);
    let rows = rows.iter().map(|(command, does)| format!("{}   {does}\n", pad(command, widest)));
    let folder = if review.files.is_empty() { String::new() } else { format!("{}\n", review.folder_text()) };
    format!("{folder}{}", rows.collect::<String>())
}

/// Returns a path as `accept` and `undo` take it: below its folder's name where there are several.
pub fn named(folder: u32, path: &RelPath, folders: &[PathBuf]) -> String {
    match folders.get(folder as usize) {
        Some(folder) if folders.len() > 1 => {
            let folder = folder.file_name().unwrap_or(folder.as_os_str());
            format!("{}/{path}", folder.to_string_lossy())
        }
        _ => path.to_string(),
    }
}

/// Returns a file's name, how much of it changed, and its hunks.
pub fn change(file: &FileChange, folders: &[PathBuf], look: &Look) -> String {
    let name = named(file.folder, &file.path, folders);
    let size = match file.shape {
        Shape::File if file.binary || file.large => format!(", {}", size(file.bytes)),
        _ => String::new(),
    };
    let mut out = format!("{}  {}{size}\n", look.paint(BOLD, &one_line(&name)), file.extent());
    if file.generated && file.added + file.removed > GENERATED_LINES_MAX {
        out.push_str(&look.paint(DIM, "      written by a program; --diff has it all\n"));
        return out;
    }
    let mut last: Option<&Hunk> = None;
    for hunk in &file.hunks {
        // A file that came or went whole is taken by its name.
        let id = if file.fate == Fate::Changed { &hunk.id[..ID_SHOWN] } else { "" };
        let mark = if last.is_some_and(|last| !last.touches(hunk)) { '⋮' } else { ' ' };
        if !id.is_empty() || mark != ' ' {
            out.push_str(&look.paint(DIM, format!("   {mark}  {id}").trim_end()));
            out.push('\n');
        }
        hunk_text(hunk, look, &mut out);
        last = Some(hunk);
    }
    if file.large {
        out.push_str(&look.paint(DIM, "      too large to be compared here; --diff has it all\n"));
    }
    out
}

fn hunk_text(hunk: &Hunk, look: &Look, out: &mut String) {
    let (mut was, mut now) = (hunk.was_start, hunk.now_start);
    for line in &hunk.lines {
        let (number, sign, code) = match line.kind {
            Kind::Same => (now, ' ', None),
            Kind::Added => (now, '+', Some(GREEN)),
            Kind::Removed => (was, '-', Some(RED)),
        };
        let text = line.text.strip_suffix(b"\n").unwrap_or(&line.text);
        // Where only the line end changed, it is the change.
        let (text, end) = match text.strip_suffix(b"\r") {
            Some(text) if line.kind != Kind::Same => (text, "␍"),
            _ => (text, ""),
        };
        let piece = |range: Range<usize>| {
            let range = range.start.min(text.len())..range.end.min(text.len());
            clean(&String::from_utf8_lossy(&text[range])).replace('\t', "    ")
        };
        let head = format!("{number:>5} {sign} ");
        let shown = match code {
            Some(code) if look.color && !line.words.is_empty() => {
                let (mut shown, mut at) = (head, 0);
                for word in &line.words {
                    shown.push_str(&piece(at..word.start));
                    // Bold, within the line's colour.
                    shown.push_str(&format!("\x1b[{BOLD}m{}\x1b[0m\x1b[{code}m", piece(word.clone())));
                    at = word.end;
                }
                look.paint(code, &format!("{shown}{}{end}", piece(at..text.len())))
            }
            Some(code) => look.paint(code, &format!("{head}{}{end}", piece(0..text.len()))),
            None => format!("{head}{}{end}", piece(0..text.len())),
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

#[cfg(test)]
pub mod tests {
    use super::*;
    use quire_core::change::{Entry, Node};
    use quire_core::event::{Apart, Connection, Conventions, Refused};
    use quire_core::finding::{self, Finding};
    use quire_core::task::{Needed, Reviewed};
    use quire_core::view::{AgentQuestion, Cost};
    use quire_core::view::{DriftRow, LeftOut, Mark};
    use quire_core::{Hash, RelPath};

    pub const PLAIN: Look = Look { terminal: false, color: false, width: 80 };

    fn change(path: &[u8], was: Option<(&str, u32)>, now: Option<(&str, u32)>) -> FileChange {
        let node = |(text, mode): (&str, u32)| Node::File {
            blob: Hash::of(text.as_bytes()),
            bytes: text.len() as u64,
            mode,
        };
        let path = RelPath::new(path).unwrap();
        let entry = Entry { folder: 0, path, was: was.map(node), now: now.map(node) };
        FileChange::of(&entry, was.map(|(text, _)| text.as_bytes()), now.map(|(text, _)| text.as_bytes()))
    }

    fn check(command: &str, passed: bool, outcome: &str) -> CheckRow {
        let output = "line 1\n\x1b[31mline 2\x1b[0m\n".to_owned();
        CheckRow {
            name: command.into(),
            command: command.into(),
            passed: Some(passed),
            outcome: outcome.into(),
            doubted: outcome.contains("but: "),
            as_before: false,
            millis: 9,
            output,
            shots: vec![],
        }
    }

    fn connection(host: &str, port: u16) -> Connection {
        let refused = Some(Refused::NotListed);
        Connection { host: host.into(), port, count: 3, up: 4_000, down: 1_200_000, refused }
    }

    const SAID: &str = "Tax is now rounded once, after adding\x1b[2J. The failing test passes; I ran all of them twice.\n\n\
                        Claim: The code is tidy. [make lint]\n\
                        Claim: It is faster on the largest bill that anybody of us has ever seen, or is ever to see. [none]\n\
                        Assumed: prices are in euros\n- Not checked: negative amounts.\nNot done: the letter\n\n\
                        Next: Round the customer's bill too\x1b[2J\nNext: Tell me which bills were wrong";

    /// A review with all that can stand in one; what came from outside tries to move the cursor.
    pub fn sample() -> Review {
        let long: String = (1..=30).map(|n| format!("line {n}\n")).collect();
        let checks = vec![
            check("cargo test", true, "passes, but: the agent changed tests/tax.rs"),
            check("make lint", false, "fails (exit 2)"),
        ];
        let longer = long.replace("line 3\n", "line three\n").replace("line 28\n", "line 28\nline 28b\n");
        Review {
            task: 3,
            title: "Fix the\x1b[2J failing rounding test".into(),
            mark: Mark::Ready,
            state: "says done, but 1 of 2 checks failed".into(),
            version: 1,
            again: None,
            edited: vec![],
            stands_after: None,
            since: None,
            worked_ms: 125_000,
            tokens: 48_210,
            cost: Cost::default(),
            brief: Brief::of(SAID, &checks),
            checks,
            files: vec![
                change(b"src/tax.rs", Some((&long, 0o644)), Some((&longer, 0o644))),
                change(b"crlf.txt", Some(("a\r\n", 0o644)), Some(("a\n", 0o644))),
                change(b"bad\x1b[31m\xff.txt", None, Some(("\u{202e}x\ty\n", 0o644))),
                change(b"gone.txt", Some(("", 0o644)), None),
                change(b"pic.png", Some(("\0", 0o644)), Some(("\0\0", 0o644))),
                change(b"run.sh", Some(("#\n", 0o644)), Some(("#\n", 0o755))),
            ],
            left_out: vec![],
            in_git: vec![],
            without_git: vec![],
            only_agents: vec![],
            moved: vec![],
            imported: false,
            gone: vec![],
            drift: vec![],
            serving: None,
            reached: vec![
                Connection { refused: None, ..connection("pypi.org", 443) },
                Connection { refused: None, ..connection("files.pythonhosted.org", 443) },
                connection("xn--pple-43d.example", 22),
            ],
            assumed: vec![AgentQuestion {
                question: 2,
                text: "Which\x1b[2J rate, the one of this year or the one of the year in which it was sold?"
                    .into(),
                choices: vec![],
                assumed: Some("this year's".into()),
                waits: false,
                answer: "quire answer 3 2=\"...\"".into(),
            }],
            notes: vec![],
            folders: vec!["/f".into()],
            needed_you: Needed { questions: 1, revisions: 2, ..Needed::default() },
            stand_ins: vec![],
            looked: vec![LookRow {
                target: "index.html".into(),
                said: "error: x".into(),
                pictures: vec![],
                stale: true,
            }],
            not_looked: vec!["index.html".into()],
            reviewer: Some(Reviewed {
                by: "lab/eyes".into(),
                not_reviewed: None,
                open: vec![Finding {
                    kind: finding::Kind::Wrong,
                    file: Some("src/tax.rs".into()),
                    line: Some(3),
                    text: "It rounds twice.".into(),
                }],
                mended: 1,
            }),
            weak: None,
            conventions: Conventions {
                instructions: vec!["/home/ada/code/AGENTS.md".into()],
                ..Conventions::default()
            },
            apart: Apart {
                repositories: vec![],
                outside: Listing {
                    paths: vec!["/etc/a".into(), "/usr/b".into(), "/usr/c".into()],
                    total: 1204,
                },
                ignored: Listing { paths: vec!["0/target".into()], total: 1 },
                git: Listing { paths: vec!["0/.git/index".into()], total: 2 },
                special: Listing::default(),
                installed: vec!["sudo apt install jq".into()],
            },
            seen: Hash::of(b"seen"),
            taken: Taken::No,
        }
    }

    #[test]
    fn a_review_at_80_columns() {
        let shown = text(&sample(), &["/home/ada/code".into()], &PLAIN);
        assert!(!shown.contains(['\x1b', '\u{202e}', '\r']));
        insta::assert_snapshot!(shown, @r#"
    3  Fix the failing rounding test
       says done, but 1 of 2 checks failed, version 1, 2:05, 48,210 tokens
    Tax is now rounded once, after adding.

    CLAIMS  ⚑ The failing test passes; I ran all of them twice: `cargo test`
              passes, but: the agent changed tests/tax.rs
            ✗ The code is tidy: `make lint` fails (exit 2)
            ○ It is faster on the largest bill that anybody of us has ever seen,
              or is ever to see: not checked
    ASSUMED │ 2. this year's (Which rate, the one of this year or the one of the
            │ year in which it was sold?)
            prices are in euros
    OPEN    negative amounts.
            the letter
    NEXT    quire revise 3 'Round the customer'\''s bill too'
            quire revise 3 'Tell me which bills were wrong'
    LOOKED  index.html, 1 error, before its last changes
            ○ not looked at: index.html
    REVIEW  lab/eyes found 2 things, 1 still open
            ○ wrong, src/tax.rs:3: It rounds twice.
    LOOK    gone.txt  is deleted
            run.sh  can now be run as a program
            pic.png  is no text, or too large: taken without a look inside
            bad\x1b[31m\xff.txt  its name holds a control character (U+001B), and 1…
            .git  2 paths changed, which Accept does not take
    CHECKS  ⚑ cargo test  passes, but: the agent changed tests/tax.rs
            ✗ make lint  fails (exit 2)
              line 1
              line 2
    APART   outside the folder, not taken: /etc/a, /usr/b, /usr/c and 1,201 more
            in ignored folders, not taken: target
    INSTALL not taken; the same on your machine: sudo apt install jq
    TOLD    instructions of /home/ada/code/AGENTS.md
    REACHED pypi.org (3 connections, 1.2 MB down, 4.0 kB up), files.pythonhosted.org
            (3 connections, 1.2 MB down, 4.0 kB up); refused:
            xn--pple-43d.example:22 (not on this task's list)
    NEEDED  you 3 times: 1 answer, 2 changes

    src/tax.rs  +2 -1
          4d5c9535
        1   line 1
        2   line 2
        3 - line 3
        3 + line three
        4   line 4
        5   line 5
        6   line 6
       ⋮  949bc901
       26   line 26
       27   line 27
       28   line 28
       29 + line 28b
       30   line 29
       31   line 30

    crlf.txt  +1 -1
          895b7153
        1 - a␍
        1 + a

    bad\x1b[31m\xff.txt  new, +1
        1 + <U+202E>x    y

    gone.txt  deleted
    pic.png  changed, binary, 2 bytes
    run.sh  changed, can be run

    Your folder has not changed.
    quire accept 3                       take all
    quire accept 3 PATH                  take a part
    quire accept 3 --seen b40cd7704fee   take exactly this
    quire answer 3 2="..."               confirm or change what it assumed
    quire revise 3 "..."                 ask for changes
    quire discard 3                      drop it
    "#);
    }

    #[test]
    fn a_review_of_nothing_and_of_what_is_in_the_folder() {
        let nothing = Review {
            assumed: vec![],
            needed_you: Needed::default(),
            files: vec![],
            checks: vec![],
            reached: vec![],
            apart: Apart::default(),
            brief: Brief::default(),
            conventions: Conventions::default(),
            reviewer: None,
            looked: vec![],
            not_looked: vec![],
            ..sample()
        };
        insta::assert_snapshot!(text(&nothing, &["/f".into()], &PLAIN), @r#"
    3  Fix the failing rounding test
       says done, but 1 of 2 checks failed, version 1, 2:05, 48,210 tokens
    The model ended without a word.

    CHECKS  ○ not checked: there is no check (--check, or [checks] in quire.toml)

    Nothing in the folder changed.

    quire revise 3 "..."   ask for changes
    quire discard 3        drop it
    "#);
        let files = vec![change(b"a", None, Some(("x\n", 0o644)))];
        let part = Review { files, assumed: vec![], apart: Apart::default(), taken: Taken::Part, ..sample() };
        let shown = text(&part, &["/f/one".into(), "/f/two".into()], &PLAIN);
        let shown: Vec<&str> = shown.lines().skip_while(|line| !line.starts_with("one/a")).collect();
        insta::assert_snapshot!(shown.join("\n"), @r#"
    one/a  new, +1
        1 + x

    Part of it is in your folder.
    quire accept 3                       take all
    quire accept 3 PATH                  take a part
    quire accept 3 --seen b40cd7704fee   take exactly this
    quire undo 3                         take back what is in your folder
    quire revise 3 "..."                 ask for changes
    quire discard 3                      leave the rest
    "#);
    }

    #[test]
    fn what_the_copy_did_not_have_is_told_but_not_without_end() {
        let left = |n: usize| LeftOut {
            folder: 0,
            path: RelPath::new(format!("secret{n}")).unwrap(),
            why: "cannot be read".into(),
        };
        let left_out = (0..=LOOK_MAX).map(left).collect();
        let review = Review { files: vec![], apart: Apart::default(), left_out, ..sample() };
        let shown = text(&review, &["/f".into()], &PLAIN);
        assert!(shown.contains("LOOK    secret0  was not in the copy: cannot be read\n"), "{shown}");
        assert!(shown.contains("        and 1 more; --json has them all\n"), "{shown}");
    }

    #[test]
    fn of_several_folders_each_path_is_named_with_its_own() {
        let path = |name: &str| RelPath::new(name).unwrap();
        let left_out = vec![LeftOut { folder: 1, path: path("secret"), why: "cannot be read".into() }];
        let drift = vec![DriftRow { folder: 1, path: path("b.txt"), fit: Fit::Gone, overlaps: vec![] }];
        let folders = vec!["/a/site".into(), "/a/lib".into()];
        let review = Review { left_out, drift, folders: folders.clone(), ..sample() };
        let shown = text(&review, &folders, &PLAIN);
        for line in [
            "        lib/secret  was not",
            "LOOK    site/gone.txt  is deleted",
            "YOURS   lib/b.txt  you deleted it",
            "in ignored folders, not taken: site/target",
        ] {
            assert!(shown.contains(line), "{line}: {shown}");
        }
    }

    #[test]
    fn colours_are_of_the_theme_and_only_on_a_terminal() {
        let painted = text(&sample(), &["/f".into()], &Look { terminal: true, color: true, width: 80 });
        assert!(painted.contains("\x1b[32m    3 + line \x1b[1mthree\x1b[0m\x1b[32m\x1b[0m\n"));
        let codes =
            painted.split("\x1b[").skip(1).filter_map(|rest| rest.split('m').next()).collect::<Vec<_>>();
        assert!(codes.iter().all(|code| ["0", "1", "2", "31", "32", "33"].contains(code)), "{codes:?}");
    }
}
