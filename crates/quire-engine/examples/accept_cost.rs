//! What accept and undo cost on this disk: `cargo run --release -p quire-engine --example accept_cost [DIR]`. Beside each stands
//! what `cp -a` of the same files and a `sync` take in the same run.

use quire_core::change::{Entry, Node, Snapshot};
use quire_core::{Hash, RelPath, diff};
use quire_engine::accept::{self, AcceptError, Desk, part};
use quire_engine::store::Store;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const IN_A_DIR: usize = 100;

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    let outer = match std::env::args_os().nth(1) {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let home = outer.path().join("quire");
    let store = Store::open(&home)?;
    for (task, files, changed, goal) in [(1, 10_000, 10_000, "5 s"), (2, 100_000, 1, "0.5 s")] {
        let folder = outer.path().join(format!("folder-{files}"));
        for n in 0..files {
            let path = folder.join(path_of(n));
            fs::create_dir_all(path.parent().unwrap_or(&folder))?;
            fs::write(path, content(n, false))?;
        }
        sync(&folder)?;
        let entries = (0..changed).map(|n| {
            let node = |new| {
                let content = content(n, new);
                Node::File { blob: Hash::of(&content), bytes: content.len() as u64, mode: 0o644 }
            };
            let path = RelPath::new(path_of(n)).expect("a plain path");
            Entry { folder: 0, path, was: Some(node(false)), now: Some(node(true)) }
        });
        let version = Snapshot { entries: entries.collect() };
        let new: Vec<Vec<u8>> = (0..changed).map(|n| content(n, true)).collect();
        store.blobs().put(&new.iter().map(Vec::as_slice).collect::<Vec<_>>())?;

        let desk = Desk { home: home.clone(), dir: home.join(format!("tasks/{task}")) };
        fs::create_dir_all(&desk.dir)?;
        let folders = [folder.clone()];
        let what = if changed == 1 { "one hunk".to_owned() } else { format!("{changed} files") };
        // The second time is of a folder that the system knows.
        for round in 0..2 {
            let read = |_: &Entry| Ok::<_, AcceptError>(Some((content(0, false), content(0, true))));
            let hunks = match changed {
                1 => diff::names(0, &version.entries[0].path, &content(0, false), &content(0, true)),
                _ => vec![],
            };
            let hunks: Vec<String> = hunks.into_iter().take(1).collect();
            let begun = Instant::now();
            let chosen = part::choose(&version, &[], &hunks, &read, &|error| error)?;
            store.blobs().put(&chosen.contents.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
            let none = accept::Sides { base: &|_, _| Ok(None), over: &|_, _| false, where_gone: false };
            let plan = accept::plan(&desk, round, &folders, &chosen.entries, &none, store.blobs())?;
            accept::carry_out(plan, store.blobs(), &mut |_| {})?;
            report(&format!("accept of {what} in a folder of {files}"), begun.elapsed(), goal);
            let begun = Instant::now();
            let plan = accept::plan_undo(&desk, round, store.blobs())?;
            accept::carry_out(plan, store.blobs(), &mut |_| {})?;
            report(&format!("undo of {what} in a folder of {files}"), begun.elapsed(), goal);
        }
        if changed > 1 {
            let begun = Instant::now();
            run("cp", &["-a".as_ref(), folder.as_os_str(), outer.path().join("copy").as_os_str()])?;
            sync(&folder)?;
            report("cp -a and sync of the same files", begun.elapsed(), "");
        }
    }
    Ok(())
}

fn path_of(n: usize) -> String {
    format!("{}/{n}.txt", n / IN_A_DIR)
}

/// Returns about 2 kB of lines of their own, of which the new has two others.
fn content(n: usize, new: bool) -> Vec<u8> {
    let line = |line: usize| match (new, line) {
        (true, 3 | 40) => format!("changed in {n} {line}\n"),
        _ => format!("file {n}, line {line}: some words that stand here\n"),
    };
    (0..48).map(line).collect::<String>().into_bytes()
}

fn sync(folder: &Path) -> Result<(), Failed> {
    run("sync", &["-f".as_ref(), PathBuf::from(folder).as_os_str()])
}

fn run(program: &str, arguments: &[&std::ffi::OsStr]) -> Result<(), Failed> {
    let ended = Command::new(program).args(arguments).status()?;
    if ended.success() { Ok(()) } else { Err(format!("{program}: {ended}").into()) }
}

fn report(what: &str, took: Duration, goal: &str) {
    let goal = if goal.is_empty() { String::new() } else { format!("  (goal {goal})") };
    println!("{what:<52} {:>9.3} s{goal}", took.as_secs_f64());
}
