//! Accept and undo against real folders: every kind of change, every kind of drift, and death at every moment.

mod back;
mod disks;
mod hostile;
mod lines;
mod many;
mod person;

use super::*;
use crate::freeze::freeze;
use crate::snapshot::{Seen, snapshot};
use crate::store::Store;
use crate::testing::{edit, edits, in_private_mounts, overlay, tree_of};
use proptest::prelude::*;
use quire_core::change::LinkTarget;
use quire_core::event::Part;
use quire_core::{Hash, Node, Snapshot};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

struct Case {
    temp: tempfile::TempDir,
    desk: Desk,
    /// What the person has, and what the agent made of a copy of it.
    folder: PathBuf,
    wanted: PathBuf,
    store: Store,
}

fn case() -> Case {
    at(tempfile::tempdir().unwrap())
}

fn at(temp: tempfile::TempDir) -> Case {
    let home = temp.path().join("home");
    let desk = Desk { dir: home.join("tasks/1"), home };
    fs::create_dir_all(&desk.dir).unwrap();
    let (folder, wanted) = (temp.path().join("folder"), temp.path().join("wanted"));
    fs::create_dir_all(&folder).unwrap();
    let store = Store::open(&desk.home).unwrap();
    Case { desk, folder, wanted, store, temp }
}

const NONE: Sides<'_> = Sides { base: &|_, _| Ok(None), over: &|_, _| false, where_gone: false };

type Make = fn(&Path);

