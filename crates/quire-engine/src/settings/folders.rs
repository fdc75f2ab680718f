//! Which folders a task may work on: that they are there, can be read, are not one within another, and are not more than
//! a person can have meant.

use super::Surroundings;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("There is no folder {}.", .0.display())]
    Missing(PathBuf),
    #[error("The current folder is not there any more.")]
    Left,
    #[error("{} is not a folder.", .0.display())]
    NotAFolder(PathBuf),
    /// A task's log is text.
    #[error("The name of the folder {} is not UTF-8.", .0.display())]
    NotText(PathBuf),
    #[error("The folder {} cannot be read: {source}.", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("The folder {} lies within {}.", .inner.display(), .outer.display())]
    Nested { outer: PathBuf, inner: PathBuf },
    #[error("The folder {} was given twice.", .0.display())]
    Twice(PathBuf),
    #[error("{} is where quire keeps its own data; no task can work on it.", .0.display())]
    Own(PathBuf),
    #[error("{} shows the running system; it is not a folder of files.", .0.display())]
    System(PathBuf),
    /// Not wrong, but only with a person's yes.
    #[error("{} is {what}; a task would copy and could change all of it.", .folder.display())]
    NeedsConfirmation { folder: PathBuf, what: &'static str },
}

/// Returns the canonical folders of a task: `first` (absent: `cwd`), then `further`. `own` is the data directory.
pub(super) fn resolve(
    first: Option<&Path>,
    further: &[PathBuf],
    cwd: &Path,
    home: Option<&Path>,
    own: Option<&Path>,
    confirmed: bool,
) -> Result<Vec<PathBuf>, FolderError> {
    let own = own.and_then(|own| fs::canonicalize(own).ok());
    let mut folders: Vec<PathBuf> = Vec::new();
    for given in std::iter::once(first.unwrap_or(cwd)).chain(further.iter().map(PathBuf::as_path)) {
        let folder = match readable(&cwd.join(given)) {
            Err(FolderError::Missing(_)) if given == cwd => return Err(FolderError::Left),
            readable => readable?,
        };
        if own.as_ref().is_some_and(|own| folder.starts_with(own)) {
            return Err(FolderError::Own(folder));
        }
        if ["/proc", "/sys"].iter().any(|system| folder.starts_with(system)) {
            return Err(FolderError::System(folder));
        }
        for other in &folders {
            if *other == folder {
                return Err(FolderError::Twice(folder));
            }
            let (outer, inner) = if folder.starts_with(other) { (other, &folder) } else { (&folder, other) };
            if inner.starts_with(outer) {
                return Err(FolderError::Nested { outer: outer.clone(), inner: inner.clone() });
            }
        }
        folders.push(folder);
    }
    if !confirmed {
        let home = home.and_then(|h| fs::canonicalize(h).ok());
        for folder in &folders {
            let what = if folder == Path::new("/") {
                "the whole machine"
            } else if home.as_ref() == Some(folder) {
                "your home folder"
            } else if home.as_ref().is_some_and(|h| h.starts_with(folder)) {
                "a folder that holds your home folder"
            } else {
                continue;
            };
            return Err(FolderError::NeedsConfirmation { folder: folder.clone(), what });
        }
    }
    Ok(folders)
}

/// The folder of a home in which tasks that were given none make theirs.
const NEW: &str = "Quire";
/// Of a new folder's name, in characters.
const NAME_CHARS_MAX: usize = 48;

/// Makes the empty folder `~/Quire/TITLE` for a task that is given none, named after its words.
pub fn new_folder(here: &Surroundings, words: &str) -> Result<PathBuf, FolderError> {
    let home = here.home().ok_or_else(|| FolderError::Missing(PathBuf::from("~")))?.join(NEW);
    let plain = |c: char| if c.is_alphanumeric() || "-_,".contains(c) { c } else { ' ' };
    let name: String = words.trim().lines().next().unwrap_or_default().chars().map(plain).collect();
    let name: String =
        name.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(NAME_CHARS_MAX).collect();
    let name = if name.trim().is_empty() { "New" } else { name.trim() };
    let failed = |folder: &Path, source| FolderError::Unreadable { path: folder.to_owned(), source };
    fs::create_dir_all(&home).map_err(|error| failed(&home, error))?;
    for number in 1u32.. {
        let folder = home.join(if number == 1 { name.to_owned() } else { format!("{name} {number}") });
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| folder.clone()).map_err(|error| failed(&folder, error)),
        }
    }
    Err(failed(&home, io::ErrorKind::AlreadyExists.into()))
}

/// Removes a folder that [`new_folder`] made, where nothing came into it.
pub fn leave_new_folder(here: &Surroundings, folder: &Path) {
    if here.home().is_some_and(|home| folder.parent() == Some(&home.join(NEW))) {
        // One that holds anything is not removed.
        let _ = fs::remove_dir(folder);
    }
}

