//! D: signals, tracing and shared memory.

use crate::catalogue::Case;

pub const CASES: &[Case] = &[];
