//! What each test stands on: a home, a folder with frozen content, and sandboxes over it.

use quire_sandbox::protocol::{FromHand, HandOutcome, ToHand};
use quire_sandbox::{FolderView, Sandbox, Spec, StartError, Tools, start};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Returns where the tests keep their files: a real disk, because a layer must lie on one.
pub fn disk() -> PathBuf {
    let disk = PathBuf::from("/var/tmp");
    fs::create_dir_all(&disk).expect("a directory on disk");
    disk
}

/// One tool: the input is given to `sh`.
pub struct Shell {
    folder: PathBuf,
    env: Vec<(String, String)>,
}

impl Shell {
    pub fn new(folder: PathBuf, env: Vec<(String, String)>) -> Shell {
        Shell { folder, env }
    }
}

impl Tools for Shell {
    fn run(&self, _: u32, _: &str, input: &str, _: &(dyn Fn(&str) + Sync)) -> HandOutcome {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", input]).current_dir(&self.folder).env_clear().envs(self.env.clone());
        let (text, exit) = match command.stdin(std::process::Stdio::null()).output() {
            Ok(output) => {
                let both = [output.stdout, output.stderr].concat();
                (String::from_utf8_lossy(&both).into_owned(), output.status.code())
            }
            Err(error) => (error.to_string(), None),
        };
        HandOutcome { text, ok: exit == Some(0), exit, millis: 0, whole: None, images: Vec::new() }
    }

    fn cancel(&self, _: u32) {}

    fn reap(&self) {}
}

pub struct Stage {
    pub base: PathBuf,
    pub home: PathBuf,
    pub spec: Spec,
}

impl Stage {
    /// Sets a stage in the directory that this process was given.
    pub fn set() -> Stage {
        let base = PathBuf::from(std::env::var_os("WALL_BASE").expect("a directory"));
        let (home, folder, frozen) = (base.join("home"), base.join("home/project"), base.join("data/base"));
        for made in [&home, &folder, &frozen, &base.join("data/out")] {
            fs::create_dir_all(made).expect("a directory");
        }
        for copy in [&folder, &frozen] {
            fs::write(copy.join("a.txt"), "a\n").expect("a file");
            fs::create_dir(copy.join("deep")).expect("a directory");
            fs::write(copy.join("deep/b.txt"), "b\n").expect("a file");
        }
        let env = [
            ("HOME", home.to_str().expect("a name")),
            ("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"),
            ("LANG", "C.UTF-8"),
        ];
        let spec = Spec {
            state: base.join("data/state"),
            layer: base.join("data/layer"),
            layers: Vec::new(),
            out: base.join("data/out"),
            binary: base.join("quire"),
            folders: vec![FolderView { at: folder, frozen: vec![frozen], ignored: Vec::new() }],
            hide: Vec::new(),
            show: Vec::new(),
            env: env.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
            memory_bytes: 2 << 30,
            processes: 512,
            disk_bytes: 4 << 30,
        };
        Stage { base, home, spec }
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
        let call = ToHand::Call { id: 1, tool: "shell".into(), input: command.into() };
        self.sandbox.send(&call).expect("a hand that listens");
        loop {
            match self.hear() {
                FromHand::Done { outcome, .. } => return (outcome.exit.unwrap_or(-1), outcome.text),
                FromHand::Live { .. } => {}
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
