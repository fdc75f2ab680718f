//! The catalogue of escapes: each way out of the sandbox that is known to have worked somewhere, tried from inside, on
//! each kind of sandbox that there is. Every case has a number and a name; `--table` prints case, stand and result at the end, and
//! `--markdown` the same for the documentation.
//!
//! This program is also the binary that it gives to the sandbox, and the probe that runs inside: so no compiler is needed
//! there, and `main` is its own. Run as root, which can play both.
//!
//! Probes do no harm where the wall fails: they open and close, ask with arguments that no kernel grants, and signal only
//! what the test itself started. What the machine is like is noted before the run and compared after it.

#[path = "escape/a_files.rs"]
mod a_files;
#[path = "escape/b_proc.rs"]
mod b_proc;
#[path = "escape/c_namespaces.rs"]
mod c_namespaces;
#[path = "escape/catalogue.rs"]
mod catalogue;
#[path = "escape/d_signals.rs"]
mod d_signals;
#[path = "escape/e_network.rs"]
mod e_network;
#[path = "escape/f_devices.rs"]
mod f_devices;
#[path = "escape/facts.rs"]
mod facts;
#[path = "escape/g_kernel.rs"]
mod g_kernel;
#[path = "wall/ground.rs"]
mod gives;
#[path = "escape/ground.rs"]
mod ground;
#[path = "escape/h_limits.rs"]
mod h_limits;
#[path = "escape/i_remains.rs"]
mod i_remains;
#[path = "escape/j_merge.rs"]
mod j_merge;
#[path = "escape/k_host.rs"]
mod k_host;
#[path = "escape/l_more.rs"]
mod l_more;
#[path = "escape/machine.rs"]
mod machine;
#[path = "escape/probe.rs"]
mod probe;
#[allow(dead_code, reason = "shared with the tests of the wall, which use the rest")]
#[path = "wall/stage.rs"]
mod stage;
#[path = "escape/stand.rs"]
mod stand;
#[path = "escape/table.rs"]
mod table;

use catalogue::How;
use libtest_mimic::{Arguments, Trial};
use stand::{STANDS, Stand};
use std::path::PathBuf;
use std::process::ExitCode;
use table::{Results, Style};

fn main() -> ExitCode {
    let mut args: Vec<_> = std::env::args_os().collect();
    if let Some(code) = args.get(1).filter(|first| *first == "sandbox-hand").and_then(|_| k_host::hand()) {
        return ExitCode::from(code as u8);
    }
    if let Some(code) = quire_sandbox::private_main(&args) {
        return ExitCode::from(code as u8);
    }
    if args.get(1).is_some_and(|first| first == probe::NAME) {
        return probe::main(&args[2..]);
    }
    if let Some(case) = std::env::var_os("ESCAPE_CASE") {
        catalogue::run(case.to_str().expect("a name"));
        return ExitCode::SUCCESS;
    }
    let styles = [("--table", Style::Plain), ("--markdown", Style::Markdown)];
    let style =
        styles.into_iter().find(|(flag, _)| args.iter().any(|arg| arg == flag)).map(|(_, style)| style);
    args.retain(|arg| !styles.iter().any(|(flag, _)| arg == flag));
    run(&Arguments::from_iter(args), style)
}

/// Runs the cases, then compares the machine with what it was before them.
fn run(arguments: &Arguments, style: Option<Style>) -> ExitCode {
    let results = Results::default();
    if arguments.list {
        let mut all = trials(&results, &[]);
        all.push(Trial::test(machine::NAME, || Ok(())));
        return libtest_mimic::run(arguments, all).exit_code();
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("must be started by root: it runs as root and as an ordinary user");
        return ExitCode::FAILURE;
    }
    let bases: Vec<_> = STANDS.iter().map(Stand::base).collect();
    let paths: Vec<_> = bases.iter().map(|base| base.path().to_path_buf()).collect();
    let before = machine::Machine::before(&paths[0]);
    let cases = libtest_mimic::run(arguments, trials(&results, &paths));
    // What a filter left out changed nothing, so this is right for whatever part ran.
    let noted = results.clone();
    let same = Trial::test(machine::NAME, move || {
        let compared = before.compare();
        noted.note(machine::NAME, None, &compared);
        compared
    });
    let everything = Arguments { filter: None, skip: Vec::new(), exact: false, ..arguments.clone() };
    let machine = libtest_mimic::run(&everything, vec![same]);
    if let Some(style) = style {
        println!("{}", results.table(style));
    }
    if cases.has_failed() || machine.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Returns a trial for each case on each stand, whose directories are `bases`.
fn trials(results: &Results, bases: &[PathBuf]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for case in catalogue::all() {
        let on: &[Stand] = match case.how {
            How::Here(_) => STANDS,
            How::Elsewhere(_) => &STANDS[..1],
            How::NotHere(_) => continue,
        };
        for (at, stand) in on.iter().enumerate().filter(|(_, stand)| stand.tries(&case) && case.is_on(stand))
        {
            let (results, base) = (results.clone(), bases.get(at).cloned().unwrap_or_default());
            trials.push(Trial::test(case.trial(stand), move || {
                let done = case.run_apart(stand, &base);
                results.note(case.id, Some(stand.name), &done);
                done
            }));
        }
    }
    trials
}
