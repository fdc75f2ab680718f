//! What the person does to the folder while a task runs: the task sees the copy that it began with, and what the person did stays.
//! That watches see nothing of it either is case A27 of the catalogue.

use crate::stage::{Live, Stage};
use std::fs::{self, File};
use std::path::Path;

/// Looks, does what the person does, and looks again: a look that the kernel remembers must not show another folder.
fn unchanged(stage: &Stage, look: &str, seen: &str, person: impl FnOnce(&Path)) -> Live {
    let live = stage.start();
    assert_eq!(live.yes(look), seen, "before");
    person(stage.folder());
    for _ in 0..2 {
        assert_eq!(live.yes(look), seen, "{look}");
    }
    live
}

fn read(stage: &Stage, file: &str) -> String {
    fs::read_to_string(stage.folder().join(file)).unwrap()
}

pub fn meanwhile_edited_in_place(stage: &Stage) {
    unchanged(stage, "cat a.txt", "a", |folder| fs::write(folder.join("a.txt"), "mine\n").unwrap());
    assert_eq!(read(stage, "a.txt"), "mine\n");
}

pub fn meanwhile_saved_by_rename(stage: &Stage) {
    unchanged(stage, "cat a.txt; ls -A", "a\na.txt\ndeep", |folder| {
        fs::write(folder.join(".a.swp"), "mine\n").unwrap();
        fs::rename(folder.join(".a.swp"), folder.join("a.txt")).unwrap();
    });
    assert_eq!(read(stage, "a.txt"), "mine\n");
}

pub fn meanwhile_deleted(stage: &Stage) {
    unchanged(stage, "cat a.txt; ls", "a\na.txt\ndeep", |folder| {
        fs::remove_file(folder.join("a.txt")).unwrap()
    });
}

pub fn meanwhile_created_where_nothing_was(stage: &Stage) {
    unchanged(stage, "cat new 2>&1 | grep -c 'No such'; ls", "1\na.txt\ndeep", |folder| {
        fs::write(folder.join("new"), "mine\n").unwrap();
    });
    assert_eq!(read(stage, "new"), "mine\n");
}

pub fn meanwhile_replaced_and_added_to(stage: &Stage) {
    let live = unchanged(stage, "cat a.txt", "a", |folder| {
        fs::write(folder.join("other"), "mine\n").unwrap();
        fs::rename(folder.join("other"), folder.join("a.txt")).unwrap();
    });
    assert_eq!(live.yes("echo more >> a.txt && cat a.txt"), "a\nmore");
    live.sandbox.end().unwrap();
    assert_eq!(read(stage, "a.txt"), "mine\n");
}

/// As `git checkout` and `git stash` do it.
pub fn meanwhile_directory_made_anew(stage: &Stage) {
    let live = stage.start();
    live.yes("echo own > deep/own");
    fs::remove_dir_all(stage.folder().join("deep")).unwrap();
    fs::create_dir(stage.folder().join("deep")).unwrap();
    fs::write(stage.folder().join("deep/b.txt"), "other\n").unwrap();
    fs::write(stage.folder().join("deep/g"), "other\n").unwrap();
    assert_eq!(live.yes("ls deep; cat deep/*"), "b.txt\nown\nb\nown");
    live.yes("echo later > deep/later && rm deep/b.txt");
    assert_eq!(live.yes("ls deep"), "later\nown");
    live.sandbox.end().unwrap();
    assert_eq!((read(stage, "deep/b.txt").as_str(), read(stage, "deep/g").as_str()), ("other\n", "other\n"));
}

pub fn meanwhile_directory_renamed(stage: &Stage) {
    unchanged(stage, "ls -A . deep; cat deep/b.txt", ".:\na.txt\ndeep\n\ndeep:\nb.txt\nb", |folder| {
        fs::rename(folder.join("deep"), folder.join("deeper")).unwrap();
    });
}

/// The file inside is another one: neither waits for the other.
pub fn meanwhile_locked(stage: &Stage) {
    use rustix::fs::{FlockOperation, flock};
    let live = stage.start();
    let held = File::open(stage.folder().join("a.txt")).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    live.yes("flock -n -x a.txt true");
    live.yes(
        "flock -x a.txt sleep 60 > /dev/null 2>&1 < /dev/null & until ! flock -n -x a.txt true; do :; done",
    );
    flock(&held, FlockOperation::Unlock).unwrap();
    flock(&held, FlockOperation::NonBlockingLockExclusive).expect("it is the person's");
}
