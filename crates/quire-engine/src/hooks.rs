//! Hooks as they are written, what they are given, and what they may say: the form that Codex and Claude Code share, so that
//! what a project has already works here. The names of tools in it are theirs; ours count too.
//!
//! A hook runs in the task's sandbox, where a call would: it can change nothing else, and is no more trusted than the
//! agent. Whose hooks run is the settings' business ([`crate::trust`]).

use quire_core::charter::{Hook, HookEvent};
use quire_core::event::{HookRun, Point};
use quire_core::secret::Masks;
use quire_core::{Call, Task};
use quire_sandbox::protocol::HandOutcome;
use regex_automata::meta::Regex;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// How long a hook may take, where it does not say, and at most.
const TIMEOUT_MS: u64 = 60_000;
const TIMEOUT_MS_MAX: u64 = 600_000;
/// Hooks of one file.
const HOOKS_MAX: usize = 64;
/// The most that a person or a model is told of one text of a hook's, in bytes.
const TEXT_MAX: usize = 10_000;

const EVENTS: [(&str, HookEvent); 5] = [
    ("SessionStart", HookEvent::SessionStart),
    ("UserPromptSubmit", HookEvent::UserPromptSubmit),
    ("PreToolUse", HookEvent::PreToolUse),
    ("PostToolUse", HookEvent::PostToolUse),
    ("Stop", HookEvent::Stop),
];

/// Our tools, with the names that they have in hooks: the first is the one that hooks are told.
const TOOLS: [(&str, &[&str]); 10] = [
    ("shell", &["Bash"]),
    ("job", &["job"]),
    ("read", &["Read"]),
    ("search", &["Grep", "Glob"]),
    ("plan", &["TodoWrite"]),
    ("serve", &["serve"]),
    ("look", &["look"]),
    ("apply_patch", &["apply_patch", "Edit", "Write"]),
    ("edit", &["Edit", "MultiEdit"]),
    ("write", &["Write"]),
];

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    hooks: BTreeMap<String, Vec<Group>>,
}

#[derive(Deserialize)]
struct Group {
    matcher: Option<String>,
    hooks: Vec<Handler>,
}

#[derive(Deserialize)]
struct Handler {
    #[serde(rename = "type")]
    kind: String,
    command: Option<String>,
    /// In seconds.
    timeout: Option<f64>,
}

/// Returns the hooks of a file, named `from`, and what in it has no effect here; an error says why it is no such file.
pub fn parse(text: &[u8], from: &str) -> Result<(Vec<Hook>, Vec<String>), String> {
    let file: File = serde_json::from_slice(text).map_err(|error| format!("{from}: {error}"))?;
    let (mut hooks, mut idle) = (vec![], vec![]);
    let other = file.hooks.keys().find(|name| EVENTS.iter().all(|(event, _)| event != name));
    if let Some(name) = other {
        idle.push(format!("{from}: there is no hook for {name}"));
    }
    for (name, event) in EVENTS {
        for group in file.hooks.get(name).into_iter().flatten() {
            let tools = match tools(event, group.matcher.as_deref().unwrap_or_default()) {
                Ok(Some(tools)) => tools,
                Ok(None) => continue,
                Err(why) => return Err(format!("{from}: {why}")),
            };
            for handler in &group.hooks {
                let Some(command) = handler.command.as_ref().filter(|_| handler.kind == "command") else {
                    idle.push(format!("{from}: a hook of the type `{}` does nothing here", handler.kind));
                    continue;
                };
                let millis =
                    handler.timeout.filter(|timeout| *timeout > 0.0).map(|timeout| (timeout * 1000.0) as u64);
                hooks.push(Hook {
                    event,
                    tools: tools.clone(),
                    command: command.clone(),
                    timeout_ms: millis.unwrap_or(TIMEOUT_MS).min(TIMEOUT_MS_MAX),
                    from: from.to_owned(),
                });
            }
        }
    }
    if hooks.len() > HOOKS_MAX {
        return Err(format!("{from}: it has more than {HOOKS_MAX} hooks"));
    }
    Ok((hooks, idle))
}

