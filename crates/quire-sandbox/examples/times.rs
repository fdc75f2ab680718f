//! Prints how long a sandbox takes to stand and a call takes in it, against the same command started bare:
//! `cargo run --release -p quire-sandbox --example times [FILES]`. FILES is how many files the folder holds. As root and
//! as an ordinary user; compare only runs on a quiet machine.

use quire_sandbox::protocol::{FromHand, ToHand};
use quire_sandbox::{FolderView, Rung, Spec, start};
use std::error::Error;
use std::fs;
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

const ROUNDS: usize = 100;
const STARTS: usize = 15;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(code) = quire_sandbox::private_main(&args) {
        std::process::exit(code);
    }
    let files: usize = std::env::args().nth(1).map_or(Ok(100), |count| count.parse())?;
    let base = tempfile::Builder::new().prefix("times-").tempdir_in("/var/tmp")?;
    let place = |name: &str| base.path().join(name);
    for made in ["folder", "base", "out"] {
        fs::create_dir(place(made))?;
    }
    for file in 0..files {
        let directory = place("base").join(format!("d{}", file / 100));
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(format!("f{file}")), "x")?;
    }
    let home = std::env::var("HOME").unwrap_or_else(|_| "/root".into());
    let spec = Spec {
        state: place("state"),
        layer: place("layer"),
        layers: Vec::new(),
        out: place("out"),
        binary: std::env::current_exe()?,
        folders: vec![FolderView { at: place("folder"), frozen: vec![place("base")], ignored: Vec::new() }],
        hide: Vec::new(),
        show: Vec::new(),
        env: vec![("HOME".into(), home), ("PATH".into(), "/usr/bin:/bin".into())],
        memory_bytes: 4 << 30,
        processes: 1024,
        disk_bytes: 16 << 30,
        rung: if rustix::process::geteuid().is_root() { Rung::Idmapped } else { Rung::OneUid },
        gate: None,
    };
    let (mut stands, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let begun = Instant::now();
        let sandbox = start(&spec, drop)?;
        stands.push(begun.elapsed());
        let begun = Instant::now();
        drop(sandbox);
        ends.push(begun.elapsed());
    }
    println!("stands         {}", told(stands));
    println!("ends, unsynced {}", told(ends));

    let (say, heard) = channel();
    let sandbox = start(&spec, move |words| drop(say.send(words)))?;
    let (mut inside, mut bare) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let begun = Instant::now();
        let input = r#"{"command":"true"}"#.to_owned();
        sandbox.send(&ToHand::Call { id: round as u32, tool: "shell".into(), input })?;
        while !matches!(heard.recv()?, FromHand::Done { .. }) {}
        inside.push(begun.elapsed());
        let begun = Instant::now();
        Command::new("/bin/bash").args(["-c", "true"]).output()?;
        bare.push(begun.elapsed());
    }
    println!("call inside    {}", told(inside));
    println!("spawned bare   {}", told(bare));
    Ok(sandbox.end()?)
}

fn told(mut times: Vec<Duration>) -> String {
    times.sort();
    format!("least {:>9.2?}  median {:>9.2?}  of {}", times[0], times[times.len() / 2], times.len())
}
