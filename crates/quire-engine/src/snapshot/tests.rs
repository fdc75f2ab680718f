//! Snapshots of real overlays and of layers made by hand: each rule of overlayfs, and random edits.

mod hostile;

use super::*;
use crate::freeze::freeze;
use crate::store::Store;
use crate::testing::{edit, edits, overlay, tree_of};
use proptest::prelude::*;
use rustix::fs::{FileType, Mode};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

struct Case {
    _temp: tempfile::TempDir,
    home: PathBuf,
    folder: PathBuf,
    layers: Vec<PathBuf>,
    store: Store,
}

fn case() -> Case {
    let temp = tempfile::tempdir().unwrap();
    let (home, folder) = (temp.path().join("home"), temp.path().join("folder"));
    fs::create_dir(&home).unwrap();
    fs::create_dir(&folder).unwrap();
    let store = Store::open(&home).unwrap();
    Case { layers: vec![], home, folder, store, _temp: temp }
}

impl Case {
    fn put(&self, path: &str, content: &str) {
        put(&self.folder, path, content);
    }

    fn freeze(&self) -> Frozen {
        freeze(&self.home, &self.folder, &|_, _| {}).unwrap()
    }

    /// Returns the upper directory of the folder in a new layer on top.
    fn layer(&mut self) -> PathBuf {
        let layer = self.home.join(format!("layer-{}", self.layers.len()));
        fs::create_dir_all(layer.join("folder-0")).unwrap();
        self.layers.insert(0, layer.clone());
        layer.join("folder-0")
    }

    fn snapshot(&self, frozen: &Frozen) -> Snapshot {
        snapshot(std::slice::from_ref(frozen), &self.layers, &mut Seen::default(), self.store.blobs())
            .unwrap()
            .1
    }
}

fn put(dir: &Path, path: &str, content: &str) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn whiteout(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
}

fn opaque(dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    let name =
        if rustix::process::geteuid().is_root() { "trusted.overlay.opaque" } else { "user.overlay.opaque" };
    rustix::fs::setxattr(dir, name, b"y", rustix::fs::XattrFlags::empty()).unwrap();
}

/// Returns entries as `+path`, `-path`, `~path` (content or kind), `m path` (mode).
fn shown(snapshot: &Snapshot) -> Vec<String> {
    let show = |e: &Entry| {
        let sign = match (&e.was, &e.now) {
            (None, _) => '+',
            (_, None) => '-',
            (Some(Node::File { blob: a, .. }), Some(Node::File { blob: b, .. })) if a == b => 'm',
            (Some(Node::Dir { .. }), Some(Node::Dir { .. })) => 'm',
            _ => '~',
        };
        format!("{sign}{}", e.path)
    };
    snapshot.entries.iter().map(show).collect()
}

