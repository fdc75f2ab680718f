//! What a task costs: the part of the fold that a budget is held by. Before a request leaves, the most that it may come to is
//! reserved; when its answer is there, what it really cost takes that place. A request whose answer never came whole, because
//! its stream was cut or its driver died, may have cost all of it, and counts so.

use super::Task;
use crate::charter::{Model, OUTPUT_TOKENS};
use crate::event::{Event, Why};
use crate::message::Usage;
use crate::money::{Price, Usd, Worst};
use crate::weigh::{self, Size};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What was spent, and what is reserved for the request that is open.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Spending {
    /// Money, by the hour since 1970 in which the request was begun.
    settled: BTreeMap<u64, Usd>,
    open: Option<Open>,
    /// Tokens of all requests; at their most where no answer came.
    pub tokens: u64,
    /// Requests that were counted at their most because nothing told what they cost.
    pub guessed: u32,
    /// Some request went to a model whose price is not known, so that the money is less than all.
    pub unpriced: bool,
    /// What the last request read, as its server counted it.
    counted: Option<Counted>,
}

/// A request that is open.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Open {
    hour: u64,
    worst: Worst,
    price: Option<Price>,
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Counted {
    tokens: u64,
    /// Items of the conversation that were among them.
    items: usize,
    /// Who counted.
    model: (String, String),
}

const HOUR_MS: u64 = 3_600_000;
/// How often the room for a reply doubles.
const CUTS_GROW: u32 = 2;

impl Spending {
    /// Returns the money that is spent.
    pub fn spent(&self) -> Usd {
        self.settled.values().fold(Usd::ZERO, |sum, usd| sum.plus(*usd))
    }

    /// Returns the money that is reserved for the open request.
    pub fn held(&self) -> Usd {
        self.open.and_then(|open| open.worst.cost).unwrap_or_default()
    }

    /// Returns the hours in which money was spent or is held: hour since 1970, spent, held.
    pub fn by_hour(&self) -> BTreeMap<u64, (Usd, Usd)> {
        let mut hours: BTreeMap<u64, (Usd, Usd)> =
            self.settled.iter().map(|(hour, spent)| (*hour, (*spent, Usd::ZERO))).collect();
        if let Some(Open { hour, worst: Worst { cost: Some(cost), .. }, .. }) = self.open {
            hours.entry(hour).or_default().1 = cost;
        }
        hours
    }

    /// Returns whether the open request was begun with a reservation, as all are but those of the oldest logs.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub(super) fn begin(&mut self, worst: Worst, price: Option<Price>, at_ms: u64) {
        self.lose();
        self.unpriced |= price.is_none();
        self.open = Some(Open { hour: at_ms / HOUR_MS, worst, price });
    }

    /// The answer came.
    pub(super) fn settle(&mut self, usage: Usage) {
        let used = usage.input.saturating_add(usage.output);
        match self.open.take() {
            // Nobody counted, so only the bound is sure.
            Some(open) if usage.estimated => self.count(open),
            Some(Open { hour, price, .. }) => {
                self.tokens = self.tokens.saturating_add(used);
                if let Some(price) = price {
                    self.pay(hour, price.of(usage));
                }
            }
            None => self.tokens = self.tokens.saturating_add(used),
        }
    }

    /// No answer came, or not the whole of it: what is open may all be spent.
    pub(super) fn lose(&mut self) {
        if let Some(open) = self.open.take() {
            self.count(open);
        }
    }

    /// The server refused the request, or was never reached.
    pub(super) fn release(&mut self) {
        self.open = None;
    }

    fn count(&mut self, open: Open) {
        self.guessed += 1;
        self.tokens = self.tokens.saturating_add(open.worst.tokens());
        if let Some(cost) = open.worst.cost {
            self.pay(open.hour, cost);
        }
    }

    fn pay(&mut self, hour: u64, cost: Usd) {
        let sum = self.settled.entry(hour).or_default();
        *sum = sum.plus(cost);
    }

    pub(super) fn forget_count(&mut self) {
        self.counted = None;
    }
}

impl Task {
    pub fn spending(&self) -> &Spending {
        &self.spending
    }

    /// Returns the first of the attempts that share one budget with this task.
    pub fn shares_budget(&self) -> Option<u64> {
        self.attempt?.shares_budget()
    }

