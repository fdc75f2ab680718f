//! The tools that a model works with. They run inside the sandbox, in the hand, one thread a call; what they may reach is
//! the sandbox's business, so no path is checked here and no command is refused for how its text looks.
//!
//! A tool is one file in `tool/` (its input type, whose doc comments are what the model reads, its code and its tests) and
//! one line in [`TOOLS`]. A tool's failure is an outcome in words that help a model on, never a Rust error. Everything shown
//! is bounded; what was cut can be read on from a file in the out directory.

mod apply_patch;
mod command;
mod edit;
mod files;
pub(crate) mod hook;
mod job;
mod look;
mod nearest;
mod output;
mod patch;
mod plan;
mod read;
mod search;
mod serve;
mod shell;
mod start;
mod wellformed;
mod write;

use crate::protocol::HandOutcome;
use command::Running;
pub use look::Eyes;
pub use look::glance::NAME as GLANCE;
use quire_core::ToolSpec;
use quire_core::charter::Edits;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
pub use wellformed::looks_at as has_a_form;

/// Names by which quire's own commands are found inside, besides `quire`.
pub(crate) const COMMANDS: &[&str] = &["apply_patch", wellformed::NAME, GLANCE];

/// Every tool there is, in the order in which a model is told of them.
const TOOLS: &[Entry] = &[
    entry::<shell::Shell>(),
    entry::<job::Job>(),
    entry::<read::Read>(),
    entry::<search::Search>(),
    entry::<look::Look>(),
    entry::<plan::Plan>(),
    entry::<serve::Serve>(),
    entry::<apply_patch::ApplyPatch>(),
    entry::<edit::Edit>(),
    entry::<write::Write>(),
];

/// Most bytes of any outcome, news of jobs aside; each tool's own cap is lower.
const TEXT_MAX: usize = 48_000;

/// What a tool's input type says of its tool. Its doc comment is the description, its fields' are the parameters'.
trait Tool: DeserializeOwned + JsonSchema {
    const NAME: &'static str;
    /// Only reads, so that its calls may overlap.
    const ONLY_READS: bool = false;
    /// The way of changing files that this tool belongs to; `None`: every model has it.
    const FOR: Option<Edits> = None;
    /// What is added to the description for a model that sees images.
    const FOR_EYES: &'static str = "";
    /// Does it. The time taken is filled in by who calls.
    fn run(self, here: &Here<'_>) -> HandOutcome;
}

/// Where a call runs.
struct Here<'a> {
    inside: &'a Inside,
    call: u32,
    live: &'a (dyn Fn(&str) + Sync),
}

/// What the calls of one sandbox share: where they are, and the commands that go on between calls.
pub struct Inside {
    /// Absolute; where commands start and what relative paths are below.
    folder: PathBuf,
    /// Where whole outputs and images go, as seen from inside.
    out: PathBuf,
    env: Vec<(String, String)>,
    /// How long `shell` waits until a command goes on in the background.
    patience: Duration,
    ids: AtomicU32,
    /// Commands that run, and ended ones that can still be asked about, by id. Held while a command is started, so that
    /// [`Inside::reap`] never takes a child that is not yet known.
    commands: Mutex<BTreeMap<u32, Arc<Running>>>,
    cancelled: Mutex<BTreeSet<u32>>,
}

impl Inside {
    /// `folder` and `out` are absolute; `env` is the whole environment of commands.
    pub fn new(folder: PathBuf, out: PathBuf, env: Vec<(String, String)>) -> Inside {
        Inside {
            folder,
            out,
            env,
            patience: Duration::from_secs(120),
            ids: AtomicU32::new(1),
            commands: Mutex::default(),
            cancelled: Mutex::default(),
        }
    }

    /// Ends a call: kills the command that it waits for, with all its descendants. Commands that already went into the
    /// background belong to no call and go on.
    pub fn cancel(&self, call: u32) {
        lock(&self.cancelled).insert(call);
        let commands: Vec<_> = lock(&self.commands).values().cloned().collect();
        for command in commands {
            command.cancelled(call);
        }
    }

