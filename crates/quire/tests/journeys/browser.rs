//! A browser of the tests' own, that speaks HTTP as it is on the wire: each header is written by the test.

use crate::stage::Stage;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// One that was let in, or not yet.
#[derive(Clone)]
pub struct Browser {
    pub port: u16,
    /// `name=value`, once it was let in.
    pub cookie: Option<String>,
    /// What forms have to hold.
    pub key: String,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Page {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: String,
}

impl Page {
    pub fn header(&self, name: &str) -> Option<String> {
        let line = self.head.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        line.map(|value| value.trim().to_owned())
    }

    /// Returns the value of the first field of that name.
    #[track_caller]
    pub fn field(&self, name: &str) -> String {
        let from = self.body.split(&format!("name=\"{name}\" value=\"")).nth(1);
        from.and_then(|rest| rest.split('"').next())
            .unwrap_or_else(|| panic!("no {name}: {}", self.body))
            .to_owned()
    }
}

/// Returns the port and the token of an address that `quire web --print` gives.
pub fn opened(stage: &Stage) -> (u16, String) {
    let address = stage.json(&["web"])["address"].as_str().expect("an address").to_owned();
    let rest = address.strip_prefix("http://127.0.0.1:").expect("loopback");
    let (port, token) = rest.split_once("/enter#t=").expect("the way in");
    (port.parse().expect("a port"), token.to_owned())
}

impl Browser {
    /// Opens the page and goes in, as `quire web` has it.
    #[track_caller]
    pub fn open(stage: &Stage) -> Browser {
        let (port, token) = opened(stage);
        let mut browser = Browser { port, cookie: None, key: String::new() };
        let entered = browser.send("POST", "/enter", &[], &form(&[("t", &token)]));
        assert_eq!(entered.status, 303, "{entered:?}");
        let cookie = entered.header("set-cookie").expect("a cookie");
        browser.cookie = cookie.split(';').next().map(str::to_owned);
        browser.key = browser.get("/").field("key");
        browser
    }

    pub fn get(&self, path: &str) -> Page {
        self.send("GET", path, &[], "")
    }

    /// Sends a form of the page's.
    pub fn post(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        self.send("POST", path, &[], &form(&[&[("key", self.key.as_str())], fields].concat()))
    }

    /// Sends a request with the headers that a browser sends to its own page; one that is named in `headers` is sent so
    /// instead, or not at all where it is empty.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Page {
        let stream = self.begin(method, path, headers, body);
        let mut reader = BufReader::new(stream);
        let head = head(&mut reader);
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or_else(|| panic!("{head:?}"));
        let mut body = vec![];
        reader.read_to_end(&mut body).expect("a body");
        let body = if head.contains("transfer-encoding: chunked") { unchunked(&body) } else { body };
        Page { status, head, body: String::from_utf8_lossy(&body).into_owned() }
    }

    /// Opens a stream of events and returns it after its head.
    pub fn events(&self, path: &str, headers: &[(&str, &str)]) -> Events {
        let mut reader = BufReader::new(self.begin("GET", path, headers, ""));
        let head = head(&mut reader);
        assert!(head.contains("text/event-stream"), "{head}");
        Events(reader)
    }

    pub fn begin(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the page");
        stream.set_read_timeout(Some(SOON)).expect("a time limit");
        let own = format!("127.0.0.1:{}", self.port);
        let origin = format!("http://{own}");
        let mut all =
            vec![("host", own.as_str()), ("sec-fetch-site", "same-origin"), ("connection", "close")];
        if let Some(cookie) = &self.cookie {
            all.push(("cookie", cookie));
        }
        let length = body.len().to_string();
        if method == "POST" {
            all.push(("origin", &origin));
            all.push(("content-type", "application/x-www-form-urlencoded"));
            all.push(("content-length", &length));
        }
        all.retain(|(name, _)| headers.iter().all(|(other, _)| other != name));
        all.extend(headers.iter().filter(|(_, value)| !value.is_empty()));
        let head: String = all.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!("{method} {path} HTTP/1.1\r\n{head}\r\n{body}");
        // One that is refused may hang up before all was sent.
        let _ = stream.write_all(request.as_bytes());
        stream
    }
}

/// A stream of events that goes on.
pub struct Events(BufReader<TcpStream>);

impl Events {
    /// Returns the next event: its name, its id where it has one, its data.
    pub fn next(&mut self) -> (String, Option<u64>, serde_json::Value) {
        let (mut name, mut id) = (String::new(), None);
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).expect("a line") > 0, "the stream ended");
            let line = line.trim_end();
            if let Some(event) = line.strip_prefix("event: ") {
                name = event.to_owned();
            } else if let Some(text) = line.strip_prefix("id: ") {
                id = text.parse().ok();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return (name, id, serde_json::from_str(data).expect("JSON"));
            }
        }
    }
}

fn head(reader: &mut impl BufRead) -> String {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).expect("a head") == 0 || line == "\r\n" {
            return head.to_lowercase();
        }
        head.push_str(&line);
    }
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = vec![];
    while let Some(end) = body.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(&String::from_utf8_lossy(&body[..end]), 16).expect("a size");
        whole.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[end + 2 + size + 2..];
        if size == 0 {
            break;
        }
    }
    whole
}

/// Returns fields as a browser writes them.
pub fn form(fields: &[(&str, &str)]) -> String {
    let code = |text: &str| {
        text.bytes()
            .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
            .collect::<String>()
    };
    fields.iter().map(|(name, value)| format!("{}={}", code(name), code(value))).collect::<Vec<_>>().join("&")
}
