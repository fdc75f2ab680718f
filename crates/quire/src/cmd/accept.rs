//! `quire accept N [PATH...]`: writes the version, or a part of it, into the real folder.

use crate::cli::AcceptArgs;
use crate::cmd::{Face, home, open, print_json, review};
use crate::error::{Exit, Failure};
use crate::layout::one_line;
use crate::terminal::{clean, print};
use quire_core::view::GitRow;
use quire_engine::{Aside, Choice, EngineError, SetAside};
use serde_json::json;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

pub fn accept(args: &AcceptArgs, face: &Face) -> Result<Exit, Failure> {
    let (quire, _) = open()?;
    let id = args.task.task;
    let mut choice = Choice {
        paths: args.paths.iter().map(|path| path.as_os_str().to_owned()).collect(),
        hunks: args.only.clone(),
        over: args.over.iter().map(|path| path.as_os_str().to_owned()).collect(),
        seen: args.seen.clone(),
        programs: args.with_programs,
        unchecked: args.unchecked,
        commit: args.commit,
        aside: None,
    };
    let branch = args.branch.clone().map(Aside::Branch);
    let aside = match &args.bundle {
        Some(file) => Some(Aside::Bundle(in_full(file)?)),
        None => branch,
    };
    if let Some(aside) = &aside {
        let set_aside = match quire.set_aside(id, aside, &choice) {
            Err(EngineError::Programs { paths, .. }) if face.can_ask() && assents(&paths)? => {
                choice.programs = true;
                quire.set_aside(id, aside, &choice)?
            }
            set_aside => set_aside?,
        };
        let SetAside { git, merged, checks } = set_aside;
        if face.json {
            print_json(json!({"task": id, "git": git, "merged": merged, "checks": checks}))?;
            return Ok(Exit::Done);
        }
        let mut text = git_text(&git);
        if !merged.is_empty() {
            let merged: Vec<String> = merged.iter().map(|path| one_line(&path.to_string())).collect();
            text.push_str(&format!("Merged with your edits: {}.\n", merged.join(", ")));
        }
        text.push_str("Your folder has not changed.\n");
        if !checks.is_empty() {
            text.push_str(&review::checks(&checks, &face.out, face.out.width.clamp(40, 120)));
        }
        print(&text)?;
        return Ok(Exit::Done);
    }
    let written = match quire.accept(id, &choice) {
        Err(EngineError::Programs { paths, .. }) if face.can_ask() && assents(&paths)? => {
            choice.programs = true;
            quire.accept(id, &choice)?
        }
        written => written?,
    };
    // What was written stays, and the next command makes the commit.
    let is_missing = args.commit && written.git.iter().any(GitRow::is_failure);
    let exit = if is_missing { Exit::Trouble } else { Exit::Done };
    if face.json {
        print_json(json!({"task": id, "accepted": written}))?;
        return Ok(exit);
    }
    let mut text = clean(&format!("{} Undo: quire undo {id}\n", written.text(home().as_deref())));
    text.push_str(&git_text(&written.git));
    if !written.checks.is_empty() {
        text.push_str(&review::checks(&written.checks, &face.out, face.out.width.clamp(40, 120)));
    }
    print(&text)?;
    Ok(exit)
}

/// Returns the path by which a file that need not be there is found from everywhere.
fn in_full(file: &Path) -> std::io::Result<PathBuf> {
    let file = std::path::absolute(file)?;
    let dir = file.parent().and_then(|dir| dir.canonicalize().ok());
    Ok(dir.zip(file.file_name()).map_or_else(|| file.clone(), |(dir, name)| dir.join(name)))
}

/// Returns what was done in git, a line each.
pub fn git_text(rows: &[GitRow]) -> String {
    rows.iter().map(|row| format!("{}\n", one_line(&row.text()))).collect()
}

fn assents(paths: &[(quire_core::RelPath, &'static str)]) -> Result<bool, Failure> {
    let mut err = std::io::stderr();
    writeln!(err, "These can run programs on your machine:")?;
    for (path, when) in paths {
        writeln!(err, "  {}  {when}", one_line(&path.to_string()))?;
    }
    write!(err, "Accept them too? [y/N] ")?;
    err.flush()?;
    let mut said = String::new();
    std::io::stdin().lock().read_line(&mut said)?;
    Ok(matches!(said.trim().to_lowercase().as_str(), "y" | "yes"))
}
