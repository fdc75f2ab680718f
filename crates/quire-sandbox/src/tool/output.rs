//! What a command prints, kept in constant memory: the head and the tail of what a model has not seen yet, and once it is
//! more than is shown, all of it in a file.

use memchr::memchr_iter;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Most bytes of output that one result shows.
pub(super) const SHOWN_MAX: usize = 16_000;
/// Of these, from the beginning; errors tend to stand at the end.
const HEAD: usize = 6_000;
/// The rest, less what the line about the cut takes.
const TAIL: usize = SHOWN_MAX - HEAD - 400;
const WHOLE: usize = HEAD + TAIL;
/// Most bytes that the file with the whole output takes.
const FILE_MAX: u64 = 1 << 30;
/// Most bytes of news that are kept for live watching; older ones are dropped.
const LIVE_MAX: usize = 4_096;

pub(super) struct Output {
    dir: PathBuf,
    name: String,
    /// All output as long as it is short; moved to the file after.
    early: Vec<u8>,
    file: Option<File>,
    total: u64,
    /// Why the file is not whole.
    lacking: Option<String>,
    lines: u64,
    unseen: Window,
    live: Vec<u8>,
}

/// What was not shown yet.
#[derive(Default)]
struct Window {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
    /// Complete lines before it, and within it.
    lines_before: u64,
    lines: u64,
}

/// Output as it is shown.
pub(super) struct Shown {
    pub(super) text: String,
    /// Name of the file that has everything, where the text does not.
    pub(super) whole: Option<String>,
}

impl Output {
    /// `name` is that of the file in `dir`, which is only made if it is needed.
    pub(super) fn new(dir: &Path, name: String) -> Output {
        Output {
            dir: dir.to_path_buf(),
            name,
            early: vec![],
            file: None,
            total: 0,
            lacking: None,
            lines: 0,
            unseen: Window::default(),
            live: vec![],
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.keep(bytes);
        self.total += bytes.len() as u64;
        let lines = memchr_iter(b'\n', bytes).count() as u64;
        self.lines += lines;
        self.unseen.push(bytes, lines);
        let recent = &bytes[bytes.len().saturating_sub(LIVE_MAX)..];
        self.live.extend_from_slice(recent);
        if self.live.len() > LIVE_MAX {
            self.live.drain(..self.live.len() - LIVE_MAX);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.lacking.is_some() {
            return;
        }
        if self.file.is_none() {
            self.early.extend_from_slice(bytes);
            if self.early.len() <= WHOLE {
                return;
            }
        }
        if let Err(error) = self.spill(bytes) {
            self.lacking = Some(format!("only its beginning, for it could not be written on: {error}"));
        } else if self.total + bytes.len() as u64 >= FILE_MAX {
            self.lacking = Some(format!("only its first {FILE_MAX} bytes"));
        }
    }

    fn spill(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let room = FILE_MAX.saturating_sub(self.total) as usize;
        if let Some(file) = &mut self.file {
            return file.write_all(&bytes[..bytes.len().min(room)]);
        }
        // The early bytes have these in them already. The name is new to the sandbox, but the directory may be older.
        let mut name = self.name.clone();
        let mut file = OpenOptions::new().append(true).create_new(true).open(self.dir.join(&name));
        for n in 2..1000 {
            if !file.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::AlreadyExists) {
                break;
            }
            name = format!("{n}-{}", self.name);
            file = OpenOptions::new().append(true).create_new(true).open(self.dir.join(&name));
        }
        self.name = name;
        let file = self.file.insert(file?);
        file.write_all(&std::mem::take(&mut self.early))
    }

    /// Returns the output since the last time, bounded, and takes it as seen.
    pub(super) fn show(&mut self) -> Shown {
        let window = std::mem::take(&mut self.unseen);
        self.unseen.lines_before = self.lines;
        self.live.clear();
        let Some(cut) = window.cut() else {
            let all: Vec<u8> = window.head.iter().chain(&window.tail).copied().collect();
            return Shown { text: plain(&all), whole: None };
        };
        let path = self.dir.join(&self.name);
        let file = match &self.lacking {
            None => format!("{} has all of it", path.display()),
            Some(why) if self.file.is_some() => format!("{} has {why}", path.display()),
            Some(why) => format!("the file of it has {why}"),
        };
        let text = format!(
            "{}\n[{} bytes are cut here{}; {file}; go on with read]\n{}",
            plain(cut.head).trim_end_matches('\n'),
            cut.bytes,
            cut.lines.map(|(from, to)| format!(", lines {from} to {to}")).unwrap_or_default(),
            plain(&cut.tail)
        );
        Shown { text, whole: self.file.is_some().then(|| self.name.clone()) }
    }

    /// Returns what came since the last time, the newest where it is much, for watching; a character that is not whole
    /// yet waits.
    pub(super) fn take_live(&mut self) -> String {
        let whole = match std::str::from_utf8(&self.live) {
            Err(e) if e.error_len().is_none() => e.valid_up_to(),
            _ => self.live.len(),
        };
        plain(&self.live.drain(..whole).collect::<Vec<_>>())
    }

    /// Returns how many bytes came in all.
    pub(super) fn total(&self) -> u64 {
        self.total
    }
}

struct Cut<'a> {
    head: &'a [u8],
    tail: Vec<u8>,
    bytes: u64,
    /// First and last line that is missing or broken, from 1; absent where the cut lies within one line.
    lines: Option<(u64, u64)>,
}

