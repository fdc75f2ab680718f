//! Disks that can do less than others: on which two files cannot change places in one step, and a rename may replace something
//! (NFS, most FUSE disks); which have no links either (FAT); and which give files other inode numbers after they were mounted
//! anew.

use super::*;
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
fn run_refused(links: bool, names: &[&str]) {
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
    assert!(passed >= names.len(), "{passed} of {names:?} ran");
}

#[test]
fn in_refused_mode_all_of_it_holds() {
    run_refused(true, &["accept::tests::"]);
}

#[test]
fn in_refused_mode_without_links_it_holds() {
    let few = ["accept_makes_it_so", "j17_", "j19_", "a_killed_recovery", "tests::disks::"];
    let all = std::env::var_os("QUIRE_TEST_ALL").is_some();
    run_refused(false, if all { &["accept::tests::"] } else { &few });
}

/// How what was left is to end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// As after where it was to go on, as before where it was to go back.
    Exactly,
    /// Somebody's file has the name, and nothing is beside it.
    Theirs,
    /// Somebody's file has the name, and this lies beside it.
    Beside(&'static str),
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
    (&[("name", "part of new"), ("aside-coming", "new")], Exactly),
    (&[("name", "new"), ("aside-coming", "new")], Exactly),
    (&[("name", "theirs"), ("aside", "new")], Theirs),
    (&[("name", "theirs"), ("aside-coming", "new")], Theirs),
];

const TAKE: &[Left] = &[
    (&[("name", "old")], Exactly),
    (&[("aside", "old")], Exactly),
    (&[("name", "old"), ("aside", "old")], Exactly),
    (&[("name", "part of old"), ("aside-coming", "old")], Exactly),
    (&[("aside", "theirs")], Theirs),
    (&[("name", "theirs"), ("aside", "old")], Beside(OLD)),
    (&[("name", "theirs"), ("aside-coming", "old")], Beside(OLD)),
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
    (&[("name", "part of new"), ("aside-coming", "new"), ("aside-was", "old")], Exactly),
    (&[("name", "new"), ("aside-coming", "new"), ("aside-was", "old")], Exactly),
    (&[("name", "part of old"), ("aside", "new"), ("aside-was-coming", "old")], Exactly),
    (&[("name", "new"), ("aside", "theirs")], Theirs),
    (&[("aside", "new"), ("aside-was", "theirs")], Theirs),
    (&[("name", "theirs"), ("aside", "new"), ("aside-was", "old")], Beside(OLD)),
    (&[("name", "theirs"), ("aside-coming", "new"), ("aside-was", "old")], Beside(OLD)),
    (&[("name", "theirs"), ("aside", "new"), ("aside-was-coming", "old")], Beside(OLD)),
    (&[("name", "theirs"), ("aside-was", "old")], Beside(OLD)),
    // Two of somebody's.
    (&[("name", "theirs"), ("aside", "part of old")], Beside(PART)),
];

const OLD: &str = "what was there\n";
const PART: &str = "what was";
const NEW: &str = "what the agent made\n";
const THEIRS: &str = "what somebody saved\n";

/// Lays it so in a folder in which the move is still to come. Where `anew`, nothing keeps its inode number, as on a FUSE disk that was
/// mounted anew.
fn lay(case: &Case, aside: &Path, left: &[(&str, &str)], anew: bool) {
    let masters = case.temp.path().join("masters");
    fs::create_dir(&masters).unwrap();
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
            "part of new" => fs::write(at, &NEW[..5]).unwrap(),
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
                    Theirs => {
                        assert!(matches!(ended, Ok(Outcome::Before { .. })), "{told}: {ended:?}");
                        assert_eq!(is, BTreeMap::from([("a".into(), file(THEIRS))]), "{told}");
                    }
                    Beside(what) => {
                        assert!(
                            matches!(&ended, Ok(Outcome::Before { left }) if left.len() == 1),
                            "{told}: {ended:?}"
                        );
                        let contents: Vec<&String> = is.values().collect();
                        assert_eq!(contents, [&file(what), &file(THEIRS)], "{told}: {is:?}");
                        assert_eq!(is["a"], file(THEIRS), "{told}");
                    }
                }
                assert!(recover(&case.desk.home).unwrap().is_empty(), "{told}: nothing is left to do");
            }
        }
    }
}
