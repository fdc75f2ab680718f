//! The way out of a sandbox, from a program inside to a host outside, through what judges it in between.

use crate::stage::{Live, Stage};
use quire_sandbox::Door;
use quire_sandbox::egress::{Allow, Brokered, Egress, Policy, Refusal, Secret, Traffic};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Fetches a page as `fetch.py URL proxy|direct` and prints what came of it, in one line.
const FETCH: &str = "import os, sys, urllib.request
url, way = sys.argv[1:]
proxy = os.environ['http_proxy']
os.environ.update(no_proxy='', NO_PROXY='')
proxies = {'http': proxy, 'https': proxy} if way == 'proxy' else {}
opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
try:
    answer = opener.open(url, timeout=60)
    print(answer.status, answer.read().decode())
except urllib.error.HTTPError as e:
    print(e.code, e.read().decode())
except OSError as e:
    print(e)
";

/// Answers every connection with a short page.
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

fn next(heard: &Receiver<Traffic>) -> Traffic {
    heard.recv_timeout(Duration::from_secs(60)).expect("to be told of each connection")
}

/// E02, E06, E08, E27 and the rest of E, from inside: what is named is reached, and nothing else is.
pub fn what_leaves_is_judged_outside(stage: &Stage) {
    let (open, closed) = (page(), TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
    let secret = Brokered {
        name: "TOKEN".into(),
        placeholder: "placeholder-of-token".into(),
        value: Secret::new("value-of-token").unwrap(),
        hosts: vec![format!("127.0.0.1:{closed}")],
    };
    let hosts = vec![format!("127.0.0.1:{open}")];
    let allow = Allow::Only { registries: true, hosts };
    let (tell, heard) = channel();
    let policy = Policy { allow, brokered: vec![secret], ..Policy::default() };
    let egress = Egress::new(policy, move |traffic| drop(tell.send(traffic))).unwrap();
    fs::write(stage.spec.out.join("fetch.py"), FETCH).unwrap();
    let mut spec = stage.spec.clone();
    spec.gate = Some(Door { authority: egress.authority().map(str::to_owned) });
    let live = Live::start(&spec).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _within = runtime.enter();
    egress.serve(live.sandbox.gate().unwrap()).unwrap();
    let fetch = |url: &str, way: &str| live.yes(&format!("python3 /run/quire/out/fetch.py {url} {way}"));

    assert_eq!(fetch(&format!("http://127.0.0.1:{open}/"), "proxy"), "200 hello");
    assert!(matches!(next(&heard), Traffic::Closed { port, up: 1.., down: 1.., .. } if port == open));
    // The port is the host's own; the same one inside is nobody's.
    assert!(fetch(&format!("http://127.0.0.1:{open}/"), "direct").contains("Connection refused"));

    let not_listed = "is not on this task's list of hosts. The person was asked";
    for (url, way, expected, port) in [
        ("http://evil.example/", "proxy", not_listed, 80),
        ("http://evil.example/", "direct", not_listed, 80),
        ("https://evil.example/", "proxy", not_listed, 443),
        ("https://evil.example/", "direct", "access denied", 443),
    ] {
        let said = fetch(url, way);
        assert!(said.contains(expected), "{url} {way}: {said}");
        let refused = Traffic::Refused { host: "evil.example".into(), port, why: Refusal::NotListed };
        assert_eq!(next(&heard), refused, "{url} {way}");
    }
    for host in ["169.254.169.254", "2852039166", "0xa9fea9fe", "[fd00:ec2::254]", "10.0.0.1", "localhost"] {
        let said = fetch(&format!("http://{host}/"), "proxy");
        assert!(said.starts_with("403 quire: ") && said.contains("not a public address"), "{host}: {said}");
        assert!(matches!(next(&heard), Traffic::Refused { why: Refusal::Private(_), .. }), "{host}");
    }
    assert!(live.yes("getent ahostsv4 data.evil.example").starts_with("198.18.0.1"));

    // Its authority is trusted: what is said comes from inside of TLS, and a person's answer holds at once.
    let said = fetch(&format!("https://127.0.0.1:{closed}/"), "proxy");
    assert!(said.contains(&format!("502 quire: 127.0.0.1:{closed} could not be reached")), "{said}");
    assert!(matches!(next(&heard), Traffic::Closed { address: None, .. }));
    egress.deny("127.0.0.1", open);
    assert!(fetch(&format!("http://127.0.0.1:{open}/"), "proxy").contains("was denied"));

    drop(egress);
    let said = fetch("http://evil.example/", "proxy");
    // With its sockets goes the network that they were in.
    let gone = ["unreachable", "refused", "reset", "closed"];
    assert!(gone.iter().any(|word| said.contains(word)), "{said}");
}
