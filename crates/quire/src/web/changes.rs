//! Changes, file by file. A file's lines come in chunks: a page holds the first ones, the script fetches the others when they
//! come near, and without scripts a link leads to the whole file.

use crate::error::{Exit, Failure};
use crate::terminal::clean;
use crate::web::around::Around;
use crate::web::door::{Fields, Session};
use crate::web::frame::{self, Frame, Place};
use crate::web::lines::{self, Drawing, Layout, Row};
use crate::web::said::Said;
use crate::web::text::{marked, quoting};
use crate::web::{Page, edit, lock};
use axum::extract::{Extension, Path, Query, State};
use axum::response::{Html, IntoResponse, Response};
use maud::{Markup, html};
use quire_core::view::{self, Fate, FileChange, Review, Shape, Taken};
use quire_core::{Hash, RelPath, Task};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

/// Lines of a chunk; the style reserves the height of a whole one.
const CHUNK: usize = 200;
/// Chunks of a run; the style reserves its height too.
const RUN: usize = 25;
/// Lines of one file, and of all, that the first page holds.
const FIRST_OF_FILE: usize = 2 * CHUNK;
const FIRST_OF_ALL: usize = 1000;
/// A file with more changed lines is closed at first.
const CLOSED_ABOVE: usize = 2000;
/// Reviews that are kept for the chunks to come: more than the attempts that a page compares.
const KEPT: usize = 32;

/// A path as the script reads it back: nothing in it can hide in the page.
fn address(path: &RelPath) -> String {
    url::form_urlencoded::byte_serialize(path.as_bytes()).collect::<String>().replace('+', "%20")
}

/// What a review is of: a task, the place of its log, so that whatever happens to a task makes another, and the version since which
/// changes are shown.
type Of = (u64, u64, Option<u32>);

/// Reviews by what they are of.
#[derive(Default)]
pub struct Reviews {
    kept: Mutex<VecDeque<(Of, Arc<Review>)>>,
    /// One is made at a time: who asks for the same meanwhile waits for it, and does not make it again.
    making: Mutex<()>,
}

impl Reviews {
    fn get(&self, of: Of) -> Option<Arc<Review>> {
        let kept = lock(&self.kept);
        kept.iter().find(|(known, _)| *known == of).map(|(_, review)| review.clone())
    }
}

impl Page {
    /// Returns the task's review, made once for all its chunks: of all its changes, or of those since a version.
    pub fn review(&self, id: u64, since: Option<u32>) -> Result<Arc<Review>, Failure> {
        let seq = self.quire.task(id)?.seq;
        if let Some(review) = self.reviews.get((id, seq, since)) {
            return Ok(review);
        }
        let whole = since.map(|_| self.review(id, None)).transpose()?;
        let _making = lock(&self.reviews.making);
        if let Some(review) = self.reviews.get((id, seq, since)) {
            return Ok(review);
        }
        let review = match (since, whole) {
            (Some(version), Some(whole)) => {
                Review { files: self.quire.files_since(id, version)?, since, ..(*whole).clone() }
            }
            _ => self.quire.review(id)?,
        };
        let review = Arc::new(review);
        let mut kept = lock(&self.reviews.kept);
        kept.retain(|((task, at, shown), _)| *task != id || *at == seq && *shown != since);
        kept.truncate(KEPT - 1);
        kept.push_front(((id, seq, since), review.clone()));
        Ok(review)
    }
}

/// Returns the version since which the address asks for changes.
pub fn since(asked: &HashMap<String, String>) -> Option<u32> {
    asked.get("since")?.parse().ok()
}

/// Returns whether it is chosen here what is taken: from the whole version, of a task that does not go on.
pub fn is_choosable(task: &Task, review: &Review) -> bool {
    task.is_at_rest() && !review.imported && review.taken != Taken::Whole && review.since.is_none()
}

/// Returns how the changes of a review are drawn, as the address asks for it.
pub fn drawing(task: &Task, review: &Review, asked: &HashMap<String, String>) -> Drawing<'static> {
    let layout = if asked.contains_key("split") { Layout::Split } else { Layout::Unified };
    let choosable = is_choosable(task, review);
    Drawing { layout, choosable, since: review.since, name: "", noted: None, around: None }
}

