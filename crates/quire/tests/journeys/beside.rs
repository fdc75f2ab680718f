//! A folder whose git repository lies outside of it: a linked worktree, a submodule, a folder within a working tree. git works inside, what
//! was committed there comes over at accept, and nothing else of the person's repository changes.

use crate::model::{Model, Wire, say, shell};
use crate::stage::{Stage, can_make_users};
use crate::tree::Tree;
use std::path::Path;
use std::process::Command;

fn stages() -> impl Iterator<Item = Stage> {
    [Some(Stage::set()), can_make_users().then(Stage::for_user)].into_iter().flatten()
}

fn git(stage: &Stage, at: &Path, script: &str) -> String {
    let mut command = Command::new("sh");
    command.args(["-ec", script]).current_dir(at).env("HOME", stage.base());
    // The repository is another's where the person is not who runs the tests.
    command.env("GIT_CONFIG_COUNT", "2").env("GIT_CONFIG_GLOBAL", "/dev/null");
    command.env("GIT_CONFIG_KEY_0", "safe.directory").env("GIT_CONFIG_VALUE_0", "*");
    command.env("GIT_CONFIG_KEY_1", "protocol.file.allow").env("GIT_CONFIG_VALUE_1", "always");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Ada").env(format!("GIT_{who}_EMAIL"), "ada@example.org");
    }
    let ended = command.output().unwrap();
    assert!(ended.status.success(), "{script}: {}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).unwrap().trim_end().to_owned()
}

/// What the agent does: git has to work for it, and to begin with nothing to commit.
const WORK: &str = "set -e; test -z \"$(git status --porcelain)\"; git describe --tags; git config user.name Agent; \
    git config user.email agent@example.org; echo more >> a.txt; git diff --stat | grep -q a.txt; git commit -qam one; \
    git checkout -qb mine; echo n > new.txt; git add new.txt; git stash -q; git stash pop -q; git commit -qm two; \
    git log --format=%s | head -n 2; printf '#!/bin/sh\\n' > \"$(git rev-parse --git-path hooks)/post-commit\"; git gc -q; \
    test -z \"$(git status --porcelain)\"";

/// Lays out repositories in the person's home, and makes `folder` theirs to work in.
fn laid_out(stage: &mut Stage, folder: &str) {
    let home = stage.base().join("home");
    git(
        stage,
        &home,
        "git init -qb main sub; cd sub; echo a > a.txt; git add .; git commit -qm first; git tag v1; cd ..
         git init -qb main repo; cd repo; mkdir in other; echo a > a.txt; echo a > in/a.txt; echo b > other/b.txt; echo '*.o' > .gitignore
         git submodule --quiet add ../sub sub; git add .; git commit -qm first; git tag v1; git worktree add -q ../tree
         echo mine > other/b.txt; echo staged > staged.txt; git add staged.txt; touch in/made.o",
    );
    stage.own(&home);
    stage.folder = home.join(folder);
}

fn works(mut stage: Stage, folder: &str, reference: &str) {
    laid_out(&mut stage, folder);
    let (home, folder) = (stage.base().join("home"), stage.folder.clone());
    let model = Model::saying(vec![shell(WORK), say("Two commits.")]);
    stage.use_model(&model, Wire::Chat);
    let before = Tree::of(&home);
    stage.quire(&["commit it yourself", "--check", "git describe --tags --exact-match"]).exits(0);
    let outcome = model.asked().last().unwrap().results.join("\n");
    let review = stage.json(&["review", "1"]);
    assert_eq!(review["review"]["without_git"], serde_json::Value::Null, "{review}");
    let log = stage.quire(&["log", "1", "--json"]).exits(0).out;
    assert!(log.contains("two") && log.contains("v1"), "{outcome}: {log}");
    assert_eq!(review["review"]["checks"][0]["passed"], true, "{outcome} {review}");
    Tree::of(&home).assert_is(&before, "before an accept");

    let said = stage.quire(&["accept", "1"]).exits(0).out;
    assert!(said.contains("refs/quire/1"), "{said}");
    assert_eq!(git(&stage, &folder, "git log --format=%s refs/quire/1"), "two\none\nfirst");
    assert_eq!(git(&stage, &folder, "git fsck --strict 2>&1 | grep -v '^dangling' || true"), "");
    assert_eq!(git(&stage, &folder, "git diff --name-only HEAD refs/quire/1 -- :/other :/sub"), "");
    stage.quire(&["undo", "1"]).exits(0);
    assert_eq!(git(&stage, &folder, "git for-each-ref refs/quire"), "");
    // What came over stays as objects that nothing names.
    let objects = format!("{reference}/objects");
    let is_object = |name: &Vec<u8>| name.starts_with(objects.as_bytes());
    let (mut before, mut after) = (before, Tree::of(&home));
    before.0.retain(|name, _| !is_object(name));
    after.0.retain(|name, _| !is_object(name) && !name.ends_with(b"/refs/quire"));
    after.assert_is(&before, "after its undo");
}

