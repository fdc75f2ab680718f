//! What each test stands on: a person with a home, a folder of theirs, settings that name the test's model, and at the end the
//! proof that nothing was left running.

use crate::model::{Model, Wire};
use quire_core::{Logged, Task};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// No command of these tests takes longer, unless it hangs.
const SOON: Duration = Duration::from_secs(120);
/// A port that nothing listens at: the model servers of this machine are not looked for.
const NOWHERE: &str = "http://127.0.0.1:1/v1";

/// Who runs quire.
#[derive(Clone, Debug)]
pub enum Person {
    /// Whoever runs the tests.
    Me,
    /// An ordinary user made for the test.
    User { name: String, id: u32 },
}

/// Returns whether an ordinary user can be made here. Where not, only the one who runs the tests is tested, and it is said.
pub fn can_make_users() -> bool {
    // SAFETY: geteuid has no preconditions.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        eprintln!("not root: tested as the current user only, not as root and as an ordinary user");
    }
    root
}

pub struct Stage {
    person: Person,
    binary: PathBuf,
    base: TempDir,
    pub folder: PathBuf,
    /// What an ordinary user's sandboxes stand on.
    _system: Option<TempDir>,
    /// File systems of the test's own.
    mounts: Vec<PathBuf>,
    /// Set by tests that need other variables.
    pub env: Vec<(String, String)>,
}

/// Has an ordinary user's view of the system made in memory, where there is some that will do: it is twenty thousand
/// directories, and a disk may take milliseconds to let go of each.
fn system_in_memory(data: &Path) -> Option<TempDir> {
    let system = tempfile::Builder::new().prefix("quire-system-").tempdir_in("/dev/shm").ok()?;
    // Before Linux 6.6 files in memory have no attributes of the kind that is needed.
    rustix::fs::setxattr(system.path(), "user.quire", b"y", rustix::fs::XattrFlags::empty()).ok()?;
    fs::create_dir(data).expect("a directory");
    fs::set_permissions(data, fs::Permissions::from_mode(0o700)).expect("an own directory");
    std::os::unix::fs::symlink(system.path(), data.join("system")).expect("a link");
    Some(system)
}

impl Stage {
    /// Sets a stage for whoever runs the tests.
    pub fn set() -> Stage {
        Stage::for_person(Person::Me)
    }

