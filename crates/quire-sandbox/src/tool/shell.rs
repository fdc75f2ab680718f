//! `shell`: runs a command line, and lets it go on in the background when it takes long.

use super::command::{Running, Waited, seconds};
use super::{Here, Tool, refused};
use crate::protocol::HandOutcome;
use schemars::JsonSchema;
use serde::Deserialize;

/// Run a command line with bash in the task's folder; each call is a fresh shell. Shows stdout and stderr as they came
/// (at most 16,000 bytes, head and tail; all of it is then in a file that the result names), exit code and time. stdin is
/// empty. After 120 s the command goes on as a background job.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Shell {
    command: String,
    /// Return at once and let it go on, for servers and the like; its stdin can be written to by `job`.
    #[serde(default)]
    background: bool,
}

impl Tool for Shell {
    const NAME: &'static str = "shell";

    fn run(self, here: &Here<'_>) -> HandOutcome {
        if self.command.trim().is_empty() {
            return refused("shell: `command` is empty.");
        }
        if self.command.contains('\0') {
            return refused("shell: `command` holds a NUL character, which no command line can.");
        }
        let inside = here.inside;
        let running = match Running::start(inside, here.call, &self.command, self.background) {
            Ok(running) => running,
            Err(error) => {
                return refused(format!("shell: the command could not be started: {error}."));
            }
        };
        if self.background {
            return super::said(format!("Runs in the background as job {}.", running.id));
        }
        let waited = running.wait(inside, here.call, inside.patience, here.live, |_| false);
        match waited {
            Waited::Goes => running.to_background(),
            // The call may have been cancelled before there was a command to kill.
            Waited::Cancelled => running.kill(),
            Waited::Ended(_) => {}
        }
        let (shown, waited) = running.show(waited);
        let (about, exit) = match waited {
            Waited::Ended(ended) if running.left_something() => {
                let about = format!("{}; what it started goes on as job {}", ended.words(), running.id);
                (about, ended.exit)
            }
            Waited::Ended(ended) => (ended.words(), ended.exit),
            Waited::Goes => {
                (format!("runs on after {} as job {}", seconds(running.begun().elapsed()), running.id), None)
            }
            Waited::Cancelled => ("cancelled; it was killed with all that it started".to_owned(), Some(137)),
        };
        let text = format!("{}\n[{about}]", shown.text.trim_end_matches('\n'));
        HandOutcome {
            text: text.trim_start_matches('\n').to_owned(),
            ok: exit.is_none_or(|code| code == 0),
            exit,
            millis: 0,
            whole: shown.whole,
            images: vec![],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Place;
    use super::super::{lock, run};
    use serde_json::json;
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::sync::Mutex;
    use std::time::{Duration, Instant};

    fn shell(place: &Place, command: &str) -> crate::protocol::HandOutcome {
        place.call("shell", json!({ "command": command }))
    }

    /// Waits for `done`, which another process or thread brings about.
    fn until(what: &str, mut done: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !done() {
            assert!(begun.elapsed() < Duration::from_secs(20), "waited too long: {what}");
            std::thread::yield_now();
        }
    }

    fn runs(pid: &str) -> bool {
        fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|s| !s.contains(") Z "))
    }

    /// Waits until a command of the test's wrote a line to `name`, and returns it.
    fn line_of(place: &Place, name: &str) -> String {
        let mut text = String::new();
        until(name, || {
            text = fs::read_to_string(place.path(name)).unwrap_or_default();
            text.ends_with('\n')
        });
        text.trim().to_owned()
    }

    #[test]
    fn commands_tell_output_and_exit_code() {
        let place = Place::new();
        let rows: &[(&str, &str, Option<i32>)] = &[
            ("echo a; echo b >&2; echo c", "a\nb\nc\n[exit 0 after ", Some(0)),
            ("exit 3", "[exit 3 after ", Some(3)),
            ("kill -9 $$", "[exit 137 (killed; perhaps out of memory) after ", Some(137)),
            ("kill -TERM $$", "[exit 143 (signal 15) after ", Some(143)),
            ("no-such-command-here", "not found\n[exit 127 after ", Some(127)),
            ("printf 'caf\\351 \\033[31mred\\033[0m'", "caf\u{fffd} red\n[exit 0 after ", Some(0)),
            ("cat", "[exit 0 after ", Some(0)),
            ("[[ a == a ]] && echo bash", "bash\n[exit 0 after ", Some(0)),
            ("echo \"$0\" | grep -c sh; pwd | grep -c /folder", "1\n1\n[exit 0", Some(0)),
            ("env | grep -c QUIRE", "0\n[exit 1 after ", Some(1)),
            ("(", "syntax error", Some(2)),
        ];
        for (command, expect, exit) in rows {
            let outcome = shell(&place, command);
            assert!(outcome.text.contains(expect), "{command}: {}", outcome.text);
            assert_eq!((outcome.exit, outcome.ok), (*exit, *exit == Some(0)), "{command}");
            assert_eq!(outcome.whole, None, "{command}");
        }
    }

    #[test]
    fn a_missing_folder_is_told() {
        let place = Place::new();
        fs::remove_dir(place.path("")).unwrap();
        let outcome = shell(&place, "true");
        assert!(
            !outcome.ok && outcome.text.contains("could not be started: No such file"),
            "{}",
            outcome.text
        );
    }

    #[test]
    fn the_file_keeps_raw_bytes() {
        let place = Place::new();
        let outcome = shell(&place, "printf '\\377\\033[1m'; yes | head -c 20000");
        let raw = fs::read(place.out(&outcome.whole.unwrap())).unwrap();
        assert!(raw.starts_with(b"\xff\x1b[1my\n") && outcome.text.starts_with("\u{fffd}y\n"));
    }

    #[test]
    fn what_is_left_behind_does_not_hang_the_call_and_can_be_ended() {
        let place = Place::new();
        place.put("late", "");
        let mut late = std::process::Command::new("mkfifo").arg(place.path("go")).spawn().unwrap();
        assert!(late.wait().unwrap().success());
        let command = "echo started; (echo $BASHPID > pid; read line < go; echo $line; exec sleep 1000) &";
        let outcome = shell(&place, command);
        assert!(outcome.text.starts_with("started\n[exit 0 after "), "{}", outcome.text);
        assert!(outcome.text.contains("; what it started goes on as job 1]"), "{}", outcome.text);
        let pid = line_of(&place, "pid");
        fs::write(place.path("go"), "hello\n").unwrap();
        until("what it prints later", || {
            let polled = place.call("job", json!({"id": 1, "action": "poll", "wait": 0}));
            assert!(polled.text.contains("what it started goes on"), "{}", polled.text);
            polled.text.starts_with("hello\n")
        });
        assert!(runs(&pid));
        place.call("job", json!({"id": 1, "action": "end"}));
        until("its end", || !runs(&pid));
    }

    #[test]
    fn a_daemon_with_its_own_output_is_left_alone() {
        let place = Place::new();
        // Not before it has let go of the call's own output.
        let daemon =
            "setsid sh -c 'echo > ready; exec sleep 1000' > /dev/null 2>&1 < /dev/null & echo $! > pid";
        let outcome = shell(&place, &format!("{daemon}; until [ -e ready ]; do sleep 0.01; done"));
        assert!(
            outcome.text.starts_with("[exit 0 after ") && !outcome.text.contains("job"),
            "{}",
            outcome.text
        );
        let pid = line_of(&place, "pid");
        assert!(runs(&pid));
        assert!(shell(&place, &format!("kill {pid}")).ok);
    }

    #[test]
    fn cancel_kills_grandchildren_also_in_sessions_of_their_own() {
        let place = Place::new();
        let command =
            "sleep 1000 & echo $! > a; setsid sh -c 'echo $$ > b; sleep 1000 & echo $! > c; wait' & wait";
        std::thread::scope(|scope| {
            let call = scope.spawn(|| {
                run(&place.inside, 7, "shell", &json!({ "command": command }).to_string(), &|_| ())
            });
            let pids = ["a", "b", "c"].map(|name| line_of(&place, name));
            place.inside.cancel(8);
            assert!(pids.iter().all(|pid| runs(pid)), "another call's end");
            place.inside.cancel(7);
            let outcome = call.join().unwrap();
            assert_eq!((outcome.ok, outcome.exit), (false, Some(137)));
            assert!(outcome.text.contains("cancelled"), "{}", outcome.text);
            for pid in pids {
                until("a killed process", || !runs(&pid));
            }
        });
    }

    #[test]
    fn a_call_that_was_cancelled_before_it_began_ends_too() {
        let place = Place::new();
        place.inside.cancel(7);
        let input = json!({"command": "exec sleep 1000"}).to_string();
        let outcome = run(&place.inside, 7, "shell", &input, &|_| ());
        assert!(outcome.text.contains("cancelled"), "{}", outcome.text);
        let running = lock(&place.inside.commands).get(&1).unwrap().clone();
        until("its end", || running.is_over());
    }

    #[test]
    fn a_long_command_goes_on_in_the_background_and_its_end_is_told_once() {
        let mut place = Place::new();
        place.inside.patience = Duration::from_millis(50);
        assert!(std::process::Command::new("mkfifo").arg(place.path("go")).status().unwrap().success());
        let outcome = shell(&place, "echo one; read line < go; echo $line; exit 4");
        assert!(outcome.ok && outcome.exit.is_none(), "{outcome:?}");
        assert!(outcome.text.contains("[runs on after 0."), "{}", outcome.text);
        assert!(outcome.text.ends_with(" as job 1]"), "{}", outcome.text);
        let running = lock(&place.inside.commands).get(&1).unwrap().clone();
        place.inside.cancel(1);
        fs::write(place.path("go"), "two\n").unwrap();
        until("its end", || running.is_over());
        place.put("x", "x\n");
        let next = place.call("read", json!({"path": "x"}));
        let told = "\n[job 1 (echo one; read line < go; echo $line; exit 4) ended: exit 4 after ";
        assert!(next.text.starts_with("1\tx\n[end, 1 line]") && next.text.contains(told), "{}", next.text);
        assert!(!place.call("read", json!({"path": "x"})).text.contains("job 1"), "told twice");
        let polled = place.call("job", json!({"id": 1, "action": "poll"}));
        // Whatever came before it went into the background was shown then, the rest is shown now.
        let printed = outcome.text + &polled.text;
        assert!(printed.contains("one\n") && printed.contains("two\n[job 1 ended: exit 4 "), "{printed}");
        assert_eq!(polled.exit, Some(4));
    }

    #[test]
    fn a_background_job_is_written_to_polled_and_ended() {
        let place = Place::new();
        let job = |input: serde_json::Value| place.call("job", input).text;
        let started = place.call("shell", json!({"command": "echo ready; cat", "background": true}));
        assert_eq!(started.text, "Runs in the background as job 1.");
        until("ready", || job(json!({"id": 1, "action": "poll", "wait": 0})).starts_with("ready\n"));
        let answer = job(json!({"id": 1, "action": "write", "input": "hello\n"}));
        assert!(answer.starts_with("hello\n[job 1 runs since "), "{answer}");
        let ended = job(json!({"id": 1, "action": "write", "input": "", "wait": 20}));
        assert!(ended.starts_with("[job 1 ended: exit 0 after "), "{ended}");
        let late = place.call("job", json!({"id": 1, "action": "write", "input": "x"}));
        assert!(!late.ok && late.text.contains("its input is closed"), "{}", late.text);
        assert!(!late.text.contains("ended"), "told a second time: {}", late.text);

        place.call("shell", json!({"command": "echo $$ > pid; exec sleep 1000", "background": true}));
        let pid = line_of(&place, "pid");
        let ended = job(json!({"id": 2, "action": "end"}));
        assert!(ended.starts_with("[job 2 ended: exit 143 (signal 15) after "), "{ended}");
        assert!(!runs(&pid));
    }

    #[test]
    fn a_cancelled_look_at_a_job_leaves_the_job() {
        let place = Place::new();
        place.call("shell", json!({"command": "echo $$ > pid; exec sleep 1000", "background": true}));
        let pid = line_of(&place, "pid");
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let input = json!({"id": 1, "action": "poll", "wait": 120}).to_string();
            let look = scope.spawn(|| run(&place.inside, 9, "job", &{ input }, &|_| ()));
            place.inside.cancel(9);
            assert!(look.join().unwrap().text.contains("no longer waited for; job 1 goes on"));
        });
        assert!(begun.elapsed() < Duration::from_secs(60) && runs(&pid));
        place.call("job", json!({"id": 1, "action": "end"}));
    }

    #[test]
    fn a_job_that_ignores_being_asked_is_killed() {
        let place = Place::new();
        let command = "trap '' TERM; echo $$ > pid; while :; do read -t 1 line <> <(:); done";
        place.call("shell", json!({"command": command, "background": true}));
        let pid = line_of(&place, "pid");
        let ended = place.call("job", json!({"id": 1, "action": "end"}));
        assert!(ended.text.contains("[job 1 ended: exit 137 "), "{}", ended.text);
        assert!(!runs(&pid));
    }

    #[test]
    fn input_that_nobody_reads_does_not_hang() {
        let place = Place::new();
        place.call("shell", json!({"command": "exec sleep 1000", "background": true}));
        let written =
            place.call("job", json!({"id": 1, "action": "write", "input": "x".repeat(1 << 20), "wait": 0}));
        assert!(written.text.contains("it read only 65536 of 1048576 bytes"), "{}", written.text);
        place.call("job", json!({"id": 1, "action": "end"}));
    }

    #[test]
    fn live_output_comes_while_the_command_runs() {
        let place = Place::new();
        assert!(std::process::Command::new("mkfifo").arg(place.path("go")).status().unwrap().success());
        let seen = Mutex::new(String::new());
        let live = |text: &str| {
            lock(&seen).push_str(text);
            if text.contains("first") {
                fs::write(place.path("go"), "second\n").unwrap();
            }
        };
        // Ends only because the live text came while it ran.
        let input = json!({"command": "echo first; read line < go; echo $line"}).to_string();
        let outcome = run(&place.inside, 1, "shell", &input, &live);
        assert!(outcome.text.starts_with("first\nsecond\n"), "{}", outcome.text);
        assert!(lock(&seen).starts_with("first\n"));
    }

    #[test]
    fn the_shell_sees_files_as_the_person_owns_them() {
        let place = Place::new();
        assert!(shell(&place, "umask 022; echo x > f; chmod 750 f").ok);
        assert_eq!(fs::metadata(place.path("f")).unwrap().mode() & 0o777, 0o750);
    }
}
