//! The result, shown: a version's pages on an origin of their own, so that whatever they do, they do it to themselves. Another
//! port and another name than the page's, one for each side of each version, with a proof of 128 bits: no cookie of the page's is ever
//! sent there, and no other version is reached from it. A name says what it shows, so that it is good for as long as a page that
//! loads its pictures late is open, and for the next host too. What is served comes from the version and from nowhere else, and
//! its policy closes the network.

use crate::error::Failure;
use crate::web::{Page, lock, pictures, served};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderValue};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use quire_core::RelPath;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Larger files are not shown.
pub const FILE_BYTES_MAX: u64 = 64 << 20;
/// Sides of which it is remembered what they were kept from.
const SIDES_MAX: usize = 256;
/// Pixels of an image's side, and of its area; a larger one costs a browser gigabytes.
const SIDE_PIXELS_MAX: usize = 20_000;
const AREA_PIXELS_MAX: usize = 64_000_000;
/// Where browsers say what the policy kept a page from.
const REPORTS: &str = "/.kept-from";
const REPORT_BYTES_MAX: usize = 16 << 10;
/// What is sent to a server that is shown, and how long it or a report may take.
const BODY_BYTES_MAX: usize = 25 << 20;
const BODY: Duration = Duration::from_secs(10);
const PDF: &str = "application/pdf";
/// Addresses that are remembered of a side.
const KEPT_FROM_MAX: usize = 20;

/// One side of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Side {
    pub task: u64,
    /// Absent: as it was when the task began.
    pub version: Option<u32>,
    /// What its server answers, rather than its files.
    pub served: bool,
}

/// What a name shows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shown {
    Side(Side),
    /// A task's pictures, by their hashes.
    Pictures(u64),
}

impl Shown {
    /// Returns it as a part of a host's name, which is 63 letters long at most: `2a-f3`, the files of task 42's version 3.
    fn told(self) -> String {
        match self {
            Shown::Pictures(task) => format!("{task:x}-p"),
            Shown::Side(Side { task, version, served }) => {
                let version = version.map_or_else(String::new, |version| format!("{version:x}"));
                format!("{task:x}-{}{version}", if served { 's' } else { 'f' })
            }
        }
    }

    fn read(told: &str) -> Option<Shown> {
        let (task, what) = told.split_once('-')?;
        let task = u64::from_str_radix(task, 16).ok()?;
        let (kind, version) = what.split_at_checked(1)?;
        let version = match version {
            "" => None,
            version => Some(u32::from_str_radix(version, 16).ok()?),
        };
        match kind {
            "p" => Some(Shown::Pictures(task)),
            "s" | "f" => Some(Shown::Side(Side { task, version, served: kind == "s" })),
            _ => None,
        }
    }
}

pub struct Previews {
    port: u16,
    kept_from: Mutex<HashMap<Side, BTreeSet<String>>>,
}

impl Previews {
    pub fn new(port: u16) -> Previews {
        Previews { port, kept_from: Mutex::default() }
    }

    /// Returns the origins elsewhere that a side's pages asked for, and did not get.
    pub fn kept_from(&self, side: Side) -> Vec<String> {
        lock(&self.kept_from).get(&side).into_iter().flatten().cloned().collect()
    }

    /// Returns the origins of all previews, as a policy names them.
    pub fn origins(&self) -> String {
        format!("http://*.localhost:{}", self.port)
    }
}

impl Page {
    /// Returns the address of a side.
    pub fn shown_at(&self, side: Side) -> String {
        self.address(Shown::Side(side))
    }

    /// Returns the address below which a task's pictures are, by their hashes.
    pub fn pictures_at(&self, task: u64) -> String {
        self.address(Shown::Pictures(task))
    }

    fn address(&self, shown: Shown) -> String {
        format!("http://{}.localhost:{}", self.door.preview_name(&shown.told()), self.previews.port)
    }
}

pub fn router(page: Arc<Page>) -> Router {
    Router::new().fallback(serve).with_state(page)
}

