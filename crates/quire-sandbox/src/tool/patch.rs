//! A patch in the form that many models were trained on, as text: read into [`FilePatch`]es and applied to content. No
//! files here.
//!
//! ```text
//! *** Begin Patch
//! *** Add File: PATH            every line below begins with +
//! *** Delete File: PATH
//! *** Update File: PATH
//! *** Move to: PATH             optional
//! @@ a line above the change    optional for the first hunk; `@@` alone is a new hunk further down
//!  a line that stays
//! -a line that goes
//! +a line that comes
//! *** End of File               optional: the hunk stands at the file's end
//! *** End Patch
//! ```
//!
//! Lines are looked for from where the last hunk ended: as they are, else without trailing blanks, else without blanks on
//! both sides, else with typographic quotes, dashes and spaces taken for plain ones. The first place counts. A hunk that
//! only adds goes to the file's end. Lines that stay are kept as the file has them, with their endings; new lines end as the
//! file's first line does; the last line always ends.

use super::nearest::nearest;
use std::borrow::Cow;

/// Most lines of a hunk that an error repeats.
const TOLD_MAX: usize = 12;

#[derive(Debug, PartialEq)]
pub(super) enum FilePatch {
    Add { path: String, content: String },
    Delete { path: String },
    Update { path: String, to: Option<String>, hunks: Vec<Hunk> },
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct Hunk {
    /// A line that is looked for first.
    below: Option<String>,
    lines: Vec<(Mark, String)>,
    at_end: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mark {
    Stays,
    Goes,
    Comes,
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum PatchError {
    #[error("the patch must begin with the line `*** Begin Patch`")]
    NoBegin,
    #[error("the patch must end with the line `*** End Patch`")]
    NoEnd,
    #[error("the patch changes no file")]
    Empty,
    #[error(
        "line {line} of the patch, {text:?}, is none of `*** Add File: `, `*** Delete File: ` and `*** Update File: `"
    )]
    NoFile { line: usize, text: String },
    #[error("line {line} of the patch names no file")]
    NoName { line: usize },
    #[error(
        "line {line} of the patch: the update of {path} has no hunk; to move a file unchanged, use shell"
    )]
    NoHunk { line: usize, path: String },
    #[error("line {line} of the patch: a hunk without lines")]
    NoLines { line: usize },
    #[error(
        "line {line} of the patch, {text:?}, begins with none of ' ', '-' and '+'; a further hunk begins with `@@`"
    )]
    NoMark { line: usize, text: String },
}

/// Why a hunk has no place in a file.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum Misfit {
    #[error("hunk {hunk}: the line after @@ is not in the file below the last hunk: {text:?}. {near}")]
    Below { hunk: usize, text: String, near: String },
    #[error("hunk {hunk}: these lines are not in the file{place}:\n{text}\n{near}")]
    Lines { hunk: usize, place: &'static str, text: String, near: String },
}

/// Reads a patch, which may stand in a shell's here-document.
pub(super) fn parse(text: &str) -> Result<Vec<FilePatch>, PatchError> {
    let mut lines: Vec<&str> = text.trim().lines().collect();
    let quoted = matches!(lines.first(), Some(&("<<EOF" | "<<'EOF'" | "<<\"EOF\"")));
    if quoted && lines.last().is_some_and(|l| l.trim_end() == "EOF") {
        lines = lines[1..lines.len() - 1].to_vec();
    }
    if lines.first().is_none_or(|l| l.trim() != "*** Begin Patch") {
        return Err(PatchError::NoBegin);
    }
    if lines.len() < 2 || lines.last().is_none_or(|l| l.trim() != "*** End Patch") {
        return Err(PatchError::NoEnd);
    }
    let mut reader = Reader { at: 1, lines: &lines[..lines.len() - 1] };
    // Says where to work; there is one place only here.
    if reader.peek().is_some_and(|l| l.trim().starts_with("*** Environment ID:")) {
        reader.at += 1;
    }
    let mut files = vec![];
    while let Some(line) = reader.peek() {
        match line.trim() {
            "" => reader.at += 1,
            _ => files.push(reader.file()?),
        }
    }
    if files.is_empty() { Err(PatchError::Empty) } else { Ok(files) }
}

