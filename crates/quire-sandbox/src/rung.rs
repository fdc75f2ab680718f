//! What kind of sandbox this machine allows, found by making one of each kind, best first.

use crate::layer::Marks;
use crate::protocol::{FromHand, ToHand};
use crate::sandbox::{StartError, start};
use crate::{FolderView, Spec};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

/// The kinds of sandbox, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// Started by root: root inside is nobody outside, and every package manager works.
    Idmapped,
    /// Started by an ordinary user, who is root inside and the only one there is.
    OneUid,
    /// As [`Rung::OneUid`], where the kernel lets no new `/proc` be mounted: the machine's stands in, and so the processes
    /// are the machine's too, held apart by Landlock.
    NoNewProc,
    /// No namespaces at all: Landlock and a filter of system calls around a copy of the folder.
    Copy,
}

impl Rung {
    pub const ALL: [Rung; 4] = [Rung::Idmapped, Rung::OneUid, Rung::NoNewProc, Rung::Copy];

    /// Returns the rungs that are worth trying for who runs this, best first. Root of the machine itself stands on none
    /// in which root inside would be root outside as well, with namespaces to use that in.
    fn for_user(root: bool, root_of_machine: bool) -> Vec<Rung> {
        let worth = |rung: &Rung| match rung {
            Rung::Idmapped => root,
            Rung::OneUid | Rung::NoNewProc => !root_of_machine,
            Rung::Copy => true,
        };
        Rung::ALL.into_iter().filter(worth).collect()
    }

    /// Returns the rung that [`Display`](fmt::Display) writes so.
    pub fn named(name: &str) -> Option<Rung> {
        Rung::ALL.into_iter().find(|rung| rung.to_string() == name)
    }

    /// Whether there is a file tree of its own inside, in which everything may be changed.
    pub fn has_tree(self) -> bool {
        self != Rung::Copy
    }

    /// Whether processes inside see and end only each other by themselves.
    pub fn has_processes(self) -> bool {
        matches!(self, Rung::Idmapped | Rung::OneUid)
    }

    /// Whether owners in layers are shifted by [`crate::INSIDE_BASE`].
    pub fn shifts_owners(self) -> bool {
        self == Rung::Idmapped
    }

    /// Where the marks of its layers are.
    pub fn marks(self) -> Marks {
        if self.shifts_owners() { Marks::Trusted } else { Marks::User }
    }

    /// Returns what is weaker than on the best rung, in a person's words.
    pub fn weaker(self) -> &'static [&'static str] {
        const ONE_UID: &str = "there is one user inside: packages that need further users do not install";
        const PROCESSES: &str = "the names and arguments of the machine's other processes can be read inside, though not their environment \
             or memory, and none can be signalled";
        match self {
            Rung::Idmapped => &[],
            Rung::OneUid => &[ONE_UID],
            Rung::NoNewProc => {
                &[ONE_UID, "no command runs as another user than root, not even by `su`", PROCESSES]
            }
            Rung::Copy => &[
                "the system is read-only: nothing can be installed, and only the copy of the folder and a directory for \
                 temporary files can be written",
                "there is no network, and there are no terminals and no sockets",
                "the folder's copy lies at another path, and ignored directories that are large are read-only in it",
                "that a file of the machine exists, and how large it is, can be found out by who knows its name",
                PROCESSES,
            ],
        }
    }

    /// Returns what a model must be told beside what is true on every rung.
    pub fn told(self) -> Option<&'static str> {
        (self == Rung::Copy).then_some(
            "This machine allows only a plain kind of copy, so some of the above is different:
- Calls start in a copy of the folder that lies at another path; `pwd` says where. Use relative paths. The folder's own \
path cannot be opened.
- The rest of the machine is read-only and nothing can be installed. Write only in the copy and below $TMPDIR; /tmp is closed.
- There is no network at all, not even a loopback, and there are no terminals.",
        )
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rung::Idmapped => "whole machine, idmapped (root)",
            Rung::OneUid => "whole machine, one uid (ordinary user)",
            Rung::NoNewProc => "whole machine, one uid, shared /proc (container)",
            Rung::Copy => "copy of the folder, system read-only (no namespaces)",
        })
    }
}

/// The rung that this process stands on, and why on no better one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    pub rung: Rung,
    /// Those above it, best first.
    pub refused: Vec<Refused>,
    /// Why ports are taken inside where there is a way out ([`crate::Gate::shared`]); `None` where they are free.
    #[serde(default)]
    pub ports_taken: Option<String>,
}

/// A rung that was tried, and what stopped it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub rung: Rung,
    pub why: String,
}

/// Longest time that a command may take which does nothing.
const CALL_TIME: Duration = Duration::from_secs(30);

/// Makes a sandbox of each kind, best first, until one stands in which a command runs, and ends it. `scratch` is a
/// directory that does not exist yet, on a disk where layers could lie, and `folder` one where a task's folder could; both
/// are removed again. `binary` is as in [`Spec::binary`]. Where none stands, the error says why for each.
pub fn prove(scratch: &Path, folder: &Path, binary: &Path) -> Result<Proof, StartError> {
    let root = rustix::process::geteuid().is_root();
    // Root of a user namespace is somebody else outside of it (user_namespaces(7)).
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let maps_to_root = map.split_whitespace().take(2).eq(["0", "0"]);
    let mut refused = Vec::new();
    for rung in Rung::for_user(root, root && maps_to_root) {
        let once = || try_one(rung, scratch, folder, binary);
        let tried = match once() {
            // What else goes on at that moment, such as a disk that is being unmounted, is no word of the machine's.
            Err(StartError::Refused(_) | StartError::Ended | StartError::Directory { .. }) => once(),
            tried => tried,
        };
        match tried {
            Ok(ports_taken) => return Ok(Proof { rung, refused, ports_taken }),
            // It is the same for every rung.
            Err(error @ (StartError::Directory { .. } | StartError::Full | StartError::Spawner(_))) => {
                return Err(error);
            }
            Err(error) => {
                let why = match &error {
                    StartError::Refused(why) => why.clone(),
                    other => other.to_string(),
                };
                refused.push(Refused { rung, why });
            }
        }
    }
    Err(StartError::Refused(none(&refused)))
}

