//! The index is read as git itself writes it in each of its versions, and nothing is believed of one that is damaged.

use super::*;
use std::process::Command;

fn git(dir: &Path, arguments: &str) {
    let mut git = Command::new("git");
    git.current_dir(dir)
        .args(arguments.split(' '))
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null");
    let done = git.output().unwrap();
    assert!(done.status.success(), "{arguments}: {}", String::from_utf8_lossy(&done.stderr));
}

fn kept(folder: &Path, paths: &[&str]) -> Vec<String> {
    let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
    among(folder, &paths).iter().map(ToString::to_string).collect()
}

/// As git itself writes it in each of its versions, with names of every length.
#[test]
fn what_git_keeps_is_known() {
    for (hash, version) in [("sha1", 2), ("sha1", 3), ("sha1", 4), ("sha256", 2), ("sha256", 4)] {
        let dir = tempfile::tempdir().unwrap();
        git(dir.path(), &format!("init -q --object-format={hash}"));
        for length in 1..70 {
            fs::write(dir.path().join("x".repeat(length)), "x").unwrap();
        }
        fs::create_dir_all(dir.path().join("web/deep")).unwrap();
        for file in [".env", "web/.env.local", "web/deep/id_rsa", "later.pem", ".env.own"] {
            fs::write(dir.path().join(file), "A=1\n").unwrap();
        }
        git(dir.path(), &format!("update-index --index-version {version}"));
        git(dir.path(), "add -- . :!later.pem :!.env.own");
        if version == 3 {
            git(dir.path(), "add --intent-to-add later.pem");
        }
        let asked = [".env", "web/.env.local", "web/deep/id_rsa", "later.pem", ".env.own", "gone"];
        assert_eq!(kept(dir.path(), &asked), asked[..3], "{hash} {version}");
        assert_eq!(
            kept(&dir.path().join("web"), &[".env", ".env.local", "deep/id_rsa"]),
            [".env.local", "deep/id_rsa"]
        );
        let index = fs::read(dir.path().join(".git/index")).unwrap();
        assert_eq!(u32::from_be_bytes(index[4..8].try_into().unwrap()), version, "the control");
    }
}

#[test]
fn a_second_working_tree_and_a_shared_index_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    fs::create_dir(&first).unwrap();
    git(&first, "init -q");
    fs::write(first.join(".env"), "A=1\n").unwrap();
    git(&first, "add .");
    git(&first, "-c user.name=n -c user.email=e commit -qm one");
    git(&first, "worktree add -q ../second");
    assert_eq!(kept(&second, &[".env", "b"]), [".env"]);
    git(&first, "update-index --split-index");
    assert_eq!(kept(&first, &[".env", "b"]), [".env"]);
    assert_eq!(kept(dir.path(), &[".env"]), [""; 0], "no repository");
}

#[test]
fn what_is_no_index_is_read_as_far_as_it_makes_sense() {
    let dir = tempfile::tempdir().unwrap();
    git(dir.path(), "init -q");
    for name in ["a", ".env"] {
        fs::write(dir.path().join(name), "x").unwrap();
    }
    git(dir.path(), "add .");
    let at = dir.path().join(".git/index");
    let whole = fs::read(&at).unwrap();
    for end in 0..whole.len() {
        fs::write(&at, &whole[..end]).unwrap();
        kept(dir.path(), &["a"]);
    }
    for changed in 0..whole.len() {
        for with in [0, 0x7f, 0xff] {
            let mut index = whole.clone();
            index[changed] = with;
            fs::write(&at, &index).unwrap();
            kept(dir.path(), &["a"]);
        }
    }
    fs::write(&at, &whole).unwrap();
    assert_eq!(kept(dir.path(), &["a", "b"]), ["a"]);
}
