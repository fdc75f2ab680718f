//! Checks are run by quire itself, on exactly what would be accepted: one that fails goes back to the model, and one that
//! the agent could have bent says so.

use crate::model::{Model, Wire, say, shell};
use crate::stage::Stage;
use crate::tree::Tree;
use serde_json::Value;
use std::fs;

fn check(stage: &Stage) -> Value {
    stage.json(&["review", "1"])["review"]["checks"][0].clone()
}

#[test]
fn one_that_passes_is_shown_with_its_output() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("echo right > answer"), say("It is right.")]);
    stage.use_model(&model, Wire::Chat);
    let command = "grep right answer && echo trace > trace";
    let run = stage.quire(&["answer", "--check", command]).exits(2);
    assert!(run.err.contains("quire run answer"), "a single word is no task: {}", run.err);
    let run = stage.quire(&["run", "answer", "--check", command]).exits(0);
    assert!(run.out.contains('✓') && !run.out.contains("not checked"), "{}", run.out);
    let check = check(&stage);
    assert_eq!((&check["passed"], &check["outcome"]), (&true.into(), &"passes".into()), "{check}");
    assert!(check["output"].as_str().unwrap().contains("right"), "{check}");
    // What a check leaves behind is not part of the version.
    stage.quire(&["accept", "1"]).exits(0);
    assert!(stage.folder.join("answer").exists() && !stage.folder.join("trace").exists());
    assert_eq!(model.asked()[0].words, ["answer"]);
}

#[test]
fn one_that_fails_goes_back_to_the_model() {
    let stage = Stage::set();
    let model = Model::saying(vec![
        shell("echo wrong > answer"),
        say("It is right."),
        shell("echo right > answer"),
        say("Now it is."),
    ]);
    stage.use_model(&model, Wire::Messages);
    stage.quire(&["run", "answer", "--check", "grep -c right answer"]).exits(0);
    let asked = model.asked();
    assert_eq!(asked.len(), 4);
    let told = asked[2].words.last().unwrap();
    assert!(told.contains("`grep -c right answer` failed (exit 1)"), "{told}");
    assert!(asked[2].items.starts_with(&asked[1].items[..]));
    assert_eq!(check(&stage)["passed"], true);
    assert_eq!(stage.json(&["review", "1"])["review"]["version"], 1);
}

#[test]
fn one_that_goes_on_failing_is_shown_and_exits_1() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("echo wrong > answer"), say("It is right.")]);
    stage.use_model(&model, Wire::Responses);
    let run = stage.quire(&["run", "answer", "--check", "grep right answer", "--check", "true"]).exits(1);
    assert!(run.out.contains("✗ ") && run.out.contains("fails (exit 1)"), "{}", run.out);
    assert_eq!(stage.state(1), "says done, but 1 of 2 checks failed");
    let checks = stage.json(&["review", "1"])["review"]["checks"].clone();
    assert_eq!((&checks[0]["passed"], &checks[1]["passed"]), (&false.into(), &true.into()), "{checks}");
    // A person may take it all the same.
    stage.quire(&["accept", "1"]).exits(0);
    assert_eq!(fs::read_to_string(stage.folder.join("answer")).unwrap(), "wrong\n");
}

#[test]
fn what_the_model_says_is_shown_with_what_quire_saw() {
    let stage = Stage::set();
    let words = "I mended it. All tests pass!\n\nClaim: The answer is there. [ls answer]\nClaim: It is fast. [none]\n\
                 Assumed: the answer is a word\nNot done: the second question";
    let model = Model::saying(vec![shell("echo wrong > answer"), say(words), say(words), say(words)]);
    stage.use_model(&model, Wire::Chat);
    stage.file("test.sh", "grep right answer\n");
    let run = stage.quire(&["mend it", "--check", "sh test.sh", "--check", "ls answer"]).exits(1);
    let shown = "Task 1 says done, but 1 of 2 checks failed. 1 file, +1. Your folder has not\nchanged.\n\n  \
                 I mended it.\n  \
                 ✗ All tests pass: `sh test.sh` fails (exit 1)\n  \
                 ✓ The answer is there: `ls answer` passes\n  \
                 ○ It is fast: not checked\n  \
                 Assumed: the answer is a word\n  \
                 Not done: the second question\n  \
                 ✗ sh test.sh  fails (exit 1)\n  \
                 ✓ ls answer  passes\n";
    assert!(run.out.starts_with(shown), "{}", run.out);
    let review = stage.json(&["review", "1"])["review"].clone();
    assert_eq!(review["summary"], "I mended it.");
    assert_eq!(
        (&review["claims"][0]["passed"], &review["claims"][2]["passed"]),
        (&false.into(), &Value::Null)
    );
    assert_eq!(stage.state(1), "says done, but 1 of 2 checks failed");
}

#[test]
fn one_that_the_agent_bent_passes_but() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("echo 'exit 0' > check.sh; echo x > a"), say("All pass.")]);
    stage.use_model(&model, Wire::Chat);
    stage.file("check.sh", "exit 1\n");
    let run = stage.quire(&["make it pass", "--check", "sh check.sh", "--check", "echo y > a"]).exits(0);
    let checks = stage.json(&["review", "1"])["review"]["checks"].clone();
    assert_eq!(checks[0]["outcome"], "passes, but: the agent changed what it runs: check.sh");
    assert_eq!(checks[1]["outcome"], "passes, but: it changed the folder itself: a");
    assert!(run.out.contains("passes, but") || run.out.contains("but: "), "{}", run.out);
    // What the check did to the folder did not reach the version.
    stage.quire(&["accept", "1"]).exits(0);
    assert_eq!(fs::read_to_string(stage.folder.join("a")).unwrap(), "x\n");
}

#[test]
fn nothing_of_the_agents_runs_while_checks_do() {
    let stage = Stage::set();
    let model = Model::saying(vec![
        shell(
            "(while true; do echo cheat > answer; sleep 0.01; done) > /dev/null 2>&1 & sleep 0.1; echo right > answer",
        ),
        say("It is right."),
    ]);
    stage.use_model(&model, Wire::Chat);
    stage.quire(&["run", "answer", "--check", "cp answer /tmp/1; sleep 0.2; cmp answer /tmp/1"]).exits(0);
    let before = Tree::of(&stage.folder);
    assert_eq!(check(&stage)["outcome"], "passes");
    Tree::of(&stage.folder).assert_is(&before, "after the check");
}

#[test]
fn where_nothing_changed_nothing_is_checked() {
    let stage = Stage::set();
    let model = Model::saying(vec![say("There is nothing to do.")]);
    stage.use_model(&model, Wire::Chat);
    let run = stage.quire(&["look around", "--check", "false"]).exits(0);
    assert!(run.out.contains("Nothing changed"), "{}", run.out);
    assert_eq!(check(&stage)["passed"], Value::Null);
}
