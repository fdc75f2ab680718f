//! What an agent committed, in layers as a sandbox leaves them, beside the person's repositories that it comes to.

use super::*;
use crate::freeze::{Frozen, freeze};
use crate::git::bring::{Known, Tip, reference};
use crate::git::inside::View;
use crate::testing::differ;
use std::cell::RefCell;

/// An agent that works on a copy of a case's folder.
struct Agent {
    frozen: Frozen,
    layer: PathBuf,
    at: PathBuf,
    /// Commits that came over.
    came: RefCell<Vec<String>>,
}

impl Agent {
    /// `script` is what it does.
    fn works(case: &Case, script: &str) -> Agent {
        let temp = case.temp.path();
        fs::create_dir_all(temp.join("home")).unwrap();
        let frozen = freeze(&temp.join("home"), &case.folder, &|_, _| {}).unwrap();
        let agent =
            Agent { frozen, layer: temp.join("layer"), at: temp.join("agent"), came: RefCell::default() };
        case.sh(&format!("cp -a . {}", agent.at.display()));
        agent.goes_on(case, script);
        agent
    }

    fn goes_on(&self, case: &Case, script: &str) {
        case.sh_in(&self.at, script);
        let _ = fs::remove_dir_all(&self.layer);
        differ(&case.folder, &self.at, &self.layer.join("folder-0"));
    }

    fn view(&self) -> View {
        View::of(&self.frozen, std::slice::from_ref(&self.layer), 0).unwrap()
    }

