//! What a person decides on the page: each form is one of the commands, done by the same functions. Each is answered by where
//! to look now, so that a reload does nothing twice.

use crate::cmd::home;
use crate::cmd::resume;
use crate::error::{Exit, Failure};
use crate::web::door::Fields;
use crate::web::preview::Side;
use crate::web::{Page, frame, lock, notes, nowhere};
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use quire_core::view::{Review, Uses};
use quire_engine::keys::Keys;
use quire_engine::settings::{self, Options};
use quire_engine::{Choice, EngineError};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

const NOTHING: &str = "Nothing was started or changed.";

/// Returns the way to where the outcome is seen, or the failure's page.
fn then(done: Result<String, Failure>, back: &str) -> Response {
    match done {
        Ok(to) => see(&to),
        Err(failure) => frame::failed(&failure, back),
    }
}

fn see(to: &str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response()
}

fn of(id: u64) -> String {
    format!("/tasks/{id}")
}

/// Returns the words of a form.
fn words(fields: &Fields) -> Result<String, Failure> {
    // Browsers send line breaks as CRLF (HTML, form submission).
    let words = fields.filled("words").map(|words| words.replace("\r\n", "\n"));
    words.ok_or_else(|| {
        Failure::new(Exit::WrongUse, "There are no words.", NOTHING, "Say what should be done.")
    })
}

pub async fn start(State(page): State<Arc<Page>>, Extension(fields): Extension<Fields>) -> Response {
    then(started(&page, &fields).await, "/")
}

async fn started(page: &Arc<Page>, fields: &Fields) -> Result<String, Failure> {
    let words = words(fields)?;
    let here = page.here();
    let (folder, new_folder) = match (fields.filled("path"), fields.filled("folder")) {
        (Some(path), _) => (PathBuf::from(path), false),
        (None, Some("new")) => {
            let tasks = page.blocking(|page| Ok(page.quire.summaries()?)).await?;
            let taken = |folder: &std::path::Path| tasks.iter().any(|task| task.folders[0] == folder);
            (settings::new_folder(&here, &words, &taken)?, true)
        }
        (None, Some(folder)) => (PathBuf::from(folder), false),
        (None, None) => {
            let next = "Name one under More: Another folder.";
            return Err(Failure::new(Exit::WrongUse, "No folder is named.", NOTHING, next));
        }
    };
    let options = Options {
        folder: Some(folder),
        new_folder,
        model: fields.filled("model").map(str::to_owned),
        budget: fields.filled("budget").map(str::to_owned),
        checks: fields.filled("check").map(str::to_owned).into_iter().collect(),
        ..Options::default()
    };
    let resolved = settings::resolve(&options, &here)?;
    let keys = Keys::read(&here)?;
    let task = page.quire.begin(&resolved, &words, &[], &keys, &here).await;
    let task = match task {
        Ok(task) => task,
        // It is kept, and its page says what it waits for.
        Err(EngineError::NoModel { task, .. }) => return Ok(of(task)),
        Err(error) => return Err(error.into()),
    };
    page.quire.hand_over(task.id, &Uses::of(&task), &keys, &here).await?;
    Ok(of(task.id))
}

/// One of a task's decisions.
pub async fn decide(
    State(page): State<Arc<Page>>,
    Path((id, decision)): Path<(u64, String)>,
    Extension(fields): Extension<Fields>,
) -> Response {
    let done = match decision.as_str() {
        "accept" => return accept(&page, id, fields).await,
        "undo" => undo(&page, id).await,
        "revise" => revise(&page, id, &fields).await,
        "resume" => resume(&page, id, &fields).await,
        "answer" => answer(&page, id, &fields).await,
        "reply" => reply(&page, id, &fields).await,
        "stop" => stop(&page, id).await,
        "serve" => serve(&page, id).await,
        "fit" => fit(&page, id).await,
        "unnote" => notes::drop(&page, id, &fields).await,
        "discard" => discard(&page, id).await,
        _ => return nowhere().await,
    };
    then(done, &of(id))
}

