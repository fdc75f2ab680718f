//! D: signals, tracing, shared memory.

use crate::catalogue::{Case, case};
use crate::ground::Ground;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

pub const CASES: &[Case] = &[
    case(
        "D01",
        "killing_others",
        "ESRCH for a process of the machine, by any way to name it",
        killing_others,
    ),
    case("D02", "killing_the_hand", "process 1 cannot be ended or held from inside", killing_the_hand),
    case("D03", "tracing_ones_own", "works, as debuggers need it", tracing_ones_own),
    case(
        "D04",
        "signals_by_proxy",
        "no owner of a file, no timer and no parent is outside",
        signals_by_proxy,
    ),
    case("D06", "shared_memory", "neither segments, queues nor /dev/shm are the machine's", shared_memory),
    case("D07", "counters", "EPERM", |ground| {
        crate::c_namespaces::refused(ground, "perf_event_open", &["EPERM"])
    }),
    case(
        "D10",
        "going_first",
        "EPERM for real time, better niceness and locked memory beyond the limit",
        going_first,
    ),
    case("D11", "limits_of_the_hand", "are not raised", limits_of_the_hand),
    case(
        "D12",
        "abstract_sockets",
        "ECONNREFUSED: names of the machine's network are not there",
        abstract_sockets,
    ),
];

/// A process of the machine's that says when it is signalled.
pub struct Canary(Child);

