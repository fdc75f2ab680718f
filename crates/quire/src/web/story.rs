//! What a task did so far, in lines. Folded once and kept, because pages and streams ask for it again and again.

use crate::error::Failure;
use crate::terminal::{clean, took};
use crate::web::text::quoting;
use crate::web::{Page, icons, lock};
use maud::{Markup, html};
use quire_core::event::Seq;
use quire_core::view::{Line, Progress};
use std::collections::VecDeque;

/// Lines that are kept; the log has them all.
const LINES_MAX: usize = 200;
/// Stories that are kept.
const STORIES_MAX: usize = 64;

#[derive(Clone, Default)]
pub struct Story {
    pub progress: Progress,
    pub lines: VecDeque<Line>,
    /// The last event that is in it.
    pub seq: Seq,
}

impl Page {
    /// Returns a task's story up to now.
    pub fn story(&self, id: u64) -> Result<Story, Failure> {
        let mut story = lock(&self.stories).get(&id).cloned().unwrap_or_default();
        for logged in self.quire.events(id, story.seq)? {
            story.seq = logged.seq;
            story.lines.extend(story.progress.apply(&logged));
            let over = story.lines.len().saturating_sub(LINES_MAX);
            story.lines.drain(..over);
        }
        let mut stories = lock(&self.stories);
        if stories.len() >= STORIES_MAX && !stories.contains_key(&id) {
            stories.clear();
        }
        stories.insert(id, story.clone());
        Ok(story)
    }
}

/// Returns the lines as a list. The script adds to it.
pub fn steps(story: &Story) -> Markup {
    html! {
        ol.steps id="steps" {
            @for line in &story.lines {
                li.(icons::line_class(line.mark)) { span { (quoting(&clean(&line.text))) } time { (took(line.at_ms)) } }
            }
        }
    }
}
