//! An answer: what may be asked next, the rows that it names in several folders, and the file to keep, on the page and by command.

use crate::browser::{Browser, Page};
use crate::model::{Model, Wire, say, shell};
use crate::page::until;
use crate::stage::Stage;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

const ANSWER: &str = "**Baguettes** cost most: 4.10 each, in row 4 of `prices.csv`.\n\n\
    | Bread | Price |\n|---|---|\n| rye | 3.90 |\n| bun | 0.60 |\n| baguette | 4.10 |\n\n\
    Claim: Each bread was counted once. [none]\nNot done: the cakes\n\
    Next: What's the cheapest?\nNext: Put \"this\" in a report\n";

/// Returns a stage on which a question was answered by `command`, and its prices.
fn answered(command: &[&str]) -> (Stage, Model) {
    let stage = Stage::set();
    let model = Model::saying(vec![
        say(ANSWER),
        say("Buns, at 0.60."),
        shell("echo buns > report.md"),
        say("It is.\n\nNext: Print it"),
    ]);
    stage.use_model(&model, Wire::Chat);
    stage.file("prices.csv", "bread,price\nrye,3.90\nbun,0.60\nbaguette,4.10\n");
    stage.quire(command).exits(0);
    (stage, model)
}

/// Returns the buttons under "Ask next", as they are told, each with the words that it sends.
fn offered(page: &Page) -> Vec<(String, String)> {
    let (_, section) = page.body.split_once("<h3>Ask next</h3>").unwrap_or_default();
    let section = section.split("</section>").next().unwrap_or_default();
    let words =
        |part: &str| part.split("name=\"words\" value=\"").nth(1)?.split('"').next().map(str::to_owned);
    let told =
        |part: &str| part.split("<button class=\"btn \">").nth(1)?.split('<').next().map(str::to_owned);
    section.split("<li>").skip(1).map(|part| (told(part).expect(part), words(part).expect(part))).collect()
}

#[test]
fn what_may_be_asked_next_is_a_button_and_a_command_and_is_heard() {
    let (stage, model) = answered(&["run", "Which bread costs most?"]);
    let ended = stage.quire(&["review", "1"]).exits(0).out;
    let commands = "NEXT    quire revise 1 'What'\\''s the cheapest?'\n        quire revise 1 'Put \"this\" in a report'\n";
    assert!(ended.contains(commands) && !ended.contains("Next: "), "{ended}");
    let next = json!(["What's the cheapest?", "Put \"this\" in a report"]);
    assert_eq!(stage.json(&["review", "1"])["review"]["next"], next);
    let browser = Browser::open(&stage);
    let page = browser.get("/tasks/1");
    let both = [
        ("What's the cheapest?", "What's the cheapest?"),
        ("Put &quot;this&quot; in a report", "Put &quot;this&quot; in a report"),
    ];
    assert_eq!(offered(&page), both.map(|(told, words)| (told.to_owned(), words.to_owned())));
    assert!(!page.body.contains("Next: "), "{}", page.body);
    // What is pressed is said; an answer that proposes nothing offers nothing.
    assert_eq!(browser.post("/tasks/1/revise", &[("words", "What's the cheapest?")]).status, 303);
    let again = until(&browser, "/tasks/1", "Buns, at 0.60.");
    assert_eq!(model.asked()[1].words.last().map(String::as_str), Some("What's the cheapest?"));
    assert_eq!(offered(&again), []);
    assert_eq!(stage.json(&["review", "1"])["review"].get("next"), None);
    // The command is one, and a version with files has proposals too.
    let ended = stage.quire(&["revise", "1", "Put \"this\" in a report"]).exits(0).out;
    assert!(ended.contains("  Ask next: quire revise 1 'Print it'\n"), "{ended}");
    let review = browser.get("/tasks/1");
    assert_eq!(offered(&review), [("Print it".to_owned(), "Print it".to_owned())]);
    assert!(review.body.contains("1 file"), "{}", review.body);
}

#[test]
fn the_answer_of_ask_is_a_page_that_is_read_and_asked_further() {
    let (stage, _model) = answered(&["ask", "Which bread costs most?"]);
    let browser = Browser::open(&stage);
    let page = browser.get("/tasks/1");
    assert_eq!(page.status, 200, "{}", page.body);
    for part in [
        "<strong>Baguettes</strong>",
        ">Answered<",
        "Nothing to accept.",
        "<span class=\"what\">prices.csv, row 4</span>",
        "not checked",
        "value=\"chart\" checked",
    ] {
        assert!(page.body.contains(part), "no {part} in {}", page.body);
    }
    assert_eq!(offered(&page).len(), 2);
    let kept = browser.get("/tasks/1/report").body;
    for part in
        ["project, task 1. Nothing changed.", "<strong>Baguettes</strong>", "<h3>prices.csv, row 4</h3>"]
    {
        assert!(kept.contains(part) && !kept.contains("<h2>Checks</h2>"), "no {part} in {kept}");
    }
    assert_eq!(stage.quire(&["review", "1", "--report", "-"]).exits(0).out, kept);
    assert_eq!(browser.post("/tasks/1/revise", &[("words", "What's the cheapest?")]).status, 303);
    until(&browser, "/tasks/1", "Buns, at 0.60.");
}

