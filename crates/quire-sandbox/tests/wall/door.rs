//! The network of a sandbox: none of the machine's, and a way out only through the sockets that it was given.

use crate::stage::{Live, Stage};
use quire_sandbox::egress::{Allow, Egress, Limits, Policy, Traffic};
use quire_sandbox::protocol::{FromHand, Port, ToHand};
use quire_sandbox::{Door, Gate};
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

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
    for (live, devices) in both(stage).into_iter().zip(["lo", "eth0\nlo"]) {
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
        assert_eq!(
            live.yes("tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | grep -v ^ifb | sort"),
            devices
        );
        // There is no route but to the way out.
        let routes = "ip -4 route show 2>/dev/null | grep -v ^198.18.0.0/30; ip -6 route show 2>/dev/null | grep -v 'dev lo'";
        assert_eq!(live.yes(&format!("{routes}; true")), "");
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
        for own in ["socket.AF_INET, '127.0.0.1'", "socket.AF_INET6, '::1'"] {
            live.yes(&format!(
                "python3 -c \"import socket; f, a = {own}; s = socket.create_server((a, 0), family=f); \
                 socket.create_connection((a, s.getsockname()[1]))\""
            ));
        }
    }
}

/// Accepts on a gate's sockets as the host does, and answers each connection with the name of the socket and what it was
/// asked; a datagram comes back as it is.
fn answer(gate: Gate) {
    let Gate { proxy, http, tls, dns, dns_tcp, .. } = gate;
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
            let _ = socket.send_to(&resolved(&asked[..length]), from);
        }
    });
}

/// Answers a question for an address of version 4 with that of the gate, and any other with nothing (RFC 1035).
fn resolved(asked: &[u8]) -> Vec<u8> {
    let name = asked[12..].iter().position(|byte| *byte == 0).unwrap();
    let question = &asked[12..12 + name + 5];
    let is_a = question[name + 1..name + 3] == [0, 1];
    let mut answer = [&asked[..2], &[0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0], question].concat();
    if is_a {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(quire_sandbox::TRANSPARENT.octets());
    }
    answer
}

pub fn the_way_out_is_accepted_outside(stage: &Stage) {
    let [without, with] = both(stage);
    assert!(without.sandbox.gate().is_none());
    answer(with.sandbox.gate().unwrap());
    assert!(with.sandbox.gate().is_none(), "it is given once");
    for (socket, name) in [
        ("198.18.0.1/3128", "proxy"),
        ("198.18.0.1/80", "http"),
        ("198.18.0.1/443", "tls"),
        ("198.18.0.1/53", "dns"),
    ] {
        let ask = format!("exec 3<>/dev/tcp/{socket} && echo -n hello >&3 && cat <&3");
        without.no(&ask);
        assert_eq!(with.yes(&ask), format!("{name} 198.18.0.2 hello"));
    }
    // Nobody inside holds what listens there.
    assert_eq!(with.yes("ls -l /proc/[0-9]*/fd 2>/dev/null | grep -c 'socket:' || true").trim(), "0");
    // And the same ports of the machine are as they were.
    for at in [(Ipv4Addr::LOCALHOST, 3128), (Ipv4Addr::LOCALHOST, 53)] {
        assert!(std::net::TcpStream::connect(at).is_err());
    }
}

/// Holds these ports on every address of both families, as servers do that are set to nothing else, and answers each
/// connection with a word.
const HOLD: &str = "import socket, threading
def serve(s):
    while True:
        c, _ = s.accept()
        c.sendall(b'own'); c.close()
for port in (53, 80, 443, 3128):
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.bind(('', port))
    for s in (socket.create_server(('', port)), socket.create_server(('::', port), family=socket.AF_INET6)):
        threading.Thread(target=serve, args=(s,)).start()
    globals()['u%d' % port] = u
open('/tmp/held', 'w').close()
";

