//! The wires against a server of the tests' own, over real sockets.

mod answers;
mod faults;
mod fuzz;
mod prefix;
mod server;
mod servers;
mod shapes;
mod taped;

use crate::{Client, Glimpse, Patience};
use quire_core::charter::{Edits, Model, Wire};
use quire_core::message::{Fault, Prompt, PromptItem, Reply, ToolResult, ToolSpec};
use quire_core::{Hash, Outcome};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) const KEY: &str = "sk-very-secret-0123";

pub(crate) fn model(wire: Wire, base_url: &str) -> Model {
    Model {
        provider: "test".to_owned(),
        name: "tiny".to_owned(),
        wire,
        base_url: base_url.to_owned(),
        key_env: Some("TEST_KEY".to_owned()),
        edits: Edits::EditAndWrite,
        images: true,
        context_tokens: None,
        output_tokens: None,
        price: None,
    }
}

pub(crate) fn prompt(items: Vec<PromptItem>) -> Prompt {
    let input = json!({ "type": "object", "properties": { "command": { "type": "string" } }, "required": ["command"] });
    let tool =
        ToolSpec { name: "shell".to_owned(), description: "Runs a command.".to_owned(), input, reads: false };
    let replies = items.iter().filter(|item| matches!(item, PromptItem::Model(_))).count() as u32;
    Prompt {
        system: "Be brief.".into(),
        tools: vec![tool].into(),
        items: items.into_iter().map(Arc::new).collect(),
        cache_key: "task-7".to_owned(),
        replies,
    }
}

pub(crate) fn words(text: &str) -> PromptItem {
    PromptItem::Words(text.to_owned())
}

pub(crate) fn results(reply: &Reply, text: &str) -> PromptItem {
    let result = |call: &quire_core::Call| ToolResult {
        id: call.id.clone(),
        tool: call.tool.clone(),
        outcome: Arc::new(Outcome::said(text)),
    };
    PromptItem::Results(reply.calls.iter().map(result).collect())
}

/// A client that does not make tests wait.
pub(crate) fn client() -> Client {
    Client::with(patience())
}

pub(crate) fn patience() -> Patience {
    Patience {
        first_pause: Duration::from_millis(2),
        longest_pause: Duration::from_millis(40),
        idle: Duration::from_secs(20),
        linger: Duration::from_secs(20),
        ..Patience::default()
    }
}

/// What a question brought: the reply or fault, and all that was shown.
pub(crate) struct Asked {
    pub result: Result<Reply, Fault>,
    pub shown: Vec<Glimpse>,
}

impl Asked {
    pub fn reply(self) -> Reply {
        self.result.expect("a reply")
    }

    pub fn fault(self) -> Fault {
        self.result.expect_err("a fault")
    }

    /// All text that was shown, void or not.
    pub fn text(&self) -> String {
        let text = |glimpse: &Glimpse| match glimpse {
            Glimpse::Text(piece) => piece.clone(),
            _ => String::new(),
        };
        self.shown.iter().map(text).collect()
    }

    pub fn reasoning(&self) -> String {
        let text = |glimpse: &Glimpse| match glimpse {
            Glimpse::Reasoning(piece) => piece.clone(),
            _ => String::new(),
        };
        self.shown.iter().map(text).collect()
    }
}

pub(crate) async fn ask(client: &Client, model: &Model, prompt: &Prompt) -> Asked {
    ask_with(client, model, prompt, &HashMap::new()).await
}

pub(crate) async fn ask_with(
    client: &Client,
    model: &Model,
    prompt: &Prompt,
    images: &HashMap<Hash, Vec<u8>>,
) -> Asked {
    let shown = Mutex::new(Vec::new());
    let glimpse = |piece| shown.lock().unwrap().push(piece);
    let result = client.ask(model, Some(KEY), prompt, images, &glimpse).await;
    Asked { result, shown: shown.into_inner().unwrap() }
}

/// Returns a stream of `data:` events.
pub(crate) fn sse(events: &[Value]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}
