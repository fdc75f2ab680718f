//! The lines that a person sees while a task works. A fold of its own over the log, because it tells a story, not a state:
//! each event ends some lines and says what goes on now. Reads in a row become one line.

use crate::charter::{CheckSpec, Model};
use crate::event::{Event, HookRun, Logged, Point, Verdict};
use crate::finding;
use crate::message::{Call, FaultKind, Outcome};
use crate::net::address;
use crate::task::{command_line, one_command};
use crate::view::ask::asked_line;
use crate::view::review::outcome;
use crate::view::{count, edited_text, first_line, question, sentence};
use serde_json::Value;
use std::path::PathBuf;

/// Most characters of a command, path or pattern, and of a line of the model's.
const QUOTED_MAX: usize = 60;
const SAID_MAX: usize = 100;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub mark: LineMark,
    pub text: String,
    /// Since the turn began.
    pub at_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineMark {
    /// quire saw it done.
    Done,
    /// quire saw it fail.
    Failed,
    /// Somebody's words: nothing that quire saw.
    Said,
    /// A question of quire's to the person.
    Asks,
}

impl LineMark {
    pub fn symbol(self) -> char {
        match self {
            LineMark::Done => '✓',
            LineMark::Failed => '✗',
            LineMark::Said => '·',
            LineMark::Asks => '?',
        }
    }
}

/// The story so far. Feed it every event from the first on.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    folders: Vec<PathBuf>,
    checks: Vec<CheckSpec>,
    /// Of these, how many are the person's.
    own_checks: usize,
    checked: usize,
    is_checking: bool,
    /// As a person names them.
    fallbacks: Vec<String>,
    /// Why the last request brought no reply.
    unanswered: String,
    /// Of the open reply.
    calls: Vec<Call>,
    /// Places of calls that run now.
    running: Vec<u32>,
    /// Reads or searches in a row that have no line yet.
    quiet: Option<Quiet>,
    /// Of what the person was asked, by number.
    asked: Vec<String>,
    now: Option<String>,
    began_ms: u64,
}

#[derive(Clone, Debug)]
struct Quiet {
    tool: String,
    times: u64,
    last: Line,
}

impl Progress {
    /// Returns what goes on now, or `None` where nothing does.
    pub fn now(&self) -> Option<&str> {
        self.now.as_deref()
    }

    /// Returns when the turn began, in milliseconds since 1970.
    pub fn began_ms(&self) -> u64 {
        self.began_ms
    }

    /// Returns the command that runs now, where it is one.
    pub fn command(&self) -> Option<String> {
        let calls = self.running.iter().filter_map(|n| self.calls.get(*n as usize).cloned());
        let check = self.is_checking.then(|| self.checks.get(self.checked)).flatten();
        check.map_or_else(|| one_command(calls), |check| Some(command_line(&check.command)))
    }

