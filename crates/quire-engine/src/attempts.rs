//! Several attempts at one thing: tasks of their own that know of each other.

use crate::keys::Keys;
use crate::quire::{COMPARED_BYTES_MAX, Content, EngineError, Quire, REVIEWED_BYTES_MAX};
use crate::rewind::Point;
use crate::settings::{Resolved, Surroundings};
use crate::work::load_snapshot;
use quire_core::change::renames::renames;
use quire_core::charter::Model;
use quire_core::message::{Attachment, Fault};
use quire_core::task::{Attempt, SHOWN_MAX, Shown, Suggestion, mixed, suggested};
use quire_core::view::{AttemptRow, FileChange, FileRow, Mark, Summary, differing, letter};
use quire_core::{Event, Hash, Phase, RelPath, Snapshot, Task};
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use tokio::task::block_in_place;

/// Attempts side by side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    pub attempts: Vec<AttemptRow>,
    /// Files that are not the same in all; a letter for each attempt.
    pub files: Vec<FileRow>,
    /// Files that all changed in the same way.
    pub same: usize,
    /// They did not all begin with the same state of the folder.
    pub bases_differ: bool,
}

/// Returns the model of each attempt: the named ones in turn; `None` is the settings' own.
pub fn spread(named: &[String], attempts: Option<u32>) -> Vec<Option<String>> {
    let all = attempts.map_or(named.len().max(1), |attempts| (attempts as usize).max(named.len()));
    (0..all).map(|n| named.get(n % named.len().max(1)).cloned()).collect()
}

impl Quire {
    /// Opens one task for each of `models`, all with the same words. What they may cost together is what one may.
    pub fn open_attempts(
        &self,
        resolved: &Resolved,
        models: &[Option<Model>],
        words: &str,
        files: &[Attachment],
    ) -> Result<Vec<u64>, EngineError> {
        let of = models.len() as u32;
        let mut ids: Vec<u64> = vec![];
        for (number, model) in (1u32..).zip(models) {
            let attempt = |first| Event::Attempt { first, number, of, shared: true };
            // Further ones share the budget from their first event on. The number of the first is not known before it is there.
            let known = ids.first().map(|first| attempt(*first));
            let id = self.open_with(resolved, model.clone(), words, files.to_vec(), known)?;
            if ids.is_empty() {
                self.append(id, |_| Ok(vec![attempt(id)]))?;
            }
            ids.push(id);
        }
        Ok(ids)
    }

    /// Compares attempts: those that are named, or where only one is, all that began with it.
    pub fn compare(&self, named: &[u64]) -> Result<Comparison, EngineError> {
        let tasks = match named {
            [one] => self.beside(&self.task(*one)?)?,
            more => more.iter().map(|id| self.task(*id)).collect::<Result<_, _>>()?,
        };
        let mut versions = vec![];
        for task in &tasks {
            // Of what was dropped or cleared away nothing need be left.
            let kept = task.version().filter(|_| task.phase != Phase::Discarded && !task.cleared);
            let snapshot = kept.map(|version| load_snapshot(self.store(), &version.snapshot));
            versions.push(snapshot.transpose()?);
        }
        let count = |n: usize| versions[n].as_ref().map_or(0, |version| version.entries.len());
        let mut attempts = vec![];
        for (n, task) in tasks.iter().enumerate() {
            let lines = versions[n].as_ref().map(|version| self.lines_of(task, version)).transpose()?;
            attempts.push(AttemptRow::of(task, count(n), lines.unwrap_or_default()));
        }
        let made: Vec<usize> = (0..tasks.len()).filter(|n| versions[*n].is_some()).collect();
        let bases_differ = made.iter().any(|n| tasks[*n].bases != tasks[made[0]].bases);
        let (files, same) = differing(&versions);
        Ok(Comparison { attempts, files, same, bases_differ })
    }

