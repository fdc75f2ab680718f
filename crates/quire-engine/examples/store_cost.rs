//! What the store costs on this disk: `cargo run --release -p quire-engine --example store_cost [DIR]`.

use quire_core::Event;
use quire_core::charter::{Charter, Edits, Limits, Model, Purpose, Sandbox, Wire};
use quire_core::event::{Trouble, Why};
use quire_engine::store::{Mark, Store, Writer};
use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

const WRITERS: usize = 50;
const APPENDS: u64 = 100;
const LONG: u64 = 100_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let outer = match std::env::args_os().nth(1) {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let mut file = File::create(outer.path().join("probe"))?;
    report(
        "a bare write of 4 KiB with fdatasync",
        timed(200, || Ok(file.write_all(&[1; 4096]).and_then(|()| file.sync_data())?))?,
    );

    let home = outer.path().join("quire");
    report("opening a new home", timed(1, || Ok(Store::open(&home)?))?);
    report("opening it again", timed(20, || Ok(Store::open(&home)?))?);

    let store = Store::open(&home)?;
    let task = store.create(vec![opened()]).wait()?.task;
    let mut seq = 1;
    let one = timed(500, || {
        seq = store.append(task, seq, Writer::Person, vec![said(300), said(300), said(300)]).wait()?;
        Ok(())
    })?;
    report("a commit of 3 events, one writer", one);

    let tasks = (0..WRITERS).map(|_| Ok(store.create(vec![opened()]).wait()?.task));
    let tasks = tasks.collect::<Result<Vec<u64>, Box<dyn std::error::Error>>>()?;
    let before = Instant::now();
    let mut each = vec![];
    std::thread::scope(|scope| {
        let writers: Vec<_> = tasks
            .iter()
            .map(|task| {
                let store = store.clone();
                scope.spawn(move || {
                    let mut seq = 1;
                    timed(APPENDS as usize, || {
                        seq = store.append(*task, seq, Writer::Person, vec![said(300); 3]).wait()?;
                        Ok(())
                    })
                    .map_err(|e| e.to_string())
                })
            })
            .collect();
        each = writers.into_iter().filter_map(|writer| writer.join().ok()).collect();
    });
    let took = before.elapsed();
    let all = each.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    println!("{:>10.0} appends/s of {WRITERS} writers at once", all.len() as f64 / took.as_secs_f64());
    report("a commit of 3 events, fifty writers", all);

    let mut mark = Mark::default();
    mark = store.news(mark)?.1;
    report("asking for news where there are none", timed(2000, || Ok(store.news(mark)?))?);

    let task = store.create(vec![opened()]).wait()?.task;
    for seq in (1..LONG).step_by(1000) {
        let stop = || Event::Paused { why: Why::Trouble(Trouble::Other, "w".repeat(200)) };
        let batch = (0..1000).map(|n| if n % 2 == 0 { stop() } else { Event::Resumed { model: None } });
        store.append(task, seq, Writer::Person, batch.collect()).wait()?;
    }
    drop(store);
    report("opening a home with that and a log of 100,000 events", timed(3, || Ok(Store::open(&home)?))?);
    let store = Store::open(&home)?;
    report("folding 100,000 events", timed(1, || Ok(store.task(task)?))?);
    report("taking that task over", timed(1, || Ok(store.take(task).wait()?))?);
    report("folding one event more", timed(1, || Ok(store.task(task)?))?);

    let mut n = 0_u32;
    let put = timed(200, || {
        n += 1;
        Ok(store.blobs().put(&[&n.to_le_bytes().repeat(1000)])?)
    })?;
    report("putting one blob of 4 kB", put);
    let contents: Vec<Vec<u8>> = (0..10_000_u32).map(|n| (n + 1_000_000).to_le_bytes().repeat(250)).collect();
    let views: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
    report("putting 10,000 blobs of 1 kB", timed(1, || Ok(store.blobs().put(&views)?))?);
    report("a commit with their 10,000 rows", timed(1, || Ok(store.create(vec![opened()]).wait()?))?);
    report("putting the same again", timed(1, || Ok(store.blobs().put(&views)?))?);
    Ok(())
}

type Measured = Result<Vec<Duration>, Box<dyn std::error::Error>>;

fn timed<T>(times: usize, mut f: impl FnMut() -> Result<T, Box<dyn std::error::Error>>) -> Measured {
    let mut all = Vec::with_capacity(times);
    for _ in 0..times {
        let before = Instant::now();
        f()?;
        all.push(before.elapsed());
    }
    Ok(all)
}

fn report(what: &str, mut all: Vec<Duration>) {
    all.sort();
    let at = |part: f64| all[((all.len() - 1) as f64 * part) as usize].as_secs_f64() * 1000.0;
    println!("{:>10.3} ms median, {:>9.3} ms at 99 %: {what}", at(0.5), at(0.99));
}

fn said(bytes: usize) -> Event {
    Event::Said { words: "w".repeat(bytes) }
}

fn opened() -> Event {
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
        folders: vec!["/somewhere".into()],
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
    Event::Opened { charter: Box::new(charter), words: "tidy up".into() }
}
