//! What an agent committed, in layers as a sandbox leaves them, beside the person's repositories that it comes to.

use super::*;
use crate::freeze::{Frozen, freeze};
use crate::git::bring::{Tip, reference};
use crate::git::inside::View;
use rustix::fs::{CWD, FileType, Mode as Bits, mknodat};

/// An agent that works on a copy of a case's folder.
struct Agent {
    frozen: Frozen,
    layer: PathBuf,
    at: PathBuf,
}

impl Agent {
    /// `script` is what it does.
    fn works(case: &Case, script: &str) -> Agent {
        let temp = case.temp.path();
        fs::create_dir_all(temp.join("home")).unwrap();
        let frozen = freeze(&temp.join("home"), &case.folder, &|_, _| {}).unwrap();
        let agent = Agent { frozen, layer: temp.join("layer"), at: temp.join("agent") };
        case.sh(&format!("cp -a . {}", agent.at.display()));
        agent.goes_on(case, script);
        agent
    }

    fn goes_on(&self, case: &Case, script: &str) {
        case.sh_in(&self.at, script);
        let _ = fs::remove_dir_all(&self.layer);
        fs::create_dir(&self.layer).unwrap();
        let upper = self.layer.join("folder-0");
        fs::create_dir(&upper).unwrap();
        differ(&case.folder, &self.at, &upper);
    }

    /// Brings what it did into each repository of the folder that it changed, the innermost first.
    fn brings(&self, case: &Case) -> Vec<(String, Vec<Tip>)> {
        let view = View::of(&self.frozen, std::slice::from_ref(&self.layer), 0).unwrap();
        let mut all = vec![];
        for inside in view.repositories().unwrap() {
            let dir = inside.dir.clone().unwrap();
            let Some((within, repo)) = Repo::beside(&case.folder, &dir).unwrap() else { continue };
            let tips = repo.bring(&inside, 3, &|_| false, &case.temp.path().join("scratch"));
            let tips = tips.unwrap_or_else(|why| vec![Tip { name: None, brought: Err(why) }]);
            all.push((within.map_or(String::new(), |within| within.to_string()), tips));
        }
        all
    }

    /// Returns what came over, `REPOSITORY:BRANCH COMMITS`, or why not.
    fn told(&self, case: &Case) -> Vec<String> {
        let one = |within: &str, tip: &Tip| {
            let what = match &tip.brought {
                Ok(brought) => brought.commits.to_string(),
                Err(why) => why.to_string(),
            };
            format!("{within}:{} {what}", tip.name.as_deref().unwrap_or_default())
        };
        let all = self.brings(case);
        all.iter().flat_map(|(within, tips)| tips.iter().map(|tip| one(within, tip))).collect()
    }
}

/// Makes `upper` the layer by which `now` differs from `was`, with a whiteout for what is gone.
fn differ(was: &Path, now: &Path, upper: &Path) {
    let names = |dir: &Path| -> Vec<std::ffi::OsString> {
        fs::read_dir(dir).map_or(vec![], |names| names.map(|name| name.unwrap().file_name()).collect())
    };
    for name in names(now) {
        let (was, now, upper) = (was.join(&name), now.join(&name), upper.join(&name));
        if now.is_dir() && !now.is_symlink() {
            fs::create_dir(&upper).unwrap();
            differ(&was, &now, &upper);
        } else if now.is_symlink() || fs::read(&was).ok() != fs::read(&now).ok() {
            fs::copy(&now, &upper).unwrap();
        }
    }
    for name in names(was).into_iter().filter(|name| !now.join(name).exists()) {
        mknodat(CWD, upper.join(name), FileType::CharacterDevice, Bits::empty(), 0).unwrap();
    }
}

const COMMIT: &str = "commit() { git commit -q --allow-empty -m \"$1\"; }";

