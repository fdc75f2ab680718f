//! What a wire has to say for itself: how a prompt is written as a request, and how the answer's events
//! become a reply. Everything else (connections, retries, faults, idle time, keys) is the same for all and
//! stands in `client.rs`.
//!
//! A new wire is a file with these two traits and a line in [`of`].

use crate::fault::Trouble;
use crate::sse::Event;
use crate::{Glimpse, chat, messages, responses};
use base64::Engine;
use quire_core::charter::{Model, Wire};
use quire_core::message::{Attachment, Image, Prompt, PromptItem, Reply, ToolResult};
use quire_core::{Call, Hash, ToolSpec};
use reqwest::header::{HeaderMap, HeaderValue};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::{BTreeSet, HashMap};

/// Returns how `wire` is spoken, or `None` for a tape, which nobody is asked for.
pub(crate) fn of(wire: Wire) -> Option<&'static dyn Dialect> {
    match wire {
        Wire::Responses => Some(&responses::Responses),
        Wire::Chat => Some(&chat::Chat),
        Wire::Messages => Some(&messages::Messages),
        Wire::Tape => None,
    }
}

/// A request before it is written.
pub(crate) struct Ask<'a> {
    pub model: &'a Model,
    pub prompt: &'a Prompt,
    pub images: &'a HashMap<Hash, Vec<u8>>,
}

/// What a server was found not to take, and is not sent again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quirks {
    pub without: BTreeSet<&'static str>,
    /// The most output that it lets one ask for, in tokens.
    pub output_max: Option<u64>,
    /// Between a tool's outcome and a person's words something of the model's has to stand.
    pub bridges: bool,
}

/// Names under which a wire asks for a bounded output.
pub(crate) const CAPS: [&str; 3] = ["max_tokens", "max_completion_tokens", "max_output_tokens"];

impl Quirks {
    /// Returns the parameter that bounds the output, of those that a wire has for it.
    pub fn cap(&self, of: &[&'static str]) -> Option<&'static str> {
        CAPS.into_iter().find(|cap| of.contains(cap) && !self.without.contains(cap))
    }

    /// Returns the most output that is asked for, in tokens.
    pub fn output_max(&self, model: &Model) -> u64 {
        self.output_max.unwrap_or(u64::MAX).min(model.output_max())
    }
}

pub(crate) trait Dialect: Send + Sync {
    /// Returns what is added to the base address.
    fn path(&self) -> &'static str;

    /// Returns the query with which the server lists all its models at once, where it needs one.
    fn models_query(&self) -> Option<&'static str> {
        None
    }

    /// Adds the headers of this wire, with the key where there is one.
    fn sign(&self, headers: &mut HeaderMap, key: Option<HeaderValue>);

    /// Returns the item that stands for the person's words.
    fn words(&self, text: &str) -> Raw;

    /// Returns the item that stands for pictures of the person's, each with its content in base64, after `text`.
    fn pictures(&self, text: &str, pictures: &[(&Image, String)]) -> Raw;

    /// Returns the items that stand for the outcomes of calls.
    fn results(&self, ask: &Ask, results: &[ToolResult]) -> Vec<Raw>;

    /// Returns the items that stand for a reply that came over another wire: its text and its calls, and no
    /// more.
    fn translated(&self, reply: &Reply) -> Vec<Raw>;

    /// Returns whether each item comes once more as a whole, so that nothing depends on its pieces.
    fn sends_whole_items(&self) -> bool {
        false
    }

    /// Returns this wire's name, to know its own replies by.
    fn wire(&self) -> Wire;

    /// Returns the parameters that a server may refuse and that can be left out.
    fn optional(&self) -> &'static [&'static str];

    /// Returns the request's body. `items` is what [`items`] returned.
    fn body(&self, ask: &Ask, items: Vec<Raw>, quirks: &Quirks) -> Result<Vec<u8>, serde_json::Error>;

    /// Returns a reader of one answer. `nth` is how many replies the conversation holds already: it makes ids
    /// that quire has to invent unique.
    fn reading(&self, nth: usize, offered: &[ToolSpec]) -> Box<dyn Reading>;
}

pub(crate) type Raw = Box<RawValue>;
pub(crate) type Show<'a> = &'a (dyn Fn(Glimpse) + Send + Sync);

