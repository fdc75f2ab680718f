//! `quire log N`: the events of a task, one a line. With --json exactly what is stored.

use crate::cli::TaskArgs;
use crate::cmd::{Face, event_json, open, print_json};
use crate::error::{Exit, Failure};
use crate::layout::{cut, one_line, thousands};
use crate::pager;
use crate::terminal::local;
use quire_core::event::{Event, Point, Question, Verdict, Why};
use quire_core::message::{Call, Outcome};
use quire_core::money::Worst;
use quire_core::net::address;
use quire_core::view::{count, edited_text, first_line, hook_text, reached_text, size};

/// Most characters of anybody's words or a command in a line; --json has them all.
const WORDS_MAX: usize = 100;

pub fn log(args: &TaskArgs, face: &Face) -> Result<Exit, Failure> {
    let (quire, _) = open()?;
    let events = quire.events(args.task, 0)?;
    if face.json {
        for logged in &events {
            print_json(event_json(args.task, logged))?;
        }
        return Ok(Exit::Done);
    }
    let mut calls = vec![];
    let mut text = String::new();
    for logged in &events {
        if let Event::Replied { reply } = &logged.event {
            calls = reply.calls.clone();
        }
        let line = format!(
            "{:>5}  {}  {}",
            logged.seq,
            local(logged.at_ms, "%Y-%m-%d %H:%M:%S"),
            one_line(&told(&logged.event, &calls))
        );
        text.push_str(&if face.out.terminal { cut(&line, face.out.width) } else { line });
        text.push('\n');
    }
    pager::show(&text, &face.out)?;
    Ok(Exit::Done)
}

fn why_words(why: &Why) -> String {
    match why {
        Why::NoModel => "there is no model".to_owned(),
        Why::Person => "by a person".to_owned(),
        Why::Reach | Why::Question => "for an answer".to_owned(),
        Why::Plan => "for a word on the plan".to_owned(),
        Why::Rewound { step } => format!("it was taken back to step {step}"),
        Why::Steps => "all steps are used".to_owned(),
        Why::Time => "all time is used".to_owned(),
        Why::Money | Why::Day { .. } | Why::Shared { .. } => "all money is used".to_owned(),
        Why::Tokens => "all tokens are used".to_owned(),
        Why::Hook(reason) => format!("a hook stopped it: {reason}"),
        Why::Loop => "the model repeats itself".to_owned(),
        Why::Silence => "the model says nothing".to_owned(),
        Why::Copy { bytes } => format!("{} to copy", quire_core::view::size(*bytes)),
        Why::Refused(reason) => format!("the model declined: {reason}"),
        Why::Model(fault) => fault.message.clone(),
        Why::Trouble(_, told) => told.clone(),
    }
}

