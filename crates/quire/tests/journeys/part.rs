//! A person takes a part, or goes on working in the files that a task changed: what is written is exactly what was checked, and
//! nothing of either side is lost without a word.

use crate::model::{Model, Wire, say, shell};
use crate::stage::Stage;
use crate::tree::Tree;
use serde_json::Value;
use std::fs;

const NUMBERS: &str = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n";

/// A task that changed the second and the eleventh of twelve lines, and made another file.
fn two_changes(checks: &[&str]) -> Stage {
    let stage = Stage::set();
    let script = "sed -i 's/^2$/two/; s/^11$/eleven/' a.txt; echo n > new.txt";
    stage.use_model(&Model::saying(vec![shell(script), say("Two lines are words.")]), Wire::Chat);
    stage.file("a.txt", NUMBERS);
    let mut arguments = vec!["change two lines"];
    checks.iter().for_each(|check| arguments.extend(["--check", check]));
    stage.quire(&arguments).exits(0);
    stage
}

fn hunks(stage: &Stage) -> Vec<String> {
    let files = stage.json(&["review", "1"])["review"]["files"].clone();
    let hunks = files[0]["hunks"].as_array().unwrap().clone();
    hunks.iter().map(|hunk| hunk["id"].as_str().unwrap().to_owned()).collect()
}

fn text(stage: &Stage) -> String {
    fs::read_to_string(stage.folder.join("a.txt")).unwrap()
}

#[test]
fn single_hunks_are_taken_and_taken_back() {
    let stage = two_changes(&[]);
    let before = Tree::of(&stage.folder);
    let ids = hunks(&stage);
    assert_eq!(ids.len(), 2);
    let shown = stage.quire(&["review", "1"]).exits(0).out;
    assert!(ids.iter().all(|id| shown.contains(&id[..8])), "{shown}");
    stage.quire(&["accept", "1", "--only", &ids[1][..8]]).exits(0);
    assert_eq!(text(&stage), NUMBERS.replace("11", "eleven"));
    assert!(!stage.folder.join("new.txt").exists());
    assert!(stage.quire(&["review", "1"]).out.contains("Part of it is in your folder."));
    // The rest follows, and each goes back on its own.
    stage.quire(&["accept", "1"]).exits(0);
    assert_eq!(text(&stage), NUMBERS.replace("11", "eleven").replace("\n2\n", "\ntwo\n"));
    stage.quire(&["undo", "1"]).exits(0);
    assert_eq!(text(&stage), NUMBERS.replace("11", "eleven"));
    stage.quire(&["undo", "1"]).exits(0);
    Tree::of(&stage.folder).assert_is(&before, "after both undos");
    let unknown = stage.quire(&["accept", "1", "--only", "ffff0000"]).exits(2);
    assert!(unknown.err.contains("no hunk `ffff0000`"), "{}", unknown.err);
}

#[test]
fn a_part_is_checked_as_it_is_before_it_is_written() {
    // Holds on the whole; on the first hunk alone it does not.
    let stage = two_changes(&[
        "grep -q two a.txt && grep -q eleven a.txt || test ! -e new.txt -a $(grep -c two a.txt) = 0",
    ]);
    let before = Tree::of(&stage.folder);
    let ids = hunks(&stage);
    let refused = stage.quire(&["accept", "1", "--only", &ids[0]]).exits(1);
    assert!(refused.err.contains("and not on the whole version"), "{}", refused.err);
    Tree::of(&stage.folder).assert_is(&before, "nothing was written");
    // The other stands alone, and that was seen on the very files.
    let taken = stage.json(&["accept", "1", "--only", &ids[1]]);
    assert_eq!(taken["accepted"]["checks"][0]["passed"], true, "{taken}");
    stage.quire(&["undo", "1"]).exits(0);
    // A person may take what they like.
    stage.quire(&["accept", "1", "--only", &ids[0], "--unchecked"]).exits(0);
    assert_eq!(text(&stage), NUMBERS.replace("\n2\n", "\ntwo\n"));
}

