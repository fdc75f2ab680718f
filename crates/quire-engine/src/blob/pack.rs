//! Packs: contents one behind the other in a file, nothing between them.
//!
//! A process goes on in the pack that it began: lengthening a file and syncing it costs a tenth of making one and
//! syncing its directory too. What makes a blob exist is its row in the database, which is written only after its bytes
//! are durable; so the tail of a pack whose writer died is harmless, and no pack needs a second name while it grows.

use super::{BlobError, Blobs, Place, sweep};
use crate::database::DiskError;
use crate::holes;
use crate::snapshot::hash_of;
use quire_core::Hash;
use rustix::fs::FlockOperation;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// Held in memory of any content, in bytes; longer ones pass through.
const BUFFER: usize = 256 << 10;

/// A pack of this length or more is not gone on in, so that clearing up can remove what is old.
const PACK_FULL: u64 = 64 << 20;

/// Packs that this process has begun and nobody is writing to just now.
#[derive(Debug, Default)]
pub(super) struct Begun(Mutex<Vec<Pack>>);

/// Takes contents of any size with constant memory. Dropped before [`PackWriter::finish`], it leaves nothing.
#[derive(Debug)]
pub struct PackWriter {
    blobs: Blobs,
    /// Whether anything is stored; else it is only hashed.
    keeps: bool,
    /// Absent until there is something that was not stored already.
    pack: Option<Pack>,
    places: HashMap<Hash, Place>,
    /// Lengths of packs that contents were found in; 0 for one that is gone.
    lengths: HashMap<u64, u64>,
    buffer: Vec<u8>,
    /// Held from the first content on, so that nothing that was found is swept away meanwhile.
    lock: Option<File>,
}

#[derive(Debug)]
struct Pack {
    id: u64,
    path: PathBuf,
    file: File,
    /// Bytes that are durable and may be in use.
    kept: u64,
    /// Bytes written.
    end: u64,
    /// Its name is durable.
    named: bool,
}

impl PackWriter {
    pub(super) fn new(blobs: Blobs, keeps: bool) -> PackWriter {
        PackWriter {
            blobs,
            keeps,
            pack: None,
            places: HashMap::new(),
            lengths: HashMap::new(),
            buffer: vec![],
            lock: None,
        }
    }

    /// Adds what `content` gives until its end. Returns its hash and length; it is stored only after
    /// [`PackWriter::finish`]. After an error of the source's, further contents can still be added.
    pub fn add(&mut self, mut content: impl Read) -> Result<(Hash, u64), BlobError> {
        if !self.keeps {
            let mut counted = Counted { from: content, bytes: 0 };
            let hash = hash_of(&mut counted).map_err(BlobError::Source)?;
            return Ok((hash, counted.bytes));
        }
        if self.lock.is_none() {
            let dir = &self.blobs.dir;
            let lock = sweep::lock(dir, FlockOperation::LockShared);
            self.lock = Some(lock.map_err(|e| DiskError::io(dir, e))?);
        }
        let before = self.pack.as_ref().map(|pack| pack.end);
        let added = self.add_from(&mut content);
        // What failed leaves a part behind. A long content that turned out to be here already leaves all of it.
        if !matches!(added, Ok((_, _, true)))
            && let Some(pack) = &mut self.pack
        {
            pack.cut_back(before.unwrap_or(pack.kept))?;
        }
        added.map(|(hash, bytes, _)| (hash, bytes))
    }

    /// Returns also whether the content is in our pack now and was not stored before.
    fn add_from(&mut self, content: &mut impl Read) -> Result<(Hash, u64, bool), BlobError> {
        let mut hasher = blake3::Hasher::new();
        let mut bytes = 0;
        loop {
            self.buffer.clear();
            let got = content
                .by_ref()
                .take(BUFFER as u64)
                .read_to_end(&mut self.buffer)
                .map_err(BlobError::Source)?;
            hasher.update(&self.buffer);
            bytes += got as u64;
            if got < BUFFER {
                break;
            }
            self.write()?;
        }
        let hash = Hash(*hasher.finalize().as_bytes());
        if self.places.contains_key(&hash) || self.is_stored(&hash)? {
            return Ok((hash, bytes, false));
        }
        let (pack, end) = self.write()?;
        self.places.insert(hash, Place { pack, start: end - bytes, bytes });
        Ok((hash, bytes, true))
    }