struct Reader<'a> {
    lines: &'a [&'a str],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.lines.get(self.at).copied()
    }

    fn file(&mut self) -> Result<FilePatch, PatchError> {
        let line = self.at + 1;
        let head = self.peek().unwrap_or_default().trim();
        self.at += 1;
        let named = |path: &str| match path.trim() {
            "" => Err(PatchError::NoName { line }),
            path => Ok(path.to_owned()),
        };
        if let Some(path) = head.strip_prefix("*** Add File:") {
            let path = named(path)?;
            let mut content = String::new();
            while let Some(line) = self.peek().and_then(|l| l.strip_prefix('+')) {
                content.push_str(line);
                content.push('\n');
                self.at += 1;
            }
            Ok(FilePatch::Add { path, content })
        } else if let Some(path) = head.strip_prefix("*** Delete File:") {
            Ok(FilePatch::Delete { path: named(path)? })
        } else if let Some(path) = head.strip_prefix("*** Update File:") {
            let path = named(path)?;
            let to = self.peek().and_then(|l| l.trim().strip_prefix("*** Move to:"));
            let to = to.map(|to| {
                self.at += 1;
                named(to)
            });
            let mut hunks = vec![];
            while let Some(next) = self.peek() {
                if next.trim().is_empty() && !hunks.is_empty() {
                    self.at += 1;
                } else if next.starts_with("***") {
                    break;
                } else {
                    hunks.push(self.hunk(hunks.is_empty())?);
                }
            }
            if hunks.is_empty() {
                return Err(PatchError::NoHunk { line, path });
            }
            Ok(FilePatch::Update { path, to: to.transpose()?, hunks })
        } else {
            Err(PatchError::NoFile { line, text: head.to_owned() })
        }
    }

    fn hunk(&mut self, first: bool) -> Result<Hunk, PatchError> {
        let mut hunk = Hunk::default();
        let head = self.peek().unwrap_or_default();
        if head.trim_end() == "@@" {
            self.at += 1;
        } else if let Some(below) = head.strip_prefix("@@ ") {
            hunk.below = Some(below.to_owned());
            self.at += 1;
        } else if !first {
            return Err(PatchError::NoMark { line: self.at + 1, text: head.to_owned() });
        }
        while let Some(line) = self.peek() {
            if line.trim_end() == "*** End of File" && !hunk.lines.is_empty() {
                hunk.at_end = true;
                self.at += 1;
                break;
            }
            let mark = match line.as_bytes().first() {
                None => Mark::Stays,
                Some(b' ') => Mark::Stays,
                Some(b'-') => Mark::Goes,
                Some(b'+') => Mark::Comes,
                Some(_) if hunk.lines.is_empty() && !line.starts_with("***") => {
                    return Err(PatchError::NoMark { line: self.at + 1, text: line.to_owned() });
                }
                Some(_) => break,
            };
            hunk.lines.push((mark, line.get(1..).unwrap_or_default().to_owned()));
            self.at += 1;
        }
        if hunk.lines.is_empty() { Err(PatchError::NoLines { line: self.at }) } else { Ok(hunk) }
    }
}

/// A line of a file: its bytes and its ending.
type Line<'a> = (Cow<'a, [u8]>, &'a [u8]);