    /// Buries dead processes that are no command of ours: what commands left behind and pid 1 inherited. For pid 1 to call
    /// on SIGCHLD or now and then; it must not wait for any child otherwise, or exit codes are lost.
    pub fn reap(&self) {
        let commands = lock(&self.commands);
        command::reap_all_but(|pid| commands.values().any(|c| c.owns(pid)));
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    fn is_cancelled(&self, call: u32) -> bool {
        lock(&self.cancelled).contains(&call)
    }

    /// Returns a line for each background command that ended and was not told of, and marks it as told.
    fn news(&self) -> Vec<String> {
        lock(&self.commands).values().filter_map(|c| c.news()).collect()
    }
}

/// Runs a call and returns what came of it; blocks until then. `live` is given output while a command runs. Whatever the
/// model sent (an unknown tool, broken JSON, a wrong type), the outcome says what to do instead.
pub fn run(inside: &Inside, call: u32, tool: &str, input: &str, live: &(dyn Fn(&str) + Sync)) -> HandOutcome {
    if tool == hook::NAME {
        return hook::run(inside, call, input);
    }
    let begun = Instant::now();
    let here = Here { inside, call, live };
    let mut outcome = match TOOLS.iter().find(|t| t.name == tool) {
        Some(entry) => catch_unwind(AssertUnwindSafe(|| (entry.run)(&here, input))).unwrap_or_else(|_| {
            refused(format!("{tool} failed by a fault of its own; look what it changed, or go another way."))
        }),
        None => {
            let names: Vec<_> = TOOLS.iter().map(|t| t.name).collect();
            refused(format!("There is no tool {tool:?}. There are: {}.", names.join(", ")))
        }
    };
    lock(&inside.cancelled).remove(&call);
    bound(&mut outcome.text);
    for line in inside.news() {
        outcome.text = format!("{}\n{line}", outcome.text.trim_end_matches('\n'));
    }
    outcome.millis = begun.elapsed().as_millis() as u64;
    outcome
}

/// Returns the tools as a model with these ways is told of them.
pub fn specs(edits: Edits, images: bool) -> Vec<ToolSpec> {
    let meant = |t: &&Entry| t.edits.is_none_or(|e| e == edits);
    TOOLS
        .iter()
        .filter(meant)
        .map(|t| {
            let mut input = (t.schema)();
            let said = input.as_object_mut().and_then(|o| o.remove("description"));
            let mut description = said.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
            if images {
                description.push_str(t.for_eyes);
            }
            ToolSpec { name: t.name.to_owned(), description, input, reads: t.only_reads }
        })
        .collect()
}

/// Returns whether calls of this tool only read, and so may overlap.
pub fn overlaps(tool: &str) -> bool {
    TOOLS.iter().any(|t| t.name == tool && t.only_reads)
}

/// Returns whether this tool writes the folders' files in the hand's own threads.
pub fn writes(tool: &str) -> bool {
    TOOLS.iter().any(|t| t.name == tool && t.edits.is_some())
}

/// Runs the command that goes by the name in `args[0]` and returns its exit code, or `None` where that is no name of
/// ours. Commands work in the current folder.
pub fn private_main(args: &[OsString]) -> Option<i32> {
    let name = Path::new(args.first()?).file_name()?;
    match name.to_str()? {
        "apply_patch" => Some(apply_patch::main(&args[1..])),
        wellformed::NAME => Some(wellformed::main(&args[1..])),
        GLANCE => Some(look::glance::main(&args[1..])),
        _ => None,
    }
}

struct Entry {
    name: &'static str,
    only_reads: bool,
    edits: Option<Edits>,
    for_eyes: &'static str,
    schema: fn() -> Value,
    run: fn(&Here<'_>, &str) -> HandOutcome,
}

const fn entry<T: Tool>() -> Entry {
    Entry {
        name: T::NAME,
        only_reads: T::ONLY_READS,
        edits: T::FOR,
        for_eyes: T::FOR_EYES,
        schema: schema::<T>,
        run: run_tool::<T>,
    }
}

fn run_tool<T: Tool>(here: &Here<'_>, input: &str) -> HandOutcome {
    let input = input.trim();
    match serde_json::from_str::<T>(if input.is_empty() { "{}" } else { input }) {
        Ok(tool) => tool.run(here),
        Err(error) if error.is_data() => {
            refused(format!("{}: {error}. It takes {}.", T::NAME, parameters(&schema::<T>())))
        }
        Err(error) => refused(format!(
            "{}: the input is not valid JSON ({error}). Send one object with {}.",
            T::NAME,
            parameters(&schema::<T>())
        )),
    }
}

/// Cuts what got longer than any tool means to say, as an error that repeats what the model sent can.
fn bound(text: &mut String) {
    if text.len() > TEXT_MAX {
        let end = (0..=TEXT_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.truncate(end);
        text.push_str("\u{2026} [cut]");
    }
}

/// Returns a line that names the parameters, for a model that got them wrong.
fn parameters(schema: &Value) -> String {
    let needed = |name: &str| {
        schema["required"].as_array().is_some_and(|all| all.iter().any(|n| n.as_str() == Some(name)))
    };
    let all = schema["properties"].as_object().into_iter().flatten();
    let named: Vec<_> = all
        .map(|(name, about)| {
            let kind = about["type"].as_str().unwrap_or("one of its values");
            format!("`{name}` ({kind}{})", if needed(name) { "" } else { ", optional" })
        })
        .collect();
    named.join(", ")
}

/// Returns the JSON Schema of the input without what only costs tokens.
fn schema<T: Tool>() -> Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    let mut value = settings.into_generator().into_root_schema_for::<T>().to_value();
    trim(&mut value);
    value
}

fn trim(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            for noise in ["$schema", "format", "minimum", "maximum", "default"] {
                map.remove(noise);
            }
            // A parameter may be called `title`; the keyword's value is a string.
            if map.get("title").is_some_and(Value::is_string) {
                map.remove("title");
            }
            // An optional parameter is one that may be left out, not one that may be null.
            let kind = map.get("type").and_then(Value::as_array).and_then(|kinds| kinds.first()).cloned();
            if let Some(kind) = kind {
                map.insert("type".to_owned(), kind);
            }
            if let Some(Value::String(text)) = map.get_mut("description") {
                *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            }
            map.values_mut().for_each(trim);
        }
        Value::Array(all) => all.iter_mut().for_each(trim),
        _ => {}
    }
}

