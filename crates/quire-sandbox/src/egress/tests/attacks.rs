//! What somebody tries who knows how proxies are got round: two readings of one message, one name in two spellings, another
//! protocol on a connection that was opened for the first. Each has beside it what does go through.

use super::world::*;
use crate::egress::{Limit, Limits, Policy, Refusal, Traffic};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

type Recorded = Arc<Mutex<Vec<Vec<u8>>>>;

/// Answers each connection once, with `answer`, and writes down all that it is sent.
async fn recorder(answer: &'static str) -> (SocketAddr, Recorded) {
    let recorded = Recorded::default();
    let record = recorded.clone();
    let at = host(move |mut stream| {
        let mine = {
            let mut all = record.lock().unwrap();
            all.push(Vec::new());
            all.len() - 1
        };
        let record = record.clone();
        async move {
            let mut part = [0; 4096];
            let mut answer = Some(answer);
            while let Ok(count @ 1..) = stream.read(&mut part).await {
                record.lock().unwrap()[mine].extend(&part[..count]);
                if let Some(answer) = answer.take() {
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            }
        }
    })
    .await;
    (at, recorded)
}

/// Reads what a host was sent as its strictest reader would; the heads of all requests in it.
fn requests(mut bytes: &[u8]) -> Vec<String> {
    let mut heads = Vec::new();
    while let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") {
        let head = String::from_utf8(bytes[..end + 2].to_vec()).unwrap().to_ascii_lowercase();
        bytes = &bytes[end + 4..];
        let values = |name: &str| -> Vec<String> {
            let lines = head.lines().filter_map(|line| line.strip_prefix(name));
            lines.map(|value| value.trim().to_owned()).collect()
        };
        let (lengths, codings) = (values("content-length:"), values("transfer-encoding:"));
        assert!(lengths.len() + codings.len() <= 1, "its length is said twice: {head}");
        if let Some(length) = lengths.first() {
            bytes = &bytes[bytes.len().min(length.parse().expect("a plain number"))..];
        } else if let Some(coding) = codings.first() {
            assert_eq!(coding, "chunked", "{head}");
            while let Some(line) = memchr::memmem::find(bytes, b"\r\n") {
                let size =
                    usize::from_str_radix(str::from_utf8(&bytes[..line]).unwrap(), 16).expect("a plain size");
                bytes = &bytes[bytes.len().min(line + 2 + size + 2)..];
                if size == 0 {
                    break;
                }
            }
        }
        heads.push(head);
    }
    heads
}

