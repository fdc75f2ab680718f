//! Who gets out, and how a program is told that it does not.

use super::world::*;
use crate::egress::hello::tests::{fragmented, hello};
use crate::egress::{Allow, Policy, Refusal, Traffic};
use proptest::prelude::*;
use std::collections::BTreeMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

fn all() -> Policy {
    Policy { allow: Allow::All, ..Policy::default() }
}

#[tokio::test]
async fn a_listed_host_is_reached_by_each_of_the_ways() {
    let http = http_host().await;
    let raw = echo_host().await;
    let mut world = World::new(only(&["up.example", "up.example:9000"]), &[("up.example", http)]);
    let (status, text) = world.get("http://up.example/a?b=c").await;
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("GET /a?b=c\n") && text.contains("host: up.example\n"), "{text}");
    assert!(
        matches!(world.heard().await, Traffic::Closed { host, port: 80, address: Some(_), up: 1.., down: 1.., .. } if host == "up.example")
    );

    let mut stream = connect(world.http).await;
    let (status, text) = exchange(&mut stream, "GET /x HTTP/1.1\r\nHost: up.example\r\n\r\n").await;
    assert!(status == 200 && text.contains("GET /x\n"), "{text}");
    drop(stream);
    world.heard().await;

    let (status, _, mut stream) = world.tunnel("up.example:80").await;
    assert_eq!(status, 200);
    let (status, text) = exchange(&mut stream, "GET /y HTTP/1.1\r\nHost: up.example\r\n\r\n").await;
    assert!(status == 200 && text.contains("GET /y\n"), "{text}");

    let mut world = World::new(only(&["up.example", "up.example:9000"]), &[("up.example", raw)]);
    let (status, _, mut stream) = world.tunnel("up.example:9000").await;
    assert_eq!(status, 200);
    stream.write_all(b"anything").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await, b"anything");
    assert_eq!(world.heard_text().await, "up.example:9000 8 8");

    for (name, listener) in [("tls", world.tls), ("proxy", world.proxy)] {
        let mut stream =
            if name == "tls" { connect(listener).await } else { world.tunnel("up.example:443").await.2 };
        let said = fragmented(&hello("up.example"), 100);
        stream.write_all(&said).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(rest(&mut stream).await, said, "{name}: passed on as it was said");
        assert!(world.heard_text().await.starts_with("up.example:443 "), "{name}");
    }
}

#[tokio::test]
async fn a_server_that_speaks_first_is_heard() {
    let world = World::new(only(&["up.example:5000"]), &[("up.example", named_host("220 ready").await)]);
    let (status, _, mut stream) = world.tunnel("up.example:5000").await;
    assert_eq!(status, 200);
    let mut said = [0; 9];
    soon(stream.read_exact(&mut said)).await.unwrap();
    assert_eq!(&said, b"220 ready");
}

#[tokio::test]
async fn e27_a_name_that_is_not_listed_is_refused_before_it_is_looked_up() {
    let mut world = World::new(only(&["up.example"]), &[]);
    let words = "quire: data.evil.example:443 is not on this task's list of hosts. The person was asked; go on with something \
                 else, or end your turn and say what you need.";
    let (status, text, _) = world.tunnel("data.evil.example:443").await;
    assert_eq!(status, 403);
    assert!(
        text.starts_with(&format!("HTTP/1.1 403 {words}\r\n"))
            && text.ends_with(&format!("\r\n\r\n{words}\n")),
        "{text}"
    );
    let not_listed =
        |port| Traffic::Refused { host: "data.evil.example".into(), port, why: Refusal::NotListed };
    assert_eq!(world.heard().await, not_listed(443));
    assert_eq!(world.get("http://data.evil.example/").await.0, 403);
    assert_eq!(world.heard().await, not_listed(80));
    let mut stream = connect(world.http).await;
    assert_eq!(exchange(&mut stream, "GET / HTTP/1.1\r\nHost: data.evil.example\r\n\r\n").await.0, 403);
    assert_eq!(world.heard().await, not_listed(80));
    let mut stream = connect(world.tls).await;
    stream.write_all(&hello("data.evil.example")).await.unwrap();
    assert_eq!(rest(&mut stream).await, [21, 3, 3, 0, 2, 2, 49], "access denied, in TLS");
    assert_eq!(world.heard().await, not_listed(443));
    let (code, _) = socks(&world, &[1, 0, 3, 17], b"data.evil.example", 443).await;
    assert_eq!(code, 2);
    assert_eq!(world.heard().await, not_listed(443));
    assert!(world.asked().is_empty(), "{:?}", world.asked());
}

