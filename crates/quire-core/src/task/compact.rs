//! Making a long conversation short, so that no task dies of its context: what was said before gives way to a ledger (what is
//! wanted, decided, rejected, done and open), the person's words, all of them as they said them, and the last steps as they
//! were. The log keeps everything. The ledger is written by a model; where that fails, or is no shorter, by quire itself.
//!
//! That no word of the person's is lost is not left to whoever writes the ledger: an event that lacks one cannot follow.

use super::{PlanStep, Stage, Task};
use crate::bytes::escape;
use crate::charter::{Model, Wire};
use crate::event::Event;
use crate::message::{Call, Prompt, PromptItem, Reply, ToolResult};
use crate::money::{Price, Worst};
use crate::task::spend::worst_of;
use crate::view::first_line;
use crate::weigh::{self, Size};
use std::collections::BTreeSet;
use std::sync::Arc;

/// How far a task has come with making its conversation short.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Compaction {
    /// A person asked for it.
    wanted: bool,
    /// How often in a row a server said that the conversation is too long.
    overflows: u8,
    /// It was made short, and no reply has come since.
    fresh: bool,
    /// A model is writing the ledger.
    pub(super) begun: bool,
    /// A model could not write it.
    failed: bool,
    /// How often, over the whole task.
    pub(super) times: u32,
    /// Files that the model changed, in the words of its calls.
    touched: Arc<BTreeSet<String>>,
    /// Of the person's words, how many the model was told.
    pub(super) told: usize,
}

/// Overflows in a row after which a person is asked: once with the last steps kept, once without.
const OVERFLOWS_MAX: u8 = 2;
/// The longest ledger of a model's that is taken, in bytes.
const LEDGER_BYTES_MAX: usize = 24_000;
/// The longest one where the shortest is wanted.
const OWN_BYTES_MIN: usize = 6_000;
/// The most output that is asked for when a model writes the ledger, in tokens.
const LEDGER_TOKENS: u64 = 6_000;
/// The last steps that are kept as they were, in bytes, where the model's context is not known.
const TAIL_BYTES: u64 = 24_000;
/// The conversation as another model is shown it, in bytes, likewise.
const SHOWN_BYTES_MAX: usize = 200_000;
/// Files, hosts and failed commands that are named.
const NAMED_MAX: usize = 100;

const INSTRUCTION: &str = "[quire] This conversation is about to be cut short to save room. Make no call. Write the ledger from \
which you yourself will go on, in at most 900 words, under these headings:
GOAL: what is wanted, and by which measure it is done.
DECISIONS: what was decided, by whom, and why; what the person asked for or turned down.
REJECTED: ways that were tried or thought of and given up, and why, so that they are not tried again.
FILES: each file that was changed or matters, and what is in it or was done to it.
STATE: what is done and proved, with the commands that show it; facts that were hard to find (names, numbers, paths, versions).
OPEN: what is still to do, in order, and what you were doing just now.
Be exact: copy names, paths, numbers and error texts as they are. The person's own words are kept beside it, so do not repeat them.";

const CUT_SHORT: &str = "[quire] The conversation before this point was too long and is cut short.";

const SYSTEM: &str = "You keep the ledger of a long piece of work that an agent does for a person. You are shown what was said and \
done; from your ledger alone the agent will go on.";

impl Task {
    /// Returns whether the conversation is to be made short before the model is asked again.
    pub(crate) fn owes_compaction(&self) -> bool {
        let compaction = &self.compaction;
        // There is nothing in it but the person's words.
        if !self.transcript.iter().rev().any(|item| matches!(**item, PromptItem::Model(_))) {
            return false;
        }
        compaction.wanted || compaction.overflows > 0 && !compaction.fresh || self.grows_too_long()
    }

    pub(crate) fn is_compacting(&self) -> bool {
        self.compaction.begun
    }

