//! What going back and forking cost: `cargo run --release -p quire-engine --example fork_cost [FILES [QUIRE]]`. A task of 50 steps, of
//! 1,000 and of 5,000 on a folder of so many files (100,000 unless said), each fork and rewind on the disk when its time is taken;
//! and the whole command `fork`, where the binary is given.

use quire_core::charter::{Charter, Edits, Limits, Model, Purpose, Sandbox, Wire};
use quire_core::event::{Apart, Base, Conventions, Verdict};
use quire_core::message::{Stop, Usage};
use quire_core::{Call, Event, Hash, Outcome, Reply, Snapshot};
use quire_engine::settings::Surroundings;
use quire_engine::store::Writer;
use quire_engine::{Point, Quire, freeze};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

type Failed = Box<dyn std::error::Error>;

const ROUNDS: usize = 9;

fn main() -> Result<(), Failed> {
    let files: usize = std::env::args().nth(1).map_or(Ok(100_000), |files| files.parse())?;
    let binary = std::env::args().nth(2);
    let outer = tempfile::tempdir()?;
    let (home, folder) = (outer.path().join("quire"), outer.path().join("folder"));
    for n in 0..files {
        let path = folder.join(format!("{}/{n}.txt", n / 100));
        if n % 100 == 0 {
            fs::create_dir_all(path.parent().unwrap_or(&folder))?;
        }
        fs::write(path, format!("file {n}\n"))?;
    }
    fs::create_dir_all(&home)?;
    let env = [("QUIRE_HOME".to_owned(), home.display().to_string())].into();
    let quire = Quire::open(&Surroundings { env, cwd: outer.path().to_owned() })?;
    let frozen = freeze::freeze(quire.home(), &folder, &|_, _| {})?;
    let base =
        Base { id: frozen.id, delta: frozen.delta, files: frozen.files, bytes: frozen.bytes, git: None };
    for steps in [50, 1_000, 5_000] {
        let id = lived(&quire, &folder, &base, steps)?;
        let (mut forks, mut folds, mut rewinds, mut commands) = (vec![], vec![], vec![], vec![]);
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            let fork = quire.fork(id, Point::Step(steps / 2))?.task;
            forks.push(begun.elapsed());
            let begun = Instant::now();
            quire.task(fork)?;
            folds.push(begun.elapsed());
            if let Some(binary) = &binary {
                let begun = Instant::now();
                let said = Command::new(binary)
                    .args(["fork", &id.to_string(), "--at", &(steps / 2).to_string()])
                    .env("QUIRE_HOME", &home)
                    .output()?;
                commands.push(begun.elapsed());
                assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
            }
            let begun = Instant::now();
            quire.rewind(id, Point::Step(steps / 2))?;
            rewinds.push(begun.elapsed());
        }
        println!(
            "{files} files, {steps} steps: fork {:.1?} (goal 50 ms), its first look {:.1?}, rewind {:.1?}",
            median(forks),
            median(folds),
            median(rewinds)
        );
        if binary.is_some() {
            println!("    the command {:.1?}", median(commands));
        }
    }
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Returns a task that took so many steps and came to a version.
fn lived(quire: &Quire, folder: &Path, base: &Base, steps: u32) -> Result<u64, Failed> {
    let first = vec![
        opened(folder),
        Event::Taken { epoch: 1 },
        Event::Equipped {
            system: "s".into(),
            tools: vec![],
            rung: "r".into(),
            weak: None,
            conventions: Conventions::default(),
            attached: None,
        },
        Event::Frozen { bases: vec![base.clone()] },
    ];
    let created = quire.store().create(first).wait()?;
    let snapshot = quire.store().blobs().put(&[&Snapshot::default().to_blob()])?[0];
    let mut seq = created.seq;
    for step in 0..=steps {
        let ends = step == steps;
        let call =
            Call { id: "c".into(), tool: "shell".into(), input: format!(r#"{{"command":"step {step}"}}"#) };
        let mut events =
            vec![Event::Asked { heard: seq, worst: None }, replied(if ends { vec![] } else { vec![call] })];
        if ends {
            events.push(Event::Sealed {
                layer: 0,
                snapshot,
                apart: Apart::default(),
                checks: vec![],
                files: None,
            });
            events.push(Event::Presented { version: 1, snapshot });
        } else {
            events.push(Event::Judged { verdicts: vec![Verdict::Run] });
            events.push(Event::Called { call: 0 });
            let outcome = Outcome { exit: Some(0), ..Outcome::said(format!("{step}\n").repeat(100)) };
            events.push(Event::Returned { call: 0, outcome });
            events.push(Event::Snapped { snapshot: Hash::of(format!("{step}").as_bytes()) });
        }
        seq = quire.store().append(created.task, seq, Writer::Driver { epoch: 1 }, events).wait()?;
    }
    Ok(created.task)
}

fn replied(calls: Vec<Call>) -> Event {
    Event::Replied {
        reply: Reply {
            wire: Wire::Tape,
            items: vec![],
            text: "A step.".into(),
            calls,
            stop: Stop::Done,
            usage: Usage::default(),
            by: String::new(),
        },
    }
}

fn opened(folder: &Path) -> Event {
    let model = Model {
        provider: "tape".into(),
        name: "tape".into(),
        wire: Wire::Tape,
        base_url: "tape.jsonl".into(),
        key_env: None,
        edits: Edits::ApplyPatch,
        images: false,
        context_tokens: None,
        output_tokens: None,
        price: None,
    };
    let charter = Charter {
        folders: vec![folder.to_owned()],
        model: Some(model),
        fallback_models: vec![],
        review_model: None,
        compact_model: None,
        checks: vec![],
        limits: Limits { steps: 10_000, ..Limits::default() },
        sandbox: Sandbox::default(),
        env: vec![],
        hooks: vec![],
        secrets: vec![],
        purpose: Purpose::Change,
        new_folder: false,
    };
    Event::Opened { charter: Box::new(charter), words: "tidy up".into() }
}
