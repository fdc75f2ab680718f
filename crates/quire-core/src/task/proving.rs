//! What comes of a check: the next one, a word back to the model, or the end of the checks. And which one need not be run again,
//! because it ran on the very same before.

use super::{Stage, Task};
use crate::charter::CheckSpec;
use crate::event::{Apart, Base, Proof};
use std::sync::Arc;

/// A check that took longer and passed is not run again on the same files, with the same left beside them.
const SLOW_MS: u64 = 10_000;
/// The last so many are remembered.
const PROVED_MAX: usize = 16;

/// A slow check that passed without reservation, and all that it ran on.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Proved {
    spec: CheckSpec,
    bases: Option<Arc<[Base]>>,
    apart: Arc<Apart>,
    /// Names the files.
    proof: Arc<Proof>,
}

impl Task {
    /// Returns what came of the sealed version's check of that number when it ran on the same files, of the same copy of the
    /// folders, with the same left outside them, where that took long and need not be done again.
    pub fn proved(&self, check: u32) -> Option<Arc<Proof>> {
        let sealed = self.sealed.as_ref()?;
        let spec = sealed.checks.get(check as usize)?;
        let is_it = |one: &&Proved| {
            one.proof.snapshot == sealed.snapshot
                && one.spec == *spec
                && one.apart == sealed.apart
                && one.bases == self.bases
        };
        self.proved.iter().find(is_it).map(|one| one.proof.clone())
    }

    fn remember(&mut self, proof: &Arc<Proof>) {
        let passes = proof.passed && proof.buts.is_empty() && proof.unable.is_none();
        let Some(sealed) = self.sealed.as_ref().filter(|_| passes && proof.millis >= SLOW_MS) else { return };
        let check = sealed.proofs.len() as u32;
        let Some(spec) = sealed.checks.get(check as usize).filter(|_| self.proved(check).is_none()) else {
            return;
        };
        let (bases, apart) = (self.bases.clone(), sealed.apart.clone());
        let proved = Proved { spec: spec.clone(), bases, apart, proof: proof.clone() };
        if self.proved.len() == PROVED_MAX {
            self.proved.remove(0);
        }
        self.proved.push(proved);
    }

