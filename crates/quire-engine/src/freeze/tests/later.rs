//! Looking again at a folder that was copied: what is believed of the manifest, and what is not.

use super::*;
use rustix::fs::{AtFlags, CWD};

type Act = fn(&Path);

/// Returns when what is in the folder is so old that its times prove something.
fn age() {
    let now = now_ns();
    while now_ns() - now <= RACY_NS {
        std::thread::yield_now();
    }
}

fn path(path: &str) -> RelPath {
    RelPath::new(path).unwrap()
}

/// Returns the directories that are not just as the manifest says, and how many entries are held.
fn looked_at(case: &Case) -> (Vec<String>, usize) {
    let manifest = Manifest::read(&case.home.join("folders/1")).unwrap().unwrap();
    let root = Rooted::open(&case.folder).unwrap();
    let given = Given {
        what: What::Folder,
        root: &root,
        own: None,
        was: Some(&manifest),
        trusted_ns: now_ns() - RACY_NS,
    };
    let walk = walk(&given).unwrap();
    let names = |listed: &Listed| listed.path.as_ref().map_or(".".into(), RelPath::to_string);
    let changed = walk.dirs.iter().filter(|listed| !listed.same).map(names).collect();
    (changed, walk.dirs.iter().map(|listed| listed.entries.len()).sum())
}

#[test]
fn directories_that_are_as_they_were_are_not_gone_through() {
    let case = case();
    for n in 0..60 {
        case.write(&format!("d{}/e/f{n}", n % 6), "x");
    }
    case.write("top", "x");
    age();
    case.freeze();
    // Directories that hold directories keep their names: `.` and each `d`.
    assert_eq!(looked_at(&case), (vec![], 7 + 6));
    case.write("d1/e/f1", "y");
    case.write("d2/new/f", "y");
    assert_eq!(looked_at(&case).0, ["d1/e", "d2", "d2/new"]);
    let second = case.freeze();
    assert_eq!((second.delta, merged(&second)), (1, tree_of(&case.folder)));
    // What had changed just now is read again, and then known.
    age();
    assert_eq!(looked_at(&case).0, ["d1/e", "d2/new"]);
    assert_eq!(case.freeze().delta, 1);
    assert_eq!(looked_at(&case).0, [""; 0]);
}

#[test]
fn an_edit_that_hides_itself_is_found() {
    let edit = |case: &Case| {
        let file = case.folder.join("f");
        let before = fs::metadata(&file).unwrap();
        fs::write(&file, "two").unwrap();
        File::options().write(true).open(&file).unwrap().set_modified(before.modified().unwrap()).unwrap();
        let after = fs::metadata(&file).unwrap();
        assert_eq!((before.len(), before.modified().unwrap()), (after.len(), after.modified().unwrap()));
    };
    for aged in [true, false] {
        let case = case();
        case.write("f", "one");
        if aged {
            age();
        }
        case.freeze();
        // Size and time are as before; without age the ctime may be, too.
        edit(&case);
        assert_eq!(merged(&case.freeze()), tree_of(&case.folder), "aged: {aged}");
    }
}

