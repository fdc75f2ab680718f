//! `read`: a text file by lines, a folder, an image; of anything else, what it is.

use super::files::{open_regular, shown, special_kind};
use super::output::visible;
use super::{Here, Tool, refused, said};
use crate::protocol::{HandImage, HandOutcome};
use memchr::{memchr, memchr_iter};
use quire_core::bytes::escape;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read as _, Seek};
use std::path::Path;

/// Most bytes of text that one result shows.
const SHOWN_MAX: usize = 32_000;
/// Most bytes of one line.
const LINE_MAX: usize = 2_000;
const LINES_USUAL: u64 = 1_000;
/// Beyond what is shown, lines are counted for so many bytes.
const COUNT_MAX: u64 = 64 << 20;
/// Most names of a folder.
const NAMES_MAX: usize = 500;
const IMAGE_MAX: u64 = 5 << 20;
/// How much of a file tells what it is.
const SNIFF: usize = 8 << 10;

/// Read a file by lines, each as `number<tab>text`; at most 1,000 lines, 32,000 bytes and 2,000 bytes of a line at once,
/// and the end says where to go on. A folder is listed, of a binary file the kind is said.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Read {
    /// From the task's folder, or absolute.
    path: String,
    /// First line, from 1.
    offset: Option<u64>,
    /// Number of lines.
    limit: Option<u64>,
}

impl Tool for Read {
    const NAME: &'static str = "read";
    const ONLY_READS: bool = true;
    const FOR_EYES: &'static str = " PNG, JPEG, GIF and WebP images up to 5 MB are shown.";

    fn run(self, here: &Here<'_>) -> HandOutcome {
        let path = here.inside.at(&self.path);
        if fs::metadata(&path).is_ok_and(|m| m.is_dir()) {
            return match list(&path) {
                Ok(text) => said(text),
                Err(error) => refused(format!("{}: {error}.", shown(&path))),
            };
        }
        let (mut file, meta) = match open_regular(&path) {
            Ok(opened) => opened,
            Err(error) => return refused(error.to_string()),
        };
        let mut start = vec![];
        let sniffed = (&mut file).take(SNIFF as u64).read_to_end(&mut start);
        let done = sniffed.and_then(|_| {
            if let Some(kind) = image_kind(&start) {
                return image(here, kind, &mut file, &start, meta.len());
            }
            if let Some(kind) = binary_kind(&start) {
                return Ok(said(format!("{}: {kind}, {} bytes; not shown as text.", self.path, meta.len())));
            }
            let first = self.offset.unwrap_or(1).max(1);
            file.rewind()?;
            text(file, first, self.limit.unwrap_or(LINES_USUAL).max(1)).map(said)
        });
        done.unwrap_or_else(|error| refused(format!("{}: {error}.", shown(&path))))
    }
}

/// Returns lines `first` to `first + limit - 1` as far as they may be shown, and a last line on what there is besides.
fn text(file: File, first: u64, limit: u64) -> io::Result<String> {
    let mut lines =
        Lines { reader: BufReader::with_capacity(256 << 10, file), number: 0, crlf: false, ended: true };
    let mut out = String::new();
    let mut next = first;
    while lines.number + 1 < first && lines.next(0)?.is_some() {}
    while next < first.saturating_add(limit) && lines.number + 1 == next {
        let Some((line, bytes)) = lines.next(LINE_MAX)? else { break };
        let cut = bytes - line.len() as u64;
        let mut line = visible(&line);
        if cut > 0 {
            line.push_str(&format!("\u{2026} [+{cut} bytes; shell has cut -c]"));
        }
        if out.len() + line.len() > SHOWN_MAX && !out.is_empty() {
            break;
        }
        out.push_str(&format!("{next}\t{line}\n"));
        next += 1;
    }
    let counted = lines.count(COUNT_MAX)?;
    let total = lines.number;
    let about = match () {
        () if total == 0 => "[the file is empty]".to_owned(),
        () if next == first => format!("[the file has {total} lines]"),
        () if next <= total && counted => format!("[of {total} lines; go on with offset {next}]"),
        () if next <= total => format!("[of more than {total} lines; go on with offset {next}]"),
        () => format!("[end, {total} {}]", if total == 1 { "line" } else { "lines" }),
    };
    out.push_str(&about);
    if lines.crlf {
        out.push_str(" [lines end with CRLF]");
    }
    if !lines.ended && next > total {
        out.push_str(" [no newline at the end]");
    }
    Ok(out)
}

