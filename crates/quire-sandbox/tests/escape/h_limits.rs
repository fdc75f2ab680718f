//! H: taking all there is. Limits are small here, so that meeting them is quick and costs the machine nothing. What is
//! taken ends by itself as well, at some times its limit: where a limit does not hold, the case fails and the machine stays.

use crate::catalogue::{Case, case};
use crate::ground::Ground;
use crate::stage::{Live, Stage, runs, until};
use quire_sandbox::Spec;
use quire_sandbox::protocol::{FromHand, HandOutcome, ToHand};
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;

pub const CASES: &[Case] = &[
    case("H01", "fork_bomb", "ended and told, and the sandbox takes calls", fork_bomb),
    case("H02", "memory", "one is killed, the limit is told, and the sandbox takes calls", memory),
    case(
        "H03",
        "disk_fill",
        "what writes is ended, the limit is told, and deleting is the way back",
        disk_fill,
    ),
    case("H04", "hidden_disk_fill", "found without a name and in closed directories too", hidden_disk_fill),
    case("H05", "files_and_watches", "bounded, and the person's own watches still work", files_and_watches),
    case("H06", "terminals_and_shared_memory", "bounded", terminals_and_shared_memory),
    case("H07", "many_small_files", "what makes them is ended, and the limit is told", many_small_files),
    case(
        "H08",
        "bombs_and_depth",
        "an archive is stopped at the limit; the deepest directories are removed",
        bombs_and_depth,
    ),
    case("H09", "processor", "the person's processes come first", processor),
    case("H10", "sync", "does nothing, since nothing need last", sync),
    case("H11", "will_not_end", "killed", will_not_end),
    case("H12", "endless_output", "kept to the limit, and told", endless_output),
    case(
        "H13",
        "names_that_are_not_there",
        "cost the kernel what the sandbox may have",
        names_that_are_not_there,
    ),
    case("H14", "zombies", "buried", zombies),
    case("H15", "traces_of_limits", "removed with the sandbox", traces_of_limits),
];

fn small(stage: &Stage) -> Spec {
    let mut spec = stage.spec.clone();
    (spec.memory_bytes, spec.processes, spec.disk_bytes) = (64 << 20, 40, 32 << 20);
    spec
}

