//! What a person decides about a version: to accept all or part of it. Done in the calling process,
//! because that is where the person is.
//!
//! What will be written is worked out first: what was chosen, with what earlier accepts left and what the person made of
//! their files meanwhile. Where that is not exactly what the task's checks ran on, they run again on exactly it, in a fresh
//! sandbox of the folder as it is now, before a byte is written; one that passed on the whole has to pass again.

use crate::accept::{self, AcceptError, Desk, Did, Drift, Drifted, Gave, Outcome, Report, part};
use crate::git::To;
use crate::live;
use crate::new_folder::NewFolder;
use crate::once;
use crate::programs::Programs;
use crate::quire::{EngineError, Quire, WRITTEN, is_own};
use crate::snapshot;
use crate::store::{AppendError, Writer};
use crate::work::load_snapshot;
use quire_core::charter::CheckSpec;
use quire_core::event::{Part, Proof};
use quire_core::task::{AcceptState, Version};
use quire_core::view::{CheckRow, DriftRow, Fate, Fit, Over, Written, WrittenFile};
use quire_core::{Entry, Event, Hash, Node, RelPath, Snapshot, Task, diff};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// What of a version a person accepts, and how.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Files and folders; with no hunks either: everything.
    pub paths: Vec<OsString>,
    /// Beginnings of hunks' names.
    pub hunks: Vec<String>,
    /// Files and folders in which the task's side is written where both changed the same; where nothing conflicts, this changes
    /// nothing.
    pub over: Vec<OsString>,
    /// The beginning of the hash that the person saw: of the version, or of what it becomes with their own edits merged.
    pub seen: Option<String>,
    /// Also files that can make something run on the person's machine.
    pub programs: bool,
    /// Without running checks on a part, or on what was merged.
    pub unchecked: bool,
    /// Commit it on HEAD's branch too.
    pub commit: bool,
    /// Where [`Quire::set_aside`] commits it, so that whoever is refused is told how to do the same again.
    pub aside: Option<Aside>,
}

/// Where a version is committed instead of being written into its folder.
#[derive(Clone, Debug)]
pub enum Aside {
    /// On a new branch of this name.
    Branch(String),
    /// Into a new file, which git reads as a repository.
    Bundle(PathBuf),
}

/// Where the task's side can be taken of what both changed.
#[derive(Clone, Debug, Default)]
pub struct Takeable {
    pub paths: HashSet<(u32, RelPath)>,
    /// What all of the version would be with it taken everywhere; `None` where something else does not fit.
    pub alone: Option<Hash>,
}

/// What would be written.
pub(crate) struct Proposal {
    pub task: Task,
    pub version: Arc<Version>,
    only: Vec<Part>,
    over: Vec<Part>,
    /// A snapshot of what was chosen, where it is not just what `only` names.
    taken: Option<Hash>,
    ignored: Option<Hash>,
    pub(crate) chosen: Vec<Entry>,
    /// With what earlier accepts left taken into account.
    entries: Vec<Entry>,
    /// The modes of what earlier accepts left.
    given: accept::Given,
    is_part: bool,
}

/// What would be written, and that it passes.
pub(crate) struct Proved {
    pub plan: accept::Plan,
    pub built: Snapshot,
    /// Empty where it is what the checks had run on.
    pub proofs: Vec<(CheckSpec, Proof)>,
}

