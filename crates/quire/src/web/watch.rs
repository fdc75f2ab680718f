//! A task at work: its plan, what it does now, what that says, and what it did. Drawn whole by the server; the script adds what
//! comes after.

use crate::error::Failure;
use crate::terminal::clean;
use crate::web::frame::{self, Frame};
use crate::web::standing::{head, questions, say};
use crate::web::text::quoting;
use crate::web::{Page, icons, story};
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use maud::{Markup, html};
use quire_core::Task;
use quire_core::view::Cost;
use std::sync::Arc;

pub fn main(page: &Page, frame: &Frame, task: &Task) -> Result<Markup, Failure> {
    let story = page.story(task.id)?;
    let at = format!("/tasks/{}", task.id);
    let now = story.progress.now().unwrap_or("Starting");
    Ok(html! {
        main id="main" data-task=(task.id) data-after=(story.seq) {
            (head(page, task, &html! {
                span.tag.pen { "Working" }
                span id="cost" { (Cost::of(task).text().unwrap_or_default()) }
                @if let Some(model) = &task.charter.model { span { (clean(&model.title())) } }
            }))
            div.cols {
                div {
                    (questions(frame, task))
                    section.sec aria-label="Now" {
                        div.sheet.told {
                            (icons::status("work", "work", "Working"))
                            div {
                                h2 id="now" { (quoting(&clean(now))) }
                                p { "You may close this page; the task goes on, and your folder does not change." }
                                pre.out.live-out id="output" hidden tabindex="0" aria-label="Output of the running command" {}
                                div.acts {
                                    (frame.button(&format!("{at}/stop"), "", &html! { "Stop" }, &[]))
                                    @if !task.versions.is_empty() { a.btn.ghost href=(format!("{at}?version")) { "Review the last version" } }
                                    noscript { a.btn.ghost href=(at) { "Show what is new" } }
                                }
                            }
                        }
                    }
                    div id="plan" { (plan(task)) }
                    (say(frame, task, "Say something to it", "Send"))
                }
                aside.rail.keep aria-label="So far" { section { h3 { "So far" } (story::steps(&story)) } }
            }
        }
    })
}

fn plan(task: &Task) -> Markup {
    html! {
        @if !task.plan.is_empty() {
            section.sec aria-labelledby="plan-t" {
                header { h2 id="plan-t" { "Plan" } }
                (plan_steps(task))
            }
        }
    }
}

/// Returns the steps of a plan with how far it got.
pub fn plan_steps(task: &Task) -> Markup {
    html! {
        ol.plan {
            @for step in &task.plan {
                @let (class, sign, label) = match step.status.as_str() {
                    "done" => ("done", "done", "Done"),
                    "doing" => ("work", "work", "Doing now"),
                    _ => ("off", "open", "To come"),
                };
                li.(class) { (icons::status(sign, class, label)) span { (clean(&step.step)) } }
            }
        }
    }
}

/// The plan alone, for the script.
pub async fn part(State(page): State<Arc<Page>>, Path(id): Path<u64>) -> Response {
    let made = page.blocking(move |page| Ok(Html(plan(&page.quire.task(id)?).into_string()).into_response()));
    made.await.unwrap_or_else(|failure| frame::failed(&failure, "/"))
}