#[test]
fn git_works_in_a_linked_worktree() {
    stages().for_each(|stage| works(stage, "tree", "repo/.git"));
}

#[test]
fn git_works_in_a_submodule() {
    stages().for_each(|stage| works(stage, "repo/sub", "repo/.git/modules/sub"));
}

#[test]
fn git_works_in_a_folder_of_a_working_tree() {
    stages().for_each(|stage| works(stage, "repo/in", "repo/.git"));
}

#[test]
fn git_works_in_a_folder_of_a_linked_worktree() {
    stages().for_each(|stage| works(stage, "tree/in", "repo/.git"));
}

/// What is committed in a submodule within such a folder comes over into that submodule.
#[test]
fn a_submodule_of_a_repository_beside_its_folder_is_brought_too() {
    for (folder, lib) in [("repo/in", "lib"), ("tree/in", "lib"), ("tree", "in/lib")] {
        let mut stage = Stage::set();
        laid_out(&mut stage, folder);
        git(
            &stage,
            &stage.base().join("home/repo"),
            "git submodule --quiet add ../sub in/lib; git commit -qm lib; cd ../tree; git merge -q main
             git submodule --quiet update --init in/lib",
        );
        let commit = "git -c user.name=A -c user.email=a@example.org commit -qam deep";
        let model = obeys();
        stage.use_model(&model, Wire::Chat);
        stage.quire(&[&format!("run: cd {lib} && git status && echo more >> a.txt && {commit}")]).exits(0);
        let review = stage.json(&["review", "1"])["review"].clone();
        assert_eq!(review["only_agents"], serde_json::Value::Null, "{review}");
        let said = stage.quire(&["accept", "1"]).exits(0).out;
        assert!(said.contains(&format!("git -C {lib} log refs/quire/1")), "{folder}: {said}");
        let lib = stage.folder.join(lib);
        assert_eq!(git(&stage, &lib, "git log --format=%s refs/quire/1"), "deep\nfirst", "{folder}");
        stage.quire(&["undo", "1"]).exits(0);
        assert_eq!(git(&stage, &lib, "git for-each-ref refs/quire"), "", "{folder}");
    }
}

/// A model that runs what the person's words say after `run: `, once each.
fn obeys() -> Model {
    Model::new(|asked| {
        let orders: Vec<&str> = asked.words.iter().filter_map(|words| words.strip_prefix("run: ")).collect();
        match orders.get(asked.results.len()) {
            Some(order) => shell(order),
            None => say("Done."),
        }
    })
}

