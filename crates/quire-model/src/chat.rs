//! OpenAI's Chat Completions, and the many servers that speak something like it. The answer comes in deltas;
//! one `assistant` message is assembled from them once, kept, and sent back unchanged from then on.
//!
//! What servers do differently, and is read all the same: ids missing or repeated, `index` always 0 though
//! the ids differ, a whole call in one chunk, arguments `""` or as an object, content as a list of parts,
//! `finish_reason` `stop` with calls, no `[DONE]`, usage in a chunk without choices, an error in the midst.
//!
//! A call that a server's parser left in the text, in the form that many open models are trained on, is a call all the same.
//!
//! Reasoning is sent back under the name it came by, but only with calls: DeepSeek demands it there, and
//! refuses it elsewhere; its older models refuse it there too, and say so. `reasoning_details` (OpenRouter's) and unknown fields of a call (Gemini's
//! signatures) always go back.

use crate::Glimpse;
use crate::fault::Trouble;
use crate::responses::bearer;
use crate::sse::Event;
use crate::wire::{
    Ask, Dialect, Progress, Quirks, Raw, Reading, Show, count, is_closed, joined, name_apart, object, parse,
    raw, text,
};
use quire_core::ToolSpec;
use quire_core::charter::Wire;
use quire_core::message::{Call, Image, Item, Reply, Stop, ToolResult, Usage};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::Serialize;
use serde_json::{Map, Value, json};

pub(crate) struct Chat;

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<Value>,
    messages: Vec<Raw>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u64>,
}

/// A tool's outcome: most of what a long conversation is made of, and so written without a detour.
#[derive(Serialize)]
struct Said<'a> {
    content: &'a str,
    role: &'static str,
    tool_call_id: &'a str,
}

impl Dialect for Chat {
    fn path(&self) -> &'static str {
        "chat/completions"
    }

    fn sign(&self, headers: &mut HeaderMap, key: Option<HeaderValue>) {
        headers.extend(key.map(|key| (AUTHORIZATION, bearer(&key))));
    }

    fn wire(&self) -> Wire {
        Wire::Chat
    }

    fn words(&self, text: &str) -> Raw {
        raw(&json!({ "role": "user", "content": text }))
    }

    fn pictures(&self, text: &str, pictures: &[(&Image, String)]) -> Raw {
        let parts = std::iter::once(json!({ "type": "text", "text": text }));
        let parts = parts.chain(pictures.iter().map(|(image, base64)| part(image, base64)));
        raw(&json!({ "role": "user", "content": parts.collect::<Vec<_>>() }))
    }

    fn results(&self, ask: &Ask, results: &[ToolResult]) -> Vec<Raw> {
        let mut items = Vec::new();
        let mut pictures = Vec::new();
        for result in results {
            items.push(raw(&Said { content: &result.outcome.text, role: "tool", tool_call_id: &result.id }));
            pictures.extend(ask.pictures(&result.outcome.images));
        }
        // A tool's message may hold text only.
        if !pictures.is_empty() {
            items.push(self.pictures("Images from the tool results above:", &pictures));
        }
        items
    }

    fn translated(&self, reply: &Reply) -> Vec<Raw> {
        let calls = reply.calls.iter().map(|call| (call, Map::new()));
        message(&reply.text, calls, Map::new()).into_iter().collect()
    }

    fn optional(&self) -> &'static [&'static str] {
        &[
            "stream_options",
            "parallel_tool_calls",
            "prompt_cache_key",
            "max_tokens",
            "max_completion_tokens",
            "reasoning_content",
        ]
    }

    fn body(&self, ask: &Ask, mut items: Vec<Raw>, quirks: &Quirks) -> Result<Vec<u8>, serde_json::Error> {
        let tool = |tool: &ToolSpec| {
            let function =
                json!({ "name": tool.name, "description": tool.description, "parameters": tool.input });
            json!({ "type": "function", "function": function })
        };
        let takes = |name| !quirks.without.contains(name);
        let has_tools = !ask.prompt.tools.is_empty();
        if quirks.bridges {
            items = bridged(items);
        }
        if !takes("reasoning_content") {
            items = items.into_iter().map(thoughtless).collect();
        }
        if !ask.prompt.system.is_empty() {
            items.insert(0, raw(&json!({ "role": "system", "content": ask.prompt.system.as_ref() })));
        }
        let (cap, output_max) = (quirks.cap(self.optional()), quirks.output_max(ask.model));
        serde_json::to_vec(&Body {
            model: &ask.model.name,
            stream: true,
            stream_options: takes("stream_options").then(|| json!({ "include_usage": true })),
            messages: items,
            tools: ask.prompt.tools.iter().map(tool).collect(),
            parallel_tool_calls: (has_tools && takes("parallel_tool_calls")).then_some(true),
            prompt_cache_key: takes("prompt_cache_key").then_some(&ask.prompt.cache_key),
            max_tokens: (cap == Some("max_tokens")).then_some(output_max),
            max_completion_tokens: (cap == Some("max_completion_tokens")).then_some(output_max),
        })
    }

    fn reading(&self, nth: usize, offered: &[ToolSpec]) -> Box<dyn Reading> {
        let offered = offered.iter().map(|tool| tool.name.to_string()).collect();
        Box::new(Answer { nth, offered, ..Answer::default() })
    }
}

