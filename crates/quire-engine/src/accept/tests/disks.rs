//! Disks that can do less than others: on which two files cannot change places in one step, and a rename may replace something
//! (NFS, most FUSE disks); which have no links either (FAT); and which give files other inode numbers after they were mounted
//! anew.

use super::*;
use crate::accept::pair::mark;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Has one system call refused, where it is asked what `only` says.
fn refusing(call: libc::c_long, only: Vec<SeccompRule>, errno: i32) -> BpfProgram {
    let target = TargetArch::try_from(std::env::consts::ARCH).unwrap();
    let refuse = SeccompAction::Errno(errno as u32);
    SeccompFilter::new([(call, only)].into(), SeccompAction::Allow, refuse, target)
        .unwrap()
        .try_into()
        .unwrap()
}

/// Runs the other tests of this module's parent whose names hold one of `names`, where the kernel refuses what such a disk cannot.
/// They are `least` at least.
fn run_refused(links: bool, names: &[&str], least: usize) {
    let flags = SeccompCondition::new(4, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, 0).unwrap();
    let rule = SeccompRule::new(vec![flags]).unwrap();
    let mut filters = vec![refusing(libc::SYS_renameat2, vec![rule], libc::EINVAL)];
    if !links {
        filters.push(refusing(libc::SYS_linkat, vec![], libc::EPERM));
    }
    let mut tests = Command::new(std::env::current_exe().unwrap());
    tests.args(names).args(["--skip", "accept::tests::disks::in_refused_mode"]);
    // SAFETY: between fork and exec only system calls are made.
    unsafe {
        tests.pre_exec(move || {
            filters.iter().try_for_each(|filter| apply_filter(filter).map_err(io::Error::other))
        });
    }
    let ran = tests.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    let passed = |line: &str| line.split_once(" passed")?.0.rsplit(' ').next()?.parse::<usize>().ok();
    let passed = said.lines().find_map(passed).unwrap_or_default();
    assert!(passed >= least, "{passed} of {names:?} ran");
}

#[test]
fn in_refused_mode_all_of_it_holds() {
    run_refused(true, &["accept::tests::"], 47);
}

#[test]
fn in_refused_mode_without_links_it_holds() {
    let few = ["accept_makes_it_so", "j17_", "j19_", "a_killed_recovery", "tests::disks::"];
    let all = std::env::var_os("QUIRE_TEST_ALL").is_some();
    match all {
        true => run_refused(false, &["accept::tests::"], 47),
        false => run_refused(false, &few, 7),
    }
}

/// Where there are no links a file that comes back is written anew; where that cannot be, it still comes back, as it was.
#[test]
fn what_cannot_be_written_anew_comes_back_to_its_name_all_the_same() {
    // What the disk refuses from the moment on in which all is taken back.
    for (call, errno) in [
        (libc::SYS_write, libc::ENOSPC),
        (libc::SYS_utimensat, libc::EPERM),
        (libc::SYS_ftruncate, libc::EIO),
    ] {
        let case = case();
        let setup: Make = |f| ["a", "b"].iter().for_each(|path| put(f, path, OLD));
        let change: Make = |f| {
            put(f, "a", NEW);
            fs::remove_file(f.join("b")).unwrap();
            put(f, "c", NEW);
        };
        let entries = case.prepare(setup, change);
        let seen = |path: &str| {
            let meta = fs::metadata(case.folder.join(path)).unwrap();
            (meta.ino(), meta.modified().unwrap())
        };
        let before = (tree_of(&case.folder), seen("a"), seen("b"));
        let flags = SeccompCondition::new(4, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, 0).unwrap();
        let flags = SeccompRule::new(vec![flags]).unwrap();
        let cannot = [
            refusing(libc::SYS_renameat2, vec![flags], libc::EINVAL),
            refusing(libc::SYS_linkat, vec![], libc::EPERM),
        ];
        let full = refusing(call, vec![], errno);
        let (mut moved, case) = (0, &case);
        // What a thread is refused, the others are not.
        let ended = std::thread::scope(|scope| {
            let accepts = scope.spawn(move || {
                cannot.iter().for_each(|filter| apply_filter(filter).unwrap());
                let plan = case.plan(1, &entries).unwrap();
                carry_out(plan, case.store.blobs(), &mut |what| match what {
                    "move in" => {
                        moved += 1;
                        if moved == 3 {
                            put(&case.folder, "c", THEIRS);
                        }
                    }
                    "turn back" => apply_filter(&full).unwrap(),
                    _ => {}
                })
            });
            accepts.join().unwrap()
        });
        assert!(matches!(&ended, Err(AcceptError::Drift(drift)) if drift.len() == 1), "{call}: {ended:?}");
        assert_eq!(fs::read_to_string(case.folder.join("c")).unwrap(), THEIRS);
        fs::remove_file(case.folder.join("c")).unwrap();
        assert_eq!((tree_of(&case.folder), seen("a"), seen("b")), before, "{call}");
        assert!(recover(&case.desk.home).unwrap().is_empty(), "{call}: nothing is left to do");
    }
}

