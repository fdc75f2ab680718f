//! What many steps cost: `bench/steps [STEPS]`. A task of so many steps (1,000 where nothing is said) runs through the binary against a
//! model server in this process, which answers at once; then a task with a hundred events for each step is resumed.

use quire_core::event::{Seq, Verdict, Why};
use quire_core::message::Stop;
use quire_core::{Call, Event, Hash, Item, Outcome, Reply, Task, Usage};
use quire_engine::store::{Store, Writer};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// Events of each step of the long log: a request, a reply with so many calls, their outcomes, a snapshot.
const EVENTS_A_STEP: usize = 100;
const CALLS_A_STEP: usize = (EVENTS_A_STEP - 4) / 2;

fn main() -> Fallible<()> {
    let mut arguments = std::env::args_os().skip(1);
    let binary = fs::canonicalize(arguments.next().ok_or("usage: steps_cost QUIRE [STEPS]")?)?;
    let steps: usize = arguments.next().and_then(|n| n.to_str()?.parse().ok()).unwrap_or(1_000);
    let lab = tempfile::Builder::new().prefix("quire-bench-").tempdir_in("/var/tmp")?;
    let bench = Bench::new(binary, lab.path())?;
    let ended = bench.steps(steps).and_then(|()| bench.resume(steps));
    bench.quire(&["host", "--stop"])?;
    ended
}

struct Bench {
    binary: PathBuf,
    lab: PathBuf,
    model: Model,
}

impl Bench {
    fn new(binary: PathBuf, lab: &Path) -> Fallible<Bench> {
        let model = Model::start()?;
        fs::create_dir_all(lab.join("folder"))?;
        fs::create_dir_all(lab.join("config/quire"))?;
        let settings = format!(
            "model = \"lab/m\"\n[providers.lab]\nbase_url = \"{}\"\nwire = \"chat\"\n[budget]\ntokens = \"none\"\n",
            model.url
        );
        fs::write(lab.join("config/quire/config.toml"), settings)?;
        Ok(Bench { binary, lab: lab.to_owned(), model })
    }

    fn quire(&self, arguments: &[&str]) -> Fallible<Duration> {
        let begun = Instant::now();
        let out = Command::new(&self.binary)
            .args(arguments)
            .current_dir(self.lab.join("folder"))
            .env("QUIRE_HOME", self.lab.join("data"))
            .env("XDG_CONFIG_HOME", self.lab.join("config"))
            .stdin(Stdio::null())
            .output()?;
        let took = begun.elapsed();
        if !out.status.success() {
            return Err(format!("quire {arguments:?}: {}", String::from_utf8_lossy(&out.stderr)).into());
        }
        Ok(took)
    }

    /// Runs `steps` steps and prints what some of them cost the host.
    fn steps(&self, steps: usize) -> Fallible<()> {
        self.model.set(steps);
        let most = (steps + 1).to_string();
        let home = self.lab.join("data");
        self.model.watch(Box::new(move || cpu_of_host(&home)));
        let took = self.quire(&["run", "--max-steps", &most, "--max-time", "10h", "count to the end"])?;
        let asked = self.model.asked();
        println!("{steps} steps in {:.1} s\n", took.as_secs_f64());
        println!("| steps | request, kB | host's CPU a step, ms | wall a step, ms |\n|---|---|---|---|");
        let width = 20.min(steps / 3).max(1);
        for at in [width, 100, 300, 1_000, 3_000, 10_000].into_iter().filter(|at| *at <= steps) {
            let (from, to) = (&asked[at - width], &asked[at]);
            let of = |time: Duration| time.as_secs_f64() * 1_000.0 / width as f64;
            println!(
                "| {}-{at} | {:.0} | {:.2} | {:.2} |",
                at - width + 1,
                to.bytes as f64 / 1_000.0,
                of(to.cpu.saturating_sub(from.cpu)),
                of(to.at - from.at)
            );
        }
        println!();
        for (what, arguments) in
            [("ls", &["ls"][..]), ("log 1", &["log", "1"]), ("review 1", &["review", "1"])]
        {
            println!("quire {what}: {:.0} ms", self.quire(arguments)?.as_secs_f64() * 1_000.0);
        }
        Ok(())
    }

