//! kill -9 at any moment: what was acknowledged is there, and no batch is halved.

use super::{child, home, opened, said, store};
use quire_core::{Event, Hash};
use quire_engine::store::Writer;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

const ROUNDS: u64 = 200;
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

#[test]
fn nothing_acknowledged_is_lost_and_no_batch_is_halved() {
    let home = home();
    let here = store(home.path());
    for _ in 0..TASKS {
        here.create(vec![opened()]).wait().unwrap();
    }
    drop(here);
    let mut acknowledged: HashMap<u64, (u64, Vec<(u64, Hash)>)> = HashMap::new();
    let mut moments = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..ROUNDS {
        let mut process = child("busy", home.path()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        moments ^= moments << 13;
        moments ^= moments >> 7;
        moments ^= moments << 17;
        // Half of the deaths come at an acknowledgement, half at some moment after one, or before any.
        let stop_after = moments % 12;
        let mut seen = 0;
        let mut note = |line: String| {
            let Some(ack) = line.split_once("ack ").map(|(_, ack)| ack) else { return false };
            let parts: Vec<_> = ack.split(' ').collect();
            // A death in the midst of a line leaves a part of it, which acknowledges nothing.
            let [task, seq, blob] = parts[..] else { return false };
            let Some(blob) = Hash::parse(blob) else { return false };
            let (last, all) = acknowledged.entry(task.parse().unwrap()).or_default();
            *last = seq.parse().unwrap();
            all.push((*last, blob));
            true
        };
        while seen < stop_after {
            let Some(Ok(line)) = lines.next() else { panic!("the process ended by itself in round {round}") };
            seen += u64::from(note(line));
        }
        if round % 2 == 1 {
            let until = std::time::Instant::now() + std::time::Duration::from_micros(moments % 3000);
            while std::time::Instant::now() < until {
                std::hint::spin_loop();
            }
        }
        process.kill().unwrap();
        process.wait().unwrap();
        for line in lines.map_while(Result::ok) {
            note(line);
        }

        // Whoever opens next sees it all; every tenth time in full, else the ends of the logs.
        let here = store(home.path());
        for (task, (last, all)) in &acknowledged {
            let seq = here.task(*task).unwrap().seq;
            assert!(seq >= *last, "task {task} lost events {seq}..{last} in round {round}");
            assert_eq!((seq - 1) % BATCH, 0, "a batch of task {task} was halved in round {round}");
            for (_, blob) in all.iter().rev().take(3) {
                here.blobs().get(blob).unwrap();
            }
        }
    }

    let here = store(home.path());
    here.check().unwrap();
    assert_eq!(acknowledged.len() as u64, TASKS);
    for (task, (_, all)) in acknowledged {
        let log = here.events(task, 0).unwrap();
        for (seq, blob) in all {
            here.blobs().get(&blob).unwrap();
            let Event::Said { words } = &log[seq as usize - 1].event else { panic!("event {seq} of {task}") };
            assert_eq!(*words, format!("{} {blob}", BATCH - 1));
        }
        // Also what was not acknowledged any more but is there is whole, and names content that is there.
        for batch in log[1..].chunks(BATCH as usize) {
            for (part, logged) in batch.iter().enumerate() {
                let Event::Said { words } = &logged.event else { panic!("{logged:?}") };
                let (n, blob) = words.split_once(' ').unwrap();
                assert_eq!(n, part.to_string());
                assert!(here.blobs().has(&Hash::parse(blob).unwrap()).unwrap());
            }
        }
    }
}
