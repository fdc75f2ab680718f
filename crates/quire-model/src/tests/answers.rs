//! What each wire's answers become, and what is sent back of them.

use super::server::Server;
use super::*;
use quire_core::message::{Image, Stop, Usage};
use quire_core::{Call, Item};
use std::ops::AsyncFnOnce;

/// Asks with a stream as the answer, and returns what came of it with the request's body.
async fn streamed(wire: Wire, prompt: &Prompt, body: &str) -> (Asked, Value) {
    let server = Server::start().await;
    let (client, model) = (client(), model(wire, &server.url()));
    let (asked, exchange) = tokio::join!(ask(&client, &model, prompt), server.stream(body));
    (asked, exchange.json())
}

fn call(id: &str, tool: &str, input: &str) -> Call {
    Call { id: id.to_owned(), tool: tool.to_owned(), input: input.to_owned() }
}

/// Reasoning, text and two calls, on each wire, as a server sends them.
fn rich(wire: Wire) -> String {
    match wire {
        Wire::Responses => {
            let parts = [
                r#"{"type":"response.created","response":{"id":"r1"}}"#,
                r#"{"type":"response.reasoning_summary_text.delta","delta":"Hm"}"#,
                r#"{"type":"response.output_item.done","output_index":0,"item":{"id":"rs_1", "type":"reasoning","summary":[],"encrypted_content":"gAAA\/+é"}}"#,
                r#"{"type":"response.output_text.delta","delta":"Grüße "}"#,
                r#"{"type":"response.output_text.delta","delta":"🎉"}"#,
                r#"{"type":"response.output_item.done","output_index":1,"item":{"type":"message","id":"m1","role":"assistant","content":[{"type":"output_text","text":"Grüße 🎉","annotations":[]}]}}"#,
                r#"{"type":"response.output_item.done","output_index":2,"item":{"type":"function_call","id":"f1","call_id":"c1","name":"shell","arguments":"{\"command\": \"ls\"}","status":"completed"}}"#,
                r#"{"type":"response.output_item.done","output_index":3,"item":{"type":"function_call","id":"f2","call_id":"c2","name":"shell","arguments":"","status":"completed"}}"#,
                r#"{"type":"response.unheard_of","x":1}"#,
                r#"{"type":"response.completed","response":{"id":"r1","status":"completed","output":[],"usage":{"input_tokens":100,"input_tokens_details":{"cached_tokens":60},"output_tokens":20,"output_tokens_details":{"reasoning_tokens":5}}}}"#,
            ];
            parts.map(|part| format!("event: ignored\ndata: {part}\n\n")).concat()
        }
        Wire::Chat => {
            let delta = |delta: Value| json!({ "choices": [{ "index": 0, "delta": delta }] });
            let piece = |index: u32, piece: &str| {
                delta(json!({ "tool_calls": [{ "index": index, "function": { "arguments": piece } }] }))
            };
            let begun = |index: u32, id: &str| {
                let function = json!({ "name": "shell", "arguments": "" });
                delta(
                    json!({ "tool_calls": [{ "index": index, "id": id, "type": "function", "function": function }] }),
                )
            };
            let events = [
                delta(json!({ "role": "assistant", "content": null })),
                delta(json!({ "reasoning_content": "Hm" })),
                delta(json!({ "content": "Grüße " })),
                delta(json!({ "content": "🎉" })),
                begun(0, "c1"),
                piece(0, "{\"command\":"),
                piece(0, " \"ls\"}"),
                begun(1, "c2"),
                json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "tool_calls" }] }),
                json!({ "choices": [], "usage": { "prompt_tokens": 100, "completion_tokens": 20, "prompt_tokens_details": { "cached_tokens": 60 } } }),
            ];
            sse(&events) + "data: [DONE]\n\n"
        }
        _ => {
            let start = |index: u32, block: Value| json!({ "type": "content_block_start", "index": index, "content_block": block });
            let delta = |index: u32, delta: Value| json!({ "type": "content_block_delta", "index": index, "delta": delta });
            let stop = |index: u32| json!({ "type": "content_block_stop", "index": index });
            sse(&[
                json!({ "type": "message_start", "message": { "usage": { "input_tokens": 30, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 10, "output_tokens": 1 } } }),
                json!({ "type": "ping" }),
                start(0, json!({ "type": "thinking", "thinking": "", "signature": "" })),
                delta(0, json!({ "type": "thinking_delta", "thinking": "Hm" })),
                delta(0, json!({ "type": "signature_delta", "signature": "Eq+/=" })),
                stop(0),
                start(1, json!({ "type": "redacted_thinking", "data": "Zm9v" })),
                stop(1),
                start(2, json!({ "type": "text", "text": "" })),
                delta(2, json!({ "type": "text_delta", "text": "Grüße " })),
                delta(2, json!({ "type": "text_delta", "text": "🎉" })),
                stop(2),
                start(3, json!({ "type": "tool_use", "id": "c1", "name": "shell", "input": {} })),
                delta(3, json!({ "type": "input_json_delta", "partial_json": "{\"command\":" })),
                delta(3, json!({ "type": "input_json_delta", "partial_json": " \"ls\"}" })),
                stop(3),
                start(4, json!({ "type": "tool_use", "id": "c2", "name": "shell", "input": {} })),
                delta(4, json!({ "type": "input_json_delta", "partial_json": "" })),
                stop(4),
                json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use" }, "usage": { "output_tokens": 20 } }),
                json!({ "type": "message_stop" }),
            ])
        }
    }
}

