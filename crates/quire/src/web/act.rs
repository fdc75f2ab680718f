//! What a person decides on the page: each form is one of the commands, done by the same functions. Each is answered by where
//! to look now, so that a reload does nothing twice.

use crate::cmd::home;
use crate::cmd::resume::more;
use crate::error::{Exit, Failure};
use crate::web::door::Fields;
use crate::web::{Page, frame, lock};
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use quire_engine::keys::Keys;
use quire_engine::settings::{self, Options};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

const NOTHING: &str = "Nothing was started or changed.";

/// Returns the way to where the outcome is seen, or the failure's page.
fn then(done: Result<String, Failure>, back: &str) -> Response {
    match done {
        Ok(to) => (StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response(),
        Err(failure) => frame::failed(&failure, back),
    }
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
    let folder = match (fields.filled("path"), fields.filled("folder")) {
        (Some(path), _) => PathBuf::from(path),
        (None, Some("new")) => settings::new_folder(&here, &words)?,
        (None, Some(folder)) => PathBuf::from(folder),
        (None, None) => {
            let next = "Name one under More: Another folder.";
            return Err(Failure::new(Exit::WrongUse, "No folder is named.", NOTHING, next));
        }
    };
    let options = Options {
        folder: Some(folder),
        model: fields.filled("model").map(str::to_owned),
        budget: fields.filled("budget").map(str::to_owned),
        checks: fields.filled("check").map(str::to_owned).into_iter().collect(),
        ..Options::default()
    };
    let resolved = settings::resolve(&options, &here)?;
    let keys = Keys::read(&here)?;
    let task = page.quire.begin(&resolved, &words, &keys, &here).await;
    let task = match task {
        Ok(task) => task,
        // It is kept, and its page says what it waits for.
        Err(quire_engine::EngineError::NoModel { task, .. }) => return Ok(of(task)),
        Err(error) => return Err(error.into()),
    };
    page.quire.hand_over(&task, &keys, &here).await?;
    Ok(of(task.id))
}

pub async fn accept(
    State(page): State<Arc<Page>>,
    Path(id): Path<u64>,
    Extension(fields): Extension<Fields>,
) -> Response {
    let done = page.blocking(move |page| {
        let Some(seen) = fields.filled("seen") else {
            let what = "This form does not say which version was seen.";
            return Err(Failure::new(Exit::WrongUse, what, "Nothing was written.", "Load the page anew."));
        };
        let review = page.review(id)?;
        let mut chosen: Vec<usize> = fields.all("file").filter_map(|number| number.parse().ok()).collect();
        chosen.sort_unstable();
        chosen.dedup();
        if chosen.is_empty() {
            let next = "Tick at least one file, or discard the task.";
            return Err(Failure::new(Exit::WrongUse, "No file was chosen.", "Nothing was written.", next));
        }
        // The numbers are those of the version that was seen; that it still is the last one is looked at below.
        let folders = page.quire.task(id)?.charter.folders.clone();
        let path = |number: &usize| {
            let file = review.files.get(*number)?;
            let folder = folders.get(file.folder as usize)?;
            Some(folder.join(OsStr::from_bytes(file.path.as_bytes())).into_os_string())
        };
        let all = chosen.len() == review.files.len();
        let paths: Vec<OsString> = if all { vec![] } else { chosen.iter().filter_map(path).collect() };
        let choice = quire_engine::Choice {
            paths,
            seen: Some(seen.to_owned()),
            programs: fields.filled("programs").is_some(),
            ..quire_engine::Choice::default()
        };
        let written = page.quire.accept(id, &choice)?;
        lock(&page.said).insert(id, written.text(home().as_deref()));
        Ok(of(id))
    });
    then(done.await, &of(id))
}

pub async fn undo(State(page): State<Arc<Page>>, Path(id): Path<u64>) -> Response {
    let done = page.blocking(move |page| {
        let written = page.quire.undo(id)?;
        lock(&page.said).insert(id, written.text(home().as_deref()));
        Ok(of(id))
    });
    then(done.await, &of(id))
}

pub async fn revise(
    State(page): State<Arc<Page>>,
    Path(id): Path<u64>,
    Extension(fields): Extension<Fields>,
) -> Response {
    let done = async {
        let (words, here) = (words(&fields)?, page.here());
        let keys = Keys::read(&here)?;
        let task = page.quire.revise(id, &words, &keys, &here).await?;
        page.quire.hand_over(&task, &keys, &here).await?;
        Ok(of(id))
    };
    then(done.await, &of(id))
}

pub async fn resume(
    State(page): State<Arc<Page>>,
    Path(id): Path<u64>,
    Extension(fields): Extension<Fields>,
) -> Response {
    let done = async {
        let here = page.here();
        let keys = Keys::read(&here)?;
        let task = page.quire.store().task(id).map_err(quire_engine::EngineError::from)?;
        let plan = fields.filled("plan").map(|plan| plan.replace("\r\n", "\n"));
        let budget = fields.filled("budget").map(|text| more(text, &task)).transpose()?;
        let task =
            page.quire.carry_on(id, budget, fields.filled("model"), plan.as_deref(), &keys, &here).await?;
        page.quire.hand_over(&task, &keys, &here).await?;
        Ok(of(id))
    };
    then(done.await, &of(id))
}

pub async fn answer(
    State(page): State<Arc<Page>>,
    Path(id): Path<u64>,
    Extension(fields): Extension<Fields>,
) -> Response {
    let done = async {
        let here = page.here();
        let answer = match (fields.get("reach").and_then(|n| n.parse().ok()), fields.get("allow")) {
            (Some(reach), Some("yes")) => Some((reach, true)),
            (Some(reach), Some("no")) => Some((reach, false)),
            _ => None,
        };
        let (reach, allow) = answer.ok_or_else(|| {
            Failure::new(Exit::WrongUse, "This form answers nothing.", NOTHING, "Load the page anew.")
        })?;
        page.quire.settle(id, reach, allow, &Keys::read(&here)?, &here).await?;
        // To where it was asked.
        Ok(if fields.get("on") == Some("task") { of(id) } else { "/".to_owned() })
    };
    then(done.await, &of(id))
}

/// Answers a question of the agent's: with one of its choices, in words, or with what it assumes.
pub async fn reply(
    State(page): State<Arc<Page>>,
    Path(id): Path<u64>,
    Extension(fields): Extension<Fields>,
) -> Response {
    let done = async {
        let here = page.here();
        let number = fields.get("question").and_then(|number| number.parse().ok());
        let number: u32 = number.ok_or_else(|| {
            Failure::new(Exit::WrongUse, "This form answers nothing.", NOTHING, "Load the page anew.")
        })?;
        let words = fields.filled("choice").or(fields.filled("words")).map(str::to_owned);
        page.quire.settle_agent(id, &[(number, words)], &Keys::read(&here)?, &here).await?;
        Ok(of(id))
    };
    then(done.await, &of(id))
}

pub async fn stop(State(page): State<Arc<Page>>, Path(id): Path<u64>) -> Response {
    let done = page.blocking(move |page| Ok(page.quire.pause(id)?)).await;
    page.quire.tell_host(id).await;
    then(done.map(|()| of(id)), &of(id))
}

pub async fn discard(State(page): State<Arc<Page>>, Path(id): Path<u64>) -> Response {
    let done = page.blocking(move |page| {
        page.quire.discard(id)?;
        settings::leave_new_folder(&page.here(), &page.quire.task(id)?.charter.folders[0]);
        Ok(())
    });
    let done = done.await;
    page.quire.tell_host(id).await;
    then(done.map(|()| "/".to_owned()), &of(id))
}
