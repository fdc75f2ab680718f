//! Files that a person hands over: pictures are shown to models that see them, everything can be read inside, and nothing of it
//! gets into the folder by itself.

use crate::model::{Model, Wire, say, shell};
use crate::stage::{Stage, can_make_users};
use quire_core::Event;
use std::fs;
use std::process::Stdio;

/// One white pixel.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\0\0\0\nIDATx\x9cc\xf8\x0f\0\x01\x01\x01\0\xb18\xf6\x14\0\0\0\0IEND\xaeB`\x82";
/// It in base64, as far as its first bytes reach.
const SHOWN: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB";

fn journey(stage: &Stage, wire: Wire) {
    let model = Model::new(|asked| match asked.answered {
        0 => {
            let at =
                asked.body.split("\\n- ").find_map(|line| line.split_once("notes.txt").map(|(dir, _)| dir));
            let at = at.expect("the model is told where they lie");
            shell(&format!("cat {at}notes.txt > copy; wc -c < {at}plan.png >> copy; echo x > {at}notes.txt"))
        }
        _ => say("Both are read."),
    });
    stage.configure(&model, wire, "models.gpt-lab.images = true\nmodels.lab-model.images = true\n");
    let outside = stage.base().join("for you");
    fs::create_dir_all(&outside).expect("a directory");
    fs::write(outside.join("plan.png"), PNG).expect("a picture");
    fs::write(outside.join("notes.txt"), "buy milk\n").expect("notes");
    stage.own(stage.base());
    let (png, notes) = (outside.join("plan.png"), outside.join("notes.txt"));
    let (png, notes) = (png.to_str().expect("a path"), notes.to_str().expect("a path"));

    stage
        .quire(&["run", "-i", "no such file", "look"])
        .exits(2)
        .tells(&["`no such file` cannot be handed over"]);
    stage.quire(&["run", "-i", png, "-i", notes, "look at both"]).exits(0);
    assert!(stage.quire(&["log", "1"]).exits(0).out.contains("handed over: plan.png, notes.txt"));
    let asked = model.asked();
    assert!(asked[0].body.contains(SHOWN), "{}", asked[0].body);
    assert_eq!(asked[1].items[..asked[0].items.len()], asked[0].items, "what was told stays as it was");
    assert!(asked[1].results[0].contains("Read-only file system"), "{:?}", asked[1].results);
    stage.quire(&["accept", "1"]).exits(0);
    let copied = fs::read_to_string(stage.folder.join("copy")).expect("what the task made of it");
    assert_eq!(copied, format!("buy milk\n{}\n", PNG.len()));
    assert_eq!(fs::read_dir(&stage.folder).expect("the folder").count(), 1, "nothing else came into it");

    // A model that sees no pictures has the file; its person hears of that. A death of the host changes nothing.
    model.hold_from(0);
    stage.quire(&["run", "-b", "-m", "lab/blind", "-i", png, "-i", notes, "look at both"]).exits(0);
    model.wait_for(0, 2);
    stage.host().kill();
    model.let_go();
    let watched = stage.quire(&["watch", "2"]).exits(0);
    assert!(watched.err.contains("plan.png: lab/blind is not known to see pictures"), "{}", watched.err);
    let asked = model.asked();
    let last = asked.last().expect("a request");
    assert!(!last.body.contains(SHOWN) && last.body.contains("plan.png (image/png, "), "{}", last.body);
    assert!(last.results[0].contains("Read-only file system"), "{:?}", last.results);
}

#[test]
fn over_responses() {
    journey(&Stage::set(), Wire::Responses);
}

#[test]
fn over_chat() {
    journey(&Stage::set(), Wire::Chat);
}

#[test]
fn over_messages_as_an_ordinary_user() {
    if can_make_users() {
        journey(&Stage::for_user(), Wire::Messages);
    }
}

/// With later words too: at rest, while it works in a sandbox that is there already, and after going back.
fn later(stage: &Stage) {
    let model = Model::new(|asked| {
        let told = |name: &str| {
            let dir = asked.body.rsplit("\\n- ").find_map(|line| line.split_once(name).map(|(dir, _)| dir));
            dir.unwrap_or_else(|| panic!("the model is not told where {name} lies: {}", asked.body))
                .to_owned()
        };
        match asked.answered {
            0 | 3 => shell("true"),
            2 => shell(&format!("cat {0}notes.txt > a; wc -c < {0}plan.png >> a", told("notes.txt"))),
            4 => shell(&format!("cat {}2-notes.txt > b", told("2-notes.txt"))),
            _ => say("Done."),
        }
    });
    stage.configure(&model, Wire::Chat, "models.lab-model.images = true\n");
    let outside = stage.base().join("for you");
    fs::create_dir_all(outside.join("more")).expect("a directory");
    fs::write(outside.join("plan.png"), PNG).expect("a picture");
    fs::write(outside.join("notes.txt"), "buy milk\n").expect("notes");
    fs::write(outside.join("more/notes.txt"), "and bread\n").expect("notes");
    stage.own(stage.base());
    let at = |name: &str| outside.join(name).to_str().expect("a path").to_owned();

    stage.quire(&["run", "begin"]).exits(0);
    stage.quire(&["revise", "1", "-i", "no such file", "x"]).exits(2).tells(&["cannot be handed over"]);
    model.hold_from(3);
    let revise = ["revise", "1", "-i", &at("notes.txt"), "-i", &at("plan.png"), "look at both"];
    let mut first =
        stage.command(&revise).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("quire");
    model.wait_for(3, 1);
    let asked = model.asked();
    let shown = asked.iter().find(|asked| asked.answered == 2).expect("a request");
    assert!(shown.body.contains(SHOWN), "the picture is not shown: {}", shown.body);
    let words = &shown.words;
    let place = |text: &str| words.iter().position(|words| words.contains(text)).expect("it was said");
    assert!(place("hands over") <= place("look at both"), "{words:?}");
    // A sandbox is there now.
    let more = ["revise", "1", "-i", &at("more/notes.txt"), "and this"];
    let mut second = stage.command(&more).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("quire");
    let handed = |log: &[quire_core::Logged]| {
        log.iter().filter(|one| matches!(one.event, Event::Attached { .. })).count()
    };
    while handed(&stage.log(1)) < 2 {}
    model.let_go();
    for child in [&mut first, &mut second] {
        assert!(child.wait().expect("it ends").success());
    }
    stage.quire(&["accept", "1"]).exits(0);
    let made = |name: &str| fs::read_to_string(stage.folder.join(name)).expect("what the task made of it");
    assert_eq!((made("a"), made("b")), (format!("buy milk\n{}\n", PNG.len()), "and bread\n".to_owned()));

    // What came after the step it is taken back to is told, and shown, anew.
    stage.quire(&["rewind", "1", "--to", "v1"]).exits(0);
    stage.quire(&["revise", "1", "again"]).exits(0);
    let asked = model.asked();
    let last = asked.last().expect("a request");
    assert!(last.body.contains("2-notes.txt (10 bytes)") && last.body.contains(SHOWN), "{}", last.body);
}

#[test]
fn with_later_words() {
    later(&Stage::set());
    if can_make_users() {
        later(&Stage::for_user());
    }
}