impl Window {
    fn push(&mut self, bytes: &[u8], lines: u64) {
        self.total += bytes.len() as u64;
        self.lines += lines;
        let (head, rest) = bytes.split_at(bytes.len().min(HEAD - self.head.len()));
        self.head.extend_from_slice(head);
        self.tail.extend(&rest[rest.len().saturating_sub(TAIL)..]);
        if self.tail.len() > TAIL {
            self.tail.drain(..self.tail.len() - TAIL);
        }
    }

    /// Returns how it is cut, at line ends where there are any near; `None` where all of it is here.
    fn cut(&self) -> Option<Cut<'_>> {
        if self.total <= WHOLE as u64 {
            return None;
        }
        let newlines = |bytes: &[u8]| memchr_iter(b'\n', bytes).count() as u64;
        let head_end = self.head.iter().rposition(|b| *b == b'\n').filter(|at| *at >= HEAD / 2);
        let head = &self.head[..head_end.map_or(self.head.len(), |at| at + 1)];
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        let tail_start = tail.iter().position(|b| *b == b'\n').filter(|at| *at < TAIL / 2);
        let tail = tail[tail_start.map_or(0, |at| at + 1)..].to_vec();
        let from = self.lines_before + newlines(head) + 1;
        let to = self.lines_before + self.lines - newlines(&tail);
        Some(Cut {
            bytes: self.total - (head.len() + tail.len()) as u64,
            head,
            lines: (from <= to).then_some((from, to)),
            tail,
        })
    }
}

/// Returns a file's text with nothing taken out, so that it can be edited by what was shown: control characters are their
/// pictures, which move no cursor, and what is not UTF-8 is U+FFFD.
pub(super) fn visible(bytes: &[u8]) -> String {
    let picture = |c: char| match c {
        '\t' | '\n' => c,
        '\0'..='\x1f' => char::from_u32(0x2400 + c as u32).unwrap_or(c),
        '\x7f' => '\u{2421}',
        c => c,
    };
    String::from_utf8_lossy(bytes).chars().map(picture).collect()
}

