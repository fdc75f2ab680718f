//! Which addresses are the world's and which are the machine's and its networks'. Names are resolved outside of the sandbox,
//! and whoever owns a name can point it at a router, a database or a cloud's metadata service.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// Where an address lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Anyone's.
    World,
    /// Of this machine or of a network that it is in: for hosts that were named.
    Near,
    /// Hands out credentials to whoever asks, or belongs to one link: only where the address itself was named.
    Link,
    /// Nobody's, or many machines' at once.
    Nowhere,
}

/// Returns where `address` lies, as its number says. [`is_own`] asks the machine.
///
/// Ranges are those of IANA's special-purpose registries. Documentation ranges (192.0.2.0/24 and others) and those for
/// benchmarks (198.18.0.0/15) count as the world's: proxies and mirrors answer from there, and no service of the machine does.
pub fn reach(address: IpAddr) -> Reach {
    match address.to_canonical() {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => reach_v6(address),
    }
}

/// Azure's platform service, which answers inside every machine there although its number is public.
const AZURE_WIRE: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

fn reach_v4(address: Ipv4Addr) -> Reach {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        _ if address == AZURE_WIRE => Reach::Link,
        (0, ..) => Reach::Nowhere, // "this network"; 0.0.0.0 would be this machine
        (10, ..) | (127, ..) | (172, 16..=31, _) | (192, 168, _) => Reach::Near,
        (100, 64..=127, _) => Reach::Near, // carrier-grade NAT; Alibaba's metadata service among it
        (169, 254, _) => Reach::Link,
        (192, 0, 0) => Reach::Link, // protocol assignments; Oracle's metadata service among it
        (224..=255, ..) => Reach::Nowhere,
        _ => Reach::World,
    }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        reach_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 0] => Reach::Nowhere,
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Near,
        // Compatible, translated (SIIT), NAT64 and 6to4 forms of an IPv4 address are worth what that is.
        [0, 0, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => embedded(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        [0x64, 0xff9b, 1, ..] => Reach::Near, // a network's own NAT64
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] => Reach::Link, // Amazon's metadata service
        [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => Reach::Link, // Google's
        [first, ..] if first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfec0 => Reach::Near,
        [first, ..] if first & 0xffc0 == 0xfe80 => Reach::Link,
        [0x2001, 0, ..] | [0x100, 0, 0, 0, ..] => Reach::Nowhere, // Teredo, discard
        // Only this eighth of all addresses is given out.
        [first, ..] if first & 0xe000 != 0x2000 => Reach::Nowhere,
        _ => Reach::World,
    }
}

/// Returns whether `address` is one of this machine's own: services that a firewall keeps from the world listen there too.
/// Nothing is sent: the kernel is only asked from where it would.
pub fn is_own(address: IpAddr) -> bool {
    let from: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let asked = UdpSocket::bind((from, 0)).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    asked.is_ok_and(|local| local.ip() == address)
}

/// Returns whether a host may be reached at `address`. `is_named`: the policy names the host; `is_literal`: by this very address.
pub fn may_reach(address: IpAddr, is_named: bool, is_literal: bool) -> bool {
    match reach(address) {
        Reach::World => is_named || !is_own(address),
        Reach::Near => is_named,
        Reach::Link => is_named && is_literal,
        Reach::Nowhere => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e06_addresses_of_the_machine_its_networks_and_metadata_services_are_not_the_worlds() {
        let rows = [
            ("93.184.215.14", Reach::World),
            ("192.0.2.1", Reach::World),
            ("198.51.100.7", Reach::World),
            ("203.0.113.80", Reach::World),
            ("198.18.0.1", Reach::World),
            ("172.15.255.255", Reach::World),
            ("172.32.0.1", Reach::World),
            ("100.63.255.255", Reach::World),
            ("100.128.0.0", Reach::World),
            ("2606:4700::6810:1", Reach::World),
            ("2001:db8::1", Reach::World),
            ("64:ff9b::5db8:d70e", Reach::World),
            ("10.0.0.1", Reach::Near),
            ("127.0.0.1", Reach::Near),
            ("127.255.255.254", Reach::Near),
            ("172.16.0.1", Reach::Near),
            ("172.31.255.255", Reach::Near),
            ("192.168.1.1", Reach::Near),
            ("100.64.0.1", Reach::Near),
            ("100.100.100.200", Reach::Near),
            ("::1", Reach::Near),
            ("::ffff:127.0.0.1", Reach::Near),
            ("::127.0.0.1", Reach::Near),
            ("64:ff9b::7f00:1", Reach::Near),
            ("64:ff9b:1::1", Reach::Near),
            ("2002:7f00:1::1", Reach::Near),
            ("2002:c0a8:101::", Reach::Near),
            ("fd12:3456::1", Reach::Near),
            ("fec0::1", Reach::Near),
            ("169.254.169.254", Reach::Link),
            ("168.63.129.16", Reach::Link),
            ("192.0.0.192", Reach::Link),
            ("::ffff:169.254.169.254", Reach::Link),
            ("::ffff:0:169.254.169.254", Reach::Link),
            ("64:ff9b::a9fe:a9fe", Reach::Link),
            ("2002:a9fe:a9fe::1", Reach::Link),
            ("fd00:ec2::254", Reach::Link),
            ("fd20:ce::254", Reach::Link),
            ("fe80::1", Reach::Link),
            ("0.0.0.0", Reach::Nowhere),
            ("0.1.2.3", Reach::Nowhere),
            ("224.0.0.1", Reach::Nowhere),
            ("255.255.255.255", Reach::Nowhere),
            ("240.0.0.1", Reach::Nowhere),
            ("::", Reach::Nowhere),
            ("ff02::1", Reach::Nowhere),
            ("2001::1", Reach::Nowhere),
            ("100::1", Reach::Nowhere),
            ("4000::1", Reach::Nowhere),
        ];
        for (text, expected) in rows {
            assert_eq!(reach(text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn e06_a_near_address_is_reached_only_by_a_host_that_was_named() {
        // address, named, by this very address, reached
        let rows = [
            ("203.0.113.80", false, false, true),
            ("10.0.0.1", false, false, false),
            ("10.0.0.1", true, false, true),
            ("127.0.0.1", false, true, false),
            ("169.254.169.254", true, false, false),
            ("169.254.169.254", true, true, true),
            ("0.0.0.0", true, true, false),
            ("ff02::1", true, true, false),
        ];
        for (text, named, literal, expected) in rows {
            assert_eq!(
                may_reach(text.parse().unwrap(), named, literal),
                expected,
                "{text} {named} {literal}"
            );
        }
    }

    #[test]
    fn the_machine_knows_its_own_addresses() {
        assert!(is_own("127.0.0.1".parse().unwrap()));
        assert!(!is_own("203.0.113.80".parse().unwrap()));
        // The address that packets to the world would come from, where there is a way to the world at all.
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        if socket.connect("203.0.113.80:9").is_ok() {
            assert!(is_own(socket.local_addr().unwrap().ip()));
        }
    }
}
