//! What a model is sent: little at first, and then always the same bytes with something added, so that its provider's cache
//! holds.

use crate::model::{Answer, Asked, Model, Wire, call, calls, say, shell};
use crate::stage::Stage;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The most that a first request may be, in bytes, with all tools and the person's words.
const FIRST_MAX: usize = 9_000;
const STEPS: usize = 50;

/// Returns all of the body but its items.
fn rest(asked: &Asked) -> BTreeMap<String, String> {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Body<'b>(#[serde(borrow)] BTreeMap<String, &'b RawValue>);
    let body: Body = serde_json::from_str(&asked.body).expect("a JSON object");
    let parts = body.0.into_iter().filter(|(key, _)| key != "input" && key != "messages");
    parts.map(|(key, value)| (key, value.get().to_owned())).collect()
}

fn fifty_steps(wire: Wire) -> Vec<Asked> {
    let stage = Stage::set();
    let mut answers: Vec<Answer> = (0..STEPS)
        .map(|step| match step % 3 {
            0 => shell(&format!("echo \"Zeile {step}: größer\" >> lines; echo '{{\"a\": 1.50e0}}'")),
            1 => Answer::Reply(
                format!("Step {step}."),
                vec![
                    ("read".into(), format!(r#"{{"path":  "lines","limit":{step}}}"#)),
                    ("search".into(), r#"{"pattern":"größer"}"#.into()),
                ],
            ),
            _ => Answer::Reply(String::new(), vec![("shell".into(), r#"{"command": broken"#.into())]),
        })
        .collect();
    answers.push(say("Fifty steps."));
    let model = Model::saying(answers);
    stage.use_model(&model, wire);
    stage.file("lines", "");
    stage.quire(&["take fifty steps"]).exits(0);
    model.asked()
}

fn holds(wire: Wire) {
    let asked = fifty_steps(wire);
    assert_eq!(asked.len(), STEPS + 1);
    for (nth, pair) in asked.windows(2).enumerate() {
        let (last, next) = (&pair[0].items, &pair[1].items);
        assert!(
            next.len() > last.len() && next.starts_with(last),
            "request {} does not extend the last",
            nth + 1
        );
        assert_eq!(rest(&pair[0]), rest(&pair[1]), "request {}", nth + 1);
    }
    if wire == Wire::Responses {
        // Items come back byte for byte, blanks and numbers and all.
        let sent =
            r#"{"id":"rs_7", "type":"reasoning","summary":[ ],"encrypted_content":"Zm9v7","weight":1.50e0}"#;
        assert!(asked[STEPS].items.iter().any(|item| item == sent), "{:#?}", &asked[8].items);
    }
    let (first, last) = (asked[0].body.len(), asked[STEPS].body.len());
    println!("{:<10} first request {first:>6} bytes, request {} {last:>6} bytes", wire.name(), STEPS + 1);
    assert!(first < FIRST_MAX, "the first request is {first} bytes");
}

#[test]
fn responses_extend_the_last_request() {
    holds(Wire::Responses);
}

#[test]
fn chat_extends_the_last_request() {
    holds(Wire::Chat);
}

#[test]
fn messages_extend_the_last_request() {
    holds(Wire::Messages);
}

#[test]
fn instructions_of_the_person_and_the_folder_are_told() {
    let stage = Stage::set();
    let model = Model::saying(vec![say("Understood.")]);
    stage.use_model(&model, Wire::Messages);
    stage.file("AGENTS.md", "Write \"colour\", never \"color\".\n");
    std::fs::write(stage.base().join("config/quire/AGENTS.md"), "Be brief.\n").expect("a file");
    stage.quire(&["write something"]).exits(0);
    let body = &model.asked()[0].body;
    assert!(body.contains("never \\\"color\\\"") && body.contains("Be brief."), "{body}");
}

#[test]
fn images_reach_models_that_see() {
    /// One white pixel.
    const PIXEL: &str =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mP8/x8AAwMCAO+ip1sAAAAASUVORK5CYII=";
    for wire in Wire::ALL {
        let stage = Stage::set();
        let model = Model::saying(vec![
            shell(&format!("echo {PIXEL} | base64 -d > pixel.png")),
            call("read", json!({ "path": "pixel.png" })),
            say("It is white."),
        ]);
        let more = "[providers.lab.models.\"lab-model\"]\nimages = true\n[providers.lab.models.\"gpt-lab\"]\nimages = true\n";
        stage.configure(&model, wire, more);
        stage.quire(&["which colour is it?"]).exits(0);
        let asked = model.asked();
        assert!(asked[2].body.contains(PIXEL), "{}: {}", wire.name(), asked[2].items.join("\n"));
    }
}

#[test]
fn calls_of_one_reply_take_effect_in_their_order() {
    let stage = Stage::set();
    let model = Model::saying(vec![
        calls(&[
            ("shell", json!({ "command": "sleep 0.1; echo 1 > n" })),
            ("read", json!({ "path": "n" })),
            ("write", json!({ "path": "n", "content": "2\n" })),
            ("read", json!({ "path": "n" })),
            ("shell", json!({ "command": "cat n; rm n" })),
            ("search", json!({ "pattern": "", "glob": "n" })),
        ]),
        say("In order."),
    ]);
    stage.use_model(&model, Wire::Chat);
    stage.quire(&["count to two"]).exits(0);
    let results = model.asked()[1].results.clone();
    assert!(results[1].contains("1\t1") && results[3].contains("1\t2"), "{results:#?}");
    assert!(results[4].starts_with("2\n") && !results[5].contains("n\n"), "{results:#?}");
}
