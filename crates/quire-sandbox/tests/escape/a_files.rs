//! A: files.

use crate::catalogue::{Case, case};
use crate::ground::Ground;
use crate::stage::{fingerprint, quoted};
use std::fs;
use std::os::unix::fs::symlink;

pub const CASES: &[Case] = &[case(
    "A01",
    "canary_write",
    "changes are made inside; bytes, inodes and times outside stay",
    canary_write,
)];

fn canary_write(ground: &Ground) {
    let stage = &ground.stage;
    let elsewhere = stage.base.join("elsewhere");
    fs::write(stage.home.join(".bashrc"), "alias ls=ls\n").unwrap();
    fs::create_dir(&elsewhere).unwrap();
    for file in ["one", "two", "three"] {
        fs::write(elsewhere.join(file), file).unwrap();
    }
    symlink("one", elsewhere.join("link")).unwrap();
    let trees = [elsewhere, stage.home.clone(), stage.base.join("data/base")];
    let before = trees.each_ref().map(|tree| fingerprint(tree));
    let inside = ground.inside();
    let change = "echo x >> one; chmod 4777 one; touch -d 2001-01-01 one; ln one hard; mv two moved; rm three; : > link; \
                  setfattr -n user.quire -v 1 one 2> /dev/null; chmod 700 .; ls | tr '\\n' ' '";
    assert_eq!(inside.yes(&format!("cd {} && {change}", quoted(&trees[0]))), "hard link moved one ");
    inside.yes("echo x >> a.txt; rm -r deep; echo evil >> ~/.bashrc; echo x > ~/.profile; cat ~/.bashrc");
    // Of what the machine needs only what changes nothing is tried.
    inside.probe(&["open", "rw", "/etc/passwd", "/etc/hosts"]).all(&["ok"]);
    drop(inside);
    assert_eq!(before, trees.each_ref().map(|tree| fingerprint(tree)));
}
