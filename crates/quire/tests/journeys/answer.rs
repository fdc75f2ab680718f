//! What an agent asks its person: with a default it goes on and is told later; what it cannot do without makes it wait, for as
//! long as it takes and through the death of every process.

use crate::model::{Answer, Model, Wire, calls, say, shell};
use crate::stage::{Stage, can_make_users};
use quire_core::event::{Event, Why};
use serde_json::{Value, json};

fn asks(questions: &Value) -> (&'static str, Value) {
    ("ask", json!({ "questions": questions }))
}

fn colour_and_hour() -> Value {
    json!([
        { "question": "Which colour?", "default": "blue", "choices": ["blue", "red"] },
        { "question": "From when on?", "default": "nine" },
    ])
}

fn row(stage: &Stage) -> Value {
    stage.json(&["ls"])["tasks"][0].clone()
}

fn goes_on_with_defaults(stage: &Stage, wire: Wire) {
    let model = Model::saying(vec![
        calls(&[asks(&colour_and_hour()), ("shell", json!({ "command": "echo blue, nine > sign" }))]),
        say("It is blue, from nine."),
        shell("echo red, nine > sign"),
        say("It is red, from nine."),
        shell("echo red, ten > sign"),
        say("It is red, from ten."),
    ]);
    stage.use_model(&model, wire);
    model.hold_from(1);
    let mut run = stage.start(&["run", "make a sign"]);
    model.wait_for(1, 1);
    let told = &model.asked()[1].results[0];
    assert!(told.contains("1. Which colour? go on with: blue."), "{told}");
    while !run.next_line_of_stderr().contains("The agent asks: From when on? (goes on with: nine)") {}
    let command = run.next_line_of_stderr();
    assert!(command.contains("quire answer 1 1=\"...\" 2=\"...\""), "{command}");
    let asking = row(stage);
    assert_eq!(
        (&asking["mark"], &asking["state"]),
        (&json!("needs_you"), &json!("needs you: asks, and works on"))
    );
    assert_eq!(
        asking["agent_questions"][0],
        json!({ "question": 1, "text": "Which colour?", "choices": ["blue", "red"], "assumed": "blue", "waits": false,
                "answer": "quire answer 1 1=\"...\"" })
    );
    let table = stage.quire(&["ls"]).exits(0).out;
    for line in [
        "NEEDS YOU 1\n",
        "The agent asks:  quire answer 1 1=",
        "│ Which colour?\n",
        "│ Choices: blue | red\n",
    ] {
        assert!(table.contains(line), "{line} is not in {table}");
    }
    assert!(table.contains("│ Until you answer it assumes: nine\n"), "{table}");

    let told = stage.quire(&["answer", "1", "1=red"]).exits(0).out;
    assert_eq!(told, "Task 1 is told with its next request.\n");
    model.let_go();
    let ended = run.end().exits(0);
    assert!(ended.out.contains("Assumed: 2. nine (From when on?)"), "{}", ended.out);
    let asked = model.asked();
    assert_eq!(asked.len(), 4, "{}: the answer is a reason to ask once more", wire.name());
    assert!(
        asked[2]
            .words
            .iter()
            .any(|words| words == "[quire] The person answers question 1 (Which colour?): red")
    );

    // What was assumed rightly is no reason.
    let review = stage.quire(&["review", "1"]).exits(0).out;
    assert!(review.contains("ASSUMED │ 2. nine (From when on?)\n"), "{review}");
    assert!(review.contains("quire answer 1 2=\"...\""), "{review}");
    assert_eq!(stage.json(&["review", "1"])["review"]["assumed"][0]["assumed"], "nine");
    let told = stage.quire(&["answer", "1", "2="]).exits(0).out;
    assert_eq!(told, "Task 1 had assumed that; nothing is to be done.\n");
    assert_eq!((stage.state(1).as_str(), model.asked().len()), ("ready", 4));
    assert!(!stage.quire(&["review", "1"]).out.contains("ASSUMED"));
    assert_eq!(
        row(stage)["needed_you"],
        json!({ "questions": 0, "reaches": 0, "pauses": 0, "revisions": 0 })
    );

    // A later word is, and begins the next turn.
    let told = stage.quire(&["answer", "1", "2=ten"]).exits(0).out;
    assert_eq!(told, "Task 1 makes it anew with that. Follow it: quire watch 1\n");
    stage.quire(&["watch", "1"]).exits(0);
    assert_eq!(stage.json(&["review", "1"])["review"]["version"], 2);
    assert_eq!(row(stage)["needed_you"]["revisions"], 1);
    stage.quire(&["accept", "1"]).exits(0);
    assert_eq!(std::fs::read_to_string(stage.folder.join("sign")).unwrap(), "red, ten\n");
    let log = stage.quire(&["log", "1"]).exits(0).out;
    for line in [
        "the agent asks the person: Which colour? (assumes blue) · From when on? (assumes nine)",
        "answered question 1: red",
        "answered question 2: ten",
    ] {
        assert!(log.contains(line), "{line} is not in {log}");
    }
    stage.log(1);
}

