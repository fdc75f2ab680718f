//! Anthropic's Messages API. The answer comes as content blocks; one `assistant` message is assembled from
//! them once and sent back unchanged: thinking with its signature, and redacted thinking, must stand before
//! the calls they led to.
//!
//! Cache marks are no part of the items: at most four are allowed, so they move on with each request, while
//! the items stay. They stand on the tools, on the system prompt, and on the last of the person's side of
//! this request and of the one before, whose prefix is in the cache already.

use crate::Glimpse;
use crate::fault::Trouble;
use crate::sse::Event;
use crate::wire::{
    Ask, Dialect, Progress, Quirks, Raw, Reading, Show, count, joined, name_apart, object, parse, raw, text,
};
use quire_core::ToolSpec;
use quire_core::charter::Wire;
use quire_core::message::{Call, FaultKind, Image, Item, Reply, Stop, ToolResult, Usage};
use reqwest::header::{HeaderMap, HeaderValue};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

pub(crate) struct Messages;

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u64,
    stream: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<Value>,
    messages: Vec<Raw>,
}

/// A tool's outcome: most of what a long conversation is made of, and so written without a detour.
#[derive(Serialize)]
struct Returned<'a> {
    content: Vec<Raw>,
    is_error: bool,
    tool_use_id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
}

impl Dialect for Messages {
    fn path(&self) -> &'static str {
        "messages"
    }

    /// Without it the list ends after 20; the limit is the API's.
    fn models_query(&self) -> Option<&'static str> {
        Some("limit=1000")
    }

    fn sign(&self, headers: &mut HeaderMap, key: Option<HeaderValue>) {
        headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
        if let Some(key) = key {
            headers.insert("x-api-key", key);
        }
    }

    fn wire(&self) -> Wire {
        Wire::Messages
    }

    fn words(&self, text: &str) -> Raw {
        user(&[text_block(text)])
    }

    fn pictures(&self, text: &str, pictures: &[(&Image, String)]) -> Raw {
        let parts = pictures.iter().map(|(image, base64)| part(image, base64));
        user(&std::iter::once(text_block(text)).chain(parts).collect::<Vec<_>>())
    }

    fn results(&self, ask: &Ask, results: &[ToolResult]) -> Vec<Raw> {
        let block = |result: &ToolResult| {
            // An empty text is refused; an empty list of content is not.
            let said = Some(result.outcome.text.as_str()).filter(|text| !text.trim().is_empty());
            let pictures = ask.pictures(&result.outcome.images);
            let pictures = pictures.iter().map(|(image, base64)| part(image, base64));
            raw(&Returned {
                content: said.map(text_block).into_iter().chain(pictures).collect(),
                is_error: !result.outcome.ok,
                tool_use_id: &plain_id(&result.id),
                kind: "tool_result",
            })
        };
        if results.is_empty() { vec![] } else { vec![user(&results.iter().map(block).collect::<Vec<_>>())] }
    }

    fn translated(&self, reply: &Reply) -> Vec<Raw> {
        let mut blocks = Vec::new();
        if !reply.text.trim().is_empty() {
            blocks.push(raw(&json!({ "type": "text", "text": reply.text })));
        }
        blocks.extend(reply.calls.iter().map(tool_use));
        assistant(&blocks).into_iter().collect()
    }

    fn optional(&self) -> &'static [&'static str] {
        &["cache_control", "max_tokens"]
    }

    fn body(&self, ask: &Ask, items: Vec<Raw>, quirks: &Quirks) -> Result<Vec<u8>, serde_json::Error> {
        let marks = !quirks.without.contains("cache_control");
        let mark = |block: &mut Value| {
            if marks {
                block["cache_control"] = json!({ "type": "ephemeral" });
            }
        };
        let tool = |tool: &ToolSpec| json!({ "name": tool.name, "description": tool.description, "input_schema": tool.input });
        let mut tools: Vec<Value> = ask.prompt.tools.iter().map(tool).collect();
        tools.last_mut().map(mark);
        let system = (!ask.prompt.system.trim().is_empty()).then(|| {
            let mut block = json!({ "type": "text", "text": ask.prompt.system.as_ref() });
            mark(&mut block);
            json!([block])
        });
        serde_json::to_vec(&Body {
            model: &ask.model.name,
            max_tokens: quirks.output_max(ask.model),
            stream: true,
            tools,
            system,
            messages: if marks { marked(items) } else { items },
        })
    }

    fn reading(&self, nth: usize, _: &[ToolSpec]) -> Box<dyn Reading> {
        Box::new(Answer { nth, ..Answer::default() })
    }
}

