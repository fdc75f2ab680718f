//! One file a command. Each takes its arguments and the [`Face`], and returns how it ended.

pub mod completions;
pub mod models;

use crate::error::{Exit, Failure};
use crate::terminal::{Look, clean, confirm};
use quire_engine::settings::{self, FolderError, Options, Resolved, SettingsError, Surroundings};
use std::io::{IsTerminal, Read};

/// How this run shows things.
pub struct Face {
    pub json: bool,
    pub quiet: bool,
    pub out: Look,
    pub err: Look,
}

/// The most that a task's words may be, from stdin; more is a file that was meant to lie in the folder.
const WORDS_BYTES_MAX: u64 = 8 << 20;

/// Returns what a new task may use. Where a folder is as large as a home, a person at the terminal is asked.
pub fn resolve(options: &Options, surroundings: &Surroundings, face: &Face) -> Result<Resolved, Failure> {
    let resolved = settings::resolve(options, surroundings);
    let Err(SettingsError::Folder(unsure @ FolderError::NeedsConfirmation { .. })) = resolved else {
        return Ok(resolved?);
    };
    let can_ask = face.err.terminal && !face.json && std::io::stdin().is_terminal();
    if can_ask && confirm(&clean(&format!("{unsure} Go on?")))? {
        return Ok(settings::resolve(&Options { confirmed: true, ..options.clone() }, surroundings)?);
    }
    Err(unsure.into())
}

/// Returns the words that were typed, or for `-` those on stdin.
pub fn words(typed: &str) -> Result<String, Failure> {
    if typed != "-" {
        return Ok(typed.to_owned());
    }
    let wrong = |what: &str| {
        Failure::new(
            Exit::WrongUse,
            what,
            "Nothing was started or changed.",
            "Say it in words, as text in UTF-8: quire run - < FILE",
        )
    };
    let mut bytes = Vec::new();
    std::io::stdin().take(WORDS_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > WORDS_BYTES_MAX {
        return Err(wrong("What came on stdin is longer than 8 MiB."));
    }
    let words = String::from_utf8(bytes).map_err(|_| wrong("What came on stdin is not UTF-8."))?;
    if words.trim().is_empty() { Err(wrong("Nothing came on stdin.")) } else { Ok(words) }
}
