//! A model's claims with what quire saw of each: the outcome of the check that it points to, or "not checked".

use super::CheckRow;
use super::review::symbol;
use crate::claim::{self, Claim, Ending};
use serde::Serialize;

/// What a model says of its work, each part with its proof where there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Brief {
    /// The model's own words on what it did; no claim is among them.
    pub summary: String,
    pub claims: Vec<ClaimRow>,
    /// Choices that the model made by itself.
    #[serde(rename = "choices")]
    pub assumed: Vec<String>,
    /// What it left undone or unchecked, by its own word.
    pub not_done: Vec<String>,
    /// What it proposes to be asked next, as its person would say it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<String>,
}

/// A claim and its proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClaimRow {
    pub text: String,
    /// The command of the check that it points to; absent: none.
    pub check: Option<String>,
    /// Absent: quire saw nothing of it.
    pub passed: Option<bool>,
    /// `not checked`, or as of the check.
    pub outcome: String,
    /// The check passes with reservations.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub doubted: bool,
}

impl Brief {
    /// Takes a model's last words apart; `checks` are what quire ran on the files that they speak of.
    pub fn of(words: &str, checks: &[CheckRow]) -> Brief {
        let Ending { summary, claims, assumed, not_done, next } = claim::read(words);
        let claims = claims.into_iter().map(|claim| ClaimRow::of(claim, checks)).collect();
        Brief { summary, claims, assumed, not_done, next }
    }
}

impl ClaimRow {
    fn of(claim: Claim, checks: &[CheckRow]) -> ClaimRow {
        let found = proving(&claim, checks);
        let ran = found.filter(|check| check.passed.is_some());
        // A model that says that the tests pass may point to whatever passes.
        let ran =
            ran.filter(|check| check.passed == Some(false) || !is_of_tests(&claim.text) || may_test(check));
        let outcome = match (ran, &claim.check) {
            (Some(check), _) => format!("`{}` {}", check.command, check.outcome),
            (None, Some(_)) if found.is_some_and(|check| check.passed == Some(true)) => {
                "not checked: what it points to runs no tests".to_owned()
            }
            (None, Some(named)) if found.is_none() => format!("not checked: quire has no check `{named}`"),
            (None, _) => "not checked".to_owned(),
        };
        ClaimRow {
            text: claim.text,
            check: ran.map(|check| check.command.clone()),
            passed: ran.and_then(|check| check.passed),
            outcome,
            doubted: ran.is_some_and(|check| check.doubted),
        }
    }

    pub fn symbol(&self) -> char {
        symbol(self.passed, self.doubted)
    }
}

/// Returns the check that a claim points to: by its name or command, or because the claim is of tests and one check alone is.
fn proving<'c>(claim: &Claim, checks: &'c [CheckRow]) -> Option<&'c CheckRow> {
    let only = |is: &dyn Fn(&&CheckRow) -> bool| {
        let mut found = checks.iter().filter(is);
        found.next().filter(|_| found.next().is_none())
    };
    if let Some(named) = &claim.check {
        let is = |check: &&CheckRow| {
            [&check.name, &check.command].iter().any(|word| word.eq_ignore_ascii_case(named))
        };
        let holds =
            |check: &&CheckRow| check.command.contains(named.as_str()) || named.contains(&check.command);
        return checks.iter().find(is).or_else(|| only(&holds));
    }
    let quoted = |check: &&CheckRow| claim.text.contains(&format!("`{}`", check.command));
    let of_tests = |check: &&CheckRow| is_of_tests(&check.name) || is_of_tests(&check.command);
    checks.iter().find(quoted).or_else(|| only(&of_tests).filter(|_| is_of_tests(&claim.text)))
}

fn is_of_tests(text: &str) -> bool {
    text.to_ascii_lowercase().contains("test")
}

/// Returns whether a check may run tests, by what it is called.
fn may_test(check: &CheckRow) -> bool {
    let said = format!("{} {}", check.name, check.command).to_ascii_lowercase();
    ["test", "check", "spec", "tox", "verify", "mvn", "gradle"].iter().any(|word| said.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, command: &str, passed: Option<bool>) -> CheckRow {
        let outcome = match passed {
            Some(true) => "passes",
            Some(false) => "fails (exit 1)",
            None => "not checked: nothing changed",
        };
        CheckRow {
            name: name.into(),
            command: command.into(),
            passed,
            outcome: outcome.into(),
            doubted: outcome.contains("but: "),
            as_before: false,
            millis: 0,
            output: String::new(),
            shots: vec![],
        }
    }

    #[test]
    fn a_claim_has_the_outcome_of_its_check_and_no_other() {
        let both = [check("unit", "cargo test", Some(true)), check("lint", "cargo clippy", Some(false))];
        let failed = [check("unit", "cargo test", Some(false))];
        let idle = [check("unit", "cargo test", None)];
        for (words, checks, expected) in [
            ("Claim: It adds up. [unit]", &both[..], "✓ It adds up. | `cargo test` passes"),
            ("Claim: It adds up. [Cargo Test]", &both, "✓ It adds up. | `cargo test` passes"),
            ("Claim: It is tidy. [clippy]", &both, "✗ It is tidy. | `cargo clippy` fails (exit 1)"),
            ("Claim: It is fast. [none]", &both, "○ It is fast. | not checked"),
            ("Claim: It is fast. [bench]", &both, "○ It is fast. | not checked: quire has no check `bench`"),
            ("Claim: It is fast. [cargo]", &both, "○ It is fast. | not checked: quire has no check `cargo`"),
            ("All tests pass.", &both, "✓ All tests pass. | `cargo test` passes"),
            ("All tests pass.", &failed, "✗ All tests pass. | `cargo test` fails (exit 1)"),
            ("All tests pass.", &idle, "○ All tests pass. | not checked"),
            ("All tests pass.", &[], "○ All tests pass. | not checked"),
            ("`cargo clippy` passes.", &both, "✗ `cargo clippy` passes. | `cargo clippy` fails (exit 1)"),
            (
                "Claim: All tests pass. [cargo clippy]",
                &both,
                "✗ All tests pass. | `cargo clippy` fails (exit 1)",
            ),
            (
                "Claim: All tests pass. [ls]",
                &[check("ls", "ls a", Some(true))],
                "○ All tests pass. | not checked: what it points to runs no tests",
            ),
            ("The build succeeds.", &both, "○ The build succeeds. | not checked"),
        ] {
            let brief = Brief::of(words, checks);
            let row = &brief.claims[0];
            assert_eq!(format!("{} {} | {}", row.symbol(), row.text, row.outcome), expected, "{words}");
            assert_eq!((brief.claims.len(), brief.summary.as_str()), (1, ""), "{words}");
        }
    }
}
