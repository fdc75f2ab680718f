//! A whole task as one file, for another machine or the report of a fault: its log and the contents that its versions name, with
//! secrets masked. What is read back is a record: it can be looked at as any task, and never be gone on with, accepted or undone,
//! since neither its folder nor its sandboxes came with it.
//!
//! ```text
//! {"quire_task":1,"task":7,"events":812,"blobs":40}      a line of JSON
//! {"seq":1,"at_ms":...,"event":{...}}                    so many lines
//! {"blob":"HASH","bytes":N}                              so many times, each followed by N bytes and a line's end
//! {"end":"HASH"}                                         of all bytes before this line
//! ```
//!
//! A file that is read back is hostile until all of it was: nothing of it counts before its end is seen to be right, its log folds,
//! and every content is what its name says. It gets a number of its own, so that nothing is ever overwritten.

use crate::beside;
use crate::masked;
use crate::quire::{EngineError, Quire};
use crate::work::{hidden, load_snapshot};
use quire_core::change::Snapshot;
use quire_core::secret::Masks;
use quire_core::{Event, Hash, Logged, Node, Task, diff};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const FORMAT: u32 = 1;
/// Longest line of a file that is read, all lines of its log together, and its largest content.
const LINE_MAX: u64 = 64 << 20;
const LOG_MAX: u64 = 1 << 30;
const BLOB_MAX: u64 = 8 << 30;
/// Texts up to this size are looked through for secrets.
const MASKED_BYTES_MAX: u64 = 16 << 20;

#[derive(Debug, thiserror::Error)]
pub enum ParcelError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("{} is there already.", path.display())]
    There { path: PathBuf },
    #[error("`{}` cannot be used: {why}.", path.display())]
    File { path: PathBuf, why: io::Error },
    #[error("{} is not a task that quire wrote whole: {what}.", path.display())]
    Broken { path: PathBuf, what: String },
}

/// What was written or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Parcel {
    pub task: u64,
    pub events: u64,
    pub blobs: u64,
    /// Texts in which secrets were masked.
    pub masked: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    quire_task: u32,
    task: u64,
    events: u64,
    blobs: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BlobHead {
    blob: Hash,
    bytes: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    end: Hash,
}

impl Quire {
    /// Writes a task as one file, which must not be there yet.
    pub fn export(&self, id: u64, path: &Path) -> Result<Parcel, ParcelError> {
        let task = self.task(id)?;
        let mut packing = Packing {
            quire: self,
            task: &task,
            masks: self.masks_of(&task)?,
            names: BTreeMap::new(),
            blobs: BTreeMap::new(),
            masked: 0,
        };
        let mut log = vec![];
        let events = self.events(id, 0)?;
        for logged in &events {
            packing.contents(&logged.event)?;
        }
        for logged in events {
            log.push(packing.event(&logged)?);
        }
        let failed = |why| ParcelError::File { path: path.to_owned(), why };
        let file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                return Err(ParcelError::There { path: path.to_owned() });
            }
            file => file.map_err(failed)?,
        };
        let done = packing.write(id, &log, file).map_err(failed);
        if done.is_err() {
            let _ = fs::remove_file(path);
        }
        done
    }

    fn masks_of(&self, task: &Task) -> Result<Masks, EngineError> {
        let frozen = self.frozen(task)?;
        let views: Vec<_> =
            task.charter.folders.iter().zip(&frozen).map(|(at, base)| base.view(at)).collect();
        let hide = hidden(&task.charter.sandbox.hide, self.home());
        let around = beside::around(&task.charter.folders, &frozen, &hide);
        Ok(masked::masks(&views, &around, &hide, &[]))
    }

    /// Reads a task back as a record, under a new number.
    pub fn import(&self, path: &Path) -> Result<Parcel, ParcelError> {
        let failed = |why| ParcelError::File { path: path.to_owned(), why };
        let broken = |what: String| ParcelError::Broken { path: path.to_owned(), what };
        let file = File::open(path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(broken("it is no file".into()));
        }
        let mut reader = Unpacking { reader: BufReader::new(file), hasher: blake3::Hasher::new() };
        let head: Head = reader.line(LINE_MAX).map_err(&broken)?;
        if head.quire_task != FORMAT {
            return Err(broken(format!("its format is {}, this quire reads {FORMAT}", head.quire_task)));
        }
        let (mut log, mut room): (Vec<Logged>, u64) = (vec![], LOG_MAX);
        let mut task: Option<Task> = None;
        for _ in 0..head.events {
            let logged: Logged = reader.counted_line(&mut room).map_err(&broken)?;
            let refused = |refusal: quire_core::Refusal| broken(refusal.to_string());
            match &mut task {
                None => task = Some(Task::open(head.task, &logged).map_err(refused)?),
                Some(task) => task.apply(&logged).map_err(refused)?,
            }
            log.push(logged);
        }
        let task = task.ok_or_else(|| broken("it has no events".into()))?;
        let mut pack = self.store().blobs().pack();
        for _ in 0..head.blobs {
            let BlobHead { blob, bytes } = reader.line(LINE_MAX).map_err(&broken)?;
            if bytes > BLOB_MAX {
                return Err(broken("a content is too long".into()));
            }
            let mut content = Content { from: &mut reader, left: bytes };
            let (is, length) = pack.add(&mut content).map_err(EngineError::from)?;
            if is != blob || length != bytes {
                return Err(broken(format!("the content {} is another one", blob.short())));
            }
            reader.newline().map_err(&broken)?;
        }
        let due = Hash(*reader.hasher.finalize().as_bytes());
        let End { end } = reader.line(LINE_MAX).map_err(&broken)?;
        if end != due || !reader.reader.fill_buf().map_err(failed)?.is_empty() {
            return Err(broken("it does not end as it was written".into()));
        }
        pack.finish().map_err(EngineError::from)?;
        for version in &task.versions {
            load_snapshot(self.store(), &version.snapshot)
                .map_err(|why| broken(format!("version {}: {why}", version.number)))?;
        }
        log.push(Logged {
            seq: task.seq + 1,
            at_ms: task.last_ms.max(1),
            event: Event::Imported { task: head.task },
        });
        let events = log.len() as u64 - 1;
        let made = self.store().import(log).wait().map_err(EngineError::from)?;
        Ok(Parcel { task: made.task, events, blobs: head.blobs, masked: 0 })
    }
}