impl Quire {
    /// Writes the last version, or what of it was chosen, into the real folders. Blocks, for as long as checks take where they
    /// have to run again; not to be called in an async task.
    pub fn accept(&self, id: u64, choice: &Choice) -> Result<Written, EngineError> {
        let proposal = self.propose(id, choice)?;
        let Proposal { task, version, .. } = &proposal;
        let _folder = NewFolder::made(&task.charter)
            .map_err(|why| AcceptError::Open { folder: task.charter.folders[0].clone(), why })
            .map_err(EngineError::accept(id))?;
        let Proved { plan, built, proofs } = self.proved(&proposal, choice)?;
        let merged = match plan.is_fitted() {
            false => None,
            true => self.store().blobs().put(&[&built.to_blob()])?.pop(),
        };
        let (over, files) = (plan.over().to_vec(), merged_in(&plan));
        let gone = self.gone(task, version, &proposal.chosen);
        let number = task.accepts.len() as u32;
        let to_commit = match choice.commit {
            true => Some(self.with_standing(&proposal, &built)?),
            false => None,
        };
        if let Some(to_commit) = &to_commit {
            self.may_commit(task, to_commit, To::Head)?;
        }
        let owed = self.owe(&proposal, number, to_commit.as_ref())?;
        let begin = Event::Accepting {
            accept: number,
            snapshot: version.snapshot,
            only: proposal.only.clone(),
            ignored: proposal.ignored,
            taken: proposal.taken,
            merged,
            proofs: proofs.iter().map(|(_, proof)| proof.clone()).collect(),
            programs: choice.programs,
        };
        self.begin_writing(task, begin)?;
        let report = self.carry(task, number, false, plan)?;
        let rows = proofs.iter().map(|(spec, proof)| CheckRow::of(spec, Some(proof)));
        let (git, is_committed) = self.accepted_in_git(&proposal, number, to_commit.as_ref());
        if let Some(owed) = owed.filter(|_| is_committed) {
            owed.pay_off();
        }
        Ok(Written {
            gone,
            checks: rows.collect(),
            git,
            ..written(task, number, false, &report, files, &over)
        })
    }

    /// Works out what would be written; where that is not exactly what the checks ran on, they run again on it.
    pub(crate) fn proved(&self, proposal: &Proposal, choice: &Choice) -> Result<Proved, EngineError> {
        let Proposal { task, version, .. } = proposal;
        let id = task.id;
        let mut plan = self.plan(proposal)?;
        let built = proposal.built(&plan);
        self.is_as_seen(proposal, &built, &plan, choice)?;
        let checked = proposal.is_part || plan.is_fitted();
        let mut proofs = vec![];
        if checked && !choice.unchecked && !version.checks.is_empty() && !built.entries.is_empty() {
            // Nobody is kept waiting for the folders while checks run.
            drop(plan);
            proofs = block_on(self.prove(task, version, &built))
                .map_err(|why| EngineError::Unchecked { task: id, why: why.to_string() })??;
            plan = self.plan(proposal)?;
            if proposal.built(&plan) != built {
                return Err(EngineError::Moving { task: id });
            }
        }
        Ok(Proved { plan, built, proofs })
    }

    /// Returns what will be written, with what of the chosen an earlier accept wrote that still stands in the folders.
    fn with_standing(&self, proposal: &Proposal, built: &Snapshot) -> Result<Snapshot, EngineError> {
        let folders = &proposal.task.charter.folders;
        let standing = accept::standing(folders, &proposal.chosen, &proposal.given, self.store().blobs())
            .map_err(EngineError::accept(proposal.task.id))?;
        let all = standing.iter().chain(&built.entries);
        let all: BTreeMap<_, _> = all.map(|e| ((e.folder, e.path.clone()), e.clone())).collect();
        Ok(Snapshot { entries: all.into_values().collect() })
    }

