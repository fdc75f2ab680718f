//! Whole journeys against servers that others wrote: aimock, which plays all three wires and misbehaves when told to, and the
//! real llama.cpp server, whose tiny model says nothing of sense in perfect form.
//!
//! `tests/aimock/install` and quire-model's `tests/llama/install` make what this needs.

use crate::model::Wire;
use crate::stage::Stage;
use quire_core::Event;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server, for as long as this lives.
struct Peer {
    process: Child,
    url: String,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn cache(name: &str, install: &str) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cache = std::env::var_os("QUIRE_TEST_CACHE").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| here.join("../../target/test-cache")).join(name);
    assert!(cache.join("stamp").exists(), "{} is missing; run {install} once.", cache.display());
    cache
}

impl Peer {
    fn aimock(options: &[&str]) -> Peer {
        let cache = cache("aimock", "crates/quire/tests/aimock/install");
        // A port that was free a moment ago; aimock wants to be told one.
        let port =
            TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address").port();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/aimock/fixtures.json");
        let mut process = Command::new("node");
        process.arg(cache.join("node_modules/.bin/llmock")).args(["--strict", "--validate-on-load", "-p"]);
        process.arg(port.to_string()).arg("-f").arg(fixtures).args(options);
        let process = process.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let peer =
            Peer { process: process.expect("node starts"), url: format!("http://127.0.0.1:{port}/v1") };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(90), "aimock did not come up");
            std::thread::sleep(Duration::from_millis(20));
        }
        peer
    }

    fn llama() -> Peer {
        let cache = cache("llama", "crates/quire-model/tests/llama/install");
        let serve = Path::new(env!("CARGO_MANIFEST_DIR")).join("../quire-model/tests/llama/serve.py");
        let mut process = Command::new(cache.join("venv/bin/python"))
            .arg(serve)
            .arg(cache.join("tiny.gguf"))
            .arg("16384")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python starts");
        let mut address = String::new();
        BufReader::new(process.stdout.take().expect("a pipe")).read_line(&mut address).expect("an address");
        Peer { process, url: format!("{}/v1", address.trim()) }
    }

    fn is_set(&self, stage: &Stage, wire: Wire) {
        let text = format!(
            "model = 'peer/tiny'\n[providers.peer]\nbase_url = '{}'\nwire = '{}'\n",
            self.url,
            wire.name()
        );
        fs::write(stage.base().join("config/quire/config.toml"), text).expect("settings");
    }
}

/// Whatever the server does, the task ends with each call having run once.
fn journey(wire: Wire, options: &[&str]) {
    let stage = Stage::set();
    let peer = Peer::aimock(options);
    peer.is_set(&stage, wire);
    let mut ended = stage.quire(&["make a note"]);
    // A server that fails too often in a row makes the task wait, and nothing is lost by that.
    for _ in 0..8 {
        if ended.code == Some(0) {
            break;
        }
        assert_eq!(ended.code, Some(4), "{ended:?}");
        assert!(stage.state(1).starts_with("needs you"), "{}", stage.state(1));
        stage.quire(&["resume", "1"]).exits(0);
        ended = stage.quire(&["watch", "1"]);
    }
    let ended = ended.exits(0);
    assert!(ended.out.contains("The note is there: one, two. Grüße 🎉"), "{}", ended.out);
    stage.quire(&["accept", "1"]).exits(0);
    assert_eq!(fs::read_to_string(stage.folder.join("one.txt")).expect("a note"), "one\ntwo\n");
    let events = stage.log(1);
    let replies = events.iter().filter(|logged| matches!(logged.event, Event::Replied { .. })).count();
    assert_eq!(replies, 3, "each reply is there once");
    stage.quire(&["undo", "1"]).exits(0);
    assert!(!stage.folder.join("one.txt").exists());
}

const CHAOS: [&str; 8] = [
    "--chaos-drop=0.12",
    "--chaos-malformed=0.12",
    "--chaos-disconnect=0.12",
    "--chaos-ratelimit=0.08",
    "--chaos-latency=20",
    "--chunk-size=3",
    "--latency=1",
    "--log-level=silent",
];

#[test]
fn aimock_responses() {
    journey(Wire::Responses, &[]);
}

#[test]
fn aimock_chat() {
    journey(Wire::Chat, &[]);
}

#[test]
fn aimock_messages() {
    journey(Wire::Messages, &[]);
}

#[test]
fn aimock_in_chaos_responses() {
    journey(Wire::Responses, &CHAOS);
}

#[test]
fn aimock_in_chaos_chat() {
    journey(Wire::Chat, &CHAOS);
}

#[test]
fn aimock_in_chaos_messages() {
    journey(Wire::Messages, &CHAOS);
}

/// The tiny model ends its turn with whatever it says: a version that changes nothing, or a question to the person; and the
/// next turn knows all of the first.
#[test]
fn llama_on_all_wires() {
    let peer = Peer::llama();
    for wire in Wire::ALL {
        let stage = Stage::set();
        peer.is_set(&stage, wire);
        stage.file("keep.txt", "kept\n");
        let ended = stage.quire(&["--max-steps", "5", "say something"]);
        assert!(matches!(ended.code, Some(0 | 3 | 4)), "{wire:?} {ended:?}");
        let state = stage.state(1);
        assert!(state == "ready" || state.starts_with("needs you"), "{wire:?} {state}");
        let used = |events: &[quire_core::Logged]| {
            let mut used = vec![];
            for logged in events {
                if let Event::Replied { reply } = &logged.event {
                    used.push(reply.usage);
                }
            }
            used
        };
        assert!(used(&stage.log(1)).iter().all(|usage| usage.input > 2000 && !usage.estimated), "{wire:?}");
        if state == "ready" {
            stage.quire(&["revise", "1", "say more"]);
            let used = used(&stage.log(1));
            assert!(used.len() >= 2 && used.last().expect("a reply").cached > 0, "{wire:?} {used:?}");
        }
        assert_eq!(fs::read_to_string(stage.folder.join("keep.txt")).expect("a file"), "kept\n");
        stage.quire(&["discard", "1"]).exits(0);
    }
    let stage = Stage::set();
    peer.is_set(&stage, Wire::Chat);
    let told = stage.json(&["models"]);
    let listed =
        told["providers"].as_array().expect("rows").iter().find(|row| row["provider"] == "peer").cloned();
    assert_eq!(listed.expect("a row")["models"][0]["context_tokens"], 16_384, "{told:#}");
    let asked = &told["asked"][0];
    assert_eq!((&asked["answers"], &asked["streams"]), (&true.into(), &true.into()), "{asked:#}");
}