/// The reading of one answer, event by event.
pub(crate) trait Reading: Send {
    fn take(&mut self, event: &Event, show: Show) -> Result<Progress, Trouble>;

    /// Reads an answer that came whole, as one JSON document and no stream.
    fn whole(&mut self, body: &str, show: Show) -> Result<Progress, Trouble>;

    /// Returns the reply, once [`Progress::Enough`] or [`Progress::Done`] was reported.
    fn reply(self: Box<Self>) -> Result<Reply, Trouble>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The data was no JSON; it is skipped and counted.
    Unreadable,
    More,
    /// The reply is whole; the server may still add what it used.
    Enough,
    Done,
}

/// Returns the conversation as the wire writes it. The next request to the same model starts with the same
/// items, byte for byte.
///
/// What another model said is told as its text and calls alone: its thoughts are signed or encrypted for
/// itself, and its server's further fields are refused elsewhere. So are its ids, for which some servers have
/// rules; nine letters and digits fit them all.
pub(crate) fn items(dialect: &dyn Dialect, ask: &Ask) -> Vec<Raw> {
    let mut items = Vec::new();
    let is_reply = |item: &&std::sync::Arc<PromptItem>| matches!(***item, PromptItem::Model(_));
    let here = ask.prompt.items.iter().filter(is_reply).count();
    // Counted over the whole task, as the ids are that are invented for a reply that comes.
    let (mut replies, mut by_another) = ((ask.prompt.replies as usize).saturating_sub(here), false);
    for item in &ask.prompt.items {
        match item.as_ref() {
            PromptItem::Words(text) => items.push(dialect.words(text)),
            PromptItem::Pictures(files) => items.extend(handed_over(dialect, ask, files)),
            PromptItem::Model(reply) => {
                by_another = reply.wire != dialect.wire() || !ask.model.said(reply);
                if by_another {
                    let mut reply = Reply::clone(reply);
                    let ids = reply.calls.iter_mut().enumerate();
                    ids.for_each(|(place, call)| call.id = invented_id(replies, place));
                    items.extend(dialect.translated(&reply));
                } else {
                    items.extend(reply.items.iter().map(|item| item.0.clone()));
                }
                replies += 1;
            }
            PromptItem::Results(results) if by_another => {
                let id = |place| invented_id(replies - 1, place);
                let renamed = results.iter().enumerate();
                let renamed = renamed.map(|(place, result)| ToolResult { id: id(place), ..result.clone() });
                items.extend(dialect.results(ask, &renamed.collect::<Vec<_>>()));
            }
            PromptItem::Results(results) => items.extend(dialect.results(ask, results)),
        }
    }
    items
}

/// Returns the pictures that a person handed over, as far as the model sees any.
fn handed_over(dialect: &dyn Dialect, ask: &Ask, files: &[Attachment]) -> Option<Raw> {
    let image = |file: &Attachment| Some(Image { media_type: file.media_type.clone()?, blob: file.blob });
    let images: Vec<Image> = files.iter().filter_map(image).collect();
    let pictures = ask.pictures(&images);
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    let text = format!("Handed over by the person: {}", names.join(", "));
    (!pictures.is_empty()).then(|| dialect.pictures(&text, &pictures))
}

/// Returns `value` as JSON text.
pub(crate) fn raw(value: &impl Serialize) -> Raw {
    // Fails only for maps whose keys are no strings, and for writers that fail; the wires have neither.
    serde_json::value::to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

impl Ask<'_> {
    /// Returns the pictures of an outcome that the model can be shown, each with its content in base64.
    pub fn pictures<'i>(&self, images: &'i [Image]) -> Vec<(&'i Image, String)> {
        if !self.model.images {
            return vec![];
        }
        let encode = |bytes: &Vec<u8>| base64::engine::general_purpose::STANDARD.encode(bytes);
        images.iter().filter_map(|image| Some((image, self.images.get(&image.blob).map(encode)?))).collect()
    }
}

/// Returns the first number in `usage` at one of `paths` (keys joined by `/`); absent, null or negative is 0.
pub(crate) fn count(usage: &Value, paths: &[&str]) -> u64 {
    let at =
        |path: &&str| path.split('/').try_fold(usage, |value, key| value.get(key)).and_then(Value::as_u64);
    paths.iter().find_map(at).unwrap_or(0)
}

