//! Every tool once behind the wall, where files are another layer's, the folder is the person's and pid 1 is the hand.

use crate::stage::{Live, Stage};
use quire_sandbox::protocol::{FromHand, HandOutcome, ToHand};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

fn call(live: &Live, tool: &str, input: Value) -> HandOutcome {
    let call = ToHand::Call { id: 1, tool: tool.into(), input: input.to_string() };
    live.sandbox.send(&call).expect("a hand that listens");
    loop {
        match live.hear() {
            FromHand::Done { outcome, .. } => return outcome,
            FromHand::Live { .. } | FromHand::Listening { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

pub fn tools_work_inside(stage: &Stage) {
    let folder = &stage.spec.folders[0].frozen[0];
    for (name, content) in
        [("script", "one\ntwo\n"), ("gone", "x\n"), ("dir/moves", "a\nb\n"), ("pic", "GIF89a")]
    {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    fs::set_permissions(folder.join("script"), fs::Permissions::from_mode(0o751)).unwrap();
    symlink("script", folder.join("link")).unwrap();
    let live = stage.start();
    let patch = "*** Begin Patch\n*** Update File: dir/moves\n*** Move to: new/place\n-b\n+B\n*** Delete File: gone\n\
                 *** Add File: dir/added\n+here\n*** End Patch";
    let rows = [
        ("edit", json!({"path": "link", "old": "two", "new": "2"}), "Changed link, line 2."),
        (
            "write",
            json!({"path": "dir/written", "content": "w\n"}),
            "Wrote the new file dir/written: 1 lines, 2 bytes.",
        ),
        ("apply_patch", json!({ "patch": patch }), "Done:\nM dir/moves -> new/place\nD gone\nA dir/added"),
        ("read", json!({"path": "script"}), "1\tone\n2\t2\n[end, 2 lines]"),
        ("read", json!({"path": "dir"}), "added\nwritten\n[2 entries]"),
        ("search", json!({"pattern": "^B$"}), "new/place:2:B\n[1 line]"),
        ("plan", json!({"steps": []}), "Noted: 0 of 0 done."),
        ("job", json!({"id": 9, "action": "poll"}), "There is no job 9."),
    ];
    for (tool, input, expect) in rows {
        let outcome = call(&live, tool, input);
        assert!(outcome.text.starts_with(expect), "{tool}: {}", outcome.text);
    }
    assert_eq!(
        live.yes("stat -c %a script; cat link; readlink link; ls -A").trim(),
        "751\none\n2\nscript\na.txt\ndeep\ndir\nlink\nnew\npic\nscript"
    );
    // The command of the same name, as a model calls it from the shell.
    let said = live.yes("apply_patch <<'EOF'\n*** Begin Patch\n*** Delete File: link\n*** End Patch\nEOF");
    assert_eq!(said.trim(), "Done:\nD link");
    let image = call(&live, "read", json!({"path": "pic"})).images.remove(0);
    assert_eq!(fs::read(stage.spec.out.join(image.file)).unwrap(), b"GIF89a");
    let long = call(&live, "shell", json!({"command": "yes | head -c 50000"}));
    assert_eq!(fs::metadata(stage.spec.out.join(long.whole.unwrap())).unwrap().len(), 50_000);

    let begun = call(&live, "shell", json!({"command": "exec sleep 1000", "background": true}));
    let id: u32 = begun.text.trim_end_matches('.').rsplit_once(' ').unwrap().1.parse().unwrap();
    let ended = call(&live, "job", json!({"id": id, "action": "end"}));
    assert!(ended.text.contains("ended: exit 143 (signal 15)"), "{}", ended.text);
    // What the copy is made from is as it was.
    assert_eq!(fs::read(folder.join("script")).unwrap(), b"one\ntwo\n");
    assert!(folder.join("gone").exists() && !folder.join("new").exists());
}
