//! Models that stand in for one that does not answer: which is next, and when the person's own is asked again.

use crate::charter::{Charter, Model};
use crate::event::Why;
use crate::message::Fault;
use crate::task::{Phase, Task};
use std::sync::Arc;

/// A model that was asked because another did not answer.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StandIn {
    /// PROVIDER/MODEL.
    pub model: String,
    pub instead_of: String,
    pub why: String,
}

/// What became of the charter's fallbacks.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Fallbacks {
    /// The model that the person named, in whose place one may stand.
    named: Option<Model>,
    /// How many took its place since the person's last word.
    used: u32,
    /// Why the last request brought no reply, where one is to be asked now.
    unanswered: Option<Fault>,
    asked: Vec<StandIn>,
}

impl Fallbacks {
    pub fn of(named: Option<Model>) -> Fallbacks {
        Fallbacks { named, used: 0, unanswered: None, asked: vec![] }
    }

    pub fn name(&mut self, model: Option<Model>) {
        self.named = model;
    }
}

impl Task {
    /// Returns every model that the task may ask; one may be there twice.
    pub fn models(&self) -> impl Iterator<Item = &Model> {
        let Charter { model, fallback_models, review_model, compact_model, .. } = &*self.charter;
        let one = [&self.fallbacks.named, model, review_model, compact_model];
        one.into_iter().flatten().chain(fallback_models)
    }

    /// Returns the fallbacks that were asked, all turns together.
    pub fn stand_ins(&self) -> &[StandIn] {
        &self.fallbacks.asked
    }

    /// Returns the number of the fallback that is to be asked now, because no answer came.
    pub(crate) fn owed_fallback(&self) -> Option<u32> {
        self.fallbacks.unanswered.as_ref().and_then(|_| self.next_fallback())
    }

    fn next_fallback(&self) -> Option<u32> {
        let next = self.fallbacks.used;
        ((next as usize) < self.charter.fallback_models.len()).then_some(next)
    }

    pub(super) fn hear_fault(&mut self, fault: &Fault) {
        self.asked = false;
        if fault.kind.is_silence() && self.next_fallback().is_some() {
            self.fallbacks.unanswered = Some(fault.clone());
        } else {
            self.phase = Phase::Waiting(Why::Model(fault.clone()));
        }
    }

    pub(super) fn fall_back(&mut self, fallback: u32) {
        let charter = Arc::make_mut(&mut self.charter);
        let model = charter.fallback_models[fallback as usize].clone();
        let instead_of = charter.model.as_ref().map(Model::title).unwrap_or_default();
        let why = self.fallbacks.unanswered.take().map(|fault| fault.message).unwrap_or_default();
        self.fallbacks.asked.push(StandIn { model: model.title(), instead_of, why });
        self.fallbacks.used = fallback + 1;
        charter.model = Some(model);
    }

    /// A person's word goes to the model that they named, whatever stood in its place.
    pub(super) fn return_to_named_model(&mut self) {
        self.fallbacks.unanswered = None;
        self.fallbacks.used = 0;
        if self.charter.model != self.fallbacks.named {
            Arc::make_mut(&mut self.charter).model = self.fallbacks.named.clone();
        }
    }
}