fn put(dir: &Path, path: impl AsRef<OsStr>, content: impl AsRef<[u8]>) {
    let path = dir.join(path.as_ref());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn mode(dir: &Path, path: &str, mode: u32) {
    fs::set_permissions(dir.join(path), fs::Permissions::from_mode(mode)).unwrap();
}

fn node(path: &Path, blobs: &Blobs) -> Option<Node> {
    let meta = fs::symlink_metadata(path).ok()?;
    let mode = meta.permissions().mode() & crate::snapshot::TRAVELS;
    Some(if meta.is_symlink() {
        Node::Link { target: LinkTarget(fs::read_link(path).unwrap().as_os_str().as_bytes().to_vec()) }
    } else if meta.is_dir() {
        Node::Dir { mode }
    } else {
        let (blob, bytes) = blobs.put_file(&File::open(path).unwrap()).unwrap();
        Node::File { blob, bytes, mode }
    })
}

impl Case {
    fn prepare(&self, setup: Make, change: Make) -> Vec<Entry> {
        setup(&self.folder);
        assert!(Command::new("cp").arg("-a").args([&self.folder, &self.wanted]).status().unwrap().success());
        change(&self.wanted);
        self.entries()
    }

    fn entries(&self) -> Vec<Entry> {
        let (old, new) = (tree_of(&self.folder), tree_of(&self.wanted));
        let paths: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let entry = |shown: &&String| {
            let raw = quire_core::bytes::unescape(shown).unwrap();
            // Not through a link that stands where the other tree has a folder.
            let node = |dir: &Path, tree: &BTreeMap<String, String>| {
                tree.get(*shown).and_then(|_| node(&dir.join(OsStr::from_bytes(&raw)), self.store.blobs()))
            };
            Entry {
                folder: 0,
                path: RelPath::new(raw.clone()).unwrap(),
                was: node(&self.folder, &old),
                now: node(&self.wanted, &new),
            }
        };
        paths.iter().map(entry).filter(|e| e.was != e.now).collect()
    }

    fn plan(&self, number: u32, entries: &[Entry]) -> Result<Plan, AcceptError> {
        let folders = std::slice::from_ref(&self.folder);
        plan(&self.desk, number, folders, entries, &NONE, self.store.blobs())
    }

    fn accept(&self, number: u32, entries: &[Entry]) -> Result<Report, AcceptError> {
        carry_out(self.plan(number, entries)?, self.store.blobs(), &mut |_| {})
    }

    fn undo(&self, number: u32) -> Result<Report, AcceptError> {
        carry_out(plan_undo(&self.desk, number, self.store.blobs())?, self.store.blobs(), &mut |_| {})
    }
}

const CHANGES: &[(&str, Make, Make)] = &[
    ("nothing", |_| {}, |_| {}),
    ("new file", |_| {}, |f| put(f, "new", "n")),
    ("changed", |f| put(f, "a", "old\r\nold"), |f| put(f, "a", "new\r\nnew")),
    (
        "changes near and far",
        |f| put(f, "a", (1..60).map(|n| format!("{n}\n")).collect::<String>()),
        |f| {
            let near = (1..60).filter(|n| ![1, 9, 30].contains(n)).map(|n| match n {
                4 | 59 => format!("{n}!\n"),
                12 => "12\nand more\n".to_owned(),
                n => format!("{n}\n"),
            });
            put(f, "a", near.collect::<String>());
        },
    ),
    (
        "renamed",
        |f| put(f, "a", "moves\n"),
        |f| {
            fs::create_dir(f.join("d")).unwrap();
            fs::rename(f.join("a"), f.join("d/b")).unwrap();
        },
    ),
    ("deleted", |f| put(f, "a", "a"), |f| fs::remove_file(f.join("a")).unwrap()),
    (
        "names that are not UTF-8",
        |f| put(f, OsStr::from_bytes(b"\xff\n"), "a"),
        |f| {
            put(f, OsStr::from_bytes(b"\xff\n"), "b");
            put(f, OsStr::from_bytes(b"d\xfe/\x1b[2J"), "c");
        },
    ),
    ("executable", |f| put(f, "run", "x"), |f| mode(f, "run", 0o755)),
    (
        "no text",
        |f| {
            let long: Vec<u8> = (0..200_000u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
            ["changed", "run", "gone", "moves", "emptied"].iter().for_each(|name| put(f, name, &long));
        },
        |f| {
            put(f, "changed", [0, 255, 10]);
            put(f, "run", "\0run");
            mode(f, "run", 0o755);
            fs::remove_file(f.join("gone")).unwrap();
            fs::rename(f.join("moves"), f.join("moved")).unwrap();
            put(f, "emptied", "");
            put(f, "new", vec![0; 70_000]);
        },
    ),
    (
        "changed and executable",
        |f| put(f, "run", "x"),
        |f| {
            put(f, "run", "y");
            mode(f, "run", 0o755);
        },
    ),
    (
        "a mode that does not travel stays with its file",
        |f| {
            put(f, "a", "x");
            mode(f, "a", 0o666);
        },
        |f| put(f, "a", "y"),
    ),
    ("empty folder", |_| {}, |f| fs::create_dir(f.join("e")).unwrap()),
    ("empty folder gone", |f| fs::create_dir(f.join("e")).unwrap(), |f| fs::remove_dir(f.join("e")).unwrap()),
    ("mode of a folder", |f| put(f, "d/x", "x"), |f| mode(f, "d", 0o700)),
    (
        "folder closed with a change in it",
        |f| put(f, "d/x", "x"),
        |f| {
            put(f, "d/x", "y");
            mode(f, "d", 0o555);
        },
    ),
    (
        "new tree",
        |_| {},
        |f| {
            put(f, "t/u/v/w", "deep");
            put(f, "t/a", "a");
            mode(f, "t/u", 0o555);
            symlink("../..", f.join("t/l")).unwrap();
        },
    ),
    (
        "tree gone",
        |f| {
            put(f, "t/u/v/w", "deep");
            put(f, "t/a", "a");
            put(f, "t-x", "beside");
            symlink("a", f.join("t/l")).unwrap();
        },
        |f| fs::remove_dir_all(f.join("t")).unwrap(),
    ),
    (
        "folder becomes file",
        |f| {
            put(f, "d/x", "x");
            put(f, "d/e/y", "y");
            put(f, "d-z", "z");
        },
        |f| {
            fs::remove_dir_all(f.join("d")).unwrap();
            put(f, "d", "file");
        },
    ),
    (
        "file becomes folder",
        |f| {
            put(f, "a", "file");
            put(f, "a.b", "beside");
        },
        |f| {
            fs::remove_file(f.join("a")).unwrap();
            put(f, "a/x/y", "in");
        },
    ),
    (
        "link changed",
        |f| symlink("one", f.join("l")).unwrap(),
        |f| {
            fs::remove_file(f.join("l")).unwrap();
            symlink("/etc/passwd", f.join("l")).unwrap();
        },
    ),
    (
        "link to a folder becomes a folder",
        |f| {
            put(f, "d/x", "x");
            symlink("d", f.join("l")).unwrap();
        },
        |f| {
            fs::remove_file(f.join("l")).unwrap();
            put(f, "l/x", "other");
        },
    ),
    (
        "folder becomes link",
        |f| put(f, "d/x", "x"),
        |f| {
            fs::remove_dir_all(f.join("d")).unwrap();
            symlink("/tmp", f.join("d")).unwrap();
        },
    ),
    (
        "many at once",
        |f| (0..40).for_each(|n| put(f, format!("d{}/f{n}", n % 5), format!("{n}"))),
        |f| {
            fs::remove_dir_all(f.join("d3")).unwrap();
            (0..40).step_by(4).for_each(|n| put(f, format!("d{}/f{n}", n % 5), "changed"));
            put(f, "d1/new/er", "x");
        },
    ),
];

#[test]
fn accept_makes_it_so_and_undo_takes_it_back() {
    for (what, setup, change) in CHANGES {
        let case = case();
        let entries = case.prepare(*setup, *change);
        let before = tree_of(&case.folder);
        let report = case.accept(1, &entries).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(tree_of(&case.folder), tree_of(&case.wanted), "{what}");
        assert_eq!(report.written.len(), entries.len(), "{what}");
        assert_eq!(case.accept(2, &entries).unwrap().written, [], "{what}: it is so already");
        let undone = case.undo(1).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(undone.written.len(), entries.len(), "{what}");
        assert_eq!(tree_of(&case.folder), before, "{what}");
    }
}

/// The text form of every change is what `git apply` takes, and it makes the same of it (git knows no empty folders, and of
/// modes only the executable bit).
#[test]
fn git_applies_the_text_form() {
    for (what, setup, change) in CHANGES {
        let case = case();
        let entries = case.prepare(*setup, *change);
        let get = |dir: &Path, e: &Entry, node: &Option<Node>| match node {
            Some(Node::File { .. }) => fs::read(dir.join(OsStr::from_bytes(e.path.as_bytes()))).unwrap(),
            _ => vec![],
        };
        let one = |e: &Entry| {
            let (was, now) = (get(&case.folder, e, &e.was), get(&case.wanted, e, &e.now));
            quire_core::diff::patch("", e, &was, &now, &crate::git::name)
        };
        let patch = case.temp.path().join("patch");
        fs::write(&patch, entries.iter().flat_map(one).collect::<Vec<u8>>()).unwrap();
        if fs::read(&patch).unwrap().is_empty() {
            continue;
        }
        let git = Command::new("git")
            .args(["apply", "--whitespace=nowarn"])
            .arg(&patch)
            .current_dir(&case.folder)
            .env("GIT_CEILING_DIRECTORIES", case.temp.path())
            .output()
            .unwrap();
        assert!(git.status.success(), "{what}: {}", String::from_utf8_lossy(&git.stderr));
        let kept = |dir: &Path| -> BTreeMap<String, String> {
            let files = tree_of(dir).into_iter().filter(|(_, what)| !what.starts_with("dir"));
            files.map(|(path, what)| (path, what.replace("file 666", "file 644"))).collect()
        };
        assert_eq!(kept(&case.folder), kept(&case.wanted), "{what}");
    }
}

/// So does `patch -p1`, for what changes in files with plain names.
#[test]
fn patch_applies_the_text_form() {
    for name in ["changed", "changes near and far", "new file", "renamed"] {
        let (_, setup, change) = CHANGES.iter().find(|(what, ..)| *what == name).unwrap();
        let case = case();
        let entries = case.prepare(*setup, *change);
        let get = |dir: &Path, e: &Entry| {
            fs::read(dir.join(OsStr::from_bytes(e.path.as_bytes()))).unwrap_or_default()
        };
        let one = |e: &Entry| quire_core::diff::unified("", e, &get(&case.folder, e), &get(&case.wanted, e));
        let diff = case.temp.path().join("diff");
        fs::write(&diff, entries.iter().flat_map(one).collect::<Vec<u8>>()).unwrap();
        let patch = Command::new("patch")
            .args(["-p1", "--binary", "--fuzz=0", "-i"])
            .arg(&diff)
            .current_dir(&case.folder)
            .output()
            .unwrap();
        assert!(patch.status.success(), "{name}: {}", String::from_utf8_lossy(&patch.stdout));
        assert_eq!(tree_of(&case.folder), tree_of(&case.wanted), "{name}");
    }
}

#[test]
fn j16_what_changed_in_the_folder_meanwhile_is_told_and_nothing_is_written() {
    use Drifted::*;
    let setup: Make = |f| {
        put(f, "a", "a");
        put(f, "gone", "g");
        put(f, "d/x", "x");
        put(f, "p/q", "q");
    };
    let change: Make = |f| {
        put(f, "a", "agent's");
        fs::remove_file(f.join("gone")).unwrap();
        fs::remove_dir_all(f.join("d")).unwrap();
        put(f, "p/q", "agent's");
        put(f, "new", "agent's");
    };
    type Row = (&'static str, Make, &'static [(&'static str, Drifted)]);
    let rows: &[Row] = &[
        ("content", |f| put(f, "a", "person's"), &[("a", Changed)]),
        ("mode", |f| mode(f, "a", 0o600), &[]),
        ("deleted", |f| fs::remove_file(f.join("a")).unwrap(), &[("a", Gone)]),
        ("deleted by both", |f| fs::remove_file(f.join("gone")).unwrap(), &[]),
        ("the same by both", |f| put(f, "new", "agent's"), &[]),
        ("made by both", |f| put(f, "new", "person's"), &[("new", Appeared)]),
        ("more in a deleted folder", |f| put(f, "d/mine", "m"), &[("d/mine", Appeared)]),
        ("changed in a deleted folder", |f| put(f, "d/x", "m"), &[("d/x", Changed)]),
        (
            "link in place of a folder",
            |f| {
                fs::rename(f.join("p"), f.join("elsewhere")).unwrap();
                symlink("elsewhere", f.join("p")).unwrap();
            },
            &[("p/q", Gone)],
        ),
        (
            "folder in place of a file",
            |f| {
                fs::remove_file(f.join("a")).unwrap();
                fs::create_dir(f.join("a")).unwrap();
            },
            &[("a", Changed)],
        ),
        (
            "two at once",
            |f| {
                put(f, "a", "person's");
                put(f, "new", "person's");
            },
            &[("a", Changed), ("new", Appeared)],
        ),
        ("elsewhere", |f| put(f, "other", "person's"), &[]),
    ];
    for (what, person, expect) in rows {
        let case = case();
        let entries = case.prepare(setup, change);
        person(&case.folder);
        let before = tree_of(&case.folder);
        let drift = match case.accept(1, &entries) {
            Err(AcceptError::Drift(drift)) => drift,
            Ok(_) => vec![],
            Err(e) => panic!("{what}: {e}"),
        };
        let shown: Vec<_> = drift.iter().map(|d| (d.path.to_string(), d.what)).collect();
        let expect: Vec<_> = expect.iter().map(|(p, w)| (p.to_string(), *w)).collect();
        assert_eq!(shown, expect, "{what}");
        if !drift.is_empty() {
            assert_eq!(tree_of(&case.folder), before, "{what}");
        }
    }
}

/// A person saves `a` (by rename, as editors do) before each effect in turn: their bytes are never lost, and either all of
/// the version is in or nothing.
#[test]
fn j19_a_save_in_the_midst_of_it_is_never_lost() {
    let setup: Make = |f| {
        put(f, "a", "a");
        put(f, "b", "b");
        put(f, "d/x", "x");
    };
    let change: Make = |f| {
        put(f, "a", "agent's");
        put(f, "b", "agent's");
        put(f, "n/n", "agent's");
        fs::remove_dir_all(f.join("d")).unwrap();
    };
    for moment in 0.. {
        let case = case();
        let entries = case.prepare(setup, change);
        let (mut before, mut after) = (tree_of(&case.folder), tree_of(&case.wanted));
        let mut seen = 0;
        let plan = case.plan(1, &entries).unwrap();
        let done = carry_out(plan, case.store.blobs(), &mut |_| {
            if seen == moment {
                put(&case.temp.path().join("saved"), "a", "person's");
                fs::rename(case.temp.path().join("saved/a"), case.folder.join("a")).unwrap();
            }
            seen += 1;
        });
        if moment >= seen {
            done.unwrap();
            break;
        }
        let is = tree_of(&case.folder);
        let persons = format!("file 644 {}", Hash::of(b"person's"));
        before.insert("a".into(), persons.clone());
        after.insert("a".into(), persons);
        match done {
            Ok(_) => assert_eq!(is, after, "moment {moment}"),
            Err(AcceptError::Drift(_)) => assert_eq!(is, before, "moment {moment}"),
            Err(AcceptError::Touched(left)) => {
                assert_eq!(left.len(), 1, "moment {moment}");
                let aside = is.keys().find(|path| path.contains(".quire-")).unwrap_or_else(|| {
                    panic!("moment {moment}: what was under a person's save is kept beside it")
                });
                assert_eq!(is[aside], format!("file 644 {}", Hash::of(b"a")));
                before.insert(aside.clone(), is[aside].clone());
                assert_eq!(is, before, "moment {moment}");
            }
            Err(e) => panic!("moment {moment}: {e}"),
        }
    }
}

/// The worst moment for it: somebody's file has changed places with the new one, and nobody has looked at it yet.
#[test]
fn a_save_that_was_swapped_aside_when_quire_died_comes_back() {
    let case = case();
    let entries = case.prepare(|f| put(f, "a", "a"), |f| put(f, "a", "agent's"));
    let plan = case.plan(1, &entries).unwrap();
    let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        carry_out(plan, case.store.blobs(), &mut |what| {
            if what == "move in" {
                put(&case.folder, "saved", "person's");
                fs::rename(case.folder.join("saved"), case.folder.join("a")).unwrap();
                let names = fs::read_dir(&case.folder).unwrap().map(|entry| entry.unwrap().path());
                let aside = names.into_iter().find(|path| *path != case.folder.join("a")).unwrap();
                fs::rename(case.folder.join("a"), case.folder.join("saved")).unwrap();
                fs::rename(&aside, case.folder.join("a")).unwrap();
                fs::rename(case.folder.join("saved"), &aside).unwrap();
                panic!("dies here");
            }
        })
    }));
    assert!(died.is_err());
    let ended = recover(&case.desk.home).unwrap();
    assert!(matches!(ended[0].outcome, Ok(Outcome::Before { .. })), "{ended:?}");
    assert_eq!(fs::read_to_string(case.folder.join("a")).unwrap(), "person's");
    assert_eq!(tree_of(&case.folder).len(), tree_of(&case.wanted).len(), "nothing is left beside it");
}

#[test]
fn what_is_planned_and_not_begun_is_left_to_whoever_planned_it() {
    let case = case();
    let entries = case.prepare(|f| put(f, "a", "a"), |f| put(f, "a", "agent's"));
    let ended = || outcome(&case.desk, std::slice::from_ref(&case.folder), Writing::Accept(1)).unwrap();
    let plan = case.plan(1, &entries).unwrap();
    assert_eq!(ended(), None);
    carry_out(plan, case.store.blobs(), &mut |what| {
        if what == "begin" {
            assert_eq!(ended(), None);
        }
    })
    .unwrap();
    assert!(matches!(ended(), Some(Outcome::After(_))));
    // Where nobody holds the folder, it was never begun.
    let never = outcome(&case.desk, std::slice::from_ref(&case.folder), Writing::Accept(2)).unwrap();
    assert_eq!(never, Some(Outcome::Before { left: vec![] }));
}

/// A lock whose file is removed while others wait for it must not let in two.
#[test]
fn who_waited_for_a_lock_has_the_one_of_that_name() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("lock");
    let take = || locked(&path, FlockOperation::LockExclusive).unwrap().expect("it waits");
    let first = take();
    let at = format!(":{} ", first.metadata().unwrap().ino());
    let is_waited_for = || {
        let locks = fs::read_to_string("/proc/locks").unwrap();
        locks.lines().any(|lock| lock.contains("->") && lock.contains(&at))
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let second = take();
            let named = fs::symlink_metadata(&path).expect("a lock has a name");
            assert_eq!(second.metadata().unwrap().ino(), named.ino());
        });
        while !is_waited_for() && !other.is_finished() {
            std::thread::yield_now();
        }
        let_go(&path, &first);
        other.join().unwrap();
    });
}

