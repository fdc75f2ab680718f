//! Pictures that an agent looked at or that its person handed over, of the tasks of this page alone.

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
        let looked =
            looks.flat_map(|look| &look.pictures).map(|picture| (picture.blob, picture.media_type.clone()));
        let given = task.attached().iter().filter_map(|file| Some((file.blob, file.media_type.clone()?)));
        let mut pictures = looked.chain(given);
        let found = pictures.find(|(blob, kind)| blob.to_string() == name && KINDS.contains(&kind.as_str()));
        let Some((blob, kind)) = found else {
            let next = "Load the review anew.";
            return Err(Failure::new(
                Exit::NoTask,
                "The task has no such picture.",
                "Nothing was changed.",
                next,
            ));
        };
        let bytes = page.quire.store().blobs().get(&blob).map_err(quire_engine::EngineError::from)?;
        Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
    });
    made.await.unwrap_or_else(|failure| frame::failed(&failure, &format!("/tasks/{id}")))
}
