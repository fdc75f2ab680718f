//! Secrets: hidden inside, masked where they turn up all the same, and told where a version would bring one in.

use crate::model::{Model, Wire, call, say, shell};
use crate::stage::Stage;
use crate::tree::walk;
use serde_json::json;
use std::fs;

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
}