#[test]
fn a_folder_is_locked_by_one_and_no_lock_is_left() {
    let Case { desk, folder, temp: _temp, .. } = case();
    let folders = std::slice::from_ref(&folder);
    let left = || fs::read_dir(desk.home.join("locks")).unwrap().count();
    let held = Held::try_now(&desk.home, folders).unwrap().expect("nobody has it");
    assert!(Held::try_now(&desk.home, folders).unwrap().is_none(), "it is held");
    // What a killed process left has nobody that holds it.
    put(&desk.home, "locks/1-2", "");
    clear_locks(&desk.home).unwrap();
    assert_eq!(left(), 1, "the one that is held");
    assert!(Held::try_now(&desk.home, folders).unwrap().is_none(), "it is held still");
    drop(held);
    assert_eq!(left(), 0);
}

#[test]
fn parts_are_taken_with_the_folders_they_need() {
    let case = case();
    let entries = case.prepare(
        |f| {
            put(f, "a", "a");
            put(f, "d/x", "x");
        },
        |f| {
            put(f, "a", "A");
            put(f, "n/m/one", "1");
            put(f, "n/m/two", "2");
            fs::remove_dir_all(f.join("d")).unwrap();
        },
    );
    let snapshot = Snapshot { entries };
    let part_of = |path: &&str| Part { folder: 0, path: RelPath::new(*path).unwrap() };
    for (named, expect) in [
        (vec![], vec!["a", "d", "d/x", "n", "n/m", "n/m/one", "n/m/two"]),
        (vec!["a"], vec!["a"]),
        (vec!["n/m/two"], vec!["n", "n/m", "n/m/two"]),
        (vec!["d"], vec!["d", "d/x"]),
        (vec!["d/x", "a"], vec!["a", "d/x"]),
    ] {
        let only: Vec<Part> = named.iter().map(part_of).collect();
        let chosen = part::select(&snapshot, &only);
        assert_eq!(chosen.iter().map(|e| e.path.to_string()).collect::<Vec<_>>(), expect);
        let case_before = tree_of(&case.folder);
        case.accept(1, &chosen).unwrap();
        case.undo(1).unwrap();
        assert_eq!(tree_of(&case.folder), case_before);
        for stage in ["after", "before"] {
            let _ = fs::remove_file(case.desk.dir.join(format!("accept-1.{stage}")));
            let _ = fs::remove_file(case.desk.dir.join(format!("undo-1.{stage}")));
        }
    }
}