async fn accept(page: &Arc<Page>, id: u64, fields: Fields) -> Response {
    let form = fields.clone();
    let accepted = page.blocking(move |page| {
        let choice = chosen(&*page.review(id)?, &page.quire.task(id)?.charter.folders, &form)?;
        Ok(match page.quire.accept(id, &choice) {
            Ok(written) => {
                lock(&page.said).insert(id, written.text(home().as_deref()));
                Ok(())
            }
            Err(error) => Err((yes(&error), Failure::from(error))),
        })
    });
    match accepted.await {
        Ok(Ok(())) => see(&of(id)),
        Ok(Err((Some((label, name, value)), failure))) => {
            let again = fields.again(&format!("{}/accept", of(id)), name, &value, label);
            frame::asked_again(&failure, &of(id), &again)
        }
        Ok(Err((None, failure))) | Err(failure) => frame::failed(&failure, &of(id)),
    }
}

/// Returns what a person may say yes to where an accept was refused: in words, and as the field that says it.
fn yes(error: &EngineError) -> Option<(&'static str, &'static str, String)> {
    match error {
        EngineError::Fails { .. } | EngineError::Unchecked { .. } => {
            Some(("Accept anyway, unchecked", "unchecked", "yes".to_owned()))
        }
        EngineError::Programs { .. } => Some(("Accept these files too", "programs", "yes".to_owned())),
        EngineError::Merges { now, .. } => Some(("Accept it with my edits kept", "seen", now.to_string())),
        _ => None,
    }
}

/// Returns what a form chose: the files that are ticked, without the hunks that are left out. What the page has not drawn yet
/// has no box of its own, so that a hunk is named where it is not wanted, and not where it is.
fn chosen(review: &Review, folders: &[PathBuf], fields: &Fields) -> Result<Choice, Failure> {
    let wrong = |what, next| Err(Failure::new(Exit::WrongUse, what, "Nothing was written.", next));
    // That the numbers and names are those of the last version is looked at when it is accepted.
    let Some(seen) = fields.filled("seen") else {
        return wrong("This form does not say which version was seen.", "Load the page anew.");
    };
    let ticked: BTreeSet<usize> = fields.all("file").filter_map(|number| number.parse().ok()).collect();
    let left: BTreeSet<&str> = fields.all("leave").collect();
    let (mut paths, mut hunks, mut all) = (vec![], vec![], true);
    for (number, file) in review.files.iter().enumerate() {
        let wanted: Vec<_> = file.hunks.iter().filter(|hunk| !left.contains(hunk.id.as_str())).collect();
        if !ticked.contains(&number) || wanted.is_empty() && !file.hunks.is_empty() {
            all = false;
        } else if wanted.len() < file.hunks.len() {
            all = false;
            hunks.extend(wanted.into_iter().map(|hunk| hunk.id.clone()));
        } else if let Some(folder) = folders.get(file.folder as usize) {
            paths.push(folder.join(OsStr::from_bytes(file.path.as_bytes())).into_os_string());
        }
    }
    if paths.is_empty() && hunks.is_empty() {
        return wrong("No change was chosen.", "Tick at least one file, or discard the task.");
    }
    Ok(Choice {
        paths: if all { vec![] } else { paths },
        hunks,
        seen: Some(seen.to_owned()),
        programs: fields.filled("programs").is_some(),
        unchecked: fields.filled("unchecked").is_some(),
        commit: false,
    })
}

async fn undo(page: &Arc<Page>, id: u64) -> Result<String, Failure> {
    let undone = page.blocking(move |page| {
        let written = page.quire.undo(id)?;
        lock(&page.said).insert(id, written.text(home().as_deref()));
        Ok(of(id))
    });
    undone.await
}

pub async fn note(
    State(page): State<Arc<Page>>,
    Path(id): Path<u64>,
    Extension(fields): Extension<Fields>,
) -> Response {
    let kept = async { notes::keep(&page, id, words(&fields)?, fields).await };
    then(kept.await, &of(id))
}

