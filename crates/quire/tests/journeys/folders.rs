//! A task and the real folder: what changed there meanwhile, two tasks on one folder, several folders, and no git at all.

use crate::model::{Model, Wire, say, shell};
use crate::stage::Stage;
use crate::tree::Tree;
use std::fs;

#[test]
fn what_changed_meanwhile_is_never_overwritten() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("echo mine > a; rm b; echo new > c; echo mine > d"), say("Done.")]);
    stage.use_model(&model, Wire::Chat);
    for name in ["a", "b", "d"] {
        stage.file(name, "old\n");
    }
    stage.quire(&["change all"]).exits(0);
    stage.file("a", "yours\n");
    stage.file("b", "yours\n");
    stage.file("c", "yours\n");
    let yours = Tree::of(&stage.folder);
    let refused = stage.quire(&["accept", "1"]).exits(7).tells(&[
        "Nothing was written",
        "a was changed",
        "c has appeared",
    ]);
    assert_eq!(refused.out, "");
    Tree::of(&stage.folder).assert_is(&yours, "after a refused accept");
    stage.quire(&["accept", "1", "b"]).exits(7);
    Tree::of(&stage.folder).assert_is(&yours, "after a refused accept of a part");
    // What did not change can be taken.
    stage.quire(&["accept", "1", "d"]).exits(0);
    Tree::of(&stage.folder).assert_is(&yours.clone().with_file(b"d", b"mine\n", 0o644), "after a part");
    stage.quire(&["undo", "1"]).exits(0);
    Tree::of(&stage.folder).assert_is(&yours, "after undo");
}

#[test]
fn undo_does_not_take_what_was_written_since() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("echo mine > a; echo mine > b"), say("Done.")]);
    stage.use_model(&model, Wire::Chat);
    stage.file("a", "old\n");
    stage.quire(&["change both"]).exits(0);
    stage.quire(&["accept", "1"]).exits(0);
    stage.file("a", "mine, and then yours\n");
    let yours = Tree::of(&stage.folder);
    stage.quire(&["undo", "1"]).exits(7).tells(&["since you accepted: a was changed"]);
    Tree::of(&stage.folder).assert_is(&yours, "after a refused undo");
    assert_eq!(stage.state(1), "accepted");
}

#[test]
fn two_tasks_on_one_folder_meet_at_accept() {
    let stage = Stage::set();
    let model = Model::new(|asked| match (asked.answered, asked.words[0].as_str()) {
        (0, "the first") => shell("echo first >> both; echo 1 > one"),
        (0, _) => shell("cat both; echo second >> both; echo 2 > two"),
        _ => say("Done."),
    });
    stage.use_model(&model, Wire::Responses);
    stage.file("both", "old\n");
    model.hold_from(1);
    stage.quire(&["run", "-b", "the first"]).exits(0);
    stage.quire(&["run", "-b", "the second"]).exits(0);
    model.wait_for(1, 2);
    model.let_go();
    stage.quire(&["watch", "1"]).exits(0);
    stage.quire(&["watch", "2"]).exits(0);
    let heard = model.asked();
    let second = heard.iter().find(|asked| asked.answered == 1 && asked.words[0] == "the second").unwrap();
    assert!(second.results[0].starts_with("old\n"), "each works on a copy of its own: {:?}", second.results);
    stage.quire(&["accept", "1"]).exits(0);
    stage.quire(&["accept", "2"]).exits(7).tells(&["both was changed"]);
    stage.quire(&["accept", "2", "two"]).exits(0);
    let read = |name: &str| fs::read_to_string(stage.folder.join(name)).unwrap();
    assert_eq!(
        (read("both").as_str(), read("one").as_str(), read("two").as_str()),
        ("old\nfirst\n", "1\n", "2\n")
    );
    // A third one starts from what is there now.
    stage.quire(&["the third"]).exits(0);
    let heard = model.asked();
    assert!(heard.last().unwrap().results[0].starts_with("old\nfirst\n"));
}

