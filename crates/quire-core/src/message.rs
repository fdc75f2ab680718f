//! What passes between quire and a model, in the words of no particular wire: a [`Prompt`] goes, a [`Reply`] comes.

use crate::bytes::Hash;
use crate::charter::Wire;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;

/// Everything that one request says. `items` of the next request of a task start with all items of this one, so that
/// prompt caches hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    pub system: Arc<str>,
    pub tools: Arc<[ToolSpec]>,
    pub items: Vec<Arc<PromptItem>>,
    /// The same for every request of a task; providers route by it.
    pub cache_key: String,
    /// Replies that the task had so far, also those that are no more among the items.
    pub replies: u32,
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum PromptItem {
    /// Words of the person's, or a notice of quire's (which says so).
    Words(String),
    /// Pictures that the person handed over.
    Pictures(Vec<Attachment>),
    /// A reply, to be sent back as it came.
    Model(Arc<Reply>),
    /// An outcome for each call of the reply before, in the order of the calls.
    Results(Vec<ToolResult>),
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ToolResult {
    /// The model's id of the call.
    pub id: String,
    pub tool: String,
    pub outcome: Arc<Outcome>,
}

/// A tool as the model is told of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    pub name: String,
    pub description: String,
    /// JSON Schema of the input, an object.
    pub input: serde_json::Value,
    /// Only reads: calls of it may overlap and leave no new snapshot. Not told to the model.
    #[serde(default)]
    pub reads: bool,
}

/// A model's whole answer to one request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    pub wire: Wire,
    /// Output items in the wire's own form, byte for byte as they came where the wire sends whole items (Responses),
    /// assembled from deltas once where it does not (one `assistant` message for Chat and Messages). Sent back unchanged.
    pub items: Vec<Item>,
    /// The visible text, all of it.
    pub text: String,
    pub calls: Vec<Call>,
    pub stop: Stop,
    pub usage: Usage,
    /// Who said it, as PROVIDER/MODEL; empty in old logs. Items go back as they came only to the model that made them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
}

/// A tool call that a model asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The model's id; a model may give the same id twice, so quire itself counts by place in the reply.
    pub id: String,
    pub tool: String,
    /// The arguments as the model wrote them: meant to be a JSON object, which nothing guarantees. Empty stands for `{}`.
    pub input: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// The model said all it wanted, or waits for its calls.
    Done,
    /// Cut at the output limit; calls that were not complete are not in the reply.
    Length,
    /// The model or its provider declined; the reason where one was given.
    Refused(String),
}

/// Tokens. `input` counts everything read, cached or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub input: u64,
    /// Part of `input` that came from the provider's cache.
    #[serde(default)]
    pub cached: u64,
    /// Part of `input` that was written to the provider's cache.
    #[serde(default)]
    pub cache_write: u64,
    pub output: u64,
    /// The server did not say; these are quire's estimates (bytes / 4).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
}

/// What came of a tool call. A tool's failure is an outcome like any other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Exactly what the model is shown, bounded.
    pub text: String,
    pub ok: bool,
    /// A shell command's exit code; 128 + n where signal n ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
    pub millis: u64,
    /// The whole output where `text` holds only part of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<Hash>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// `image/png`, `image/jpeg`, `image/gif` or `image/webp`.
    pub media_type: String,
    pub blob: Hash,
}

/// A file that a person handed over. It belongs to no folder of the task's, and lies beside them where only reading is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// A file's name without its directory, unlike any other of the task's.
    pub name: String,
    pub bytes: u64,
    /// Absent for what is no picture that models can be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    pub blob: Hash,
}

/// Why no reply came, after all retries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    pub kind: FaultKind,
    /// For a person, in plain words, with the address that was asked; never with a key.
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// No key where one is needed.
    NoKey,
    /// 401, 403.
    Key,
    /// 402 and its kin: no credit, usage limit reached.
    Credit,
    /// 404: no such model or address.
    NoModel,
    /// The request is wrong in the server's eyes.
    Request,
    /// Longer than the model's context.
    TooLong,
    /// Nothing answers there.
    Unreachable,
    /// 408, 409, 425, 429, 5xx, 529, to the last retry.
    Busy,
    /// The stream ended, stalled or was no stream, to the last retry.
    Broken,
    /// A tape has no reply that fits the request.
    Tape,
}

impl FaultKind {
    /// Returns whether the model just does not answer, so that another may be asked instead. What a person has to know and
    /// decide (a key, credit, a wrong name, a request that is refused) is no such thing.
    pub fn is_silence(self) -> bool {
        matches!(self, FaultKind::Unreachable | FaultKind::Busy | FaultKind::Broken)
    }
}

/// A piece of JSON that is kept byte for byte.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Item(pub Box<RawValue>);

impl Item {
    /// Returns the JSON text, or an error where `text` is no JSON.
    pub fn parse(text: String) -> Result<Item, serde_json::Error> {
        RawValue::from_string(text).map(Item)
    }

    pub fn get(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Item) -> bool {
        self.get() == other.get()
    }
}

impl Reply {
    /// Returns whether there is nothing in it that a person or a tool could use.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.text.trim().is_empty()
    }
}

impl Outcome {
    /// Returns an outcome that tells the model why its call did not run or failed.
    pub fn refused(text: impl Into<String>) -> Outcome {
        Outcome { text: text.into(), ok: false, exit: None, millis: 0, whole: None, images: vec![] }
    }

    pub fn said(text: impl Into<String>) -> Outcome {
        Outcome { ok: true, ..Outcome::refused(text) }
    }
}

impl Usage {
    /// Counts `other` in.
    pub fn add(&mut self, other: Usage) {
        self.input = self.input.saturating_add(other.input);
        self.cached = self.cached.saturating_add(other.cached);
        self.cache_write = self.cache_write.saturating_add(other.cache_write);
        self.output = self.output.saturating_add(other.output);
        self.estimated = self.estimated || other.estimated;
    }
}