#[test]
fn every_way_to_change_a_name_is_followed() {
    let rows: [(&str, Act); 14] = [
        ("saved by rename", |f| {
            fs::write(f.join("a.tmp"), "2").unwrap();
            fs::rename(f.join("a.tmp"), f.join("a")).unwrap();
        }),
        ("replaced by one of the same size and time", |f| {
            let time = fs::metadata(f.join("a")).unwrap().modified().unwrap();
            fs::write(f.join("a.tmp"), "2").unwrap();
            File::options().write(true).open(f.join("a.tmp")).unwrap().set_modified(time).unwrap();
            fs::rename(f.join("a.tmp"), f.join("a")).unwrap();
        }),
        ("two files exchanged", |f| {
            let (a, b) = (f.join("d/x"), f.join("d/y"));
            rustix::fs::renameat_with(CWD, a, CWD, b, rustix::fs::RenameFlags::EXCHANGE).unwrap();
        }),
        ("a file becomes a directory", |f| {
            fs::remove_file(f.join("a")).unwrap();
            fs::create_dir(f.join("a")).unwrap();
            fs::write(f.join("a/in"), "in").unwrap();
        }),
        ("a directory becomes a file", |f| {
            fs::remove_dir_all(f.join("d")).unwrap();
            fs::write(f.join("d"), "file").unwrap();
        }),
        ("a directory becomes a link", |f| {
            fs::rename(f.join("d"), f.join("other")).unwrap();
            symlink("other", f.join("d")).unwrap();
        }),
        ("a directory is renamed", |f| fs::rename(f.join("d"), f.join("moved")).unwrap()),
        ("a directory is emptied", |f| {
            fs::remove_dir_all(f.join("d/deep")).unwrap();
            fs::create_dir(f.join("d/deep")).unwrap();
        }),
        ("a file gets another mode", |f| {
            fs::set_permissions(f.join("a"), fs::Permissions::from_mode(0o711)).unwrap();
        }),
        ("a directory gets another mode", |f| {
            fs::set_permissions(f.join("d/deep"), fs::Permissions::from_mode(0o711)).unwrap();
        }),
        ("the folder gets another mode", |f| {
            fs::set_permissions(f, fs::Permissions::from_mode(0o711)).unwrap();
        }),
        ("a second name", |f| fs::hard_link(f.join("a"), f.join("d/deep/again")).unwrap()),
        ("only its times", |f| {
            let times =
                copy::times(&Print { mtime_ns: 5, ..Rooted::open(f).unwrap().print(None).unwrap().unwrap() });
            rustix::fs::utimensat(CWD, f.join("d/deep/z"), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        }),
        ("nothing", |_| ()),
    ];
    for (what, act) in rows {
        let case = case();
        for (path, content) in [("a", "1"), ("d/x", "x"), ("d/y", "y"), ("d/deep/z", "z"), ("same/s", "s")] {
            case.write(path, content);
        }
        age();
        let first = case.freeze();
        let before = tree_of(&case.folder);
        act(&case.folder);
        let second = case.freeze();
        assert_eq!(merged(&second), tree_of(&case.folder), "{what}");
        assert_eq!(merged(&first), before, "{what}: the older copy");
        let changed = merged(&first) != merged(&second) || what.starts_with("the folder");
        assert_eq!(second.delta, u64::from(changed), "{what}");
        // And nothing is new after it.
        assert_eq!(case.freeze().delta, second.delta, "{what}");
    }
}

#[test]
fn directories_that_come_to_be_ignored_are_emptied_and_come_back() {
    let case = case();
    for path in ["out/a", "out/deep/b", "keep/out/c", "keep/d"] {
        case.write(path, path);
    }
    assert!(case.freeze().ignored.is_empty());
    let names = |frozen: &Frozen| merged(frozen).into_keys().collect::<Vec<_>>();
    case.write(".gitignore", "out\n");
    let second = case.freeze();
    assert_eq!(names(&second), [".gitignore", "keep", "keep/d", "keep/out", "out"]);
    assert_eq!(second.ignored, [Path::new("keep/out"), Path::new("out")]);
    case.write("out/a", "changed where nobody looks");
    assert_eq!(case.freeze().delta, second.delta);
    case.write(".gitignore", "/out\n");
    let third = case.freeze();
    assert_eq!(third.ignored, [Path::new("out")]);
    assert_eq!(names(&third), [".gitignore", "keep", "keep/d", "keep/out", "keep/out/c", "out"]);
    fs::remove_file(case.folder.join(".gitignore")).unwrap();
    assert_eq!(merged(&case.freeze()), tree_of(&case.folder));
}

#[test]
fn without_a_manifest_that_is_whole_all_is_copied_anew() {
    let spoil: [(&str, Act); 6] = [
        ("gone", |dir| fs::remove_file(dir.join("manifest")).unwrap()),
        ("torn", |dir| File::options().write(true).open(dir.join("manifest")).unwrap().set_len(90).unwrap()),
        ("empty", |dir| fs::write(dir.join("manifest"), "").unwrap()),
        ("of an older form", |dir| fs::write(dir.join("manifest"), r#"{"delta":1,"nodes":[]}"#).unwrap()),
        ("without what its copy is made of", |dir| fs::remove_file(dir.join("state-1.json")).unwrap()),
        ("of a layer that is gone", |dir| fs::remove_dir_all(dir.join("delta/1")).unwrap()),
    ];
    for (what, spoil) in spoil {
        let case = case();
        case.write("a", "1");
        let first = case.freeze();
        let tree = tree_of(&case.folder);
        case.write("d/b", "2");
        assert_eq!(case.freeze().delta, 1);
        spoil(&case.home.join("folders/1"));
        case.write("a", "3");
        let anew = case.freeze();
        assert_eq!((merged(&anew), anew.lowers.len()), (tree_of(&case.folder), 1), "{what}");
        assert_eq!(merged(&first), tree, "{what}: a task may stand on the older copy");
        case.write("a", "4");
        let next = case.freeze();
        assert_eq!((merged(&next), next.delta), (tree_of(&case.folder), anew.delta + 1), "{what}");
    }
}

#[test]
fn files_that_may_be_secrets_are_known_with_the_copy() {
    let case = case();
    for name in [".env", "web/.env.local", "a.key", "plain", ".git/refs/heads/x.key", "d/.env.sample"] {
        case.write(name, "x");
    }
    fs::create_dir(case.folder.join("id_rsa")).unwrap();
    let suspects = |frozen: &Frozen| frozen.view(Path::new("/f")).suspects;
    let known = |all: &[&str]| Some(all.iter().map(|name| path(name)).collect::<Vec<_>>());
    let first = case.freeze();
    assert_eq!(suspects(&first), known(&[".env", "a.key", "web/.env.local"]));
    fs::remove_file(case.folder.join("a.key")).unwrap();
    symlink("plain", case.folder.join("d/id_ed25519")).unwrap();
    let second = case.freeze();
    assert_eq!(suspects(&second), known(&[".env", "d/id_ed25519", "web/.env.local"]));
    // Of copies that were made before there was such a list, and of those where it would be long, nothing is known.
    let state = case.home.join("folders/1/state-0.json");
    let mut older: serde_json::Value = serde_json::from_slice(&fs::read(&state).unwrap()).unwrap();
    older.as_object_mut().unwrap().remove("suspects").unwrap();
    fs::write(&state, older.to_string()).unwrap();
    assert_eq!(suspects(&open(&case.home, first.id, first.delta).unwrap()), None);
    for n in 0..=SUSPECTS_MAX / 200 {
        case.write(&format!("many/{n:0>200}.pem"), "x");
    }
    assert_eq!(suspects(&case.freeze()), None);
}
