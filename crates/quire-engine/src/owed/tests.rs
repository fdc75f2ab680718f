//! An accept that commits, dead at each moment between its files and the end of its commit; and what stood in the way since.

use super::*;
use crate::decide::Choice;
use crate::settings::Surroundings;
use crate::testing::{self, begun, differ, present_with};
use crate::undo::Undo;
use quire_core::event::Apart;
use quire_core::{Event, Node, RelPath};
use std::path::Path;

mod brought;

struct Case {
    temp: tempfile::TempDir,
    folder: PathBuf,
    id: u64,
}

fn open(temp: &Path) -> Quire {
    let env = [("QUIRE_HOME".to_owned(), temp.join("home").to_str().unwrap().to_owned())];
    Quire::open(&Surroundings { env: env.into_iter().collect(), cwd: temp.to_owned() }).unwrap()
}

impl Case {
    /// A task whose version changes `a.txt` of a repository and makes `b.txt`.
    async fn ready() -> (Case, Quire) {
        Case::with("true", None).await
    }

    /// As [`Case::ready`], in a folder in which the first script was run, and where the agent ran the second in its copy.
    async fn with(persons: &str, agents: Option<&str>) -> (Case, Quire) {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("folder");
        fs::create_dir(&folder).unwrap();
        let quire = open(temp.path());
        let case = Case { temp, folder, id: 1 };
        case.git("git init -qb main; git config user.name Ada; git config user.email ada@example.org; echo a > a.txt; git add .; git commit -qm first");
        case.git(persons);
        assert_eq!(begun(quire.store(), quire.home(), &case.folder).await, case.id);
        let blobs = quire.store().blobs().put(&[b"a\n", b"A\n", b"B\n"]).unwrap();
        let node = |n: usize| Some(Node::File { blob: blobs[n], bytes: 2, mode: 0o644 });
        let entry = |path: &str, was, now| Entry { folder: 0, path: RelPath::new(path).unwrap(), was, now };
        let entries = vec![entry("a.txt", node(0), node(1)), entry("b.txt", None, node(2))];
        let snapshot = quire.store().blobs().put(&[&Snapshot { entries }.to_blob()]).unwrap()[0];
        let mut apart = Apart::default();
        if let Some(agents) = agents {
            let copy = case.temp.path().join("agent");
            case.git(&format!("cp -a . {0}; cd {0}; {agents}", copy.display()));
            differ(&case.folder, &copy, &quire.place(case.id).layer(0).join("folder-0"));
            apart.git.total = 1;
        }
        present_with(quire.store(), case.id, snapshot, apart).await;
        (case, quire)
    }

    fn git(&self, script: &str) -> String {
        testing::sh(self.temp.path(), &self.folder, script)
    }

    fn head(&self) -> String {
        self.git("test ! -d .git || git log --format=%H -1")
    }

    fn log(&self) -> String {
        self.git("git log --format=%s --name-only | grep -v '^$' | tr '\\n' ' '")
    }
}

/// How many are owed.
fn owed(quire: &Quire) -> usize {
    fs::read_dir(quire.home().join(DIR)).unwrap().count()
}

fn commit(commit: String) -> crate::git::Commit {
    let made = crate::git::Committed { commit, branch: "main".to_owned() };
    crate::git::Commit { made: Some(made), ..Default::default() }
}

fn choice() -> Choice {
    Choice { commit: true, ..Choice::default() }
}

