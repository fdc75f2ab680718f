//! `quire demo`: two whole journeys, in which nothing but the model is recorded. Tasks are opened, driven, reviewed, accepted
//! and undone by the same engine as any others; only the host runs in this very process, so that nothing outlives it.

mod stage;

use crate::cli::DemoArgs;
use crate::cmd::{Face, follow, print_json, review};
use crate::error::{Exit, Failure};
use crate::layout::{columns, cut, one_line, pad, wrap};
use crate::terminal::{clean, print};
use quire_core::charter::{Edits, Model, Wire};
use quire_core::event::{Trouble, Why};
use quire_core::view::{Progress, Review, first_line, why_text};
use quire_core::{Event, Hash, Logged, Phase};
use quire_engine::settings::{self, Options, Surroundings};
use quire_engine::{Choice, EngineError, Heard, Link, Quire};
use serde_json::{Value, json};
use stage::{Stage, tree_hash};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A folder to work on, what is asked for, and the recorded model's side of the conversation.
pub struct Sample {
    name: &'static str,
    heading: &'static str,
    words: &'static str,
    check: &'static str,
    edits: Edits,
    tape: &'static str,
    files: &'static [(&'static str, &'static str)],
}

macro_rules! files {
    ($folder:literal: $($path:literal),+) => {
        &[$(($path, include_str!(concat!("../../demo/", $folder, "/", $path)))),+]
    };
}

const SAMPLES: [Sample; 2] = [
    Sample {
        name: "repair-cafe",
        heading: "Notes and a spreadsheet become a web page",
        words: "Make a one-page homepage from my notes and the spreadsheet.",
        check: "sh check.sh",
        edits: Edits::EditAndWrite,
        tape: include_str!("../../demo/repair-cafe.tape.json"),
        files: files!["repair-cafe": "notes.md", "visits.csv", "check.sh"],
    },
    Sample {
        name: "bill",
        heading: "A failing test is mended",
        words: "Fix the failing test.",
        check: "sh test.sh",
        edits: Edits::ApplyPatch,
        tape: include_str!("../../demo/bill.tape.json"),
        files: files![
            "bill": "README.md", "bill.awk", "test.sh", "cases/books.in", "cases/books.out", "cases/cafe.in",
            "cases/cafe.out", "cases/empty.in", "cases/empty.out", "cases/long.in", "cases/long.out", "cases/refund.in",
            "cases/refund.out"
        ],
    },
];

impl Sample {
    fn tape_name(&self) -> String {
        format!("{}.tape.json", self.name)
    }