    /// Lengthens the log of that task, and resumes it from where no process knows of it.
    fn resume(&self, steps: usize) -> Fallible<()> {
        self.quire(&["host", "--stop"])?;
        let home = self.lab.join("data");
        let store = Store::open(&home)?;
        // A short one to compare with.
        self.model.set(1);
        self.quire(&["run", "one step"])?;
        self.quire(&["host", "--stop"])?;
        for (task, steps) in [(2, 0), (1, steps)] {
            let seq = lengthen(&store, task, steps)?;
            let kept = home.join(format!("tasks/{task}/fold"));
            let (mut folded, mut carried_on) = (vec![], vec![]);
            for _ in 0..5 {
                for times in [&mut folded, &mut carried_on] {
                    let fresh = Store::open(&home)?;
                    let begun = Instant::now();
                    fresh.task(task)?;
                    times.push(begun.elapsed());
                }
                // Short logs have none.
                let _ = fs::remove_file(&kept);
            }
            Store::open(&home)?.task(task)?;
            self.model.set(0);
            let asked = self.model.asked().len();
            let begun = Instant::now();
            let returned = self.quire(&["resume", &task.to_string()])?;
            let leaves = self.model.wait_for(asked)?.at.duration_since(begun);
            self.quire(&["watch", &task.to_string()])?;
            let (name, bytes) = (task.to_string(), self.model.asked()[asked].bytes);
            println!(
                "\n{seq} events: folded in {:.0} ms, and from where that was kept in {:.0} ms; `quire resume` returns after {:.0} ms; its request, {:.1} MB, arrives after {:.0} ms",
                median(folded).as_secs_f64() * 1_000.0,
                median(carried_on).as_secs_f64() * 1_000.0,
                returned.as_secs_f64() * 1_000.0,
                bytes as f64 / 1e6,
                leaves.as_secs_f64() * 1_000.0,
            );
            for arguments in [&["ls"][..], &["log", &name], &["watch", &name]] {
                println!(
                    "quire {}: {:.0} ms",
                    arguments.join(" "),
                    self.quire(arguments)?.as_secs_f64() * 1_000.0
                );
            }
            self.quire(&["host", "--stop"])?;
        }
        Ok(())
    }
}

/// Appends a turn of `steps` steps to a task's log, as a driver would have written it, and pauses the task.
fn lengthen(store: &Store, id: u64, steps: usize) -> Fallible<Seq> {
    let mut task = store.task(id)?;
    let mut written = task.seq;
    let mut batch = vec![];
    let mut push = |task: &mut Task, event: Event| -> Fallible<()> {
        task.push(event.clone(), task.last_ms)?;
        batch.push(event);
        if batch.len() >= 1_000 || matches!(batch.last(), Some(Event::Paused { .. })) {
            written = store.append(id, written, Writer::Person, std::mem::take(&mut batch)).wait()?;
        }
        Ok(())
    };
    push(&mut task, Event::Said { words: "go on".into() })?;
    let reply = |step: usize| {
        let call = |n: usize| Call {
            id: format!("c{step}-{n}"),
            tool: "shell".into(),
            input: format!("{{\"command\":\"echo {step} {n}\"}}"),
        };
        let calls: Vec<Call> = (0..CALLS_A_STEP).map(call).collect();
        let function = |call: &Call| json!({ "name": call.tool, "arguments": call.input });
        let said =
            calls.iter().map(|call| json!({ "id": call.id, "type": "function", "function": function(call) }));
        let item = json!({ "role": "assistant", "content": null, "tool_calls": said.collect::<Vec<_>>() });
        Ok::<Reply, serde_json::Error>(Reply {
            wire: quire_core::charter::Wire::Chat,
            items: vec![Item::parse(item.to_string())?],
            text: String::new(),
            calls,
            stop: Stop::Done,
            usage: Usage { input: 1_000, output: 100, ..Usage::default() },
            by: "lab/m".into(),
        })
    };
    for step in 0..steps {
        let heard = task.seq;
        let worst = Some(task.worst());
        push(&mut task, Event::Asked { heard, worst })?;
        push(&mut task, Event::Replied { reply: reply(step)? })?;
        push(&mut task, Event::Judged { verdicts: vec![Verdict::Run; CALLS_A_STEP] })?;
        for call in 0..CALLS_A_STEP as u32 {
            push(&mut task, Event::Called { call })?;
        }
        for call in 0..CALLS_A_STEP as u32 {
            let outcome = Outcome::said(format!("{step} {call}\n[exit 0 after 0.01 s]"));
            push(&mut task, Event::Returned { call, outcome })?;
        }
        let snapshot = task.snapshot.unwrap_or_else(|| Hash::of(b"none"));
        push(&mut task, Event::Snapped { snapshot })?;
    }
    push(&mut task, Event::Paused { why: Why::Person })?;
    Ok(written)
}

