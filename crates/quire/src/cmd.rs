//! One file a command. Each takes its arguments and the [`Face`], and returns how it ended.

pub mod accept;
pub mod allow;
pub mod answer;
pub mod ask;
pub mod compact;
pub mod compare;
pub mod completions;
pub mod converse;
pub mod demo;
pub mod discard;
pub mod doctor;
pub mod du;
pub mod edit;
pub mod evidence;
pub mod export;
pub mod follow;
pub mod gc;
pub mod host;
pub mod log;
pub mod ls;
pub mod models;
pub mod note;
pub mod report;
pub mod resume;
pub mod review;
pub mod revise;
pub mod rewind;
pub mod run;
pub mod sandbox;
pub mod serve;
pub mod stop;
pub mod trust;
pub mod undo;
pub mod uninstall;
pub mod watch;
pub mod web;

use crate::error::{Exit, Failure};
use crate::layout::one_line;
use crate::terminal::{Look, clean, confirm, print};
use quire_core::charter::SecretRule;
use quire_core::{Logged, Task, view};
use quire_engine::keys::Keys;
use quire_engine::models::NoModel;
use quire_engine::settings::{self, FolderError, Options, Resolved, SettingsError, Surroundings};
use quire_engine::{EngineError, Link, Port, Quire};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;

/// How this run shows things.
pub struct Face {
    pub json: bool,
    pub quiet: bool,
    pub out: Look,
    pub err: Look,
}

impl Face {
    /// Returns whether a person can be asked.
    pub fn can_ask(&self) -> bool {
        self.err.terminal && !self.json && io::stdin().is_terminal()
    }

    /// Returns whether more than the result is to be said.
    pub fn is_talkative(&self) -> bool {
        !self.quiet && !self.json
    }
}

/// Opens what quire keeps, and says where an accept or undo had to be finished or rolled back first.
pub fn open() -> Result<(Quire, Surroundings), Failure> {
    let surroundings = Surroundings::capture();
    let quire = Quire::open(&surroundings)?;
    say_recovered(&quire);
    Ok((quire, surroundings))
}

/// Says what was found half done, whatever is asked for: it concerns the person's files.
pub fn say_recovered(quire: &Quire) {
    for recovered in quire.recovered() {
        let what = if recovered.undo { "undo" } else { "accept" };
        let how = if recovered.after { "finished" } else { "rolled back" };
        follow::say(&format!("Task {}: an {what} was interrupted; it is now {how}.", recovered.task));
    }
    for paid in quire.paid() {
        for row in &paid.rows {
            follow::say(&format!("Task {}: {}. {}", paid.task, row.late_text(), row.text()));
        }
    }
    for half in quire.unended() {
        let what = if half.undo { "undo" } else { "accept" };
        follow::say(&format!("Task {}, {what}: {}.", half.task, half.why));
    }
}

/// Returns the host's address for a task, with the keys of its models and its secrets handed over, where there are any.
pub async fn to_host(quire: &Quire, task: &Task, keys: &Keys, here: &Surroundings) -> Result<Link, Failure> {
    Ok(quire.hand_over(task.id, &view::Uses::of(task), keys, here).await?)
}

/// Tells the host, if one runs, that a task's log has news: what is stopped ends at once.
pub fn nudge_host(quire: &Quire, task: u64) -> Result<(), Failure> {
    wait(quire.tell_host(task))
}

/// Returns what the programs of tasks at work listen on, as the host that runs says it.
pub fn listening(quire: &Quire) -> Result<HashMap<u64, Vec<Port>>, Failure> {
    wait(async {
        match quire.running_host().await {
            Some(mut link) => link.listening().await,
            None => HashMap::new(),
        }
    })
}

