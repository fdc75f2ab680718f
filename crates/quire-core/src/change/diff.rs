//! A change as a person reads it: what happened to a path, how many lines, which ones. Given the contents, all of it is
//! computed here once for every face, and the text form is what `git apply` and `patch` take.

use super::{Entry, Node};
use crate::bytes::RelPath;
use similar::{Algorithm, DiffOp, capture_diff_slices, group_diff_ops};

/// Lines of unchanged text around a change.
pub const CONTEXT: usize = 3;

/// Contents larger than this are not compared line by line, in bytes.
pub const COMPARED_MAX: usize = 4 << 20;

/// One path of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub folder: u32,
    pub path: RelPath,
    pub status: Status,
    pub was: Option<Node>,
    pub now: Option<Node>,
    pub body: Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Added,
    Changed,
    Deleted,
    /// Only its permissions changed.
    Mode,
    /// A file became a link or folder, or the like.
    Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A folder, or only a mode.
    Nothing,
    /// Not text; sizes in bytes, absent where there is no file.
    Binary { was: Option<u64>, now: Option<u64> },
    /// More than [`COMPARED_MAX`]; sizes in bytes.
    TooLarge { was: Option<u64>, now: Option<u64> },
    /// A link's target counts as one line without an end.
    Text(Text),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// Lines.
    pub added: u64,
    pub removed: u64,
    pub hunks: Vec<Hunk>,
}

/// Neighbouring changes with the text around them. Lines count from 1; a side without lines starts at 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hunk {
    pub was_start: u64,
    pub was_lines: u64,
    pub now_start: u64,
    pub now_lines: u64,
    pub lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub side: Side,
    /// Its place before and after, from 1.
    pub was: Option<u64>,
    pub now: Option<u64>,
    /// With its end of line, if it has one.
    pub text: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Both,
    /// Only before.
    Was,
    /// Only after.
    Now,
}

/// What changed in all, for a summary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub files: u64,
    pub added: u64,
    pub removed: u64,
}

impl Counts {
    pub fn of(changes: &[Change]) -> Counts {
        changes.iter().fold(Counts::default(), |sum, change| match &change.body {
            Body::Text(text) => Counts {
                files: sum.files + 1,
                added: sum.added + text.added,
                removed: sum.removed + text.removed,
            },
            _ => Counts { files: sum.files + 1, ..sum },
        })
    }
}

impl Change {
    /// Compares the contents of an entry's files; a side that is no file has none, and its content is not looked at.
    pub fn of(entry: &Entry, was: &[u8], now: &[u8]) -> Change {
        use Node::{Dir, File, Link};
        let status = match (&entry.was, &entry.now) {
            (None, _) => Status::Added,
            (_, None) => Status::Deleted,
            (Some(File { blob: a, .. }), Some(File { blob: b, .. })) if a == b => Status::Mode,
            (Some(Dir { .. }), Some(Dir { .. })) => Status::Mode,
            (Some(File { .. }), Some(File { .. })) | (Some(Link { .. }), Some(Link { .. })) => {
                Status::Changed
            }
            _ => Status::Kind,
        };
        let (was_text, now_text) = (content(&entry.was, was), content(&entry.now, now));
        let size = |node: &Option<Node>| match node {
            Some(File { bytes, .. }) => Some(*bytes),
            _ => None,
        };
        let (was_size, now_size) = (size(&entry.was), size(&entry.now));
        let large = |size: Option<u64>| size.is_some_and(|size| size > COMPARED_MAX as u64);
        let binary = |content: Option<&[u8]>| content.is_some_and(is_binary);
        let body = if status == Status::Mode || was_text.is_none() && now_text.is_none() {
            Body::Nothing
        } else if large(was_size) || large(now_size) {
            Body::TooLarge { was: was_size, now: now_size }
        } else if binary(was_text) || binary(now_text) {
            Body::Binary { was: was_size, now: now_size }
        } else {
            Body::Text(compare(was_text.unwrap_or_default(), now_text.unwrap_or_default()))
        };
        let Entry { folder, path, was, now } = entry.clone();
        Change { folder, path, status, was, now, body }
    }
}

/// Returns whether the contents are worth reading for [`Change::of`].
pub fn is_compared(entry: &Entry) -> bool {
    let small =
        |node: &Option<Node>| !matches!(node, Some(Node::File { bytes, .. }) if *bytes > COMPARED_MAX as u64);
    small(&entry.was) && small(&entry.now)
}

fn content<'a>(node: &'a Option<Node>, file: &'a [u8]) -> Option<&'a [u8]> {
    match node {
        Some(Node::File { .. }) => Some(file),
        Some(Node::Link { target }) => Some(&target.0),
        _ => None,
    }
}