    /// Works out what was chosen; nothing is written.
    pub(crate) fn propose(&self, id: u64, choice: &Choice) -> Result<Proposal, EngineError> {
        let task = self.task(id)?;
        if task.is_being_written() {
            return Err(EngineError::Not { task: id, why: WRITTEN });
        }
        is_own(&task)?;
        let version = self.reviewable(&task)?;
        if !task.is_at_rest() {
            return Err(EngineError::Not {
                task: id,
                why: "is at work; let it end, or stop it to take the version before",
            });
        }
        let parts = |paths: &[OsString]| -> Result<Vec<Part>, EngineError> {
            paths.iter().map(|path| path_of(&task, path)).collect()
        };
        let (only, over) = (parts(&choice.paths)?, parts(&choice.over)?);
        let (mut earlier, mut ignored_earlier) = (vec![], vec![]);
        let (desk, mut given) = (self.desk(id), accept::Given::default());
        let own = task.accepts.iter().enumerate().skip(task.accepts_in_base);
        for (number, accept) in own.filter(|(_, a)| a.state == AcceptState::Done) {
            let back: HashSet<(u32, &RelPath)> =
                accept.taken_back().map(|part| (part.folder, &part.path)).collect();
            let before = given.clone();
            given.add(&desk, number as u32);
            given.take_back(&before, &back);
            let is_back = |entry: &Entry| back.contains(&(entry.folder, &entry.path));
            if accept.was_whole() {
                // A whole version leaves nothing of those before it, but for what is ignored, and what came back since.
                earlier.retain(is_back);
            }
            let taken = match &accept.taken {
                Some(taken) => load_snapshot(self.store(), taken)?.entries,
                None => part::select(&load_snapshot(self.store(), &accept.snapshot)?, &accept.only),
            };
            earlier.extend(taken.into_iter().filter(|entry| !is_back(entry)));
            if let Some(ignored) = &accept.ignored {
                let taken = load_snapshot(self.store(), ignored)?.entries;
                ignored_earlier.extend(taken.into_iter().filter(|entry| !is_back(entry)));
            }
        }
        let frozen = self.frozen(&task)?;
        let mut changed = load_snapshot(self.store(), &version.snapshot)?;
        let mut ignored = None;
        let whole = changed.entries.clone();
        if !only.is_empty() {
            // Ignored paths are taken when named, from the layers: a version does not have them.
            let layers = self.place(id).layers(&version.line);
            let found =
                snapshot::ignored(&frozen, &task.charter.folders, &layers, &only, self.store().blobs())?;
            if !found.made.is_empty() {
                let made = Snapshot { entries: found.made.clone() }.to_blob();
                ignored = self.store().blobs().put(&[&made])?.pop();
            }
            changed.entries.extend(found.made.into_iter().chain(found.live));
        }
        let read = |entry: &Entry| -> Result<Option<part::Texts>, EngineError> {
            let side = |node: &Option<Node>, content: Option<Vec<u8>>| match node {
                Some(Node::File { .. }) => content,
                _ => Some(vec![]),
            };
            let (was, now) = self.contents(&frozen, entry, crate::quire::COMPARED_BYTES_MAX)?;
            let text = side(&entry.was, was).zip(side(&entry.now, now));
            Ok(text.filter(|(was, now)| !diff::is_binary(was) && !diff::is_binary(now)))
        };
        let part::Chosen { entries: chosen, contents } =
            part::choose(&changed, &only, &choice.hunks, &read, &EngineError::accept(id))?;
        let contents: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
        self.store().blobs().put(&contents)?;
        if let Some(part) = over.iter().find(|part| !changed.entries.iter().any(|e| part::is_part(e, part))) {
            return Err(EngineError::accept(id)(AcceptError::NotChanged(part.path.clone())));
        }
        let is_part = !only.is_empty() || !choice.hunks.is_empty();
        let (mut only, is_all) = (only, has_all(&whole, &earlier, &chosen));
        let taken = match chosen == part::select(&changed, &only) && choice.hunks.is_empty() {
            _ if is_all => None,
            true => None,
            false => self.store().blobs().put(&[&Snapshot { entries: chosen.clone() }.to_blob()])?.pop(),
        };
        if is_all {
            only.clear(); // with the parts before it is the whole version, whatever was named now
        }
        // What was taken of ignored directories is only ever taken again by name, and never put back by a whole version.
        let named: HashSet<(u32, &RelPath)> = chosen.iter().map(|c| (c.folder, &c.path)).collect();
        let again = |e: &Entry| named.contains(&(e.folder, &e.path));
        earlier.extend(ignored_earlier.into_iter().filter(again));
        let entries = accept::following(chosen.clone(), !is_part, &earlier);
        let entries: Vec<Entry> = entries.into_iter().map(|entry| given.was(entry)).collect();
        if !choice.programs {
            // What stands there since an earlier accept was said yes to.
            let written: HashSet<(u32, &RelPath)> = entries.iter().map(|e| (e.folder, &e.path)).collect();
            let comes = chosen.iter().filter(|e| written.contains(&(e.folder, &e.path)));
            let coming: Vec<Entry> = comes.cloned().collect();
            let paths = Programs::of(&task.charter.folders, &coming).among(&coming, &read)?;
            if !paths.is_empty() {
                return Err(EngineError::Programs { task: id, paths });
            }
        }
        Ok(Proposal { task, version, only, over, taken, ignored, chosen, entries, given, is_part })
    }

