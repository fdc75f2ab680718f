//! Answers of any shape: whatever a server sends, reading it ends in a reply or a fault, and a reply can be
//! sent back.

use super::*;
use crate::sse::Event;
use crate::wire::{self, Ask, Quirks};
use proptest::prelude::*;

/// Words that mean something to some wire, as keys and as values.
const WORDS: &[&str] = &[
    "type",
    "index",
    "delta",
    "content",
    "text",
    "choices",
    "message",
    "tool_calls",
    "function",
    "name",
    "arguments",
    "id",
    "finish_reason",
    "length",
    "stop",
    "usage",
    "input_tokens",
    "prompt_tokens",
    "error",
    "code",
    "response",
    "status",
    "incomplete",
    "incomplete_details",
    "reason",
    "output",
    "item",
    "output_index",
    "function_call",
    "call_id",
    "reasoning",
    "reasoning_content",
    "reasoning_details",
    "refusal",
    "output_text",
    "summary",
    "thinking",
    "signature",
    "content_block",
    "tool_use",
    "input",
    "partial_json",
    "stop_reason",
    "max_tokens",
    "text_delta",
    "thinking_delta",
    "input_json_delta",
    "signature_delta",
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
    "response.output_item.done",
    "response.completed",
    "response.incomplete",
    "response.failed",
    "response.output_text.delta",
    "{}",
    "{\"a\":",
    "",
    "🎉",
];

fn value() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(WORDS);
    let leaf = prop_oneof![
        4 => word.clone().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => (0..3u8).prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            3 => prop::collection::btree_map(word.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Events that begin as those of some wire do, with anything in them.
fn event() -> impl Strategy<Value = Value> {
    let chat = value().prop_map(|delta| json!({ "choices": [{ "delta": delta, "finish_reason": null }] }));
    let calls = value().prop_map(|call| json!({ "choices": [{ "delta": { "tool_calls": [call] } }] }));
    let item = value().prop_map(|item| json!({ "type": "response.output_item.done", "item": item }));
    let ended = value().prop_map(|response| json!({ "type": "response.completed", "response": response }));
    let block = (value(), 0..3u8).prop_map(
        |(block, index)| json!({ "type": "content_block_start", "index": index, "content_block": block }),
    );
    let delta = (value(), 0..3u8)
        .prop_map(|(delta, index)| json!({ "type": "content_block_delta", "index": index, "delta": delta }));
    let usage = value().prop_map(|usage| json!({ "type": "message_delta", "delta": {}, "usage": usage }));
    prop_oneof![value(), chat, calls, item, ended, block, delta, usage]
}

proptest! {
    #[test]
    fn anything_ends_in_a_reply_or_a_fault(events in prop::collection::vec(event(), 0..12)) {
        for wire in [Wire::Responses, Wire::Chat, Wire::Messages] {
            let dialect = wire::of(wire).unwrap();
            let mut reading = dialect.reading(3, &[]);
            // A fault ends the reading; what came before it must still not be stumbled over.
            let _ = events.iter().try_for_each(|event| {
                reading.take(&Event { name: String::new(), data: event.to_string() }, &|_| ()).map(|_| ())
            });
            let _ = dialect.reading(3, &[]).whole(&events.first().unwrap_or(&Value::Null).to_string(), &|_| ());
            let Ok(reply) = reading.reply() else { continue };
            let reply = Arc::new(reply);
            let kept = serde_json::to_string(reply.as_ref()).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Reply>(&kept).unwrap(), reply.as_ref());
            let prompt = prompt(vec![words("Hello"), PromptItem::Model(reply.clone()), results(&reply, "file")]);
            let model = model(wire, "http://127.0.0.1:1");
            let ask = Ask { model: &model, prompt: &prompt, images: &HashMap::new() };
            let body = dialect.body(&ask, wire::items(dialect, &ask), &Quirks::default()).unwrap();
            prop_assert!(serde_json::from_slice::<Value>(&body).is_ok());
        }
    }
}
