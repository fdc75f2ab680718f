//! Where a case can be tried from: as whom a sandbox is started, and with or without a way out of its network.

use crate::catalogue::Case;
use crate::stage::{self, ORDINARY};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

pub struct Stand {
    pub name: &'static str,
    pub told: &'static str,
    uid: u32,
    /// Whether the sandbox has a way out through the host.
    gate: bool,
}

/// The variable that says so to a case.
pub const GATE: &str = "ESCAPE_GATE";

pub const STANDS: &[Stand] = &[
    Stand {
        name: "root",
        told: "started by root: owners shifted, one overlay; no network",
        uid: 0,
        gate: false,
    },
    Stand {
        name: "user",
        told: "started by an ordinary user: one uid, an overlay a directory; no network",
        uid: ORDINARY,
        gate: false,
    },
    Stand { name: "root+gate", told: "as root, with a way out of the network", uid: 0, gate: true },
    Stand { name: "user+gate", told: "as user, with a way out of the network", uid: ORDINARY, gate: true },
];

impl Stand {
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
            .env("WALL_BASE", own)
            .env("WALL_SYSTEM", stage::system())
            .current_dir("/")
            .uid(self.uid)
            .gid(self.uid);
        if self.gate {
            command.env(GATE, "1");
        }
        command
    }
}

fn program(base: &Path) -> PathBuf {
    base.join("quire")
}
