//! Commands on tasks through the binary, as far as no host is needed: each row has a home of its own in which no model is
//! found, so that a task is opened, kept, and waits.

use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Home {
        let home = Home(tempfile::tempdir().unwrap());
        std::fs::create_dir_all(home.folder()).unwrap();
        std::fs::create_dir_all(home.path().join(".config/quire")).unwrap();
        // Port 1 of the loopback: nothing answers there, whatever runs on the machine.
        let nowhere = ["ollama", "lmstudio", "llamacpp", "vllm"]
            .map(|name| format!("[providers.{name}]\nbase_url = \"http://127.0.0.1:1/v1\"\n"));
        std::fs::write(home.path().join(".config/quire/config.toml"), nowhere.concat()).unwrap();
        home
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn folder(&self) -> PathBuf {
        self.path().join("code/invoice")
    }

    fn quire_in(&self, folder: &Path, arguments: &[&str], stdin: &[u8]) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_quire"))
            .args(arguments)
            .env_clear()
            .env("HOME", self.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = child.stdin.take().unwrap();
        // A command that ends without reading its stdin breaks the pipe.
        let _ = pipe.write_all(stdin);
        drop(pipe);
        child.wait_with_output().unwrap()
    }

    fn quire(&self, arguments: &[&str]) -> (i32, String, String) {
        let out = self.quire_in(&self.folder(), arguments, b"");
        (out.status.code().unwrap(), text(&out.stdout), text(&out.stderr))
    }

    /// Runs a command that has to end with `exit`, and returns the lines of JSON on its stdout.
    fn json(&self, arguments: &[&str], exit: i32) -> Vec<Value> {
        let (code, out, err) = self.quire(arguments);
        assert_eq!(code, exit, "{arguments:?}: {err}");
        let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(lines.iter().all(|line| line["v"] == 1), "{arguments:?}: {out}");
        lines
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("quire writes UTF-8")
}

#[test]
fn an_empty_home_has_no_tasks() {
    let home = Home::new();
    let (code, out, err) = home.quire(&["ls"]);
    assert_eq!((code, out.as_str()), (0, ""));
    assert_eq!(err, "There is no task yet. Start one in its folder: quire \"TASK\"\n");
    assert_eq!(home.quire(&["ls", "-q"]), (0, String::new(), String::new()));
    assert_eq!(home.quire(&[]).0, 0, "`quire` alone lists the tasks");
    assert_eq!(home.json(&["ls", "--json"], 0)[0]["tasks"], serde_json::json!([]));
}

#[test]
fn a_task_that_is_not_there_is_exit_6() {
    let home = Home::new();
    let commands: [&[&str]; 10] = [
        &["watch", "7"],
        &["log", "7"],
        &["review", "7"],
        &["review", "7", "--diff"],
        &["revise", "7", "smaller"],
        &["accept", "7"],
        &["undo", "7"],
        &["discard", "7"],
        &["stop", "7"],
        &["resume", "7"],
    ];
    for command in commands {
        let (code, out, err) = home.quire(command);
        assert_eq!((code, out.as_str()), (6, ""), "{command:?}: {err}");
        assert_eq!(
            err,
            "quire: There is no task 7.\n  Nothing was started or changed.\n  See which there are: quire ls\n"
        );
        let (code, out, err) = home.quire(&[command, &["--json"]].concat());
        let error: Value = serde_json::from_str(&err).unwrap();
        assert_eq!((code, out.as_str(), &error["error"]["exit"]), (6, "", &6.into()), "{command:?}");
    }
}

#[test]
fn without_a_model_the_task_is_kept_and_waits() {
    let home = Home::new();
    let (code, out, err) = home.quire(&["fix the rounding\x1b[31m test"]);
    assert_eq!((code, out.as_str()), (4, ""), "{err}");
    let lines: Vec<&str> = err.lines().collect();
    assert!(
        lines[0].starts_with("quire: No model is set")
            && lines[0].contains("ollama at http://127.0.0.1:1/v1"),
        "{err}"
    );
    assert_eq!(lines[1], "  Task 1 is kept with all its words; your folder has not changed.");
    assert!(
        lines[2].contains("quire resume 1 -m PROVIDER/MODEL") && lines[2].contains("quire demo"),
        "{err}"
    );
    assert_eq!(lines.len(), 3, "{err}");

    let (code, out, err) = home.quire(&["ls"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out, "NEEDS YOU 1\n ? 1  fix the rounding test  no model  code/invoice   now  you 1x\n");
    let row = &home.json(&["ls", "--json"], 0)[0]["tasks"][0];
    assert_eq!((&row["task"], &row["mark"], &row["steps"]), (&1.into(), &"needs_you".into(), &0.into()));
    assert_eq!(row["state"], "needs you: no model");

    let waits = &home.json(&["watch", "1", "--json"], 4)[0];
    assert_eq!((&waits["task"], &waits["mark"]), (&1.into(), &"needs_you".into()));
    assert!(["what", "safe", "next"].iter().all(|part| waits["why"][part].is_string()), "{waits}");
    assert_eq!(home.quire(&["resume", "1"]).0, 4, "there is still no model");

    let log = home.json(&["log", "1", "--json"], 0);
    assert_eq!(log[0]["event"]["opened"]["words"], "fix the rounding\x1b[31m test");
    assert_eq!((&log[0]["task"], &log[0]["seq"], &log[1]["seq"]), (&1.into(), &1.into(), &2.into()));
    assert!(log[0]["at_ms"].is_u64() && log[1]["event"]["paused"].is_object());
    let (_, out, _) = home.quire(&["log", "1"]);
    assert!(out.lines().next().unwrap().ends_with("/code/invoice: fix the rounding test"), "{out}");
    assert!(!out.contains('\x1b'));
}

#[test]
fn words_of_a_megabyte_come_from_stdin_whole() {
    let home = Home::new();
    let words = format!("sum these up\n{}", "0123456789abcde\n".repeat(1 << 16));
    assert!(words.len() > 1 << 20);
    let out = home.quire_in(&home.folder(), &["run", "-"], words.as_bytes());
    assert_eq!(out.status.code(), Some(4), "{}", text(&out.stderr));
    assert_eq!(home.json(&["log", "1", "--json"], 0)[0]["event"]["opened"]["words"], words);
    assert_eq!(home.json(&["ls", "--json"], 0)[0]["tasks"][0]["title"], "sum these up");
    for (stdin, what) in [(&b""[..], "Nothing came on stdin."), (b"\xff", "What came on stdin is not UTF-8.")]
    {
        let out = home.quire_in(&home.folder(), &["run", "-"], stdin);
        assert_eq!(out.status.code(), Some(2));
        assert!(text(&out.stderr).contains(what), "{}", text(&out.stderr));
    }
}

#[test]
fn a_task_that_waits_can_be_told_stopped_and_dropped() {
    let home = Home::new();
    home.quire(&["fix it"]);
    assert_eq!(home.quire(&["revise", "1", "and the tests"]).0, 4);
    let words = home.json(&["log", "1", "--json"], 0).into_iter().find(|e| e["event"]["said"].is_object());
    assert_eq!(words.expect("what was said is kept")["event"]["said"]["words"], "and the tests");
    let rows: &[(&[&str], i32, &str, &str)] = &[
        (
            &["stop", "1"],
            0,
            "Task 1 was not at work: needs you: no model. Name one (see: quire models): quire resume 1 -m PROVIDER/MODEL. Without one: quire demo\n",
            "",
        ),
        (&["review", "1"], 2, "", "Task 1 has no version to review yet."),
        (&["review", "1", "--diff"], 2, "", "Task 1 has no version to review yet."),
        (&["accept", "1"], 2, "", "Task 1 has no version to review yet."),
        (&["undo", "1"], 2, "", "Task 1 has nothing in your folder to undo."),
        (&["discard", "1"], 0, "Task 1 is discarded. Your folder has not changed.\n", ""),
        (&["discard", "1"], 0, "Task 1 is discarded. Your folder has not changed.\n", ""),
        (&["resume", "1"], 2, "", "Task 1 does not wait to go on: it is discarded."),
        (&["stop", "1"], 2, "", "Task 1 is not at work: it is discarded."),
        (&["watch", "1"], 0, "Task 1 is discarded.\n", ""),
        (&["revise", "1", "again"], 2, "", "Task 1 was discarded."),
    ];
    for (arguments, exit, said, problem) in rows {
        let (code, out, err) = home.quire(arguments);
        assert_eq!((code, out.as_str()), (*exit, *said), "{arguments:?}: {err}");
        assert!(err.contains(problem) && (err.is_empty() == problem.is_empty()), "{arguments:?}: {err}");
    }
    let state = &home.json(&["discard", "1", "--json"], 0)[0];
    assert_eq!((&state["task"], &state["mark"]), (&1.into(), &"discarded".into()));
}

#[test]
fn a_wrong_folder_or_setting_leaves_nothing_behind() {
    let home = Home::new();
    std::fs::write(home.folder().join("file"), "").unwrap();
    let rows: &[(&[&str], i32, &str)] = &[
        (&["fix it", "-C", "gone"], 2, "There is no folder"),
        (&["fix it", "-C", "file"], 2, "is not a folder"),
        (&["fix it", "-C", "/"], 3, "is the whole machine"),
        (&["fix it", "-C", "../.."], 3, "is your home folder"),
        (&["fix it", "-c", "budget.stepz=3"], 2, "there is no setting `budget.stepz`"),
        (&["fix it", "-m", "labb/x"], 2, "there is no provider `labb`"),
    ];
    for (arguments, exit, problem) in rows {
        let (code, out, err) = home.quire(arguments);
        assert_eq!((code, out.as_str()), (*exit, ""), "{arguments:?}: {err}");
        assert!(err.contains(problem), "{arguments:?}: {err}");
    }
    assert!(!home.path().join(".local").exists(), "no home of quire's was made");
}
