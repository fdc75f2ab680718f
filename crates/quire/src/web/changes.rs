//! Changes as lines. A file's lines come in chunks: a page holds the first ones, the script fetches the others when they come
//! near, and without scripts a link leads to the whole file. One element a line, its numbers in attributes, which are no text
//! and so are not copied with it: what a browser lays out is a twentieth of a grid with three elements a line.

use crate::error::{Exit, Failure};
use crate::terminal::clean;
use crate::web::door::Session;
use crate::web::frame::{self, Frame, Place};
use crate::web::text::marked;
use crate::web::{Page, lock};
use axum::extract::{Extension, Path, Query, State};
use axum::response::{Html, IntoResponse, Response};
use maud::{Markup, html};
use quire_core::diff::{Hunk, Kind, Line};
use quire_core::view::{self, Fate, FileChange, Review, Shape};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

/// Lines of a chunk; the style reserves the height of a whole one.
const CHUNK: usize = 200;
/// Lines of one file, and of all, that the first page holds.
const FIRST_OF_FILE: usize = 2 * CHUNK;
const FIRST_OF_ALL: usize = 1000;
/// A file with more changed lines is closed at first.
const CLOSED_ABOVE: usize = 2000;
/// Reviews that are kept for the chunks to come.
const KEPT: usize = 8;
/// Of a line, in characters; a longer one is cut, and the plain diff has it.
const LINE_CHARS_MAX: usize = 2000;

/// Reviews by task and by the place of its log: whatever happens to a task makes another.
#[derive(Default)]
pub struct Reviews {
    kept: Mutex<VecDeque<(u64, u64, Arc<Review>)>>,
    /// One is made at a time: who asks for the same meanwhile waits for it, and does not make it again.
    making: Mutex<()>,
}

impl Reviews {
    fn get(&self, id: u64, seq: u64) -> Option<Arc<Review>> {
        let kept = lock(&self.kept);
        kept.iter().find(|(task, at, _)| (*task, *at) == (id, seq)).map(|(.., review)| review.clone())
    }
}

impl Page {
    /// Returns the task's review, made once for all its chunks.
    pub fn review(&self, id: u64) -> Result<Arc<Review>, Failure> {
        let seq = self.quire.task(id)?.seq;
        if let Some(review) = self.reviews.get(id, seq) {
            return Ok(review);
        }
        let _making = lock(&self.reviews.making);
        if let Some(review) = self.reviews.get(id, seq) {
            return Ok(review);
        }
        let review = Arc::new(self.quire.review(id)?);
        let mut kept = lock(&self.reviews.kept);
        kept.retain(|(task, ..)| *task != id);
        kept.truncate(KEPT - 1);
        kept.push_front((id, seq, review.clone()));
        Ok(review)
    }
}

/// A line as it is drawn.
enum Row<'r> {
    Hunk(&'r Hunk),
    Line { kind: Kind, was: usize, now: usize, text: &'r [u8], pair: Option<&'r [u8]> },
}

fn rows(file: &FileChange) -> Vec<Row<'_>> {
    let mut rows = vec![];
    for hunk in &file.hunks {
        rows.push(Row::Hunk(hunk));
        let (mut was, mut now) = (hunk.was_start, hunk.now_start);
        for (line, pair) in hunk.lines.iter().zip(pairs(&hunk.lines)) {
            rows.push(Row::Line { kind: line.kind, was, now, text: &line.text, pair });
            was += usize::from(line.kind != Kind::Added);
            now += usize::from(line.kind != Kind::Removed);
        }
    }
    rows
}

/// Returns for each line the one that it became, or was: where as many lines were added as were removed before them. In one
/// pass, because a run may be as long as a file.
fn pairs(lines: &[Line]) -> Vec<Option<&[u8]>> {
    let mut pairs = vec![None; lines.len()];
    let runs: Vec<&[Line]> = lines.chunk_by(|a, b| a.kind == b.kind).collect();
    let mut begin = 0;
    for (n, run) in runs.iter().enumerate() {
        let next = runs.get(n + 1).filter(|next| next[0].kind == Kind::Added && next.len() == run.len());
        if let (Kind::Removed, Some(next)) = (run[0].kind, next) {
            for (at, (was, now)) in run.iter().zip(next.iter()).enumerate() {
                pairs[begin + at] = Some(now.text.as_slice());
                pairs[begin + run.len() + at] = Some(was.text.as_slice());
            }
        }
        begin += run.len();
    }
    pairs
}

