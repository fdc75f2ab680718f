//! The page over HTTP: the journey from a task to its undo without a script.

use crate::browser::{Browser, Events, Page, form, opened};
use crate::model::{Answer, Model, Wire, call, say, shell};
use crate::stage::Stage;
use crate::tree::Tree;
use serde_json::json;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Returns a stage on which task 1 is ready: it changed `a.txt` and made `b.txt`.
pub fn ready() -> (Stage, Model) {
    let stage = Stage::set();
    let model =
        Model::saying(vec![shell("echo new > a.txt; echo b > b.txt"), say("Changed **a** & made b.")]);
    stage.use_model(&model, Wire::Chat);
    stage.file("a.txt", "old\n");
    (stage, model)
}

/// Waits until a page of the task holds `text`.
#[track_caller]
pub fn until(browser: &Browser, path: &str, text: &str) -> Page {
    let begun = Instant::now();
    loop {
        let page = browser.get(path);
        if page.body.contains(text) {
            return page;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "no {text} in {}", page.body);
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn from_a_task_to_its_undo_without_a_script() {
    let (stage, _model) = ready();
    let before = Tree::of(&stage.folder);
    let browser = Browser::open(&stage);
    let home = browser.get("/");
    assert!(home.body.contains("What should be done?") && home.body.contains(">project<"), "{}", home.body);
    let started = browser.post(
        "/tasks",
        &[
            ("words", "change it\r\nplease"),
            ("folder", stage.folder.to_str().unwrap()),
            ("check", "grep -q new a.txt || test -e b.txt"),
        ],
    );
    assert_eq!(
        (started.status, started.header("location").as_deref()),
        (303, Some("/tasks/1")),
        "{started:?}"
    );
    let review = until(&browser, "/tasks/1", "Accept ");
    for part in [
        "Changed <strong>a</strong> &amp; made b.",
        "passes",
        "grep -q new a.txt",
        "quire ran it",
        "Version 1",
        "old",
        "b.txt",
        "Your folder has not changed.",
    ] {
        assert!(review.body.contains(part), "no {part} in {}", review.body);
    }
    assert!(Tree::of(&stage.folder) == before);

    // A part, then what is asked for, then all, then back to the beginning.
    let seen = review.field("seen");
    let accepted = browser.post("/tasks/1/accept", &[("seen", &seen), ("file", "1")]);
    assert_eq!(accepted.status, 303, "{}", accepted.body);
    assert_eq!(
        (
            fs::read_to_string(stage.folder.join("a.txt")).unwrap(),
            fs::read_to_string(stage.folder.join("b.txt")).unwrap()
        ),
        ("old\n".into(), "b\n".into())
    );
    let part = browser.get("/tasks/1");
    assert!(part.body.contains("1 file written to project."), "{}", part.body);
    let all = browser.post("/tasks/1/accept", &[("seen", &seen), ("file", "0"), ("file", "1")]);
    assert_eq!(all.status, 303, "{}", all.body);
    assert_eq!(fs::read_to_string(stage.folder.join("a.txt")).unwrap(), "new\n");
    assert!(browser.get("/").body.contains("Accepted"));
    let found = browser.get("/?q=pleas").body;
    assert!(found.contains(">change it<") && found.contains("You said: "), "{found}");
    assert!(browser.get("/?q=nowhere").body.contains("No task has that"));
    for _ in 0..2 {
        assert_eq!(browser.post("/tasks/1/undo", &[]).status, 303);
    }
    assert!(Tree::of(&stage.folder) == before);
    let back = browser.get("/tasks/1").body;
    assert!(back.contains("as it was. Your folder has not changed."), "{back}");
    assert_eq!(browser.post("/tasks/1/undo", &[]).status, 400);

    assert_eq!(browser.post("/tasks/1/revise", &[("words", "again")]).status, 303);
    until(&browser, "/tasks/1", "Version 2");
    assert_eq!(browser.post("/tasks/1/discard", &[]).status, 303);
    assert!(browser.get("/tasks/1").body.contains("This task was discarded."));
    // The commands see the same.
    assert_eq!(stage.state(1), "discarded");
}

#[test]
fn the_list_is_narrowed_to_a_folder_and_a_row_has_what_lets_its_task_go_on() {
    let stage = Stage::set();
    let silent = AtomicBool::new(true);
    let model = Model::new(move |asked| match asked.words[0].contains("be silent") {
        true if silent.swap(false, Ordering::Relaxed) => Answer::Nonsense,
        true => say("Here I am."),
        false => say("It is done."),
    });
    let price = "price = { input = 1000.0, output = 1000.0 }\n";
    stage.configure(&model, Wire::Chat, &format!("[providers.lab.models.dear]\n{price}"));
    let other = stage.base().join("home/other place");
    fs::create_dir(&other).unwrap();
    let other = other.to_str().unwrap();
    stage.quire(&["run", "-C", other, "be silent"]).exits(4);
    stage.quire(&["run", "-m", "lab/dear", "--budget", "0.50", "beyond the limit"]).exits(3);
    let browser = Browser::open(&stage);
    let home = browser.get("/").body;
    for part in [">All folders<", ">Try again<", ">Add $", "be silent", "beyond the limit"] {
        assert!(home.contains(part), "{part}: {home}");
    }
    for at in ["/", "/rows"] {
        let narrow = browser.get(&format!("{at}?{}", form(&[("in", other)]))).body;
        assert!(narrow.contains("be silent") && !narrow.contains("beyond the limit"), "{narrow}");
    }
    assert!(browser.get("/?in=/nowhere").body.contains("No task is on that folder."));
    assert_eq!(browser.post("/tasks/1/resume", &[]).status, 303);
    until(&browser, "/tasks/1", "Here I am.");
}

#[test]
fn what_was_changed_by_hand_is_not_overwritten_and_it_is_told() {
    let (stage, _model) = ready();
    stage.quire(&["change it"]).exits(0);
    let browser = Browser::open(&stage);
    let review = browser.get("/tasks/1");
    stage.file("a.txt", "mine\n");
    let refused =
        browser.post("/tasks/1/accept", &[("seen", &review.field("seen")), ("file", "0"), ("file", "1")]);
    assert_eq!(refused.status, 409);
    assert!(
        refused.body.contains("a.txt was changed") && refused.body.contains("Nothing was written"),
        "{}",
        refused.body
    );
    assert!(!stage.folder.join("b.txt").exists());
    // Both sides of it are on the page.
    let review = browser.get("/tasks/1").body;
    for part in [
        "Your folder changed while it worked",
        "Yours, line 1",
        "<code>mine<br></code>",
        "<code>new<br></code>",
        "Keep mine, accept the other file",
        "You changed your folder, and not all of this fits any more.",
        "Accept writes what still fits, where that is all you take.",
    ] {
        assert!(review.contains(part), "no {part} in {review}");
    }
    let form = &review[..review.find("Keep mine").unwrap()];
    let form = &form[form.rfind("<form").unwrap()..];
    assert!(
        form.contains(r#"name="file" value="1""#) && !form.contains(r#"name="file" value="0""#),
        "{form}"
    );
    let seen = browser.get("/tasks/1").field("seen");
    let kept = browser.post("/tasks/1/accept", &[("seen", &seen), ("file", "1")]);
    assert_eq!(kept.status, 303, "{kept:?}");
    assert_eq!(fs::read_to_string(stage.folder.join("a.txt")).unwrap(), "mine\n");
    assert_eq!(fs::read_to_string(stage.folder.join("b.txt")).unwrap(), "b\n");
}

#[test]
fn a_task_at_work_is_told_as_it_goes_on_stopped_and_resumed() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("echo one; echo two"), shell("true"), say("Done with it.")]);
    stage.use_model(&model, Wire::Chat);
    stage.file("a.txt", "old\n");
    model.hold_from(1);
    let browser = Browser::open(&stage);
    let started = browser.post("/tasks", &[("words", "do it"), ("folder", stage.folder.to_str().unwrap())]);
    assert_eq!(started.status, 303, "{}", started.body);
    model.wait_for(1, 1);
    let at_work = browser.get("/tasks/1");
    assert!(at_work.body.contains("Working") && at_work.body.contains("Stop"), "{}", at_work.body);
    // The story is told from its beginning, and from where a browser was.
    let line = |events: &mut Events| loop {
        let (name, id, data) = events.next();
        if name == "line" {
            return (id.unwrap(), data["text"].as_str().unwrap().to_owned());
        }
    };
    let mut events = browser.events("/tasks/1/events?after=0", &[]);
    let (first, text) = line(&mut events);
    assert_eq!(text, "Ran `echo one; echo two`");
    let mut later = browser.events("/tasks/1/events?after=0", &[("last-event-id", &first.to_string())]);
    model.hold_from(2);
    assert_eq!(line(&mut later).1, "Ran `true`");
    assert_eq!(line(&mut events).1, "Ran `true`");
    model.wait_for(2, 1);
    assert_eq!(browser.post("/tasks/1/stop", &[]).status, 303);
    until(&browser, "/tasks/1", "It was paused.");
    loop {
        let (name, _, data) = events.next();
        if name == "rest" {
            assert_eq!(data["state"], "paused");
            break;
        }
    }
    model.let_go();
    assert_eq!(browser.post("/tasks/1/resume", &[]).status, 303);
    until(&browser, "/tasks/1", "Done with it.");
}