/// Turns, forks, a host that died and a clearing away: the agent's repository is what it made of it.
#[test]
fn what_was_committed_beside_a_folder_is_there_in_the_next_turn_and_in_a_fork() {
    for folder in ["tree", "repo/in"] {
        let mut stage = Stage::set();
        laid_out(&mut stage, folder);
        let model = obeys();
        stage.use_model(&model, Wire::Chat);
        let seen = || model.asked().last().unwrap().results.last().unwrap().clone();
        let commit = "git -c user.name=A -c user.email=a@example.org commit -qam";
        // A check that runs again on what an accept would write sees the repository as well.
        let check = ["--check", "git log -1 --format=%s"];
        stage.quire(&[&[&*format!("run: echo 1 >> a.txt; {commit} one")], &check[..]].concat()).exits(0);
        stage.quire(&["host", "--stop"]).exits(0);
        stage.quire(&["gc"]).exits(0);
        let told = "git log --format=%s; git status --porcelain";
        stage
            .quire(&["revise", "1", &format!("run: {told}; echo 2 >> a.txt; {commit} two; {told}")])
            .exits(0);
        assert!(seen().starts_with("one\nfirst\ntwo\none\nfirst\n"), "{}", seen());
        stage.quire(&["fork", "1", "--at", "v1"]).exits(0);
        stage.quire(&["revise", "2", &format!("run: {told}")]).exits(0);
        assert!(seen().starts_with("one\nfirst\n"), "{}", seen());
        // Where the person went on, too.
        git(&stage, &stage.folder, "echo other > a.txt; git commit -qm mine a.txt");
        stage.quire(&["accept", "2"]).exits(7);
        // On a copy of both as they are by now, below what the agent made of them.
        stage.quire(&["revise", "2", "--fit", &format!("run: {told}; git rev-parse HEAD; exit")]).exits(0);
        assert!(seen().starts_with("one\nfirst\n"), "{}", seen());
        assert_eq!(stage.json(&["review", "2"])["review"]["checks"][0]["passed"], true);
        stage.quire(&["rewind", "1", "--to", "v1"]).exits(0);
        stage.quire(&["accept", "1", "--over", "a.txt"]).exits(0);
        assert_eq!(git(&stage, &stage.folder, "git log --format=%s refs/quire/1"), "one\nfirst");
        let once = stage.quire(&["sandbox", "--", "sh", "-c", told]).exits(0).out;
        assert!(once.starts_with("mine\nfirst\n"), "{once}");
    }
}

/// The index that the agent's git wrote goes by the person's HEAD of before.
#[test]
fn what_the_person_committed_meanwhile_is_not_taken_back_by_the_agents_commit() {
    for (folder, top) in [("repo", "repo"), ("repo/in", "repo"), ("tree", "tree"), ("tree/in", "tree")] {
        for mut stage in stages() {
            laid_out(&mut stage, folder);
            let begin = "git status --porcelain; echo agent >> a.txt; git add a.txt; git status --porcelain";
            let commit = "git -c user.name=A -c user.email=a@example.org commit -qam agent; \
                          git diff --name-status HEAD~1 HEAD; git log --format=%s";
            let model = Model::saying(vec![shell(begin), say("Done."), shell(commit), say("Both.")]);
            stage.use_model(&model, Wire::Chat);
            stage.quire(&["go on"]).exits(0);
            let top = stage.base().join("home").join(top);
            let theirs = "echo n > other/new; git add other/new; git commit -qm theirs other/new";
            git(&stage, &top, theirs);
            git(&stage, &stage.folder, "echo mine > a.txt");
            stage.own(&stage.base().join("home"));
            stage.quire(&["revise", "1", "--fit"]).exits(0);
            let seen = model.asked().last().unwrap().results.last().unwrap().clone();
            assert!(seen.contains("a.txt\n"), "{folder}: {seen}");
            assert!(seen.contains("agent\ntheirs\nfirst"), "{folder}: {seen}");
            assert!(!seen.contains("other/new"), "{folder}: {seen}");
        }
    }
}

/// A `.git` that came with a folder shows nothing of what it leads to.
#[test]
fn a_repository_that_does_not_name_the_folder_is_not_shown() {
    let mut stage = Stage::set();
    laid_out(&mut stage, "planted");
    let model = obeys();
    stage.use_model(&model, Wire::Chat);
    std::fs::create_dir(&stage.folder).unwrap();
    stage.file(".git", "gitdir: ../repo/.git/worktrees/tree\n");
    stage.quire(&["run: git status; ls ../repo ../repo/.git; cat ../repo/.git/HEAD; echo x > x"]).exits(0);
    let seen = model.asked().last().unwrap().results.last().unwrap().clone();
    assert!(seen.contains("not a git repository") && !seen.contains("refs/heads"), "{seen}");
    let review = stage.json(&["review", "1"])["review"].clone();
    let why = review["without_git"][0]["why"].as_str().unwrap();
    assert!(why.contains("does not name it as its own"), "{review}");
    stage.quire(&["accept", "1"]).exits(0);
    assert_eq!(git(&stage, &stage.base().join("home/repo"), "git for-each-ref refs/quire"), "");
}
