//! What the engine could not do, in words.

use super::{Exit, Failure};
use crate::cmd::{listening_text, no_model};
use crate::layout::{cut, one_line, quoted};
use crate::terminal::clean;
use quire_core::merge::Overlap;
use quire_core::view::size;
use quire_engine::accept::{AcceptError, Drifted};
use quire_engine::attached::AttachError;
use quire_engine::freeze::FreezeError;
use quire_engine::store::AppendError;
use quire_engine::{Aside, Choice, EngineError, GitError, ParcelError, ServeError};
use std::ffi::OsString;

/// Columns of one side's line that are shown where two do not fit.
const SIDE_COLUMNS: usize = 40;
const NOTHING: &str = "Nothing was started or changed.";
const LOG: &str = "Every task and every word of yours is in quire's log, as it was.";

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Failure {
        let what = sentence(&error.to_string());
        let (exit, safe, next) = match error {
            EngineError::Accept { task, error } => return not_written(task, &error),
            EngineError::Settings(error) => return error.into(),
            EngineError::NoModel { task, none } => return no_model(task, &none),
            EngineError::NoSuchTask(_) => (Exit::NoTask, NOTHING, "See which there are: quire ls".to_owned()),
            EngineError::NoPlace => (Exit::WrongUse, NOTHING, "Set HOME.".to_owned()),
            EngineError::Not { task, .. } => {
                (Exit::WrongUse, NOTHING, format!("See where it stands: quire ls; quire log {task}"))
            }
            EngineError::Git(GitError::Unwritten { .. }) => (
                Exit::Trouble,
                "Nothing was written.",
                "Make room, or name a file in a place where you may write".to_owned(),
            ),
            EngineError::Git(error) => {
                let next = match error {
                    GitError::FileIsThere(_) => "Name a file that is not there yet",
                    GitError::SeveralFolders => {
                        "Name the files of one folder: quire accept N PATH --bundle FILE"
                    }
                    GitError::NoGit => "Install git, or accept without --commit",
                    GitError::Nobody => {
                        "Say who you are: git config user.name NAME, git config user.email ADDRESS"
                    }
                    GitError::UnderWay(_) => "End that first, or accept without --commit",
                    GitError::BranchIsThere(_) | GitError::BranchBeside(..) | GitError::BranchName(_) => {
                        "Choose another name"
                    }
                    _ => "Accept without --commit, then commit with git",
                };
                (Exit::WrongUse, "Nothing was written.", next.to_owned())
            }
            EngineError::NoSuchPoint { task, .. } => {
                (Exit::WrongUse, NOTHING, format!("See its steps and versions: quire rewind {task}"))
            }
            EngineError::Seen { task, .. } | EngineError::Overtaken { task } => (
                Exit::NeedsYou,
                "Nothing was written.",
                format!("Look at it as it is now: quire review {task}"),
            ),
            EngineError::Merges { task, now, choice, .. } => (
                Exit::FolderChanged,
                "Nothing was written; your edits are as you made them.",
                format!(
                    "Look at both, then take exactly that: {} --seen {}",
                    again(task, &choice),
                    now.short()
                ),
            ),
            EngineError::LaterEdits(ref later) => {
                let told = later.told().join(" ");
                let next = format!("Undo it with your edits kept: quire undo {}", later.task);
                let safe = format!("Nothing was written. {told}");
                return Failure::new(Exit::NeedsYou, what, safe, next);
            }
            EngineError::Moving { task } => (
                Exit::FolderChanged,
                "Nothing was written; your edits are as you made them.",
                format!("Accept again when it is at rest: quire accept {task}"),
            ),
            EngineError::Programs { task, paths } => {
                let rows = paths.iter().map(|(path, when)| format!("{path} {when}"));
                return Failure::new(
                    Exit::NeedsYou,
                    format!("What would be accepted can run programs on your machine: {}.", some(rows)),
                    "Nothing was written.",
                    format!(
                        "Look at these files, then say yes to them as well: quire accept {task} --with-programs"
                    ),
                );
            }
            EngineError::Fails { task, fails } => {
                let said = fails.iter().map(|check| check.output.trim()).find(|said| !said.is_empty());
                let said = said.map(|said| format!("\nIt said:\n{}", tail(said))).unwrap_or_default();
                return Failure::new(
                    Exit::Failed,
                    what,
                    "Nothing was written.",
                    format!(
                        "Take more of it, all of it, or this all the same: quire accept {task} ... --unchecked{said}"
                    ),
                );
            }
            EngineError::Unchecked { task, .. } => (
                Exit::Trouble,
                "Nothing was written.",
                format!("Mend that, or take it without: quire accept {task} ... --unchecked"),
            ),
            EngineError::NoPlaceFor { task, .. } => {
                (Exit::WrongUse, NOTHING, format!("See what there is: quire review {task}"))
            }
            EngineError::Attach(AttachError::Unreadable { .. } | AttachError::TooMuch { .. }) => (
                Exit::WrongUse,
                NOTHING,
                "Name a file that you can read; what is larger belongs into the folder.".to_owned(),
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
            ref newer if newer.is_of_a_newer_quire() => (
                Exit::Trouble,
                "Your folders are as they were.",
                "Install the newer quire; this one cannot read what that one wrote.".to_owned(),
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
            EngineError::Append(AppendError::Conflict { .. } | AppendError::Illegal(_)) => (
                Exit::WrongUse,
                "Nothing was changed by this.",
                "Another command changed the task at the same moment. See where it stands: quire ls"
                    .to_owned(),
            ),
            EngineError::Open(_)
            | EngineError::Read(_)
            | EngineError::Append(_)
            | EngineError::Blob(_)
            | EngineError::Attach(AttachError::Blob(_))
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

impl From<ParcelError> for Failure {
    fn from(error: ParcelError) -> Failure {
        let what = sentence(&error.to_string());
        match error {
            ParcelError::Engine(error) => error.into(),
            ParcelError::There { .. } => {
                Failure::new(Exit::WrongUse, what, NOTHING, "Name a file that is not there yet.")
            }
            ParcelError::File { .. } => {
                Failure::new(Exit::WrongUse, what, NOTHING, "Name a file that can be used.")
            }
            ParcelError::Broken { .. } => Failure::new(
                Exit::WrongUse,
                what,
                "Nothing of it was taken.",
                "Have it written anew: quire export N FILE",
            ),
        }
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

/// Says why an accept or undo of a task wrote nothing.
fn not_written(task: u64, error: &AcceptError) -> Failure {
    let (exit, what) = match &error {
        AcceptError::Drift(drifts) | AcceptError::Edited(drifts) => {
            let undo = matches!(error, AcceptError::Edited(_));
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
                    let folder = if drift.is_folder { ": a folder of yours is there" } else { "" };
                    format!("{} {what}{folder}{}", drift.path, sides(&drift.overlaps, undo))
                })
                .collect();
            let since = match &error {
                AcceptError::Edited(_) => "you accepted",
                _ => "the task began",
            };
            let more =
                if drifts.len() > 20 { format!(", and {} more", drifts.len() - 20) } else { String::new() };
            (Exit::FolderChanged, format!("Your folder changed since {since}: {}{more}.", rows.join(", ")))
        }
        AcceptError::Touched(_) => (Exit::FolderChanged, error.to_string()),
        AcceptError::NotChanged(_)
        | AcceptError::NotWritten(_)
        | AcceptError::NoHunk(_)
        | AcceptError::ManyHunks(_) => (Exit::WrongUse, error.to_string()),
        // It begins with a path, which is not ours to capitalise.
        AcceptError::Folder { .. } => (Exit::Trouble, error.to_string()),
        _ => (Exit::Trouble, sentence(&error.to_string())),
    };
    let (safe, next) = match &error {
        AcceptError::Drift(drifts) if drifts.iter().any(|drift| drift.is_folder) => (
            "Nothing was written; your edits are as you made them.",
            &*format!(
                "A folder of yours is never put aside: move it away, then accept again; or take what fits: quire accept {task} PATH..."
            ),
        ),
        AcceptError::Drift(_) => (
            "Nothing was written; your edits are as you made them.",
            &*format!(
                "See both sides: quire review {task}; let it fit around yours: quire revise {task} --fit; take what fits: \
                     quire accept {task} PATH... --only HUNK,...; or the task's side, with yours kept aside: quire accept {task} --over PATH,..."
            ),
        ),
        AcceptError::Edited(_) => (
            "Nothing was written; your edits are as you made them.",
            &*format!(
                "Take back yourself what you changed there, then undo again; or undo the others: quire undo {task} PATH..."
            ),
        ),
        AcceptError::Touched(_) => {
            ("Both sides are kept.", "Look at the files that are named, then accept again.")
        }
        AcceptError::NotWritten(_) => (
            "Nothing was written.",
            &*format!("Take back the whole of it: quire undo {task}; what it wrote: quire log {task}"),
        ),
        AcceptError::NotChanged(_) => ("Nothing was written.", "Name paths as the review shows them."),
        AcceptError::NoHunk(_) | AcceptError::ManyHunks(_) => {
            ("Nothing was written.", "Name them as the review shows them, at least four digits of each.")
        }
        AcceptError::Unended(_) => {
            ("Nothing is lost: what was there before is kept.", "Mend that, then go on with it: quire ls")
        }
        AcceptError::Disk => ("Your folder is as it was.", "Make room on the disk, then accept again."),
        _ => ("Your folder is as it was.", "Mend that, then try again."),
    };
    Failure::new(exit, what, safe, next)
}

/// Returns the command that accepts the same.
fn again(task: u64, choice: &Choice) -> String {
    let word = |path: &OsString| path.to_string_lossy().into_owned();
    let list = |option: &str, of: Vec<String>| match of.is_empty() {
        true => String::new(),
        false => format!(" {option} {}", quoted(&of.join(","))),
    };
    let paths: String = choice.paths.iter().map(|path| format!(" {}", quoted(&word(path)))).collect();
    let mut command = format!("quire accept {task}{paths}");
    command.push_str(&list("--only", choice.hunks.clone()));
    command.push_str(&list("--over", choice.over.iter().map(word).collect()));
    let (option, value) = match &choice.aside {
        Some(Aside::Branch(name)) => ("--branch", vec![name.clone()]),
        Some(Aside::Bundle(file)) => ("--bundle", vec![file.to_string_lossy().into_owned()]),
        None => ("", vec![]),
    };
    command.push_str(&list(option, value));
    for (said, option) in [
        (choice.programs, " --with-programs"),
        (choice.unchecked, " --unchecked"),
        (choice.commit, " --commit"),
    ] {
        command.push_str(if said { option } else { "" });
    }
    command
}

/// Returns the first place at which two sides do not fit.
fn sides(overlaps: &[Overlap], undo: bool) -> String {
    let Some(first) = overlaps.first() else { return String::new() };
    let side = |text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        match text.lines().next() {
            Some(line) if text.lines().count() > 1 => {
                format!("`{}` and more", cut(&one_line(line), SIDE_COLUMNS))
            }
            Some(line) => format!("`{}`", cut(&one_line(line), SIDE_COLUMNS)),
            None => "nothing".to_owned(),
        }
    };
    let theirs = if undo { "was" } else { "the task's is" };
    let more = match overlaps.len() - 1 {
        0 => String::new(),
        more => format!(", and {}", quire_core::view::count(more as u64, "more place")),
    };
    let (line, mine, other) = (first.line, side(&first.mine), side(&first.theirs));
    format!(" on the same lines (line {line}: yours is {mine}, {theirs} {other}{more})")
}

/// Returns the first of some things, as a list.
fn some(mut rows: impl Iterator<Item = String>) -> String {
    let shown: Vec<String> = rows.by_ref().take(10).collect();
    let more = rows.count();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join("; "))
}

/// Returns the last lines of an output.
fn tail(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    clean(&lines[lines.len().saturating_sub(10)..].join("\n"))
}

/// Returns `text` with a capital at its start and a stop at its end.
fn sentence(text: &str) -> String {
    // A file's name, a command or a setting is not ours to capitalise.
    let word = text.split_whitespace().next().unwrap_or_default().trim_end_matches([',', ':', ';', '.']);
    if !word.chars().all(char::is_alphabetic) {
        return ended(text.trim());
    }
    let mut chars = text.trim().chars();
    let first: String = chars.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    ended(&format!("{first}{}", chars.as_str()))
}

fn ended(text: &str) -> String {
    if text.ends_with(['.', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}

#[cfg(test)]
mod tests {
    use super::sentence;

    #[test]
    fn a_sentence_begins_with_a_capital_and_a_files_name_as_it_is() {
        for (text, expected) in [
            ("the disk is full", "The disk is full."),
            ("t.quire is there already", "t.quire is there already."),
            ("src/a: it is gone!", "src/a: it is gone!"),
            ("`x` fails", "`x` fails."),
            ("nothing, then", "Nothing, then."),
        ] {
            assert_eq!(sentence(text), expected);
        }
    }
}
