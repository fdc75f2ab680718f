//! Every fault of a model's server, on every wire, against a server that controls each byte: the task goes on, or it waits for
//! its person with words that say why. Nothing is lost, nothing is told twice, no call runs that did not come whole, and a
//! key that a server sends back is in nothing that comes of it.
//!
//! `--table` prints fault and outcome, and `--markdown` the same for the documentation.

#[path = "faults/rows.rs"]
mod rows;
#[path = "faults/server.rs"]
mod server;
#[path = "faults/speech.rs"]
mod speech;

use libtest_mimic::{Arguments, Failed, Trial};
use quire_core::charter::{Charter, Edits, Limits, Model, Purpose, Sandbox, Wire};
use quire_core::event::{Base, Conventions, Event, Logged, Why};
use quire_core::message::{Fault, FaultKind};
use quire_core::{Phase, Prompt, Reply, Task, ToolSpec, Want, settle, view};
use quire_model::{Client, Glimpse, Patience};
use rows::{Must, Row, rows};
use server::{Play, Server, Then};
use speech::{SAID, Speech};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

pub const KEY: &str = "sk-very-secret-0123";
const WIRES: [(Wire, &str); 3] =
    [(Wire::Responses, "responses"), (Wire::Chat, "chat"), (Wire::Messages, "messages")];
/// What is tried after each byte that a whole answer has, beside the rows.
const CUT: &str = "cut after any byte";
const CANCEL: &str = "cancelled after any byte";

/// By fault and wire, what came of it.
type Outcomes = Arc<Mutex<BTreeMap<(usize, &'static str), String>>>;

fn main() -> ExitCode {
    let mut args: Vec<_> = std::env::args().collect();
    let markdown = args.iter().any(|arg| arg == "--markdown");
    let table = markdown || args.iter().any(|arg| arg == "--table");
    args.retain(|arg| arg != "--table" && arg != "--markdown");
    let (outcomes, mut trials) = (Outcomes::default(), Vec::new());
    let all: Arc<Vec<Row>> = Arc::new(rows());
    for place in 0..all.len() + 2 {
        for (wire, name) in WIRES {
            let (all, outcomes) = (all.clone(), outcomes.clone());
            let title = fault(&all, place).replace(' ', "_");
            trials.push(Trial::test(format!("{name}::{title}"), move || {
                let came = match all.get(place) {
                    Some(row) => block_on(try_row(row, Speech(wire)))?,
                    None if place == all.len() => block_on(cut(Speech(wire)))?,
                    None => block_on(cancel(Speech(wire)))?,
                };
                outcomes.lock().expect("no panic").insert((place, name), came);
                Ok(())
            }));
        }
    }
    let conclusion = libtest_mimic::run(&Arguments::from_iter(args), trials);
    if table {
        println!("{}", printed(&all, &outcomes.lock().expect("no panic"), markdown));
    }
    conclusion.exit_code()
}

fn fault(all: &[Row], place: usize) -> &str {
    let whole = if place == all.len() { CUT } else { CANCEL };
    all.get(place).map_or(whole, |row| row.fault.as_str())
}

fn printed(all: &[Row], outcomes: &BTreeMap<(usize, &'static str), String>, markdown: bool) -> String {
    let mut out = String::new();
    let of = |place, wire| outcomes.get(&(place, wire)).map_or("FAILED", String::as_str);
    if markdown {
        writeln!(out, "\n| fault | responses | chat | messages |\n|---|---|---|---|").expect("memory");
    } else {
        writeln!(out, "\n{:<58}{:<44}{:<44}messages", "fault", "responses", "chat").expect("memory");
    }
    for place in 0..all.len() + 2 {
        let fault = fault(all, place);
        let [a, b, c] = WIRES.map(|(_, wire)| of(place, wire));
        if markdown {
            writeln!(out, "| {fault} | {a} | {b} | {c} |").expect("memory");
        } else {
            writeln!(out, "{fault:<58}{a:<44}{b:<44}{c}").expect("memory");
        }
    }
    let failed = (0..all.len() + 2)
        .flat_map(|place| WIRES.map(|(_, wire)| of(place, wire)))
        .filter(|o| *o == "FAILED");
    writeln!(
        out,
        "\n{} faults on {} wires, {} not as they must be",
        all.len() + 2,
        WIRES.len(),
        failed.count()
    )
    .expect("memory");
    out
}

fn block_on<T>(what: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(120), what).await.map_err(|_| "it never came to an end")?
    })
}

fn model(wire: Wire, base_url: &str) -> Model {
    Model {
        provider: "lab".to_owned(),
        name: "tiny".to_owned(),
        wire,
        base_url: base_url.to_owned(),
        key_env: Some("LAB_KEY".to_owned()),
        edits: Edits::EditAndWrite,
        images: false,
        context_tokens: None,
        output_tokens: None,
        price: None,
    }
}

