//! Secrets: hidden inside, masked where they turn up all the same, and told where a version would bring one in.

use crate::browser::Browser;
use crate::model::{Model, Wire, call, say, shell};
use crate::stage::Stage;
use crate::tree::walk;
use serde_json::json;
use std::fs;
use std::process::Command;

#[test]
fn a_secret_that_turns_up_is_masked_and_told() {
    let stage = Stage::set();
    let token = ["glpat", "-a1B2c3D4e5F6g7H8i9J0"].concat();
    let print = "cat .env; printf 'it is hunter2%s\\n' hunter2; seq 20000; printf '%s%s\\n' glpat -a1B2c3D4e5F6g7H8i9J0";
    let model = Model::saying(vec![
        shell(print),
        call("write", json!({"path": "b.py", "content": "t = '[quire hid a secret: GitLab token]'\n"})),
        shell("printf 'one\\ntoken = %s%s\\n' glpat -a1B2c3D4e5F6g7H8i9J0 > a.py"),
        say("Done."),
    ]);
    stage.use_model(&model, Wire::Chat);
    stage.file(".env", "API_KEY=hunter2hunter2\n");
    stage.quire(&["run", "use the key", "--check", "printf 'hunter2%s' hunter2"]).exits(0);
    let asked = model.asked();
    let heard = &asked.last().unwrap().results;
    assert!(heard[0].contains("it is [quire hid a secret: known value]"), "{heard:?}");
    assert!(heard[1].starts_with("Not run: it holds a mask"), "{heard:?}");
    for request in &asked {
        assert!(!request.body.contains("hunter2hunter2") && !request.body.contains(&token));
    }
    // Nowhere in what quire wrote down about it, whole outputs included.
    let log = stage.quire(&["log", "1", "--json"]).exits(0);
    assert!(!log.out.contains("hunter2hunter2") && !log.out.contains(&token));
    let kept = stage.data();
    for file in walk(&kept) {
        let inside_the_copy = file.starts_with(kept.join("folders")) || file.starts_with(kept.join("tasks"));
        let content = fs::read(&file).unwrap();
        let holds = |secret: &str| content.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(inside_the_copy || !holds("hunter2hunter2"), "{}", file.display());
    }
    let review = stage.quire(&["review", "1"]).exits(0);
    assert!(review.out.contains("line 2 holds what looks like a secret (GitLab token)"), "{}", review.out);
    let page = Browser::open(&stage).get("/tasks/1").body;
    let told = page.find("What looks like a secret is in this change").expect("it is told above all");
    assert!(
        page[told..].contains("a.py, line 2: GitLab token") && page[told..].contains("Send it back"),
        "{page}"
    );
}

/// What is hidden in the folder can be read from where git keeps it; quire cannot help that, and says so.
#[test]
fn a_hidden_file_that_git_keeps_is_told() {
    let stage = Stage::set();
    let model =
        Model::saying(vec![shell("cat .env; git show :.env; git show :web/.env.own; true"), say("Done.")]);
    stage.use_model(&model, Wire::Chat);
    for (file, content) in [(".env", "HINT=blue\n"), ("web/.env.own", "HINT=green\n"), ("a.txt", "a\n")] {
        stage.file(file, content);
    }
    git(&stage, &["init", "-q"]);
    git(&stage, &["add", ".env", "a.txt"]);
    stage.quire(&["run", "look"]).exits(0);
    let asked = model.asked();
    let heard = &asked.last().unwrap().results;
    assert!(heard[0].contains("HINT=blue") && !heard[0].contains("HINT=green"), "{heard:?}");
    let why = "was hidden, but git keeps it: what was committed could be read";
    let review = stage.quire(&["review", "1"]).exits(0);
    assert_eq!(review.out.matches(why).count(), 1, "{}", review.out);
    let json = stage.quire(&["review", "1", "--json"]).exits(0);
    assert!(json.out.contains(r#""in_git":[{"folder":0,"path":".env"}]"#), "{}", json.out);
    // What is not to be hidden is not told.
    git(&stage, &["rm", "-q", "--cached", ".env"]);
    assert!(!stage.quire(&["review", "1"]).exits(0).out.contains(why));
}

fn git(stage: &Stage, arguments: &[&str]) {
    let done = Command::new("git").current_dir(&stage.folder).args(arguments).output().unwrap();
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}