/// Returns, where nothing stands, why.
fn none(refused: &[Refused]) -> String {
    let each: Vec<String> = refused.iter().map(|Refused { rung, why }| format!("{rung}: {why}")).collect();
    each.join("; ")
}

fn try_one(rung: Rung, scratch: &Path, folder: &Path, binary: &Path) -> Result<Option<String>, StartError> {
    // A try before may have left something, where it had no sandbox to end.
    for made in [scratch, folder] {
        crate::tidy::empty(made).map_err(StartError::at(made))?;
    }
    let found = probe(rung, scratch, folder, binary);
    // Why there is no sandbox says more than what is left of one.
    let removed = [scratch, folder].map(|made| {
        let removed = crate::tidy::empty(made).and_then(|()| fs::remove_dir(made));
        removed.map_err(StartError::at(made))
    });
    let ports_taken = found?;
    removed.into_iter().collect::<Result<(), _>>()?;
    Ok(ports_taken)
}

/// Returns why ports are taken inside, where they are.
fn probe(rung: Rung, scratch: &Path, folder: &Path, binary: &Path) -> Result<Option<String>, StartError> {
    let scratch = fs::canonicalize(scratch).map_err(StartError::at(scratch))?;
    let folder = fs::canonicalize(folder).map_err(StartError::at(folder))?;
    let frozen = scratch.join("frozen");
    fs::create_dir(&frozen).map_err(StartError::at(&frozen))?;
    fs::write(frozen.join("file"), "as it was\n").map_err(StartError::at(&frozen))?;
    let spec = Spec {
        rung,
        state: scratch.join("state"),
        layer: scratch.join("layer"),
        layers: Vec::new(),
        skeleton: Vec::new(),
        out: scratch.join("out"),
        given: None,
        binary: binary.to_path_buf(),
        folders: vec![FolderView {
            at: folder,
            frozen: vec![frozen],
            ignored: Vec::new(),
            suspects: None,
            git_of: None,
        }],
        hide: Vec::new(),
        show: Vec::new(),
        env: Vec::new(),
        memory_bytes: 256 << 20,
        processes: 16,
        disk_bytes: 1 << 20,
        gate: Some(crate::Door::default()),
    };
    let (say, heard) = mpsc::channel();
    let sandbox = start(&spec, move |words| drop(say.send(words)))?;
    // What lies beside the state is nobody's business inside: there it cannot be written, or is a copy's.
    let outside = scratch.join("outside");
    fs::write(&outside, "as it was\n").map_err(StartError::at(&outside))?;
    let input = serde_json::json!({
        "command": format!(
            "cat file && echo written > file && rm file && echo made > made && (echo out > '{}' || true) 2>&1",
            outside.display()
        )
    });
    let call = ToHand::Call { id: 1, tool: "shell".into(), input: input.to_string() };
    let said = sandbox.send(&call).map_err(|_| StartError::Ended).and_then(|()| {
        loop {
            match heard.recv_timeout(CALL_TIME) {
                Ok(FromHand::Done { outcome, .. }) => break Ok(outcome),
                Ok(_) => {}
                Err(_) => break Err(StartError::Ended),
            }
        }
    });
    let ports_taken = sandbox.gate().and_then(|gate| gate.shared);
    let ended = sandbox.end().map_err(StartError::at(&spec.state));
    let said = said?;
    ended?;
    if said.exit != Some(0) {
        return Err(StartError::Refused(format!("a command inside failed: {}", said.text.trim())));
    }
    let is_as_it_was = |path: &Path| fs::read(path).is_ok_and(|content| content == b"as it was\n");
    if !is_as_it_was(&spec.folders[0].frozen[0].join("file"))
        || !is_as_it_was(&outside)
        || fs::read_dir(&spec.folders[0].at).map_err(StartError::at(&spec.folders[0].at))?.next().is_some()
    {
        return Err(StartError::Refused("what a command wrote inside came out".to_owned()));
    }
    Ok(ports_taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_stand_where() {
        use Rung::{Copy, Idmapped, NoNewProc, OneUid};
        for (root, root_of_machine, expected) in [
            (true, true, &[Idmapped, Copy][..]),
            (true, false, &[Idmapped, OneUid, NoNewProc, Copy]),
            (false, false, &[OneUid, NoNewProc, Copy]),
        ] {
            assert_eq!(Rung::for_user(root, root_of_machine), expected, "{root} {root_of_machine}");
        }
    }

    #[test]
    fn where_nothing_stands_every_kind_says_why() {
        let refused = |rung, why: &str| Refused { rung, why: why.to_owned() };
        let said = none(&[refused(Rung::OneUid, "no overlay"), refused(Rung::Copy, "no Landlock")]);
        assert!(said.contains("(ordinary user): no overlay; copy"), "{said}");
        assert!(said.ends_with(": no Landlock"), "{said}");
    }

    #[test]
    fn a_rung_is_known_by_its_name_and_better_ones_come_first() {
        for rung in Rung::ALL {
            assert_eq!(Rung::named(&rung.to_string()), Some(rung));
        }
        assert_eq!(Rung::named("on the roof"), None);
        assert!(Rung::ALL.is_sorted() && Rung::Idmapped < Rung::Copy);
    }
}
