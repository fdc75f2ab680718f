//! What a task costs, and what happens at the end of its money and of its model's context.

use crate::model::{Answer, Model, Wire, call, say, shell};
use crate::stage::Stage;
use quire_core::Event;
use serde_json::json;
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

const PRICED: &str =
    "[providers.lab.models.lab-model]\noutput_tokens = 100\nprice = { input = 10, output = 100 }\n";

/// Each reply of this model's reads 100 tokens and writes 10: a fifth of a cent.
#[test]
fn a_task_pauses_at_its_budget_and_goes_on_with_more() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("echo x > made"), say("Made.")]);
    stage.configure(&model, Wire::Chat, PRICED);
    // The first request is ten kB long, of which each byte might be a token.
    let paused = stage.quire(&["run", "--budget", "0.05", "make it"]).exits(3);
    assert!(paused.err.contains("up to $0.05, 200 steps"), "{paused:?}");
    assert!(paused.err.contains("quire resume 1 --budget +0.50"), "{paused:?}");
    assert!(model.asked().is_empty(), "nothing was asked");
    assert_eq!(stage.state(1), "needs you: $0.05 used up");
    stage.quire(&["resume", "1"]).exits(3).tells(&["--budget"]);
    stage.quire(&["resume", "1", "--budget", "much"]).exits(2);
    stage.quire(&["resume", "1", "--budget", "+0.50"]).exits(0);
    let done = stage.quire(&["watch", "1"]).exits(0);
    assert!(done.out.contains("It cost under $0.01."), "{done:?}");
    let row = stage.json(&["ls"])["tasks"][0].clone();
    assert_eq!(
        (&row["cost_usd"], &row["tokens"], &row["cached_tokens"]),
        (&json!(0.004), &json!(220), &json!(120))
    );
    let review = stage.json(&["review", "1"])["review"].clone();
    assert_eq!(review["cost_usd"], json!(0.004), "{review}");
    assert_eq!(fs::read_to_string(stage.folder.join("made")).ok(), None);
    stage.quire(&["accept", "1"]).exits(0);
    assert_eq!(fs::read_to_string(stage.folder.join("made")).unwrap(), "x\n");
}

#[test]
fn a_budget_can_be_lifted_and_then_has_nothing_to_add_to() {
    let stage = Stage::set();
    let model = Model::saying(vec![say("Done.")]);
    stage.configure(&model, Wire::Chat, PRICED);
    stage.quire(&["run", "--budget", "0.05", "do it"]).exits(3);
    stage.quire(&["resume", "1", "--budget", "none"]).exits(0);
    stage.quire(&["watch", "1"]).exits(0);
    let log = stage.quire(&["log", "1"]).exits(0);
    assert!(log.out.contains("budget: no limit for the task"), "{log:?}");
    stage.quire(&["run", "--budget", "none", "-c", "budget.day_usd=0.05", "do more"]).exits(3);
    stage
        .quire(&["resume", "2", "--budget", "+1"])
        .exits(2)
        .tells(&["no limit in money that could be raised"]);
}

#[test]
fn the_day_s_budget_is_of_all_tasks() {
    let stage = Stage::set();
    let model = Model::saying(vec![say("Done.")]);
    let day = |usd: &str| format!("{PRICED}[budget]\nday_usd = {usd}\n");
    stage.configure(&model, Wire::Chat, &day("0.3"));
    stage.quire(&["run", "first"]).exits(0);
    // 0.002 is spent; what a first request may come to has no room in the rest.
    let before = model.asked().len();
    let paused = stage.quire(&["run", "-c", "budget.day_usd=0.05", "second"]).exits(3);
    assert!(paused.err.contains("budget.day_usd"), "{paused:?}");
    assert_eq!((model.asked().len(), stage.state(2)), (before, "needs you: $0.05 a day used up".to_owned()));
    // What the settings say now counts.
    stage.quire(&["resume", "2"]).exits(0);
    stage.quire(&["watch", "2"]).exits(0);
}

/// What another task holds for a request that is open is not spent: who finds no room beside it waits, and says so, and goes on by
/// itself once that request has come to what it cost.
#[test]
fn a_task_waits_for_room_that_another_holds() {
    let stage = Stage::set();
    let model = Model::saying(vec![say("Done.")]);
    // A first request may come to some 10 kB times 10 USD a million, and 100 times 100: about 0.11 USD.
    stage.configure(&model, Wire::Chat, &format!("{PRICED}[budget]\nday_usd = 0.18\n"));
    model.hold_from(0);
    stage.quire(&["run", "-b", "first"]).exits(0);
    model.wait_for(0, 1);
    let mut second = stage.start(&["run", "second"]);
    while !second.next_line_of_stderr().contains("Other tasks hold what is left of the day's budget") {}
    assert_eq!((stage.state(2).as_str(), model.asked().len()), ("working", 1), "it waits, and asks nobody");
    model.let_go();
    second.end().exits(0);
    let spent = stage.json(&["ls"])["day_cost_usd"].clone();
    assert_eq!((model.asked().len(), spent), (2, json!(0.004)), "each cost what it cost");
}

