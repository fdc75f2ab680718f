//! Where a case can be tried from: as whom a sandbox is started, and with what of the machine's abilities.

use crate::stage::{self, ORDINARY};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

pub struct Stand {
    pub name: &'static str,
    pub told: &'static str,
    uid: u32,
}

pub const STANDS: &[Stand] = &[
    Stand { name: "root", told: "started by root: owners shifted, one overlay", uid: 0 },
    Stand {
        name: "user",
        told: "started by an ordinary user: one uid, an overlay a directory",
        uid: ORDINARY,
    },
];

impl Stand {
    /// Returns the command that runs a case on this stand, with a directory of its own.
    pub fn command(&self, case: &str, base: &Path) -> Command {
        let base = base.join(format!("{case}-{}", self.name));
        std::fs::create_dir(&base).expect("a directory");
        let program = base.join("quire");
        std::fs::copy(std::env::current_exe().expect("this program"), &program)
            .expect("a copy of this program");
        for path in [&base, &program] {
            chown(path, Some(self.uid), Some(self.uid)).expect("a new owner");
        }
        let mut command = Command::new(program);
        command
            .env("RUST_BACKTRACE", "0")
            .env("ESCAPE_CASE", case)
            .env("WALL_BASE", base)
            .env("WALL_SYSTEM", stage::system())
            .current_dir("/")
            .uid(self.uid)
            .gid(self.uid);
        command
    }
}
