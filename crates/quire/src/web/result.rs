//! The result of a version, shown: the page it made, images before and after, tables with the cells that changed, documents as
//! they read, and where files were moved.

use crate::error::Failure;
use crate::terminal::clean;
use crate::web::frame::Frame;
use crate::web::preview::{FILE_BYTES_MAX, Side, encoded};
use crate::web::served::State as Server;
use crate::web::text::{document, marked};
use crate::web::{Page, frame, icons, tables};
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use maud::{Markup, html};
use quire_core::view::{self, Fate, FileChange, Review, Shape};
use quire_core::{RelPath, Serving};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Images, documents, tables that are shown of a version; the changes list all.
const IMAGES_MAX: usize = 12;
const DOCUMENTS_MAX: usize = 6;
const IMAGES: [&str; 7] = ["png", "jpg", "jpeg", "gif", "webp", "avif", "svg"];
/// Larger ones are not read.
const DOCUMENT_BYTES_MAX: u64 = 512 << 10;
const TABLE_BYTES_MAX: u64 = 8 << 20;
/// Of one folder of a tree, in paths.
const BRANCH_MAX: usize = 12;

fn ends(name: &str, endings: &[&str]) -> bool {
    name.rsplit_once('.').is_some_and(|(_, ending)| endings.contains(&ending.to_lowercase().as_str()))
}

/// The two sides of a version, and what it changed of the first folder.
struct Shown<'r> {
    page: &'r Page,
    review: &'r Review,
    before: String,
    after: String,
    files: Vec<(&'r FileChange, String)>,
}

impl Shown<'_> {
    fn of_kind(&self, endings: &[&str]) -> impl Iterator<Item = &(&FileChange, String)> {
        self.files.iter().filter(move |(_, name)| ends(name, endings))
    }

    fn content(&self, version: Option<u32>, path: &RelPath, most: u64) -> Option<Vec<u8>> {
        self.page.quire.file_of(self.review.task, version, 0, path, most).ok()?
    }

    /// Returns a file's content before and now.
    fn contents(&self, file: &FileChange, most: u64) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        let was = file.renamed_from.as_ref().unwrap_or(&file.path);
        let was = if file.fate == Fate::New { None } else { self.content(None, was, most) };
        (was, self.content(Some(self.review.version), &file.path, most))
    }

    /// Returns the page to begin with.
    fn start(&self) -> Option<String> {
        let there =
            |name: &str| self.files.iter().any(|(file, other)| other == name && file.fate != Fate::Deleted);
        let index = || {
            RelPath::new("index.html")
                .and_then(|path| self.content(Some(self.review.version), &path, FILE_BYTES_MAX))
        };
        // A style or script that changed is seen in the page that uses it.
        let is_part = self.of_kind(&["css", "js"]).next().is_some();
        if there("index.html") || is_part && index().is_some() {
            return Some("index.html".to_owned());
        }
        self.of_kind(&["html"]).find(|(file, _)| file.fate != Fate::Deleted).map(|(_, name)| name.clone())
    }
}

impl<'r> Shown<'r> {
    fn of(page: &'r Page, review: &'r Review) -> Shown<'r> {
        let files = review.files.iter().filter(|file| file.folder == 0 && file.shape == Shape::File);
        Shown {
            page,
            review,
            before: page.shown_at(Side { task: review.task, version: None, served: false }),
            after: page.shown_at(Side { task: review.task, version: Some(review.version), served: false }),
            files: files.map(|file| (file, file.path.to_string())).collect(),
        }
    }
}

/// Where one look at a version is had.
pub enum Thumb {
    Page(String),
    Picture(String),
}

/// Returns where a version is seen at a glance: the page that it made, else what its agent looked at, else an image that it made.
pub fn thumb(page: &Page, review: &Review) -> Option<Thumb> {
    let shown = Shown::of(page, review);
    let at = |name: &str| format!("{}/{}", shown.after, encoded(name));
    if let Some(start) = shown.start().filter(|_| review.serving.is_none()) {
        return Some(Thumb::Page(at(&start)));
    }
    let looked = review.looked.iter().filter(|look| !look.stale).flat_map(|look| look.pictures.last()).last();
    if let Some(picture) = looked {
        return Some(Thumb::Picture(format!("{}/{}", page.pictures_at(review.task), picture.blob)));
    }
    let image = shown.of_kind(&IMAGES).find(|(file, _)| file.fate != Fate::Deleted).map(|(_, name)| at(name));
    image.map(Thumb::Picture)
}

