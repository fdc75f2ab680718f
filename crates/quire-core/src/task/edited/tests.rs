//! What an edit of the person's becomes, and what it leaves as it was.

use super::*;
use crate::charter::{CheckSpec, Hook, HookEvent, Reviewer};
use crate::event::{Apart, Event, Proof, Why};
use crate::task::checkpoints::tests::{Life, hash, lived};
use crate::want::Want;
use crate::{Hash, RelPath, view};
use std::sync::Arc;

const EDITED: &str = "The person changed style.css.";

fn edited(version: u32) -> Event {
    let files = vec![Part { folder: 0, path: RelPath::new(b"style.css".as_slice()).unwrap() }];
    Event::Edited { version, snapshot: Hash::of(b"by hand"), files, told: EDITED.into() }
}

fn sealed(life: &Life, checks: usize) -> Event {
    let check = CheckSpec { name: "found".into(), command: "make test".into() };
    Event::Sealed {
        layer: life.task.layer,
        snapshot: Hash::of(b"by hand"),
        apart: Apart::default(),
        checks: vec![check; checks],
        files: Some(1),
    }
}

fn checked(check: u32, passed: bool) -> Event {
    let proof = Proof {
        snapshot: Hash::of(b"by hand"),
        passed,
        exit: Some(i32::from(!passed)),
        millis: 1,
        output: String::new(),
        whole: None,
        buts: vec![],
        unable: None,
        before: None,
        old_code_fails: None,
        shots: vec![],
    };
    Event::Checked { check, proof }
}

/// A task whose second version the person changed, up to where its layer is sealed.
fn by_hand() -> Life {
    let mut life = lived();
    life.say(edited(2));
    assert_eq!(life.settle(), [Want::Seal]);
    life
}

/// The same with all that could ask somebody, and its version.
fn watched() -> Life {
    let mut life = lived();
    let charter = Arc::make_mut(&mut life.task.charter);
    charter.limits.reviewer = Reviewer::Always;
    let stop = Hook {
        event: HookEvent::Stop,
        tools: vec![],
        command: "true".into(),
        timeout_ms: 1,
        from: "f".into(),
    };
    charter.hooks = vec![stop];
    life.say(edited(2));
    life
}

#[test]
fn an_edit_becomes_a_version_and_no_model_is_asked() {
    let mut life = watched();
    let (layer, step) = (life.task.layer, life.task.step);
    assert!(life.task.begins_laid() && life.task.snapshot == Some(Hash::of(b"by hand")));
    assert_eq!(life.settle(), [Want::Seal], "no hook runs");
    life.say(sealed(&life, 2));
    assert_eq!(life.settle(), [Want::Check(0)]);
    life.say(checked(0, false));
    assert_eq!(life.settle(), [Want::Check(1)], "what fails is the person's, and goes back to nobody");
    life.say(checked(1, true));
    assert_eq!(life.settle(), [], "no reviewer is asked");
    let version = life.task.version().unwrap();
    assert_eq!((life.task.phase.clone(), version.number, version.again), (Phase::Ready, 3, None));
    assert_eq!((version.snapshot, version.proofs.len()), (Hash::of(b"by hand"), 2));
    assert_eq!(view::edited_text(&version.edited), "style.css");
    assert_eq!(version.summary, life.task.versions[1].summary, "what the agent claims stays its claim");
    assert_eq!(
        version.line.last().map(|span| span.to),
        Some(layer + 1),
        "its files are a layer of their own"
    );
    assert_eq!((life.task.step, life.task.prompt().replies), (step, step - 1), "no reply came");
    assert!(!life.task.is_by_hand() && life.task.turn == 2);
}

#[test]
fn an_edit_follows_only_where_a_version_rests() {
    let rests = lived();
    let refused = |life: &Life, event: Event| life.task.clone().push(event, 9).is_err();
    assert!(!refused(&rests, edited(2)));
    assert!(refused(&rests, edited(1)), "another version came");
    let Event::Edited { version, files, told, snapshot } = edited(2) else { panic!() };
    let same = Event::Edited { version, files: files.clone(), told: told.clone(), snapshot: hash(6) };
    let (none, mute) = (
        Event::Edited { version, files: vec![], told: told.clone(), snapshot },
        Event::Edited { version, files: files.clone(), told: " ".into(), snapshot },
    );
    let elsewhere = vec![Part { folder: 1, ..files[0].clone() }];
    let elsewhere = Event::Edited { version, files: elsewhere, told, snapshot };
    for event in [same, none, mute, elsewhere] {
        assert!(refused(&rests, event.clone()), "{event:?}");
    }
    let accepting = Event::Accepting {
        accept: 0,
        snapshot: hash(6),
        only: vec![],
        ignored: None,
        taken: None,
        merged: None,
        proofs: vec![],
        programs: false,
    };
    for (before, follows) in [
        (vec![Event::Said { words: "more".into() }], false),
        (vec![Event::Said { words: "more".into() }, Event::Paused { why: Why::Person }], false),
        (vec![Event::Rewound { step: 2 }], false),
        (vec![accepting.clone()], false),
        (vec![accepting, Event::Accepted { accept: 0 }], true),
        (vec![Event::Discarded {}], false),
        (vec![edited(2)], false),
    ] {
        let mut life = lived();
        before.iter().cloned().for_each(|event| life.say(event));
        assert_eq!(!refused(&life, edited(2)), follows, "{before:?}");
    }
}

