//! What is accepted without a person, and what waits for one: only what is deleted, what can now be run, and what nothing checked.

use super::*;
use crate::change::LinkTarget;

fn change(path: &str, was: Option<(&[u8], u32)>, now: Option<(&[u8], u32)>) -> FileChange {
    let node = |(content, mode): (&[u8], u32)| Node::File {
        blob: Hash::of(content),
        bytes: content.len() as u64,
        mode,
    };
    let entry = entry(path, was.map(node), now.map(node));
    FileChange::of(&entry, was.map(|(content, _)| content), now.map(|(content, _)| content))
}

fn renamed(path: &str, from: &str) -> FileChange {
    let mut row = change(path, None, Some((b"\0", 0o644)));
    row.rename(RelPath::new(from).unwrap());
    row
}

#[test]
fn only_what_is_deleted_can_run_or_is_not_checked_waits_for_a_person() {
    const TEXT: Option<(&[u8], u32)> = Some((b"x\n", 0o644));
    const RUNS: Option<(&[u8], u32)> = Some((b"x\n", 0o755));
    const PICTURE: Option<(&[u8], u32)> = Some((b"\x89PNG\0", 0o644));
    let link = entry("l", None, Some(Node::Link { target: LinkTarget(b"/etc".to_vec()) }));
    let dir = entry("d", Some(Node::Dir { mode: 0o755 }), None);
    let large = entry("big.csv", None, file("x", 0o644));
    let token = format!("k = {}\n", ["glpat", "-a1B2c3D4e5F6g7H8i9J0"].concat());
    let was_api = Some((b"pub fn tax(a: u32) -> u32 {\n    a\n}\n".as_slice(), 0o644));
    let now_api = Some((b"pub fn tax(a: u64) -> u64 {\n    a\n}\n".as_slice(), 0o644));
    let mut linked = change("n.txt", TEXT, Some((b"y\n", 0o644)));
    linked.linked = true;
    let well = "wellformed a.png 'my pictures/b.png'";
    let rows: [(FileChange, &str, bool, &str); 24] = [
        (change("a.txt", TEXT, Some((b"y\n", 0o644))), "true", true, ""),
        (change("a.txt", None, TEXT), "true", true, ""),
        (change("a.txt", TEXT, None), "true", true, "a.txt is deleted"),
        (FileChange::of(&dir, None, None), "true", true, "d the folder is deleted"),
        (change("t", TEXT, RUNS), "true", true, "t can now be run as a program"),
        (change("t", TEXT, Some((b"x\n", 0o600))), "true", true, ""),
        (change("t", TEXT, Some((b"x\n", 0o666))), "true", true, "t can now be written by everybody"),
        (change("t", None, RUNS), "true", true, "t can now be run as a program"),
        (change("t", RUNS, TEXT), "true", true, ""),
        (FileChange::of(&link, None, None), "true", true, "l is a link to /etc"),
        // A picture is looked into by the check that names it, and by no other.
        (change("a.png", None, PICTURE), well, true, ""),
        (change("a.png", Some((b"\0", 0o644)), PICTURE), well, true, ""),
        (change("my pictures/b.png", None, PICTURE), well, true, ""),
        (change("b.png", None, PICTURE), well, true, "b.png is no text, or too large"),
        (change("pictures/b.png", None, PICTURE), well, true, "pictures/b.png is no text"),
        (change("a.png", None, PICTURE), "true", true, "a.png is no text, or too large"),
        (change("a.png", None, PICTURE), "echo wellformed a.png", true, "a.png is no text"),
        (
            change("a.png", None, PICTURE),
            well,
            false,
            "`wellformed a.png 'my pictures/b.png'` fails (exit 1)",
        ),
        (FileChange::of(&large, None, None), "true", true, "big.csv is no text, or too large"),
        (renamed("new.bin", "old.bin"), "true", true, ""),
        (
            change("k.py", None, Some((token.as_bytes(), 0o644))),
            "true",
            true,
            "k.py line 1 holds what looks like",
        ),
        (change("k.py", None, Some(("a\u{202e}b\n".as_bytes(), 0o644))), "true", true, "k.py line 1 holds"),
        // Worth a look where somebody looks.
        (change("src/tax.rs", was_api, now_api), "true", true, ""),
        (linked, "true", true, ""),
    ];
    for (row, check, passes, waits) in rows {
        let log = Log::started(3, &[check], "do it").then([reply("Done.", &[])]);
        let log = log.presented(&[proof(passes, &[])], Apart::default());
        let version = log.task.version().unwrap().clone();
        let path = row.path.to_string();
        let why = Review::of(&log.task, &version, vec![row]).needs_a_look().unwrap_or_default();
        assert!(why.starts_with(waits) && why.is_empty() == waits.is_empty(), "{path} {check}: {why}");
    }
}

#[test]
fn what_accept_does_not_take_and_nothing_depends_on_does_not_wait() {
    let apart = Apart { git: Listing { paths: vec!["0/.git/index".into()], total: 1 }, ..Apart::default() };
    let log = Log::started(3, &["true"], "do it").then([reply("Done.", &[])]);
    let log = log.presented(&[proof(true, &[])], apart);
    let version = log.task.version().unwrap().clone();
    let changes = vec![change("a.txt", None, Some((b"x\n", 0o644)))];
    let review = Review::of(&log.task, &version, changes);
    assert_eq!((review.look().len(), review.needs_a_look()), (1, None));
    let moved = vec![Moved { path: "node_modules".into(), system: false }];
    let review = Review { moved, ..review };
    assert!(review.needs_a_look().unwrap().starts_with("node_modules changed since the task began"));
}
