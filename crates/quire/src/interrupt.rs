//! Ctrl-C, for as long as somebody waits for it. What the runtime installs to hear of it stays for good, and with it Ctrl-C
//! would do nothing from then on; here it does afterwards what it did before.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What Ctrl-C does, with who waits for it now.
struct Handlers {
    before: libc::sigaction,
    heard: libc::sigaction,
    waiting: u32,
}

static HANDLERS: Mutex<Option<Handlers>> = Mutex::new(None);

/// Hears of Ctrl-C until it is dropped.
pub struct Interrupts(Signal);

impl Interrupts {
    pub fn begin() -> io::Result<Interrupts> {
        let mut handlers = handlers();
        let before = act(None)?;
        let signal = signal(SignalKind::interrupt())?;
        match &mut *handlers {
            Some(handlers) => {
                if handlers.waiting == 0 {
                    act(Some(&handlers.heard))?;
                }
                handlers.waiting += 1;
            }
            none => *none = Some(Handlers { before, heard: act(None)?, waiting: 1 }),
        }
        Ok(Interrupts(signal))
    }

    pub async fn next(&mut self) {
        // It has no end while the runtime lives.
        self.0.recv().await;
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        if let Some(handlers) = &mut *handlers() {
            handlers.waiting -= 1;
            if handlers.waiting == 0 {
                let _ = act(Some(&handlers.before));
            }
        }
    }
}

fn handlers() -> MutexGuard<'static, Option<Handlers>> {
    HANDLERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns what Ctrl-C did until now, and sets what it does.
fn act(new: Option<&libc::sigaction>) -> io::Result<libc::sigaction> {
    let new = new.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: an action is plain data, and the one that is set came from this call.
    unsafe {
        let mut old = std::mem::zeroed();
        match libc::sigaction(libc::SIGINT, new, &mut old) {
            0 => Ok(old),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After a task had been followed to its end, Ctrl-C was heard by nobody: not in the review, nor while checks ran.
    #[test]
    fn ctrl_c_ends_the_program_again_when_nobody_waits_for_it() {
        let does = || act(None).unwrap().sa_sigaction;
        let before = does();
        for _ in 0..2 {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut outer = Interrupts::begin().unwrap();
                drop(Interrupts::begin().unwrap());
                assert_ne!(does(), before);
                // SAFETY: it is caught.
                unsafe { libc::raise(libc::SIGINT) };
                outer.next().await;
            });
            assert_eq!(does(), before);
        }
    }
}