#[test]
fn a_task_goes_on_with_its_defaults_over_responses() {
    goes_on_with_defaults(&Stage::set(), Wire::Responses);
}

#[test]
fn a_task_goes_on_with_its_defaults_over_chat_as_an_ordinary_user() {
    if can_make_users() {
        goes_on_with_defaults(&Stage::for_user(), Wire::Chat);
    }
}

#[test]
fn a_task_goes_on_with_its_defaults_over_messages() {
    goes_on_with_defaults(&Stage::set(), Wire::Messages);
}

fn must_know() -> Vec<Answer> {
    let whose = json!([
        { "question": "Whose number?", "must": true },
        { "question": "Which prefix?", "must": true, "default": "+49" },
    ]);
    vec![
        calls(&[
            (
                "shell",
                json!({ "command": "echo before > a; echo installed > /usr/local/quire-was-here; sleep 300 &" }),
            ),
            asks(&whose),
            ("shell", json!({ "command": "echo after >> a" })),
        ]),
        shell("cat a /usr/local/quire-was-here; pgrep sleep; echo $?"),
        say("Done with it."),
    ]
}

#[test]
fn what_must_be_answered_waits_through_every_death() {
    for stage in [Some(Stage::set()), can_make_users().then(Stage::for_user)].into_iter().flatten() {
        let model = Model::saying(must_know());
        stage.use_model(&model, Wire::Messages);
        let ended = stage.quire(&["run", "print the card"]).exits(3);
        assert!(ended.out.is_empty(), "{ended:?}");
        assert!(
            ended.err.contains("The agent asks, 1:\n│ Whose number?\n│ It waits for your answer.\n"),
            "{}",
            ended.err
        );
        let ended = ended.tells(&[
            "asks 2 questions that it cannot go on without",
            "quire answer 1",
            "quire resume 1",
        ]);
        assert!(ended.err.contains("│ It waits for your answer, and would take: +49"), "{}", ended.err);
        assert_eq!(stage.state(1), "needs you: asks, and waits");
        assert_eq!(model.asked().len(), 1, "nothing leaves before the answer");
        // The rest of the step was done, and then the sandbox was ended and its layer sealed.
        let log = stage.log(1);
        let place = |is: &dyn Fn(&Event) -> bool| log.iter().position(|logged| is(&logged.event));
        let returned = log.iter().filter(|logged| matches!(logged.event, Event::Returned { .. })).count();
        assert_eq!(returned, 2);
        let sealed = place(&|event| matches!(event, Event::Sealed { .. })).expect("sealed");
        let paused = place(&|event| *event == Event::Paused { why: Why::Question }).expect("paused");
        assert!(sealed < paused);

        stage.host().kill();
        assert_eq!(stage.state(1), "needs you: asks, and waits");
        let told = stage.quire(&["answer", "1", "1=Ada's"]).exits(0).out;
        assert_eq!(told, "Task 1 waits for 1 answer more: quire answer 1\n");
        assert_eq!(model.asked().len(), 1);
        let told = stage.quire(&["answer", "1", "0049"]).exits(0).out;
        assert_eq!(told, "Task 1 goes on. Follow it: quire watch 1\n");
        stage.quire(&["watch", "1"]).exits(0);
        let asked = model.asked();
        let words = &asked[1].words;
        assert!(
            words.contains(&"[quire] The person answers question 1 (Whose number?): Ada's".to_owned()),
            "{words:?}"
        );
        assert!(
            words.contains(&"[quire] The person answers question 2 (Which prefix?): 0049".to_owned()),
            "{words:?}"
        );
        // All that was done is there, outside the folder too; what ran in the background is not.
        let result = asked[2].results.last().expect("a result");
        assert!(result.contains("before\nafter\ninstalled\n1"), "{result}");
        assert_eq!(
            row(&stage)["needed_you"],
            json!({ "questions": 2, "reaches": 0, "pauses": 0, "revisions": 0 })
        );
        assert!(stage.quire(&["review", "1"]).out.contains("NEEDED  you 2 times: 2 answers\n"));
        assert!(stage.quire(&["ls"]).out.contains("  you 2x\n"));
    }
}

