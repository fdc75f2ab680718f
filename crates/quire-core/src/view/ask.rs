//! What an agent asks and plans, and how often its person was needed, in words. The texts of questions and plans are the
//! model's: each face shows them in a frame of their own, so that none can pass for a question of quire's.

use crate::event::Question;
use crate::task::{Asking, Needed, Phase, Task};
use crate::view::{count, first_line};
use serde::{Deserialize, Serialize};

/// A question of an agent's that its person may answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentQuestion {
    /// From 1; commands name it by this.
    pub question: u32,
    /// The model's words, on one line.
    pub text: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// What the agent works with until there is an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assumed: Option<String>,
    /// The task cannot go on without the answer.
    pub waits: bool,
    /// The command that answers it.
    pub answer: String,
}

impl AgentQuestion {
    pub fn of(task: u64, number: u32, question: &Question, waits: bool) -> AgentQuestion {
        AgentQuestion {
            question: number,
            text: question.text.clone(),
            choices: question.choices.clone(),
            assumed: question.default.clone(),
            waits,
            answer: format!("quire answer {task} {number}=\"...\""),
        }
    }

    /// Returns what stands in the frame, as lines: the question, its choices, and what is assumed.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.text.clone()];
        if !self.choices.is_empty() {
            lines.push(format!("Choices: {}", self.choices.join(" | ")));
        }
        lines.push(match (&self.assumed, self.waits) {
            (Some(assumed), false) => format!("Until you answer it assumes: {assumed}"),
            (Some(assumed), true) => format!("It waits for your answer, and would take: {assumed}"),
            (None, true) => "It waits for your answer.".to_owned(),
            (None, false) => "It decides as it thinks best.".to_owned(),
        });
        lines
    }
}

fn shown((number, asking): (u32, &Asking), task: &Task) -> AgentQuestion {
    AgentQuestion::of(task.id, number, &asking.question, asking.presses)
}

/// Returns the questions of the agent's that its person is to answer now, or may.
pub fn agent_questions(task: &Task) -> Vec<AgentQuestion> {
    if matches!(task.phase, Phase::Accepted | Phase::Discarded) {
        return vec![];
    }
    task.assumed().filter(|(_, asking)| asking.is_open()).map(|one| shown(one, task)).collect()
}

/// Returns everything that the agent assumes without a word of its person's.
pub fn assumed(task: &Task) -> Vec<AgentQuestion> {
    task.assumed().map(|one| shown(one, task)).collect()
}

/// Returns what was assumed, and to which question: `blue (Which colour?)`.
pub fn assumed_text(question: &AgentQuestion) -> String {
    format!("{} ({})", question.assumed.as_deref().unwrap_or("what it thought best"), question.text)
}

/// Returns how often the person was needed: `2 times: 1 answer, 1 change`; `None` where they never were.
pub fn needed_text(needed: &Needed) -> Option<String> {
    let parts = [
        (needed.questions, "answer"),
        (needed.reaches, "host"),
        (needed.pauses, "stop"),
        (needed.revisions, "change"),
    ];
    let parts = parts.iter().filter(|(times, _)| *times > 0);
    let parts: Vec<String> = parts.map(|(times, noun)| count((*times).into(), noun)).collect();
    (!parts.is_empty()).then(|| format!("{}: {}", count(needed.times().into(), "time"), parts.join(", ")))
}

/// Returns what was asked in one line: `asks you: Which colour? (goes on with: blue)`.
pub(super) fn asked_line(question: &Question, most: usize) -> String {
    let then = match &question.default {
        _ if question.must => " (waits)".to_owned(),
        Some(default) => format!(" (goes on with: {})", first_line(default, most / 3)),
        None => String::new(),
    };
    format!("The agent asks: {}{then}", first_line(&question.text, most))
}
