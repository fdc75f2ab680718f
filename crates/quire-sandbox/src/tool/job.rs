//! `job`: looks at, writes to and ends commands that go on in the background.

use super::command::{Running, Waited, seconds};
use super::{Here, Tool, lock, refused};
use crate::protocol::HandOutcome;
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long output must rest after a `write` to be taken for the answer.
const ANSWER_QUIET: Duration = Duration::from_millis(300);
/// Between being asked to end and being killed.
const END_GRACE: Duration = Duration::from_secs(3);
const WAIT_MAX: u32 = 120;
const WAIT_USUAL: u32 = 5;

/// Follow a command that runs in the background. Shows the output since the last look (at most 16,000 bytes). When a job
/// ends, the next result of any tool tells.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Job {
    id: u32,
    action: Action,
    /// For write: goes to its stdin as it is, so end a line with \n. Empty closes stdin.
    input: Option<String>,
    /// Seconds to wait for its end, 0 to 120, usually 5.
    wait: Option<u32>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Action {
    Poll,
    Write,
    End,
}

impl Tool for Job {
    const NAME: &'static str = "job";

    fn run(self, here: &Here<'_>) -> HandOutcome {
        let Some(running) = lock(&here.inside.commands).get(&self.id).cloned() else {
            let ids: Vec<_> = lock(&here.inside.commands)
                .values()
                .filter(|c| !c.is_over())
                .map(|c| format!("{} ({})", c.id, c.brief()))
                .collect();
            let there =
                if ids.is_empty() { "None runs".to_owned() } else { format!("Running: {}", ids.join(", ")) };
            return refused(format!("There is no job {}. {there}. Jobs end when a turn ends.", self.id));
        };
        let wait = Duration::from_secs(self.wait.unwrap_or(WAIT_USUAL).min(WAIT_MAX).into());
        match (self.action, self.input) {
            (Action::Write, None) => refused("job: `write` needs `input`."),
            (Action::Write, Some(input)) => write(here, &running, &input, wait),
            (Action::Poll, _) => {
                let waited = running.wait(here.inside, here.call, wait, here.live, |_| false);
                report(&running, waited, "")
            }
            (Action::End, _) => {
                running.end(here.inside, here.call, END_GRACE);
                let waited = running.wait(here.inside, here.call, END_GRACE, here.live, |_| false);
                report(&running, waited, "")
            }
        }
    }
}

fn write(here: &Here<'_>, running: &Arc<Running>, input: &str, wait: Duration) -> HandOutcome {
    if input.is_empty() {
        running.close_input();
        let waited = running.wait(here.inside, here.call, wait, here.live, |_| false);
        return report(running, waited, "");
    }
    let note = match running.write(input.as_bytes(), wait.max(Duration::from_secs(1))) {
        Ok(sent) if sent == input.len() => String::new(),
        Ok(sent) => {
            format!("; it read only {sent} of {} bytes of input so far, the rest is dropped", input.len())
        }
        Err(error) => {
            return refused(format!(
                "job {}: {error}. Only a command started with `background` has an input.",
                running.id
            ));
        }
    };
    let mut last = (0, Instant::now());
    let mut first = None;
    let waited = running.wait(here.inside, here.call, wait, here.live, |total| {
        let first = *first.get_or_insert(total);
        if total != last.0 {
            last = (total, Instant::now());
        }
        total > first && last.1.elapsed() >= ANSWER_QUIET
    });
    report(running, waited, &note)
}

fn report(running: &Running, waited: Waited, note: &str) -> HandOutcome {
    let (shown, waited) = running.show(waited);
    let id = running.id;
    let (about, exit) = match waited {
        Waited::Ended(ended) if running.left_something() => {
            (format!("job {id}: {}; what it started goes on", ended.words()), ended.exit)
        }
        Waited::Ended(ended) => (format!("job {id} ended: {}", ended.words()), ended.exit),
        Waited::Goes => (format!("job {id} runs since {}{note}", seconds(running.begun().elapsed())), None),
        Waited::Cancelled => (format!("no longer waited for; job {id} goes on"), None),
    };
    let text = format!("{}\n[{about}]", shown.text.trim_end_matches('\n'));
    HandOutcome {
        text: text.trim_start_matches('\n').to_owned(),
        ok: true,
        exit,
        millis: 0,
        whole: shown.whole,
        images: vec![],
    }
}
