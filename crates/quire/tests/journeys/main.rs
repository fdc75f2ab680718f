//! Whole journeys through the built binary: a person's commands, a background host, real sandboxes, and a model whose
//! every word the test has written. Each test has a home, a folder and a model server of its own.

mod answer;
mod ask;
mod attached;
mod background;
mod bad_input;
mod browser;
mod checks;
mod conventions;
mod cost;
mod fallback;
mod first_steps;
mod folders;
mod full_disk;
mod history;
mod keys;
mod kill;
mod life;
mod look;
mod model;
mod notes;
mod page;
mod part;
mod peers;
mod plan;
mod prompts;
mod reach;
mod real_browser;
mod reviewer;
mod sec;
mod secrets;
mod serve;
mod stage;
mod tree;
mod wires;
mod world;
