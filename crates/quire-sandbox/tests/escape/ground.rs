//! What a case stands on: the stage of the wall's tests, and sandboxes in which every try proves that it was made inside.

use crate::gives;
use crate::probe;
use crate::stage::{Live, Stage, quoted};
use crate::stand::Stand;
use quire_sandbox::egress::{Allow, Egress, Policy, Traffic};
use quire_sandbox::{Door, Rung, Spec};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};

pub struct Ground {
    pub stage: Stage,
    /// Whether root started the sandbox, and is nobody inside: on the best kind of sandbox alone.
    pub root: bool,
    /// Whether the machine lets root do all that it can, so that what is refused inside is refused by the wall.
    pub whole: bool,
    pub stand: &'static Stand,
    /// A word that nothing else on the machine says.
    pub word: String,
}

impl Ground {
    pub fn set() -> Ground {
        let word = format!("escape{}x{}", std::process::id(), std::process::id() ^ 0x5a5a);
        let stand = Stand::here();
        let mut stage = Stage::set(stand.rung);
        stage.spec.binary = std::env::current_exe().expect("this program");
        stage.spec.gate = stand.gate.then(Door::default);
        let root = stand.rung == Rung::Idmapped;
        let whole = stand.gives == gives::Ground::Whole && rustix::process::geteuid().is_root();
        Ground { stage, root, whole, stand, word }
    }

    /// Whether the sandbox is a plain copy, without a file tree or a network of its own.
    pub fn is_copy(&self) -> bool {
        !self.stand.rung.has_tree()
    }

    /// Whether it has the machine's processes.
    pub fn is_shared(&self) -> bool {
        !self.stand.rung.has_processes()
    }

    /// How opening a device is refused that is not given.
    pub fn no_device(&self) -> &'static [&'static str] {
        if self.is_copy() { &["EACCES", "ENOENT"] } else { &["ENOENT"] }
    }

    pub fn inside(&self) -> Inside<'_> {
        self.inside_of(&self.stage.spec)
    }

    pub fn inside_of(&self, spec: &Spec) -> Inside<'_> {
        let allow = Allow::Only { registries: true, hosts: Vec::new() };
        self.inside_with(spec, Policy { allow, ..Policy::default() })
    }

    /// Starts a sandbox whose way out, if it has one, is judged by this policy.
    pub fn inside_with(&self, spec: &Spec, policy: Policy) -> Inside<'_> {
        let live = Live::start(spec).unwrap_or_else(|error| panic!("{error}"));
        let outside = live.sandbox.gate().map(|gate| {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = runtime.worker_threads(1).enable_all().build().expect("a runtime");
            let (tell, heard) = channel();
            let egress = Egress::new(policy, move |traffic| drop(tell.send(traffic))).expect("a way out");
            {
                let _within = runtime.enter();
                egress.serve(gate).expect("a way out that is served");
            }
            Outside { _egress: egress, heard, _runtime: runtime }
        });
        Inside { live, outside, ground: self }
    }

    /// Runs a probe on the real machine, as who started the sandbox: what it finds there shows that the probe can find.
    #[track_caller]
    pub fn outside(&self, probe: &[&str]) -> Answers {
        let out = Command::new(&self.stage.spec.binary).arg(probe::NAME).arg(&self.word).args(probe).output();
        let out = out.expect("a probe's process");
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{probe:?} outside: {said}{}", String::from_utf8_lossy(&out.stderr));
        let answers = Answers::read(&said, &self.word);
        assert_eq!(answers.at, here(), "{probe:?} did not run outside");
        answers
    }

    /// Returns whether something was said inside by where it was said.
    fn is_inside(&self, said: &str) -> bool {
        let [theirs, ours] = [said, &here()].map(|at| at.split(',').map(str::to_owned).collect::<Vec<_>>());
        let [pid, user, filters] = &theirs[..] else { return false };
        let more = filters.parse::<u32>().ok() > ours[2].parse().ok();
        more && (self.is_copy() || *user != ours[1]) && (self.is_shared() || *pid != ours[0])
    }
}

/// The host's end of a way out.
pub struct Outside {
    _egress: Egress,
    pub heard: Receiver<Traffic>,
    _runtime: tokio::runtime::Runtime,
}

/// A sandbox that cases are tried in.
pub struct Inside<'a> {
    pub live: Live,
    pub outside: Option<Outside>,
    ground: &'a Ground,
}

/// Says where a shell is, as [`here`] does.
const HERE: &str = "$(readlink /proc/self/ns/pid),$(readlink /proc/self/ns/user),\
                    $(while read -r k v; do test $k = Seccomp_filters: && echo $v; done < /proc/self/status)";

