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
use quire_core::Hash;
use quire_core::event::Part;
use quire_core::merge::{Merge, merge};
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
        let head = html! { h1 { "Edit " (marked(&editable.name)) } (about(&review, &editable)) };
        let form = form(&frame, id, &Form::of(&editable, text.shown()));
        Ok(frame.page(&format!("Edit {}", editable.name), Place::Tasks, &framed(&review, &head, &form)))
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
        let back = format!("/tasks/{id}");
        match saved(&page, id, &fields).await {
            Ok(None) => act::see(&back),
            Ok(Some(no_host)) => unchecked(&page, session, id, no_host).await,
            Err(failure) if fields.get("text").is_none() => frame::failed(&failure, &back),
            // A form that is sent twice is saved once.
            Err(_) if is_saved(&page, id, &fields).await => act::see(&back),
            Err(failure) => again(&page, session, id, fields, failure).await,
        }
    };
    act::to_its_end(save).await
}

/// Returns why no host could be had for the checks of what is saved.
async fn saved(page: &Arc<Page>, id: u64, fields: &Fields) -> Result<Option<Failure>, Failure> {
    let given = fields.clone();
    let (editable, content) = page
        .blocking(move |page| {
            let file = named(&*page.review(id, None)?, |name| given.get(name))?;
            let Some(typed) = given.get("text") else {
                return Err(wrong("This form holds no text."));
            };
            let editable = page.quire.editable_at(id, &file)?;
            if given.get("seen") != Some(&*editable.seen.to_string()) {
                return Err(EngineError::Seen { task: id, now: editable.seen }.into());
            }
            let content = text_of(&editable)?.typed(typed);
            Ok((editable, content))
        })
        .await?;
    let here = page.here();
    let keys = Keys::read(&here)?;
    let saved = page.quire.edit(id, &editable, Some(&content), &keys, &here).await?;
    Ok(saved.and_then(|saved| saved.no_host).map(Failure::from))
}

/// Returns whether what was sent is in the log already.
async fn is_saved(page: &Arc<Page>, id: u64, fields: &Fields) -> bool {
    let fields = fields.clone();
    let found = page.blocking(move |page| {
        let file = named(&*page.review(id, None)?, |name| fields.get(name))?;
        let Some(base) = Base::of(page, id, &file, &fields)? else { return Ok(false) };
        Ok(page.quire.is_saved(id, &file, &base.seen, &base.typed)?)
    });
    found.await.unwrap_or(false)
}

/// What a form was typed on, and what the file would be by it.
struct Base {
    seen: Hash,
    content: Vec<u8>,
    typed: Vec<u8>,
}

impl Base {
    fn of(page: &Page, id: u64, file: &Part, fields: &Fields) -> Result<Option<Base>, Failure> {
        let (Some(seen), Some(typed)) = (fields.get("seen"), fields.get("text")) else { return Ok(None) };
        let task = page.quire.task(id)?;
        let version = task.versions.iter().rev().find(|one| one.snapshot.to_string() == seen);
        let Some((number, seen)) = version.map(|one| (one.number, one.snapshot)) else { return Ok(None) };
        let content = page.quire.file_of(id, Some(number), file.folder, &file.path, EDITED_BYTES_MAX)?;
        let Some(content) = content else { return Ok(None) };
        let typed = Text::of(&content).map(|text| text.typed(typed));
        Ok(typed.map(|typed| Base { seen, content, typed }))
    }
}

/// Returns the page of what is saved and not yet checked.
async fn unchecked(page: &Arc<Page>, session: Session, id: u64, no_host: Failure) -> Response {
    let back = format!("/tasks/{id}");
    let main = html! {
        main.set id="main" {
            h1 { "Saved; its checks do not run yet" }
            p.lede { (clean(&no_host.what)) " " (clean(&no_host.next)) }
            p.lede { "What you wrote is kept, and your folder is as it was. The checks run once the task is gone on with: quire watch " (id) }
            div.acts { a.btn.pri href=(back) { "Back to the task" } }
        }
    };
    let made = page.blocking(move |page| Ok(Frame::of(page, &session)?.page("Saved", Place::Tasks, &main)));
    made.await.unwrap_or_else(|failure| frame::failed(&failure, &format!("/tasks/{id}")))
}

