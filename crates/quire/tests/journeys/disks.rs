//! Folders on real disks that can do less than others: a FUSE disk, on which two files cannot change places in one step and inode
//! numbers are others each time it is mounted, one without links, and one on which names that differ in large and small letters
//! alone are one.

use crate::model::{Model, Wire, say, shell};
use crate::stage::Stage;
use crate::tree::Tree;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A FUSE disk of the test's own; what is on it lies in the directory that it shows.
struct Disk {
    shows: PathBuf,
    at: PathBuf,
    options: &'static [&'static str],
    served: Option<Child>,
}

impl Disk {
    /// Mounts one at the stage's folder; none where this machine has no FUSE.
    fn at_folder(stage: &Stage, options: &'static [&'static str]) -> Option<Disk> {
        // SAFETY: geteuid has no preconditions.
        let root = unsafe { libc::geteuid() } == 0;
        let python =
            Command::new("/usr/bin/python3").args(["-c", "import fusepy"]).stderr(Stdio::null()).status();
        if !(root && Path::new("/dev/fuse").exists() && python.is_ok_and(|ended| ended.success())) {
            eprintln!("NOT TRIED: a folder on a FUSE disk, which needs root, /dev/fuse and python3-fusepy");
            return None;
        }
        let shows = stage.base().join("shown");
        fs::create_dir(&shows).expect("a directory");
        let mut disk = Disk { shows, at: stage.folder.clone(), options, served: None };
        disk.mount();
        Some(disk)
    }

    fn mount(&mut self) {
        let mut served = Command::new("/usr/bin/python3");
        served.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuse/disk.py"));
        served.arg(&self.shows).arg(&self.at).args(self.options).stdout(Stdio::piped());
        let mut served = served.spawn().expect("python runs");
        let mut said = String::new();
        BufReader::new(served.stdout.take().expect("a pipe")).read_line(&mut said).expect("a line");
        self.served = Some(served);
        assert_eq!(said, "up\n");
    }

    fn unmount(&mut self) {
        let Some(mut served) = self.served.take() else { return };
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
        let _ = served.kill();
        let _ = served.wait();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.unmount();
    }
}

/// A little of everything that can become of a path.
const BEFORE: [(&str, &str); 8] = [
    ("a", "a\n"),
    ("run", "r\n"),
    ("d/x", "x\n"),
    ("d/e/y", "y\n"),
    ("file", "f\n"),
    ("dir/in", "i\n"),
    ("gone", "g\n"),
    ("here", "moves\nfar\n"),
];
const AGENT: &str = "echo agent > a; chmod 700 run; rm -r d file dir gone; mkdir -p file/now new/tree; echo x > file/now/dir; \
                     ln -s a dir; echo l > new/tree/leaf; mv here there";

/// Runs a task on such a disk, and returns how the folder was before it.
fn task(stage: &Stage, model: &Model) -> Tree {
    stage.configure(model, Wire::Chat, "[checks]\nfound = false\n");
    BEFORE.iter().for_each(|(path, content)| stage.file(path, content));
    let before = Tree::of(&stage.folder);
    stage.quire(&["change a little of everything"]).exits(0);
    before
}

#[test]
fn a_task_is_accepted_and_undone_on_a_fuse_disk() {
    for options in [&[][..], &["no-links"], &["fold"], &["numbers"], &["no-modes", "no-links"]] {
        let stage = Stage::set();
        let Some(_disk) = Disk::at_folder(&stage, options) else { return };
        let model = Model::saying(vec![shell(AGENT), say("Done.")]);
        let before = task(&stage, &model);
        Tree::of(&stage.folder).assert_is(&before, "before accept");
        stage.quire(&["accept", "1"]).exits(0);
        let after = Tree::of(&stage.folder);
        let file = |path: &str| fs::read_to_string(stage.folder.join(path)).expect("a file");
        assert_eq!(
            (&*file("a"), &*file("file/now/dir"), &*file("there")),
            ("agent\n", "x\n", "moves\nfar\n")
        );
        assert_eq!(fs::read_link(stage.folder.join("dir")).expect("a link"), Path::new("a"));
        assert!(!stage.folder.join("d").exists() && !stage.folder.join("gone").exists());
        assert_eq!(after.0.len(), 11, "and nothing besides");
        stage.quire(&["undo", "1"]).exits(0);
        Tree::of(&stage.folder).assert_is(&before, "after undo");
        stage.quire(&["accept", "1"]).exits(0);
        Tree::of(&stage.folder).assert_is(&after, "accepted again");
    }
}

/// What the first accept made has the modes that the disk gave.
#[test]
fn a_second_version_is_accepted_on_a_disk_that_keeps_no_modes() {
    let stage = Stage::set();
    let Some(_disk) = Disk::at_folder(&stage, &["no-modes", "no-links"]) else { return };
    let model = Model::saying(vec![
        shell("echo one > a; echo one > new; echo one > dropped; echo one > same; mkdir d; echo one > d/in"),
        say("Done."),
        shell("echo two > new; rm dropped; mv d e"),
        say("Done."),
    ]);
    stage.configure(&model, Wire::Chat, "[checks]\nfound = false\n");
    stage.file("a", "a\n");
    let before = Tree::of(&stage.folder);
    stage.quire(&["make it"]).exits(0);
    stage.quire(&["accept", "1"]).exits(0);
    let first = Tree::of(&stage.folder);
    stage.quire(&["revise", "1", "and now that"]).exits(0);
    stage.quire(&["accept", "1"]).exits(0);
    let file = |path: &str| fs::read_to_string(stage.folder.join(path)).ok();
    let two = Some("two\n".to_owned());
    assert_eq!((file("new"), file("dropped"), file("d/in")), (two, None, None));
    assert_eq!((file("same"), file("e/in")), (file("a"), file("a")));
    stage.quire(&["undo", "1"]).exits(0);
    Tree::of(&stage.folder).assert_is(&first, "after the undo of the second");
    stage.quire(&["undo", "1"]).exits(0);
    Tree::of(&stage.folder).assert_is(&before, "after the undo of both");
}

