//! A day's budget holds, to the last part of a cent: a hundred tasks at once, driven from two stores of one home as by two
//! processes, against a server that takes all that it is allowed to and counts what it would charge. Streams are cut, requests
//! refused, and drivers die in the midst of a request.
//!
//! The fold, the store and the wire are the real ones; only the tools are left out, so that no sandbox is needed.

use quire_core::charter::{Charter, Edits, Limits, Model, Purpose, Sandbox, Wire};
use quire_core::event::{Base, Conventions, Why};
use quire_core::money::Price;
use quire_core::{Event, Phase, Task, ToolSpec, Usage, Usd, Want, settle};
use quire_engine::store::{AppendError, Store, Writer};
use quire_model::{Client, Leave, Patience, Unanswered};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const TASKS: u64 = 100;
const PRICE: Price = Price {
    input: Usd(3_000_001),
    cached: Usd(300_000),
    cache_write: Usd(3_750_003),
    output: Usd(15_000_007),
};
const DAY: Usd = Usd(3_000_000_000_000);

/// What the server did, and would charge.
#[derive(Default)]
struct Counted {
    requests: AtomicU64,
    cut: AtomicU64,
    pico: AtomicU64,
}

async fn serve(listener: TcpListener, counted: Arc<Counted>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream, counted.clone()));
    }
}

/// Answers one request after the other on a connection.
async fn answer(mut stream: TcpStream, counted: Arc<Counted>) -> Option<()> {
    let mut bytes = vec![];
    loop {
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length: usize = head.lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok())?;
        while bytes.len() < end + length {
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
        let body: Value = serde_json::from_slice(&bytes[end..end + length]).ok()?;
        bytes.drain(..end + length);
        let nth = counted.requests.fetch_add(1, Ordering::Relaxed);
        if nth % 11 == 3 {
            let refused = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(refused.as_bytes()).await.ok()?;
            continue;
        }
        // A token for each byte of the request, none of it cached, all of it written; and all the output that was allowed.
        let (input, output) = (length as u64, body["max_tokens"].as_u64().expect("the output is bounded"));
        let usage = Usage { input, cache_write: input, output, ..Usage::default() };
        counted.pico.fetch_add(PRICE.of(usage).0, Ordering::Relaxed);
        let call = json!({ "index": 0, "id": "", "function": { "name": "look", "arguments": format!("{{broken {nth}") } });
        let said = json!({ "choices": [{ "delta": { "content": "x".repeat(300), "tool_calls": [call] }, "finish_reason": "tool_calls" }] });
        let used = json!({ "choices": [], "usage": {
            "prompt_tokens": input, "completion_tokens": output, "prompt_tokens_details": { "cache_write_tokens": input } } });
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunk = |text: String| format!("{:x}\r\n{text}\r\n", text.len());
        if nth % 7 == 5 {
            counted.cut.fetch_add(1, Ordering::Relaxed);
            let begun = chunk("data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n".to_owned());
            stream.write_all(format!("{head}{begun}").as_bytes()).await.ok()?;
            return None;
        }
        let whole = chunk(format!("data: {said}\n\ndata: {used}\n\ndata: [DONE]\n\n"));
        stream.write_all(format!("{head}{whole}0\r\n\r\n").as_bytes()).await.ok()?;
    }
}

fn charter(url: &str, task_usd: Usd) -> Charter {
    Charter {
        folders: vec!["/somewhere".into()],
        review_model: None,
        compact_model: None,
        fallback_models: vec![],
        model: Some(Model {
            provider: "lab".into(),
            name: "dear".into(),
            wire: Wire::Chat,
            base_url: url.into(),
            key_env: None,
            edits: Edits::EditAndWrite,
            images: false,
            context_tokens: None,
            output_tokens: Some(500),
            price: Some(PRICE),
        }),
        checks: vec![],
        limits: Limits { day_usd: Some(DAY), task_usd: Some(task_usd), ..Limits::default() },
        sandbox: Sandbox::default(),
        env: vec![],
        hooks: vec![],
        secrets: vec![],
        purpose: Purpose::Change,
        new_folder: false,
    }
}

