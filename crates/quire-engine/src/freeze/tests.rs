//! Freezing real folders: what is copied, what later changes become, and death at every copied file.

mod later;
mod moved;
mod odd;

use super::*;
use crate::testing::{edit, edits, tree_of};
use proptest::prelude::*;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::atomic::{AtomicU64, Ordering};

fn quiet(_: u64, _: u64) {}

/// Returns the frozen tree as one would see it through a mount.
fn merged(frozen: &Frozen) -> BTreeMap<String, String> {
    let stack = frozen.stack().unwrap();
    let mut tree = BTreeMap::new();
    let mut open = vec![stack.top().unwrap()];
    while let Some(place) = open.pop() {
        for name in stack.names(&place, stack.height()).unwrap() {
            let Some(found) = stack.enter(&place, &name).unwrap() else {
                continue;
            };
            let what = match found.print.kind {
                Kind::Dir => {
                    open.push(found.place());
                    format!("dir {:o}", found.print.mode)
                }
                Kind::Link => format!("link {}", escape(&stack.link(&found).unwrap())),
                _ => {
                    let mut content = vec![];
                    stack.content(&found).unwrap().read_to_end(&mut content).unwrap();
                    format!("file {:o} {}", found.print.mode, quire_core::Hash::of(&content))
                }
            };
            tree.insert(found.path.to_string(), what);
        }
    }
    tree
}

struct Case {
    _temp: tempfile::TempDir,
    home: PathBuf,
    folder: PathBuf,
}

fn case() -> Case {
    let temp = tempfile::tempdir().unwrap();
    let (home, folder) = (temp.path().join("home"), temp.path().join("folder"));
    fs::create_dir(&home).unwrap();
    fs::create_dir(&folder).unwrap();
    Case { home, folder, _temp: temp }
}

