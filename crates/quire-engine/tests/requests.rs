//! How large requests are, and how much of one was in the one before: what a provider's cache lives on.
//! `cargo test -p quire-engine --test requests -- --nocapture` prints both as tables.

use quire_core::charter::{Charter, Edits, Limits, Model, Net, Purpose, Sandbox, Wire};
use quire_core::event::{Base, Conventions};
use quire_core::message::{Item, Stop};
use quire_core::{Call, Event, Logged, Outcome, PromptItem, Reply, Task, Usage, Want, prompt, settle, weigh};
use quire_model::{request_body, serialized_items};
use serde_json::json;

/// The most that system prompt and tools may take of a first request, in bytes.
const FIRST_BYTES_MAX: usize = 9_000;

fn model(wire: Wire, edits: Edits) -> Model {
    Model {
        provider: "lab".into(),
        name: "tiny".into(),
        wire,
        base_url: "http://127.0.0.1:1/v1".into(),
        key_env: None,
        edits,
        images: true,
        context_tokens: None,
        output_tokens: None,
        price: None,
    }
}

fn opened(model: Model) -> Task {
    let edits = model.edits;
    let charter = Charter {
        folders: vec!["/home/ada/code/invoice".into()],
        model: Some(model),
        fallback_models: vec![],
        review_model: None,
        compact_model: None,
        checks: vec![],
        limits: Limits { steps: 1_000_000, tokens: None, ..Limits::default() },
        sandbox: Sandbox { net: Net::registries(), ..Sandbox::default() },
        env: vec![],
        hooks: vec![],
        secrets: vec![],
        purpose: Purpose::Change,
        new_folder: false,
    };
    let system = prompt::system(&charter, "", &[]);
    let tools = quire_sandbox::tool::specs(edits, true);
    let event = Event::Opened { charter: Box::new(charter), words: "Fix the failing rounding test.".into() };
    let mut task = Task::open(1, &Logged { seq: 1, at_ms: 0, event }).unwrap();
    let equipped = Event::Equipped {
        system,
        tools,
        rung: "whole machine".into(),
        weak: None,
        conventions: Conventions::default(),
        attached: None,
    };
    task.push(equipped, 0).unwrap();
    task.push(Event::Frozen { bases: vec![Base { id: 1, delta: 0, files: 1, bytes: 1, git: None }] }, 0)
        .unwrap();
    task
}