/// Returns the tools that a matcher means, empty where it means all; `None` where it means nothing that there is.
fn tools(event: HookEvent, matcher: &str) -> Result<Option<Vec<String>>, String> {
    let regex = match matcher {
        "" | "*" => return Ok(Some(vec![])),
        matcher => Regex::new(&format!("^(?:{matcher})$")),
    };
    let regex = regex.map_err(|_| format!("`{matcher}` is no regular expression"))?;
    match event {
        HookEvent::PreToolUse | HookEvent::PostToolUse => {
            let meant = |(name, others): &&(&str, &[&str])| {
                regex.is_match(*name) || others.iter().any(|other| regex.is_match(*other))
            };
            let meant: Vec<String> = TOOLS.iter().filter(meant).map(|(name, _)| (*name).to_owned()).collect();
            Ok((!meant.is_empty()).then_some(meant))
        }
        HookEvent::SessionStart => Ok(regex.is_match("startup").then_some(vec![])),
        HookEvent::UserPromptSubmit | HookEvent::Stop => Ok(Some(vec![])),
    }
}

/// Returns what a hook at this point is given on its stdin.
pub fn input(task: &Task, point: Point) -> Value {
    let folder = &task.charter.folders[0];
    let mut input = json!({
        "session_id": format!("quire-{}", task.id),
        "turn_id": task.turn.to_string(),
        "transcript_path": null,
        "cwd": folder,
        "model": task.charter.model.as_ref().map(|model| &model.name),
        "permission_mode": "default",
    });
    let (name, more) = match point {
        Point::Start => ("SessionStart", json!({"source": "startup"})),
        Point::Words(number) => {
            ("UserPromptSubmit", json!({"prompt": task.words.get(number as usize).map(AsRef::<str>::as_ref)}))
        }
        Point::Before(place) => ("PreToolUse", call_input(task, place)),
        Point::After(place) => {
            let mut more = call_input(task, place);
            let outcome = task.outcome(place);
            more["tool_response"] = outcome.map_or(
                Value::Null,
                |outcome| json!({"text": outcome.text, "ok": outcome.ok, "exit_code": outcome.exit}),
            );
            ("PostToolUse", more)
        }
        Point::End => (
            "Stop",
            json!({"stop_hook_active": task.was_sent_back(), "last_assistant_message": &*task.last_text}),
        ),
    };
    input["hook_event_name"] = json!(name);
    let more = if let Value::Object(more) = more { more } else { Map::new() };
    if let Value::Object(input) = &mut input {
        input.extend(more);
    }
    input
}

fn call_input(task: &Task, place: u32) -> Value {
    let Some(call) = task.call_to_run(place) else { return json!({}) };
    let names = TOOLS.iter().find(|(name, _)| *name == call.tool);
    let name = names.map_or(call.tool.as_str(), |(_, others)| others[0]);
    json!({"tool_name": name, "tool_use_id": call.id, "tool_input": shown(&call, &task.charter.folders[0])})
}

/// Returns a call's input with what hooks look for in it: the file's whole path.
fn shown(call: &Call, folder: &Path) -> Value {
    let mut input = serde_json::from_str(&call.input).unwrap_or_else(|_| json!({}));
    if let Some(path) = input["path"].as_str().map(|path| folder.join(path)) {
        input["file_path"] = json!(path);
    }
    input
}

/// What a command came to.
struct Ended<'a> {
    /// Absent where it did not end by itself in time.
    exit: Option<i32>,
    stdout: &'a str,
    stderr: &'a str,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Said {
    #[serde(rename = "continue")]
    goes_on: Option<bool>,
    stop_reason: Option<String>,
    system_message: Option<String>,
    decision: Option<String>,
    reason: Option<String>,
    hook_specific_output: Specific,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Specific {
    additional_context: Option<String>,
    permission_decision: Option<String>,
    permission_decision_reason: Option<String>,
    updated_input: Option<Map<String, Value>>,
}

