//! What can only be seen in a process that does nothing else: that orphans are buried beside running commands (whoever
//! reaps takes every dead child of the process, also another test's), and how much memory a call takes. How much time it takes is for `bench/sandbox`.

use quire_sandbox::protocol::HandOutcome;
use quire_sandbox::tool::{Inside, run};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn main() {
    let mut arguments = libtest_mimic::Arguments::from_args();
    // On the main thread: there must be no other.
    arguments.test_threads = Some(1);
    let test = libtest_mimic::Trial::test("alone", || {
        alone();
        Ok(())
    });
    libtest_mimic::run(&arguments, vec![test]).exit();
}

fn alone() {
    let dir = tempfile::tempdir().unwrap();
    let env = vec![("PATH".to_owned(), std::env::var("PATH").unwrap())];
    let inside = Inside::new(dir.path().to_path_buf(), dir.path().to_path_buf(), env);
    output_takes_constant_memory(&inside, dir.path());
    huge_files_take_constant_memory(&inside, dir.path());
    orphans_are_buried_and_commands_keep_their_exit_codes(&inside, dir.path());
}

fn call(inside: &Inside, tool: &str, input: serde_json::Value) -> HandOutcome {
    run(inside, 1, tool, &input.to_string(), &|_| ())
}

fn shell(inside: &Inside, command: &str) -> HandOutcome {
    call(inside, "shell", serde_json::json!({ "command": command }))
}

/// Returns the most memory that this process ever had, in kB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn output_takes_constant_memory(inside: &Inside, dir: &Path) {
    let before = peak();
    let outcome = shell(inside, "yes 'a line of output' | head -c 100000000; echo; echo the end");
    assert!(peak() - before < 8_000, "{} kB more", peak() - before);
    assert!(outcome.text.len() <= 16_100, "{}", outcome.text.len());
    assert!(outcome.text.starts_with("a line of output\n") && outcome.text.contains("\nthe end\n[exit 0"));
    let file = dir.join(outcome.whole.unwrap());
    assert!(outcome.text.contains(&format!("; {} has all of it; go on with read]", file.display())));
    assert_eq!(fs::metadata(&file).unwrap().len(), 100_000_000 + 1 + 8);
    let more = call(inside, "read", serde_json::json!({"path": file, "offset": 5_000_000, "limit": 1}));
    assert!(more.text.starts_with("5000000\ta line of output\n"), "{}", more.text);
}

fn huge_files_take_constant_memory(inside: &Inside, dir: &Path) {
    fs::write(dir.join("sparse"), "text\n".repeat(3_000)).unwrap();
    fs::File::options().write(true).open(dir.join("sparse")).unwrap().set_len(1 << 30).unwrap();
    let before = peak();
    let read = call(inside, "read", serde_json::json!({"path": "sparse", "limit": 1}));
    assert_eq!(read.text, "1\ttext\n[of more than 3000 lines; go on with offset 2]");
    let last = call(inside, "read", serde_json::json!({"path": "sparse", "offset": 3_001}));
    assert!(
        last.text.len() < 10_000 && last.text.contains("bytes; shell has cut -c]"),
        "{}",
        last.text.len()
    );
    let found = call(inside, "search", serde_json::json!({"pattern": "nowhere", "path": "sparse"}));
    assert!(found.text.starts_with("[nothing found"), "{}", found.text);
    let edit = call(inside, "edit", serde_json::json!({"path": "sparse", "old": "a", "new": "b"}));
    assert!(!edit.ok && edit.text.contains("use shell"), "{}", edit.text);
    assert!(peak() - before < 8_000, "{} kB more", peak() - before);
}

fn orphans_are_buried_and_commands_keep_their_exit_codes(inside: &Inside, dir: &Path) {
    const ROUNDS: i32 = 40;
    // Orphans come to the nearest subreaper, as in a sandbox they come to pid 1.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                inside.reap();
                std::thread::yield_now();
            }
        });
        for n in 0..ROUNDS {
            let code = n % 7;
            let command = format!("(setsid sh -c 'echo $$ > orphan{n}' > /dev/null 2>&1 &); exit {code}");
            let outcome = shell(inside, &command);
            assert_eq!(outcome.exit, Some(code), "{}", outcome.text);
        }
        let begun = Instant::now();
        let buried = |n: i32| {
            let pid = fs::read_to_string(dir.join(format!("orphan{n}"))).unwrap_or_default();
            pid.ends_with('\n') && !fs::exists(format!("/proc/{}", pid.trim())).unwrap()
        };
        while !(0..ROUNDS).all(buried) {
            assert!(begun.elapsed() < Duration::from_secs(20), "orphans were not buried");
            std::thread::yield_now();
        }
        done.store(true, Ordering::Relaxed);
    });
}
