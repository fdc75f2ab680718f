//! `--plan`: a plan comes first, and nothing is done, or kept of what was done to make it, before its person agrees.

use crate::model::{Model, Wire, say, shell};
use crate::stage::{Stage, can_make_users};
use crate::tree::Tree;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;

const FIRST: &str = "1. Write a list.\n2. Leave the letter as it is.";
const SECOND: &str = "1. Write a short list.\n2. Leave the letter as it is.";

fn model() -> Model {
    Model::saying(vec![
        shell("cat letter; echo draft > scratch; rm letter; touch /usr/local/quire-was-here"),
        say(FIRST),
        say(SECOND),
        shell(
            "ls; test -e scratch || echo clean; test -e /usr/local/quire-was-here || echo as it was; echo a > list",
        ),
        say("The list is there."),
    ])
}

fn journey(stage: &Stage, wire: Wire) {
    let model = model();
    stage.use_model(&model, wire);
    stage.file("letter", "Dear all\n");
    let before = Tree::of(&stage.folder);
    let run = stage.quire(&["run", "--plan", "make a list", "--check", "test -s list"]).exits(3);
    assert!(run.out.starts_with("Task 1 has a plan. Your folder has not changed.\n"), "{}", run.out);
    assert!(run.out.contains("  │ 1. Write a list.\n  │ 2. Leave the letter as it is.\n"), "{}", run.out);
    for command in ["quire resume 1 ", "quire resume 1 --edit", "quire revise 1 \"...\"", "quire discard 1"] {
        assert!(run.out.contains(command), "{}", run.out);
    }
    let words = &model.asked()[0].words;
    assert!(words[0] == "make a list" && words[1].starts_with("[quire] First a plan"), "{words:?}");
    assert_eq!(stage.state(1), "needs you: a plan to look at");
    let table = stage.quire(&["ls"]).exits(0).out;
    assert!(table.contains("Look at it: quire review 1  Begin: quire resume 1\n"), "{table}");

    // The plan outlives everything, and is no version.
    stage.host().kill();
    assert_eq!(stage.quire(&["review", "1"]).exits(3).out, run.out);
    assert_eq!(stage.json(&["review", "1"])["plan"], FIRST);
    stage.quire(&["accept", "1"]).exits(2).tells(&["has no version to review yet"]);
    stage.quire(&["undo", "1"]).exits(2);

    let revised = stage.quire(&["revise", "1", "shorter, please"]).exits(3);
    assert!(revised.out.contains("│ 1. Write a short list."), "{}", revised.out);
    stage.host().kill();
    stage.quire(&["resume", "1"]).exits(0);
    let ended = stage.quire(&["watch", "1"]).exits(0);
    assert!(
        ended.out.contains("The list is there.") && ended.out.contains("✓ test -s list  passes"),
        "{}",
        ended.out
    );
    let asked = model.asked();
    let told = asked[3].words.last().expect("words");
    assert!(
        told.starts_with("[quire] The person agreed to the plan below") && told.ends_with(SECOND),
        "{told}"
    );
    let result = asked[4].results.last().expect("a result");
    assert!(result.contains("letter\nclean\nas it was\n"), "nothing of the planning is left: {result}");

    Tree::of(&stage.folder).assert_is(&before, "before accept");
    stage.quire(&["accept", "1"]).exits(0);
    Tree::of(&stage.folder).assert_is(&before.with_file(b"list", b"a\n", 0o644), "after accept");
    let row = &stage.json(&["ls"])["tasks"][0];
    assert_eq!(row["needed_you"], json!({ "questions": 0, "reaches": 0, "pauses": 0, "revisions": 1 }));
    let log = stage.quire(&["log", "1"]).exits(0).out;
    assert!(
        log.contains("planned; what was written is dropped") && log.contains("plan agreed to: 1. Write"),
        "{log}"
    );
    stage.log(1);
}

#[test]
fn a_plan_comes_first_over_responses() {
    journey(&Stage::set(), Wire::Responses);
}