#[test]
fn news_reach_the_page_whoever_made_them() {
    let (stage, model) = ready();
    let browser = Browser::open(&stage);
    let mut news = browser.events("/news", &[]);
    assert_eq!(news.next().2["needs"], 0);
    stage.quire(&["change it"]).exits(0);
    drop(model);
    let begun = Instant::now();
    while news.next().2["needs"] != 1 {
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
    let rows = browser.get("/rows");
    assert!(rows.body.contains("Needs you") && rows.body.contains("change it"), "{}", rows.body);
    // A host that was killed comes back at the same address, and knows the browser.
    let host = stage.host().pid;
    // SAFETY: kill touches no memory.
    assert_eq!(unsafe { libc::kill(host, libc::SIGKILL) }, 0);
    stage.quire(&["web", "--print"]).exits(0);
    assert_eq!(browser.get("/tasks/1").status, 200);
}

#[test]
fn a_new_home_is_told_what_works_and_what_is_set_there_is_kept() {
    let stage = Stage::set();
    let model = Model::saying(vec![say("Hello.")]);
    stage.use_model(&model, Wire::Chat);
    let (port, token) = opened(&stage);
    let mut browser = Browser { port, cookie: None, key: String::new() };
    let entered = browser.send("POST", "/enter", &[], &form(&[("t", &token)]));
    assert_eq!(entered.header("location").as_deref(), Some("/settings"));
    browser.cookie =
        entered.header("set-cookie").and_then(|cookie| cookie.split(';').next().map(str::to_owned));
    let told = until(&browser, "/settings", "A model answers and the sandbox holds.");
    for part in [
        "Ready to start",
        "value=\"model=lab/lab-model\" aria-pressed=\"true\"",
        "lab/lab-model",
        "works",
        "did not get out",
        "project.",
    ] {
        assert!(told.body.contains(part), "no {part} in {}", told.body);
    }
    browser.key = told.field("key");
    let set = |fields: &[(&str, &str)]| browser.post("/settings/keep", fields).status;
    assert_eq!(set(&[("of", "budget.task_usd"), ("value", "1.25")]), 303);
    assert_eq!(set(&[("set", "model=lab/other")]), 303);
    // What tasks may download is chosen among three; what else they may reach is not set here.
    assert!(told.body.contains("value=\"sandbox.net=registries\" aria-pressed=\"true\""), "{}", told.body);
    for net in ["[]", "off", "registries", "[]"] {
        assert_eq!(set(&[("set", &format!("sandbox.net={net}"))]), 303);
        let chosen = browser.get("/settings").body;
        assert!(chosen.contains(&format!("value=\"sandbox.net={net}\" aria-pressed=\"true\"")), "{chosen}");
    }
    for wrong in [
        &[("set", "sandbox.net=all")][..],
        &[("of", "budget.task_usd"), ("value", "much")],
        &[("set", "model=nowhere/x")],
        &[],
    ] {
        assert_eq!(set(wrong), 400, "{wrong:?}");
    }
    let kept = fs::read_to_string(stage.base().join("config/quire/config.toml")).unwrap();
    assert!(
        kept.contains("model = \"lab/other\"")
            && kept.contains("net = []")
            && kept.contains("task_usd = 1.25")
            && kept.contains(&model.url),
        "{kept}"
    );
    assert!(browser.get("/settings").body.contains("value=\"1.25\""));
    // A key that the provider refuses is not stored.
    assert_eq!(browser.post("/settings/key", &[("provider", "nobody"), ("secret", "sk-1")]).status, 400);
    assert!(!stage.base().join("config/quire/keys.toml").exists());
}

#[test]
fn a_task_without_a_folder_gets_a_new_one_when_something_is_accepted() {
    let (stage, _model) = ready();
    let browser = Browser::open(&stage);
    let started = browser.post("/tasks", &[("words", "make me a page"), ("folder", "new")]);
    assert_eq!(started.status, 303, "{}", started.body);
    let review = until(&browser, "/tasks/1", "Accept ");
    let folder = stage.base().join("home/Quire/make me a page");
    assert!(!stage.base().join("home/Quire").exists(), "nothing real changes before Accept");
    assert!(review.body.contains("Quire/make me a page"), "{}", review.body);
    let seen = review.field("seen");
    let refused = browser.post("/tasks/1/accept", &[("seen", "0123456789"), ("file", "0"), ("file", "1")]);
    assert_eq!((refused.status, folder.exists()), (409, false), "{}", refused.body);

    let part = browser.post("/tasks/1/accept", &[("seen", &seen), ("file", "1")]);
    assert_eq!(part.status, 303, "{}", part.body);
    assert_eq!((folder.join("a.txt").exists(), folder.join("b.txt").exists()), (false, true));
    assert_eq!(browser.post("/tasks/1/accept", &[("seen", &seen), ("file", "0"), ("file", "1")]).status, 303);
    assert_eq!(fs::read_to_string(folder.join("a.txt")).unwrap(), "new\n");
    for _ in 0..2 {
        assert_eq!(browser.post("/tasks/1/undo", &[]).status, 303);
    }
    assert!(!folder.exists(), "as it was");

    // Another one with the same words does not get the same folder; what the person puts there meanwhile stays.
    assert_eq!(browser.post("/tasks", &[("words", "make me a page"), ("folder", "new")]).status, 303);
    assert!(browser.get("/tasks/2").body.contains("Quire/make me a page 2"));
    // Nor do those that are begun at once.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| browser.post("/tasks", &[("words", "at once"), ("folder", "new")]));
        }
    });
    let tasks = stage.json(&["ls"])["tasks"].as_array().unwrap().clone();
    let folders: std::collections::BTreeSet<String> =
        tasks.iter().map(|task| task["folder"].to_string()).collect();
    assert_eq!((tasks.len(), folders.len()), (6, 6), "{tasks:?}");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("b.txt"), "mine\n").unwrap();
    let clash = browser.post("/tasks/1/accept", &[("seen", &seen), ("file", "0"), ("file", "1")]);
    assert_eq!(clash.status, 409, "{}", clash.body);
    assert_eq!(browser.post("/tasks/1/discard", &[]).status, 303);
    assert_eq!(fs::read_to_string(folder.join("b.txt")).unwrap(), "mine\n");
}