/// Returns a run with what the hand said of it, without secrets. The outputs are taken apart before they are masked: the hand
/// tells how long they are as they were printed.
pub fn heard(
    run: HookRun,
    point: Point,
    call: Option<&Call>,
    folder: &Path,
    (said, masks): (&HandOutcome, &Masks),
) -> HookRun {
    let masked = |text: &str| masks.mask(text).unwrap_or_else(|| text.to_owned());
    match outputs(&said.text).filter(|_| said.ok) {
        Some((stdout, stderr)) => {
            let (stdout, stderr) = (masked(stdout), masked(stderr));
            let ended = Ended { exit: said.exit, stdout: &stdout, stderr: &stderr };
            meaning(run, point, call, folder, &ended)
        }
        None => HookRun { note: Some(cut(&masked(&said.text))), ..run },
    }
}

/// Returns a run with what its end means. Exit code 2 refuses, with stderr as the reason; 0 lets its stdout count; whatever else is a
/// failure of its own, which holds nothing up. What says something about a call that is not understood is taken for a no.
fn meaning(mut run: HookRun, point: Point, call: Option<&Call>, folder: &Path, ended: &Ended<'_>) -> HookRun {
    let text = |text: &str| Some(cut(text.trim())).filter(|text| !text.is_empty());
    run.exit = ended.exit;
    match ended.exit {
        Some(0) => {}
        Some(2) => {
            run.block = text(ended.stderr).or_else(|| Some("it gave no reason".into()));
            return run;
        }
        None => {
            run.note = Some("it did not end in time".into());
            return run;
        }
        Some(_) => {
            run.note = text(ended.stderr);
            return run;
        }
    }
    let stdout = ended.stdout.trim();
    let said = match serde_json::from_str::<Said>(stdout) {
        Ok(said) if stdout.starts_with('{') => said,
        Err(error) if stdout.starts_with('{') => {
            let why = Some(format!("what it printed is not understood: {error}"));
            match point {
                Point::Before(_) => run.block = why,
                _ => run.note = why,
            }
            return run;
        }
        _ if matches!(point, Point::Start | Point::Words(_)) => {
            run.context = text(stdout);
            return run;
        }
        _ => {
            run.note = text(stdout);
            return run;
        }
    };
    let specific = said.hook_specific_output;
    let reason = |reason: Option<String>| {
        reason.as_deref().and_then(text).unwrap_or_else(|| "it gave no reason".into())
    };
    run.note = said.system_message.as_deref().and_then(text);
    run.context = specific.additional_context.as_deref().and_then(text);
    // There is nobody who is asked for leave here, so what would be asked is refused.
    let denies = matches!(specific.permission_decision.as_deref(), Some("deny" | "ask"));
    if matches!(said.decision.as_deref(), Some("block" | "deny")) {
        run.block = Some(reason(said.reason));
    } else if denies && matches!(point, Point::Before(_)) {
        run.block = Some(reason(specific.permission_decision_reason));
    }
    if said.goes_on == Some(false) {
        run.halt = Some(reason(said.stop_reason));
    }
    if let (Some(input), Some(call), Point::Before(_)) = (specific.updated_input, call, point) {
        run.input = Some(updated(input, call, folder));
    }
    run
}

/// Returns a hook's input for a call as the tool takes it.
fn updated(mut input: Map<String, Value>, call: &Call, folder: &Path) -> String {
    let before = shown(call, folder);
    if let Some(file) = input.remove("file_path")
        && file != before["file_path"]
    {
        input.insert("path".into(), file);
    }
    Value::Object(input).to_string()
}

fn cut(text: &str) -> String {
    if text.len() <= TEXT_MAX {
        return text.to_owned();
    }
    let end = (0..=TEXT_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}\u{2026} [cut]", &text[..end])
}

