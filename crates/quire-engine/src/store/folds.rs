//! The folds of tasks that this process has seen, kept because a log only grows: what was folded once stays true, and is
//! carried on by the rows above it. What this process has not seen begins with what another kept of it (`store/kept.rs`).

use super::kept::{self, Fold, Kept};
use super::log;
use crate::database::{Damaged, Database, DatabaseError};
use quire_core::{Logged, Task};
use rusqlite::Connection;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Folds held at most; the one that was used longest ago goes first.
const SEEN_MAX: usize = 512;

pub(super) struct Folds {
    seen: Mutex<Seen>,
    kept: Kept,
}

#[derive(Default)]
struct Seen {
    by_task: HashMap<i64, (u64, Arc<Task>)>,
    uses: u64,
    /// Held by who reads a log from its beginning.
    first: HashMap<i64, Arc<Mutex<()>>>,
    /// Up to which event of a task a fold is kept beside its log, as far as this process knows.
    kept_at: HashMap<i64, u64>,
}

impl Folds {
    pub fn of_home(home: &Path) -> Folds {
        Folds { seen: Mutex::default(), kept: Kept::of(home) }
    }

    /// Returns the fold of a task's whole log as `conn` sees it now, or `None` where there is no such task.
    pub fn of(
        &self,
        database: &Database,
        conn: &Connection,
        id: i64,
    ) -> Result<Option<Arc<Task>>, DatabaseError> {
        let task = self.lock().get(id);
        if task.is_some() {
            return self.carried_on(database, conn, id, task, false);
        }
        // A log is read from its beginning by one; whoever comes meanwhile waits, and has that one's fold.
        let first = self.lock().first.entry(id).or_default().clone();
        let _first = first.lock().unwrap_or_else(PoisonError::into_inner);
        let task = self.lock().get(id);
        let read = match task {
            Some(_) => Ok(task),
            None => self.kept_fold(database, conn, id),
        };
        let done = read.and_then(|task| self.carried_on(database, conn, id, task, true));
        self.lock().first.remove(&id);
        done
    }

    /// Carries a fold on with what the log has after it; `fresh`: it is not in memory yet.
    fn carried_on(
        &self,
        database: &Database,
        conn: &Connection,
        id: i64,
        mut task: Option<Arc<Task>>,
        fresh: bool,
    ) -> Result<Option<Arc<Task>>, DatabaseError> {
        let after = task.as_ref().map_or(0, |task| task.seq);
        let there = log::read(database, conn, id, after, |logged| match carry_on(&mut task, id, &logged) {
            Ok(()) => ControlFlow::Continue(()),
            Err(what) => ControlFlow::Break(what),
        })?;
        if !there {
            let what = "it was here before, and is gone".to_owned();
            return Err(Damaged::Event { task: id as u64, seq: after, what }.into());
        }
        if let Some(task) = &task
            && (task.seq > after || fresh)
        {
            self.keep(id, task.clone());
            if let Some(fold) = self.owed(database, conn, id, task)? {
                self.write(&fold);
            }
        }
        Ok(task)
    }

    /// Returns the fold that is kept beside the log, where the log still has the very event that it ends with.
    fn kept_fold(
        &self,
        database: &Database,
        conn: &Connection,
        id: i64,
    ) -> Result<Option<Arc<Task>>, DatabaseError> {
        let Some(Fold { task, sum }) = self.kept.read(id) else { return Ok(None) };
        if log::sum_of(database, conn, id, task.seq)? != Some(sum) {
            return Ok(None);
        }
        self.lock().kept_at.insert(id, task.seq);
        Ok(Some(task))
    }

    /// Returns the fold of a log that grew long since one was kept, for [`Folds::write`]. All of it is committed.
    pub fn owed(
        &self,
        database: &Database,
        conn: &Connection,
        id: i64,
        task: &Arc<Task>,
    ) -> Result<Option<Fold>, DatabaseError> {
        let kept_at = self.lock().kept_at.get(&id).copied();
        if !kept::is_due(task, kept_at.unwrap_or(0)) {
            return Ok(None);
        }
        let sum = log::sum_of(database, conn, id, task.seq)?;
        self.lock().kept_at.insert(id, task.seq);
        Ok(sum.map(|sum| Fold { task: task.clone(), sum }))
    }

    pub fn write(&self, fold: &Fold) {
        if let Err(error) = self.kept.write(fold) {
            tracing::debug!(task = fold.task.id, %error, "the fold of a long log is not kept");
        }
    }

    /// Keeps a fold of rows that are committed, unless one that is further on is already here.
    pub fn keep(&self, id: i64, task: Arc<Task>) {
        let mut seen = self.lock();
        if seen.get(id).is_some_and(|here| here.seq >= task.seq) {
            return;
        }
        let used = seen.uses;
        seen.by_task.insert(id, (used, task));
        if seen.by_task.len() > SEEN_MAX
            && let Some((&oldest, _)) = seen.by_task.iter().min_by_key(|(_, (used, _))| *used)
        {
            seen.by_task.remove(&oldest);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
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