#[test]
fn what_the_agent_asks_is_answered_on_the_page_in_a_frame_of_its_own() {
    let stage = Stage::set();
    let question = json!({"questions": [{"question": "<b>Which</b> colour?", "default": "red", "choices": ["blue", "red"]}]});
    let model =
        Model::saying(vec![call("ask", question), say("Red, until you say more."), say("Blue it is.")]);
    stage.use_model(&model, Wire::Chat);
    let browser = Browser::open(&stage);
    browser.post("/tasks", &[("words", "paint it"), ("folder", stage.folder.to_str().unwrap())]);
    let asked = until(&browser, "/tasks/1", "The agent asks:");
    assert!(
        asked.body.contains("&lt;b&gt;Which&lt;/b&gt; colour?") && asked.body.contains("value=\"blue\""),
        "{}",
        asked.body
    );
    assert!(browser.get("/rows").body.contains("Answer"));
    assert_eq!(browser.post("/tasks/1/reply", &[("question", "9"), ("choice", "blue")]).status, 400);
    assert_eq!(browser.post("/tasks/1/reply", &[("question", "1"), ("choice", "blue")]).status, 303);
    until(&browser, "/tasks/1", "Blue it is.");
    assert!(model.asked().last().unwrap().body.contains("blue"));
}

#[test]
fn a_change_is_left_out_and_what_its_check_says_of_the_rest_is_asked_about() {
    let stage = Stage::set();
    let lines: String = (1..60).map(|n| format!("line {n}\n")).collect();
    stage.file("a.txt", &lines);
    let model =
        Model::saying(vec![shell("sed -i 's/^line 5$/five/; s/^line 50$/fifty/' a.txt"), say("Done.")]);
    stage.use_model(&model, Wire::Chat);
    stage.quire(&["run", "change two lines", "--check", "grep -q fifty a.txt"]).exits(0);
    let browser = Browser::open(&stage);
    let review = browser.get("/tasks/1");
    let hunks: Vec<&str> =
        review.body.split("name=\"leave\" value=\"").skip(1).map(|rest| &rest[..12]).collect();
    assert_eq!(hunks.len(), 2, "{}", review.body);
    assert!(review.body.contains("Leave this out"), "{}", review.body);
    // Beside each other on demand, and found by what they say.
    let split = browser.get("/tasks/1?split").body;
    assert!(split.contains("<ins class=\"l r a\" data-n=\"5\">five</ins>"), "{split}");
    let found = browser.get("/tasks/1/find?q=FIFTY").body;
    assert!(found.contains("1 line") && found.contains("a.txt:50") && !found.contains("five"), "{found}");

    let seen = review.field("seen");
    let without = |more: &[(&str, &str)]| {
        browser.post("/tasks/1/accept", &[&[("seen", seen.as_str()), ("file", "0")], more].concat())
    };
    let none = without(&[("leave", hunks[0]), ("leave", hunks[1])]);
    assert_eq!(none.status, 400, "{}", none.body);
    // The rest does not pass the check; that it is wanted all the same is said once more.
    let fails = without(&[("leave", hunks[1])]);
    assert_eq!(fails.status, 409, "{}", fails.body);
    assert!(fails.body.contains("Accept anyway, unchecked"), "{}", fails.body);
    assert_eq!(fs::read_to_string(stage.folder.join("a.txt")).unwrap(), lines);
    let again = without(&[("leave", hunks[1]), ("unchecked", "yes")]);
    assert_eq!(again.status, 303, "{}", again.body);
    assert_eq!(fs::read_to_string(stage.folder.join("a.txt")).unwrap(), lines.replace("line 5\n", "five\n"));
    assert_eq!(browser.post("/tasks/1/undo", &[]).status, 303);
    assert_eq!(without(&[("leave", hunks[0])]).status, 303);
    assert_eq!(
        fs::read_to_string(stage.folder.join("a.txt")).unwrap(),
        lines.replace("line 50\n", "fifty\n")
    );
}

