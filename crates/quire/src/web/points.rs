//! Going back: a task is taken to where it stood after a step or at a version, or another one is begun there.

use crate::cli;
use crate::error::{Exit, Failure};
use crate::terminal::clean;
use crate::web::Page;
use crate::web::door::Fields;
use crate::web::frame::Frame;
use maud::{Markup, html};
use quire_core::Task;
use quire_core::view::{StepRow, steps};
use quire_engine::{Point, can_be_left};
use std::sync::Arc;

/// Points that are offered, the latest of them; `quire rewind` lists all.
const POINTS_MAX: usize = 100;

/// Returns the points that a task can be taken back to, with what can be done at one; nothing where there is none.
pub fn choice(frame: &Frame, task: &Task) -> Markup {
    // Where it cannot be left, nothing is offered.
    let rows = if can_be_left(task) { steps(task) } else { vec![] };
    let name =
        |row: &StepRow| row.version.map_or_else(|| row.step.to_string(), |version| format!("v{version}"));
    let label = |row: &StepRow| {
        let kind =
            row.version.map_or_else(|| format!("Step {}", row.step), |version| format!("Version {version}"));
        format!("{kind}: {}", row.did)
    };
    html! {
        @if !rows.is_empty() {
            details.points {
                summary { "Go back to a step" }
                form method="post" action=(format!("/tasks/{}/rewind", task.id)) {
                    (frame.key())
                    label.vh for="point" { "Step or version" }
                    select.field id="point" name="point" {
                        @for row in rows.iter().rev().take(POINTS_MAX) { option value=(name(row)) { (clean(&label(row))) } }
                    }
                    p { "Files and conversation go back together; your folder does not change." }
                    div.acts {
                        button.btn { "Go back" }
                        button.btn.ghost formaction=(format!("/tasks/{}/fork", task.id)) { "Begin another task there" }
                    }
                }
            }
        }
    }
}

fn point(fields: &Fields) -> Result<Point, Failure> {
    let point = fields.filled("point").and_then(|text| cli::point(text).ok());
    point.ok_or_else(|| {
        let (what, next) = ("This form names no step.", "Load the page anew, and choose one.");
        Failure::new(Exit::WrongUse, what, "Nothing was changed.", next)
    })
}

/// Takes a task back.
pub async fn rewind(page: &Arc<Page>, id: u64, fields: &Fields) -> Result<String, Failure> {
    let to = point(fields)?;
    let back = page.blocking(move |page| Ok(page.quire.rewind(id, to)?)).await;
    page.quire.tell_host(id).await;
    back.map(|_| format!("/tasks/{id}"))
}

/// Begins another task where one stood.
pub async fn fork(page: &Arc<Page>, id: u64, fields: &Fields) -> Result<String, Failure> {
    let at = point(fields)?;
    page.blocking(move |page| Ok(format!("/tasks/{}", page.quire.fork(id, at)?.task))).await
}
