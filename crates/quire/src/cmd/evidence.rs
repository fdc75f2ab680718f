//! `quire review N --evidence DIR`: what quire saw of a version, as files that a person can send on.

use crate::cmd::{Face, print_json};
use crate::error::{Exit, Failure};
use crate::terminal::{Look, clean, print, took};
use quire_core::charter::CheckSpec;
use quire_core::event::Proof;
use quire_core::task::{Version, own_words};
use quire_core::view::{CheckRow, Review};
use quire_core::{Hash, Task};
use quire_engine::blob::BlobError;
use quire_engine::{EngineError, Quire};
use serde_json::json;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Writes `summary.txt` (as `quire review` shows it), `review.json`, `changes.diff`, and for each check its facts and its whole
/// output, and the pictures that the agent looked at.
pub fn write(quire: &Quire, id: u64, dir: &Path, face: &Face) -> Result<Exit, Failure> {
    let review = quire.review(id)?;
    let (task, diff) = (quire.task(id)?, quire.patch(id, None)?);
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
    let json = serde_json::to_vec_pretty(&json!({"v": 1, "task": id, "review": review}));
    let mut files = vec![
        Written::of("summary.txt", summary(&review, &task, &plain).into_bytes()),
        Written::of("review.json", json.map_err(io::Error::from).map_err(unwritten)?),
        Written::of("changes.diff", diff),
    ];
    if let Some(version) = task.version() {
        files.extend(checks(version));
        files.extend(shots(version));
        files.extend(pictures(version));
    }
    if let Err(error) = files.iter().try_for_each(|file| file.write(quire, dir)) {
        // Made here, and in the way of the next try.
        let _ = fs::remove_dir_all(dir);
        return Err(match error {
            Unwritten::Blob(error) => EngineError::from(error).into(),
            Unwritten::File(error) => unwritten(error),
        });
    }
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
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
        clean(&task.words.iter().map(|words| own_words(words)).collect::<Vec<_>>().join("\n\n"))
    )
}

/// A file of the evidence. What is kept as a blob may be of any size, and is never in memory as a whole.
struct Written {
    name: String,
    head: Vec<u8>,
    then: Option<Hash>,
}

enum Unwritten {
    Blob(BlobError),
    File(io::Error),
}

impl Written {
    fn of(name: &str, head: Vec<u8>) -> Written {
        Written { name: name.to_owned(), head, then: None }
    }

    fn write(&self, quire: &Quire, dir: &Path) -> Result<(), Unwritten> {
        let mut file = File::create_new(dir.join(&self.name)).map_err(Unwritten::File)?;
        file.write_all(&self.head).map_err(Unwritten::File)?;
        if let Some(blob) = &self.then {
            let mut content = quire.store().blobs().open(blob).map_err(Unwritten::Blob)?;
            // A spoilt one is told at its end.
            io::copy(&mut content, &mut file).map_err(Unwritten::File)?;
        }
        Ok(())
    }
}

/// Returns a file for each check that was run.
fn checks(version: &Version) -> impl Iterator<Item = Written> {
    version.checks.iter().zip(&version.proofs).enumerate().map(|(n, (spec, proof))| {
        let mut head = facts(spec, proof);
        if proof.whole.is_none() {
            head.push_str(&proof.output);
        }
        let name = format!("check-{}-{}.txt", n + 1, plain_name(&spec.name));
        Written { name, head: head.into_bytes(), then: proof.whole }
    })
}

/// Returns the pictures of pages that checks opened.
fn shots(version: &Version) -> impl Iterator<Item = Written> {
    version.proofs.iter().enumerate().flat_map(|(n, proof)| {
        proof.shots.iter().map(move |shot| {
            let ending = plain_name(shot.image.media_type.rsplit('/').next().unwrap_or("png"));
            let name = format!("check-{}-{}-px.{ending}", n + 1, shot.width);
            Written { name, head: vec![], then: Some(shot.image.blob) }
        })
    })
}

/// Returns what the agent was shown of what it made.
fn pictures(version: &Version) -> impl Iterator<Item = Written> {
    version.looks.iter().enumerate().flat_map(|(n, look)| {
        look.pictures.iter().enumerate().map(move |(at, picture)| {
            let ending = plain_name(picture.media_type.rsplit('/').next().unwrap_or("png"));
            let name = format!("look-{}-{}-{}.{ending}", n + 1, plain_name(&look.target), at + 1);
            Written { name, head: vec![], then: Some(picture.blob) }
        })
    })
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
