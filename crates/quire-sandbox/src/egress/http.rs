//! HTTP/1.1 between a program inside and a host outside. Each request is judged anew, also on a connection that is kept; what is
//! sent on names the host that was judged, and nothing that was meant for this hop.

use super::Refusal;
use super::broker::Scrub;
use super::host::{Destination, split};
use super::outside::{Dialled, Failure, Onward, Outside, sentence};
use super::policy::Pass;
use super::stream::Io;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::SendRequest;
use hyper::ext::ReasonPhrase;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::{PathAndQuery, Uri};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::task::JoinSet;

/// Which host the requests of a connection are for.
pub enum Asked {
    /// Whichever they name, in absolute form or by `CONNECT`.
    Proxy,
    /// Whichever their `Host` names, on port 80.
    Host,
    /// This one, in the clear.
    Only(Destination),
    /// This one, over TLS, with its secrets.
    Inner(Destination),
}

const HEADERS_MAX: usize = 128;
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Serves requests until the connection ends, or goes on as something else. `far` is a connection to the host that they are for,
/// where there is one already.
pub async fn serve(
    outside: &Arc<Outside>,
    client: Io,
    asked: Asked,
    far: Option<Dialled>,
) -> Option<(Io, Onward)> {
    let hop = Arc::new(Hop {
        outside: outside.clone(),
        asked,
        kept: tokio::sync::Mutex::new(None),
        far: Mutex::new(JoinSet::new()),
        next: Mutex::new(None),
    });
    if let (Asked::Only(to), Some(far)) = (&hop.asked, far) {
        *hop.kept.lock().await = hop.begin(to, far).await.ok();
    }
    let service = service_fn(|request| {
        let hop = hop.clone();
        async move { Ok::<_, Infallible>(hop.answer(request).await) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(outside.usage.limits.head);
    server.max_headers(HEADERS_MAX).max_buf_size(HEAD_BYTES_MAX).preserve_header_case(true);
    // How it ended is in the accounts of the far sides.
    let _ = server.serve_connection(TokioIo::new(client), service).with_upgrades().await;
    let next = hop.next.lock().unwrap_or_else(PoisonError::into_inner).take();
    match next? {
        Next::Connect(client, onward) => Some((joined(client).await?, onward)),
        Next::Upgrade(client, far) => Some((joined(client).await?, Onward::Joined(joined(far).await?))),
    }
}

async fn joined(upgrade: OnUpgrade) -> Option<Io> {
    Some(Box::new(TokioIo::new(upgrade.await.ok()?)))
}

/// One connection from inside, with the one to the world that it used last.
struct Hop {
    outside: Arc<Outside>,
    asked: Asked,
    kept: tokio::sync::Mutex<Option<Kept>>,
    /// What moves the bytes of connections to the world; they end with this.
    far: Mutex<JoinSet<()>>,
    next: Mutex<Option<Next>>,
}

struct Kept {
    to: Destination,
    sender: SendRequest<Incoming>,
    /// See [`Dialled::login`].
    login: Option<Option<String>>,
}

/// What the connection becomes once the last response is sent.
enum Next {
    Connect(OnUpgrade, Onward),
    Upgrade(OnUpgrade, OnUpgrade),
}

/// What a request may be for: which form its URI has to have.
fn destination(asked: &Asked, request: &Request<Incoming>) -> Result<Destination, Wrong> {
    let uri = request.uri();
    let port = match asked {
        Asked::Proxy | Asked::Host => 80,
        Asked::Only(to) | Asked::Inner(to) => to.port,
    };
    let scheme = if matches!(asked, Asked::Inner(_)) { "https" } else { "http" };
    let written = match (uri.scheme_str(), uri.authority(), asked) {
        (Some(found), Some(authority), _) if found == scheme => authority.as_str(),
        (Some(_), ..) => {
            return Err(Wrong::Form(
                "https is asked for by CONNECT, and nothing but http and https is served",
            ));
        }
        (None, _, Asked::Proxy) => {
            return Err(Wrong::Form(
                "this is a proxy: a request to it names the whole URL, as with http_proxy set",
            ));
        }
        (None, ..) => host_header(request.headers()).ok_or(Wrong::Host)?,
    };
    let named = Destination::parse(written, Some(port)).ok_or(Wrong::Host)?;
    match asked {
        Asked::Proxy => Ok(named),
        Asked::Host if named.port == 80 => Ok(named),
        Asked::Host => Err(Wrong::Host),
        Asked::Only(to) | Asked::Inner(to) if named == *to => Ok(named),
        Asked::Only(to) | Asked::Inner(to) => Err(Wrong::Other(to.clone(), named)),
    }
}

enum Wrong {
    Form(&'static str),
    /// It names no host.
    Host,
    /// It names another host than the connection was asked for.
    Other(Destination, Destination),
}

fn host_header(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::HOST).iter();
    let host = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(host)
}

impl Hop {
    async fn answer(&self, request: Request<Incoming>) -> Response<Reply> {
        if request.method() == Method::CONNECT {
            return self.connect(request).await;
        }
        let to = match destination(&self.asked, &request) {
            Ok(to) => to,
            Err(Wrong::Form(why)) => return text(StatusCode::BAD_REQUEST, format!("quire: {why}.")),
            Err(Wrong::Host) => {
                let failure = self.outside.refuse(String::new(), 80, Refusal::Malformed);
                return refused(&"what this request names", &failure);
            }
            Err(Wrong::Other(to, named)) => {
                let failure = self.outside.refuse_to(&to, Refusal::OtherName(named.host.to_string()));
                return refused(&to, &failure);
            }
        };
        match self.forward(&to, request).await {
            Ok(response) => response,
            Err(Broken::Failed(failure)) => refused(&to, &failure),
            Err(Broken::Far(why)) => text(StatusCode::BAD_GATEWAY, format!("quire: {to} {why}.")),
        }
    }

    async fn connect(&self, mut request: Request<Incoming>) -> Response<Reply> {
        if !matches!(self.asked, Asked::Proxy) {
            let why = "quire: CONNECT is served on the proxy's own port alone.";
            return text(StatusCode::METHOD_NOT_ALLOWED, why.into());
        }
        let authority =
            request.uri().authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default();
        let Some(to) = Destination::parse(&authority, None) else {
            let port = split(&authority).and_then(|(_, port)| port).unwrap_or_default();
            let failure = self.outside.refuse(String::new(), port, Refusal::Malformed);
            return refused(&"what this request names", &failure);
        };
        match self.outside.route(to.clone()).await {
            Ok(onward) => {
                self.go_on(Next::Connect(hyper::upgrade::on(&mut request), onward));
                Response::new(Reply::Text(None))
            }
            Err(failure) => refused(&to, &failure),
        }
    }

    fn go_on(&self, next: Next) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
    }

    async fn forward(
        &self,
        to: &Destination,
        mut request: Request<Incoming>,
    ) -> Result<Response<Reply>, Broken> {
        let pass = self.outside.judge(to).map_err(Broken::Failed)?;
        let upgrade = wants_upgrade(request.headers()).then(|| hyper::upgrade::on(&mut request));
        let is_head = request.method() == Method::HEAD;
        hop_free(request.headers_mut(), upgrade.is_some());
        let host = if to.port == self.default_port() { without_port(to) } else { to.to_string() };
        request
            .headers_mut()
            .insert(header::HOST, HeaderValue::try_from(host).map_err(|_| Broken::Far("has no name"))?);
        *request.version_mut() = Version::HTTP_11;
        let scrub = self.put_in(to, &mut request);
        let mut response = self.send(to, pass, request).await?;
        let is_switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        match (is_switched, upgrade) {
            (true, Some(upgrade)) => self.go_on(Next::Upgrade(upgrade, hyper::upgrade::on(&mut response))),
            (true, None) => return Err(Broken::Far("changed the protocol, which was not asked for")),
            (false, _) => {}
        }
        hop_free(response.headers_mut(), is_switched);
        let Some((scrub, is_put_in)) = scrub else { return Ok(response.map(Reply::Passed)) };
        scrub.headers(response.headers_mut());
        // Words of the host's own, in which a secret would come back as well.
        response.extensions_mut().remove::<ReasonPhrase>();
        if scrub.is_empty() || is_switched || is_head {
            return Ok(response.map(Reply::Passed));
        }
        let encodings = response.headers().get_all(header::CONTENT_ENCODING).iter();
        if encodings.into_iter().any(|encoding| encoding != "identity") {
            // It was asked not to. With a secret in the question, an answer that cannot be read is not passed on.
            return match is_put_in {
                true => Err(Broken::Far(
                    "answered in an encoding in which quire cannot look for the task's secrets",
                )),
                false => Ok(response.map(Reply::Passed)),
            };
        }
        response.headers_mut().remove(header::CONTENT_LENGTH);
        Ok(response.map(|body| Reply::Scrubbed { body: Some(body), scrub, kept: Vec::new() }))
    }

    fn default_port(&self) -> u16 {
        if matches!(self.asked, Asked::Inner(_)) { 443 } else { 80 }
    }

    /// Puts the host's secrets in. Returns what to look for in the response.
    fn put_in(&self, to: &Destination, request: &mut Request<Incoming>) -> Option<(Scrub, bool)> {
        let Asked::Inner(_) = self.asked else { return None };
        let broker = self.outside.authority.as_ref()?.broker(to)?;
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let (scrub, is_put_in) = broker.put_in(headers);
        if is_put_in {
            // A secret in pieces would not be found.
            headers.remove(header::RANGE);
            headers.remove(header::IF_RANGE);
        }
        Some((scrub, is_put_in))
    }

    /// Sends a request over the connection that is kept, or a new one.
    async fn send(
        &self,
        to: &Destination,
        pass: Pass,
        request: Request<Incoming>,
    ) -> Result<Response<Incoming>, Broken> {
        let mut kept = self.kept.lock().await;
        let mut request = request;
        let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        if let Some(mut old) = kept.take().filter(|kept| kept.to == *to)
            && old.sender.ready().await.is_ok()
        {
            address(&mut request, to, &path, &old.login)?;
            match old.sender.try_send_request(request).await {
                Ok(response) => {
                    *kept = Some(old);
                    return Ok(response);
                }
                // The host ended it in between; nothing of the request left.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(Broken::Far("ended the connection without an answer")),
                },
            }
        }
        let mut new = self.open(to, pass).await?;
        address(&mut request, to, &path, &new.login)?;
        let response = new.sender.send_request(request).await;
        let response = response.map_err(|_| Broken::Far("ended the connection without an answer"))?;
        *kept = Some(new);
        Ok(response)
    }

    async fn open(&self, to: &Destination, pass: Pass) -> Result<Kept, Broken> {
        let is_http = !matches!(self.asked, Asked::Inner(_));
        let dialled = self.outside.dial(to, pass, is_http).await.map_err(Broken::Failed)?;
        self.begin(to, dialled).await
    }

    async fn begin(&self, to: &Destination, dialled: Dialled) -> Result<Kept, Broken> {
        let login = dialled.login.clone();
        let is_inner = matches!(self.asked, Asked::Inner(_));
        let stream = if is_inner { self.secure(dialled, to).await? } else { Box::new(dialled) };
        let mut client = hyper::client::conn::http1::Builder::new();
        client.preserve_header_case(true).max_buf_size(HEAD_BYTES_MAX);
        let handshake = client.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|_| Broken::Far("ended the connection"))?;
        let mut far = self.far.lock().unwrap_or_else(PoisonError::into_inner);
        while far.try_join_next().is_some() {}
        far.spawn(async move {
            // Its errors are those of the requests.
            let _ = connection.with_upgrades().await;
        });
        Ok(Kept { to: to.clone(), sender, login })
    }

    async fn secure(&self, dialled: Dialled, to: &Destination) -> Result<Io, Broken> {
        let unreachable = |error| Broken::Failed(Failure::Unreachable(error));
        let Some(authority) = &self.outside.authority else { return Err(Broken::Far("has no secrets")) };
        let connecting = authority.connect(dialled, to);
        let connected = tokio::time::timeout(self.outside.usage.limits.head, connecting).await;
        connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())).map_err(unreachable)
    }
}