/// Sends the agent on to fit its version around what the person did in the folder.
async fn fit(page: &Page, id: u64) -> Result<String, Failure> {
    let here = page.here();
    let keys = Keys::read(&here)?;
    let task = page.quire.fit_around(id, None, &keys, &here).await?;
    page.quire.hand_over(task.id, &Uses::of(&task), &keys, &here).await?;
    Ok(of(id))
}

/// Says what should be different; notes that were not sent go with it.
async fn revise(page: &Page, id: u64, fields: &Fields) -> Result<String, Failure> {
    let here = page.here();
    let words = if fields.filled("notes").is_some() { None } else { Some(words(fields)?) };
    let keys = Keys::read(&here)?;
    let task = page.quire.revise(id, words.as_deref(), &keys, &here).await?;
    page.quire.hand_over(task.id, &Uses::of(&task), &keys, &here).await?;
    Ok(of(id))
}

async fn resume(page: &Page, id: u64, fields: &Fields) -> Result<String, Failure> {
    let here = page.here();
    let keys = Keys::read(&here)?;
    let limit = page.quire.store().task(id).map_err(EngineError::from)?.charter.limits.task_usd;
    let plan = fields.filled("plan").map(|plan| plan.replace("\r\n", "\n"));
    let budget = fields.filled("budget").map(|text| resume::budget(text, limit)).transpose()?;
    let task = page.quire.carry_on(id, budget, fields.filled("model"), plan.as_deref(), &keys, &here).await?;
    page.quire.hand_over(task.id, &Uses::of(&task), &keys, &here).await?;
    Ok(of(id))
}

fn answers_nothing() -> Failure {
    Failure::new(Exit::WrongUse, "This form answers nothing.", NOTHING, "Load the page anew.")
}

async fn answer(page: &Page, id: u64, fields: &Fields) -> Result<String, Failure> {
    let here = page.here();
    let allow = match fields.get("allow") {
        Some("yes") => true,
        Some("no") => false,
        _ => return Err(answers_nothing()),
    };
    let reach = fields.get("reach").and_then(|reach| reach.parse().ok()).ok_or_else(answers_nothing)?;
    page.quire.settle(id, reach, allow, &Keys::read(&here)?, &here).await?;
    // To where it was asked.
    Ok(if fields.get("on") == Some("task") { of(id) } else { "/".to_owned() })
}

/// Answers a question of the agent's: with one of its choices, in words, or with what it assumes.
async fn reply(page: &Page, id: u64, fields: &Fields) -> Result<String, Failure> {
    let here = page.here();
    let number: u32 =
        fields.get("question").and_then(|number| number.parse().ok()).ok_or_else(answers_nothing)?;
    let words = fields.filled("choice").or(fields.filled("words")).map(str::to_owned);
    page.quire.settle_agent(id, &[(number, words)], &Keys::read(&here)?, &here).await?;
    Ok(of(id))
}

async fn stop(page: &Arc<Page>, id: u64) -> Result<String, Failure> {
    let stopped = page.blocking(move |page| Ok(page.quire.pause(id)?)).await;
    page.quire.tell_host(id).await;
    stopped.map(|()| of(id))
}

/// Runs the last version's own server, to be looked at.
async fn serve(page: &Arc<Page>, id: u64) -> Result<String, Failure> {
    let version =
        page.blocking(move |page| Ok(page.quire.task(id)?.versions.last().map(|last| last.number))).await?;
    let shown = version.map(|_| Side { task: id, version, served: true });
    page.serve(shown.ok_or_else(|| {
        Failure::new(Exit::WrongUse, "There is no version to be shown.", NOTHING, "Wait until it is ready.")
    })?);
    Ok(format!("{}#result", of(id)))
}

async fn discard(page: &Arc<Page>, id: u64) -> Result<String, Failure> {
    let discarded = page.blocking(move |page| Ok(page.quire.discard(id)?)).await;
    page.quire.tell_host(id).await;
    discarded.map(|()| "/".to_owned())
}