#[test]
fn several_folders_are_one_task() {
    let stage = Stage::set();
    let further = stage.base().join("home/other");
    fs::create_dir_all(&further).unwrap();
    fs::write(further.join("b"), "old\n").unwrap();
    let named = further.to_str().unwrap().to_owned();
    let command = format!("echo new > a; echo new > {named}/b; echo new > {named}/c");
    let model = Model::saying(vec![shell(&command), say("Both are changed.")]);
    stage.use_model(&model, Wire::Messages);
    stage.file("a", "old\n");
    let before = (Tree::of(&stage.folder), Tree::of(&further));
    stage.quire(&["change both", "--add-dir", "../other"]).exits(0);
    assert!(model.asked()[0].body.contains(&named), "the model is told of both folders");
    let files = stage.json(&["review", "1"])["review"]["files"].clone();
    let rows: Vec<_> = files
        .as_array()
        .unwrap()
        .iter()
        .map(|f| (f["folder"].as_u64().unwrap(), f["path"].as_str().unwrap()))
        .collect();
    assert_eq!(rows, [(0, "a"), (1, "b"), (1, "c")]);
    Tree::of(&further).assert_is(&before.1, "before accept");
    // A part of the further folder, by its absolute path.
    stage.quire(&["accept", "1", &format!("{named}/b")]).exits(0);
    Tree::of(&stage.folder).assert_is(&before.0, "the other folder");
    assert_eq!(fs::read_to_string(further.join("b")).unwrap(), "new\n");
    // Once more, with nothing to write: one undo takes back what was written all the same.
    stage.quire(&["accept", "1", &format!("{named}/b")]).exits(0);
    stage.quire(&["undo", "1"]).exits(0);
    Tree::of(&further).assert_is(&before.1, "after undo of a part");
    stage.quire(&["accept", "1"]).exits(0);
    assert!(further.join("c").exists());
    // What moved on in either folder stops an accept to both.
    stage.quire(&["undo", "1"]).exits(0);
    fs::write(further.join("b"), "yours\n").unwrap();
    stage.quire(&["accept", "1"]).exits(7);
    Tree::of(&stage.folder).assert_is(&before.0, "nothing was written to the first folder");
}

#[test]
fn j09_git_is_not_needed_and_its_files_are_not_taken() {
    let stage = Stage::set();
    let model = Model::saying(vec![
        shell("echo x > node_modules/y/j.js; echo x > .git/HEAD; echo x > a"),
        say("Done."),
    ]);
    stage.use_model(&model, Wire::Chat);
    stage.file(".git/HEAD", "ref: refs/heads/main\n");
    stage.file(".gitignore", "node_modules\n");
    stage.file("node_modules/y/i.js", "y\n");
    let before = Tree::of(&stage.folder);
    let mut run = stage.command(&["change a"]);
    // No program at all is found, neither by quire nor inside.
    let ended = run.env("PATH", "/nowhere").output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
    let apart = stage.json(&["review", "1"])["review"]["apart"].clone();
    assert_eq!((&apart["git"]["total"], &apart["ignored"]["total"]), (&1.into(), &1.into()), "{apart}");
    stage.quire(&["accept", "1"]).exits(0);
    let plain = before.clone().with_file(b"a", b"x\n", 0o644);
    Tree::of(&stage.folder).assert_is(&plain, "after accept");
    // What is ignored is taken where it is named.
    stage.quire(&["accept", "1", "node_modules/y/j.js"]).exits(0);
    let named = plain.clone().with_file(b"node_modules/y/j.js", b"x\n", 0o644);
    Tree::of(&stage.folder).assert_is(&named, "after an accept by name");
    stage.quire(&["undo", "1"]).exits(0);
    Tree::of(&stage.folder).assert_is(&plain, "after its undo");
    stage.quire(&["undo", "1"]).exits(0);
    Tree::of(&stage.folder).assert_is(&before, "after both");
}