/// What was made has the mode that the disk gave; the next version changes it and takes it away all the same.
#[test]
fn a_second_version_follows_the_first_where_a_disk_keeps_no_modes() {
    let case = &case();
    let first = case.prepare(
        |f| put(f, "a", OLD),
        |f| {
            put(f, "a", NEW);
            ["b", "c", "same"].iter().for_each(|path| put(f, path, NEW));
        },
    );
    let blob = Hash::of(THEIRS.as_bytes());
    case.store.blobs().put(&[THEIRS.as_bytes()]).unwrap();
    let changed = Node::File { blob, bytes: THEIRS.len() as u64, mode: 0o644 };
    let second = first.iter().filter(|e| e.path.as_bytes() != b"c").cloned();
    let second = second.map(|e| match e.path.as_bytes() {
        b"same" => e,
        _ => Entry { now: Some(changed.clone()), ..e },
    });
    let second: Vec<Entry> = second.collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            apply_filter(&refusing(libc::SYS_fchmod, vec![], libc::EPERM)).unwrap();
            let (blobs, folders) = (case.store.blobs(), std::slice::from_ref(&case.folder));
            case.accept(1, &first).unwrap();
            assert!(tree_of(&case.folder)["b"].starts_with("file 600 "), "the disk kept it");
            let after_first = tree_of(&case.folder);
            let mut given = Given::default();
            given.add(&case.desk, 1);
            assert_eq!(standing(folders, &first, &given, blobs).unwrap(), first);
            let entries = following(second, true, &first).into_iter().map(|entry| given.was(entry));
            let plan = case.plan(2, &entries.collect::<Vec<_>>()).unwrap();
            assert_eq!(plan.merged(), []);
            carry_out(plan, blobs, &mut |_| {}).unwrap();
            let tree = tree_of(&case.folder);
            assert_eq!(tree.keys().collect::<Vec<_>>(), ["a", "b", "same"]);
            assert_eq!(fs::read_to_string(case.folder.join("b")).unwrap(), THEIRS);
            case.undo(2).unwrap();
            assert_eq!(tree_of(&case.folder), after_first);
        });
    });
}

fn chmod(dir: &Path, path: &str, mode: u32) {
    fs::set_permissions(dir.join(path), fs::Permissions::from_mode(mode)).unwrap();
}

/// A mode that is all that changes is not written there, and not told as written; the rest is, and all comes back.
#[test]
fn a_mode_that_a_disk_does_not_keep_hinders_nothing_else() {
    let modes: Make = |f| ["run", "d"].iter().for_each(|path| chmod(f, path, 0o750));
    let both: Make = |f| {
        ["run", "d"].iter().for_each(|path| chmod(f, path, 0o750));
        put(f, "a", NEW);
    };
    for (change, written) in [(modes, &[][..]), (both, &["a"])] {
        let case = &case();
        let setup: Make = |f| {
            ["run", "a", "d/in"].iter().for_each(|path| put(f, path, OLD));
            for (path, mode) in [("run", 0o700), ("a", 0o600), ("d", 0o700)] {
                chmod(f, path, mode);
            }
        };
        let entries = case.prepare(setup, change);
        let before = tree_of(&case.folder);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                apply_filter(&refusing(libc::SYS_fchmod, vec![], libc::EPERM)).unwrap();
                apply_filter(&refusing(libc::SYS_fchmodat, vec![], libc::EPERM)).unwrap();
                let report = case.accept(1, &entries).unwrap();
                let paths: Vec<_> = report.written.iter().map(|w| w.path.to_string()).collect();
                assert_eq!(paths, written);
                let after = tree_of(&case.folder);
                assert_eq!((&after["run"], &after["d"]), (&before["run"], &before["d"]));
                let mut given = Given::default();
                given.add(&case.desk, 1);
                let folders = std::slice::from_ref(&case.folder);
                assert_eq!(standing(folders, &entries, &given, case.store.blobs()).unwrap(), entries);
                case.undo(1).unwrap();
                assert_eq!(tree_of(&case.folder), before);
            });
        });
        assert!(recover(&case.desk.home).unwrap().is_empty());
    }
}

