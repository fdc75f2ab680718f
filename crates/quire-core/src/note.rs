//! A person's remark on a version: on lines of a file, on an element of a page, on a file or on the whole. It is anchored by
//! what stood there and around it, and not by a number, so that it is found again in the next version, also where the very
//! line was changed for it.

use crate::bytes::RelPath;
use serde::{Deserialize, Serialize};

/// Lines of context that are kept on either side.
pub const AROUND: usize = 3;
/// Most lines of a quote that are kept, and most characters of each.
pub const QUOTE_LINES_MAX: usize = 20;
pub const LINE_MAX: usize = 400;
/// Most bytes of a note's words.
pub const WORDS_BYTES_MAX: usize = 64 << 10;

/// What a note is about; nothing of this names the whole version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Index into the charter's folders.
    pub folder: u32,
    pub path: RelPath,
    /// Absent: the file as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    Lines(Anchor),
    /// An element of a page.
    Element {
        selector: String,
        /// The text that it shows, blanks made one.
        quote: String,
    },
}

/// Lines of a text, by what they say. Line ends and blanks before them do not count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// Of the first line, from 1, in the version that the note was left on.
    pub line: u32,
    /// Empty where lines were removed and nothing stands in their place.
    pub quote: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// The name of the change that it was left on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hunk: Option<String>,
}

/// Where a place is in another content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// From that line on, from 1, it reads as it did.
    Same(u32),
    /// The lines around it are there, and it reads otherwise.
    Changed(u32),
    Gone,
}

impl Anchor {
    /// Returns the anchor of `count` lines from `line` on, which begins at 1; `None` where the content has no such lines. No
    /// lines at all are a place between two.
    pub fn of(content: &[u8], line: u32, count: u32) -> Option<Anchor> {
        let lines = lines_of(content);
        let from = (line as usize).checked_sub(1)?;
        let to = from + count as usize;
        if to > lines.len() || count == 0 && from > lines.len() {
            return None;
        }
        Some(Anchor {
            line,
            quote: lines[from..to].iter().take(QUOTE_LINES_MAX).map(|line| bounded(line)).collect(),
            before: lines[from.saturating_sub(AROUND)..from].iter().map(|line| bounded(line)).collect(),
            after: lines[to..lines.len().min(to + AROUND)].iter().map(|line| bounded(line)).collect(),
            hunk: None,
        })
    }

    /// Finds the lines in another content of their file.
    pub fn find(&self, content: &[u8]) -> Found {
        let lines: Vec<String> = lines_of(content).iter().map(|line| bounded(line)).collect();
        match self.find_quote(&lines) {
            Some(at) => Found::Same(at as u32 + 1),
            None => match self.find_gap(&lines).or_else(|| self.find_likeness(&lines)) {
                Some(at) => Found::Changed((at as u32 + 1).min(lines.len().max(1) as u32)),
                None => Found::Gone,
            },
        }
    }

    /// Where the quote stands: where most of what is around it does too, and then nearest to where it was. What stands in
    /// several places, in none of them among its neighbours, is not found.
    fn find_quote(&self, lines: &[String]) -> Option<usize> {
        if self.quote.is_empty() {
            return None;
        }
        let stands = |at: &usize| lines[*at..].starts_with(&self.quote);
        let all: Vec<usize> = (0..lines.len()).filter(stands).collect();
        let around = |at: usize| self.above(lines, at) + self.below(lines, at + self.quote.len());
        let best = all.iter().copied().max_by_key(|at| {
            (around(*at), std::cmp::Reverse((*at as i64 + 1 - i64::from(self.line)).unsigned_abs()))
        })?;
        let says_little = self.quote.iter().all(|line| line.trim().chars().count() < 3);
        // Where it was all that there was, it has no neighbours to be known by.
        let is_all = self.before.is_empty() && self.after.is_empty() && lines.len() == self.quote.len();
        (around(best) > 0 || all.len() == 1 && !says_little || is_all).then_some(best)
    }

