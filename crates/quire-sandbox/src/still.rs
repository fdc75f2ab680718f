//! Whether files must hold still now, for a snapshot. Processes are stopped by signals; this is for the hand's own threads,
//! which no signal stops: no call starts meanwhile, and one that writes files is waited for.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Default)]
pub struct Still {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    now: bool,
    /// Calls that write files in a thread of the hand's.
    writing: usize,
}

/// A call of the hand's that writes files, until it is dropped.
pub struct Writing<'a>(&'a Still);

impl Still {
    /// Waits until calls may start. A call that writes files by itself holds what this returns to its end.
    pub fn begin(&self, writes: bool) -> Option<Writing<'_>> {
        let state = self.changed.wait_while(self.lock(), |state| state.now);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        writes.then(|| {
            state.writing += 1;
            Writing(self)
        })
    }

    /// Lets no call start from here on. Returns whether none writes any more, having waited for that at most so long.
    pub fn hold(&self, most: Duration) -> bool {
        let mut state = self.lock();
        state.now = true;
        let waited = self.changed.wait_timeout_while(state, most, |state| state.writing > 0);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    pub fn release(&self) {
        self.lock().now = false;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.lock().writing -= 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_hold_still_only_when_the_hands_own_writers_are_done() {
        let still = Still::default();
        let writing = still.begin(true);
        assert!(still.begin(false).is_none(), "a command's processes are stopped otherwise");
        assert!(!still.hold(Duration::ZERO), "a file is being written");
        std::thread::scope(|scope| {
            let next = scope.spawn(|| still.begin(true).is_some());
            drop(writing);
            assert!(still.hold(Duration::from_secs(60)), "no call began meanwhile");
            assert!(!next.is_finished());
            still.release();
            assert!(next.join().unwrap());
        });
        assert!(still.hold(Duration::ZERO));
    }
}
