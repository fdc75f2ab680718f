//! The keys of model providers: from the environment, or from `keys.toml`, which `quire models add` writes. A key is held
//! in a [`Secret`], which nothing prints, and is never part of a task's log. So are the secrets of `[secrets]`, which stand
//! in the same places under the names of their variables.

use crate::plain_file::read_start;
use crate::rooted::{lock_within, replace};
use crate::settings::Surroundings;
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use quire_core::Secret;

const FILE_BYTES_MAX: usize = 1 << 20;
/// Longest time for which another command may be storing one.
const LOCKED_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("{} cannot be read: {source}.", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} cannot be written: {source}.", .path.display())]
    Unwritable { path: PathBuf, source: io::Error },
    /// The file's text is not repeated: it holds keys.
    #[error("{} is not a list of PROVIDER = \"KEY\".", .path.display())]
    Format { path: PathBuf },
    #[error("{} can be read by others (mode {mode:03o}).", .path.display())]
    Open { path: PathBuf, mode: u32 },
    #[error("There is no place for keys: neither HOME nor XDG_CONFIG_HOME is set.")]
    NoPlace,
}

/// What `keys.toml` holds: keys by provider, secrets by variable.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    stored: BTreeMap<String, Secret>,
}

impl Keys {
    /// Returns the stored keys; none where the file is not there. A file that others can read is refused.
    pub fn read(surroundings: &Surroundings) -> Result<Keys, KeysError> {
        let Some(path) = path(surroundings) else { return Ok(Keys::default()) };
        let unreadable = |source| KeysError::Unreadable { path: path.clone(), source };
        let Some(start) = read_start(&path, FILE_BYTES_MAX).map_err(unreadable)? else {
            return Ok(Keys::default());
        };
        let mode = start.file.metadata().map_err(unreadable)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeysError::Open { path, mode });
        }
        let format = || KeysError::Format { path: path.clone() };
        let text = String::from_utf8(start.bytes).map_err(|_| format())?;
        let table: BTreeMap<String, String> = toml::from_str(&text).map_err(|_| format())?;
        let secret = |(name, key): (String, String)| Some((name, Secret::new(&key)?));
        Ok(Keys { stored: table.into_iter().map(secret).collect::<Option<_>>().ok_or_else(format)? })
    }

    /// Returns the key of a provider: from the variable `key_env`, else the stored one. A provider without `key_env` is
    /// sent none.
    pub fn find(&self, provider: &str, key_env: Option<&str>, surroundings: &Surroundings) -> Option<Secret> {
        let variable = surroundings.env.get(key_env?).and_then(|text| Secret::new(text));
        variable.or_else(|| self.stored.get(provider).cloned())
    }

    /// Returns a secret of the person's: from the variable of its name, else the stored one.
    pub fn secret(&self, name: &str, surroundings: &Surroundings) -> Option<Secret> {
        let variable = surroundings.env.get(name).and_then(|text| Secret::new(text));
        variable.or_else(|| self.stored.get(name).cloned())
    }

    /// Stores a key in the place of any other of this provider, beside what is stored now, and returns the file. It is whole at
    /// every moment.
    pub fn store(
        &mut self,
        provider: &str,
        key: Secret,
        surroundings: &Surroundings,
    ) -> Result<PathBuf, KeysError> {
        let path = path(surroundings).ok_or(KeysError::NoPlace)?;
        let unwritable = |source| KeysError::Unwritable { path: path.clone(), source };
        // Another command may have stored one since this was read, or be about to.
        let _held = lock_dir(&path).map_err(unwritable)?;
        self.stored = Keys::read(surroundings)?.stored;
        self.stored.insert(provider.to_owned(), key);
        let table: BTreeMap<&str, &str> =
            self.stored.iter().map(|(name, key)| (name.as_str(), key.expose())).collect();
        let text = toml::to_string(&table).map_err(|_| KeysError::Format { path: path.clone() })?;
        replace(&path, text.as_bytes(), 0o600).map_err(unwritable)?;
        Ok(path)
    }
}

