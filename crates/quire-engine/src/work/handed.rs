//! What a person hands over with a task, laid out for its sandboxes, and the pictures that a request shows.

use super::{Undone, Work};
use crate::blob::BlobError;
use crate::{attached, conventions};
use quire_core::event::{Conventions, Trouble, Why};
use quire_core::message::Attachment;
use quire_core::{Hash, Prompt, PromptItem, Task};
use quire_sandbox::Rung;
use std::collections::HashMap;
use std::path::Path;

impl Work {
    /// Lays out what the person handed over, and returns what the model is told of it. What it cannot be shown is noted for
    /// the person.
    pub(super) fn hand_over(
        &self,
        task: &Task,
        given: &Path,
        rung: Rung,
        conventions: &mut Conventions,
    ) -> Result<Option<String>, Undone> {
        let inside = conventions::given_inside(given, rung);
        let told = attached::lay_out(task.attached(), self.store.blobs(), given, inside);
        if let Some(model) = task.charter.model.as_ref().filter(|model| !model.images) {
            let unseen = task.attached().iter().filter(|file| file.media_type.is_some());
            let told =
                |file: &Attachment| format!("{}: {} is not known to see pictures", file.name, model.title());
            conventions.left_out.extend(unseen.map(told));
        }
        told.map_err(|error| Why::Trouble(Trouble::Other, error.to_string()))
    }

    /// Lays out anew what was lost of it. A sandbox is of use without it too.
    pub(super) fn hand_over_anew(&self, task: &Task, given: &Path) {
        if let Err(error) = attached::restore(task.attached(), self.store.blobs(), given) {
            tracing::warn!(task = task.id, %error, "what was handed over is not all there");
        }
    }

    pub(super) fn images(&self, prompt: &Prompt) -> Result<HashMap<Hash, Vec<u8>>, BlobError> {
        let mut images = HashMap::new();
        for item in &prompt.items {
            let blobs: Vec<Hash> = match &**item {
                PromptItem::Results(results) => {
                    results.iter().flat_map(|result| &result.outcome.images).map(|image| image.blob).collect()
                }
                PromptItem::Pictures(files) => files.iter().map(|file| file.blob).collect(),
                PromptItem::Words(_) | PromptItem::Model(_) => continue,
            };
            for blob in blobs {
                images.insert(blob, self.store.blobs().get(&blob)?);
            }
        }
        Ok(images)
    }
}
