//! `quire trust`: shows what a folder brings of its own (settings that allow more, hooks), and lets it take effect.

use crate::cli::TrustArgs;
use crate::cmd::{Face, follow, print_json, say_recovered};
use crate::error::{Exit, Failure};
use crate::layout::one_line;
use crate::terminal::{clean, confirm, print};
use quire_core::charter::HookEvent;
use quire_engine::settings::{self, Options, Surroundings};
use quire_engine::trust::{Wants, distrust};
use quire_engine::{EngineError, Quire};
use serde_json::json;
use std::path::Path;

pub fn trust(args: &TrustArgs, face: &Face) -> Result<Exit, Failure> {
    let here = Surroundings::capture();
    let folder = here.cwd.join(args.folder.as_deref().unwrap_or(Path::new(".")));
    let folder = folder.canonicalize().map_err(|error| {
        Failure::new(
            Exit::WrongUse,
            format!("{} cannot be reached: {error}.", folder.display()),
            "Nothing was changed.",
            "Name a folder: quire trust -C DIR",
        )
    })?;
    // Made where there is none yet, because trust is kept in it.
    let quire = Quire::open(&here)?;
    say_recovered(&quire);
    let failed = |why| EngineError::Home { path: quire.home().to_owned(), why };
    if args.remove {
        let was = distrust(quire.home(), &folder).map_err(failed)?;
        return told(
            face,
            &folder,
            "distrusted",
            if was { "No longer trusted." } else { "It was not trusted." },
        );
    }
    let settings = settings::read(&Options::default(), Some(&folder), &here)?;
    let Some(wants) = settings.untrusted else {
        return told(face, &folder, "nothing", "There is nothing here that is not trusted already.");
    };
    if !args.yes {
        if !face.json {
            follow::say(list(&wants).trim_end());
        }
        if !face.can_ask() || !confirm("Let it take effect, in tasks that begin from now on?")? {
            return Err(Failure::new(
                Exit::NeedsYou,
                "The folder is not trusted.",
                "Tasks on it work without what it brings.",
                "To trust exactly this: quire trust --yes",
            ));
        }
    }
    wants.trust(quire.home()).map_err(failed)?;
    told(face, &folder, "trusted", "Trusted, as long as these files stay as they are.")
}

fn told(face: &Face, folder: &Path, word: &str, text: &str) -> Result<Exit, Failure> {
    match face.json {
        true => print_json(json!({"folder": folder, "trust": word}))?,
        false => print(&format!("{text}\n"))?,
    }
    Ok(Exit::Done)
}

/// Returns what would take effect, a line each.
pub fn list(wants: &Wants) -> String {
    let mut text = format!("{} brings of its own:\n", wants.folder.display());
    if wants.changed {
        text.push_str("  (it has changed since you trusted it)\n");
    }
    for setting in &wants.settings {
        text.push_str(&format!("  quire.toml: {setting}\n"));
    }
    for hook in &wants.hooks {
        let when = match hook.event {
            HookEvent::SessionStart => "at the start",
            HookEvent::UserPromptSubmit => "on your words",
            HookEvent::PreToolUse => "before calls",
            HookEvent::PostToolUse => "after calls",
            HookEvent::Stop => "at the end of a turn",
        };
        let tools =
            if hook.tools.is_empty() { String::new() } else { format!(" of {}", hook.tools.join(", ")) };
        text.push_str(&format!(
            "  {}: {when}{tools} runs `{}` in the sandbox\n",
            hook.from,
            one_line(&hook.command)
        ));
    }
    clean(&text)
}
