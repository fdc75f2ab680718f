//! A model whose words are written by the test, behind a real HTTP server that speaks all three wires.
//!
//! A script is a function of what the model was asked, and above all of how often it has answered already: so a request
//! that is asked again, after a fault or after its asker was killed, is answered the same.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Responses,
    Chat,
    Messages,
}

impl Wire {
    pub const ALL: [Wire; 3] = [Wire::Responses, Wire::Chat, Wire::Messages];

    /// Returns its name in the settings.
    pub fn name(self) -> &'static str {
        match self {
            Wire::Responses => "responses",
            Wire::Chat => "chat",
            Wire::Messages => "messages",
        }
    }
}

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    pub wire: Wire,
    /// Request line and headers, in lower case.
    pub head: String,
    pub body: String,
    /// The conversation's items, byte for byte but for the marks that tell a provider where to cache.
    pub items: Vec<String>,
    /// How often the model has answered in this conversation.
    pub answered: usize,
    /// What the person and quire said, in order.
    pub words: Vec<String>,
    /// What came of all tool calls, in order.
    pub results: Vec<String>,
}

/// What the model answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Text, which may be empty, and calls as (tool, input as it is written on the wire).
    Reply(String, Vec<(String, String)>),
    /// An error with this status and body.
    Status(u16, &'static str),
    /// 200, and then something that is no stream of this wire.
    Nonsense,
    /// A stream that ends in its midst.
    Cut,
}

/// Returns a reply without a call, which ends the turn.
pub fn say(text: &str) -> Answer {
    Answer::Reply(text.to_owned(), vec![])
}

/// Returns a reply with one call.
pub fn call(tool: &str, input: Value) -> Answer {
    calls(&[(tool, input)])
}

pub fn calls(calls: &[(&str, Value)]) -> Answer {
    Answer::Reply(
        String::new(),
        calls.iter().map(|(tool, input)| ((*tool).to_owned(), input.to_string())).collect(),
    )
}

pub fn shell(command: &str) -> Answer {
    call("shell", json!({ "command": command }))
}

/// The server. It ends with the test.
#[derive(Clone)]
pub struct Model {
    pub url: String,
    state: Arc<State>,
}

struct State {
    script: Box<dyn Fn(&Asked) -> Answer + Send + Sync>,
    heard: Mutex<Heard>,
    changed: Condvar,
}

struct Heard {
    asked: Vec<Asked>,
    /// Connections on which something was asked.
    connections: usize,
    /// Requests wait from this number of answers on.
    held_from: usize,
}

/// Longest time that anything may take until a test counts as failed.
const SOON: Duration = Duration::from_secs(90);

impl Model {
    /// Starts a model that answers with `answers`, one after the other, and then ends each turn with "Done.".
    pub fn saying(answers: Vec<Answer>) -> Model {
        Model::new(move |asked| answers.get(asked.answered).cloned().unwrap_or_else(|| say("Done.")))
    }

    pub fn new(script: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Model {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/v1", listener.local_addr().expect("an address"));
        let heard = Mutex::new(Heard { asked: vec![], connections: 0, held_from: usize::MAX });
        let state = Arc::new(State { script: Box::new(script), heard, changed: Condvar::new() });
        let served = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = served.clone();
                // Whoever asked may be gone before the answer; that is for the test to notice.
                thread::spawn(move || state.serve(stream));
            }
        });
        Model { url, state }
    }

    /// From now on a request waits where the model has answered `answers` times or more. Those that wait and may go on do.
    pub fn hold_from(&self, answers: usize) {
        self.state.heard().held_from = answers;
        self.state.changed.notify_all();
    }

    pub fn let_go(&self) {
        self.hold_from(usize::MAX);
    }

    /// Waits until so many requests came in which the model had answered exactly `answers` times.
    pub fn wait_for(&self, answers: usize, times: usize) {
        let heard = self.state.heard();
        let not_yet =
            |heard: &mut Heard| heard.asked.iter().filter(|a| a.answered == answers).count() < times;
        let (heard, late) = self
            .state
            .changed
            .wait_timeout_while(heard, SOON, not_yet)
            .unwrap_or_else(PoisonError::into_inner);
        let came: Vec<usize> = heard.asked.iter().map(|asked| asked.answered).collect();
        assert!(!late.timed_out(), "request {answers} did not come {times} times: {came:?}");
    }

    /// Waits until so many requests came, of whatever conversations.
    pub fn wait_for_all(&self, requests: usize) {
        let not_yet = |heard: &mut Heard| heard.asked.len() < requests;
        let waited = self.state.changed.wait_timeout_while(self.state.heard(), SOON, not_yet);
        let (heard, late) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!late.timed_out(), "of {requests} requests {} came", heard.asked.len());
    }

    /// Returns on how many connections something was asked.
    pub fn connections(&self) -> usize {
        self.state.heard().connections
    }

    /// Returns every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.state.heard().asked.clone()
    }
}