#[tokio::test]
async fn e10_no_request_is_hidden_in_another() {
    const HIDDEN: &str = "GET http://evil.example/hidden HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    let chunked = "5\r\nhello\r\n0\r\n\r\n";
    // what, version, headers, body
    let rows = [
        ("nothing hidden", "1.1", "Content-Length: 5", "hello"),
        ("nothing hidden in chunks", "1.1", "Transfer-Encoding: chunked", chunked),
        ("both lengths", "1.1", "Content-Length: 3\r\nTransfer-Encoding: chunked", chunked),
        ("both lengths, turned", "1.1", "Transfer-Encoding: chunked\r\nContent-Length: 3", chunked),
        ("a coding that is none", "1.1", "Transfer-Encoding: xchunked\r\nContent-Length: 5", "hello"),
        ("a blank before the colon", "1.1", "Transfer-Encoding : chunked\r\nContent-Length: 5", "hello"),
        (
            "another coding after it",
            "1.1",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            chunked,
        ),
        ("another coding before it", "1.1", "Transfer-Encoding: identity, chunked", chunked),
        ("a control character", "1.1", "Transfer-Encoding: \x0bchunked\r\nContent-Length: 5", "hello"),
        ("a folded line", "1.1", "X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 5", "hello"),
        (
            "a line that begins with a blank",
            "1.1",
            " Transfer-Encoding: chunked\r\nContent-Length: 5",
            "hello",
        ),
        ("a length with a sign", "1.1", "Content-Length: +5", "hello"),
        ("a length as a list", "1.1", "Content-Length: 5, 6", "hello"),
        ("a length twice, alike", "1.1", "Content-Length: 5\r\nContent-Length: 5", "hello"),
        ("a length twice", "1.1", "Content-Length: 5\r\nContent-Length: 0", "hello"),
        ("a size with an extension", "1.1", "Transfer-Encoding: chunked", "5;a=\"\r\nhello\r\n0\r\n\r\n"),
        ("a size in C", "1.1", "Transfer-Encoding: chunked", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("a size that wraps", "1.1", "Transfer-Encoding: chunked", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("lines without a return", "1.1", "Transfer-Encoding: chunked", "5\nhello\n0\n\n"),
        (
            "a host after the body",
            "1.1",
            "Trailer: Host\r\nTransfer-Encoding: chunked",
            "5\r\nhello\r\n0\r\nHost: evil.example\r\n\r\n",
        ),
        ("chunks before there were any", "1.0", "Transfer-Encoding: chunked\r\nContent-Length: 3", chunked),
        ("a return alone", "1.1", "X: y\rContent-Length: 0\r\nContent-Length: 5", "hello"),
    ];
    for (what, version, headers, body) in rows {
        let (far, recorded) = recorder("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        let world = World::new(only(&["up.example"]), &[("up.example", far), ("evil.example", far)]);
        let head =
            format!("POST http://up.example/shown HTTP/{version}\r\nHost: up.example\r\n{headers}\r\n\r\n");
        let mut stream = connect(world.proxy).await;
        let (status, _) = exchange(&mut stream, &format!("{head}{body}{HIDDEN}")).await;
        assert!(status == 200 || !what.starts_with("nothing"), "{what}: {status}");
        let _ = stream.shutdown().await;
        rest(&mut stream).await;
        for connection in &*recorded.lock().unwrap() {
            for head in requests(connection) {
                assert!(
                    head.starts_with("post /shown ") && head.contains("host: up.example\r\n"),
                    "{what}: {head}"
                );
                assert_eq!(head.matches("\r\nhost:").count(), 1, "{what}: {head}");
            }
        }
        assert!(world.asked().iter().all(|name| name == "up.example"), "{what}: {:?}", world.asked());
    }
}

#[tokio::test]
async fn e12_one_name_in_many_spellings() {
    let far = http_host().await;
    // the address as it is asked for, status of a request, names that are looked up
    let rows: [(&str, u16, &[&str]); 15] = [
        ("up.example", 200, &["up.example"]),
        ("UP.Example", 200, &["up.example"]),
        ("up.example.", 200, &["up.example"]),
        ("up.example:080", 200, &["up.example"]),
        ("up.example..", 403, &[]),
        ("sub.up.example", 403, &[]),
        ("up.example.evil", 403, &[]),
        ("up.example@evil.example", 403, &[]),
        ("evil.example@up.example", 403, &[]),
        ("up.example:80@evil.example", 403, &[]),
        ("xn--up-x.example", 403, &[]),
        ("93.184.215.14", 403, &[]),
        ("0x5db8d70e", 403, &[]),
        ("0135.0270.0327.016", 403, &[]),
        ("[::ffff:93.184.215.14]", 403, &[]),
    ];
    for (host, expected, asked) in rows {
        let world = World::new(only(&["up.example"]), &[("up.example", far), ("evil.example", far)]);
        let (status, text) = world.get(&format!("http://{host}/")).await;
        assert_eq!(status, expected, "{host}: {text}");
        assert_eq!(world.asked(), asked, "{host}");
        // The same where the name stands in Host, by the other way in.
        let mut stream = connect(world.http).await;
        let (status, text) = exchange(&mut stream, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(status, expected, "Host: {host}: {text}");
    }
    // What no parser agrees on is asked of nobody.
    for target in [
        "http://up.example\\@evil.example/",
        "http://evil.example#@up.example/",
        "http://evil.example?@up.example/",
        "http:///evil.example/",
        "//evil.example/",
        "http://up.example evil.example/",
        "http://up.example\tevil.example/",
    ] {
        let world = World::new(only(&["up.example"]), &[("up.example", far), ("evil.example", far)]);
        let (status, text) = world.get(target).await;
        assert!([0, 400, 403].contains(&status), "{target:?}: {status} {text}");
        assert!(!world.asked().contains(&"evil.example".to_owned()), "{target:?}");
    }
}

#[tokio::test]
async fn e10_nothing_but_a_websocket_is_upgraded_to() {
    let rows = [
        ("websocket", "Upgrade: websocket", true),
        ("WebSocket", "Upgrade: WebSocket", true),
        ("h2c", "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__", false),
        ("both", "Upgrade: websocket, h2c", false),
        ("one after the other", "Upgrade: websocket\r\nUpgrade: h2c", false),
        ("TLS", "Upgrade: TLS/1.2", false),
        ("nothing", "X: y", false),
    ];
    for (what, asked, is_passed) in rows {
        let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n";
        let (far, recorded) = recorder(switched).await;
        let world = World::new(only(&["up.example"]), &[("up.example", far)]);
        let request = format!(
            "GET http://up.example/ HTTP/1.1\r\nHost: x\r\nConnection: upgrade, http2-settings\r\n{asked}\r\n\r\n"
        );
        let mut stream = connect(world.proxy).await;
        let (status, text) = exchange(&mut stream, &request).await;
        // A host that changes the protocol although nobody asked is not followed.
        assert_eq!(status, if is_passed { 101 } else { 502 }, "{what}: {text}");
        let _ = stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        let _ = stream.shutdown().await;
        rest(&mut stream).await;
        let sent = String::from_utf8(recorded.lock().unwrap()[0].clone()).unwrap();
        assert_eq!(sent.contains("PRI"), is_passed, "{what}: {sent}");
        assert_eq!(sent.to_ascii_lowercase().contains("\r\nupgrade:"), is_passed, "{what}: {sent}");
    }
}

#[tokio::test]
async fn e27_a_question_for_a_name_is_answered_here_whatever_it_carries() {
    let mut world = World::new(only(&["up.example", "*.up.example"]), &[]);
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(world.dns).await.unwrap();
    for number in 0..20 {
        let label = format!("{number:02}-secret-data");
        for zone in [&b"\x04evil\x07example\0"[..], b"\x02up\x07example\0"] {
            let head = [0, number, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            let name = [&[label.len() as u8][..], label.as_bytes(), zone].concat();
            socket.send(&[&head[..], &name, &[0, 1, 0, 1]].concat()).await.unwrap();
            let mut answer = [0; 512];
            let count = soon(socket.recv(&mut answer)).await.unwrap();
            assert_eq!(
                (answer[1], &answer[count - 4..count]),
                (number, &[198, 18, 0, 1][..]),
                "its one address"
            );
        }
    }
    assert!(world.asked().is_empty() && world.nothing_heard(), "nobody was asked");
}

#[tokio::test]
async fn e21_an_upload_in_chunks_has_the_same_end() {
    let (far, recorded) = recorder("HTTP/1.1 100 Continue\r\n\r\n").await;
    let limits = Limits { up_bytes: 100_000, ..Limits::default() };
    let mut world = World::new(Policy { limits, ..only(&["up.example"]) }, &[("up.example", far)]);
    let mut stream = connect(world.proxy).await;
    let head = "POST http://up.example/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = [b"2000\r\n", &[b'x'; 0x2000][..], b"\r\n"].concat();
    let writing = async {
        // It is cut at some point.
        while stream.write_all(&chunk).await.is_ok() {}
    };
    soon(writing).await;
    let sent = recorded.lock().unwrap()[0].len();
    assert!((50_000..250_000).contains(&sent), "{sent}");
    while world.heard().await
        != (Traffic::Refused { host: "up.example".into(), port: 80, why: Refusal::Limit(Limit::Up) })
    {}
}

/// A byte in time keeps a connection from being silent, but not its head from being late.
#[tokio::test]
async fn e23_who_asks_a_byte_at_a_time_is_let_go() {
    let limits = Limits { head: Duration::from_millis(300), ..Limits::default() };
    let world = World::new(Policy { limits, ..only(&["up.example"]) }, &[("up.example", http_host().await)]);
    assert_eq!(world.get("http://up.example/").await.0, 200);
    for to in [world.proxy, world.http, world.tls] {
        let mut stream = connect(to).await;
        let (mut read, mut write) = stream.split();
        let trickle = async {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            // The first byte of a TLS record where that is spoken, which then never ends.
            let mut bytes = b"GET http://up.example/".iter().copied().chain(std::iter::repeat(b'a'));
            loop {
                tick.tick().await;
                let byte = if to == world.tls { 22 } else { bytes.next().unwrap_or(b'a') };
                if write.write_all(&[byte]).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            _ = rest(&mut read) => {}
            () = soon(trickle) => {}
        }
    }
}