    /// Returns what an accept of the whole version would meet in the folders now; nothing while it cannot be accepted.
    pub fn drift(&self, task: &Task) -> Result<Vec<DriftRow>, EngineError> {
        let is_looked_at = task.is_at_rest() && !task.is_being_written() && task.imported_from().is_none();
        // Who only looks does not wait for an accept of another task's into these folders.
        if !is_looked_at || accept::is_busy(self.home(), &task.charter.folders) {
            return Ok(vec![]);
        }
        let all = Choice { programs: true, ..Choice::default() };
        match self.propose(task.id, &all).and_then(|proposal| self.plan(&proposal)) {
            Ok(plan) => {
                let merges = |e: &Entry| DriftRow {
                    folder: e.folder,
                    path: e.path.clone(),
                    fit: Fit::Merges,
                    overlaps: vec![],
                };
                Ok(plan.merged().iter().map(merges).collect())
            }
            Err(EngineError::Accept { error: AcceptError::Drift(drift), .. }) => {
                Ok(drift.into_iter().map(row).collect())
            }
            // A folder that is away or a disk that is full is for the accept to tell.
            Err(EngineError::Accept { .. } | EngineError::Not { .. }) => Ok(vec![]),
            Err(error) => Err(error),
        }
    }

    /// Returns in which of the drifted files the task's side can be taken, and what would be written then.
    pub fn takeable(&self, task: &Task, drift: &[DriftRow]) -> Result<Takeable, EngineError> {
        let against: Vec<&DriftRow> = drift.iter().filter(|row| row.fit != Fit::Merges).collect();
        if against.is_empty() || accept::is_busy(self.home(), &task.charter.folders) {
            return Ok(Takeable::default());
        }
        let mut proposal = self.propose(task.id, &Choice { programs: true, ..Choice::default() })?;
        let part = |row: &&DriftRow| Part { folder: row.folder, path: row.path.clone() };
        proposal.over = against.iter().map(part).collect();
        let (left, alone) = match self.plan(&proposal) {
            Ok(plan) => (vec![], Some(proposal.built(&plan).id())),
            Err(EngineError::Accept { error: AcceptError::Drift(left), .. }) => (left, None),
            Err(EngineError::Accept { .. } | EngineError::Not { .. }) => return Ok(Takeable::default()),
            Err(error) => return Err(error),
        };
        let is_left =
            |row: &DriftRow| left.iter().any(|l| l.folder == row.folder && l.path.is_within(&row.path));
        let paths = against.into_iter().filter(|row| !is_left(row));
        Ok(Takeable { paths: paths.map(|row| (row.folder, row.path.clone())).collect(), alone })
    }

    /// Returns which of `entries` the last accept left in the folders and are not there any more.
    pub(crate) fn gone(&self, task: &Task, version: &Version, entries: &[Entry]) -> Vec<RelPath> {
        let Some(accept) = task.last_accept().map(|number| &task.accepts[number]) else { return vec![] };
        if accept.snapshot != version.snapshot || task.imported_from().is_some() {
            return vec![];
        }
        let is_back = |entry: &Entry| {
            accept.taken_back().any(|part| part.folder == entry.folder && part.path == entry.path)
        };
        let was_taken = |entry: &Entry| {
            let is_part = accept.only.iter().any(|only| part::is_part(entry, only));
            (accept.was_whole() || is_part) && entry.now.is_some() && !is_back(entry)
        };
        let is_gone = |entry: &Entry| {
            let at =
                task.charter.folders[entry.folder as usize].join(OsStr::from_bytes(entry.path.as_bytes()));
            matches!(at.symlink_metadata(), Err(why) if why.kind() == std::io::ErrorKind::NotFound)
        };
        let gone = entries.iter().filter(|entry| was_taken(entry) && is_gone(entry));
        gone.map(|entry| entry.path.clone()).collect()
    }

