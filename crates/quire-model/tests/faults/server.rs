//! A server that sends exactly the bytes that it is told to, and then ends the connection in the way that it is told to.

use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What is done with one request.
#[derive(Clone)]
pub struct Play {
    pub bytes: Vec<u8>,
    pub then: Then,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Then {
    Close,
    /// Nothing more comes, and the connection stays.
    Hold,
    /// The connection is torn down, and what was asked is not even read.
    Reset,
    /// As `Close`, but the answer comes before anything was asked.
    Early,
}

/// Answers each request with the next play of its list, and the last one for ever.
pub struct Server {
    pub url: String,
    bodies: Arc<Mutex<Vec<String>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Server {
    pub async fn start(plays: Vec<Play>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/v1", listener.local_addr().expect("an address"));
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let heard = bodies.clone();
        let serving = tokio::spawn(async move {
            for nth in 0.. {
                let (stream, _) = listener.accept().await.expect("a connection");
                let play = plays[nth.min(plays.len() - 1)].clone();
                tokio::spawn(serve(stream, play, heard.clone()));
            }
        });
        Server { url, bodies, serving }
    }

    /// Returns the bodies of all requests so far.
    pub fn bodies(&self) -> Vec<String> {
        self.bodies.lock().expect("no panic").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(mut stream: TcpStream, play: Play, heard: Arc<Mutex<Vec<String>>>) {
    let _ = stream.set_nodelay(true);
    if play.then == Then::Reset {
        heard.lock().expect("no panic").push(String::new());
        // What was sent and not read makes the close a reset.
        let _ = stream.readable().await;
        return;
    }
    if play.then == Then::Early {
        heard.lock().expect("no panic").push(String::new());
        let _ = stream.write_all(&play.bytes).await;
        while !matches!(stream.read(&mut [0; 64]).await, Ok(0) | Err(_)) {}
        return;
    }
    let Some(body) = request(&mut stream).await else { return };
    heard.lock().expect("no panic").push(body);
    // Byte by byte in three pieces at odd places, so that nothing depends on where a packet ends.
    let third = play.bytes.len() / 3;
    for piece in [
        &play.bytes[..third],
        &play.bytes[third..2 * third + 1.min(third)],
        &play.bytes[2 * third + 1.min(third)..],
    ] {
        if stream.write_all(piece).await.is_err() {
            return;
        }
        let _ = stream.flush().await;
    }
    match play.then {
        Then::Hold => while !matches!(stream.read(&mut [0; 64]).await, Ok(0) | Err(_)) {},
        _ => {
            let _ = stream.shutdown().await;
        }
    }
}

/// Returns the body of the request that comes on `stream`.
pub async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    while bytes.len() < head_end + length.unwrap_or(0) {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(String::from_utf8_lossy(&bytes[head_end..]).into_owned())
}

/// Returns an answer with this status, and then the end of the connection.
pub fn status(status: &str, headers: &str, body: &str) -> Play {
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n{headers}\r\n");
    Play { bytes: (head + body).into_bytes(), then: Then::Close }
}

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

/// Returns a stream whose end is the connection's.
pub fn stream(body: impl AsRef<[u8]>) -> Play {
    Play { bytes: [STREAM.as_bytes(), body.as_ref()].concat(), then: Then::Close }
}

/// Returns a stream after which nothing comes.
pub fn stall(body: &str) -> Play {
    Play { then: Then::Hold, ..stream(body) }
}
