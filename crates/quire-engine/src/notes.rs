//! Notes of the person's on a version: finding what a note is to be anchored to, sending them, and what became of each.

use crate::decide::path_of;
use crate::freeze::Frozen;
use crate::quire::{COMPARED_BYTES_MAX, Content, EngineError, Quire};
use crate::snapshot::{self, SnapshotError};
use crate::work::load_snapshot;
use quire_core::event::Part;
use quire_core::note::{About, Anchor, LINE_MAX, Place};
use quire_core::task::{Note, NoteState};
use quire_core::view::{Contents, LedTo, NoteRow};
use quire_core::{Entry, Event, Node, RelPath, Snapshot, Task, diff};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Read;

/// Where a person puts a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum On {
    Whole,
    File(OsString),
    /// A line of the last version's file, from 1.
    Line(OsString, u32),
    /// A change, by the beginning of its name.
    Hunk(String),
    /// An element of a page, with the text that it shows.
    Element {
        page: OsString,
        selector: String,
        quote: String,
    },
}

impl Quire {
    /// Leaves a note and returns its number. The model is not told before it is sent.
    pub fn note(&self, id: u64, on: &On, words: &str) -> Result<u32, EngineError> {
        let task = self.task(id)?;
        let about = self.about(&task, on)?;
        let mut number = 0;
        self.append(id, |task| {
            number = task.notes.len() as u32 + 1;
            Ok(vec![Event::Noted { about: about.clone(), words: words.to_owned() }])
        })?;
        Ok(number)
    }

    /// Says a note that was not sent in other words, and returns its number from now on.
    pub fn edit_note(&self, id: u64, note: u32, words: &str) -> Result<u32, EngineError> {
        let mut number = 0;
        self.append(id, |task| {
            let Some((_, kept)) = task.drafts().find(|(number, _)| *number == note) else {
                return Err("has no such note that is not sent");
            };
            number = task.notes.len() as u32 + 1;
            let again = Event::Noted { about: kept.about.clone(), words: words.to_owned() };
            Ok(vec![Event::NoteDropped { note }, again])
        })?;
        Ok(number)
    }

    /// Takes a note back that was not sent.
    pub fn drop_note(&self, id: u64, note: u32) -> Result<(), EngineError> {
        self.append(id, |task| match task.drafts().any(|(number, _)| number == note) {
            true => Ok(vec![Event::NoteDropped { note }]),
            false => Err("has no such note that is not sent"),
        })
    }

    /// Returns the notes of a task that were not taken back, with what became of each.
    pub fn notes(&self, id: u64) -> Result<Vec<NoteRow>, EngineError> {
        let task = self.task(id)?;
        let kept = (1u32..).zip(task.notes.iter()).filter(|(_, note)| note.state != NoteState::Dropped);
        let kept: Vec<(u32, &Note)> = kept.collect();
        if kept.is_empty() {
            return Ok(vec![]);
        }
        if task.cleared {
            return Ok(kept.into_iter().map(|(number, note)| NoteRow::of(number, note, &[], None)).collect());
        }
        let frozen = self.frozen(&task)?;
        let last = task.versions.len() as u32;
        let versions: Vec<Snapshot> =
            (0..=last).map(|version| self.files_of(&task, version)).collect::<Result<_, _>>()?;
        let row = |(number, note): (u32, &Note)| {
            let mut contents = vec![];
            // Of another place's task only what it changed came over.
            let is_known = |about: &About| {
                let has = |files: &Snapshot| {
                    files.entries.iter().any(|e| e.folder == about.folder && e.path == about.path)
                };
                task.imported_from().is_none() || versions.iter().any(has)
            };
            if let Some(about) = note.about.as_ref().filter(|about| is_known(about)) {
                for version in note.version.min(last)..=last {
                    let files = &versions[version as usize];
                    contents.push((version, self.file_in(&frozen, files, about.folder, &about.path)?));
                }
            }
            let led_to = match note.state {
                NoteState::Ended { after, version, .. } => {
                    Some(self.led_to(&task, &frozen, note, after, version)?)
                }
                _ => None,
            };
            Ok(NoteRow::of(number, note, &contents, led_to))
        };
        kept.into_iter().map(row).collect()
    }

    fn led_to(
        &self,
        task: &Task,
        frozen: &[Frozen],
        note: &Note,
        after: u32,
        version: u32,
    ) -> Result<LedTo, EngineError> {
        let (was, now) = (self.files_of(task, after)?, self.files_of(task, version)?);
        let mut led = LedTo { version, ..LedTo::default() };
        let paths: BTreeSet<(u32, RelPath)> = match &note.about {
            Some(about) => BTreeSet::from([(about.folder, about.path.clone())]),
            None => {
                let differs = |a: &Snapshot, b: &Snapshot| -> Vec<(u32, RelPath)> {
                    let gone = a.entries.iter().filter(|entry| !b.entries.contains(entry));
                    gone.map(|entry| (entry.folder, entry.path.clone())).collect()
                };
                differs(&was, &now).into_iter().chain(differs(&now, &was)).collect()
            }
        };
        for (folder, path) in paths {
            let side = |files: &Snapshot| self.file_in(frozen, files, folder, &path);
            let (before, then, base) = (side(&was)?, side(&now)?, side(&Snapshot::default())?);
            let text = |content: Content| content.filter(|c| !diff::is_binary(c)).unwrap_or_default();
            if before == then {
                continue;
            }
            let (before, then, base) = (text(before), text(then), text(base));
            if before == then {
                led.files.push(path); // no text, and another all the same
                continue;
            }
            led.count(
                note.about.as_ref(),
                folder,
                &path,
                &Contents { was: &before, now: &then, base: &base },
            );
        }
        Ok(led)
    }