    /// Where its neighbours stand, with something else or nothing between them.
    fn find_gap(&self, lines: &[String]) -> Option<usize> {
        let tells = |line: &String| line.trim().chars().count() > 2;
        let far = self.quote.len() + 12;
        let mut best: Option<(usize, usize)> = None;
        for at in 0..=lines.len() {
            let above = self.above(lines, at);
            // Whatever came in the place of the quote, its lower neighbours follow before long.
            let below = (at..=lines.len().min(at + far)).map(|to| self.below(lines, to)).max().unwrap_or(0);
            let enough = above > 0 && below > 0
                || above >= 2 && self.before.iter().any(tells)
                || self.before.is_empty() && at == 0 && below > 0
                || self.after.is_empty() && above > 0 && self.before.last().is_some_and(tells);
            if enough && best.is_none_or(|(most, _)| above + below > most) {
                best = Some((above + below, at));
            }
        }
        best.map(|(_, at)| at)
    }

    /// Where a line shares most of its words with the first of the quote.
    fn find_likeness(&self, lines: &[String]) -> Option<usize> {
        let words = |line: &str| -> Vec<String> {
            let words = line.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
            words.map(str::to_owned).collect()
        };
        let quoted = words(self.quote.first()?);
        if quoted.len() < 3 {
            return None;
        }
        let shared = |line: &String| {
            let mut there = words(line);
            let all = quoted.len().max(there.len());
            let same = quoted.iter().filter(|word| {
                there.iter().position(|other| other == *word).map(|at| there.swap_remove(at)).is_some()
            });
            same.count() * 100 / all
        };
        let best = lines.iter().enumerate().map(|(at, line)| (shared(line), at)).max_by_key(|(most, at)| {
            (*most, std::cmp::Reverse((*at as i64 + 1 - i64::from(self.line)).unsigned_abs()))
        });
        best.filter(|(most, _)| *most >= 60).map(|(_, at)| at)
    }

    /// How many lines above `at` are those that stood above.
    fn above(&self, lines: &[String], at: usize) -> usize {
        let there = lines[..at.min(lines.len())].iter().rev();
        self.before.iter().rev().zip(there).take_while(|(was, is)| was == is).count()
    }

    fn below(&self, lines: &[String], at: usize) -> usize {
        let there = lines[at.min(lines.len())..].iter();
        self.after.iter().zip(there).take_while(|(was, is)| was == is).count()
    }
}

impl Place {
    /// Finds the place in another content of its file.
    pub fn find(&self, content: &[u8]) -> Found {
        match self {
            Place::Lines(anchor) => anchor.find(content),
            Place::Element { quote, .. } => find_shown(quote, content),
        }
    }
}

/// Finds the line in which a page's source begins to show `quote`, whatever tags stand between its words.
fn find_shown(quote: &str, content: &[u8]) -> Found {
    let wanted: Vec<&str> = quote.split_whitespace().collect();
    if wanted.is_empty() {
        return Found::Gone;
    }
    let text = String::from_utf8_lossy(content);
    let (mut shown, mut word, mut line, mut within) = (vec![], String::new(), 1u32, false);
    for c in text.chars().chain([' ']) {
        within = within && c != '>' || c == '<';
        if within || c == '>' || c.is_whitespace() {
            if !word.is_empty() {
                shown.push((std::mem::take(&mut word), line));
            }
        } else {
            word.push(c);
        }
        line += u32::from(c == '\n');
    }
    let stands = |words: &&[(String, u32)]| words.iter().map(|(word, _)| word).eq(wanted.iter());
    shown.windows(wanted.len()).find(stands).map_or(Found::Gone, |words| Found::Same(words[0].1))
}

fn lines_of(content: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(content).lines().map(|line| line.trim_end().to_owned()).collect()
}

fn bounded(line: &str) -> String {
    line.chars().take(LINE_MAX).collect()
}

