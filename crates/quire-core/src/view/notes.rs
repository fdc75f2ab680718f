//! A person's notes with what became of each: what the agent says, and beside it what quire saw change where the note is.

use super::count;
use super::review::plus_minus;
use crate::bytes::RelPath;
use crate::diff;
use crate::note::{About, Found, Place};
use crate::task::{Note, NoteState};
use serde::Serialize;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NoteRow {
    /// From 1.
    pub note: u32,
    pub state: Standing,
    pub words: String,
    /// The version that it was left on; 0 before there was one.
    pub version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<About>,
    /// Where its place is in the last version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// What stood at its place is not in the last version.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub detached: bool,
    /// No version shows what it is about as text, not even the one that it was left on: a page may make it as it runs.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unseen: bool,
    /// The version from which on what stood at its place is gone; absent where it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gone_in: Option<u32>,
    /// The version in which its agent says that it ended; absent where it did not end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_in: Option<u32>,
    /// The agent's own words on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
    /// What changed between the version that it was sent on and the one in which it ended; absent where it did not end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub led_to: Option<LedTo>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    Draft,
    Sent,
    Done,
    Answered,
}

/// What quire saw change after a note.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LedTo {
    /// The version in which it ended.
    pub version: u32,
    pub files: Vec<RelPath>,
    /// Lines at the place of the note; for a note on a file or on the whole, in all of it.
    pub added: usize,
    pub removed: usize,
    /// Lines in the rest of its file.
    pub elsewhere: usize,
    /// Names of the version's changes that hold those lines, for `accept --only`.
    pub hunks: Vec<String>,
}

/// A file when the note was sent, when it ended, and in the base.
pub struct Contents<'a> {
    pub was: &'a [u8],
    pub now: &'a [u8],
    pub base: &'a [u8],
}

impl LedTo {
    /// Counts what changed in one file; `about` is what the note is about, where it is about that file.
    pub fn count(&mut self, about: Option<&About>, folder: u32, path: &RelPath, file: &Contents<'_>) {
        if file.was == file.now {
            return;
        }
        self.files.push(path.clone());
        let place = about.and_then(|about| about.place.as_ref());
        let (was, now) = (diff::lines(file.was), diff::lines(file.now));
        for change in diff::changes(&was, &now) {
            let here = place.is_none_or(|place| {
                let long = match place {
                    Place::Lines(anchor) => anchor.quote.len(),
                    Place::Element { .. } => 1,
                };
                match place.find(file.was) {
                    Found::Same(line) | Found::Changed(line) => {
                        let from = line as usize - 1;
                        match change.was.is_empty() || long == 0 {
                            // Lines that came right above or below are at the place too.
                            true => change.was.start <= from + long && change.was.end >= from,
                            false => change.was.start < from + long && change.was.end > from,
                        }
                    }
                    Found::Gone => false,
                }
            });
            if !here {
                self.elsewhere += change.was.len().max(change.now.len());
                continue;
            }
            self.removed += change.was.len();
            self.added += change.now.len();
            for hunk in diff::touching(folder, path, file.base, file.now, &change.now) {
                if !self.hunks.contains(&hunk) {
                    self.hunks.push(hunk);
                }
            }
        }
    }
}

impl NoteRow {
    /// `contents` are those of the note's file in each version since the one that the note was left on, the last one's last: which
    /// version, and what there was.
    pub fn of(
        number: u32,
        note: &Note,
        contents: &[(u32, Option<Vec<u8>>)],
        led_to: Option<LedTo>,
    ) -> NoteRow {
        let is_gone =
            |(_, content): &&(u32, Option<Vec<u8>>)| note.find(content.as_deref()) == Some(Found::Gone);
        let is_element = |about: &About| matches!(about.place, Some(Place::Element { .. }));
        let unseen = note.about.as_ref().is_some_and(is_element)
            && contents.iter().all(|(_, content)| content.is_some())
            && contents.iter().all(|one| is_gone(&one))
            && !contents.is_empty();
        let gone = contents.iter().rev().take_while(is_gone).last().filter(|_| !unseen);
        let gone_in = gone.map(|(version, _)| *version);
        let ended_in = match &note.state {
            NoteState::Ended { version, .. } => Some(*version),
            _ => None,
        };
        let content = contents.last().and_then(|(_, content)| content.as_deref());
        let (state, said) = match &note.state {
            NoteState::Draft | NoteState::Dropped => (Standing::Draft, None),
            NoteState::Sent { .. } => (Standing::Sent, None),
            NoteState::Ended { answer: true, said, .. } => (Standing::Answered, Some(said.clone())),
            NoteState::Ended { said, .. } => (Standing::Done, Some(said.clone())),
        };
        // Of a file that nothing is known of, nothing is said.
        let found = if contents.is_empty() { None } else { note.find(content) };
        NoteRow {
            note: number,
            state,
            words: note.words.to_string(),
            version: note.version,
            about: note.about.clone(),
            line: match found {
                Some(Found::Same(line) | Found::Changed(line)) => Some(line),
                _ => None,
            },
            detached: found == Some(Found::Gone) && !unseen,
            unseen,
            gone_in,
            ended_in,
            said,
            led_to,
        }
    }

