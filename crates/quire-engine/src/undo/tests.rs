//! What an undo takes back and what it leaves, where the person went on: deleted, put back by hand, edited again, while another is at it.

use super::*;
use crate::decide::Choice;
use crate::settings::Surroundings;
use crate::testing::{begun, present, tell, tree_of};
use quire_core::view::Over;
use quire_core::{Entry, Node};
use std::fs;
use std::path::PathBuf;

const LINES: &str = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";

struct Case {
    _temp: tempfile::TempDir,
    folder: PathBuf,
    quire: Quire,
    id: u64,
    version: Hash,
}

impl Case {
    /// A task whose version changes a line of `dir/f` and makes `n`.
    async fn ready() -> Case {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("folder");
        fs::create_dir_all(folder.join("dir")).unwrap();
        fs::write(folder.join("dir/f"), LINES).unwrap();
        let env = [("QUIRE_HOME".to_owned(), temp.path().join("home").to_str().unwrap().to_owned())];
        let surroundings = Surroundings { env: env.into_iter().collect(), cwd: temp.path().to_owned() };
        let quire = Quire::open(&surroundings).unwrap();
        let id = begun(quire.store(), quire.home(), &folder).await;
        let version = Case::version(&quire, id, "two\n").await;
        Case { _temp: temp, folder, quire, id, version }
    }

    /// Presents one that has `line` in the place of the second.
    async fn version(quire: &Quire, id: u64, line: &str) -> Hash {
        let now = LINES.replace("2\n", line);
        let blobs = quire.store().blobs().put(&[LINES.as_bytes(), now.as_bytes(), b"N\n"]).unwrap();
        let node =
            |n: usize, bytes: usize| Some(Node::File { blob: blobs[n], bytes: bytes as u64, mode: 0o644 });
        let entry = |path: &str, was, now| Entry { folder: 0, path: path_named(path), was, now };
        let f = entry("dir/f", node(0, LINES.len()), node(1, now.len()));
        let entries = vec![f, entry("n", None, node(2, 2))];
        let snapshot = quire.store().blobs().put(&[&Snapshot { entries }.to_blob()]).unwrap()[0];
        present(quire.store(), id, snapshot).await;
        snapshot
    }

    fn accept(&self, paths: &[&str]) -> Written {
        let paths = paths.iter().map(Into::into).collect();
        self.quire.accept(self.id, &Choice { paths, ..Choice::default() }).unwrap()
    }

    fn undo(&self, paths: &[&str], edits: Edits) -> Result<Written, EngineError> {
        self.quire.undo(self.id, &Undo { paths: paths.iter().map(Into::into).collect(), edits })
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.folder.join(path)).unwrap()
    }
}

