//! The one thread of this process that writes to the database. It takes all that is waiting into one transaction, so
//! that however many tasks run at once, they share one sync of the disk.
//!
//! Other processes write too. So whether a batch may follow is decided inside the transaction, on what the database
//! holds then; the kept folds only spare it the reading of rows that it has read before.

use super::folds::Folds;
use super::summaries::{self, Summaries};
use super::{AppendError, Created, Writer};
use super::{log, spending};
use crate::blob::Index;
use crate::database::{Database, DatabaseError, DiskKind};
use quire_core::event::Seq;
use quire_core::{Event, Logged, Phase, Refusal, Task, Usd};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{oneshot, watch};

/// Requests in one transaction at most, so that the first of them does not wait for ever.
const GROUP_MAX: usize = 256;

pub(super) type Reply<T> = oneshot::Sender<Result<T, AppendError>>;

pub(super) enum Request {
    Create { first: Vec<Event>, reply: Reply<Created> },
    Import { log: Vec<Logged>, reply: Reply<Created> },
    Append { task: u64, expect: Seq, by: Writer, events: Vec<Event>, reply: Reply<Seq> },
    Take { task: u64, reply: Reply<(u64, Seq)> },
    Fork { from: u64, step: u32, reply: Reply<Created> },
}

/// A request in work. Its events stand as they will be written, so that folding and writing them copies nothing.
struct Batch {
    what: What,
    events: Vec<Logged>,
}

enum What {
    Create(Reply<Created>),
    Append { task: u64, expect: Seq, by: Writer, reply: Reply<Seq> },
    Take { task: u64, reply: Reply<(u64, Seq)> },
    Fork { from: u64, step: u32, reply: Reply<Created> },
}

/// Where a batch came to stand.
struct Written {
    task: i64,
    /// For who takes the task.
    epoch: u64,
    seq: Seq,
}

impl Batch {
    fn new(request: Request) -> Batch {
        let logged =
            |events: Vec<Event>| events.into_iter().map(|event| Logged { seq: 0, at_ms: 0, event }).collect();
        match request {
            Request::Create { first, reply } => Batch { what: What::Create(reply), events: logged(first) },
            Request::Import { log, reply } => Batch { what: What::Create(reply), events: log },
            Request::Append { task, expect, by, events, reply } => {
                Batch { what: What::Append { task, expect, by, reply }, events: logged(events) }
            }
            Request::Take { task, reply } => {
                Batch { what: What::Take { task, reply }, events: logged(vec![Event::Taken { epoch: 0 }]) }
            }
            Request::Fork { from, step, reply } => Batch {
                what: What::Fork { from, step, reply },
                events: logged(vec![Event::Forked { from, step }]),
            },
        }
    }

    fn task(&self) -> Option<u64> {
        match self.what {
            What::Create(_) => None,
            What::Append { task, .. } | What::Take { task, .. } | What::Fork { from: task, .. } => Some(task),
        }
    }

    /// Tells the one who asked; nobody may be there any more to hear it.
    fn answer(self, answer: Result<Written, AppendError>) {
        match self.what {
            What::Create(reply) | What::Fork { reply, .. } => {
                let _ = reply.send(answer.map(|at| Created { task: at.task as u64, seq: at.seq }));
            }
            What::Append { reply, .. } => {
                let _ = reply.send(answer.map(|at| at.seq));
            }
            What::Take { reply, .. } => {
                let _ = reply.send(answer.map(|at| (at.epoch, at.seq)));
            }
        }
    }
}

pub(super) struct WriterThread {
    pub database: Arc<Database>,
    pub folds: Arc<Folds>,
    pub index: Arc<Index>,
    pub summaries: Arc<Summaries>,
    pub conn: Connection,
    /// Counts this process's commits.
    pub commits: watch::Sender<u64>,
    /// Keeps the fold of a long log, aside from the tasks that wait for their commits.
    pub keeping: Option<JoinHandle<()>>,
}

impl WriterThread {
    /// Works until nobody can ask any more.
    pub fn run(mut self, requests: Receiver<Request>) {
        while let Ok(request) = requests.recv() {
            let waiting = std::iter::once(request).chain(requests.try_iter());
            let group = waiting.take(GROUP_MAX).map(Batch::new).collect();
            self.write_group(group);
        }
        // Blobs that no event names yet, and summaries. If this fails they are put again by whoever needs them.
        if !(self.index.is_empty() && self.summaries.is_empty())
            && let Err(e) = self.commit(&mut [])
        {
            tracing::warn!("the places of some blobs, or summaries, were not written: {e}");
        }
        if let Some(keeping) = self.keeping.take() {
            let _ = keeping.join();
        }
    }