impl State {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one request after the other, until the client closes the connection.
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        // An answer's end must not wait until its beginning was acknowledged.
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(&stream);
        let mut is_first = true;
        while let Some((head, body)) = read_request(&mut reader)? {
            self.heard().connections += usize::from(std::mem::take(&mut is_first));
            if !self.answer(&stream, head, body)? {
                break;
            }
        }
        Ok(())
    }

    /// Returns whether the connection goes on.
    fn answer(&self, stream: &TcpStream, head: String, body: String) -> std::io::Result<bool> {
        if head.starts_with("get ") {
            let list = json!({ "object": "list", "data": [{ "id": "lab-model" }] }).to_string();
            return respond(stream, "200 OK", "application/json", &list);
        }
        let asked = Asked::read(head, body);
        let mut heard = self.heard();
        heard.asked.push(asked.clone());
        self.changed.notify_all();
        let held = |heard: &mut Heard| asked.answered >= heard.held_from;
        drop(self.changed.wait_while(heard, held).unwrap_or_else(PoisonError::into_inner));
        let written = |text: &str, calls: &[(String, String)]| match asked.wire {
            Wire::Responses => responses(asked.answered, text, calls),
            Wire::Chat => chat(asked.answered, text, calls),
            Wire::Messages => messages(asked.answered, text, calls),
        };
        match (self.script)(&asked) {
            Answer::Reply(text, calls) => {
                respond(stream, "200 OK", "text/event-stream", &written(&text, &calls))
            }
            Answer::Status(status, body) => {
                respond(stream, &format!("{status} No"), "application/json", body)
            }
            Answer::Nonsense => respond(stream, "200 OK", "text/html", "<html>Welcome to the router</html>"),
            Answer::Cut => {
                let body = written("Half a sen", &[]);
                let half = &body[..body.find("Half a").expect("the text") + 3];
                send(stream, "200 OK", "text/event-stream", half)?;
                Ok(false)
            }
        }
    }
}

/// Returns the next request; `None` where the connection was closed.
fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<(String, String)>> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.to_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some((head, String::from_utf8(body).expect("JSON"))))
}

/// Answers, and keeps the connection.
fn respond(mut stream: &TcpStream, status: &str, kind: &str, body: &str) -> std::io::Result<bool> {
    send(stream, status, kind, body)?;
    stream.write_all(b"0\r\n\r\n")?;
    Ok(true)
}

/// Sends an answer but for its end.
fn send(mut stream: &TcpStream, status: &str, kind: &str, body: &str) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n");
    stream.write_all(format!("{head}{:x}\r\n{body}\r\n", body.len()).as_bytes())
}

impl Asked {
    fn read(head: String, body: String) -> Asked {
        #[derive(Deserialize)]
        struct Body<'b> {
            #[serde(borrow, alias = "messages")]
            input: Vec<&'b RawValue>,
        }
        let wire = match head.split(' ').nth(1) {
            Some("/v1/responses") => Wire::Responses,
            Some("/v1/chat/completions") => Wire::Chat,
            Some("/v1/messages") => Wire::Messages,
            other => panic!("a request to {other:?}"),
        };
        let items: Vec<String> = serde_json::from_str::<Body>(&body)
            .unwrap_or_else(|error| panic!("{error}: {body}"))
            .input
            .iter()
            .map(|item| item.get().replace(r#","cache_control":{"type":"ephemeral"}"#, ""))
            .collect();
        let mut asked = Asked { wire, head, body, items, answered: 0, words: vec![], results: vec![] };
        let mut is_models_turn = false;
        for item in asked.items.clone() {
            let item: Value = serde_json::from_str(&item).expect("JSON");
            let was = std::mem::replace(&mut is_models_turn, is_the_models(&item));
            if is_models_turn && !was {
                asked.answered += 1;
            }
            if !is_models_turn {
                asked.hear(&item);
            }
        }
        asked
    }

    /// Takes over what an item that is not the model's says.
    fn hear(&mut self, item: &Value) {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
            _ => String::new(),
        };
        if item["type"] == "function_call_output" {
            self.results.push(text(&item["output"]));
        } else if item["role"] == "tool" {
            self.results.push(text(&item["content"]));
        } else if item["role"] == "user" {
            let blocks = item["content"].as_array().cloned().unwrap_or_default();
            let results: Vec<&Value> = blocks.iter().filter(|block| block["type"] == "tool_result").collect();
            self.results.extend(results.iter().map(|block| text(&block["content"])));
            if results.is_empty() {
                self.words.push(text(&item["content"]));
            } else {
                let said = blocks.iter().filter(|block| block["type"] == "text");
                self.words.extend(said.filter_map(|block| block["text"].as_str().map(str::to_owned)));
            }
        }
    }
}

fn is_the_models(item: &Value) -> bool {
    item["role"] == "assistant" || item["type"] == "function_call" || item["type"] == "reasoning"
}