#[tokio::test]
async fn e06_metadata_is_refused_however_it_is_written() {
    let metadata = "169.254.169.254:80".parse().unwrap();
    let places = [("x.metadata.example", metadata), ("up.example", http_host().await)];
    for policy in [all(), only(&["up.example", "*.metadata.example"])] {
        let mut world = World::new(policy, &places);
        for host in [
            "169.254.169.254",
            "169.254.169.254.",
            "2852039166",
            "0xA9FEA9FE",
            "0251.0376.0251.0376",
            "169.254.43518",
            "[::ffff:169.254.169.254]",
            "[::ffff:a9fe:a9fe]",
            "[fd00:ec2::254]",
            "[64:ff9b::a9fe:a9fe]",
            "[2002:a9fe:a9fe::]",
            "100.100.100.200",
            "x.metadata.example",
        ] {
            for port in [80, 443] {
                let (status, text, _) = world.tunnel(&format!("{host}:{port}")).await;
                assert_eq!(status, 403, "{host}:{port} {text}");
                assert!(
                    matches!(world.heard().await, Traffic::Refused { why: Refusal::Private(_), .. }),
                    "{host}"
                );
            }
            let (status, text) = world.get(&format!("http://{host}/latest/meta-data/")).await;
            assert_eq!(status, 403, "{host} {text}");
            assert!(
                matches!(world.heard().await, Traffic::Refused { why: Refusal::Private(_), .. }),
                "{host}"
            );
        }
    }
    // By a redirect, on the connection that is kept.
    let world = World::new(only(&["up.example"]), &places);
    let mut stream = connect(world.proxy).await;
    let (status, text) =
        exchange(&mut stream, "GET http://up.example/redirect HTTP/1.1\r\nHost: up.example\r\n\r\n").await;
    assert_eq!(status, 302);
    let location = text.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
    let (status, _) =
        exchange(&mut stream, &format!("GET {location} HTTP/1.1\r\nHost: up.example\r\n\r\n")).await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn e06_a_near_host_is_reached_by_its_name_alone() {
    let near = http_host().await;
    let world = World::new(all(), &[("near.example", near)]);
    assert_eq!(world.get("http://near.example/").await.0, 403, "loopback, not named");
    assert_eq!(world.get(&format!("http://{near}/")).await.0, 403);
    let world = World::new(only(&["near.example"]), &[("near.example", near), ("other.example", near)]);
    assert_eq!(world.get("http://near.example/").await.0, 200);
    assert_eq!(world.get("http://other.example/").await.0, 403);
    let world = World::new(only(&[&near.to_string()]), &[]);
    assert_eq!(world.get(&format!("http://{near}/")).await.0, 200, "named by its address");
    // An answer is not a name: the person saw what somebody else may point anywhere.
    let world = World::new(only(&[]), &[("asked.example", near)]);
    let egress = world.egress.as_ref().unwrap();
    egress.allow("asked.example", 80);
    assert_eq!(world.get("http://asked.example/").await.0, 403);
    egress.allow("127.0.0.1", near.port());
    assert_eq!(world.get(&format!("http://{near}/")).await.0, 200);
}

#[tokio::test]
async fn e09_what_a_tunnel_asks_for_is_what_was_asked_for() {
    let far = named_host("").await;
    let policy = || only(&["up.example", "other.example", "up.example:9000", "203.0.113.9"]);
    let mut world = World::new(policy(), &[("up.example", far), ("other.example", far)]);
    let other = hello("other.example");
    let rows: [(&str, Vec<u8>, &str); 6] = [
        (
            "another listed name",
            other.clone(),
            "up.example:443 was asked for, but the connection names other.example",
        ),
        (
            "the same in pieces",
            fragmented(&other, 3),
            "up.example:443 was asked for, but the connection names other.example",
        ),
        (
            "an outer name of ECH",
            hello("cloudflare-ech.example"),
            "up.example:443 was asked for, but the connection names cloudflare-ech.example",
        ),
        (
            "no name",
            hello("203.0.113.9"),
            "up.example:443 was asked for, but the connection does not name it",
        ),
        (
            "SSH",
            b"SSH-2.0-x\r\n".to_vec(),
            "up.example:443 was asked for, but the connection does not name it",
        ),
        (
            "HTTP",
            b"GET / HTTP/1.1\r\nHost: up.example\r\n\r\n".to_vec(),
            "up.example:443 was asked for, but the connection does not name it",
        ),
    ];
    for (what, said, expected) in rows {
        let (status, _, mut stream) = world.tunnel("up.example:443").await;
        assert_eq!(status, 200);
        stream.write_all(&said).await.unwrap();
        assert_eq!(
            rest(&mut stream).await,
            [21, 3, 3, 0, 2, 2, 112],
            "{what}: nothing came back but an alert"
        );
        assert_eq!(world.heard_text().await, expected, "{what}");
    }
    // On another port, what begins as TLS names the host as well.
    let (_, _, mut stream) = world.tunnel("up.example:9000").await;
    stream.write_all(&other).await.unwrap();
    assert_eq!(rest(&mut stream).await, [21, 3, 3, 0, 2, 2, 112]);
    assert!(world.heard_text().await.ends_with("names other.example"));
    // Without a tunnel, who names nothing gets nothing.
    let mut stream = connect(world.tls).await;
    stream.write_all(&hello("203.0.113.9")).await.unwrap();
    assert_eq!(rest(&mut stream).await, [21, 3, 3, 0, 2, 2, 112]);
    assert_eq!(world.heard_text().await, ":443 was asked for, but the connection does not name it");
}

#[tokio::test]
async fn e10_requests_in_a_tunnel_to_port_80_are_for_its_host() {
    let mut world = World::new(only(&["up.example", "other.example"]), &[("up.example", http_host().await)]);
    let (_, _, mut stream) = world.tunnel("up.example:80").await;
    assert_eq!(exchange(&mut stream, "GET / HTTP/1.1\r\nHost: up.example\r\n\r\n").await.0, 200);
    assert_eq!(exchange(&mut stream, "GET / HTTP/1.1\r\nHost: other.example\r\n\r\n").await.0, 403);
    assert_eq!(
        world.heard_text().await,
        "up.example:80 was asked for, but the connection names other.example"
    );
    assert_eq!(
        exchange(&mut stream, "GET http://other.example/ HTTP/1.1\r\nHost: up.example\r\n\r\n").await.0,
        403
    );
    assert_eq!(
        exchange(&mut stream, "GET / HTTP/1.1\r\nHost: up.example\r\nHost: other.example\r\n\r\n").await.0,
        403
    );
    assert_eq!(
        exchange(&mut stream, "CONNECT other.example:443 HTTP/1.1\r\nHost: other.example\r\n\r\n").await.0,
        405
    );
}

#[tokio::test]
async fn e12_a_suffix_is_not_matched_by_what_only_looks_like_it() {
    let mut world = World::new(only(&["*.up.example"]), &[]);
    for host in
        ["evil-up.example", "up.example", "a.up.example.evil", "up.example.evil", "a.up.example@evil.example"]
    {
        assert_eq!(world.get(&format!("http://{host}/")).await.0, 403, "{host}");
        assert_eq!(world.tunnel(&format!("{host}:443")).await.0, 403, "{host}");
        world.heard().await;
        world.heard().await;
    }
    assert!(world.asked().is_empty());
}

#[tokio::test]
async fn e13_the_address_that_was_judged_is_the_one_that_is_dialled() {
    let (first, second) = (named_host("first").await, named_host("second").await);
    let places = [("up.example", vec![first, second])].into();
    let world = World::with(only(&["up.example:7000"]), places, Vec::new());
    let (_, _, mut stream) = world.tunnel("up.example:7000").await;
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await, b"first");
    assert_eq!(world.asked(), ["up.example"], "looked up once");
    let (_, _, mut stream) = world.tunnel("up.example:7000").await;
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await, b"second", "the next connection is judged by where the name is then");
    // A name that a person allowed, and that has become this machine's.
    let places = [("up.example", vec![second])].into();
    let mut world = World::with(only(&[]), places, Vec::new());
    world.egress.as_ref().unwrap().allow("up.example", 443);
    assert_eq!(world.tunnel("up.example:443").await.0, 403);
    assert!(matches!(world.heard().await, Traffic::Refused { why: Refusal::Private(_), .. }));
}

