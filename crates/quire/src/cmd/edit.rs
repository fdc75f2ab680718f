//! `quire edit N FILE`: the person changes a file of the version themself, in their editor or from stdin. What they leave becomes
//! the next version, which quire checks as any other; no model is asked.

use crate::cli::EditArgs;
use crate::cmd::{Face, open, print_state, wait};
use crate::error::{Exit, Failure};
use crate::layout::one_line;
use quire_core::Hash;
use quire_engine::keys::Keys;
use quire_engine::{EDITED_BYTES_MAX, Editable, EngineError, Quire, Saved};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io::{self, IsTerminal, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

pub fn edit(args: &EditArgs, face: &Face) -> Result<Exit, Failure> {
    let id = args.task.task;
    let (quire, here) = open()?;
    let editable = quire.editable(id, &args.file)?;
    let keys = Keys::read(&here)?;
    let copy = match args.delete || args.stdin.is_some() || !io::stdin().is_terminal() {
        true => None,
        false => Some(Copied::of(&quire, id, &editable)?),
    };
    let content = match &copy {
        _ if args.delete => None,
        Some(copy) => Some(copy.edited()?),
        None => Some(from_stdin(args.stdin.is_some())?),
    };
    let edited = wait(quire.edit(id, &editable, content.as_deref(), &keys, &here))?;
    let edited = edited.map_err(|error| match &copy {
        Some(copy) => Failure { safe: copy.kept_for(&error), ..Failure::from(error) },
        None => error.into(),
    })?;
    let name = one_line(&editable.name);
    let Some(Saved { task, no_host }) = edited else {
        let mut text = format!("{name} is as it was; nothing was changed.");
        // An editor that does not wait has the copy open still: what it saves later is not lost.
        text.extend(copy.iter().map(|copy| format!("\n{}", copy.open_still())));
        print_state(&quire.task(id)?, &text, face)?;
        return Ok(Exit::Done);
    };
    copy.iter().for_each(Copied::remove);
    let next = task.versions.len() + 1;
    let then = match no_host {
        None => format!("Follow them: quire watch {id}. Then look at it: quire review {id}"),
        Some(error) => {
            let Failure { what, next, .. } = error.into();
            format!("They do not run yet: {what} {next}. Then have them run: quire watch {id}")
        }
    };
    let text = format!("{name} is as you made it, which becomes version {next} once the checks ran. {then}");
    print_state(&task, &text, face)?;
    Ok(Exit::Done)
}

/// The file's copy for the person's editor. What came to nothing stays there, and is gone on with.
struct Copied {
    id: u64,
    dir: PathBuf,
    path: PathBuf,
    /// What it is a copy of.
    was: Vec<u8>,
}

impl Copied {
    fn of(quire: &Quire, id: u64, editable: &Editable) -> Result<Copied, Failure> {
        let raw = editable.file.path.as_bytes();
        // Another version, or another file, has another directory.
        let of = [&editable.seen.0[..], &editable.file.folder.to_le_bytes(), raw].concat();
        let dir =
            quire.home().join("tasks").join(id.to_string()).join(format!("edit-{}", Hash::of(&of).short()));
        let path = dir.join(OsStr::from_bytes(editable.file.path.name()));
        let copied = Copied { id, dir, path, was: editable.content.clone() };
        if !copied.path.exists() {
            copied.write().map_err(|e| copied.failed(&e))?;
        }
        Ok(copied)
    }

    /// Writes the copy as a whole or not at all: what stands there is gone on with.
    fn write(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let part = self.dir.with_extension("part");
        fs::write(&part, &self.was)?;
        fs::rename(&part, &self.path)
    }

    /// Lets the person edit it, and returns what they left.
    fn edited(&self) -> Result<Vec<u8>, Failure> {
        if !in_editor(&self.path).map_err(|e| self.failed(&e))? {
            return Err(Failure::new(
                Exit::WrongUse,
                "Your editor did not end well.",
                self.kept(),
                format!("Edit it again: quire edit {} FILE", self.id),
            ));
        }
        self.content().map_err(|e| self.failed(&e))
    }

    fn content(&self) -> io::Result<Vec<u8>> {
        let mut content = vec![];
        fs::File::open(&self.path)?.take(EDITED_BYTES_MAX + 1).read_to_end(&mut content)?;
        Ok(content)
    }

    /// Returns what became of what the person wrote.
    fn kept(&self) -> String {
        match self.is_edited() {
            true => {
                format!("Your edits are in {}; editing it again goes on from there.", self.path.display())
            }
            false => "Nothing was changed.".to_owned(),
        }
    }

    fn is_edited(&self) -> bool {
        self.content().is_ok_and(|content| content != self.was)
    }

    /// The same where they were not taken. Of another version there is another copy.
    fn kept_for(&self, error: &EngineError) -> String {
        match error {
            EngineError::Seen { .. } | EngineError::Not { .. } if self.is_edited() => format!(
                "Your edits are in {}, made of the version as you saw it; put them into the one that is there now.",
                self.path.display()
            ),
            _ => self.kept(),
        }
    }

    fn open_still(&self) -> String {
        format!(
            "If your editor has it open still, save it there and edit it again: that goes on from {}. quire waits for an editor \
             that waits itself: VISUAL='code --wait'",
            self.path.display()
        )
    }

    fn failed(&self, error: &io::Error) -> Failure {
        let next = format!("Give it on stdin: quire edit {} FILE - < NEW", self.id);
        Failure::new(Exit::Trouble, format!("The file could not be edited: {error}."), self.kept(), next)
    }

    fn remove(&self) {
        // Left over it does no harm: it goes with the task.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Runs the person's editor on a file, as git does. Returns whether it ended well.
pub fn in_editor(path: &Path) -> io::Result<bool> {
    let named = |name: &str| std::env::var(name).ok().filter(|editor| !editor.trim().is_empty());
    let editor = named("VISUAL").or_else(|| named("EDITOR")).unwrap_or_else(|| "vi".to_owned());
    let mut command = std::process::Command::new("sh");
    command.arg("-c").arg(format!("{editor} \"$@\"")).arg(&editor).arg(path);
    Ok(command.status()?.success())
}

/// Returns what came on stdin. Nothing is an empty file only where it was named: a script may have none.
fn from_stdin(named: bool) -> Result<Vec<u8>, Failure> {
    let mut content = vec![];
    io::stdin().take(EDITED_BYTES_MAX + 1).read_to_end(&mut content)?;
    if content.is_empty() && !named {
        return Err(Failure::new(
            Exit::WrongUse,
            "Nothing came on stdin.",
            "Nothing was started or changed.",
            "Give the new content: quire edit N FILE < NEW; an empty file is `quire edit N FILE - < /dev/null`",
        ));
    }
    Ok(content)
}
