//! `quire gc`: clears away what is past its age. A host does the same once a day by itself.

use crate::cli::GcArgs;
use crate::cmd::{Face, open, print_json};
use crate::error::{Exit, Failure};
use crate::terminal::{count, print};
use quire_core::view;
use quire_engine::gc::{Cleared, KEPT};
use serde_json::json;

pub fn gc(args: &GcArgs, face: &Face) -> Result<Exit, Failure> {
    let (quire, _) = open()?;
    let cleared = quire.clear(args.dry_run)?;
    if face.json {
        let days = KEPT.as_secs() / (24 * 3600);
        print_json(json!({"cleared": cleared, "dry_run": args.dry_run, "undo_days": days}))?;
    } else {
        print(&text(&cleared, args.dry_run))?;
    }
    Ok(Exit::Done)
}

fn text(cleared: &Cleared, dry_run: bool) -> String {
    let parts = [
        (cleared.tasks.len(), "finished task"),
        (cleared.copies as usize, "unused copy of a folder or layer of one"),
        (cleared.contents as usize, "content that no task has any more"),
    ];
    let what: Vec<String> = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| match (number, *what) {
            (1, what) => format!("1 {what}"),
            (n, "unused copy of a folder or layer of one") => {
                format!("{n} unused copies of folders or layers of such")
            }
            (n, "content that no task has any more") => format!("{n} contents that no task has any more"),
            (n, what) => count(*n, what),
        })
        .collect();
    let days = KEPT.as_secs() / (24 * 3600);
    let kept = format!(
        "What you accepted in the last {days} days can be undone; work that you did not accept is never cleared away.\n"
    );
    if what.is_empty() {
        return format!("Nothing is past its age.\n{kept}");
    }
    let verb = if dry_run { "Would clear away" } else { "Cleared away" };
    format!("{verb} {}: {}.\n{kept}", what.join(", "), view::size(cleared.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_went_and_what_is_kept() {
        let kept = "\nWhat you accepted in the last 30 days can be undone; work that you did not accept is never cleared away.\n";
        let all = Cleared { tasks: vec![1, 4], copies: 1, contents: 3, bytes: 2_500_000 };
        for (cleared, dry_run, expected) in [
            (Cleared::default(), false, "Nothing is past its age."),
            (
                all.clone(),
                false,
                "Cleared away 2 finished tasks, 1 unused copy of a folder or layer of one, 3 contents that no task has any \
                 more: 2.5 MB.",
            ),
            (
                Cleared { tasks: vec![9], ..Cleared::default() },
                true,
                "Would clear away 1 finished task: 0 bytes.",
            ),
        ] {
            assert_eq!(text(&cleared, dry_run), format!("{expected}{kept}"));
        }
    }
}