#[test]
fn a_second_version_follows_the_first() {
    let case = case();
    let first = case.prepare(
        |f| put(f, "a", "1"),
        |f| {
            put(f, "a", "2");
            put(f, "b", "b");
        },
    );
    case.accept(1, &first).unwrap();
    // The next version, from the same base: `a` once more, and no `b`.
    let three = Node::File { blob: Hash::of(b"3"), bytes: 1, mode: 0o644 };
    case.store.blobs().put(&[b"3"]).unwrap();
    let second = vec![Entry { now: Some(three), ..first[0].clone() }];
    let entries = following(second, true, &first);
    case.accept(2, &entries).unwrap();
    assert_eq!(tree_of(&case.folder), BTreeMap::from([("a".into(), format!("file 644 {}", Hash::of(b"3")))]));
    case.undo(2).unwrap();
    assert_eq!(tree_of(&case.folder), tree_of(&case.wanted));
    case.undo(1).unwrap();
    assert_eq!(fs::read(case.folder.join("a")).unwrap(), b"1");
}

#[test]
fn ignored_folders_keep_the_folder_that_holds_them() {
    let case = case();
    let entries = case.prepare(
        |f| {
            put(f, "app/x", "x");
            put(f, "app/lib/y", "y");
        },
        |f| fs::remove_dir_all(f.join("app")).unwrap(),
    );
    put(&case.folder, "app/node_modules/p", "live");
    let before = tree_of(&case.folder);
    let report = case.accept(1, &entries).unwrap();
    assert_eq!(report.kept, [(0, RelPath::new("app").unwrap())]);
    let left: Vec<String> = tree_of(&case.folder).into_keys().collect();
    assert_eq!(left, ["app", "app/node_modules", "app/node_modules/p"]);
    case.undo(1).unwrap();
    assert_eq!(tree_of(&case.folder), before);
}

