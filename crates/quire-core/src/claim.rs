//! What a model says at the end of a turn, taken apart: its summary, its claims, what it assumed, what it left undone, and what
//! it proposes to be asked next.
//!
//! The end is plain text, because every model can write that and it costs no further request: lines that begin with one of
//! three labels, after the summary. A model that knows nothing of them is read as well: sentences of its summary that say
//! that something passes or was verified are claims, whatever they are called. So such a sentence never stands as a fact;
//! what quire saw of it is put beside it by [`crate::view`].

use serde::Serialize;

/// The last words of a turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// What was done and found, without the sentences that are claims.
    pub summary: String,
    pub claims: Vec<Claim>,
    /// Choices that the model made where the task left something open.
    pub assumed: Vec<String>,
    /// What it left undone, or did not check, by its own word.
    pub not_done: Vec<String>,
    /// What it proposes to be asked next, as its person would say it.
    pub next: Vec<String>,
}

/// A sentence about the work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Claim {
    pub text: String,
    /// The check that is to prove it, as the model calls it.
    pub check: Option<String>,
}

/// Lists and sentences beyond these are not taken for what they say they are: nobody reads them.
const LINES_MAX: usize = 20;
/// Proposals that are taken for such, and the characters of one: what is more stays in the text.
const NEXT_MAX: usize = 3;
const NEXT_CHARS_MAX: usize = 120;

#[derive(Clone, Copy)]
enum Label {
    Claim,
    Assumed,
    NotDone,
}

const LABELS: [(&str, Label); 9] = [
    ("claim", Label::Claim),
    ("claims", Label::Claim),
    ("assumed", Label::Assumed),
    ("assumption", Label::Assumed),
    ("assumptions", Label::Assumed),
    ("not done", Label::NotDone),
    ("not checked", Label::NotDone),
    ("undone", Label::NotDone),
    ("left undone", Label::NotDone),
];

/// Returns the parts of a model's last words.
pub fn read(text: &str) -> Ending {
    let (text, next) = next(text);
    let mut ending = Ending { next, ..Ending::default() };
    let mut prose: Vec<String> = vec![];
    // A label that stands alone is the heading of the list below it.
    let mut heading = None;
    for line in text.trim().lines() {
        let (listed, bare) = bare(line);
        let labelled = label(bare).or_else(|| heading.filter(|_| listed).map(|label| (label, bare)));
        match labelled {
            Some((label, "")) => heading = Some(label),
            Some((label, rest)) => ending.take(label, rest),
            None => {
                if !bare.is_empty() {
                    heading = None;
                }
                let (said, claims) = sift(line);
                claims.into_iter().for_each(|claim| ending.take(Label::Claim, &claim));
                if !said.trim().is_empty() || line.trim().is_empty() {
                    prose.push(said);
                }
            }
        }
    }
    ending.summary = prose.join("\n").trim().to_owned();
    while ending.summary.contains("\n\n\n") {
        ending.summary = ending.summary.replace("\n\n\n", "\n\n");
    }
    ending
}

/// Returns a model's last words without what they propose to be asked next, and that. Only the lines at their very end are looked
/// at, beside the labels that may stand there: in the midst of an answer the word is one like any other.
pub fn next(text: &str) -> (String, Vec<String>) {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let is_end =
        |line: &&&str| line.trim().is_empty() || proposal(line).is_some() || label(bare(line).1).is_some();
    let end = lines.len() - lines.iter().rev().take_while(is_end).count();
    let (mut kept, mut next): (Vec<&str>, Vec<String>) = (lines[..end].to_vec(), vec![]);
    for line in &lines[end..] {
        match proposal(line) {
            Some(words) if next.iter().any(|known| known == words) => {}
            Some(words) if next.len() < NEXT_MAX => next.push(words.to_owned()),
            _ => kept.push(line),
        }
    }
    (kept.join("\n").trim_end().to_owned(), next)
}

/// Returns what a line proposes to be asked next. What a command line would take for an option, or for nothing, is no words.
fn proposal(line: &str) -> Option<&str> {
    let (head, words) = headed(bare(line).1)?;
    let fits = words.chars().count() <= NEXT_CHARS_MAX && words.chars().any(char::is_alphanumeric);
    (head.eq_ignore_ascii_case("next") && fits && !words.starts_with('-')).then_some(words)
}

impl Ending {
    fn take(&mut self, label: Label, text: &str) {
        let list = match label {
            Label::Claim if self.claims.len() < LINES_MAX => return self.claims.push(Claim::read(text)),
            Label::Claim => return,
            Label::Assumed => &mut self.assumed,
            Label::NotDone => &mut self.not_done,
        };
        if list.len() < LINES_MAX {
            list.push(text.to_owned());
        }
    }
}

