//! What every page has around its own part: the bar, the signs, the keys; and how a failure is shown.

use crate::error::{Exit, Failure};
use crate::terminal::clean;
use crate::web::door::Session;
use crate::web::text::quoting;
use crate::web::{Page, icons};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};
use quire_core::Usd;
use quire_engine::settings::{self, Options};

/// Which of the main places a page belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Tasks,
    Settings,
}

/// What the bar needs to know.
pub struct Frame {
    spent: Usd,
    day: Option<Usd>,
    /// Goes into every form.
    pub key: String,
}

impl Frame {
    pub fn of(page: &Page, session: &Session) -> Result<Frame, Failure> {
        let options = Options::default();
        // Settings that cannot be read are told where they are needed.
        let settings = settings::read(&options, None, &page.here()).ok();
        let day = settings.and_then(|settings| settings.limits.day_usd);
        Ok(Frame { spent: page.quire.spent()?, day, key: page.door.form_key(session) })
    }

    #[cfg(test)]
    pub fn for_tests() -> Frame {
        Frame { spent: Usd::ZERO, day: None, key: "k".to_owned() }
    }

    /// Returns a form's hidden part.
    pub fn key(&self) -> Markup {
        html! { input type="hidden" name="key" value=(self.key); }
    }

    /// Returns a form that is one button.
    pub fn button(&self, action: &str, class: &str, label: &Markup, fields: &[(&str, &str)]) -> Markup {
        html! {
            form method="post" action=(action) {
                (self.key())
                @for (name, value) in fields { input type="hidden" name=(name) value=(value); }
                button class={ "btn " (class) } { (label) }
            }
        }
    }

    pub fn page(&self, title: &str, place: Place, main: &Markup) -> Response {
        let spent = match (self.day, self.spent) {
            (Some(day), spent) if spent > Usd::ZERO => Some(format!("{spent} of {day} today")),
            (None, spent) if spent > Usd::ZERO => Some(format!("{spent} today")),
            _ => None,
        };
        let body = html! {
            header.bar {
                a.mark href="/" { svg aria-hidden="true" { use href="#i-mark" {} } "quire" }
                nav aria-label="Main" {
                    a href="/" aria-current=[(place == Place::Tasks).then_some("page")] { "Tasks" }
                    a href="/settings" aria-current=[(place == Place::Settings).then_some("page")] { "Settings" }
                }
                div.end {
                    @if let Some(spent) = spent { span.opt title="Spent in the last 24 hours" { (spent) } }
                    span.live hidden id="live" { span { "Connected" } }
                }
            }
            div.lost role="alert" hidden id="lost" {
                div.inline {
                    p {
                        b { "Lost touch with quire on this computer." }
                        " What you wrote is kept in this tab. It reconnects by itself; if it does not, in a terminal: " code { "quire web" }
                        " " span id="tried" {}
                    }
                    button.btn type="button" id="try" { "Try now" }
                }
            }
            (main)
            (help())
            p.vh role="status" id="status" {}
        };
        whole(StatusCode::OK, title, &body)
    }
}

/// Returns a page without the bar, for who is not in.
pub fn bare(status: StatusCode, title: &str, main: &Markup) -> Response {
    whole(status, title, main)
}

fn whole(status: StatusCode, title: &str, body: &Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width,initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (clean(title)) " · quire" }
                link rel="icon" href="/icon.svg";
                link rel="stylesheet" href="/style.css";
                script src="/quire.js" defer {}
            }
            body {
                a.skip href="#main" { "Skip to content" }
                (icons::drawings())
                (body)
            }
        }
    };
    (status, Html(page.into_string())).into_response()
}

/// Returns the three sentences of a failure, for whatever part of a page.
pub fn told(failure: &Failure) -> Markup {
    html! {
        h1 { (quoting(&clean(&failure.what))) }
        p.lede { (clean(&failure.safe)) }
        @if !failure.next.trim().is_empty() { p.lede { (clean(&failure.next)) } }
    }
}

/// Returns a page that says why something was not done.
pub fn refusal(status: StatusCode, failure: &Failure) -> Response {
    let main = html! {
        main.set id="main" { (told(failure)) p.acts { a.btn href="/" { "To the tasks" } } }
    };
    bare(status, "Not done", &main)
}

/// Returns the page of a failure, with the status that says what kind it is.
pub fn failed(failure: &Failure, back: &str) -> Response {
    asked_again(failure, back, &html! {})
}

/// The same, with what may be done all the same.
pub fn asked_again(failure: &Failure, back: &str, again: &Markup) -> Response {
    let main = html! {
        main.set id="main" { (told(failure)) div.acts { a.btn.pri href=(back) { "Back" } (again) a.btn.ghost href="/" { "To the tasks" } } }
    };
    bare(status(failure), "Not done", &main)
}

/// Returns the status that says what kind a failure is.
pub fn status(failure: &Failure) -> StatusCode {
    match failure.exit {
        Exit::NoTask => StatusCode::NOT_FOUND,
        Exit::FolderChanged | Exit::NeedsYou | Exit::Failed => StatusCode::CONFLICT,
        Exit::WrongUse => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Returns what files are handed over by, with the words of its form.
pub fn attach() -> Markup {
    html! {
        label.chip title="Pictures, documents and other files that it should see, 25 MB together" {
            (icons::sign("clip")) span id="files-told" { "Attach" } span.vh { " files" }
            input type="file" name="attach" multiple;
        }
    }
}

fn help() -> Markup {
    let keys: [(&str, &[&str]); 11] = [
        ("New task", &["c"]),
        ("Find", &["/"]),
        ("Next, previous", &["j", "k"]),
        ("Open", &["↵"]),
        ("Allow what is asked", &["y"]),
        ("Next change", &["n"]),
        ("Take or leave a file", &["x"]),
        ("Write a note", &["m"]),
        ("Accept", &["⇧", "A"]),
        ("Ask for changes", &["⇧", "R"]),
        ("Undo the accept", &["⇧", "U"]),
    ];
    html! {
        dialog.help id="help" aria-labelledby="help-t" {
            h2 id="help-t" { "Keyboard" }
            dl {
                @for (what, keys) in keys {
                    div { dt { (what) } dd { @for key in keys { kbd { (key) } " " } } }
                }
            }
            form.acts method="dialog" {
                button.btn { "Close" }
                label.chip { input type="checkbox" id="keys-off"; " Single keys off" }
                label.chip { input type="checkbox" id="go-on"; " After Accept, open the next" }
                label.chip { input type="checkbox" id="changes-first"; " Changes first" }
            }
        }
    }
}