    /// Takes an event in and returns the lines that it ends.
    pub fn apply(&mut self, logged: &Logged) -> Vec<Line> {
        let mut lines = vec![];
        let at_ms = logged.at_ms.saturating_sub(self.began_ms);
        let line = |mark, text: String| Line { mark, text, at_ms };
        match &logged.event {
            Event::Opened { charter, .. } => {
                self.folders = charter.folders.clone();
                self.checks = charter.checks.clone();
                self.own_checks = self.checks.len();
                self.fallbacks = charter.fallback_models.iter().map(Model::title).collect();
                self.begin(logged.at_ms);
            }
            Event::Attached { files, .. } => {
                let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
                let text = format!("You hand over {}", first_line(&names.join(", "), SAID_MAX));
                lines.push(line(LineMark::Said, text));
            }
            Event::Said { words } | Event::NotesSent { words, .. } | Event::Refit { words } => {
                if self.now.is_none() {
                    self.begin(logged.at_ms);
                }
                lines.extend(self.flush());
                let at_ms = logged.at_ms.saturating_sub(self.began_ms);
                lines.push(Line {
                    mark: LineMark::Said,
                    text: format!("You: {}", first_line(words, SAID_MAX)),
                    at_ms,
                });
            }
            Event::Edited { files, .. } => {
                self.begin(logged.at_ms);
                lines.extend(self.flush());
                let text = first_line(&format!("You change {}", edited_text(files)), SAID_MAX);
                lines.push(Line { mark: LineMark::Said, text, at_ms: 0 });
            }
            Event::Resumed { .. } => self.begin(logged.at_ms),
            Event::Taken { .. } => {
                for place in std::mem::take(&mut self.running) {
                    let Some(call) = self.calls.get(place as usize).cloned() else { continue };
                    lines.extend(self.flush());
                    lines.push(line(LineMark::Failed, format!("{} was interrupted", self.doing(&call))));
                }
                if self.now.is_some() {
                    self.now = Some("Starting".to_owned());
                }
            }
            Event::Equipped { weak, conventions, .. } => {
                let told = weak.iter().chain(&conventions.left_out);
                let told: Vec<Line> = told.map(|text| line(LineMark::Failed, text.clone())).collect();
                if !told.is_empty() {
                    lines.extend(self.flush());
                    lines.extend(told);
                }
            }
            Event::Hooking { .. } => self.now = Some("Running hooks".to_owned()),
            Event::Hooked { point, runs } => {
                self.hear_input(*point, runs);
                let told = runs.iter().filter(|run| run.says_something());
                let told: Vec<Line> = told
                    .map(|run| line(LineMark::Said, first_line(&super::hook_text(run), SAID_MAX)))
                    .collect();
                if !told.is_empty() {
                    lines.extend(self.flush());
                    lines.extend(told);
                }
                self.say_now();
            }
            Event::Moved { rung, weak, .. } => {
                lines.extend(self.flush());
                let moved = format!("The machine now gives another kind of sandbox: {rung}");
                lines.push(line(LineMark::Failed, moved));
                lines.extend(weak.iter().map(|weak| line(LineMark::Failed, weak.clone())));
            }
            Event::Shifted { paths } => {
                lines.extend(self.flush());
                let told = format!("Changed on your machine since the task began: {}", paths.join(", "));
                lines.push(line(LineMark::Failed, first_line(&told, SAID_MAX)));
            }
            Event::Restored { .. } => {
                lines.extend(self.flush());
                lines.push(line(
                    LineMark::Failed,
                    "The machine lost power; going on from the last step".to_owned(),
                ));
            }
            Event::Asked { .. } => {
                // It waited for an answer, which it has.
                if self.now.is_none() {
                    self.begin(logged.at_ms);
                }
                self.now = Some("Thinking".to_owned());
            }
            Event::Replied { reply } => {
                self.calls = reply.calls.clone();
                self.is_checking = false;
                self.running.clear();
                let said = first_line(&reply.text, SAID_MAX);
                // The last words of a turn are its summary, which is shown at the end.
                if !said.is_empty() && !reply.calls.is_empty() {
                    lines.extend(self.flush());
                    lines.push(line(LineMark::Said, said));
                }
                let first = reply.calls.first().map(|call| self.doing(call));
                self.now = Some(first.unwrap_or_else(|| "Finishing".to_owned()));
            }
            Event::Judged { verdicts } => {
                for verdict in verdicts {
                    if let Verdict::Refuse(why) = verdict {
                        lines.extend(self.flush());
                        lines.push(line(LineMark::Failed, first_line(why, SAID_MAX)));
                    }
                }
            }
            Event::Called { call } => {
                self.is_checking = false;
                self.running.push(*call);
                self.say_now();
            }
            Event::Returned { call, outcome } => {
                self.running.retain(|n| n != call);
                if let Some(call) = self.calls.get(*call as usize).cloned() {
                    lines.extend(self.returned(&call, outcome, at_ms));
                }
                self.say_now();
            }
            Event::Sealed { checks, .. } => {
                self.checks.truncate(self.own_checks);
                self.checks.extend(checks.iter().cloned());
                (self.checked, self.is_checking) = (0, true);
                self.say_check();
            }
            Event::Checked { check, proof } => {
                lines.extend(self.flush());
                if let Some(spec) = self.checks.get(*check as usize) {
                    let mark = if proof.fails() { LineMark::Failed } else { LineMark::Done };
                    lines.push(line(mark, format!("{} {}", quoted(&spec.command), outcome(proof))));
                }
                self.checked = *check as usize + 1;
                self.say_check();
            }
            Event::ReviewerTold { text } if text.is_empty() => {}
            Event::ReviewerTold { .. } | Event::ReviewerAsked { .. } | Event::ReviewerLooked { .. } => {
                self.now = Some("Reviewing".to_owned());
            }
            Event::ReviewerReplied { reply } => match finding::read(&reply.text) {
                Some(found) if reply.calls.is_empty() => {
                    lines.extend(self.flush());
                    let (mark, text) = match found.len() as u64 {
                        0 => (LineMark::Done, "A reviewer found nothing".to_owned()),
                        many => (LineMark::Failed, format!("A reviewer found {}", count(many, "thing"))),
                    };
                    lines.push(line(mark, text));
                    let shown = found.iter().map(|one| first_line(&one.sentence(), SAID_MAX));
                    lines.extend(shown.map(|text| line(LineMark::Said, text)));
                    self.now = Some("Finishing".to_owned());
                }
                _ => self.now = Some("Reviewing".to_owned()),
            },
            Event::ReviewFailed { why, .. } => {
                lines.extend(self.flush());
                lines.push(line(LineMark::Failed, first_line(&format!("Not reviewed: {why}"), SAID_MAX)));
                self.now = Some("Finishing".to_owned());
            }
            Event::ReachAsked { reach, host, port } => {
                // One that is asked anew has its number.
                if *reach as usize == self.asked.len() {
                    self.asked.push(address(host, *port));
                }
                lines.extend(self.flush());
                lines.push(line(LineMark::Asks, question(0, *reach, host, *port, false).text));
            }
            Event::ReachAnswered { reach, allow, once } => {
                lines.extend(self.flush());
                let to = self.asked.get(*reach as usize).map_or("it", String::as_str);
                let verb = if *allow { "allow" } else { "deny" };
                let until = if *once { " until this turn ends" } else { "" };
                lines.push(line(LineMark::Said, format!("You {verb} {to}{until}")));
            }
            Event::QuestionsAsked { questions, .. } => {
                lines.extend(self.flush());
                lines.extend(questions.iter().map(|q| line(LineMark::Said, asked_line(q, SAID_MAX))));
            }
            Event::QuestionAnswered { question, answer } => {
                lines.extend(self.flush());
                let answer = first_line(answer, SAID_MAX);
                lines.push(line(LineMark::Said, format!("You answer question {question}: {answer}")));
            }
            Event::PlanAgreed { .. } => lines.push(line(LineMark::Said, "You agree to the plan".to_owned())),
            Event::AskFailed { fault, .. } if fault.kind == FaultKind::TooLong => {
                lines.extend(self.flush());
            }
            Event::Compacting { .. } => self.now = Some("Making the conversation shorter".to_owned()),
            Event::Compacted { .. } => {
                lines.extend(self.flush());
                lines.push(line(LineMark::Done, "Made the conversation shorter".to_owned()));
            }
            Event::Rewound { step } => {
                lines.extend(self.flush());
                self.running.clear();
                self.now = None;
                lines.push(line(LineMark::Said, format!("You take it back to step {step}")));
            }
            Event::Forked { from, step } => {
                lines.extend(self.flush());
                lines.push(line(LineMark::Said, format!("Begins in task {from}, after step {step}")));
            }
            Event::Looped { .. } => {
                lines.extend(self.flush());
                lines.push(line(LineMark::Failed, "It repeats itself; told so".to_owned()));
            }
            Event::Budgeted { task_usd: Some(most), .. } => {
                lines.push(line(LineMark::Said, format!("You: up to {most}")));
            }
            Event::Budgeted { unlimited: true, .. } => {
                lines.push(line(LineMark::Said, "You: no limit in money".to_owned()));
            }
            Event::AskFailed { fault, .. } => {
                lines.extend(self.flush());
                self.running.clear();
                self.unanswered = first_line(&fault.message, SAID_MAX);
                self.now = None;
            }
            Event::FellBack { fallback } => {
                let model = self.fallbacks.get(*fallback as usize).map_or("another model", String::as_str);
                let text = format!("{} Asking {model} instead", sentence(&self.unanswered));
                lines.push(line(LineMark::Failed, text));
                self.now = Some("Thinking".to_owned());
            }
            Event::Paused { .. }
            | Event::Presented { .. }
            | Event::Planned {}
            | Event::Answered {}
            | Event::Discarded {}
            | Event::Cleared {} => {
                lines.extend(self.flush());
                self.running.clear();
                self.now = None;
            }
            Event::Instructed { .. }
            | Event::Frozen { .. }
            | Event::Snapped { .. }
            | Event::Reached { .. }
            | Event::AskedAgain { .. }
            | Event::CompactFailed { .. }
            | Event::CompactWanted {}
            | Event::Attempt { .. }
            | Event::Suggesting { .. }
            | Event::Suggested { .. }
            | Event::SuggestFailed { .. }
            | Event::Budgeted { .. }
            | Event::Accepting { .. }
            | Event::Accepted { .. }
            | Event::Committed { .. }
            | Event::AcceptFailed { .. }
            | Event::Undoing { .. }
            | Event::Undone { .. }
            | Event::UndoFailed { .. }
            | Event::Noted { .. }
            | Event::Imported { .. }
            | Event::NoteDropped { .. } => {}
        }
        lines
    }