    /// Returns whether the next request and its reply would likely not fit.
    fn grows_too_long(&self) -> bool {
        let Some(model) = self.asked_model().filter(|_| !self.compaction.fresh) else { return false };
        let Some(context) = model.context_tokens else { return false };
        let needed = self.next_size().likely.saturating_add(model.output_max());
        // What is likely is not sure.
        needed > context.saturating_sub(context / 20)
    }

    /// Returns the model that is to write the ledger, and the request; `None` where quire writes it itself.
    pub fn compact_request(&self) -> Option<(Model, Prompt)> {
        let model = self.charter.model.as_ref()?;
        if self.compaction.failed || self.compaction.overflows > 1 || model.wire == Wire::Tape {
            return None;
        }
        let by = self.compact_model()?;
        let shown = self.compaction.overflows > 0 || by != model;
        let by = Model { output_tokens: Some(by.output_max().min(LEDGER_TOKENS)), ..by.clone() };
        if shown {
            let room =
                by.context_tokens.map_or(SHOWN_BYTES_MAX, |context| (context as usize).saturating_mul(3) / 2);
            let words = format!("{}\n\n{INSTRUCTION}", self.shown(room.min(SHOWN_BYTES_MAX)));
            let prompt = Prompt {
                system: SYSTEM.into(),
                tools: Arc::from([]),
                items: vec![Arc::new(PromptItem::Words(words))],
                cache_key: self.prompt().cache_key,
                replies: self.replies_so_far(),
            };
            return Some((by, prompt));
        }
        // The same beginning as the request before: the provider still has it in its cache.
        let mut prompt = self.prompt();
        let results = self.open_results();
        if !results.is_empty() {
            prompt.items.push(Arc::new(PromptItem::Results(results)));
        }
        prompt.items.push(Arc::new(PromptItem::Words(INSTRUCTION.into())));
        Some((by, prompt))
    }

    /// Returns the most that writing the ledger may come to, where a model is to write it.
    pub(crate) fn compact_worst(&self) -> Option<Worst> {
        let (model, prompt) = self.compact_request()?;
        let size = if prompt.tools.is_empty() {
            prompt.items.iter().map(|i| weigh::item(i)).fold(weigh::head(&prompt.system, &[]), Size::plus)
        } else {
            self.next_size().plus(weigh::words(INSTRUCTION))
        };
        let worst = worst_of(&model, size);
        self.over_budget(&worst).is_none().then_some(worst)
    }

    pub(super) fn compact_price(&self) -> Option<Price> {
        self.compact_model().and_then(|model| model.price)
    }

    /// Returns the model that writes ledgers.
    fn compact_model(&self) -> Option<&Model> {
        self.charter.compact_model.as_ref().or(self.charter.model.as_ref())
    }

    /// Returns the event that makes the conversation short with what a model wrote. Where that cannot serve, quire's own
    /// ledger takes its place.
    pub fn compacted(&self, reply: &Reply) -> Event {
        let text = reply.text.trim();
        let serves = !text.is_empty() && text.len() <= self.ledger_room();
        let ledger = if serves { text.to_owned() } else { self.own_ledger() };
        Event::Compacted { text: self.compact_text(&ledger), tail: self.tail(), usage: Some(reply.usage) }
    }

    /// Returns the event that makes the conversation short without a model.
    pub fn compacted_by_quire(&self) -> Event {
        Event::Compacted { text: self.compact_text(&self.own_ledger()), tail: self.tail(), usage: None }
    }

