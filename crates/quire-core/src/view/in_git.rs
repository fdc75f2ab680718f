//! What was done in a person's git, and what stays behind of what an agent did there, in words.

use super::deserves::Deserving;
use crate::bytes::RelPath;
use crate::event::Listing;
use crate::view;
use serde::Serialize;

/// What was done in git.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GitRow {
    Committed {
        commit: String,
        branch: String,
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
            GitRow::Brought { reference, commits: 0 } => {
                format!("The agent went to another commit and made none: git log {reference}.")
            }
            GitRow::Brought { reference, commits } => {
                format!("The agent made {}: git log {reference}.", view::count(*commits, "commit"))
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

    /// Returns whether a commit that was wanted was not made.
    pub fn is_failure(&self) -> bool {
        matches!(self, GitRow::Failed(_) | GitRow::Missing { .. })
    }
}

/// Returns what a review says of the paths that changed below `.git`: of all, and of each repository within the folder.
pub(super) fn stays_behind(changed: &Listing) -> Vec<Deserving> {
    if changed.total == 0 {
        return vec![];
    }
    let (mut has_branch, mut within) = (false, std::collections::BTreeSet::new());
    for path in &changed.paths {
        // After the folder's number.
        let Some((_, path)) = path.split_once('/') else { continue };
        if let Some(at) = path.find("/.git/") {
            within.insert(path[..at].to_owned() + "/.git");
        } else if let Some(module) = path.strip_prefix(".git/modules/") {
            let end =
                ["/objects/", "/refs/", "/logs/", "/HEAD"].iter().filter_map(|part| module.find(part)).min();
            within.extend(end.map(|end| format!(".git/modules/{}", &module[..end])));
        } else {
            has_branch |= [".git/refs/heads/", ".git/logs/refs/heads/"].iter().any(|at| path.starts_with(at));
        }
    }
    let row = |path: String, why: String| Deserving { folder: None, path, why, waits: false };
    let commits = if has_branch { "; of branches only the one that the agent is on comes over" } else { "" };
    let all = format!("{} changed, which Accept does not take{commits}", view::count(changed.total, "path"));
    let one = |path| {
        row(
            path,
            "a repository within the folder: what the agent committed there does not come over".to_owned(),
        )
    };
    std::iter::once(row(".git".to_owned(), all)).chain(within.into_iter().map(one)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_review_names_each_repository_whose_commits_do_not_come_over() {
        let listing = |paths: &[&str]| Listing {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            total: paths.len() as u64,
        };
        let named = |paths: &[&str]| -> Vec<(String, bool)> {
            let rows = stays_behind(&listing(paths));
            rows.into_iter()
                .map(|row| (row.path, row.why.contains("come over") || row.why.contains("comes over")))
                .collect()
        };
        let row = |path: &str, says| (path.to_owned(), says);
        assert_eq!(named(&[]), []);
        assert_eq!(named(&["0/.git/index"]), [row(".git", false)]);
        assert_eq!(named(&["0/.git/logs/refs/heads/mine"]), [row(".git", true)]);
        assert_eq!(
            named(&[
                "0/.git/index",
                "0/.git/modules/a/b/objects/00/1",
                "0/.git/modules/a/b/refs/heads/x",
                "0/deps/x/.git/HEAD"
            ]),
            [row(".git", false), row(".git/modules/a/b", true), row("deps/x/.git", true)]
        );
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
