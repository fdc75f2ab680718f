//! How much of the disk something takes: each file once, however many names it has, by its blocks and not by its length.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Counts space, over as many places as it is shown.
#[derive(Debug, Default)]
pub struct Usage {
    /// What was counted: how many of its names were seen, of how many, and its space.
    counted: HashMap<(u64, u64), (u64, u64, u64)>,
}

impl Usage {
    /// Returns the bytes on the disk of a path and all below it that were not counted before. What cannot be looked at
    /// counts nothing.
    pub fn of(&mut self, path: &Path) -> u64 {
        let mut total = 0;
        let mut open: Vec<PathBuf> = vec![path.to_owned()];
        while let Some(path) = open.pop() {
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            let (bytes, links) = (meta.blocks() * 512, if meta.is_dir() { 1 } else { meta.nlink() });
            match self.counted.entry((meta.dev(), meta.ino())) {
                Entry::Occupied(mut seen) => seen.get_mut().0 += 1,
                Entry::Vacant(new) => {
                    new.insert((1, links, bytes));
                    total += bytes;
                }
            }
            if meta.is_dir() {
                open.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
            }
        }
        total
    }

    /// Returns what of all that was counted stays on the disk when it is removed, because it has names elsewhere.
    pub fn shared(&self) -> u64 {
        self.counted.values().filter(|(seen, links, _)| seen < links).map(|(.., bytes)| bytes).sum()
    }
}

/// Returns the bytes that removing a path would give back.
pub fn freed(path: &Path) -> u64 {
    let mut usage = Usage::default();
    usage.of(path).saturating_sub(usage.shared())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_counts_once_and_a_shared_one_gives_nothing_back() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::create_dir_all(a.join("deep")).unwrap();
        fs::create_dir(&b).unwrap();
        fs::write(a.join("one"), vec![1; 100_000]).unwrap();
        fs::write(a.join("deep/two"), vec![2; 50_000]).unwrap();
        fs::hard_link(a.join("one"), a.join("again")).unwrap();
        fs::hard_link(a.join("deep/two"), b.join("two")).unwrap();
        let du = |path: &Path| {
            let out = std::process::Command::new("du").args(["-s", "-B1"]).arg(path).output().unwrap();
            String::from_utf8_lossy(&out.stdout).split('\t').next().unwrap().parse::<u64>().unwrap()
        };
        let mut usage = Usage::default();
        let (first, second) = (usage.of(&a), usage.of(&b));
        assert_eq!(first, du(&a));
        assert_eq!(first + second, du(dir.path()) - fs::metadata(dir.path()).unwrap().blocks() * 512);
        let two = fs::metadata(b.join("two")).unwrap().blocks() * 512;
        assert_eq!(freed(&a), first - two);
        assert_eq!(freed(&dir.path().join("not there")), 0);
    }
}
