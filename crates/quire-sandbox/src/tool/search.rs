//! `search`: finds lines and files, with ripgrep's crates.

use super::files::{open_regular, shown};
use super::output::plain;
use super::{Here, Tool, refused, said};
use crate::protocol::HandOutcome;
use globset::{GlobBuilder, GlobMatcher};
use grep_regex::RegexMatcherBuilder;
use grep_searcher::sinks::Bytes;
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder};
use ignore::WalkBuilder;
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Most bytes, lines and bytes of a line that one result shows.
const SHOWN_MAX: usize = 16_000;
const HITS_MAX: usize = 300;
const LINE_MAX: usize = 300;
/// A search that takes longer tells what it has.
const TIME_MAX: Duration = Duration::from_secs(30);
/// Most memory for one line.
const HEAP_MAX: usize = 64 << 20;

/// Find lines by a regular expression (Rust syntax, case-sensitive, (?i) for not) as `file:line:text`; with an empty
/// `pattern`, find files by name. Hidden files are searched, .gitignore is obeyed. Shows at most 300 hits and 16,000 bytes,
/// and counts the rest.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Search {
    pattern: String,
    /// Folder or file to search, usually all of the task's folder.
    path: Option<String>,
    /// Only files like `*.rs`, `src/**/*.{ts,tsx}`, or with ! before it, all others.
    glob: Option<String>,
    /// Show only the names of files with a match.
    #[serde(default)]
    files: bool,
}

impl Tool for Search {
    const NAME: &'static str = "search";
    const ONLY_READS: bool = true;

    fn run(self, here: &Here<'_>) -> HandOutcome {
        let matcher = match RegexMatcherBuilder::new().line_terminator(Some(b'\n')).build(&self.pattern) {
            Ok(matcher) => matcher,
            Err(error) => {
                return refused(format!(
                    "search: the pattern is no regular expression: {error}. To find it as it is, escape \\ . + * ? ( ) [ ] {{ }} ^ $ | by \\."
                ));
            }
        };
        let glob = match self.glob.as_deref().filter(|g| !g.is_empty()).map(Glob::new).transpose() {
            Ok(glob) => glob,
            Err(error) => return refused(format!("search: {error}.")),
        };
        let root = here.inside.at(self.path.as_deref().unwrap_or_default());
        if let Err(error) = std::fs::metadata(&root) {
            return refused(super::files::FileError::io(&root, error).to_string());
        }
        let mut found = Found::new(&here.inside.folder);
        let mut searcher = SearcherBuilder::new()
            .binary_detection(BinaryDetection::quit(0))
            .heap_limit(Some(HEAP_MAX))
            .line_number(true)
            .build();
        for path in files(&root) {
            if found.begun.elapsed() > TIME_MAX || here.inside.is_cancelled(here.call) {
                found.stopped = true;
                break;
            }
            if glob.as_ref().is_some_and(|g| !g.takes(path.strip_prefix(&root).unwrap_or(&path))) {
                continue;
            }
            if self.pattern.is_empty() {
                found.file(&path);
            } else {
                found.search(&mut searcher, &matcher, &path, self.files);
            }
        }
        said(found.tell(&self))
    }
}

/// Returns the regular files below `root` in order of their names, or `root` itself.
fn files(root: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let alone = root.is_file();
    let mut walk = WalkBuilder::new(root);
    walk.hidden(false).require_git(false).follow_links(false).sort_by_file_name(|a, b| a.cmp(b));
    // What is asked for by name is searched, ignored or not.
    walk.filter_entry(|entry| entry.file_name() != ".git");
    walk.build().flatten().filter_map(move |entry| {
        let regular = entry.file_type().is_some_and(|kind| kind.is_file());
        (regular || alone).then(|| entry.into_path())
    })
}

struct Glob {
    glob: GlobMatcher,
    /// Holds a `/`: meant for the whole path and not for the name alone.
    whole: bool,
    not: bool,
}

impl Glob {
    fn new(text: &str) -> Result<Glob, globset::Error> {
        let (not, text) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        let text = text.strip_prefix("./").unwrap_or(text);
        let whole = text.contains('/');
        let glob = GlobBuilder::new(text.trim_start_matches('/')).literal_separator(true).build()?;
        Ok(Glob { glob: glob.compile_matcher(), whole, not })
    }

    fn takes(&self, path: &Path) -> bool {
        let hit = match path.file_name() {
            Some(name) if !self.whole => self.glob.is_match(name),
            _ => self.glob.is_match(path),
        };
        hit != self.not
    }
}

struct Found {
    folder: PathBuf,
    out: String,
    shown: usize,
    hits: u64,
    files: u64,
    unread: u64,
    stopped: bool,
    begun: Instant,
}

impl Found {
    fn new(folder: &Path) -> Found {
        Found {
            folder: folder.to_path_buf(),
            out: String::new(),
            shown: 0,
            hits: 0,
            files: 0,
            unread: 0,
            stopped: false,
            begun: Instant::now(),
        }
    }

    fn show(&mut self, line: &str) {
        if self.shown < HITS_MAX && self.out.len() + line.len() < SHOWN_MAX {
            self.out.push_str(line);
            self.out.push('\n');
            self.shown += 1;
        }
    }

    fn file(&mut self, path: &Path) {
        self.files += 1;
        self.hits += 1;
        self.show(&self.name(path));
    }

    fn name(&self, path: &Path) -> String {
        shown(path.strip_prefix(&self.folder).unwrap_or(path))
    }

    fn search(
        &mut self,
        searcher: &mut Searcher,
        matcher: &grep_regex::RegexMatcher,
        path: &Path,
        names: bool,
    ) {
        // The kind is checked again: a name may lead to a pipe by now.
        let Ok((file, _)) = open_regular(path) else {
            self.unread += 1;
            return;
        };
        let name = self.name(path);
        let mut hits = 0;
        let done = searcher.search_file(
            matcher,
            &file,
            Bytes(|number, line| {
                hits += 1;
                if !names {
                    let cut = &line[..line.len().min(LINE_MAX)];
                    let more = if cut.len() < line.len() { "\u{2026}" } else { "" };
                    self.show(&format!("{name}:{number}:{}{more}", plain(cut).trim_end_matches('\n')));
                }
                Ok(!names && self.begun.elapsed() < TIME_MAX)
            }),
        );
        self.unread += u64::from(done.is_err());
        if hits > 0 {
            self.files += 1;
            self.hits += hits;
            if names {
                self.show(&name);
            }
        }
    }

    fn tell(mut self, search: &Search) -> String {
        let listing = search.files || search.pattern.is_empty();
        let hits = if listing { self.files } else { self.hits };
        let mut about = match (hits, listing) {
            (0, true) if search.pattern.is_empty() => "no such file".to_owned(),
            (0, _) => "nothing found".to_owned(),
            (n, true) => format!("{n} {}", if n == 1 { "file" } else { "files" }),
            (1, false) => "1 line".to_owned(),
            (n, false) => {
                format!("{n} lines in {} {}", self.files, if self.files == 1 { "file" } else { "files" })
            }
        };
        if hits > self.shown as u64 {
            about.push_str(&format!(
                "; the first {} are shown, narrow it by `path`, `glob` or `files`",
                self.shown
            ));
        }
        if self.unread > 0 {
            about.push_str(&format!("; {} could not be read", self.unread));
        }
        if self.stopped {
            about.push_str("; stopped before the end, it took too long");
        }
        self.out.push_str(&format!("[{about}]"));
        self.out
    }
}
