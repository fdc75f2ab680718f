//! What may be appended, by whom, and what stands in the log then.

use super::{home, opened, said, store};
use quire_core::Event;
use quire_engine::store::{AppendError, Created, Mark, Writer};

#[derive(Debug, PartialEq)]
enum Answer {
    At(u64),
    Conflict(u64),
    Fenced(u64),
    Illegal,
    NoSuchTask,
    Nothing,
}

fn answer(answer: Result<u64, AppendError>) -> Answer {
    match answer {
        Ok(seq) => Answer::At(seq),
        Err(AppendError::Conflict { now }) => Answer::Conflict(now),
        Err(AppendError::Fenced { epoch }) => Answer::Fenced(epoch),
        Err(AppendError::Illegal(_)) => Answer::Illegal,
        Err(AppendError::NoSuchTask(_)) => Answer::NoSuchTask,
        Err(AppendError::Nothing) => Answer::Nothing,
        Err(e) => panic!("{e}"),
    }
}

/// Each row on a task whose log is Opened, Said, Taken (epoch 1), Taken (epoch 2), Said: it ends at 5.
#[test]
fn a_batch_is_written_where_it_may_follow_and_else_not_at_all() {
    let driver = |epoch| Writer::Driver { epoch };
    let person = Writer::Person;
    let never = || Event::Accepted { accept: 0 };
    let rows: [(u64, u64, Writer, Vec<Event>, Answer); 16] = [
        (1, 5, person, vec![said("a")], Answer::At(6)),
        (1, 5, person, vec![said("a"), said("b"), said("c")], Answer::At(8)),
        (1, 5, driver(2), vec![said("a")], Answer::At(6)),
        (1, 4, person, vec![said("a")], Answer::Conflict(5)),
        (1, 0, person, vec![said("a")], Answer::Conflict(5)),
        (1, 6, person, vec![said("a")], Answer::Conflict(5)),
        (1, u64::MAX, person, vec![said("a")], Answer::Conflict(5)),
        (1, 5, driver(1), vec![said("a")], Answer::Fenced(2)),
        (1, 5, driver(3), vec![said("a")], Answer::Fenced(2)),
        (1, 3, driver(1), vec![said("a")], Answer::Fenced(2)),
        (1, 5, driver(2), vec![never()], Answer::Illegal),
        (1, 5, driver(2), vec![said("a"), never()], Answer::Illegal),
        (1, 5, driver(2), vec![said("a"), opened()], Answer::Illegal),
        (1, 5, person, vec![], Answer::Nothing),
        (2, 0, person, vec![said("a")], Answer::NoSuchTask),
        (u64::MAX, 0, person, vec![said("a")], Answer::NoSuchTask),
    ];
    for (task, expect, by, events, want) in rows {
        let home = home();
        let store = store(home.path());
        assert_eq!(store.create(vec![opened(), said("x")]).wait().unwrap(), Created { task: 1, seq: 2 });
        assert_eq!(store.take(1).wait().unwrap(), (1, 3));
        assert_eq!(store.take(1).wait().unwrap(), (2, 4));
        assert_eq!(answer(store.append(1, 4, Writer::Person, vec![said("y")]).wait()), Answer::At(5));

        let row = format!("{task} {expect} {by:?} {events:?}");
        let ends_at = if let Answer::At(seq) = want { seq } else { 5 };
        assert_eq!(answer(store.append(task, expect, by, events.clone()).wait()), want, "{row}");
        let log = store.events(1, 5).unwrap();
        let written: Vec<_> = log.iter().map(|logged| logged.event.clone()).collect();
        assert_eq!(written, if ends_at > 5 { events } else { vec![] }, "{row}");
        assert!(log.iter().map(|logged| logged.seq).eq(6..=ends_at), "{row}");

        // A store that has nothing in memory sees the same.
        drop(store);
        let again = super::store(home.path());
        let task = again.task(1).unwrap();
        assert_eq!((task.seq, task.epoch), (ends_at, 2), "{row}");
        assert_eq!(again.events(1, 0).unwrap().len() as u64, ends_at, "{row}");
    }
}