fn part(image: &Image, base64: &str) -> Value {
    let url = format!("data:{};base64,{base64}", image.media_type);
    json!({ "type": "image_url", "image_url": { "url": url } })
}

/// Returns the messages with a word of the model's wherever a person's follows a tool's.
fn bridged(items: Vec<Raw>) -> Vec<Raw> {
    let role = |item: &Raw| {
        let item: Value = serde_json::from_str(item.get()).unwrap_or_default();
        text(&item, "role").to_owned()
    };
    let (mut bridged, mut last) = (Vec::with_capacity(items.len()), String::new());
    for item in items {
        let now = role(&item);
        if last == "tool" && now == "user" {
            bridged.push(raw(&json!({ "role": "assistant", "content": "I see." })));
        }
        last = now;
        bridged.push(item);
    }
    bridged
}

/// Returns a message without what was thought before it.
fn thoughtless(item: Raw) -> Raw {
    let mut message: Value = serde_json::from_str(item.get()).unwrap_or_default();
    match message.as_object_mut().and_then(|message| message.remove("reasoning_content")) {
        Some(_) => raw(&message),
        None => item,
    }
}

/// Takes the calls out of the end of a text: `<tool_call>{"name": "...", "arguments": {...}}</tool_call>`, whole ones only, of tools
/// that were offered, and none that is quoted in a block of code.
fn leaked(said: &mut String, offered: &[String]) -> Vec<Draft> {
    let mut calls = vec![];
    while let Some(body) = said.trim_end().strip_suffix("</tool_call>") {
        let Some((before, call)) = body.rsplit_once("<tool_call>") else { break };
        let Some(Value::Object(call)) = parse(call.trim()) else { break };
        let (Some(Value::String(tool)), Some(input @ Value::Object(_)), 2) =
            (call.get("name"), call.get("arguments"), call.len())
        else {
            break;
        };
        if !offered.contains(tool) || before.matches("```").count() % 2 == 1 {
            break;
        }
        calls.push(Draft { tool: tool.clone(), input: input.to_string(), ..Draft::default() });
        let before = before.trim_end().len();
        said.truncate(before);
    }
    calls.reverse();
    calls
}

/// Returns an assistant's message, or `None` where it would say nothing. `more` holds further fields of it;
/// with each call come further fields of the call.
fn message<'c>(
    said: &str,
    calls: impl Iterator<Item = (&'c Call, Map<String, Value>)>,
    more: Map<String, Value>,
) -> Option<Raw> {
    let calls: Vec<Value> = calls
        .map(|(call, mut fields)| {
            let function = json!({ "name": call.tool, "arguments": object(&call.input).get() });
            fields.extend([
                ("id".to_owned(), json!(call.id)),
                ("type".to_owned(), json!("function")),
                ("function".to_owned(), function),
            ]);
            Value::Object(fields)
        })
        .collect();
    if said.is_empty() && calls.is_empty() {
        return None;
    }
    let mut message = more;
    message.insert("role".to_owned(), json!("assistant"));
    message.insert("content".to_owned(), json!(said));
    if !calls.is_empty() {
        message.insert("tool_calls".to_owned(), Value::Array(calls));
    }
    Some(raw(&message))
}

