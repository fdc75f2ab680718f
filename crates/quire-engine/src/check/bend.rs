//! What an agent changed of what a check consists of: scripts that it runs, tests, configuration, what shadows a program.
//!
//! Rather too much is taken for a definition than too little: the check is run again with all of it as it was before the
//! task, and where that passes as well nothing is said.

use quire_core::{Entry, Node, RelPath, Snapshot};
use std::collections::BTreeSet;

/// Returns the entries of a version that are part of what `command`, run in the first folder, consists of. `read` returns the
/// text of a path in the first folder: of the version, or as it was.
pub fn definitions<'v>(
    command: &str,
    version: &'v Snapshot,
    read: &dyn Fn(&RelPath) -> Option<String>,
) -> Vec<&'v Entry> {
    let scripts = scripts(command, read);
    let is = |entry: &&Entry| {
        let path = entry.path.to_string();
        is_test(&path)
            || configures(command, &path)
            || entry.folder == 0 && shadows(command, &path)
            || entry.folder == 0 && scripts.contains(&entry.path)
    };
    let no_dir = |entry: &&Entry| {
        !matches!((&entry.was, &entry.now), (None | Some(Node::Dir { .. }), Some(Node::Dir { .. })))
    };
    version.entries.iter().filter(no_dir).filter(is).collect()
}

/// Whether a path is a test, by the custom of all common languages.
pub fn is_test(path: &str) -> bool {
    path.to_ascii_lowercase().split('/').any(|part| {
        let stem = part.split('.').next().unwrap_or(part);
        ["test", "tests", "spec", "specs", "__tests__", "__snapshots__", "testdata", "fixtures", "conftest"]
            .contains(&stem)
            || ["test_", "test-"].iter().any(|start| part.starts_with(start))
            || ["_test.", "-test.", ".test.", "_spec.", ".spec.", "tests."]
                .iter()
                .any(|word| part.contains(word))
    })
}

/// Files that say what a well-known program checks, by the program's word. A word's start is enough: `python3.12`.
const CONFIGURE: &[(&str, &[&str])] = &[
    (
        "cargo",
        &["Cargo.toml", "build.rs", "config.toml", "rust-toolchain", "rust-toolchain.toml", "nextest.toml"],
    ),
    ("np", NODE),
    ("node", NODE),
    ("yarn", NODE),
    ("pnpm", NODE),
    ("bun", NODE),
    ("pytest", PYTHON),
    ("py.test", PYTHON),
    ("python", PYTHON),
    ("tox", PYTHON),
    ("go", &["go.mod", "go.work"]),
    ("gradle", GRADLE),
    ("gradlew", GRADLE),
    ("mvn", &["pom.xml", "maven.config", "jvm.config"]),
    ("ctest", &["CMakeLists.txt", "CTestTestfile.cmake"]),
    ("cmake", &["CMakeLists.txt", "CTestTestfile.cmake"]),
    ("make", &["Makefile", "makefile", "GNUmakefile"]),
];
const NODE: &[&str] =
    &["package.json", ".npmrc", ".yarnrc", ".yarnrc.yml", ".mocharc.json", ".mocharc.js", ".mocharc.yml"];
const PYTHON: &[&str] = &[
    "conftest.py",
    "pytest.ini",
    ".pytest.ini",
    "setup.cfg",
    "tox.ini",
    "pyproject.toml",
    "setup.py",
    "noxfile.py",
    "sitecustomize.py",
    "usercustomize.py",
    ".coveragerc",
];
const GRADLE: &[&str] = &[
    "build.gradle",
    "build.gradle.kts",
    "settings.gradle",
    "settings.gradle.kts",
    "gradle.properties",
    "gradlew",
];
/// Files that set an environment or a tool's version, whatever is run.
const SURROUND: &[&str] = &[".env", ".envrc", ".tool-versions", ".python-version", ".node-version", ".nvmrc"];

fn configures(command: &str, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let of_node = |name: &str| {
        ["jest.config.", "vitest.config.", "vite.config.", "babel.config.", "karma.conf."]
            .iter()
            .any(|start| name.starts_with(start))
    };
    SURROUND.contains(&name)
        || words(command).flat_map(configuring).any(|files| {
            files.contains(&name)
                || files == NODE && of_node(name)
                || files == PYTHON && name.ends_with(".pth")
        })
}

/// Returns the lists of files that configure the program of that name or path.
fn configuring(word: &str) -> impl Iterator<Item = &'static [&'static str]> {
    let name = word.rsplit('/').next().unwrap_or(word);
    CONFIGURE.iter().filter(move |(program, _)| name.starts_with(program)).map(|(_, files)| *files)
}

/// Whether something at the folder's top has the name of what the command runs: a module `pytest.py`, a file `test` for which
/// `make test` has nothing to do.
fn shadows(command: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    let (Some(top), inner) = (parts.next(), parts.next()) else { return false };
    let stem = top.strip_suffix(".py").unwrap_or(top);
    let mut words = words(command);
    words.any(|word| {
        word == stem
            && (inner.is_some_and(|name| name.starts_with("__"))
                || inner.is_none() && runs_by_name(command, stem))
    })
}