/// Writes the model's own items with blanks and numbers as no serializer of ours would: they must come back as they were.
fn responses(nth: usize, text: &str, calls: &[(String, String)]) -> String {
    let mut items = vec![format!(
        r#"{{"id":"rs_{nth}", "type":"reasoning","summary":[ ],"encrypted_content":"Zm9v{nth}","weight":1.50e0}}"#
    )];
    if !text.is_empty() {
        let text = Value::from(text);
        items.push(format!(
            r#"{{"type":"message","id":"msg_{nth}","role":"assistant","status":"completed","content":[{{"type":"output_text","text":{text},"annotations":[]}}]}}"#
        ));
    }
    for (place, (tool, input)) in calls.iter().enumerate() {
        let (tool, input) = (Value::from(tool.as_str()), Value::from(input.as_str()));
        items.push(format!(
            r#"{{ "type":"function_call","id":"fc_{nth}_{place}","call_id":"call_{nth}_{place}","name":{tool},"arguments":{input},"status":"completed"}}"#
        ));
    }
    if text.is_empty() && calls.is_empty() {
        items.clear();
    }
    let mut events = String::from("event: response.created\ndata: {\"type\":\"response.created\"}\n\n");
    for (place, item) in items.iter().enumerate() {
        if item.contains("output_text") {
            let delta = json!({ "type": "response.output_text.delta", "output_index": place, "delta": text });
            events.push_str(&format!("event: response.output_text.delta\ndata: {delta}\n\n"));
        }
        events.push_str(&format!(
            "event: response.output_item.done\ndata: {{\"type\":\"response.output_item.done\",\"output_index\":{place},\"item\":{item}}}\n\n"
        ));
    }
    let usage = json!({ "input_tokens": 100, "input_tokens_details": { "cached_tokens": 60 }, "output_tokens": 10, "total_tokens": 110 });
    let ended = json!({ "type": "response.completed", "response": { "id": format!("resp_{nth}"), "status": "completed", "output": [], "usage": usage } });
    events + &format!("event: response.completed\ndata: {ended}\n\n")
}

fn chat(nth: usize, text: &str, calls: &[(String, String)]) -> String {
    let mut events = String::new();
    let mut push = |delta: Value, finish: Value| {
        let chunk = json!({ "id": "c", "object": "chat.completion.chunk", "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] });
        events.push_str(&format!("data: {chunk}\n\n"));
    };
    push(json!({ "role": "assistant", "content": "" }), Value::Null);
    if !text.is_empty() {
        push(json!({ "content": text }), Value::Null);
    }
    for (place, (tool, input)) in calls.iter().enumerate() {
        let function = json!({ "name": tool, "arguments": "" });
        push(
            json!({ "tool_calls": [{ "index": place, "id": format!("call_{nth}_{place}"), "type": "function", "function": function }] }),
            Value::Null,
        );
        let half = (0..=input.len() / 2).rev().find(|at| input.is_char_boundary(*at)).unwrap_or(0);
        for piece in [&input[..half], &input[half..]] {
            push(
                json!({ "tool_calls": [{ "index": place, "function": { "arguments": piece } }] }),
                Value::Null,
            );
        }
    }
    push(json!({}), json!(if calls.is_empty() { "stop" } else { "tool_calls" }));
    let usage = json!({ "id": "c", "choices": [], "usage": { "prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": { "cached_tokens": 60 } } });
    events + &format!("data: {usage}\n\ndata: [DONE]\n\n")
}

fn messages(nth: usize, text: &str, calls: &[(String, String)]) -> String {
    let mut events = String::new();
    let mut push = |event: Value| {
        let kind = event["type"].as_str().expect("a type").to_owned();
        events.push_str(&format!("event: {kind}\ndata: {event}\n\n"));
    };
    let usage = json!({ "input_tokens": 40, "cache_read_input_tokens": 60, "output_tokens": 1 });
    push(
        json!({ "type": "message_start", "message": { "id": format!("msg_{nth}"), "role": "assistant", "content": [], "usage": usage } }),
    );
    let mut index = 0;
    let mut block = |start: Value, deltas: &[Value]| {
        push(json!({ "type": "content_block_start", "index": index, "content_block": start }));
        for delta in deltas {
            push(json!({ "type": "content_block_delta", "index": index, "delta": delta }));
        }
        push(json!({ "type": "content_block_stop", "index": index }));
        index += 1;
    };
    if !text.is_empty() || !calls.is_empty() {
        block(
            json!({ "type": "thinking", "thinking": "", "signature": "" }),
            &[
                json!({ "type": "thinking_delta", "thinking": "Let me see." }),
                json!({ "type": "signature_delta", "signature": format!("c2ln{nth}") }),
            ],
        );
    }
    if !text.is_empty() {
        block(json!({ "type": "text", "text": "" }), &[json!({ "type": "text_delta", "text": text })]);
    }
    for (place, (tool, input)) in calls.iter().enumerate() {
        block(
            json!({ "type": "tool_use", "id": format!("toolu_{nth}_{place}"), "name": tool, "input": {} }),
            &[json!({ "type": "input_json_delta", "partial_json": input })],
        );
    }
    let stop = if calls.is_empty() { "end_turn" } else { "tool_use" };
    push(
        json!({ "type": "message_delta", "delta": { "stop_reason": stop }, "usage": { "output_tokens": 10 } }),
    );
    push(json!({ "type": "message_stop" }));
    events
}