#[derive(Default)]
struct Answer {
    nth: usize,
    /// The names of the tools that the model was told of.
    offered: Vec<String>,
    text: String,
    /// By the name that the server gives it: `reasoning_content` or `reasoning`.
    reasoning: Option<(&'static str, String)>,
    reasoning_details: Vec<Value>,
    refusal: String,
    calls: Vec<Draft>,
    finish: Option<String>,
    usage: Value,
}

/// A call as far as it has come.
#[derive(Default)]
struct Draft {
    index: Option<u64>,
    id: String,
    tool: String,
    input: String,
    more: Map<String, Value>,
}

impl Reading for Answer {
    fn take(&mut self, event: &Event, show: Show) -> Result<Progress, Trouble> {
        if event.data.trim() == "[DONE]" {
            return Ok(Progress::Done);
        }
        let Some(chunk) = parse(&event.data) else { return Ok(Progress::Unreadable) };
        if chunk.get("error").is_some_and(|error| !error.is_null()) || event.name == "error" {
            return Err(Trouble::of_event(&chunk));
        }
        if let Some(usage) = chunk.get("usage").filter(|usage| usage.is_object()) {
            self.usage = usage.clone();
        }
        if let Some(choice) = chunk.get("choices").and_then(|choices| choices.get(0)) {
            if let Some(delta) = choice.get("delta").or_else(|| choice.get("message")) {
                self.add(delta, show);
            }
            match text(choice, "finish_reason") {
                "" => {}
                "error" => return Err(Trouble::broken("it stopped with an error that it did not name")),
                reason => self.finish = Some(reason.to_owned()),
            }
        }
        Ok(if self.finish.is_some() { Progress::Enough } else { Progress::More })
    }

    fn whole(&mut self, body: &str, show: Show) -> Result<Progress, Trouble> {
        let progress = self.take(&Event { name: String::new(), data: body.to_owned() }, show)?;
        Ok(if progress == Progress::Enough { Progress::Done } else { progress })
    }

    fn reply(self: Box<Self>) -> Result<Reply, Trouble> {
        let Answer {
            nth,
            offered,
            mut text,
            reasoning,
            reasoning_details,
            refusal,
            calls: mut drafts,
            finish,
            ..
        } = *self;
        let stop = match finish.as_deref() {
            Some("length") => Stop::Length,
            Some(reason @ ("content_filter" | "refusal")) => Stop::Refused(reason.to_owned()),
            _ if !refusal.is_empty() => Stop::Refused(refusal.clone()),
            _ => Stop::Done,
        };
        if stop == Stop::Done && drafts.is_empty() {
            drafts = leaked(&mut text, &offered);
        }
        if stop != Stop::Done {
            drafts.retain(|draft| is_closed(&draft.input));
        }
        let mut calls: Vec<Call> = drafts
            .iter_mut()
            .map(|draft| {
                let Draft { id, tool, input, .. } = draft;
                Call {
                    id: std::mem::take(id),
                    tool: std::mem::take(tool),
                    input: joined(std::mem::take(input)),
                }
            })
            .collect();
        name_apart(&mut calls, nth);

        let mut more = Map::new();
        if let Some((name, reasoning)) = reasoning.filter(|_| !calls.is_empty()) {
            more.insert(name.to_owned(), json!(joined(reasoning)));
        }
        if !reasoning_details.is_empty() {
            more.insert("reasoning_details".to_owned(), Value::Array(reasoning_details));
        }
        let visible = joined(if text.is_empty() { refusal } else { text });
        let with_more = calls.iter().zip(drafts.into_iter().map(|draft| draft.more));
        let items = message(&visible, with_more, more).into_iter().map(Item).collect();
        Ok(Reply {
            wire: Wire::Chat,
            items,
            text: visible,
            calls,
            stop,
            usage: usage(&self.usage),
            by: String::new(),
        })
    }
}

impl Answer {
    fn add(&mut self, delta: &Value, show: Show) {
        match delta.get("content") {
            Some(Value::String(said)) => self.say(said, show),
            Some(Value::Array(parts)) => {
                for part in parts {
                    match text(part, "type") {
                        "thinking" => show(Glimpse::Reasoning(parts_of(part.get("thinking")))),
                        _ => self.say(text(part, "text"), show),
                    }
                }
            }
            _ => {}
        }
        for name in ["reasoning_content", "reasoning"] {
            let Some(thought) = delta.get(name).and_then(Value::as_str).filter(|thought| !thought.is_empty())
            else {
                continue;
            };
            let (kept_name, kept) = self.reasoning.get_or_insert((name, String::new()));
            // Some servers send the same under both names.
            if *kept_name == name {
                kept.push_str(thought);
                show(Glimpse::Reasoning(thought.to_owned()));
            }
        }
        for detail in delta.get("reasoning_details").and_then(Value::as_array).into_iter().flatten() {
            self.add_detail(detail);
        }
        let refusal = text(delta, "refusal");
        if !refusal.is_empty() {
            self.refusal.push_str(refusal);
            show(Glimpse::Text(refusal.to_owned()));
        }
        for part in delta.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
            self.add_call(part);
        }
    }

