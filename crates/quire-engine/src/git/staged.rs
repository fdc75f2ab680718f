//! What a person has staged, where something of it is committed beside it: both have to be in their next commit.

use super::commit::Noted;
use super::outside::Mark;
use super::{GitError, Repo};
use quire_core::merge::{Merge, merge};

/// What is at a path: in HEAD before and after, in the folder before.
pub(super) struct Around<'a> {
    pub before: Option<&'a Noted>,
    pub after: Option<&'a Noted>,
    pub was: Option<&'a Vec<u8>>,
}

/// What becomes of the row of an index.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// The person had it as it was in HEAD.
    Follows,
    /// What they staged, with what was committed.
    Both(Option<Noted>),
    /// They cannot both be.
    Stays,
}

impl Repo {
    pub(super) fn row(
        &self,
        index: Option<&Noted>,
        mark: Mark,
        around: &Around<'_>,
    ) -> Result<Row, GitError> {
        let Around { before, after, was } = around;
        if mark.conflict {
            return Ok(Row::Stays);
        }
        if index == *before {
            return Ok(Row::Follows);
        }
        if index == *after {
            return Ok(Row::Both(index.cloned()));
        }
        let (Some((mode, staged)), Some((now_mode, now))) = (index, after) else { return Ok(Row::Stays) };
        // An empty file that is new, as `git add -N` has it, holds nothing.
        if before.is_none() && *staged == self.name_of(b"") {
            return Ok(Row::Both(after.cloned()));
        }
        if ![mode, now_mode].iter().all(|mode| mode.starts_with("100")) {
            return Ok(Row::Stays);
        }
        let mode = if before.is_none_or(|(before, _)| before == mode) { now_mode } else { mode };
        let (Some(staged), Some(now)) = (self.blob(staged), self.blob(now)) else { return Ok(Row::Stays) };
        let in_head =
            before.filter(|(mode, _)| mode.starts_with("100")).and_then(|(_, name)| self.blob(name));
        for base in in_head.as_ref().into_iter().chain(*was) {
            if let Merge::Clean(both) = merge(base, &staged, &now) {
                let name = self.say(&["hash-object", "-w", "--no-filters", "--stdin"], &[], &both)?;
                return Ok(Row::Both(Some((mode.clone(), name))));
            }
        }
        Ok(Row::Stays)
    }

    /// Returns a content, where the repository has it.
    fn blob(&self, name: &str) -> Option<Vec<u8>> {
        self.git(&["cat-file", "blob", name], &[], b"").ok()
    }
}
