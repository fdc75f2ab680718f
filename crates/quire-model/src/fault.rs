//! What can go wrong with a request, whether asking again can help, and how a person is told.
//!
//! Servers agree on little: the same fault comes as a status, as an `error` object in a body of any shape, or
//! as an event within a stream that began with 200. All three pass through [`Trouble::said`], so that one
//! table decides.

use quire_core::charter::Model;
use quire_core::message::{Fault, FaultKind};
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// A fault of one try.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub kind: FaultKind,
    /// The server's words, or quire's where it has none.
    pub why: String,
    pub status: Option<u16>,
    pub again: Again,
    /// The request may have cost something all the same.
    pub charged: bool,
    /// The error's body as it came, to look for the name of a parameter in.
    pub body: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Again {
    Never,
    /// After the pause that the server asked for, else after quire's own.
    After(Option<Duration>),
}

impl Trouble {
    pub fn new(kind: FaultKind, why: impl Into<String>) -> Trouble {
        let again = match kind {
            FaultKind::Unreachable | FaultKind::Busy | FaultKind::Broken => Again::After(None),
            _ => Again::Never,
        };
        Trouble { kind, why: why.into(), status: None, again, charged: false, body: String::new() }
    }

    pub fn broken(why: impl Into<String>) -> Trouble {
        Trouble::new(FaultKind::Broken, why)
    }

    /// Returns what an answer with an error's `status` means. `pause` is what its headers ask for.
    pub fn of_status(status: u16, pause: Option<Duration>, body: &str) -> Trouble {
        match serde_json::from_str::<Value>(body) {
            Ok(value) => Trouble::said(Some(status), pause, &value, body),
            Err(_) => {
                let why =
                    if body.trim().is_empty() { "it gave no reason".to_owned() } else { start_of(body) };
                Trouble::decide(Some(status), pause, "", why, body)
            }
        }
    }

    /// Returns what an error object means that came as an answer's body or within a stream.
    pub fn of_event(error: &Value) -> Trouble {
        Trouble::said(None, None, error, &error.to_string())
    }

    fn said(status: Option<u16>, pause: Option<Duration>, value: &Value, body: &str) -> Trouble {
        // Gemini wraps its error in a list.
        let value = value.get(0).unwrap_or(value);
        let error =
            ["error", "detail"].iter().find_map(|k| value.get(k).filter(|v| !v.is_null())).unwrap_or(value);
        let field = |name: &str| match error.get(name).or_else(|| value.get(name)) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        };
        let mut why = match error {
            Value::String(text) => text.clone(),
            _ => field("message"),
        };
        if why.is_empty() {
            why = start_of(body);
        }
        if let Some(seconds) = error.get("resets_in_seconds").and_then(Value::as_u64) {
            why.push_str(&format!(" (resets in {} min)", seconds.div_ceil(60)));
        }
        // A stream has no status of its own; some servers put it into `code`.
        let status = status.or_else(|| field("code").parse().ok().filter(|code| (400..600).contains(code)));
        Trouble::decide(status, pause, &format!("{} {}", field("type"), field("code")), why, body)
    }

    fn decide(status: Option<u16>, pause: Option<Duration>, code: &str, why: String, body: &str) -> Trouble {
        let kind = kind(status, &code.to_ascii_lowercase(), &why.to_ascii_lowercase());
        let mut trouble = Trouble { status, body: body.to_owned(), ..Trouble::new(kind, why) };
        if let Again::After(wait) = &mut trouble.again {
            *wait = pause.or_else(|| pause_in_words(&trouble.why));
        }
        trouble
    }

    /// Returns the fault as a person is told of it. `address` is what was asked, `tries` how often.
    pub fn told(self, model: &Model, address: &str, tries: u32) -> Fault {
        let Trouble { kind, status, why, .. } = self;
        let code = status.map(|s| format!(" ({s})")).unwrap_or_default();
        let times = if tries > 1 { format!(", after {tries} tries") } else { String::new() };
        let message = match kind {
            FaultKind::NoKey | FaultKind::Tape => why,
            FaultKind::Key => match &model.key_env {
                Some(name) => format!("{address} does not accept the key in {name}{code}: {why}"),
                None => format!("{address} asks for a key, and model {} has none{code}: {why}", model.name),
            },
            FaultKind::Credit => format!("{address} says that the credit or limit is used up{code}: {why}"),
            FaultKind::NoModel => {
                format!(
                    "{address} does not know model {}, or is not the right address{code}: {why}",
                    model.name
                )
            }
            FaultKind::Request if status == Some(407) => {
                format!(
                    "{address} was not reached: the proxy on the way to it asks for a name and password, and takes none that it \
                     was given{code}"
                )
            }
            FaultKind::Request => format!("{address} refused the request{code}: {why}"),
            FaultKind::TooLong => {
                format!(
                    "The conversation is longer than model {} takes, says {address}{code}: {why}",
                    model.name
                )
            }
            FaultKind::Unreachable => format!(
                "{address} cannot be reached{times}: {why}. Check that the server runs and that the address is right."
            ),
            FaultKind::Busy => format!("{address} cannot answer now{code}{times}: {why}"),
            FaultKind::Broken => format!("The answer of {address} did not come whole{code}{times}: {why}"),
        };
        Fault { kind, message, status }
    }
}

