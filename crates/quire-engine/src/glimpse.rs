//! What is shown while it happens and then forgotten: never folded, never stored, and free to be lost on the way.

use quire_sandbox::protocol::Port;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Glimpse {
    /// The next piece of the model's visible text.
    Text(String),
    /// The next piece of what the model thinks.
    Reasoning(String),
    /// What was shown of this reply is void: it comes again from its beginning.
    Restarted,
    /// The model did not answer well; it is asked again after the pause.
    Retrying { attempt: u32, of: u32, after_ms: u64, why: String },
    /// Output of the running call at that place of the reply.
    Output { call: u32, text: String },
    /// The folder is being copied: files done, files in all.
    Copying { done: u64, total: u64 },
    /// What programs in the sandbox listen on now.
    Listening(Vec<Port>),
    /// The sandbox's view of the machine is being made, once: entries done, entries in all.
    Preparing { done: u64, total: u64 },
    /// Nothing can be written down just now, so nothing goes on until it can.
    Held(String),
}

impl From<quire_model::Glimpse> for Glimpse {
    fn from(glimpse: quire_model::Glimpse) -> Glimpse {
        match glimpse {
            quire_model::Glimpse::Text(text) => Glimpse::Text(text),
            quire_model::Glimpse::Reasoning(text) => Glimpse::Reasoning(text),
            quire_model::Glimpse::Retrying { attempt, of, after_ms, why } => {
                Glimpse::Retrying { attempt, of, after_ms, why }
            }
            quire_model::Glimpse::Restarted => Glimpse::Restarted,
        }
    }
}
