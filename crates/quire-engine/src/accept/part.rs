//! What of a version a person takes: all, the paths that they name, or single hunks of files.

use super::AcceptError;
use quire_core::change::renames::renames;
use quire_core::event::Part;
use quire_core::{Entry, Hash, Node, RelPath, Snapshot, diff};
use std::collections::{BTreeMap, BTreeSet};

/// Fewest digits of a hunk's name that are taken for one.
const ID_MIN: usize = 4;

/// What a file was and is.
pub type Texts = (Vec<u8>, Vec<u8>);

/// Returns a file's contents; `None` where that is no text that is compared line by line.
pub type Read<'a, E> = &'a dyn Fn(&Entry) -> Result<Option<Texts>, E>;

/// What was chosen of a version.
#[derive(Debug, Default)]
pub struct Chosen {
    pub entries: Vec<Entry>,
    /// Contents of files of which some hunks were chosen; no version has them.
    pub contents: Vec<Vec<u8>>,
}

/// Returns the entries that a person named, as [`select`] does, with what belongs to them: a renamed file goes with its old
/// path. Of a file of which only hunks are named, these are taken, and its mode stays. What names nothing is `wrong`.
pub fn choose<E>(
    snapshot: &Snapshot,
    only: &[Part],
    hunks: &[String],
    read: Read<'_, E>,
    wrong: &dyn Fn(AcceptError) -> E,
) -> Result<Chosen, E> {
    if let Some(part) = only.iter().find(|part| !snapshot.entries.iter().any(|e| is_part(e, part))) {
        return Err(wrong(AcceptError::NotChanged(part.path.clone())));
    }
    let named = named(snapshot, hunks, read, wrong)?;
    let mut parts = only.to_vec();
    let mut partly: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for (at, ids) in named {
        let entry = &snapshot.entries[at];
        match (&entry.was, &entry.now) {
            (Some(Node::File { .. }), Some(Node::File { .. })) => drop(partly.insert(at, ids)),
            // It came or went as a whole.
            _ => parts.push(Part { folder: entry.folder, path: entry.path.clone() }),
        }
    }
    if !parts.is_empty() {
        for ((folder, to), from) in renames(&snapshot.entries) {
            let holds = |path: &RelPath| parts.iter().any(|p| p.folder == folder && path.is_within(&p.path));
            match (holds(&to), holds(&from)) {
                (true, false) => parts.push(Part { folder, path: from }),
                (false, true) => parts.push(Part { folder, path: to }),
                _ => {}
            }
        }
    }
    let mut chosen = Chosen::default();
    if !parts.is_empty() || partly.is_empty() {
        chosen.entries = select(snapshot, &parts);
    }
    for (at, ids) in partly {
        let entry = &snapshot.entries[at];
        if chosen.entries.contains(entry) {
            continue;
        }
        if let (Some((was, now)), Some(Node::File { mode, .. })) = (read(entry)?, &entry.was) {
            let content = diff::take(entry.folder, &entry.path, &was, &now, &ids);
            let node = Node::File { blob: Hash::of(&content), bytes: content.len() as u64, mode: *mode };
            chosen.entries.push(Entry { now: Some(node), ..entry.clone() });
            chosen.contents.push(content);
        }
    }
    chosen.entries.sort_by(|a, b| (a.folder, &a.path).cmp(&(b.folder, &b.path)));
    Ok(chosen)
}

/// Returns which hunks of which entries were named, by the beginnings of their names.
fn named<E>(
    snapshot: &Snapshot,
    hunks: &[String],
    read: Read<'_, E>,
    wrong: &dyn Fn(AcceptError) -> E,
) -> Result<BTreeMap<usize, BTreeSet<String>>, E> {
    let mut found: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    if hunks.is_empty() {
        return Ok(found);
    }
    let mut all: Vec<(String, usize)> = vec![];
    for (at, entry) in snapshot.entries.iter().enumerate() {
        if let Some((was, now)) = read(entry)? {
            let names = diff::names(entry.folder, &entry.path, &was, &now);
            all.extend(names.into_iter().map(|name| (name, at)));
        }
    }
    for wanted in hunks {
        let lower = wanted.to_lowercase();
        let mut like = all.iter().filter(|(name, _)| lower.len() >= ID_MIN && name.starts_with(&lower));
        match (like.next(), like.next()) {
            (Some((name, at)), None) => drop(found.entry(*at).or_default().insert(name.clone())),
            (None, _) => return Err(wrong(AcceptError::NoHunk(wanted.clone()))),
            _ => return Err(wrong(AcceptError::ManyHunks(wanted.clone()))),
        }
    }
    Ok(found)
}

