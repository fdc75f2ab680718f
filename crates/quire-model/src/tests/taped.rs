//! Tapes: what fits is played, and what does not is said loudly.

use super::*;
use quire_core::message::FaultKind;

const TAPE: &str = r#"{"v": 1, "steps": [
    {"expect": {"contains": ["invite"], "items": 1},
     "reply": {"text": "I look first.", "calls": [{"id": "1", "tool": "shell", "input": {"command": "ls"}}], "delay_ms": 5}},
    {"expect": {"contains": ["guests.csv"], "not_contains": ["error"]}, "reply": {"text": "Done."}}
]}"#;

/// Plays `tape` to a conversation in which each reply so far brought the outcomes that are given.
async fn play(tape: &str, first: &str, outcomes: &[&str]) -> Asked {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), tape).unwrap();
    let model = model(Wire::Tape, file.path().to_str().unwrap());
    let mut items = vec![words(first)];
    for outcome in outcomes {
        let asked = ask(&client(), &model, &prompt(items.clone())).await;
        let reply = asked.reply();
        items.extend([PromptItem::Model(Arc::new(reply.clone())), results(&reply, outcome)]);
    }
    ask(&client(), &model, &prompt(items)).await
}

#[tokio::test]
async fn what_fits_is_played() {
    let asked = play(TAPE, "Please invite all", &[]).await;
    assert_eq!(asked.text(), "I look first.");
    let reply = asked.reply();
    assert_eq!(reply.calls[0].input, r#"{"command": "ls"}"#);
    assert_eq!(play(TAPE, "Please invite all", &["guests.csv"]).await.reply().text, "Done.");
}

#[tokio::test]
async fn what_does_not_fit_is_said() {
    let rows: &[(&str, &str, &[&str], &[&str])] = &[
        (TAPE, "Please bake", &[], &["Reply 1 of the tape", "\"invite\"", "Please bake"]),
        (TAPE, "invite", &["nothing"], &["Reply 2 of the tape", "\"guests.csv\"", "nothing"]),
        (TAPE, "invite", &["error: guests.csv"], &["Reply 2", "no \"error\"", "error: guests.csv"]),
        (TAPE, "invite", &["guests.csv", "more"], &["has 2 replies, and reply 3 was asked for"]),
        (r#"{"v": 2, "steps": []}"#, "invite", &[], &["of version 2"]),
        (r#"{"v": 1, "steps": [{"expects": {}}]}"#, "invite", &[], &["is no tape", "expects", "line 1"]),
        ("", "invite", &[], &["is no tape"]),
    ];
    for (tape, first, outcomes, says) in rows {
        let fault = play(tape, first, outcomes).await.fault();
        assert_eq!(fault.kind, FaultKind::Tape);
        for part in *says {
            assert!(fault.message.contains(part), "{part}: {}", fault.message);
        }
    }
}

#[tokio::test]
async fn a_tape_that_is_not_there() {
    let fault =
        ask(&client(), &model(Wire::Tape, "/nowhere.json"), &prompt(vec![words("Hello")])).await.fault();
    assert_eq!(fault.kind, FaultKind::Tape);
    assert_eq!(
        fault.message,
        "The tape /nowhere.json cannot be read: No such file or directory (os error 2)."
    );
}