    fn is_stored(&mut self, hash: &Hash) -> Result<bool, BlobError> {
        let Some(place) = self.blobs.place(hash)? else { return Ok(false) };
        let length = match self.lengths.get(&place.pack) {
            Some(length) => *length,
            None => {
                let path = self.blobs.path(place.pack);
                let length = match fs::metadata(&path) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
                    found => {
                        let found = found.map_err(|e| DiskError::io(&path, e))?;
                        // One that cannot be marked as used may be swept away, and is not relied on.
                        if mark_used(&path, &found).is_ok() { found.len() } else { 0 }
                    }
                };
                self.lengths.insert(place.pack, length);
                length
            }
        };
        // A length that was looked up before our own pack grew only makes us store something twice.
        Ok(place.start.checked_add(place.bytes).is_some_and(|end| end <= length))
    }

    /// Writes the buffer at the pack's end. Returns the pack's id and its new end.
    fn write(&mut self) -> Result<(u64, u64), BlobError> {
        let pack = match &mut self.pack {
            Some(pack) => pack,
            None => self.pack.insert(Pack::begun_or_new(&self.blobs)?),
        };
        holes::write(&mut pack.file, &self.buffer).map_err(|e| DiskError::io(&pack.path, e))?;
        pack.end += self.buffer.len() as u64;
        Ok((pack.id, pack.end))
    }

    /// Makes all contents durable and known: one sync of data, and one of the directory where the pack is new; none
    /// where all was stored already.
    pub fn finish(mut self) -> Result<(), BlobError> {
        if let Some(pack) = &mut self.pack
            && !self.places.is_empty()
        {
            if pack.end > pack.kept {
                // It may end in a hole.
                pack.file.set_len(pack.end).map_err(|e| DiskError::io(&pack.path, e))?;
                pack.file.sync_data().map_err(|e| DiskError::io(&pack.path, e))?;
            }
            if !pack.named {
                let dir = &self.blobs.dir;
                File::open(dir).and_then(|dir| dir.sync_all()).map_err(|e| DiskError::io(dir, e))?;
                pack.named = true;
            }
            pack.kept = pack.end;
            self.blobs.index.lock().extend(self.places.drain());
        }
        Ok(()) // What is left to do, `drop` does, as for one that was given up.
    }
}

/// Counts what is read.
struct Counted<R> {
    from: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let got = self.from.read(into)?;
        self.bytes += got as u64;
        Ok(got)
    }
}

/// Marks a pack as used just now; a mark of the last hour is as good.
fn mark_used(path: &Path, meta: &fs::Metadata) -> io::Result<()> {
    let now = SystemTime::now();
    match now.duration_since(meta.modified()?) {
        Ok(age) if age < sweep::GRACE / 24 => Ok(()),
        _ => File::options().write(true).open(path)?.set_modified(now),
    }
}

impl Drop for PackWriter {
    fn drop(&mut self) {
        let Some(mut pack) = self.pack.take() else { return };
        if !pack.named {
            // Where this fails a file stays that no row leads to.
            let _ = fs::remove_file(&pack.path);
            return;
        }
        // Beyond `kept` stands what was given up, or what a failed sync left in doubt: that pack is not gone on in.
        let clean = pack.end == pack.kept;
        if pack.cut_back(pack.kept).is_ok() && clean && pack.end < PACK_FULL {
            self.blobs.begun.0.lock().unwrap_or_else(PoisonError::into_inner).push(pack);
        }
    }
}

impl Pack {
    /// Returns a pack that nobody else writes to, and that still stands where readers will look for it.
    fn begun_or_new(blobs: &Blobs) -> Result<Pack, DiskError> {
        let begun = blobs.begun.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(pack) = begun
            && let (Ok(open), Ok(named)) = (pack.file.metadata(), fs::metadata(&pack.path))
            && (open.dev(), open.ino(), open.len()) == (named.dev(), named.ino(), pack.end)
        {
            return Ok(pack);
        }
        let random =
            getrandom::u64().map_err(|e| DiskError::io(&blobs.dir, io::Error::other(e.to_string())))?;
        let id = random >> 1; // SQLite's integers are signed.
        let path = blobs.path(id);
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = made.map_err(|e| DiskError::io(&path, e))?;
        Ok(Pack { id, path, file, kept: 0, end: 0, named: false })
    }

    fn cut_back(&mut self, end: u64) -> Result<(), DiskError> {
        if self.file.metadata().map_err(|e| DiskError::io(&self.path, e))?.len() != end {
            self.file.set_len(end).map_err(|e| DiskError::io(&self.path, e))?;
        }
        self.file.seek(SeekFrom::Start(end)).map_err(|e| DiskError::io(&self.path, e))?;
        self.end = end;
        Ok(())
    }
}
