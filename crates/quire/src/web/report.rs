//! A review, or an answer, as one file to keep, to print and to send on: what was asked, what was said, and what quire saw of it. It
//! needs nothing else: no script, no picture, no other file; and what models, files and names say is text in it as on the page.

use crate::cmd::home;
use crate::error::Failure;
use crate::terminal::{clean, local, took};
use crate::web::named::{self, Named};
use crate::web::text::{markdown, marked, prose, quoting};
use crate::web::{Page, frame};
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use quire_core::Task;
use quire_core::task::own_words;
use quire_core::view::{self, Brief, CheckRow, Review};
use quire_engine::Quire;
use std::sync::Arc;

/// Wherever it is opened, it runs and fetches nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";
/// Letters of a file's name, which may take four bytes each of the 255 that most disks have for it.
const NAME_CHARS_MAX: usize = 60;
/// Changed files that are named.
const FILES_MAX: usize = 200;

/// A file to keep.
pub struct Report {
    /// Made from the title; nothing in it leads elsewhere or hides.
    pub name: String,
    pub html: String,
}

/// Returns the report of a task's last version, or of its answer.
pub fn of(quire: &Quire, id: u64) -> Result<Report, Failure> {
    let task = quire.task(id)?;
    let review = task.answer().is_none().then(|| quire.review(id)).transpose()?;
    Ok(Report::new(&task, review.as_ref(), |words| Arc::new(named::read(quire, &task, words).0)))
}

/// The same, for a browser: with what the page has read already.
pub async fn report(State(page): State<Arc<Page>>, Path(id): Path<u64>) -> Response {
    let made = page.blocking(move |page| {
        let task = page.quire.task(id)?;
        let review = task.answer().is_none().then(|| page.review(id, None)).transpose()?;
        Ok(Report::new(&task, review.as_deref(), |words| page.named(&task, words)))
    });
    match made.await {
        Ok(report) => {
            let kept = disposition(&report.name);
            (
                [(CONTENT_TYPE, "text/html; charset=utf-8".to_owned()), (CONTENT_DISPOSITION, kept)],
                report.html,
            )
                .into_response()
        }
        Err(failure) => frame::failed(&failure, &format!("/tasks/{id}")),
    }
}

impl Report {
    /// `named` reads what the words of a task's answer name.
    fn new(task: &Task, review: Option<&Review>, named: impl FnOnce(&str) -> Arc<Named>) -> Report {
        let answer = || Brief::of(task.answer().unwrap_or_default(), &[]);
        let brief = review.map_or_else(answer, |review| review.brief.clone());
        let named = named(&brief.summary);
        let title = clean(&task.title());
        let folders = task.charter.folders.iter().map(|folder| view::short_folder(folder, home().as_deref()));
        let folders: Vec<String> = folders.collect();
        let at_ms = task.version().filter(|_| review.is_some()).map_or(task.last_ms, |version| version.at_ms);
        let is_answer = review.is_none_or(|review| review.files.is_empty());
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(POLICY);
                    meta name="viewport" content="width=device-width,initial-scale=1";
                    title { (title) }
                    style { (PreEscaped(include_str!("report.css"))) }
                }
                body { main {
                    h1 { (title) }
                    p.mut {
                        (local(at_ms, "%Y-%m-%d %H:%M")) ", " (clean(&folders.join(", "))) ", task " (task.id)
                        @if let Some(review) = review { ", version " (review.version) ": " (clean(&review.state)) ". " (clean(&review.extent())) "." }
                        @else { ". Nothing changed." }
                    }
                    h2 { "What was asked" }
                    @for words in &task.words { blockquote { (prose(own_words(words))) } }
                    h2 { @if is_answer { "Answer" } @else { "Summary" } }
                    (said(&brief))
                    @if !named.is_empty() { h2 { "Rows that it names" } (named.open()) }
                    @if let Some(review) = review.filter(|review| !is_answer || !review.checks.is_empty()) { h2 { "Checks" } (checks(&review.checks)) }
                    @if let Some(review) = review.filter(|_| !is_answer) { h2 { "Files" } (files(review)) }
                } }
            }
        };
        Report { name: name(&task.title(), task.id), html: page.into_string() }
    }
}

/// Returns what the model says, with what quire saw of each claim.
fn said(brief: &Brief) -> Markup {
    let Brief { summary, claims, assumed, not_done, .. } = brief;
    html! {
        @if summary.is_empty() && claims.is_empty() { p { "The model ended without a word." } } @else { (markdown(summary)) }
        @if !claims.is_empty() {
            table {
                tr { th { "What it claims" } th { "What quire saw of it" } }
                @for claim in claims { tr { td { (claim.symbol()) " " (quoting(&clean(&claim.text))) } td { (quoting(&clean(&claim.outcome))) } } }
            }
        }
        @for (heading, lines) in [("Assumed", assumed), ("Not done", not_done)] {
            @if !lines.is_empty() { h3 { (heading) } ul { @for line in lines { li { (quoting(&clean(line))) } } } }
        }
    }
}

fn checks(checks: &[CheckRow]) -> Markup {
    html! {
        @if checks.is_empty() { p { "Not checked: the task has no check." } }
        @else {
            table { @for check in checks { tr { td { (check.symbol()) " " code { (clean(&check.command)) } } td { (quoting(&clean(&check.outcome))) } td { @if check.passed.is_some() { (took(check.millis)) } } } } }
            p.mut { "quire ran these itself, on exactly these files." }
        }
    }
}

fn files(review: &Review) -> Markup {
    html! {
        ul { @for file in review.files.iter().take(FILES_MAX) { li { (marked(&review.named(file.folder, &file.path))) ": " (file.extent()) } } }
        @if review.files.len() > FILES_MAX { p { "and " (review.files.len() - FILES_MAX) " more" } }
    }
}

/// Returns what the file is called: letters and digits of the title, with dashes for all else.
fn name(title: &str, id: u64) -> String {
    let mut name = String::new();
    for c in title.chars().take(NAME_CHARS_MAX) {
        match c.is_alphanumeric() {
            true => name.push(c),
            false if name.ends_with('-') || name.is_empty() => {}
            false => name.push('-'),
        }
    }
    let name = name.trim_end_matches('-');
    if name.is_empty() { format!("task-{id}.html") } else { format!("{name}.html") }
}

/// Returns the header that has a browser keep the file under its name (RFC 6266): once for those that know letters beyond ASCII, and
/// once for the others.
fn disposition(name: &str) -> String {
    let plain: String = name.chars().map(|c| if c.is_ascii() { c } else { '_' }).collect();
    let whole: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{whole}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_called_as_its_title_and_leads_nowhere() {
        let long = "x".repeat(300);
        for (title, expected) in [
            ("Which months lost money, and why?", "Which-months-lost-money-and-why.html"),
            ("../../etc/passwd", "etc-passwd.html"),
            (".bashrc\0\r\nSet-Cookie: a=b", "bashrc-Set-Cookie-a-b.html"),
            ("a\u{202e}lmth.\"x", "a-lmth-x.html"),
            ("Größe 日本", "Größe-日本.html"),
            ("???", "task-7.html"),
            ("", "task-7.html"),
            (&long, &format!("{}.html", &long[..NAME_CHARS_MAX])),
        ] {
            assert_eq!(name(title, 7), expected, "{title:?}");
        }
        assert_eq!(
            disposition("Größe-日本.html"),
            "attachment; filename=\"Gr__e-__.html\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe-%E6%97%A5%E6%9C%AC.html"
        );
    }
}
