//! A person takes a version over: what they make of a file is a version of its own, checked and accepted as any other, and the agent
//! goes on from it.

use crate::browser::Browser;
use crate::model::{Model, Wire, say, shell};
use crate::page::until;
use crate::stage::{Stage, can_make_users};
use crate::tree::Tree;
use quire_core::event::Event;
use std::fs;
use std::os::unix::fs::PermissionsExt;

const CHECK: &str = "grep -qx right a.txt";

/// Returns a stage on which task 1 says that it is done, and its check fails: it wrote `a.txt`, which is a program, and `b.txt`, and
/// put something outside the folder. Told "go on", its agent looks.
fn failing(wire: Wire) -> (Stage, Model) {
    let stage = Stage::set();
    let model = wrong_at_first(&stage, wire);
    (stage, model)
}

fn wrong_at_first(stage: &Stage, wire: Wire) -> Model {
    let model = Model::new(move |asked| {
        let on = asked.words.iter().any(|words| words.starts_with("go on"));
        let looked = asked.results.last().is_some_and(|last| last.contains("looked"));
        match (on, looked, asked.answered) {
            (true, false, _) => shell("cat a.txt; ls; cat /opt/kept; echo looked"),
            (true, true, _) => say("I saw it."),
            (false, _, 0) => shell(
                "echo wrong > a.txt; chmod 755 a.txt; echo b > b.txt; echo kept > /opt/kept; ln -s b.txt link",
            ),
            _ => say("Done: a.txt is right.\n\nChecked: `grep -qx right a.txt`"),
        }
    });
    stage.use_model(&model, wire);
    stage.file("a.txt", "old\n");
    stage.file("left.txt", "left\n");
    model
}

fn run(stage: &Stage) {
    stage.quire(&["run", "put it right", "--check", CHECK]).exits(1);
    assert_eq!(stage.state(1), "says done, but its check failed");
}

fn journey(stage: &Stage, wire: Wire) {
    let model = wrong_at_first(stage, wire);
    let before = Tree::of(&stage.folder);
    run(stage);
    let asked = model.asked().len();

    let saved = stage.quire_with(&["edit", "1", "a.txt"], b"right\n").exits(0).out;
    assert!(saved.contains("becomes version 2") && saved.contains("quire watch 1"), "{saved}");
    stage.quire(&["watch", "1"]).exits(0);
    assert_eq!((stage.state(1).as_str(), model.asked().len()), ("ready", asked), "no model was asked");
    let review = stage.json(&["review", "1"])["review"].clone();
    assert_eq!((&review["version"], &review["edited"][0]), (&2.into(), &"a.txt".into()), "{review}");
    assert_eq!(review["checks"][0]["passed"], true, "{review}");
    assert!(review["summary"].as_str().unwrap().contains("a.txt is right"), "{review}");
    let shown = stage.quire(&["review", "1"]).exits(0).out;
    assert!(shown.contains("You changed a.txt yourself, which made version 2"), "{shown}");
    assert!(stage.quire(&["log", "1"]).exits(0).out.contains("the person changed a.txt of version 1"));
    let since = stage.quire(&["review", "1", "--since", "1", "--diff"]).exits(0).out;
    assert!(since.contains("-wrong\n+right") && !since.contains("b.txt"), "{since}");
    Tree::of(&stage.folder).assert_is(&before, "before accept");

    // What is there already is no version.
    let same = stage.quire_with(&["edit", "1", "a.txt", "-"], b"right\n").exits(0).out;
    assert!(same.contains("nothing was changed") && stage.json(&["review", "1"])["review"]["version"] == 2);

    // The files are what was typed, with the mode that the agent gave it, and go back.
    stage.quire(&["accept", "1"]).exits(0);
    let a = stage.folder.join("a.txt");
    assert_eq!(fs::read(&a).unwrap(), b"right\n");
    assert_eq!(fs::metadata(&a).unwrap().permissions().mode() & 0o777, 0o755);
    assert!(stage.folder.join("b.txt").exists());
    stage.quire(&["undo", "1"]).exits(0);
    Tree::of(&stage.folder).assert_is(&before, "after undo");

    // The agent's own version is there still, and so is the person's.
    let steps = stage.quire(&["rewind", "1"]).exits(0).out;
    assert!(steps.contains("v2   You changed a.txt") && steps.contains("v1   Done"), "{steps}");
    stage.quire(&["rewind", "1", "--to", "v1"]).exits(0);
    assert!(stage.quire(&["review", "1", "--diff"]).exits(0).out.contains("+wrong"));
    stage.quire(&["rewind", "1", "--to", "v2"]).exits(0);
    assert!(stage.quire(&["review", "1", "--diff"]).exits(0).out.contains("+right"));

    // It goes on from there, with all that it left beside the folder, and is told what was done.
    stage.quire(&["revise", "1", "go on"]).exits(0);
    let asked = model.asked().last().unwrap().clone();
    let seen = asked.results.last().unwrap();
    assert!(seen.contains("right\n") && seen.contains("kept") && !seen.contains("wrong"), "{seen}");
    let told = asked.words.join("\n");
    assert!(told.contains("The person changed a.txt themself") && told.contains("-wrong\n+right"), "{told}");
    assert_eq!(told.matches("themself").count(), 1, "{told}");
    assert!(stage.quire(&["review", "1", "--diff"]).exits(0).out.contains("+right"));

    // Another task begins in the person's version.
    stage.quire(&["fork", "1", "--at", "v2"]).exits(0);
    assert!(stage.quire(&["review", "2", "--diff"]).exits(0).out.contains("+right"));
    stage.quire(&["revise", "2", "go on"]).exits(0);
    let seen = model.asked().last().unwrap().results.last().unwrap().clone();
    assert!(seen.contains("right\n") && seen.contains("kept"), "{seen}");
    stage.log(1);
    stage.log(2);
}

