//! A part of an accept is taken back, then the rest; and what can go back where a person edited some of it since.

use super::*;

fn parts(paths: &Paths) -> Vec<Part> {
    paths.iter().map(|(folder, path)| Part { folder: *folder, path: path.clone() }).collect()
}

fn paths(named: &[&str]) -> Paths {
    named.iter().map(|path| (0, RelPath::new(*path).unwrap())).collect()
}

fn shown(paths: &Paths) -> Vec<String> {
    paths.iter().map(|(_, path)| path.to_string()).collect()
}

impl Case {
    fn back(&self, before: &[Vec<Part>]) -> Back {
        Back::of(&self.desk, 1, before).unwrap()
    }

    fn take_back(&self, back: &Back, paths: &Paths) -> Result<Report, AcceptError> {
        carry_out(back.plan(&self.desk, paths, self.store.blobs())?, self.store.blobs(), &mut |_| {})
    }
}

/// Of every kind of change, each of its paths alone: those that belong together go back together, nothing else does, and an undo of
/// the rest leaves the folder exactly as before.
#[test]
fn any_part_goes_back_alone_and_the_rest_after_it() {
    let mut partial = 0;
    for (what, setup, change) in CHANGES {
        let first = case();
        let entries = first.prepare(*setup, *change);
        first.accept(1, &entries).unwrap_or_else(|e| panic!("{what}: {e}"));
        for (folder, path) in first.back(&[]).all() {
            let what = format!("{what}, {path}");
            let case = case();
            let entries = case.prepare(*setup, *change);
            let (before, after) = (tree_of(&case.folder), tree_of(&case.wanted));
            case.accept(1, &entries).unwrap();
            let back = case.back(&[]);
            let some = back.named(&[Part { folder, path: path.clone() }]).unwrap();
            assert!(some.contains(&(folder, path)), "{what}");
            case.take_back(&back, &some).unwrap_or_else(|e| panic!("{what}: {e}"));
            let is = tree_of(&case.folder);
            let went: BTreeSet<String> = shown(&some).into_iter().collect();
            for at in before.keys().chain(after.keys()).chain(is.keys()) {
                let side = if went.contains(at) { &before } else { &after };
                assert_eq!(is.get(at), side.get(at), "{what}: {at}");
            }
            let rest = case.back(&[parts(&some)]);
            assert!(rest.all().is_disjoint(&some), "{what}");
            partial += u32::from(!rest.all().is_empty());
            case.take_back(&rest, &rest.all()).unwrap_or_else(|e| panic!("{what}, the rest: {e}"));
            assert_eq!(tree_of(&case.folder), before, "{what}, the rest");
        }
    }
    assert!(partial > 20, "{partial}");
}

/// A folder that the task changed in every way in which one path needs another.
fn tangled() -> Case {
    let case = case();
    let entries = case.prepare(
        |f| {
            put(f, "plain", "p");
            put(f, "moved/from", "same content");
            put(f, "gone/in/deep", "deep");
            put(f, "gone/file", "file");
            put(f, "was-file", "f");
        },
        |f| {
            put(f, "plain", "P");
            fs::create_dir(f.join("new")).unwrap();
            put(f, "new/a", "a");
            put(f, "new/b", "b");
            fs::rename(f.join("moved/from"), f.join("moved/to")).unwrap();
            fs::remove_dir_all(f.join("gone")).unwrap();
            fs::remove_file(f.join("was-file")).unwrap();
            put(f, "was-file/inner", "i");
        },
    );
    case.accept(1, &entries).unwrap();
    case
}

#[test]
fn what_belongs_to_a_part_goes_back_with_it() {
    let back = tangled().back(&[]);
    for (named, taken) in [
        (&["plain"][..], &["plain"][..]),
        // A renamed file is one, from whichever of its paths.
        (&["moved/to"], &["moved/from", "moved/to"]),
        (&["moved/from"], &["moved/from", "moved/to"]),
        // What was in a folder needs it; what else was there does not come.
        (&["gone/in/deep"], &["gone", "gone/in", "gone/in/deep"]),
        (&["gone"], &["gone", "gone/file", "gone/in", "gone/in/deep"]),
        // A new folder stays as long as something in it does.
        (&["new/a"], &["new/a"]),
        (&["new"], &["new", "new/a", "new/b"]),
        (&["new/a", "new/b"], &["new/a", "new/b"]),
        (&["was-file/inner"], &["was-file/inner"]),
        (&["was-file"], &["was-file", "was-file/inner"]),
    ] {
        let named: Vec<Part> = parts(&paths(named));
        assert_eq!(shown(&back.named(&named).unwrap()), taken, "{named:?}");
    }
    let other = parts(&paths(&["plain", "other"]));
    assert!(matches!(back.named(&other), Err(AcceptError::NotWritten(path)) if path.to_string() == "other"));
}

