//! The wall, tried from inside: every row runs once as root and once as an ordinary user.
//!
//! This program is also the binary that it gives to the sandbox, so `main` is its own. Run as root; anything else fails,
//! for half of the rows would be missing. Arguments are names, or parts of names, of tests to run.
//! Probes do no harm where the wall fails: they open and close.

#[path = "wall/stage.rs"]
mod stage;
#[path = "wall/tests.rs"]
mod tests;
#[path = "wall/tools.rs"]
mod tools;

use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode};

/// An uid of nobody's.
const ORDINARY: u32 = 54_321;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(code) = quire_sandbox::private_main(&args) {
        return ExitCode::from(code as u8);
    }
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    if let Some(one) = std::env::var_os("WALL_TEST") {
        let (_, test) = tests::ALL
            .iter()
            .chain(tests::HELPERS)
            .find(|(name, _)| *name == one)
            .expect("a test of that name");
        test(&stage::Stage::set());
        return ExitCode::SUCCESS;
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("the tests of the wall must be started by root: they run as root and as an ordinary user");
        return ExitCode::FAILURE;
    }
    let mut failed = 0;
    for (name, _) in
        tests::ALL.iter().filter(|(name, _)| args.is_empty() || args.iter().any(|arg| name.contains(arg)))
    {
        for uid in [0, ORDINARY] {
            let who = if uid == 0 { "root" } else { "user" };
            let passed = catch_unwind(AssertUnwindSafe(|| run(name, uid))).unwrap_or(false);
            println!("{} {who} {name}", if passed { "ok    " } else { "FAILED" });
            failed += usize::from(!passed);
        }
    }
    println!("{failed} failed");
    ExitCode::from(u8::from(failed > 0))
}

/// Runs one test in a process of its own, with a home of its own, as `uid`.
fn run(name: &str, uid: u32) -> bool {
    let base = tempfile::Builder::new().prefix("wall-").tempdir_in(stage::disk()).expect("a directory");
    let program = base.path().join("quire");
    std::fs::copy(std::env::current_exe().expect("this program"), &program).expect("a copy of this program");
    for path in [base.path(), &program] {
        std::os::unix::fs::chown(path, Some(uid), Some(uid)).expect("a new owner");
    }
    let mut command = Command::new(&program);
    command.env("WALL_TEST", name).env("WALL_BASE", base.path()).current_dir("/").uid(uid).gid(uid);
    let status = command.status().expect("a test's process");
    status.success()
}
