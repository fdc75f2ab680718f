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
