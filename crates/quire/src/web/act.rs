//! What a person decides on the page: each form is one of the commands, done by the same functions. Each is answered by where
//! to look now, so that a reload does nothing twice.

use crate::cmd::home as home_folder;
use crate::cmd::resume;
use crate::error::{Exit, Failure};
use crate::web::door::Fields;
use crate::web::preview::Side;
use crate::web::{Page, changes, frame, home, lock, notes, nowhere, points, undo};
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use quire_core::message::Attachment;
use quire_core::view::{FileChange, Review, Uses, Written};
use quire_core::{Phase, RelPath};
use quire_engine::keys::Keys;
use quire_engine::settings::{self, Options};
use quire_engine::{Choice, EngineError, attached, desktop};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

/// Of one task; as many as `quire run -n` takes.
const ATTEMPTS_MAX: u32 = 16;
const NOTHING: &str = "Nothing was started or changed.";

/// Returns the way to where the outcome is seen, or the failure's page.
fn then(done: Result<String, Failure>, back: &str) -> Response {
    match done {
        Ok(to) => see(&to),
        Err(failure) => frame::failed(&failure, back),
    }
}

pub fn see(to: &str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response()
}

pub fn of(id: u64) -> String {
    format!("/tasks/{id}")
}

fn side_by_side(id: u64) -> String {
    format!("/tasks/{id}/compare")
}

/// Returns the words of a form.
fn words(fields: &Fields) -> Result<String, Failure> {
    // Browsers send line breaks as CRLF (HTML, form submission).
    let words = fields.filled("words").map(|words| words.replace("\r\n", "\n"));
    words.ok_or_else(|| {
        Failure::new(Exit::WrongUse, "There are no words.", NOTHING, "Say what should be done.")
    })
}

/// Does what a form decides to its end, also where the browser hangs up meanwhile: half of it would be no decision.
pub async fn to_its_end(work: impl Future<Output = Response> + Send + 'static) -> Response {
    tokio::spawn(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a decision failed");
        let (what, next) = ("A part of quire failed.", "See the host's log, then see where the task stands.");
        let safe = "Every task is in quire's log, as it was.";
        frame::failed(&Failure::new(Exit::Trouble, what, safe, next), "/")
    })
}

pub async fn start(State(page): State<Arc<Page>>, Extension(fields): Extension<Fields>) -> Response {
    to_its_end(async move { then(started(&page, &fields).await, "/") }).await
}

