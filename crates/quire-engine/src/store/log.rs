//! The log of one task in rows: read in order without a gap, each row proved to be as it was written, or not at all.

use crate::database::{Damaged, Database, DatabaseError};
use quire_core::{Event, Logged};
use rusqlite::{Connection, OptionalExtension, params};
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

/// Returns the sum of one event's row, or `None` where it is not there with all that come before it.
pub(super) fn sum_of(
    database: &Database,
    conn: &Connection,
    task: i64,
    seq: u64,
) -> Result<Option<[u8; 16]>, DatabaseError> {
    let sql = "SELECT sum FROM event WHERE task = ?1 AND seq = ?2
               AND (SELECT count(*) FROM event WHERE task = ?1 AND seq <= ?2) = ?2";
    let sum =
        conn.prepare_cached(sql).and_then(|mut sum| sum.query_row(params![task, seq], |row| row.get(0)));
    database.by(sum.optional())
}

/// Gives `each` the events above `after`, in order; returns whether the event at `after` itself is there (0 always is).
///
/// The row at `after` is looked for in the same statement, hence in the same state of the database: a log that has
/// become shorter than what a process knows of it must not look like one without news.
pub(super) fn read(
    database: &Database,
    conn: &Connection,
    task: i64,
    after: u64,
    mut each: impl FnMut(Logged) -> ControlFlow<Damaged>,
) -> Result<bool, DatabaseError> {
    let mut statement = database.by(conn.prepare_cached(
        "SELECT seq, at_ms, event, sum FROM event WHERE task = ? AND seq >= ? ORDER BY seq",
    ))?;
    let mut rows = database.by(statement.query(params![task, i64::try_from(after).unwrap_or(i64::MAX)]))?;
    let mut last = None;
    while let Some(row) = database.by(rows.next())? {
        let seq: u64 = database.by(row.get(0))?;
        let due = last.map_or(after.max(1), |last: u64| last + 1);
        let damaged = |what: String| Damaged::Event { task: task as u64, seq: due, what };
        if seq != due {
            return Err(damaged("it is not there, but later ones are".into()).into());
        }
        last = Some(seq);
        if seq == after {
            continue; // SQLite does not even read the text of a row unless it is asked for.
        }
        let logged = (|| {
            let at_ms: u64 = row.get(1).map_err(|e| e.to_string())?;
            let text = row.get_ref(2).and_then(|text| Ok(text.as_str()?)).map_err(|e| e.to_string())?;
            let written = row.get_ref(3).and_then(|sum| Ok(sum.as_blob()?)).map_err(|e| e.to_string())?;
            if written != sum(task, seq, at_ms, text) {
                return Err("it is not what was written".to_owned());
            }
            let event = Event::parse(text).map_err(|e| e.to_string())?;
            Ok(Logged { seq, at_ms, event })
        })();
        if let ControlFlow::Break(damaged) = each(logged.map_err(damaged)?) {
            return Err(damaged.into());
        }
    }
    Ok(after == 0 || last.is_some())
}