/// Returns files with all their lines, up to what a first page holds; `more` is the command that shows the rest.
pub fn whole(files: &[FileChange], folders: usize, drawing: Drawing<'_>, more: &str) -> Markup {
    let mut left = FIRST_OF_ALL;
    let mut cut = false;
    let mut articles = vec![];
    for (number, file) in files.iter().enumerate() {
        let name = name(file, folders);
        let drawing = Drawing { name: &name, ..drawing };
        let rows = lines::rows(file, drawing.layout);
        let shown = rows.len().min(left);
        left -= shown;
        cut |= shown < rows.len();
        articles.push(html! {
            article.file.sheet aria-label=(clean(&name)) {
                header { h3 { code { (marked(&name)) } } span.end { (extent(file)) } }
                (unread(file, more))
                div.code tabindex="-1" { (chunks(&rows[..shown], number, None, drawing)) }
            }
        });
    }
    html! {
        @for article in &articles { (article) }
        @if cut { p.quiet { "The rest, in a terminal: " code { (more) } } }
    }
}

/// Returns what is said of a file that has no lines to be shown; `diff` is the command that shows it all the same.
fn unread(file: &FileChange, diff: &str) -> Markup {
    html! {
        @if file.large {
            p.quiet { "Too large to be compared here. In a terminal: " code { (diff) } }
        } @else if file.binary {
            p.quiet { "No text: " (view::size(file.bytes)) }
        } @else if let Some(from) = &file.renamed_from {
            p.quiet { "Moved from " code { (marked(&from.to_string())) } ", with the same content" }
        } @else if let Some(target) = &file.target {
            p.quiet { "A link to " code { (marked(target)) } }
        }
    }
}

/// Returns the article of each file, with as many lines as a first page holds. Those that the person has seen are folded.
pub fn files(
    page: &Page,
    review: &Review,
    folders: usize,
    drawing: Drawing<'_>,
    seen: &BTreeSet<Hash>,
) -> Result<Markup, Failure> {
    let mut left = FIRST_OF_ALL;
    let mut articles = vec![];
    let (look, said) = (review.look().into_iter().collect::<HashMap<_, _>>(), Said::of(review));
    for (number, file) in review.files.iter().enumerate() {
        let first = left.min(FIRST_OF_FILE);
        let is_seen = seen.contains(&file.identity);
        let why = match look.get(&review.named(file.folder, &file.path)) {
            Some(why) => html! { span.why { span.tag.amber { "look here" } " " (clean(why)) } },
            None => {
                html! { @if let Some(words) = said.about(file) { span.why { q { (quoting(&clean(words))) } } } }
            }
        };
        let file = page.widened(review, file, drawing.around)?;
        let (article, shown) = article(review, number, &file, folders, (first, drawing, is_seen, why));
        left = left.saturating_sub(shown);
        articles.push(article);
    }
    Ok(html! { @for article in articles { (article) } })
}

pub fn name(file: &FileChange, folders: usize) -> String {
    if folders > 1 { format!("{}/{}", file.folder + 1, file.path) } else { file.path.to_string() }
}

