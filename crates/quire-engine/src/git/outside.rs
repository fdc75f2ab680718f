//! Sorting what is to be committed: what quire leaves out, and why, and how git turns the rest.

use super::commit::{Mode, Noted, Wanted};
use super::{GitError, Repo, git_in, large};
use quire_core::RelPath;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Why a path that was accepted is in no commit of quire's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outside {
    /// git ignores it.
    Ignored,
    /// The person told git not to look at what they made of it.
    Overlooked,
    /// It is not in the encoding that its attributes name.
    Unreadable,
    /// It goes through this filter of the repository, which is a program.
    Filter(String),
    /// It lies in this submodule, a repository of its own.
    Submodule(String),
}

/// A file to be committed.
pub(super) struct Kept<'f> {
    pub file: &'f Wanted,
    /// It is kept as a pointer, by Git LFS.
    pub is_large: bool,
    /// The repository has it otherwise, as its attributes say, which no program has a part in.
    pub is_turned: bool,
}

pub(super) struct Sorted<'f> {
    pub kept: Vec<Kept<'f>>,
    pub outside: Vec<(RelPath, Outside)>,
}

/// What the attributes name for a path.
#[derive(Default)]
struct Attributes {
    filter: Option<String>,
    is_turned: bool,
}

/// Returns whether the settings of these names have a program for a filter.
pub(super) fn has_filter(settings: &[String], filter: &str) -> bool {
    let names = [format!("filter.{filter}.clean"), format!("filter.{filter}.process")];
    settings.iter().any(|setting| names.contains(setting))
}

impl Repo {
    /// Sorts out what is in no commit of quire's: `index` is what HEAD has.
    pub(super) fn sorted<'f>(
        &self,
        files: &'f [Wanted],
        index: &HashMap<Vec<u8>, Noted>,
        env: &[(&str, &OsStr)],
    ) -> Result<Sorted<'f>, GitError> {
        let submodules: Vec<&Vec<u8>> =
            index.iter().filter(|(_, (mode, _))| mode == "160000").map(|(at, _)| at).collect();
        let (mut inside, mut outside) = (vec![], vec![]);
        for file in files {
            let name = self.named(&file.path);
            let holds = |at: &&&Vec<u8>| name.starts_with(at) && name.get(at.len()) == Some(&b'/');
            match submodules.iter().find(holds) {
                Some(at) => {
                    let submodule = String::from_utf8_lossy(at).into_owned();
                    outside.push((file.path.clone(), Outside::Submodule(submodule)));
                }
                None => inside.push(file),
            }
        }
        let ignored = self.ignored(&inside, env)?;
        let marks = self.marks(&[])?;
        let settings =
            self.settings("^(filter\\..*\\.(clean|process)|lfs\\.storage|lfs\\.extension\\..*)$")?;
        let mut attributes = self.attributes(&inside, &settings)?;
        let mut kept = vec![];
        for file in inside {
            // What is gone needs no filter, and a link goes through none.
            let Attributes { filter, is_turned } = match file.now {
                Some((Mode::Plain | Mode::Program, _)) => attributes.remove(&file.path).unwrap_or_default(),
                _ => Attributes::default(),
            };
            let (is_large, why) = match filter {
                _ if ignored.contains(&file.path) => (false, Some(Outside::Ignored)),
                None => (false, None),
                // What it keeps beside the repository is in no bundle.
                Some(filter) if filter == "lfs" && large::is_kept(&settings) && self.apart.is_none() => {
                    (true, None)
                }
                Some(filter) => (false, Some(Outside::Filter(filter))),
            };
            if let Some(why) = why {
                outside.push((file.path.clone(), why));
                continue;
            }
            let one = Kept { file, is_large, is_turned };
            let name = self.named(&file.path);
            let is_overlooked = marks.get(&name).is_some_and(|mark| mark.skip || mark.assume);
            match is_overlooked && self.is_edited(&one, index.get(&name)) {
                true => outside.push((file.path.clone(), Outside::Overlooked)),
                false => kept.push(one),
            }
        }
        Ok(Sorted { kept, outside })
    }

    /// Returns what the attributes name for these paths: filters that would start a program, or are Git LFS (one that the settings do
    /// not have does nothing, as with git), and what else turns a content.
    fn attributes(
        &self,
        files: &[&Wanted],
        settings: &[String],
    ) -> Result<HashMap<RelPath, Attributes>, GitError> {
        let asked: Vec<u8> = files.iter().flat_map(|file| [file.path.as_bytes(), b"\0"].concat()).collect();
        let command = ["check-attr", "-z", "--stdin", "filter", "working-tree-encoding", "ident"];
        let answers = self.git(&command, &[], &asked)?;
        let starts = |filter: &str| filter == "lfs" || has_filter(settings, filter);
        let fields: Vec<&[u8]> = answers.split(|byte| *byte == 0).collect();
        let mut all: HashMap<RelPath, Attributes> = HashMap::new();
        for answer in fields.chunks_exact(3) {
            let Some(path) = RelPath::new(answer[0]) else { continue };
            let (attribute, value) = (answer[1], String::from_utf8_lossy(answer[2]).into_owned());
            let is_named = !["unspecified", "unset", "set"].contains(&value.as_str());
            let of = all.entry(path).or_default();
            match attribute {
                b"filter" if is_named && starts(&value) => of.filter = Some(value),
                b"working-tree-encoding" => of.is_turned |= is_named,
                b"ident" => of.is_turned |= value == "set",
                _ => {}
            }
        }
        Ok(all)
    }

    /// Returns the names of the settings that a pattern fits.
    fn settings(&self, pattern: &str) -> Result<Vec<String>, GitError> {
        let said = self.list(&["config", "-z", "--name-only", "--get-regexp", pattern], &[], b"")?;
        let names = said.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        Ok(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
    }

    /// Returns those of the paths that git ignores and does not keep.
    fn ignored(&self, files: &[&Wanted], env: &[(&str, &OsStr)]) -> Result<HashSet<RelPath>, GitError> {
        let there = files.iter().filter(|file| file.now.is_some());
        let asked: Vec<u8> = there.flat_map(|file| [file.path.as_bytes(), b"\0"].concat()).collect();
        if asked.is_empty() {
            return Ok(HashSet::new());
        }
        let ignored = self.list(&["check-ignore", "-z", "--stdin"], env, &asked)?;
        Ok(ignored.split(|byte| *byte == 0).filter_map(RelPath::new).collect())
    }
}

