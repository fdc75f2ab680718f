//! A summary of each task, kept beside its log: a list of all tasks folds none of them. It is written in the transaction of the
//! events that it follows from, by whoever writes them, and is a copy and no truth: believed only where it is whole, made by the very
//! code that reads it, and as of the log's last event. What is not believed is folded once and written anew.

use super::kept::FOLD;
use crate::database::{Database, DatabaseError};
use quire_core::Task;
use quire_core::view::Summary;
use rusqlite::{Connection, params};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Summaries that are not in the database yet, by task.
#[derive(Default)]
pub(super) struct Summaries(Mutex<HashMap<u64, Summary>>);

/// One task of a list: its number, and its summary where that is believed.
pub(super) type Listed = (i64, Option<Summary>);

impl Summaries {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Summary>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Has a summary written with the next commit.
    pub fn owe(&self, summary: Summary) {
        self.lock().insert(summary.task, summary);
    }

    /// Writes all that are waiting into the caller's transaction, and returns them.
    pub fn write(&self, database: &Database, conn: &Connection) -> Result<Vec<Summary>, DatabaseError> {
        let waiting: Vec<Summary> = self.lock().values().cloned().collect();
        waiting.iter().try_for_each(|summary| write(database, conn, summary))?;
        Ok(waiting)
    }

    /// Forgets those that are now committed.
    pub fn written(&self, summaries: &[Summary]) {
        let mut waiting = self.lock();
        for summary in summaries {
            if waiting.get(&summary.task).is_some_and(|there| there.seq <= summary.seq) {
                waiting.remove(&summary.task);
            }
        }
    }
}

/// Writes the summary of a task whose events the caller's transaction holds.
pub(super) fn write_of(database: &Database, conn: &Connection, task: &Task) -> Result<(), DatabaseError> {
    write(database, conn, &Summary::of(task))
}

/// Writes a summary in the place of an older one.
fn write(database: &Database, conn: &Connection, summary: &Summary) -> Result<(), DatabaseError> {
    let text = serde_json::to_string(summary).expect("a summary is plain data");
    let sum = sum(summary.task as i64, summary.seq, &text);
    let sql = "INSERT INTO summary (task, seq, summary, sum) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (task) DO UPDATE SET seq = ?2, summary = ?3, sum = ?4 WHERE seq <= ?2";
    database.by(conn
        .prepare_cached(sql)
        .and_then(|mut put| put.execute(params![summary.task as i64, summary.seq, text, sum])))?;
    Ok(())
}

/// Returns all tasks, oldest first, or the one.
pub(super) fn list(
    database: &Database,
    conn: &Connection,
    one: Option<i64>,
) -> Result<Vec<Listed>, DatabaseError> {
    database.by((|| {
        let sql = "SELECT task.id, (SELECT max(seq) FROM event WHERE event.task = task.id),
                   summary.seq, summary.summary, summary.sum
                   FROM task LEFT JOIN summary ON summary.task = task.id WHERE task.id BETWEEN ?1 AND ?2 ORDER BY task.id";
        let mut select = conn.prepare_cached(sql)?;
        let mut rows = select.query(one.map_or([i64::MIN, i64::MAX], |id| [id, id]))?;
        let mut all = vec![];
        while let Some(row) = rows.next()? {
            let (id, last): (i64, Option<u64>) = (row.get(0)?, row.get(1)?);
            let there: Option<u64> = row.get(2)?;
            let believed = match there.filter(|seq| Some(*seq) == last) {
                // A column that holds something else is one that is not believed.
                Some(seq) => match (row.get_ref(3)?.as_str(), row.get_ref(4)?.as_blob()) {
                    (Ok(text), Ok(written)) if written == sum(id, seq, text) => {
                        serde_json::from_str(text).ok()
                    }
                    _ => None,
                },
                None => None,
            };
            all.push((id, believed));
        }
        Ok(all)
    })())
}

/// Returns what the row's `sum` must be.
fn sum(task: i64, seq: u64, text: &str) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(FOLD).update(&task.to_le_bytes()).update(&seq.to_le_bytes()).update(text.as_bytes());
    let mut sum = [0; 16];
    hasher.finalize_xof().fill(&mut sum);
    sum
}
