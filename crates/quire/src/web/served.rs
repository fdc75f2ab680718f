//! A result that is a server: it runs in a fresh sandbox of its version while somebody looks, and previews lead to it. Nothing
//! listens on the machine for it: each request goes in through the sandbox's own door.

use crate::terminal::clean;
use crate::web::preview::Side;
use crate::web::{Page, lock};
use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use quire_engine::Stand;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Servers at one time; the one that was used least lately makes room.
const RUNNING_MAX: usize = 2;
/// How long one runs that nobody uses.
const IDLE: Duration = Duration::from_secs(600);
/// How long an answer may take to begin, and its next part to come.
const ANSWER: Duration = Duration::from_secs(30);
/// The most that one answer may hold.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// What a request or an answer says about one connection, and not about itself (RFC 9110, 7.6.1).
const HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// What would be said against the frame that it is shown in; the preview's own policy takes their place.
const THEIRS: [&str; 4] = [
    "content-security-policy",
    "content-security-policy-report-only",
    "x-frame-options",
    "strict-transport-security",
];

#[derive(Clone)]
pub enum State {
    Starting,
    Open,
    Ended(String),
}

/// A server, and whether it can be reached.
struct Server {
    state: Mutex<(State, Option<Arc<Stand>>)>,
    used: Mutex<Instant>,
    stop: Notify,
}

#[derive(Default)]
pub struct Servers(Mutex<HashMap<Side, Arc<Server>>>);

impl Servers {
    pub fn state(&self, side: Side) -> Option<State> {
        let server = lock(&self.0).get(&side).cloned()?;
        let state = lock(&server.state).0.clone();
        Some(state)
    }

    fn open(&self, side: Side) -> Option<Arc<Stand>> {
        let server = lock(&self.0).get(&side).cloned()?;
        *lock(&server.used) = Instant::now();
        lock(&server.state).1.clone()
    }

    /// Makes room for a server and returns it; `None` where it runs already.
    fn begin(&self, side: Side) -> Option<Arc<Server>> {
        let mut servers = lock(&self.0);
        servers.retain(|other, server| {
            let ended = matches!(lock(&server.state).0, State::Ended(_));
            !ended || *other != side
        });
        if servers.contains_key(&side) {
            return None;
        }
        if servers.len() >= RUNNING_MAX
            && let Some(oldest) =
                servers.iter().min_by_key(|(_, server)| *lock(&server.used)).map(|(side, _)| *side)
            && let Some(server) = servers.remove(&oldest)
        {
            server.stop.notify_one();
        }
        let server = Arc::new(Server {
            state: Mutex::new((State::Starting, None)),
            used: Mutex::new(Instant::now()),
            stop: Notify::new(),
        });
        servers.insert(side, server.clone());
        Some(server)
    }
}

impl Page {
    /// Starts the server of a version, unless it runs.
    pub fn serve(self: &Arc<Page>, side: Side) {
        let Some(server) = self.servers.begin(side) else { return };
        let page = self.clone();
        tokio::spawn(async move {
            let said = run(&page, side, &server).await;
            *lock(&server.state) = (State::Ended(clean(&said)), None);
        });
    }
}

/// Runs a server until it ends, nobody uses it any more, or another one needs its place. Returns why.
async fn run(page: &Page, side: Side, server: &Server) -> String {
    let _company = page.quire.running_host().await;
    let stand = match page.quire.stand(side.task, side.version).await {
        Ok(stand) => Arc::new(stand),
        Err(error) => return error.to_string(),
    };
    let ready = || *lock(&server.state) = (State::Open, Some(stand.clone()));
    let said = tokio::select! {
        error = stand.run(None, ready, |_| ()) => error.to_string(),
        () = idle(server) => "It was stopped: nobody used it for a while.".to_owned(),
        () = server.stop.notified() => "It was stopped: another one was started.".to_owned(),
    };
    lock(&server.state).1 = None;
    let mut stand = stand;
    let stand = loop {
        match Arc::try_unwrap(stand) {
            Ok(stand) => break stand,
            // A request that is just being led in still lets go of it.
            Err(shared) => {
                stand = shared;
                tokio::task::yield_now().await;
            }
        }
    };
    match stand.end().await {
        Ok(()) => said,
        Err(error) => error.to_string(),
    }
}

