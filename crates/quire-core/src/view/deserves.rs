//! What of a version deserves a look, and what of that keeps it from being accepted without one: what is deleted, what can now
//! be run, and what nothing checked. The rest is worth a person's eyes where there is a person.

use crate::view::{self, Fate, FileChange, Review, Shape, in_git, reviewed_text};

/// Something that deserves a look.
pub(super) struct Deserving {
    /// Index into the task's folders, where it lies in one.
    pub folder: Option<u32>,
    pub path: String,
    pub why: String,
    /// It is not accepted without a person.
    pub waits: bool,
}

impl Review {
    /// Returns what deserves a look before all else, as (path, why).
    pub fn look(&self) -> Vec<(String, String)> {
        self.deserving().into_iter().map(|one| (self.name_of(&one), one.why)).collect()
    }

    /// Returns why a person should look before it is accepted. `None`: every check passes without reservation, every claim is
    /// proved, nothing is left undone, and nothing is deleted, made a program or unchecked.
    pub fn needs_a_look(&self) -> Option<String> {
        let doubted = self.checks.iter().find(|check| check.passed != Some(true) || check.doubted);
        let open = self.brief.claims.iter().find(|claim| claim.passed != Some(true));
        let reviewed =
            self.reviewer.as_ref().filter(|one| one.not_reviewed.is_some() || !one.open.is_empty());
        match (doubted, open, self.brief.not_done.first(), reviewed) {
            _ if self.checks.is_empty() => Some("it is not checked".to_owned()),
            (Some(check), ..) => Some(format!("`{}` {}", check.command, check.outcome)),
            (_, Some(claim), ..) => Some(format!("\"{}\" is {}", claim.text, claim.outcome)),
            (_, _, Some(left), _) => Some(format!("it says that this is not done: {left}")),
            (.., Some(reviewed)) => Some(reviewed_text(reviewed)),
            _ if !self.assumed.is_empty() => Some(format!("you were asked: {}", self.assumed[0].question)),
            _ => {
                let first = self.deserving().into_iter().find(|one| one.waits);
                first.map(|one| format!("{} {}", self.name_of(&one), one.why))
            }
        }
    }

    fn name_of(&self, one: &Deserving) -> String {
        one.folder.map(|folder| self.before_path(folder)).unwrap_or_default() + &one.path
    }

    fn deserving(&self) -> Vec<Deserving> {
        let mut all: Vec<Deserving> = self.files.iter().filter_map(of_form).collect();
        all.extend(self.files.iter().filter_map(of_secrets));
        all.extend(self.unread());
        for file in &self.files {
            // Accept asks for these apart.
            all.extend(file.runs.map(|when| Deserving::of(file, true, when)));
            if let Some(first) = file.interfaces.first() {
                let more = file.interfaces.len() - 1;
                let more = if more > 0 { format!(", and {more} more") } else { String::new() };
                let why = format!("others may rely on {first}{more}, gone or of another form");
                all.push(Deserving::of(file, false, why));
            }
            if let Some(first) = file.unseen.first() {
                let more = match file.unseen.len() - 1 {
                    0 => String::new(),
                    more => format!(", and {}", view::count(more as u64, "further line")),
                };
                let place = first.line.map_or_else(|| "its name".to_owned(), |line| format!("line {line}"));
                all.push(Deserving::of(file, true, format!("{place} holds {}{more}", first.what)));
            }
        }
        all.extend(self.left_out.iter().map(|left| Deserving {
            folder: Some(left.folder),
            path: left.path.to_string(),
            why: format!("was not in the copy: {}", left.why),
            waits: false,
        }));
        all.extend(self.in_git.iter().map(|kept| Deserving {
            folder: Some(kept.folder),
            path: format!("{}{}", "../".repeat(kept.up as usize), kept.path),
            why: "was hidden, but git keeps it: what was committed could be read".to_owned(),
            waits: false,
        }));
        // The checks ran on what was there before.
        all.extend(self.moved.iter().map(|moved| {
            let why = match moved.system {
                true => "packages of your machine changed since the task began",
                // A turn begins with what is there then.
                false => "changed since the task began; `quire revise` starts on it anew",
            };
            Deserving { folder: None, path: moved.path.clone(), why: why.to_owned(), waits: true }
        }));
        all.extend(self.without_git.iter().map(|one| Deserving {
            folder: Some(one.folder),
            path: ".git".to_owned(),
            why: one.why.to_owned(),
            waits: false,
        }));
        all.extend(in_git::stays_behind(&self.apart, &self.only_agents, self.imported));
        all
    }

