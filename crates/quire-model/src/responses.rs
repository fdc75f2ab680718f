//! OpenAI's Responses API, in the form where the server keeps nothing (`store: false`): every output item is
//! sent back with the next request, byte for byte as it came, so that encrypted reasoning and the provider's
//! cache survive.
//!
//! `response.output_item.done` is what counts; deltas before it are only shown. Items and events of unknown
//! kinds are kept and passed over.

use crate::Glimpse;
use crate::fault::Trouble;
use crate::sse::Event;
use crate::wire::{
    Ask, Dialect, Progress, Quirks, Raw, Reading, Show, count, invented_id, is_closed, parse, raw, text,
};
use quire_core::ToolSpec;
use quire_core::charter::Wire;
use quire_core::message::{Call, Image, Item, Reply, Stop, ToolResult, Usage};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::HashSet;

pub(crate) struct Responses;

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    stream: bool,
    store: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    instructions: &'a str,
    input: Vec<Raw>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    include: Option<[&'static str; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
}

/// A tool's outcome: most of what a long conversation is made of, and so written without a detour.
#[derive(Serialize)]
struct Returned<'a> {
    call_id: &'a str,
    output: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
}

impl Dialect for Responses {
    fn path(&self) -> &'static str {
        "responses"
    }

    fn sign(&self, headers: &mut HeaderMap, key: Option<HeaderValue>) {
        headers.extend(key.map(|key| (AUTHORIZATION, bearer(&key))));
    }

    fn sends_whole_items(&self) -> bool {
        true
    }

    fn wire(&self) -> Wire {
        Wire::Responses
    }

    fn words(&self, text: &str) -> Raw {
        raw(
            &json!({ "type": "message", "role": "user", "content": [{ "type": "input_text", "text": text }] }),
        )
    }

    fn pictures(&self, text: &str, pictures: &[(&Image, String)]) -> Raw {
        let part = |(image, base64): &(&Image, String)| {
            let url = format!("data:{};base64,{base64}", image.media_type);
            json!({ "type": "input_image", "image_url": url, "detail": "auto" })
        };
        let parts = std::iter::once(json!({ "type": "input_text", "text": text }));
        let parts: Vec<Value> = parts.chain(pictures.iter().map(part)).collect();
        raw(&json!({ "type": "message", "role": "user", "content": parts }))
    }

    fn results(&self, ask: &Ask, results: &[ToolResult]) -> Vec<Raw> {
        let mut items = Vec::new();
        let mut pictures = Vec::new();
        for result in results {
            let (call_id, output) = (&result.id, &result.outcome.text);
            items.push(raw(&Returned { call_id, output, kind: "function_call_output" }));
            pictures.extend(ask.pictures(&result.outcome.images));
        }
        // An output that is a list is newer than many servers; a message after it is understood by all.
        if !pictures.is_empty() {
            items.push(self.pictures("Images from the tool results above:", &pictures));
        }
        items
    }

    fn translated(&self, reply: &Reply) -> Vec<Raw> {
        let mut items = Vec::new();
        if !reply.text.is_empty() {
            let content = json!([{ "type": "output_text", "text": reply.text, "annotations": [] }]);
            items.push(raw(&json!({ "type": "message", "role": "assistant", "content": content })));
        }
        for Call { id, tool, input } in &reply.calls {
            let arguments = crate::wire::object(input);
            let item =
                json!({ "type": "function_call", "call_id": id, "name": tool, "arguments": arguments.get() });
            items.push(raw(&item));
        }
        items
    }

    fn optional(&self) -> &'static [&'static str] {
        &["parallel_tool_calls", "include", "prompt_cache_key", "reasoning", "max_output_tokens"]
    }

    fn body(&self, ask: &Ask, items: Vec<Raw>, quirks: &Quirks) -> Result<Vec<u8>, serde_json::Error> {
        let tool = |tool: &ToolSpec| {
            json!({
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.input,
                "strict": false,
            })
        };
        let takes = |name| !quirks.without.contains(name);
        let has_tools = !ask.prompt.tools.is_empty();
        serde_json::to_vec(&Body {
            model: &ask.model.name,
            stream: true,
            store: false,
            instructions: &ask.prompt.system,
            input: items,
            tools: ask.prompt.tools.iter().map(tool).collect(),
            parallel_tool_calls: (has_tools && takes("parallel_tool_calls")).then_some(true),
            include: takes("include").then_some(["reasoning.encrypted_content"]),
            prompt_cache_key: takes("prompt_cache_key").then_some(&ask.prompt.cache_key),
            max_output_tokens: takes("max_output_tokens").then(|| quirks.output_max(ask.model)),
            reasoning: takes("reasoning").then(|| json!({ "summary": "auto" })),
        })
    }

    fn reading(&self, nth: usize, _: &[ToolSpec]) -> Box<dyn Reading> {
        Box::new(Answer { nth, ..Answer::default() })
    }
}

