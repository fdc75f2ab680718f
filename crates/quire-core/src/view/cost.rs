//! What a task costs, in figures and in words.

use crate::charter::Wire;
use crate::event::Why;
use crate::money::Usd;
use crate::task::Task;
use crate::view::{count, thousands};
use serde::{Serialize, Serializer};

/// What a task has cost so far. A request that is open is not in it; one whose answer never came whole is, at its most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// In dollars, to a millionth; absent where no price is known.
    #[serde(rename = "cost_usd", serialize_with = "dollars", skip_serializing_if = "Option::is_none")]
    pub usd: Option<Usd>,
    /// Some of it went to a model whose price is not known, and is not in the amount.
    #[serde(rename = "cost_is_partial", skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Tokens that the provider read from its cache.
    pub cached_tokens: u64,
    /// Requests that were counted at their most because their answer did not come whole.
    #[serde(skip_serializing_if = "is_none")]
    pub guessed_requests: u32,
}

fn is_none(count: &u32) -> bool {
    *count == 0
}

fn dollars<S: Serializer>(usd: &Option<Usd>, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_f64(usd.unwrap_or_default().dollars())
}

impl Cost {
    pub fn of(task: &Task) -> Cost {
        let spending = task.spending();
        let spent = spending.spent();
        let known = spent > Usd::ZERO || task.step > 0 && !spending.unpriced;
        Cost {
            usd: known.then_some(spent),
            partial: known && spending.unpriced,
            cached_tokens: task.usage.cached,
            guessed_requests: spending.guessed,
        }
    }

    /// Returns `$0.19`, or nothing where no price is known.
    pub fn text(&self) -> Option<String> {
        let more = if self.partial { " and more" } else { "" };
        self.usd.map(|usd| format!("{usd}{more}"))
    }

    /// Returns `$0.19, 48,210 tokens (31,000 cached)`.
    pub fn with_tokens(&self, tokens: u64) -> String {
        let cached = match self.cached_tokens {
            0 => String::new(),
            cached => format!(" ({} cached)", thousands(cached)),
        };
        let money = self.text().map_or_else(String::new, |text| format!("{text}, "));
        format!("{money}{} tokens{cached}", thousands(tokens))
    }
}

/// Returns what bounds a task that money cannot, where its model's price is not known.
pub fn unpriced_text(task: &Task) -> Option<String> {
    let model = task.charter.model.as_ref()?;
    if model.price.is_some() || model.wire == Wire::Tape {
        return None;
    }
    let limits = task.charter.limits;
    let tokens = limits.tokens.map_or_else(String::new, |most| format!("{} tokens and ", thousands(most)));
    let steps = count(limits.steps.into(), "step");
    Some(format!(
        "The price of {}/{} is not known: what bounds the task is {tokens}{steps}, not money.",
        model.provider, model.name
    ))
}

/// Returns what a budget that is used up lacks for the next request, in half dollars.
pub fn budget_to_add(why: &Why, task: &Task) -> Usd {
    let needs = task.worst().cost.unwrap_or_default();
    let lacks = match why {
        // What the others spent, who may have been allowed more, is to be made up for too.
        Why::Shared { spent } => spent.plus(needs).minus(task.charter.limits.task_usd.unwrap_or_default()),
        _ => needs,
    };
    let half = 500_000_000_000;
    Usd(lacks.0.div_ceil(half).max(1).saturating_mul(half))
}

/// Returns what is told where a budget is used up: what happened, and what to do.
pub(super) fn used_up(why: &Why, task: &Task) -> (String, String) {
    let (id, limits, spending) = (task.id, task.charter.limits, task.spending());
    let worst = task.worst();
    let needs = worst.cost.unwrap_or_default();
    let done = match task.plan.iter().filter(|step| step.status == "done").count() {
        _ if task.plan.is_empty() => count(task.step.into(), "step"),
        done => format!("{} of the {} steps of its plan", done, task.plan.len()),
    };
    match why {
        Why::Money | Why::Shared { .. } => {
            let add = budget_to_add(why, task).to_string().replace('$', "+");
            let most = limits.task_usd.unwrap_or_default();
            let what = match why {
                Why::Shared { spent } => format!(
                    "Of the {most} for all attempts together, {spent} is spent, {} of it on this one",
                    spending.spent()
                ),
                _ => format!("Of its budget of {most}, {} is spent on {done}", spending.spent()),
            };
            (
                format!("{what}, and the next request may cost up to {needs}."),
                format!("Add to it: quire resume {id} --budget {add}. Or end it here: quire discard {id}"),
            )
        }
        Why::Tokens => (
            format!(
                "Of the {} tokens that it may use, {} are used on {done}, and the next request may take up to {}.",
                thousands(limits.tokens.unwrap_or(0)),
                thousands(spending.tokens),
                thousands(worst.tokens())
            ),
            format!("Allow as many again: quire resume {id}. Or end it here: quire discard {id}"),
        ),
        _ => {
            let spent = if let Why::Day { spent } = why { *spent } else { Usd::ZERO };
            (
                format!(
                    "All tasks together may cost {} in 24 hours and have cost {spent}; the next request may cost up to {needs}.",
                    limits.day_usd.unwrap_or_default()
                ),
                format!(
                    "Wait until part of that is older, or raise budget.day_usd in your settings; then: quire resume {id}"
                ),
            )
        }
    }
}
