//! Where a case can be tried from: who starts a sandbox, on which kind of machine, and with or without a way out of its
//! network. What a lesser machine lacks is really taken from the case's process ([`crate::gives::Ground`]).

use crate::catalogue::Case;
use crate::gives::Ground as Gives;
use crate::stage::{self, ORDINARY};
use quire_sandbox::Rung;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

pub struct Stand {
    pub name: &'static str,
    pub told: &'static str,
    uid: u32,
    pub gives: Gives,
    pub rung: Rung,
    /// Whether the sandbox has a way out through the host.
    pub gate: bool,
}

/// The variable that names the stand to a case.
const STAND: &str = "ESCAPE_STAND";

const fn stand(
    name: &'static str,
    told: &'static str,
    (uid, gives, rung): (u32, Gives, Rung),
    gate: bool,
) -> Stand {
    Stand { name, told, uid, gives, rung, gate }
}

const ROOT: (u32, Gives, Rung) = (0, Gives::Whole, Rung::Idmapped);
const USER: (u32, Gives, Rung) = (ORDINARY, Gives::Whole, Rung::OneUid);
const PROC: (u32, Gives, Rung) = (ORDINARY, Gives::CoveredProc, Rung::NoNewProc);

pub const STANDS: &[Stand] = &[
    stand("root", "started by root: owners shifted, one overlay; no network", ROOT, false),
    stand("user", "started by an ordinary user: one uid, an overlay a directory; no network", USER, false),
    stand(
        "proc",
        "as user, in a container that lets nobody mount /proc: the machine's stands in",
        PROC,
        false,
    ),
    stand(
        "copy-root",
        "started by root of a container without namespaces: a copy, Landlock and the filter",
        (0, Gives::Container, Rung::Copy),
        false,
    ),
    stand(
        "copy-user",
        "started by an ordinary user in such a container",
        (ORDINARY, Gives::Container, Rung::Copy),
        false,
    ),
    stand("root+gate", "as root, with a way out of the network, which quire's proxy serves", ROOT, true),
    stand("user+gate", "as user, with the way out", USER, true),
    stand("proc+gate", "as proc, with the way out", PROC, true),
];

impl Stand {
    /// Returns the stand of this process.
    pub fn here() -> &'static Stand {
        let name = std::env::var(STAND).expect("where it stands");
        STANDS.iter().find(|known| known.name == name).expect("a stand of that name")
    }

    /// Returns whether the case is another one here than elsewhere: limits do not depend on the network.
    pub fn tries(&self, case: &Case) -> bool {
        !(self.gate && case.id.starts_with('H'))
    }

    /// Makes a directory for the cases on this stand, with this program in it: both belong to who starts the sandbox.
    pub fn base(&self) -> TempDir {
        let base = tempfile::Builder::new().prefix("escape-").tempdir_in(stage::disk()).expect("a directory");
        let program = program(base.path());
        std::fs::copy(std::env::current_exe().expect("this program"), &program)
            .expect("a copy of this program");
        for path in [base.path(), &program] {
            chown(path, Some(self.uid), Some(self.uid)).expect("a new owner");
        }
        base
    }

    /// Returns the command that runs a case here, with a directory of its own.
    pub fn command(&self, case: &str, base: &Path) -> Command {
        let own = base.join(case);
        std::fs::create_dir(&own).expect("a directory");
        chown(&own, Some(self.uid), Some(self.uid)).expect("a new owner");
        let mut command = Command::new(program(base));
        command
            .env("RUST_BACKTRACE", "0")
            .env("ESCAPE_CASE", case)
            .env(STAND, self.name)
            .env("WALL_BASE", own)
            .env("WALL_SYSTEM", stage::system())
            .current_dir("/");
        let (gives, uid) = (self.gives, self.uid);
        // SAFETY: it makes system calls and allocates; only one thread of this process forks at a time, and glibc keeps
        // its allocator usable in a forked child.
        unsafe { command.pre_exec(move || gives.take(uid)) };
        command
    }
}

fn program(base: &Path) -> PathBuf {
    base.join("quire")
}