/// What programs listen on is theirs, whatever the way out listens on; and both are reached.
pub fn every_port_is_free_inside(stage: &Stage) {
    let [_, with] = both(stage);
    let gate = with.sandbox.gate().unwrap();
    assert_eq!(gate.shared, None);
    answer(gate);
    fs::write(stage.spec.out.join("hold.py"), HOLD).unwrap();
    let input = serde_json::json!({ "command": "exec python3 /run/quire/out/hold.py", "background": true });
    let call = ToHand::Call { id: 1, tool: "shell".into(), input: input.to_string() };
    with.sandbox.send(&call).unwrap();
    // They are told as they come, maybe not all at once.
    let told = loop {
        if let FromHand::Listening { ports } = with.hear() {
            let numbers: Vec<u16> = ports.iter().map(|port| port.port).collect();
            if numbers.len() >= 4 {
                break numbers;
            }
        }
    };
    assert_eq!(told, [53, 80, 443, 3128]);
    with.yes("while ! [ -e /tmp/held ]; do sleep 0.1; done");
    for port in told {
        for host in ["127.0.0.1", "198.18.0.2", "::1"] {
            assert_eq!(with.yes(&format!("cat < /dev/tcp/{host}/{port}")), "own", "{host} {port}");
        }
        with.sandbox.send(&ToHand::Connect { id: 7, port }).unwrap();
        let socket = loop {
            if let FromHand::Connected { why, socket, .. } = with.hear() {
                break socket.ok_or(why);
            }
        };
        let mut own = socket.unwrap();
        own.set_nonblocking(false).unwrap();
        let mut said = String::new();
        own.read_to_string(&mut said).unwrap();
        assert_eq!(said, "own");
    }
    for (port, name) in [(80, "http"), (443, "tls")] {
        let ask = format!("exec 3<>/dev/tcp/pypi.org/{port} && echo -n hi >&3 && cat <&3");
        assert_eq!(with.yes(&ask), format!("{name} 198.18.0.2 hi"));
    }
    // Nobody takes the place of the way out.
    with.no("python3 -c \"import socket; socket.create_server(('198.18.0.1', 8080))\"");
}

/// A machine may give a sandbox one network and no second one. Then the way out is in it, and takes its ports.
pub fn the_way_out_can_share_a_network(stage: &Stage) {
    crate::ground::refuse_second_network().unwrap();
    let [_, with] = both(stage);
    let gate = with.sandbox.gate().unwrap();
    let why = gate.shared.clone().unwrap();
    assert!(why.starts_with("making a second network: "), "{why}");
    answer(gate);
    for (port, name) in [(80, "http"), (443, "tls")] {
        let ask = format!("exec 3<>/dev/tcp/pypi.org/{port} && echo -n hi >&3 && cat <&3");
        assert_eq!(with.yes(&ask), format!("{name} 198.18.0.1 hi"));
        with.no(&format!("python3 -c \"import socket; socket.create_server(('', {port}))\""));
    }
    assert_eq!(
        with.yes("exec 3<>/dev/tcp/198.18.0.1/3128 && echo -n hi >&3 && cat <&3"),
        "proxy 198.18.0.1 hi"
    );
}

/// One question at a time, or both at once and whichever answer comes first, as musl and Go ask.
const LOOK_UP: &str = "import socket, sys
server = [l.split()[1] for l in open('/etc/resolv.conf') if l.startswith('nameserver')][0]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(20)
name = b''.join(bytes([len(p)]) + p.encode() for p in sys.argv[1].split('.')) + b'\\0'
for id, kind in ((1, 28), (2, 1)):
    s.sendto(bytes([0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]) + name + bytes([0, kind, 0, 1]), (server, 53))
for _ in range(2):
    answer = s.recv(512)
    if answer[7]: print('.'.join(map(str, answer[-4:])))
";

