//! `search`: finds lines and files, with ripgrep's crates.

use super::files::{open_regular, shown};
use super::output::visible;
use super::{Here, Tool, refused, said};
use crate::protocol::HandOutcome;
use globset::{GlobBuilder, GlobMatcher};
use grep_matcher::LineTerminator;
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

/// Find lines by a regular expression (Rust syntax; (?i) ignores case), shown as `file:line:text`; with an empty
/// `pattern`, find files by name. Hidden files count, .gitignore is obeyed. Shows at most 300 hits and 16,000 bytes, and counts the rest.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Search {
    pattern: String,
    /// Folder or file.
    path: Option<String>,
    /// Such as `*.rs` or `src/**/*.{ts,tsx}`; ! before it: all others.
    glob: Option<String>,
    /// Show only names of files.
    #[serde(default)]
    files: bool,
}

impl Tool for Search {
    const NAME: &'static str = "search";
    const ONLY_READS: bool = true;

    fn run(self, here: &Here<'_>) -> HandOutcome {
        let matcher = match RegexMatcherBuilder::new().multi_line(true).crlf(true).build(&self.pattern) {
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
            .line_terminator(LineTerminator::crlf())
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
    walk.filter_entry(|entry| entry.depth() == 0 || entry.file_name() != ".git");
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
                    let line = line.trim_ascii_end();
                    let cut = &line[..line.len().min(LINE_MAX)];
                    let more = if cut.len() < line.len() { "\u{2026}" } else { "" };
                    self.show(&format!("{name}:{number}:{}{more}", visible(cut)));
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

#[cfg(test)]
mod tests {
    use super::super::tests::Place;
    use serde_json::json;

    fn place() -> Place {
        let place = Place::new();
        place.put("src/main.rs", "fn main() {\n    todo();\n}\n");
        place.put("src/lib.rs", "pub fn lib() {}\nfn other() {}\n");
        place.put("notes/a b.txt", "fn in prose\r\n");
        place.put(".hidden", "fn hidden\n");
        place.put(".gitignore", "target/\n*.log\n");
        place.put("target/out.rs", "fn ignored\n");
        place.put("x.log", "fn ignored\n");
        place.put(".git/config", "fn git\n");
        place.put("latin", b"caf\xe9 fn\n");
        place.put("binary", b"fn\0fn\n");
        place
    }

    #[test]
    fn searches() {
        let place = place();
        let rows = [
            (
                json!({"pattern": "fn \\w+\\("}),
                "src/lib.rs:1:pub fn lib() {}\nsrc/lib.rs:2:fn other() {}\nsrc/main.rs:1:fn main() {\n[3 lines in 2 files]",
            ),
            (json!({"pattern": "hidden"}), ".hidden:1:fn hidden\n[1 line]"),
            (json!({"pattern": "ignored|git"}), "[nothing found]"),
            (json!({"pattern": "fn", "path": "target/out.rs"}), "target/out.rs:1:fn ignored\n[1 line]"),
            (json!({"pattern": "fn", "path": "target"}), "target/out.rs:1:fn ignored\n[1 line]"),
            (json!({"pattern": "fn", "path": ".git"}), ".git/config:1:fn git\n[1 line]"),
            (json!({"pattern": "FN MAIN"}), "[nothing found]"),
            (json!({"pattern": "(?i)FN MAIN"}), "src/main.rs:1:fn main() {\n[1 line]"),
            (
                json!({"pattern": "^fn", "files": true}),
                ".hidden\nnotes/a b.txt\nsrc/lib.rs\nsrc/main.rs\n[4 files]",
            ),
            (json!({"pattern": "prose$"}), "notes/a b.txt:1:fn in prose\n[1 line]"),
            (json!({"pattern": "^fn in prose$"}), "notes/a b.txt:1:fn in prose\n[1 line]"),
            (json!({"pattern": "^fn other\\(\\) \\{\\}$"}), "src/lib.rs:2:fn other() {}\n[1 line]"),
            (json!({"pattern": "^$", "path": "src"}), "[nothing found]"),
            (json!({"pattern": "caf"}), "latin:1:caf\u{fffd} fn\n[1 line]"),
            (json!({"pattern": "fn", "glob": "*.rs", "files": true}), "src/lib.rs\nsrc/main.rs\n[2 files]"),
            (json!({"pattern": "fn", "glob": "!*.{rs,txt}", "files": true}), ".hidden\nlatin\n[2 files]"),
            (json!({"pattern": "", "glob": "src/**"}), "src/lib.rs\nsrc/main.rs\n[2 files]"),
            (json!({"pattern": "", "glob": "src/*.rs"}), "src/lib.rs\nsrc/main.rs\n[2 files]"),
            (json!({"pattern": "", "path": "src", "glob": "main*"}), "src/main.rs\n[1 file]"),
            (json!({"pattern": "", "glob": "*.log"}), "[no such file]"),
            (
                json!({"pattern": ""}),
                ".gitignore\n.hidden\nbinary\nlatin\nnotes/a b.txt\nsrc/lib.rs\nsrc/main.rs\n[7 files]",
            ),
        ];
        for (input, expect) in rows {
            let outcome = place.call("search", input.clone());
            assert_eq!((outcome.text.as_str(), outcome.ok), (expect, true), "{input}");
        }
    }

    #[test]
    fn wrong_searches_are_told() {
        let place = place();
        let rows = [
            (json!({"pattern": "foo("}), "is no regular expression"),
            (json!({"pattern": "a\\nb"}), "is no regular expression"),
            (json!({"pattern": "a", "glob": "{a"}), "glob"),
            (json!({"pattern": "a", "path": "nope"}), "There is no "),
        ];
        for (input, expect) in rows {
            let outcome = place.call("search", input.clone());
            assert!(!outcome.ok && outcome.text.contains(expect), "{input}: {}", outcome.text);
        }
    }

    #[test]
    fn much_is_bounded_and_counted() {
        let place = Place::new();
        place.put("many", "a needle here\n".repeat(5_000));
        place.put("wide", format!("needle {}\n", "x".repeat(5_000)));
        let text = place.call("search", json!({"pattern": "needle"})).text;
        let end = "[5001 lines in 2 files; the first 300 are shown, narrow it by `path`, `glob` or `files`]";
        assert!(text.len() <= 16_200 && text.ends_with(end), "{}", &text[text.len() - 200..]);
        let wide = place.call("search", json!({"pattern": "needle", "path": "wide"})).text;
        assert!(wide.len() < 400 && wide.contains("xx\u{2026}\n"), "{wide}");
    }

    #[test]
    fn pipes_are_passed_by() {
        let place = place();
        assert!(std::process::Command::new("mkfifo").arg(place.path("src/pipe")).status().unwrap().success());
        std::os::unix::fs::symlink("pipe", place.path("src/link")).unwrap();
        assert_eq!(
            place.call("search", json!({"pattern": "fn main"})).text,
            "src/main.rs:1:fn main() {\n[1 line]"
        );
    }

    #[test]
    fn a_link_is_followed_where_it_is_asked_for_by_name() {
        let place = place();
        std::os::unix::fs::symlink("src", place.path("dir-link")).unwrap();
        std::os::unix::fs::symlink("src/lib.rs", place.path("file-link")).unwrap();
        for (path, expect) in [
            ("dir-link", "dir-link/lib.rs:2:fn other() {}\n[1 line]"),
            ("file-link", "file-link:2:fn other() {}\n[1 line]"),
            ("", "src/lib.rs:2:fn other() {}\n[1 line]"),
        ] {
            assert_eq!(place.call("search", json!({"pattern": "other", "path": path})).text, expect);
        }
    }

    #[test]
    fn a_cancelled_search_stops() {
        let place = place();
        place.inside.cancel(1);
        let text = place.call("search", json!({"pattern": "fn"})).text;
        assert!(text.contains("stopped before the end"), "{text}");
    }
}
