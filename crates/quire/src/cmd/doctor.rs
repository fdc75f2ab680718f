//! `quire doctor`: what works on this machine, each thing proved by doing it.

use crate::cmd::{Face, say_recovered, wait};
use crate::error::{Exit, Failure};
use crate::terminal::{clean, print};
use quire_engine::conventions::{self, Told};
use quire_engine::keys::Keys;
use quire_engine::models::{self, Found};
use quire_engine::raise::{self, Machine, Obstacle, Remedy, Step};
use quire_engine::settings::{self, Options, Surroundings};
use quire_engine::{EngineError, Proof, Quire, Rung};
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};

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

pub fn doctor(face: &Face, fix: bool) -> Result<Exit, Failure> {
    let surroundings = Surroundings::capture();
    let mut rows = vec![];
    let quire = Quire::open(&surroundings);
    let mut exit = Exit::Done;
    match &quire {
        Ok(quire) => {
            say_recovered(quire);
            let whole = quire.store().check();
            let says = |()| format!("{} reads and writes, every page of it", quire.home().display());
            rows.push(Row::of(
                "data",
                whole,
                says,
                "Move the directory away and keep it; quire begins a new one.",
            ));
            let proof = quire.prove_sandbox();
            let rung = proof.as_ref().ok().map(|proof| proof.rung);
            let machine = Machine::look(quire.home(), binary()?);
            if fix {
                return repair(face, &machine, rung, surroundings.env.contains_key("SUDO_UID"));
            }
            let obstacles = raise::obstacles(&machine, rung);
            rows.push(sandbox_row(proof, &obstacles));
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
    // What is wrong with the settings is a finding as well, and the rest is looked at all the same.
    rows.push(models_row(&surroundings).unwrap_or_else(|failure| Row {
        name: "models",
        works: false,
        says: failure.what,
        next: failure.next,
    }));
    rows.push(folder_row(&surroundings));
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
            print(&format!("           {}\n", clean(&row.next).replace('\n', "\n           ")))?;
        }
    }
    Ok(exit)
}

/// Returns the path of this program, without links, as a profile has to name it.
fn binary() -> Result<PathBuf, Failure> {
    std::env::current_exe().and_then(std::fs::canonicalize).map_err(|error| {
        Failure::new(
            Exit::Trouble,
            format!("quire does not find its own program: {error}."),
            "Nothing was changed.",
            "Call it by its whole path.",
        )
    })
}

fn sandbox_row(proof: Result<Proof, EngineError>, obstacles: &[Obstacle]) -> Row {
    let mut next = vec![];
    let (works, says) = match &proof {
        Ok(proof) => {
            let weaker = proof.rung.weaker();
            if proof.rung > Rung::OneUid {
                next.extend(weaker.iter().map(|weaker| format!("Weaker: {weaker}.")));
                next.extend(
                    proof.refused.iter().map(|better| format!("Not {}: {}", better.rung, better.why)),
                );
            }
            next.extend(proof.ports_taken.iter().map(|why| {
                format!("Weaker: with the network on, ports 53, 80, 443 and 3128 are taken inside: {why}.")
            }));
            (true, format!("{}: a command ran in one just now", proof.rung))
        }
        Err(error) => {
            next.push("Without a sandbox nothing is run.".into());
            (false, error.to_string())
        }
    };
    for obstacle in obstacles {
        next.push(format!("Because {}.", obstacle.why));
        match &obstacle.remedy {
            Remedy::Advice(advice) => next.push(advice.clone()),
            Remedy::Steps(steps) => {
                next.push("sudo quire doctor --fix does this:".into());
                next.extend(steps.iter().map(Step::to_string));
            }
        }
    }
    Row { name: "sandbox", works, says, next: next.join("\n") }
}