    fn write_group(&mut self, mut group: Vec<Batch>) {
        match self.commit(&mut group) {
            Ok(answers) => {
                // What was refused is no news: those who wait for room would wake each other for ever.
                if answers.iter().any(Result::is_ok) {
                    self.commits.send_modify(|commits| *commits += 1);
                }
                for (batch, answer) in group.into_iter().zip(answers) {
                    batch.answer(answer);
                }
            }
            // One batch too large for what is left of the disk must not take the small ones with it.
            Err(DatabaseError::Disk(e)) if group.len() > 1 && e.kind != DiskKind::Busy => {
                group.into_iter().for_each(|batch| self.write_group(vec![batch]));
            }
            Err(e) => group.into_iter().for_each(|batch| batch.answer(Err(e.clone().into()))),
        }
    }

    /// Writes what may be written of `group`, and makes it durable. An error here means that nothing of it was written.
    fn commit(&mut self, group: &mut [Batch]) -> Result<Vec<Result<Written, AppendError>>, DatabaseError> {
        self.database.still_sound()?;
        // Long logs are read before the lock is taken. What fails here fails again below, where it is answered.
        for id in group.iter().filter_map(Batch::task) {
            let _ = self.folds.of(&self.database, &self.conn, id as i64);
        }
        let database = &self.database;
        let tx = database.by(self.conn.transaction_with_behavior(TransactionBehavior::Immediate))?;
        let mut work = Work {
            database,
            folds: &self.folds,
            tx: &tx,
            at_ms: now_ms(),
            tasks: HashMap::new(),
            begun: HashSet::new(),
        };
        let mut answers = Vec::with_capacity(group.len());
        for batch in group {
            answers.push(match work.judge(batch) {
                Ok(judged) => Ok(work.write(judged, &batch.events)?),
                Err(e) => Err(e),
            });
        }
        let tasks = work.tasks;
        let placed = self.index.write(database, &tx)?;
        let summed = self.summaries.write(database, &tx)?;
        database.by(tx.commit())?;
        self.index.written(&placed);
        self.summaries.written(&summed);
        for (id, task) in tasks {
            self.keep(id, &task);
            self.folds.keep(id, task);
        }
        Ok(answers)
    }

    /// Keeps the fold of a log that grew long, one at a time.
    fn keep(&mut self, id: i64, task: &Arc<Task>) {
        if self.keeping.as_ref().is_some_and(|keeping| !keeping.is_finished()) {
            return;
        }
        // What cannot be read now is told of by whoever needs it.
        if let Ok(Some(fold)) = self.folds.owed(&self.database, &self.conn, id, task) {
            let folds = self.folds.clone();
            let keeps = std::thread::Builder::new().name("fold".into());
            self.keeping = keeps.spawn(move || folds.write(&fold)).ok();
        }
    }
}

/// What may be written.
enum Judged {
    /// Events that may follow in a log, and the task as it is after them; without one before they open it.
    Follows { id: i64, before: Option<Arc<Task>>, task: Arc<Task> },
    /// A task that begins in another, after the event `seq` of that. It is folded by whoever needs it first: all of the log up to there
    /// would be read for that.
    Begins { id: i64, from: i64, seq: Seq, shares: Option<u64> },
}

/// One transaction.
struct Work<'a> {
    database: &'a Database,
    folds: &'a Folds,
    tx: &'a Transaction<'a>,
    at_ms: u64,
    /// Folds of what was written in this transaction; true for others only after its commit.
    tasks: HashMap<i64, Arc<Task>>,
    /// Tasks that began in others in this transaction.
    begun: HashSet<i64>,
}

