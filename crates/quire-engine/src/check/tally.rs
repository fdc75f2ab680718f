//! What a test runner says of its run, read from the words of the common ones. Nothing is believed of it for good: it only
//! makes an outcome worse (a runner that fell silent, fewer tests than before) or tells old failures from new ones.

use std::collections::BTreeSet;

/// A run's tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: u32,
    pub failed: u32,
    /// Names of those that failed, as printed.
    pub failing: BTreeSet<String>,
}

impl Tally {
    /// Counts passed ones in. A runner may print any number.
    fn pass(&mut self, tests: u32) {
        self.passed = self.passed.saturating_add(tests);
    }

    fn fail(&mut self, tests: u32) {
        self.failed = self.failed.saturating_add(tests);
    }
}

/// Returns what the runner said, or `None` where none of those known spoke.
pub fn read(output: &str) -> Option<Tally> {
    let mut tally = Tally::default();
    let mut spoke = false;
    for line in output.lines().map(without_colours) {
        let line = line.trim_matches(|c: char| c == '=' || c.is_whitespace());
        let line = ["[ERROR] ", "[INFO] ", "[WARNING] "]
            .iter()
            .find_map(|mark| line.strip_prefix(mark))
            .unwrap_or(line);
        let mut failing = |name: &str| tally.failing.insert(name.trim().to_owned());
        if let Some(rest) = line.strip_prefix("test result: ") {
            // cargo; one line for each binary.
            spoke = true;
            tally.pass(before(rest, " passed"));
            tally.fail(before(rest, " failed"));
        } else if let Some(name) =
            line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            failing(name);
        } else if let Some(name) = line.strip_prefix("FAILED ").filter(|name| !name.starts_with('(')) {
            failing(name.split(" - ").next().unwrap_or(name)); // pytest
        } else if line.contains(" in ")
            && (line.contains(" passed") || line.contains(" failed") || line.contains(" error"))
            || line.starts_with("no tests ran in ")
        {
            spoke = true;
            tally.pass(before(line, " passed"));
            tally.fail(before(line, " failed"));
            tally.fail(before(line, " error"));
        } else if let Some(rest) = line.strip_prefix("Ran ").filter(|rest| rest.contains(" test")) {
            spoke = true; // unittest
            tally.pass(number(rest));
        } else if let Some(rest) = line.strip_prefix("FAILED (") {
            let wrong = after(rest, "failures=").saturating_add(after(rest, "errors="));
            tally.fail(wrong);
            tally.passed = tally.passed.saturating_sub(wrong);
        } else if let Some(name) = line.strip_prefix("FAIL: ").or_else(|| line.strip_prefix("ERROR: ")) {
            failing(name);
        } else if let Some(name) = line.strip_prefix("--- FAIL: ") {
            failing(name.split(" (").next().unwrap_or(name)); // go
            tally.fail(1);
            spoke = true;
        } else if line.starts_with("ok  \t") || line.starts_with("?   \t") {
            spoke = true;
            tally.pass(u32::from(!line.contains("[no test files]") && !line.contains("[no tests to run]")));
        } else if let Some(rest) = line.strip_prefix("# pass ").or_else(|| line.strip_prefix("ℹ pass ")) {
            spoke = true; // node --test, tape
            tally.pass(number(rest.trim_start()));
        } else if let Some(rest) = line.strip_prefix("# fail ").or_else(|| line.strip_prefix("ℹ fail ")) {
            tally.fail(number(rest.trim_start()));
        } else if let Some(rest) =
            line.strip_prefix("Tests run: ").filter(|rest| !rest.contains("Time elapsed"))
        {
            spoke = true; // Maven
            let wrong = after(rest, "Failures: ").saturating_add(after(rest, "Errors: "));
            tally.fail(wrong);
            tally.pass(number(rest).saturating_sub(wrong).saturating_sub(after(rest, "Skipped: ")));
        } else if let Some((name, _)) =
            line.split_once("  Time elapsed: ").filter(|(_, rest)| rest.contains("<<< "))
        {
            failing(name);
        } else if line.contains(" passing (") && line.ends_with(')') {
            spoke = true; // mocha
            tally.pass(number(line));
        } else if let Some(failed) = line.strip_suffix(" failing") {
            tally.fail(number(failed));
        } else if let Some(name) = line.strip_prefix("not ok ") {
            failing(name.split_once(" - ").map_or(name, |(_, name)| name));
        } else if let Some(rest) = line.strip_prefix("Tests:") {
            spoke = true; // jest, vitest
            tally.pass(before(rest, " passed"));
            tally.fail(before(rest, " failed"));
        } else if let Some(rest) = line.strip_prefix("✗ ") {
            failing(rest.split(": ").next().unwrap_or(rest)); // quire's own
        } else if line.ends_with("well formed") && line.contains(" file") {
            spoke = true;
        }
    }
    spoke.then_some(tally)
}

