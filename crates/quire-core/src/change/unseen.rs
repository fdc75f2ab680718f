//! Characters that a reader does not see, or takes for others: what a diff shows then is not what a program reads.
//!
//! Directions of writing that turn a line round (CVE-2021-42574), marks of no width, controls that move a terminal's cursor,
//! and letters of one script among those of another (CVE-2021-42694). Languages that are written from right to left, emoji
//! and names in one script are not told of.

use crate::bytes::RelPath;
use crate::diff::{Hunk, Kind};
use serde::Serialize;

/// Characters of a line that is new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unseen {
    /// In the file as it is now, from 1; absent: in its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// In words, with the character's number: `a direction mark (U+202E)`.
    pub what: String,
}

/// Returns what is hard to see in a path's name and in added lines; the first of each line.
pub fn unseen(path: &RelPath, hunks: &[Hunk]) -> Vec<Unseen> {
    let name = String::from_utf8_lossy(path.as_bytes());
    let in_name = name.chars().find_map(strange).or_else(|| words(&name).find_map(mixed));
    let mut found: Vec<Unseen> = in_name.map(|what| Unseen { line: None, what }).into_iter().collect();
    for hunk in hunks {
        let now = hunk.lines.iter().filter(|line| line.kind != Kind::Removed);
        for (line, number) in now.zip(hunk.now_start..).filter(|(line, _)| line.kind == Kind::Added) {
            let what = in_line(&line.text, number == 1);
            found.extend(what.map(|what| Unseen { line: Some(number), what }));
        }
    }
    found
}

fn in_line(text: &[u8], first: bool) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    // At its end it is an end of line of another kind, which is shown as one; in the midst it hides what stands before.
    let text = text.strip_suffix('\r').unwrap_or(text);
    // A byte order mark at a file's very beginning is what editors of Windows write.
    let text = if first { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text };
    let mut last = None;
    for c in text.chars() {
        // Joiners hold emoji and some scripts together.
        let joins =
            matches!(c, '\u{200c}' | '\u{200d}') && last.is_some_and(|last: char| last as u32 > 0x2ff);
        if !joins && let Some(what) = strange(c) {
            return Some(what);
        }
        last = Some(c);
    }
    words(text).find_map(mixed)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
}

fn strange(c: char) -> Option<String> {
    let what = match c {
        '\t' => return None,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}' => {
            "a direction mark"
        }
        '\u{200b}'..='\u{200d}'
        | '\u{2060}'..='\u{2064}'
        | '\u{feff}'
        | '\u{ad}'
        | '\u{180e}'
        | '\u{34f}' => "a character of no width",
        '\u{e0000}'..='\u{e007f}' | '\u{e0100}'..='\u{e01ef}' => "a character that is not shown",
        '\u{3164}' | '\u{115f}' | '\u{1160}' | '\u{ffa0}' => "a letter that looks like a blank",
        '\r' => "a return to the line's beginning",
        c if c.is_control() => "a control character",
        _ => return None,
    };
    Some(format!("{what} (U+{:04X})", c as u32))
}

/// Finds a letter of Greek or Cyrillic beside a Latin one, in one word.
fn mixed(word: &str) -> Option<String> {
    let script = |c: char| match c {
        'a'..='z' | 'A'..='Z' => 1,
        '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}' => 2,
        '\u{400}'..='\u{52f}' => 3,
        _ => 0,
    };
    let latin = word.chars().any(|c| script(c) == 1);
    // Greek letters stand beside Latin ones in formulas; only those count that look the same.
    let twin = |c: &char| match script(*c) {
        3 => true,
        2 => "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧονικ".contains(*c),
        _ => false,
    };
    let found = word.chars().find(twin).filter(|_| latin)?;
    let of = if script(found) == 2 { "Greek" } else { "Cyrillic" };
    Some(format!("a {of} letter among Latin ones (U+{:04X})", found as u32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::hunks;

    #[test]
    fn what_is_not_seen_is_told_and_ordinary_writing_is_not() {
        for (path, now, expected) in [
            ("a", "if admin\u{202e} {\n", &[(Some(1), "a direction mark (U+202E)")][..]),
            ("a", "x\npass\u{200b}word\n", &[(Some(2), "a character of no width (U+200B)")]),
            ("a", "safe\rrm -rf\r\n", &[(Some(1), "a return to the line's beginning (U+000D)")]),
            ("a", "\x1b[8mhidden\n", &[(Some(1), "a control character (U+001B)")]),
            ("a", "p\u{430}ypal\n", &[(Some(1), "a Cyrillic letter among Latin ones (U+0430)")]),
            ("a", "tag\u{e0041}\n", &[(Some(1), "a character that is not shown (U+E0041)")]),
            ("p\u{430}y.txt", "x\n", &[(None, "a Cyrillic letter among Latin ones (U+0430)")]),
            ("x\u{202e}txt.exe", "x\n", &[(None, "a direction mark (U+202E)")]),
            ("a", "\u{feff}begins as editors of Windows do\r\n", &[]),
            ("a", "תודה רבה, שלום\n", &[]),
            ("a", "👩\u{200d}👩\u{200d}👧 mi\u{300}\n", &[]),
            ("a", "кириллица and Latin, each in its own words\n", &[]),
            ("a", "Δx = 2πr, µm\tend\n", &[]),
            ("заметки/план.txt", "x\n", &[]),
        ] {
            let path = RelPath::new(path).unwrap();
            let found = unseen(&path, &hunks(0, &path, b"", now.as_bytes()));
            let found: Vec<_> = found.iter().map(|one| (one.line, one.what.as_str())).collect();
            assert_eq!(found, expected, "{now:?}");
        }
    }
}
