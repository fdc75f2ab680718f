//! What a person and a folder tell every agent: AGENTS.md and skills reach the model, and are there where it works.

use crate::model::{Model, Wire, call, say, shell};
use crate::stage::{Stage, can_make_users};
use quire_core::Event;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

fn stages() -> Vec<Stage> {
    let mut stages = vec![Stage::set()];
    if can_make_users() {
        stages.push(Stage::for_user());
    }
    stages
}

/// Writes a file below the person's own directories.
fn put(stage: &Stage, path: &str, content: &str) {
    let path = stage.base().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    stage.own(stage.base());
}

#[track_caller]
fn prints(stage: &Stage, arguments: &[&str], texts: &[&str]) {
    let ended = stage.quire(arguments).exits(0);
    texts.iter().for_each(|text| assert!(ended.out.contains(text), "{text:?} is not in {}", ended.out));
}

const LETTERS: &str =
    "---\nname: letters\ndescription: How letters are written here.\n---\nRun scripts/greet first.\n";

#[test]
fn instructions_are_told_at_the_start_and_where_they_lie_when_that_is_worked_in() {
    for stage in stages() {
        let model = Model::saying(vec![
            call("read", json!({"path": "web/page.txt"})),
            shell("echo more >> web/page.txt; echo mine > web/AGENTS.md"),
            say("Done."),
            say("Done again."),
        ]);
        stage.use_model(&model, Wire::Chat);
        put(&stage, "config/quire/AGENTS.md", "Speak plainly.");
        stage.file("AGENTS.md", "Two spaces.");
        stage.file("web/AGENTS.md", "No scripts in pages.");
        stage.file("web/page.txt", "page\n");
        stage.file("lib/AGENTS.md", "Never seen.");
        let ended = stage.quire(&["mend the page"]).exits(0);
        assert!(!ended.err.contains("AGENTS.md:"), "{}", ended.err);
        let asked = model.asked();
        let says = |number: usize, text: &str| asked[number].body.contains(text);
        assert!(
            says(0, "Speak plainly.") && says(0, "Two spaces.") && !says(0, "No scripts"),
            "{}",
            asked[0].body
        );
        assert_eq!(asked[1].words.last().unwrap().matches("No scripts in pages.").count(), 1);
        let told = asked[2].words.iter().filter(|words| words.contains("No scripts in pages.")).count();
        assert_eq!(told, 1, "told once, and as the person wrote it: {:?}", asked[2].words);
        assert!(!says(2, "Never seen."));
        let paths = ["AGENTS.md", "web/AGENTS.md"].map(|name| stage.folder.join(name).display().to_string());
        let review = stage.json(&["review", "1"])["review"].clone();
        let instructions = review["conventions"]["instructions"].as_array().unwrap();
        assert_eq!(instructions[1..], paths.clone().map(Value::String));
        prints(&stage, &["review", "1"], &["TOLD    instructions of "]);
        prints(&stage, &["log", "1"], &["; instructions of ", "told the instructions of "]);
        // Another turn knows them still.
        stage.quire(&["revise", "1", "once more"]).exits(0);
        let instructed =
            stage.log(1).into_iter().filter(|logged| matches!(logged.event, Event::Instructed { .. }));
        assert_eq!(instructed.count(), 1);
    }
}