impl Work<'_> {
    /// Decides whether a batch may follow, and gives its events their places; writes nothing.
    fn judge(&self, batch: &mut Batch) -> Result<Judged, AppendError> {
        if batch.events.is_empty() {
            return Err(AppendError::Nothing);
        }
        let (id, before) = match batch.what {
            What::Create(_) => (self.next_id()?, None),
            What::Append { task, expect, by, .. } => {
                let (id, before) = self.task(task)?;
                if let Writer::Driver { epoch } = by
                    && epoch != before.epoch
                {
                    return Err(AppendError::Fenced { epoch: before.epoch });
                }
                if expect != before.seq {
                    return Err(AppendError::Conflict { now: before.seq });
                }
                (id, Some(before))
            }
            What::Take { task, .. } => {
                let (id, before) = self.task(task)?;
                batch.events[0].event = Event::Taken { epoch: before.epoch + 1 };
                (id, Some(before))
            }
            What::Fork { from, step, .. } => return self.judge_fork(from, step, &mut batch.events[0]),
        };
        let task = self.fold(id, before.clone(), &mut batch.events)?;
        let reserved = batch.events.iter().rev().find_map(|logged| logged.event.reserves());
        let limit = task.charter.limits.day_usd.filter(|_| task.imported_from().is_none());
        if let (Some(needs), Some(limit)) = (reserved, limit) {
            let all = spending::sums_with(self.database, self.tx, before.as_deref(), &task, self.at_ms)?;
            if needs > Usd::ZERO && all.spent.plus(all.held) > limit {
                let held = all.held.minus(needs);
                return Err(AppendError::Day { spent: all.spent, held, needs, limit });
            }
        }
        let limit = task.charter.limits.task_usd.filter(|_| task.imported_from().is_none());
        if let (Some(needs), Some(limit), Some(first)) = (reserved, limit, task.shares_budget()) {
            let mut all = spending::shared_with(self.database, self.tx, first, before.as_deref(), &task)?;
            for (other, held) in spending::old_holds(self.database, self.tx, first, self.at_ms)? {
                // A suggestion whose asker was stopped holds nothing from the others; it counts when its task goes on.
                if other != id && self.task(other as u64)?.1.phase != Phase::Working {
                    all.held = all.held.minus(held);
                }
            }
            if needs > Usd::ZERO && all.spent.plus(all.held) > limit {
                let held = all.held.minus(needs);
                return Err(AppendError::Shared { spent: all.spent, held, needs, limit });
            }
        }
        Ok(Judged::Follows { id, before, task })
    }

    /// Decides by the other task's fold, which knows after which event each of its steps ended.
    fn judge_fork(&self, from: u64, step: u32, forked: &mut Logged) -> Result<Judged, AppendError> {
        let (from, task) = self.task(from)?;
        let gone = task.cleared || task.phase == Phase::Discarded || task.imported_from().is_some();
        let Some(to) = task.checkpoint(step).filter(|_| !gone) else {
            let why = "a task begins in another that can be gone on with, after a step of it";
            return Err(Refusal { seq: task.seq, why }.into());
        };
        (forked.seq, forked.at_ms) = (to.seq + 1, self.at_ms);
        let shares = to.attempt.and_then(|attempt| attempt.shares_budget());
        Ok(Judged::Begins { id: self.next_id()?, from, seq: to.seq, shares })
    }

    /// Writes a judged batch. After an error the transaction must not be committed: half of the batch may stand in it.
    fn write(&mut self, judged: Judged, events: &[Logged]) -> Result<Written, DatabaseError> {
        let (database, tx) = (self.database, self.tx);
        let put = |id| events.iter().try_for_each(|logged| log::write(database, tx, id, logged));
        match judged {
            Judged::Follows { id, before, task } => {
                let before = before.as_deref();
                if before.is_none() {
                    self.open_row(id, None)?;
                }
                put(id)?;
                if task.imported_from().is_none() {
                    spending::write(database, tx, id, before, &task)?;
                    let was = before.map(|before| before.attempt);
                    if let Some(first) = task.shares_budget().filter(|_| was != Some(task.attempt)) {
                        spending::share(database, tx, id, first)?;
                    }
                }
                summaries::write_of(database, tx, &task)?;
                let written = Written { task: id, epoch: task.epoch, seq: task.seq };
                self.tasks.insert(id, task);
                Ok(written)
            }
            Judged::Begins { id, from, seq, shares } => {
                self.open_row(id, Some((from, seq)))?;
                put(id)?;
                if let Some(first) = shares {
                    spending::share(database, tx, id, first)?;
                }
                self.begun.insert(id);
                Ok(Written { task: id, epoch: 0, seq: seq + 1 })
            }
        }
    }

    fn fold(&self, id: i64, before: Option<Arc<Task>>, events: &mut [Logged]) -> Result<Arc<Task>, Refusal> {
        let mut task = before;
        for logged in events {
            logged.seq = task.as_ref().map_or(1, |task| task.seq + 1);
            // Only what is imported happened before.
            if logged.at_ms == 0 {
                logged.at_ms = self.at_ms;
            }
            match &mut task {
                Some(task) => Arc::make_mut(task).apply(logged)?,
                None => task = Some(Arc::new(Task::open(id as u64, logged)?)),
            }
        }
        Ok(task.expect("a batch is never empty"))
    }

    fn task(&self, task: u64) -> Result<(i64, Arc<Task>), AppendError> {
        let id = i64::try_from(task).map_err(|_| AppendError::NoSuchTask(task))?;
        if let Some(task) = self.tasks.get(&id) {
            return Ok((id, task.clone()));
        }
        // Nobody was told of it yet, and what is not committed must not be among the folds.
        if self.begun.contains(&id) {
            return Err(AppendError::NoSuchTask(task));
        }
        match self.folds.of(self.database, self.tx, id)? {
            Some(task) => Ok((id, task)),
            None => Err(AppendError::NoSuchTask(task)),
        }
    }

    fn next_id(&self) -> Result<i64, DatabaseError> {
        let sql = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'task'), 0) + 1";
        self.database
            .by(self.tx.prepare_cached(sql).and_then(|mut next| next.query_row([], |row| row.get(0))))
    }

    fn open_row(&self, id: i64, origin: Option<(i64, Seq)>) -> Result<(), DatabaseError> {
        let sql = "INSERT INTO task (id, opened_ms, origin, origin_seq) VALUES (?, ?, ?, ?)";
        let (origin, seq) = origin.unzip();
        self.database.by(self
            .tx
            .prepare_cached(sql)
            .and_then(|mut open| open.execute(params![id, self.at_ms, origin, seq])))?;
        Ok(())
    }
}

pub(super) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
