//! The store: the logs of all tasks, for every process of one home. A batch of events is written whole or not at all,
//! only where the fold lets it follow and the log stands where its writer believes, and nothing is reported before it is
//! on the disk.
//!
//! Reading and writing go different ways. Readers use connections of their own and never wait for a writer. All writing
//! of a process goes through one thread (`store/writer.rs`); what it is asked for is answered by a [`Receipt`].

mod folds;
mod kept;
mod log;
mod spending;
mod summaries;
mod writer;

pub use spending::Spent;

use crate::blob::{Blobs, Index};
use crate::database::{Damaged, Database, DatabaseError, DiskError, OpenError};

use folds::Folds;
use quire_core::event::Seq;
use quire_core::view::Summary;
use quire_core::{Event, Logged, Refusal, Task, Usd};
use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use summaries::{Listed, Summaries};
use tokio::sync::{oneshot, watch};
use writer::{Request, WriterThread};

/// One home's store in this process. Clones are the same store.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    database: Arc<Database>,
    folds: Arc<Folds>,
    summaries: Arc<Summaries>,
    blobs: Blobs,
    commits: watch::Receiver<u64>,
    /// Absent only while it is dropped.
    requests: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
}

/// Who appends. A driver's epoch fences it: once another driver has taken the task, it writes no more. A person's
/// words need only fit the log as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    Driver { epoch: u64 },
    Person,
}

/// A task that now is, and the place of its last event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Created {
    pub task: u64,
    pub seq: Seq,
}

/// Why a batch was not written; nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    #[error("The task has gone on to event {now}; look again before you decide")]
    Conflict { now: Seq },
    #[error("Another driver has taken the task (epoch {epoch})")]
    Fenced { epoch: u64 },
    #[error(transparent)]
    Illegal(#[from] Refusal),
    #[error("There is no task {0}")]
    NoSuchTask(u64),
    #[error("There was nothing to write")]
    Nothing,
    /// With what it would reserve, all tasks together would have more than the day's budget. `spent` is what the last 24 hours
    /// have cost, `held` what other tasks hold for requests that are open.
    #[error("The day's budget of {limit} has no room for it: {spent} is spent, and {held} is reserved")]
    Day { spent: Usd, held: Usd, needs: Usd, limit: Usd },
    /// The same, of the budget that attempts have together.
    #[error("The attempts' budget of {limit} has no room for it: {spent} is spent, and {held} is reserved")]
    Shared { spent: Usd, held: Usd, needs: Usd, limit: Usd },
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// The thread that writes is gone, which only a bug in quire can do.
    #[error("quire's writer has stopped; whether this was written is known after a restart")]
    Stopped,
}

/// Why a task could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("There is no task {0}")]
    NoSuchTask(u64),
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

impl From<DatabaseError> for AppendError {
    fn from(e: DatabaseError) -> AppendError {
        match e {
            DatabaseError::Disk(e) => AppendError::Disk(e),
            DatabaseError::Damaged(e) => AppendError::Damaged(e),
        }
    }
}

impl From<DatabaseError> for ReadError {
    fn from(e: DatabaseError) -> ReadError {
        match e {
            DatabaseError::Disk(e) => ReadError::Disk(e),
            DatabaseError::Damaged(e) => ReadError::Damaged(e),
        }
    }
}

/// The promise of an answer, kept once it is on the disk: to be awaited, or waited for. The work is done even if the
/// receipt is dropped.
#[must_use = "nothing may be shown before it is on the disk"]
pub struct Receipt<T>(oneshot::Receiver<Result<T, AppendError>>);

impl<T> Receipt<T> {
    /// Blocks this thread until the answer is there; panics within an async task, which must not block.
    pub fn wait(self) -> Result<T, AppendError> {
        self.0.blocking_recv().unwrap_or(Err(AppendError::Stopped))
    }
}

impl<T> Future for Receipt<T> {
    type Output = Result<T, AppendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|answer| answer.unwrap_or(Err(AppendError::Stopped)))
    }
}

/// A place in the log of all tasks. The default is its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(i64);

