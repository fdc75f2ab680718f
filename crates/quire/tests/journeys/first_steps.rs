//! The commands of the README and of the quick start, typed as they stand there, one after the other, by somebody who has a model and
//! nothing else.

use crate::model::{Model, Wire, say, shell};
use crate::stage::Stage;
use crate::tree::Tree;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Types a line into a shell in the person's folder.
#[track_caller]
fn types(stage: &Stage, line: &str) {
    let quire = stage.command(&[]);
    let at = Path::new(quire.get_program()).parent().expect("a directory").display().to_string();
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).env_clear().current_dir(&stage.folder).stdin(Stdio::null());
    shell.envs(quire.get_envs().filter_map(|(key, value)| Some((key, value?))));
    shell.env("PATH", format!("{at}:/usr/bin:/bin"));
    let out = shell.output().expect("a shell");
    let (said, told) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "$ {line}\n{said}{told}");
}

fn page(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).expect("a page")
}

fn stage() -> (Stage, Model) {
    let stage = Stage::set();
    let model = Model::saying(vec![
        shell("echo '<h1>Notes</h1>' > index.html; echo 'Hello, reader.' > hello.txt"),
        say("It is written."),
    ]);
    stage.use_model(&model, Wire::Chat);
    stage.file("Makefile", "test:\n\ttrue\n");
    (stage, model)
}

#[test]
fn of_the_readme() {
    let (stage, _model) = stage();
    let readme = page("README.md");
    let steps = readme.split("Then, in a folder of yours:\n\n```\n").nth(1).expect("the steps");
    let steps: Vec<&str> = steps.split("```").next().expect("their end").lines().collect();
    assert!(steps.len() >= 9, "{steps:?}");
    for line in steps {
        types(&stage, &line.replace("openai/MODEL", "lab/lab-model"));
    }
}

#[test]
fn of_the_quick_start() {
    let (stage, _model) = stage();
    let page = page("docs/quickstart.md");
    let lines =
        page.lines().filter_map(|line| line.strip_prefix("$ ")).filter(|line| line.starts_with("quire"));
    // The demo has a test of its own.
    let lines: Vec<&str> = lines.filter(|line| *line != "quire demo").collect();
    assert!(lines.len() >= 7, "{lines:?}");
    for line in lines {
        types(&stage, line);
    }
}

/// Of who programs and stays in a terminal: one line, and one word. What is shown there says all that the decision needs.
#[test]
fn a_failing_test_is_mended_and_accepted_at_a_terminal() {
    let stage = Stage::set();
    let model = Model::saying(vec![
        shell("make test; sed -i 's/cut -d. -f1/xargs printf %.0f/' tax.sh; make test"),
        say("Tax is rounded now, and no longer cut off."),
    ]);
    stage.use_model(&model, Wire::Chat);
    stage.file("tax.sh", "echo \"$1\" | cut -d. -f1\n");
    stage.file("Makefile", "test:\n\ttest \"$$(sh tax.sh 2.7)\" = 3\n");
    let before = Tree::of(&stage.folder);
    let shown = stage.at_a_terminal("'fix the failing rounding test'", "");
    for told in [
        "Task 1 is ready. 1 file, +1 -1.",
        "Your folder has not changed.",
        "Tax is rounded now",
        "quire accept 1",
    ] {
        assert!(shown.contains(told), "no {told}: {shown}");
    }
    assert!(shown.contains("✓ make test  passes"), "{shown}");
    assert!(Tree::of(&stage.folder) == before);
    let shown = stage.at_a_terminal("accept 1", "");
    assert!(shown.contains("1 file") && shown.contains("quire undo 1"), "{shown}");
    assert!(fs::read_to_string(stage.folder.join("tax.sh")).unwrap().contains("printf %.0f"));
    stage.at_a_terminal("undo 1", "");
    assert!(Tree::of(&stage.folder) == before, "undone, all is as it was");
}