/// Why a request has no response of its host.
enum Broken {
    Failed(Failure),
    Far(&'static str),
}

/// Gives a request the form that the other end wants: a path, or for the machine's own proxy the whole.
fn address(
    request: &mut Request<Incoming>,
    to: &Destination,
    path: &PathAndQuery,
    login: &Option<Option<String>>,
) -> Result<(), Broken> {
    let wrong = |_| Broken::Far("cannot be written as a URL");
    let Some(login) = login else {
        *request.uri_mut() = Uri::from(path.clone());
        return Ok(());
    };
    let uri = Uri::builder().scheme("http").authority(to.to_string()).path_and_query(path.clone()).build();
    *request.uri_mut() = uri.map_err(wrong)?;
    if let Some(login) = login.as_ref().and_then(|login| HeaderValue::from_str(login).ok()) {
        request.headers_mut().insert(header::PROXY_AUTHORIZATION, login);
    }
    Ok(())
}

fn without_port(to: &Destination) -> String {
    let text = to.to_string();
    text.rsplit_once(':').map(|(host, _)| host.to_owned()).unwrap_or(text)
}

/// Returns whether a request asks for a WebSocket. Nothing else is upgraded to: in HTTP/2, say, each further request would name a
/// host that nobody judges.
fn wants_upgrade(headers: &HeaderMap) -> bool {
    let mut asked = headers.get_all(header::UPGRADE).iter();
    let is_websocket = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket");
    asked.next().is_some_and(is_websocket)
        && asked.next().is_none()
        && connection_options(headers).any(|option| option.eq_ignore_ascii_case("upgrade"))
}

fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::CONNECTION).into_iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim)
}