#[test]
fn a_plan_comes_first_over_chat() {
    journey(&Stage::set(), Wire::Chat);
}

#[test]
fn a_plan_comes_first_over_messages_as_an_ordinary_user() {
    if can_make_users() {
        journey(&Stage::for_user(), Wire::Messages);
    }
}

/// Returns the stage with an editor that runs `script` on the file.
fn editor(script: &str) -> Stage {
    let mut stage = Stage::set();
    let editor = stage.base().join("my editor");
    fs::write(&editor, format!("#!/bin/sh\n{script}\n")).expect("a script");
    fs::set_permissions(&editor, fs::Permissions::from_mode(0o755)).expect("a program");
    stage.env.push(("EDITOR".into(), format!("'{}' -w", editor.display())));
    stage
}

#[test]
fn an_edited_plan_is_what_the_model_is_told_word_for_word() {
    let stage = editor("sed -i 's/a list/two lists/' \"$2\"");
    let model = Model::saying(vec![say(FIRST), shell("echo a > list"), say("Both are there.")]);
    stage.use_model(&model, Wire::Messages);
    stage.quire(&["resume", "1", "--edit"]).exits(6);
    stage.quire(&["run", "--plan", "make a list"]).exits(3);
    stage.quire(&["resume", "1", "--edit"]).exits(0);
    stage.quire(&["watch", "1"]).exits(0);
    let told = model.asked()[1].words.last().expect("words").clone();
    assert!(told.ends_with("1. Write two lists.\n2. Leave the letter as it is."), "{told}");
    // It survives a conversation that is cut short.
    stage.quire(&["compact", "1"]).exits(0);
    stage.quire(&["revise", "1", "and once more"]).exits(0);
    let asked = model.asked();
    let words = asked.last().expect("a request").words.join("\n");
    assert!(words.contains("The person agreed to this plan:\n1. Write two lists.\n2. Leave"), "{words}");
    stage.quire(&["resume", "1", "--edit"]).exits(2);
}

#[test]
fn an_editor_that_fails_or_empties_the_plan_begins_nothing() {
    for (script, says) in [("exit 1", "did not end well"), ("printf '\\n' > \"$2\"", "was emptied")] {
        let stage = editor(script);
        let model = Model::saying(vec![say(FIRST)]);
        stage.use_model(&model, Wire::Chat);
        stage.quire(&["run", "--plan", "make a list"]).exits(3);
        stage.quire(&["resume", "1", "--edit"]).exits(2).tells(&[says]);
        assert_eq!((stage.state(1).as_str(), model.asked().len()), ("needs you: a plan to look at", 1));
        stage.quire(&["discard", "1"]).exits(0);
    }
}

#[test]
fn at_a_terminal_it_is_asked_where_it_is_followed() {
    let stage = Stage::set();
    let asks = json!({ "questions": [
        { "question": "Whose list?", "must": true },
        { "question": "How long?", "default": "short", "must": true },
    ] });
    let model = Model::saying(vec![
        say(FIRST),
        crate::model::call("ask", asks),
        shell("echo a > list"),
        say("The list is there."),
    ]);
    stage.use_model(&model, Wire::Responses);
    let shown = stage.at_a_terminal("run --plan 'make a list'", "y\nAda's\n\n");
    assert!(shown.contains("  │ 1. Write a list.\n") && shown.contains("Begin with this plan?"), "{shown}");
    assert!(shown.contains("The agent asks, 1:\n│ Whose list?\n"), "{shown}");
    assert!(shown.contains("Task 1 is ready. 1 file, +1."), "{shown}");
    let words = model.asked()[2].words.join("\n");
    assert!(
        words.contains("question 1 (Whose list?): Ada's") && words.contains("question 2 (How long?): short"),
        "{words}"
    );
    // Anything but a yes leaves it as it is.
    stage.quire(&["discard", "1"]).exits(0);
    let shown = stage.at_a_terminal("run --plan 'make a list'", "no\n");
    assert!(shown.contains("quire resume 2 --edit"), "{shown}");
    assert_eq!(stage.state(2), "needs you: a plan to look at");
}
