//! What a task made is tried in a browser from a fresh sandbox, and what runs inside is reached in no other way.

use crate::model::{Model, Wire, call, say, shell};
use crate::stage::{Running, Stage, can_make_users};
use crate::tree::Tree;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Starts `quire serve` and returns it with the address that it prints.
fn serve(stage: &Stage, arguments: &[&str]) -> (Running, String) {
    let mut running = stage.start(&[&["serve"], arguments].concat());
    let address = running.next_line().trim().to_owned();
    (running, address)
}

/// Asks for a page as a browser does.
fn get(address: &str) -> String {
    let (host, path) = address.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

/// Ends it as a person does, and sees that nothing is left.
#[track_caller]
fn leave(stage: &Stage, running: Running) {
    running.signal(libc::SIGINT);
    running.end().exits(130);
    assert_eq!(fs::read_dir(stage.data().join("once")).unwrap().count(), 0);
}

#[test]
fn a_recorded_command_shows_each_version() {
    for stage in [Some(Stage::set()), can_make_users().then(Stage::for_user)].into_iter().flatten() {
        let record = json!({"command": "cd site && exec python3 -m http.server 9000", "port": 9000, "path": "/page.html"});
        let model = Model::saying(vec![
            shell("mkdir site && echo first > site/page.html && mkdir -p /opt/own && echo 1 > /opt/own/x"),
            call("serve", record),
            say("It is there."),
            shell("echo second > site/page.html"),
            say("Now it is another."),
        ]);
        stage.use_model(&model, Wire::Chat);
        stage.file("kept", "1\n");
        stage.quire(&["make a page"]).exits(0);
        let review = stage.json(&["review", "1"]);
        assert_eq!(review["review"]["serving"]["port"], 9000, "{review}");
        assert!(stage.quire(&["review", "1"]).exits(0).out.contains("quire serve 1"));
        stage.quire(&["revise", "1", "another"]).exits(0);
        let before = Tree::of(&stage.folder);

        let (running, address) = serve(&stage, &["1"]);
        assert!(address.starts_with("http://127.0.0.1:") && address.ends_with("/page.html"), "{address}");
        assert!(get(&address).ends_with("\r\n\r\nsecond\n"));
        // Several at once.
        let many: Vec<_> = (0..20)
            .map(|_| {
                std::thread::spawn({
                    let a = address.clone();
                    move || get(&a)
                })
            })
            .collect();
        assert!(many.into_iter().all(|one| one.join().unwrap().ends_with("second\n")));
        // It is reached there alone.
        assert!(TcpStream::connect(("127.0.0.1", 9000)).is_err());
        leave(&stage, running);
        assert!(TcpStream::connect(address[7..].split('/').next().unwrap()).is_err());

        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let (running, line) = serve(&stage, &["1", "--version", "1", "--port", &free, "--json"]);
        let told: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&told["v"], &told["task"], &told["version"]), (&json!(1), &json!(1), &json!(1)));
        assert_eq!(told["address"], format!("http://127.0.0.1:{free}/page.html"));
        assert!(get(told["address"].as_str().unwrap()).ends_with("\r\n\r\nfirst\n"));
        leave(&stage, running);
        Tree::of(&stage.folder).assert_is(&before, "served");

        stage.quire(&["accept", "1"]).exits(0);
        let (running, address) = serve(&stage, &["1"]);
        assert!(get(&address).ends_with("second\n"));
        leave(&stage, running);
    }
}

#[test]
fn plain_pages_need_no_record() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("echo '<p>new' > index.html"), say("It is there.")]);
    stage.use_model(&model, Wire::Responses);
    stage.file("style.css", "p{}");
    stage.quire(&["make a page"]).exits(0);
    let (running, address) = serve(&stage, &["1"]);
    let page = get(&address);
    assert!(page.contains("text/html") && page.ends_with("<p>new\n"), "{page}");
    assert!(get(&format!("{address}style.css")).ends_with("p{}"));
    // Who clears up after killed commands leaves it alone.
    stage.quire(&["sandbox", "--", "true"]).exits(0);
    stage.quire(&["gc"]).exits(0);
    assert!(get(&format!("{address}style.css")).ends_with("p{}"));
    leave(&stage, running);
}