    fn say(&mut self, said: &str, show: Show) {
        if !said.is_empty() {
            self.text.push_str(said);
            show(Glimpse::Text(said.to_owned()));
        }
    }

    /// Adds a piece of a call: to the one it belongs to by index and id, else to a new one.
    fn add_call(&mut self, part: &Value) {
        let index = part.get("index").and_then(Value::as_u64);
        let id = text(part, "id");
        let belongs = |draft: &Draft| match index {
            Some(_) => draft.index == index && (id.is_empty() || draft.id.is_empty() || draft.id == id),
            None => !id.is_empty() && draft.id == id,
        };
        let function = part.get("function").unwrap_or(&Value::Null);
        let name = text(function, "name");
        // The latest wins where an index is used again. Without index and id, a piece without a name goes on
        // with the last call, and one with a name begins another.
        let place = self.calls.iter().rposition(belongs).or_else(|| {
            let goes_on = index.is_none() && id.is_empty() && name.is_empty();
            self.calls.len().checked_sub(1).filter(|_| goes_on)
        });
        let place = place.unwrap_or_else(|| {
            self.calls.push(Draft { index, ..Draft::default() });
            self.calls.len() - 1
        });
        let draft = &mut self.calls[place];
        if draft.id.is_empty() {
            draft.id = id.to_owned();
        }
        if draft.tool.is_empty() {
            draft.tool = name.to_owned();
        }
        match function.get("arguments") {
            Some(Value::String(piece)) => draft.input.push_str(piece),
            Some(object @ Value::Object(_)) => draft.input.push_str(&object.to_string()),
            _ => {}
        }
        for (key, value) in part.as_object().into_iter().flatten() {
            if !matches!(key.as_str(), "index" | "id" | "type" | "function") && !value.is_null() {
                draft.more.insert(key.clone(), value.clone());
            }
        }
    }

    /// Adds a piece of reasoning in OpenRouter's form: pieces of one block follow each other and are joined.
    fn add_detail(&mut self, detail: &Value) {
        let same = |key: &str, other: &Value| other.get(key) == detail.get(key);
        let last = self.reasoning_details.last_mut().filter(|last| same("type", last) && same("index", last));
        let (Some(last), Some(detail_fields)) = (last.and_then(Value::as_object_mut), detail.as_object())
        else {
            self.reasoning_details.push(detail.clone());
            return;
        };
        for (key, value) in detail_fields {
            match (last.get_mut(key), value) {
                (Some(Value::String(kept)), Value::String(piece))
                    if matches!(key.as_str(), "text" | "summary" | "data") =>
                {
                    kept.push_str(piece);
                }
                (_, Value::Null) => {}
                _ => {
                    last.insert(key.clone(), value.clone());
                }
            }
        }
    }
}

/// Returns the text of a list of parts, or of a string.
fn parts_of(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts.iter().map(|part| text(part, "text")).collect(),
        _ => String::new(),
    }
}

fn usage(usage: &Value) -> Usage {
    Usage {
        input: count(usage, &["prompt_tokens"]),
        // DeepSeek's name for it is the second.
        cached: count(usage, &["prompt_tokens_details/cached_tokens", "prompt_cache_hit_tokens"]),
        cache_write: count(usage, &["prompt_tokens_details/cache_write_tokens"]),
        output: count(usage, &["completion_tokens"]),
        estimated: false,
    }
}
