//! A full disk in every phase of a task's life. Each time: nothing is lost and nothing is half, the person is told what
//! happened, what is safe and what to do, and when there is room again it goes on.

use crate::model::{Model, Wire, say, shell};
use crate::stage::{Ended, Stage, can_make_users};
use crate::tree::Tree;
use quire_core::Event;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Text that no file system makes smaller.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..bytes.div_ceil(8)).flat_map(|_| step().to_le_bytes()).take(bytes).collect()
}

/// Takes all room that is left, until it is removed.
fn fill(dir: &Path) -> PathBuf {
    let path = dir.join("filler");
    let mut file = File::create(&path).expect("a file");
    for size in [1 << 20, 1 << 12, 1] {
        let piece = vec![7; size];
        while file.write_all(&piece).is_ok() {}
    }
    path
}

/// A person whose data lie on a small disk.
fn small(size: &str) -> Option<Stage> {
    can_make_users().then(|| {
        let mut stage = Stage::set();
        stage.mount(&stage.data(), size);
        stage
    })
}

#[track_caller]
fn waits_for_room(ended: Ended, task: u64) {
    ended.exits(8).tells(&["disk", "full", &format!("quire resume {task}")]);
}

/// Goes on with a task and follows it to the end.
#[track_caller]
fn goes_on(stage: &Stage, task: &str) -> Ended {
    stage.quire(&["resume", task]).exits(0);
    stage.quire(&["watch", task]).exits(0)
}

fn read(stage: &Stage, name: &str) -> String {
    fs::read_to_string(stage.folder.join(name)).unwrap_or_default()
}