/// Does what raises the sandbox, saying each thing before it is done; lists it where the one who asks is not root. With
/// `for_user`, root does it for the ordinary user who asked for that.
fn repair(face: &Face, machine: &Machine, rung: Option<Rung>, for_user: bool) -> Result<Exit, Failure> {
    let obstacles = match for_user {
        // What stands in his way need not stand in root's.
        true => raise::obstacles(&Machine { root: false, ..machine.clone() }, Some(Rung::Copy)),
        false => raise::obstacles(machine, rung),
    };
    // On a terminal a step is told before it is taken; a script gets one object of all.
    let tell = |line: &str| if face.json { Ok(()) } else { print(&format!("{line}\n")) };
    let (mut steps, mut told) = (vec![], vec![]);
    for obstacle in &obstacles {
        tell(&format!("{}.", clean(&capital(&obstacle.why))))?;
        let advice = match &obstacle.remedy {
            Remedy::Advice(advice) => Some(advice),
            Remedy::Steps(more) => {
                steps.extend(more);
                None
            }
        };
        if let Some(advice) = advice {
            tell(&format!("  {}", clean(advice)))?;
        }
        told.push(json!({"why": obstacle.why, "advice": advice}));
    }
    let mut taken = vec![];
    for step in &steps {
        tell(&clean(&step.to_string()))?;
        taken.push(step.to_string());
        if machine.root {
            raise::take(step, Path::new("/"), &mut raise::run).map_err(|error| {
                Failure::new(
                    Exit::Trouble,
                    format!("That did not work: {error}."),
                    "What was done before it stays, and is done again without harm.",
                    "Do it by hand, then: quire doctor",
                )
            })?;
        }
    }
    let (exit, end) = match (steps.is_empty(), rung) {
        (false, _) if machine.root => (Exit::Done, "Done. See: quire doctor".to_owned()),
        (false, _) => (Exit::Done, "Nothing was done. To do it: sudo quire doctor --fix".to_owned()),
        (true, _) if for_user && obstacles.is_empty() => {
            (Exit::Done, "Nothing is known that would raise the sandboxes of an ordinary user.".to_owned())
        }
        (true, rung) => {
            let now = rung.map_or("no sandbox can be made".to_owned(), |rung| rung.to_string());
            let more = match obstacles.is_empty() {
                true => "nothing is known that would raise it",
                false => "the rest is yours to do",
            };
            let exit = if rung.is_some() { Exit::Done } else { Exit::NoSandbox };
            (exit, format!("{}; {more}.", clean(&capital(&now))))
        }
    };
    if face.json {
        let done = machine.root && !steps.is_empty();
        let fixed = json!({"v": 1, "obstacles": told, "steps": taken, "done": done, "says": end});
        print(&format!("{fixed}\n"))?;
        return Ok(exit);
    }
    let bold = if steps.is_empty() { end } else { face.out.paint(1, &end) };
    print(&format!("{bold}\n"))?;
    Ok(exit)
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
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

/// Tells what a task on the current folder would be told of how to work, and what of that is of no use.
fn folder_row(surroundings: &Surroundings) -> Row {
    let folder = surroundings.cwd.canonicalize().unwrap_or_else(|_| surroundings.cwd.clone());
    let settings = settings::read(&Options::default(), Some(&folder), surroundings);
    let told = settings.map(|settings| conventions::told(&folder, &settings, surroundings));
    let left_out = told.as_ref().map_or_else(|_| String::new(), |told| told.left_out.join("\n"));
    let says = |told: Told| {
        let skill = |(name, dir): &(String, PathBuf)| format!("{name} ({})", dir.display());
        let skills: Vec<String> = told.skills.iter().map(skill).collect();
        let named = |what: &str, names: &[String]| match names {
            [] => format!("no {what}"),
            names => format!("{what}: {}", names.join(", ")),
        };
        format!("{}; {}", named("instructions", &told.instructions), named("skills", &skills))
    };
    let row = Row::of("folder", told, says, "No task can begin on this folder before that is right.");
    if row.works { Row { next: left_out, ..row } } else { row }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_way_out_takes_of_a_sandbox_is_told() {
        let row = |ports_taken: Option<&str>| {
            let ports_taken = ports_taken.map(str::to_owned);
            sandbox_row(Ok(Proof { rung: Rung::OneUid, refused: Vec::new(), ports_taken }), &[]).next
        };
        assert_eq!(row(None), "");
        assert_eq!(
            row(Some("making a second network: no")),
            "Weaker: with the network on, ports 53, 80, 443 and 3128 are taken inside: making a second network: no."
        );
    }
}
