//! A world of a few hosts on loopback, and a client that says exactly what it is told to.

use crate::egress::{Allow, Egress, Policy, Traffic};
use crate::gate::Gate;
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Longer than anything takes; reached only where a test would hang.
const FOREVER: Duration = Duration::from_secs(60);

pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(FOREVER, what).await.expect("it ends")
}

pub struct World {
    pub egress: Option<Egress>,
    pub proxy: SocketAddr,
    pub http: SocketAddr,
    pub tls: SocketAddr,
    pub dns: SocketAddr,
    pub dns_tcp: SocketAddr,
    heard: mpsc::UnboundedReceiver<Traffic>,
    asked: Arc<Mutex<Vec<String>>>,
}

/// Where names are: each lookup takes the next place, the last one stays.
pub type Places = HashMap<&'static str, Vec<SocketAddr>>;

pub fn only(hosts: &[&str]) -> Policy {
    let hosts = hosts.iter().map(|host| host.to_string()).collect();
    Policy { allow: Allow::Only { registries: false, hosts }, ..Policy::default() }
}

impl World {
    pub fn new(policy: Policy, places: &[(&'static str, SocketAddr)]) -> World {
        World::with(policy, places.iter().map(|(name, place)| (*name, vec![*place])).collect(), Vec::new())
    }

    pub fn with(
        policy: Policy,
        places: Places,
        roots: Vec<rustls::pki_types::CertificateDer<'static>>,
    ) -> World {
        let (tell, heard) = mpsc::unbounded_channel();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (notes, places) = (asked.clone(), Mutex::new(places));
        let resolve = Box::new(move |name: &str, _: u16| {
            notes.lock().unwrap().push(name.to_owned());
            let found = match places.lock().unwrap().get_mut(name) {
                None => Err(io::Error::new(io::ErrorKind::NotFound, "no such name")),
                Some(places) if places.len() > 1 => Ok(vec![places.remove(0)]),
                Some(places) => Ok(places.clone()),
            };
            Box::pin(std::future::ready(found)) as Pin<Box<dyn Future<Output = _> + Send>>
        });
        let heard_of = Box::new(move |traffic| {
            let _ = tell.send(traffic);
        });
        let egress = Egress::with(policy, heard_of, resolve, roots).unwrap();
        let tcp = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (proxy, http, tls, dns_tcp) = (tcp(), tcp(), tcp(), tcp());
        let dns = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = |listener: &std::net::TcpListener| listener.local_addr().unwrap();
        let world = World {
            egress: None,
            proxy: at(&proxy),
            http: at(&http),
            tls: at(&tls),
            dns: dns.local_addr().unwrap(),
            dns_tcp: at(&dns_tcp),
            heard,
            asked,
        };
        let gate = Gate {
            proxy: proxy.into(),
            http: http.into(),
            tls: tls.into(),
            dns: dns.into(),
            dns_tcp: dns_tcp.into(),
            shared: None,
        };
        egress.serve(gate).unwrap();
        World { egress: Some(egress), ..world }
    }

    pub async fn heard(&mut self) -> Traffic {
        soon(self.heard.recv()).await.expect("the egress lives")
    }

    /// As `host:port why` or `host:port up down`.
    pub async fn heard_text(&mut self) -> String {
        match self.heard().await {
            Traffic::Closed { host, port, up, down, .. } => format!("{host}:{port} {up} {down}"),
            Traffic::Refused { host, port, why } => format!("{host}:{port} {why}"),
        }
    }

    pub fn nothing_heard(&mut self) -> bool {
        self.heard.try_recv().is_err()
    }

    /// The names that were looked up.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// Sends one request on a connection of its own to the proxy; returns the status, and all that came with it.
    pub async fn request(&self, request: &str) -> (u16, String) {
        let mut stream = connect(self.proxy).await;
        exchange(&mut stream, request).await
    }

    /// Asks the proxy for a tunnel.
    pub async fn tunnel(&self, to: &str) -> (u16, String, TcpStream) {
        let mut stream = connect(self.proxy).await;
        let (status, text) =
            exchange(&mut stream, &format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n")).await;
        (status, text, stream)
    }

    pub async fn get(&self, url: &str) -> (u16, String) {
        self.request(&format!("GET {url} HTTP/1.1\r\nHost: whatever\r\n\r\n")).await
    }
}

pub async fn connect(to: SocketAddr) -> TcpStream {
    soon(TcpStream::connect(to)).await.unwrap()
}

/// Sends a request and reads its response: the head to its end, and as much body as it announces. Status 0: none came.
pub async fn exchange<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    stream: &mut S,
    request: &str,
) -> (u16, String) {
    if stream.write_all(request.as_bytes()).await.is_err() {
        return (0, String::new());
    }
    soon(response(stream)).await
}

async fn response<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> (u16, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return (0, String::from_utf8_lossy(&head).into_owned()),
        }
    }
    let mut text = String::from_utf8(head).unwrap();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    let lower = text.to_ascii_lowercase();
    let header = |name: &str| {
        lower.lines().find_map(|line| line.strip_prefix(name).map(|value| value.trim().to_owned()))
    };
    if let Some(length) = header("content-length:") {
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        text.push_str(&String::from_utf8_lossy(&body));
    } else if header("transfer-encoding:").is_some() {
        loop {
            let mut size = String::new();
            while !size.ends_with("\r\n") {
                size.push(stream.read_u8().await.unwrap().into());
            }
            let mut chunk = vec![0; usize::from_str_radix(size.trim(), 16).unwrap() + 2];
            stream.read_exact(&mut chunk).await.unwrap();
            text.push_str(&String::from_utf8_lossy(&chunk[..chunk.len() - 2]));
            if chunk.len() == 2 {
                break;
            }
        }
    }
    (status, text)
}