    /// Sets a stage for a new ordinary user.
    pub fn for_user() -> Stage {
        /// The list of users is written by one at a time.
        static ONE: Mutex<()> = Mutex::new(());
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("quire{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run(Command::new("useradd").args([
            "--system",
            "--no-create-home",
            "--user-group",
            "--shell",
            "/bin/sh",
            &name,
        ]));
        let id = Command::new("id").args(["-u", &name]).output().expect("id runs");
        let id = String::from_utf8_lossy(&id.stdout).trim().parse().expect("a number");
        Stage::for_person(Person::User { name, id })
    }

    fn for_person(person: Person) -> Stage {
        // On a disk: a sandbox's layers must not lie in memory.
        let base =
            tempfile::Builder::new().prefix("quire-journey-").tempdir_in("/var/tmp").expect("a directory");
        let folder = base.path().join("home/project");
        for made in [&folder, &base.path().join("config/quire")] {
            fs::create_dir_all(made).expect("a directory");
        }
        let built = PathBuf::from(env!("CARGO_BIN_EXE_quire"));
        let binary = match &person {
            Person::Me => built,
            Person::User { .. } => {
                // By another process, so that no child of this one ever holds it open for writing.
                let copy = base.path().join("quire");
                run(Command::new("cp").arg(&built).arg(&copy));
                copy
            }
        };
        let system = match &person {
            Person::Me => None,
            Person::User { .. } => system_in_memory(&base.path().join("data")),
        };
        let stage = Stage { person, binary, base, folder, _system: system, mounts: vec![], env: vec![] };
        stage.own(stage.base.path());
        if let Some(system) = &stage._system {
            stage.own(system.path());
        }
        fs::set_permissions(stage.base.path(), fs::Permissions::from_mode(0o755)).expect("an own directory");
        stage
    }

    /// Gives everything below `path` to the person.
    pub fn own(&self, path: &Path) {
        if let Person::User { id, .. } = &self.person {
            run(Command::new("chown").arg("-Rh").arg(format!("{id}:{id}")).arg(path));
        }
    }

    pub fn base(&self) -> &Path {
        self.base.path()
    }

    /// Returns quire's data directory.
    pub fn data(&self) -> PathBuf {
        self.base.path().join("data")
    }

    /// Makes `model`, as provider `lab`, the person's model.
    pub fn use_model(&self, model: &Model, wire: Wire) {
        self.configure(model, wire, "");
    }

    /// The same, with further lines for the provider and then for other settings.
    pub fn configure(&self, model: &Model, wire: Wire, more: &str) {
        // Names decide which tools change files; both kinds are used.
        let name = if wire == Wire::Responses { "gpt-lab" } else { "lab-model" };
        let (url, wire) = (&model.url, wire.name());
        let text = format!(
            "model = \"lab/{name}\"\n[providers.lab]\nbase_url = \"{url}\"\nwire = \"{wire}\"\n{more}"
        );
        fs::write(self.base.path().join("config/quire/config.toml"), text).expect("settings");
    }

    /// Writes a file into the folder.
    pub fn file(&self, name: &str, content: &str) {
        let path = self.folder.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, content).expect("a file");
        self.own(&self.folder);
    }

    /// Mounts a file system of this size at `path`, so that it can be full. Needs root.
    pub fn mount(&mut self, path: &Path, size: &str) {
        fs::create_dir_all(path).expect("a directory");
        let options = format!("size={size},mode=700");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path));
        self.mounts.push(path.to_owned());
    }

    /// Makes room on one that was mounted.
    pub fn grow(&self, path: &Path, size: &str) {
        run(Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(path));
    }

    /// Returns the command that runs quire as the person, in their folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match &self.person {
            Person::Me => Command::new(&self.binary),
            Person::User { id, .. } => {
                let mut command = Command::new("setpriv");
                command.args([format!("--reuid={id}"), format!("--regid={id}"), "--clear-groups".into()]);
                command.arg(&self.binary);
                command
            }
        };
        command.args(arguments).env_clear().current_dir(&self.folder);
        command.env("HOME", self.base.path().join("home"));
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("LANG", "C.UTF-8");
        command.env("QUIRE_HOME", self.data());
        command.env("XDG_CONFIG_HOME", self.base.path().join("config"));
        for name in ["OLLAMA", "LMSTUDIO", "LLAMACPP", "VLLM"] {
            command.env(format!("QUIRE_PROVIDERS__{name}__BASE_URL"), NOWHERE);
        }
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        command
    }

    /// Runs quire to its end.
    #[track_caller]
    pub fn quire(&self, arguments: &[&str]) -> Ended {
        self.quire_with(arguments, b"")
    }

    /// Runs quire to its end with `input` on its stdin.
    #[track_caller]
    pub fn quire_with(&self, arguments: &[&str], input: &[u8]) -> Ended {
        let mut running = self.start(arguments);
        let mut stdin = running.child.stdin.take().expect("a pipe");
        // A command that is refused at once does not wait for its input.
        let _ = stdin.write_all(input);
        drop(stdin);
        running.end()
    }

    /// Starts quire.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary of this package can be started");
        let (out, err) = (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
        Running { what: format!("quire {arguments:?}"), child, out: gather(out), err: gather(err) }
    }

    /// Runs quire at a terminal, where `typed` is typed, and returns what is shown there.
    pub fn at_a_terminal(&self, arguments: &str, typed: &str) -> String {
        let quire = self.command(&[]);
        let mut script = Command::new("script");
        // What is typed is there before it is asked for, and would be shown in the midst of something.
        script.args([
            "-E",
            "never",
            "-qec",
            &format!("'{}' {arguments}", quire.get_program().display()),
            "/dev/null",
        ]);
        script.env_clear().current_dir(&self.folder).env("TERM", "dumb");
        script.envs(quire.get_envs().filter_map(|(key, value)| Some((key, value?))));
        script.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = script.spawn().expect("script(1) is there");
        // Kept open until the end: its end would be a Ctrl-D.
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(typed.as_bytes()).expect("typed");
        let out = child.wait_with_output().expect("an end");
        drop(stdin);
        String::from_utf8_lossy(&out.stdout).replace('\r', "")
    }

    /// Returns the object that `arguments` with `--json` print.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let ended = self.quire(&[arguments, &["--json"]].concat());
        serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {ended:?}"))
    }

    /// Returns how `quire ls` calls the task's state.
    #[track_caller]
    pub fn state(&self, task: u64) -> String {
        let all = self.json(&["ls"]);
        let row = all["tasks"].as_array().expect("rows").iter().find(|row| row["task"] == task).cloned();
        row.expect("a row")["state"].as_str().expect("a state").to_owned()
    }

    /// Returns the task's events, after proof that each could follow those before it.
    #[track_caller]
    pub fn log(&self, task: u64) -> Vec<Logged> {
        let ended = self.quire(&["log", &task.to_string(), "--json"]);
        let events: Vec<Logged> = ended
            .lines()
            .into_iter()
            .map(|mut line| {
                assert_eq!((&line["v"], &line["task"]), (&json!(1), &json!(task)));
                let fields = line.as_object_mut().expect("an object");
                fields.retain(|key, _| ["seq", "at_ms", "event"].contains(&key.as_str()));
                serde_json::from_value(line).expect("an event")
            })
            .collect();
        let mut fold = Task::open(task, &events[0]).expect("a log begins with its opening");
        events[1..].iter().for_each(|logged| fold.apply(logged).expect("a legal log"));
        events
    }

    /// Connects to the host that runs, as a face does.
    pub fn host(&self) -> Host {
        // The link may lie where a socket's name is too long.
        let stream = UnixStream::connect(self.data().join("host.sock")).expect("a host that listens");
        stream.set_read_timeout(Some(SOON)).expect("a time limit");
        let mut host = Host { lines: BufReader::new(stream), pid: 0 };
        let hello = host.next();
        host.pid = hello["hello"]["pid"].as_i64().expect("a process") as i32;
        host
    }

    /// Returns the processes that run in this home, or in a sandbox of it.
    fn left_running(&self) -> Vec<String> {
        let base = self.base.path().as_os_str().as_encoded_bytes();
        let mut left = vec![];
        for entry in fs::read_dir("/proc").expect("/proc").flatten() {
            let pid = entry.file_name().to_string_lossy().into_owned();
            if !pid.bytes().all(|byte| byte.is_ascii_digit()) || pid == std::process::id().to_string() {
                continue;
            }
            let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
            let holds = |text: &[u8]| text.windows(base.len()).any(|part| part == base);
            if holds(&read("environ")) || holds(&read("cmdline")) || holds(&read("mountinfo")) {
                left.push(format!("{pid}: {}", String::from_utf8_lossy(&read("comm")).trim_end()));
            }
        }
        left
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let stopped = self.quire_for_the_end(&["host", "--stop"]);
        // Every process of the machine that has no mounts of its own sees these.
        for mount in &self.mounts {
            let _ = Command::new("umount").arg("--lazy").arg(mount).status();
        }
        let begun = Instant::now();
        let mut left = self.left_running();
        while !left.is_empty() && begun.elapsed() < Duration::from_secs(20) {
            thread::sleep(Duration::from_millis(20));
            left = self.left_running();
        }
        if let Person::User { name, .. } = &self.person {
            let _ = Command::new("userdel").arg(name).stderr(Stdio::null()).status();
        }
        // The kernel's own directories of a layer are closed to all but root.
        let _ =
            Command::new("chmod").args(["-R", "u+rwX"]).arg(self.base.path()).stderr(Stdio::null()).status();
        if thread::panicking() {
            let log = fs::read_to_string(self.data().join("host.log")).unwrap_or_default();
            eprintln!("the host's log:\n{log}");
        } else {
            assert!(stopped, "`quire host --stop` failed");
            assert!(left.is_empty(), "still running: {left:#?}");
        }
    }
}

