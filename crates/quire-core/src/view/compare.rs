//! Attempts at the same thing, side by side.

use super::{CheckRow, Cost, Mark, mark, state};
use crate::bytes::RelPath;
use crate::change::{Node, Snapshot};
use crate::task::Task;
use serde::Serialize;
use std::collections::BTreeMap;

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttemptRow {
    pub task: u64,
    /// Its number among those that began together; a further one that was begun in one of them has none of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    pub mark: Mark,
    pub state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// The same for each, run by quire on each.
    pub checks: Vec<CheckRow>,
    pub files: usize,
    /// Lines of texts.
    pub added: usize,
    pub removed: usize,
    pub steps: u32,
    pub worked_ms: u64,
    pub tokens: u64,
    #[serde(flatten)]
    pub cost: Cost,
}

impl AttemptRow {
    pub fn of(task: &Task, files: usize, (added, removed): (usize, usize)) -> AttemptRow {
        let version = task.version();
        let checks = version.iter().flat_map(|version| {
            let proofs = |n: usize| version.proofs.get(n).map(AsRef::as_ref);
            version.checks.iter().enumerate().map(move |(n, spec)| CheckRow::of(spec, proofs(n)))
        });
        AttemptRow {
            task: task.id,
            attempt: task.attempt.filter(|_| task.origin().is_none()).map(|attempt| attempt.number),
            mark: mark(task),
            state: state(task),
            model: task.charter.model.as_ref().map(|model| format!("{}/{}", model.provider, model.name)),
            version: version.map(|version| version.number),
            checks: checks.collect(),
            files,
            added,
            removed,
            steps: task.step,
            worked_ms: task.worked_ms,
            tokens: task.spending().tokens,
            cost: Cost::of(task),
        }
    }

    /// Returns how many lines it adds and takes away, as `+6 -4`.
    pub fn lines_text(&self) -> String {
        match (self.added, self.removed) {
            (0, 0) => "0".to_owned(),
            (added, removed) => super::review::plus_minus(added, removed),
        }
    }

    /// Returns how many of its checks pass, as `2 of 3`.
    pub fn checks_text(&self) -> String {
        let passed = self.checks.iter().filter(|check| check.passed == Some(true)).count();
        match self.checks.len() {
            0 => "none".to_owned(),
            all => format!("{passed} of {all}"),
        }
    }
}

/// Returns what the attempt at a place is called: `A`, `B`; more than there are letters by number.
pub fn letter(place: usize) -> String {
    match ('A'..='Z').nth(place) {
        Some(letter) => letter.to_string(),
        None => (place + 1).to_string(),
    }
}

/// Returns where attempts stand as one: something accepted or asked before all else, then what goes on.
pub fn together(marks: &[Mark]) -> Mark {
    let order = [Mark::Accepted, Mark::NeedsYou, Mark::Working, Mark::Ready, Mark::Paused, Mark::Answered];
    order.into_iter().find(|mark| marks.contains(mark)).unwrap_or(Mark::Discarded)
}

/// What became of a file in each attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileRow {
    pub folder: u32,
    pub path: RelPath,
    /// A letter for each: the same where the file is the same; `-` where it is deleted, `.` where it is as it was.
    pub fates: Vec<char>,
}

/// Returns the files that are not the same in all of these versions, and how many changed in the same way in all.
pub fn differing(versions: &[Option<Snapshot>]) -> (Vec<FileRow>, usize) {
    let mut paths: BTreeMap<(u32, &RelPath), Vec<Option<&Option<Node>>>> = BTreeMap::new();
    for (n, version) in versions.iter().enumerate() {
        for entry in version.iter().flat_map(|version| &version.entries) {
            let nodes =
                paths.entry((entry.folder, &entry.path)).or_insert_with(|| vec![None; versions.len()]);
            nodes[n] = Some(&entry.now);
        }
    }
    let (mut rows, mut same) = (vec![], 0);
    for ((folder, path), nodes) in paths {
        if nodes.iter().all(|node| node == &nodes[0]) {
            same += 1;
            continue;
        }
        let mut kinds: Vec<&Node> = vec![];
        let fates = nodes.iter().map(|node| match *node {
            None => '.',
            Some(None) => '-',
            Some(Some(node)) => {
                let known = kinds.iter().position(|kind| *kind == node).unwrap_or_else(|| {
                    kinds.push(node);
                    kinds.len() - 1
                });
                char::from(b'A' + (known as u8).min(25))
            }
        });
        let fates = fates.collect();
        rows.push(FileRow { folder, path: path.clone(), fates });
    }
    (rows, same)
}

impl FileRow {
    /// Returns what became of it in the attempt at a place, as a person reads it: `deleted`, `as it was`, `as in A`, `its own`.
    pub fn fate(&self, place: usize) -> String {
        match self.fates.get(place) {
            None | Some('.') => "as it was".to_owned(),
            Some('-') => "deleted".to_owned(),
            Some(fate) => match self.fates.iter().position(|other| other == fate) {
                Some(first) if first < place => format!("as in {}", letter(first)),
                _ => "its own".to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::Hash;
    use crate::change::Entry;

    #[test]
    fn attempts_stand_together_where_the_person_is_needed_most() {
        use Mark::*;
        let rows: &[(&[Mark], Mark)] = &[
            (&[Ready, Working, Discarded], Working),
            (&[Ready, Working, NeedsYou], NeedsYou),
            (&[Ready, Paused], Ready),
            (&[Ready, Accepted, Working], Accepted),
            (&[Discarded, Paused], Paused),
            (&[Discarded], Discarded),
            (&[], Discarded),
        ];
        for (marks, expected) in rows {
            assert_eq!(together(marks), *expected, "{marks:?}");
        }
        assert_eq!((letter(0), letter(25), letter(26)), ("A".into(), "Z".into(), "27".into()));
    }

    #[test]
    fn what_differs_is_told_by_what_each_made_of_it() {
        let version = |files: &[(&str, Option<&str>)]| {
            let entry = |(path, content): &(&str, Option<&str>)| Entry {
                folder: 0,
                path: RelPath::new(path.as_bytes()).unwrap(),
                was: None,
                now: content.map(|content| Node::File {
                    blob: Hash::of(content.as_bytes()),
                    bytes: content.len() as u64,
                    mode: 0o644,
                }),
            };
            Some(Snapshot { entries: files.iter().map(entry).collect() })
        };
        let versions = [
            version(&[("all", Some("x")), ("two", Some("y")), ("gone", None)]),
            version(&[("all", Some("x")), ("two", Some("y")), ("gone", Some("z"))]),
            version(&[("all", Some("x")), ("two", Some("other"))]),
            None,
        ];
        let (rows, same) = differing(&versions[..3]);
        let told: Vec<(String, String)> =
            rows.iter().map(|row| (row.path.to_string(), row.fates.iter().collect())).collect();
        assert_eq!(told, [("gone".to_owned(), "-A.".to_owned()), ("two".to_owned(), "AAB".to_owned())]);
        let words = |row: &FileRow| (0..3).map(|n| row.fate(n)).collect::<Vec<_>>().join(", ");
        assert_eq!(
            [words(&rows[0]), words(&rows[1])],
            ["deleted, its own, as it was", "its own, as in A, its own"]
        );
        assert_eq!(same, 1);
        assert_eq!(differing(&versions).0.len(), 3, "one that made nothing differs in all");
    }
}