#[tokio::test]
async fn e15_other_ports_are_refused() {
    for policy in [only(&["up.example", "pypi.org"]), all()] {
        let mut world = World::new(policy, &[]);
        for port in [1, 21, 22, 23, 25, 110, 143, 465, 587, 993, 6379, 8080, 65535] {
            let (status, text, _) = world.tunnel(&format!("up.example:{port}")).await;
            assert_eq!(status, 403, "{port}");
            assert_eq!(text.contains("use https:// in place of SSH"), port < 1024, "{port}");
            world.heard().await;
        }
        assert_eq!(world.get("http://up.example:25/").await.0, 403);
        assert!(world.asked().is_empty());
    }
}

/// Speaks SOCKS5 to the proxy: `head` is command, reserved, kind and, for a name, its length.
async fn socks(world: &World, head: &[u8], host: &[u8], port: u16) -> (u8, tokio::net::TcpStream) {
    let mut stream = connect(world.proxy).await;
    stream.write_all(&[5, 1, 0]).await.unwrap();
    let mut method = [0; 2];
    soon(stream.read_exact(&mut method)).await.unwrap();
    assert_eq!(method, [5, 0]);
    stream.write_all(&[&[5], head, host, &port.to_be_bytes()].concat()).await.unwrap();
    let mut reply = [0; 10];
    match soon(stream.read_exact(&mut reply)).await {
        Ok(_) => (reply[1], stream),
        Err(_) => (u8::MAX, stream),
    }
}

