//! What a person is asked of destinations that nobody allowed: the questions, and what becomes of their answers.

use super::{CallState, Phase, Stage, Task};
use crate::event::Why;
use crate::message::Call;
use crate::net;
use serde_json::Value;
use std::sync::Arc;

/// A destination of which the person was asked whether it may be reached.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Reach {
    pub host: String,
    pub port: u16,
    /// What they said last, as long as it holds.
    pub allow: Option<bool>,
    /// They allowed it until the turn ends.
    pub once: bool,
    /// It was allowed for a turn that is over: who tries it again asks anew.
    pub lapsed: bool,
    /// Whether the end of the turn waits for the answer. It does no more once the person let the task go on without one.
    pub presses: bool,
    /// The command that ran when it was tried, of a call or of a check; see [`one_command`].
    pub command: Option<String>,
}

/// Questions that may be open at a time; of what is refused beyond these only the model is told.
pub const REACHES_OPEN_MAX: usize = 20;

/// Most characters of a command that a question shows.
const COMMAND_CHARS_MAX: usize = 200;

impl Reach {
    pub(super) fn asked(host: &str, port: u16) -> Reach {
        Reach {
            host: host.to_owned(),
            port,
            allow: None,
            once: false,
            lapsed: false,
            presses: true,
            command: None,
        }
    }

    /// Returns whether the person may still be about to answer.
    pub fn is_open(&self) -> bool {
        self.allow.is_none() && !self.lapsed
    }
}

/// Returns the command of the calls that run, as a line; `None` where none does, or several: whose try it was is not known then.
pub(crate) fn one_command(calls: impl IntoIterator<Item = Call>) -> Option<String> {
    let mut shells = calls.into_iter().filter(|call| call.tool == "shell");
    let (first, None) = (shells.next()?, shells.next()) else { return None };
    let input: Value = serde_json::from_str(&first.input).ok()?;
    Some(command_line(input.get("command")?.as_str()?))
}

/// Returns a command as one line. What is cut off its end is seen to be.
pub(crate) fn command_line(command: &str) -> String {
    let lines: Vec<&str> = command.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    crate::view::first_line(&lines.join(" ⏎ "), COMMAND_CHARS_MAX)
}

impl Task {
    /// Returns the command that runs now, where it is one.
    fn running_command(&self) -> Option<String> {
        if self.stage == Stage::Check {
            let sealed = self.sealed.as_ref()?;
            return sealed.checks.get(sealed.proofs.len()).map(|check| command_line(&check.command));
        }
        let calls = (0u32..).zip(self.reply.as_ref()?.calls.iter());
        let begun = calls.filter(|(_, call)| matches!(call, CallState::Begun));
        one_command(begun.filter_map(|(place, _)| self.call_to_run(place)))
    }

    /// Returns the questions without an answer that the end of the turn waits for, with their numbers.
    pub fn pressing(&self) -> impl Iterator<Item = (u32, &Reach)> {
        (0u32..).zip(self.reaches.iter()).filter(|(_, reach)| reach.allow.is_none() && reach.presses)
    }

    /// Returns whether a check failed that may have failed for want of an answer.
    pub(crate) fn failed_for_want(&self) -> bool {
        let failed =
            self.sealed.as_ref().is_some_and(|sealed| sealed.proofs.iter().any(|proof| proof.fails()));
        failed && self.pressing().next().is_some()
    }

    /// Returns the number under which the person can be asked of a destination: where it is the first time, or they allowed it for
    /// a turn that is over, and have not too many questions.
    pub fn may_ask_of(&self, host: &str, port: u16) -> Option<u32> {
        let open = self.reaches.iter().filter(|reach| reach.is_open()).count();
        let before = self.reaches.iter().position(|reach| reach.host == host && reach.port == port);
        let may = open < REACHES_OPEN_MAX && before.is_none_or(|number| self.reaches[number].lapsed);
        may.then_some(before.unwrap_or(self.reaches.len()) as u32)
    }

