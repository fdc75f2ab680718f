//! The page's signs, drawn once in each page and used by name. Their shapes carry the meaning; colour only repeats it. This is
//! the one place that passes text on as HTML, and all of it is written here.

use maud::{Markup, PreEscaped, html};
use quire_core::view::{LineMark, Mark};

const SIGNS: &str = include_str!("icons.svg");

/// Returns the drawings that [`sign`] refers to.
pub fn drawings() -> Markup {
    PreEscaped(SIGNS.to_owned())
}

/// Returns a sign that stands beside words which say the same.
pub fn sign(name: &str) -> Markup {
    html! { svg.ic aria-hidden="true" { use href=(format!("#i-{name}")) {} } }
}

/// Returns the sign of where something stands, which also says it.
pub fn status(name: &str, class: &str, label: &str) -> Markup {
    html! { svg.st.(class) role="img" aria-label=(label) { use href=(format!("#i-{name}")) {} } }
}

pub fn mark(mark: Mark) -> Markup {
    match mark {
        Mark::NeedsYou => status("ask", "need", "Waiting for your answer"),
        Mark::Ready => status("need", "need", "Ready for you"),
        Mark::Paused => status("stop", "need", "Paused"),
        Mark::Working => status("work", "work", "Working"),
        Mark::Accepted => status("done", "done", "Accepted"),
        Mark::Answered => status("done", "done", "Answered"),
        Mark::Discarded => status("off", "off", "Discarded"),
    }
}

/// Returns the sign of an outcome that quire saw, or did not. `doubted`: it passes, and something speaks against believing it.
pub fn outcome(passed: Option<bool>, doubted: bool) -> Markup {
    match passed {
        Some(true) if doubted => status("flag", "need", "Passed, but"),
        Some(true) => status("done", "done", "Passed"),
        Some(false) => status("fail", "fail", "Failed"),
        None => status("open", "off", "Not checked"),
    }
}

/// Returns the name that style and script know a line's mark by.
pub fn line_class(mark: LineMark) -> &'static str {
    match mark {
        LineMark::Done => "done",
        LineMark::Failed => "failed",
        LineMark::Said => "said",
        LineMark::Asks => "asks",
    }
}

/// Returns the sign of what opens and closes.
pub fn chevron() -> Markup {
    html! { svg.ic.chev aria-hidden="true" { use href="#i-chev" {} } }
}