#[test]
fn edits_that_do_not_touch_are_merged_and_checked() {
    let stage = two_changes(&["grep -q two a.txt", "! grep -q forbidden a.txt"]);
    let mine = NUMBERS.replace("\n7\n", "\nseven of mine\n");
    stage.file("a.txt", &mine);
    let merged = mine.replace("\n2\n", "\ntwo\n").replace("11", "eleven");
    // With what was seen, it has to be looked at again.
    let seen = stage.json(&["review", "1"])["review"]["seen"].as_str().unwrap().to_owned();
    let again = stage.quire(&["accept", "1", "--seen", &seen[..12]]).exits(7);
    assert!(again.err.contains("merged with the task's in a.txt"), "{}", again.err);
    assert_eq!(text(&stage), mine);
    let new = again.err.split("--seen ").nth(1).unwrap().trim().to_owned();
    let told = stage.quire(&["accept", "1", "--seen", &new]).exits(0);
    assert!(told.out.contains("Merged with your edits: a.txt."), "{}", told.out);
    assert_eq!(text(&stage), merged);
    // Undo keeps what came later, and takes back its own lines.
    stage.file("a.txt", &merged.replace("\n5\n", "\nlater\n"));
    let told = stage.quire(&["undo", "1"]).exits(0);
    assert!(told.out.contains("Your later edits stay: a.txt."), "{}", told.out);
    assert_eq!(text(&stage), mine.replace("\n5\n", "\nlater\n"));
    // What fails with the person's edits in it is not written.
    stage.file("a.txt", &NUMBERS.replace("\n7\n", "\nforbidden\n"));
    let fails = stage.quire(&["accept", "1"]).exits(1);
    assert!(fails.err.contains("forbidden"), "{}", fails.err);
    assert!(!text(&stage).contains("two"));
}

#[test]
fn edits_that_touch_are_shown_with_both_sides() {
    let stage = two_changes(&[]);
    let mine = NUMBERS.replace("\n2\n", "\nzwei\n");
    stage.file("a.txt", &mine);
    let refused = stage.quire(&["accept", "1"]).exits(7);
    for part in ["a.txt was changed", "line 2", "zwei", "two"] {
        assert!(refused.err.contains(part), "no {part:?} in {}", refused.err);
    }
    assert_eq!(text(&stage), mine);
    assert!(!stage.folder.join("new.txt").exists(), "all or nothing");
    let shown = stage.quire(&["review", "1"]).exits(0).out;
    for part in
        ["YOURS   a.txt  you changed the same lines", "line 2, yours:", "zwei", "not all of this fits"]
    {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
    // What fits can be taken by name.
    let ids = hunks(&stage);
    stage.quire(&["accept", "1", "new.txt", "--only", &ids[1]]).exits(0);
    assert_eq!(text(&stage), mine.replace("11", "eleven"));
}

#[test]
fn what_was_accepted_and_is_removed_since_is_told() {
    let stage = two_changes(&[]);
    stage.quire(&["accept", "1"]).exits(0);
    fs::remove_file(stage.folder.join("new.txt")).unwrap();
    let shown = stage.quire(&["review", "1"]).exits(0).out;
    assert!(shown.contains("something is not in your folder any more"), "{shown}");
    for arguments in [&["accept", "1"][..], &["accept", "1", "new.txt"]] {
        let told = stage.quire(arguments).exits(0).out;
        assert!(
            told.contains("removed it since you accepted it: new.txt.") && told.contains("quire undo 1"),
            "{told}"
        );
        assert!(!stage.folder.join("new.txt").exists());
    }
    stage.quire(&["undo", "1"]).exits(0);
    let told = stage.quire(&["accept", "1"]).exits(0).out;
    assert!(stage.folder.join("new.txt").exists() && !told.contains("removed"), "{told}");
}

#[test]
fn j10_files_that_run_things_need_a_yes_of_their_own() {
    let stage = Stage::set();
    let script = "mkdir .vscode; echo '{}' > .vscode/tasks.json; echo x > plain.txt; echo 'a:' > Makefile";
    stage.use_model(&Model::saying(vec![shell(script), say("Done.")]), Wire::Chat);
    stage.quire(&["set the editor up"]).exits(0);
    let before = Tree::of(&stage.folder);
    let shown = stage.quire(&["review", "1"]).exits(0).out;
    assert!(shown.contains(".vscode/tasks.json  can run when you open"), "{shown}");
    let refused = stage.quire(&["accept", "1"]).exits(3);
    assert!(refused.err.contains("Makefile runs when you build"), "{}", refused.err);
    Tree::of(&stage.folder).assert_is(&before, "nothing was written");
    stage.quire(&["accept", "1", "plain.txt"]).exits(0);
    stage.quire(&["accept", "1", ".vscode"]).exits(3);
    stage.quire(&["accept", "1", "--with-programs"]).exits(0);
    assert!(stage.folder.join(".vscode/tasks.json").exists());
    let logged: Vec<Value> = stage
        .quire(&["log", "1", "--json"])
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|event: &Value| event.to_string().contains("\"accepting\""))
        .collect();
    assert!(
        logged[0].to_string().find("programs").is_none()
            && logged[1].to_string().contains("\"programs\":true")
    );
}

