//! The network of a sandbox: none of the machine's, and a way out only through the sockets that it was given.

use crate::stage::{Live, Stage};
use quire_sandbox::{Door, Gate};
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// Tries a connection as `python3 -c CONNECT KIND ADDRESS PORT` and prints how it went: `ok`, or the error's name.
const CONNECT: &str = "import errno, socket, sys
kind, host, port = sys.argv[1:]
family = socket.AF_INET6 if ':' in host else socket.AF_INET
s = socket.socket(family, getattr(socket, 'SOCK_' + kind))
s.settimeout(20)
try:
    s.connect((host, int(port)))
    s.send(b'?')
    print('ok')
except OSError as e:
    print(errno.errorcode.get(e.errno, e))
";

/// Sandboxes without and with a way out.
fn both(stage: &Stage) -> [Live; 2] {
    let mut with = stage.spec.clone();
    with.state = stage.base.join("data/state-2");
    with.layer = stage.base.join("data/layer-2");
    with.gate = Some(Door::default());
    fs::write(stage.spec.out.join("connect.py"), CONNECT).unwrap();
    [stage.start(), Live::start(&with).unwrap()]
}

fn connect(live: &Live, kind: &str, host: &str, port: u16) -> String {
    live.yes(&format!("python3 /run/quire/out/connect.py {kind} {host} {port}"))
}

/// E01, E02, E03, E04, E05: no packet leaves, whatever is tried.
pub fn nothing_is_reached_directly(stage: &Stage) {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let six = TcpListener::bind("[::1]:0").unwrap();
    let (tcp, udp, six) = (tcp.local_addr().unwrap(), udp.local_addr().unwrap(), six.local_addr().unwrap());
    for live in both(stage) {
        for (kind, host, port, expected) in [
            ("STREAM", "192.0.2.1", 80, "ENETUNREACH"),
            ("STREAM", "203.0.113.80", 443, "ENETUNREACH"),
            ("DGRAM", "192.0.2.1", 53, "ENETUNREACH"),
            ("DGRAM", "10.0.0.1", 53, "ENETUNREACH"),
            ("STREAM", "2001:db8::1", 443, "ENETUNREACH"),
            ("DGRAM", "2001:db8::1", 53, "ENETUNREACH"),
            ("STREAM", "fe80::1", 80, "EINVAL"),
            ("STREAM", "169.254.169.254", 80, "ENETUNREACH"),
            ("STREAM", "fd00:ec2::254", 80, "ENETUNREACH"),
            ("STREAM", "127.0.0.1", tcp.port(), "ECONNREFUSED"),
            ("STREAM", "::ffff:127.0.0.1", tcp.port(), "ECONNREFUSED"),
            ("STREAM", "::1", six.port(), "ECONNREFUSED"),
        ] {
            assert_eq!(connect(&live, kind, host, port), expected, "{kind} {host} {port}");
        }
        // A datagram is refused only by what it meets.
        connect(&live, "DGRAM", "127.0.0.1", udp.port());
        assert_eq!(live.yes("ls /sys/class/net"), "lo");
        assert_eq!(live.yes("ip -4 route show 2>/dev/null; ip -6 route show default 2>/dev/null; true"), "");
        for family in [
            "AF_PACKET, socket.SOCK_RAW",
            "AF_PACKET, socket.SOCK_DGRAM",
            "AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP",
            "AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6",
            "AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW",
            "AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP",
            "AF_VSOCK, socket.SOCK_STREAM",
            "AF_BLUETOOTH, socket.SOCK_RAW, 1",
        ] {
            live.no(&format!("python3 -c 'import socket; socket.socket(socket.{family})'"));
        }
        live.no("ip link set lo down || ip link add d0 type dummy || ip addr add 192.0.2.1/24 dev lo");
        // What a program of its own listens on is reached.
        live.yes("python3 -c 'import socket; s = socket.create_server((\"127.0.0.1\", 0)); socket.create_connection(s.getsockname())'");
        live.yes("python3 -c 'import socket; s = socket.create_server((\"::1\", 0), family=socket.AF_INET6); socket.create_connection(s.getsockname())'");
    }
}

/// Accepts on a gate's sockets as the host does, and answers each connection with the name of the socket and what it was
/// asked; a datagram comes back as it is.
fn answer(gate: Gate) {
    let Gate { proxy, http, tls, dns, dns_tcp } = gate;
    for (name, socket) in [("proxy", proxy), ("http", http), ("tls", tls), ("dns", dns_tcp)] {
        let listener = TcpListener::from(socket);
        listener.set_nonblocking(false).unwrap();
        std::thread::spawn(move || {
            while let Ok((mut inside, from)) = listener.accept() {
                let mut asked = [0; 64];
                let length = inside.read(&mut asked).unwrap();
                let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
                let _ = write!(inside, "{name} {} {asked}", from.ip());
            }
        });
    }
    let socket = UdpSocket::from(dns);
    socket.set_nonblocking(false).unwrap();
    std::thread::spawn(move || {
        let mut asked = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut asked) {
            let _ = socket.send_to(&asked[..length], from);
        }
    });
}

pub fn the_way_out_is_accepted_outside(stage: &Stage) {
    let [without, with] = both(stage);
    assert!(without.sandbox.gate().is_none());
    answer(with.sandbox.gate().unwrap());
    assert!(with.sandbox.gate().is_none(), "it is given once");
    for (socket, name) in [
        ("127.0.0.1/3128", "proxy"),
        ("127.77.0.1/80", "http"),
        ("127.77.0.1/443", "tls"),
        ("127.0.0.1/53", "dns"),
    ] {
        let ask = format!("exec 3<>/dev/tcp/{socket} && echo -n hello >&3 && cat <&3");
        without.no(&ask);
        assert_eq!(with.yes(&ask), format!("{name} 127.0.0.1 hello"));
    }
    let ask = "exec 3<>/dev/udp/127.0.0.1/53 && echo -n hello >&3 && head -c5 <&3";
    without.no(ask);
    assert_eq!(with.yes(ask), "hello");
    // Nobody inside holds what listens there.
    assert_eq!(with.yes("ls -l /proc/[0-9]*/fd 2>/dev/null | grep -c 'socket:' || true").trim(), "0");
    // And the same ports of the machine are as they were.
    for at in [(Ipv4Addr::LOCALHOST, 3128), (Ipv4Addr::new(127, 77, 0, 1), 80)] {
        assert!(std::net::TcpStream::connect(at).is_err());
    }
}