#[test]
fn j15_large_files_and_long_names_travel() {
    let stage = Stage::set();
    let long = "n".repeat(250);
    let command = format!(
        "head -c 100000000 /dev/zero | tr '\\0' 'z' > big; printf x >> kept-big; echo 1 > {long}; ln -s {long} \"$(printf 'line\\nbreak')\""
    );
    let model = Model::saying(vec![shell(&command), say("It is large.")]);
    stage.use_model(&model, Wire::Chat);
    fs::write(stage.folder.join("kept-big"), vec![b'k'; 20 << 20]).unwrap();
    let before = Tree::of(&stage.folder);
    stage.quire(&["make it large"]).exits(0);
    Tree::of(&stage.folder).assert_is(&before, "before accept");
    stage.quire(&["review", "1"]).exits(0);
    stage.quire(&["accept", "1"]).exits(0);
    let big = [vec![b'k'; 20 << 20], vec![b'x']].concat();
    let after = before
        .clone()
        .with_file(b"big", &vec![b'z'; 100_000_000], 0o644)
        .with_file(b"kept-big", &big, 0o644)
        .with_file(long.as_bytes(), b"1\n", 0o644)
        .with_link(b"line\nbreak", long.as_bytes());
    Tree::of(&stage.folder).assert_is(&after, "after accept");
    stage.quire(&["undo", "1"]).exits(0);
    Tree::of(&stage.folder).assert_is(&before, "after undo");
}

#[test]
fn j26_of_two_accepts_at_once_one_writes() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("for n in $(seq 50); do echo new > f$n; done"), say("Fifty.")]);
    stage.use_model(&model, Wire::Chat);
    stage.file("f1", "old\n");
    let before = Tree::of(&stage.folder);
    stage.quire(&["make fifty"]).exits(0);
    for _ in 0..8 {
        let both: Vec<_> = (0..2).map(|_| stage.start(&["accept", "1"])).collect();
        // Whoever looks meanwhile must not take it for the work of a dead process.
        let looks: Vec<_> = (0..3).map(|_| stage.start(&["ls"])).collect();
        let codes: Vec<_> = both.into_iter().map(|one| one.end().code).collect();
        looks.into_iter().for_each(|look| drop(look.end().exits(0)));
        assert!(codes.contains(&Some(0)), "{codes:?}");
        assert_eq!(stage.state(1), "accepted");
        assert_eq!(fs::read_to_string(stage.folder.join("f50")).unwrap(), "new\n");
        while stage.quire(&["undo", "1"]).code == Some(0) {}
        Tree::of(&stage.folder).assert_is(&before, "after undo");
    }
    stage.log(1);
}

#[test]
fn a_folder_that_is_gone_or_another_is_told() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("echo new > a"), say("Done.")]);
    stage.use_model(&model, Wire::Chat);
    let (folder, away) = (stage.base().join("home/work"), stage.base().join("home/away"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a"), "old\n").unwrap();
    stage.quire(&["-C", "../work", "change it"]).exits(0);
    fs::rename(&folder, &away).unwrap();
    let gone = stage.quire(&["accept", "1"]);
    assert!(matches!(gone.code, Some(7 | 8)), "{gone:?}");
    gone.tells(&["work"]);
    assert!(!folder.exists());
    // A link to somewhere else is not the folder that was worked on.
    std::os::unix::fs::symlink(&stage.folder, &folder).unwrap();
    let another = stage.quire(&["accept", "1"]);
    assert!(matches!(another.code, Some(7 | 8)), "{another:?}");
    assert!(!stage.folder.join("a").exists());
    fs::remove_file(&folder).unwrap();
    fs::rename(&away, &folder).unwrap();
    stage.quire(&["accept", "1"]).exits(0);
    assert_eq!(fs::read_to_string(folder.join("a")).unwrap(), "new\n");
}

#[test]
fn a_folder_whose_name_is_not_text_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let stage = Stage::set();
    let model = Model::saying(vec![]);
    stage.use_model(&model, Wire::Chat);
    let folder = stage.base().join(std::ffi::OsStr::from_bytes(b"home/caf\xe9"));
    fs::create_dir(&folder).unwrap();
    let refused = stage.command(&["change it"]).current_dir(&folder).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(2) && said.contains("is not UTF-8"), "{said}");
}

