//! The way out of a sandbox: sockets that listen in its network and are accepted from outside.
//!
//! They are made from inside ([`crate::network`]), and handed to the host before anything of the agent's runs. So nothing
//! forwards inside, nothing there can be killed or tampered with, and no address of the host's is reachable: who connects
//! inside talks to the host's own code, which decides.

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

/// Where the way out is, and what names resolve to inside: connections to it are asked for the name that they want. No
/// address of the programs' own, except where their network is shared ([`Gate::shared`]).
pub const TRANSPARENT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

/// Where the proxy is reached from inside.
pub const PROXY: SocketAddrV4 = SocketAddrV4::new(TRANSPARENT, 3128);

/// The sockets of one sandbox; none of them blocks. Its network lives as long as one of them does.
#[derive(Debug)]
pub struct Gate {
    /// For programs that are told of a proxy: HTTP and SOCKS5, told apart by the first byte.
    pub proxy: OwnedFd,
    /// For those that are not, port 80: the name is in the request.
    pub http: OwnedFd,
    /// Port 443: the name is in the greeting.
    pub tls: OwnedFd,
    /// Datagrams to port 53.
    pub dns: OwnedFd,
    pub dns_tcp: OwnedFd,
    /// Why these ports are taken for programs inside: this machine gave no second network for the sockets. `None` where the
    /// ports are free.
    pub shared: Option<String>,
}

const SOCKETS: [(SocketType, SocketAddrV4); 5] = [
    (SocketType::STREAM, PROXY),
    (SocketType::STREAM, SocketAddrV4::new(TRANSPARENT, 80)),
    (SocketType::STREAM, SocketAddrV4::new(TRANSPARENT, 443)),
    (SocketType::DGRAM, SocketAddrV4::new(TRANSPARENT, 53)),
    (SocketType::STREAM, SocketAddrV4::new(TRANSPARENT, 53)),
];

/// How many descriptors a gate is.
pub const COUNT: usize = SOCKETS.len();

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Makes the sockets in this process's network, where they stay.
pub fn sockets() -> rustix::io::Result<[OwnedFd; COUNT]> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let make = |(kind, _): &(SocketType, SocketAddrV4)| socket_with(AddressFamily::INET, *kind, flags, None);
    let [proxy, http, tls, dns, dns_tcp] = SOCKETS.each_ref().map(make);
    Ok([proxy?, http?, tls?, dns?, dns_tcp?])
}

/// Lets them listen. Their network must have [`TRANSPARENT`] by now.
pub fn listen(sockets: &[OwnedFd; COUNT]) -> rustix::io::Result<()> {
    for (socket, (kind, at)) in sockets.iter().zip(SOCKETS) {
        bind(socket, &at)?;
        if kind == SocketType::STREAM {
            rustix::net::listen(socket, BACKLOG)?;
        }
    }
    Ok(())
}

/// Returns whether this is where one of the sockets is.
pub fn has(address: Ipv4Addr, port: u16) -> bool {
    SOCKETS.iter().any(|(_, at)| *at == SocketAddrV4::new(address, port))
}

impl Gate {
    /// Takes what came out of a sandbox, if it is what [`open`] makes there.
    pub fn of(sockets: Vec<OwnedFd>, shared: Option<String>) -> io::Result<Gate> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "not the sockets of a gate");
        let sockets: [OwnedFd; COUNT] = sockets.try_into().map_err(|_| wrong())?;
        for (socket, (kind, at)) in sockets.iter().zip(SOCKETS) {
            let is = sockopt::socket_domain(socket)? == AddressFamily::INET
                && sockopt::socket_type(socket)? == kind
                && sockopt::socket_acceptconn(socket)? == (kind == SocketType::STREAM)
                && SocketAddrV4::try_from(getsockname(socket)?)? == at;
            if !is {
                return Err(wrong());
            }
        }
        let [proxy, http, tls, dns, dns_tcp] = sockets;
        Ok(Gate { proxy, http, tls, dns, dns_tcp, shared })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn only_a_gate_is_one() {
        // Sockets of this machine, at other addresses.
        let tcp = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        let udp = || OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap());
        let file = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        for sockets in [
            vec![],
            vec![tcp(), tcp(), tcp(), udp(), tcp()],
            vec![udp(), tcp(), tcp(), udp(), tcp()],
            vec![file(), file(), file(), file(), file()],
        ] {
            assert!(Gate::of(sockets, None).is_err());
        }
    }
}