/// Returns output as text for reading: no colours or other control sequences, of a line that was overwritten what stood
/// last, and U+FFFD for what is not UTF-8.
pub(super) fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let mut line = 0;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' => match chars.next() {
                // CSI: parameters, then one final byte.
                Some('[') => while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {},
                // OSC and its like: up to BEL or ESC \.
                Some(']' | 'P' | '_' | '^' | 'X') => {
                    while let Some(c) = chars.next() {
                        if c == '\x07' || (c == '\x1b' && chars.next_if_eq(&'\\').is_some()) {
                            break;
                        }
                    }
                }
                // A charset is named by one more.
                Some('(' | ')') => {
                    chars.next();
                }
                _ => {}
            },
            '\r' => {
                // `\r\n` ends a line, also when a terminal doubled it; anything else overwrites it.
                while chars.next_if_eq(&'\r').is_some() {}
                if chars.peek().is_some_and(|c| *c != '\n') {
                    out.truncate(line);
                }
            }
            '\n' => {
                out.push('\n');
                line = out.len();
            }
            '\x08' => {
                if out.len() > line {
                    out.pop();
                }
            }
            c if c.is_control() && c != '\t' => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn text_is_made_plain() {
        let rows: &[(&[u8], &str)] = &[
            (b"a\nb", "a\nb"),
            (b"\x1b[1;31mred\x1b[0m", "red"),
            (b"\x1b]0;title\x07x\x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\", "xlink"),
            (b"10%\r20%\r100%\ndone\r\n", "100%\ndone\n"),
            (b"a\r\r\nb", "a\nb"),
            (b"a\x08b\x07\tc\0", "b\tc"),
            (b"\xff\xfe caf\xc3\xa9", "\u{fffd}\u{fffd} caf\u{e9}"),
            (b"\x1b(Bx\x1b", "x"),
            (b"\x1b[31", ""),
        ];
        for (raw, expect) in rows {
            assert_eq!(plain(raw), *expect, "{raw:?}");
        }
    }

    #[test]
    fn files_keep_what_cannot_be_seen() {
        let rows: &[(&[u8], &str)] = &[
            (b"a\tb\n", "a\tb\n"),
            (b"\x1b[1m\rx\0\x7f", "\u{241b}[1m\u{240d}x\u{2400}\u{2421}"),
            (b"\xffcaf\xc3\xa9", "\u{fffd}caf\u{e9}"),
        ];
        for (raw, expect) in rows {
            assert_eq!(visible(raw), *expect, "{raw:?}");
        }
    }

    #[test]
    fn short_output_makes_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut output = Output::new(dir.path(), "o.txt".to_owned());
        output.push(&vec![b'x'; WHOLE]);
        let shown = output.show();
        assert_eq!((shown.text.len(), shown.whole), (WHOLE, None));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn long_output_shows_head_and_tail_and_says_what_lies_between() {
        let dir = tempfile::tempdir().unwrap();
        let mut output = Output::new(dir.path(), "o.txt".to_owned());
        let all: String = (1..=10_000).map(|n| format!("line {n}\n")).collect();
        for piece in all.as_bytes().chunks(777) {
            output.push(piece);
        }
        let shown = output.show();
        assert!(shown.text.len() <= SHOWN_MAX, "{}", shown.text.len());
        assert!(shown.text.starts_with("line 1\nline 2\n") && shown.text.ends_with("line 10000\n"));
        assert_eq!(shown.whole.as_deref(), Some("o.txt"));
        assert_eq!(fs::read_to_string(dir.path().join("o.txt")).unwrap(), all);
        let (head, rest) = shown.text.split_once("\n[").unwrap();
        let (about, tail) = rest.split_once("]\n").unwrap();
        let last: u64 = head.lines().next_back().unwrap()[5..].parse().unwrap();
        let next: u64 = tail.lines().next().unwrap()[5..].parse().unwrap();
        assert!(about.contains(&format!("lines {} to {};", last + 1, next - 1)), "{about}");
        let missing: usize = (last + 1..next).map(|n| format!("line {n}\n").len()).sum();
        assert!(about.starts_with(&format!("{missing} bytes are cut here")), "{about}");
    }

    #[test]
    fn one_endless_line_is_cut_within() {
        let dir = tempfile::tempdir().unwrap();
        let mut output = Output::new(dir.path(), "o.txt".to_owned());
        output.push(&vec![b'x'; 50_000]);
        let shown = output.show();
        assert!(shown.text.contains("\n[34400 bytes are cut here; "), "{}", &shown.text[5_990..6_100]);
    }

    #[test]
    fn each_showing_goes_on_where_the_last_ended() {
        let dir = tempfile::tempdir().unwrap();
        let mut output = Output::new(dir.path(), "o.txt".to_owned());
        output.push(b"one\n");
        assert_eq!(output.show().text, "one\n");
        output.push(b"two\n");
        assert_eq!(output.show().text, "two\n");
        assert_eq!(output.show().text, "");
        output.push(&b"y\n".repeat(20_000));
        assert!(output.show().text.contains(", lines 3003 to "), "counted from the beginning of all output");
    }

    #[test]
    fn a_name_that_is_taken_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("o.txt"), "old").unwrap();
        let mut output = Output::new(dir.path(), "o.txt".to_owned());
        output.push(&vec![b'x'; 50_000]);
        assert_eq!(output.show().whole.as_deref(), Some("2-o.txt"));
        assert_eq!(fs::read(dir.path().join("o.txt")).unwrap(), b"old");
    }

    #[test]
    fn without_room_for_the_file_the_output_is_still_shown() {
        let mut output = Output::new(Path::new("/nowhere/at/all"), "o.txt".to_owned());
        output.push(&vec![b'x'; 50_000]);
        let shown = output.show();
        assert!(shown.text.contains("could not be written on: No such file"), "{}", shown.text);
        assert_eq!(shown.whole, None);
    }

    #[test]
    fn live_text_is_bounded_and_waits_for_whole_characters() {
        let mut output = Output::new(Path::new("/tmp"), "o.txt".to_owned());
        output.push("caf\u{e9}".as_bytes().split_last().unwrap().1);
        assert_eq!(output.take_live(), "caf");
        output.push(b"\xa9");
        assert_eq!(output.take_live(), "\u{e9}");
        output.push(&vec![b'z'; 9_000]);
        assert_eq!(output.take_live().len(), LIVE_MAX);
        assert_eq!(output.take_live(), "");
    }
}
