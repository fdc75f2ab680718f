//! The wall around a task, and the hand that works inside it.
//!
//! A sandbox is a private, copy-on-write view of the whole machine. [`protocol`] is what passes through the wall; the
//! hand's side of it is hostile input. Knows no model and no store, and there is no async runtime inside the hand.
//!
//! Three processes: the host calls [`start`]; the spawner (this binary again, with an empty environment and one thread)
//! makes the namespaces and outlives nobody; the hand (this binary once more) is process 1 inside. Read in that order:
//! `sandbox`, `spawner`, `tree`, `enter`, `hand`. The network ends at [`egress`], in the host.

mod bury;
mod confine;
mod copy;
mod cover;
mod delegate;
mod door;
mod durable;
pub mod egress;
mod enter;
mod fence;
mod frame;
mod gate;
mod hand;
mod hide;
mod idmap;
pub mod layer;
mod limits;
mod links;
mod machine;
mod mounts;
mod nameless;
mod network;
mod others;
mod own;
mod pages;
mod pieces;
mod ports;
mod process;
pub mod protocol;
pub mod rooted;
mod rung;
mod sandbox;
mod seccomp;
mod skeleton;
mod slim;
mod spawner;
mod spec;
mod squash;
pub mod stack;
mod steward;
mod still;
mod sudo;
mod tidy;
pub mod tool;
mod tree;
mod twice;
mod unshared;

use std::ffi::OsString;

pub use bury::bury;
pub use delegate::delegate;
pub use gate::{Gate, PROXY, TRANSPARENT};
pub use hide::{folder_secrets, hides, hides_directory, may_be_secret, secrets_among};
pub use limits::{Breach, limits_told, sweep_limits};
pub use machine::{kernel, kind_at};
pub use rung::{Proof, Refused, Rung, prove};
pub use sandbox::{Sandbox, StartError, has_left, settle_left, start};
pub use skeleton::{Skeleton, skeleton};
pub use spec::{Door, FolderView, Spec};
pub use squash::squash;
pub use tree::is_fresh;
pub use unshared::landlock_version;

/// The name by which the hand takes a hook, which no model is told: input and outcome are as in `tool/hook.rs`.
pub const HOOK: &str = tool::hook::NAME;

/// Root inside, as the machine knows it, where root started the sandbox; others follow in order.
pub const INSIDE_BASE: u32 = 1_000_000;

/// Where [`Spec::out`] is inside.
pub const OUT_INSIDE: &str = "/run/quire/out";

/// Where [`Spec::given`] is inside, but on the rung [`Rung::Copy`], where it stays where it is.
pub const GIVEN_INSIDE: &str = "/run/quire/given";

const QUIRE_INSIDE: &str = "/run/quire";
const BIN_INSIDE: &str = "/run/quire/bin";
/// What must be found before the machine's own programs.
const FIRST_INSIDE: &str = "/run/quire/first";

/// The private first arguments.
const SPAWNER: &str = "sandbox-spawner";
const HAND: &str = "sandbox-hand";
const PAGES: &str = "sandbox-pages";

/// Returns the command line that serves the current directory's files at a port, inside. It ends at once, with exit code 3,
/// where there is no `index.html`.
pub fn pages(port: u16) -> String {
    format!("exec {BIN_INSIDE}/quire {PAGES} {port}")
}

/// Runs what this program's name or its private first argument asks for, and returns the exit code; `None` where neither
/// is one of ours. `args` are the program's, its name included. `main` must call this before it starts a thread.
pub fn private_main(args: &[OsString]) -> Option<i32> {
    match args.get(1).and_then(|first| first.to_str()) {
        Some(SPAWNER) => Some(spawner::main()),
        Some(HAND) => Some(hand::main()),
        Some(own::NAME) => Some(own::main()),
        Some(PAGES) => Some(pages::main(&args[2..])),
        _ => sudo::private_main(args).or_else(|| tool::private_main(args)),
    }
}
