//! The result, shown: a version's pages on an origin of their own, so that whatever they do, they do it to themselves. Another
//! port and another name than the page's, of 128 random bits, one for each side of each version: no cookie of the page's is ever
//! sent there, and no other version is reached from it. What is served comes from the version and from nowhere else, and
//! its policy closes the network.

use crate::web::{Page, icons, lock};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderValue};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use quire_core::RelPath;
use quire_core::view::{Fate, Review, Shape};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Larger files are not shown.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Names that are good; a page that is loaded anew makes its own good again.
const NAMES_MAX: usize = 256;

/// One side of a version.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Side {
    task: u64,
    /// Absent: as it was when the task began.
    version: Option<u32>,
}

pub struct Previews {
    port: u16,
    names: Mutex<HashMap<String, Side>>,
}

impl Previews {
    pub fn new(port: u16) -> Previews {
        Previews { port, names: Mutex::default() }
    }

    /// Returns the origins of all previews, as a policy names them.
    pub fn origins(&self) -> String {
        format!("http://*.localhost:{}", self.port)
    }
}

impl Page {
    /// Returns the address of a side, which is good from now on.
    fn shown_at(&self, side: Side) -> String {
        let name = self.door.preview_name(side.task, side.version);
        let mut names = lock(&self.previews.names);
        if names.len() >= NAMES_MAX {
            names.clear();
        }
        names.insert(name.clone(), side);
        format!("http://{name}.localhost:{}", self.previews.port)
    }
}

pub fn router(page: Arc<Page>) -> Router {
    Router::new().fallback(serve).with_state(page)
}

