//! Where a task's files lie in the data directory, and which layer of them can be trusted.
//!
//! ```text
//! tasks/N/layers/K/      the K-th layer; all but the last are sealed
//! tasks/N/layers/K.all/  the layers up to K as one, for who stands on them all; they stay for who asks for an earlier one
//! tasks/N/layers/K.boot  the boot in which an unsealed layer was begun; overlays are mounted without syncing
//! tasks/N/run/           what the running sandbox needs; worthless afterwards
//! tasks/N/out/           whole outputs, as the hand leaves them
//! tasks/N/fold           the fold of a long log, to begin with (`store/kept.rs`)
//! tasks/N/seen/        what its person has looked at (`seen.rs`)
//! tasks/N/git-PID/       what a process needs for git's work; `bring-PID` likewise
//! tasks/N/accept-A.*     the journal of an accept; undo-A.* and undo-A-T.* likewise
//! ```

use crate::rooted::replace_file;
use crate::stack::Stack;
use quire_core::task::Span;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Sealed layers that a sandbox stands on at most, unless they cannot be made one.
const LAYERS_MAX: usize = 16;

/// For what a process needs a directory.
#[derive(Clone, Copy)]
pub enum Scratch {
    /// A commit.
    Git,
    /// What an agent committed.
    Bring,
}

impl Scratch {
    fn name(self) -> &'static str {
        match self {
            Scratch::Git => "git-",
            Scratch::Bring => "bring-",
        }
    }
}

/// A task's directory.
#[derive(Clone, Debug)]
pub struct Place(PathBuf);

impl Place {
    pub fn of(home: &Path, task: u64) -> Place {
        Place(home.join("tasks").join(task.to_string()))
    }

    pub fn dir(&self) -> &Path {
        &self.0
    }

    pub fn layer(&self, number: u32) -> PathBuf {
        self.0.join("layers").join(number.to_string())
    }

    /// Returns the layers of a line, newest first: as few as show them all. Those of other tasks lie where they were made.
    pub fn layers(&self, line: &[Span]) -> Vec<PathBuf> {
        let mut layers = vec![];
        for span in line.iter().rev() {
            let place = self.beside(span.task);
            for n in (span.from..span.to).rev() {
                // What a line has below a layer never changes.
                let all = place.squashed(n);
                if all.is_dir() {
                    layers.push(all);
                    return layers;
                }
                layers.extend(Some(place.layer(n)).filter(|layer| layer.is_dir()));
            }
        }
        layers
    }

    fn beside(&self, task: u64) -> Place {
        Place(self.0.with_file_name(task.to_string()))
    }

    /// Makes the layers of a line one where they have become many and the last is the task's own. `under` is what they stand
    /// on, as for [`quire_sandbox::squash()`]. A crash leaves it undone.
    pub fn squash(&self, line: &[Span], under: &dyn Fn(&Path) -> io::Result<Stack>) -> io::Result<()> {
        let layers = self.layers(line);
        let last = line.last().filter(|last| self.beside(last.task).0 == self.0);
        let Some(number) = last.map(|last| last.to).filter(|_| layers.len() > LAYERS_MAX) else {
            return Ok(());
        };
        let new = self.0.join("layers/new");
        crate::freeze::remove_tree(&new)?;
        let made = quire_sandbox::squash(&layers, &new, under)
            .and_then(|()| fs::rename(&new, self.squashed(number - 1)))
            .and_then(|()| crate::rooted::sync_dir(&self.0.join("layers")));
        if made.is_err() {
            crate::freeze::remove_tree(&new)?;
        }
        made
    }

    fn squashed(&self, number: u32) -> PathBuf {
        self.0.join("layers").join(format!("{number}.all"))
    }

    pub fn given(&self) -> PathBuf {
        self.0.join("given")
    }

    pub fn out(&self) -> PathBuf {
        self.0.join("out")
    }

