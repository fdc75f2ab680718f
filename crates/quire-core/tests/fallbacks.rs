//! Models that stand in for one that does not answer.

use quire_core::charter::{Edits, Limits, Model, Purpose, Sandbox, Wire};
use quire_core::event::{Apart, Base, Conventions, Why};
use quire_core::message::{Fault, FaultKind, Stop};
use quire_core::*;

fn model(name: &str, wire: Wire) -> Model {
    Model {
        provider: "p".into(),
        name: name.into(),
        wire,
        base_url: String::new(),
        key_env: None,
        edits: Edits::EditAndWrite,
        images: false,
        context_tokens: None,
        output_tokens: None,
        price: None,
    }
}

/// A task on `first`, with two fallbacks, whose first request is open.
fn asked() -> Task {
    let charter = Charter {
        folders: vec!["/f".into()],
        model: Some(model("first", Wire::Responses)),
        fallback_models: vec![model("second", Wire::Chat), model("third", Wire::Messages)],
        review_model: None,
        compact_model: Some(model("small", Wire::Chat)),
        checks: vec![],
        limits: Limits::default(),
        sandbox: Sandbox::default(),
        env: vec![],
        hooks: vec![],
        secrets: vec![],
        purpose: Purpose::Change,
        new_folder: false,
    };
    let opened = Event::Opened { charter: Box::new(charter), words: "do it".into() };
    let mut task = Task::open(1, &Logged { seq: 1, at_ms: 0, event: opened }).unwrap();
    let equipped = Event::Equipped {
        system: "s".into(),
        tools: vec![],
        rung: "r".into(),
        weak: None,
        conventions: Conventions::default(),
        attached: None,
    };
    let frozen = Event::Frozen { bases: vec![Base { id: 1, delta: 0, files: 0, bytes: 0, git: None }] };
    [Event::Taken { epoch: 1 }, equipped, frozen].into_iter().for_each(|event| task.push(event, 0).unwrap());
    assert_eq!(settle(&mut task, 0).unwrap().1, [Want::Ask]);
    task
}

fn fail(task: &mut Task, kind: FaultKind) {
    let fault = Fault { kind, message: format!("{} fails", name(task)), status: None };
    task.push(Event::AskFailed { fault, spent: false }, 0).unwrap();
}

fn name(task: &Task) -> String {
    task.charter.model.as_ref().unwrap().name.clone()
}

fn reply(calls: Vec<Call>) -> Event {
    let (text, by) = ("Said.".to_owned(), String::new());
    let reply =
        Reply { wire: Wire::Chat, items: vec![], text, calls, stop: Stop::Done, usage: Usage::default(), by };
    Event::Replied { reply }
}

#[test]
fn fallbacks_are_asked_in_their_order_and_then_the_person() {
    let mut task = asked();
    let prompt = task.prompt();
    for (next, kind) in [("second", FaultKind::Unreachable), ("third", FaultKind::Broken)] {
        fail(&mut task, kind);
        let (begun, todo) = settle(&mut task, 0).unwrap();
        assert!(matches!(begun[..], [Event::FellBack { .. }, Event::Asked { .. }]), "{begun:?}");
        assert_eq!((todo, name(&task)), (vec![Want::Ask], next.to_owned()));
        assert_eq!(task.prompt(), prompt, "nothing that was said is lost");
    }
    fail(&mut task, FaultKind::Busy);
    assert!(settle(&mut task, 0).unwrap().1.is_empty());
    assert!(matches!(&task.phase, Phase::Waiting(Why::Model(fault)) if fault.message == "third fails"));
    let told: Vec<_> =
        task.stand_ins().iter().map(|s| format!("{} for {}: {}", s.model, s.instead_of, s.why)).collect();
    assert_eq!(told, ["p/second for p/first: first fails", "p/third for p/second: second fails"]);
    // A person's word goes to the model that they named.
    task.push(Event::Resumed { model: None }, 0).unwrap();
    settle(&mut task, 0).unwrap();
    assert_eq!(name(&task), "first");
    fail(&mut task, FaultKind::Busy);
    settle(&mut task, 0).unwrap();
    assert_eq!(name(&task), "second", "and the fallbacks are there again");
}

#[test]
fn what_a_person_must_decide_is_not_passed_on() {
    let kinds = [
        FaultKind::NoKey,
        FaultKind::Key,
        FaultKind::Credit,
        FaultKind::NoModel,
        FaultKind::Request,
        FaultKind::TooLong,
    ];
    for kind in kinds {
        let mut task = asked();
        fail(&mut task, kind);
        settle(&mut task, 0).unwrap();
        assert!(
            matches!(task.phase, Phase::Waiting(Why::Model(_))) || kind == FaultKind::TooLong,
            "{kind:?}"
        );
        assert_eq!(name(&task), "first", "{kind:?}");
    }
}

#[test]
fn a_fallback_serves_to_the_end_of_the_turn() {
    let mut task = asked();
    fail(&mut task, FaultKind::Busy);
    settle(&mut task, 0).unwrap();
    task.push(reply(vec![]), 0).unwrap();
    let snapshot = Hash::of(b"s");
    task.push(Event::Sealed { layer: 0, snapshot, apart: Apart::default(), checks: vec![], files: None }, 0)
        .unwrap();
    settle(&mut task, 0).unwrap();
    assert_eq!((&task.phase, name(&task).as_str()), (&Phase::Ready, "second"));
    task.push(Event::Said { words: "more".into() }, 0).unwrap();
    assert_eq!(name(&task), "first");
    // A person may change to a model of any kind.
    task.push(Event::Paused { why: Why::Person }, 0).unwrap();
    task.push(Event::Resumed { model: Some(model("other", Wire::Tape)) }, 0).unwrap();
    assert_eq!(name(&task), "other");
}

#[test]
fn a_long_conversation_is_summed_up_by_the_model_for_that() {
    let (by, prompt) = asked().compact_request().unwrap();
    assert_eq!((by.name.as_str(), prompt.items.len()), ("small", 1));
}

#[test]
fn a_fallback_without_a_fault_does_not_follow() {
    let mut task = asked();
    assert!(task.push(Event::FellBack { fallback: 0 }, 0).is_err(), "the question is open");
    fail(&mut task, FaultKind::Busy);
    assert!(task.push(Event::FellBack { fallback: 1 }, 0).is_err(), "it is not its turn");
    task.push(Event::FellBack { fallback: 0 }, 0).unwrap();
    assert!(task.push(Event::FellBack { fallback: 1 }, 0).is_err(), "no fault came since");
}