/// As git sees it: a NUL among the first 8,000 bytes.
fn is_binary(content: &[u8]) -> bool {
    content.iter().take(8000).any(|byte| *byte == 0)
}

fn lines(content: &[u8]) -> Vec<&[u8]> {
    content.split_inclusive(|byte| *byte == b'\n').collect()
}

fn compare(was: &[u8], now: &[u8]) -> Text {
    let (was, now) = (lines(was), lines(now));
    let mut text = Text::default();
    for group in group_diff_ops(capture_diff_slices(Algorithm::Myers, &was, &now), CONTEXT) {
        let mut hunk = Hunk { was_start: 0, was_lines: 0, now_start: 0, now_lines: 0, lines: vec![] };
        if let Some(first) = group.first() {
            hunk.was_start = first.old_range().start as u64;
            hunk.now_start = first.new_range().start as u64;
        }
        for op in &group {
            let (old, new) = (op.old_range(), op.new_range());
            hunk.was_lines += old.len() as u64;
            hunk.now_lines += new.len() as u64;
            if let DiffOp::Equal { .. } = op {
                let both = old.zip(new);
                hunk.lines.extend(both.map(|(a, b)| line(Side::Both, Some(a), Some(b), was[a])));
            } else {
                text.removed += old.len() as u64;
                text.added += new.len() as u64;
                hunk.lines.extend(old.map(|a| line(Side::Was, Some(a), None, was[a])));
                hunk.lines.extend(new.map(|b| line(Side::Now, None, Some(b), now[b])));
            }
        }
        // Counted from 1; a side without lines names the line before it, as diff does.
        hunk.was_start += u64::from(hunk.was_lines > 0);
        hunk.now_start += u64::from(hunk.now_lines > 0);
        text.hunks.push(hunk);
    }
    text
}

fn line(side: Side, was: Option<usize>, now: Option<usize>, text: &[u8]) -> Line {
    let number = |n: Option<usize>| n.map(|n| n as u64 + 1);
    Line { side, was: number(was), now: number(now), text: text.to_vec() }
}

/// Returns the changes of one folder in the form of `git diff`. Folders by themselves have no form there, and of a binary
/// or very large file only the fact is told.
pub fn unified(changes: &[Change]) -> Vec<u8> {
    let mut out = vec![];
    for change in changes {
        // A change of kind is a deletion and an addition.
        if change.status == Status::Kind {
            for (was, now) in [(change.was.clone(), None), (None, change.now.clone())] {
                let part = match &change.body {
                    Body::Text(text) => Body::Text(one_side(text, was.is_some())),
                    body => body.clone(),
                };
                one(&Change { was, now, body: part, ..change.clone() }, &mut out);
            }
        } else {
            one(change, &mut out);
        }
    }
    out
}

/// Returns the text as if there were only what was, or only what is now.
fn one_side(text: &Text, was: bool) -> Text {
    let wanted = if was { Side::Now } else { Side::Was };
    let lines: Vec<Line> =
        text.hunks.iter().flat_map(|h| &h.lines).filter(|line| line.side != wanted).cloned().collect();
    let count = lines.len() as u64;
    let start = u64::from(count > 0);
    let side = if was { Side::Was } else { Side::Now };
    let lines = lines.into_iter().map(|line| Line { side, ..line }).collect();
    let hunk = match was {
        true => Hunk { was_start: start, was_lines: count, now_start: 0, now_lines: 0, lines },
        false => Hunk { was_start: 0, was_lines: 0, now_start: start, now_lines: count, lines },
    };
    let (added, removed) = if was { (0, count) } else { (count, 0) };
    Text { added, removed, hunks: if count > 0 { vec![hunk] } else { vec![] } }
}

/// Returns the mode as git has it, or `None` for what git does not keep.
fn git_mode(node: &Option<Node>) -> Option<&'static str> {
    match node {
        Some(Node::File { mode, .. }) if mode & 0o100 != 0 => Some("100755"),
        Some(Node::File { .. }) => Some("100644"),
        Some(Node::Link { .. }) => Some("120000"),
        Some(Node::Dir { .. }) | None => None,
    }
}

