//! What a task may use up, and what ends with it.

use super::world::*;
use crate::egress::hello::tests::hello;
use crate::egress::{Limit, Limits, Policy, Refusal, Traffic};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

fn limited(limits: Limits) -> Policy {
    Policy { limits, ..only(&["up.example", "up.example:9000"]) }
}

#[tokio::test]
async fn e23_connections_beyond_the_limit_are_refused_and_places_are_given_back() {
    let mut world = World::new(
        limited(Limits { connections: 2, ..Limits::default() }),
        &[("up.example", echo_host().await)],
    );
    let (_, _, first) = world.tunnel("up.example:9000").await;
    let (_, _, _second) = world.tunnel("up.example:9000").await;
    let mut third = connect(world.proxy).await;
    let told = String::from_utf8(rest(&mut third).await).unwrap();
    assert!(told.starts_with("HTTP/1.1 503 quire: too many connections"), "{told}");
    let refused =
        Traffic::Refused { host: String::new(), port: 443, why: Refusal::Limit(Limit::Connections) };
    assert_eq!(world.heard().await, refused);
    drop(first);
    assert!(matches!(world.heard().await, Traffic::Closed { .. }));
    // The place is free once its connection is told.
    let status = loop {
        match world.tunnel("up.example:9000").await.0 {
            0 | 503 => continue,
            status => break status,
        }
    };
    assert_eq!(status, 200);
}

#[tokio::test]
async fn e23_a_flood_is_refused_and_the_first_ones_are_served() {
    let mut world = World::new(
        limited(Limits { connections_per_minute: 3, ..Limits::default() }),
        &[("up.example", http_host().await)],
    );
    let mut served = 0;
    for _ in 0..50 {
        served += u32::from(world.get("http://up.example/").await.0 == 200);
    }
    assert_eq!(served, 3);
    let mut refused = 0;
    for _ in 0..50 {
        refused += u32::from(matches!(
            world.heard().await,
            Traffic::Refused { why: Refusal::Limit(Limit::Rate), .. }
        ));
    }
    assert_eq!(refused, 47);
    // Many hosts over one connection from inside count as well.
    let limits = Limits { connections_per_minute: 3, ..Limits::default() };
    let policy = Policy { limits, ..only(&["a.example", "b.example"]) };
    let far = http_host().await;
    let world = World::new(policy, &[("a.example", far), ("b.example", far)]);
    let mut stream = connect(world.proxy).await;
    let mut statuses = Vec::new();
    for host in ["a", "b", "a", "b"] {
        let request = format!("GET http://{host}.example/ HTTP/1.1\r\nHost: x\r\n\r\n");
        statuses.push(exchange(&mut stream, &request).await.0);
    }
    assert_eq!(statuses, [200, 200, 200, 429]);
}

#[tokio::test]
async fn e23_who_never_finishes_asking_is_let_go() {
    let limits = Limits { head: Duration::from_millis(300), ..Limits::default() };
    let mut world = World::new(limited(limits), &[("up.example", echo_host().await)]);
    let half = hello("up.example");
    let rows: [(&str, std::net::SocketAddr, &[u8]); 8] = [
        ("nothing", world.proxy, b""),
        ("half a head", world.proxy, b"GET http://up.example/ HTTP/1.1\r\nX: "),
        ("half a SOCKS greeting", world.proxy, &[5, 9, 0]),
        ("half a SOCKS request", world.proxy, &[5, 1, 0, 5, 1, 0, 3, 200, b'x']),
        ("half a head", world.http, b"GET / HT"),
        ("half a hello", world.tls, &half[..50]),
        ("no hello", world.tls, b""),
        ("half a question", world.dns_tcp, &[0, 200, 1]),
    ];
    for (what, to, said) in rows {
        let mut stream = connect(to).await;
        stream.write_all(said).await.unwrap();
        rest(&mut stream).await;
        assert!(!what.is_empty());
    }
    let (_, _, mut stream) = world.tunnel("up.example:443").await;
    stream.write_all(&half[..50]).await.unwrap();
    rest(&mut stream).await;
    while !world.nothing_heard() {}
}

#[tokio::test]
async fn e23_a_head_has_a_size() {
    let world = World::new(limited(Limits::default()), &[("up.example", http_host().await)]);
    let (status, _) = world
        .request(&format!("GET http://up.example/ HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(200_000)))
        .await;
    assert!(matches!(status, 0 | 431), "{status}");
    let many = "X: 1\r\n".repeat(1000);
    let (status, _) = world.request(&format!("GET http://up.example/ HTTP/1.1\r\n{many}\r\n")).await;
    assert!(matches!(status, 0 | 431), "{status}");
    let mut stream = connect(world.tls).await;
    // Records that never make up a hello.
    let _ = stream.write_all(&[22, 3, 1, 0, 1, 1].repeat(50_000)).await;
    rest(&mut stream).await;
    assert_eq!(world.get("http://up.example/").await.0, 200);
}

#[tokio::test]
async fn e23_silence_ends_a_connection() {
    let limits = Limits { idle: Duration::from_millis(300), ..Limits::default() };
    let mut world = World::new(limited(limits), &[("up.example", echo_host().await)]);
    let (status, _, mut stream) = world.tunnel("up.example:9000").await;
    assert_eq!(status, 200);
    assert!(rest(&mut stream).await.is_empty());
    assert_eq!(world.heard_text().await, "up.example:9000 0 0");
}

#[tokio::test]
async fn e21_e23_what_is_sent_and_received_has_an_end() {
    for (limits, limit) in [
        (Limits { up_bytes: 100_000, ..Limits::default() }, Limit::Up),
        (Limits { down_bytes: 100_000, ..Limits::default() }, Limit::Down),
    ] {
        let mut world = World::new(limited(limits), &[("up.example", echo_host().await)]);
        let (_, _, stream) = world.tunnel("up.example:9000").await;
        let (mut read, mut write) = stream.into_split();
        let writing = async {
            // It is cut at some point.
            while write.write_all(&[0; 10_000]).await.is_ok() {}
        };
        let (back, ()) = tokio::join!(rest(&mut read), soon(writing));
        assert!(back.len() < 200_000, "{}", back.len());
        let Traffic::Closed { up, down, .. } = world.heard().await else { panic!("what passed is told") };
        assert!(up.max(down) >= 100_000 && down.min(up) < 250_000, "{up} {down}");
        let refused =
            |host: &str| Traffic::Refused { host: host.into(), port: 9000, why: Refusal::Limit(limit) };
        assert_eq!(world.heard().await, refused("up.example"));
        let (status, text, _) = world.tunnel("up.example:9000").await;
        assert!(status == 429 && text.contains(&format!("the task's limit of {limit} is used up")), "{text}");
        assert_eq!(world.heard().await, refused("up.example"));
    }
}

#[tokio::test]
async fn all_ends_with_the_egress() {
    let mut world = World::new(limited(Limits::default()), &[("up.example", echo_host().await)]);
    let (_, _, mut stream) = world.tunnel("up.example:9000").await;
    stream.write_all(b"x").await.unwrap();
    let mut waiting = connect(world.tls).await;
    drop(world.egress.take());
    rest(&mut stream).await;
    rest(&mut waiting).await;
    assert!(matches!(world.heard().await, Traffic::Closed { host, .. } if host == "up.example"));
    let gone = tokio::net::TcpStream::connect(world.proxy).await;
    assert!(gone.is_err(), "nothing listens any more");
}
