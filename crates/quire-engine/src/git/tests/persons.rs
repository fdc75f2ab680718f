//! What a person staged, marked, encoded or named stays theirs, beside a commit and after it was taken back.

use super::*;

const LINES: &str = "seq 20 > a.txt; git add .; git commit -qm first";

fn lines(changes: &[(usize, &str)]) -> String {
    let line = |n: usize| {
        changes.iter().find(|(at, _)| *at == n).map_or(n.to_string(), |(_, now)| (*now).to_owned())
    };
    (1..=20).map(|n| line(n) + "\n").collect()
}

/// Commits what an agent made of a file that the folder has as it is.
fn accepted(case: &Case, path: &str, content: &str) -> Commit {
    case.commit(&case.folder, &[(path, file(content))], None).unwrap()
}

fn names(paths: &[RelPath]) -> Vec<String> {
    paths.iter().map(RelPath::to_string).collect()
}

#[test]
fn what_is_staged_of_a_committed_file_is_in_the_next_commit_with_it() {
    let (mine, both) = (lines(&[(2, "MINE")]), lines(&[(2, "MINE"), (15, "AGENT")]));
    let part = lines(&[(2, "MINE"), (8, "LATER")]);
    let all = lines(&[(2, "MINE"), (8, "LATER"), (15, "AGENT")]);
    let agents_alone = lines(&[(15, "AGENT")]);
    // How it came, what the agent made of it, what the index has of it then, and which files hold edits of the person's.
    let staged = format!("printf '%s' '{mine}' > a.txt; git add a.txt");
    type Row<'a> = (&'a str, String, &'a str, Option<&'a str>, &'a [&'a str]);
    let rows: Vec<Row> = vec![
        ("staged", staged.clone(), &both, Some(&both), &["a.txt"]),
        // As with `git add -p`.
        ("staged in part", format!("{staged}; printf '%s' '{part}' > a.txt"), &all, Some(&all), &["a.txt"]),
        ("not staged", format!("printf '%s' '{mine}' > a.txt"), &both, Some(&both), &["a.txt"]),
        ("as committed", "true".into(), &both, Some(&both), &[]),
        ("staged and taken away again", format!("{staged}; seq 20 > a.txt"), &agents_alone, Some(&both), &[]),
        (
            "at one place",
            format!("printf '%s' '{}' > a.txt; git add a.txt; seq 20 > a.txt", lines(&[(15, "MINE")])),
            &both,
            None,
            &[],
        ),
    ];
    for (name, script, agents, index, with) in rows {
        let case = Case::made(&format!("{LINES}; {script}"));
        let before = case.sh("git rev-parse HEAD; git ls-files -s");
        let done = accepted(&case, "a.txt", agents);
        let commit = done.made.unwrap().commit;
        assert_eq!(names(&done.with), with, "{name}");
        match index {
            Some(index) => {
                assert_eq!(case.sh("git show :a.txt") + "\n", index, "{name}");
                assert_eq!(done.stays, [], "{name}");
                case.sh("echo x > x; git add x; git commit -qm next");
                assert_eq!(case.sh("git show HEAD:a.txt") + "\n", index, "{name}: nothing is lost");
                case.sh("git reset -q --soft HEAD^; git rm -qf --cached x; rm x");
            }
            None => assert_eq!(names(&done.stays), ["a.txt"], "{name}"),
        }
        let repo = Repo::around(&case.folder).unwrap();
        assert_eq!(repo.take_back(&commit, &done.staged).unwrap(), Left::Nothing, "{name}");
        assert_eq!(case.sh("git rev-parse HEAD; git ls-files -s"), before, "{name}: as it was staged");
    }
}

#[test]
fn what_is_staged_as_new_or_as_deleted_is_neither_lost_nor_undone() {
    // A new file that is staged, or only noted, and that the agent changed.
    for noted in ["", "-N"] {
        let case = Case::made(&format!("{LINES}; seq 20 > n.txt; git add {noted} n.txt"));
        let done = accepted(&case, "n.txt", &lines(&[(15, "AGENT")]));
        assert_eq!((names(&done.with), done.stays.len()), (vec!["n.txt".to_owned()], 0), "{noted}");
        assert_eq!(case.sh("git status --porcelain"), "", "{noted}");
    }
    // A deletion that is staged stays so, when the agent deletes it too and when that is undone.
    let case = Case::made(&format!(
        "{LINES}; echo d > d.txt; git add .; git commit -qm d; git rm -q --cached d.txt"
    ));
    let done = case.commit(&case.folder, &[("d.txt", None)], None).unwrap();
    assert_eq!(case.sh("git status --porcelain"), "");
    case.sh("echo d > d.txt");
    let repo = Repo::around(&case.folder).unwrap();
    assert_eq!(repo.take_back(&done.made.unwrap().commit, &done.staged).unwrap(), Left::Nothing);
    assert_eq!(case.sh("git status --porcelain"), "D  d.txt\n?? d.txt");
    // Where the agent changed it, both cannot be.
    let done = accepted(&case, "d.txt", "D\n");
    assert_eq!(names(&done.stays), ["d.txt"]);
    // What is in conflict is left alone.
    let case = Case::made(&format!(
        "{LINES}; echo s > a.txt; git stash -q; echo t > a.txt; git commit -qam t; git stash pop -q || true"
    ));
    let before = case.sh("git ls-files -s");
    assert_eq!(names(&accepted(&case, "a.txt", "both\n").stays), ["a.txt"]);
    assert_eq!(case.sh("git ls-files -s"), before);
}

