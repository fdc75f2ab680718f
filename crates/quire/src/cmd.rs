//! One file a command. Each takes its arguments and the [`Face`], and returns how it ended.

pub mod completions;

use crate::terminal::Look;

/// How this run shows things.
pub struct Face {
    pub json: bool,
    pub quiet: bool,
    pub out: Look,
    pub err: Look,
}
