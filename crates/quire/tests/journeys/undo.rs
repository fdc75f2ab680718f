//! Part of an accept is undone, and on the page nothing is undone over later edits before their person was asked.

use crate::browser::{Browser, Page};
use crate::model::{Model, Wire, say, shell};
use crate::stage::Stage;
use crate::tree::Tree;
use std::fs;

const NUMBERS: &str = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n";

/// A task that changed two files, made two and moved one; all of it is accepted.
fn accepted(accept: &[&str]) -> (Stage, Tree) {
    let stage = Stage::set();
    let script = "sed -i 's/^2$/two/' style.css; echo new > index.html; mkdir img; echo l > img/logo; echo i > img/icon; mv from to";
    stage.use_model(&Model::saying(vec![shell(script), say("Done.")]), Wire::Chat);
    stage.file("style.css", NUMBERS);
    stage.file("index.html", "old\n");
    stage.file("from", "moves\n");
    let before = Tree::of(&stage.folder);
    stage.quire(&["change it"]).exits(0);
    stage.quire(&[&["accept", "1"], accept].concat()).exits(0);
    (stage, before)
}

fn text(stage: &Stage, path: &str) -> String {
    fs::read_to_string(stage.folder.join(path)).unwrap_or_default()
}

#[test]
fn a_part_is_undone_then_accepted_again_or_the_rest_undone() {
    let (stage, before) = accepted(&[]);
    let all = Tree::of(&stage.folder);
    stage.quire(&["undo", "1", "index.html", "nowhere"]).exits(2).tells(&["did not write `nowhere`"]);
    Tree::of(&stage.folder).assert_is(&all, "after an undo of what was not written");
    let told = stage.quire(&["undo", "1", "index.html", "to"]).exits(0).out;
    assert!(told.contains("3 files in ") && told.contains("The rest of what you accepted stays."), "{told}");
    assert_eq!((text(&stage, "index.html"), text(&stage, "from")), ("old\n".into(), "moves\n".into()));
    assert!(!stage.folder.join("to").exists() && text(&stage, "style.css").contains("two"));
    let review = stage.quire(&["review", "1"]).exits(0).out;
    assert!(review.contains("Part of it is in your folder."), "{review}");
    // What was taken back is not there to be taken back again.
    stage.quire(&["undo", "1", "index.html"]).exits(2).tells(&["or it was taken back already"]);
    // Accepting again writes just that.
    let again = stage.json(&["accept", "1"])["accepted"]["files"].clone();
    let again: Vec<&str> =
        again.as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert_eq!(again, ["from", "index.html", "to"]);
    Tree::of(&stage.folder).assert_is(&all, "all of it again");
    assert_eq!(stage.state(1), "accepted");
    // Two accepts stand now, of which one was undone in part: each goes back on its own.
    stage.quire(&["undo", "1"]).exits(0);
    stage.quire(&["undo", "1", "img/logo"]).exits(0);
    assert!(stage.folder.join("img/icon").exists() && !stage.folder.join("img/logo").exists());
    let undone = stage.json(&["undo", "1"])["undone"]["files"].clone();
    assert_eq!(undone.as_array().unwrap().len(), 3, "{undone}");
    Tree::of(&stage.folder).assert_is(&before, "after all undos");
    assert_eq!(stage.state(1), "ready");
    stage.quire(&["undo", "1"]).exits(2);
}

#[test]
fn a_later_version_follows_what_was_undone_in_part() {
    let stage = Stage::set();
    let scripts = ["echo 1 > a; echo 1 > b; echo 1 > c", "echo 2 > a; echo 2 > b; rm c"];
    let turns = scripts.into_iter().flat_map(|script| [shell(script), say("Done.")]);
    stage.use_model(&Model::saying(turns.collect()), Wire::Chat);
    stage.file("a", "0\n");
    let before = Tree::of(&stage.folder);
    stage.quire(&["change it"]).exits(0);
    stage.quire(&["accept", "1"]).exits(0);
    stage.quire(&["undo", "1", "a"]).exits(0);
    stage.quire(&["revise", "1", "more"]).exits(0);
    let review = stage.quire(&["review", "1"]).exits(0).out;
    assert!(
        review.contains("An earlier version is in your folder.") && !review.contains("YOURS"),
        "{review}"
    );
    stage.quire(&["accept", "1"]).exits(0);
    let is = ["a", "b", "c"].map(|path| text(&stage, path));
    assert_eq!(is, ["2\n", "2\n", ""]);
    // The second's part goes back to what the first left, and to what was undone of that.
    stage.quire(&["undo", "1", "a", "c"]).exits(0);
    assert_eq!(["a", "b", "c"].map(|path| text(&stage, path)), ["0\n", "2\n", "1\n"]);
    stage.quire(&["accept", "1"]).exits(0);
    assert_eq!(["a", "b", "c"].map(|path| text(&stage, path)), ["2\n", "2\n", ""]);
    while stage.quire(&["undo", "1"]).code == Some(0) {}
    Tree::of(&stage.folder).assert_is(&before, "after all undos");
}