/// What a stream still says until it ends.
pub async fn rest(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A connection that is cut ends with an error or without.
    let _ = soon(stream.read_to_end(&mut bytes)).await;
    bytes
}

/// A body of one piece.
pub struct Piece(Option<Bytes>);

impl hyper::body::Body for Piece {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        hyper::body::SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

/// Answers with the request itself, as it came; on `/redirect` to a metadata service, on `/gzip` as if compressed.
pub async fn echo(request: Request<Incoming>) -> Result<Response<Piece>, Infallible> {
    let mut text = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    let echoed = request.headers().get("authorization").cloned();
    let mut response = Response::new(Piece(Some(text.into())));
    if let Some(echoed) = echoed {
        response.headers_mut().insert("x-echo", echoed);
    }
    match request.uri().path() {
        "/redirect" => {
            *response.status_mut() = hyper::StatusCode::FOUND;
            response
                .headers_mut()
                .insert("location", "http://169.254.169.254/latest/meta-data/".parse().unwrap());
        }
        "/gzip" => {
            response.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
        }
        _ => {}
    }
    Ok(response)
}

async fn serve_http(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service_fn(echo))
        .await;
}

/// Starts a host that serves each connection with `serve`.
pub async fn host<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    at
}

pub async fn http_host() -> SocketAddr {
    host(serve_http).await
}

/// Sends back what it reads, after the name that it was given.
pub async fn named_host(name: &'static str) -> SocketAddr {
    host(move |mut stream| async move {
        let _ = stream.write_all(name.as_bytes()).await;
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await
}

/// Sends back what it reads.
pub async fn echo_host() -> SocketAddr {
    named_host("").await
}

/// HTTP over TLS, with a certificate for `name`, which is its own root.
pub async fn https_host(name: &str) -> (SocketAddr, rustls::pki_types::CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let root = made.cert.der().clone();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![root.clone()], key.into()).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let serve = move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve_http(stream).await;
            }
        }
    };
    (host(serve).await, root)
}

/// Speaks TLS as a client that trusts `root` alone, asking for `name`.
pub async fn tls(
    stream: TcpStream,
    name: &str,
    root: rustls::pki_types::CertificateDer<'static>,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
    soon(tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}