#[test]
fn skills_are_named_at_the_start_and_read_and_used_inside() {
    for stage in stages() {
        let model = Model::new(|asked| match asked.answered {
            0 => {
                let path = asked.body.split("letters (").nth(1).and_then(|rest| rest.split(')').next());
                call("read", json!({"path": path.expect("the skill is told")}))
            }
            1 => call("read", json!({"path": ".claude/skills/tables/SKILL.md"})),
            2 => shell(
                "/run/quire/given/skills/letters/scripts/greet > letter; touch /run/quire/given/skills/letters/x",
            ),
            _ => say("Done."),
        });
        stage.use_model(&model, Wire::Chat);
        put(&stage, "home/.agents/skills/letters/SKILL.md", LETTERS);
        put(&stage, "home/.agents/skills/letters/scripts/greet", "#!/bin/sh\necho Dear\n");
        put(&stage, "home/.agents/skills/Broken/SKILL.md", "---\nname: Broken\n---\n");
        let script = stage.base().join("home/.agents/skills/letters/scripts/greet");
        fs::set_permissions(script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        stage.file(
            ".claude/skills/tables/SKILL.md",
            "---\nname: tables\ndescription: Tables.\n---\nRight-aligned.\n",
        );
        let ended = stage.quire(&["write a letter"]).exits(0);
        assert!(ended.err.contains("skills/Broken: its name `Broken` holds"), "{}", ended.err);
        let last = model.asked().pop().unwrap();
        assert!(!last.body.contains("Broken"), "the model hears nothing of it");
        assert!(last.results[0].contains("Run scripts/greet first."), "{:?}", last.results);
        assert!(last.results[1].contains("Right-aligned."), "{:?}", last.results);
        assert!(last.results[2].contains("Read-only file system"), "{:?}", last.results);
        stage.quire(&["accept", "1"]).exits(0);
        assert_eq!(fs::read_to_string(stage.folder.join("letter")).unwrap(), "Dear\n");
        prints(&stage, &["review", "1"], &["TOLD    skills tables, letters\n"]);
        let doctor = stage.json(&["doctor"]);
        let rows = doctor["rows"].as_array().unwrap();
        let row = rows.iter().find(|row| row["name"] == "folder").unwrap();
        assert!(row["says"].as_str().unwrap().contains("no instructions; skills: tables ("), "{row}");
        assert!(row["next"].as_str().unwrap().contains("Broken: its name"), "{row}");
    }
}

/// Returns a file of hooks, as (event, matcher, command).
fn hooks(all: &[(&str, &str, &str)]) -> String {
    let mut hooks = serde_json::Map::new();
    for (event, matcher, command) in all {
        let group = json!({"matcher": matcher, "hooks": [{"type": "command", "command": command}]});
        let groups = hooks.entry(*event).or_insert_with(|| json!([]));
        groups.as_array_mut().unwrap().push(group);
    }
    json!({ "hooks": hooks }).to_string()
}

#[test]
fn hooks_run_inside_at_their_points_and_what_they_say_counts() {
    for stage in stages() {
        let model = Model::saying(vec![
            shell("rm -rf /"),
            call("write", json!({"path": "a.txt", "content": "one"})),
            say("Done."),
            say("Done again."),
        ]);
        stage.use_model(&model, Wire::Chat);
        let guard = r#"grep -q 'rm -rf' && { echo 'not that' >&2; exit 2; }; exit 0"#;
        let rewrite =
            r#"cat > input; echo '{"hookSpecificOutput":{"updatedInput":{"path":"a.txt","content":"two"}}}'"#;
        let end = r#"grep -q '"stop_hook_active":false' && echo '{"decision":"block","reason":"count once more"}'; exit 0"#;
        put(
            &stage,
            "config/quire/hooks.json",
            &hooks(&[
                ("SessionStart", "startup", "echo The week begins on Monday."),
                ("UserPromptSubmit", "", "exit 1"),
                ("PreToolUse", "Bash", guard),
                ("PreToolUse", "Write", rewrite),
                ("PostToolUse", "Edit|Write", "cat a.txt > formatted; touch /etc/made-by-hook"),
                ("Stop", "", end),
            ]),
        );
        stage.quire(&["write it"]).exits(0);
        let asked = model.asked();
        assert!(asked[0].words.iter().any(|words| words.contains("From a hook: The week begins on Monday.")));
        assert_eq!(asked[1].results[0], "Not run: a hook refused it: not that");
        assert!(
            asked[2].words.last().unwrap().contains("A hook changed the input of your call of write to {")
        );
        assert!(
            asked[3].words.last().unwrap().contains("A hook has you go on: count once more"),
            "{:?}",
            asked[3].words
        );
        assert_eq!(asked.len(), 4);
        stage.quire(&["accept", "1"]).exits(0);
        let read = |name: &str| fs::read_to_string(stage.folder.join(name)).unwrap();
        assert_eq!((read("a.txt"), read("formatted")), ("two".to_owned(), "two".to_owned()));
        let given: Value = serde_json::from_str(&read("input")).unwrap();
        let path = stage.folder.join("a.txt").display().to_string();
        assert_eq!((&given["tool_name"], &given["hook_event_name"]), (&json!("Write"), &json!("PreToolUse")));
        assert_eq!(
            (&given["tool_input"]["file_path"], &given["tool_input"]["content"]),
            (&json!(path), &json!("one"))
        );
        assert!(!std::path::Path::new("/etc/made-by-hook").exists(), "nothing real changes");
        prints(
            &stage,
            &["log", "1"],
            &["hooks done before shell", "refuses: not that", "hooks done at the start"],
        );
    }
}

#[test]
fn k05_what_a_folder_brings_counts_only_once_it_is_trusted_and_as_it_was_seen() {
    for stage in stages() {
        let swap = format!(
            "mkdir -p .quire; printf '%s' '{}' > .quire/hooks.json",
            hooks(&[("Stop", "", "touch evil")])
        );
        let model = Model::new(move |asked| match asked.answered {
            0 => shell(&format!("{swap}; ls /run/quire; cat $QUIRE_HOME/trusted/* ; cat */trusted/* 2>&1")),
            _ => say("Done."),
        });
        stage.use_model(&model, Wire::Chat);
        let file = hooks(&[("SessionStart", "", "touch made-by-hook")]);
        stage.file(".quire/hooks.json", &file);
        stage.file("quire.toml", "budget.steps = 300\n");
        let made = || fs::exists(stage.folder.join("made-by-hook")).unwrap();
        let line =
            "so without effect: budget.steps of quire.toml, 1 hook of .quire/hooks.json. See: quire trust";
        let ended = stage.quire(&["task one"]).exits(0);
        assert_eq!(ended.err.matches(line).count(), 1, "{}", ended.err);
        stage.quire(&["accept", "1", "made-by-hook"]);
        assert!(!made() && ended.err.contains("up to 200 steps"), "{}", ended.err);

        let told = stage.quire(&["trust"]);
        assert_eq!(told.code, Some(3), "{told:?}");
        assert!(
            told.err.contains(".quire/hooks.json: at the start runs `touch made-by-hook` in the sandbox"),
            "{}",
            told.err
        );
        prints(&stage, &["trust", "--yes"], &["Trusted, as long as these files stay as they are."]);
        prints(&stage, &["trust"], &["nothing here that is not trusted already"]);
        let ended = stage.quire(&["task two"]).exits(0);
        assert!(
            !ended.err.contains("without effect") && ended.err.contains("up to 300 steps"),
            "{}",
            ended.err
        );
        // The agent changed the hooks in its copy; the task runs those it began with.
        let runs = stage.log(2).into_iter().filter(|logged| matches!(logged.event, Event::Hooked { .. }));
        assert_eq!(runs.count(), 1);
        stage.quire(&["accept", "2"]).exits(3).tells(&[".quire/hooks.json tells coding agents what to run"]);
        stage.quire(&["accept", "2", "--with-programs"]).exits(0);
        assert!(made() && !fs::exists(stage.folder.join("evil")).unwrap());
        // Accepted, the agent's hooks are no longer what the person saw.
        let ended = stage.quire(&["task three"]).exits(0);
        assert!(ended.err.contains("Not trusted, as it has changed, so without effect"), "{}", ended.err);
        let runs = stage.log(3).into_iter().filter(|logged| matches!(logged.event, Event::Hooked { .. }));
        assert_eq!(runs.count(), 0);
        prints(&stage, &["trust", "--remove"], &["No longer trusted."]);
    }
}

#[test]
fn at_a_terminal_trust_is_asked_for() {
    let stage = Stage::set();
    stage.file(".quire/hooks.json", &hooks(&[("Stop", "", "touch made-by-hook")]));
    let asks = "at the end of a turn runs `touch made-by-hook` in the sandbox\nLet it take effect";
    for (typed, says) in
        [("\n", "The folder is not trusted."), ("no\n", "not trusted."), ("y\n", "Trusted, as long as")]
    {
        let shown = stage.at_a_terminal("trust", typed);
        assert!(shown.contains(asks) && shown.contains(says), "{typed:?}: {shown}");
    }
    assert!(stage.at_a_terminal("trust", "").contains("nothing here that is not trusted already"));
}

/// Each hook stands still when it runs for the first time, until the host is killed in its midst. What was begun is not run again;
/// the call that it stood before is not run either, and the model is told.
#[test]
fn a_hook_runs_once_however_its_host_dies() {
    let stage = Stage::set();
    let model = Model::new(|asked| match asked.results.last() {
        Some(last) if last.contains("[exit 0") => say("Done."),
        _ => shell("echo ran >> ran"),
    });
    stage.use_model(&model, Wire::Chat);
    let events = ["SessionStart", "PreToolUse", "PostToolUse", "Stop"];
    let command =
        |event| format!("n=$(grep -c {event} hooked); echo {event} >> hooked; [ \"$n\" -gt 0 ] || sleep 300");
    let all: Vec<_> = events.iter().map(|event| (*event, "", command(event))).collect();
    let all: Vec<_> =
        all.iter().map(|(event, matcher, command)| (*event, *matcher, command.as_str())).collect();
    put(&stage, "config/quire/hooks.json", &hooks(&all));
    stage.file("hooked", "");
    let follower = stage.start(&["task one"]);
    for event in events {
        let late = Instant::now() + Duration::from_secs(60);
        while !written(&stage.data().join("tasks/1/layers"), "hooked").contains(event) {
            assert!(Instant::now() < late, "no hook ran at {event}");
            std::thread::sleep(Duration::from_millis(5));
        }
        stage.host().kill();
    }
    follower.end().exits(0);
    stage.quire(&["accept", "1"]).exits(0);
    let read = |name: &str| fs::read_to_string(stage.folder.join(name)).unwrap();
    assert_eq!(read("ran"), "ran\n");
    assert_eq!(model.asked().last().unwrap().results.len(), 2);
    assert!(
        model.asked().last().unwrap().results[0]
            .contains("Not run: quire was stopped while a hook ran before it")
    );
    let begun =
        stage.log(1).into_iter().filter(|logged| matches!(logged.event, Event::Hooking { .. })).count();
    assert_eq!(read("hooked").lines().count(), begun, "{}", read("hooked"));
    for event in events {
        let times = if event == "PreToolUse" { 2 } else { 1 };
        assert_eq!(read("hooked").matches(event).count(), times, "{}", read("hooked"));
    }
}

/// Returns what is written in the file of that name, wherever it lies below `dir`; nothing where there is none yet.
fn written(dir: &Path, name: &str) -> String {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let found = entries.map(|entry| match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
        true => written(&entry.path(), name),
        false if entry.file_name() == name => fs::read_to_string(entry.path()).unwrap_or_default(),
        false => String::new(),
    });
    found.collect()
}

#[test]
fn a_hook_that_hangs_is_ended() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("echo ran >> a"), say("Done.")]);
    stage.use_model(&model, Wire::Chat);
    let slow = json!({"hooks": {"SessionStart": [{"hooks": [{"type": "command", "command": "sleep 1000", "timeout": 0.2}]}]}});
    put(&stage, "config/quire/hooks.json", &slow.to_string());
    let ended = stage.quire(&["task one"]).exits(0);
    assert!(ended.err.contains("Hook 1 says: it did not end in time"), "{}", ended.err);
}
