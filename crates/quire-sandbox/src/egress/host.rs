//! What a destination is called. People, programs and files write hosts in many ways (case, trailing dots, other scripts,
//! addresses in octal or as one number); here they get one form, so that a rule and a request can be compared as they are.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use url::Host as Parsed;

/// A host in its one form: a name in lower-case ASCII without a trailing dot, or an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    Name(String),
    Address(IpAddr),
}

/// A name in DNS is at most this long, and each of its labels at most 63 (RFC 1035, 2.3.4).
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

impl Host {
    /// Returns the host that `text` names, or `None` where it names none. What a resolver would take for an address (`127.1`,
    /// `0x7f000001`, `2130706433`) is that address; IPv6 may stand in brackets or not.
    pub fn parse(text: &str) -> Option<Host> {
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Some(Host::from(IpAddr::from(address)));
        }
        // The parser of URLs would decode what is percent-encoded, which a resolver does not.
        if text.contains('%') {
            return None;
        }
        let name = match Parsed::parse(text).ok()? {
            Parsed::Ipv4(address) => return Some(Host::from(IpAddr::from(address))),
            Parsed::Ipv6(address) => return Some(Host::from(IpAddr::from(address))),
            Parsed::Domain(name) => name,
        };
        let name = name.strip_suffix('.').unwrap_or(&name);
        let is_label = |label: &str| {
            (1..=LABEL_BYTES_MAX).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !(label.starts_with('-') || label.ends_with('-'))
        };
        (name.len() <= NAME_BYTES_MAX && name.split('.').all(is_label)).then(|| Host::Name(name.to_owned()))
    }
}

impl From<IpAddr> for Host {
    /// An IPv4 address that is written as IPv6 is the IPv4 address.
    fn from(address: IpAddr) -> Host {
        Host::Address(address.to_canonical())
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Address(address) => address.fmt(f),
        }
    }
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    pub host: Host,
    pub port: u16,
}

impl Destination {
    /// Returns the destination that `text` (`host` or `host:port`) names; `port` is that of a text without one.
    pub fn parse(text: &str, port: Option<u16>) -> Option<Destination> {
        let (host, written) = split(text)?;
        Some(Destination { host: Host::parse(host)?, port: written.or(port)? })
    }
}

/// Splits `host:port`, `host`, `[v6]:port` and `[v6]`. `None` where the port is none.
pub fn split(text: &str) -> Option<(&str, Option<u16>)> {
    let after_host =
        if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
    let (host, rest) = text.split_at(after_host);
    let Some(port) = rest.strip_prefix(':') else { return rest.is_empty().then_some((host, None)) };
    // `parse` alone would take "+80".
    let is_number = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let port = port.parse().ok().filter(|port| is_number && *port > 0)?;
    Some((host, Some(port)))
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            _ => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hosts_have_one_form() {
        let rows = [
            ("example.org", Some("example.org")),
            ("EXAMPLE.org.", Some("example.org")),
            ("_dmarc.example.org", Some("_dmarc.example.org")),
            ("bücher.example", Some("xn--bcher-kva.example")),
            ("ｅxample。org", Some("example.org")),
            ("127.0.0.1", Some("127.0.0.1")),
            ("127.0.0.1.", Some("127.0.0.1")),
            ("127.1", Some("127.0.0.1")),
            ("2852039166", Some("169.254.169.254")),
            ("0xA9FEA9FE", Some("169.254.169.254")),
            ("0251.0376.0251.0376", Some("169.254.169.254")),
            ("１２７.0.0.1", Some("127.0.0.1")),
            ("[::1]", Some("::1")),
            ("::1", Some("::1")),
            ("[::ffff:169.254.169.254]", Some("169.254.169.254")),
            ("::ffff:7f00:1", Some("127.0.0.1")),
            ("", None),
            (".", None),
            ("..", None),
            ("example..org", None),
            ("-example.org", None),
            ("example-.org", None),
            ("example.org..", None),
            (".example.org", None),
            ("*.example.org", None),
            ("example.org\0.evil.net", None),
            ("example.org%00.evil.net", None),
            ("%31%32%37.0.0.1", None),
            ("fe80::1%eth0", None),
            ("user@example.org", None),
            ("example.org/", None),
            ("example.org\\", None),
            ("exa mple.org", None),
            ("example.org\r\nHost: evil.net", None),
            ("1.2.3.4.5", None),
            ("256.1.1.1", None),
            ("example.0x7f", None),
            ("[::1", None),
            ("[127.0.0.1]", None),
        ];
        for (text, expected) in rows {
            assert_eq!(Host::parse(text).map(|host| host.to_string()).as_deref(), expected, "{text:?}");
        }
        assert_eq!(Host::parse(&format!("{}.org", "a".repeat(64))), None);
        assert_eq!(Host::parse(&"a.".repeat(127)), Some(Host::Name("a.".repeat(127)[..253].to_owned())));
        assert_eq!(Host::parse(&"a.".repeat(128)), None);
    }

    #[test]
    fn a_port_is_a_number() {
        let rows = [
            ("example.org:443", Some("example.org:443")),
            ("example.org", Some("example.org:80")),
            ("[::1]:8080", Some("[::1]:8080")),
            ("[::1]", Some("[::1]:80")),
            ("example.org:", None),
            ("example.org:0", None),
            ("example.org:65536", None),
            ("example.org:+80", None),
            ("example.org:80:80", None),
            ("example.org:8 0", None),
            ("::1", None),
            ("[::1]x:80", None),
            (":80", None),
        ];
        for (text, expected) in rows {
            let found = Destination::parse(text, Some(80)).map(|destination| destination.to_string());
            assert_eq!(found.as_deref(), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_parsed_once_stays_as_it_is(text in "\\PC{0,40}|[a-z0-9.:\\[\\]x-]{0,30}") {
            if let Some(host) = Host::parse(&text) {
                prop_assert_eq!(Host::parse(&host.to_string()), Some(host));
            }
            if let Some(to) = Destination::parse(&text, Some(80)) {
                prop_assert_eq!(Destination::parse(&to.to_string(), None), Some(to));
            }
        }
    }
}