/// Returns `listening: 5173 (node)`.
pub fn listening_text(ports: &[Port]) -> String {
    let one = |port: &Port| match one_line(&port.program) {
        program if program.is_empty() => port.port.to_string(),
        program => format!("{} ({program})", port.port),
    };
    format!("listening: {}", ports.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// Says which secrets of the settings have no value here, so that commands do without them.
pub fn say_unset(secrets: &[SecretRule], keys: &Keys, here: &Surroundings, face: &Face) {
    let unset: Vec<&str> = secrets
        .iter()
        .filter(|rule| keys.secret(&rule.name, here).is_none())
        .map(|rule| rule.name.as_str())
        .collect();
    if !unset.is_empty() && !face.json && !face.quiet {
        follow::say(&format!("Not set, so commands do not have it: {}.", unset.join(", ")));
    }
}

/// Returns what to say where a task waits for a model to be named.
pub fn no_model(task: u64, none: &NoModel) -> Failure {
    let example = none.with_key.first().map_or("PROVIDER", String::as_str);
    let failure = Failure::new(
        Exit::NoModel,
        none.to_string(),
        format!("Task {task} is kept with all its words; your folder has not changed."),
        format!(
            "Name a model (see: quire models): quire resume {task} -m {example}/MODEL. Without one: quire demo"
        ),
    );
    Failure { task: Some(task), ..failure }
}

/// Returns the home, from which on folders are named.
pub fn home() -> Option<PathBuf> {
    std::env::home_dir().filter(|home| home.is_absolute())
}

/// Prints one line of JSON with its version.
pub fn print_json(mut object: Value) -> io::Result<()> {
    object["v"] = json!(1);
    print(&format!("{object}\n"))
}

/// Returns an event as scripts read it.
pub fn event_json(task: u64, logged: &Logged) -> Value {
    json!({"task": task, "seq": logged.seq, "at_ms": logged.at_ms, "event": logged.event})
}

/// Says that a task is now in another state, on stdout.
pub fn print_state(task: &Task, text: &str, face: &Face) -> io::Result<()> {
    print_standing(task.id, view::mark(task), &view::state(task), text, face)
}

/// The same of a task that need not be folded for it.
pub fn print_standing(id: u64, mark: view::Mark, state: &str, text: &str, face: &Face) -> io::Result<()> {
    if face.json {
        print_json(json!({"task": id, "mark": mark, "state": state}))
    } else {
        print(&format!("{text}\n"))
    }
}

/// The most that a task's words may be, from stdin; more is a file that was meant to lie in the folder.
const WORDS_BYTES_MAX: u64 = 8 << 20;

/// Returns what a new task may use. Where a folder is as large as a home, or brings something of its own that its person has
/// not said yes to, a person at the terminal is asked.
pub fn resolve(options: &Options, surroundings: &Surroundings, face: &Face) -> Result<Resolved, Failure> {
    let mut options = options.clone();
    let can_ask = face.can_ask();
    let resolved = match settings::resolve(&options, surroundings) {
        Err(SettingsError::Folder(unsure @ FolderError::NeedsConfirmation { .. })) => {
            if !can_ask || !confirm(&clean(&format!("{unsure} Go on?")))? {
                return Err(unsure.into());
            }
            options.confirmed = true;
            settings::resolve(&options, surroundings)?
        }
        resolved => resolved?,
    };
    let Some(wants) = &resolved.settings.untrusted else {
        say_idle(&resolved, face);
        return Ok(resolved);
    };
    if can_ask {
        follow::say(trust::list(wants).trim_end());
        if confirm("Let it take effect? Without it the task works as you have set it.")? {
            let home = quire_engine::quire::home(surroundings)?;
            wants.trust(&home).map_err(|why| EngineError::Home { path: home, why })?;
            let resolved = settings::resolve(&options, surroundings)?;
            say_idle(&resolved, face);
            return Ok(resolved);
        }
    } else if face.is_talkative() {
        let changed = if wants.changed { ", as it has changed" } else { "" };
        follow::say(&format!("Not trusted{changed}, so without effect: {}. See: quire trust", wants.brief()));
    }
    say_idle(&resolved, face);
    Ok(resolved)
}

/// Says what of hooks has no effect.
fn say_idle(resolved: &Resolved, face: &Face) {
    if face.is_talkative() {
        resolved.settings.idle.iter().for_each(|why| follow::say(&format!("Without effect: {why}.")));
    }
}

/// Returns the words that were typed, or for `-` those on stdin.
pub fn words(typed: &str) -> Result<String, Failure> {
    if typed != "-" {
        return Ok(typed.to_owned());
    }
    let wrong = |what: &str| {
        Failure::new(
            Exit::WrongUse,
            what,
            "Nothing was started or changed.",
            "Say it in words, as text in UTF-8: quire run - < FILE",
        )
    };
    let mut bytes = Vec::new();
    std::io::stdin().take(WORDS_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > WORDS_BYTES_MAX {
        return Err(wrong("What came on stdin is longer than 8 MiB."));
    }
    let words = String::from_utf8(bytes).map_err(|_| wrong("What came on stdin is not UTF-8."))?;
    if words.trim().is_empty() { Err(wrong("Nothing came on stdin.")) } else { Ok(words) }
}

/// Runs what is async to its end; only commands that need it pay for a runtime.
pub fn wait<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    Ok(runtime()?.block_on(work))
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}