    /// Returns the person's answers as they hold now: one that is given between two turns, for one, is for the next.
    pub fn answers(&self) -> Arc<Vec<Reach>> {
        let is_between = matches!(self.phase, Phase::Ready | Phase::Accepted);
        let mut answers = self.reaches.clone();
        if is_between && answers.iter().any(|reach| reach.once) {
            let once = Arc::make_mut(&mut answers).iter_mut().filter(|reach| reach.once);
            once.for_each(|reach| reach.allow = None);
        }
        answers
    }

    pub(super) fn ask_of(&mut self, reach: u32, host: &str, port: u16) {
        let asked = Reach { command: self.running_command(), ..Reach::asked(host, port) };
        let reaches = Arc::make_mut(&mut self.reaches);
        match reaches.get_mut(reach as usize) {
            Some(before) => *before = asked,
            None => reaches.push(asked),
        }
    }

    pub(super) fn may_allow(&self, reach: u32, allow: bool, once: bool) -> Result<(), &'static str> {
        let asked = self.reaches.get(reach as usize);
        let says = asked.is_some_and(|asked| (asked.allow, asked.once) != (Some(allow), once));
        if says && (allow || !once) {
            Ok(())
        } else {
            Err("an answer needs a question, and says something new; only a yes is for a turn")
        }
    }

    /// The model is told. Where the turn's end waited for nothing else, it goes on with that.
    pub(super) fn hear_answer(&mut self, reach: u32, allow: bool, once: bool) {
        let Some(asked) = Arc::make_mut(&mut self.reaches).get_mut(reach as usize) else { return };
        (asked.allow, asked.once, asked.lapsed) = (Some(allow), once, false);
        let to = net::address(&asked.host, asked.port);
        let told = match (allow, once) {
            (true, false) => format!("The person now allows {to}."),
            (true, true) => format!("The person now allows {to}, until this turn ends."),
            (false, _) => format!("The person denies {to}: do without it, and do not try it again."),
        };
        self.notice(&told);
        // Who is taken back is in another turn.
        if !once {
            self.checkpoints.answered(told);
        }
        let checks = matches!(self.stage, Stage::Check | Stage::Present);
        if self.phase == Phase::Waiting(Why::Reach) {
            if self.pressing().next().is_none() {
                self.phase = Phase::Working;
                match self.is_by_hand() {
                    true => self.check_anew(),
                    false => self.stage = Stage::Ask,
                }
            }
        } else if allow && checks && !self.is_by_hand() {
            // What failed for want of it may now succeed.
            self.stage = Stage::Ask;
        }
    }

    /// The turn is over: it waits for no answer, and what was allowed for it alone is closed again.
    pub(super) fn close_reaches(&mut self) {
        self.press_no_more();
        if self.reaches.iter().any(|reach| reach.once) {
            let once = Arc::make_mut(&mut self.reaches).iter_mut().filter(|reach| reach.once);
            once.for_each(|reach| {
                *reach = Reach { lapsed: true, presses: false, ..Reach::asked(&reach.host, reach.port) };
            });
        }
    }

    pub(super) fn press_no_more(&mut self) {
        if self.pressing().next().is_some() {
            Arc::make_mut(&mut self.reaches).iter_mut().for_each(|reach| reach.presses = false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::Hash;
    use crate::charter::{CheckSpec, Wire};
    use crate::event::{Apart, Base, Conventions, Event, Logged, Proof};
    use crate::message::{Reply, Stop, Usage};
    use crate::testing::charter;

    const HOST: (&str, u16) = ("docs.example.org", 443);

    fn say(task: &mut Task, events: impl IntoIterator<Item = Event>) {
        for event in events {
            task.push(event, 1).unwrap();
        }
    }

    /// A task with a check, at work, that asked for a host.
    fn asks() -> Task {
        let checks = vec![CheckSpec { name: "test".into(), command: "make test".into() }];
        let charter = crate::charter::Charter { checks, ..charter() };
        let event = Event::Opened { charter: Box::new(charter), words: "go".into() };
        let mut task = Task::open(1, &Logged { seq: 1, at_ms: 0, event }).unwrap();
        let told = Event::Equipped {
            system: "s".into(),
            tools: vec![],
            rung: "r".into(),
            weak: None,
            conventions: Conventions::default(),
            attached: None,
        };
        let bases = vec![Base { id: 1, delta: 0, files: 0, bytes: 0, git: None }];
        say(&mut task, [Event::Taken { epoch: 1 }, told, Event::Frozen { bases }]);
        asked(&mut task);
        task
    }

    fn asked(task: &mut Task) {
        let reach = task.may_ask_of(HOST.0, HOST.1).expect("it may be asked of");
        say(task, [Event::ReachAsked { reach, host: HOST.0.into(), port: HOST.1 }]);
    }

    fn answered(task: &mut Task, allow: bool, once: bool) {
        say(task, [Event::ReachAnswered { reach: 0, allow, once }]);
    }

    /// The model ends its turn, and the check is about to run.
    fn sealed(task: &mut Task) {
        let reply = Reply {
            wire: Wire::Chat,
            items: vec![],
            text: "Done.".into(),
            calls: vec![],
            stop: Stop::Done,
            usage: Usage::default(),
            by: String::new(),
        };
        let (heard, layer, snapshot) = (task.seq, task.layer, Hash::of(b"v"));
        say(task, [Event::Asked { heard, worst: None }, Event::Replied { reply }]);
        say(task, [Event::Sealed { layer, snapshot, apart: Apart::default(), checks: vec![], files: None }]);
    }

    fn presented(task: &mut Task) {
        sealed(task);
        let snapshot = Hash::of(b"v");
        let proof = Proof { passed: true, exit: Some(0), ..Proof::unable(snapshot, String::new()) };
        let version = task.versions.len() as u32 + 1;
        say(
            task,
            [
                Event::Checked { check: 0, proof: Proof { unable: None, ..proof } },
                Event::Presented { version, snapshot },
            ],
        );
    }

    /// What was last said of the host, whether it holds now, and whether it may be asked of again.
    fn stands(task: &Task) -> (Option<bool>, bool, bool) {
        let holds = task.answers()[0].allow == Some(true);
        (task.reaches[0].allow, holds, task.may_ask_of(HOST.0, HOST.1).is_some())
    }

    /// Tools, each with its input.
    type Calls<'c> = [(&'c str, &'c str)];

    fn calls(commands: &Calls<'_>) -> Event {
        let call = |(n, (tool, input)): (usize, &(&str, &str))| Call {
            id: n.to_string(),
            tool: (*tool).into(),
            input: (*input).into(),
        };
        Event::Replied {
            reply: Reply {
                wire: Wire::Chat,
                items: vec![],
                text: String::new(),
                calls: commands.iter().enumerate().map(call).collect(),
                stop: Stop::Done,
                usage: Usage::default(),
                by: String::new(),
            },
        }
    }

    #[test]
    fn a_question_tells_the_command_that_ran_where_it_was_the_only_one() {
        let asked = |commands: &Calls<'_>| {
            let mut task = asks();
            assert_eq!(task.reaches[0].command, None, "nothing ran");
            let heard = task.seq;
            say(&mut task, [Event::Asked { heard, worst: None }, calls(commands)]);
            let verdicts = commands.iter().map(|_| crate::event::Verdict::Run).collect();
            say(&mut task, [Event::Judged { verdicts }]);
            let begun = (0..commands.len() as u32).map(|call| Event::Called { call });
            say(&mut task, begun.collect::<Vec<_>>());
            say(&mut task, [Event::ReachAsked { reach: 1, host: "b.org".into(), port: 443 }]);
            task.reaches[1].command.clone()
        };
        let add = ("shell", r#"{"command":"cargo add jiff"}"#);
        let long = format!(r#"{{"command":"{}"}}"#, "x".repeat(300));
        let cut = format!("{}…", "x".repeat(199));
        let rows: [(&Calls<'_>, Option<&str>); 6] = [
            (&[add], Some("cargo add jiff")),
            (&[("read", r#"{"path":"a"}"#), add], Some("cargo add jiff")),
            (&[add, ("shell", r#"{"command":"make"}"#)], None),
            (&[("shell", r#"{"command":"\n echo a\n\n curl b.org\n"}"#)], Some("echo a ⏎ curl b.org")),
            (&[("shell", &long)], Some(&cut)),
            (&[("shell", "{broken")], None),
        ];
        for (commands, expected) in rows {
            assert_eq!(asked(commands).as_deref(), expected, "{commands:?}");
        }
        let mut task = asks();
        answered(&mut task, true, true);
        sealed(&mut task);
        say(&mut task, [Event::ReachAsked { reach: 1, host: "b.org".into(), port: 443 }]);
        assert_eq!(task.reaches[1].command.as_deref(), Some("make test"), "a check tried it");
    }

    #[test]
    fn what_is_allowed_once_is_closed_when_the_turn_ends_and_asked_of_anew() {
        type Then = fn(&mut Task);
        let again: Then = |task| say(task, [Event::Said { words: "again".into() }]);
        let rows: [(&str, &[Then], _); 11] = [
            ("asked", &[], (None, false, false)),
            ("once", &[|task| answered(task, true, true)], (Some(true), true, false)),
            (
                "its checks belong to it",
                &[|task| answered(task, true, true), sealed],
                (Some(true), true, false),
            ),
            ("the turn is over", &[|task| answered(task, true, true), presented], (None, false, true)),
            ("the next turn", &[|task| answered(task, true, true), presented, again], (None, false, true)),
            (
                "asked anew",
                &[|task| answered(task, true, true), presented, again, asked],
                (None, false, false),
            ),
            (
                "stopped, and gone on",
                &[
                    |task| answered(task, true, true),
                    |task| say(task, [Event::Paused { why: Why::Person }, Event::Resumed { model: None }]),
                ],
                (Some(true), true, false),
            ),
            (
                "for good after all",
                &[|task| answered(task, true, true), |task| answered(task, true, false), presented],
                (Some(true), true, false),
            ),
            ("for good", &[|task| answered(task, true, false), presented], (Some(true), true, false)),
            (
                "between two turns it is for the next",
                &[presented_unanswered, |task| answered(task, true, true)],
                (Some(true), false, false),
            ),
            (
                "which then has it",
                &[presented_unanswered, |task| answered(task, true, true), again],
                (Some(true), true, false),
            ),
        ];
        for (what, then, expected) in rows {
            let mut task = asks();
            then.iter().for_each(|then| then(&mut task));
            assert_eq!(stands(&task), expected, "{what}");
            assert!(task.reaches.len() == 1, "{what}: one destination is one question");
        }
    }

    fn presented_unanswered(task: &mut Task) {
        say(task, [Event::Paused { why: Why::Person }, Event::Resumed { model: None }]);
        Arc::make_mut(&mut task.reaches)[0].presses = false;
        presented(task);
    }

    #[test]
    fn what_lapsed_is_waited_for_by_nobody_and_a_no_is_never_for_a_turn() {
        let mut task = asks();
        assert!(task.push(Event::ReachAnswered { reach: 0, allow: false, once: true }, 1).is_err());
        answered(&mut task, true, true);
        assert!(task.push(Event::ReachAnswered { reach: 0, allow: true, once: true }, 1).is_err());
        presented(&mut task);
        assert!(task.pressing().next().is_none() && !task.reaches[0].is_open());
        assert_eq!(task.phase, Phase::Ready);
        // A number that is not its own is refused.
        say(&mut task, [Event::Said { words: "again".into() }]);
        let other = Event::ReachAsked { reach: 1, host: HOST.0.into(), port: HOST.1 };
        assert!(task.push(other, 1).is_err());
        asked(&mut task);
        assert!(task.pressing().next().is_some() && task.reaches[0].is_open());
    }

    #[test]
    fn the_model_is_told_how_long_and_who_goes_back_is_in_another_turn() {
        let mut task = asks();
        answered(&mut task, true, true);
        let told = |task: &Task| format!("{:?}", task.unheard);
        assert!(
            told(&task).contains("now allows docs.example.org:443, until this turn ends."),
            "{}",
            told(&task)
        );
        presented(&mut task);
        say(&mut task, [Event::Said { words: "again".into() }]);
        asked(&mut task);
        answered(&mut task, true, true);
        let step = task.checkpoints().next_back().expect("a checkpoint").step;
        say(&mut task, [Event::Rewound { step }]);
        assert_eq!(stands(&task), (None, false, true));
        assert!(!told(&task).contains("allows"), "{}", told(&task));
    }
}