impl Claim {
    /// Reads `Tax is rounded once. [cargo test]`.
    fn read(text: &str) -> Claim {
        let trimmed = text.trim_end_matches('.').trim_end();
        let named = trimmed.strip_suffix(']').and_then(|inner| inner.rsplit_once('['));
        let Some((sentence, name)) = named else {
            return Claim { text: text.trim().to_owned(), check: None };
        };
        let name = name.trim().trim_matches('`').trim();
        let none = ["", "none", "no check", "not checked"].contains(&name.to_ascii_lowercase().as_str());
        Claim { text: sentence.trim().to_owned(), check: (!none).then(|| name.to_owned()) }
    }
}

/// Returns a line without its list mark, and whether it has one.
fn bare(line: &str) -> (bool, &str) {
    let line = line.trim();
    match line.strip_prefix(['-', '*', '•', '·']) {
        // `**Claim:**` is bold and no list.
        Some(rest) if rest.starts_with(char::is_whitespace) => (true, rest.trim()),
        _ => (false, line),
    }
}

/// Returns the label that a line begins with, and the rest of the line.
fn label(line: &str) -> Option<(Label, &str)> {
    let (head, rest) = headed(line)?;
    let (_, label) = LABELS.iter().find(|(name, _)| name.eq_ignore_ascii_case(head))?;
    Some((*label, rest))
}

/// Returns what stands before the colon of a line and what after it, both without marks of emphasis.
fn headed(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start_matches(['*', '_', '#']).trim_start();
    let (head, rest) = line.split_once(':')?;
    Some((head.trim_end_matches(['*', '_']).trim(), rest.trim_start_matches(['*', '_']).trim()))
}

/// Returns a line of prose without its sentences that are claims, and these.
fn sift(line: &str) -> (String, Vec<String>) {
    let (mut said, mut claims) = (String::new(), vec![]);
    for sentence in sentences(line) {
        if claims_proof(sentence) {
            claims.push(bare(sentence).1.to_owned());
        } else {
            said.push_str(sentence);
        }
    }
    (said.trim_end().to_owned(), claims)
}

/// Returns the sentences of a line, each with the blanks after it. What stands in backquotes is not looked into.
fn sentences(line: &str) -> Vec<&str> {
    let (mut all, mut start, mut quoted, mut ended) = (vec![], 0, false, false);
    let mut letters = line.char_indices().peekable();
    while let Some((at, c)) = letters.next() {
        quoted ^= c == '`';
        let blank_next = letters.peek().is_none_or(|(_, next)| next.is_whitespace());
        ended |= !quoted && matches!(c, '.' | '!' | '?') && blank_next || matches!(c, '。' | '！');
        let words_next = letters.peek().is_some_and(|(_, next)| !next.is_whitespace());
        if ended && words_next && (c.is_whitespace() || matches!(c, '。' | '！')) {
            let end = at + c.len_utf8();
            all.push(&line[start..end]);
            (start, ended) = (end, false);
        }
    }
    all.push(&line[start..]);
    all
}

/// What can be proved, by the beginning of its word; in the languages that we could check.
const PROVABLE: [&str; 13] = [
    "test",
    "suite",
    "lint",
    "clippy",
    "build",
    "compil",
    "check",
    "typecheck",
    "type-check",
    "prüf",
    "prueba",
    "teste",
    "vérif",
];
/// How it is said to have gone, by the beginning of its word.
const WENT_WELL: [&str; 14] = [
    "pass", "succe", "green", "clean", "works", "bestand", "besteh", "erfolg", "grün", "réuss", "pasan",
    "éxito", "passam", "superad",
];
/// The same in several words.
const WITHOUT: [&str; 8] = [
    "no error",
    "without error",
    "no failure",
    "without failure",
    "no warning",
    "ohne fehler",
    "laufen durch",
    "sans erreur",
];
/// A model's word for its own diligence.
const DILIGENT: [&str; 10] = [
    "i verified",
    "i have verified",
    "i've verified",
    "i confirmed",
    "i checked",
    "i double-checked",
    "i tested",
    "i ran ",
    "verified that",
    "confirmed that",
];