    pub(crate) fn plan(&self, proposal: &Proposal) -> Result<accept::Plan, EngineError> {
        let task = &proposal.task;
        let frozen = self.frozen(task)?;
        let base = |folder: u32, path: &RelPath| {
            let file = match frozen.get(folder as usize) {
                Some(base) => snapshot::old_content(base, path)?,
                None => None,
            };
            let read = |mut file: std::fs::File| {
                let mut content = vec![];
                file.read_to_end(&mut content).map(|_| content)
            };
            file.map(read).transpose()
        };
        let (desk, number) = (self.desk(task.id), task.accepts.len() as u32);
        let folders = &task.charter.folders;
        let over = |folder: u32, path: &RelPath| {
            proposal.over.iter().any(|part| part.folder == folder && path.is_within(&part.path))
        };
        let sides = accept::Sides { base: &base, over: &over, where_gone: false };
        let plan = accept::plan(&desk, number, folders, &proposal.entries, &sides, self.store().blobs());
        plan.map_err(EngineError::accept(task.id))
    }

    /// Whether it is what the person saw, where they said what that was.
    pub(crate) fn is_as_seen(
        &self,
        proposal: &Proposal,
        built: &Snapshot,
        plan: &accept::Plan,
        choice: &Choice,
    ) -> Result<(), EngineError> {
        let Some(seen) = &choice.seen else { return Ok(()) };
        let (task, version) = (proposal.task.id, proposal.version.snapshot);
        let is = |hash: Hash| seen.len() >= 6 && hash.to_string().starts_with(seen.as_str());
        if !plan.is_fitted() {
            return if is(version) { Ok(()) } else { Err(EngineError::Seen { task, now: version }) };
        }
        let over: Vec<RelPath> = plan.over().iter().map(|gave| gave.path.clone()).collect();
        let paths = plan
            .merged()
            .iter()
            .map(|entry| entry.path.clone())
            .filter(|path| !over.contains(path))
            .collect();
        match (is(built.id()), is(version)) {
            (true, _) => Ok(()),
            // Of another version.
            (_, false) if proposal.task.versions.iter().any(|version| is(version.snapshot)) => {
                Err(EngineError::Seen { task, now: version })
            }
            // Of this one, or of what it became with edits that are others now.
            _ => {
                let choice = Box::new(choice.clone());
                Err(EngineError::Merges { task, paths, over, now: built.id(), choice })
            }
        }
    }

    /// Runs the task's checks on the folders as they would be.
    async fn prove(
        &self,
        task: &Task,
        version: &Version,
        built: &Snapshot,
    ) -> Result<Vec<(CheckSpec, Proof)>, EngineError> {
        let (scratch, held) = once::begin(self.home())?;
        let failed = |why| EngineError::Home { path: scratch.clone(), why };
        let work = self.visit(task.id).map_err(failed)?;
        let proofs = work.check_built(task, version, built, &scratch).await;
        crate::freeze::remove_tree(&scratch).map_err(failed)?;
        drop(held);
        let proofs = proofs.map_err(|why| EngineError::Unchecked { task: task.id, why: why_text(&why) })?;
        let worse = proofs.iter().enumerate().filter(|(n, (_, proof))| {
            proof.fails() && version.proofs.get(*n).is_none_or(|before| before.passed)
        });
        let fails: Vec<CheckRow> = worse.map(|(_, (spec, proof))| CheckRow::of(spec, Some(proof))).collect();
        match fails.is_empty() {
            true => Ok(proofs),
            false => Err(EngineError::Fails { task: task.id, fails }),
        }
    }