/// Lines of a file of any size and with lines of any length, in constant memory.
struct Lines<R> {
    reader: R,
    /// Lines read so far.
    number: u64,
    crlf: bool,
    ended: bool,
}

impl<R: BufRead> Lines<R> {
    /// Returns at most `keep` bytes of the next line and its whole length, both without its ending.
    fn next(&mut self, keep: usize) -> io::Result<Option<(Vec<u8>, u64)>> {
        let mut line = vec![];
        let mut bytes = 0;
        let mut last = None;
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                if bytes == 0 {
                    return Ok(None);
                }
                self.ended = false;
                break;
            }
            let end = memchr(b'\n', buffer);
            let piece = &buffer[..end.unwrap_or(buffer.len())];
            line.extend_from_slice(&piece[..piece.len().min(keep.saturating_sub(line.len()))]);
            bytes += piece.len() as u64;
            last = piece.last().copied().or(last);
            let used = piece.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if end.is_some() {
                break;
            }
        }
        self.number += 1;
        if self.ended && last == Some(b'\r') {
            self.crlf = true;
            bytes -= 1;
            line.truncate(line.len().min(bytes as usize));
        }
        Ok(Some((line, bytes)))
    }

    /// Counts the lines that are left; returns whether it came to the end within `bytes`.
    fn count(&mut self, bytes: u64) -> io::Result<bool> {
        let mut seen = 0;
        let mut open = false;
        while seen < bytes {
            let buffer = self.reader.fill_buf()?;
            let Some(last) = buffer.last() else {
                self.number += u64::from(open);
                if seen > 0 {
                    self.ended = !open;
                }
                return Ok(true);
            };
            open = *last != b'\n';
            self.number += memchr_iter(b'\n', buffer).count() as u64;
            let len = buffer.len();
            seen += len as u64;
            self.reader.consume(len);
        }
        Ok(false)
    }
}

fn list(dir: &Path) -> io::Result<String> {
    // The first names in order, whatever their number: memory stays bounded.
    let mut names = BTreeSet::new();
    let mut count = 0_usize;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        count += 1;
        names.insert(entry.file_name());
        if names.len() > NAMES_MAX {
            names.pop_last();
        }
    }
    if count == 0 {
        return Ok("[an empty folder]".to_owned());
    }
    let mut out = String::new();
    let mut listed = 0;
    for name in &names {
        let line = entry(dir, name);
        if out.len() + line.len() > SHOWN_MAX {
            break;
        }
        out.push_str(&line);
        out.push('\n');
        listed += 1;
    }
    let left = count - listed;
    let about = if left > 0 { format!("; {left} more, use search or shell") } else { String::new() };
    Ok(format!("{out}[{count} {}{about}]", if count == 1 { "entry" } else { "entries" }))
}

/// Returns a folder's entry by its name and what kind it is of.
fn entry(dir: &Path, name: &OsStr) -> String {
    let path = dir.join(name);
    let mut line = escape(name.as_encoded_bytes());
    match fs::symlink_metadata(&path) {
        Ok(meta) if meta.is_dir() => line.push('/'),
        Ok(meta) if meta.is_symlink() => {
            let to = fs::read_link(&path).map(|to| shown(&to)).unwrap_or_default();
            line.push_str(&format!(" -> {to}"));
        }
        Ok(meta) => line.extend(special_kind(&meta).map(|kind| format!(" ({kind})"))),
        // Gone since.
        Err(_) => {}
    }
    line
}

fn image(here: &Here<'_>, kind: &str, file: &mut File, start: &[u8], bytes: u64) -> io::Result<HandOutcome> {
    let about = format!("{} image, {bytes} bytes", kind.to_uppercase());
    if bytes > IMAGE_MAX {
        return Ok(refused(format!(
            "{about}: too large to be shown, at most {IMAGE_MAX}; make it smaller first."
        )));
    }
    let name = format!("image-{}.{kind}", here.inside.next_id());
    let mut copy = File::options().write(true).create_new(true).open(here.inside.out.join(&name))?;
    // What grows meanwhile is cut, and is no image any more in any case.
    io::copy(&mut start.chain(file.take(IMAGE_MAX)), &mut copy)?;
    let image = HandImage { media_type: format!("image/{kind}"), file: name, window: None };
    Ok(HandOutcome { images: vec![image], ..said(about) })
}

fn image_kind(start: &[u8]) -> Option<&'static str> {
    match start {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("png"),
        [0xff, 0xd8, 0xff, ..] => Some("jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("webp"),
        _ => None,
    }
}

