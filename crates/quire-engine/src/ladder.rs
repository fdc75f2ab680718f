//! Which kind of sandbox this machine gives, found by making one, once a boot, and noted in the data directory.
//!
//! What a process is allowed does not change by itself between two boots. But the same data directory may be used on the
//! machine and in a container of it, by another build and after a change of settings: all that could make a difference
//! without a boot is part of the note's key. Where a noted kind cannot be made any more, that is an error, and the note
//! goes: nothing slides down unseen.

use crate::freeze::remove_tree;
use crate::rooted::replace_file;
use quire_sandbox::{Proof, Rung, StartError};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// What a task's sandboxes stand on.
#[derive(Clone, Debug)]
pub struct Standing {
    pub rung: Rung,
    /// What a person is told of it, where it is less than usual or less than it was.
    pub weak: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Note {
    key: String,
    proof: Proof,
    /// What was noted under the last other key.
    before: Option<Rung>,
}

const NOTE: &str = "rung.json";

/// Returns what this machine gives; blocks for a moment where that is not known yet.
pub fn standing(home: &Path, binary: &Path) -> Result<Standing, StartError> {
    let key = key(binary);
    let known = |note: &Note| note.key == key;
    let note = match noted(home) {
        Some(note) if known(&note) => note,
        _ => {
            // Several tasks begin at once, and one of them finds out for all.
            static FINDING: Mutex<()> = Mutex::new(());
            let _finding = FINDING.lock().unwrap_or_else(PoisonError::into_inner);
            match noted(home) {
                Some(note) if known(&note) => note,
                old => prove_over(home, binary, key, old)?,
            }
        }
    };
    Ok(Standing { rung: note.proof.rung, weak: weak(note.proof.rung, note.before) })
}

/// Finds anew what this machine gives, and notes it.
pub fn prove(home: &Path, binary: &Path) -> Result<Proof, StartError> {
    Ok(prove_over(home, binary, key(binary), noted(home))?.proof)
}

/// Forgets what was found, because it did not hold.
pub fn forget(home: &Path) {
    let Some(note) = noted(home) else { return };
    // What it was is still what the next is compared with.
    let _ = write(home, &Note { key: String::new(), ..note });
}

fn prove_over(home: &Path, binary: &Path, key: String, old: Option<Note>) -> Result<Note, StartError> {
    static PROOFS: AtomicU32 = AtomicU32::new(0);
    let proof = PROOFS.fetch_add(1, Ordering::Relaxed);
    let name = format!("quire-proof-{}-{proof}", std::process::id());
    let (scratch, folder) = (home.join(&name), std::env::temp_dir().join(name));
    // Of a process that was killed, and had the same number.
    for left in [&scratch, &folder] {
        remove_tree(left).map_err(StartError::at(left))?;
    }
    let proof = quire_sandbox::prove(&scratch, &folder, binary)?;
    let before = old.and_then(|old| if old.key == key { old.before } else { Some(old.proof.rung) });
    let note = Note { key, proof, before };
    // Without a note it is found again the next time.
    let _ = write(home, &note);
    Ok(note)
}

fn write(home: &Path, note: &Note) -> io::Result<()> {
    replace_file(home, NOTE, &serde_json::to_vec(note)?)
}

fn noted(home: &Path) -> Option<Note> {
    serde_json::from_slice(&fs::read(home.join(NOTE)).ok()?).ok()
}

fn weak(rung: Rung, before: Option<Rung>) -> Option<String> {
    match before {
        Some(before) if before < rung => Some(format!(
            "The sandbox is of a lesser kind than the last one here: {rung}, not {before}. quire doctor says why."
        )),
        _ if rung > Rung::OneUid => Some(format!(
            "The sandbox is weaker than usual: {rung}. quire doctor says how, and what would raise it."
        )),
        _ => None,
    }
}

/// Returns everything that the answer may depend on.
fn key(binary: &Path) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let link = |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).unwrap_or_default();
    let status = read("/proc/self/status");
    // Which user, with which privileges, behind which filters.
    let held = ["Uid:", "CapEff:", "CapBnd:", "NoNewPrivs:", "Seccomp:", "Seccomp_filters:"];
    let held = status.lines().filter(|line| held.iter().any(|name| line.starts_with(name)));
    let build = fs::metadata(binary).map(|stat| (stat.len(), stat.mtime(), stat.mtime_nsec())).ok();
    let settings = [
        "kernel/apparmor_restrict_unprivileged_userns",
        "kernel/unprivileged_userns_clone",
        "user/max_user_namespaces",
        "user/max_mnt_namespaces",
        "user/max_net_namespaces",
    ];
    let mut parts = vec![read("/proc/sys/kernel/random/boot_id"), read("/proc/sys/kernel/osrelease")];
    parts.extend(held.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")));
    parts.extend(["user", "mnt", "pid"].map(|name| link(name).display().to_string()));
    parts.extend(settings.map(|name| read(&PathBuf::from("/proc/sys").join(name).display().to_string())));
    parts.push(read("/proc/self/attr/current"));
    parts.push(format!("{build:?}"));
    parts.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_down_is_told_and_a_step_up_is_not() {
        use Rung::{Copy, Idmapped, NoNewProc, OneUid};
        for (rung, before, told) in [
            (Idmapped, None, None),
            (OneUid, None, None),
            (OneUid, Some(Idmapped), Some("lesser kind")),
            (Idmapped, Some(Copy), None),
            (NoNewProc, None, Some("weaker than usual")),
            (Copy, Some(Copy), Some("weaker than usual")),
            (Copy, Some(OneUid), Some("lesser kind")),
        ] {
            let weak = weak(rung, before);
            assert_eq!(weak.is_some(), told.is_some(), "{rung:?} {before:?}");
            assert!(told.is_none_or(|told| weak.unwrap().contains(told)), "{rung:?} {before:?}");
        }
    }

    #[test]
    fn what_did_not_hold_is_forgotten_and_still_compared_with() {
        let home = tempfile::tempdir().unwrap();
        let proof = Proof { rung: Rung::OneUid, refused: vec![], ports_taken: None };
        write(home.path(), &Note { key: "k".into(), proof, before: None }).unwrap();
        forget(home.path());
        let note = noted(home.path()).unwrap();
        assert_eq!((note.key.as_str(), note.proof.rung), ("", Rung::OneUid));
    }
}