#[test]
fn the_agent_is_told_when_it_works_next_and_goes_back_before_it_untold() {
    let mut life = by_hand();
    life.say(sealed(&life, 0));
    assert_eq!(life.settle(), []);
    assert_eq!(life.told().matches(EDITED).count(), 1);
    // A ledger that takes the place of the conversation does not swallow it.
    let mut cut = life.task.clone();
    cut.push(Event::Said { words: "and now".into() }, 9).unwrap();
    let ledger = cut.compacted_by_quire();
    cut.push(ledger, 9).unwrap();
    crate::want::settle(&mut cut, 9).unwrap();
    let told = format!("{:?}", cut.prompt().items);
    assert!(told.contains(EDITED), "{told}");
    // The version before it, and then its own again.
    let step = |life: &Life, version| {
        life.task.checkpoints().rfind(|one| one.version == Some(version)).unwrap().step
    };
    let (before, own) = (step(&life, 2), step(&life, 3));
    assert_ne!(before, own);
    life.say(Event::Rewound { step: before });
    assert_eq!(life.task.snapshot, Some(hash(6)));
    assert!(!life.told().contains(EDITED));
    life.say(Event::Rewound { step: own });
    let again = life.task.version().unwrap();
    assert_eq!((again.again, again.snapshot), (Some(3), Hash::of(b"by hand")));
    assert_eq!(view::edited_text(&again.edited), "style.css");
    assert_eq!(life.told().matches(EDITED).count(), 1);
    let rows = view::steps(&life.task);
    let row = rows.iter().filter(|row| row.step == own).collect::<Vec<_>>();
    assert_eq!((row.len(), &*row[0].did, row[0].version), (2, "You changed style.css", Some(3)));
}

#[test]
fn words_that_come_while_it_is_made_go_to_the_agent_and_the_edit_can_be_gone_back_to() {
    for late in [false, true] {
        let mut life = by_hand();
        if late {
            life.say(sealed(&life, 1));
        }
        life.say(Event::Said { words: "on with it".into() });
        if !late {
            assert_eq!(life.settle(), [Want::Seal]);
            life.say(sealed(&life, 1));
        }
        assert_eq!(life.settle(), [Want::Ask], "late: {late}");
        let told = format!("{:?}", life.task.prompt().items);
        assert!(told.find(EDITED) < told.find("on with it") && told.contains(EDITED), "{told}");
        let step = life.task.step;
        life.say(Event::Rewound { step });
        assert_eq!(life.task.snapshot, Some(Hash::of(b"by hand")));
        assert_eq!(view::steps(&life.task).last().unwrap().did, "You changed style.css");
    }
}

#[test]
fn what_fails_for_want_of_a_host_is_checked_anew_with_the_answer() {
    let mut life = by_hand();
    life.say(sealed(&life, 1));
    assert_eq!(life.settle(), [Want::Check(0)]);
    life.say(Event::ReachAsked { reach: 0, host: "example.org".into(), port: 443 });
    life.say(checked(0, false));
    assert_eq!(life.settle(), []);
    assert_eq!(life.task.phase, Phase::Waiting(Why::Reach));
    life.say(Event::ReachAnswered { reach: 0, allow: true, once: false });
    assert_eq!(life.settle(), [Want::Check(0)]);
    life.say(checked(0, true));
    assert_eq!(life.settle(), []);
    assert_eq!((life.task.phase.clone(), life.task.versions.len()), (Phase::Ready, 3));
}

#[test]
fn what_stops_it_is_gone_on_with_where_it_was() {
    for late in [false, true] {
        let mut life = by_hand();
        if late {
            life.say(sealed(&life, 1));
        }
        life.say(Event::Paused { why: Why::Person });
        assert!(life.task.clone().push(edited(2), 9).is_err());
        life.say(Event::Resumed { model: None });
        life.say(Event::Taken { epoch: 2 });
        assert_eq!(life.settle(), [if late { Want::Check(0) } else { Want::Seal }]);
        if !late {
            // Laid out anew after a power cut, of which the agent hears later.
            life.say(Event::Restored { layer: life.task.layer });
            life.say(sealed(&life, 0));
            assert_eq!((life.settle(), life.task.versions.len()), (vec![], 3));
        }
    }
}

#[test]
fn another_task_begins_in_the_persons_own_version() {
    let mut life = by_hand();
    life.say(sealed(&life, 0));
    life.settle();
    let step = life.task.step;
    life.task.push(Event::Forked { from: 1, step }, 9).unwrap_err();
    let mut fork = life.task.clone();
    fork.id = 9;
    fork.push(Event::Forked { from: 1, step }, 9).unwrap();
    assert_eq!((fork.snapshot, fork.phase.clone()), (Some(Hash::of(b"by hand")), Phase::Ready));
    assert!(fork.version().unwrap().line.iter().all(|span| span.task == 1));
}
