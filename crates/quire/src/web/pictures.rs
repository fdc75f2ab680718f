//! What an agent looked at: pictures that its looks left, of the tasks of this page alone.

use crate::error::{Exit, Failure};
use crate::web::{Page, frame};
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// Kinds that a browser shows as pictures and as nothing else.
const KINDS: &[&str] = &["image/png", "image/jpeg", "image/gif", "image/webp"];

pub async fn picture(State(page): State<Arc<Page>>, Path((id, name)): Path<(u64, String)>) -> Response {
    let made = page.blocking(move |page| {
        let task = page.quire.task(id)?;
        let looks = task.versions.iter().flat_map(|version| &version.looks);
        let mut pictures = looks.flat_map(|look| &look.pictures);
        let found = pictures
            .find(|picture| picture.blob.to_string() == name && KINDS.contains(&picture.media_type.as_str()));
        let Some(picture) = found else {
            let next = "Load the review anew.";
            return Err(Failure::new(
                Exit::NoTask,
                "The task has no such picture.",
                "Nothing was changed.",
                next,
            ));
        };
        let bytes = page.quire.store().blobs().get(&picture.blob).map_err(quire_engine::EngineError::from)?;
        Ok(([(header::CONTENT_TYPE, picture.media_type.clone())], bytes).into_response())
    });
    made.await.unwrap_or_else(|failure| frame::failed(&failure, &format!("/tasks/{id}")))
}
