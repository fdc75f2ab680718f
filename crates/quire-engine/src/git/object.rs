//! Contents as git keeps them: what its attributes make of a file, and the names of it all.

use super::commit::{Mode, Noted};
use super::outside::{Kept, Outside, Sorted};
use super::{GitError, Repo, large};
use std::path::Path;

impl Kept<'_> {
    /// Returns whether git has a content of this file otherwise than it stands in the folder.
    pub fn turns(&self, content: &[u8]) -> bool {
        // Ends of lines may be other ones in the repository, as its attributes say; no program has a part in that.
        !self.is_large && (self.is_turned || content.windows(2).any(|two| two == b"\r\n"))
    }
}

impl Repo {
    /// Stores the contents and returns the names that git gives them. What git cannot read is left out.
    pub(super) fn objects<'f>(
        &self,
        sorted: &mut Sorted<'f>,
        scratch: &Path,
    ) -> Result<Vec<(Kept<'f>, Option<String>)>, GitError> {
        let mut named: Vec<(Kept<'f>, Option<String>)> = vec![];
        let mut spooled = vec![];
        for one in std::mem::take(&mut sorted.kept) {
            let Some((mode, content)) = &one.file.now else {
                named.push((one, None));
                continue;
            };
            let pointer = if one.is_large { self.keep_large(content)? } else { None };
            let content = pointer.as_ref().unwrap_or(content);
            if *mode != Mode::Link && one.turns(content) {
                match self.turned(&one, content, true) {
                    Ok(name) => named.push((one, Some(name))),
                    Err(GitError::Failed { said, .. }) if one.is_turned && said.contains("encod") => {
                        sorted.outside.push((one.file.path.clone(), Outside::Unreadable));
                    }
                    Err(error) => return Err(error),
                }
                continue;
            }
            let spool = scratch.join(format!("content-{}", named.len()));
            std::fs::write(&spool, content)?;
            spooled.push((named.len(), spool));
            named.push((one, None));
        }
        let list: Vec<u8> = spooled
            .iter()
            .flat_map(|(_, spool)| [spool.as_os_str().as_encoded_bytes(), b"\n"].concat())
            .collect();
        if !list.is_empty() {
            let said = self.git(&["hash-object", "-w", "--no-filters", "--stdin-paths"], &[], &list)?;
            let said = String::from_utf8_lossy(&said).into_owned();
            for ((place, _), object) in spooled.iter().zip(said.lines()) {
                named[*place].1 = Some(object.to_owned());
            }
        }
        Ok(named)
    }

    /// Returns the name of a content as git turns it, which is stored where that is wanted.
    fn turned(&self, one: &Kept<'_>, content: &[u8], is_stored: bool) -> Result<String, GitError> {
        let path = String::from_utf8_lossy(one.file.path.as_bytes()).into_owned();
        let mut command = vec!["hash-object", "--stdin", "--path", &path];
        if is_stored {
            command.push("-w");
        }
        self.say(&command, &[], content)
    }

    /// Returns whether the person had something in a file that is not in HEAD: beside what an earlier accept of the task left.
    pub(super) fn is_edited(&self, one: &Kept<'_>, head: Option<&Noted>) -> bool {
        let differs = |content: &Option<Vec<u8>>| {
            let (Some(content), Some((_, head))) = (content, head) else { return content.is_some() };
            let pointer = large::pointer(content).filter(|_| one.is_large).map(|(_, pointer)| pointer);
            let content = pointer.as_ref().unwrap_or(content);
            self.name_of(content) != *head
                && !(one.turns(content) && self.turned(one, content, false).is_ok_and(|name| name == *head))
        };
        differs(&one.file.was) && differs(&one.file.own)
    }
}