#[test]
fn a_commit_stays_until_nothing_is_left_of_what_it_is_of() {
    let stage = Stage::set();
    let git = |script: &str| {
        let mut command = std::process::Command::new("sh");
        let ended = command.args(["-ec", script]).current_dir(&stage.folder).output().unwrap();
        assert!(ended.status.success(), "{script}: {ended:?}");
        String::from_utf8(ended.stdout).unwrap().trim().to_owned()
    };
    stage.use_model(&Model::saying(vec![shell("echo A > a; echo B > b"), say("Two files.")]), Wire::Chat);
    stage.file("a", "a\n");
    git(
        "git init -qb main; git config user.name Ada; git config user.email ada@example.org; git add .; git commit -qm first",
    );
    stage.quire(&["change it"]).exits(0);
    stage.quire(&["accept", "1", "--commit"]).exits(0);
    let told = stage.quire(&["undo", "1", "a"]).exits(0).out;
    assert!(told.contains("stays as it is, because only a part was taken back"), "{told}");
    assert_eq!(
        (git("git log --format=%s"), git("git status --porcelain")),
        ("Two files.\nfirst".into(), "M a".into())
    );
    let told = stage.quire(&["undo", "1"]).exits(0).out;
    assert!(told.contains("is taken back"), "{told}");
    assert_eq!((git("git log --format=%s"), git("git status --porcelain")), ("first".into(), String::new()));
    assert_eq!(text(&stage, "a"), "a\n");
}

