//! Undo on the page: at once where the folder is as the accept left it, and else once its person said what becomes of their later edits.

use crate::error::Failure;
use crate::terminal::clean;
use crate::web::act::{of, said, see};
use crate::web::door::Fields;
use crate::web::review::sides;
use crate::web::{Page, frame};
use axum::http::StatusCode;
use axum::response::Response;
use maud::html;
use quire_core::view::{LaterEdits, count};
use quire_engine::{Edits, EngineError, Undo};
use std::sync::Arc;

pub async fn undo(page: &Arc<Page>, id: u64, fields: Fields) -> Response {
    let edits = match (fields.filled("seen"), fields.filled("edits")) {
        (Some(seen), Some(edits)) => Edits::Answered { seen: seen.to_owned(), exact: edits == "left" },
        _ => Edits::Asked,
    };
    let undone = page.blocking(move |page| {
        Ok(match page.quire.undo(id, &Undo { edits, ..Undo::default() }) {
            Ok(written) => {
                said(page, id, &written);
                None
            }
            Err(EngineError::LaterEdits(later)) => Some(later),
            Err(error) => return Err(Failure::from(error)),
        })
    });
    match undone.await {
        Ok(None) => see(&of(id)),
        Ok(Some(later)) => asked(&later, fields.get("key").unwrap_or_default()),
        Err(failure) => frame::failed(&failure, &of(id)),
    }
}

/// Returns the page that asks what becomes of later edits; nothing is written yet.
fn asked(later: &LaterEdits, key: &str) -> Response {
    let at = of(later.task);
    let answer = |edits: &str, class: &str, label: &str| {
        html! {
            form method="post" action=(format!("{at}/undo")) {
                input type="hidden" name="key" value=(key);
                input type="hidden" name="seen" value=(later.seen);
                input type="hidden" name="edits" value=(edits);
                button class={ "btn " (class) } { (label) }
            }
        }
    };
    let others = if later.stay.is_empty() { "Undo" } else { "Undo the others" };
    let main = html! {
        main.set id="main" {
            h1 { (clean(&later.heading())) }
            @for told in later.told() { p.lede { (clean(&told)) } }
            @for row in &later.stay { (sides(&row.overlaps, "Before this task")) }
            p.lede { "Nothing is written yet." @if later.merged.is_empty() && later.exact == 0 { " Take back yourself what you changed there, then undo again." } }
            div.acts {
                @if !later.merged.is_empty() { (answer("kept", "pri", &format!("{others}, keep my {}", later.edits()))) }
                @if later.exact > 0 { (answer("left", if later.merged.is_empty() { "pri" } else { "" }, &format!("Undo {}", count(later.exact as u64, "file")))) }
                a.btn.ghost href=(at) { "Cancel" }
            }
        }
    };
    frame::bare(StatusCode::CONFLICT, "Undo", &main)
}