fn path_named(path: &str) -> quire_core::RelPath {
    quire_core::RelPath::new(path).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_of_what_was_put_back_by_hand_reaches_no_further() {
    let case = Case::ready().await;
    tokio::task::block_in_place(|| {
        case.accept(&["dir/f"]);
        case.accept(&["n"]);
        fs::remove_file(case.folder.join("n")).unwrap();
        let undone = case.undo(&[], Edits::Kept).unwrap();
        assert!(undone.files.is_empty(), "{undone:?}");
        let told = undone.text(None);
        assert!(told.starts_with("Nothing had to be put back in "), "{told}");
        assert!(told.ends_with(": it was as before already."), "{told}");
        assert_eq!(case.text("dir/f"), LINES.replace("2\n", "two\n"), "what was accepted before stays");
        assert_eq!(case.quire.task(case.id).unwrap().last_accept(), Some(0));
        // One that wrote nothing stands in nobody's way.
        assert!(case.accept(&["dir/f"]).files.is_empty());
        assert_eq!(case.undo(&[], Edits::Kept).unwrap().files.len(), 1);
        assert_eq!(case.text("dir/f"), LINES);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn while_another_process_undoes_that_is_what_is_said() {
    let case = Case::ready().await;
    tokio::task::block_in_place(|| {
        case.accept(&[]);
        let task = case.quire.task(case.id).unwrap();
        let blobs = case.quire.store().blobs();
        let plan = crate::accept::plan_undo(&case.quire.desk(case.id), 0, blobs).unwrap();
        case.quire.begin_writing(&task, Event::Undoing { accept: 0, only: vec![] }).unwrap();
        let refused = case.undo(&["n"], Edits::Kept);
        assert!(matches!(refused, Err(EngineError::Not { why: WRITTEN, .. })), "{refused:?}");
        drop(plan);
    });
}

/// Nothing of the person's is at a name where nothing is.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_person_deleted_comes_back_as_it_was_before_the_accept() {
    for (gone, edits) in [("dir/f", Edits::Kept), ("dir/f", Edits::Asked), ("dir", Edits::Kept)] {
        let case = Case::ready().await;
        tokio::task::block_in_place(|| {
            let before = tree_of(&case.folder);
            case.accept(&[]);
            let at = case.folder.join(gone);
            if at.is_dir() {
                fs::remove_dir_all(&at).unwrap()
            } else {
                fs::remove_file(&at).unwrap()
            }
            let named: &[&str] = if gone == "dir" { &["dir/f"] } else { &[] };
            let undone = case.undo(named, edits).unwrap();
            let file = undone.files.iter().find(|file| file.path == path_named("dir/f")).unwrap();
            assert_eq!(
                (file.over, file.what(true)),
                (Some(Over::Gone), "is back where you had deleted something")
            );
            let _ = case.undo(&[], Edits::Kept);
            assert_eq!(tree_of(&case.folder), before, "{gone}");
        });
    }
    // What is there now is theirs.
    let case = Case::ready().await;
    tokio::task::block_in_place(|| {
        case.accept(&[]);
        fs::remove_file(case.folder.join("dir/f")).unwrap();
        fs::create_dir(case.folder.join("dir/f")).unwrap();
        let mine = tree_of(&case.folder);
        let refused = case.undo(&["dir/f"], Edits::Kept);
        let is_edited =
            |error: &AcceptError| matches!(error, AcceptError::Edited(drift) if drift[0].is_folder);
        assert!(
            matches!(&refused, Err(EngineError::Accept { error, .. }) if is_edited(error)),
            "{refused:?}"
        );
        assert_eq!(tree_of(&case.folder), mine);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_is_named_as_a_person_sees_it() {
    let case = Case::ready().await;
    let mut task = tokio::task::block_in_place(|| case.quire.task(case.id).unwrap());
    let folders = vec!["/x/first".into(), "/x/second".into()];
    task.charter = std::sync::Arc::new(quire_core::Charter { folders, ..(*task.charter).clone() });
    for (named, expected) in [
        ("a/./b/", Some((0, "a/b"))),
        ("second/t2", Some((1, "t2"))),
        ("../second/t2", Some((1, "t2"))),
        ("a/../b", Some((0, "b"))),
        ("/x/second/../first/a", Some((0, "a"))),
        ("../third/t2", None),
        ("../../../second/t2", None),
    ] {
        let part = path_of(&task, &named.into()).ok();
        let expected = expected.map(|(folder, path)| Part { folder, path: path_named(path) });
        assert_eq!(part, expected, "{named}");
    }
}

/// The folder changed since, and not the task.
#[tokio::test(flavor = "multi_thread")]
async fn after_one_more_edit_it_is_said_what_would_be_written_now() {
    let case = Case::ready().await;
    let first = case.version;
    let seen = |seen: Hash| {
        let choice = Choice { seen: Some(seen.to_string()), ..Choice::default() };
        tokio::task::block_in_place(|| case.quire.accept(case.id, &choice))
    };
    let merges = |accepted: Result<Written, EngineError>| match accepted {
        Err(EngineError::Merges { now, .. }) => now,
        other => panic!("{other:?}"),
    };
    fs::write(case.folder.join("dir/f"), LINES.replace("9\n", "nine\n")).unwrap();
    let before = merges(seen(first));
    fs::write(case.folder.join("dir/f"), LINES.replace("8\n9\n", "8\nNINE\n")).unwrap();
    let now = merges(seen(before));
    assert_ne!(now, before);
    // One that is another version is told as that.
    let words = Event::Said { words: "more".into() };
    tell(case.quire.store(), case.id, vec![words]).await;
    let second = Case::version(&case.quire, case.id, "zwei\n").await;
    let other = seen(first);
    assert!(matches!(&other, Err(EngineError::Seen { now, .. }) if *now == second), "{other:?}");
    merges(seen(second));
}
