//! `quire.db`, the file: judged before anything is written, made whole or not at all, and connected to. What the rows
//! mean is told in `store` (events) and `blob` (where content lies).
//!
//! A database that is damaged, foreign or from a newer quire must stay as it is, byte for byte, so that it can still be
//! rescued. SQLite writes on the mere opening of a database in WAL mode (`-wal`, `-shm`, a checkpoint at the end), so
//! the judgement reads it in ways that do not: the header by hand, the rest as an immutable file where no `-wal` stands
//! beside it. A new database is made under another name and renamed, so `quire.db` is never half a database, and an
//! empty one is a damaged one.
//!
//! A large database is not read through at every start. Damage in one is found by whoever reads it, and from then on
//! this process writes no more.

use crate::rooted::lock_within;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use rustix::fs::statvfs;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// "quir", in the header's field for this (SQLite file format, 1.3, offset 68): tells quire's database from others.
const APPLICATION_ID: i32 = i32::from_be_bytes(*b"quir");

/// Statements that lead from version N to N + 1; the version is SQLite's `user_version`. One that was released is never
/// changed.
const MIGRATIONS: &[&str] = &["
    -- AUTOINCREMENT: the number of a task that is gone never comes back.
    CREATE TABLE task (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        opened_ms INTEGER NOT NULL
    ) STRICT;
    -- `id` is the place in the log of all tasks: it only grows, so what is new is what lies above the last one seen.
    CREATE TABLE event (
        id INTEGER PRIMARY KEY,
        task INTEGER NOT NULL REFERENCES task (id),
        seq INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        event TEXT NOT NULL,
        sum BLOB NOT NULL,
        UNIQUE (task, seq)
    ) STRICT;
    CREATE TABLE blob (
        hash BLOB PRIMARY KEY,
        pack INTEGER NOT NULL,
        start INTEGER NOT NULL,
        bytes INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
", "
    -- What each task spent and holds reserved, in pico-dollars, by the hour since 1970 in which a request was begun. All of it
    -- follows from the events; it stands here so that the sum over all tasks is read in one statement.
    CREATE TABLE spending (
        task INTEGER NOT NULL REFERENCES task (id),
        hour INTEGER NOT NULL,
        spent INTEGER NOT NULL,
        held INTEGER NOT NULL,
        PRIMARY KEY (task, hour)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX spending_hour ON spending (hour);
", "
    -- What a list shows of each task, as of its event `seq`. It follows from the events, and is believed only by the code that made
    -- it; see `store/summaries.rs`.
    CREATE TABLE summary (
        task INTEGER PRIMARY KEY REFERENCES task (id),
        seq INTEGER NOT NULL,
        summary TEXT NOT NULL,
        sum BLOB NOT NULL
    ) STRICT;
", "
    -- The tasks that share one budget, by the first of them. It follows from the events.
    CREATE TABLE sharing (
        task INTEGER PRIMARY KEY REFERENCES task (id),
        first INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX sharing_first ON sharing (first);
", "
    -- A task that began in another has that one's log up to `origin_seq`, then its own rows. Of older ones the rows were copied.
    ALTER TABLE task ADD COLUMN origin INTEGER REFERENCES task (id);
    ALTER TABLE task ADD COLUMN origin_seq INTEGER CHECK ((origin IS NULL) = (origin_seq IS NULL));
"];

/// A file up to this size, in bytes, is checked page by page at every opening, at 1 to 4 ms a MiB.
const CHECKED_WHOLE_MAX: u64 = 2 << 20;

/// Space below which a disk is called full, in bytes: less than SQLite needs beside the database to work at all.
const ROOM_MIN: u64 = 64 << 10;

/// How long another process may hold the write lock before we give up. A commit takes milliseconds; only a stopped
/// process or a dying disk takes longer.
const BUSY_MAX: Duration = Duration::from_secs(30);

/// Why the disk did not do what it was asked. What was asked for is then not done at all.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{kind}: {}: {why}", path.display())]
pub struct DiskError {
    pub kind: DiskKind,
    pub path: PathBuf,
    /// The system's or SQLite's words.
    pub why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskKind {
    Full,
    /// Another process held the database for longer than half a minute.
    Busy,
    /// Permissions, a read-only file system, or a file where a directory should be.
    Denied,
    /// The device failed, or the system's answer fits nothing above.
    Failed,
}

impl std::fmt::Display for DiskKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            DiskKind::Full => "The disk is full; nothing was written. Free some space and try again",
            DiskKind::Busy => {
                "Another process has held quire's database for half a minute; nothing was written"
            }
            DiskKind::Denied => "quire cannot use this place; nothing was written",
            DiskKind::Failed => "The disk failed; nothing was acknowledged that is not on it",
        })
    }
}

impl DiskError {
    /// Returns whether an error says that there is no room.
    pub(crate) fn says_full(why: &io::Error) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        matches!(why.kind(), StorageFull | QuotaExceeded | FileTooLarge)
    }

    pub(crate) fn io(path: &Path, why: io::Error) -> DiskError {
        let kind = match why.kind() {
            _ if DiskError::says_full(&why) => DiskKind::Full,
            io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::AlreadyExists => DiskKind::Denied,
            _ => DiskKind::Failed,
        };
        DiskError { kind, path: path.to_owned(), why: why.to_string() }
    }
}

