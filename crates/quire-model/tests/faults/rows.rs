//! The table of faults: what a server does, and what must come of it. A new fault is a row here.

use crate::KEY;
use crate::server::{Play, Then, stall, status, stream};
use crate::speech::{End, SAID, Speech, message};
use quire_core::Reply;
use quire_core::charter::Wire;
use quire_core::message::FaultKind::{
    self, Broken, Busy, Credit, Key, NoModel, Request, TooLong, Unreachable,
};
use quire_core::message::Stop;
use serde_json::{Value, json};

/// A fault, on every wire that can have it.
pub struct Row {
    pub fault: String,
    /// What the server does with each request in turn; nothing: there is no server.
    pub plays: Box<dyn Fn(Speech) -> Option<Vec<Play>> + Send + Sync>,
    pub must: Must,
    /// What else must be so of the reply.
    pub check: fn(&Reply, Speech),
    /// Changes the address that is asked.
    pub address: fn(&str) -> String,
    /// The server is silent for longer than the client waits.
    pub silent: bool,
}

/// What must come of a fault.
#[derive(Clone, Copy)]
pub enum Must {
    /// The task goes on, and the server was asked so often.
    GoOn { asked: usize },
    /// The task waits for its person, who is told this; the server was asked so often.
    Wait { kind: FaultKind, asked: usize, told: &'static str },
    /// The model declined; the task waits.
    Declined,
}

fn row(fault: &str, must: Must, plays: impl Fn(Speech) -> Vec<Play> + Send + Sync + 'static) -> Row {
    Row {
        fault: fault.to_owned(),
        plays: Box::new(move |speech| Some(plays(speech))),
        must,
        check: |reply, _| assert_eq!(reply.text, SAID),
        address: str::to_owned,
        silent: false,
    }
}

fn go_on(asked: usize) -> Must {
    Must::GoOn { asked }
}

/// Each of them is not tried again.
fn wait(kind: FaultKind, told: &'static str) -> Must {
    Must::Wait { kind, asked: 1, told }
}

/// Returns a body as most servers write their errors; it repeats the key, which nobody must ever see again.
fn error(code: &str, message: &str) -> String {
    json!({ "error": { "message": format!("{message} (you sent {KEY})"), "type": code, "code": code } })
        .to_string()
}

fn then_whole(first: Play) -> impl Fn(Speech) -> Vec<Play> {
    move |speech| vec![first.clone(), stream(speech.whole())]
}

pub fn rows() -> Vec<Row> {
    [connections(), statuses(), within_streams(), ends(), formats(), calls(), tokens()]
        .into_iter()
        .flatten()
        .collect()
}

fn connections() -> Vec<Row> {
    let nobody = |fault: &str, address: fn(&str) -> String, told| Row {
        plays: Box::new(|_| None),
        address,
        ..row(fault, Must::Wait { kind: Unreachable, asked: 0, told }, |_| vec![])
    };
    vec![
        nobody("connection refused", str::to_owned, "cannot be reached, after 4 tries"),
        nobody("no such host", |_| "http://quire.invalid/v1".to_owned(), "cannot be reached, after 4 tries"),
        Row {
            address: |url| url.replace("http://", "https://"),
            ..row(
                "no TLS where TLS is asked for",
                Must::Wait { kind: Unreachable, asked: 4, told: "cannot be reached, after 4 tries" },
                |_| vec![Play { then: Then::Early, ..status("400 Bad Request", "", "") }],
            )
        },
        row("reset before any answer", go_on(2), |speech| {
            vec![Play { bytes: vec![], then: Then::Reset }, stream(speech.whole())]
        }),
        row("closed before any answer", go_on(2), then_whole(Play { bytes: vec![], then: Then::Close })),
        Row {
            silent: true,
            ..row("no headers come", go_on(2), then_whole(Play { bytes: vec![], then: Then::Hold }))
        },
        row("sent on to another address", wait(Request, "sends on to http://elsewhere.test/"), |_| {
            vec![status(
                "307 Temporary Redirect",
                &format!("location: http://x:{KEY}@elsewhere.test/\r\n"),
                "",
            )]
        }),
    ]
}

fn statuses() -> Vec<Row> {
    let refused: &[(&str, &str, &str, FaultKind, &'static str)] = &[
        (
            "401 Unauthorized",
            "invalid_api_key",
            "Incorrect key",
            Key,
            "does not accept the key in LAB_KEY (401)",
        ),
        ("403 Forbidden", "permission_error", "Not yours", Key, "does not accept the key in LAB_KEY (403)"),
        ("400 Bad Request", "invalid_request_error", "Bad", Request, "refused the request (400): Bad"),
        ("404 Not Found", "not_found_error", "No tiny", NoModel, "does not know model tiny"),
        (
            "407 Proxy Authentication Required",
            "",
            "Log in",
            Request,
            "the proxy on the way to it asks for a name",
        ),
        ("422 Unprocessable Entity", "", "Bad", Request, "refused the request (422): Bad"),
        ("402 Payment Required", "", "Pay", Credit, "the credit or limit is used up (402): Pay"),
        (
            "429 Too Many Requests",
            "insufficient_quota",
            "Pay",
            Credit,
            "the credit or limit is used up (429): Pay",
        ),
        ("413 Payload Too Large", "request_too_large", "Big", TooLong, "longer than model tiny takes"),
        ("400 Bad Request", "context_length_exceeded", "Big", TooLong, "longer than model tiny takes"),
        ("400 Bad Request", "exceed_context_size_error", "Big", TooLong, "longer than model tiny takes"),
        ("400 Bad Request", "", "prompt is too long: 9 > 8", TooLong, "longer than model tiny takes"),
    ];
    let refused = refused.iter().map(|&(line, code, message, kind, told)| {
        let fault = format!("{line} {code}").trim().to_owned();
        row(&fault, wait(kind, told), move |_| vec![status(line, "", &error(code, message))])
    });
    let limit = json!({ "error": { "type": "usage_limit_reached", "message": "No more", "resets_in_seconds": 3600 } });
    let limit = row("429 usage_limit_reached", wait(Credit, "No more (resets in 60 min)"), move |_| {
        vec![status("429 Too Many Requests", "", &limit.to_string())]
    });
    let busy = [
        "408 Request Timeout",
        "409 Conflict",
        "425 Too Early",
        "429 Too Many Requests",
        "500 Internal Server Error",
        "502 Bad Gateway",
        "503 Service Unavailable",
        "504 Gateway Timeout",
        "529 Overloaded",
    ];
    let busy = busy
        .into_iter()
        .map(|line| row(line, go_on(2), then_whole(status(line, "", &error("overloaded_error", "Later")))));
    let pauses = [
        ("retry-after in seconds", "retry-after: 0\r\n", "Later"),
        ("retry-after as a date long past", "retry-after: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "Later"),
        ("retry-after-ms", "retry-after-ms: 3\r\n", "Later"),
        ("x-ratelimit-reset-requests", "x-ratelimit-reset-requests: 4ms\r\n", "Later"),
        ("\"try again in 5ms\"", "", "Please try again in 5ms"),
        ("a pause of an hour is asked for", "retry-after: 3600\r\n", "Later"),
    ];
    let pauses = pauses.into_iter().map(|(fault, headers, message)| {
        let play = status("429 Too Many Requests", headers, &error("rate_limit_exceeded", message));
        row(&format!("429, {fault}"), go_on(2), then_whole(play))
    });
    let always = Must::Wait { kind: Busy, asked: 6, told: "cannot answer now (503), after 6 tries" };
    let loading =
        json!({ "error": { "code": 503, "message": "Loading model", "type": "unavailable_error" } })
            .to_string();
    let others = vec![
        row("503 while the model loads, to the last try", always, move |_| {
            vec![status("503 Service Unavailable", "", &loading)]
        }),
        row("400 for a parameter that it does not take", go_on(2), |speech| {
            let name = match speech.0 {
                Wire::Responses => "include",
                Wire::Messages => "cache_control",
                _ => "parallel_tool_calls",
            };
            let body =
                json!({ "error": { "message": format!("Unknown parameter: '{name}'"), "param": name } });
            vec![status("400 Bad Request", "", &body.to_string()), stream(speech.whole())]
        }),
    ];
    refused.chain([limit]).chain(busy).chain(pauses).chain(others).collect()
}

fn within_streams() -> Vec<Row> {
    let rows: &[(&str, &str, &str, Must)] = &[
        ("overload", "overloaded_error", "Overloaded", go_on(2)),
        ("rate limit", "rate_limit_exceeded", "Please try again in 3ms", go_on(2)),
        ("server error", "server_error", "Oh", go_on(2)),
        ("context too long", "context_length_exceeded", "Big", wait(TooLong, "longer than model tiny takes")),
        ("no credit", "insufficient_quota", "Pay", wait(Credit, "credit or limit is used up: Pay")),
        ("key refused", "invalid_api_key", "No", wait(Key, "does not accept the key in LAB_KEY: No")),
    ];
    rows.iter()
        .map(|&(what, code, message, must)| {
            row(&format!("error in a stream that began well: {what}"), must, move |speech| {
                let message = format!("{message} (you sent {KEY})");
                let cut = speech.start()
                    + &speech.call_begun(1, "c1", "shell", "{\"command\":\"rm")
                    + &speech.error(code, &message);
                vec![stream(cut), stream(speech.whole())]
            })
        })
        .collect()
}

fn ends() -> Vec<Row> {
    let cut = |fault: &str, bytes: fn(Speech) -> Vec<u8>| {
        row(fault, go_on(2), move |speech| vec![stream(bytes(speech)), stream(speech.whole())])
    };
    let one_call = |reply: &Reply, _: Speech| assert_eq!(reply.calls.len(), 0);
    vec![
        cut("the stream ends after a text", |speech| (speech.start() + &speech.text(SAID)).into_bytes()),
        cut("the stream ends after a whole call", |speech| {
            (speech.start() + &speech.call(1, "c1", "shell", "{\"command\":\"rm x\"}")).into_bytes()
        }),
        cut("the stream ends within a call", |speech| {
            (speech.start() + &speech.call_begun(1, "c1", "shell", "{\"command\":\"rm x")).into_bytes()
        }),
        cut("the stream is cut within a character", |speech| {
            let all = speech.start() + &speech.text(SAID);
            let at = all.find('🎉').expect("it is said") + 2;
            all.as_bytes()[..at].to_vec()
        }),
        cut("the stream is cut within JSON", |speech| {
            let all = speech.start() + &speech.text(SAID);
            all.as_bytes()[..all.len() - 9].to_vec()
        }),
        cut("the stream is empty", |_| vec![]),
        cut("nothing but comments come", |_| b": PROCESSING\n\n: keep-alive\n\n".to_vec()),
        Row {
            silent: true,
            ..row("silence after a text", go_on(2), |speech| {
                vec![stall(&(speech.start() + &speech.text(SAID))), stream(speech.whole())]
            })
        },
        Row {
            silent: true,
            ..row("silence within a call", go_on(2), |speech| {
                vec![
                    stall(&(speech.start() + &speech.call_begun(1, "c1", "shell", "{\"command\":\"rm"))),
                    stream(speech.whole()),
                ]
            })
        },
        Row {
            check: |reply, _| assert_eq!((reply.text.as_str(), &reply.stop), (SAID, &Stop::Length)),
            ..row("the limit of output, within a text", go_on(1), |speech| {
                vec![stream(speech.start() + &speech.text(SAID) + &speech.end(End::Length))]
            })
        },
        Row {
            check: one_call,
            ..row("the limit of output, within a call", go_on(1), |speech| {
                let cut = speech.call_cut(1, "c1", "shell", "{\"command\":\"rm x");
                vec![stream(speech.start() + &speech.text(SAID) + &cut + &speech.end(End::Length))]
            })
        },
        row("the provider's filter", Must::Declined, |speech| {
            vec![stream(speech.start() + &speech.text(SAID) + &speech.end(End::Filter))]
        }),
        Row {
            // Only this wire has it.
            plays: Box::new(|speech| {
                let usage = speech.usage(json!(42), json!(7));
                let paused = speech.start() + &speech.text(SAID) + &speech.message_end("pause_turn", &usage);
                Some(vec![stream(if speech.0 == Wire::Messages { paused } else { speech.whole() })])
            }),
            check: |reply, speech| {
                // It goes on from there: the turn has not ended.
                let stop = if speech.0 == Wire::Messages { Stop::Length } else { Stop::Done };
                assert_eq!(reply.stop, stop);
            },
            ..row("pause_turn", go_on(1), |_| vec![])
        },
    ]
}

fn formats() -> Vec<Row> {
    let page = "<!DOCTYPE html><title>Log in</title>";
    let no_stream = |fault: &str, play: Play, told: &'static str| {
        row(fault, wait(Broken, told), move |_| vec![play.clone()])
    };
    let html = Play {
        bytes: format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n{page}")
            .into_bytes(),
        then: Then::Close,
    };
    let packed = Play {
        bytes: b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\nconnection: close\r\n\r\n\x1f\x8b\x08".to_vec(),
        then: Then::Close,
    };
    let as_sse = |fault: &str, change: fn(String) -> String| {
        row(fault, go_on(1), move |speech| vec![stream(change(speech.whole()))])
    };
    vec![
        no_stream("a page instead of a stream", html, "It begins: <!DOCTYPE html>"),
        no_stream("JSON that is no reply", status("200 OK", "", "{\"hello\":1}"), "It begins: {\"hello\":1}"),
        no_stream("text instead of a stream", status("200 OK", "", "Welcome"), "It begins: Welcome"),
        no_stream("packed, which was not asked for", packed, "it is packed (gzip)"),
        row("the reply whole, as JSON", go_on(1), |speech| {
            let usage = speech.usage(json!(42), json!(7));
            vec![status("200 OK", "", &match speech.0 {
                Wire::Responses => json!({ "status": "completed", "output": [message(SAID)], "usage": usage }),
                Wire::Messages => json!({ "type": "message", "role": "assistant", "content": [{ "type": "text", "text": SAID }], "stop_reason": "end_turn", "usage": usage }),
                _ => json!({ "choices": [{ "index": 0, "message": { "role": "assistant", "content": SAID }, "finish_reason": "stop" }], "usage": usage }),
            }.to_string())]
        }),
        as_sse("lines end in CR LF", |whole| whole.replace('\n', "\r\n")),
        as_sse("lines end in CR", |whole| whole.replace('\n', "\r")),
        as_sse("no blank after the colon", |whole| {
            whole.replace("data: ", "data:").replace("event: ", "event:")
        }),
        as_sse("a byte order mark", |whole| format!("\u{feff}{whole}")),
        as_sse("no event lines", |whole| {
            whole.lines().filter(|line| !line.starts_with("event:")).map(|line| format!("{line}\n")).collect()
        }),
        as_sse("no blank line at the end", |whole| whole.trim_end().to_owned()),
        as_sse("no [DONE]", |whole| whole.replace("data: [DONE]\n\n", "")),
        as_sse("comments and blank lines between", |whole| {
            whole.replace("\n\n", "\n\n\n: OPENROUTER PROCESSING\n\n")
        }),
        as_sse("data over several lines", |whole| whole.replace("data: {", "data: {\ndata: ")),
        as_sse("a line that is no JSON", |whole| format!("data: {{\"oops\n\n{whole}")),
        as_sse("JSON that nests a hundred thousand times", |whole| {
            let deep = "[".repeat(100_000);
            format!("data: {deep}\n\ndata: {{\"novel\":{deep}{}}}\n\n{whole}", "]".repeat(100_000))
        }),
        row("an event that is no text", go_on(1), |speech| {
            vec![stream([b"data: \xff\xfe\x00\x80\n\n".to_vec(), speech.whole().into_bytes()].concat())]
        }),
        row("a line without end", wait(Broken, "longer than 16 MiB"), |speech| {
            vec![stream([speech.start().into_bytes(), b"data: ".to_vec(), vec![b'x'; 17 << 20]].concat())]
        }),
        row("something that speaks no HTTP", go_on(2), |speech| {
            vec![
                Play { bytes: b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), then: Then::Close },
                stream(speech.whole()),
            ]
        }),
        row("a header without end", go_on(2), |speech| {
            let bytes = [b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'x'; 2 << 20]].concat();
            vec![Play { bytes, then: Then::Close }, stream(speech.whole())]
        }),
        row("events and fields of unknown kinds", go_on(1), |speech| {
            let odd = match speech.0 {
                Wire::Chat => json!({ "choices": [], "novel": { "a": [1] } }),
                _ => json!({ "type": "novel.event", "novel": { "a": [1] } }),
            };
            vec![stream(speech.start() + &speech.event(&odd) + &speech.text(SAID) + &speech.end(End::Done))]
        }),
        Row {
            check: |reply, _| assert_eq!(reply.text, format!("{SAID} [key] {SAID}")),
            ..row("the key is sent back in a reply", go_on(1), |speech| {
                let text = format!("{SAID} {KEY} {SAID}");
                let call = speech.call(1, "c1", "shell", &format!("{{\"command\":\"echo {KEY}\"}}"));
                vec![stream(speech.start() + &speech.text(&text) + &call + &speech.end(End::Done))]
            })
        },
        row("an item told twice, and deltas after its end", go_on(1), |speech| {
            let twice = match speech.0 {
                Wire::Responses => {
                    let done = json!({ "type": "response.output_item.done", "output_index": 0, "item": message(SAID) });
                    let late = json!({ "type": "response.output_text.delta", "output_index": 0, "delta": "late" });
                    speech.event(&done) + &speech.event(&late)
                }
                Wire::Messages => speech.event(&json!({ "type": "content_block_stop", "index": 0 })),
                _ => speech.event(&json!({ "choices": [{ "index": 0, "delta": { "role": "assistant", "content": null } }] })),
            };
            vec![stream(speech.start() + &speech.text(SAID) + &twice + &speech.end(End::Done))]
        }),
    ]
}