/// A base, a layer made by hand, and the changes it stands for.
#[test]
fn layers_are_read_by_overlayfs_rules() {
    type Make = fn(&Path);
    let rows: &[(&str, Make, &[&str])] = &[
        ("nothing", |_| {}, &[]),
        ("new file", |u| put(u, "new", "n"), &["+new"]),
        ("changed", |u| put(u, "a", "changed"), &["~a"]),
        ("touched, the same", |u| put(u, "a", "a"), &[]),
        ("deleted", |u| whiteout(&u.join("a")), &["-a"]),
        ("deleted twice over", |u| whiteout(&u.join("no")), &[]),
        ("directory deleted", |u| whiteout(&u.join("d")), &["-d", "-d/e", "-d/e/y", "-d/x"]),
        ("opaque", |u| opaque(&u.join("d")), &["-d/e", "-d/e/y", "-d/x"]),
        (
            "opaque with a file again",
            |u| {
                opaque(&u.join("d"));
                put(u, "d/x", "x");
            },
            &["-d/e", "-d/e/y"],
        ),
        ("directory becomes file", |u| put(u, "d", "file"), &["~d", "-d/e", "-d/e/y", "-d/x"]),
        ("file becomes directory", |u| put(u, "a/in", "1"), &["~a", "+a/in"]),
        ("link", |u| symlink("../../etc", u.join("l")).unwrap(), &["+l"]),
        ("file becomes link", |u| symlink("d", u.join("a")).unwrap(), &["~a"]),
        (
            "pipe where a file was",
            |u| rustix::fs::mknodat(rustix::fs::CWD, u.join("a"), FileType::Fifo, Mode::RWXU, 0).unwrap(),
            &["-a"],
        ),
        ("git", |u| put(u, ".git/hooks/post-commit", "evil"), &[]),
        ("git deeper", |u| put(u, "sub/.git/config", "evil"), &["+sub"]),
        ("ignored anew", |u| put(u, "node_modules/p/index.js", "x"), &[]),
        (
            "ignored by the version's own rules",
            |u| {
                put(u, "made/.gitignore", "out/\n");
                put(u, "made/out/x", "x");
                put(u, "made/src", "x");
            },
            &["+made", "+made/.gitignore", "+made/src"],
        ),
        (
            "the version's rules cannot hide what was there",
            |u| {
                put(u, ".gitignore", "d/\n");
                put(u, "d/x", "changed");
            },
            &["+.gitignore", "~d/x"],
        ),
        (
            "unreadable",
            |u| {
                put(u, "secret", "s");
                fs::set_permissions(u.join("secret"), fs::Permissions::from_mode(0o000)).unwrap();
            },
            &["+secret"],
        ),
        (
            "setuid and write for others do not travel",
            |u| {
                put(u, "a", "a");
                fs::set_permissions(u.join("a"), fs::Permissions::from_mode(0o6646)).unwrap();
            },
            &[],
        ),
        (
            "executable",
            |u| {
                put(u, "a", "a");
                fs::set_permissions(u.join("a"), fs::Permissions::from_mode(0o755)).unwrap();
            },
            &["ma"],
        ),
    ];
    for (what, make, expect) in rows {
        let mut case = case();
        for (path, content) in [("a", "a"), ("d/x", "x"), ("d/e/y", "y"), (".git/HEAD", "ref")] {
            case.put(path, content);
        }
        let frozen = case.freeze();
        let upper = case.layer();
        make(&upper);
        assert_eq!(shown(&case.snapshot(&frozen)), *expect, "{what}");
    }
}

#[test]
fn a_newer_layer_hides_an_older_one() {
    let mut case = case();
    case.put("d/x", "x");
    case.put("k", "k");
    let frozen = case.freeze();
    let older = case.layer();
    put(&older, "d/new", "n");
    put(&older, "other", "o");
    symlink("/etc", older.join("link")).unwrap();
    whiteout(&older.join("k"));
    let newer = case.layer();
    whiteout(&newer.join("d"));
    whiteout(&newer.join("other"));
    put(&newer, "link/passwd", "not /etc/passwd");
    put(&newer, "k", "k");
    assert_eq!(shown(&case.snapshot(&frozen)), ["-d", "-d/x", "+link", "+link/passwd"]);
}

#[test]
fn what_is_apart_is_listed_apart() {
    let mut case = case();
    case.put("node_modules/old", "x");
    case.put(".git/HEAD", "ref");
    case.put("kept", "a file");
    let frozen = case.freeze();
    let folder = case.layer();
    let layer = case.layers[0].clone();
    put(&folder, ".git/config", "evil");
    put(&folder, "sub/target/debug/out", "x");
    put(&folder, "sub/Cargo.toml", "x");
    put(&layer, "ignored-0/node_modules/new.js", "x");
    put(&layer, "machine/%2f/etc/hosts", "x");
    put(&layer, "machine/%2f/tmp/x", "x");
    put(&layer, "machine/%2fhome%2f%2525/me/f", "x");
    whiteout(&layer.join("machine/%2f/usr/bin/gone"));
    let pipe = |name: &str| {
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, folder.join(name), kind, 0o600.into(), 0).unwrap();
    };
    ["pipe", "sub/pipe", "sub/target/debug/pipe", "kept"].into_iter().for_each(pipe);
    let apart = apart(&[frozen], &case.layers).unwrap();
    assert_eq!(apart.special.paths, ["0/kept", "0/pipe", "0/sub/pipe"]);
    assert_eq!(apart.git.paths, ["0/.git/config"]);
    assert_eq!(apart.ignored.paths, ["0/node_modules/new.js", "0/sub/target/debug/out"]);
    assert_eq!(apart.outside.paths, ["/etc/hosts", "/home/%25/me/f", "/usr/bin/gone"]);
    assert_eq!(apart.outside.total, 3);
}