#[test]
fn what_git_was_told_of_a_file_is_kept() {
    for (mark, tag) in [("--skip-worktree", "S"), ("--assume-unchanged", "h")] {
        let case = Case::made(&format!("{BEGUN}; git update-index {mark} a.txt b.txt; echo LOCAL >> b.txt"));
        let files = [("a.txt", file("A\n")), ("b.txt", file("B\nLOCAL\n"))];
        let done = case.commit(&case.folder, &files, None).unwrap();
        let commit = done.made.unwrap().commit;
        assert_eq!(done.outside, [(RelPath::new("b.txt").unwrap(), Outside::Overlooked)], "{mark}");
        assert_eq!(case.sh("git show HEAD:a.txt; git show HEAD:b.txt"), "A\nb");
        let tags = format!("{tag} a.txt\n{tag} b.txt\nH gone.txt");
        assert_eq!(case.sh("git ls-files -v"), tags, "{mark}");
        assert_eq!(Repo::around(&case.folder).unwrap().take_back(&commit, &[]).unwrap(), Left::Nothing);
        assert_eq!(case.sh("git ls-files -v"), tags, "{mark}");
    }
    // A file that a sparse checkout leaves out, made by the agent, seen by git meanwhile, and undone.
    let case = Case::made(&format!(
        "mkdir in out; echo i > in/i; echo o > out/o; {BEGUN}; git sparse-checkout set in"
    ));
    let done = accepted(&case, "out/o", "O\n");
    assert_eq!(case.sh("git status --porcelain; git update-index --refresh; git show HEAD:out/o"), "O");
    case.sh("rm -r out");
    assert_eq!(
        Repo::around(&case.folder).unwrap().take_back(&done.made.unwrap().commit, &[]).unwrap(),
        Left::Nothing
    );
    assert_eq!(case.sh("git status --porcelain"), "");
}

#[test]
fn a_sparse_index_takes_commits_and_branches() {
    let case = Case::made(&format!(
        "mkdir in out; echo i > in/i; echo o > out/o; {BEGUN}; git sparse-checkout set --cone --sparse-index in"
    ));
    let made = accepted(&case, "in/i", "I\n").made.unwrap();
    assert_eq!(case.sh("git status --porcelain; git show HEAD:in/i HEAD:out/o"), "I\no");
    case.commit(&case.folder, &[("in/i", file("J\n"))], Some("side")).unwrap().made.unwrap();
    assert_eq!(Repo::around(&case.folder).unwrap().take_back(&made.commit, &[]).unwrap(), Left::Nothing);
    case.sh("echo i > in/i");
    assert_eq!(case.sh("git status --porcelain"), "");
}

#[test]
fn a_file_is_committed_as_its_attributes_say() {
    let bytes = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let case = Case::made(&format!(
        "printf '*.u16 working-tree-encoding=UTF-16LE text\\n*.id ident\\n' > .gitattributes; printf 'one\\n' | iconv -t UTF-16LE > n.u16; echo '$Id$' > v.id; {BEGUN}"
    ));
    let files = [
        ("n.u16", Some((Mode::Plain, bytes("two\n")))),
        ("m.u16", Some((Mode::Plain, b"odd".to_vec()))),
        ("v.id", file("$Id: 0123456789 $\nmore\n")),
    ];
    let done = case.commit(&case.folder, &files, None).unwrap();
    assert_eq!(done.outside, [(RelPath::new("m.u16").unwrap(), Outside::Unreadable)]);
    assert_eq!(done.with, []);
    assert_eq!(case.sh("git show HEAD:n.u16; git show HEAD:v.id"), "two\n$Id$\nmore");
    assert_eq!(case.sh("git status --porcelain"), "?? m.u16");
}

#[test]
fn a_branch_has_a_name_that_git_has_room_for() {
    let case = Case::made(&format!("{BEGUN}; git branch b1; git branch deep/b2"));
    for (name, expected) in [
        ("HEAD", "cannot be a branch's name"),
        ("@", "cannot be a branch's name"),
        ("b1/sub", "a branch `b1` already"),
        ("deep", "a branch `deep/b2` already"),
    ] {
        let error = case.commit(&case.folder, &[("a.txt", file("A\n"))], Some(name)).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
    assert_eq!(
        case.sh("git for-each-ref --format='%(refname)'"),
        "refs/heads/b1\nrefs/heads/deep/b2\nrefs/heads/main"
    );
}

#[test]
fn a_commit_that_is_not_the_last_is_said_to_be_where_it_is() {
    let case = Case::made(BEGUN);
    let commit = accepted(&case, "a.txt", "A\n").made.unwrap().commit;
    let repo = Repo::around(&case.folder).unwrap();
    for (script, expected) in [
        ("git commit -q --allow-empty -m later", Left::Below),
        ("git checkout -qb other HEAD~2", Left::On("main".to_owned())),
        ("git branch -f main HEAD", Left::Nowhere),
    ] {
        case.sh(script);
        assert_eq!(repo.take_back(&commit, &[]).unwrap(), expected, "{script}");
    }
}

#[test]
fn that_a_commit_is_not_signed_is_known() {
    for (setting, is_unsigned) in [("true", true), ("false", false)] {
        let case = Case::made(&format!("{BEGUN}; git config commit.gpgsign {setting}"));
        assert_eq!(accepted(&case, "a.txt", "A\n").is_unsigned, is_unsigned, "{setting}");
    }
    let case = Case::made(BEGUN);
    assert!(!accepted(&case, "a.txt", "A\n").is_unsigned);
}
