//! Blobs: content by its BLAKE3 hash, for whatever is too large for the log: files, snapshots, whole outputs.
//!
//! What is put together lies together, in one file, a pack: one sync of data however many blobs there are
//! (`blob/pack.rs`). Where a blob lies is told by a row in `quire.db` and by nothing else, and that row is written in
//! the same transaction as the first batch of events that this process writes afterwards. So an event never names a
//! blob that cannot be found, putting costs no commit of its own, and any process finds a blob by one look-up
//! instead of reading every pack's contents list. A pack whose rows were never written, because its process died, is
//! harmless: nothing names it, and clearing up removes it.

mod pack;
mod sweep;

pub use pack::PackWriter;
pub use sweep::{GRACE, Swept};

use crate::database::{Damaged, Database, DatabaseError, DiskError};
use crate::holes::Map;
use quire_core::Hash;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where a blob lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pack: u64,
    start: u64,
    bytes: u64,
}

/// Places that are not in the database yet. The content is durable already.
#[derive(Debug, Default)]
pub(crate) struct Index(Mutex<HashMap<Hash, Place>>);

impl Index {
    fn lock(&self) -> MutexGuard<'_, HashMap<Hash, Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Writes all rows that are waiting into the caller's transaction, and returns them.
    pub fn write(&self, database: &Database, conn: &Connection) -> Result<Vec<(Hash, Place)>, DatabaseError> {
        let waiting: Vec<_> = self.lock().iter().map(|(hash, place)| (*hash, *place)).collect();
        database.by((|| {
            // Put by two processes at once, it is there twice and one of them is as good as the other; a row that
            // led to a pack that is gone or cut is replaced.
            let sql = "INSERT OR REPLACE INTO blob (hash, pack, start, bytes) VALUES (?, ?, ?, ?)";
            let mut insert = conn.prepare_cached(sql)?;
            waiting.iter().try_for_each(|(hash, place)| {
                insert.execute(params![hash.0, place.pack, place.start, place.bytes]).map(drop)
            })
        })())?;
        Ok(waiting)
    }

    /// Forgets the rows that are now committed.
    pub fn written(&self, rows: &[(Hash, Place)]) {
        let mut waiting = self.lock();
        for (hash, place) in rows {
            // Put again meanwhile, because that place was seen to be gone, it waits on.
            if waiting.get(hash) == Some(place) {
                waiting.remove(hash);
            }
        }
    }
}

