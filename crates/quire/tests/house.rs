//! The walls between the rooms, and a few rules of the house, as tests: what a crate may use is read from `cargo metadata`,
//! what a file may say from the file. The numbers are ratchets, to stop growth; they are lowered when they can be.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The rooms, and what of ours each may use.
const MAY_USE: [(&str, &[&str]); 5] = [
    ("quire-core", &[]),
    ("quire-model", &["quire-core"]),
    ("quire-sandbox", &["quire-core"]),
    ("quire-engine", &["quire-core", "quire-model", "quire-sandbox"]),
    ("quire", &["quire-core", "quire-engine"]),
];

/// What must stay absent, also by way of other crates: core does nothing, and neither wire nor sandbox knows the store.
const ABSENT: [(&str, &[&str]); 3] = [
    (
        "quire-core",
        &[
            "tokio",
            "mio",
            "reqwest",
            "hyper",
            "rusqlite",
            "libc",
            "rustix",
            "nix",
            "getrandom",
            "rand",
            "jiff",
            "tracing",
        ],
    ),
    ("quire-model", &["rusqlite"]),
    ("quire-sandbox", &["reqwest", "rusqlite"]),
];

/// What of the sandbox runs in the host, on its async runtime. All else of it is also, or only, the spawner and the hand.
const OUTSIDE_THE_SANDBOX: [&str; 2] = ["egress.rs", "egress/"];

/// What the spawner and the hand must not do: they fork, and a runtime's threads would not survive that.
const NOT_IN_THE_HAND: [&str; 6] = ["tokio", "hyper", "rustls", "async fn", "async move", "egress::"];

/// What a face must not name itself: the store's database and the wires' client are the engine's.
const NOT_NAMED_BY_FACES: [&str; 3] = ["rusqlite", "reqwest", "quire-sandbox"];

/// What core must not do, although the standard library could.
const NOT_IN_CORE: [&str; 8] = [
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant::now",
    "async fn",
];

const LINES_MAX: usize = 900;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Returns what cargo knows of the workspace on this platform: crates of other platforms may not even be downloaded.
fn metadata() -> Value {
    let rustc = said(Command::new("rustc").arg("-vV"));
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform", host];
    serde_json::from_str(&said(Command::new(cargo).args(arguments))).unwrap()
}

