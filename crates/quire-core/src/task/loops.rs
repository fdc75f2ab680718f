//! Loops: the same calls with the same outcomes, step after step or in a short cycle of steps. The model is told first, and
//! where it goes on, its person is asked.
//!
//! What counts as the same must not take work for a loop. So a step that leaves the folder otherwise than the one that it seems
//! to repeat is progress, and a step that waits for something is none at all. An outcome is the same but for times that
//! programs measure. Calls that fail alike are also the same where they differ in nothing but spaces, quotes and other signs.

use super::{CallState, Stage, Task};
use crate::bytes::Hash;
use crate::change::Snapshot;
use crate::event::Event;
use crate::message::{Call, Outcome, Reply};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::Arc;

/// The last steps, and how far they repeat those before them.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Loops {
    /// At most [`CYCLE_MAX`], the last one first.
    steps: VecDeque<Step>,
    /// By length of the cycle, from 1: how many steps in a row were like the one so many steps before, in all that is known.
    same: [u32; CYCLE_MAX],
    /// Likewise, but for the folder: each step changed it.
    alike: [u32; CYCLE_MAX],
    /// The model was told of what goes on now.
    told: bool,
    /// How often the model was told since its person's last word.
    warnings: u32,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Step {
    same: Hash,
    alike: Hash,
    reply: Arc<Reply>,
}

/// A cycle that the last steps went round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Round {
    pub steps: u32,
    /// How often in a row, the first time among them.
    pub times: u32,
}

/// Steps of the longest cycle that is found: to change something, try it, take it back and try again.
const CYCLE_MAX: usize = 4;
/// Rounds after which the model is told, and after which its person is asked.
const TIMES_TOLD: u32 = 4;
const TIMES_MAX: u32 = 8;
/// Rounds after which the model is told where each changed the folder: it may be work that says nothing.
const TIMES_ALIKE: u32 = 8;
/// Loops of which the model is told; at the next one its person is asked.
const WARNINGS_MAX: u32 = 3;
/// A call that took longer than this, in milliseconds, and whose business it is to wait, waited.
const WAIT_MS: u64 = 1_000;

impl Loops {
    fn take(&mut self, step: Step) {
        for n in 0..CYCLE_MAX {
            let before = self.steps.get(n);
            let count = |counts: &mut [u32; CYCLE_MAX], is_like: bool| {
                counts[n] = if is_like { counts[n].saturating_add(1) } else { 0 };
            };
            count(&mut self.same, before.is_some_and(|before| before.same == step.same));
            count(&mut self.alike, before.is_some_and(|before| before.alike == step.alike));
        }
        self.steps.push_front(step);
        self.steps.truncate(CYCLE_MAX);
        self.told &= self.round().is_some();
    }

    /// Returns the cycle that the last steps went round often enough to be told of, the shortest one.
    fn round(&self) -> Option<Round> {
        let same = rounds(&self.same).filter(|round| round.times >= TIMES_TOLD);
        same.or_else(|| rounds(&self.alike).filter(|round| round.times >= TIMES_ALIKE))
    }
}

/// Returns the cycle that was gone round most often.
fn rounds(counts: &[u32; CYCLE_MAX]) -> Option<Round> {
    let all = (1..).zip(counts).map(|(steps, count)| Round { steps, times: count / steps + 1 });
    all.reduce(|most, round| if round.times > most.times { round } else { most })
}

impl Task {
    /// Takes in the step that just ended.
    pub(super) fn note_step(&mut self) {
        let Some(open) = &self.reply else { return };
        let mut seen = String::new();
        for (state, call) in open.calls.iter().zip(&open.reply.calls) {
            let CallState::Done(outcome) = state else { return };
            if waited(call, outcome) {
                return;
            }
            let failed = !outcome.ok || outcome.exit.is_some_and(|exit| exit != 0);
            let input = if failed { letters(&call.input) } else { plain(&call.input) };
            for part in [&call.tool, &input, &steady(&outcome.text)] {
                seen.push_str(part);
                seen.push('\0');
            }
            outcome.images.iter().for_each(|image| seen.push_str(&image.blob.to_string()));
        }
        let alike = Hash::of(seen.as_bytes());
        let folder = self.snapshot.unwrap_or_else(|| Snapshot::default().id());
        seen.push_str(&folder.to_string());
        let step = Step { same: Hash::of(seen.as_bytes()), alike, reply: open.reply.clone() };
        self.loops.take(step);
    }

    /// Returns the event that tells the model of a loop, where it is owed.
    pub(crate) fn owed_warning(&self) -> Option<Event> {
        let Round { steps, times } = self.loops.round().filter(|_| !self.loops.told)?;
        Some(Event::Looped { steps, times })
    }

