//! Taking an accept back, all that is left of it or a part. Where a person edited what it wrote, the page asks them before anything is
//! written, and their answer is carried out only where it is still about just that.

use crate::accept::{AcceptError, Back, Paths, Plan};
use crate::decide::{edited, path_of, row, written};
use crate::new_folder::NewFolder;
use crate::quire::{CLEARED, EngineError, Quire, WRITTEN, is_own};
use quire_core::event::Part;
use quire_core::view::{DriftRow, GitRow, LaterEdits, Written};
use quire_core::{Entry, Event, Hash, Phase, Snapshot, Task};
use std::ffi::OsString;

/// What a person takes back, and what they know of their own later edits.
#[derive(Clone, Debug, Default)]
pub struct Undo {
    /// Files and folders; none: everything.
    pub paths: Vec<OsString>,
    pub edits: Edits,
}

/// What becomes of files that were edited after the accept.
#[derive(Clone, Debug, Default)]
pub enum Edits {
    /// The edits stay where they can, and that is told.
    #[default]
    Kept,
    /// Nothing is written, and the person is asked.
    Asked,
    /// The person was asked this, named by the beginning of its hash; `exact`: they leave these files alone.
    Answered { seen: String, exact: bool },
}

/// What is asked of a person, with what each answer is.
struct Question {
    later: LaterEdits,
    /// All but what cannot go back.
    kept: Paths,
    exact: Paths,
    merged: Vec<Entry>,
}

impl Quire {
    /// Takes the last accept that wrote anything back, or a part of it, and reads every file to prove it.
    pub fn undo(&self, id: u64, undo: &Undo) -> Result<Written, EngineError> {
        loop {
            let number = may_undo(&self.task(id)?)?;
            // An accept that is not through with its commit would make it after its files have gone back.
            let debt = self.await_debt(id, number)?;
            if let Some(debt) = &debt {
                self.note_left(id, number, debt)?;
            }
            let task = self.task(id)?;
            if may_undo(&task)? != number {
                continue;
            }
            let before = &task.accepts[number as usize].back;
            let back = Back::of(&self.desk(id), number, before).map_err(EngineError::accept(id))?;
            let nothing = Undo::default();
            // What wrote nothing stands in nobody's way. What did write is what is taken back, also where the person did so already.
            let has_written = !back.all().is_empty();
            let undo = if has_written { undo } else { &nothing };
            let _folder = NewFolder::of(&task.charter);
            let (paths, plan) = self.plan_back(&task, &back, undo)?;
            let only = if paths == back.all() { vec![] } else { parts(paths) };
            let is_part = !only.is_empty();
            let written = self.take_back(&task, number, only, plan)?;
            if let Some(debt) = debt.filter(|_| !is_part) {
                debt.pay_off();
            }
            if is_part || has_written || self.task(id)?.last_accept().is_none() {
                return Ok(written);
            }
        }
    }

    /// Works out what goes back; nothing is written.
    fn plan_back(&self, task: &Task, back: &Back, undo: &Undo) -> Result<(Paths, Plan), EngineError> {
        let failed = |error| EngineError::accept(task.id)(edited(error));
        let plan = |paths: &Paths| back.plan(&self.desk(task.id), paths, self.store().blobs());
        let ask = |question: Question| EngineError::LaterEdits(Box::new(question.later));
        match &undo.edits {
            Edits::Kept => {
                let named: Vec<Part> =
                    undo.paths.iter().map(|path| path_of(task, path)).collect::<Result<_, _>>()?;
                let paths = if named.is_empty() { back.all() } else { back.named(&named).map_err(failed)? };
                let plan = plan(&paths).map_err(failed)?;
                Ok((paths, plan))
            }
            Edits::Asked => {
                match plan(&back.all()) {
                    Ok(plan) if plan.merged().is_empty() => return Ok((back.all(), plan)),
                    Ok(_) | Err(AcceptError::Drift(_)) => {}
                    Err(error) => return Err(failed(error)),
                }
                // Not while the plan holds the folders locked.
                Err(ask(self.question(task, back)?))
            }
            Edits::Answered { seen, exact } => {
                let question = self.question(task, back)?;
                if question.later.merged.is_empty() && question.later.stay.is_empty() {
                    let why = "has no later edits of yours any more; undo it as a whole";
                    return Err(EngineError::Not { task: task.id, why });
                }
                if seen.len() < 6 || !question.later.seen.to_string().starts_with(seen.as_str()) {
                    return Err(ask(question));
                }
                let (paths, merged) = match exact {
                    true => (&question.exact, &[][..]),
                    false => (&question.kept, &question.merged[..]),
                };
                match plan(paths) {
                    Ok(plan) if plan.merged() == merged && !paths.is_empty() => {
                        return Ok((paths.clone(), plan));
                    }
                    // It was edited at this very moment.
                    Ok(_) | Err(AcceptError::Drift(_)) => {}
                    Err(error) => return Err(failed(error)),
                }
                Err(ask(self.question(task, back)?))
            }
        }
    }

