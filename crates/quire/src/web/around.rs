//! More of a file around a change: lines of the version that did not change, asked for hunk by hunk in the address. A hunk keeps its
//! name, and all that goes by it, however much is shown around it.

use crate::error::Failure;
use crate::web::Page;
use crate::web::lines::Layout;
use maud::{Markup, html};
use quire_core::diff::{Hunk, Kind, Line};
use quire_core::view::{self, FileChange, Review};
use std::borrow::Cow;
use std::collections::HashMap;

/// Lines that come with each time that more is asked for.
const MORE: usize = 20;
/// Hunks that an address widens; it grows with each.
const WIDENED_MAX: usize = 40;

/// A hunk's name, and how many lines are shown above and below it.
type More = (String, usize, usize);

/// Which hunks show more, with how many lines above and below them.
#[derive(Default)]
struct Wide(Vec<More>);

/// What is shown around hunks, and from where more is asked for.
pub struct Around {
    wide: Wide,
    /// The address of the page, up to what it widens.
    at: String,
}

/// Lines between a hunk and its neighbours, or the ends of its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    pub above: usize,
    pub below: usize,
}

impl Wide {
    /// Returns what an address asks for, as `ID.20.0,ID.0.40`.
    fn of(asked: &str) -> Wide {
        let one = |text: &str| {
            let mut parts = text.split('.');
            let id = parts.next().filter(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_hexdigit()))?;
            let mut lines = parts.map(|lines| lines.parse::<u32>().ok());
            Some((id.to_owned(), lines.next()?? as usize, lines.next()?? as usize))
        };
        Wide(asked.split(',').filter_map(one).take(WIDENED_MAX).collect())
    }

    fn around(&self, id: &str) -> Option<(usize, usize)> {
        self.0.iter().find(|(known, ..)| known == id).map(|(_, above, below)| (*above, *below))
    }

    /// Returns the same with more around one hunk. Where there are too many, the first is as it was again.
    fn with(&self, id: &str, above: usize, below: usize) -> Wide {
        let now = self.around(id).unwrap_or_default();
        let mut wide: Vec<_> = self.0.iter().filter(|(known, ..)| known != id).cloned().collect();
        wide.push((id.to_owned(), now.0 + above, now.1 + below));
        let over = wide.len().saturating_sub(WIDENED_MAX);
        Wide(wide.split_off(over))
    }

    fn text(&self) -> String {
        let one = |(id, above, below): &More| format!("{id}.{above}.{below}");
        self.0.iter().map(one).collect::<Vec<_>>().join(",")
    }
}

impl Around {
    /// Returns what the address asks for, of the review's page, or of the page of one of its files.
    pub fn of(
        review: &Review,
        file: Option<usize>,
        layout: Layout,
        asked: &HashMap<String, String>,
    ) -> Around {
        let mut at = match file {
            // The review is there also where the task goes on.
            None => format!("/tasks/{}?version&", review.task),
            Some(number) => format!("/tasks/{}/files/{number}?", review.task),
        };
        if layout == Layout::Split {
            at.push_str("split&");
        }
        if let Some(since) = review.since {
            at.push_str(&format!("since={since}&"));
        }
        Around { wide: Wide::of(asked.get("wide").map_or("", String::as_str)), at }
    }

    /// Returns what the address of a chunk says of it.
    pub fn query(&self) -> String {
        if self.wide.0.is_empty() { String::new() } else { format!("&wide={}", self.wide.text()) }
    }

    /// Returns the ways to more lines around a hunk.
    pub fn ways(&self, hunk: &Hunk, room: Room) -> Markup {
        let sides = [("above", room.above.min(MORE), 0), ("below", 0, room.below.min(MORE))];
        html! {
            @for (side, above, below) in sides.into_iter().filter(|(_, above, below)| above + below > 0) {
                a.txt href=(format!("{}wide={}#h{}", self.at, self.wide.with(&hunk.id, above, below).text(), hunk.id)) {
                    "Show " (view::count((above + below) as u64, "line")) " " (side)
                }
            }
        }
    }

    /// Returns whether the address names a hunk.
    pub fn is_wide(&self, hunk: &Hunk) -> bool {
        self.wide.around(&hunk.id).is_some()
    }
}

/// Returns how many lines could be shown around a hunk of a file, by its place.
pub fn room(file: &FileChange, hunk: usize) -> Room {
    let end = |hunk: &Hunk| hunk.now_start + hunk.now_lines;
    let one = &file.hunks[hunk];
    // Nothing of the file is left.
    if one.now_lines == 0 {
        return Room::default();
    }
    let before = hunk.checked_sub(1).map_or(1, |before| end(&file.hunks[before]));
    let after = file.hunks.get(hunk + 1).map_or(file.now_lines + 1, |after| after.now_start);
    Room { above: one.now_start.saturating_sub(before), below: after.saturating_sub(end(one)) }
}

/// Returns a file with what is asked for around its hunks; `content` is the file as it is now. No line is shown twice.
fn widened(file: &FileChange, wide: &Wide, content: &[u8]) -> FileChange {
    let mut file = file.clone();
    let lines: Vec<&[u8]> = content.split_inclusive(|byte| *byte == b'\n').collect();
    if lines.len() != file.now_lines {
        return file;
    }
    let same = |line: &&[u8]| Line { kind: Kind::Same, text: line.to_vec(), words: vec![] };
    for number in 0..file.hunks.len() {
        let Some((above, below)) = wide.around(&file.hunks[number].id) else { continue };
        let room = room(&file, number);
        let (above, below) = (above.min(room.above), below.min(room.below));
        let hunk = &mut file.hunks[number];
        // Without lines of its own it has no room either.
        let first = hunk.now_start.saturating_sub(1);
        let end = first + hunk.now_lines;
        hunk.lines.splice(0..0, lines[first - above..first].iter().map(same));
        hunk.lines.extend(lines[end..end + below].iter().map(same));
        (hunk.was_start, hunk.now_start) = (hunk.was_start.saturating_sub(above), hunk.now_start - above);
        (hunk.was_lines, hunk.now_lines) = (hunk.was_lines + above + below, hunk.now_lines + above + below);
    }
    file
}

