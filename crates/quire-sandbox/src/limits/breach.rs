//! A bound that was met, and its words to whoever reads the call's outcome.

use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Breach {
    /// The kernel ended a process for all of them together needed too much.
    Killed { limit: u64 },
    /// The same, found by looking; `ended` names the process.
    Memory { used: u64, limit: u64, ended: String },
    /// No more processes could be started; or those that were there stayed, and were ended.
    Processes { limit: u32, ended: bool },
    /// Bytes that the task's files take on the disk.
    Disk { used: u64, limit: u64, ended: bool },
    /// The number of the task's files.
    Files { used: u64, limit: u64, ended: bool },
    /// What would be left on the disk for the person.
    Reserve { free: u64, reserve: u64 },
}

impl Breach {
    /// Whether something was ended for it.
    pub fn ended(&self) -> bool {
        match self {
            Breach::Killed { .. } | Breach::Memory { .. } | Breach::Reserve { .. } => true,
            Breach::Processes { ended, .. } | Breach::Disk { ended, .. } | Breach::Files { ended, .. } => {
                *ended
            }
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = |ended: &bool| if *ended { "; what was writing was ended" } else { "" };
        let delete = "Delete what you made and no longer need, here or in /tmp, before you go on.";
        match self {
            Breach::Killed { limit } => write!(
                f,
                "[limit: the processes needed more memory together than sandbox.memory = {} allows, files in /dev/shm and \
                 /run included, and one was killed. Do it in smaller parts, or fewer at a time.]",
                size(*limit)
            ),
            Breach::Memory { used, limit, ended } => write!(
                f,
                "[limit: the processes used {} of memory together, and sandbox.memory = {}; the largest, {ended}, was \
                 killed. Do it in smaller parts, or fewer at a time.]",
                size(*used),
                size(*limit)
            ),
            Breach::Processes { limit, ended: false } => write!(
                f,
                "[limit: no more than sandbox.processes = {limit} processes and threads run at one time; some could not \
                 be started.]"
            ),
            Breach::Processes { limit, ended: true } => write!(
                f,
                "[limit: sandbox.processes = {limit} processes and threads ran, so that no other could be started; they \
                 were killed. Start fewer at a time.]"
            ),
            Breach::Disk { used, limit, ended: e } => write!(
                f,
                "[limit: this task's files take {} of the disk, and sandbox.disk = {}{}. {delete}]",
                size(*used),
                size(*limit),
                ended(e)
            ),
            Breach::Files { used, limit, ended: e } => write!(
                f,
                "[limit: this task has {used} files and directories, and may have {limit}{}. {delete}]",
                ended(e)
            ),
            Breach::Reserve { free, reserve } => write!(
                f,
                "[limit: the disk has only {} left, and quire keeps {} free for the person; what was writing was ended. \
                 {delete}]",
                size(*free),
                size(*reserve)
            ),
        }
    }
}

/// Returns a size in the words that settings take, with one decimal where it is no whole number.
fn size(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0x4000_0000.. => (1u64 << 30, "GiB"),
        0x10_0000.. => (1 << 20, "MiB"),
        _ => (1 << 10, "KiB"),
    };
    match bytes % unit {
        0 => format!("{}{name}", bytes / unit),
        _ => format!("{:.1}{name}", bytes as f64 / unit as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breach_names_its_limit_and_says_how_to_go_on() {
        let rows = [
            (Breach::Killed { limit: 4 << 30 }, "sandbox.memory = 4GiB", "smaller parts"),
            (
                Breach::Memory { used: 70 << 20, limit: 64 << 20, ended: "python3".into() },
                "used 70MiB of memory together, and sandbox.memory = 64MiB; the largest, python3",
                "smaller parts",
            ),
            (Breach::Processes { limit: 40, ended: false }, "sandbox.processes = 40", "could not be started"),
            (Breach::Processes { limit: 40, ended: true }, "sandbox.processes = 40", "Start fewer"),
            (
                Breach::Disk { used: (10 << 30) + (1 << 29), limit: 10 << 30, ended: true },
                "take 10.5GiB of the disk, and sandbox.disk = 10GiB; what was writing was ended.",
                "Delete what you made",
            ),
            (
                Breach::Files { used: 9, limit: 8, ended: false },
                "has 9 files and directories, and may have 8. ",
                "Delete",
            ),
            (
                Breach::Reserve { free: 1536, reserve: 1 << 30 },
                "only 1.5KiB left, and quire keeps 1GiB",
                "Delete",
            ),
        ];
        for (breach, names, goes_on) in rows {
            let text = breach.to_string();
            assert!(text.contains(names) && text.contains(goes_on), "{text}");
            assert!(text.starts_with("[limit: ") && text.ends_with(']'), "{text}");
        }
    }
}
