//! Where the demo plays: a directory of its own with a home of quire's beside the sample folders, so that the person's own
//! tasks and settings are neither read nor touched. At the end only the sample folders stay, and those only if all went well.

use super::Sample;
use quire_core::Hash;
use quire_engine::freeze::remove_tree;
use quire_engine::settings::Surroundings;
use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// So many results of earlier demos may lie there.
const EARLIER_MAX: u32 = 10_000;

pub struct Stage {
    dir: PathBuf,
    keeps: bool,
}

impl Stage {
    /// Makes a new directory in the person's cache, or where there is none, in that for temporary files.
    pub fn new(here: &Surroundings) -> io::Result<Stage> {
        let variable = |name: &str| here.env.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let cache = variable("XDG_CACHE_HOME").or_else(|| Some(here.home()?.join(".cache")));
        let cached = cache.and_then(|cache| make_in(&cache.join("quire"), "demo-").ok());
        let dir = match cached {
            Some(dir) => dir,
            None => make_in(&std::env::temp_dir(), "quire-demo-")?,
        };
        let stage = Stage { dir: dir.canonicalize()?, keeps: false };
        private_dir(&stage.home())?;
        Ok(stage)
    }

    pub fn folder(&self, sample: &Sample) -> PathBuf {
        self.dir.join(sample.name)
    }

    /// Where quire keeps the demo's tasks.
    fn home(&self) -> PathBuf {
        self.dir.join(".quire")
    }

    pub fn tape(&self, sample: &Sample) -> PathBuf {
        self.home().join(sample.tape_name())
    }

    /// Returns the surroundings in which quire works here: the person's, but for everything that is quire's own.
    pub fn surroundings(&self, here: &Surroundings) -> Surroundings {
        let mut env = here.env.clone();
        env.retain(|name, _| !name.starts_with("QUIRE_"));
        for name in ["QUIRE_HOME", "XDG_CONFIG_HOME"] {
            env.insert(name.to_owned(), self.home().display().to_string());
        }
        Surroundings { env, cwd: self.dir.clone() }
    }

    /// Writes a sample's folder and its tape.
    pub fn set(&self, sample: &Sample, content: impl Fn(&str) -> io::Result<String>) -> io::Result<()> {
        for path in sample.paths() {
            let file = self.folder(sample).join(path);
            if let Some(parent) = file.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(&file, content(&format!("{}/{path}", sample.name))?)?;
        }
        fs::write(self.tape(sample), content(&sample.tape_name())?)
    }

    /// Takes everything away but the sample folders.
    pub fn keep_folders(mut self) -> io::Result<PathBuf> {
        remove_tree(&self.home())?;
        self.keeps = true;
        Ok(self.dir.clone())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.keeps
            && let Err(error) = remove_tree(&self.dir)
        {
            super::say(&format!("{} could not be removed: {error}.", self.dir.display()));
        }
    }
}

/// Makes the first directory `PREFIX1`, `PREFIX2`, ... in `parent` that is not there yet.
fn make_in(parent: &Path, prefix: &str) -> io::Result<PathBuf> {
    fs::create_dir_all(parent)?;
    for number in 1..EARLIER_MAX {
        let dir = parent.join(format!("{prefix}{number}"));
        match private_dir(&dir) {
            Ok(()) => return Ok(dir),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Returns one hash over the name, kind, mode and content of everything in a folder. It is made by reading the folder, not by
/// asking the engine, or it would prove nothing about it.
pub fn tree_hash(folder: &Path) -> io::Result<Hash> {
    let mut all = Vec::new();
    add_tree(folder, &mut all)?;
    Ok(Hash::of(&all))
}

fn add_tree(path: &Path, all: &mut Vec<u8>) -> io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    let content = if meta.is_dir() {
        let mut names: Vec<_> = fs::read_dir(path)?.map(|e| Ok(e?.file_name())).collect::<io::Result<_>>()?;
        names.sort();
        for name in &names {
            add_tree(&path.join(name), all)?;
        }
        names.join(std::ffi::OsStr::new("\0")).as_bytes().to_vec()
    } else if meta.is_symlink() {
        fs::read_link(path)?.as_os_str().as_bytes().to_vec()
    } else {
        fs::read(path)?
    };
    // Each part with its length, so that no two trees read the same.
    let name = path.file_name().unwrap_or_default().as_bytes();
    all.extend((name.len() as u64).to_le_bytes());
    all.extend(name);
    all.extend(meta.mode().to_le_bytes());
    all.extend((content.len() as u64).to_le_bytes());
    all.extend(content);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn any_difference_in_a_tree_gives_another_hash() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        let mut seen = vec![tree_hash(dir.path()).unwrap()];
        let steps: [&dyn Fn(); 7] = [
            &|| fs::write(at("a"), "").unwrap(),
            &|| fs::write(at("a"), "x").unwrap(),
            &|| fs::rename(at("a"), at("b")).unwrap(),
            &|| fs::set_permissions(at("b"), fs::Permissions::from_mode(0o755)).unwrap(),
            &|| fs::create_dir(at("c")).unwrap(),
            &|| fs::rename(at("b"), at("c/b")).unwrap(),
            &|| std::os::unix::fs::symlink("c", at("d")).unwrap(),
        ];
        for step in steps {
            step();
            let hash = tree_hash(dir.path()).unwrap();
            assert_eq!(hash, tree_hash(dir.path()).unwrap());
            assert!(!seen.contains(&hash));
            seen.push(hash);
        }
    }
}
