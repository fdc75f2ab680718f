//! Copies of folders: those that no task stands on and that were not asked for in a long time go whole; of the others, the
//! layers that neither a task nor the newest copy is made of.

use super::{Clearing, KEPT};
use crate::blob::GRACE;
use crate::freeze::copies::{self, Held};
use crate::once;
use std::collections::HashSet;
use std::fs;
use std::io;

impl Clearing<'_> {
    /// Clears copies away, but for those of `bases`, by number and delta.
    pub fn folders(&mut self, bases: &HashSet<(u64, u64)>) -> io::Result<()> {
        let home = self.quire.home().to_owned();
        // A single command stands on a copy, and no log says so.
        if once::any(&home)? {
            return Ok(());
        }
        for id in copies::numbers(&home)? {
            // Whoever copies it at this moment uses it.
            let Some(copy) = Held::of(&home, id)? else { continue };
            let needed: HashSet<u64> = bases.iter().filter(|base| base.0 == id).map(|base| base.1).collect();
            let idle = self.is_older(&copy.used(), KEPT) || !copy.has_folder();
            if needed.is_empty() && idle && self.is_older(&copy.used(), GRACE) {
                self.cleared.copies += 1;
                self.remove(copy.dir())?;
                continue;
            }
            if !self.only_look {
                (self.watch)("squash");
                copy.squash()?;
            }
            let recent = |state: &std::path::Path| !self.is_older(state, GRACE);
            let unused = copy.unused(&needed, &recent)?;
            for state in &unused.states {
                if !self.only_look {
                    (self.watch)("forget a copy");
                    fs::remove_file(state)?;
                }
            }
            for layer in &unused.layers {
                self.cleared.copies += 1;
                self.remove(layer)?;
            }
        }
        Ok(())
    }
}