    /// Returns a directory for a sandbox to run in, which no other had. The sandbox makes it.
    pub fn run(&self) -> io::Result<PathBuf> {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let runs = self.0.join("run");
        fs::create_dir_all(&runs)?;
        Ok(runs.join(format!("{}-{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed))))
    }

    /// Returns a directory for this process alone, for some work of git's, which makes it and removes it.
    pub fn scratch(&self, work: Scratch) -> PathBuf {
        self.0.join(format!("{}{}", work.name(), std::process::id()))
    }

    /// Removes what processes that were killed left of such directories.
    pub fn clear_scratch(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.0).into_iter().flatten() {
            let entry = entry?;
            let name = entry.file_name();
            let pid = [Scratch::Git, Scratch::Bring]
                .iter()
                .find_map(|work| name.to_str()?.strip_prefix(work.name())?.parse::<u32>().ok());
            if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
                crate::freeze::remove_tree(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Makes sure that no sandbox of an earlier driver lives, and removes what they ran in.
    pub fn bury(&self) -> io::Result<()> {
        let runs = match fs::read_dir(self.0.join("run")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            runs => runs?,
        };
        for run in runs {
            let run = run?.path();
            quire_sandbox::bury(&run)?;
            crate::freeze::remove_tree(&run)?;
        }
        Ok(())
    }

    /// Returns whether the layer may hold what a power cut left of an earlier boot.
    pub fn is_torn(&self, number: u32) -> io::Result<bool> {
        match fs::read_to_string(self.boot_note(number)) {
            Ok(begun) => Ok(begun != boot()?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns whether the layer was begun.
    pub fn has_begun(&self, number: u32) -> bool {
        self.boot_note(number).exists()
    }

    /// Notes that the layer is begun, or whole, in this boot. The note is on the disk when this returns: it must not be
    /// lost with what it warns of.
    pub fn begin_layer(&self, number: u32) -> io::Result<()> {
        fs::create_dir_all(self.layer(number))?;
        let boot = boot()?;
        if fs::read_to_string(self.boot_note(number)).is_ok_and(|noted| noted == boot) {
            return Ok(());
        }
        replace_file(&self.0.join("layers"), &format!("{number}.boot"), boot.as_bytes())
    }

    /// Removes every layer: what the task wrote is gone, and what it stands on is as it was frozen.
    pub fn drop_layers(&self) -> io::Result<()> {
        crate::freeze::remove_tree(&self.0.join("layers"))
    }

    /// Removes everything but journals, and but the layers where other tasks stand on them.
    pub fn clear(&self, lends: bool) -> io::Result<()> {
        let all = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            all => all?,
        };
        for entry in all {
            let entry = entry?;
            let name = entry.file_name();
            let is_journal = ["accept-", "undo-"].iter().any(|begins| {
                std::os::unix::ffi::OsStrExt::as_bytes(name.as_os_str()).starts_with(begins.as_bytes())
            });
            let is_lent = lends && ["layers", "given"].iter().any(|lent| name == *lent);
            if !is_journal && !is_lent {
                crate::freeze::remove_tree(&entry.path())?;
            }
        }
        Ok(())
    }

    fn boot_note(&self, number: u32) -> PathBuf {
        self.0.join("layers").join(format!("{number}.boot"))
    }
}

fn boot() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_worked_in_goes_and_what_one_works_in_stays() {
        let home = tempfile::tempdir().unwrap();
        let place = Place::of(home.path(), 1);
        place.clear_scratch().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let name = |what: &str, pid: u32| format!("{what}-{pid}");
        let (dead, alive) = (child.id(), std::process::id());
        let kept = ["accept-0".to_owned(), name("bring", alive), name("git", alive), "git-x".to_owned()];
        for dir in [name("git", dead), name("bring", dead)].iter().chain(&kept) {
            fs::create_dir_all(place.dir().join(dir).join("objects")).unwrap();
        }
        place.clear_scratch().unwrap();
        let mut left: Vec<_> =
            fs::read_dir(place.dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        let mut kept = kept.map(std::ffi::OsString::from);
        kept.sort();
        assert_eq!(left, kept);
        assert_eq!([Scratch::Git, Scratch::Bring].map(|work| place.scratch(work).is_dir()), [true, true]);
    }

    /// What skills gave, an edited plan and the note of what moved stayed with a task that was dropped.
    #[test]
    fn of_a_task_that_is_dropped_the_journals_alone_stay() {
        let home = tempfile::tempdir().unwrap();
        let place = Place::of(home.path(), 1);
        place.clear(false).unwrap();
        for dir in ["layers/0/folder-0", "run/1-0", "given/skills", "moved/0"] {
            fs::create_dir_all(place.dir().join(dir)).unwrap();
        }
        for file in ["accept-0.json", "undo-0.stage", "live.json", "plan-0123.md"] {
            fs::write(place.dir().join(file), "").unwrap();
        }
        place.clear(false).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(place.dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["accept-0.json", "undo-0.stage"]);
    }
}
