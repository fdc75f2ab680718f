//! What a model is sent: little at first, and then always the same bytes with something added, so that its provider's cache
//! holds.

use crate::model::{Answer, Asked, Model, Wire, say, shell};
use crate::stage::Stage;
use serde::Deserialize;
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