#[test]
fn undo_says_what_changed_since() {
    let case = case();
    let entries = case.prepare(|f| put(f, "a", "a"), |f| put(f, "a", "b"));
    case.accept(1, &entries).unwrap();
    put(&case.folder, "a", "person's");
    let before = tree_of(&case.folder);
    assert!(matches!(case.undo(1), Err(AcceptError::Drift(d)) if d[0].what == Drifted::Changed));
    assert_eq!(tree_of(&case.folder), before);
    assert!(matches!(case.undo(7), Err(AcceptError::NotAccepted)));
}

#[test]
fn a_hundred_megabytes_and_several_folders() {
    let case = case();
    let other = case.temp.path().join("other");
    fs::create_dir(&other).unwrap();
    let big: Vec<u8> = (0..100u32 << 18).flat_map(u32::to_le_bytes).collect();
    let mut entries = case.prepare(|f| put(f, "big", "small"), |_| {});
    fs::write(case.wanted.join("big"), &big).unwrap();
    entries.extend(case.entries());
    let there = Node::File { blob: Hash::of(b"there"), bytes: 5, mode: 0o640 };
    case.store.blobs().put(&[b"there"]).unwrap();
    entries.push(Entry { folder: 1, path: RelPath::new("x").unwrap(), was: None, now: Some(there) });
    let (first, second) = (tree_of(&case.folder), tree_of(&other));
    let folders = [case.folder.clone(), other.clone()];
    let plan = plan(&case.desk, 1, &folders, &entries, &NONE, case.store.blobs()).unwrap();
    carry_out(plan, case.store.blobs(), &mut |_| {}).unwrap();
    assert_eq!(fs::metadata(case.folder.join("big")).unwrap().len(), 100 << 20);
    assert_eq!(fs::read(other.join("x")).unwrap(), b"there");
    case.undo(1).unwrap();
    assert_eq!((tree_of(&case.folder), tree_of(&other)), (first, second));
}

