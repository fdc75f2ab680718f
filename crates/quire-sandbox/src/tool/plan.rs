//! `plan`: the model's list of steps, for the person who watches. Nothing is kept here: the call itself is in the log.

use super::{Here, Tool, refused, said};
use crate::protocol::HandOutcome;
use schemars::JsonSchema;
use serde::Deserialize;

const STEPS_MAX: usize = 50;

/// Show the person your plan for longer work; send the whole list again whenever a step's status changes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    steps: Vec<Step>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Step {
    step: String,
    status: Status,
}

#[derive(Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Status {
    Pending,
    Doing,
    Done,
}

impl Tool for Plan {
    const NAME: &'static str = "plan";

    fn run(self, _here: &Here<'_>) -> HandOutcome {
        let all = self.steps.len();
        if all > STEPS_MAX {
            return refused(format!("plan: {all} steps are more than a person reads; at most {STEPS_MAX}."));
        }
        if self.steps.iter().any(|s| s.step.trim().is_empty()) {
            return refused("plan: a step is empty.");
        }
        let done = self.steps.iter().filter(|s| s.status == Status::Done).count();
        said(format!("Noted: {done} of {all} done."))
    }
}
