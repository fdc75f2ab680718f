//! A person's repositories of every kind, with what must stay as it was, and programs planted wherever git would start one.

use super::*;
use crate::git::commit::{File, Mode};
use crate::testing;
use std::fs;
use std::os::unix::fs::PermissionsExt;

mod bring;
mod bundle;
mod persons;

pub(crate) struct Case {
    temp: tempfile::TempDir,
    pub folder: PathBuf,
}

impl Case {
    /// A folder in which `script` was run; what git needs of a person is there.
    pub fn made(script: &str) -> Case {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("folder");
        fs::create_dir(&folder).unwrap();
        let case = Case { temp, folder };
        case.sh("git init -q -b main . && git config user.name Ada && git config user.email ada@example.org");
        case.sh(script);
        case
    }

    fn sh(&self, script: &str) -> String {
        self.sh_in(&self.folder, script)
    }

    fn sh_in(&self, dir: &Path, script: &str) -> String {
        testing::sh(self.temp.path(), dir, script)
    }

    fn commit(
        &self,
        folder: &Path,
        files: &[(&str, File)],
        branch: Option<&str>,
    ) -> Result<Commit, GitError> {
        let wanted = |(path, now): &(&str, File)| {
            let was = fs::read(folder.join(path)).ok();
            Wanted {
                path: RelPath::new(path.as_bytes()).unwrap(),
                now: now.clone(),
                was: was.clone(),
                own: was,
            }
        };
        let files: Vec<Wanted> = files.iter().map(wanted).collect();
        let repo = Repo::around(folder)?;
        let to = branch.map_or(To::Head, To::Branch);
        repo.may_commit(to)?;
        for Wanted { path, now: file, .. } in &files {
            let at = folder.join(OsStr::from_bytes(path.as_bytes()));
            match file {
                Some((_, content)) if branch.is_none() => {
                    fs::create_dir_all(at.parent().unwrap()).unwrap();
                    fs::write(&at, content).unwrap();
                    let mode = if matches!(file, Some((Mode::Program, _))) { 0o755 } else { 0o644 };
                    fs::set_permissions(at, fs::Permissions::from_mode(mode)).unwrap();
                }
                None if branch.is_none() => fs::remove_file(at).unwrap(),
                _ => {}
            }
        }
        repo.commit(&files, "Change it\n\nBecause.\n", to, &self.temp.path().join("scratch"))
    }
}

fn file(content: &str) -> File {
    Some((Mode::Plain, content.as_bytes().to_vec()))
}

const BEGUN: &str = "echo a > a.txt; echo b > b.txt; echo gone > gone.txt; git add .; git commit -qm first";

#[test]
fn what_is_committed_is_what_was_accepted_and_nothing_of_the_persons_moves() {
    // Staged, not staged, stashed: each of the person's.
    let case = Case::made(&format!(
        "{BEGUN}; echo stash >> b.txt; git stash -q; echo staged > staged.txt; git add staged.txt; echo more >> b.txt; git branch other"
    ));
    let kept = |case: &Case| {
        case.sh("git stash list; git rev-parse other; git diff --cached --name-status; cat b.txt; git reflog show stash")
    };
    let (before, first) = (kept(&case), case.sh("git rev-parse HEAD"));
    let files = [
        ("a.txt", file("A\n")),
        ("deep/new.sh", Some((Mode::Program, b"new\n".to_vec()))),
        ("gone.txt", None),
    ];
    let made = case.commit(&case.folder, &files, None).unwrap().made.unwrap();
    assert_eq!(made.branch, "main");
    assert_eq!(
        case.sh("git show --format='%an: %s' --name-status HEAD"),
        "Ada: Change it\n\nM\ta.txt\nA\tdeep/new.sh\nD\tgone.txt"
    );
    assert_eq!(case.sh("git ls-tree HEAD deep/new.sh | cut -c1-6"), "100755");
    assert_eq!(kept(&case), before);
    assert_eq!(case.sh("git status --porcelain"), " M b.txt\nA  staged.txt");
    // Again: HEAD has all of it.
    let again = [("a.txt", file("A\n"))];
    let there = Commit { is_there: true, ..Commit::default() };
    assert_eq!(case.commit(&case.folder, &again, None).unwrap(), there);
    // Taken back, while it is the last; not once another is on top.
    let repo = Repo::around(&case.folder).unwrap();
    assert_eq!(repo.take_back(&made.commit, &[]).unwrap(), Left::Nothing);
    assert_eq!(case.sh("git rev-parse HEAD"), first);
    assert_eq!(kept(&case), before);
    assert_eq!(repo.take_back(&made.commit, &[]).unwrap(), Left::Nowhere);
    let on_top = case.commit(&case.folder, &[("a.txt", file("A2\n"))], None).unwrap().made.unwrap();
    case.sh("git commit -qm on-top");
    assert_eq!(repo.take_back(&on_top.commit, &[]).unwrap(), Left::Below);
}

