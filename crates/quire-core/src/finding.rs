//! What a reviewer finds, taken apart: a line for each finding, or the words that there is none. Its answer is plain text,
//! because every model can write that. An answer in which neither is found is no review, and never counts as "nothing found".

use serde::{Deserialize, Serialize};

/// Something that a reviewer says of a version. It is its word alone: quire did not look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub kind: Kind,
    /// As the reviewer names it; absent where it is about no file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// From 1, in the file as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Wrong,
    /// Asked for, and not there.
    Missing,
    /// There, and not asked for.
    More,
}

/// Findings beyond these are not taken: nobody reads them.
const FINDINGS_MAX: usize = 20;
/// The longest sentence and name of a file that are taken, in characters.
const TEXT_MAX: usize = 400;
const FILE_MAX: usize = 200;

impl Kind {
    /// Returns it as a person reads it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Wrong => "wrong",
            Kind::Missing => "missing",
            Kind::More => "more than asked",
        }
    }
}

impl Finding {
    /// Returns `wrong, src/tax.rs:12: It rounds twice.`
    pub fn sentence(&self) -> String {
        let place = match (&self.file, self.line) {
            (Some(file), Some(line)) => format!(", {file}:{line}"),
            (Some(file), None) => format!(", {file}"),
            (None, _) => String::new(),
        };
        format!("{}{place}: {}", self.kind.word(), self.text)
    }
}

/// Returns what a reviewer's last words say; `None` where they say neither what it found nor that there is nothing.
pub fn read(text: &str) -> Option<Vec<Finding>> {
    let found: Vec<Finding> = text.lines().filter_map(finding).take(FINDINGS_MAX).collect();
    let is_none = |line: &str| bare(line).to_ascii_lowercase().starts_with("no finding");
    (!found.is_empty() || text.lines().any(is_none)).then_some(found)
}

/// Reads `Finding: wrong | src/tax.rs:12 | It rounds twice.`
fn finding(line: &str) -> Option<Finding> {
    let line = bare(line);
    let (label, rest) = line.split_once(':')?;
    if !label.trim_end_matches(['*', '_']).trim().eq_ignore_ascii_case("finding") {
        return None;
    }
    let mut parts = rest.trim_start_matches(['*', '_']).splitn(3, '|').map(str::trim);
    let kind = parts.next()?.trim_matches(['*', '_', '`']).to_ascii_lowercase();
    let kind = match () {
        () if kind.starts_with("wrong") => Kind::Wrong,
        () if kind.starts_with("missing") => Kind::Missing,
        () if kind.starts_with("more") => Kind::More,
        () => return None,
    };
    let (place, text) = match (parts.next()?, parts.next()) {
        (place, Some(text)) => (place, text),
        (text, None) => ("", text),
    };
    let (file, line) = place_of(place);
    (!text.is_empty()).then(|| Finding { kind, file, line, text: cut(text, TEXT_MAX) })
}

/// Reads `src/tax.rs:12`, `src/tax.rs:12-14` and `src/tax.rs`; what stands for no place is none.
fn place_of(place: &str) -> (Option<String>, Option<u32>) {
    let place = place.trim_matches(['`', '*', '"', ' ']);
    if place.is_empty() || ["-", "none", "n/a"].contains(&place.to_ascii_lowercase().as_str()) {
        return (None, None);
    }
    let number = |text: &str| {
        let digits: String = text.trim().chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().ok().filter(|line| *line > 0)
    };
    match place.rsplit_once(':').and_then(|(file, line)| Some((file, number(line)?))) {
        Some((file, line)) => (Some(cut(file, FILE_MAX)), Some(line)),
        None => (Some(cut(place, FILE_MAX)), None),
    }
}

/// Returns a line without what marks it as one of a list, or as bold.
fn bare(line: &str) -> &str {
    let line = line.trim().trim_start_matches(['-', '*', '•', '#', ' ']);
    let numbered = line.trim_start_matches(|c: char| c.is_ascii_digit());
    match numbered.strip_prefix(['.', ')']) {
        Some(rest) if numbered.len() < line.len() => rest.trim_start().trim_start_matches('*'),
        _ => line,
    }
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_read_however_they_are_dressed() {
        let one = |kind, file: Option<&str>, line, text: &str| {
            Some(vec![Finding { kind, file: file.map(str::to_owned), line, text: text.to_owned() }])
        };
        let rows = [
            (
                "Finding: wrong | src/tax.rs:12 | It rounds twice.",
                one(Kind::Wrong, Some("src/tax.rs"), Some(12), "It rounds twice."),
            ),
            (
                "I looked.\n\n- **Finding:** missing | `a b.py` | No test | at all.",
                one(Kind::Missing, Some("a b.py"), None, "No test | at all."),
            ),
            (
                "1. finding: More than asked | c.txt:3-9 | A banner.",
                one(Kind::More, Some("c.txt"), Some(3), "A banner."),
            ),
            ("* Finding: missing | - | The second page.", one(Kind::Missing, None, None, "The second page.")),
            ("Finding: wrong | The sum is off.", one(Kind::Wrong, None, None, "The sum is off.")),
            ("No findings.", Some(vec![])),
            ("It all holds.\n**No findings**", Some(vec![])),
            ("Finding: lovely | a | Well done.", None),
            ("Finding: wrong | a |", None),
            ("Looks good to me!", None),
            ("There are no findings in the log file that I read.", None),
            ("", None),
        ];
        for (text, expected) in rows {
            assert_eq!(read(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_a_reviewer_says_is_bounded() {
        let many = format!("Finding: wrong | {}:1 | {}\n", "f".repeat(999), "t".repeat(9_999)).repeat(50);
        let found = read(&many).unwrap();
        assert_eq!(found.len(), FINDINGS_MAX);
        assert_eq!(found[0].text.chars().count(), TEXT_MAX);
        assert_eq!(found[0].file.as_ref().unwrap().chars().count(), FILE_MAX);
    }
}