impl Stage {
    /// Ends as a command of the person's would, without a word of its own while a test fails.
    fn quire_for_the_end(&self, arguments: &[&str]) -> bool {
        let mut command = self.command(arguments);
        let command =
            command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

/// A run of quire that may still go on.
pub struct Running {
    what: String,
    pub child: Child,
    out: mpsc::Receiver<String>,
    err: mpsc::Receiver<String>,
}

impl Running {
    /// Sends a signal to this process alone.
    pub fn signal(&self, signal: i32) {
        // SAFETY: kill touches no memory; the process is a child that was not waited for yet.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
    }

    /// Returns the next line that it prints, without waiting for its end.
    #[track_caller]
    pub fn next_line(&mut self) -> String {
        self.out.recv_timeout(SOON).unwrap_or_else(|_| panic!("{} says no more", self.what))
    }

    /// Returns the next line that it prints on stderr.
    #[track_caller]
    pub fn next_line_of_stderr(&mut self) -> String {
        self.err.recv_timeout(SOON).unwrap_or_else(|_| panic!("{} says no more", self.what))
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        let (pid, done) = (self.child.id() as i32, mpsc::channel::<()>());
        let watch = thread::spawn(move || {
            if done.1.recv_timeout(SOON) == Err(mpsc::RecvTimeoutError::Timeout) {
                // SAFETY: as above; the child is waited for only after this thread was told.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
        });
        let (out, err) = (self.out.iter().collect(), self.err.iter().collect());
        let status = self.child.wait().expect("a child");
        drop(done.0);
        watch.join().expect("a thread that ends");
        Ended { what: self.what, code: status.code(), out, err }
    }
}

/// What a run of quire said, and its exit code; none where it had to be killed.
#[derive(Debug)]
pub struct Ended {
    what: String,
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    #[track_caller]
    pub fn exits(self, code: i32) -> Ended {
        assert_eq!(self.code, Some(code), "{}\n--- stdout\n{}--- stderr\n{}", self.what, self.out, self.err);
        self
    }

    /// Returns the objects on stdout, one a line, each of version 1.
    #[track_caller]
    pub fn lines(&self) -> Vec<Value> {
        let read = |line: &str| {
            let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}: {self:?}"));
            assert_eq!(value["v"], 1, "{line}");
            value
        };
        self.out.lines().map(read).collect()
    }

    /// Fails unless stderr says all of `said`, in three lines: what happened, what is safe, what to do.
    #[track_caller]
    pub fn tells(self, said: &[&str]) -> Ended {
        for said in said {
            assert!(self.err.contains(said), "{said:?} is not in:\n{}", self.err);
        }
        let at = self.err.find("quire: ").unwrap_or_else(|| panic!("no message: {}", self.err));
        assert_eq!(self.err[at..].lines().count(), 3, "{}", self.err);
        self
    }
}

/// A connection to the host.
pub struct Host {
    lines: BufReader<UnixStream>,
    pub pid: i32,
}

impl Host {
    /// Ends the host in the midst of whatever it does.
    pub fn kill(self) {
        // SAFETY: kill touches no memory. The host said itself that it is this process, on a connection that still stands.
        assert_eq!(unsafe { libc::kill(self.pid, libc::SIGKILL) }, 0);
        // The connection ends with the process.
        let mut rest = vec![];
        let _ = self.lines.into_inner().read_to_end(&mut rest);
    }

    /// From now on, hears what is to be seen of the task.
    pub fn follow(&mut self, task: u64) {
        let line = format!("{}\n", json!({ "follow": task }));
        self.lines.get_mut().write_all(line.as_bytes()).expect("a host that listens");
    }

    /// Waits until a running call has printed `text`.
    pub fn wait_for_output(&mut self, text: &str) {
        let mut seen = String::new();
        while !seen.contains(text) {
            seen.push_str(self.next()["glimpse"]["output"]["text"].as_str().unwrap_or_default());
        }
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a host that speaks");
        serde_json::from_str(&line).unwrap_or(Value::Null)
    }
}

/// Reads lines as they come, with their line breaks.
fn gather(from: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (send, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(from);
        let mut line = vec![];
        while reader.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            // A diff has the bytes of the files.
            let _ = send.send(String::from_utf8_lossy(&line).into_owned());
            line.clear();
        }
    });
    lines
}

#[track_caller]
fn run(command: &mut Command) {
    let out = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
}
