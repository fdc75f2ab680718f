//! How an answer comes: its headers, its stream to the end, and what went wrong where it does not come whole.

use super::{BODY_BYTES_MAX, Patience, STREAM_BYTES_MAX, shown};
use crate::fault::{Again, Trouble, pause_in_headers, start_of};
use crate::sse;
use crate::wire::{Progress, Reading, Show};
use quire_core::message::FaultKind;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION};
use reqwest::{Response, Url};
use std::error::Error;
use std::time::{Duration, SystemTime};
use tokio::time::timeout;

/// Sends a request and returns the answer once its headers are there and say that it went well.
pub(super) async fn send(request: reqwest::RequestBuilder, patience: &Patience) -> Result<Response, Trouble> {
    let sent = timeout(patience.idle, request.send()).await;
    let mut response = match sent {
        Err(_) => {
            let why = format!("no answer within {} s", patience.idle.as_secs());
            return Err(Trouble { charged: true, ..Trouble::broken(why) });
        }
        Ok(Err(error)) => return Err(unsent(error)),
        Ok(Ok(response)) => response,
    };
    let status = response.status();
    if status.is_redirection() {
        let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("somewhere else");
        let to = Url::parse(to).map_or(to.to_owned(), |url| shown(&url));
        let why = format!(
            "it sends on to {to}, where the key must not go; name that address if it is the right one"
        );
        return Err(Trouble { status: Some(status.as_u16()), ..Trouble::new(FaultKind::Request, why) });
    }
    if !status.is_success() {
        let headers = response.headers().clone();
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let pause = pause_in_headers(header, SystemTime::now());
        // The status says enough, should the body not come.
        let body = rest(&mut response, Vec::new(), patience).await.unwrap_or_default();
        return Err(Trouble::of_status(status.as_u16(), pause, &String::from_utf8_lossy(&body)));
    }
    Ok(response)
}

/// How an answer came.
pub(super) struct Came {
    pub streams: bool,
    /// Events that were no JSON, and skipped.
    pub unreadable: u32,
}