fn article(
    review: &Review,
    number: usize,
    file: &FileChange,
    folders: usize,
    (first, drawing, is_seen, why): (usize, Drawing<'_>, bool, Markup),
) -> (Markup, usize) {
    let name = name(file, folders);
    let drawing = Drawing { name: &name, noted: Some((review, number)), ..drawing };
    let rows = lines::rows(file, drawing.layout);
    let why_closed = match file.generated {
        true => Some("Written by a program."),
        false => (file.added + file.removed > CLOSED_ABOVE).then_some("Many lines changed."),
    };
    let first = if why_closed.is_some() { 0 } else { rows.len().min(first) };
    // Whole chunks, so that the others can be counted on from here.
    let first = if first < rows.len() { first / CHUNK * CHUNK } else { first };
    let at = format!("/tasks/{}/files/{number}", review.task);
    let body = html! {
        (unread(file, &format!("quire review {} --diff", review.task)))
        div.code tabindex="-1" { (chunks(&rows[..first], number, Some(&at), drawing)) (rest(number, &at, first, &rows, drawing)) }
        @if first < rows.len() { p.quiet { a.txt href=(match drawing.since { Some(since) => format!("{at}?since={since}"), None => at.clone() }) { "Show all " (view::thousands(rows.len() as u64)) " lines on a page of their own" } } }
    };
    let article = html! {
        article.file.sheet id=(format!("f{number}")) data-path=(address(&file.path)) aria-label=(clean(&name)) {
            header {
                // The form takes a file where neither its box here nor that of the list is empty, so that both work without scripts.
                @if drawing.choosable { input type="checkbox" form="accept" name="head" value=(number) checked aria-label=(format!("Take all of {}", clean(&name))); }
                h3 { code { (marked(&name)) } }
                span.end {
                    (extent(file))
                    @if review.since.is_none() && edit::is_editable(review, file) { a.txt href=(edit::address(review.task, file)) aria-label=(format!("Edit {}", clean(&name))) { "Edit" } }
                    button.seen form="see" name=(if is_seen { "unmark" } else { "mark" }) value=(file.identity) role="checkbox" aria-checked=(is_seen) aria-label=(format!("Seen: {}", clean(&name))) { "Seen" }
                }
                (why)
            }
            details.closed[why_closed.is_some()] open[why_closed.is_none() && !is_seen] { summary { (why_closed.unwrap_or("Seen.")) " Open" } (body) }
        }
    };
    (article, first)
}

/// Marks a file as seen or as not seen, as the form says; returns where it is looked at.
pub async fn see(page: &Arc<Page>, id: u64, fields: &Fields) -> Result<String, Failure> {
    let named = fields.get("mark").or(fields.get("unmark")).and_then(Hash::parse);
    let (is_seen, asked) = (fields.get("mark").is_some(), fields.pairs());
    let marked = page.blocking(move |page| {
        let review = page.review(id, since(&asked))?;
        let is_it = |file: &FileChange| Some(file.identity) == named;
        let Some(number) = review.files.iter().position(is_it) else {
            let what = "The version has no such file.";
            return Err(Failure::new(Exit::WrongUse, what, "Nothing was marked.", "Load the review anew."));
        };
        page.quire.see(id, review.files[number].identity, is_seen)?;
        let flags =
            ["split", "version"].into_iter().filter(|flag| asked.contains_key(*flag)).map(str::to_owned);
        let flags: Vec<String> = flags.chain(review.since.map(|since| format!("since={since}"))).collect();
        Ok(format!("/tasks/{id}?{}#f{number}", flags.join("&")))
    });
    marked.await
}

/// Returns places for the chunks that are not there yet, in runs: what a browser does for each place, it does only for those of the
/// runs near the window.
fn rest(file: usize, at: &str, first: usize, drawn: &[Row<'_>], drawing: Drawing<'_>) -> Markup {
    const WHOLE: usize = RUN * CHUNK;
    let rows = first..drawn.len();
    html! {
        @for begin in rows.clone().step_by(WHOLE) {
            div.run[rows.end - begin >= WHOLE] {
                @for begin in (begin..rows.end.min(begin + WHOLE)).step_by(CHUNK) {
                    div.chunk.wait.whole[rows.end - begin >= CHUNK].split[drawing.layout == Layout::Split]
                        id=(place(file, begin)) data-src=(source(at, begin, drawing)) {
                        // What the address leads to is there before its lines are.
                        @for row in &drawn[begin..rows.end.min(begin + CHUNK)] {
                            @if let (Row::Hunk(hunk, _), Some(around)) = (row, drawing.around) {
                                @if around.is_wide(hunk) { span id=(format!("h{}", hunk.id)) {} }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Returns how much of a file changed.
pub fn extent(file: &FileChange) -> Markup {
    html! {
        @match (file.fate, file.shape) {
            (Fate::New, Shape::File) => { span.tag.green { "new" } },
            (Fate::Deleted, _) => { span.tag.red { (file.extent()) } },
            (_, Shape::Folder | Shape::Link) => { span.tag { (file.extent()) } },
            (Fate::Renamed, _) => { span.tag { "moved" } },
            _ if file.binary => { span.tag { "binary" } },
            _ if file.executable.is_some() => { span.tag.amber { (file.extent()) } },
            _ => {},
        }
        @if file.fate != Fate::Deleted && file.added > 0 { span.plus { "+" (file.added) } }
        @if file.fate != Fate::Deleted && file.removed > 0 { span.minus { "−" (file.removed) } }
    }
}

/// Returns rows in their chunks. Where it is said from which address they come, they may go and come back.
fn chunks(rows: &[Row<'_>], file: usize, at: Option<&str>, drawing: Drawing<'_>) -> Markup {
    html! {
        @for (number, rows) in rows.chunks(CHUNK).enumerate() {
            div.chunk.whole[rows.len() == CHUNK].split[drawing.layout == Layout::Split] id=(chunk_id(file, number))
                data-src=[at.map(|at| source(at, number * CHUNK, drawing))] {
                @for row in rows { (lines::row(row, drawing)) }
            }
        }
    }
}

fn source(at: &str, from: usize, drawing: Drawing<'_>) -> String {
    let split = if drawing.layout == Layout::Split { "&split" } else { "" };
    let since = drawing.since.map_or_else(String::new, |since| format!("&since={since}"));
    let wide = drawing.around.map_or_else(String::new, Around::query);
    format!("{at}?from={from}{split}{since}{wide}")
}

fn chunk_id(file: usize, chunk: usize) -> String {
    format!("c{file}-{chunk}")
}

/// Returns the chunk of a file in which a row stands, as a place on a page.
pub fn place(file: usize, row: usize) -> String {
    chunk_id(file, row / CHUNK)
}

/// A file of a review: a chunk of it for the script, else all of it on a page of its own.
pub async fn file(
    State(page): State<Arc<Page>>,
    Extension(session): Extension<Session>,
    Path((id, number)): Path<(u64, usize)>,
    Query(asked): Query<HashMap<String, String>>,
) -> Response {
    let made = page.blocking(move |page| {
        let review = page.review(id, since(&asked))?;
        let Some(file) = review.files.get(number) else {
            let next = "Load the review anew.";
            return Err(Failure::new(Exit::NoTask, "The version has no such file.", "Nothing was changed.", next));
        };
        let task = page.quire.task(id)?;
        let folders = task.charter.folders.len();
        let name = name(file, folders);
        let drawing = Drawing { name: &name, noted: Some((&review, number)), ..drawing(&task, &review, &asked) };
        let is_chunk = asked.contains_key("from");
        let around = Around::of(&review, (!is_chunk).then_some(number), drawing.layout, &asked);
        let drawing = Drawing { around: Some(&around), ..drawing };
        let file = &*page.widened(&review, file, drawing.around)?;
        let rows = lines::rows(file, drawing.layout);
        if let Some(from) = asked.get("from").and_then(|from| from.parse::<usize>().ok()) {
            let rows = rows.get(from..).unwrap_or_default();
            let rows = &rows[..rows.len().min(CHUNK)];
            return Ok(Html(chunks(rows, number, None, drawing).into_string()).into_response());
        }
        // What is chosen and noted is so on the review's own page.
        let drawing = Drawing { choosable: false, noted: None, ..drawing };
        let main = html! {
            main id="main" {
                div.rev-head {
                    nav.crumb aria-label="Breadcrumb" { a href=(format!("/tasks/{id}")) { (clean(&review.title)) } }
                    h1 { (marked(&name)) }
                    div.facts { (extent(file)) }
                }
                div.cols { div.wide { h2.vh { "Changes" } h3.vh { (clean(&name)) } article.file.sheet { div.code tabindex="-1" { (chunks(&rows, number, None, drawing)) } } } }
            }
        };
        Ok(Frame::of(page, &session)?.page(&name, Place::Tasks, &main))
    });
    made.await.unwrap_or_else(|failure| frame::failed(&failure, &format!("/tasks/{id}")))
}