#[test]
fn unchanged_files_are_not_read_again() {
    let mut case = case();
    let frozen = case.freeze();
    let upper = case.layer();
    put(&upper, "a", "one");
    let mut seen = Seen::default();
    let mut take =
        || snapshot(std::slice::from_ref(&frozen), &case.layers, &mut seen, case.store.blobs()).unwrap().0;
    let first = take();
    // What is recent is read again; make it old enough by the file system's own clock.
    while fs::metadata(upper.join("a")).unwrap().modified().unwrap().elapsed().unwrap().as_millis() < 25 {
        std::thread::yield_now();
    }
    assert_eq!(take(), first);
    assert_eq!(seen.hashes.len(), 1);
    let known = *seen.hashes.values().next().unwrap();
    assert_eq!(known.hash, Hash::of(b"one"));
    put(&upper, "a", "two");
    let second =
        snapshot(std::slice::from_ref(&frozen), &case.layers, &mut seen, case.store.blobs()).unwrap().0;
    assert_ne!(second, first);
}

#[test]
fn every_content_that_a_snapshot_names_is_stored() {
    let mut case = case();
    case.put("mode", "the mode alone changes");
    case.put("linked", "touched, and then linked");
    let frozen = case.freeze();
    let upper = case.layer();
    put(&upper, "mode", "the mode alone changes");
    fs::set_permissions(upper.join("mode"), fs::Permissions::from_mode(0o755)).unwrap();
    put(&upper, "linked", "touched, and then linked");
    fs::hard_link(upper.join("linked"), upper.join("new")).unwrap();
    while fs::metadata(upper.join("linked")).unwrap().modified().unwrap().elapsed().unwrap().as_millis() < 25
    {
        std::thread::yield_now();
    }
    let snapshot = case.snapshot(&frozen);
    assert_eq!(shown(&snapshot), ["mmode", "+new"]);
    for entry in snapshot.entries {
        let Some(Node::File { blob, .. }) = entry.now else { panic!("{entry:?}") };
        assert!(case.store.blobs().has(&blob).unwrap(), "{}", entry.path);
    }
}

#[test]
fn ignored_paths_are_taken_when_named() {
    let mut case = case();
    case.put("node_modules/p/old.js", "old");
    case.put("src", "s");
    let frozen = case.freeze();
    let folder = case.layer();
    let layer = case.layers[0].clone();
    put(&folder, "sub/Cargo.toml", "x");
    put(&folder, "sub/target/out", "made");
    put(&layer, "ignored-0/node_modules/p/new.js", "new");
    put(&layer, "ignored-0/node_modules/p/.git/HEAD", "ref");
    whiteout(&layer.join("ignored-0/node_modules/p/old.js"));
    for (named, expect) in [
        ("node_modules/p/new.js", &["+node_modules/p/new.js"][..]),
        ("sub/target/out", &["+sub/target", "+sub/target/out"][..]),
        ("sub/target", &["+sub/target", "+sub/target/out"][..]),
        ("src", &[][..]),
        (
            "node_modules",
            &[
                "+node_modules/p/.git",
                "+node_modules/p/.git/HEAD",
                "+node_modules/p/new.js",
                "-node_modules/p/old.js",
            ][..],
        ),
    ] {
        let only = [Part { folder: 0, path: RelPath::new(named).unwrap() }];
        let folders = std::slice::from_ref(&case.folder);
        let taken =
            ignored(std::slice::from_ref(&frozen), folders, &case.layers, &only, case.store.blobs()).unwrap();
        let entries = [taken.made, taken.live].concat();
        assert_eq!(shown(&Snapshot { entries }), expect, "{named}");
    }
}