#[test]
fn a_row_tells_what_was_made_and_an_answer_is_read() {
    let (stage, _model) = ready();
    stage.quire(&["change it"]).exits(0);
    let answers = Model::saying(vec![say("It holds a word.")]);
    stage.use_model(&answers, Wire::Chat);
    stage.quire(&["what is in a.txt?"]).exits(0);
    let browser = Browser::open(&stage);
    let rows = browser.get("/rows").body;
    let row =
        |task: u64| rows.split(&format!("id=\"task-{task}\"")).nth(1).unwrap().split("</li>").next().unwrap();
    for (task, told, button) in
        [(1, "Ready. 2 files, not checked.", "Review"), (2, "Ready. No files changed.", "Read")]
    {
        let row = row(task);
        assert!(row.contains(told) && row.contains(&format!(">{button}</a>")), "{row}");
    }
    let listed = stage.quire(&["ls"]).exits(0).out;
    assert!(listed.contains(" 2 files, not checked\n") && listed.contains(" no files changed\n"), "{listed}");
    let json = stage.json(&["ls"])["tasks"].clone();
    assert_eq!((&json[1]["files"], &json[1]["made"]), (&json!(2), &json!("2 files, not checked")), "{json}");
    stage.quire(&["accept", "1"]).exits(0);
    assert!(browser.get("/rows").body.contains("Accepted. 2 files."));
}

#[test]
fn a_file_is_left_where_either_of_its_boxes_is_empty() {
    let (stage, _model) = ready();
    stage.quire(&["change it"]).exits(0);
    let browser = Browser::open(&stage);
    let review = browser.get("/tasks/1");
    for part in ["name=\"file\" value=\"1\" checked", "name=\"head\" value=\"1\" checked"] {
        assert!(review.body.contains(part), "no {part} in {}", review.body);
    }
    let seen = review.field("seen");
    let accept = |fields: &[(&str, &str)]| {
        browser.post("/tasks/1/accept", &[&[("seen", seen.as_str()), ("heads", "yes")], fields].concat())
    };
    for none in [&[("file", "0"), ("head", "1")][..], &[("head", "0"), ("head", "1")]] {
        assert_eq!(accept(none).status, 400, "{none:?}");
    }
    // Where only what changed since is shown, no file has a box, and those that were left before are named.
    let since =
        browser.post("/tasks/1/accept", &[("seen", &seen), ("all", "2"), ("without", "0"), ("without", "1")]);
    assert_eq!(since.status, 400, "{}", since.body);
    let both = accept(&[("file", "0"), ("file", "1"), ("head", "1")]);
    assert_eq!(both.status, 303, "{}", both.body);
    assert_eq!(fs::read_to_string(stage.folder.join("a.txt")).unwrap(), "old\n");
    assert!(stage.folder.join("b.txt").exists());
}