/// Returns the kind of a fault from what little servers agree on. `code` holds the error's type and code,
/// lower case.
fn kind(status: Option<u16>, code: &str, why: &str) -> FaultKind {
    let coded = |names: &[&str]| names.iter().any(|name| code.contains(name));
    let worded = |names: &[&str]| names.iter().any(|name| why.contains(name));
    let refused_size = matches!(status, None | Some(400 | 413 | 422));
    if coded(&["context_length_exceeded", "exceed_context_size", "request_too_large"])
        || status == Some(413)
        || refused_size
            && worded(&[
                "prompt is too long",
                "context length",
                "context limit",
                "context window",
                "context size",
            ])
    {
        FaultKind::TooLong
    } else if coded(&["insufficient_quota", "usage_limit_reached", "billing"])
        || status == Some(402)
        || worded(&["credit balance is too low"])
    {
        FaultKind::Credit
    } else if matches!(status, Some(401 | 403)) || coded(&["invalid_api_key", "authentication", "permission"])
    {
        FaultKind::Key
    } else if status == Some(404) || coded(&["not_found"]) {
        FaultKind::NoModel
    } else if matches!(status, Some(408 | 409 | 425 | 429 | 500..)) || coded(&["rate_limit", "overloaded"]) {
        FaultKind::Busy
    } else if status.is_some() || coded(&["invalid_request", "invalid_prompt"]) {
        FaultKind::Request
    } else {
        // Within a stream that had begun well, an error without a known name is most often an overload.
        FaultKind::Busy
    }
}

/// Returns the pause that an answer's headers ask for. `header` gives one by its lower-case name.
///
/// `retry-after` is seconds or a date (RFC 9110, 10.2.3); `retry-after-ms` is OpenAI's, and so are
/// `x-ratelimit-reset-*`, which say when a limit is wholly free again (`1s`, `6m0s`), so they come last.
pub(crate) fn pause_in_headers<'a>(
    header: impl Fn(&str) -> Option<&'a str>,
    now: SystemTime,
) -> Option<Duration> {
    if let Some(millis) = header("retry-after-ms").and_then(|v| v.trim().parse::<f64>().ok()) {
        return Duration::try_from_secs_f64(millis / 1000.0).ok();
    }
    let Some(value) = header("retry-after").map(str::trim) else {
        let reset = |name| leading_time(&header(name)?.trim().to_ascii_lowercase());
        let resets = ["x-ratelimit-reset-requests", "x-ratelimit-reset-tokens"].into_iter().filter_map(reset);
        return resets.max();
    };
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let at: SystemTime = jiff::fmt::rfc2822::parse(value).ok()?.timestamp().into();
    Some(at.duration_since(now).unwrap_or_default())
}

/// Returns the pause in a sentence like "Please try again in 1m2.5s" (or `500ms`, `3 seconds`).
fn pause_in_words(why: &str) -> Option<Duration> {
    let lower = why.to_ascii_lowercase();
    leading_time(lower.split_once("try again in ")?.1)
}

/// Returns the time that `rest`, in lower case, begins with.
fn leading_time(mut rest: &str) -> Option<Duration> {
    let mut seconds = None;
    loop {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let Ok(number) = rest[..number_end].parse::<f64>() else { break };
        rest = rest[number_end..].trim_start();
        let unit_end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = match &rest[..unit_end] {
            "ms" | "milliseconds" => 0.001,
            "s" | "sec" | "second" | "seconds" => 1.0,
            "m" | "min" | "minute" | "minutes" => 60.0,
            "h" | "hour" | "hours" => 3600.0,
            _ => break,
        };
        seconds = Some(seconds.unwrap_or(0.0) + number * unit);
        rest = &rest[unit_end..];
    }
    Duration::try_from_secs_f64(seconds?).ok()
}

/// Returns the first 200 bytes of what a server sent, on one line.
pub(crate) fn start_of(body: &str) -> String {
    let body = body.trim();
    let head = head(body, 200);
    let mut start = head.split_whitespace().collect::<Vec<_>>().join(" ");
    if head.len() < body.len() {
        start.push_str(" ...");
    }
    start
}

