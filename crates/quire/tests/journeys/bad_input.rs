//! What can go wrong, as a person meets it: a message that says what happened, what is safe and what to do, the right exit code, and
//! nothing lost.

use crate::model::{Answer, Model, Wire, call, say, shell};
use crate::stage::{Stage, can_make_users};
use crate::tree::Tree;
use quire_core::Event;
use quire_core::event::Why;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

#[test]
fn without_a_model_the_task_is_kept_and_goes_on_with_one() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("echo 1 > one"), say("It is there.")]);
    let none = stage.quire(&["make one"]).exits(4).tells(&["No model", "Task 1 is kept", "quire resume 1"]);
    assert_eq!(none.out, "");
    assert!(stage.state(1).contains("no model"), "{}", stage.state(1));
    stage.quire(&["resume", "1"]).exits(4);
    stage.use_model(&model, Wire::Chat);
    stage.quire(&["resume", "1", "-m", "lab/other"]).exits(0);
    stage.quire(&["watch", "1"]).exits(0);
    let asked = model.asked();
    assert_eq!(asked[0].words, ["make one"]);
    assert!(asked[0].body.contains(r#""model":"other""#));
    stage.quire(&["accept", "1"]).exits(0);
    assert!(stage.folder.join("one").exists());
}

#[test]
fn a_refused_key_is_told_and_never_shown() {
    let stage = &mut Stage::set();
    let secret = "sk-lab-0123456789-never-shown";
    let model = Model::new(move |asked| match asked.head.contains("bearer sk-lab-right") {
        true => say("With the right key."),
        false => Answer::Status(
            401,
            r#"{"error":{"message":"Incorrect API key provided: sk-lab-0123456789-never-shown","code":"invalid_api_key"}}"#,
        ),
    });
    stage.configure(&model, Wire::Chat, "key_env = \"LAB_KEY\"\n");
    stage.quire(&["say something"]).exits(4).tells(&["LAB_KEY", "quire resume 1"]);
    stage.env = vec![("LAB_KEY".into(), secret.into()), ("QUIRE_LOG".into(), "trace".into())];
    stage.quire(&["host", "--stop"]).exits(0);
    stage.quire(&["resume", "1"]).exits(0);
    let refused = stage.quire(&["watch", "1"]).exits(4).tells(&["does not accept the key in LAB_KEY (401)"]);
    assert_eq!(model.asked().len(), 1, "a key that was refused is not tried again");
    let mut said = refused.err;
    for arguments in
        [&["log", "1"][..], &["log", "1", "--json"], &["ls", "--json"], &["resume", "1", "--json"]]
    {
        let ended = stage.quire(arguments);
        said += &(ended.out + &ended.err);
    }
    stage.quire(&["watch", "1"]).exits(4);
    assert!(!said.contains(secret), "{said}");
    assert_nowhere(&stage.data(), secret);
    stage.env[0].1 = "sk-lab-right".into();
    stage.quire(&["resume", "1"]).exits(0);
    stage.quire(&["watch", "1"]).exits(0);
    assert_nowhere(&stage.data(), "sk-lab-right");
}

/// Fails where any file below `folder` holds `secret`.
#[track_caller]
fn assert_nowhere(folder: &Path, secret: &str) {
    let found = Command::new("grep").args(["-rlaF", secret]).arg(folder).output().expect("grep runs");
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "the key is in a file");
}

