//! `quire accept` and `quire undo`, whole commands, killed before each system call of theirs that changes anything on the disk: once
//! before the first `renameat2`, once before the second, and so on for each such call, until the command gets through. Whatever
//! command comes next has to leave the folder exactly as before or exactly as after, and its log has to say which.
//!
//! `--table` prints each point with what came of it, and `--markdown` the same for the documentation. Without either, as among
//! all other tests, every seventh point is tried.

#[allow(dead_code, reason = "what journeys alone need is in them as well")]
#[path = "journeys/model.rs"]
mod model;
#[allow(dead_code, reason = "what journeys alone need is in them as well")]
#[path = "journeys/stage.rs"]
mod stage;
#[allow(dead_code, reason = "what journeys alone need is in them as well")]
#[path = "journeys/tree.rs"]
mod tree;

use libtest_mimic::{Arguments, Failed, Trial};
use model::{Model, Wire, say, shell};
use stage::Stage;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex};
use tree::Tree;

/// Calls that change something; opening a file anew is seen by what follows it.
const CALLS: [&str; 17] = [
    "write",
    "pwrite64",
    "rename",
    "renameat2",
    "mkdir",
    "mkdirat",
    "symlinkat",
    "unlink",
    "unlinkat",
    "fchmod",
    "fchmodat",
    "fchown",
    "fchownat",
    "ftruncate",
    "fsync",
    "fdatasync",
    "syncfs",
];

/// In runs that print no table.
const EVERY: usize = 7;

/// A little of everything that can become of a path.
const BEFORE: &str = "echo a > a; echo r > run; mkdir -p d/e dir; echo x > d/x; echo y > d/e/y; echo f > file; echo i > dir/in; \
                      echo g > gone; printf 'moves\\nfar\\n' > here";
const AGENT: &str = "echo agent > a; chmod 755 run; rm -r d file dir gone; mkdir -p file/now new/tree; echo x > file/now/dir; \
                     ln -s a dir; echo l > new/tree/leaf; mv here there";

struct Point {
    command: &'static str,
    call: &'static str,
    nth: usize,
    after: bool,
}

fn main() -> ExitCode {
    let mut args: Vec<_> = std::env::args().collect();
    let markdown = args.iter().any(|arg| arg == "--markdown");
    let table = markdown || args.iter().any(|arg| arg == "--table");
    args.retain(|arg| arg != "--table" && arg != "--markdown");
    let points = Arc::<Mutex<Vec<Point>>>::default();
    let trials = ["accept", "undo"].map(|command| {
        let points = points.clone();
        let every = if table || std::env::var_os("QUIRE_TEST_ALL").is_some() { 1 } else { EVERY };
        Trial::test(format!("{command}_killed_at_any_call_ends_before_or_after"), move || {
            let found = kill_everywhere(command, every)?;
            points.lock().expect("no panic").extend(found);
            Ok(())
        })
    });
    let conclusion = libtest_mimic::run(&Arguments::from_iter(args), trials.into());
    if table {
        print(&points.lock().expect("no panic"), markdown);
    }
    conclusion.exit_code()
}

fn kill_everywhere(command: &'static str, every: usize) -> Result<Vec<Point>, Failed> {
    let stage = Stage::set();
    let model = Model::saying(vec![shell(AGENT), say("Done.")]);
    stage.configure(&model, Wire::Chat, "[checks]\nfound = false\n");
    sh(&stage.folder, BEFORE)?;
    stage.quire(&["change a little of everything"]).exits(0);
    if command == "undo" {
        stage.quire(&["accept", "1"]).exits(0);
    }
    stage.quire(&["host", "--stop"]).exits(0);
    // All that is there is put back before each point.
    let saved = tempfile::tempdir_in("/var/tmp")?;
    let base = stage.base().display().to_string();
    sh(saved.path(), &format!("cp -a '{base}/.' ."))?;
    let put_back = format!("find . -mindepth 1 -delete; cp -a '{}/.' .", saved.path().display());
    let before = Tree::of(&stage.folder);
    stage.quire(&[command, "1"]).exits(0);
    let after = Tree::of(&stage.folder);
    let mut points = vec![];
    for call in CALLS {
        for nth in (1..).step_by(every) {
            sh(Path::new(&base), &put_back)?;
            let plain = stage.command(&[command, "1"]);
            let mut traced = Command::new("strace");
            traced.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
            traced.args(["-e", &format!("inject={call}:signal=KILL:when={nth}")]);
            traced.arg(plain.get_program()).args(plain.get_args());
            if let Some(dir) = plain.get_current_dir() {
                traced.current_dir(dir);
            }
            traced.env_clear();
            plain.get_envs().filter_map(|(name, value)| Some((name, value?))).for_each(|(name, value)| {
                traced.env(name, value);
            });
            let ended = traced.output()?;
            if ended.status.success() {
                break;
            }
            let killed = ended.status.signal() == Some(9) || ended.status.code() == Some(137);
            if !killed {
                return Err(format!("{command}, {call} {nth}: {ended:?}").into());
            }
            stage.quire(&["ls"]).exits(0);
            let is = Tree::of(&stage.folder);
            let taken =
                stage.json(&["review", "1"])["review"]["taken"].as_str().unwrap_or_default().to_owned();
            let says_after = (taken == "whole") == (command == "accept");
            is.assert_is(
                if says_after { &after } else { &before },
                &format!("{command}, {call} {nth}, {taken}"),
            );
            points.push(Point { command, call, nth, after: says_after });
        }
    }
    if !(points.iter().any(|point| point.after) && points.iter().any(|point| !point.after)) {
        return Err(format!("{command}: no point on one of both sides").into());
    }
    Ok(points)
}

fn sh(dir: &Path, script: &str) -> Result<(), Failed> {
    let ended = Command::new("sh").arg("-ec").arg(script).current_dir(dir).output()?;
    if ended.status.success() { Ok(()) } else { Err(format!("{script}: {ended:?}").into()) }
}

/// Prints the points, those in a row with one outcome together.
fn print(points: &[Point], markdown: bool) {
    println!(
        "{}",
        if markdown { "\n| command | killed before its | the folder is as |\n|---|---|---|" } else { "" }
    );
    for run in points.chunk_by(|a, b| (a.command, a.call, a.after) == (b.command, b.call, b.after)) {
        let (first, last) = (&run[0], run[run.len() - 1].nth);
        let nth = if first.nth == last { last.to_string() } else { format!("{} to {last}", first.nth) };
        let outcome = if first.after { "after" } else { "before" };
        match markdown {
            true => println!("| `{}` | `{}` {nth} | {outcome} |", first.command, first.call),
            false => println!("{:<8}{:<12}{nth:<12}{outcome}", first.command, first.call),
        }
    }
    for command in ["accept", "undo"] {
        let of = |after| points.iter().filter(|p| p.command == command && p.after == after).count();
        println!(
            "\n{command}: killed at {} calls; {} ended as before, {} as after",
            of(true) + of(false),
            of(false),
            of(true)
        );
    }
}