/// Something stands on the disk that this quire did not write so. It is left as it is.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Damaged {
    #[error("{} is damaged: {what}. It was left as it is. Restore it from a backup, or move it away to start anew", path.display())]
    Database { path: PathBuf, what: String },
    #[error("Event {seq} of task {task} cannot be read: {what}. The database was left as it is")]
    Event { task: u64, seq: u64, what: String },
    /// It is what was written, and this quire knows no such event.
    #[error("Event {seq} of task {task} was written by a newer quire; it was left as it is")]
    Newer { task: u64, seq: u64 },
}

/// Why a statement could not be carried out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

/// Why there is no database to work with.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Damaged(#[from] Damaged),
    #[error("{} is a database of some other program; it was left as it is. Name another directory with QUIRE_HOME", path.display())]
    Foreign { path: PathBuf },
    #[error(
        "{} was written by a newer quire (format {found}; this one knows {known}); it was left as it is. Install the newer quire",
        path.display()
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
}

impl From<DatabaseError> for OpenError {
    fn from(e: DatabaseError) -> OpenError {
        match e {
            DatabaseError::Disk(e) => OpenError::Disk(e),
            DatabaseError::Damaged(e) => OpenError::Damaged(e),
        }
    }
}

/// The database of one home, with the connections of this process that are waiting for something to read.
#[derive(Debug)]
pub(crate) struct Database {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    /// Set once damage was seen anywhere: from then on this process writes no more.
    damaged: OnceLock<Damaged>,
}

