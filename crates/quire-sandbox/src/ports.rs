//! Ports that programs inside listen on, and connections to them for the host.
//!
//! The sandbox's network has no way in. The hand alone connects, on the host's word, and passes the connected socket out;
//! the host takes it only as a stream of the internet family, and never trusts what comes through it.

use crate::protocol::Port;
use crate::{gate, network};
use rustix::net::{AddressFamily, SocketType, getpeername, sockopt};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Most ports that are told of.
const PORTS_MAX: usize = 64;

/// Longest time that a connection may take; on loopback only a full backlog takes any.
const CONNECT: Duration = Duration::from_secs(5);

/// Returns the ports of this network that are listened on, in order, without those of the way out.
pub fn listening() -> Vec<Port> {
    let mut found = BTreeMap::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        found.extend(listed(&fs::read_to_string(table).unwrap_or_default()));
    }
    if found.is_empty() {
        return Vec::new();
    }
    let owners = owners(&found.values().copied().collect::<Vec<_>>());
    let named =
        |(port, inode): (u16, u64)| Port { port, program: owners.get(&inode).cloned().unwrap_or_default() };
    found.into_iter().take(PORTS_MAX).map(named).collect()
}

/// Reads proc_net_tcp(5) and returns each port that is listened on with the inode of its socket.
fn listed(table: &str) -> Vec<(u16, u64)> {
    let mut found = Vec::new();
    for line in table.lines().skip(1) {
        let mut fields = line.split_whitespace().skip(1);
        let (Some(local), _, Some(state)) = (fields.next(), fields.next(), fields.next()) else { continue };
        // Those that listen come first.
        if state != "0A" {
            break;
        }
        let Some((address, port)) = local.split_once(':') else { continue };
        let (Ok(port), Some(Ok(inode))) =
            (u16::from_str_radix(port, 16), fields.nth(5).map(str::parse::<u64>))
        else {
            continue;
        };
        let address = u32::from_str_radix(address, 16).ok().map(|raw| Ipv4Addr::from(raw.to_ne_bytes()));
        if !address.is_some_and(|address| gate::has(address, port)) {
            found.push((port, inode));
        }
    }
    found
}

/// Returns the names of the programs that hold these sockets, as far as they can be seen.
fn owners(inodes: &[u64]) -> BTreeMap<u64, String> {
    let mut owners = BTreeMap::new();
    let links: BTreeMap<String, u64> =
        inodes.iter().map(|inode| (format!("socket:[{inode}]"), *inode)).collect();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(open) = fs::read_dir(process.path().join("fd")) else { continue };
        for descriptor in open.flatten() {
            let Ok(target) = fs::read_link(descriptor.path()) else { continue };
            let Some(inode) = target.to_str().and_then(|target| links.get(target)) else { continue };
            let name = fs::read(process.path().join("comm")).unwrap_or_default();
            owners.insert(*inode, String::from_utf8_lossy(&name).trim_end().to_owned());
        }
        if owners.len() == inodes.len() {
            break;
        }
    }
    owners
}

/// Connects to a port inside: by either loopback address, else by the other that programs have.
pub fn connect(port: u16) -> io::Result<OwnedFd> {
    let to = |address: IpAddr| TcpStream::connect_timeout(&SocketAddr::new(address, port), CONNECT);
    let connected = to(Ipv4Addr::LOCALHOST.into()).or_else(|_| to(Ipv6Addr::LOCALHOST.into()));
    // Where it fails, the first address says why.
    let connected = connected.or_else(|error| to(network::INSIDE.into()).map_err(|_| error))?;
    Ok(connected.into())
}

/// Takes what a hand passed out, if it is a connected stream. It does not block, and closing it waits for nobody.
pub fn connected(passed: Vec<OwnedFd>) -> io::Result<TcpStream> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "not a connection");
    let socket = passed.into_iter().next().ok_or_else(wrong)?;
    let family = sockopt::socket_domain(&socket)?;
    if ![AddressFamily::INET, AddressFamily::INET6].contains(&family)
        || sockopt::socket_type(&socket)? != SocketType::STREAM
        || sockopt::socket_acceptconn(&socket)?
    {
        return Err(wrong());
    }
    getpeername(&socket)?;
    sockopt::set_socket_linger(&socket, None)?;
    let stream = TcpStream::from(socket);
    stream.set_nonblocking(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn what_listens_is_read_off_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 010012C6:0C38 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1\n\
            \x20  1: 010012C6:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1\n\
            \x20  2: 00000000:1435 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 13 1\n\
            rubbish\n\
            \x20  3: 0100007F:1F90 0100007F:ABCD 01 00000000:00000000 00:00000000 00000000     0        0 14 1\n";
        // `rubbish` has no third field and is passed over.
        assert_eq!(listed(table), [(5173, 13)]);
        let six = "head\n   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 99 1\n";
        assert_eq!(listed(six), [(8080, 99)]);
    }

    #[test]
    fn a_port_is_found_with_its_program() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let all = [fs::read_to_string("/proc/net/tcp").unwrap()];
        let inode = all.iter().flat_map(|table| listed(table)).find(|found| found.0 == port).unwrap().1;
        let name = fs::read_to_string("/proc/self/comm").unwrap();
        assert_eq!(owners(&[inode]).get(&inode).map(String::as_str), Some(name.trim_end()));
    }

    #[test]
    fn only_a_connected_stream_is_one() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(connected(vec![connect(port).unwrap()]).is_ok());
        let unconnected = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (unix, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let file = fs::File::open("/dev/null").unwrap();
        for wrong in [
            vec![],
            vec![listener.into()],
            vec![unconnected],
            vec![udp.into()],
            vec![unix.into()],
            vec![file.into()],
        ] {
            assert!(connected(wrong).is_err());
        }
    }
}
