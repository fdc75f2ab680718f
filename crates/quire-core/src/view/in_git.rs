//! What was done in a person's git, and what stays behind of what an agent did there, in words.

use super::deserves::Deserving;
use crate::bytes::RelPath;
use crate::event::{Apart, Repository};
use crate::view;
use serde::Serialize;
use std::collections::BTreeMap;

/// How much a version changed of which no file changed, and whose agent committed.
pub(super) const ONLY_COMMITTED: &str = "No file changed; it committed in git";

/// What was done in git.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GitRow {
    Committed {
        commit: String,
        branch: String,
    },
    /// As a branch in a file for another place.
    Bundled {
        commit: String,
        branch: String,
        file: String,
    },
    /// Nothing of it was new to HEAD.
    Nothing,
    /// In the commit are edits of the person's too, that were in none.
    With(Vec<RelPath>),
    /// What the person staged of them lacks what was committed.
    StagedStays(Vec<RelPath>),
    /// The person's git signs its commits, and this one is not signed.
    Unsigned,
    /// Not in the commit, because git ignores them.
    Ignored(Vec<RelPath>),
    /// Not in the commit, because the person told git to overlook what they made of them.
    Overlooked(Vec<RelPath>),
    /// Not in the commit, because they are not in the encoding that the repository's attributes name.
    Unreadable(Vec<RelPath>),
    /// Not in the commit, because the person edited them since they were accepted.
    Edited(Vec<RelPath>),
    /// Not in the commit, because they go through a program that the repository names.
    Filtered {
        filter: String,
        paths: Vec<RelPath>,
    },
    /// Not in the commit, because they lie in a repository of its own within this one.
    InSubmodule {
        submodule: String,
        paths: Vec<RelPath>,
    },
    /// The agent's own commits, that many.
    Brought {
        reference: String,
        commits: u64,
        /// The branch of its that they are on, where HEAD is not.
        #[serde(skip_serializing_if = "Option::is_none")]
        branch: Option<String>,
        /// Where in the folder their repository is, where it is not the folder's.
        #[serde(skip_serializing_if = "Option::is_none")]
        within: Option<RelPath>,
    },
    /// Commits of the agent's that did not come over.
    NotBrought {
        #[serde(skip_serializing_if = "Option::is_none")]
        branch: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        within: Option<RelPath>,
        why: String,
        /// References that have to go first.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        in_the_way: Vec<String>,
        /// The task of which an accept brings them once that is possible.
        #[serde(skip_serializing_if = "Option::is_none")]
        again: Option<u64>,
    },
    TakenBack(String),
    /// Others came after it, or HEAD is elsewhere. With it go edits of the person's in these files.
    Stays {
        commit: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        with: Vec<RelPath>,
    },
    /// Only a part of what was accepted was taken back.
    StaysWhole(String),
    /// It is on another branch than HEAD.
    StaysOn {
        commit: String,
        branch: String,
    },
    /// It is on no branch any more.
    OnNoBranch(String),
    /// It is taken back once what stands in the way is gone.
    StaysFor {
        commit: String,
        why: String,
    },
    Failed(String),
    /// A commit that was wanted was not made, because its process died and this stood in the way since.
    Missing {
        task: u64,
        why: String,
    },
}

/// A folder in which git did not work for the agent, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WithoutGit {
    /// Index into the task's folders.
    pub folder: u32,
    pub why: &'static str,
}

/// Says on which branch something is, and in which repository within the folder.
fn place(branch: Option<&str>, within: Option<&RelPath>) -> String {
    let branch = branch.map_or_else(String::new, |branch| format!(" on the branch {branch}"));
    branch + &within.map_or_else(String::new, |within| format!(" in {within}"))
}

/// Returns git as it is called for a repository within the folder.
fn git_of(within: Option<&RelPath>) -> String {
    within.map_or("git".to_owned(), |within| format!("git -C {}", word(&within.to_string())))
}

