//! Who may come in. A page on loopback can be asked by every program of the machine, and by every website through its
//! visitor's browser; so each request is judged before it is routed, and each answer, refusals too, carries the same strict
//! policy.
//!
//! ```text
//! Host (421) -> Sec-Fetch-Site (403) -> session (401) -> pace (429) -> for what is no reading: Origin (403), body (408, 413),
//! form key (403)
//! ```
//!
//! One browser is let in by a token that `quire web` gets through the host's socket: good once, within a minute, and only from
//! a socket of the same user, because addresses that are opened can be read in the list of processes. It is traded for a
//! cookie, which holds nothing but its own proof, so that a page goes on when the host was started anew.

use crate::error::{Exit, Failure};
use crate::web::{Page, frame, multipart};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use quire_engine::PageAt;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a token is good.
const TOKEN: Duration = Duration::from_secs(60);
/// Tokens that are good at one time; an older one goes.
const TOKENS_MAX: usize = 16;
/// How long a browser stays let in, in seconds.
const SESSION_S: u64 = 30 * 24 * 3600;
/// The most that a form may hold. Words are longer than a note, a pasted text is among them.
const BODY_BYTES_MAX: usize = 1 << 20;
/// The same of those that take files.
const FILES_BYTES_MAX: usize = 25 << 20;
/// How long it may take: it may come over a slow line to this machine.
const FILES_TIME: Duration = Duration::from_secs(120);
/// How long a request's body may take.
const BODY: Duration = Duration::from_secs(10);
/// Requests a second that a browser may make in the long run, and at once.
const PACE: f64 = 20.0;
const BURST: f64 = 120.0;

/// Reachable without a session: how one gets in, and what looks the same for everybody.
pub const PUBLIC: [&str; 4] = ["/enter", "/style.css", "/quire.js", "/icon.svg"];

/// Scripts, styles and data come from here alone, frames and images also from previews, and text becomes HTML by one named policy
/// of our script. PREVIEWS stands for their origins.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data: PREVIEWS; \
    font-src 'self'; connect-src 'self'; frame-src PREVIEWS; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types quire";

/// The ends of a connection.
#[derive(Clone, Copy)]
pub struct Ends {
    pub peer: SocketAddr,
    pub here: SocketAddr,
}

/// The fields of a form that passed the door, in order, and the files that came with it.
#[derive(Clone, Default)]
pub struct Fields(Arc<Vec<(String, String)>>, Arc<Vec<(PathBuf, Vec<u8>)>>);

impl Fields {
    /// Returns the files by name.
    pub fn files(&self) -> &[(PathBuf, Vec<u8>)] {
        &self.1
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns a field that says something.
    pub fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).map(str::trim).filter(|value| !value.is_empty())
    }

    pub fn all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns the fields as an address has them, of which each says one thing.
    pub fn pairs(&self) -> HashMap<String, String> {
        self.0.iter().cloned().collect()
    }

    /// Returns the form once more, as one button, with a field that says yes to what it was refused for.
    pub fn again(&self, action: &str, name: &str, value: &str, label: &str) -> Markup {
        html! {
            form method="post" action=(action) {
                @for (key, value) in self.0.iter().filter(|(key, _)| key != name) { input type="hidden" name=(key) value=(value); }
                input type="hidden" name=(name) value=(value);
                button.btn { (label) }
            }
        }
    }
}

/// A browser that was let in.
#[derive(Clone)]
pub struct Session(pub String);

pub struct Door {
    port: u16,
    /// The port of previews.
    preview: u16,
    /// Proves cookies and form keys. In a file that only the person can read, as the store is.
    secret: [u8; 32],
    tokens: Mutex<Vec<(blake3::Hash, Instant)>>,
    paces: Mutex<HashMap<String, (f64, Instant)>>,
}

impl Door {
    pub fn new(home: &Path, port: u16, preview: u16) -> io::Result<Door> {
        let secret = secret(&home.join("page.key"))?;
        Ok(Door { port, preview, secret, tokens: Mutex::default(), paces: Mutex::default() })
    }