/// Why a blob is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("The content {0} is not in quire's store")]
    Missing(Hash),
    #[error("The content {blob} in {} is damaged: {what}", pack.display())]
    Spoilt { blob: Hash, pack: PathBuf, what: &'static str },
    /// The reader that was to be stored failed, not the store.
    #[error("What was to be stored cannot be read: {0}")]
    Source(io::Error),
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

impl From<DatabaseError> for BlobError {
    fn from(e: DatabaseError) -> BlobError {
        match e {
            DatabaseError::Disk(e) => BlobError::Disk(e),
            DatabaseError::Damaged(e) => BlobError::Damaged(e),
        }
    }
}

/// The blobs of one home. Clones are the same.
#[derive(Clone, Debug)]
pub struct Blobs {
    dir: Arc<Path>,
    database: Arc<Database>,
    index: Arc<Index>,
    begun: Arc<pack::Begun>,
}

impl Blobs {
    pub(crate) fn of(home: &Path, database: Arc<Database>, index: Arc<Index>) -> Result<Blobs, DiskError> {
        let dir = home.join("blobs");
        let made = fs::DirBuilder::new().mode(0o700).create(&dir);
        match made.and_then(|()| File::open(home)?.sync_all()) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(DiskError::io(&dir, e)),
            _ => Ok(Blobs { dir: dir.into(), database, index, begun: Arc::default() }),
        }
    }

    /// Stores `contents` in one pack, durable when this returns; what is there already is not written again. Returns
    /// their hashes in order.
    pub fn put(&self, contents: &[&[u8]]) -> Result<Vec<Hash>, BlobError> {
        let mut pack = self.pack();
        let hashes =
            contents.iter().map(|content| Ok(pack.add(*content)?.0)).collect::<Result<_, BlobError>>()?;
        pack.finish()?;
        Ok(hashes)
    }

    /// Stores what `file` holds from its present position on. Returns its hash and length.
    pub fn put_file(&self, file: &File) -> Result<(Hash, u64), BlobError> {
        let mut pack = self.pack();
        let put = pack.add(file)?;
        pack.finish()?;
        Ok(put)
    }

    /// Begins a pack, for contents that are read one after the other.
    pub fn pack(&self) -> PackWriter {
        PackWriter::new(self.clone(), true)
    }

    /// Returns a pack that hashes what it is given and stores nothing.
    pub fn hashes(&self) -> PackWriter {
        PackWriter::new(self.clone(), false)
    }

    /// Returns the whole content, which is what was put or an error.
    pub fn get(&self, blob: &Hash) -> Result<Vec<u8>, BlobError> {
        let reader = self.open(blob)?;
        let mut content =
            vec![0; usize::try_from(reader.len()).map_err(|_| reader.spoilt("it is too long"))?];
        let read = reader.file.read_exact_at(&mut content, reader.place.start);
        read.map_err(|e| DiskError::io(&reader.path, e))?;
        if Hash::of(&content) != *blob {
            return Err(reader.spoilt("its bytes are not those that were stored"));
        }
        Ok(content)
    }

    /// Opens a blob of any size for reading from front to back. A spoilt one is told by an error in place of its end,
    /// so nothing that was read may be used before the end has come.
    pub fn open(&self, blob: &Hash) -> Result<BlobReader, BlobError> {
        let mut place = self.place(blob)?.ok_or(BlobError::Missing(*blob))?;
        let (path, file) = loop {
            let path = self.path(place.pack);
            match File::open(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => match self.place(blob)? {
                    // It was moved between the two looks.
                    Some(now) if now != place => place = now,
                    _ => return Err(BlobError::Missing(*blob)),
                },
                file => break (path.clone(), file.map_err(|e| DiskError::io(&path, e))?),
            }
        };
        let end = place.start.checked_add(place.bytes);
        let whole = file.metadata().map_err(|e| DiskError::io(&path, e))?.len();
        let (map, hasher) = (Map::default(), blake3::Hasher::new());
        let reader = BlobReader { blob: *blob, file, path, place, read: 0, map, hasher };
        if end.is_none_or(|end| end > whole) {
            return Err(reader.spoilt("its file is cut short"));
        }
        Ok(reader)
    }

    /// Returns whether the content is here, whole as far as its length tells.
    pub fn has(&self, blob: &Hash) -> Result<bool, BlobError> {
        match self.open(blob) {
            Ok(_) => Ok(true),
            Err(BlobError::Missing(_) | BlobError::Spoilt { .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn place(&self, blob: &Hash) -> Result<Option<Place>, DatabaseError> {
        if let Some(place) = self.index.lock().get(blob) {
            return Ok(Some(*place));
        }
        self.database.read(|conn| {
            let sql = "SELECT pack, start, bytes FROM blob WHERE hash = ?";
            self.database.by(conn.prepare_cached(sql).and_then(|mut select| {
                select
                    .query_row([blob.0], |row| {
                        Ok(Place { pack: row.get(0)?, start: row.get(1)?, bytes: row.get(2)? })
                    })
                    .optional()
            }))
        })
    }

    fn path(&self, pack: u64) -> PathBuf {
        self.dir.join(format!("{pack:016x}.pack"))
    }
}

/// A blob that is being read.
#[derive(Debug)]
pub struct BlobReader {
    blob: Hash,
    file: File,
    path: PathBuf,
    place: Place,
    read: u64,
    map: Map,
    hasher: blake3::Hasher,
}

impl BlobReader {
    /// Returns the blob's length in bytes.
    #[allow(clippy::len_without_is_empty)] // An empty blob is one like any other.
    pub fn len(&self) -> u64 {
        self.place.bytes
    }

    fn spoilt(&self, what: &'static str) -> BlobError {
        BlobError::Spoilt { blob: self.blob, pack: self.path.clone(), what }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.place.bytes - self.read;
        let most = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if most > 0 {
            let got = self.map.read(&self.file, self.place.start + self.read, &mut buf[..most])?;
            if got == 0 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, self.spoilt("its file is cut short")));
            }
            self.hasher.update(&buf[..got]);
            self.read += got as u64;
            return Ok(got);
        }
        if left == 0 && Hash(*self.hasher.finalize().as_bytes()) != self.blob {
            let e = self.spoilt("its bytes are not those that were stored");
            return Err(io::Error::new(io::ErrorKind::InvalidData, e));
        }
        Ok(0)
    }
}
