//! What a task owes next: the whole agent loop, derived from the fold and never stored. A driver takes a want, does it,
//! and appends what came of it.
//!
//! Wants that must not happen twice, or that cost money, are begun by an event before they are done ([`Want::begin`]).
//! The others (equip, freeze, snapshot, seal, check) change nothing that matters when done again, so they have no event
//! for their beginning: half the commits, and the same safety.

use crate::event::{Event, Point, Verdict, Why};
use crate::message::Call;
use crate::secret;
use crate::task::{ASK, CallState, Phase, Stage, Task, questions_of};

#[derive(Clone, Debug, PartialEq)]
pub enum Want {
    /// Find out which tools and instructions there are.
    Equip,
    /// Copy the folders. Overlaps with the first request.
    Freeze,
    /// Ask the model for its next reply.
    Ask,
    /// Ask the charter's fallback of that number instead, because no answer came; decided here, so begun is done.
    FallBack(u32),
    /// Have a model write the ledger of a conversation that grows too long.
    Compact,
    /// Make the conversation short with quire's own ledger; decided here, so begun is done.
    Shorten,
    /// Tell the model that it goes round; decided here, so begun is done.
    Warn,
    /// Judge the calls of the reply; decided here, so begun is done.
    Judge(Vec<Verdict>),
    /// Run the hooks of a point.
    Hook(Point),
    /// Run the call at that place of the reply.
    Call(u32),
    /// Ask the person what that call asks; decided here, so begun is done.
    Question(u32),
    /// Record the folders as they are after the step's calls.
    Snap,
    /// End the sandbox and record what it leaves.
    Seal,
    /// End the sandbox and drop what it leaves.
    Drop,
    /// Run the check of that number on the sealed snapshot.
    Check(u32),
    /// Tell the reviewer of the sealed version.
    TellReviewer,
    /// Ask the reviewer for its next reply.
    AskReviewer,
    /// Run the calls of the reviewer's last reply.
    LookUp,
    /// Go on without a review, for this reason; decided here, so begun is done.
    PassReview(String),
    /// Show the version to the person.
    Present,
    /// Wait for a person.
    Pause(Why),
}

/// Returns what `task` owes now, and nothing that is already begun. Empty: it waits for what is begun, or for a person.
pub fn want(task: &Task) -> Vec<Want> {
    if task.phase != Phase::Working {
        return vec![];
    }
    let mut owed = vec![];
    if task.charter.model.is_none() {
        return vec![Want::Pause(Why::NoModel)];
    }
    if task.system.is_none() {
        owed.push(Want::Equip);
    }
    if !task.is_frozen() {
        owed.push(Want::Freeze);
    }
    if let Some(why) = task.owed_halt() {
        return vec![Want::Pause(Why::Hook(why.clone()))];
    }
    if task.is_hooking() {
        return owed;
    }
    if let Some(point) = task.owed_point() {
        // They run in the sandbox, which stands on both.
        if owed.is_empty() {
            owed.push(Want::Hook(point));
        }
        return owed;
    }
    match &task.stage {
        Stage::Stuck(why) => owed.push(Want::Pause(why.clone())),
        Stage::Ask if task.rests_unsealed() => owed.push(Want::Seal),
        Stage::Ask if task.awaited().next().is_some() => owed.push(Want::Pause(Why::Question)),
        Stage::Ask if task.owed_fallback().is_some() => owed.extend(task.owed_fallback().map(Want::FallBack)),
        Stage::Ask if task.asked || task.system.is_none() => {}
        Stage::Ask if task.step >= task.steps_granted => owed.push(Want::Pause(Why::Steps)),
        Stage::Ask if task.worked_ms >= task.time_granted_ms => owed.push(Want::Pause(Why::Time)),
        Stage::Ask if task.is_compacting() => {}
        // What is a loop is not for the log to know, so that what counts as one can change: it may go on where this would not.
        Stage::Ask if task.goes_round() => owed.push(Want::Pause(Why::Loop)),
        Stage::Ask if task.owed_warning().is_some() => owed.push(Want::Warn),
        Stage::Ask if task.owes_compaction() => {
            owed.push(if task.compact_worst().is_some() { Want::Compact } else { Want::Shorten });
        }
        Stage::Ask => owed.push(task.over_budget(&task.worst()).map_or(Want::Ask, Want::Pause)),
        Stage::Calls => owed.extend(calls(task)),
        Stage::Snap => owed.push(Want::Snap),
        Stage::Seal if !task.is_frozen() => {}
        // The turn is over; what it would have made of an answer is not known.
        Stage::Seal if task.pressing().next().is_some() => owed.push(Want::Pause(Why::Reach)),
        Stage::Present if task.failed_for_want() => owed.push(Want::Pause(Why::Reach)),
        Stage::Seal => owed.push(if task.keeps_nothing() { Want::Drop } else { Want::Seal }),
        Stage::Check => owed.push(Want::Check(task.sealed.as_ref().map_or(0, |s| s.proofs.len() as u32))),
        Stage::Review => owed.extend(task.owed_review()),
        Stage::Present => owed.push(Want::Present),
    }
    owed
}