/// Whether a word of a command is no file that it only looks at: a target, or a module.
fn runs_by_name(command: &str, stem: &str) -> bool {
    let mut before = "";
    words(command).any(|word| {
        let is = word == stem && (before == "-m" || before.starts_with("make") || before.is_empty());
        before = word;
        is
    })
}

/// Scripts that a command runs, and those that they run; whether they were changed or not.
fn scripts(command: &str, read: &dyn Fn(&RelPath) -> Option<String>) -> BTreeSet<RelPath> {
    /// Nobody nests scripts deeper than this.
    const TEXTS_MAX: usize = 40;
    let mut found = BTreeSet::new();
    let mut texts = vec![(None::<RelPath>, command.to_owned())];
    for file in words(command).flat_map(configuring).flatten() {
        if let Some((path, text)) = RelPath::new(*file).and_then(|path| Some((path.clone(), read(&path)?))) {
            texts.push((Some(path), text));
        }
    }
    let mut next = 0;
    while next < texts.len().min(TEXTS_MAX) {
        let (from, text) = texts[next].clone();
        next += 1;
        for line in text.lines() {
            for word in words(line) {
                let bare = word
                    .trim_start_matches(['@', '-'])
                    .trim_start_matches("./")
                    .trim_start_matches("$(dirname $0)/");
                if !is_run(bare, line) {
                    continue;
                }
                let beside = from
                    .as_ref()
                    .and_then(RelPath::parent)
                    .and_then(|dir| RelPath::new(format!("{dir}/{bare}")));
                for path in RelPath::new(bare).into_iter().chain(beside) {
                    // A test's script also runs the program that it tests.
                    if found.contains(&path) || from.is_some() && !is_of_tests(&path.to_string()) {
                        continue;
                    }
                    if let Some(text) = read(&path) {
                        texts.push((Some(path.clone()), text));
                        found.insert(path);
                    }
                }
            }
        }
    }
    found
}

/// Whether a script that another runs is a part of the test, by its name or place, rather than what is tested.
fn is_of_tests(path: &str) -> bool {
    const WORDS: &[&str] =
        &["test", "check", "verif", "valid", "lint", "spec", "assert", "expect", "compare", "suite"];
    const PLACES: &[&str] = &["ci", ".ci", "tools", "scripts", "run", "run.sh"];
    path.to_ascii_lowercase()
        .split('/')
        .any(|part| PLACES.contains(&part) || WORDS.iter().any(|word| part.contains(word)))
}

/// Whether a word of a line is run by it, rather than looked at.
fn is_run(word: &str, line: &str) -> bool {
    const SCRIPTS: &[&str] =
        &["sh", "bash", "py", "js", "mjs", "cjs", "ts", "rb", "pl", "php", "lua", "awk", "sed", "mk", "bats"];
    let starts = line.split([';', '&', '|', '(']).any(|part| {
        part.split_whitespace()
            .next()
            .is_some_and(|first| first.trim_start_matches(['@', '-']).trim_start_matches("./") == word)
    });
    starts || word.rsplit_once('.').is_some_and(|(_, ending)| SCRIPTS.contains(&ending))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || ";&|()\"',=`".contains(c)).filter(|word| !word.is_empty())
}

/// Marks of a test that is left out.
const SKIPS: &[&str] = &[
    "#[ignore",
    "@pytest.mark.skip",
    "@pytest.mark.xfail",
    "@unittest.skip",
    "@skip",
    "pytest.skip(",
    "self.skipTest(",
    "t.Skip(",
    "t.SkipNow(",
    "b.Skip(",
    "it.skip(",
    "test.skip(",
    "describe.skip(",
    "it.only(",
    "test.only(",
    "describe.only(",
    "xit(",
    "xdescribe(",
    "@Disabled",
    "@Ignore",
];
/// How the line of a test begins.
const TESTS: &[&str] = &[
    "#[test]",
    "#[tokio::test",
    "def test_",
    "async def test_",
    "func Test",
    "it(",
    "test(",
    "@Test",
    "@ParameterizedTest",
];

