//! What is known of a task at a glance: all that lists show, and all that is decided over all tasks at once. It is small however long the
//! task's log is, so that it can be kept beside the log, and many tasks be listed without folding any.

use super::in_git::has_committed;
use super::made::made;
use super::{AgentQuestion, Cost, Mark, Question, TaskRow, agent_questions, folder, mark, questions, state};
use crate::event::Seq;
use crate::money::Usd;
use crate::task::{Attempt, Needed, Phase, Task};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A task at a glance, as of the event `seq` of its log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub task: u64,
    pub seq: Seq,
    pub phase: Phase,
    pub mark: Mark,
    /// As in [`TaskRow`].
    pub state: String,
    pub title: String,
    /// The first one, escaped as [`crate::RelPath`] is.
    pub folder: String,
    pub folders: Vec<PathBuf>,
    pub last_ms: u64,
    /// Up to the last event.
    pub worked_ms: u64,
    pub steps: u32,
    pub tokens: u64,
    #[serde(with = "WholeCost")]
    pub cost: Cost,
    pub questions: Vec<Question>,
    pub agent_questions: Vec<AgentQuestion>,
    /// The plan that waits for its person.
    pub plan: Option<String>,
    /// Of the steps of the model's own plan, how many are done, and how many there are.
    pub done: (usize, usize),
    pub needed: Needed,
    pub files: Option<u32>,
    #[serde(default)]
    pub committed: bool,
    pub made: Option<String>,
    pub cleared: bool,
    pub is_being_written: bool,
    /// See [`Task::is_open`].
    pub is_open: bool,
    pub attempt: Option<Attempt>,
    /// See [`Task::first`].
    pub first: u64,
    /// The other tasks of which this one needs what they left, while it is not gone itself.
    pub borrows: Vec<u64>,
    pub uses: Uses,
}

/// The keys that a task's models need, and the secrets that its commands use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uses {
    /// Providers, each with the variable that its key is in; one may be there twice.
    pub keys: Vec<(String, Option<String>)>,
    /// By name.
    pub secrets: Vec<String>,
}

impl Uses {
    pub fn of(task: &Task) -> Uses {
        let keys = task.models().map(|model| (model.provider.clone(), model.key_env.clone()));
        let secrets = task.charter.secrets.iter().map(|rule| rule.name.clone());
        Uses { keys: keys.collect(), secrets: secrets.collect() }
    }
}

impl Summary {
    pub fn of(task: &Task) -> Summary {
        let borrows = task.origin().is_some() && task.phase != Phase::Discarded && !task.cleared;
        Summary {
            task: task.id,
            seq: task.seq,
            phase: task.phase.clone(),
            mark: mark(task),
            state: state(task),
            title: task.title(),
            folder: folder(task),
            folders: task.charter.folders.clone(),
            last_ms: task.last_ms,
            worked_ms: task.worked_ms,
            steps: task.step,
            tokens: task.spending().tokens,
            cost: Cost::of(task),
            questions: questions(task),
            agent_questions: agent_questions(task),
            plan: task.plan_to_review().map(str::to_owned),
            done: (task.plan.iter().filter(|step| step.status == "done").count(), task.plan.len()),
            needed: task.needed,
            files: task.version().and_then(|version| version.files),
            committed: task.version().is_some_and(|version| has_committed(&version.apart)),
            made: made(task),
            cleared: task.cleared,
            is_being_written: task.is_being_written(),
            is_open: task.is_open(),
            attempt: task.attempt,
            first: task.first(),
            borrows: if borrows { task.borrows().into_iter().collect() } else { vec![] },
            uses: Uses::of(task),
        }
    }

    /// Returns the task's row in a list.
    pub fn row(&self, now_ms: u64) -> TaskRow {
        let since = now_ms.saturating_sub(self.last_ms);
        let open = if self.phase == Phase::Working { since } else { 0 };
        TaskRow {
            task: self.task,
            mark: self.mark,
            state: self.state.clone(),
            title: self.title.clone(),
            folder: self.folder.clone(),
            age_ms: since,
            worked_ms: self.worked_ms + open,
            steps: self.steps,
            tokens: self.tokens,
            cost: self.cost,
            questions: self.questions.clone(),
            agent_questions: self.agent_questions.clone(),
            plan: self.plan.clone(),
            needed_you: self.needed,
            files: self.files,
            committed: self.committed,
            made: self.made.clone(),
        }
    }
}

/// A cost to the last digit, which what scripts are told is not.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Cost")]
struct WholeCost {
    usd: Option<Usd>,
    partial: bool,
    cached_tokens: u64,
    guessed_requests: u32,
}
