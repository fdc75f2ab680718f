//! Hooks: commands of the person's and of a trusted project's that run inside the sandbox at certain points of a task, and
//! that may say something to the model, change a call, or stop it. What runs when is derived from the log as everything else
//! is: a point is begun by one event and answered by another, so a hook that was begun when a process died is not run again.

use super::{ASK, CallState, Phase, Stage, Task};
use crate::Call;
use crate::charter::{Hook, HookEvent};
use crate::event::{HookRun, Point};
use crate::message::Outcome;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How far the hooks of a task have come.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Hooks {
    begun: Option<Point>,
    started: bool,
    /// Of the person's words, how many hooks have heard.
    heard: u32,
    /// Calls of the open reply whose hooks before and after have run, or never will.
    before: BTreeSet<u32>,
    after: BTreeSet<u32>,
    /// Inputs that hooks put in the place of the model's.
    inputs: BTreeMap<u32, String>,
    /// One ran since the last snapshot, and may have changed something.
    ran: bool,
    /// The hooks at the end of this turn have run.
    ended: bool,
    /// How often in this turn they had the model go on.
    sent_back: u32,
    /// Why the task is to wait for its person.
    halt: Option<String>,
}

/// How often in a turn hooks may have the model go on at its end.
const SENT_BACK_MAX: u32 = 3;

impl Hook {
    /// Returns whether it runs before or after calls of this tool.
    pub fn is_for(&self, tool: &str) -> bool {
        self.tools.is_empty() || self.tools.iter().any(|name| name == tool)
    }
}

impl Task {
    /// Returns the charter's hooks for a point, with their numbers.
    pub fn hooks_at(&self, point: Point) -> Vec<(u32, &Hook)> {
        let (event, tool) = match point {
            Point::Start => (HookEvent::SessionStart, None),
            Point::Words(_) => (HookEvent::UserPromptSubmit, None),
            Point::Before(call) => (HookEvent::PreToolUse, self.call(call)),
            Point::After(call) => (HookEvent::PostToolUse, self.call(call)),
            Point::End => (HookEvent::Stop, None),
        };
        // A question is for the person, and nothing that runs.
        if tool.is_some_and(|call| call.tool == ASK) {
            return vec![];
        }
        let meant = |hook: &Hook| hook.event == event && tool.is_none_or(|call| hook.is_for(&call.tool));
        (0u32..).zip(self.charter.hooks.iter()).filter(|(_, hook)| meant(hook)).collect()
    }

    /// Returns whether hooks at the end of this turn had the model go on before.
    pub fn was_sent_back(&self) -> bool {
        self.hooks.sent_back > 0
    }

    /// Returns what came of a call of the open reply, as far as it is known.
    pub fn outcome(&self, place: u32) -> Option<&Outcome> {
        match self.reply.as_ref()?.calls.get(place as usize)? {
            CallState::Done(outcome) => Some(outcome),
            CallState::Owed | CallState::Begun => None,
        }
    }

    /// Returns a call of the open reply as it is run: hooks may have changed its input.
    pub fn call_to_run(&self, place: u32) -> Option<Call> {
        let call = self.call(place)?.clone();
        let input = self.hooks.inputs.get(&place).cloned();
        Some(Call { input: input.unwrap_or_else(|| call.input.clone()), ..call })
    }

    pub(crate) fn is_hooking(&self) -> bool {
        self.hooks.begun.is_some()
    }

    /// Returns whether hooks run, or have to before anything else.
    pub(super) fn waits_for_hooks(&self) -> bool {
        self.is_hooking() || self.hooks.halt.is_some() || self.owed_point().is_some()
    }

    pub(crate) fn owed_halt(&self) -> Option<&String> {
        self.hooks.halt.as_ref()
    }

    /// Returns whether calls of the open reply run one by one, because hooks stand between them.
    pub(crate) fn has_hooked_calls(&self) -> bool {
        let calls = self.reply.iter().flat_map(|open| 0..open.calls.len() as u32);
        let mut points = calls.flat_map(|call| [Point::Before(call), Point::After(call)]);
        !self.charter.hooks.is_empty() && points.any(|point| !self.hooks_at(point).is_empty())
    }

    /// Returns the point whose hooks are to run now.
    pub(crate) fn owed_point(&self) -> Option<Point> {
        if self.charter.hooks.is_empty() || self.is_hooking() {
            return None;
        }
        let any = |point: &Point| !self.hooks_at(*point).is_empty();
        match self.stage {
            Stage::Ask if self.asked || self.is_compacting() => None,
            Stage::Ask => {
                let start = (!self.hooks.started).then_some(Point::Start).filter(any);
                let words = (self.hooks.heard as usize) < self.words.len();
                start.or_else(|| words.then_some(Point::Words(self.hooks.heard)).filter(any))
            }
            Stage::Calls => self.owed_by_calls().filter(any),
            Stage::Seal if self.pressing().next().is_none() && !self.is_by_hand() => {
                (!self.hooks.ended).then_some(Point::End).filter(any)
            }
            _ => None,
        }
    }