/// Headers that are for one hop (RFC 9110, 7.6.1), or for a proxy.
const OF_THE_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::EXPECT,
];

/// Takes out what is for one hop; `is_upgrade` leaves in what asks for another protocol.
fn hop_free(headers: &mut HeaderMap, is_upgrade: bool) {
    // Where a message says its length in two ways, the one that was not followed must not be passed on.
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    let named: Vec<HeaderName> = connection_options(headers)
        .filter_map(|option| HeaderName::try_from(option).ok())
        // `Connection: host` and its like would take out what a message needs.
        .filter(|name| ![header::HOST, header::CONTENT_LENGTH, header::UPGRADE].contains(name))
        .collect();
    for name in named.iter().chain(&OF_THE_HOP) {
        headers.remove(name);
    }
    if is_upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    } else {
        headers.remove(header::UPGRADE);
    }
}

fn refused(to: &dyn std::fmt::Display, failure: &Failure) -> Response<Reply> {
    let status = match failure {
        Failure::Refused(Refusal::Limit(_)) => StatusCode::TOO_MANY_REQUESTS,
        Failure::Refused(_) => StatusCode::FORBIDDEN,
        Failure::Unreachable(_) => StatusCode::BAD_GATEWAY,
    };
    text(status, sentence(to, failure))
}