    /// Returns what the model is told in the place of all that it was told before.
    fn compact_text(&self, ledger: &str) -> String {
        let mut text = format!(
            "{CUT_SHORT} What follows is all of it that there is: everything that the person said, in their own words, and a \
             ledger of the work.",
        );
        for words in self.words.iter().take(self.compaction.told) {
            text.push_str(&format!("\n\nThe person said:\n{words}"));
        }
        for told in self.later_files() {
            text.push_str(&format!("\n\n{told}"));
        }
        let answers = self.reaches.iter().filter_map(|reach| {
            let verb = if reach.allow? { "allows" } else { "denies" };
            let until = if reach.once { ", until the turn ends in which this is said" } else { "" };
            Some(format!("The person {verb} {}{until}.", crate::net::address(&reach.host, reach.port)))
        });
        let answers: Vec<String> = answers.collect();
        if !answers.is_empty() {
            text.push_str(&format!("\n\n{}", answers.join(" ")));
        }
        text.push_str(&self.answers_told());
        if let Some(plan) = self.agreed_plan() {
            text.push_str(&format!("\n\nThe person agreed to this plan:\n{plan}"));
        }
        text.push_str(&format!("\n\nThe ledger:\n{ledger}"));
        if !self.compaction.touched.is_empty() {
            let named: Vec<&str> =
                self.compaction.touched.iter().take(NAMED_MAX).map(String::as_str).collect();
            let more = self.compaction.touched.len().saturating_sub(NAMED_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            text.push_str(&format!("\n\nFiles that you changed so far: {}{more}.", named.join(", ")));
        }
        text.push_str("\n\nLook at files again before you rely on what they hold. Go on with the task.");
        text
    }

    /// Returns how many of the last items stay as they are: whole steps, as far as there is room.
    fn tail(&self) -> u32 {
        if self.compaction.overflows > 1 {
            return 0;
        }
        let context = self.charter.model.as_ref().and_then(|model| model.context_tokens);
        let room = context.map_or(TAIL_BYTES, |context| context.saturating_mul(3) / 8).min(TAIL_BYTES * 4);
        let mut used = weigh::results(self.open_results().iter()).most;
        let mut kept = 0;
        for (back, item) in (1u32..).zip(self.transcript.iter().rev()) {
            used = used.saturating_add(weigh::item(item).most);
            let is_open = back == 1 && self.reply.is_some();
            if used > room && !is_open {
                break;
            }
            // Each piece begins with a reply: an outcome without its call is none.
            if matches!(**item, PromptItem::Model(_)) {
                kept = back;
            }
        }
        kept
    }

    /// Returns quire's own ledger: less wise than a model's, and always there.
    fn own_ledger(&self) -> String {
        let mut lines = vec!["GOAL: what the person said above.".to_owned()];
        let said: Vec<String> =
            self.replies().filter(|r| !r.text.trim().is_empty()).map(|r| ends(r.text.trim(), 400)).collect();
        let from = said.len().saturating_sub(15);
        lines.push("DECISIONS, as you said them, the last ones:".into());
        lines.extend(said[from..].iter().map(|said| format!("- {said}")));
        let mut failed = vec![];
        let mut done = vec![];
        for (call, result) in self.steps() {
            let what = format!("{} {}", call.tool, ends(&call.input, 160));
            let Some(result) = result else { continue };
            let outcome = &result.outcome;
            if !outcome.ok || outcome.exit.is_some_and(|exit| exit != 0) {
                failed.push(format!("- {what}: {}", ends(&outcome.text, 160)));
            } else {
                done.push(format!("- {what}"));
            }
        }
        let last = |all: &[String], most: usize| all[all.len().saturating_sub(most)..].to_vec();
        if !failed.is_empty() {
            lines.push("REJECTED: these calls failed, the last ones:".into());
            lines.extend(last(&failed, 12));
        }
        lines.push("STATE: these calls went well, the last ones:".into());
        lines.extend(last(&done, 25));
        let open = self.plan.iter().filter(|step| step.status != "done");
        let open: Vec<String> =
            open.map(|PlanStep { step, status }| format!("- {} ({status})", first_line(step, 200))).collect();
        if !open.is_empty() {
            lines.push("OPEN, of your plan:".into());
            lines.extend(open);
        }
        // What an earlier ledger held goes on; of a long one its beginning and end.
        if let Some(before) = &self.ledger {
            lines.push(format!("BEFORE THAT:\n{}", ends(before, 6_000)));
        }
        if self.compaction.overflows > 1
            && let Some(text) = self.open_reply_text()
        {
            lines.push(text);
        }
        ends(&lines.join("\n"), self.ledger_room())
    }

    /// Returns the most that a ledger may have, in bytes: a quarter of what the model can hold, and little where a server said
    /// twice that it was too much.
    fn ledger_room(&self) -> usize {
        let most = if self.compaction.overflows > 1 { OWN_BYTES_MIN } else { LEDGER_BYTES_MAX };
        let context = self.charter.model.as_ref().and_then(|model| model.context_tokens);
        context.map_or(most, |context| most.min((context as usize).saturating_mul(3) / 4))
    }

    /// Returns the last step in words, where it does not stay as it was.
    fn open_reply_text(&self) -> Option<String> {
        let open = self.reply.as_ref()?;
        let results = self.open_results();
        let line = |(call, result): (&Call, &ToolResult)| {
            format!("- {} {}: {}", call.tool, ends(&call.input, 400), ends(&result.outcome.text, 1_000))
        };
        let lines: Vec<String> = open.reply.calls.iter().zip(&results).map(line).collect();
        Some(format!("JUST NOW:\n{}", lines.join("\n")))
    }

    fn replies(&self) -> impl Iterator<Item = &Arc<Reply>> {
        self.transcript.iter().filter_map(|item| match &**item {
            PromptItem::Model(reply) => Some(reply),
            _ => None,
        })
    }

    /// Returns each call with its outcome, as far as both are in the conversation.
    fn steps(&self) -> impl Iterator<Item = (&Call, Option<&ToolResult>)> {
        self.transcript.iter().zip(self.transcript.iter().skip(1)).flat_map(|pair| {
            match (&**pair.0, &**pair.1) {
                (PromptItem::Model(reply), PromptItem::Results(results)) => {
                    reply.calls.iter().enumerate().map(|(n, call)| (call, results.get(n))).collect::<Vec<_>>()
                }
                _ => vec![],
            }
        })
    }

    /// Returns the conversation in plain text of at most about `most` bytes, for a model that did not lead it.
    fn shown(&self, most: usize) -> String {
        let mut each = 4_000;
        loop {
            let text = self.shown_with(each);
            if text.len() <= most || each <= 60 {
                return ends(&text, most);
            }
            each /= 2;
        }
    }

    fn shown_with(&self, each: usize) -> String {
        let mut text = String::new();
        let results = self.open_results();
        let open = (!results.is_empty()).then(|| Arc::new(PromptItem::Results(results)));
        for item in self.transcript.iter().chain(&open) {
            match &**item {
                PromptItem::Words(words) => text.push_str(&format!("\n\nPERSON: {}", ends(words, each * 4))),
                PromptItem::Pictures(files) => {
                    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
                    text.push_str(&format!("\n\nPERSON handed over: {}", ends(&names.join(", "), each)));
                }
                PromptItem::Model(reply) => {
                    text.push_str(&format!("\n\nAGENT: {}", ends(&reply.text, each)));
                    for call in &reply.calls {
                        text.push_str(&format!("\nCALL {}: {}", call.tool, ends(&call.input, each)));
                    }
                }
                PromptItem::Results(results) => {
                    for result in results {
                        text.push_str(&format!(
                            "\nOUTCOME of {}: {}",
                            result.tool,
                            ends(&result.outcome.text, each)
                        ));
                    }
                }
            }
        }
        text
    }

    pub(super) fn may_compact(&self, text: &str, tail: u32) -> Result<(), &'static str> {
        let tail = tail as usize;
        let Some(from) = self.transcript.len().checked_sub(tail) else {
            return Err("more is kept than there is");
        };
        if !self.words.iter().take(self.compaction.told).all(|words| text.contains(&**words)) {
            return Err("no word of the person's is lost");
        }
        if !self.later_files().all(|told| text.contains(told)) {
            return Err("no file that the person handed over is lost");
        }
        if !self.holds_answers(text) || !self.agreed_plan().is_none_or(|plan| text.contains(plan)) {
            return Err("no answer of the person's is lost, and no plan");
        }
        let begins = self.transcript.get(from).is_none_or(|item| matches!(**item, PromptItem::Model(_)));
        let holds = self.reply.is_none() || tail > 0 || self.stage == Stage::Ask;
        if begins && holds && self.stage == Stage::Ask && !self.asked {
            Ok(())
        } else {
            Err("whole steps are kept, between two requests")
        }
    }

