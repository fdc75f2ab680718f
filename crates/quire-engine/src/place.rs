//! Where a task's files lie in the data directory, and which layer of them can be trusted.
//!
//! ```text
//! tasks/N/layers/K/      the K-th layer; all but the last are sealed
//! tasks/N/layers/K.boot  the boot in which an unsealed layer was begun; overlays are mounted without syncing
//! tasks/N/run/           what the running sandbox needs; worthless afterwards
//! tasks/N/out/           whole outputs, as the hand leaves them
//! tasks/N/accept-A.*     the journal of an accept; undo-A.* likewise
//! ```

use crate::rooted::replace_file;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

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

    /// Returns the layers below `number`, newest first.
    pub fn layers_below(&self, number: u32) -> Vec<PathBuf> {
        (0..number).rev().map(|n| self.layer(n)).filter(|layer| layer.is_dir()).collect()
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

    /// Removes everything but journals.
    pub fn clear(&self) -> io::Result<()> {
        ["layers", "run", "out", "check"]
            .iter()
            .try_for_each(|dir| crate::freeze::remove_tree(&self.0.join(dir)))
    }

    fn boot_note(&self, number: u32) -> PathBuf {
        self.0.join("layers").join(format!("{number}.boot"))
    }
}

fn boot() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
}
