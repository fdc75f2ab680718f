//! What a row tells of a version: how much it changed, how its page does on phones where that was seen, and what nobody saw.

use super::*;
use crate::event::{Listing, Repository, Shot};
use crate::message::Image;

const SAYS: &str = "It is done.\n\nClaim: Orders arrive by e-mail.\nClaim: It opens. [pages]";

fn shot(width: u32, wider: u32) -> Shot {
    Shot { width, wider, image: Image { media_type: "image/png".into(), blob: Hash::of(b"p") } }
}

/// Returns the row of a task whose version changed so many files.
fn row(files: Option<u32>, says: &str, proofs: &[Proof]) -> TaskRow {
    let names = ["pages", "unit"];
    let seal =
        Event::Sealed { layer: 0, snapshot: Hash::of(b"v"), apart: Apart::default(), checks: vec![], files };
    let checked =
        proofs.iter().enumerate().map(|(n, proof)| Event::Checked { check: n as u32, proof: proof.clone() });
    let log = Log::started(1, &names[..proofs.len()], "make a page").then([reply(says, &[])]);
    let log = log.then([seal]).then(checked);
    TaskRow::of(&log.then([Event::Presented { version: 1, snapshot: Hash::of(b"v") }]).task, 0)
}

#[test]
fn a_row_tells_what_was_made_and_what_nobody_saw() {
    let phones = |wider| Proof { shots: vec![shot(390, wider), shot(1280, 9)], ..proof(true, &[]) };
    let idle = Proof { unable: Some("no browser".into()), ..proof(false, &[]) };
    for (files, says, proofs, told) in [
        (Some(5), "Done.", vec![proof(true, &[])], "Ready. 5 files."),
        (Some(1), "Done.", vec![phones(0)], "Ready. 1 file, works on phones."),
        (Some(2), SAYS, vec![phones(0)], "Ready. 2 files, works on phones, 1 thing not checked."),
        (Some(2), "Done.", vec![phones(40)], "Ready. 2 files, too wide for phones."),
        (Some(2), "Done.", vec![Proof { buts: vec!["x".into()], ..phones(0) }], "Ready. 2 files."),
        (
            Some(2),
            "Done.",
            vec![Proof { passed: false, ..phones(0) }],
            "Says done, but its check failed. 2 files.",
        ),
        (Some(2), SAYS, vec![], "Ready. 2 files, not checked."),
        (Some(2), "Done.", vec![idle], "Ready. 2 files, not checked."),
        (Some(0), SAYS, vec![], "Ready. No files changed."),
        // Of a log from before they were counted.
        (None, "Done.", vec![proof(true, &[])], "Ready"),
    ] {
        let row = row(files, says, &proofs);
        assert_eq!(row.told(), told);
        assert_eq!(row.is_answer(), files == Some(0), "{told}");
    }
}

/// There is something to accept, though no file changed.
#[test]
fn a_row_says_that_its_agent_only_committed() {
    for (dir, committed, told) in [
        ("0/.git", true, "Ready. No file changed; it committed in git."),
        ("0/deps/x/.git", true, "Ready. No file changed; it committed in git."),
        ("0/.git", false, "Ready. No files changed."),
    ] {
        let repositories = vec![Repository { path: dir.to_owned(), committed }];
        let apart = Apart { git: Listing { paths: vec![], total: 1 }, repositories, ..Apart::default() };
        let log = Log::started(1, &[], "commit").then([reply("Done.", &[])]);
        let seal =
            Event::Sealed { layer: 0, snapshot: Hash::of(b"v"), apart, checks: vec![], files: Some(0) };
        let task = log.then([seal, Event::Presented { version: 1, snapshot: Hash::of(b"v") }]).task;
        let row = TaskRow::of(&task, 0);
        assert_eq!((row.told().as_str(), row.is_answer(), row.committed), (told, !committed, committed));
        let review = Review::of(&task, task.version().unwrap(), vec![]);
        assert_eq!(review.is_answer(), !committed);
        assert_eq!(review.extent() == "No file changed; it committed in git", committed);
    }
}

#[test]
fn files_are_counted_as_a_person_does() {
    let dir = || Some(Node::Dir { mode: 0o755 });
    let of = |entries: Vec<Entry>| crate::change::Snapshot { entries }.files();
    for (entries, files) in [
        (vec![], Some(0)),
        (vec![entry("a", file("x", 0o644), file("y", 0o644)), entry("d", None, dir())], Some(1)),
        (vec![entry("a", file("x", 0o644), None), entry("b", None, file("x", 0o644))], Some(1)),
        (vec![entry("a", file("x", 0o644), None), entry("b", None, file("y", 0o644))], Some(2)),
        (vec![entry("d", dir(), None)], None),
    ] {
        assert_eq!(of(entries.clone()), files, "{entries:?}");
    }
}
