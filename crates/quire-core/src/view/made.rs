//! What a version made and what of it was not checked, in a few words: a row tells it, so that one knows before one looks.

use super::{Brief, CheckRow, count, has_committed};
use crate::event::Shot;
use crate::task::{Phase, Task, Version};

/// A window up to this width, in pixels, is a phone's.
const PHONE_MAX: u32 = 480;

/// Returns what the task's version made: `5 files, works on phones, 1 thing not checked`, or `no files changed`. `None` where none is
/// there to be looked at, or nothing is known of it.
pub(super) fn made(task: &Task) -> Option<String> {
    let version = task.version().filter(|_| task.imported_from().is_none())?;
    let files = version.files.map(|files| match files {
        0 if has_committed(&version.apart) => "no file changed; it committed in git".to_owned(),
        0 => "no files changed".to_owned(),
        files => count(files.into(), "file"),
    });
    let parts = match task.phase {
        Phase::Accepted => vec![files],
        Phase::Ready if version.files == Some(0) => vec![files],
        Phase::Ready => vec![files, on_phones(version), not_checked(task, version)],
        _ => vec![],
    };
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Returns how a page of the version's does in a phone's window, where quire opened one in such.
fn on_phones(version: &Version) -> Option<String> {
    let proofs = version.proofs.iter().filter(|proof| proof.passed && proof.buts.is_empty());
    let shots: Vec<&Shot> =
        proofs.flat_map(|proof| &proof.shots).filter(|shot| shot.width <= PHONE_MAX).collect();
    let told = match shots.iter().any(|shot| shot.wider > 0) {
        _ if shots.is_empty() => return None,
        true => "too wide for phones",
        false => "works on phones",
    };
    Some(told.to_owned())
}

/// Returns what of the version nothing was seen of: all of it, or so many of its agent's claims.
fn not_checked(task: &Task, version: &Version) -> Option<String> {
    if version.proofs.iter().all(|proof| proof.unable.is_some()) {
        return Some("not checked".to_owned());
    }
    let rows =
        version.checks.iter().zip(&version.proofs).map(|(spec, proof)| CheckRow::of(spec, Some(proof)));
    let brief = Brief::of(&task.without_notes(version), &rows.collect::<Vec<_>>());
    let open = brief.claims.iter().filter(|claim| claim.passed.is_none()).count();
    (open > 0).then(|| format!("{} not checked", count(open as u64, "thing")))
}
