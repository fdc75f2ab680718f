//! The checks that a project has: found in the folder as it was before the task, never in what the task made of it alone.
//!
//! Only what may be concerned by what changed is looked for, so a task on a folder of notes pays nothing. What quire looks at by
//! itself (data files, pages, whether a script parses) comes first, because it is quick.

use super::bend;
use crate::freeze::Frozen;
use crate::rooted::Kind;
use crate::snapshot::old_text;
use quire_core::charter::CheckSpec;
use quire_core::{Entry, Node, RelPath, Snapshot};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// More files than these are not looked at one by one.
const FILES_MAX: usize = 60;

/// More projects than these are not tested for one change.
const PROJECTS_MAX: usize = 8;

/// Returns the checks that concern what `version` changed in the first folder. `now` returns the text of an entry as it is now;
/// `runs` says whether the person's machine has a program of that name.
pub fn found(
    base: &Frozen,
    version: &Snapshot,
    now: &dyn Fn(&Entry) -> Option<String>,
    runs: &dyn Fn(&str) -> bool,
) -> io::Result<Vec<CheckSpec>> {
    // A path that is shown escaped cannot be named in a command as it is shown.
    let is_plain = |path: &RelPath| !path.to_string().contains('\\');
    let changed = version.entries.iter().filter(|entry| entry.folder == 0 && is_plain(&entry.path));
    let changed: Vec<&Entry> = changed.collect();
    let mut checks: Vec<CheckSpec> =
        [files(base, &changed)?, pages(&changed, runs), scripts(&changed, now, runs)]
            .into_iter()
            .flatten()
            .collect();
    let finder = Finder { base, runs };
    // Prose and pictures concern no program.
    let touched =
        changed.iter().filter(|entry| !is_dir(entry) && !is_prose(&entry.path)).map(|entry| &entry.path);
    let mut dirs = BTreeSet::new();
    for path in touched {
        let mut dir = path.parent();
        while dirs.insert(dir.clone())
            && let Some(below) = dir
        {
            dir = below.parent();
        }
    }
    // In their order a directory comes before those below it; what is found farthest up covers what is found below.
    let mut of_project: Vec<(&Option<RelPath>, CheckSpec)> = vec![];
    for dir in dirs.iter().rev() {
        let below = |known: &Option<RelPath>| match (dir, known) {
            (None, _) => true,
            (Some(dir), Some(known)) => known.is_within(dir),
            (Some(_), None) => false,
        };
        for check in finder.in_dir(dir.as_ref())? {
            of_project.retain(|(place, known)| known.name != check.name || !below(place));
            of_project.push((dir, check));
        }
    }
    of_project.truncate(PROJECTS_MAX);
    checks.extend(of_project.into_iter().map(|(_, check)| check));
    // A project that says itself how it is tested is not guessed at.
    if checks.iter().any(|check| check.name == "make")
        && checks.iter().any(|check| !is_quick(&check.name) && check.name != "make")
    {
        checks.retain(|check| check.name != "make");
    }
    Ok(checks)
}

const FILES: &str = "files";
const PAGES: &str = "pages";
const SCRIPTS: &str = "scripts";

/// More pages than these are not opened in a browser: each takes it a moment.
const PAGES_MAX: usize = 12;

/// Whether a check that was found is one of quire's own, whose definition no task can change.
pub fn is_quick(name: &str) -> bool {
    [FILES, PAGES, SCRIPTS].contains(&name)
}

fn is_dir(entry: &Entry) -> bool {
    matches!((&entry.was, &entry.now), (_, Some(Node::Dir { .. })) | (Some(Node::Dir { .. }), None))
}

fn is_prose(path: &RelPath) -> bool {
    const PROSE: &[&str] =
        &["md", "txt", "rst", "adoc", "png", "jpg", "jpeg", "gif", "webp", "svg", "pdf", "ico"];
    ending(path).is_some_and(|ending| PROSE.contains(&ending.as_str()))
}

fn ending(path: &RelPath) -> Option<String> {
    let name = String::from_utf8_lossy(path.name()).to_ascii_lowercase();
    name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map(|(_, ending)| ending.to_owned())
}