/// What is being written.
struct Packing<'a> {
    quire: &'a Quire,
    task: &'a Task,
    masks: Masks,
    /// The name of each content as the log has it, and as it is once secrets in it are masked.
    names: BTreeMap<Hash, Hash>,
    /// Where each of those contents is.
    blobs: BTreeMap<Hash, Held>,
    masked: u64,
}

enum Held {
    /// In the store.
    Stored,
    Here(Vec<u8>),
}

impl Packing<'_> {
    /// Takes in the contents that an event names.
    fn contents(&mut self, event: &Event) -> Result<(), EngineError> {
        let snapshots: Vec<Hash> = match event {
            Event::Sealed { snapshot, .. }
            | Event::Presented { snapshot, .. }
            | Event::Edited { snapshot, .. } => vec![*snapshot],
            Event::Accepting { snapshot, ignored, taken, merged, .. } => {
                [Some(*snapshot), *ignored, *taken, *merged].into_iter().flatten().collect()
            }
            Event::Returned { outcome, .. } => {
                outcome.whole.iter().chain(outcome.images.iter().map(|image| &image.blob)).for_each(|blob| {
                    let content = self.quire.store().blobs().get(blob).ok();
                    self.take(*blob, content);
                });
                return Ok(());
            }
            Event::Checked { proof, .. } => {
                for blob in proof.whole.iter().chain(proof.shots.iter().map(|shot| &shot.image.blob)) {
                    let content = self.quire.store().blobs().get(blob).ok();
                    self.take(*blob, content);
                }
                return Ok(());
            }
            _ => return Ok(()),
        };
        for hash in snapshots {
            if !self.names.contains_key(&hash) {
                self.snapshot(hash)?;
            }
        }
        Ok(())
    }

    /// Takes in a snapshot with its files, as they were and as they are.
    fn snapshot(&mut self, hash: Hash) -> Result<(), EngineError> {
        let Ok(mut snapshot) = load_snapshot(self.quire.store(), &hash) else { return Ok(()) };
        let frozen = self.quire.frozen(self.task)?;
        for entry in &mut snapshot.entries {
            let (was, now) = self.quire.contents(&frozen, entry, u64::MAX)?;
            for (node, content) in [(&mut entry.was, was), (&mut entry.now, now)] {
                if let Some(Node::File { blob, bytes, .. }) = node {
                    let content = content.filter(|content| Hash::of(content) == *blob);
                    *bytes = self.take(*blob, content).unwrap_or(*bytes);
                    *blob = self.names.get(blob).copied().unwrap_or(*blob);
                }
            }
        }
        let blob = Snapshot { entries: snapshot.entries }.to_blob();
        let name = Hash::of(&blob);
        self.names.insert(hash, name);
        self.blobs.insert(name, Held::Here(blob));
        Ok(())
    }

    /// Takes in a content, and returns its length where secrets in it were masked.
    fn take(&mut self, blob: Hash, content: Option<Vec<u8>>) -> Option<u64> {
        if let Some(name) = self.names.get(&blob) {
            return match self.blobs.get(name) {
                Some(Held::Here(content)) => Some(content.len() as u64),
                _ => None,
            };
        }
        let content = content?;
        let text = std::str::from_utf8(&content)
            .ok()
            .filter(|text| text.len() as u64 <= MASKED_BYTES_MAX && !diff::is_binary(text.as_bytes()));
        let masked = text.and_then(|text| self.masks.mask(text));
        let stored = self.quire.store().blobs().has(&blob).unwrap_or(false);
        let held = match masked {
            Some(masked) => {
                self.masked += 1;
                Held::Here(masked.into_bytes())
            }
            None if stored => Held::Stored,
            None => Held::Here(content),
        };
        let (name, bytes) = match &held {
            Held::Stored => (blob, None),
            Held::Here(content) => (Hash::of(content), Some(content.len() as u64)),
        };
        self.names.insert(blob, name);
        self.blobs.insert(name, held);
        bytes
    }

    /// Returns the line of an event, in which secrets are masked and contents have their new names.
    fn event(&mut self, logged: &Logged) -> Result<String, EngineError> {
        let failed = |why: serde_json::Error| EngineError::Home {
            path: self.quire.home().to_owned(),
            why: io::Error::from(why),
        };
        let mut value = serde_json::to_value(logged).map_err(failed)?;
        let mut masked = 0;
        rewrite(&mut value, &mut |text| {
            if let Some(name) = Hash::parse(text).and_then(|hash| self.names.get(&hash)) {
                return Some(name.to_string());
            }
            let new = self.masks.mask(text);
            masked += u64::from(new.is_some());
            new
        });
        let line = value.to_string();
        self.masked += masked;
        // A mask must not make it another kind of event.
        serde_json::from_str::<Logged>(&line).map_err(failed)?;
        Ok(line)
    }

    fn write(self, task: u64, log: &[String], file: File) -> io::Result<Parcel> {
        let mut out = Hashing { out: BufWriter::new(file), hasher: blake3::Hasher::new() };
        let (events, blobs) = (log.len() as u64, self.blobs.len() as u64);
        out.line(&serde_json::to_string(&Head { quire_task: FORMAT, task, events, blobs })?)?;
        for line in log {
            out.line(line)?;
        }
        for (name, held) in &self.blobs {
            match held {
                Held::Here(content) => {
                    out.line(&serde_json::to_string(&BlobHead {
                        blob: *name,
                        bytes: content.len() as u64,
                    })?)?;
                    out.write_all(content)?;
                }
                Held::Stored => {
                    let mut content = self.quire.store().blobs().open(name).map_err(io::Error::other)?;
                    out.line(&serde_json::to_string(&BlobHead { blob: *name, bytes: content.len() })?)?;
                    io::copy(&mut content, &mut out)?;
                }
            }
            out.write_all(b"\n")?;
        }
        let end = Hash(*out.hasher.finalize().as_bytes());
        out.line(&serde_json::to_string(&End { end })?)?;
        out.out.flush()?;
        out.out.get_ref().sync_all()?;
        Ok(Parcel { task, events, blobs, masked: self.masked })
    }
}

