//! AGENTS.md: what the person and the project tell every agent. The person's own stands first, then the project's from its
//! root down to the folder, so that what is nearest is read last (https://agents.md; the names and the 32 KiB are those
//! that other agents use).
//!
//! These files are read outside the sandbox and sent to a model, and a folder may come from anybody. So a project's file
//! counts only where it lies in the project, also after all symlinks (else one to a private key would be sent), and a
//! project's root only where it belongs to whom the folder belongs, or to us (else anybody could put one into /tmp).

use crate::plain_file::read_start;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Over all files of the project, and again for the person's own.
const BYTES_MAX: usize = 32 * 1024;

/// In a directory the first of these counts.
const NAMES: [&str; 2] = ["AGENTS.override.md", "AGENTS.md"];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instructions {
    /// What the model is told; empty where there are no instructions.
    pub text: String,
    /// The files that `text` is from, in order.
    pub paths: Vec<PathBuf>,
    /// Files that are there and not, or not wholly, in `text`, with the reason in words.
    pub left_out: Vec<(PathBuf, String)>,
}

/// Returns the instructions for a task on `folder` (canonical), of a person whose settings are in `config_dir`.
pub fn read(folder: &Path, config_dir: Option<&Path>) -> Instructions {
    let mut found = Instructions::default();
    if let Some(dir) = config_dir {
        found.take_from(dir, None, &mut BYTES_MAX.clone());
    }
    let root = root_of(folder);
    let mut dirs: Vec<&Path> = folder.ancestors().take_while(|dir| dir.starts_with(root)).collect();
    dirs.reverse();
    let mut bytes_left = BYTES_MAX;
    for dir in dirs {
        found.take_from(dir, Some(root), &mut bytes_left);
    }
    found
}

/// Returns the nearest directory from `folder` upwards that holds `.git`, or `folder` itself where none does.
fn root_of(folder: &Path) -> &Path {
    let ours = [fs::metadata(folder).map(|m| m.uid()).ok(), Some(rustix::process::geteuid().as_raw())];
    let marked =
        |dir: &&Path| fs::symlink_metadata(dir.join(".git")).is_ok_and(|m| ours.contains(&Some(m.uid())));
    folder.ancestors().find(marked).unwrap_or(folder)
}

impl Instructions {
    /// Takes the instructions in `dir`, of which no file may lie outside `within`.
    fn take_from(&mut self, dir: &Path, within: Option<&Path>, bytes_left: &mut usize) {
        let Some(path) =
            NAMES.iter().map(|name| dir.join(name)).find(|path| fs::symlink_metadata(path).is_ok())
        else {
            return;
        };
        let leads_outside =
            within.is_some_and(|root| fs::canonicalize(&path).is_ok_and(|real| !real.starts_with(root)));
        if leads_outside {
            return self.left_out.push((path, "it is a link that leads out of the project".to_owned()));
        }
        let start = match read_start(&path, *bytes_left) {
            Ok(Some(start)) => start,
            Ok(None) => return self.left_out.push((path, "it is a link to nothing".to_owned())),
            Err(error) => return self.left_out.push((path, error.to_string())),
        };
        *bytes_left -= start.bytes.len();
        // Cut within a character, the last piece is none.
        let text = String::from_utf8_lossy(&start.bytes);
        let text = if start.whole { text.trim() } else { text.trim_end_matches('\u{fffd}').trim() };
        if !start.whole {
            let kib = BYTES_MAX / 1024;
            self.left_out
                .push((path.clone(), format!("instructions are read up to {kib} KiB; the rest is not told")));
        }
        if !text.is_empty() {
            let break_before = if self.text.is_empty() { "" } else { "\n\n" };
            let shown = quire_core::bytes::escape(path.as_os_str().as_encoded_bytes());
            self.text.push_str(&format!("{break_before}Instructions from {shown}:\n\n{text}"));
            self.paths.push(path);
        }
    }
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

        /// Returns the files used and the files left out in a task on `folder`.
        fn read(&self, folder: &str) -> (String, String) {
            let found = read(&self.path(folder), Some(&self.path("config")));
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
        ];
        let tree = Tree::new(&files);
        let rows = [
            ("repo", "config/AGENTS.md repo/AGENTS.md"),
            ("repo/a", "config/AGENTS.md repo/AGENTS.md repo/a/AGENTS.override.md"),
            ("repo/a/b/c", "config/AGENTS.md repo/AGENTS.md repo/a/AGENTS.override.md repo/a/b/AGENTS.md"),
            ("plain", "config/AGENTS.md plain/AGENTS.md"),
            ("plain/sub", "config/AGENTS.md plain/sub/AGENTS.md"),
            ("plain/empty", "config/AGENTS.md"),
        ];
        for (folder, expected) in rows {
            assert_eq!(tree.read(folder), (expected.to_owned(), String::new()), "{folder}");
        }
        let text = read(&tree.path("repo/a"), None).text;
        let (root, a) = (tree.path("repo/AGENTS.md"), tree.path("repo/a/AGENTS.override.md"));
        let expected = format!(
            "Instructions from {}:\n\nroot\n\nInstructions from {}:\n\na",
            root.display(),
            a.display()
        );
        assert_eq!(text, expected);
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
        let found = read(&tree.path("repo/a"), None);
        assert_eq!(found.text.chars().filter(|c| *c == '\u{e4}').count(), 10_000 + (BYTES_MAX - 20_001) / 2);
        assert!(!found.text.contains('\u{fffd}'));
        assert_eq!(found.left_out.len(), 1);
        // Sparse: it has a length and no content to read all of.
        fs::File::create(tree.path("repo/AGENTS.md")).unwrap().set_len(1 << 40).unwrap();
        assert!(read(&tree.path("repo"), None).text.len() < BYTES_MAX + 100);
    }
}