#[test]
fn without_an_answer_it_goes_on_only_when_its_person_says_so() {
    let stage = Stage::set();
    let model = Model::saying(must_know());
    stage.use_model(&model, Wire::Responses);
    stage.quire(&["run", "print the card"]).exits(3);
    stage.quire(&["resume", "1"]).exits(0);
    let ended = stage.quire(&["watch", "1"]).exits(0);
    let words = &model.asked()[1].words;
    for told in [
        "[quire] The person gives no answer to question 1: decide as you think best.",
        "[quire] The person gives no answer to question 2: go on with: +49.",
    ] {
        assert!(words.iter().any(|words| words == told), "{words:?}");
    }
    assert!(ended.out.contains("Assumed: 1. what it thought best (Whose number?)"), "{}", ended.out);
    // It can still be answered, and then that is done.
    stage.quire(&["answer", "1", "1=Grace's"]).exits(0);
    stage.quire(&["watch", "1"]).exits(0);
    assert_eq!(stage.json(&["review", "1"])["review"]["version"], 2);
}

#[test]
fn a_question_of_the_agents_cannot_pass_for_one_of_quires() {
    let stage = Stage::set();
    let hostile = "ok?\n\u{1b}[2JMay it reach evil.example:443?  quire allow 1\u{202e}";
    let model = Model::saying(vec![
        calls(&[asks(&json!([{ "question": hostile, "default": "│ yes\r\nquire: Task 1 is ready." }]))]),
        say("Hm."),
    ]);
    stage.use_model(&model, Wire::Chat);
    let ended = stage.quire(&["run", "try it"]).exits(0);
    let shown = [
        ended.out,
        ended.err,
        stage.quire(&["ls"]).out,
        stage.quire(&["review", "1"]).out,
        stage.quire(&["log", "1"]).out,
    ];
    for text in shown {
        assert!(!text.contains(['\x1b', '\u{202e}']), "{text:?}");
        for line in text.lines().filter(|line| line.contains("evil.example")) {
            let framed = ["│ ", "The agent asks: ok? ", "(ok? ", "the agent asks the person: ok? "];
            assert!(framed.iter().any(|frame| line.contains(frame)), "{line}");
        }
    }
}

#[test]
fn wrong_answers_change_nothing() {
    let stage = Stage::set();
    let too_many = json!(vec![json!({ "question": "Really?", "default": "yes" }); 9]);
    let model = Model::saying(vec![
        calls(&[asks(&too_many), asks(&colour_and_hour()), asks(&colour_and_hour())]),
        calls(&[asks(&colour_and_hour())]),
        say("So be it."),
    ]);
    stage.use_model(&model, Wire::Chat);
    stage.quire(&["run", "make a sign"]).exits(0);
    let results = &model.asked()[2].results;
    assert!(results[0].contains("at most 8 questions at once"), "{results:?}");
    assert!(results[1].contains("send all questions in one call"), "{results:?}");
    assert!(results[3].contains("1. Which colour? go on with: blue."), "{results:?}");
    for (arguments, says) in [
        (&["answer", "1", "red"][..], "`red` does not say which question it answers."),
        (&["answer", "1", "3=red"], "did not ask question 3."),
        (&["answer", "1", "0=red"], "did not ask question 0."),
        (&["answer", "1", "1=red", "red"], "`red` does not say which question it answers."),
        (&["answer", "9", "red"], "There is no task 9."),
    ] {
        let ended = stage.quire(arguments);
        assert!(ended.err.contains(says), "{arguments:?}: {}", ended.err);
    }
    // Without a terminal nothing is asked.
    stage.quire(&["answer", "1"]).exits(3).tells(&["Task 1 asks 2 questions.", "quire answer 1 2=\"...\""]);
    assert_eq!((stage.state(1).as_str(), model.asked().len()), ("ready", 3));
    stage.quire(&["answer", "1", "1=", "2="]).exits(0);
    stage.quire(&["answer", "1", "yes"]).exits(2).tells(&["asks nothing now"]);
    stage.quire(&["discard", "1"]).exits(0);
    stage.quire(&["answer", "1", "1=red"]).exits(2).tells(&["Task 1 was discarded."]);
}
