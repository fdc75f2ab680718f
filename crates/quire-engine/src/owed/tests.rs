//! An accept that commits, dead at each moment between its files and the end of its commit; and what stood in the way since.

use super::*;
use crate::decide::Choice;
use crate::settings::Surroundings;
use crate::testing::{begun, present};
use quire_core::{Entry, Event, Node, RelPath};
use std::path::Path;
use std::process::Command;

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
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("folder");
        fs::create_dir(&folder).unwrap();
        let quire = open(temp.path());
        let case = Case { temp, folder, id: 1 };
        case.git("git init -qb main; git config user.name Ada; git config user.email ada@example.org; echo a > a.txt; git add .; git commit -qm first");
        assert_eq!(begun(quire.store(), quire.home(), &case.folder).await, case.id);
        let blobs = quire.store().blobs().put(&[b"a\n", b"A\n", b"B\n"]).unwrap();
        let node = |n: usize| Some(Node::File { blob: blobs[n], bytes: 2, mode: 0o644 });
        let entry = |path: &str, was, now| Entry { folder: 0, path: RelPath::new(path).unwrap(), was, now };
        let entries = vec![entry("a.txt", node(0), node(1)), entry("b.txt", None, node(2))];
        let snapshot = quire.store().blobs().put(&[&Snapshot { entries }.to_blob()]).unwrap()[0];
        present(quire.store(), case.id, snapshot).await;
        (case, quire)
    }

    fn git(&self, script: &str) -> String {
        let mut command = Command::new("sh");
        command.args(["-ec", script]).current_dir(&self.folder);
        command.env("HOME", self.temp.path()).env("GIT_CONFIG_GLOBAL", "/dev/null");
        let ended = command.output().unwrap();
        assert!(ended.status.success(), "{script}: {}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8(ended.stdout).unwrap().trim_end().to_owned()
    }

    fn log(&self) -> String {
        self.git("git log --format=%s --name-only | grep -v '^$' | tr '\\n' ' '")
    }
}

fn choice() -> Choice {
    Choice { commit: true, ..Choice::default() }
}

/// Does what [`Quire::accept`] does, up to a moment.
fn die(quire: &Quire, id: u64, at: &str) {
    let proposal = quire.propose(id, &choice()).unwrap();
    let plan = quire.plan(&proposal).unwrap();
    let built = proposal.built(plan.merged());
    let owed = quire.owe(&proposal, 0, Some(&built)).unwrap();
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
    let files = [("a.txt", b"A\n"), ("b.txt", b"B\n")];
    let files = files.map(|(path, content)| {
        (RelPath::new(path).unwrap(), Some((crate::git::Mode::Plain, content.to_vec())))
    });
    let message = crate::in_git::message(&proposal.task, &proposal.version);
    repo.commit(&files, &message, None, &quire.home().join("scratch")).unwrap().made.unwrap();
    if at == "committed" {
        return;
    }
    assert_eq!(at, "logged");
    let made = repo.made_last(&message).unwrap().unwrap();
    quire.committed(&proposal.task, Some(0), 0, made).unwrap();
    drop(owed);
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
            assert_eq!(fs::read_dir(quire.home().join(DIR)).unwrap().count(), 0, "{at}: nothing is owed");
            assert!(open(case.temp.path()).paid().is_empty(), "{at}: and nothing is told again");
            if expected.contains("b.txt") {
                assert_eq!(case.git("git status --porcelain"), "", "{at}");
                // It is the accept's own, so its undo takes it back.
                let rows = quire.undo(case.id).unwrap().git;
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
    for (meanwhile, why, after) in [
        ("git checkout -qb other", "HEAD has moved since", "git checkout -q main"),
        ("echo x > x; git add x; git commit -qm mine", "HEAD has moved since", "true"),
        ("git rev-parse HEAD > .git/MERGE_HEAD", "a merge is under way", "rm .git/MERGE_HEAD"),
    ] {
        let (case, quire) = Case::ready().await;
        tokio::task::block_in_place(|| die(&quire, case.id, "written"));
        drop(quire);
        case.git(meanwhile);
        tokio::task::block_in_place(|| {
            let before = case.log();
            let quire = open(case.temp.path());
            let rows = &quire.paid()[0].rows;
            let told = rows[0].text();
            assert!(told.contains(why) && told.ends_with("quire accept 1 --commit"), "{told}");
            assert_eq!(case.log(), before, "{meanwhile}");
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
        });
    }
}
