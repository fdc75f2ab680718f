//! What an agent committed comes into the repositories that it is of, and is taken back; and a version as a git bundle for elsewhere.

use crate::browser::Browser;
use crate::model::{Model, Wire, say, shell};
use crate::stage::{Stage, can_make_users};
use crate::tree::Tree;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;

const WHO: &str = "git config user.name Ada; git config user.email ada@example.org";

/// Runs git for the person, in a directory of theirs.
fn git(stage: &Stage, dir: &Path, script: &str) -> String {
    let config = stage.base().join("gitconfig");
    fs::write(&config, "[safe]\n\tdirectory = *\n[protocol \"file\"]\n\tallow = always\n").unwrap();
    let mut command = Command::new("sh");
    command.args(["-ec", script]).current_dir(dir).env("HOME", stage.base());
    command.env("GIT_CONFIG_GLOBAL", config).env("GIT_CONFIG_SYSTEM", "/dev/null");
    for (name, value) in [("NAME", "Ada"), ("EMAIL", "ada@example.org")] {
        command.env(format!("GIT_AUTHOR_{name}"), value).env(format!("GIT_COMMITTER_{name}"), value);
    }
    let ended = command.output().unwrap();
    assert!(ended.status.success(), "{script}: {}", String::from_utf8_lossy(&ended.stderr));
    stage.own(&stage.folder);
    String::from_utf8(ended.stdout).unwrap().trim_end().to_owned()
}

fn commits_in_every_repository(stage: &Stage) {
    let commit = "commit() { git -c user.name=Agent -c user.email=agent@example.org commit -q --allow-empty -m \"$1\"; }";
    let first = format!(
        "{commit}; git checkout -qb topic; commit topic; git checkout -q main; (cd deps/sub; commit sub); git add deps/sub; commit bump; \
         (cd tools/kit; git checkout -qb side; commit kit; git checkout -q main); git init -q mine; (cd mine; commit mine); echo A > a.txt"
    );
    let second = format!(
        "{commit}; git checkout -qf topic; commit again; git checkout -q main; (cd tools/kit; git checkout -q side; commit again; \
         git checkout -q main); echo AA > a.txt"
    );
    let model = Model::saying(vec![shell(&first), say("Commits."), shell(&second), say("More.")]);
    stage.use_model(&model, Wire::Chat);
    stage.file("a.txt", "a\n");
    let made = "made() { git init -qb main $1; (cd $1; git commit -q --allow-empty -m first); }";
    git(
        stage,
        &stage.folder,
        &format!(
            "{made}; made ../sub; made .; {WHO}; made tools/kit; git submodule -q add ../sub deps/sub; git add a.txt; git commit -qm second"
        ),
    );
    let all = "for at in . deps/sub tools/kit; do git -C $at for-each-ref --format=\"$at %(refname) %(subject)\" refs/quire; done";
    let brought = |stage: &Stage| git(stage, &stage.folder, all);
    let mine =
        "git rev-parse HEAD main; git branch -a; git -C deps/sub rev-parse HEAD; git -C tools/kit branch -a";
    let before = (git(stage, &stage.folder, mine), fs::read(stage.folder.join(".git/index")).unwrap());

    stage.quire(&["commit everywhere"]).exits(0);
    let shown = stage.quire(&["review", "1"]).exits(0).out;
    for (path, why) in [
        (".git", "Accept brings the commits and branches among them"),
        ("tools/kit/.git", "a repository within the folder: Accept brings"),
        (".git/modules/deps/sub", "a repository within the folder: Accept brings"),
        ("mine/.git", "a repository that only the agent has"),
    ] {
        let row = shown.lines().any(|line| line.contains(&format!(" {path}  ")) && line.contains(&why[..20]));
        assert!(row, "{path}: {shown}");
    }
    let told = stage.quire(&["accept", "1"]).exits(0).out;
    for row in [
        "The agent made 1 commit in deps/sub: git -C deps/sub log refs/quire/1.\n",
        "The agent made 1 commit on the branch side in tools/kit: git -C tools/kit log refs/quire/branches/1/side.\n",
        "The agent made 1 commit: git log refs/quire/1.\n",
        "The agent made 1 commit on the branch topic: git log refs/quire/branches/1/topic.\n",
    ] {
        assert!(told.contains(row), "{told}");
    }
    let first = ". refs/quire/1 bump\n. refs/quire/branches/1/topic topic\ndeps/sub refs/quire/1 sub\n\
                 tools/kit refs/quire/branches/1/side kit";
    assert_eq!(brought(stage), first);
    git(
        stage,
        &stage.folder,
        "git fsck --strict; git -C deps/sub fsck --strict; git -C tools/kit fsck --strict",
    );
    assert_eq!((git(stage, &stage.folder, mine), fs::read(stage.folder.join(".git/index")).unwrap()), before);
    assert!(!stage.folder.join("mine/.git").exists());
    let log = stage.quire(&["log", "1"]).exits(0).out;
    assert!(log.contains("its own commits on side in tools/kit brought"), "{log}");

    // Taken back, and again: from the first accept on, an undo of the next is back at what that one brought.
    stage.quire(&["undo", "1"]).exits(0);
    assert_eq!(brought(stage), "");
    let rows = stage.json(&["accept", "1"])["accepted"]["git"].clone();
    let of_kit = json!({"brought":
        {"reference": "refs/quire/branches/1/side", "commits": 1, "branch": "side", "within": "tools/kit"}});
    assert!(rows.as_array().is_some_and(|rows| rows.len() == 4 && rows.contains(&of_kit)), "{rows}");
    stage.quire(&["revise", "1", "and more"]).exits(0);
    stage.quire(&["accept", "1"]).exits(0);
    let second = first.replace("topic topic", "topic again").replace("side kit", "side again");
    assert_eq!(brought(stage), second);
    stage.quire(&["undo", "1"]).exits(0);
    assert_eq!(brought(stage), first);
    stage.quire(&["undo", "1"]).exits(0);
    assert_eq!(brought(stage), "");
    assert_eq!((git(stage, &stage.folder, mine), fs::read(stage.folder.join(".git/index")).unwrap()), before);
    assert_eq!(fs::read_to_string(stage.folder.join("a.txt")).unwrap(), "a\n");
}

