//! "Take this one": where both changed the same, the task's side is written on its person's word, and theirs comes back by an undo.

use crate::browser::Browser;
use crate::model::{Model, Wire, say, shell};
use crate::stage::Stage;
use crate::tree::Tree;
use std::fs;

const NUMBERS: &str = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n";

/// A task that changed a text and a picture and deleted a file, in a folder whose person changed the same meanwhile.
fn conflicting(checks: &[&str]) -> (Stage, Tree) {
    let stage = Stage::set();
    let script = "sed -i 's/^2$/two/' a.txt; printf '\\0task' > logo; rm gone; echo n > new.txt";
    stage.use_model(&Model::saying(vec![shell(script), say("Done.")]), Wire::Chat);
    for (path, content) in [("a.txt", NUMBERS), ("logo", "\0old"), ("gone", "old\n")] {
        stage.file(path, content);
    }
    let mut arguments = vec!["change it"];
    checks.iter().for_each(|check| arguments.extend(["--check", check]));
    stage.quire(&arguments).exits(0);
    stage.file("a.txt", &NUMBERS.replace("\n2\n", "\nzwei\n").replace("11", "elf"));
    fs::write(stage.folder.join("logo"), b"\0mine\xff").unwrap();
    stage.file("gone", "mine\n");
    let mine = Tree::of(&stage.folder);
    (stage, mine)
}

fn text(stage: &Stage, path: &str) -> String {
    String::from_utf8_lossy(&fs::read(stage.folder.join(path)).unwrap_or_default()).into_owned()
}

#[test]
fn a_folder_of_the_persons_is_said_not_to_give_way() {
    let (stage, _) = conflicting(&[]);
    fs::remove_file(stage.folder.join("logo")).unwrap();
    fs::create_dir(stage.folder.join("logo")).unwrap();
    let refused = stage.quire(&["accept", "1", "--over", "a.txt,logo,gone"]).exits(7);
    let refused =
        refused.tells(&["logo was changed: a folder of yours is there", "is never put aside: move it away"]);
    assert!(!refused.err.contains("--over"), "{}", refused.err);
    fs::remove_dir(stage.folder.join("logo")).unwrap();
    let told = stage.quire(&["accept", "1", "--over", "a.txt,logo,gone"]).exits(0).out;
    assert!(
        told.contains("Written where you had deleted something: logo. Undo takes it away again."),
        "{told}"
    );
    stage.quire(&["undo", "1"]).exits(0);
    assert!(!stage.folder.join("logo").exists());
}

#[test]
fn the_tasks_side_is_taken_where_it_is_named_and_comes_back_exactly() {
    let (stage, mine) = conflicting(&["grep -q two a.txt", "! grep -q forbidden a.txt"]);
    stage.quire(&["accept", "1"]).exits(7).tells(&["quire accept 1 --over PATH"]);
    // All or nothing: one that was not named still stands in the way. And what the version does not change is no side of it.
    stage.quire(&["accept", "1", "--over", "a.txt,logo"]).exits(7).tells(&["gone was changed"]);
    stage.quire(&["accept", "1", "--over", "other"]).exits(2).tells(&["does not change `other`"]);
    Tree::of(&stage.folder).assert_is(&mine, "nothing was written");
    // Who says what they saw is told first.
    let seen = stage.json(&["review", "1"])["review"]["seen"].as_str().unwrap().to_owned();
    let over = ["accept", "1", "--over", "a.txt,logo,gone"];
    let again = stage.quire(&[&over[..], &["--seen", &seen[..12]]].concat()).exits(7).err;
    assert!(again.contains("the task's side would be written, and yours kept aside"), "{again}");
    assert!(again.contains("take exactly that: quire accept 1 --over a.txt,logo,gone --seen "), "{again}");
    Tree::of(&stage.folder).assert_is(&mine, "nothing was written");
    let now = again.split("--seen ").nth(1).unwrap().trim().to_owned();
    let told = stage.json(&[&over[..], &["--seen", &now]].concat())["accepted"].clone();
    assert_eq!(told["checks"][0]["passed"], true, "it is checked as it is: {told}");
    let how = |path: &str| {
        let files = told["files"].as_array().unwrap();
        files.iter().find(|file| file["path"] == path).unwrap()["over"].clone()
    };
    assert_eq!((how("a.txt"), how("logo"), how("gone")), ("lines".into(), "whole".into(), "whole".into()));
    assert!(how("new.txt").is_null());
    assert_eq!(text(&stage, "a.txt"), NUMBERS.replace("\n2\n", "\ntwo\n").replace("11", "elf"));
    assert_eq!(text(&stage, "logo"), "\0task");
    assert!(!stage.folder.join("gone").exists() && stage.folder.join("new.txt").exists());
    stage.quire(&["undo", "1"]).exits(0);
    Tree::of(&stage.folder).assert_is(&mine, "after the undo");
    // Where nothing conflicts, the word changes nothing.
    stage.file("a.txt", &NUMBERS.replace("11", "elf"));
    let told = stage.quire(&["accept", "1", "a.txt", "--over", "a.txt"]).exits(0).out;
    assert!(told.contains("Merged with your edits: a.txt.") && !told.contains("aside"), "{told}");
    stage.quire(&["undo", "1"]).exits(0);
    // What fails with the other edits in it is not written either.
    stage.file("a.txt", &NUMBERS.replace("\n2\n", "\nzwei\n").replace("11", "forbidden"));
    let is = Tree::of(&stage.folder);
    let fails = stage.quire(&over).exits(1).err;
    assert!(fails.contains("forbidden") && fails.contains("Nothing was written."), "{fails}");
    Tree::of(&stage.folder).assert_is(&is, "nothing was written");
}