#[tokio::test]
async fn e16_socks_connects_and_does_nothing_else() {
    let far = echo_host().await;
    let mut world = World::new(only(&["up.example:9000", "up.example"]), &[("up.example", far)]);
    let name = b"up.example";
    let by_name = |command| [command, 0, 3, name.len() as u8];
    let (code, mut stream) = socks(&world, &by_name(1), name, 9000).await;
    assert_eq!(code, 0);
    stream.write_all(b"anything").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await, b"anything");
    assert_eq!(world.heard_text().await, "up.example:9000 8 8");
    // To 443, TLS must name the host.
    let (code, mut stream) = socks(&world, &by_name(1), name, 443).await;
    assert_eq!(code, 0);
    stream.write_all(&hello("other.example")).await.unwrap();
    assert_eq!(rest(&mut stream).await, [21, 3, 3, 0, 2, 2, 112]);
    world.heard().await;
    // Command, kind and length; host; code
    let rows: [(&str, Vec<u8>, &[u8], u8); 11] = [
        ("BIND", by_name(2).to_vec(), name, 7),
        ("UDP ASSOCIATE", by_name(3).to_vec(), name, 7),
        ("no command", by_name(9).to_vec(), name, 7),
        ("metadata", vec![1, 0, 1], &[169, 254, 169, 254], 2),
        (
            "metadata in IPv6",
            vec![1, 0, 4],
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 169, 254, 169, 254],
            2,
        ),
        ("this machine", vec![1, 0, 1], &[127, 0, 0, 1], 2),
        ("a NUL", vec![1, 0, 3, 13], b"up.example\0.x", 1),
        ("a NUL before a listed name", vec![1, 0, 3, 15], b"evil\0up.example", 1),
        ("percent", vec![1, 0, 3, 13], b"up%2eexample.", 1),
        ("no text", vec![1, 0, 3, 3], &[0xff, 0xfe, 0xfd], 1),
        ("nothing", vec![1, 0, 3, 0], b"", 1),
    ];
    for (what, head, host, expected) in rows {
        assert_eq!(socks(&world, &head, host, 443).await.0, expected, "{what}");
        assert!(matches!(world.heard().await, Traffic::Refused { .. }), "{what}");
    }
    assert_eq!(socks(&world, &[1, 0, 7], b"", 443).await.0, u8::MAX, "an address of no kind");
    // Who wants to log in is told that there is no login.
    let mut stream = connect(world.proxy).await;
    stream.write_all(&[5, 1, 2]).await.unwrap();
    assert_eq!(rest(&mut stream).await, [5, 0xff]);
}

