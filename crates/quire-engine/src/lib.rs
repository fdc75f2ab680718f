//! The doing: store, driver, snapshots, checks, accept and undo, settings, host. Knows no terminal and no HTML.

pub mod accept;
pub mod attached;
mod attempts;
mod beside;
pub mod blob;
mod check;
pub mod conventions;
pub mod database;
mod decide;
pub mod desktop;
mod driver;
mod edit;
mod facts;
mod fit;
pub mod freeze;
pub mod gc;
mod git;
pub mod glimpse;
mod hands;
mod holes;
mod hooks;
pub mod host;
mod hostlog;
mod ignores;
mod in_git;
mod instructions;
pub mod keys;
pub mod ladder;
pub mod link;
mod live;
mod masked;
pub mod models;
pub mod nearest;
mod new_folder;
mod notes;
mod once;
mod owed;
pub mod parcel;
mod person;
mod place;
mod plain_file;
mod programs;
pub mod quire;
pub mod raise;
mod reach;
mod rewind;
mod search;
mod seen;
mod serve;
pub mod settings;
mod shown;
mod skills;
pub mod snapshot;
pub mod store;
#[cfg(test)]
mod testing;
mod tracked;
pub mod trust;
mod undo;
pub mod uninstall;
mod usage;
mod versions;
mod work;

// Layers are the sandbox's to lay out, and so to read.
use quire_sandbox::{rooted, stack};

pub use attempts::{Comparison, spread};
pub use decide::{Aside, Choice, Takeable};
pub use edit::{EDITED_BYTES_MAX, Editable, Saved};
pub use git::GitError;
pub use glimpse::Glimpse;
pub use host::{OpenPage, PageAt};
pub use in_git::SetAside;
pub use link::{Followed, Heard, Link};
pub use notes::On;
pub use once::Once;
pub use owed::Paid;
pub use parcel::{Parcel, ParcelError};
pub use person::find_models;
pub use quire::{EngineError, Quire, Recovered, Unended};
pub use quire_sandbox::protocol::Port;
pub use quire_sandbox::{Proof, Rung, StartError};
pub use rewind::{Begun, Point, can_be_left};
pub use search::Hit;
pub use serve::{ServeError, Stand};
pub use undo::{Edits, Undo};

/// Returns what would hold each bound of a sandbox, in pairs of the bound and its means, in words. Puts this process
/// where one that starts sandboxes would be for that.
pub fn limits_told() -> Vec<(&'static str, String)> {
    hands::delegated();
    quire_sandbox::limits_told()
}

/// Runs what this binary is when quire itself starts it again: a sandbox's spawner, its hand, a command inside. Returns the
/// exit code, or `None` where a person started it. `main` calls this before it does anything else.
pub fn private_main(args: &[std::ffi::OsString]) -> Option<i32> {
    quire_sandbox::private_main(args)
}
