//! Two contents of a file, line by line: as [`Hunk`]s for a face to draw and for a person to take or leave, and as the unified
//! diff that other programs read. On bytes, because a file need not be UTF-8, and with line ends kept, because a CRLF may be
//! the change.
//!
//! A hunk is one change: neighbouring lines that went, came, or gave place to others. It has a name that is made of what it
//! says and not of where it stands, so that the same hunk has the same name in the next version.

mod binary;
mod words;

use crate::bytes::{Hash, RelPath};
use crate::change::{Entry, Node};
use serde::{Serialize, Serializer};
use similar::{Algorithm, DiffOp};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Lines shown around a change.
const AROUND: usize = 3;
/// Lines on both sides together, after what is equal at both ends was taken off, up to which a smallest difference is looked
/// for; beyond that the middle is one change. It bounds the time without a clock: the search is quadratic at its worst.
const SEARCHED_LINES_MAX: usize = 20_000;
/// Where git looks for a NUL to call a file binary (`buffer_is_binary` in git's xdiff-interface.c).
pub const BINARY_LOOK_BYTES: usize = 8000;
/// Hex digits of a hunk's name.
const ID_DIGITS: usize = 12;

/// One change with the lines around it. Hunks of a file never overlap: lines between two near ones belong to one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hunk {
    /// Twelve hex digits, made of the path, the lines that went and came, and, where a file has several such, the lines around
    /// them. No two hunks of a version have the same.
    pub id: String,
    /// First line before, from 1; the line above it where there are none, as in a unified diff.
    pub was_start: usize,
    pub was_lines: usize,
    pub now_start: usize,
    pub now_lines: usize,
    pub lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    pub kind: Kind,
    /// With its line end; the last line of a file may have none. In JSON as text, with U+FFFD for what is no UTF-8.
    #[serde(serialize_with = "as_text")]
    pub text: Vec<u8>,
    /// What of it changed, where the line gave place to one that is much like it: ranges of bytes of `text`. Empty where the
    /// whole line is the change.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<Range<usize>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Same,
    Removed,
    Added,
}

fn as_text<S: Serializer>(text: &[u8], s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&String::from_utf8_lossy(text))
}

impl Hunk {
    /// Returns whether `next` begins where this one ends.
    pub fn touches(&self, next: &Hunk) -> bool {
        self.was_start + self.was_lines + usize::from(self.was_lines == 0)
            == next.was_start + usize::from(next.was_lines == 0)
    }
}

/// Returns whether content is no text, by the rule that git has.
pub fn is_binary(content: &[u8]) -> bool {
    content[..content.len().min(BINARY_LOOK_BYTES)].contains(&0)
}

/// Returns what changed from `was` to `now` in the file at `path` of the task's folder `folder`.
pub fn hunks(folder: u32, path: &RelPath, was: &[u8], now: &[u8]) -> Vec<Hunk> {
    let (was, now) = (lines(was), lines(now));
    let changes = changes(&was, &now);
    let ids = ids(folder, path, &changes, &was, &now);
    let mut hunks = drawn(&changes, &was, &now);
    for (hunk, id) in hunks.iter_mut().zip(ids) {
        hunk.id = id;
        words::mark(&mut hunk.lines);
    }
    hunks
}

/// Returns the names of the hunks between two contents, in order.
pub fn names(folder: u32, path: &RelPath, was: &[u8], now: &[u8]) -> Vec<String> {
    let (was, now) = (lines(was), lines(now));
    ids(folder, path, &changes(&was, &now), &was, &now)
}

/// Returns the names of the hunks between two contents that hold any of those lines of the later one, by index from 0; where
/// there are none, those that end there.
pub fn touching(folder: u32, path: &RelPath, was: &[u8], now: &[u8], these: &Range<usize>) -> Vec<String> {
    let (was, now) = (lines(was), lines(now));
    let changes = changes(&was, &now);
    let ids = ids(folder, path, &changes, &was, &now);
    let holds = |change: &Change| match these.is_empty() || change.now.is_empty() {
        true => change.now.start <= these.end && these.start <= change.now.end,
        false => change.now.start < these.end && these.start < change.now.end,
    };
    changes.iter().zip(ids).filter(|(change, _)| holds(change)).map(|(_, id)| id).collect()
}