/// Runs a command and returns all that is said of it.
fn call(live: &Live, command: &str) -> HandOutcome {
    let input = serde_json::json!({ "command": command }).to_string();
    live.sandbox.send(&ToHand::Call { id: 1, tool: "shell".into(), input }).expect("a hand that listens");
    loop {
        match live.hear() {
            FromHand::Done { outcome, .. } => return outcome,
            FromHand::Live { .. } | FromHand::Listening { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Runs a command that must meet a limit, and finds the sandbox standing after it.
#[track_caller]
fn met(live: &Live, command: &str, told: &str) {
    let outcome = call(live, command);
    assert!(outcome.text.contains(told), "{command}: {}", outcome.text);
    assert!(!outcome.text.contains("perhaps"), "{command}: {}", outcome.text);
    // What is added to it may be that a job ended.
    let next = call(live, "echo still here");
    assert!(next.text.starts_with("still here\n[exit 0 "), "after {command}: {}", next.text);
}

/// Whether the kernel bounds this over all processes together.
fn is_in_a_cgroup(limit: &str) -> bool {
    quire_sandbox::limits_told().iter().any(|(what, by)| *what == limit && by.contains("cgroup"))
}

/// Runs a command that meets a limit and may take the sandbox with it; returns one that stands.
#[track_caller]
fn ended_by(live: Live, spec: &Spec, command: &str, told: &str) -> Live {
    let input = serde_json::json!({ "command": command }).to_string();
    live.sandbox.send(&ToHand::Call { id: 1, tool: "shell".into(), input }).expect("a hand that listens");
    let mut said = String::new();
    let stands = loop {
        match live.heard.recv_timeout(std::time::Duration::from_secs(120)) {
            Ok(FromHand::Done { outcome, .. }) => {
                said.push_str(&outcome.text);
                break true;
            }
            Ok(_) => {}
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break false,
            Err(timeout) => panic!("{command}: {timeout}"),
        }
    };
    live.sandbox.breaches().iter().for_each(|breach| said.push_str(&breach.to_string()));
    assert!(said.contains(told), "{command}: {said}");
    if stands {
        return live;
    }
    live.sandbox.end().expect("an end");
    Live::start(spec).unwrap_or_else(|error| panic!("{error}"))
}

fn fork_bomb(Ground { stage, .. }: &Ground) {
    let mut spec = small(stage);
    spec.memory_bytes = 1 << 30;
    let live = Live::start(&spec).unwrap();
    met(
        &live,
        "bomb() { test $1 = 0 || { bomb $(($1 - 1)) | bomb $(($1 - 1)) & }; sleep 20; }; bomb 8",
        "sandbox.processes = 40",
    );
    // One that begins a session for each of its own is no better off.
    met(
        &live,
        "bomb() { test $1 = 0 || { setsid bash -c \"$(declare -f bomb); bomb $(($1 - 1))\" & bomb $(($1 - 1)); }; sleep 20; }; bomb 8",
        "sandbox.processes = 40",
    );
    // Told as soon as one was refused; where looking is slow, what is left of it is ended a little later.
    // Who can be signalled belongs to the sandbox, also where the machine's processes are to be seen.
    let few = "n=0; for p in /proc/[0-9]*; do kill -0 ${p#/proc/} && n=$((n + 1)); done; test $n -lt 10";
    until("the bomb is gone", || call(&live, few).exit == Some(0));
    // One that gives up at once is told as well, where the kernel counts what it refused.
    if is_in_a_cgroup("processes") {
        met(
            &live,
            "python3 -c 'import os, signal, time\npids = []\ntry:\n  for i in range(500):\n    pid = os.fork()\n    \
             if not pid: time.sleep(20); os._exit(0)\n    pids.append(pid)\nexcept OSError: pass\n\
             for pid in pids: os.kill(pid, signal.SIGKILL)'",
            "sandbox.processes = 40",
        );
    }
}

fn memory(ground: &Ground) {
    let stage = &ground.stage;
    let mut spec = small(stage);
    spec.disk_bytes = 1 << 30;
    let live = Live::start(&spec).unwrap();
    let told = "sandbox.memory = 64MiB";
    // Each by itself would be allowed.
    let hog = "python3 -c 'import time; b = bytearray(30 << 20); time.sleep(3)'";
    met(&live, &format!("for i in 1 2 3 4; do {hog} & done; wait"), told);
    let nameless = "python3 -c 'import os, time\nf = os.memfd_create(\"f\")\nfor i in range(120): os.write(f, bytes(1 << 20))\n\
         time.sleep(20)'";
    // Nobody is any larger for what is in a file. The kernel then ends whomever it likes, and on a copy the hand is no
    // less likely than others: the sandbox ends, says why, and the next one stands on the same files.
    let kernel_chooses = ground.is_copy() && is_in_a_cgroup("memory");
    let live = if kernel_chooses {
        ended_by(live, &spec, nameless, told)
    } else {
        met(&live, nameless, told);
        live
    };
    live.no("python3 -c 'b = bytearray(128 << 20)'");
    let places: &[&str] = if ground.is_copy() { &[] } else { &["/dev/shm", "/run"] };
    for place in ["/dev/shm", "/run"] {
        live.no(&format!("head -c 128M /dev/zero > {place}/x"));
    }
    for place in places {
        live.yes(&format!("rm {place}/x && echo x > {place}/x"));
    }
    live.no("python3 -c 'import mmap, ctypes\nm = mmap.mmap(-1, 65 << 20)\na = ctypes.addressof(ctypes.c_char.from_buffer(m))\n\
             assert ctypes.CDLL(None).mlock(ctypes.c_void_p(a), 65 << 20) == 0'");
    live.yes("python3 -c 'b = bytearray(20 << 20)'");
}

/// Writes sixteen times what it may, a MiB a file, and then waits to be ended.
const FILL: &str = "for i in $(seq 512); do head -c 1M /dev/zero > fill$i; done; sleep 20";

fn disk_fill(Ground { stage, .. }: &Ground) {
    let live = Live::start(&small(stage)).unwrap();
    for place in [".", "${TMPDIR:-/tmp}"] {
        met(&live, &format!("cd {place} && {FILL}"), "sandbox.disk = 32MiB; what was writing was ended");
        // What takes no more room may be done.
        live.yes(&format!("cd {place} && rm -f fill*"));
        live.yes("head -c 8M /dev/zero > fits && rm fits");
    }
    live.no("truncate -s 7E sparse");
    live.no("head -c 64M /dev/zero > long");
    live.yes("rm -f sparse long && echo x > x");
}

fn hidden_disk_fill(ground: &Ground) {
    let live = Live::start(&small(&ground.stage)).unwrap();
    let told = "sandbox.disk = 32MiB; what was writing was ended";
    met(
        &live,
        "for fd in 5 6 7 8; do eval \"exec $fd> gone && rm gone && head -c 24M /dev/zero >&$fd\"; done; sleep 20",
        told,
    );
    let closed = match ground.is_copy() {
        // Nobody there can write where he may not go: so each part by itself would be allowed.
        true => {
            let part = "for i in $(seq 20); do head -c 1M /dev/zero > part$i; done";
            format!("mkdir closed && (cd closed && {part}) && chmod 0 closed && {part} && sleep 20")
        }
        false => format!("mkdir closed && cd closed && chmod 0 . && {FILL}"),
    };
    met(&live, &closed, told);
    met(
        &live,
        "chmod 700 closed && rm -rf closed part* && python3 -c 'import os\nfor i in range(300): os.mkdir(\"d\"); os.chdir(\"d\")\n\n\
         for i in range(512): open(str(i), \"wb\").write(bytes(1 << 20))\nimport time\ntime.sleep(20)'",
        told,
    );
}

fn many_small_files(Ground { stage, .. }: &Ground) {
    let live = Live::start(&small(stage)).unwrap();
    met(
        &live,
        "mkdir m && cd m && for i in $(seq 50000); do : > $i; done; sleep 20",
        "files and directories, and may have 3276",
    );
    live.yes("rm -rf m && touch n");
}

fn files_and_watches(ground: &Ground) {
    let live = ground.stage.start();
    let count = live.yes(
        "python3 -c 'import os, resource\nr = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n\
         resource.setrlimit(resource.RLIMIT_NOFILE, (r, r))\nn = 0\ntry:\n  while True: os.open(\".\", 0); n += 1\n\
         except OSError as e: print(n, e.errno)'",
    );
    let (open, errno) = count.split_once(' ').unwrap();
    assert!(open.parse::<u32>().unwrap() <= 16 << 10 && errno == "24", "{count}");
    if ground.is_copy() {
        // There are no watches at all.
        live.yes("python3 -c 'import ctypes; assert ctypes.CDLL(None).inotify_init1(0) < 0'");
        return;
    }
    // All instances and watches that can be had, held while the person asks for some of his own.
    let hold = "import ctypes, itertools, os, time\nc = ctypes.CDLL(None, use_errno=True)\ndirs = [d.encode() for d, _, _ in itertools.islice(os.walk(\"/usr\"), 2000)]\n\
                fds, n = [], 0\nwhile (fd := c.inotify_init1(0)) >= 0: fds.append(fd)\n\
                for fd in fds:\n  for d in dirs:\n    if c.inotify_add_watch(fd, d, 2) < 0: break\n    n += 1\n\
                print(len(fds), n, flush=True)\ntime.sleep(86399)";
    let input =
        serde_json::json!({ "command": format!("python3 -c '{hold}'"), "background": true }).to_string();
    live.sandbox.send(&ToHand::Call { id: 1, tool: "shell".into(), input }).unwrap();
    while !matches!(live.hear(), FromHand::Done { .. }) {}
    let mut held = String::new();
    until("all watches", || {
        let input = serde_json::json!({ "id": 2, "action": "poll", "wait": 1 }).to_string();
        live.sandbox.send(&ToHand::Call { id: 2, tool: "job".into(), input }).unwrap();
        if let FromHand::Done { outcome, .. } = live.hear() {
            held.push_str(outcome.text.split('[').next().unwrap_or_default());
        }
        held.contains('\n')
    });
    let held: Vec<u64> = held.split_whitespace().map(|n| n.parse().unwrap()).collect();
    let all = |what: &str| -> u64 {
        fs::read_to_string(format!("/proc/sys/fs/inotify/max_user_{what}")).unwrap().trim().parse().unwrap()
    };
    assert!(held[0] >= 1 && held[0] <= all("instances") / 4, "{held:?}");
    assert!(held[1] <= all("watches") / 4, "{held:?}");
    // SAFETY: these take plain numbers and a C string; the descriptor is new.
    unsafe {
        let instance = libc::inotify_init1(libc::IN_CLOEXEC);
        assert!(instance >= 0, "{}", std::io::Error::last_os_error());
        let instance = OwnedFd::from_raw_fd(instance);
        let watch = libc::inotify_add_watch(instance.as_raw_fd(), c"/".as_ptr(), libc::IN_MODIFY);
        assert!(watch >= 0, "{}", std::io::Error::last_os_error());
    }
}

fn terminals_and_shared_memory(ground: &Ground) {
    let live = Live::start(&small(&ground.stage)).unwrap();
    let count = live.yes(
        "python3 -c 'import os\nn = 0\ntry:\n  while n < 1000: os.openpty(); n += 1\nexcept OSError: pass\nprint(n)'",
    );
    let most = if ground.is_copy() { 0..=0 } else { 1..=64 };
    assert!(most.contains(&count.parse::<u32>().unwrap()), "{count}");
    let shared = |bytes: u32| {
        format!("python3 -c 'import ctypes; assert ctypes.CDLL(None).shmget(0, {bytes}, 0o1600) >= 0'")
    };
    if !ground.is_copy() {
        live.yes(&shared(1 << 20));
    }
    live.no(&shared(48 << 20));
}

fn bombs_and_depth(Ground { stage, .. }: &Ground) {
    let live = Live::start(&small(stage)).unwrap();
    live.yes("head -c 64M /dev/zero | gzip -1 > bomb.gz");
    met(
        &live,
        "for i in $(seq 8); do cat bomb.gz; done | gunzip -c | split -b 1M -a 6 - part; sleep 20",
        "sandbox.disk = 32MiB; what was writing was ended",
    );
    live.yes("rm -f part*");
    let spec = stage.spec.clone();
    drop(live);
    let live = Live::start(&spec).unwrap();
    live.yes("cd ${TMPDIR:-/tmp} && python3 -c 'import os\nfor i in range(4200): os.mkdir(\"d\"); os.chdir(\"d\")'");
    live.sandbox.end().unwrap();
    assert_eq!(fs::read_dir(&stage.spec.state).unwrap().count(), 0);
}

fn processor(Ground { stage, .. }: &Ground) {
    let live = stage.start();
    // SAFETY: takes plain numbers.
    let mine = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    let nice: i32 = live.yes("nice").parse().unwrap();
    assert!(nice >= (mine + 5).min(19), "{nice}");
    live.no(&format!("renice -n {mine} -p $$"));
    live.no("chrt -f -p 1 $$");
    // Where memory runs out on the machine, these go before the person's.
    assert_eq!(live.yes("cat /proc/self/oom_score_adj"), "800");
}

fn sync(Ground { stage, .. }: &Ground) {
    let live = stage.start();
    let before = flushes();
    live.yes("echo x > x && python3 -c 'import os\nfor i in range(5000): os.sync()'");
    // Other programs of the machine sync as well, but not so often.
    let after = flushes();
    assert!(after - before < 4_000, "{before} {after}");
}

/// Returns how often the machine's disks were told to bring everything down, where they are ever told.
fn flushes() -> u64 {
    let stats = fs::read_to_string("/proc/diskstats").unwrap();
    stats.lines().filter_map(|line| line.split_whitespace().nth(18)?.parse::<u64>().ok()).sum()
}

fn will_not_end(Ground { stage, .. }: &Ground) {
    let live = stage.start();
    let nap = format!("86398.5{}", rustix::process::geteuid().as_raw());
    live.yes(&format!("(trap '' TERM INT HUP QUIT; setsid sleep {nap} & echo $! > pid) > /dev/null 2>&1 &"));
    until("it runs", || runs(&nap));
    live.yes("kill -STOP $(cat pid)");
    live.sandbox.end().unwrap();
    assert!(!runs(&nap));
}

fn endless_output(Ground { stage, .. }: &Ground) {
    let live = Live::start(&small(stage)).unwrap();
    let outcome = call(&live, "yes | head -c 100M");
    let whole = stage.spec.out.join(outcome.whole.unwrap());
    assert!(fs::metadata(whole).unwrap().len() <= 32 << 20);
    assert!(outcome.text.contains("could not be written on"), "{}", outcome.text);
    met(&live, "yes | head -c 512M; sleep 20", "sandbox.disk = 32MiB; what was writing was ended");
}

fn names_that_are_not_there(Ground { stage, .. }: &Ground) {
    let live = Live::start(&small(stage)).unwrap();
    live.yes("python3 -c 'import os\nfor i in range(100000): os.path.exists(\"/no-such-\" + str(i))'");
    assert_eq!(live.yes("echo still here"), "still here");
}

/// Waits until none of the sandbox's own, which are those that can be signalled, is left unburied.
const NO_ZOMBIE: &str = "any() { for p in /proc/[0-9]*; do kill -0 ${p#/proc/} && grep -q '^State:.Z' $p/status && return 0; \
                         done 2> /dev/null; return 1; }; while any; do :; done";

fn zombies(Ground { stage, .. }: &Ground) {
    let live = Live::start(&small(stage)).unwrap();
    live.yes(
        "python3 -c 'import os\nfor i in range(2000):\n  if not (p := os.fork()):\n    if os.fork(): os._exit(0)\n    os._exit(0)\n  \
         os.waitpid(p, 0)'",
    );
    live.yes(NO_ZOMBIE);
    // Those of a parent that does not look count as processes, and go with it.
    met(
        &live,
        "python3 -c 'import os, time\ntry:\n  for i in range(500):\n    if not os.fork(): os._exit(0)\nexcept OSError: pass\ntime.sleep(20)'",
        "sandbox.processes = 40",
    );
    live.yes(NO_ZOMBIE);
}

fn traces_of_limits(Ground { stage, .. }: &Ground) {
    let told = quire_sandbox::limits_told();
    let live = stage.start();
    live.yes("true");
    let made = groups_of_children();
    assert_eq!(!made.is_empty(), told.iter().any(|(_, by)| by.contains("cgroup")), "{told:?}: {made:?}");
    live.sandbox.end().unwrap();
    assert!(made.iter().all(|group| !group.exists()), "{made:?}");
}

/// Returns the cgroups that the spawners made which this process started, wherever they lie.
fn groups_of_children() -> Vec<PathBuf> {
    let children: Vec<String> = fs::read_dir("/proc/self/task")
        .unwrap()
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|pids| pids.split_whitespace().map(|pid| format!("quire-{pid}")).collect::<Vec<_>>())
        .collect();
    assert!(!children.is_empty(), "no spawner");
    let (mut found, mut open) = (Vec::new(), vec![PathBuf::from("/sys/fs/cgroup")]);
    while let Some(directory) = open.pop() {
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            if children.iter().any(|child| entry.file_name() == **child) {
                found.push(entry.path());
            }
            open.push(entry.path());
        }
    }
    found
}