#[test]
fn a_version_is_taken_over_over_responses() {
    journey(&Stage::set(), Wire::Responses);
}

#[test]
fn a_version_is_taken_over_over_messages_by_an_ordinary_user() {
    if can_make_users() {
        journey(&Stage::for_user(), Wire::Messages);
    }
}

#[test]
fn what_cannot_be_edited_is_refused_and_nothing_changes() {
    let (stage, model) = failing(Wire::Chat);
    stage.file(".env", "TOKEN=abcdefgh1234\n");
    run(&stage);
    let log = stage.log(1).len();
    let long = vec![b'x'; (1 << 20) + 1];
    let rows: [(&str, &[u8], &str); 9] = [
        ("left.txt", b"x", "changes no file `left.txt`"),
        (".env", b"x", "changes no file `.env`"),
        ("nowhere", b"x", "changes no file `nowhere`"),
        ("../a.txt", b"x", "is not in a folder of this task"),
        ("/etc/passwd", b"x", "is not in a folder of this task"),
        ("link", b"x", "`link` is a link"),
        ("a.txt", b"\0\x01", "would be no text"),
        ("a.txt", &long, "would be longer than 1 MiB"),
        ("a.txt", b"", "Nothing came on stdin"),
    ];
    for (file, content, told) in rows {
        stage.quire_with(&["edit", "1", file], content).exits(2).tells(&[told]);
    }
    stage.quire_with(&["edit", "7", "a.txt"], b"x").exits(6);
    assert_eq!(stage.log(1).len(), log);
    // At work, and in the midst of a turn.
    let answered = model.asked().last().unwrap().answered + 1;
    model.hold_from(answered);
    let running = stage.start(&["revise", "1", "go on"]);
    model.wait_for(answered, 1);
    stage
        .quire_with(&["edit", "1", "a.txt"], b"right\n")
        .exits(2)
        .tells(&["is at work; its next version comes first"]);
    stage.quire(&["stop", "1"]).exits(0);
    running.end();
    stage
        .quire_with(&["edit", "1", "a.txt"], b"right\n")
        .exits(2)
        .tells(&["waits in the midst of its next version"]);
    model.let_go();
    assert!(!stage.log(1).iter().any(|one| matches!(one.event, Event::Edited { .. })));
}

/// With an editor: what it leaves counts, what it fails with changes nothing and is kept.
#[test]
fn the_persons_editor_has_a_copy_of_the_file() {
    let (mut stage, _model) = failing(Wire::Chat);
    run(&stage);
    let editor = stage.base().join("my editor");
    let script = |text: &str| {
        fs::write(&editor, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&editor, fs::Permissions::from_mode(0o755)).unwrap();
    };
    stage.env.push(("VISUAL".into(), format!("'{}' -w", editor.display())));
    let log = stage.log(1).len();
    script("exit 1");
    let failed = stage.at_a_terminal("edit 1 a.txt", "");
    assert!(failed.contains("did not end well") && failed.contains("Nothing was changed."), "{failed}");
    // One that does not wait has the copy open still, and what it saves late is gone on with.
    script("echo \"$2\" > \"$0.path\"");
    let nothing = stage.at_a_terminal("edit 1 a.txt", "");
    assert!(nothing.contains("nothing was changed") && nothing.contains("code --wait"), "{nothing}");
    let copy = fs::read_to_string(stage.base().join("my editor.path")).unwrap();
    assert_eq!(fs::read_to_string(copy.trim_end()).unwrap(), "wrong\n");
    fs::write(copy.trim_end(), "late\n").unwrap();
    script("grep -qx late \"$2\" && exit 1; echo lost; exit 1");
    let failed = stage.at_a_terminal("edit 1 a.txt", "");
    assert!(failed.contains("goes on from there") && !failed.contains("lost"), "{failed}");
    script("echo half > \"$2\"; exit 1");
    let failed = stage.at_a_terminal("edit 1 a.txt", "");
    assert!(failed.contains("did not end well") && failed.contains("Your edits are in"), "{failed}");
    assert_eq!(stage.log(1).len(), log);
    script(
        "grep -qx half \"$2\" && echo right > \"$2\" && stat -c %a \"$(dirname \"$2\")\" > /proc/self/fd/1",
    );
    let saved = stage.at_a_terminal("edit 1 a.txt", "");
    assert!(saved.contains("becomes version 2") && saved.contains("700"), "{saved}");
    stage.quire(&["watch", "1"]).exits(0);
    assert_eq!(stage.state(1), "ready");
    let left = fs::read_dir(stage.data().join("tasks/1")).unwrap().flatten();
    assert!(!left.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("edit-")));
    // A file that is deleted is no longer among the changes of what was new.
    stage.quire(&["edit", "1", "b.txt", "--delete"]).exits(0);
    stage.quire(&["watch", "1"]).exits(0);
    let paths: Vec<String> = stage.json(&["review", "1"])["review"]["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["path"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(paths, ["a.txt", "link"]);
}

