//! What all tasks of a home spend together: a table that is written in the transaction of the events that it follows from, so
//! that no two tasks, in whatever processes, can both have the last of the day's budget.

use crate::database::{Database, DatabaseError};
use quire_core::{Task, Usd};
use rusqlite::{Connection, params};

/// A day's budget is counted over so many hours, the one at work among them: never less than the last 24 hours.
const HOURS: u64 = 25;
const HOUR_MS: u64 = 3_600_000;

/// What was spent in the last 24 hours, and what is reserved for requests that are open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    pub spent: Usd,
    pub held: Usd,
}

/// Returns the sums over all tasks.
pub(super) fn sums(database: &Database, conn: &Connection, now_ms: u64) -> Result<Spent, DatabaseError> {
    let sql = "SELECT coalesce(sum(spent), 0), coalesce(sum(held), 0) FROM spending WHERE hour > ?";
    let first = (now_ms / HOUR_MS).saturating_sub(HOURS);
    let sums = conn.prepare_cached(sql).and_then(|mut sums| {
        sums.query_row([first as i64], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
    });
    let (spent, held) = database.by(sums)?;
    Ok(Spent { spent: usd(spent), held: usd(held) })
}

/// Returns the sums as they will be once `task` is written in the place of what it was before.
pub(super) fn sums_with(
    database: &Database,
    conn: &Connection,
    before: Option<&Task>,
    task: &Task,
    now_ms: u64,
) -> Result<Spent, DatabaseError> {
    let all = sums(database, conn, now_ms)?;
    let (was, is) = (before.map(|task| of(task, now_ms)).unwrap_or_default(), of(task, now_ms));
    Ok(Spent {
        spent: all.spent.minus(was.spent).plus(is.spent),
        held: all.held.minus(was.held).plus(is.held),
    })
}

/// Returns the sums over all tasks that share the budget of `first`, as they will be once `task` is written.
pub(super) fn shared_with(
    database: &Database,
    conn: &Connection,
    first: u64,
    before: Option<&Task>,
    task: &Task,
) -> Result<Spent, DatabaseError> {
    let sql = "SELECT coalesce(sum(spent), 0), coalesce(sum(held), 0) FROM spending
               WHERE task IN (SELECT task FROM sharing WHERE first = ?)";
    let sums = conn.prepare_cached(sql).and_then(|mut sums| {
        sums.query_row([first as i64], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
    });
    let (spent, held) = database.by(sums)?;
    let of = |task: &Task| (task.spending().spent(), task.spending().held());
    // What it had before it came to share is in no sum yet.
    let was = before.filter(|before| before.shares_budget().is_some()).map(of).unwrap_or_default();
    let is = of(task);
    Ok(Spent { spent: usd(spent).minus(was.0).plus(is.0), held: usd(held).minus(was.1).plus(is.1) })
}

/// Returns what tasks that share the budget of `first` hold for requests of some hours ago, longer than any is answered in.
pub(super) fn old_holds(
    database: &Database,
    conn: &Connection,
    first: u64,
    now_ms: u64,
) -> Result<Vec<(i64, Usd)>, DatabaseError> {
    let sql = "SELECT task, held FROM spending
               WHERE held > 0 AND hour < ? AND task IN (SELECT task FROM sharing WHERE first = ?)";
    let since = (now_ms / HOUR_MS).saturating_sub(1) as i64;
    let holds = conn.prepare_cached(sql).and_then(|mut holds| {
        let rows = holds.query_map([since, first as i64], |row| Ok((row.get(0)?, usd(row.get(1)?))))?;
        rows.collect()
    });
    database.by(holds)
}

/// Writes that a task shares the budget of `first`.
pub(super) fn share(
    database: &Database,
    conn: &Connection,
    id: i64,
    first: u64,
) -> Result<(), DatabaseError> {
    let sql = "INSERT OR IGNORE INTO sharing (task, first) VALUES (?, ?)";
    let put = conn.prepare_cached(sql).and_then(|mut put| put.execute(params![id, first as i64]));
    database.by(put.map(drop))
}

fn of(task: &Task, now_ms: u64) -> Spent {
    let first = (now_ms / HOUR_MS).saturating_sub(HOURS);
    let hours = task.spending().by_hour();
    let recent = hours.range(first + 1..).map(|(_, sums)| sums);
    recent.fold(Spent::default(), |sum, (spent, held)| Spent {
        spent: sum.spent.plus(*spent),
        held: sum.held.plus(*held),
    })
}

/// Writes what changed from `before` to `task`; the caller's transaction makes it count.
pub(super) fn write(
    database: &Database,
    conn: &Connection,
    id: i64,
    before: Option<&Task>,
    task: &Task,
) -> Result<(), DatabaseError> {
    let was = before.map(|task| task.spending().by_hour()).unwrap_or_default();
    let is = task.spending().by_hour();
    let hours: std::collections::BTreeSet<u64> = was.keys().chain(is.keys()).copied().collect();
    for hour in hours {
        let (spent, held) = is.get(&hour).copied().unwrap_or_default();
        if was.get(&hour) == Some(&(spent, held)) {
            continue;
        }
        let sql = "INSERT INTO spending (task, hour, spent, held) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (task, hour) DO UPDATE SET spent = ?3, held = ?4";
        database.by(conn
            .prepare_cached(sql)
            .and_then(|mut put| put.execute(params![id, hour as i64, pico(spent), pico(held)])))?;
    }
    Ok(())
}

/// Returns an amount as a column holds it; more than a hundred thousand dollars in an hour are as much, so that sums fit.
fn pico(usd: Usd) -> i64 {
    const MOST: u64 = 100_000_000_000_000_000;
    usd.0.min(MOST) as i64
}

fn usd(pico: i64) -> Usd {
    Usd(u64::try_from(pico).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row: the hour of the clock, and what counts of 10, 100, 1,000 and 10,000 spent in hours 1,000, 1,001, 1,024 and
    /// 1,025, where a tenth of each is held besides.
    #[test]
    fn an_hour_counts_until_a_whole_day_lies_behind_it() {
        let home = tempfile::tempdir().unwrap();
        let database = Database::open(home.path()).unwrap();
        let conn = database.connect().unwrap();
        conn.execute_batch("INSERT INTO task (id, opened_ms) VALUES (1, 0)").unwrap();
        for (hour, spent) in [(1_000, 10), (1_001, 100), (1_024, 1_000), (1_025, 10_000)] {
            let sql = "INSERT INTO spending (task, hour, spent, held) VALUES (1, ?, ?, ?)";
            conn.execute(sql, (hour, spent, spent / 10)).unwrap();
        }
        let rows = [
            // A clock that was put back: what is to come counts too, so that it makes no room.
            (900, 11_110),
            (1_000, 11_110),
            // Of the first hour its last minutes are within 24 hours.
            (1_024, 11_110),
            (1_025, 11_100),
            (1_026, 11_000),
            (1_048, 11_000),
            (1_049, 10_000),
            (1_050, 0),
        ];
        for (hour, spent) in rows {
            for minute in [0, 59] {
                let all = sums(&database, &conn, hour * HOUR_MS + minute * 60_000).unwrap();
                assert_eq!(
                    all,
                    Spent { spent: Usd(spent), held: Usd(spent / 10) },
                    "hour {hour}, minute {minute}"
                );
            }
        }
    }

    /// Each row: the hour of the clock, and the tasks of which what they hold since hour 1,000 is old.
    #[test]
    fn what_is_held_for_hours_is_told_apart_for_those_who_share() {
        let home = tempfile::tempdir().unwrap();
        let database = Database::open(home.path()).unwrap();
        let conn = database.connect().unwrap();
        for (task, held, first) in [(1, 5, 1), (2, 0, 1), (3, 7, 3)] {
            let sql = format!(
                "INSERT INTO task (id, opened_ms) VALUES ({task}, 0);
                 INSERT INTO spending (task, hour, spent, held) VALUES ({task}, 1000, 1, {held});
                 INSERT INTO sharing (task, first) VALUES ({task}, {first})"
            );
            conn.execute_batch(&sql).unwrap();
        }
        let rows = [(1_000, vec![]), (1_001, vec![]), (1_002, vec![(1, Usd(5))])];
        for (hour, expected) in rows {
            assert_eq!(old_holds(&database, &conn, 1, hour * HOUR_MS).unwrap(), expected, "{hour}");
        }
    }
}