    /// Returns the row of all files that were not looked into, under the name of the first, or of the first that no check looked
    /// into either.
    fn unread(&self) -> Option<Deserving> {
        let is_unread = |file: &&FileChange| {
            file.fate != Fate::Deleted && file.shape == Shape::File && (file.large || file.binary)
        };
        let unread: Vec<&FileChange> = self.files.iter().filter(is_unread).collect();
        // What is only at another place is what it was.
        let unchecked = unread.iter().find(|file| file.fate != Fate::Renamed && !self.is_well_formed(file));
        let first = unchecked.or(unread.first())?;
        let what = match unread.len() - 1 {
            0 => "is".to_owned(),
            more => format!("and {} are", view::count(more as u64, "more file")),
        };
        let why = format!("{what} no text, or too large: taken without a look inside");
        Some(Deserving::of(first, unchecked.is_some(), why))
    }

    /// Returns whether a check that passed names the file as one that is what its name says.
    fn is_well_formed(&self, file: &FileChange) -> bool {
        let path = file.path.to_string();
        file.folder == 0
            && self.checks.iter().filter(|check| check.passed == Some(true) && !check.doubted).any(|check| {
                let named = check.command.strip_prefix("wellformed ");
                named.is_some_and(|named| words(named).contains(&path))
            })
    }
}

impl Deserving {
    fn of(file: &FileChange, waits: bool, why: impl Into<String>) -> Deserving {
        Deserving { folder: Some(file.folder), path: file.path.to_string(), why: why.into(), waits }
    }
}

fn of_form(file: &FileChange) -> Option<Deserving> {
    let (waits, why) = match (file.fate, file.shape) {
        (Fate::Deleted, Shape::Folder) => (true, "the folder is deleted".to_owned()),
        (Fate::Deleted, _) => (true, "is deleted".to_owned()),
        // Nothing checks where it leads.
        (_, Shape::Link) => (true, format!("is a link to {}", file.target.as_deref().unwrap_or("nothing"))),
        _ if file.executable == Some(true) => (true, "can now be run as a program".to_owned()),
        _ if file.executable == Some(false) => (false, "can no longer be run as a program".to_owned()),
        _ if file.modes.as_ref().is_some_and(|[was, now]| opens(was, now)) => {
            (true, "can now be written by everybody".to_owned())
        }
        _ if file.modes.is_some() => (false, format!("has other permissions ({})", file.modes_text())),
        _ if file.linked => (false, "has other names (hard links), which keep the old content".to_owned()),
        _ => return None,
    };
    Some(Deserving::of(file, waits, why))
}

/// Returns whether others than its owner and group may write what they could not before; modes are in octal.
fn opens(was: &str, now: &str) -> bool {
    let by_others = |mode: &str| u32::from_str_radix(mode, 8).is_ok_and(|mode| mode & 0o002 != 0);
    by_others(now) && !by_others(was)
}

fn of_secrets(file: &FileChange) -> Option<Deserving> {
    // A file full of them is one thing to look at.
    let first = file.secrets.first()?;
    let more = match file.secrets.len() - 1 {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let why = format!("line {} holds what looks like a secret ({}){more}", first.line, first.kind);
    Some(Deserving::of(file, true, why))
}

/// Returns the words of a command as a shell reads those that are plain or stand between single quotes.
fn words(command: &str) -> Vec<String> {
    let (mut all, mut word, mut quoted, mut escaped) = (vec![], None::<String>, false, false);
    for c in command.chars() {
        match c {
            _ if escaped => (escaped, word) = (false, Some(word.unwrap_or_default() + &c.to_string())),
            '\'' => (quoted, word) = (!quoted, Some(word.unwrap_or_default())),
            '\\' if !quoted => escaped = true,
            ' ' if !quoted => all.extend(word.take()),
            c => word = Some(word.unwrap_or_default() + &c.to_string()),
        }
    }
    all.extend(word);
    all
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn a_commands_words_are_read_as_they_were_written() {
        for (command, read) in [
            ("a.png b/c.png", &["a.png", "b/c.png"][..]),
            ("'x b.png y' c.png", &["x b.png y", "c.png"]),
            ("'it'\\''s.png'  ''", &["it's.png", ""]),
            ("", &[]),
        ] {
            assert_eq!(words(command), read, "{command}");
        }
    }
}