/// Returns what a file that is no text is, by how it begins; `None` for text in whatever encoding of single bytes.
fn binary_kind(start: &[u8]) -> Option<&'static str> {
    const KINDS: &[(&[u8], &str)] = &[
        (b"\x7fELF", "an ELF program or library"),
        (b"%PDF-", "a PDF document (pdftotext reads it)"),
        (b"PK\x03\x04", "a ZIP archive (also docx, xlsx, jar)"),
        (b"\x1f\x8b", "gzip data"),
        (b"\x28\xb5\x2f\xfd", "zstd data"),
        (b"\xfd7zXZ", "xz data"),
        (b"SQLite format 3\0", "an SQLite database"),
        (b"\xff\xfe", "text in UTF-16 (iconv -f UTF-16 converts it)"),
        (b"\xfe\xff", "text in UTF-16 (iconv -f UTF-16 converts it)"),
    ];
    let known = KINDS.iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, kind)| *kind);
    known.or_else(|| start.contains(&0).then_some("a binary file"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::Place;
    use serde_json::json;
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;

    #[test]
    fn text_is_shown_by_lines() {
        let place = Place::new();
        let ten: String = (1..=10).map(|n| format!("line {n}\n")).collect();
        let rows: &[(&[u8], serde_json::Value, &str)] = &[
            (b"a\nb\n", json!({}), "1\ta\n2\tb\n[end, 2 lines]"),
            (b"a", json!({}), "1\ta\n[end, 1 line] [no newline at the end]"),
            (b"", json!({}), "[the file is empty]"),
            (b"\n\n", json!({}), "1\t\n2\t\n[end, 2 lines]"),
            (b"a\r\nb\r\n", json!({}), "1\ta\n2\tb\n[end, 2 lines] [lines end with CRLF]"),
            (b"caf\xe9\n", json!({}), "1\tcaf\u{fffd}\n[end, 1 line]"),
            (ten.as_bytes(), json!({"offset": 9}), "9\tline 9\n10\tline 10\n[end, 10 lines]"),
            (
                ten.as_bytes(),
                json!({"offset": 2, "limit": 1}),
                "2\tline 2\n[of 10 lines; go on with offset 3]",
            ),
            (ten.as_bytes(), json!({"offset": 11}), "[the file has 10 lines]"),
            (ten.as_bytes(), json!({"offset": 99, "limit": 0}), "[the file has 10 lines]"),
            (b"a\nb", json!({"limit": 1}), "1\ta\n[of 2 lines; go on with offset 2]"),
            (b"a\nb", json!({"offset": 0, "limit": 1}), "1\ta\n[of 2 lines; go on with offset 2]"),
        ];
        for (content, mut input, expect) in rows.iter().cloned() {
            place.put("f", content);
            input["path"] = json!("f");
            let outcome = place.call("read", input.clone());
            assert_eq!((outcome.text.as_str(), outcome.ok), (expect, true), "{input}");
        }
    }

    #[test]
    fn long_lines_and_long_files_are_cut_and_said() {
        let place = Place::new();
        place.put("wide", format!("{}\nnext\n", "x".repeat(5_000)));
        let wide = place.call("read", json!({"path": "wide"})).text;
        assert!(
            wide.contains("xx\u{2026} [+3000 bytes; shell has cut -c]\n2\tnext\n[end, 2 lines]"),
            "{wide}"
        );
        place.put("long", "some text\n".repeat(50_000));
        let mut next = 1;
        let mut calls = 0;
        while next <= 50_000 && calls < 100 {
            let text = place.call("read", json!({"path": "long", "offset": next, "limit": 100_000})).text;
            assert!(text.len() < 32_100, "{}", text.len());
            assert!(text.starts_with(&format!("{next}\tsome text\n")));
            let on = text
                .rsplit_once("[of 50000 lines; go on with offset ")
                .map(|(_, on)| on.trim_end_matches(']'));
            next = on.map_or(50_001, |on| on.parse().unwrap());
            calls += 1;
        }
        assert_eq!((next, calls < 30), (50_001, true));
    }

    #[test]
    fn folders_are_listed_and_bounded() {
        let place = Place::new();
        place.put("d/a.txt", "x");
        place.put("d/.hidden", "x");
        place.put("d/sub/x", "x");
        symlink("/etc/hosts", place.path("d/link")).unwrap();
        assert_eq!(
            place.call("read", json!({"path": "d"})).text,
            ".hidden\na.txt\nlink -> /etc/hosts\nsub/\n[4 entries]"
        );
        fs::create_dir(place.path("e")).unwrap();
        assert_eq!(place.call("read", json!({"path": "e/"})).text, "[an empty folder]");
        (0..700).for_each(|n| place.put(&format!("many/{n:03}"), ""));
        (0..300).for_each(|n| place.put(&format!("wide/{n:0200}"), ""));
        let wide = place.call("read", json!({"path": "wide"})).text;
        assert!(
            wide.len() < 32_100 && wide.ends_with("[300 entries; 141 more, use search or shell]"),
            "{}",
            wide.len()
        );
        let many = place.call("read", json!({"path": "many"})).text;
        assert!(
            many.starts_with("000\n001\n")
                && many.ends_with("\n499\n[700 entries; 200 more, use search or shell]")
        );
    }

    #[test]
    fn images_go_to_the_out_directory() {
        let place = Place::new();
        let rows: &[(&[u8], &str)] = &[
            (b"\x89PNG\r\n\x1a\nrest", "png"),
            (b"\xff\xd8\xff\xe0rest", "jpeg"),
            (b"GIF89arest", "gif"),
            (b"RIFF1234WEBPrest", "webp"),
        ];
        for (content, kind) in rows {
            place.put("picture", content);
            let outcome = place.call("read", json!({"path": "picture"}));
            assert_eq!(outcome.text, format!("{} image, {} bytes", kind.to_uppercase(), content.len()));
            assert_eq!(outcome.images.len(), 1);
            assert_eq!(outcome.images[0].media_type, format!("image/{kind}"));
            assert_eq!(&fs::read(place.out(&outcome.images[0].file)).unwrap(), content);
        }
        let mut large = b"\x89PNG\r\n\x1a\n".to_vec();
        large.resize(6 << 20, 0);
        place.put("picture", large);
        let outcome = place.call("read", json!({"path": "picture"}));
        assert!(
            !outcome.ok && outcome.images.is_empty() && outcome.text.contains("too large"),
            "{outcome:?}"
        );
        let mut whole = b"GIF89a".to_vec();
        whole.extend((0..40_000_u32).map(|n| n as u8));
        place.put("picture", &whole);
        let outcome = place.call("read", json!({"path": "picture"}));
        assert_eq!(fs::read(place.out(&outcome.images[0].file)).unwrap(), whole);
    }

    #[test]
    fn what_is_no_text_is_described() {
        let place = Place::new();
        place.put("z", b"\x1f\x8b123");
        place.put("n", b"a\0b");
        place.put("w", b"\xff\xfea\0");
        assert!(std::process::Command::new("mkfifo").arg(place.path("fifo")).status().unwrap().success());
        let _socket = std::os::unix::net::UnixListener::bind(place.path("sock")).unwrap();
        symlink("fifo", place.path("to-fifo")).unwrap();
        symlink("gone", place.path("dangling")).unwrap();
        place.put("src/notes.md", "");
        let rows = [
            ("z", "z: gzip data, 5 bytes; not shown as text."),
            ("n", "n: a binary file, 3 bytes"),
            ("w", "UTF-16"),
            ("fifo", "is a named pipe, not a file; it was not opened."),
            ("to-fifo", "is a named pipe"),
            ("sock", "is a socket"),
            ("/dev/zero", "/dev/zero is a device"),
            ("/dev/tty", "is a device"),
            ("dangling", "There is no "),
            ("src/Notes.MD", "Its folder has notes.md."),
            ("nowhere/at/all", "/folder."),
            ("n/below", "n/below: Not a directory"),
            ("a\0b", "NUL byte"),
        ];
        for (path, expect) in rows {
            let outcome = place.call("read", json!({ "path": path }));
            assert!(outcome.text.contains(expect), "{path:?}: {}", outcome.text);
        }
    }

    #[test]
    fn a_huge_file_is_known_by_its_beginning() {
        let place = Place::new();
        let file = File::create(place.path("sparse")).unwrap();
        file.set_len(1 << 30).unwrap();
        let outcome = place.call("read", json!({"path": "sparse"}));
        assert_eq!(outcome.text, "sparse: a binary file, 1073741824 bytes; not shown as text.");
    }

    #[test]
    fn files_of_the_kernel_that_have_no_size_are_read() {
        let place = Place::new();
        let outcome = place.call("read", json!({"path": "/proc/self/status"}));
        assert!(outcome.text.starts_with("1\tName:"), "{}", outcome.text);
    }
}
