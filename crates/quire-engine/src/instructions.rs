//! AGENTS.md: what the person and the project tell every agent. The person's own stands first, then the project's from its
//! root down to the folder, so that what is nearest is read last (https://agents.md; the names and the 32 KiB are those
//! that other agents use). What lies in directories within the folder is told when a call first works there
//! ([`quire_core::task::paths_of`]): at the start nobody knows which of them matter.
//!
//! These files are read outside the sandbox and sent to a model, and a folder may come from anybody. So a project's file
//! counts only where it lies in the project, also after all symlinks (else one to a private key would be sent), and a
//! project's root only where it belongs to whom the folder belongs, or to us (else anybody could put one into /tmp). What a
//! sandbox would hide is not sent either.
//!
//! A person who comes from another agent has told that one already: where there is nothing in quire's own directory, the
//! first of [`ELSEWHERE`] counts. Never two of them, because they mostly say the same.

use crate::plain_file::read_start;
use crate::stack::{Found, Stack};
use quire_core::bytes::escape;
use quire_core::task::INSTRUCTIONS_BYTES_MAX;
use quire_core::{RelPath, Task};
use quire_sandbox::rooted::Kind;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// In a directory the first of these counts. The last is what projects have that know of one agent only.
const NAMES: [&str; 3] = ["AGENTS.override.md", "AGENTS.md", "CLAUDE.md"];

/// Where other agents keep what a person tells them, below the home: Codex, Claude Code.
const ELSEWHERE: [&str; 2] = [".codex", ".claude"];

const BREAK: &str = "\n\n";

/// Who asks, and what they would not have read.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    /// The task's folder, canonical.
    pub folder: &'a Path,
    pub config_dir: Option<&'a Path>,
    pub home: Option<&'a Path>,
    /// As in [`quire_sandbox::Spec::hide`].
    pub hide: &'a [String],
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instructions {
    /// What the model is told; empty where there are no instructions.
    pub text: String,
    /// The files that `text` is from, in order.
    pub paths: Vec<PathBuf>,
    /// Bytes of those that are the project's.
    pub folder_bytes: u64,
    /// Files that are there and not, or not wholly, in `text`, with the reason in words.
    pub left_out: Vec<(PathBuf, String)>,
}

/// Returns the instructions for a task.
pub fn read(reader: Reader<'_>) -> Instructions {
    let mut found = Instructions::default();
    let elsewhere = reader.home.into_iter().flat_map(|home| ELSEWHERE.map(|dir| home.join(dir)));
    for dir in reader.config_dir.map(Path::to_owned).into_iter().chain(elsewhere) {
        if found.take_from(&dir, None, reader, &mut { INSTRUCTIONS_BYTES_MAX as usize }) {
            break;
        }
    }
    let root = root_of(reader.folder);
    let mut bytes_left = INSTRUCTIONS_BYTES_MAX as usize;
    for dir in way(root, reader.folder) {
        found.take_from(dir, Some(root), reader, &mut bytes_left);
    }
    found.folder_bytes = INSTRUCTIONS_BYTES_MAX - bytes_left as u64;
    found
}

/// Returns the directories from `root` down to `folder`, both among them.
pub(crate) fn way<'p>(root: &Path, folder: &'p Path) -> Vec<&'p Path> {
    let mut dirs: Vec<&Path> = folder.ancestors().take_while(|dir| dir.starts_with(root)).collect();
    dirs.reverse();
    dirs
}

/// Returns the nearest directory from `folder` upwards that holds `.git`, or `folder` itself where none does.
pub(crate) fn root_of(folder: &Path) -> &Path {
    let ours = [fs::metadata(folder).map(|m| m.uid()).ok(), Some(rustix::process::geteuid().as_raw())];
    let marked =
        |dir: &&Path| fs::symlink_metadata(dir.join(".git")).is_ok_and(|m| ours.contains(&Some(m.uid())));
    folder.ancestors().find(marked).unwrap_or(folder)
}