/// Data files, pictures and pages that changed, and pages that may lead to what was removed.
fn files(base: &Frozen, changed: &[&Entry]) -> io::Result<Option<CheckSpec>> {
    let is_looked_at = |entry: &&&Entry| {
        matches!(entry.now, Some(Node::File { .. }))
            && ending(&entry.path).is_some_and(|ending| quire_sandbox::tool::has_a_form(&ending))
            && !is_lenient(&entry.path)
    };
    let mut paths: BTreeSet<RelPath> =
        changed.iter().filter(is_looked_at).map(|entry| entry.path.clone()).collect();
    let removed = changed.iter().filter(|entry| entry.now.is_none() && !is_dir(entry));
    let places: BTreeSet<Option<RelPath>> = removed.flat_map(|entry| [entry.path.parent(), None]).collect();
    let gone = |path: &RelPath| changed.iter().any(|entry| entry.path == *path && entry.now.is_none());
    for place in places {
        let pages = names(base, place.as_ref())?
            .into_iter()
            .filter(|path| matches!(ending(path).as_deref(), Some("html" | "htm")));
        paths.extend(pages.filter(|path| !gone(path)));
    }
    if paths.is_empty() {
        return Ok(None);
    }
    let named: Vec<String> = paths.iter().take(FILES_MAX).map(|path| quoted(&path.to_string())).collect();
    Ok(Some(CheckSpec { name: FILES.to_owned(), command: format!("wellformed {}", named.join(" ")) }))
}

/// Pages that changed, and pages beside a script or style that did, open without an error on their console.
fn pages(changed: &[&Entry], runs: &dyn Fn(&str) -> bool) -> Option<CheckSpec> {
    let is_page = |entry: &&&Entry| {
        let is_page = matches!(ending(&entry.path).as_deref(), Some("html" | "htm"));
        is_page && matches!(entry.now, Some(Node::File { .. })) && !is_lenient(&entry.path)
    };
    let paths: BTreeSet<String> =
        changed.iter().filter(is_page).map(|entry| quoted(&entry.path.to_string())).collect();
    let paths: Vec<String> = paths.into_iter().take(PAGES_MAX).collect();
    let can = !paths.is_empty() && quire_sandbox::tool::Eyes::of(runs).pages;
    let command = format!("{} {}", quire_sandbox::tool::GLANCE, paths.join(" "));
    can.then(|| CheckSpec { name: PAGES.to_owned(), command })
}

/// Returns the page of which a check that was found has pictures made: the front page of those that it opens, else the first.
pub fn pictured(spec: &CheckSpec, version: &Snapshot) -> Option<String> {
    let named = format!("{} ", spec.command);
    let is_opened = |path: &&String| spec.name == PAGES && named.contains(&format!(" {} ", quoted(path)));
    let paths: Vec<String> = version
        .entries
        .iter()
        .filter(|entry| entry.folder == 0)
        .map(|entry| entry.path.to_string())
        .collect();
    let mut opened = paths.iter().filter(is_opened);
    opened.clone().find(|path| *path == "index.html").or_else(|| opened.next()).cloned()
}

/// Files that are called JSON or YAML and are by custom something else.
fn is_lenient(path: &RelPath) -> bool {
    let path = path.to_string();
    let name = path.rsplit('/').next().unwrap_or(&path);
    name.starts_with("tsconfig")
        || name.starts_with("jsconfig")
        || name.starts_with(".eslintrc")
        || name == "devcontainer.json"
        || path.split('/').any(|part| {
            part == ".vscode"
                || bend::is_test(part)
                || part == "templates"
                || part == "_layouts"
                || part == "_includes"
        })
}

/// Whether scripts that changed parse.
fn scripts(
    changed: &[&Entry],
    now: &dyn Fn(&Entry) -> Option<String>,
    runs: &dyn Fn(&str) -> bool,
) -> Option<CheckSpec> {
    let mut kinds: Vec<(&str, Vec<String>)> = vec![];
    for entry in changed.iter().filter(|entry| matches!(entry.now, Some(Node::File { .. }))) {
        let ending = ending(&entry.path);
        let known = match ending.as_deref() {
            Some("py") => Some("python3 -m py_compile"),
            Some("sh" | "bash") | None => {
                let Some(text) = now(entry) else { continue };
                let first = text.lines().next().unwrap_or_default();
                match first.strip_prefix("#!") {
                    Some(line) if line.contains("bash") => Some("bash -n"),
                    Some(line) if line.contains("python") => Some("python3 -m py_compile"),
                    Some(line)
                        if line.ends_with("/sh") || line.ends_with("dash") || line.ends_with(" sh") =>
                    {
                        Some("sh -n")
                    }
                    Some(_) => None,
                    None if ending.as_deref() == Some("bash") => Some("bash -n"),
                    None => ending.is_some().then_some("sh -n"),
                }
            }
            Some("mjs" | "cjs") => Some("node --check"),
            Some("rb") => Some("ruby -c"),
            Some("php") => Some("php -l"),
            _ => None,
        };
        let Some(parser) = known.filter(|parser| runs(parser.split(' ').next().unwrap_or(parser))) else {
            continue;
        };
        let path = quoted(&entry.path.to_string());
        match kinds.iter_mut().find(|(kind, _)| *kind == parser) {
            Some((_, paths)) => paths.push(path),
            None => kinds.push((parser, vec![path])),
        }
    }
    let one = |(parser, paths): &(&str, Vec<String>)| -> Vec<String> {
        // Only Python's takes many at once.
        match parser.starts_with("python3") {
            true => vec![format!("{parser} {}", paths[..paths.len().min(FILES_MAX)].join(" "))],
            false => paths.iter().take(FILES_MAX).map(|path| format!("{parser} {path}")).collect(),
        }
    };
    let all: Vec<String> = kinds.iter().flat_map(one).collect();
    (!all.is_empty()).then(|| CheckSpec { name: SCRIPTS.to_owned(), command: all.join(" && ") })
}