const WIRES: [Wire; 3] = [Wire::Responses, Wire::Chat, Wire::Messages];

fn check_rich(wire: Wire, asked: Asked) -> Reply {
    assert_eq!((asked.text().as_str(), asked.reasoning().as_str()), ("Grüße 🎉", "Hm"), "{wire:?}");
    let reply = asked.reply();
    assert_eq!(reply.wire, wire);
    assert_eq!(reply.text, "Grüße 🎉", "{wire:?}");
    assert_eq!(
        reply.calls,
        [call("c1", "shell", "{\"command\": \"ls\"}"), call("c2", "shell", "")],
        "{wire:?}"
    );
    assert_eq!(reply.stop, Stop::Done);
    let cache_write = if wire == Wire::Messages { 10 } else { 0 };
    assert_eq!(
        reply.usage,
        Usage { input: 100, cached: 60, cache_write, output: 20, estimated: false },
        "{wire:?}"
    );
    reply
}

#[tokio::test]
async fn reasoning_text_calls_and_usage_on_each_wire() {
    for wire in WIRES {
        let (asked, _) = streamed(wire, &prompt(vec![words("Hello")]), &rich(wire)).await;
        check_rich(wire, asked);
    }
}

#[tokio::test]
async fn requests_as_each_wire_wants_them() {
    let prompt = prompt(vec![words("Hello")]);
    let (_, body) = streamed(Wire::Responses, &prompt, &rich(Wire::Responses)).await;
    let schema = &prompt.tools[0].input;
    assert_eq!(
        body,
        json!({
            "model": "tiny", "stream": true, "store": false, "instructions": "Be brief.",
            "input": [{ "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "Hello" }] }],
            "tools": [{ "type": "function", "name": "shell", "description": "Runs a command.", "parameters": schema, "strict": false }],
            "parallel_tool_calls": true, "include": ["reasoning.encrypted_content"], "prompt_cache_key": "task-7",
            "reasoning": { "summary": "auto" }, "max_output_tokens": 16384,
        })
    );
    let (_, body) = streamed(Wire::Chat, &prompt, &rich(Wire::Chat)).await;
    assert_eq!(
        body,
        json!({
            "model": "tiny", "stream": true, "stream_options": { "include_usage": true },
            "messages": [{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "Hello" }],
            "tools": [{ "type": "function", "function": { "name": "shell", "description": "Runs a command.", "parameters": schema } }],
            "parallel_tool_calls": true, "prompt_cache_key": "task-7", "max_tokens": 16384,
        })
    );
    let (_, body) = streamed(Wire::Messages, &prompt, &rich(Wire::Messages)).await;
    let mark = json!({ "type": "ephemeral" });
    assert_eq!(
        body,
        json!({
            "model": "tiny", "stream": true, "max_tokens": 16384,
            "system": [{ "type": "text", "text": "Be brief.", "cache_control": mark }],
            "messages": [{ "role": "user", "content": [{ "type": "text", "text": "Hello", "cache_control": mark }] }],
            "tools": [{ "name": "shell", "description": "Runs a command.", "input_schema": schema, "cache_control": mark }],
        })
    );
}

#[tokio::test]
async fn keys_and_addresses() {
    let rows = [
        (Wire::Responses, "POST /v1/responses HTTP/1.1", "authorization: Bearer sk-very-secret-0123"),
        (Wire::Chat, "POST /v1/chat/completions HTTP/1.1", "authorization: Bearer sk-very-secret-0123"),
        (Wire::Messages, "POST /v1/messages HTTP/1.1", "x-api-key: sk-very-secret-0123"),
    ];
    for (wire, line, key) in rows {
        let server = Server::start().await;
        let (client, model, prompt) =
            (client(), model(wire, &(server.url() + "/")), prompt(vec![words("Hello")]));
        let rich = rich(wire);
        let (asked, exchange) = tokio::join!(ask(&client, &model, &prompt), server.stream(&rich));
        asked.reply();
        assert_eq!(exchange.head.lines().next(), Some(line));
        assert!(exchange.head.contains(key), "{}", exchange.head);
        assert_eq!(exchange.head.contains("anthropic-version: 2023-06-01"), wire == Wire::Messages);
    }
}

/// The next request of a conversation holds the reply's items, byte for byte, and the outcomes after them.
#[tokio::test]
async fn items_go_back_as_they_came() {
    for wire in WIRES {
        let (asked, _) = streamed(wire, &prompt(vec![words("Hello")]), &rich(wire)).await;
        let reply = Arc::new(asked.reply());
        let next = vec![words("Hello"), PromptItem::Model(reply.clone()), results(&reply, "file")];
        let server = Server::start().await;
        let (client, model, next) = (client(), model(wire, &server.url()), prompt(next));
        let rich = rich(wire);
        let (_, exchange) = tokio::join!(ask(&client, &model, &next), server.stream(&rich));
        let items: Vec<&str> = reply.items.iter().map(Item::get).collect();
        assert!(exchange.body.contains(&items.join(",")), "{wire:?} {}", exchange.body);
        let body = exchange.json();
        let ephemeral = json!({ "type": "ephemeral" });
        match wire {
            Wire::Responses => {
                assert_eq!(items.len(), 4);
                for item in items {
                    assert!(rich.contains(item), "{item}");
                }
                let outputs = &body["input"].as_array().unwrap()[5..];
                let output = |id| json!({ "type": "function_call_output", "call_id": id, "output": "file" });
                assert_eq!(outputs, [output("c1"), output("c2")]);
            }
            Wire::Chat => {
                let function = |arguments| json!({ "name": "shell", "arguments": arguments });
                assert_eq!(
                    body["messages"].as_array().unwrap()[2..],
                    [
                        json!({
                            "role": "assistant", "content": "Grüße 🎉", "reasoning_content": "Hm",
                            "tool_calls": [
                                { "id": "c1", "type": "function", "function": function("{\"command\": \"ls\"}") },
                                { "id": "c2", "type": "function", "function": function("{}") },
                            ],
                        }),
                        json!({ "role": "tool", "tool_call_id": "c1", "content": "file" }),
                        json!({ "role": "tool", "tool_call_id": "c2", "content": "file" }),
                    ]
                );
            }
            _ => {
                let text = json!([{ "type": "text", "text": "file" }]);
                assert_eq!(
                    body["messages"].as_array().unwrap()[..],
                    [
                        json!({ "role": "user", "content": [{ "type": "text", "text": "Hello", "cache_control": ephemeral }] }),
                        json!({ "role": "assistant", "content": [
                            { "type": "thinking", "thinking": "Hm", "signature": "Eq+/=" },
                            { "type": "redacted_thinking", "data": "Zm9v" },
                            { "type": "text", "text": "Grüße 🎉" },
                            { "type": "tool_use", "id": "c1", "name": "shell", "input": { "command": "ls" } },
                            { "type": "tool_use", "id": "c2", "name": "shell", "input": {} },
                        ] }),
                        json!({ "role": "user", "content": [
                            { "type": "tool_result", "tool_use_id": "c1", "is_error": false, "content": text },
                            { "type": "tool_result", "tool_use_id": "c2", "is_error": false, "content": text, "cache_control": ephemeral },
                        ] }),
                    ]
                );
            }
        }
    }
}

/// Chunks end at each byte of a stream in turn, then at all of them; on one connection, which must last.
#[tokio::test]
async fn chunks_may_end_anywhere() {
    /// The length of a chunk: shorter than most events, longer than most of their parts.
    const EVERY: usize = 61;
    for wire in WIRES {
        for line_end in ["\n", "\r\n", "\r"] {
            let body = format!(": a comment\n\n{}", rich(wire)).replace('\n', line_end);
            let body = body.trim_end().as_bytes();
            let server = Server::start().await;
            let (client, model, prompt) =
                (client(), model(wire, &server.url()), prompt(vec![words("Hello")]));
            let asking = async {
                for _ in 0..=EVERY {
                    check_rich(wire, ask(&client, &model, &prompt).await);
                }
            };
            let answering = async {
                let mut exchange = server.next().await;
                for first in 1..=EVERY {
                    exchange.begin().await;
                    exchange.chunk(&body[..first]).await;
                    for part in body[first..].chunks(EVERY) {
                        exchange.chunk(part).await;
                    }
                    exchange.end().await;
                    exchange = exchange.next().await.expect("the same connection");
                }
                exchange.begin().await;
                for byte in body.chunks(1) {
                    exchange.chunk(byte).await;
                }
                exchange.end().await;
            };
            tokio::join!(asking, answering);
        }
    }
}

/// One row: what the server streams, and what must come of it.
async fn check_chat(events: &[Value], check: impl AsyncFnOnce(Asked)) {
    let (asked, _) = streamed(Wire::Chat, &prompt(vec![words("Hello")]), &sse(events)).await;
    check(asked).await;
}

fn delta(delta: Value) -> Value {
    json!({ "choices": [{ "delta": delta }] })
}

fn finish(reason: &str) -> Value {
    json!({ "choices": [{ "delta": {}, "finish_reason": reason }] })
}

#[tokio::test]
async fn chat_calls_in_every_manner() {
    let whole = |index: Option<u32>, id: Option<&str>, arguments: Value| {
        delta(
            json!({ "tool_calls": [{ "index": index, "id": id, "function": { "name": "shell", "arguments": arguments } }] }),
        )
    };
    let rows: &[(&str, Vec<Value>, Vec<Call>)] = &[
        (
            "index always 0, ids differ",
            vec![whole(Some(0), Some("a"), json!("{}")), whole(Some(0), Some("b"), json!("{\"x\":1}"))],
            vec![call("a", "shell", "{}"), call("b", "shell", "{\"x\":1}")],
        ),
        (
            "neither index nor id",
            vec![whole(None, None, json!("{}")), whole(None, None, json!("{}"))],
            vec![call("q00000000", "shell", "{}"), call("q00000001", "shell", "{}")],
        ),
        (
            "the same id twice",
            vec![whole(Some(0), Some("a"), json!("{}")), whole(Some(1), Some("a"), json!("{}"))],
            vec![call("a", "shell", "{}"), call("q00000001", "shell", "{}")],
        ),
        (
            "arguments as an object",
            vec![whole(Some(0), Some("a"), json!({ "command": "ls" }))],
            vec![call("a", "shell", "{\"command\":\"ls\"}")],
        ),
        (
            "arguments that are no JSON",
            vec![whole(Some(0), Some("a"), json!("{oops"))],
            vec![call("a", "shell", "{oops")],
        ),
        (
            "the id again in each piece",
            vec![
                whole(Some(0), Some("a"), json!("{\"x\"")),
                delta(
                    json!({ "tool_calls": [{ "index": 0, "id": "a", "function": { "arguments": ":1}" } }] }),
                ),
            ],
            vec![call("a", "shell", "{\"x\":1}")],
        ),
    ];
    for (what, events, calls) in rows {
        let mut events = events.clone();
        events.push(finish("stop"));
        check_chat(&events, async |asked| assert_eq!(asked.reply().calls, *calls, "{what}")).await;
    }
}

#[tokio::test]
async fn chat_oddities() {
    let say = |words: &str| delta(json!({ "content": words }));
    check_chat(&[say("a"), finish("length")], async |asked| {
        let reply = asked.reply();
        assert_eq!((reply.stop, reply.usage.estimated), (Stop::Length, true));
        assert!(reply.usage.input > 50 && reply.usage.output > 0);
    })
    .await;
    check_chat(&[say("a"), finish("content_filter")], async |asked| {
        assert_eq!(asked.reply().stop, Stop::Refused("content_filter".to_owned()));
    })
    .await;
    let parts = json!([{ "type": "thinking", "thinking": [{ "type": "text", "text": "Hm" }] }, { "type": "text", "text": "a" }]);
    check_chat(&[delta(json!({ "content": parts })), finish("stop")], async |asked| {
        assert_eq!(asked.reasoning(), "Hm");
        assert_eq!(asked.reply().text, "a");
    })
    .await;
    let thought = delta(json!({ "reasoning": "Hm", "reasoning_content": "Hm" }));
    check_chat(&[thought, say("a"), finish("stop")], async |asked| {
        assert_eq!(asked.reasoning(), "Hm");
        assert_eq!(asked.reply().items[0].get(), r#"{"content":"a","role":"assistant"}"#);
    })
    .await;
    let detail = |piece: &str| {
        let detail = json!({ "type": "reasoning.text", "index": 0, "text": piece, "signature": null });
        delta(json!({ "reasoning_details": [detail] }))
    };
    check_chat(&[detail("H"), detail("m"), say("a"), finish("stop")], async |asked| {
        let item: Value = serde_json::from_str(asked.reply().items[0].get()).unwrap();
        assert_eq!(item["reasoning_details"][0]["text"], "Hm");
        assert_eq!(item["reasoning_details"].as_array().unwrap().len(), 1);
    })
    .await;
    let mut signed = json!({ "index": 0, "id": "a", "function": { "name": "shell", "arguments": "{}" } });
    signed["extra_content"] = json!({ "google": { "thought_signature": "x" } });
    check_chat(&[delta(json!({ "tool_calls": [signed] })), finish("stop")], async |asked| {
        let item: Value = serde_json::from_str(asked.reply().items[0].get()).unwrap();
        assert_eq!(item["tool_calls"][0]["extra_content"]["google"]["thought_signature"], "x");
    })
    .await;
    check_chat(&[json!("nonsense"), json!({ "choices": {} }), say("a"), finish("stop")], async |asked| {
        assert_eq!(asked.reply().text, "a");
    })
    .await;
}

/// A call that the output limit cut off is in no reply, and what is sent back does not mention it.
#[tokio::test]
async fn calls_that_were_cut_off_are_dropped() {
    let done = |index: u32, item: Value| json!({ "type": "response.output_item.done", "output_index": index, "item": item });
    let responses = sse(&[
        done(0, json!({ "type": "function_call", "call_id": "a", "name": "shell", "arguments": "{}" })),
        done(1, json!({ "type": "reasoning", "id": "rs" })),
        done(2, json!({ "type": "function_call", "call_id": "b", "name": "shell", "arguments": "{\"com" })),
        json!({ "type": "response.incomplete", "response": { "status": "incomplete", "incomplete_details": { "reason": "max_output_tokens" } } }),
    ]);
    let begun = |index: u32, id: &str, arguments: &str| {
        delta(
            json!({ "tool_calls": [{ "index": index, "id": id, "function": { "name": "shell", "arguments": arguments } }] }),
        )
    };
    let chat = sse(&[begun(0, "a", "{}"), begun(1, "b", "{\"com"), finish("length")]);
    let start = |index: u32, id: &str| {
        let block = json!({ "type": "tool_use", "id": id, "name": "shell", "input": {} });
        json!({ "type": "content_block_start", "index": index, "content_block": block })
    };
    let piece = json!({ "type": "content_block_delta", "index": 1, "delta": { "type": "input_json_delta", "partial_json": "{\"com" } });
    let messages = sse(&[
        start(0, "a"),
        json!({ "type": "content_block_stop", "index": 0 }),
        start(1, "b"),
        piece,
        json!({ "type": "message_delta", "delta": { "stop_reason": "max_tokens" } }),
        json!({ "type": "message_stop" }),
    ]);
    for (wire, body) in [(Wire::Responses, responses), (Wire::Chat, chat), (Wire::Messages, messages)] {
        let (asked, _) = streamed(wire, &prompt(vec![words("Hello")]), &body).await;
        let reply = asked.reply();
        assert_eq!(reply.stop, Stop::Length, "{wire:?}");
        assert_eq!(reply.calls.iter().map(|call| call.id.as_str()).collect::<Vec<_>>(), ["a"], "{wire:?}");
        let items: String = reply.items.iter().map(Item::get).collect();
        assert!(!items.contains("com") && !items.contains("\"rs\""), "{wire:?} {items}");
    }
}

#[tokio::test]
async fn refusals() {
    let content = json!([{ "type": "refusal", "refusal": "No." }]);
    let item = json!({ "type": "message", "role": "assistant", "content": content });
    let responses = sse(&[
        json!({ "type": "response.output_item.done", "item": item }),
        json!({ "type": "response.completed", "response": { "status": "completed" } }),
    ]);
    let chat = sse(&[delta(json!({ "refusal": "No." })), finish("stop")]);
    let messages = sse(&[
        json!({ "type": "message_delta", "delta": { "stop_reason": "refusal" } }),
        json!({ "type": "message_stop" }),
    ]);
    for (wire, body, why) in [
        (Wire::Responses, responses, "No."),
        (Wire::Chat, chat, "No."),
        (Wire::Messages, messages, "refusal"),
    ] {
        let (asked, _) = streamed(wire, &prompt(vec![words("Hello")]), &body).await;
        assert_eq!(asked.reply().stop, Stop::Refused(why.to_owned()), "{wire:?}");
    }
}

/// A few servers answer a request for a stream with one document.
#[tokio::test]
async fn an_answer_that_is_whole_json_is_taken() {
    let rows = [
        (
            Wire::Responses,
            json!({ "object": "response", "status": "completed", "output": [{ "type": "message", "content": [{ "type": "output_text", "text": "hi" }] }] }),
        ),
        (
            Wire::Chat,
            json!({ "choices": [{ "message": { "role": "assistant", "content": "hi" }, "finish_reason": "stop" }] }),
        ),
        (
            Wire::Messages,
            json!({ "type": "message", "content": [{ "type": "text", "text": "hi" }], "stop_reason": "end_turn" }),
        ),
    ];
    for (wire, body) in rows {
        let (asked, _) = streamed(wire, &prompt(vec![words("Hello")]), &body.to_string()).await;
        assert_eq!(asked.text(), "hi", "{wire:?}");
        assert_eq!(asked.reply().text, "hi", "{wire:?}");
    }
}

#[tokio::test]
async fn pictures_are_shown_to_models_that_see() {
    let picture = Image { media_type: "image/png".to_owned(), blob: Hash::of(b"png") };
    let mut outcome = Outcome::said("A picture");
    outcome.images.push(picture);
    let result = ToolResult { id: "c1".to_owned(), tool: "read".to_owned(), outcome: Arc::new(outcome) };
    let prompt = prompt(vec![words("Hello"), PromptItem::Results(vec![result])]);
    let images = HashMap::from([(Hash::of(b"png"), b"png".to_vec())]);
    for (wire, shown) in [
        (Wire::Responses, r#""image_url":"data:image/png;base64,cG5n""#),
        (Wire::Chat, r#""image_url":{"url":"data:image/png;base64,cG5n"}"#),
        (Wire::Messages, r#""source":{"data":"cG5n","media_type":"image/png","type":"base64"}"#),
    ] {
        for sees in [true, false] {
            let server = Server::start().await;
            let (client, mut model) = (client(), model(wire, &server.url()));
            model.images = sees;
            let rich = rich(wire);
            let (asked, exchange) =
                tokio::join!(ask_with(&client, &model, &prompt, &images), server.stream(&rich));
            asked.reply();
            assert_eq!(exchange.body.contains(shown), sees, "{wire:?} {}", exchange.body);
        }
    }
}

/// A task that changes its model keeps what was said and called, in the new wire's form; thoughts stay with
/// who had them, and ids are such as every server takes.
#[tokio::test]
async fn replies_of_another_model_are_translated() {
    for from in WIRES {
        let (asked, _) = streamed(from, &prompt(vec![words("Hello")]), &rich(from)).await;
        let mut reply = asked.reply();
        assert_eq!(reply.by, "test/tiny");
        reply.by = "other/tiny".to_owned();
        let reply = Arc::new(reply);
        for to in WIRES {
            let next =
                prompt(vec![words("Hello"), PromptItem::Model(reply.clone()), results(&reply, "file")]);
            let (_, body) = streamed(to, &next, &rich(to)).await;
            let body = body.to_string();
            assert!(body.contains("Grüße 🎉") && body.contains("ls"), "{from:?} {to:?} {body}");
            // Once in the call, once in its outcome.
            assert_eq!(body.matches("q00000000").count(), 2, "{from:?} {to:?} {body}");
            for theirs in ["Hm", "gAAA", "\"c1\""] {
                assert!(!body.contains(theirs), "{from:?} {to:?} {theirs} {body}");
            }
        }
    }
}

/// What the token count needs comes after the end of some replies, and not at all from others that stay
/// connected.
#[tokio::test]
async fn a_reply_that_is_whole_does_not_wait_for_a_server_that_hangs() {
    let server = Server::start().await;
    let client = Client::with(Patience { linger: Duration::from_millis(20), ..patience() });
    let (model, prompt) = (model(Wire::Chat, &server.url()), prompt(vec![words("Hello")]));
    let answering = async {
        let mut exchange = server.next().await;
        exchange.begin().await;
        exchange.chunk(sse(&[delta(json!({ "content": "a" })), finish("stop")]).as_bytes()).await;
        exchange.closed().await;
    };
    let (asked, ()) = tokio::join!(ask(&client, &model, &prompt), answering);
    assert_eq!(asked.reply().text, "a");
}
