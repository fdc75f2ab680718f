//! A model's server whose every byte the test sends itself. It does nothing unless told: a test takes the
//! next request, looks at it, and answers it or does not.

use serde_json::Value;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Waits for what the client must do, so that a test fails where the client never does it.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(Duration::from_secs(60), what).await;
    waited.expect("the client does its part within a minute")
}

pub(crate) struct Server {
    listener: TcpListener,
}

/// A request that came, and the connection to answer it on.
pub(crate) struct Exchange {
    stream: TcpStream,
    /// Request line and headers, lower case but for the line.
    pub head: String,
    pub body: String,
}

impl Server {
    pub async fn start() -> Server {
        Server { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    /// Returns the base address for a model.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.listener.local_addr().unwrap())
    }

    /// Returns the first request of the next connection.
    pub async fn next(&self) -> Exchange {
        let (stream, _) = soon(self.listener.accept()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Exchange { stream, head: String::new(), body: String::new() }.next().await.expect("a request")
    }

    /// Answers the next request and closes the connection.
    pub async fn answer(&self, status: &str, headers: &str, body: &str) -> Exchange {
        let mut exchange = self.next().await;
        exchange.answer(status, headers, body).await;
        exchange
    }

    /// Answers the next request with a whole stream.
    pub async fn stream(&self, body: &str) -> Exchange {
        self.answer("200 OK", "content-type: text/event-stream\r\n", body).await
    }
}

impl Exchange {
    /// Returns the next request on the same connection, or `None` once the client has closed it.
    pub async fn next(mut self) -> Option<Exchange> {
        let mut bytes = Vec::new();
        let head_end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if self.stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        while bytes.len() < head_end + length.unwrap_or(0) {
            if self.stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
        self.body = String::from_utf8(bytes.split_off(head_end)).unwrap();
        self.head = head;
        Some(self)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Sends an answer whose end is the connection's end.
    pub async fn answer(&mut self, status: &str, headers: &str, body: &str) {
        self.write(&format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}\r\n{body}")).await;
        let _ = self.stream.shutdown().await;
    }

    /// Begins a stream in chunks, which the client gets one by one, however they travel.
    pub async fn begin(&mut self) {
        self.write(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .await;
    }

    pub async fn chunk(&mut self, bytes: &[u8]) {
        let framed = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        // The client may have left, which is for the test to notice.
        let _ = self.stream.write_all(&framed).await;
    }

    /// Ends the chunks; the connection stays.
    pub async fn end(&mut self) {
        self.write("0\r\n\r\n").await;
    }

    /// Returns once the client has closed the connection.
    pub async fn closed(&mut self) {
        let mut byte = [0];
        while !matches!(soon(self.stream.read(&mut byte)).await, Ok(0) | Err(_)) {}
    }

    async fn write(&mut self, text: &str) {
        let _ = self.stream.write_all(text.as_bytes()).await;
    }
}
