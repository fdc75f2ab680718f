//! `glance`: the command behind `look` and behind the check of pages. It runs as any command does, so it is bounded, ended and
//! cleaned up after as they are; and what is looked at is an agent's work, which may be made to break a browser.

use super::browser::{self, Browser};
use super::document;
use crate::protocol::Window;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The command's name inside.
pub const NAME: &str = "glance";

/// What is to be looked at.
#[derive(Serialize, Deserialize)]
pub(super) struct Request {
    pub target: String,
    pub widths: Vec<u32>,
    pub page: u64,
    /// A directory in which pictures are left.
    pub into: PathBuf,
}

/// What was seen.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Report {
    pub text: String,
    pub ok: bool,
    pub pictures: Vec<Pictured>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Pictured {
    /// Of a file in the directory.
    pub name: String,
    pub window: Option<Window>,
}

impl Pictured {
    fn alone(name: String) -> Pictured {
        Pictured { name, window: None }
    }
}

/// The longest title that is told, in characters.
const TITLE_MAX: usize = 200;

/// The command: `glance PAGE...` is the check; `glance --request JSON` looks for the tool, which then reads the report.
pub(crate) fn main(args: &[OsString]) -> i32 {
    let text: Vec<&str> = args.iter().filter_map(|argument| argument.to_str()).collect();
    match text.as_slice() {
        ["--request", request] => {
            let Ok(request) = serde_json::from_str::<Request>(request) else { return 2 };
            let report = look(&request)
                .unwrap_or_else(|error| Report { text: format!("look: {error}."), ..Report::default() });
            let written = serde_json::to_vec(&report).map_err(io::Error::other);
            i32::from(written.and_then(|report| fs::write(request.into.join("report.json"), report)).is_err())
        }
        [] => {
            let _ = writeln!(io::stderr(), "usage: glance PAGE...");
            2
        }
        pages => check(pages),
    }
}

/// Opens each page. Exits 0 where none has an error, 1 where one has, 127 where there is no browser.
fn check(pages: &[&str]) -> i32 {
    let mut out = io::stdout().lock();
    let Some(program) = program(browser::PROGRAMS) else {
        let _ = writeln!(out, "there is no browser here");
        return 127;
    };
    let (mut browser, mut seen, mut wrong) = (None, 0, 0);
    for page in pages.iter().filter(|page| Path::new(page).is_file()) {
        let mut running = match browser.take().map_or_else(|| Browser::start(&program, Path::new(".")), Ok) {
            Ok(running) => running,
            Err(error) => {
                let _ = writeln!(out, "the browser did not start: {error}");
                return 127;
            }
        };
        seen += 1;
        let errors: Vec<String> = match running.look(&Browser::address(Path::new(page)), &[], false) {
            Ok(seen) => {
                browser = Some(running);
                seen.errors.into_iter().chain(seen.further.into_iter().map(str::to_owned)).collect()
            }
            // Whatever the page does goes on in there: the next one gets a browser of its own.
            Err(error) => vec![error.to_string()],
        };
        wrong += usize::from(!errors.is_empty());
        for error in errors {
            let _ = writeln!(out, "✗ {page}: {error}");
        }
    }
    let pages = |n: usize| if n == 1 { "1 page".to_owned() } else { format!("{n} pages") };
    let _ = match wrong {
        0 => writeln!(out, "{} without errors", pages(seen)),
        wrong => writeln!(out, "{wrong} of {} with errors", pages(seen)),
    };
    i32::from(wrong > 0)
}

