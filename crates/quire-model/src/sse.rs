//! Server-sent events, read from bytes as they come, by the rules of the WHATWG HTML standard ("Interpreting
//! an event stream"): lines end in CR, LF or both, and are cut as bytes, so that a character split over two
//! chunks is whole again before it is read as UTF-8.
//!
//! One departure: an event that the stream's end left without its blank line counts, because several servers
//! end so. A reader that was cut off in the middle of one meets JSON that does not parse, and skips it.

/// An event: what the server named it, and its data lines joined by newlines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub name: String,
    pub data: String,
}

/// The most bytes that one event may take; a line without end must not fill the memory.
const EVENT_BYTES_MAX: usize = 16 << 20;

#[derive(Debug, thiserror::Error)]
#[error("one event of the stream is longer than 16 MiB")]
pub(crate) struct TooLong;

/// Takes chunks, gives events.
#[derive(Default)]
pub(crate) struct Parser {
    /// The line that has begun and not ended.
    line: Vec<u8>,
    /// The byte before was a CR: an LF now belongs to it.
    after_cr: bool,
    /// The first line was read; before it, a byte order mark is no part of the line.
    begun: bool,
    name: String,
    data: Vec<u8>,
    has_data: bool,
}

impl Parser {
    /// Adds the next bytes and appends the events that they complete to `events`.
    pub fn push(&mut self, mut bytes: &[u8], events: &mut Vec<Event>) -> Result<(), TooLong> {
        while let Some(&first) = bytes.first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = bytes.iter().position(|b| matches!(b, b'\n' | b'\r')) else {
                self.line.extend_from_slice(bytes);
                break;
            };
            self.line.extend_from_slice(&bytes[..end]);
            self.after_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            self.end_line(events);
        }
        if self.line.len() + self.data.len() > EVENT_BYTES_MAX { Err(TooLong) } else { Ok(()) }
    }

    /// Returns the event that stood open when the stream ended, if any.
    pub fn finish(mut self) -> Option<Event> {
        let mut events = Vec::new();
        if !self.line.is_empty() {
            self.end_line(&mut events);
        }
        self.dispatch(&mut events);
        events.pop()
    }

    fn end_line(&mut self, events: &mut Vec<Event>) {
        let line = std::mem::take(&mut self.line);
        let mut line = line.as_slice();
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
        }
        if line.is_empty() {
            self.dispatch(events);
            return;
        }
        let (field, value) = match line.iter().position(|b| *b == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &line[line.len()..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
            }
            b"event" => self.name = String::from_utf8_lossy(value).into_owned(),
            // `id` and `retry` are for reconnecting, which a POST must not; an empty field is a comment.
            _ => {}
        }
    }

    fn dispatch(&mut self, events: &mut Vec<Event>) {
        let name = std::mem::take(&mut self.name);
        let data = std::mem::take(&mut self.data);
        if std::mem::take(&mut self.has_data) {
            events.push(Event { name, data: String::from_utf8_lossy(&data).into_owned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for chunk in chunks {
            parser.push(chunk, &mut events).unwrap();
        }
        events.extend(parser.finish());
        events
    }

    #[test]
    fn reads_what_the_standard_says() {
        let rows: &[(&str, &[(&str, &str)])] = &[
            ("data: a\n\n", &[("", "a")]),
            ("data:a\r\n\r\ndata:b\r\rdata: c\n\n", &[("", "a"), ("", "b"), ("", "c")]),
            ("event: x\ndata: 1\n\ndata: 2\n\n", &[("x", "1"), ("", "2")]),
            ("data: a\ndata: b\n\n", &[("", "a\nb")]),
            ("data:  two spaces\n\n", &[("", " two spaces")]),
            ("data\n\n", &[("", "")]),
            ("data: a:b\n\n", &[("", "a:b")]),
            (": a comment\n\ndata: a\n: another\n\n", &[("", "a")]),
            ("event: lonely\n\ndata: a\n\n", &[("", "a")]),
            ("\u{feff}data: a\n\n", &[("", "a")]),
            ("id: 7\nretry: 10\nunknown: y\ndata: a\n\n", &[("", "a")]),
            ("data: no blank line\n", &[("", "no blank line")]),
            ("data: no newline", &[("", "no newline")]),
            ("\n\n\n\n", &[]),
            ("", &[]),
            ("data: Grüße 🎉\n\n", &[("", "Grüße 🎉")]),
        ];
        for (text, want) in rows {
            let want: Vec<Event> = want
                .iter()
                .map(|(name, data)| Event { name: name.to_string(), data: data.to_string() })
                .collect();
            assert_eq!(parse([text.as_bytes()]), want, "{text:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_utf8_are_replaced() {
        assert_eq!(parse([b"data: a\xffb\n\n".as_slice()])[0].data, "a\u{fffd}b");
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut parser = Parser::default();
        let chunk = vec![b'x'; 1 << 20];
        let refused = (0..70).any(|_| parser.push(&chunk, &mut Vec::new()).is_err());
        assert!(refused);
    }

    /// Bytes in which the parser's own characters are frequent.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"data: ".to_vec()),
            Just(b"event:e".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"\n".to_vec()),
            Just(b"\r".to_vec()),
            Just(b"\xEF\xBB\xBF".to_vec()),
            Just("é🎉".as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 0..8),
        ];
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_events(bytes in stream(), cuts in prop::collection::vec(any::<u16>(), 0..20)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| usize::from(c) % (bytes.len() + 1)).collect();
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut from = 0;
            for cut in cuts {
                chunks.push(&bytes[from..cut]);
                from = cut;
            }
            chunks.push(&bytes[from..]);
            prop_assert_eq!(parse(chunks), parse([bytes.as_slice()]));
            prop_assert_eq!(parse(bytes.chunks(1)), parse([bytes.as_slice()]));
        }
    }
}
