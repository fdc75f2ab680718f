//! What a sandbox is made of, as the engine says it. It crosses to the spawner over a socket and never stands in an
//! argument list, where every process of the machine could read it.

use crate::Rung;
use quire_core::RelPath;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One sandbox: which folders, over which layers, with which limits. Paths are absolute and of the real machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// The kind of sandbox; [`crate::prove`] finds the best that this machine gives. It is made or it fails: there is no
    /// other in its place.
    pub rung: Rung,
    /// Private directory of this one sandbox: overlay work directories and its `/tmp`. Created 0700; emptied at the end.
    #[serde(with = "path")]
    pub state: PathBuf,
    /// The writable layer, laid out as [`crate::layer`] says, on the same file system as `state`. Created if missing,
    /// survives the sandbox, and may be given again.
    #[serde(with = "path")]
    pub layer: PathBuf,
    /// Sealed layers under it, newest first.
    #[serde(with = "paths")]
    pub layers: Vec<PathBuf>,
    /// The machine's skeleton for an ordinary user, newest layer first, as [`crate::skeleton`] returns it; without one
    /// nothing can be installed. Of no use to root.
    #[serde(with = "paths")]
    pub skeleton: Vec<PathBuf>,
    /// Directory that is writable inside as [`crate::OUT_INSIDE`]; the hand leaves whole outputs there.
    #[serde(with = "path")]
    pub out: PathBuf,
    /// Directory that can be read inside as [`crate::GIVEN_INSIDE`].
    #[serde(with = "optional_path")]
    pub given: Option<PathBuf>,
    /// The quire binary: it is the hand, and is found inside as `quire` and by the names of its commands.
    #[serde(with = "path")]
    pub binary: PathBuf,
    /// The task's folders; calls start in the first.
    pub folders: Vec<FolderView>,
    /// What else to hide: an absolute path, a path below the home as `~/...`, or a pattern of file names within the
    /// folders as in `.gitignore` (without a slash it matches at any depth).
    pub hide: Vec<String>,
    /// Paths of the person's home that are visible beside the known tool directories.
    #[serde(with = "paths")]
    pub show: Vec<PathBuf>,
    /// The whole environment of calls. `HOME` also says whose home it is.
    pub env: Vec<(String, String)>,
    /// Most memory of all processes together, in bytes, where the machine lets quire say so; else of each process.
    pub memory_bytes: u64,
    /// Most processes and threads at one time.
    pub processes: u32,
    /// Longest file that can be written, in bytes.
    pub disk_bytes: u64,
    /// The way out; `None` where there is none.
    pub gate: Option<Door>,
}

/// The way out of a sandbox, whose sockets [`crate::Sandbox::gate`] gives.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Door {
    /// A certificate authority, as PEM, that programs inside trust beside the machine's.
    pub authority: Option<String>,
}

/// A folder as the sandbox sees it: frozen content with the layers' changes above it, at the folder's own path.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FolderView {
    #[serde(with = "path")]
    pub at: PathBuf,
    /// Deltas, newest first, then the base. None of them changes while any sandbox stands on it.
    #[serde(with = "paths")]
    pub frozen: Vec<PathBuf>,
    /// Ignored directories, relative to `at`: overlays over what lies there on the real machine now.
    #[serde(with = "paths")]
    pub ignored: Vec<PathBuf>,
    /// All files in `frozen` of which [`crate::may_be_secret`] says so, but for those of git; `None` where they are not known,
    /// and must be looked for.
    pub suspects: Option<Vec<RelPath>>,
    /// It is the git directory of the folder with this index, which lies elsewhere: none of its files is hidden for its name.
    pub git_of: Option<usize>,
}

/// Paths as text that keeps bytes which are no UTF-8.
mod path {
    use quire_core::bytes::{escape, unescape};
    use serde::{Deserialize, Deserializer, Serializer, de};
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    pub fn serialize<S: Serializer>(path: &Path, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&escape(path.as_os_str().as_bytes()))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<PathBuf, D::Error> {
        let text = String::deserialize(d)?;
        let raw = unescape(&text).ok_or_else(|| de::Error::custom("not a path"))?;
        Ok(PathBuf::from(OsString::from_vec(raw)))
    }
}

mod optional_path {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::path::{Path, PathBuf};

    #[derive(Serialize, Deserialize)]
    struct One(#[serde(with = "super::path")] PathBuf);

    pub fn serialize<S: Serializer>(path: &Option<PathBuf>, s: S) -> Result<S::Ok, S::Error> {
        path.as_deref().map(Path::to_owned).map(One).serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<PathBuf>, D::Error> {
        Ok(Option::<One>::deserialize(d)?.map(|one| one.0))
    }
}

mod paths {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::path::PathBuf;

    #[derive(Serialize, Deserialize)]
    struct One(#[serde(with = "super::path")] PathBuf);

    pub fn serialize<S: Serializer>(paths: &[PathBuf], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(paths.iter().map(|path| One(path.clone())))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<PathBuf>, D::Error> {
        Ok(Vec::<One>::deserialize(d)?.into_iter().map(|one| one.0).collect())
    }
}