    fn owed_by_calls(&self) -> Option<Point> {
        let open = self.reply.as_ref().filter(|open| open.judged)?;
        for (place, state) in (0u32..).zip(&open.calls) {
            let (before, after) = (self.hooks.before.contains(&place), self.hooks.after.contains(&place));
            match state {
                CallState::Owed if before => return None,
                CallState::Owed if self.hooks_at(Point::Before(place)).is_empty() => return None,
                CallState::Owed => return Some(Point::Before(place)),
                CallState::Begun => return None,
                CallState::Done(_) if after || self.hooks_at(Point::After(place)).is_empty() => {}
                CallState::Done(_) => return Some(Point::After(place)),
            }
        }
        None
    }

    /// Returns whether the step's calls are over, and the hooks after them.
    pub(super) fn calls_are_hooked(&self) -> bool {
        !self.is_hooking() && self.owed_point().is_none()
    }

    /// Returns whether hooks ran in this step, and takes that as seen.
    pub(super) fn take_hooked(&mut self) -> bool {
        std::mem::take(&mut self.hooks.ran)
    }

    pub(super) fn may_hook(&self, point: Point) -> Result<(), &'static str> {
        let can = self.phase == Phase::Working
            && self.is_frozen()
            && self.system.is_some()
            && self.owed_point() == Some(point);
        if can { Ok(()) } else { Err("hooks run at their point, on a frozen base") }
    }

    pub(super) fn may_have_hooked(&self, point: Point, runs: &[HookRun]) -> Result<(), &'static str> {
        let known = runs.iter().all(|run| (run.hook as usize) < self.charter.hooks.len());
        if known && self.phase == Phase::Working && self.hooks.begun == Some(point) {
            Ok(())
        } else {
            Err("hooks that end were begun")
        }
    }

    pub(super) fn begin_hooks(&mut self, point: Point) {
        self.hooks.begun = Some(point);
        self.hooks.ran = true;
    }

    /// Takes over what hooks said.
    pub(super) fn hear_hooks(&mut self, point: Point, runs: &[HookRun]) {
        let blocked = runs.iter().find_map(|run| run.block.clone());
        let input = runs.iter().rev().find_map(|run| run.input.clone());
        for context in runs.iter().filter_map(|run| run.context.as_ref()) {
            self.notice(&format!("From a hook: {context}"));
        }
        self.pass(point);
        match (point, blocked) {
            (Point::Before(place), Some(why)) => {
                self.refuse_call(place, &format!("Not run: a hook refused it: {why}"))
            }
            (Point::Before(place), None) => {
                if let (Some(input), Some(call)) = (input, self.call(place)) {
                    let told = format!("A hook changed the input of your call of {} to {input}", call.tool);
                    self.hooks.inputs.insert(place, input);
                    self.notice(&told);
                }
            }
            (Point::After(_), Some(why)) => {
                self.notice(&format!("A hook refused what came of your call: {why}"))
            }
            (Point::Words(_), Some(why)) => self.hooks.halt = Some(why),
            (Point::End, Some(why)) if self.hooks.sent_back < SENT_BACK_MAX => {
                self.hooks.sent_back += 1;
                self.notice(&format!("A hook has you go on: {why}"));
                self.stage = Stage::Ask;
            }
            (Point::Start | Point::After(_) | Point::Words(_) | Point::End, _) => {}
        }
        if let Some(why) = runs.iter().find_map(|run| run.halt.clone())
            && point != Point::End
        {
            self.hooks.halt = Some(why);
        }
        self.end_calls();
    }

    /// What was begun when a process died may have happened, and is not run again: the call that it stood before neither.
    pub(super) fn lose_hooks(&mut self) {
        let Some(point) = self.hooks.begun else { return };
        self.pass(point);
        if let Point::Before(place) = point {
            self.refuse_call(place, "Not run: quire was stopped while a hook ran before it. Call it again where it is still needed.");
        }
    }

    /// The point is over.
    fn pass(&mut self, point: Point) {
        let hooks = &mut self.hooks;
        hooks.begun = None;
        match point {
            Point::Start => hooks.started = true,
            Point::Words(number) => hooks.heard = number + 1,
            Point::Before(place) => drop(hooks.before.insert(place)),
            Point::After(place) => drop(hooks.after.insert(place)),
            Point::End => hooks.ended = true,
        }
    }

    /// The call gets no other outcome, and no hooks.
    pub(super) fn refuse_call(&mut self, place: u32, why: &str) {
        self.set_call(place, CallState::Done(Arc::new(Outcome::refused(why))));
        self.pass_call(place);
    }

    /// No hooks run for a call that did not run itself.
    pub(super) fn pass_call(&mut self, place: u32) {
        self.hooks.before.insert(place);
        self.hooks.after.insert(place);
    }

    /// A reply came.
    pub(super) fn renew_hooks(&mut self) {
        let hooks = &mut self.hooks;
        hooks.before.clear();
        hooks.after.clear();
        hooks.inputs.clear();
        hooks.ended = false;
    }

    /// A person's word begins a turn, or the person let the task go on.
    pub(super) fn grant_hooks(&mut self) {
        self.hooks.sent_back = 0;
        self.hooks.halt = None;
    }
}
