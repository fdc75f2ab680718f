//! `quire demo` through the binary, as root and as an ordinary user: what it tells, and that nothing is left of it but what it
//! names. Run as root; anything else fails, for half of the runs would be missing.

#[allow(dead_code)] // here only the lowest is stood on
#[path = "../../quire-sandbox/tests/wall/ground.rs"]
mod ground;

use ground::Ground;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// An uid of nobody's.
const ORDINARY: u32 = 54_321;

/// Longest time that the last process of a run may take to go.
const GONE: Duration = Duration::from_secs(10);

/// Children are counted, so only one test at a time may have any.
static ALONE: Mutex<()> = Mutex::new(());

/// A home with a copy of the binary in it, which both kinds of user can reach.
struct Stage {
    home: tempfile::TempDir,
    uid: u32,
    _alone: MutexGuard<'static, ()>,
}

impl Stage {
    fn set(uid: u32) -> Stage {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: both calls take and give plain numbers. What a dead process leaves behind becomes a child of this one.
        let (euid, adopts) = unsafe { (libc::geteuid(), libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1)) };
        assert_eq!((euid, adopts), (0, 0), "the tests of the demo must be started by root");
        let home = tempfile::Builder::new().prefix("demo-").tempdir_in("/var/tmp").unwrap();
        fs::copy(env!("CARGO_BIN_EXE_quire"), home.path().join("quire")).unwrap();
        std::os::unix::fs::chown(home.path(), Some(uid), Some(uid)).unwrap();
        Stage { home, uid, _alone: alone }
    }

    fn path(&self) -> &Path {
        self.home.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path().join("quire"));
        command.args(arguments).env_clear().current_dir("/");
        command.env("HOME", self.path()).env("PATH", "/usr/local/bin:/usr/bin:/bin").env("TERM", "xterm");
        command
            .uid(self.uid)
            .gid(self.uid)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Returns the demo on a machine that gives less: `take` makes it so for the new process, which is root's until then.
    fn demo_on(&self, take: fn(u32) -> std::io::Result<()>) -> Command {
        let whole = self.command(&["demo"]);
        let mut command = Command::new(whole.get_program());
        command.arg("demo").env_clear().current_dir("/");
        command.envs(whole.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let uid = self.uid;
        // SAFETY: it makes system calls and allocates, which glibc lets a forked child do.
        unsafe { command.pre_exec(move || take(uid)) };
        command
    }

    fn demo(&self, arguments: &[&str]) -> Done {
        let mut all = vec!["demo"];
        all.extend(arguments);
        Done::of(self.command(&all).spawn().unwrap(), String::new())
    }

    /// Returns what there is in the home besides the binary, files only.
    fn left(&self) -> Vec<PathBuf> {
        let mut left = files(self.path());
        left.retain(|path| path != Path::new("quire"));
        left
    }

    /// Fails where a process or a mount of a run is still there.
    fn assert_gone(&self) {
        let until = Instant::now() + GONE;
        loop {
            // SAFETY: no status is asked for.
            match unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } {
                -1 => break,
                0 => assert!(Instant::now() < until, "a process of the demo is still there"),
                _ => continue,
            }
            std::thread::yield_now();
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.path().to_str().unwrap()), "{mounts}");
    }
}

struct Done {
    status: ExitStatus,
    out: String,
    err: String,
}

impl Done {
    fn of(mut child: Child, mut out: String) -> Done {
        let mut stderr = child.stderr.take().unwrap();
        let err = std::thread::spawn(move || {
            let mut err = String::new();
            stderr.read_to_string(&mut err).map(|_| err)
        });
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_to_string(&mut out).unwrap();
        }
        let err = err.join().unwrap().unwrap();
        Done { status: child.wait().unwrap(), out, err }
    }
}

/// Returns the paths of all files below `dir`, sorted.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else {
                found.push(entry.path().strip_prefix(dir).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("demo")
}

