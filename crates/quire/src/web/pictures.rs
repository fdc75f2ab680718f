//! Pictures that checks and agents looked at or that the person handed over, of one task alone. Who made them may have meant to break what
//! shows them, so that they come from an origin of previews, and none is vast.

use crate::error::Failure;
use crate::web::Page;
use std::sync::Arc;

/// Kinds that a browser shows as pictures and as nothing else.
pub const KINDS: &[&str] = &["image/png", "image/jpeg", "image/gif", "image/webp"];

/// Returns a picture of a task's by its hash, with its kind; `None` where the task has no such.
pub async fn picture(page: &Arc<Page>, id: u64, hash: &str) -> Result<Option<(String, Vec<u8>)>, Failure> {
    let hash = hash.to_owned();
    let read = page.blocking(move |page| {
        let task = page.quire.task(id)?;
        let looks = task.versions.iter().flat_map(|version| &version.looks).flat_map(|look| &look.pictures);
        let proofs = task.versions.iter().flat_map(|version| &version.proofs);
        let shots = proofs.flat_map(|proof| &proof.shots).map(|shot| &shot.image);
        let seen = looks.chain(shots).map(|picture| (picture.blob, picture.media_type.clone()));
        let given = task.attached().iter().filter_map(|file| Some((file.blob, file.media_type.clone()?)));
        let mut pictures = seen.chain(given);
        let found = pictures.find(|(blob, kind)| blob.to_string() == hash && KINDS.contains(&kind.as_str()));
        let Some((blob, kind)) = found else { return Ok(None) };
        let bytes = page.quire.store().blobs().get(&blob).map_err(quire_engine::EngineError::from)?;
        Ok(Some((kind, bytes)))
    });
    read.await
}
