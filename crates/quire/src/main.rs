//! quire: hand over a task in plain words; it is done in a private copy; you alone decide what goes live.
fn main() {}