#[test]
fn every_kind_of_repository_takes_a_commit_or_says_why_not() {
    type Row<'a> = (&'a str, String, &'a str, &'a str, Result<&'a str, &'a str>);
    let sub = "git init -q ../sub && (cd ../sub && echo s > s.txt && git add . && git -c user.name=x -c user.email=x@x commit -qm s) && git -c protocol.file.allow=always submodule -q add ../sub sub && git commit -qm sub";
    // name, script, folder, path to commit, its content in the commit or why not
    let rows: Vec<Row> = vec![
        ("no commit yet", String::new(), ".", "a.txt", Ok("A\n")),
        ("a subfolder", format!("mkdir s; {BEGUN}"), "s", "a.txt", Ok("A\n")),
        (
            "a worktree",
            format!("{BEGUN}; git worktree add -q ../tree -b side"),
            "../tree",
            "a.txt",
            Ok("A\n"),
        ),
        ("detached", format!("{BEGUN}; git checkout -q --detach"), ".", "a.txt", Ok("A\n")),
        (
            "a sparse checkout",
            format!("mkdir in out; echo i > in/i; echo o > out/o; {BEGUN}; git sparse-checkout set in"),
            ".",
            "in/i",
            Ok("A\n"),
        ),
        ("ends of lines", format!("echo '*.txt text' > .gitattributes; {BEGUN}"), ".", "a.txt", Ok("A\n")),
        ("beside a submodule", format!("{BEGUN}; {sub}"), ".", "a.txt", Ok("A\n")),
        (
            "a merge",
            format!("{BEGUN}; git rev-parse HEAD > .git/MERGE_HEAD"),
            ".",
            "a.txt",
            Err("a merge is under way"),
        ),
        ("nobody", format!("{BEGUN}; git config user.name ''"), ".", "a.txt", Err("who you are")),
        ("no repository", "rm -rf .git".to_owned(), ".", "a.txt", Err("no git repository")),
    ];
    for (name, script, folder, path, expected) in rows {
        let case = Case::made(&script);
        let folder = case.folder.join(folder);
        let content = if name == "ends of lines" { "A\r\n" } else { "A\n" };
        let made = case.commit(&folder, &[(path, file(content))], None);
        match expected {
            Ok(expected) => {
                let made = made.unwrap_or_else(|error| panic!("{name}: {error}")).made.unwrap();
                let shown = case.sh_in(&folder, &format!("git cat-file -p {}:./{path}", made.commit));
                assert_eq!(format!("{shown}\n"), expected, "{name}");
                assert_eq!(case.sh_in(&folder, "git status --porcelain -- ."), "", "{name}");
                if name == "a sparse checkout" {
                    assert_eq!(
                        case.sh("git cat-file -p HEAD:out/o"),
                        "o",
                        "{name}: what is not checked out stays"
                    );
                }
                let repo = Repo::around(&folder).unwrap();
                assert_eq!(repo.take_back(&made.commit, &[]).unwrap(), Left::Nothing, "{name}");
            }
            Err(expected) => {
                let error = made.expect_err(name).to_string();
                assert!(error.contains(expected), "{name}: {error}");
            }
        }
    }
    let case = Case::made(BEGUN);
    let before = case.sh("git status --porcelain; git rev-parse HEAD main; cat a.txt");
    let side = case.commit(&case.folder, &[("a.txt", file("B\n"))], Some("side")).unwrap().made.unwrap();
    assert_eq!(case.sh("git rev-parse side"), side.commit);
    assert_eq!(case.sh("git status --porcelain; git rev-parse HEAD main; cat a.txt"), before);
    for (name, why) in [("side", "already"), ("-x", "name"), ("a..b", "name")] {
        let error = case.commit(&case.folder, &[("a.txt", file("C\n"))], Some(name)).unwrap_err().to_string();
        assert!(error.contains(why), "{name}: {error}");
    }
}

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:12f37a8a84034d3e623d726fe10e5031f4df997ac13f4d5571b5a90c41fb84fe\nsize 2\n";

