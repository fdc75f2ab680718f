//! What a person decided, as the fold has it and as it is shown: part or whole, an earlier version or the last, at rest or while
//! the next turn waits.

use super::*;
use crate::event::Part;

fn accepting(accept: u32, snapshot: &[u8], only: &[&str]) -> Event {
    let part = |path: &&str| Part { folder: 0, path: RelPath::new(*path).unwrap() };
    Event::Accepting {
        accept,
        snapshot: Hash::of(snapshot),
        only: only.iter().map(part).collect(),
        ignored: None,
        taken: None,
        merged: None,
        proofs: vec![],
        programs: false,
    }
}

fn accepted(accept: u32, snapshot: &[u8], only: &[&str]) -> [Event; 2] {
    [accepting(accept, snapshot, only), Event::Accepted { accept }]
}

fn ready() -> Log {
    Log::started(1, &[], "x").then([reply("done", &[])]).presented(&[], Apart::default())
}

/// A second version, beside the first that was accepted.
fn second() -> Log {
    ready().then(accepted(0, b"v", &[])).then([
        Event::Said { words: "more".into() },
        Event::Asked { heard: 0, worst: None },
        reply("done", &[]),
        Event::Sealed {
            layer: 1,
            snapshot: Hash::of(b"w"),
            apart: Apart::default(),
            checks: vec![],
            files: None,
        },
        Event::Presented { version: 2, snapshot: Hash::of(b"w") },
    ])
}

fn undoing(accept: u32) -> Event {
    Event::Undoing { accept, only: vec![] }
}

fn undone(accept: u32) -> [Event; 2] {
    [undoing(accept), Event::Undone { accept }]
}

fn follows(log: &Log, event: Event) -> bool {
    log.task.clone().push(event, log.task.last_ms).is_ok()
}

#[test]
fn what_is_in_the_folder_is_said() {
    let rows = [
        (ready(), Taken::No, "ready"),
        (ready().then(accepted(0, b"v", &[])), Taken::Whole, "accepted"),
        (ready().then(accepted(0, b"v", &["a"])), Taken::Part, "part accepted"),
        (ready().then(accepted(0, b"v", &["a"])).then(accepted(1, b"v", &[])), Taken::Whole, "accepted"),
        (ready().then(accepted(0, b"v", &[])).then(undone(0)), Taken::No, "ready"),
        (second(), Taken::Earlier, "ready"),
        (second().then(accepted(1, b"w", &[])), Taken::Whole, "accepted"),
    ];
    for (log, taken, state) in rows {
        let version = log.task.version().unwrap().clone();
        assert_eq!(
            (Review::of(&log.task, &version, vec![]).taken, super::state(&log.task)),
            (taken, state.into())
        );
    }
}

/// A part counted as the whole: after a month the rest was cleared away.
#[test]
fn a_part_is_not_the_whole() {
    let part = ready().then(accepted(0, b"v", &["a"]));
    assert_eq!((mark(&part.task), mark(&part.task).group()), (Mark::Ready, Group::NeedsYou));
    assert!(part.task.is_open() && !follows(&part, Event::Cleared {}) && follows(&part, Event::Discarded {}));
    let whole = part.then(accepted(1, b"v", &[]));
    assert_eq!(mark(&whole.task), Mark::Accepted);
    assert!(
        !whole.task.is_open() && follows(&whole, Event::Cleared {}) && !follows(&whole, Event::Discarded {})
    );
}

/// What an undo of a part leaves is still accepted, until another takes it back too.
#[test]
fn a_part_is_taken_back_and_then_the_rest() {
    let part = |path: &str| Part { folder: 0, path: RelPath::new(path).unwrap() };
    let back =
        |path: &str| [Event::Undoing { accept: 0, only: vec![part(path)] }, Event::Undone { accept: 0 }];
    let shown = |log: &Log| {
        let version = log.task.version().unwrap().clone();
        Review::of(&log.task, &version, vec![]).taken
    };
    let whole = ready().then(accepted(0, b"v", &[]));
    let some = whole.then(back("a"));
    assert_eq!(
        (shown(&some), mark(&some.task), some.task.last_accept()),
        (Taken::Part, Mark::Ready, Some(0))
    );
    assert!(some.task.is_open() && !follows(&some, Event::Cleared {}) && follows(&some, Event::Discarded {}));
    let more = some.then(back("b"));
    let taken_back: Vec<&Part> = more.task.accepts[0].taken_back().collect();
    assert_eq!((taken_back, more.task.accepts[0].back.len()), (vec![&part("a"), &part("b")], 2));
    // One that failed took nothing back, and the next is of all that is left.
    let failed = [
        Event::Undoing { accept: 0, only: vec![part("c")] },
        Event::UndoFailed { accept: 0, why: "disk".into() },
    ];
    let rest = more.then(failed).then(undone(0));
    assert_eq!((shown(&rest), rest.task.accepts[0].back.len()), (Taken::No, 2));
    assert_eq!(shown(&rest.then(accepted(1, b"v", &[]))), Taken::Whole);
}

/// It was told as accepted because an earlier one is in the folder.
#[test]
fn a_version_whose_accept_failed_or_was_undone_waits_for_its_person() {
    let failed = [accepting(1, b"w", &[]), Event::AcceptFailed { accept: 1, why: "disk".into() }];
    for log in [second(), second().then(failed), second().then(accepted(1, b"w", &[])).then(undone(1))] {
        assert_eq!((&log.task.phase, mark(&log.task)), (&Phase::Ready, Mark::Ready));
        assert!(log.task.is_open() && follows(&log, Event::Discarded {}));
    }
}

/// Where the next turn had no model, the version before could be neither taken nor taken back.
#[test]
fn a_version_is_taken_and_taken_back_while_the_next_turn_waits() {
    for why in [Why::NoModel, Why::Person, Why::Silence] {
        let waits = || {
            let said = Event::Said { words: "more".into() };
            ready().then(accepted(0, b"v", &[])).then([said, Event::Paused { why: why.clone() }])
        };
        let undoing = waits().then([undoing(0)]);
        for event in [Event::Resumed { model: None }, Event::Said { words: "y".into() }, Event::Discarded {}]
        {
            assert!(!follows(&undoing, event), "while the folder is written");
        }
        let again = undoing.then([Event::Undone { accept: 0 }]).then(accepted(1, b"v", &[]));
        for log in [waits(), again] {
            assert_eq!(log.task.phase, Phase::Waiting(why.clone()));
            assert!(follows(&log, Event::Resumed { model: None }) && follows(&log, Event::Discarded {}));
        }
    }
    let works = ready().then(accepted(0, b"v", &[])).then([Event::Said { words: "more".into() }]);
    assert!(!follows(&works, undoing(0)) && !follows(&works, accepting(1, b"v", &[])));
}
