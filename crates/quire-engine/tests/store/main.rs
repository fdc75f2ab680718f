//! The store, from outside, on a real disk and with real processes.

mod blobs;
mod damage;
mod forks;
mod full_disk;
mod kept;
mod kill;
mod processes;
mod rules;
mod summaries;

use quire_core::Event;
use quire_core::charter::{Charter, Edits, Limits, Model, Purpose, Sandbox, Wire};
use quire_engine::store::Store;
use std::path::Path;
use std::process::{Command, Stdio};

/// Names the part that a child process plays; set only by the tests that start one.
const ROLE: &str = "QUIRE_TEST_ROLE";
const HOME: &str = "QUIRE_TEST_HOME";

fn opened() -> Event {
    let charter = Charter {
        folders: vec!["/somewhere".into()],
        model: Some(Model {
            provider: "tape".into(),
            name: "tape".into(),
            wire: Wire::Tape,
            base_url: "tape.jsonl".into(),
            key_env: None,
            edits: Edits::ApplyPatch,
            images: false,
            context_tokens: None,
            output_tokens: None,
            price: None,
        }),
        fallback_models: vec![],
        review_model: None,
        compact_model: None,
        checks: vec![],
        limits: Limits::default(),
        sandbox: Sandbox::default(),
        env: vec![],
        hooks: vec![],
        secrets: vec![],
        purpose: Purpose::Change,
        new_folder: false,
    };
    Event::Opened { charter: Box::new(charter), words: "tidy up".into() }
}

fn said(words: impl Into<String>) -> Event {
    Event::Said { words: words.into() }
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn store(home: &Path) -> Store {
    Store::open(home).unwrap()
}

/// Returns a command that starts this test binary again to play `role` on `home`.
fn child(role: &str, home: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "plays_a_role", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, role).env(HOME, home).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

#[test]
#[ignore = "a part that other tests start as a process of its own"]
fn plays_a_role() {
    let home = std::env::var_os(HOME).expect("started by another test");
    let home = Path::new(&home);
    match std::env::var(ROLE).as_deref() {
        Ok("append") => processes::append_role(home),
        Ok("race") => processes::race_role(home),
        Ok("fork") => forks::fork_role(home),
        Ok("busy") => kill::busy_role(home),
        Ok("cramped") => full_disk::cramped_role(home),
        Ok("full") => full_disk::full_role(home),
        Ok("no room") => full_disk::no_room_role(home),
        Ok("large") => blobs::large_role(home),
        Ok("unsynced") => full_disk::unsynced_role(home),
        other => panic!("no such role: {other:?}"),
    }
}
