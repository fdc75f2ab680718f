//! A database that is not as quire left it, or is not quire's: said, and left as it is.

use super::{home, opened, said, store};
use quire_core::Hash;
use quire_engine::database::{Damaged, DiskKind, OpenError};
use quire_engine::store::{AppendError, ReadError, Store, Writer};
use rusqlite::Connection;
use std::fs;
use std::path::Path;

#[derive(Debug, PartialEq)]
enum Kind {
    Damaged,
    Foreign,
    Newer,
}

type Spoil = fn(&Path);

fn overwrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn sql(path: &Path, statements: &str) {
    Connection::open(path).unwrap().execute_batch(statements).unwrap();
}

/// Returns names and hashes of all files in the home.
fn files(home: &Path) -> Vec<(String, Hash)> {
    let mut all: Vec<_> = fs::read_dir(home)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| (entry.file_name().into_string().unwrap(), Hash::of(&fs::read(entry.path()).unwrap())))
        .collect();
    all.sort();
    all
}

#[test]
fn a_database_that_cannot_be_trusted_is_left_as_it_is() {
    let rows: [(&str, Spoil, Kind); 11] = [
        ("empty", |db| overwrite(db, |b| b.clear()), Kind::Damaged),
        ("a few bytes", |db| overwrite(db, |b| b.truncate(50)), Kind::Damaged),
        ("cut in half", |db| overwrite(db, |b| b.truncate(b.len() / 2)), Kind::Damaged),
        ("cut within a page", |db| overwrite(db, |b| b.truncate(b.len() - 1000)), Kind::Damaged),
        ("garbage header", |db| overwrite(db, |b| b[..100].fill(0x5a)), Kind::Damaged),
        (
            "garbage in the middle",
            |db| overwrite(db, |b| b.chunks_mut(4096).nth(10).unwrap().fill(0xa5)),
            Kind::Damaged,
        ),
        ("a text file", |db| fs::write(db, "dear diary ".repeat(50)).unwrap(), Kind::Damaged),
        ("no format", |db| sql(db, "PRAGMA journal_mode = DELETE; PRAGMA user_version = 0"), Kind::Damaged),
        (
            "someone else's",
            |db| {
                fs::remove_file(db).unwrap();
                sql(db, "CREATE TABLE song (title TEXT); INSERT INTO song VALUES ('Summertime')");
            },
            Kind::Foreign,
        ),
        ("newer", |db| sql(db, "PRAGMA journal_mode = DELETE; PRAGMA user_version = 6"), Kind::Newer),
        ("much newer", |db| sql(db, "PRAGMA user_version = 99"), Kind::Newer),
    ];
    for (what, spoil, kind) in rows {
        let home = home();
        let db = home.path().join("quire.db");
        let here = store(home.path());
        let task = here.create(vec![opened()]).wait().unwrap().task;
        for seq in 1..100 {
            here.append(task, seq, Writer::Person, vec![said("words ".repeat(100))]).wait().unwrap();
        }
        drop(here);
        spoil(&db);
        let before = files(home.path());
        let error = Store::open(home.path()).map(drop).expect_err(what);
        let told = match &error {
            OpenError::Damaged(_) => Kind::Damaged,
            OpenError::Foreign { .. } => Kind::Foreign,
            OpenError::Newer { .. } => Kind::Newer,
            OpenError::Disk(_) => panic!("{what}: {error}"),
        };
        assert_eq!(told, kind, "{what}: {error}");
        assert_eq!(files(home.path()), before, "{what}: files changed");
        assert!(error.to_string().contains("left as it "), "{what}: {error}");
    }
}

/// A process died, so its `-wal` is still there and holds all that was written last.
#[test]
fn a_damaged_database_keeps_its_log_too() {
    let home = home();
    let db = home.path().join("quire.db");
    let here = store(home.path());
    here.create(vec![opened()]).wait().unwrap();
    drop(here);
    let wal = home.path().join("quire.db-wal");
    fs::write(&wal, b"what a dead process left").unwrap();
    overwrite(&db, |b| b[..16].fill(0));
    let before = files(home.path());
    assert!(matches!(Store::open(home.path()), Err(OpenError::Damaged(_))));
    assert_eq!(files(home.path()), before);
    // Nor is a new one made beside a log whose database is gone.
    fs::remove_file(&db).unwrap();
    assert!(matches!(Store::open(home.path()), Err(OpenError::Damaged(_))));
    assert!(!db.exists() && wal.exists());
}

/// A newer quire died, and what it did to the database stands in the `-wal` only.
#[test]
fn what_a_newer_quire_left_in_its_log_is_not_carried_on() {
    let (origin, home) = (home(), home());
    let here = store(origin.path());
    here.create(vec![opened()]).wait().unwrap();
    sql(&origin.path().join("quire.db"), "PRAGMA user_version = 99");
    for name in ["quire.db", "quire.db-wal"] {
        fs::copy(origin.path().join(name), home.path().join(name)).unwrap();
    }
    drop(here);
    let before = files(home.path());
    let error = Store::open(home.path()).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error}");
    let mut after = files(home.path());
    after.retain(|(name, _)| name != "quire.db-shm"); // SQLite's index of the log; made anew by whoever needs it.
    assert_eq!(after, before);
}

