//! A file's changes as rows, and a row as HTML: in one column, or the old beside the new. One element a line and side, its
//! numbers in attributes, which are no text and so are not copied with it: what a browser lays out is a twentieth of a grid
//! with three elements a line.

use crate::web::around::{self, Around, Room};
use crate::web::code;
use crate::web::notes;
use crate::web::text::marked;
use maud::{Markup, html};
use quire_core::diff::{self, Hunk, Kind, Line};
use quire_core::view::marks::{Piece, pieces};
use quire_core::view::{FileChange, Review};
use std::ops::Range;

/// Of a line, in characters; a longer one is cut, and the plain diff has it.
const LINE_CHARS_MAX: usize = 2000;

/// How changes are laid out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    Unified,
    Split,
}

/// What a drawn change depends on beside the change.
#[derive(Clone, Copy)]
pub struct Drawing<'n> {
    pub layout: Layout,
    /// Hunks can be left out.
    pub choosable: bool,
    /// They are the changes since this version, and not all.
    pub since: Option<u32>,
    /// The file's, which says what language it is.
    pub name: &'n str,
    /// Whose notes stand among the lines, and of which of its files these are.
    pub noted: Option<(&'n Review, usize)>,
    /// More can be shown around hunks.
    pub around: Option<&'n Around>,
}

/// A line with its number.
type At<'r> = (usize, &'r Line);

/// A row as it is drawn.
pub enum Row<'r> {
    Hunk(&'r Hunk, Room),
    Same {
        was: usize,
        now: usize,
        line: &'r Line,
    },
    Removed(At<'r>),
    Added(At<'r>),
    /// What went beside what came in its place.
    Beside(Option<At<'r>>, Option<At<'r>>),
}

/// Returns the rows of a file's changes.
pub fn rows(file: &FileChange, layout: Layout) -> Vec<Row<'_>> {
    let mut rows = vec![];
    for (number, hunk) in file.hunks.iter().enumerate() {
        rows.push(Row::Hunk(hunk, around::room(file, number)));
        let (mut was, mut now) = (hunk.was_start, hunk.now_start);
        let (mut went, mut came) = (vec![], vec![]);
        for line in &hunk.lines {
            match line.kind {
                Kind::Removed => went.push((was, line)),
                Kind::Added => came.push((now, line)),
                Kind::Same => {
                    lay(&mut rows, layout, &mut went, &mut came);
                    rows.push(Row::Same { was, now, line });
                }
            }
            was += usize::from(line.kind != Kind::Added);
            now += usize::from(line.kind != Kind::Removed);
        }
        lay(&mut rows, layout, &mut went, &mut came);
    }
    rows
}

fn lay<'r>(rows: &mut Vec<Row<'r>>, layout: Layout, went: &mut Vec<At<'r>>, came: &mut Vec<At<'r>>) {
    match layout {
        Layout::Unified => {
            rows.extend(went.drain(..).map(Row::Removed));
            rows.extend(came.drain(..).map(Row::Added));
        }
        Layout::Split => {
            let beside = |n: usize| Row::Beside(went.get(n).copied(), came.get(n).copied());
            rows.extend((0..went.len().max(came.len())).map(beside));
            (*went, *came) = (vec![], vec![]);
        }
    }
}

/// Returns a row. Where hunks can be chosen, each has a box by which it is left out.
pub fn row(row: &Row<'_>, drawing: Drawing<'_>) -> Markup {
    let now = match row {
        Row::Same { now, .. } | Row::Added((now, _)) | Row::Beside(_, Some((now, _))) => Some(*now),
        _ => None,
    };
    let noted = drawing.noted.zip(now).into_iter();
    html! {
        (line(row, drawing))
        @for ((review, file), now) in noted { @for note in notes::at(review, file, now) { (notes::inline(review.task, note)) } }
    }
}

fn line(row: &Row<'_>, drawing: Drawing<'_>) -> Markup {
    let code = |line| code(drawing.name, line);
    match row {
        Row::Hunk(hunk, room) => head(hunk, *room, drawing),
        Row::Same { was, now, line } => match drawing.layout {
            Layout::Unified => {
                html! { span.l data-o=(was) data-n=(now) data-h=[code(line)] { (text(line)) } }
            }
            Layout::Split => html! {
                span.l data-o=(was) data-h=[code(line)] { (text(line)) }
                span.l.r aria-hidden="true" data-n=(now) data-h=[code(line)] { (text(line)) }
            },
        },
        Row::Removed((was, line)) => html! { del.l.d data-o=(was) data-h=[code(line)] { (text(line)) } },
        Row::Added((now, line)) => html! { ins.l.a data-n=(now) data-h=[code(line)] { (text(line)) } },
        Row::Beside(went, came) => html! {
            @match went { Some((was, line)) => del.l.d data-o=(was) data-h=[code(line)] { (text(line)) }, None => span.l.none {} }
            @match came { Some((now, line)) => ins.l.r.a data-n=(now) data-h=[code(line)] { (text(line)) }, None => span.l.r.none {} }
        },
    }
}

/// Returns what of a line is to be painted. Nothing where marks stand in it, which move what comes after them.
fn code(name: &str, line: &Line) -> Option<String> {
    let text = shown(&line.text, line.kind);
    let is_plain = pieces(&text).iter().all(|piece| matches!(piece, Piece::Plain(_)));
    if is_plain { code::places(name, &text) } else { None }
}

