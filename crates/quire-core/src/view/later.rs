//! What a person edited after an accept, where they undo it: what goes back all the same, what would be merged, and what cannot go back.

use super::{DriftRow, Fit, capital, count};
use crate::bytes::{Hash, RelPath};
use serde::Serialize;

/// Paths that are named one by one.
const NAMED_MAX: usize = 4;

/// What an undo would do, where files were edited since the accept that it takes back. Nothing is written yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LaterEdits {
    pub task: u64,
    /// By which an answer says that it is to just this.
    pub seen: Hash,
    /// How many paths can go back exactly.
    pub exact: usize,
    /// In these the person's later edits would be kept, and only the task's taken out.
    pub merged: Vec<RelPath>,
    /// These cannot go back without losing what the person made of them.
    pub stay: Vec<DriftRow>,
}

impl LaterEdits {
    /// Returns what happened: `style.css was edited after the accept`.
    pub fn heading(&self) -> String {
        let paths: Vec<&RelPath> = self.merged.iter().chain(self.stay.iter().map(|row| &row.path)).collect();
        let mut fits = self.stay.iter().map(|row| row.fit);
        let first = if self.merged.is_empty() { fits.next() } else { Some(Fit::Merges) };
        let did = |fit| match fit {
            Fit::Merges | Fit::Changed => "edited",
            Fit::Gone | Fit::ParentGone => "deleted",
            Fit::Appeared => "added",
        };
        let first = first.map_or("edited", did);
        let what = if fits.all(|fit| did(fit) == first) { first } else { "changed" };
        let verb = if paths.len() == 1 { "was" } else { "were" };
        format!("{} {verb} {what} after the accept", named(&paths))
    }

    /// Returns what can be done about it, in whole sentences.
    pub fn told(&self) -> Vec<String> {
        let mut told = vec![];
        match self.exact {
            0 => {}
            1 => told.push("The other file can go back exactly.".to_owned()),
            exact => told.push(format!("The other {exact} files can go back exactly.")),
        }
        let merged: Vec<&RelPath> = self.merged.iter().collect();
        if !merged.is_empty() {
            let edits = self.edits();
            let edits = format!("your later {edits} would be kept and only this task's lines removed.");
            told.push(format!("For {}, {edits}", named(&merged)));
        }
        let stay =
            self.stay.iter().take(NAMED_MAX).map(|row| format!("{} stays as it is: {}.", row.path, why(row)));
        told.extend(stay);
        if let Some(more @ 1..) = self.stay.len().checked_sub(NAMED_MAX) {
            told.push(capital(&format!("{} more stay as they are.", count(more as u64, "file"))));
        }
        told
    }

    /// Returns `edit`, or of several files `edits`.
    pub fn edits(&self) -> &'static str {
        if self.merged.len() == 1 { "edit" } else { "edits" }
    }
}

/// Returns why a path cannot go back.
fn why(row: &DriftRow) -> &'static str {
    match row.fit {
        Fit::Merges | Fit::Changed if row.overlaps.is_empty() => {
            "it cannot be merged with what you made of it"
        }
        Fit::Merges | Fit::Changed => "your edit is on the very lines of this task",
        Fit::Gone => "you deleted it",
        Fit::Appeared => "it is yours",
        Fit::ParentGone => "the folder that it was in is gone",
    }
}

fn named(paths: &[&RelPath]) -> String {
    let shown: Vec<String> = paths.iter().take(NAMED_MAX).map(|path| path.to_string()).collect();
    match (paths.len().saturating_sub(NAMED_MAX), shown.split_last()) {
        (0, Some((last, before @ [_, ..]))) => format!("{} and {last}", before.join(", ")),
        (0, _) => shown.concat(),
        (more, _) => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::Overlap;

    fn later(exact: usize, merged: &[&str], stay: &[(&str, Fit, bool)]) -> LaterEdits {
        let path = |path: &str| RelPath::new(path).unwrap();
        let overlap = Overlap { line: 1, base: vec![], mine: b"m".into(), theirs: b"t".into() };
        let row = |(at, fit, overlaps): &(&str, Fit, bool)| DriftRow {
            folder: 0,
            path: path(at),
            fit: *fit,
            overlaps: if *overlaps { vec![overlap.clone()] } else { vec![] },
        };
        LaterEdits {
            task: 3,
            seen: Hash::of(b"x"),
            exact,
            merged: merged.iter().map(|at| path(at)).collect(),
            stay: stay.iter().map(row).collect(),
        }
    }

    #[test]
    fn later_edits_are_told_with_what_can_be_done() {
        let rows = [
            (
                later(3, &["style.css"], &[]),
                "style.css was edited after the accept",
                "The other 3 files can go back exactly. For style.css, your later edit would be kept and only this task's lines removed.",
            ),
            (
                later(0, &["a", "b"], &[]),
                "a and b were edited after the accept",
                "For a and b, your later edits would be kept and only this task's lines removed.",
            ),
            (
                later(1, &[], &[("a", Fit::Changed, true)]),
                "a was edited after the accept",
                "The other file can go back exactly. a stays as it is: your edit is on the very lines of this task.",
            ),
            (
                later(0, &[], &[("logo.png", Fit::Changed, false)]),
                "logo.png was edited after the accept",
                "logo.png stays as it is: it cannot be merged with what you made of it.",
            ),
            (
                later(2, &["m"], &[("d/mine", Fit::Appeared, false), ("x", Fit::Gone, false)]),
                "m, d/mine and x were changed after the accept",
                "The other 2 files can go back exactly. For m, your later edit would be kept and only this task's lines removed. \
                 d/mine stays as it is: it is yours. x stays as it is: you deleted it.",
            ),
            (
                later(0, &[], &["a", "b", "c", "d", "e", "f"].map(|at| (at, Fit::ParentGone, false))),
                "a, b, c, d and 2 more were deleted after the accept",
                "a stays as it is: the folder that it was in is gone. b stays as it is: the folder that it was in is gone. \
                 c stays as it is: the folder that it was in is gone. d stays as it is: the folder that it was in is gone. \
                 2 files more stay as they are.",
            ),
        ];
        for (later, heading, told) in rows {
            assert_eq!((later.heading(), later.told().join(" ")), (heading.to_owned(), told.to_owned()));
        }
    }
}
