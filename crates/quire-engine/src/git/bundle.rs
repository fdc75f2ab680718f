//! A commit as a file for another place: built in a repository of quire's own on top of the person's objects, so that theirs stays
//! byte for byte.

use super::{GitError, Repo, git_in};
use crate::rooted::{rename_to_free, sync_dir};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// In a scratch directory, the repository of quire's own.
const BARE: &str = "bare";

impl Repo {
    /// Makes a repository that has nothing but the objects of this one.
    pub(super) fn bare(&self, at: &Path) -> Result<(), GitError> {
        match fs::remove_dir_all(at) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why.into()),
            _ => {}
        }
        fs::create_dir_all(at.join("objects/info"))?;
        fs::create_dir_all(at.join("objects/pack"))?;
        fs::create_dir_all(at.join("refs/heads"))?;
        let format = match self.zeros.len() {
            40 => "repositoryformatversion = 0\n\tbare = true\n",
            _ => "repositoryformatversion = 1\n\tbare = true\n[extensions]\n\tobjectFormat = sha256\n",
        };
        fs::write(at.join("config"), format!("[core]\n\t{format}"))?;
        fs::write(at.join("HEAD"), "ref: refs/heads/agent\n")?;
        let objects = self.path_of("objects")?;
        fs::write(at.join("objects/info/alternates"), [objects.as_os_str().as_bytes(), b"\n"].concat())?;
        Ok(())
    }

    /// Returns the same repository, with what is new in it kept in `scratch` alone.
    pub fn apart(mut self, scratch: &Path) -> Result<Repo, GitError> {
        let bare = scratch.join(BARE);
        self.bare(&bare)?;
        let others = listed(&self.path_of("objects")?);
        self.apart = Some((bare.join("objects").into_os_string(), others));
        Ok(self)
    }

    /// Says why no bundle can be written to a file, before anything is made.
    pub fn may_bundle(file: &Path) -> Result<(), GitError> {
        let dir = file.parent().unwrap_or(file);
        match fs::symlink_metadata(file) {
            Ok(_) => Err(GitError::FileIsThere(file.to_owned())),
            Err(why) if why.kind() == io::ErrorKind::NotFound && dir.is_dir() => Ok(()),
            Err(why) => Err(GitError::Unwritten { file: file.to_owned(), why }),
        }
    }

    /// Writes a commit that is kept apart into a new file, with what it has on top of `head`, as the branch `name`.
    pub(super) fn bundle(
        &self,
        commit: &str,
        head: Option<&str>,
        file: &Path,
        name: &str,
        scratch: &Path,
    ) -> Result<(), GitError> {
        let (bare, made) = (scratch.join(BARE), scratch.join("bundle"));
        let reference = format!("refs/heads/{name}");
        fs::write(bare.join(&reference), format!("{commit}\n"))?;
        // Where the person's history is cut short, it ends here too.
        let shallow = self.path_of("shallow")?;
        if shallow.exists() {
            fs::copy(shallow, bare.join("shallow"))?;
        }
        let (to, without) = (made.to_string_lossy().into_owned(), head.map(|head| format!("^{head}")));
        let mut command = vec!["bundle", "create", "--quiet", &to, &reference];
        command.extend(without.as_deref());
        git_in(&bare, &command, &[("GIT_DIR", bare.as_os_str())], b"")?;
        publish(&made, file)
    }

    fn path_of(&self, name: &str) -> Result<PathBuf, GitError> {
        let said = super::line(self.git(&["rev-parse", "--git-path", name], &[], b"")?);
        let at = self.folder.join(OsStr::from_bytes(&said));
        Ok(fs::canonicalize(&at).unwrap_or(at))
    }
}

/// Copies a file to a name that is free. It is there whole, or not at all.
fn publish(made: &Path, file: &Path) -> Result<(), GitError> {
    let failed = |why: io::Error| match why.kind() {
        io::ErrorKind::AlreadyExists => GitError::FileIsThere(file.to_owned()),
        _ => GitError::Unwritten { file: file.to_owned(), why },
    };
    let name = file.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let beside = format!(".quire-bundle-{}", std::process::id());
    let put = || -> io::Result<()> {
        let mut new = File::create(dir.join(&beside))?;
        io::copy(&mut File::open(made)?, &mut new)?;
        new.sync_all()?;
        let at = File::open(dir)?;
        rename_to_free((at.as_fd(), beside.as_bytes()), (at.as_fd(), name.as_bytes()))?;
        sync_dir(dir)
    };
    put().map_err(|why| {
        // Where it was renamed, this finds none.
        let _ = fs::remove_file(dir.join(&beside));
        failed(why)
    })
}

/// Returns a directory as git reads it in a list of several.
pub(super) fn listed(dir: &Path) -> OsString {
    let mut quoted = b"\"".to_vec();
    for byte in dir.as_os_str().as_bytes() {
        match byte {
            b'\n' => quoted.extend_from_slice(b"\\n"),
            b'"' | b'\\' => quoted.extend_from_slice(&[b'\\', *byte]),
            byte => quoted.push(*byte),
        }
    }
    quoted.push(b'"');
    OsString::from_vec(quoted)
}
