//! The one place where an error becomes words for a person, and an exit code. Each error says three things: what happened,
//! what is safe, what to do.

mod engine;

use crate::terminal::clean;
use quire_engine::keys::KeysError;
use quire_engine::models::NoModel;
use quire_engine::settings::{FolderError, SettingsError};
use serde_json::json;
use std::process::ExitCode;

/// How a command ended. A script may rely on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Done = 0,
    /// The task failed, or a check did.
    Failed = 1,
    WrongUse = 2,
    NeedsYou = 3,
    NoModel = 4,
    NoSandbox = 5,
    NoTask = 6,
    /// The real folder changed; nothing was written.
    FolderChanged = 7,
    /// quire itself could not: disk, database, host.
    Trouble = 8,
    /// Ctrl-C.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub exit: Exit,
    pub what: String,
    pub safe: String,
    pub next: String,
    /// The task that is kept all the same, for scripts that made it.
    pub task: Option<u64>,
}

impl Failure {
    pub fn new(
        exit: Exit,
        what: impl Into<String>,
        safe: impl Into<String>,
        next: impl Into<String>,
    ) -> Failure {
        Failure { exit, what: what.into(), safe: safe.into(), next: next.into(), task: None }
    }

    /// Returns the lines for stderr, without the last line break: three plain ones, or one of JSON.
    pub fn text(&self, json: bool) -> String {
        if json {
            let Failure { exit, what, safe, next, task } = self;
            let mut error = json!({"exit": *exit as u8, "what": what, "safe": safe, "next": next});
            if let Some(task) = task {
                error["task"] = json!(task);
            }
            return json!({"v": 1, "error": error}).to_string();
        }
        let lines = [format!("quire: {}", self.what), format!("  {}", self.safe), format!("  {}", self.next)];
        lines
            .iter()
            .filter(|line| !line.trim().is_empty())
            .map(|line| clean(line))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

const NOTHING: &str = "Nothing was started or changed.";

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Failure {
        let next = match error {
            SettingsError::Folder(error) => return error.into(),
            SettingsError::Syntax { .. } | SettingsError::Kind { .. } | SettingsError::Value { .. } => {
                "Mend it there, then try again.".to_owned()
            }
            SettingsError::Unknown { ref nearest, .. } => match nearest {
                Some(nearest) => format!("Write `{nearest}`, or take it out."),
                None => "Take it out. Settings are: model, review_model, review, compact_model, fallback_models, providers, budget, sandbox, secrets, checks."
                    .to_owned(),
            },
            SettingsError::Later { instead, .. } => format!("Instead: {instead}."),
            SettingsError::Wider { .. } => {
                "If you want it so, put it into your own config.toml and take it out of the folder's."
                    .to_owned()
            }
            SettingsError::NoProvider { .. } => "See which there are: quire models".to_owned(),
            SettingsError::NoAddress { ref name, .. } => {
                format!("For example: -c providers.{name}.base_url=http://127.0.0.1:8080/v1")
            }
            SettingsError::Unreadable { .. } => "Make it a readable file, or move it away.".to_owned(),
        };
        Failure::new(Exit::WrongUse, error.to_string(), NOTHING, next)
    }
}

impl From<FolderError> for Failure {
    fn from(error: FolderError) -> Failure {
        let (exit, next) = match &error {
            FolderError::Missing(_)
            | FolderError::Left
            | FolderError::NotAFolder(_)
            | FolderError::System(_)
            | FolderError::Own(_) => (Exit::WrongUse, "Name a folder of yours: -C DIR".to_owned()),
            FolderError::NotText(_) => {
                (Exit::WrongUse, "Give it another name, or name another folder: -C DIR".to_owned())
            }
            FolderError::Unreadable { .. } => {
                (Exit::WrongUse, "Make it readable for you, or name another folder: -C DIR".to_owned())
            }
            FolderError::Nested { outer, .. } => (
                Exit::WrongUse,
                format!("Name {} alone: what lies within it is part of it.", outer.display()),
            ),
            FolderError::Twice(_) => (Exit::WrongUse, "Name each folder once.".to_owned()),
            FolderError::NeedsConfirmation { .. } => {
                (Exit::NeedsYou, "If you mean it, add --yes; else name a smaller folder: -C DIR".to_owned())
            }
        };
        Failure::new(exit, error.to_string(), NOTHING, next)
    }
}

impl From<KeysError> for Failure {
    fn from(error: KeysError) -> Failure {
        let (exit, next) = match &error {
            KeysError::Open { path, .. } => {
                (Exit::WrongUse, format!("Close it: chmod 600 {}", path.display()))
            }
            KeysError::Format { .. } | KeysError::Unreadable { .. } => (
                Exit::WrongUse,
                "Mend it, or move it away and add the keys again: quire models add PROVIDER".to_owned(),
            ),
            KeysError::Unwritable { .. } => (
                Exit::Trouble,
                "Give the key in the provider's variable instead, for example OPENAI_API_KEY.".to_owned(),
            ),
            KeysError::NoPlace => (Exit::WrongUse, "Set HOME.".to_owned()),
        };
        Failure::new(exit, error.to_string(), "No key was changed.", next)
    }
}

impl From<NoModel> for Failure {
    fn from(error: NoModel) -> Failure {
        let next = match error.with_key.first() {
            Some(provider) => format!(
                "You have a key of {provider}'s. Name a model: -m {provider}/MODEL (quire models lists them)"
            ),
            None => {
                "Start one, or add a key: quire models add PROVIDER. To see quire without a model: quire demo"
                    .to_owned()
            }
        };
        Failure::new(Exit::NoModel, error.to_string(), "Nothing in your folder was changed.", next)
    }
}

/// Most often a result that could not be written to stdout; where it is anything else, whoever met it says what it was.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::new(Exit::Trouble, format!("quire could not read or write: {error}."), "", "Try again.")
    }
}