#[test]
fn wrong_settings_and_folders_start_nothing() {
    let stage = Stage::set();
    let model = Model::saying(vec![]);
    stage.use_model(&model, Wire::Chat);
    stage.file("file", "");
    let base = stage.base().to_str().unwrap().to_owned();
    let home = format!("{base}/home");
    let rows: &[(&[&str], i32, &str)] = &[
        (&["-c", "modle=lab/x", "do it"], 2, "Did you mean"),
        (&["-c", "budget.steps=none", "do it"], 2, "budget.steps"),
        (&["-c", "budget.day_usd=much", "do it"], 2, "a number of USD above 0"),
        (&["--budget", "0", "do it"], 2, "a number of USD above 0"),
        (&["--budget", "+0.50", "do it"], 2, "a number of USD above 0"),
        (&["-m", "nobody/x", "do it"], 2, "nobody"),
        (&["-m", "lab", "do it"], 2, "PROVIDER/MODEL"),
        (&["-C", "gone", "do it"], 2, "There is no folder"),
        (&["-C", "file", "do it"], 2, "is not a folder"),
        (&["-C", "/", "do it"], 3, "the whole machine"),
        (&["-C", &home, "do it"], 3, "your home folder"),
        (&["-C", &base, "do it"], 3, "holds your home folder"),
        (&["--add-dir", ".", "do it"], 2, "given twice"),
        (&["--max-time", "soon", "do it"], 2, "max-time"),
        (&["run", "-"], 2, "Nothing came on stdin"),
    ];
    for (arguments, code, said) in rows {
        let refused = stage.quire(arguments).exits(*code).tells(&[said]);
        assert_eq!(refused.out, "", "{arguments:?}");
    }
    let not_text = stage.quire_with(&["run", "-"], b"\xff\xfe").exits(2);
    assert!(not_text.err.contains("not UTF-8"), "{}", not_text.err);
    fs::write(stage.folder.join("quire.toml"), "[sandbox]\nmemory = \"much\"\n").unwrap();
    stage.quire(&["do it"]).exits(2).tells(&["quire.toml"]);
    assert!(model.asked().is_empty());
    assert!(stage.json(&["ls"])["tasks"].as_array().unwrap().is_empty(), "no task was made");
}

#[test]
fn a_folder_that_cannot_be_read_is_refused() {
    if !can_make_users() {
        return;
    }
    let stage = Stage::for_user();
    let model = Model::saying(vec![]);
    stage.use_model(&model, Wire::Chat);
    let closed = stage.base().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    stage.quire(&["-C", closed.to_str().unwrap(), "do it"]).exits(2).tells(&["cannot be read"]);
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    if !can_make_users() {
        return;
    }
    let stage = Stage::for_user();
    let model = Model::saying(vec![shell("cat closed; echo 1 > one"), say("One of them could not be read.")]);
    stage.use_model(&model, Wire::Chat);
    fs::write(stage.folder.join("closed"), "root's\n").unwrap();
    fs::set_permissions(stage.folder.join("closed"), fs::Permissions::from_mode(0o600)).unwrap();
    let ended = stage.quire(&["read it"]);
    // Whether it works around the file or stops: it says so, and nothing real is touched.
    assert!(matches!(ended.code, Some(0 | 3)), "{ended:?}");
    assert_eq!(fs::read_to_string(stage.folder.join("closed")).unwrap(), "root's\n");
    if ended.code == Some(0) {
        stage.quire(&["accept", "1"]).exits(0);
        assert_eq!(fs::read_to_string(stage.folder.join("closed")).unwrap(), "root's\n");
    }
}