/// What of several files is committed: the rest is left out by name, and says why.
#[test]
fn what_cannot_be_committed_is_left_out_alone() {
    let sub = "git init -q ../sub && (cd ../sub && echo s > s.txt && git add . && git -c user.name=x -c user.email=x@x commit -qm s) && git -c protocol.file.allow=always submodule -q add ../sub sub && git commit -qm sub";
    let without = format!("echo '*.bin filter=lfs diff=lfs -text' > .gitattributes; {BEGUN}");
    let lfs = format!("{without}; git config filter.lfs.clean 'touch ran; cat'");
    let other = format!("echo '*.bin filter=x' > .gitattributes; {BEGUN}");
    // name, script, path beside a.txt, its content, what the commit has of it or why not
    type Row<'a> = (&'a str, String, &'a str, &'a str, Result<&'a str, Outside>);
    let rows: Vec<Row> = vec![
        ("ignored", format!("echo '*.log' > .gitignore; {BEGUN}"), "x.log", "l", Err(Outside::Ignored)),
        (
            "in a submodule",
            format!("{BEGUN}; {sub}"),
            "sub/s.txt",
            "S",
            Err(Outside::Submodule("sub".into())),
        ),
        ("LFS", lfs.clone(), "deep/x.bin", "C\n", Ok(POINTER)),
        ("LFS, a pointer already", lfs.clone(), "x.bin", POINTER, Ok(POINTER)),
        (
            "LFS, ends of lines",
            lfs.clone(),
            "x.bin",
            "C\r\n",
            Ok(
                "version https://git-lfs.github.com/spec/v1\noid sha256:f75932f229e0053bba95001b349211efe87dee071dbe2098a87550f9278a4c03\nsize 3\n",
            ),
        ),
        ("LFS, empty", lfs.clone(), "x.bin", "", Ok("")),
        ("LFS that is not set up", without, "x.bin", "C\n", Err(Outside::Filter("lfs".into()))),
        (
            "LFS with its objects elsewhere",
            format!("{lfs}; git config lfs.storage ../elsewhere"),
            "x.bin",
            "C\n",
            Err(Outside::Filter("lfs".into())),
        ),
        (
            "LFS with an extension",
            format!("{lfs}; git config lfs.extension.x.clean true"),
            "x.bin",
            "C\n",
            Err(Outside::Filter("lfs".into())),
        ),
        (
            "a filter",
            format!("{other}; git config filter.x.clean 'touch ran; cat'"),
            "x.bin",
            "C\n",
            Err(Outside::Filter("x".into())),
        ),
        ("a filter that is not there", other, "x.bin", "C\n", Ok("C\n")),
    ];
    for (name, script, path, content, expected) in rows {
        let case = Case::made(&script);
        let done = case.commit(&case.folder, &[("a.txt", file("A\n")), (path, file(content))], None);
        let done = done.unwrap_or_else(|error| panic!("{name}: {error}"));
        let commit = done.made.unwrap().commit;
        assert_eq!(case.sh(&format!("git cat-file -p {commit}:a.txt")), "A", "{name}");
        match expected {
            Ok(expected) => {
                let shown = case.sh(&format!("git cat-file -p {commit}:{path}"));
                assert_eq!(shown, expected.trim_end(), "{name}");
                assert_eq!(done.outside, [], "{name}");
            }
            Err(why) => {
                assert_eq!(done.outside, [(RelPath::new(path.as_bytes()).unwrap(), why)], "{name}");
                let names = case.sh(&format!("git diff-tree -r --root --no-commit-id --name-only {commit}"));
                assert_eq!(names, "a.txt", "{name}");
            }
        }
        if name == "LFS" {
            let oid = "12f37a8a84034d3e623d726fe10e5031f4df997ac13f4d5571b5a90c41fb84fe";
            assert_eq!(case.sh(&format!("cat .git/lfs/objects/12/f3/{oid}")), "C", "{name}");
        }
        assert!(!case.folder.join("ran").exists(), "{name}: nothing was run");
    }
}