/// Returns the header that carries `key`, marked so that it is never printed.
pub(crate) fn bearer(key: &HeaderValue) -> HeaderValue {
    // The key is a valid header value, and so is one with a word before it.
    let mut value =
        HeaderValue::from_bytes(&[b"Bearer ", key.as_bytes()].concat()).unwrap_or_else(|_| key.clone());
    value.set_sensitive(true);
    value
}

#[derive(Default)]
struct Answer {
    nth: usize,
    /// Items with their place in the output, in the order in which they were done.
    done: Vec<(Option<u64>, Raw)>,
    usage: Value,
    /// Why the answer is not complete, in the server's words.
    incomplete: Option<String>,
}

#[derive(Deserialize)]
struct ItemDone<'a> {
    #[serde(borrow)]
    item: Option<&'a RawValue>,
    output_index: Option<u64>,
}

#[derive(Deserialize)]
struct Ended<'a> {
    #[serde(borrow)]
    response: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow)]
    output: Option<Vec<&'a RawValue>>,
}

impl Reading for Answer {
    fn take(&mut self, event: &Event, show: Show) -> Result<Progress, Trouble> {
        if event.data == "[DONE]" {
            return Ok(Progress::More);
        }
        let Some(data) = parse(&event.data) else { return Ok(Progress::Unreadable) };
        let kind = data.get("type").and_then(Value::as_str).unwrap_or(&event.name);
        match kind {
            "response.output_text.delta" | "response.refusal.delta" => {
                show(Glimpse::Text(text(&data, "delta").to_owned()));
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                show(Glimpse::Reasoning(text(&data, "delta").to_owned()));
            }
            "response.output_item.done" => {
                if let Ok(ItemDone { item: Some(item), output_index }) = serde_json::from_str(&event.data) {
                    self.done.push((output_index, item.to_owned()));
                }
            }
            "response.completed" | "response.incomplete" | "response.failed" => {
                if let Ok(Ended { response: Some(response) }) = serde_json::from_str(&event.data) {
                    return self.end(response, kind == "response.failed");
                }
                return Err(Trouble::broken(format!(
                    "the stream ended with a {kind} that holds no response"
                )));
            }
            "error" => return Err(Trouble::of_event(&data)),
            _ if kind.is_empty() && data.get("error").is_some_and(|e| !e.is_null()) => {
                return Err(Trouble::of_event(&data));
            }
            _ => {}
        }
        Ok(Progress::More)
    }

    fn whole(&mut self, body: &str, show: Show) -> Result<Progress, Trouble> {
        let Ok(response) = serde_json::from_str::<&RawValue>(body) else { return Ok(Progress::Unreadable) };
        let progress = self.end(response, false)?;
        if serde_json::from_str::<Output>(body).ok().and_then(|response| response.output).is_none() {
            return Ok(Progress::More);
        }
        for (_, item) in &self.done {
            let said = serde_json::from_str(item.get()).map(|item: Value| said(&item).0).unwrap_or_default();
            if !said.is_empty() {
                show(Glimpse::Text(said));
            }
        }
        Ok(progress)
    }

