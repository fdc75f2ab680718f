//! What a server says on each wire, piece by piece, so that a fault can be put between any two of them.

use quire_core::charter::Wire;
use serde_json::{Value, json};

/// A wire, as its server writes it.
#[derive(Clone, Copy)]
pub struct Speech(pub Wire);

/// Why an answer ends.
#[derive(Clone, Copy, PartialEq)]
pub enum End {
    Done,
    /// At the limit of output.
    Length,
    /// The provider's filter.
    Filter,
}

/// What every whole answer of these tests says.
pub const SAID: &str = "Grüße 🎉";

impl Speech {
    /// Returns one event of a stream.
    pub fn event(self, event: &Value) -> String {
        match event["type"].as_str().filter(|_| self.0 != Wire::Chat) {
            Some(name) => format!("event: {name}\ndata: {event}\n\n"),
            None => format!("data: {event}\n\n"),
        }
    }

    fn events(self, events: &[Value]) -> String {
        events.iter().map(|event| self.event(event)).collect()
    }

    pub fn start(self) -> String {
        let usage = json!({ "input_tokens": 40, "output_tokens": 1 });
        self.event(&match self.0 {
            Wire::Responses => json!({ "type": "response.created", "response": { "id": "r" } }),
            Wire::Messages => {
                json!({ "type": "message_start", "message": { "id": "m", "role": "assistant", "content": [], "usage": usage } })
            }
            _ => delta(json!({ "role": "assistant", "content": "" })),
        })
    }

    /// Returns the events of a whole text.
    pub fn text(self, text: &str) -> String {
        match self.0 {
            Wire::Responses => self.events(&[
                json!({ "type": "response.output_text.delta", "output_index": 0, "delta": text }),
                json!({ "type": "response.output_item.done", "output_index": 0, "item": message(text) }),
            ]),
            Wire::Messages => self.events(&[
                json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
                json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": text } }),
                json!({ "type": "content_block_stop", "index": 0 }),
            ]),
            _ => self.event(&delta(json!({ "content": text }))),
        }
    }

    /// Returns the events of a call. `place` counts from 1, since a text comes before it.
    pub fn call(self, place: u64, id: &str, name: &str, input: &str) -> String {
        let closed = match self.0 {
            Wire::Responses => self.event(
                &json!({ "type": "response.output_item.done", "output_index": place, "item": call_item(id, name, input, "completed") }),
            ),
            Wire::Messages => self.event(&json!({ "type": "content_block_stop", "index": place })),
            _ => String::new(),
        };
        self.call_begun(place, id, name, input) + &closed
    }

    /// Returns the events of a call whose end has not come.
    pub fn call_begun(self, place: u64, id: &str, name: &str, input: &str) -> String {
        match self.0 {
            Wire::Responses => self.events(&[
                json!({ "type": "response.output_item.added", "output_index": place, "item": call_item(id, name, "", "in_progress") }),
                json!({ "type": "response.function_call_arguments.delta", "output_index": place, "delta": input }),
            ]),
            Wire::Messages => self.events(&[
                json!({ "type": "content_block_start", "index": place, "content_block": { "type": "tool_use", "id": id, "name": name, "input": {} } }),
                json!({ "type": "content_block_delta", "index": place, "delta": { "type": "input_json_delta", "partial_json": input } }),
            ]),
            _ => {
                let call = |function: Value| json!({ "tool_calls": [{ "index": place - 1, "id": id, "type": "function", "function": function }] });
                self.event(&delta(call(json!({ "name": name, "arguments": input }))))
            }
        }
    }

    /// Returns the call as a server leaves it that was cut off while it wrote.
    pub fn call_cut(self, place: u64, id: &str, name: &str, input: &str) -> String {
        let begun = self.call_begun(place, id, name, input);
        let item = call_item(id, name, input, "incomplete");
        match self.0 {
            Wire::Responses => {
                begun
                    + &self.event(
                        &json!({ "type": "response.output_item.done", "output_index": place, "item": item }),
                    )
            }
            _ => begun,
        }
    }

