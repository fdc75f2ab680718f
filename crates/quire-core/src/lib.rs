//! The words quire is made of, and everything that can be said about a task without doing anything.
//!
//! A task is an append-only log of [`Event`]s. [`Task`] is the fold of that log; [`want`] says what the task owes
//! next; [`Prompt`] is what a model is shown. All of it is a pure function of the log: there is no I/O here, no clock, no
//! randomness, no environment and no async, so that crash, resume, replay and test are one thing.

pub mod beside;
pub mod bytes;
pub mod change;
pub mod charter;
pub mod claim;
pub mod diff;
pub mod event;
pub mod finding;
pub mod merge;
pub mod message;
pub mod money;
pub mod net;
pub mod note;
pub mod prompt;
pub mod sealed;
pub mod secret;
pub mod table;
pub mod task;
#[cfg(test)]
mod testing;
pub mod view;
pub mod want;
pub mod weigh;

pub use bytes::{Hash, RelPath};
pub use change::{Entry, Node, Snapshot};
pub use charter::Charter;
pub use event::{Event, Logged};
pub use message::{Call, Item, Outcome, Prompt, PromptItem, Reply, ToolSpec, Usage};
pub use money::{Price, Usd};
pub use sealed::Secret;
pub use task::{Phase, Refusal, Serving, Task};
pub use want::{Want, settle, want};