/// What the task itself made in an ignored directory is compared with what the last accept left, not with the base.
#[test]
fn an_ignored_path_that_the_task_made_is_taken_a_second_time() {
    let stage = Stage::set();
    let answers = vec![
        shell("mkdir -p build; echo one > build/made; echo a > a"),
        say("Made."),
        shell("echo two > build/made; echo more > build/more"),
        say("Made anew."),
    ];
    let model = Model::saying(answers);
    stage.use_model(&model, Wire::Chat);
    stage.file(".gitignore", "build/\n");
    let before = Tree::of(&stage.folder);
    stage.quire(&["make it"]).exits(0);
    let made = || fs::read_to_string(stage.folder.join("build/made")).expect("made");
    stage.quire(&["accept", "1", "build/made"]).exits(0);
    stage.quire(&["revise", "1", "anew"]).exits(0);
    // A whole version neither takes it nor takes it back.
    stage.quire(&["accept", "1"]).exits(0);
    assert_eq!(made(), "one\n");
    stage.quire(&["accept", "1", "build/made"]).exits(0);
    assert_eq!(made(), "two\n");
    assert!(!stage.folder.join("build/more").exists(), "not named");
    // What was taken already is not written again, and an edit since stays.
    stage.file("build/made", "mine\n");
    stage.quire(&["accept", "1", "build"]).exits(0);
    assert_eq!((made().as_str(), stage.folder.join("build/more").exists()), ("mine\n", true));
    stage.file("build/made", "two\n");
    while stage.quire(&["undo", "1"]).code == Some(0) {}
    Tree::of(&stage.folder).assert_is(&before, "after all undos");
}

/// What is ignored is not copied: a task sees it as it is, and its person is told where that changed.
#[test]
fn ignored_directories_that_changed_meanwhile_are_told() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("cat deps/one > a; echo built > deps/built"), say("Done.")]);
    stage.use_model(&model, Wire::Chat);
    stage.file(".gitignore", "deps/\n");
    stage.file("deps/one", "one\n");
    model.hold_from(1);
    stage.quire(&["run", "-b", "use it"]).exits(0);
    model.wait_for(1, 1);
    stage.file("deps/two", "installed meanwhile\n");
    model.let_go();
    stage.quire(&["watch", "1"]).exits(0);
    let told = "deps  changed since the task began; `quire revise` starts on it anew";
    let review = stage.quire(&["review", "1"]).exits(0).out;
    assert!(review.contains(told), "{review}");
    let moved = &stage.json(&["review", "1"])["review"]["moved"];
    assert_eq!(moved[0]["system"], false, "{moved}");
    // What quire itself wrote there is no news.
    stage.quire(&["accept", "1", "deps/built"]).exits(0);
    let review = stage.quire(&["review", "1"]).exits(0).out;
    assert!(!review.contains(told), "{review}");
}

#[test]
fn j23_what_is_ignored_is_taken_when_it_is_named() {
    let stage = Stage::set();
    let answers = vec![
        shell("mkdir -p build; echo one > build/made; echo a > a"),
        say("Made."),
        shell("echo two > build/made"),
        say("Made anew."),
    ];
    let model = Model::saying(answers);
    stage.use_model(&model, Wire::Chat);
    stage.file(".gitignore", "build/\n");
    stage.file("build/kept", "kept\n");
    let before = Tree::of(&stage.folder);
    stage.quire(&["make it"]).exits(0);
    stage.quire(&["accept", "1"]).exits(0);
    assert!(!stage.folder.join("build/made").exists(), "not by default");
    let made = || fs::read_to_string(stage.folder.join("build/made")).expect("made");
    stage.quire(&["accept", "1", "build/made"]).exits(0);
    assert_eq!(made(), "one\n");
    // It is there already, and ignored directories are compared with the folder as it is now.
    stage.quire(&["accept", "1", "build/made"]).exits(2).tells(&["Nothing was written"]);
    stage.quire(&["revise", "1", "anew"]).exits(0);
    stage.quire(&["accept", "1", "build/made"]).exits(0);
    assert_eq!(made(), "two\n");
    while stage.quire(&["undo", "1"]).code == Some(0) {}
    Tree::of(&stage.folder).assert_is(&before, "after all undos");
}