    fn paths(&self) -> impl Iterator<Item = &'static str> {
        self.files.iter().map(|(path, _)| *path)
    }

    /// Returns a file of the sample's, by its name as in `crates/quire/demo`.
    fn built_in(&self, name: &str) -> io::Result<String> {
        if name == self.tape_name() {
            return Ok(self.tape.to_owned());
        }
        let path = name.strip_prefix(self.name).and_then(|rest| rest.strip_prefix('/'));
        let file = self.files.iter().find(|(at, _)| Some(*at) == path);
        file.map(|(_, content)| (*content).to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// How long the host of this process may take to listen.
const HOST_START: Duration = Duration::from_secs(10);

pub fn demo(args: &DemoArgs, face: &Face) -> Result<Exit, Failure> {
    let here = Surroundings::capture();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // Before there is anything to tidy up.
    let stop = Stop::listen(&runtime)?;
    let stage = Stage::new(&here).map_err(no_place)?;
    for sample in &SAMPLES {
        let content = |name: &str| match &args.from {
            Some(dir) => std::fs::read_to_string(dir.join(name)),
            None => sample.built_in(name),
        };
        stage.set(sample, content).map_err(no_place)?;
    }
    let told = Told { face, width: face.out.width.clamp(60, 100) };
    told.line(&told.bold("The model in this demo is a recording."))?;
    told.text(
        "Its words were written down before: no model is asked, no key is used, nothing goes over a network. All else \
         happens now, on this machine: the sandbox, each command in it, the files, the checks, accept and undo.",
    )?;

    let inside = stage.surroundings(&here);
    let journeys = journeys(Play::begin(runtime, stop, &inside)?, &stage, &inside, &told)?;
    let kept = stage.keep_folders().map_err(no_place)?;
    if face.json {
        print_json(json!({"recorded": true, "journeys": journeys, "kept": kept}))?;
    } else {
        print(&end(&kept, &here, &told))?;
    }
    Ok(Exit::Done)
}

/// Plays all samples. When this returns, the host of this process has ended, and with it every driver and every sandbox.
fn journeys(
    mut play: Play,
    stage: &Stage,
    inside: &Surroundings,
    told: &Told<'_>,
) -> Result<Vec<Value>, Failure> {
    let mut done = vec![];
    for (n, sample) in SAMPLES.iter().enumerate() {
        told.line("")?;
        told.line(&told.bold(&format!("{} of {}: {}", n + 1, SAMPLES.len(), sample.heading)))?;
        done.push(journey(sample, stage, inside, &mut play, told)?);
    }
    Ok(done)
}

/// The demo's own quire, and a host that drives its tasks in this process.
struct Play {
    quire: Arc<Quire>,
    runtime: Runtime,
    /// What would end the process ends the demo instead, so that it can tidy up.
    stop: Stop,
}

struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Stop {
    fn listen(runtime: &Runtime) -> io::Result<Stop> {
        let _entered = runtime.enter();
        Ok(Stop {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn heard(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

impl Play {
    fn begin(runtime: Runtime, stop: Stop, inside: &Surroundings) -> Result<Play, Failure> {
        let quire = Arc::new(Quire::open(inside)?);
        let host = quire.clone();
        runtime.spawn(async move {
            // Whoever waits for it finds out that it does not answer; this says why.
            if let Err(error) = host.host(false, None).await {
                say(&format!("The demo's host ended: {error}."));
            }
        });
        Ok(Play { quire, runtime, stop })
    }

    /// Follows a task until it rests or the demo is stopped.
    fn follow(&mut self, id: u64, told: &Told<'_>) -> Result<(), Failure> {
        let (runtime, quire, stop) = (&self.runtime, &self.quire, &mut self.stop);
        runtime.block_on(async {
            tokio::select! {
                rests = until_rest(id, quire, told) => rests,
                () = stop.heard() => Err(Failure::new(Exit::Interrupted, "The demo was stopped.", SAFE, "")),
            }
        })?;
        let task = quire.task(id)?;
        match &task.phase {
            Phase::Waiting(why) => Err(stopped(why, &why_text(why, &task).what)),
            _ => Ok(()),
        }
    }
}

/// One task from its words to its undo, and accepted again, so that there is something to look at.
fn journey(
    sample: &Sample,
    stage: &Stage,
    inside: &Surroundings,
    play: &mut Play,
    told: &Told<'_>,
) -> Result<Value, Failure> {
    let folder = stage.folder(sample);
    let hash = || tree_hash(&folder).map_err(no_place);
    let before = hash()?;
    let tops = sample.paths().map(|path| path.split_inclusive('/').next().unwrap_or(path));
    let mut tops: Vec<&str> = tops.collect();
    tops.dedup();
    told.line(&format!("{}\n  {}", clean(&folder.display().to_string()), tops.join("  ")))?;
    told.line(&format!("\n$ quire \"{}\" --check \"{}\"", sample.words, sample.check))?;

    let options = Options {
        net: Some("off".to_owned()),
        folder: Some(folder.clone()),
        checks: vec![sample.check.to_owned()],
        ..Options::default()
    };
    let resolved = settings::resolve(&options, inside)?;
    let model = Model {
        provider: "recorded".to_owned(),
        name: sample.name.to_owned(),
        wire: Wire::Tape,
        base_url: stage.tape(sample).display().to_string(),
        key_env: None,
        edits: sample.edits,
        images: false,
        context_tokens: None,
        output_tokens: None,
        price: None,
    };
    let id = play.quire.open_task(&resolved, Some(model), sample.words, vec![])?;
    play.follow(id, told)?;

    let quire = &play.quire;
    let review = quire.review(id)?;
    told.review(&review, &resolved.folders)?;
    if review.fails() || review.files.is_empty() {
        let what = format!("The recording ended without a result that passes `{}`.", sample.check);
        return Err(Failure::new(Exit::Failed, what, SAFE, BROKEN));
    }
    let untouched = hash()?;
    told.line("\nA hash over every name, mode and byte of the folder:")?;
    told.line(&format!("  {}{}", pad("before", WHEN_COLUMNS), short(before)))?;
    told.proved("now", untouched, untouched == before, "has not changed")?;

    told.line(&format!("$ quire accept {id}"))?;
    let all = Choice { seen: Some(review.seen.to_string()), ..Choice::default() };
    let written = quire.accept(id, &all)?;
    let accepted = hash()?;
    let names: Vec<String> = written.files.iter().map(|file| one_line(&file.path.to_string())).collect();
    told.proved("accepted", accepted, accepted != before, &format!("has {}", names.join(", ")))?;

    told.line(&format!("$ quire undo {id}"))?;
    quire.undo(id, &quire_engine::Undo::default())?;
    let undone = hash()?;
    told.proved("undone", undone, undone == before, "is as it was before")?;

    told.line(&format!("$ quire accept {id}"))?;
    quire.accept(id, &all)?;
    let again = hash()?;
    told.proved("accepted again", again, again == accepted, "has them again, to be looked at")?;
    Ok(json!({
        "words": sample.words,
        "folder": folder,
        "files": names,
        "checks": review.checks,
        "before": before,
        "before_accept": untouched,
        "after_accept": accepted,
        "after_undo": undone,
    }))
}

/// Hands a task to the host and tells what happens, until the task rests.
async fn until_rest(id: u64, quire: &Quire, told: &Told<'_>) -> Result<(), Failure> {
    let mut link = tokio::time::timeout(HOST_START, connect(quire)).await.map_err(|_| {
        Failure::new(Exit::Trouble, "The demo's host does not answer.", SAFE, "Try again: quire demo")
    })?;
    link.nudge(id).await;
    let mut progress = Progress::default();
    let mut seen = 0;
    let mut followed = link.follow(quire.store().clone(), id, 0).await;
    while quire.store().task(id).map_err(EngineError::from)?.phase == Phase::Working {
        if let Heard::Event(logged) = followed.next().await? {
            seen = logged.seq;
            told.progress(&mut progress, &logged)?;
        }
    }
    for logged in quire.events(id, seen)? {
        told.progress(&mut progress, &logged)?;
    }
    Ok(())
}

/// Connects to the host of this process, which has only begun; none may be started in its place.
async fn connect(quire: &Quire) -> Link {
    loop {
        if let Some(link) = quire.running_host().await {
            return link;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Columns of the name of a moment.
const WHEN_COLUMNS: usize = 16;
const SAFE: &str = "No file of yours was touched, and what the demo made is removed.";
const BROKEN: &str = "The demo needs only sh, awk, grep and the like. If those work here, this is a fault of quire's: please report it.";

fn stopped(why: &Why, what: &str) -> Failure {
    let (exit, next) = match why {
        Why::Trouble(Trouble::Sandbox, _) => (Exit::NoSandbox, "See what this machine lacks: quire doctor"),
        Why::Trouble(Trouble::Disk, _) => (Exit::Trouble, "Make room on the disk, then: quire demo"),
        Why::Trouble(..) => (Exit::Trouble, "Try again: quire demo"),
        _ => (Exit::Failed, BROKEN),
    };
    Failure::new(exit, what, SAFE, next)
}

fn no_place(error: io::Error) -> Failure {
    let next = "Look at the disk and at the rights of ~/.cache; XDG_CACHE_HOME names another place.";
    Failure::new(Exit::Trouble, format!("The demo's folders cannot be made or read: {error}."), SAFE, next)
}

/// Says something on stderr.
fn say(text: &str) {
    follow::say(&clean(text));
}

/// What is told on the way; a run with --json or --quiet tells nothing.
struct Told<'f> {
    face: &'f Face,
    width: usize,
}

impl Told<'_> {
    fn line(&self, text: &str) -> io::Result<()> {
        if self.face.json || self.face.quiet { Ok(()) } else { print(&format!("{text}\n")) }
    }

    fn text(&self, text: &str) -> io::Result<()> {
        self.line(wrap(&clean(text), self.width, "").trim_end())
    }

    fn bold(&self, text: &str) -> String {
        self.face.out.paint(1, text)
    }

    fn progress(&self, progress: &mut Progress, logged: &Logged) -> io::Result<()> {
        if let Event::Equipped { rung, .. } = &logged.event {
            self.line(&format!("  in a sandbox: {}", clean(rung)))?;
        }
        for line in progress.apply(logged) {
            let mark = line.mark.symbol();
            self.line(&cut(&format!("  {mark} {}", one_line(&line.text)), self.width))?;
        }
        Ok(())
    }

    fn review(&self, review: &Review, folders: &[std::path::PathBuf]) -> io::Result<()> {
        self.line(&format!("\nReady: {}. {}", review.extent(), review.folder_text()))?;
        self.line(review::brief(&review.brief, &self.face.out, self.width).trim_end())?;
        for check in &review.checks {
            let said = one_line(&clean(&first_line(&check.output, self.width)));
            let line = format!("{}: \"{said}\"", review::check_line(check, self.width));
            self.line(&format!("  {}", self.face.out.paint(32, &line)))?;
            self.line("    quire ran it itself, in a fresh sandbox of exactly these files")?;
        }
        let long = review.files.iter().any(|file| file.added + file.removed > 20);
        for file in &review.files {
            match long {
                true => self.line(&format!("  {}  {}", one_line(&file.path.to_string()), file.extent()))?,
                false => self.line(review::change(file, folders, &self.face.out).trim_end())?,
            }
        }
        Ok(())
    }

    /// Shows what was proved of the folder; what the demo shows must be true, or it must not go on.
    fn proved(&self, when: &str, hash: Hash, is_so: bool, what: &str) -> Result<(), Failure> {
        if is_so {
            return Ok(self.line(&format!("  {}{}  ✓ {what}", pad(when, WHEN_COLUMNS), short(hash)))?);
        }
        let next = "This is a fault of quire's: please report it, and keep this version away from files that matter.";
        let what = format!("The demo proved quire wrong: it is not so that the folder {what}.");
        Err(Failure::new(Exit::Trouble, what, SAFE, next))
    }
}

fn short(hash: Hash) -> String {
    hash.to_string().chars().take(16).collect()
}

/// Returns what is said last: what is left, and how to go on with a real model.
fn end(kept: &Path, here: &Surroundings, told: &Told<'_>) -> String {
    let shown = |path: &Path| clean(&path.display().to_string());
    let page = kept.join(SAMPLES[0].name).join("index.html");
    let mut text = String::new();
    if !told.face.quiet {
        let exe = std::env::current_exe().unwrap_or_else(|_| "quire".into());
        let path = here.env.get("PATH").map(String::as_str).unwrap_or_default();
        let found = std::env::split_paths(path).any(|dir| dir.join("quire").is_file());
        let quire = if found { "quire".to_owned() } else { shown(&exe) };
        let rows = [
            (format!("{quire} doctor"), "what works on this machine"),
            (format!("{quire} models add openai"), "store a key (or anthropic, openrouter)"),
            (format!("{quire} \"what should be done\""), "a task on the folder you are in"),
        ];
        let widest = rows.iter().map(|(command, _)| columns(command)).max().unwrap_or(0);
        text.push_str(&format!("\n{}\n", told.bold("Now with a real model, on a folder of yours:")));
        for (command, does) in rows {
            text.push_str(&format!("  {}   {does}\n", pad(&command, widest)));
        }
        text.push_str(
            "A model server on this machine (Ollama, LM Studio, llama.cpp) is found by itself.\n\n",
        );
    }
    text.push_str(&format!("The page: {}\n", shown(&page)));
    text.push_str(&format!("Both folders stay in {}; nothing else is left of this demo.\n", shown(kept)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_a_sample_is_built_in() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo");
        for sample in &SAMPLES {
            let mut on_disk = vec![];
            let mut open = vec![root.join(sample.name)];
            while let Some(dir) = open.pop() {
                for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
                    if entry.path().is_dir() { open.push(entry.path()) } else { on_disk.push(entry.path()) }
                }
            }
            let mut built_in: Vec<_> = sample.paths().map(|path| root.join(sample.name).join(path)).collect();
            on_disk.sort();
            built_in.sort();
            assert_eq!(on_disk, built_in);
        }
    }
}