/// Returns the part of a review that shows its result. Nothing where there is nothing to be seen.
pub fn result(page: &Page, frame: &Frame, review: &Review) -> Option<Markup> {
    let shown = Shown::of(page, review);
    let start = shown.start();
    let parts = [
        review.serving.as_ref().map(|serving| server(&shown, frame, serving)),
        // Pages that a server answers with are seen as it answers.
        start.as_deref().filter(|_| review.serving.is_none()).map(|start| pages(&shown, start)),
        images(&shown),
        tables(&shown),
        documents(&shown),
        printed(&shown),
        moves(&shown),
    ];
    if parts.iter().all(Option::is_none) {
        return None;
    }
    Some(html! {
        section.sec id="result" aria-labelledby="result-t" {
            header { h2 id="result-t" { "Result" } }
            @for part in parts.into_iter().flatten() { (part) }
        }
    })
}

fn pages(shown: &Shown<'_>, start: &str) -> Markup {
    let at = encoded(start);
    html! {
        a.skip-preview.txt href="#checks" { "Skip the preview" }
        div.frame.sheet {
            div.tool {
                span.addr { (icons::sign("lock")) span { (marked(start)) ", closed off: no network, no access to this page" } }
                span.seg role="group" aria-label="Version shown" {
                    a href=(format!("{}/{at}", shown.before)) target="preview" { "Before" }
                    a href=(format!("{}/{at}", shown.after)) target="preview" aria-current="true" { "After" }
                }
                (widths())
            }
            div.stage { iframe name="preview" sandbox="allow-scripts allow-forms" referrerpolicy="no-referrer" title=(format!("Preview of {start}")) src=(format!("{}/{at}", shown.after)) {} }
            div id="kept-from" data-src=(format!("/tasks/{}/kept-from", shown.review.task)) { (kept_from(shown.page, shown.review.task, shown.review.version)) }
        }
    }
}

/// Returns the version's own server: as it answers, or how it is started.
fn server(shown: &Shown<'_>, frame: &Frame, serving: &Serving) -> Markup {
    let side = Side { task: shown.review.task, version: Some(shown.review.version), served: true };
    let button =
        |label: &str| frame.button(&format!("/tasks/{}/serve", side.task), "", &html! { (label) }, &[]);
    let told = |said: &str, button: Markup| {
        html! {
            div.sheet.told {
                (icons::sign("lock"))
                div { p { (clean(said)) } p.mut { "It runs as " code { (clean(&serving.command)) } ", in a fresh private copy." } div.acts { (button) } }
            }
        }
    };
    match shown.page.servers.state(side) {
        None => told("The result is a program that answers a browser.", button("Run it here")),
        Some(Server::Starting) => html! { div data-probing { (told("It is starting.", html! {})) } },
        Some(Server::Ended(why)) => told(&why, button("Run it again")),
        Some(Server::Open) => html! {
            div.frame.sheet {
                div.tool {
                    span.addr { (icons::sign("lock")) code { (clean(&serving.command)) } ", in a private copy, closed off" }
                    (widths())
                }
                div.stage { iframe name="served" sandbox="allow-scripts allow-forms" referrerpolicy="no-referrer" title="The running result" src=(format!("{}/{}", shown.page.shown_at(side), serving.path.trim_start_matches('/'))) {} }
            }
        },
    }
}

fn widths() -> Markup {
    html! {
        span.seg role="radiogroup" aria-label="Width" {
            label { input type="radio" name="w" id="w-phone"; "Phone" }
            label { input type="radio" name="w" id="w-tablet"; "Tablet" }
            label { input type="radio" name="w" id="w-full" checked; "Full" }
        }
    }
}

fn images(shown: &Shown<'_>) -> Option<Markup> {
    let mut images = shown.of_kind(&IMAGES).take(IMAGES_MAX).peekable();
    images.peek()?;
    Some(html! {
        @for (file, name) in images {
            div.pair {
                @if !matches!(file.fate, Fate::New | Fate::Renamed) { figure { figcaption { "Before" } img loading="lazy" alt=(format!("{name}, before")) src=(format!("{}/{}", shown.before, encoded(name))); } }
                @if file.fate != Fate::Deleted { figure { figcaption { (marked(name)) @if file.fate == Fate::Changed { ", after" } } img loading="lazy" alt=(format!("{name}, after")) src=(format!("{}/{}", shown.after, encoded(name))); } }
            }
        }
    })
}