fn look(request: &Request) -> io::Result<Report> {
    let target = request.target.as_str();
    if target.starts_with("http://") || target.starts_with("https://") {
        return page(target, Path::new("."), request);
    }
    let path = Path::new(target.strip_prefix("file://").unwrap_or(target));
    if !path.is_file() {
        return Err(io::Error::other(format!("there is no file {target}")));
    }
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    match ending.as_str() {
        "html" | "htm" | "svg" | "xhtml" => {
            // A page's links from the top of its site start at the folder, or where it lies outside of that, beside it.
            let here = std::env::current_dir()?;
            let at = here.join(path);
            let root = if at.starts_with(&here) { here } else { at.parent().unwrap_or(&here).to_owned() };
            page(&Browser::address(at.strip_prefix(&root).unwrap_or(&at)), &root, request)
        }
        "pdf" => printed(path, request),
        other if document::OFFICE.contains(&other) => {
            printed(&document::to_pdf(path, &request.into)?, request)
        }
        "png" | "jpg" | "jpeg" | "gif" | "webp" => {
            let name = format!("picture.{ending}");
            fs::copy(path, request.into.join(&name))?;
            Ok(Report {
                text: format!("{target}: an image"),
                ok: true,
                pictures: vec![Pictured::alone(name)],
            })
        }
        _ => Err(io::Error::other(format!("{target} is no page, document or image; read shows text"))),
    }
}

fn page(address: &str, root: &Path, request: &Request) -> io::Result<Report> {
    let program = program(browser::PROGRAMS).ok_or_else(|| io::Error::other("there is no browser here"))?;
    let seen = Browser::start(&program, root)?.look(address, &request.widths, true)?;
    let mut lines = vec![format!("{} \"{}\"", request.target, one_line(&seen.title))];
    let mut pictures = vec![];
    for shot in &seen.shots {
        let wider = match shot.wider {
            0 => String::new(),
            wider => format!(", {wider} px wider than the window, so it scrolls sideways"),
        };
        let cut =
            shot.cut.map(|high| format!(", {high} px high, of which the top is shown")).unwrap_or_default();
        let name = format!("width-{}.png", shot.width);
        fs::write(request.into.join(&name), &shot.png)?;
        pictures.push(Pictured { name, window: Some(Window { width: shot.width, wider: shot.wider }) });
        lines.push(format!("at {} px{wider}{cut}", shot.width));
    }
    match seen.errors.len() {
        0 => lines.push("no errors on the console".to_owned()),
        _ => lines.extend(seen.errors.iter().map(|error| format!("error: {error}"))),
    }
    lines.extend(seen.further.iter().map(|further| (*further).to_owned()));
    if !seen.elsewhere.is_empty() {
        lines.push(format!("not loaded, because it comes from elsewhere: {}", seen.elsewhere.join(", ")));
    }
    if let Some(pages) = seen.pages {
        lines.push(format!("printed: {pages} {}", if pages == 1 { "page" } else { "pages" }));
    }
    Ok(Report { text: lines.join("\n"), ok: true, pictures })
}

/// Returns a title as one line: a page may give itself any, and must not say what a look says.
fn one_line(title: &str) -> String {
    let parts = title.split(|c: char| c.is_whitespace() || c.is_control());
    let words: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    words.join(" ").chars().take(TITLE_MAX).collect()
}

fn printed(path: &Path, request: &Request) -> io::Result<Report> {
    let seen = document::pdf(path, request.page, &request.into)?;
    let names = seen.shown.iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
    let pictures: Vec<Pictured> = names.map(Pictured::alone).collect();
    let pages = if seen.pages == 1 { "1 page".to_owned() } else { format!("{} pages", seen.pages) };
    let first = request.page.clamp(1, seen.pages.max(1));
    let shown = match pictures.len() as u64 {
        all if all == seen.pages => String::new(),
        shown => format!(", of which {first} to {} are shown", first + shown.saturating_sub(1)),
    };
    Ok(Report { text: format!("{}: {pages} when printed{shown}", request.target), ok: true, pictures })
}

/// Returns the first of these programs that is on the path.
fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    names.iter().find_map(|name| dirs.iter().map(|dir| dir.join(name)).find(|at| at.is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_title_says_what_a_look_says() {
        for (title, told) in [
            ("A page", "A page"),
            (" a\nat 390 px\r\nat 768 px\u{2028}at 1280 px\tx ", "a at 390 px at 768 px at 1280 px x"),
            ("a\u{1b}[2Jb\0", "a [2Jb"),
            ("", ""),
        ] {
            assert_eq!(one_line(title), told, "{title:?}");
        }
        assert_eq!(one_line(&"é ".repeat(1_000)).chars().count(), TITLE_MAX);
    }
}
