//! A task is taken back, files and conversation together, and another begins where it stood: nothing of anybody's is lost by
//! it, and both go on from layers that neither writes again.

use crate::model::{Model, Wire, say, shell};
use crate::stage::Stage;
use crate::tree::Tree;
use quire_core::event::Event;
use std::fs;

/// The person takes it back in the midst of a turn, to a version, and forward again; each time the agent sees what was then.
#[test]
fn a_task_goes_back_and_another_begins_there() {
    let stage = Stage::set();
    let answers = [
        shell("echo one > one.txt; echo kept > /opt/kept"),
        shell("echo two > two.txt; rm old.txt"),
        say("Two files."),
        // After version 1: a third file, and something outside.
        shell("echo three > three.txt; echo late > /opt/late; mkdir deep; echo d > deep/d"),
        shell("echo four >> one.txt"),
        say("Four changes."),
    ];
    // What is asked after that looks at everything there is.
    let look = "ls; cat one.txt; cat /opt/kept /opt/late 2>/dev/null; echo ran >> ran.txt";
    let model = Model::new(move |asked| match asked.words.iter().any(|words| words.starts_with("look")) {
        true if seen_since(asked) => say("Seen."),
        true => shell(&format!("{look}; echo ran.txt at the end")),
        false => answers[asked.answered].clone(),
    });
    stage.use_model(&model, Wire::Responses);
    stage.file("old.txt", "old\n");
    let before = Tree::of(&stage.folder);
    stage.quire(&["write files"]).exits(0);
    stage.quire(&["revise", "1", "make it four"]).exits(0);

    let steps = stage.quire(&["rewind", "1"]).exits(0).out;
    for row in ["1 + Ran", "2 + Ran", "v1   Two files.", "4 + Ran", "v2   Four changes."] {
        assert!(steps.contains(row), "{row}: {steps}");
    }
    // Since version 1, and nothing else.
    let since = stage.json(&["review", "1", "--since", "1"])["review"].clone();
    let paths: Vec<&str> =
        since["files"].as_array().unwrap().iter().filter_map(|f| f["path"].as_str()).collect();
    assert_eq!(paths, ["deep", "deep/d", "one.txt", "three.txt"], "{since}");
    assert!(stage.quire(&["review", "1", "--since", "1", "--diff"]).exits(0).out.contains("+four"));
    stage.quire(&["review", "1", "--since", "7"]).exits(2).tells(&["no version 7"]);

    // In the midst of the first turn: the step's files, and what the person had said since.
    stage.quire(&["rewind", "1", "--to", "1"]).exits(0);
    assert_eq!(stage.state(1), "stands after step 1");
    // What an accept takes is what was shown last, and it is said that this is not where the task stands.
    let review = stage.json(&["review", "1"])["review"].clone();
    assert_eq!((&review["version"], &review["stands_after"]), (&2.into(), &1.into()), "{review}");
    let shown = stage.quire(&["review", "1"]).exits(0).out;
    assert!(
        shown.contains("STANDS  The task was taken back to after step 1") && shown.contains("accept takes"),
        "{shown}"
    );
    stage.quire(&["accept", "1", "--seen", review["seen"].as_str().unwrap()]).exits(0);
    assert_eq!(fs::read_to_string(stage.folder.join("one.txt")).unwrap(), "one\nfour\n");
    assert!(stage.folder.join("three.txt").exists(), "all of version 2");
    stage.quire(&["undo", "1"]).exits(0);
    Tree::of(&stage.folder).assert_is(&before, "after undo in the midst of a turn");
    stage.quire(&["revise", "1", "look"]).exits(0);
    let asked = model.asked().last().unwrap().clone();
    let seen = asked.results.last().unwrap();
    assert!(seen.contains("old.txt") && seen.contains("one\n"), "{seen}");
    assert!(!seen.contains("two.txt") && !seen.contains("four") && !seen.contains("late"), "{seen}");
    assert!(
        asked.words.iter().any(|words| words.contains("make it four") && words.contains("gone too")),
        "{asked:?}"
    );

    // A version, with the machine as it was then; and it is there to be accepted.
    stage.quire(&["rewind", "1", "--to", "v1"]).exits(0);
    let review = stage.json(&["review", "1"])["review"].clone();
    assert_eq!((review["version"].as_u64(), review["again"].as_u64()), (Some(4), Some(1)));
    stage.quire(&["accept", "1"]).exits(0);
    assert!(stage.folder.join("two.txt").exists() && !stage.folder.join("three.txt").exists());

    // Another task begins in the second version, and neither sees what the other does then.
    let forked = stage.quire(&["fork", "1", "--at", "v2"]).exits(0).out;
    assert!(forked.contains("Task 2 begins where task 1 stood"), "{forked}");
    assert_eq!(stage.state(2), "ready");
    stage.quire(&["revise", "2", "look"]).exits(0);
    let asked = model.asked().last().unwrap().clone();
    let seen = asked.results.last().unwrap();
    for there in ["three.txt", "four", "kept", "late"] {
        assert!(seen.contains(there), "{there}: {seen}");
    }
    // What the first one leaves is kept while the second stands on it.
    stage.quire(&["undo", "1"]).exits(0);
    Tree::of(&stage.folder).assert_is(&before, "after undo");
    stage.quire(&["discard", "1"]).exits(0);
    stage.quire(&["gc"]).exits(0);
    stage.quire(&["revise", "2", "look again"]).exits(0);
    assert!(model.asked().last().unwrap().results.last().unwrap().contains("late"), "the layers are there");
    stage.quire(&["accept", "2"]).exits(0);
    assert_eq!(fs::read_to_string(stage.folder.join("one.txt")).unwrap(), "one\nfour\n");
    stage.quire(&["undo", "2"]).exits(0);
    Tree::of(&stage.folder).assert_is(&before, "after both undos");
    stage.quire(&["discard", "2"]).exits(0);
    stage.quire(&["gc"]).exits(0);
    assert!(!stage.data().join("tasks/1/layers").exists(), "nobody needs them any more");
    stage.log(1);
    stage.log(2);
}

