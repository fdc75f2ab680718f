//! A fold as bytes, so that a long log need not be folded from its beginning every time. It is a copy of what the log says, and
//! means something only to the code that made it: whoever keeps one keeps besides of which log it is, and which code's.

use super::Task;

impl Task {
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a fold is plain data")
    }

    /// Returns the fold that `bytes` are, or `None` where they are none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Task> {
        serde_json::from_slice(bytes).ok()
    }
}