#[tokio::test]
async fn e17_a_relay_inside_is_under_the_same_rules() {
    let world = World::new(only(&["up.example"]), &[("up.example", http_host().await)]);
    // To the proxy through the proxy: it is this machine.
    for host in [
        world.proxy.to_string(),
        format!("localhost:{}", world.proxy.port()),
        "[::1]:3128".into(),
        "198.18.0.1:3128".into(),
    ] {
        assert_eq!(world.tunnel(&host).await.0, 403, "{host}");
    }
    // Who passes another's CONNECT on is asked for what that asks for.
    let (status, _, mut stream) = world.tunnel("up.example:80").await;
    assert_eq!(status, 200);
    assert_eq!(
        exchange(&mut stream, "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n").await.0,
        405
    );
}

#[tokio::test]
async fn who_looked_a_name_up_inside_is_asked_for_it_again() {
    let mut world = World::new(only(&["up.example"]), &[("up.example", http_host().await)]);
    let (_, _, mut stream) = world.tunnel("198.18.0.1:80").await;
    assert_eq!(exchange(&mut stream, "GET / HTTP/1.1\r\nHost: up.example\r\n\r\n").await.0, 200);
    assert_eq!(exchange(&mut stream, "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n").await.0, 403);
    assert_eq!(world.heard_text().await, "evil.example:80 is not on this task's list of hosts");
    let (code, mut stream) = socks(&world, &[1, 0, 1], &[198, 18, 0, 1], 443).await;
    assert_eq!(code, 0);
    stream.write_all(&hello("evil.example")).await.unwrap();
    assert_eq!(rest(&mut stream).await, [21, 3, 3, 0, 2, 2, 49]);
}

#[tokio::test]
async fn e20_no_header_opens_anything_and_none_of_the_hop_is_passed_on() {
    let world = World::new(only(&["up.example"]), &[("up.example", http_host().await)]);
    let forged = "X-Forwarded-Host: up.example\r\nX-Original-Host: up.example\r\nX-Sandbox: allow\r\nProxy-Authorization: Basic eDp5\r\n";
    let (status, _) = world
        .request(&format!("GET http://evil.example/ HTTP/1.1\r\nHost: up.example\r\n{forged}\r\n"))
        .await;
    assert_eq!(status, 403);
    let (status, text) = world
        .request(&format!(
            "GET http://up.example/ HTTP/1.1\r\nHost: evil.example\r\nConnection: x-secret, host\r\nX-Secret: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n\
             Proxy-Connection: keep-alive\r\nX-Kept: 1\r\n{forged}\r\n"
        ))
        .await;
    assert_eq!(status, 200);
    let body = text.split("\r\n\r\n").nth(1).unwrap();
    assert!(body.contains("host: up.example\n") && body.contains("x-kept: 1\n"), "{body}");
    for gone in ["evil", "x-secret", "keep-alive", "proxy-", "te:", "connection:"] {
        assert!(!body.contains(gone), "{gone} in {body}");
    }
}