async fn serve(State(page): State<Arc<Page>>, request: Request) -> Response {
    let (status, kind, content) = match found(&page, request.into_parts().0).await {
        Ok((kind, content)) => (StatusCode::OK, kind, content),
        Err(status) => (status, "text/plain; charset=utf-8", b"Nothing is shown here.".to_vec()),
    };
    let mut answer = (status, Body::from(content)).into_response();
    let headers = answer.headers_mut();
    let policy = format!(
        "sandbox allow-scripts allow-forms; default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; connect-src 'self'; \
         form-action 'self'; base-uri 'self'; frame-ancestors http://127.0.0.1:{0} http://localhost:{0}",
        page.door.port()
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        // The page in the frame has no origin, so that even its own fonts and modules come from another.
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

async fn found(page: &Arc<Page>, request: Parts) -> Result<(&'static str, Vec<u8>), StatusCode> {
    if ![Method::GET, Method::HEAD].contains(&request.method) {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) else {
        return Err(StatusCode::MISDIRECTED_REQUEST);
    };
    let name = host.strip_suffix(&format!(".localhost:{}", page.previews.port));
    let name = name.ok_or(StatusCode::MISDIRECTED_REQUEST)?;
    let side = lock(&page.previews.names).get(name).copied().ok_or(StatusCode::NOT_FOUND)?;
    let path = request.uri.path();
    let whole = if path.ends_with('/') { format!("{path}index.html") } else { path.to_owned() };
    let path = decoded(whole.trim_start_matches('/')).and_then(RelPath::new).ok_or(StatusCode::NOT_FOUND)?;
    let kind = kind(&path);
    let read =
        page.blocking(move |page| Ok(page.quire.file_of(side.task, side.version, &path, FILE_BYTES_MAX)?));
    match read.await {
        Ok(Some(content)) => Ok((kind, content)),
        Ok(None) => Err(StatusCode::NOT_FOUND),
        Err(failure) => {
            tracing::warn!(what = failure.what, "a preview's file could not be read");
            Err(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// Returns what `%XX` stands for; `None` where it is malformed.
fn decoded(path: &str) -> Option<Vec<u8>> {
    let mut out = vec![];
    let mut rest = path.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let (digits, more) = rest.split_at_checked(2)?;
        out.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = more;
    }
    Some(out)
}

/// Returns the media type that a name says.
fn kind(path: &RelPath) -> &'static str {
    let name = String::from_utf8_lossy(path.name()).to_lowercase();
    match name.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "woff" => "font/woff",
        "ttf" => "font/ttf",
        "mp4" => "video/mp4",
        "mp3" => "audio/mpeg",
        "pdf" => "application/pdf",
        "wasm" => "application/wasm",
        "txt" | "md" | "csv" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn is_image(name: &str) -> bool {
    ["png", "jpg", "jpeg", "gif", "webp", "avif", "svg"]
        .contains(&name.rsplit_once('.').map_or("", |(_, ending)| ending))
}

/// Returns the part of a review that shows its result: the page it changed, its images before and after. Nothing where there
/// is nothing to be seen.
pub fn result(page: &Page, review: &Review) -> Option<Markup> {
    let in_first =
        |name: &str| review.files.iter().any(|file| file.folder == 0 && file.path.to_string() == name);
    let of_kind = |ending: &str| {
        let fits = |name: &String| name.ends_with(ending);
        let there = review
            .files
            .iter()
            .filter(|file| file.folder == 0 && file.fate != Fate::Deleted && file.shape == Shape::File);
        there.map(|file| file.path.to_string()).find(fits)
    };
    let index = |name: &str| {
        RelPath::new(name).and_then(|path| {
            page.quire.file_of(review.task, Some(review.version), &path, FILE_BYTES_MAX).ok()?
        })
    };
    // A style or script that changed is seen in the page that uses it.
    let is_part = of_kind(".css").or_else(|| of_kind(".js")).is_some();
    let first = match in_first("index.html") || is_part && index("index.html").is_some() {
        true => Some("index.html".to_owned()),
        false => of_kind(".html"),
    };
    let after = page.shown_at(Side { task: review.task, version: Some(review.version) });
    let before = page.shown_at(Side { task: review.task, version: None });
    let images: Vec<_> = review
        .files
        .iter()
        .filter(|file| {
            file.folder == 0 && file.shape == Shape::File && is_image(&file.path.to_string().to_lowercase())
        })
        .take(12)
        .collect();
    if first.is_none() && images.is_empty() {
        return None;
    }
    Some(html! {
        section.sec id="result" aria-labelledby="result-t" {
            header { h2 id="result-t" { "Result" } }
            @if let Some(first) = &first {
                a.skip-preview.txt href="#checks" { "Skip the preview" }
                div.frame.sheet {
                    div.tool {
                        span.addr { (icons::sign("lock")) span { (crate::web::text::marked(first)) ", closed off: no network, no access to this page" } }
                        span.seg role="group" aria-label="Version shown" {
                            a href=(format!("{before}/{}", encoded(first))) target="preview" { "Before" }
                            a href=(format!("{after}/{}", encoded(first))) target="preview" { "After" }
                        }
                        span.seg role="radiogroup" aria-label="Width" {
                            label { input type="radio" name="w" id="w-phone"; "Phone" }
                            label { input type="radio" name="w" id="w-tablet"; "Tablet" }
                            label { input type="radio" name="w" id="w-full" checked; "Full" }
                        }
                    }
                    div.stage { iframe name="preview" sandbox="allow-scripts allow-forms" referrerpolicy="no-referrer" title=(format!("Preview of {first}")) src=(format!("{after}/{}", encoded(first))) {} }
                }
            }
            @for file in images {
                @let name = file.path.to_string();
                div.pair {
                    @if file.fate != Fate::New { figure { figcaption { "Before" } img loading="lazy" alt=(format!("{name}, before")) src=(format!("{before}/{}", encoded(&name))); } }
                    @if file.fate != Fate::Deleted { figure { figcaption { (crate::web::text::marked(&name)) @if file.fate != Fate::New { ", after" } } img loading="lazy" alt=(format!("{name}, after")) src=(format!("{after}/{}", encoded(&name))); } }
                }
            }
        }
    })
}

/// Returns a path as an address has it.
fn encoded(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_16_an_address_names_what_lies_within_or_nothing() {
        let rows = [
            ("a/b%20c.html", Some("a/b c.html")),
            ("%2e%2e/x", None),
            ("a/../x", None),
            ("a%2f..%2fx", None),
            ("/etc/passwd", None),
            ("a%00b", None),
            ("a//b", None),
            ("%4", None),
            ("%zz", None),
        ];
        for (text, expected) in rows {
            let path = decoded(text).and_then(RelPath::new).map(|path| path.to_string());
            assert_eq!(path.as_deref(), expected, "{text}");
        }
        assert_eq!(encoded("ä b/c.html"), "%C3%A4%20b/c.html");
    }
}