/// Returns `content` with all hunks applied in order.
pub(super) fn apply(content: &[u8], hunks: &[Hunk]) -> Result<Vec<u8>, Misfit> {
    let lines: Vec<Line> = content.split_inclusive(|b| *b == b'\n').map(split_ending).collect();
    let ending: &[u8] = lines.first().map(|l| l.1).filter(|e| !e.is_empty()).unwrap_or(b"\n");
    let mut out: Vec<Line> = vec![];
    // Hunks that only add, which go to the end.
    let mut last: Vec<Line> = vec![];
    // How much of the file is in `out`, and where the next hunk is looked for.
    let (mut taken, mut from) = (0, 0);
    for (number, hunk) in hunks.iter().enumerate().map(|(i, h)| (i + 1, h)) {
        if let Some(below) = &hunk.below {
            from = 1 + find(&lines, &[below], from, false).ok_or_else(|| Misfit::Below {
                hunk: number,
                text: below.clone(),
                near: nearest(content, &[below]),
            })?;
        }
        let mut marked: Vec<(Mark, &str)> = hunk.lines.iter().map(|(m, t)| (*m, t.as_str())).collect();
        let old = |marked: &[(Mark, &str)]| -> Vec<String> {
            marked.iter().filter(|(m, _)| *m != Mark::Comes).map(|(_, t)| (*t).to_owned()).collect()
        };
        let wanted = old(&marked);
        if wanted.is_empty() {
            last.extend(marked.iter().map(|(_, t)| (Cow::Owned(t.as_bytes().to_vec()), ending)));
            continue;
        }
        let refs = |all: &[String]| -> Vec<String> { all.to_vec() };
        let mut at = find(&lines, &refs(&wanted), from, hunk.at_end);
        if at.is_none() && wanted.last().is_some_and(String::is_empty) {
            // An empty line before the next header is more often layout of the patch than a line of the file.
            let blank = marked.iter().rposition(|(m, _)| *m != Mark::Comes).unwrap_or_default();
            if blank + 1 == marked.len() || marked[blank].0 == Mark::Goes {
                marked.remove(blank);
            } else {
                marked[blank].0 = Mark::Comes;
            }
            at = find(&lines, &old(&marked), from, hunk.at_end);
        }
        let at = at.ok_or_else(|| Misfit::Lines {
            hunk: number,
            place: if hunk.at_end {
                " at its end"
            } else if from > 0 {
                " below the last hunk or @@ line"
            } else {
                ""
            },
            text: wanted.iter().take(TOLD_MAX).map(String::as_str).collect::<Vec<_>>().join("\n"),
            near: nearest(content, &wanted.iter().map(String::as_str).collect::<Vec<_>>()),
        })?;
        out.extend_from_slice(&lines[taken..at]);
        taken = at;
        // Where the lines that go and come next begin to.
        let mut block = at;
        for (mark, text) in marked {
            match mark {
                Mark::Stays => out.push(lines[taken].clone()),
                Mark::Comes => {
                    // What comes at the same place stands in the order of the patch.
                    if block == lines.len() {
                        out.append(&mut last);
                    }
                    out.push((Cow::Owned(text.as_bytes().to_vec()), ending));
                }
                Mark::Goes => {}
            }
            taken += usize::from(mark != Mark::Comes);
            if mark == Mark::Stays {
                block = taken;
            }
        }
        from = taken;
    }
    out.extend_from_slice(&lines[taken..]);
    out.extend(last);
    let mut whole = Vec::with_capacity(content.len());
    for (line, end) in out {
        whole.extend_from_slice(&line);
        whole.extend_from_slice(if end.is_empty() { ending } else { end });
    }
    Ok(whole)
}

fn split_ending(line: &[u8]) -> Line<'_> {
    let end = match line {
        [.., b'\r', b'\n'] => 2,
        [.., b'\n'] => 1,
        _ => 0,
    };
    let (text, ending) = line.split_at(line.len() - end);
    (Cow::Borrowed(text), ending)
}

