//! Notes: what a person remarks on a line, a change, a file or the whole, kept beside what it is about and sent together. Each
//! ends with what the agent says became of it and what quire saw change there.

use crate::error::{Exit, Failure};
use crate::terminal::clean;
use crate::web::Page;
use crate::web::door::{Fields, Session};
use crate::web::frame::{self, Frame, Place};
use crate::web::text::{marked, prose, quoting};
use axum::extract::{Extension, Path, Query, State};
use axum::response::Response;
use maud::{Markup, html};
use quire_core::view::{NoteRow, Review, Standing};
use quire_engine::On;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// What a note is put on, as an address and a form name it, or which one is edited.
const ON: [&str; 4] = ["hunk", "file", "line", "edit"];

fn is_open(note: &NoteRow) -> bool {
    matches!(note.state, Standing::Draft | Standing::Sent)
}

/// Returns the notes that stand at a line of a file.
pub fn at(review: &Review, file: usize, line: usize) -> impl Iterator<Item = &NoteRow> {
    let file = &review.files[file];
    review.notes.iter().filter(move |note| {
        let is_there = note.about.as_ref().is_some_and(|about| {
            about.folder == file.folder && about.path == file.path && about.place.is_some()
        });
        is_there && note.line.is_some_and(|at| at as usize == line)
    })
}

/// Returns a note in its place among lines.
pub fn inline(task: u64, note: &NoteRow) -> Markup {
    html! { div.note-row { div.note.ok[!is_open(note)] { (pin(note)) div {
        (prose(&note.words))
        p.who { (outcome(note)) @if note.state == Standing::Draft { (edit(task, note)) button.btn.ghost form="unnote" name="note" value=(note.note) { "Remove" } } }
    } } } }
}

fn edit(task: u64, note: &NoteRow) -> Markup {
    html! { a.btn.ghost href=(format!("/tasks/{task}/note?edit={}", note.note)) { "Edit" } }
}

/// Returns the form by which a note that stands among lines is taken back.
pub fn dropping(frame: &Frame, task: u64) -> Markup {
    html! { form method="post" action=(format!("/tasks/{task}/unnote")) id="unnote" { (frame.key()) } }
}

fn pin(note: &NoteRow) -> Markup {
    html! { span.pin.in.ok[!is_open(note)] { span.vh { "Note " } (note.note) } }
}

fn outcome(note: &NoteRow) -> Markup {
    let outcome = note.outcome();
    html! { @if is_open(note) { (clean(&outcome)) } @else { b { (quoting(&clean(&outcome))) } } }
}

/// Returns all notes, for the rail.
pub fn listed(frame: &Frame, review: &Review) -> Markup {
    html! {
        @if !review.notes.is_empty() {
            section { h3 { "Your notes" }
                ul.marks {
                    @for note in &review.notes {
                        li { (row(note, &html! {
                            @if note.state == Standing::Draft {
                                (edit(review.task, note))
                                (frame.button(&format!("/tasks/{}/unnote", review.task), "ghost", &html! { "Remove" }, &[("note", &note.note.to_string())]))
                            }
                        })) }
                    }
                }
            }
        }
    }
}

/// Returns a note with its place and what became of it.
pub fn row(note: &NoteRow, acts: &Markup) -> Markup {
    html! {
        (pin(note))
        div { (prose(&note.words)) p.at { (marked(&note.place())) } p.at { (outcome(note)) } (acts) }
    }
}

/// Returns the way to write a note: a page of its own, which the script brings to where it is written. `on` are the fields of the
/// form that say what it is on.
pub fn way(task: u64, on: &[(&str, &str)]) -> Markup {
    let address = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(on).finish();
    html! { a.note-it href=(format!("/tasks/{task}/note?{address}")) data-on=(address) { "Write a note" } }
}

/// Returns the sent notes of which there is something to say to a person who has seen version `since`.
pub fn news(review: &Review, since: u32) -> Vec<&NoteRow> {
    let is_news = |note: &&NoteRow| note.state != Standing::Draft && note.is_news(since);
    review.notes.iter().filter(is_news).collect()
}