    fn begin(&mut self, at_ms: u64) {
        self.began_ms = at_ms;
        self.now = Some("Starting".to_owned());
    }

    /// A hook may change what a call is run with.
    fn hear_input(&mut self, point: Point, runs: &[HookRun]) {
        let Point::Before(place) = point else { return };
        let input = runs.iter().rev().find_map(|run| run.input.clone());
        if let (Some(call), Some(input)) = (self.calls.get_mut(place as usize), input) {
            call.input = input;
        }
    }

    fn say_now(&mut self) {
        let last = self.running.last().and_then(|n| self.calls.get(*n as usize));
        self.now = Some(last.map_or_else(|| "Thinking".to_owned(), |call| self.doing(call)));
    }

    fn say_check(&mut self) {
        let check = self.checks.get(self.checked);
        self.now = Some(
            check.map_or_else(|| "Finishing".to_owned(), |c| format!("Checking {}", quoted(&c.command))),
        );
    }

    fn returned(&mut self, call: &Call, outcome: &Outcome, at_ms: u64) -> Vec<Line> {
        let mut lines = vec![];
        let failed = !outcome.ok || outcome.exit.is_some_and(|exit| exit != 0);
        if failed {
            lines.extend(self.flush());
            let text = match outcome.exit {
                Some(exit) => format!("{}: exit {exit}", self.done(call)),
                None => format!("{} failed", self.doing(call)),
            };
            lines.push(Line { mark: LineMark::Failed, text, at_ms });
            return lines;
        }
        let done = Line { mark: LineMark::Done, text: self.done(call), at_ms };
        if !["read", "search"].contains(&call.tool.as_str()) {
            lines.extend(self.flush());
            lines.push(done);
            return lines;
        }
        match &mut self.quiet {
            Some(quiet) if quiet.tool == call.tool => {
                quiet.times += 1;
                quiet.last = done;
            }
            _ => {
                lines.extend(self.flush());
                self.quiet = Some(Quiet { tool: call.tool.clone(), times: 1, last: done });
            }
        }
        lines
    }

