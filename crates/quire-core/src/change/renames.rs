//! Files that went from one path and came at another with the same content: one change, not two.

use super::{Entry, Node};
use crate::bytes::{Hash, RelPath};
use std::collections::BTreeMap;

/// Returns the renamed files of a version: (folder, new path) and the path that it had. Only what is the same byte for byte
/// counts, so that taking a rename can lose nothing; empty files are all alike and are never one another's.
pub fn renames(entries: &[Entry]) -> BTreeMap<(u32, RelPath), RelPath> {
    let mut gone: BTreeMap<(u32, Hash), Vec<&RelPath>> = BTreeMap::new();
    for entry in entries {
        if let (Some(Node::File { blob, bytes: 1.., .. }), None) = (&entry.was, &entry.now) {
            gone.entry((entry.folder, *blob)).or_default().push(&entry.path);
        }
    }
    let mut found = BTreeMap::new();
    for entry in entries {
        if let (None, Some(Node::File { blob, .. })) = (&entry.was, &entry.now)
            && let Some(from) = gone.get_mut(&(entry.folder, *blob)).filter(|from| !from.is_empty())
        {
            // Of several, the one of the same name.
            let at = from.iter().position(|from| from.name() == entry.path.name()).unwrap_or(0);
            found.insert((entry.folder, entry.path.clone()), from.remove(at).clone());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_and_came_with_the_same_content_is_renamed() {
        let node = |content: &str| {
            (!content.is_empty()).then(|| {
                let content = content.trim();
                Node::File { blob: Hash::of(content.as_bytes()), bytes: content.len() as u64, mode: 0o644 }
            })
        };
        let entry = |(folder, path, was, now): (u32, &str, &str, &str)| Entry {
            folder,
            path: RelPath::new(path).unwrap(),
            was: node(was),
            now: node(now),
        };
        let rows = [
            (0, "a/x.txt", "x", ""),
            (0, "b/x.txt", "", "x"),
            // Two of one content: each keeps its name.
            (0, "c/one", "y", ""),
            (0, "c/two", "y", ""),
            (0, "d/two", "", "y"),
            (0, "d/one", "", "y"),
            (0, "d/three", "", "y"),
            // Changed on the way, of another folder, empty, or only copied.
            (0, "old", "z", ""),
            (0, "new", "", "z!"),
            (1, "far", "", "z"),
            (0, "none", " ", ""),
            (0, "nil", "", " "),
            (0, "copy", "", "k"),
            (0, "kept", "k", "k2"),
        ];
        let found = renames(&rows.map(entry));
        let found: Vec<String> = found.iter().map(|((_, to), from)| format!("{from} > {to}")).collect();
        assert_eq!(found, ["a/x.txt > b/x.txt", "c/one > d/one", "c/two > d/two"]);
    }
}