#[test]
fn what_was_looked_at_is_folded_until_it_is_another() {
    let stage = Stage::set();
    let model = Model::saying(vec![
        shell("echo new > a.txt; echo b > b.txt"),
        say("One."),
        shell("echo newer > a.txt"),
        say("Two."),
    ]);
    stage.use_model(&model, Wire::Chat);
    stage.file("a.txt", "old\n");
    stage.quire(&["change it"]).exits(0);
    let browser = Browser::open(&stage);
    // Returns each file's mark: what the next click says of which content.
    let marks = |path: &str| -> Vec<(String, String)> {
        let body = browser.get(path).body;
        let buttons = body.split("class=\"seen\"").skip(1).map(|rest| rest.split('>').next().unwrap());
        let value = |button: &str, name: &str| {
            let from = button.split(&format!("{name}=\"")).nth(1).unwrap();
            from.split('"').next().unwrap().to_owned()
        };
        buttons.map(|button| (value(button, " name"), value(button, " value"))).collect()
    };
    let names = |path: &str| marks(path).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let click = |fields: &[(&str, &str)]| browser.post("/tasks/1/seen", fields);
    let files = marks("/tasks/1");
    assert_eq!(names("/tasks/1"), ["mark", "mark"]);
    let unfolded = || {
        let page = browser.get("/tasks/1").body;
        let files = page
            .split("<article")
            .skip(1)
            .map(|file| file.split('>').find(|tag| tag.starts_with("<details")));
        files.flatten().filter(|tag| tag.ends_with(" open")).count()
    };
    assert_eq!(unfolded(), 2);
    let log = stage.quire(&["log", "1", "--json"]).out;
    for (n, (name, file)) in files.iter().enumerate() {
        let to = click(&[(name, file), ("split", "")]);
        assert_eq!(to.header("location"), Some(format!("/tasks/1?split#f{n}")), "{to:?}");
    }
    assert_eq!(names("/tasks/1"), ["unmark", "unmark"]);
    assert_eq!(unfolded(), 0);
    for wrong in [&[("mark", "00")][..], &[("mark", &"0".repeat(64))], &[]] {
        assert_eq!(click(wrong).status, 400, "{wrong:?}");
    }
    assert_eq!(stage.quire(&["log", "1", "--json"]).out, log, "what one looked at is no news");

    model.hold_from(2);
    assert_eq!(browser.post("/tasks/1/revise", &[("words", "newer")]).status, 303);
    // Of what goes on nothing is chosen.
    let version = browser.get("/tasks/1?version").body;
    assert!(version.contains("Line 1") && browser.get("/tasks/1").body.contains("Working"), "{version}");
    for box_of_none in ["name=\"file\"", "name=\"head\"", "name=\"leave\"", "id=\"all\""] {
        assert!(!version.contains(box_of_none), "{box_of_none} in {version}");
    }
    model.let_go();
    until(&browser, "/tasks/1", "Version 2");
    assert_eq!(names("/tasks/1"), ["mark", "unmark"], "what is another is unseen");
    let to = click(&[("mark", &marks("/tasks/1?since=1")[0].1), ("since", "1")]);
    assert_eq!(to.header("location").as_deref(), Some("/tasks/1?since=1#f0"), "{to:?}");
    assert_eq!(click(&[("unmark", &files[1].1)]).status, 303);
    assert_eq!(names("/tasks/1"), ["unmark", "mark"]);
}