/// Takes the task one step on: a reply with a call, and its outcome; up to its next request.
fn step(task: &mut Task, wire: Wire, nth: usize) {
    let id = format!("call_{nth}");
    let input = format!(r#"{{"path": "src/part{nth}.rs",  "from": {nth}}}"#);
    let item = match wire {
        Wire::Responses => {
            json!({ "type": "function_call", "call_id": id, "name": "read", "arguments": input })
        }
        Wire::Chat => json!({ "role": "assistant", "content": "", "tool_calls": [
            { "id": id, "type": "function", "function": { "name": "read", "arguments": input } }] }),
        _ => json!({ "role": "assistant", "content": [
            { "type": "tool_use", "id": id, "name": "read", "input": { "path": format!("src/part{nth}.rs") } }] }),
    };
    let call = Call { id, tool: "read".into(), input };
    let usage = Usage { input: 3_000 + 100 * nth as u64, output: 40, ..Usage::default() };
    let item = Item::parse(item.to_string()).unwrap();
    let reply = Reply {
        wire,
        items: vec![item],
        text: String::new(),
        calls: vec![call],
        stop: Stop::Done,
        usage,
        by: String::new(),
    };
    task.push(Event::Replied { reply }, 0).unwrap();
    settle(task, 0).unwrap();
    let outcome = Outcome::said(format!("{nth}\tfn part{nth}() {{\n\t\t\"as it is\"\n}}\n").repeat(8));
    task.push(Event::Returned { call: 0, outcome }, 0).unwrap();
    assert!(settle(task, 0).unwrap().1.contains(&Want::Ask));
}

#[test]
fn the_first_request_is_small() {
    println!("{:<12}{:>14}{:>10}{:>10}{:>10}", "wire", "edits", "system", "tools", "all");
    for wire in [Wire::Responses, Wire::Chat, Wire::Messages] {
        for (edits, name) in [(Edits::ApplyPatch, "apply_patch"), (Edits::EditAndWrite, "edit, write")] {
            let model = model(wire, edits);
            let mut task = opened(model.clone());
            settle(&mut task, 0).unwrap();
            let whole = task.prompt();
            let size = |prompt: &quire_core::Prompt| request_body(&model, prompt).unwrap().len();
            let bare = quire_core::Prompt { tools: [].into(), ..whole.clone() };
            let empty = quire_core::Prompt { system: "".into(), ..bare.clone() };
            let (all, tools, system) = (size(&whole), size(&whole) - size(&bare), size(&bare) - size(&empty));
            println!("{:<12}{name:>14}{system:>10}{tools:>10}{all:>10}", format!("{wire:?}").to_lowercase());
            assert!(system + tools <= FIRST_BYTES_MAX, "{wire:?} {name}: {}", system + tools);
        }
    }
}

/// Over 200 steps, on each wire, everything that was sent is sent again, byte for byte, at the same place; and what a
/// request is counted as is never less than its bytes.
#[test]
fn each_request_extends_the_one_before() {
    println!("{:<12}{:>8}{:>10}{:>14}{:>14}", "wire", "steps", "items", "same items", "same share");
    for wire in [Wire::Responses, Wire::Chat, Wire::Messages] {
        let model = model(wire, Edits::EditAndWrite);
        let mut task = opened(model.clone());
        settle(&mut task, 0).unwrap();
        let mut before = serialized_items(&model, &task.prompt());
        let (mut same, mut all) = (0, 0);
        for nth in 0..200 {
            step(&mut task, wire, nth);
            let prompt = task.prompt();
            let now = serialized_items(&model, &prompt);
            let kept = before.iter().zip(&now).take_while(|(a, b)| a == b).count();
            assert_eq!(kept, before.len(), "{wire:?}, step {nth}");
            let bytes: u64 = now.iter().map(|item| item.len() as u64).sum();
            let most: u64 = prompt.items.iter().map(|item| weigh::item(item).most).sum();
            assert!(bytes <= most, "{wire:?}, step {nth}: {bytes} of {most}");
            same += kept;
            all += before.len();
            before = now;
            if nth == 49 || nth == 199 {
                let name = format!("{wire:?}").to_lowercase();
                println!(
                    "{name:<12}{:>8}{all:>10}{same:>14}{:>13.1}%",
                    nth + 1,
                    100.0 * same as f64 / all as f64
                );
            }
        }
    }
}

/// Returns the room for output that a request asks for, in tokens.
fn room(task: &Task) -> u64 {
    let model = task.asked_model().unwrap();
    let body = request_body(&model, &task.prompt()).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let names = ["max_output_tokens", "max_completion_tokens", "max_tokens"];
    names.iter().find_map(|name| body.get(name)?.as_u64()).expect("every request has a bound")
}

/// A reply that was cut is followed by one with twice the room, for which as much more is reserved; unless the person set a bound.
#[test]
fn a_reply_that_was_cut_is_followed_by_one_with_more_room() {
    let rows: [(Option<u64>, Option<u64>, [u64; 4]); 3] = [
        (None, None, [16_384, 32_768, 65_536, 16_384]),
        (Some(1_000), None, [1_000; 4]),
        (None, Some(80_000), [16_384, 20_000, 20_000, 16_384]),
    ];
    for wire in [Wire::Responses, Wire::Chat, Wire::Messages] {
        for (output_tokens, context_tokens, rooms) in rows {
            let mut task =
                opened(Model { output_tokens, context_tokens, ..model(wire, Edits::EditAndWrite) });
            settle(&mut task, 0).unwrap();
            for (nth, expected) in rooms.into_iter().enumerate() {
                assert_eq!(
                    (room(&task), task.worst().output),
                    (expected, expected),
                    "{wire:?}, request {nth}"
                );
                if nth == 2 {
                    step(&mut task, wire, nth);
                    continue;
                }
                let item =
                    Item::parse(json!({ "role": "assistant", "content": "Half" }).to_string()).unwrap();
                let reply = Reply {
                    wire,
                    items: vec![item],
                    text: "Half".into(),
                    calls: vec![],
                    stop: Stop::Length,
                    usage: Usage { input: 3_000, output: 40, ..Usage::default() },
                    by: String::new(),
                };
                task.push(Event::Replied { reply }, 0).unwrap();
                settle(&mut task, 0).unwrap();
            }
        }
    }
}

/// After the conversation was made short, requests extend each other again, and every word of the person's is in them.
#[test]
fn a_cut_conversation_grows_on() {
    for wire in [Wire::Responses, Wire::Chat, Wire::Messages] {
        let model = Model { context_tokens: Some(20_000), ..model(wire, Edits::EditAndWrite) };
        let mut task = opened(model.clone());
        settle(&mut task, 0).unwrap();
        let mut before: Vec<String> = vec![];
        let mut cuts = 0;
        for nth in 0..400 {
            if nth % 50 == 7 {
                task.push(Event::Said { words: format!("And mind rule {nth}: \"exactly\" so.") }, 0).unwrap();
            }
            let id = task.step;
            let usage = Usage { input: task.next_size().likely, output: 40, ..Usage::default() };
            let call =
                Call { id: format!("c{id}"), tool: "read".into(), input: format!(r#"{{"path":"{id}"}}"#) };
            let reply = Reply {
                wire: Wire::Tape,
                items: vec![],
                text: String::new(),
                calls: vec![call],
                stop: Stop::Done,
                usage,
                by: String::new(),
            };
            task.push(Event::Replied { reply }, 0).unwrap();
            settle(&mut task, 0).unwrap();
            task.push(Event::Returned { call: 0, outcome: Outcome::said("line\n".repeat(100)) }, 0).unwrap();
            let (_, todo) = settle(&mut task, 0).unwrap();
            if todo.contains(&Want::Compact) {
                let (_, asked) = task.compact_request().unwrap();
                let shared = serialized_items(&model, &asked);
                assert!(shared.starts_with(&before), "the ledger's request begins as the one before it");
                let text = "GOAL: the test passes.".to_owned();
                let reply = Reply {
                    wire,
                    items: vec![],
                    text,
                    calls: vec![],
                    stop: Stop::Done,
                    usage: Usage::default(),
                    by: String::new(),
                };
                let event = task.compacted(&reply);
                task.push(event, 0).unwrap();
                assert!(settle(&mut task, 0).unwrap().1.contains(&Want::Ask));
                cuts += 1;
                before.clear();
            }
            let now = serialized_items(&model, &task.prompt());
            assert!(now.starts_with(&before), "{wire:?}, step {nth}");
            before = now;
            let all: String = task
                .prompt()
                .items
                .iter()
                .map(|item| match &**item {
                    PromptItem::Words(words) => words.as_str(),
                    _ => "",
                })
                .collect::<Vec<_>>()
                .join("\n");
            assert!(task.words.iter().all(|words| all.contains(&**words)), "{all}");
            assert!(task.next_size().likely < 20_000, "what is asked fits");
        }
        assert!(cuts > 3, "{wire:?}: {cuts}");
        assert_eq!(task.compactions(), cuts);
    }
}
