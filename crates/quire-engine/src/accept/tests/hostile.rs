//! What an agent may leave for the moment of accept. The numbers are those of the catalogue of escapes.

use super::*;
use std::os::unix::fs::{MetadataExt, chown};
use std::time::SystemTime;

/// A link that leads out is a link: it is written as it is, and nothing is ever written through it.
#[test]
fn j03_links_are_kept_and_never_followed() {
    let case = case();
    put(case.temp.path(), "outside/mine", "mine");
    let entries = case.prepare(
        |f| put(f, "a", "a"),
        |f| {
            symlink("../outside", f.join("out")).unwrap();
            symlink("/etc/passwd", f.join("absolute")).unwrap();
        },
    );
    case.accept(0, &entries).unwrap();
    assert_eq!(fs::read_link(case.folder.join("out")).unwrap(), Path::new("../outside"));
    assert_eq!(fs::read_link(case.folder.join("absolute")).unwrap(), Path::new("/etc/passwd"));
    let blob = case.store.blobs().put(&[b"theirs"]).unwrap()[0];
    let now = Some(Node::File { blob, bytes: 6, mode: 0o644 });
    for (was, path) in
        [(None, "out/new"), (node(&case.temp.path().join("outside/mine"), case.store.blobs()), "out/mine")]
    {
        let through = [Entry { folder: 0, path: RelPath::new(path).unwrap(), was, now: now.clone() }];
        assert!(matches!(case.accept(1, &through), Err(AcceptError::Drift(_))), "{path}");
    }
    assert_eq!(tree_of(&case.temp.path().join("outside")).len(), 1);
    assert_eq!(fs::read(case.temp.path().join("outside/mine")).unwrap(), b"mine");
}

#[test]
fn j07_modes_and_attributes_are_stripped() {
    let case = case();
    let entries = case.prepare(
        |f| put(f, "run", "x"),
        |f| {
            put(f, "run", "changed");
            put(f, "new", "n");
            put(f, "d/in", "n");
            for path in ["run", "new", "d"] {
                mode(f, path, 0o7777);
                let set = |name, value: &[u8]| {
                    rustix::fs::setxattr(f.join(path), name, value, rustix::fs::XattrFlags::empty()).unwrap()
                };
                set("user.overlay.opaque", b"y");
                set("user.mine", b"1");
                if rustix::process::geteuid().is_root() && path != "d" {
                    // cap_setuid, for whichever user namespace: version 2 of vfs_cap_data.
                    set(
                        "security.capability",
                        &[1, 0, 0, 2, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                    );
                }
            }
        },
    );
    case.accept(0, &entries).unwrap();
    for (path, expected) in [("run", 0o775), ("new", 0o775), ("d", 0o775)] {
        let made = case.folder.join(path);
        assert_eq!(fs::metadata(&made).unwrap().mode() & 0o7777, expected, "{path}");
        let mut names = vec![0u8; 4096];
        let bytes = rustix::fs::listxattr(&made, &mut names).unwrap();
        let names = String::from_utf8_lossy(&names[..bytes]).into_owned();
        // What a security module labels every file with is its own.
        assert!(!names.contains("user.") && !names.contains("capability"), "{path}: {names}");
    }
}

/// Needs root, which alone can own for others.
#[test]
fn j08_what_is_new_is_the_folders_owners() {
    assert!(rustix::process::geteuid().is_root(), "must be run by root");
    let case = case();
    let entries = case.prepare(
        |f| put(f, "theirs", "t"),
        |f| {
            put(f, "theirs", "changed");
            put(f, "d/new", "n");
            symlink("new", f.join("d/link")).unwrap();
            for path in ["d", "d/new", "theirs"] {
                chown(f.join(path), Some(1_000_000), Some(1_000_000)).unwrap();
            }
        },
    );
    chown(&case.folder, Some(4_321), Some(4_322)).unwrap();
    chown(case.folder.join("theirs"), Some(4_323), Some(4_324)).unwrap();
    case.accept(0, &entries).unwrap();
    for (path, owner) in [
        ("d", (4_321, 4_322)),
        ("d/new", (4_321, 4_322)),
        ("d/link", (4_321, 4_322)),
        ("theirs", (4_323, 4_324)),
    ] {
        let meta = fs::symlink_metadata(case.folder.join(path)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), owner, "{path}");
    }
}

/// Times do not travel: what builds by time sees what was accepted as new.
#[test]
fn j28_times_of_the_future_are_set_to_now() {
    let case = case();
    let entries = case.prepare(
        |f| put(f, "a", "a"),
        |f| {
            let future = SystemTime::now() + std::time::Duration::from_secs(1 << 30);
            for path in ["a", "new"] {
                put(f, path, "n");
                File::options().write(true).open(f.join(path)).unwrap().set_modified(future).unwrap();
            }
        },
    );
    case.accept(0, &entries).unwrap();
    for path in ["a", "new"] {
        let modified = fs::metadata(case.folder.join(path)).unwrap().modified().unwrap();
        assert!(modified <= SystemTime::now(), "{path}");
    }
}

