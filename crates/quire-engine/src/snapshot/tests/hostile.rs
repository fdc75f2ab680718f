//! What an agent may leave in its layers. The numbers are those of the catalogue of escapes.

use super::*;
use std::os::unix::fs::symlink;

/// Something changes a path between the look at it and the reading: the descriptor leads to what was looked at, or nowhere.
#[test]
fn j01_a_link_put_in_a_files_place_is_not_followed() {
    let mut case = case();
    case.put("a", "base");
    let frozen = case.freeze();
    let upper = case.layer();
    put(&upper, "d/file", "agent's");
    put(&case.home, "secret", "secret");
    let stack = Stack::open(std::slice::from_ref(&upper)).unwrap().upon(frozen.stack().unwrap());
    let found = stack.find(&RelPath::new("d/file").unwrap()).unwrap().unwrap();
    fs::remove_file(upper.join("d/file")).unwrap();
    symlink(case.home.join("secret"), upper.join("d/file")).unwrap();
    assert!(stack.content(&found).is_err(), "the last component");
    fs::rename(upper.join("d"), upper.join("away")).unwrap();
    put(&case.home, "elsewhere/file", "secret");
    symlink(case.home.join("elsewhere"), upper.join("d")).unwrap();
    assert!(stack.content(&found).is_err(), "a directory on the way");
    assert!(stack.find(&RelPath::new("d/file").unwrap()).unwrap().is_none());
}

#[test]
fn j02_a_link_below_a_newer_directory_leads_nowhere() {
    let mut case = case();
    case.put("b", "base");
    let frozen = case.freeze();
    let older = case.layer();
    symlink("/etc", older.join("a")).unwrap();
    let newer = case.layer();
    put(&newer, "a/passwd", "agent's");
    let snapshot = case.snapshot(&frozen);
    assert_eq!(shown(&snapshot), ["+a", "+a/passwd"]);
    let Some(Node::File { blob, .. }) = &snapshot.entries[1].now else { panic!("{snapshot:?}") };
    assert_eq!(case.store.blobs().get(blob).unwrap(), b"agent's");
    let alone = [case.layers[1].clone()];
    let frozen = std::slice::from_ref(&frozen);
    let (_, below) =
        super::super::snapshot(frozen, &alone, &mut Seen::default(), case.store.blobs()).unwrap();
    assert!(matches!(&below.entries[..], [Entry { now: Some(Node::Link { .. }), .. }]), "{below:?}");
}

#[test]
fn j05_names_that_leave_the_folder_are_no_names() {
    for path in ["../x", "a/../../x", "/etc/passwd", "", ".", "a//b", "a/./b", "a/"] {
        let blob =
            format!(r#"{{"entries":[{{"folder":0,"path":"{path}","now":{{"dir":{{"mode":493}}}}}}]}}"#);
        assert!(Snapshot::from_blob(blob.as_bytes()).is_err(), "{path:?}");
    }
    let fine = br#"{"entries":[{"folder":0,"path":"a","now":{"dir":{"mode":493}}}]}"#;
    assert!(Snapshot::from_blob(fine).is_ok());
}

/// `rm -rf .`: each file is told by its name, and the repository's own files are none of it.
#[test]
fn j21_deleting_everything_is_told_path_by_path() {
    let mut case = case();
    for path in [".git/HEAD", "a", "d/b", "d/e/c"] {
        case.put(path, "x");
    }
    let frozen = case.freeze();
    let upper = case.layer();
    for path in [".git", "a", "d"] {
        whiteout(&upper.join(path));
    }
    assert_eq!(shown(&case.snapshot(&frozen)), ["-a", "-d", "-d/b", "-d/e", "-d/e/c"]);
    let apart = apart(std::slice::from_ref(&frozen), &case.layers).unwrap();
    assert_eq!(apart.git.paths, ["0/.git/HEAD"]);
}

#[test]
fn j22_a_directory_made_anew_is_deletions_and_additions() {
    let mut case = case();
    for path in ["d/same", "d/gone", "d/sub/gone"] {
        case.put(path, "x");
    }
    let frozen = case.freeze();
    let upper = case.layer();
    opaque(&upper.join("d"));
    put(&upper, "d/same", "x");
    put(&upper, "d/new", "n");
    assert_eq!(shown(&case.snapshot(&frozen)), ["-d/gone", "+d/new", "-d/sub", "-d/sub/gone"]);
}