/// Returns a task whose first request is open.
fn asking(model: Model) -> Task {
    let charter = Charter {
        folders: vec!["/home/ada/site".into()],
        model: Some(model),
        fallback_models: vec![],
        review_model: None,
        compact_model: None,
        checks: vec![],
        limits: Limits::default(),
        sandbox: Sandbox::default(),
        env: vec![],
        hooks: vec![],
        secrets: vec![],
        purpose: Purpose::Change,
        new_folder: false,
    };
    let opened = Event::Opened { charter: Box::new(charter), words: "Make me a homepage".to_owned() };
    let mut task = Task::open(7, &Logged { seq: 1, at_ms: 0, event: opened }).expect("a log's beginning");
    let input = serde_json::json!({ "type": "object", "properties": { "command": { "type": "string" } } });
    let shell = ToolSpec { name: "shell".into(), description: "Runs a command.".into(), input, reads: false };
    let first = [
        Event::Taken { epoch: 1 },
        Event::Equipped {
            system: "Be brief.".into(),
            tools: vec![shell],
            rung: "whole machine".into(),
            weak: None,
            conventions: Conventions::default(),
            attached: None,
        },
        Event::Frozen { bases: vec![Base { id: 1, delta: 0, files: 0, bytes: 0, git: None }] },
    ];
    first.into_iter().for_each(|event| task.push(event, 0).expect("it follows"));
    assert_eq!(settle(&mut task, 0).expect("it follows").1, [Want::Ask]);
    task
}

/// What asking brought: the reply or fault, and all that was shown meanwhile.
struct Asked {
    result: Result<Reply, Fault>,
    shown: Vec<Glimpse>,
}

async fn ask(client: &Client, model: &Model, prompt: &Prompt) -> Asked {
    let shown = Mutex::new(Vec::new());
    let result = client
        .ask(model, Some(KEY), prompt, &HashMap::new(), &|g| shown.lock().expect("no panic").push(g))
        .await;
    Asked { result, shown: shown.into_inner().expect("no panic") }
}

fn patience(silent: bool) -> Patience {
    Patience {
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(20),
        connect: Duration::from_secs(5),
        // Long enough for a busy machine, where silence is no part of the test.
        idle: if silent { Duration::from_millis(700) } else { Duration::from_secs(60) },
        linger: Duration::from_secs(5),
        ..Patience::default()
    }
}

async fn try_row(row: &Row, speech: Speech) -> Result<String, Failed> {
    let server = match (row.plays)(speech) {
        Some(plays) => Some(Server::start(plays).await),
        None => None,
    };
    let address = match &server {
        Some(server) => server.url.clone(),
        None => {
            let free = TcpListener::bind("127.0.0.1:0").await?;
            format!("http://{}/v1", free.local_addr()?)
        }
    };
    let model = model(speech.0, &(row.address)(&address));
    let mut task = asking(model.clone());
    let prompt = task.prompt();
    let Asked { result, shown } = ask(&Client::with(patience(row.silent)), &model, &prompt).await;
    let bodies = server.as_ref().map(Server::bodies).unwrap_or_default();
    nothing_twice(&shown, &result);

    let event = match &result {
        Ok(reply) => Event::Replied { reply: reply.clone() },
        Err(fault) => Event::AskFailed { fault: fault.clone(), spent: false },
    };
    let written = serde_json::to_string(&event)?;
    task.push(event, 0)?;
    let (begun, _) = settle(&mut task, 0)?;
    let told = match &task.phase {
        Phase::Waiting(why) => Some(view::why_text(why, &task)),
        _ => None,
    };
    let all = format!("{written} {shown:?} {begun:?} {told:?} {}", view::state(&task));
    assert!(!all.contains(KEY), "the key is in what came of it: {all}");

    let tries = bodies.len();
    match (row.must, &result) {
        (Must::GoOn { asked }, Ok(reply)) => {
            // What is silent in the test may be so by itself on a busy machine.
            assert!(tries == asked || row.silent && tries > asked, "asked {tries} times");
            let same =
                bodies.iter().filter(|body| !body.is_empty()).all(|body| body.contains("Make me a homepage"));
            assert!(same, "{bodies:?}");
            whole_calls(reply, &task);
            (row.check)(reply, speech);
            assert_eq!(task.phase, Phase::Working, "{}", view::state(&task));
            Ok(if asked == 1 { "goes on".to_owned() } else { "asked again, goes on".to_owned() })
        }
        (Must::Declined, Ok(reply)) => {
            assert_eq!(reply.text, SAID, "what was said is kept");
            // The words of the end wait for the sandbox to be sealed.
            let declined = matches!(task.phase, Phase::Waiting(Why::Refused(_)));
            assert!(declined, "{:?}", task.phase);
            Ok(format!("waits: {}", waits(&task)))
        }
        (Must::Wait { kind, asked, told: words }, Err(fault)) => {
            assert_eq!((fault.kind, tries), (kind, asked), "{}", fault.message);
            assert!(fault.message.contains(words), "{words:?} is not in {:?}", fault.message);
            if kind == FaultKind::TooLong && task.phase == Phase::Working {
                return Ok("made shorter, goes on".to_owned());
            }
            let told = told.ok_or("a task that waits says why")?;
            assert!(!told.safe.is_empty() && told.next.contains("quire"), "{told:?}");
            assert_eq!(task.prompt(), prompt, "nothing that was said is lost");
            Ok(format!("waits: {}", waits(&task)))
        }
        (_, Ok(reply)) => Err(format!("a reply came: {reply:?}").into()),
        (_, Err(fault)) => Err(format!("it failed: {:?} {}", fault.kind, fault.message).into()),
    }
}