/// Returns the article of each file, with as many lines as a first page holds.
pub fn files(review: &Review, folders: usize) -> Markup {
    let mut left = FIRST_OF_ALL;
    let mut articles = vec![];
    for (number, file) in review.files.iter().enumerate() {
        let first = left.min(FIRST_OF_FILE);
        let (article, shown) = article(review, number, file, folders, first);
        left = left.saturating_sub(shown);
        articles.push(article);
    }
    html! { @for article in articles { (article) } }
}

pub fn name(file: &FileChange, folders: usize) -> String {
    if folders > 1 { format!("{}/{}", file.folder + 1, file.path) } else { file.path.to_string() }
}

fn article(
    review: &Review,
    number: usize,
    file: &FileChange,
    folders: usize,
    first: usize,
) -> (Markup, usize) {
    let name = name(file, folders);
    let rows = rows(file);
    let closed = file.added + file.removed > CLOSED_ABOVE;
    let first = if closed { 0 } else { rows.len().min(first) };
    // Whole chunks, so that the others can be counted on from here.
    let first = if first < rows.len() { first / CHUNK * CHUNK } else { first };
    let at = format!("/tasks/{}/files/{number}", review.task);
    let body = html! {
        @if file.large {
            p.quiet { "Too large to be compared here. In a terminal: " code { "quire review " (review.task) " --diff" } }
        } @else if file.binary {
            p.quiet { "No text: " (view::size(file.bytes)) }
        } @else if let Some(target) = &file.target {
            p.quiet { "A link to " code { (marked(target)) } }
        }
        div.code tabindex="-1" { (chunk(&rows[..first])) (rest(&at, first, rows.len())) }
        @if first < rows.len() { p.quiet { a.txt href=(at) { "Show all " (view::thousands(rows.len() as u64)) " lines on a page of their own" } } }
    };
    let article = html! {
        article.file.sheet id=(format!("f{number}")) aria-label=(clean(&name)) {
            header { code { (marked(&name)) } span.end { (extent(file)) } }
            @if closed { details.closed { summary { "Many lines changed. Open" } (body) } } @else { (body) }
        }
    };
    (article, first)
}

/// Returns places for the chunks that are not there yet.
fn rest(at: &str, from: usize, to: usize) -> Markup {
    html! {
        @for begin in (from..to).step_by(CHUNK) {
            div.chunk.wait.whole[to - begin >= CHUNK] data-src=(format!("{at}?from={begin}")) {}
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
            _ if file.binary => { span.tag { "binary" } },
            _ if file.executable.is_some() => { span.tag.amber { (file.extent()) } },
            _ => {},
        }
        @if file.fate != Fate::Deleted && file.added > 0 { span.plus { "+" (file.added) } }
        @if file.fate != Fate::Deleted && file.removed > 0 { span.minus { "−" (file.removed) } }
    }
}

fn chunk(rows: &[Row<'_>]) -> Markup {
    html! {
        @for rows in rows.chunks(CHUNK) {
            div.chunk.whole[rows.len() == CHUNK] { @for row in rows { (one(row)) } }
        }
    }
}

fn one(row: &Row<'_>) -> Markup {
    match row {
        Row::Hunk(hunk) => html! { div.hunk-h { "Line " (hunk.now_start.max(1)) } },
        Row::Line { kind, was, now, text, pair } => {
            let text = line(text, *kind);
            let pair = pair.map(|pair| line(pair, *kind));
            let parts = parts(&text, pair.as_deref());
            let inner = html! {
                (marked(parts.0))
                @if !parts.1.is_empty() { b { (marked(parts.1)) } }
                (marked(parts.2))
            };
            match kind {
                Kind::Same => html! { span.l data-o=(was) data-n=(now) { (inner) } },
                Kind::Added => html! { ins.l.a data-n=(now) { (inner) } },
                Kind::Removed => html! { del.l.d data-o=(was) { (inner) } },
            }
        }
    }
}

/// Returns a line's text. Where only the line end changed, it is the change, and stays.
fn line(text: &[u8], kind: Kind) -> String {
    let text = String::from_utf8_lossy(text);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = if kind == Kind::Same { text.strip_suffix('\r').unwrap_or(text) } else { text };
    match text.char_indices().nth(LINE_CHARS_MAX) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}

/// Returns a line as what it shares with its pair at the beginning, what differs, and what it shares at the end, cut between
/// words. Nothing differs where there is no pair, or where nearly all would.
fn parts<'t>(text: &'t str, pair: Option<&str>) -> (&'t str, &'t str, &'t str) {
    let Some(pair) = pair else { return (text, "", "") };
    let shared = |a: &mut dyn Iterator<Item = char>, b: &mut dyn Iterator<Item = char>| {
        a.zip(b).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum::<usize>()
    };
    let mut head = shared(&mut text.chars(), &mut pair.chars());
    let most = text.len().min(pair.len()) - head;
    let mut tail = shared(&mut text.chars().rev(), &mut pair.chars().rev()).min(most);
    while !text.is_char_boundary(text.len() - tail) {
        tail -= 1;
    }
    let in_word = |at: usize| {
        let (before, after) = (text[..at].chars().next_back(), text[at..].chars().next());
        [before, after].into_iter().all(|c| c.is_some_and(|c| c.is_alphanumeric() || c == '_'))
    };
    while head > 0 && in_word(head) {
        head -= text[..head].chars().next_back().map_or(1, char::len_utf8);
    }
    while tail > 0 && in_word(text.len() - tail) {
        tail -= text[text.len() - tail..].chars().next().map_or(1, char::len_utf8);
    }
    if head + tail < text.trim().len() / 4 {
        return (text, "", "");
    }
    (&text[..head], &text[head..text.len() - tail], &text[text.len() - tail..])
}