#[test]
fn a_model_that_asks_for_what_is_not_there_is_told() {
    let stage = Stage::set();
    let raw = |tool: &str, input: &str| Answer::Reply(String::new(), vec![(tool.into(), input.into())]);
    let model = Model::saying(vec![
        raw("frobnicate", "{}"),
        raw("shell", r#"{"command": "echo 1"#),
        raw("shell", "[1]"),
        raw("shell", r#"{"cmd":"echo 1"}"#),
        raw("read", r#"{"path":"gone"}"#),
        raw("shell", ""),
        raw("", ""),
        say("I gave up."),
    ]);
    stage.use_model(&model, Wire::Chat);
    stage.quire(&["do it"]).exits(0);
    let asked = model.asked();
    let results = &asked.last().unwrap().results;
    let said = [
        "There is no tool \"frobnicate\"",
        "not valid JSON",
        "must be a JSON object",
        "cmd",
        "gone",
        "command",
        "There is no tool",
    ];
    assert_eq!(results.len(), said.len(), "{results:#?}");
    for (result, said) in results.iter().zip(said) {
        assert!(result.contains(said), "{said:?} is not in {result:?}");
    }
    stage.log(1);
}

#[test]
fn the_same_call_for_ever_ends() {
    let stage = Stage::set();
    let model = Model::new(|_| call("read", serde_json::json!({ "path": "a" })));
    stage.use_model(&model, Wire::Chat);
    stage.file("a", "a\n");
    stage.quire(&["go round"]).exits(3).tells(&["again and again", "quire revise 1"]);
    assert!(model.asked().len() < 12, "{} requests", model.asked().len());
    let log = stage.log(1);
    assert!(matches!(&log.last().unwrap().event, Event::Paused { why: Why::Loop }));
    let told = log.iter().position(|logged| matches!(logged.event, Event::Looped { steps: 1, times: 4 }));
    assert!(told.is_some_and(|at| at < log.len() - 10), "the model is told first, and then the person");
    assert_eq!(stage.state(1), "needs you: the model repeats itself");
    let shown = stage.quire(&["watch", "1"]).exits(3);
    assert!(shown.err.contains("8 times: Read a") && shown.err.contains("quire resume 1"), "{shown:?}");
    // One more word, or a plain yes, and it may try again.
    let asked = model.asked().len();
    stage.quire(&["revise", "1", "try something else"]).exits(3);
    assert_eq!(model.asked().len(), asked + 8);
    stage.quire(&["resume", "1"]).exits(0);
    stage.quire(&["watch", "1"]).exits(3);
    assert_eq!(model.asked().len(), asked + 16);
}

#[test]
fn a_model_that_says_nothing_is_asked_again_and_then_a_person() {
    for wire in Wire::ALL {
        let stage = Stage::set();
        let model = Model::new(|_| say(""));
        stage.use_model(&model, wire);
        stage.quire(&["say something"]).exits(3).tells(&["nothing several times", "quire resume 1"]);
        assert!(model.asked().len() <= 4, "{} requests", model.asked().len());
    }
}

#[test]
fn limits_pause_and_resume_grants_as_much_again() {
    let stage = Stage::set();
    let model = Model::new(|asked| match asked.answered {
        3.. => say("Done."),
        n => shell(&format!("echo {n} >> n")),
    });
    stage.use_model(&model, Wire::Chat);
    stage.quire(&["count", "--max-steps", "2"]).exits(2);
    stage.quire(&["run", "count", "--max-steps", "2"]).exits(3).tells(&["2 steps", "quire resume 1"]);
    stage.quire(&["resume", "1"]).exits(0);
    stage.quire(&["watch", "1"]).exits(0);
    stage.quire(&["accept", "1"]).exits(0);
    assert_eq!(fs::read_to_string(stage.folder.join("n")).unwrap(), "0\n1\n2\n");
}

#[test]
fn faults_of_the_server_are_waited_out() {
    let stage = Stage::set();
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let model = Model::new(move |_| match tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0 => Answer::Status(500, r#"{"error":{"message":"for a moment"}}"#),
        1 => Answer::Cut,
        _ => say("At last."),
    });
    stage.use_model(&model, Wire::Responses);
    let ended = stage.quire(&["say something"]).exits(0);
    assert!(ended.out.contains("At last.") && !ended.out.contains("Half"), "{}", ended.out);
    assert!(ended.err.contains("for a moment"), "{}", ended.err);
    assert_eq!(model.asked().len(), 3);
}

#[test]
fn a_request_that_is_refused_is_told_in_the_servers_words() {
    for (wire, answer, said) in [
        (
            Wire::Chat,
            Answer::Status(400, r#"{"error":{"message":"the temperature is odd"}}"#),
            "the temperature is odd",
        ),
        (
            Wire::Messages,
            Answer::Status(
                404,
                r#"{"type":"error","error":{"type":"not_found_error","message":"model: x"}}"#,
            ),
            "does not know model",
        ),
        (Wire::Responses, Answer::Status(402, r#"{"error":{"message":"pay first"}}"#), "pay first"),
    ] {
        let stage = Stage::set();
        let model = Model::new(move |_| answer.clone());
        stage.use_model(&model, wire);
        stage.quire(&["say something"]).exits(4).tells(&[said, "Your folder has not changed"]);
        assert!(model.asked().len() <= 2, "{} requests", model.asked().len());
    }
}

#[test]
fn nonsense_is_told_with_its_beginning() {
    let stage = Stage::set();
    let model = Model::new(|_| Answer::Nonsense);
    stage.use_model(&model, Wire::Chat);
    stage.quire(&["say something"]).exits(4).tells(&["router", "quire resume 1"]);
}

#[test]
fn a_result_of_a_gigabyte_passes_in_constant_memory() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("yes | head -c 1000000000"), say("That was long.")]);
    stage.use_model(&model, Wire::Chat);
    let mut running = stage.start(&["print a lot"]);
    model.wait_for(0, 1);
    let host = stage.host().pid;
    let mut most = 0;
    // The hand and the host are looked at all the while.
    while running.child.try_wait().unwrap().is_none() {
        most = most.max(memory_kib_max(host));
        std::thread::yield_now();
    }
    running.end().exits(0);
    assert!(most > 0 && most < 200 << 10, "the most that one process held was {most} KiB");
    let asked = model.asked();
    let result = &asked.last().unwrap().results[0];
    assert!(result.len() < 20_000 && result.contains("y\n"), "{} bytes", result.len());
}

/// Returns the most memory that any process below `host` held, in KiB.
fn memory_kib_max(host: i32) -> u64 {
    let all = Command::new("ps").args(["-eo", "pid=,ppid=,rss=,comm="]).output().expect("ps runs");
    let rows: Vec<(i32, i32, u64)> = String::from_utf8_lossy(&all.stdout)
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        })
        .collect();
    let mut below = vec![host];
    let mut most = 0;
    while let Some(pid) = below.pop() {
        most = most.max(rows.iter().find(|row| row.0 == pid).map_or(0, |row| row.2));
        below.extend(rows.iter().filter(|row| row.1 == pid).map(|row| row.0));
    }
    most
}

#[test]
fn a_task_of_a_megabyte_is_heard_whole() {
    let stage = Stage::set();
    let model = Model::saying(vec![say("I read it all.")]);
    stage.use_model(&model, Wire::Messages);
    let text = format!("Begin. {} End.", "größer ".repeat(140_000));
    stage.quire_with(&["run", "-"], text.as_bytes()).exits(0);
    assert!(model.asked()[0].words[0] == text, "every word reached the model");
    assert!(stage.quire(&["ls"]).exits(0).out.len() < 1000);
    let Event::Opened { words, .. } = &stage.log(1)[0].event else { panic!("no opening") };
    assert!(*words == text, "and is in the log");
}

#[test]
fn on_a_full_disk_nothing_is_lost() {
    if !can_make_users() {
        return;
    }
    let mut stage = Stage::set();
    stage.mount(&stage.data(), "24m");
    let model = Model::saying(vec![
        shell("echo 1 > one"),
        shell("head -c 60000000 /dev/urandom > big; echo 2 > two"),
        shell("rm -f big; echo 3 > three"),
        say("All are there."),
    ]);
    stage.use_model(&model, Wire::Chat);
    stage.file("a", "a\n");
    let before = Tree::of(&stage.folder);
    let mut follower = stage.start(&["fill the disk"]);
    // Nothing goes on until it can be written down; who follows is told.
    while !follower.next_line_of_stderr().contains("disk is full") {}
    Tree::of(&stage.folder).assert_is(&before, "on a full disk");
    stage.grow(&stage.data(), "400m");
    // The step's files could not be kept, so it waits; what was said and done is there.
    follower.end().exits(8).tells(&["The disk is full", "quire resume 1"]);
    stage.quire(&["resume", "1"]).exits(0);
    let ended = stage.quire(&["watch", "1"]).exits(0);
    assert!(ended.out.contains("All are there."), "{}", ended.out);
    stage.quire(&["accept", "1"]).exits(0);
    let read = |name: &str| fs::read_to_string(stage.folder.join(name)).unwrap_or_default();
    assert_eq!((read("one").as_str(), read("three").as_str()), ("1\n", "3\n"));
    stage.log(1);
    stage.quire(&["undo", "1"]).exits(0);
    Tree::of(&stage.folder).assert_is(&before, "after undo");
}

#[test]
fn a_folder_on_a_full_disk_is_as_it_was_after_a_failed_accept() {
    if !can_make_users() {
        return;
    }
    let mut stage = Stage::set();
    let model = Model::saying(vec![
        shell("echo new > a; head -c 4000000 /dev/urandom > big; rm b; echo new > c"),
        say("It is large."),
    ]);
    stage.use_model(&model, Wire::Chat);
    stage.mount(&stage.folder.clone(), "1m");
    stage.file("a", "old\n");
    stage.file("b", "old\n");
    let before = Tree::of(&stage.folder);
    stage.quire(&["make it large"]).exits(0);
    stage.quire(&["accept", "1"]).exits(8).tells(&["Your folder is as it was", "room"]);
    Tree::of(&stage.folder).assert_is(&before, "after a failed accept");
    assert_eq!(stage.state(1), "ready");
    stage.grow(&stage.folder, "10m");
    stage.quire(&["accept", "1"]).exits(0);
    assert_eq!(fs::read_to_string(stage.folder.join("c")).unwrap(), "new\n");
    stage.quire(&["undo", "1"]).exits(0);
    Tree::of(&stage.folder).assert_is(&before, "after undo");
    stage.log(1);
}

#[test]
fn where_nothing_can_be_written_the_words_are_not_taken() {
    if !can_make_users() {
        return;
    }
    let mut stage = Stage::set();
    let model = Model::saying(vec![say("Done.")]);
    stage.use_model(&model, Wire::Chat);
    stage.mount(&stage.data(), "16k");
    let refused = stage.quire(&["do it"]).exits(8).tells(&["disk"]);
    assert_eq!(refused.out, "");
    assert!(model.asked().is_empty());
    stage.grow(&stage.data(), "10m");
}

#[test]
fn data_that_is_damaged_is_left_as_it_is() {
    let stage = Stage::set();
    let model = Model::saying(vec![say("Done.")]);
    stage.use_model(&model, Wire::Chat);
    stage.quire(&["do it"]).exits(0);
    stage.quire(&["host", "--stop"]).exits(0);
    let database = stage.data().join("quire.db");
    let mut bytes = fs::read(&database).unwrap();
    bytes[..100].fill(b'x');
    fs::write(&database, &bytes).unwrap();
    stage.quire(&["ls"]).exits(8).tells(&["quire.db"]);
    assert!(fs::read(&database).unwrap() == bytes, "it was not touched");
    fs::remove_file(&database).unwrap();
}

#[test]
fn a_stored_key_is_there_whoever_drives() {
    let stage = Stage::set();
    let model = Model::new(|asked| match asked.head.contains("x-api-key: sk-stored\r\n") {
        true => say("With the stored key."),
        false => Answer::Status(401, r#"{"error":{"message":"no key"}}"#),
    });
    stage.configure(&model, Wire::Messages, "key_env = \"LAB_KEY\"\n");
    stage.quire_with(&["models", "add", "lab"], b"sk-stored\n").exits(0);
    model.hold_from(0);
    stage.quire(&["run", "-b", "say something"]).exits(0);
    model.wait_for(0, 1);
    // A host that nobody hands a key to.
    stage.host().kill();
    let mut alone = stage.start(&["host"]);
    assert!(alone.next_line_of_stderr().contains("Driving the tasks"));
    model.wait_for(0, 2);
    model.let_go();
    let ended = stage.quire(&["watch", "1"]).exits(0);
    assert!(ended.out.contains("With the stored key."), "{}", ended.out);
    alone.signal(libc::SIGINT);
    alone.end().exits(130);
}

#[test]
fn a_half_done_accept_whose_folder_is_away_keeps_nobody_else_away() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("echo 1 > one"), say("It is there.")]);
    stage.use_model(&model, Wire::Chat);
    stage.quire(&["make one"]).exits(0);
    let journal = stage.data().join("tasks/1/accept-0.commit");
    fs::write(&journal, r#"{"folders":["/nowhere/at/all"],"operations":[],"kept":[]}"#).expect("a journal");
    let told = stage.quire(&["ls"]).exits(0);
    assert!(told.err.contains("Task 1, accept: what was begun could not be ended"), "{told:?}");
    assert!(told.out.contains("make one"), "{told:?}");
    stage.quire(&["review", "1"]).exits(0);
    assert!(journal.exists());
}
