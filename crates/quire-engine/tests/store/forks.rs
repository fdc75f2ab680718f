//! Tasks that begin in others: they stand on the same rows, and are as if these had been copied.

use super::{child, home, opened, said, store};
use proptest::prelude::*;
use quire_core::event::{Apart, Base, Conventions};
use quire_core::message::{Stop, Usage};
use quire_core::view::{self, Summary};
use quire_core::{Call, Event, Hash, Logged, Outcome, Phase, Price, Reply, Task, ToolSpec, Usd, settle};
use quire_engine::database::Damaged;
use quire_engine::store::{AppendError, ReadError, Store, Writer};
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

fn sql(home: &Path, statements: &str) {
    Connection::open(home.join("quire.db")).unwrap().execute_batch(statements).unwrap();
}

/// Returns a number that the database has.
fn number(home: &Path, query: &str) -> u64 {
    Connection::open(home.join("quire.db")).unwrap().query_row(query, [], |row| row.get(0)).unwrap()
}

/// Events that can follow in a task's log, found by its fold.
struct Next {
    task: Task,
    events: Vec<Event>,
}

impl Next {
    fn of(store: &Store, id: u64) -> Next {
        Next { task: store.task(id).unwrap(), events: vec![] }
    }

    fn say(&mut self, event: Event) {
        self.task.push(event.clone(), self.task.last_ms).unwrap();
        self.events.push(event);
    }

    fn settle(&mut self) {
        let at_ms = self.task.last_ms;
        self.events.extend(settle(&mut self.task, at_ms).unwrap().0);
    }