    /// Returns the size of the next request: what the last one was counted as, and all that is new since.
    pub fn next_size(&self) -> Size {
        let model = self.charter.model.as_ref();
        let is_its = |counted: &&Counted| {
            model.is_some_and(|m| (&m.provider, &m.name) == (&counted.model.0, &counted.model.1))
        };
        let (known, from) = match self.spending.counted.as_ref().filter(is_its) {
            Some(counted) => (Size::counted(counted.tokens), counted.items),
            None => (weigh::head(self.system.as_deref().unwrap_or(""), &self.tools), 0),
        };
        let items = self.transcript.from(from).map(|item| weigh::item(item));
        let results = self.open_results();
        let news = self.asides.iter().chain(&self.unheard).map(|words| weigh::words(words));
        let pictures = self.pictures().map(|pictures| weigh::item(&pictures));
        items.chain(news).chain(pictures).fold(known, Size::plus).plus(weigh::results(results.iter()))
    }

    /// Returns the model that is asked next, with the room for its reply: twice as much after each that was cut, up to
    /// [`CUTS_GROW`] times, where the person set no bound. A model that thinks long may need more than most replies should cost.
    pub fn asked_model(&self) -> Option<Model> {
        let model = self.charter.model.clone()?;
        let room = OUTPUT_TOKENS << self.cut.min(CUTS_GROW);
        Some(Model { output_tokens: model.output_tokens.or(Some(room).filter(|_| self.cut > 0)), ..model })
    }

    /// Returns whether the last reply was cut at the limit of output.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut > 0
    }

    /// Returns the most that the next request may come to.
    pub fn worst(&self) -> Worst {
        self.asked_model().map_or_else(Worst::default, |model| worst_of(&model, self.next_size()))
    }

    /// Returns why the next request, which may come to `worst`, may not be made without a person.
    pub(crate) fn over_budget(&self, worst: &Worst) -> Option<Why> {
        let limits = &self.charter.limits;
        let spent = self.spending.spent().plus(self.spending.held());
        if let (Some(cost), Some(most)) = (worst.cost, limits.task_usd)
            && spent.plus(cost) > most
        {
            return Some(Why::Money);
        }
        let tokens = self.spending.tokens.saturating_add(worst.tokens());
        self.tokens_granted.is_some_and(|most| tokens > most).then_some(Why::Tokens)
    }

    pub(super) fn begin_spending(&mut self, worst: Option<Worst>, price: Option<Price>) {
        match worst {
            Some(worst) => self.spending.begin(worst, price, self.last_ms),
            None => self.spending.unpriced |= price.is_none(),
        }
    }

    /// Takes over what the server counted, to size the next request by.
    pub(super) fn count_input(&mut self, usage: Usage, items: usize) {
        if usage.estimated {
            return;
        }
        if let Some(model) = &self.charter.model {
            let model = (model.provider.clone(), model.name.clone());
            self.spending.counted = Some(Counted { tokens: usage.input, items, model });
        }
    }

    pub(super) fn price(&self) -> Option<Price> {
        self.charter.model.as_ref().and_then(|model| model.price)
    }

    /// The try before is lost; another one of the same kind is begun.
    pub(super) fn spend_again(&mut self, worst: Worst) {
        let price = self.spending.open.as_ref().and_then(|open| open.price);
        self.spending.begin(worst, price, self.last_ms);
    }

    pub(super) fn end_spending(&mut self, spent: bool) {
        if spent { self.spending.lose() } else { self.spending.release() }
    }

    pub(super) fn set_budget(&mut self, task: Option<Usd>, day: Option<Usd>, unlimited: bool) {
        let limits = &mut Arc::make_mut(&mut self.charter).limits;
        limits.task_usd = task.or(limits.task_usd).filter(|_| !unlimited);
        limits.day_usd = day.or(limits.day_usd);
    }

    /// Returns the event that asks once more, where the try before may have cost something; or why it may not be asked.
    pub fn ask_again(&self) -> Result<Event, Why> {
        let Some(open) = self.spending.open else { return Ok(Event::AskedAgain { worst: Worst::default() }) };
        match self.over_budget(&open.worst) {
            Some(why) => Err(why),
            None => Ok(Event::AskedAgain { worst: open.worst }),
        }
    }

    pub(super) fn may_spend(&self, worst: &Worst) -> Result<(), &'static str> {
        match self.over_budget(worst) {
            None => Ok(()),
            Some(_) => Err("what a request may come to fits the task's budget"),
        }
    }
}

pub(crate) fn worst_of(model: &Model, size: Size) -> Worst {
    let output = model.output_max();
    // Nothing that does not fit is read.
    let input = size.most.min(model.context_tokens.unwrap_or(u64::MAX));
    Worst::of(input, output, model.price.as_ref())
}
