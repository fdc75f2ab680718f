//! A second pair of eyes: what a reviewer is told and may do, what comes of what it finds, and that nothing waits for it.

use crate::browser::Browser;
use crate::model::{Answer, Asked, Model, Wire, call, say, shell};
use crate::stage::Stage;
use quire_core::Event;
use serde_json::{Value, json};

const FILES: &str = "seq 30 | sed 's/^/price /' > prices.txt; echo 'total = 466' >> prices.txt";
const WORDS: &str = "list 30 prices and\nadd them up, with the date";

fn is_reviewer(asked: &Asked) -> bool {
    asked.body.contains("You review work that somebody else did")
}

/// Returns a model that works and reviews.
fn both(
    worker: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
    reviewer: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
) -> Model {
    Model::new(move |asked| if is_reviewer(asked) { reviewer(asked) } else { worker(asked) })
}

fn reviewer_of(stage: &Stage) -> Value {
    stage.json(&["review", "1"])["review"]["reviewer"].clone()
}

#[test]
fn what_it_finds_goes_back_once_and_what_stays_open_is_shown() {
    for wire in Wire::ALL {
        let worker = |asked: &Asked| match asked.answered {
            0 => shell(FILES),
            1 => say("I listed them, and I am sure of the total."),
            2 => shell("sed -i 's/466/465/' prices.txt"),
            _ => say("I mended the total. A date was not asked for, I think."),
        };
        let reviewer = |asked: &Asked| match asked.answered {
            0 => call("read", json!({"path": "prices.txt", "offset": 31})),
            1 => call("shell", json!({"command": "echo changed > prices.txt"})),
            2 => say(
                "Finding: wrong | prices.txt:31 | The total is 465.\n- **Finding:** missing | - | The date.",
            ),
            _ => say("Finding: missing | - | The date."),
        };
        let (stage, model) = (Stage::set(), both(worker, reviewer));
        stage.use_model(&model, wire);
        let run = stage.quire(&[WORDS, "-c", "review_model=lab/eyes", "--check", "true"]).exits(0);
        let asked = model.asked();
        let (seen, worked): (Vec<&Asked>, Vec<&Asked>) = asked.iter().partition(|asked| is_reviewer(asked));
        // It knows the person's words and the change, and not what the worker says of it.
        let told = &seen[0].words[0];
        assert!(told.contains(WORDS) && told.contains("+total = 466") && told.contains("`true`"), "{told}");
        assert!(!seen[0].body.contains("I am sure"), "{told}");
        assert!(seen.iter().all(|asked| asked.body.contains("\"eyes\"")), "{wire:?}");
        // It reads the version, and has nothing that would change it.
        assert!(seen[1].results[0].contains("31\ttotal = 466"), "{:?}", seen[1].results);
        assert!(seen[2].results[1].contains("There is no tool \"shell\""), "{:?}", seen[2].results);
        // The worker is told once, and the reviewer looks again.
        let told = worked[2].words.last().unwrap();
        assert!(told.contains("- wrong, prices.txt:31: The total is 465.\n- missing: The date."), "{told}");
        assert!(seen[3].words[1].contains("+total = 465") && seen[3].words[1].contains("A date was not"));
        assert_eq!((seen.len(), worked.len()), (4, 4), "{wire:?}");
        let told = reviewer_of(&stage);
        assert_eq!((&told["by"], &told["mended"]), (&json!("lab/eyes"), &json!(1)), "{told}");
        assert_eq!(told["open"], json!([{"kind": "missing", "text": "The date."}]));
        let shown = stage.quire(&["review", "1"]).exits(0).out;
        let lines = "REVIEW  lab/eyes found 2 things, 1 still open\n        \u{25cb} missing: The date.\n";
        assert!(shown.contains(lines), "{shown}");
        let page = Browser::open(&stage).get("/tasks/1").body;
        assert!(
            page.contains("lab/eyes found 2 things, 1 still open") && page.contains("missing: The date."),
            "{page}"
        );
        assert!(run.err.contains("A reviewer found 2 things"), "{}", run.err);
        assert_eq!(stage.json(&["review", "1"])["review"]["version"], 1);
        // What a person then asks for is reviewed by one who knows nothing of this.
        stage.quire(&["revise", "1", "leave it"]);
        stage.quire(&["watch", "1"]);
        stage.quire(&["accept", "1"]).exits(0);
        assert!(std::fs::read_to_string(stage.folder.join("prices.txt")).unwrap().ends_with("total = 465\n"));
    }
}

