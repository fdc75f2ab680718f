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
                return refused(format!("shell: the command could not be started: {error}. Nothing ran."));
            }
        };
        if self.background {
            return super::said(format!("Runs in the background as job {}.", running.id));
        }
        let waited = running.wait(inside, here.call, inside.patience, here.live, |_| false);
        if let Waited::Goes = waited {
            running.to_background();
        }
        let (shown, _) = running.show();
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
