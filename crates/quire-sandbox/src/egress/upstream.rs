//! The proxy that the machine itself must go through, where there is one: what a task may reach is then reached by way of it.
//!
//! A proxy looks names up itself. So where the machine cannot, the address of a host is the proxy's business alone.

use super::host::{Destination, Host};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use url::Url;

/// The machine's own proxies, for HTTP by absolute form and for all else by `CONNECT`.
#[derive(Clone, PartialEq, Eq)]
pub struct Upstream {
    http: Option<Proxy>,
    https: Option<Proxy>,
    /// What is reached without.
    direct: Vec<Direct>,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    pub at: Destination,
    /// The value of `Proxy-Authorization`.
    pub login: Option<String>,
}

#[derive(Clone, PartialEq, Eq)]
enum Direct {
    Everything,
    /// The host, and all names below it.
    Host(Host),
}

/// Without names and passwords.
impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upstream(..)")
    }
}

/// Returns the proxy that `env` (`HTTPS_PROXY` and its kin, also in lower case) sends the machine through, if any. A proxy that is
/// not spoken to by plain HTTP is passed over.
pub fn upstream(env: &BTreeMap<String, String>) -> Option<Upstream> {
    let get = |key: &str| {
        let value = env.get(key).or_else(|| env.get(&key.to_ascii_uppercase()))?;
        Some(value.trim()).filter(|value| !value.is_empty())
    };
    let http = get("http_proxy").or_else(|| get("all_proxy")).and_then(proxy);
    let https = get("https_proxy").or_else(|| get("all_proxy")).and_then(proxy);
    if http.is_none() && https.is_none() {
        return None;
    }
    let direct =
        get("no_proxy").unwrap_or_default().split([',', ' ']).filter_map(|entry| match entry.trim() {
            "*" => Some(Direct::Everything),
            entry => Host::parse(entry.trim_start_matches('*').trim_start_matches('.')).map(Direct::Host),
        });
    Some(Upstream { http, https, direct: direct.collect() })
}

fn proxy(text: &str) -> Option<Proxy> {
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = Url::parse(&text).ok().filter(|url| url.scheme() == "http")?;
    let host = Host::parse(url.host_str()?)?;
    let decoded = |text: &str| percent_decode(text);
    let login = (!url.username().is_empty())
        .then(|| format!("{}:{}", decoded(url.username()), decoded(url.password().unwrap_or_default())))
        .map(|login| format!("Basic {}", STANDARD.encode(login)));
    Some(Proxy { at: Destination { host, port: url.port_or_known_default()? }, login })
}

fn percent_decode(text: &str) -> String {
    // A query is decoded by the same rules, but for "+".
    let text = format!("x={}", text.replace('+', "%2B").replace('&', "%26"));
    url::form_urlencoded::parse(text.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

impl Upstream {
    /// Returns the proxy that stands before `to`.
    pub fn before(&self, to: &Destination) -> Option<&Proxy> {
        let is_direct = self.direct.iter().any(|direct| match (direct, &to.host) {
            (Direct::Everything, _) => true,
            (Direct::Host(Host::Name(above)), Host::Name(name)) => {
                name.strip_suffix(above.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            (Direct::Host(host), to) => host == to,
        });
        let proxy = if to.port == 80 { &self.http } else { &self.https };
        proxy.as_ref().filter(|_| !is_direct)
    }
}

const HEAD_BYTES_MAX: usize = 16 << 10;

/// Asks a proxy, on a fresh connection to it, for a tunnel.
pub async fn connect(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    proxy: &Proxy,
    to: &Destination,
) -> io::Result<()> {
    let login =
        proxy.login.as_ref().map(|login| format!("Proxy-Authorization: {login}\r\n")).unwrap_or_default();
    stream.write_all(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n{login}\r\n").as_bytes()).await?;
    let mut head = Vec::new();
    // By single bytes, because what follows the head belongs to the tunnel. It is a hundred bytes or two.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= HEAD_BYTES_MAX {
            return Err(io::Error::other("the machine's proxy gave no answer that can be understood"));
        }
        head.push(stream.read_u8().await?);
    }
    let status = head.split(|b| *b == b' ').nth(1).unwrap_or_default();
    if head.starts_with(b"HTTP/1.") && status.starts_with(b"2") {
        return Ok(());
    }
    let status = String::from_utf8_lossy(&status[..status.len().min(3)]).into_owned();
    Err(io::Error::other(format!("the machine's proxy answered {status}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(rows: &[(&str, &str)]) -> BTreeMap<String, String> {
        rows.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    #[test]
    fn the_machines_proxy_is_found() {
        let all: &[(&str, &str)] = &[
            ("HTTPS_PROXY", "http://a%40b:p+w@proxy.example:3128"),
            ("no_proxy", "direct.example, .corp.example,10.0.0.1"),
        ];
        let upstream = upstream(&env(all)).unwrap();
        let before = |to: &str| {
            upstream.before(&Destination::parse(to, None).unwrap()).map(|proxy| proxy.at.to_string())
        };
        let rows = [
            ("example.org:443", Some("proxy.example:3128")),
            ("example.org:8443", Some("proxy.example:3128")),
            ("example.org:80", None),
            ("direct.example:443", None),
            ("x.direct.example:443", None),
            ("indirect.example:443", Some("proxy.example:3128")),
            ("a.corp.example:443", None),
            ("10.0.0.1:443", None),
        ];
        for (to, expected) in rows {
            assert_eq!(before(to).as_deref(), expected, "{to}");
        }
        let login = upstream.https.clone().and_then(|proxy| proxy.login).unwrap();
        assert_eq!(STANDARD.decode(login.strip_prefix("Basic ").unwrap()).unwrap(), b"a@b:p+w");
        assert_eq!(format!("{upstream:?}"), "Upstream(..)");
    }

    #[test]
    fn no_proxy_is_none() {
        for rows in [
            &[][..],
            &[("HTTPS_PROXY", "")],
            &[("ALL_PROXY", "socks5://127.0.0.1:1080")],
            &[("HTTP_PROXY", "::")],
        ] {
            assert_eq!(upstream(&env(rows)), None, "{rows:?}");
        }
    }

    #[tokio::test]
    async fn a_tunnel_is_asked_for() {
        let proxy = Proxy {
            at: Destination::parse("proxy.example:3128", None).unwrap(),
            login: Some("Basic eA==".into()),
        };
        let to = Destination::parse("example.org:443", None).unwrap();
        for (reply, is_tunnel) in [
            ("HTTP/1.1 200 Connection established\r\n\r\nrest", true),
            ("HTTP/1.0 200 OK\r\nX: y\r\n\r\nrest", true),
            ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", false),
            ("SSH-2.0 200\r\n\r\n", false),
            ("HTTP/1.1 200", false),
        ] {
            let (mut ours, mut theirs) = tokio::io::duplex(4096);
            theirs.write_all(reply.as_bytes()).await.unwrap();
            theirs.shutdown().await.unwrap();
            assert_eq!(connect(&mut ours, &proxy, &to).await.is_ok(), is_tunnel, "{reply:?}");
            if is_tunnel {
                let mut rest = String::new();
                ours.read_to_string(&mut rest).await.unwrap();
                assert_eq!(rest, "rest");
            }
            drop(ours);
            let mut asked = String::new();
            theirs.read_to_string(&mut asked).await.unwrap();
            assert!(asked.starts_with("CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\nProxy-Authorization: Basic eA==\r\n"));
        }
    }
}
