//! A machine on which no sandbox can be made, for an ordinary user: no user namespaces may be made, and the kernel has no Landlock.
//! The first is so for real, in a user namespace of the test's own, whose bound is 0 until the test raises it; the second is what a
//! filter of system calls answers.

use crate::browser::Browser;
use crate::model::{Model, Wire, say};
use crate::page::until;
use crate::stage::{Stage, can_make_users};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How many user namespaces may be made in this one (namespaces(7)).
const BOUND: &str = "/proc/sys/user/max_user_namespaces";

/// Has system calls answered as by a kernel that does not know them.
fn unknown(calls: &[libc::c_long]) -> BpfProgram {
    let rules = calls.iter().map(|call| (*call, vec![])).collect();
    let refuse = SeccompAction::Errno(libc::ENOSYS as u32);
    let target = TargetArch::try_from(std::env::consts::ARCH).unwrap();
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, target).unwrap().try_into().unwrap()
}

/// Runs a command of an ordinary user's on such a machine, to its end.
fn on_bare(stage: &Stage, arguments: &[&str]) -> Output {
    let own = stage.command(arguments);
    // It waits until its user namespace knows the machine's users, by which the page knows whose browser it is.
    let closed = format!("read _ && echo 0 > {BOUND} && exec \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--user", "--keep-caps", "sh", "-c", &closed, "sh"]);
    command.arg(own.get_program()).args(own.get_args()).env_clear().current_dir(&stage.folder);
    command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let filter = unknown(&[libc::SYS_landlock_create_ruleset]);
    // SAFETY: between fork and exec only system calls are made.
    unsafe {
        command.pre_exec(move || apply_filter(&filter).map_err(io::Error::other));
    }
    let mut running = command.spawn().expect("unshare(1) is there");
    let begun = Instant::now();
    for map in ["uid_map", "gid_map"] {
        // Refused as long as it is in the namespace of the test.
        while fs::write(format!("/proc/{}/{map}", running.id()), "0 0 4294967295").is_err() {
            assert!(begun.elapsed() < Duration::from_secs(60), "no {map}");
            thread::sleep(Duration::from_millis(5));
        }
    }
    running.stdin.take().expect("a pipe").write_all(b"\n").expect("it reads");
    running.wait_with_output().expect("an end")
}

/// Returns a new user's stage whose host runs on such a machine.
pub fn set() -> Stage {
    let stage = Stage::for_user();
    let opened = on_bare(&stage, &["web", "--print"]);
    assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
    stage
}

/// Lets the stage's host make user namespaces from now on.
fn allow(stage: &Stage) {
    let own = File::open(format!("/proc/{}/ns/user", stage.host().pid)).expect("its namespace");
    let mut raise = Command::new("true");
    // SAFETY: between fork and exec only system calls are made. Whoever enters holds every capability there, until it starts `true`.
    unsafe {
        raise.pre_exec(move || {
            if libc::setns(own.as_raw_fd(), libc::CLONE_NEWUSER) < 0 {
                return Err(io::Error::last_os_error());
            }
            File::options().write(true).open(BOUND)?.write_all(b"1000")
        });
    }
    assert!(raise.status().expect("true runs").success());
}

#[test]
fn where_no_sandbox_can_be_made_tasks_stay_off_until_one_can() {
    if !can_make_users() {
        return;
    }
    let stage = set();
    let model = Model::saying(vec![say("Nothing is to be done.")]);
    stage.use_model(&model, Wire::Chat);
    let ended = on_bare(&stage, &["doctor"]);
    let said = String::from_utf8_lossy(&ended.stdout);
    assert_eq!(ended.status.code(), Some(5), "{said}");
    assert!(said.contains("no more namespaces may be made") && !said.contains("is full"), "{said}");

    let browser = Browser::open(&stage);
    // Found out when a new home is opened.
    let settings = until(&browser, "/settings", "does not allow private copies yet").body;
    for part in ["No task can run here yet", "none runs until this is mended", "Other ways", "Check again"] {
        assert!(settings.contains(part), "{part}: {settings}");
    }
    let home = browser.get("/").body;
    assert!(home.contains("does not allow private copies yet") && !home.contains("Start <kbd>"), "{home}");
    // It looks again, and not at what it noted.
    assert_eq!(browser.post("/settings/check", &[("on", "home")]).header("location").as_deref(), Some("/"));
    assert!(browser.get("/").body.contains("does not allow private copies yet"));
    let begun = browser.post("/tasks", &[("words", "do it"), ("path", stage.folder.to_str().unwrap())]);
    assert_eq!(begun.status, 303, "what is said all the same is kept: {begun:?}");
    until(&browser, "/tasks/1", "See what is missing");

    allow(&stage);
    assert_eq!(browser.post("/settings/check", &[]).header("location").as_deref(), Some("/settings"));
    let settings = browser.get("/settings").body;
    assert!(settings.contains("did not get out: whole machine, one uid"), "{settings}");
    assert!(!settings.contains("does not allow") && browser.get("/").body.contains("Start <kbd>"));
    browser.post("/tasks/1/resume", &[]);
    until(&browser, "/tasks/1", "Nothing is to be done.");
}