/// How a person's index marks a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// `skip-worktree`, as a sparse checkout has it.
    pub skip: bool,
    /// `assume-unchanged`.
    pub assume: bool,
    /// Nothing is staged of it until its conflict is settled.
    pub conflict: bool,
}

impl Repo {
    /// Returns the marks of an index, by path from the top.
    pub(super) fn marks(&self, env: &[(&str, &OsStr)]) -> Result<HashMap<Vec<u8>, Mark>, GitError> {
        let listed = git_in(&self.top, &["ls-files", "-v", "-z"], env, b"")?;
        let one = |row: &[u8]| {
            let (tag, path) = (*row.first()?, row.get(2..)?);
            let mark = Mark {
                skip: tag.eq_ignore_ascii_case(&b'S'),
                assume: tag.is_ascii_lowercase(),
                conflict: tag.eq_ignore_ascii_case(&b'M'),
            };
            (mark != Mark::default()).then(|| (path.to_vec(), mark))
        };
        Ok(listed.split(|byte| *byte == 0).filter_map(one).collect())
    }

    /// Returns those of the paths that are not there, and that a sparse checkout leaves out: git took their mark away while they were.
    pub(super) fn beyond_sparse(&self, paths: &[&Vec<u8>]) -> Result<HashSet<Vec<u8>>, GitError> {
        let is_gone = |path: &&&Vec<u8>| {
            std::fs::symlink_metadata(self.top.join(OsStr::from_bytes(path.as_slice()))).is_err()
        };
        let gone: HashSet<Vec<u8>> = paths.iter().filter(is_gone).map(|path| (*path).clone()).collect();
        let is_sparse = self.list(&["config", "--type=bool", "--get", "core.sparseCheckout"], &[], b"")?;
        if gone.is_empty() || is_sparse != b"true\n" {
            return Ok(HashSet::new());
        }
        let asked: Vec<u8> = gone.iter().flat_map(|path| [path.as_slice(), b"\0"].concat()).collect();
        // A git that is older than the command keeps the marks that the index has.
        let inside = git_in(&self.top, &["sparse-checkout", "check-rules", "-z"], &[], &asked);
        let Ok(inside) = inside else { return Ok(HashSet::new()) };
        let inside: HashSet<&[u8]> = inside.split(|byte| *byte == 0).collect();
        Ok(gone.into_iter().filter(|path| !inside.contains(path.as_slice())).collect())
    }

    /// Marks paths of an index as they were marked.
    pub(super) fn mark(&self, paths: &[(&Vec<u8>, Mark)], env: &[(&str, &OsStr)]) -> Result<(), GitError> {
        let with = |is: fn(&Mark) -> bool| -> Vec<u8> {
            let marked = paths.iter().filter(|(_, mark)| is(mark));
            marked.flat_map(|(path, _)| [path.as_slice(), b"\0"].concat()).collect()
        };
        for (option, rows) in
            [("--skip-worktree", with(|mark| mark.skip)), ("--assume-unchanged", with(|mark| mark.assume))]
        {
            if !rows.is_empty() {
                git_in(&self.top, &["update-index", option, "-z", "--stdin"], env, &rows)?;
            }
        }
        Ok(())
    }
}
