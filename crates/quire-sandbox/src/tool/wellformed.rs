//! `wellformed FILE...`: looks whether data files and pages are what their names say, and whether a page's links lead
//! somewhere. A command of quire's own in every sandbox, because what it reads is an agent's work and may be made to break a
//! parser.
//!
//! A file that is not there is passed over, so that the same command can be run on the folder as it was before.

mod image;

use html5gum::{Token, Tokenizer};
use quick_xml::events::Event;
use saphyr_parser::Parser;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

/// The command's name inside.
pub const NAME: &str = "wellformed";

/// Endings of the files that are looked at, pictures apart.
const KINDS: &[&str] = &["json", "toml", "yaml", "yml", "csv", "tsv", "xlsx", "xml", "svg", "html", "htm"];

/// Returns whether files whose names have this ending, in small letters, are looked at.
pub fn looks_at(ending: &str) -> bool {
    KINDS.contains(&ending) || image::KINDS.contains(&ending)
}

/// Longest file that is read, in bytes; and what an XLSX may hold altogether.
const BYTES_MAX: u64 = 64 << 20;
/// Problems that are told of one file.
const TOLD_MAX: usize = 20;

/// The command. Exits 0 where all is well, 1 where a file is not, 2 when called wrongly.
pub(crate) fn main(args: &[OsString]) -> i32 {
    let mut out = io::stdout().lock();
    if args.is_empty() {
        let _ = writeln!(io::stderr(), "usage: wellformed FILE...");
        return 2;
    }
    let (mut seen, mut wrong) = (0, 0);
    for path in args.iter().map(Path::new).filter(|path| path.is_file()) {
        let problems = problems(path);
        seen += 1;
        wrong += usize::from(!problems.is_empty());
        for problem in problems.iter().take(TOLD_MAX) {
            let _ = writeln!(out, "✗ {}: {problem}", path.display());
        }
    }
    let files = |n: usize| if n == 1 { "1 file".to_owned() } else { format!("{n} files") };
    let _ = match (wrong, seen) {
        (0, 1) => writeln!(out, "1 file is well formed"),
        (0, _) => writeln!(out, "{} are well formed", files(seen)),
        (1, _) => writeln!(out, "1 of {} is not well formed", files(seen)),
        (wrong, _) => writeln!(out, "{wrong} of {} are not well formed", files(seen)),
    };
    i32::from(wrong > 0)
}

/// Returns what is wrong with a file; nothing where it is of no known kind.
fn problems(path: &Path) -> Vec<String> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    let content = match read(path) {
        Ok(content) => content,
        Err(error) => return vec![error.to_string()],
    };
    let found = match ending.as_str() {
        "json" => json(&content),
        "csv" => csv(&content, None),
        "tsv" => csv(&content, Some(b'\t')),
        "xlsx" => xlsx(&content),
        "xml" | "svg" => xml(&content),
        picture if image::KINDS.contains(&picture) => image::problem(picture, &content),
        "toml" | "yaml" | "yml" | "html" | "htm" => match std::str::from_utf8(&content) {
            Err(error) => Err(format!("it is not UTF-8 from byte {} on", error.valid_up_to())),
            Ok(text) if ending == "toml" => toml(text),
            Ok(text) if ending.starts_with('y') => yaml(text),
            Ok(text) => return links(path, text),
        },
        _ => Ok(()),
    };
    found.err().into_iter().collect()
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = vec![];
    File::open(path)?.take(BYTES_MAX + 1).read_to_end(&mut content)?;
    match content.len() as u64 > BYTES_MAX {
        true => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "it is longer than 64 MiB, and was not looked at",
        )),
        false => Ok(content),
    }
}

fn json(content: &[u8]) -> Result<(), String> {
    serde_json::from_slice::<serde::de::IgnoredAny>(content).map(drop).map_err(|error| error.to_string())
}

