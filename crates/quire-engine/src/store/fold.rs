//! Stand-in for the fold until quire-core has it.
use quire_core::{Event, Logged};

#[derive(Clone, Debug)]
pub struct Task {
    pub id: u64,
    pub seq: u64,
    pub epoch: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("this cannot follow")]
pub struct Refusal;

impl Task {
    pub fn open(id: u64, first: &Logged) -> Result<Task, Refusal> {
        match first {
            Logged { seq: 1, event: Event::Opened { .. }, .. } => Ok(Task { id, seq: 1, epoch: 0 }),
            _ => Err(Refusal),
        }
    }

    pub fn apply(&mut self, logged: &Logged) -> Result<(), Refusal> {
        if logged.seq != self.seq + 1 {
            return Err(Refusal);
        }
        match &logged.event {
            Event::Opened { .. } | Event::Accepted { .. } => return Err(Refusal),
            Event::Taken { epoch } if *epoch <= self.epoch => return Err(Refusal),
            Event::Taken { epoch } => self.epoch = *epoch,
            _ => {}
        }
        self.seq = logged.seq;
        Ok(())
    }
}
