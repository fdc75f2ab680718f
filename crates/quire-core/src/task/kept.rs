//! A fold as bytes, so that a long log need not be folded from its beginning every time. It is a copy of what the log says, and
//! means something only to the code that made it: whoever keeps one keeps besides of which log it is, and which code's.
//!
//! First come the conversations, which are most of it and stay bytes until they are looked at (`task/conversation.rs`), then the rest.

use super::Task;
use super::conversation::{Conversation, number, numbered};
use std::sync::Arc;

impl Task {
    /// Writes the fold to the end of `bytes`.
    pub fn keep(&self, bytes: &mut Vec<u8>) {
        let left = &self.checkpoints.left;
        number(bytes, left.len());
        left.iter().chain([&self.transcript]).for_each(|one| one.pack(bytes));
        serde_json::to_writer(bytes, self).expect("a fold is plain data");
    }

    /// Returns the fold that `bytes` are from `at` on, or `None` where they are none.
    pub fn of_kept(bytes: &Arc<Vec<u8>>, mut at: usize) -> Option<Task> {
        let at = &mut at;
        let left = (0..numbered(bytes, at)?).map(|_| Conversation::unpack(bytes, at));
        let left: Option<Vec<Conversation>> = left.collect();
        let (left, transcript) = (left?, Conversation::unpack(bytes, at)?);
        let mut task: Task = serde_json::from_slice(&bytes[*at..]).ok()?;
        (task.transcript, task.checkpoints.left) = (transcript, Arc::new(left));
        Some(task)
    }
}