fn tables(shown: &Shown<'_>) -> Option<Markup> {
    let mut drawn = vec![];
    for (file, name) in shown.files.iter().filter(|(_, name)| tables::is_table(name)).take(DOCUMENTS_MAX) {
        let (was, now) = shown.contents(file, TABLE_BYTES_MAX);
        let sheets = |content: Option<Vec<u8>>| content.and_then(|content| tables::sheets(name, &content));
        if let Some(now) = sheets(now) {
            drawn.push(
                html! { h3.minor { (marked(name)) } (tables::drawn(&sheets(was).unwrap_or_default(), &now)) },
            );
        }
    }
    (!drawn.is_empty()).then(|| html! { @for one in drawn { (one) } })
}

fn documents(shown: &Shown<'_>) -> Option<Markup> {
    let mut drawn = vec![];
    for (file, name) in shown.of_kind(&["md", "markdown"]).take(DOCUMENTS_MAX) {
        let (was, now) = shown.contents(file, DOCUMENT_BYTES_MAX);
        let text = |content: Vec<u8>| String::from_utf8_lossy(&content).into_owned();
        if let Some(now) = now.map(text) {
            let was = was.map(text);
            drawn.push(html! {
                details.document.sheet open[drawn.is_empty()] {
                    summary { (marked(name)) }
                    div.prose { (document(was.as_deref(), &now)) }
                }
            });
        }
    }
    (!drawn.is_empty()).then(|| html! { @for one in drawn { (one) } })
}

fn printed(shown: &Shown<'_>) -> Option<Markup> {
    let mut files =
        shown.of_kind(&["pdf"]).filter(|(file, _)| file.fate != Fate::Deleted).take(DOCUMENTS_MAX).peekable();
    files.peek()?;
    Some(html! {
        @for (_, name) in files {
            div.frame.sheet {
                div.tool { span.addr { (icons::sign("lock")) span { (marked(name)) } } }
                // A browser's viewer does not begin in a sandbox; another origin than the page's it is all the same.
                div.stage { iframe loading="lazy" referrerpolicy="no-referrer" title=(format!("Preview of {name}")) src=(format!("{}/{}", shown.after, encoded(name))) {} }
            }
        }
    })
}

/// Returns where files were moved, as a tree before and one after.
fn moves(shown: &Shown<'_>) -> Option<Markup> {
    let moved: Vec<(String, &str)> = shown
        .files
        .iter()
        .filter_map(|(file, name)| Some((file.renamed_from.as_ref()?.to_string(), name.as_str())))
        .collect();
    if moved.is_empty() {
        return None;
    }
    let count = view::count(moved.len() as u64, "file");
    Some(html! {
        h3.minor { (count) " moved" }
        div.pair.trees {
            figure { figcaption { "Before" } (tree(moved.iter().map(|(was, _)| was.as_str()))) }
            figure { figcaption { "After" } (tree(moved.iter().map(|(_, now)| *now))) }
        }
    })
}

/// Returns paths by the folders they lie in.
fn tree<'p>(paths: impl Iterator<Item = &'p str>) -> Markup {
    let mut folders: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for path in paths {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        folders.entry(folder).or_default().push(name);
    }
    html! {
        ul.tree.sheet {
            @for (folder, mut names) in folders {
                @let () = names.sort_unstable();
                li {
                    b { (icons::sign("folder")) @if folder.is_empty() { "." } @else { (marked(folder)) } }
                    ul {
                        @for name in names.iter().take(BRANCH_MAX) { li { (marked(name)) } }
                        @if names.len() > BRANCH_MAX { li.mut { "and " (view::thousands((names.len() - BRANCH_MAX) as u64)) " more" } }
                    }
                }
            }
        }
    }
}

/// Returns what the pages shown asked for elsewhere.
fn kept_from(page: &Page, task: u64, version: u32) -> Markup {
    let origins = page.previews.kept_from(Side { task, version: Some(version), served: false });
    html! {
        @if !origins.is_empty() {
            p.claim { (icons::sign("flag")) span { "It asks for what lies elsewhere, and did not get it here: " (clean(&origins.join(", "))) } }
        }
    }
}

/// The same alone, for the script.
pub async fn part(State(page): State<Arc<Page>>, Path(id): Path<u64>) -> Response {
    let made = page.blocking(move |page| {
        let version = page.quire.task(id)?.versions.last().map_or(0, |version| version.number);
        Ok::<_, Failure>(Html(kept_from(page, id, version).into_string()).into_response())
    });
    made.await.unwrap_or_else(|failure| frame::failed(&failure, "/"))
}