/// What is found only by reading, in a file too large to be read through at every start, stops all writing.
#[test]
fn damage_that_is_found_late_ends_writing() {
    let home = home();
    let here = store(home.path());
    let long = (0..20).map(|_| said("long ".repeat(100_000)));
    here.create(std::iter::once(opened()).chain(long).collect()).wait().unwrap();
    drop(here);
    overwrite(&home.path().join("quire.db"), |b| b[8192..].fill(0xa5));
    let before = files(home.path());
    let here = store(home.path());
    assert!(matches!(here.task(1), Err(ReadError::Damaged(Damaged::Database { .. }))));
    assert!(matches!(here.create(vec![opened()]).wait(), Err(AppendError::Damaged(_))));
    assert!(here.check().is_err());
    drop(here);
    assert_eq!(files(home.path()), before);
}

/// Whoever died while making the database left something under another name, which the next one replaces.
#[test]
fn a_database_that_was_half_made_is_made_anew() {
    let home = home();
    for leftover in ["quire.db.new", "quire.db.new-journal", "quire.db.new-wal"] {
        fs::write(home.path().join(leftover), "half").unwrap();
    }
    store(home.path()).create(vec![opened()]).wait().unwrap();
    assert_eq!(files(home.path()).len(), 1);
}

#[test]
fn a_home_that_is_a_file_is_said_to_be_unusable() {
    let outer = home();
    let file = outer.path().join("file");
    fs::write(&file, "a letter").unwrap();
    for home in [file.clone(), file.join("below")] {
        let error = Store::open(&home).map(drop).unwrap_err();
        assert!(matches!(&error, OpenError::Disk(e) if e.kind == DiskKind::Denied), "{error}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"a letter");
}

/// Each row: what someone does to the database, and the event of task 1 that cannot be read any more.
#[test]
fn an_event_that_cannot_be_read_is_named_and_never_skipped() {
    let rows = [
        ("UPDATE event SET event = '{\"said\":{\"words\":\"other\"}}' WHERE task = 1 AND seq = 3", 3),
        ("UPDATE event SET event = 'no json' WHERE task = 1 AND seq = 5", 5),
        ("UPDATE event SET at_ms = at_ms + 1 WHERE task = 1 AND seq = 2", 2),
        ("UPDATE event SET seq = 9 WHERE task = 1 AND seq = 5", 5),
        ("DELETE FROM event WHERE task = 1 AND seq = 4", 4),
        ("DELETE FROM event WHERE task = 1 AND seq = 1", 1),
        (
            "UPDATE event SET (event, at_ms, sum) = (SELECT event, at_ms, sum FROM event WHERE task = 2 AND seq = 2)
             WHERE task = 1 AND seq = 2",
            2,
        ),
    ];
    for (change, at) in rows {
        let home = home();
        let here = store(home.path());
        for _ in 0..2 {
            let words = (0..4).map(|n| said(n.to_string()));
            here.create(std::iter::once(opened()).chain(words).collect()).wait().unwrap();
        }
        drop(here);
        sql(&home.path().join("quire.db"), change);
        let here = store(home.path());
        let named = |damaged: Damaged| match damaged {
            Damaged::Event { task: 1, seq, .. } => seq,
            other => panic!("{change}: {other}"),
        };
        let Err(ReadError::Damaged(damaged)) = here.task(1) else { panic!("{change}: read") };
        assert_eq!(named(damaged), at, "{change}");
        let Err(ReadError::Damaged(damaged)) = here.events(1, 0) else { panic!("{change}: read") };
        assert_eq!(named(damaged), at, "{change}");
        let Err(AppendError::Damaged(damaged)) = here.append(1, 5, Writer::Person, vec![said("a")]).wait()
        else {
            panic!("{change}: written")
        };
        assert_eq!(named(damaged), at, "{change}");
        // Other tasks go on.
        assert_eq!(here.append(2, 5, Writer::Person, vec![said("a")]).wait().unwrap(), 6, "{change}");
    }
}

#[test]
fn a_log_that_became_shorter_under_a_running_process_is_noticed() {
    let home = home();
    let here = store(home.path());
    here.create(vec![opened(), said("a"), said("b")]).wait().unwrap();
    sql(&home.path().join("quire.db"), "DELETE FROM event WHERE seq > 1");
    assert!(matches!(here.task(1), Err(ReadError::Damaged(Damaged::Event { task: 1, seq: 3, .. }))));
    let append = here.append(1, 1, Writer::Person, vec![said("c")]).wait();
    assert!(matches!(append, Err(AppendError::Damaged(_))), "{append:?}");
}

#[test]
fn an_event_that_a_newer_quire_wrote_is_told_from_damage() {
    let home = home();
    let here = store(home.path());
    here.create(vec![opened(), said("a")]).wait().unwrap();
    drop(here);
    // As the log writes it, with its sum.
    let text = r#"{"foretold":{"by":"stars"}}"#;
    let row = [&1u64.to_le_bytes()[..], &2u64.to_le_bytes(), &7u64.to_le_bytes(), text.as_bytes()].concat();
    let sum = blake3::hash(&row).to_hex();
    let change =
        format!("UPDATE event SET event = '{text}', at_ms = 7, sum = x'{}' WHERE seq = 2", &sum[..32]);
    sql(&home.path().join("quire.db"), &change);
    let here = store(home.path());
    let newer = here.events(1, 0);
    assert!(matches!(newer, Err(ReadError::Damaged(Damaged::Newer { task: 1, seq: 2 }))), "{newer:?}");
}