    /// Makes a token.
    pub fn let_in(&self) -> io::Result<PageAt> {
        let token = hex(&random()?);
        let mut tokens = lock(&self.tokens);
        tokens.retain(|(_, made)| made.elapsed() < TOKEN);
        if tokens.len() >= TOKENS_MAX {
            tokens.remove(0);
        }
        tokens.push((blake3::hash(token.as_bytes()), Instant::now()));
        Ok(PageAt { port: self.port, preview: self.preview, token })
    }

    /// Trades a token for a cookie; `None` where it is not good, or was.
    pub fn enter(&self, token: &str, ends: Ends) -> Option<String> {
        // SAFETY: geteuid has no preconditions.
        let ours = unsafe { libc::geteuid() };
        if !owner(ends).is_some_and(|user| user == ours || user == 0) {
            tracing::warn!("another user's program tried to open the page");
            return None;
        }
        let token = blake3::hash(token.trim().as_bytes());
        let mut tokens = lock(&self.tokens);
        // Hashes are compared in constant time.
        let at = tokens.iter().position(|(good, _)| *good == token)?;
        let (_, made) = tokens.remove(at);
        if made.elapsed() >= TOKEN {
            return None;
        }
        let session = format!("{:x}.{}", now_s(), hex(&random().ok()?[..16]));
        let proof = self.proof("session", &session);
        // Cookies are one for all ports of a host, so that the name has the port.
        Some(format!("{}={session}.{proof}; HttpOnly; SameSite=Strict; Path=/", self.cookie()))
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the name under which something is shown, which says what it is: nobody can guess it, and the next host knows it too.
    /// `what` has what a host's name may have.
    pub fn preview_name(&self, what: &str) -> String {
        format!("t-{what}-{}", self.proof("preview", what))
    }

    /// Returns what is shown under a name, where it is one of these.
    pub fn previewed<'n>(&self, name: &'n str) -> Option<&'n str> {
        let (what, proof) = name.strip_prefix("t-")?.rsplit_once('-')?;
        same(&self.proof("preview", what), proof).then_some(what)
    }

    /// Returns what a form must hold to be this session's.
    pub fn form_key(&self, session: &Session) -> String {
        self.proof("form", &session.0)
    }

    fn cookie(&self) -> String {
        format!("quire-{}", self.port)
    }

    fn proof(&self, of: &str, what: &str) -> String {
        blake3::keyed_hash(&self.secret, format!("{of} {what}").as_bytes()).to_hex()[..32].to_owned()
    }

    fn session(&self, headers: &HeaderMap) -> Option<Session> {
        let name = self.cookie();
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs =
            cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let value = pairs.find(|(key, _)| *key == name)?.1;
        let (session, proof) = value.rsplit_once('.')?;
        let began = u64::from_str_radix(session.split_once('.')?.0, 16).ok()?;
        let fine = same(&self.proof("session", session), proof) && now_s().saturating_sub(began) < SESSION_S;
        fine.then(|| Session(session.to_owned()))
    }

    /// Returns the request's own origin, where its `Host` is one of ours.
    fn origin(&self, headers: &HeaderMap) -> Option<String> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (host, None) = (hosts.next()?.to_str().ok()?, hosts.next()) else { return None };
        let ours = ["127.0.0.1", "localhost", "[::1]"];
        let port = self.port;
        ours.iter().any(|name| host == format!("{name}:{port}")).then(|| format!("http://{host}"))
    }

    fn is_too_fast(&self, session: &Session) -> bool {
        let mut paces = lock(&self.paces);
        paces.retain(|_, (_, last)| last.elapsed() < Duration::from_secs(60));
        let (left, last) = paces.entry(session.0.clone()).or_insert((BURST, Instant::now()));
        *left = (*left + last.elapsed().as_secs_f64() * PACE).min(BURST) - 1.0;
        *last = Instant::now();
        *left < 0.0
    }
}

/// Judges a request, and gives every answer its policy.
pub async fn guard(State(page): State<Arc<Page>>, request: Request, next: Next) -> Response {
    let mut answer = match judge(&page.door, request).await {
        Ok(request) => next.run(request).await,
        Err((status, failure)) => frame::refusal(status, &failure),
    };
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let policy = POLICY.replace("PREVIEWS", &page.previews.origins());
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    answer
}