struct Finder<'a> {
    base: &'a Frozen,
    runs: &'a dyn Fn(&str) -> bool,
}

impl Finder<'_> {
    /// Returns what checks a directory of the base has.
    fn in_dir(&self, dir: Option<&RelPath>) -> io::Result<Vec<CheckSpec>> {
        let mut found = vec![];
        let all = names(self.base, dir)?;
        let has = |name: &str| all.iter().any(|path| path.name() == name.as_bytes());
        let mut add = |name: &str, command: &str| {
            let command = match dir {
                Some(dir) => format!("cd {} && {command}", quoted(&dir.to_string())),
                None => command.to_owned(),
            };
            found.push(CheckSpec { name: name.to_owned(), command });
        };
        if has("Cargo.toml") && (self.runs)("cargo") {
            add("cargo", "cargo test");
        }
        if has("package.json")
            && let Some(command) = self.node(dir, &has)
        {
            add("npm", command);
        }
        if let Some(command) = self.python(dir, &all)? {
            add("python", &command);
        }
        if has("go.mod") && (self.runs)("go") {
            add("go", "go test ./...");
        }
        if has("pom.xml") && (has("mvnw") || (self.runs)("mvn")) {
            add("maven", if has("mvnw") { "sh ./mvnw -q test" } else { "mvn -q test" });
        }
        if (has("build.gradle") || has("build.gradle.kts")) && (has("gradlew") || (self.runs)("gradle")) {
            add("gradle", if has("gradlew") { "sh ./gradlew test" } else { "gradle test" });
        }
        if has("CMakeLists.txt") && (self.runs)("ctest") && (self.runs)("cmake") {
            let text = self.text(dir, "CMakeLists.txt").unwrap_or_default();
            if text.contains("enable_testing(") || text.contains("include(CTest)") {
                add(
                    "ctest",
                    "cmake -S . -B /tmp/build && cmake --build /tmp/build && ctest --test-dir /tmp/build --output-on-failure",
                );
            }
        }
        for makefile in ["GNUmakefile", "makefile", "Makefile"].into_iter().filter(|name| has(name)).take(1) {
            let text = self.text(dir, makefile).unwrap_or_default();
            let target = ["test", "check"]
                .into_iter()
                .find(|target| text.lines().any(|line| line.starts_with(&format!("{target}:"))));
            if let Some(target) = target.filter(|_| (self.runs)("make")) {
                add("make", &format!("make {target}"));
            }
        }
        Ok(found)
    }

    /// `npm test` and its kin, where the project says how it is tested and what that needs is installed.
    fn node(&self, dir: Option<&RelPath>, has: &dyn Fn(&str) -> bool) -> Option<&'static str> {
        let package: serde_json::Value = serde_json::from_str(&self.text(dir, "package.json")?).ok()?;
        let script = package["scripts"]["test"].as_str()?;
        if script.contains("no test specified") {
            return None;
        }
        let needs = |key: &str| package[key].as_object().is_some_and(|all| !all.is_empty());
        let place = |dir: Option<&RelPath>| {
            dir.map_or("node_modules".to_owned(), |dir| format!("{dir}/node_modules"))
        };
        let installed = self
            .base
            .ignored
            .iter()
            .any(|ignored| ignored == Path::new(&place(dir)) || ignored == Path::new("node_modules"))
            || has("node_modules");
        if (needs("dependencies") || needs("devDependencies")) && !installed {
            return None;
        }
        let by = [
            ("pnpm-lock.yaml", "pnpm", "pnpm test"),
            ("yarn.lock", "yarn", "yarn test"),
            ("bun.lock", "bun", "bun run test"),
        ];
        let named = by.into_iter().find(|(lock, ..)| has(lock)).unwrap_or(("", "npm", "npm test"));
        (self.runs)(named.1).then_some(named.2)
    }

    /// pytest, or unittest where nothing speaks of pytest.
    fn python(&self, dir: Option<&RelPath>, all: &[RelPath]) -> io::Result<Option<String>> {
        let is_test = |path: &RelPath| {
            let name = String::from_utf8_lossy(path.name()).into_owned();
            name.ends_with(".py") && (name.starts_with("test_") || name.ends_with("_test.py"))
        };
        let mut tests: Vec<RelPath> = all.iter().filter(|path| is_test(path)).cloned().collect();
        let mut below = None;
        for name in ["tests", "test"] {
            let Some(place) = all.iter().find(|path| path.name() == name.as_bytes()) else { continue };
            let inner: Vec<RelPath> = names(self.base, Some(place))?.into_iter().filter(is_test).collect();
            if tests.is_empty() && !inner.is_empty() {
                below = Some(name);
            }
            tests.extend(inner);
        }
        if tests.is_empty() {
            return Ok(None);
        }
        let own = |name: &str| {
            [".venv", "venv"]
                .into_iter()
                .find(|venv| {
                    // Ignored directories are seen as they are; whether one has the program shows when it runs.
                    let place = dir.map_or((*venv).to_owned(), |dir| format!("{dir}/{venv}"));
                    self.base.ignored.iter().any(|ignored| ignored == Path::new(&place))
                })
                .map(|venv| format!("{venv}/bin/{name}"))
        };
        let python = own("python").or_else(|| (self.runs)("python3").then(|| "python3".to_owned()));
        let Some(python) = python else { return Ok(None) };
        let texts: Vec<String> = tests.iter().take(8).filter_map(|path| old_text(self.base, path)).collect();
        let of_unittest = texts.iter().all(|text| text.contains("unittest"))
            && !texts.iter().any(|text| text.contains("pytest"));
        let set_up = ["pytest.ini", ".pytest.ini", "conftest.py"]
            .iter()
            .any(|name| all.iter().any(|path| path.name() == name.as_bytes()))
            || self.text(dir, "pyproject.toml").is_some_and(|text| text.contains("[tool.pytest"));
        if !of_unittest || set_up {
            return Ok(Some(format!("{python} -m pytest -q")));
        }
        Ok(Some(match below {
            Some(place) => format!("{python} -m unittest discover -s {place} -t ."),
            None => format!("{python} -m unittest discover"),
        }))
    }

    fn text(&self, dir: Option<&RelPath>, name: &str) -> Option<String> {
        let path = match dir {
            Some(dir) => dir.join(name.as_bytes())?,
            None => RelPath::new(name)?,
        };
        old_text(self.base, &path)
    }
}

