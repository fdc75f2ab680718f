//! What is kept of tasks can be found again, taken elsewhere as one file, and read there; and a file from elsewhere can do no more
//! than be read.

use crate::model::{Model, Wire, say, shell};
use crate::stage::Stage;
use crate::tree::Tree;
use serde_json::Value;
use std::fs;

const TOKEN: &str = "ghp_abcdefghijklmnopqrstuvwxyz0123456789";

fn two_tasks() -> Stage {
    let stage = Stage::set();
    let first = format!(
        "echo 'the quick brown fox' > a.txt; echo 'token {TOKEN}' >> a.txt; echo new > old.txt; head -c 5000 /dev/zero > z.bin; \
         mkdir -p /usr/lib/node_modules/prettier; echo '{{\"version\":\"3.3.3\"}}' > /usr/lib/node_modules/prettier/package.json"
    );
    let model = Model::new(move |asked| {
        let second = asked.words.iter().any(|words| words.contains("stripes"));
        match (second, asked.answered) {
            (false, 0) => shell(&first),
            (false, _) => say("Wrote about an animal."),
            (true, 0) => shell("echo 'zebra 縞模様のある馬' > b.txt"),
            (true, _) => say("Another one."),
        }
    });
    stage.configure(&model, Wire::Chat, "[checks]\nfound = false\n");
    stage.file("old.txt", "was here\n");
    stage.quire(&["write about foxes"]).exits(0);
    stage.quire(&["write about stripes"]).exits(0);
    stage
}

fn found(stage: &Stage, words: &str) -> Vec<u64> {
    let rows = stage.json(&["ls", words])["tasks"].clone();
    rows.as_array().unwrap().iter().map(|row| row["task"].as_u64().unwrap()).collect()
}

#[test]
fn tasks_are_found_by_what_was_said_and_what_changed() {
    let stage = two_tasks();
    let rows: &[(&str, &[u64])] = &[
        ("quick brown", &[1]),
        ("brown quick", &[1]),
        ("was here", &[1]),
        ("ANIMAL", &[1]),
        ("stripes", &[2]),
        ("zeb", &[2]),
        ("b.txt", &[2]),
        ("write about", &[2, 1]),
        ("write \"about", &[2, 1]),
        ("fox OR zebra", &[]),
        ("body:fox", &[]),
        ("\" * ( )", &[]),
        ("nowhere", &[]),
        ("模様", &[2]),
        ("馬 縞", &[2]),
        ("様模", &[]),
    ];
    let all = |stage: &Stage| -> Vec<Value> {
        rows.iter()
            .map(|(words, tasks)| {
                let mut is = found(stage, words);
                is.sort_by_key(|task| std::cmp::Reverse(*task));
                assert_eq!(is, *tasks, "{words}");
                stage.json(&["ls", words])["tasks"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|row| row["found"].clone())
                    .collect()
            })
            .collect()
    };
    let before = all(&stage);
    let index = stage.data().join("search.db");
    // It holds nothing of its own: gone or spoilt, it is made anew and says the same.
    fs::remove_file(&index).unwrap();
    assert_eq!(all(&stage), before);
    fs::write(&index, "no database").unwrap();
    assert_eq!(all(&stage), before);
    let shown = stage.quire(&["ls", "quick"]).exits(0).out;
    assert!(
        shown.contains("FOUND\n 1  a.txt: ") && shown.contains("quick brown fox") && !shown.contains(TOKEN),
        "{shown}"
    );
    let shown = stage.quire(&["ls", "模様"]).exits(0).out;
    assert!(shown.contains("zebra 縞模様のある馬"), "{shown}");
    // Filters, alone and together.
    let count = |arguments: &[&str]| stage.json(arguments)["tasks"].as_array().unwrap().len();
    stage.quire(&["discard", "2"]).exits(0);
    for (arguments, expected) in [
        (&["ls", "--state", "done"][..], 1),
        (&["ls", "--state", "needs-you"], 1),
        (&["ls", "--state", "working"], 0),
        (&["ls", "-C", "."], 2),
        (&["ls", "-C", "/nowhere"], 0),
        (&["ls", "stripes", "--state", "done"], 1),
        (&["ls", "zebra"], 0),
    ] {
        assert_eq!(count(arguments), expected, "{arguments:?}");
    }
    assert!(stage.quire(&["ls", "nowhere"]).exits(0).err.contains("no such task"));
    // What the agent installed is told as what a person would run.
    let review = stage.quire(&["review", "1"]).exits(0).out;
    assert!(
        review.contains("INSTALL not taken; the same on your machine: sudo npm install -g prettier@3.3.3"),
        "{review}"
    );
}

