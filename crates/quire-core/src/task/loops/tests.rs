//! What is a loop and what is none, as tables: the steps of a task, and what comes of each.

use super::*;
use crate::charter::Wire;
use crate::event::{Base, Conventions, Logged, Why};
use crate::message::{PromptItem, Stop, ToolSpec, Usage};
use crate::task::Phase;
use crate::testing::charter;
use crate::want::{Want, settle};

/// One step: a call, its outcome, and the folder after it, if it may have changed that.
type Row<'a> = (&'a str, &'a str, Outcome, Option<&'a str>);

fn fine(text: &str) -> Outcome {
    Outcome { exit: Some(0), ..Outcome::said(text) }
}

fn bad(text: &str) -> Outcome {
    Outcome { exit: Some(1), ..Outcome::refused(text) }
}

fn begun() -> Task {
    let opened = Event::Opened { charter: Box::new(charter()), words: "go".into() };
    let mut task = Task::open(1, &Logged { seq: 1, at_ms: 0, event: opened }).unwrap();
    let tool = |name: &str| ToolSpec {
        name: name.into(),
        description: String::new(),
        input: serde_json::json!({}),
        reads: name == "read",
    };
    let tools = ["shell", "read", "edit", "job"].map(tool).into();
    for event in [
        Event::Taken { epoch: 1 },
        Event::Equipped {
            system: "s".into(),
            tools,
            rung: "r".into(),
            weak: None,
            conventions: Conventions::default(),
            attached: None,
        },
        Event::Frozen { bases: vec![Base { id: 1, delta: 0, files: 0, bytes: 0, git: None }] },
    ] {
        task.push(event, 0).unwrap();
    }
    task
}

/// Plays one step and returns what is owed before the next request: `W` a word to the model, `P` the person, `.` nothing.
fn play(task: &mut Task, row: &Row<'_>) -> char {
    let (tool, input, outcome, folder) = row;
    settle(task, 0).unwrap();
    let reply = Reply {
        wire: Wire::Chat,
        items: vec![],
        text: format!("Step {}.", task.step),
        calls: vec![Call { id: "c".into(), tool: (*tool).into(), input: (*input).into() }],
        stop: Stop::Done,
        usage: Usage::default(),
        by: String::new(),
    };
    task.push(Event::Replied { reply }, 0).unwrap();
    settle(task, 0).unwrap();
    task.push(Event::Returned { call: 0, outcome: outcome.clone() }, 0).unwrap();
    if *tool != "read" {
        let untouched = Snapshot::default().id();
        let snapshot = folder.map_or(untouched, |folder| Hash::of(folder.as_bytes()));
        task.push(Event::Snapped { snapshot }, 0).unwrap();
    }
    let (begun, todo) = settle(task, 0).unwrap();
    let pauses = begun.contains(&Event::Paused { why: Why::Loop });
    assert_eq!(pauses, todo != [Want::Ask], "{begun:?} {todo:?}");
    match begun.iter().any(|event| matches!(event, Event::Looped { .. })) {
        _ if pauses => 'P',
        true => 'W',
        false => '.',
    }
}

