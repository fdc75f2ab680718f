//! A pack in the making: contents one behind the other in one file, nothing between them.
//!
//! The file has its final name from the start. What makes a blob exist is its row in the database, which is written
//! only after the pack is durable, so a half-written pack needs no other name to be told from a whole one.

use super::{BlobError, Blobs, Place};
use crate::database::DiskError;
use quire_core::Hash;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// Held in memory of any content, in bytes; longer ones pass through.
const BUFFER: usize = 256 << 10;

/// Takes contents of any size with constant memory. Dropped before [`PackWriter::finish`], it leaves nothing.
#[derive(Debug)]
pub struct PackWriter {
    blobs: Blobs,
    /// Absent until there is something that was not stored already.
    file: Option<PackFile>,
    places: HashMap<Hash, Place>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct PackFile {
    id: u64,
    path: PathBuf,
    file: File,
    /// Bytes written.
    end: u64,
    kept: bool,
}

impl PackWriter {
    pub(super) fn new(blobs: Blobs) -> PackWriter {
        PackWriter { blobs, file: None, places: HashMap::new(), buffer: vec![] }
    }

    /// Adds what `content` gives until its end. Returns its hash and length; it is stored only after
    /// [`PackWriter::finish`]. After an error of the source's, further contents can still be added.
    pub fn add(&mut self, mut content: impl Read) -> Result<(Hash, u64), BlobError> {
        let start = self.file.as_ref().map_or(0, |pack| pack.end);
        let added = self.add_from(&mut content, start);
        if added.is_err()
            && let Some(pack) = &mut self.file
        {
            pack.cut_back(start)?;
        }
        added
    }

    fn add_from(&mut self, content: &mut impl Read, start: u64) -> Result<(Hash, u64), BlobError> {
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
        if self.places.contains_key(&hash) || self.blobs.has(&hash)? {
            // A long one was written before its hash was known.
            if let Some(pack) = &mut self.file {
                pack.cut_back(start)?;
            }
            return Ok((hash, bytes));
        }
        let pack = self.write()?;
        self.places.insert(hash, Place { pack, start, bytes });
        Ok((hash, bytes))
    }

    /// Writes the buffer at the pack's end. Returns the pack's id.
    fn write(&mut self) -> Result<u64, BlobError> {
        let pack = match &mut self.file {
            Some(pack) => pack,
            None => self.file.insert(PackFile::make(&self.blobs)?),
        };
        pack.file.write_all(&self.buffer).map_err(|e| DiskError::io(&pack.path, e))?;
        pack.end += self.buffer.len() as u64;
        Ok(pack.id)
    }

    /// Makes all contents durable and known. One sync of data and one of the directory, which is usually on the disk
    /// with the first already; none where there was nothing new.
    pub fn finish(mut self) -> Result<(), BlobError> {
        if let Some(mut pack) = self.file.take() {
            pack.file.sync_all().map_err(|e| DiskError::io(&pack.path, e))?;
            let dir = &self.blobs.dir;
            File::open(dir).and_then(|dir| dir.sync_all()).map_err(|e| DiskError::io(dir, e))?;
            pack.kept = true;
            self.blobs.index.lock().extend(self.places);
        }
        Ok(())
    }
}

impl PackFile {
    fn make(blobs: &Blobs) -> Result<PackFile, DiskError> {
        let random =
            getrandom::u64().map_err(|e| DiskError::io(&blobs.dir, io::Error::other(e.to_string())))?;
        let id = random >> 1; // SQLite's integers are signed.
        let path = blobs.path(id);
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = made.map_err(|e| DiskError::io(&path, e))?;
        Ok(PackFile { id, path, file, end: 0, kept: false })
    }

    fn cut_back(&mut self, start: u64) -> Result<(), DiskError> {
        let cut = self.file.set_len(start).and_then(|()| self.file.seek(SeekFrom::Start(start)));
        self.end = cut.map_err(|e| DiskError::io(&self.path, e))?;
        Ok(())
    }
}

impl Drop for PackFile {
    fn drop(&mut self) {
        if !self.kept {
            // What stays is harmless: no row leads to it.
            let _ = fs::remove_file(&self.path);
        }
    }
}