/// Returns the form for a note. What it is on is in fields that the script fills in, or the address; `words`: what it says so far.
pub fn form(frame: &Frame, task: u64, on: &HashMap<String, String>, words: &str) -> Markup {
    html! {
        form.note method="post" action=(format!("/tasks/{task}/note")) {
            (frame.key())
            @for name in ON { @if let Some(what) = on.get(name) { input type="hidden" name=(name) value=(what); } }
            div {
                label.vh for="note" { "Your note" }
                textarea id="note" name="words" rows="2" required placeholder="What should be different here?" { (clean(words)) }
                div.acts { button.btn.pen { (if words.is_empty() { "Add note" } else { "Keep" }) } }
            }
        }
    }
}

/// The page on which a note is written, without scripts.
pub async fn page(
    State(page): State<Arc<Page>>,
    Extension(session): Extension<Session>,
    Path(id): Path<u64>,
    Query(asked): Query<HashMap<String, String>>,
) -> Response {
    let made = page.blocking(move |page| {
        let frame = Frame::of(page, &session)?;
        let task = page.quire.task(id)?;
        let title = task.title();
        let edited = asked.get("edit").map(|note| note.parse::<u32>().unwrap_or_default());
        let words = edited.and_then(|edited| task.drafts().find(|(number, _)| *number == edited));
        let words = match (edited, words) {
            (Some(_), None) => return Err(no_note()),
            (_, words) => words.map_or("", |(_, note)| &note.words),
        };
        let on = ON.iter().find_map(|name| asked.get(*name)).map_or("the whole", String::as_str);
        let heading = match edited {
            Some(note) => html! { "Note " (note) },
            None => html! { "A note on " (marked(on)) },
        };
        let main = html! {
            main.set id="main" {
                nav.crumb aria-label="Breadcrumb" { a href=(format!("/tasks/{id}")) { (clean(&title)) } }
                h1 { (heading) }
                (form(&frame, id, &asked, words))
            }
        };
        Ok(frame.page("A note", Place::Tasks, &main))
    });
    made.await.unwrap_or_else(|failure| frame::failed(&failure, &format!("/tasks/{id}")))
}

/// Keeps a note; returns where it is seen.
pub async fn keep(page: &Arc<Page>, id: u64, words: String, fields: Fields) -> Result<String, Failure> {
    let on = on(&fields)?;
    let edited = fields.filled("edit").map(|note| note.parse::<u32>().map_err(|_| no_note())).transpose()?;
    let place = page.blocking(move |page| {
        match edited {
            Some(note) => page.quire.edit_note(id, note, &words)?,
            None => page.quire.note(id, &on, &words)?,
        };
        Ok(format!("/tasks/{id}#changes"))
    });
    place.await
}

fn on(fields: &Fields) -> Result<On, Failure> {
    let wrong = || {
        let what = "This form does not say what the note is on.";
        Failure::new(Exit::WrongUse, what, "No note was kept.", "Load the page anew.")
    };
    let path = |text: &str| OsString::from(OsStr::from_bytes(text.as_bytes()));
    Ok(match (fields.filled("hunk"), fields.filled("file"), fields.filled("line")) {
        (Some(hunk), ..) => On::Hunk(hunk.to_owned()),
        (None, Some(file), Some(line)) => On::Line(path(file), line.parse().map_err(|_| wrong())?),
        (None, Some(file), None) => On::File(path(file)),
        (None, None, None) => On::Whole,
        (None, None, Some(_)) => return Err(wrong()),
    })
}

fn no_note() -> Failure {
    let what = "There is no such note that is not sent.";
    Failure::new(Exit::WrongUse, what, "Nothing was changed.", "Load the page anew.")
}

/// Takes a note back that was not sent.
pub async fn drop(page: &Arc<Page>, id: u64, fields: &Fields) -> Result<String, Failure> {
    let note = fields.get("note").and_then(|note| note.parse().ok());
    let note: u32 = note.ok_or_else(no_note)?;
    page.blocking(move |page| Ok(page.quire.drop_note(id, note)?)).await?;
    Ok(format!("/tasks/{id}"))
}

/// Returns the notes that are not sent.
pub fn drafts(review: &Review) -> usize {
    review.notes.iter().filter(|note| note.state == Standing::Draft).count()
}
