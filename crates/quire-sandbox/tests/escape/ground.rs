//! What a case stands on: the stage of the wall's tests, and sandboxes in which every try proves that it was made inside.

use crate::probe;
use crate::stage::{Live, Stage, quoted};
use crate::stand;
use quire_sandbox::Spec;
use std::collections::BTreeMap;
use std::process::Command;

pub struct Ground {
    pub stage: Stage,
    /// Whether root started the sandbox.
    pub root: bool,
    /// A word that nothing else on the machine says.
    pub word: String,
}

impl Ground {
    pub fn set() -> Ground {
        let word = format!("escape{}x{}", std::process::id(), std::process::id() ^ 0x5a5a);
        let root = rustix::process::geteuid().is_root();
        let rung = if root { quire_sandbox::Rung::Idmapped } else { quire_sandbox::Rung::OneUid };
        let mut stage = Stage::set(rung);
        stage.spec.binary = std::env::current_exe().expect("this program");
        stage.spec.gate = std::env::var_os(stand::GATE).map(|_| quire_sandbox::Door::default());
        Ground { stage, root, word }
    }

    pub fn inside(&self) -> Inside<'_> {
        self.inside_of(&self.stage.spec)
    }

    pub fn inside_of(&self, spec: &Spec) -> Inside<'_> {
        Inside { live: Live::start(spec).unwrap_or_else(|error| panic!("{error}")), word: &self.word }
    }

    /// Runs a probe on the real machine, as who started the sandbox: what it finds there shows that the probe can find.
    #[track_caller]
    pub fn outside(&self, probe: &[&str]) -> Answers {
        let out = Command::new(&self.stage.spec.binary).arg(probe::NAME).arg(&self.word).args(probe).output();
        let out = out.expect("a probe's process");
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{probe:?} outside: {said}{}", String::from_utf8_lossy(&out.stderr));
        Answers::read(&said, &self.word, &here())
    }
}

/// A sandbox that cases are tried in.
pub struct Inside<'a> {
    pub live: Live,
    word: &'a str,
}

impl Inside<'_> {
    /// Runs a shell command and returns its exit code and output, having seen that it ran inside.
    #[track_caller]
    pub fn sh(&self, command: &str) -> (i32, String) {
        let word = self.word;
        let (_, said) = self.live.run(&format!(
            "(\n{command}\n) 2>&1; code=$?; printf '\\n%s %s %s' {word} \"$(readlink /proc/self/ns/pid)\" $code; true"
        ));
        let (said, proof) = said.rsplit_once('\n').unwrap_or(("", &said));
        let proof: Vec<&str> = proof.split(' ').collect();
        let [said_word, namespace, code] = proof[..] else {
            panic!("{command}: did not run: {said} {proof:?}")
        };
        assert!(said_word == word && namespace != here(), "{command}: did not run inside: {proof:?}");
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
        let (code, said) = self.live.run(&format!("quire {} {} {}", probe::NAME, self.word, words.join(" ")));
        assert_eq!(code, 0, "{probe:?}: {said}");
        let answers = Answers::read(&said, self.word, "");
        assert_ne!(answers.namespace, here(), "{probe:?} did not run inside");
        answers
    }
}

/// What a probe was told: for each thing that it tried an error's name, or what it got.
#[derive(Debug)]
pub struct Answers {
    namespace: String,
    all: BTreeMap<String, String>,
}

impl Answers {
    fn read(said: &str, word: &str, namespace: &str) -> Answers {
        let mut lines = said.lines();
        let head: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        assert!(
            matches!(head[..], [said, at] if said == word && (namespace.is_empty() || at == namespace)),
            "{said}"
        );
        let all = lines
            .filter_map(|line| line.split_once(' '))
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        Answers { namespace: head[1].to_owned(), all: all.collect() }
    }

    #[track_caller]
    pub fn get(&self, key: &str) -> &str {
        self.all.get(key).unwrap_or_else(|| panic!("no answer to {key}: {:?}", self.all))
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

/// Returns the name of this process's pid namespace.
pub fn here() -> String {
    std::fs::read_link("/proc/self/ns/pid").expect("a namespace").to_string_lossy().into_owned()
}