/// A host that is killed leaves its request open, and nobody knows what became of it: all that was reserved for it is spent, so that
/// a home in which hosts die again and again never spends more than its day's budget.
#[test]
fn what_a_killed_host_had_reserved_counts_as_spent() {
    let stage = Stage::set();
    let model = Model::saying(vec![say("Done.")]);
    stage.configure(&model, Wire::Chat, &format!("{PRICED}[budget]\nday_usd = 0.18\n"));
    model.hold_from(0);
    stage.quire(&["run", "-b", "first"]).exits(0);
    model.wait_for(0, 1);
    stage.host().kill();
    // Its next driver would ask again, and has no room for that; nor has any other task.
    stage.quire(&["watch", "1"]).exits(3).tells(&["budget.day_usd"]);
    stage.quire(&["run", "second"]).exits(3).tells(&["budget.day_usd"]);
    let all = stage.json(&["ls"]);
    let first = all["tasks"].as_array().unwrap().iter().find(|row| row["task"] == 1).unwrap();
    assert_eq!(
        (&first["guessed_requests"], &first["state"]),
        (&json!(1), &json!("needs you: $0.18 a day used up"))
    );
    let spent = all["day_cost_usd"].as_f64().unwrap();
    assert!(spent > 0.05 && spent <= 0.18 && first["cost_usd"] == all["day_cost_usd"], "{all}");
    assert_eq!(model.asked().len(), 1);
}

#[test]
fn a_stream_that_breaks_off_counts_as_spent() {
    let stage = Stage::set();
    let times = AtomicU32::new(0);
    let model = Model::new(move |_| match times.fetch_add(1, Ordering::Relaxed) {
        0 => Answer::Cut,
        _ => say("Done."),
    });
    stage.configure(&model, Wire::Messages, PRICED);
    stage.quire(&["look around"]).exits(0);
    let row = stage.json(&["ls"])["tasks"][0].clone();
    assert_eq!(row["guessed_requests"], 1, "{row}");
    assert!(row["cost_usd"].as_f64().unwrap() > 0.05, "{row}");
    assert!(stage.log(1).iter().any(|logged| matches!(logged.event, Event::AskedAgain { .. })));
}

#[test]
fn a_conversation_that_is_too_long_is_cut_short() {
    for wire in Wire::ALL {
        let stage = Stage::set();
        let model = Model::new(|asked| {
            let first = asked.words.first().map_or("", String::as_str);
            if asked.words.last().is_some_and(|words| words.contains("Write the ledger")) {
                say("GOAL: a file named one.")
            } else if first.contains("is cut short") {
                say("Made after the cut.")
            } else if asked.answered == 0 {
                shell("echo 1 > one")
            } else {
                Answer::Status(
                    400,
                    r#"{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":8192}}"#,
                )
            }
        });
        stage.use_model(&model, wire);
        let run = stage.quire(&["make \"one\", please"]).exits(0);
        assert!(run.out.contains("Made after the cut."), "{run:?}");
        assert!(run.err.contains("Made the conversation shorter"), "{run:?}");
        let last = model.asked().last().unwrap().clone();
        assert!(last.words[0].contains("The person said:\nmake \"one\", please\n"), "{:?}", last.words);
        assert!(last.words[0].contains("GOAL: a file named one."), "{:?}", last.words);
        assert_eq!((last.answered, last.results.len()), (1, 1), "the last step is as it was");
        stage.quire(&["accept", "1"]).exits(0);
        assert_eq!(fs::read_to_string(stage.folder.join("one")).unwrap(), "1\n");
    }
}

/// A ledger may be another model's work: it is asked of that one, told what there is in words, and paid at its price.
#[test]
fn the_model_that_is_named_for_it_writes_the_ledger_at_its_own_price() {
    let stage = Stage::set();
    let works = Model::new(|asked| match asked.answered {
        _ if asked.words[0].contains("is cut short") => say("Made after the cut."),
        0 => shell("echo 1 > one"),
        _ => Answer::Status(400, r#"{"error":{"code":"context_length_exceeded","message":"too long"}}"#),
    });
    let keeps = Model::new(|_| say("GOAL: a file named one, as the keeper says."));
    let keeper = format!(
        "{PRICED}[providers.other]\nbase_url = \"{}\"\nwire = \"messages\"\n[providers.other.models.keeper]\n\
         output_tokens = 100\nprice = {{ input = 100, output = 1000 }}\n",
        keeps.url
    );
    stage.configure(&works, Wire::Chat, &keeper);
    let run = stage.quire(&["run", "-c", "compact_model=other/keeper", "make one"]).exits(0);
    assert!(run.out.contains("Made after the cut."), "{run:?}");
    let asked = keeps.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].body.contains("\"model\":\"keeper\""), "{}", asked[0].body);
    let told = asked[0].words.last().expect("words");
    assert!(
        told.contains("Write the ledger") && told.contains("CALL shell") && told.contains("make one"),
        "{told}"
    );
    let works_asked = works.asked();
    assert!(works_asked.iter().all(|asked| !asked.body.contains("Write the ledger")));
    assert!(works_asked.last().unwrap().words[0].contains("as the keeper says"));
    // Two replies of 100 tokens read and 10 written at 10 and 100 USD a million, and one at 100 and 1000.
    assert_eq!(stage.json(&["ls"])["tasks"][0]["cost_usd"], json!(0.024));
}

#[test]
fn a_person_can_have_it_cut_short() {
    let stage = Stage::set();
    let model = Model::new(|asked| {
        if asked.words.last().is_some_and(|words| words.contains("Write the ledger")) {
            return Answer::Status(400, r#"{"error":{"message":"no"}}"#);
        }
        match asked.answered {
            0 => call("plan", json!({ "steps": [{ "step": "Paint it blue", "status": "doing" }] })),
            _ => say("Done."),
        }
    });
    stage.use_model(&model, Wire::Chat);
    stage.quire(&["paint it"]).exits(0);
    stage.quire(&["compact", "1"]).exits(0);
    stage.quire(&["revise", "1", "and now the door"]).exits(0);
    let last = model.asked().last().unwrap().clone();
    // The model would not write a ledger, so quire did.
    assert!(
        last.words[0].contains("The person said:\npaint it\n") && last.words[0].contains("Paint it blue")
    );
    assert_eq!(last.words.last().unwrap(), "and now the door");
}