#[test]
fn of_several_folders_what_goes_back_is_named_below_its_own() {
    let stage = Stage::set();
    stage.use_model(
        &Model::saying(vec![shell("echo z > same; echo z > ../other/same"), say("Done.")]),
        Wire::Chat,
    );
    stage.file("same", "s\n");
    let other = stage.folder.with_file_name("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("same"), "o\n").unwrap();
    stage.quire(&["change both", "--add-dir", "../other"]).exits(0);
    stage.quire(&["accept", "1"]).exits(0);
    let told = stage.quire(&["undo", "1", "../other/same"]).exits(0).out;
    assert!(told.contains("  other/same  as it was"), "{told}");
    assert_eq!(
        (text(&stage, "same"), fs::read_to_string(other.join("same")).unwrap()),
        ("z\n".into(), "o\n".into())
    );
}

#[test]
fn what_was_deleted_after_the_accept_comes_back_on_the_page_too() {
    let (stage, before) = accepted(&[]);
    for path in ["style.css", "index.html"] {
        fs::remove_file(stage.folder.join(path)).unwrap();
    }
    let told = stage.quire(&["undo", "1", "index.html"]).exits(0).out;
    assert!(told.contains("Back where you had deleted something: index.html."), "{told}");
    let browser = Browser::open(&stage);
    assert_eq!(browser.post("/tasks/1/undo", &[]).status, 303);
    let told = browser.get("/tasks/1").body;
    assert!(told.contains("Back where you had deleted something: style.css."), "{told}");
    Tree::of(&stage.folder).assert_is(&before, "undone");
}

/// Sends the form of the button that is called so.
#[track_caller]
fn press(browser: &Browser, page: &Page, button: &str) -> Page {
    let upto = page
        .body
        .find(&format!("\">{button}</button>"))
        .unwrap_or_else(|| panic!("no {button}: {}", page.body));
    let form = &page.body[..upto];
    let form = Page { body: form[form.rfind("<form").unwrap()..].to_owned(), ..page.clone() };
    let action = form.body.split("action=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    browser.post(&action, &[("seen", &form.field("seen")), ("edits", &form.field("edits"))])
}

#[test]
fn undo_asks_on_the_page_before_it_touches_later_edits() {
    let (stage, before) = accepted(&[]);
    let edited = text(&stage, "style.css").replace("11\n", "eleven\n");
    stage.file("style.css", &edited);
    let browser = Browser::open(&stage);
    for page in ["/", "/tasks/1"] {
        assert!(browser.get(page).body.contains("action=\"/tasks/1/undo\""), "{page}");
    }
    let is = Tree::of(&stage.folder);
    let asked = browser.post("/tasks/1/undo", &[]);
    assert_eq!(asked.status, 409);
    for part in [
        "<h1>style.css was edited after the accept</h1>",
        "The other 5 files can go back exactly.",
        "For style.css, your later edit would be kept and only this task's lines removed.",
        "Nothing is written yet.",
        ">Undo, keep my edit</button>",
        ">Undo 5 files</button>",
        ">Cancel</a>",
    ] {
        assert!(asked.body.contains(part), "no {part} in {}", asked.body);
    }
    Tree::of(&stage.folder).assert_is(&is, "while it is asked");

    // Nothing is edited any more: there is nothing to answer, and it can be undone as a whole.
    stage.file("style.css", &edited.replace("eleven\n", "11\n"));
    let settled = press(&browser, &asked, "Undo 5 files");
    assert!(
        settled.status == 400 && settled.body.contains("no later edits of yours any more"),
        "{settled:?}"
    );
    stage.file("style.css", &edited);
    Tree::of(&stage.folder).assert_is(&is, "nothing is written");

    // What was asked about is edited again: it is asked anew, and the answer is about that.
    stage.file("style.css", &edited.replace("7\n", "seven\n"));
    let is = Tree::of(&stage.folder);
    for button in ["Undo, keep my edit", "Undo 5 files"] {
        let again = press(&browser, &asked, button);
        assert!(again.status == 409 && again.body.contains(">Undo, keep my edit</button>"), "{again:?}");
        Tree::of(&stage.folder).assert_is(&is, "asked anew");
    }
    let asked = browser.post("/tasks/1/undo", &[]);
    assert_eq!(press(&browser, &asked, "Undo 5 files").status, 303);
    let told = browser.get("/tasks/1").body;
    assert!(
        told.contains("5 files and 1 folder in project are as they were.") && told.contains(">Undo "),
        "{told}"
    );
    let kept = edited.replace("7\n", "seven\n");
    let expected = before.clone().with_file(b"style.css", kept.as_bytes(), 0o644);
    Tree::of(&stage.folder).assert_is(&expected, "but for what was edited");

    // What is left of it is only that.
    let asked = browser.post("/tasks/1/undo", &[]);
    assert!(asked.status == 409 && !asked.body.contains("can go back exactly"), "{}", asked.body);
    assert_eq!(press(&browser, &asked, "Undo, keep my edit").status, 303);
    assert_eq!(text(&stage, "style.css"), kept.replace("two\n", "2\n"));
    assert!(browser.get("/tasks/1").body.contains("Your later edits stay: style.css."));
    assert_eq!(stage.state(1), "ready");

    // Where nothing was edited, nothing is asked.
    stage.file("style.css", NUMBERS);
    stage.quire(&["accept", "1"]).exits(0);
    assert_eq!(browser.post("/tasks/1/undo", &[]).status, 303);
    Tree::of(&stage.folder).assert_is(&before, "undone at once");
}

#[test]
fn what_cannot_go_back_is_named_and_the_others_can_be_undone() {
    let (stage, before) = accepted(&[]);
    stage.file("style.css", &text(&stage, "style.css").replace("two\n", "zwei\n"));
    stage.file("img/mine", "m\n");
    let browser = Browser::open(&stage);
    let asked = browser.post("/tasks/1/undo", &[]);
    for part in [
        "<h1>img/mine and style.css were changed after the accept</h1>",
        "The other 5 files can go back exactly.",
        "style.css stays as it is: your edit is on the very lines of this task.",
        "img/mine stays as it is: it is yours.",
        "Yours, line 2",
        "<code>zwei<br></code>",
        "<code>2<br></code>",
    ] {
        assert!(asked.body.contains(part), "no {part} in {}", asked.body);
    }
    assert!(!asked.body.contains("keep my edit"), "{}", asked.body);
    assert_eq!(press(&browser, &asked, "Undo 5 files").status, 303);
    let is = Tree::of(&stage.folder);
    let zwei = NUMBERS.replace("\n2\n", "\nzwei\n");
    assert_eq!(text(&stage, "style.css"), zwei);
    assert!(stage.folder.join("img/mine").exists() && !stage.folder.join("img/logo").exists());
    assert_eq!(text(&stage, "index.html"), "old\n");
    // Then nothing more can be, and it says what to do.
    let asked = browser.post("/tasks/1/undo", &[]);
    assert!(asked.status == 409 && asked.body.contains("Take back yourself"), "{}", asked.body);
    assert!(!asked.body.contains("<form"), "{}", asked.body);
    Tree::of(&stage.folder).assert_is(&is, "nothing is written");
    stage.quire(&["undo", "1"]).exits(7).tells(&["style.css was changed", "quire undo 1 PATH..."]);
    // As it says.
    stage.file("style.css", &zwei.replace("zwei\n", "two\n"));
    fs::remove_file(stage.folder.join("img/mine")).unwrap();
    assert_eq!(browser.post("/tasks/1/undo", &[]).status, 303);
    Tree::of(&stage.folder).assert_is(&before, "undone");
}