    fn reply(self: Box<Self>) -> Result<Reply, Trouble> {
        let mut done = self.done;
        // Some servers count every item as 0; then the order of arrival is all there is.
        let places: HashSet<_> = done.iter().filter_map(|(place, _)| *place).collect();
        if places.len() == done.len() {
            done.sort_by_key(|(place, _)| *place);
        }
        let mut reply = Reply {
            wire: Wire::Responses,
            items: vec![],
            text: String::new(),
            calls: vec![],
            stop: match self.incomplete.as_deref() {
                None => Stop::Done,
                Some("content_filter") => Stop::Refused("content_filter".to_owned()),
                Some(_) => Stop::Length,
            },
            usage: usage(&self.usage),
            by: String::new(),
        };
        for (_, raw) in done {
            let item: Value = serde_json::from_str(raw.get()).unwrap_or_default();
            let repeated = reply.items.iter().any(|kept| kept.get() == raw.get());
            match text(&item, "type") {
                _ if repeated && item.get("id").is_some() => continue,
                "message" => {
                    let (said, refusal) = said(&item);
                    reply.text.push_str(&said);
                    if let Some(refusal) = refusal {
                        reply.stop = Stop::Refused(refusal);
                    }
                }
                "function_call" => {
                    let input = text(&item, "arguments");
                    let is_cut = text(&item, "status") == "incomplete" || !is_closed(input);
                    if self.incomplete.is_some() && is_cut {
                        // An item without an outcome would make the server refuse the next request.
                        continue;
                    }
                    let said = text(&item, "call_id").to_owned();
                    let is_own = !said.is_empty() && reply.calls.iter().all(|call| call.id != said);
                    let id = if is_own { said } else { invented_id(self.nth, reply.calls.len()) };
                    reply.calls.push(Call {
                        id: id.clone(),
                        tool: text(&item, "name").to_owned(),
                        input: input.to_owned(),
                    });
                    if !is_own {
                        // The one change that is made to an item: its outcome must be known from that of another.
                        let mut item = item;
                        item["call_id"] = json!(id);
                        reply.items.push(Item(crate::wire::raw(&item)));
                        continue;
                    }
                }
                _ => {}
            }
            reply.items.push(Item(raw));
        }
        if self.incomplete.is_some() {
            // Reasoning must be followed by what it led to; cut off, it led to nothing.
            while reply.items.last().is_some_and(|item| is_reasoning(item.get())) {
                reply.items.pop();
            }
        }
        Ok(reply)
    }
}

impl Answer {
    fn end(&mut self, raw: &RawValue, failed: bool) -> Result<Progress, Trouble> {
        let response: Value = serde_json::from_str(raw.get()).unwrap_or_default();
        let error = response.get("error").filter(|error| !error.is_null());
        match (error, text(&response, "status")) {
            (Some(error), _) => return Err(Trouble::of_event(error)),
            (None, "failed") => return Err(Trouble::broken("it says that it failed, and not why")),
            (None, _) if failed => return Err(Trouble::broken("it says that it failed, and not why")),
            (None, "incomplete") => {
                let reason =
                    response.get("incomplete_details").map(|d| text(d, "reason")).unwrap_or_default();
                self.incomplete = Some(reason.to_owned());
            }
            _ => {}
        }
        self.usage = response.get("usage").cloned().unwrap_or_default();
        if self.done.is_empty() {
            let output = serde_json::from_str::<Output>(raw.get()).ok().and_then(|response| response.output);
            self.done.extend(output.into_iter().flatten().map(|item| (None, item.to_owned())));
        }
        Ok(Progress::Done)
    }
}

/// Returns what a message item says, and what it gives as a refusal.
fn said(item: &Value) -> (String, Option<String>) {
    let parts = item.get("content").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let refusal = parts.iter().find(|part| text(part, "type") == "refusal");
    let said = parts.iter().filter(|part| text(part, "type") == "output_text").map(|part| text(part, "text"));
    (said.collect(), refusal.map(|part| text(part, "refusal").to_owned()))
}

fn is_reasoning(item: &str) -> bool {
    serde_json::from_str::<Value>(item).is_ok_and(|item| text(&item, "type") == "reasoning")
}

fn usage(usage: &Value) -> Usage {
    Usage {
        input: count(usage, &["input_tokens"]),
        cached: count(usage, &["input_tokens_details/cached_tokens"]),
        cache_write: count(usage, &["input_tokens_details/cache_write_tokens"]),
        output: count(usage, &["output_tokens"]),
        estimated: false,
    }
}