    /// Returns whether the model goes round although it was told.
    pub(crate) fn goes_round(&self) -> bool {
        let same = rounds(&self.loops.same).map_or(0, |round| round.times);
        let again = !self.loops.told && self.loops.warnings >= WARNINGS_MAX;
        same >= TIMES_MAX || same >= TIMES_TOLD && again
    }

    /// Returns how far the model goes round, and the calls of one round in their order.
    pub(crate) fn round(&self) -> Option<(Round, Vec<&Call>)> {
        let round = self.loops.round()?;
        let steps = self.loops.steps.iter().take(round.steps as usize).rev();
        Some((round, steps.flat_map(|step| &step.reply.calls).collect()))
    }

    pub(super) fn warn(&mut self, steps: u32, times: u32) {
        let what = match steps {
            1 => format!("Your last {times} steps made the same calls with the same outcomes"),
            _ => format!("Your last {} steps went round the same {steps} steps {times} times", steps * times),
        };
        self.notice(&format!(
            "{what}. Once more will bring nothing else: find out why, go another way, or end and say what stands in it."
        ));
        self.loops.told = true;
        self.loops.warnings += 1;
    }

    /// Whether the model may be told something between two steps.
    pub(super) fn is_between_steps(&self) -> bool {
        self.stage == Stage::Ask && !self.asked && !self.is_compacting()
    }
}

/// Whether a call waited: what does not change while something else goes on is no loop. The limits of steps and time bound it.
fn waited(call: &Call, outcome: &Outcome) -> bool {
    let sleeps = |input: &str| input.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == "sleep");
    outcome.millis >= WAIT_MS && (call.tool == "job" || call.tool == "shell" && sleeps(&call.input))
}

/// Returns an input as the same for all ways to write the same JSON.
fn plain(input: &str) -> String {
    serde_json::from_str::<Value>(input).map_or_else(|_| input.to_owned(), |value| value.to_string())
}

/// Returns the letters and digits of an input, and what names and options are made of; where standard error goes is left out.
fn letters(input: &str) -> String {
    fn of(value: &Value, all: &mut String) {
        match value {
            Value::String(text) => {
                let kept = |c: &char| c.is_alphanumeric() || "-_./".contains(*c);
                all.extend(text.replace("2>&1", "").chars().filter(kept));
            }
            Value::Array(values) => values.iter().for_each(|value| of(value, all)),
            Value::Object(fields) => fields.iter().for_each(|(name, value)| {
                all.push_str(name);
                all.push(':');
                of(value, all);
            }),
            other => all.push_str(&other.to_string()),
        }
        all.push('\0');
    }
    let mut all = String::new();
    match serde_json::from_str(input) {
        Ok(value) => of(&value, &mut all),
        Err(_) => all.push_str(input),
    }
    all
}

/// Returns an outcome without what differs from one run to the next though nothing else does: times that programs measure (`0.31s`,
/// `12 ms`), the time of day, and addresses in memory. Other numbers stay: they may be what is waited for.
fn steady(text: &str) -> String {
    let mut steady = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(at);
        steady.push_str(before);
        let in_word = before.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_');
        let taken = match passing(from).filter(|_| !in_word) {
            Some(passing) => {
                steady.push('#');
                passing
            }
            None => {
                let number = from.find(|c: char| !c.is_alphanumeric()).unwrap_or(from.len());
                steady.push_str(&from[..number]);
                number
            }
        };
        rest = &from[taken..];
    }
    steady.push_str(rest);
    steady
}

/// Returns how many bytes at the start of `text` are a number that passes.
fn passing(text: &str) -> Option<usize> {
    let run = |text: &str, of: fn(char) -> bool| text.find(|c| !of(c)).unwrap_or(text.len());
    if let Some(address) = text.strip_prefix("0x") {
        let digits = run(address, |c| c.is_ascii_hexdigit());
        return (digits >= 6).then_some(2 + digits);
    }
    let number = run(text, |c| c.is_ascii_digit() || c == '.' || c == ':' || c == ',');
    let parts: Vec<&str> = text[..number].split(':').collect();
    if parts.len() == 3 && parts.iter().all(|part| part.len() >= 2) {
        return Some(number);
    }
    let gap = usize::from(text[number..].starts_with(' '));
    let unit = &text[number + gap..];
    let unit = &unit[..run(unit, char::is_alphabetic)];
    let fine = ["ms", "us", "µs", "ns"].contains(&unit);
    let seconds = ["s", "sec", "secs", "seconds"].contains(&unit) && text[..number].contains('.');
    // quire's own words for more than a minute and a half have no fraction.
    let own = unit == "s" && text[number..].starts_with(" s]");
    (fine || seconds || own).then_some(number + gap + unit.len())
}

#[cfg(test)]
mod tests;