impl Instructions {
    /// Takes the instructions in `dir`, of which no file may lie outside `within`; without that they are the person's own.
    /// Returns whether there are any, told or not.
    fn take_from(
        &mut self,
        dir: &Path,
        within: Option<&Path>,
        reader: Reader<'_>,
        bytes_left: &mut usize,
    ) -> bool {
        let mut there = NAMES.iter().map(|name| dir.join(name));
        let Some(path) = there.find(|path| fs::symlink_metadata(path).is_ok()) else { return false };
        let mut leave_out = |why: &str| self.left_out.push((path.clone(), why.to_owned()));
        let real = fs::canonicalize(&path);
        if within.is_some_and(|root| real.as_ref().is_ok_and(|real| !real.starts_with(root))) {
            leave_out("it is a link that leads out of the project");
            return true;
        }
        let hidden = |real: &PathBuf| quire_sandbox::hides(real, reader.folder, reader.hide, reader.home);
        if within.is_some() && real.as_ref().is_ok_and(hidden) {
            leave_out("it is hidden");
            return true;
        }
        let start = match read_start(&path, *bytes_left) {
            Ok(Some(start)) => start,
            Ok(None) => {
                leave_out("it is a link to nothing");
                return true;
            }
            Err(error) => {
                leave_out(&error.to_string());
                return true;
            }
        };
        *bytes_left -= start.bytes.len();
        if !start.whole {
            leave_out(&cut());
        }
        if std::str::from_utf8(&start.bytes).is_err_and(|error| start.whole || error.error_len().is_some()) {
            leave_out("it is not UTF-8; what is not is told as \u{fffd}");
        }
        if let Some(text) = section(&path, &start.bytes, start.whole) {
            let break_before = if self.text.is_empty() { "" } else { BREAK };
            self.text.push_str(&format!("{break_before}{text}"));
            self.paths.push(path);
        }
        true
    }
}

fn cut() -> String {
    format!("instructions are told up to {} KiB; the rest is not", INSTRUCTIONS_BYTES_MAX / 1024)
}

/// Returns what the model is told of a file, or `None` where it says nothing. `whole`: `bytes` is all of it.
fn section(path: &Path, bytes: &[u8], whole: bool) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    // Cut within a character, the last piece is none.
    let text = if whole { text.trim() } else { text.trim_end_matches('\u{fffd}').trim() };
    if text.is_empty() {
        return None;
    }
    let note = if whole { String::new() } else { format!("{BREAK}[Cut: {}.]", cut()) };
    Some(format!("Instructions from {}:{BREAK}{text}{note}", shown(path)))
}

pub(crate) fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_bytes())
}

/// Returns the instructions of the directories that a call worked in and of those around them within its folder, as far as
/// the model does not have them: the files, and what it is told. `stacks` are the frozen folders in the order of the
/// charter's; they hold what the person wrote, whatever the agent made of it since.
pub fn within(task: &Task, paths: &[String], stacks: &[Stack], home: Option<&Path>) -> (Vec<String>, String) {
    let folders = &task.charter.folders;
    let (mut files, mut told) = (vec![], vec![]);
    let mut left = task.instructions_left();
    for path in paths {
        let absolute = plain(&folders[0].join(path));
        let holds = |(_, at): &(usize, &PathBuf)| absolute.starts_with(at);
        let at = folders.iter().enumerate().filter(holds).max_by_key(|(_, at)| at.components().count());
        let Some((number, folder)) = at else { continue };
        let (Some(stack), Ok(below)) = (stacks.get(number), absolute.strip_prefix(folder)) else { continue };
        let mut dirs: Vec<Option<RelPath>> =
            below.ancestors().map(|dir| RelPath::new(dir.as_os_str().as_bytes())).collect();
        dirs.reverse();
        // The first folder's own are told at the start.
        let dirs = dirs.into_iter().skip(usize::from(number == 0));
        for dir in dirs {
            let Some((name, found)) = held(stack, dir.as_ref()) else { continue };
            let at = |path: &RelPath| folder.join(OsStr::from_bytes(path.as_bytes()));
            let (file, hide) = (at(&name), &task.charter.sandbox.hide);
            let path = shown(&file);
            let known = task.is_instructed(&path) || files.contains(&path);
            let hidden = [file.clone(), at(&found.path)];
            let hidden = hidden.iter().any(|file| quire_sandbox::hides(file, folder, hide, home));
            if left == 0 || known || hidden {
                continue;
            }
            let mut bytes = vec![];
            let read = stack.content(&found).and_then(|file| file.take(left + 1).read_to_end(&mut bytes));
            let whole = bytes.len() as u64 <= left;
            bytes.truncate(left as usize);
            if let (Ok(_), Some(text)) = (read, section(&file, &bytes, whole)) {
                left -= bytes.len() as u64;
                files.push(path);
                told.push(text);
            }
        }
    }
    (files, told.join(BREAK))
}