    /// Appends the beginning of an accept or undo that was worked out for `task`. What was logged since then stops it only where
    /// it concerns what is written.
    pub(crate) fn begin_writing(&self, task: &Task, begin: Event) -> Result<(), EngineError> {
        let mut seq = task.seq;
        loop {
            match self.store().append(task.id, seq, Writer::Person, vec![begin.clone()]).wait() {
                Ok(_) => return Ok(()),
                Err(AppendError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            let now = self.task(task.id)?;
            let version = |task: &Task| task.version().map(|version| version.number);
            if !now.is_at_rest() || now.accepts != task.accepts || version(&now) != version(task) {
                return Err(EngineError::Overtaken { task: task.id });
            }
            seq = now.seq;
        }
    }

    pub(crate) fn carry(
        &self,
        task: &Task,
        accept: u32,
        undo: bool,
        plan: accept::Plan,
    ) -> Result<Report, EngineError> {
        let mut done = accept::carry_out(plan, self.store().blobs(), &mut |_| {});
        if let Err(error) = done {
            // Where even rolling back failed, the log must not say that all is as before.
            let writing = writing(task, accept, undo);
            done = match accept::outcome(&self.desk(task.id), &task.charter.folders, writing) {
                Ok(Some(Outcome::After(report))) => Ok(report),
                Ok(Some(Outcome::Before { .. })) => Err(error),
                Ok(None) | Err(_) => return Err(EngineError::accept(task.id)(error.unended())),
            };
        }
        let event = match (&done, undo) {
            (Ok(_), false) => Event::Accepted { accept },
            (Ok(_), true) => Event::Undone { accept },
            (Err(error), false) => Event::AcceptFailed { accept, why: error.to_string() },
            (Err(error), true) => Event::UndoFailed { accept, why: error.to_string() },
        };
        self.log_end(task.id, accept, undo, event)?;
        let report = done.map_err(EngineError::accept(task.id))?;
        let at = |w: &accept::Written| -> Option<PathBuf> {
            Some(task.charter.folders.get(w.folder as usize)?.join(OsStr::from_bytes(w.path.as_bytes())))
        };
        let written: Vec<PathBuf> = report.written.iter().filter_map(at).collect();
        // It is done, and told, whatever becomes of a note.
        if let Err(error) = live::renew(self.place(task.id).dir(), &written) {
            tracing::warn!(task = task.id, %error, "what was written will be told as changed");
        }
        Ok(report)
    }

    pub(crate) fn desk(&self, id: u64) -> Desk {
        Desk { home: self.home().to_owned(), dir: self.place(id).dir().to_owned() }
    }
}

impl Proposal {
    /// Returns what of the folders is to be as it says: what was chosen, with what was merged in its place, from what gave way.
    pub(crate) fn built(&self, plan: &accept::Plan) -> Snapshot {
        let merged: HashMap<(u32, &RelPath), &Entry> =
            plan.merged().iter().map(|m| ((m.folder, &m.path), m)).collect();
        let gave: HashMap<(u32, &RelPath), &Gave> =
            plan.over().iter().map(|gave| ((gave.folder, &gave.path), gave)).collect();
        let built = |e: &Entry| {
            let at = (e.folder, &e.path);
            match (merged.get(&at), gave.get(&at)) {
                (Some(merged), _) => (*merged).clone(),
                (None, Some(gave)) => Entry { was: gave.was.clone(), ..e.clone() },
                (None, None) => e.clone(),
            }
        };
        Snapshot { entries: self.entries.iter().map(built).collect() }
    }
}

/// Returns whether a version, no less and no more, is in the folders once `chosen` follows what was taken `earlier`.
fn has_all(version: &[Entry], earlier: &[Entry], chosen: &[Entry]) -> bool {
    let by_path = |entries: [&'_ [Entry]; 2]| -> HashMap<(u32, RelPath), Option<Node>> {
        let all = entries.into_iter().flatten();
        all.map(|entry| ((entry.folder, entry.path.clone()), entry.now.clone())).collect()
    };
    let (version, taken) = (by_path([version, &[]]), by_path([earlier, chosen]));
    let more = |entry: &Entry| !version.contains_key(&(entry.folder, entry.path.clone()));
    version.iter().all(|(path, now)| taken.get(path) == Some(now)) && !earlier.iter().any(more)
}

pub(crate) fn row(drift: Drift) -> DriftRow {
    let fit = match drift.what {
        Drifted::Changed => Fit::Changed,
        Drifted::Gone => Fit::Gone,
        Drifted::Appeared => Fit::Appeared,
        Drifted::ParentGone => Fit::ParentGone,
    };
    DriftRow { folder: drift.folder, path: drift.path, fit, overlaps: drift.overlaps }
}

/// Returns the files in which the person's edits are beside the task's.
pub(crate) fn merged_in(plan: &accept::Plan) -> Vec<(u32, RelPath)> {
    let gave = |e: &&Entry| plan.over().iter().any(|gave| (gave.folder, &gave.path) == (e.folder, &e.path));
    plan.merged().iter().filter(|e| !gave(e)).map(|e| (e.folder, e.path.clone())).collect()
}

/// Drift that an undo meets is the person's later edits.
pub(crate) fn edited(error: AcceptError) -> AcceptError {
    match error {
        AcceptError::Drift(drifts) => AcceptError::Edited(drifts),
        other => other,
    }
}

/// Returns the part of a task that a person means by `path`: relative to the task's folder, with the folder's name before it
/// where there are several, or absolute. `..` leads from the task's folder to another one of the task's.
pub(crate) fn path_of(task: &Task, path: &OsString) -> Result<Part, EngineError> {
    let path = Path::new(path);
    let outside = || EngineError::Outside { path: path.to_owned() };
    let led = path.components().any(|part| part == Component::ParentDir);
    let led = led.then(|| led_to(&task.charter.folders[0].join(path)));
    let path = led.as_deref().unwrap_or(path);
    let found = if path.is_absolute() {
        let folders = task.charter.folders.iter().enumerate();
        folders.filter_map(|(n, folder)| Some((n, path.strip_prefix(folder).ok()?))).next()
    } else {
        let path = path.strip_prefix(".").unwrap_or(path);
        // As a review of several shows it: below the folder's name.
        let named = |(n, folder): (usize, &PathBuf)| Some((n, path.strip_prefix(folder.file_name()?).ok()?));
        let shown = match task.charter.folders.as_slice() {
            [_] => None,
            folders => folders.iter().enumerate().find_map(named),
        };
        shown.or(Some((0, path)))
    };
    let (folder, inner) = found.ok_or_else(outside)?;
    // `Path` drops a trailing slash and `.` in the middle, as a person means it.
    let tidy: PathBuf = inner.components().collect();
    let path = RelPath::new(tidy.as_os_str().as_bytes()).ok_or_else(outside)?;
    Ok(Part { folder: folder as u32, path })
}

/// Returns where a path leads that has `..` in it, as it is written.
fn led_to(path: &Path) -> PathBuf {
    let mut led = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(led.pop()),
            part => led.push(part),
        }
    }
    led
}