#[test]
fn both_journeys_are_told_and_nothing_else_is_left() {
    for uid in [0, ORDINARY] {
        let stage = Stage::set(uid);
        let done = stage.demo(&[]);
        assert_eq!((done.status.code(), done.err.as_str()), (Some(0), ""), "{}", done.out);
        stage.assert_gone();

        let home = stage.path().to_str().unwrap();
        let rung = if uid == 0 { "idmapped (root)" } else { "one uid (ordinary user)" };
        let told = done.out.replace(home, "HOME").replace(rung, "RUNG");
        insta::assert_snapshot!("told", without_hashes(&without_browser(&told)));

        let dir = Path::new(".cache/quire/demo-1");
        let mut expected: Vec<_> = files(&samples()).iter().map(|path| dir.join(path)).collect();
        expected.retain(|path| !path.to_str().unwrap().ends_with(".tape.json"));
        expected.extend(["index.html", "style.css"].map(|name| dir.join("repair-cafe").join(name)));
        expected.sort();
        assert_eq!(stage.left(), expected);
        let mended = fs::read_to_string(stage.path().join(dir).join("bill/bill.awk")).unwrap();
        assert!(mended.contains("sprintf(\"%.0f\", $3 * 100)"), "{mended}");
    }
}

/// In a container as Docker makes it by default, where there is neither a namespace nor a mount to be had.
#[test]
fn it_runs_on_the_lowest_rung_and_says_so() {
    for uid in [0, ORDINARY] {
        let stage = Stage::set(uid);
        let mut command = stage.demo_on(|uid| Ground::Container.take(uid));
        let done = Done::of(command.spawn().unwrap(), String::new());
        assert_eq!((done.status.code(), done.err.as_str()), (Some(0), ""), "{}", done.out);
        stage.assert_gone();
        let told = &done.out;
        assert_eq!(told.matches("in a sandbox: copy of the folder, system read-only").count(), 2, "{told}");
        assert!(told.contains("The sandbox is weaker than usual"), "{told}");
        let bill = stage.path().join(".cache/quire/demo-1/bill/bill.awk");
        assert!(fs::read_to_string(bill).unwrap().contains("sprintf(\"%.0f\", $3 * 100)"));
    }
}

/// Takes Landlock away from this process, as a kernel does that is older, or was built without it.
fn refuse_landlock() -> std::io::Result<()> {
    let step = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut filter = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::SYS_landlock_create_ruleset as u32, 0, 1),
        step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32, 0, 0),
        step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its instructions outlive the call.
    match unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Returns `text` with every hash, which tells of the modes that the umask gives, as dots.
/// Where there is a browser, the page is also opened in it: two lines for its outcome, and one while it happens.
fn without_browser(text: &str) -> String {
    let mut lines = text.lines();
    let mut kept = String::new();
    while let Some(line) = lines.next() {
        match line.contains("glance index.html") {
            true if line.contains("1 page without errors") => drop(lines.next()),
            true => assert!(line.contains("passes"), "{line}"),
            false => kept.extend([line, "\n"]),
        }
    }
    kept
}

fn without_hashes(text: &str) -> String {
    let is_hash = |word: &str| word.len() == 16 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let word = |word| if is_hash(word) { "................" } else { word };
    text.split(' ')
        .map(|part| part.split('\n').map(word).collect::<Vec<_>>().join("\n"))
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn a_script_reads_the_same_as_one_line_of_json() {
    let stage = Stage::set(0);
    let done = stage.demo(&["--json"]);
    assert_eq!((done.status.code(), done.err.as_str()), (Some(0), ""));
    assert_eq!(done.out.lines().count(), 1, "{}", done.out);
    let told: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((&told["v"], &told["recorded"]), (&Value::from(1), &Value::from(true)));
    let journeys = told["journeys"].as_array().unwrap();
    assert_eq!(journeys.len(), 2);
    for journey in journeys {
        assert_eq!(journey["before"], journey["before_accept"]);
        assert_ne!(journey["before"], journey["after_accept"]);
        assert_eq!(journey["before"], journey["after_undo"]);
        assert_eq!(journey["checks"][0]["outcome"], "passes");
    }
}

#[test]
fn the_persons_own_settings_and_tasks_are_neither_read_nor_touched() {
    let stage = Stage::set(ORDINARY);
    let config = stage.path().join(".config/quire");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("config.toml"), "this is no setting").unwrap();
    let data = stage.path().join("data");
    let mut command = stage.command(&["demo", "--quiet"]);
    command.env("QUIRE_HOME", &data).env("QUIRE_MODEL", "nonsense");
    let done = Done::of(command.spawn().unwrap(), String::new());
    assert_eq!((done.status.code(), done.err.as_str()), (Some(0), ""));
    assert_eq!(done.out.lines().count(), 2, "{}", done.out);
    assert!(!data.exists());
}