/// Returns the beginning of `text`, at most `bytes` long and of whole characters.
pub(crate) fn head(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// Returns `text` without the key, should a server have echoed it. Fewer than four characters are no secret,
/// but a word such as `no` for servers that want any key at all.
pub(crate) fn masked(text: &str, key: Option<&str>) -> String {
    match key {
        Some(key) if key.len() >= 4 => text.replace(key, "[key]"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FaultKind::*;

    #[test]
    fn the_table_of_faults() {
        let rows: &[(u16, &str, FaultKind, bool)] = &[
            (400, r#"{"error":{"message":"bad","type":"invalid_request_error"}}"#, Request, false),
            (
                400,
                r#"{"error":{"code":400,"type":"exceed_context_size_error","message":"x"}}"#,
                TooLong,
                false,
            ),
            (400, r#"{"error":{"code":"context_length_exceeded","message":"x"}}"#, TooLong, false),
            (
                400,
                r#"{"type":"error","error":{"type":"x","message":"prompt is too long: 9 > 8"}}"#,
                TooLong,
                false,
            ),
            (
                400,
                r#"{"error":{"message":"input and `max_tokens` exceed context limit: 9 + 8 > 10"}}"#,
                TooLong,
                false,
            ),
            (400, r#"{"error":{"message":"Your credit balance is too low"}}"#, Credit, false),
            (401, r#"{"error":{"message":"no"}}"#, Key, false),
            (403, "Forbidden", Key, false),
            (407, "<html>Log in</html>", Request, false),
            (402, "{}", Credit, false),
            (404, r#"{"detail":"Not Found"}"#, NoModel, false),
            (413, "", TooLong, false),
            (422, r#"{"detail":[{"loc":["body"],"msg":"x"}]}"#, Request, false),
            (408, "", Busy, true),
            (409, "", Busy, true),
            (425, "", Busy, true),
            (429, r#"{"error":{"message":"slow down"}}"#, Busy, true),
            (429, r#"{"error":{"type":"insufficient_quota","message":"pay"}}"#, Credit, false),
            (429, r#"{"error":{"type":"usage_limit_reached","message":"x"}}"#, Credit, false),
            (500, r#"[{"error":{"message":"x"}}]"#, Busy, true),
            (
                503,
                r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#,
                Busy,
                true,
            ),
            (529, r#"{"type":"error","error":{"type":"overloaded_error","message":"x"}}"#, Busy, true),
        ];
        for (status, body, kind, again) in rows {
            let trouble = Trouble::of_status(*status, None, body);
            assert_eq!((trouble.kind, trouble.again != Again::Never), (*kind, *again), "{status} {body}");
            assert!(!trouble.why.is_empty(), "{status} {body}");
        }
    }

    #[test]
    fn errors_within_a_stream() {
        let rows: &[(&str, FaultKind)] = &[
            (r#"{"code":"context_length_exceeded","message":"x"}"#, TooLong),
            (r#"{"code":"rate_limit_exceeded","message":"Please try again in 2s"}"#, Busy),
            (r#"{"code":"insufficient_quota","message":"x"}"#, Credit),
            (r#"{"type":"overloaded_error","message":"Overloaded"}"#, Busy),
            (r#"{"error":{"code":502,"message":"upstream"}}"#, Busy),
            (r#"{"error":{"code":400,"message":"no"}}"#, Request),
            (r#"{"message":"who knows"}"#, Busy),
            (r#""just words""#, Busy),
        ];
        for (error, kind) in rows {
            assert_eq!(Trouble::of_event(&serde_json::from_str(error).unwrap()).kind, *kind, "{error}");
        }
    }

    #[test]
    fn pauses() {
        let rows = [
            ("Please try again in 1.5s.", Some(1500)),
            ("try again in 500ms", Some(500)),
            ("Try again in 1m2.5s", Some(62_500)),
            ("try again in 3 seconds", Some(3000)),
            ("try again in a while", None),
            ("try again later", None),
        ];
        for (words, millis) in rows {
            assert_eq!(pause_in_words(words), millis.map(Duration::from_millis), "{words}");
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let rows = [
            ("retry-after", "7", Some(7000)),
            ("retry-after", "0.25", Some(250)),
            ("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT", Some(10_000)),
            ("retry-after", "Sun, 06 Nov 1994 08:49:27 GMT", Some(0)),
            ("retry-after", "soon", None),
            ("retry-after", "-5", None),
            ("retry-after-ms", "40", Some(40)),
            ("x-ratelimit-reset-requests", "1m2s", Some(62_000)),
            ("x-ratelimit-reset-tokens", "20ms", Some(20)),
            ("x-ratelimit-reset-tokens", "1762300000", None),
            ("other", "1", None),
        ];
        for (name, value, millis) in rows {
            let pause = pause_in_headers(|wanted| (wanted == name).then_some(value), now);
            assert_eq!(pause, millis.map(Duration::from_millis), "{name}: {value}");
        }
    }
}
