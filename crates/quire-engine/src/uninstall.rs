//! What quire keeps on the disk: how much each part takes, and taking all of it away again.

use crate::quire::{EngineError, Quire};
use crate::rooted::{lock_file, replaced_name};
use crate::settings::Surroundings;
use crate::usage::Usage;
use crate::{Link, desktop, facts, freeze, once, quire, trust};
use quire_core::bytes::unescape;
use quire_core::view::Summary;
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A part of what quire keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Share {
    pub kind: Kind,
    /// The task of [`Kind::Task`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<u64>,
    /// The folder of [`Kind::Copy`], else where it lies.
    pub path: PathBuf,
    /// Space on the disk. A file with several names counts with the first of them.
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// What the sandboxes of a task wrote.
    Task,
    /// The private copy of a folder.
    Copy,
    /// Contents of files: versions, what they replaced, whole outputs.
    Contents,
    /// The logs of all tasks.
    Store,
    /// What sandboxes share of the machine.
    System,
    /// The host's log.
    HostLog,
    /// The person's settings and keys.
    Settings,
    Other,
}

/// What was taken away, and what is left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Uninstalled {
    pub removed: Vec<PathBuf>,
    /// Directories of quire's with files in them that quire did not put there.
    pub left: Vec<PathBuf>,
    /// Settings and keys, which only a purge takes.
    pub kept: Vec<PathBuf>,
}

/// How long a host may take to end its work.
const HOST_ENDS: Duration = Duration::from_secs(30);

/// The names in the data directory that are quire's.
const OURS: &[&str] = &[
    "quire.db",
    "quire.db-",
    "quire.db.new",
    "blobs",
    "blobs.lock",
    "folders",
    "tasks",
    "locks",
    "once",
    crate::owed::DIR,
    "system",
    "trash",
    trust::DIR,
    "gc.lock",
    "host.lock",
    "host.log",
    "host.sock",
    facts::FILE,
    "page.key",
    "page.port",
    "quire-proof-",
    "rung.json",
    "search.db",
    "search.db-journal",
];

impl Quire {
    /// Returns what each part of what quire keeps takes; together that is all.
    pub fn usage(&self, surroundings: &Surroundings) -> Result<Vec<Share>, EngineError> {
        let mut usage = Usage::default();
        let mut shares = vec![];
        let mut add = |kind, task, path: PathBuf, shown: Option<PathBuf>| {
            let bytes = usage.of(&path);
            shares.push(Share { kind, task, path: shown.unwrap_or(path), bytes });
        };
        let at_home = |why| EngineError::Home { path: self.home().to_owned(), why };
        for (name, path) in entries(self.home()).map_err(at_home)? {
            let kind = match name.as_str() {
                "tasks" => {
                    for (name, path) in entries(&path).map_err(at_home)? {
                        add(Kind::Task, name.parse().ok(), path, None);
                    }
                    Kind::Task
                }
                "folders" => {
                    for (_, path) in entries(&path).map_err(at_home)? {
                        let folder = fs::read_to_string(path.join("folder")).ok();
                        let folder = folder.and_then(|folder| unescape(&folder));
                        add(Kind::Copy, None, path, folder.map(|raw| OsString::from_vec(raw).into()));
                    }
                    Kind::Copy
                }
                "blobs" => Kind::Contents,
                "system" => Kind::System,
                name if name.starts_with("quire.db") || name.starts_with("search.db") => Kind::Store,
                name if name.starts_with("host.log") => Kind::HostLog,
                _ => Kind::Other,
            };
            add(kind, None, path, None);
        }
        let places = [(Kind::Other, Some(self.home().to_owned()))].into_iter();
        let places = places.chain([
            (Kind::HostLog, self.log().parent().filter(|dir| *dir != self.home()).map(Path::to_owned)),
            (Kind::Settings, surroundings.config_dir()),
        ]);
        for (kind, path) in places {
            if let Some(path) = path.filter(|path| path.exists()) {
                add(kind, None, path, None);
            }
        }
        shares.retain(|share| share.bytes > 0);
        shares.sort_by(|a, b| (a.kind, b.bytes, &a.path).cmp(&(b.kind, a.bytes, &b.path)));
        Ok(shares)
    }

    /// Returns the tasks of which something would be lost with quire's data.
    pub fn open_tasks(&self) -> Result<Vec<Summary>, EngineError> {
        Ok(self.summaries()?.into_iter().filter(|task| task.is_open).collect())
    }
}