/// Returns the page with what was typed, and why it was not saved; where the file is still there, it can be saved from there.
async fn again(page: &Arc<Page>, session: Session, id: u64, fields: Fields, failure: Failure) -> Response {
    let (status, back) = (frame::status(&failure), format!("/tasks/{id}"));
    let why = failure.clone();
    let made = page.blocking(move |page| {
        let frame = Frame::of(page, &session)?;
        let review = page.review(id, None)?;
        let file = named(&review, |name| fields.get(name));
        let typed = fields.get("text").unwrap_or_default().replace("\r\n", "\n");
        let editable = file.as_ref().ok().map(|file| page.quire.editable_at(id, file));
        let seen = fields.get("seen").unwrap_or_default();
        let main = match (editable, file) {
            (Some(Ok(editable)), _) if seen == editable.seen.to_string() => {
                let head = html! { (frame::told(&why)) p.lede { "What you wrote is below." } (about(&review, &editable)) };
                framed(&review, &head, &form(&frame, id, &Form::of(&editable, &typed)))
            }
            (Some(Ok(editable)), file) => {
                let base = Base::of(page, id, &file?, &fields)?;
                overtaken(&frame, &review, &editable, base.as_ref(), &typed)
            }
            // Nothing is lost while it is at work: it is saved once that is done.
            (Some(Err(EngineError::Not { .. })), Ok(file))
                if matches!(review.mark, Mark::Working | Mark::NeedsYou | Mark::Paused) =>
            {
                let head = html! { (frame::told(&why)) p.lede { "What you wrote is below. When its next version is there, save it from here." } };
                let label = html! { "What you wrote" };
                let save = "Save then".to_owned();
                framed(&review, &head, &form(&frame, id, &Form { file: &file, seen: seen.to_owned(), label, text: &typed, save, is_first: true }))
            }
            _ => framed(&review, &frame::told(&why), &html! {
                (shown("text", &html! { "What you wrote" }, &typed))
                p.acts { a.btn href=(format!("/tasks/{id}")) { "Back to the task" } }
            }),
        };
        Ok((status, frame.page("Not saved", Place::Tasks, &main)).into_response())
    });
    made.await.unwrap_or_else(|_| frame::failed(&failure, &back))
}

/// Returns the page for what was typed on a version that is no longer the last one: both in one where they fit, and else both, so that
/// nothing is saved over what nobody saw.
fn overtaken(frame: &Frame, review: &Review, now: &Editable, base: Option<&Base>, typed: &str) -> Markup {
    let merged = base.map(|base| merge(&base.content, &base.typed, &now.content));
    let version = now.version;
    if let Some(Merge::Clean(merged)) = merged
        && let Some(merged) = Text::of(&merged)
    {
        let head = html! {
            h1 { "Not saved yet: version " (version) " came meanwhile" }
            p.lede { "What you wrote and that version are one text below. Look at it, then save it." }
            (about(review, now))
        };
        return framed(review, &head, &form(frame, review.task, &Form::of(now, merged.shown())));
    }
    let head = html! {
        h1 { "Not saved: version " (version) " came meanwhile" }
        p.lede { "It and what you wrote differ in the same lines. Take what you need from either; saving yours leaves out what version " (version) " has there." }
        (about(review, now))
    };
    let label = html! { (marked(&now.name)) ", version " (version) ", as it is now" };
    let content = Text::of(&now.content);
    let mine = Form {
        label: html! { "What you wrote" },
        save: format!("Save mine as version {}", version + 1),
        is_first: false,
        ..Form::of(now, typed)
    };
    let body = html! {
        @if let Some(content) = content { (shown("now", &label, content.shown())) }
        (form(frame, review.task, &mine))
    };
    framed(review, &head, &body)
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

fn framed(review: &Review, head: &Markup, body: &Markup) -> Markup {
    html! { main id="main" { div.rev-head { (crumb(review)) (head) } div.cols { div.wide { (body) } } } }
}

/// Returns what is to be known before a file is edited.
fn about(review: &Review, editable: &Editable) -> Markup {
    let Editable { file, version, .. } = editable;
    html! {
        @if review.files.iter().any(|one| (one.folder, &one.path) == (file.folder, &file.path) && !one.unseen.is_empty()) {
            p.lede { "It holds characters that are not seen, or taken for others; the changes show where." }
        }
        p.lede { "What you save is version " (version + 1) ". quire checks it as any other; your folder does not change before you accept." }
    }
}

/// Returns a text that is only looked at.
fn shown(id: &str, label: &Markup, text: &str) -> Markup {
    html! { div.ask.say-box { label.q for=(id) { (label) } textarea.field id=(id) rows=(ROWS) readonly { (PreEscaped("\n")) (text) } } }
}

struct Form<'f> {
    file: &'f Part,
    seen: String,
    label: Markup,
    text: &'f str,
    save: String,
    /// Whether saving is what comes next, and no choice.
    is_first: bool,
}

impl<'f> Form<'f> {
    fn of(editable: &'f Editable, text: &'f str) -> Form<'f> {
        let Editable { file, name, version, seen, .. } = editable;
        Form {
            file,
            seen: seen.to_string(),
            label: html! { (marked(name)) ", version " (version) },
            text,
            save: format!("Save as version {}", version + 1),
            is_first: true,
        }
    }
}

fn form(frame: &Frame, task: u64, form: &Form) -> Markup {
    html! {
        form.ask.say-box method="post" action=(format!("/tasks/{task}/edit")) enctype="multipart/form-data" {
            (frame.key())
            input type="hidden" name="folder" value=(form.file.folder);
            input type="hidden" name="file" value=(form.file.path);
            input type="hidden" name="seen" value=(form.seen);
            label.q for="text" { (form.label) }
            // The first line break of a field is not part of it (HTML, textarea).
            textarea.field id="text" name="text" rows=(ROWS) spellcheck="false" autocomplete="off" { (PreEscaped("\n")) (form.text) }
            div.row { a.txt href=(format!("/tasks/{task}")) { "Cancel" } button.btn.pri[form.is_first] { (form.save) } }
        }
    }
}
