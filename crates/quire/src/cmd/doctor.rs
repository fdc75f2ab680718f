//! `quire doctor`: what works on this machine, each thing proved by doing it.

use crate::cmd::{Face, wait};
use crate::error::{Exit, Failure};
use crate::terminal::{clean, print};
use quire_engine::keys::Keys;
use quire_engine::models::{self, Found};
use quire_engine::settings::{self, Options, Surroundings};
use quire_engine::{EngineError, Quire};
use serde::Serialize;
use serde_json::json;

/// A thing that was tried.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    works: bool,
    says: String,
    /// What a person can do about it.
    next: String,
}

impl Row {
    fn of<T>(
        name: &'static str,
        tried: Result<T, impl std::fmt::Display>,
        says: impl FnOnce(T) -> String,
        next: &str,
    ) -> Row {
        match tried {
            Ok(found) => Row { name, works: true, says: says(found), next: String::new() },
            Err(error) => Row { name, works: false, says: error.to_string(), next: next.to_owned() },
        }
    }
}

pub fn doctor(face: &Face) -> Result<Exit, Failure> {
    let surroundings = Surroundings::capture();
    let mut rows = vec![];
    let quire = Quire::open(&surroundings);
    let mut exit = Exit::Done;
    match &quire {
        Ok(quire) => {
            let whole = quire.store().check();
            let says = |()| format!("{} reads and writes, every page of it", quire.home().display());
            rows.push(Row::of(
                "data",
                whole,
                says,
                "Move the directory away and keep it; quire begins a new one.",
            ));
            let rung = quire.prove_sandbox();
            let next = "Without a sandbox nothing is run. User namespaces and overlayfs are needed: as root, \
                        sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=65536; in a container, run it privileged.";
            rows.push(Row::of(
                "sandbox",
                rung,
                |rung| format!("{rung}: a command ran in one just now"),
                next,
            ));
            rows.push(limits_row());
            let host = wait(async { quire.link().await.map(|_| ()) })?;
            rows.push(Row::of("host", host, |()| "answers".into(), "Run it in view to see why: quire host"));
        }
        Err(error) => rows.push(Row {
            name: "data",
            works: false,
            says: error.to_string(),
            next: match error {
                EngineError::NoPlace => "Set HOME.".into(),
                _ => "Move the directory away and keep it, or name another with QUIRE_HOME.".into(),
            },
        }),
    }
    rows.push(models_row(&surroundings)?);
    for row in rows.iter().rev().filter(|row| !row.works) {
        exit = match row.name {
            "sandbox" => Exit::NoSandbox,
            "models" => Exit::NoModel,
            _ => Exit::Trouble,
        };
    }
    if face.json {
        print(&format!("{}\n", json!({"v": 1, "rows": rows})))?;
        return Ok(exit);
    }
    for row in &rows {
        let mark = if row.works { face.out.paint(32, "✓") } else { face.out.paint(31, "✗") };
        print(&format!("{mark} {:8} {}\n", row.name, clean(&row.says)))?;
        if !row.next.is_empty() {
            print(&format!("           {}\n", clean(&row.next)))?;
        }
    }
    Ok(exit)
}

/// Tells what holds each bound of a sandbox; something always does.
fn limits_row() -> Row {
    let told = quire_engine::limits_told();
    let says = told.iter().map(|(what, means)| format!("{what} {means}")).collect::<Vec<_>>().join("; ");
    Row { name: "limits", works: true, says, next: String::new() }
}

fn models_row(surroundings: &Surroundings) -> Result<Row, Failure> {
    let settings = settings::read(&Options::default(), None, surroundings)?;
    let keys = Keys::read(surroundings)?;
    let listings = wait(models::list(&settings, &keys, surroundings))?;
    let answering: Vec<String> = listings
        .iter()
        .filter_map(|listing| match &listing.found {
            Found::Models(models) if !models.is_empty() => Some(listing.provider.clone()),
            _ => None,
        })
        .collect();
    let none =
        "Add a key (quire models add PROVIDER) or start a local server. To see quire without one: quire demo";
    Ok(match answering.is_empty() {
        false => Row {
            name: "models",
            works: true,
            says: format!("answer: {}", answering.join(", ")),
            next: String::new(),
        },
        true => Row { name: "models", works: false, says: "no model answers".into(), next: none.into() },
    })
}