pub fn names_are_resolved_by_the_way_out(stage: &Stage) {
    let [without, with] = both(stage);
    fs::write(stage.spec.out.join("look_up.py"), LOOK_UP).unwrap();
    answer(with.sandbox.gate().unwrap());
    let switches = [
        "files dns",
        "mymachines mdns4_minimal [NOTFOUND=return] resolve [!UNAVAIL=return] files myhostname dns",
    ];
    for (live, server) in [(&with, "198.18.0.1"), (&without, "127.0.0.1")] {
        assert_eq!(live.yes("grep -v ^options /etc/resolv.conf"), format!("nameserver {server}"));
        assert!(live.yes("getent hosts localhost; getent hosts quire").contains("127.0.0.1"));
        // Nothing of the machine's own network is told.
        let told = "! grep -v -e ^127 -e ^::1 /etc/hosts";
        live.yes(told);
        for switch in switches {
            live.yes(&format!("sed -i 's/^hosts:.*/hosts: {switch}/' /etc/nsswitch.conf"));
            let asked = live.run("getent ahostsv4 pypi.org | grep STREAM");
            let expected = "198.18.0.1      STREAM pypi.org";
            assert_eq!(asked.1, if std::ptr::eq(live, &with) { expected } else { "" }, "{switch}");
        }
        live.yes("getent hosts localhost");
    }
    assert_eq!(with.yes("python3 /run/quire/out/look_up.py static.crates.io"), "198.18.0.1");
    // Whoever does not know of the proxy arrives at the same door.
    assert_eq!(with.yes("exec 3<>/dev/tcp/pypi.org/443 && echo -n hi >&3 && cat <&3"), "tls 198.18.0.2 hi");
    // What is laid out can be replaced, as packages do, and is no change of the agent's.
    with.sandbox.end().unwrap();
    let laid = quire_sandbox::layer::machine(&stage.base.join("data/layer-2"), Path::new("/"));
    let user = quire_sandbox::layer::machine(&stage.base.join("data/layer-2"), Path::new("/etc"));
    for layer in [laid.join("etc"), user] {
        assert!(!layer.join("resolv.conf").exists() && !layer.join("hosts").exists());
    }
    without.yes("echo 'nameserver 192.0.2.1' > /etc/new && mv /etc/new /etc/resolv.conf && rm /etc/hosts");
}

pub fn programs_are_told_of_the_way_out(stage: &Stage) {
    let mut spec = stage.spec.clone();
    for (name, value) in
        [("http_proxy", "http://proxy.corp:8080"), ("NO_PROXY", ".corp"), ("PIP_CERT", "/etc/own.pem")]
    {
        spec.env.push((name.into(), value.into()));
    }
    fs::write(stage.spec.out.join("connect.py"), CONNECT).unwrap();
    let told = "env | grep -i -E 'proxy|_ca|cert' | sort";
    let live = Live::start(&spec).unwrap();
    assert_eq!(live.yes(told), "PIP_CERT=/etc/own.pem");
    live.yes("test -z \"$SSH_AUTH_SOCK$DBUS_SESSION_BUS_ADDRESS$GPG_AGENT_INFO\"");
    drop(live);

    spec.gate = Some(Door::default());
    let live = Live::start(&spec).unwrap();
    let proxies = "ALL_PROXY=http://198.18.0.1:3128\nHTTPS_PROXY=http://198.18.0.1:3128\nHTTP_PROXY=http://198.18.0.1:3128\n\
        NODE_USE_ENV_PROXY=1\nNO_PROXY=localhost,127.0.0.1,::1\nPIP_CERT=/etc/own.pem\nall_proxy=http://198.18.0.1:3128\n\
        http_proxy=http://198.18.0.1:3128\nhttps_proxy=http://198.18.0.1:3128\nno_proxy=localhost,127.0.0.1,::1";
    let mut expected: Vec<&str> = proxies.split('\n').collect();
    let sorted = |text: &str| {
        let mut all: Vec<String> = text.lines().map(str::to_owned).collect();
        all.sort();
        all
    };
    expected.sort_unstable();
    assert_eq!(sorted(&live.yes(told)), expected);
    // Without the variables, or with others, there is no other way.
    for other in [
        "env -u http_proxy -u https_proxy",
        "env no_proxy='*' NO_PROXY='*'",
        "env http_proxy=http://192.0.2.1:80 ",
    ] {
        live.yes(&format!(
            "{other} python3 /run/quire/out/connect.py STREAM 192.0.2.1 80 | grep ENETUNREACH"
        ));
    }
}

