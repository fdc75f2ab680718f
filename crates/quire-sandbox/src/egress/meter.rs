//! What a task has used of the network, against its limits.

use super::{Limit, Limits};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

/// The whole of a task's use.
pub struct Usage {
    pub limits: Limits,
    open: AtomicUsize,
    accepted: Mutex<Window>,
    dialled: Mutex<Window>,
    up: AtomicU64,
    down: AtomicU64,
}

/// What began within the current minute.
struct Window {
    since: Instant,
    count: u32,
}

impl Window {
    fn new() -> Mutex<Window> {
        Mutex::new(Window { since: Instant::now(), count: 0 })
    }
}

/// A connection's place among those of one time.
pub struct Place(Arc<Usage>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

impl Usage {
    pub fn new(limits: Limits) -> Arc<Usage> {
        Arc::new(Usage {
            limits,
            open: AtomicUsize::new(0),
            accepted: Window::new(),
            dialled: Window::new(),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
        })
    }

    /// Takes a place for a connection from inside.
    pub fn accept(self: &Arc<Usage>) -> Result<Place, Limit> {
        self.count(&self.accepted)?;
        let place = Place(self.clone());
        match self.open.fetch_add(1, Relaxed) < self.limits.connections {
            true => Ok(place),
            false => Err(Limit::Connections),
        }
    }

    /// Counts a connection to the world. They are counted apart, because one from inside may lead to many.
    pub fn dial(&self) -> Result<(), Limit> {
        self.left()?;
        self.count(&self.dialled)
    }

    /// Fails where the task has sent or received all that it may.
    pub fn left(&self) -> Result<(), Limit> {
        match () {
            () if self.up.load(Relaxed) >= self.limits.up_bytes => Err(Limit::Up),
            () if self.down.load(Relaxed) >= self.limits.down_bytes => Err(Limit::Down),
            () => Ok(()),
        }
    }

    pub fn sent(&self, bytes: usize) {
        self.up.fetch_add(bytes as u64, Relaxed);
    }

    pub fn received(&self, bytes: usize) {
        self.down.fetch_add(bytes as u64, Relaxed);
    }

    fn count(&self, window: &Mutex<Window>) -> Result<(), Limit> {
        let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.since.elapsed() >= MINUTE {
            *window = Window { since: Instant::now(), count: 0 };
        }
        if window.count >= self.limits.connections_per_minute {
            return Err(Limit::Rate);
        }
        window.count += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e23_a_place_is_given_back() {
        let usage = Usage::new(Limits { connections: 2, ..Limits::default() });
        let first = usage.accept().ok();
        let _second = usage.accept().ok();
        assert!(matches!(usage.accept(), Err(Limit::Connections)));
        assert!(matches!(usage.accept(), Err(Limit::Connections)), "a refused one takes no place");
        drop(first);
        assert!(usage.accept().is_ok());
    }

    #[test]
    fn e23_each_limit_ends() {
        let limits = Limits { connections_per_minute: 2, up_bytes: 10, down_bytes: 10, ..Limits::default() };
        let usage = Usage::new(limits.clone());
        assert!(usage.dial().is_ok() && usage.dial().is_ok());
        assert_eq!(usage.dial(), Err(Limit::Rate));
        assert!(usage.accept().is_ok() && usage.accept().is_ok());
        assert!(matches!(usage.accept(), Err(Limit::Rate)));
        let usage = Usage::new(limits.clone());
        usage.sent(10);
        assert_eq!(usage.dial(), Err(Limit::Up));
        let usage = Usage::new(limits);
        usage.received(11);
        assert_eq!(usage.dial(), Err(Limit::Down));
    }
}