#[test]
fn nothing_waits_for_a_reviewer_and_few_lines_have_none() {
    const EYES: [&str; 2] = ["-c", "review_model=lab/eyes"];
    let few = "echo one > a.txt";
    for (arguments, agent, answer, expected) in [
        (&EYES[..], few, say("No findings."), None),
        (&["--review"][..], few, say("No findings."), Some("lab/lab-model found nothing")),
        (&[EYES[0], EYES[1], "--review"], "rm old", say("No findings."), Some("lab/eyes found nothing")),
        (&[EYES[0], EYES[1], "-c", "review=false"], FILES, say("No findings."), None),
        (&[][..], FILES, say("No findings."), None),
        (&EYES[..], FILES, say("Looks good to me!"), Some("not reviewed by lab/eyes: its answer names no")),
        (&EYES[..], FILES, Answer::Status(404, "{}"), Some("not reviewed by lab/eyes: ")),
        (&EYES[..], FILES, call("read", json!({"path": "prices.txt"})), Some("it did not come to an end")),
    ] {
        let (stage, answers) = (Stage::set(), vec![shell(agent), say("Done.")]);
        stage.file("old", "old\n");
        let worker =
            move |asked: &Asked| answers.get(asked.answered).cloned().unwrap_or_else(|| say("Done."));
        let model = both(worker, move |_| answer.clone());
        stage.use_model(&model, Wire::Chat);
        let run = [&["do it", "--accept-if-checks-pass", "--check", "true"], arguments].concat();
        let run = stage.quire(&run);
        let told = stage.quire(&["review", "1"]).exits(0).out;
        let told = told.lines().find(|line| line.starts_with("REVIEW ")).map(str::to_owned);
        match expected {
            None => assert_eq!(told, None, "{arguments:?} {agent}"),
            Some(expected) => {
                let told = told.unwrap_or_default();
                let joined = format!("{told} {}", reviewer_of(&stage)["not_reviewed"]);
                assert!(joined.contains(expected), "{arguments:?} {agent}: {joined}");
                // It cannot be accepted unseen where the review that was wanted is not there.
                if told.contains("not reviewed") {
                    run.exits(3).tells(&["not reviewed"]);
                }
            }
        }
    }
}

#[test]
fn a_host_that_is_killed_while_the_reviewer_is_asked_asks_again_and_its_findings_go_back_once() {
    let worker = |asked: &Asked| match asked.answered {
        0 => shell(FILES),
        1 => say("I listed them."),
        2 => shell("sed -i 's/466/465/' prices.txt"),
        _ => say("I mended the total."),
    };
    let read = |line: u32| call("read", json!({"path": "prices.txt", "offset": line}));
    let reviewer = move |asked: &Asked| match asked.answered {
        0 => read(1),
        1 => read(31),
        2 => say("Finding: wrong | prices.txt:31 | The total is 465."),
        _ => say("No findings."),
    };
    let (stage, model) = (Stage::set(), both(worker, reviewer));
    stage.use_model(&model, Wire::Chat);
    // Of the two conversations only the reviewer's comes that far before anything goes back.
    model.hold_from(2);
    let follower = stage.start(&[WORDS, "-c", "review_model=lab/eyes", "--check", "true"]);
    for times in 1..=2 {
        model.wait_for(2, times);
        stage.host().kill();
    }
    model.wait_for(2, 3);
    model.let_go();
    let ended = follower.end().exits(0);
    let asked = model.asked();
    let (seen, worked): (Vec<&Asked>, Vec<&Asked>) = asked.iter().partition(|asked| is_reviewer(asked));
    let nth: Vec<usize> = seen.iter().map(|asked| asked.answered).collect();
    assert_eq!(nth, [0, 1, 2, 2, 2, 3], "asked again, from where it was");
    assert!(seen[2].items == seen[3].items && seen[3].items == seen[4].items, "with the same words");
    let told = |asked: &Asked| asked.words.iter().filter(|words| words.contains("A reviewer")).count();
    assert_eq!(told(worked.last().unwrap()), 1, "{:?}", worked.last().unwrap().words);
    let reviewer = reviewer_of(&stage);
    assert_eq!((&reviewer["mended"], &reviewer["open"]), (&json!(1), &json!([])), "{reviewer}");
    assert_eq!(ended.err.matches("A reviewer found 1 thing").count(), 1, "{}", ended.err);
    let log = stage.log(1);
    let count = |is: fn(&Event) -> bool| log.iter().filter(|logged| is(&logged.event)).count();
    assert_eq!(count(|event| matches!(event, Event::Taken { .. })), 3);
    assert_eq!(count(|event| matches!(event, Event::ReviewerAsked { .. })), 6);
    assert_eq!(count(|event| matches!(event, Event::ReviewerReplied { .. })), 4);
}

/// A request of some ten kB may come to ten dollars, each byte of it a token.
const DEAR_EYES: &str = "[providers.lab.models.lab-model]\noutput_tokens = 100\nprice = { input = 1, output = 1 }\n\
                         [providers.lab.models.eyes]\noutput_tokens = 100\nprice = { input = 1000, output = 1000 }\n";

#[test]
fn a_review_that_no_budget_has_room_for_is_not_asked_and_the_version_says_so() {
    let day = ["--budget", "50", "-c", "budget.day_usd=1"];
    for (budget, of) in [(&["--budget", "1"][..], "task's"), (&day[..], "day's")] {
        let worker = |asked: &Asked| if asked.answered == 0 { shell(FILES) } else { say("Done.") };
        let (stage, model) = (Stage::set(), both(worker, |_| say("No findings.")));
        stage.configure(&model, Wire::Chat, DEAR_EYES);
        let run = ["do it", "-c", "review_model=lab/eyes", "--check", "true", "--accept-if-checks-pass"];
        let why = format!("not reviewed by lab/eyes: the {of} budget had no room for it");
        stage.quire(&[&run[..], budget].concat()).exits(3).tells(&[&why]);
        assert_eq!(
            (stage.state(1).as_str(), stage.json(&["review", "1"])["review"]["version"].clone()),
            ("ready", json!(1))
        );
        assert!(!model.asked().iter().any(is_reviewer), "{of}: it costs nothing");
        let shown = stage.quire(&["review", "1"]).exits(0).out;
        assert!(shown.contains(&format!("REVIEW  {why}")), "{shown}");
        // A person may take it all the same.
        stage.quire(&["accept", "1"]).exits(0);
    }
}
