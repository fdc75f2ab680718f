//! Two contents of a file, line by line: as [`Hunk`]s for a face to draw, and as the unified diff that other programs read.
//! On bytes, because a file need not be UTF-8, and with line ends kept, because a CRLF may be the change.

use crate::bytes::RelPath;
use crate::change::{Entry, Node};
use serde::{Serialize, Serializer};
use similar::{Algorithm, DiffOp};
use std::ops::Range;

/// Lines shown around a change.
const AROUND: usize = 3;
/// Lines on both sides together, after what is equal at both ends was taken off, up to which a smallest difference is looked
/// for; beyond that the middle is one change. It bounds the time without a clock: the search is quadratic at its worst.
const SEARCHED_LINES_MAX: usize = 20_000;
/// Where git looks for a NUL to call a file binary (`buffer_is_binary` in git's xdiff-interface.c).
const BINARY_LOOK_BYTES: usize = 8000;

/// Neighbouring changes with the lines around them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hunk {
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

/// Returns whether content is no text, by the rule that git has.
pub fn is_binary(content: &[u8]) -> bool {
    content[..content.len().min(BINARY_LOOK_BYTES)].contains(&0)
}

/// Returns what changed from `was` to `now`.
pub fn hunks(was: &[u8], now: &[u8]) -> Vec<Hunk> {
    let (was, now) = (lines(was), lines(now));
    let mut hunks = similar::group_diff_ops(operations(&was, &now), AROUND);
    hunks.retain(|group| group.iter().any(|op| !matches!(op, DiffOp::Equal { .. })));
    hunks.iter().map(|group| hunk(group, &was, &now)).collect()
}

/// Returns (lines added, lines removed).
pub fn counts(hunks: &[Hunk]) -> (usize, usize) {
    let of = |kind| hunks.iter().flat_map(|hunk| &hunk.lines).filter(|line| line.kind == kind).count();
    (of(Kind::Added), of(Kind::Removed))
}

fn lines(content: &[u8]) -> Vec<&[u8]> {
    content.split_inclusive(|byte| *byte == b'\n').collect()
}

fn operations(was: &[&[u8]], now: &[&[u8]]) -> Vec<DiffOp> {
    let head = was.iter().zip(now).take_while(|(a, b)| a == b).count();
    let tail = was[head..].iter().rev().zip(now[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (was_mid, now_mid) = (head..was.len() - tail, head..now.len() - tail);
    let mut found = vec![DiffOp::Equal { old_index: 0, new_index: 0, len: head }];
    if was_mid.len() + now_mid.len() > SEARCHED_LINES_MAX {
        found.push(DiffOp::Replace {
            old_index: head,
            old_len: was_mid.len(),
            new_index: head,
            new_len: now_mid.len(),
        });
    } else {
        let middle =
            similar::capture_diff_slices(Algorithm::Histogram, &was[was_mid.clone()], &now[now_mid.clone()]);
        found.extend(middle.into_iter().map(|op| shifted(op, head)));
    }
    found.push(DiffOp::Equal { old_index: was_mid.end, new_index: now_mid.end, len: tail });
    found.retain(|op| !(op.old_range().is_empty() && op.new_range().is_empty()));
    joined(found)
}

/// Returns the operations with equal stretches that touch made one, as grouping expects them.
fn joined(found: Vec<DiffOp>) -> Vec<DiffOp> {
    let mut out: Vec<DiffOp> = Vec::with_capacity(found.len());
    for op in found {
        match (out.last_mut(), op) {
            (Some(DiffOp::Equal { len, .. }), DiffOp::Equal { len: more, .. }) => *len += more,
            _ => out.push(op),
        }
    }
    out
}

fn shifted(op: DiffOp, by: usize) -> DiffOp {
    match op {
        DiffOp::Equal { old_index, new_index, len } => {
            DiffOp::Equal { old_index: old_index + by, new_index: new_index + by, len }
        }
        DiffOp::Delete { old_index, old_len, new_index } => {
            DiffOp::Delete { old_index: old_index + by, old_len, new_index: new_index + by }
        }
        DiffOp::Insert { old_index, new_index, new_len } => {
            DiffOp::Insert { old_index: old_index + by, new_index: new_index + by, new_len }
        }
        DiffOp::Replace { old_index, old_len, new_index, new_len } => {
            DiffOp::Replace { old_index: old_index + by, old_len, new_index: new_index + by, new_len }
        }
    }
}

fn hunk(group: &[DiffOp], was: &[&[u8]], now: &[&[u8]]) -> Hunk {
    let span = |ranges: Vec<Range<usize>>| ranges[0].start..ranges[ranges.len() - 1].end;
    let was_span = span(group.iter().map(DiffOp::old_range).collect());
    let now_span = span(group.iter().map(DiffOp::new_range).collect());
    let mut lines = Vec::new();
    for op in group {
        let of = |kind, from: &[&[u8]], range: Range<usize>| {
            from[range].iter().map(|text| Line { kind, text: text.to_vec() }).collect::<Vec<_>>()
        };
        match op {
            DiffOp::Equal { .. } => lines.extend(of(Kind::Same, was, op.old_range())),
            _ => {
                lines.extend(of(Kind::Removed, was, op.old_range()));
                lines.extend(of(Kind::Added, now, op.new_range()));
            }
        }
    }
    let start = |span: &Range<usize>| if span.is_empty() { span.start } else { span.start + 1 };
    Hunk {
        was_start: start(&was_span),
        was_lines: was_span.len(),
        now_start: start(&now_span),
        now_lines: now_span.len(),
        lines,
    }
}

/// Returns the unified diff of one entry, with git's headers for what plain diffs cannot say, so that both `patch -p1` and
/// `git apply` read it. `prefix` is put before the path, for tasks on several folders. Only files' contents are looked at; a link's is its target.
pub fn unified(prefix: &str, entry: &Entry, was: &[u8], now: &[u8]) -> Vec<u8> {
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
        return [unified(prefix, &gone, was, b""), unified(prefix, &new, b"", now)].concat();
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
        say(&format!("Binary files {a} and {b} differ\n"));
        return out;
    }
    say(&format!("--- {a}\n+++ {b}\n"));
    for hunk in hunks(was, now) {
        let Hunk { was_start, was_lines, now_start, now_lines, lines } = hunk;
        out.extend_from_slice(
            format!("@@ -{was_start},{was_lines} +{now_start},{now_lines} @@\n").as_bytes(),
        );
        for line in lines {
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
    use crate::bytes::Hash;
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
        let was: String = (1..=40).map(|n| format!("{n}\n")).collect();
        let now = was.replace("\n5\n", "\nfive\n").replace("\n30\n", "\n30\n30b\n");
        let found = hunks(was.as_bytes(), now.as_bytes());
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
        let found = hunks(same.as_bytes(), other.as_bytes());
        assert_eq!((found.len(), counts(&found)), (1, (15_000, 15_000)));
    }

    proptest! {
        /// Whatever the contents: going through the hunks turns the one into the other.
        #[test]
        fn hunks_lead_from_one_to_the_other(was in "[ab\n]{0,60}", now in "[ab\n]{0,60}") {
            let old = lines(was.as_bytes());
            let (mut at, mut out) = (0, Vec::new());
            for hunk in hunks(was.as_bytes(), now.as_bytes()) {
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