fn readable(given: &Path) -> Result<PathBuf, FolderError> {
    let unreadable = |source| FolderError::Unreadable { path: given.to_owned(), source };
    let folder = fs::canonicalize(given).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => FolderError::Missing(given.to_owned()),
        io::ErrorKind::NotADirectory => FolderError::NotAFolder(given.to_owned()),
        _ => unreadable(e),
    })?;
    if !fs::metadata(&folder).map_err(unreadable)?.is_dir() {
        return Err(FolderError::NotAFolder(folder));
    }
    if folder.to_str().is_none() {
        return Err(FolderError::NotText(folder));
    }
    rustix::fs::access(&folder, rustix::fs::Access::READ_OK | rustix::fs::Access::EXEC_OK)
        .map_err(|e| unreadable(e.into()))?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_folder_is_named_after_the_task_and_left_where_it_stays_empty() {
        let dir = tempfile::tempdir().unwrap();
        let env = [("HOME".to_owned(), dir.path().display().to_string())].into();
        let here = Surroundings { env, cwd: "/".into() };
        let rows = [
            ("make me a homepage\nwith hours", "make me a homepage"),
            ("make me a homepage", "make me a homepage 2"),
            ("../../etc/passwd", "etc passwd"),
            (" . ", "New"),
            ("Bäckerei: „Öffnungszeiten“", "Bäckerei Öffnungszeiten"),
        ];
        for (words, expected) in rows {
            let folder = new_folder(&here, words).unwrap();
            assert_eq!(folder, dir.path().join("Quire").join(expected), "{words}");
        }
        let (empty, full) = (dir.path().join("Quire/New"), dir.path().join("Quire/etc passwd"));
        fs::write(full.join("kept"), "").unwrap();
        for folder in [&empty, &full, &dir.path().join("Quire")] {
            leave_new_folder(&here, folder);
        }
        assert!(!empty.exists() && full.join("kept").exists());
    }

    #[test]
    fn folders_as_given_become_canonical_or_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(dir.path()).unwrap();
        fs::create_dir_all(top.join("home/me/a/inner")).unwrap();
        fs::create_dir_all(top.join("home/me/ab")).unwrap();
        fs::write(top.join("home/me/file"), "").unwrap();
        std::os::unix::fs::symlink("a", top.join("home/me/link")).unwrap();
        let (me, own) = (top.join("home/me"), top.join("home/me/data"));
        fs::create_dir_all(own.join("tasks")).unwrap();
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let told = |first: Option<&str>, further: &[&str], cwd: &Path, confirmed: bool| {
            let found = resolve(first.map(Path::new), &paths(further), cwd, Some(&me), Some(&own), confirmed);
            let found =
                found.map(|f| f.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(" "));
            found.unwrap_or_else(|e| e.to_string()).replace(&top.display().to_string(), "")
        };
        let rows: &[(Option<&str>, &[&str], bool, &str)] = &[
            (Some("a"), &[], false, "/home/me/a"),
            (Some("link"), &["ab"], false, "/home/me/a /home/me/ab"),
            (Some("gone"), &[], false, "There is no folder /home/me/gone."),
            (Some("file"), &[], false, "/home/me/file is not a folder."),
            (Some("file/x"), &[], false, "/home/me/file/x is not a folder."),
            (Some("/sys"), &[], true, "/sys shows the running system; it is not a folder of files."),
            (Some("a"), &["gone"], false, "There is no folder /home/me/gone."),
            (Some("a"), &["a/inner"], false, "The folder /home/me/a/inner lies within /home/me/a."),
            (Some("a/inner"), &["a"], false, "The folder /home/me/a/inner lies within /home/me/a."),
            (Some("a"), &["link"], false, "The folder /home/me/a was given twice."),
            (None, &[], false, "/home/me is your home folder; a task would copy and could change all of it."),
            (None, &[], true, "/home/me"),
            (
                Some("data"),
                &[],
                true,
                "/home/me/data is where quire keeps its own data; no task can work on it.",
            ),
            (
                Some("a"),
                &["data/tasks"],
                true,
                "/home/me/data/tasks is where quire keeps its own data; no task can work on it.",
            ),
            (
                Some(".."),
                &[],
                false,
                "/home is a folder that holds your home folder; a task would copy and could change all of it.",
            ),
            (Some("/"), &[], false, "/ is the whole machine; a task would copy and could change all of it."),
        ];
        for (first, further, confirmed, expected) in rows {
            assert_eq!(told(*first, further, &me, *confirmed), *expected, "{first:?} {further:?}");
        }
    }
}