/// How what was left is to end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// As after where it was to go on, as before where it was to go back.
    Exactly,
    /// Somebody's file, which holds this, has the name, and nothing is beside it.
    Theirs(&'static str),
    /// Somebody's file has the name, and beside it lies the first of these.
    Beside(&'static str, &'static str),
}
use Ends::*;

/// What a process left that died in the midst of one move: where it stands, and what is there. Of two that are the same the second
/// is a link of the first.
type Left = (&'static [(&'static str, &'static str)], Ends);

const PUT: &[Left] = &[
    (&[("aside", "new")], Exactly),
    (&[("name", "new"), ("aside", "new")], Exactly),
    (&[("name", "new")], Exactly),
    (&[("aside-coming", "new")], Exactly),
    (&[("name", "none"), ("aside-coming", "new")], Exactly),
    (&[("name", "half of new"), ("aside-coming", "new")], Exactly),
    (&[("name", "begun new"), ("aside-coming", "new")], Exactly),
    (&[("name", "new"), ("aside-coming", "new")], Exactly),
    (&[("name", "theirs"), ("aside", "new")], Theirs(THEIRS)),
    (&[("name", "theirs"), ("aside-coming", "new")], Theirs(THEIRS)),
    (&[("name", "part of new"), ("aside-coming", "new")], Theirs(PART_OF_NEW)),
];

const TAKE: &[Left] = &[
    (&[("name", "old")], Exactly),
    (&[("aside", "old")], Exactly),
    (&[("name", "old"), ("aside", "old")], Exactly),
    (&[("name", "half of old"), ("aside-coming", "old")], Exactly),
    (&[("aside", "theirs")], Theirs(THEIRS)),
    (&[("name", "theirs"), ("aside", "old")], Beside(OLD, THEIRS)),
    (&[("name", "theirs"), ("aside-coming", "old")], Beside(OLD, THEIRS)),
    (&[("name", "part of old"), ("aside-coming", "old")], Beside(OLD, PART)),
];

const SWAP: &[Left] = &[
    (&[("name", "old"), ("aside", "new")], Exactly),
    (&[("aside", "new"), ("aside-was", "old")], Exactly),
    (&[("name", "new"), ("aside", "new"), ("aside-was", "old")], Exactly),
    (&[("name", "new"), ("aside-was", "old")], Exactly),
    (&[("name", "new"), ("aside", "old")], Exactly),
    (&[("name", "old"), ("aside", "new"), ("aside-was", "old")], Exactly),
    (&[("aside-coming", "new"), ("aside-was", "old")], Exactly),
    (&[("name", "none"), ("aside-coming", "new"), ("aside-was", "old")], Exactly),
    (&[("name", "half of new"), ("aside-coming", "new"), ("aside-was", "old")], Exactly),
    (&[("name", "new"), ("aside-coming", "new"), ("aside-was", "old")], Exactly),
    (&[("name", "half of old"), ("aside", "new"), ("aside-was-coming", "old")], Exactly),
    (&[("name", "new"), ("aside", "theirs")], Theirs(THEIRS)),
    (&[("aside", "new"), ("aside-was", "theirs")], Theirs(THEIRS)),
    (&[("name", "theirs"), ("aside", "new"), ("aside-was", "old")], Beside(OLD, THEIRS)),
    (&[("name", "theirs"), ("aside-coming", "new"), ("aside-was", "old")], Beside(OLD, THEIRS)),
    (&[("name", "part of new"), ("aside-coming", "new"), ("aside-was", "old")], Beside(OLD, PART_OF_NEW)),
    (&[("name", "theirs"), ("aside", "new"), ("aside-was-coming", "old")], Beside(OLD, THEIRS)),
    (&[("name", "theirs"), ("aside-was", "old")], Beside(OLD, THEIRS)),
    // Two of somebody's.
    (&[("name", "theirs"), ("aside", "part of old")], Beside(PART, THEIRS)),
];

const OLD: &str = "what was there\n";
const PART: &str = "what was";
const NEW: &str = "what the agent made\n";
const PART_OF_NEW: &str = "what the";
const THEIRS: &str = "what somebody saved\n";

/// Returns as much of `whole` as was written when the process died.
fn half(whole: &str, coming: &[u8]) -> Vec<u8> {
    let mut half = vec![0; whole.len()];
    half[..3].copy_from_slice(&whole.as_bytes()[..3]);
    [half, mark(coming)].concat()
}

/// Lays it so in a folder in which the move is still to come. Where `anew`, nothing keeps its inode number, as on a FUSE disk that was
/// mounted anew.
fn lay(case: &Case, aside: &Path, left: &[(&str, &str)], anew: bool) {
    let masters = case.temp.path().join("masters");
    fs::create_dir(&masters).unwrap();
    let coming =
        left.iter().find_map(|(at, _)| at.strip_prefix("aside").filter(|more| more.ends_with("-coming")));
    let coming = [aside.file_name().unwrap().as_bytes(), coming.unwrap_or_default().as_bytes()].concat();
    for (from, to) in [(case.folder.join("a"), "old"), (aside.to_owned(), "new")] {
        if from.exists() {
            fs::rename(from, masters.join(to)).unwrap();
        }
    }
    for (at, what) in left {
        let at = match at.strip_prefix("aside") {
            None => case.folder.join("a"),
            Some(more) => PathBuf::from(format!("{}{more}", aside.display())),
        };
        match *what {
            "none" => fs::write(at, "").unwrap(),
            "part of old" => fs::write(at, PART).unwrap(),
            "part of new" => fs::write(at, PART_OF_NEW).unwrap(),
            "half of new" => fs::write(at, half(NEW, &coming)).unwrap(),
            "begun new" => {
                let mut cut = half(NEW, &coming);
                cut.truncate(NEW.len() + 9);
                fs::write(at, cut).unwrap();
            }
            "half of old" => fs::write(at, half(OLD, &coming)).unwrap(),
            "theirs" => fs::write(at, THEIRS).unwrap(),
            same if anew || fs::hard_link(masters.join(same), &at).is_err() => {
                let copied = Command::new("cp").arg("-p").arg(masters.join(same)).arg(at).status().unwrap();
                assert!(copied.success());
            }
            _ => {}
        }
    }
    fs::remove_dir_all(masters).unwrap();
}

/// Whoever comes next ends it from the names alone, forward or back, whatever the inode numbers have become.
#[test]
fn a_move_that_was_left_in_its_midst_is_ended() {
    let setup: [(&[Left], Make, Make); 3] = [
        (PUT, |_| {}, |f| put(f, "a", NEW)),
        (TAKE, |f| put(f, "a", OLD), |f| fs::remove_file(f.join("a")).unwrap()),
        (SWAP, |f| put(f, "a", OLD), |f| put(f, "a", NEW)),
    ];
    for (rows, setup, change) in setup {
        for (nth, (left, ends)) in rows.iter().enumerate() {
            for (stage, anew) in [("commit", false), ("commit", true), ("back", false), ("back", true)] {
                let told = format!("row {nth}, {left:?}, {stage}, numbers anew: {anew}");
                let case = case();
                let entries = case.prepare(setup, change);
                let (before, after) = (tree_of(&case.folder), tree_of(&case.wanted));
                let plan = case.plan(1, &entries).unwrap();
                let aside = case.folder.join(&plan.journal.operations[0].aside);
                let died = catch_unwind(AssertUnwindSafe(|| {
                    carry_out(plan, case.store.blobs(), &mut |what| {
                        assert_ne!(what, "move in", "it dies here")
                    })
                }));
                assert!(died.is_err());
                lay(&case, &aside, left, anew);
                let journal = |stage: &str| case.desk.dir.join(format!("accept-1.{stage}"));
                if stage == "back" {
                    fs::rename(journal("commit"), journal("back")).unwrap();
                }
                let ended = recover(&case.desk.home).unwrap().remove(0).outcome;
                let is = tree_of(&case.folder);
                let file = |content: &str| format!("file 644 {}", Hash::of(content.as_bytes()));
                match ends {
                    Exactly if stage == "commit" => {
                        assert!(matches!(ended, Ok(Outcome::After(_))), "{told}: {ended:?}");
                        assert_eq!(is, after, "{told}");
                    }
                    Exactly => {
                        assert!(
                            matches!(&ended, Ok(Outcome::Before { left }) if left.is_empty()),
                            "{told}: {ended:?}"
                        );
                        assert_eq!(is, before, "{told}");
                    }
                    Theirs(theirs) => {
                        assert!(matches!(ended, Ok(Outcome::Before { .. })), "{told}: {ended:?}");
                        assert_eq!(is, BTreeMap::from([("a".into(), file(theirs))]), "{told}");
                    }
                    Beside(what, theirs) => {
                        assert!(
                            matches!(&ended, Ok(Outcome::Before { left }) if left.len() == 1),
                            "{told}: {ended:?}"
                        );
                        let contents: Vec<&String> = is.values().collect();
                        assert_eq!(contents, [&file(what), &file(theirs)], "{told}: {is:?}");
                        assert_eq!(is["a"], file(theirs), "{told}");
                    }
                }
                assert!(recover(&case.desk.home).unwrap().is_empty(), "{told}: nothing is left to do");
            }
        }
    }
}