/// Killed in the midst, and the disk mounted anew, so that no file has the inode number that it had.
#[test]
fn what_was_killed_on_a_fuse_disk_is_ended_after_it_was_mounted_anew() {
    let stage = Stage::set();
    let Some(mut disk) = Disk::at_folder(&stage, &["numbers"]) else { return };
    let model = Model::saying(vec![shell(AGENT), say("Done.")]);
    let before = task(&stage, &model);
    stage.quire(&["accept", "1"]).exits(0);
    let after = Tree::of(&stage.folder);
    let mut accepted = true;
    for (call, nth) in [
        ("mkdirat", 2),
        ("mkdirat", 2),
        ("renameat", 1),
        ("renameat", 2),
        ("linkat", 1),
        ("renameat", 3),
        ("unlinkat", 2),
        ("linkat", 2),
        ("unlinkat", 3),
        ("renameat", 6),
        ("unlinkat", 4),
        ("renameat", 8),
        ("linkat", 3),
        ("unlinkat", 7),
        ("renameat", 10),
    ] {
        let command = if accepted { "undo" } else { "accept" };
        let told = format!("{command} killed before its {call} {nth}");
        let plain = stage.command(&[command, "1"]);
        let mut traced = Command::new("strace");
        traced.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
        traced.args(["-e", &format!("inject={call}:signal=KILL:when={nth}")]);
        traced.arg(plain.get_program()).args(plain.get_args()).current_dir(stage.base()).env_clear();
        traced.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let ended = traced.output().expect("strace runs");
        assert!(ended.status.signal() == Some(9) || ended.status.code() == Some(137), "{told}: {ended:?}");
        stage.quire(&["host", "--stop"]);
        disk.unmount();
        disk.mount();
        stage.quire(&["ls"]).exits(0);
        let taken = stage.json(&["review", "1"])["review"]["taken"].as_str().unwrap_or_default().to_owned();
        accepted = taken == "whole";
        Tree::of(&stage.folder).assert_is(if accepted { &after } else { &before }, &told);
        // All was written beside its place before the first was moved, and from then on it goes on.
        assert_eq!(accepted == (command == "accept"), call != "mkdirat", "{told}");
    }
}

/// Of each row: what the agent does, and the names that its person is told of.
#[test]
fn names_that_are_one_on_a_folding_disk_are_told_and_nothing_is_written() {
    for (agent, told) in [
        ("echo theirs > README; echo two > a", "README"),
        ("echo one > OTHER; echo two > other; echo two > a", "other"),
        ("mkdir D; echo one > D/x; echo two > d/x; echo two > a", "D"),
        ("mkdir n; echo one > n/X; echo two > n/x; echo two > a", "n/x"),
        ("mkdir n n/d n/D; echo two > a", "n/d"),
        ("mv readme README; echo two > a", "README"),
    ] {
        let stage = Stage::set();
        let Some(_disk) = Disk::at_folder(&stage, &["fold"]) else { return };
        let model = Model::saying(vec![shell(agent), say("Done.")]);
        stage.configure(&model, Wire::Chat, "[checks]\nfound = false\n");
        for (path, content) in [("readme", "mine\n"), ("a", "one\n"), ("d/in", "mine\n")] {
            stage.file(path, content);
        }
        let before = Tree::of(&stage.folder);
        stage.quire(&["change it"]).exits(0);
        let refused = stage.quire(&["accept", "1"]);
        assert_eq!(refused.code, Some(7), "{agent}: {refused:?}");
        refused.tells(&[told]);
        Tree::of(&stage.folder).assert_is(&before, agent);
    }
}

/// A person's file that has the name of one that an undo would bring back, in other letters.
#[test]
fn a_name_that_an_undo_needs_on_a_folding_disk_stays_its_persons() {
    let stage = Stage::set();
    let Some(_disk) = Disk::at_folder(&stage, &["fold"]) else { return };
    let model = Model::saying(vec![shell("rm notes; echo two > a"), say("Done.")]);
    stage.configure(&model, Wire::Chat, "[checks]\nfound = false\n");
    stage.file("notes", "old\n");
    stage.file("a", "one\n");
    stage.quire(&["change it"]).exits(0);
    stage.quire(&["accept", "1"]).exits(0);
    stage.file("NOTES", "mine\n");
    let mine = Tree::of(&stage.folder);
    stage.quire(&["undo", "1"]).exits(7).tells(&["notes"]);
    Tree::of(&stage.folder).assert_is(&mine, "after an undo that was refused");
    fs::rename(stage.folder.join("NOTES"), stage.folder.join("kept")).expect("a rename");
    stage.quire(&["undo", "1"]).exits(0);
    assert_eq!(fs::read_to_string(stage.folder.join("notes")).expect("a file"), "old\n");
}