#[test]
fn a_umask_that_closes_all_to_others_is_no_hindrance() {
    for uid in [0, ORDINARY] {
        let stage = Stage::set(uid);
        let plain = stage.command(&[]);
        let mut command = Command::new("sh");
        command.args(["-c", "umask 077 && exec \"$0\" demo --quiet"]).arg(plain.get_program());
        command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.uid(uid).gid(uid).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let done = Done::of(command.spawn().unwrap(), String::new());
        assert_eq!((done.status.code(), done.err.as_str()), (Some(0), ""));
    }
}

#[test]
fn a_recording_that_does_not_fit_fails_loudly() {
    let cut = |text: &str| text.rsplit_once(",\n{").unwrap().0.to_owned() + "\n]}\n";
    type Change<'c> = &'c dyn Fn(&str) -> String;
    let rows: [(&str, Change<'_>, &str); 6] = [
        ("repair-cafe/visits.csv", &|text| text.replacen(",repaired,", ",part needed,", 1), "does not fit"),
        ("repair-cafe.tape.json", &|text| text.replace("<b>38</b>", "<b>56</b>"), "does not fit"),
        ("repair-cafe.tape.json", &|text| text[..text.len() / 2].to_owned(), "is no tape"),
        ("repair-cafe.tape.json", &cut, "was asked for"),
        ("bill/cases/refund.out", &|text| text.replace("17.00", "18.00"), "does not fit"),
        ("bill.tape.json", &|text| text.replace("\"v\": 1", "\"v\": 2"), "is of version 2"),
    ];
    for (name, change, why) in rows {
        let stage = Stage::set(0);
        let from = tempfile::tempdir().unwrap();
        for path in files(&samples()) {
            let to = from.path().join(&path);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            let text = fs::read_to_string(samples().join(&path)).unwrap();
            let changed = if path == Path::new(name) { change(&text) } else { text.clone() };
            assert!(path != Path::new(name) || changed != text, "{name} is as it was");
            fs::write(to, changed).unwrap();
        }
        let done = stage.demo(&["--from", from.path().to_str().unwrap()]);
        assert_eq!(done.status.code(), Some(1), "{name}: {}{}", done.out, done.err);
        assert!(done.err.contains(why), "{name}: {}", done.err);
        assert!(!done.out.contains("Now with a real model"), "{name}");
        stage.assert_gone();
        assert_eq!(stage.left(), [""; 0].map(PathBuf::from), "{name}");
    }
}

#[test]
fn ctrl_c_ends_it_and_leaves_nothing() {
    for (uid, line) in [(0, "Read 3 files"), (ORDINARY, "Ran `sh test.sh`"), (0, "The model in this demo")] {
        let stage = Stage::set(uid);
        let mut child = stage.command(&["demo"]).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut out = String::new();
        while !out.contains(line) {
            if stdout.read_line(&mut out).unwrap() == 0 {
                let done = Done::of(child, out);
                panic!("it ended before {line:?}: {}{}", done.out, done.err);
            }
        }
        // SAFETY: the child has not been waited for, so the number is still its own.
        unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
        stdout.read_to_string(&mut out).unwrap();
        let done = Done::of(child, out);
        assert_eq!(done.status.code(), Some(130), "{}{}", done.out, done.err);
        stage.assert_gone();
        assert_eq!(stage.left(), [""; 0].map(PathBuf::from), "{line}");
    }
}

#[test]
fn where_no_sandbox_can_be_made_the_exit_code_is_5() {
    let stage = Stage::set(ORDINARY);
    let mut command = stage.demo_on(|uid| Ground::Container.take(uid).and_then(|()| refuse_landlock()));
    let done = Done::of(command.spawn().unwrap(), String::new());
    assert_eq!(done.status.code(), Some(5), "{}{}", done.out, done.err);
    assert!(done.err.contains("quire doctor"), "{}", done.err);
    stage.assert_gone();
    assert_eq!(stage.left(), [""; 0].map(PathBuf::from));
}