#[tokio::test]
async fn each_request_on_a_kept_connection_is_judged() {
    let (one, two) = (http_host().await, http_host().await);
    let mut world =
        World::new(only(&["one.example", "two.example"]), &[("one.example", one), ("two.example", two)]);
    let mut stream = connect(world.proxy).await;
    let hosts = [("one", 200), ("one", 200), ("two", 200), ("evil", 403), ("one", 200)];
    for (host, expected) in hosts {
        let request = format!("GET http://{host}.example/ HTTP/1.1\r\nHost: {host}.example\r\n\r\n");
        assert_eq!(exchange(&mut stream, &request).await.0, expected, "{host}");
    }
    assert_eq!(
        world.asked(),
        ["one.example", "two.example", "one.example"],
        "a connection serves more than one request"
    );
    // Also what was allowed a moment ago.
    world.egress.as_ref().unwrap().deny("one.example", 80);
    let (status, text) =
        exchange(&mut stream, "GET http://one.example/ HTTP/1.1\r\nHost: one.example\r\n\r\n").await;
    assert!(status == 403 && text.contains("was denied"), "{text}");
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(world.heard_text().await.split(' ').next().unwrap().to_owned());
    }
    seen.sort();
    assert_eq!(seen, ["evil.example:80", "one.example:80", "one.example:80", "two.example:80"]);
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_order() {
    let world = World::new(only(&["up.example"]), &[("up.example", http_host().await)]);
    let mut stream = connect(world.proxy).await;
    let request = |path: &str| format!("GET http://up.example/{path} HTTP/1.1\r\nHost: up.example\r\n\r\n");
    let (_, first) = exchange(&mut stream, &(request("1") + &request("2"))).await;
    let (_, second) = exchange(&mut stream, &request("3")).await;
    let (_, third) = exchange(&mut stream, "").await;
    assert!(first.contains("GET /1\n") && second.contains("GET /2\n") && third.contains("GET /3\n"));
}

#[tokio::test]
async fn an_answer_holds_for_the_running_sandbox() {
    let far = echo_host().await;
    let world = World::new(Policy { named: vec!["x.example".into()], ..only(&[]) }, &[("up.example", far)]);
    let egress = world.egress.as_ref().unwrap();
    assert_eq!(world.tunnel("up.example:443").await.0, 403);
    egress.allow("Up.Example.", 443);
    // Loopback is all there is here, and an answer does not open that: but it was judged by address, after a lookup.
    assert!(world.tunnel("up.example:443").await.1.contains("not a public address"));
    egress.deny("up.example", 443);
    assert!(world.tunnel("up.example:443").await.1.contains("was denied"));
}

#[tokio::test]
async fn odd_requests_are_answered_and_nothing_leaves() {
    let mut world = World::new(only(&["up.example"]), &[]);
    let rows = [
        ("GET / HTTP/1.1\r\nHost: up.example\r\n\r\n", 400),
        ("GET https://up.example/ HTTP/1.1\r\nHost: up.example\r\n\r\n", 400),
        ("GET ftp://up.example/ HTTP/1.1\r\nHost: up.example\r\n\r\n", 400),
        ("CONNECT up.example HTTP/1.1\r\nHost: up.example\r\n\r\n", 403),
        ("CONNECT up.example:0 HTTP/1.1\r\nHost: up.example\r\n\r\n", 403),
        ("CONNECT user@up.example:443 HTTP/1.1\r\nHost: up.example\r\n\r\n", 403),
        ("GET http://up%2eexample/ HTTP/1.1\r\nHost: up.example\r\n\r\n", 400),
        ("GET http://user@up.example/ HTTP/1.1\r\nHost: up.example\r\n\r\n", 403),
        ("CONNECT up.example\0.evil:443 HTTP/1.1\r\n\r\n", 400),
        (
            "GET http://up.example/ HTTP/1.1\r\nHost: up.example\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            400,
        ),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        ("nonsense\r\n\r\n", 400),
    ];
    for (request, expected) in rows {
        let (status, text) = world.request(request).await;
        assert!(status == expected || (expected == 400 && status == 0), "{request:?}: {status} {text}");
    }
    assert!(world.asked().is_empty());
    // A host that cannot be found is not a refusal.
    while !world.nothing_heard() {}
    let (status, text) = world.get("http://up.example/").await;
    assert!(status == 502 && text.contains("up.example:80 could not be reached"), "{text}");
    assert_eq!(world.heard_text().await, "up.example:80 0 0");
}