fn toml(text: &str) -> Result<(), String> {
    text.parse::<toml::Table>().map(drop).map_err(|error| {
        let line =
            error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        format!("line {line}: {}", error.message())
    })
}

fn yaml(text: &str) -> Result<(), String> {
    // A template of something that will be YAML.
    if text.contains("{{") || text.contains("{%") {
        return Ok(());
    }
    for event in Parser::new_from_str(text) {
        event.map_err(|error| format!("line {}: {}", error.marker().line(), error.info()))?;
    }
    Ok(())
}

/// Every row must have as many fields as the first.
fn csv(content: &[u8], delimiter: Option<u8>) -> Result<(), String> {
    let first = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |delimiter: u8| first.iter().filter(|byte| **byte == delimiter).count();
    let delimiter = delimiter
        .unwrap_or_else(|| *b",;\t|".iter().max_by_key(|d| (count(**d), **d == b',')).expect("four"));
    let mut rows =
        csv::ReaderBuilder::new().has_headers(false).delimiter(delimiter).flexible(true).from_reader(content);
    let (mut row, mut fields) = (csv::ByteRecord::new(), None);
    while rows.read_byte_record(&mut row).map_err(|error| error.to_string())? {
        let line = row.position().map_or(0, csv::Position::line);
        let first = *fields.get_or_insert(row.len());
        if row.len() != first {
            return Err(format!("line {line}: {} fields, where the first row has {first}", row.len()));
        }
    }
    Ok(())
}

fn xml(content: &[u8]) -> Result<(), String> {
    let mut reader = quick_xml::Reader::from_reader(content);
    let (mut depth, mut elements) = (0usize, 0usize);
    let at = |position: u64| {
        content[..(position as usize).min(content.len())].iter().filter(|byte| **byte == b'\n').count() + 1
    };
    loop {
        match reader.read_event() {
            Ok(Event::Eof) if depth > 0 => return Err("it ends within an element".to_owned()),
            Ok(Event::Eof) if elements == 0 => return Err("there is no element in it".to_owned()),
            Ok(Event::Eof) => return Ok(()),
            Ok(Event::Start(element)) => {
                (depth, elements) = (depth + 1, elements + 1);
                if let Some(Err(error)) = element.attributes().find(Result::is_err) {
                    return Err(format!("line {}: {error}", at(reader.buffer_position())));
                }
            }
            Ok(Event::Empty(_)) => elements += 1,
            Ok(Event::End(_)) => depth = depth.saturating_sub(1),
            Ok(_) => {}
            Err(error) => return Err(format!("line {}: {error}", at(reader.error_position()))),
        }
    }
}

/// A workbook is an archive of XML: each part must unpack and be well formed, and the parts that make it one must be there.
fn xlsx(content: &[u8]) -> Result<(), String> {
    let mut archive =
        zip::ZipArchive::new(io::Cursor::new(content)).map_err(|error| format!("no workbook: {error}"))?;
    for needed in ["[Content_Types].xml", "xl/workbook.xml"] {
        if archive.index_for_name(needed).is_none() {
            return Err(format!("no workbook: {needed} is missing"));
        }
    }
    let mut left = BYTES_MAX;
    for index in 0..archive.len() {
        let part = archive.by_index(index).map_err(|error| error.to_string())?;
        let name = part.name().map_err(|error| error.to_string())?.into_owned();
        let mut content = vec![];
        part.take(left + 1).read_to_end(&mut content).map_err(|error| format!("{name}: {error}"))?;
        left = left
            .checked_sub(content.len() as u64)
            .ok_or("it unpacks to more than 64 MiB, and was not looked at")?;
        if name.ends_with(".xml") || name.ends_with(".rels") {
            xml(&content).map_err(|error| format!("{name}: {error}"))?;
        }
    }
    Ok(())
}

/// What a page says that others may lead to, and where it leads itself.
#[derive(Default)]
struct Page {
    marks: BTreeSet<String>,
    links: Vec<String>,
    /// Links are meant from elsewhere.
    based: bool,
}

