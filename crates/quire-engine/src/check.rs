//! Proofs: what quire saw itself when it ran a check on exactly the files that would be accepted.
//!
//! A check runs in a fresh sandbox of the sealed layers, in which nothing of the agent's is alive. That it passes is worth
//! less where the agent changed what the check consists of; each such thing turns "passes" into "passes, but: ...".

use crate::hands::{Gone, Hands};
use quire_core::event::{Apart, Proof};
use quire_core::secret::Masks;
use quire_core::{Hash, RelPath, Snapshot};
use std::time::{Duration, Instant};

/// How a check's command ended.
pub struct Run {
    /// Absent: it did not end by itself.
    exit: Option<i32>,
    output: String,
    /// Name of the file in the out directory with the whole output.
    pub whole: Option<String>,
    took: Duration,
}

impl Run {
    pub fn masked(self, masks: &Masks) -> Run {
        Run { output: masks.mask(&self.output).unwrap_or(self.output), ..self }
    }

    /// Returns the outcome of a check whose sandbox ended under it.
    pub fn lost(limits_met: &str) -> Run {
        let output =
            format!("The sandbox ended while the check ran, perhaps for lack of memory.{limits_met}");
        Run { exit: None, output, whole: None, took: Duration::ZERO }
    }
}

/// Longest that a check may take.
const TIME_MAX: Duration = Duration::from_secs(15 * 60);

/// Runs `command` in a fresh sandbox and waits for its end.
pub async fn run(hands: &Hands, command: &str) -> Result<Run, Gone> {
    let begun = Instant::now();
    let said = hands.command(command, TIME_MAX, |_| {}).await?;
    Ok(Run { exit: said.exit, output: said.text, whole: said.whole, took: begun.elapsed() })
}

/// Returns the proof of a run on `version`, whose snapshot is `id`. `changed` is what the check itself changed in the
/// folder, seen from the frozen base like `version`.
pub fn proof(
    command: &str,
    run: Run,
    id: Hash,
    whole: Option<Hash>,
    version: &Snapshot,
    changed: &Snapshot,
    apart: &Apart,
) -> Proof {
    let passed = run.exit == Some(0);
    let mut buts = vec![];
    let definitions: Vec<String> =
        version.entries.iter().filter(|e| defines(command, &e.path)).map(|e| e.path.to_string()).collect();
    if !definitions.is_empty() {
        buts.push(format!("the agent changed what it runs: {}", listed(&definitions)));
    }
    if apart.outside.total > 0 {
        buts.push(format!("the agent changed {} outside the folder", paths(apart.outside.total)));
    }
    if apart.ignored.total > 0 {
        buts.push(format!("the agent changed {} in ignored directories", paths(apart.ignored.total)));
    }
    // A check that changes the folder says nothing about the folder as it would be accepted. Files that stand in neither
    // the base nor the version are traces, which a check may leave.
    let touched: Vec<String> = changed
        .entries
        .iter()
        .filter(|e| {
            e.was.is_some() || version.entries.iter().any(|v| (v.folder, &v.path) == (e.folder, &e.path))
        })
        .map(|e| e.path.to_string())
        .collect();
    if !touched.is_empty() {
        buts.push(format!("it changed the folder itself: {}", listed(&touched)));
    }
    let millis = run.took.as_millis() as u64;
    Proof {
        snapshot: id,
        passed,
        exit: run.exit,
        millis,
        output: run.output,
        whole,
        buts: if passed { buts } else { vec![] },
    }
}

/// Files that say what a well-known program checks: by the word that starts it.
const DEFINITIONS: &[(&str, &[&str])] = &[
    ("make", &["Makefile", "makefile", "GNUmakefile"]),
    ("cargo", &["Cargo.toml", "build.rs", "config.toml"]),
    ("npm", &["package.json"]),
    ("npx", &["package.json"]),
    ("yarn", &["package.json"]),
    ("pnpm", &["package.json"]),
    ("pytest", &["conftest.py", "pytest.ini", "setup.cfg", "tox.ini", "pyproject.toml"]),
    ("python", &["conftest.py", "pytest.ini", "setup.cfg", "tox.ini", "pyproject.toml"]),
    ("python3", &["conftest.py", "pytest.ini", "setup.cfg", "tox.ini", "pyproject.toml"]),
    ("go", &["go.mod"]),
    ("gradle", &["build.gradle", "build.gradle.kts"]),
    ("mvn", &["pom.xml"]),
    ("ctest", &["CMakeLists.txt"]),
];

