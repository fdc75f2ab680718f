//! What a sandbox may reach of the network, in the words of settings and charter. Which host has which address, and every
//! decision about a connection, is the wall's business; here is only what a person may say, and what is narrower than what.

use core::net::{Ipv4Addr, Ipv6Addr};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a task may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Net {
    /// There is no network but a loopback. What tasks had whose log does not say.
    #[default]
    Off,
    /// Package registries, where `registries` says so, and these hosts, each as [`HostRule`] reads it. For anything else the
    /// person is asked.
    Only { registries: bool, hosts: Vec<String> },
    /// Every public address.
    All,
}

impl Net {
    /// What a task has where nobody says otherwise.
    pub fn registries() -> Net {
        Net::Only { registries: true, hosts: vec![] }
    }

    pub fn is_off(&self) -> bool {
        *self == Net::Off
    }

    /// Returns whether this allows nothing that `other` does not. `is_registry` says which hosts are registries.
    pub fn is_within(&self, other: &Net, is_registry: impl Fn(&str) -> bool) -> bool {
        match (self, other) {
            (Net::Off, _) | (_, Net::All) => true,
            (Net::All, _) | (_, Net::Off) => false,
            (
                Net::Only { registries, hosts },
                Net::Only { registries: other_registries, hosts: other_hosts },
            ) => {
                let rules: Vec<HostRule> =
                    other_hosts.iter().filter_map(|h| HostRule::parse(h).ok()).collect();
                let is_covered = |host: &String| {
                    *other_registries && is_registry(host)
                        || HostRule::parse(host).is_ok_and(|one| rules.iter().any(|rule| rule.covers(&one)))
                };
                (!registries || *other_registries) && hosts.iter().all(is_covered)
            }
        }
    }
}

/// As `--net` takes it.
impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Net::Off => f.write_str("off"),
            Net::All => f.write_str("all"),
            Net::Only { registries, hosts } if hosts.is_empty() => {
                f.write_str(if *registries { "registries" } else { "nothing without asking" })
            }
            Net::Only { registries, hosts } => {
                let first = registries.then_some("registries");
                let words: Vec<&str> = first.into_iter().chain(hosts.iter().map(String::as_str)).collect();
                f.write_str(&words.join(","))
            }
        }
    }
}

/// Hosts that a person names: `example.org`, `*.example.net` (what lies below it, not itself), `127.0.0.1`, `[::1]`; each
/// may end in `:PORT`, and means the ports 80 and 443 otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRule {
    /// Without `*.`, in lower case.
    host: String,
    below: bool,
    port: Option<u16>,
}

/// Why a text names no hosts, and what it probably should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct NoHostRule {
    pub problem: &'static str,
    pub meant: Option<String>,
}

impl HostRule {
    pub fn parse(text: &str) -> Result<HostRule, NoHostRule> {
        let wrong = |problem, meant: Option<String>| Err(NoHostRule { problem, meant });
        let lower = text.to_ascii_lowercase();
        if let Some((_, rest)) = lower.split_once("://") {
            return wrong("an address is named without its scheme", tidy(rest));
        }
        if lower.contains('/') {
            return wrong("a host has no path", tidy(&lower));
        }
        if lower.contains('@') {
            return wrong("a host has no user and no password", None);
        }
        if !lower.is_ascii() {
            return wrong("a name in other letters is written as in the DNS, beginning with `xn--`", None);
        }
        let Some((name, port)) = split_port(&lower) else {
            return wrong("the port is a number from 1 to 65535", None);
        };
        let (host, below) = name.strip_prefix("*.").map_or((name, false), |host| (host, true));
        if host == "*" || host.is_empty() {
            return wrong("for everything there is the word `all`", None);
        }
        if host.contains('*') {
            return wrong("`*` stands at the beginning alone, as in `*.example.org`", None);
        }
        if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            return match inner.parse::<Ipv6Addr>() {
                Ok(address) if !below => Ok(HostRule { host: address.to_string(), below, port }),
                _ => wrong("it is no IPv6 address", None),
            };
        }
        if let Some(bare) = host.strip_suffix('.') {
            return wrong("a host's name has no dot at its end", tidy(bare));
        }
        if below && !host.contains('.') {
            return wrong("it would cover too much; for everything there is the word `all`", None);
        }
        let is_address = host.parse::<Ipv4Addr>().is_ok();
        if below && is_address || !is_address && host.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return wrong("it is no IPv4 address", None);
        }
        if !is_name(host) {
            return wrong("a host's name has letters, digits, `-` and dots only", None);
        }
        if !host.contains('.') && host != "localhost" && port.is_none() {
            return wrong("a host without a dot is named with its port, like `git:443`", None);
        }
        Ok(HostRule { host: host.to_owned(), below, port })
    }

    /// Returns whether every connection that `other` means is one that this means.
    pub fn covers(&self, other: &HostRule) -> bool {
        let by_name = if self.below {
            other.host.strip_suffix(&self.host).is_some_and(|rest| rest.ends_with('.'))
                || other.below && other.host == self.host
        } else {
            !other.below && other.host == self.host
        };
        by_name && (self.port == other.port || self.port.is_none() && matches!(other.port, Some(80 | 443)))
    }
}

