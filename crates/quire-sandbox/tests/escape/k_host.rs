//! K: the host's side. What is tried here is the host, by a hand that is not quire's: this program, which finds a file
//! that says how to lie.

use crate::catalogue::{Case, Where, case, elsewhere};
use crate::ground::Ground;
use crate::stage::Live;
use std::fs;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

pub const CASES: &[Case] = &[
    elsewhere(
        "K01",
        "settings_in_the_folder",
        "change nothing of whom quire trusts and where it sends things",
        "crates/quire-engine/src/settings/tests.rs::a_folder_may_only_narrow",
    ),
    case("K03", "lying_hand", "the sandbox ends; nothing is believed, held or left open", lying_hand)
        .unproved_on(
            Where::Copy,
            "nothing is believed, but what was said ends only when the host ends the sandbox",
        ),
    elsewhere(
        "K04",
        "names_that_move_the_cursor",
        "are shown escaped",
        "crates/quire/src/terminal.rs::j24_nothing_that_moves_a_cursor_is_shown",
    ),
    elsewhere(
        "K05",
        "wider_settings_in_the_folder",
        "are an error: a folder may only narrow",
        "crates/quire-engine/src/settings/tests.rs::a_folder_may_only_narrow",
    ),
    case(
        "K06",
        "keys_of_the_host",
        "are in no environment, argument or memory of spawner and hand",
        keys_of_the_host,
    ),
    elsewhere(
        "K10",
        "environment_of_the_host",
        "only a short list of variables goes in",
        "crates/quire-engine/src/settings/tests.rs::keys_stay_outside",
    ),
    elsewhere(
        "K11",
        "files_that_a_hand_names",
        "are plain files of the out directory, or nothing",
        "crates/quire-engine/src/work.rs::only_plain_files_of_the_out_directory_are_taken",
    ),
];

/// Where the lie is written, as it is seen inside.
const LIE: &str = "lie";

/// How a hand can lie: what it sends after it said that it is ready, which it says where the name begins with `ready`.
const LIES: &[&str] = &[
    "ready-oversize",
    "ready-half",
    "ready-deep",
    "ready-unknown",
    "ready-not-text",
    "ready-nothing",
    "ready-twice",
    "ready-descriptors",
    "ready-flood",
    "early-oversize",
    "early-unknown",
    "early-end",
];

fn lying_hand(ground: &Ground) {
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    for lie in LIES {
        fs::write(ground.stage.spec.out.join(LIE), lie).unwrap();
        let started = Live::start(&ground.stage.spec);
        let Ok(live) = started else {
            assert!(lie.starts_with("early"), "{lie}: did not start");
            continue;
        };
        assert!(lie.starts_with("ready"), "{lie}: started");
        if *lie == "ready-flood" {
            // It never ends by itself; what is not listened to must not keep the host from ending it.
            live.heard.recv().unwrap();
        } else {
            // Whatever it said, what is heard ends.
            while live.heard.recv_timeout(std::time::Duration::from_secs(60)).is_ok() {}
        }
        live.sandbox.end().unwrap();
    }
    assert_eq!(open(), before, "descriptors are left open");
    // And after all of that quire's own hand works.
    fs::remove_file(ground.stage.spec.out.join(LIE)).unwrap();
    ground.inside().yes("true");
}

/// Lies to the host in place of the hand, where that is asked for, and returns the exit code.
pub fn hand() -> Option<i32> {
    let lie = fs::read_to_string(Path::new(quire_sandbox::OUT_INSIDE).join(LIE)).ok()?;
    // SAFETY: the socket is this process's descriptor 0, and nobody else's.
    let mut host = unsafe { <UnixStream as std::os::fd::FromRawFd>::from_raw_fd(0) };
    let frame = |text: &[u8]| [&(text.len() as u32).to_le_bytes(), text].concat();
    let ready = frame(b"\"ready\"");
    let said = match lie.strip_prefix("ready-") {
        Some("oversize") => [ready, vec![0xff; 64]].concat(),
        Some("half") => [ready, 1000_u32.to_le_bytes().to_vec(), b"{\"li".to_vec()].concat(),
        Some("deep") => [ready, frame(&[b'['; 1 << 20])].concat(),
        Some("unknown") => [ready, frame(b"{\"obey\":{\"id\":1}}")].concat(),
        Some("not-text") => [ready, frame(b"\xff\xfe\x00{")].concat(),
        Some("twice") => [ready.clone(), ready.clone(), ready].concat(),
        Some("nothing") => ready,
        Some("descriptors") => {
            host.write_all(&ready).ok()?;
            send_descriptors(&host);
            Vec::new()
        }
        Some("flood") => {
            host.write_all(&ready).ok()?;
            let live =
                frame(format!("{{\"live\":{{\"id\":1,\"text\":\"{}\"}}}}", "x".repeat(1000)).as_bytes());
            while host.write_all(&live).is_ok() {}
            Vec::new()
        }
        _ if lie == "early-oversize" => vec![0xff; 64],
        _ if lie == "early-unknown" => frame(b"{\"obey\":1}"),
        _ => Vec::new(),
    };
    let _ = host.write_all(&said);
    let _ = host.shutdown(Shutdown::Both);
    Some(0)
}

/// Sends frames that bring open files along.
fn send_descriptors(host: &UnixStream) {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use std::os::fd::AsFd;
    let file = fs::File::open("/dev/null").expect("a file");
    let files = [file.as_fd(); 8];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut brought = SendAncillaryBuffer::new(&mut space);
    brought.push(SendAncillaryMessage::ScmRights(&files));
    let frame = b"\x07\x00\x00\x00\"still\"";
    let _ = sendmsg(host, &[std::io::IoSlice::new(frame)], &mut brought, SendFlags::empty());
}

fn keys_of_the_host(ground: &Ground) {
    // Put together here, so that it stands in no program.
    let key: String = ground.word.chars().rev().chain("-key".chars()).collect();
    // SAFETY: this process has one thread.
    unsafe { std::env::set_var("OPENAI_API_KEY", &key) };
    let inside = ground.inside();
    let said = inside.yes("cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'; env");
    assert!(!said.contains(&key), "{said}");
    let [spawner, hand] = crate::c_namespaces::spawner_and_hand();
    for (pid, who) in [(spawner, "spawner"), (hand, "hand")] {
        for file in ["environ", "cmdline"] {
            let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            assert!(!holds(&text, &key), "{file} of the {who}");
        }
        // An ordinary user cannot look into the hand even from outside.
        if ground.root || who == "spawner" {
            assert!(!memory_holds(pid, &key), "memory of the {who}");
        }
    }
    // The control: it is where it should be.
    assert!(memory_holds(std::process::id(), &key));
}

fn memory_holds(pid: u32, word: &str) -> bool {
    use std::io::{Read, Seek, SeekFrom};
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut seen = 0;
    let found = maps.lines().filter(|line| line.contains(" rw")).any(|line| {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let at = |hex| u64::from_str_radix(hex, 16).unwrap();
        let mut bytes = Vec::new();
        let read = memory.seek(SeekFrom::Start(at(from)));
        let _ = read.and_then(|_| (&memory).take(at(to) - at(from)).read_to_end(&mut bytes));
        seen += bytes.len();
        holds(&bytes, word)
    });
    assert!(seen > 0, "nothing was read of {pid}");
    found
}

fn holds(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}
