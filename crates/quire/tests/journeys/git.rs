//! A folder in a git repository: never needed, never surprised. Everything through the binary, with the person's own git beside it.

use crate::model::{Model, Wire, say, shell};
use crate::stage::Stage;
use crate::tree::Tree;
use std::process::Command;

fn git(stage: &Stage, script: &str) -> String {
    let mut command = Command::new("sh");
    command.args(["-ec", script]).current_dir(&stage.folder).env("HOME", stage.base());
    command.env("GIT_CONFIG_GLOBAL", "/dev/null");
    let ended = command.output().unwrap();
    assert!(ended.status.success(), "{script}: {}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).unwrap().trim_end().to_owned()
}

#[test]
fn gits_own_things_stay_the_persons() {
    let stage = Stage::set();
    let commits = "git -c user.name=Agent -c user.email=agent@example.org commit -qam";
    let of_its_own = format!(
        "echo B > a.txt; {commits} one; echo C > a.txt; {commits} two; git checkout -qb mine; printf '#!/bin/sh\\n' > .git/hooks/pre-commit"
    );
    // The second task's agent commits, moves the branch and leaves a hook.
    let model = Model::new(move |asked| {
        let commits = asked.words.iter().any(|words| words.contains("commit it yourself"));
        match (commits, asked.answered) {
            (false, 0) => shell("echo A > a.txt; echo n > new.txt"),
            (false, _) => say("Two files are changed.\n\nThe first for this, the second for that."),
            (true, 0) => shell(&of_its_own),
            (true, _) => say("Two commits."),
        }
    });
    stage.use_model(&model, Wire::Chat);
    stage.file("a.txt", "a\n");
    git(
        &stage,
        "git init -qb main .; git config user.name Ada; git config user.email ada@example.org; git add .; git commit -qm first; \
         echo stash > a.txt; git stash -q; echo staged > staged.txt; git add staged.txt",
    );
    let before = Tree::of(&stage.folder);
    let first = git(&stage, "git rev-parse HEAD");

    // Without a word of git's: `.git` is the same, byte for byte.
    stage.quire(&["change two files"]).exits(0);
    stage.quire(&["accept", "1"]).exits(0);
    let expected = before.clone().with_file(b"a.txt", b"A\n", 0o644).with_file(b"new.txt", b"n\n", 0o644);
    Tree::of(&stage.folder).assert_is(&expected, "after an accept");
    stage.quire(&["undo", "1"]).exits(0);
    Tree::of(&stage.folder).assert_is(&before, "after its undo");

    // On a branch of its own: the folder, HEAD and index stay.
    let mine = "git status --porcelain; git rev-parse HEAD; git stash list; git branch --show-current";
    let persons = git(&stage, mine);
    let said = stage.quire(&["accept", "1", "--branch", "side"]).exits(0).out;
    assert!(said.contains("Committed to side as") && said.contains("has not changed"), "{said}");
    assert_eq!(git(&stage, mine), persons);
    assert_eq!(
        git(&stage, "git show --format=%s --name-only side"),
        "Two files are changed.\n\na.txt\nnew.txt"
    );
    stage.quire(&["accept", "1", "--branch", "side"]).exits(2).tells(&["a branch `side` already"]);

    // Committed: the agent's words, a trailer, only these files; what is staged stays staged. And taken back.
    let said = stage.quire(&["accept", "1", "--commit"]).exits(0).out;
    assert!(said.contains("Committed to main as"), "{said}");
    let message = git(&stage, "git log -1 --format=%B");
    assert!(message.starts_with("Two files are changed.\n\n") && message.contains("for that."), "{message}");
    assert!(
        message.trim_end().lines().last().unwrap().starts_with("Quire-Task: 1, version 1, "),
        "{message}"
    );
    assert_eq!(git(&stage, "git status --porcelain"), "A  staged.txt");
    let said = stage.quire(&["undo", "1"]).exits(0).out;
    assert!(said.contains("is taken back"), "{said}");
    assert_eq!(git(&stage, mine), persons);

    // The agent's own commits come by fetch; its branch, hook and index do not.
    stage.quire(&["commit it yourself"]).exits(0);
    let said = stage.quire(&["accept", "2", "--json"]).exits(0).out;
    assert!(said.contains("refs/quire/2"), "{said}");
    assert_eq!(git(&stage, "git log --format=%s refs/quire/2"), "two\none\nfirst");
    assert_eq!(git(&stage, "git rev-parse HEAD"), first);
    assert_eq!(git(&stage, "git branch --show-current"), "main");
    assert_eq!(git(&stage, "git branch --list mine; ls .git/hooks | grep -v sample || true"), "");
    git(&stage, "git fsck --strict");
    stage.quire(&["undo", "2"]).exits(0);
    assert_eq!(git(&stage, "git for-each-ref refs/quire"), "");
    assert_eq!(git(&stage, mine), persons);
}

/// What quire makes without running Git LFS is what Git LFS takes for its own.
#[test]
fn git_lfs_finds_its_files_as_it_would_have_made_them() {
    let there = Command::new("git").args(["lfs", "version"]).output().is_ok_and(|ran| ran.status.success());
    assert!(there, "this needs git-lfs: sudo apt-get install git-lfs");
    let stage = Stage::set();
    let model = Model::saying(vec![shell("echo two > a.bin; printf b > b.bin"), say("Two files.")]);
    stage.use_model(&model, Wire::Chat);
    stage.file("a.bin", "one\n");
    git(
        &stage,
        "git init -qb main .; git config user.name Ada; git config user.email ada@example.org; \
         git lfs install --local >&2; git lfs track '*.bin' >&2; git add .; git commit -qm first",
    );
    stage.quire(&["change them"]).exits(0);
    stage.quire(&["accept", "1", "--commit"]).exits(0);
    assert_eq!(git(&stage, "git lfs ls-files --name-only; git status --porcelain"), "a.bin\nb.bin");
    assert_eq!(git(&stage, "git lfs fsck"), "Git LFS fsck OK");
    // As it comes out anew.
    let anew = "rm -f a.bin b.bin; git checkout -q .; cat a.bin b.bin; git status --porcelain";
    assert_eq!(git(&stage, anew), "two\nb");
}