const USER: &str = r#"{"role":"user","content":["#;
const USER_END: &str = "}]}";

/// Returns a user's message. Written by hand so that its last bytes are known, where a mark may have to go.
fn user(content: &[Raw]) -> Raw {
    let blocks: Vec<&str> = content.iter().map(|block| block.get()).collect();
    let message = format!("{USER}{}]}}", blocks.join(","));
    RawValue::from_string(message).unwrap_or_else(|_| raw(&json!({ "role": "user", "content": content })))
}

fn text_block(text: &str) -> Raw {
    #[derive(Serialize)]
    struct Text<'a> {
        text: &'a str,
        #[serde(rename = "type")]
        kind: &'static str,
    }
    raw(&Text { text, kind: "text" })
}

fn part(image: &Image, base64: &str) -> Raw {
    let source = json!({ "type": "base64", "media_type": image.media_type, "data": base64 });
    raw(&json!({ "type": "image", "source": source }))
}

/// Returns an assistant's message of `blocks`, or `None` where there are none: the API refuses an empty one.
fn assistant(blocks: &[Raw]) -> Option<Raw> {
    #[derive(Serialize)]
    struct Message<'a> {
        role: &'static str,
        content: &'a [Raw],
    }
    (!blocks.is_empty()).then(|| raw(&Message { role: "assistant", content: blocks }))
}

fn tool_use(call: &Call) -> Raw {
    #[derive(Serialize)]
    struct Block<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        id: String,
        name: &'a str,
        input: Raw,
    }
    raw(&Block { kind: "tool_use", id: plain_id(&call.id), name: &call.tool, input: object(&call.input) })
}

/// Returns `id` with only the characters that this API takes in one; its own ids stay as they are.
fn plain_id(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' }).collect()
}

