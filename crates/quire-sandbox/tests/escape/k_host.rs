//! K: the host's side. What is tried here is the host, by a hand that is not quire's: this program, which finds a file
//! that says how to lie.

use crate::catalogue::{Case, case, elsewhere};
use crate::ground::Ground;
use crate::stage::Live;
use std::fs;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

pub const CASES: &[Case] = &[
    elsewhere(
        "K01",
        "settings_in_the_folder",
        "change nothing of whom quire trusts and where it sends things",
        "crates/quire-engine/src/settings/tests.rs::k01_a_folder_is_trusted_by_the_hash_of_what_it_wants",
    ),
    case("K03", "lying_hand", "the sandbox ends; nothing is believed, held or left open", lying_hand),
    elsewhere(
        "K04",
        "names_that_move_the_cursor",
        "are shown escaped",
        "crates/quire/src/terminal.rs::j24_nothing_that_moves_a_cursor_is_shown",
    ),
    elsewhere(
        "K05",
        "wider_settings_in_the_folder",
        "have no effect until the folder is trusted, as it is",
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
    case(
        "K12",
        "library_put_before_all",
        "what the task has every program load is not loaded by the hand",
        put_before_all,
    ),
    case(
        "K13",
        "loader_and_library_replaced",
        "the next sandbox stands, its hand works, and only commands meet them",
        replaced,
    ),
];

/// Where the lie is written: below the directory in which a hand is started, which is the folder or else the new root.
const LIES_AT: [&str; 2] = ["lie", "run/quire/out/lie"];

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
        let mut spec = ground.stage.spec.clone();
        // A plain copy that is there already is not made again.
        spec.layer = ground.stage.base.join(format!("data/layer-{lie}"));
        for place in [spec.out.join("lie"), spec.folders[0].frozen[0].join("lie")] {
            fs::write(place, lie).unwrap();
        }
        let started = Live::start(&spec);
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
    // Fewer may be: an old skeleton that is being cleared away holds some for a while.
    assert!(open() <= before, "descriptors are left open");
    // And after all of that quire's own hand works.
    let spec = &ground.stage.spec;
    for place in [spec.out.join("lie"), spec.folders[0].frozen[0].join("lie")] {
        fs::remove_file(place).unwrap();
    }
    ground.inside().yes("true");
}

/// Lies to the host in place of the hand, where that is asked for, and returns the exit code.
pub fn hand() -> Option<i32> {
    let lie = LIES_AT.iter().find_map(|place| fs::read_to_string(place).ok())?;
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

/// A library that says, as soon as it is loaded, by whom.
const TELLTALE: &str = r#"
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
__attribute__((constructor)) static void loaded(void) {
    char line[256] = "";
    int self = open("/proc/self/cmdline", O_RDONLY), length = read(self, line, sizeof line - 1), hand = 0;
    for (int i = 0; i < length; i++) hand |= !strncmp(line + i, "sandbox-hand", 12);
    close(self);
    close(open(hand ? "/run/quire/out/hand" : "/run/quire/out/command", O_CREAT | O_WRONLY, 0666));
}
"#;

fn put_before_all(ground: &Ground) {
    let mut spec = ground.stage.spec.clone();
    let inside = ground.inside();
    if ground.is_copy() {
        inside.no("echo /tmp/telltale.so > /etc/ld.so.preload");
        return;
    }
    fs::write(spec.out.join("telltale.c"), TELLTALE).unwrap();
    inside.yes("gcc -shared -fPIC -o /usr/local/lib/telltale.so /run/quire/out/telltale.c");
    inside.yes("echo /usr/local/lib/telltale.so > /etc/ld.so.preload");
    inside.yes("true");
    assert!(spec.out.join("command").exists(), "the control: it is loaded by commands");
    fs::remove_file(spec.out.join("command")).unwrap();
    inside.end();
    spec.layers = vec![std::mem::replace(&mut spec.layer, ground.stage.base.join("data/layer-2"))];
    let next = ground.inside_of(&spec);
    assert_eq!(next.live.run("exit 7").0, 7);
    assert!(spec.out.join("command").exists(), "it is loaded by commands of the next sandbox");
    assert!(!spec.out.join("hand").exists(), "the hand loaded it");
}

fn replaced(ground: &Ground) {
    const LIBRARY: &str = "$(realpath $(ldd /bin/sh | grep -o '/[^ ]*/libc\\.so[^ ]*'))";
    const LOADER: &str = "$(realpath $(ldd /bin/sh | grep -o '/[^ ]*/ld-[^ ]*'))";
    for (number, file) in [LIBRARY, LOADER].into_iter().enumerate() {
        let mut spec = ground.stage.spec.clone();
        spec.layer = ground.stage.base.join(format!("data/layer-{number}"));
        let inside = ground.inside_of(&spec);
        if ground.is_copy() {
            inside.no(&format!(": >> {file}"));
            inside.no(&format!("rm {file}"));
            continue;
        }
        inside.yes(&format!("echo {file} > /run/quire/out/file && test -s /run/quire/out/file"));
        inside.yes(&format!("cp {file} {file}.new && printf 'not a program' > {file}.new"));
        // Nothing is started after this one, so nobody can say that it was inside.
        inside.live.run(&format!("mv {file}.new {file}"));
        assert_ne!(inside.live.run("true").0, 0, "the control: no command can be started");
        inside.end();
        spec.layers =
            vec![std::mem::replace(&mut spec.layer, ground.stage.base.join(format!("data/next-{number}")))];
        let next = Live::start(&spec).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_ne!(next.run("true").0, 0, "commands have the task's own");
        let read = next.call("read", &serde_json::json!({ "path": "a.txt" }));
        assert!(read.ok && read.text.contains('a'), "{read:?}");
    }
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