#[test]
fn notes_stand_where_they_belong_go_together_and_end_beside_what_they_led_to() {
    let stage = Stage::set();
    let model = Model::saying(vec![
        shell("echo new > a.txt"),
        say("One."),
        shell("echo newer > a.txt"),
        say("Note 1: done: it is newer.\n\nTwo."),
    ]);
    stage.use_model(&model, Wire::Chat);
    stage.file("a.txt", "old\n");
    stage.quire(&["change it"]).exits(0);
    let browser = Browser::open(&stage);
    let review = browser.get("/tasks/1").body;
    let way =
        review.split("class=\"note-it\" href=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    // Without scripts it is written on a page of its own.
    let form = browser.get(way).body;
    assert!(form.contains("name=\"hunk\"") && form.contains("Add note"), "{form}");
    let note = |fields: &[(&str, &str)]| browser.post("/tasks/1/note", fields).status;
    assert_eq!(note(&[("file", "a.txt"), ("line", "1"), ("words", "<b>newer</b>, please")]), 303);
    assert_eq!(note(&[("words", "never mind")]), 303);
    for wrong in [&[("words", "")][..], &[("line", "1"), ("words", "x")], &[("file", "none"), ("words", "x")]]
    {
        assert_eq!(note(wrong), 400, "{wrong:?}");
    }
    let noted = browser.get("/tasks/1").body;
    for part in
        ["&lt;b&gt;newer&lt;/b&gt;, please", "class=\"note-row\"", "a.txt:1", "not sent", "Send 2 notes"]
    {
        assert!(noted.contains(part), "no {part} in {noted}");
    }
    assert_eq!(browser.post("/tasks/1/unnote", &[("note", "2")]).status, 303);
    assert!(!browser.get("/tasks/1").body.contains("never mind"));
    assert_eq!(browser.post("/tasks/1/revise", &[("notes", "all")]).status, 303);
    let ended = until(&browser, "/tasks/1", "Version 2").body;
    assert!(ended.contains("done in version 2 (+1 -1 there): it is newer."), "{ended}");
    assert!(model.asked().last().unwrap().body.contains("newer</b>, please"));
    // With nothing to send, nothing is sent.
    assert_eq!(browser.post("/tasks/1/revise", &[("notes", "all")]).status, 400);
}

/// Returns a form as browsers send it that may hold files, and its content type.
fn with_files(key: &str, fields: &[(&str, &str)], files: &[(&str, &str)]) -> (&'static str, String) {
    let part = |head: String, content: &str| {
        format!("--b0\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
    };
    let mut form = part("name=\"key\"".to_owned(), key);
    for (name, value) in fields {
        form.push_str(&part(format!("name=\"{name}\""), value));
    }
    for (name, content) in files {
        form.push_str(&part(
            format!("name=\"attach\"; filename=\"{name}\"\r\nContent-Type: text/plain"),
            content,
        ));
    }
    ("multipart/form-data; boundary=b0", format!("{form}--b0--\r\n"))
}

#[test]
fn files_are_handed_over_without_a_script_to_several_attempts() {
    let stage = Stage::set();
    let model = Model::new(|asked| match asked.answered {
        0 => {
            let at =
                asked.body.split("\\n- ").find_map(|line| line.split_once("notes.txt").map(|(dir, _)| dir));
            shell(&format!("cat {}notes.txt > copy", at.expect("the model is told where they lie")))
        }
        _ => say("Read."),
    });
    stage.use_model(&model, Wire::Chat);
    let browser = Browser::open(&stage);
    let folder = stage.folder.to_str().unwrap();
    let fields = [("words", "read it"), ("folder", folder), ("attempts", "2"), ("with", "lab/other")];
    let send = |key: &str, fields: &[(&str, &str)], files: &[(&str, &str)], cut: usize| {
        let (kind, form) = with_files(key, fields, files);
        browser.send("POST", "/tasks", &[("content-type", kind)], &form[..form.len() - cut])
    };
    let notes = [("notes.txt", "buy milk\n"), ("", "")];
    assert_eq!(send("wrong", &fields, &notes, 0).status, 403);
    assert_eq!(send(&browser.key, &fields, &notes, 9).status, 400);
    assert_eq!(
        send(&browser.key, &[("words", "x"), ("folder", folder), ("attempts", "17")], &[], 0).status,
        400
    );
    assert!(stage.json(&["ls"])["tasks"].as_array().unwrap().is_empty());

    let begun = send(&browser.key, &fields, &notes, 0);
    assert_eq!(
        (begun.status, begun.header("location").as_deref()),
        (303, Some("/tasks/1/compare")),
        "{begun:?}"
    );
    until(&browser, "/tasks/1/compare", "Review A");
    until(&browser, "/tasks/1/compare", "Review B");
    for id in ["1", "2"] {
        assert!(stage.quire(&["log", id]).exits(0).out.contains("handed over: notes.txt"));
    }
    let home = browser.get("/");
    assert!(home.body.contains("2 attempts") && home.body.contains("2 ready"), "{}", home.body);
    // One is named for each of two models where no number is; a mix and its answer need no script either.
    let mixed = browser.post("/tasks/1/mix", &[("from", "2"), ("words", "as it is")]);
    assert_eq!(mixed.header("location").as_deref(), Some("/tasks/1/compare"), "{mixed:?}");
    until(&browser, "/tasks/1/compare", "Review C");
    let asked = browser.get("/tasks/3").body;
    assert!(asked.contains("as it is") && !asked.contains("Your files are those of attempt"), "{asked}");
    for (form, status) in [
        (&[("words", "x")][..], 400),
        (&[("from", "2")][..], 400),
        (&[("from", "9"), ("words", "x")][..], 404),
    ] {
        assert_eq!(browser.post("/tasks/1/mix", form).status, status, "{form:?}");
    }
    for id in ["1", "3"] {
        browser.post(&format!("/tasks/{id}/discard"), &[]);
    }
    // With later words too.
    let (kind, form) = with_files(&browser.key, &[("words", "and this")], &[("more.txt", "buy bread\n")]);
    let said = browser.send("POST", "/tasks/2/revise", &[("content-type", kind)], &form);
    assert_eq!((said.status, said.header("location").as_deref()), (303, Some("/tasks/2")), "{said:?}");
    until(&browser, "/tasks/2", "Version 2");
    assert!(browser.get("/tasks/2").body.contains("Handed over: notes.txt (9 bytes), more.txt (10 bytes)"));
    let left = browser.get("/tasks/1/compare");
    assert_eq!((left.status, left.header("location").as_deref()), (303, Some("/tasks/2")), "{left:?}");
}

/// What was accepted of an attempt is in the folder while that is revised: the page says so, and it is not discarded with the
/// others, nor are those that the page has not shown.
#[test]
fn an_attempt_that_is_in_the_folder_is_not_discarded_with_the_others() {
    let stage = Stage::set();
    let model = Model::new(|asked| match (asked.answered, asked.words.len()) {
        (0, _) => shell("echo new > a.txt; echo b > b.txt"),
        (1, 2..) => shell("echo newer > a.txt"),
        _ => say("Done."),
    });
    stage.use_model(&model, Wire::Chat);
    stage.file("a.txt", "old\n");
    let browser = Browser::open(&stage);
    let folder = stage.folder.to_str().unwrap();
    let fields = [("words", "change it"), ("folder", folder), ("attempts", "3")];
    assert_eq!(browser.post("/tasks", &fields).status, 303);
    for letter in ["A", "B", "C"] {
        until(&browser, "/tasks/1/compare", &format!("Review {letter}"));
    }
    assert!(browser.get("/tasks/1/compare").body.contains("Your folder has not changed."));
    stage.quire(&["accept", "1"]).exits(0);
    assert!(browser.get("/tasks/1/compare").body.contains("Attempt A is in your folder."));
    stage.quire(&["revise", "1", "newer"]).exits(0);
    let revised = until(&browser, "/tasks/1/compare", "An earlier version of attempt A is in your folder.");
    assert!(revised.body.contains("Discard the others"), "{}", revised.body);
    assert_eq!(revised.body.matches(r#"name="task""#).count(), 2, "{}", revised.body);
    assert_eq!(browser.post("/tasks/1/discard-attempts", &[]).status, 400);
    let discarded = browser.post("/tasks/1/discard-attempts", &[("task", "1"), ("task", "2")]);
    assert_eq!(discarded.status, 303, "{}", discarded.body);
    assert_eq!([1, 2, 3].map(|id| stage.state(id)), ["ready", "discarded", "ready"]);
    let none = browser.get("/tasks/1?since=7").body;
    assert!(none.contains("There is no earlier version 7."), "{none}");
    assert!(!browser.get("/tasks/1?since=1").body.contains("There is no earlier version"));
    // Of one that is discarded itself it is told why nothing is taken back.
    assert_eq!(browser.post("/tasks/1/discard", &[]).status, 303);
    let undo = browser.post("/tasks/1/undo", &[]);
    assert!(
        undo.body.contains("was discarded, so what is in your folder of it stays there"),
        "{}",
        undo.body
    );
    assert_eq!(fs::read_to_string(stage.folder.join("a.txt")).unwrap(), "new\n");
}

#[test]
fn after_an_accept_the_next_that_needs_its_person_is_opened_where_that_is_wanted() {
    let (stage, _model) = ready();
    let browser = Browser::open(&stage);
    let accept = |task: u64, next: bool| {
        let review = browser.get(&format!("/tasks/{task}"));
        let seen = review.field("seen");
        let all = [("seen", seen.as_str()), ("all", "2"), ("next", "yes")];
        let accepted = browser.post(&format!("/tasks/{task}/accept"), &all[..if next { 3 } else { 2 }]);
        assert_eq!(accepted.status, 303, "{accepted:?}");
        accepted.header("location").expect("somewhere to look")
    };
    let folders: Vec<_> = (1..=3).map(|n| stage.base().join(format!("folder-{n}"))).collect();
    for (n, folder) in folders.iter().enumerate() {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("a.txt"), "old\n").unwrap();
        browser.post("/tasks", &[("words", "change it"), ("path", folder.to_str().unwrap())]);
        until(&browser, &format!("/tasks/{}", n + 1), "Accept ");
    }
    let next = accept(1, true);
    assert!(["/tasks/2?after=1", "/tasks/3?after=1"].contains(&next.as_str()), "{next}");
    let page = browser.get(&next);
    let strip = &page.body[page.body.find("class=\"after\"").expect("what was done")..];
    let strip = &strip[..strip.find("</aside>").unwrap()];
    assert!(strip.contains("2 files written to") && strip.contains("action=\"/tasks/1/undo\""), "{strip}");
    browser.post("/tasks/1/undo", &[]);
    assert!(!browser.get(&next).body.contains("class=\"after\""), "what was undone is told as done");
    assert_eq!(accept(1, false), "/tasks/1");
    let third = if accept(2, true) == "/tasks/3?after=2" { 3 } else { panic!("the last one is not opened") };
    assert_eq!(accept(third, true), "/tasks/3", "nothing else needs the person");
}

#[test]
fn a_task_is_taken_back_to_a_step_and_another_begins_there() {
    let stage = Stage::set();
    let model = Model::saying(vec![
        shell("echo first > a.txt"),
        shell("echo second > a.txt"),
        say("It is second."),
        say("As before."),
    ]);
    stage.use_model(&model, Wire::Chat);
    stage.file("a.txt", "old\n");
    let browser = Browser::open(&stage);
    browser.post("/tasks", &[("words", "change it"), ("folder", stage.folder.to_str().unwrap())]);
    let review = until(&browser, "/tasks/1", "Accept ");
    let options = ["<option value=\"v1\">Version 1: It is second.", "<option value=\"1\">Step 1: Ran"];
    for part in options {
        assert!(review.body.contains(part), "no {part} in {}", review.body);
    }

    let forked = browser.post("/tasks/1/fork", &[("point", "1")]);
    assert_eq!((forked.status, forked.header("location").as_deref()), (303, Some("/tasks/2")), "{forked:?}");
    assert!(browser.get("/tasks/2").body.contains("Go on"), "the other one does not wait for its person");
    assert!(browser.get("/tasks/1").body.contains("second"), "the one that it began in is another now");

    let back = browser.post("/tasks/1/rewind", &[("point", "1")]);
    assert_eq!((back.status, back.header("location").as_deref()), (303, Some("/tasks/1")), "{back:?}");
    let waiting = browser.get("/tasks/1");
    assert!(waiting.body.contains("Go on") && !waiting.body.contains("id=\"accept\""), "{}", waiting.body);
    let again = browser.post("/tasks/1/rewind", &[("point", "v1")]);
    assert_eq!(again.status, 303, "{again:?}");
    assert!(browser.get("/tasks/1").body.contains("id=\"accept\""), "its version is not there again");

    for (wrong, told) in [("", "names no step"), ("v0", "names no step"), ("99", "no step 99")] {
        let refused = browser.post("/tasks/1/rewind", &[("point", wrong)]);
        assert!(refused.status >= 400 && refused.body.contains(told), "{wrong}: {refused:?}");
    }
    assert_eq!(fs::read_to_string(stage.folder.join("a.txt")).unwrap(), "old\n");
}

/// Another process has the folder's lock and keeps it: who only looks does not wait for it, and a host that was asked to write does
/// not live on for it.
#[test]
fn a_lock_that_never_comes_free_holds_up_neither_a_look_nor_the_hosts_end() {
    let (stage, _model) = ready();
    let host = stage.start(&["host"]);
    let socket = stage.data().join("host.sock");
    while !socket.exists() {
        std::thread::yield_now();
    }
    let browser = Browser::open(&stage);
    stage.quire(&["change it"]).exits(0);
    let seen = until(&browser, "/tasks/1", "Accept ").field("seen");
    let folder = fs::metadata(&stage.folder).unwrap();
    let locks = stage.data().join("locks");
    fs::create_dir_all(&locks).unwrap();
    let lock = fs::File::create(locks.join(format!("{:x}-{:x}", folder.dev(), folder.ino()))).unwrap();
    lock.lock().unwrap();
    assert_eq!(browser.get("/tasks/1").status, 200);
    let sent = browser.begin(
        "POST",
        "/tasks/1/accept",
        &[],
        &form(&[("key", &browser.key), ("seen", &seen), ("file", "0")]),
    );
    let waiting = format!(":{} ", lock.metadata().unwrap().ino());
    let waits = |line: &str| line.contains("->") && line.contains(&waiting);
    while !fs::read_to_string("/proc/locks").unwrap().lines().any(waits) {
        std::thread::yield_now();
    }
    host.signal(libc::SIGTERM);
    host.end().exits(0);
    drop((sent, lock));
    stage.quire(&["accept", "1"]).exits(0);
}

/// Returns where the link leads that says `text`.
fn way(page: &str, text: &str) -> String {
    let before = page.split(&format!(">{text}</a>")).next().filter(|before| before.len() < page.len());
    let address = before.and_then(|before| before.rsplit("href=\"").next()?.split('"').next());
    address.unwrap_or_else(|| panic!("no {text} in {page}")).replace("&amp;", "&")
}

#[test]
fn more_of_a_file_is_shown_around_a_change_and_the_change_keeps_its_name() {
    let stage = Stage::set();
    let lines: Vec<String> = (1..=100).map(|n| format!("line {n}\n")).collect();
    let model = Model::saying(vec![shell("sed -i 's/^line 50$/fifty/' a.txt"), say("Changed it.")]);
    stage.use_model(&model, Wire::Chat);
    stage.file("a.txt", &lines.concat());
    stage.quire(&["run", "change it", "--check", "none"]).exits(0);
    let browser = Browser::open(&stage);
    let shows = |page: &str, line: usize| page.contains(&format!("data-n=\"{line}\""));
    let name = |page: &str| {
        let box_of = page.split("name=\"leave\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
        box_of.unwrap_or_else(|| panic!("no box in {page}")).to_owned()
    };
    for at in ["/tasks/1", "/tasks/1?split"] {
        let page = browser.get(at).body;
        let id = name(&page);
        assert!(shows(&page, 47) && !shows(&page, 46) && shows(&page, 53) && !shows(&page, 54), "{at}");
        let above = way(&page, "Show 20 lines above");
        assert!(above.ends_with(&format!("#h{id}")) && page.contains(&format!("id=\"h{id}\"")), "{above}");
        let page = browser.get(above.split('#').next().expect("an address")).body;
        assert!(shows(&page, 27) && !shows(&page, 26) && !shows(&page, 54), "{at}");
        assert_eq!(page.contains("class=\"chunk split\""), at.ends_with("split"), "{at}");
        assert_eq!(name(&page), id);
        // What was asked for stays, and it goes on up to the file's ends.
        let mut page = page;
        for text in
            ["Show 20 lines below", "Show 20 lines below", "Show 7 lines below", "Show 20 lines above"]
        {
            let next = way(&page, text);
            page = browser.get(next.split('#').next().expect("an address")).body;
        }
        assert!(shows(&page, 7) && !shows(&page, 6) && shows(&page, 100), "{at}");
        assert!(page.contains("Show 6 lines above") && !page.contains("lines below"), "{at}");
        // What is chosen is chosen as before.
        assert_eq!(name(&page), id);
    }
    // A chunk and the page of a file are widened too.
    let id = name(&browser.get("/tasks/1").body);
    for at in ["/tasks/1/files/0?from=0&", "/tasks/1/files/0?"] {
        let page = browser.get(&format!("{at}wide={id}.20.0")).body;
        assert!(shows(&page, 27) && !shows(&page, 26), "{page}");
    }
    let own = way(&browser.get("/tasks/1/files/0").body, "Show 20 lines above");
    assert!(own.starts_with("/tasks/1/files/0?wide="), "{own}");
    // What names no hunk shows no more.
    let page = browser.get("/tasks/1?wide=0123456789ab.20.20,x,..,").body;
    assert!(shows(&page, 47) && !shows(&page, 46));
}

#[test]
fn a_files_head_says_why_to_look_there_or_what_the_agent_says_of_it() {
    let stage = Stage::set();
    let made = "echo x > new.txt; printf '#!/bin/sh\\n' > run.sh; chmod 755 run.sh";
    let model = Model::saying(vec![shell(made), say("Wrote `new.txt` & no more. run.sh runs it.")]);
    stage.use_model(&model, Wire::Chat);
    stage.quire(&["make it"]).exits(0);
    let review = Browser::open(&stage).get("/tasks/1").body;
    assert!(
        review.contains("<span class=\"why\"><q>Wrote <code>new.txt</code> &amp; no more.</q></span>"),
        "{review}"
    );
    assert!(review.contains("<span class=\"why\"><span class=\"tag amber\">look here</span> "), "{review}");
}
