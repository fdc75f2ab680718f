//! The results as a table, from the run itself.

use crate::catalogue::{self, How};
use crate::machine;
use crate::stand::{STANDS, Stand};
use libtest_mimic::Failed;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Clone, Copy)]
pub enum Style {
    Plain,
    Markdown,
}

/// A case's id, and the stand that it was tried on; the machine is the same for all.
type Try = (&'static str, Option<&'static str>);

/// Whether a case held. Cheap to clone; all are one.
#[derive(Clone, Default)]
pub struct Results(Arc<Mutex<BTreeMap<Try, bool>>>);

impl Results {
    pub fn note(&self, id: &'static str, stand: Option<&'static str>, done: &Result<(), Failed>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((id, stand), done.is_ok());
    }

    fn told(&self, id: &'static str, stand: Option<&'static str>) -> &'static str {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(id, stand)) {
            Some(true) => "held",
            Some(false) => "FAILED",
            None => "not run",
        }
    }

    pub fn table(&self, style: Style) -> String {
        let mut rows = Vec::new();
        let mut not_here = Vec::new();
        for case in catalogue::all() {
            let told = match case.how {
                How::Here(_) => {
                    let told = |stand: &Stand| match () {
                        () if !case.is_on(stand) => case.nothing.map_or("", |(_, told, _)| told),
                        () if stand.tries(&case) => self.told(case.id, Some(stand.name)),
                        () => "as off",
                    };
                    STANDS.iter().map(told).collect()
                }
                How::Elsewhere(_) => vec![self.told(case.id, Some(STANDS[0].name)); STANDS.len()],
                How::NotHere(_) => vec!["not here"; STANDS.len()],
            };
            match case.how {
                How::Here(_) => {
                    if let Some((at, told, why)) = case.nothing {
                        not_here.push((case, format!("{told} {}: {why}", at.told())));
                    }
                }
                How::Elsewhere(test) => not_here.push((case, format!("held by {test}"))),
                How::NotHere(why) => not_here.push((case, why.to_owned())),
            }
            rows.push((case.id, case.name.replace('_', " "), case.must, told));
        }
        let same = self.told(machine::NAME, None);
        rows.push(("--", machine::NAME.to_owned(), machine::MUST, vec![same; STANDS.len()]));
        let mut out = String::new();
        let heads = STANDS.iter().map(|stand| stand.name);
        match style {
            Style::Plain => {
                let columns: String = heads.map(|head| format!("{head:<11}")).collect();
                writeln!(out, "\n{:<5}{columns}{:<30}must be", "case", "try").expect("memory");
                for (id, name, must, told) in &rows {
                    let columns: String = told.iter().map(|told| format!("{told:<11}")).collect();
                    writeln!(out, "{id:<5}{columns}{name:<30}{must}").expect("memory");
                }
            }
            Style::Markdown => {
                let heads: Vec<_> = heads.collect();
                writeln!(out, "\n| case | try | must be | {} |", heads.join(" | ")).expect("memory");
                writeln!(out, "|---|---|---|{}", "---|".repeat(heads.len())).expect("memory");
                for (id, name, must, told) in &rows {
                    writeln!(out, "| {id} | {name} | {must} | {} |", told.join(" | ")).expect("memory");
                }
            }
        }
        writeln!(out).expect("memory");
        for stand in STANDS {
            writeln!(out, "{}{}: {}.", bullet(style), stand.name, stand.told).expect("memory");
        }
        for (case, why) in not_here {
            writeln!(out, "{}{} {}: {why}.", bullet(style), case.id, case.name.replace('_', " "))
                .expect("memory");
        }
        let held = rows
            .iter()
            .filter(|row| row.3.iter().all(|told| matches!(*told, "held" | "as off" | "nothing")))
            .count();
        write!(out, "\n{held} of {} held on every stand.", rows.len()).expect("memory");
        out
    }
}

fn bullet(style: Style) -> &'static str {
    match style {
        Style::Plain => "",
        Style::Markdown => "- ",
    }
}