fn one(change: &Change, out: &mut Vec<u8>) {
    let (was, now) = (git_mode(&change.was), git_mode(&change.now));
    let head = match (was, now) {
        (None, None) => return,
        (None, Some(mode)) => format!("new file mode {mode}\n"),
        (Some(mode), None) => format!("deleted file mode {mode}\n"),
        (Some(a), Some(b)) if a != b => format!("old mode {a}\nnew mode {b}\n"),
        _ if matches!(change.body, Body::Nothing) => return,
        _ => String::new(),
    };
    let (a, b) = (name("a/", &change.path), name("b/", &change.path));
    out.extend_from_slice(format!("diff --git {a} {b}\n{head}").as_bytes());
    match &change.body {
        Body::Nothing => {}
        Body::Binary { .. } | Body::TooLarge { .. } => {
            let side =
                |mode: Option<&str>, name: &str| mode.map_or("/dev/null".to_owned(), |_| name.to_owned());
            let told = format!("Binary files {} and {} differ\n", side(was, &a), side(now, &b));
            out.extend_from_slice(told.as_bytes());
        }
        Body::Text(text) if text.hunks.is_empty() => {}
        Body::Text(text) => {
            // A name with a blank ends in a tab, so that patch knows where it ends.
            let side = |sign: &str, mode: Option<&str>, name: &str| match mode {
                None => format!("{sign} /dev/null\n"),
                Some(_) if name.contains(' ') => format!("{sign} {name}\t\n"),
                Some(_) => format!("{sign} {name}\n"),
            };
            out.extend_from_slice(side("---", was, &a).as_bytes());
            out.extend_from_slice(side("+++", now, &b).as_bytes());
            text.hunks.iter().for_each(|hunk| hunk.write(out));
        }
    }
}

impl Hunk {
    fn write(&self, out: &mut Vec<u8>) {
        let range = |start: u64, lines: u64| match lines {
            1 => format!("{start}"),
            _ => format!("{start},{lines}"),
        };
        let (was, now) = (range(self.was_start, self.was_lines), range(self.now_start, self.now_lines));
        out.extend_from_slice(format!("@@ -{was} +{now} @@\n").as_bytes());
        for line in &self.lines {
            out.push(match line.side {
                Side::Both => b' ',
                Side::Was => b'-',
                Side::Now => b'+',
            });
            out.extend_from_slice(&line.text);
            if !line.text.ends_with(b"\n") {
                out.extend_from_slice(b"\n\\ No newline at end of file\n");
            }
        }
    }
}

