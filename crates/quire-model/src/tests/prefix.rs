//! Providers cache a request by its beginning: what one prompt gives must be the beginning of what the next
//! one gives.

use super::*;
use crate::serialized_items;
use proptest::prelude::*;
use quire_core::message::{Item, Stop, Usage};

fn reply(wire: Wire) -> impl Strategy<Value = Reply> {
    let calls =
        prop::collection::vec((".{0,6}", "[a-z]{1,6}", prop_oneof![Just("{}".to_owned()), ".{0,12}"]), 0..3);
    (".{0,12}", calls, any::<bool>()).prop_map(move |(text, calls, foreign)| {
        let calls = calls.into_iter().map(|(id, tool, input)| quire_core::Call { id, tool, input }).collect();
        // An item with spaces and escapes that no writer of ours would choose.
        let item = Item::parse("{ \"x\" : \"\\u00e9\\/\" }".to_owned()).unwrap();
        let wire = if foreign { Wire::Tape } else { wire };
        Reply {
            wire,
            items: vec![item],
            text,
            calls,
            stop: Stop::Done,
            usage: Usage::default(),
            by: "test/tiny".to_owned(),
        }
    })
}

fn conversation(wire: Wire) -> impl Strategy<Value = Vec<PromptItem>> {
    let turn = (".{0,12}", reply(wire), ".{0,12}").prop_map(|(said, reply, outcome)| {
        let results = results(&reply, &outcome);
        [words(&said), PromptItem::Model(Arc::new(reply)), results]
    });
    prop::collection::vec(turn, 1..5).prop_map(|turns| turns.into_iter().flatten().collect())
}

proptest! {
    #[test]
    fn each_prompt_begins_with_the_one_before(
        (wire, items) in prop_oneof![Just(Wire::Responses), Just(Wire::Chat), Just(Wire::Messages), Just(Wire::Tape)]
            .prop_flat_map(|wire| (Just(wire), conversation(wire)))
    ) {
        let model = model(wire, "http://127.0.0.1:1");
        let mut before: Vec<String> = vec![];
        for end in 0..=items.len() {
            let now = serialized_items(&model, &prompt(items[..end].to_vec()));
            prop_assert_eq!(&now[..before.len()], &before[..]);
            prop_assert!(end == 0 || now.len() >= before.len());
            for item in &now {
                prop_assert!(serde_json::from_str::<Value>(item).is_ok(), "{}", item);
            }
            before = now;
        }
    }
}
