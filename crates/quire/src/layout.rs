//! Text in columns: how wide it is, cut to fit, filled up, broken into lines.

use crate::terminal::clean;
pub use quire_core::view::thousands;

/// Returns `text` clean and on one line.
pub fn one_line(text: &str) -> String {
    clean(text).replace(['\n', '\t'], " ")
}

/// Returns how many columns a terminal gives `text`, near enough for layout: 2 for the wide scripts of East Asia and for
/// pictographs, 0 for marks that sit on the letter before (Unicode TR 11 and TR 51, by block).
pub fn columns(text: &str) -> usize {
    text.chars().map(width).sum()
}

fn width(c: char) -> usize {
    match c as u32 {
        0x300..=0x36f | 0x200c..=0x200d | 0xfe00..=0xfe0f | 0x20d0..=0x20ff => 0,
        0x1100..=0x115f
        | 0x2e80..=0x303e
        | 0x3041..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f900..=0x1f9ff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// Returns `text` cut to at most `most` columns, with `…` for what is left out.
pub fn cut(text: &str, most: usize) -> String {
    if columns(text) <= most {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += width(c);
        if used + 1 > most {
            break;
        }
        out.push(c);
    }
    if most > 0 {
        out.push('…');
    }
    out
}

/// Returns `text` filled up with blanks to at least `least` columns.
pub fn pad(text: &str, least: usize) -> String {
    format!("{text}{}", " ".repeat(least.saturating_sub(columns(text))))
}

/// Returns `left` and `right` at the two ends of a line; `left` is cut where both do not fit.
pub fn ends(left: &str, right: &str, width: usize) -> String {
    let room = width.saturating_sub(columns(right) + 2);
    format!("{}  {right}", pad(&cut(left, room), room))
}

/// Returns `text` broken between words into lines of at most `width` columns, each after `indent`; its own line breaks and
/// the blanks that its lines begin with stay. A word that is too long has a line of its own.
pub fn wrap(text: &str, width: usize, indent: &str) -> String {
    let room = width.saturating_sub(columns(indent)).max(16);
    let mut out = String::new();
    for line in text.lines() {
        let begin: String = line.chars().take_while(|c| *c == ' ').collect();
        let mut current = begin.clone();
        let mut empty = true;
        for word in line.split_whitespace() {
            if !empty && columns(&current) + 1 + columns(word) > room {
                out.push_str(&format!("{indent}{current}\n"));
                current = begin.clone();
                empty = true;
            }
            if !empty {
                current.push(' ');
            }
            current.push_str(word);
            empty = false;
        }
        out.push_str(format!("{indent}{current}").trim_end());
        out.push('\n');
    }
    out
}

/// Returns somebody else's text in a frame: clean, at most `width` columns, each line after `indent` and a bar, so that none
/// of it can pass for quire's own words.
pub fn framed(text: &str, width: usize, indent: &str) -> String {
    wrap(&clean(text), width, &format!("{indent}│ "))
}

/// Returns a word as a shell reads it back.
pub fn quoted(word: &str) -> String {
    let plain =
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./=:,@%+".contains(&b));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_and_filled_by_columns() {
        let rows = [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("日本語", 5, "日本…"),
            ("日本", 4, "日本"),
            ("abc", 0, ""),
        ];
        for (text, most, expected) in rows {
            assert_eq!(cut(text, most), expected);
            assert!(columns(&cut(text, most)) <= most);
        }
        assert_eq!((pad("日", 4), columns("e\u{301}")), ("日  ".into(), 1));
        assert_eq!(ends("left", "right", 14), "left     right");
        assert_eq!(ends("left side", "right", 14), "left s…  right");
    }

    #[test]
    fn lines_break_between_words() {
        let text = "one two three four\n\n  - five six seven eight\nlonglonglonglonglong x";
        let expected =
            "> one two three\n> four\n>\n>   - five six\n>   seven eight\n> longlonglonglonglong\n> x\n";
        assert_eq!(wrap(text, 18, "> "), expected);
    }

    #[test]
    fn words_come_back_from_a_shell_as_they_were() {
        for (word, shell) in
            [("ls", "ls"), ("a b", "'a b'"), ("", "''"), ("it's", "'it'\\''s'"), ("$HOME;", "'$HOME;'")]
        {
            assert_eq!(quoted(word), shell);
        }
    }

    #[test]
    fn thousands_are_apart() {
        assert_eq!(
            [0, 999, 1000, 41_000, 1_234_567].map(thousands),
            ["0", "999", "1,000", "41,000", "1,234,567"]
        );
    }
}
