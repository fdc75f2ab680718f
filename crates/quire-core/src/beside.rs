//! Where a folder's git repository lies outside of the folder: what of it a task is shown, or why nothing. Found when the folder is
//! copied, and in the log from then on.

use crate::bytes::RelPath;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Beside {
    Shown(Shown),
    Not(NoGit),
}

/// The immutable copy of a repository, as [`crate::event::Base`] of a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The repository's directory, absolute and canonical: what all its working trees share.
    pub at: PathBuf,
    pub id: u64,
    pub delta: u64,
    /// Where in it the working tree has what is its own, as its HEAD and index; absent: at its top.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<RelPath>,
    /// Where in the working tree the folder lies; absent: it is all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<RelPath>,
}

impl Shown {
    /// Returns the file above `folder` that leads to the repository, where it is such a file.
    pub fn leads(&self, folder: &Path) -> Option<PathBuf> {
        let prefix = self.prefix.as_ref()?;
        let top = folder.ancestors().nth(prefix.as_bytes().split(|byte| *byte == b'/').count())?;
        Some(top.join(".git")).filter(|leads| *leads != self.at)
    }
}

/// Why a task has no git in a folder of which a repository elsewhere says that it is its.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoGit {
    /// The repository does not name the folder, as it would name its own working tree.
    Foreign,
    /// It is hidden from tasks.
    Hidden,
    /// There is no git that opens it.
    Closed,
    /// To copy it would take too much room.
    Large,
    /// Its index cannot be made that of the folder alone.
    Index,
    /// It cannot be shown at its own place.
    Place,
    /// Its objects are in part in another one, which is not shown.
    Borrows,
}

impl NoGit {
    pub fn text(self) -> &'static str {
        match self {
            NoGit::Foreign => {
                "leads to a repository outside the folder that does not name it as its own: git did not work for the agent"
            }
            NoGit::Hidden => {
                "leads to a repository that is hidden from tasks: git did not work for the agent"
            }
            NoGit::Closed => {
                "leads to a repository outside the folder that git does not open: git did not work for the agent"
            }
            NoGit::Large => {
                "leads to a repository outside the folder that is too large to copy: git did not work for the agent"
            }
            NoGit::Index => {
                "is the repository's of a folder around this one, and could not be narrowed to it: git did not work for the agent"
            }
            NoGit::Borrows => {
                "borrows objects of another repository, which the agent was not shown: git did not work for it"
            }
            NoGit::Place => {
                "lies outside the copy, where it could not be shown to the agent: git did not work for it"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_folder_within_a_working_tree_that_is_led_to_needs_the_file_that_leads() {
        let leads = |at: &str, prefix: Option<&str>, folder: &str| {
            let prefix = prefix.map(|prefix| RelPath::new(prefix).unwrap());
            Shown { at: at.into(), id: 1, delta: 0, dir: None, prefix }.leads(Path::new(folder))
        };
        assert_eq!(leads("/r/.git", None, "/w"), None);
        assert_eq!(leads("/r/.git", Some("a/b"), "/r/a/b"), None);
        assert_eq!(leads("/r/.git", Some("a/b"), "/w/a/b"), Some("/w/.git".into()));
    }
}