async fn serve(State(page): State<Arc<Page>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let mut answer = match answer(&page, &head, body).await {
        Ok(answer) => answer,
        Err(StatusCode::NO_CONTENT) => StatusCode::NO_CONTENT.into_response(),
        Err(status) => (status, "Nothing is shown here.").into_response(),
    };
    let headers = answer.headers_mut();
    let page_at = page.door.port();
    let ancestors = format!("frame-ancestors http://127.0.0.1:{page_at} http://localhost:{page_at}");
    let policy = match headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == PDF) {
        // A browser's viewer of these is no page of theirs, and does not begin in a sandbox.
        true => ancestors,
        false => format!(
            "sandbox allow-scripts allow-forms; default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; connect-src 'self'; \
             form-action 'self'; base-uri 'self'; {ancestors}; report-uri {REPORTS}"
        ),
    };
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    for (name, value) in [
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

async fn answer(page: &Arc<Page>, head: &Parts, body: Body) -> Result<Response, StatusCode> {
    let side = match shown(page, head)? {
        Shown::Side(side) => side,
        Shown::Pictures(task) => return picture(page, task, head).await,
    };
    if head.method == Method::POST && head.uri.path() == REPORTS {
        return Err(kept_from(page, side, body).await);
    }
    if !side.served {
        let (kind, content) = file(page, side, head).await?;
        return Ok(([(header::CONTENT_TYPE, kind)], content).into_response());
    }
    if head.method == Method::OPTIONS {
        // The page in the frame has no origin, so that it has to ask even its own server whether it may ask it.
        let any = HeaderValue::from_static("*");
        let may = [
            (header::ACCESS_CONTROL_ALLOW_HEADERS, any.clone()),
            (header::ACCESS_CONTROL_ALLOW_METHODS, any),
        ];
        return Ok((StatusCode::NO_CONTENT, may).into_response());
    }
    let body = tokio::time::timeout(BODY, to_bytes(body, BODY_BYTES_MAX)).await;
    let body = body.map_err(|_| StatusCode::REQUEST_TIMEOUT)?.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
    served::lead(page, side, head, body).await
}

/// Returns what a request is for.
fn shown(page: &Page, head: &Parts) -> Result<Shown, StatusCode> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) else {
        return Err(StatusCode::MISDIRECTED_REQUEST);
    };
    let name = host.strip_suffix(&format!(".localhost:{}", page.previews.port));
    let name = name.ok_or(StatusCode::MISDIRECTED_REQUEST)?;
    page.door.previewed(name).and_then(Shown::read).ok_or(StatusCode::NOT_FOUND)
}

