//! `hook`: runs a command of the person's or the project's with an input, for the host; no model is told of it. What it
//! prints on its two outputs is kept apart, because they mean different things, and nothing that it started outlives it.

use super::command::{Running, Waited};
use super::{Inside, refused};
use crate::protocol::HandOutcome;
use serde::Deserialize;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The name that no tool has.
pub const NAME: &str = "hook";

/// The most that is kept of stdout, which may hold a file as JSON, in bytes; in a frame each can take six.
const OUT_MAX: u64 = 512 << 10;
/// The most that is kept of stderr.
const ERR_MAX: u64 = 16_000;

#[derive(Deserialize)]
struct Hook {
    command: String,
    input: String,
    millis: u64,
}

/// Runs it. The text of the outcome is the length of stdout in bytes, a line break, stdout, stderr; without an exit code it
/// did not end in time, and where it is not well it could not be run at all, and the text says why.
pub fn run(inside: &Inside, call: u32, input: &str) -> HandOutcome {
    let begun = Instant::now();
    let place = inside.out.join(format!("hook-{call}"));
    let outcome = hook(inside, call, input, &place);
    let _ = fs::remove_dir_all(&place);
    let millis = begun.elapsed().as_millis() as u64;
    match outcome {
        Ok(outcome) => HandOutcome { millis, ..outcome },
        Err(error) => HandOutcome { millis, ..refused(format!("it could not be run: {error}")) },
    }
}

fn hook(inside: &Inside, call: u32, input: &str, place: &Path) -> io::Result<HandOutcome> {
    let hook: Hook = serde_json::from_str(input)?;
    // One that was killed in its midst, with its hand, left its files behind.
    match fs::remove_dir_all(place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::create_dir(place)?,
    }
    let at = |name: &str| place.join(name);
    fs::write(at("input"), &hook.input)?;
    let folder = quoted(&inside.folder)?;
    let command = format!(
        "QUIRE_PROJECT_DIR={folder} CLAUDE_PROJECT_DIR={folder} exec bash -c {} <{} >{} 2>{}",
        quoted(Path::new(&hook.command))?,
        quoted(&at("input"))?,
        quoted(&at("out"))?,
        quoted(&at("err"))?
    );
    let running = Running::start(inside, call, &command, false)?;
    let waited = running.wait(inside, call, Duration::from_millis(hook.millis), &|_| (), |_| false);
    running.kill();
    // Its end is nothing that the model waits for.
    running.show(waited);
    let (out, err) = (said(&at("out"), OUT_MAX), said(&at("err"), ERR_MAX));
    let exit = match waited {
        Waited::Ended(ended) => ended.exit,
        Waited::Goes | Waited::Cancelled => None,
    };
    let text = format!("{}\n{out}{err}", out.len());
    Ok(HandOutcome { text, ok: true, exit, millis: 0, whole: None, images: vec![] })
}

/// Returns the start of what was printed.
fn said(path: &PathBuf, most: u64) -> String {
    let mut bytes = vec![];
    let read = File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes));
    read.map_or_else(|_| String::new(), |_| String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns a word as a shell reads it back.
fn quoted(word: &Path) -> io::Result<String> {
    let word = word.to_str().ok_or(io::ErrorKind::InvalidInput)?;
    Ok(format!("'{}'", word.replace('\'', "'\\''")))
}

#[cfg(test)]
mod tests {
    use super::super::tests::Place;
    use super::*;
    use serde_json::json;

    #[test]
    fn outputs_and_exits() {
        let place = Place::new();
        let hook = |command: &str, millis: u64| {
            let input = json!({"command": command, "input": "{\"a\":1}", "millis": millis}).to_string();
            let outcome = run(&place.inside, 9, &input);
            (outcome.text, outcome.exit)
        };
        let rows = [
            ("cat", "7\n{\"a\":1}", Some(0)),
            ("echo out; echo 'it''s' >&2; exit 2", "4\nout\nits\n", Some(2)),
            ("echo \"$QUIRE_PROJECT_DIR\" | grep -c folder", "2\n1\n", Some(0)),
            ("kill -9 $$", "0\n", Some(137)),
            ("printf '\\377'", "3\n\u{fffd}", Some(0)),
            ("no-such-program 2>/dev/null", "0\n", Some(127)),
        ];
        for (command, text, exit) in rows {
            assert_eq!(hook(command, 60_000), (text.to_owned(), exit), "{command}");
        }
        assert_eq!(hook("echo early; exec sleep 1000", 300), ("6\nearly\n".to_owned(), None));
        // Outputs are bounded, and that of a whole file's input is not cut.
        let (text, exit) = hook("yes | head -c 1000000 | tee /dev/stderr", 60_000);
        assert_eq!((text.len() as u64, exit), (7 + OUT_MAX + ERR_MAX, Some(0)));
        assert!(6 * (OUT_MAX + ERR_MAX) + 1000 < u64::from(crate::protocol::FRAME_MAX));
        // What it leaves behind ends with it, and nothing stays in the out directory.
        let (text, _) = hook("sleep 1000 & echo $!", 60_000);
        let pid = text.lines().nth(1).unwrap();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        assert!(stat.is_err() || stat.unwrap().contains(") Z"));
        assert_eq!(fs::read_dir(&place.inside.out).unwrap().count(), 0);
    }
}