/// Needs root, to make a small disk.
#[test]
fn a_full_disk_leaves_everything_as_it_was() {
    for files in [1, 3, 40] {
        let case = case();
        in_private_mounts(|| {
            let flags = rustix::mount::MountFlags::empty();
            rustix::mount::mount("tmpfs", &case.folder, "tmpfs", flags, c"size=512k").unwrap();
            let entries = case.prepare(|f| put(f, "a", "a"), |_| {});
            assert!(entries.is_empty());
            for n in 0..files {
                put(&case.wanted, format!("d/f{n}"), vec![n as u8 + 1; (1 << 20) / files]);
            }
            fs::remove_file(case.wanted.join("a")).unwrap();
            let before = tree_of(&case.folder);
            let e = case.accept(1, &case.entries()).unwrap_err();
            assert!(matches!(e, AcceptError::Disk), "{e}");
            assert_eq!(tree_of(&case.folder), before, "{files} files");
            let ended = outcome(&case.desk, std::slice::from_ref(&case.folder), Writing::Accept(1)).unwrap();
            assert_eq!(ended, Some(Outcome::Before { left: vec![] }));
            rustix::mount::unmount(&case.folder, rustix::mount::UnmountFlags::empty()).unwrap();
        });
    }
}

/// The child of the kill tests: accepts (and undoes), and dies by SIGKILL before the effect whose number it is given.
#[test]
#[ignore = "run by j17_killed_at_any_moment_it_ends_exactly_before_or_exactly_after"]
fn accept_and_die() {
    let value = |name: &str| std::env::var(name).unwrap();
    let die_at: usize = value("DIE_AT").parse().unwrap();
    let mut seen = 0;
    let mut die = |_: &'static str| {
        if seen == die_at {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        }
        seen += 1;
    };
    let home = PathBuf::from(value("DIE_IN")).join("home");
    if value("DIE_WHAT") == "recover" {
        recover_watched(&home, &mut die).unwrap();
        return;
    }
    let case = Case {
        temp: tempfile::tempdir().unwrap(),
        desk: Desk { dir: home.join("tasks/1"), home: home.clone() },
        folder: PathBuf::from(value("DIE_IN")).join("folder"),
        wanted: PathBuf::from(value("DIE_IN")).join("wanted"),
        store: Store::open(&home).unwrap(),
    };
    let entries = case.entries();
    if value("DIE_WHAT") == "undo" {
        case.accept(1, &entries).unwrap();
        let plan = plan_undo(&case.desk, 1, case.store.blobs()).unwrap();
        carry_out(plan, case.store.blobs(), &mut die).unwrap();
    } else {
        carry_out(case.plan(1, &entries).unwrap(), case.store.blobs(), &mut die).unwrap();
    }
}

