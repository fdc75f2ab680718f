//! What is too much to be done one by one.

use super::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// More than are synced and removed one by one, with a directory that holds as many.
fn much() -> Case {
    let case = case();
    case.prepare(
        |f| {
            for n in 0..100 {
                put(f, format!("d{}/{n}", n % 7), "old");
                put(f, format!("gone/{}/{n}", n % 3), "old");
            }
        },
        |f| {
            for n in 0..100 {
                put(f, format!("d{}/{n}", n % 7), "new");
                put(f, format!("made/{}/{n}", n % 3), "new");
            }
            fs::remove_dir_all(f.join("gone")).unwrap();
        },
    );
    case
}

/// Each row: where it dies, what of what is aside was removed before (every so many), and whether it is as after.
#[test]
fn much_that_was_half_removed_when_quire_died_is_removed() {
    for (dies_at, every, is_after) in
        [("remove the old", 0, true), ("remove the old", 2, true), ("close", 1, true), ("commit", 2, false)]
    {
        let case = much();
        let (before, after) = (tree_of(&case.folder), tree_of(&case.wanted));
        let plan = case.plan(1, &case.entries()).unwrap();
        let mut die = |what: &'static str| assert_ne!(what, dies_at, "it dies here");
        catch_unwind(AssertUnwindSafe(|| carry_out(plan, case.store.blobs(), &mut die))).unwrap_err();
        let aside: Vec<String> =
            tree_of(&case.folder).into_keys().filter(|p| p.contains(".quire-")).collect();
        assert_eq!(aside.len() > 100, dies_at != "close", "{dies_at}: {}", aside.len());
        for (n, path) in aside.iter().enumerate() {
            if every > 0 && n % every == 0 && case.folder.join(path).is_file() {
                fs::remove_file(case.folder.join(path)).unwrap();
            }
        }
        let recovered = recover(&case.desk.home).unwrap();
        assert_eq!(recovered.len(), 1, "{dies_at}");
        assert_eq!(tree_of(&case.folder), if is_after { after } else { before }, "{dies_at}, {every}");
    }
}
