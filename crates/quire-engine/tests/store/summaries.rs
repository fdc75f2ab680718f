//! The summaries that are kept beside the logs: a list folds no log, and none is believed in any doubt.

use super::{home, opened, said, store};
use quire_core::Event;
use quire_core::event::Why;
use quire_core::view::Summary;
use quire_engine::store::{ReadError, Writer};
use rusqlite::Connection;
use std::path::Path;

/// Makes three tasks, of which the second waits and the third is dropped.
fn tasks(home: &Path) {
    let here = store(home);
    for ends in [said("more"), Event::Paused { why: Why::Steps }, Event::Discarded {}] {
        let created = here.create(vec![opened()]).wait().unwrap();
        let append = here.append(created.task, created.seq, Writer::Person, vec![said("go on"), ends]);
        assert_eq!(append.wait().unwrap(), 3);
    }
}

fn sql(home: &Path, statements: &str) {
    Connection::open(home.join("quire.db")).unwrap().execute_batch(statements).unwrap();
}

/// Makes every event but the last of each log unreadable: whoever folds one is refused.
fn spoil(home: &Path) {
    sql(home, "UPDATE event SET event = '{}' WHERE seq < 3");
}

fn folded(home: &Path) -> Vec<Summary> {
    let here = store(home);
    here.tasks().unwrap().into_iter().map(|id| Summary::of(&here.task(id).unwrap())).collect()
}

#[test]
fn a_list_of_tasks_reads_no_log() {
    let home = home();
    tasks(home.path());
    let expected = folded(home.path());
    spoil(home.path());
    let here = store(home.path());
    assert_eq!(here.summaries().unwrap(), expected);
    assert_eq!(here.summary(2).unwrap(), expected[1]);
    assert!(matches!(here.summary(4), Err(ReadError::NoSuchTask(4))));
    for task in 1..=3 {
        assert!(matches!(here.task(task), Err(ReadError::Damaged(_))), "a log that is read is folded");
    }
}

/// Each row spoils what is kept of task 1, which says something else than the log wherever it would be believed.
#[test]
fn a_summary_is_not_believed_in_any_doubt_and_written_anew() {
    let lie = "UPDATE summary SET summary = replace(summary, '\"steps\":0', '\"steps\":9') WHERE task = 1;";
    let rows = [
        ("there is none", "DELETE FROM summary WHERE task = 1".to_owned()),
        ("other words", lie.to_owned()),
        ("another sum", format!("{lie} UPDATE summary SET sum = zeroblob(16) WHERE task = 1")),
        ("no sum", format!("{lie} UPDATE summary SET sum = x'' WHERE task = 1")),
        (
            "another task's",
            "UPDATE summary SET (summary, sum) = (SELECT summary, sum FROM summary WHERE task = 3) WHERE task = 1"
                .to_owned(),
        ),
        ("of an earlier event", "UPDATE summary SET seq = 2 WHERE task = 1".to_owned()),
        ("cut short", "UPDATE summary SET summary = substr(summary, 1, 40) WHERE task = 1".to_owned()),
    ];
    for (what, statements) in rows {
        let home = home();
        tasks(home.path());
        let expected = folded(home.path());
        sql(home.path(), &statements);
        assert_eq!(store(home.path()).summaries().unwrap(), expected, "{what}");
        spoil(home.path());
        assert_eq!(store(home.path()).summaries().unwrap(), expected, "{what}, written anew");
    }
}

/// What another process found out does not take the place of what was written since.
#[test]
fn a_late_summary_does_not_take_the_place_of_a_later_one() {
    let home = home();
    tasks(home.path());
    sql(home.path(), "DELETE FROM summary");
    let (late, other) = (store(home.path()), store(home.path()));
    late.summaries().unwrap();
    other.append(1, 3, Writer::Person, vec![said("and this")]).wait().unwrap();
    drop(late);
    spoil(home.path());
    assert_eq!(store(home.path()).summary(1).unwrap().seq, 4);
}

/// An older quire writes events and knows no summaries.
#[test]
fn a_summary_that_events_came_after_is_not_believed() {
    let home = home();
    tasks(home.path());
    sql(home.path(), "CREATE TABLE old AS SELECT * FROM summary");
    store(home.path()).append(2, 3, Writer::Person, vec![said("and this")]).wait().unwrap();
    sql(home.path(), "DELETE FROM summary; INSERT INTO summary SELECT * FROM old; DROP TABLE old");
    let expected = folded(home.path());
    assert_eq!(expected[1].seq, 4);
    assert_eq!(store(home.path()).summaries().unwrap(), expected);
}
