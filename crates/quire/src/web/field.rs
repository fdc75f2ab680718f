//! A text as a browser's field has it: line breaks are all alike there, and a mark of the byte order would be lost. Both are put
//! back as the file has them.

/// See the module.
#[derive(Debug)]
pub struct Text {
    marked: bool,
    shown: String,
    /// The lines with their ends.
    lines: Vec<String>,
}

const MARK: char = '\u{feff}';

impl Text {
    /// Returns a file's text; `None` where it is none.
    pub fn of(content: &[u8]) -> Option<Text> {
        let text = std::str::from_utf8(content).ok()?;
        let (marked, text) = (text.starts_with(MARK), text.strip_prefix(MARK).unwrap_or(text));
        let lines = with_ends(text);
        let shown = lines.iter().map(|line| plain(line)).collect();
        Some(Text { marked, shown, lines: lines.into_iter().map(str::to_owned).collect() })
    }

    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Returns the file's new content for what came from the field.
    pub fn typed(&self, typed: &str) -> Vec<u8> {
        let typed = typed.replace("\r\n", "\n");
        // What is typed before a text is no part of it, save where the text itself has one more.
        let more = (!self.shown.starts_with(MARK)).then(|| typed.strip_prefix(MARK)).flatten();
        let typed = with_ends(more.unwrap_or(&typed));
        let same = |(old, new): (&String, &&str)| plain(old) == **new;
        let first = self.lines.iter().zip(&typed).take_while(|pair| same(*pair)).count();
        let most = self.lines.len().min(typed.len()) - first;
        let last =
            self.lines.iter().rev().zip(typed.iter().rev()).take(most).take_while(|pair| same(*pair)).count();
        let usual = self.usual();
        let mut text = if self.marked { String::from(MARK) } else { String::new() };
        text.extend(self.lines[..first].iter().map(String::as_str));
        for line in &typed[first..typed.len() - last] {
            match line.strip_suffix('\n') {
                Some(line) => text.extend([line, usual]),
                None => text.push_str(line),
            }
        }
        text.extend(self.lines[self.lines.len() - last..].iter().map(String::as_str));
        text.into_bytes()
    }

    /// Returns the end that most lines have.
    fn usual(&self) -> &'static str {
        let ends = ["\n", "\r\n", "\r"];
        let count = |end: &str| self.lines.iter().filter(|line| break_of(line) == end).count();
        ends.into_iter().rev().max_by_key(|end| count(end)).unwrap_or("\n")
    }
}

/// Returns a line as a field has it.
fn plain(line: &str) -> String {
    let end = break_of(line);
    let text = &line[..line.len() - end.len()];
    if end.is_empty() { text.to_owned() } else { format!("{text}\n") }
}

/// Returns the lines of a text, each with its end.
fn with_ends(text: &str) -> Vec<&str> {
    let (mut lines, mut rest) = (vec![], text);
    while let Some(at) = rest.find(['\n', '\r']) {
        let after = if rest[at..].starts_with("\r\n") { at + 2 } else { at + 1 };
        lines.push(&rest[..after]);
        rest = &rest[after..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

fn break_of(line: &str) -> &'static str {
    ["\r\n", "\n", "\r"].into_iter().find(|end| line.ends_with(end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what a browser sends of a field with that text: each line break as CRLF (HTML, form submission).
    fn sent(text: &str) -> String {
        text.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n")
    }

    #[test]
    fn what_was_not_touched_comes_back_as_it_was() {
        for text in [
            "",
            "a",
            "a\n",
            "a\nb",
            "a\r\nb\r\n",
            "a\rb\r",
            "a\r\nb\nc\rd",
            "\u{feff}a\n",
            "\n\na\n\n",
            "\u{feff}",
            "\u{feff}\u{feff}a\n",
        ] {
            let field = Text::of(text.as_bytes()).unwrap();
            assert!(!field.shown().contains('\r'));
            let typed = field.typed(&sent(field.shown()));
            assert_eq!(String::from_utf8(typed).unwrap(), text, "{text:?}");
        }
        assert_eq!(Text::of("\u{feff}a".as_bytes()).unwrap().shown(), "a");
        assert!(Text::of(b"caf\xe9").is_none());
    }

    #[test]
    fn what_was_typed_has_the_ends_that_the_file_has() {
        let rows = [
            ("a\nb\n", "a\nx\nb\n", "a\nx\nb\n"),
            ("a\r\nb\r\n", "a\nx\nb\n", "a\r\nx\r\nb\r\n"),
            ("a\r\nb\r\n", "a\nx", "a\r\nx"),
            ("a\nb", "a\nb\n", "a\nb\n"),
            ("a\r\nb", "a\nb\nc\n", "a\r\nb\r\nc\r\n"),
            ("a\rb\r", "a\nx\nb\n", "a\rx\rb\r"),
            // Of a file with several kinds, only what is new gets the usual one.
            ("a\nb\r\nc\nd\r\ne\n", "a\nb\nx\nd\ne\n", "a\nb\r\nx\nd\r\ne\n"),
            ("", "a\nb\n", "a\nb\n"),
            ("a\n", "", ""),
            ("\u{feff}a\r\n", "b\n", "\u{feff}b\r\n"),
            ("a\na\na\n", "a\n", "a\n"),
        ];
        for (file, typed, expected) in rows {
            let content = Text::of(file.as_bytes()).unwrap().typed(&sent(typed));
            assert_eq!(String::from_utf8(content).unwrap(), expected, "{file:?} to {typed:?}");
        }
    }
}