    /// Looks at what was edited since, and what can go back all the same.
    fn question(&self, task: &Task, back: &Back) -> Result<Question, EngineError> {
        let (mut kept, mut stay) = (back.all(), Vec::<DriftRow>::new());
        let plan = |paths: &Paths| match back.plan(&self.desk(task.id), paths, self.store().blobs()) {
            Ok(plan) => Ok(Ok(plan.merged().to_vec())),
            Err(AcceptError::Drift(drift)) => Ok(Err(drift)),
            Err(error) => Err(EngineError::accept(task.id)(error)),
        };
        // What is left out can leave something else without its folder.
        let merged = loop {
            match plan(&kept)? {
                Ok(merged) => break merged,
                Err(drift) => {
                    stay.extend(drift.into_iter().map(row));
                    let stays = stay.iter().map(|row| (row.folder, row.path.clone())).collect();
                    let fewer = back.without(&kept, &stays);
                    kept = if fewer == kept { Paths::new() } else { fewer };
                }
            }
        };
        stay.sort_by(|a, b| (a.folder, &a.path).cmp(&(b.folder, &b.path)));
        let with_mine = merged.iter().map(|entry| (entry.folder, entry.path.clone())).collect();
        let mut exact = back.without(&kept, &with_mine);
        if exact != kept && plan(&exact)?.is_err() {
            exact.clear();
        }
        let named = (task.last_accept(), &stay, &exact);
        let mut bytes = serde_json::to_vec(&named)
            .map_err(|why| EngineError::Home { path: self.home().to_owned(), why: why.into() })?;
        bytes.extend(Snapshot { entries: merged.clone() }.to_blob());
        let later = LaterEdits {
            task: task.id,
            seen: Hash::of(&bytes),
            exact: back.files(&exact),
            merged: merged.iter().map(|entry| entry.path.clone()).collect(),
            stay,
        };
        Ok(Question { later, kept, exact, merged })
    }

    fn take_back(
        &self,
        task: &Task,
        number: u32,
        only: Vec<Part>,
        plan: Plan,
    ) -> Result<Written, EngineError> {
        let over = plan.over().to_vec();
        let kept = plan.merged().iter().map(|e| (e.folder, e.path.clone())).collect();
        let is_part = !only.is_empty();
        let owed = if is_part { None } else { self.owe_back(task, number)? };
        self.begin_writing(task, Event::Undoing { accept: number, only })?;
        let report = self.carry(task, number, true, plan).map_err(|error| match error {
            EngineError::Accept { task, error } => EngineError::Accept { task, error: edited(error) },
            other => other,
        })?;
        let (git, is_settled) = match is_part {
            // A commit is taken back as a whole, once nothing is left of what it is of.
            true => {
                let commits = task.accepts[number as usize].git.iter().filter_map(|left| left.commit.clone());
                (commits.map(GitRow::StaysWhole).collect(), true)
            }
            false => self.undone_in_git(task, number, false),
        };
        if let Some(owed) = owed.filter(|_| is_settled) {
            owed.pay_off();
        }
        Ok(Written { git, ..written(task, number, true, &report, kept, &over) })
    }
}

/// Returns the accept that an undo takes back.
fn may_undo(task: &Task) -> Result<u32, EngineError> {
    is_own(task)?;
    let not = |why| Err(EngineError::Not { task: task.id, why });
    if task.cleared {
        return not(CLEARED);
    }
    if task.is_being_written() {
        return not(WRITTEN);
    }
    let Some(number) = task.last_accept() else { return not("has nothing in your folder to undo") };
    if task.phase == Phase::Discarded {
        return not("was discarded, so what is in your folder of it stays there");
    }
    if !task.is_at_rest() {
        return not("is at work; stop it or let it end, then undo");
    }
    Ok(number as u32)
}

fn parts(paths: Paths) -> Vec<Part> {
    paths.into_iter().map(|(folder, path)| Part { folder, path }).collect()
}

#[cfg(test)]
mod tests;