#[test]
fn a_task_is_taken_elsewhere_as_one_file_and_is_a_record_there() {
    let stage = two_tasks();
    let file = stage.base().join("home/task");
    let at = file.to_str().unwrap();
    let told = stage.json(&["export", "1", at])["exported"].clone();
    assert!(told["masked"].as_u64().unwrap() > 0, "{told}");
    let whole = fs::read(&file).unwrap();
    assert!(!String::from_utf8_lossy(&whole).contains(TOKEN));
    stage.quire(&["export", "1", at]).exits(2).tells(&["is there already"]);
    stage.quire(&["export", "9", "other"]).exits(6);
    // Elsewhere, where nothing of it is.
    let there = Stage::set();
    let before = Tree::of(&there.folder);
    fs::write(there.base().join("home/task"), &whole).unwrap();
    let at = there.base().join("home/task");
    let at = at.to_str().unwrap();
    assert_eq!(there.json(&["import", at])["imported"]["task"], 1);
    assert_eq!(there.json(&["import", at])["imported"]["task"], 2, "it takes no number that is taken");
    assert_eq!(there.state(1), "a record of task 1 elsewhere");
    let review = there.json(&["review", "1"])["review"].clone();
    assert_eq!(review["files"].as_array().unwrap().len(), 3, "{review}");
    let shown = there.quire(&["review", "1"]).exits(0).out;
    assert!(shown.contains("record of another place's task") && shown.contains("quire log 1"), "{shown}");
    for refused in ["quire accept", "quire revise", "quire send", "has not changed"] {
        assert!(!shown.contains(refused), "{refused}: {shown}");
    }
    let diff = there.quire(&["review", "1", "--diff"]).exits(0).out;
    for part in ["+the quick brown fox\n", "-was here\n+new\n", "GitHub token"] {
        assert!(diff.contains(part), "no {part:?} in {diff}");
    }
    assert_eq!(there.log(1).len(), stage.log(1).len() + 1);
    assert_eq!(there.log(1)[0].at_ms, stage.log(1)[0].at_ms);
    assert_eq!(there.json(&["ls"])["day_cost_usd"], 0.0);
    assert_eq!(found(&there, "quick"), [2, 1]);
    for arguments in [
        &["accept", "1"][..],
        &["undo", "1"],
        &["revise", "1", "more"],
        &["serve", "1"],
        &["note", "1", "x"],
        &["rewind", "1", "--to", "v1"],
        &["fork", "1", "--at", "v1"],
    ] {
        there.quire(arguments).exits(2).tells(&["record of another place"]);
    }
    there.quire(&["gc"]).exits(0);
    assert_eq!(there.quire(&["review", "1", "--diff"]).exits(0).out, diff, "its contents are kept");
    there.quire(&["discard", "2"]).exits(0);
    Tree::of(&there.folder).assert_is(&before, "nothing is written by it");
    // A file that is not whole and right, whatever is wrong with it, is nothing.
    let text = String::from_utf8_lossy(&whole).into_owned();
    let last = text.trim_end().rfind('\n').unwrap() + 1;
    let signed = |body: String| {
        let end = quire_core::Hash::of(body.as_bytes());
        format!("{body}{{\"end\":\"{end}\"}}\n").into_bytes()
    };
    let first_line = text.find('\n').unwrap() + 1;
    let mut broken: Vec<Vec<u8>> = vec![
        vec![],
        b"\n".to_vec(),
        b"{\"quire_task\":1,\"task\":1,\"events\":99999999999,\"blobs\":0}\n".to_vec(),
        b"{\"quire_task\":1,\"task\":1,\"events\":0,\"blobs\":0}\n".to_vec(),
        b"{\"quire_task\":1,\"task\":1,\"events\":0,\"blobs\":1}\n{\"blob\":\"00\",\"bytes\":18446744073709551615}\n".to_vec(),
        [whole.as_slice(), b"more"].concat(),
        signed(text[..last].replacen("\"quire_task\":1", "\"quire_task\":2", 1)),
        signed(text[..last].replacen("\"seq\":2}\n", "\"seq\":3}\n", 1)),
        signed(text[..last].replacen("{\"taken\"", "{\"teleported\"", 1)),
        signed(text[..last].replacen("\"path\":\"a.txt\"", "\"path\":\"../a.txt\"", 1)),
        signed(format!("{}{}", text[..first_line].replacen("\"blobs\":", "\"blobs\":1", 1), &text[first_line..last])),
    ];
    broken.extend((1..20).map(|part| whole[..whole.len() * part / 20].to_vec()));
    broken.extend((0..20).map(|part| {
        let mut flipped = whole.clone();
        let at = whole.len() * part / 20 + part;
        flipped[at] ^= 1 << (part % 7);
        flipped
    }));
    for (n, bytes) in broken.iter().enumerate() {
        fs::write(there.base().join("home/task"), bytes).unwrap();
        let refused = there.quire(&["import", at]);
        assert_eq!(refused.code, Some(2), "{n}: {refused:?}");
    }
    assert_eq!(there.json(&["ls"])["tasks"].as_array().unwrap().len(), 2);
    there.quire(&["import", "/dev/zero"]).exits(2);
    there.quire(&["import", "/nowhere"]).exits(2);
}
