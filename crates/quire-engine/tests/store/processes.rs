//! Several processes on one home at once.

use super::{child, home, opened, said, store};
use quire_core::Event;
use quire_engine::store::{AppendError, Writer};
use std::path::Path;

const PROCESSES: u64 = 8;
const APPENDS: u64 = 25;

/// Appends to task 1, which all processes want, and to a task of its own, until both have taken what it has to say.
pub fn append_role(home: &Path) {
    let store = store(home);
    let me = std::process::id();
    let own = store.create(vec![opened()]).wait().unwrap().task;
    for n in 0..APPENDS {
        let words = || vec![said(format!("{me} {n}")), said(format!("{me} {n} again"))];
        let mine = store.append(own, 1 + 2 * n, Writer::Person, words());
        loop {
            let seq = store.task(1).unwrap().seq;
            match store.append(1, seq, Writer::Person, words()).wait() {
                Ok(now) => break assert_eq!(now, seq + 2),
                Err(AppendError::Conflict { now }) => assert!(now > seq),
                Err(e) => panic!("{e}"),
            }
        }
        assert_eq!(mine.wait().unwrap(), 3 + 2 * n);
    }
}

#[test]
fn eight_processes_append_to_one_task_and_to_many() {
    let home = home();
    let here = store(home.path());
    assert_eq!(here.create(vec![opened()]).wait().unwrap().task, 1);
    let children: Vec<_> = (0..PROCESSES).map(|_| child("append", home.path()).spawn().unwrap()).collect();
    for process in children {
        let out = process.wait_with_output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    }
    assert_eq!(here.tasks().unwrap().len() as u64, 1 + PROCESSES);
    for task in here.tasks().unwrap() {
        let log = here.events(task, 0).unwrap();
        let batches = if task == 1 { PROCESSES * APPENDS } else { APPENDS };
        assert!(log.iter().map(|logged| logged.seq).eq(1..=1 + 2 * batches), "task {task}");
        // Batches stand together, and nobody's words are there twice or missing.
        let mut seen = std::collections::BTreeMap::<String, u64>::new();
        for pair in log[1..].chunks(2) {
            let [Event::Said { words }, Event::Said { words: again }] = [&pair[0].event, &pair[1].event]
            else {
                panic!("{pair:?}");
            };
            assert_eq!(*again, format!("{words} again"));
            let (who, n) = words.split_once(' ').unwrap();
            let next = seen.entry(who.to_owned()).or_default();
            assert_eq!(n, next.to_string());
            *next += 1;
        }
        assert!(seen.values().all(|n| *n == APPENDS));
    }
    here.check().unwrap();
}

/// Makes the database where several do so at once.
pub fn race_role(home: &Path) {
    store(home).create(vec![opened()]).wait().unwrap();
}

#[test]
fn processes_that_make_the_home_at_once_make_one() {
    for _ in 0..5 {
        let outer = home();
        let home = outer.path().join("quire");
        let children: Vec<_> = (0..PROCESSES).map(|_| child("race", &home).spawn().unwrap()).collect();
        for process in children {
            assert!(process.wait_with_output().unwrap().status.success());
        }
        let here = store(&home);
        assert!(here.tasks().unwrap().into_iter().eq(1..=PROCESSES));
        here.check().unwrap();
    }
}
