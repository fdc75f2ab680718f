//! Two people changed the same file: a merge of three contents, line by line.
//!
//! Each side's changes against the base are laid over each other. Where only one side changed something, its lines are
//! taken; where both made the same of it, that once; where they touch or overlap and differ, nothing is guessed: it is an
//! [`Overlap`], and there is no merged content. Changes on neighbouring lines touch: that neither broke the other's is for
//! somebody to say who can read.

use crate::diff::{Change, changes, is_binary, lines};
use serde::{Serialize, Serializer};
use std::ops::Range;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merge {
    Clean(Vec<u8>),
    /// What does not fit, in order.
    Overlaps(Vec<Overlap>),
    /// One of the three is no text.
    Binary,
}

/// Lines of which two sides made different things.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Overlap {
    /// First line of `mine`, in that side's content, from 1; where `mine` is empty, the line that it would be before.
    pub line: usize,
    #[serde(serialize_with = "as_text")]
    pub base: Vec<u8>,
    #[serde(serialize_with = "as_text")]
    pub mine: Vec<u8>,
    #[serde(serialize_with = "as_text")]
    pub theirs: Vec<u8>,
}

fn as_text<S: Serializer>(text: &[u8], s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&String::from_utf8_lossy(text))
}

/// One side's lines and what it changed.
struct Side<'a> {
    lines: Vec<&'a [u8]>,
    changes: Vec<Change>,
    /// Changes before this one are merged.
    next: usize,
}

/// Merges what `mine` and `theirs` made of `base`.
pub fn merge(base: &[u8], mine: &[u8], theirs: &[u8]) -> Merge {
    if [base, mine, theirs].into_iter().any(is_binary) {
        return Merge::Binary;
    }
    let (merged, overlaps) = lay(base, mine, theirs);
    if overlaps.is_empty() { Merge::Clean(merged) } else { Merge::Overlaps(overlaps) }
}

/// Returns the same where `theirs` stands wherever both made something else of the same lines; `None` where one is no text.
pub fn merge_over(base: &[u8], mine: &[u8], theirs: &[u8]) -> Option<Vec<u8>> {
    let is_text = ![base, mine, theirs].into_iter().any(is_binary);
    is_text.then(|| lay(base, mine, theirs).0)
}

/// Lays both sides' changes over each other. Where they overlap, the content has `theirs`.
fn lay(base: &[u8], mine: &[u8], theirs: &[u8]) -> (Vec<u8>, Vec<Overlap>) {
    let base = lines(base);
    let side = |content| {
        let lines = lines(content);
        let changes = changes(&base, &lines);
        Side { lines, changes, next: 0 }
    };
    let (mut mine, mut theirs) = (side(mine), side(theirs));
    let (mut out, mut overlaps, mut at) = (vec![], vec![], 0);
    while let Some(first) = [mine.upcoming(), theirs.upcoming()].into_iter().flatten().min_by_key(|c| c.start)
    {
        // All that touches it, on both sides, until nothing more does.
        let (from_mine, from_theirs) = (mine.next, theirs.next);
        let mut cluster = first;
        while mine.join(&mut cluster) || theirs.join(&mut cluster) {}
        out.extend(base[at..cluster.start].concat());
        at = cluster.end;
        let (my_span, their_span) = (mine.span(from_mine, &cluster), theirs.span(from_theirs, &cluster));
        let (my_lines, their_lines) = (&mine.lines[my_span.clone()], &theirs.lines[their_span]);
        match (from_mine == mine.next, from_theirs == theirs.next) {
            _ if my_lines == their_lines => out.extend(my_lines.concat()),
            (true, _) => out.extend(their_lines.concat()),
            (_, true) => out.extend(my_lines.concat()),
            (false, false) => {
                let theirs = their_lines.concat();
                out.extend(&theirs);
                let (line, base, mine) = (my_span.start + 1, base[cluster].concat(), my_lines.concat());
                overlaps.push(Overlap { line, base, mine, theirs });
            }
        }
    }
    out.extend(base[at..].concat());
    (out, overlaps)
}