/// Somebody puts a link to elsewhere in the place of a directory that is written into, before each effect in turn: nothing behind it
/// is ever touched, and the rest is as before or as after.
#[test]
fn a_directory_that_becomes_a_link_leads_nowhere() {
    for moment in 0.. {
        let case = case();
        let outside = case.temp.path().join("outside");
        for name in ["x", "y", "new"] {
            put(&outside, name, "theirs");
        }
        let theirs = tree_of(&outside);
        let entries = case.prepare(
            |f| {
                put(f, "a", "a");
                put(f, "d/x", "x");
                put(f, "d/y", "y");
            },
            |f| {
                put(f, "a", "agent's");
                put(f, "d/x", "agent's");
                put(f, "d/e/new", "agent's");
                fs::remove_file(f.join("d/y")).unwrap();
            },
        );
        let mut seen = 0;
        let done = carry_out(case.plan(1, &entries).unwrap(), case.store.blobs(), &mut |_| {
            if seen == moment {
                fs::rename(case.folder.join("d"), case.temp.path().join("moved")).unwrap();
                symlink(&outside, case.folder.join("d")).unwrap();
            }
            seen += 1;
        });
        assert_eq!(tree_of(&outside), theirs, "moment {moment}");
        if moment >= seen {
            done.unwrap();
            break;
        }
        let a = fs::read(case.folder.join("a")).unwrap();
        let expected: &[u8] = if done.is_ok() { b"agent's" } else { b"a" };
        assert_eq!(a, expected, "moment {moment}: {done:?}");
        // What was moved away has each file as it was or as it became.
        let x = fs::read(case.temp.path().join("moved/x")).unwrap();
        assert!(x == b"x" || x == b"agent's", "moment {moment}");
        recover(&case.desk.home).unwrap();
        assert_eq!(tree_of(&outside), theirs, "moment {moment}, after recovery");
    }
}

/// The folder goes elsewhere in the midst: it is as before or as after there, and nothing is made at its old place.
#[test]
fn a_folder_that_vanishes_is_never_half() {
    for moment in 0.. {
        let case = to_die_in();
        let (before, after) = (tree_of(&case.folder), tree_of(&case.wanted));
        let entries = case.entries();
        let elsewhere = case.temp.path().join("elsewhere");
        let mut seen = 0;
        let done = carry_out(case.plan(1, &entries).unwrap(), case.store.blobs(), &mut |_| {
            if seen == moment {
                fs::rename(&case.folder, &elsewhere).unwrap();
            }
            seen += 1;
        });
        if moment >= seen {
            done.unwrap();
            break;
        }
        assert!(!case.folder.exists(), "moment {moment}");
        assert_eq!(
            tree_of(&elsewhere),
            if done.is_ok() { after } else { before },
            "moment {moment}: {done:?}"
        );
    }
}

/// The folder itself is moved away, and a link to elsewhere put in its place, before each effect in turn: what is written goes into
/// the folder that was held, and nothing behind the link is touched, by a recovery neither.
#[test]
fn a_folder_that_becomes_a_link_leads_nowhere() {
    let mut moments = 0;
    for moment in 0.. {
        let case = to_die_in();
        let (before, after) = (tree_of(&case.folder), tree_of(&case.wanted));
        let entries = case.entries();
        let (moved, outside) = (case.temp.path().join("moved"), case.temp.path().join("outside"));
        // It holds what the folder held, so that a path alone would find there what it looks for.
        assert!(Command::new("cp").arg("-a").args([&case.folder, &outside]).status().unwrap().success());
        let theirs = tree_of(&outside);
        let mut seen = 0;
        let done = carry_out(case.plan(1, &entries).unwrap(), case.store.blobs(), &mut |_| {
            if seen == moment {
                fs::rename(&case.folder, &moved).unwrap();
                symlink(&outside, &case.folder).unwrap();
            }
            seen += 1;
        });
        assert!(tree_of(&outside) == theirs, "moment {moment}");
        if moment >= seen {
            done.unwrap();
            break;
        }
        moments += 1;
        recover(&case.desk.home).unwrap();
        assert!(tree_of(&outside) == theirs, "moment {moment}, after recovery");
        let now = tree_of(&moved);
        assert!(now == if done.is_ok() { after } else { before }, "moment {moment}: {done:?}");
    }
    assert!(moments > 5, "only {moments} moments");
}

fn agents(path: &str, blobs: &Blobs) -> Entry {
    let blob = blobs.put(&[b"agent's"]).unwrap()[0];
    let now = Some(Node::File { blob, bytes: 7, mode: 0o644 });
    Entry { folder: 0, path: RelPath::new(path).unwrap(), was: None, now }
}

/// Two names of a version that are one on the person's disk: when the first is moved in, the second is there as well. Real disks of
/// that kind are among the journeys.
#[test]
fn names_that_collide_are_told_and_nothing_is_written() {
    let case = case();
    put(&case.folder, "a", "a");
    let entries = ["OTHER", "other"].map(|name| agents(name, case.store.blobs()));
    let mut before = tree_of(&case.folder);
    let mut moved = 0;
    let done = carry_out(case.plan(1, &entries).unwrap(), case.store.blobs(), &mut |what| {
        moved += usize::from(what == "move in");
        if what == "move in" && moved == 2 {
            put(&case.folder, "other", "agent's");
        }
    });
    assert!(matches!(done, Err(AcceptError::Drift(d)) if d[0].what == Drifted::Appeared));
    before.insert("other".into(), tree_of(&case.folder)["other"].clone());
    assert_eq!(tree_of(&case.folder), before);
}

/// A file that cannot be replaced, such as one that is marked as immutable, said that an operation was not permitted, and not which.
#[test]
fn what_cannot_be_replaced_is_named() {
    let case = case();
    let entries = case.prepare(|f| put(f, "b", "b"), |f| put(f, "b", "changed"));
    let at = case.folder.join("b");
    let b = fs::File::open(&at).unwrap();
    let marked = |flags| rustix::fs::ioctl_setflags(&b, flags).unwrap();
    marked(rustix::fs::IFlags::IMMUTABLE);
    let error = case.accept(0, &entries).unwrap_err();
    marked(rustix::fs::IFlags::empty());
    assert!(error.to_string().starts_with("b cannot be written: "), "{error}");
    assert_eq!(fs::read(&at).unwrap(), b"b");
}
