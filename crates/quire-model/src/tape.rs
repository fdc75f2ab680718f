//! A recorded model: a JSON document of replies that are given in their order. Nothing but the model is
//! recorded; tools, files and checks around it are real, so a tape also says what it expects to be told, and
//! stops loudly where it is not.
//!
//! ```json
//! {"v": 1, "steps": [
//!   {"expect": {"contains": ["invitation"], "not_contains": ["error"], "items": 1},
//!    "reply": {"text": "I will look first.", "calls": [{"id": "1", "tool": "shell", "input": {"command": "ls"}}],
//!              "delay_ms": 100}}]}
//! ```
//!
//! The step is found by the number of replies that the task had, so a tape holds no state and goes on after
//! a crash. `contains` and `not_contains` are tested on what is new since the last reply; `items` counts all
//! that is new.

use crate::Glimpse;
use crate::fault::{Trouble, head};
use crate::wire::Show;
use quire_core::charter::Wire;
use quire_core::message::{Call, FaultKind, Prompt, PromptItem, Reply, Stop, Usage};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::path::Path;
use std::time::Duration;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tape {
    v: u32,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    #[serde(default)]
    expect: Expect,
    reply: Recorded,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Expect {
    #[serde(default)]
    contains: Vec<String>,
    #[serde(default)]
    not_contains: Vec<String>,
    items: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    #[serde(default)]
    text: String,
    #[serde(default)]
    calls: Vec<RecordedCall>,
    /// How long the whole reply takes to appear, for eyes that watch.
    #[serde(default)]
    delay_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordedCall {
    id: String,
    tool: String,
    input: Box<RawValue>,
}

/// The pieces in which a reply is shown when it takes time.
const PIECES: usize = 20;

/// Returns the reply that the tape at `path` has for `prompt`.
pub(crate) async fn play(path: &str, prompt: &Prompt, show: Show<'_>) -> Result<Reply, Trouble> {
    let content = std::fs::read_to_string(Path::new(path)).map_err(|error| {
        Trouble::new(FaultKind::Tape, format!("The tape {path} cannot be read: {error}."))
    })?;
    let Recorded { text, calls, delay_ms } = find(&content, path, prompt)?;
    let words: Vec<&str> = text.split_inclusive(' ').collect();
    let pieces: Vec<String> =
        words.chunks(words.len().div_ceil(PIECES).max(1)).map(|piece| piece.concat()).collect();
    let pause = Duration::from_millis(delay_ms / (pieces.len().max(1) as u64));
    for piece in pieces {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        show(Glimpse::Text(piece));
    }
    let calls = calls
        .into_iter()
        .map(|call| Call { id: call.id, tool: call.tool, input: call.input.get().to_owned() })
        .collect();
    // A tape's replies go back to no server: text and calls are all there is of them.
    Ok(Reply {
        wire: Wire::Tape,
        items: vec![],
        text,
        calls,
        stop: Stop::Done,
        usage: Usage::default(),
        by: String::new(),
    })
}

/// Returns the step's reply, if the conversation is what the step expects.
fn find(content: &str, path: &str, prompt: &Prompt) -> Result<Recorded, Trouble> {
    let fault = |why: String| Trouble::new(FaultKind::Tape, why);
    let tape: Tape = serde_json::from_str(content)
        .map_err(|error| fault(format!("The tape {path} is no tape: {error}.")))?;
    if tape.v != 1 {
        return Err(fault(format!("The tape {path} is of version {}; this quire plays version 1.", tape.v)));
    }
    let is_reply = |item: &&std::sync::Arc<PromptItem>| matches!(item.as_ref(), PromptItem::Model(_));
    let nth = prompt.replies as usize;
    let from = prompt.items.iter().rposition(|item| is_reply(&item)).map_or(0, |last| last + 1);
    let new = &prompt.items[from..];
    let told = new.iter().map(|item| words(item)).collect::<Vec<_>>().join("\n");

    let count = tape.steps.len();
    let Some(step) = tape.steps.into_iter().nth(nth) else {
        return Err(fault(format!(
            "The tape {path} has {count} replies, and reply {} was asked for. It was told: {}",
            nth + 1,
            shortened(&told)
        )));
    };
    let misses = step.expect.contains.iter().filter(|part| !told.contains(part.as_str()));
    let misses = misses.map(|part| format!("{part:?} in what it is told"));
    let extras = step.expect.not_contains.iter().filter(|part| told.contains(part.as_str()));
    let extras = extras.map(|part| format!("no {part:?} in what it is told"));
    let items = step.expect.items.filter(|items| *items != new.len());
    let items = items.map(|items| format!("{items} new items (there are {})", new.len()));
    let wanted: Vec<String> = misses.chain(extras).chain(items).collect();
    if wanted.is_empty() {
        return Ok(step.reply);
    }
    Err(fault(format!(
        "Reply {} of the tape {path} does not fit: it expects {}. It was told: {}",
        nth + 1,
        wanted.join(", and "),
        shortened(&told)
    )))
}

/// Returns an item as the tape reads it: the words themselves, and the text of each outcome.
pub(crate) fn words(item: &PromptItem) -> String {
    match item {
        PromptItem::Words(text) => text.clone(),
        PromptItem::Pictures(files) => {
            files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>().join("\n")
        }
        PromptItem::Model(reply) => reply.text.clone(),
        PromptItem::Results(results) => {
            results.iter().map(|result| result.outcome.text.as_str()).collect::<Vec<_>>().join("\n")
        }
    }
}

/// Returns the beginning and the end of what the tape was told: an error most often stands at the end.
fn shortened(told: &str) -> String {
    const HALF: usize = 600;
    if told.len() <= 2 * HALF {
        return told.to_owned();
    }
    let from =
        (told.len() - HALF..told.len()).find(|from| told.is_char_boundary(*from)).unwrap_or(told.len());
    format!("{} [...] {}", head(told, HALF), &told[from..])
}