impl Store {
    /// Opens the store in `home`, and makes it where there is none. A database that is damaged, foreign or newer is an
    /// error, and is left byte for byte as it is.
    pub fn open(home: &Path) -> Result<Store, OpenError> {
        let database = Arc::new(Database::open(home)?);
        let folds = Arc::new(Folds::of_home(home));
        let (index, summaries) = (Arc::<Index>::default(), Arc::<Summaries>::default());
        let blobs = Blobs::of(home, database.clone(), index.clone())?;
        let (commits, seen) = watch::channel(0);
        let thread = WriterThread {
            conn: database.connect()?,
            database: database.clone(),
            folds: folds.clone(),
            index,
            summaries: summaries.clone(),
            commits,
            keeping: None,
        };
        let (requests, asked) = mpsc::channel();
        let writer = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || thread.run(asked))
            .map_err(|e| DiskError::io(home, e))?;
        let (requests, writer) = (Some(requests), Some(writer));
        Ok(Store(Arc::new(Inner { database, folds, summaries, blobs, commits: seen, requests, writer })))
    }

    /// Opens a task with its first events, of which the first is [`Event::Opened`].
    pub fn create(&self, first: Vec<Event>) -> Receipt<Created> {
        self.ask(|reply| Request::Create { first, reply })
    }

    /// Opens a task with the whole log of another place, which keeps its times and costs nothing here.
    pub(crate) fn import(&self, log: Vec<Logged>) -> Receipt<Created> {
        self.ask(|reply| Request::Import { log, reply })
    }

    /// Opens a task whose log is that of `from` up to the end of a step, if that is still there to be gone on with.
    pub fn fork(&self, from: u64, step: u32) -> Receipt<Created> {
        self.ask(|reply| Request::Fork { from, step, reply })
    }

    /// Appends `events`, all or none, if the log of `task` ends at `expect` and its fold lets them follow. Returns the
    /// place of the last.
    pub fn append(&self, task: u64, expect: Seq, by: Writer, events: Vec<Event>) -> Receipt<Seq> {
        self.ask(|reply| Request::Append { task, expect, by, events, reply })
    }

    /// Takes a task over: a new epoch, from which on every older driver is fenced off. Returns it, and the place of its
    /// [`Event::Taken`].
    pub fn take(&self, task: u64) -> Receipt<(u64, Seq)> {
        self.ask(|reply| Request::Take { task, reply })
    }

    fn ask<T>(&self, request: impl FnOnce(writer::Reply<T>) -> Request) -> Receipt<T> {
        let (reply, receipt) = oneshot::channel();
        if let Some(requests) = &self.0.requests {
            // If the writer is gone, the reply is dropped, and the receipt says so.
            let _ = requests.send(request(reply));
        }
        Receipt(receipt)
    }

    /// Returns the fold of a task's whole log. Only rows that this process has not yet folded are read.
    pub fn task(&self, task: u64) -> Result<Task, ReadError> {
        let id = i64::try_from(task).map_err(|_| ReadError::NoSuchTask(task))?;
        let database = &self.0.database;
        let folded = database.read(|conn| self.0.folds.of(database, conn, id))?;
        folded.map(Arc::unwrap_or_clone).ok_or(ReadError::NoSuchTask(task))
    }

    /// Returns the events of a task above `after`, in order; none where there is no such task.
    pub fn events(&self, task: u64, after: Seq) -> Result<Vec<Logged>, ReadError> {
        let id = i64::try_from(task).map_err(|_| ReadError::NoSuchTask(task))?;
        let database = &self.0.database;
        let mut events = vec![];
        database.read(|conn| {
            log::read(database, conn, id, after, |logged| {
                events.push(logged);
                ControlFlow::Continue(())
            })
        })?;
        Ok(events)
    }

    /// Returns the numbers of all tasks, oldest first.
    pub fn tasks(&self) -> Result<Vec<u64>, ReadError> {
        let database = &self.0.database;
        database.read(|conn| {
            let ids = database.by((|| {
                conn.prepare_cached("SELECT id FROM task ORDER BY id")?
                    .query_map([], |row| row.get(0))?
                    .collect()
            })())?;
            Ok(ids)
        })
    }

    /// Returns a summary of each task, oldest first. None is folded but those that no summary is believed of, and these once: theirs
    /// is written with the next commit, at the latest when the store is closed.
    pub fn summaries(&self) -> Result<Vec<Summary>, ReadError> {
        let database = &self.0.database;
        let listed = database.read(|conn| summaries::list(database, conn, None))?;
        listed.into_iter().map(|one| self.summed(one)).collect()
    }

    /// Returns the summary of one task; see [`Store::summaries`].
    pub fn summary(&self, task: u64) -> Result<Summary, ReadError> {
        let id = i64::try_from(task).map_err(|_| ReadError::NoSuchTask(task))?;
        let database = &self.0.database;
        let mut listed = database.read(|conn| summaries::list(database, conn, Some(id)))?;
        self.summed(listed.pop().ok_or(ReadError::NoSuchTask(task))?)
    }

    fn summed(&self, (id, believed): Listed) -> Result<Summary, ReadError> {
        if let Some(summary) = believed {
            return Ok(summary);
        }
        let summary = Summary::of(&self.task(id as u64)?);
        self.0.summaries.owe(summary.clone());
        Ok(summary)
    }

    /// Returns the end of the log of all tasks: who takes it before reading tasks, and asks for news above it afterwards,
    /// misses nothing.
    pub fn mark(&self) -> Result<Mark, ReadError> {
        let database = &self.0.database;
        database.read(|conn| {
            let sql = "SELECT coalesce(max(id), 0) FROM event";
            let last = conn.prepare_cached(sql).and_then(|mut last| last.query_row([], |row| row.get(0)));
            Ok(Mark(database.by(last)?))
        })
    }

    /// Returns which tasks have events above `mark`, by whatever process, and the mark to ask with next. Takes some
    /// microseconds where there is nothing new, so that a follower can ask often.
    pub fn news(&self, mark: Mark) -> Result<(Vec<u64>, Mark), ReadError> {
        let database = &self.0.database;
        database.read(|conn| {
            let mut tasks = vec![];
            let mut last = mark.0;
            database.by((|| {
                let mut above = conn.prepare_cached("SELECT id, task FROM event WHERE id > ? ORDER BY id")?;
                let mut rows = above.query([mark.0])?;
                while let Some(row) = rows.next()? {
                    last = row.get(0)?;
                    tasks.push(row.get(1)?);
                }
                Ok(())
            })())?;
            tasks.sort_unstable();
            tasks.dedup();
            Ok((tasks, Mark(last)))
        })
    }

    /// Returns a counter that changes with every commit of this process; other processes' are found by [`Store::news`].
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.0.commits.clone()
    }

    /// Returns what all tasks together spent in the last 24 hours, and hold reserved.
    pub fn spent(&self) -> Result<Spent, ReadError> {
        let database = &self.0.database;
        Ok(database.read(|conn| spending::sums(database, conn, writer::now_ms()))?)
    }

    pub fn blobs(&self) -> &Blobs {
        &self.0.blobs
    }

    /// Reads every page of the database, however large; for `quire doctor`.
    pub fn check(&self) -> Result<(), ReadError> {
        Ok(self.0.database.check_whole()?)
    }
}

impl Drop for Inner {
    /// Lets the writer finish what it was asked.
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.0.database.path().display())
    }
}
