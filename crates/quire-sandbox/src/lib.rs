//! The wall around a task, and the hand that works inside it.
//!
//! A sandbox is a private, copy-on-write view of the whole machine. [`protocol`] is what passes through the wall; the
//! hand's side of it is hostile input. Knows no model and no store, and there is no async runtime inside the hand.
//!
//! Three processes: the host calls [`start`]; the spawner (this binary again, with an empty environment and one thread)
//! makes the namespaces and outlives nobody; the hand (this binary once more) is process 1 inside. Read in that order:
//! `sandbox`, `spawner`, `tree`, `enter`, `hand`.

mod confine;
mod cover;
mod enter;
mod frame;
mod hand;
mod hide;
mod idmap;
pub mod layer;
mod limits;
mod machine;
mod mounts;
mod process;
pub mod protocol;
mod rung;
mod sandbox;
mod seccomp;
mod spawner;
mod spec;
mod tidy;
pub mod tool;
mod tree;

pub use hand::Tools;
pub use rung::{Rung, rung};
pub use sandbox::{Sandbox, StartError, start};
pub use spec::{FolderView, Spec};

/// Root inside, as the machine knows it, where root started the sandbox; others follow in order.
pub const INSIDE_BASE: u32 = 1_000_000;

/// Where [`Spec::out`] is inside.
pub const OUT_INSIDE: &str = "/run/quire/out";

const QUIRE_INSIDE: &str = "/run/quire";
const BIN_INSIDE: &str = "/run/quire/bin";

/// The private first arguments.
const SPAWNER: &str = "sandbox-spawner";
const HAND: &str = "sandbox-hand";

/// Runs what a private first argument names, and returns its exit code; `None` where there is none. `main` must call this
/// before it starts a thread or reads anything; `args` are the program's, its name included. `tools` makes the tools of
/// the hand from the folder that calls start in and their environment.
pub fn private_main<T: Tools>(
    args: &[std::ffi::OsString],
    tools: impl FnOnce(std::path::PathBuf, Vec<(String, String)>) -> T,
) -> Option<i32> {
    match args.get(1)?.to_str()? {
        SPAWNER => Some(spawner::main()),
        HAND => Some(hand::main(tools)),
        _ => None,
    }
}

/// As [`private_main`] with quire's own tools, and the commands that quire is inside a sandbox (`apply_patch`).
pub fn quire_main(args: &[std::ffi::OsString]) -> Option<i32> {
    let tools = |folder, env| tool::Inside::new(folder, OUT_INSIDE.into(), env);
    private_main(args, tools).or_else(|| tool::private_main(args))
}

impl Tools for tool::Inside {
    fn run(&self, call: u32, tool: &str, input: &str, live: &(dyn Fn(&str) + Sync)) -> protocol::HandOutcome {
        tool::run(self, call, tool, input, live)
    }

    fn cancel(&self, call: u32) {
        self.cancel(call);
    }

    fn reap(&self) {
        self.reap();
    }
}

impl Rung {
    /// Returns the rung that a sandbox started by this process would stand on; [`rung`] proves it.
    pub fn expected() -> Rung {
        if rustix::process::geteuid().is_root() { Rung::Idmapped } else { Rung::OneUid }
    }
}