    pub(super) fn compact(&mut self, text: &str, tail: u32) {
        let from = self.transcript.len() - tail as usize;
        self.leave_conversation();
        let ledger = Arc::new(PromptItem::Words(text.to_owned()));
        self.transcript = std::iter::once(&ledger).chain(self.transcript.from(from)).cloned().collect();
        if tail == 0 {
            // Its calls have gone into the ledger.
            self.reply = None;
        }
        // What was told of directories within the folder is gone with the rest; it is told again where calls work there.
        self.instructed = Arc::default();
        self.ledger = Some(ledger_of(text).into());
        self.spending.forget_count();
        let compaction = &mut self.compaction;
        compaction.times += 1;
        (compaction.begun, compaction.failed, compaction.wanted, compaction.fresh) =
            (false, false, false, true);
    }

    pub(super) fn want_compaction(&mut self) {
        self.compaction.wanted = true;
    }

    /// A model could not write the ledger, or whether it did is not known.
    pub(super) fn lose_compaction(&mut self, failed: bool) {
        self.compaction.begun = false;
        self.compaction.failed |= failed;
    }

    /// A server said that the conversation is too long. Returns whether it can be made shorter.
    pub(super) fn overflow(&mut self) -> bool {
        let compaction = &mut self.compaction;
        // It was just made short, and that was not enough.
        compaction.overflows = if compaction.fresh {
            OVERFLOWS_MAX.max(compaction.overflows + 1)
        } else {
            compaction.overflows + 1
        };
        compaction.fresh = false;
        let can = self.compaction.overflows <= OVERFLOWS_MAX && self.owes_compaction();
        if !can {
            // The person may name a model with more room.
            self.compaction.overflows = 0;
        }
        can
    }