/// Returns a path without `.` and `..`, as it reads.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// Returns the file in a directory of a frozen folder that counts, where it is one; a link is followed once, within the
/// folder.
fn held(stack: &Stack, dir: Option<&RelPath>) -> Option<(RelPath, Found)> {
    let join = |name: &[u8]| match dir {
        Some(dir) => dir.join(name),
        None => RelPath::new(name),
    };
    let named = NAMES.iter().filter_map(|name| join(name.as_bytes()));
    let (path, found) = named.filter_map(|path| Some((path.clone(), stack.find(&path).ok()??))).next()?;
    let found = match found.print.kind {
        Kind::Link => {
            let target = stack.link(&found).ok()?;
            stack.find(&join(&target)?).ok()??
        }
        _ => found,
    };
    (found.print.kind == Kind::File).then_some((path, found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Tree {
        dir: tempfile::TempDir,
    }

    impl Tree {
        fn new(files: &[(&str, &str)]) -> Tree {
            let tree = Tree { dir: tempfile::tempdir().unwrap() };
            for (path, text) in files {
                let path = tree.path(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            tree
        }

        fn path(&self, below: &str) -> PathBuf {
            fs::canonicalize(self.dir.path()).unwrap().join(below)
        }

        fn short(&self, path: &Path) -> String {
            path.strip_prefix(self.path("")).unwrap().display().to_string()
        }

        fn found(&self, folder: &str, hide: &[&str]) -> Instructions {
            let (folder, config, home) = (self.path(folder), self.path("config"), self.path("home"));
            let hide: Vec<String> = hide.iter().map(|&hide| hide.to_owned()).collect();
            read(Reader { folder: &folder, config_dir: Some(&config), home: Some(&home), hide: &hide })
        }

        /// Returns the files used and the files left out in a task on `folder`.
        fn read(&self, folder: &str) -> (String, String) {
            let found = self.found(folder, &[]);
            let used: Vec<_> = found.paths.iter().map(|p| self.short(p)).collect();
            let left_out: Vec<_> =
                found.left_out.iter().map(|(p, why)| format!("{}: {why}", self.short(p))).collect();
            assert_eq!(found.text.matches("Instructions from ").count(), used.len());
            (used.join(" "), left_out.join("; "))
        }
    }

    #[test]
    fn which_files_count_and_in_which_order() {
        let files = [
            ("AGENTS.md", "above the root"),
            ("config/AGENTS.md", "mine"),
            ("repo/.git/HEAD", ""),
            ("repo/AGENTS.md", "root"),
            ("repo/a/AGENTS.md", "hidden by the override"),
            ("repo/a/AGENTS.override.md", "a"),
            ("repo/a/b/AGENTS.md", "b"),
            ("repo/a/b/c/file", ""),
            ("plain/AGENTS.md", "plain"),
            ("plain/sub/AGENTS.md", "sub"),
            ("plain/empty/AGENTS.md", " \n"),
            ("other/CLAUDE.md", "of another agent"),
            ("other/both/CLAUDE.md", "not told"),
            ("other/both/AGENTS.md", "told"),
            ("home/.codex/AGENTS.md", "not told, because there is one in config"),
        ];
        let tree = Tree::new(&files);
        let rows = [
            ("repo", "config/AGENTS.md repo/AGENTS.md"),
            ("repo/a", "config/AGENTS.md repo/AGENTS.md repo/a/AGENTS.override.md"),
            ("repo/a/b/c", "config/AGENTS.md repo/AGENTS.md repo/a/AGENTS.override.md repo/a/b/AGENTS.md"),
            ("plain", "config/AGENTS.md plain/AGENTS.md"),
            ("plain/sub", "config/AGENTS.md plain/sub/AGENTS.md"),
            ("plain/empty", "config/AGENTS.md"),
            ("other", "config/AGENTS.md other/CLAUDE.md"),
            ("other/both", "config/AGENTS.md other/both/AGENTS.md"),
        ];
        for (folder, expected) in rows {
            assert_eq!(tree.read(folder), (expected.to_owned(), String::new()), "{folder}");
        }
        let text = tree.found("repo/a", &[]).text;
        let (root, a) = (tree.path("repo/AGENTS.md"), tree.path("repo/a/AGENTS.override.md"));
        let expected = format!(
            "\n\nInstructions from {}:\n\nroot\n\nInstructions from {}:\n\na",
            root.display(),
            a.display()
        );
        assert!(text.ends_with(&expected), "{text}");
    }

    #[test]
    fn a_link_must_stay_in_the_project() {
        let tree = Tree::new(&[
            ("secret", "key"),
            ("repo/.git/HEAD", ""),
            ("repo/docs/agents.md", "fine"),
            ("repo/a/x", ""),
        ]);
        symlink("docs/agents.md", tree.path("repo/AGENTS.md")).unwrap();
        symlink("../../secret", tree.path("repo/a/AGENTS.md")).unwrap();
        let left_out = "repo/a/AGENTS.md: it is a link that leads out of the project";
        assert_eq!(tree.read("repo/a"), ("repo/AGENTS.md".to_owned(), left_out.to_owned()));
        fs::remove_file(tree.path("repo/a/AGENTS.md")).unwrap();
        symlink("gone", tree.path("repo/a/AGENTS.md")).unwrap();
        assert_eq!(tree.read("repo/a").1, "repo/a/AGENTS.md: it is a link to nothing");
        fs::remove_file(tree.path("repo/a/AGENTS.md")).unwrap();
        symlink("AGENTS.md", tree.path("repo/a/AGENTS.md")).unwrap();
        assert!(tree.read("repo/a").1.starts_with("repo/a/AGENTS.md: Too many levels of symbolic links"));
    }

    #[test]
    fn what_is_no_file_is_told_and_does_not_hang() {
        let tree = Tree::new(&[("repo/.git/HEAD", ""), ("repo/a/AGENTS.md/x", "a folder")]);
        let fifo = tree.path("repo/AGENTS.md");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
            .unwrap();
        let left_out = "repo/AGENTS.md: it is not a regular file; repo/a/AGENTS.md: it is not a regular file";
        assert_eq!(tree.read("repo/a"), (String::new(), left_out.to_owned()));
    }

    #[test]
    fn the_limit_is_over_all_files_of_the_project_and_cuts_no_character() {
        let long = "\u{e4}".repeat(10_000);
        let tree = Tree::new(&[
            ("repo/.git/HEAD", ""),
            ("repo/AGENTS.md", &long),
            ("repo/a/AGENTS.md", &format!("x{long}")),
        ]);
        let found = tree.found("repo/a", &[]);
        assert_eq!(
            found.text.chars().filter(|c| *c == '\u{e4}').count(),
            10_000 + (INSTRUCTIONS_BYTES_MAX as usize - 20_001) / 2
        );
        assert!(!found.text.contains('\u{fffd}') && found.text.ends_with("up to 32 KiB; the rest is not.]"));
        assert_eq!((found.left_out.len(), found.folder_bytes), (1, INSTRUCTIONS_BYTES_MAX));
        // Sparse: it has a length and no content to read all of.
        fs::File::create(tree.path("repo/AGENTS.md")).unwrap().set_len(1 << 40).unwrap();
        assert!(tree.found("repo", &[]).text.len() < INSTRUCTIONS_BYTES_MAX as usize + 200);
    }

    #[test]
    fn the_person_s_own_are_the_first_that_there_are() {
        let tree = Tree::new(&[("plain/x", ""), ("home/.claude/CLAUDE.md", "c")]);
        assert_eq!(tree.read("plain").0, "home/.claude/CLAUDE.md");
        let tree =
            Tree::new(&[("plain/x", ""), ("home/.claude/CLAUDE.md", "c"), ("home/.codex/AGENTS.md", "x")]);
        assert_eq!(tree.read("plain").0, "home/.codex/AGENTS.md");
        // An empty one of quire's own says that nothing is to be told.
        fs::create_dir(tree.path("config")).unwrap();
        fs::write(tree.path("config/AGENTS.md"), "").unwrap();
        assert_eq!(tree.read("plain").0, "");
        // They may lie anywhere: a person's own are often links.
        fs::remove_file(tree.path("config/AGENTS.md")).unwrap();
        symlink("../home/.claude/CLAUDE.md", tree.path("config/AGENTS.md")).unwrap();
        assert_eq!(tree.read("plain").0, "config/AGENTS.md");
    }

    #[test]
    fn what_is_hidden_is_not_told_and_what_is_no_text_is_marked() {
        let tree = Tree::new(&[
            ("repo/.git/HEAD", ""),
            ("repo/AGENTS.md", "x"),
            ("repo/.env", "KEY=1"),
            ("repo/a/x", ""),
        ]);
        assert_eq!(tree.found("repo", &["AGENTS.md"]).left_out[0].1, "it is hidden");
        symlink("../.env", tree.path("repo/a/AGENTS.md")).unwrap();
        let found = tree.found("repo/a", &[]);
        assert!(!found.text.contains("KEY") && found.left_out[0].1 == "it is hidden", "{found:?}");
        fs::write(tree.path("repo/AGENTS.md"), b"caf\xe9").unwrap();
        let found = tree.found("repo", &[]);
        assert!(
            found.text.ends_with("caf\u{fffd}") && found.left_out[0].1.starts_with("it is not UTF-8"),
            "{found:?}"
        );
    }

    #[test]
    fn directories_within_the_folder_are_told_when_they_are_worked_in() {
        use quire_core::charter::{Charter, Limits, Purpose, Sandbox};
        use quire_core::event::{Conventions, Event, Logged};
        let tree = Tree::new(&[
            ("f/AGENTS.md", "top"),
            ("f/web/AGENTS.md", "web"),
            ("f/web/css/AGENTS.override.md", "css"),
            ("f/web/css/AGENTS.md", "not told"),
            ("f/.env", "KEY=1"),
            ("f/keys/x", ""),
            ("f/out/x", ""),
            ("g/AGENTS.md", "further"),
        ]);
        symlink("../.env", tree.path("f/keys/AGENTS.md")).unwrap();
        symlink("NOTES.md", tree.path("f/out/AGENTS.md")).unwrap();
        fs::write(tree.path("f/out/NOTES.md"), "by a link ".repeat(300)).unwrap();
        let charter = Charter {
            folders: vec![tree.path("f"), tree.path("g")],
            model: None,
            fallback_models: vec![],
            review_model: None,
            compact_model: None,
            checks: vec![],
            limits: Limits::default(),
            sandbox: Sandbox::default(),
            env: vec![],
            hooks: vec![],
            secrets: vec![],
            purpose: Purpose::Change,
            new_folder: false,
        };
        let opened = Event::Opened { charter: Box::new(charter), words: "x".into() };
        let mut task = Task::open(1, &Logged { seq: 1, at_ms: 0, event: opened }).unwrap();
        let conventions =
            Conventions { folder_bytes: INSTRUCTIONS_BYTES_MAX - 2_000, ..Conventions::default() };
        let equipped = Event::Equipped {
            system: "s".into(),
            tools: vec![],
            rung: "r".into(),
            weak: None,
            conventions,
            attached: None,
        };
        task.push(equipped, 0).unwrap();
        let stacks = ["f", "g"].map(|name| Stack::open(&[tree.path(name)]).unwrap());
        let mut told = |paths: &[&str]| {
            let paths: Vec<String> = paths.iter().map(|&path| path.to_owned()).collect();
            let (files, text) = within(&task, &paths, &stacks, None);
            let files: Vec<String> = files.into_iter().map(|f| tree.short(Path::new(&f))).collect();
            let paths = files.iter().map(|file| shown(&tree.path(file))).collect();
            if !files.is_empty() {
                task.push(Event::Instructed { paths, text: text.clone() }, 0).unwrap();
            }
            (files.join(" "), text)
        };
        let none = (String::new(), String::new());
        assert_eq!(told(&["AGENTS.md", "src/x", "-x", "../other/x", "keys/x", "/etc/passwd"]), none);
        let (files, text) = told(&["./web/css/../css/a.css", "web/x"]);
        assert_eq!(files, "f/web/AGENTS.md f/web/css/AGENTS.override.md");
        assert!(
            text.contains("AGENTS.md:\n\nweb\n\nInstr") && text.ends_with("AGENTS.override.md:\n\ncss"),
            "{text}"
        );
        assert_eq!(told(&["web/css/a.css"]), none, "told once");
        let (files, text) = told(&["out/made", tree.path("g/x").to_str().unwrap()]);
        assert_eq!(files, "f/out/AGENTS.md");
        assert!(text.len() < 2_000 && text.contains("by a link by a"), "{}", text.len());
        assert!(text.ends_with("\n\n[Cut: instructions are told up to 32 KiB; the rest is not.]"), "{text}");
    }
}