impl Page {
    fn read(text: &str) -> Page {
        let mut page = Page::default();
        for token in Tokenizer::new(text) {
            let Ok(Token::StartTag(tag)) = token else { continue };
            let name = String::from_utf8_lossy(&tag.name).into_owned();
            for (key, value) in &tag.attributes {
                let value = || String::from_utf8_lossy(value).trim().to_owned();
                match (name.as_str(), &key[..]) {
                    ("base", b"href") => page.based = true,
                    (_, b"id") | ("a", b"name") => drop(page.marks.insert(value())),
                    // Hints to a browser of where it may go lead nowhere.
                    ("link", b"href")
                        if tag.attributes.iter().any(|(k, v)| {
                            &k[..] == b"rel" && v.windows(3).any(|w| w == b"pre" || w == b"dns")
                        }) => {}
                    (_, b"href" | b"src" | b"poster") => page.links.push(value()),
                    _ => {}
                }
            }
        }
        page
    }
}

/// Returns a page's links that lead nowhere, of those that lead to files beside it.
fn links(path: &Path, text: &str) -> Vec<String> {
    let page = Page::read(text);
    if page.based {
        return vec![];
    }
    let dead = |link: &&String| !leads(path, &page, link);
    let mut told = BTreeSet::new();
    page.links
        .iter()
        .filter(dead)
        .filter(|link| told.insert(*link))
        .map(|link| format!("the link {link} leads nowhere"))
        .collect()
}

fn leads(from: &Path, page: &Page, link: &str) -> bool {
    let has_scheme = link.split(['/', '?', '#']).next().is_some_and(|head| head.contains(':'));
    let is_template = ["{{", "{%", "<%", "<?", "${"].iter().any(|mark| link.contains(mark));
    if has_scheme || is_template || link.starts_with("//") {
        return true;
    }
    let (way, mark) = link.split_once('#').unwrap_or((link, ""));
    let way = unescaped(way.split('?').next().unwrap_or(way));
    let mark = unescaped(mark);
    let to_top = mark.is_empty() || mark == "top" || mark.starts_with('/') || mark.starts_with('!');
    if way.is_empty() {
        return to_top || page.marks.contains(&mark);
    }
    let here = from.parent().unwrap_or(Path::new(""));
    // From the top of a site, which may be any folder above the page.
    let tops: Vec<&Path> = if way.starts_with('/') { from.ancestors().skip(1).collect() } else { vec![here] };
    let found = tops.iter().find_map(|top| standing(&top.join(way.trim_start_matches('/'))));
    let Some(found) = found else { return false };
    let is_page = found.extension().is_some_and(|ending| ending == "html" || ending == "htm");
    match is_page && !to_top {
        true => read(&found)
            .is_ok_and(|content| Page::read(&String::from_utf8_lossy(&content)).marks.contains(&mark)),
        false => true,
    }
}

/// Returns what a server would answer with.
fn standing(path: &Path) -> Option<PathBuf> {
    let mut flat = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir if !flat.pop() => return None,
            Component::ParentDir | Component::CurDir => {}
            part => flat.push(part),
        }
    }
    let path = if flat.as_os_str().is_empty() { PathBuf::from(".") } else { flat };
    let page =
        path.with_file_name(format!("{}.html", path.file_name().unwrap_or_default().to_string_lossy()));
    let index = path.join("index.html");
    [index, path, page].into_iter().find(|path| fs::metadata(path).is_ok())
}

