//! A task's page: where it stands decides what is on it. At work: what it does. Waiting: why, what is safe, what can be done.
//! Ready: the review.

use crate::cmd::home;
use crate::error::Failure;
use crate::layout::one_line;
use crate::terminal::clean;
use crate::web::door::Session;
use crate::web::frame::{self, Frame, Place, attach};
use crate::web::{Page, answer, icons, lock, points, review, story, watch};
use axum::extract::{Extension, Path, Query, State};
use axum::response::Response;
use maud::{Markup, html};
use quire_core::event::{Trouble, Why};
use quire_core::message::FaultKind;
use quire_core::task::own_words;
use quire_core::view;
use quire_core::{Phase, Task};
use quire_engine::settings::{self, Options};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Models that are offered in the place of one that does not answer.
const OTHERS_MAX: usize = 3;

pub async fn task(
    State(page): State<Arc<Page>>,
    Extension(session): Extension<Session>,
    Path(id): Path<u64>,
    Query(asked): Query<HashMap<String, String>>,
) -> Response {
    let made = page.blocking(move |page| {
        let frame = Frame::of(page, &session)?;
        let task = page.quire.task(id)?;
        let main = match &task.phase {
            Phase::Discarded => discarded(page, &task),
            _ if asked.contains_key("version") && !task.versions.is_empty() => {
                review::main(page, &frame, &task, &asked)?
            }
            Phase::Working => watch::main(page, &frame, &task)?,
            Phase::Waiting(why) => waiting(page, &frame, &task, why)?,
            Phase::Ready if task.answer().is_some() => answer::main(page, &frame, &task)?,
            Phase::Ready | Phase::Accepted => review::main(page, &frame, &task, &asked)?,
        };
        Ok(frame.page(&task.title(), Place::Tasks, &html! { (after(page, &frame, &asked)?) (main) }))
    });
    made.await.unwrap_or_else(|failure| frame::failed(&failure, "/"))
}

/// Returns what was written just now, where this page opened by itself after an accept, and the way to take it back.
pub fn after(page: &Page, frame: &Frame, asked: &HashMap<String, String>) -> Result<Markup, Failure> {
    let Some(id) = asked.get("after").and_then(|id| id.parse().ok()) else { return Ok(html! {}) };
    let said = lock(&page.said).get(&id).map(|(_, said)| said.clone());
    let Some(said) = said else { return Ok(html! {}) };
    let task = page.quire.task(id)?;
    if task.last_accept().is_none() {
        return Ok(html! {});
    }
    Ok(html! {
        aside.after aria-label="Accepted just now" {
            p { (clean(&said)) }
            (frame.button(&format!("/tasks/{id}/undo"), "ghost", &html! { "Undo" }, &[]))
            (open(frame, &task, "ghost"))
            a.txt href=(format!("/tasks/{id}")) { "Back to it" }
        }
    })
}

/// Returns what shows the folders of a task, in which there is something of it.
pub fn open(frame: &Frame, task: &Task, class: &str) -> Markup {
    let folders = &task.charter.folders;
    let name = |folder: &PathBuf| match folder.file_name() {
        Some(name) if folders.len() > 1 => format!("Open {}", name.to_string_lossy()),
        _ => "Open folder".to_owned(),
    };
    html! {
        @for (number, folder) in folders.iter().enumerate() {
            (frame.button(&format!("/tasks/{}/open", task.id), class, &html! { (clean(&name(folder))) }, &[("folder", &number.to_string())]))
        }
    }
}