fn calls() -> Vec<Row> {
    let call = |fault: &str, calls: &'static [(&'static str, &'static str, &'static str)], check| Row {
        check,
        ..row(fault, go_on(1), move |speech| {
            let calls: String = (1..)
                .zip(calls)
                .map(|(place, (id, name, input))| speech.call(place, id, name, input))
                .collect();
            vec![stream(speech.start() + &calls + &speech.end(End::Done))]
        })
    };
    let one = |reply: &Reply, _: Speech| assert_eq!(reply.calls.len(), 1);
    // A part of the call is lost, and what is left of it would run.
    let lost = row("a part of a call that is no JSON", go_on(2), |speech| {
        let part = match speech.0 {
            Wire::Chat => r#"data: {"choices":[{"delta":{"tool_calls":[{"index":0,"func"#,
            _ => "data: {\"type\":\"content_block_delta\",\"ind",
        };
        let call = speech.call(1, "c1", "shell", "{\"command\":\"rm -r /tmp/\"}");
        let end = speech.end(End::Done);
        let whole_anyway = speech.whole();
        vec![
            stream(if speech.0 == Wire::Responses {
                String::new()
            } else {
                speech.start() + part + "\n\n" + &call + &end
            }),
            stream(whole_anyway),
        ]
    });
    let halves = Row {
        check: |reply, _| {
            assert_eq!(
                (reply.text.as_str(), reply.calls[0].input.as_str()),
                (SAID, "{\"command\":\"echo 🎉\"}")
            )
        },
        ..row("a character cut into halves of UTF-16", go_on(1), |speech| {
            vec![stream(speech.start() + &speech.halved() + &speech.end(End::Done))]
        })
    };
    vec![
        lost,
        halves,
        call("a call of a tool that there is not", &[("c1", "teleport", "{}")], one),
        call("a call whose input is no JSON", &[("c1", "shell", "{\"command\":")], one),
        call("a call whose input is no object", &[("c1", "shell", "[1]")], one),
        call("a call with an empty input", &[("c1", "shell", "")], one),
        call(
            "two calls with one id",
            &[("c1", "shell", "{\"command\":\"a\"}"), ("c1", "shell", "{\"command\":\"b\"}")],
            |reply, _| {
                let inputs: Vec<&str> = reply.calls.iter().map(|call| call.input.as_str()).collect();
                assert_eq!(inputs, ["{\"command\":\"a\"}", "{\"command\":\"b\"}"]);
            },
        ),
    ]
}

/// What a server says of tokens.
type Usages = fn(Speech) -> Value;

fn tokens() -> Vec<Row> {
    let usages: [(&str, Usages); 4] = [
        ("no usage", |_| json!({})),
        ("usage of null", |_| Value::Null),
        ("usage of zero", |speech| speech.usage(json!(0), json!(0))),
        ("negative usage", |speech| speech.usage(json!(-5), json!(-1))),
    ];
    let estimated = |reply: &Reply, _: Speech| {
        assert!(
            reply.usage.estimated && reply.usage.input > 0 && reply.usage.output > 0,
            "{:?}",
            reply.usage
        );
    };
    usages
        .into_iter()
        .map(|(fault, usage)| Row {
            check: estimated,
            ..row(fault, go_on(1), move |speech| {
                // Without what the start says on one wire.
                let start = if speech.0 == Wire::Messages { String::new() } else { speech.start() };
                vec![stream(start + &speech.text(SAID) + &speech.end_with(End::Done, &usage(speech)))]
            })
        })
        .collect()
}