impl Database {
    /// Opens `home/quire.db`; makes both (0700, 0600) where they are absent. Processes that open at the same time do it one
    /// after the other, under a lock on the directory.
    pub fn open(home: &Path) -> Result<Database, OpenError> {
        let at_home = |e| DiskError::io(home, e);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(home).map_err(at_home)?;
        let dir = File::open(home).map_err(at_home)?;
        if dir.metadata().map_err(at_home)?.permissions().mode() & 0o077 != 0 {
            dir.set_permissions(Permissions::from_mode(0o700)).map_err(at_home)?;
        }
        lock_within(&dir, BUSY_MAX).map_err(at_home)?;

        let database =
            Database { path: home.join("quire.db"), idle: Mutex::default(), damaged: OnceLock::new() };
        if database.path.try_exists().map_err(at_home)? {
            let version = database.judge()?;
            let mut conn = database.connect()?;
            database.migrate(&mut conn, version)?;
            database.put_back(conn);
        } else {
            database.make(home, &dir)?;
        }
        Ok(database)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn wal(&self) -> PathBuf {
        let mut wal = self.path.clone().into_os_string();
        wal.push("-wal");
        wal.into()
    }

    fn damage(&self, what: impl Into<String>) -> Damaged {
        let damaged = Damaged::Database { path: self.path.clone(), what: what.into() };
        self.damaged.get_or_init(|| damaged.clone());
        damaged
    }

    /// Returns the version of a database that is ours, sound and not newer than this quire. Writes nothing.
    fn judge(&self) -> Result<i64, OpenError> {
        let mut header = [0; 100];
        let mut file = File::open(&self.path).map_err(|e| DiskError::io(&self.path, e))?;
        match file.read_exact(&mut header) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(self.damage("it is cut short"))?,
            other => other.map_err(|e| DiskError::io(&self.path, e))?,
        }
        if !header.starts_with(b"SQLite format 3\0") {
            Err(self.damage("it does not begin as a database does"))?;
        }
        let field =
            |at: usize| i32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if field(68) != APPLICATION_ID {
            return Err(OpenError::Foreign { path: self.path.clone() });
        }
        self.known(field(60).into())?;

        let bytes = file.metadata().map_err(|e| DiskError::io(&self.path, e))?.len();
        let conn = if self.wal().try_exists().map_err(|e| DiskError::io(&self.path, e))? {
            // Some process is at work, or died at it; pages in the log belong to the database and must be read with it.
            let conn = self.connect()?;
            self.by(conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true))?;
            conn
        } else {
            // Nobody can be writing: whoever opens it makes a `-wal` first, and waits for our lock before that.
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
            self.by(Connection::open_with_flags(immutable(&self.path), flags))?
        };
        let version =
            self.known(self.by(conn.pragma_query_value(None, "user_version", |row| row.get(0)))?)?;
        if bytes <= CHECKED_WHOLE_MAX {
            self.check(&conn, "quick_check")?;
        }
        Ok(version)
    }

    fn known(&self, version: i64) -> Result<i64, OpenError> {
        let known = MIGRATIONS.len() as i64;
        match version {
            1.. if version <= known => Ok(version),
            1.. => Err(OpenError::Newer { path: self.path.clone(), found: version, known }),
            _ => Err(self.damage(format!("its format is given as {version}")).into()),
        }
    }

    fn check(&self, conn: &Connection, pragma: &str) -> Result<(), DatabaseError> {
        let said: String = self.by(conn.pragma_query_value(None, pragma, |row| row.get(0)))?;
        if said == "ok" { Ok(()) } else { Err(self.damage(said).into()) }
    }

    /// Reads every page and every index entry of the database.
    pub fn check_whole(&self) -> Result<(), DatabaseError> {
        self.read(|conn| self.check(conn, "integrity_check"))
    }

    /// Makes a new database under another name, durable, and gives it its name last.
    fn make(&self, home: &Path, dir: &File) -> Result<(), OpenError> {
        if self.wal().try_exists().map_err(|e| DiskError::io(home, e))? {
            Err(self.damage("its file is gone, but its log quire.db-wal is still here"))?;
        }
        let new = home.join("quire.db.new");
        for leftover in ["quire.db.new", "quire.db.new-wal", "quire.db.new-shm", "quire.db.new-journal"] {
            match fs::remove_file(home.join(leftover)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(DiskError::io(&new, e))?,
                _ => {}
            }
        }
        let fail = |e| DiskError::io(&new, e);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(fail)?;
        let made = (|| {
            let mut conn = Connection::open_with_flags(&new, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            // Nobody knows it yet, and it is synced once, as a whole, before it gets its name.
            conn.execute_batch("PRAGMA synchronous = OFF")?;
            let tx = conn.transaction()?;
            MIGRATIONS.iter().try_for_each(|statements| tx.execute_batch(statements))?;
            tx.pragma_update(None, "application_id", APPLICATION_ID)?;
            tx.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
            tx.commit()?;
            // Kept in the file's header.
            conn.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))
        })();
        self.by(made)?;
        file.sync_all().map_err(fail)?;
        fs::rename(&new, &self.path).map_err(fail)?;
        dir.sync_all().map_err(fail)?;
        Ok(())
    }

    fn migrate(&self, conn: &mut Connection, version: i64) -> Result<(), DatabaseError> {
        let rest = MIGRATIONS.get(version as usize..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(());
        }
        self.by((|| {
            let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            rest.iter().try_for_each(|statements| tx.execute_batch(statements))?;
            tx.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
            tx.commit()
        })())
    }

    /// Returns a connection that makes commits durable before it reports them.
    pub fn connect(&self) -> Result<Connection, DatabaseError> {
        self.by((|| {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let mut conn = Connection::open_with_flags(&self.path, flags)?;
            // SQLite's own waits grow to 100 ms, in which a busy host lets nobody else in.
            conn.busy_handler(Some(|tries: i32| {
                std::thread::sleep(Duration::from_millis(1));
                (tries as u128) < BUSY_MAX.as_millis()
            }))?;
            conn.execute_batch(
                "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;
                 PRAGMA cell_size_check = ON;",
            )?;
            conn.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
            conn.pragma_update_and_check(None, "journal_size_limit", 16 << 20, |_| Ok(()))?;
            Ok(conn)
        })())
    }

    /// Lets `f` read on a connection that nobody else uses meanwhile.
    pub fn read<T, E: From<DatabaseError>>(
        &self,
        f: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let conn = idle.map_or_else(|| self.connect(), Ok)?;
        let read = f(&conn);
        self.put_back(conn);
        read
    }

    fn put_back(&self, conn: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < 4 {
            idle.push(conn);
        }
    }

    /// Returns the damage that was seen earlier, as an error.
    pub fn still_sound(&self) -> Result<(), Damaged> {
        self.damaged.get().map_or(Ok(()), |damaged| Err(damaged.clone()))
    }

    fn is_full(&self) -> bool {
        let home = self.path.parent().unwrap_or(&self.path);
        statvfs(home).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < ROOM_MIN)
    }

    /// Turns what SQLite answered into our words.
    pub fn by<T>(&self, answer: rusqlite::Result<T>) -> Result<T, DatabaseError> {
        let e = match answer {
            Ok(value) => return Ok(value),
            Err(e) => e,
        };
        let kind = match e.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation) => {
                return Err(self.damage(e.to_string()).into());
            }
            Some(ErrorCode::DiskFull) => DiskKind::Full,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => DiskKind::Busy,
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
                DiskKind::Denied
            }
            // SQLite says "full" only where it lengthens a file by writing.
            Some(ErrorCode::SystemIoFailure) if self.is_full() => DiskKind::Full,
            Some(_) => DiskKind::Failed,
            // No answer of the disk's: a table or column is not as we made it.
            None => return Err(self.damage(e.to_string()).into()),
        };
        Err(DiskError { kind, path: self.path.clone(), why: e.to_string() }.into())
    }
}

/// Returns `path` as the URI by which SQLite takes no lock, reads no log and writes nothing.
fn immutable(path: &Path) -> OsString {
    let mut uri = b"file:".to_vec();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(byte),
            _ if byte.is_ascii_alphanumeric() => uri.push(byte),
            _ => uri.extend(format!("%{byte:02X}").bytes()),
        }
    }
    uri.extend(b"?immutable=1");
    OsString::from_vec(uri)
}