/// Returns where `wanted` stands in `lines` from line `from` on, by the exactest likeness that has a place.
fn find<S: AsRef<str>>(lines: &[Line], wanted: &[S], from: usize, at_end: bool) -> Option<usize> {
    let last = lines.len().checked_sub(wanted.len())?;
    // Also at the end, a hunk never reaches into the one before it.
    let from = if at_end { last.max(from) } else { from };
    let likenesses: [fn(&str) -> Cow<'_, str>; 4] =
        [|s| Cow::Borrowed(s), |s| s.trim_end().into(), |s| s.trim().into(), typewriter];
    likenesses.iter().find_map(|like| {
        let wanted: Vec<_> = wanted.iter().map(|w| like(w.as_ref())).collect();
        (from..=last).find(|at| {
            wanted
                .iter()
                .zip(&lines[*at..])
                .all(|(want, line)| std::str::from_utf8(&line.0).is_ok_and(|text| like(text) == *want))
        })
    })
}

/// Returns the line as a typewriter would have it.
fn typewriter(line: &str) -> Cow<'_, str> {
    line.trim()
        .chars()
        .map(|c| match c {
            '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
            '\u{2018}'..='\u{201b}' => '\'',
            '\u{201c}'..='\u{201f}' => '"',
            '\u{a0}' | '\u{2002}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => ' ',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Returns what an update of a file by the hunks in `body` makes of `content`.
    fn update(content: &str, body: &str) -> Result<String, String> {
        let text = format!("*** Begin Patch\n*** Update File: f\n{body}\n*** End Patch");
        let files = parse(&text).map_err(|e| e.to_string())?;
        let [FilePatch::Update { hunks, .. }] = &files[..] else { return Err("no single update".to_owned()) };
        let out = apply(content.as_bytes(), hunks).map_err(|e| e.to_string())?;
        String::from_utf8(out).map_err(|e| e.to_string())
    }

    #[test]
    fn hunks_find_their_place() {
        let rows = [
            // The first hunk needs no head, later ones do; in file order.
            ("a\nb\nc\n", " a\n-b\n+B", "a\nB\nc\n"),
            ("a\nb\nc\nb\n", "@@\n-b\n+X", "a\nX\nc\nb\n"),
            ("a\nb\nc\nb\n", "@@ c\n-b\n+X", "a\nb\nc\nX\n"),
            ("a\nb\nc\nd\n", "-a\n+A\n@@\n c\n-d\n+D", "A\nb\nc\nD\n"),
            ("a\nb\nc\n", "-b", "a\nc\n"),
            ("a\n", "-a", ""),
            // Only additions go to the end, wherever the @@ line stands.
            ("a\nb\nc\n", "@@ a\n+X", "a\nb\nc\nX\n"),
            ("", "+X", "X\n"),
            ("a\n", "+X\n@@\n a\n+Y\n*** End of File", "a\nX\nY\n"),
            // Anchored at the end, but never within what an earlier hunk took.
            ("\n", "-\n+a\n@@\n \n+b\n*** End of File", "a\n\nb\n"),
            ("a\nb\n", "+X\n@@\n-b\n+B", "a\nB\nX\n"),
            ("a\n\n", "+X", "a\n\nX\n"),
            // The end is anchored.
            ("a\nb\na\nb\n", "-b\n+X\n*** End of File", "a\nb\na\nX\n"),
            // A missing newline at the end comes; endings stay, new lines end like the first line.
            ("a\nb", "-a\n+A", "A\nb\n"),
            ("a\r\nb\r\nc\r\n", " a\n-b\n+B\n+B2", "a\r\nB\r\nB2\r\nc\r\n"),
            ("a\r\nb\nc\r\n", "@@\n-b\n+B", "a\r\nB\r\nc\r\n"),
            ("a\nb\r\nc\n", " a\n-b\n+B\n c", "a\nB\nc\n"),
            ("a\r\nb", "+X", "a\r\nb\r\nX\r\n"),
            // Likeness: blanks behind, around, typography. Lines that stay are the file's own.
            ("a  \nb\n", " a\n-b\n+X", "a  \nX\n"),
            ("\ta\nb\n", " a\n-b\n+X", "\ta\nX\n"),
            ("\u{201c}a\u{201d} \u{2013} b\nc\n", "-\"a\" - b\n+X", "X\nc\n"),
            ("  a\na\n", "-a\n+X", "  a\nX\n"),
            // An empty line is a line that stays; a surplus one before the next head is layout.
            ("a\n\nb\n", " a\n\n-b\n+X", "a\n\nX\n"),
            ("a\nb\n", "-b\n+X\n", "a\nX\n"),
            ("a\nb\nc\n", "-b\n+X\n\n@@\n-c\n+Y", "a\nX\nY\n"),
            ("a\nb\n", " a\n\n+z", "a\n\nz\nb\n"),
        ];
        for (content, body, expect) in rows {
            assert_eq!(update(content, body).as_deref(), Ok(expect), "{content:?} {body:?}");
        }
    }

    #[test]
    fn what_does_not_fit_names_the_hunk_and_the_nearest_lines() {
        let rows = [
            (
                "a\n",
                "-b\n+X",
                "hunk 1: these lines are not in the file:\nb\nNo lines of the file are like it.",
            ),
            (
                "fn one() {\n}\n",
                "-fn one(x) {\n+X",
                "hunk 1: these lines are not in the file:\nfn one(x) {\nThe nearest lines are:\n1\tfn one() {",
            ),
            ("a\nb\n", "-b\n+X\n@@\n-a\n+Y", "hunk 2: these lines are not in the file below the last hunk"),
            (
                "a\nb\n",
                "@@ zz\n-b\n+X",
                "hunk 1: the line after @@ is not in the file below the last hunk: \"zz\"",
            ),
            ("a\nb\n", "@@ -1,2 +1,2 @@\n-b\n+X", "the line after @@ is not in the file"),
            ("a\nb\na\nc\n", "-b\n+X\n*** End of File", "not in the file at its end:\nb"),
            ("a\nb\n", "@@ a\n@@ b\n-c", "line 4 of the patch, \"@@ b\", begins with none of"),
            ("a\nb\n", "@@", "line 3 of the patch: a hunk without lines"),
            ("a\nb\n", "-b\n+X\nzzz", "line 5 of the patch, \"zzz\", begins with none of"),
            ("a\nb\n", "*** Move to: g", "the update of f has no hunk; to move a file unchanged, use shell"),
            ("a\nb\n", "-b\n+X\n*** Move to: g", "line 5 of the patch, \"*** Move to: g\""),
        ];
        for (content, body, expect) in rows {
            let error = update(content, body).unwrap_err();
            assert!(error.contains(expect), "{body:?}: {error}");
        }
    }

    #[test]
    fn patches_are_read_as_models_write_them() {
        let add = vec![FilePatch::Add { path: "a b".to_owned(), content: "x\n\n".to_owned() }];
        let rows = [
            "*** Begin Patch\n*** Add File: a b\n+x\n+\n*** End Patch",
            "\n\n *** Begin Patch \n  *** Add File: a b  \n+x\n+\n *** End Patch \n\n",
            "*** Begin Patch\r\n*** Add File: a b\r\n+x\r\n+\r\n*** End Patch\r\n",
            "<<'EOF'\n*** Begin Patch\n*** Add File: a b\n+x\n+\n*** End Patch\nEOF\n",
            "<<EOF\n*** Begin Patch\n*** Environment ID: 1\n*** Add File: a b\n+x\n+\n\n*** End Patch\nEOF",
        ];
        for text in rows {
            assert_eq!(parse(text).as_ref(), Ok(&add), "{text:?}");
        }
        let wrong = [
            ("", "must begin"),
            ("*** Begin Patch", "must end"),
            ("*** Begin Patch\n*** End Patch", "changes no file"),
            ("*** Begin Patch\n*** Add File: a\n+x\n*** End Patch\nmore", "must end"),
            ("*** Begin Patch\n*** Add File: a\nx\n*** End Patch", "line 3 of the patch, \"x\", is none of"),
            ("*** Begin Patch\n*** Add File: \n+x\n*** End Patch", "line 2 of the patch names no file"),
            ("*** Begin Patch\n*** Frobnicate: a\n*** End Patch", "line 2 of the patch"),
            ("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b", "must begin"),
        ];
        for (text, expect) in wrong {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expect), "{text:?}: {error}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_survive() {
        let files = parse("*** Begin Patch\n*** Update File: f\n-a\n+b\n*** End Patch").unwrap();
        let [FilePatch::Update { hunks, .. }] = &files[..] else { panic!("{files:?}") };
        assert_eq!(apply(b"\xff\xfe\0\na\n", hunks).unwrap(), b"\xff\xfe\0\nb\n");
    }

    /// A line of a file and what becomes of it, and how many new lines come behind it.
    type Fate = (bool, usize);

    proptest! {
        /// A patch made from a change of lines that are all different, with a line around each hunk, makes that change.
        #[test]
        fn a_generated_patch_makes_its_target(
            fates in prop::collection::vec((prop::bool::weighted(0.8), prop_oneof![4 => Just(0_usize), 1 => 1..3_usize]), 1..40),
            crlf: bool,
            words in "[ -~]{0,12}",
        ) {
            let end = if crlf { "\r\n" } else { "\n" };
            let name = |n: usize| format!("{n} {words}|");
            let before: String = (0..fates.len()).map(|n| name(n) + end).collect();
            let (mut target, mut body) = (String::new(), String::new());
            let changed = |f: &Fate| !f.0 || f.1 > 0;
            let near = |n: usize| fates[n.saturating_sub(1)..(n + 2).min(fates.len())].iter().any(changed);
            let mut open = false;
            for (n, (stays, comes)) in fates.iter().enumerate() {
                if near(n) {
                    if !open {
                        body.push_str("@@\n");
                    }
                    body.push_str(&format!("{}{}\n", if *stays { ' ' } else { '-' }, name(n)));
                }
                open = near(n);
                if *stays {
                    target.push_str(&(name(n) + end));
                }
                for k in 0..*comes {
                    body.push_str(&format!("+new {n} {k} {words}\n"));
                    target.push_str(&format!("new {n} {k} {words}{end}"));
                }
            }
            prop_assume!(!body.is_empty());
            prop_assert_eq!(update(&before, body.trim_end_matches('\n')), Ok(target), "{}", body);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}", content: Vec<u8>) {
            if let Ok(files) = parse(&format!("*** Begin Patch\n*** Update File: f\n{text}\n*** End Patch")) {
                for file in files {
                    if let FilePatch::Update { hunks, .. } = file {
                        let _ = apply(&content, &hunks);
                    }
                }
            }
        }
    }
}