/// What an agent does to annoy: directories that nobody may open, and a depth that no path can name.
#[test]
fn closed_and_bottomless_directories_stop_nothing() {
    let temp = tempfile::tempdir().unwrap();
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let upper = temp.path().join("layer/folder-0");
    put(&upper, "closed/in/file", "x");
    let mut dir = std::os::fd::OwnedFd::from(File::open(&upper).unwrap());
    for _ in 0..3000 {
        rustix::fs::mkdirat(&dir, "deep", Mode::RWXU).unwrap();
        dir = rustix::fs::openat(&dir, "deep", rustix::fs::OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    for closed in ["closed/in/file", "closed/in", "closed"] {
        fs::set_permissions(upper.join(closed), fs::Permissions::from_mode(0o000)).unwrap();
    }
    let mut case = case();
    let frozen = case.freeze();
    case.layers = vec![temp.path().join("layer")];
    let entries = shown(&case.snapshot(&frozen));
    assert_eq!(entries[..3], ["+closed", "+closed/in", "+closed/in/file"]);
    assert!(entries.len() > 500);
    assert_eq!(fs::metadata(upper.join("closed")).unwrap().permissions().mode() & 0o777, 0);
    crate::freeze::remove_tree(&temp.path().join("layer")).unwrap();
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
}

/// Below a deleted directory there is nothing left to delete, at whatever depth.
#[test]
fn a_deep_deletion_is_restored_as_one() {
    let mut case = case();
    case.put("d/e/f/g", "x");
    let frozen = case.freeze();
    whiteout(&case.layer().join("d"));
    let snapshot = case.snapshot(&frozen);
    let fresh = case.home.join("restored");
    restore(&snapshot, std::slice::from_ref(&frozen), &fresh, None, case.store.blobs()).unwrap();
    case.layers = vec![fresh];
    assert_eq!(case.snapshot(&frozen), snapshot);
}

/// Mounts `layers` over `lowers` and returns what shows.
fn shown_over(case: &Case, layers: &[PathBuf], lowers: &[PathBuf]) -> BTreeMap<String, String> {
    let all: Vec<PathBuf> =
        layers.iter().map(|layer| layer.join("folder-0")).chain(lowers.to_vec()).collect();
    let upper = case.home.join(format!("upper-{}", getrandom::u64().unwrap()));
    fs::create_dir(&upper).unwrap();
    fs::set_permissions(&upper, fs::metadata(&all[0]).unwrap().permissions()).unwrap();
    overlay(&all, &upper, tree_of)
}

/// Each way in which a newer layer hides an older one, and the base below both.
#[test]
fn layers_made_one_show_what_they_showed() {
    let mut case = case();
    for path in ["kept", "gone/a", "anew/old", "file", "hidden/deep/old", "back"] {
        case.put(path, "base");
    }
    let frozen = case.freeze();
    let first = case.layer();
    whiteout(&first.join("gone"));
    whiteout(&first.join("anew"));
    whiteout(&first.join("back"));
    put(&first, "file", "first");
    opaque(&first.join("hidden/deep"));
    put(&first, "hidden/deep/new", "first");
    let second = case.layer();
    // Not opaque: it is the whiteout below that hides the base.
    put(&second, "anew/new", "second");
    put(&second, "back", "second");
    whiteout(&second.join("hidden/deep/new"));
    put(&second, "hidden/deep/newer", "second");
    // New since the base, and not opaque either, as the kernel makes it.
    put(&first, "made/dropped", "first");
    whiteout(&second.join("made/dropped"));
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(second.join("hidden"), "user.said", b"of a directory", flags).unwrap();
    fs::set_permissions(second.join("hidden"), fs::Permissions::from_mode(0o2750)).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, second.join("pipe"), FileType::Fifo, 0o600.into(), 0).unwrap();
    symlink("kept", second.join("link")).unwrap();
    let one = case.home.join("one");
    quire_sandbox::squash(&case.layers, &one, &|_| frozen.stack()).unwrap();
    assert_eq!(
        case.snapshot(&frozen),
        snapshot(
            std::slice::from_ref(&frozen),
            std::slice::from_ref(&one),
            &mut Seen::default(),
            case.store.blobs()
        )
        .unwrap()
        .1
    );
    let deep = one.join("folder-0/hidden/deep");
    assert_eq!(fs::read_dir(&deep).unwrap().count(), 1, "no mark where nothing is below");
    if rustix::process::geteuid().is_root() {
        let (apart, together) = (
            shown_over(&case, &case.layers, &frozen.lowers),
            shown_over(&case, std::slice::from_ref(&one), &frozen.lowers),
        );
        assert_eq!(apart, together);
        assert!(
            !together.contains_key("anew/old") && !together.contains_key("hidden/deep/new"),
            "{together:?}"
        );
    }
    let mut said = [0; 32];
    let length = rustix::fs::getxattr(one.join("folder-0/hidden"), "user.said", &mut said).unwrap();
    assert_eq!(&said[..length], b"of a directory");
}

#[test]
fn layers_with_marks_in_different_places_stay_apart() {
    let mut case = case();
    case.layer();
    case.layer();
    quire_sandbox::layer::note_marks(&case.layers[0], quire_sandbox::layer::Marks::User).unwrap();
    quire_sandbox::layer::note_marks(&case.layers[1], quire_sandbox::layer::Marks::Trusted).unwrap();
    let under = |_: &Path| quire_sandbox::stack::Stack::open(&[]);
    assert!(quire_sandbox::squash(&case.layers, &case.home.join("one"), &under).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]
    /// Needs root, for real overlays.
    #[test]
    fn random_layers_made_one_show_what_they_showed(
        person in edits(), rounds in prop::collection::vec(edits(), 2..6)
    ) {
        let mut case = case();
        person.iter().for_each(|e| edit(&case.folder, e));
        let frozen = case.freeze();
        for round in &rounds {
            let mut lowers: Vec<PathBuf> = case.layers.iter().map(|l| l.join("folder-0")).collect();
            lowers.extend(frozen.lowers.clone());
            let upper = case.layer();
            overlay(&lowers, &upper, |at| round.iter().for_each(|e| edit(at, e)));
        }
        let one = case.home.join("one");
        quire_sandbox::squash(&case.layers, &one, &|_| frozen.stack()).unwrap();
        prop_assert_eq!(
            shown_over(&case, std::slice::from_ref(&one), &frozen.lowers),
            shown_over(&case, &case.layers, &frozen.lowers)
        );
        let before = case.snapshot(&frozen);
        case.layers = vec![one];
        prop_assert_eq!(case.snapshot(&frozen), before);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]
    /// Needs root, for real overlays.
    #[test]
    fn a_snapshot_restored_is_the_tree_the_agent_saw(
        person in edits(), rounds in prop::collection::vec(edits(), 1..4)
    ) {
        let mut case = case();
        person.iter().for_each(|e| edit(&case.folder, e));
        let frozen = case.freeze();
        let mut saw = BTreeMap::new();
        for round in &rounds {
            let mut lowers: Vec<PathBuf> = case.layers.iter().map(|l| l.join("folder-0")).collect();
            lowers.extend(frozen.lowers.clone());
            let upper = case.layer();
            saw = overlay(&lowers, &upper, |at| {
                round.iter().for_each(|e| edit(at, e));
                tree_of(at)
            });
        }
        let snapshot = case.snapshot(&frozen);
        let fresh = case.home.join("restored");
        restore(&snapshot, std::slice::from_ref(&frozen), &fresh, None, case.store.blobs()).unwrap();
        let restored = overlay(&frozen.lowers, &fresh.join("folder-0"), tree_of);
        prop_assert_eq!(&restored, &saw);
        case.layers = vec![fresh];
        prop_assert_eq!(case.snapshot(&frozen), snapshot);
    }
}