#[test]
fn an_answer_and_a_review_are_kept_as_one_file() {
    let (stage, _model) = answered(&["run", "Which bread costs most?"]);
    let browser = Browser::open(&stage);
    let page = browser.get("/tasks/1");
    assert!(page.body.contains("href=\"/tasks/1/report\">Save as report</a>"), "{}", page.body);
    let kept = browser.get("/tasks/1/report");
    assert_eq!(kept.status, 200, "{}", kept.body);
    assert_eq!(kept.header("content-type").as_deref(), Some("text/html; charset=utf-8"));
    let named =
        "attachment; filename=\"which-bread-costs-most.html\"; filename*=utf-8''which-bread-costs-most.html";
    assert_eq!(kept.header("content-disposition").as_deref(), Some(named));
    for part in [
        "<h1>Which bread costs most?</h1>",
        "task 1, version 1",
        "<blockquote><p>Which bread costs most?</p></blockquote>",
        "<strong>Baguettes</strong>",
        "<tr><td>baguette</td><td>4.10</td></tr>",
        "<td>○ Each bread was counted once.</td><td>not checked</td>",
        "<li>the cakes</li>",
        "<h3>prices.csv, row 4</h3>",
        "<th scope=\"row\">4</th><td class=\"\">baguette</td><td class=\"\">4.10</td>",
    ] {
        assert!(kept.body.contains(part), "no {part} in {}", kept.body);
    }
    assert!(
        !["<script", "Next: ", " src=", "<link", "<form"].iter().any(|part| kept.body.contains(part)),
        "{}",
        kept.body
    );

    // The command writes the same, into a file that is not there yet, or to stdout.
    let file = stage.folder.with_file_name("report.html");
    let told = stage.quire(&["review", "1", "--report", file.to_str().unwrap()]).exits(0).out;
    assert_eq!(told, format!("Task 1's report is in {}.\n", file.display()));
    assert_eq!(fs::read_to_string(&file).unwrap(), kept.body);
    let refused = stage.quire(&["review", "1", "--report", file.to_str().unwrap()]).exits(2);
    refused.tells(&[
        "report.html: File exists",
        "Task and folder are as they were.",
        "a file that is not there yet",
    ]);
    assert_eq!(stage.quire(&["review", "1", "--report", "-"]).exits(0).out, kept.body);
    let nowhere = stage.quire(&["review", "1", "--report", "/nowhere/at/all.html"]).exits(8);
    nowhere.tells(&["/nowhere/at/all.html"]);
    stage.quire(&["review", "7", "--report", "-"]).exits(6);

    // Of a version with files, its files and checks.
    stage.quire(&["revise", "1", "What's the cheapest?"]).exits(0);
    stage.quire(&["revise", "1", "Put this in a report"]).exits(0);
    let kept = browser.get("/tasks/1/report").body;
    for part in [
        "version 3: ready.",
        "Not checked: the task has no check.",
        "<li>report.md: new, +1</li>",
        "<p>Put this in a report</p>",
    ] {
        assert!(kept.contains(part), "no {part} in {kept}");
    }
}

#[test]
fn rows_are_shown_of_the_folder_that_is_meant_and_are_read_once() {
    let stage = Stage::set();
    let further = stage.folder.with_file_name("till");
    fs::create_dir_all(&further).unwrap();
    fs::write(further.join("prices.csv"), "bread,price\nrye,4.00\n").unwrap();
    fs::write(further.join("sums.csv"), "day,sum\nMonday,812\n").unwrap();
    let answer = "Row 2 of `till/prices.csv` has another price. Monday is in `sums.csv`, row 2. Both have `prices.csv` with a row 2.";
    let model = Model::saying(vec![say(answer)]);
    stage.use_model(&model, Wire::Chat);
    stage.file("prices.csv", "bread,price\nrye,3.90\n");
    stage.quire(&["run", "Do the prices fit?", "--add-dir", "../till"]).exits(0);
    let browser = Browser::open(&stage);
    let page = browser.get("/tasks/1").body;
    let named: Vec<&str> =
        page.split("<span class=\"what\">").skip(1).filter_map(|part| part.split("</span>").next()).collect();
    // One that two names mean stands there once.
    let expected = ["till/prices.csv, row 2", "till/sums.csv, row 2", "project/prices.csv, row 2"];
    assert_eq!(named, expected, "{page}");
    assert!(page.contains(">4.00</td>") && page.contains(">3.90</td>"), "{page}");

    // What was read is kept: the page has it also where the copies are gone that a report made elsewhere would need.
    for copy in copies(&stage.data()) {
        fs::remove_file(copy).unwrap();
    }
    assert_eq!(browser.get("/tasks/1").body.matches("<span class=\"what\">").count(), expected.len());
    assert!(browser.get("/tasks/1/report").body.contains("Rows that it names"));
    assert!(!stage.quire(&["review", "1", "--report", "-"]).exits(0).out.contains("Rows that it names"));
}

/// Returns the tables in the frozen copies of folders.
fn copies(data: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    let mut open = vec![data.join("folders")];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => open.push(entry.path()),
                false if entry.path().extension().is_some_and(|ending| ending == "csv") => {
                    found.push(entry.path())
                }
                false => {}
            }
        }
    }
    assert_eq!(found.len(), 3);
    found
}

#[test]
fn rows_of_a_file_that_is_hidden_from_tasks_are_not_shown() {
    let stage = Stage::set();
    let model =
        Model::saying(vec![say("The pay is in row 2 of `pay.csv`. The price is in row 2 of `open.csv`.")]);
    stage.configure(&model, Wire::Chat, "[sandbox]\nhide = [\"pay.csv\"]\n");
    stage.file("pay.csv", "name,pay\nann,90000\n");
    stage.file("open.csv", "name,price\nbun,17\n");
    stage.quire(&["run", "What does ann have?"]).exits(0);
    let page = Browser::open(&stage).get("/tasks/1").body;
    let report = stage.quire(&["review", "1", "--report", "-"]).exits(0).out;
    for shown in [&page, &report] {
        assert!(shown.contains(">17</td>") && !shown.contains("90000"), "{shown}");
    }
}