#[test]
fn what_the_agent_committed_comes_into_each_repository_and_is_taken_back() {
    commits_in_every_repository(&Stage::set());
}

#[test]
fn what_the_agent_committed_comes_to_an_ordinary_user_too() {
    if can_make_users() {
        commits_in_every_repository(&Stage::for_user());
    }
}

/// What the person had not committed is, and no file is otherwise.
#[test]
fn a_turn_that_only_commits_is_accepted() {
    let stage = Stage::set();
    let commit = "git -c user.name=Agent -c user.email=agent@example.org commit -qam mine";
    let model = Model::saying(vec![shell(commit), say("I committed it.")]);
    stage.use_model(&model, Wire::Chat);
    stage.file("a.txt", "a\n");
    git(&stage, &stage.folder, &format!("git init -qb main; {WHO}; git add .; git commit -qm first"));
    stage.file("a.txt", "edited\n");
    let run = stage.quire(&["commit what I edited"]).exits(0).out;
    assert!(run.contains("Task 1 is ready. No file changed; it committed in git.\n"), "{run}");
    assert!(run.contains("Accept   quire accept 1\n"), "{run}");
    let listed = stage.quire(&["ls"]).exits(0).out;
    assert!(listed.contains(" no file changed; it committed in git\n"), "{listed}");
    let review = stage.quire(&["review", "1"]).exits(0).out;
    assert!(review.contains("No file changed; it committed in git"), "{review}");
    assert!(review.contains("quire accept 1") && review.contains("bring the commits"), "{review}");
    let browser = Browser::open(&stage);
    let page = browser.get("/tasks/1").body;
    assert!(
        page.contains("No file changed; it committed in git.") && page.contains("Accept <kbd>"),
        "{page}"
    );
    assert!(!page.contains("Nothing to accept"), "{page}");
    let told = stage.quire(&["accept", "1"]).exits(0).out;
    assert!(told.contains("The agent made 1 commit: git log refs/quire/1.\n"), "{told}");
    assert_eq!(git(&stage, &stage.folder, "git show --format=%s refs/quire/1:a.txt"), "edited");
}