impl Side<'_> {
    /// Returns which lines of the base the next change takes the place of.
    fn upcoming(&self) -> Option<Range<usize>> {
        self.changes.get(self.next).map(|change| change.was.clone())
    }

    /// Joins the next change to the cluster if it touches it.
    fn join(&mut self, cluster: &mut Range<usize>) -> bool {
        match self.upcoming() {
            Some(was) if was.start <= cluster.end => {
                cluster.end = cluster.end.max(was.end);
                self.next += 1;
                true
            }
            _ => false,
        }
    }

    /// Returns this side's lines in the place of the cluster, whose changes here are those from `first` on.
    fn span(&self, first: usize, cluster: &Range<usize>) -> Range<usize> {
        let end_of =
            |upto: usize| self.changes[..upto].last().map_or((0, 0), |last| (last.was.end, last.now.end));
        let (was, now) = end_of(first);
        let start = now + (cluster.start - was);
        let (was, now) = end_of(self.next);
        let end = if self.next == first { start + cluster.len() } else { now + (cluster.end - was) };
        start..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn merged(base: &str, mine: &str, theirs: &str) -> Result<String, Vec<(usize, String, String, String)>> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\n', "|");
        // One letter a line.
        let content = |letters: &str| letters.chars().map(|c| format!("{c}\n")).collect::<String>();
        match merge(content(base).as_bytes(), content(mine).as_bytes(), content(theirs).as_bytes()) {
            Merge::Clean(merged) => Ok(text(&merged).replace('|', "")),
            Merge::Overlaps(overlaps) => Err(overlaps
                .iter()
                .map(|o| (o.line, text(&o.base), text(&o.mine), text(&o.theirs)))
                .collect()),
            Merge::Binary => unreachable!(),
        }
    }

    #[test]
    fn what_does_not_touch_is_merged_and_what_does_is_shown() {
        for (base, mine, theirs, expected) in [
            ("abcde", "Abcde", "abcdE", "AbcdE"),
            ("abcde", "xabcde", "abcdey", "xabcdey"),
            ("abcde", "acde", "abcd", "acd"),
            ("abcde", "abXcde", "abcde", "abXcde"),
            // The same on both sides, once.
            ("abc", "aXc", "aXc", "aXc"),
            ("abc", "abcX", "abcX", "abcX"),
            ("abcdefg", "aXcdefg", "aXcdeYg", "aXcdeYg"),
            ("", "", "new", "new"),
            ("abc", "", "abc", ""),
        ] {
            assert_eq!(merged(base, mine, theirs), Ok(expected.to_owned()), "{base} {mine} {theirs}");
            assert_eq!(merged(base, theirs, mine), Ok(expected.to_owned()), "{base} {theirs} {mine}");
        }
        let overlap = |line, base: &str, mine: &str, theirs: &str| {
            let lines = |s: &str| s.chars().map(|c| format!("{c}|")).collect::<String>();
            Err(vec![(line, lines(base), lines(mine), lines(theirs))])
        };
        for (base, mine, theirs, expected) in [
            ("abc", "aXc", "aYc", overlap(2, "b", "X", "Y")),
            ("abc", "abcX", "abcY", overlap(4, "", "X", "Y")),
            ("abc", "ac", "aXc", overlap(2, "b", "", "X")),
            // Neighbouring lines.
            ("abcd", "aXcd", "abYd", overlap(2, "bc", "Xc", "bY")),
            ("", "one", "two", overlap(1, "", "one", "two")),
            // Only what touches: the rest of `mine` fits.
            ("abcdefg", "Xbcdefg", "Ybcdefz", overlap(1, "a", "X", "Y")),
        ] {
            assert_eq!(merged(base, mine, theirs), expected, "{base} {mine} {theirs}");
        }
        assert_eq!(merge(b"a\0", b"b", b"c"), Merge::Binary);
        assert_eq!(merge_over(b"a\0", b"b", b"c"), None);
        // A last line without its end is another line.
        assert_eq!(
            merge(b"a\nb", b"a\nb\n", b"A\nb"),
            Merge::Overlaps(vec![Overlap {
                line: 1,
                base: b"a\nb".into(),
                mine: b"a\nb\n".into(),
                theirs: b"A\nb".into()
            }])
        );
        assert_eq!(merge(b"a\nm\nb", b"a\nm\nb\n", b"A\nm\nb"), Merge::Clean(b"A\nm\nb\n".to_vec()));
    }

    #[test]
    fn one_side_stands_only_where_both_changed_the_same() {
        for (base, mine, theirs, expected) in [
            ("abc", "aXc", "aYc", "aYc"),
            ("abc", "ac", "aXc", "aXc"),
            ("abcdefg", "Xbcdefg", "Ybcdefz", "Ybcdefz"),
            // The rest of `mine` stays.
            ("abcdefg", "aXcdeMg", "aYcdefg", "aYcdeMg"),
            ("abcdefg", "Mabcdef", "abcdYfz", "MabcdYfz"),
        ] {
            let content = |letters: &str| letters.chars().map(|c| format!("{c}\n")).collect::<String>();
            let [base, mine, theirs, expected] = [base, mine, theirs, expected].map(content);
            let over = merge_over(base.as_bytes(), mine.as_bytes(), theirs.as_bytes());
            assert_eq!(over, Some(expected.into_bytes()));
        }
    }

    fn content() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof!["[a-e]\n", "[a-e]"], 0..24)
            .prop_map(|lines| lines.concat().into_bytes())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
        #[test]
        fn who_changes_nothing_leaves_the_other_side(base in content(), a in content()) {
            prop_assert_eq!(merge(&base, &a, &base), Merge::Clean(a.clone()));
            prop_assert_eq!(merge(&base, &base, &a), Merge::Clean(a.clone()));
            prop_assert_eq!(merge(&base, &a, &a), Merge::Clean(a));
        }

        #[test]
        fn the_sides_count_the_same_and_no_line_of_either_is_lost(base in content(), a in content(), b in content()) {
            let (ab, ba) = (merge(&base, &a, &b), merge(&base, &b, &a));
            match (ab, ba) {
                (Merge::Clean(ab), Merge::Clean(ba)) => {
                    prop_assert_eq!(&ab, &ba);
                    let (base, merged) = (lines(&base), lines(&ab));
                    for side in [&a, &b] {
                        let side = lines(side);
                        for change in changes(&base, &side) {
                            let came = &side[change.now];
                            let there = came.is_empty() || merged.windows(came.len()).any(|some| some == came);
                            prop_assert!(there, "{:?} is not in {:?}", came, merged);
                        }
                    }
                    let (a, b) = (lines(&a), lines(&b));
                    for line in merged {
                        prop_assert!(a.contains(&line) || b.contains(&line), "{:?} is nobody's", line);
                    }
                }
                (Merge::Overlaps(ab), Merge::Overlaps(ba)) => {
                    prop_assert_eq!(ab.len(), ba.len());
                    for (ab, ba) in ab.iter().zip(&ba) {
                        prop_assert_eq!((&ab.base, &ab.mine, &ab.theirs), (&ba.base, &ba.theirs, &ba.mine));
                        prop_assert_ne!(&ab.mine, &ab.theirs);
                    }
                }
                (ab, ba) => prop_assert!(false, "{:?} and {:?}", ab, ba),
            }
        }
    }
}