async fn started(page: &Arc<Page>, fields: &Fields) -> Result<String, Failure> {
    let words = words(fields)?;
    let here = page.here();
    // A name is taken once a task has it: two that begin at once would be given the same.
    let mut naming = None;
    let (folder, new_folder) = match (fields.filled("path"), fields.filled("folder")) {
        (Some(path), _) => (PathBuf::from(path), false),
        (None, Some("new")) => {
            naming = Some(page.naming.lock().await);
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
    // The one that is chosen, those that are ticked beside it, and those that are named.
    let models =
        fields.filled("model").into_iter().chain(fields.all("with").flat_map(|with| with.split([',', ' '])));
    let mut named: Vec<String> = vec![];
    for model in models.map(str::trim).filter(|model| !model.is_empty()) {
        if !named.iter().any(|known| known == model) {
            named.push(model.to_owned());
        }
    }
    let attempts = match fields.filled("attempts").map(str::parse) {
        None => None,
        Some(Ok(attempts @ 1..=ATTEMPTS_MAX)) => Some(attempts),
        Some(_) => {
            let what = format!("There can be 1 to {ATTEMPTS_MAX} attempts.");
            return Err(Failure::new(Exit::WrongUse, what, NOTHING, "Choose fewer."));
        }
    };
    if named.len() > ATTEMPTS_MAX as usize {
        let what = format!("These are more than {ATTEMPTS_MAX} models.");
        return Err(Failure::new(Exit::WrongUse, what, NOTHING, "Choose fewer."));
    }
    let options = Options {
        folder: Some(folder),
        new_folder,
        model: named.first().cloned(),
        budget: fields.filled("budget").map(str::to_owned),
        checks: fields.filled("check").map(str::to_owned).into_iter().collect(),
        ..Options::default()
    };
    let resolved = settings::resolve(&options, &here)?;
    let keys = Keys::read(&here)?;
    let files = kept(page, fields).await?;
    let all = quire_engine::spread(&named, attempts);
    if all.len() > 1 {
        let models = quire_engine::find_models(&resolved, &options, &all, &keys, &here).await?;
        let opened =
            page.blocking(move |page| Ok(page.quire.open_attempts(&resolved, &models, &words, &files)?));
        let ids = opened.await?;
        drop(naming);
        for id in &ids {
            let id = *id;
            let task = page.blocking(move |page| Ok(page.quire.task(id)?)).await?;
            page.quire.hand_over(task.id, &Uses::of(&task), &keys, &here).await?;
        }
        return Ok(side_by_side(ids[0]));
    }
    let task = page.quire.begin(&resolved, &words, files, &keys, &here).await;
    drop(naming);
    let task = match task {
        Ok(task) => task,
        // It is kept, and its page says what it waits for.
        Err(EngineError::NoModel { task, .. }) => return Ok(of(task)),
        Err(error) => return Err(error.into()),
    };
    page.quire.hand_over(task.id, &Uses::of(&task), &keys, &here).await?;
    Ok(of(task.id))
}

/// Stores the files that came with a form.
async fn kept(page: &Arc<Page>, fields: &Fields) -> Result<Vec<Attachment>, Failure> {
    let given = fields.clone();
    let kept = page.blocking(move |page| {
        let kept = attached::keep(given.files(), page.quire.store().blobs());
        Ok(kept.map_err(EngineError::from)?)
    });
    kept.await
}

/// One of a task's decisions.
pub async fn decide(
    State(page): State<Arc<Page>>,
    Path((id, decision)): Path<(u64, String)>,
    Extension(fields): Extension<Fields>,
) -> Response {
    to_its_end(async move { decided(&page, id, &decision, fields).await }).await
}

async fn decided(page: &Arc<Page>, id: u64, decision: &str, fields: Fields) -> Response {
    let done = match decision {
        "accept" => return accept(page, id, fields).await,
        "undo" => return undo::undo(page, id, fields).await,
        "open" => open_folder(page, id, &fields).await,
        "revise" => revise(page, id, &fields).await,
        "resume" => resume(page, id, &fields).await,
        "answer" => answer(page, id, &fields).await,
        "reply" => reply(page, id, &fields).await,
        "stop" => stop(page, id).await,
        "serve" => serve(page, id).await,
        "fit" => fit(page, id).await,
        "rewind" => points::rewind(page, id, &fields).await,
        "fork" => points::fork(page, id, &fields).await,
        "unnote" => notes::drop(page, id, &fields).await,
        "discard" => discard(page, id).await,
        "seen" => return then(changes::see(page, id, &fields).await, &format!("{}#changes", of(id))),
        "suggest" => return then(suggest(page, id).await, &side_by_side(id)),
        "mix" => return then(mix(page, id, &fields).await, &side_by_side(id)),
        "discard-attempts" => discard_attempts(page, id, &fields).await,
        _ => return nowhere().await,
    };
    then(done, &of(id))
}

async fn accept(page: &Arc<Page>, id: u64, fields: Fields) -> Response {
    let form = fields.clone();
    let accepted = page.blocking(move |page| {
        let review = page.review(id, None)?;
        let nothing = review.is_answer();
        let choice = chosen(&review, &page.quire.task(id)?.charter.folders, &form)?;
        Ok(match page.quire.accept(id, &choice) {
            Ok(written) => {
                // Where there was nothing to write, there is nothing to look at either.
                if !nothing {
                    said(page, id, &written);
                }
                // Who goes through one after the other goes on with the next. It is accepted whatever becomes of that.
                let next = form.filled("next").and_then(|_| home::next(page, id).ok().flatten());
                Ok(match next {
                    Some(at) => format!("{at}?after={id}"),
                    None if nothing => "/".to_owned(),
                    None => of(id),
                })
            }
            Err(error) => Err((yes(&error), Failure::from(error))),
        })
    });
    match accepted.await {
        Ok(Ok(at)) => see(&at),
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
        EngineError::Merges { now, over, .. } if !over.is_empty() => {
            Some(("Accept it so", "seen", now.to_string()))
        }
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
    // Where only some of the changes are on the page, no file has a box.
    let numbers =
        |name| fields.all(name).filter_map(|number| number.parse().ok()).collect::<BTreeSet<usize>>();
    let over = numbers("over");
    let mut ticked: BTreeSet<usize> = match (fields.filled("all"), fields.filled("heads")) {
        (Some(_), _) => &(0..review.files.len()).collect() - &numbers("without"),
        // A file with two boxes is taken where both say so.
        (None, Some(_)) => &numbers("file") & &numbers("head"),
        (None, None) => numbers("file"),
    };
    ticked.extend(&over);
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
    if paths.is_empty() && hunks.is_empty() && !review.files.is_empty() {
        return wrong("No change was chosen.", "Tick at least one file, or discard the task.");
    }
    let at = |file: &FileChange, path: &RelPath| {
        let folder = folders.get(file.folder as usize)?;
        Some(folder.join(OsStr::from_bytes(path.as_bytes())).into_os_string())
    };
    let over = over.iter().filter_map(|number| review.files.get(*number)).flat_map(|file| {
        [Some(&file.path), file.renamed_from.as_ref()]
            .into_iter()
            .flatten()
            .filter_map(move |path| at(file, path))
    });
    Ok(Choice {
        paths: if all { vec![] } else { paths },
        hunks,
        over: over.collect(),
        seen: Some(seen.to_owned()),
        programs: fields.filled("programs").is_some(),
        unchecked: fields.filled("unchecked").is_some(),
        commit: false,
        aside: None,
    })
}

/// Keeps what was written for the page that is looked at next.
pub fn said(page: &Page, id: u64, written: &Written) {
    say(page, id, written.text(home_folder().as_deref()));
}

fn say(page: &Page, id: u64, text: String) {
    if let Ok(task) = page.quire.task(id) {
        lock(&page.said).insert(id, (task.seq, text));
    }
}

/// Shows a task's folder in the desktop's file manager, or says where it is.
async fn open_folder(page: &Arc<Page>, id: u64, fields: &Fields) -> Result<String, Failure> {
    let number = fields.filled("folder").and_then(|number| number.parse().ok()).unwrap_or(0);
    let task = page.blocking(move |page| Ok(page.quire.task(id)?)).await?;
    let Some(folder) = task.charter.folders.get::<usize>(number).cloned() else {
        let next = "Load the page anew.";
        return Err(Failure::new(Exit::WrongUse, "The task has no such folder.", NOTHING, next));
    };
    if !desktop::open_folder(&folder, &page.here()).await {
        let told = format!("It cannot be opened from here. The folder is {}.", folder.display());
        page.blocking(move |page| {
            say(page, id, told);
            Ok(())
        })
        .await?;
    }
    Ok(of(id))
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
async fn revise(page: &Arc<Page>, id: u64, fields: &Fields) -> Result<String, Failure> {
    let here = page.here();
    let words = if fields.filled("notes").is_some() { None } else { Some(words(fields)?) };
    let keys = Keys::read(&here)?;
    let files = kept(page, fields).await?;
    let task = page.quire.revise(id, words.as_deref(), files, &keys, &here).await?;
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
    let answer = match fields.get("allow") {
        Some("yes") => (true, false),
        Some("once") => (true, true),
        Some("no") => (false, false),
        _ => return Err(answers_nothing()),
    };
    let reach = fields.get("reach").and_then(|reach| reach.parse().ok()).ok_or_else(answers_nothing)?;
    page.quire.settle(id, reach, answer, &Keys::read(&here)?, &here).await?;
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

/// Asks a model which of the attempts it would take.
async fn suggest(page: &Page, id: u64) -> Result<String, Failure> {
    let here = page.here();
    let came = page.quire.suggest(&[id], &Keys::read(&here)?, &here).await?;
    came.map(|_| side_by_side(id)).map_err(|fault| {
        let what = format!("No suggestion came: {}", fault.message);
        Failure::new(Exit::NoModel, what, "Nothing was changed.", "Compare them without it, or ask again.")
    })
}

/// Begins a further attempt with the files of one.
async fn mix(page: &Page, id: u64, fields: &Fields) -> Result<String, Failure> {
    let here = page.here();
    let from = fields.get("from").and_then(|from| from.parse().ok()).ok_or_else(|| {
        let what = "This form does not say which attempt a further one begins with.";
        Failure::new(Exit::WrongUse, what, NOTHING, "Choose one.")
    })?;
    let keys = Keys::read(&here)?;
    let task = page.quire.mix(from, &words(fields)?, &keys, &here).await?;
    page.quire.hand_over(task.id, &Uses::of(&task), &keys, &here).await?;
    Ok(side_by_side(id))
}

/// Discards those of a task's attempts that the form shows, and of which nothing is in the folder. One that is refused keeps none
/// of the others.
async fn discard_attempts(page: &Arc<Page>, id: u64, fields: &Fields) -> Result<String, Failure> {
    let shown: BTreeSet<u64> = fields.all("task").filter_map(|task| task.parse().ok()).collect();
    if shown.is_empty() {
        let what = "This form does not say which attempts it shows.";
        return Err(Failure::new(Exit::WrongUse, what, NOTHING, "Load the page anew."));
    }
    let all = page.blocking(move |page| {
        let all = page.quire.beside(&page.quire.task(id)?)?;
        let left = all.into_iter().filter(|task| {
            shown.contains(&task.id) && task.phase != Phase::Discarded && task.last_accept().is_none()
        });
        Ok(left.map(|task| task.id).collect::<Vec<u64>>())
    });
    let mut refused = vec![];
    for task in all.await? {
        if let Err(failure) = discard(page, task).await {
            refused.push(failure);
        }
    }
    let Some(first) = refused.first().cloned() else { return Ok("/".to_owned()) };
    let what = refused.iter().map(|failure| failure.what.as_str()).collect::<Vec<_>>().join(" ");
    Err(Failure { what, safe: "The others are discarded.".to_owned(), ..first })
}

async fn discard(page: &Arc<Page>, id: u64) -> Result<String, Failure> {
    let discarded = page.blocking(move |page| Ok(page.quire.discard(id)?)).await;
    page.quire.tell_host(id).await;
    discarded.map(|()| "/".to_owned())
}
