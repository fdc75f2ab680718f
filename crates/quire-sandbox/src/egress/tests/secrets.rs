//! E22: a secret is in what leaves for its host, and nowhere inside.

use super::world::*;
use crate::egress::{Brokered, Policy, Refusal, Secret, Traffic};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::net::SocketAddr;

const VALUE: &str = "ghp_0123456789abcdefREAL";
const PLACEHOLDER: &str = "quire-secret-TOKEN-5f1d";

fn policy(hosts: &[&str], secret_hosts: &[&str]) -> Policy {
    let token = Brokered {
        name: "TOKEN".into(),
        placeholder: PLACEHOLDER.into(),
        value: Secret::new(VALUE).unwrap(),
        hosts: secret_hosts.iter().map(|host| host.to_string()).collect(),
    };
    Policy { brokered: vec![token], ..only(hosts) }
}

struct Secrets {
    world: World,
    ours: CertificateDer<'static>,
    theirs: CertificateDer<'static>,
    at: SocketAddr,
}

/// `api.example` has the secret, `plain.example` does not; both are the same machine.
async fn secrets() -> Secrets {
    let (at, theirs) = https_host("api.example").await;
    let (plain, _) = https_host("plain.example").await;
    let places = [("api.example", vec![at]), ("plain.example", vec![plain])].into();
    let world = World::with(
        policy(&["plain.example", "api.example:80"], &["api.example"]),
        places,
        vec![theirs.clone()],
    );
    let pem = world.egress.as_ref().unwrap().authority().unwrap().to_owned();
    let ours = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    Secrets { world, ours, theirs, at }
}

async fn ask(secrets: &Secrets, request: &str) -> (u16, String) {
    let (status, _, stream) = secrets.world.tunnel("api.example:443").await;
    assert_eq!(status, 200);
    let mut stream = tls(stream, "api.example", secrets.ours.clone()).await.unwrap();
    exchange(&mut stream, request).await
}

/// What the host saw is told by how long it was: the echo of the secret comes back as the placeholder.
#[tokio::test]
async fn e22_the_host_sees_the_secret_and_the_inside_the_placeholder() {
    let secrets = secrets().await;
    let request = format!(
        "GET /a HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer {PLACEHOLDER}\r\nAccept-Encoding: gzip\r\nRange: bytes=0-1\r\n\r\n"
    );
    let (status, text) = ask(&secrets, &request).await;
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("GET /a\n") && text.contains("host: api.example\n"), "{text}");
    assert!(text.contains(&format!("authorization: Bearer {PLACEHOLDER}\n")), "in the body: {text}");
    assert!(text.contains(&format!("x-echo: Bearer {PLACEHOLDER}\r\n")), "in a header: {text}");
    assert!(text.contains("accept-encoding: identity\n") && !text.contains("range:"), "{text}");
    assert!(!text.contains(VALUE));
    let login = STANDARD.encode(format!("user:{PLACEHOLDER}"));
    let request = format!("GET / HTTP/1.1\r\nHost: api.example\r\nAuthorization: Basic {login}\r\n\r\n");
    let (_, text) = ask(&secrets, &request).await;
    assert!(text.contains(&format!("authorization: Basic {login}\n")), "{text}");
}

/// Starts a host that answers with what it was sent in the place of `{}`; what it saw is told beside.
async fn telling(answer: &'static str) -> (Secrets, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let (seen, saw) = tokio::sync::mpsc::unbounded_channel();
    let made = rcgen::generate_simple_self_signed(["api.example".to_owned()]).unwrap();
    let theirs = made.cert.der().clone();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config =
        rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![theirs.clone()], key.into()).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let at = host(move |stream| {
        let (acceptor, seen) = (acceptor.clone(), seen.clone());
        async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            stream.read_exact(&mut body).await.unwrap();
            let token = head.lines().find_map(|line| line.strip_prefix("X-Token: ")).unwrap_or_default();
            let answer = answer.replace("{}", token);
            seen.send(head + str::from_utf8(&body).unwrap()).unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            let _ = stream.shutdown().await;
        }
    })
    .await;
    let world =
        World::with(policy(&[], &["api.example"]), [("api.example", vec![at])].into(), vec![theirs.clone()]);
    let ours = CertificateDer::from_pem_slice(world.egress.as_ref().unwrap().authority().unwrap().as_bytes())
        .unwrap();
    (Secrets { world, ours, theirs, at }, saw)
}

