//! Checks: which a project has, how one is run, and what makes its outcome worth less. That they are run, on what and how often
//! is `work/prove.rs`.

pub mod bend;
pub mod find;
pub mod tally;

use crate::hands::{Gone, Hands};
use quire_core::secret::Masks;
use quire_sandbox::protocol::{HandImage, Window};
use serde_json::json;
use std::time::{Duration, Instant};

/// How a check's command ended.
#[derive(Clone)]
pub struct Run {
    /// Absent: it did not end by itself.
    pub exit: Option<i32>,
    pub output: String,
    /// Name of the file in the out directory with the whole output.
    pub whole: Option<String>,
    pub took: Duration,
}

impl Run {
    pub fn masked(self, masks: &Masks) -> Run {
        Run { output: masks.mask(&self.output).unwrap_or(self.output), ..self }
    }

    /// Returns the outcome of a check whose sandbox ended under it.
    pub fn lost(limits_met: &str) -> Run {
        let output =
            format!("The sandbox ended while the check ran, perhaps for lack of memory.{limits_met}");
        Run { exit: None, output, whole: None, took: Duration::ZERO }
    }

    pub fn passed(&self) -> bool {
        self.exit == Some(0)
    }

    /// Returns why a run of a check that quire found itself says nothing of the work, if it does not.
    pub fn unable(&self) -> Option<String> {
        let none = tally::read(&self.output).is_some_and(|tally| (tally.passed, tally.failed) == (0, 0));
        match self.exit {
            None => Some("it did not end".to_owned()),
            Some(126 | 127) => Some("what it runs is not installed here".to_owned()),
            Some(1) if self.output.contains("No module named pytest") => {
                Some("pytest is not installed here".to_owned())
            }
            // What unittest and pytest say of it.
            Some(0 | 5) if none && !self.output.contains("well formed") => Some("it ran no test".to_owned()),
            Some(_) => None,
        }
    }
}

/// Longest that a check of the person's may take, and one that was found.
pub const TIME_MAX: Duration = Duration::from_secs(15 * 60);
pub const FOUND_TIME_MAX: Duration = Duration::from_secs(10 * 60);

/// Runs `command` in a fresh sandbox and waits for its end.
pub async fn run(hands: &Hands, command: &str, most: Duration) -> Result<Run, Gone> {
    let begun = Instant::now();
    let said = hands.command(command, most, |_| {}).await?;
    Ok(Run { exit: said.exit, output: said.text, whole: said.whole, took: begun.elapsed() })
}

/// Widths of windows of which a page's pictures are made, in pixels: a phone's, a tablet's, a desk's.
const WIDTHS: [u32; 3] = [390, 768, 1_280];

/// A picture of a page, in the out directory.
pub struct Picture {
    pub window: Window,
    pub file: HandImage,
}

/// Returns how a page looks, in the sandbox in which it was checked; nothing where it cannot be looked at.
pub async fn look(hands: &Hands, page: &str) -> Vec<Picture> {
    let input = json!({ "target": page, "widths": WIDTHS }).to_string();
    let Ok(said) = hands.call("look", &input, |_| {}).await else { return vec![] };
    pictures(said.images)
}

fn pictures(images: Vec<HandImage>) -> Vec<Picture> {
    let of_window = |file: HandImage| Some(Picture { window: file.window?, file });
    images.into_iter().filter_map(of_window).collect()
}

/// Returns whether all that fails in `now` failed in `before`, as far as their words tell.
pub fn fails_as_before(now: &Run, before: &Run) -> bool {
    if before.passed() {
        return false;
    }
    match (tally::read(&now.output), tally::read(&before.output)) {
        (Some(now), Some(before)) if !now.failing.is_empty() => now.failing.is_subset(&before.failing),
        (Some(now), Some(before)) => now.failed <= before.failed,
        // The same words but for times and sizes.
        (None, None) => {
            now.exit == before.exit && without_numbers(&now.output) == without_numbers(&before.output)
        }
        _ => false,
    }
}

fn without_numbers(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// Returns the first of many paths in words.
pub fn listed(all: &[String]) -> String {
    let first = all.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    if all.len() > 3 { format!("{first} and {} more", all.len() - 3) } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(exit: Option<i32>, output: &str) -> Run {
        Run { exit, output: output.into(), whole: None, took: Duration::ZERO }
    }

    #[test]
    fn what_failed_before_is_told_from_what_fails_now() {
        let both = "FAILED a::x\nFAILED a::y\n2 failed, 1 passed in 0.1s";
        let one = "FAILED a::x\n1 failed, 2 passed in 0.1s";
        for (now, before, same) in [
            (ended(Some(1), one), ended(Some(1), both), true),
            (ended(Some(1), both), ended(Some(1), one), false),
            (ended(Some(1), one), ended(Some(0), "3 passed in 0.1s"), false),
            (
                ended(Some(101), "error: no network in 3 s"),
                ended(Some(101), "error: no network in 12 s"),
                true,
            ),
            (ended(Some(2), "a.sh: syntax error"), ended(Some(2), "a.sh: not found"), false),
            (ended(Some(1), "error"), ended(Some(2), "other"), false),
            (ended(Some(1), "error"), ended(Some(1), one), false),
        ] {
            assert_eq!(fails_as_before(&now, &before), same, "{}", now.output);
        }
    }

    #[test]
    fn each_picture_stands_under_the_width_that_it_was_made_at() {
        let image =
            |file: &str, window| HandImage { media_type: "image/png".into(), file: file.into(), window };
        let window = |width, wider| Some(Window { width, wider });
        let images = vec![image("b", window(768, 0)), image("x", None), image("c", window(1_280, 12))];
        let told: Vec<_> = pictures(images)
            .into_iter()
            .map(|one| (one.file.file, one.window.width, one.window.wider))
            .collect();
        assert_eq!(told, [("b".into(), 768, 0), ("c".into(), 1_280, 12)]);
    }

    #[test]
    fn only_exit_0_passes_and_what_could_not_run_proves_nothing() {
        for (exit, output, passed, unable) in [
            (Some(0), "", true, false),
            (Some(1), "", false, false),
            (Some(137), "", false, false),
            (None, "", false, true),
            (Some(127), "sh: 1: cargo: not found", false, true),
            (Some(1), "/usr/bin/python3: No module named pytest", false, true),
            (Some(5), "no tests ran in 0.01s", false, true),
            (Some(0), "test result: ok. 0 passed; 0 failed", true, true),
            (Some(0), "test result: ok. 1 passed; 0 failed", true, false),
            (Some(0), "3 files are well formed", true, false),
        ] {
            let run = ended(exit, output);
            assert_eq!((run.passed(), run.unable().is_some()), (passed, unable), "{exit:?} {output}");
        }
    }
}