/// Returns a response that says why. Where a tunnel is refused, many programs show the reason phrase and nothing else.
fn text(status: StatusCode, why: String) -> Response<Reply> {
    let phrase = ReasonPhrase::try_from(why.clone().into_bytes());
    let mut response = Response::new(Reply::Text(Some(Bytes::from(why + "\n"))));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if let Ok(phrase) = phrase {
        response.extensions_mut().insert(phrase);
    }
    response
}

/// The body of a response.
enum Reply {
    Text(Option<Bytes>),
    Passed(Incoming),
    Scrubbed { body: Option<Incoming>, scrub: Scrub, kept: Vec<u8> },
}

impl Body for Reply {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Reply::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Reply::Passed(body) => Pin::new(body).poll_frame(cx),
            Reply::Scrubbed { body, scrub, kept } => loop {
                let Some(open) = body else { return Poll::Ready(None) };
                let shown = match ready!(Pin::new(open).poll_frame(cx)) {
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => scrub.part(kept, &data),
                        // What follows a body was announced by a header that is for one hop.
                        Err(_) => continue,
                    },
                    None => {
                        *body = None;
                        std::mem::take(kept)
                    }
                };
                if !shown.is_empty() {
                    return Poll::Ready(Some(Ok(Frame::data(shown.into()))));
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Reply::Text(text) => text.is_none(),
            Reply::Passed(body) => body.is_end_stream(),
            Reply::Scrubbed { body, .. } => body.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Reply::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Reply::Passed(body) => body.size_hint(),
            Reply::Scrubbed { .. } => SizeHint::default(),
        }
    }
}
