//! What passes through the wall, over one socket: frames of a little-endian `u32` length and that many bytes of JSON.
//! Whatever comes from the hand is hostile input: lengths are limited, names are checked, nothing is trusted.

use serde::{Deserialize, Serialize};
use std::net::TcpStream;

/// Longest frame that either side reads, in bytes.
pub const FRAME_MAX: u32 = 4 << 20;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToHand {
    /// Run a tool. Calls run at the same time; who sends waits where order matters.
    Call {
        id: u32,
        tool: String,
        input: String,
    },
    /// End a call and every process it started that still belongs to it.
    Cancel {
        id: u32,
    },
    /// Stop every process inside, so that files hold still; answered by `Still`.
    Freeze,
    Thaw,
    /// Connect to a port inside; answered by `Connected`.
    Connect {
        id: u32,
        port: u16,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromHand {
    /// The sandbox stands and takes calls.
    Ready,
    /// Output of a running call, to be shown and forgotten.
    Live {
        id: u32,
        text: String,
    },
    Done {
        id: u32,
        outcome: HandOutcome,
    },
    Still,
    /// What programs inside listen on now, where that has changed.
    Listening {
        ports: Vec<Port>,
    },
    /// The connection comes as a descriptor beside the frame; where there is none, `why` says so.
    Connected {
        id: u32,
        why: String,
        #[serde(skip)]
        socket: Option<TcpStream>,
    },
}

/// A port that is listened on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    pub port: u16,
    /// Name of the program, as far as it can be seen.
    pub program: String,
}

/// As [`quire_core::Outcome`], with files of the out directory where that has blobs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HandOutcome {
    pub text: String,
    pub ok: bool,
    pub exit: Option<i32>,
    pub millis: u64,
    /// Name of a file directly in the out directory that holds the whole output.
    pub whole: Option<String>,
    pub images: Vec<HandImage>,
}

/// What the hand guesses of a command that was killed.
pub(crate) const KILLED: &str = "killed; perhaps out of memory";

impl HandOutcome {
    /// Adds a line that says why something was ended, in the place of the hand's guess.
    pub(crate) fn add(&mut self, line: &impl std::fmt::Display) {
        let said = self.text.replace(&format!("({KILLED})"), "(killed)");
        self.text = format!("{}\n{line}", said.trim_end_matches('\n'));
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HandImage {
    pub media_type: String,
    /// Name of a file directly in the out directory.
    pub file: String,
    /// Of a page: the window in which it looks so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
}

/// A window in which a page was looked at, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    pub width: u32,
    /// How much wider the page is.
    pub wider: u32,
}