fn said(text: impl Into<String>) -> HandOutcome {
    HandOutcome { text: text.into(), ok: true, exit: None, millis: 0, whole: None, images: vec![] }
}

fn refused(text: impl Into<String>) -> HandOutcome {
    HandOutcome { ok: false, ..said(text) }
}

/// Locks, also after a panic elsewhere: every value behind these locks is whole between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inside {
    fn next_id(&self) -> u32 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder, an out directory and the [`Inside`] of them.
    pub(super) struct Place {
        /// Removes all of it in the end.
        _dir: tempfile::TempDir,
        pub(super) inside: Inside,
    }

    impl Place {
        pub(super) fn new() -> Place {
            let dir = tempfile::tempdir().unwrap();
            let (folder, out) = (dir.path().join("folder"), dir.path().join("out"));
            std::fs::create_dir(&folder).unwrap();
            std::fs::create_dir(&out).unwrap();
            let env = [("PATH", std::env::var("PATH").unwrap()), ("LANG", "C.UTF-8".to_owned())];
            let env = env.map(|(name, value)| (name.to_owned(), value)).to_vec();
            Place { inside: Inside::new(folder, out, env), _dir: dir }
        }

        pub(super) fn path(&self, name: &str) -> PathBuf {
            self.inside.folder.join(name)
        }

        pub(super) fn out(&self, name: &str) -> PathBuf {
            self.inside.out.join(name)
        }

        pub(super) fn put(&self, name: &str, content: impl AsRef<[u8]>) {
            std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
            std::fs::write(self.path(name), content).unwrap();
        }

        pub(super) fn get(&self, name: &str) -> Vec<u8> {
            std::fs::read(self.path(name)).unwrap()
        }

        pub(super) fn call(&self, tool: &str, input: Value) -> HandOutcome {
            run(&self.inside, 1, tool, &input.to_string(), &|_| ())
        }
    }

    #[test]
    fn whatever_a_model_sends_it_is_told_what_to_do() {
        let place = Place::new();
        let rows = [
            ("sehll", "{}", "There is no tool \"sehll\". There are: shell, job, read,"),
            ("", "", "There is no tool \"\"."),
            ("shell", "", "shell: missing field `command`"),
            ("shell", "{}", "It takes `background` (boolean, optional), `command` (string)."),
            ("shell", "{\"command\": \"ls\"", "shell: the input is not valid JSON (EOF"),
            ("shell", "ls", "shell: the input is not valid JSON"),
            ("shell", "null", "shell: invalid type: null"),
            ("shell", "[]", "shell: invalid length 0"),
            ("shell", "{\"command\": [\"ls\"]}", "shell: invalid type: sequence, expected a string"),
            ("shell", "{\"command\": \"ls\", \"cwd\": \"/\"}", "shell: unknown field `cwd`"),
            ("shell", "{\"command\": \" \"}", "shell: `command` is empty."),
            ("shell", "{\"command\": \"a\\u0000b\"}", "NUL"),
            ("read", "{\"path\": \"a\", \"offset\": -1}", "read: invalid value: integer `-1`"),
            ("job", "{\"id\": 9, \"action\": \"poll\"}", "There is no job 9. None runs."),
            ("job", "{\"id\": 9, \"action\": \"look\"}", "unknown variant `look`"),
            ("plan", "{\"steps\": [{\"step\": \"a\", \"status\": \"x\"}]}", "unknown variant `x`"),
            ("apply_patch", "{}", "apply_patch: missing field `patch`"),
        ];
        for (tool, input, expect) in rows {
            let outcome = run(&place.inside, 1, tool, input, &|_| ());
            assert!(!outcome.ok && outcome.text.contains(expect), "{tool} {input}: {}", outcome.text);
        }
    }

    #[test]
    fn what_is_repeated_to_the_model_is_bounded() {
        let place = Place::new();
        let huge = "\u{e9}".repeat(1 << 20);
        for (tool, input) in [
            ("read", serde_json::json!({"path": "x", "offset": huge})),
            ("read", serde_json::json!({ "path": huge })),
            ("search", serde_json::json!({ "pattern": format!("({huge}") })),
            (
                "apply_patch",
                serde_json::json!({ "patch": format!("*** Begin Patch\n{huge}\n*** End Patch") }),
            ),
            (&huge, serde_json::json!({})),
        ] {
            let outcome = place.call(tool, input);
            assert!(!outcome.ok && outcome.text.len() <= TEXT_MAX + 20, "{}", outcome.text.len());
        }
    }

    #[test]
    fn what_a_model_is_told_of_the_tools_is_short() {
        for (edits, names) in [
            (Edits::ApplyPatch, "shell job read search look plan serve apply_patch"),
            (Edits::EditAndWrite, "shell job read search look plan serve edit write"),
        ] {
            let all = specs(edits, true);
            assert_eq!(all.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(" "), names);
            let sizes: Vec<_> = all
                .iter()
                .map(|s| (s.name.as_str(), s.name.len() + s.description.len() + s.input.to_string().len()))
                .collect();
            assert!(sizes.iter().map(|s| s.1).sum::<usize>() < 4_500, "{sizes:?}");
            assert!(sizes.iter().all(|s| s.1 <= 800), "{sizes:?}");
            for spec in &all {
                assert_eq!(spec.input["type"], "object", "{}", spec.name);
                assert!(!spec.description.is_empty() && !spec.description.contains('\n'), "{}", spec.name);
                let text = spec.input.to_string();
                assert!(
                    !text.contains("$schema") && !text.contains("\"title\"") && !text.contains("null"),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn only_models_that_see_are_told_of_images() {
        let told = |images| specs(Edits::ApplyPatch, images).iter().any(|s| s.description.contains("PNG"));
        assert!(told(true) && !told(false));
    }

    #[test]
    fn the_descriptions_state_the_real_caps() {
        let all = specs(Edits::ApplyPatch, false);
        let of = |name: &str| all.iter().find(|s| s.name == name).unwrap().description.clone();
        assert!(of("shell").contains("16,000 bytes") && output::SHOWN_MAX == 16_000);
        assert!(of("shell").contains("120 s") && Place::new().inside.patience.as_secs() == 120);
    }

    #[test]
    fn only_what_reads_may_overlap() {
        let overlapping: Vec<_> = TOOLS.iter().map(|t| t.name).filter(|t| overlaps(t)).collect();
        assert_eq!(overlapping, ["read", "search", "look"]);
    }

    #[test]
    fn a_plan_is_noted() {
        let place = Place::new();
        let steps =
            serde_json::json!({"steps": [{"step": "a", "status": "done"}, {"step": "b", "status": "doing"}]});
        assert_eq!(place.call("plan", steps).text, "Noted: 1 of 2 done.");
    }
}
