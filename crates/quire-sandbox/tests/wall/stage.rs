//! What each test stands on: a home, a folder with frozen content, and sandboxes over it.

use quire_sandbox::protocol::{FromHand, HandOutcome, ToHand};
use quire_sandbox::{FolderView, Rung, Sandbox, Skeleton, Spec, StartError, skeleton, start};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Returns where the tests keep their files: a real disk, because a layer must lie on one.
pub fn disk() -> PathBuf {
    let disk = PathBuf::from("/var/tmp");
    fs::create_dir_all(&disk).expect("a directory on disk");
    disk
}

/// An uid of nobody's.
pub const ORDINARY: u32 = 54_321;

/// Returns where an ordinary user's skeletons are kept from one run to the next, as they are on a person's machine.
pub fn system() -> PathBuf {
    let system = disk().join(format!("quire-wall-system-{ORDINARY}"));
    fs::create_dir_all(&system).expect("a directory");
    std::os::unix::fs::chown(&system, Some(ORDINARY), Some(ORDINARY)).expect("a new owner");
    system
}

pub struct Stage {
    pub base: PathBuf,
    pub home: PathBuf,
    /// The rung that every sandbox of this test stands on.
    pub rung: Rung,
    pub spec: Spec,
    _skeleton: Skeleton,
}

impl Stage {
    /// Sets a stage in the directory that this process was given.
    pub fn set(rung: Rung) -> Stage {
        let base = PathBuf::from(std::env::var_os("WALL_BASE").expect("a directory"));
        let (home, folder, frozen) = (base.join("home"), base.join("home/project"), base.join("data/base"));
        for made in [&home, &folder, &frozen, &base.join("data/out")] {
            fs::create_dir_all(made).expect("a directory");
        }
        for copy in [&folder, &frozen] {
            fs::write(copy.join("a.txt"), "a\n").expect("a file");
            fs::create_dir_all(copy.join("deep")).expect("a directory");
            fs::write(copy.join("deep/b.txt"), "b\n").expect("a file");
        }
        let env = [
            ("HOME", home.to_str().expect("a name")),
            ("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"),
            ("LANG", "C.UTF-8"),
        ];
        let system = PathBuf::from(std::env::var_os("WALL_SYSTEM").expect("a directory"));
        let skeleton = skeleton(&system, &|_, _| ()).expect("a skeleton");
        let spec = Spec {
            rung,
            state: base.join("data/state"),
            layer: base.join("data/layer"),
            layers: Vec::new(),
            skeleton: skeleton.layers.clone(),
            out: base.join("data/out"),
            given: None,
            binary: base.join("quire"),
            folders: vec![FolderView {
                at: folder,
                frozen: vec![frozen],
                ignored: Vec::new(),
                suspects: None,
                git_of: None,
            }],
            hide: Vec::new(),
            show: Vec::new(),
            env: env.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
            memory_bytes: 2 << 30,
            processes: 512,
            disk_bytes: 4 << 30,
            gate: None,
        };
        Stage { base, home, rung, spec, _skeleton: skeleton }
    }

    pub fn folder(&self) -> &Path {
        &self.spec.folders[0].at
    }

    pub fn start(&self) -> Live {
        Live::start(&self.spec).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// A sandbox, and what its hand says.
pub struct Live {
    pub sandbox: Sandbox,
    pub heard: Receiver<FromHand>,
}

impl Live {
    pub fn start(spec: &Spec) -> Result<Live, StartError> {
        let (say, heard) = channel();
        let sandbox = start(spec, move |words| drop(say.send(words)))?;
        Ok(Live { sandbox, heard })
    }

    /// Runs a command and returns its exit code and output.
    pub fn run(&self, command: &str) -> (i32, String) {
        let outcome = self.call("shell", &serde_json::json!({ "command": command }));
        // The last line is the tool's own, on how the command ended.
        let said = outcome.text.rsplit_once('\n').map_or("", |(said, _)| said);
        (outcome.exit.unwrap_or(-1), said.to_owned())
    }

    /// Calls a tool.
    pub fn call(&self, tool: &str, input: &serde_json::Value) -> HandOutcome {
        let call = ToHand::Call { id: 1, tool: tool.into(), input: input.to_string() };
        self.sandbox.send(&call).expect("a hand that listens");
        loop {
            match self.hear() {
                FromHand::Done { outcome, .. } => return outcome,
                FromHand::Live { .. } | FromHand::Listening { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub fn hear(&self) -> FromHand {
        self.heard.recv_timeout(Duration::from_secs(120)).expect("an answer of the hand's")
    }

    /// Runs a command that must succeed, and returns its output.
    #[track_caller]
    pub fn yes(&self, command: &str) -> String {
        let (code, text) = self.run(command);
        assert_eq!(code, 0, "{command}: {text}");
        text
    }

    /// Runs a command that must fail.
    #[track_caller]
    pub fn no(&self, command: &str) -> String {
        let (code, text) = self.run(command);
        assert_ne!(code, 0, "{command}: {text}");
        text
    }
}

/// Returns the shell word for a path or text.
pub fn quoted(text: impl AsRef<std::ffi::OsStr>) -> String {
    format!("'{}'", text.as_ref().to_str().expect("text").replace('\'', "'\\''"))
}

/// Returns whether any process of the machine has this word in its command line.
pub fn runs(word: &str) -> bool {
    fs::read_dir("/proc").expect("/proc").flatten().any(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes())
    })
}

/// Returns whether any process of the machine has a command line that begins so; arguments are parted by NUL.
pub fn runs_line(line: &str) -> bool {
    fs::read_dir("/proc").expect("/proc").flatten().any(|entry| {
        fs::read(entry.path().join("cmdline")).is_ok_and(|found| found.starts_with(line.as_bytes()))
    })
}

/// Waits for what another process brings about.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(20), "waited too long: {what}");
        std::thread::yield_now();
    }
}
