//! Search in changes: the browser's own does not see the chunks that are not there yet.

use crate::terminal::clean;
use crate::web::Page;
use crate::web::changes::{self, name, place};
use crate::web::door::Session;
use crate::web::frame::{self, Frame, Place};
use crate::web::lines::{self, Layout, Row, shown};
use crate::web::text::marked;
use axum::extract::{Extension, Path, Query, State};
use axum::response::{Html, IntoResponse, Response};
use maud::{Markup, html};
use quire_core::diff::{Kind, Line};
use quire_core::view::{self, Review};
use std::collections::HashMap;
use std::sync::Arc;

/// Lines that are listed; more are counted.
const FOUND_MAX: usize = 200;
/// Characters of a line that are listed.
const LINE_CHARS_MAX: usize = 160;

/// Where the words stand.
struct Found<'r> {
    file: usize,
    row: usize,
    number: usize,
    line: &'r Line,
}

/// Returns every line that holds `words`, whatever its case.
fn found<'r>(review: &'r Review, words: &str, layout: Layout) -> Vec<Found<'r>> {
    let words = words.to_lowercase();
    let mut found = vec![];
    for (file, change) in review.files.iter().enumerate() {
        for (row, drawn) in lines::rows(change, layout).into_iter().enumerate() {
            let lines = match drawn {
                Row::Hunk(..) => [None, None],
                Row::Same { now, line, .. } => [Some((now, line)), None],
                Row::Removed(at) | Row::Added(at) => [Some(at), None],
                Row::Beside(went, came) => [went, came],
            };
            for (number, line) in lines.into_iter().flatten() {
                if String::from_utf8_lossy(&line.text).to_lowercase().contains(&words) {
                    found.push(Found { file, row, number, line });
                }
            }
        }
    }
    found
}

fn list(review: &Review, folders: usize, words: &str, layout: Layout) -> Markup {
    let found = found(review, words, layout);
    let since = review.since.map_or_else(String::new, |since| format!("?since={since}"));
    html! {
        p.mut { @if found.is_empty() { "No changed line, and none beside one, holds that." } @else { (view::count(found.len() as u64, "line")) } }
        ol.hits {
            @for hit in found.iter().take(FOUND_MAX) {
                @let file = &review.files[hit.file];
                li { a href=(format!("/tasks/{}/files/{}{}#{}", review.task, hit.file, since, place(hit.file, hit.row))) {
                    span.at { (clean(&name(file, folders))) ":" (hit.number) }
                    code.a[hit.line.kind == Kind::Added].d[hit.line.kind == Kind::Removed] {
                        (marked(&shown(&hit.line.text, Kind::Same).trim().chars().take(LINE_CHARS_MAX).collect::<String>()))
                    }
                } }
            }
        }
        @if found.len() > FOUND_MAX { p.mut { "The first " (FOUND_MAX) " are shown." } }
    }
}

/// The lines of a review's changes that hold what is asked for: for the script the list alone, else a page.
pub async fn find(
    State(page): State<Arc<Page>>,
    Extension(session): Extension<Session>,
    Path(id): Path<u64>,
    Query(asked): Query<HashMap<String, String>>,
) -> Response {
    let made = page.blocking(move |page| {
        let review = page.review(id, changes::since(&asked))?;
        let folders = page.quire.task(id)?.charter.folders.len();
        let words = asked.get("q").map(|words| words.trim()).unwrap_or_default();
        let layout = if asked.contains_key("split") { Layout::Split } else { Layout::Unified };
        let list = if words.is_empty() { html! {} } else { list(&review, folders, words, layout) };
        if asked.contains_key("part") {
            return Ok(Html(list.into_string()).into_response());
        }
        let title = format!("{words} in the changes");
        let main = html! {
            main id="main" {
                div.rev-head {
                    nav.crumb aria-label="Breadcrumb" { a href=(format!("/tasks/{id}")) { (clean(&review.title)) } }
                    h1 { (marked(&title)) }
                }
                div.cols { div.wide { (list) } }
            }
        };
        Ok(Frame::of(page, &session)?.page(&title, Place::Tasks, &main))
    });
    made.await.unwrap_or_else(|failure| frame::failed(&failure, &format!("/tasks/{id}")))
}
