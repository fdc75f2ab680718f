//! The wires to models. Knows nothing of tools, tasks or files: a [`quire_core::Prompt`] goes, a
//! [`quire_core::Reply`] comes.
//!
//! [`Client::ask`] writes the prompt in the form of the model's wire, reads the stream that answers it, and
//! asks again where that can help. What a wire has of its own is one file; what all have in common is
//! `client.rs`.

mod chat;
mod client;
mod fault;
mod messages;
mod offer;
mod responses;
mod sse;
mod tape;
mod trial;
mod wire;

#[cfg(test)]
mod tests;

pub use client::{Client, Leave, MayRepeat, Patience, Unanswered};
pub use offer::Offer;
pub use trial::Trial;

use quire_core::Prompt;
use quire_core::charter::Model;
use std::collections::HashMap;

/// What can be shown while a reply comes. It is never kept: the reply holds all of it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Glimpse {
    /// The next piece of the visible text.
    Text(String),
    /// The next piece of what the model thinks.
    Reasoning(String),
    /// The try failed; try `attempt` of `of` begins after the pause.
    Retrying { attempt: u32, of: u32, after_ms: u64, why: String },
    /// What was shown of this reply is void: if it comes, it comes from its beginning.
    Restarted,
}

/// Returns the body of the request that asks `model`, as it is first sent.
pub fn request_body(model: &Model, prompt: &Prompt) -> Option<Vec<u8>> {
    let dialect = wire::of(model.wire)?;
    let ask = wire::Ask { model, prompt, images: &HashMap::new() };
    dialect.body(&ask, wire::items(dialect, &ask), &wire::Quirks::default()).ok()
}

/// Returns the JSON text of each item of the conversation as it stands in the request, without images and
/// cache marks. What a prompt gives here must be the beginning of what the next one of the task gives, or no
/// provider's cache holds.
pub fn serialized_items(model: &Model, prompt: &Prompt) -> Vec<String> {
    match wire::of(model.wire) {
        Some(dialect) => {
            let ask = wire::Ask { model, prompt, images: &HashMap::new() };
            wire::items(dialect, &ask).into_iter().map(|item| item.get().to_owned()).collect()
        }
        None => {
            prompt.items.iter().map(|item| serde_json::Value::from(tape::words(item)).to_string()).collect()
        }
    }
}
