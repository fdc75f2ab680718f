//! Clearing away: what goes, what stays, death at every moment, and others at work meanwhile.

use super::*;
use crate::settings::Surroundings;
use crate::testing::{begun, begun_beside, present, tell};
use quire_core::beside::{Beside, Shown};
use quire_core::event::{Trouble, Why};
use quire_core::{Entry, Event, Hash, Node, Phase, RelPath, Snapshot};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

struct Case {
    temp: tempfile::TempDir,
    quire: Quire,
    folder: PathBuf,
}

const DAY: Duration = Duration::from_secs(24 * 3600);

fn case() -> Case {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let quire = open(temp.path());
    Case { temp, quire, folder }
}

fn open(temp: &Path) -> Quire {
    let env = HashMap::from([("QUIRE_HOME".to_owned(), temp.join("home").to_str().unwrap().to_owned())]);
    Quire::open(&Surroundings { env: env.into_iter().collect(), cwd: temp.to_owned() }).unwrap()
}

/// A task with a version that holds one file, and what it left on the disk.
struct Made {
    id: u64,
    content: Hash,
    snapshot: Hash,
}

impl Case {
    fn put(&self, content: &str) -> Hash {
        self.quire.store().blobs().put(&[content.as_bytes()]).unwrap()[0]
    }

    async fn ready(&self, name: &str) -> Made {
        // Each stands on a copy of its own.
        fs::write(self.folder.join("of"), name).unwrap();
        let id = begun(self.quire.store(), self.quire.home(), &self.folder).await;
        let content = self.put(&format!("content of {name}"));
        let node = Node::File { blob: content, bytes: 1, mode: 0o644 };
        let entry = Entry { folder: 0, path: RelPath::new("a").unwrap(), was: None, now: Some(node) };
        let snapshot = self.put(std::str::from_utf8(&Snapshot { entries: vec![entry] }.to_blob()).unwrap());
        present(self.quire.store(), id, snapshot).await;
        let dir = self.quire.place(id).dir().to_owned();
        for left in ["layers/0/folder-0/a", "out/1"] {
            fs::create_dir_all(dir.join(left).parent().unwrap()).unwrap();
            fs::write(dir.join(left), name).unwrap();
        }
        Made { id, content, snapshot }
    }