#[test]
fn what_does_not_fit_is_fitted_by_the_agent_around_the_persons_files() {
    let stage = Stage::set();
    let first = "sed -i 's/^2$/two/; s/^11$/eleven/' a.txt; echo n > new.txt; rm gone.txt";
    let look = "cat a.txt other.txt; cat gone.txt; true";
    let model = Model::saying(vec![
        shell(first),
        say("Two lines are words."),
        shell(look),
        shell(
            "sed -i 's/^two$/zwei (two)/' a.txt; cp ../gone-was gone.txt 2>/dev/null || echo kept and edited > gone.txt",
        ),
        say("Yours and mine are both in it."),
    ]);
    stage.use_model(&model, Wire::Chat);
    stage.file("a.txt", NUMBERS);
    stage.file("other.txt", "old\n");
    stage.file("gone.txt", "kept\n");
    stage.quire(&["change two lines"]).exits(0);
    stage.quire(&["revise", "1", "--fit"]).exits(2).tells(&["fits your folder as it is"]);
    // The person goes on: in the same line, in a file that the agent deletes, and in one that it never touched.
    let mine = NUMBERS.replace("\n2\n", "\nzwei\n");
    stage.file("a.txt", &mine);
    stage.file("other.txt", "new\n");
    stage.file("gone.txt", "kept and edited\n");
    let before = Tree::of(&stage.folder);
    stage.quire(&["accept", "1"]).exits(7).tells(&["quire revise 1 --fit"]);
    assert!(stage.quire(&["review", "1"]).exits(0).out.contains("quire revise 1 --fit"));
    stage.quire(&["revise", "1", "--fit", "mine counts"]).exits(0);
    Tree::of(&stage.folder).assert_is(&before, "nothing is written by it");
    let asked = model.asked();
    let told = asked[2].words.last().unwrap().clone();
    for part in [
        "mine counts",
        "a.txt\nWhat I did to it",
        "-2\n+zwei",
        "gone.txt\nWhat I did to it",
        "+kept and edited",
    ] {
        assert!(told.contains(part), "no {part:?} in {told}");
    }
    assert!(!told.contains("other.txt"), "what only they changed is simply there: {told}");
    let saw = asked[3].results.last().unwrap();
    assert!(saw.contains("two") && saw.contains("new") && !saw.contains("old"), "{saw}");
    // Now it stands on the person's files: nothing drifts, and the difference is to those.
    let review = stage.json(&["review", "1"])["review"].clone();
    assert!(review["drift"].is_null(), "{review}");
    assert!(stage.quire(&["review", "1", "--diff"]).exits(0).out.contains("-zwei\n+zwei (two)\n"));
    stage.quire(&["accept", "1"]).exits(0);
    assert_eq!(text(&stage), mine.replace("\nzwei\n", "\nzwei (two)\n").replace("11", "eleven"));
    assert_eq!(fs::read_to_string(stage.folder.join("other.txt")).unwrap(), "new\n");
    assert_eq!(fs::read_to_string(stage.folder.join("gone.txt")).unwrap(), "kept and edited\n");
    stage.quire(&["undo", "1"]).exits(0);
    Tree::of(&stage.folder).assert_is(&before, "after the undo");
}
