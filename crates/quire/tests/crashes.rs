//! `quire accept` and `quire undo`, whole commands, killed before each system call of theirs that changes anything on the disk: once
//! before the first `renameat2`, once before the second, and so on for each such call, until the command gets through. Whatever
//! command comes next has to leave the folder exactly as before or exactly as after, and its log has to say which.
//!
//! The same on disks that can do less ([`DISKS`]): there the kernel answers as it does for them.
//!
//! `--table` prints each point with what came of it, and `--markdown` the same for the documentation. Without either, as among
//! all other tests, every seventh point is tried, on the other disks only of calls that move something.

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
const CALLS: [&str; 20] = [
    "write",
    "pwrite64",
    "rename",
    "renameat",
    "renameat2",
    "linkat",
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
    "utimensat",
    "fsync",
    "fdatasync",
    "syncfs",
];

/// Disks by what they cannot: the name of each, and what the kernel answers there.
const DISKS: [(&str, &[(&str, &str)]); 3] = [
    ("all that it needs", &[]),
    ("no exchange", &[("renameat2", "EINVAL")]),
    ("no exchange and no links", &[("renameat2", "EINVAL"), ("linkat", "EPERM")]),
];

/// In runs that print no table.
const EVERY: usize = 7;

/// Tried on the other disks in such runs.
const MOVING: [&str; 3] = ["renameat", "linkat", "unlinkat"];

/// A little of everything that can become of a path.
const BEFORE: &str = "echo a > a; echo r > run; mkdir -p d/e dir; echo x > d/x; echo y > d/e/y; echo f > file; echo i > dir/in; \
                      echo g > gone; printf 'moves\\nfar\\n' > here";
const AGENT: &str = "echo agent > a; chmod 755 run; rm -r d file dir gone; mkdir -p file/now new/tree; echo x > file/now/dir; \
                     ln -s a dir; echo l > new/tree/leaf; mv here there";

/// What is killed. A part that was taken back is like any other undo.
const COMMANDS: [&str; 3] = ["accept", "undo", "undo of a part"];

/// Of what is undone in part: something of each kind, with a file that was moved.
const PART: [&str; 5] = ["a", "d", "file", "there", "new"];

struct Point {
    disk: &'static str,
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
    let all = table || std::env::var_os("QUIRE_TEST_ALL").is_some();
    let each = DISKS.into_iter().flat_map(|disk| COMMANDS.map(|command| (disk, command)));
    let trials = each.map(|(disk, command)| {
        let points = points.clone();
        let on =
            if disk.1.is_empty() { String::new() } else { format!("_with_{}", disk.0.replace(' ', "_")) };
        let called = command.replace(' ', "_");
        Trial::test(format!("{called}_killed_at_any_call_ends_before_or_after{on}"), move || {
            let found = kill_everywhere(disk, command, all)?;
            points.lock().expect("no panic").extend(found);
            Ok(())
        })
    });
    let conclusion = libtest_mimic::run(&Arguments::from_iter(args), trials.collect());
    if table {
        let mut points = points.lock().expect("no panic");
        points.sort_by_key(|point| DISKS.iter().position(|(disk, _)| *disk == point.disk));
        print(&points, markdown);
    }
    conclusion.exit_code()
}

type Disk = (&'static str, &'static [(&'static str, &'static str)]);

/// Returns `plain` as it runs on such a disk, killed before the nth call of a kind where there is one.
fn traced(plain: Command, (_, refused): Disk, killed: Option<(&str, usize)>) -> Command {
    let mut traced = Command::new("strace");
    let calls: Vec<&str> =
        refused.iter().map(|(call, _)| *call).chain(killed.map(|(call, _)| call)).collect();
    traced.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={}", calls.join(","))]);
    for (call, answer) in refused {
        traced.args(["-e", &format!("inject={call}:error={answer}")]);
    }
    if let Some((call, nth)) = killed {
        traced.args(["-e", &format!("inject={call}:signal=KILL:when={nth}")]);
    }
    traced.arg(plain.get_program()).args(plain.get_args());
    if let Some(dir) = plain.get_current_dir() {
        traced.current_dir(dir);
    }
    traced.env_clear();
    plain.get_envs().filter_map(|(name, value)| Some((name, value?))).for_each(|(name, value)| {
        traced.env(name, value);
    });
    traced
}