    /// A reply came: what there is fits.
    pub(super) fn fits(&mut self) {
        (self.compaction.overflows, self.compaction.fresh) = (0, false);
    }

    /// Notes which files a call changed.
    pub(super) fn note_touched(&mut self, call: &Call) {
        #[derive(serde::Deserialize)]
        struct Input {
            path: Option<String>,
            patch: Option<String>,
        }
        if !["edit", "write", "apply_patch"].contains(&call.tool.as_str()) {
            return;
        }
        let Ok(Input { path, patch }) = serde_json::from_str(&call.input) else { return };
        let patched = patch.as_deref().map(crate::view::patched).unwrap_or_default();
        let paths = path.iter().map(String::as_str).chain(patched).filter(|path| !path.is_empty());
        let paths: Vec<String> = paths.map(|path| escape(path.as_bytes())).collect();
        Arc::make_mut(&mut self.compaction.touched).extend(paths);
    }

    /// The conversation is one of before again.
    pub(super) fn compaction_back(&mut self, told: usize) {
        let (times, touched) = (self.compaction.times, self.compaction.touched.clone());
        self.compaction = Compaction { times, touched, told, ..Compaction::default() };
        self.ledger = match self.transcript.get(0).map(|item| &**item) {
            Some(PromptItem::Words(text)) if text.starts_with(CUT_SHORT) => Some(ledger_of(text).into()),
            _ => None,
        };
    }

    /// Returns how often the conversation was made short.
    pub fn compactions(&self) -> u32 {
        self.compaction.times
    }
}

/// Returns the ledger in what the model is told of a conversation that was cut short.
fn ledger_of(text: &str) -> &str {
    text.split_once("\n\nThe ledger:\n").map_or(text, |(_, ledger)| ledger)
}

/// Returns the beginning and the end of a text, at most about `most` bytes.
fn ends(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let half = most / 2;
    let head = (0..=half).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let tail = (text.len() - half..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    format!("{} [...] {}", &text[..head], &text[tail..])
}