const HEADERS: [(&str, &str); 6] = [
    ("x-content-type-options", "nosniff"),
    // Not `no-referrer`: under it browsers send `Origin: null` with our own forms. Other origins learn nothing either way.
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ("cache-control", "no-store"),
];

type Refused = (StatusCode, Failure);

async fn judge(door: &Door, mut request: Request) -> Result<Request, Refused> {
    let headers = request.headers();
    let Some(origin) = door.origin(headers) else {
        return Err(refused(StatusCode::MISDIRECTED_REQUEST, "This address is not the page's."));
    };
    let path = request.uri().path();
    let entering = path == "/enter" && request.method() == Method::GET;
    let from = headers.get("sec-fetch-site").map(|value| value.to_str().unwrap_or_default());
    if !entering && from.is_some_and(|from| !["same-origin", "none"].contains(&from)) {
        return Err(refused(StatusCode::FORBIDDEN, "This was asked for by another site."));
    }
    let session = door.session(headers);
    if session.is_none() && !PUBLIC.contains(&path) {
        return Err(refused(StatusCode::UNAUTHORIZED, "This browser has not been let in, or no longer is."));
    }
    if session.as_ref().is_some_and(|session| door.is_too_fast(session)) {
        return Err(refused(StatusCode::TOO_MANY_REQUESTS, "These are too many requests at once."));
    }
    let reads = [Method::GET, Method::HEAD].contains(request.method());
    if !reads {
        let given = headers.get(header::ORIGIN).and_then(|value| value.to_str().ok());
        if given != Some(origin.as_str()) {
            return Err(refused(StatusCode::FORBIDDEN, "This was not sent by the page itself."));
        }
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let key = text(HeaderName::from_static("x-quire")).map(str::to_owned);
        let boundary = text(header::CONTENT_TYPE).and_then(multipart::boundary);
        let takes_files = session.is_some() && takes_files(path) && boundary.is_some();
        let (parts, body) = request.into_parts();
        let body = match takes_files {
            true => read(body, FILES_BYTES_MAX, FILES_TIME).await?,
            false => read(body, BODY_BYTES_MAX, BODY).await?,
        };
        let fields = match boundary {
            Some(boundary) => {
                let broken = || refused(StatusCode::BAD_REQUEST, "This form did not arrive whole.");
                let form = multipart::read(&boundary, &body).ok_or_else(broken)?;
                Fields(Arc::new(form.fields), Arc::new(form.files))
            }
            None => {
                Fields(Arc::new(url::form_urlencoded::parse(&body).into_owned().collect()), Arc::default())
            }
        };
        if let Some(session) = &session
            && !key.as_deref().or(fields.get("key")).is_some_and(|key| same(&door.form_key(session), key))
        {
            return Err(refused(StatusCode::FORBIDDEN, "This form is not of this browser's page."));
        }
        request = Request::from_parts(parts, Body::empty());
        request.extensions_mut().insert(fields);
    }
    if let Some(session) = session {
        request.extensions_mut().insert(session);
    }
    Ok(request)
}

/// Returns whether files come with the form of that address, or what one holds: a task, words to one, an edit.
fn takes_files(path: &str) -> bool {
    let to_one = path.strip_prefix("/tasks/").and_then(|rest| rest.split_once('/'));
    let is_it = |(task, way): (&str, &str)| task.parse::<u64>().is_ok() && ["revise", "edit"].contains(&way);
    path == "/tasks" || to_one.is_some_and(is_it)
}

async fn read(body: Body, most: usize, within: Duration) -> Result<Bytes, Refused> {
    match tokio::time::timeout(within, to_bytes(body, most)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => {
            let what = format!("This is longer than {} MiB.", most >> 20);
            Err(refused(StatusCode::PAYLOAD_TOO_LARGE, &what))
        }
        Err(_) => Err(refused(StatusCode::REQUEST_TIMEOUT, "This took too long to arrive.")),
    }
}

fn refused(status: StatusCode, what: &str) -> Refused {
    let next = match status {
        StatusCode::UNAUTHORIZED | StatusCode::MISDIRECTED_REQUEST => {
            "Open the page anew, in a terminal: quire web"
        }
        StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
            "Go back to the page, load it anew, and try again."
        }
        _ => "Wait a moment, then try again.",
    };
    (status, Failure::new(Exit::WrongUse, what, "Nothing was started or changed.", next))
}