fn said(command: &mut Command) -> String {
    let out = command.current_dir(root()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("no {key} in {value}"))
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

/// Returns the names of the crates that each crate of ours needs to run: those it names, or all that these bring with them.
fn needs(metadata: &Value, all: bool) -> BTreeMap<String, BTreeSet<String>> {
    let names: BTreeMap<&str, &str> =
        list(metadata, "packages").iter().map(|p| (text(p, "id"), text(p, "name"))).collect();
    let to_run = |dep: &&Value| list(dep, "dep_kinds").iter().any(|kind| kind["kind"].is_null());
    let direct: BTreeMap<&str, Vec<&str>> = list(&metadata["resolve"], "nodes")
        .iter()
        .map(|node| {
            (text(node, "id"), list(node, "deps").iter().filter(to_run).map(|dep| text(dep, "pkg")).collect())
        })
        .collect();
    let ours = list(metadata, "workspace_members").iter().map(|id| id.as_str().unwrap());
    ours.map(|id| {
        let mut found = BTreeSet::new();
        let mut open = direct[id].clone();
        while let Some(next) = open.pop() {
            if found.insert(names[next].to_owned()) && all {
                open.extend(&direct[next]);
            }
        }
        (names[id].to_owned(), found)
    })
    .collect()
}

#[test]
fn arrows_between_rooms_point_down() {
    let needs = needs(&metadata(), false);
    assert_eq!(needs.len(), MAY_USE.len(), "a room without a row here: {:?}", needs.keys());
    for (room, may_use) in MAY_USE {
        let ours: Vec<_> = needs[room].iter().filter(|name| name.starts_with("quire")).collect();
        assert!(ours.iter().all(|name| may_use.contains(&name.as_str())), "{room} uses {ours:?}");
    }
    for name in NOT_NAMED_BY_FACES {
        assert!(!needs["quire"].contains(name), "faces name {name}");
    }
}

#[test]
fn what_must_stay_absent_is_absent() {
    let needs = needs(&metadata(), true);
    for (room, absent) in ABSENT {
        let found: Vec<_> = absent.iter().filter(|name| needs[room].contains(**name)).collect();
        assert!(found.is_empty(), "{room} needs {found:?}");
    }
    // The names are the right ones: who may have them has them.
    assert!(
        ["tokio", "mio", "reqwest", "hyper", "rusqlite", "libc", "rustix"]
            .iter()
            .all(|n| needs["quire-engine"].contains(*n))
    );
}

#[test]
fn no_crate_is_named_and_not_used() {
    let mut unused = Vec::new();
    for package in list(&metadata(), "packages").iter().filter(|p| p["source"].is_null()) {
        let dir = Path::new(text(package, "manifest_path")).parent().unwrap();
        let code: String = sources(dir).iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
        for dependency in list(package, "dependencies") {
            let name = text(dependency, "name").replace('-', "_");
            if !is_used(&name, &code) {
                unused.push(format!("{} does not use {name}", text(package, "name")));
            }
        }
    }
    assert!(unused.is_empty(), "{}", unused.join("\n"));
}

/// Returns whether `code` names the crate: as the beginning of a path, or alone in a `use`.
fn is_used(name: &str, code: &str) -> bool {
    let starts_a_word = |at: usize| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let goes_on = |at: usize| code[at + name.len()..].starts_with("::") || code[..at].ends_with("use ");
    code.match_indices(name).any(|(at, _)| starts_a_word(at) && goes_on(at))
}

#[test]
fn used_means_named_in_a_path() {
    let rows = [
        ("use toml::de;", true),
        ("toml::from_str(x)", true),
        ("use toml as t;", true),
        ("my_toml::x", false),
        ("// toml", false),
    ];
    for (code, expected) in rows {
        assert_eq!(is_used("toml", code), expected, "{code}");
    }
}

/// Returns all Rust files below `dir`, build results aside.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("target") {
                found.extend(sources(&path));
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn each_file_says_what_it_is_and_holds_nothing_unfinished() {
    // In two pieces, so that this file does not hold them.
    let unfinished = [
        concat!("to", "do!("),
        concat!("unimplement", "ed!("),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("db", "g!("),
    ];
    let mut wrong = Vec::new();
    for path in sources(&root().join("crates")) {
        let code = std::fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(root()).unwrap().display();
        if !code.starts_with("//!") {
            wrong.push(format!("{path} does not begin with what it is (//!)"));
        }
        let lines = code.lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("{path} has {lines} lines, more than {LINES_MAX}"));
        }
        wrong.extend(
            unfinished.iter().filter(|word| code.contains(**word)).map(|word| format!("{path} holds {word}")),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// An agent may leave a repository whose settings run programs. git is run in one place, on the person's own repository, and told to start
/// nothing; that this holds is tried there with a trap in each place that git knows (`git/tests.rs`).
#[test]
fn j11_git_is_run_in_one_place_that_starts_nothing() {
    const PLACE: &str = "crates/quire-engine/src/git.rs";
    let code = std::fs::read_to_string(root().join(PLACE)).unwrap();
    for setting in ["core.hooksPath=/dev/null", "core.fsmonitor=false", "protocol.allow=never"] {
        assert!(code.contains(setting), "{setting}");
    }
    for room in MAY_USE.map(|(room, _)| room) {
        for file in sources(&root().join("crates").join(room).join("src")) {
            let code = std::fs::read_to_string(&file).unwrap();
            // Tests of what git makes of a diff do.
            let is_test =
                file.components().any(|part| part.as_os_str() == "tests") || file.ends_with("tests.rs");
            let is_place = file.ends_with(PLACE);
            assert!(is_test || is_place || !code.contains("Command::new(\"git\")"), "{}", file.display());
        }
    }
}

#[test]
fn core_does_nothing() {
    for path in sources(&root().join("crates/quire-core/src")) {
        let code = std::fs::read_to_string(&path).unwrap();
        // Tests may read golden files.
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        let is_test =
            path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs");
        let found: Vec<_> = NOT_IN_CORE.iter().filter(|word| !is_test && code.contains(**word)).collect();
        assert!(found.is_empty(), "{} holds {found:?}", path.display());
    }
}

#[test]
fn the_hand_has_no_async_runtime() {
    let dir = root().join("crates/quire-sandbox/src");
    let mut seen = 0;
    for path in sources(&dir) {
        let name = path.strip_prefix(&dir).unwrap().to_str().unwrap().to_owned();
        if OUTSIDE_THE_SANDBOX.iter().any(|outside| name.starts_with(outside)) {
            continue;
        }
        let code = std::fs::read_to_string(&path).unwrap();
        let found: Vec<_> = NOT_IN_THE_HAND.iter().filter(|word| code.contains(**word)).collect();
        assert!(found.is_empty(), "{name} holds {found:?}");
        seen +=
            usize::from(["hand.rs", "enter.rs", "spawner.rs", "tool/command.rs"].contains(&name.as_str()));
    }
    assert_eq!(seen, 4, "the hand's own files are where they are looked for");
}

#[test]
fn every_room_keeps_the_lints_of_the_house() {
    for (room, _) in MAY_USE {
        let manifest = std::fs::read_to_string(root().join("crates").join(room).join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{room} has lints of its own");
    }
}