#[tokio::test]
async fn a_request_that_says_its_length_twice_hides_no_other() {
    let world = World::new(only(&["up.example"]), &[("up.example", http_host().await)]);
    let hidden = "GET http://up.example/hidden HTTP/1.1\r\nHost: up.example\r\n\r\n";
    let smuggling = format!(
        "POST http://up.example/a HTTP/1.1\r\nHost: up.example\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
        hidden.len() + 5
    );
    let mut stream = connect(world.proxy).await;
    let (status, text) = exchange(&mut stream, &smuggling).await;
    let passed_on = text.split("\r\n\r\n").nth(1).unwrap();
    assert!(status == 400 || status == 200 && !passed_on.contains("content-length:"), "{text}");
    // What was hidden is a request like any other, and judged like any other; or the connection is over.
    let (status, text) = exchange(&mut stream, "").await;
    assert!(status == 0 || text.contains("GET /hidden\n"), "{status} {text}");
}

#[tokio::test]
async fn a_response_that_says_its_length_twice_is_passed_on_whole() {
    let far = host(|mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let both = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        let _ = stream.write_all(both.as_bytes()).await;
    })
    .await;
    let world = World::new(only(&["up.example"]), &[("up.example", far)]);
    let (status, text) = world.get("http://up.example/").await;
    assert!(status == 200 && text.ends_with("hello"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Bytes that look like something, cut and changed: whatever comes of it, only the listed name is ever looked up.
    #[test]
    fn no_bytes_open_anything(
        start in 0usize..8,
        at in 0usize..120,
        with in proptest::collection::vec(any::<u8>(), 0..12),
        cut in 0usize..400,
    ) {
        let starts: [&[u8]; 8] = [
            b"CONNECT up.example:80 HTTP/1.1\r\nHost: up.example\r\n\r\nGET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            b"GET http://up.example/ HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: up.example\r\nConnection: close\r\n\r\n",
            b"POST http://up.example/ HTTP/1.1\r\nHost: up.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            b"\x05\x01\x00\x05\x01\x00\x03\x0aup.example\x00\x50GET / HTTP/1.1\r\nHost: up.example\r\n\r\n",
            b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50",
            &hello("up.example"),
            b"",
        ];
        let mut bytes = starts[start].to_vec();
        let at = at.min(bytes.len());
        bytes.splice(at..(at + with.len()).min(bytes.len()), with.iter().copied());
        bytes.truncate(cut);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let asked = runtime.block_on(async {
            let world = World::new(only(&["up.example"]), &[("up.example", echo_host().await)]);
            for to in [world.proxy, world.http, world.tls] {
                let mut stream = connect(to).await;
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
                rest(&mut stream).await;
            }
            world.asked()
        });
        prop_assert!(asked.iter().all(|name| name == "up.example"), "{:?}", asked);
    }
}

#[tokio::test]
async fn a_websocket_is_passed_on() {
    // Agrees to whatever is asked for, then sends back what it reads.
    let far = host(|mut stream| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let text = String::from_utf8(head).unwrap().to_ascii_lowercase();
        assert!(text.contains("upgrade: websocket") && text.contains("connection: upgrade"), "{text}");
        let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await;
    let mut world = World::new(only(&["up.example"]), &[("up.example", far)]);
    let mut stream = connect(world.proxy).await;
    let request = "GET http://up.example/ws HTTP/1.1\r\nHost: up.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let (status, text) = exchange(&mut stream, request).await;
    assert_eq!(status, 101, "{text}");
    stream.write_all(b"frames").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await, b"frames");
    assert!(matches!(world.heard().await, Traffic::Closed { up: 6.., down: 6.., .. }));
}

#[tokio::test]
async fn names_have_one_address_inside() {
    let world = World::new(only(&["up.example"]), &[]);
    let question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03org\0\0\x01\0\x01";
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&[0; 5], world.dns).await.unwrap();
    socket.send_to(question, world.dns).await.unwrap();
    let mut answer = [0; 512];
    let count = soon(socket.recv(&mut answer)).await.unwrap();
    assert!(answer[..2] == [0x12, 0x34] && answer[..count].ends_with(&[198, 18, 0, 1]));
    let mut stream = connect(world.dns_tcp).await;
    for _ in 0..2 {
        stream.write_all(&[&[0, question.len() as u8][..], question].concat()).await.unwrap();
        let length: usize = soon(stream.read_u16()).await.unwrap().into();
        soon(stream.read_exact(&mut answer[..length])).await.unwrap();
        assert!(answer[..length].ends_with(&[198, 18, 0, 1]));
    }
    assert!(world.asked().is_empty(), "nothing is ever forwarded");
}

