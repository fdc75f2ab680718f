//! The doing: store, driver, snapshots, checks, accept and undo, settings, host. Knows no terminal and no HTML.

pub mod instructions;
pub mod keys;
pub mod models;
pub mod nearest;
mod plain_file;
pub mod settings;
