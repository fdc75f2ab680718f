//! Full-text search over all tasks: what persons and agents said, and what versions changed. The index lies beside the store and is
//! made of the logs alone, a task's news at a time when somebody searches: removed or damaged, it is made anew and says the same.

use crate::quire::{COMPARED_BYTES_MAX, EngineError, Quire};
use crate::work::load_snapshot;
use quire_core::secret::Masks;
use quire_core::view::Summary;
use quire_core::{Entry, Event, Hash, Logged, Task, diff};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params};
use serde::Serialize;
use std::borrow::Cow;
use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// The index's file, and that of SQLite's beside it.
const FILE: &str = "search.db";
const JOURNAL: &str = "search.db-journal";
/// Of another format, it is made anew.
const FORMAT: i64 = 2;
const TABLES: &str = r#"
    CREATE TABLE seen (task INTEGER PRIMARY KEY, seq INTEGER NOT NULL) STRICT;
    CREATE VIRTUAL TABLE said USING fts5(
        body, task UNINDEXED, seq UNINDEXED, kind UNINDEXED, place UNINDEXED, tokenize = "unicode61 remove_diacritics 2"
    );
"#;

/// Put around each letter of a script that is written without spaces, because the index knows words by what stands between them. It
/// shows nowhere.
const APART: char = '\u{200b}';

/// Most bytes of a file's changed lines that are looked at, and of a version's.
const FILE_BYTES_MAX: usize = 64 << 10;
const VERSION_BYTES_MAX: usize = 1 << 20;
/// Most places that are told.
const HITS_MAX: u32 = 200;
/// How long another process may be at the index.
const BUSY_MAX: Duration = Duration::from_secs(10);

/// A place at which the words stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hit {
    pub task: u64,
    /// `you`, `agent`, or `change`.
    pub kind: String,
    /// Of a change, its file, escaped.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// The words with some of what is around them, on one line.
    pub text: String,
}

impl Quire {
    /// Returns where all of `words` stand together, best first; the last of them may be the beginning of one.
    pub fn search(&self, words: &str) -> Result<Vec<Hit>, EngineError> {
        let says = |word: &&str| word.chars().any(char::is_alphanumeric);
        let quoted = |word: &str| format!("\"{}\"", apart(&word.replace('"', "")));
        let tokens: Vec<String> = words.split_whitespace().filter(says).map(quoted).collect();
        if tokens.is_empty() {
            return Ok(vec![]);
        }
        let query = format!("{} *", tokens.join(" "));
        let path = self.home().join(FILE);
        let failed =
            |why: rusqlite::Error| EngineError::Home { path: path.clone(), why: io::Error::other(why) };
        match self.find(&path, &query) {
            Err(Trouble::Index(_)) => {
                // It holds nothing that is not in the logs.
                for name in [FILE, JOURNAL] {
                    match fs::remove_file(self.home().join(name)) {
                        Err(why) if why.kind() != io::ErrorKind::NotFound => {
                            return Err(EngineError::Home { path, why });
                        }
                        _ => {}
                    }
                }
                self.find(&path, &query).map_err(|trouble| match trouble {
                    Trouble::Index(why) => failed(why),
                    Trouble::Engine(error) => *error,
                })
            }
            Err(Trouble::Engine(error)) => Err(*error),
            Ok(hits) => Ok(hits),
        }
    }

