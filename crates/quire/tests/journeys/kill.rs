//! The host is killed ten times in the midst of a task of thirty steps, and the task ends as if nothing had happened.
//!
//! Every call leaves its own mark in `ran`, so that one that ran twice is seen, and does one piece of work. The model of this
//! test does what a good one does: told that a call was interrupted, it asks for that piece again, in a call of its own.

use crate::model::{Answer, Asked, Model, Wire, call, say, shell};
use crate::stage::Stage;
use crate::tree::Tree;
use quire_core::event::Event;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

const PIECES: usize = 30;

/// Answers whose first run waits to be killed in the midst of the call.
const SLOW: [usize; 3] = [4, 13, 22];

/// How often the model has answered when the host is killed: while the next answer is awaited (odd), right after it came
/// (even), and in the midst of a call.
const MOMENTS: [usize; 10] = [1, 3, 4, 7, 9, 13, 16, 18, 22, 25];

fn script(asked: &Asked) -> Answer {
    if !asked.head.contains("authorization: bearer sk-lab\r\n") {
        return Answer::Status(401, r#"{"error":{"message":"no key"}}"#);
    }
    let done = asked.results.iter().filter(|result| !result.contains("Interrupted")).count();
    if done == PIECES {
        return say("All pieces are there.");
    }
    let nth = asked.answered;
    let wait = if SLOW.contains(&nth) { "echo at work; sleep 300" } else { "true" };
    let command = format!("echo {nth} >> ran; {wait}; mkdir -p pieces; echo piece > pieces/{done}");
    call("shell", json!({ "command": command }))
}

#[test]
fn ten_kills_leave_no_trace() {
    let mut stage = Stage::set();
    let model = Model::new(script);
    // The key is nowhere but in the follower's memory, and so has to reach each new host.
    stage.configure(&model, Wire::Responses, "key_env = \"LAB_KEY\"\n");
    stage.env.push(("LAB_KEY".into(), "sk-lab".into()));
    stage.file("ran", "");
    let before = Tree::of(&stage.folder);
    model.hold_from(1);
    let follower = stage.start(&["make thirty pieces"]);
    for (nth, moment) in MOMENTS.into_iter().enumerate() {
        model.wait_for(moment, 1);
        let mut host = stage.host();
        if SLOW.contains(&moment) {
            host.follow(1);
            model.hold_from(moment + 1);
            host.wait_for_output("at work");
        } else if moment % 2 == 0 {
            // Whatever comes first: the reply on the disk, the call, its outcome.
            model.hold_from(moment + 1);
        }
        host.kill();
        // The follower starts the next host, which finds in the log what is owed.
        model.hold_from(MOMENTS.get(nth + 1).copied().unwrap_or(usize::MAX));
    }
    let ended = follower.end().exits(0);
    assert!(ended.out.contains("All pieces are there."), "{}", ended.out);

    Tree::of(&stage.folder).assert_is(&before, "before accept");
    stage.quire(&["accept", "1"]).exits(0);
    let ran = fs::read_to_string(stage.folder.join("ran")).expect("marks");
    let marks: Vec<usize> = ran.lines().map(|line| line.parse().expect("a number")).collect();
    assert_eq!(marks.iter().collect::<BTreeSet<_>>().len(), marks.len(), "a call ran twice: {marks:?}");

    let log = stage.log(1);
    let interrupted = log.iter().filter(|logged| matches!(&logged.event, Event::Taken { .. })).count();
    assert_eq!(interrupted, 11, "one driver, and one more after each kill");
    let replies = log.iter().filter(|logged| matches!(logged.event, Event::Replied { .. })).count();
    let asked = model.asked();
    let told = asked.last().expect("requests").results.iter().filter(|r| r.contains("Interrupted")).count();
    assert!(told >= SLOW.len(), "the model was told of {told} interrupted calls");
    assert_eq!(replies, PIECES + told + 1);
    // A call that was interrupted may have left its mark; all others have.
    assert!(marks.len() >= PIECES && marks.len() <= PIECES + told, "{marks:?}");

    let mut expected = before.clone().with_file(b"ran", ran.as_bytes(), 0o644).with_folder(b"pieces");
    for piece in 0..PIECES {
        expected = expected.with_file(format!("pieces/{piece}").as_bytes(), b"piece\n", 0o644);
    }
    Tree::of(&stage.folder).assert_is(&expected, "after accept");
    for pair in asked.windows(2) {
        let shared = pair[0].items.len().min(pair[1].items.len());
        assert_eq!(pair[0].items[..shared], pair[1].items[..shared], "the conversation is one");
    }
}

#[test]
fn an_accept_or_undo_that_is_killed_ends_before_or_after() {
    let stage = Stage::set();
    let model = Model::new(|asked| match asked.answered {
        0 => call(
            "shell",
            json!({ "command": "for n in $(seq 40); do echo new > f$n; echo new > sub/g$n; done; rm -r gone; chmod +x f1" }),
        ),
        _ => say("Many files."),
    });
    stage.use_model(&model, Wire::Chat);
    for name in ["f1", "f2", "sub/g3", "gone/a", "gone/deep/b"] {
        stage.file(name, "old\n");
    }
    let before = Tree::of(&stage.folder);
    stage.quire(&["change many"]).exits(0);
    stage.quire(&["accept", "1"]).exits(0);
    let after = Tree::of(&stage.folder);
    let (mut at, mut killed) = (true, 0);
    for nth in 0..24 {
        let mut running = stage.start(&[if at { "undo" } else { "accept" }, "1"]);
        // From before its beginning to past its end, wherever that is on this machine.
        std::thread::sleep(Duration::from_millis(nth * 4));
        killed += u32::from(running.child.try_wait().expect("a child").is_none());
        running.child.kill().expect("a child, also one that has ended");
        running.end();
        // Whatever command comes next does the recovery.
        let state = stage.state(1);
        let now = Tree::of(&stage.folder);
        at = state == "accepted";
        now.assert_is(if at { &after } else { &before }, &format!("kill {nth}, task {state}"));
    }
    assert!(killed > 3, "only {killed} were at work when they were killed");
    stage.log(1);
}

#[test]
fn after_a_reboot_any_look_at_the_tasks_sets_them_going_again() {
    let stage = Stage::set();
    let model = Model::saying(vec![say("Done.")]);
    stage.use_model(&model, Wire::Chat);
    model.hold_from(0);
    stage.quire(&["run", "-b", "do it"]).exits(0);
    model.wait_for(0, 1);
    stage.host().kill();
    model.hold_from(usize::MAX);
    stage.quire(&["ls"]).exits(0);
    model.wait_for(0, 2);
    stage.quire(&["watch", "1"]).exits(0);
}

/// The machine loses its power in the midst of the second turn: what the layer holds then is what a disk happened to keep
/// of it, and the first turn's is sealed below.
#[test]
fn after_a_power_cut_the_folder_is_as_after_the_last_step() {
    let stage = Stage::set();
    let model = Model::saying(vec![
        shell("echo first > name; echo first > back; echo first > made; rm gone"),
        say("A first try."),
        shell("echo kept > kept; echo new > name; echo old > back; rm made; echo old > gone"),
        shell("cat name"),
        say("Done."),
    ]);
    stage.use_model(&model, Wire::Chat);
    for name in ["name", "back", "gone"] {
        stage.file(name, "old\n");
    }
    stage.quire(&["name it"]).exits(0);
    model.hold_from(3);
    let reviser = stage.start(&["revise", "1", "otherwise"]);
    model.wait_for(3, 1);
    reviser.signal(libc::SIGINT);
    reviser.end().exits(130);
    stage.host().kill();
    let layers = stage.data().join("tasks/1/layers");
    fs::write(layers.join("1/folder-0/name"), "").expect("a file that lost its content");
    fs::remove_file(layers.join("1/folder-0/kept")).expect("a file that never reached the disk");
    let boot = layers.join("1.boot");
    assert_eq!(
        fs::read_to_string(&boot).expect("a note of the boot"),
        fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("this boot")
    );
    fs::write(&boot, "another boot\n").expect("a note of another boot");
    model.let_go();
    stage.quire(&["watch", "1"]).exits(0);
    let log = stage.log(1);
    assert!(log.iter().any(|logged| matches!(logged.event, Event::Restored { layer: 1 })), "{log:?}");
    assert!(model.asked().last().expect("requests").results.iter().any(|result| result.contains("new")));
    stage.quire(&["accept", "1"]).exits(0);
    for (name, content) in [("name", "new\n"), ("kept", "kept\n"), ("back", "old\n"), ("gone", "old\n")] {
        assert_eq!(fs::read_to_string(stage.folder.join(name)).unwrap(), content, "{name}");
    }
    assert!(!stage.folder.join("made").exists());
}

/// The process that makes a sandbox is killed between making the top of a layer and giving it its owner and mode: the next sandbox
/// took it as it was, and nothing could be written there any more.
#[test]
fn a_task_goes_on_whose_layer_was_being_made() {
    for moment in [11, 13] {
        let stage = Stage::set();
        let model = Model::new(|asked| match asked.results.last() {
            Some(last) if last.starts_with("[exit 0") => say("Done."),
            Some(last) if last.starts_with("[exit") => say("It cannot be done."),
            _ => shell("touch /made && mkdir new && echo one > new/a && rm a"),
        });
        stage.use_model(&model, Wire::Chat);
        stage.file("a", "one");
        // What kind of sandbox there is, is known by then.
        stage.quire(&["doctor"]);
        stage.quire(&["host", "--stop"]);
        let plain = stage.command(&["web", "--print"]);
        let mut traced = Command::new("strace");
        traced.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=chmod"]);
        traced.args(["-e", &format!("inject=chmod:signal=KILL:when={moment}")]);
        traced.arg(plain.get_program()).args(plain.get_args()).current_dir(&stage.folder).env_clear();
        traced.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut host = traced.stdout(Stdio::piped()).spawn().expect("strace runs");
        let mut printed = String::new();
        BufReader::new(host.stdout.take().expect("a pipe")).read_line(&mut printed).expect("an address");
        stage.quire(&["write it"]).exits(5);
        stage.quire(&["host", "--stop"]);
        host.wait().expect("an end");
        stage.quire(&["resume", "1"]).exits(0);
        let ended = stage.quire(&["watch", "1"]).exits(0);
        assert!(ended.out.contains("Done."), "{moment}: {ended:?}");
    }
}