/// Returns the name as git writes it: in quotes, with escapes, where it has bytes that could be misread.
fn name(prefix: &str, path: &RelPath) -> String {
    let raw = path.as_bytes();
    if raw.iter().all(|byte| (0x20..0x7f).contains(byte) && !b"\"\\".contains(byte)) {
        return format!("{prefix}{}", String::from_utf8_lossy(raw));
    }
    let mut quoted = format!("\"{prefix}");
    for byte in raw {
        match byte {
            b'"' => quoted.push_str("\\\""),
            b'\\' => quoted.push_str("\\\\"),
            b'\n' => quoted.push_str("\\n"),
            b'\t' => quoted.push_str("\\t"),
            0x20..0x7f => quoted.push(*byte as char),
            _ => quoted.push_str(&format!("\\{byte:03o}")),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::Hash;
    use crate::change::LinkTarget;
    use proptest::prelude::*;

    fn file(content: &[u8]) -> Option<Node> {
        Some(Node::File { blob: Hash::of(content), bytes: content.len() as u64, mode: 0o644 })
    }

    fn change(path: &[u8], was: Option<&[u8]>, now: Option<&[u8]>) -> Change {
        let entry = Entry {
            folder: 0,
            path: RelPath::new(path).unwrap(),
            was: was.and_then(file),
            now: now.and_then(file),
        };
        Change::of(&entry, was.unwrap_or_default(), now.unwrap_or_default())
    }

    #[test]
    fn the_text_form_is_git_s() {
        for (path, was, now, expect) in [
            (
                "a",
                Some("1\n2\n3\n4\n5\n"),
                Some("1\n2\nthree\n4\n5\n"),
                "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1,5 +1,5 @@\n 1\n 2\n-3\n+three\n 4\n 5\n",
            ),
            (
                "new",
                None,
                Some("x\ny"),
                "diff --git a/new b/new\nnew file mode 100644\n--- /dev/null\n+++ b/new\n@@ -0,0 +1,2 @@\n+x\n+y\n\\ No newline at end of file\n",
            ),
            (
                "two words",
                Some("x\r\n"),
                None,
                "diff --git a/two words b/two words\ndeleted file mode 100644\n--- a/two words\t\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\r\n",
            ),
            ("empty", None, Some(""), "diff --git a/empty b/empty\nnew file mode 100644\n"),
            (
                "bin",
                Some("a\0"),
                Some("b\0"),
                "diff --git a/bin b/bin\nBinary files a/bin and b/bin differ\n",
            ),
            (
                "né\t",
                None,
                Some(""),
                "diff --git \"a/n\\303\\251\\t\" \"b/n\\303\\251\\t\"\nnew file mode 100644\n",
            ),
        ] {
            let change = change(path.as_bytes(), was.map(str::as_bytes), now.map(str::as_bytes));
            assert_eq!(String::from_utf8(unified(&[change])).unwrap(), expect, "{path}");
        }
    }

    #[test]
    fn what_is_no_content_is_told_by_status() {
        let script = Some(Node::File { blob: Hash::of(b"x"), bytes: 1, mode: 0o755 });
        let link = |to: &str| Some(Node::Link { target: LinkTarget(to.as_bytes().to_vec()) });
        let dir = |mode| Some(Node::Dir { mode });
        for (was, now, status, expect) in [
            (file(b"x"), script.clone(), Status::Mode, "old mode 100644\nnew mode 100755\n"),
            (None, dir(0o755), Status::Added, ""),
            (dir(0o755), dir(0o700), Status::Mode, ""),
            (
                link("a"),
                link("b"),
                Status::Changed,
                "--- a/p\n+++ b/p\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\n\\ No newline at end of file\n",
            ),
            (
                file(b"x"),
                link("b"),
                Status::Kind,
                "deleted file mode 100644\n--- a/p\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n\\ No newline at end of file\n\
                 diff --git a/p b/p\nnew file mode 120000\n--- /dev/null\n+++ b/p\n@@ -0,0 +1 @@\n+b\n\\ No newline at end of file\n",
            ),
            (dir(0o755), file(b""), Status::Kind, "new file mode 100644\n"),
        ] {
            let entry = Entry { folder: 0, path: RelPath::new("p").unwrap(), was, now };
            let change = Change::of(&entry, b"x", if status == Status::Kind { b"" } else { b"x" });
            assert_eq!(change.status, status);
            let head = if expect.is_empty() { "" } else { "diff --git a/p b/p\n" };
            assert_eq!(String::from_utf8(unified(&[change])).unwrap(), format!("{head}{expect}"));
        }
    }

    #[test]
    fn lines_are_counted_and_numbered() {
        let was: String = (1..=30).map(|n| format!("{n}\n")).collect();
        let now = was.replace("\n5\n", "\nfive\n").replace("\n25\n", "\n25\n25.5\n");
        let change = change(b"a", Some(was.as_bytes()), Some(now.as_bytes()));
        let counts = Counts::of(std::slice::from_ref(&change));
        assert_eq!(counts, Counts { files: 1, added: 2, removed: 1 });
        let Body::Text(text) = change.body else { panic!("no text") };
        let ranges: Vec<_> =
            text.hunks.iter().map(|h| (h.was_start, h.was_lines, h.now_start, h.now_lines)).collect();
        assert_eq!(ranges, [(2, 7, 2, 7), (23, 6, 23, 7)]);
        let added = text.hunks[1].lines.iter().find(|l| l.side == Side::Now).unwrap();
        assert_eq!((added.was, added.now, added.text.as_slice()), (None, Some(26), b"25.5\n".as_slice()));
    }

    #[test]
    fn a_large_or_wholly_different_text_takes_no_age() {
        let big = vec![b'x'; COMPARED_MAX + 1];
        assert!(matches!(change(b"a", None, Some(&big)).body, Body::TooLarge { was: None, .. }));
        let lines = |from: u32| (from..from + 100_000).map(|n| format!("{n}\n")).collect::<String>();
        let (was, now) = (lines(0), lines(200_000));
        let Body::Text(text) = change(b"a", Some(was.as_bytes()), Some(now.as_bytes())).body else {
            panic!("no text")
        };
        assert_eq!((text.added, text.removed), (100_000, 100_000));
    }

    proptest! {
        /// Applied by hand, the hunks turn the one into the other.
        #[test]
        fn hunks_say_all(was in prop::collection::vec("[ab]?\r?\n?", 0..40), now in prop::collection::vec("[ab]?\r?\n?", 0..40)) {
            let (was, now) = (was.concat().into_bytes(), now.concat().into_bytes());
            let text = compare(&was, &now);
            let old = lines(&was);
            let (mut made, mut at) = (vec![], 0);
            for hunk in &text.hunks {
                let start = (hunk.was_start - u64::from(hunk.was_lines > 0)) as usize;
                made.extend(old[at..start].concat());
                for line in &hunk.lines {
                    if line.side != Side::Was {
                        made.extend(&line.text);
                    }
                }
                at = start + hunk.was_lines as usize;
            }
            made.extend(old[at..].concat());
            prop_assert_eq!(made, now);
        }
    }
}