/// Returns the form in which a button stands, as fields.
fn form(page: &str, button: &str) -> Vec<(String, String)> {
    let form = &page[..page.find(button).unwrap_or_else(|| panic!("no {button} in {page}"))];
    let form = &form[form.rfind("<form").unwrap()..];
    let inputs = form.split("<input ").skip(1).filter_map(|input| {
        let value =
            |name: &str| Some(input.split(&format!("{name}=\"")).nth(1)?.split('"').next()?.to_owned());
        Some((value("name")?, value("value")?))
    });
    inputs.filter(|(name, _)| name != "key").collect()
}

fn post(browser: &Browser, fields: &[(String, String)]) -> crate::browser::Page {
    let fields: Vec<(&str, &str)> =
        fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    browser.post("/tasks/1/accept", &fields)
}

#[test]
fn take_this_one_stands_beside_both_sides_on_the_page() {
    let (stage, _) = conflicting(&[]);
    stage.quire(&["accept", "1"]).exits(7);
    // One conflict: a press, and it is done.
    fs::write(stage.folder.join("logo"), b"\0old").unwrap();
    stage.file("gone", "old\n");
    let mine = Tree::of(&stage.folder);
    let browser = Browser::open(&stage);
    let fields = form(&browser.get("/tasks/1").body, ">Take this one<");
    // What they saw is not any more what would be taken over: nothing is written.
    let later = NUMBERS.replace("\n2\n", "\nsecond\n");
    stage.file("a.txt", &later);
    assert_eq!(post(&browser, &fields).status, 409);
    assert_eq!(text(&stage, "a.txt"), later);
    stage.file("a.txt", &NUMBERS.replace("\n2\n", "\nzwei\n").replace("11", "elf"));
    assert_eq!(post(&browser, &fields).status, 303);
    assert_eq!(text(&stage, "a.txt"), NUMBERS.replace("\n2\n", "\ntwo\n").replace("11", "elf"));
    let told = browser.get("/tasks/1").body;
    assert!(
        told.contains(
            "4 files written to project. Your lines in a.txt are kept aside: Undo brings them back."
        ),
        "{told}"
    );
    assert_eq!(stage.state(1), "accepted");
    assert_eq!(browser.post("/tasks/1/undo", &[]).status, 303);
    Tree::of(&stage.folder).assert_is(&mine, "after the undo");
}

#[test]
fn of_several_those_are_taken_that_are_ticked() {
    let (stage, mine) = conflicting(&[]);
    let browser = Browser::open(&stage);
    let page = browser.get("/tasks/1").body;
    assert!(!page.contains(">Take this one<"), "{page}");
    let fields = form(&page, ">Take these and what fits<");
    let boxes: Vec<_> = fields.iter().filter(|(name, _)| name == "over").collect();
    assert_eq!(boxes.len(), 3, "{fields:?}");
    // Only the picture's; the text stays the person's, and so does the file that the task deleted.
    let logo = boxes.iter().find(|(_, number)| {
        page.contains(&format!("name=\"over\" value=\"{number}\"> Take the task's <code>logo</code>"))
    });
    let logo = logo.unwrap().1.clone();
    let some: Vec<_> =
        fields.iter().filter(|(name, value)| name != "over" || *value == logo).cloned().collect();
    let asked = post(&browser, &some);
    assert!(asked.status == 409 && asked.body.contains("kept aside for an undo"), "{}", asked.body);
    Tree::of(&stage.folder).assert_is(&mine, "asked first");
    assert_eq!(post(&browser, &form(&asked.body, ">Accept it so<")).status, 303);
    assert_eq!((text(&stage, "logo"), text(&stage, "gone")), ("\0task".into(), "mine\n".into()));
    assert!(text(&stage, "a.txt").contains("zwei") && stage.folder.join("new.txt").exists());
    assert!(browser.get("/tasks/1").body.contains("Your logo is kept aside: Undo brings it back."));
    assert_eq!(browser.post("/tasks/1/undo", &[]).status, 303);
    Tree::of(&stage.folder).assert_is(&mine, "after the undo");
}