/// A commit whose maker died before it was told: known again by its message, and only while it is the last.
#[test]
fn a_commit_that_was_made_and_not_told_is_known_again() {
    let case = Case::made(BEGUN);
    let repo = Repo::around(&case.folder).unwrap();
    let message = "Change it\n\nBecause.\n";
    let parent = case.sh("git rev-parse HEAD");
    let parent = Some(parent.as_str());
    assert_eq!(repo.made_last(&[], message, parent).unwrap(), None);
    let made = case.commit(&case.folder, &[("a.txt", file("A\n"))], None).unwrap().made.unwrap();
    // It died before the index followed, in which the person had something else of theirs.
    case.sh("git update-index --cacheinfo 100644,$(git rev-parse HEAD^:a.txt),a.txt; echo s > s.txt; git add s.txt");
    for elsewhere in [None, Some(made.commit.as_str())] {
        assert_eq!(
            repo.made_last(&[], message, elsewhere).unwrap(),
            None,
            "it came on top of something else"
        );
    }
    assert_eq!(repo.made_last(&[], message, parent).unwrap().and_then(|done| done.made), Some(made));
    assert_eq!(case.sh("git status --porcelain"), "A  s.txt");
    case.sh("git commit -qm mine");
    assert_eq!(repo.made_last(&[], message, parent).unwrap(), None);
}

#[test]
fn nothing_is_committed_while_the_index_cannot_follow() {
    let case = Case::made(&format!("{BEGUN}; touch .git/index.lock"));
    let before = case.sh("git rev-parse HEAD");
    let error = case.commit(&case.folder, &[("a.txt", file("A\n"))], None).unwrap_err().to_string();
    assert!(error.contains("index locked"), "{error}");
    assert_eq!(case.sh("git rev-parse HEAD"), before);
    // A branch of its own has nothing to do with it.
    case.commit(&case.folder, &[("a.txt", file("A\n"))], Some("side")).unwrap().made.unwrap();
    case.sh("rm .git/index.lock");
    case.commit(&case.folder, &[("a.txt", file("A\n"))], None).unwrap().made.unwrap();
    assert_eq!(case.sh("git status --porcelain"), "");
}

#[test]
fn head_and_index_move_together_or_not_at_all() {
    let case = Case::made(BEGUN);
    let made = case.commit(&case.folder, &[("a.txt", file("A\n"))], None).unwrap().made.unwrap();
    let repo = Repo::around(&case.folder).unwrap();
    let lock = case.folder.join(".git/index.lock");
    let state = || case.sh("git rev-parse HEAD; git ls-files -s; ls .git");
    let moves = |held: &[u8]| {
        fs::write(&lock, held).unwrap();
        let before = state();
        let error = repo.take_back(&made.commit, &[]).unwrap_err().to_string();
        assert!(error.contains("index locked"), "{error}");
        assert_eq!(state(), before);
    };
    moves(b"");
    moves(b"DIRC");
    // A quire that lives.
    fs::write(&lock, HELD).unwrap();
    let other = fs::File::open(&lock).unwrap();
    rustix::fs::flock(&other, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let before = state();
    assert!(matches!(repo.take_back(&made.commit, &[]), Err(GitError::IndexLocked(_))));
    assert_eq!(state(), before);
    // HEAD cannot be moved.
    drop(other);
    fs::write(case.folder.join(".git/refs/heads/main.lock"), "").unwrap();
    fs::remove_file(&lock).unwrap();
    let before = state();
    assert!(matches!(repo.take_back(&made.commit, &[]), Err(GitError::Failed { .. })));
    assert_eq!(state(), before);
    fs::remove_file(case.folder.join(".git/refs/heads/main.lock")).unwrap();
    // It died.
    fs::write(&lock, HELD).unwrap();
    assert_eq!(repo.take_back(&made.commit, &[]).unwrap(), Left::Nothing);
    case.sh("git checkout -q a.txt; test ! -e .git/index.lock; test ! -e .git/index.quire");
    assert_eq!(case.sh("git status --porcelain"), "");
}

#[test]
fn one_has_the_lock_on_the_index_at_a_time() {
    let case = Case::made(BEGUN);
    let path = case.folder.join(".git/index.lock");
    let lock = index::IndexLock::take(&case.folder.join(".git")).unwrap();
    assert_eq!(fs::read(&path).unwrap(), HELD);
    assert!(matches!(index::IndexLock::take(&case.folder.join(".git")), Err(GitError::IndexLocked(_))));
    drop(lock);
    assert!(!path.exists());
}

/// Somebody took quire's lock away, and another program has it now.
#[test]
fn a_lock_that_is_no_longer_ours_is_left_and_nothing_is_moved() {
    let case = Case::made(BEGUN);
    let made = case.commit(&case.folder, &[("a.txt", file("A\n"))], None).unwrap().made.unwrap();
    let repo = Repo::around(&case.folder).unwrap();
    let path = case.folder.join(".git/index.lock");
    let lock = repo.lock_index().unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "DIRC").unwrap();
    let head = ["update-ref", "HEAD", "HEAD^"];
    let after = [(b"a.txt".to_vec(), None)].into();
    let noted = repo.noted(&[]).unwrap();
    let before = index::Before { noted: &noted, was: Default::default() };
    let moved = repo.follow(&lock, &before, &after, Some(&head));
    assert!(matches!(moved, Err(GitError::LockLost(_))), "{moved:?}");
    drop(lock);
    assert_eq!(fs::read(&path).unwrap(), b"DIRC");
    fs::remove_file(&path).unwrap();
    assert_eq!(case.sh("git rev-parse HEAD; git status --porcelain"), made.commit);
}

