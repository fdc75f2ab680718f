//! Whatever a server sends, reading it comes to a reply or a fault: never to a panic, never to two calls of one id.
//!
//! What is tried are the streams of real servers with a few things wrong: events that are lost, come twice or in another order, and
//! values that are other ones.

use super::servers::streams;
use super::*;
use crate::sse::{self, Event};
use crate::wire::{self, Progress};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Something that goes wrong with a stream, at a place that is taken modulo what there is.
#[derive(Clone, Debug)]
enum Wrong {
    Lost(usize),
    Twice(usize),
    Swapped(usize, usize),
    Renamed(usize, String),
    Replaced(usize, usize, Value),
    Text(usize, String),
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        Just(json!(u64::MAX)),
        "[a-z\\\\\"{}\u{fffd}🎉]{0,8}".prop_map(Value::from),
        prop::sample::select(vec![
            "tool_calls",
            "function_call",
            "tool_use",
            "refusal",
            "message",
            "reasoning",
            "error",
            "{\"a\":"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-z_]{1,6}", inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn wrong() -> impl Strategy<Value = Wrong> {
    let at = any::<usize>;
    prop_oneof![
        at().prop_map(Wrong::Lost),
        at().prop_map(Wrong::Twice),
        (at(), at()).prop_map(|(a, b)| Wrong::Swapped(a, b)),
        (at(), "[a-z._]{0,20}").prop_map(|(at, name)| Wrong::Renamed(at, name)),
        (at(), at(), value()).prop_map(|(event, node, value)| Wrong::Replaced(event, node, value)),
        (at(), ".{0,40}").prop_map(|(at, text)| Wrong::Text(at, text)),
    ]
}

/// Returns all places in `value`, so that each is hit as often as any other.
fn nodes(value: &Value) -> usize {
    1 + match value {
        Value::Array(values) => values.iter().map(nodes).sum(),
        Value::Object(fields) => fields.values().map(nodes).sum(),
        _ => 0,
    }
}

fn replace(value: &mut Value, nth: usize, by: Value) {
    let mut open = vec![value];
    let mut left = nth;
    while let Some(value) = open.pop() {
        if left == 0 {
            *value = by;
            return;
        }
        left -= 1;
        match value {
            Value::Array(values) => open.extend(values),
            Value::Object(fields) => open.extend(fields.values_mut()),
            _ => {}
        }
    }
}

fn spoil(events: &mut Vec<Event>, wrong: Wrong) {
    let Some(count) = std::num::NonZeroUsize::new(events.len()) else { return };
    match wrong {
        Wrong::Lost(at) => drop(events.remove(at % count)),
        Wrong::Twice(at) => events.push(events[at % count].clone()),
        Wrong::Swapped(a, b) => events.swap(a % count, b % count),
        Wrong::Renamed(at, name) => events[at % count].name = name,
        Wrong::Text(at, text) => events[at % count].data = text,
        Wrong::Replaced(at, node, by) => {
            let data = &mut events[at % count].data;
            if let Ok(mut value) = serde_json::from_str::<Value>(data) {
                let node = node % nodes(&value);
                replace(&mut value, node, by);
                *data = value.to_string();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]
    #[test]
    fn a_spoilt_stream_is_a_reply_or_a_fault(
        stream in prop::sample::select(streams()),
        wrongs in prop::collection::vec(wrong(), 1..5),
    ) {
        let (wire, bytes) = stream;
        let mut parser = sse::Parser::default();
        let mut events = vec![];
        parser.push(bytes.as_bytes(), &mut events).unwrap();
        events.extend(parser.finish());
        wrongs.into_iter().for_each(|wrong| spoil(&mut events, wrong));
        let mut reading = wire::of(wire).unwrap().reading(3, &[]);
        let mut is_whole = false;
        for event in &events {
            match reading.take(event, &|_| ()) {
                Ok(Progress::Enough | Progress::Done) => is_whole = true,
                Ok(_) => {}
                Err(_) => return Ok(()),
            }
        }
        if is_whole && let Ok(reply) = reading.reply() {
            let ids: BTreeSet<&str> = reply.calls.iter().map(|call| call.id.as_str()).collect();
            prop_assert_eq!(ids.len(), reply.calls.len(), "{:?}", reply.calls);
            prop_assert!(reply.calls.iter().all(|call| !call.id.is_empty()));
        }
    }

    #[test]
    fn a_body_that_is_no_stream_is_a_reply_or_a_fault(body in value(), wire in 0..3_usize) {
        let wire = [Wire::Responses, Wire::Chat, Wire::Messages][wire];
        let mut reading = wire::of(wire).unwrap().reading(0, &[]);
        let whole = reading.whole(&body.to_string(), &|_| ());
        if matches!(whole, Ok(Progress::Done)) {
            let _ = reading.reply();
        }
    }
}
