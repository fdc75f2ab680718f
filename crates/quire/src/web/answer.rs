//! An answer: of a task that was asked a question and has no version, the page; and what every review has beside the model's words,
//! what may be asked next and the file to keep.

use crate::error::Failure;
use crate::terminal::{clean, took};
use crate::web::frame::Frame;
use crate::web::standing::{head, say};
use crate::web::{Page, points, review, story};
use maud::{Markup, html};
use quire_core::Task;
use quire_core::view::{self, Brief};

pub const FOLLOW_UP: &str = "Ask a follow-up";
pub const WHAT_ELSE: &str = "What else do you want to know?";

/// Returns the page of a task that answered a question.
pub fn main(page: &Page, frame: &Frame, task: &Task) -> Result<Markup, Failure> {
    let brief = Brief::of(task.answer().unwrap_or_default(), &[]);
    let story = page.story(task.id)?;
    Ok(html! {
        main id="main" data-task=(task.id) {
            (head(page, task, &html! {
                span.tag.green { (clean(&view::capital(&view::state(task)))) }
                span { "No files changed" }
                span { (took(task.worked_ms)) " of work" }
                @if let Some(cost) = view::Cost::of(task).text() { span { (cost) } }
                @if let Some(model) = &task.charter.model { span { (clean(&model.title())) } }
            }))
            div.cols {
                section.sec id="summary" aria-labelledby="summary-t" {
                    h2.vh id="summary-t" { "Answer" }
                    (review::brief(&brief, true))
                    (page.named(task, &brief.summary).folded())
                }
                aside.rail.keep aria-label="Attention" {
                    (next(frame, task, &brief.next))
                    section { h3 { "How it got here" } (story::steps(&story)) }
                    (points::choice(frame, task))
                }
                div.wide { (say(frame, task, WHAT_ELSE, FOLLOW_UP)) }
            }
        }
        div.accept role="region" aria-label="Decision" { div {
            p { b { "Nothing to accept." } span { "Your folder was only read." } }
            (frame.button(&format!("/tasks/{}/discard", task.id), "ghost big", &html! { "Discard" }, &[]))
            (report(task, "btn ghost big"))
            a.btn.pen.big href="#say" { (FOLLOW_UP) " " kbd { "⇧R" } }
            a.btn.pri.big href="/" { "Done" }
        } }
    })
}

/// Returns what the model proposes to be asked next: what is pressed is said as the person's own words, just as it stands there.
pub fn next(frame: &Frame, task: &Task, next: &[String]) -> Markup {
    let hears = task.is_at_rest() && task.imported_from().is_none();
    html! {
        @if hears && !next.is_empty() {
            section { h3 { "Ask next" } ul.next {
                @for words in next.iter().map(|words| clean(words)) {
                    li { (frame.button(&format!("/tasks/{}/revise", task.id), "", &html! { (words) }, &[("words", &words)])) }
                }
            } }
        }
    }
}

/// Returns the way to the file to keep.
pub fn report(task: &Task, class: &str) -> Markup {
    html! { a class=(class) href=(format!("/tasks/{}/report", task.id)) { "Save as report" } }
}