/// Returns the name and the port after it, or `None` where the port is none.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    match text.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((name, port)) if !port.contains(']') => {
            let plain = port.bytes().all(|b| b.is_ascii_digit());
            let port = port.parse().ok().filter(|port| *port > 0 && plain)?;
            Some((name, Some(port)))
        }
        _ => Some((text, None)),
    }
}

/// Returns the host at the beginning of an address, where there is a right one.
fn tidy(rest: &str) -> Option<String> {
    let host = rest.split(['/', '?', '#']).next().unwrap_or(rest).trim_end_matches('.');
    HostRule::parse(host).is_ok().then(|| host.to_owned())
}

/// Returns whether `host` can be the name of a host: labels of letters, digits, `-` and `_` (RFC 1123, and what people do).
pub fn is_name(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= 253 && host.split('.').all(is_label)
}

/// Returns whether `host` is the name or the address of one, as a connection has it.
pub fn is_host(host: &str) -> bool {
    is_name(host) || host.parse::<Ipv6Addr>().is_ok()
}

/// Returns a host with its port as a person writes them.
pub fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_hosts() {
        let long = format!("{}.org", "a".repeat(64));
        let rows: &[(&str, Option<&str>)] = &[
            ("example.org", None),
            ("EXAMPLE.org:8443", None),
            ("*.example.org", None),
            ("xn--bcher-kva.example", None),
            ("127.0.0.1:3000", None),
            ("[::1]:3000", None),
            ("[::1]", None),
            ("localhost", None),
            ("git:443", None),
            ("_x.example.org", None),
            ("https://pypi.org/simple", Some("an address is named without its scheme; meant: pypi.org")),
            ("https://", Some("an address is named without its scheme")),
            ("pypi.org/simple", Some("a host has no path; meant: pypi.org")),
            ("pypi.org.", Some("a host's name has no dot at its end; meant: pypi.org")),
            ("me@pypi.org", Some("a host has no user and no password")),
            (
                "b\u{fc}cher.example",
                Some("a name in other letters is written as in the DNS, beginning with `xn--`"),
            ),
            ("example.org:0", Some("the port is a number from 1 to 65535")),
            ("example.org:", Some("the port is a number from 1 to 65535")),
            ("example.org:+80", Some("the port is a number from 1 to 65535")),
            ("*", Some("for everything there is the word `all`")),
            ("", Some("for everything there is the word `all`")),
            ("a.*.org", Some("`*` stands at the beginning alone, as in `*.example.org`")),
            ("*example.org", Some("`*` stands at the beginning alone, as in `*.example.org`")),
            ("*.org", Some("it would cover too much; for everything there is the word `all`")),
            ("*.127.0.0.1", Some("it is no IPv4 address")),
            ("1.2.3", Some("it is no IPv4 address")),
            ("[::g]", Some("it is no IPv6 address")),
            ("a..org", Some("a host's name has letters, digits, `-` and dots only")),
            ("a b.org", Some("a host's name has letters, digits, `-` and dots only")),
            ("-a.org", Some("a host's name has letters, digits, `-` and dots only")),
            (&long, Some("a host's name has letters, digits, `-` and dots only")),
            ("on", Some("a host without a dot is named with its port, like `git:443`")),
        ];
        for (text, expected) in rows {
            let told = HostRule::parse(text).err().map(|none| match none.meant {
                Some(meant) => format!("{}; meant: {meant}", none.problem),
                None => none.problem.to_owned(),
            });
            assert_eq!(told.as_deref(), *expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_within_what() {
        let only = |registries, hosts: &[&str]| Net::Only {
            registries,
            hosts: hosts.iter().map(|h| (*h).to_owned()).collect(),
        };
        let rows = [
            (Net::Off, Net::Off, true),
            (Net::Off, only(false, &[]), true),
            (only(false, &[]), Net::Off, false),
            (Net::registries(), Net::registries(), true),
            (Net::registries(), Net::All, true),
            (Net::All, Net::registries(), false),
            (Net::All, Net::All, true),
            (only(false, &["pypi.org"]), Net::registries(), true),
            (only(false, &["pypi.org:8080"]), Net::registries(), false),
            (only(false, &["evil.example"]), Net::registries(), false),
            (only(true, &[]), only(false, &["pypi.org"]), false),
            (only(false, &["a.org"]), only(false, &["a.org", "b.org"]), true),
            (only(false, &["A.org"]), only(true, &["a.org"]), true),
            (only(false, &["x.a.org"]), only(false, &["a.org"]), false),
            (only(false, &["x.a.org"]), only(false, &["*.a.org"]), true),
            (only(false, &["*.x.a.org"]), only(false, &["*.a.org"]), true),
            (only(false, &["*.a.org"]), only(false, &["*.a.org"]), true),
            (only(false, &["a.org"]), only(false, &["*.a.org"]), false),
            (only(false, &["*.a.org"]), only(false, &["a.org"]), false),
            (only(false, &["evila.org"]), only(false, &["*.a.org"]), false),
            (only(false, &["a.org:443"]), only(false, &["a.org"]), true),
            (only(false, &["a.org:22"]), only(false, &["a.org"]), false),
            (only(false, &["a.org"]), only(false, &["a.org:443"]), false),
            (only(false, &["b.a.org:22"]), only(false, &["*.a.org:22"]), true),
        ];
        for (one, other, expected) in rows {
            assert_eq!(one.is_within(&other, |host| host == "pypi.org"), expected, "{one} within {other}");
        }
    }
}