    /// Returns what it is about, in a few words: `src/tax.rs:88`, `the whole`.
    pub fn place(&self) -> String {
        let Some(about) = &self.about else { return "the whole".to_owned() };
        let line = self.line.map(|line| format!(":{line}")).unwrap_or_default();
        let element = match &about.place {
            Some(Place::Element { selector, .. }) => format!(" {selector}"),
            _ => String::new(),
        };
        let since = self.gone_in.map(|version| format!(" since version {version}")).unwrap_or_default();
        let gone = match (&about.place, self.detached) {
            (Some(_), true) => format!(", what stood there is gone{since}"),
            (None, true) => format!(", which is gone{since}"),
            _ if self.unseen => ", which is not in the page's own text".to_owned(),
            _ => String::new(),
        };
        format!("{}{line}{element}{gone}", about.path)
    }

    /// Returns what became of it; the agent's words last.
    pub fn outcome(&self) -> String {
        let said = match self.said.as_deref().map(str::trim).unwrap_or_default() {
            "" => String::new(),
            said => format!(": {said}"),
        };
        match self.state {
            Standing::Draft => "not sent".to_owned(),
            Standing::Sent => "sent; the agent has not said what became of it".to_owned(),
            Standing::Answered => format!("answered{}{}{said}", self.ended(), self.seen(false)),
            Standing::Done => format!("done{}{}{said}", self.ended(), self.seen(true)),
        }
    }

    fn ended(&self) -> String {
        self.ended_in.map(|version| format!(" in version {version}")).unwrap_or_default()
    }

    /// Returns whether there is something to say of it to a person who has seen version `since`.
    pub fn is_news(&self, since: u32) -> bool {
        let is_open = matches!(self.state, Standing::Draft | Standing::Sent);
        is_open || [self.ended_in, self.gone_in].into_iter().flatten().any(|version| version > since)
    }

