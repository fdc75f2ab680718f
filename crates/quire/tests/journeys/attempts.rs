//! Attempts at one thing, side by side: the same folder, the same checks by quire, one budget; one is taken, and a further one
//! begins with another.

use crate::model::{Model, Wire, say, shell};
use crate::stage::Stage;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn three_attempts_are_compared_and_one_is_taken() {
    let stage = Stage::set();
    let begun = AtomicUsize::new(0);
    let mine = std::sync::Mutex::new(std::collections::HashMap::<String, usize>::new());
    // Each conversation is told by its cache key, which is in its head or body; failing that, by its order.
    let model = Model::new(move |asked| {
        if asked.words.iter().any(|words| words.contains("ATTEMPT K")) {
            return say("L\nL is smaller than K.");
        }
        if asked.answered > 0 {
            return say("Done.");
        }
        let mut mine = mine.lock().unwrap();
        let number = *mine.entry(asked.body.clone()).or_insert_with(|| begun.fetch_add(1, Ordering::Relaxed));
        match number % 3 {
            0 => shell("echo good > a.txt; echo x > one.txt"),
            1 => shell("echo good > a.txt; echo y > one.txt; rm old.txt"),
            _ => shell("echo bad > a.txt"),
        }
    });
    stage.use_model(&model, Wire::Responses);
    let asked = &model;
    stage.file("a.txt", "a\n");
    stage.file("old.txt", "old\n");
    let ended = stage.quire(&["run", "-n", "3", "--check", "grep -q good a.txt", "make it good"]).exits(0);
    let table = ended.out;
    assert!(table.contains("task") && table.contains("checks") && table.contains("a.txt"), "{table}");
    let compared = stage.json(&["compare", "2"])["compare"].clone();
    let rows = compared["attempts"].as_array().unwrap().clone();
    assert_eq!(rows.len(), 3);
    let passed: Vec<bool> = rows.iter().map(|row| row["checks"][0]["passed"].as_bool().unwrap()).collect();
    assert_eq!(passed.iter().filter(|passed| **passed).count(), 2, "{compared}");
    let files: Vec<&str> =
        compared["files"].as_array().unwrap().iter().filter_map(|file| file["path"].as_str()).collect();
    assert_eq!(files, ["a.txt", "old.txt", "one.txt"], "{compared}");
    assert_eq!(compared["bases_differ"], false);
    // What one has otherwise than another, in both directions.
    let good: Vec<String> = (0..3).filter(|n| passed[*n]).map(|n| rows[n]["task"].to_string()).collect();
    let diff = stage.quire(&["compare", &good[0], "--diff", &good[0], &good[1]]).exits(0).out;
    assert!(diff.contains("one.txt") && !diff.contains("a/a.txt"), "{diff}");
    let back = stage.quire(&["compare", &good[0], "--diff", &good[1], &good[0]]).exits(0).out;
    assert!(back.contains("one.txt") && back != diff, "{back}");
    // A model is asked which one it would take, and not told which model made what.
    let suggested = stage.quire(&["compare", "1", "--suggest"]).exits(0).out;
    assert!(suggested.contains("not told which model made what would take task"), "{suggested}");
    assert!(suggested.contains(" is smaller than task "), "{suggested}");
    let told = asked
        .asked()
        .iter()
        .flat_map(|asked| asked.words.clone())
        .find(|words| words.contains("ATTEMPT K"))
        .unwrap();
    assert!(told.contains("ATTEMPT M") && told.contains("passes") && !told.contains("gpt-lab"), "{told}");
    // A further one begins with one of them, is told how the others differ, and stands beside them.
    stage.quire(&["mix", &good[0], "as the other one, but keep old.txt"]).exits(0);
    let mixed = asked.asked().last().unwrap().words.last().unwrap().clone();
    assert!(
        mixed.starts_with("as the other one, but keep old.txt\n\nYour files are those of attempt "),
        "{mixed}"
    );
    assert_eq!(mixed.matches("ATTEMPT ").count(), 2, "{mixed}");
    assert!(mixed.contains("one.txt") && mixed.contains("-good\n+bad\n"), "{mixed}");
    let again = stage.json(&["compare", "1"])["compare"].clone();
    assert_eq!(again["attempts"].as_array().unwrap().len(), 4, "{again}");
    // One that was dropped is in nobody's way.
    let bad: Vec<String> = (0..3).filter(|n| !passed[*n]).map(|n| rows[n]["task"].to_string()).collect();
    stage.quire(&["discard", &bad[0]]).exits(0);
    stage.quire(&["gc"]).exits(0);
    stage.quire(&["compare", "1"]).exits(0);
    stage.quire(&["compare", "1", "--suggest"]).exits(0);
    stage.quire(&["mix", "1", " "]).exits(2);
    stage.quire(&["accept", &good[0]]).exits(0);
    assert_eq!(fs::read_to_string(stage.folder.join("a.txt")).unwrap(), "good\n");
}

/// Each of several models is asked for its own attempt, and what they may cost is one budget: it holds for all of them together, whichever
/// takes what of it, and for one that begins in them.
#[test]
fn attempts_by_different_models_share_one_budget() {
    let stage = Stage::set();
    let model = Model::new(|asked| match (asked.answered, asked.body.contains("\"second-model\"")) {
        (0, false) => shell("echo first > a.txt"),
        (0, true) => shell("echo second > a.txt"),
        _ => say("Done."),
    });
    let priced = |name: &str| {
        format!("[providers.lab.models.{name}]\noutput_tokens = 20\nprice = {{ input = 0, output = 1000 }}\n")
    };
    stage.configure(&model, Wire::Chat, &(priced("first-model") + &priced("second-model")));
    stage.file("a.txt", "a\n");
    let both = ["-m", "lab/first-model", "-m", "lab/second-model"];
    let words = ["--budget", "0.50", "write who you are"];
    stage.quire(&[&["run"][..], &both, &words].concat()).exits(0);
    let compared = stage.json(&["compare", "1"])["compare"].clone();
    let models: Vec<&str> =
        compared["attempts"].as_array().unwrap().iter().map(|row| row["model"].as_str().unwrap()).collect();
    assert_eq!(models, ["lab/first-model", "lab/second-model"], "{compared}");
    assert_eq!(compared["files"][0]["path"], "a.txt", "{compared}");
    for (id, content) in [("1", "first\n"), ("2", "second\n")] {
        stage.quire(&["accept", id]).exits(0);
        assert_eq!(fs::read_to_string(stage.folder.join("a.txt")).unwrap(), content);
        stage.quire(&["undo", id]).exits(0);
    }
    // Each request may come to two cents and comes to one, and each attempt is two of them.
    let spent = |id: &str| stage.json(&["review", id])["review"]["cost_usd"].as_f64().unwrap();
    assert_eq!((spent("1"), spent("2")), (0.02, 0.02));
    assert!(stage.quire(&["log", "2"]).exits(0).out.contains("one budget for all"));
    // Three cents are enough for one alone. For both together they are two requests, however they share them.
    let day = || stage.json(&["ls"])["day_cost_usd"].clone();
    stage.quire(&["run", "-m", "lab/first-model", "--budget", "0.03", "alone"]).exits(0);
    assert_eq!(day(), 0.06);
    let tight = ["--budget", "0.03", "again, for less"];
    stage.quire(&[&["run"][..], &both, &tight].concat());
    assert_eq!(day(), 0.08);
}