/// Ends every process of quire's and takes its data away, with `purge` the settings and keys as well. Files that are not
/// quire's stay, and the directories that they are in. No store may be open in this process.
pub async fn uninstall(surroundings: &Surroundings, purge: bool) -> Result<Uninstalled, EngineError> {
    let home = quire::home(surroundings)?;
    let log = quire::log(surroundings, &home);
    let mut done = Uninstalled::default();
    if home.is_dir() {
        let failed = |why| EngineError::Home { path: home.clone(), why };
        let home = home.canonicalize().map_err(failed)?;
        if let Some((mut link, _)) = Link::connect(&home, &log).await {
            link.stop().await;
        }
        // Held to the end, so that no other command starts the next one.
        let lock = lock_file(&home.join("host.lock")).map_err(failed)?;
        let begun = Instant::now();
        while flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            if begun.elapsed() > HOST_ENDS {
                return Err(crate::host::HostError::Running.into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        end_sandboxes(&home).map_err(failed)?;
        let is_ours = |name: &str| {
            let name = replaced_name(name).unwrap_or(name);
            OURS.iter().any(|ours| name == *ours || is_family(name, ours))
        };
        take(&home, &is_ours, &mut done).map_err(failed)?;
    }
    if let Some(dir) = log.parent().filter(|dir| dir.is_dir() && **dir != home) {
        let failed = |why| EngineError::Home { path: dir.to_owned(), why };
        take(dir, &|name| name.starts_with("host.log"), &mut done).map_err(failed)?;
    }
    if let Some(dir) = surroundings.config_dir().filter(|dir| dir.is_dir()) {
        let failed = |why| EngineError::Home { path: dir.clone(), why };
        let is_ours = |name: &str| SETTINGS.contains(&name);
        if purge {
            take(&dir, &is_ours, &mut done).map_err(failed)?;
        } else {
            let all = entries(&dir).map_err(failed)?.into_iter();
            done.kept.extend(all.filter(|(name, _)| is_ours(name)).map(|(_, path)| path));
        }
    }
    let entry = desktop::files(surroundings).into_iter();
    done.removed.extend(entry.filter(|path| fs::remove_file(path).is_ok()));
    Ok(done)
}

/// The files of settings.
const SETTINGS: &[&str] = &["config.toml", "hooks.json", "keys.toml"];

/// Returns whether `ours` is the beginning of a name, as in `quire.db-wal`.
fn is_family(name: &str, ours: &str) -> bool {
    matches!(ours, "quire.db-" | "quire.db.new" | "quire-proof-" | "host.log") && name.starts_with(ours)
}

/// Kills what runs in sandboxes of this home, and waits until it is gone.
fn end_sandboxes(home: &Path) -> io::Result<()> {
    let mut states = once::states(home)?;
    for (_, task) in entries_or_none(&home.join("tasks"))? {
        states.extend(entries_or_none(&task.join("run"))?.into_iter().map(|(_, run)| run));
    }
    states.iter().try_for_each(|state| quire_sandbox::bury(state))?;
    quire_sandbox::sweep_limits();
    Ok(())
}

/// Removes what is quire's in a directory, and the directory where nothing else is in it.
fn take(dir: &Path, is_ours: &dyn Fn(&str) -> bool, done: &mut Uninstalled) -> io::Result<()> {
    for (name, path) in entries(dir)? {
        if is_ours(&name) {
            freeze::remove_tree(&path)?;
            done.removed.push(path);
        }
    }
    match fs::remove_dir(dir) {
        Ok(()) => {
            done.removed.push(dir.to_owned());
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            done.left.push(dir.to_owned());
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn entries(dir: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut all = vec![];
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        all.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    all.sort();
    Ok(all)
}

fn entries_or_none(dir: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    match entries(dir) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(vec![])
        }
        found => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Facts;
    use crate::settings::{self, Options};

    /// Trust, what servers said of models, and hooks were left, and told to be somebody else's.
    #[tokio::test]
    async fn a_purge_leaves_nothing_that_quire_made() {
        let top = tempfile::tempdir().unwrap();
        let at = |name: &str| top.path().join(name);
        let env = [("QUIRE_HOME", "home"), ("XDG_CONFIG_HOME", "config"), ("HOME", "me")];
        let env = env.map(|(name, value)| (name.to_owned(), at(value).display().to_string()));
        let here = Surroundings { env: env.into(), cwd: at("folder") };
        std::fs::create_dir_all(at("folder/.quire")).unwrap();
        std::fs::create_dir_all(at("config/quire")).unwrap();
        let hook = r#"{"hooks":{"Stop":[{"hooks":[{"type":"command","command":"true"}]}]}}"#;
        std::fs::write(at("folder/.quire/hooks.json"), hook).unwrap();
        std::fs::write(at("config/quire/hooks.json"), hook).unwrap();
        let quire = Quire::open(&here).unwrap();
        let read = settings::read(&Options::default(), Some(&at("folder")), &here).unwrap();
        read.untrusted.unwrap().trust(quire.home()).unwrap();
        Facts::default().store(&here).unwrap();
        std::fs::write(at("home/.models.json.0123456789abcdef"), "killed in the midst").unwrap();
        drop(quire);
        let done = uninstall(&here, true).await.unwrap();
        assert_eq!(done.left, [] as [PathBuf; 0], "{done:?}");
        assert!(!at("home").exists() && !at("config/quire").exists() && at("folder/.quire").exists());
    }
}