/// Whether `path` is part of what `command` runs: named in it, configuring it, or a test.
fn defines(command: &str, path: &RelPath) -> bool {
    let name = String::from_utf8_lossy(path.name());
    let shown = path.to_string();
    let mut words =
        command.split(|c: char| c.is_whitespace() || ";&|()\"'".contains(c)).filter(|w| !w.is_empty());
    let is_test = shown.split('/').any(|part| {
        let part = part.to_ascii_lowercase();
        part == "test"
            || part == "tests"
            || part == "spec"
            || part.starts_with("test_")
            || part.contains("_test.")
            || part.contains(".test.")
            || part.contains(".spec.")
    });
    is_test
        || words.any(|word| {
            let word = word.strip_prefix("./").unwrap_or(word);
            word == shown && runs(&name, word, command)
                || DEFINITIONS
                    .iter()
                    .any(|(program, files)| *program == word && files.contains(&name.as_ref()))
        })
}

/// Whether a file that a command names is run by it, rather than looked at.
fn runs(name: &str, word: &str, command: &str) -> bool {
    const SCRIPTS: &[&str] =
        &["sh", "bash", "py", "js", "mjs", "cjs", "ts", "rb", "pl", "php", "lua", "awk", "sed", "mk", "bats"];
    let starts = command.split([';', '&', '|', '(']).any(|part| {
        part.split_whitespace().next().is_some_and(|first| first.trim_start_matches("./") == word)
    });
    starts || name.rsplit_once('.').is_some_and(|(_, ending)| SCRIPTS.contains(&ending))
}

fn listed(all: &[String]) -> String {
    let first = all.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    if all.len() > 3 { format!("{first} and {} more", all.len() - 3) } else { first }
}

fn paths(n: u64) -> String {
    if n == 1 { "1 path".into() } else { format!("{n} paths") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quire_core::event::Listing;
    use quire_core::{Entry, Node};

    fn file(content: &[u8]) -> Option<Node> {
        Some(Node::File { blob: Hash::of(content), bytes: content.len() as u64, mode: 0o644 })
    }

    fn snapshot(paths: &[(&str, bool)]) -> Snapshot {
        let entry = |(path, was): &(&str, bool)| Entry {
            folder: 0,
            path: RelPath::new(*path).unwrap(),
            was: was.then(|| file(b"old")).flatten(),
            now: file(b"new"),
        };
        Snapshot { entries: paths.iter().map(entry).collect() }
    }

    #[test]
    fn what_weakens_a_pass_is_said() {
        let outside =
            Apart { outside: Listing { paths: vec!["/usr/bin/true".into()], total: 1 }, ..Apart::default() };
        let none = Apart::default();
        for (command, version, changed, apart, want) in [
            ("make test", &[("a.c", true)][..], &[][..], &none, &[][..]),
            ("make test", &[("Makefile", true)], &[], &none, &["the agent changed what it runs: Makefile"]),
            (
                "sh ./check.sh -v",
                &[("check.sh", true)],
                &[],
                &none,
                &["the agent changed what it runs: check.sh"],
            ),
            (
                "cargo test",
                &[("tests/tax.rs", false)],
                &[],
                &none,
                &["the agent changed what it runs: tests/tax.rs"],
            ),
            ("make", &[("latest.c", true)], &[], &outside, &["the agent changed 1 path outside the folder"]),
            ("./verify now", &[("verify", true)], &[], &none, &["the agent changed what it runs: verify"]),
            ("test -s a.txt", &[("a.txt", true)], &[], &none, &[]),
            ("make", &[("a.c", true)], &[("out.log", false)], &none, &[]),
            ("make", &[("a.c", true)], &[("a.c", true)], &none, &["it changed the folder itself: a.c"]),
        ] {
            let run = Run { exit: Some(0), output: "ok".into(), whole: None, took: Duration::ZERO };
            let proof =
                proof(command, run, Hash::of(b""), None, &snapshot(version), &snapshot(changed), apart);
            assert!(proof.passed);
            assert_eq!(proof.buts, want, "{command}");
        }
    }

    #[test]
    fn only_exit_0_passes() {
        for (exit, passed) in [(Some(0), true), (Some(1), false), (Some(137), false), (None, false)] {
            let run = Run { exit, output: String::new(), whole: None, took: Duration::ZERO };
            let none = Snapshot::default();
            assert_eq!(proof("make", run, none.id(), None, &none, &none, &Apart::default()).passed, passed);
        }
    }
}