impl Case {
    fn freeze(&self) -> Frozen {
        freeze(&self.home, &self.folder, &quiet).unwrap()
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

#[test]
fn everything_a_person_has_is_in_the_copy() {
    let case = case();
    case.write("a.txt", "one\r\ntwo");
    case.write("run.sh", "#!/bin/sh\n");
    case.write("deep/er/file", "x");
    case.write(".env", "SECRET=1");
    case.write(".gitignore", ".env\nout/\n");
    case.write("out/big", "not copied");
    case.write(".git/objects/ab/cdef", "object");
    case.write(".git/HEAD", "ref: refs/heads/main\n");
    fs::create_dir(case.folder.join("empty")).unwrap();
    fs::write(case.folder.join(OsStr::from_bytes(b"bad\xff\nname")), "odd").unwrap();
    symlink("/etc/passwd", case.folder.join("abs")).unwrap();
    symlink("nowhere", case.folder.join("dangling")).unwrap();
    fs::set_permissions(case.folder.join("run.sh"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::set_permissions(case.folder.join("empty"), fs::Permissions::from_mode(0o500)).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, case.folder.join("pipe"), rustix::fs::FileType::Fifo, Mode::RWXU, 0)
        .unwrap();

    let frozen = case.freeze();
    let mut expect = tree_of(&case.folder);
    expect.remove("pipe");
    expect.remove("out/big");
    let run = expect.get_mut("run.sh").unwrap();
    *run = run.replace("file 4755", "file 755");
    assert_eq!(merged(&frozen), expect);
    assert_eq!(frozen.ignored, [PathBuf::from("out")]);
    assert_eq!(frozen.left_out.iter().map(|l| l.path.to_string()).collect::<Vec<_>>(), ["pipe"]);
    let time = |path: &Path| fs::symlink_metadata(path).unwrap().modified().unwrap();
    for path in ["a.txt", "deep/er", "deep/er/file", "abs"] {
        assert_eq!(time(&frozen.lowers[0].join(path)), time(&case.folder.join(path)), "{path}");
    }
    let ino = |path: &Path| fs::metadata(path).unwrap().ino();
    let object = ".git/objects/ab/cdef";
    assert_eq!(ino(&frozen.lowers[0].join(object)), ino(&case.folder.join(object)));
    assert_ne!(ino(&frozen.lowers[0].join("a.txt")), ino(&case.folder.join("a.txt")));
}

#[test]
fn quires_own_data_within_the_folder_is_left_out() {
    let case = case();
    case.write("a", "1");
    case.write("share/quire/quire.db", "not to be opened");
    let home = case.folder.join("share/quire");
    for _ in 0..2 {
        let frozen = freeze(&home, &case.folder, &quiet).unwrap();
        assert_eq!(merged(&frozen).into_keys().collect::<Vec<_>>(), ["a", "share"]);
        assert_eq!(frozen.left_out.iter().map(|l| l.path.to_string()).collect::<Vec<_>>(), ["share/quire"]);
        case.write("share/quire/later", "more of its own");
    }
}

#[test]
fn what_did_not_change_makes_no_layer() {
    let case = case();
    case.write("a", "1");
    case.write("d/b", "2");
    let first = case.freeze();
    assert_eq!(case.freeze().delta, first.delta);
    fs::write(case.folder.join("a"), "1").unwrap(); // touched, the same
    assert_eq!(case.freeze().delta, first.delta);
    case.write("a", "3");
    fs::remove_dir_all(case.folder.join("d")).unwrap();
    let second = case.freeze();
    assert_eq!((second.delta, second.files), (1, 1));
    assert_eq!(merged(&second), tree_of(&case.folder));
    assert!(merged(&first).contains_key("d/b"), "the older copy stays as it was");
    let again = open(&case.home, second.id, second.delta).unwrap();
    assert_eq!((again.lowers, again.files), (second.lowers, second.files));
}

#[test]
fn a_large_file_edited_in_place_is_known_to_be_no_copy_any_more() {
    let case = case();
    fs::write(case.folder.join("big"), vec![7u8; 9 << 20]).unwrap();
    let frozen = case.freeze();
    let path = RelPath::new("big").unwrap();
    let stack = frozen.stack().unwrap();
    let print = || stack.find(&path).unwrap().unwrap().print;
    assert!(frozen.holds(&path, &print()));
    let file = fs::OpenOptions::new().append(true).open(case.folder.join("big")).unwrap();
    io::Write::write_all(&mut &file, b"more").unwrap();
    let shared = print().bytes != 9 << 20;
    assert_eq!(frozen.holds(&path, &print()), !shared);
    assert_eq!(merged(&case.freeze()), tree_of(&case.folder));
}

#[test]
fn layers_do_not_grow_without_end() {
    let case = case();
    let most = squash::DELTAS_MAX;
    let mut copies = vec![];
    case.write("same", "same");
    case.write("d/same", "same");
    symlink("same", case.folder.join("link")).unwrap();
    fs::set_permissions(case.folder.join("d"), fs::Permissions::from_mode(0o750)).unwrap();
    for round in 0..2 * most + 6 {
        case.write("changing", &round.to_string());
        case.write(&format!("f{round}"), "new");
        let gone = fs::remove_file(case.folder.join(format!("f{}", round.wrapping_sub(3))));
        assert_eq!(gone.is_ok(), round >= 3);
        let frozen = case.freeze();
        assert!(frozen.lowers.len() <= most + 1);
        assert_eq!(merged(&frozen), tree_of(&case.folder), "round {round}");
        copies.push((frozen, tree_of(&case.folder)));
    }
    // A base that was made of deltas is made of links: what did not change is the same file in all.
    let base = |copy: &Frozen| fs::metadata(copy.lowers.last().unwrap().join("d/same")).unwrap().ino();
    let (first, last) = (&copies[0].0, &copies.last().unwrap().0);
    assert_ne!(first.lowers.last(), last.lowers.last());
    assert_eq!(base(first), base(last));
    assert_eq!(case.freeze().delta, last.delta, "nothing is new after it either");
    for (frozen, tree) in copies {
        assert_eq!(merged(&frozen), tree, "older copies stay");
    }
}

#[test]
fn two_at_once_give_the_same_copy() {
    let case = case();
    for n in 0..200 {
        case.write(&format!("d{}/f{n}", n % 7), &n.to_string());
    }
    let copies: Vec<Frozen> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| case.freeze())).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert!(copies.iter().all(|c| (c.id, c.delta) == (copies[0].id, 0)));
    assert_eq!(merged(&copies[0]), tree_of(&case.folder));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]
    #[test]
    fn copies_follow_the_folder(rounds in prop::collection::vec(edits(), 1..5)) {
        let case = case();
        let mut copies = vec![];
        for round in &rounds {
            round.iter().for_each(|e| edit(&case.folder, e));
            let frozen = case.freeze();
            let tree = tree_of(&case.folder);
            prop_assert_eq!(&merged(&frozen), &tree);
            copies.push((frozen, tree));
        }
        for (frozen, tree) in &copies {
            prop_assert_eq!(&merged(frozen), tree, "an older copy changed");
        }
    }
}