/// Returns the items with a cache mark on the last user's message, and on the last one that stood in the
/// request before.
fn marked(mut items: Vec<Raw>) -> Vec<Raw> {
    let is_user = |item: &Raw| item.get().starts_with(USER);
    let last = items.iter().rposition(is_user);
    let answered = items.iter().rposition(|item| !is_user(item)).unwrap_or(0);
    let before = items[..answered].iter().rposition(is_user);
    for place in [last, before.filter(|_| before != last)].into_iter().flatten() {
        if let Some(head) = items[place].get().strip_suffix(USER_END) {
            let text = format!(r#"{head},"cache_control":{{"type":"ephemeral"}}{USER_END}"#);
            if let Ok(with_mark) = RawValue::from_string(text) {
                items[place] = with_mark;
            }
        }
    }
    items
}

#[derive(Default)]
struct Answer {
    nth: usize,
    blocks: Vec<Block>,
    stop: String,
    usage: Value,
}

/// A content block as far as it has come.
struct Block {
    index: u64,
    value: Value,
    /// The pieces of a call's input; absent where the block came with all of it.
    input: String,
    is_closed: bool,
}

impl Reading for Answer {
    fn take(&mut self, event: &Event, show: Show) -> Result<Progress, Trouble> {
        let Some(data) = parse(&event.data) else { return Ok(Progress::Unreadable) };
        let kind = data.get("type").and_then(Value::as_str).unwrap_or(&event.name);
        let index = data.get("index").and_then(Value::as_u64).unwrap_or(0);
        match kind {
            "message_start" => self.add_usage(data.get("message").and_then(|message| message.get("usage"))),
            "content_block_start" => {
                let value = data.get("content_block").cloned().unwrap_or_default();
                show_block(&value, show);
                self.blocks.push(Block { index, value, input: String::new(), is_closed: false });
            }
            "content_block_delta" => {
                if let Some(delta) = data.get("delta") {
                    self.add(index, delta, show);
                }
            }
            "content_block_stop" => {
                if let Some(block) = self.block(index) {
                    block.is_closed = true;
                }
            }
            "message_delta" => {
                self.add_usage(data.get("usage"));
                let reason = data.get("delta").map(|delta| text(delta, "stop_reason")).unwrap_or_default();
                if !reason.is_empty() {
                    self.stop = reason.to_owned();
                    return Ok(Progress::Enough);
                }
            }
            "message_stop" => return Ok(Progress::Done),
            "error" => return Err(Trouble::of_event(&data)),
            _ if kind.is_empty() && data.get("error").is_some_and(|e| !e.is_null()) => {
                return Err(Trouble::of_event(&data));
            }
            _ => {}
        }
        Ok(if self.stop.is_empty() { Progress::More } else { Progress::Enough })
    }

    fn whole(&mut self, body: &str, show: Show) -> Result<Progress, Trouble> {
        let Ok(message) = serde_json::from_str::<Value>(body) else { return Ok(Progress::Unreadable) };
        if text(&message, "type") == "error" || message.get("error").is_some_and(|e| !e.is_null()) {
            return Err(Trouble::of_event(&message));
        }
        let Some(content) = message.get("content").and_then(Value::as_array) else {
            return Ok(Progress::More);
        };
        for (index, value) in (0..).zip(content) {
            show_block(value, show);
            self.blocks.push(Block { index, value: value.clone(), input: String::new(), is_closed: true });
        }
        self.stop = text(&message, "stop_reason").to_owned();
        self.add_usage(message.get("usage"));
        Ok(Progress::Done)
    }

    fn reply(self: Box<Self>) -> Result<Reply, Trouble> {
        let Answer { nth, blocks, stop, usage } = *self;
        let stop = match stop.as_str() {
            // A pause is no end: the model goes on from there when it is asked again.
            "max_tokens" | "pause_turn" => Stop::Length,
            "model_context_window_exceeded" => {
                return Err(Trouble::new(
                    FaultKind::TooLong,
                    "the model stopped because its context is full",
                ));
            }
            "refusal" => Stop::Refused("refusal".to_owned()),
            _ => Stop::Done,
        };
        // What was not closed is not complete. Where a server closes nothing, its end is taken for the close.
        let closes = blocks.iter().any(|block| block.is_closed);
        let mut said = String::new();
        let mut calls = Vec::new();
        let mut kept = Vec::new();
        for mut block in blocks {
            block.input = joined(block.input);
            for key in ["text", "thinking"] {
                let whole = block.value.get_mut(key).filter(|whole| whole.is_string());
                whole.into_iter().for_each(|whole| {
                    *whole = Value::String(joined(whole.as_str().unwrap_or_default().to_owned()))
                });
            }
            let is_cut = stop != Stop::Done && (closes && !block.is_closed);
            match text(&block.value, "type") {
                "text" => {
                    let words = text(&block.value, "text");
                    said.push_str(words);
                    if !words.trim().is_empty() {
                        kept.push(Kept::Block(raw(&block.value)));
                    }
                }
                "tool_use" => {
                    let input = match block.value.get("input") {
                        Some(Value::Object(whole)) if block.input.is_empty() && !whole.is_empty() => {
                            Value::Object(whole.clone()).to_string()
                        }
                        _ => block.input,
                    };
                    let is_broken = !input.is_empty() && serde_json::from_str::<&RawValue>(&input).is_err();
                    if is_cut || stop != Stop::Done && is_broken {
                        continue;
                    }
                    kept.push(Kept::Call(calls.len()));
                    calls.push(Call {
                        id: text(&block.value, "id").to_owned(),
                        tool: text(&block.value, "name").to_owned(),
                        input,
                    });
                }
                // Without its signature a thought cannot be sent back.
                "thinking" if is_cut => {}
                "thinking" | "redacted_thinking" => kept.push(Kept::Thought(raw(&block.value))),
                _ => kept.push(Kept::Block(raw(&block.value))),
            }
        }
        name_apart(&mut calls, nth);
        // Thoughts that led to nothing make no message.
        let has_substance = kept.iter().any(|kept| !matches!(kept, Kept::Thought(_)));
        let blocks: Vec<Raw> = kept
            .into_iter()
            .filter(|_| has_substance)
            .map(|kept| match kept {
                Kept::Thought(block) | Kept::Block(block) => block,
                Kept::Call(place) => tool_use(&calls[place]),
            })
            .collect();
        let items = assistant(&blocks).into_iter().map(Item).collect();
        Ok(Reply {
            wire: Wire::Messages,
            items,
            text: said,
            calls,
            stop,
            usage: self::usage(&usage),
            by: String::new(),
        })
    }
}

/// A block of the message that goes back: as it came, or the call at a place of the reply.
enum Kept {
    Thought(Raw),
    Block(Raw),
    Call(usize),
}

impl Answer {
    /// Returns the block that stands open at `index`.
    fn block(&mut self, index: u64) -> Option<&mut Block> {
        self.blocks.iter_mut().rev().find(|block| block.index == index)
    }

    fn add(&mut self, index: u64, delta: &Value, show: Show) {
        let Some(block) = self.block(index) else { return };
        let mut append = |key: &str, piece: &str| {
            let so_far = text(&block.value, key).to_owned();
            if let Some(fields) = block.value.as_object_mut() {
                fields.insert(key.to_owned(), Value::String(so_far + piece));
            }
        };
        match text(delta, "type") {
            "text_delta" => {
                append("text", text(delta, "text"));
                show(Glimpse::Text(text(delta, "text").to_owned()));
            }
            "thinking_delta" => {
                append("thinking", text(delta, "thinking"));
                show(Glimpse::Reasoning(text(delta, "thinking").to_owned()));
            }
            "signature_delta" => append("signature", text(delta, "signature")),
            "input_json_delta" => block.input.push_str(text(delta, "partial_json")),
            _ => {}
        }
    }

    /// Takes over what `usage` states: later numbers stand for the whole message, and what they leave out
    /// stays.
    fn add_usage(&mut self, usage: Option<&Value>) {
        let Some(new) = usage.and_then(Value::as_object) else { return };
        if !self.usage.is_object() {
            self.usage = json!({});
        }
        for (key, value) in new.iter().filter(|(_, value)| !value.is_null()) {
            let is_less = value.as_u64() == Some(0) && self.usage.get(key).is_some();
            if !is_less {
                self.usage[key.as_str()] = value.clone();
            }
        }
    }
}

fn show_block(block: &Value, show: Show) {
    for (key, glimpse) in [("text", Glimpse::Text as fn(String) -> Glimpse), ("thinking", Glimpse::Reasoning)]
    {
        let words = text(block, key);
        if !words.is_empty() {
            show(glimpse(words.to_owned()));
        }
    }
}

/// The API counts what it read from the cache, and what it wrote to it, apart from `input_tokens`.
fn usage(usage: &Value) -> Usage {
    let cached = count(usage, &["cache_read_input_tokens"]);
    let cache_write = count(usage, &["cache_creation_input_tokens"]);
    let input = count(usage, &["input_tokens"]).saturating_add(cached).saturating_add(cache_write);
    Usage { input, cached, cache_write, output: count(usage, &["output_tokens"]), estimated: false }
}
