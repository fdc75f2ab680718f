//! Tasks in the background: several at once, left and found again, paused and resumed; and what a script can rely on.

use crate::model::{Model, Wire, say, shell};
use crate::stage::Stage;
use crate::tree::Tree;
use std::fs;

#[test]
fn tasks_work_at_the_same_time() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("cat name > was; echo done > name"), say("Named.")]);
    stage.use_model(&model, Wire::Chat);
    for n in 1..=4 {
        stage.file(&format!("{n}/name"), &format!("{n}\n"));
    }
    model.hold_from(1);
    for n in 1..=4 {
        let started = stage.quire(&["run", "-b", "-C", &n.to_string(), "name it"]).exits(0);
        assert!(started.out.contains(&format!("quire watch {n}")), "{}", started.out);
    }
    // All four stand at their second request, before any of them is answered.
    model.wait_for(1, 4);
    let all = stage.json(&["ls"]);
    assert!(all["tasks"].as_array().unwrap().iter().all(|row| row["state"] == "working"), "{all}");
    model.let_go();
    for n in 1..=4 {
        stage.quire(&["watch", &n.to_string()]).exits(0);
        stage.quire(&["accept", &n.to_string()]).exits(0);
        assert_eq!(fs::read_to_string(stage.folder.join(format!("{n}/was"))).unwrap(), format!("{n}\n"));
    }
    assert_eq!(stage.json(&["ls"])["tasks"].as_array().unwrap().len(), 4);
    let table = stage.quire(&["ls"]).exits(0);
    assert!(table.out.starts_with("DONE 4\n") && table.err.is_empty(), "{table:?}");
}

#[test]
fn ctrl_c_leaves_the_task_running() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("echo 1 > one"), say("It is there.")]);
    stage.use_model(&model, Wire::Messages);
    model.hold_from(1);
    let follower = stage.start(&["make one"]);
    model.wait_for(1, 1);
    follower.signal(libc::SIGINT);
    let left = follower.end().exits(130);
    assert!(left.out.is_empty() && left.err.contains("quire watch 1"), "{left:?}");
    assert_eq!(stage.state(1), "working");
    model.let_go();
    let found = stage.quire(&["watch", "1"]).exits(0);
    assert!(found.out.contains("It is there."), "{}", found.out);
    // One that rests is shown as it stands.
    assert!(stage.quire(&["watch", "1"]).exits(0).out.contains("It is there."));
}

#[test]
fn a_second_ctrl_c_pauses() {
    let stage = Stage::set();
    let model = Model::saying(vec![]);
    stage.use_model(&model, Wire::Chat);
    model.hold_from(0);
    let mut follower = stage.start(&["wait for me"]);
    model.wait_for(0, 1);
    follower.signal(libc::SIGINT);
    while !follower.next_line_of_stderr().contains("Ctrl-C now pauses it") {}
    follower.signal(libc::SIGINT);
    follower.end().exits(130);
    assert_eq!(stage.state(1), "paused");
    model.let_go();
}

#[test]
fn stop_pauses_and_resume_goes_on() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("echo 1 >> lines"), shell("echo 2 >> lines"), say("Two lines.")]);
    stage.use_model(&model, Wire::Responses);
    model.hold_from(1);
    let follower = stage.start(&["write lines"]);
    model.wait_for(1, 1);
    stage.quire(&["stop", "1"]).exits(0);
    // Who follows hears of it.
    follower.end().exits(3).tells(&["quire resume 1"]);
    assert_eq!(stage.state(1), "paused");
    model.let_go();
    stage.quire(&["stop", "1"]).exits(0);
    stage.quire(&["accept", "1"]).exits(2);
    stage.quire(&["resume", "1"]).exits(0);
    stage.quire(&["watch", "1"]).exits(0);
    stage.quire(&["stop", "1"]).exits(2);
    stage.quire(&["resume", "1"]).exits(2).tells(&["quire revise 1"]);
    stage.quire(&["accept", "1"]).exits(0);
    // The answer that came to the paused task was dropped, and asked for again.
    assert_eq!(fs::read_to_string(stage.folder.join("lines")).unwrap(), "1\n2\n");
    stage.log(1);
}

