//! What a task sees of the real machine as it is now, and not as it was when it began: ignored directories and installed
//! packages. They lie below its overlays, uncopied. So it is noted when they were last changed, and told where that is no
//! longer so: what the task built with them may not be what they would give now.
//!
//! The note is `tasks/N/live.json`. It costs a look at each of them, whatever is in them; only their own names' coming and
//! going shows.

use crate::rooted::replace_file;
use quire_core::bytes::{escape, unescape};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const NOTE: &str = "live.json";

/// What changes whenever packages do: dpkg, rpm and apk, and what the dynamic linker finds.
const SYSTEM: [&str; 4] =
    ["/var/lib/dpkg/status", "/var/lib/rpm/rpmdb.sqlite", "/lib/apk/db/installed", "/etc/ld.so.cache"];

/// By path, escaped; when it was last changed, in nanoseconds since 1970; 0 where it is not there.
type Times = BTreeMap<String, i64>;

/// Notes in a task's directory how `ignored`, absolute directories, and the system are now.
pub fn note(dir: &Path, ignored: impl Iterator<Item = PathBuf>) -> io::Result<()> {
    let all = ignored.chain(SYSTEM.map(PathBuf::from));
    write(dir, &all.map(|path| (escape(path.as_os_str().as_bytes()), changed(&path))).collect())
}

/// Notes anew the directories that one of `written`, absolute paths, lies in: quire itself changed them.
pub fn renew(dir: &Path, written: &[PathBuf]) -> io::Result<()> {
    let Some(mut times) = read(dir)? else { return Ok(()) };
    for (path, time) in &mut times {
        let path = path_of(path);
        if written.iter().any(|written| written.starts_with(&path)) {
            *time = changed(&path);
        }
    }
    write(dir, &times)
}

/// Returns what is no longer as it was noted.
pub fn moved(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let times = read(dir)?.unwrap_or_default();
    let all = times.iter().map(|(path, time)| (path_of(path), *time));
    Ok(all.filter(|(path, time)| changed(path) != *time).map(|(path, _)| path).collect())
}

/// Returns whether a path is the system's.
pub fn is_system(path: &Path) -> bool {
    SYSTEM.iter().any(|system| path == Path::new(system))
}

fn changed(path: &Path) -> i64 {
    let time =
        |meta: fs::Metadata| meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec());
    fs::symlink_metadata(path).map_or(0, time)
}

fn path_of(escaped: &str) -> PathBuf {
    OsString::from_vec(unescape(escaped).unwrap_or_else(|| escaped.as_bytes().to_vec())).into()
}

fn read(dir: &Path) -> io::Result<Option<Times>> {
    match fs::read(dir.join(NOTE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        json => Ok(Some(serde_json::from_slice(&json?)?)),
    }
}

fn write(dir: &Path, times: &Times) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    replace_file(dir, NOTE, &serde_json::to_vec(times)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_since_is_told_unless_quire_did_it() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("tasks/1");
        let ignored = ["a", "b", "c", "gone"].map(|name| temp.path().join(name));
        ignored.iter().for_each(|dir| fs::create_dir(dir).unwrap());
        let back = |path: &Path| {
            let then = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
            fs::File::open(path).unwrap().set_modified(then).unwrap();
        };
        ignored.iter().for_each(|path| back(path));
        assert!(moved(&dir).unwrap().is_empty(), "nothing was noted");
        note(&dir, ignored.iter().cloned()).unwrap();
        assert!(moved(&dir).unwrap().is_empty());
        fs::write(ignored[0].join("new"), "").unwrap();
        fs::write(ignored[1].join("accepted"), "").unwrap();
        fs::remove_dir(&ignored[3]).unwrap();
        assert_eq!(moved(&dir).unwrap(), [0, 1, 3].map(|n: usize| ignored[n].clone()));
        renew(&dir, &[ignored[1].join("accepted")]).unwrap();
        assert_eq!(moved(&dir).unwrap(), [0, 3].map(|n: usize| ignored[n].clone()));
    }
}
