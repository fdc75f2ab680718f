//! A hundred tasks at once on one host, which is killed twice in the midst of them all.
//!
//! As in `kill.rs`, each call leaves its own mark in `ran`, and shows all that are there: one that ran twice is seen in what the
//! model is told last.

use crate::model::{Answer, Asked, Model, Wire, call, say};
use crate::stage::Stage;
use quire_core::Phase;
use quire_core::event::Event;
use quire_engine::store::Store;
use serde_json::json;
use std::collections::BTreeSet;
use std::thread;

const TASKS: usize = 100;
const PIECES: usize = 2;
/// Commands that run at once.
const HANDS: usize = 8;

fn script(asked: &Asked) -> Answer {
    let done = asked.results.iter().filter(|result| !result.contains("Interrupted")).count();
    match done {
        PIECES => say("All pieces are there."),
        _ => call("shell", json!({ "command": format!("echo mark{} >> ran; cat ran", asked.answered) })),
    }
}

fn words(task: usize) -> String {
    format!("make the pieces of order {task}, please")
}

/// Runs `each` for all numbers up to [`TASKS`], from 1, several at a time.
fn for_all(each: impl Fn(usize) + Sync) {
    thread::scope(|scope| {
        for hand in 1..=HANDS {
            let each = &each;
            scope.spawn(move || (hand..=TASKS).step_by(HANDS).for_each(each));
        }
    });
}

#[test]
fn a_host_that_is_killed_under_a_hundred_tasks_leaves_no_trace() {
    let stage = Stage::set();
    let model = Model::new(script);
    stage.use_model(&model, Wire::Chat);
    for_all(|n| drop(stage.quire(&["run", "-b", &words(n)]).exits(0)));
    // Each task asks at least three times: wherever they stand then, it is in the midst of the whole.
    for moment in [TASKS * 2, TASKS * 3] {
        model.wait_for_all(moment);
        stage.host().kill();
        // Whoever looks sets them going again.
        stage.quire(&["ls"]).exits(0);
    }
    for_all(|n| drop(stage.quire(&["watch", &n.to_string()]).exits(0)));

    let store = Store::open(&stage.data()).expect("the store");
    let (mut said, mut taken) = (BTreeSet::new(), 0);
    for id in store.tasks().expect("the tasks") {
        let (task, log) = (store.task(id).expect("a legal log"), store.events(id, 0).expect("a log"));
        assert_eq!(task.phase, Phase::Ready, "task {id}");
        said.insert(task.words[0].to_string());
        taken += log.iter().filter(|logged| matches!(logged.event, Event::Taken { .. })).count();
        let last = log.iter().rev().find_map(|logged| match &logged.event {
            Event::Returned { outcome, .. } => Some(outcome.text.as_str()),
            _ => None,
        });
        let last = last.unwrap_or_default();
        let marks: Vec<&str> = last.lines().filter(|line| line.starts_with("mark")).collect();
        assert!(marks.len() >= PIECES, "task {id}: {last}");
        let different: BTreeSet<&&str> = marks.iter().collect();
        assert_eq!(different.len(), marks.len(), "task {id}: a call ran twice: {last}");
    }
    assert_eq!(said, (1..=TASKS).map(words).collect(), "no word is lost");
    assert!(taken > TASKS, "the kills met nobody at work: {taken}");
    for asked in model.asked() {
        assert!(asked.words[0].starts_with("make the pieces of order "), "{:?}", asked.words);
    }
}