fn equipped() -> Event {
    let look = ToolSpec {
        name: "look".into(),
        description: "Looks.".into(),
        input: json!({ "type": "object" }),
        reads: true,
    };
    Event::Equipped {
        system: "Be brief.".into(),
        tools: vec![look],
        rung: "none".into(),
        weak: None,
        conventions: Conventions::default(),
        attached: None,
    }
}

/// A driver without a sandbox: it takes the task over, and asks and asks until the task waits for its person.
struct Driver {
    store: Store,
    client: Client,
    task: u64,
    /// Requests of whose midst it dies.
    dies_at: Vec<u64>,
}

impl Driver {
    async fn drive(&self) {
        let mut asked = 0;
        'lives: loop {
            let (epoch, _) = self.store.take(self.task).await.unwrap();
            let by = Writer::Driver { epoch };
            let mut commits = self.store.commits();
            loop {
                let before = self.store.task(self.task).unwrap();
                let mut task = before.clone();
                let (begun, todo) = settle(&mut task, 0).unwrap();
                if !begun.is_empty() {
                    match self.store.append(self.task, before.seq, by, begun).await {
                        Ok(_) => {}
                        Err(
                            AppendError::Day { spent, needs, limit, .. }
                            | AppendError::Shared { spent, needs, limit, .. },
                        ) if spent.plus(needs) <= limit => {
                            // Others hold what is left; they come to less, or to nothing.
                            let _ = tokio::time::timeout(Duration::from_millis(200), commits.changed()).await;
                            continue;
                        }
                        Err(error @ (AppendError::Day { spent, .. } | AppendError::Shared { spent, .. })) => {
                            let is_day = matches!(error, AppendError::Day { .. });
                            let why = if is_day { Why::Day { spent } } else { Why::Shared { spent } };
                            let paused = vec![Event::Paused { why }];
                            self.store.append(self.task, before.seq, by, paused).await.unwrap();
                            return;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                let task = self.store.task(self.task).unwrap();
                if task.phase != Phase::Working {
                    return;
                }
                if todo.contains(&Want::Freeze) && !todo.contains(&Want::Ask) {
                    assert!(todo.iter().all(|want| matches!(want, Want::Freeze)), "{todo:?}");
                    continue;
                }
                assert!(todo.contains(&Want::Ask), "{todo:?}");
                asked += 1;
                let answer = self.ask(&task, by);
                let answer = if self.dies_at.contains(&asked) {
                    // Long enough that the request left, most often.
                    match tokio::time::timeout(Duration::from_millis(3), answer).await {
                        Ok(answer) => answer,
                        Err(_) => continue 'lives,
                    }
                } else {
                    answer.await
                };
                let seq = self.store.task(self.task).unwrap().seq;
                self.store.append(self.task, seq, by, vec![answer]).await.unwrap();
                if self.store.task(self.task).unwrap().phase != Phase::Working {
                    // It is as a person who goes on whenever the model does not answer.
                    let seq = self.store.task(self.task).unwrap().seq;
                    let on = vec![Event::Resumed { model: None }];
                    self.store.append(self.task, seq, Writer::Person, on).await.unwrap();
                }
            }
        }
    }

    async fn ask(&self, task: &Task, by: Writer) -> Event {
        let (store, id) = (self.store.clone(), self.task);
        let again = move || -> Leave {
            let store = store.clone();
            Box::pin(async move {
                let task = store.task(id).unwrap();
                let Ok(event) = task.ask_again() else { return false };
                store.append(id, task.seq, by, vec![event]).await.is_ok()
            })
        };
        let model = task.charter.model.as_ref().unwrap();
        let prompt = task.prompt();
        let asked = self.client.ask_within(model, None, &prompt, &HashMap::new(), &|_| {}, &again).await;
        match asked {
            Ok(reply) => Event::Replied { reply },
            Err(Unanswered { fault, charged }) => Event::AskFailed { fault, spent: charged },
        }
    }
}

/// What was opened, and what came of it.
struct Race {
    stores: [Store; 2],
    counted: Arc<Counted>,
    /// The most that was ever spent and held at once, by all tasks.
    most: Usd,
    _home: tempfile::TempDir,
}

/// Drives `tasks` tasks of so much each at once; `also` says what stands in a task's log beside.
async fn race(tasks: u64, task_usd: Usd, also: fn(u64) -> Option<Event>) -> Race {
    let home = tempfile::tempdir().unwrap();
    let stores = [Store::open(home.path()).unwrap(), Store::open(home.path()).unwrap()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let counted = Arc::new(Counted::default());
    let server = tokio::spawn(serve(listener, counted.clone()));
    let patience = Patience {
        tries: 3,
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(5),
        ..Patience::default()
    };
    let client = Client::with(patience);
    let mut drivers = tokio::task::JoinSet::new();
    let most_seen = Arc::new(Mutex::new(Usd::ZERO));
    for n in 0..tasks {
        let store = stores[(n % 2) as usize].clone();
        let charter = Box::new(charter(&url, task_usd));
        let opened = Event::Opened { charter, words: format!("task {n}") };
        let events = [opened].into_iter().chain(also(n)).chain([equipped()]);
        let task = store.create(events.collect()).await.unwrap().task;
        let dies_at = if n % 10 == 0 { vec![2, 5] } else { vec![] };
        let driver = Driver { store, client: client.clone(), task, dies_at };
        let most_seen = most_seen.clone();
        drivers.spawn(async move {
            driver.drive().await;
            let now = driver.store.spent().unwrap();
            let mut most = most_seen.lock().unwrap();
            *most = (*most).max(now.spent.plus(now.held));
        });
    }
    while let Some(done) = drivers.join_next().await {
        done.unwrap();
    }
    server.abort();
    let most = *most_seen.lock().unwrap();
    Race { stores, counted, most, _home: home }
}

/// The first of them is task 1, as in every new home.
fn attempt(n: u64) -> Option<Event> {
    Some(Event::Attempt { first: 1, number: n as u32 + 1, of: 12, shared: true })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_at_once_never_overspend_what_they_have_together() {
    const TOGETHER: Usd = Usd(DAY.0 / 6);
    let Race { stores, counted, most, .. } = race(12, TOGETHER, attempt).await;
    let charged = Usd(counted.pico.load(Ordering::Relaxed));
    let tasks: Vec<Task> = (1..=12).map(|id| stores[1].task(id).unwrap()).collect();
    let logged = tasks.iter().fold(Usd::ZERO, |sum, task| sum.plus(task.spending().spent()));
    println!("12 attempts: charged {} of {TOGETHER}, counted {}", charged.dollars(), logged.dollars());
    assert!(charged <= logged && logged <= TOGETHER, "{charged:?} <= {logged:?} <= {TOGETHER:?}");
    assert!(most <= TOGETHER);
    assert!(logged.0 > TOGETHER.0 / 2, "{logged:?}: most of it was there to be used");
    let shared = |task: &&Task| matches!(task.phase, Phase::Waiting(Why::Shared { .. } | Why::Money));
    assert_eq!(tasks.iter().filter(shared).count(), 12, "each came to the end of it");
    let dearest = tasks.iter().map(|task| task.spending().spent()).max().unwrap();
    assert!(dearest.0 > TOGETHER.0 / 12, "{dearest:?}: it is no equal share");
}

/// A task that begins in an attempt spends of the same budget, and one that stands alone does not.
#[tokio::test]
async fn what_begins_in_an_attempt_shares_its_budget() {
    for shared in [true, false] {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        let most = Usd(DAY.0 / 6);
        let snapshot = store.blobs().put(&[&quire_core::Snapshot::default().to_blob()]).unwrap()[0];
        let opened =
            Event::Opened { charter: Box::new(charter("http://127.0.0.1:9/v1", most)), words: "x".into() };
        let attempt = Event::Attempt { first: 1, number: 1, of: 2, shared };
        let base = Base { id: 1, delta: 0, files: 0, bytes: 0, git: None };
        let frozen = Event::Frozen { bases: vec![base] };
        let created =
            store.create(vec![opened, attempt, Event::Taken { epoch: 1 }, equipped(), frozen]).await.unwrap();
        let by = Writer::Driver { epoch: 1 };
        let third = |heard| Event::Asked {
            heard,
            worst: Some(quire_core::money::Worst { cost: Some(Usd(most.0 / 5 * 2)), ..Default::default() }),
        };
        let reply = quire_core::Reply {
            wire: Wire::Chat,
            items: vec![],
            text: "Done.".into(),
            calls: vec![],
            stop: quire_core::message::Stop::Done,
            usage: Usage { estimated: true, ..Usage::default() },
            by: String::new(),
        };
        let turn = vec![
            third(created.seq),
            Event::Replied { reply },
            Event::Sealed { layer: 0, snapshot, apart: Default::default(), checks: vec![], files: None },
            Event::Presented { version: 1, snapshot },
        ];
        store.append(created.task, created.seq, by, turn).await.unwrap();
        let step = store.task(created.task).unwrap().checkpoints().last().unwrap().step;
        // Two fifths are spent. One child reserves as much, and there is no room for a second.
        let mut came = vec![];
        for _ in 0..2 {
            let child = store.fork(created.task, step).await.unwrap().task;
            let said = store.task(child).unwrap();
            let on = vec![Event::Said { words: "another way".into() }];
            store.append(child, said.seq, Writer::Person, on).await.unwrap();
            let (epoch, seq) = store.take(child).await.unwrap();
            let asked = store.append(child, seq, Writer::Driver { epoch }, vec![third(seq)]).await;
            came.push(match asked {
                Ok(_) => "room",
                Err(AppendError::Shared { .. }) => "none",
                Err(error) => panic!("{error}"),
            });
        }
        assert_eq!(came, if shared { ["room", "none"] } else { ["room", "room"] }, "{shared}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_tasks_at_once_never_overspend() {
    let Race { stores, counted, most, .. } = race(TASKS, Usd(DAY.0 / 20), |_| None).await;
    let charged = Usd(counted.pico.load(Ordering::Relaxed));
    let sums = stores[0].spent().unwrap();
    let tasks: Vec<Task> = (1..=TASKS).map(|id| stores[1].task(id).unwrap()).collect();
    let logged = tasks.iter().fold(Usd::ZERO, |sum, task| sum.plus(task.spending().spent()));
    let guessed: u32 = tasks.iter().map(|task| task.spending().guessed).sum();
    println!(
        "{} tasks, {} requests, {} cut, {guessed} counted at their most; charged {} of {DAY}, counted {}",
        TASKS,
        counted.requests.load(Ordering::Relaxed),
        counted.cut.load(Ordering::Relaxed),
        charged.dollars(),
        logged.dollars()
    );
    assert!(charged <= logged && logged <= DAY, "{charged:?} <= {logged:?} <= {DAY:?}");
    assert!(most <= DAY);
    assert_eq!((sums.spent, sums.held), (logged, Usd::ZERO), "the table is what the logs say");
    assert!(charged.0 > DAY.0 / 2, "{charged:?}: most of it was there to be used");
    assert!(counted.cut.load(Ordering::Relaxed) > 10 && guessed > 10);
    let waits = |why: fn(&Why) -> bool| {
        tasks.iter().filter(|task| matches!(&task.phase, Phase::Waiting(w) if why(w))).count()
    };
    let (day, money) = (waits(|why| matches!(why, Why::Day { .. })), waits(|why| matches!(why, Why::Money)));
    assert_eq!(day + money, TASKS as usize, "each came to the end of a budget");
    assert!(day > 0, "and some to that of the day");
}