#[test]
fn what_stays_keeps_what_it_stands_in() {
    let back = tangled().back(&[]);
    let all = shown(&back.all());
    for (stay, also) in [
        (&["plain"][..], &[][..]),
        (&["new/a"], &["new"]),
        // Of the person's own: nothing that the accept wrote.
        (&["new/mine"], &["new"]),
        (&["moved/to"], &["moved/from"]),
        (&["gone"], &["gone/file", "gone/in", "gone/in/deep"]),
        (&["gone/in"], &["gone/in/deep"]),
        (&["gone/in/deep"], &[]),
        (&["was-file/inner"], &["was-file"]),
    ] {
        let left = back.without(&back.all(), &paths(stay));
        let kept: BTreeSet<&str> = stay.iter().chain(also).copied().collect();
        let expected: Vec<&String> = all.iter().filter(|path| !kept.contains(path.as_str())).collect();
        assert_eq!(shown(&left).iter().collect::<Vec<_>>(), expected, "{stay:?}");
    }
    // And just that can be carried out, with the person's file where it is.
    let case = tangled();
    put(&case.folder, "new/mine", "m");
    let back = case.back(&[]);
    assert!(matches!(case.take_back(&back, &back.all()), Err(AcceptError::Drift(_))));
    case.take_back(&back, &back.without(&back.all(), &paths(&["new/mine"]))).unwrap();
    let is = tree_of(&case.folder);
    let is: Vec<&str> = is.keys().map(String::as_str).collect();
    assert_eq!(
        is,
        [
            "gone",
            "gone/file",
            "gone/in",
            "gone/in/deep",
            "moved",
            "moved/from",
            "new",
            "new/mine",
            "plain",
            "was-file"
        ]
    );
}

/// The journal of the first of two undos says that it was done; the second was rolled back.
#[test]
fn each_undo_of_a_part_has_a_journal_of_its_own() {
    let case = tangled();
    let folders = std::slice::from_ref(&case.folder);
    let back = case.back(&[]);
    let some = paths(&["plain"]);
    case.take_back(&back, &some).unwrap();
    let rest = case.back(&[parts(&some)]);
    let plan = rest.plan(&case.desk, &rest.all(), case.store.blobs()).unwrap();
    put(&case.folder, "new/a", "edited just now");
    assert!(carry_out(plan, case.store.blobs(), &mut |_| {}).is_err());
    let ended = |turn| outcome(&case.desk, folders, Writing::Undo { accept: 1, turn }).unwrap().unwrap();
    assert!(matches!(ended(0), Outcome::After(_)) && matches!(ended(1), Outcome::Before { .. }));
    for (name, writing) in [
        ("accept-1", Some((1, false))),
        ("undo-12", Some((12, true))),
        ("undo-12-3", Some((12, true))),
        ("accept-1-2", None),
        ("undo-x", None),
    ] {
        assert_eq!(Writing::of(name), writing, "{name}");
    }
    // One that dies in it is found by its name.
    let plan = case.back(&[]).plan(&case.desk, &Paths::new(), case.store.blobs()).unwrap();
    Place { dir: case.desk.dir.clone(), name: "undo-1-2".into() }.begin(&plan.journal).unwrap();
    drop(plan);
    let recovered = recover(&case.desk.home).unwrap();
    assert!(matches!(recovered[..], [Recovered { number: 1, undo: true, .. }]), "{recovered:?}");
}

const OVER: Sides<'_> = Sides { base: &|_, _| Ok(None), over: &|_, _| true, where_gone: false };

impl Case {
    fn over(&self, entries: &[Entry]) -> Result<Plan, AcceptError> {
        plan(&self.desk, 1, std::slice::from_ref(&self.folder), entries, &OVER, self.store.blobs())
    }
}