impl Inside<'_> {
    /// Runs a shell command and returns its exit code and output, having seen that it ran inside.
    #[track_caller]
    pub fn sh(&self, command: &str) -> (i32, String) {
        let word = &self.ground.word;
        let (_, said) = self.live.run(&format!(
            "(\n{command}\n) 2>&1; code=$?; printf '\\n%s %s %s' {word} \"{HERE}\" $code; true"
        ));
        let (said, proof) = said.rsplit_once('\n').unwrap_or(("", &said));
        let proof: Vec<&str> = proof.split(' ').collect();
        let [said_word, at, code] = proof[..] else { panic!("{command}: did not run: {said} {proof:?}") };
        assert!(
            said_word == word && self.ground.is_inside(at),
            "{command}: did not run inside: {proof:?}, {}",
            here()
        );
        (code.parse().expect("an exit code"), said.trim_end_matches('\n').to_owned())
    }

    /// Runs a shell command that must succeed, and returns its output.
    #[track_caller]
    pub fn yes(&self, command: &str) -> String {
        let (code, said) = self.sh(command);
        assert_eq!(code, 0, "{command}: {said}");
        said
    }

    /// Runs a shell command that must fail, and returns its output.
    #[track_caller]
    pub fn no(&self, command: &str) -> String {
        let (code, said) = self.sh(command);
        assert_ne!(code, 0, "{command}: {said}");
        said
    }

    /// Runs a probe of this program.
    #[track_caller]
    pub fn probe(&self, probe: &[&str]) -> Answers {
        let words: Vec<String> = probe.iter().map(quoted).collect();
        let quire = match self.ground.is_copy() {
            true => quoted(&self.ground.stage.spec.binary),
            false => "quire".to_owned(),
        };
        let word = &self.ground.word;
        let (code, said) = self.live.run(&format!("{quire} {} {word} {}", probe::NAME, words.join(" ")));
        assert_eq!(code, 0, "{probe:?}: {said}");
        let answers = Answers::read(&said, word);
        assert!(self.ground.is_inside(&answers.at), "{probe:?} did not run inside: {}", answers.at);
        answers
    }

    /// Ends the sandbox in order, so that its layer is whole.
    pub fn end(self) {
        self.live.sandbox.end().expect("an end");
    }

    /// Returns the directory that the sandbox and the host share, as it is called inside.
    pub fn out(&self) -> PathBuf {
        match self.ground.is_copy() {
            true => self.ground.stage.spec.out.clone(),
            false => quire_sandbox::OUT_INSIDE.into(),
        }
    }

    /// Returns where the folder is, as it is called inside.
    pub fn folder(&self) -> PathBuf {
        self.yes("pwd -P").into()
    }
}

/// What a probe was told: for each thing that it tried an error's name, or what it got.
#[derive(Debug)]
pub struct Answers {
    at: String,
    all: BTreeMap<String, String>,
}

impl Answers {
    #[track_caller]
    fn read(said: &str, word: &str) -> Answers {
        let mut lines = said.lines();
        let head: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        assert!(matches!(head[..], [said, _] if said == word), "{said}");
        let all = lines
            .filter_map(|line| line.split_once(' '))
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        Answers { at: head[1].to_owned(), all: all.collect() }
    }

    #[track_caller]
    pub fn get(&self, key: &str) -> &str {
        self.all.get(key).unwrap_or_else(|| panic!("no answer to {key}: {:?}", self.all))
    }

    /// Leaves out one answer.
    pub fn but(mut self, key: &str) -> Answers {
        self.all.remove(key);
        self
    }

    /// Checks that every answer is one of `expected`, and that there are any.
    #[track_caller]
    pub fn all(&self, expected: &[&str]) {
        assert!(!self.all.is_empty(), "nothing was tried");
        let wrong: Vec<_> = self.all.iter().filter(|(_, said)| !expected.contains(&said.as_str())).collect();
        assert!(wrong.is_empty(), "not {expected:?}: {wrong:?}");
    }

    /// Checks single answers.
    #[track_caller]
    pub fn are(&self, expected: &[(&str, &str)]) {
        let asked = expected.iter().map(|(key, said)| (*key, *said, self.get(key)));
        let wrong: Vec<_> = asked.filter(|(_, expected, said)| expected != said).collect();
        assert!(wrong.is_empty(), "asked, expected, answered: {wrong:?}");
    }

    /// Checks that outside each of the same questions has another answer: so it was the wall that said no.
    #[track_caller]
    pub fn differ(&self, outside: &Answers) {
        for (key, said) in &self.all {
            assert_ne!(said, outside.get(key), "{key} is answered so outside as well");
        }
    }
}

/// Says where this process is: its process and user namespaces, and how many filters of system calls it is under.
pub fn here() -> String {
    let namespace = |kind: &str| {
        std::fs::read_link(format!("/proc/self/ns/{kind}"))
            .map(|link| link.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let filters = status.lines().find_map(|line| line.strip_prefix("Seccomp_filters:\t")).unwrap_or_default();
    format!("{},{},{filters}", namespace("pid"), namespace("user"))
}
