//! Notes: left on a version one by one, sent as one turn, and each ended by what the agent says and what quire sees in the files.

use crate::browser::Browser;
use crate::model::{Model, Wire, say, shell};
use crate::stage::Stage;
use serde_json::Value;

const PAGE: &str = "<h1>Our bread</h1>\n<p>Open daily.</p>\n<p>Order by phone.</p>\n";

fn notes(stage: &Stage) -> Vec<Value> {
    stage.json(&["note", "1"])["notes"].as_array().unwrap().clone()
}

#[test]
fn notes_are_sent_as_one_turn_and_each_ends_with_what_it_led_to() {
    let stage = Stage::set();
    let first = "printf 'one\\ntwo\\nthree\\nfour\\nfive\\nsix\\nseven\\n' > a.txt; sed -i 's/daily/every day/' index.html";
    let second =
        "sed -i '1i zero' a.txt; sed -i 's/^three$/THREE/' a.txt; sed -i 's/Our bread/Bread/' index.html";
    let model = Model::saying(vec![
        shell(first),
        say("Two files."),
        shell(second),
        // Of one note nothing is said, and it is asked for once.
        say("Note 1: done: said louder\nNote 3: done: shorter"),
        say(
            "Louder now.\n\nNote 1: done: said louder\n- **Note 2:** answer: it is the third of seven\nNote 3: done: shorter\n\
             Note 4: done: and bolder",
        ),
    ]);
    stage.use_model(&model, Wire::Chat);
    stage.file("index.html", PAGE);
    stage.quire(&["make it"]).exits(0);

    let wrong: &[(&[&str], &str)] = &[
        (&["note", "1", "a.txt:8", "x"], "`a.txt` has no line 8"),
        (&["note", "1", "b.txt", "x"], "no file `b.txt`"),
        (&["note", "1", "/etc/passwd:1", "x"], "not in a folder of this task"),
        (&["note", "1", "--hunk", "ffff", "x"], "no change `ffff`"),
        (&["note", "1", "--element", "h1", "x"], "names the page"),
        (&["note", "1", " "], "no words"),
        (&["note", "1", "--drop", "1"], "no such note"),
        (&["send", "1"], "no note that is not sent"),
    ];
    for (arguments, told) in wrong {
        stage.quire(arguments).exits(2).tells(&[told]);
    }

    let left = stage.quire(&["note", "1", "a.txt:3", "say it louder"]).exits(0).out;
    assert_eq!(left, "Note 1, on a.txt:3. Send it: quire send 1\n");
    let hunk =
        stage.json(&["review", "1"])["review"]["files"][1]["hunks"][0]["id"].as_str().unwrap().to_owned();
    stage.quire(&["note", "1", "--hunk", &hunk[..8], "why every day?"]).exits(0);
    stage.quire(&["note", "1", "index.html", "--element", "h1", "--quote", "Our bread", "shorter"]).exits(0);
    stage.quire_with(&["note", "1", "-"], b"make it bolder\n").exits(0);
    stage.quire(&["note", "1", "never mind"]).exits(0);
    stage.quire(&["note", "1", "--drop", "5"]).exits(0);
    let listed = stage.quire(&["note", "1"]).exits(0).out;
    assert!(listed.contains("2  index.html:2  not sent") && listed.ends_with("send 4 notes\n"), "{listed}");
    assert!(stage.quire(&["review", "1"]).exits(0).out.contains("NOTES   1  a.txt:3  not sent"));

    stage.quire(&["send", "1"]).exits(0);
    let asked = model.asked();
    let told = asked[2].body.to_string();
    for part in [
        "Note 1, on a.txt line 3",
        "| three",
        "say it louder",
        "the element `h1`",
        "on the whole",
        "why every day?",
    ] {
        assert!(told.contains(part), "no {part:?} in {told}");
    }
    assert!(!told.contains("never mind"));
    let reminded = asked.last().unwrap().body.to_string();
    assert!(reminded.contains("what became of note 2, 4"), "{reminded}");

    let rows = notes(&stage);
    let states: Vec<&str> = rows.iter().map(|row| row["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["done", "answered", "done", "done"], "{rows:?}");
    assert_eq!((&rows[0]["line"], &rows[0]["led_to"]["added"]), (&4.into(), &1.into()), "{rows:?}");
    assert_eq!(rows[2]["detached"], true, "its text is gone: {}", rows[2]);
    let shown = stage.quire(&["review", "1"]).exits(0).out;
    for part in [
        "Louder now.\n",
        "NOTES   1  a.txt:4  done in version 2 (+1 -1 there): said louder",
        "2  index.html:2  answered in version 2",
        ": it is the third of seven",
        "done in version 2 (2 files, +3 -2): and bolder",
    ] {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
    assert!(!shown.contains("**Note 2"), "{shown}");
    // Whoever has seen a version is shown only what became of notes since.
    assert_eq!(rows[2]["gone_in"], 2, "{}", rows[2]);
    assert!(
        stage
            .quire(&["review", "1", "--since", "1"])
            .exits(0)
            .out
            .contains("done in version 2 (+1 -1 there)")
    );
    assert!(!stage.quire(&["review", "1", "--since", "2"]).exits(0).out.contains("NOTES"));
    // The change that a note led to can be taken by its name.
    let hunk = rows[2]["led_to"]["hunks"][0].as_str().unwrap();
    stage.quire(&["accept", "1", "--only", hunk]).exits(0);
    assert!(std::fs::read_to_string(stage.folder.join("index.html")).unwrap().starts_with("<h1>Bread"));
    assert!(stage.quire(&["note", "1"]).exits(0).out.contains("say it louder"));
}

#[test]
fn on_the_page_a_note_is_said_otherwise_and_keeps_its_place() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("printf 'one\\ntwo\\n' > a.txt"), say("A file.")]);
    stage.use_model(&model, Wire::Chat);
    stage.quire(&["make it"]).exits(0);
    stage.quire(&["note", "1", "a.txt:2", "louder <b>"]).exits(0);
    let browser = Browser::open(&stage);
    let review = browser.get("/tasks/1").body;
    // In the rail, and in its place among the lines.
    assert_eq!(review.matches("href=\"/tasks/1/note?edit=1\"").count(), 2, "{review}");
    assert!(review.contains("form=\"unnote\" name=\"note\" value=\"1\"") && review.contains("id=\"unnote\""));
    let form = browser.get("/tasks/1/note?edit=1").body;
    assert!(form.contains("louder &lt;b&gt;</textarea>") && form.contains(">Keep<"), "{form}");
    let kept = browser.post("/tasks/1/note", &[("edit", "1"), ("words", "softer")]);
    assert_eq!(kept.status, 303, "{kept:?}");
    let rows = notes(&stage);
    assert_eq!(
        (rows.len(), &rows[0]["words"], &rows[0]["line"]),
        (1, &"softer".into(), &2.into()),
        "{rows:?}"
    );
    // What is gone, or was sent, is not edited.
    for wrong in ["1", "9", "x"] {
        assert_eq!(browser.get(&format!("/tasks/1/note?edit={wrong}")).status, 400, "{wrong}");
        assert_eq!(browser.post("/tasks/1/note", &[("edit", wrong), ("words", "x")]).status, 400, "{wrong}");
    }
    assert_eq!(browser.post("/tasks/1/unnote", &[("note", "2")]).status, 303);
    assert!(notes(&stage).is_empty());
}
