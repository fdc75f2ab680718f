//! What people work with, put to work inside: each row starts a program in a sandbox, as root and as an ordinary user, and has
//! it do a piece of its real work. `cargo test -p quire-sandbox --test programs [NAME]` prints the table.
//!
//! A program that the machine does not have is installed inside, by apt through the way out, into a layer that later rows
//! stand on: that the machine itself is as it was is the last row. Needs root, and a registry of Debian's packages; so it is
//! no part of a plain `cargo test`.

#[path = "programs/rows.rs"]
mod rows;
#[path = "programs/stand.rs"]
mod stand;

use rows::{ROWS, Row};
use stand::{Machine, Stand};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

/// An uid of nobody's.
const ORDINARY: u32 = 54_321;

type Results = Arc<Mutex<BTreeMap<(&'static str, &'static str), bool>>>;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(code) = quire_sandbox::private_main(&args) {
        return ExitCode::from(code as u8);
    }
    if let Some(job) = std::env::var_os("PROGRAMS_JOB") {
        return stand::work(job.to_str().expect("a job"));
    }
    let mut arguments = libtest_mimic::Arguments::from_args();
    // The rows of one user stand on each other's installed packages.
    arguments.test_threads = Some(1);
    let results = Results::default();
    let mut trials = Vec::new();
    let before = Machine::look();
    for (uid, who) in [(0, "root"), (ORDINARY, "user")] {
        let stand = Arc::new(Mutex::new(None::<Stand>));
        for row in ROWS {
            let (stand, results) = (stand.clone(), results.clone());
            trials.push(libtest_mimic::Trial::test(format!("{who}::{}", row.name), move || {
                let mut stand = stand.lock().map_err(|_| "an earlier row panicked")?;
                let outcome = stand.get_or_insert_with(|| Stand::new(uid)).prove(row);
                results
                    .lock()
                    .map_err(|_| "an earlier row panicked")?
                    .insert((row.name, who), outcome.is_ok());
                outcome.map_err(Into::into)
            }));
        }
    }
    trials.push(libtest_mimic::Trial::test("the_machine_is_as_it_was", move || {
        let changed = before.changed();
        if changed.is_empty() { Ok(()) } else { Err(format!("changed: {}", changed.join(", ")).into()) }
    }));
    let is_list = arguments.list;
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !is_list {
        print_table(&results);
    }
    conclusion.exit_code()
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