/// What the agent says became of a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub note: u32,
    /// It answers in place of changing something.
    pub answer: bool,
    pub said: String,
}

/// Takes the lines `Note 2: done: ...` and `Note 2: answer: ...` out of a model's last words. Those of notes that `is_sent` does
/// not know are words like any others.
pub fn endings(text: &str, is_sent: impl Fn(u32) -> bool) -> (String, Vec<Ended>) {
    let mut ended: Vec<Ended> = vec![];
    let mut rest: Vec<&str> = vec![];
    for line in text.lines() {
        match ending(line).filter(|one| is_sent(one.note)) {
            Some(one) if ended.iter().all(|other| other.note != one.note) => ended.push(one),
            Some(_) => {}
            None => rest.push(line),
        }
    }
    (rest.join("\n"), ended)
}

fn ending(line: &str) -> Option<Ended> {
    let bare = line.trim_start_matches(|c: char| c.is_whitespace() || "-*•·#_".contains(c));
    let (head, rest) = bare.split_once(':')?;
    let mut head = head.split_whitespace();
    let is_note = head.next()?.eq_ignore_ascii_case("note");
    let note = head.next()?.trim_end_matches(['*', '_']).parse().ok()?;
    let rest = rest.trim_start_matches(['*', '_']).trim();
    let (how, said) = rest.split_once([':', ',', '.']).unwrap_or((rest, ""));
    let answer = match how.trim().trim_matches(['*', '_']).to_lowercase().as_str() {
        "done" => false,
        "answer" | "answered" => true,
        _ => return None,
    };
    (is_note && head.next().is_none()).then(|| Ended { note, answer, said: said.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAS: &str = "use std;\n\nfn tax(net: f64) -> f64 {\n    let rate = 0.19;\n    round(net) * rate\n}\n\n\
                       fn sum() {\n    add();\n}\n";

    #[test]
    fn a_line_is_found_again_by_what_it_says_and_what_is_around_it() {
        let rows: &[(&str, u32, &str, Found)] = &[
            ("nothing changed", 5, WAS, Found::Same(5)),
            ("lines came above", 5, &format!("// a\n// b\n{WAS}"), Found::Same(7)),
            ("line ends changed", 5, &WAS.replace('\n', "\r\n"), Found::Same(5)),
            ("blanks at its end", 5, &WAS.replace("* rate\n", "* rate  \n"), Found::Same(5)),
            (
                "the line was changed",
                5,
                &WAS.replace("round(net) * rate", "round(net * rate)"),
                Found::Changed(5),
            ),
            (
                "it was changed, and lines came above",
                5,
                &format!("// a\n{}", WAS.replace("round(net) * rate", "whole(net)")),
                Found::Changed(6),
            ),
            ("the line went", 5, &WAS.replace("    round(net) * rate\n", ""), Found::Changed(5)),
            (
                "it became several",
                5,
                &WAS.replace("    round(net) * rate\n", "    let a = 1;\n    let b = 2;\n    a + b\n"),
                Found::Changed(5),
            ),
            (
                "one of two that read alike",
                10,
                &format!("fn more() {{\n    x();\n}}\n\n{WAS}"),
                Found::Same(14),
            ),
            ("the other of them", 6, &format!("fn more() {{\n    x();\n}}\n\n{WAS}"), Found::Same(10)),
            (
                "moved to elsewhere, alone",
                5,
                "mod a;\nmod b;\nmod c;\n    round(net) * rate\nmod d;\n",
                Found::Same(4),
            ),
            ("moved and changed", 5, "mod a;\nmod b;\n    round(net, 2) * rate\nmod d;\n", Found::Changed(3)),
            ("all of it is gone", 5, "mod a;\nmod b;\n", Found::Gone),
            ("a brace alone says nothing", 6, "mod a;\n}\nmod b;\n", Found::Gone),
            ("an empty file", 5, "", Found::Gone),
            ("the first line was changed", 1, &WAS.replace("use std;", "use core;"), Found::Changed(1)),
            (
                "the last line was changed",
                10,
                &WAS.replace("add();\n}\n", "add();\n};\n"),
                Found::Changed(10),
            ),
        ];
        for (name, line, now, expected) in rows {
            let anchor = Anchor::of(WAS.as_bytes(), *line, 1).unwrap();
            assert_eq!(anchor.find(now.as_bytes()), *expected, "{name}:\n{now}");
        }
    }

    #[test]
    fn a_short_line_that_is_all_there_is_is_found() {
        let anchor = Anchor::of(b"1\n", 1, 1).unwrap();
        assert_eq!(anchor.find(b"1\n"), Found::Same(1));
        assert_eq!((anchor.find(b"2\n"), anchor.find(b"")), (Found::Gone, Found::Gone));
    }

    #[test]
    fn a_place_where_lines_went_is_found_between_its_neighbours() {
        let anchor = Anchor::of(WAS.as_bytes(), 4, 0).unwrap();
        assert!(anchor.quote.is_empty() && anchor.before.len() == 3);
        assert_eq!(anchor.find(format!("// a\n{WAS}").as_bytes()), Found::Changed(5));
        assert_eq!(anchor.find(b"mod a;\n"), Found::Gone);
    }

    #[test]
    fn what_is_not_there_has_no_anchor_and_what_is_long_is_bounded() {
        for (content, line, count) in
            [("", 1, 1), ("a\n", 0, 1), ("a\n", 2, 1), ("a\nb\n", 2, 2), ("a\n", 3, 0)]
        {
            assert_eq!(Anchor::of(content.as_bytes(), line, count), None, "{content:?} {line} {count}");
        }
        let long = format!("{}\n{}\n", "x".repeat(5_000), "y\n".repeat(50));
        let anchor = Anchor::of(long.as_bytes(), 1, 40).unwrap();
        assert_eq!((anchor.quote.len(), anchor.quote[0].len()), (QUOTE_LINES_MAX, LINE_MAX));
        assert_eq!(anchor.find(long.as_bytes()), Found::Same(1));
        assert_eq!(Anchor::of(b"\xff\xfe a\n", 1, 1).unwrap().find(b"x\n\xff\xfe a\n"), Found::Same(2));
    }

    #[test]
    fn an_element_is_found_by_the_text_that_it_shows() {
        let page = "<h1 class=\"a\">Our\n  <em>fresh</em> bread</h1>\n<p>Order for tomorrow</p>\n";
        let rows = [
            ("Order for tomorrow", Found::Same(3)),
            ("Our fresh bread", Found::Same(1)),
            ("fresh  bread", Found::Same(2)),
            ("Order today", Found::Gone),
            ("class", Found::Gone),
            ("", Found::Gone),
        ];
        for (quote, expected) in rows {
            let place = Place::Element { selector: "h1".into(), quote: quote.into() };
            assert_eq!(place.find(page.as_bytes()), expected, "{quote}");
        }
    }

    #[test]
    fn what_became_of_a_note_is_taken_from_the_last_words() {
        let text = "Rounded once.\nNote 1: done: moved the call\n- **Note 2:** Answer: it is the law, see § 12.\nNote 3: done: not \
                    sent\nNote 4: I like it\nnote 5: done\nNote 1: answer: again\nA note 6: done: x\nClaim: fine";
        let (rest, ended) = endings(text, |note| note != 3);
        let one = |note, answer, said: &str| Ended { note, answer, said: said.into() };
        assert_eq!(
            ended,
            [one(1, false, "moved the call"), one(2, true, "it is the law, see § 12."), one(5, false, "")]
        );
        assert_eq!(
            rest,
            "Rounded once.\nNote 3: done: not sent\nNote 4: I like it\nA note 6: done: x\nClaim: fine"
        );
    }
}