fn die(what: &str, dir: &Path, at: usize) -> bool {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "accept::tests::accept_and_die", "--ignored"])
        .env("DIE_AT", at.to_string())
        .env("DIE_WHAT", what)
        .env("DIE_IN", dir)
        .output()
        .unwrap();
    use std::os::unix::process::ExitStatusExt;
    let killed = output.status.signal() == Some(9);
    assert!(killed || output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    killed
}

/// A little of every operation.
fn to_die_in() -> Case {
    let case = case();
    case.prepare(
        |f| {
            put(f, "a", "a");
            put(f, "run", "r");
            put(f, "d/x", "x");
            put(f, "d/e/y", "y");
            put(f, "file", "f");
            put(f, "dir/in", "i");
            put(f, "gone", "g");
        },
        |f| {
            put(f, "a", "agent's");
            mode(f, "run", 0o755);
            fs::remove_dir_all(f.join("d")).unwrap();
            fs::remove_file(f.join("file")).unwrap();
            put(f, "file/now/dir", "x");
            fs::remove_dir_all(f.join("dir")).unwrap();
            symlink("a", f.join("dir")).unwrap();
            fs::remove_file(f.join("gone")).unwrap();
            put(f, "new/tree/leaf", "l");
        },
    );
    case
}

#[test]
fn j17_killed_at_any_moment_it_ends_exactly_before_or_exactly_after() {
    for (what, writing) in [("accept", Writing::Accept(1)), ("undo", Writing::Undo { accept: 1, turn: 0 })] {
        let (mut befores, mut afters) = (0, 0);
        for at in 0.. {
            let case = to_die_in();
            let (mut before, mut after) = (tree_of(&case.folder), tree_of(&case.wanted));
            if what == "undo" {
                std::mem::swap(&mut before, &mut after);
            }
            if !die(what, case.temp.path(), at) {
                break;
            }
            for recovered in recover(&case.desk.home).unwrap() {
                recovered.outcome.unwrap();
            }
            let is = tree_of(&case.folder);
            match outcome(&case.desk, std::slice::from_ref(&case.folder), writing).unwrap().unwrap() {
                Outcome::Before { left } => {
                    assert_eq!((left, is), (vec![], before), "{what}, killed at {at}");
                    befores += 1;
                }
                Outcome::After(_) => {
                    assert_eq!(is, after, "{what}, killed at {at}");
                    afters += 1;
                }
            }
            assert!(recover(&case.desk.home).unwrap().is_empty(), "nothing is left to do");
        }
        assert!(befores > 5 && afters > 5, "{what}: {befores} before, {afters} after");
        println!("{what}: killed at {} moments, {befores} ended before and {afters} after", befores + afters);
    }
}