/// Reads an answer to its end.
pub(super) async fn read(
    mut response: Response,
    reading: &mut dyn Reading,
    patience: &Patience,
    show: Show<'_>,
) -> Result<Came, Trouble> {
    let encoding = response.headers().get(CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    if let Some(encoding) = encoding.filter(|encoding| *encoding != "identity") {
        return Err(never(format!("it is packed ({encoding}), which was not asked for")));
    }
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_stream = kind.starts_with("text/event-stream");
    let mut parser = sse::Parser::default();
    let mut events = Vec::new();
    // The beginning of the answer, to tell a stream from anything else and to show what it was.
    let mut start = Vec::new();
    let mut total = 0;
    let mut unreadable = 0u32;
    let mut read_any = false;
    let mut progress = Progress::More;
    loop {
        let wait = if progress == Progress::Enough { patience.linger } else { patience.idle };
        let chunk = match timeout(wait, response.chunk()).await {
            Ok(Ok(Some(chunk))) => chunk,
            Ok(Ok(None)) => break,
            _ if progress == Progress::Enough => return Ok(Came { streams: true, unreadable }),
            Ok(Err(error)) => return Err(Trouble::broken(format!("the stream broke: {}", deepest(&error)))),
            Err(_) => return Err(Trouble::broken(format!("nothing came for {} s", wait.as_secs()))),
        };
        total += chunk.len();
        if total > STREAM_BYTES_MAX {
            return Err(never("it is longer than any answer can be".to_owned()));
        }
        if !read_any && start.len() < 1024 {
            start.extend_from_slice(&chunk);
            if start
                .iter()
                .find(|b| !b.is_ascii_whitespace())
                .is_some_and(|b| matches!(b, b'{' | b'[' | b'<'))
            {
                return read_whole(response, start, reading, patience, show)
                    .await
                    .map(|()| Came { streams: false, unreadable: 0 });
            }
        }
        parser.push(&chunk, &mut events).map_err(|error| never(error.to_string()))?;
        for event in events.drain(..) {
            match reading.take(&event, show)? {
                Progress::Unreadable => unreadable += 1,
                Progress::Done => {
                    drain(response);
                    return Ok(Came { streams: true, unreadable });
                }
                now => {
                    read_any = true;
                    progress = now;
                }
            }
        }
    }
    if let Some(event) = parser.finish() {
        match reading.take(&event, show)? {
            Progress::Unreadable => unreadable += 1,
            now => {
                read_any = true;
                progress = now;
            }
        }
    }
    if unreadable > 0 {
        tracing::debug!(unreadable, "events that are no JSON were skipped");
    }
    match progress {
        Progress::Enough | Progress::Done => Ok(Came { streams: true, unreadable }),
        _ if !is_stream && !read_any && total > 0 => Err(no_stream(&start)),
        _ if unreadable > 0 => Err(Trouble::broken(format!(
            "the stream ended before the reply did, and {unreadable} of its events were unreadable"
        ))),
        _ => Err(Trouble::broken("the stream ended before the reply did")),
    }
}

/// Reads an answer that is no stream: a whole reply as JSON, which a few servers give, or a page of somebody
/// else's.
async fn read_whole(
    mut response: Response,
    start: Vec<u8>,
    reading: &mut dyn Reading,
    patience: &Patience,
    show: Show<'_>,
) -> Result<(), Trouble> {
    let body = rest(&mut response, start, patience).await?;
    match reading.whole(&String::from_utf8_lossy(&body), show)? {
        Progress::Done => Ok(()),
        // JSON that does not parse was cut or garbled on its way, which happens once; a page comes again.
        Progress::Unreadable if body.trim_ascii_start().starts_with(b"{") => {
            Err(Trouble { again: Again::After(None), ..no_stream(&body) })
        }
        _ => Err(no_stream(&body)),
    }
}

/// Returns what is left of an answer, after `body`, up to a bound.
pub(super) async fn rest(
    response: &mut Response,
    mut body: Vec<u8>,
    patience: &Patience,
) -> Result<Vec<u8>, Trouble> {
    while body.len() < BODY_BYTES_MAX {
        match timeout(patience.idle, response.chunk()).await {
            Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk),
            Ok(Ok(None)) => break,
            Ok(Err(error)) => return Err(Trouble::broken(format!("it broke off: {}", deepest(&error)))),
            Err(_) => return Err(Trouble::broken(format!("nothing came for {} s", patience.idle.as_secs()))),
        }
    }
    Ok(body)
}

/// Reads what little may follow the end of a reply, aside from the caller: only a connection that was read to
/// its end serves the next step.
fn drain(mut response: Response) {
    tokio::spawn(timeout(Duration::from_secs(2), async move {
        while let Ok(Some(_)) = response.chunk().await {}
    }));
}

fn never(why: String) -> Trouble {
    Trouble { again: Again::Never, ..Trouble::broken(why) }
}

pub(super) fn no_stream(body: &[u8]) -> Trouble {
    never(format!("it is no reply of a model's. It begins: {}", start_of(&String::from_utf8_lossy(body))))
}

fn unsent(error: reqwest::Error) -> Trouble {
    let why = deepest(&error);
    // A proxy's answer to CONNECT is no answer to the request; hyper-util tells of it in these words.
    if error.is_connect() && why.starts_with("tunnel error") {
        return match why.ends_with("proxy authorization required") {
            true => Trouble { status: Some(407), ..Trouble::new(FaultKind::Request, why) },
            false => {
                Trouble::new(FaultKind::Unreachable, "the proxy on the way to it does not let it through")
            }
        };
    }
    if error.is_builder() {
        Trouble::new(FaultKind::Request, why)
    } else if why.contains("certificate") {
        Trouble { again: Again::Never, ..Trouble::new(FaultKind::Unreachable, why) }
    } else if error.is_connect() {
        Trouble::new(FaultKind::Unreachable, why)
    } else {
        // It may have left, and been read.
        let kind = if error.is_timeout() { FaultKind::Unreachable } else { FaultKind::Broken };
        Trouble { charged: true, ..Trouble::new(kind, why) }
    }
}

/// Returns what lies at the bottom of an error: the layers above only say that something went wrong below.
pub(super) fn deepest(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if std::ptr::addr_eq(cause, error) { "the connection failed".to_owned() } else { cause.to_string() }
}
