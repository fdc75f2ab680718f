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

/// Returns `~/Quire/TITLE`, the folder of a task that is given none, named after its words: one that is not there yet, and not
/// the folder of another task either. Nothing is made before something is accepted into it.
pub fn new_folder(
    here: &Surroundings,
    words: &str,
    taken: &dyn Fn(&Path) -> bool,
) -> Result<PathBuf, FolderError> {
    let home = here.home().ok_or_else(|| FolderError::Missing(PathBuf::from("~")))?;
    let home = readable(&home)?.join(NEW);
    let home = readable(&home).or_else(|error| match error {
        FolderError::Missing(_) => Ok(home),
        other => Err(other),
    })?;
    let own = crate::quire::home(here).ok().and_then(|own| fs::canonicalize(own).ok());
    if own.is_some_and(|own| home.starts_with(own)) {
        return Err(FolderError::Own(home));
    }
    let plain = |c: char| if c.is_alphanumeric() || "-_,".contains(c) { c } else { ' ' };
    let name: String = words.trim().lines().next().unwrap_or_default().chars().map(plain).collect();
    let name: String =
        name.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(NAME_CHARS_MAX).collect();
    let name = if name.trim().is_empty() { "New" } else { name.trim() };
    let names = (1u32..).map(|number| if number == 1 { name.to_owned() } else { format!("{name} {number}") });
    let free = |folder: &PathBuf| folder.symlink_metadata().is_err() && !taken(folder);
    // No disk holds as many folders as there are numbers.
    names.map(|name| home.join(name)).find(free).ok_or(FolderError::Missing(home))
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
    fn a_new_folder_is_named_after_the_task_and_is_nobodys() {
        let dir = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(dir.path()).unwrap();
        let env = [("HOME".to_owned(), top.display().to_string())].into();
        let here = Surroundings { env, cwd: "/".into() };
        let mut given: Vec<PathBuf> = vec![];
        let rows = [
            ("make me a homepage\nwith hours", "make me a homepage"),
            ("make me a homepage", "make me a homepage 2"),
            ("../../etc/passwd", "etc passwd"),
            (" . ", "New"),
            ("Bäckerei: „Öffnungszeiten“", "Bäckerei Öffnungszeiten"),
        ];
        for (words, expected) in rows {
            let folder = new_folder(&here, words, &|folder| given.iter().any(|g| g == folder)).unwrap();
            assert_eq!(folder, top.join("Quire").join(expected), "{words}");
            given.push(folder);
        }
        assert!(!top.join("Quire").exists(), "nothing is made");
        fs::create_dir_all(top.join("Quire/New")).unwrap();
        assert_eq!(new_folder(&here, "", &|_| false).unwrap(), top.join("Quire/New 2"));
        // Where quire's own data lies no task can work.
        let mut here = here;
        here.env.insert("QUIRE_HOME".to_owned(), top.join("Quire").display().to_string());
        assert!(matches!(new_folder(&here, "", &|_| false), Err(FolderError::Own(_))));
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
