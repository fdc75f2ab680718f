//! quire among the programs of a desktop: an entry that opens the page, and its icon (Desktop Entry Specification 1.5, Icon Theme
//! Specification 0.13). Both lie in the person's own data directory, and go with `quire uninstall`.

use crate::settings::Surroundings;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Returns where entry and icon lie; nothing where there is no place for them.
pub fn files(surroundings: &Surroundings) -> Vec<PathBuf> {
    let absolute =
        |name: &str| surroundings.env.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(surroundings.home()?.join(".local/share")));
    let names = ["applications/quire.desktop", "icons/hicolor/scalable/apps/quire.svg"];
    data.iter().flat_map(|data| names.map(|name| data.join(name))).collect()
}

/// Writes both, and returns the entry's path.
pub fn install(surroundings: &Surroundings, program: &Path, icon: &str) -> io::Result<PathBuf> {
    let [entry, picture] = &files(surroundings)[..] else { return Err(io::ErrorKind::NotFound.into()) };
    let text = format!(
        "[Desktop Entry]\nType=Application\nVersion=1.5\nName=quire\nComment=Hand over tasks, and accept what you like\n\
         Exec={} web\nIcon=quire\nTerminal=false\nCategories=Development;Utility;\n",
        quoted(program).ok_or(io::ErrorKind::InvalidInput)?
    );
    for (path, content) in [(picture, icon), (entry, text.as_str())] {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        fs::write(path, content)?;
    }
    Ok(entry.clone())
}

/// Returns a path as `Exec` has it: in quotes, within which some characters have a backslash, which itself is written twice in a
/// value; and `%` twice.
fn quoted(program: &Path) -> Option<String> {
    let mut out = String::from("\"");
    for c in program.to_str()?.chars() {
        match c {
            '"' | '`' | '$' => out.extend(['\\', '\\', c]),
            '\\' => out.push_str("\\\\\\\\"),
            '%' => out.push_str("%%"),
            c if c.is_control() => return None,
            c => out.push(c),
        }
    }
    out.push('"');
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_names_the_program_whatever_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let env = [("HOME".to_owned(), dir.path().display().to_string())].into();
        let here = Surroundings { env, cwd: "/".into() };
        let entry = install(&here, Path::new("/opt/my \"q\"/100%/quire"), "<svg/>").unwrap();
        assert_eq!(entry, dir.path().join(".local/share/applications/quire.desktop"));
        let text = fs::read_to_string(&entry).unwrap();
        assert!(text.contains("\nExec=\"/opt/my \\\\\"q\\\\\"/100%%/quire\" web\n"), "{text}");
        assert!(files(&here).iter().all(|path| path.exists()));
        assert!(install(&here, Path::new("/a\nb"), "").is_err());
        assert!(files(&Surroundings::default()).is_empty());
    }
}