    /// Returns what a note is about, as it is in the last version.
    fn about(&self, task: &Task, on: &On) -> Result<Option<About>, EngineError> {
        if *on == On::Whole {
            return Ok(None);
        }
        self.reviewable(task)?;
        let frozen = self.frozen(task)?;
        let files = self.files_of(task, task.versions.len() as u32)?;
        let nothing = |what: String| EngineError::NoPlaceFor { task: task.id, what };
        let read = |path: &OsString| -> Result<(Part, Vec<u8>), EngineError> {
            let part = path_of(task, path)?;
            let content = self.file_in(&frozen, &files, part.folder, &part.path)?;
            let content = content.ok_or_else(|| {
                nothing(format!("Version {} has no file `{}`", task.versions.len(), part.path))
            })?;
            Ok((part, content))
        };
        let about = |part: Part, place| Some(About { folder: part.folder, path: part.path, place });
        Ok(match on {
            On::Whole => None,
            On::File(path) => about(read(path)?.0, None),
            On::Line(path, line) => {
                let (part, content) = read(path)?;
                let anchor = Anchor::of(&content, *line, 1)
                    .filter(|_| !diff::is_binary(&content))
                    .ok_or_else(|| nothing(format!("`{}` has no line {line}", part.path)))?;
                about(part, Some(Place::Lines(anchor)))
            }
            On::Element { page, selector, quote } => {
                let (part, _) = read(page)?;
                let bounded = |text: &str| -> String { text.chars().take(LINE_MAX).collect() };
                let quote = quote.split_whitespace().collect::<Vec<_>>().join(" ");
                let place = Place::Element { selector: bounded(selector), quote: bounded(&quote) };
                about(part, Some(place))
            }
            On::Hunk(name) => Some(self.on_hunk(&frozen, &files, name)?.map_err(nothing)?),
        })
    }

    fn on_hunk(
        &self,
        frozen: &[Frozen],
        files: &Snapshot,
        name: &str,
    ) -> Result<Result<About, String>, EngineError> {
        let name = name.to_lowercase();
        let mut found = vec![];
        for entry in &files.entries {
            let (was, now) = self.contents(frozen, entry, COMPARED_BYTES_MAX)?;
            let (was, now) = (was.unwrap_or_default(), now.unwrap_or_default());
            if diff::is_binary(&was) || diff::is_binary(&now) {
                continue;
            }
            let hunks = diff::hunks(entry.folder, &entry.path, &was, &now);
            for hunk in hunks.into_iter().filter(|hunk| hunk.id.starts_with(&name)) {
                found.push(anchored(entry, &now, &hunk));
            }
        }
        Ok(match (found.len(), name.len() >= 4) {
            (1, true) => found.pop().flatten().ok_or_else(|| format!("There is no line at `{name}`")),
            (0, _) | (_, false) => Err(format!("There is no change `{name}`")),
            _ => Err(format!("There are several changes whose names begin with `{name}`")),
        })
    }

    /// Returns the files of that version as they differ from the base; of version 0, that nothing does.
    fn files_of(&self, task: &Task, version: u32) -> Result<Snapshot, EngineError> {
        match (version as usize).checked_sub(1).and_then(|place| task.versions.get(place)) {
            Some(version) => Ok(load_snapshot(self.store(), &version.snapshot)?),
            None => Ok(Snapshot::default()),
        }
    }

    /// Returns what a file holds in a version; `None` where there is no file, or it is too large to be compared.
    pub(crate) fn file_in(
        &self,
        frozen: &[Frozen],
        files: &Snapshot,
        folder: u32,
        path: &RelPath,
    ) -> Result<Content, EngineError> {
        if let Some(entry) = files.entries.iter().find(|e| e.folder == folder && e.path == *path) {
            return Ok(self.contents(frozen, entry, COMPARED_BYTES_MAX)?.1);
        }
        let Some(base) = frozen.get(folder as usize) else { return Ok(None) };
        let mut content = vec![];
        match snapshot::old_content(base, path).map_err(SnapshotError::Layer)? {
            Some(file) => {
                let mut file = file.take(COMPARED_BYTES_MAX + 1);
                file.read_to_end(&mut content).map_err(SnapshotError::Layer)?;
                Ok(Some(content).filter(|content| content.len() as u64 <= COMPARED_BYTES_MAX))
            }
            None => Ok(None),
        }
    }
}

/// Returns the lines that a change brought, or between which it took some away.
fn anchored(entry: &Entry, now: &[u8], hunk: &diff::Hunk) -> Option<About> {
    let first = hunk.lines.iter().position(|line| line.kind != diff::Kind::Same)?;
    let added = hunk.lines.iter().filter(|line| line.kind == diff::Kind::Added).count();
    let from = hunk.now_start.max(1) + first;
    let is_file = matches!(entry.now, Some(Node::File { .. }));
    let place = Anchor::of(now, from as u32, added as u32).filter(|_| is_file)?;
    let place = Place::Lines(Anchor { hunk: Some(hunk.id.clone()), ..place });
    Some(About { folder: entry.folder, path: entry.path.clone(), place: Some(place) })
}
