//! What a sandbox may use of the machine, and what happens at each bound.
//!
//! The kernel holds a bound where it can: [`cgroup`]s over all processes together where this machine lets us make them,
//! and limits on each process and user namespace ([`crate::confine`]). What no such bound covers is looked at from outside
//! by the spawner ([`watch`]): the room on the disk always, since file systems seldom offer quotas; memory where no cgroup
//! holds it; and processes that stand at their limit, since nothing else could be started then.
//!
//! A bound that was met is a [`Breach`]. It is told before anything is ended, so that the call which ends by it can say
//! why, and the sandbox stands for the next one.

mod breach;
mod cgroup;
mod disk;
mod ledger;
mod processes;
mod watch;

pub use breach::Breach;
pub use cgroup::{HOST, Limits, existing, hand_down};
pub use ledger::Ledger;
pub use watch::{Watched, watch};

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// What holds a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Means {
    CgroupV2,
    CgroupV1,
    /// No cgroup: limits on each process, and looking.
    #[default]
    Watched,
}

impl fmt::Display for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Means::CgroupV2 => "cgroup v2",
            Means::CgroupV1 => "cgroup v1",
            Means::Watched => "no cgroup",
        })
    }
}

/// What holds which bound of a sandbox, and where the kernel counts how often it was met.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Held {
    pub memory: Means,
    pub processes: Means,
    pub cpu: Means,
    /// Files with a line that counts, and the word before the number.
    pub killed: Option<(PathBuf, String)>,
    pub refused: Option<(PathBuf, String)>,
}

/// Removes what held the bounds of sandboxes that were killed.
pub fn sweep_limits() {
    // Whoever makes its own does that first.
    drop(Limits::make(1 << 30, 512));
}

/// Returns, by making cgroups and removing them again, what would hold each bound of a sandbox that this process starts:
/// pairs of the bound and its means, in words.
pub fn limits_told() -> Vec<(&'static str, String)> {
    let limits = Limits::make(1 << 30, 512);
    let held = limits.held.clone();
    drop(limits);
    let memory = match held.memory {
        Means::Watched => "by a watcher, and for each process by its own limit".to_owned(),
        means => format!("by {means}, files in memory included"),
    };
    let processes = match held.processes {
        Means::Watched => "by user, and by a watcher".to_owned(),
        means => format!("by {means}"),
    };
    let cpu = match held.cpu {
        Means::Watched => "below your own, by nice".to_owned(),
        means => format!("below your own, by {means} and nice"),
    };
    vec![("memory", memory), ("processes", processes), ("disk", "by a watcher".to_owned()), ("cpu", cpu)]
}
