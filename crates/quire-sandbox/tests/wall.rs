//! The wall, tried from inside: every row runs as root and as an ordinary user, and on every rung that this machine can
//! stand on.
//!
//! This program is also the binary that it gives to the sandbox, so `main` is its own. Run as root; anything else fails,
//! for half of the rows would be missing.
//! Probes do no harm where the wall fails: they open and close.
//!
//! A lower rung is reached by taking from the test's process what the better ones need ([`ground::Ground`]), never by a
//! word to quire. [`STANDS`] says who stands on which ground, and on which rung that must end. A test finds its rung in
//! [`stage::Stage::rung`], and its sandboxes stand on no other.

#[path = "wall/copy.rs"]
mod copy;
#[path = "wall/door.rs"]
mod door;
#[path = "wall/egress.rs"]
mod egress;
#[allow(dead_code, reason = "shared with the catalogue of escapes, which uses the rest")]
#[path = "escape/facts.rs"]
mod facts;
#[path = "wall/ground.rs"]
mod ground;
#[path = "wall/install.rs"]
mod install;
#[path = "wall/life.rs"]
mod life;
#[path = "wall/meanwhile.rs"]
mod meanwhile;
#[path = "wall/mounts.rs"]
mod mounts;
#[path = "wall/stage.rs"]
mod stage;
#[path = "wall/tests.rs"]
mod tests;
#[path = "wall/tools.rs"]
mod tools;

use ground::Ground;
use quire_sandbox::Rung;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

/// A user on a ground: the name before each of its tests, and the rung that quire must find there.
struct Stand {
    name: &'static str,
    uid: u32,
    ground: Ground,
    rung: Rung,
}

const fn stand(name: &'static str, uid: u32, ground: Ground, rung: Rung) -> Stand {
    Stand { name, uid, ground, rung }
}

const STANDS: &[Stand] = &[
    stand("root", 0, Ground::Whole, Rung::Idmapped),
    stand("user", stage::ORDINARY, Ground::Whole, Rung::OneUid),
    stand("user-no-proc", stage::ORDINARY, Ground::CoveredProc, Rung::NoNewProc),
    stand("root-container", 0, Ground::Container, Rung::Copy),
    stand("user-container", stage::ORDINARY, Ground::Container, Rung::Copy),
];

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(code) = quire_sandbox::private_main(&args) {
        return ExitCode::from(code as u8);
    }
    if let Some(one) = std::env::var_os("WALL_TEST") {
        let test = tests::ALL.iter().find(|(name, ..)| *name == one).map(|(_, _, test)| test);
        let helper = tests::HELPERS.iter().find(|(name, _)| *name == one).map(|(_, helper)| helper);
        let stand = std::env::var("WALL_STAND").expect("where it stands");
        let stand = STANDS.iter().find(|known| known.name == stand).expect("a stand of that name");
        if one.as_encoded_bytes().starts_with(b"mounts_") {
            ground::become_for_now(stand.uid).expect("another user");
        }
        test.or(helper).expect("a test of that name")(&stage::Stage::set(stand.rung));
        return ExitCode::SUCCESS;
    }
    let trials = STANDS.iter().flat_map(|stand| {
        tests::ALL.iter().filter(|(_, on, _)| on.holds(stand.rung)).map(move |(name, ..)| {
            libtest_mimic::Trial::test(format!("{}::{name}", stand.name), move || run(name, stand))
        })
    });
    libtest_mimic::run(&libtest_mimic::Arguments::from_args(), trials.collect()).exit_code()
}

/// Copies a program by another process, so that no child of this one ever holds the copy open for writing.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg(from).arg(to).status();
    assert!(copied.is_ok_and(|status| status.success()), "a copy of {from:?}");
}

/// Runs one test in a process of its own, with a home of its own, where it stands.
fn run(name: &str, stand: &Stand) -> Result<(), libtest_mimic::Failed> {
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
    let (ground, uid) = (stand.ground, stand.uid);
    for path in owned {
        std::os::unix::fs::chown(path, Some(uid), Some(uid)).expect("a new owner");
    }
    let mut command = Command::new(&program);
    command.env("WALL_TEST", name).env("WALL_BASE", base.path()).env("WALL_SYSTEM", stage::system());
    command.env("WALL_STAND", stand.name).current_dir("/");
    // SAFETY: it makes system calls and allocates; this process's other threads hold no lock of the allocator's for long,
    // and glibc keeps it usable in a forked child.
    unsafe {
        match name.starts_with("mounts_") {
            // The test itself goes on to be another user, so that it can mount between two sandboxes.
            true => command.pre_exec(move || ground.take(0).and_then(|()| ground::own_mounts())),
            false => command.pre_exec(move || ground.take(uid)),
        }
    };
    let status = command.status().expect("a test's process");
    if status.success() { Ok(()) } else { Err(format!("{status}").into()) }
}
