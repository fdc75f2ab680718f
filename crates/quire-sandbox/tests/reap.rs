//! Dead processes that commands left behind are buried, and commands keep their exit codes. Alone in its binary: whoever
//! reaps takes every dead child of the process, also another test's.

use quire_sandbox::tool::{Inside, run};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const ROUNDS: i32 = 40;

fn main() {
    // Orphans come to the nearest subreaper, as in a sandbox they come to pid 1.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let env = vec![("PATH".to_owned(), std::env::var("PATH").unwrap())];
    let inside = Inside::new(dir.path().to_path_buf(), dir.path().to_path_buf(), env);
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
            let input = serde_json::json!({ "command": command }).to_string();
            let outcome = run(&inside, 1, "shell", &input, &|_| ());
            assert_eq!(outcome.exit, Some(code), "{}", outcome.text);
        }
        let begun = Instant::now();
        let buried = |n: i32| {
            let pid = fs::read_to_string(dir.path().join(format!("orphan{n}"))).unwrap_or_default();
            pid.ends_with('\n') && !fs::exists(format!("/proc/{}", pid.trim())).unwrap()
        };
        while !(0..ROUNDS).all(buried) {
            assert!(begun.elapsed() < Duration::from_secs(20), "orphans were not buried");
            std::thread::yield_now();
        }
        done.store(true, Ordering::Relaxed);
    });
}
