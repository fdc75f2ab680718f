//! The command `apply_patch`, as a program: by the name that it is started under, with the patch as its argument or on
//! stdin. Without the test harness, which would not let this binary be that program.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const CHANGE: &str = "*** Begin Patch\n*** Update File: f\n-a\n+b\n*** Add File: n/g\n+new\n*** End Patch";

fn main() {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(code) = quire_sandbox::tool::private_main(&args) {
        std::process::exit(code);
    }
    let test = libtest_mimic::Trial::test("the_command_says_and_does_what_it_should", || {
        the_command_says_and_does_what_it_should();
        Ok(())
    });
    libtest_mimic::run(&libtest_mimic::Arguments::from_args(), vec![test]).exit();
}

fn the_command_says_and_does_what_it_should() {
    // How it is called, its exit code, what it says, and what is in `f` after.
    let rows: &[(&[&str], &str, i32, &str, &str)] = &[
        (&[CHANGE], "", 0, "Done:\nM f\nA n/g\n", "b\n"),
        (&[], CHANGE, 0, "Done:\nM f\nA n/g\n", "b\n"),
        (&[], &CHANGE.replace("-a", "-z"), 1, "f: hunk 1: these lines are not in the file", "a\n"),
        (&[], "", 1, "the patch must begin with", "a\n"),
        (&[CHANGE, "more"], "", 2, "one argument or on stdin", "a\n"),
    ];
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("apply_patch");
    std::os::unix::fs::symlink(std::env::current_exe().unwrap(), &program).unwrap();
    for (args, stdin, code, says, after) in rows {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("f"), "a\n").unwrap();
        let (exit, said) = run(&program, folder.path(), args, stdin);
        assert_eq!(exit, Some(*code), "{args:?}: {said}");
        assert!(said.contains(says), "{args:?}: {said}");
        assert_eq!(fs::read_to_string(folder.path().join("f")).unwrap(), *after, "{args:?}");
        assert_eq!(folder.path().join("n/g").exists(), *code == 0, "{args:?}");
    }
    for other in ["quire", "", "apply_patch/quire"] {
        assert_eq!(quire_sandbox::tool::private_main(&[other.into()]), None, "{other}");
    }
    assert_eq!(quire_sandbox::tool::private_main(&[]), None);
}

fn run(program: &Path, folder: &Path, args: &[&str], stdin: &str) -> (Option<i32>, String) {
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}