#[test]
fn what_cannot_be_served_is_told() {
    let stage = Stage::set();
    let model = Model::saying(vec![
        shell("echo 1 > one"),
        say("It is there."),
        call("serve", json!({"command": "echo out of order; exit 7", "port": 9000})),
        say("Recorded."),
    ]);
    stage.use_model(&model, Wire::Messages);
    stage.quire(&["serve", "1"]).exits(6).tells(&["There is no task 1."]);
    stage.quire(&["make one"]).exits(0);
    stage.quire(&["serve", "1"]).exits(1).tells(&["Nothing says how", "no index.html", "quire revise 1"]);
    stage.quire(&["serve", "1", "--version", "2"]).exits(2).tells(&["has no version 2; its last is 1."]);
    stage.quire(&["serve", "1", "--port", "0"]).exits(2).tells(&["a port from 1 to 65535"]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    stage.quire(&["serve", "1", "--port", &port]).exits(2).tells(&["cannot be listened on"]);
    stage.quire(&["revise", "1", "say how"]).exits(0);
    let ended = stage.quire(&["serve", "1", "-q"]).exits(1);
    assert!(
        ended.err.contains("ended by itself, exit 7") && ended.err.contains("out of order"),
        "{}",
        ended.err
    );
    stage.quire(&["discard", "1"]).exits(0);
    stage.quire(&["serve", "1"]).exits(2).tells(&["was discarded"]);
}

#[test]
fn what_a_running_task_listens_on_is_listed() {
    let stage = Stage::set();
    let server = json!({"command": "exec python3 -m http.server 9123", "background": true});
    let model = Model::saying(vec![
        shell("echo '<p>half' > index.html"),
        call("shell", server),
        shell("rm index.html"),
        say("Done."),
    ]);
    stage.use_model(&model, Wire::Chat);
    model.hold_from(2);
    let mut follower = stage.start(&["try it"]);
    model.wait_for(2, 1);
    while !follower.next_line_of_stderr().contains("listening: 9123 (python3)") {}
    let row = stage.json(&["ls"])["tasks"][0].clone();
    assert_eq!(row["listening"], json!([{"port": 9123, "program": "python3"}]), "{row}");
    assert!(stage.quire(&["ls"]).exits(0).out.contains("listening: 9123 (python3)"));
    assert!(TcpStream::connect(("127.0.0.1", 9123)).is_err());
    // What it has so far is served from a sandbox of its own.
    let (running, address) = serve(&stage, &["1"]);
    assert!(get(&address).ends_with("<p>half\n"));
    leave(&stage, running);
    model.let_go();
    follower.end().exits(0);
    let begun = Instant::now();
    while stage.json(&["ls"])["tasks"][0].get("listening").is_some() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it listens no more");
    }
}

/// A killed one leaves a sandbox, which the next command of its kind and every clearing remove.
#[test]
fn a_killed_one_is_cleared_away() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("echo '<p>new' > index.html"), say("It is there.")]);
    stage.use_model(&model, Wire::Responses);
    stage.quire(&["make a page"]).exits(0);
    let once = stage.data().join("once");
    for clear in [&["sandbox", "--", "true"][..], &["gc"]] {
        let (mut running, _) = serve(&stage, &["1"]);
        running.child.kill().expect("a child");
        running.end();
        assert_eq!(std::fs::read_dir(&once).expect("a directory").count(), 1);
        stage.quire(clear).exits(0);
        assert_eq!(std::fs::read_dir(&once).expect("a directory").count(), 0, "{clear:?}");
    }
}