#[test]
fn a_task_that_may_not_begin_so_leaves_no_number_behind() {
    let home = home();
    let store = store(home.path());
    for first in [vec![], vec![said("a")], vec![opened(), opened()]] {
        assert!(store.create(first).wait().is_err());
    }
    assert_eq!(store.tasks().unwrap(), Vec::<u64>::new());
    assert_eq!(store.create(vec![opened()]).wait().unwrap().task, 1);
    assert_eq!(store.create(vec![opened()]).wait().unwrap().task, 2);
    assert_eq!(store.tasks().unwrap(), [1, 2]);
}

#[test]
fn only_one_of_those_who_expect_the_same_wins() {
    let home = home();
    let store = store(home.path());
    let task = store.create(vec![opened()]).wait().unwrap().task;
    // All are asked before any is answered, so they share transactions.
    let asked: Vec<_> =
        (0..300).map(|n| store.append(task, 1, Writer::Person, vec![said(n.to_string())])).collect();
    let won: Vec<_> = asked.into_iter().map(|receipt| answer(receipt.wait())).collect();
    assert_eq!(won[0], Answer::At(2));
    assert!(won[1..].iter().all(|answer| *answer == Answer::Conflict(2)));
}

#[test]
fn two_stores_of_one_home_see_each_other_at_once() {
    let home = home();
    let (one, two) = (store(home.path()), store(home.path()));
    let task = one.create(vec![opened()]).wait().unwrap().task;
    let (news, mark) = two.news(Mark::default()).unwrap();
    assert_eq!(news, [task]);
    assert_eq!(two.news(mark).unwrap(), (vec![], mark));
    assert_eq!(one.mark().unwrap(), mark);
    for seq in (2..40).step_by(2) {
        assert_eq!(one.append(task, seq - 1, Writer::Person, vec![said("a")]).wait().unwrap(), seq);
        assert_eq!(two.task(task).unwrap().seq, seq);
        assert_eq!(two.append(task, seq, Writer::Person, vec![said("b")]).wait().unwrap(), seq + 1);
    }
    let (news, later) = two.news(mark).unwrap();
    assert!(news == [task] && later > mark);
    // A driver of one process is fenced off by another's taking, whatever it has in memory.
    let (epoch, seq) = one.take(task).wait().unwrap();
    let (newer, seq) = two.take(task).wait().map(|(epoch, now)| (epoch, now.max(seq))).unwrap();
    let late = one.append(task, seq, Writer::Driver { epoch }, vec![said("late")]).wait();
    assert_eq!(answer(late), Answer::Fenced(newer));
}

#[test]
fn a_receipt_can_be_awaited_or_dropped_and_commits_are_counted() {
    let home = home();
    let store = store(home.path());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut commits = store.commits();
    let task = runtime.block_on(store.create(vec![opened()])).unwrap().task;
    runtime.block_on(commits.changed()).unwrap();
    drop(store.append(task, 1, Writer::Person, vec![said("nobody waits for this")]));
    drop(store);
    assert_eq!(super::store(home.path()).task(task).unwrap().seq, 2);
}

#[test]
fn who_reads_never_waits_for_who_writes_and_who_writes_waits_its_turn() {
    let home = home();
    let here = store(home.path());
    let task = here.create(vec![opened()]).wait().unwrap().task;
    let other = rusqlite::Connection::open(home.path().join("quire.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waiting = here.append(task, 1, Writer::Person, vec![said("a")]);
    assert_eq!(here.task(task).unwrap().seq, 1);
    assert_eq!(store(home.path()).events(task, 0).unwrap().len(), 1);
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(waiting.wait().unwrap(), 2);
}

#[test]
fn the_home_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let outer = home();
    let home = outer.path().join("deep/er");
    let store = store(&home);
    store.create(vec![opened()]).wait().unwrap();
    store.blobs().put(&[b"secret"]).unwrap();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&home), 0o700);
    for entry in std::fs::read_dir(&home).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path) & 0o077, 0, "{path:?}");
    }
}
