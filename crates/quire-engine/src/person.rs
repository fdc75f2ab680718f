//! What a person does to a task from any face, where that takes more than an append: a model is found, keys are handed to the
//! host, and the host is told. In one place, so that a command and the page do the same. They are called from a runtime of
//! several threads, which a wait for the store's commit must not hold up.

use crate::keys::Keys;
use crate::link::Link;
use crate::models::find_model;
use crate::quire::{EngineError, Quire};
use crate::settings::{self, Options, Resolved, Settings, Surroundings};
use quire_core::charter::Model;
use quire_core::event::Why;
use quire_core::message::Attachment;
use quire_core::money::Budget;
use quire_core::view::Uses;
use quire_core::{Phase, Task};
use std::path::PathBuf;
use tokio::task::block_in_place;

impl Quire {
    /// Opens a task with `files` handed over, on the model that the settings name or that is found, and returns it. Where there is
    /// none, the task waits for one, and the error names it.
    pub async fn begin(
        &self,
        resolved: &Resolved,
        words: &str,
        files: Vec<Attachment>,
        keys: &Keys,
        here: &Surroundings,
    ) -> Result<Task, EngineError> {
        let found = find_model(&resolved.settings, keys, here).await;
        let task = block_in_place(|| self.open_task(resolved, found.as_ref().ok().cloned(), words, files))?;
        found.map_err(|none| EngineError::NoModel { task, none })?;
        block_in_place(|| self.task(task))
    }

    /// Says something to a task, or only sends its notes, finds it a model where it has none, and returns it as it then is.
    pub async fn revise(
        &self,
        id: u64,
        words: Option<&str>,
        files: Vec<Attachment>,
        keys: &Keys,
        here: &Surroundings,
    ) -> Result<Task, EngineError> {
        block_in_place(|| self.say(id, words, files))?;
        self.with_a_model(id, keys, here).await
    }

    /// Sends the agent on to fit its version around what the person did meanwhile, and returns the task as it then is.
    pub async fn fit_around(
        &self,
        id: u64,
        words: Option<&str>,
        keys: &Keys,
        here: &Surroundings,
    ) -> Result<Task, EngineError> {
        block_in_place(|| self.fit(id, words))?;
        self.with_a_model(id, keys, here).await
    }

    async fn with_a_model(&self, id: u64, keys: &Keys, here: &Surroundings) -> Result<Task, EngineError> {
        let task = block_in_place(|| self.task(id))?;
        if task.charter.model.is_some() {
            return Ok(task);
        }
        let model = self.model_for(&task, None, keys, here).await?;
        block_in_place(|| self.resume(id, Some(model)))?;
        block_in_place(|| self.task(id))
    }

    /// Lets a task that waits go on, with another budget, model or plan where one is given, and returns it as it then is. One
    /// that works gets the budget alone.
    pub async fn carry_on(
        &self,
        id: u64,
        budget: Option<Budget>,
        model: Option<&str>,
        plan: Option<&str>,
        keys: &Keys,
        here: &Surroundings,
    ) -> Result<Task, EngineError> {
        let task = block_in_place(|| self.task(id))?;
        let Phase::Waiting(why) = &task.phase else {
            if model.is_some() {
                return Err(EngineError::Not {
                    task: id,
                    why: "is at work; stop it first, then name the model",
                });
            }
            if budget.is_some() {
                block_in_place(|| self.budget(id, budget, None))?;
            }
            return block_in_place(|| self.task(id));
        };
        let day = match why {
            // What the settings say now counts: there the limit was set.
            Why::Day { .. } => settings_of(&task, None, here)?.limits.day_usd,
            _ => None,
        };
        if budget.is_some() || day.is_some_and(|day| Some(day) != task.charter.limits.day_usd) {
            block_in_place(|| self.budget(id, budget, day))?;
        }
        let model = match model.is_some() || task.charter.model.is_none() {
            true => Some(self.model_for(&task, model, keys, here).await?),
            false => None,
        };
        block_in_place(|| match plan {
            Some(plan) => self.agree(id, plan, model),
            None => self.resume(id, model),
        })?;
        block_in_place(|| self.task(id))
    }