    /// Returns how many lines a version adds and takes away, as its review counts them.
    fn lines_of(&self, task: &Task, version: &Snapshot) -> Result<(usize, usize), EngineError> {
        let frozen = self.frozen(task)?;
        let gone: HashSet<(u32, RelPath)> = renames(&version.entries)
            .into_iter()
            .flat_map(|((folder, to), from)| [(folder, to), (folder, from)])
            .collect();
        let (mut lines, mut left) = ((0, 0), REVIEWED_BYTES_MAX);
        for entry in version.entries.iter().filter(|e| !gone.contains(&(e.folder, e.path.clone()))) {
            let (was, now) = self.contents(&frozen, entry, COMPARED_BYTES_MAX.min(left))?;
            let held = |content: &Content| content.as_ref().map_or(0, Vec::len) as u64;
            left = left.saturating_sub(held(&was) + held(&now));
            let file = FileChange::of(entry, was.as_deref(), now.as_deref());
            lines = (lines.0 + file.added, lines.1 + file.removed);
        }
        Ok(lines)
    }

    /// Returns what is otherwise in one attempt's version than in another's, as one unified diff.
    pub fn diff_of(&self, from: u64, to: u64) -> Result<Vec<u8>, EngineError> {
        let (task, from, to) = self.sides(from, to)?;
        self.diff_between(&task, &from, &to)
    }

    /// The same, file by file.
    pub fn files_between(&self, from: u64, to: u64) -> Result<Vec<FileChange>, EngineError> {
        let (task, from, to) = self.sides(from, to)?;
        let changed = self.between(&task, &from, &to, COMPARED_BYTES_MAX)?;
        Ok(changed
            .iter()
            .map(|(entry, was, now)| FileChange::of(entry, was.as_deref(), now.as_deref()))
            .collect())
    }

    /// Returns the task of the first of two attempts over the same base, and the snapshots of their versions.
    fn sides(&self, from: u64, to: u64) -> Result<(Task, Hash, Hash), EngineError> {
        let (from, to) = (self.task(from)?, self.task(to)?);
        if from.bases != to.bases {
            let why = "began with another state of the folder, so they can only be read one by one";
            return Err(EngineError::Not { task: to.id, why });
        }
        let (was, now) = (self.reviewable(&from)?.snapshot, self.reviewable(&to)?.snapshot);
        Ok((from, was, now))
    }

    /// Begins a further attempt with the files of one, and tells it what should be otherwise and how the others differ from it.
    /// Returns it as it then is.
    pub async fn mix(
        &self,
        from: u64,
        words: &str,
        keys: &Keys,
        here: &Surroundings,
    ) -> Result<Task, EngineError> {
        let words = block_in_place(|| self.mix_words(from, words))?;
        let id = block_in_place(|| {
            let version = self.reviewable(&self.task(from)?)?.number;
            self.fork(from, Point::Version(version)).map(|begun| begun.task)
        })?;
        self.revise(id, Some(&words), vec![], keys, here).await
    }

    fn mix_words(&self, from: u64, words: &str) -> Result<String, EngineError> {
        let all = self.beside(&self.task(from)?)?;
        let (mut own, mut others) = (String::new(), vec![]);
        for (place, task) in all.iter().enumerate() {
            match task.version() {
                _ if task.id == from => own = letter(place),
                Some(version) if task.phase != Phase::Discarded && !task.cleared => {
                    let diff = match self.diff_of(from, task.id) {
                        Err(EngineError::Not { .. }) => self.diff(task.id, None)?,
                        diff => diff?,
                    };
                    let shown = Shown {
                        task: task.id,
                        summary: version.summary.to_string(),
                        checks: vec![],
                        diff: String::from_utf8_lossy(&diff).into_owned(),
                    };
                    others.push((letter(place), shown));
                }
                _ => {}
            }
        }
        if others.is_empty() {
            let why = "has no other attempt beside it that something could be taken from";
            return Err(EngineError::Not { task: from, why });
        }
        Ok(mixed(words, &own, &others))
    }