/// What the person has, what the agent does, and what comes over.
#[test]
fn branches_come_over_that_have_what_nobody_else_has() {
    let rows: &[(&str, &str, &str, &[&str])] = &[
        ("nothing", "true", "git status; touch x", &[]),
        ("HEAD alone", "true", "commit one", &[": 1"]),
        (
            "a branch, and HEAD stays",
            "true",
            "git checkout -qb topic; commit one; git checkout -q main",
            &[":topic 1"],
        ),
        (
            "HEAD and a branch of what it has, and one beside it",
            "true",
            "commit one; git branch below; git checkout -qb a/b; commit two; git checkout -q main; commit three",
            &[": 2", ":a/b 1"],
        ),
        (
            "a branch of the person's that moved on, packed",
            "git checkout -qb theirs; commit theirs; git checkout -q main; git pack-refs --all",
            "git checkout -q theirs; commit more; git checkout -q main; git pack-refs --all",
            &[":theirs 1"],
        ),
        (
            "a branch at the person's own",
            "git tag v1; commit two",
            "git branch old v1; git tag mine; git branch new",
            &[],
        ),
        ("one that is gone", "git branch theirs; git pack-refs --all", "git branch -qD theirs", &[]),
        ("HEAD elsewhere", "git branch theirs; commit two", "git checkout -q theirs", &[": 0"]),
        ("detached", "true", "git checkout -q --detach; commit one", &[": 1"]),
        ("a stash and a tag", "true", "echo x > x; git add x; git stash -q; git tag t; git status", &[]),
        (
            "what only looks like one",
            "true",
            "git rev-parse HEAD > .git/refs/heads/x.lock; echo no > .git/refs/heads/no; commit one",
            &[": 1"],
        ),
        (
            "a worktree's branch",
            "true",
            "git worktree add -q ../tree -b tree; cd ../tree; commit one",
            &[":tree 1"],
        ),
        (
            "a name that would be a command",
            "true",
            "git checkout -qb 'x;touch${IFS}ran'; commit one; git checkout -q main",
            &[":x;touch${IFS}ran 1"],
        ),
        (
            "cleared up",
            "commit two; git gc -q",
            "git checkout -qb topic; commit one; git checkout -q main; git gc -q",
            &[":topic 1"],
        ),
    ];
    for (name, persons, agents, expected) in rows {
        let case = Case::made(&format!("{COMMIT}; {BEGUN}; {persons}"));
        let before = case.sh("git for-each-ref; git status --porcelain; git reflog");
        let agent = Agent::works(&case, &format!("{COMMIT}; {agents}"));
        assert_eq!(agent.told(&case), *expected, "{name}");
        let brought = agent.brings(&case);
        let refs = case.sh("git for-each-ref --format='%(refname)' refs/quire");
        let tips: Vec<&Tip> = brought.iter().flat_map(|(_, tips)| tips).collect();
        let mut named: Vec<String> = tips.iter().map(|tip| reference(3, tip.name.as_deref())).collect();
        named.sort();
        assert_eq!(refs.lines().collect::<Vec<_>>(), named, "{name}");
        case.sh("git fsck --strict");
        let repo = Repo::around(&case.folder).unwrap();
        for tip in tips {
            let commit = &tip.brought.as_ref().unwrap().commit;
            repo.forget(3, tip.name.as_deref(), commit, None).unwrap();
        }
        assert_eq!(case.sh("git for-each-ref; git status --porcelain; git reflog"), before, "{name}");
    }
}

/// What the person did with their references meanwhile stays as they did it.
#[test]
fn an_undo_takes_back_what_was_brought_and_no_more() {
    let case = Case::made(&format!("{COMMIT}; {BEGUN}"));
    let agent =
        Agent::works(&case, &format!("{COMMIT}; git checkout -qb topic; commit one; git checkout -q main"));
    let of = |brought: &[(String, Vec<Tip>)]| brought[0].1[0].brought.as_ref().unwrap().commit.clone();
    let repo = Repo::around(&case.folder).unwrap();
    let first = of(&agent.brings(&case));
    agent.goes_on(&case, &format!("{COMMIT}; git checkout -q topic; commit two; git checkout -q main"));
    let second = of(&agent.brings(&case));
    let at = || case.sh("git rev-parse -q --verify refs/quire/branches/3/topic || true");
    assert_eq!((at(), first == second), (second.clone(), false));
    repo.forget(3, Some("topic"), &second, Some(&first)).unwrap();
    assert_eq!(at(), first);
    // Again, as who died at it.
    repo.forget(3, Some("topic"), &second, Some(&first)).unwrap();
    assert_eq!(at(), first);
    let main = case.sh("git rev-parse main");
    case.sh("git update-ref refs/quire/branches/3/topic main");
    repo.forget(3, Some("topic"), &first, None).unwrap();
    assert_eq!(at(), main);
}