    /// Returns the content that an undo of it would bring back.
    async fn accepted(&self, made: &Made) -> Hash {
        let old = self.put(&format!("what {} replaced", made.id));
        let journal = format!(r#"{{"operations":[{{"old":[{{"what":{{"file":{{"blob":"{old}"}}}}}}]}}]}}"#);
        fs::write(self.quire.place(made.id).dir().join("accept-0.after"), journal).unwrap();
        let begun = Event::Accepting {
            accept: 0,
            snapshot: made.snapshot,
            only: vec![],
            ignored: None,
            taken: None,
            merged: None,
            proofs: vec![],
            programs: false,
        };
        tell(self.quire.store(), made.id, vec![begun, Event::Accepted { accept: 0 }]).await;
        old
    }

    fn has(&self, hash: &Hash) -> bool {
        self.quire.store().blobs().get(hash).is_ok()
    }

    /// Returns whether all that a task left is there.
    fn is_there(&self, made: &Made) -> bool {
        let task = self.quire.task(made.id).unwrap();
        let base = &task.bases.as_ref().unwrap()[0];
        let copy = freeze::open(self.quire.home(), base.id, base.delta);
        let found = [
            self.quire.place(made.id).layer(0).exists(),
            self.has(&made.content),
            self.has(&made.snapshot),
            copy.is_ok_and(|copy| copy.lowers.iter().all(|layer| layer.exists())),
        ];
        assert!(found.iter().all(|there| *there == found[0]), "all or nothing: {found:?}");
        found[0]
    }

    fn clear_in(&self, days: u32) -> Cleared {
        let now = SystemTime::now() + days * DAY;
        let would = self.quire.clear_at(now, true, &mut |what| panic!("{what}")).unwrap();
        let cleared = self.quire.clear_at(now, false, &mut |_| {}).unwrap();
        assert_eq!((&would.tasks, would.contents), (&cleared.tasks, cleared.contents), "as it had said");
        cleared
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_past_its_age_goes_and_work_that_was_not_accepted_stays() {
    let case = case();
    let ready = case.ready("ready").await;
    let dropped = case.ready("dropped").await;
    tell(case.quire.store(), dropped.id, vec![Event::Discarded {}]).await;
    let accepted = case.ready("accepted").await;
    let old = case.accepted(&accepted).await;
    let revised = case.ready("revised").await;
    case.accepted(&revised).await;
    let lost = case.put("named by nothing");
    // Rows are written with the next events.
    tell(case.quire.store(), revised.id, vec![Event::Said { words: "again".into() }]).await;

    let cleared = tokio::task::block_in_place(|| case.clear_in(0));
    assert_eq!((cleared.tasks, cleared.contents), (vec![dropped.id], 0), "contents have a day's grace");
    assert!([&ready, &accepted, &revised].iter().all(|made| case.is_there(made)));
    assert!(case.has(&lost));

    let cleared = tokio::task::block_in_place(|| case.clear_in(2));
    assert!(cleared.tasks.is_empty());
    assert!([&ready, &accepted, &revised].iter().all(|made| case.is_there(made)) && case.has(&old));
    assert!(!case.has(&lost) && !case.has(&dropped.content));

    let cleared = tokio::task::block_in_place(|| case.clear_in(31));
    assert_eq!(cleared.tasks, [accepted.id]);
    assert!(case.is_there(&ready) && case.is_there(&revised));
    assert!(!case.has(&accepted.content) && !case.has(&old) && !case.quire.place(accepted.id).dir().exists());
    let task = case.quire.task(accepted.id).unwrap();
    assert!(task.cleared && task.phase == Phase::Accepted);
    for refused in [
        case.quire.review(accepted.id).map(drop),
        case.quire.undo(accepted.id, &crate::Undo::default()).map(drop),
        case.quire.say(accepted.id, Some("more"), vec![]),
        case.quire.accept(accepted.id, &crate::Choice::default()).map(drop),
        case.quire.discard(accepted.id),
    ] {
        let refused = tokio::task::block_in_place(|| refused).unwrap_err().to_string();
        assert!(refused.contains("cleared away"), "{refused}");
    }

    let again = tokio::task::block_in_place(|| case.clear_in(31));
    assert_eq!(again, Cleared::default(), "nothing is left to do");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_no_task_stands_on_goes_when_it_was_not_asked_for_in_a_while() {
    let case = case();
    let made = case.ready("one").await;
    let other = case.temp.path().join("other");
    fs::create_dir(&other).unwrap();
    let copy = freeze::freeze(case.quire.home(), &other, &|_, _| {}).unwrap();
    assert_eq!(tokio::task::block_in_place(|| case.clear_in(29)).copies, 0);
    assert!(copy.lowers[0].exists());
    assert_eq!(tokio::task::block_in_place(|| case.clear_in(31)).copies, 1);
    assert!(!copy.lowers[0].exists() && case.is_there(&made));
    // It is made anew.
    let again = freeze::freeze(case.quire.home(), &other, &|_, _| {}).unwrap();
    assert!(again.lowers[0].exists());
    // One of a folder that is gone does not wait that long.
    fs::remove_dir(&other).unwrap();
    assert_eq!(tokio::task::block_in_place(|| case.clear_in(0)).copies, 0, "a day's grace");
    assert_eq!(tokio::task::block_in_place(|| case.clear_in(2)).copies, 1);
}

/// The narrowing of a copy goes with what it is of, too.
#[tokio::test(flavor = "multi_thread")]
async fn the_copy_of_a_repository_beside_a_folder_stays_while_a_task_stands_on_it() {
    let case = case();
    let at = case.temp.path().join("git");
    fs::create_dir(&at).unwrap();
    let copy = freeze::freeze_git(case.quire.home(), &at, u64::MAX, &|_, _| {}).unwrap();
    let parts = case.quire.home().join("folders").join(copy.id.to_string()).join("part");
    for name in ["0-of-this", "7-of-none"] {
        fs::create_dir_all(parts.join(name)).unwrap();
    }
    let shown = Shown { at, id: copy.id, delta: copy.delta, dir: None, prefix: None };
    let shown = Some(Beside::Shown(shown));
    begun_beside(case.quire.store(), case.quire.home(), &case.folder, shown).await;
    tokio::task::block_in_place(|| case.clear_in(31));
    assert!(copy.lowers[0].exists() && parts.join("0-of-this").exists() && !parts.join("7-of-none").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_that_only_old_copies_are_made_of_go() {
    let case = case();
    for n in 0..12 {
        fs::write(case.folder.join("of"), format!("version {n}")).unwrap();
        freeze::freeze(case.quire.home(), &case.folder, &|_, _| {}).unwrap();
    }
    let made = case.ready("stands on the last").await;
    let layers = || {
        let count = |kind| fs::read_dir(case.quire.home().join("folders/1").join(kind)).unwrap().count();
        (count("base"), count("delta"))
    };
    assert_eq!(layers(), (1, 12));
    tokio::task::block_in_place(|| case.clear_in(2));
    // The task's own layers stay, and the newest copy is a base again.
    assert_eq!(layers(), (2, 12));
    assert!(case.is_there(&made));
    tell(case.quire.store(), made.id, vec![Event::Discarded {}]).await;
    tokio::task::block_in_place(|| case.clear_in(2));
    assert_eq!(layers(), (1, 0));
    let copy = freeze::freeze(case.quire.home(), &case.folder, &|_, _| {}).unwrap();
    assert_eq!(fs::read_to_string(copy.lowers[0].join("of")).unwrap(), "stands on the last");
}

/// The child of the next test: clears, and dies by SIGKILL at the effect whose number it is given.
#[test]
#[ignore = "run by a_clearing_killed_anywhere_loses_nothing"]
fn clear_and_die() {
    let value = |name: &str| std::env::var(name).unwrap();
    let (at, seen): (usize, _) = (value("DIE_AT").parse().unwrap(), AtomicUsize::new(0));
    let quire = open(Path::new(&value("DIE_HOME")));
    let mut die = |_| {
        if seen.fetch_add(1, Ordering::Relaxed) == at {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        }
    };
    quire.clear_at(SystemTime::now() + 31 * DAY, false, &mut die).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clearing_killed_anywhere_loses_nothing() {
    let case = case();
    let ready = case.ready("ready").await;
    let mut aged = vec![];
    for n in 0..3 {
        let made = case.ready(&format!("aged {n}")).await;
        case.accepted(&made).await;
        aged.push(made);
    }
    // Most of the pack is to go, so that it is written anew.
    let lost: Vec<Hash> = (0..40).map(|n| case.put(&format!("{n}").repeat(4000))).collect();
    let mut deaths = 0;
    for at in 0.. {
        let ended = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "gc::tests::clear_and_die", "--ignored"])
            .env("DIE_AT", at.to_string())
            .env("DIE_HOME", case.temp.path())
            .output()
            .unwrap();
        assert!(case.is_there(&ready), "died at {at}");
        if ended.status.success() {
            break;
        }
        deaths += 1;
    }
    assert!(deaths > 5, "{deaths}");
    for made in &aged {
        assert!(case.quire.task(made.id).unwrap().cleared && !case.has(&made.content));
        assert!(!case.quire.place(made.id).dir().exists());
    }
    assert!(lost.iter().all(|hash| !case.has(hash)));
    assert!(fs::read_dir(case.quire.home().join("trash")).map_or(true, |mut left| left.next().is_none()));
    assert_eq!(tokio::task::block_in_place(|| case.clear_in(31)), Cleared::default());
}

/// Contents that nothing names, in packs that are old: whoever puts them again just before they are swept keeps them.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_while_others_clear_is_kept() {
    let case = case();
    let id = begun(case.quire.store(), case.quire.home(), &case.folder).await;
    let text = |n: usize| format!("content {n} ").repeat(n % 50 + 1);
    for round in 0..6 {
        let mine = |n: usize| text(round * 1000 + n);
        for n in 0..60 {
            case.put(&mine(n));
        }
        // Rows are written with the next events.
        let why = Why::Trouble(Trouble::Other, "rows".into());
        tell(case.quire.store(), id, vec![Event::Paused { why }, Event::Resumed { model: None }]).await;
        for pack in fs::read_dir(case.quire.home().join("blobs")).unwrap() {
            let pack = fs::File::options().write(true).open(pack.unwrap().path()).unwrap();
            pack.set_modified(SystemTime::now() - 3 * DAY).unwrap();
        }
        let done = AtomicBool::new(false);
        let writer = async {
            for n in (0..60).step_by(7) {
                let hash = case.put(&mine(n));
                let why = Why::Trouble(Trouble::Other, hash.to_string());
                let named = vec![Event::Paused { why }, Event::Resumed { model: None }];
                tell(case.quire.store(), id, named).await;
                assert!(case.has(&hash), "{round} {n}");
            }
            done.store(true, Ordering::Relaxed);
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    case.quire.clear(false).unwrap();
                }
            });
            let _stop = Stop(&done);
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(writer));
        });
        let kept = (0..60).step_by(7).all(|n| case.has(&Hash::of(mine(n).as_bytes())));
        assert!(kept, "round {round}");
    }
}

/// Stops the other thread when a test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_task_just_began_in_stays() {
    let case = case();
    let made = case.ready("parent").await;
    case.accepted(&made).await;
    let layer = case.quire.place(made.id).layer(0);
    tokio::task::block_in_place(|| {
        let mut begun = None;
        let now = SystemTime::now() + 31 * DAY;
        let cleared = case.quire.clear_at(now, false, &mut |what| {
            if what == "forget a task" {
                begun = Some(case.quire.fork(made.id, crate::rewind::Point::Version(1)).unwrap().task);
            }
        });
        assert_eq!(cleared.unwrap().tasks, [] as [u64; 0]);
        assert!(begun.is_some() && case.quire.task(made.id).unwrap().cleared);
        assert!(layer.exists());
    });
}