/// Returns a word as a shell reads it back: git lets the name of a branch hold what would be a command of its own.
fn word(text: &str) -> String {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/+@".contains(&byte));
    if is_plain && !text.starts_with('-') {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// Names the first paths, and says how many there are more.
fn few(paths: &[RelPath]) -> String {
    const FEW: usize = 5;
    let named: Vec<String> = paths.iter().take(FEW).map(RelPath::to_string).collect();
    match paths.len().saturating_sub(FEW) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

impl GitRow {
    pub fn text(&self) -> String {
        let short = |commit: &str| commit.get(..10).unwrap_or(commit).to_owned();
        match self {
            GitRow::Committed { commit, branch } => format!("Committed to {branch} as {}.", short(commit)),
            GitRow::Bundled { commit, branch, file } => {
                format!("Bundled as {}. In another clone: git fetch {} {branch}", short(commit), word(file))
            }
            GitRow::Nothing => "Nothing to commit: HEAD has all of it.".to_owned(),
            GitRow::With(paths) => format!("With it go your own edits in {}.", few(paths)),
            GitRow::StagedStays(paths) => format!(
                "What you staged of {} stays as it was, because it does not fit what was committed: your next commit would take that back. \
                 To stage both: git add",
                few(paths)
            ),
            GitRow::Unsigned => {
                "It is not signed, because quire starts no signer. To sign it: git commit --amend --no-edit -S"
                    .to_owned()
            }
            GitRow::Ignored(paths) => format!("Not committed, because git ignores it: {}.", few(paths)),
            GitRow::Overlooked(paths) => format!(
                "Not committed, because you told git to overlook your own edits there: {}.",
                few(paths)
            ),
            GitRow::Unreadable(paths) => format!(
                "Not committed, because it is not in the encoding that the repository's attributes name: {}.",
                few(paths)
            ),
            GitRow::Edited(paths) => format!(
                "Not committed, because it is not as it was accepted any more: {}. To commit it as it is: git add, git commit",
                few(paths)
            ),
            GitRow::Filtered { filter, paths } => format!(
                "Not committed, because it goes through the filter {filter} of the repository, which quire does not run: {}. To commit \
                 it: git add, git commit",
                few(paths)
            ),
            GitRow::InSubmodule { submodule, paths } => {
                format!("Not committed, because it lies in the submodule {submodule}: {}.", few(paths))
            }
            GitRow::Brought { reference, commits, branch, within } => {
                let did = match commits {
                    0 => "went to another commit and made none".to_owned(),
                    commits => format!("made {}", view::count(*commits, "commit")),
                };
                let (git, place) = (git_of(within.as_ref()), place(branch.as_deref(), within.as_ref()));
                format!("The agent {did}{place}: {git} log {}.", word(reference))
            }
            GitRow::NotBrought { branch, within, why, in_the_way, again } => {
                let (git, place) = (git_of(within.as_ref()), place(branch.as_deref(), within.as_ref()));
                let free: Vec<String> =
                    in_the_way.iter().map(|other| format!("{git} update-ref -d {}", word(other))).collect();
                let free = match free.is_empty() {
                    true => String::new(),
                    false => format!(" To free it: {}.", free.join("; ")),
                };
                let what = if in_the_way.is_empty() { "try again" } else { "bring them then" };
                let again = again.map_or_else(String::new, |task| format!(" To {what}: quire accept {task}"));
                format!("The agent's commits{place} are not brought: {}.{free}{again}", why.trim_end_matches('.'))
            }
            GitRow::TakenBack(commit) => format!("The commit {} is taken back.", short(commit)),
            GitRow::Stays { commit, with } if with.is_empty() => format!(
                "The commit {0} stays, because it is not the last one on your branch. To take it back: git revert {0}",
                short(commit)
            ),
            GitRow::Stays { commit, with } => format!(
                "The commit {0} stays, because it is not the last one on your branch. git revert {0} would take your own edits in {1} \
                 back as well.",
                short(commit),
                few(with)
            ),
            GitRow::StaysWhole(commit) => format!(
                "The commit {} stays as it is, because only a part was taken back: git status shows that part.",
                short(commit)
            ),
            GitRow::StaysOn { commit, branch } => format!(
                "The commit {} stays, because it is on the branch {branch}, and you are on another.",
                short(commit)
            ),
            GitRow::OnNoBranch(commit) => {
                format!("The commit {} is on no branch any more, so nothing had to be taken back.", short(commit))
            }
            GitRow::StaysFor { commit, why } => format!(
                "The commit {} stays for now: {}. The next command of quire's that can takes it back.",
                short(commit),
                why.trim_end_matches('.')
            ),
            GitRow::Failed(why) => format!("git: {}.", why.trim_end_matches('.')),
            GitRow::Missing { task, why } => format!(
                "What was written is not committed: {}. To commit it: quire accept {task} --commit",
                why.trim_end_matches('.')
            ),
        }
    }

    /// Returns what had not been done when the process died that was to do it.
    pub fn late_text(&self) -> &'static str {
        match self {
            GitRow::Brought { .. } | GitRow::NotBrought { .. } => {
                "an accept ended before the agent's commits came over"
            }
            GitRow::TakenBack(_)
            | GitRow::Stays { .. }
            | GitRow::StaysOn { .. }
            | GitRow::OnNoBranch(_)
            | GitRow::StaysFor { .. } => "an undo ended before it was through in git",
            GitRow::Failed(_) => "an accept or undo ended before it was through in git",
            _ => "an accept ended before its commit",
        }
    }

    /// Returns whether a commit that was wanted was not made.
    pub fn is_failure(&self) -> bool {
        matches!(self, GitRow::Failed(_) | GitRow::Missing { .. })
    }
}

/// Returns the git directory that a changed path lies in, with the folder's number before both; of submodules' only what is surely theirs.
pub fn git_dir(path: &str) -> Option<String> {
    let (folder, inner) = path.split_once('/')?;
    if let Some(at) = inner.find("/.git/") {
        return Some(format!("{folder}/{}/.git", &inner[..at]));
    }
    let git = inner.strip_prefix(".git/")?;
    // A linked worktree has its own.
    let tree = git.strip_prefix("worktrees/").and_then(|inner| inner.split_once('/')).map(|(tree, _)| tree);
    let modules = tree.map_or("modules/".to_owned(), |tree| format!("worktrees/{tree}/modules/"));
    let module = git.strip_prefix(&modules).and_then(|module| {
        let end =
            ["/objects/", "/refs/", "/logs/", "/HEAD"].iter().filter_map(|part| module.find(part)).min()?;
        Some(format!("{folder}/.git/{modules}{}", &module[..end]))
    });
    Some(module.unwrap_or_else(|| format!("{folder}/.git")))
}

/// Returns the git directories that changed. Where the log says nothing of them, the paths that it names do.
fn repositories(apart: &Apart) -> Vec<Repository> {
    if !apart.repositories.is_empty() {
        return apart.repositories.clone();
    }
    let mut all: BTreeMap<String, bool> = BTreeMap::new();
    for (path, dir) in apart.git.paths.iter().filter_map(|path| Some((path, git_dir(path)?))) {
        let inner = path[dir.len()..].trim_start_matches('/');
        let inner =
            inner.strip_prefix("worktrees/").and_then(|inner| inner.split_once('/')).map_or(inner, |at| at.1);
        let committed = inner.starts_with("refs/heads/") || inner.starts_with("logs/");
        *all.entry(dir).or_default() |= committed;
    }
    all.into_iter().map(|(path, committed)| Repository { path, committed }).collect()
}

/// Returns the git directories that changed besides the folders' own, each with its folder's number: those of repositories within them,
/// and of submodules.
pub fn inner_repositories(apart: &Apart) -> Vec<(u32, String)> {
    let one = |repository: Repository| {
        let (folder, path) = repository.path.split_once('/')?;
        (path != ".git").then(|| Some((folder.parse().ok()?, path.to_owned()))).flatten()
    };
    repositories(apart).into_iter().filter_map(one).collect()
}

/// Returns whether the agent committed something that accept brings.
pub fn has_committed(apart: &Apart) -> bool {
    repositories(apart).iter().any(|one| one.committed)
}

/// Returns what a review says of the paths that changed below `.git`: of all, and of each repository within the folder. `news` are those
/// of them that only the agent has; `imported`: it is a record of another place's task.
pub(super) fn stays_behind(apart: &Apart, news: &[(u32, String)], imported: bool) -> Vec<Deserving> {
    if apart.git.total == 0 {
        return vec![];
    }
    let row = |path: String, why: String| Deserving { folder: None, path, why, waits: false };
    let is_own = |one: &Repository| one.path.split_once('/').is_some_and(|(_, path)| path == ".git");
    let what = match repositories(apart).iter().any(|one| one.committed && is_own(one)) {
        _ if imported => ", which is not in this record",
        true => "; Accept brings the commits and branches among them, and nothing else",
        false => ", which Accept does not take",
    };
    let all = row(".git".to_owned(), format!("{} changed{what}", view::count(apart.git.total, "path")));
    let one = |repository: (u32, String)| {
        let why = match news.contains(&repository) {
            _ if imported => "a repository within the folder: what was committed there is not in this record",
            true => "a repository that only the agent has: what was committed there does not come over",
            false => {
                "a repository within the folder: Accept brings the commits and branches that the agent made there"
            }
        };
        row(repository.1, why.to_owned())
    };
    std::iter::once(all).chain(inner_repositories(apart).into_iter().map(one)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Listing;

    #[test]
    fn a_review_names_each_repository_and_whether_its_commits_come_over() {
        let listing = |paths: &[&str]| {
            let named = paths.iter().map(|path| (*path).to_owned()).collect();
            Apart { git: Listing { paths: named, total: paths.len() as u64 }, ..Apart::default() }
        };
        let named = |paths: &[&str], news: &[(u32, String)]| -> Vec<(String, bool)> {
            let rows = stays_behind(&listing(paths), news, false);
            rows.into_iter().map(|row| (row.path, row.why.contains("Accept brings"))).collect()
        };
        let row = |path: &str, comes| (path.to_owned(), comes);
        assert_eq!(named(&[], &[]), []);
        assert_eq!(named(&["0/.git/index"], &[]), [row(".git", false)]);
        assert_eq!(named(&["0/.git/logs/refs/heads/mine"], &[]), [row(".git", true)]);
        assert_eq!(named(&["0/.git/worktrees/w/logs/HEAD"], &[]), [row(".git", true)]);
        let paths = [
            "0/.git/index",
            "0/.git/modules/a/b/objects/00/1",
            "0/.git/modules/a/b/refs/heads/x",
            "0/deps/x/.git/logs/HEAD",
            "1/deps/x/.git/HEAD",
            "2/.git/worktrees/w/logs/HEAD",
            "2/.git/worktrees/w/modules/a/HEAD",
        ];
        let rows = |second| {
            [
                row(".git", true),
                row(".git/modules/a/b", true),
                row("deps/x/.git", true),
                row("deps/x/.git", second),
                row(".git/worktrees/w/modules/a", true),
            ]
        };
        assert_eq!(named(&paths, &[]), rows(true));
        assert_eq!(named(&paths, &[(1, "deps/x/.git".to_owned())]), rows(false));
        // What the log says of them is more than the paths that it has room for.
        let repository = |path: &str, committed| Repository { path: path.to_owned(), committed };
        let repositories = vec![repository("0/.git", false), repository("0/nest/.git", true)];
        let apart = Apart { repositories, ..listing(&["0/.git/logs/HEAD"]) };
        assert!(has_committed(&apart));
        let rows: Vec<String> =
            stays_behind(&apart, &[], false).into_iter().map(|row| row.path + ": " + &row.why).collect();
        assert_eq!(rows.len(), 2, "{rows:?}");
        assert!(
            rows[0] == ".git: 1 path changed, which Accept does not take"
                && rows[1].starts_with("nest/.git: ")
        );
    }

    #[test]
    fn a_record_of_another_place_says_of_nothing_that_accept_brings_it() {
        let repository = |path: &str| Repository { path: path.to_owned(), committed: true };
        let git = Listing { paths: vec![], total: 4 };
        let repositories = vec![repository("0/.git"), repository("0/nest/.git")];
        let apart = Apart { git, repositories, ..Apart::default() };
        for (imported, brings) in [(true, 0), (false, 2)] {
            let rows = stays_behind(&apart, &[], imported);
            let told = rows.iter().filter(|row| row.why.contains("Accept brings")).count();
            assert_eq!((rows.len(), told), (2, brings));
        }
    }

    #[test]
    fn what_was_left_to_be_done_is_said_as_what_it_is() {
        let not = GitRow::NotBrought {
            branch: None,
            within: None,
            why: "why".to_owned(),
            in_the_way: vec![],
            again: None,
        };
        for (row, says) in [
            (not, "the agent's commits"),
            (GitRow::TakenBack("0123456789".to_owned()), "an undo"),
            (GitRow::Nothing, "its commit"),
        ] {
            assert!(row.late_text().contains(says), "{row:?}: {}", row.late_text());
        }
    }

    #[test]
    fn what_the_agent_committed_is_told_with_where_it_is() {
        let within = RelPath::new("deps/x");
        let brought = |reference: &str, commits, branch: Option<&str>, within: &Option<RelPath>| {
            let branch = branch.map(str::to_owned);
            GitRow::Brought { reference: reference.to_owned(), commits, branch, within: within.clone() }
                .text()
        };
        let not_brought = |why: &str, in_the_way: &[&str], again| {
            let (branch, within) = (Some("a".to_owned()), within.clone());
            let in_the_way = in_the_way.iter().map(|name| (*name).to_owned()).collect();
            GitRow::NotBrought { branch, within, why: why.to_owned(), in_the_way, again }.text()
        };
        for (told, expected) in [
            (brought("refs/quire/3", 2, None, &None), "The agent made 2 commits: git log refs/quire/3."),
            (
                brought("refs/quire/3", 0, None, &within),
                "The agent went to another commit and made none in deps/x: git -C deps/x log refs/quire/3.",
            ),
            (
                brought("refs/quire/branches/3/a;b", 1, Some("a;b"), &None),
                "The agent made 1 commit on the branch a;b: git log 'refs/quire/branches/3/a;b'.",
            ),
            (
                not_brought("why.", &[], None),
                "The agent's commits on the branch a in deps/x are not brought: why.",
            ),
            (
                not_brought("why", &[], Some(3)),
                "The agent's commits on the branch a in deps/x are not brought: why. To try again: quire accept 3",
            ),
            (
                not_brought("why", &["refs/quire/3", "a;b"], Some(3)),
                "The agent's commits on the branch a in deps/x are not brought: why. To free it: git -C deps/x update-ref -d \
                 refs/quire/3; git -C deps/x update-ref -d 'a;b'. To bring them then: quire accept 3",
            ),
        ] {
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn a_revert_that_takes_the_persons_own_edits_is_not_advised() {
        let stays = |with: &[&str]| {
            let with = with.iter().map(|path| RelPath::new(*path).unwrap()).collect();
            GitRow::Stays { commit: "0123456789abcdef".to_owned(), with }.text()
        };
        assert!(stays(&[]).ends_with("To take it back: git revert 0123456789"));
        assert!(
            stays(&["a.txt"])
                .ends_with("git revert 0123456789 would take your own edits in a.txt back as well.")
        );
    }
}