#[test]
fn stop_and_discard_end_what_runs() {
    for command in ["stop", "discard"] {
        let stage = Stage::set();
        let model = Model::saying(vec![shell("echo at work; sleep 300"), say("Slept.")]);
        stage.use_model(&model, Wire::Chat);
        model.hold_from(0);
        let follower = stage.start(&["sleep long"]);
        model.wait_for(0, 1);
        let mut host = stage.host();
        host.follow(1);
        model.let_go();
        host.wait_for_output("at work");
        let inside = stage.data().join("tasks/1/run");
        assert!(fs::read_dir(&inside).expect("a sandbox").next().is_some());
        stage.quire(&[command, "1"]).exits(0);
        follower.end();
        // The command would run for minutes; it ends with its sandbox, whose directory goes last.
        while fs::read_dir(&inside).is_ok_and(|mut runs| runs.next().is_some()) {}
        assert_eq!(model.asked().len(), 1, "{command}");
    }
}

#[test]
fn a_long_call_does_not_overrun_the_time_limit() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("sleep 300"), say("Slept.")]);
    stage.use_model(&model, Wire::Chat);
    stage.quire(&["run", "sleep long", "--max-time", "1s"]).exits(3).tells(&["1 second", "quire resume 1"]);
    stage.quire(&["resume", "1"]).exits(0);
    let ended = stage.quire(&["watch", "1"]).exits(0);
    assert!(ended.out.contains("Slept."), "{}", ended.out);
    assert!(model.asked()[1].results[0].contains("Interrupted"), "the model was told");
}

#[test]
fn words_to_a_task_at_work_are_heard_by_it() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("true"), say("Done."), say("And done as well.")]);
    stage.use_model(&model, Wire::Chat);
    model.hold_from(1);
    let follower = stage.start(&["do the first thing"]);
    model.wait_for(1, 1);
    let reviser = stage.start(&["revise", "1", "and the second"]);
    // It is told with the next request, which the answer to this one would not need.
    while stage.log(1).iter().all(|logged| !matches!(logged.event, quire_core::Event::Said { .. })) {}
    model.let_go();
    assert!(follower.end().exits(0).out.contains("And done as well."));
    assert!(reviser.end().exits(0).out.contains("And done as well."));
    assert_eq!(model.asked().last().unwrap().words, ["do the first thing", "and the second"]);
    assert_eq!(stage.json(&["review", "1"])["review"]["version"], 1);
}

#[test]
fn a_host_that_ends_loses_nothing() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("echo 1 > one"), say("It is there.")]);
    stage.use_model(&model, Wire::Chat);
    model.hold_from(1);
    stage.quire(&["run", "-b", "make one"]).exits(0);
    model.wait_for(1, 1);
    stage.quire(&["host", "--stop"]).exits(0);
    assert!(stage.quire(&["host", "--stop"]).exits(0).out.contains("No host was running"));
    assert_eq!(stage.state(1), "working");
    model.let_go();
    stage.quire(&["watch", "1"]).exits(0);
    stage.quire(&["accept", "1"]).exits(0);
    assert_eq!(fs::read_to_string(stage.folder.join("one")).unwrap(), "1\n");
}

