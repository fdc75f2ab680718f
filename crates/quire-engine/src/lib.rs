//! The doing: store, driver, snapshots, checks, accept and undo, settings, host. Knows no terminal and no HTML.

pub mod accept;
pub mod blob;
pub mod database;
pub mod freeze;
mod ignores;
mod rooted;
pub mod snapshot;
mod stack;
pub mod store;
#[cfg(test)]
mod testing;
pub mod instructions;
pub mod keys;
pub mod nearest;
mod plain_file;
pub mod settings;
