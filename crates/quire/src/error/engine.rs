//! What the engine could not do, in words.

use super::{Exit, Failure};
use crate::cmd::{listening_text, no_model};
use quire_core::view::size;
use quire_engine::accept::{AcceptError, Drifted};
use quire_engine::freeze::FreezeError;
use quire_engine::{EngineError, ServeError};

const NOTHING: &str = "Nothing was started or changed.";
const LOG: &str = "Every task and every word of yours is in quire's log, as it was.";

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Failure {
        let what = sentence(&error.to_string());
        let (exit, safe, next) = match error {
            EngineError::Accept(error) => return error.into(),
            EngineError::Settings(error) => return error.into(),
            EngineError::NoModel { task, none } => return no_model(task, &none),
            EngineError::NoSuchTask(_) => (Exit::NoTask, NOTHING, "See which there are: quire ls".to_owned()),
            EngineError::NoPlace => (Exit::WrongUse, NOTHING, "Set HOME.".to_owned()),
            EngineError::Not { task, .. } => {
                (Exit::WrongUse, NOTHING, format!("See where it stands: quire ls; quire log {task}"))
            }
            EngineError::Seen { task, .. } => (
                Exit::FolderChanged,
                "Nothing was written.",
                format!("Look at it as it is now: quire review {task}"),
            ),
            EngineError::Outside { .. } => (
                Exit::WrongUse,
                "Nothing was written.",
                "Name paths as the review shows them, relative to the task's folder.".to_owned(),
            ),
            ref full if full.disk_is_full() => (
                Exit::Trouble,
                "Your folders are as they were.",
                "Make room on the disk, then try again; what quire itself keeps: quire du".to_owned(),
            ),
            EngineError::Sandbox(_) | EngineError::Egress(_) => (
                Exit::NoSandbox,
                "Nothing was run; your folder is as it was.",
                "See what is missing: quire doctor".to_owned(),
            ),
            EngineError::Freeze(FreezeError::Large { bytes }) => {
                let what = format!("The folder is large: {} would have to be copied first.", size(bytes));
                let next = "If you mean it, add --yes; else name a smaller folder: -C DIR";
                return Failure::new(Exit::NeedsYou, what, NOTHING, next);
            }
            EngineError::Freeze(_) => (Exit::Trouble, LOG, "Mend that, then try again.".to_owned()),
            EngineError::Link(_) | EngineError::Host(_) => {
                (Exit::Trouble, LOG, "Run it in view to see why: quire host".to_owned())
            }
            EngineError::Open(_)
            | EngineError::Read(_)
            | EngineError::Append(_)
            | EngineError::Blob(_)
            | EngineError::Snapshot(_)
            | EngineError::Home { .. } => (
                Exit::Trouble,
                "Your folders are as they were.",
                "Look at the disk and its free space, then: quire doctor".to_owned(),
            ),
        };
        Failure::new(exit, what, safe, next)
    }
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Failure {
        const SAFE: &str = "It ran in a sandbox that is gone; your folder is as it was.";
        let what = sentence(&error.to_string());
        match error {
            ServeError::Engine(error) => error.into(),
            ServeError::NoSuchVersion { task, .. } => {
                Failure::new(Exit::WrongUse, what, NOTHING, format!("Show the last one: quire serve {task}"))
            }
            ServeError::TooEarly(task) => {
                Failure::new(Exit::WrongUse, what, NOTHING, format!("Follow it: quire watch {task}"))
            }
            ServeError::NoRecord(task) => Failure::new(
                Exit::Failed,
                what,
                SAFE,
                format!("Let the task say how: quire revise {task} \"Record how it is served\""),
            ),
            ServeError::Ended { output, .. } => {
                let said = match output.trim() {
                    "" => "It said nothing.".to_owned(),
                    said => format!("It said:\n{said}"),
                };
                Failure::new(Exit::Failed, what, SAFE, said)
            }
            ServeError::Silent { listening, .. } => {
                let open = match listening.as_slice() {
                    [] => "Nothing in the sandbox listens.".to_owned(),
                    ports => format!("What does: {}.", listening_text(ports)),
                };
                Failure::new(Exit::Failed, what, SAFE, open)
            }
            ServeError::Undone(_) => {
                Failure::new(Exit::Trouble, what, SAFE, "See what is missing: quire doctor")
            }
        }
    }
}

impl From<AcceptError> for Failure {
    fn from(error: AcceptError) -> Failure {
        let (exit, what) = match &error {
            AcceptError::Drift(drifts) | AcceptError::Edited(drifts) => {
                let rows: Vec<String> = drifts
                    .iter()
                    .take(20)
                    .map(|drift| {
                        let what = match drift.what {
                            Drifted::Changed => "was changed",
                            Drifted::Gone => "is gone",
                            Drifted::Appeared => "has appeared",
                            Drifted::ParentGone => "lost the folder it was in",
                        };
                        format!("{} {what}", drift.path)
                    })
                    .collect();
                let since = match &error {
                    AcceptError::Edited(_) => "you accepted",
                    _ => "the task began",
                };
                let more = if drifts.len() > 20 {
                    format!(", and {} more", drifts.len() - 20)
                } else {
                    String::new()
                };
                (
                    Exit::FolderChanged,
                    format!("Your folder changed since {since}: {}{more}.", rows.join(", ")),
                )
            }
            AcceptError::Touched(_) => (Exit::FolderChanged, error.to_string()),
            AcceptError::NotChanged(_) => (Exit::WrongUse, error.to_string()),
            // It begins with a path, which is not ours to capitalise.
            AcceptError::Folder { .. } => (Exit::Trouble, error.to_string()),
            _ => (Exit::Trouble, sentence(&error.to_string())),
        };
        let (safe, next) = match &error {
            AcceptError::Drift(_) => (
                "Nothing was written; your edits are as you made them.",
                "Take the files that did not change by name, or ask the task to start from yours: quire revise N \"...\"",
            ),
            AcceptError::Edited(_) => (
                "Nothing was written; your edits are as you made them.",
                "Move your edits aside, put the files back as you accepted them, then undo again.",
            ),
            AcceptError::Touched(_) => {
                ("Both sides are kept.", "Look at the files that are named, then accept again.")
            }
            AcceptError::NotChanged(_) => ("Nothing was written.", "Name paths as the review shows them."),
            AcceptError::Unended(_) => {
                ("Nothing is lost: what was there before is kept.", "Mend that, then go on with it: quire ls")
            }
            AcceptError::Disk => ("Your folder is as it was.", "Make room on the disk, then accept again."),
            _ => ("Your folder is as it was.", "Mend that, then try again."),
        };
        Failure::new(exit, what, safe, next)
    }
}

/// Returns `text` with a capital at its start and a stop at its end.
fn sentence(text: &str) -> String {
    let mut chars = text.trim().chars();
    let first: String = chars.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    let whole = format!("{first}{}", chars.as_str());
    if whole.ends_with(['.', '!', '?']) { whole } else { format!("{whole}.") }
}