/// The model is told as well, once, at its next turn, which sees them as they are.
#[test]
fn the_model_is_told_of_what_changed_in_ignored_directories() {
    let stage = Stage::set();
    let model = Model::new(|asked| match asked.answered % 2 {
        0 => shell("ls deps"),
        _ => say("Done."),
    });
    stage.use_model(&model, Wire::Chat);
    stage.file(".gitignore", "deps/\n");
    stage.file("deps/one", "one\n");
    stage.quire(&["use it"]).exits(0);
    stage.file("deps/two", "installed meanwhile\n");
    for _ in 0..2 {
        stage.quire(&["revise", "1", "again"]).exits(0);
    }
    let asked = model.asked();
    let last = asked.last().expect("a request");
    let told =
        last.words.iter().filter(|words| words.contains("Changed on the real machine")).collect::<Vec<_>>();
    assert!(
        told.len() == 1 && told[0].contains(&format!("{}", stage.folder.join("deps").display())),
        "{told:?}"
    );
    let seen: Vec<bool> = last.results.iter().map(|listed| listed.contains("two")).collect();
    assert_eq!(seen, [false, true, true]);
    stage.log(1);
}

/// Nobody waits minutes for what they did not mean.
#[test]
fn a_single_command_on_a_very_large_folder_asks_first() {
    let stage = Stage::set();
    let model = Model::saying(vec![]);
    stage.use_model(&model, Wire::Chat);
    // As large as a file can be that is copied and not shared.
    for number in 0..600 {
        let file = fs::File::create(stage.folder.join(format!("part-{number}"))).expect("a file");
        // SAFETY: the descriptor is open; no memory is touched.
        assert_eq!(unsafe { libc::posix_fallocate(std::os::fd::AsRawFd::as_raw_fd(&file), 0, 8 << 20) }, 0);
    }
    let asks = stage.quire(&["sandbox", "--", "true"]).exits(3).tells(&["5.0 GB", "--yes"]);
    assert_eq!(asks.out, "");
    assert!(!stage.data().join("folders/1/base/0").exists(), "nothing was copied");
}

/// Of all that a few bytes are there: no step may take the room, and none the time, of the rest.
fn sparse(length: u64) {
    use std::os::unix::fs::{FileExt, MetadataExt};
    let stage = Stage::set();
    let command = format!(
        "printf x | dd of=disk bs=1 seek={} conv=notrunc status=none; truncate -s {length} made; echo > small",
        length - 1_000_000
    );
    let model = Model::saying(vec![shell(&command), say("It is touched.")]);
    stage.use_model(&model, Wire::Chat);
    let disk = stage.folder.join("disk");
    let file = fs::File::create(&disk).expect("a file");
    file.write_all_at(b"begin", 0).expect("a file");
    file.set_len(length).expect("a sparse file");
    drop(file);
    let room = |path: &std::path::Path| {
        let out = std::process::Command::new("du").args(["-s", "-B1"]).arg(path).output().expect("du runs");
        let out = String::from_utf8_lossy(&out.stdout).into_owned();
        out.split('\t').next().and_then(|bytes| bytes.parse::<u64>().ok()).expect("a number")
    };
    let byte = |path: &std::path::Path, at: u64| {
        let mut byte = [0];
        fs::File::open(path).and_then(|file| file.read_exact_at(&mut byte, at)).expect("a byte");
        byte[0]
    };
    // Zeros are hashed like anything else, which a debug build on a busy machine takes its time for.
    let quire = |arguments: &[&str]| {
        let ended = stage.command(arguments).output().expect("the binary can be started");
        assert!(ended.status.success(), "{arguments:?}: {ended:?}");
    };
    quire(&["touch it"]);
    quire(&["review", "1"]);
    quire(&["accept", "1"]);
    assert_eq!((byte(&disk, length - 1_000_000), byte(&disk, 0), byte(&disk, length / 2)), (b'x', b'b', 0));
    assert_eq!(disk.metadata().expect("a file").len(), length);
    assert_eq!(stage.folder.join("made").metadata().expect("a file").size(), length);
    assert!(room(&stage.folder) < 4 << 20, "{} in the folder", room(&stage.folder));
    quire(&["undo", "1"]);
    assert_eq!((byte(&disk, length - 1_000_000), byte(&disk, 0)), (0, b'b'));
    assert!(room(&stage.folder) < 4 << 20, "{} in the folder", room(&stage.folder));
    assert!(room(&stage.data()) < 24 << 20, "{} with quire's data", room(&stage.data()));
}

#[test]
fn a_sparse_file_stays_sparse() {
    sparse(200 << 20);
}

#[test]
fn a_sparse_file_of_ten_gigabytes_stays_sparse() {
    if std::env::var_os("QUIRE_TEST_ALL").is_some() {
        sparse(10 << 30);
    }
}