/// Returns the CPU time of the host of this home so far; none where it does not run.
fn cpu_of_host(home: &Path) -> Duration {
    let pid = || {
        let stream = UnixStream::connect(home.join("host.sock")).ok()?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).ok()?;
        serde_json::from_str::<Value>(&line).ok()?["hello"]["pid"].as_i64()
    };
    static PID: Mutex<Option<i64>> = Mutex::new(None);
    let mut known = PID.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(pid) = known.or_else(pid) else { return Duration::ZERO };
    *known = Some(pid);
    let (mut clock, mut now) = (0, libc::timespec { tv_sec: 0, tv_nsec: 0 });
    // SAFETY: both calls write to their last argument alone.
    let read = unsafe {
        libc::clock_getcpuclockid(pid as libc::pid_t, &raw mut clock) == 0
            && libc::clock_gettime(clock, &raw mut now) == 0
    };
    if read { Duration::new(now.tv_sec as u64, now.tv_nsec as u32) } else { Duration::ZERO }
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

/// A model that asks for one command in each reply, and ends after so many.
struct Model {
    url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    heard: Mutex<Heard>,
    changed: std::sync::Condvar,
}

#[derive(Default)]
struct Heard {
    asked: Vec<Asked>,
    /// Replies with a call that are still to be given.
    left: usize,
    watch: Option<Box<dyn Fn() -> Duration + Send>>,
}

/// A request, and what its sender had used when it came.
#[derive(Clone, Copy)]
struct Asked {
    bytes: usize,
    at: Instant,
    cpu: Duration,
}

impl Model {
    fn start() -> Fallible<Model> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}/v1", listener.local_addr()?);
        let state = Arc::<State>::default();
        let served = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = served.clone();
                // Whoever asks may end at any time.
                std::thread::spawn(move || drop(state.serve(&stream)));
            }
        });
        Ok(Model { url, state })
    }

    fn set(&self, left: usize) {
        self.state.heard().left = left;
    }

    fn watch(&self, watch: Box<dyn Fn() -> Duration + Send>) {
        self.state.heard().watch = Some(watch);
    }

    fn asked(&self) -> Vec<Asked> {
        self.state.heard().asked.clone()
    }

    /// Waits for the request of that number.
    fn wait_for(&self, number: usize) -> Fallible<Asked> {
        let not_yet = |heard: &mut Heard| heard.asked.len() <= number;
        let heard =
            self.state.changed.wait_timeout_while(self.state.heard(), Duration::from_secs(60), not_yet);
        let (heard, _) = heard.unwrap_or_else(PoisonError::into_inner);
        heard.asked.get(number).copied().ok_or_else(|| "the request did not come".into())
    }
}

impl State {
    fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::with_capacity(1 << 20, stream);
        let mut body = vec![];
        loop {
            let mut length = 0;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line)? == 0 {
                    return Ok(());
                }
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap_or(0);
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            body.resize(length, 0);
            reader.read_exact(&mut body)?;
            let (step, calls) = {
                let mut heard = self.heard();
                let cpu = heard.watch.as_ref().map_or(Duration::ZERO, |watch| watch());
                heard.asked.push(Asked { bytes: length, at: Instant::now(), cpu });
                let calls = heard.left > 0;
                heard.left = heard.left.saturating_sub(1);
                (heard.asked.len(), calls)
            };
            self.changed.notify_all();
            let answer = answer(step, calls);
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
            let mut stream = stream;
            stream.write_all(format!("{head}content-length: {}\r\n\r\n{answer}", answer.len()).as_bytes())?;
        }
    }
}

fn answer(step: usize, calls: bool) -> String {
    let input = json!({ "command": format!("seq {step} {}", step + 30) }).to_string();
    let function = json!({ "name": "shell", "arguments": input });
    let call =
        json!([{ "index": 0, "id": format!("call_{step}"), "type": "function", "function": function }]);
    let delta = if calls { json!({ "tool_calls": call }) } else { json!({ "content": "Done." }) };
    let finish = if calls { "tool_calls" } else { "stop" };
    let chunk = json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] });
    let usage = json!({ "choices": [], "usage": { "prompt_tokens": 1000, "completion_tokens": 10 } });
    format!("data: {chunk}\n\ndata: {usage}\n\ndata: [DONE]\n\n")
}
