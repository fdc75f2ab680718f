//! Files that a person hands over with their words. The system prompt names those of the first words, so that a conversation which is
//! cut short still knows of them; of later ones the agent is told once. Pictures among them are shown once, with the words that they
//! came with.

use super::{Phase, Task};
use crate::message::{Attachment, PromptItem};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Attached {
    files: Arc<[Attachment]>,
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
            self.notice(told);
            self.checkpoints.answered(told.to_owned());
        }
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
