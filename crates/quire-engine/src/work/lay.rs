//! Laying out the layers that a turn stands on: what a dead host left in them, what a power cut spoiled, what a task goes back to, and what
//! another kind of sandbox needs.

use super::{Undone, Work, blocking, disk, lock, snapshot_trouble};
use crate::freeze::{self, Frozen};
use crate::ladder::Standing;
use crate::live;
use crate::snapshot::{self, Seen};
use quire_core::{Event, Hash, Task};
use quire_sandbox::layer;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl Work {
    /// Makes the layer of this turn ready, which a sandbox of a dead host may still hold; `Some` where a power cut spoiled it and it was made anew.
    pub async fn open_layer(self: &Arc<Work>, task: &Task) -> Result<Option<Event>, Undone> {
        let work = self.clone();
        blocking(move || work.place.bury().map_err(disk)).await?;
        if task.bases.is_none() {
            return Ok(None);
        }
        let standing = self.standing()?;
        if !task.rung.is_empty() && task.rung != standing.rung.to_string() {
            return self.move_to(task, standing).await.map(Some);
        }
        let begins = task.begins_laid() && !self.place.has_begun(task.layer);
        if !begins && !self.place.is_torn(task.layer).map_err(disk)? {
            self.settle_left(task).await?;
            return Ok(None);
        }
        let (frozen, layer, work) = (self.frozen(task)?, self.place.layer(task.layer), self.clone());
        let (snapshot, number, line) = (task.snapshot, task.layer, task.line().clone());
        // What a task that began in another one sees of the machine is as it is now.
        let noted = (begins && task.origin().is_some()).then(|| task.charter.clone());
        blocking(move || {
            freeze::remove_tree(&layer).map_err(disk)?;
            if let Some(id) = snapshot {
                work.lay_out(&id, &frozen, &work.place.layers(&line), &layer)?;
            }
            if let Some(charter) = noted {
                let folders = charter.folders.iter().zip(frozen.iter());
                let ignored =
                    folders.flat_map(|(folder, frozen)| frozen.ignored.iter().map(|dir| folder.join(dir)));
                live::note(work.place.dir(), ignored).map_err(disk)?;
            }
            work.place.begin_layer(number).map_err(disk)
        })
        .await?;
        Ok((!begins).then_some(Event::Restored { layer: number }))
    }

    /// The task stands where it stood before: what was known of where it went is not true any more.
    pub fn go_back(&self) {
        *lock(&self.frozen) = None;
        *lock(&self.seen) = Seen::default();
        lock(&self.looked).clear();
    }

    /// Returns the open layer and those below it.
    pub(super) fn layers_now(&self, task: &Task) -> Vec<PathBuf> {
        let open = Some(self.place.layer(task.layer)).filter(|layer| layer.is_dir());
        open.into_iter().chain(self.place.layers(task.line())).collect()
    }

    /// Brings what a killed host left in working copies into the layer.
    async fn settle_left(self: &Arc<Work>, task: &Task) -> Result<(), Undone> {
        let layer = self.place.layer(task.layer);
        if !quire_sandbox::has_left(&layer) {
            return Ok(());
        }
        let spec = self.spec(task, layer, self.place.layers(task.line()), None)?;
        blocking(move || quire_sandbox::settle_left(&spec).map_err(disk)).await
    }

    /// Puts the task onto another rung than its layers were made on: what they show of the folders becomes one layer in the
    /// new form. The rest of the machine is as it is.
    async fn move_to(self: &Arc<Work>, task: &Task, standing: Standing) -> Result<Event, Undone> {
        self.settle_left(task).await?;
        let (frozen, work, number) = (self.frozen(task)?, self.clone(), task.layer);
        let rung = standing.rung;
        let layers = self.layers_now(task);
        // What another task lends may have been replaced there, and what it is to begin with may not be laid yet.
        let lent = task.line().iter().any(|span| span.task != task.id);
        let known = task.snapshot.filter(|_| lent || task.begins_laid() && !self.place.has_begun(number));
        blocking(move || {
            let seen = &mut Seen::default();
            let now = match known {
                Some(known) => work.load_snapshot(&known)?,
                None => {
                    snapshot::snapshot(&frozen, &layers, seen, work.store.blobs())
                        .map_err(snapshot_trouble)?
                        .1
                }
            };
            let moved = work.place.dir().join("moved");
            freeze::remove_tree(&moved).map_err(disk)?;
            std::fs::create_dir_all(&moved).map_err(disk)?;
            // Below the open layer, so that what was sealed shows it too.
            let made = moved.join("0");
            let owner = rung.shifts_owners().then_some(quire_sandbox::INSIDE_BASE);
            snapshot::restore(&now, &frozen, &made, owner, work.store.blobs()).map_err(snapshot_trouble)?;
            layer::note_marks(&made, rung.marks()).map_err(disk)?;
            // At once, so that whoever dies here leaves the old ones or the new.
            let all = work.place.dir().join("layers");
            std::fs::create_dir_all(&all).map_err(disk)?;
            let (cwd, exchange) = (rustix::fs::CWD, rustix::fs::RenameFlags::EXCHANGE);
            rustix::fs::renameat_with(cwd, &moved, cwd, &all, exchange).map_err(|e| disk(e.into()))?;
            freeze::remove_tree(&moved).map_err(disk)?;
            work.place.begin_layer(number).map_err(disk)
        })
        .await?;
        Ok(Event::Moved { layer: number, rung: rung.to_string(), weak: standing.weak })
    }

    /// Fills `layer` so that, above `sealed`, the folders are as in a snapshot.
    pub(super) fn lay_out(
        &self,
        id: &Hash,
        frozen: &[Frozen],
        sealed: &[PathBuf],
        layer: &Path,
    ) -> Result<(), Undone> {
        let rung = self.standing()?.rung;
        let owner = rung.shifts_owners().then_some(quire_sandbox::INSIDE_BASE);
        let (snapshot, blobs) = (self.load_snapshot(id)?, self.store.blobs());
        let (_, sealed) =
            snapshot::snapshot(frozen, sealed, &mut Seen::default(), blobs).map_err(snapshot_trouble)?;
        let snapshot = snapshot::upon(snapshot, &sealed);
        snapshot::restore(&snapshot, frozen, layer, owner, blobs).map_err(snapshot_trouble)?;
        layer::note_marks(layer, rung.marks()).map_err(disk)
    }
}
