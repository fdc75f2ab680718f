//! What in a text is not as it looks: characters that are not seen, that change the order in which others are shown, or that
//! look like another alphabet's within a word. After "Trojan Source" (CVE-2021-42574, CVE-2021-42694).

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece<'t> {
    Plain(&'t str),
    /// Not seen as it is.
    Hidden {
        short: String,
        name: String,
    },
    /// A letter that looks like one of the word's own alphabet.
    Alike {
        text: &'t str,
        name: String,
    },
}

/// Returns a text in parts, in order.
pub fn pieces(text: &str) -> Vec<Piece<'_>> {
    if text.is_ascii() && !text.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
        return if text.is_empty() { vec![] } else { vec![Piece::Plain(text)] };
    }
    let mut out = vec![];
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.find(|c: char| !is_of_a_word(c)).unwrap_or(rest.len());
        let mixed = word > 0 && rest[..word].bytes().any(|b| b.is_ascii_alphabetic());
        let end = if word > 0 { word } else { rest.find(is_of_a_word).unwrap_or(rest.len()) };
        parts(&rest[..end], mixed, &mut out);
        rest = &rest[end..];
    }
    out
}

fn is_of_a_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn parts<'t>(text: &'t str, mixed: bool, out: &mut Vec<Piece<'t>>) {
    let mut plain = 0;
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        let piece = match c {
            _ if is_hidden(c) => {
                Piece::Hidden { short: short(c), name: format!("U+{:04X}, {}", c as u32, name(c)) }
            }
            _ if mixed && looks_latin(c) => {
                let name = format!("U+{:04X}, looks like a Latin letter and is none", c as u32);
                Piece::Alike { text: &text[at..end], name }
            }
            _ => continue,
        };
        if plain < at {
            out.push(Piece::Plain(&text[plain..at]));
        }
        out.push(piece);
        plain = end;
    }
    if plain < text.len() {
        out.push(Piece::Plain(&text[plain..]));
    }
}

fn is_hidden(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e01ef}')
}

/// Letters of the Cyrillic and Greek alphabets, and of full width: those that are taken for Latin ones.
fn looks_latin(c: char) -> bool {
    matches!(c, '\u{370}'..='\u{3ff}' | '\u{400}'..='\u{52f}' | '\u{ff21}'..='\u{ff3a}' | '\u{ff41}'..='\u{ff5a}')
}

fn short(c: char) -> String {
    match c {
        '\r' => "␍".to_owned(),
        '\n' => "␊".to_owned(),
        '\0'..='\x1f' => char::from_u32(0x2400 + c as u32).map_or_else(String::new, String::from),
        '\x7f' => "␡".to_owned(),
        _ => format!("U+{:04X}", c as u32),
    }
}

fn name(c: char) -> &'static str {
    match c {
        '\r' => "carriage return",
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}' => {
            "changes the order in which text is shown"
        }
        _ if c.is_control() => "a control character",
        _ => "is not seen",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_14_what_hides_is_a_mark() {
        let shown = |text: &str| {
            let one = |piece: Piece<'_>| match piece {
                Piece::Plain(text) => text.to_owned(),
                Piece::Hidden { short, .. } => format!("[{short}]"),
                Piece::Alike { text, .. } => format!("<{text}>"),
            };
            pieces(text).into_iter().map(one).collect::<String>()
        };
        let rows = [
            ("", ""),
            ("let a = 1;\t// b", "let a = 1;\t// b"),
            ("naïve 日本語 слово ώρα", "naïve 日本語 слово ώρα"),
            // Of the paper: an early return, a stretched string, a comment that is none, an identifier of two alphabets.
            (
                "/*\u{202e} } \u{2066}if (isAdmin)\u{2069} \u{2066} begin",
                "/*[U+202E] } [U+2066]if (isAdmin)[U+2069] [U+2066] begin",
            ),
            ("access == \"user\u{202e} \u{2066}// admin\"", "access == \"user[U+202E] [U+2066]// admin\""),
            ("sayНello()", "say<Н>ello()"),
            ("p\u{430}ypal.com", "p<\u{430}>ypal.com"),
            ("zero\u{200b}width\u{feff}", "zero[U+200B]width[U+FEFF]"),
            ("line\r", "line[␍]"),
            ("\x1b[31mred\x07", "[␛][31mred[␇]"),
        ];
        for (text, expected) in rows {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }
}
