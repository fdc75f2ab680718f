//! quire among the programs of a desktop: what it opens there, the page and a folder; and an entry that opens the page, with its icon
//! (Desktop Entry Specification 1.5, Icon Theme Specification 0.13). Both lie in the person's own data directory, and go with
//! `quire uninstall`.

use crate::settings::Surroundings;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What opens an address where no browser is named, in the order in which they are tried.
const OPENERS: [&str; 4] = ["xdg-open", "wslview", "x-www-browser", "sensible-browser"];
/// What opens a folder.
const FOLDER_OPENERS: [&str; 2] = ["xdg-open", "wslview"];
/// What has not failed by then shows the folder, and stays as long as it is shown.
const SOON: Duration = Duration::from_secs(3);

fn is_set(here: &Surroundings, names: &[&str]) -> bool {
    names.iter().any(|name| here.env.get(*name).is_some_and(|value| !value.is_empty()))
}

/// Returns whether an address can be shown to who is there.
pub fn has_a_screen(here: &Surroundings) -> bool {
    is_set(here, &["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME", "BROWSER"])
}

/// Returns whether something was started that opens the address.
pub fn open_address(address: &str, here: &Surroundings) -> bool {
    let named = here.env.get("BROWSER").filter(|named| !named.is_empty() && !named.contains(['%', ':']));
    named.map(String::as_str).into_iter().chain(OPENERS).any(|opener| {
        let quiet = Stdio::null;
        Command::new(opener).arg(address).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn().is_ok()
    })
}

/// Shows a folder in the file manager of who is there. Returns whether one took it, as far as can be seen.
pub async fn open_folder(folder: &Path, here: &Surroundings) -> bool {
    // An absolute path begins with a slash, so that no name is taken for an option; and no shell reads it.
    let is_shown = folder.is_absolute() && folder.is_dir();
    if !is_shown || !is_set(here, &["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"]) {
        return false;
    }
    for opener in FOLDER_OPENERS {
        let quiet = Stdio::null;
        let mut command = tokio::process::Command::new(opener);
        // As who opened the page would start it, and not as the host was.
        command.arg(folder).env_clear().envs(&here.env).current_dir("/");
        let Ok(mut child) = command.stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn() else { continue };
        match tokio::time::timeout(SOON, child.wait()).await {
            Ok(Ok(ended)) if !ended.success() => {}
            Ok(Err(_)) => {}
            Ok(Ok(_)) | Err(_) => return true,
        }
    }
    false
}

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
