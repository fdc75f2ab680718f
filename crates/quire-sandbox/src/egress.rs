//! The only way out of a sandbox: a proxy outside of it that knows what the task may reach.
//!
//! A sandbox has no route. Its sockets to the world are a handful of listeners that were made inside and are accepted from here
//! ([`Gate`]), so nothing inside stands between a program and this policy, and nothing inside can be tampered with. Runs in the
//! host process, on its async runtime; the hand never sees it. Everything that is read from a connection is hostile input.

mod address;
mod authority;
mod broker;
mod connection;
mod dns;
mod hello;
mod host;
mod http;
mod meter;
mod outside;
mod policy;
mod registries;
mod socks;
mod stream;
#[cfg(test)]
mod tests;
mod upstream;

use crate::gate::Gate;
use authority::Authority;
use connection::Listener;
use host::Destination;
use meter::Usage;
use outside::{Outside, Resolve, system_resolver};
use policy::Rules;
use rustls::pki_types::CertificateDer;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::AbortHandle;

pub use policy::REGISTRIES;
pub use quire_core::Secret;
pub use registries::named;
pub use upstream::{Upstream, upstream};

/// What a task may reach.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    pub allow: Allow,
    /// Hosts, as `host` or `host:port`, that the machine's own package managers are set to (see [`named`]). They count as
    /// registries, and they alone, with what the person names literally, may be private addresses.
    pub named: Vec<String>,
    pub brokered: Vec<Brokered>,
    pub limits: Limits,
    /// The proxy that the machine itself must go through, as in [`upstream`].
    pub upstream: Option<Upstream>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allow {
    /// Any host, on ports 80 and 443. Private addresses stay refused.
    All,
    /// `hosts`: `example.org`, or `*.example.net` for every name below it but not itself; with `:PORT` for that port alone, else
    /// for 80 and 443.
    Only { registries: bool, hosts: Vec<String> },
}

impl Default for Allow {
    fn default() -> Self {
        Allow::Only { registries: true, hosts: Vec::new() }
    }
}

/// A secret that never enters: inside stands its placeholder, and requests to exactly these hosts leave with the value.
#[derive(Clone, Debug)]
pub struct Brokered {
    pub name: String,
    pub placeholder: String,
    pub value: Secret,
    /// Hosts, as `host` or `host:port` (else 443), without wildcards. They are allowed by being here.
    pub hosts: Vec<String>,
}

/// What a task may use of the network, whatever it may reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at one time.
    pub connections: usize,
    pub connections_per_minute: u32,
    /// Bytes sent, over all connections of the task.
    pub up_bytes: u64,
    pub down_bytes: u64,
    /// Longest time for a request's head, a handshake or a connection to the other side.
    pub head: Duration,
    /// Longest time without a byte in either direction.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 256,
            connections_per_minute: 3000,
            up_bytes: 1 << 30,
            down_bytes: 20 << 30,
            head: Duration::from_secs(30),
            idle: Duration::from_secs(15 * 60),
        }
    }
}

/// What a connection came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// `address` is absent where no connection came about. Bytes are those on the wire, TLS included.
    Closed { host: String, port: u16, address: Option<IpAddr>, up: u64, down: u64, millis: u64 },
    /// `host` is empty where none was asked for yet.
    Refused { host: String, port: u16, why: Refusal },
}

/// Why something was not let out. `Display` says it without the host, for a sentence that began with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A person may be asked about this one; the others are told.
    #[error("is not on this task's list of hosts")]
    NotListed,
    #[error("was denied")]
    Denied,
    #[error("is on a port that is not on this task's list")]
    Port,
    #[error("leads to {0}, which is not a public address")]
    Private(IpAddr),
    #[error("was asked for, but the connection names {0}")]
    OtherName(String),
    #[error("was asked for, but the connection does not name it")]
    NoName,
    #[error("is no host that can be named")]
    Malformed,
    #[error("was asked for in a way that is not served")]
    Unserved,
    #[error("cannot be reached now: the task's limit of {0} is used up")]
    Limit(Limit),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Limit {
    #[error("connections at one time")]
    Connections,
    #[error("connections per minute")]
    Rate,
    #[error("bytes sent")]
    Up,
    #[error("bytes received")]
    Down,
}

#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    #[error("{0:?} is no host; hosts are written as example.org, *.example.org or example.org:8080")]
    Host(String),
    #[error("the task's certificate authority could not be made: {0}")]
    Authority(String),
    #[error("a socket of the sandbox cannot be listened on: {0}")]
    Socket(std::io::Error),
}