/// Returns the head of a task's page.
pub fn head(page: &Page, task: &Task, facts: &Markup) -> Markup {
    let folders = task.charter.folders.iter().map(|folder| view::short_folder(folder, home().as_deref()));
    let words = task.words.last().map_or("", |words| own_words(words).trim());
    html! {
        div.rev-head {
            nav.crumb aria-label="Breadcrumb" {
                a href="/" { "Tasks" } span aria-hidden="true" { "/" }
                span { (clean(&folders.collect::<Vec<_>>().join(", "))) }
                @if task.attempt.is_some() || task.origin().is_some() { span aria-hidden="true" { "/" } a href=(format!("/tasks/{}/compare", task.id)) { "Attempts" } }
            }
            h1 { (clean(&task.title())) }
            div.facts { (facts) }
            @if task.words.len() > 1 || words != task.title() || !task.attached().is_empty() {
                details.asked {
                    summary { "What was asked" }
                    @for words in &task.words { blockquote.prose { (crate::web::text::prose(own_words(words))) } }
                    @if !task.attached().is_empty() {
                        p { "Handed over: " (clean(&task.attached().iter().map(|file| format!("{} ({})", file.name, view::size(file.bytes))).collect::<Vec<_>>().join(", "))) }
                        div.shots {
                            @for file in task.attached().iter().filter(|file| file.media_type.is_some()) {
                                img src=(format!("{}/{}", page.pictures_at(task.id), file.blob)) alt=(clean(&file.name)) loading="lazy";
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Returns the box in which something is said to a task.
pub fn say(frame: &Frame, task: &Task, label: &str, button: &str) -> Markup {
    html! {
        form.ask.say-box method="post" action=(format!("/tasks/{}/revise", task.id)) id="say" enctype="multipart/form-data" {
            (frame.key())
            label.q for="words" { (label) }
            textarea id="words" name="words" rows="2" required {}
            div.row { (attach()) button.btn.pen { (button) } }
        }
    }
}

/// Returns the answers to what a task asks: quire's own questions, then the agent's, which stand in a frame of their own, so that
/// none of its words can pass for quire's.
pub fn questions(frame: &Frame, task: &Task) -> Markup {
    let asked = view::questions(task);
    let of_agent = view::agent_questions(task);
    html! {
        @for question in &of_agent {
            form.sheet.of-agent method="post" action=(format!("/tasks/{}/reply", task.id)) {
                (frame.key())
                input type="hidden" name="question" value=(question.question);
                p.mut { "The agent asks:" }
                @for line in question.lines() { p { (clean(&line)) } }
                div.acts {
                    @for choice in &question.choices { button.btn name="choice" value=(choice) { (clean(choice)) } }
                }
                div.inline {
                    label.vh for=(format!("words-{}", question.question)) { "Your answer" }
                    input.field id=(format!("words-{}", question.question)) name="words" placeholder="Your answer" autocomplete="off";
                    button.btn.pen { "Answer" }
                }
                @if question.assumed.is_some() { p.mut { "Without words, Answer takes what it assumes." } }
            }
        }
        @for question in &asked {
            div.sheet.told {
                (icons::status("ask", "need", "Waiting for your answer"))
                div {
                    h2 { (clean(&question.text)) }
                    p {
                        "The task's commands tried to. Everything else on the network stays closed. Once is until this turn ends, with its checks."
                        @if let Some(command) = &question.command { " " (view::WHILE_THIS_RAN) code.cl { (one_line(command)) } }
                    }
                    div.acts {
                        @for (label, allow, class) in [("Deny", "no", ""), ("Allow once", "once", ""), ("Allow in this task", "yes", "allow")] {
                            (frame.button(&format!("/tasks/{}/answer", task.id), class, &html! { (label) }, &[("reach", &question.reach.to_string()), ("allow", allow), ("on", "task")]))
                        }
                    }
                }
            }
        }
    }
}

/// Returns models that could take the place of the one that does not answer.
fn others(page: &Page, task: &Task) -> Vec<String> {
    let folder = task.charter.folders.first().map(PathBuf::as_path);
    let settings = settings::read(&Options::default(), folder, &page.here()).ok();
    let own = task.charter.model.as_ref().map(|model| model.title());
    let named = settings.as_ref().and_then(|settings| settings.named_model()).map(|model| model.title());
    let mut others = page.other_models(settings.as_ref(), named.as_deref());
    others.splice(0..0, named);
    others.retain(|model| Some(model) != own.as_ref());
    others.truncate(OTHERS_MAX);
    others
}

fn waiting(page: &Page, frame: &Frame, task: &Task, why: &Why) -> Result<Markup, Failure> {
    let told = view::why_text(why, task);
    let story = page.story(task.id)?;
    let at = format!("/tasks/{}", task.id);
    let is_models = matches!(why, Why::NoModel | Why::Model(_) | Why::Refused(_) | Why::Silence);
    let is_key = matches!(why, Why::Model(fault) if matches!(fault.kind, FaultKind::NoKey | FaultKind::Key));
    let others = if is_models { others(page, task) } else { vec![] };
    Ok(html! {
        main id="main" data-task=(task.id) {
            (head(page, task, &html! { span.tag.amber { (clean(&view::capital(&view::state(task)))) } @if let Some(cost) = view::Cost::of(task).text() { span { (cost) } } }))
            div.cols {
                div {
                    (questions(frame, task))
                    @if let Some(plan) = task.plan_to_review() {
                        form.ask.say-box method="post" action=(format!("{at}/resume")) {
                            (frame.key())
                            label.q for="plan" { "The plan, to read, to change and to agree to" }
                            textarea id="plan" name="plan" rows="12" required { (clean(plan)) }
                            div.row { button.btn.pri { "Agree, and begin" } }
                        }
                    }
                    div.sheet.told {
                        (icons::mark(view::mark(task)))
                        div {
                            h2 { (clean(&told.what)) }
                            p { (clean(&told.safe)) }
                            div.acts {
                                @match why {
                                    Why::Money | Why::Shared { .. } => {
                                        @let least = view::budget_to_add(why, task);
                                        @for more in [least, least.plus(quire_core::Usd(1_500_000_000_000))] {
                                            @let text = more.to_string();
                                            (frame.button(&format!("{at}/resume"), if more == least { "pri" } else { "" }, &html! { "Add " (text) }, &[("budget", &text.replace('$', "+"))]))
                                        }
                                    },
                                    _ if is_models => {
                                        @if *why == Why::NoModel { a.btn.pri href="/settings" { "Set up a model" } }
                                        @else if is_key { a.btn.pri href="/settings" { "Paste a key" } }
                                        // What may answer comes before what did not.
                                        @let is_first = *why != Why::NoModel && !is_key;
                                        @for (n, model) in others.iter().enumerate() {
                                            (frame.button(&format!("{at}/resume"), if is_first && n == 0 { "pri" } else { "" }, &html! { "Use " (clean(model)) " instead" }, &[("model", model)]))
                                        }
                                        @if *why != Why::NoModel {
                                            (frame.button(&format!("{at}/resume"), if is_first && others.is_empty() { "pri" } else { "" }, &html! { "Keep trying" }, &[]))
                                        }
                                        form.inline method="post" action=(format!("{at}/resume")) {
                                            (frame.key())
                                            label.vh for="model" { "Model" }
                                            input.field id="model" name="model" placeholder="PROVIDER/MODEL" autocomplete="off" spellcheck="false";
                                            button.btn { "Use it" }
                                        }
                                    },
                                    Why::Plan => {},
                                    Why::Trouble(Trouble::Sandbox, _) => {
                                        a.btn.pri href="/settings" { "See what is missing" }
                                        (frame.button(&format!("{at}/resume"), "", &html! { "Try again" }, &[]))
                                    },
                                    Why::Reach | Why::Question => (frame.button(&format!("{at}/resume"), "", &html! { "Go on without an answer" }, &[])),
                                    _ => (frame.button(&format!("{at}/resume"), "pri", &html! { "Go on" }, &[])),
                                }
                                @if !task.versions.is_empty() { a.btn href=(format!("{at}?version")) { "Review what is done" } }
                                (frame.button(&format!("{at}/discard"), "ghost", &html! { "Discard" }, &[]))
                            }
                            p.mut { "In a terminal: " (clean(&told.next)) }
                        }
                    }
                    (say(frame, task, "Say something to it", "Send"))
                }
                aside.rail.keep aria-label="So far" { section { @if !story.lines.is_empty() { h3 { "How it got here" } (story::steps(&story)) } (points::choice(frame, task)) } }
            }
        }
    })
}

fn discarded(page: &Page, task: &Task) -> Markup {
    html! {
        main id="main" {
            (head(page, task, &html! { span.tag { "Discarded" } }))
            div.cols { div { p.lede { "This task was discarded. Your folder has not changed." } p.acts { a.btn href="/" { "To the tasks" } } } }
        }
    }
}
