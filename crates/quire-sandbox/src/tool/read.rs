//! `read`: a text file by lines, a folder, an image; of anything else, what it is.

use super::files::{open_regular, shown, special_kind};
use super::output::plain;
use super::{Here, Tool, refused, said};
use crate::protocol::{HandImage, HandOutcome};
use quire_core::bytes::escape;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read as _, Seek};
use std::path::Path;

/// Most bytes of text that one result shows.
const SHOWN_MAX: usize = 32_000;
/// Most bytes of one line.
const LINE_MAX: usize = 2_000;
const LINES_USUAL: u64 = 1_000;
/// Beyond what is shown, lines are counted for so many bytes.
const COUNT_MAX: u64 = 256 << 20;
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
        let mut line = plain(&line);
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
            let end = buffer.iter().position(|b| *b == b'\n');
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
            self.number += buffer.iter().filter(|b| **b == b'\n').count() as u64;
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
    for name in &names {
        let path = dir.join(name);
        out.push_str(&escape(name.as_encoded_bytes()));
        if let Ok(meta) = fs::symlink_metadata(&path) {
            if meta.is_dir() {
                out.push('/');
            } else if meta.is_symlink() {
                let to = fs::read_link(&path).map(|to| shown(&to)).unwrap_or_default();
                out.push_str(&format!(" -> {to}"));
            } else if let Some(kind) = special_kind(&meta) {
                out.push_str(&format!(" ({kind})"));
            }
        }
        out.push('\n');
    }
    let left = count - names.len();
    let about = if left > 0 { format!("; {left} more, use search or shell") } else { String::new() };
    Ok(format!("{out}[{count} {}{about}]", if count == 1 { "entry" } else { "entries" }))
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
    let image = HandImage { media_type: format!("image/{kind}"), file: name };
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
