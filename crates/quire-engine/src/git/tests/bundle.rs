//! A commit as a file: what git takes from it elsewhere, and that nothing of the person's is otherwise.

use super::*;
use crate::testing::tree_of;

/// Writes the bundle of a new `a.txt`, as of task 3.
fn bundled(case: &Case, folder: &Path, files: &[(&str, File)], to: &Path) -> Result<Commit, GitError> {
    let wanted = |(path, now): &(&str, File)| {
        let was = fs::read(folder.join(path)).ok();
        Wanted { path: RelPath::new(*path).unwrap(), now: now.clone(), was: was.clone(), own: was }
    };
    let files: Vec<Wanted> = files.iter().map(wanted).collect();
    let scratch = case.temp.path().join("scratch");
    let to = To::Bundle { file: to, name: "quire-3" };
    let repo = Repo::around(folder)?;
    repo.may_commit(to)?;
    repo.apart(&scratch)?.commit(&files, "Change it\n", to, &scratch)
}

#[test]
fn a_bundle_is_fetched_elsewhere_and_leaves_the_repository_as_it_is() {
    let other = "rm -rf .git; mv ../other/.git .";
    // What the person has, and the folder in it.
    let rows: &[(&str, String, &str)] = &[
        ("plain", BEGUN.to_owned(), "."),
        ("ends of lines", format!("echo '*.txt text' > .gitattributes; {BEGUN}"), "."),
        ("packed", format!("{BEGUN}; git gc -q"), "."),
        ("a subfolder", format!("mkdir s; echo a > s/a.txt; {BEGUN}"), "s"),
        ("a worktree", format!("{BEGUN}; git worktree add -q ../tree -b side"), "../tree"),
        ("detached", format!("{BEGUN}; git checkout -q --detach"), "."),
        ("a merge under way", format!("{BEGUN}; git rev-parse HEAD > .git/MERGE_HEAD"), "."),
        (
            "named by SHA-256",
            format!("rm -rf .git; git init -q --object-format=sha256 -b main; {BEGUN}"),
            ".",
        ),
        (
            "cut short",
            format!(
                "{BEGUN}; git commit -q --allow-empty -m two; git clone -q --depth 1 file://$PWD ../other; {other}"
            ),
            ".",
        ),
        (
            "without the old contents",
            format!(
                "{BEGUN}; echo A > a.txt; git commit -qam two; git config uploadpack.allowFilter true; \
                 git clone -q --filter=blob:none file://$PWD ../other; {other}"
            ),
            ".",
        ),
        (
            "with its objects elsewhere",
            format!("{BEGUN}; cp -a . ../origin; git clone -q -s ../origin ../other; {other}"),
            ".",
        ),
    ];
    for (name, script, folder) in rows {
        let case = Case::made(script);
        let folder = case.folder.join(folder);
        case.sh("cp -a . ../clone");
        case.sh_in(&folder, "echo staged > s.txt; git add s.txt; git status -s");
        let before = tree_of(&case.folder);
        let to = case.temp.path().join("3.bundle");
        let content = if *name == "ends of lines" { "A\r\n" } else { "AGENT\n" };
        let files = [("a.txt", file(content)), ("deep/new.txt", file("new\n"))];
        let done = bundled(&case, &folder, &files, &to).unwrap_or_else(|error| panic!("{name}: {error}"));
        let commit = done.made.unwrap_or_else(|| panic!("{name}")).commit;
        assert_eq!(tree_of(&case.folder), before, "{name}");
        let clone = case.temp.path().join("clone");
        case.sh_in(&clone, "git bundle verify -q ../3.bundle; git fetch -q ../3.bundle quire-3; git fsck");
        let fetched =
            case.sh_in(&clone, "git rev-parse FETCH_HEAD FETCH_HEAD^; git log -1 --format=%s FETCH_HEAD");
        let head = case.sh_in(&folder, "git rev-parse HEAD");
        assert_eq!(fetched, format!("{commit}\n{head}\nChange it"), "{name}");
        assert_eq!(
            case.sh("git bundle list-heads ../3.bundle"),
            format!("{commit} refs/heads/quire-3"),
            "{name}"
        );
        let names = case.sh_in(&clone, "git diff-tree -r --no-commit-id --name-only FETCH_HEAD");
        assert!(
            names.ends_with("a.txt\ndeep/new.txt") || names.ends_with("s/a.txt\ns/deep/new.txt"),
            "{name}: {names}"
        );
        // What is there is not written over, and nothing lies beside it.
        let kept = fs::read(&to).unwrap();
        let error = bundled(&case, &folder, &[("a.txt", file("B\n"))], &to).unwrap_err();
        assert!(matches!(error, GitError::FileIsThere(_)), "{name}: {error}");
        assert_eq!(fs::read(&to).unwrap(), kept, "{name}");
        assert_eq!(case.sh("ls -A .. | grep bundle"), "3.bundle", "{name}");
    }
}

#[test]
fn a_bundle_without_a_commit_before_it_is_whole() {
    let case = Case::made("true");
    let to = case.temp.path().join("3.bundle");
    bundled(&case, &case.folder, &[("a.txt", file("a\n"))], &to).unwrap().made.unwrap();
    case.sh("git clone -q -b quire-3 ../3.bundle ../clone");
    assert_eq!(case.sh("cat ../clone/a.txt; git for-each-ref"), "a");
}

#[test]
fn no_bundle_is_written_where_there_is_nothing_to_bundle_or_no_place() {
    let lfs = "echo '*.bin filter=lfs' > .gitattributes; git config filter.lfs.clean cat";
    let case = Case::made(&format!("{lfs}; {BEGUN}"));
    let to = case.temp.path().join("3.bundle");
    let there = bundled(&case, &case.folder, &[("a.txt", file("a\n"))], &to).unwrap();
    assert_eq!(there, Commit { is_there: true, ..Commit::default() });
    // What LFS keeps beside the repository would not come along.
    let left = bundled(&case, &case.folder, &[("x.bin", file("x\n"))], &to).unwrap();
    assert_eq!((left.made, left.outside[0].1.clone()), (None, Outside::Filter("lfs".into())));
    assert!(!to.exists() && !case.folder.join(".git/lfs").exists());
    for no_place in ["none/3.bundle", "folder/a.txt/3.bundle"] {
        let error = bundled(&case, &case.folder, &[("a.txt", file("A\n"))], &case.temp.path().join(no_place));
        assert!(matches!(error, Err(GitError::Unwritten { .. })), "{error:?}");
    }
}