/// Returns an event in a few words; `calls` are those of the reply before.
fn told(event: &Event, calls: &[Call]) -> String {
    let words = |text: &str| first_line(text, WORDS_MAX);
    let call = |place: u32| match calls.get(place as usize) {
        Some(call) => format!("{} {}", call.tool, words(&call.input)),
        None => format!("call {place}"),
    };
    match event {
        Event::Opened { charter, words: said } => {
            format!("opened on {}: {}", charter.folders[0].display(), words(said))
        }
        Event::Attached { files, .. } => {
            let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
            format!("handed over: {}", words(&names.join(", ")))
        }
        Event::Taken { epoch } => format!("taken by driver {epoch}"),
        Event::Equipped { tools, rung, conventions, .. } => {
            let told = conventions.told().map_or_else(String::new, |told| format!("; {told}"));
            format!("equipped: {}, {rung}{told}", count(tools.len() as u64, "tool"))
        }
        Event::Hooking { point } => format!("hooks begun {}", at(*point, &call)),
        Event::Hooked { point, runs } => {
            let runs: Vec<String> = runs.iter().map(|run| words(&hook_text(run))).collect();
            format!("hooks done {}: {}", at(*point, &call), runs.join("; "))
        }
        Event::Instructed { paths, .. } => format!("told the instructions of {}", words(&paths.join(", "))),
        Event::Frozen { bases } => {
            let (files, bytes) = bases.iter().fold((0, 0), |(f, b), base| (f + base.files, b + base.bytes));
            let noun = if files == 1 { "file" } else { "files" };
            format!("frozen: {} {noun}, {}", thousands(files), size(bytes))
        }
        Event::Asked { heard, worst } => {
            format!("asked the model, told up to {heard}{}", reserved(worst.as_ref()))
        }
        Event::AskedAgain { worst } => {
            format!("asked again; the try before counts as spent{}", reserved(Some(worst)))
        }
        Event::AskFailed { fault, spent } => {
            let counts = if *spent { ", counts as spent" } else { "" };
            format!("no answer{counts}: {}", words(&fault.message))
        }
        Event::FellBack { fallback } => format!("asks fallback {} instead", fallback + 1),
        Event::Compacting { worst } => {
            format!("asked for a ledger of the conversation{}", reserved(Some(worst)))
        }
        Event::Compacted { text, tail, usage } => {
            let by = if usage.is_some() { "the model" } else { "quire" };
            let (bytes, tail) = (size(text.len() as u64), count((*tail).into(), "item"));
            format!("cut the conversation short: a ledger by {by}, {bytes}, and the last {tail}")
        }
        Event::CompactFailed { fault, .. } => format!("no ledger from the model: {}", words(&fault.message)),
        Event::Looped { steps, times } => {
            format!("told the model that it goes round: {}, {times} times", count((*steps).into(), "step"))
        }
        Event::Rewound { step } => format!("taken back to where it stood after step {step}"),
        Event::Forked { from, step } => {
            format!("all above is of task {from}, up to step {step}; from here on it is a task of its own")
        }
        Event::Suggesting { worst } => {
            format!("a model is asked which attempt it would take{}", reserved(Some(worst)))
        }
        Event::Suggested { text, .. } => format!("a model suggests: {}", words(text)),
        Event::SuggestFailed { fault, .. } => format!("no suggestion: {}", words(&fault.message)),
        Event::Attempt { first, number, of, shared } => {
            let shared = if *shared { "; one budget for all" } else { "" };
            format!("attempt {number} of {of}, beside task {first}{shared}")
        }
        Event::CompactWanted {} => "the conversation is to be cut short".to_owned(),
        Event::Budgeted { task_usd, day_usd, unlimited } => {
            let none = unlimited.then(|| "no limit for the task".to_owned());
            let task = task_usd.map(|usd| format!("{usd} for the task")).or(none);
            let day = day_usd.map(|usd| format!("{usd} in 24 hours"));
            format!("budget: {}", task.into_iter().chain(day).collect::<Vec<_>>().join(", "))
        }
        Event::Replied { reply } => {
            let asks = match reply.calls.len() {
                0 => String::new(),
                calls => format!(", {}", count(calls as u64, "call")),
            };
            let tokens = thousands(reply.usage.input.saturating_add(reply.usage.output));
            let said = if reply.text.trim().is_empty() {
                String::new()
            } else {
                format!(": {}", words(&reply.text))
            };
            format!("replied{asks}, {tokens} tokens{said}")
        }
        Event::Judged { verdicts } => {
            let refused: Vec<String> = verdicts
                .iter()
                .filter_map(|verdict| match verdict {
                    Verdict::Refuse(why) => Some(words(why)),
                    Verdict::Run => None,
                })
                .collect();
            match refused.len() {
                0 => "judged: all may run".to_owned(),
                _ => format!("judged: {}", refused.join(" ")),
            }
        }
        Event::Called { call: place } => format!("called {}", call(*place)),
        Event::Returned { call: place, outcome } => {
            format!("returned {}: {}", call(*place), came_of(outcome))
        }
        Event::Snapped { snapshot } => format!("snapshot {}", snapshot.short()),
        Event::Sealed { layer, snapshot, .. } => {
            format!("sealed layer {layer}, snapshot {}", snapshot.short())
        }
        Event::Moved { rung, .. } => format!("moved: {rung}"),
        Event::Shifted { paths } => format!("changed outside: {}", words(&paths.join(", "))),
        Event::Restored { layer } => format!("restored: layer {layer} was lost with the power"),
        Event::Checked { check, proof } => {
            let how = if proof.passed {
                "passes"
            } else if proof.fails() {
                "fails"
            } else {
                "says nothing"
            };
            format!("check {check} {how}, {} ms", proof.millis)
        }
        Event::ReviewerTold { text } if text.is_empty() => "too little changed for a review".to_owned(),
        Event::ReviewerTold { text } => format!("told the reviewer, {} bytes", thousands(text.len() as u64)),
        Event::ReviewerAsked { .. } => "asked the reviewer".to_owned(),
        Event::ReviewerReplied { reply } => match reply.calls.len() as u64 {
            0 => format!("the reviewer replied: {}", words(&reply.text)),
            calls => format!("the reviewer replied, {}", count(calls, "call")),
        },
        Event::ReviewerLooked { outcomes } => {
            format!("the reviewer was shown {}", count(outcomes.len() as u64, "outcome"))
        }
        Event::ReviewFailed { why, .. } => format!("not reviewed: {}", words(why)),
        Event::Presented { version, snapshot } => {
            format!("presented version {version}, {}", snapshot.short())
        }
        Event::Said { words: said } => format!("said: {}", words(said)),
        Event::Noted { words: said, .. } => format!("noted: {}", words(said)),
        Event::Refit { words: said } => format!("to fit around the person's files: {}", words(said)),
        Event::Edited { version, snapshot, files, .. } => {
            format!(
                "the person changed {} of version {version}, {}",
                words(&edited_text(files)),
                snapshot.short()
            )
        }
        Event::Imported { task } => format!("a record of task {task} of another place"),
        Event::NoteDropped { note } => format!("note {note} taken back"),
        Event::NotesSent { notes, words: said } => {
            format!("sent {}: {}", count(notes.len() as u64, "note"), words(said))
        }
        Event::Reached { connections } => {
            let text = reached_text(connections).unwrap_or_default();
            if connections.iter().all(|row| row.refused.is_some()) { text } else { format!("reached {text}") }
        }
        Event::ReachAsked { reach, host, port } => {
            format!("asked the person, {reach}: may it reach {}?", address(host, *port))
        }
        Event::ReachAnswered { reach, allow, once } => {
            let until = if *once { " until this turn ends" } else { "" };
            format!("answered {reach}: {}{until}", if *allow { "allow" } else { "deny" })
        }
        Event::QuestionsAsked { questions, .. } => {
            let one = |q: &Question| match (&q.default, q.must) {
                (_, true) => format!("{} (waits)", q.text),
                (default, false) => {
                    format!("{} (assumes {})", q.text, default.as_deref().unwrap_or("nothing"))
                }
            };
            let all: Vec<String> = questions.iter().map(one).collect();
            format!("the agent asks the person: {}", words(&all.join(" · ")))
        }
        Event::QuestionAnswered { question, answer } => {
            format!("answered question {question}: {}", words(answer))
        }
        Event::Planned {} => "planned; what was written is dropped".to_owned(),
        Event::PlanAgreed { plan } => format!("plan agreed to: {}", words(plan)),
        Event::Answered {} => "answered; what was written is dropped".to_owned(),
        Event::Paused { why } => format!("paused: {}", words(&why_words(why))),
        Event::Resumed { model: Some(model) } => format!("resumed with {}/{}", model.provider, model.name),
        Event::Resumed { model: None } => "resumed".to_owned(),
        Event::Accepting { accept, snapshot, only, .. } => {
            let part = if only.is_empty() { "all".to_owned() } else { count(only.len() as u64, "path") };
            format!("accept {accept} begun: {part} of {}", snapshot.short())
        }
        Event::Committed { commit, branch, brought, name, within, .. } => {
            let commit = commit
                .as_deref()
                .map(|commit| format!("committed as {commit} on {}", branch.as_deref().unwrap_or("HEAD")));
            let brought = brought.as_deref().map(|brought| {
                let on = name.as_deref().map_or_else(String::new, |name| format!(" on {}", words(name)));
                let within = within.as_ref().map_or_else(String::new, |within| format!(" in {within}"));
                format!("its own commits{on}{within} brought, up to {brought}")
            });
            commit.into_iter().chain(brought).collect::<Vec<_>>().join("; ")
        }
        Event::Accepted { accept } => format!("accept {accept} done"),
        Event::AcceptFailed { accept, why } => format!("accept {accept} rolled back: {}", words(why)),
        Event::Undoing { accept, only } if only.is_empty() => format!("undo of {accept} begun"),
        Event::Undoing { accept, only } => {
            format!("undo of {} of {accept} begun", quire_core::view::count(only.len() as u64, "path"))
        }
        Event::Undone { accept } => format!("undo of {accept} done"),
        Event::UndoFailed { accept, why } => format!("undo of {accept} rolled back: {}", words(why)),
        Event::Discarded {} => "discarded".to_owned(),
        Event::Cleared {} => "cleared away, long after it was accepted".to_owned(),
    }
}

fn at(point: Point, call: &impl Fn(u32) -> String) -> String {
    match point {
        Point::Start => "at the start".to_owned(),
        Point::Words(number) => format!("on what the person said, {number}"),
        Point::Before(place) => format!("before {}", call(place)),
        Point::After(place) => format!("after {}", call(place)),
        Point::End => "at the end of the turn".to_owned(),
    }
}

/// Returns what was reserved for a request.
fn reserved(worst: Option<&Worst>) -> String {
    let Some(worst) = worst else { return String::new() };
    let cost = worst.cost.map_or_else(String::new, |cost| format!(" or {cost}"));
    format!(", at most {} tokens{cost}", thousands(worst.tokens()))
}

fn came_of(outcome: &Outcome) -> String {
    let how = match (outcome.exit, outcome.ok) {
        (Some(exit), _) => format!("exit {exit}"),
        (None, true) => "done".to_owned(),
        (None, false) => "failed".to_owned(),
    };
    format!("{how}, {} ms", outcome.millis)
}
