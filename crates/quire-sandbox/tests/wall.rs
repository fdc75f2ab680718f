//! The wall, tried from inside: every row runs once as root and once as an ordinary user.
//!
//! This program is also the binary that it gives to the sandbox, so `main` is its own. Run as root; anything else fails,
//! for half of the rows would be missing.
//! Probes do no harm where the wall fails: they open and close.

#[path = "wall/door.rs"]
mod door;
#[path = "wall/egress.rs"]
mod egress;
#[path = "wall/install.rs"]
mod install;
#[path = "wall/life.rs"]
mod life;
#[path = "wall/stage.rs"]
mod stage;
#[path = "wall/tests.rs"]
mod tests;
#[path = "wall/tools.rs"]
mod tools;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(code) = quire_sandbox::private_main(&args) {
        return ExitCode::from(code as u8);
    }
    if let Some(one) = std::env::var_os("WALL_TEST") {
        let (_, test) = tests::ALL
            .iter()
            .chain(tests::HELPERS)
            .find(|(name, _)| *name == one)
            .expect("a test of that name");
        test(&stage::Stage::set());
        return ExitCode::SUCCESS;
    }
    let trials = tests::ALL.iter().flat_map(|(name, _)| {
        [(0, "root"), (stage::ORDINARY, "user")]
            .map(|(uid, who)| libtest_mimic::Trial::test(format!("{who}::{name}"), move || run(name, uid)))
    });
    libtest_mimic::run(&libtest_mimic::Arguments::from_args(), trials.collect()).exit_code()
}

/// Copies a program by another process, so that no child of this one ever holds the copy open for writing.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg(from).arg(to).status();
    assert!(copied.is_ok_and(|status| status.success()), "a copy of {from:?}");
}

/// Runs one test in a process of its own, with a home of its own, as `uid`.
fn run(name: &str, uid: u32) -> Result<(), libtest_mimic::Failed> {
    if !rustix::process::geteuid().is_root() {
        return Err("must be started by root: it runs as root and as an ordinary user".into());
    }
    let base = tempfile::Builder::new().prefix("wall-").tempdir_in(stage::disk()).expect("a directory");
    let program = base.path().join("quire");
    copy(&std::env::current_exe().expect("this program"), &program);
    let mut owned = vec![base.path().to_owned(), program.clone()];
    if name == "package_managers_work_through_the_way_out" {
        // Where it lies in root's home, others cannot read it.
        owned.push(base.path().join("cargo"));
        copy(Path::new(env!("CARGO")), &base.path().join("cargo"));
    }
    for path in owned {
        std::os::unix::fs::chown(path, Some(uid), Some(uid)).expect("a new owner");
    }
    let mut command = Command::new(&program);
    command.env("WALL_TEST", name).env("WALL_BASE", base.path()).env("WALL_SYSTEM", stage::system());
    command.current_dir("/").uid(uid).gid(uid);
    let status = command.status().expect("a test's process");
    if status.success() { Ok(()) } else { Err(format!("{status}").into()) }
}
