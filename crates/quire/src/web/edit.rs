//! Take over: a file of the version, to be changed by its person. What they save is the next version, which quire checks as any
//! other. Only files that the review lists are to be had, by their place in it.

use crate::error::{Exit, Failure};
use crate::terminal::clean;
use crate::web::door::{Fields, Session};
use crate::web::field::Text;
use crate::web::frame::{self, Frame, Place};
use crate::web::text::marked;
use crate::web::{Page, act, changes};
use axum::extract::{Extension, Path, Query, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, PreEscaped, html};
use quire_core::event::Part;
use quire_core::view::{Fate, FileChange, Mark, Review, Shape};
use quire_engine::keys::Keys;
use quire_engine::{EDITED_BYTES_MAX, Editable, EngineError};
use std::collections::HashMap;
use std::sync::Arc;

/// Lines of the field before it grows.
const ROWS: usize = 24;

/// Returns whether a file of the last version can be edited here.
pub fn is_editable(review: &Review, file: &FileChange) -> bool {
    let is_text = file.shape == Shape::File && !file.binary && file.bytes <= EDITED_BYTES_MAX;
    matches!(review.mark, Mark::Ready | Mark::Accepted)
        && is_text
        && file.fate != Fate::Deleted
        && file.target.is_none()
}

/// Returns the address at which a file is edited.
pub fn address(task: u64, file: &FileChange) -> String {
    let (folder, path) = (file.folder.to_string(), file.path.to_string());
    let fields = [("folder", &folder), ("file", &path)];
    let fields = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    format!("/tasks/{task}/edit?{fields}")
}

/// Returns the way to take the version over: to its file, or to the choice of one. `None` where none can be edited.
pub fn take_over(review: &Review) -> Option<String> {
    let mut files = review.files.iter().filter(|file| is_editable(review, file));
    let first = files.next()?;
    Some(if files.next().is_some() {
        format!("/tasks/{}/edit", review.task)
    } else {
        address(review.task, first)
    })
}

/// The page on which a file is edited, or one is chosen.
pub async fn page(
    State(page): State<Arc<Page>>,
    Extension(session): Extension<Session>,
    Path(id): Path<u64>,
    Query(asked): Query<HashMap<String, String>>,
) -> Response {
    let made = page.blocking(move |page| {
        let frame = Frame::of(page, &session)?;
        let review = page.review(id, None)?;
        if !asked.contains_key("file") {
            return Ok(frame.page("Take over", Place::Tasks, &choice(&review)));
        }
        let file = named(&review, |name| asked.get(name).map(String::as_str))?;
        let editable = page.quire.editable_at(id, &file)?;
        let text = text_of(&editable)?;
        Ok(frame.page(
            &format!("Edit {}", editable.name),
            Place::Tasks,
            &form(&frame, &review, &editable, text.shown(), None),
        ))
    });
    made.await.unwrap_or_else(|failure| frame::failed(&failure, &format!("/tasks/{id}")))
}

/// Makes what was typed the next version. Whatever comes of it, what was typed is on the page that follows.
pub async fn save(
    State(page): State<Arc<Page>>,
    Extension(session): Extension<Session>,
    Path(id): Path<u64>,
    Extension(fields): Extension<Fields>,
) -> Response {
    let save = async move {
        match saved(&page, id, &fields).await {
            Ok(()) => act::see(&format!("/tasks/{id}")),
            Err(failure) => again(&page, session, id, fields, failure).await,
        }
    };
    act::to_its_end(save).await
}

async fn saved(page: &Arc<Page>, id: u64, fields: &Fields) -> Result<(), Failure> {
    let given = fields.clone();
    let (editable, content) = page
        .blocking(move |page| {
            let file = named(&*page.review(id, None)?, |name| given.get(name))?;
            let editable = page.quire.editable_at(id, &file)?;
            let Some(typed) = given.get("text") else {
                return Err(wrong("This form holds no text."));
            };
            if given.get("seen") != Some(&*editable.seen.to_string()) {
                return Err(EngineError::Seen { task: id, now: editable.seen }.into());
            }
            let content = text_of(&editable)?.typed(typed);
            Ok((editable, content))
        })
        .await?;
    let here = page.here();
    let keys = Keys::read(&here)?;
    page.quire.edit(id, &editable, Some(&content), &keys, &here).await?;
    Ok(())
}