/// Returns text without percent escapes.
fn unescaped(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (vec![], 0);
    while at < bytes.len() {
        let hex = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok()))
            .flatten();
        out.push(hex.unwrap_or(bytes[at]));
        at += if hex.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workbook with these parts.
    fn workbook(parts: &[(&str, &str)]) -> Vec<u8> {
        let mut to = zip::ZipWriter::new(io::Cursor::new(vec![]));
        for (name, text) in parts {
            to.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            to.write_all(text.as_bytes()).unwrap();
        }
        to.finish().unwrap().into_inner()
    }

    #[test]
    fn what_is_not_what_its_name_says_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let whole = workbook(&[("[Content_Types].xml", "<T/>"), ("xl/workbook.xml", "<w><s/></w>")]);
        let torn = whole[..whole.len() - 9].to_vec();
        let odd = workbook(&[("[Content_Types].xml", "<T/>"), ("xl/workbook.xml", "<w><s></w>")]);
        let page = "<h1 id=top1>A</h1><a href=b.html>b</a><a href='c%20d.html#x'>c</a><a href=\"#top1\">t</a><a href=/sub/>s</a>\
                    <a href=https://example.org/x>o</a><a href='mailto:a@b.c'>m</a><img src={{url}}><a href=b>b</a>";
        let mut wrong = vec![];
        for (name, content, said) in [
            ("a.json", b"{\"a\": [1, 2]}".as_slice(), ""),
            ("b.json", b"{\"a\": [1, 2,]}", "expected value at line 1 column 13"),
            ("c.json", b"", "EOF while parsing a value at line 1 column 0"),
            ("a.toml", b"[a]\nb = 1\n", ""),
            ("b.toml", b"[a]\nb = \n", "line 2: "),
            ("a.yaml", b"a:\n  - 1\n---\nb: {c: d}\n", ""),
            ("b.yml", b"a: [1, 2\nb: 3\n", "line "),
            ("c.yml", b"a: {{ .Values.x }}\n", ""),
            ("a.csv", b"a,b\n1,\"2,3\"\n", ""),
            ("b.csv", b"a;b\n1;2\n3\n", "line 3: 1 fields, where the first row has 2"),
            ("a.tsv", b"a\tb\n1\t2\n", ""),
            ("a.svg", b"<svg><path d='x'/></svg>", ""),
            ("b.xml", b"<a>\n<b></a>", "line 2: "),
            ("c.xml", b"<a>", "it ends within an element"),
            ("a.xlsx", &whole, ""),
            ("b.xlsx", &torn, "no workbook: "),
            ("c.xlsx", &odd, "xl/workbook.xml: line 1: "),
            ("b.html", b"<p id=y>", ""),
            ("c d.html", b"<p id=x>", ""),
            ("sub/index.html", b"<a href=../b.html#y>b</a>", ""),
            ("a.html", page.as_bytes(), ""),
            (
                "d.html",
                b"<a href=gone.html>g</a><img src=../../x.png>",
                "the link gone.html leads nowhere|the link ../../x.png leads nowhere",
            ),
            (
                "e.html",
                b"<a href=b.html#no>g</a><a href='#no'>",
                "the link b.html#no leads nowhere|the link #no leads nowhere",
            ),
            ("f.html", b"<base href=/x/><a href=gone.html>", ""),
            ("a.rs", b"fn", ""),
        ] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            let told = problems(&path).join("|");
            if said.is_empty() != told.is_empty() || !told.starts_with(said) {
                wrong.push(format!("{name}: {told}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn hostile_files_end_in_a_word() {
        let dir = tempfile::tempdir().unwrap();
        let deep = |open: &str, n: usize| open.repeat(n).into_bytes();
        for (name, content) in [
            ("a.json", deep("[", 1_000_000)),
            ("a.yaml", deep("[", 100_000)),
            ("b.yaml", deep("- ", 100_000)),
            ("a.toml", [b"a = ".to_vec(), deep("[", 100_000)].concat()),
            ("a.xml", deep("<a>", 300_000)),
            ("a.csv", deep("\"", 99_999)),
            ("a.html", deep("<a href='%", 100_000)),
            ("a.xlsx", b"PK\x05\x06".repeat(100)),
        ] {
            let path = dir.path().join(name);
            fs::write(&path, content).unwrap();
            problems(&path);
        }
    }
}