/// Whether a look came after the person's last word.
fn seen_since(asked: &crate::model::Asked) -> bool {
    asked.items.iter().rposition(|item| item.contains("ran.txt at the end"))
        > asked.items.iter().rposition(|item| item.contains("\"look"))
}

/// Killed while it works, taken back, killed while it lays out what it goes back to: it goes on from there.
#[test]
fn a_working_task_is_taken_back_and_kills_change_nothing() {
    let stage = Stage::set();
    let answers = [
        shell("echo 1 > one; echo 1 > both"),
        shell("echo 2 > two; echo 2 > both"),
        shell("echo 3 > three; echo waits; sleep 300"),
    ];
    let model = Model::new(move |asked| match asked.words.iter().any(|words| words.starts_with("go on")) {
        true if asked.results.last().is_some_and(|last| last.contains("a.txt")) => say("Seen."),
        true => shell("cat one both; ls"),
        false => answers[asked.answered].clone(),
    });
    model.hold_from(2);
    stage.use_model(&model, Wire::Chat);
    stage.file("a.txt", "a\n");
    stage.quire(&["run", "-b", "count"]).exits(0);
    let mut host = stage.host();
    host.follow(1);
    model.let_go();
    host.wait_for_output("waits");
    // It runs a command just now, which ends with it.
    stage.quire(&["rewind", "1", "--to", "1"]).exits(0);
    host.kill();
    // Half laid out: no note says that it is begun, so it is laid out anew.
    let layers = stage.data().join("tasks/1/layers");
    let open = stage.log(1).iter().filter(|logged| matches!(logged.event, Event::Rewound { .. })).count();
    fs::create_dir_all(layers.join(format!("{open}/folder-0"))).unwrap();
    fs::write(layers.join(format!("{open}/folder-0/half")), "half").unwrap();
    stage.quire(&["revise", "1", "go on"]).exits(0);
    let asked = model.asked().last().unwrap().clone();
    let seen = asked.results.last().unwrap();
    assert!(seen.contains("1\n1\n") && seen.contains("a.txt"), "{seen}");
    assert!(!seen.contains("two") && !seen.contains("three") && !seen.contains("half"), "{seen}");
    stage.quire(&["accept", "1"]).exits(0);
    assert_eq!(fs::read_to_string(stage.folder.join("both")).unwrap(), "1\n");
    assert!(!stage.folder.join("three").exists());
}