/// Returns whether a sentence says that something passes, or was verified. Made to err on the side of a claim: that one is
/// shown as "not checked", and a claim that is shown as a fact is worse.
fn claims_proof(sentence: &str) -> bool {
    let low = sentence.to_lowercase();
    let begins = |starts: &[&str]| {
        low.split(|c: char| !(c.is_alphanumeric() || c == '-'))
            .any(|word| starts.iter().any(|start| word.starts_with(start)))
    };
    let well = begins(&WENT_WELL) || WITHOUT.iter().any(|words| low.contains(words));
    begins(&PROVABLE) && well || DILIGENT.iter().any(|words| low.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_with_labels_is_taken_apart() {
        let text = "Tax is now rounded once, after adding. `a. b` stays.\n\nClaim: The total is right. [cargo test]\n\
                    - **Claim:** The page loads faster. [none]\n* Assumed: prices are in euros\n\
                    **Not done**: the letter to the bank\nAssumptions:\n- the year is 2026\n- tax is 19 %\n";
        let claim =
            |text: &str, check: Option<&str>| Claim { text: text.into(), check: check.map(Into::into) };
        assert_eq!(
            read(text),
            Ending {
                summary: "Tax is now rounded once, after adding. `a. b` stays.".into(),
                claims: vec![
                    claim("The total is right.", Some("cargo test")),
                    claim("The page loads faster.", None)
                ],
                assumed: vec!["prices are in euros".into(), "the year is 2026".into(), "tax is 19 %".into()],
                not_done: vec!["the letter to the bank".into()],
                next: vec![],
            }
        );
    }

    #[test]
    fn what_may_be_asked_next_is_taken_from_the_very_end_and_from_nowhere_else() {
        let long = "x".repeat(NEXT_CHARS_MAX + 1);
        let fits = "x".repeat(NEXT_CHARS_MAX);
        for (text, summary, proposed) in [
            (
                "May lost money.\n\nNext: What would June need?\nNext: Put this in a report",
                "May lost money.",
                vec!["What would June need?", "Put this in a report"],
            ),
            ("Done.\n- **Next:** Add a test\n\n* next: Name it\n", "Done.", vec!["Add a test", "Name it"]),
            // Other labels may stand among them.
            ("Done.\nNext: a b\nClaim: It holds. [none]\nNot done: the rest", "Done.", vec!["a b"]),
            // In the midst of an answer it is text, and so is what is too much, too long, or no words.
            ("First May.\nNext: June.\nThat is all.", "First May.\nNext: June.\nThat is all.", vec![]),
            ("It is `x`.\n```\nNext: a\n```", "It is `x`.\n```\nNext: a\n```", vec![]),
            ("Done.\nNext: a\nNext: b\nNext: a\nNext: c\nNext: d", "Done.\nNext: d", vec!["a", "b", "c"]),
            (&format!("Done.\nNext: {long}\nNext: b"), &format!("Done.\nNext: {long}"), vec!["b"]),
            (&format!("Done.\nNext: {fits}"), "Done.", vec![fits.as_str()]),
            ("Done.\nNext:\n- a", "Done.\nNext:\n- a", vec![]),
            ("Done.\nNext: --yes", "Done.\nNext: --yes", vec![]),
            ("Done.\nNext: ...", "Done.\nNext: ...", vec![]),
            ("Next: a", "", vec!["a"]),
            ("", "", vec![]),
        ] {
            let ending = read(text);
            assert_eq!(
                (ending.summary.as_str(), ending.next),
                (summary, proposed.iter().map(|one| (*one).to_owned()).collect()),
                "{text}"
            );
        }
        assert_eq!(
            next("One: 1.\nClaim: x\nNext: a\n"),
            ("One: 1.\nClaim: x".to_owned(), vec!["a".to_owned()])
        );
    }

    #[test]
    fn what_says_that_it_was_proved_is_a_claim_also_without_a_label() {
        for (text, summary, claims) in [
            ("Done. All tests pass.", "Done.", &["All tests pass."][..]),
            ("All 12 tests are green now!", "", &["All 12 tests are green now!"]),
            (
                "I moved the code. The build succeeds. It is shorter.",
                "I moved the code. It is shorter.",
                &["The build succeeds."],
            ),
            ("I ran it twice, and it is fine.", "", &["I ran it twice, and it is fine."]),
            ("Fertig. Alle Tests laufen durch.", "Fertig.", &["Alle Tests laufen durch."]),
            ("Verified that every link leads somewhere.", "", &["Verified that every link leads somewhere."]),
            ("- It compiles without errors\n- It is short", "- It is short", &["It compiles without errors"]),
            ("I added a test for long names.", "I added a test for long names.", &[]),
            ("3 tests fail, as before.", "3 tests fail, as before.", &[]),
            ("The contest was passed on to Ada.", "The contest was passed on to Ada.", &[]),
            ("", "", &[]),
        ] {
            let ending = read(text);
            let read: Vec<&str> = ending.claims.iter().map(|claim| claim.text.as_str()).collect();
            assert_eq!((ending.summary.as_str(), read.as_slice()), (summary, claims), "{text}");
        }
    }

    #[test]
    fn an_end_is_bounded_and_nothing_in_it_is_a_panic() {
        let many = "Claim: x [y]\n".repeat(1000);
        assert_eq!(read(&many).claims.len(), LINES_MAX);
        for text in
            ["Claim:", "Claim: ]", "Claim: [", "[]", ":", "Claim: [[x]]", "é。ü！a", "`", "- ", "Claim:\n-"]
        {
            read(text);
        }
        let ending = read("Claim: It holds. [`make test`].");
        assert_eq!(ending.claims[0].check.as_deref(), Some("make test"));
    }
}