/// Returns `was` with only those of its hunks done that `wanted` names.
pub fn take(folder: u32, path: &RelPath, was: &[u8], now: &[u8], wanted: &BTreeSet<String>) -> Vec<u8> {
    let (was, now) = (lines(was), lines(now));
    let changes = changes(&was, &now);
    let ids = ids(folder, path, &changes, &was, &now);
    let (mut out, mut at) = (vec![], 0);
    for (change, _) in changes.iter().zip(ids).filter(|(_, id)| wanted.contains(id)) {
        out.extend(was[at..change.was.start].concat());
        out.extend(now[change.now.clone()].concat());
        at = change.was.end;
    }
    out.extend(was[at..].concat());
    out
}

/// Returns (lines added, lines removed).
pub fn counts(hunks: &[Hunk]) -> (usize, usize) {
    let of = |kind| hunks.iter().flat_map(|hunk| &hunk.lines).filter(|line| line.kind == kind).count();
    (of(Kind::Added), of(Kind::Removed))
}

/// Returns the lines of a content, with their ends.
pub(crate) fn lines(content: &[u8]) -> Vec<&[u8]> {
    content.split_inclusive(|byte| *byte == b'\n').collect()
}

/// Lines that gave place to others; by index from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub was: Range<usize>,
    pub now: Range<usize>,
}

