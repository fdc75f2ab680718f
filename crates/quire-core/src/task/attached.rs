//! Files that a person hands over with their words. The system prompt names those of the first words, so that a conversation which is
//! cut short still knows of them; of later ones the agent is told once, and again where that happens. Pictures among them are shown
//! once, with the words that they came with.

use super::{Phase, Task};
use crate::message::{Attachment, PromptItem};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Attached {
    files: Arc<[Attachment]>,
    /// What the model is told of those that came with later words, each with the number of all files up to then.
    told: Arc<[(usize, String)]>,
    /// So many of them the model was shown, where it can be.
    pub shown: usize,
}

impl Task {
    /// Returns what the person handed over.
    pub fn attached(&self) -> &[Attachment] {
        &self.attached.files
    }

    /// Returns whether the agent was told what was handed over with the first words.
    pub fn is_equipped(&self) -> bool {
        self.system.is_some()
    }

    pub(super) fn may_attach(&self, files: &[Attachment], told: bool) -> Result<(), &'static str> {
        let mut names: BTreeSet<&str> = self.attached.files.iter().map(|file| file.name.as_str()).collect();
        let is_name = |name: &str| !name.is_empty() && !name.contains('/') && ![".", ".."].contains(&name);
        let are_fine = !files.is_empty()
            && files.iter().all(|file| is_name(&file.name) && names.insert(&file.name))
            && told == self.is_equipped();
        match self.phase {
            Phase::Discarded => Err("files are handed over to a task that goes on"),
            _ if are_fine => Ok(()),
            _ => Err(
                "files are handed over with words, each under a name of its own, and the agent is told of them",
            ),
        }
    }

    pub(super) fn attach(&mut self, files: &[Attachment], told: Option<&str>) {
        self.attached.files = self.attached.files.iter().chain(files).cloned().collect();
        if let Some(told) = told {
            let new = (self.attached.files.len(), told.to_owned());
            self.attached.told = self.attached.told.iter().cloned().chain([new]).collect();
            self.notice(told);
            self.checkpoints.answered(told.to_owned());
        }
    }

    /// Returns what the model was told of files that came with later words: no beginning of a conversation has that.
    pub(super) fn later_files(&self) -> impl Iterator<Item = &str> {
        let told = self.attached.told.iter().filter(|(files, _)| *files <= self.attached.shown);
        told.map(|(_, told)| told.as_str())
    }

    /// Returns the pictures that the model is yet to be shown.
    pub(super) fn pictures(&self) -> Option<PromptItem> {
        let is_picture = |file: &&Attachment| file.media_type.is_some();
        let new = self.attached.files.get(self.attached.shown..).unwrap_or_default();
        let pictures: Vec<Attachment> = new.iter().filter(is_picture).cloned().collect();
        (!pictures.is_empty()).then_some(PromptItem::Pictures(pictures))
    }

    pub(super) fn show_pictures(&mut self) {
        if let Some(pictures) = self.pictures() {
            self.transcript.push(Arc::new(pictures));
        }
        self.attached.shown = self.attached.files.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hash;
    use crate::event::{Base, Conventions, Event, Logged};
    use crate::message::{Call, Outcome, Reply, Stop, ToolSpec, Usage};
    use crate::testing::charter;
    use crate::want::settle;

    fn handed(name: &str, told: Option<&str>) -> Event {
        let file = Attachment { name: name.into(), bytes: 1, media_type: None, blob: Hash::of(b"x") };
        Event::Attached { files: vec![file], told: told.map(str::to_owned) }
    }

    fn equipped(attached: Option<usize>) -> Event {
        Event::Equipped {
            system: "s".into(),
            tools: vec![ToolSpec {
                name: "shell".into(),
                description: String::new(),
                input: serde_json::json!({}),
                reads: false,
            }],
            rung: "r".into(),
            weak: None,
            conventions: Conventions::default(),
            attached,
        }
    }

    /// A task that was handed two files and is yet to be equipped.
    fn begun() -> Task {
        let opened = Event::Opened { charter: Box::new(charter()), words: "go".into() };
        let mut task = Task::open(1, &Logged { seq: 1, at_ms: 0, event: opened }).unwrap();
        for event in [handed("a", None), Event::Taken { epoch: 1 }, handed("b", None)] {
            task.push(event, 0).unwrap();
        }
        task
    }

    #[test]
    fn who_is_told_of_fewer_files_than_there_are_is_not_equipped() {
        for (attached, follows) in [(None, true), (Some(0), false), (Some(1), false), (Some(2), true)] {
            assert_eq!(begun().push(equipped(attached), 0).is_ok(), follows, "{attached:?}");
        }
    }

    #[test]
    fn a_conversation_that_is_cut_short_still_knows_of_files_that_came_later() {
        let mut task = begun();
        let base = Base { id: 1, delta: 0, files: 0, bytes: 0, git: None };
        let call = Call { id: "c".into(), tool: "shell".into(), input: "{}".into() };
        let reply = Reply {
            wire: crate::charter::Wire::Chat,
            items: vec![],
            text: "reply".into(),
            calls: vec![call],
            stop: Stop::Done,
            usage: Usage::default(),
            by: String::new(),
        };
        let first =
            [equipped(Some(2)), Event::Frozen { bases: vec![base] }, handed("c", Some("c lies in /c"))];
        first.into_iter().for_each(|event| task.push(event, 0).unwrap());
        settle(&mut task, 0).unwrap();
        task.push(Event::Replied { reply }, 0).unwrap();
        settle(&mut task, 0).unwrap();
        for event in [
            Event::Returned { call: 0, outcome: Outcome::said("done") },
            Event::Snapped { snapshot: Hash::of(b"after") },
        ] {
            task.push(event, 0).unwrap();
        }
        // It is told when the model is asked next.
        task.push(handed("d", Some("d lies in /d")), 0).unwrap();
        let Event::Compacted { text, tail, usage } = task.compacted_by_quire() else { panic!() };
        assert!(text.contains("c lies in /c") && !text.contains("d lies in /d"), "{text}");
        let lost = text.replace("c lies in /c", "");
        assert!(task.clone().push(Event::Compacted { text: lost, tail, usage }, 0).is_err());
        task.push(Event::Compacted { text, tail, usage }, 0).unwrap();
        settle(&mut task, 0).unwrap();
        let said = |words: &str| {
            task.prompt()
                .items
                .iter()
                .any(|item| matches!(&**item, PromptItem::Words(w) if w.contains(words)))
        };
        assert!(said("c lies in /c") && said("d lies in /d"));
    }
}
