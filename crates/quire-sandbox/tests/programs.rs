//! What people work with, put to work inside: each row starts a program in a sandbox, as root and as an ordinary user, and has
//! it do a piece of its real work. `cargo test --workspace --test programs [NAME]` prints the table.
//!
//! What the machine does not have is installed inside, by apt through the way out, into a layer that all rows of a user stand
//! on: that the machine itself is as it was is the last row. Needs root, and a registry of Debian's packages; so it is no part
//! of a plain `cargo test`.

#[path = "escape/facts.rs"]
mod facts;
#[path = "programs/machine.rs"]
mod machine;
#[path = "programs/rows.rs"]
mod rows;
#[path = "programs/stand.rs"]
mod stand;

use libtest_mimic::{Arguments, Failed, Trial};
use machine::Machine;
use rows::{ROWS, Row};
use stand::Stand;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

/// An uid of nobody's, and of no other test's.
const ORDINARY: u32 = 54_329;

type Results = Arc<Mutex<BTreeMap<(&'static str, &'static str), bool>>>;

/// A user's stand with what is installed there, once that was tried.
type Place = Arc<Mutex<Option<Result<Stand, String>>>>;

/// The packages that were fetched.
type Archives = Arc<Mutex<PathBuf>>;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(code) = quire_sandbox::private_main(&args) {
        return ExitCode::from(code as u8);
    }
    if let Some(job) = std::env::var_os("PROGRAMS_JOB") {
        return stand::work(job.to_str().expect("a job"));
    }
    let mut arguments = Arguments::from_args();
    // The users work side by side, and each row waits for the stand of its user.
    arguments.test_threads = Some(2 * ROWS.len());
    let results = Results::default();
    if arguments.list {
        return libtest_mimic::run(&arguments, trials(&arguments, &results, &[], &Archives::default()))
            .exit_code();
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("must be started by root: it runs as root and as an ordinary user");
        return ExitCode::FAILURE;
    }
    let before = Machine::note(ORDINARY).expect("a mount namespace");
    let archives = tempfile::Builder::new().prefix("programs-").tempdir_in("/var/tmp").expect("a directory");
    let places = [Place::default(), Place::default()];
    let fetched = Archives::new(Mutex::new(archives.path().to_path_buf()));
    let all = trials(&arguments, &results, &places, &fetched);
    let conclusion = libtest_mimic::run(&arguments, all);
    drop((places, archives));
    // What a filter left out changed nothing, so this is right for whatever part ran.
    let everything = Arguments { filter: None, skip: Vec::new(), exact: false, ..arguments };
    let same = Trial::test("the_machine_is_as_it_was", move || {
        let changed = before.changed();
        if changed.is_empty() { Ok(()) } else { Err(changed.join("\n").into()) }
    });
    let machine = libtest_mimic::run(&everything, vec![same]);
    print_table(&results);
    if conclusion.has_failed() || machine.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Returns the trials. Before the first of a user's, what its rows need is installed.
fn trials(arguments: &Arguments, results: &Results, places: &[Place], archives: &Archives) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (at, (uid, who)) in [(0, "root"), (ORDINARY, "user")].into_iter().enumerate() {
        let place = places.get(at).cloned().unwrap_or_default();
        let named = |row: &Row| format!("{who}::{}", row.name);
        let wanted: Vec<&Row> = ROWS.iter().filter(|row| is_wanted(arguments, &named(row))).collect();
        for row in ROWS {
            let (place, results, archives, wanted) =
                (place.clone(), results.clone(), archives.clone(), wanted.clone());
            trials.push(Trial::test(named(row), move || {
                let mut place = place.lock().map_err(|_| "an earlier row panicked")?;
                let stand = place.get_or_insert_with(|| {
                    // The second to install finds fetched what the first has fetched.
                    let archives = archives.lock().map_err(|_| "an earlier row panicked")?;
                    let mut stand = Stand::new(uid);
                    stand.install(&wanted, &archives)?;
                    Ok(stand)
                });
                let stand = stand.as_mut().map_err(|error| format!("nothing is installed: {error}"))?;
                let outcome = stand.prove(row).map_err(Failed::from);
                let mut results = results.lock().map_err(|_| "an earlier row panicked")?;
                results.insert((row.name, who), outcome.is_ok());
                outcome
            }));
        }
    }
    trials
}

/// Returns whether the runner will choose a row, as it is asked to.
fn is_wanted(arguments: &Arguments, name: &str) -> bool {
    let matches = |asked: &String| if arguments.exact { name == asked } else { name.contains(asked) };
    arguments.filter.as_ref().is_none_or(matches) && !arguments.skip.iter().any(matches)
}

/// Prints what was run as the table of docs/programs.md.
fn print_table(results: &Results) {
    let results = results.lock().expect("results");
    let said = |row: &Row, who| match results.get(&(row.name, who)) {
        Some(true) => "works",
        Some(false) => "FAILS",
        None => "-",
    };
    println!("| Program | What it does inside | root | ordinary user |\n|---|---|---|---|");
    for row in ROWS {
        println!("| {} | {} | {} | {} |", row.name, row.does, said(row, "root"), said(row, "user"));
    }
}