fn calls(task: &Task) -> Vec<Want> {
    let Some(open) = &task.reply else { return vec![] };
    if !open.judged {
        return vec![Want::Judge(
            open.reply.calls.iter().enumerate().map(|(n, call)| judge(task, n, call)).collect(),
        )];
    }
    let asks = |n: usize| open.reply.calls[n].tool == ASK;
    let owed = open.calls.iter().enumerate().filter(|(_, state)| matches!(state, CallState::Owed));
    // What is asked needs no copy of the folders.
    let owed = owed.map(|(n, _)| n).filter(|n| asks(*n) || task.is_frozen());
    let owed = owed.map(|n| if asks(n) { Want::Question(n as u32) } else { Want::Call(n as u32) });
    match task.has_hooked_calls() {
        false => owed.collect(),
        true if open.calls.iter().any(|state| matches!(state, CallState::Begun)) => vec![],
        true => owed.take(1).collect(),
    }
}

/// Most calls of one reply that are run.
const CALLS_MAX: usize = 64;

fn judge(task: &Task, place: usize, call: &Call) -> Verdict {
    if place >= CALLS_MAX {
        return Verdict::Refuse(format!("Not run: more than {CALLS_MAX} calls in one reply."));
    }
    if !task.tools.iter().any(|tool| tool.name == call.tool) {
        let names: Vec<&str> = task.tools.iter().map(|tool| tool.name.as_str()).collect();
        return Verdict::Refuse(format!(
            "There is no tool \"{}\". There are: {}.",
            call.tool,
            names.join(", ")
        ));
    }
    // Written into a file, a mask would destroy the secret that it stands for.
    if call.input.contains(secret::MASK) {
        return Verdict::Refuse(
            "Not run: it holds a mask that quire put in the place of a secret. You cannot see the secret; leave its line as it \
             is, and change only other lines."
                .into(),
        );
    }
    if call.tool == ASK {
        return task.may_not_ask(place, call).map_or(Verdict::Run, Verdict::Refuse);
    }
    let input = if call.input.trim().is_empty() { "{}" } else { &call.input };
    match serde_json::from_str::<serde_json::Value>(input) {
        Ok(serde_json::Value::Object(_)) => Verdict::Run,
        Ok(_) => Verdict::Refuse("Not run: the input must be a JSON object.".into()),
        Err(error) => Verdict::Refuse(format!("Not run: the input is not valid JSON: {error}.")),
    }
}

impl Want {
    /// Returns the event that begins this want (and, where nothing needs doing outside, fulfils it).
    pub fn begin(&self, task: &Task) -> Option<Event> {
        match self {
            Want::Ask => Some(Event::Asked { heard: task.seq, worst: Some(task.worst()) }),
            Want::FallBack(fallback) => Some(Event::FellBack { fallback: *fallback }),
            Want::Compact => Some(Event::Compacting { worst: task.compact_worst()? }),
            Want::Shorten => Some(task.compacted_by_quire()),
            Want::Warn => task.owed_warning(),
            Want::Judge(verdicts) => Some(Event::Judged { verdicts: verdicts.clone() }),
            Want::Hook(point) => Some(Event::Hooking { point: *point }),
            Want::Call(call) => Some(Event::Called { call: *call }),
            Want::Question(call) => {
                let questions = questions_of(&task.call(*call)?.input).ok()?;
                Some(Event::QuestionsAsked { call: *call, questions })
            }
            Want::AskReviewer => Some(task.ask_reviewer()),
            Want::PassReview(why) => Some(Event::ReviewFailed { why: why.clone(), spent: false }),
            Want::Present => {
                let snapshot = task.sealed.as_ref()?.snapshot;
                Some(Event::Presented { version: task.versions.len() as u32 + 1, snapshot })
            }
            Want::Pause(why) => Some(Event::Paused { why: why.clone() }),
            Want::Equip
            | Want::Freeze
            | Want::Snap
            | Want::Seal
            | Want::Drop
            | Want::Check(_)
            | Want::TellReviewer
            | Want::LookUp => None,
        }
    }

    /// Whether something is to be done outside the fold.
    fn is_effect(&self) -> bool {
        !matches!(
            self,
            Want::Judge(_)
                | Want::FallBack(_)
                | Want::Shorten
                | Want::Warn
                | Want::Question(_)
                | Want::PassReview(_)
                | Want::Present
                | Want::Pause(_)
        )
    }
}

/// Begins everything that can be begun: applies the beginnings to `task` and returns them, to be committed before any of
/// the returned wants is done. Wants without a beginning are returned each time until they are answered.
pub fn settle(task: &mut Task, at_ms: u64) -> Result<(Vec<Event>, Vec<Want>), crate::task::Refusal> {
    let (mut begun, mut todo) = (vec![], vec![]);
    loop {
        let wants = want(task);
        let Some((first, event)) = wants.iter().find_map(|w| Some((w, w.begin(task)?))) else {
            todo.extend(wants);
            return Ok((begun, todo));
        };
        task.push(event.clone(), at_ms)?;
        begun.push(event);
        if first.is_effect() {
            todo.push(first.clone());
        }
    }
}
