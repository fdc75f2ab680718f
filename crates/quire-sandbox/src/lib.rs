//! The wall around a task, and the hand that works inside it.
//!
//! A sandbox is a private, copy-on-write view of the whole machine. [`protocol`] is what passes through the wall; the
//! hand's side of it is hostile input. Knows no model and no store, and there is no async runtime inside the hand.

pub mod protocol;
pub mod tool;