/// git looks into a file that was changed in the very moment in which the index was written; of a copy that moment must be the same.
#[test]
fn what_changed_in_the_moment_of_the_index_is_still_seen() {
    let racy = "git config core.trustctime false; echo x > x; touch -d @1000000000 x; git add x; echo y > x; touch -d @1000000000 x .git/index";
    let case = Case::made(&format!("{BEGUN}; {racy}"));
    case.commit(&case.folder, &[("a.txt", file("A\n"))], None).unwrap().made.unwrap();
    assert_eq!(case.sh("git status --porcelain"), "AM x");
}

/// Wherever git would start a program because a repository says so, there is one that leaves a mark.
#[test]
fn nothing_that_a_repository_names_is_run() {
    let case = Case::made(BEGUN);
    let mark = case.temp.path().join("ran");
    let trap = case.temp.path().join("trap");
    fs::write(&trap, format!("#!/bin/sh\necho \"$0 $@\" >> {}\ncat\nexit 0\n", mark.display())).unwrap();
    fs::set_permissions(&trap, fs::Permissions::from_mode(0o755)).unwrap();
    let trap = trap.display();
    for hook in [
        "reference-transaction",
        "pre-commit",
        "commit-msg",
        "post-commit",
        "post-index-change",
        "post-rewrite",
        "pre-auto-gc",
        "post-checkout",
    ] {
        case.sh(&format!("cp {trap} .git/hooks/{hook}"));
    }
    for (name, value) in [
        ("core.fsmonitor", ""),
        ("core.sshCommand", ""),
        ("core.pager", ""),
        ("core.editor", ""),
        ("gpg.program", ""),
        ("gpg.ssh.program", ""),
        ("diff.external", ""),
        ("diff.t.textconv", ""),
        ("filter.t.clean", ""),
        ("filter.t.smudge", ""),
        ("filter.t.process", ""),
        ("merge.t.driver", ""),
        ("uploadpack.packObjectsHook", ""),
        ("core.alternateRefsCommand", ""),
        ("credential.helper", "!"),
    ] {
        case.sh(&format!("git config {name} '{value}{trap}'"));
    }
    case.sh("git config commit.gpgSign true; git config core.hooksPath .git/hooks; git config submodule.recurse true");
    case.sh("echo '*.txt diff=t merge=t' > .gitattributes");
    fs::remove_file(&mark).ok();
    let made =
        case.commit(&case.folder, &[("a.txt", file("A\n")), ("gone.txt", None)], None).unwrap().made.unwrap();
    case.commit(&case.folder, &[("b.txt", file("B\n"))], Some("side")).unwrap().made.unwrap();
    assert_eq!(Repo::around(&case.folder).unwrap().take_back(&made.commit, &[]).unwrap(), Left::Nothing);
    assert!(!mark.exists(), "{}", fs::read_to_string(&mark).unwrap_or_default());
}