#[tokio::test]
async fn e22_a_placeholder_anywhere_but_in_a_header_stays_one() {
    let (secrets, mut saw) = telling("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let request = format!(
        "POST /{PLACEHOLDER}?q={PLACEHOLDER} HTTP/1.1\r\nHost: api.example\r\nX-{PLACEHOLDER}: 1\r\nX-Token: {PLACEHOLDER}\r\n\
         Content-Length: {}\r\n\r\n{PLACEHOLDER}",
        PLACEHOLDER.len()
    );
    assert_eq!(ask(&secrets, &request).await.0, 200);
    let seen = soon(saw.recv()).await.unwrap();
    assert_eq!(seen.matches(VALUE).count(), 1, "{seen}");
    assert!(seen.contains(&format!("X-Token: {VALUE}\r\n")), "{seen}");
    assert_eq!(seen.matches(PLACEHOLDER).count(), 4, "{seen}");
}

#[tokio::test]
async fn e22_no_part_of_an_answer_shows_the_secret() {
    let rows = [
        ("body", "HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{}"),
        ("header", "HTTP/1.1 200 OK\r\nX-Back: {}\r\nContent-Length: 2\r\n\r\nok"),
        ("name of a header", "HTTP/1.1 200 OK\r\nX-{}: 1\r\nContent-Length: 2\r\n\r\nok"),
        ("reason", "HTTP/1.1 200 for {}\r\nContent-Length: 2\r\n\r\nok"),
        (
            "where it leads",
            "HTTP/1.1 302 Found\r\nLocation: https://plain.example/{}\r\nContent-Length: 0\r\n\r\n",
        ),
        ("in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n18\r\n{}\r\n0\r\n\r\n"),
        (
            "after the body",
            "HTTP/1.1 200 OK\r\nTrailer: X-Back\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Back: {}\r\n\r\n",
        ),
        (
            "beforehand",
            "HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ),
    ];
    for (what, answer) in rows {
        let (secrets, mut saw) = telling(answer).await;
        let request = format!("GET / HTTP/1.1\r\nHost: api.example\r\nX-Token: {PLACEHOLDER}\r\n\r\n");
        let (status, text) = ask(&secrets, &request).await;
        assert!([200, 302].contains(&status), "{what}: {text}");
        assert!(!text.to_ascii_lowercase().contains(&VALUE.to_ascii_lowercase()), "{what}: {text}");
        assert!(soon(saw.recv()).await.unwrap().contains(VALUE), "{what}: it did leave");
    }
}

/// In HTTP/2 a request names its host where it is not looked for.
#[tokio::test]
async fn e10_a_host_with_secrets_is_asked_in_http_1_alone() {
    let secrets = secrets().await;
    let (status, text) = ask(&secrets, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!([0, 400].contains(&status), "{status} {text}");
    assert!(secrets.world.asked().is_empty());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(secrets.ours.clone()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (_, _, stream) = secrets.world.tunnel("api.example:443").await;
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let name = rustls::pki_types::ServerName::try_from("api.example").unwrap();
    assert!(soon(connector.connect(name, stream)).await.is_err());
}

#[tokio::test]
async fn e10_what_is_inside_names_the_host_that_was_asked_for() {
    let mut secrets = secrets().await;
    for other in ["plain.example", "evil.example", "api.example.evil", "api.example:8443", ""] {
        let request = format!("GET / HTTP/1.1\r\nHost: {other}\r\nAuthorization: {PLACEHOLDER}\r\n\r\n");
        let (status, text) = ask(&secrets, &request).await;
        assert_eq!(status, 403, "{other}: {text}");
        assert!(matches!(secrets.world.heard().await, Traffic::Refused { .. }), "{other}");
    }
    assert!(secrets.world.asked().is_empty(), "nothing left: {:?}", secrets.world.asked());
    // Nor does TLS within.
    let (_, _, stream) = secrets.world.tunnel("api.example:443").await;
    assert!(tls(stream, "plain.example", secrets.ours.clone()).await.is_err());
    let why = Refusal::OtherName("plain.example".into());
    assert_eq!(secrets.world.heard().await, Traffic::Refused { host: "api.example".into(), port: 443, why });
}

#[tokio::test]
async fn e22_another_host_gets_the_placeholder() {
    let secrets = secrets().await;
    let pem = secrets.world.egress.as_ref().unwrap().authority().unwrap();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----") && !pem.contains("PRIVATE"));
    // Its TLS is its own: what is inside stays unread.
    let (_, _, stream) = secrets.world.tunnel("plain.example:443").await;
    assert!(tls(stream, "plain.example", secrets.ours.clone()).await.is_err(), "not ended here");
    // Nor in the clear, to the same host.
    let at = http_host().await;
    let world = World::new(policy(&["api.example:80"], &["api.example"]), &[("api.example", at)]);
    let (status, text) = world
        .request(&format!(
            "GET http://api.example/ HTTP/1.1\r\nHost: x\r\nAuthorization: {PLACEHOLDER}\r\n\r\n"
        ))
        .await;
    assert!(status == 200 && text.contains(&format!("authorization: {PLACEHOLDER}\n")), "{text}");
}

#[tokio::test]
async fn e22_transparently_as_well() {
    let mut secrets = secrets().await;
    let stream = connect(secrets.world.tls).await;
    let mut stream = tls(stream, "api.example", secrets.ours.clone()).await.unwrap();
    for _ in 0..2 {
        let request =
            format!("GET / HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer {PLACEHOLDER}\r\n\r\n");
        let (status, text) = exchange(&mut stream, &request).await;
        assert!(status == 200 && text.contains(PLACEHOLDER), "{text}");
    }
    drop(stream);
    assert_eq!(secrets.world.asked(), ["api.example"], "over one connection");
    assert!(
        matches!(secrets.world.heard().await, Traffic::Closed { host, port: 443, address: Some(_), .. } if host == "api.example")
    );
}

#[tokio::test]
async fn e22_what_cannot_be_looked_through_is_not_passed_on() {
    let secrets = secrets().await;
    let request =
        format!("GET /gzip HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer {PLACEHOLDER}\r\n\r\n");
    let (status, text) = ask(&secrets, &request).await;
    assert!(
        status == 502 && text.contains("cannot look for the task's secrets") && !text.contains(VALUE),
        "{text}"
    );
    assert_eq!(
        ask(&secrets, "GET /gzip HTTP/1.1\r\nHost: api.example\r\n\r\n").await.0,
        200,
        "with nothing put in"
    );
}

#[tokio::test]
async fn e22_a_host_that_is_not_who_it_says_gets_nothing() {
    // The world does not trust the host's certificate.
    let secrets = secrets().await;
    let world = World::new(policy(&[], &["api.example"]), &[("api.example", secrets.at)]);
    let ours = CertificateDer::from_pem_slice(world.egress.as_ref().unwrap().authority().unwrap().as_bytes())
        .unwrap();
    let distrustful = Secrets { world, ours, theirs: secrets.theirs.clone(), at: secrets.at };
    let request =
        format!("GET / HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer {PLACEHOLDER}\r\n\r\n");
    let (status, text) = ask(&distrustful, &request).await;
    assert!(
        status == 502 && text.contains("api.example:443 could not be reached: invalid peer certificate"),
        "{text}"
    );
}

#[tokio::test]
async fn there_is_no_authority_without_a_secret() {
    let world = World::new(only(&["up.example"]), &[]);
    assert_eq!(world.egress.as_ref().unwrap().authority(), None);
}
