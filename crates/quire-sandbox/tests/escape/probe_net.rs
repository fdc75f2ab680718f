//! Probes of the network: connections by address, and bytes said to whoever listens, with what came back.

use super::{asked, say, told};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// Connects to addresses, as `tcp ADDRESS...`.
pub fn tcp(addresses: &[&str]) {
    for address in addresses {
        let to: SocketAddr = address.parse().expect("an address");
        say(address, told(TcpStream::connect_timeout(&to, PATIENCE)));
    }
}

/// Sends a datagram to addresses.
pub fn udp(addresses: &[&str]) {
    for address in addresses {
        let to: SocketAddr = address.parse().expect("an address");
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        say(address, told(UdpSocket::bind(any).and_then(|socket| socket.send_to(b"?", to))));
    }
}

/// Says bytes, as `NAME ADDRESS HEX END`: prints what came back, escaped, up to the first `END` (hex) or to the end of the
/// connection.
pub fn talk(args: &[&str]) {
    for one in args.chunks_exact(4) {
        let [name, address, bytes, end] = one else { continue };
        let talked = || -> io::Result<Vec<u8>> {
            let mut stream = TcpStream::connect_timeout(&address.parse().expect("an address"), PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(&from_hex(bytes))?;
            let (mut got, end) = (Vec::new(), from_hex(end));
            let mut chunk = [0; 4096];
            loop {
                match stream.read(&mut chunk)? {
                    0 => return Ok(got),
                    length => got.extend(&chunk[..length]),
                }
                if !end.is_empty() && got.windows(end.len()).any(|part| part == end) {
                    return Ok(got);
                }
            }
        };
        let said = match talked() {
            Ok(got) => got.escape_ascii().to_string(),
            Err(error) => told::<()>(Err(error)),
        };
        say(name, said);
    }
}

/// Opens the sockets that ping, in each way.
pub fn ping(_: &[&str]) {
    for (name, family, kind, protocol) in [
        ("echo", libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_ICMP),
        ("echo6", libc::AF_INET6, libc::SOCK_DGRAM, libc::IPPROTO_ICMPV6),
        ("raw", libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
        ("raw6", libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_ICMPV6),
    ] {
        // SAFETY: takes plain numbers.
        let made = asked(unsafe { libc::socket(family, kind, protocol) }.into());
        say(name, told(made.map(|fd| unsafe { libc::close(fd as i32) })));
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).expect("hex"), 16).expect("hex")).collect()
}