/// Plays `rows` round after round until the person is asked, at most `steps` steps.
fn played(rows: &[Row<'_>], steps: usize) -> String {
    let mut task = begun();
    let mut came = String::new();
    for row in rows.iter().cycle().take(steps) {
        came.push(play(&mut task, row));
        if came.ends_with('P') {
            break;
        }
    }
    came
}

#[test]
fn loops_are_found_and_work_is_not_taken_for_one() {
    let counted = |text: &str| (0..20).map(|n| fine(&text.replace('N', &n.to_string()))).collect::<Vec<_>>();
    let reads = counted("line N");
    let reads: Vec<Row> = reads.iter().map(|o| ("read", r#"{"path":"a"}"#, o.clone(), None)).collect();
    let percents = counted("N % done [exit 0 after 0.0N s]");
    let percents: Vec<Row> =
        percents.iter().map(|o| ("shell", r#"{"command":"status"}"#, o.clone(), None)).collect();
    let times = counted("1 failed in 0.3Ns at 12:00:0N by 0x7ffe0000000N\n[exit 1 after 1N.2 s]");
    let times: Vec<Row> = times
        .iter()
        .map(|o| ("shell", r#"{"command":"test"}"#, Outcome { exit: Some(1), ..o.clone() }, None))
        .collect();
    let folders: Vec<String> = (0..40).map(|n| format!("{n} files")).collect();
    let changing: Vec<Row> =
        folders.iter().map(|now| ("shell", r#"{"command":"next"}"#, fine(""), Some(now.as_str()))).collect();
    let read = || ("read", r#"{"path":"a"}"#, fine("one"), None);
    let waits =
        |tool| (tool, r#"{"id":1,"command":"sleep 5; tail log"}"#, Outcome { millis: 5_000, ..fine("-") });
    let (job, sleep) = (waits("job"), waits("shell"));
    let rows: &[(&str, &[Row], &str)] = &[
        ("the same call with the same outcome", &[read()], "...W...P"),
        (
            "the same words in another JSON",
            &[
                ("read", r#"{"path":"a","from":1}"#, fine("one"), None),
                ("read", r#"{ "from": 1, "path": "a" }"#, fine("one"), None),
            ],
            "...W...P",
        ),
        ("the same but for times", &times[..10], "...W...P"),
        ("two calls in turn", &[read(), ("read", r#"{"path":"b"}"#, fine("two"), None)], ".......W.......P"),
        (
            "three in turn",
            &[
                read(),
                ("read", r#"{"path":"b"}"#, fine("two"), None),
                ("shell", r#"{"command":"c"}"#, bad("no"), None),
            ],
            "...........W...........P",
        ),
        (
            "a change, its failure, and back",
            &[
                ("edit", r#"{"to":"x"}"#, fine("done"), Some("x")),
                ("shell", r#"{"command":"test"}"#, bad("x fails"), Some("x")),
                ("edit", r#"{"to":"y"}"#, fine("done"), Some("y")),
                ("shell", r#"{"command":"test"}"#, bad("y fails"), Some("y")),
            ],
            "...............W...............P",
        ),
        (
            "a failing call in other quotes",
            &[
                ("shell", r#"{"command":"cat 'a b' 2>&1"}"#, bad("no such file"), None),
                ("shell", r#"{"command":"cat \"a b\";"}"#, bad("no such file"), None),
                ("shell", r#"{"command":"cat  a\\ b"}"#, bad("no such file"), None),
            ],
            "...W...P",
        ),
        (
            "failing calls that differ in a name",
            &[
                ("shell", r#"{"command":"cat a"}"#, bad("no such file"), None),
                ("shell", r#"{"command":"cat b"}"#, bad("no such file"), None),
                ("shell", r#"{"command":"cat c"}"#, bad("no such file"), None),
                ("shell", r#"{"command":"cat d"}"#, bad("no such file"), None),
                ("shell", r#"{"command":"cat e"}"#, bad("no such file"), None),
            ],
            "....................",
        ),
        (
            "calls that went well, in other quotes",
            &[
                ("shell", r#"{"command":"wc 'a'"}"#, fine("1"), None),
                ("shell", r#"{"command":"wc a"}"#, fine("1"), None),
                ("shell", r#"{"command":"wc \"a\""}"#, fine("1"), None),
                ("shell", r#"{"command":"wc  a"}"#, fine("1"), None),
                ("shell", r#"{"command":"wc a "}"#, fine("1"), None),
            ],
            "....................",
        ),
        ("a file that changes", &reads, "...................."),
        ("a job that goes on", &percents, "...................."),
        ("a wait for a job", &[(job.0, job.1, job.2, None)], "...................."),
        ("a wait by sleep", &[(sleep.0, sleep.1, sleep.2, None)], "...................."),
        ("a job that is asked of without a pause", &[("job", r#"{"id":1}"#, fine("-"), None)], "...W...P"),
        ("a command that says nothing, and works", &changing, ".......W............"),
    ];
    for (what, steps, came) in rows {
        assert_eq!(played(steps, 20.max(came.len())), *came, "{what}");
    }
}

#[test]
fn the_model_is_told_what_repeats_and_so_is_the_person() {
    let mut task = begun();
    let row: Row = ("shell", r#"{"command":"make test"}"#, bad("no rule"), None);
    for _ in 0..4 {
        play(&mut task, &row);
    }
    let items = task.prompt().items;
    let PromptItem::Words(words) = &**items.last().unwrap() else { panic!("{items:?}") };
    assert!(
        words.starts_with("[quire] Your last 4 steps made the same calls with the same outcomes."),
        "{words}"
    );
    for _ in 0..4 {
        play(&mut task, &row);
    }
    assert_eq!(task.phase, Phase::Waiting(Why::Loop));
    let told = crate::view::why_text(&Why::Loop, &task);
    assert!(told.what.ends_with("again and again, 8 times: Ran `make test`."), "{}", told.what);
}

#[test]
fn a_word_of_the_persons_begins_anew() {
    let read: Row = ("read", r#"{"path":"a"}"#, fine("one"), None);
    for resumes in [false, true] {
        let mut task = begun();
        let steps = if resumes { 8 } else { 6 };
        (0..steps).for_each(|_| _ = play(&mut task, &read));
        assert_eq!(task.phase == Phase::Waiting(Why::Loop), resumes);
        // While it works, the word waits for the answer to the request that is open.
        let resumed = Event::Resumed { model: None };
        task.push(if resumes { resumed } else { Event::Said { words: "go on".into() } }, 0).unwrap();
        let came: String = (0..4).map(|_| play(&mut task, &read)).collect();
        assert_eq!(came, "...W", "resumed: {resumes}");
    }
}

#[test]
fn who_passes_over_every_warning_is_stopped() {
    let mut task = begun();
    let read: Row = ("read", r#"{"path":"a"}"#, fine("one"), None);
    let mut came = String::new();
    for round in 0..4 {
        (0..4).for_each(|_| came.push(play(&mut task, &read)));
        if round < 3 {
            let text = format!("{round} other");
            came.push(play(&mut task, &("read", r#"{"path":"b"}"#, fine(&text), None)));
        }
    }
    assert_eq!(came, "...W. ...W. ...W. ...P".replace(' ', ""));
}

/// What counts as a loop may change from one quire to the next, and every log stays one.
#[test]
fn a_log_that_went_on_over_a_loop_can_be_read() {
    let mut task = begun();
    let read: Row = ("read", r#"{"path":"a"}"#, fine("one"), None);
    (0..7).for_each(|_| _ = play(&mut task, &read));
    for _ in 0..5 {
        let reply = Reply {
            wire: Wire::Chat,
            items: vec![],
            text: String::new(),
            calls: vec![Call { id: "c".into(), tool: "read".into(), input: r#"{"path":"a"}"#.into() }],
            stop: Stop::Done,
            usage: Usage::default(),
            by: String::new(),
        };
        let heard = task.seq + 4;
        for event in [
            Event::Replied { reply },
            Event::Judged { verdicts: vec![crate::event::Verdict::Run] },
            Event::Called { call: 0 },
            Event::Returned { call: 0, outcome: fine("one") },
            Event::Asked { heard, worst: None },
        ] {
            task.push(event, 0).unwrap();
        }
    }
}

#[test]
fn what_passes_in_an_outcome() {
    let rows = [
        ("1 failed in 0.31s", "1 failed in #"),
        ("ok  	pkg	0.012s", "ok  	pkg	#"),
        ("took 12 ms, then 3.5 seconds", "took #, then #"),
        ("at 12:03:59.123 of 14", "at # of 14"),
        ("[exit 1 after 140 s]", "[exit 1 after #]"),
        ("at 0x7ffd12345678", "at #"),
        ("0x1f", "0x1f"),
        ("ETA 35 s left", "ETA 35 s left"),
        ("35s", "35s"),
        ("v1.2.3 of x86_64, 17 of 20", "v1.2.3 of x86_64, 17 of 20"),
        ("a.rs:12:5: no", "a.rs:12:5: no"),
        ("", ""),
    ];
    for (text, expected) in rows {
        assert_eq!(steady(text), expected);
    }
}