pub fn the_authority_is_trusted_inside_only(stage: &Stage) {
    let authority = "-----BEGIN CERTIFICATE-----\nquire's own\n-----END CERTIFICATE-----\n";
    let bundle = "/etc/ssl/certs/ca-certificates.crt";
    let own = stage.base.join("own.pem");
    fs::write(&own, "own\n").unwrap();
    let real = fs::read(bundle).unwrap();
    let mut spec = stage.spec.clone();
    spec.gate = Some(Door { authority: Some(authority.to_owned()) });
    spec.env.push(("REQUESTS_CA_BUNDLE".into(), own.to_str().unwrap().into()));
    let live = Live::start(&spec).unwrap();
    for (variable, file) in [
        ("SSL_CERT_FILE", bundle),
        ("PIP_CERT", bundle),
        ("GIT_SSL_CAINFO", bundle),
        ("CARGO_HTTP_CAINFO", bundle),
        ("CURL_CA_BUNDLE", bundle),
        ("REQUESTS_CA_BUNDLE", own.to_str().unwrap()),
        ("NODE_EXTRA_CA_CERTS", "/usr/local/share/ca-certificates/quire.crt"),
    ] {
        assert_eq!(live.yes(&format!("echo ${variable}")), file);
        live.yes(&format!("tail -n3 ${variable} | grep \"quire's own\""));
    }
    assert_eq!(live.yes("head -n1 $REQUESTS_CA_BUNDLE"), "own");
    live.yes(&format!("cmp -n {} {bundle} - < {bundle}", real.len()));
    // As the tool that makes it anew does.
    live.yes(&format!("cp {bundle} /etc/ssl/certs/new && mv -f /etc/ssl/certs/new {bundle}"));
    live.sandbox.end().unwrap();
    assert_eq!(fs::read(bundle).unwrap(), real);
    assert_eq!(fs::read(&own).unwrap(), b"own\n");
    let live = stage.start();
    live.no("ls /usr/local/share/ca-certificates/quire.crt");
}

/// What listens inside is told, and reached only through the hand.
pub fn ports_are_reached_through_the_hand_only(stage: &Stage) {
    let mut spec = stage.spec.clone();
    spec.gate = Some(Door::default());
    let live = Live::start(&spec).unwrap();
    // It may be told before the call is done.
    let listening_after = |command: &str| {
        let input = serde_json::json!({ "command": command, "background": true }).to_string();
        live.sandbox.send(&ToHand::Call { id: 1, tool: "shell".into(), input }).unwrap();
        loop {
            if let FromHand::Listening { ports } = live.hear() {
                return ports;
            }
        }
    };
    live.yes("echo hello > /tmp/page");
    let ports = listening_after("cd /tmp && echo $$ > pid && exec python3 -m http.server 8123");
    assert_eq!(ports, [Port { port: 8123, program: "python3".into() }]);
    let connect = |id, port| {
        live.sandbox.send(&ToHand::Connect { id, port }).unwrap();
        loop {
            if let FromHand::Connected { id: answered, why, socket } = live.hear() {
                assert_eq!(answered, id);
                return socket.ok_or(why);
            }
        }
    };
    let mut page = connect(7, 8123).unwrap();
    page.set_nonblocking(false).unwrap();
    page.write_all(b"GET /page HTTP/1.0\r\n\r\n").unwrap();
    let mut got = String::new();
    page.read_to_string(&mut got).unwrap();
    assert!(got.starts_with("HTTP/1.0 200") && got.ends_with("\r\n\r\nhello\n"), "{got}");
    assert!(connect(8, 8124).unwrap_err().contains("refused"));
    // The same port of the machine is nobody's.
    assert!(std::net::TcpStream::connect(("127.0.0.1", 8123)).is_err());
    assert_eq!(listening_after("kill $(cat /tmp/pid)"), []);
}

