//! How a browser gets in: `quire web` opens this with a token behind `#`, which browsers keep to themselves; the script sends it
//! back once. Without scripts it is pasted.

use crate::error::{Exit, Failure};
use crate::web::door::{Ends, Fields, entered};
use crate::web::{Page, frame};
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::html;
use std::sync::Arc;

pub async fn form() -> Response {
    let main = html! {
        main.set id="main" {
            h1 { "Opening quire" }
            p.lede { "One moment. If nothing happens, paste what stands behind " code { "#t=" } " in the address." }
            form.ready method="post" action="/enter" id="enter" {
                label for="t" { "Code" }
                div.fix-row { input.field id="t" name="t" autocomplete="off" spellcheck="false"; button.btn.pri { "Enter" } }
            }
        }
    };
    frame::bare(StatusCode::OK, "Opening", &main)
}

pub async fn enter(
    State(page): State<Arc<Page>>,
    Extension(ends): Extension<Ends>,
    Extension(fields): Extension<Fields>,
) -> Response {
    match page.door.enter(fields.get("t").unwrap_or_default(), ends) {
        Some(cookie) => {
            // Who has no task yet is told first whether one can be done.
            let first = page.quire.store().tasks().is_ok_and(|tasks| tasks.is_empty());
            if first {
                page.probe();
            }
            entered(&cookie, if first { "/settings" } else { "/" })
        }
        None => frame::refusal(
            StatusCode::UNAUTHORIZED,
            &Failure::new(
                Exit::WrongUse,
                "This code was used already, or is older than a minute.",
                "Nothing was started or changed.",
                "Open the page anew, in a terminal: quire web",
            ),
        ),
    }
}