    /// Brings what it did into each repository of the folder that it changed, the innermost first.
    fn brings(&self, case: &Case) -> Vec<(String, Vec<Tip>)> {
        let view = self.view();
        let mut all = vec![];
        let is_ours = |_: Option<&str>, commit: &str| self.came.borrow().iter().any(|came| came == commit);
        let known = Known { is_done: &|_| false, is_ours: &is_ours };
        for inside in view.repositories().unwrap() {
            let dir = inside.dir.clone().unwrap();
            let Some((within, repo)) = Repo::beside(&case.folder, &case.folder, &dir).unwrap() else {
                continue;
            };
            let scratch = case.temp.path().join("scratch");
            let tips = repo.bring(&inside, 3, &known, &scratch);
            assert!(!scratch.exists());
            let tips = tips.unwrap_or_else(|why| vec![Tip { name: None, brought: Err(why) }]);
            let came = tips.iter().filter_map(|tip| Some(tip.brought.as_ref().ok()?.commit.clone()));
            self.came.borrow_mut().extend(came);
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

const COMMIT: &str = "commit() { git commit -q --allow-empty -m \"$1\"; }";

const TWO: &str =
    "echo t > t.txt; git checkout -qb topic; git add .; commit one; git checkout -q main; commit two";

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
        (
            "HEAD on one whose name is no text, packed",
            "git tag \"$(printf 'caf\\351')\"",
            "git checkout -qb \"$(printf '\\377')\"; commit one; git gc -q",
            &[": 1"],
        ),
        (
            "a bundle in the settings",
            "git bundle create -q ../bundle main; git config fetch.bundleURI $(realpath ../bundle)",
            TWO,
            &[": 1", ":topic 1"],
        ),
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
        (
            "named by SHA-256",
            "rm -rf .git; git init -q --object-format=sha256 -b main; git add .; commit first",
            TWO,
            &[": 1", ":topic 1"],
        ),
        (
            "a history that is cut short",
            "commit two; git clone -q --depth 1 file://$PWD ../other; rm -rf .git; mv ../other/.git .",
            TWO,
            &[": 1", ":topic 1"],
        ),
        (
            "without the old contents",
            "echo A > a.txt; git commit -qam two; git config uploadpack.allowFilter true; \
             git clone -q --filter=blob:none file://$PWD ../other; rm -rf .git; mv ../other/.git .",
            TWO,
            &[": 1", ":topic 1"],
        ),
        (
            "with its objects elsewhere",
            "cp -a . ../origin; git clone -q -s ../origin ../other; rm -rf .git; mv ../other/.git .",
            TWO,
            &[": 1", ":topic 1"],
        ),
    ];
    for (name, persons, agents, expected) in rows {
        let case = Case::made(&format!("{COMMIT}; {BEGUN}; {persons}"));
        let all = "git for-each-ref | cat -v; git status --porcelain; git reflog";
        let before = case.sh(all);
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
        assert_eq!(case.sh(all), before, "{name}");
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
    // Nor does what it leads to go with it.
    case.sh("git branch kept; git symbolic-ref refs/quire/branches/3/topic refs/heads/kept");
    repo.forget(3, Some("topic"), &main, None).unwrap();
    assert_eq!([at(), case.sh("git rev-parse kept")], [String::new(), main]);
}

/// What stands where it comes to is of another home's, or of the person's.
#[test]
fn what_a_task_did_not_bring_stays_where_its_commits_would_come_to() {
    let case = Case::made(&format!("{COMMIT}; {BEGUN}"));
    let agent = Agent::works(
        &case,
        &format!("{COMMIT}; {TWO}; git checkout -qb deep/a; commit deep; git checkout -q main"),
    );
    case.sh("for at in 3 branches/3/topic branches/3/deep; do git update-ref refs/quire/$at main; done");
    let before = case.sh("git for-each-ref");
    let taken = "is there already, and it is not from this task";
    let expected = [
        format!(": refs/quire/3 {taken}"),
        ":deep/a refs/quire/branches/3/deep is there, and git has no refs/quire/branches/3/deep/a beside it"
            .to_owned(),
        format!(":topic refs/quire/branches/3/topic {taken}"),
    ];
    assert_eq!(agent.told(&case), expected);
    assert_eq!(case.sh("git for-each-ref"), before);
    let free: Vec<String> = agent
        .brings(&case)
        .iter()
        .flat_map(|(_, tips)| tips)
        .flat_map(|tip| tip.brought.as_ref().unwrap_err().in_the_way().to_vec())
        .collect();
    assert_eq!(free, ["refs/quire/3", "refs/quire/branches/3/deep", "refs/quire/branches/3/topic"]);
    free.iter().for_each(|reference| drop(case.sh(&format!("git update-ref -d {reference}"))));
    assert_eq!(agent.told(&case), [": 1", ":deep/a 1", ":topic 1"]);
    // Of a name that is a directory of others now.
    agent.goes_on(
        &case,
        &format!("{COMMIT}; git branch -D deep/a; git checkout -qb deep; commit deep; git checkout -q main"),
    );
    let told = agent.told(&case);
    assert!(told[1].starts_with(":deep refs/quire/branches/3/deep/a is there"), "{told:?}");
}

/// The task's copy has what the person cleared away, and a pack of it that git touched is no news.
#[test]
fn commits_come_over_whose_beginning_the_person_has_no_more() {
    let case = Case::made(&format!("{COMMIT}; {BEGUN}; commit two; git gc -q"));
    let agent = Agent::works(
        &case,
        &format!("{COMMIT}; commit one; git checkout -qb topic; commit more; git checkout -q main"),
    );
    let pack = "for at in .git/objects/pack/pack-*.pack; do cp $at";
    case.sh(&format!("{pack} {}/folder-0/$at; done", agent.layer.display()));
    let view = agent.view();
    let inside = &view.repositories().unwrap()[0];
    let (packs, new): (Vec<_>, Vec<_>) =
        inside.objects().map(|(_, inner)| inner).partition(|inner| inner.ends_with(b".pack"));
    assert!(!packs.is_empty() && packs.iter().all(|inner| inside.has_begun_with(inner).unwrap()));
    assert!(!new.is_empty() && new.iter().all(|inner| !inside.has_begun_with(inner).unwrap()));
    case.sh("git commit -q --amend --allow-empty -m amended; git reflog expire --expire=now --all; git gc -q --prune=now");
    assert_eq!(agent.told(&case), [": 1", ":topic 1"]);
    assert_eq!(case.sh("git log --format=%s refs/quire/branches/3/topic"), "more\none\ntwo\nfirst");
    case.sh("git fsck --strict");
}

/// A layer that cannot be read leaves nothing of the work begun.
#[test]
fn what_is_needed_goes_also_where_it_fails() {
    let case = Case::made(&format!("{COMMIT}; {BEGUN}"));
    let agent = Agent::works(&case, &format!("{COMMIT}; commit one"));
    let view = agent.view();
    case.sh(&format!("rm -r {}/folder-0/.git/objects", agent.layer.display()));
    let (repo, scratch) = (Repo::around(&case.folder).unwrap(), case.temp.path().join("scratch"));
    let known = Known { is_done: &|_| false, is_ours: &|_, _| false };
    let failed = repo.bring(&view.repositories().unwrap()[0], 3, &known, &scratch);
    assert!(matches!(failed, Err(GitError::Io(_))) && !scratch.exists(), "{failed:?}");
}

/// A folder with a submodule at `deps/sub`, in which is another, and a repository of its own at `tools/kit`.
fn with_inner() -> Case {
    let made = "made() { git init -qb main $1; cd $1; echo $1 > $1.txt; git add .; git commit -qm $1; }";
    let add = "git -c protocol.file.allow=always submodule -q add";
    Case::made(&format!(
        "{made}; (cd ..; (made inner); (made sub; {add} ../inner inner; git commit -qm inner)); {BEGUN}; {add} ../sub deps/sub; \
         git -c protocol.file.allow=always submodule -q update --init --recursive; git commit -qm sub; mkdir tools; (cd tools; made kit)"
    ))
}

/// Each repository of the person's gets what was committed in the one of the agent's that began as it.
#[test]
fn what_is_committed_within_comes_into_the_repository_that_it_is_of() {
    let case = with_inner();
    let refs = "git for-each-ref; git submodule -q foreach --recursive git for-each-ref; git -C tools/kit for-each-ref";
    let before = case.sh(refs);
    let agent = Agent::works(
        &case,
        &format!(
            "{COMMIT}; (cd tools/kit; git checkout -qb topic; commit kit; git checkout -q main); \
             (cd deps/sub/inner; commit deep); (cd deps/sub; git checkout -qb fix; commit aside; git checkout -q -; git add inner; commit sub); \
             git add deps/sub; commit bump; git init -q mine; (cd mine; commit mine)"
        ),
    );
    let told = agent.told(&case);
    assert_eq!(told, ["tools/kit:topic 1", "deps/sub/inner: 1", "deps/sub: 1", "deps/sub:fix 1", ": 1"]);
    let log = |dir: &str, name: &str| case.sh(&format!("git -C {dir} log -1 --format=%s {name}"));
    assert_eq!(
        [
            log("tools/kit", "refs/quire/branches/3/topic"),
            log("deps/sub/inner", "refs/quire/3"),
            log("deps/sub", "refs/quire/3"),
            log("deps/sub", "refs/quire/branches/3/fix"),
            log(".", "refs/quire/3"),
        ],
        ["kit", "deep", "sub", "aside", "bump"]
    );
    case.sh("git fsck --strict; git -C deps/sub fsck --strict; git status");
    for (within, tips) in agent.brings(&case) {
        let within = RelPath::new(within);
        let repo = Repo::at(&case.folder, within.as_ref()).unwrap().unwrap();
        for tip in tips {
            repo.forget(3, tip.name.as_deref(), &tip.brought.unwrap().commit, None).unwrap();
        }
    }
    assert_eq!(case.sh(refs), before);
}

/// What cannot come over is told by name, and keeps nothing else back.
#[test]
fn what_does_not_come_over_says_why_and_keeps_nothing_back() {
    let new = "git init -qb main ../other; (cd ../other; commit other); git -c protocol.file.allow=always submodule -q add ../other new";
    let whole = "they name a commit of the submodule new that is nowhere else";
    let format = |what: &str| format!(": quire does not read repositories in this format ({what})");
    let rows: &[(&str, String, Vec<String>)] = &[
        (
            "a submodule that only the agent has",
            format!("{TWO}; {new}; commit new"),
            vec![format!(": {whole}"), ":topic 1".to_owned()],
        ),
        (
            "the same on a branch",
            format!("commit one; git checkout -qb sub; {new}; commit new; git checkout -q main"),
            vec![": 1".to_owned(), format!(":sub {whole}")],
        ),
        // As git itself hides it from who asks for changes.
        (
            "the same, hidden",
            format!("{new}; git config -f .gitmodules submodule.new.ignore all; git add -A; commit new"),
            vec![format!(": {whole}")],
        ),
        (
            "a name that is no text",
            "git checkout -qb \"$(printf '\\377bad')\"; commit bad; git checkout -qb u main; commit one; git checkout -q main".to_owned(),
            vec![":u 1".to_owned(), ":\\xffbad its name is no text in UTF-8".to_owned()],
        ),
        (
            "more references than are read",
            "commit one; git pack-refs --all; yes '# x' | head -c 17000000 >> .git/packed-refs".to_owned(),
            vec![": .git/packed-refs is larger than quire reads".to_owned()],
        ),
        (
            "tables",
            "commit one; mkdir .git/reftable; touch .git/reftable/tables.list".to_owned(),
            vec![format("reftable")],
        ),
        (
            "what is not known",
            "commit one; git config core.repositoryformatversion 1; git config extensions.later on"
                .to_owned(),
            vec![format("extensions.later on")],
        ),
        (
            "other names",
            "rm -rf .git; git init -q --object-format=sha256 -b main; git add .; commit one".to_owned(),
            vec![format("sha256")],
        ),
    ];
    for (name, agents, expected) in rows {
        let case = Case::made(&format!("{COMMIT}; {BEGUN}"));
        let agent = Agent::works(&case, &format!("{COMMIT}; {agents}"));
        assert_eq!(agent.told(&case), *expected, "{name}");
    }
}

/// A link in the place of a repository leads to another one of the person's, which has nothing to do with it.
#[test]
fn nothing_comes_to_where_a_link_leads() {
    let case = with_inner();
    let agent =
        Agent::works(&case, &format!("{COMMIT}; (cd tools/kit; commit kit); (cd deps/sub; commit sub)"));
    case.sh("mv tools/kit ../kit; ln -s ../../kit tools/kit; rm -rf deps/sub; ln -s ../../inner deps/sub");
    assert_eq!(agent.told(&case), [""; 0]);
    assert_eq!(case.sh("git -C ../kit for-each-ref refs/quire; git -C ../inner for-each-ref refs/quire"), "");
    case.sh("rm tools/kit deps/sub");
    assert_eq!(agent.told(&case), [""; 0], "and where nothing is");
}

/// What a version says of them before any is brought.
#[test]
fn a_version_names_each_repository_and_whether_its_agent_committed() {
    let many = "for n in $(seq 300); do : > .git/many-$n; done";
    for (agents, expected) in [
        ("git config a.b c", &[("0/.git", false)][..]),
        ("commit one", &[("0/.git", true)]),
        ("git gc -q; git branch other", &[("0/.git", false)]),
        ("git checkout -qb topic; commit one; git checkout -q main", &[("0/.git", true)]),
        ("commit one; git gc -q", &[("0/.git", true)]),
        (
            &format!("{many}; (cd zest; commit one); git init -q zoo; (cd zoo; commit one)"),
            &[("0/.git", false), ("0/zest/.git", true), ("0/zoo/.git", false)],
        ),
    ] {
        let zest = "git init -qb main zest; cd zest; git commit -q --allow-empty -m zest";
        let case = Case::made(&format!("{BEGUN}; {zest}"));
        let agent = Agent::works(&case, &format!("{COMMIT}; {agents}"));
        let apart = crate::snapshot::apart(&[agent.frozen], std::slice::from_ref(&agent.layer)).unwrap();
        let named: Vec<_> = apart.repositories.iter().map(|one| (one.path.as_str(), one.committed)).collect();
        assert_eq!(named, expected, "{agents}");
        assert!(apart.git.paths.len() <= 200 && apart.git.total > 0, "{agents}");
    }
}