    /// Returns what quire saw, to follow the agent's word for how it ended; where it should have seen something, also that it
    /// did not.
    fn seen(&self, expected: bool) -> String {
        let Some(led) = &self.led_to else { return String::new() };
        let size = plus_minus(led.added, led.removed);
        let seen = match (led.added + led.removed, led.elsewhere) {
            (0, 0) if !expected => return String::new(),
            (0, 0) if led.files.is_empty() => "but nothing changed".to_owned(),
            (0, 0) => format!("{} changed", count(led.files.len() as u64, "file")),
            (0, more) => {
                format!("but nothing changed there, {} in the rest of it", count(more as u64, "line"))
            }
            _ if self.about.is_none() => format!("{}, {size}", count(led.files.len() as u64, "file")),
            _ => format!("{size} there"),
        };
        format!(" ({seen})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::Anchor;

    const WAS: &[u8] = b"a\nb\nc\nd\ne\nf\ng\nh\n";

    fn path() -> RelPath {
        RelPath::new("src/tax.rs").unwrap()
    }

    fn on_line(line: u32) -> About {
        let place = Anchor::of(WAS, line, 1).map(Place::Lines);
        About { folder: 0, path: path(), place }
    }

    #[test]
    fn what_a_note_led_to_is_what_changed_at_its_place() {
        let file = About { folder: 0, path: path(), place: None };
        let rows: &[(&str, Option<About>, &[u8], &str)] = &[
            (
                "its line",
                Some(on_line(4)),
                b"a\nb\nc\nD\ne\nf\ng\nh\n",
                "done in version 2 (+1 -1 there): so",
            ),
            (
                "a line below it",
                Some(on_line(4)),
                b"a\nb\nc\nd\nx\ne\nf\ng\nh\n",
                "done in version 2 (+1 there): so",
            ),
            ("it went", Some(on_line(4)), b"a\nb\nc\ne\nf\ng\nh\n", "done in version 2 (-1 there): so"),
            (
                "another line",
                Some(on_line(4)),
                b"a\nb\nc\nd\ne\nf\ng\nH\n",
                "done in version 2 (but nothing changed there, 1 line in the rest of it): so",
            ),
            ("nothing", Some(on_line(4)), WAS, "done in version 2 (but nothing changed): so"),
            (
                "anything in the file",
                Some(file),
                b"a\nb\nc\nd\ne\nf\ng\nH\n",
                "done in version 2 (+1 -1 there): so",
            ),
            ("anything at all", None, b"a\nb\nc\nd\ne\nf\ng\nH\n", "done in version 2 (1 file, +1 -1): so"),
        ];
        for (name, about, now, expected) in rows {
            let mut led = LedTo { version: 2, ..LedTo::default() };
            led.count(about.as_ref(), 0, &path(), &Contents { was: WAS, now, base: b"a\n" });
            assert_eq!(led.hunks.len(), usize::from(led.added + led.removed > 0), "{name}");
            let state = NoteState::Ended { after: 1, version: 2, answer: false, said: " so".into() };
            let note = Note { about: about.clone(), words: "w".into(), version: 1, state };
            assert_eq!(
                NoteRow::of(1, &note, &[(2, Some(now.to_vec()))], Some(led)).outcome(),
                *expected,
                "{name}"
            );
        }
    }

    type Row<'a> = (Option<About>, NoteState, Option<&'a [u8]>, &'a str);

    #[test]
    fn a_note_says_where_it_is_now_and_what_state_it_is_in() {
        let sent = NoteState::Sent { after: 1 };
        let answer = |said: &str| NoteState::Ended { after: 1, version: 2, answer: true, said: said.into() };
        let rows: &[Row<'_>] = &[
            (None, NoteState::Draft, None, "the whole | not sent"),
            (
                Some(on_line(4)),
                NoteState::Draft,
                Some(b"x\na\nb\nc\nd\ne\nf\ng\nh\n"),
                "src/tax.rs:5 | not sent",
            ),
            (
                Some(on_line(4)),
                sent,
                Some(b"x\n"),
                "src/tax.rs, what stood there is gone since version 2 | sent; the agent has not said what became of it",
            ),
            (
                Some(on_line(4)),
                answer("by law"),
                None,
                "src/tax.rs, what stood there is gone since version 2 | answered in version 2: by law",
            ),
            (
                Some(About { folder: 0, path: path(), place: None }),
                answer(""),
                None,
                "src/tax.rs, which is gone since version 2 | answered in version 2",
            ),
        ];
        for (about, state, content, expected) in rows {
            let note = Note { about: about.clone(), words: "w".into(), version: 1, state: state.clone() };
            let led = matches!(state, NoteState::Ended { .. }).then(LedTo::default);
            let contents = [(1, Some(WAS.to_vec())), (2, content.map(<[u8]>::to_vec))];
            let row = NoteRow::of(1, &note, &contents, led);
            assert_eq!(format!("{} | {}", row.place(), row.outcome()), *expected);
        }
    }

    /// Each row: what its file holds in versions 1, 2 and 3, from which on its place is gone, and whether that is news since 2.
    #[test]
    fn a_place_that_goes_is_told_with_the_version_in_which_it_went() {
        type Row<'a> = ([Option<&'a [u8]>; 3], Option<u32>, bool);
        let (here, other): (&[u8], &[u8]) = (WAS, b"x\n");
        let rows: &[Row<'_>] = &[
            ([Some(here), Some(here), Some(here)], None, false),
            ([Some(here), Some(here), Some(other)], Some(3), true),
            ([Some(here), Some(other), Some(other)], Some(2), false),
            ([Some(here), None, None], Some(2), false),
            // It came back.
            ([Some(here), Some(other), Some(here)], None, false),
        ];
        for (contents, expected, news) in rows {
            let state = NoteState::Ended { after: 1, version: 2, answer: true, said: "so".into() };
            let note = Note { about: Some(on_line(4)), words: "w".into(), version: 1, state };
            let contents: Vec<_> = (1u32..).zip(contents.iter().map(|c| c.map(<[u8]>::to_vec))).collect();
            let row = NoteRow::of(1, &note, &contents, None);
            assert_eq!((row.gone_in, row.is_news(2)), (*expected, *news), "{contents:?}");
            assert!(row.is_news(1), "it ended in version 2");
        }
    }
}