impl Page {
    /// Returns a file of a review with what is asked for around its hunks. Only then is it read.
    pub fn widened<'f>(
        &self,
        review: &Review,
        file: &'f FileChange,
        around: Option<&Around>,
    ) -> Result<Cow<'f, FileChange>, Failure> {
        let Some(around) = around.filter(|around| file.hunks.iter().any(|hunk| around.is_wide(hunk))) else {
            return Ok(Cow::Borrowed(file));
        };
        let content =
            self.quire.file_of(review.task, Some(review.version), file.folder, &file.path, file.bytes)?;
        Ok(content.map_or(Cow::Borrowed(file), |content| Cow::Owned(widened(file, &around.wide, &content))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quire_core::change::{Entry, Node};
    use quire_core::{Hash, RelPath};

    /// A file of lines from 1, of which those that are named changed.
    fn changed(lines: usize, these: &[usize]) -> (FileChange, Vec<u8>) {
        let text = |mark: &str| -> String {
            let line = |n| if these.contains(&n) { format!("{n}{mark}\n") } else { format!("{n}\n") };
            (1..=lines).map(line).collect()
        };
        let (was, now) = (text("-"), text("+"));
        let node = |text: &str| {
            Some(Node::File { blob: Hash::of(text.as_bytes()), bytes: text.len() as u64, mode: 0o644 })
        };
        let path = RelPath::new("a").expect("a path");
        let entry = Entry { folder: 0, path, was: node(&was), now: node(&now) };
        (FileChange::of(&entry, Some(was.as_bytes()), Some(now.as_bytes())), now.into_bytes())
    }

    fn spans(file: &FileChange) -> Vec<(usize, usize)> {
        file.hunks.iter().map(|hunk| (hunk.now_start, hunk.now_start + hunk.now_lines - 1)).collect()
    }

    #[test]
    fn a_hunk_grows_up_to_its_neighbours_and_the_ends_of_its_file() {
        type Asked = [(usize, usize, usize)];
        let (file, content) = changed(100, &[10, 60]);
        let ids: Vec<&str> = file.hunks.iter().map(|hunk| hunk.id.as_str()).collect();
        assert_eq!(spans(&file), [(7, 13), (57, 63)]);
        let wide = |asked: &Asked| {
            let one = |(n, above, below): &(usize, usize, usize)| format!("{}.{above}.{below}", ids[*n]);
            Wide::of(&asked.iter().map(one).collect::<Vec<_>>().join(","))
        };
        let rows: [(&Asked, [(usize, usize); 2]); 5] = [
            (&[], [(7, 13), (57, 63)]),
            (&[(0, 20, 0)], [(1, 13), (57, 63)]),
            (&[(1, 20, 20)], [(7, 13), (37, 83)]),
            (&[(1, 0, 4_000_000)], [(7, 13), (57, 100)]),
            // What both ask for is shown once.
            (&[(0, 0, 30), (1, 30, 0)], [(7, 43), (44, 63)]),
        ];
        for (asked, expected) in rows {
            let file = widened(&file, &wide(asked), &content);
            assert_eq!(spans(&file), expected, "{asked:?}");
            assert_eq!(file.hunks.iter().map(|hunk| hunk.id.as_str()).collect::<Vec<_>>(), ids);
            for hunk in &file.hunks {
                let now = hunk.lines.iter().filter(|line| line.kind != Kind::Removed);
                let numbers: Vec<String> = now
                    .map(|line| String::from_utf8_lossy(&line.text).trim_end_matches(['+', '\n']).to_owned())
                    .collect();
                let expected: Vec<String> =
                    (hunk.now_start..hunk.now_start + hunk.now_lines).map(|n| n.to_string()).collect();
                assert_eq!(numbers, expected, "{asked:?}");
                assert_eq!((hunk.was_start, hunk.was_lines), (hunk.now_start, hunk.now_lines), "{asked:?}");
            }
        }
        assert_eq!(room(&file, 0), Room { above: 6, below: 43 });
        assert_eq!(room(&file, 1), Room { above: 43, below: 37 });
        // A file that is another by now is not put together of two.
        assert_eq!(spans(&widened(&file, &wide(&[(0, 20, 0)]), b"1\n2\n")), [(7, 13), (57, 63)]);
    }

    #[test]
    fn what_an_address_asks_for_is_read_and_told() {
        let wide = Wide::of("ab12.20.0,x.1.1,cd.1,ef.-1.0,00.0.40");
        assert_eq!(wide.text(), "ab12.20.0,00.0.40");
        assert_eq!(wide.with("ab12", 0, 20).text(), "00.0.40,ab12.20.20");
        let many: Vec<String> = (0..WIDENED_MAX).map(|n| format!("{n:x}.20.0")).collect();
        let many = Wide::of(&many.join(",")).with("fff", 20, 0);
        assert_eq!((many.0.len(), many.around("0")), (WIDENED_MAX, None));
    }
}
