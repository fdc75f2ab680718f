//! How large a request is, before anybody has counted its tokens. A token stands for at least one byte, so bytes bound tokens;
//! where a budget must hold, that bound is what counts. Pictures are the exception: their tokens follow from their pixels.

use crate::message::{PromptItem, ToolResult, ToolSpec};

/// What the form of one item adds to its content, in bytes: names of fields and roles.
const FORM: u64 = 160;
/// More tokens than any provider counts for one picture that quire sends.
const PICTURE_TOKENS: u64 = 50_000;
/// What a server adds of its own to every request: a template, a preamble for tools. In tokens, amply.
const PREAMBLE: u64 = 2_000;
/// Bytes for which there is most likely a token, where a size is guessed and not bounded.
const LIKELY_BYTES: u64 = 3;

/// The size of a request or of a part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Tokens that it does not exceed.
    pub most: u64,
    /// Tokens that it likely has: no bound, and good enough to decide when a conversation grows too long.
    pub likely: u64,
}

impl Size {
    /// Returns the size that a server counted.
    pub fn counted(tokens: u64) -> Size {
        Size { most: tokens, likely: tokens }
    }

    fn of_bytes(bytes: u64) -> Size {
        Size { most: bytes, likely: bytes.div_ceil(LIKELY_BYTES) }
    }

    pub fn plus(self, other: Size) -> Size {
        Size { most: self.most.saturating_add(other.most), likely: self.likely.saturating_add(other.likely) }
    }
}

/// Returns the size of what every request of a task begins with.
pub fn head(system: &str, tools: &[ToolSpec]) -> Size {
    let tool = |tool: &ToolSpec| {
        escaped(&tool.name) + escaped(&tool.description) + tool.input.to_string().len() as u64 + FORM
    };
    let bytes = escaped(system) + FORM + tools.iter().map(tool).sum::<u64>();
    Size::of_bytes(bytes).plus(Size { most: PREAMBLE, likely: 0 })
}

/// Returns the size of an item of the conversation.
pub fn item(item: &PromptItem) -> Size {
    match item {
        PromptItem::Words(text) => words(text),
        PromptItem::Pictures(files) => {
            let names: u64 = files.iter().map(|file| escaped(&file.name) + FORM).sum();
            Size::of_bytes(FORM + names).plus(pictures(files.len()))
        }
        PromptItem::Model(reply) => {
            let items: u64 = reply.items.iter().map(|item| item.get().len() as u64 + FORM).sum();
            // What goes to another wire, or came on a tape, is text and calls.
            let calls =
                reply.calls.iter().map(|c| escaped(&c.id) + escaped(&c.tool) + escaped(&c.input) + FORM);
            let bytes = items.max(escaped(&reply.text) + FORM + calls.sum::<u64>());
            let said = Size::of_bytes(bytes);
            // Hidden reasoning is read again as what it was written as.
            Size { most: said.most.max(reply.usage.output), likely: said.likely.max(reply.usage.output) }
        }
        PromptItem::Results(all) => results(all.iter()),
    }
}

/// Returns the size of words of the person's, or of a notice.
pub fn words(text: &str) -> Size {
    Size::of_bytes(escaped(text) + FORM)
}

fn pictures(many: usize) -> Size {
    Size { most: many as u64 * PICTURE_TOKENS, likely: many as u64 * 2_000 }
}

/// Returns the size of outcomes.
pub fn results<'r>(results: impl Iterator<Item = &'r ToolResult>) -> Size {
    results.map(result).fold(Size::default(), Size::plus)
}

pub fn result(result: &ToolResult) -> Size {
    let outcome = &result.outcome;
    let text = Size::of_bytes(escaped(&outcome.text) + escaped(&result.id) + escaped(&result.tool) + FORM);
    text.plus(pictures(outcome.images.len()))
}

/// Returns how many bytes `text` has within JSON.
fn escaped(text: &str) -> u64 {
    let extra = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 1,
        0..0x20 => 5,
        _ => 0,
    };
    text.len() as u64 + text.bytes().map(extra).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_text_is_longer_in_json_than_it_was_counted(text: String) {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert!(escaped(&text) + 2 >= json.len() as u64, "{}", json);
        }
    }
}