/// A file of a review: a chunk of it for the script, else all of it on a page of its own.
pub async fn file(
    State(page): State<Arc<Page>>,
    Extension(session): Extension<Session>,
    Path((id, number)): Path<(u64, usize)>,
    Query(asked): Query<HashMap<String, String>>,
) -> Response {
    let made = page.blocking(move |page| {
        let review = page.review(id)?;
        let Some(file) = review.files.get(number) else {
            let next = "Load the review anew.";
            return Err(Failure::new(Exit::NoTask, "The version has no such file.", "Nothing was changed.", next));
        };
        let rows = rows(file);
        if let Some(from) = asked.get("from").and_then(|from| from.parse::<usize>().ok()) {
            let rows = rows.get(from..).unwrap_or_default();
            return Ok(Html(chunk(&rows[..rows.len().min(CHUNK)]).into_string()).into_response());
        }
        let folders = page.quire.task(id)?.charter.folders.len();
        let name = name(file, folders);
        let main = html! {
            main id="main" {
                div.rev-head {
                    nav.crumb aria-label="Breadcrumb" { a href=(format!("/tasks/{id}")) { (clean(&review.title)) } }
                    h1 { (marked(&name)) }
                    div.facts { (extent(file)) }
                }
                div.cols { div.wide { article.file.sheet { div.code tabindex="-1" { (chunk(&rows)) } } } }
            }
        };
        Ok(Frame::of(page, &session)?.page(&name, Place::Tasks, &main))
    });
    made.await.unwrap_or_else(|failure| frame::failed(&failure, &format!("/tasks/{id}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_in_a_line_is_whole_words() {
        let rows = [
            ("let a = one(x);", Some("let a = two(x);"), ("let a = ", "one", "(x);")),
            ("let total = 1;", Some("let tote = 1;"), ("let ", "total", " = 1;")),
            ("same", Some("same"), ("same", "", "")),
            ("aé b", Some("aè b"), ("", "aé", " b")),
            ("x x", Some("x x x"), ("x x", "", "")),
            ("quite another thing", Some("1234567"), ("quite another thing", "", "")),
            ("alone", None, ("alone", "", "")),
        ];
        for (text, pair, expected) in rows {
            assert_eq!(parts(text, pair), expected, "{text} {pair:?}");
        }
    }

    #[test]
    fn lines_pair_where_as_many_came_as_went() {
        let lines = |kinds: &str| -> Vec<Line> {
            let kind = |c| match c {
                '-' => Kind::Removed,
                '+' => Kind::Added,
                _ => Kind::Same,
            };
            kinds
                .chars()
                .enumerate()
                .map(|(n, c)| Line { kind: kind(c), text: n.to_string().into(), words: vec![] })
                .collect()
        };
        let rows = [
            (" -+ ", [None, Some("2"), Some("1"), None].to_vec()),
            ("--++", [Some("2"), Some("3"), Some("0"), Some("1")].to_vec()),
            ("--+", [None, None, None].to_vec()),
            ("-++", [None, None, None].to_vec()),
            ("+-", [None, None].to_vec()),
        ];
        for (kinds, expected) in rows {
            let lines = lines(kinds);
            let text = |pair: Option<&[u8]>| pair.map(|text| String::from_utf8_lossy(text).into_owned());
            let found: Vec<_> = pairs(&lines).into_iter().map(text).collect();
            let expected: Vec<_> = expected.into_iter().map(|text| text.map(str::to_owned)).collect();
            assert_eq!(found, expected, "{kinds}");
        }
    }
}