    /// Returns the events of a text and a call, where each 🎉 comes in two pieces, half a character each.
    pub fn halved(self) -> String {
        let begun = |input: &str| self.call_begun(1, "c1", "shell", input);
        let (input, rest) = ("{\"command\":\"echo @1", "@2\"}");
        let events = match self.0 {
            Wire::Chat => {
                let text = self
                    .events(&[delta(json!({ "content": "Grüße @1" })), delta(json!({ "content": "@2" }))]);
                let rest = json!({ "tool_calls": [{ "index": 0, "function": { "arguments": rest } }] });
                text + &begun(input) + &self.event(&delta(rest))
            }
            Wire::Messages => {
                let piece = |text: &str| json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": text } });
                let text = [
                    json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
                    piece("Grüße @1"),
                    piece("@2"),
                    json!({ "type": "content_block_stop", "index": 0 }),
                ];
                let rest = json!({ "type": "content_block_delta", "index": 1, "delta": { "type": "input_json_delta", "partial_json": rest } });
                self.events(&text)
                    + &begun(input)
                    + &self.events(&[rest, json!({ "type": "content_block_stop", "index": 1 })])
            }
            // Whole items follow the pieces.
            _ => {
                let piece = |text: &str| json!({ "type": "response.output_text.delta", "output_index": 0, "delta": text });
                let done =
                    json!({ "type": "response.output_item.done", "output_index": 0, "item": message(SAID) });
                let call = self.call(1, "c1", "shell", "{\"command\":\"echo 🎉\"}");
                self.events(&[piece("Grüße @1"), piece("@2"), done]) + &call
            }
        };
        events.replace("@1", "\\ud83c").replace("@2", "\\udf89")
    }

    pub fn end(self, why: End) -> String {
        self.end_with(why, &self.usage(json!(42), json!(7)))
    }

    /// Returns the end of an answer with this usage.
    pub fn end_with(self, why: End, usage: &Value) -> String {
        match (self.0, why) {
            (Wire::Responses, End::Done) => {
                self.event(&json!({ "type": "response.completed", "response": { "status": "completed", "output": [], "usage": usage } }))
            }
            (Wire::Responses, _) => {
                let reason = if why == End::Length { "max_output_tokens" } else { "content_filter" };
                let response = json!({ "status": "incomplete", "incomplete_details": { "reason": reason }, "output": [], "usage": usage });
                self.event(&json!({ "type": "response.incomplete", "response": response }))
            }
            (Wire::Messages, _) => {
                let reason = [(End::Length, "max_tokens"), (End::Filter, "refusal")];
                let reason = reason.iter().find(|(end, _)| *end == why).map_or("end_turn", |(_, reason)| reason);
                self.message_end(reason, usage)
            }
            _ => {
                let reason = [(End::Length, "length"), (End::Filter, "content_filter")];
                let reason = reason.iter().find(|(end, _)| *end == why).map_or("stop", |(_, reason)| reason);
                let end = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] });
                self.events(&[end, json!({ "choices": [], "usage": usage })]) + "data: [DONE]\n\n"
            }
        }
    }

    /// Returns the end of an answer on the wire `messages`.
    pub fn message_end(self, reason: &str, usage: &Value) -> String {
        let delta = json!({ "type": "message_delta", "delta": { "stop_reason": reason }, "usage": usage });
        self.events(&[delta, json!({ "type": "message_stop" })])
    }

    /// Returns what a server says of tokens, by the wire's names.
    pub fn usage(self, input: Value, output: Value) -> Value {
        match self.0 {
            Wire::Chat => json!({ "prompt_tokens": input, "completion_tokens": output }),
            _ => json!({ "input_tokens": input, "output_tokens": output }),
        }
    }

    /// Returns a whole answer with one text.
    pub fn whole(self) -> String {
        self.start() + &self.text(SAID) + &self.end(End::Done)
    }

    /// Returns an error within a stream that began well.
    pub fn error(self, code: &str, message: &str) -> String {
        let error = json!({ "type": code, "code": code, "message": message });
        self.event(&match self.0 {
            Wire::Responses => {
                json!({ "type": "response.failed", "response": { "status": "failed", "error": error } })
            }
            Wire::Messages => json!({ "type": "error", "error": error }),
            _ => json!({ "error": error }),
        })
    }
}

fn delta(delta: Value) -> Value {
    json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] })
}

pub fn message(text: &str) -> Value {
    json!({ "id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [{ "type": "output_text", "text": text, "annotations": [] }] })
}

fn call_item(id: &str, name: &str, input: &str, status: &str) -> Value {
    json!({ "id": format!("fc_{id}"), "type": "function_call", "call_id": id, "name": name, "arguments": input, "status": status })
}
