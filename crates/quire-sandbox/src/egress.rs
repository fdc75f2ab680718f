//! The only way out of a sandbox: a proxy outside of it that knows what the task may reach.
//!
//! A sandbox has no route. Its sockets to the world are a handful of listeners that were made inside and are accepted from here
//! ([`Gate`]), so nothing inside stands between a program and this policy, and nothing inside can be tampered with. Runs in the
//! host process, on its async runtime; the hand never sees it. Everything that is read from a connection is hostile input.

use crate::gate::Gate;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

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

/// A secret's value. It can be used, but neither printed nor serialized.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Returns the secret in `text`, or `None` where it cannot be one: empty, or with characters that no HTTP header holds.
    pub fn new(text: &str) -> Option<Secret> {
        let text = text.trim();
        (!text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())).then(|| Secret(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
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

/// A proxy for HTTP by `CONNECT`, that stands between the machine and the world.
#[derive(Clone)]
pub struct Upstream {}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upstream(..)")
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
    #[error("resolves to {0}, which is not a public address")]
    Private(IpAddr),
    #[error("was asked for, but the connection names {0}")]
    OtherName(String),
    #[error("was asked for, but the connection does not name it")]
    NoName,
    #[error("is no host that can be named")]
    Malformed,
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
pub struct Egress {}

impl Egress {
    /// `heard` is told of each connection once: when it closed, or was refused. It must not block.
    pub fn new(
        _policy: Policy,
        _heard: impl Fn(Traffic) + Send + Sync + 'static,
    ) -> Result<Egress, EgressError> {
        Ok(Egress {})
    }

    /// Returns the certificate, in PEM, that the sandbox must trust; only where something is brokered.
    pub fn authority(&self) -> Option<&str> {
        None
    }

    /// Accepts connections until this is dropped. Must be called within the async runtime.
    pub fn serve(&self, _gate: Gate) -> Result<(), EgressError> {
        Ok(())
    }

    /// Lets the running sandbox reach `host` on `port`, as a person answered. A private address needs more: it must be in the
    /// policy, or `host` must be that address, because the person saw only a name that somebody else may point anywhere.
    pub fn allow(&self, _host: &str, _port: u16) {}

    /// Refuses `host` on `port`, whatever else allows it.
    pub fn deny(&self, _host: &str, _port: u16) {}
}

/// Returns the hosts that the package managers of this machine are set to, as `host` or `host:port`, for [`Policy::named`].
/// `env` is the environment of who started the task. What cannot be read is passed over.
pub fn named(_home: &std::path::Path, _env: &std::collections::BTreeMap<String, String>) -> Vec<String> {
    Vec::new()
}

/// Returns the proxy that `env` (`HTTPS_PROXY` and its kin) sends the machine through, if any.
pub fn upstream(_env: &std::collections::BTreeMap<String, String>) -> Option<Upstream> {
    None
}