async fn picture(page: &Arc<Page>, task: u64, head: &Parts) -> Result<Response, StatusCode> {
    if ![Method::GET, Method::HEAD].contains(&head.method) {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    let read = pictures::picture(page, task, head.uri.path().trim_start_matches('/'));
    match read.await {
        Ok(Some((kind, picture))) if is_vast(&kind, &picture) => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Ok(Some((kind, picture))) => Ok(([(header::CONTENT_TYPE, kind)], picture).into_response()),
        Ok(None) => Err(StatusCode::NOT_FOUND),
        Err(failure) => Err(unread(&failure)),
    }
}

fn unread(failure: &Failure) -> StatusCode {
    tracing::warn!(what = failure.what, "what a preview shows could not be read");
    StatusCode::INTERNAL_SERVER_ERROR
}

async fn file(page: &Arc<Page>, side: Side, head: &Parts) -> Result<(&'static str, Vec<u8>), StatusCode> {
    if ![Method::GET, Method::HEAD].contains(&head.method) {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    let path = head.uri.path();
    let whole = if path.ends_with('/') { format!("{path}index.html") } else { path.to_owned() };
    let path = decoded(whole.trim_start_matches('/')).and_then(RelPath::new).ok_or(StatusCode::NOT_FOUND)?;
    let kind = kind(&path);
    let read = page
        .blocking(move |page| Ok(page.quire.file_of(side.task, side.version, 0, &path, FILE_BYTES_MAX)?));
    match read.await {
        Ok(Some(content)) if kind.starts_with("image/") && is_vast(kind, &content) => {
            Err(StatusCode::PAYLOAD_TOO_LARGE)
        }
        Ok(Some(content)) => Ok((kind, content)),
        Ok(None) => Err(StatusCode::NOT_FOUND),
        Err(failure) => Err(unread(&failure)),
    }
}

/// Returns whether an image may cost more to show than a browser has. One that says no size may; a drawing or an icon has none.
fn is_vast(kind: &str, image: &[u8]) -> bool {
    match imagesize::blob_size(image) {
        Ok(size) => {
            size.width.max(size.height) > SIDE_PIXELS_MAX
                || size.width.saturating_mul(size.height) > AREA_PIXELS_MAX
        }
        Err(_) => pictures::KINDS.contains(&kind),
    }
}

/// Remembers what the browser says that the policy kept a page from. The page itself can say the same, and what it says is
/// shown as nothing but the name of an origin.
async fn kept_from(page: &Page, side: Side, body: Body) -> StatusCode {
    let Ok(Ok(body)) = tokio::time::timeout(BODY, to_bytes(body, REPORT_BYTES_MAX)).await else {
        return StatusCode::PAYLOAD_TOO_LARGE;
    };
    let report: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let blocked = report["csp-report"]["blocked-uri"].as_str().and_then(|uri| url::Url::parse(uri).ok());
    if let Some(origin) = blocked.map(|url| url.origin()).filter(url::Origin::is_tuple) {
        let mut all = lock(&page.previews.kept_from);
        if all.len() >= SIDES_MAX {
            all.clear();
        }
        let its = all.entry(side).or_default();
        if its.len() < KEPT_FROM_MAX {
            its.insert(origin.unicode_serialization());
        }
    }
    StatusCode::NO_CONTENT
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
        "pdf" => PDF,
        "wasm" => "application/wasm",
        "txt" | "md" | "csv" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// Returns a path as an address has it.
pub fn encoded(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::door::Door;

    #[test]
    fn sec_15_an_image_that_is_vast_or_says_no_size_is_none() {
        let png = |width: u32, height: u32| {
            let head =
                [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".as_slice(), &width.to_be_bytes(), &height.to_be_bytes()];
            [head.concat().as_slice(), &[1, 0, 0, 0, 0, 0, 0, 0, 0]].concat()
        };
        for (kind, image, expected) in [
            ("image/png", png(8_000, 8_000), false),
            ("image/png", png(8_000, 8_001), true),
            ("image/png", png(20_000, 20_000), true),
            ("image/png", png(20_001, 1), true),
            ("image/x-icon", png(20_000, 20_000), true),
            ("image/png", png(u32::MAX, u32::MAX), true),
            ("image/png", b"not one".to_vec(), true),
            ("image/svg+xml", b"<svg/>".to_vec(), false),
            ("image/x-icon", b"\0\0\x01\0".to_vec(), false),
        ] {
            assert_eq!(is_vast(kind, &image), expected, "{kind} {:?}", &image[..image.len().min(24)]);
        }
    }

    #[test]
    fn a_name_shows_what_it_says_and_is_known_by_its_proof_alone() {
        let home = tempfile::tempdir().unwrap();
        let door = || Door::new(home.path(), 1, 2).unwrap();
        let side = |task, version, served| Shown::Side(Side { task, version, served });
        let all = [
            Shown::Pictures(42),
            side(42, None, false),
            side(42, Some(0), false),
            side(42, Some(3), true),
            side(u64::MAX >> 4, Some(u32::MAX), true),
        ];
        for shown in all {
            let name = door().preview_name(&shown.told());
            assert!(name.len() <= 63, "{name}");
            // The next host knows it.
            assert_eq!(door().previewed(&name).and_then(Shown::read), Some(shown), "{name}");
            let (what, proof) = name.rsplit_once('-').unwrap();
            let other = side(7, None, false).told();
            for forged in
                [format!("t-{other}-{proof}"), format!("{what}-"), proof.to_owned(), name[1..].to_owned()]
            {
                assert_eq!(door().previewed(&forged), None, "{forged}");
            }
        }
    }

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
