//! Writing the person's own settings: a value is put into `config.toml` where it stands or belongs, and all else in the file,
//! comments too, stays as it is. Done only for what a person set on the page.

use super::{Options, SettingsError, Surroundings, read};
use crate::plain_file::read_start;
use crate::rooted::replace;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use toml_edit::{DocumentMut, Item, Table, Value};

/// Stores `KEY=VALUE` settings, as `-c` takes them, and returns the file. One that would not be taken is refused before
/// anything is written.
pub fn keep(changes: &[String], here: &Surroundings) -> Result<PathBuf, SettingsError> {
    read(&Options { set: changes.to_vec(), ..Options::default() }, None, here)?;
    let no_place = || io::Error::new(io::ErrorKind::NotFound, "neither HOME nor XDG_CONFIG_HOME is set");
    let path = here.config_dir().map(|dir| dir.join("config.toml"));
    let path =
        path.ok_or_else(|| SettingsError::Unreadable { path: "config.toml".into(), source: no_place() })?;
    // Where it is a link, as those are who keep their settings elsewhere, the file itself is written.
    let path = fs::canonicalize(&path).unwrap_or(path);
    let failed = |source| SettingsError::Unreadable { path: path.clone(), source };
    let mut mode = 0o600;
    let start = read_start(&path, super::FILE_BYTES_MAX).map_err(failed)?;
    if let Some(start) = &start {
        mode = start.file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    }
    let text = start
        .map(|start| String::from_utf8(start.bytes))
        .transpose()
        .map_err(|error| failed(io::Error::other(error)))?;
    let mut document: DocumentMut =
        text.unwrap_or_default().parse().map_err(|error| failed(io::Error::other(error)))?;
    for change in changes {
        // It was taken above, so that both sides are there.
        if let Some((key, value)) = change.split_once('=') {
            put(document.as_table_mut(), &key.split('.').collect::<Vec<_>>(), value.trim());
        }
    }
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(failed)?;
    }
    replace(&path, document.to_string().as_bytes(), mode).map_err(failed)?;
    Ok(path)
}

fn put(table: &mut Table, key: &[&str], text: &str) {
    match key {
        [last] => {
            let value = text.parse::<Value>().unwrap_or_else(|_| Value::from(text));
            table[last] = Item::Value(value);
        }
        [first, rest @ ..] => {
            let inner = table.entry(first).or_insert_with(|| Item::Table(Table::new()));
            if let Some(inner) = inner.as_table_mut() {
                put(inner, rest, text);
            }
        }
        [] => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_kept_and_all_else_stays() {
        let dir = tempfile::tempdir().unwrap();
        let env = [("XDG_CONFIG_HOME".to_owned(), dir.path().display().to_string())].into();
        let here = Surroundings { env, cwd: "/".into() };
        let path = keep(&["model=ollama/one".to_owned()], &here).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "model = \"ollama/one\"\n");
        std::fs::write(&path, "# mine\nmodel = \"ollama/one\" # why\n\n[budget]\nsteps = 7\n").unwrap();
        keep(&["model=ollama/two".to_owned(), "budget.task_usd=1.50".to_owned()], &here).unwrap();
        let kept = std::fs::read_to_string(&path).unwrap();
        assert_eq!(kept, "# mine\nmodel = \"ollama/two\"\n\n[budget]\nsteps = 7\ntask_usd = 1.50\n");
        for wrong in ["modle=x", "budget.task_usd=much", "model=nowhere/x"] {
            assert!(keep(&[wrong.to_owned()], &here).is_err(), "{wrong}");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), kept);
    }
}