    pub(super) fn check(&mut self, proof: &Proof) {
        let proof = Arc::new(proof.clone());
        self.remember(&proof);
        let may_mend = self.check_rounds_used < self.charter.limits.check_rounds && !self.is_by_hand();
        let sealed = self.sealed.as_mut().expect("may() saw it");
        sealed.proofs.push(proof);
        let (ran, all, own) = (sealed.proofs.len(), sealed.checks.len(), self.charter.checks.len());
        // What is mended is checked anew: those that quire found are not run for what will change.
        let goes_back = may_mend && ran >= own && sealed.proofs.iter().any(|proof| proof.fails());
        if ran < all && !goes_back {
            return;
        }
        let failed: Vec<String> = sealed
            .proofs
            .iter()
            .zip(sealed.checks.iter())
            .filter(|(proof, _)| proof.fails())
            .map(|(proof, spec)| {
                let exit = proof.exit.map_or("did not end".to_owned(), |code| format!("exit {code}"));
                format!("`{}` failed ({exit}):\n{}", spec.command, proof.output.trim_end())
            })
            .collect();
        if goes_back {
            self.check_rounds_used += 1;
            self.notice(&format!(
                "quire ran the checks on what you left. {}\nMend the cause, not the check, then end with your summary again.",
                failed.join("\n")
            ));
            self.stage = Stage::Ask;
            self.note_checkpoint(self.step, None);
        } else {
            self.end_checks();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::Hash;
    use crate::charter::Wire;
    use crate::event::{Conventions, Event, Listing, Logged};
    use crate::message::{Reply, Stop, Usage};
    use crate::testing::charter;

    fn opened() -> Task {
        let event = Event::Opened { charter: Box::new(charter()), words: "go".into() };
        let mut task = Task::open(1, &Logged { seq: 1, at_ms: 0, event }).unwrap();
        let told = Event::Equipped {
            system: "s".into(),
            tools: vec![],
            rung: "r".into(),
            weak: None,
            conventions: Conventions::default(),
            attached: None,
        };
        say(&mut task, [Event::Taken { epoch: 1 }, told]);
        task
    }

    fn say(task: &mut Task, events: impl IntoIterator<Item = Event>) {
        for event in events {
            task.push(event, 1).unwrap();
        }
    }

    fn frozen(delta: u64) -> Event {
        Event::Frozen { bases: vec![Base { id: 1, delta, files: 0, bytes: 0, git: None }] }
    }

    /// What a turn left.
    #[derive(Clone)]
    struct Left {
        files: &'static str,
        outside: &'static str,
        name: &'static str,
        command: &'static str,
    }

    const LEFT: Left = Left { files: "a", outside: "", name: "cargo", command: "cargo test" };

    /// The model ends its turn, and it is sealed.
    fn seal(task: &mut Task, left: &Left) {
        let reply = Reply {
            wire: Wire::Chat,
            items: vec![],
            text: "Done.".into(),
            calls: vec![],
            stop: Stop::Done,
            usage: Usage::default(),
            by: String::new(),
        };
        let paths: Vec<String> = left.outside.split_whitespace().map(str::to_owned).collect();
        let outside = Listing { total: paths.len() as u64, paths };
        let heard = task.seq;
        say(task, [Event::Asked { heard, worst: None }, Event::Replied { reply }]);
        let sealed = Event::Sealed {
            files: None,
            layer: task.layer,
            snapshot: Hash::of(left.files.as_bytes()),
            apart: Apart { outside, ..Apart::default() },
            checks: vec![CheckSpec { name: left.name.into(), command: left.command.into() }],
        };
        say(task, [sealed]);
    }

    fn proof(millis: u64) -> Proof {
        Proof {
            snapshot: Hash::of(b"a"),
            passed: true,
            exit: Some(0),
            millis,
            output: "3 passed".into(),
            whole: None,
            buts: vec![],
            unable: None,
            before: None,
            old_code_fails: None,
            shots: vec![],
        }
    }

    /// Returns whether what a first turn's check came to stands for that of the next turn.
    fn stands(proof: Proof, between: &dyn Fn(&mut Task), left: &Left) -> bool {
        let mut task = opened();
        say(&mut task, [frozen(0)]);
        seal(&mut task, &LEFT);
        assert!(task.proved(0).is_none(), "it did not run yet");
        say(&mut task, [Event::Checked { check: 0, proof: proof.clone() }]);
        if proof.fails() {
            // It went back to the model.
        } else {
            say(&mut task, [Event::Presented { version: 1, snapshot: proof.snapshot }]);
            between(&mut task);
        }
        seal(&mut task, left);
        task.proved(0).is_some_and(|known| *known == proof)
    }

    #[test]
    fn a_slow_check_stands_only_on_exactly_what_it_ran_on() {
        let again = |task: &mut Task| say(task, [Event::Said { words: "is it so?".into() }]);
        let slow = || proof(SLOW_MS);
        let buts = Proof { buts: vec!["it ran no test".into()], ..slow() };
        let failed = Proof { passed: false, exit: Some(1), ..slow() };
        let unable = Proof { passed: false, unable: Some("it did not end".into()), ..slow() };
        for (what, proof, left, expected) in [
            ("the same", slow(), LEFT, true),
            ("quick", proof(SLOW_MS - 1), LEFT, false),
            ("in doubt", buts, LEFT, false),
            ("failed", failed, LEFT, false),
            ("could not run", unable, LEFT, false),
            ("other files", slow(), Left { files: "b", ..LEFT }, false),
            ("another command", slow(), Left { command: "cargo test -q", ..LEFT }, false),
            ("another check", slow(), Left { name: "mine", ..LEFT }, false),
            ("something outside", slow(), Left { outside: "/usr/bin/x", ..LEFT }, false),
        ] {
            assert_eq!(stands(proof, &again, &left), expected, "{what}");
        }
        let refit = |task: &mut Task| {
            say(
                task,
                [Event::Refit { words: "They changed it.".into() }, Event::Taken { epoch: 2 }, frozen(1)],
            );
        };
        let shifted = |task: &mut Task| {
            say(
                task,
                [
                    Event::Said { words: "again".into() },
                    Event::Shifted { paths: vec!["node_modules".into()] },
                ],
            );
        };
        let taken = |task: &mut Task| {
            say(task, [Event::Said { words: "again".into() }, Event::Taken { epoch: 2 }]);
        };
        assert!(!stands(slow(), &refit, &LEFT), "another copy of the folder");
        assert!(!stands(slow(), &shifted, &LEFT), "the machine changed");
        assert!(stands(slow(), &taken, &LEFT), "another driver");
    }

    #[test]
    fn only_so_many_are_remembered() {
        let mut task = opened();
        say(&mut task, [frozen(0)]);
        for n in 0..PROVED_MAX + 3 {
            let files: &'static str = ["a", "b", "c"][n % 3];
            let command: &'static str = if n % 2 == 0 { "make test" } else { "make check" };
            let left = Left { files, command, outside: ["", "/x", "/y", "/x /y"][n / 5 % 4], ..LEFT };
            seal(&mut task, &left);
            let snapshot = Hash::of(files.as_bytes());
            let proof = Proof { snapshot, ..proof(SLOW_MS) };
            say(
                &mut task,
                [
                    Event::Checked { check: 0, proof },
                    Event::Presented { version: n as u32 + 1, snapshot },
                    Event::Said { words: "on".into() },
                ],
            );
        }
        assert_eq!(task.proved.len(), PROVED_MAX);
    }
}