/// The real tools and the real registries, with the real judge of what may be reached.
pub fn package_managers_work_through_the_way_out(stage: &Stage) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _entered = runtime.enter();
    let (heard, traffic) = std::sync::mpsc::channel();
    let policy = Policy {
        allow: Allow::Only { registries: true, hosts: Vec::new() },
        named: Vec::new(),
        brokered: Vec::new(),
        limits: Limits::default(),
        upstream: None,
    };
    let egress = Egress::new(policy, move |traffic| drop(heard.send(traffic))).unwrap();
    let mut spec = stage.spec.clone();
    spec.gate = Some(Door { authority: egress.authority().map(str::to_owned) });
    // A home is hidden, and the cargo that builds this test may lie in one.
    fs::rename(stage.base.join("cargo"), stage.spec.out.join("cargo")).unwrap();
    // It asks only which compiler there is.
    let arch = std::env::consts::ARCH;
    let version = format!("rustc 1.90.0\nbinary: rustc\nhost: {arch}-unknown-linux-gnu\nrelease: 1.90.0");
    let rustc = stage.spec.out.join("rustc");
    fs::write(&rustc, format!("#!/bin/sh\ncat << end\n{version}\nend\n")).unwrap();
    fs::set_permissions(&rustc, fs::Permissions::from_mode(0o755)).unwrap();
    let live = Live::start(&spec).unwrap();
    egress.serve(live.sandbox.gate().unwrap()).unwrap();
    let page = "https://pypi.org/simple/six/";
    let status = "-sS -o /dev/null -w '%{http_code}'";
    let bare = "env -u http_proxy -u https_proxy -u all_proxy -u HTTP_PROXY -u HTTPS_PROXY -u ALL_PROXY";
    for (command, expect) in [
        (format!("curl {status} {page}"), "200"),
        // Whoever does not know of the proxy comes by the name in TLS.
        (format!("{bare} curl {status} {page}"), "200"),
        (format!("{bare} curl {status} http://deb.debian.org/debian/"), "200"),
        // It is asked, and answers that this is no repository.
        ("git ls-remote https://pypi.org/simple 2>&1 || true".into(), "not found"),
        ("/usr/bin/python3 -m pip download -q --no-deps --no-binary :none: -d /tmp/wheels six && ls /tmp/wheels".into(), "six-"),
        ("npm view left-pad version 2>&1".into(), "1."),
        (
            "mkdir -p /tmp/c/src && cd /tmp/c && echo > src/lib.rs && \
             printf '[package]\\nname = \"c\"\\nversion = \"0.1.0\"\\n' > Cargo.toml && \
             RUSTC=/run/quire/out/rustc CARGO_HOME=/tmp/cargo /run/quire/out/cargo add -q itoa && cat Cargo.toml"
                .into(),
            "itoa = ",
        ),
        (
            "echo 'deb http://deb.debian.org/debian bookworm-updates main' > /tmp/list && \
             apt-get update -o Dir::Etc::sourcelist=/tmp/list -o Dir::Etc::sourceparts=- -o APT::Update::Error-Mode=any"
                .into(),
            "bookworm-updates",
        ),
    ] {
        let said = live.yes(&command);
        assert!(said.contains(expect), "{command}: {said}");
    }
    for refused in ["https://example.org/", "https://169.254.169.254/latest", "http://127.0.0.1:22/"] {
        live.no(&format!("curl -sS -f --noproxy '' -m 20 {refused}"));
        live.no(&format!("{bare} curl -sS -f -m 20 {refused}"));
    }
    live.sandbox.end().unwrap();
    drop(egress);
    let all: Vec<Traffic> = traffic.iter().collect();
    for host in ["pypi.org", "registry.npmjs.org", "deb.debian.org"] {
        let reached =
            |one: &Traffic| matches!(one, Traffic::Closed { host: h, down, .. } if h == host && *down > 0);
        assert!(all.iter().any(reached), "{host}: {all:?}");
    }
    assert!(
        all.iter().any(|one| matches!(one, Traffic::Refused { host, .. } if host == "example.org")),
        "{all:?}"
    );
}
