//! The doing: store, driver, snapshots, checks, accept and undo, settings, host. Knows no terminal and no HTML.

pub mod accept;
pub mod blob;
mod check;
pub mod database;
mod driver;
pub mod freeze;
pub mod glimpse;
mod hands;
pub mod host;
mod ignores;
pub mod instructions;
pub mod keys;
pub mod link;
pub mod models;
pub mod nearest;
mod place;
mod plain_file;
pub mod quire;
mod rooted;
pub mod settings;
pub mod snapshot;
mod stack;
pub mod store;
#[cfg(test)]
mod testing;
mod work;