fn rewrite(value: &mut Value, with: &mut impl FnMut(&str) -> Option<String>) {
    match value {
        Value::String(text) => {
            if let Some(new) = with(text) {
                *text = new;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| rewrite(value, with)),
        Value::Object(fields) => fields.values_mut().for_each(|value| rewrite(value, with)),
        _ => {}
    }
}

/// A file of which all that was written is hashed.
struct Hashing {
    out: BufWriter<File>,
    hasher: blake3::Hasher,
}

impl Hashing {
    fn line(&mut self, line: &str) -> io::Result<()> {
        self.write_all(line.as_bytes())?;
        self.write_all(b"\n")
    }
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A file of which all that was read is hashed.
struct Unpacking {
    reader: BufReader<File>,
    hasher: blake3::Hasher,
}

impl Unpacking {
    fn line<T: for<'d> Deserialize<'d>>(&mut self, most: u64) -> Result<T, String> {
        self.counted_line(&mut most.clone())
    }

    /// Reads a line of JSON of at most so many bytes, which are taken off.
    fn counted_line<T: for<'d> Deserialize<'d>>(&mut self, room: &mut u64) -> Result<T, String> {
        let mut line = vec![];
        let most = (*room).min(LINE_MAX);
        let read =
            (&mut self.reader).take(most).read_until(b'\n', &mut line).map_err(|why| why.to_string())?;
        if line.last() != Some(&b'\n') {
            return Err(if read as u64 == most { "a line is too long" } else { "it is cut short" }.to_owned());
        }
        *room -= read as u64;
        self.hasher.update(&line);
        serde_json::from_slice(&line).map_err(|why| why.to_string())
    }

    fn newline(&mut self) -> Result<(), String> {
        let mut byte = [0];
        self.reader.read_exact(&mut byte).map_err(|_| "it is cut short".to_owned())?;
        self.hasher.update(&byte);
        if byte == *b"\n" { Ok(()) } else { Err("a content does not end where it says".to_owned()) }
    }
}

/// So many bytes of what is read.
struct Content<'a> {
    from: &'a mut Unpacking,
    left: u64,
}

impl Read for Content<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let read = self.from.reader.read(&mut into[..most])?;
        self.from.hasher.update(&into[..read]);
        self.left -= read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