    /// Asks a model which of the attempts it would take: the one that reviews, else the own one of the first task that was not
    /// discarded, which pays. It is told of none which model made it, and they are shown in an order that says nothing. Returns
    /// none where no model answers.
    pub async fn suggest(
        &self,
        named: &[u64],
        keys: &Keys,
        here: &Surroundings,
    ) -> Result<Result<Suggestion, Fault>, EngineError> {
        let compared = block_in_place(|| self.compare(named))?;
        let (mut shown, mut names) = (vec![], vec![]);
        for row in compared.attempts.iter().filter(|row| row.version.is_some() && row.mark != Mark::Discarded)
        {
            let task = block_in_place(|| self.task(row.task))?;
            let diff = block_in_place(|| self.diff(row.task, None))?;
            let summary = task.version().map_or(String::new(), |version| version.summary.to_string());
            let checks =
                row.checks.iter().map(|check| format!("`{}` {}", check.command, check.outcome)).collect();
            names.extend(task.models().flat_map(|model| [model.provider.clone(), model.name.clone()]));
            shown.push(Shown {
                task: row.task,
                summary,
                checks,
                diff: String::from_utf8_lossy(&diff).into_owned(),
            });
        }
        shown.sort_by_key(|shown| Hash::of(shown.diff.as_bytes()).0);
        shown.truncate(SHOWN_MAX);
        // What was discarded pays for nothing more.
        let left = compared.attempts.iter().find(|row| row.mark != Mark::Discarded);
        let payer = left.unwrap_or(&compared.attempts[0]).task;
        let payer = block_in_place(|| self.task(payer))?;
        let Some((model, prompt)) = payer.suggest_request(&shown, &names).filter(|_| shown.len() > 1) else {
            let why = "has not two attempts with a version yet, of which a model could suggest one";
            return Err(EngineError::Not { task: payer.id, why });
        };
        let worst = payer.suggest_worst(&model, &prompt);
        let begun = |task: &Task| match task.phase {
            Phase::Working => Err("is at work; compare it when it rests"),
            _ => Ok(vec![Event::Suggesting { worst }]),
        };
        block_in_place(|| self.append(payer.id, begun))?;
        let key = keys.find(&model.provider, model.key_env.as_deref(), here);
        let client = quire_model::Client::new();
        let no = || -> quire_model::Leave { Box::pin(async { false }) };
        let key = key.as_ref().map(|key| key.expose());
        let asked = client.ask_within(&model, key, &prompt, &HashMap::new(), &|_| {}, &no).await;
        let (event, came) = match asked {
            Ok(reply) => {
                let order: Vec<u64> = shown.iter().map(|shown| shown.task).collect();
                let suggestion = Suggestion {
                    task: suggested(&reply.text, &order),
                    text: reply.text.as_str().into(),
                    shown: order.as_slice().into(),
                };
                (Event::Suggested { shown: order, text: reply.text, usage: reply.usage }, Ok(suggestion))
            }
            Err(unanswered) => {
                let (fault, spent) = (unanswered.fault, unanswered.charged);
                (Event::SuggestFailed { fault: fault.clone(), spent }, Err(fault))
            }
        };
        block_in_place(|| self.append(payer.id, |_| Ok(vec![event.clone()])))?;
        Ok(came)
    }

    /// Returns the attempts that began with a task, and those that were begun in one of them.
    pub fn beside(&self, task: &Task) -> Result<Vec<Task>, EngineError> {
        let is_one = |other: &Summary| match task.attempt {
            Some(Attempt { first, .. }) => other.attempt.is_some_and(|attempt| attempt.first == first),
            None => other.first == task.first(),
        };
        self.summaries()?
            .iter()
            .filter(|other| is_one(other))
            .map(|one| self.task_as_it_is(one.task))
            .collect()
    }
}
