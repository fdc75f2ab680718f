//! What a person and a folder tell every agent: AGENTS.md and skills reach the model, and are there where it works.

use crate::model::{Model, Wire, call, say, shell};
use crate::stage::{Stage, can_make_users};
use quire_core::Event;
use serde_json::{Value, json};
use std::fs;

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
