//! The fold that is kept beside a long log: it spares reading the log, and is never believed against it.

use super::{home, opened, said, store};
use quire_engine::store::{ReadError, Writer};
use rusqlite::Connection;
use std::fs;
use std::path::{Path, PathBuf};

const EVENTS: u64 = 4_500;
/// Where the hash of a kept fold ends, and what it was folded by begins.
const HASHED: usize = 16 + 32;

/// Makes tasks 1 and 2 with a long log of `word`s each, and leaves them as the disk has them.
fn long_logs(home: &Path, word: &str) {
    let here = store(home);
    for task in 1..=2 {
        let created = here.create(vec![opened()]).wait().unwrap();
        let mut seq = created.seq;
        while seq < EVENTS {
            let words = (0..500.min(EVENTS - seq)).map(|n| said(format!("{word} {task} {n}")));
            seq = here.append(task, seq, Writer::Person, words.collect()).wait().unwrap();
        }
    }
}

fn kept(home: &Path, task: u64) -> PathBuf {
    home.join(format!("tasks/{task}/fold"))
}

/// Returns how many words a task has, and the one that is a lie, else the first that was said.
fn folded(home: &Path, task: u64) -> Result<(usize, String), ReadError> {
    let task = store(home).task(task)?;
    let lies = task.words.iter().find(|word| word.contains("lie"));
    Ok((task.words.len(), lies.unwrap_or(&task.words[1]).to_string()))
}

/// Changes a word of a kept fold, so that whoever believes it tells a lie; and makes its hash right again.
fn lie(bytes: &mut [u8]) {
    let at = bytes.windows(8).position(|at| at == b"true 1 7").unwrap();
    bytes[at..at + 4].copy_from_slice(b"lie ");
    sign(bytes);
}

fn sign(bytes: &mut [u8]) {
    let hash = blake3::hash(&bytes[HASHED..]);
    bytes[16..HASHED].copy_from_slice(hash.as_bytes());
}

fn sql(home: &Path, statements: &str) {
    Connection::open(home.join("quire.db")).unwrap().execute_batch(statements).unwrap();
}

#[test]
fn a_long_log_is_carried_on_from_where_its_fold_was_kept() {
    let home = home();
    long_logs(home.path(), "true");
    // Who believes what is kept does not look at what came before: the rows of the log are looked at when they are read.
    let mut bytes = fs::read(kept(home.path(), 1)).unwrap();
    lie(&mut bytes);
    fs::write(kept(home.path(), 1), bytes).unwrap();
    assert_eq!(folded(home.path(), 1).unwrap(), (EVENTS as usize, "lie  1 7".to_owned()));
    let here = store(home.path());
    assert_eq!(here.append(1, EVENTS, Writer::Person, vec![said("more")]).wait().unwrap(), EVENTS + 1);
    drop(here);
    fs::remove_file(kept(home.path(), 1)).unwrap();
    assert_eq!(folded(home.path(), 1).unwrap(), (EVENTS as usize + 1, "true 1 0".to_owned()));
    assert!(kept(home.path(), 1).exists(), "whoever folds a long log keeps the fold");
}

/// Each row spoils what is kept of task 1, which says something else than the log wherever it would be believed.
#[test]
fn a_kept_fold_is_not_believed_in_any_doubt() {
    let other = home();
    long_logs(other.path(), "lie");
    type Spoil<'a> = &'a dyn Fn(&Path, Vec<u8>) -> Vec<u8>;
    let rows: [(&str, Spoil); 11] = [
        ("empty", &|_, _| vec![]),
        ("a head and no more", &|_, bytes| bytes[..96].to_vec()),
        ("torn in the middle", &|_, mut bytes| {
            bytes.truncate(bytes.len() / 2);
            bytes
        }),
        ("its end was never written", &|_, mut bytes| {
            let at = bytes.len() - 4096;
            bytes[at..].fill(0);
            bytes
        }),
        ("a word was changed", &|_, mut bytes| {
            let whole = bytes.clone();
            lie(&mut bytes);
            bytes[16..HASHED].copy_from_slice(&whole[16..HASHED]);
            bytes
        }),
        ("another kind of file", &|_, mut bytes| {
            bytes[..8].copy_from_slice(b"dear dia");
            bytes
        }),
        ("another quire folded it", &|_, mut bytes| {
            lie(&mut bytes);
            bytes[HASHED] ^= 1;
            sign(&mut bytes);
            bytes
        }),
        ("another task's", &|home, _| {
            let mut bytes = fs::read(kept(home, 2)).unwrap();
            let at = bytes.windows(8).position(|at| at == b"true 2 7").unwrap();
            bytes[at..at + 4].copy_from_slice(b"lie ");
            sign(&mut bytes);
            bytes
        }),
        ("it says another place than it has", &|_, mut bytes| {
            lie(&mut bytes);
            bytes[HASHED + 16 + 8] ^= 1;
            sign(&mut bytes);
            bytes
        }),
        ("of a log with another end", &|_, mut bytes| {
            lie(&mut bytes);
            bytes[HASHED + 16 + 8 + 8] ^= 1;
            sign(&mut bytes);
            bytes
        }),
        ("of another home", &|_, _| fs::read(kept(other.path(), 1)).unwrap()),
    ];
    let home = home();
    long_logs(home.path(), "true");
    let whole = fs::read(kept(home.path(), 1)).unwrap();
    for (what, spoil) in rows {
        fs::write(kept(home.path(), 1), spoil(home.path(), whole.clone())).unwrap();
        assert_eq!(folded(home.path(), 1).unwrap(), (EVENTS as usize, "true 1 0".to_owned()), "{what}");
        assert_eq!(
            folded(home.path(), 1).unwrap(),
            (EVENTS as usize, "true 1 0".to_owned()),
            "{what}, mended"
        );
    }

    let mut lies = whole;
    lie(&mut lies);
    fs::write(kept(home.path(), 1), &lies).unwrap();
    // A log that was put back from a backup ends earlier.
    sql(home.path(), "DELETE FROM event WHERE task = 1 AND seq > 4000");
    assert_eq!(folded(home.path(), 1).unwrap(), (4_000, "true 1 0".to_owned()));
    // One that lacks an event is damaged, whatever is kept of it.
    fs::write(kept(home.path(), 2), fs::read(kept(home.path(), 2)).unwrap()).unwrap();
    sql(home.path(), "DELETE FROM event WHERE task = 2 AND seq = 100");
    assert!(matches!(folded(home.path(), 2), Err(ReadError::Damaged(_))));
}