    /// A step, or a turn's end with a version.
    fn step(&mut self, ends: bool) {
        match self.task.phase {
            Phase::Working => {}
            Phase::Waiting(_) => self.say(Event::Resumed { model: None }),
            _ => self.say(said("go on")),
        }
        self.settle();
        let call = Call {
            id: "c".into(),
            tool: "shell".into(),
            input: format!(r#"{{"command":"{}"}}"#, self.task.step),
        };
        let reply = Reply {
            wire: quire_core::charter::Wire::Tape,
            items: vec![],
            text: format!("reply {}", self.task.step + 1),
            calls: if ends { vec![] } else { vec![call] },
            stop: Stop::Done,
            usage: Usage { input: 100, output: 10, ..Usage::default() },
            by: String::new(),
        };
        self.say(Event::Replied { reply });
        self.settle();
        let snapshot = Hash::of(self.task.step.to_string().as_bytes());
        if ends {
            let layer = self.task.layer;
            self.say(Event::Sealed { layer, snapshot, apart: Apart::default(), checks: vec![], files: None });
            self.settle();
        } else {
            self.say(Event::Returned { call: 0, outcome: Outcome::said("done") });
            self.say(Event::Snapped { snapshot });
        }
    }

    fn tell(self, store: &Store) {
        let before = self.task.seq - self.events.len() as u64;
        store.append(self.task.id, before, Writer::Person, self.events).wait().unwrap();
    }
}

/// Opens a task that can take steps, on a model that costs money.
fn begin(store: &Store) -> u64 {
    let Event::Opened { mut charter, words } = opened() else { panic!("it opens a task") };
    let each = Usd(1_000_000);
    charter.model.as_mut().unwrap().price =
        Some(Price { input: each, cached: each, cache_write: each, output: each });
    charter.limits.steps = 10_000;
    let first = vec![
        Event::Opened { charter, words },
        Event::Taken { epoch: 1 },
        Event::Equipped {
            system: "s".into(),
            tools: vec![ToolSpec {
                name: "shell".into(),
                description: String::new(),
                input: serde_json::json!({}),
                reads: false,
            }],
            rung: "r".into(),
            weak: None,
            conventions: Conventions::default(),
            attached: None,
        },
        Event::Frozen { bases: vec![Base { id: 1, delta: 0, files: 0, bytes: 0, git: None }] },
    ];
    store.create(first).wait().unwrap().task
}

fn steps(store: &Store, id: u64, steps: u32) {
    let mut next = Next::of(store, id);
    (0..steps).for_each(|_| next.step(false));
    next.tell(store);
}

fn fork(store: &Store, from: u64, step: u32) -> u64 {
    store.fork(from, step).wait().unwrap().task
}

fn bytes(task: &Task) -> String {
    let mut bytes = vec![];
    task.keep(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn folded(id: u64, log: &[Logged]) -> Task {
    let mut task = Task::open(id, &log[0]).unwrap();
    log[1..].iter().for_each(|logged| task.apply(logged).unwrap());
    task
}

#[test]
fn a_fork_writes_one_row_whatever_it_stands_on() {
    let home = home();
    let here = store(home.path());
    let first = begin(&here);
    steps(&here, first, 20);
    let mark = here.mark().unwrap();
    let mut from = first;
    for (step, id) in [(20, 2), (15, 3), (16, 0), (15, 4), (1, 5)] {
        if id == 0 {
            let refused = here.fork(from, step).wait();
            assert!(matches!(refused, Err(AppendError::Illegal(_))), "what it has of the other ends before");
            continue;
        }
        from = fork(&here, from, step);
        assert_eq!(from, id);
        let rows = format!("SELECT count(*) FROM event WHERE task = {from}");
        assert_eq!(number(home.path(), &rows), 1, "task {from}");
        assert_eq!(here.task(from).unwrap().step, step);
    }
    assert_eq!(here.news(mark).unwrap().0, [2, 3, 4, 5], "the others have no news");
    // Neither has what the other says then.
    steps(&here, 2, 1);
    steps(&here, first, 2);
    assert_eq!([1, 2, 5].map(|id| here.task(id).unwrap().step), [22, 21, 1]);
    here.check().unwrap();
}

/// Each row: what becomes of the first task before the second is looked at, and whether a third can begin in it.
#[test]
fn a_fork_outlives_what_it_began_in() {
    let rows: [(&str, Vec<Event>, bool); 3] = [
        ("it goes on", vec![said("more")], true),
        ("it goes back", vec![Event::Rewound { step: 1 }], true),
        ("it is dropped", vec![Event::Discarded {}], false),
    ];
    for (what, then, can) in rows {
        let home = home();
        let here = store(home.path());
        let first = begin(&here);
        steps(&here, first, 3);
        let second = fork(&here, first, 2);
        let log = here.events(second, 0).unwrap();
        let mut next = Next::of(&here, first);
        then.into_iter().for_each(|event| next.say(event));
        next.tell(&here);
        drop(here);
        let here = store(home.path());
        assert_eq!(here.events(second, 0).unwrap(), log, "{what}");
        assert_eq!(here.task(second).unwrap().step, 2, "{what}");
        steps(&here, second, 1);
        assert_eq!(here.task(second).unwrap().step, 3, "{what}");
        assert_eq!(here.fork(first, 1).wait().is_ok(), can, "{what}");
    }
}

/// Of four steps; a second one that began after its third, a third that began after the second's fifth, each with steps of its own,
/// and a fourth that is as the first. Returns after which events the second and the third began.
fn chain(home: &Path) -> (u64, u64) {
    let here = store(home);
    let first = begin(&here);
    steps(&here, first, 4);
    let second = fork(&here, first, 3);
    steps(&here, second, 2);
    let third = fork(&here, second, 5);
    steps(&here, third, 1);
    let fourth = begin(&here);
    steps(&here, fourth, 4);
    assert_eq!([first, second, third, fourth], [1, 2, 3, 4]);
    let began = |id| number(home, &format!("SELECT origin_seq FROM task WHERE id = {id}"));
    (began(2), began(3))
}

/// Each row: what someone does to the database (`{s}` and `{t}`: where the second and the third task of [`chain`] began), the event for
/// which the third cannot be read any more, by the task that wrote it, and who still can be.
#[test]
fn whose_event_it_is_that_a_fork_cannot_be_read_for_is_said() {
    type At = fn(u64, u64) -> (u64, u64);
    let rows: [(&str, At, &[u64]); 12] = [
        ("UPDATE event SET event = '{\"answered\":{}}' WHERE task = 1 AND seq = 7", |_, _| (1, 7), &[4]),
        ("UPDATE event SET at_ms = at_ms + 1 WHERE task = 1 AND seq = 1", |_, _| (1, 1), &[4]),
        ("DELETE FROM event WHERE task = 1 AND seq = 7", |_, _| (1, 7), &[4]),
        ("DELETE FROM event WHERE task = 1 AND seq >= {s}", |s, _| (1, s), &[1, 4]),
        ("DELETE FROM event WHERE task = 2", |s, _| (2, s + 1), &[1, 4]),
        ("UPDATE event SET at_ms = at_ms + 1 WHERE task = 2 AND seq = {s} + 2", |s, _| (2, s + 2), &[1, 4]),
        ("DELETE FROM event WHERE task = 3 AND seq = {t} + 1", |_, t| (3, t + 1), &[1, 2, 4]),
        ("UPDATE task SET origin_seq = {s} - 1 WHERE id = 2", |s, _| (2, s), &[1, 4]),
        ("UPDATE task SET origin_seq = {s} + 1 WHERE id = 2", |s, _| (2, s + 2), &[1, 4]),
        ("UPDATE task SET origin = 3 WHERE id = 2", |s, _| (2, s + 1), &[1, 4]),
        ("UPDATE task SET origin = 4 WHERE id = 2", |s, _| (2, s + 1), &[1, 4]),
        ("UPDATE task SET origin = NULL, origin_seq = NULL WHERE id = 2", |_, _| (2, 1), &[1, 4]),
    ];
    for (change, at, others) in rows {
        let home = home();
        let (s, t) = chain(home.path());
        let ends = store(home.path()).task(3).unwrap().seq;
        sql(home.path(), &change.replace("{s}", &s.to_string()).replace("{t}", &t.to_string()));
        let here = store(home.path());
        let named = |damaged: Damaged| match damaged {
            Damaged::Event { task, seq, .. } => (task, seq),
            other => panic!("{change}: {other}"),
        };
        let Err(ReadError::Damaged(damaged)) = here.task(3) else { panic!("{change}: read") };
        assert_eq!(named(damaged), at(s, t), "{change}");
        let Err(ReadError::Damaged(damaged)) = here.events(3, 0) else { panic!("{change}: read") };
        assert_eq!(named(damaged), at(s, t), "{change}");
        let Err(AppendError::Damaged(damaged)) = here.append(3, ends, Writer::Person, vec![said("a")]).wait()
        else {
            panic!("{change}: written")
        };
        assert_eq!(named(damaged), at(s, t), "{change}");
        let read: Vec<u64> = [1, 2, 4].into_iter().filter(|id| here.task(*id).is_ok()).collect();
        assert_eq!(read, others, "{change}");
        steps(&here, 4, 1);
    }
}

/// What the tasks that began in it have of it is looked at when they are folded anew, and not when a fold that was kept is carried on.
#[test]
fn the_fold_of_a_long_fork_is_kept_as_any_other() {
    let home = home();
    let here = store(home.path());
    let first = begin(&here);
    for _ in 0..8 {
        steps(&here, first, 100);
    }
    let second = fork(&here, first, 790);
    let whole = bytes(&here.task(second).unwrap());
    drop(here);
    let kept = home.path().join("tasks/2/fold");
    assert!(kept.exists(), "whoever folds a long log keeps the fold");
    sql(home.path(), "UPDATE event SET at_ms = at_ms + 1 WHERE task = 1 AND seq = 100");
    assert_eq!(bytes(&store(home.path()).task(second).unwrap()), whole, "it was not read");
    let again = fs::read(&kept).unwrap();
    fs::remove_file(&kept).unwrap();
    assert!(matches!(
        store(home.path()).task(second),
        Err(ReadError::Damaged(Damaged::Event { task: 1, seq: 100, .. }))
    ));
    // One row less, and what is kept is not believed.
    fs::write(&kept, again).unwrap();
    sql(home.path(), "DELETE FROM event WHERE task = 1 AND seq = 200");
    assert!(matches!(store(home.path()).task(second), Err(ReadError::Damaged(_))));
}

/// Rows as an older quire wrote them: a fork had a copy of all.
#[test]
fn a_fork_whose_rows_were_copied_stays_as_it_is() {
    let home = home();
    let here = store(home.path());
    let first = begin(&here);
    steps(&here, first, 3);
    let second = fork(&here, first, 2);
    steps(&here, second, 1);
    let (log, whole) = (here.events(second, 0).unwrap(), bytes(&here.task(second).unwrap()));
    drop(here);
    let conn = Connection::open(home.path().join("quire.db")).unwrap();
    conn.execute_batch(
        "PRAGMA foreign_keys = OFF; DELETE FROM event WHERE task = 2; DELETE FROM summary;
         CREATE TABLE old (id INTEGER PRIMARY KEY AUTOINCREMENT, opened_ms INTEGER NOT NULL) STRICT;
         INSERT INTO old SELECT id, opened_ms FROM task; DROP TABLE task;
         PRAGMA legacy_alter_table = ON; ALTER TABLE old RENAME TO task; PRAGMA user_version = 4",
    )
    .unwrap();
    for Logged { seq, at_ms, event } in &log {
        let text = serde_json::to_string(event).unwrap();
        let mut hasher = blake3::Hasher::new();
        hasher.update(&second.to_le_bytes()).update(&seq.to_le_bytes()).update(&at_ms.to_le_bytes());
        let sum = &hasher.update(text.as_bytes()).finalize().as_bytes()[..16].to_vec();
        conn.execute(
            "INSERT INTO event (task, seq, at_ms, event, sum) VALUES (?, ?, ?, ?, ?)",
            (second, seq, at_ms, text, sum),
        )
        .unwrap();
    }
    drop(conn);
    let here = store(home.path());
    assert_eq!(here.events(second, 0).unwrap(), log);
    assert_eq!(bytes(&here.task(second).unwrap()), whole);
    assert_eq!(here.summaries().unwrap()[1], Summary::of(&folded(second, &log)));
    let third = fork(&here, second, 3);
    assert_eq!(here.events(third, 0).unwrap()[..log.len()], log);
    here.check().unwrap();
}

/// Begins tasks in the first one and in others, each with a word, for ever, and says of each when it was there.
pub fn fork_role(home: &Path) {
    let store = store(home);
    let mut out = std::io::stdout().lock();
    for n in 0.. {
        let from = if n % 3 == 0 { 1 } else { *store.tasks().unwrap().last().unwrap() };
        let steps: Vec<u32> =
            store.task(from).unwrap().checkpoints().map(|checkpoint| checkpoint.step).collect();
        let id = fork(&store, from, steps[n % steps.len()]);
        let seq = store.task(id).unwrap().seq;
        store.append(id, seq, Writer::Person, vec![said(id.to_string())]).wait().unwrap();
        writeln!(out, "ack {id}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn who_dies_while_tasks_begin_in_others_leaves_whole_ones() {
    let home = home();
    let here = store(home.path());
    let first = begin(&here);
    steps(&here, first, 6);
    drop(here);
    for death in 0..10 {
        let mut process = child("fork", home.path()).spawn().unwrap();
        let mut acks = BufReader::new(process.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| line.split_once("ack ")?.1.parse::<u64>().ok());
        let seen: Vec<u64> = acks.by_ref().take(3 + death % 4).collect();
        assert_eq!(seen.len(), 3 + death % 4, "death {death}: the process ended by itself");
        process.kill().unwrap();
        process.wait().unwrap();
        let here = store(home.path());
        for id in seen.into_iter().chain(acks) {
            let task = here.task(id).unwrap();
            assert_eq!(task.words.last().map(|word| &**word), Some(id.to_string().as_str()), "death {death}");
        }
        for id in here.tasks().unwrap() {
            let log = here.events(id, 0).unwrap();
            assert_eq!(here.task(id).unwrap().seq, log.len() as u64, "death {death}");
        }
    }
    store(home.path()).check().unwrap();
}

/// What happens to some task.
#[derive(Clone, Copy, Debug)]
enum Act {
    Step,
    Version,
    Words,
    Budget,
    Attempt(bool),
    Accept,
    /// To some checkpoint.
    Back(u8),
    Fork(u8),
    Drop,
    /// Another process comes.
    Reopen,
}

fn acts() -> impl Strategy<Value = Vec<(u8, Act)>> {
    let act = prop_oneof![
        6 => Just(Act::Step),
        2 => Just(Act::Version),
        2 => Just(Act::Words),
        1 => Just(Act::Budget),
        2 => any::<bool>().prop_map(Act::Attempt),
        2 => Just(Act::Accept),
        2 => any::<u8>().prop_map(Act::Back),
        6 => any::<u8>().prop_map(Act::Fork),
        1 => Just(Act::Drop),
        1 => Just(Act::Reopen),
    ];
    proptest::collection::vec((any::<u8>(), act), 1..50)
}

/// Tasks, and what their logs were if each had its own copy.
struct World<'a> {
    home: &'a Path,
    store: Store,
    logs: BTreeMap<u64, Vec<Logged>>,
}

impl World<'_> {
    fn act(&mut self, id: u64, act: Act) {
        let mut next = Next::of(&self.store, id);
        let task = next.task.clone();
        let checkpoint = |n: u8| task.checkpoints().nth(usize::from(n) % task.checkpoints().count().max(1));
        match act {
            Act::Reopen => self.store = store(self.home),
            Act::Fork(n) => {
                let Some(step) = checkpoint(n).map(|one| one.step) else { return };
                let forked = self.store.fork(id, step).wait();
                if task.phase == Phase::Discarded {
                    return assert!(forked.is_err());
                }
                let (fork, checkpoint) = (forked.unwrap().task, task.checkpoint(step).unwrap());
                let to = checkpoint.seq as usize;
                let begun = self.store.task(fork).unwrap();
                assert_eq!((view::mark(&begun), view::state(&begun)), view::begins(&task, checkpoint));
                self.logs.insert(fork, self.logs[&id][..to].to_vec());
                return self.take_in(fork);
            }
            _ if task.phase == Phase::Discarded => return,
            Act::Step => next.step(false),
            Act::Version => next.step(true),
            Act::Words => next.say(said("a word")),
            Act::Budget => {
                next.say(Event::Budgeted { task_usd: Some(Usd(u64::MAX)), day_usd: None, unlimited: false });
            }
            Act::Attempt(shared) if task.attempt.is_none() => {
                next.say(Event::Attempt { first: id, number: 1, of: 2, shared });
            }
            Act::Attempt(_) => return,
            Act::Accept => {
                let (Phase::Ready, Some(version)) = (&task.phase, task.version()) else { return };
                let accept = task.accepts.len() as u32;
                next.say(Event::Accepting {
                    accept,
                    snapshot: version.snapshot,
                    only: vec![],
                    ignored: None,
                    taken: None,
                    merged: None,
                    proofs: vec![],
                    programs: false,
                });
                next.say(Event::Accepted { accept });
            }
            Act::Back(n) => {
                let Some(to) = checkpoint(n) else { return };
                next.say(Event::Rewound { step: to.step });
            }
            Act::Drop if task.accepts.is_empty() => next.say(Event::Discarded {}),
            Act::Drop => return,
        }
        if !next.events.is_empty() {
            next.tell(&self.store);
        }
        self.take_in(id);
    }

    /// Takes in what a task has that its copy has not.
    fn take_in(&mut self, id: u64) {
        let log = self.logs.get_mut(&id).unwrap();
        log.extend(self.store.events(id, log.len() as u64).unwrap());
    }

    fn check(&self) {
        let fresh = store(self.home);
        let summaries = fresh.summaries().unwrap();
        let (mut shares, mut spent) = (BTreeSet::new(), BTreeSet::new());
        for ((id, log), summary) in self.logs.iter().zip(summaries) {
            let copied = folded(*id, log);
            for store in [&self.store, &fresh] {
                assert_eq!(bytes(&store.task(*id).unwrap()), bytes(&copied), "task {id}");
                for after in 0..=log.len() {
                    assert_eq!(
                        store.events(*id, after as u64).unwrap(),
                        log[after..],
                        "task {id} above {after}"
                    );
                }
            }
            assert_eq!(summary, Summary::of(&copied));
            shares.extend(copied.shares_budget().map(|first| (*id, first)));
            let hours = copied.spending().by_hour().into_iter().filter(|(_, sums)| sums.0 != Usd::ZERO);
            spent.extend(hours.map(|(hour, (spent, _))| (*id, hour, spent.0)));
        }
        let conn = Connection::open(self.home.join("quire.db")).unwrap();
        let mut rows = conn.prepare("SELECT task, first FROM sharing").unwrap();
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(rows.collect::<Result<BTreeSet<(u64, u64)>, _>>().unwrap(), shares);
        let mut rows = conn.prepare("SELECT task, hour, spent FROM spending WHERE spent > 0").unwrap();
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        assert_eq!(rows.collect::<Result<BTreeSet<(u64, u64, u64)>, _>>().unwrap(), spent);
    }
}

/// The version is there once more, and is in the folder: nobody is to review it.
#[test]
fn a_fork_at_a_version_that_was_accepted_and_gone_back_to_stands_after_its_step() {
    let home = home();
    let store = store(home.path());
    let first = begin(&store);
    let logs = BTreeMap::from([(first, store.events(first, 0).unwrap())]);
    let mut world = World { home: home.path(), store, logs };
    for act in [Act::Step, Act::Version, Act::Accept, Act::Words, Act::Step, Act::Back(1), Act::Fork(1)] {
        world.act(first, act);
    }
    let begun = world.store.task(2).unwrap();
    assert_eq!(view::state(&begun), "stands after step 2");
    world.check();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_fork_is_as_if_the_rows_were_copied(acts in acts()) {
        let home = home();
        let store = store(home.path());
        let first = begin(&store);
        let logs = BTreeMap::from([(first, store.events(first, 0).unwrap())]);
        let mut world = World { home: home.path(), store, logs };
        for (which, act) in acts {
            let id = 1 + u64::from(which) % world.logs.len() as u64;
            world.act(id, act);
        }
        world.check();
    }
}