impl Canary {
    pub fn new() -> Canary {
        let script = "trap 'echo signalled' HUP INT USR1 USR2 TERM CONT IO PIPE ALRM; echo ready; while :; do sleep 0.05; done";
        let mut child = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n");
        Canary(child)
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Ends it and checks that it lived and heard nothing.
    #[track_caller]
    fn lived(mut self) {
        assert!(self.0.try_wait().unwrap().is_none(), "it was ended");
        self.0.kill().unwrap();
        let mut said = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(said, "");
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn killing_others(ground: &Ground) {
    let canary = Canary::new();
    let pid = canary.id().to_string();
    let inside = ground.inside();
    let said = inside.probe(&["signal", &pid]);
    if ground.is_shared() {
        // He can be named there, and not signalled; a group of his there is none.
        assert_eq!(said.get("pidfd"), "ok");
        for way in ["kill", "thread", "thread-of", "queue", "by-pidfd"] {
            assert_eq!(said.get(way), "EPERM", "{way}");
        }
        assert!(matches!(said.get("group"), "ESRCH" | "EPERM"));
    } else {
        said.all(&["ESRCH", "EINVAL", "EBADF"]);
    }
    // Everything that can be reached, apart from the shell that asks; the canary is not among it.
    inside.sh("kill -s CONT -1");
    ground.outside(&["signal", &pid]).are(&[("kill", "ok"), ("pidfd", "ok"), ("by-pidfd", "ok")]);
    canary.lived();
}

fn killing_the_hand(ground: &Ground) {
    let inside = ground.inside();
    if ground.is_shared() {
        // The hand is one of the sandbox's own there. With it the sandbox ends, and nothing else does.
        let [_, hand] = crate::c_namespaces::spawner_and_hand();
        let canary = Canary::new();
        let input = serde_json::json!({ "command": format!("kill -s KILL -1; kill -s KILL {hand}") });
        let call =
            quire_sandbox::protocol::ToHand::Call { id: 1, tool: "shell".into(), input: input.to_string() };
        inside.live.sandbox.send(&call).unwrap();
        while inside.live.heard.recv_timeout(std::time::Duration::from_secs(60)).is_ok() {}
        drop(inside);
        canary.lived();
        assert_eq!(ground.inside().yes("echo still here"), "still here");
        return;
    }
    inside.sh("for s in KILL STOP TERM INT HUP QUIT SEGV CHLD PIPE ABRT TSTP; do kill -s $s 1; done");
    // With every other process goes the shell that asks.
    inside.live.run("kill -s KILL -1");
    assert_eq!(inside.yes("echo still here"), "still here");
}

fn tracing_ones_own(ground: &Ground) {
    ground.inside().probe(&["trace"]).are(&[
        ("stopped", "true"),
        ("read", "ok"),
        ("registers", "ok"),
        ("attach", "ok"),
        // What a filter forbids stays forbidden to who is traced (PTRACE_O_SUSPEND_SECCOMP).
        ("suspend-filter", "EPERM"),
    ]);
}

fn signals_by_proxy(ground: &Ground) {
    let canary = Canary::new();
    let inside = ground.inside();
    let said = inside.probe(&["proxy", &canary.id().to_string()]);
    if ground.is_shared() {
        // Whoever owns a file is only written down there; the signal that the probe then causes is not delivered.
        for way in ["timer", "group-of-own"] {
            assert!(matches!(said.get(way), "ESRCH" | "EINVAL"), "{said:?}");
        }
    } else {
        said.all(&["ESRCH", "EINVAL"]);
    }
    canary.lived();
}

fn shared_memory(ground: &Ground) {
    let name = format!("/dev/shm/{}", ground.word);
    fs::write(&name, &ground.word).unwrap();
    // A segment and a queue that whoever knows the key may use.
    let key = 0x5155 + std::process::id() as i32;
    // SAFETY: these take plain numbers.
    let segment = unsafe { libc::shmget(key, 4096, libc::IPC_CREAT | libc::IPC_EXCL | 0o666) };
    let queue = unsafe { libc::msgget(key, libc::IPC_CREAT | libc::IPC_EXCL | 0o666) };
    assert!(segment >= 0 && queue >= 0);
    let key = key.to_string();
    let outside = ground.outside(&["shared", &key]);
    let inside = ground.inside();
    let said = inside.probe(&["shared", &key]);
    let seen = match ground.is_copy() {
        true => inside.yes(&format!("cat /dev/shm/{} 2>&1 || true", ground.word)),
        false => {
            inside.yes(&format!("ls /dev/shm | grep -c {}; cat /proc/sysvipc/shm | wc -l; true", ground.word))
        }
    };
    // SAFETY: removes what was made above.
    unsafe {
        libc::shmctl(segment, libc::IPC_RMID, std::ptr::null_mut());
        libc::msgctl(queue, libc::IPC_RMID, std::ptr::null_mut());
    }
    fs::remove_file(&name).unwrap();
    outside.all(&["ok"]);
    if ground.is_copy() {
        said.all(&["ENOSYS"]);
        assert!(seen.contains("Permission denied"), "{seen}");
    } else {
        said.all(&["ENOENT"]);
        assert_eq!(seen, "0\n1");
    }
}

fn going_first(ground: &Ground) {
    ground.inside().probe(&["first"]).are(&[
        ("fifo", "EPERM"),
        ("deadline", "EPERM"),
        ("nice", "EACCES"),
        ("io-real-time", "EPERM"),
        ("more-descriptors", "EPERM"),
        ("more-core", "EPERM"),
        ("real-time-limit", "EPERM"),
    ]);
}

fn limits_of_the_hand(ground: &Ground) {
    let inside = ground.inside();
    inside.probe(&["limits-of", "1"]).all(&["EPERM"]);
    inside.yes("true");
}

fn abstract_sockets(ground: &Ground) {
    use std::os::linux::net::SocketAddrExt;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&ground.word).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    let name = format!("@{}", ground.word);
    ground.outside(&["connect", &name]).all(&["ok"]);
    let inside = ground.inside();
    if ground.is_copy() {
        inside.probe(&["connect", &name]).all(&["EAFNOSUPPORT"]);
        return;
    }
    inside.probe(&["connect", &name]).all(&["ECONNREFUSED"]);
    inside.no(&format!("grep -q {} /proc/net/unix", ground.word));
}
