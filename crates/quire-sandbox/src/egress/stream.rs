//! Streams: one that was already read from, and one whose silence is noticed.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until};

/// Any stream of bytes, both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub type Io = Box<dyn Stream>;

/// A stream with what was read from it put back.
pub struct Prefixed {
    prefix: Vec<u8>,
    at: usize,
    inner: Io,
}

impl Prefixed {
    pub fn boxed(prefix: Vec<u8>, inner: Io) -> Io {
        Box::new(Prefixed { prefix, at: 0, inner })
    }
}

impl AsyncRead for Prefixed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = &self.prefix[self.at..];
        if rest.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let taken = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..taken]);
        self.at += taken;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// A stream that notes when a byte last passed.
pub struct Watched<S> {
    inner: S,
    pulse: Arc<Pulse>,
}

/// When a byte last passed, as milliseconds since the beginning.
pub struct Pulse {
    begin: Instant,
    last: AtomicU64,
}

impl<S> Watched<S> {
    pub fn new(inner: S) -> (Watched<S>, Arc<Pulse>) {
        let pulse = Arc::new(Pulse { begin: Instant::now(), last: AtomicU64::new(0) });
        (Watched { inner, pulse: pulse.clone() }, pulse)
    }
}

impl Pulse {
    fn beat(&self) {
        self.last.store(self.begin.elapsed().as_millis() as u64, Relaxed);
    }

    /// Returns when nothing has passed for `idle`.
    pub async fn silence(&self, idle: Duration) {
        loop {
            let end = self.begin + Duration::from_millis(self.last.load(Relaxed)) + idle;
            if Instant::now() >= end {
                return;
            }
            sleep_until(end).await;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let done = ready!(Pin::new(&mut self.inner).poll_read(cx, buf));
        self.pulse.beat();
        Poll::Ready(done)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let done = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes));
        self.pulse.beat();
        Poll::Ready(done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