/// Returns a line without the colours that some runners give it wherever it goes.
fn without_colours(line: &str) -> String {
    let mut parts = line.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    plain
}

/// Returns whether a command's runner always says something that [`read`] knows.
pub fn speaks(command: &str) -> bool {
    let said: Vec<&str> = command.split_whitespace().collect();
    let has = |pair: [&str; 2]| said.windows(2).any(|words| words == pair);
    has(["cargo", "test"])
        || has(["go", "test"])
        || said.iter().any(|word| ["pytest", "unittest"].contains(word))
}

/// Returns the number that stands before `word`.
fn before(text: &str, word: &str) -> u32 {
    let Some((head, _)) = text.split_once(word) else { return 0 };
    let digits = head.len() - head.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    head[head.len() - digits..].parse().unwrap_or(0)
}

fn after(text: &str, word: &str) -> u32 {
    text.split_once(word).map_or(0, |(_, tail)| number(tail))
}

fn number(text: &str) -> u32 {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_common_runners_are_known() {
        for (output, expected) in [
            (
                "running 2 tests\ntest a::b ... ok\ntest c ... FAILED\n\ntest result: FAILED. 1 passed; 1 failed; 0 ignored\n\
                 test result: ok. 3 passed; 0 failed; 0 ignored",
                Some((4, 1, "c")),
            ),
            (
                "FAILED tests/test_a.py::test_x - assert 1 == 2\n=== 1 failed, 12 passed in 0.12s ===",
                Some((12, 1, "tests/test_a.py::test_x")),
            ),
            ("no tests ran in 0.01s", Some((0, 0, ""))),
            (
                "FAIL: test_x (t.T.test_x)\nRan 3 tests in 0.1s\n\nFAILED (failures=1)",
                Some((2, 1, "test_x (t.T.test_x)")),
            ),
            ("Ran 1 test in 0.000s\n\nOK", Some((1, 0, ""))),
            ("--- FAIL: TestSum (0.00s)\nFAIL\nok  \tlab/a\t0.1s", Some((1, 1, "TestSum"))),
            ("not ok 1 - adds up\n# pass 3\n# fail 1", Some((3, 1, "adds up"))),
            ("ok 1 should be equal\n\n1..5\n# tests 5\n# pass  4\n# fail  1", Some((4, 1, ""))),
            ("Tests:       1 failed, 2 passed, 3 total", Some((2, 1, ""))),
            ("  12 passing (34ms)\n  2 failing\n", Some((12, 2, ""))),
            ("  1 passing (5ms)", Some((1, 0, ""))),
            (
                "[\x1b[1;31mERROR\x1b[m] Tests run: 2, Failures: 1, Errors: 0, Skipped: 0, Time elapsed: 0.1 s <<< FAILURE! - in a.T\n\
                 [ERROR] adds(a.T)  Time elapsed: 0.033 s  <<< FAILURE!\n\
                 [\x1b[1;31mERROR\x1b[m] \x1b[1;31mTests run: 5, Failures: 1, Errors: 1, Skipped: 1\x1b[m",
                Some((2, 2, "adds(a.T)")),
            ),
            (
                "✗ a.json: expected value at line 1 column 1\n1 of 2 files is not well formed",
                Some((0, 0, "a.json")),
            ),
            (
                "test result: ok. 4000000000 passed; 9 failed\ntest result: ok. 4000000000 passed; 4294967295 failed",
                Some((u32::MAX, u32::MAX, "")),
            ),
            ("FAILED (failures=4294967295, errors=4294967295)\nRan 1 test in 1s", Some((1, u32::MAX, ""))),
            ("hello, 3 of us passed by", None),
            ("", None),
        ] {
            let read = read(output);
            let shown = read.as_ref().map(|tally| {
                let failing: Vec<&str> = tally.failing.iter().map(String::as_str).collect();
                (tally.passed, tally.failed, failing.join(" "))
            });
            assert_eq!(shown, expected.map(|(p, f, n)| (p, f, n.to_owned())), "{output}");
        }
    }
}