    fn find(&self, path: &Path, query: &str) -> Result<Vec<Hit>, Trouble> {
        let mut conn = open(path)?;
        self.catch_up(&mut conn)?;
        let sql = "SELECT task, kind, place, snippet(said, 0, '', '', '…', 16) FROM said WHERE said MATCH ?1
                   ORDER BY rank, task DESC, seq, place LIMIT ?2";
        let mut select = conn.prepare(sql)?;
        let rows = select.query_map(params![query, HITS_MAX], |row| {
            let text = row.get::<_, String>(3)?.replace(APART, "");
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            Ok(Hit { task: row.get(0)?, kind: row.get(1)?, place: row.get(2)?, text })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Takes in what the logs have that the index has not.
    fn catch_up(&self, conn: &mut Connection) -> Result<(), Trouble> {
        for Summary { task: id, seq, .. } in self.summaries()? {
            let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let seen = tx.query_row("SELECT seq FROM seen WHERE task = ?", [id], |row| row.get(0));
            let seen: u64 = match seen {
                Err(rusqlite::Error::QueryReturnedNoRows) => 0,
                seen => seen?,
            };
            if seen >= seq {
                continue;
            }
            let task = self.store().task(id).map_err(EngineError::from)?;
            for logged in self.store().events(id, seen).map_err(EngineError::from)? {
                self.take_in(&tx, &task, &logged)?;
            }
            tx.execute("INSERT OR REPLACE INTO seen (task, seq) VALUES (?, ?)", params![id, task.seq])?;
            tx.commit()?;
        }
        Ok(())
    }

    fn take_in(&self, tx: &Transaction<'_>, task: &Task, logged: &Logged) -> Result<(), Trouble> {
        let add = |kind: &str, place: &str, body: &str| -> Result<(), Trouble> {
            if !body.trim().is_empty() {
                let sql = "INSERT INTO said (body, task, seq, kind, place) VALUES (?, ?, ?, ?, ?)";
                tx.prepare_cached(sql)?.execute(params![apart(body), task.id, logged.seq, kind, place])?;
            }
            Ok(())
        };
        match &logged.event {
            Event::Opened { words, .. }
            | Event::Said { words }
            | Event::NotesSent { words, .. }
            | Event::Refit { words }
            | Event::PlanAgreed { plan: words }
            | Event::QuestionAnswered { answer: words, .. } => add("you", "", words),
            Event::Replied { reply } => add("agent", "", &reply.text),
            Event::Presented { snapshot, .. } => {
                for (place, body) in self.changes(task, snapshot)? {
                    add("change", &place, &body)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }?;
        // From here on its contents, or what they were compared with, may be gone: what is found must follow from the log alone.
        if matches!(logged.event, Event::Refit { .. } | Event::Discarded {} | Event::Cleared {}) {
            tx.execute("DELETE FROM said WHERE task = ? AND kind = 'change'", [task.id])?;
        }
        Ok(())
    }

    /// Returns the paths of a version's changes, each with the lines that went and came.
    fn changes(&self, task: &Task, snapshot: &Hash) -> Result<Vec<(String, String)>, EngineError> {
        // What is gone with a task's files is no longer searched.
        let (Ok(snapshot), Ok(frozen)) = (load_snapshot(self.store(), snapshot), self.frozen(task)) else {
            return Ok(vec![]);
        };
        let masks = Masks::new([], []);
        let mut room = VERSION_BYTES_MAX;
        let mut changes = vec![];
        for entry in &snapshot.entries {
            let path = entry.path.to_string();
            let mut body = format!("{}\n", path.replace(['/', '.', '_', '-'], " "));
            if let Ok((was, now)) = self.contents(&frozen, entry, COMPARED_BYTES_MAX) {
                body.push_str(&lines(entry, &was.unwrap_or_default(), &now.unwrap_or_default(), room));
            }
            room = room.saturating_sub(body.len());
            changes.push((path, masks.mask(&body).unwrap_or(body)));
        }
        Ok(changes)
    }
}

/// Returns a text in which each letter of a script without spaces is a word of its own: words of such a script are found as letters
/// that follow each other.
fn apart(text: &str) -> Cow<'_, str> {
    let is_alone = |letter: char| {
        matches!(letter,
            // Thai and Lao, Burmese, Khmer; kana; Chinese characters, also those of compatibility and of the supplementary planes; narrow kana.
            '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}'
            | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}' | '\u{ff66}'..='\u{ff9f}')
    };
    if !text.contains(is_alone) {
        return Cow::Borrowed(text);
    }
    let mut made = String::with_capacity(2 * text.len());
    for letter in text.chars() {
        if is_alone(letter) {
            made.extend([APART, letter, APART]);
        } else {
            made.push(letter);
        }
    }
    Cow::Owned(made)
}

fn lines(entry: &Entry, was: &[u8], now: &[u8], room: usize) -> String {
    let mut body = String::new();
    if diff::is_binary(was) || diff::is_binary(now) {
        return body;
    }
    let hunks = diff::hunks(entry.folder, &entry.path, was, now);
    for line in hunks.iter().flat_map(|hunk| &hunk.lines).filter(|line| line.kind != diff::Kind::Same) {
        if body.len() + line.text.len() > room.min(FILE_BYTES_MAX) {
            break;
        }
        body.push_str(&String::from_utf8_lossy(&line.text));
    }
    body
}

/// Why nothing could be found.
enum Trouble {
    /// The index is at fault, and can be made anew.
    Index(rusqlite::Error),
    Engine(Box<EngineError>),
}

impl From<rusqlite::Error> for Trouble {
    fn from(e: rusqlite::Error) -> Trouble {
        Trouble::Index(e)
    }
}

impl From<EngineError> for Trouble {
    fn from(e: EngineError) -> Trouble {
        Trouble::Engine(Box::new(e))
    }
}

fn open(path: &Path) -> Result<Connection, Trouble> {
    let at_home = |why| EngineError::Home { path: path.to_owned(), why };
    fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(at_home)?;
    let mut conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    conn.busy_timeout(BUSY_MAX)?;
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let format: i64 = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if format == 0 {
        tx.execute_batch(TABLES)?;
        tx.pragma_update(None, "user_version", FORMAT)?;
    } else if format != FORMAT {
        return Err(Trouble::Index(rusqlite::Error::InvalidQuery));
    }
    tx.commit()?;
    Ok(conn)
}