fn head(hunk: &Hunk, room: Room, drawing: Drawing<'_>) -> Markup {
    let (added, removed) = diff::counts(std::slice::from_ref(hunk));
    html! {
        div.hunk-h id=[drawing.around.map(|_| format!("h{}", hunk.id))] {
            h4 { "Line " (hunk.now_start.max(1)) span.vh { ", " (added) " added, " (removed) " removed" } }
            @if let Some(around) = drawing.around { (around.ways(hunk, room)) }
            @match (drawing.noted, drawing.since) {
                (Some((review, _)), None) => (notes::way(review.task, &[("hunk", &hunk.id)])),
                // A change since a version has no name in the whole one; its line has.
                (Some((review, file)), Some(_)) => {
                    (notes::way(review.task, &[("line", &hunk.now_start.max(1).to_string()), ("file", &String::from_utf8_lossy(review.files[file].path.as_bytes()))]))
                },
                (None, _) => {},
            }
            @if drawing.choosable {
                label { input type="checkbox" form="accept" name="leave" value=(hunk.id); "Leave this out" }
            }
        }
    }
}

/// Returns a line's text, with what of it changed marked.
fn text(line: &Line) -> Markup {
    let text = shown(&line.text, line.kind);
    let end = text.len();
    let words = line.words.iter().map(|word| word.start.min(end)..word.end.min(end));
    // Where the text is not as it is in the file, its places are not either.
    let words: Vec<Range<usize>> = words
        .filter(|word| {
            !word.is_empty() && text.is_char_boundary(word.start) && text.is_char_boundary(word.end)
        })
        .collect();
    let mut at = 0;
    html! {
        @for word in words {
            (marked(&text[at..word.start])) b { (marked(&text[word.clone()])) }
            ({ at = word.end; "" })
        }
        (marked(&text[at..]))
    }
}

/// Returns a line as text. Where only the line end changed, it is the change, and stays.
pub fn shown(text: &[u8], kind: Kind) -> String {
    let text = String::from_utf8_lossy(text);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = if kind == Kind::Same { text.strip_suffix('\r').unwrap_or(text) } else { text };
    match text.char_indices().nth(LINE_CHARS_MAX) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(kind: Kind, text: &str, word: Option<Range<usize>>) -> Line {
        Line { kind, text: text.into(), words: word.into_iter().collect() }
    }

    #[test]
    fn what_changed_in_a_line_is_marked_and_stays_text() {
        let rows = [
            (line(Kind::Added, "let a = two(x);\n", Some(8..11)), "let a = <b>two</b>(x);"),
            (line(Kind::Removed, "a b\n", None), "a b"),
            (line(Kind::Added, "<i>\n", Some(1..2)), "&lt;<b>i</b>&gt;"),
            // Ends that lie beyond the text, and within a character.
            (
                line(Kind::Added, "end\r\n", Some(3..5)),
                "end<b><span class=\"ctl\" title=\"U+000D, carriage return\">␍</span></b>",
            ),
            (line(Kind::Added, "é\n", Some(1..2)), "é"),
            (line(Kind::Same, "same\r\n", None), "same"),
        ];
        for (line, expected) in rows {
            assert_eq!(text(&line).into_string(), expected);
        }
        let long = "x".repeat(LINE_CHARS_MAX + 1);
        assert_eq!(shown(long.as_bytes(), Kind::Added).chars().count(), LINE_CHARS_MAX + 1);
    }

    #[test]
    fn what_went_stands_beside_what_came() {
        let kinds = |c| match c {
            '-' => Kind::Removed,
            '+' => Kind::Added,
            _ => Kind::Same,
        };
        let shape = |text: &str, layout| {
            let lines = text.chars().map(|c| line(kinds(c), "x\n", None)).collect();
            let hunk =
                Hunk { id: String::new(), was_start: 5, was_lines: 0, now_start: 7, now_lines: 0, lines };
            let path = quire_core::RelPath::new("a").unwrap();
            let entry = quire_core::change::Entry { folder: 0, path, was: None, now: None };
            let file = FileChange { hunks: vec![hunk], ..FileChange::of(&entry, None, None) };
            let told = |row: &Row<'_>| match row {
                Row::Hunk(..) => "@".to_owned(),
                Row::Same { was, now, .. } => format!("{was}={now}"),
                Row::Removed((was, _)) => format!("-{was}"),
                Row::Added((now, _)) => format!("+{now}"),
                Row::Beside(went, came) => {
                    let number =
                        |at: &Option<At<'_>>| at.map_or("_".to_owned(), |(number, _)| number.to_string());
                    format!("{}|{}", number(went), number(came))
                }
            };
            super::rows(&file, layout).iter().map(told).collect::<Vec<_>>().join(" ")
        };
        let rows = [
            (" -+ ", "@ 5=7 -6 +8 7=9", "@ 5=7 6|8 7=9"),
            ("--+ ", "@ -5 -6 +7 7=8", "@ 5|7 6|_ 7=8"),
            ("++ -", "@ +7 +8 5=9 -6", "@ _|7 _|8 5=9 6|_"),
            ("", "@", "@"),
        ];
        for (text, unified, split) in rows {
            assert_eq!(shape(text, Layout::Unified), unified, "{text}");
            assert_eq!(shape(text, Layout::Split), split, "{text}");
        }
    }
}
