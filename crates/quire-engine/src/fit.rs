//! "Let it fit around mine": where the person went on working in the very files that a version changes, its agent is sent on. Its
//! copy then stands on their folders as they are, and it is told what they did to each file that its own version hides.

use crate::quire::{COMPARED_BYTES_MAX, Content, EngineError, Quire};
use crate::rooted::Rooted;
use quire_core::view::{DriftRow, Fit};
use quire_core::{Entry, Event, Hash, Node, Phase, RelPath, Snapshot, Task, diff};
use std::io::Read;

/// Most bytes of differences that the agent is told, of all files together.
const TOLD_BYTES_MAX: usize = 96 << 10;

impl Quire {
    /// Has the agent fit its last version around what the person did meanwhile; `words` are theirs on how. Nothing is written into
    /// the folders.
    pub fn fit(&self, id: u64, words: Option<&str>) -> Result<(), EngineError> {
        let task = self.task(id)?;
        self.reviewable(&task)?;
        if !matches!(task.phase, Phase::Ready | Phase::Accepted) {
            return Err(EngineError::Not { task: id, why: "is at work; its next version comes first" });
        }
        let drift = self.drift(&task)?;
        if drift.is_empty() {
            return Err(EngineError::Not { task: id, why: "fits your folder as it is" });
        }
        let told = self.fit_told(&task, &drift, words)?;
        self.append(id, |task| match task.phase {
            Phase::Ready | Phase::Accepted => Ok(vec![Event::Refit { words: told.clone() }]),
            _ => Err("is at work; its next version comes first"),
        })
    }

    fn fit_told(&self, task: &Task, drift: &[DriftRow], words: Option<&str>) -> Result<String, EngineError> {
        let mut told = words.map(|words| format!("{words}\n\n")).unwrap_or_default();
        told.push_str(
            "I went on working in my folder while you did. Your copy now stands on it as it is now, with your own version of each \
             file that you changed on top. These files I changed, too, and your version of them lacks what I did:",
        );
        let mut room = TOLD_BYTES_MAX;
        for row in drift {
            let (was, mine) = self.persons(task, row)?;
            let did = match row.fit {
                Fit::Gone => "I deleted it.".to_owned(),
                Fit::ParentGone => "I deleted the folder that it is in.".to_owned(),
                Fit::Merges | Fit::Changed | Fit::Appeared => match differences(&row.path, was, mine) {
                    Some(text) if text.len() <= room => {
                        room -= text.len();
                        format!("What I did to it:\n{text}")
                    }
                    Some(_) => {
                        "I changed much of it, more than can be shown here: ask me what matters.".to_owned()
                    }
                    None => "I changed it, and it is no text: ask me which of both is to stay.".to_owned(),
                },
            };
            told.push_str(&format!("\n\n{}\n{}", row.path, did.trim_end()));
        }
        told.push_str(
            "\n\nBring both together, so that what I did stays as I meant it and so does your work. Then end with your whole \
             summary again.",
        );
        Ok(told)
    }

    /// Returns a file as the task started from it, and as the person has it now; `None` where that is no file that is compared.
    fn persons(&self, task: &Task, row: &DriftRow) -> Result<(Content, Content), EngineError> {
        let frozen = self.frozen(task)?;
        let was = self.file_in(&frozen, &Snapshot::default(), row.folder, &row.path)?;
        let read = || -> std::io::Result<Vec<u8>> {
            let folder = task.charter.folders.get(row.folder as usize).ok_or(std::io::ErrorKind::NotFound)?;
            let mut content = vec![];
            Rooted::open(folder)?.file(&row.path)?.take(COMPARED_BYTES_MAX + 1).read_to_end(&mut content)?;
            Ok(content)
        };
        Ok((was, read().ok().filter(|content| content.len() as u64 <= COMPARED_BYTES_MAX)))
    }
}

/// Returns what a person did to a text, as a unified diff; what they made is one from nothing.
fn differences(path: &RelPath, was: Option<Vec<u8>>, mine: Option<Vec<u8>>) -> Option<String> {
    let mine = mine?;
    let node =
        |content: &[u8]| Node::File { blob: Hash::of(content), bytes: content.len() as u64, mode: 0o644 };
    let entry =
        Entry { folder: 0, path: path.clone(), was: was.as_deref().map(node), now: Some(node(&mine)) };
    let was = was.unwrap_or_default();
    if diff::is_binary(&was) || diff::is_binary(&mine) {
        return None;
    }
    Some(String::from_utf8_lossy(&diff::unified("", &entry, &was, &mine)).into_owned())
}
