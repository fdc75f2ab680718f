//! kill -9 at any moment: what was acknowledged is there, and no batch is halved.

use super::{child, home, opened, said, store};
use quire_core::{Event, Hash};
use quire_engine::store::Writer;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::time::{Duration, Instant};

const HOMES: u64 = 10;
const DEATHS: u64 = 20;
const TASKS: u64 = 3;
const BATCH: u64 = 4;

/// Appends batches to several tasks and puts blobs, for ever, and says of each what was acknowledged.
pub fn busy_role(home: &Path) {
    let store = store(home);
    let tasks = store.tasks().unwrap();
    let mut seqs: HashMap<u64, u64> =
        tasks.iter().map(|task| (*task, store.task(*task).unwrap().seq)).collect();
    let mut out = std::io::stdout().lock();
    for n in 0.. {
        let mut asked = vec![];
        for &task in &tasks {
            let content = format!("{} {n} {task}", std::process::id()).repeat(n % 700 + 1);
            let blob = store.blobs().put(&[content.as_bytes(), b"the same for all"]).unwrap()[0];
            let words = (0..BATCH).map(|part| said(format!("{part} {blob}"))).collect();
            asked.push((task, blob, store.append(task, seqs[&task], Writer::Person, words)));
        }
        for (task, blob, receipt) in asked {
            let seq = receipt.wait().unwrap();
            seqs.insert(task, seq);
            writeln!(out, "ack {task} {seq} {blob}").unwrap();
            out.flush().unwrap();
        }
    }
}

/// What a child acknowledged, if `line` is a whole acknowledgement: a death in the midst of one leaves a part of it.
fn acknowledgement(line: &str) -> Option<(u64, u64, Hash)> {
    let mut parts = line.split_once("ack ")?.1.split(' ');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, Hash::parse(parts.next()?)?))
}

#[test]
fn nothing_acknowledged_is_lost_and_no_batch_is_halved() {
    let seeds: Vec<u64> = (1..=HOMES).collect();
    for some in seeds.chunks(5) {
        std::thread::scope(|scope| {
            some.iter().for_each(|seed| drop(scope.spawn(|| die_again_and_again(*seed))))
        });
    }
}

fn die_again_and_again(seed: u64) {
    let home = home();
    let here = store(home.path());
    for _ in 0..TASKS {
        here.create(vec![opened()]).wait().unwrap();
    }
    drop(here);
    let mut acknowledged: HashMap<u64, Vec<(u64, Hash)>> = HashMap::new();
    let mut moment = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for death in 0..DEATHS {
        let when = format!("seed {seed}, death {death}");
        moment ^= moment << 13;
        moment ^= moment >> 7;
        moment ^= moment << 17;
        let mut process = child("busy", home.path()).spawn().unwrap();
        let mut acks = BufReader::new(process.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| acknowledgement(&line));
        // Half of the deaths come at an acknowledgement, half some moment after one; some before any.
        let mut seen: Vec<_> = acks.by_ref().take((moment % 12) as usize).collect();
        assert_eq!(seen.len() as u64, moment % 12, "{when}: the process ended by itself");
        if death % 2 == 1 {
            let until = Instant::now() + Duration::from_micros(moment % 3000);
            while Instant::now() < until {
                std::hint::spin_loop();
            }
        }
        process.kill().unwrap();
        process.wait().unwrap();
        seen.extend(acks);
        for (task, seq, blob) in seen {
            acknowledged.entry(task).or_default().push((seq, blob));
        }

        let here = store(home.path());
        for (task, acks) in &acknowledged {
            let (seq, last) = (here.task(*task).unwrap().seq, acks[acks.len() - 1]);
            assert!(seq >= last.0, "{when}: task {task} ends at {seq}, and {} was acknowledged", last.0);
            assert_eq!((seq - 1) % BATCH, 0, "{when}: a batch of task {task} was halved");
            here.blobs().get(&last.1).unwrap();
        }
    }

    let here = store(home.path());
    here.check().unwrap();
    assert_eq!(acknowledged.len() as u64, TASKS, "seed {seed}");
    for (task, acks) in acknowledged {
        let log = here.events(task, 0).unwrap();
        for (seq, blob) in acks {
            here.blobs().get(&blob).unwrap();
            assert_eq!(log[seq as usize - 1].event, said(format!("{} {blob}", BATCH - 1)), "seed {seed}");
        }
        // What was written but not acknowledged any more is whole as well, and names content that is there.
        for batch in log[1..].chunks(BATCH as usize) {
            for (part, logged) in batch.iter().enumerate() {
                let Event::Said { words } = &logged.event else { panic!("seed {seed}: {logged:?}") };
                let (n, blob) = words.split_once(' ').unwrap();
                assert_eq!(n, part.to_string(), "seed {seed}");
                here.blobs().get(&Hash::parse(blob).unwrap()).unwrap();
            }
        }
    }
}