/// Returns the two outputs of a hook as the hand tells them.
fn outputs(text: &str) -> Option<(&str, &str)> {
    let (length, said) = text.split_once('\n')?;
    said.split_at_checked(length.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quire_core::charter::Edits;

    #[test]
    fn every_tool_has_a_name_in_hooks() {
        for edits in [Edits::ApplyPatch, Edits::EditAndWrite] {
            for spec in quire_sandbox::tool::specs(edits, true) {
                assert!(TOOLS.iter().any(|(name, _)| *name == spec.name), "{}", spec.name);
            }
        }
    }

    #[test]
    fn files_of_hooks() {
        let of = |event: &str, matcher: &str, handler: &str| {
            let text = format!(
                r#"{{"other":1,"hooks":{{"{event}":[{{"matcher":"{matcher}","hooks":[{handler}]}}]}}}}"#
            );
            match parse(text.as_bytes(), "f") {
                Ok((hooks, idle)) => {
                    let one = |hook: &Hook| {
                        format!("{} [{}] {}", hook.command, hook.tools.join(" "), hook.timeout_ms)
                    };
                    hooks.iter().map(one).chain(idle).collect::<Vec<_>>().join("; ")
                }
                Err(why) => why,
            }
        };
        let command = r#"{"type":"command","command":"c","timeout":5,"statusMessage":"x"}"#;
        let rows = [
            ("PreToolUse", "", command, "c [] 5000"),
            ("PreToolUse", "*", r#"{"type":"command","command":"c"}"#, "c [] 60000"),
            ("PreToolUse", "Bash", r#"{"type":"command","command":"c","timeout":1e9}"#, "c [shell] 600000"),
            ("PostToolUse", "Edit|Write", command, "c [apply_patch edit write] 5000"),
            ("PostToolUse", "read", command, "c [read] 5000"),
            ("PostToolUse", "mcp__.*", command, ""),
            ("PreToolUse", "Ba", command, ""),
            ("PreToolUse", "(", command, "f: `(` is no regular expression"),
            ("SessionStart", "startup|resume", command, "c [] 5000"),
            ("SessionStart", "compact", command, ""),
            (
                "Stop",
                "",
                r#"{"type":"prompt","prompt":"p"}"#,
                "f: a hook of the type `prompt` does nothing here",
            ),
            ("Notification", "", command, "f: there is no hook for Notification"),
            ("Stop", "", "3", "f: invalid type: integer `3`, expected struct Handler at line 1 column 52"),
        ];
        for (event, matcher, handler, expected) in rows {
            assert_eq!(of(event, matcher, handler), expected, "{event} {matcher} {handler}");
        }
        assert_eq!(parse(b"{}", "f"), Ok((vec![], vec![])));
        let many = vec![serde_json::from_str::<Value>(command).unwrap(); HOOKS_MAX + 1];
        let many = json!({"hooks": {"Stop": [{"hooks": many}]}}).to_string();
        assert_eq!(parse(many.as_bytes(), "f").unwrap_err(), "f: it has more than 64 hooks");
    }

    #[test]
    fn what_the_end_of_a_hook_means() {
        let call =
            Call { id: "c".into(), tool: "write".into(), input: r#"{"path":"a","content":"x"}"#.into() };
        let say = |point: Point, exit: Option<i32>, stdout: &str, stderr: &str| {
            let run = meaning(
                HookRun::default(),
                point,
                Some(&call),
                Path::new("/f"),
                &Ended { exit, stdout, stderr },
            );
            let parts = [
                ("block", run.block),
                ("context", run.context),
                ("input", run.input),
                ("halt", run.halt),
                ("note", run.note),
            ];
            let parts = parts.into_iter().filter_map(|(name, text)| Some(format!("{name}: {}", text?)));
            parts.collect::<Vec<_>>().join("; ")
        };
        let (before, after) = (Point::Before(0), Point::After(0));
        let specific = |inner: &str| format!(r#"{{"hookSpecificOutput":{{"hookEventName":"X",{inner}}}}}"#);
        let rows = [
            (before, Some(0), String::new(), "", ""),
            (before, Some(2), "ignored".into(), "no\n", "block: no"),
            (before, Some(2), String::new(), "", "block: it gave no reason"),
            (before, Some(1), "ignored".into(), "oops", "note: oops"),
            (before, None, "ignored".into(), "", "note: it did not end in time"),
            (before, Some(0), "all is well".into(), "", "note: all is well"),
            (Point::Start, Some(0), "be brief".into(), "", "context: be brief"),
            (Point::Words(0), Some(0), "be brief".into(), "", "context: be brief"),
            (after, Some(0), r#"{"decision":"block","reason":"lint"}"#.into(), "", "block: lint"),
            (Point::End, Some(0), r#"{"decision":"block","reason":"tests"}"#.into(), "", "block: tests"),
            (
                after,
                Some(0),
                r#"{"continue":false,"stopReason":"enough","systemMessage":"hi"}"#.into(),
                "",
                "halt: enough; note: hi",
            ),
            (
                before,
                Some(0),
                specific(r#""permissionDecision":"deny","permissionDecisionReason":"no""#),
                "",
                "block: no",
            ),
            (before, Some(0), specific(r#""permissionDecision":"ask""#), "", "block: it gave no reason"),
            (
                before,
                Some(0),
                specific(r#""permissionDecision":"allow","additionalContext":"c""#),
                "",
                "context: c",
            ),
            (
                before,
                Some(0),
                specific(r#""updatedInput":{"content":"y","file_path":"/f/a","path":"a"}"#),
                "",
                r#"input: {"content":"y","path":"a"}"#,
            ),
            (
                before,
                Some(0),
                specific(r#""updatedInput":{"content":"y","file_path":"/f/b","path":"a"}"#),
                "",
                r#"input: {"content":"y","path":"/f/b"}"#,
            ),
            (after, Some(0), specific(r#""updatedInput":{"content":"y"}"#), "", ""),
            (
                before,
                Some(0),
                r#"{"decision":3}"#.into(),
                "",
                "block: what it printed is not understood: invalid type: integer `3`, expected a string at line 1 column 13",
            ),
            (
                before,
                Some(0),
                "{".into(),
                "",
                "block: what it printed is not understood: EOF while parsing an object at line 1 column 1",
            ),
            (
                after,
                Some(0),
                "{".into(),
                "",
                "note: what it printed is not understood: EOF while parsing an object at line 1 column 1",
            ),
        ];
        for (point, exit, stdout, stderr, expected) in rows {
            assert_eq!(say(point, exit, &stdout, stderr), expected, "{point:?} {exit:?} {stdout}");
        }
        assert!(say(Point::Start, Some(0), &"x".repeat(TEXT_MAX + 1), "").ends_with("\u{2026} [cut]"));
    }

    /// Masked as one text, the outputs had another length than the hand had told, and a refusal was lost.
    #[test]
    fn a_hook_that_prints_a_secret_and_refuses_has_refused() {
        let masks = Masks::new(["hunter2hunter2"], []);
        let no = r#"{"hookSpecificOutput":{"permissionDecision":"deny","permissionDecisionReason":"no hunter2hunter2"}}"#;
        for (stdout, stderr) in [(no, ""), (no, "hunter2hunter2"), (no, "\u{e4} much")] {
            let said = HandOutcome {
                text: format!("{}\n{stdout}{stderr}", stdout.len()),
                ok: true,
                exit: Some(0),
                millis: 1,
                whole: None,
                images: vec![],
            };
            let run = heard(HookRun::default(), Point::Before(0), None, Path::new("/f"), (&said, &masks));
            assert_eq!(run.block.as_deref(), Some("no [quire hid a secret: known value]"), "{stderr}");
        }
    }

    #[test]
    fn what_the_hand_tells_is_taken_apart_or_not_at_all() {
        let rows = [
            ("3\nabcde", Some(("abc", "de"))),
            ("0\n", Some(("", ""))),
            ("9\nabc", None),
            ("x\nabc", None),
            ("", None),
            ("1\n\u{e4}", None),
        ];
        for (text, expected) in rows {
            assert_eq!(outputs(text), expected, "{text:?}");
        }
    }
}
