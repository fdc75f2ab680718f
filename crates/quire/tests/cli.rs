//! The grammar through the binary: exit codes, and which stream says what. Each row is a command line in a home of its own.

use std::path::Path;
use std::process::{Command, Output};

fn quire(home: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quire"))
        .args(arguments)
        .env_clear()
        .env("HOME", home)
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .current_dir(home)
        .output()
        .expect("the binary of this package can be started")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("quire writes UTF-8")
}

#[test]
fn wrong_use_is_told_on_stderr_with_exit_2() {
    let home = tempfile::tempdir().unwrap();
    let rows: &[(&[&str], &str)] = &[
        (&["reveiw"], "`reveiw` is no command. Did you mean `quire review`?"),
        (&["reveiw"], "If it is a task: quire run reveiw"),
        (&["banana"], "`banana` is no command."),
        (&["-"], "`-` is no command."),
        (&["--frobnicate"], "Unexpected argument '--frobnicate' found."),
        (&["run"], "The following required arguments were not provided: <TASK>"),
        (&["run", " "], "The task is empty."),
        (&[""], "The task is empty."),
        (&["fix it", "--max-steps", "0"], "`--max-steps` takes a whole number above 0, not `0`."),
        (&["fix it", "--max-stepz", "3"], "a similar argument exists: '--max-steps'. Read: quire help run"),
        (&["review", "x"], "`x` is no task's number."),
        (&["review", "0"], "`0` is no task's number."),
        (&["review", "1", "2"], "Unexpected argument '2' found."),
        (&["accept"], "The following required arguments were not provided: <N>"),
        (&["sandbox"], "The following required arguments were not provided: <CMD>..."),
        (&["allow"], "The following required arguments were not provided: <N>"),
        (&["sandbox", "ls"], "`ls` is no option."),
        (&["sandbox", "--bogus", "--", "ls"], "Unexpected argument '--bogus' found."),
        (&["accept", "1", "--seen", "12"], "at least six digits"),
        (&["completions", "tcsh"], "Invalid value 'tcsh' for '<SHELL>'"),
        (&["ask"], "The following required arguments were not provided: <QUESTION>"),
        (&["ask", " "], "Invalid value"),
        (&["answer", "1", ""], "Invalid value"),
        (&["ask", "why?", "--plan"], "Unexpected argument '--plan' found."),
        (&["models", "add"], "The following required arguments were not provided: <PROVIDER>"),
    ];
    for (arguments, said) in rows {
        let out = quire(home.path(), arguments);
        assert_eq!(out.status.code(), Some(2), "{arguments:?}");
        assert_eq!(text(&out.stdout), "", "{arguments:?}");
        let err = text(&out.stderr);
        assert!(err.contains(said), "{arguments:?}: {err}");
        assert_eq!(err.lines().count(), 3, "{arguments:?}: {err}");
    }
}

#[test]
fn what_a_later_version_has_is_named_as_that() {
    let home = tempfile::tempdir().unwrap();
    let out = quire(home.path(), &["exec", "1", "--any"]);
    let err = text(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{err}");
    assert_eq!(text(&out.stdout), "");
    assert!(err.contains("` is not in this version.\n"), "{err}");
    assert_eq!(err.lines().count(), 3, "{err}");
}

#[test]
fn with_json_an_error_is_one_line_of_json() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [["--json", "reveiw"], ["compare", "--json"], ["accept", "--json"]] {
        let out = quire(home.path(), &arguments);
        let said: serde_json::Value = serde_json::from_slice(&out.stderr).unwrap();
        assert_eq!((&said["v"], &said["error"]["exit"]), (&1.into(), &2.into()), "{said}");
        assert!(said["error"]["what"].is_string() && said["error"]["next"].is_string(), "{said}");
        assert_eq!((out.status.code(), text(&out.stdout)), (Some(2), String::new()));
    }
}

#[test]
fn results_are_on_stdout_and_nothing_is_on_stderr() {
    let home = tempfile::tempdir().unwrap();
    let version = format!("quire {}\n", env!("CARGO_PKG_VERSION"));
    let rows: &[(&[&str], &str)] = &[
        (&["--version"], &version),
        (&["-V"], &version),
        (&["--help"], "Usage: quire"),
        (&["help", "review"], "--diff"),
        (&["run", "--help"], "--max-steps <N>"),
        (&["completions", "bash"], "complete -F _quire"),
        (&["completions", "fish"], "complete -c quire"),
        (&["completions", "zsh"], "#compdef quire"),
        (&["completions", "man"], ".SH \"QUIRE ACCEPT\""),
    ];
    for (arguments, said) in rows {
        let out = quire(home.path(), arguments);
        assert_eq!((out.status.code(), text(&out.stderr)), (Some(0), String::new()), "{arguments:?}");
        assert!(text(&out.stdout).contains(said), "{arguments:?}: {}", text(&out.stdout));
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "these commands leave nothing behind");
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let home = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_quire"))
        .args(["completions", "bash"])
        .env("HOME", home.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(0), String::new()));
}