/// A proxy that notes what it is asked for, and leads all tunnels to `far`.
async fn corporate(
    far: std::net::SocketAddr,
    asked: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
) -> std::net::SocketAddr {
    host(move |mut stream| {
        let asked = asked.clone();
        async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { return };
                head.push(byte);
            }
            let head = String::from_utf8(head).unwrap();
            let is_tunnel = head.starts_with("CONNECT");
            asked.lock().unwrap().push(head);
            if !is_tunnel {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes").await;
                return;
            }
            let _ = stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await;
            let mut far = connect(far).await;
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut far).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_machine_behind_a_proxy_goes_through_it() {
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let proxy = corporate(echo_host().await, asked.clone()).await;
    let url = format!("http://u:p@{proxy}");
    let env = BTreeMap::from([("HTTPS_PROXY".to_owned(), url.clone()), ("http_proxy".to_owned(), url)]);
    let upstream = crate::egress::upstream(&env);
    assert!(upstream.is_some());
    let policy = Policy { upstream, ..only(&["up.example", "near.example", "*.far.example"]) };
    let mut world = World::new(policy, &[("x.far.example", "10.0.0.1:443".parse().unwrap())]);
    let (status, _, mut stream) = world.tunnel("up.example:443").await;
    assert_eq!(status, 200);
    let said = hello("up.example");
    stream.write_all(&said).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await, said);
    let head = asked.lock().unwrap().remove(0);
    assert!(
        head.starts_with("CONNECT up.example:443 HTTP/1.1\r\n")
            && head.contains("Proxy-Authorization: Basic dTpw\r\n"),
        "{head}"
    );
    assert!(matches!(world.heard().await, Traffic::Closed { address: None, up: 1.., down: 1.., .. }));
    let (status, text) = world.get("http://up.example/a").await;
    assert!(status == 200 && text.ends_with("yes"));
    let head = asked.lock().unwrap().remove(0).to_ascii_lowercase();
    assert!(
        head.starts_with("get http://up.example:80/a http/1.1\r\n")
            && head.contains("proxy-authorization: basic dtpw\r\n"),
        "{head}"
    );
    world.heard().await;
    // The rules are the same: what is not listed is not passed on, nor what the machine knows to be near.
    assert_eq!(world.tunnel("evil.example:443").await.0, 403);
    assert_eq!(world.tunnel("x.far.example:443").await.0, 403);
    assert!(asked.lock().unwrap().is_empty());
}
