//! git at work in a repository while it is copied.

use super::*;
use crate::testing;
use std::sync::Once;

fn git(dir: &Path, script: &str) -> String {
    testing::sh(dir, dir, script)
}

/// Lays a copy of a repository out, and lets git look at it.
fn whole(frozen: &Frozen) -> String {
    let out = tempfile::tempdir().unwrap();
    let stack = frozen.stack().unwrap();
    let mut open = vec![stack.top().unwrap()];
    while let Some(place) = open.pop() {
        for name in stack.names(&place, stack.height()).unwrap() {
            let Some(found) = stack.enter(&place, &name).unwrap() else { continue };
            let at = out.path().join(OsStr::from_bytes(found.path.as_bytes()));
            match found.print.kind {
                Kind::Dir => {
                    fs::create_dir(&at).unwrap();
                    open.push(found.place());
                }
                _ => drop(io::copy(&mut stack.content(&found).unwrap(), &mut File::create(at).unwrap())),
            }
        }
    }
    git(out.path(), SAYS)
}

const SAYS: &str =
    "git fsck --strict >/dev/null 2>&1 || echo broken; git rev-parse HEAD; git rev-list --count --all";

#[test]
fn a_repository_is_copied_again_where_git_was_at_work_in_it() {
    let begun = "git init -qb main; for n in $(seq 30); do echo $n > f$n; git add .; git commit -qm $n; git branch b$n; done";
    let works = [
        "git gc -q --prune=now",
        "git pack-refs --all",
        "git repack -qad; git prune-packed",
        "git checkout -qb other; git commit -q --allow-empty -m other",
        "git branch -m renamed",
        "echo more > more; git add more; git commit -qm more",
    ];
    for work in works {
        for what in [What::Folder, What::Git] {
            let case = case();
            git(&case.folder, begun);
            let (once, dir) = (Once::new(), case.folder.join(".git"));
            // Before anything of git is copied: no thread goes on with its second file before.
            let progress = |_, _| once.call_once(|| drop(git(&case.folder, work)));
            let frozen = match what {
                What::Folder => freeze(&case.home, &case.folder, &progress).unwrap(),
                What::Git => freeze_git(&case.home, &dir, u64::MAX, &progress).unwrap(),
            };
            assert_eq!(whole(&frozen), git(&case.folder, SAYS), "{work}, {what:?}");
            assert_eq!(frozen.left_out, [], "{work}, {what:?}");
        }
    }
}

#[test]
fn a_repository_that_never_rests_is_taken_and_told() {
    let case = case();
    git(&case.folder, "git init -qb main; echo a > a; git add .; git commit -qm a");
    let busy = AtomicU64::new(1);
    let progress = |_, _| {
        let n = busy.fetch_add(1, Ordering::Relaxed);
        fs::write(case.folder.join(format!(".git/refs/heads/b{n}")), format!("{n}\n")).unwrap();
    };
    let frozen = freeze(&case.home, &case.folder, &progress).unwrap();
    let told: Vec<String> = frozen.left_out.iter().map(|left| left.path.to_string()).collect();
    assert_eq!(told, [".git/refs/heads"]);
    assert_eq!(case.freeze().left_out, []);
}
