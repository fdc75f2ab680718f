//! The outside, as connections from inside reach it: judged by name, resolved, judged by address, dialled at the very address that
//! was judged, and counted.

use super::address::may_reach;
use super::authority::Authority;
use super::host::{Destination, Host};
use super::meter::Usage;
use super::policy::{Pass, Rules};
use super::stream::Io;
use super::upstream::{Proxy, Upstream, connect};
use super::{Limit, Refusal, Traffic};
use crate::gate::TRANSPARENT;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Looks up where a name's port is reached.
pub type Resolve = Box<dyn Fn(&str, u16) -> Lookup + Send + Sync>;
pub type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Asks whatever this machine asks.
pub fn system_resolver() -> Resolve {
    Box::new(|name, port| {
        let name = name.to_owned();
        Box::pin(async move { Ok(lookup_host((name, port)).await?.collect()) })
    })
}

/// Lookups at one time. Each holds a thread of the pool that the whole host shares.
const LOOKUPS_MAX: usize = 16;
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;
/// Longest time for one address, where there are more.
const ADDRESS_TIME: Duration = Duration::from_secs(10);

/// All that the connections of one task share.
pub struct Outside {
    pub rules: Rules,
    pub usage: Arc<Usage>,
    pub authority: Option<Authority>,
    upstream: Option<Upstream>,
    resolve: Resolve,
    lookups: Semaphore,
    heard: Box<dyn Fn(Traffic) + Send + Sync>,
}

/// Why there is no connection. Whoever is concerned was told already.
#[derive(Debug)]
pub enum Failure {
    Refused(Refusal),
    Unreachable(io::Error),
}

/// Where a connection from inside goes on to.
pub enum Onward {
    /// Its first byte says what it speaks: HTTP to a proxy, or SOCKS.
    Proxy,
    /// HTTP, whose requests name the host.
    Host,
    /// TLS, which names the host.
    Sni,
    /// HTTP to this host alone.
    Http(Destination, Dialled),
    /// TLS to this host, ended by the task's authority.
    Authority(Destination),
    /// What is inside of that.
    Inner(Destination),
    /// Anything, to this host: unread but for the name in TLS.
    Tunnel(Destination, Dialled),
    /// Anything, to the other end, which agreed to it.
    Joined(Io),
}

impl Outside {
    pub fn new(
        rules: Rules,
        usage: Arc<Usage>,
        authority: Option<Authority>,
        upstream: Option<Upstream>,
        resolve: Resolve,
        heard: Box<dyn Fn(Traffic) + Send + Sync>,
    ) -> Outside {
        let lookups = Semaphore::new(LOOKUPS_MAX);
        Outside { rules, usage, authority, upstream, resolve, lookups, heard }
    }

    /// Tells of a refusal, and returns it.
    pub fn refuse(&self, host: String, port: u16, why: Refusal) -> Failure {
        (self.heard)(Traffic::Refused { host, port, why: why.clone() });
        Failure::Refused(why)
    }

    pub fn refuse_to(&self, to: &Destination, why: Refusal) -> Failure {
        self.refuse(to.host.to_string(), to.port, why)
    }

    /// Judges a destination by its name.
    pub fn judge(&self, to: &Destination) -> Result<Pass, Failure> {
        self.rules.judge(to).map_err(|why| self.refuse_to(to, why))
    }

    /// Returns how a connection that asks for `to` goes on.
    pub async fn route(self: &Arc<Self>, to: Destination) -> Result<Onward, Failure> {
        // Who looked the name up by itself knows but this.
        if to.host == Host::from(IpAddr::from(TRANSPARENT)) {
            return match to.port {
                443 => Ok(Onward::Sni),
                80 => Ok(Onward::Host),
                _ => Err(self.refuse_to(&to, Refusal::NoName)),
            };
        }
        let pass = self.judge(&to)?;
        if self.authority.as_ref().is_some_and(|authority| authority.serves(&to)) {
            return Ok(Onward::Authority(to));
        }
        let is_http = to.port == 80;
        let dialled = self.dial(&to, pass, is_http).await?;
        Ok(if is_http { Onward::Http(to, dialled) } else { Onward::Tunnel(to, dialled) })
    }

    /// Connects to a destination that was judged. Where a proxy of the machine stands before it, `is_http` says that a connection to
    /// that will do, for requests in absolute form.
    pub async fn dial(
        self: &Arc<Self>,
        to: &Destination,
        pass: Pass,
        is_http: bool,
    ) -> Result<Dialled, Failure> {
        let since = Instant::now();
        let limit = |limit: Limit| self.refuse_to(to, Refusal::Limit(limit));
        self.usage.dial().map_err(limit)?;
        let unreachable = |error: io::Error| {
            let millis = since.elapsed().as_millis() as u64;
            let host = to.host.to_string();
            (self.heard)(Traffic::Closed { host, port: to.port, address: None, up: 0, down: 0, millis });
            Failure::Unreachable(error)
        };
        let dialling = self.reach(to, pass, is_http);
        let outcome = timeout(self.usage.limits.head, dialling).await;
        let outcome = outcome.unwrap_or_else(|_| Err(Unmet::Failed(io::ErrorKind::TimedOut.into())));
        let (stream, address, login) = match outcome {
            Ok(reached) => reached,
            Err(Unmet::Near(address)) => return Err(self.refuse_to(to, Refusal::Private(address))),
            Err(Unmet::Failed(error)) => return Err(unreachable(error)),
        };
        let account = Arc::new(Account {
            outside: self.clone(),
            to: to.clone(),
            address,
            since,
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            refused: Mutex::new(None),
        });
        Ok(Dialled { stream, account, login })
    }