/// The child of the next test: freezes, and dies by SIGKILL at the file whose number it is given.
#[test]
#[ignore = "run by a_freeze_killed_anywhere_leaves_the_old_copy_or_the_new_one"]
fn freeze_and_die() {
    let value = |name: &str| std::env::var(name).unwrap();
    let at: u64 = value("DIE_AT").parse().unwrap();
    let seen = AtomicU64::new(0);
    let die = move |_, _| {
        if seen.fetch_add(1, Ordering::Relaxed) == at {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        }
    };
    freeze(Path::new(&value("DIE_HOME")), Path::new(&value("DIE_FOLDER")), &die).unwrap();
}

#[test]
fn a_freeze_killed_anywhere_leaves_the_old_copy_or_the_new_one() {
    let case = case();
    for n in 0..12 {
        case.write(&format!("d{}/f{n}", n % 3), &n.to_string());
    }
    let run = |at: u64| {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "freeze::tests::freeze_and_die", "--ignored"])
            .env("DIE_AT", at.to_string())
            .env("DIE_HOME", &case.home)
            .env("DIE_FOLDER", &case.folder)
            .output()
            .unwrap()
            .status
            .success()
    };
    let mut last: Option<(Frozen, BTreeMap<String, String>)> = None;
    for round in 0..3 {
        for at in 0.. {
            let whole = run(at);
            if let Some((frozen, tree)) = &last {
                assert_eq!(&merged(frozen), tree, "round {round}, died at {at}");
            }
            if whole {
                break;
            }
        }
        let frozen = case.freeze();
        assert_eq!(merged(&frozen), tree_of(&case.folder));
        last = Some((frozen, tree_of(&case.folder)));
        case.write(&format!("d1/new{round}"), "n");
        case.write("d0/f0", &format!("changed {round}"));
        fs::remove_file(case.folder.join(format!("d2/f{}", 2 + 3 * round))).unwrap();
    }
}

#[test]
fn ten_thousand_files() {
    let case = case();
    for n in 0..10_000 {
        case.write(&format!("d{}/f{n}", n % 100), &n.to_string().repeat(100));
    }
    let start = std::time::Instant::now();
    let frozen = case.freeze();
    let first = start.elapsed();
    assert_eq!(frozen.files, 10_000);
    case.write("d1/new", "x");
    let start = std::time::Instant::now();
    assert_eq!(case.freeze().delta, 1);
    println!("10,000 files frozen in {first:?}, again in {:?}", start.elapsed());
}

#[test]
fn more_than_may_be_copied_is_not_copied() {
    let case = case();
    case.write("a", &"a".repeat(600));
    case.write("b", &"b".repeat(600));
    // Shared, and not copied, on this disk.
    case.write("large", &"l".repeat(9 << 20));
    let at_most = |most| freeze_at_most(&case.home, &case.folder, most, &quiet);
    let refused = at_most(1199).unwrap_err();
    assert!(matches!(refused, FreezeError::Large { bytes: 1200 }), "{refused}");
    assert!(fs::read_dir(case.home.join("folders/1/base")).unwrap().next().is_none());
    assert_eq!(merged(&at_most(1200).unwrap()), tree_of(&case.folder));
    // Only what is new counts.
    case.write("c", &"c".repeat(1100));
    let refused = at_most(1000).unwrap_err();
    assert!(matches!(refused, FreezeError::Large { bytes: 1100 }), "{refused}");
    assert_eq!(at_most(1100).unwrap().delta, 1);
}