fn path(surroundings: &Surroundings) -> Option<PathBuf> {
    surroundings.config_dir().map(|dir| dir.join("keys.toml"))
}

/// Makes the file's directory one that only its owner can enter, and holds it locked.
fn lock_dir(path: &Path) -> io::Result<File> {
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    let dir = File::open(dir)?;
    lock_within(&dir, LOCKED_MAX)?;
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(dir: &Path, env: &[(&str, &str)]) -> Surroundings {
        let mut env: BTreeMap<String, String> =
            env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        env.insert("XDG_CONFIG_HOME".to_owned(), dir.display().to_string());
        Surroundings { env, cwd: dir.to_owned() }
    }

    #[test]
    fn a_key_is_stored_privately_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let here = surroundings(dir.path(), &[]);
        let mut keys = Keys::read(&here).unwrap();
        assert_eq!(keys.find("lab", Some("K"), &here), None);
        keys.store("other", Secret::new("sk-other").unwrap(), &here).unwrap();
        let path = keys.store("lab", Secret::new(" sk-1 \n").unwrap(), &here).unwrap();
        keys.store("lab", Secret::new("sk-2").unwrap(), &here).unwrap();

        let mode = |p: &Path| fs::metadata(p).unwrap().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        let keys = Keys::read(&here).unwrap();
        let found = |provider, key_env, env: &[(&str, &str)]| {
            keys.find(provider, key_env, &surroundings(dir.path(), env)).map(|k| k.expose().to_owned())
        };
        assert_eq!(found("lab", Some("K"), &[]).as_deref(), Some("sk-2"));
        assert_eq!(found("lab", None, &[("K", "sk-env")]), None);
        assert_eq!(found("other", Some("K"), &[]).as_deref(), Some("sk-other"));
        assert_eq!(found("lab", Some("K"), &[("K", "sk-env")]).as_deref(), Some("sk-env"));
        assert_eq!(found("lab", Some("K"), &[("K", "")]).as_deref(), Some("sk-2"));
        assert_eq!(found("none", Some("K"), &[("OTHER", "x")]), None);
    }

    /// Each wrote the table that it had read when it began to ask the provider.
    #[test]
    fn two_who_store_a_key_at_once_lose_none() {
        let dir = tempfile::tempdir().unwrap();
        let here = surroundings(dir.path(), &[]);
        let (mut one, mut other) = (Keys::read(&here).unwrap(), Keys::read(&here).unwrap());
        one.store("lab", Secret::new("sk-1").unwrap(), &here).unwrap();
        other.store("other", Secret::new("sk-2").unwrap(), &here).unwrap();
        let all = Keys::read(&here).unwrap();
        assert_eq!(all.stored.keys().collect::<Vec<_>>(), ["lab", "other"]);
    }

    #[test]
    fn a_key_is_never_printed() {
        let mut keys = Keys::default();
        keys.stored.insert("lab".to_owned(), Secret::new("sk-secret").unwrap());
        assert!(!format!("{keys:?}").contains("sk-secret"));
        let here = surroundings(Path::new("/"), &[("LAB_KEY", "sk-secret")]);
        assert!(!format!("{here:?}").contains("sk-secret"));
        for no_key in ["", "  ", "a b", "a\nb", "schl\u{fc}ssel"] {
            assert_eq!(Secret::new(no_key), None, "{no_key:?}");
        }
    }

    #[test]
    fn a_file_that_is_open_or_broken_is_refused_without_its_text() {
        let dir = tempfile::tempdir().unwrap();
        let here = surroundings(dir.path(), &[]);
        let path = Keys::default().store("lab", Secret::new("sk-secret").unwrap(), &here).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Keys::read(&here), Err(KeysError::Open { mode: 0o640, .. })));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        for text in ["lab = sk-secret", "lab = 3", "[lab]\nkey = 'sk-secret'", "lab = 'sk secret'"] {
            fs::write(&path, text).unwrap();
            let error = Keys::read(&here).unwrap_err();
            assert!(matches!(error, KeysError::Format { .. }), "{text}");
            assert!(!format!("{error} {error:?}").contains("secret"), "{text}");
        }
    }
}