#[track_caller]
fn until(what: &str, done: &dyn Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited too long: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn while_the_folder_is_copied() {
    let Some(stage) = small("12m") else { return };
    let model = Model::saying(vec![shell("echo two > a"), say("It is done.")]);
    stage.use_model(&model, Wire::Chat);
    stage.file("a", "one\n");
    fs::write(stage.folder.join("large"), noise(20 << 20)).expect("a file");
    waits_for_room(stage.quire(&["change it"]), 1);
    assert!(!stage.data().join("folders/1/new").exists(), "what was copied takes no room");
    stage.grow(&stage.data(), "100m");
    goes_on(&stage, "1");
    stage.quire(&["accept", "1"]).exits(0);
    assert_eq!(read(&stage, "a"), "two\n");
    stage.log(1);
}

/// The same for the later copy, of what changed since the first.
#[test]
fn while_what_changed_in_the_folder_is_copied() {
    let Some(stage) = small("24m") else { return };
    let model = Model::saying(vec![shell("cat a > b"), say("It is done.")]);
    stage.use_model(&model, Wire::Chat);
    stage.file("a", "one\n");
    stage.quire(&["copy it"]).exits(0);
    fs::write(stage.folder.join("large"), noise(40 << 20)).expect("a file");
    stage.file("a", "two\n");
    waits_for_room(stage.quire(&["copy it again"]), 2);
    // The first task stands on the copy that there was.
    stage.quire(&["review", "1"]).exits(0);
    stage.grow(&stage.data(), "100m");
    goes_on(&stage, "2");
    stage.quire(&["accept", "2"]).exits(0);
    assert_eq!(read(&stage, "b"), "two\n");
}

/// What a step wrote fits once, in its layer, and not a second time, as the contents of its snapshot.
#[test]
fn while_a_step_is_recorded() {
    let Some(stage) = small("40m") else { return };
    let model =
        Model::saying(vec![shell("head -c 25000000 /dev/urandom > big; echo two > a"), say("It is done.")]);
    stage.use_model(&model, Wire::Chat);
    stage.file("a", "one\n");
    waits_for_room(stage.quire(&["make it big"]), 1);
    let packs = fs::read_dir(stage.data().join("blobs")).expect("packs");
    assert!(
        packs.flatten().all(|pack| pack.metadata().expect("a pack").len() < 1 << 20),
        "half a pack stays"
    );
    stage.grow(&stage.data(), "200m");
    let ended = goes_on(&stage, "1");
    assert!(ended.out.contains("It is done."), "{}", ended.out);
    stage.quire(&["accept", "1"]).exits(0);
    assert_eq!(
        (read(&stage, "a").as_str(), fs::metadata(stage.folder.join("big")).unwrap().len()),
        ("two\n", 25_000_000)
    );
}

/// What was written between the last step and the end of the turn, by a command in the background.
#[test]
fn while_a_turn_is_sealed() {
    let Some(stage) = small("40m") else { return };
    let late = "while [ ! -s go ]; do sleep 0.05; done; head -c 25000000 /dev/urandom > late; touch end";
    let model = Model::saying(vec![
        shell(&format!("echo two > a; touch go; ({late}) > /dev/null 2>&1 &")),
        say("It is done."),
    ]);
    stage.use_model(&model, Wire::Chat);
    stage.file("a", "one\n");
    model.hold_from(1);
    let follower = stage.start(&["do it late"]);
    model.wait_for(1, 1);
    let layer = stage.data().join("tasks/1/layers/0/folder-0");
    fs::write(layer.join("go"), "go").expect("a file");
    until("it is written", &|| layer.join("end").exists());
    model.let_go();
    waits_for_room(follower.end(), 1);
    stage.grow(&stage.data(), "200m");
    goes_on(&stage, "1");
    stage.quire(&["accept", "1"]).exits(0);
    assert_eq!(fs::metadata(stage.folder.join("late")).unwrap().len(), 25_000_000);
}

/// A check that fills the disk gives it back before its outcome is written down.
#[test]
fn while_a_check_runs() {
    let Some(stage) = small("40m") else { return };
    let model = Model::saying(vec![shell("echo two > a"), say("It is done.")]);
    let check = "[checks]\ntest = \"head -c 300000000 /dev/zero > filled 2> /dev/null; grep -q two a\"\n";
    stage.configure(&model, Wire::Chat, check);
    stage.file("a", "one\n");
    stage.quire(&["change it"]).exits(0);
    assert!(!stage.data().join("tasks/1/check").exists(), "what the check wrote is gone");
    let checks = stage.json(&["review", "1"])["review"]["checks"].clone();
    assert_eq!(checks[0]["passed"], true, "{checks}");
}

/// The journal of an accept, and the contents that an undo would need, lie with quire's data.
#[test]
fn while_a_version_is_accepted() {
    let Some(stage) = small("40m") else { return };
    let model = Model::saying(vec![shell("echo two > a; rm large"), say("It is done.")]);
    stage.use_model(&model, Wire::Chat);
    stage.file("a", "one\n");
    fs::write(stage.folder.join("large"), noise(10 << 20)).expect("a file");
    let before = Tree::of(&stage.folder);
    stage.quire(&["change it"]).exits(0);
    let filler = fill(&stage.data());
    stage.quire(&["accept", "1"]).exits(8).tells(&["disk is full", "as it was", "room"]);
    Tree::of(&stage.folder).assert_is(&before, "after an accept without room");
    fs::remove_file(filler).expect("a file");
    assert_eq!(stage.state(1), "ready");
    stage.quire(&["accept", "1"]).exits(0);
    assert_eq!((read(&stage, "a").as_str(), stage.folder.join("large").exists()), ("two\n", false));
    // And back, where what it begins with cannot be written down.
    let after = Tree::of(&stage.folder);
    let filler = fill(&stage.data());
    stage.quire(&["undo", "1"]).exits(8).tells(&["disk", "room"]);
    Tree::of(&stage.folder).assert_is(&after, "after an undo without room");
    fs::remove_file(filler).expect("a file");
    stage.quire(&["undo", "1"]).exits(0);
    Tree::of(&stage.folder).assert_is(&before, "after undo");
    stage.log(1);
}

/// The folder's own disk has no room for what an undo puts back.
#[test]
fn while_an_accept_is_undone() {
    if !can_make_users() {
        return;
    }
    let mut stage = Stage::set();
    let model = Model::saying(vec![shell("echo two > a; rm large; echo new > b"), say("It is done.")]);
    stage.use_model(&model, Wire::Chat);
    stage.mount(&stage.folder.clone(), "6m");
    stage.file("a", "one\n");
    fs::write(stage.folder.join("large"), noise(4 << 20)).expect("a file");
    let before = Tree::of(&stage.folder);
    stage.quire(&["change it"]).exits(0);
    stage.quire(&["accept", "1"]).exits(0);
    let filler = fill(&stage.folder);
    let after = Tree::of(&stage.folder);
    stage.quire(&["undo", "1"]).exits(8).tells(&["disk is full", "room"]);
    Tree::of(&stage.folder).assert_is(&after, "after an undo without room");
    assert_eq!(stage.state(1), "accepted");
    fs::remove_file(filler).expect("a file");
    stage.quire(&["undo", "1"]).exits(0);
    Tree::of(&stage.folder).assert_is(&before, "after undo");
}

/// Clearing away is what helps, so it works where nothing can be written.
#[test]
fn while_it_is_cleared_up() {
    let Some(stage) = small("40m") else { return };
    let model = Model::saying(vec![shell("echo two > a"), say("It is done.")]);
    stage.use_model(&model, Wire::Chat);
    stage.file("a", "one\n");
    stage.quire(&["the first"]).exits(0);
    stage.quire(&["the second"]).exits(0);
    stage.quire(&["discard", "2"]).exits(0);
    stage.quire(&["host", "--stop"]).exits(0);
    let left = stage.data().join("tasks/2/layers/0");
    fs::create_dir_all(&left).expect("a directory");
    fs::write(left.join("large"), noise(10 << 20)).expect("as a discard that died leaves it");
    let filler = fill(&stage.data());
    // Where nothing at all can be written the log cannot even be opened.
    stage.quire(&["ls"]).exits(8).tells(&["disk is full", "as they were", "room"]);
    let most = fs::metadata(&filler).expect("a file").len();
    File::options()
        .write(true)
        .open(&filler)
        .and_then(|file| file.set_len(most - 300_000))
        .expect("a little room");
    stage.quire(&["ls"]).exits(0);
    stage.quire(&["du"]).exits(0);
    stage.quire(&["gc"]).exits(0);
    assert!(!left.exists(), "it made room");
    // And in that room the work goes on.
    stage.quire(&["accept", "1"]).exits(0);
    assert_eq!(read(&stage, "a"), "two\n");
    fs::remove_file(filler).expect("a file");
}

#[test]
fn while_a_single_command_runs() {
    let Some(stage) = small("16m") else { return };
    let model = Model::saying(vec![]);
    stage.use_model(&model, Wire::Chat);
    stage.file("a", "one\n");
    stage.quire(&["sandbox", "--", "true"]).exits(0);
    let filler = fill(&stage.data());
    let refused =
        stage.quire(&["sandbox", "--", "true"]).exits(8).tells(&["disk", "full", "as they were", "room"]);
    assert_eq!(refused.out, "");
    fs::remove_file(filler).expect("a file");
    let once = stage.data().join("once");
    assert_eq!(fs::read_dir(&once).map_or(0, |left| left.count()), 0, "nothing is left of it");
    // A folder that does not fit, and a command that fills the disk itself.
    fs::write(stage.folder.join("large"), noise(30 << 20)).expect("a file");
    stage.quire(&["sandbox", "--", "true"]).exits(8).tells(&["disk", "full", "room"]);
    fs::remove_file(stage.folder.join("large")).expect("a file");
    stage
        .quire(&["sandbox", "--", "sh", "-c", "head -c 12000000 /dev/urandom > big"])
        .exits(8)
        .tells(&["disk", "full"]);
    assert_eq!(fs::read_dir(&once).map_or(0, |left| left.count()), 0, "nothing is left of it");
    stage.quire(&["sandbox", "--", "true"]).exits(0);
}

/// What an ordinary user's sandboxes stand on is made once, and takes room.
#[test]
fn while_a_users_first_sandbox_is_prepared() {
    if !can_make_users() {
        return;
    }
    let mut stage = Stage::for_user();
    // Of such a file system, it is the files that are used up first.
    stage.mount(&stage.data(), "64m,nr_inodes=1000");
    stage.own(&stage.data());
    // The call had begun, so it is not made again by itself: the model is told, and asks anew.
    let model = Model::saying(vec![shell("echo two > a"), shell("echo two > a"), say("It is done.")]);
    stage.use_model(&model, Wire::Chat);
    stage.file("a", "one\n");
    waits_for_room(stage.quire(&["change it"]), 1);
    stage.grow(&stage.data(), "1g,nr_inodes=1000000");
    goes_on(&stage, "1");
    stage.quire(&["accept", "1"]).exits(0);
    assert_eq!(read(&stage, "a"), "two\n");
}

/// The disk fills up between two words of the model's: what it said is kept in memory until it can be written.
#[test]
fn while_the_model_speaks() {
    let Some(stage) = small("40m") else { return };
    let model = Model::saying(vec![shell("echo two > a"), say(&"It is done. ".repeat(5_000))]);
    stage.use_model(&model, Wire::Chat);
    stage.file("a", "one\n");
    model.hold_from(1);
    let mut follower = stage.start(&["change it"]);
    model.wait_for(1, 1);
    let filler = fill(&stage.data());
    model.let_go();
    while !follower.next_line_of_stderr().contains("disk is full") {}
    fs::remove_file(filler).expect("a file");
    follower.end().exits(0);
    assert_eq!(model.asked().iter().filter(|asked| asked.answered == 1).count(), 1, "it was asked once");
    assert!(stage.log(1).iter().any(|logged| matches!(logged.event, Event::Presented { .. })));
    until("ready", &|| stage.state(1) == "ready");
}
