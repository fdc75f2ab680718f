//! Notes of the person's: drafts until they are sent, together and as one turn; then each ends as done or as answered, by the
//! agent's own word at the end of a turn. What a note led to is not the agent's to say: that is seen in the files.

use super::{Task, Version};
use crate::note::{About, Found, Place, WORDS_BYTES_MAX, endings};
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Note {
    /// Absent: the whole version.
    pub about: Option<About>,
    pub words: Arc<str>,
    /// The version that it was left on; 0 before there was one.
    pub version: u32,
    pub state: NoteState,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum NoteState {
    /// Not sent yet.
    Draft,
    /// The person took it back before it was sent.
    Dropped,
    /// The agent knows of it, and has not said what became of it. `after`: the last version when it was sent, or 0.
    Sent { after: u32 },
    /// In version `version` the agent says that it is done, or answers.
    Ended { after: u32, version: u32, answer: bool, said: String },
}

/// Most notes of a task that are not sent.
const DRAFTS_MAX: usize = 200;

impl Task {
    /// Returns the notes that are not sent, with their numbers.
    pub fn drafts(&self) -> impl Iterator<Item = (u32, &Note)> {
        (1u32..).zip(self.notes.iter()).filter(|(_, note)| note.state == NoteState::Draft)
    }

    /// Returns what the model is told of the notes that are not sent, and of `more`, which the person says with them; and the
    /// numbers of those notes. `None` where there is no such note.
    pub fn notes_told(&self, more: Option<&str>) -> Option<(Vec<u32>, String)> {
        let drafts: Vec<(u32, &Note)> = self.drafts().collect();
        let (first, _) = drafts.first()?;
        let mut told = more.map(|more| format!("{more}\n\n")).unwrap_or_default();
        told.push_str(&format!(
            "My notes on what you made. End your summary with one line for each: `Note {first}: done: what you changed` or `Note \
             {first}: answer: ...` where it asks something."
        ));
        for (number, note) in &drafts {
            told.push_str(&format!("\n\nNote {number}, on {}:\n{}", self.about_told(note), note.words));
        }
        Some((drafts.iter().map(|(number, _)| *number).collect(), told))
    }

    fn about_told(&self, note: &Note) -> String {
        let Some(About { folder, path, place }) = &note.about else { return "the whole".to_owned() };
        let file = match self.charter.folders.get(*folder as usize) {
            Some(dir) if *folder > 0 => format!("{}/{path}", dir.display()),
            _ => path.to_string(),
        };
        match place {
            None => file,
            Some(Place::Element { selector, quote }) => {
                format!("{file}, the element `{selector}` that shows \"{quote}\"")
            }
            Some(Place::Lines(anchor)) => {
                let (lines, head) = match anchor.quote.is_empty() {
                    true => (&anchor.before, format!("{file}, what you removed below")),
                    false => (&anchor.quote, format!("{file} line {}", anchor.line)),
                };
                let quoted: String = lines.iter().map(|line| format!("\n  | {line}")).collect();
                format!("{head}{quoted}")
            }
        }
    }

    /// Returns what a version's summary says besides what became of notes.
    pub fn without_notes(&self, version: &Version) -> String {
        let ended_there = |note: u32| {
            let note = (note as usize).checked_sub(1).and_then(|place| self.notes.get(place));
            // What the agent said of its own version it says of those that its person made of that.
            let is_it = |number: u32| {
                let then = self.versions.iter().find(|one| one.number == number);
                then.is_some_and(|then| number == version.number || then.summary == version.summary)
            };
            note.is_some_and(|note| matches!(note.state, NoteState::Ended { version, .. } if is_it(version)))
        };
        endings(&version.summary, ended_there).0
    }

    pub(super) fn may_note(&self, about: Option<&About>, words: &str) -> Result<(), &'static str> {
        let known = about.is_none_or(|about| (about.folder as usize) < self.charter.folders.len());
        let fits = !words.trim().is_empty() && words.len() <= WORDS_BYTES_MAX;
        if known && fits && self.drafts().count() < DRAFTS_MAX {
            Ok(())
        } else {
            Err("a note is some words on one of the folders, while there are not too many")
        }
    }

    pub(super) fn may_drop_note(&self, note: u32) -> Result<(), &'static str> {
        let is_draft = self.drafts().any(|(number, _)| number == note);
        if is_draft { Ok(()) } else { Err("only a note that was not sent is taken back") }
    }

    pub(super) fn may_send_notes(&self, notes: &[u32], words: &str) -> Result<(), &'static str> {
        let drafts: Vec<(u32, &Note)> = self.drafts().collect();
        let all = !notes.is_empty() && notes.iter().eq(drafts.iter().map(|(number, _)| number));
        if !all || self.is_being_written() {
            return Err("the notes that were not sent are sent together, while nothing is written");
        }
        let told = drafts.iter().all(|(_, note)| words.contains(&*note.words));
        if told { Ok(()) } else { Err("what is sent holds every word of the notes") }
    }

    pub(super) fn note(&mut self, about: Option<About>, words: &str) {
        let version = self.versions.len() as u32;
        let note = Note { about, words: words.into(), version, state: NoteState::Draft };
        Arc::make_mut(&mut self.notes).push(note);
    }

    pub(super) fn drop_note(&mut self, note: u32) {
        self.set_note(note, NoteState::Dropped);
    }

    pub(super) fn send_notes(&mut self, notes: &[u32], words: &str) {
        let after = self.versions.len() as u32;
        notes.iter().for_each(|note| self.set_note(*note, NoteState::Sent { after }));
        self.notes_reminded = false;
        self.hear_person(words);
    }

    fn is_sent(&self, note: u32) -> bool {
        let place = (note as usize).checked_sub(1);
        let note = place.and_then(|place| self.notes.get(place));
        note.is_some_and(|note| matches!(note.state, NoteState::Sent { .. }))
    }

    /// Whether the agent is to be asked once more what became of notes, as its last words leave some out. It is asked once for
    /// what was sent together.
    pub(super) fn reminds_of_notes(&mut self, last_words: &str) -> bool {
        let (_, ended) = endings(last_words, |note| self.is_sent(note));
        let said = |note: u32| ended.iter().any(|one| one.note == note);
        let sent = (1..=self.notes.len() as u32).filter(|note| self.is_sent(*note));
        let open: Vec<String> = sent.filter(|note| !said(*note)).map(|note| note.to_string()).collect();
        if open.is_empty() || self.notes_reminded {
            return false;
        }
        self.notes_reminded = true;
        self.notice(&format!(
            "You did not say what became of note {}. See to it, then end with your whole summary again and a line for each \
             note: `Note K: done: ...` or `Note K: answer: ...`.",
            open.join(", ")
        ));
        true
    }

    /// A version is there: what its summary says of notes is what became of them.
    pub(super) fn end_notes(&mut self) {
        let version = self.versions.len() as u32;
        let (_, ended) = endings(&self.last_text, |note| self.is_sent(note));
        for one in ended {
            let place = one.note as usize - 1;
            let NoteState::Sent { after } = self.notes[place].state else { continue };
            let (answer, said) = (one.answer, one.said);
            self.set_note(one.note, NoteState::Ended { after, version, answer, said });
        }
    }

    fn set_note(&mut self, note: u32, state: NoteState) {
        Arc::make_mut(&mut self.notes)[note as usize - 1].state = state;
    }
}

impl Note {
    /// Returns where in a file the note is, by the file's content; `None` where it is not about a place in one.
    pub fn find(&self, content: Option<&[u8]>) -> Option<Found> {
        let about = self.about.as_ref()?;
        match (&about.place, content) {
            (_, None) => Some(Found::Gone),
            (None, Some(_)) => None,
            (Some(place), Some(content)) => Some(place.find(content)),
        }
    }
}