/// The task's side is written, and an undo brings the person's back, byte for byte.
#[test]
fn what_is_taken_over_the_persons_comes_back_by_an_undo() {
    const LINES: &str = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
    let agent: Make = |f| {
        put(f, "lines", LINES.replace("5\n", "task\n"));
        put(f, "binary", b"\0task");
        fs::remove_file(f.join("deleted")).unwrap();
        put(f, "made", "task's");
        put(f, "in/deep/changed", "task's");
        put(f, "in/new", "task's");
        mode(f, "mode", 0o755);
        fs::remove_file(f.join("link")).unwrap();
        symlink("task", f.join("link")).unwrap();
        put(f, "apart", "task's");
    };
    let case = case();
    let entries = case.prepare(
        |f| {
            for path in ["lines", "binary", "deleted", "in/deep/changed", "mode", "link", "apart"] {
                put(f, path, LINES);
            }
        },
        agent,
    );
    case.store.blobs().put(&[LINES.as_bytes()]).unwrap();
    let person = LINES.replace("5\n", "mine\n").replace("9\n", "nine\n");
    put(&case.folder, "lines", &person);
    put(&case.folder, "binary", b"\0mine");
    put(&case.folder, "deleted", b"mine\xff");
    put(&case.folder, "made", "mine");
    fs::remove_dir_all(case.folder.join("in")).unwrap();
    mode(&case.folder, "mode", 0o775);
    fs::remove_file(case.folder.join("link")).unwrap();
    symlink("mine", case.folder.join("link")).unwrap();
    let mine = tree_of(&case.folder);
    // Without the person's word nothing of it is written.
    let Err(AcceptError::Drift(drift)) = case.accept(1, &entries) else { panic!() };
    assert_eq!(drift.len(), 8, "{drift:?}");
    assert_eq!(tree_of(&case.folder), mine);

    let plan = case.over(&entries).unwrap();
    let gave: Vec<(String, quire_core::view::Over, bool)> =
        plan.over().iter().map(|gave| (gave.path.to_string(), gave.what, gave.was.is_some())).collect();
    use quire_core::view::Over::{Gone, Lines, Whole};
    let expected = [
        ("binary", Whole, true),
        ("deleted", Whole, true),
        ("in/deep/changed", Gone, false),
        ("in/new", Gone, false),
        ("lines", Lines, true),
        ("link", Whole, true),
        ("made", Whole, true),
        ("mode", Whole, true),
    ];
    assert_eq!(gave, expected.map(|(path, what, was)| (path.to_owned(), what, was)));
    carry_out(plan, case.store.blobs(), &mut |_| {}).unwrap();
    let lines = fs::read_to_string(case.folder.join("lines")).unwrap();
    assert_eq!(lines, person.replace("mine\n", "task\n"), "their other edit is in it");
    let mut is = tree_of(&case.folder);
    let mut wanted = tree_of(&case.wanted);
    is.remove("lines");
    wanted.remove("lines");
    assert_eq!(is, wanted);

    case.undo(1).unwrap();
    assert_eq!(tree_of(&case.folder), mine);
}

/// Where nothing conflicts the word changes nothing, and a folder of the person's never gives way.
#[test]
fn only_what_conflicts_gives_way() {
    let two: Make = |f| put(f, "a", "1\n2\n3\n4\n5\n6\n7\n");
    let case = case();
    let entries = case.prepare(two, |f| put(f, "a", "one\n2\n3\n4\n5\n6\n7\n"));
    case.store.blobs().put(&[b"1\n2\n3\n4\n5\n6\n7\n"]).unwrap();
    put(&case.folder, "a", "1\n2\n3\n4\n5\n6\nseven\n");
    let plan = case.over(&entries).unwrap();
    assert!(plan.over().is_empty() && plan.merged().len() == 1);
    drop(plan);
    fs::remove_file(case.folder.join("a")).unwrap();
    put(&case.folder, "a/mine", "m");
    let mine = tree_of(&case.folder);
    assert!(matches!(case.over(&entries), Err(AcceptError::Drift(_))));
    assert_eq!(tree_of(&case.folder), mine);
}

/// On a disk that keeps no modes, a later version expects what the accept left, and of what was taken back what was there before.
#[test]
fn a_mode_that_the_disk_gave_goes_back_with_its_part() {
    let case = tangled();
    let place = Place { dir: case.desk.dir.clone(), name: Writing::Accept(1).name() };
    let mut journal = place.read(Stage::After).unwrap();
    for item in journal.operations.iter_mut().flat_map(|operation| &mut operation.new) {
        (item.mode, item.is_given) = (0o755, true);
    }
    fs::write(place.at(Stage::After), serde_json::to_vec(&journal).unwrap()).unwrap();
    let path = |path: &str| RelPath::new(path).unwrap();
    let expected = |given: &Given, at: &str| {
        let was = Some(Node::File { blob: Hash::of(b""), bytes: 0, mode: 0o644 });
        match given.was(Entry { folder: 0, path: path(at), was, now: None }).was {
            Some(Node::File { mode, .. }) => mode,
            other => panic!("{other:?}"),
        }
    };
    let (before, mut given) = (Given::default(), Given::default());
    given.add(&case.desk, 1);
    assert_eq!((expected(&given, "plain"), expected(&given, "new/a")), (0o755, 0o755));
    given.take_back(&before, &[(0, &path("plain"))].into());
    assert_eq!((expected(&given, "plain"), expected(&given, "new/a")), (0o644, 0o755));
}
