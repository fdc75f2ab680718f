//! What the model is told, and when: outcomes and words wait until a request is begun, and then stay as they were said.

use super::{CallState, Task};
use crate::message::{Prompt, PromptItem, ToolResult};
use std::sync::Arc;

impl Task {
    /// Returns the request that is owed or open: everything said so far, in the order in which the model hears it.
    pub fn prompt(&self) -> Prompt {
        Prompt {
            system: self.system.clone().unwrap_or_else(|| "".into()),
            tools: self.tools.clone(),
            items: self.transcript.iter().cloned().collect(),
            // What a task that began in another one asks begins as that one's requests did.
            cache_key: format!("quire-{}-{}", self.first(), self.opened_ms),
            replies: self.replies_so_far(),
        }
    }

    /// The model is told the outcomes of its calls and what was said since.
    pub(super) fn tell(&mut self) {
        if self.reply.is_some() {
            let results = self.open_results();
            self.reply = None;
            self.transcript.push(Arc::new(PromptItem::Results(results)));
        }
        self.compaction.told = self.words.len();
        let unheard = self.asides.drain(..).chain(self.unheard.drain(..));
        self.transcript.extend(unheard.map(|words| Arc::new(PromptItem::Words(words))));
        self.show_pictures();
    }

    /// Returns the outcomes of the last reply's calls, which the model has not been told yet.
    pub(super) fn open_results(&self) -> Vec<ToolResult> {
        let Some(open) = &self.reply else { return vec![] };
        let calls = open.calls.iter().zip(&open.reply.calls);
        let results = calls.filter_map(|(state, call)| match state {
            CallState::Done(outcome) => {
                Some(ToolResult { id: call.id.clone(), tool: call.tool.clone(), outcome: outcome.clone() })
            }
            CallState::Owed | CallState::Begun => None,
        });
        results.collect()
    }

    pub(super) fn notice(&mut self, text: &str) {
        self.unheard.push(format!("[quire] {text}"));
    }
}