#[test]
fn a_version_is_fetched_elsewhere_from_a_bundle() {
    let mut stage = Stage::set();
    let model = Model::new(|asked| match (asked.words[0].contains("nothing"), asked.answered) {
        (false, 0) => shell("echo A > a.txt; echo n > new.txt"),
        _ => say("Two files are changed."),
    });
    stage.use_model(&model, Wire::Chat);
    stage.file("a.txt", "a\n");
    stage.quire(&["change two files"]).exits(0);
    let file = stage.base().join("home/1.bundle");
    let to = file.to_str().unwrap();
    stage.quire(&["accept", "1", "--bundle", to]).exits(2).tells(&["is in no git repository"]);

    git(
        &stage,
        &stage.folder,
        &format!("git init -qb main; {WHO}; git add .; git commit -qm first; cp -a . ../clone"),
    );
    stage.file("staged.txt", "staged\n");
    git(&stage, &stage.folder, "git add staged.txt; git status");
    let before = Tree::of(&stage.folder);
    for other in [&["--commit"][..], &["--branch", "side"]] {
        let arguments = [&["accept", "1", "--bundle", to], other].concat();
        stage.quire(&arguments).exits(2).tells(&["--bundle"]);
    }
    // From where the person is.
    let told = stage.quire(&["accept", "1", "--bundle", "../1.bundle"]).exits(0).out;
    assert!(told.starts_with("Bundled as ") && told.contains(&format!("git fetch {to} quire-1\n")), "{told}");
    assert!(told.ends_with("Your folder has not changed.\n"), "{told}");
    Tree::of(&stage.folder).assert_is(&before, "beside its bundle");
    let clone = stage.base().join("home/clone");
    git(&stage, &clone, "git bundle verify -q ../1.bundle; git fetch -q ../1.bundle quire-1");
    assert_eq!(
        git(
            &stage,
            &clone,
            "git log --format=%s --name-only FETCH_HEAD^!; git rev-parse FETCH_HEAD^ main | uniq | wc -l"
        ),
        "Two files are changed.\n\na.txt\nnew.txt\n1"
    );

    // Nothing is written over; a part of it is another bundle.
    let kept = fs::read(&file).unwrap();
    stage.quire(&["accept", "1", "--bundle", to]).exits(2).tells(&["is there already", "Name a file"]);
    assert_eq!(fs::read(&file).unwrap(), kept);
    let part = stage.base().join("home/part.bundle");
    let said = stage.json(&["accept", "1", "new.txt", "--bundle", part.to_str().unwrap()]);
    let row = &said["git"][0]["bundled"];
    assert_eq!((&row["file"], &row["branch"]), (&json!(part), &json!("quire-1")), "{said}");
    assert_eq!(
        git(
            &stage,
            &clone,
            "git fetch -q ../part.bundle quire-1; git rev-parse FETCH_HEAD; git diff-tree -r --no-commit-id --name-only FETCH_HEAD"
        ),
        format!("{}\nnew.txt", row["commit"].as_str().unwrap())
    );

    // Where there is nothing to commit, that is said, as with an accept.
    stage.quire(&["do nothing"]).exits(0);
    stage.quire(&["accept", "2", "--commit"]).exits(0);
    let none = stage.base().join("home/none.bundle");
    for aside in [["--branch", "side"], ["--bundle", none.to_str().unwrap()]] {
        let told = stage.quire(&[&["accept", "2"][..], &aside].concat()).exits(0).out;
        assert_eq!(told, "Nothing to commit: HEAD has all of it.\nYour folder has not changed.\n");
    }
    assert!(!none.exists());
    assert_eq!(git(&stage, &stage.folder, "git for-each-ref --format='%(refname)'"), "refs/heads/main");

    // A disk that is full leaves no half of one.
    if can_make_users() {
        let small = stage.base().join("small");
        stage.mount(&small, "64k");
        let (filler, full) = (small.join("filler"), small.join("1.bundle"));
        let mut filling = fs::File::create(&filler).unwrap();
        while std::io::Write::write_all(&mut filling, &[7; 512]).is_ok() {}
        let refused = stage.quire(&["accept", "1", "--bundle", full.to_str().unwrap()]).exits(8);
        assert!(refused.err.contains("cannot be written"), "{}", refused.err);
        let left: Vec<_> = fs::read_dir(&small).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["filler"]);
        drop(filling);
        fs::remove_file(&filler).unwrap();
        stage.quire(&["accept", "1", "--bundle", full.to_str().unwrap()]).exits(0);
    }
    let log: Vec<Value> = stage.log(1).iter().map(|logged| json!(logged.event)).collect();
    assert!(!log.iter().any(|event| event.get("committed").is_some()), "{log:?}");
}
