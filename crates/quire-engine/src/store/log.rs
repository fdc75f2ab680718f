//! The log of one task in rows: read in order without a gap, each row proved to be as it was written, or not at all.
//!
//! A task that began in another has no copy of that one's rows: its log is the other's up to where it began, and its own rows after
//! that. The other may have begun in a third one. Rows are never changed nor removed, so both can stand on the same ones, whatever
//! becomes of either; and where a task began is believed only of its own first row, which says it too.

use crate::database::{Damaged, Database, DatabaseError};
use quire_core::{Event, Logged};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::ops::ControlFlow;

/// Returns what the row's `sum` must be: SQLite has no checksum of its own, and a flipped bit in a text is still a text.
fn sum(task: i64, seq: u64, at_ms: u64, event: &str) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&task.to_le_bytes()).update(&seq.to_le_bytes()).update(&at_ms.to_le_bytes());
    hasher.update(event.as_bytes());
    let mut sum = [0; 16];
    hasher.finalize_xof().fill(&mut sum);
    sum
}

/// Adds one event; the caller's transaction makes it count.
pub(super) fn write(
    database: &Database,
    conn: &Connection,
    task: i64,
    logged: &Logged,
) -> Result<(), DatabaseError> {
    let event = serde_json::to_string(&logged.event).expect("an event is plain data");
    let sum = sum(task, logged.seq, logged.at_ms, &event);
    database.by((|| {
        conn.prepare_cached("INSERT INTO event (task, seq, at_ms, event, sum) VALUES (?, ?, ?, ?, ?)")?
            .execute(params![task, logged.seq, logged.at_ms, event, sum])
    })())?;
    Ok(())
}

/// Rows of a log that were written under one task: those above `after`, up to `to`.
struct Part {
    task: i64,
    after: u64,
    to: u64,
}

/// Returns the parts of a task's log that have its events from `first` on, in order; none where there is no such task.
fn parts(database: &Database, conn: &Connection, task: i64, first: u64) -> Result<Vec<Part>, DatabaseError> {
    let (mut id, mut to, mut parts) = (task, i64::MAX as u64, vec![]);
    loop {
        let origin: Option<(Option<i64>, Option<u64>)> =
            database.by(conn.prepare_cached("SELECT origin, origin_seq FROM task WHERE id = ?").and_then(
                |mut origin| origin.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional(),
            ))?;
        let (origin, after) = match origin {
            None if id == task => return Ok(vec![]),
            Some((Some(origin), Some(after))) => (Some(origin), after),
            _ => (None, 0),
        };
        if let Some(origin) = origin {
            begins_in(database, conn, id, after, origin)?;
        }
        // It may have begun in what the other one has of a third.
        if after < to {
            parts.push(Part { task: id, after, to });
            to = after;
        }
        match origin {
            Some(origin) if first <= after => id = origin,
            _ => break,
        }
    }
    parts.reverse();
    Ok(parts)
}

/// Proves by the first row of a task that it began in `origin`, after the event `after` of that.
fn begins_in(
    database: &Database,
    conn: &Connection,
    task: i64,
    after: u64,
    origin: i64,
) -> Result<(), DatabaseError> {
    let row = conn
        .prepare_cached("SELECT seq, at_ms, event, sum FROM event WHERE task = ? AND seq = ?")
        .and_then(|mut row| row.query_row(params![task, after + 1], |row| Ok(proved(task, row))).optional());
    let seq = after + 1;
    let why = match database.by(row)? {
        Some(Ok(Logged { event: Event::Forked { from, .. }, .. }))
            if from == origin as u64 && origin < task =>
        {
            return Ok(());
        }
        Some(Err(unread)) => return Err(unread.of(task, seq).into()),
        Some(Ok(_)) => "it does not begin the task where that is said to have begun".to_owned(),
        None => "it is not there, and the task began with it".to_owned(),
    };
    Err(Damaged::Event { task: task as u64, seq, what: why }.into())
}

