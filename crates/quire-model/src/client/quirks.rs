//! What is learnt of a server from what it refuses: parameters that it does not know, and how much output it gives. Its own words are
//! all that there is to learn it from.

use crate::fault::Trouble;
use crate::wire::{CAPS, Quirks};
use quire_core::charter::Model;
use quire_core::message::FaultKind;
use serde_json::Value;

impl Quirks {
    /// Learns from what a server answered; returns whether anything is other than before.
    pub(super) fn learn(&mut self, optional: &[&'static str], model: &Model, trouble: &Trouble) -> bool {
        let before = self.clone();
        if trouble.kind == FaultKind::TooLong && counts_output(&trouble.body) {
            // Input and the output asked for do not fit together; before the input is cut, less output is asked for.
            let asked = self.output_max(model);
            self.output_max = Some(if asked > OUTPUT_LEAST { (asked / 4).max(OUTPUT_LEAST) } else { asked });
            return self.output_max != Some(asked);
        }
        if !matches!(trouble.status, Some(400 | 422)) || trouble.kind != FaultKind::Request {
            return false;
        }
        let cap = self.cap(optional);
        // Mistral's words.
        self.bridges |= trouble.why.contains("role 'user' after role 'tool'");
        for name in optional.iter().copied().filter(|name| is_named(name, &trouble.body)) {
            if !CAPS.contains(&name) {
                self.without.insert(name);
            } else if Some(name) == cap {
                let asked = self.output_max(model);
                let has_successor = name == OLD_CAP && optional.contains(&"max_completion_tokens");
                match allowed(&trouble.why, asked) {
                    Some(most) => self.output_max = Some(most),
                    // Without any, nothing bounds what a reply costs.
                    None if unknown(trouble) && (has_successor || model.price.is_none()) => {
                        self.without.insert(name);
                    }
                    None => self.output_max = Some(asked.min(4096)),
                }
            }
        }
        *self != before
    }
}

/// Chat has two names for it, of which this is the older one, known to more servers.
const OLD_CAP: &str = CAPS[0];
/// Less output than this, in tokens, is not asked for to make a request fit.
const OUTPUT_LEAST: u64 = 1_024;

/// Returns whether an error says that the output asked for is part of what is too long.
fn counts_output(body: &str) -> bool {
    CAPS.iter().chain(&["in the completion"]).any(|part| body.contains(part))
}

/// Returns whether an error says that a parameter is unknown, and not that its value is wrong.
fn unknown(trouble: &Trouble) -> bool {
    let lower = trouble.body.to_ascii_lowercase();
    ["support", "unknown", "unrecognized", "unexpected", "extra", "permitted"]
        .iter()
        .any(|word| lower.contains(word))
}

/// Returns whether an error's body complains of the parameter `name`. Some names are everyday words, so that
/// the body must have it in quotes, or as the `param`, of which it may name a part (`reasoning.summary`).
fn is_named(name: &str, body: &str) -> bool {
    // Where it is missing it must not be left out.
    if name == "reasoning_content" {
        let lower = body.to_ascii_lowercase();
        let wants = ["missing", "must be", "required"].iter().any(|word| lower.contains(word));
        return body.contains(name) && !wants;
    }
    if name.contains('_') {
        return body.contains(name);
    }
    let error: Value = serde_json::from_str(body).unwrap_or_default();
    let param = error.pointer("/error/param").or_else(|| error.get("param")).and_then(Value::as_str);
    let is_param = |param: &str| {
        param == name || param.starts_with(&format!("{name}.")) || param.starts_with(&format!("{name}["))
    };
    let quoted = ["'", "\"", "`"]
        .iter()
        .any(|quote| [quote, "."].iter().any(|end| body.contains(&format!("{quote}{name}{end}"))));
    let lower = body.to_ascii_lowercase();
    let complains = ["support", "unknown", "unrecognized", "unexpected", "extra", "permitted"];
    param.is_some_and(is_param)
        || quoted && param.is_none() && complains.iter().any(|word| lower.contains(word))
}

/// Returns the greatest number below `asked` in a sentence such as "max_tokens: 16384 > 8192, which is the
/// maximum".
fn allowed(why: &str, asked: u64) -> Option<u64> {
    let numbers = why.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok());
    numbers.filter(|number| (256..asked).contains(number)).max()
}