/// Returns how the tests within a source file became weaker: `tests were removed in src/lib.rs`.
pub fn weakened(path: &str, was: &str, now: &str) -> Option<String> {
    let count = |text: &str, marks: &[&str]| {
        text.lines().filter(|line| marks.iter().any(|mark| line.trim_start().starts_with(mark))).count()
    };
    if count(now, SKIPS) > count(was, SKIPS) {
        return Some(format!("tests are left out in {path}"));
    }
    if count(now, TESTS) < count(was, TESTS) {
        return Some(format!("tests were removed in {path}"));
    }
    let inner = |text: &str| -> Vec<String> {
        let tests = text.split_once("#[cfg(test)]").map_or("", |(_, tests)| tests);
        tests.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
    };
    let mut left = inner(now);
    for line in inner(was) {
        match left.iter().position(|other| *other == line) {
            Some(at) => drop(left.swap_remove(at)),
            None => return Some(format!("the agent changed tests in {path}")),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use quire_core::Hash;

    fn version(paths: &[&str]) -> Snapshot {
        let file = |content: &[u8]| Some(Node::File { blob: Hash::of(content), bytes: 3, mode: 0o644 });
        let entry = |path: &&str| Entry {
            folder: 0,
            path: RelPath::new(*path).unwrap(),
            was: file(b"old"),
            now: file(b"new"),
        };
        Snapshot { entries: paths.iter().map(entry).collect() }
    }

    #[test]
    fn what_a_check_consists_of_is_known() {
        let texts = [
            ("Makefile", "test: all\n\t@./run.sh --fast\n"),
            ("run.sh", "cd x; python3 tools/verify.py\n"),
            ("tools/verify.py", "import sys"),
            ("check.sh", "grep 3 a.txt; sh program.sh | ./assert a.txt"),
            ("program.sh", "echo 3"),
            ("assert", "#!/bin/sh"),
            ("package.json", "{\"scripts\": {\"test\": \"node scripts/all.js\"}}"),
            ("scripts/all.js", "require('./more.js')"),
            ("verify", "#!/bin/sh"),
            ("a.txt", "3"),
        ];
        let read = |path: &RelPath| {
            texts.iter().find(|(name, _)| *name == path.to_string()).map(|(_, text)| (*text).to_owned())
        };
        for (command, changed, bent) in [
            (
                "make test",
                &["a.c", "run.sh", "tools/verify.py", "Makefile"][..],
                &["run.sh", "tools/verify.py", "Makefile"][..],
            ),
            ("make test", &["test"], &["test"]),
            ("sh ./check.sh -v", &["check.sh", "a.txt"], &["check.sh"]),
            ("sh ./check.sh -v", &["program.sh", "assert"], &["assert"]),
            ("test -s a.txt", &["a.txt", "b"], &[]),
            ("grep right answer", &["answer"], &[]),
            ("./verify now", &["verify"], &["verify"]),
            (
                "npm test",
                &["scripts/all.js", "src/a.js", "jest.config.js"],
                &["scripts/all.js", "jest.config.js"],
            ),
            (
                "cargo test",
                &["src/lib.rs", "tests/a.rs", ".cargo/config.toml", "build.rs", "latest.rs"],
                &["tests/a.rs", ".cargo/config.toml", "build.rs"],
            ),
            (
                "python3 -m pytest -q",
                &["pytest.py", "conftest.py", "a.py", "pyproject.toml", "x/test_a.py"],
                &["pytest.py", "conftest.py", "pyproject.toml", "x/test_a.py"],
            ),
            (
                "python3 -m unittest",
                &["unittest/__init__.py", "sitecustomize.py", "shop.py"],
                &["unittest/__init__.py", "sitecustomize.py"],
            ),
            (
                "go test ./...",
                &["sum_test.go", "sum.go", "go.mod", ".env"],
                &["sum_test.go", "go.mod", ".env"],
            ),
            (
                "mvn -q test",
                &["pom.xml", "src/main/A.java", "src/test/ATest.java"],
                &["pom.xml", "src/test/ATest.java"],
            ),
        ] {
            let version = version(changed);
            let found = definitions(command, &version, &read);
            let found: Vec<String> = found.iter().map(|entry| entry.path.to_string()).collect();
            assert_eq!(found, bent, "{command}");
        }
    }

    #[test]
    fn tests_within_a_source_file_do_not_grow_weaker_unseen() {
        let rust = "fn a() {}\n#[cfg(test)]\nmod tests {\n  #[test]\n  fn one() { assert_eq!(a(), 1); }\n}\n";
        for (was, now, said) in [
            (rust, rust.replace("fn a() {}", "fn a() -> u8 { 1 }"), None),
            (rust, rust.replace("#[test]", "#[test]\n  #[ignore]"), Some("tests are left out in f")),
            (rust, rust.replace("#[test]", ""), Some("tests were removed in f")),
            (rust, rust.replace("a(), 1", "a(), 2"), Some("the agent changed tests in f")),
            (rust, rust.replace("}\n}\n", "}\n  #[test]\n  fn two() {}\n}\n"), None),
            ("def test_a():\n  pass\n", "x = 1\n".to_owned(), Some("tests were removed in f")),
            (
                "func TestA(t *testing.T) {\n}",
                "func TestA(t *testing.T) {\n  t.Skip(\"x\")\n}".to_owned(),
                Some("tests are left out in f"),
            ),
            ("test of prose\n", "prose\n".to_owned(), None),
        ] {
            assert_eq!(weakened("f", was, &now).as_deref(), said, "{now}");
        }
    }
}
