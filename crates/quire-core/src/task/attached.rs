//! Files that a person handed over with the first words. The system prompt names them, so that a conversation which is cut short
//! still knows of them; pictures among them are shown once, with the words that they came with.

use super::Task;
use crate::message::{Attachment, PromptItem};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Attached {
    files: Arc<[Attachment]>,
    /// The model was shown those that it can be shown.
    shown: bool,
}

impl Task {
    /// Returns what the person handed over.
    pub fn attached(&self) -> &[Attachment] {
        &self.attached.files
    }

    pub(super) fn may_attach(&self, files: &[Attachment]) -> Result<(), &'static str> {
        let names: BTreeSet<&str> = files.iter().map(|file| file.name.as_str()).collect();
        let is_name = |name: &&str| !name.is_empty() && !name.contains('/') && ![".", ".."].contains(name);
        let fine =
            self.seq == 1 && names.len() == files.len() && names.iter().all(is_name) && !names.is_empty();
        if fine {
            Ok(())
        } else {
            Err("files are handed over with the first words, each under a name of its own")
        }
    }

    pub(super) fn attach(&mut self, files: &[Attachment]) {
        self.attached.files = files.into();
    }

    /// Returns the pictures that the model is yet to be shown.
    pub(super) fn pictures(&self) -> Option<PromptItem> {
        let is_picture = |file: &&Attachment| file.media_type.is_some();
        let pictures: Vec<Attachment> = match self.attached.shown {
            true => vec![],
            false => self.attached.files.iter().filter(is_picture).cloned().collect(),
        };
        (!pictures.is_empty()).then_some(PromptItem::Pictures(pictures))
    }

    pub(super) fn show_pictures(&mut self) {
        if let Some(pictures) = self.pictures() {
            self.transcript.push(Arc::new(pictures));
        }
        self.attached.shown = true;
    }
}