    /// Returns the host's address for a task, with the keys of its models and its secrets handed over, where there are any.
    pub async fn hand_over(
        &self,
        task: u64,
        uses: &Uses,
        keys: &Keys,
        here: &Surroundings,
    ) -> Result<Link, EngineError> {
        let mut link = self.link().await?;
        for (provider, key_env) in &uses.keys {
            if let Some(key) = keys.find(provider, key_env.as_deref(), here) {
                link.key(task, provider, &key).await;
            }
        }
        for name in &uses.secrets {
            if let Some(value) = keys.secret(name, here) {
                link.secret(task, name, &value).await;
            }
        }
        link.nudge(task).await;
        Ok(link)
    }

    /// Tells the host, if one runs, that a task's log has news: what is stopped ends at once.
    pub async fn tell_host(&self, task: u64) {
        if let Some(mut link) = self.running_host().await {
            link.nudge(task).await;
        }
    }

    /// Answers a question of a task's; one that waited for nothing else goes on. Returns it as it then is.
    pub async fn settle(
        &self,
        id: u64,
        reach: u32,
        (allow, once): (bool, bool),
        keys: &Keys,
        here: &Surroundings,
    ) -> Result<Task, EngineError> {
        block_in_place(|| self.answer(id, reach, allow, once))?;
        self.go_after_answer(id, keys, here).await
    }

    /// Answers questions of the agent's; see [`Quire::answer_agent`]. Returns the task as it then is.
    pub async fn settle_agent(
        &self,
        id: u64,
        answers: &[(u32, Option<String>)],
        keys: &Keys,
        here: &Surroundings,
    ) -> Result<Task, EngineError> {
        block_in_place(|| self.answer_agent(id, answers))?;
        self.go_after_answer(id, keys, here).await
    }

    /// Has the host go on with what an answer allows.
    async fn go_after_answer(&self, id: u64, keys: &Keys, here: &Surroundings) -> Result<Task, EngineError> {
        let task = block_in_place(|| self.task(id))?;
        match task.phase {
            Phase::Working => drop(self.hand_over(id, &Uses::of(&task), keys, here).await?),
            _ => self.tell_host(id).await,
        }
        Ok(task)
    }

    async fn model_for(
        &self,
        task: &Task,
        named: Option<&str>,
        keys: &Keys,
        here: &Surroundings,
    ) -> Result<Model, EngineError> {
        let settings = settings_of(task, named, here)?;
        let found = find_model(&settings, keys, here).await;
        found.map_err(|none| EngineError::NoModel { task: task.id, none })
    }
}

/// Finds the model of each attempt at what was resolved from `options`: the settings' own where it is `None`. One for which there is
/// none waits for it.
pub async fn find_models(
    resolved: &Resolved,
    options: &Options,
    named: &[Option<String>],
    keys: &Keys,
    here: &Surroundings,
) -> Result<Vec<Option<Model>>, EngineError> {
    let mut models = vec![];
    for one in named {
        let found = match one {
            None => find_model(&resolved.settings, keys, here).await,
            Some(_) => {
                let options = Options { model: one.clone(), ..options.clone() };
                let folder = resolved.folders.first().map(PathBuf::as_path);
                let settings = block_in_place(|| settings::read(&options, folder, here))?;
                find_model(&settings, keys, here).await
            }
        };
        models.push(found.ok());
    }
    Ok(models)
}

/// Returns the settings that hold in a task's folder, with the model that is named.
fn settings_of(task: &Task, model: Option<&str>, here: &Surroundings) -> Result<Settings, EngineError> {
    let options = Options { model: model.map(str::to_owned), ..Options::default() };
    Ok(settings::read(&options, Some(&task.charter.folders[0]), here)?)
}