/// Sends a browser that was let in on to the page.
pub fn entered(cookie: &str, to: &'static str) -> Response {
    let mut answer = (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response();
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    answer
}

/// Returns the user that holds the other end of a connection on loopback (proc_net_tcp(5)).
fn owner(ends: Ends) -> Option<u32> {
    let (peer, here) = (kernels(ends.peer), kernels(ends.here));
    let table = if ends.peer.is_ipv6() { "/proc/net/tcp6" } else { "/proc/net/tcp" };
    let table = std::fs::read_to_string(table).ok()?;
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_it = fields.get(1) == Some(&peer.as_str()) && fields.get(2) == Some(&here.as_str());
        if is_it { fields.get(7)?.parse().ok() } else { None }
    })
}

/// Returns an address as the kernel's tables write it: words of 32 bits in the machine's order.
fn kernels(address: SocketAddr) -> String {
    let octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = octets.chunks_exact(4).map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
    format!("{}:{:04X}", words.map(|word| format!("{word:08X}")).collect::<String>(), address.port())
}

/// Returns the secret of the file, which is made where it is not there.
fn secret(path: &Path) -> io::Result<[u8; 32]> {
    let fresh = random()?;
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            file.write_all(&fresh)?;
            file.sync_all()?;
            Ok(fresh)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let mut kept = [0; 32];
            match std::fs::File::open(path)?.read_exact(&mut kept) {
                Ok(()) => Ok(kept),
                // It was cut short by a crash; whoever was let in has to come in again.
                Err(_) => std::fs::write(path, fresh).map(|()| fresh),
            }
        }
        Err(error) => Err(error),
    }
}

fn random() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares without telling by its time how far two texts agree.
fn same(a: &str, b: &str) -> bool {
    blake3::hash(a.as_bytes()) == blake3::hash(b.as_bytes())
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_end_of_a_connection_is_known() {
        for at in ["127.0.0.1:0", "[::1]:0"] {
            // A machine may be without IPv6.
            let Ok(listener) = std::net::TcpListener::bind(at) else { continue };
            let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, peer) = listener.accept().unwrap();
            let ends = Ends { peer, here: server.local_addr().unwrap() };
            // SAFETY: geteuid has no preconditions.
            assert_eq!(owner(ends), Some(unsafe { libc::geteuid() }), "{at}");
            drop(client);
        }
    }

    #[test]
    fn sec_03_a_token_is_good_once_and_its_cookie_only_whole() {
        let home = tempfile::tempdir().unwrap();
        let door = Door::new(home.path(), 7777, 7778).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, peer) = listener.accept().unwrap();
        let ends = Ends { peer, here: server.local_addr().unwrap() };
        let token = door.let_in().unwrap().token;
        assert_eq!(token.len(), 64);
        assert!(door.enter(&"0".repeat(64), ends).is_none());
        let cookie = door.enter(&token, ends).unwrap();
        assert!(door.enter(&token, ends).is_none(), "a second time");
        let pair = cookie.split(';').next().unwrap();
        let session = |pair: &str, door: &Door| {
            let headers = HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(pair).unwrap())]);
            door.session(&headers).map(|session| session.0)
        };
        assert!(session(pair, &door).is_some());
        assert!(session(&format!("other=1; {pair}"), &door).is_some());
        assert!(session(&pair.replace("quire-7777", "quire-1"), &door).is_none());
        for at in "quire-7777=".len()..pair.len() {
            let other = if pair.as_bytes()[at] == b'0' { '1' } else { '0' };
            let broken = format!("{}{other}{}", &pair[..at], &pair[at + 1..]);
            assert!(session(&broken, &door).is_none(), "{broken}");
        }
        // The next host knows it, another home's does not.
        assert!(session(pair, &Door::new(home.path(), 7777, 7778).unwrap()).is_some());
        let other = tempfile::tempdir().unwrap();
        assert!(session(pair, &Door::new(other.path(), 7777, 7778).unwrap()).is_none());
    }
}