/// What was made of a version that is no longer the last one is not taken, and the copy is not gone on with.
#[test]
fn an_edit_of_what_went_on_meanwhile_is_kept_beside() {
    let (mut stage, _model) = failing(Wire::Chat);
    run(&stage);
    let editor = stage.base().join("editor");
    let quire = env!("CARGO_BIN_EXE_quire");
    let script = format!("#!/bin/sh\necho right | '{quire}' edit 1 a.txt - || exit 1\necho mine > \"$1\"\n");
    fs::write(&editor, script).unwrap();
    fs::set_permissions(&editor, fs::Permissions::from_mode(0o755)).unwrap();
    stage.env.push(("VISUAL".into(), editor.display().to_string()));
    let kept = stage.at_a_terminal("edit 1 a.txt", "");
    assert!(kept.contains("made of the version as you saw it") && !kept.contains("goes on"), "{kept}");
    stage.quire(&["watch", "1"]).exits(0);
    assert_eq!(stage.state(1), "ready");
}

/// Where no host can be had, what was edited is saved all the same, and its checks run with the next one.
#[test]
fn an_edit_is_saved_where_no_host_can_be_had() {
    let (stage, _model) = failing(Wire::Chat);
    run(&stage);
    stage.quire(&["host", "--stop"]).exits(0);
    let lock = fs::File::options().write(true).open(stage.data().join("host.lock")).unwrap();
    lock.lock().unwrap();
    let saved = stage.quire_with(&["edit", "1", "a.txt"], b"right\n").exits(0).out;
    assert!(saved.contains("becomes version 2") && saved.contains("They do not run yet"), "{saved}");
    drop(lock);
    stage.quire(&["watch", "1"]).exits(0);
    assert_eq!(stage.state(1), "ready");
}

/// Killed while the layer of an edit is laid out: it is made anew, and the version is what was typed.
#[test]
fn an_edit_outlives_a_host_that_is_killed() {
    let (stage, _model) = failing(Wire::Chat);
    run(&stage);
    stage.quire_with(&["edit", "1", "a.txt"], b"right\n").exits(0);
    stage.host().kill();
    stage.quire(&["watch", "1"]).exits(0);
    assert_eq!(stage.state(1), "ready");
    let events = stage.log(1);
    assert_eq!(events.iter().filter(|one| matches!(one.event, Event::Presented { .. })).count(), 2);
    let a = stage.folder.join("a.txt");
    stage.quire(&["accept", "1"]).exits(0);
    assert_eq!(fs::read(&a).unwrap(), b"right\n");
    // What is in the folder already is taken over as well, and both accepts are taken back one after the other.
    stage.quire_with(&["edit", "1", "a.txt"], b"right\nmore\n").exits(0);
    stage.quire(&["watch", "1"]).exits(0);
    assert_eq!((stage.state(1).as_str(), fs::read(&a).unwrap()), ("ready", b"right\n".to_vec()));
    stage.quire(&["accept", "1"]).exits(0);
    assert_eq!(fs::read(&a).unwrap(), b"right\nmore\n");
    stage.quire(&["undo", "1"]).exits(0);
    assert_eq!(fs::read(&a).unwrap(), b"right\n");
    stage.quire(&["undo", "1"]).exits(0);
    assert_eq!(fs::read(&a).unwrap(), b"old\n");
}