fn waits(task: &Task) -> String {
    let state = view::state(task);
    state.strip_prefix("needs you: ").unwrap_or(&state).to_owned()
}

/// Each call has an id of its own, and one that would run is whole.
fn whole_calls(reply: &Reply, task: &Task) {
    let ids: std::collections::BTreeSet<&str> = reply.calls.iter().map(|call| call.id.as_str()).collect();
    assert_eq!(ids.len(), reply.calls.len(), "{:?}", reply.calls);
    let (_, wants) = settle(&mut task.clone(), 0).expect("it follows");
    for want in wants {
        let Want::Call(place) = want else { continue };
        let input = &reply.calls[place as usize].input;
        let input = if input.is_empty() { "{}" } else { input };
        assert!(
            serde_json::from_str::<serde_json::Value>(input).is_ok_and(|input| input.is_object()),
            "{input} would run"
        );
    }
}

/// What was shown after the last new beginning is what the reply says, once.
fn nothing_twice(shown: &[Glimpse], result: &Result<Reply, Fault>) {
    let Ok(reply) = result else { return };
    let begun = shown.iter().rposition(|glimpse| *glimpse == Glimpse::Restarted).map_or(0, |at| at + 1);
    let text: String = shown[begun..]
        .iter()
        .filter_map(|g| if let Glimpse::Text(text) = g { Some(text.as_str()) } else { None })
        .collect();
    assert!(
        text == reply.text || text == reply.text.replace('🎉', "") || text == format!("{}late", reply.text),
        "{text:?} was shown, {:?} came",
        reply.text
    );
}

/// An answer with a text and a call, whole.
fn answer(speech: Speech) -> Vec<u8> {
    let call = speech.call(1, "c1", "shell", "{\"command\":\"rm x\"}");
    server::stream(speech.start() + &speech.text(SAID) + &call + &speech.end(speech::End::Done)).bytes
}

/// The connection ends after each byte that a server can have sent: it is asked again, and the answer is there once.
async fn cut(speech: Speech) -> Result<String, Failed> {
    let all = answer(speech);
    let whole = Play { bytes: all.clone(), then: Then::Close };
    let client = Client::with(patience(false));
    for bytes in 0..all.len() {
        let plays = vec![Play { bytes: all[..bytes].to_vec(), then: Then::Close }, whole.clone()];
        let server = Server::start(plays).await;
        let model = model(speech.0, &server.url);
        let prompt = asking(model.clone()).prompt();
        let Asked { result, shown } = ask(&client, &model, &prompt).await;
        nothing_twice(&shown, &result);
        let reply = result.map_err(|fault| format!("{bytes}: {fault}"))?;
        let inputs: Vec<&str> = reply.calls.iter().map(|call| call.input.as_str()).collect();
        assert_eq!(
            (reply.text.as_str(), inputs.as_slice()),
            (SAID, &["{\"command\":\"rm x\"}"][..]),
            "{bytes}"
        );
        // All that counts may be there before the last byte.
        assert!(
            server.bodies().len() == 2 || bytes > all.len() / 2,
            "{bytes}: asked {}",
            server.bodies().len()
        );
    }
    Ok("asked again, goes on".to_owned())
}

/// The person stops the task after each byte that a server can have sent: the connection is closed, and the task is as it
/// was before it was asked.
async fn cancel(speech: Speech) -> Result<String, Failed> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let model = model(speech.0, &format!("http://{}/v1", listener.local_addr()?));
    let all = answer(speech);
    let client = Client::with(patience(false));
    for bytes in 0..all.len() {
        let mut task = asking(model.clone());
        let prompt = task.prompt();
        let mut asking = Box::pin(ask(&client, &model, &prompt));
        let (sent, mut sent_now) = tokio::sync::oneshot::channel();
        let serving = async {
            let (mut stream, _) = listener.accept().await?;
            server::request(&mut stream).await.ok_or("a request")?;
            stream.write_all(&all[..bytes]).await?;
            let _ = sent.send(());
            // Returns once the client has closed.
            while !matches!(stream.read(&mut [0; 64]).await, Ok(0) | Err(_)) {}
            Ok::<(), Failed>(())
        };
        let stopping = async move {
            // A reply may be whole before its last byte.
            tokio::select! {
                _ = &mut sent_now => None,
                asked = &mut asking => Some(asked),
            }
        };
        let (served, asked) = tokio::join!(serving, stopping);
        served?;
        if let Some(Asked { result: Err(fault), .. }) = asked {
            return Err(format!("{bytes}: {fault}").into());
        }
        task.push(Event::Paused { why: Why::Person }, 0)?;
        assert_eq!((view::state(&task).as_str(), task.prompt()), ("paused", prompt), "{bytes}");
    }
    Ok("closed, paused, nothing kept".to_owned())
}
