//! What within changed lines changed: words, found where lines gave place to others that are much like them.

use super::{Kind, Line};
use similar::{Algorithm, DiffOp};
use std::ops::Range;

/// Words and signs in a hunk up to which they are compared: nobody reads marks in a longer one.
const COMPARED_MAX: usize = 4000;
/// Of the words of both sides together, in percent, how many have to be the same; in lines that have less in common, marks
/// would be noise.
const SAME_PERCENT_MIN: usize = 40;

/// A word, a stretch of blanks, or one other character; and where it stands.
struct Piece<'a> {
    text: &'a str,
    line: usize,
    at: Range<usize>,
}

/// Marks what changed in the lines of one hunk.
pub fn mark(lines: &mut [Line]) {
    let marks = {
        let (Some(was), Some(now)) = (pieces(lines, Kind::Removed), pieces(lines, Kind::Added)) else {
            return;
        };
        if was.is_empty() || now.is_empty() || was.len() + now.len() > COMPARED_MAX {
            return;
        }
        let text =
            |pieces: &[Piece<'_>]| pieces.iter().map(|piece| piece.text.to_owned()).collect::<Vec<_>>();
        let found = similar::capture_diff_slices(Algorithm::Myers, &text(&was), &text(&now));
        let solid =
            |pieces: &[Piece<'_>]| pieces.iter().filter(|piece| !piece.text.trim().is_empty()).count();
        let same: usize = found
            .iter()
            .filter(|op| matches!(op, DiffOp::Equal { .. }))
            .map(|op| solid(&was[op.old_range()]))
            .sum();
        if same * 200 < SAME_PERCENT_MIN * (solid(&was) + solid(&now)) {
            return;
        }
        let mut marks: Vec<(usize, Range<usize>)> = vec![];
        for op in found.iter().filter(|op| !matches!(op, DiffOp::Equal { .. })) {
            for piece in was[op.old_range()].iter().chain(&now[op.new_range()]) {
                match marks.last_mut() {
                    Some((line, at)) if *line == piece.line && at.end == piece.at.start => {
                        at.end = piece.at.end
                    }
                    _ => marks.push((piece.line, piece.at.clone())),
                }
            }
        }
        marks
    };
    for (line, at) in marks {
        lines[line].words.push(at);
    }
    // A line that changed from its beginning to its end says no more when all of it is marked.
    for line in lines {
        let end = line.text.strip_suffix(b"\n").unwrap_or(&line.text).len();
        if line.words.iter().any(|at| at.start == 0 && at.end >= end) {
            line.words.clear();
        }
    }
}

/// Returns the pieces of all lines of a kind, or `None` where one of them is no UTF-8, or they are more than are compared.
fn pieces(lines: &[Line], kind: Kind) -> Option<Vec<Piece<'_>>> {
    let mut pieces = vec![];
    for (line, content) in lines.iter().enumerate().filter(|(_, line)| line.kind == kind) {
        if pieces.len() > COMPARED_MAX {
            return None;
        }
        let content = std::str::from_utf8(&content.text).ok()?;
        let mut start = 0;
        let mut last = None;
        for (at, c) in content.char_indices() {
            let class = match c {
                '\r' | '\n' => 0,
                c if c.is_alphanumeric() || c == '_' => 1,
                c if c.is_whitespace() => 2,
                _ => 0,
            };
            if last.is_some_and(|last| last != class || class == 0) {
                if pieces.len() > COMPARED_MAX {
                    return None; // one line may be as long as a file
                }
                pieces.push(Piece { text: &content[start..at], line, at: start..at });
                start = at;
            }
            last = Some(class);
        }
        if last.is_some() {
            pieces.push(Piece { text: &content[start..], line, at: start..content.len() });
        }
    }
    Some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the lines with `[` and `]` around what is marked.
    fn marked(was: &str, now: &str) -> Vec<String> {
        let side = |kind, text: &str| {
            super::super::lines(text.as_bytes())
                .into_iter()
                .map(|line| Line { kind, text: line.to_vec(), words: vec![] })
                .collect::<Vec<_>>()
        };
        let mut lines = [side(Kind::Removed, was), side(Kind::Added, now)].concat();
        mark(&mut lines);
        let show = |line: &Line| {
            let mut text = String::from_utf8_lossy(&line.text).into_owned();
            for at in line.words.iter().rev() {
                text.insert(at.end, ']');
                text.insert(at.start, '[');
            }
            text.trim_end().to_owned()
        };
        lines.iter().map(show).collect()
    }

    #[test]
    fn words_that_changed_are_marked() {
        for (was, now, expected) in [
            (
                "let tax = round(sum);\n",
                "let tax = round_up(sum);\n",
                &["let tax = [round](sum);", "let tax = [round_up](sum);"][..],
            ),
            ("a b c\n", "a b c d\n", &["a b c", "a b c[ d]"]),
            ("x = 1\ny = 2\n", "x = 1\ny = 3\n", &["x = 1", "y = [2]", "x = 1", "y = [3]"]),
            ("a\r\n", "a\n", &["a[\r]", "a"]),
            // Nothing in common: the lines are the change.
            ("one two three\n", "vier fünf sechs\n", &["one two three", "vier fünf sechs"]),
            ("grün\n", "grün!\n", &["grün", "grün[!]"]),
            ("only gone\n", "", &["only gone"]),
        ] {
            assert_eq!(marked(was, now), expected);
        }
    }
}