#[test]
fn a_version_is_taken_over_on_the_page() {
    let (stage, model) = failing(Wire::Chat);
    run(&stage);
    let asked = model.asked().len();
    let browser = Browser::open(&stage);
    let review = browser.get("/tasks/1");
    assert!(review.body.contains(">Take over</a>"), "{}", review.body);
    let choice = browser.get("/tasks/1/edit");
    let at = "/tasks/1/edit?folder=0&amp;file=a.txt";
    assert!(choice.body.contains(at) && choice.body.contains("file=b.txt"), "{}", choice.body);
    assert!(!choice.body.contains("file=link") && review.body.contains(at), "{}", choice.body);
    let edit = browser.get("/tasks/1/edit?folder=0&file=a.txt");
    assert!(edit.body.contains(">\nwrong\n</textarea>"), "{}", edit.body);
    assert!(edit.body.contains("Save as version 2") && edit.body.contains("Cancel"), "{}", edit.body);
    let seen = edit.field("seen");
    let save = |seen: &str, file: &str, text: &str| {
        browser.post("/tasks/1/edit", &[("seen", seen), ("folder", "0"), ("file", file), ("text", text)])
    };
    for (file, status) in [("left.txt", 400), ("../a.txt", 400), ("link", 400), ("", 400)] {
        let refused = save(&seen, file, "<b>mine</b>");
        assert_eq!(refused.status, status, "{file}");
        assert!(refused.body.contains("&lt;b&gt;mine&lt;/b&gt;"), "what was typed is gone: {}", refused.body);
        assert_eq!(
            browser.get(&format!("/tasks/1/edit?file={file}")).status,
            if file == "link" { 400 } else { status }
        );
    }
    let saved = save(&seen, "a.txt", "right\r\n");
    assert_eq!((saved.status, saved.header("location").as_deref()), (303, Some("/tasks/1")), "{saved:?}");
    let review = until(&browser, "/tasks/1", "Version 2");
    assert!(
        !review.body.contains("Take over") && review.body.contains("You changed a.txt yourself"),
        "{}",
        review.body
    );
    assert_eq!(model.asked().len(), asked, "no model was asked");

    // Sent twice, it is saved once.
    let twice = save(&seen, "a.txt", "right\r\n");
    assert_eq!(twice.status, 303, "{twice:?}");

    // Another version meanwhile, in the same lines: both are on the page, and the person's can be saved in its place.
    let late = save(&seen, "a.txt", "mine\r\nright");
    assert_eq!(late.status, 409, "{late:?}");
    let both = [
        ">\nmine\nright</textarea>",
        ">\nright\n</textarea>",
        "version 2, as it is now",
        "Save mine as version 3",
    ];
    assert!(both.iter().all(|part| late.body.contains(part)), "{}", late.body);
    assert!(!late.body.contains("btn pri"), "{}", late.body);
    // In other lines: it is one text, to be looked at and saved.
    let lines = "mine\n2\n3\n4\nright";
    assert_eq!(save(&late.field("seen"), "a.txt", lines).status, 303);
    until(&browser, "/tasks/1", "Version 3");
    let seen = browser.get("/tasks/1/edit?folder=0&file=a.txt").field("seen");
    assert_eq!(save(&seen, "a.txt", &lines.replace("mine", "first")).status, 303);
    until(&browser, "/tasks/1", "Version 4");
    let late = save(&seen, "a.txt", &lines.replace("4", "four"));
    let merged = ">\nfirst\n2\n3\nfour\nright</textarea>";
    assert!(late.status == 409 && late.body.contains(merged), "{}", late.body);
    assert!(late.body.contains("Save as version 5"), "{}", late.body);

    // At work: what was typed can be saved from there later.
    let answered = model.asked().last().unwrap().answered + 1;
    model.hold_from(answered);
    let running = stage.start(&["revise", "1", "go on"]);
    model.wait_for(answered, 1);
    let busy = save(&late.field("seen"), "a.txt", "first\nright");
    assert!(busy.status == 400 && busy.body.contains(">\nfirst\nright</textarea>"), "{}", busy.body);
    assert!(busy.body.contains("Save then") && busy.field("seen") == late.field("seen"), "{}", busy.body);
    model.let_go();
    running.end();
    // A form without a text is no empty one.
    let none = browser.post("/tasks/1/edit", &[("seen", &seen), ("folder", "0"), ("file", "a.txt")]);
    assert!(none.status == 400 && !none.body.contains("textarea"), "{}", none.body);

    let seen = browser.get("/tasks/1/edit?folder=0&file=a.txt").field("seen");
    assert_eq!(save(&seen, "a.txt", "mine\r\nright").status, 303);
    let review = until(&browser, "/tasks/1", "Version 6");
    let accepted = browser.post("/tasks/1/accept", &[("seen", &review.field("seen")), ("all", "3")]);
    assert_eq!(accepted.status, 303, "{}", accepted.body);
    assert_eq!(fs::read(stage.folder.join("a.txt")).unwrap(), b"mine\nright");
}
