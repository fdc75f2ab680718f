//! The folds of tasks that this process has seen, kept because a log only grows: what was folded once stays true, and is
//! carried on by the rows above it.

use super::log;
use crate::database::{Damaged, Database, DatabaseError};
use quire_core::{Logged, Task};
use rusqlite::Connection;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

/// Folds kept at most; the one that was used longest ago goes first.
const KEPT_MAX: usize = 512;

#[derive(Default)]
pub(super) struct Folds(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    by_task: HashMap<i64, (u64, Arc<Task>)>,
    uses: u64,
}

impl Folds {
    /// Returns the fold of a task's whole log as `conn` sees it now, or `None` where there is no such task.
    pub fn of(
        &self,
        database: &Database,
        conn: &Connection,
        id: i64,
    ) -> Result<Option<Arc<Task>>, DatabaseError> {
        let mut task = self.lock().get(id);
        let after = task.as_ref().map_or(0, |task| task.seq);
        let there = log::read(database, conn, id, after, |logged| match carry_on(&mut task, id, &logged) {
            Ok(()) => ControlFlow::Continue(()),
            Err(what) => ControlFlow::Break(Damaged::Event { task: id as u64, seq: logged.seq, what }),
        })?;
        if !there {
            let what = "it was here before, and is gone".to_owned();
            return Err(Damaged::Event { task: id as u64, seq: after, what }.into());
        }
        if let Some(task) = &task
            && task.seq > after
        {
            self.keep(id, task.clone());
        }
        Ok(task)
    }

    /// Keeps a fold of rows that are committed, unless one that is further on is already here.
    pub fn keep(&self, id: i64, task: Arc<Task>) {
        let mut kept = self.lock();
        if kept.get(id).is_some_and(|here| here.seq >= task.seq) {
            return;
        }
        let used = kept.uses;
        kept.by_task.insert(id, (used, task));
        if kept.by_task.len() > KEPT_MAX
            && let Some((&oldest, _)) = kept.by_task.iter().min_by_key(|(_, (used, _))| *used)
        {
            kept.by_task.remove(&oldest);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn get(&mut self, id: i64) -> Option<Arc<Task>> {
        self.uses += 1;
        let (used, task) = self.by_task.get_mut(&id)?;
        *used = self.uses;
        Some(task.clone())
    }
}

fn carry_on(task: &mut Option<Arc<Task>>, id: i64, logged: &Logged) -> Result<(), String> {
    match task {
        Some(task) => Arc::make_mut(task).apply(logged),
        None => Task::open(id as u64, logged).map(|opened| *task = Some(Arc::new(opened))),
    }
    .map_err(|refusal| format!("it cannot follow the ones before it: {refusal}"))
}
