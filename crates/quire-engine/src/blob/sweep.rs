//! Clearing away contents that nothing names any more.
//!
//! Others write meanwhile. Whoever puts contents holds a shared lock until they are in a pack, and marks a pack that
//! already had them as used just now; so under the lock alone a pack that was not used for [`GRACE`] is one that no event
//! yet to be written relies on. A row goes before its bytes, and what is moved is durable in its new place before its row
//! says so: whoever dies in the midst leaves only what the next sweep removes.

use super::{BlobError, Blobs};
use crate::database::DiskError;
use crate::holes;
use crate::rooted::lock_file;
use quire_core::Hash;
use rusqlite::{TransactionBehavior, params};
use rustix::fs::{FlockOperation, flock};
use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How long a pack stays whole after it was last used. From then to the event that names a content pass milliseconds; a
/// laptop may sleep in between.
pub const GRACE: Duration = Duration::from_secs(24 * 3600);

/// A pack of which less than half is in use is written anew, in eighths.
const USED_EIGHTHS: u64 = 4;

/// What was removed, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    pub blobs: u64,
    /// Space on the disk.
    pub bytes: u64,
}

struct Row {
    hash: Hash,
    start: u64,
    bytes: u64,
}

/// Opens what writers of packs hold shared, and a sweep alone.
pub(super) fn lock(dir: &Path, how: FlockOperation) -> io::Result<File> {
    let file = lock_file(&dir.with_extension("lock"))?;
    flock(&file, how)?;
    Ok(file)
}

impl Blobs {
    /// Removes what is not in `live` from packs that were not used since `before`; with `only_look` it only says what that
    /// would be. `watch` is told before each effect.
    pub fn sweep(
        &self,
        live: &HashSet<Hash>,
        before: SystemTime,
        only_look: bool,
        watch: &mut dyn FnMut(&'static str),
    ) -> Result<Swept, BlobError> {
        let mut rows = self.rows()?;
        let mut swept = Swept::default();
        let listed = fs::read_dir(&self.dir).map_err(|e| DiskError::io(&self.dir, e))?;
        for entry in listed {
            let name = entry.map_err(|e| DiskError::io(&self.dir, e))?.file_name();
            let pack =
                name.to_str().and_then(|name| u64::from_str_radix(name.strip_suffix(".pack")?, 16).ok());
            let Some(pack) = pack else { continue };
            let rows = rows.remove(&pack).unwrap_or_default();
            let (used, dead): (Vec<Row>, Vec<Row>) =
                rows.into_iter().partition(|row| live.contains(&row.hash));
            // A pack at a time, so that writers wait for no more than that.
            let lock =
                lock(&self.dir, FlockOperation::LockExclusive).map_err(|e| DiskError::io(&self.dir, e))?;
            let done = self.sweep_pack(pack, &used, &dead, before, only_look, watch)?;
            drop(lock);
            swept.blobs += done.blobs;
            swept.bytes += done.bytes;
        }
        Ok(swept)
    }

    fn rows(&self) -> Result<HashMap<u64, Vec<Row>>, BlobError> {
        let mut rows: HashMap<u64, Vec<Row>> = HashMap::new();
        self.database.read(|conn| {
            self.database.by((|| {
                let mut all = conn.prepare("SELECT pack, hash, start, bytes FROM blob")?;
                let mut all = all.query([])?;
                while let Some(row) = all.next()? {
                    let found = Row { hash: Hash(row.get(1)?), start: row.get(2)?, bytes: row.get(3)? };
                    rows.entry(row.get(0)?).or_default().push(found);
                }
                Ok(())
            })())
        })?;
        Ok(rows)
    }

    fn sweep_pack(
        &self,
        pack: u64,
        used: &[Row],
        dead: &[Row],
        before: SystemTime,
        only_look: bool,
        watch: &mut dyn FnMut(&'static str),
    ) -> Result<Swept, BlobError> {
        let path = self.path(pack);
        let failed = |e| DiskError::io(&path, e);
        let meta = match fs::metadata(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Swept::default()),
            meta => meta.map_err(failed)?,
        };
        let kept: u64 = used.iter().map(|row| row.bytes).sum();
        let mostly_used = kept.saturating_mul(8) >= meta.len().saturating_mul(USED_EIGHTHS);
        if meta.modified().map_err(failed)? >= before || dead.is_empty() && mostly_used && !used.is_empty() {
            return Ok(Swept::default());
        }
        let all = Swept { blobs: dead.len() as u64, bytes: meta.blocks() * 512 };
        let swept = match (used.is_empty(), mostly_used) {
            (true, _) => all,
            (false, true) => Swept { bytes: 0, ..all },
            (false, false) => Swept { bytes: all.bytes.saturating_sub(kept), ..all },
        };
        if only_look {
            return Ok(swept);
        }
        let moved =
            if used.is_empty() || mostly_used { None } else { Some(self.rewrite(&path, used, watch)?) };
        watch("forget rows");
        self.move_rows(pack, used, dead, moved.as_ref())?;
        if used.is_empty() || moved.is_some() {
            watch("remove a pack");
            fs::remove_file(&path).map_err(failed)?;
        }
        Ok(swept)
    }

    /// Writes what is in use into a pack of its own, durable when this returns: its id, and where each of `used` begins.
    fn rewrite(
        &self,
        from: &Path,
        used: &[Row],
        watch: &mut dyn FnMut(&'static str),
    ) -> Result<(u64, Vec<u64>), BlobError> {
        watch("write a pack anew");
        let random =
            getrandom::u64().map_err(|e| DiskError::io(&self.dir, io::Error::other(e.to_string())))?;
        let id = random >> 1; // SQLite's integers are signed.
        let path = self.path(id);
        let source = File::open(from).map_err(|e| DiskError::io(from, e))?;
        let written = (|| {
            let mut made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            let (mut at, mut starts, mut buffer) = (0, vec![], vec![0; 256 << 10]);
            for row in used {
                starts.push(at);
                let mut done = 0;
                while done < row.bytes {
                    let part = (row.bytes - done).min(buffer.len() as u64) as usize;
                    source.read_exact_at(&mut buffer[..part], row.start + done)?;
                    holes::write(&mut made, &buffer[..part])?;
                    done += part as u64;
                    at += part as u64;
                }
            }
            made.set_len(at)?;
            made.sync_all()?;
            File::open(&self.dir)?.sync_all()?;
            Ok(starts)
        })();
        match written {
            Ok(starts) => Ok((id, starts)),
            Err(e) => {
                // Where this fails the next sweep finds a pack that no row leads to.
                let _ = fs::remove_file(&path);
                Err(DiskError::io(&path, e).into())
            }
        }
    }

    fn move_rows(
        &self,
        pack: u64,
        used: &[Row],
        dead: &[Row],
        moved: Option<&(u64, Vec<u64>)>,
    ) -> Result<(), BlobError> {
        let database = &self.database;
        let mut conn = database.connect()?;
        database.by((|| {
            let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                // Only while they lead here: who found a pack gone may have put the content elsewhere since.
                let mut forget = tx.prepare("DELETE FROM blob WHERE hash = ? AND pack = ?")?;
                dead.iter().try_for_each(|row| forget.execute(params![row.hash.0, pack]).map(drop))?;
                if let Some((id, starts)) = moved {
                    let sql = "UPDATE blob SET pack = ?, start = ? WHERE hash = ? AND pack = ?";
                    let mut update = tx.prepare(sql)?;
                    for (row, start) in used.iter().zip(starts) {
                        update.execute(params![id, start, row.hash.0, pack])?;
                    }
                }
            }
            tx.commit()
        })())?;
        Ok(())
    }
}