/// Does what [`Quire::accept`] does, up to a moment.
fn die(quire: &Quire, id: u64, at: &str) {
    let proposal = quire.propose(id, &choice()).unwrap();
    let plan = quire.plan(&proposal).unwrap();
    let built = proposal.built(&plan);
    let debt = quire.owe(&proposal, 0, Some(&built)).unwrap();
    let begin = Event::Accepting {
        accept: 0,
        snapshot: proposal.version.snapshot,
        only: vec![],
        ignored: None,
        taken: None,
        merged: None,
        proofs: vec![],
        programs: false,
    };
    if at == "owed" {
        return;
    }
    quire.begin_writing(&proposal.task, begin).unwrap();
    if at == "begun" {
        return;
    }
    quire.carry(&proposal.task, 0, false, plan).unwrap();
    if at == "written" {
        return;
    }
    // The commit is made, and no event says so; its index did not follow.
    let repo = Repo::around(&proposal.task.charter.folders[0]).unwrap();
    let (_, head) = repo.head();
    let files = [("a.txt", b"A\n"), ("b.txt", b"B\n")];
    let files = files.map(|(path, content)| crate::git::Wanted {
        path: RelPath::new(path).unwrap(),
        now: Some((crate::git::Mode::Plain, content.to_vec())),
        was: None,
        own: None,
    });
    let message = crate::in_git::message(&proposal.task, &proposal.version);
    repo.commit(&files, &message, To::Head, &quire.home().join("scratch")).unwrap().made.unwrap();
    if at == "committed" {
        return;
    }
    assert_eq!(at, "logged");
    let made = repo.made_last(&files, &message, head.as_deref()).unwrap().unwrap();
    quire.committed(&proposal.task, Some(0), 0, made).unwrap();
    drop(debt);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_made_exactly_once_whenever_quire_dies() {
    // At which moment, what the history has then, and whether something is told.
    let both = "Done. a.txt b.txt first a.txt";
    for (at, expected, told) in [
        ("owed", "first a.txt", false),
        ("begun", "first a.txt", false),
        ("written", both, true),
        ("committed", both, true),
        ("logged", both, false),
    ] {
        let (case, quire) = Case::ready().await;
        tokio::task::block_in_place(|| die(&quire, case.id, at));
        drop(quire);
        tokio::task::block_in_place(|| {
            let quire = open(case.temp.path());
            assert_eq!(case.log(), expected, "{at}");
            let rows: Vec<String> = quire.paid().iter().flat_map(|p| &p.rows).map(GitRow::text).collect();
            assert_eq!(!rows.is_empty(), told, "{at}: {rows:?}");
            assert!(rows.iter().all(|row| row.starts_with("Committed to main as")), "{at}: {rows:?}");
            assert_eq!(owed(&quire), 0, "{at}: nothing is owed");
            assert!(open(case.temp.path()).paid().is_empty(), "{at}: and nothing is told again");
            if expected.contains("b.txt") {
                assert_eq!(case.git("git status --porcelain"), "", "{at}");
                // It is the accept's own, so its undo takes it back.
                let rows = quire.undo(case.id, &Undo::default()).unwrap().git;
                assert!(matches!(rows[..], [GitRow::TakenBack(_)]), "{at}: {rows:?}");
                assert_eq!(
                    (case.log().as_str(), case.git("git status --porcelain").as_str()),
                    ("first a.txt", ""),
                    "{at}"
                );
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_cannot_be_made_any_more_is_said_to_be_missing_and_made_by_one_command() {
    // What came meanwhile, what is told of it, whether it is tried again, and how it ends.
    for (meanwhile, why, stays, after) in [
        ("git checkout -qb other", "HEAD has moved since", 0, "git checkout -q main"),
        ("echo x > x; git add x; git commit -qm mine", "HEAD has moved since", 0, "true"),
        ("mv .git ../git", "is gone", 0, "mv ../git .git"),
        ("git rev-parse HEAD > .git/MERGE_HEAD", "a merge is under way", 1, "rm .git/MERGE_HEAD"),
        ("touch .git/index.lock", "index locked", 1, "rm .git/index.lock"),
    ] {
        let (case, quire) = Case::ready().await;
        tokio::task::block_in_place(|| die(&quire, case.id, "written"));
        drop(quire);
        case.git(meanwhile);
        tokio::task::block_in_place(|| {
            let before = case.head();
            let quire = open(case.temp.path());
            let rows = &quire.paid()[0].rows;
            let told = rows[0].text();
            assert!(told.contains(why) && told.ends_with("quire accept 1 --commit"), "{told}");
            assert_eq!(case.head(), before, "{meanwhile}");
            assert_eq!(owed(&quire), stays, "{meanwhile}");
            case.git(after);
            let written = quire.accept(case.id, &choice()).unwrap();
            assert_eq!(written.files, [], "it is written already");
            assert!(
                matches!(&written.git[..], [GitRow::Committed { branch, .. }] if branch == "main"),
                "{:?}",
                written.git
            );
            assert_eq!(case.git("git show --format= --name-only HEAD"), "a.txt\nb.txt");
            // What the person changed since is not in it a second time, and is not taken back either.
            fs::write(case.folder.join("a.txt"), "mine\n").unwrap();
            case.git("git commit -qam mine");
            let again = quire.accept(case.id, &choice()).unwrap().git;
            assert_eq!(again, [GitRow::Nothing], "{meanwhile}");
            assert_eq!(case.git("git show HEAD:a.txt"), "mine");
            // That it was missing once is not told when it is there.
            let quire = open(case.temp.path());
            assert!(quire.paid().iter().all(|paid| paid.rows.is_empty()), "{meanwhile}: {:?}", quire.paid());
            assert_eq!(owed(&quire), 0, "{meanwhile}");
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_git_could_not_make_is_still_owed_and_made_by_the_next() {
    // Before its reference was moved, and after: the index could not follow.
    for committed in [false, true] {
        let (case, quire) = Case::ready().await;
        tokio::task::block_in_place(|| {
            if committed {
                die(&quire, case.id, "committed");
                case.git("git read-tree HEAD^; touch .git/index.lock");
            } else {
                case.git("touch .git/index.lock");
                let git = quire.accept(case.id, &choice()).unwrap().git;
                assert!(matches!(&git[..], [GitRow::Failed(why)] if why.contains("index.lock")), "{git:?}");
            }
            assert_eq!(owed(&quire), 1);
            drop(quire);
            let quire = open(case.temp.path());
            let told: Vec<String> = quire.paid().iter().flat_map(|p| &p.rows).map(GitRow::text).collect();
            assert!(told.len() == 1 && told[0].contains("index.lock"), "{told:?}");
            assert_eq!(owed(&quire), 1, "and it is tried again");
            case.git("rm .git/index.lock");
            let quire = open(case.temp.path());
            assert!(matches!(quire.paid()[0].rows[..], [GitRow::Committed { .. }]), "{:?}", quire.paid());
            assert_eq!((owed(&quire), case.log().as_str()), (0, "Done. a.txt b.txt first a.txt"));
            assert_eq!(case.git("git status --porcelain"), "");
            assert!(matches!(quire.undo(case.id, &Undo::default()).unwrap().git[..], [GitRow::TakenBack(_)]));
            assert_eq!(
                (case.log().as_str(), case.git("git status --porcelain").as_str()),
                ("first a.txt", "")
            );
        });
    }
}

/// What was taken back of an accept before its commit was made is not committed.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_owed_leaves_out_what_was_taken_back_meanwhile() {
    let (case, quire) = Case::ready().await;
    tokio::task::block_in_place(|| {
        case.git("touch .git/index.lock");
        quire.accept(case.id, &choice()).unwrap();
        let part = Undo { paths: vec!["a.txt".into()], ..Undo::default() };
        assert_eq!(quire.undo(case.id, &part).unwrap().files.len(), 1);
        assert_eq!(owed(&quire), 1);
        drop(quire);
        case.git("rm .git/index.lock");
        let quire = open(case.temp.path());
        assert!(matches!(quire.paid()[0].rows[..], [GitRow::Committed { .. }]), "{:?}", quire.paid());
        assert_eq!((owed(&quire), case.log().as_str()), (0, "Done. b.txt first a.txt"));
        assert_eq!(case.git("git status --porcelain"), "");
        assert!(matches!(quire.undo(case.id, &Undo::default()).unwrap().git[..], [GitRow::TakenBack(_)]));
        assert_eq!((case.log().as_str(), case.git("git status --porcelain").as_str()), ("first a.txt", ""));
    });
}

/// Does what [`Quire::undo`] does, until its files are as before.
fn die_undoing(quire: &Quire, id: u64, is_begun: bool) {
    let task = quire.task(id).unwrap();
    let debt = quire.owe_back(&task, 0).unwrap();
    if is_begun {
        let plan = crate::accept::plan_undo(&quire.desk(id), 0, quire.store().blobs()).unwrap();
        quire.begin_writing(&task, Event::Undoing { accept: 0, only: vec![] }).unwrap();
        quire.carry(&task, 0, true, plan).unwrap();
    }
    drop(debt);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_taken_back_whenever_quire_dies() {
    // How far the files' undo came, what git had of it, and what is told.
    let back = "git update-ref HEAD HEAD^";
    let whole = "git update-ref HEAD HEAD^; git read-tree HEAD";
    for (is_begun, came, is_held, told) in [
        // Somebody took away the lock that it had left, before the index followed.
        (true, back, false, 1),
        (false, "true", false, 0),
        (true, "true", false, 1),
        (true, "true", true, 1),
        (true, back, true, 1),
        (true, whole, true, 1),
        (true, whole, false, 1),
    ] {
        let (case, quire) = Case::ready().await;
        tokio::task::block_in_place(|| {
            let what = format!("{is_begun} {came} {is_held}");
            quire.accept(case.id, &choice()).unwrap();
            case.git("echo s > s.txt; git add s.txt");
            die_undoing(&quire, case.id, is_begun);
            case.git(&format!("{came}; git add s.txt"));
            if is_held {
                fs::write(case.folder.join(".git/index.lock"), crate::git::HELD).unwrap();
            }
            drop(quire);
            let quire = open(case.temp.path());
            let rows: Vec<_> = quire.paid().iter().flat_map(|p| &p.rows).collect();
            assert!(
                rows.len() == told && rows.iter().all(|row| matches!(row, GitRow::TakenBack(_))),
                "{what}: {rows:?}"
            );
            let log = if is_begun { "first a.txt" } else { "Done. a.txt b.txt first a.txt" };
            assert_eq!((case.log().as_str(), owed(&quire)), (log, 0), "{what}");
            assert_eq!(case.git("git status --porcelain"), "A  s.txt", "{what}");
            assert!(open(case.temp.path()).paid().is_empty(), "{what}: nothing is told again");
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_cannot_be_taken_back_just_now_is_taken_back_by_the_next() {
    // What stands in the way, what is told of it, and how it goes.
    for (stands, told, goes) in [
        ("touch .git/index.lock", "index.lock", "rm .git/index.lock"),
        ("touch .git/refs/heads/main.lock", "main.lock", "rm .git/refs/heads/main.lock"),
        ("mv .git/index .git/kept; mkdir .git/index", "", "rmdir .git/index; mv .git/kept .git/index"),
    ] {
        let (case, quire) = Case::ready().await;
        tokio::task::block_in_place(|| {
            quire.accept(case.id, &choice()).unwrap();
            let before = (case.head(), case.git("git ls-files -s"));
            case.git(stands);
            let git = quire.undo(case.id, &Undo::default()).unwrap().git;
            assert!(matches!(&git[..], [GitRow::StaysFor { why, .. }] if why.contains(told)), "{git:?}");
            drop(quire);
            let quire = open(case.temp.path());
            assert!(matches!(quire.paid()[0].rows[..], [GitRow::StaysFor { .. }]), "{:?}", quire.paid());
            assert_eq!((fs::read(case.folder.join("a.txt")).unwrap(), owed(&quire)), (b"a\n".to_vec(), 1));
            case.git(goes);
            assert_eq!((case.head(), case.git("git ls-files -s")), before, "{stands}");
            let quire = open(case.temp.path());
            assert!(matches!(quire.paid()[0].rows[..], [GitRow::TakenBack(_)]), "{:?}", quire.paid());
            assert_eq!((case.log().as_str(), owed(&quire)), ("first a.txt", 0));
            assert_eq!(case.git("git status --porcelain"), "");
            assert!(open(case.temp.path()).paid().is_empty());
        });
    }
}

/// HEAD has moved since, so that nothing is to be committed; the lock that was left would keep git from the repository for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_was_left_goes_also_where_no_commit_can_be_made() {
    let (case, quire) = Case::ready().await;
    tokio::task::block_in_place(|| die(&quire, case.id, "written"));
    drop(quire);
    case.git("git checkout -qb other");
    fs::write(case.folder.join(".git/index.lock"), crate::git::HELD).unwrap();
    tokio::task::block_in_place(|| {
        let quire = open(case.temp.path());
        assert!(matches!(quire.paid()[0].rows[..], [GitRow::Missing { .. }]), "{:?}", quire.paid());
    });
    assert!(!case.folder.join(".git/index.lock").exists());
}

/// What an accept owes stays owed where its undo was written down, and did not begin.
#[tokio::test(flavor = "multi_thread")]
async fn an_undo_that_does_not_begin_leaves_what_the_accept_owes() {
    let (case, quire) = Case::ready().await;
    tokio::task::block_in_place(|| {
        die(&quire, case.id, "written");
        // As of another folder, whose commit was made.
        let other = commit("0".repeat(40));
        quire.committed(&quire.task(case.id).unwrap(), Some(0), 1, other).unwrap();
        drop(quire.owe_back(&quire.task(case.id).unwrap(), 0).unwrap().unwrap());
        drop(quire);
        let quire = open(case.temp.path());
        let rows: Vec<_> = quire.paid().iter().flat_map(|p| &p.rows).collect();
        assert!(matches!(rows[..], [GitRow::Committed { .. }]), "{rows:?}");
        assert_eq!((case.log().as_str(), owed(&quire)), ("Done. a.txt b.txt first a.txt", 0));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_repository_is_gone_is_not_waited_for() {
    for gone in ["mv .git ../git", "mv ../folder ../away"] {
        let (case, quire) = Case::ready().await;
        tokio::task::block_in_place(|| {
            quire.accept(case.id, &choice()).unwrap();
            die_undoing(&quire, case.id, true);
            drop(quire);
            case.git(gone);
            let quire = open(case.temp.path());
            assert!(matches!(quire.paid()[0].rows[..], [GitRow::Failed(_)]), "{gone}: {:?}", quire.paid());
            assert_eq!(owed(&quire), 0, "{gone}");
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_in_one_repository_are_taken_back_from_the_last() {
    let (case, quire) = Case::ready().await;
    tokio::task::block_in_place(|| {
        quire.accept(case.id, &choice()).unwrap();
        // As from a second folder in the same repository.
        case.git("git commit -q --allow-empty -m second");
        let second = commit(case.head());
        quire.committed(&quire.task(case.id).unwrap(), Some(0), 0, second).unwrap();
        let git = quire.undo(case.id, &Undo::default()).unwrap().git;
        assert!(matches!(git[..], [GitRow::TakenBack(_), GitRow::TakenBack(_)]), "{git:?}");
        assert_eq!((case.log().as_str(), owed(&quire)), ("first a.txt", 0));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_looked_at_keeps_nobody_from_anything() {
    let (case, quire) = Case::ready().await;
    tokio::task::block_in_place(|| {
        die(&quire, case.id, "written");
        let dir = quire.home().join(DIR);
        drop(quire);
        fs::create_dir(dir.join("1-1")).unwrap();
        fs::write(dir.join("7-0"), "of no task").unwrap();
        fs::rename(dir.join("1-0"), dir.join("kept")).unwrap();
        fs::create_dir(dir.join("1-0")).unwrap();
        let quire = open(case.temp.path());
        let mut told: Vec<_> = quire.paid().iter().flat_map(|p| &p.rows).collect();
        told.retain(|row| matches!(row, GitRow::Missing { task: 1, .. }));
        assert_eq!(told.len(), 2, "{:?}", quire.paid());
        assert!(!dir.join("7-0").exists());
        fs::remove_dir(dir.join("1-0")).unwrap();
        fs::rename(dir.join("kept"), dir.join("1-0")).unwrap();
        let quire = open(case.temp.path());
        let rows: Vec<_> = quire.paid().iter().flat_map(|p| &p.rows).collect();
        assert!(
            rows.iter().any(|row| matches!(row, GitRow::Committed { .. })),
            "the others are paid: {rows:?}"
        );
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_accept_wrote_is_in_the_commit_of_the_rest() {
    // What the person did meanwhile to what was accepted first; what is committed.
    for (meanwhile, expected) in [("true", "a.txt\nb.txt"), ("echo mine > a.txt", "b.txt")] {
        let (case, quire) = Case::ready().await;
        tokio::task::block_in_place(|| {
            let first = Choice { paths: vec!["a.txt".into()], ..Choice::default() };
            quire.accept(case.id, &first).unwrap();
            let names = "git show --format= --name-only HEAD";
            let rest = match meanwhile {
                "true" => choice(),
                _ => Choice { paths: vec!["b.txt".into()], ..choice() },
            };
            case.git(meanwhile);
            let git = quire.accept(case.id, &rest).unwrap().git;
            assert!(matches!(git[..], [GitRow::Committed { .. }]), "{git:?}");
            assert_eq!(case.git(names), expected, "{meanwhile}");
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_is_written_down_where_it_is_found_though_another_process_just_removed_its_name() {
    let (case, quire) = Case::ready().await;
    tokio::task::block_in_place(|| {
        let path = quire.home().join(DIR).join("1-0");
        fs::create_dir(quire.home().join(DIR)).unwrap();
        let other = locked(&path, FlockOperation::LockExclusive).unwrap().unwrap();
        let at = format!(":{} ", std::os::unix::fs::MetadataExt::ino(&other.metadata().unwrap()));
        let is_waited_for = || {
            let locks = fs::read_to_string("/proc/locks").unwrap();
            locks.lines().any(|lock| lock.contains("->") && lock.contains(&at))
        };
        std::thread::scope(|scope| {
            let ours = scope.spawn(|| {
                let proposal = quire.propose(case.id, &choice()).unwrap();
                let built = proposal.built(&quire.plan(&proposal).unwrap());
                let debt = quire.owe(&proposal, 0, Some(&built)).unwrap().unwrap();
                assert!(is_at(&debt.file, &path).unwrap());
                assert_eq!(serde_json::from_slice::<Debt>(&fs::read(&path).unwrap()).unwrap().built, built);
            });
            while !is_waited_for() && !ours.is_finished() {
                std::thread::yield_now();
            }
            fs::remove_file(&path).unwrap();
            drop(other);
            ours.join().unwrap();
        });
    });
}

/// An undo that came between the files and their commit left the commit, of files that were gone again.
#[tokio::test(flavor = "multi_thread")]
async fn an_undo_waits_for_the_commit_of_its_accept() {
    let (case, quire) = Case::ready().await;
    tokio::task::block_in_place(|| {
        let first = case.head();
        let proposal = quire.propose(case.id, &choice()).unwrap();
        let plan = quire.plan(&proposal).unwrap();
        let built = proposal.built(&plan);
        let debt = quire.owe(&proposal, 0, Some(&built)).unwrap();
        let begin = Event::Accepting {
            accept: 0,
            snapshot: proposal.version.snapshot,
            only: vec![],
            ignored: None,
            taken: None,
            merged: None,
            proofs: vec![],
            programs: false,
        };
        quire.begin_writing(&proposal.task, begin).unwrap();
        quire.carry(&proposal.task, 0, false, plan).unwrap();
        let other = open(case.temp.path());
        let rows = std::thread::scope(|scope| {
            let undoing = scope.spawn(|| other.undo(case.id, &Undo::default()).unwrap());
            let (rows, is_committed) = quire.accepted_in_git(&proposal, 0, Some(&built));
            assert!(is_committed && matches!(rows[..], [GitRow::Committed { .. }]), "{rows:?}");
            debt.unwrap().pay_off();
            undoing.join().unwrap().git
        });
        assert!(matches!(rows[..], [GitRow::TakenBack(_)]), "{rows:?}");
        assert_eq!((case.head(), owed(&quire)), (first, 0));
        assert_eq!(case.git("git status --porcelain"), "");
    });
}