/// Why a row is no event.
enum Unread {
    Damaged(String),
    /// It is as it was written; a quire reads what it writes itself.
    Newer,
}

impl Unread {
    fn of(self, task: i64, seq: u64) -> Damaged {
        let task = task as u64;
        match self {
            Unread::Damaged(what) => Damaged::Event { task, seq, what },
            Unread::Newer => Damaged::Newer { task, seq },
        }
    }
}

/// Returns the event of a row, or why it is not the one that was written.
fn proved(task: i64, row: &Row<'_>) -> Result<Logged, Unread> {
    let damaged = |why: rusqlite::Error| Unread::Damaged(why.to_string());
    let seq: u64 = row.get(0).map_err(damaged)?;
    let at_ms: u64 = row.get(1).map_err(damaged)?;
    let text = row.get_ref(2).and_then(|text| Ok(text.as_str()?)).map_err(damaged)?;
    let written = row.get_ref(3).and_then(|sum| Ok(sum.as_blob()?)).map_err(damaged)?;
    if written != sum(task, seq, at_ms, text) {
        return Err(Unread::Damaged("it is not what was written".to_owned()));
    }
    let event = Event::parse(text).map_err(|_| Unread::Newer)?;
    Ok(Logged { seq, at_ms, event })
}

/// Returns the sum of one event's row, or `None` where it is not there with all that come before it.
pub(super) fn sum_of(
    database: &Database,
    conn: &Connection,
    task: i64,
    seq: u64,
) -> Result<Option<[u8; 16]>, DatabaseError> {
    let sql = "SELECT (SELECT sum FROM event WHERE task = ?1 AND seq = ?3), count(*)
               FROM event WHERE task = ?1 AND seq > ?2 AND seq <= ?3";
    let mut last = None;
    for Part { task, after, to } in parts(database, conn, task, 1)?.iter().filter(|part| part.after < seq) {
        let to = seq.min(*to);
        let found = conn.prepare_cached(sql).and_then(|mut found| {
            found.query_row(params![task, after, to], |row| Ok((row.get(0)?, row.get::<_, u64>(1)?)))
        });
        let (sum, count) = database.by(found)?;
        if count != to - after {
            return Ok(None);
        }
        last = sum;
    }
    Ok(last)
}

/// Gives `each` the events above `after`, in order; returns whether the event at `after` itself is there (0 always is). What `each`
/// breaks off with is what is wrong with the event.
///
/// The row at `after` is looked for as well: a log that has become shorter than what a process knows of it must not look like one
/// without news. That a fork's log is read by several statements makes no difference, since rows only ever come, and at the end.
pub(super) fn read(
    database: &Database,
    conn: &Connection,
    task: i64,
    after: u64,
    mut each: impl FnMut(Logged) -> ControlFlow<String>,
) -> Result<bool, DatabaseError> {
    let first = after.max(1);
    let mut due = first;
    for part in parts(database, conn, task, first)? {
        let mut statement = database.by(conn.prepare_cached(
            "SELECT seq, at_ms, event, sum FROM event WHERE task = ? AND seq BETWEEN ? AND ? ORDER BY seq",
        ))?;
        let from = i64::try_from(first.max(part.after + 1)).unwrap_or(i64::MAX);
        let mut rows = database.by(statement.query(params![part.task, from, part.to]))?;
        let damaged = |seq, what| Damaged::Event { task: part.task as u64, seq, what };
        let lacks = || "it is not there, but later ones are".to_owned();
        while let Some(row) = database.by(rows.next())? {
            if database.by(row.get::<_, u64>(0))? != due {
                return Err(damaged(due, lacks()).into());
            }
            // SQLite does not even read the text of a row unless it is asked for.
            if due != after {
                let logged = proved(part.task, row).map_err(|unread| unread.of(part.task, due))?;
                if let ControlFlow::Break(what) = each(logged) {
                    return Err(damaged(due, what).into());
                }
            }
            due += 1;
        }
        if part.task != task && due <= part.to {
            return Err(damaged(due, lacks()).into());
        }
    }
    Ok(after == 0 || due > after)
}