/// Returns what changed, in order; at least one equal line lies between two of them.
pub(crate) fn changes(was: &[&[u8]], now: &[&[u8]]) -> Vec<Change> {
    let head = was.iter().zip(now).take_while(|(a, b)| a == b).count();
    let tail = was[head..].iter().rev().zip(now[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (was_mid, now_mid) = (head..was.len() - tail, head..now.len() - tail);
    if was_mid.len() + now_mid.len() > SEARCHED_LINES_MAX {
        return vec![Change { was: was_mid, now: now_mid }];
    }
    let found = similar::capture_diff_slices(Algorithm::Histogram, &was[was_mid], &now[now_mid]);
    let mut changes: Vec<Change> = vec![];
    for op in found.iter().filter(|op| !matches!(op, DiffOp::Equal { .. })) {
        let shifted = |range: Range<usize>| range.start + head..range.end + head;
        let (was, now) = (shifted(op.old_range()), shifted(op.new_range()));
        match changes.last_mut() {
            Some(last) if last.was.end == was.start && last.now.end == now.start => {
                (last.was.end, last.now.end) = (was.end, now.end);
            }
            _ => changes.push(Change { was, now }),
        }
    }
    changes.retain(|change| !(change.was.is_empty() && change.now.is_empty()));
    changes
}

/// Returns the names of changes: of what they say; where that is not enough to tell two apart, of what stands around them
/// too; and where even that is the same, of which they are.
fn ids(folder: u32, path: &RelPath, changes: &[Change], was: &[&[u8]], now: &[&[u8]]) -> Vec<String> {
    let says = |change: &Change| {
        let mut said = format!("{folder}\0").into_bytes();
        said.extend_from_slice(path.as_bytes());
        for (mark, lines) in [(b'-', &was[change.was.clone()]), (b'+', &now[change.now.clone()])] {
            lines.iter().for_each(|line| said.extend([b"\0", [mark].as_slice(), *line].concat()));
        }
        said
    };
    let around = |change: &Change| {
        let before = &was[change.was.start.saturating_sub(AROUND)..change.was.start];
        let after = &was[change.was.end..was.len().min(change.was.end + AROUND)];
        [b"\0<".to_vec(), before.concat(), b"\0>".to_vec(), after.concat()].concat()
    };
    let mut names: Vec<Vec<u8>> = changes.iter().map(says).collect();
    for twin in twins(&names) {
        names[twin].extend(around(&changes[twin]));
    }
    let mut seen: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for twin in twins(&names) {
        let nth = seen.entry(names[twin].clone()).or_default();
        *nth += 1;
        names[twin].extend(format!("\0{nth}").into_bytes());
    }
    names.iter().map(|name| Hash::of(name).to_string()[..ID_DIGITS].to_owned()).collect()
}

/// Returns the places of all names that are there more than once.
fn twins(names: &[Vec<u8>]) -> Vec<usize> {
    let mut count: BTreeMap<&[u8], usize> = BTreeMap::new();
    names.iter().for_each(|name| *count.entry(name).or_default() += 1);
    (0..names.len()).filter(|at| count[names[*at].as_slice()] > 1).collect()
}

/// Returns the changes with the lines around them, without names.
fn drawn(changes: &[Change], was: &[&[u8]], now: &[&[u8]]) -> Vec<Hunk> {
    let mut hunks = vec![];
    let mut drawn_to = 0;
    for (n, change) in changes.iter().enumerate() {
        let above = change.was.start - change.was.start.saturating_sub(AROUND).max(drawn_to);
        let next = changes.get(n + 1).map_or(was.len(), |next| next.was.start);
        let below = (next - change.was.end).min(AROUND);
        drawn_to = change.was.end + below;
        let (was_span, now_span) =
            (change.was.start - above..drawn_to, change.now.start - above..change.now.end + below);
        let mut lines = vec![];
        let mut draw = |kind, some: &[&[u8]]| {
            lines.extend(some.iter().map(|text| Line { kind, text: text.to_vec(), words: vec![] }));
        };
        draw(Kind::Same, &was[was_span.start..change.was.start]);
        draw(Kind::Removed, &was[change.was.clone()]);
        draw(Kind::Added, &now[change.now.clone()]);
        draw(Kind::Same, &was[change.was.end..drawn_to]);
        let start = |span: &Range<usize>| if span.is_empty() { span.start } else { span.start + 1 };
        hunks.push(Hunk {
            id: String::new(),
            was_start: start(&was_span),
            was_lines: was_span.len(),
            now_start: start(&now_span),
            now_lines: now_span.len(),
            lines,
        });
    }
    hunks
}

/// Returns the unified diff of one entry, with git's headers for what plain diffs cannot say, so that both `patch -p1` and
/// `git apply` read it. `prefix` is put before the path, for tasks on several folders. Only files' contents are looked at; a link's is its target.
pub fn unified(prefix: &str, entry: &Entry, was: &[u8], now: &[u8]) -> Vec<u8> {
    written(prefix, entry, was, now, None)
}

/// Gives the name that git has for a content, 40 hex digits.
pub type NameOf<'n> = &'n dyn Fn(&[u8]) -> String;

/// Returns the same with the whole of what is no text, so that `git apply` makes all of it.
pub fn patch(prefix: &str, entry: &Entry, was: &[u8], now: &[u8], name: NameOf<'_>) -> Vec<u8> {
    written(prefix, entry, was, now, Some(name))
}

fn written(prefix: &str, entry: &Entry, was: &[u8], now: &[u8], name_of: Option<NameOf<'_>>) -> Vec<u8> {
    let (was, now) = (shown(&entry.was, was), shown(&entry.now, now));
    let mode = |node: &Node| match node {
        Node::File { mode, .. } if mode & 0o111 != 0 => Some("100755"),
        Node::File { .. } => Some("100644"),
        Node::Link { .. } => Some("120000"),
        Node::Dir { .. } => None,
    };
    let (was_mode, now_mode) = (entry.was.as_ref().and_then(mode), entry.now.as_ref().and_then(mode));
    if was_mode.zip(now_mode).is_some_and(|(was, now)| was != now && [was, now].contains(&"120000")) {
        // A link that became a file, or the reverse: for git, one goes and another comes.
        let (gone, new) = (Entry { now: None, ..entry.clone() }, Entry { was: None, ..entry.clone() });
        return [written(prefix, &gone, was, b"", name_of), written(prefix, &new, b"", now, name_of)]
            .concat();
    }
    let (a, b) = (name("a/", prefix, &entry.path), name("b/", prefix, &entry.path));
    let mut out = Vec::new();
    let mut say = |text: &str| out.extend_from_slice(text.as_bytes());
    // Empty folders and modes that git does not keep have no place in a diff.
    match (was_mode, now_mode) {
        (None, None) => return vec![],
        (Some(old), Some(new)) if old == new && was == now => return vec![],
        (None, Some(mode)) => say(&format!("diff --git {a} {b}\nnew file mode {mode}\n")),
        (Some(mode), None) => say(&format!("diff --git {a} {b}\ndeleted file mode {mode}\n")),
        (Some(old), Some(new)) if old != new => {
            say(&format!("diff --git {a} {b}\nold mode {old}\nnew mode {new}\n"));
        }
        (Some(_), Some(_)) => say(&format!("diff --git {a} {b}\n")),
    }
    if was == now {
        return out;
    }
    let null = "/dev/null".to_owned();
    let (a, b) =
        (if was_mode.is_some() { a } else { null.clone() }, if now_mode.is_some() { b } else { null });
    if is_binary(was) || is_binary(now) {
        if let Some(name_of) = name_of {
            let side = |mode: Option<&str>, content| match mode {
                Some(_) => name_of(content),
                None => "0".repeat(40),
            };
            say(&format!("index {}..{}\n", side(was_mode, was), side(now_mode, now)));
            binary::write(&mut out, was, now);
            return out;
        }
        say(&format!("Binary files {a} and {b} differ\n"));
        return out;
    }
    say(&format!("--- {a}\n+++ {b}\n"));
    let (was, now) = (lines(was), lines(now));
    let hunks = drawn(&changes(&was, &now), &was, &now);
    // Those that touch are one for other programs, which look for the lines around them.
    for group in hunks.chunk_by(Hunk::touches) {
        let range = |of: fn(&Hunk) -> (usize, usize)| {
            let count: usize = group.iter().map(|hunk| of(hunk).1).sum();
            let (start, first) = of(&group[0]);
            (start + usize::from(first == 0 && count > 0), count)
        };
        let (was_start, was_lines) = range(|hunk| (hunk.was_start, hunk.was_lines));
        let (now_start, now_lines) = range(|hunk| (hunk.now_start, hunk.now_lines));
        out.extend_from_slice(
            format!("@@ -{was_start},{was_lines} +{now_start},{now_lines} @@\n").as_bytes(),
        );
        for line in group.iter().flat_map(|hunk| &hunk.lines) {
            out.push(match line.kind {
                Kind::Same => b' ',
                Kind::Removed => b'-',
                Kind::Added => b'+',
            });
            out.extend_from_slice(&line.text);
            if !line.text.ends_with(b"\n") {
                out.extend_from_slice(b"\n\\ No newline at end of file\n");
            }
        }
    }
    out
}

/// Returns what a diff shows of a node: a file's content, a link's target, nothing of a folder.
fn shown<'a>(node: &'a Option<Node>, content: &'a [u8]) -> &'a [u8] {
    match node {
        Some(Node::File { .. }) => content,
        Some(Node::Link { target }) => &target.0,
        Some(Node::Dir { .. }) | None => b"",
    }
}

/// Returns a path as diffs write it: plain, or quoted with octal escapes where it holds a byte that would be read wrongly
/// (git-diff(1), `core.quotePath`).
fn name(side: &str, prefix: &str, path: &RelPath) -> String {
    let raw = [side.as_bytes(), prefix.as_bytes(), path.as_bytes()].concat();
    let plain = |byte: &u8| (b' '..0x7f).contains(byte) && !b"\"\\".contains(byte);
    if raw.iter().all(plain) {
        return String::from_utf8_lossy(&raw).into_owned();
    }
    let mut out = String::from("\"");
    for byte in raw {
        match byte {
            b'"' | b'\\' => out.extend(['\\', byte as char]),
            b' '..0x7f => out.push(byte as char),
            _ => out.push_str(&format!("\\{byte:03o}")),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(path: &[u8], was: Option<&[u8]>, now: Option<&[u8]>) -> Entry {
        let node = |content: &[u8]| Node::File {
            blob: Hash::of(content),
            bytes: content.len() as u64,
            mode: if content.starts_with(b"#!") { 0o755 } else { 0o644 },
        };
        Entry { folder: 0, path: RelPath::new(path).unwrap(), was: was.map(node), now: now.map(node) }
    }

    fn diff(path: &[u8], was: Option<&[u8]>, now: Option<&[u8]>) -> String {
        let out = unified("", &entry(path, was, now), was.unwrap_or_default(), now.unwrap_or_default());
        String::from_utf8(out).unwrap()
    }

    fn between(was: &[u8], now: &[u8]) -> Vec<Hunk> {
        hunks(0, &RelPath::new("a").unwrap(), was, now)
    }

    fn numbered(last: usize) -> String {
        (1..=last).map(|n| format!("{n}\n")).collect()
    }

    #[test]
    fn a_diff_is_read_by_other_programs() {
        type Content = Option<&'static [u8]>;
        let rows: &[(&[u8], Content, Content, &str)] = &[
            (
                b"a b.txt",
                Some(b"1\n2\n3\n4\n5\n6\n7\n8\n9\n"),
                Some(b"1\n2\n3\n4\nfive\n6\n7\n8\n9\n"),
                "diff --git a/a b.txt b/a b.txt\n--- a/a b.txt\n+++ b/a b.txt\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n",
            ),
            (
                b"new",
                None,
                Some(b"x\r\n"),
                "diff --git a/new b/new\nnew file mode 100644\n--- /dev/null\n+++ b/new\n@@ -0,0 +1,1 @@\n+x\r\n",
            ),
            (b"empty", None, Some(b""), "diff --git a/empty b/empty\nnew file mode 100644\n"),
            (
                b"gone",
                Some(b"x"),
                None,
                "diff --git a/gone b/gone\ndeleted file mode 100644\n--- a/gone\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-x\n\\ No newline at end of file\n",
            ),
            (
                b"caf\xe9\"",
                Some(b"\0"),
                Some(b"\x01\0"),
                "diff --git \"a/caf\\351\\\"\" \"b/caf\\351\\\"\"\nBinary files \"a/caf\\351\\\"\" and \"b/caf\\351\\\"\" differ\n",
            ),
            (
                b"run",
                Some(b"a\n"),
                Some(b"#!a\n"),
                "diff --git a/run b/run\nold mode 100644\nnew mode 100755\n--- a/run\n+++ b/run\n@@ -1,1 +1,1 @@\n-a\n+#!a\n",
            ),
        ];
        for (path, was, now, expected) in rows {
            assert_eq!(diff(path, *was, *now), *expected);
        }
    }

    #[test]
    fn a_link_is_its_target_and_never_a_change_of_a_file() {
        let link = |target: &[u8]| Some(Node::Link { target: crate::change::LinkTarget(target.to_vec()) });
        let text = |entry: &Entry, was: &[u8]| String::from_utf8(unified("0/", entry, was, b"")).unwrap();
        let became = Entry { now: link(b"b"), ..entry(b"a", Some(b"x\n"), None) };
        let expected = "diff --git a/0/a b/0/a\ndeleted file mode 100644\n--- a/0/a\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-x\n\
                        diff --git a/0/a b/0/a\nnew file mode 120000\n--- /dev/null\n+++ b/0/a\n@@ -0,0 +1,1 @@\n+b\n\\ No newline at end of file\n";
        assert_eq!(text(&became, b"x\n"), expected);
        let moved = Entry { was: link(b"b"), ..became };
        let moved = Entry { now: link(b"c"), ..moved };
        assert!(text(&moved, b"").ends_with(
            "@@ -1,1 +1,1 @@\n-b\n\\ No newline at end of file\n+c\n\\ No newline at end of file\n"
        ));
    }

    #[test]
    fn changes_far_apart_are_hunks_of_their_own() {
        let was = numbered(40);
        let now = was.replace("\n5\n", "\nfive\n").replace("\n30\n", "\n30\n30b\n");
        let found = between(was.as_bytes(), now.as_bytes());
        let places: Vec<_> =
            found.iter().map(|h| (h.was_start, h.was_lines, h.now_start, h.now_lines)).collect();
        assert_eq!(places, [(2, 7, 2, 7), (28, 6, 28, 7)]);
        assert_eq!(counts(&found), (2, 1));
    }

    #[test]
    fn what_is_too_long_to_search_is_one_change_and_whole() {
        let was: String = (0..15_000).map(|n| format!("{n}\n")).collect();
        let now: String = (0..15_000).map(|n| format!("{}\n", n * 7 + 1)).collect();
        let same = format!("top\n{was}end\n");
        let other = format!("top\n{now}end\n");
        let found = between(same.as_bytes(), other.as_bytes());
        assert_eq!((found.len(), counts(&found)), (1, (15_000, 15_000)));
    }

    #[test]
    fn changes_near_each_other_are_two_hunks_and_one_in_a_diff() {
        let was = numbered(12);
        let now = was.replace("\n4\n", "\nfour\n").replace("\n9\n", "\n");
        let found = between(was.as_bytes(), now.as_bytes());
        let places: Vec<_> =
            found.iter().map(|h| (h.was_start, h.was_lines, h.now_start, h.now_lines)).collect();
        assert_eq!(places, [(1, 7, 1, 7), (8, 5, 8, 4)]);
        assert!(found[0].touches(&found[1]));
        let text = diff(b"a", Some(was.as_bytes()), Some(now.as_bytes()));
        assert!(text.contains("@@ -1,12 +1,11 @@"), "{text}");
    }

    #[test]
    fn a_hunk_keeps_its_name_while_it_says_the_same() {
        let names = |was: &str, now: &str| -> Vec<String> {
            between(was.as_bytes(), now.as_bytes()).into_iter().map(|hunk| hunk.id).collect()
        };
        let was = numbered(30);
        let first = was.replace("\n5\n", "\nfive\n").replace("\n20\n", "\ntwenty\n");
        let one = names(&was, &first);
        // Lines that come before it, and another change close to it, leave its name.
        let second = format!("top\n{}", first.replace("\n18\n", "\n"));
        let two = names(&was, &second);
        assert_eq!((one.len(), two.len()), (2, 4));
        assert_eq!((&two[1], &two[3]), (&one[0], &one[1]));
        // What says something else is another one.
        assert_ne!(names(&was, &first.replace("five", "5!"))[0], one[0]);
        // The same lines in another file, or another folder, are another hunk.
        let other = hunks(0, &RelPath::new("b").unwrap(), was.as_bytes(), first.as_bytes());
        let far = hunks(1, &RelPath::new("a").unwrap(), was.as_bytes(), first.as_bytes());
        assert!(other[0].id != one[0] && far[0].id != one[0] && far[0].id != other[0].id);
    }

    #[test]
    fn hunks_that_say_the_same_have_different_names() {
        let was = "{\n  x\n}\n".repeat(4) + &numbered(9) + "{\n  x\n}\n";
        let now = was.replace("  x\n", "  y\n");
        let names: BTreeSet<String> =
            between(was.as_bytes(), now.as_bytes()).into_iter().map(|hunk| hunk.id).collect();
        assert_eq!(names.len(), 5);
    }

    proptest! {
        /// What is taken and what is left make up the whole, in whichever order.
        #[test]
        fn hunks_can_be_taken_one_by_one(was in "[ab\n]{0,60}", now in "[ab\n]{0,60}", pick in any::<u64>()) {
            let path = RelPath::new("a").unwrap();
            let (was, now) = (was.as_bytes(), now.as_bytes());
            let all: Vec<String> = between(was, now).into_iter().map(|hunk| hunk.id).collect();
            prop_assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
            prop_assert_eq!(take(0, &path, was, now, &BTreeSet::new()), was);
            prop_assert_eq!(take(0, &path, was, now, &all.iter().cloned().collect()), now);
            let chosen = |(n, _): &(usize, &String)| pick >> (n % 64) & 1 == 1;
            let some: BTreeSet<String> = all.iter().enumerate().filter(chosen).map(|(_, id)| id.clone()).collect();
            let part = take(0, &path, was, now, &some);
            let lines_of = |kind| between(was, &part).iter().flat_map(|h| h.lines.clone())
                .filter(|line| line.kind == kind).count() as isize;
            let taken: Vec<Hunk> = between(was, now).into_iter().filter(|hunk| some.contains(&hunk.id)).collect();
            let (added, removed) = counts(&taken);
            prop_assert_eq!(lines_of(Kind::Added) - lines_of(Kind::Removed), added as isize - removed as isize);
        }

        /// Whatever the contents: going through the hunks turns the one into the other.
        #[test]
        fn hunks_lead_from_one_to_the_other(was in "[ab\n]{0,60}", now in "[ab\n]{0,60}") {
            let old = lines(was.as_bytes());
            let (mut at, mut out) = (0, Vec::new());
            for hunk in between(was.as_bytes(), now.as_bytes()) {
                let start = if hunk.was_lines == 0 { hunk.was_start } else { hunk.was_start - 1 };
                out.extend(old[at..start].concat());
                at = start;
                for line in hunk.lines {
                    if line.kind != Kind::Added {
                        prop_assert_eq!(&line.text[..], old[at]);
                        at += 1;
                    }
                    if line.kind != Kind::Removed {
                        out.extend(line.text);
                    }
                }
            }
            out.extend(old[at..].concat());
            prop_assert_eq!(String::from_utf8(out).unwrap(), now);
        }
    }
}
