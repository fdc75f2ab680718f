//! `quire review N --evidence DIR`: what quire saw of a version, as files that a person can send on.

use crate::cmd::{Face, print_json};
use crate::error::{Exit, Failure};
use crate::terminal::{Look, clean, print, took};
use quire_core::Task;
use quire_core::charter::CheckSpec;
use quire_core::event::Proof;
use quire_core::task::Version;
use quire_core::view::{CheckRow, Review};
use quire_engine::Quire;
use serde_json::json;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Writes `summary.txt` (as `quire review` shows it), `review.json`, `changes.diff`, and for each check its facts and its whole
/// output, and the pictures that the agent looked at.
pub fn write(quire: &Quire, id: u64, dir: &Path, face: &Face) -> Result<Exit, Failure> {
    let review = quire.review(id)?;
    let (task, diff) = (quire.task(id)?, quire.diff(id, None)?);
    let unwritten = |error: io::Error| {
        let next = "Name a folder that is not there yet, in a place where you may write";
        let exit = match error.kind() {
            io::ErrorKind::AlreadyExists => Exit::WrongUse,
            _ => Exit::Trouble,
        };
        Failure::new(
            exit,
            format!("The evidence cannot be written to {}: {error}.", dir.display()),
            "Task and folder are as they were.",
            next.to_owned(),
        )
    };
    // A folder of its own, so that nothing of the person's is written over.
    DirBuilder::new().mode(0o755).create(dir).map_err(unwritten)?;
    let plain = Look { terminal: false, color: false, width: 100 };
    let mut files = vec![
        ("summary.txt".to_owned(), summary(&review, &task, &plain).into_bytes()),
        (
            "review.json".to_owned(),
            serde_json::to_vec_pretty(&json!({"v": 1, "task": id, "review": review}))
                .map_err(io::Error::from)
                .map_err(unwritten)?,
        ),
        ("changes.diff".to_owned(), diff),
    ];
    if let Some(version) = task.version() {
        files.extend(checks(quire, version)?);
        files.extend(pictures(quire, version)?);
    }
    let written = files.iter().try_for_each(|(name, content)| fs::write(dir.join(name), content));
    if let Err(error) = written {
        // Made here, and in the way of the next try.
        let _ = fs::remove_dir_all(dir);
        return Err(unwritten(error));
    }
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    if face.json {
        print_json(json!({"task": id, "evidence": dir, "files": names}))?;
    } else {
        print(&clean(&format!("{}: {}\n", dir.display(), names.join(", "))))?;
    }
    Ok(Exit::Done)
}

fn summary(review: &Review, task: &Task, look: &Look) -> String {
    format!(
        "{}\n\nAsked for: {}\n",
        super::review::text(review, &task.charter.folders, look),
        clean(&task.words.join("\n\n"))
    )
}

/// Returns a file for each check that was run.
fn checks(quire: &Quire, version: &Version) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut files = vec![];
    for (n, (spec, proof)) in version.checks.iter().zip(&version.proofs).enumerate() {
        let whole = match &proof.whole {
            Some(hash) => quire.store().blobs().get(hash).map_err(quire_engine::EngineError::from)?,
            None => proof.output.clone().into_bytes(),
        };
        let mut content = facts(spec, proof).into_bytes();
        content.extend(whole);
        files.push((format!("check-{}-{}.txt", n + 1, plain_name(&spec.name)), content));
    }
    Ok(files)
}

/// Returns what the agent was shown of what it made.
fn pictures(quire: &Quire, version: &Version) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let all = version.looks.iter().enumerate().flat_map(|(n, look)| {
        let row =
            move |(at, picture)| (format!("look-{}-{}-{}", n + 1, plain_name(&look.target), at + 1), picture);
        look.pictures.iter().enumerate().map(row)
    });
    let mut files = vec![];
    for (name, picture) in all {
        let content = quire.store().blobs().get(&picture.blob).map_err(quire_engine::EngineError::from)?;
        let ending = picture.media_type.rsplit('/').next().unwrap_or("png");
        files.push((format!("{name}.{}", plain_name(ending)), content));
    }
    Ok(files)
}

fn facts(spec: &CheckSpec, proof: &Proof) -> String {
    let row = CheckRow::of(spec, Some(proof));
    let exit = proof.exit.map_or("it did not end".to_owned(), |exit| exit.to_string());
    format!(
        "command:  {}\noutcome:  {}\nexit:     {exit}\ntook:     {}\nsnapshot: {}\n\n",
        spec.command,
        row.outcome,
        took(proof.millis),
        proof.snapshot
    )
}

/// Returns a name as a part of a file's.
fn plain_name(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .take(40)
        .collect();
    plain.trim_matches('-').to_owned()
}