    async fn reach(&self, to: &Destination, pass: Pass, is_http: bool) -> Result<Reached, Unmet> {
        let proxy = self.upstream.as_ref().and_then(|upstream| upstream.before(to));
        let addresses = match self.look_up(to).await {
            Ok(addresses) => addresses,
            // The proxy may know the name.
            Err(_) if proxy.is_some() => Vec::new(),
            Err(error) => return Err(Unmet::Failed(error)),
        };
        let is_literal = matches!(to.host, Host::Address(_));
        let (far, near): (Vec<_>, Vec<_>) =
            addresses.into_iter().partition(|address| may_reach(address.ip(), pass.is_named, is_literal));
        if let (true, Some(address)) = (far.is_empty(), near.first()) {
            return Err(Unmet::Near(address.ip()));
        }
        match proxy {
            None => {
                let (stream, address) = first(&far).await?;
                Ok((stream, Some(address), None))
            }
            Some(proxy) => Ok(self.by_way_of(proxy, to, is_http).await?),
        }
    }

    async fn by_way_of(&self, proxy: &Proxy, to: &Destination, is_http: bool) -> io::Result<Reached> {
        let addresses = self.look_up(&proxy.at).await?;
        let (mut stream, _) = first(&addresses).await?;
        if is_http {
            return Ok((stream, None, Some(proxy.login.clone())));
        }
        connect(&mut stream, proxy, to).await?;
        Ok((stream, None, None))
    }

    async fn look_up(&self, to: &Destination) -> io::Result<Vec<SocketAddr>> {
        match &to.host {
            Host::Address(address) => Ok(vec![SocketAddr::new(*address, to.port)]),
            Host::Name(name) => {
                let _turn = self.lookups.acquire().await;
                let mut addresses = (self.resolve)(name, to.port).await?;
                addresses.iter_mut().for_each(|address| address.set_ip(address.ip().to_canonical()));
                Ok(addresses)
            }
        }
    }
}

/// A connection, the address at its other end unless a proxy hides it, and for requests in absolute form the login they need.
type Reached = (TcpStream, Option<IpAddr>, Option<Option<String>>);

enum Unmet {
    Near(IpAddr),
    Failed(io::Error),
}

impl From<io::Error> for Unmet {
    fn from(error: io::Error) -> Unmet {
        Unmet::Failed(error)
    }
}

/// Connects to the first of the addresses that answers.
async fn first(addresses: &[SocketAddr]) -> io::Result<(TcpStream, IpAddr)> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses.iter().take(ADDRESSES_MAX) {
        match timeout(ADDRESS_TIME, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                return Ok((stream, address.ip()));
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

/// A connection to the world. What passes is counted, and told when it is dropped.
pub struct Dialled {
    stream: TcpStream,
    pub account: Arc<Account>,
    /// Where the other end is the machine's proxy, which wants requests in absolute form: its login, if it needs one.
    pub login: Option<Option<String>>,
}

/// What passed over one connection. Tells it when its last holder drops it.
pub struct Account {
    outside: Arc<Outside>,
    to: Destination,
    address: Option<IpAddr>,
    since: Instant,
    up: AtomicU64,
    down: AtomicU64,
    refused: Mutex<Option<Refusal>>,
}

impl Account {
    /// Notes that the connection is ended by quire, and why.
    pub fn refuse(&self, why: Refusal) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
    }

    fn left(&self) -> io::Result<()> {
        self.outside.usage.left().map_err(|limit| {
            self.refuse(Refusal::Limit(limit));
            io::Error::new(io::ErrorKind::QuotaExceeded, limit)
        })
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let (up, down) = (*self.up.get_mut(), *self.down.get_mut());
        let refused = self.refused.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let host = self.to.host.to_string();
        let port = self.to.port;
        if refused.is_none() || up + down > 0 {
            let millis = self.since.elapsed().as_millis() as u64;
            let host = host.clone();
            (self.outside.heard)(Traffic::Closed { host, port, address: self.address, up, down, millis });
        }
        if let Some(why) = refused {
            (self.outside.heard)(Traffic::Refused { host, port, why });
        }
    }
}

impl AsyncRead for Dialled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.account.left()?;
        let before = buf.filled().len();
        let done = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        let count = buf.filled().len() - before;
        self.account.down.fetch_add(count as u64, Relaxed);
        self.account.outside.usage.received(count);
        Poll::Ready(done)
    }
}

impl AsyncWrite for Dialled {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.account.left()?;
        let done = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        if let Ok(count) = done {
            self.account.up.fetch_add(count as u64, Relaxed);
            self.account.outside.usage.sent(count);
        }
        Poll::Ready(done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Says what a program, and a model that reads its output, makes of it.
pub fn sentence(to: &dyn fmt::Display, failure: &Failure) -> String {
    let why = match failure {
        Failure::Unreachable(error) => return format!("quire: {to} could not be reached: {error}."),
        Failure::Refused(why) => why,
    };
    let next = match why {
        Refusal::NotListed => {
            "The person was asked; go on with something else, or end your turn and say what you need."
        }
        Refusal::Denied => "The person decided so; do without it.",
        Refusal::Port => {
            "For git and its like, use https:// in place of SSH; else end your turn and say what you need."
        }
        Refusal::Private(_) => {
            "Only public hosts are reached from here; what listens inside the sandbox is reached without the proxy."
        }
        Refusal::OtherName(_) | Refusal::NoName => "A connection must name the host that it was asked for.",
        Refusal::Malformed | Refusal::Unserved => {
            "Only HTTP, CONNECT and SOCKS5's CONNECT are served, to names and addresses."
        }
        Refusal::Limit(_) => "Do with less, or end your turn and say what you need.",
    };
    format!("quire: {to} {why}. {next}")
}