/// Returns which writing of a task's is begun.
pub(crate) fn writing(task: &Task, accept: u32, undo: bool) -> accept::Writing {
    match task.accepts.get(accept as usize).filter(|_| undo) {
        Some(before) => accept::Writing::Undo { accept, turn: before.back.len() as u32 },
        None => accept::Writing::Accept(accept),
    }
}

pub(crate) fn written(
    task: &Task,
    accept: u32,
    undo: bool,
    report: &Report,
    merged: Vec<(u32, RelPath)>,
    over: &[Gave],
) -> Written {
    let over: HashMap<(u32, &RelPath), Over> =
        over.iter().map(|gave| ((gave.folder, &gave.path), gave.what)).collect();
    let merged: HashSet<(u32, RelPath)> = merged.into_iter().collect();
    let file = |w: &accept::Written| WrittenFile {
        folder: w.folder,
        path: w.path.clone(),
        is_folder: w.is_folder,
        merged: merged.contains(&(w.folder, w.path.clone())),
        over: over.get(&(w.folder, &w.path)).copied(),
        fate: match w.did {
            Did::Created => Fate::New,
            Did::Replaced | Did::Mode => Fate::Changed,
            Did::Deleted => Fate::Deleted,
        },
    };
    let files = report.written.iter().map(file).collect();
    Written {
        task: task.id,
        accept,
        undo,
        files,
        gone: vec![],
        checks: vec![],
        git: vec![],
        folders: task.charter.folders.clone(),
    }
}

/// Waits for what starts sandboxes, on the runtime that this thread belongs to or on one of its own.
fn block_on<T>(work: impl Future<Output = T>) -> std::io::Result<T> {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        return Ok(runtime.block_on(work));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    Ok(runtime.block_on(work))
}

fn why_text(why: &crate::work::Undone) -> String {
    match why {
        quire_core::event::Why::Trouble(_, what) => what.clone(),
        other => format!("{other:?}"),
    }
}
