//! `quire ask`: the answer, and nothing but the answer, on stdout; nothing is changed, kept or to be accepted.

use crate::model::{Answer, Model, Wire, calls, say, shell};
use crate::stage::{Stage, can_make_users};
use crate::tree::Tree;
use quire_core::event::Event;
use serde_json::json;

const ANSWER: &str = "March lost 40 (sums.csv, line 4).";

fn script() -> Vec<Answer> {
    vec![
        shell(
            "awk -F, 'NR > 1 { print $1, $2 - $3 }' sums.csv | tee result; rm sums.csv; touch /usr/local/quire-was-here",
        ),
        say(ANSWER),
        shell("ls; test -e /usr/local/quire-was-here || echo as it was"),
        say("Yes, only March.\n\nNext: What's in it?"),
    ]
}

fn journey(stage: &Stage, wire: Wire) {
    let model = Model::saying(script());
    stage.use_model(&model, wire);
    stage.file("sums.csv", "month,in,out\nJanuary,10,5\nFebruary,20,5\nMarch,10,50\n");
    // The person's own checks are for versions.
    stage.file("quire.toml", "[checks]\nsums = \"false\"\n");
    let before = Tree::of(&stage.folder);
    let asked = stage.quire(&["ask", "which month lost money?"]).exits(0);
    assert_eq!(asked.out, format!("{ANSWER}\n"));
    assert!(asked.err.contains("Task 1 in "), "{}", asked.err);
    let first = &model.asked()[0];
    assert!(
        first.body.contains("You answer a question") && !first.body.contains("quire itself runs"),
        "{}",
        first.body
    );
    assert!(model.asked()[1].results[0].contains("March -40"), "programs run inside");
    Tree::of(&stage.folder).assert_is(&before, "after the answer");

    let table = stage.quire(&["ls"]).exits(0).out;
    assert!(table.starts_with("DONE 1\n ✓ 1  which month lost money?  answered"), "{table}");
    assert!(!stage.log(1).iter().any(|l| matches!(l.event, Event::Sealed { .. } | Event::Presented { .. })));
    let says = ["answers a question; it has no version"];
    stage.quire(&["accept", "1"]).exits(2).tells(&says);
    stage.quire(&["review", "1", "--diff"]).exits(2).tells(&says);
    assert_eq!(stage.quire(&["review", "1"]).exits(0).out, format!("{ANSWER}\n"));
    assert_eq!(stage.quire(&["watch", "1"]).exits(0).out, format!("{ANSWER}\n"));
    let json = stage.json(&["review", "1"]);
    assert_eq!(
        (&json["answer"], &json["mark"], &json["state"]),
        (&json!(ANSWER), &json!("answered"), &json!("answered"))
    );
    assert_eq!(json["needed_you"]["revisions"], 0);

    // A further question finds everything as it was.
    let again = stage.quire(&["revise", "1", "only that one?"]).exits(0);
    assert_eq!(again.out, "Yes, only March.\n");
    assert!(again.err.ends_with("Ask next: quire revise 1 'What'\\''s in it?'\n"), "{}", again.err);
    let json = stage.json(&["review", "1"]);
    assert_eq!((&json["answer"], &json["next"]), (&json!("Yes, only March."), &json!(["What's in it?"])));
    let result = model.asked()[3].results.last().expect("a result").clone();
    assert!(
        result.contains("sums.csv") && !result.contains("result\n") && result.contains("as it was"),
        "{result}"
    );
    Tree::of(&stage.folder).assert_is(&before, "after the second answer");
    stage.quire(&["discard", "1"]).exits(0);
}

#[test]
fn a_question_is_answered_over_responses() {
    journey(&Stage::set(), Wire::Responses);
}

#[test]
fn a_question_is_answered_over_chat_as_an_ordinary_user() {
    if can_make_users() {
        journey(&Stage::for_user(), Wire::Chat);
    }
}

#[test]
fn a_question_is_answered_over_messages() {
    journey(&Stage::set(), Wire::Messages);
}

#[test]
fn an_answer_survives_the_death_of_the_host() {
    let stage = Stage::set();
    let model = Model::saying(script());
    stage.use_model(&model, Wire::Chat);
    stage.file("sums.csv", "month,in,out\nMarch,10,50\n");
    model.hold_from(1);
    let follower = stage.start(&["ask", "-", "--json"]);
    use std::io::Write;
    let mut follower = follower;
    follower.child.stdin.take().expect("a pipe").write_all(b"which month lost money?").expect("written");
    model.wait_for(1, 1);
    stage.host().kill();
    model.let_go();
    let ended = follower.end().exits(0);
    let told = &ended.lines()[0];
    assert_eq!((&told["task"], &told["answer"]), (&json!(1), &json!(ANSWER)));
    assert_eq!(ended.lines().len(), 1);
}

#[test]
fn what_it_cannot_say_is_an_exit_code_and_nothing_on_stdout() {
    let stage = Stage::set();
    stage.quire(&["ask", " "]).exits(2);
    stage.quire(&["ask", "why?", "-C", "/nowhere"]).exits(2);
    let ended = stage.quire(&["ask", "why?"]).exits(4);
    assert!(ended.out.is_empty(), "{ended:?}");
    let model = Model::saying(vec![
        calls(&[("ask", json!({ "questions": [{ "question": "Which year?", "must": true }] }))]),
        say("In 1999."),
    ]);
    stage.use_model(&model, Wire::Chat);
    let ended = stage.quire(&["ask", "why?"]).exits(3);
    assert!(ended.out.is_empty() && ended.err.contains("│ Which year?\n"), "{ended:?}");
    stage.quire(&["answer", "2", "1999"]).exits(0);
    assert_eq!(stage.quire(&["watch", "2"]).exits(0).out, "In 1999.\n");
}
