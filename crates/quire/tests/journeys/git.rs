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

/// A branch is given what would be accepted: a part and what was merged have to pass there as well.
#[test]
fn a_branch_is_checked_as_an_accept_is() {
    let stage = Stage::set();
    let model =
        Model::saying(vec![shell("sed -i 's/^a=1$/a=2/' a.txt; sed -i 's/^z=1$/z=2/' a.txt"), say("Two.")]);
    stage.use_model(&model, Wire::Chat);
    let lines = "a=1\n1\n2\n3\n4\n5\n6\n7\n8\n9\nz=1\n";
    stage.file("a.txt", lines);
    git(
        &stage,
        "git init -qb main .; git config user.name Ada; git config user.email ada@example.org; git add .; git commit -qm first",
    );
    let both = "grep -q a=1 a.txt && grep -q z=1 a.txt || grep -q a=2 a.txt && grep -q z=2 a.txt";
    stage.quire(&["change both", "--check", both, "--check", "! grep -q forbidden a.txt"]).exits(0);
    let hunk =
        stage.json(&["review", "1"])["review"]["files"][0]["hunks"][0]["id"].as_str().unwrap().to_owned();
    let branches = "git for-each-ref --format='%(refname:short)'";
    let refused = stage.quire(&["accept", "1", "--only", &hunk, "--branch", "part"]).exits(1);
    assert!(refused.err.contains("and not on the whole version"), "{}", refused.err);
    assert_eq!(git(&stage, branches), "main");
    stage.quire(&["accept", "1", "--only", &hunk, "--branch", "part", "--unchecked"]).exits(0);
    assert_eq!(git(&stage, "git show part:a.txt | grep ="), "a=2\nz=1");
    // With the person's own edits in it.
    stage.file("a.txt", &lines.replace("\n5\n", "\nforbidden\n"));
    let refused = stage.quire(&["accept", "1", "--branch", "merged"]).exits(1);
    assert!(refused.err.contains("forbidden"), "{}", refused.err);
    let mine = lines.replace("\n5\n", "\nmine\n");
    stage.file("a.txt", &mine);
    let told = stage.quire(&["accept", "1", "--branch", "merged"]).exits(0);
    assert!(told.out.contains("Merged with your edits: a.txt."), "{}", told.out);
    assert_eq!(git(&stage, "git show merged:a.txt | grep -e = -e mine"), "a=2\nmine\nz=2");
    assert_eq!(std::fs::read_to_string(stage.folder.join("a.txt")).unwrap(), mine);
    let version = stage.json(&["review", "1"])["review"]["seen"].as_str().unwrap().to_owned();
    let asked = stage.quire(&["accept", "1", "--branch", "again", "--seen", &version]).exits(7);
    assert!(asked.err.contains("quire accept 1 --branch again --seen "), "{}", asked.err);
    let told = stage.json(&["accept", "1", "--branch", "again"]);
    assert_eq!((&told["merged"][0], &told["checks"][0]["passed"]), (&"a.txt".into(), &true.into()), "{told}");
}

/// What the person's own git would run, or take for a repository, needs a yes of its own.
#[test]
fn what_git_would_run_needs_a_yes() {
    let stage = Stage::set();
    let planted =
        "mkdir -p docs/objects docs/refs; echo 'ref: refs/heads/x' > docs/HEAD; echo '[core]' > docs/config";
    let script = format!(
        "echo 'echo no' >> myhooks/pre-commit; echo '[alias]' > gitcfg; echo x > plain.txt; {planted}"
    );
    stage.use_model(&Model::saying(vec![shell(&script), say("Done.")]), Wire::Chat);
    std::fs::create_dir(stage.folder.join("myhooks")).unwrap();
    stage.file("myhooks/pre-commit", "#!/bin/sh\n");
    stage.file("gitcfg", "[user]\n");
    git(
        &stage,
        "git init -qb main .; git config user.name Ada; git config user.email ada@example.org; git add .; git commit -qm first; \
         git config core.hooksPath myhooks; git config include.path ../gitcfg",
    );
    stage.quire(&["tidy up"]).exits(0);
    let shown = stage.quire(&["review", "1"]).exits(0).out;
    let when = "runs when you use git here";
    let named = ["myhooks/pre-commit", "gitcfg", "docs/HEAD", "docs/config"];
    for path in named {
        assert!(shown.contains(&format!("{path}  {when}")), "{path}: {shown}");
    }
    let before = Tree::of(&stage.folder);
    for path in named {
        stage.quire(&["accept", "1", path]).exits(if path.starts_with("docs") { 0 } else { 3 });
        if path.starts_with("docs") {
            stage.quire(&["undo", "1"]).exits(0);
        }
    }
    let refused = stage.quire(&["accept", "1"]).exits(3);
    for path in named {
        assert!(refused.err.contains(&format!("{path} {when}")), "{path}: {}", refused.err);
    }
    Tree::of(&stage.folder).assert_is(&before, "nothing was written");
    stage.quire(&["accept", "1", "--branch", "side"]).exits(3);
    stage.quire(&["accept", "1", "plain.txt"]).exits(0);
    stage.quire(&["accept", "1", "--with-programs"]).exits(0);
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

/// What the person has staged and what they edit since, beside a commit of the same file.
#[test]
fn a_commit_beside_the_persons_own_edits_keeps_both_and_says_so() {
    let stage = Stage::set();
    let model = Model::new(|asked| match asked.answered {
        0 => shell("sed -i 's/^15$/AGENT/' a.txt"),
        _ => say("One line."),
    });
    stage.use_model(&model, Wire::Chat);
    stage.file("a.txt", &(1..=20).map(|n| format!("{n}\n")).collect::<String>());
    git(
        &stage,
        "git init -qb main .; git config user.name Ada; git config user.email ada@example.org; git add .; git commit -qm first; \
         sed -i 's/^2$/MINE/' a.txt; git add a.txt",
    );
    stage.quire(&["change one line"]).exits(0);
    let said = stage.quire(&["accept", "1", "--commit"]).exits(0).out;
    assert!(said.contains("With it go your own edits in a.txt."), "{said}");
    git(&stage, "echo x > x; git add x; git commit -qm next");
    assert_eq!(git(&stage, "git show --format= --name-only HEAD; sed -n '2p;15p' a.txt"), "x\nMINE\nAGENT");
    let said = stage.quire(&["undo", "1"]).exits(0).out;
    assert!(said.contains("would take your own edits in a.txt back as well"), "{said}");

    // Accepted first, edited, and committed only then: the commit does not have it, and nothing says that it has.
    git(&stage, "git checkout -q -f HEAD~2; git checkout -qb again; git status --porcelain");
    stage.quire(&["change one line"]).exits(0);
    stage.quire(&["accept", "2"]).exits(0);
    git(&stage, "echo more >> a.txt");
    let said = stage.quire(&["accept", "2", "--commit"]).exits(0).out;
    assert!(
        said.contains("is not as it was accepted any more: a.txt") && !said.contains("HEAD has all"),
        "{said}"
    );
}
