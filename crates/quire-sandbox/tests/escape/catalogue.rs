//! All cases. A new one is a function and a line in the table of its group; numbers are for ever.

use crate::ground::Ground;
use crate::stand::Stand;
use libtest_mimic::Failed;
use quire_sandbox::Rung;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

/// One way out.
#[derive(Clone, Copy)]
pub struct Case {
    /// Group and number, such as `A01`.
    pub id: &'static str,
    pub name: &'static str,
    /// What must happen.
    pub must: &'static str,
    pub how: How,
    /// Where it is not tried, what the table says there, and why.
    pub nothing: Option<(Where, &'static str, &'static str)>,
}

#[derive(Clone, Copy)]
pub enum How {
    /// Tried here, on every stand.
    Here(fn(&Ground)),
    /// Held by a test of another program, which needs no sandbox: `crates/.../file.rs::function`.
    Elsewhere(&'static str),
    /// Not tried, and why.
    NotHere(&'static str),
}

/// Some of the stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// Those that have no file tree of their own.
    Copy,
}

impl Where {
    fn has(self, stand: &Stand) -> bool {
        match self {
            Where::Copy => stand.rung == Rung::Copy,
        }
    }

    pub fn told(self) -> &'static str {
        match self {
            Where::Copy => "on copies",
        }
    }
}

const fn new(id: &'static str, name: &'static str, must: &'static str, how: How) -> Case {
    Case { id, name, must, how, nothing: None }
}

pub const fn case(id: &'static str, name: &'static str, must: &'static str, run: fn(&Ground)) -> Case {
    new(id, name, must, How::Here(run))
}

pub const fn elsewhere(id: &'static str, name: &'static str, must: &'static str, test: &'static str) -> Case {
    new(id, name, must, How::Elsewhere(test))
}

pub const fn not_here(id: &'static str, name: &'static str, must: &'static str, why: &'static str) -> Case {
    new(id, name, must, How::NotHere(why))
}

/// Returns every case, in order.
pub fn all() -> impl Iterator<Item = Case> {
    let groups = [
        crate::a_files::CASES,
        crate::b_proc::CASES,
        crate::c_namespaces::CASES,
        crate::d_signals::CASES,
        crate::e_network::CASES,
        crate::f_devices::CASES,
        crate::g_kernel::CASES,
        crate::h_limits::CASES,
        crate::i_remains::CASES,
        crate::j_merge::CASES,
        crate::k_host::CASES,
        crate::l_more::CASES,
    ];
    groups.into_iter().flatten().copied()
}

/// Runs the case of this id in this process.
pub fn run(id: &str) {
    match all().find(|case| case.id == id).expect("a case of that number").how {
        How::Here(run) => {
            // As the host does before its first sandbox.
            quire_sandbox::delegate();
            run(&Ground::set())
        }
        How::Elsewhere(_) | How::NotHere(_) => panic!("{id} is not tried here"),
    }
}

impl Case {
    /// The same case, which has nothing to try on some of the stands.
    pub const fn nothing_on(self, at: Where, why: &'static str) -> Case {
        Case { nothing: Some((at, "nothing", why)), ..self }
    }

    /// The same case, which is not proved on some of the stands.
    pub const fn unproved_on(self, at: Where, why: &'static str) -> Case {
        Case { nothing: Some((at, "not here", why)), ..self }
    }

    /// Returns whether there is something to try on the stand.
    pub fn is_on(&self, stand: &Stand) -> bool {
        !self.nothing.is_some_and(|(at, ..)| at.has(stand))
    }

    pub fn trial(&self, stand: &Stand) -> String {
        match self.how {
            How::Elsewhere(_) => format!("{}_{}", self.id.to_lowercase(), self.name),
            _ => format!("{}::{}_{}", stand.name, self.id.to_lowercase(), self.name),
        }
    }

    /// Runs the case in a process of its own, with a home of its own, on this stand.
    pub fn run_apart(&self, stand: &Stand, base: &Path) -> Result<(), Failed> {
        if let How::Elsewhere(test) = self.how {
            return is_there(test);
        }
        // A file, because who still holds a pipe would be waited for.
        let said = base.join(format!("{}.said", self.id));
        let into = std::fs::File::create(&said).expect("a file");
        let mut case = {
            // A child that another thread forks meanwhile has the copy of the program open for writing, and the program
            // could not be started.
            static ONE: Mutex<()> = Mutex::new(());
            let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
            let mut command = stand.command(self.id, base);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(into);
            command.spawn().expect("a case's process")
        };
        let status = case.wait().expect("a case's end");
        if status.success() {
            return Ok(());
        }
        Err(format!("{status}\n{}", std::fs::read_to_string(said).unwrap_or_default()).into())
    }
}

/// Checks that a test that holds a case is still there.
fn is_there(test: &str) -> Result<(), Failed> {
    let (file, function) = test.split_once("::").ok_or("not a file and a function")?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = std::fs::read_to_string(root.join(file)).map_err(|error| format!("{file}: {error}"))?;
    if text.contains(&format!("fn {function}(")) { Ok(()) } else { Err(format!("{test} is gone").into()) }
}