async fn idle(server: &Server) {
    loop {
        let unused = lock(&server.used).elapsed();
        match IDLE.checked_sub(unused) {
            Some(left) => tokio::time::sleep(left).await,
            None => return,
        }
    }
}

/// Leads a request in, and its answer out.
pub async fn lead(page: &Page, side: Side, head: &Parts, body: Bytes) -> Result<Response<Body>, StatusCode> {
    let stand = page.servers.open(side).ok_or(StatusCode::NOT_FOUND)?;
    let port = stand.serving.port;
    let gone = |_| StatusCode::BAD_GATEWAY;
    let stream = stand.connect().await.map_err(gone)?;
    drop(stand);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|_| StatusCode::BAD_GATEWAY)?;
    tokio::spawn(async move {
        // Either side may hang up at any time.
        let _ = connection.await;
    });
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::new(Body::from(body));
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = path.parse::<Uri>().map_err(|_| StatusCode::BAD_REQUEST)?;
    *request.headers_mut() = passed(&head.headers);
    let host = HeaderValue::from_str(&format!("localhost:{port}")).map_err(|_| StatusCode::BAD_REQUEST)?;
    request.headers_mut().insert(header::HOST, host);
    let answer = tokio::time::timeout(ANSWER, sender.send_request(request)).await;
    let answer = answer.map_err(|_| StatusCode::GATEWAY_TIMEOUT)?.map_err(|_| StatusCode::BAD_GATEWAY)?;
    let (head, body) = answer.into_parts();
    let mut answer = Response::new(Body::new(Bounded { body, left: ANSWER_BYTES_MAX }));
    *answer.status_mut() = head.status;
    *answer.headers_mut() = passed(&head.headers);
    for name in THEIRS {
        answer.headers_mut().remove(name);
    }
    let cookies: Vec<HeaderValue> =
        head.headers.get_all(header::SET_COOKIE).iter().filter_map(own_cookie).collect();
    answer.headers_mut().remove(header::SET_COOKIE);
    for cookie in cookies {
        answer.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(answer)
}

/// Returns headers without those that are about the connection.
fn passed(headers: &HeaderMap) -> HeaderMap {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .map(|name| name.trim().to_lowercase())
        .collect();
    let is_hop =
        |name: &HeaderName| HOP.contains(&name.as_str()) || named.iter().any(|other| other == name.as_str());
    headers
        .iter()
        .filter(|(name, _)| !is_hop(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Returns a cookie without the host that it wants to be for, which is no name of the preview's.
fn own_cookie(cookie: &HeaderValue) -> Option<HeaderValue> {
    let parts = cookie.to_str().ok()?.split(';').map(str::trim);
    let kept: Vec<&str> = parts.filter(|part| !part.to_lowercase().starts_with("domain")).collect();
    HeaderValue::from_str(&kept.join("; ")).ok()
}

/// A body that ends where it becomes too long.
struct Bounded<B> {
    body: B,
    left: usize,
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Bounded<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            match self.left.checked_sub(bytes) {
                Some(left) => self.left = left,
                None => return Poll::Ready(None),
            }
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_the_connection_stays_with_it() {
        let headers: HeaderMap = [
            ("connection", "keep-alive, X-Mine"),
            ("x-mine", "1"),
            ("upgrade", "websocket"),
            ("accept", "text/html"),
        ]
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
        let passed = passed(&headers);
        assert_eq!(passed.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }

    #[test]
    fn a_cookie_is_for_the_preview_alone() {
        let rows = [
            ("a=b; Domain=localhost; Path=/", "a=b; Path=/"),
            ("a=b; HttpOnly;domain=.evil.test", "a=b; HttpOnly"),
            ("a=b", "a=b"),
        ];
        for (given, expected) in rows {
            assert_eq!(own_cookie(&HeaderValue::from_static(given)).unwrap(), expected);
        }
    }
}