/// The egress of one sandbox. Dropping it ends every connection.
pub struct Egress {
    outside: Arc<Outside>,
    listening: Mutex<Vec<AbortHandle>>,
}

impl Egress {
    /// `heard` is told of each connection once, when it closed or was refused, from whichever thread that was; it must not block.
    /// Connections that end because the egress is dropped may be told a moment later.
    pub fn new(
        policy: Policy,
        heard: impl Fn(Traffic) + Send + Sync + 'static,
    ) -> Result<Egress, EgressError> {
        Egress::with(policy, Box::new(heard), system_resolver(), Vec::new())
    }

    fn with(
        policy: Policy,
        heard: Box<dyn Fn(Traffic) + Send + Sync>,
        resolve: Resolve,
        roots: Vec<CertificateDer<'static>>,
    ) -> Result<Egress, EgressError> {
        let rules = Rules::new(&policy)?;
        let authority = Authority::new(&policy.brokered, roots)?;
        let usage = Usage::new(policy.limits);
        let outside = Outside::new(rules, usage, authority, policy.upstream, resolve, heard);
        Ok(Egress { outside: Arc::new(outside), listening: Mutex::default() })
    }

    /// Returns the certificate, in PEM, that the sandbox must trust; only where something is brokered.
    pub fn authority(&self) -> Option<&str> {
        self.outside.authority.as_ref().map(Authority::pem)
    }

    /// Accepts connections until this is dropped. Must be called within the async runtime.
    pub fn serve(&self, gate: Gate) -> Result<(), EgressError> {
        let listener = |fd: OwnedFd| {
            let listener = std::net::TcpListener::from(fd);
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        };
        let datagrams = |fd: OwnedFd| {
            let socket = std::net::UdpSocket::from(fd);
            socket.set_nonblocking(true)?;
            UdpSocket::from_std(socket)
        };
        let sockets = || -> io::Result<_> {
            let tcp = [(gate.proxy, Listener::Proxy), (gate.http, Listener::Http), (gate.tls, Listener::Tls)];
            let tcp = tcp
                .into_iter()
                .map(|(fd, kind)| Ok((listener(fd)?, kind)))
                .collect::<io::Result<Vec<_>>>()?;
            Ok((tcp, datagrams(gate.dns)?, listener(gate.dns_tcp)?))
        };
        let (tcp, dns, dns_tcp) = sockets().map_err(EgressError::Socket)?;
        let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        for (listener, kind) in tcp {
            let accepting = connection::accept(self.outside.clone(), listener, kind);
            listening.push(tokio::spawn(accepting).abort_handle());
        }
        listening.push(tokio::spawn(dns::serve_udp(dns)).abort_handle());
        listening.push(tokio::spawn(dns::serve_tcp(dns_tcp, self.outside.usage.limits.head)).abort_handle());
        Ok(())
    }

    /// Lets the running sandbox reach `host` on `port`, as a person answered. A private address needs more: it must be in the
    /// policy, or `host` must be that address, because the person saw only a name that somebody else may point anywhere.
    pub fn allow(&self, host: &str, port: u16) {
        self.answer(host, port, Some(true));
    }

    /// Refuses `host` on `port`, whatever else allows it.
    pub fn deny(&self, host: &str, port: u16) {
        self.answer(host, port, Some(false));
    }

    /// Judges `host` on `port` as if nobody had answered.
    pub fn forget(&self, host: &str, port: u16) {
        self.answer(host, port, None);
    }

    /// Returns why `host` is not let out on `port`, by what it is called; what it leads to is judged when it is asked for.
    pub fn judge(&self, host: &str, port: u16) -> Result<(), Refusal> {
        let host = host::Host::parse(host).ok_or(Refusal::Malformed)?;
        self.outside.rules.judge(&Destination { host, port }).map(|_| ())
    }

    fn answer(&self, host: &str, port: u16, is_allowed: Option<bool>) {
        // What is no host was never asked about.
        if let Some(host) = host::Host::parse(host) {
            self.outside.rules.answer(Destination { host, port }, is_allowed);
        }
    }
}

impl Drop for Egress {
    fn drop(&mut self) {
        // Each listener holds its connections, which end with it.
        let listening = self.listening.get_mut().unwrap_or_else(PoisonError::into_inner);
        listening.drain(..).for_each(|listener| listener.abort());
    }
}