#[test]
fn scripts_read_json_one_object_a_line() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("echo 1 > one"), say("It is there.")]);
    stage.use_model(&model, Wire::Responses);
    let before = Tree::of(&stage.folder);
    let run = stage.quire(&["--json", "make one"]).exits(0);
    let last = run.lines().pop().expect("an object");
    assert_eq!((&last["task"], &last["mark"]), (&1.into(), &"ready".into()), "{last}");
    assert_eq!(last["review"]["files"][0]["path"], "one");
    assert_eq!(run.err, "");
    for command in ["ls", "watch", "log", "review"] {
        let task = if command == "ls" { vec![command] } else { vec![command, "1"] };
        let said = stage.quire(&[&task[..], &["--json"]].concat()).exits(0);
        assert!(!said.lines().is_empty() && said.err.is_empty(), "{said:?}");
    }
    let diff = stage.json(&["review", "1", "--diff"]);
    assert!(diff["diff"].as_str().expect("text").contains("+1"), "{diff}");
    assert_eq!(stage.json(&["accept", "1"])["accepted"]["files"][0]["fate"], "new");
    assert_eq!(stage.json(&["undo", "1"])["undone"]["files"][0]["path"], "one");
    Tree::of(&stage.folder).assert_is(&before, "after undo");
    assert_eq!(stage.json(&["discard", "1"])["state"], "discarded");

    model.hold_from(0);
    let started = stage.json(&["run", "-b", "again"]);
    assert_eq!((&started["task"], &started["mark"]), (&2.into(), &"working".into()), "{started}");
    let mut watch = stage.start(&["watch", "2", "--json"]);
    let first: serde_json::Value =
        serde_json::from_str(&watch.next_line()).expect("an event while it happens");
    assert_eq!((&first["v"], &first["task"], &first["seq"]), (&1.into(), &2.into(), &1.into()), "{first}");
    model.let_go();
    let rest = watch.end().exits(0).lines();
    assert!(rest[..rest.len() - 1].iter().all(|event| event["event"].is_object()), "{rest:?}");
    assert_eq!(rest.last().expect("an end")["mark"], "ready");
    for unknown in
        [["review", "9"], ["accept", "9"], ["watch", "9"], ["log", "9"], ["undo", "9"], ["stop", "9"]]
    {
        let ended = stage.quire(&[&unknown[..], &["--json"]].concat()).exits(6);
        let said: serde_json::Value = serde_json::from_str(&ended.err).expect("one line of JSON");
        assert_eq!((&said["v"], &said["error"]["exit"], ended.out.as_str()), (&1.into(), &6.into(), ""));
    }
}

#[test]
fn the_result_alone_is_on_stdout() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("echo 1 > one"), say("It is there.")]);
    stage.use_model(&model, Wire::Chat);
    let plain = stage.quire(&["make one"]).exits(0);
    assert!(
        plain.out.starts_with("Task 1 is ready. 1 file, +1. Your folder has not changed.\n"),
        "{}",
        plain.out
    );
    assert!(plain.err.contains("✓ Ran `echo 1 > one`"), "{}", plain.err);
    assert!(!plain.out.contains('\x1b') && !plain.err.contains('\x1b'));
    let quiet = stage.quire(&["-q", "make one"]).exits(0);
    assert!(quiet.out.starts_with("Task 2 is ready.") && quiet.err.is_empty(), "{quiet:?}");
}

#[test]
fn many_first_commands_at_once_share_one_host() {
    let stage = &Stage::set();
    let model = Model::saying(vec![shell("echo 1 > one"), say("It is there.")]);
    stage.use_model(&model, Wire::Chat);
    let all: Vec<_> = (0..8).map(|_| stage.start(&["make one"])).collect();
    for one in all {
        assert!(one.end().exits(0).out.contains("It is there."));
    }
    let rows = stage.json(&["ls"])["tasks"].as_array().expect("rows").len();
    assert_eq!((rows, model.asked().len()), (8, 16), "each was driven once");
}

/// A host without work or company costs nothing: it is not even scheduled. Whatever is written wakes it.
#[test]
fn an_idle_host_sleeps() {
    let stage = Stage::set();
    let model = Model::saying(vec![say("Done.")]);
    stage.use_model(&model, Wire::Chat);
    let mut host = stage.start(&["host"]);
    assert!(host.next_line_of_stderr().contains("Driving the tasks"));
    let woken = || -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", host.child.id())).expect("a process");
        let status =
            |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let count = |status: String| -> Option<u64> {
            status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?.trim().parse().ok()
        };
        tasks.flatten().filter_map(|task| count(status(task))).sum()
    };
    // Its first look is a second after its start.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let before = woken();
    std::thread::sleep(std::time::Duration::from_secs(6));
    assert!(woken() - before <= 2, "woken {} times in six seconds", woken() - before);
    stage.quire(&["say something"]).exits(0);
    host.signal(libc::SIGINT);
    host.end().exits(130);
}