    fn flush(&mut self) -> Option<Line> {
        let Quiet { tool, times, last } = self.quiet.take()?;
        let text = match (times, tool.as_str()) {
            (1, _) => last.text.clone(),
            (_, "read") => format!("Read {}", count(times, "file")),
            _ => format!("Searched {times} times"),
        };
        Some(Line { text, ..last })
    }

    /// Returns what a call does, while it does it.
    fn doing(&self, call: &Call) -> String {
        call_text(call, &self.folders, false)
    }

    /// Returns what a call did.
    fn done(&self, call: &Call) -> String {
        call_text(call, &self.folders, true)
    }
}

/// Returns what a call of a task on `folders` does, or did.
pub(super) fn call_text(call: &Call, folders: &[PathBuf], done: bool) -> String {
    let input: Value = serde_json::from_str(&call.input).unwrap_or(Value::Null);
    let path = |path: &str| path_below(path, folders);
    let text = |name: &str| input.get(name).and_then(Value::as_str).unwrap_or("");
    let verb = |doing: &'static str, did: &'static str| if done { did } else { doing };
    match call.tool.as_str() {
        "shell" => format!("{} {}", verb("Running", "Ran"), quoted(text("command"))),
        "read" => format!("{} {}", verb("Reading", "Read"), path(text("path"))),
        "search" => format!("{} for {}", verb("Searching", "Searched"), quoted(text("pattern"))),
        "look" => format!("{} {}", verb("Looking at", "Looked at"), path(text("target"))),
        "edit" => format!("{} {}", verb("Editing", "Edited"), path(text("path"))),
        "write" => format!("{} {}", verb("Writing", "Wrote"), path(text("path"))),
        "apply_patch" => {
            let paths = patched(text("patch"));
            let first = paths.first().map_or_else(|| "files".to_owned(), |first| path(first));
            let more = match paths.len() {
                0 | 1 => String::new(),
                files => format!(" and {} more", files - 1),
            };
            format!("{} {first}{more}", verb("Editing", "Edited"))
        }
        "plan" => {
            let steps = input.get("steps").and_then(Value::as_array).cloned().unwrap_or_default();
            let now = steps.iter().find(|step| step.get("status").and_then(Value::as_str) == Some("doing"));
            match now.and_then(|step| step.get("step")).and_then(Value::as_str) {
                Some(step) => format!("Plan: {}", first_line(step, QUOTED_MAX)),
                None => format!("{} {}", verb("Planning", "Planned"), count(steps.len() as u64, "step")),
            }
        }
        "ask" => format!("{} you", verb("Asking", "Asked")),
        "serve" => format!("{} how to serve it", verb("Saying", "Said")),
        "job" => {
            let id = input.get("id").and_then(Value::as_u64).unwrap_or(0);
            format!("{} background command {id}", verb("Looking after", "Looked after"))
        }
        other => format!("{} {}", verb("Calling", "Called"), quoted(other)),
    }
}

/// Returns a path as a person calls it: from the task's folder on.
fn path_below(path: &str, folders: &[PathBuf]) -> String {
    let below = folders.iter().find_map(|f| path.strip_prefix(f.to_str()?)?.strip_prefix('/'));
    match below.unwrap_or(path) {
        "" | "." => "the folder".to_owned(),
        path => first_line(path, QUOTED_MAX),
    }
}

fn quoted(text: &str) -> String {
    let line = first_line(text, QUOTED_MAX);
    let more = text.trim().lines().count() > 1 && !line.ends_with('…');
    format!("`{line}{}`", if more { " …" } else { "" })
}

/// Returns the paths that a patch names, in order.
pub(crate) fn patched(patch: &str) -> Vec<&str> {
    let of = |line| {
        ["*** Add File: ", "*** Update File: ", "*** Delete File: "]
            .iter()
            .find_map(|head| str::strip_prefix(line, head))
    };
    patch.lines().filter_map(of).map(str::trim).collect()
}
