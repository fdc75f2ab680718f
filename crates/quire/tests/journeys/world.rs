//! A world of the test's own: every host there is, behind the proxy that the test's machine is set to. It answers any name, in
//! plain HTTP and in TLS, and writes down what it was sent.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// A request as it came out of the sandbox.
#[derive(Clone, Debug)]
pub struct Sent {
    /// `host:port`.
    pub to: String,
    /// Request line and headers.
    pub head: String,
}

pub struct World {
    port: u16,
    authority: PathBuf,
    sent: Arc<Mutex<Vec<Sent>>>,
}

struct Served {
    issuer: Issuer<'static, KeyPair>,
    files: PathBuf,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl World {
    /// Starts a world in which every host has the files below `dir`. Its authority's certificate lies beside them.
    pub fn with_files(dir: &Path) -> World {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "world");
        let key = KeyPair::generate().expect("a key");
        let authority = dir.join("authority.pem");
        fs::write(&authority, params.self_signed(&key).expect("a certificate").pem()).expect("a file");
        let sent = Arc::<Mutex<Vec<Sent>>>::default();
        let served =
            Arc::new(Served { issuer: Issuer::new(params, key), files: dir.to_owned(), sent: sent.clone() });
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = served.clone();
                // Whoever asked may be gone before the answer; that is for the test to notice.
                thread::spawn(move || served.tunnel(stream));
            }
        });
        World { port, authority, sent }
    }

    /// Returns the variables that set a machine to this world. The test's model is reached without it.
    pub fn env(&self) -> Vec<(String, String)> {
        let proxy = format!("http://127.0.0.1:{}", self.port);
        [
            ("HTTP_PROXY", proxy.clone()),
            ("HTTPS_PROXY", proxy),
            ("NO_PROXY", "127.0.0.1".into()),
            ("SSL_CERT_FILE", self.authority.display().to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Returns every request so far.
    pub fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Served {
    fn tunnel(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let head = read_head(&mut stream)?;
        let first: Vec<&str> = head.split(' ').collect();
        if first[0] != "CONNECT" {
            // In absolute form, for plain HTTP.
            let host = first[1].strip_prefix("http://").and_then(|rest| rest.split('/').next());
            let to = host.expect("an absolute form").to_owned();
            let to = if to.contains(':') { to } else { format!("{to}:80") };
            return self.answer(&to, &head, &mut stream);
        }
        let to = first[1].to_owned();
        stream.write_all(b"HTTP/1.1 200 Go on\r\n\r\n")?;
        if to.ends_with(":443") {
            let config = self.config(to.trim_end_matches(":443"));
            let connection = ServerConnection::new(config).expect("a server");
            let mut stream = StreamOwned::new(connection, stream);
            let head = read_head(&mut stream)?;
            self.answer(&to, &head, &mut stream)?;
            stream.conn.send_close_notify();
            return stream.flush();
        }
        let head = read_head(&mut stream)?;
        self.answer(&to, &head, &mut stream)
    }

    fn config(&self, host: &str) -> Arc<ServerConfig> {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
        let certificate: CertificateDer = params.signed_by(&key, &self.issuer).expect("a certificate").into();
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("versions").with_no_client_auth();
        Arc::new(config.with_single_cert(vec![certificate], key).expect("a pair"))
    }

    fn answer(&self, to: &str, head: &str, stream: &mut impl Write) -> std::io::Result<()> {
        let sent = Sent { to: to.to_owned(), head: head.to_owned() };
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).push(sent);
        let target = head.split(' ').nth(1).unwrap_or_default();
        let target =
            target.strip_prefix("http://").map_or(target, |rest| &rest[rest.find('/').unwrap_or(0)..]);
        let path = self.files.join(target.split('?').next().unwrap_or_default().trim_start_matches('/'));
        let (status, body) = match fs::read(&path) {
            Ok(content) => ("200 OK", content),
            Err(_) if target == "/" => ("200 OK", format!("hello from {to}\n{head}").into_bytes()),
            Err(_) => ("404 Not Found", vec![]),
        };
        let length = body.len();
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
        stream.write_all(&body)
    }
}

fn read_head(stream: &mut impl Read) -> std::io::Result<String> {
    // One byte at a time: what follows may be for somebody else.
    let mut reader = BufReader::with_capacity(1, stream);
    let mut head = String::new();
    while reader.read_line(&mut head)? > 2 {}
    Ok(head)
}