fn kill_everywhere(disk: Disk, command: &'static str, all: bool) -> Result<Vec<Point>, Failed> {
    let stage = Stage::set();
    let model = Model::saying(vec![shell(AGENT), say("Done.")]);
    stage.configure(&model, Wire::Chat, "[checks]\nfound = false\n");
    sh(&stage.folder, BEFORE)?;
    stage.quire(&["change a little of everything"]).exits(0);
    let is_accept = command == "accept";
    if !is_accept {
        stage.quire(&["accept", "1"]).exits(0);
    }
    let arguments = match command {
        "undo of a part" => [&["undo", "1"][..], &PART].concat(),
        command => vec![command, "1"],
    };
    stage.quire(&["host", "--stop"]).exits(0);
    // All that is there is put back before each point.
    let saved = tempfile::tempdir_in("/var/tmp")?;
    let base = stage.base().display().to_string();
    sh(saved.path(), &format!("cp -a '{base}/.' ."))?;
    let put_back = format!("find . -mindepth 1 -delete; cp -a '{}/.' .", saved.path().display());
    let before = Tree::of(&stage.folder);
    stage.quire(&arguments).exits(0);
    let after = Tree::of(&stage.folder);
    let mut points = vec![];
    let is_any = disk.1.is_empty();
    let tried = |call: &&str| {
        (is_any || all || MOVING.contains(call)) && disk.1.iter().all(|(refused, _)| refused != call)
    };
    for call in CALLS.into_iter().filter(tried) {
        for nth in (1..).step_by(if all { 1 } else { EVERY }) {
            sh(Path::new(&base), &put_back)?;
            let ended = traced(stage.command(&arguments), disk, Some((call, nth))).output()?;
            if ended.status.success() {
                Tree::of(&stage.folder).assert_is(&after, &format!("{command}, not killed"));
                break;
            }
            let killed = ended.status.signal() == Some(9) || ended.status.code() == Some(137);
            if !killed {
                return Err(format!("{command}, {call} {nth}: {ended:?}").into());
            }
            if is_any {
                stage.quire(&["ls"]).exits(0);
            } else {
                let ended = traced(stage.command(&["ls"]), disk, None).output()?;
                assert!(ended.status.success(), "{command}, {call} {nth}: {ended:?}");
            }
            let is = Tree::of(&stage.folder);
            let taken =
                stage.json(&["review", "1"])["review"]["taken"].as_str().unwrap_or_default().to_owned();
            let says_after = (taken == "whole") == is_accept;
            is.assert_is(
                if says_after { &after } else { &before },
                &format!("{}: {command}, {call} {nth}, {taken}", disk.0),
            );
            points.push(Point { disk: disk.0, command, call, nth, after: says_after });
        }
    }
    if all && !(points.iter().any(|point| point.after) && points.iter().any(|point| !point.after)) {
        return Err(format!("{command}: no point on one of both sides").into());
    }
    if points.is_empty() {
        return Err(format!("{command}: not killed").into());
    }
    Ok(points)
}

fn sh(dir: &Path, script: &str) -> Result<(), Failed> {
    let ended = Command::new("sh").arg("-ec").arg(script).current_dir(dir).output()?;
    if ended.status.success() { Ok(()) } else { Err(format!("{script}: {ended:?}").into()) }
}

/// Prints the points, those in a row with one outcome together.
fn print(points: &[Point], markdown: bool) {
    for (disk, _) in DISKS {
        let points: Vec<&Point> = points.iter().filter(|point| point.disk == disk).collect();
        println!("\nOn a disk with {disk}:");
        if markdown {
            println!("\n| command | killed before its | the folder is as |\n|---|---|---|");
        }
        for run in points.chunk_by(|a, b| (a.command, a.call, a.after) == (b.command, b.call, b.after)) {
            let (first, last) = (&run[0], run[run.len() - 1].nth);
            let nth = if first.nth == last { last.to_string() } else { format!("{} to {last}", first.nth) };
            let outcome = if first.after { "after" } else { "before" };
            match markdown {
                true => println!("| `{}` | `{}` {nth} | {outcome} |", first.command, first.call),
                false => println!("{:<15}{:<12}{nth:<12}{outcome}", first.command, first.call),
            }
        }
        for command in COMMANDS {
            let of = |after| points.iter().filter(|p| p.command == command && p.after == after).count();
            println!(
                "\n{command}: killed at {} calls; {} ended as before, {} as after",
                of(true) + of(false),
                of(false),
                of(true)
            );
        }
    }
}
