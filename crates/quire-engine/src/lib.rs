//! The doing: store, driver, snapshots, checks, accept and undo, settings, host. Knows no terminal and no HTML.

pub mod freeze;
mod ignores;
pub mod rooted;
pub mod stack;
#[cfg(test)]
mod testing;