/// Returns the page with what was typed, and why it was not saved; where the file is still there, it can be saved in its place.
async fn again(page: &Arc<Page>, session: Session, id: u64, fields: Fields, failure: Failure) -> Response {
    let (status, back) = (frame::status(&failure), format!("/tasks/{id}"));
    let why = failure.clone();
    let made = page.blocking(move |page| {
        let frame = Frame::of(page, &session)?;
        let review = page.review(id, None)?;
        let file = named(&review, |name| fields.get(name));
        let editable = file.and_then(|file| Ok(page.quire.editable_at(id, &file)?));
        let typed = fields.get("text").unwrap_or_default().replace("\r\n", "\n");
        let main = match editable {
            Ok(editable) => form(&frame, &review, &editable, &typed, Some(&why)),
            Err(_) => html! {
                main id="main" {
                    div.rev-head { (frame::told(&why)) }
                    div.cols { div.wide {
                        div.ask.say-box { label.q for="text" { "What you wrote" } textarea.field id="text" rows=(ROWS) readonly { (PreEscaped("\n")) (typed) } }
                        p.acts { a.btn href=(format!("/tasks/{id}")) { "Back to the task" } }
                    } }
                }
            },
        };
        Ok((status, frame.page("Not saved", Place::Tasks, &main)).into_response())
    });
    made.await.unwrap_or_else(|_| frame::failed(&failure, &back))
}

/// Returns the file of the version that the fields name.
fn named<'f>(review: &Review, field: impl Fn(&str) -> Option<&'f str>) -> Result<Part, Failure> {
    let (folder, path) = (field("folder").unwrap_or("0"), field("file").unwrap_or_default());
    let is_it = |file: &&FileChange| file.folder.to_string() == folder && file.path.to_string() == path;
    let file = review.files.iter().find(is_it).ok_or_else(|| wrong("The version has no such file."))?;
    Ok(Part { folder: file.folder, path: file.path.clone() })
}

fn text_of(editable: &Editable) -> Result<Text, Failure> {
    Text::of(&editable.content).ok_or_else(|| {
        let (what, next) =
            (format!("`{}` is not in UTF-8.", editable.name), "Edit it in a terminal: quire help edit");
        Failure::new(Exit::WrongUse, what, "Nothing was changed.", next)
    })
}

fn wrong(what: &str) -> Failure {
    Failure::new(Exit::WrongUse, what, "Nothing was changed.", "Load the review anew.")
}

fn choice(review: &Review) -> Markup {
    let files = review.files.iter().filter(|file| is_editable(review, file));
    html! {
        main id="main" {
            div.rev-head {
                (crumb(review))
                h1 { "Take over" }
                p.lede { "Choose a file to change yourself. What you save is version " (review.version + 1) "; quire checks it, and your folder does not change." }
            }
            div.cols { ul.paths.wide { @for file in files { li { a.txt href=(address(review.task, file)) { (marked(&review.named(file.folder, &file.path))) } " " (changes::extent(file)) } } } }
        }
    }
}

fn crumb(review: &Review) -> Markup {
    html! { nav.crumb aria-label="Breadcrumb" { a href=(format!("/tasks/{}", review.task)) { (clean(&review.title)) } } }
}

fn form(frame: &Frame, review: &Review, editable: &Editable, text: &str, failed: Option<&Failure>) -> Markup {
    let Editable { file, name, version, seen, .. } = editable;
    html! {
        main id="main" {
            div.rev-head {
                (crumb(review))
                @match failed {
                    Some(failure) => { (frame::told(failure)) p.lede { "What you wrote is below." } },
                    None => h1 { "Edit " (marked(name)) },
                }
                @if review.files.iter().any(|one| (one.folder, &one.path) == (file.folder, &file.path) && !one.unseen.is_empty()) {
                    p.lede { "It holds characters that are not seen, or taken for others; the changes show where." }
                }
                p.lede { "What you save is version " (version + 1) ". quire checks it as any other; your folder does not change before you accept." }
            }
            div.cols { div.wide {
            form.ask.say-box method="post" action=(format!("/tasks/{}/edit", review.task)) enctype="multipart/form-data" {
                (frame.key())
                input type="hidden" name="folder" value=(file.folder);
                input type="hidden" name="file" value=(file.path);
                input type="hidden" name="seen" value=(seen);
                label.q for="text" { (marked(name)) ", version " (version) }
                // The first line break of a field is not part of it (HTML, textarea).
                textarea.field id="text" name="text" rows=(ROWS) spellcheck="false" autocomplete="off" { (PreEscaped("\n")) (text) }
                div.row { a.txt href=(format!("/tasks/{}", review.task)) { "Cancel" } button.btn.pri { "Save as version " (version + 1) } }
            }
            } }
        }
    }
}
