//! Trying a model out: whether it answers, streams, calls a tool and sees a picture is asked of itself, and not looked up.

use crate::Client;
use quire_core::charter::Model;
use quire_core::message::{Call, Fault, FaultKind, Image, Prompt, PromptItem, Reply, ToolResult, ToolSpec};
use quire_core::{Hash, Outcome};
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;

/// What a model that answers was found to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The answer came in pieces, and not all at once at its end.
    pub streams: bool,
    pub calls_tools: bool,
    /// Absent where that could not be found out.
    pub sees_images: Option<bool>,
}

/// A picture of 16 by 16 points, all of them magenta.
const MAGENTA: &[u8] = &[
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00,
    0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x10, 0x08, 0x02, 0x00, 0x00, 0x00, 0x90, 0x91, 0x68, 0x36, 0x00,
    0x00, 0x00, 0x16, 0x49, 0x44, 0x41, 0x54, 0x78, 0xda, 0x63, 0xf8, 0xcf, 0xf0, 0x9f, 0x24, 0xc4, 0x30,
    0xaa, 0x61, 0x54, 0xc3, 0xf0, 0xd5, 0x00, 0x00, 0x20, 0xd3, 0xfe, 0x10, 0x15, 0x45, 0x82, 0x8f, 0x00,
    0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
];
/// What one may call it.
const COLOURS: [&str; 6] = ["magenta", "fuchsia", "pink", "purple", "violet", "#ff00ff"];

impl Client {
    /// Asks `model` two short questions: to call a tool, and what colour a picture has that the tool gave. Costs some hundred
    /// tokens. A fault is that of the first question.
    pub async fn try_out(&self, model: &Model, key: Option<&str>) -> Result<Trial, Fault> {
        let words = "This is a test. Call the tool `picture` once, and say nothing else.";
        let mut items = vec![Arc::new(PromptItem::Words(words.to_owned()))];
        let (reply, streams) = self.ask_once(model, key, &prompt(&items), &HashMap::new()).await?;
        let calls_tools = reply.calls.iter().any(|call| call.tool == "picture");

        // A model without tools is told that it had called one, which its own words do not say.
        let reply = if calls_tools { reply } else { as_if_called(reply) };
        let picture = Image { media_type: "image/png".to_owned(), blob: Hash::of(MAGENTA) };
        let outcome = Outcome { images: vec![picture.clone()], ..Outcome::said("The picture is there.") };
        let results = reply.calls.iter().map(|call| ToolResult {
            id: call.id.clone(),
            tool: call.tool.clone(),
            outcome: Arc::new(outcome.clone()),
        });
        let results = PromptItem::Results(results.collect());
        let question = "Which colour has the picture? Answer with that one word.";
        items.extend(
            [PromptItem::Model(Arc::new(reply)), results, PromptItem::Words(question.to_owned())]
                .map(Arc::new),
        );
        let shown = Model { images: true, ..model.clone() };
        let images = HashMap::from([(picture.blob, MAGENTA.to_vec())]);
        let sees_images = match self.ask_once(&shown, key, &prompt(&items), &images).await {
            Ok((reply, _)) => {
                let said = reply.text.to_lowercase();
                Some(COLOURS.iter().any(|colour| said.contains(colour)))
            }
            // Many servers refuse a request with a picture where the model has no eyes.
            Err(fault)
                if fault.kind == FaultKind::Request || fault.status.is_some_and(|status| status >= 500) =>
            {
                Some(false)
            }
            Err(_) => None,
        };
        Ok(Trial { streams, calls_tools, sees_images })
    }
}

fn as_if_called(reply: Reply) -> Reply {
    let call = Call { id: "c1".to_owned(), tool: "picture".to_owned(), input: "{}".to_owned() };
    // Nobody's own, so that each wire writes it in its way.
    Reply { calls: vec![call], by: "nobody".to_owned(), ..reply }
}

fn prompt(items: &[Arc<PromptItem>]) -> Prompt {
    let tool = ToolSpec {
        name: "picture".to_owned(),
        description: "Gives you a picture.".to_owned(),
        input: json!({ "type": "object", "properties": {} }),
        reads: true,
    };
    Prompt {
        system: "You are being tried out.".into(),
        tools: vec![tool].into(),
        items: items.to_vec(),
        cache_key: "quire-trial".to_owned(),
        replies: 0,
    }
}
