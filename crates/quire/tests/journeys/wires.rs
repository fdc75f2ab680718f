//! The main journey on each wire, as root and as an ordinary user: files of every kind are made, edited and deleted; the folder
//! is byte for byte as it was until Accept, as the version says after it, and as it was after Undo.

use crate::model::{Answer, Model, Wire, calls, say, shell};
use crate::stage::{Stage, can_make_users};
use crate::tree::Tree;
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

const NAME: &[u8] = b"caf\xe9.txt";

fn fill(stage: &Stage) {
    stage.file("letter.txt", "Dear all,\nsee you on Monday.\nYours\n");
    stage.file("crlf.txt", "one\r\ntwo\r\nthree\r\n");
    stage.file("old/notes.txt", "old\n");
    stage.file("old/inner/deep.txt", "deep\n");
    stage.file("run.sh", "#!/bin/sh\necho run\n");
    stage.file("plain.sh", "#!/bin/sh\necho plain\n");
    stage.file("private.txt", "mine\n");
    stage.file(".gitignore", "build/\n");
    stage.file("build/out.o", "object\n");
    let at = |name: &[u8]| stage.folder.join(OsStr::from_bytes(name));
    fs::write(at(NAME), b"not UTF-8 \xff\n").unwrap();
    fs::write(at(b"data.bin"), [0, 1, 2, 255]).unwrap();
    fs::create_dir(at(b"empty")).unwrap();
    symlink("letter.txt", at(b"link")).unwrap();
    symlink("nowhere/at all", at(b"dangling")).unwrap();
    fs::set_permissions(at(b"run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(at(b"private.txt"), fs::Permissions::from_mode(0o600)).unwrap();
    stage.own(&stage.folder);
}

fn script(wire: Wire) -> Vec<Answer> {
    let edits = match wire {
        Wire::Responses => {
            let patch = "*** Begin Patch\n*** Add File: made/new.txt\n+new\n*** Update File: letter.txt\n@@\n-see you on Monday.\n+see you on Tuesday.\n*** Update File: crlf.txt\n@@\n one\n-two\n+zwei\n*** End Patch\n";
            calls(&[("apply_patch", json!({ "patch": patch }))])
        }
        _ => calls(&[
            ("write", json!({ "path": "made/new.txt", "content": "new\n" })),
            ("edit", json!({ "path": "letter.txt", "old": "Monday", "new": "Tuesday" })),
            ("edit", json!({ "path": "crlf.txt", "old": "two", "new": "zwei" })),
        ]),
    };
    let look = Answer::Reply(
        "Let me look.".to_owned(),
        vec![
            ("plan".into(), json!({ "steps": [{ "step": "Look", "status": "doing" }] }).to_string()),
            ("read".into(), json!({ "path": "letter.txt" }).to_string()),
            ("search".into(), json!({ "pattern": "Monday" }).to_string()),
        ],
    );
    vec![
        look,
        edits,
        shell(
            "set -e; rm -r old; mv caf*.txt $'caf\\xe9-2.txt'; chmod +x plain.sh; chmod -x run.sh; rmdir empty; \
             mkdir -p made/hollow; \
             echo x > /usr/local/quire-was-here; ln -s new.txt made/link; ln -sfn private.txt link; printf '#!/bin/sh\\n' > tool; \
             chmod 755 tool; printf '\\0\\1' > data.bin; echo made > build/made.o; touch made/later",
        ),
        say("The letter now says Tuesday.\n\nNot checked: the tool."),
        // The second turn.
        shell("rm made/later; echo newer > made/new.txt"),
        say("Now it is newer."),
    ]
}

fn after_accept(before: &Tree) -> Tree {
    let tree = before.clone().without(b"old").without(NAME).without(b"empty");
    tree.with_folder(b"made")
        .with_file(b"made/new.txt", b"new\n", 0o644)
        .with_file(b"made/later", b"", 0o644)
        .with_folder(b"made/hollow")
        .with_link(b"made/link", b"new.txt")
        .with_link(b"link", b"private.txt")
        .with_file(b"letter.txt", b"Dear all,\nsee you on Tuesday.\nYours\n", 0o644)
        .with_file(b"crlf.txt", b"one\r\nzwei\r\nthree\r\n", 0o644)
        .with_file(b"caf\xe9-2.txt", b"not UTF-8 \xff\n", 0o644)
        .with_file(b"plain.sh", b"#!/bin/sh\necho plain\n", 0o755)
        .with_file(b"run.sh", b"#!/bin/sh\necho run\n", 0o644)
        .with_file(b"tool", b"#!/bin/sh\n", 0o755)
        .with_file(b"data.bin", b"\x00\x01", 0o644)
}

fn journey(stage: &Stage, wire: Wire) {
    let model = Model::saying(script(wire));
    stage.use_model(&model, wire);
    fill(stage);
    let before = Tree::of(&stage.folder);
    let now = || Tree::of(&stage.folder);

    let run = stage.quire(&["bring the letter up to date"]).exits(0);
    assert!(run.out.starts_with("Task 1 is ready. "), "{}", run.out);
    assert!(run.out.contains("The letter now says Tuesday."), "{}", run.out);
    assert!(run.err.starts_with("Task 1 in "), "{}", run.err);
    assert!(!Path::new("/usr/local/quire-was-here").exists());
    now().assert_is(&before, "after the work, before accept");

    review(stage);
    stage.quire(&["accept", "1", "--seen", "0123456789"]).exits(3).tells(&["Nothing was written."]);
    now().assert_is(&before, "after an accept of what was not seen");
    let seen = stage.json(&["review", "1"])["review"]["seen"].as_str().expect("a hash").to_owned();
    stage.quire(&["accept", "1", "--seen", &seen[..12]]).exits(0);
    let after = after_accept(&before);
    now().assert_is(&after, "after accept");
    assert_eq!(stage.state(1), "accepted");
    let undo = stage.quire(&["undo", "1"]).exits(0);
    assert!(undo.out.contains("letter.txt") && undo.out.contains("caf\\xe9"), "{}", undo.out);
    now().assert_is(&before, "after undo");

    // A part: a file, and a folder with everything below it.
    stage.quire(&["accept", "1", "letter.txt", "made"]).exits(0);
    let part =
        Tree(after.0.iter().filter(|(path, _)| path.starts_with(b"made") || **path == b"letter.txt").fold(
            before.0.clone(),
            |mut tree, (path, leaf)| {
                tree.insert(path.clone(), leaf.clone());
                tree
            },
        ));
    now().assert_is(&part, "after an accept of a part");
    stage.quire(&["discard", "1"]).exits(3).tells(&["quire undo 1"]);
    stage.quire(&["undo", "1"]).exits(0);
    now().assert_is(&before, "after undo of a part");

    // The next turn knows everything of the first one.
    stage.quire(&["revise", "1", "and make it newer"]).exits(0);
    assert_eq!(stage.json(&["review", "1"])["review"]["version"], 2);
    let asked = model.asked();
    assert_eq!(asked.len(), 6);
    assert!(asked[4].items.starts_with(&asked[3].items[..]), "the second turn extends the first");
    assert_eq!(asked[4].words, ["bring the letter up to date", "and make it newer"]);
    now().assert_is(&before, "after the second turn");
    stage.quire(&["accept", "1"]).exits(0);
    let newer = after.without(b"made/later").with_file(b"made/new.txt", b"newer\n", 0o644);
    now().assert_is(&newer, "after the accept of version 2");
    stage.quire(&["undo", "1"]).exits(0);
    now().assert_is(&before, "after its undo");

    stage.quire(&["discard", "1"]).exits(0);
    assert_eq!(stage.state(1), "discarded");
    stage.quire(&["accept", "1"]).exits(2);
    now().assert_is(&before, "after discard");
    stage.log(1);
}

/// The review says what was done, and keeps apart what is not taken.
fn review(stage: &Stage) {
    let told = stage.json(&["review", "1"]);
    assert_eq!(told["v"], 1);
    let review = &told["review"];
    let files = review["files"].as_array().expect("files");
    let of = |path: &str| files.iter().find(|file| file["path"] == path).unwrap_or(&Value::Null);
    let expected = [
        ("letter.txt", "changed", "file", 1, 1),
        ("crlf.txt", "changed", "file", 1, 1),
        ("made/new.txt", "new", "file", 1, 0),
        ("made/link", "new", "link", 0, 0),
        ("made/hollow", "new", "folder", 0, 0),
        ("old/notes.txt", "deleted", "file", 0, 1),
        ("caf\\xe9-2.txt", "renamed", "file", 0, 0),
        ("data.bin", "changed", "file", 0, 0),
        ("empty", "deleted", "folder", 0, 0),
    ];
    for (path, fate, shape, added, removed) in expected {
        let file = of(path);
        assert_eq!((&file["fate"], &file["shape"]), (&json!(fate), &json!(shape)), "{path}: {review:#}");
        // Counts of lines are of text alone.
        if file["binary"] == false {
            assert_eq!((&file["added"], &file["removed"]), (&json!(added), &json!(removed)), "{path}");
        }
    }
    assert_eq!((&of("plain.sh")["executable"], &of("run.sh")["executable"]), (&json!(true), &json!(false)));
    assert_eq!(*of("build/made.o"), Value::Null);
    assert_eq!(review["apart"]["ignored"]["total"], 1, "{review:#}");
    // The whole machine can be changed in the copy, also by an ordinary user's agent.
    let outside = review["apart"]["outside"]["paths"].to_string();
    assert!(outside.contains("/usr/local/quire-was-here"), "{outside}");
    let text = stage.quire(&["review", "1"]).exits(0);
    for said in [
        "The letter now says Tuesday.",
        "letter.txt",
        "- see you on Monday.",
        "+ see you on Tuesday.",
        "quire accept 1",
    ] {
        assert!(text.out.contains(said), "{said:?} is not in:\n{}", text.out);
    }
    let diff = stage.quire(&["review", "1", "--diff"]).exits(0);
    assert!(diff.out.contains("-see you on Monday.\n+see you on Tuesday.\n"), "{}", diff.out);
    assert!(diff.out.contains("-two\r\n+zwei\r\n"), "{:?}", diff.out);
}

fn as_me(wire: Wire) {
    journey(&Stage::set(), wire);
}

fn as_user(wire: Wire) {
    if can_make_users() {
        journey(&Stage::for_user(), wire);
    }
}

#[test]
fn responses() {
    as_me(Wire::Responses);
}

#[test]
fn chat() {
    as_me(Wire::Chat);
}

#[test]
fn messages() {
    as_me(Wire::Messages);
}

#[test]
fn responses_as_an_ordinary_user() {
    as_user(Wire::Responses);
}

#[test]
fn chat_as_an_ordinary_user() {
    as_user(Wire::Chat);
}

#[test]
fn messages_as_an_ordinary_user() {
    as_user(Wire::Messages);
}

/// A new connection for each step would cost more than the step.
#[test]
fn twenty_steps_share_a_connection() {
    for wire in Wire::ALL {
        let stage = Stage::set();
        let model = Model::new(|asked| match asked.answered {
            0..20 => shell(&format!("echo {}", asked.answered)),
            _ => say("Counted."),
        });
        stage.use_model(&model, wire);
        stage.quire(&["count to twenty"]).exits(0);
        assert_eq!(model.asked().len(), 21, "{wire:?}");
        // A request that is faster than the end of the answer before it needs another one.
        assert!(model.connections() < 7, "{wire:?}: {}", model.connections());
    }
}