/// Returns the entries at or below the parts; none named: all. A new directory comes with what was named in it.
pub fn select(snapshot: &Snapshot, only: &[Part]) -> Vec<Entry> {
    let holds = |e: &Entry| {
        matches!(e.now, Some(Node::Dir { .. }))
            && !matches!(e.was, Some(Node::Dir { .. }))
            && only.iter().any(|part| part.folder == e.folder && part.path.is_within(&e.path))
    };
    let chosen = |e: &&Entry| only.is_empty() || only.iter().any(|part| is_part(e, part)) || holds(e);
    snapshot.entries.iter().filter(chosen).cloned().collect()
}

pub(crate) fn is_part(entry: &Entry, part: &Part) -> bool {
    entry.folder == part.folder && entry.path.is_within(&part.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
    const NEW: &str = "1!\n2\n3\n4\n5!\n6\n7\n8\n9!\n";

    fn file(content: &str, mode: u32) -> Option<Node> {
        Some(Node::File { blob: Hash::of(content.as_bytes()), bytes: content.len() as u64, mode })
    }

    fn entry(path: &str, was: Option<Node>, now: Option<Node>) -> Entry {
        Entry { folder: 0, path: RelPath::new(path).unwrap(), was, now }
    }

    fn version() -> Snapshot {
        Snapshot {
            entries: vec![
                entry("a", file(OLD, 0o644), file(NEW, 0o755)),
                entry("d", None, Some(Node::Dir { mode: 0o755 })),
                entry("d/new", None, file("n\n", 0o644)),
                entry("d/to", None, file("moved\n", 0o644)),
                entry("from", file("moved\n", 0o644), None),
                entry("gone", file("g\n", 0o644), None),
            ],
        }
    }

    fn read(entry: &Entry) -> Result<Option<Texts>, AcceptError> {
        let text = |node: &Option<Node>| match node {
            None => vec![],
            Some(Node::File { blob, .. }) => {
                let all = [OLD, NEW, "n\n", "moved\n", "g\n"].into_iter();
                all.map(|text| text.as_bytes().to_vec()).find(|text| Hash::of(text) == *blob).unwrap()
            }
            Some(_) => vec![],
        };
        Ok(Some((text(&entry.was), text(&entry.now))))
    }

    fn taken(paths: &[&str], hunks: &[&str]) -> Result<Vec<String>, AcceptError> {
        let only: Vec<Part> =
            paths.iter().map(|p| Part { folder: 0, path: RelPath::new(*p).unwrap() }).collect();
        let hunks: Vec<String> = hunks.iter().map(|h| (*h).to_owned()).collect();
        let chosen = choose(&version(), &only, &hunks, &read, &|error| error)?;
        let show = |e: &Entry| match (&e.now, chosen.contents.first()) {
            (Some(Node::File { blob, mode, .. }), Some(content)) if *blob == Hash::of(content) => {
                format!("{} {mode:o} {}", e.path, String::from_utf8_lossy(content).replace('\n', ""))
            }
            _ => e.path.to_string(),
        };
        Ok(chosen.entries.iter().map(show).collect())
    }

    #[test]
    fn parts_are_taken_by_path_and_by_hunk() {
        let names = |path: &str, was: &str, now: &str| {
            diff::names(0, &RelPath::new(path).unwrap(), was.as_bytes(), now.as_bytes())
        };
        let a = names("a", OLD, NEW);
        let new = &names("d/new", "", "n\n")[0];
        let gone = &names("gone", "g\n", "")[0];
        for (paths, hunks, expected) in [
            (&[][..], &[][..], &["a", "d", "d/new", "d/to", "from", "gone"][..]),
            (&["a"], &[], &["a"]),
            // A hunk leaves the rest of its file, and the file's mode.
            (&[], &[&a[1][..]], &["a 644 12345!6789"]),
            (&[], &[&a[0][..6], &a[2]], &["a 644 1!23456789!"]),
            (&["a"], &[&a[1]], &["a"]),
            (&["gone"], &[&a[1]], &["a 644 12345!6789", "gone"]),
            // What came or went as a whole is taken so, with the folder that it needs.
            (&[], &[new], &["d", "d/new"]),
            (&[], &[gone], &["gone"]),
            // A renamed file is one change.
            (&["d/to"], &[], &["d", "d/to", "from"]),
            (&["from"], &[], &["d", "d/to", "from"]),
            (&["d"], &[], &["d", "d/new", "d/to", "from"]),
        ] {
            assert_eq!(taken(paths, hunks).unwrap(), expected, "{paths:?} {hunks:?}");
        }
        assert!(matches!(taken(&["b"], &[]), Err(AcceptError::NotChanged(_))));
        for unknown in ["zzzz", "000000000000", "", &a[0][..3]] {
            assert!(matches!(taken(&[], &[unknown]), Err(AcceptError::NoHunk(_))), "{unknown}");
        }
    }
}
