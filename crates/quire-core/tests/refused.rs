//! Any event, at any moment: it is applied, or refused and nothing is changed by it. What follows from the fold then (what is owed, how
//! it is shown, what the model would be told) can be asked for in every state.

use proptest::prelude::*;
use quire_core::view::{Progress, Summary};
use quire_core::{Event, Logged, Task, settle, view, want};
use serde_json::Value;

/// Returns the golden file of every kind of event but those after which nothing follows.
fn golden() -> Vec<Value> {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| !path.ends_with("discarded.json") && !path.ends_with("cleared.json"));
    paths.sort();
    paths.iter().map(|path| serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()).collect()
}

/// What the world does next.
#[derive(Clone, Debug)]
enum Next {
    /// Everything is begun that is owed; sometimes its answer would follow.
    Settle,
    /// The first golden event from this place on that follows, with its numbers set to small ones.
    Golden(usize, Vec<u8>),
}

fn next() -> impl Strategy<Value = Next> {
    prop_oneof![
        1 => Just(Next::Settle),
        4 => (any::<usize>(), prop::collection::vec(0..4_u8, 4)).prop_map(|(kind, numbers)| Next::Golden(kind, numbers)),
    ]
}

/// Sets the numbers in `value`, one after the other, to those of `to`; the golden ones stand for one log only.
fn renumber(value: &mut Value, to: &mut impl Iterator<Item = u8>) {
    match value {
        Value::Number(number) if number.is_u64() => {
            if let Some(to) = to.next() {
                *value = to.into();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| renumber(value, to)),
        Value::Object(fields) => fields.values_mut().for_each(|value| renumber(value, to)),
        _ => {}
    }
}

fn at(task: &Task, golden: &[Value], kind: usize, numbers: &[u8]) -> Option<Event> {
    let mut value = golden[kind % golden.len()].clone();
    renumber(&mut value, &mut numbers.iter().copied());
    let mut event: Event = serde_json::from_value(value).ok()?;
    match &mut event {
        Event::Asked { heard, .. } => *heard = task.seq,
        Event::Taken { epoch } => *epoch += task.epoch,
        Event::Sealed { layer, .. } => *layer = task.layer,
        _ => {}
    }
    Some(event)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]
    #[test]
    fn a_refused_event_changes_nothing(first in 0..4_usize, nexts in prop::collection::vec(next(), 0..80)) {
        let golden = golden();
        let opened: Vec<&Value> = golden.iter().filter(|value| value.get("opened").is_some()).collect();
        let event: Event = serde_json::from_value(opened[first % opened.len()].clone()).unwrap();
        let first = Logged { seq: 1, at_ms: 0, event };
        let mut task = Task::open(1, &first).unwrap();
        let (mut story, mut applied) = (Progress::default(), 0);
        story.apply(&first);
        let steps = nexts.iter().filter(|next| matches!(next, Next::Golden(..))).count();
        for next in nexts {
            let is_owed = matches!(next, Next::Settle);
            let events: Vec<Event> = match next {
                Next::Settle => settle(&mut task.clone(), 0).map(|(begun, _)| begun).unwrap(),
                Next::Golden(kind, numbers) => {
                    let all = kind..kind.saturating_add(golden.len());
                    all.filter_map(|kind| at(&task, &golden, kind, &numbers)).collect()
                }
            };
            for event in events {
                let logged = Logged { seq: task.seq + 1, at_ms: task.last_ms + 7, event };
                let before = format!("{task:?}");
                if task.apply(&logged).is_err() {
                    prop_assert_eq!(&before, &format!("{task:?}"), "{:?}", logged);
                    continue;
                }
                story.apply(&logged);
                // Whatever was owed can be begun.
                let _ = want(&task);
                settle(&mut task.clone(), task.last_ms).unwrap();
                applied += 1;
                let summary = serde_json::to_string(&Summary::of(&task)).unwrap();
                prop_assert_eq!(serde_json::from_str::<Summary>(&summary).unwrap(), Summary::of(&task));
                let _ = (view::state(&task), task.prompt(), task.worst(), task.compact_request());
                if !is_owed {
                    break;
                }
            }
        }
        // After `imported` a log is a record, and nothing follows.
        prop_assert!(applied >= steps || task.imported_from().is_some(), "{} of {}: a log that does not grow tests nothing", applied, steps);
    }
}
