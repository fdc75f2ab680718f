//! Which command runs now, as a follower of the log knows it.

use super::*;
use crate::event::{HookRun, Point};

#[test]
fn a_follower_knows_which_command_runs_as_the_task_does() {
    let curl = r#"{"command":"curl b.org"}"#;
    let run = |run: HookRun| Event::Hooked { point: Point::Before(0), runs: vec![run] };
    let changed = HookRun { input: Some(r#"{"command":"curl -s b.org"}"#.into()), ..HookRun::default() };
    let returned = Outcome::said("x");
    let mut progress = Progress::default();
    let mut commands = vec![];
    let checks = Event::Sealed {
        layer: 0,
        snapshot: Hash::of(b"s"),
        apart: Apart::default(),
        checks: vec![],
        files: None,
    };
    let events = [
        Event::Opened { charter: Box::new(charter(&["make test"])), words: "x".into() },
        reply("", &[("shell", curl)]),
        run(changed),
        Event::Called { call: 0 },
        Event::Returned { call: 0, outcome: returned },
        reply("", &[]),
        checks,
        Event::Checked { check: 0, proof: Proof::unable(Hash::of(b"s"), String::new()) },
    ];
    for (seq, event) in (1..).zip(events) {
        progress.apply(&Logged { seq, at_ms: 0, event });
        commands.push(progress.command());
    }
    let (call, check) = (Some("curl -s b.org".to_owned()), Some("make test".to_owned()));
    assert_eq!(commands, [None, None, None, call, None, None, check, None]);
}
