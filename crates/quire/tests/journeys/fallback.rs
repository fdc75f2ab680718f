//! A model that stops answering in the midst of a task, and one that stands in for it: of another provider, on another wire,
//! with a key of its own.

use crate::browser::Browser;
use crate::model::{Answer, Model, Wire, say, shell};
use crate::stage::Stage;
use quire_core::Event;
use std::fs;

fn settings(stage: &Stage, first: &Model, wire: Wire, second: &Model, other: Wire) {
    let text = format!(
        "model = 'one/a'\nfallback_models = ['two/b']\n\
         [providers.one]\nbase_url = '{}'\nwire = '{}'\nkey_env = 'ONE_KEY'\n\
         [providers.two]\nbase_url = '{}'\nwire = '{}'\nkey_env = 'TWO_KEY'\n",
        first.url,
        wire.name(),
        second.url,
        other.name()
    );
    fs::write(stage.base().join("config/quire/config.toml"), text).expect("settings");
}

fn keys(stage: &mut Stage) {
    stage.env = vec![("ONE_KEY".into(), "sk-one-0123".into()), ("TWO_KEY".into(), "sk-two-4567".into())];
}

fn journey(wire: Wire, other: Wire) {
    let mut stage = Stage::set();
    keys(&mut stage);
    // What is no stream at all is not asked for again, so that the test need not wait.
    let first = Model::saying(vec![shell("echo one > one"), Answer::Nonsense]);
    let second = Model::new(|asked| match asked.answered {
        1 => shell("cat one && echo two > two"),
        _ => say("Both are there."),
    });
    settings(&stage, &first, wire, &second, other);
    let run = stage.quire(&["make two files"]).exits(0);
    assert!(run.out.contains("Both are there."), "{}", run.out);
    assert!(run.err.contains("Asking two/b instead"), "{}", run.err);

    let asked = second.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!((asked[0].words.len(), asked[0].results.len(), asked[0].answered), (1, 1, 1));
    assert!(asked[1].results[1].contains("one"), "{:?}", asked[1].results);
    assert!(asked[1].items.starts_with(&asked[0].items), "the stand-in's own requests extend each other");
    for (model, own, foreign) in
        [(&first, "sk-one-0123", "sk-two-4567"), (&second, "sk-two-4567", "sk-one-0123")]
    {
        for asked in model.asked() {
            assert!(asked.head.contains(own) && !asked.head.contains(foreign), "{}", asked.head);
            let thought = ["Zm9v", "c2ln"].iter().any(|thought| asked.body.contains(thought));
            assert!(std::ptr::eq(model, &first) || asked.answered > 1 || !thought, "{}", asked.body);
        }
    }
    let events = stage.log(1);
    let fell = events.iter().filter(|logged| matches!(logged.event, Event::FellBack { .. })).count();
    assert_eq!(fell, 1);
    let review = stage.quire(&["review", "1"]).exits(0);
    assert!(review.out.contains("MODEL   two/b stood in for one/a"), "{}", review.out);
    assert_eq!(stage.json(&["review", "1"])["review"]["stand_ins"][0]["model"], "two/b");
    assert!(stage.quire(&["log", "1"]).exits(0).out.contains("asks fallback 1 instead"));
    stage.quire(&["accept", "1"]).exits(0);
    assert!(stage.folder.join("one").exists() && stage.folder.join("two").exists());
}

#[test]
fn responses_then_chat() {
    journey(Wire::Responses, Wire::Chat);
}

#[test]
fn chat_then_messages() {
    journey(Wire::Chat, Wire::Messages);
}

#[test]
fn messages_then_responses() {
    journey(Wire::Messages, Wire::Responses);
}

/// Nobody answers: the task waits, with the last fault told; resumed by hand on a model of another wire, it goes on.
#[test]
fn with_none_left_the_task_waits_and_can_change_its_model() {
    let mut stage = Stage::set();
    keys(&mut stage);
    let first = Model::saying(vec![shell("echo one > one"), Answer::Nonsense]);
    let second = Model::new(|_| Answer::Nonsense);
    settings(&stage, &first, Wire::Responses, &second, Wire::Chat);
    stage.quire(&["make a file"]).exits(4).tells(&["All that was done so far is kept", "quire resume 1"]);
    assert!(stage.state(1).contains("needs you"), "{}", stage.state(1));

    let page = Browser::open(&stage).get("/tasks/1").body;
    assert!(page.contains("Keep trying") && page.contains("Use one/a instead"), "{page}");
    assert!(!page.contains("Use two/b instead"), "the one that was just asked is offered as another");

    let third = Model::new(|_| say("It is there."));
    let more = format!("[providers.three]\nbase_url = '{}'\nwire = 'messages'\n", third.url);
    let path = stage.base().join("config/quire/config.toml");
    fs::write(&path, fs::read_to_string(&path).unwrap() + &more).unwrap();
    stage.quire(&["resume", "1", "-m", "three/c"]).exits(0);
    stage.quire(&["watch", "1"]).exits(0);
    assert_eq!(third.asked()[0].results.len(), 1);
    let asked = &third.asked()[0];
    assert!(!asked.head.contains("sk-"), "a key goes to nobody but its provider: {}", asked.head);
}
