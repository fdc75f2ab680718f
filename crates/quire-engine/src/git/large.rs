//! Git LFS: what its clean filter makes of a file, made without it. The format is public (the pointer file, version 1, in git-lfs'
//! `docs/spec.md`): the repository has a pointer, and the content lies in `lfs/objects` of the git directory, by its SHA-256, from
//! where `git push` takes it along.

use super::outside::has_filter;
use super::{GitError, Repo, hex, line};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

const VERSION: &str = "version https://git-lfs.github.com/spec/v1\n";
/// A pointer is shorter than this, in bytes.
const POINTER_MAX: usize = 1024;

/// Returns whether a file that the attributes give to Git LFS can be kept as it would: where it is set up, its objects lie where
/// they do by themselves, and no other program has a part in it. `settings` are names.
pub(super) fn is_kept(settings: &[String]) -> bool {
    has_filter(settings, "lfs") && !settings.iter().any(|setting| setting.starts_with("lfs."))
}

/// Returns the name of a content and its pointer; `None`: it is a pointer already, or empty.
pub(super) fn pointer(content: &[u8]) -> Option<(String, Vec<u8>)> {
    if content.is_empty() || content.len() < POINTER_MAX && content.starts_with(VERSION.as_bytes()) {
        return None;
    }
    let name = hex(ring::digest::digest(&ring::digest::SHA256, content).as_ref());
    let pointer = format!("{VERSION}oid sha256:{name}\nsize {}\n", content.len()).into_bytes();
    Some((name, pointer))
}

impl Repo {
    /// Stores a content as Git LFS does, and returns its pointer; `None`: it stands in the repository as it is, because it is a
    /// pointer already, or empty.
    pub(super) fn keep_large(&self, content: &[u8]) -> Result<Option<Vec<u8>>, GitError> {
        let Some((name, pointer)) = pointer(content) else { return Ok(None) };
        let common = line(self.git(&["rev-parse", "--git-common-dir"], &[], b"")?);
        let dir: PathBuf = self.folder.join(OsStr::from_bytes(&common));
        let dir = dir.join("lfs/objects").join(&name[..2]).join(&name[2..4]);
        let at = dir.join(&name);
        if !fs::metadata(&at).is_ok_and(|there| there.len() == content.len() as u64) {
            fs::create_dir_all(&dir)?;
            let new = dir.join(format!("{name}.quire-{}", std::process::id()));
            let mut file = fs::File::create(&new)?;
            let stored =
                file.write_all(content).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&new, &at));
            stored.inspect_err(|_: &io::Error| {
                // Where this fails too, a file stays that nothing leads to.
                let _ = fs::remove_file(&new);
            })?;
        }
        Ok(Some(pointer))
    }
}