/// Recovery itself is killed, again and again, until it gets through.
#[test]
fn a_killed_recovery_is_recovered() {
    for at in [3, 12, 17, 20, 24, 30] {
        let case = to_die_in();
        let (before, after) = (tree_of(&case.folder), tree_of(&case.wanted));
        assert!(die("accept", case.temp.path(), at), "{at} is no moment any more");
        let mut again = 0;
        while die("recover", case.temp.path(), again) {
            again += 1;
        }
        let is = tree_of(&case.folder);
        match outcome(&case.desk, std::slice::from_ref(&case.folder), Writing::Accept(1)).unwrap().unwrap() {
            Outcome::Before { .. } => assert_eq!(is, before, "{at}"),
            Outcome::After(_) => assert_eq!(is, after, "{at}"),
        }
    }
}

/// Errors in the midst, where the folder's owner is no root and may not write everywhere. Needs root, to become another.
#[test]
fn what_may_not_be_written_is_told_and_all_is_as_before() {
    let temp = tempfile::tempdir().unwrap();
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o777)).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // SAFETY: changes only what this thread may do with files; it ends with the test.
            unsafe {
                libc::setfsgid(12345);
                libc::setfsuid(12345);
            }
            let case = at(tempfile::tempdir_in(temp.path()).unwrap());
            case.prepare(
                |f| {
                    put(f, "a", "a");
                    put(f, "shut/x", "x");
                    mode(f, "shut", 0o555);
                },
                |_| {},
            );
            put(&case.wanted, "a", "agent's");
            mode(&case.wanted, "shut", 0o755);
            put(&case.wanted, "shut/x", "agent's");
            mode(&case.wanted, "shut", 0o555);
            let before = tree_of(&case.folder);
            let e = case.accept(1, &case.entries()).unwrap_err();
            assert!(matches!(e, AcceptError::Folder { .. }), "{e}");
            assert_eq!(tree_of(&case.folder), before);
            mode(&case.folder, "shut", 0o755);
            mode(&case.wanted, "shut", 0o755);
        });
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]
    /// Needs root, for real overlays.
    #[test]
    fn what_the_agent_saw_is_what_the_folder_becomes(person in edits(), agent in edits()) {
        let case = case();
        person.iter().for_each(|e| edit(&case.folder, e));
        let before = tree_of(&case.folder);
        let frozen = freeze(&case.desk.home, &case.folder, &|_, _| {}).unwrap();
        let layer = case.temp.path().join("layer");
        fs::create_dir_all(layer.join("folder-0")).unwrap();
        let saw = overlay(&frozen.lowers, &layer.join("folder-0"), |at| {
            agent.iter().for_each(|e| edit(at, e));
            tree_of(at)
        });
        let (_, version) =
            snapshot(&[frozen], &[layer], &mut Seen::default(), case.store.blobs()).unwrap();
        case.accept(1, &version.entries).unwrap();
        prop_assert_eq!(tree_of(&case.folder), saw);
        case.undo(1).unwrap();
        prop_assert_eq!(tree_of(&case.folder), before);
    }
}