/// Returns an event's data as JSON, or `None` where it is none.
///
/// Servers that count in UTF-16 may cut a character in two, and send each half as an escape of its own, which is no text. Such
/// a half becomes a character that nobody uses, until [`joined`] puts the halves together.
pub(crate) fn parse(data: &str) -> Option<Value> {
    serde_json::from_str(data).ok().or_else(|| serde_json::from_str(&with_halves(data)?).ok())
}

/// What stands for the first half of a character (U+D800 to U+DFFF), in a plane for private use.
const HALVES: u32 = 0xF_0000;

fn with_halves(data: &str) -> Option<String> {
    let mut mended = String::with_capacity(data.len());
    let mut rest = data;
    while let Some(at) = rest.find('\\') {
        let escape = &rest[at..];
        let half = |escape: &str| {
            let code = u32::from_str_radix(escape.strip_prefix("\\u")?.get(..4)?, 16).ok()?;
            (0xD800..=0xDFFF).contains(&code).then_some(code)
        };
        let second = |escape: &str| half(escape).filter(|code| *code >= 0xDC00);
        mended.push_str(&rest[..at]);
        let taken = match half(escape) {
            Some(first) if first < 0xDC00 && escape.get(6..).is_some_and(|next| second(next).is_some()) => {
                mended.push_str(&escape[..12]);
                12
            }
            Some(code) => {
                mended.extend(char::from_u32(HALVES + code - 0xD800));
                6
            }
            // An escaped backslash begins no escape of its own.
            None => {
                let two = escape.char_indices().nth(2).map_or(escape.len(), |(at, _)| at);
                mended.push_str(&escape[..two]);
                two
            }
        };
        rest = &escape[taken..];
    }
    mended.push_str(rest);
    (mended != data).then_some(mended)
}

/// Returns which half of a character `c` stands for.
fn half(c: char) -> Option<u32> {
    u32::from(c).checked_sub(HALVES).filter(|half| *half < 0x800)
}

/// Returns a piece of a text as it can be shown: half a character cannot.
pub(crate) fn without_halves(mut piece: String) -> String {
    piece.retain(|c| half(c).is_none());
    piece
}

/// Returns `text` with halves of characters put together; one that stayed alone is U+FFFD.
pub(crate) fn joined(text: String) -> String {
    if !text.contains(|c| half(c).is_some()) {
        return text;
    }
    let units = text.chars().flat_map(|c| {
        let mut units = [0; 2];
        match half(c) {
            Some(half) => vec![0xD800 + half as u16],
            None => c.encode_utf16(&mut units).to_vec(),
        }
    });
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// Returns the text of a field, or the empty string.
pub(crate) fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Returns an id for a call that came without one: nine letters and digits, which every server takes.
pub(crate) fn invented_id(nth: usize, place: usize) -> String {
    format!("q{:05}{:03}", nth % 100_000, place % 1000)
}

/// Gives calls without an id, or with one that an earlier call has, an id of their own.
pub(crate) fn name_apart(calls: &mut [Call], nth: usize) {
    let mut seen = BTreeSet::new();
    for (place, call) in calls.iter_mut().enumerate() {
        if call.id.is_empty() || !seen.insert(call.id.clone()) {
            call.id = invented_id(nth, place);
            seen.insert(call.id.clone());
        }
    }
}

/// Returns a call's input as the text of a JSON object, for servers that read what they are sent back. What
/// the model wrote stays as it is where it is one; nothing stands for `{}`; anything else is quoted in an
/// object.
pub(crate) fn object(input: &str) -> Raw {
    if input.trim().is_empty() {
        return raw(&serde_json::json!({}));
    }
    let is_object = serde_json::from_str::<Value>(input).is_ok_and(|value| value.is_object());
    match RawValue::from_string(input.trim().to_owned()) {
        Ok(kept) if is_object => kept,
        _ => raw(&serde_json::json!({ "INVALID_JSON": input })),
    }
}

/// Returns whether the model had finished writing this input when it was cut off.
pub(crate) fn is_closed(input: &str) -> bool {
    serde_json::from_str::<&RawValue>(input).is_ok()
}