/// Returns the paths in a directory of the base.
fn names(base: &Frozen, dir: Option<&RelPath>) -> io::Result<Vec<RelPath>> {
    let stack = base.stack()?;
    let place = match dir {
        None => stack.top()?,
        Some(dir) => match stack.find(dir)? {
            Some(found) if found.print.kind == Kind::Dir => found.place(),
            _ => return Ok(vec![]),
        },
    };
    let mut paths = vec![];
    for name in stack.names(&place, stack.height())? {
        if stack.enter(&place, &name)?.is_some() {
            paths.extend(match dir {
                Some(dir) => dir.join(&name),
                None => RelPath::new(name),
            });
        }
    }
    Ok(paths)
}

/// Returns a path as a word for the shell. It has no control characters, which were escaped.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "._-/+@".contains(c);
    if word.chars().all(plain) && !word.starts_with('-') {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::freeze::freeze;
    use quire_core::Hash;
    use std::fs;

    fn found_in(files: &[(&str, &str)], ignored: &[&str], changed: &[&str]) -> Vec<String> {
        let temp = tempfile::tempdir().unwrap();
        let (home, folder) = (temp.path().join("home"), temp.path().join("folder"));
        fs::create_dir_all(&home).unwrap();
        fs::create_dir_all(&folder).unwrap();
        for (path, content) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        for dir in ignored {
            fs::create_dir_all(folder.join(dir)).unwrap();
            fs::write(folder.join(dir).join("x"), "x").unwrap();
        }
        let base = freeze(&home, &folder.canonicalize().unwrap(), &|_, _| {}).unwrap();
        let node = |content: &[u8]| Some(Node::File { blob: Hash::of(content), bytes: 1, mode: 0o644 });
        let entry = |path: &&str| match path.strip_prefix('-') {
            Some(path) => {
                Entry { folder: 0, path: RelPath::new(path).unwrap(), was: node(b"old"), now: None }
            }
            None => Entry { folder: 0, path: RelPath::new(*path).unwrap(), was: None, now: node(b"new") },
        };
        let version = Snapshot { entries: changed.iter().map(entry).collect() };
        let runs = |program: &str| program != "yarn";
        let found = found(&base, &version, &|_| Some("#!/bin/sh\n".into()), &runs).unwrap();
        found.into_iter().map(|check| check.command).collect()
    }

    #[test]
    fn what_a_project_has_is_found_where_it_concerns_what_changed() {
        let crates = &[("Cargo.toml", "[workspace]"), ("a/Cargo.toml", ""), ("a/src/lib.rs", "")][..];
        let node = r#"{"scripts": {"test": "jest"}, "devDependencies": {"jest": "1"}}"#;
        let pytest = &[("tests/test_a.py", "import pytest"), ("a.py", "")][..];
        let unit = &[("app/tests/test_a.py", "import unittest"), ("app/a.py", "")][..];
        for (files, ignored, changed, commands) in [
            (crates, &[][..], &["a/src/lib.rs"][..], &["cargo test"][..]),
            (crates, &[], &["README.md", "a/b.png"], &["wellformed a/b.png"]),
            (crates, &[], &["README.md", "a/b.pdf"], &[]),
            (&[("x.c", "")], &[], &["Cargo.toml", "src/lib.rs"], &["wellformed Cargo.toml"]),
            (&[("package.json", node)], &["node_modules"], &["src/a.ts"], &["npm test"]),
            (&[("package.json", node)], &[], &["src/a.ts"], &[]),
            (&[("package.json", node), ("yarn.lock", "")], &["node_modules"], &["src/a.ts"], &[]),
            (
                &[("web/package.json", r#"{"scripts": {"test": "node --test"}}"#)],
                &[],
                &["web/a.js"],
                &["cd web && npm test"],
            ),
            (&[("package.json", r#"{"scripts": {"test": "echo no test specified"}}"#)], &[], &["a.js"], &[]),
            (pytest, &[], &["a.py"], &["python3 -m py_compile a.py", "python3 -m pytest -q"]),
            (
                pytest,
                &[],
                &["a.py", "tests/test_a.py"],
                &["python3 -m py_compile a.py tests/test_a.py", "python3 -m pytest -q"],
            ),
            (
                &[("a/go.mod", ""), ("b/go.mod", "")],
                &[],
                &["a/x.go", "b/y.go"],
                &["cd b && go test ./...", "cd a && go test ./..."],
            ),
            (
                unit,
                &[],
                &["app/a.py"],
                &["python3 -m py_compile app/a.py", "cd app && python3 -m unittest discover -s tests -t ."],
            ),
            (&[("go.mod", "module a")], &[], &["b/c.go"], &["go test ./..."]),
            (&[("Makefile", "all:\n\ncheck: all\n")], &[], &["a.c"], &["make check"]),
            (&[("Makefile", "all:\n"), ("pom.xml", "")], &[], &["A.java"], &["mvn -q test"]),
            (&[("Makefile", "test:\n"), ("go.mod", "")], &[], &["a.go"], &["go test ./..."]),
            (&[("build.gradle.kts", ""), ("gradlew", "")], &[], &["A.kt"], &["sh ./gradlew test"]),
            (
                &[("CMakeLists.txt", "project(a)\nenable_testing()")],
                &[],
                &["a.cc"],
                &[
                    "cmake -S . -B /tmp/build && cmake --build /tmp/build && ctest --test-dir /tmp/build --output-on-failure",
                ],
            ),
            (&[("CMakeLists.txt", "project(a)")], &[], &["a.cc"], &[]),
            (
                &[("a.html", "")],
                &[],
                &["b c.json", "tsconfig.json", "tests/bad.json"],
                &["wellformed 'b c.json'"],
            ),
            (
                &[("a.html", ""), ("d/e.html", ""), ("f/g.html", "")],
                &[],
                &["-d/x.png"],
                &["wellformed a.html d/e.html"],
            ),
            (&[("notes.md", "")], &[], &["notes.md", "a.txt"], &[]),
            (&[], &[], &["run", "b.sh"], &["sh -n run && sh -n b.sh"]),
        ] {
            assert_eq!(found_in(files, ignored, changed), commands, "{files:?} {changed:?}");
        }
    }
}
